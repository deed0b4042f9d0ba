/* Group normalisation. Groups that lie in one piece (NCHW) are read once: the forward goes in the frame of row.h, the gradient of those
 * that a block can hold has its own kernel (groupnorm_gradient.h). All else goes by the three kernels of channels.h, whose units are the
 * channels of a sample: the gradient needs sums of each for dweight and dbias. */
#ifndef TRINE_SIMT_GROUPNORM_H
#define TRINE_SIMT_GROUPNORM_H

#include "backends/simt/batchnorm.h"
#include "backends/simt/groupnorm_gradient.h"

namespace simt {

/* ---- Groups as rows ---- */

template <class T> struct groupnorm_rows : moment_rows<T> {
    channel_vector scale, shift; /* weight and bias */
    divider_any plane;           /* elements of a channel of a sample */
    divider_any groups;
    int members;
    using stats = typename norm_rows<T, false>::stats;

    /* Of a pack: weight and bias of its first channel, how many elements of that there are, those of the next one. Channels of
     * one element (flat) are looked up one by one. */
    struct place {
        float weight[2], bias[2];
        int left, channel;
        bool ragged, flat;
    };
    /* The simple kernels have whole fours of one channel. */
    bool aligned() const { return plane.d % 4 == 0; }
    template <bool simple, class F> static TRINE_DEVICE_METHOD void choose(F f) { f(tag<float>{}); }
    TRINE_DEVICE_METHOD int next(int channel, int by) const /* behind the last row no element exists */
    {
        const int last = int(groups.d) * members - 1;
        return channel + by < last ? channel + by : last;
    }
    template <class W> TRINE_DEVICE_METHOD place fetch(const row_place &at, int i, int64_t first) const
    {
        constexpr int V = row_pack<T>;
        const int64_t column = first + at.column(i); /* elements before the row, if it is negative, do not exist */
        const int64_t inside = plane.divide(column > 0 ? column : 0), group = at.row - groups.divide(at.row) * groups.d;
        const int channel = int(group) * members + int(inside);
        place p = {{scale.at(channel, 1.0f)}, {shift.at(channel, 0.0f)}, V, channel, !at.simple, false};
        if (at.simple && (V == 4 || plane.d % V == 0)) return p; /* a pack has one channel */
        const int64_t left = (inside + 1) * plane.d - column;
        p.weight[1] = scale.at(next(channel, 1), 1.0f);
        p.bias[1] = shift.at(next(channel, 1), 0.0f);
        p.left = left > V ? V : int(left);
        if (at.simple) return p;
        p.flat = plane.d == 1;
        p.channel = int(group) * members + int(column);
        return p;
    }
    template <int P> TRINE_DEVICE_METHOD void emit(float (&y)[4], const stats &s, const row_tile<T, 1, P> &tile, int i, int q,
                                                   const place &p) const
    {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const bool first = 4 * q + (p.ragged ? j : 0) < p.left;
            float weight = first ? p.weight[0] : p.weight[1], bias = first ? p.bias[0] : p.bias[1];
            if (p.flat) {
                const int channel = next(p.channel, 4 * q + j) < 0 ? 0 : next(p.channel, 4 * q + j);
                weight = scale.at(channel, 1.0f);
                bias = shift.at(channel, 0.0f);
            }
            y[j] = target::fma_rn((tile.at[0][i].value(4 * q + j) - s.mean) * s.rstd, weight, bias);
        }
    }
};

template <class T> constexpr bool row_seldom_odd<groupnorm_rows<T>> = true;

/* ---- From partials to maps: a wave a set ---- */

enum { parameter_threads = 512 };

struct groupnorm_sets {
    channel_vector weight, bias;
    float *mean, *rstd;
    int64_t sets, members, channels, slices;
    float eps, per_element; /* 1 / elements of a set */
};

TRINE_KERNEL(channel_threads)
groupnorm_finish_kernel(groupnorm_sets of, const channel_moments *partials, channel_affine *map)
{
    const int64_t set = wave_of_grid(), first = set * of.members;
    const int lane = target::thread_x() % target::wave_size();
    if (set >= of.sets) return;
    const channel_moments m = merge_partials(partials + first * of.slices, of.members * of.slices);
    const float mean = target::shuffle(m.mean, 0), count = target::shuffle(m.count, 0), squares = target::shuffle(m.squares, 0),
                nan = __builtin_nanf("");
    const float rstd = target::rsqrt_ieee(count > 0.0f ? target::div_ieee(squares, count) + of.eps : nan);
    if (lane == 0 && of.mean) of.mean[set] = count > 0.0f ? mean : nan;
    if (lane == 0 && of.rstd) of.rstd[set] = rstd;
    for (int64_t unit = first + lane; unit < first + of.members; unit += target::wave_size())
        map[unit] =
            channel_affine{mean, 0.0f, rstd * of.weight.at(unit % of.channels, 1.0f), of.bias.at(unit % of.channels, 0.0f)};
}

