/* Pooling where neighbours in memory are columns of a plane. Bound by bytes.
 *
 * A block makes the outputs of several lines. First its threads go down the windows, each with a pack of V input columns, 16 bytes
 * at a time: the sum or the largest of every column goes to shared memory. Then they go across: an output takes the columns of its
 * window from there. Rows that two lines share come from the cache. */
#ifndef TRINE_SIMT_POOL_LINES_H
#define TRINE_SIMT_POOL_LINES_H

#include "backends/simt/pool_shape.h"

namespace simt {

enum { pool_most_lines = 64 /* of a block */ };

struct pool_lines_plan {
    int32_t across, tiles; /* outputs of a line that a block makes; blocks side by side */
    int32_t packs, lines;  /* packs of V columns that they need; lines of a block */
    divider32 by_packs, by_across;

    pool_lines_plan(const trine_pool_axis &width, int V) : across(0), tiles(0), packs(0), lines(0)
    {
        const int64_t most = int64_t(map_threads) * V, extent = int64_t(width.kernel - 1) * width.dilation + 1;
        if (extent + V > most) return;
        int64_t outputs = (most - V - extent) / width.stride + 1, needed;
        if (outputs > width.out) outputs = width.out;
        needed = ceil_div(V - 1 + (outputs - 1) * width.stride + extent, V);
        if (needed > ceil_div(width.in, V)) needed = ceil_div(width.in, V);
        across = int32_t(outputs);
        tiles = int32_t(ceil_div(width.out, outputs));
        packs = int32_t(needed);
        lines = map_threads / packs < pool_most_lines ? map_threads / packs : int32_t(pool_most_lines);
        by_packs = divider32(packs);
        by_across = divider32(across);
    }
    bool fits() const { return lines > 0; } /* else a window is wider than a block's reach */
};

/* A line of outputs: where its plane of x, its y and its indices begin; its first row of x, and how many count. */
struct pool_line {
    int64_t x, y, indices;
    int32_t top, deep;
};

/* Down the windows of one line: V columns. at: the row of the largest. */
template <class T, int V, bool average> TRINE_DEVICE void pool_down(const pool_axis &height, int64_t row_step, int32_t top,
                                                                    const T *x, float (&value)[V], int32_t (&at)[V])
{
    pool_largest best[V];
    float sum[V] = {};
    for (int32_t i = 0, h = top; i < height.kernel; i += pool_batch, h += pool_batch * height.dilation) {
        const pool_taps<T, V> taps(height, i, h, x, row_step);
#pragma unroll
        for (int u = 0; u < pool_batch; u++) {
            if (taps.place[u] < 0) continue;
#pragma unroll
            for (int v = 0; v < V; v++) {
                if constexpr (average)
                    sum[v] += to_f32(taps.in[u].at[v]);
                else
                    best[v].take_next(to_f32(taps.in[u].at[v]), taps.place[u]);
            }
        }
    }
#pragma unroll
    for (int v = 0; v < V; v++) {
        value[v] = average ? sum[v] : best[v].value;
        at[v] = best[v].at;
    }
}

template <class T, int V, bool average> TRINE_KERNEL(map_threads)
pool_lines_kernel(pool_shape s, pool_lines_plan plan, walk<3, divider_any> planes, T *y, const T *x, void *indices)
{
    TRINE_SHARED pool_line line[pool_most_lines];
    TRINE_SHARED pack<float, V> values[map_threads];
    TRINE_SHARED pack<int32_t, V> places[average ? 1 : map_threads];
    const int32_t t = target::thread_x();
    const int64_t group = target::block_x() / uint32_t(plan.tiles), first = group * plan.lines, left_over = s.lines - first;
    const int32_t begin = int32_t(target::block_x() - group * plan.tiles) * plan.across;
    const int32_t lines = left_over < plan.lines ? int32_t(left_over) : plan.lines;
    if (t < lines) {
        const int64_t plane = s.rows.divide(first + t);
        const int32_t row = int32_t(first + t - plane * s.rows.d);
        int64_t offset[3];
        planes.offsets(plane, offset);
        line[t] = pool_line{offset[1], offset[0] + row * s.row[0], offset[2] + row * s.row[2], s.height.first_of(row),
                            average ? s.height.taps(row, s.include_pad) : 1};
    }
    target::barrier();
    const int32_t leftmost = s.width.first_of(begin), low = leftmost < 0 ? 0 : leftmost / V * V;
    const int32_t mine = int32_t(plan.by_packs.divide(t)), w = low + (t - mine * plan.packs) * V;
    if (mine < lines && w < s.width.in) {
        float value[V];
        int32_t at[V];
        pool_down<T, V, average>(s.height, s.row[1], line[mine].top, x + line[mine].x + w * s.column[1], value, at);
#pragma unroll
        for (int v = 0; v < V; v++) {
            values[t].at[v] = value[v];
            if (!average) places[t].at[v] = at[v];
        }
    }
    target::barrier();
    const auto *const value = reinterpret_cast<const float *>(values);
    const auto *const place = reinterpret_cast<const int32_t *>(places);
    for (int32_t o = t; o < lines * plan.across; o += map_threads) {
        const int32_t l = int32_t(plan.by_across.divide(o)), column = begin + o - l * plan.across;
        if (column >= s.width.out) continue;
        const int32_t base = l * plan.packs * V - low;
        pool_largest best; /* by rows; of equals in one row the first */
        int32_t best_w = 0;
        float sum = 0.0f;
        for (int32_t j = 0, at = s.width.first_of(column); j < s.width.kernel; j++, at += s.width.dilation) {
            if (uint32_t(at) >= uint32_t(s.width.in)) continue;
            if constexpr (average) {
                sum += value[base + at];
            } else {
                if (best.take(value[base + at], place[base + at])) best_w = at;
            }
        }
        if constexpr (average) sum *= pool_weight(line[l].deep, s.width.taps(column, s.include_pad));
        y[line[l].y + column * s.column[0]] = from_f32<T>(average ? sum : best.value);
        if (!average && indices)
            put_index(s, indices, line[l].indices + column * s.column[2], best.at < 0 ? -1 : best.at * s.width.in + best_w);
    }
}

} // namespace simt

#endif
