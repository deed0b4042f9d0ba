/* Channels that lie side by side (NHWC): the first and the third kernel of channels.h by columns. Neighbouring threads take
 * neighbouring channels, a pack each, and go along the rows; a block has several lines of threads, which meet in shared memory. */
#ifndef TRINE_SIMT_CHANNEL_COLUMNS_H
#define TRINE_SIMT_CHANNEL_COLUMNS_H

#include "backends/simt/channels.h"

namespace simt {

/* Where a thread works: block = slice * blocks_across + across. */
template <int V> struct channel_place {
    int64_t column, slice, begin, end;
    int line, deep;
    bool inside;
    TRINE_DEVICE_METHOD channel_place(const channel_plan &plan, unsigned block)
    {
        const int width = 1 << plan.shift;
        deep = channel_threads >> plan.shift;
        line = target::thread_x() >> plan.shift;
        slice = block / unsigned(plan.blocks_across);
        column = (int64_t(block % unsigned(plan.blocks_across)) * width + (target::thread_x() & (width - 1))) * V;
        inside = column < plan.units;
        if (!inside) column = 0;
        begin = slice * plan.slice;
        end = begin + plan.slice < plan.n ? begin + plan.slice : plan.n;
    }
};

/* Of a row; where packs of several channels move, all rows are one axis. */
template <int V> TRINE_DEVICE void row_offsets(const channel_walk &rows, int64_t row, int64_t (&offset)[channel_operands])
{
    if constexpr (V == 1) {
        rows.offsets(row, offset);
    } else {
#pragma unroll
        for (int k = 0; k < channel_operands; k++) offset[k] = row * rows.step[0][k];
    }
}

template <class Gather, int V> TRINE_KERNEL(channel_threads)
channel_columns_gather_kernel(Gather g, channel_walk rows, channel_plan plan, typename Gather::partial *partials)
{
    using T = typename Gather::element;
    using P = typename Gather::partial;
    constexpr int I = Gather::inputs, U = channel_unroll;
    TRINE_SHARED P list[V][channel_threads];
    const channel_place<V> at(plan, target::block_x());
    float sum[V][2] = {}, about[V];
    int64_t count = 0;
    /* by turns with the other blocks, so that the cache has the end of the tensor, where the map begins */
    for (int64_t row = at.slice * (U * at.deep) + at.line; row < plan.n; row += plan.slices * (U * at.deep)) {
        channel_words<T, V> x[U][I];
#pragma unroll
        for (int u = 0; u < U; u++) {
            int64_t offset[channel_operands];
            row_offsets<V>(rows, row + u * at.deep < plan.n ? row + u * at.deep : row, offset);
#pragma unroll
            for (int k = 0; k < I; k++) x[u][k] = channel_words<T, V>::template load<false>(g.in[k] + offset[1 + k] + at.column);
        }
        if (count == 0)
#pragma unroll
            for (int j = 0; j < V; j++) about[j] = g.about(at.column + j, x[0][0].value(j));
#pragma unroll
        for (int u = 0; u < U; u++) {
            if (row + u * at.deep >= plan.n) continue;
            count++;
#pragma unroll
            for (int j = 0; j < V; j++) {
                float one[I];
                for (int k = 0; k < I; k++) one[k] = x[u][k].value(j);
                g.add(sum[j], one, about[j]);
            }
        }
    }
    const int t = target::thread_x(), width = 1 << plan.shift;
#pragma unroll
    for (int j = 0; j < V; j++) list[j][t] = count ? Gather::finish(sum[j], about[j], count) : P::none();
    for (int half = at.deep / 2; half > 0; half /= 2) {
        target::barrier();
        if (at.line >= half) continue;
#pragma unroll
        for (int j = 0; j < V; j++) list[j][t] = P::merge(list[j][t], list[j][t + half * width]);
    }
    if (at.line != 0 || !at.inside) return;
#pragma unroll 1
    for (int j = 0; j < V; j++) partials[(at.column + j) * plan.slices + at.slice] = list[j][t];
}

/* Backwards, as all maps. */
template <class T, int V, int I> TRINE_KERNEL(channel_threads)
channel_columns_map_kernel(channel_mapped<T> o, channel_walk rows, channel_plan plan)
{
    constexpr int U = channel_unroll;
    const channel_place<V> at(plan, target::grid_x() - 1 - target::block_x());
    if (!at.inside) return;
    channel_affine f[V];
#pragma unroll
    for (int j = 0; j < V; j++) f[j] = o.map[at.column + j];
    for (int64_t row = at.end - 1 - at.line; row >= at.begin; row -= U * at.deep) {
        channel_words<T, V> x[U][I];
        int64_t to[U];
#pragma unroll
        for (int u = 0; u < U; u++) {
            int64_t offset[channel_operands];
            const int64_t r = row - u * at.deep;
            if (r < at.begin) continue;
            row_offsets<V>(rows, r, offset);
            to[u] = offset[0] + at.column;
#pragma unroll
            for (int k = 0; k < I; k++) x[u][k] = channel_words<T, V>::template load<true>(o.in[k] + offset[1 + k] + at.column);
        }
#pragma unroll
        for (int u = 0; u < U; u++) {
            if (row - u * at.deep < at.begin) break;
            float y[V];
            channel_words<T, V> out;
#pragma unroll
            for (int j = 0; j < V; j++) y[j] = map_one(f[j], x[u], j);
            out.set(y);
            out.store(o.out + to[u]);
        }
    }
}

/* ---- Host. Units are whole channels ---- */

inline bool channels_by_columns(const trine_units &u)
{
    bool fit = u.channels > 1 && u.n > 0;
    const int last = u.inside.ndim - 1;
    for (int k = 0; k < channel_operands; k++)
        fit = fit && u.outer.stride[k][0] == 1 && (u.n == 1 || u.inside.stride[k][last] != 1);
    return fit;
}

inline bool columns_in_packs(const trine_units &u, const trine_tensor *const *tensors, int V)
{
    bool fit = u.channels % V == 0 && u.inside.ndim == 1;
    for (int k = 0; k < channel_operands; k++) {
        fit = fit && aligned16(tensors[k]->data);
        for (int d = 0; d < u.inside.ndim; d++) fit = fit && (u.inside.size[d] == 1 || u.inside.stride[k][d] % V == 0);
    }
    return fit;
}

/* V: channels of a pack, `size` bytes each. `blocks`: wanted. */
inline channel_plan plan_columns(const trine_units &u, int V, int size, int64_t blocks)
{
    channel_plan p = {u.units, u.n, 1, 1, 1, 0};
    const int64_t packs = ceil_div(u.channels, V);
    while ((1 << p.shift) < packs && (1 << p.shift) < channel_threads && (2 << p.shift) * V * size <= 512) p.shift++;
    const int64_t deep = channel_threads >> p.shift;
    p.blocks_across = ceil_div(packs, int64_t(1) << p.shift);
    int64_t slices = blocks / (p.blocks_across ? p.blocks_across : 1), most = u.n / (2 * channel_unroll * deep);
    if (slices > most) slices = most;
    if (slices < 1) slices = 1;
    p.slice = ceil_div(u.n, slices);
    p.slices = p.slice ? ceil_div(u.n, p.slice) : 1;
    return p;
}

inline channel_plan plan_columns_gather(const trine_call *call, const trine_units &u, int V, int size)
{
    return plan_columns(u, V, size, channel_blocks(call) / 4);
}

template <class Gather, int V> inline trine_status launch_columns_gather(trine_call *call, const Gather &g, const trine_units &u,
                                                                         const channel_plan &plan,
                                                                         typename Gather::partial *partials)
{
    return launch(call, channel_columns_gather_kernel<Gather, V>, grid(plan.blocks_across * plan.slices), channel_threads, 0, g,
                  channel_walk(u.inside), plan, partials);
}

template <class T, int V, int I>
inline trine_status launch_columns_map(trine_call *call, const channel_mapped<T> &o, const trine_units &u)
{
    /* Blocks enough for the last ones not to matter, rows enough a thread, which before the first waits for the maps of its channels
     * (H100, 268 MB of bf16, inference: 12 blocks a unit 197 us, 36 192, 60 191). */
    const channel_plan plan = plan_columns(u, V, int(sizeof(T)), int64_t(call->device->props.compute_units) * 60);
    return launch(call, channel_columns_map_kernel<T, V, I>, grid(plan.blocks_across * plan.slices), channel_threads, 0, o,
                  channel_walk(u.inside), plan);
}

} // namespace simt

#endif
