/* groupnorm's gradient of groups of channels that lie in one piece and that a block can hold: one read and one write an element.
 *
 * Algorithm: a thread keeps P packs of x and of dy in registers and leaves in shared memory what each pack sums up to, twice where it
 * has elements of two channels. 2^shift threads add up a channel's packs, always in the same order, and leave its sums for dweight
 * and dbias; the channels' sums times their weights, over the block, are what dx needs of the group. Then every thread maps the packs
 * that it holds. Bound by bytes; several blocks of a compute unit work while others wait.
 *
 * A channel has at least as many elements as a pack, so that a pack has at most two channels. */
#ifndef TRINE_SIMT_GROUPNORM_GRADIENT_H
#define TRINE_SIMT_GROUPNORM_GRADIENT_H

#include "backends/simt/block.h"
#include "backends/simt/channels.h"

namespace simt {

enum {
    group_few_packs = 2, /* that a thread holds of each input; 8 of them took 10 % longer than 4 in twice the threads (H100) */
    group_most_packs = 4,
    group_small_block = 256,
    group_block = 1024,
    group_shared_bytes = 46 << 10 /* of dynamic shared memory, which every device gives unasked */
};

/* One kernel's arguments. Operands as the walks: dx, x, dy. */
template <class T> struct group_gradient {
    const T *in[2];
    T *out;
    int packs, members, shift;
    divider32 plane, groups; /* elements of a channel of a sample; groups of a sample */
    int64_t sample_step[channel_operands], group_step[channel_operands];
    const float *mean, *rstd; /* of every group */
    channel_vector weight;
    float per_element;      /* 1 / elements of a group */
    channel_slopes *slopes; /* of every channel of a sample, or NULL */

    explicit group_gradient(const trine_groupnorm_backward_args *a)
        : in{data_of<T>(a->x), data_of<T>(a->dy)}, out(data_of<T>(a->dx)), mean(data_of<float>(a->mean)),
          rstd(data_of<float>(a->rstd)), weight(a->weight)
    {
    }
    /* Pack i's first channel, and how many of its elements are that one's: as many as it has, or more. */
    struct pack_place {
        int channel, cut;
    };
    TRINE_DEVICE_METHOD pack_place place_of(int i) const
    {
        const int first = i * row_pack<T>, channel = int(plane.divide(first));
        return {channel, (channel + 1) * int(plane.d) - first};
    }
    /* Shared memory: the packs' sums of their first channel, those of the channels' elements in the pack that the channel before begins,
     * weights. */
    static size_t shared_bytes(int64_t packs, int64_t members)
    {
        return size_t(packs + members) * sizeof(channel_slopes) + size_t(members) * sizeof(float);
    }
};

/* Of elements first to end - 1 of a pack: sums of dy and of dy (x - mean). */
template <class T> TRINE_DEVICE channel_slopes pack_slopes(const channel_words<T, row_pack<T>> &x,
                                                           const channel_words<T, row_pack<T>> &dy, float mean, int first,
                                                           int end)
{
    channel_slopes s = channel_slopes::none();
#pragma unroll
    for (int j = 0; j < row_pack<T>; j++) {
        const bool is = j >= first && j < end; /* what is not may be NaN */
        const float g = is ? dy.value(j) : 0.0f, d = is ? x.value(j) - mean : 0.0f;
        s.sum += g;
        s.along = target::fma_rn(g, d, s.along);
    }
    return s;
}

template <class T, int P> TRINE_KERNEL((P == group_few_packs ? group_small_block : group_block))
group_gradient_kernel(group_gradient<T> of)
{
    constexpr int V = row_pack<T>, wave = target::wave_size();
    using words = channel_words<T, V>;
    TRINE_SHARED channel_slopes list[target::max_waves];
    channel_slopes *const part = reinterpret_cast<channel_slopes *>(target::dynamic_shared()), *const head = part + of.packs;
    float *const weights = reinterpret_cast<float *>(head + of.members);
    const int t = target::thread_x(), threads = target::block_threads();
    const int64_t set = target::block_x(), sample = of.groups.divide(set), group = set - sample * of.groups.d;
    int64_t base[channel_operands];
    for (int k = 0; k < channel_operands; k++) base[k] = sample * of.sample_step[k] + group * of.group_step[k];

    words x[P], dy[P];
#pragma unroll
    for (int u = 0; u < P; u++) {
        const int i = t + u * threads, there = i < of.packs ? i : of.packs - 1;
        x[u] = words::template load<true>(of.in[0] + base[1] + there * V);
        dy[u] = words::template load<true>(of.in[1] + base[2] + there * V);
    }
    const float mean = of.mean[set], rstd = of.rstd[set];
#pragma unroll
    for (int u = 0; u < P; u++) {
        const int i = t + u * threads;
        if (i >= of.packs) break;
        const auto at = of.place_of(i);
        part[i] = pack_slopes<T>(x[u], dy[u], mean, 0, at.cut);
        if (at.cut < V) head[at.channel + 1] = pack_slopes<T>(x[u], dy[u], mean, at.cut, V);
    }
    target::barrier();

    const int width = 1 << of.shift, lane = t & (width - 1), together = threads >> of.shift;
    channel_slopes own = channel_slopes::none();
    for (int first = 0; first < of.members; first += together) {
        const int channel = first + (t >> of.shift), begin = channel * int(of.plane.d), end = begin + int(of.plane.d);
        const bool exists = channel < of.members;
        channel_slopes s = channel_slopes::none();
        for (int i = (begin + V - 1) / V + lane; exists && i * V < end; i += width) s = channel_slopes::merge(s, part[i]);
        s = merge_lanes(s, width);
        if (lane != 0 || !exists) continue;
        if (begin % V) s = channel_slopes::merge(s, head[channel]);
        if (of.slopes) of.slopes[set * of.members + channel] = s;
        const float w = of.weight.at(group * of.members + channel, 1.0f);
        weights[channel] = w;
        own = channel_slopes::merge(own, channel_slopes{w * s.sum, w * s.along});
    }
    own = channel_slopes{wave_reduce(own.sum, op_sum{}), wave_reduce(own.along, op_sum{})};
    if (t % wave == 0) list[t / wave] = own;
    target::barrier();
    own = t % wave < threads / wave ? list[t % wave] : channel_slopes::none();
    const float sum = wave_reduce(own.sum, op_sum{}), along = wave_reduce(own.along, op_sum{});

    target::let_next_start();
    const float slope = -rstd * (along * rstd * rstd * of.per_element), offset = -rstd * (sum * of.per_element);
#pragma unroll
    for (int u = 0; u < P; u++) {
        const int i = t + u * threads;
        if (i >= of.packs) break;
        const auto at = of.place_of(i);
        const channel_affine one = {mean, rstd * weights[at.channel], slope, offset},
                             other = {mean, at.cut < V ? rstd * weights[at.channel + 1] : 0.0f, slope, offset};
        const words both[2] = {x[u], dy[u]};
        float y[V];
        words result;
#pragma unroll
        for (int j = 0; j < V; j++) y[j] = map_one(j < at.cut ? one : other, both, j);
        result.set(y);
        result.store(of.out + base[0] + i * V);
    }
}

/* ---- Host ---- */

/* Whether a block can hold a group of so many elements: registers, shared memory. */
template <class T> inline bool block_holds_group(int64_t elements, int64_t members)
{
    constexpr int V = row_pack<T>;
    return elements <= int64_t(group_most_packs) * group_block * V &&
           group_gradient<T>::shared_bytes(elements / V, members) <= group_shared_bytes;
}

/* `rows`: the operands as [N, groups, elements], elements side by side; n: of a channel of a sample. False if a block can't hold a
 * group or its packs don't lie on boundaries. */
template <class T> inline bool plan_group_gradient(group_gradient<T> *of, const trine_tensor *rows, int64_t n)
{
    constexpr int V = row_pack<T>;
    const int64_t elements = rows[0].shape[2], members = elements / n;
    if (elements % V || n < V || !block_holds_group<T>(elements, members) || rows[0].shape[0] * rows[0].shape[1] > 0x7fffffff)
        return false;
    for (int k = 0; k < channel_operands; k++) {
        of->sample_step[k] = rows[k].shape[0] > 1 ? rows[k].stride[0] : 0;
        of->group_step[k] = rows[k].shape[1] > 1 ? rows[k].stride[1] : 0;
        if (reinterpret_cast<uintptr_t>(rows[k].data) % 16 || of->sample_step[k] % V || of->group_step[k] % V) return false;
    }
    of->packs = int(elements / V);
    of->members = int(members);
    of->plane = divider32(n);
    of->groups = divider32(rows[0].shape[1]);
    of->per_element = 1.0f / float(elements);
    of->shift = 0;
    return true;
}

template <class T, int P> inline trine_status launch_group_gradient(trine_call *call, const group_gradient<T> &of, int64_t sets)
{
    const int64_t wave = call->device->props.wave_size;
    const int threads = int(ceil_div(ceil_div(int64_t(of.packs), int64_t(P)), wave) * wave);
    return launch(call, group_gradient_kernel<T, P>, grid(sets), threads, group_gradient<T>::shared_bytes(of.packs, of.members),
                  of);
}

template <class T> inline trine_status run_group_gradient(trine_call *call, group_gradient<T> of, int64_t sets)
{
    const int wave = call->device->props.wave_size; /* a thread adds up about four packs of a channel */
    while ((1 << of.shift) < wave && (int(of.plane.d) >> of.shift) > 4 * row_pack<T>) of.shift++;
    if (of.packs <= group_few_packs * group_small_block) return launch_group_gradient<T, group_few_packs>(call, of, sets);
    return launch_group_gradient<T, group_most_packs>(call, of, sets);
}

} // namespace simt

#endif