/* Leaves the sums of a unit in its first partial. */
TRINE_KERNEL(channel_threads)
groupnorm_slopes_kernel(groupnorm_sets of, channel_slopes *partials, channel_affine *map)
{
    const int64_t set = wave_of_grid(), first = set * of.members;
    const int lane = target::thread_x() % target::wave_size();
    if (set >= of.sets) return;
    const float mean = of.mean[set], rstd = of.rstd[set];
    channel_slopes own = channel_slopes::none();
    for (int64_t unit = first + lane; unit < first + of.members; unit += target::wave_size()) {
        channel_slopes s = channel_slopes::none();
        for (int64_t i = 0; i < of.slices; i++) s = channel_slopes::merge(s, partials[unit * of.slices + i]);
        const float weight = of.weight.at(unit % of.channels, 1.0f);
        partials[unit * of.slices] = s;
        own = channel_slopes::merge(own, channel_slopes{weight * s.sum, weight * s.along});
    }
    const float sum = wave_reduce(own.sum, op_sum{}), along = wave_reduce(own.along, op_sum{});
    for (int64_t unit = first + lane; unit < first + of.members; unit += target::wave_size())
        map[unit] = channel_affine{mean, rstd * of.weight.at(unit % of.channels, 1.0f),
                                   -rstd * (along * rstd * rstd * of.per_element), -rstd * (sum * of.per_element)};
}

/* Over the samples, and the first `parts` partials of each unit: a wave goes down neighbouring channels, the waves of a block share the
 * samples. */
TRINE_KERNEL(parameter_threads)
groupnorm_parameters_kernel(groupnorm_sets of, int64_t samples, int64_t parts, const channel_slopes *partials,
                            channel_vector dweight, channel_vector dbias)
{
    constexpr int wave = target::wave_size(), waves = parameter_threads / wave;
    TRINE_SHARED channel_slopes list[parameter_threads];
    const int t = target::thread_x();
    const int64_t channel = int64_t(target::block_x()) * wave + t % wave,
                  there = channel < of.channels ? channel : of.channels - 1;
    const int64_t group = there / of.members, groups = of.channels / of.members;
    channel_slopes own = channel_slopes::none();
    target::wait_for_previous();
#pragma unroll 4
    for (int64_t n = t / wave; n < samples; n += waves) {
        const channel_slopes *const from = partials + (n * of.channels + there) * of.slices;
        channel_slopes s = from[0];
        for (int64_t i = 1; i < parts; i++) s = channel_slopes::merge(s, from[i]);
        own = channel_slopes::merge(own, channel_slopes{s.sum, s.along * of.rstd[n * groups + group]});
    }
    list[t] = own;
    target::barrier();
    if (t >= wave || channel >= of.channels) return;
    for (int w = 1; w < waves; w++) own = channel_slopes::merge(own, list[t + w * wave]);
    dbias.put(channel, own.sum);
    dweight.put(channel, own.along);
}

/* ---- Host ---- */

/* Blocks for as many waves. */
inline grid waves_of(const trine_call *call, int64_t count)
{
    return grid(ceil_div(count * call->device->props.wave_size, channel_threads));
}

/* dweight and dbias, where they are asked for. */
inline trine_status groupnorm_parameters(trine_call *call, const trine_groupnorm_backward_args *a, const groupnorm_sets &of,
                                         int64_t parts, const channel_slopes *partials)
{
    if (!trine_is_given(&a->dweight) && !trine_is_given(&a->dbias)) return TRINE_OK;
    return launch_next(call, groupnorm_parameters_kernel, ceil_div(of.channels, call->device->props.wave_size), parameter_threads,
                       of, a->x.shape[0], parts, partials, channel_vector(a->dweight), channel_vector(a->dbias));
}

/* Of one call by units; the workspace is maps, then partials. */
template <class T, class Gather> struct groupnorm_run {
    enum { V = 16 / int(sizeof(T)) };
    using partial = typename Gather::partial;
    trine_call *call;
    const trine_tensor *const *tensors;
    trine_units units;
    int step; /* elements that move together */

    groupnorm_run(trine_call *call_, const trine_tensor *const *tensors_, int32_t channels_last, int32_t groups)
        : call(call_), tensors(tensors_), units(trine_units_make(tensors, channel_operands, channels_last, groups)),
          step(channel_step<T>(units, tensors))
    {
        call->variant = target::variant;
    }
    size_t maps_bytes() const { return size_t(units.units) * sizeof(channel_affine); }
    size_t workspace() const { return maps_bytes() + size_t(units.units * gather_slices(call, units, V)) * sizeof(partial); }
    channel_affine *maps() const { return static_cast<channel_affine *>(call->workspace); }
    partial *partials() const
    {
        return reinterpret_cast<partial *>(static_cast<unsigned char *>(call->workspace) + maps_bytes());
    }
    channel_plan plan() const { return plan_gather(call, units, step); }
    trine_status gather(const Gather &g) const { return run_gather(call, g, units, step, plan(), partials()); }
    template <int I> trine_status map() const
    {
        const channel_mapped<T> o = {{data_of<T>(*tensors[1]), data_of<T>(*tensors[2])}, data_of<T>(*tensors[0]), maps()};
        return run_map<T, I>(call, o, units, step, units.units);
    }
    groupnorm_sets sets(const trine_tensor &weight, const trine_tensor &bias, const trine_tensor &mean, const trine_tensor &rstd,
                        float eps) const
    {
        const int64_t n = units.n * units.members;
        return groupnorm_sets{channel_vector(weight),
                              channel_vector(bias),
                              data_of<float>(mean),
                              data_of<float>(rstd),
                              units.sets,
                              units.members,
                              units.channels,
                              plan().slices,
                              eps,
                              n ? 1.0f / float(n) : 0.0f};
    }
};

