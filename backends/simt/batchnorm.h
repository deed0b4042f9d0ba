/* Batch normalisation. A channel of planes (NCHW) that a team can hold is a row (batchnorm_rows.h): one read and one write an
 * element. Others, and channels that lie side by side, take the three kernels of channels.h. */
#ifndef TRINE_SIMT_BATCHNORM_H
#define TRINE_SIMT_BATCHNORM_H

#include "backends/simt/batchnorm_rows.h"
#include "backends/simt/channel_columns.h"

namespace simt {

/* ---- From partials to maps: a wave a channel ---- */

TRINE_DEVICE int64_t wave_of_grid()
{
    return (int64_t(target::block_x()) * channel_threads + target::thread_x()) / target::wave_size();
}

/* Of `count` partials in a row; right in the wave's first lane. */
template <class P> TRINE_DEVICE P merge_partials(const P *partials, int64_t count)
{
    constexpr int U = 8; /* loads in flight: each merge divides */
    const int wave = target::wave_size();
    P p = P::none();
    for (int64_t i = target::thread_x() % wave; i < count; i += U * wave) {
        P next[U];
#pragma unroll
        for (int u = 0; u < U; u++) next[u] = i + u * wave < count ? partials[i + u * wave] : P::none();
#pragma unroll
        for (int u = 0; u < U; u++)
            if (i + u * wave < count) p = P::merge(p, next[u]);
    }
    return merge_lanes(p);
}

TRINE_KERNEL(channel_threads)
batchnorm_finish_kernel(batchnorm_outputs of, int64_t channels, int64_t slices, const channel_moments *partials,
                        channel_affine *map)
{
    const int64_t channel = wave_of_grid();
    if (channel >= channels) return;
    const channel_moments m = merge_partials(partials + channel * slices, slices);
    if (target::thread_x() % target::wave_size()) return;
    const channel_affine f = of.map(of.mean_of(m), of.rstd_of(m), channel);
    of.note(m, channel);
    map[channel] = f;
}

TRINE_KERNEL(channel_threads) batchnorm_inference_kernel(batchnorm_outputs of, int64_t channels, channel_affine *map)
{
    const int64_t channel = int64_t(target::block_x()) * channel_threads + target::thread_x();
    if (channel >= channels) return;
    map[channel] =
        of.map(of.running_mean.at(channel, 0.0f), target::rsqrt_ieee(of.running_var.at(channel, 0.0f) + of.eps), channel);
}

TRINE_KERNEL(channel_threads)
batchnorm_slopes_kernel(batchnorm_gradients of, int64_t channels, int64_t slices, const channel_slopes *partials,
                        channel_affine *map)
{
    const int64_t channel = wave_of_grid();
    if (channel >= channels) return;
    const channel_slopes s = merge_partials(partials + channel * slices, slices);
    if (target::thread_x() % target::wave_size()) return;
    const auto known = of.fetch(channel);
    of.note(s, known, channel);
    map[channel] = of.map(s, known);
}

/* ---- Host ---- */

/* f(choice) whether parts are whole packs. */
template <class F> inline trine_status visit_whole(int part, F f)
{
    return part == 16 ? f(row_choice<true>{}) : f(row_choice<false>{});
}

/* A team holds a channel of n elements. */
template <class Op> inline bool channel_fits(trine_call *call, int64_t n)
{
    return choose_team_here<Op, true>(call, n / row_pack<row_element<Op>>).packs != 0;
}

/* Of one call: its channels, what of them is summed up and what is mapped, and the workspace: maps, then partials. */
template <class T, class Gather> struct batchnorm_run {
    enum { V = 16 / int(sizeof(T)) };
    using partial = typename Gather::partial;
    trine_call *call;
    const trine_tensor *const *summed, *const *mapped; /* the output, then the inputs, the last one repeated */
    trine_units channels, outputs, planes;             /* of `summed`; of `mapped`; of that by sample */
    bool columns;

    batchnorm_run(trine_call *call_, const trine_tensor *const *summed_, const trine_tensor *const *mapped_,
                  int32_t channels_last)
        : call(call_), summed(summed_), mapped(mapped_), channels(trine_units_make(summed, channel_operands, channels_last, 0)),
          outputs(trine_units_make(mapped, channel_operands, channels_last, 0)),
          planes(trine_units_make(mapped, channel_operands, channels_last, 1)),
          columns(channels_by_columns(channels) && channels_by_columns(outputs))
    {
        call->variant = target::variant;
    }
    channel_plan plan(int step) const
    {
        return columns ? plan_columns_gather(call, channels, step, sizeof(T)) : plan_gather(call, channels, step);
    }
    size_t maps_bytes() const { return size_t(channels.units) * sizeof(channel_affine); }
    /* Does not depend on where the tensors lie. */
    size_t workspace() const
    {
        const int64_t packed = plan(V).slices, single = plan(1).slices;
        const int64_t slices = !columns ? gather_slices(call, channels, V) : packed > single ? packed : single;
        return maps_bytes() + size_t(channels.units * slices) * sizeof(partial);
    }
    channel_affine *maps() const { return static_cast<channel_affine *>(call->workspace); }
    partial *partials() const
    {
        return reinterpret_cast<partial *>(static_cast<unsigned char *>(call->workspace) + maps_bytes());
    }
    /* *slices: of a channel. */
    trine_status gather(const Gather &g, int64_t *slices) const
    {
        const int step = columns ? (columns_in_packs(channels, summed, V) ? V : 1) : channel_step<T>(channels, summed);
        const channel_plan p = plan(step);
        *slices = p.slices;
        if (!columns) return run_gather(call, g, channels, step, p, partials());
        return step > 1 ? launch_columns_gather<Gather, V>(call, g, channels, p, partials())
                        : launch_columns_gather<Gather, 1>(call, g, channels, p, partials());
    }
    /* I: inputs. */
    template <int I> trine_status map() const
    {
        const channel_mapped<T> o = {{data_of<T>(*mapped[1]), data_of<T>(*mapped[2])}, data_of<T>(*mapped[0]), maps()};
        if (columns && columns_in_packs(outputs, mapped, V)) return launch_columns_map<T, V, I>(call, o, outputs);
        if (columns) return launch_columns_map<T, 1, I>(call, o, outputs);
        return run_map<T, I>(call, o, planes, channel_step<T>(planes, mapped), channels.channels);
    }
    /* From the kernels between: a wave a channel, or a thread. */
    template <class... P, class... A> trine_status between(void (*kernel)(P...), int threads, A... args) const
    {
        return launch(call, kernel, grid(ceil_div(channels.channels * threads, channel_threads)), channel_threads, 0, args...);
    }
};

template <class T> inline trine_status batchnorm_of(trine_call *call, const trine_batchnorm_args *a)
{
    const trine_tensor *const tensors[] = {&a->y, &a->x, &a->x};
    const batchnorm_run<T, gather_moments<T>> run(call, tensors, tensors, a->channels_last);
    const int64_t channels = run.channels.channels;
    TRINE_END_OF_QUERY(call, run.workspace());
    int64_t slices;
    trine_status status;
    if (a->inference) {
        status = run.between(batchnorm_inference_kernel, 1, batchnorm_outputs(a), channels, run.maps());
        return status == TRINE_OK ? run.template map<1>() : status;
    }
    const channel_pieces pieces = run.columns ? channel_pieces{} : channel_pieces_of<T>(run.channels, tensors);
    if (pieces.part && channel_fits<batchnorm_rows<T, true>>(call, run.channels.n))
        return visit_whole(pieces.part, [&](auto whole) {
            return run_pieces(call, batchnorm_rows<T, whole.value>(a, pieces), run.channels.outer, run.channels.n);
        });
    status = run.gather(gather_moments<T>{{data_of<T>(a->x)}}, &slices);
    if (status == TRINE_OK)
        status = run.between(batchnorm_finish_kernel, call->device->props.wave_size, batchnorm_outputs(a), channels, slices,
                             run.partials(), run.maps());
    return status == TRINE_OK ? run.template map<1>() : status;
}

template <class T> inline trine_status batchnorm_backward_of(trine_call *call, const trine_batchnorm_backward_args *a)
{
    const trine_tensor *const both[] = {&a->dx, &a->x, &a->dy}, *const alone[] = {&a->dx, &a->dy, &a->dy};
    const batchnorm_run<T, gather_slopes<T>> run(call, both, a->inference ? alone : both, a->channels_last);
    const trine_units &u = run.channels;
    const bool sums = !a->inference || trine_is_given(&a->dweight) || trine_is_given(&a->dbias);
    TRINE_END_OF_QUERY(call, run.workspace());
    int64_t slices = 0;
    trine_status status = TRINE_OK;
    const channel_pieces pieces = a->inference || run.columns ? channel_pieces{} : channel_pieces_of<T>(u, both);
    if (pieces.part && channel_fits<batchnorm_slope_rows<T, true>>(call, u.n))
        return visit_whole(pieces.part, [&](auto whole) {
            return run_pieces(call,
                              batchnorm_slope_rows<T, whole.value>{{},
                                                                   {data_of<T>(a->x), data_of<T>(a->dy)},
                                                                   data_of<T>(a->dx),
                                                                   row_pieces<channel_operands>(pieces.size, pieces.step),
                                                                   pieces.part,
                                                                   channel_vector(a->weight),
                                                                   channel_vector(a->dweight),
                                                                   channel_vector(a->dbias),
                                                                   data_of<float>(a->mean),
                                                                   data_of<float>(a->rstd),
                                                                   1.0f / float(u.n)},
                              u.outer, u.n);
        });
    const float *mean = data_of<float>(a->inference ? a->running_mean : a->mean);
    if (sums) status = run.gather(gather_slopes<T>{{data_of<T>(a->x), data_of<T>(a->dy)}, mean, divider_any(1)}, &slices);
    if (status == TRINE_OK)
        status = run.between(batchnorm_slopes_kernel, call->device->props.wave_size, batchnorm_gradients(a, u.n), u.channels,
                             slices, run.partials(), run.maps());
    if (status != TRINE_OK) return status;
    return a->inference ? run.template map<1>() : run.template map<2>();
}

inline trine_status batchnorm(trine_call *call, const trine_batchnorm_args *a)
{
    return visit_floats(call, a->x.dtype, [&](auto t) { return batchnorm_of<typename decltype(t)::type>(call, a); });
}
inline trine_status batchnorm_backward(trine_call *call, const trine_batchnorm_backward_args *a)
{
    return visit_floats(call, a->x.dtype, [&](auto t) { return batchnorm_backward_of<typename decltype(t)::type>(call, a); });
}

} // namespace simt

#endif
