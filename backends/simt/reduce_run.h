/* Host side of reductions: plans and launches. reduce_rows.h has the kernels for a reduced axis that lies closest in memory,
 * reduce_columns.h those for one that does not, reduce_ops.h what is reduced. */
#ifndef TRINE_SIMT_REDUCE_RUN_H
#define TRINE_SIMT_REDUCE_RUN_H

#include "backends/simt/reduce_columns.h"
#include "core/reduction.h"

namespace simt {

/* Blocks that are wanted: many small ones keep a device busy to the end better than as many as work at a time; but the states of one
 * output are merged by one block, whose threads read at most reduce_finish of them at once. */
inline int64_t wanted_blocks(const trine_call *call, int64_t outputs)
{
    const int64_t units = call->device->props.compute_units, most = reduce_finish * reduce_threads;
    return outputs > 1 ? units * 32 : units * 16 < most ? units * 16 : most;
}
inline int log2_at_least(int64_t n)
{
    int shift = 0;
    while (int64_t(1) << shift < n) shift++;
    return shift;
}
inline int64_t clamped(int64_t n, int64_t low, int64_t high) { return n > high && high >= low ? high : n < low ? low : n; }

/* ---- Plans ---- */

/* A group is so large that each thread has about four packs: part of a wave, or the block for segments of more than 16 packs a
 * lane; of one where outputs are so few that all blocks work at a time. */
template <class Kind> inline reduce_rows_plan plan_rows(const trine_call *call, const trine_reduction &r)
{
    constexpr int V = 16 / int(sizeof(reduce_element<Kind>));
    const int64_t wave = call->device->props.wave_size, loads = r.step[0] == 1 ? ceil_div(r.n, V) : r.n,
                  many = wanted_blocks(call, r.kept.numel);
    const bool few = loads >= reduce_threads && r.kept.numel <= call->device->props.compute_units * 4,
               whole_block = few || loads > 16 * wave;
    reduce_rows_plan plan = {};
    plan.outputs = r.kept.numel;
    plan.n = r.n;
    for (int k = 0; k < 2; k++) plan.step[k] = r.step[k];
    plan.shift =
        whole_block ? log2_at_least(reduce_threads) : int(clamped(log2_at_least(ceil_div(loads, 4)), 0, log2_at_least(wave)));
    /* small pieces, so that what the blocks read at a time lies together */
    const int64_t blocks = whole_block ? clamped(many / plan.outputs, 1, r.rows.numel * loads / (8 * reduce_threads)) : 1;
    plan.part = blocks > 1 ? clamped(reduce_unroll * reduce_threads * int64_t(V), 1, r.n) : r.n;
    plan.parts = divider_any(r.n ? ceil_div(r.n, plan.part) : 1);
    plan.pieces = r.rows.numel * plan.parts.d;
    if (whole_block || plan.pieces > 1)
        plan.blocks = clamped(ceil_div(plan.pieces, reduce_threads >> plan.shift), 1, whole_block ? blocks : many);
    plan.of_output = divider32(plan.blocks ? plan.blocks : 1);
    return plan;
}

/* V: columns that a thread takes at once. */
template <class Kind> inline reduce_columns_plan plan_columns(const trine_call *call, const trine_reduction &r,
                                                              const trine_iter &outer, const int64_t *inner, int64_t columns,
                                                              int V)
{
    const int64_t width_bytes = V * int64_t(sizeof(reduce_element<Kind>)), packs = ceil_div(columns, V);
    reduce_columns_plan plan = {};
    plan.columns = columns;
    plan.outer = outer.numel;
    plan.n = r.n;
    for (int k = 0; k < 3; k++) plan.column_step[k] = inner[k];
    for (int k = 0; k < 2; k++) plan.step[k] = r.step[k];
    plan.shift = int(clamped(log2_at_least(packs), 0, log2_at_least(clamped(512 / width_bytes, 1, reduce_threads))));
    plan.blocks_across = ceil_div(packs, int64_t(1) << plan.shift);
    const int64_t deep = reduce_threads >> plan.shift;
    const int64_t slices =
        clamped(columns_blocks * call->device->props.compute_units / (plan.blocks_across * plan.outer), 1, r.n / (8 * deep));
    const int64_t least = ceil_div(r.n, columns_most_rows * deep);
    plan.slices = slices > least ? slices : least;
    return plan;
}

/* ---- Launches ---- */

template <class Kind> inline trine_status launch_finish(trine_call *call, const Kind &kind, const trine_iter &kept,
                                                        int64_t outputs, int64_t count, int64_t output_step, int64_t state_step,
                                                        const reduce_search<Kind> &search = {})
{
    /* where states of neighbouring outputs are neighbours, some of them a block: at least half a line of the caches, or one */
    const int most = log2_at_least(reduce_threads) - (output_step != 1 ? 0 : sizeof(reduce_state<Kind>) < 16 ? 4 : 3);
    const int shift = int(clamped(log2_at_least(ceil_div(count, 4)), 0, most));
    return launch_next(call, reduce_finish_kernel<Kind>, ceil_div(outputs, reduce_threads >> shift), reduce_threads, kind,
                       walk<3, divider_any>(kept), outputs, int(count), output_step, state_step, shift,
                       static_cast<const reduce_state<Kind> *>(call->workspace), search);
}

/* Whether reduce_packs_kernel takes all of it. */
template <class Kind> inline bool rows_of_packs(const Kind &kind, const trine_reduction &r, const reduce_rows_plan &plan)
{
    constexpr int V = 16 / int(sizeof(reduce_element<Kind>));
    bool fit = !reduce_picks<Kind> && r.kept.ndim == 1 && r.rows.numel == 1 && r.n > 0 && r.n % V == 0 && r.n / V < 0x40000000 &&
               plan.outputs < 0x40000000;
    for (int k = 0; k < Kind::inputs; k++)
        fit = fit && r.step[k] == 1 && aligned16(kind.in[k]) && (plan.outputs == 1 || r.kept.stride[k][0] % V == 0);
    return fit;
}

template <class Kind> inline trine_status run_packs(trine_call *call, const Kind &kind, const trine_reduction &r,
                                                    const reduce_rows_plan &plan, int threads, int64_t blocks)
{
    constexpr int V = 16 / int(sizeof(reduce_element<Kind>));
    auto *states = static_cast<reduce_state<Kind> *>(call->workspace);
    reduce_packs_plan<Kind> packs = {int(plan.outputs), int(r.n / V), plan.shift, plan.blocks > 1 ? int(plan.blocks) : 1,
                                     plan.of_output,    {},           0,          states};
    for (int k = 0; k < Kind::inputs; k++) packs.step[k] = r.kept.stride[k][0];
    packs.to = r.kept.stride[2][0];
    return launch(call, reduce_packs_kernel<Kind>, grid(blocks), threads, 0, packs, kind);
}

template <class Kind> inline trine_status run_rows(trine_call *call, const Kind &kind, const trine_reduction &r)
{
    const reduce_rows_plan plan = plan_rows<Kind>(call, r);
    auto *states = static_cast<reduce_state<Kind> *>(call->workspace);
    TRINE_END_OF_QUERY(call, plan.blocks > 1 ? size_t(plan.outputs * plan.blocks) * sizeof *states : 0);
    const int threads = plan.blocks ? int(reduce_threads) : threads_of_few_rows(call, reduce_threads, plan.shift, plan.outputs);
    const int64_t blocks = plan.blocks ? plan.outputs * plan.blocks : ceil_div(plan.outputs, threads >> plan.shift);
    if constexpr (!reduce_picks<Kind>) {
        if (rows_of_packs(kind, r, plan)) {
            const trine_status status = run_packs(call, kind, r, plan, threads, blocks);
            if (status != TRINE_OK || plan.blocks <= 1) return status;
            return launch_finish(call, kind, r.kept, plan.outputs, plan.blocks, plan.blocks, 1);
        }
    }
    const trine_status status = launch(call, reduce_rows_kernel<Kind>, grid(blocks), threads, 0, plan, kind, states,
                                       walk<3, divider_any>(r.kept), walk<2, divider_any>(r.rows));
    if (status != TRINE_OK || plan.blocks <= 1) return status;
    return launch_finish(call, kind, r.kept, plan.outputs, plan.blocks, plan.blocks, 1,
                         reduce_search<Kind>(walk<2, divider_any>(r.rows), plan));
}

template <class Kind, int V> inline trine_status launch_columns(trine_call *call, const Kind &kind, const trine_reduction &r,
                                                                const trine_iter &outer, const reduce_columns_plan &plan)
{
    auto *states = static_cast<reduce_state<Kind> *>(call->workspace);
    const int64_t outputs = plan.outer * plan.columns;
    const trine_status status = launch(call, reduce_columns_kernel<Kind, V>, grid(plan.blocks_across * plan.outer * plan.slices),
                                       reduce_threads, 0, kind, walk<3, divider_any>(outer), plan, states);
    if (status != TRINE_OK || plan.slices <= 1) return status;
    return launch_finish(call, kind, r.kept, outputs, plan.slices, 1, outputs);
}

/* Whole packs of V columns everywhere. */
template <class Kind> inline bool columns_in_packs(const Kind &kind, const trine_reduction &r, const trine_iter &outer,
                                                   const int64_t *inner, int64_t columns, int V)
{
    bool fit = columns % V == 0;
    for (int k = 0; k < Kind::inputs; k++) {
        fit = fit && inner[k] == 1 && r.step[k] % V == 0 && reinterpret_cast<uintptr_t>(kind.in[k]) % Kind::column_bytes == 0;
        for (int d = 0; d < outer.ndim; d++) fit = fit && (outer.size[d] == 1 || outer.stride[k][d] % V == 0);
    }
    return fit;
}

template <class Kind> inline trine_status run_columns(trine_call *call, const Kind &kind, const trine_reduction &r)
{
    constexpr int V = Kind::column_bytes / int(sizeof(reduce_element<Kind>));
    int64_t inner[TRINE_ITER_OPERANDS];
    trine_iter outer = r.kept;
    const int64_t columns = trine_iter_pop_inner(&outer, inner);
    const reduce_columns_plan packed = plan_columns<Kind>(call, r, outer, inner, columns, V),
                              single = plan_columns<Kind>(call, r, outer, inner, columns, 1);
    const int64_t most = packed.slices > single.slices
                             ? packed.slices
                             : single.slices; /* what is stated does not depend on where the tensors lie */
    TRINE_END_OF_QUERY(call, most > 1 ? size_t(r.kept.numel * most) * sizeof(reduce_state<Kind>) : 0);
    if (columns_in_packs(kind, r, outer, inner, columns, V)) return launch_columns<Kind, V>(call, kind, r, outer, packed);
    return launch_columns<Kind, 1>(call, kind, r, outer, single);
}

/* Many small blocks of outputs are better taken an output a thread, which the kernel for rows does. */
inline bool columns_are_closest(const trine_reduction &r)
{
    const int inner = r.kept.ndim - 1;
    if (r.rows.numel != 1 || r.n <= 1 || r.kept.size[inner] <= 1 || r.kept.stride[0][inner] >= r.step[0]) return false;
    return r.kept.numel < 65536 || r.kept.size[inner] * r.n >= 8192;
}

template <class Kind> inline trine_status reduce(trine_call *call, const Kind &kind, const trine_reduction &r)
{
    call->variant = target::variant;
    if (r.kept.numel == 0) return TRINE_OK;
    return columns_are_closest(r) ? run_columns(call, kind, r) : run_rows(call, kind, r);
}

} // namespace simt

#endif