/* Groups in one piece, as rows [N, groups, elements]; of the output and the inputs. A pack has at most two channels, or one each. */
template <class T, int K> inline bool groups_as_rows(const trine_units &u, const trine_tensor *const *tensors,
                                                     int32_t channels_last, trine_tensor (&rows)[K])
{
    if (u.n == 0 || u.members == 0 || u.inside.ndim > 1) return false;
    bool fit = (u.n == 1 || u.n >= 16 / int(sizeof(T))) && u.channels < 0x7fffffff;
    for (int k = 0; k < K; k++) {
        const int64_t channel = tensors[k]->stride[trine_channel_axis(tensors[k], channels_last)];
        fit = fit && (u.n == 1 || u.inside.stride[k][0] == 1) && (u.members == 1 || channel == u.n);
        rows[k] = *tensors[k];
        rows[k].ndim = 3;
        rows[k].shape[1] = u.channels / u.members;
        rows[k].stride[1] = channel * u.members;
        rows[k].shape[2] = u.members * u.n;
        rows[k].stride[2] = 1;
    }
    return fit;
}

template <class T> inline trine_status groupnorm_of(trine_call *call, const trine_groupnorm_args *a)
{
    const trine_tensor *const tensors[] = {&a->y, &a->x, &a->x};
    const groupnorm_run<T, gather_moments<T>> run(call, tensors, a->channels_last, a->groups);
    trine_tensor rows[2];
    if (groups_as_rows<T>(run.units, tensors, a->channels_last, rows)) {
        const trine_tensor *const views[] = {&rows[0], &rows[1]};
        return run_rows(call,
                        groupnorm_rows<T>{{a->x, a->y, data_of<float>(a->mean), data_of<float>(a->rstd), a->eps},
                                          channel_vector(a->weight),
                                          channel_vector(a->bias),
                                          divider_any(run.units.n),
                                          divider_any(a->groups),
                                          int(run.units.members)},
                        views);
    }
    TRINE_END_OF_QUERY(call, run.workspace());
    trine_status status = run.gather(gather_moments<T>{{data_of<T>(a->x)}});
    if (status == TRINE_OK)
        status = launch(call, groupnorm_finish_kernel, waves_of(call, run.units.sets), channel_threads, 0,
                        run.sets(a->weight, a->bias, a->mean, a->rstd, a->eps), run.partials(), run.maps());
    return status == TRINE_OK ? run.template map<1>() : status;
}

template <class T> inline trine_status groupnorm_backward_of(trine_call *call, const trine_groupnorm_backward_args *a)
{
    const trine_tensor *const tensors[] = {&a->dx, &a->x, &a->dy};
    const groupnorm_run<T, gather_slopes<T>> run(call, tensors, a->channels_last, a->groups);
    TRINE_END_OF_QUERY(call, run.workspace());
    groupnorm_sets of = run.sets(a->weight, trine_tensor{}, a->mean, a->rstd, 0.0f);
    trine_tensor rows[channel_operands];
    group_gradient<T> once(a);
    if (groups_as_rows<T>(run.units, tensors, a->channels_last, rows) && plan_group_gradient(&once, rows, run.units.n)) {
        once.slopes = trine_is_given(&a->dweight) || trine_is_given(&a->dbias) ? run.partials() : nullptr;
        of.slices = 1;
        const trine_status status = run_group_gradient<T>(call, once, of.sets);
        return status == TRINE_OK ? groupnorm_parameters(call, a, of, 1, run.partials()) : status;
    }
    trine_status status = run.gather(
        gather_slopes<T>{{data_of<T>(a->x), data_of<T>(a->dy)}, of.mean, divider_any(run.units.members ? run.units.members : 1)});
    if (status == TRINE_OK)
        status =
            launch(call, groupnorm_slopes_kernel, waves_of(call, of.sets), channel_threads, 0, of, run.partials(), run.maps());
    if (status == TRINE_OK) status = groupnorm_parameters(call, a, of, 1, run.partials());
    return status == TRINE_OK ? run.template map<2>() : status;
}

inline trine_status groupnorm(trine_call *call, const trine_groupnorm_args *a)
{
    return visit_floats(call, a->x.dtype, [&](auto t) { return groupnorm_of<typename decltype(t)::type>(call, a); });
}
inline trine_status groupnorm_backward(trine_call *call, const trine_groupnorm_backward_args *a)
{
    return visit_floats(call, a->x.dtype, [&](auto t) { return groupnorm_backward_of<typename decltype(t)::type>(call, a); });
}

} // namespace simt

#endif
