/* Normalisation by channel: sums of units (core/channels.h), then an affine map of each.
 *
 * Three kernels. The first cuts the units into slices: blocks, or where channels lie side by side columns of threads, go through a
 * slice and leave a partial of it in the workspace. A second one, the op's own, merges the slices of a unit, or of the units of a
 * set, in their order, and makes the maps. The third maps every element; it goes backwards, so that what the first one read last comes
 * from the cache. Who adds what to whom depends on shapes and device alone. Bound by bytes: two reads, of which the caches may take a
 * part, and one write. Sums are about a value of the data itself, or the mean that is given: nothing cancels. */
#ifndef TRINE_SIMT_CHANNELS_H
#define TRINE_SIMT_CHANNELS_H

#include "backends/simt/channel_ops.h"
#include "backends/simt/row.h"

namespace simt {

enum { channel_threads = 256, channel_unroll = 4 };
using channel_walk = walk<channel_operands, divider_any>;

/* Packs: unit r has the partials r * slices + slice. */
struct channel_plan {
    int64_t units, n;      /* elements of a unit, or rows */
    int64_t slices, slice; /* of a unit; packs or rows of one */
    int64_t blocks_across; /* columns: blocks side by side */
    int32_t shift;         /* columns: 2^shift threads side by side */
};

template <class Gather, int V> TRINE_KERNEL(channel_threads)
channel_gather_kernel(Gather g, channel_walk outer, channel_walk inside, channel_plan plan, typename Gather::partial *partials)
{
    using T = typename Gather::element;
    using P = typename Gather::partial;
    constexpr int I = Gather::inputs, U = channel_unroll, wave = target::wave_size(), waves = channel_threads / wave;
    TRINE_SHARED P list[target::max_waves];
    const int width = 1 << plan.shift, t = target::thread_x() & (width - 1);
    const int64_t task = int64_t(target::block_x()) * (channel_threads >> plan.shift) + (target::thread_x() >> plan.shift),
                  unit = task / plan.slices, slice = task - unit * plan.slices;
    const bool exists = unit < plan.units; /* the threads of a wave stay together */
    const int64_t packs = exists ? plan.n / V : 0, begin = slice * plan.slice,
                  end = begin + plan.slice < packs ? begin + plan.slice : packs;
    int64_t base[channel_operands];
    outer.offsets(exists ? unit : 0, base);
    float sum[2] = {0.0f, 0.0f}, about = 0.0f;
    int64_t count = 0;
    for (int64_t p = begin + t; p < end; p += U * width) {
        channel_words<T, V> x[U][I];
#pragma unroll
        for (int u = 0; u < U; u++) {
            const int64_t at = p + u * width < end ? p + u * width : p;
            int64_t offset[channel_operands];
            inside.offsets(at * V, offset);
#pragma unroll
            for (int k = 0; k < I; k++)
                x[u][k] = channel_words<T, V>::template load<false>(g.in[k] + base[1 + k] + offset[1 + k]);
        }
        if (count == 0) about = g.about(unit, x[0][0].value(0));
#pragma unroll
        for (int u = 0; u < U; u++) {
            if (p + u * width >= end) continue;
            count += V;
#pragma unroll
            for (int j = 0; j < V; j++) {
                float one[I];
                for (int k = 0; k < I; k++) one[k] = x[u][k].value(j);
                g.add(sum, one, about);
            }
        }
    }
    const P mine = merge_lanes(Gather::finish(sum, about, count), width);
    if (width <= wave) {
        if (t == 0 && exists) partials[task] = mine;
        return;
    }
    if (t % wave == 0) list[t / wave] = mine;
    target::barrier();
    if (t != 0) return;
    P all = list[0];
    for (int w = 1; w < waves; w++) all = P::merge(all, list[w]);
    partials[task] = all;
}

/* ---- The map ---- */

template <class T> struct channel_mapped {
    const T *in[2]; /* x and dy, or the only one */
    T *out;
    const channel_affine *map;
};

/* Operands of the walks: the output, then the inputs. Unit r has the map r modulo maps. */
template <class T, int V, int I> TRINE_KERNEL(channel_threads)
channel_map_kernel(channel_mapped<T> o, channel_walk outer, channel_walk inside, int64_t packs, divider_any in_unit,
                   divider_any maps)
{
    constexpr int U = channel_unroll;
    const int64_t first = (int64_t(target::grid_x() - 1 - target::block_x())) * (channel_threads * U) + target::thread_x();
    channel_words<T, V> x[U][I];
    int64_t at[U], unit[U];
#pragma unroll
    for (int u = 0; u < U; u++) {
        const int64_t p = first + u * channel_threads;
        if (p >= packs) continue;
        int64_t base[channel_operands], offset[channel_operands];
        unit[u] = in_unit.divide(p);
        outer.offsets(unit[u], base);
        inside.offsets((p - unit[u] * in_unit.d) * V, offset);
        at[u] = base[0] + offset[0];
#pragma unroll
        for (int k = 0; k < I; k++) x[u][k] = channel_words<T, V>::template load<true>(o.in[k] + base[1 + k] + offset[1 + k]);
    }
#pragma unroll
    for (int u = 0; u < U; u++) {
        if (first + u * channel_threads >= packs) return;
        const channel_affine f = o.map[unit[u] - maps.divide(unit[u]) * maps.d];
        float y[V];
        channel_words<T, V> out;
#pragma unroll
        for (int j = 0; j < V; j++) y[j] = map_one(f, x[u], j);
        out.set(y);
        out.store(o.out + at[u]);
    }
}

/* ---- Host ---- */

/* Blocks that are enough for any device to be busy to the end. */
inline int64_t channel_blocks(const trine_call *call) { return int64_t(call->device->props.compute_units) * 16; }

/* Elements that move together: as many as 16 or 8 bytes hold, or 1. The innermost axis inside a unit is then dense, everything else
 * steps by whole packs. `tensors` as the walks. */
template <class T> inline int channel_step(const trine_units &u, const trine_tensor *const *tensors)
{
    const int last = u.inside.ndim - 1;
    uint64_t all = uint64_t(u.inside.size[last]) * sizeof(T); /* what divides all of these divides every pack's address */
    for (int k = 0; k < channel_operands; k++) {
        if (u.inside.stride[k][last] != 1) return 1;
        all |= reinterpret_cast<uintptr_t>(tensors[k]->data);
        for (int d = 0; d < last; d++) all |= uint64_t(u.inside.stride[k][d]) * sizeof(T);
        for (int d = 0; d < u.outer.ndim; d++) all |= u.outer.size[d] == 1 ? 0 : uint64_t(u.outer.stride[k][d]) * sizeof(T);
    }
    return all % 16 == 0 ? 16 / int(sizeof(T)) : all % 8 == 0 ? 8 / int(sizeof(T)) : 1;
}

inline channel_plan plan_gather(const trine_call *call, const trine_units &u, int V)
{
    channel_plan p = {u.units, u.n, 1, 1, 0, 0};
    const int64_t packs = u.n / V, least = 4 * channel_unroll * channel_threads, wave = call->device->props.wave_size;
    while ((1 << p.shift) < wave && int64_t(channel_unroll) << p.shift < packs) p.shift++;
    if (packs > 4 * channel_unroll * wave)
        while ((1 << p.shift) < channel_threads) p.shift++;
    int64_t slices = u.units ? channel_blocks(call) / u.units : 1;
    if (slices > packs / least) slices = packs / least;
    if (slices < 1) slices = 1;
    p.slice = ceil_div(packs, slices);
    p.slices = p.slice ? ceil_div(packs, p.slice) : 1;
    return p;
}

/* The most partials that a unit gets, wherever the tensors lie. V: elements of 16 bytes. */
inline int64_t gather_slices(const trine_call *call, const trine_units &u, int V)
{
    int64_t most = 1;
    for (int step = 1; step <= V; step++)
        if (V % step == 0 && plan_gather(call, u, step).slices > most) most = plan_gather(call, u, step).slices;
    return most;
}

template <class Gather, int V> inline trine_status launch_gather(trine_call *call, const Gather &g, const trine_units &u,
                                                                 const channel_plan &plan, typename Gather::partial *partials)
{
    return launch(call, channel_gather_kernel<Gather, V>, grid(ceil_div(plan.units * plan.slices, channel_threads >> plan.shift)),
                  channel_threads, 0, g, channel_walk(u.outer), channel_walk(u.inside), plan, partials);
}

template <class T, int V, int I>
inline trine_status launch_map(trine_call *call, const channel_mapped<T> &o, const trine_units &u, int64_t maps)
{
    const int64_t packs = u.units * (u.n / V);
    return launch(call, channel_map_kernel<T, V, I>, grid(ceil_div(packs, channel_threads * channel_unroll)), channel_threads, 0,
                  o, channel_walk(u.outer), channel_walk(u.inside), packs, divider_any(u.n ? u.n / V : 1),
                  divider_any(maps ? maps : 1));
}

/* step: as channel_step. */
template <class Gather> inline trine_status run_gather(trine_call *call, const Gather &g, const trine_units &u, int step,
                                                       const channel_plan &plan, typename Gather::partial *partials)
{
    constexpr int V = 16 / int(sizeof(typename Gather::element));
    return step == V       ? launch_gather<Gather, V>(call, g, u, plan, partials)
           : step == V / 2 ? launch_gather<Gather, V / 2>(call, g, u, plan, partials)
                           : launch_gather<Gather, 1>(call, g, u, plan, partials);
}

/* maps: how many there are. */
template <class T, int I>
inline trine_status run_map(trine_call *call, const channel_mapped<T> &o, const trine_units &u, int step, int64_t maps)
{
    constexpr int V = 16 / int(sizeof(T));
    return step == V       ? launch_map<T, V, I>(call, o, u, maps)
           : step == V / 2 ? launch_map<T, V / 2, I>(call, o, u, maps)
                           : launch_map<T, 1, I>(call, o, u, maps);
}

} // namespace simt

#endif
