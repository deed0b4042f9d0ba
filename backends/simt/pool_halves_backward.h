/* Gradients of pooling that halves rows and columns by windows of 3 with a padding of 1, where columns lie side by side. Bound by
 * bytes: a line of windows that two threads need comes from the cache.
 *
 * A thread makes a pack of columns of the rows 2 m and 2 m + 1. Window i of its V / 2 + 1 reaches over the columns 2 i - 1 to 2 i + 1
 * of the pack, line m over both rows, line m + 1 over the second: which windows an element adds up is known. All loads are made,
 * of what is not there those of a neighbour. */
#ifndef TRINE_SIMT_POOL_HALVES_BACKWARD_H
#define TRINE_SIMT_POOL_HALVES_BACKWARD_H

#include "backends/simt/pool_shape.h"

namespace simt {

inline bool pool_halves_back(const trine_pool_axis &a)
{
    return a.kernel == 3 && a.padding == 1 && a.stride == 2 && a.dilation == 1 && int64_t(a.in) == 2 * int64_t(a.out);
}

/* Two lines of windows: dy, and for maxima where they stood. */
template <class T, int V, bool average> struct pool_half_windows {
    enum { half = V / 2 };
    using words = pack<uint32_t, half *int(sizeof(T)) / 4>;
    words middle[2]; /* of T; as such they would be taken apart as soon as they are loaded */
    T edge[2];
    pack<int32_t, average ? 1 : half> place[2];
    int32_t edge_place[2];
    bool below, right; /* whether there is line m + 1; whether there is the last window */

    TRINE_DEVICE_METHOD void load(const pool_shape &s, const T *dy, const void *indices, int64_t indices_at, int32_t m,
                                  int32_t first)
    {
        below = m + 1 < s.height.out;
        right = first + half < s.width.out;
        const int32_t last = right ? half : half - 1;
#pragma unroll
        for (int k = 0; k < 2; k++) {
            const int32_t line = k && !below ? m : m + k;
            const T *const from = dy + s.template place<V>(0, line, first);
            middle[k] = load_pack<uint32_t, half *int(sizeof(T)) / 4>(reinterpret_cast<const uint32_t *>(from));
            edge[k] = from[last];
            if constexpr (!average) {
                const int64_t at = indices_at + s.template place<V>(2, line, first);
                place[k] = get_places<half>(s, indices, at);
                edge_place[k] = get_places<1>(s, indices, at + last).at[0];
            }
        }
    }
    TRINE_DEVICE_METHOD float value(int k, int i) const
    {
        return to_f32(i < half ? reinterpret_cast<const pack<T, half> &>(middle[k]).at[i < half ? i : 0] : edge[k]);
    }
    /* Behind the element `own`; far away where there is no window. */
    TRINE_DEVICE_METHOD int32_t behind(int k, int i, int32_t own) const
    {
        const bool there = (k == 0 || below) && (i < half || right);
        return there ? (i < half ? place[k].at[i < half ? i : 0] : edge_place[k]) - own : int32_t(pool_nowhere);
    }
};

template <class T, int V, bool average> TRINE_KERNEL(map_threads)
pool_halves_backward_kernel(pool_shape s, divider_any packs, walk<3, divider_any> planes, T *dx, const T *dy, const void *indices)
{
    constexpr int half = V / 2;
    const int64_t thread = int64_t(target::block_x()) * map_threads + target::thread_x(), line = packs.divide(thread);
    if (line >= s.lines) return;
    const int64_t plane = s.rows.divide(line);
    const int32_t m = int32_t(line - plane * s.rows.d), first = int32_t(thread - line * packs.d) * half;
    int64_t offset[3];
    planes.offsets(plane, offset);
    pool_half_windows<T, V, average> in;
    in.load(s, dy + offset[0], indices, offset[2], m, first);
    float sum[2][V] = {};
    if constexpr (average) {
        const float inside = pool_weight(1, 3), left = first ? inside : pool_weight(1, s.width.taps(0, s.include_pad)),
                    right = in.right ? inside : 0.0f,
                    scale[2] = {m ? inside : pool_weight(1, s.height.taps(0, s.include_pad)), in.below ? inside : 0.0f};
#pragma unroll
        for (int k = 0; k < 2; k++) {
            float given[half + 1];
#pragma unroll
            for (int i = 0; i <= half; i++) given[i] = in.value(k, i) * (i == 0 ? left : i < half ? inside : right);
#pragma unroll
            for (int v = 0; v < V; v++) {
                const float all = v % 2 ? given[v / 2] + given[v / 2 + 1] : given[v / 2];
                if (k == 0) sum[0][v] = all * scale[0];
                sum[1][v] = k == 0 ? sum[0][v] : target::fma_rn(all, scale[1], sum[1][v]);
            }
        }
    } else {
        const int32_t own = 2 * m * s.width.in + 2 * first;
#pragma unroll
        for (int r = 0; r < 2; r++)
#pragma unroll
            for (int k = 0; k <= r; k++)
#pragma unroll
                for (int i = 0; i <= half; i++) {
                    const int32_t at = in.behind(k, i, own + r * s.width.in);
                    const float value = in.value(k, i);
#pragma unroll
                    for (int v = 2 * i - 1; v <= 2 * i + 1; v++)
                        if (v >= 0 && v < V && at == v) sum[r][v] += value;
                }
    }
    dx += offset[1] + s.template place<V>(1, 2 * m, 2 * first);
#pragma unroll
    for (int r = 0; r < 2; r++) {
        pack<T, V> out;
#pragma unroll
        for (int v = 0; v < V; v++) out.at[v] = from_f32<T>(sum[r][v]);
        store_pack<T, V>(dx + s.template place<V>(1, r, 0), out);
    }
}

} // namespace simt

#endif
