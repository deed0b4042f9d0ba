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
    constexpr int U = mode == POOL_PLACE && V == 8 ? 1 : int(pool_batch); /* with places of eight, registers are worth more */
    pool_fold<T, V, mode> fold;
    for (int32_t i = 0; i < s.height.kernel; i += U) {
        pack<T, 2 * V> in[U];
        T left[U];
        bool there[U];
#pragma unroll
        for (int u = 0; u < U; u++) { /* all on their way together */
            const int32_t h = top + (i + u) * s.height.dilation;
            there[u] = i + u < s.height.kernel && uint32_t(h) < uint32_t(s.height.in);
            if (!there[u]) continue;
            const T *const from = x + s.template place<V>(1, h, 0);
            in[u] = load_pack<T, 2 * V>(from);
            left[u] = from_f32<T>(0.0f);
            if (before) left[u] = from[-1];
        }
#pragma unroll
        for (int u = 0; u < U; u++) {
            if (!there[u]) continue;
            pack<T, V> tap[3];
            tap[0].at[0] = before || mode == POOL_SUM ? left[u] : in[u].at[0];
#pragma unroll
            for (int v = 0; v < V; v++) {
                if (v > 0) tap[0].at[v] = in[u].at[2 * v - 1];
                tap[1].at[v] = in[u].at[2 * v];
                tap[2].at[v] = in[u].at[2 * v + 1];
            }
            if (three) fold.take(tap[0], 4 * (i + u));
            fold.take(tap[1], 4 * (i + u) + 1);
            fold.take(tap[2], 4 * (i + u) + 2);
        }
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
