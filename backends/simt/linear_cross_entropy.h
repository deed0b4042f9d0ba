/* linear_cross_entropy on GPUs: core/linear_cross_entropy.h over this backend's ops, and one kernel for what lies between its
 * products: a row's loss and its gradient from one read and one write, where the two ops read the logits twice.
 *
 * It is entropy_forward with the output of entropy_backward, in place. The label, and the logit that it picks, come with the
 * row's partial, for when the loss is made other threads may have written that logit over. Only for 16-bit rows without softcap,
 * long ones of whole packs: what others lose is small beside their products. */
#ifndef TRINE_SIMT_LINEAR_CROSS_ENTROPY_H
#define TRINE_SIMT_LINEAR_CROSS_ENTROPY_H

#include "backends/simt/cross_entropy.h"
#include "core/linear_cross_entropy.h"

namespace simt {

template <class T> struct entropy_whole : row_shares_nothing {
    using element = T;
    enum { inputs = 1 };
    const T *in[1];
    T *out;
    entropy_forward<T, false> forward;
    entropy_backward<T, false> backward;
    int64_t step[4]; /* from row to row, of what `rows` has */

    /* label: above the least code; 0 in all threads but one. own: the label's logit in that thread, else 0. */
    enum { no_label = 1, left_out, least_code };
    struct partial {
        exp_sum exps;
        float total, own;
        int label;
    };
    /* What entropy_backward has in more registers. label: the class, -1 for a row that is left out, -2 for none. */
    struct stats {
        float lse, scale, pull;
        int label;
        float total, own;
    };

    static TRINE_DEVICE_METHOD float neutral() { return -__builtin_inff(); }
    static TRINE_DEVICE_METHOD partial identity() { return partial{exp_sum::identity(), 0.0f, 0.0f, 0}; }

    template <int P> TRINE_DEVICE_METHOD partial gather(row_tile<T, 1, P> &tile, const row_place &at, int width) const
    {
        const typename entropy_forward<T, false>::partial sums = forward.template gather<P>(tile, at, width);
        partial p = {sums.exps, sums.total, 0.0f, 0};
        if (at.begin == 0) {
            const auto &options = forward.options;
            const int64_t label = forward.rows.labels.at(at.row * step[ENTROPY_LABELS]);
            const bool skips = options.skips(label), has = options.has(label) && !skips;
            p.label = has ? int(label) + least_code : skips ? int(left_out) : int(no_label);
            if (has) p.own = to_f32(in[0][at.row * step[ENTROPY_LOGITS] + label]);
        }
        p.own = wave_reduce(p.own, op_sum{}, width);
        p.label = wave_reduce(p.label, op_sum{}, width);
        return p;
    }
    static TRINE_DEVICE_METHOD partial merge(const partial &a, const partial &b)
    {
        return partial{exp_sum::merge(a.exps, b.exps), target::add_rn(a.total, b.total), a.own + b.own, a.label + b.label};
    }
    static TRINE_DEVICE_METHOD partial combine(const partial &p)
    {
        return partial{exp_sum::combine(p.exps), wave_reduce(p.total, op_sum{}), wave_reduce(p.own, op_sum{}),
                       wave_reduce(p.label, op_sum{})};
    }
    TRINE_DEVICE_METHOD stats finish(const partial &p, int64_t) const
    {
        const float lse = p.exps.most + p.exps.log();
        const auto s = backward.slope_of(lse, 0, false, false, p.label == no_label ? __builtin_nanf("") : *backward.rows.losses);
        return stats{lse, s.scale, s.pull, p.label - least_code, p.total, p.own};
    }
    TRINE_DEVICE_METHOD void note(const stats &s, int64_t row) const
    {
        const int64_t offset[4] = {0, row * step[ENTROPY_LOSSES], row * step[ENTROPY_LSE], 0};
        const float loss = s.label >= 0                       ? forward.loss_of(s.lse, s.own, s.total)
                           : s.label == left_out - least_code ? 0.0f
                                                              : __builtin_nanf("");
        forward.write(offset, s.lse, loss);
    }
    template <class W> static TRINE_DEVICE_METHOD int fetch(const row_place &at, int i, int64_t) { return at.column(i); }
    template <int P>
    TRINE_DEVICE_METHOD void emit(float (&dx)[4], const stats &s, const row_tile<T, 1, P> &tile, int i, int q, int pack) const
    {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const float p = target::exp2_fast((tile.at[0][i].value(4 * q + j) - s.lse) * log2e);
            dx[j] = s.label == left_out - least_code ? 0.0f : target::fma_rn(p, s.scale, -s.pull);
        }
        const unsigned at = unsigned(s.label - pack - 4 * q);
        if (at < 4) { /* one thread */
            const float own = *backward.rows.losses * (1.0f - backward.options.smoothing);
#pragma unroll
            for (unsigned j = 0; j < 4; j++) dx[j] -= at == j ? own : 0.0f;
        }
    }
};

