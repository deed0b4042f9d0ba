/* Host side of norm_gradient.h: which team takes a row, the workspace, the launches. */
#ifndef TRINE_SIMT_NORM_GRADIENT_RUN_H
#define TRINE_SIMT_NORM_GRADIENT_RUN_H

#include "backends/simt/norm_gradient_columns.h"
#include "backends/simt/norm_gradient_stream.h"

namespace simt {

/* Teams that take rows through norm_gradient_stream.h: clusters. Single blocks gain nothing there. */
template <bool simple> inline bool gradient_streams(const row_team &team)
{
    return simple && target::row_stream_team::most_blocks > 1 && team.blocks > 1;
}

/* Dynamic shared memory of a block of such a team. */
template <class Op, bool simple> inline size_t gradient_shared(const row_team &team, int wave)
{
    constexpr int few = gradient_packs<simple>, most = gradient_most_packs<row_element<Op>, simple>;
    const size_t kept = team.packs == few ? gradient_thread_bytes<Op, few, simple> : gradient_thread_bytes<Op, most, simple>,
                 partials = 2 * sizeof(typename Op::partial);
    if (gradient_streams<simple>(team)) {
        const bool long_rows = team.packs != few;
        return size_t(team.threads) * (long_rows ? size_t(gradient_stream<Op, most, false>::thread_bytes)
                                                 : size_t(gradient_stream<Op, few, false>::thread_bytes));
    }
    if (team.shift >= 0) return kept * team.threads;
    return (target::columns_in_registers ? 0 : kept * team.threads) + partials * (team.threads / wave + team.blocks);
}

/* `packs`: of a row. packs 0 in the answer: no team can hold it. */
template <class Op, int P, bool simple> inline row_team fit_gradient_team(const trine_call *call, int64_t packs, int most_blocks)
{
    const int wave = call->device->props.wave_size;
    if (packs <= P * wave) return {P, gradient_small_block, log2_up(ceil_div(packs, P)), 1};
    for (int blocks = 1; blocks <= most_blocks; blocks *= 2) {
        const int64_t each = round_up(ceil_div(packs, int64_t(P) * blocks), wave);
        const bool fills = blocks == 1 && each > gradient_threads * 3 / 4; /* a multiprocessor alone, which need meet nobody */
        if (each > (blocks < most_blocks && !fills ? target::columns_team_block : int(gradient_threads))) continue;
        const row_team team = {P, int(each), -1, blocks};
        if (int64_t(gradient_shared<Op, simple>(team, wave)) <= call->device->props.shared_bytes) return team;
    }
    return {0, 0, 0, 0};
}

template <class Op, bool simple> inline row_team choose_gradient_team(const trine_call *call, int64_t packs, int most_blocks)
{
    constexpr int few = gradient_packs<simple>, most = gradient_most_packs<row_element<Op>, simple>;
    const row_team team = fit_gradient_team<Op, few, simple>(call, packs, most_blocks);
    return team.packs || most == few ? team : fit_gradient_team<Op, most, simple>(call, packs, most_blocks);
}

/* Teams for `most` turns in all, where each has sums of n columns to write, which are read again: a column of another team costs
 * 1 / 250000 of a turn (on an H100 16 bytes by its L2 cache and 1 us). Of large tensors more than work at a time. */
inline int64_t gradient_groups(int64_t most, int64_t n)
{
    int64_t turns = 1;
    while (turns < 64 && most * n > 250000 * (turns + 1) * (turns + 1)) turns++;
    return ceil_div(most, turns);
}

/* As many teams as work at a time, of few rows less. */
template <class Op, bool simple>
inline gradient_plan<Op> plan_gradient(const trine_call *call, int64_t rows, int64_t n, const row_team &team, bool wanted)
{
    const trine_device_props &props = call->device->props;
    const int64_t shared = int64_t(gradient_shared<Op, simple>(team, props.wave_size)), reserved = 1024; /* a block's own */
    int64_t at_once = target::columns_threads / team.threads;
    if (at_once * (shared + reserved) > props.shared_bytes + reserved)
        at_once = (props.shared_bytes + reserved) / (shared + reserved);
    const int64_t most = ceil_div(rows, team.shift >= 0 ? team.threads >> team.shift : 1);
    int64_t groups = props.compute_units * (at_once > 1 ? at_once : 1) / team.blocks;
    groups = groups < 1 ? 1 : groups;
    const int64_t useful = wanted ? gradient_groups(most, n) : most;
    return {rows, n, int32_t(groups < useful ? groups : useful), 1, team.shift, nullptr, nullptr, nullptr};
}

/* Rows in tiles: the longest, for which one kernel that takes any rows is enough. */
template <class Op> inline gradient_plan<Op> plan_gradient_tiles(const trine_call *call, int64_t rows, int64_t n)
{
    const int64_t tiles = ceil_div(n, int64_t(gradient_small_block) * gradient_packs<false> * Op::V);
    int64_t groups = int64_t(call->device->props.compute_units) * (target::columns_threads / gradient_small_block) / tiles;
    groups = groups < 1 ? 1 : groups;
    return {rows, n, int32_t(groups < rows ? groups : rows), int32_t(tiles), -1, nullptr, nullptr, nullptr};
}

/* Where the parts of the workspace begin, and its size: partials and statistics of tiles, then sums. */
template <class Op> struct gradient_workspace {
    size_t stats, sums, size;
    gradient_workspace(const gradient_plan<Op> &p, bool wanted)
    {
        const bool tiled = p.tiles > 1;
        stats = tiled ? (size_t(p.rows * p.tiles) * sizeof(typename Op::partial) + 15) / 16 * 16 : 0;
        sums = stats + (tiled ? size_t(p.rows) * sizeof(gradient_stats) : 0);
        size = sums + (wanted ? size_t(p.groups) * Op::sums * size_t(p.n) * sizeof(float) : 0);
    }
    void place(gradient_plan<Op> &p, void *workspace, bool wanted) const
    {
        char *base = static_cast<char *>(workspace);
        p.partials = reinterpret_cast<typename Op::partial *>(base);
        p.stats = reinterpret_cast<gradient_stats *>(base + stats);
        p.sums = wanted ? reinterpret_cast<float *>(base + sums) : nullptr;
    }
};

template <class Op, int P, bool simple> inline trine_status launch_gradient_team(trine_call *call, const Op &op,
                                                                                 const gradient_outer<simple> &outer,
                                                                                 gradient_plan<Op> &plan, const row_team &team)
{
    const size_t shared = gradient_shared<Op, simple>(team, call->device->props.wave_size);
    const auto kernel = gradient_kernel<Op, P, lone_block, simple, GRADIENT_ROWS>;
    target::allow_shared(kernel, shared);
    return launch(call, kernel, grid(plan.groups), team.threads, shared, op, outer, plan);
}

template <class Op, int P, bool narrow> inline trine_status launch_gradient_stream(trine_call *call, const Op &op,
                                                                                   const gradient_outer<true> &outer,
                                                                                   gradient_plan<Op> &plan, const row_team &team)
{
    const size_t shared = size_t(gradient_stream<Op, P, narrow>::thread_bytes) * team.threads;
    const auto kernel = gradient_stream_kernel<Op, P, narrow, target::row_stream_team>;
    const int teams = target::row_wide_teams(call, kernel, team.blocks, team.threads, shared);
    if (teams > 0 && teams < plan.groups) plan.groups = teams;
    return target::launch_wide(call, kernel, int64_t(plan.groups) * team.blocks, team.blocks, team.threads, shared, op, outer,
                               plan);
}

template <class Op, bool simple> inline trine_status launch_gradient(trine_call *call, const Op &op, const trine_iter &rows,
                                                                     gradient_plan<Op> &plan, const row_team &team)
{
    const gradient_outer<simple> outer(rows);
    constexpr int few = gradient_packs<simple>, most = gradient_most_packs<row_element<Op>, simple>;
    if (team.packs == few && !gradient_streams<simple>(team))
        return launch_gradient_team<Op, few, simple>(call, op, outer, plan, team);
    if constexpr (simple && target::row_wide_team::most_blocks > 1) {
        if constexpr (sizeof(row_element<Op>) < sizeof(float)) {
            if (op.narrow()) return launch_gradient_stream<Op, few, true>(call, op, outer, plan, team);
        }
        if (team.packs == few) return launch_gradient_stream<Op, few, false>(call, op, outer, plan, team);
        return launch_gradient_stream<Op, most, false>(call, op, outer, plan, team);
    } else if constexpr (most != few) {
        return launch_gradient_team<Op, most, simple>(call, op, outer, plan, team);
    }
    return trine_refuse(call, "clusters are for rows of whole packs");
}

template <class Op>
inline trine_status launch_gradient_tiles(trine_call *call, const Op &op, const trine_iter &rows, const gradient_plan<Op> &plan)
{
    constexpr int P = gradient_packs<false>, threads = gradient_small_block;
    const int wave = call->device->props.wave_size;
    const size_t shared = gradient_shared<Op, false>({P, threads, -1, 1}, wave);
    const grid g(int64_t(plan.tiles) * plan.groups);
    const auto partials = gradient_kernel<Op, P, lone_block, false, GRADIENT_PARTIALS>;
    const auto emit = gradient_kernel<Op, P, lone_block, false, GRADIENT_EMIT>;
    target::allow_shared(partials, shared);
    target::allow_shared(emit, shared);
    const gradient_outer<false> outer(rows);
    trine_status status = launch(call, partials, g, threads, shared, op, outer, plan);
    if (status == TRINE_OK)
        status = launch(call, gradient_stats_kernel<Op>, grid(ceil_div(plan.rows, threads / wave)), threads, 0, op, plan);
    return status == TRINE_OK ? launch(call, emit, g, threads, shared, op, outer, plan) : status;
}

template <class T> inline trine_status launch_gradient_sums(trine_call *call, const float *sums, int64_t n, int groups, int of,
                                                            const trine_tensor &dweight, const trine_tensor &dbias)
{
    /* many columns: small blocks, which begin where one of the kernel before has ended and not two (rows of 8192 bf16 2 % less time) */
    const bool many = ceil_div(n, 32) * of >= 2 * int64_t(call->device->props.compute_units);
    const int threads = many ? int(gradient_small_block) : int(gradient_sum_threads);
    int lines = 1, shift = 0;
    while (lines * 8 < threads && lines * 4 < groups) lines *= 2;
    while (lines << shift < gradient_small_block || shift < 3) shift++; /* lines of 128 bytes at least */
    return launch_next(call, gradient_sums_kernel<T>, ceil_div(n, int64_t(4) << shift) * of, lines << shift, sums, n, groups, of,
                       shift, gradient_vector<T>(dweight), gradient_vector<T>(dbias));
}

/* Whether this device runs clusters as large as `team`'s: all of its architecture run half as large ones. Not in queries: the
 * device may be an assumed one. */
template <class Op, bool simple> inline bool gradient_fits(trine_call *call, const row_team &team)
{
    using wide = target::row_stream_team;
    if constexpr (simple && wide::most_blocks > 1) {
        constexpr int few = gradient_packs<simple>, most = gradient_most_packs<row_element<Op>, simple>;
        const auto kernel =
            team.packs == few ? gradient_stream_kernel<Op, few, false, wide> : gradient_stream_kernel<Op, most, false, wide>;
        const size_t shared = gradient_shared<Op, simple>(team, call->device->props.wave_size);
        return team.packs && target::row_wide_teams(call, kernel, team.blocks, team.threads, shared) > 0;
    }
    return false;
}

/* The ways that may be gone: a team that every device of the architecture has, one that some have, tiles. */
template <class Op, bool simple> struct gradient_ways {
    row_team team, widest;
    gradient_plan<Op> tiles;
    gradient_ways(const trine_call *call, int64_t rows, int64_t n) : tiles(plan_gradient_tiles<Op>(call, rows, n > 0 ? n : 1))
    {
        const int blocks = simple ? target::row_most_blocks(call) : 1;
        const int64_t packs = ceil_div(n, Op::V);
        team = choose_gradient_team<Op, simple>(call, packs, blocks);
        widest = choose_gradient_team<Op, simple>(call, packs, blocks > 1 ? int(target::row_wide_team::most_blocks) : 1);
    }
    size_t workspace(const trine_call *call, bool wanted) const
    {
        const auto of = [&](const row_team &t) {
            return t.packs ? gradient_workspace<Op>(plan_gradient<Op, simple>(call, tiles.rows, tiles.n, t, wanted), wanted).size
                           : 0;
        };
        const size_t least = team.packs ? of(team) : gradient_workspace<Op>(tiles, wanted).size;
        return of(widest) > least ? of(widest) : least;
    }
    trine_status run(trine_call *call, const Op &op, const trine_iter &rows, const trine_tensor &dweight,
                     const trine_tensor &dbias) const
    {
        const bool wanted = trine_is_given(&dweight) || trine_is_given(&dbias);
        /* fewer packs a thread, with another row on its way, are worth the larger clusters that not all devices have */
        const bool wider = widest.packs && (!team.packs || widest.packs < team.packs);
        const row_team taken = wider && gradient_fits<Op, simple>(call, widest) ? widest : team;
        const bool strips = wanted && simple && gradient_takes_strips(call, op, tiles.rows, tiles.n), sums = wanted && !strips;
        gradient_plan<Op> plan = taken.packs ? plan_gradient<Op, simple>(call, tiles.rows, tiles.n, taken, sums) : tiles;
        gradient_workspace<Op>(plan, sums).place(plan, call->workspace, sums);
        trine_status status = TRINE_OK;
        if (plan.rows > 0)
            status = taken.packs ? launch_gradient<Op, simple>(call, op, rows, plan, taken)
                                 : launch_gradient_tiles<Op>(call, op, rows, plan);
        if constexpr (simple) {
            if (status == TRINE_OK && strips) return launch_gradient_strips(call, op, rows, tiles.n, dweight, dbias);
        }
        if (status != TRINE_OK || !sums) return status;
        return launch_gradient_sums<row_element<Op>>(call, plan.sums, plan.n, plan.groups, Op::sums, dweight, dbias);
    }
};

/* tensors: dx, x, dy, and dsum or dx again. The workspace that is stated does not depend on where they lie. */
template <class Op> inline trine_status run_gradient(trine_call *call, const Op &op, const trine_tensor *const (&tensors)[4],
                                                     const trine_tensor &dweight, const trine_tensor &dbias)
{
    int64_t n;
    for (const trine_tensor *t : tensors) TRINE_REQUIRE_THAT(call, trine_last_axis_dense(t), "needs a last axis of stride 1");
    const trine_iter rows = trine_iter_rows(tensors, gradient_operands, &n);
    const bool wanted = trine_is_given(&dweight) || trine_is_given(&dbias);
    const gradient_ways<Op, true> packed(call, rows.numel, n);
    const gradient_ways<Op, false> single(call, rows.numel, n);
    const size_t most = packed.workspace(call, wanted), other = single.workspace(call, wanted);
    call->variant = target::variant;
    TRINE_END_OF_QUERY(call, most > other ? most : other);
    if (n == 0) return TRINE_OK;
    bool simple = n % Op::V == 0 && gradient_outer<true>::fits(rows);
    for (int k = 0; k < gradient_operands; k++) {
        simple = simple && aligned16(tensors[k]->data);
        for (int d = 0; d < rows.ndim; d++) simple = simple && (rows.size[d] == 1 || rows.stride[k][d] % Op::V == 0);
    }
    return simple ? packed.run(call, op, rows, dweight, dbias) : single.run(call, op, rows, dweight, dbias);
}

template <class T, bool centred, class Args>
inline trine_status norm_backward_of(trine_call *call, const Args *a, const trine_tensor &mean, const trine_tensor &dbias,
                                     float offset, bool round_first)
{
    const trine_tensor *const tensors[] = {&a->dx, &a->x, &a->dy, trine_is_given(&a->dsum) ? &a->dsum : &a->dx};
    const auto given = [](const trine_tensor &t) { return trine_is_given(&t) ? t.data : nullptr; };
    const norm_gradient<T, centred> op = {data_of<T>(a->dx),
                                          data_of<T>(a->x),
                                          data_of<T>(a->dy),
                                          static_cast<const T *>(given(a->dsum)),
                                          given(a->weight),
                                          a->weight.dtype == TRINE_F32,
                                          round_first,
                                          static_cast<const float *>(given(mean)),
                                          static_cast<const float *>(given(a->rstd)),
                                          a->eps,
                                          offset};
    return run_gradient(call, op, tensors, a->dweight, dbias);
}

} // namespace simt

/* ---- The backend's functions ---- */

extern "C" trine_status TRINE_BACKEND_FN(layernorm_backward)(trine_call *call, const trine_layernorm_backward_args *a)
{
    return simt::visit_floats(call, a->x.dtype, [&](auto t) {
        return simt::norm_backward_of<typename decltype(t)::type, true>(call, a, a->mean, a->dbias, 0.0f, false);
    });
}
extern "C" trine_status TRINE_BACKEND_FN(rmsnorm_backward)(trine_call *call, const trine_rmsnorm_backward_args *a)
{
    const trine_tensor none = {};
    return simt::visit_floats(call, a->x.dtype, [&](auto t) {
        return simt::norm_backward_of<typename decltype(t)::type, false>(call, a, none, none, a->weight_offset,
                                                                         a->round_first != 0);
    });
}

#endif
