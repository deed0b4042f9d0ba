/* Host side of row.h: which team takes a row, and its launch. The vendor's row.h says how much a thread holds and whether blocks
 * form clusters. */
#ifndef TRINE_SIMT_ROW_RUN_H
#define TRINE_SIMT_ROW_RUN_H

#include "backends/simt/row_long.h"
#include "backends/simt/row_split.h"

namespace simt {

struct row_team {
    int packs;   /* that a thread holds of each input, one of row_sizes; 0: no team can hold the row */
    int threads; /* of a block */
    int shift;   /* 2^shift threads a row; negative: all of its blocks */
    int blocks;  /* blocks a row */
};

inline int64_t round_up(int64_t n, int64_t step) { return ceil_div(n, step) * step; }
inline int log2_up(int64_t n)
{
    int shift = 0;
    while (int64_t(1) << shift < n) shift++;
    return shift;
}

/* `packs`: begun packs of a row. Short rows share a wave, with whole lines of 128 bytes a row if they are that long. */
inline row_team choose_team(int64_t packs, int wave, const row_sizes &size, int most_blocks)
{
    if (size.one && packs < 8 * row_few) return {1, row_small_block, log2_up(packs), 1};
    for (int held = size.few;; held = size.most) {
        const int64_t threads = ceil_div(packs, held), line = packs < 8 ? packs : 8;
        if (threads <= wave) return {held, row_small_block, log2_up(threads > line ? threads : line), 1};
        if (held == size.most || size.spreads) break;
    }
    const int64_t few = round_up(ceil_div(packs, size.few), wave), threads = round_up(ceil_div(packs, size.most), wave);
    if (few <= row_small_block) return {size.few, int(few), -1, 1};
    if (threads <= (most_blocks > 1 ? target::row_team_block : row_threads)) return {size.most, int(threads), -1, 1};
    for (int blocks = 2; blocks <= most_blocks; blocks *= 2) {
        const int64_t each = round_up(ceil_div(packs, int64_t(size.wide) * blocks), wave);
        if (each <= (blocks < most_blocks ? target::row_team_block : row_threads)) return {size.wide, int(each), -1, blocks};
    }
    return {0, 0, 0, 0};
}

/* Few rows, whose threads would all work at a time with room for more: fewer packs a thread then, so that none has much to do one
 * after the other. Measured on an H100: a wave that has a row to itself in few packs is not better made a block, which exchanges
 * partials; nor are blocks of 1024, or more threads than half of what a compute unit holds. Ops that load nothing beside the row,
 * softmax say, gained as often as they lost (32 rows of 8192 in f32 6.4 to 7.8 us). */
enum { row_working = 1024 }; /* threads of a compute unit at a time that have one pack, or most; half as many that have few */
inline row_team widened_team(trine_call *call, const row_team &team, int64_t rows, int64_t packs, const row_sizes &size)
{
    const int64_t wave = call->device->props.wave_size, room = int64_t(call->device->props.compute_units) * row_working,
                  one = round_up(packs, wave), few = round_up(ceil_div(packs, size.few), wave);
    const bool short_already = team.shift >= 0 && team.packs <= size.few;
    if (!size.one || team.blocks > 1 || team.packs <= 1 || short_already) return team;
    if (one <= row_few_rows_block && rows * one <= room) return {1, int(one), -1, 1};
    if (team.packs > size.few && few > wave && few <= row_few_rows_block && rows * few <= room / 2)
        return {size.few, int(few), -1, 1};
    return team;
}

/* Rows that all work at a time if threads have most packs, but not if they have few: the former. softmax of 1024 rows of 8192 bf16
 * took 14.6 us on an H100, otherwise 15.8; of 2048 rows of 4096 14.9 and 15.8. Losses, which write nothing, rather lost. */
inline row_team one_turn_team(trine_call *call, const row_team &team, int64_t rows, int64_t packs, const row_sizes &size)
{
    const int64_t room = int64_t(call->device->props.compute_units) * row_working,
                  most = round_up(ceil_div(packs, size.most), call->device->props.wave_size);
    if (team.blocks > 1 || team.shift >= 0 || team.packs != size.few || size.few == size.most) return team;
    return rows * team.threads > room && rows * most <= room ? row_team{size.most, int(most), -1, 1} : team;
}

/* Few rows of a pack for every thread of a wave: that, rather than few packs for some of its threads. 1024 rows of 256 bf16 took 4.6 us
 * then, otherwise 5.1. */
inline row_team whole_wave_team(trine_call *call, const row_team &team, int64_t rows, int64_t packs, const row_sizes &size)
{
    const int64_t wave = call->device->props.wave_size, room = int64_t(call->device->props.compute_units) * row_working;
    const bool fits = size.one && team.shift >= 0 && packs <= wave && rows * wave <= room;
    return fits ? row_team{1, row_small_block, log2_up(packs), 1} : team;
}

/* The team for so many rows. Ops that load nothing beside the row don't gain by more threads, but for those that make codes of it,
 * with much arithmetic an element (fp8 of 256 rows of 1024 f32 5.6 to 5.1 us). */
template <class Op>
inline row_team team_for_rows(trine_call *call, const row_team &team, int64_t rows, int64_t packs, const row_sizes &size)
{
    constexpr bool busy = row_ahead<Op, 1> != 0 || row_narrow<Op>;
    const row_team whole = target::row_hurries ? whole_wave_team(call, team, rows, packs, size) : team;
    if (busy) return widened_team(call, whole, rows, packs, size);
    return target::row_hurries && row_emits<Op> ? one_turn_team(call, whole, rows, packs, size) : whole;
}

/* The kernel of such rows for clusters of blocks, of which only resources are asked. */
template <class Op, bool simple> inline int row_widest(trine_call *call)
{
    if constexpr (!row_goes_wide<Op, simple>)
        return 1;
    else
        return target::row_most_blocks_here(call, row_kernel<Op, row_wide_packs<Op>, target::row_wide_team, simple>, row_threads);
}

/* On this device; packs 0: none. */
template <class Op, bool simple> inline row_team choose_team_here(trine_call *call, int64_t packs)
{
    constexpr row_sizes sizes = row_sizes_of<Op, simple>;
    const int wave = call->device->props.wave_size, blocks = row_goes_wide<Op, simple> ? target::row_most_blocks(call) : 1;
    const row_team team = choose_team(packs, wave, sizes, blocks);
    if (blocks == 1 || (team.packs > 0 && team.threads <= target::row_team_block))
        return team; /* or a larger cluster may hold it */
    return choose_team(packs, wave, sizes, row_widest<Op, simple>(call));
}

template <class Op, int P, bool simple> inline trine_status
launch_rows(trine_call *call, const Op &op, const row_walk<Op, simple> &outer, int64_t rows, int64_t n, const row_team &team)
{
    const int threads = threads_of_few_rows(call, team.threads, team.shift, rows);
    const int64_t blocks = ceil_div(rows, team.shift >= 0 ? threads >> team.shift : 1);
    return launch(call, row_kernel<Op, P, lone_block, simple>, grid(blocks), threads, 0, row_shape{rows, int(n), team.shift}, op,
                  outer);
}

/* Ops that take some simple rows another way specialise this; run() returns false for all others. */
template <class Op> struct row_other_way {
    static bool run(trine_call *, const Op &, const row_walk<Op, true> &, int64_t, int64_t, int64_t, trine_status *)
    {
        return false;
    }
};

/* `packs`: of a row. */
template <class Op, bool simple> inline trine_status run_team(trine_call *call, const Op &op, const trine_iter &walked, int64_t n,
                                                              int64_t packs, const row_split &split)
{
    const row_walk<Op, simple> outer(walked);
    const int64_t rows = walked.numel;
    constexpr row_sizes sizes = row_sizes_of<Op, simple>;
    trine_status status;
    if constexpr (simple) {
        if (row_other_way<Op>::run(call, op, outer, rows, n, packs, &status)) return status;
    }
    const row_team chosen = choose_team_here<Op, simple>(call, packs), team = team_for_rows<Op>(call, chosen, rows, packs, sizes);
    if constexpr (row_goes_wide<Op, simple>) {
        if (team.blocks > 1)
            return target::launch_wide(call, row_kernel<Op, sizes.wide, target::row_wide_team, simple>, rows * team.blocks,
                                       team.blocks, team.threads, 0, row_shape{rows, int(n), team.shift}, op, outer);
    }
    if constexpr (simple && row_goes_long<Op> && row_goes_wide<Op, simple>) {
        if (team.packs == 0 && run_long(call, op, outer, rows, n, packs, &status)) return status;
    }
    if constexpr (sizes.one) {
        if (team.packs == 1) return launch_rows<Op, 1, simple>(call, op, outer, rows, n, team);
    }
    if constexpr (sizes.few != sizes.most) {
        if (team.packs == sizes.few) return launch_rows<Op, sizes.few, simple>(call, op, outer, rows, n, team);
    }
    if (team.packs == sizes.most) return launch_rows<Op, sizes.most, simple>(call, op, outer, rows, n, team);
    constexpr bool packed = simple && !row_seldom_odd<Op>;
    if constexpr (row_in_pieces<Op>)
        return trine_refuse(call, "no team can hold a row");
    else
        return run_split<Op, packed>(call, op, walked, split);
}

/* What rows of n elements may need of the workspace: that does not depend on where the tensors lie. */
template <class Op> struct row_needs {
    row_split split = {};
    size_t workspace = 0;
    row_needs(const trine_call *call, int64_t rows, int64_t n)
    {
        constexpr int V = row_pack<row_element<Op>>;
        const int wave = call->device->props.wave_size,
                  most_blocks = row_goes_wide<Op, false> ? target::row_most_blocks(call) : 1;
        if (choose_team(ceil_div(n + V - 1, V), wave, row_sizes_of<Op, false>, most_blocks).packs) return;
        split = plan_split<Op>(rows, n);
        workspace = split_workspace<Op>(split);
    }
};

/* What a family calls: the guard, the plan and the launch. tensors: the output, then the inputs. `any` is the same op in a form that
 * serves rows that are not simple; `op` the simple ones, if it `may`. */
template <class Op, class Any> inline trine_status run_rows(trine_call *call, const Op &op, const Any &any, bool may,
                                                            const trine_tensor *const (&tensors)[row_operand_count<Op>])
{
    using T = row_element<Op>;
    constexpr int V = row_pack<T>;
    int64_t n;
    for (const trine_tensor *t : tensors) TRINE_REQUIRE_THAT(call, trine_last_axis_dense(t), "needs a last axis of stride 1");
    const trine_iter rows = trine_iter_rows(tensors, row_operand_count<Op>, &n);
    const row_needs<Any> needs(call, rows.numel, n);
    call->variant = target::variant;
    TRINE_END_OF_QUERY(call, needs.workspace);
    if (rows.numel == 0) return TRINE_OK;
    bool aligned = may && n % V == 0 && row_walk<Op, true>::fits(rows);
    for (int k = 0; k < row_operand_count<Op>; k++) {
        const uintptr_t pack_bytes = k == 0 ? V * sizeof(row_output<Op>) : 16;
        aligned = aligned && reinterpret_cast<uintptr_t>(tensors[k]->data) % pack_bytes == 0;
        for (int d = 0; d < rows.ndim; d++) aligned = aligned && (rows.size[d] == 1 || rows.stride[k][d] % V == 0);
    }
    const int64_t packs = aligned ? n / V : ceil_div(n + V - 1, V);
    if constexpr (!row_never_simple<Op>) {
        if (aligned && op.aligned()) return run_team<Op, true>(call, op, rows, n, packs, needs.split);
    }
    return run_team<Any, false>(call, any, rows, n, packs, needs.split);
}
template <class Op>
inline trine_status run_rows(trine_call *call, const Op &op, const trine_tensor *const (&tensors)[row_operand_count<Op>])
{
    return run_rows(call, op, op, true, tensors);
}

/* Rows in pieces (row.h), n > 0 elements each. The caller has seen to it that a team holds them and all moves in packs. */
template <class Op> inline trine_status run_pieces(trine_call *call, const Op &op, const trine_iter &rows, int64_t n)
{
    TRINE_REQUIRE_THAT(call, (row_walk<Op, true>::fits(rows)), "needs rows along two axes");
    return run_team<Op, true>(call, op, rows, n, n / row_pack<row_element<Op>>, row_split{});
}

} // namespace simt

#endif
