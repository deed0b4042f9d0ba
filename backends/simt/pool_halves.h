/* Pooling that halves the columns of a plane, which are what lies side by side: windows of 3 with a padding of 1, or of 2, every 2
 * columns. Bound by bytes; rows that two windows share come from the cache.
 *
 * A thread makes a pack of outputs of a line. Of each row it loads two packs of x and the element before them, so that the taps of
 * all its windows stand in registers whose numbers are known. */
#ifndef TRINE_SIMT_POOL_HALVES_H
#define TRINE_SIMT_POOL_HALVES_H

#include "backends/simt/pool_shape.h"

namespace simt {

inline bool pool_halves(const trine_pool_axis &width)
{
    const bool three = width.kernel == 3 && width.padding == 1, two = width.kernel == 2 && width.padding == 0;
    return width.stride == 2 && width.dilation == 1 && int64_t(width.in) == 2 * int64_t(width.out) && (three || two);
}

/* Taps are numbered by 4 i + j, of row i and column 2 o - 1 + j. Where column -1 would be, the thread has column 0 twice. */
template <class T, int V, int mode> TRINE_KERNEL(map_threads)
pool_halves_kernel(pool_shape s, divider_any packs, walk<3, divider_any> planes, T *y, const T *x, void *indices)
{
    const int64_t thread = int64_t(target::block_x()) * map_threads + target::thread_x(), line = packs.divide(thread);
    if (line >= s.lines) return;
    const int64_t plane = s.rows.divide(line);
    const int32_t row = int32_t(line - plane * s.rows.d), first = int32_t(thread - line * packs.d) * V,
                  top = s.height.first_of(row);
    const bool three = s.width.kernel == 3, before = three && first > 0;
    int64_t offset[3];
    planes.offsets(plane, offset);
    x += offset[1] + 2 * first;
    pool_fold<T, V, mode> fold;
    for (int32_t i = 0, h = top; i < s.height.kernel; i++, h += s.height.dilation) {
        if (uint32_t(h) >= uint32_t(s.height.in)) continue;
        const T *const from = x + s.template place<V>(1, h, 0);
        const pack<T, 2 *V> in = load_pack<T, 2 * V>(from);
        pack<T, V> left, middle, right;
        left.at[0] = before ? from[-1] : mode == POOL_SUM ? from_f32<T>(0.0f) : in.at[0];
#pragma unroll
        for (int v = 0; v < V; v++) {
            middle.at[v] = in.at[2 * v];
            right.at[v] = in.at[2 * v + 1];
            if (v > 0) left.at[v] = in.at[2 * v - 1];
        }
        if (three) fold.take(left, 4 * i);
        fold.take(middle, 4 * i + 1);
        fold.take(right, 4 * i + 2);
    }
    pack<T, V> out;
    if constexpr (mode == POOL_SUM) {
        const pool_weights weights(s.width, s.height.taps(row, s.include_pad), s.include_pad);
        const float weight[2] = {weights.of(s.width, first), weights.of(s.width, first + 1)};
#pragma unroll
        for (int v = 0; v < V; v++) out.at[v] = from_f32<T>(fold.value[v] * weight[v > 0]);
    } else {
        out = fold.result(1.0f);
    }
    store_pack<T, V>(y + offset[0] + s.template place<V>(0, row, first), out);
    if constexpr (mode == POOL_PLACE) {
        int32_t place[V];
#pragma unroll
        for (int v = 0; v < V; v++) {
            const int32_t tap = fold.at[v], column = 2 * (first + v) - 1 + (tap & 3);
            place[v] = tap < 0 ? -1 : (top + (tap >> 2) * s.height.dilation) * s.width.in + (column < 0 ? 0 : column);
        }
        put_places<V>(s, indices, offset[2] + s.template place<V>(2, row, first), place);
    }
}

} // namespace simt

#endif
