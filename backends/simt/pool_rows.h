/* Pooling where neighbours in memory are channels, or lie anyhow. Bound by bytes; windows overlap in the caches.
 *
 * A group of threads, up to a block, makes a piece of one row of outputs (backward: of dx), so that all that concerns the row is
 * worked out once; a thread makes packs of V channels of it, 16 bytes at a time. The backward gathers: an element adds up the
 * windows that have it, in the order of their taps. */
#ifndef TRINE_SIMT_POOL_ROWS_H
#define TRINE_SIMT_POOL_ROWS_H

#include "backends/simt/pool_shape.h"

namespace simt {

struct pool_rows_plan {
    divider32 packs;        /* side by side; fewer than 2^31 */
    int64_t columns, piece; /* of a row: all, and those of a group */
    int64_t pieces;
    int32_t shift;      /* 2^shift threads in a group */
    bool indices_dense; /* i32, and those of a pack are whole 16 bytes */

    pool_rows_plan(const trine_call *call, int64_t lines, int64_t columns_, int64_t packs_)
        : packs(packs_), columns(columns_), piece(columns_), pieces(1), shift(0), indices_dense(false)
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
};

template <class T, int V, bool average> TRINE_KERNEL(map_threads)
pool_rows_kernel(pool_shape s, pool_rows_plan plan, walk<3, divider_any> planes, T *y, const T *x, void *indices)
{
    pool_group at(s, plan, planes);
    if (!at.inside) return;
    const int32_t top = s.height.first_of(at.row), deep = average ? s.height.taps(at.row, s.include_pad) : 1;
    for (; at.item < at.items; at.item += at.width) {
        const int32_t rest = int32_t(plan.packs.divide(at.item)), inner = (at.item - rest * int32_t(plan.packs.d)) * V,
                      column = at.first + rest, left = s.width.first_of(column);
        const T *from = x + at.offset[1] + inner * s.step[1];
        pool_largest best[V];
        float sum[V] = {};
        for (int32_t i = 0, h = top; i < s.height.kernel; i++, h += s.height.dilation) {
            if (uint32_t(h) >= uint32_t(s.height.in)) continue;
            const T *line = from + h * s.row[1];
            for (int32_t j = 0, w = left; j < s.width.kernel; j += pool_batch, w += pool_batch * s.width.dilation) {
                const pool_taps<T, V> taps(s.width, j, w, line, s.column[1]);
#pragma unroll
                for (int u = 0; u < pool_batch; u++) {
                    if (taps.place[u] < 0) continue;
#pragma unroll
                    for (int v = 0; v < V; v++) {
                        if constexpr (average)
                            sum[v] += to_f32(taps.in[u].at[v]);
                        else
                            best[v].take_next(to_f32(taps.in[u].at[v]), h * s.width.in + taps.place[u]);
                    }
                }
            }
        }
        const float weight = average ? pool_weight(deep, s.width.taps(column, s.include_pad)) : 1.0f;
        pack<T, V> out;
#pragma unroll
        for (int v = 0; v < V; v++) out.at[v] = from_f32<T>(average ? sum[v] * weight : best[v].value);
        store_pack<T, V>(y + at.offset[0] + inner * s.step[0] + at.row * s.row[0] + column * s.column[0], out);
        if (average || !indices) continue;
        const int64_t to = at.offset[2] + inner * s.step[2] + at.row * s.row[2] + column * s.column[2];
#pragma unroll
        for (int v = 0; v < V; v++) put_index(s, indices, to + v * s.step[2], best[v].at);
    }
}

/* What a window gives to a pack of elements at place `own` of their plane. */
template <class T, int V, bool average> TRINE_DEVICE void pool_give(float (&sum)[V], const pool_shape &s, const pack<T, V> &dy,
                                                                    float weight, const void *indices, int64_t from, bool dense,
                                                                    int32_t own)
{
    if constexpr (average) {
#pragma unroll
        for (int v = 0; v < V; v++) sum[v] = target::fma_rn(to_f32(dy.at[v]), weight, sum[v]);
    } else if (V > 1 && dense) {
        const pack<int32_t, V> index = load_pack<int32_t, V>(static_cast<const int32_t *>(indices) + from);
#pragma unroll
        for (int v = 0; v < V; v++) sum[v] += index.at[v] == own ? to_f32(dy.at[v]) : 0.0f;
    } else {
#pragma unroll
        for (int v = 0; v < V; v++) sum[v] += get_index(s, indices, from + v * s.step[2]) == own ? to_f32(dy.at[v]) : 0.0f;
    }
}

template <class T, int V, bool average> TRINE_KERNEL(map_threads)
pool_rows_backward_kernel(pool_shape s, pool_rows_plan plan, walk<3, divider_any> planes, T *dx, const T *dy, const void *indices)
{
    pool_group at(s, plan, planes);
    if (!at.inside) return;
    const int32_t low = s.height.first_over(at.row), high = s.height.last_over(at.row);
    dx += at.offset[1] + at.row * s.row[1];
    for (; at.item < at.items; at.item += at.width) {
        const int32_t rest = int32_t(plan.packs.divide(at.item)), inner = (at.item - rest * int32_t(plan.packs.d)) * V,
                      column = at.first + rest, own = at.row * s.width.in + column;
        const int32_t left = s.width.first_over(column), right = s.width.last_over(column);
        float sum[V] = {};
        for (int32_t row = high; row >= low; row--) {
            if (!s.height.has(row, at.row)) continue;
            const int32_t deep = average ? s.height.taps(row, s.include_pad) : 1;
            for (int32_t o = right; o >= left; o--) {
                if (!s.width.has(o, column)) continue;
                const float weight = average ? pool_weight(deep, s.width.taps(o, s.include_pad)) : 1.0f;
                pool_give<T, V, average>(
                    sum, s, load_pack<T, V>(dy + at.offset[0] + inner * s.step[0] + row * s.row[0] + o * s.column[0]), weight,
                    indices, at.offset[2] + inner * s.step[2] + row * s.row[2] + o * s.column[2], plan.indices_dense, own);
            }
        }
        pack<T, V> out;
#pragma unroll
        for (int v = 0; v < V; v++) out.at[v] = from_f32<T>(sum[v]);
        store_pack<T, V>(dx + inner * s.step[1] + column * s.column[1], out);
    }
}

} // namespace simt

#endif
