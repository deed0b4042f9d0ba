/* Pooling where neighbours in memory are columns of a plane. Bound by bytes.
 *
 * A block makes the outputs of several lines. First its threads go down the windows, each with two packs of V input columns, 16
 * bytes at a time: the sum or the largest of every column goes to shared memory, the largest as it came. Then they go across: an
 * output takes the columns of its window from there. Rows that two lines share come from the cache. */
#ifndef TRINE_SIMT_POOL_LINES_H
#define TRINE_SIMT_POOL_LINES_H

#include "backends/simt/pool_shape.h"

namespace simt {

enum {
    pool_most_lines = 64, /* of a block */
    pool_packs_each = 2,  /* of a thread */
    pool_packs = pool_packs_each * map_threads
};

struct pool_lines_plan {
    int32_t across, tiles; /* outputs of a line that a block makes; blocks side by side */
    int32_t packs, lines;  /* packs of V columns that they need; lines of a block */
    divider32 by_packs, by_across;

    pool_lines_plan(const trine_pool_axis &width, int V) : across(0), tiles(0), packs(0), lines(0)
    {
        const int64_t most = int64_t(pool_packs) * V, extent = int64_t(width.kernel - 1) * width.dilation + 1;
        if (extent + V > most) return;
        int64_t outputs = (most - V - extent) / width.stride + 1, needed;
        if (outputs > width.out) outputs = width.out;
        needed = ceil_div(V - 1 + (outputs - 1) * width.stride + extent, V);
        if (needed > ceil_div(width.in, V)) needed = ceil_div(width.in, V);
        across = int32_t(outputs);
        tiles = int32_t(ceil_div(width.out, outputs));
        packs = int32_t(needed);
        lines = pool_packs / packs < pool_most_lines ? pool_packs / packs : int32_t(pool_most_lines);
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

/* What columns hand over, and how a number of them is held. */
template <class T, int mode> struct pool_column {
    using type = T;
};
template <class T> struct pool_column<T, POOL_SUM> {
    using type = float;
};
template <class T, int V, int mode> struct pool_columns {
    using S = typename pool_column<T, mode>::type;
    pack<S, V> values[pool_packs];
    pack<int32_t, V> places[mode == POOL_PLACE ? pool_packs : 1];

    TRINE_DEVICE_METHOD void put(int32_t at, const pool_fold<T, V, mode> &fold)
    {
        if constexpr (mode == POOL_SUM) {
#pragma unroll
            for (int v = 0; v < V; v++) values[at].at[v] = fold.value[v];
        } else {
            values[at] = fold.result(1.0f);
        }
        if constexpr (mode == POOL_PLACE) {
#pragma unroll
            for (int v = 0; v < V; v++) places[at].at[v] = fold.at[v];
        }
    }
    TRINE_DEVICE_METHOD float value(int32_t column) const { return to_f32(reinterpret_cast<const S *>(values)[column]); }
    TRINE_DEVICE_METHOD int32_t place(int32_t column) const { return reinterpret_cast<const int32_t *>(places)[column]; }
};

/* Across: output `column`, whose line's columns stand from `base` on. place: of the largest. */
template <class T, int V, int mode> TRINE_DEVICE float
pool_across(const pool_axis &width, const pool_columns<T, V, mode> &columns, int32_t base, int32_t column, int32_t &place)
{
    float sum = mode == POOL_SUM ? 0.0f : -__builtin_inff();
    pool_largest best; /* by rows; of equals in one row the first */
    int32_t best_w = 0;
#pragma unroll 3
    for (int32_t j = 0, at = width.first_of(column); j < width.kernel; j++, at += width.dilation) {
        if (uint32_t(at) >= uint32_t(width.in)) continue;
        if constexpr (mode == POOL_SUM)
            sum += columns.value(base + at);
        else if constexpr (mode == POOL_LARGEST)
            sum = target::maximum(sum, columns.value(base + at));
        else if (best.take(columns.value(base + at), columns.place(base + at)))
            best_w = at;
    }
    place = best.at < 0 ? -1 : best.at * width.in + best_w;
    return mode == POOL_PLACE ? best.value : sum;
}

template <class T, int V, int mode> TRINE_KERNEL(map_threads)
pool_lines_kernel(pool_shape s, pool_lines_plan plan, walk<3, divider_any> planes, T *y, const T *x, void *indices)
{
    constexpr int U = pool_packs_each;
    TRINE_SHARED pool_line line[pool_most_lines];
    TRINE_SHARED pool_columns<T, V, mode> columns;
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
                            mode == POOL_SUM ? s.height.taps(row, s.include_pad) : 1};
    }
    target::barrier();
    const int32_t leftmost = s.width.first_of(begin), low = leftmost < 0 ? 0 : leftmost / V * V;
    const T *from[U];
    int32_t top[U];
    pool_fold<T, V, mode> fold[U];
#pragma unroll
    for (int u = 0; u < U; u++) {
        const int32_t p = t + u * map_threads, mine = int32_t(plan.by_packs.divide(p)), w = low + (p - mine * plan.packs) * V;
        const bool there = mine < lines && w < s.width.in;
        top[u] = there ? line[mine].top : pool_nowhere;
        from[u] = x + (there ? line[mine].x + s.template along<V>(1, w) : 0);
    }
    for (int32_t i = 0; i < s.height.kernel; i += pool_batch) {
        pool_taps<T, V> taps[U];
#pragma unroll
        for (int u = 0; u < U; u++)
            taps[u].load(s.height, i, top[u] + i * s.height.dilation, from[u], V > 1 ? s.near_row[1] : s.row[1]);
#pragma unroll
        for (int u = 0; u < U; u++) fold[u].take(taps[u], 0);
    }
#pragma unroll
    for (int u = 0; u < U; u++) columns.put(t + u * map_threads, fold[u]);
    target::barrier();
    for (int32_t o = t; o < lines * plan.across; o += map_threads) {
        const int32_t l = int32_t(plan.by_across.divide(o)), column = begin + o - l * plan.across;
        if (column >= s.width.out) continue;
        int32_t place;
        float value = pool_across(s.width, columns, l * plan.packs * V - low, column, place);
        if constexpr (mode == POOL_SUM) value *= pool_weights(s.width, line[l].deep, s.include_pad).of(s.width, column);
        y[line[l].y + s.template along<V>(0, column)] = from_f32<T>(mode == POOL_SUM ? value : value + 0.0f);
        if constexpr (mode == POOL_PLACE) put_index(s, indices, line[l].indices + s.template along<V>(2, column), place);
    }
}

} // namespace simt

#endif
