/* Pooling where neighbours in memory are channels, or lie anyhow. Bound by bytes; windows overlap in the caches.
 *
 * A group of threads, up to a block, makes a piece of one row of outputs (backward: of dx), so that all that concerns the row is
 * worked out once; a thread makes packs of V channels of it, 16 bytes at a time, of which it asks for those of two outputs (four
 * elements of dx) together. The backward gathers: an element adds up the windows that have it, in the order of their taps. */
#ifndef TRINE_SIMT_POOL_ROWS_H
#define TRINE_SIMT_POOL_ROWS_H

#include "backends/simt/pool_shape.h"

namespace simt {

struct pool_rows_plan {
    divider32 packs;        /* side by side; fewer than 2^31 */
    int64_t columns, piece; /* of a row: all, and those of a group */
    int64_t pieces;
    int32_t shift; /* 2^shift threads in a group */

    pool_rows_plan(const trine_call *call, int64_t lines, int64_t columns_, int64_t packs_)
        : packs(packs_), columns(columns_), piece(columns_), pieces(1), shift(0)
    {
        const int64_t items = columns * packs_;
        while (shift < 8 && int64_t(1) << shift < items) shift++;
        /* several items a thread where the device is full without */
        int64_t each = lines * items / (int64_t(call->device->props.compute_units) * 4096);
        each = each < 1 ? 1 : each > 8 ? 8 : each;
        if (items > each << shift) piece = ceil_div(each << shift, packs_);
        pieces = ceil_div(columns, piece);
    }
    int64_t blocks(int64_t lines) const { return pieces * ceil_div(lines, map_threads >> shift); }
};

/* Where a thread works. */
struct pool_group {
    int64_t offset[3];
    int32_t row, first, item, items, width;
    bool inside;
    TRINE_DEVICE_METHOD pool_group(const pool_shape &s, const pool_rows_plan &plan, const walk<3, divider_any> &planes)
    {
        const int64_t group = target::block_x() / uint32_t(plan.pieces), piece = target::block_x() - group * plan.pieces;
        width = 1 << plan.shift;
        const int64_t line = group * (map_threads >> plan.shift) + (target::thread_x() >> plan.shift);
        inside = line < s.lines;
        if (!inside) return;
        const int64_t plane = s.rows.divide(line);
        row = int32_t(line - plane * s.rows.d);
        planes.offsets(plane, offset);
        first = int32_t(piece * plan.piece);
        items = int32_t((first + plan.piece < plan.columns ? plan.piece : plan.columns - first) * plan.packs.d);
        item = target::thread_x() & (width - 1);
    }
    /* Item u from the thread's next on: its column and channel; false where there is none. */
    TRINE_DEVICE_METHOD bool at(const pool_rows_plan &plan, int u, int V, int32_t &column, int32_t &inner) const
    {
        const int32_t mine = item + u * width, rest = int32_t(plan.packs.divide(mine));
        column = first + rest;
        inner = (mine - rest * int32_t(plan.packs.d)) * V;
        return mine < items;
    }
};

template <class T, int V, int mode> TRINE_KERNEL(map_threads)
pool_rows_kernel(pool_shape s, pool_rows_plan plan, walk<3, divider_any> planes, T *y, const T *x, void *indices)
{
    constexpr int U = mode == POOL_PLACE || (mode == POOL_SUM && V == 8) ? 1 : 2;
    pool_group at(s, plan, planes);
    if (!at.inside) return;
    const int32_t top = s.height.first_of(at.row);
    y += at.offset[0] + s.template place<V>(0, at.row, 0);
    x += at.offset[1];
    for (; at.item < at.items; at.item += U * at.width) {
        int32_t column[U], inner[U], left[U];
        pool_fold<T, V, mode> fold[U];
#pragma unroll
        for (int u = 0; u < U; u++) left[u] = at.at(plan, u, V, column[u], inner[u]) ? s.width.first_of(column[u]) : pool_nowhere;
        for (int32_t i = 0, h = top; i < s.height.kernel; i++, h += s.height.dilation) {
            if (uint32_t(h) >= uint32_t(s.height.in)) continue;
            const T *const line = x + s.template place<V>(1, h, 0);
            for (int32_t j = 0; j < s.width.kernel; j += pool_batch) {
                pool_taps<T, V> taps[U];
#pragma unroll
                for (int u = 0; u < U; u++)
                    taps[u].load(s.width, j, left[u] + j * s.width.dilation, line + pool_step<V>(inner[u], s.step[1]),
                                 s.column[1]);
#pragma unroll
                for (int u = 0; u < U; u++) fold[u].take(taps[u], h * s.width.in);
            }
        }
#pragma unroll
        for (int u = 0; u < U; u++) {
            if (left[u] == pool_nowhere) break;
            float weight = 1.0f;
            if constexpr (mode == POOL_SUM)
                weight = pool_weights(s.width, s.height.taps(at.row, s.include_pad), s.include_pad).of(s.width, column[u]);
            store_pack<T, V>(y + pool_step<V>(inner[u], s.step[0]) + s.template along<V>(0, column[u]), fold[u].result(weight));
            if constexpr (mode == POOL_PLACE)
                put_places<V>(s, indices,
                              at.offset[2] + pool_step<V>(inner[u], s.step[2]) + s.template place<V>(2, at.row, column[u]),
                              fold[u].at);
        }
    }
}

/* What a window gives to a pack of elements: dy, and for the largest the places. */
template <class T, int V, bool average> struct pool_gift {
    pack<T, V> dy;
    pack<int32_t, average ? 1 : V> place;
    TRINE_DEVICE_METHOD void load(const pool_shape &s, const T *dy_at, const void *indices, int64_t from)
    {
        dy = load_pack<T, V>(dy_at);
        if constexpr (!average) place = get_places<V>(s, indices, from);
    }
    TRINE_DEVICE_METHOD void give(float (&sum)[V], float weight, int32_t own) const
    {
#pragma unroll
        for (int v = 0; v < V; v++) {
            if constexpr (average)
                sum[v] = target::fma_rn(to_f32(dy.at[v]), weight, sum[v]);
            else
                sum[v] += place.at[v] == own ? to_f32(dy.at[v]) : 0.0f;
        }
    }
};

template <class T, int V, bool average> TRINE_KERNEL(map_threads)
pool_rows_backward_kernel(pool_shape s, pool_rows_plan plan, walk<3, divider_any> planes, T *dx, const T *dy, const void *indices)
{
    constexpr int U = V == 8 ? 2 : 4;
    pool_group at(s, plan, planes);
    if (!at.inside) return;
    const int32_t low = s.height.first_over(at.row), high = s.height.last_over(at.row), most = s.width.most_over();
    dx += at.offset[1] + s.template place<V>(1, at.row, 0);
    dy += at.offset[0];
    for (; at.item < at.items; at.item += U * at.width) {
        int32_t column[U], inner[U], left[U], right[U];
        float sum[U][V] = {};
#pragma unroll
        for (int u = 0; u < U; u++) {
            const bool there = at.at(plan, u, V, column[u], inner[u]);
            left[u] = there ? s.width.first_over(column[u]) : pool_nowhere;
            right[u] = s.width.last_over(column[u]);
        }
        for (int32_t row = high; row >= low; row--) {
            if (!s.height.has(row, at.row)) continue;
            const pool_weights weights(s.width, average ? s.height.taps(row, s.include_pad) : 1, s.include_pad);
            for (int32_t k = 0; k < most; k++) {
                pool_gift<T, V, average> gift[U];
                bool given[U];
#pragma unroll
                for (int u = 0; u < U; u++) {
                    const int32_t o = right[u] - k;
                    given[u] = o >= left[u] && s.width.has(o, column[u]);
                    if (given[u])
                        gift[u].load(s, dy + pool_step<V>(inner[u], s.step[0]) + s.template place<V>(0, row, o), indices,
                                     at.offset[2] + pool_step<V>(inner[u], s.step[2]) + s.template place<V>(2, row, o));
                }
#pragma unroll
                for (int u = 0; u < U; u++)
                    if (given[u])
                        gift[u].give(sum[u], average ? weights.of(s.width, right[u] - k) : 1.0f, at.row * s.width.in + column[u]);
            }
        }
#pragma unroll
        for (int u = 0; u < U; u++) {
            if (left[u] == pool_nowhere) break;
            pack<T, V> out;
#pragma unroll
            for (int v = 0; v < V; v++) out.at[v] = from_f32<T>(sum[u][v]);
            store_pack<T, V>(dx + pool_step<V>(inner[u], s.step[1]) + s.template along<V>(1, column[u]), out);
        }
    }
}

} // namespace simt

#endif