template <class T> constexpr bool row_places_again<entropy_whole<T>> = true;

/* Rows that a team with as many packs a thread as there may be holds: one kernel for clusters, one for blocks. */
template <class T> inline trine_status run_entropy_whole(trine_call *call, const trine_cross_entropy_args *f,
                                                         const trine_cross_entropy_backward_args *b)
{
    using Op = entropy_whole<T>;
    constexpr int V = row_pack<T>;
    constexpr row_sizes sizes = row_sizes_of<Op, true>;
    const trine_tensor *tensors[] = {&b->dlogits, &f->logits};
    int64_t n;
    const trine_iter outer = trine_iter_rows(tensors, 2, &n);
    TRINE_REQUIRE_THAT(call, n % V == 0 && f->logits.stride[0] % V == 0 && reinterpret_cast<uintptr_t>(f->logits.data) % 16 == 0,
                       "needs rows of whole packs");
    const row_team team = choose_team_here<Op, true>(call, n / V);
    TRINE_REQUIRE_THAT(call, team.blocks > 1 || (team.packs == sizes.most && team.shift < 0), "needs rows that fill a block");
    TRINE_END_OF_QUERY(call, 0);
    if (outer.numel == 0) return TRINE_OK;
    const entropy_options options(f->options, n);
    const id_list labels(f->labels);
    const walk<4, divider_any> at(entropy_iter(f->labels, f->loss, f->lse, f->logits));
    const entropy_rows rows = {at, labels, data_of<float>(f->loss), data_of<float>(f->lse)},
                       weights = {at, labels, data_of<float>(b->dloss), nullptr};
    T *const logits = data_of<T>(f->logits);
    const Op op = {{},
                   {logits},
                   logits,
                   {{}, {logits}, logits, options, rows},
                   {{}, {logits}, logits, options, weights, nullptr},
                   {f->labels.stride[0], f->loss.stride[0], f->lse.stride[0], f->logits.stride[0]}};
    const row_walk<Op, true> walk(outer); /* of one axis */
    if constexpr (row_goes_wide<Op, true>) {
        if (team.blocks > 1)
            return target::launch_wide(call, row_kernel<Op, sizes.wide, target::row_wide_team, true>, outer.numel * team.blocks,
                                       team.blocks, team.threads, 0, row_shape{outer.numel, int(n), team.shift}, op, walk);
    }
    return launch_rows<Op, sizes.most, true>(call, op, walk, outer.numel, n, team);
}

/* Both ops of core/linear_cross_entropy.h at once, or a refusal. */
inline trine_status entropy_and_gradient(trine_call *call, const trine_cross_entropy_args *f,
                                         const trine_cross_entropy_backward_args *b)
{
    TRINE_REQUIRE_THAT(call, f->options.softcap <= 0, "needs softcap 0");
    if (f->logits.dtype == TRINE_BF16) return run_entropy_whole<bf16>(call, f, b);
    TRINE_REQUIRE_THAT(call, f->logits.dtype == TRINE_F16, "needs f16 or bf16");
    return run_entropy_whole<f16>(call, f, b);
}

} // namespace simt

extern "C" trine_status TRINE_BACKEND_FN(linear_cross_entropy)(trine_call *call, const trine_linear_cross_entropy_args *a)
{
    static const trine_linear_entropy_ops ops = {
        TRINE_BACKEND_FN(matmul), TRINE_BACKEND_FN(cross_entropy), TRINE_BACKEND_FN(cross_entropy_backward),
        TRINE_BACKEND_FN(sum),    TRINE_BACKEND_FN(mul),           TRINE_BACKEND_FN(copy),
        simt::entropy_weight,     simt::entropy_and_gradient};
    return trine_linear_entropy_run(call, &ops, a, target::variant);
}

#endif
