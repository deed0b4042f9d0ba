/* Host side of row.h: which team takes a row, and its launch. The vendor's row.h says how much a thread holds and whether blocks
 * form clusters. */
#ifndef TRINE_SIMT_ROW_RUN_H
#define TRINE_SIMT_ROW_RUN_H

#include "backends/simt/row_split.h"

namespace simt {

struct row_team {
    int packs;   /* that a thread holds of each input: 1, row_few or row_most<Op>; 0: no team can hold the row */
    int threads; /* of a block */
    int shift;   /* 2^shift threads a row; negative: all of its blocks */
    int blocks;  /* blocks a row */
};

enum { row_few = 4 };

inline int64_t round_up(int64_t n, int64_t step) { return ceil_div(n, step) * step; }
inline int log2_up(int64_t n)
{
    int shift = 0;
    while (int64_t(1) << shift < n) shift++;
    return shift;
}

/* `packs`: begun packs of a row. Short rows share a wave, with whole lines of 128 bytes a row if they are that long. */
inline row_team choose_team(int64_t packs, int wave, int most, int most_blocks)
{
    if (packs < 8 * row_few) return {1, row_small_block, log2_up(packs), 1};
    for (int held = row_few;; held = most) {
        if (packs <= int64_t(held) * wave) return {held, row_small_block, log2_up(ceil_div(packs, held)), 1};
        if (held == most) break;
    }
    const int64_t few = round_up(ceil_div(packs, row_few), wave), threads = round_up(ceil_div(packs, most), wave);
    if (few <= row_small_block) return {row_few, int(few), -1, 1};
    if (threads <= (most_blocks > 1 ? target::row_team_block : row_threads)) return {most, int(threads), -1, 1};
    for (int blocks = 2; blocks <= most_blocks; blocks *= 2) {
        const int64_t each = round_up(ceil_div(packs, int64_t(most) * blocks), wave);
        if (each <= (blocks < most_blocks ? target::row_team_block : row_threads)) return {most, int(each), -1, blocks};
    }
    return {0, 0, 0, 0};
}

template <class Op, int P, bool simple> inline trine_status launch_rows(trine_call *call, const Op &op, const row_walk<Op> &outer,
                                                                        int64_t rows, int64_t n, const row_team &team)
{
    const int64_t blocks = ceil_div(rows, team.shift >= 0 ? team.threads >> team.shift : 1) * team.blocks;
    if (team.blocks == 1)
        return launch(call, row_kernel<Op, P, lone_block, simple>, grid(blocks), team.threads, 0, op, outer, rows, int(n),
                      team.shift);
    if constexpr (P == row_most<Op>)
        return target::launch_wide(call, row_kernel<Op, P, target::row_wide_team, simple>, blocks, team.blocks, team.threads, 0,
                                   op, outer, rows, int(n), team.shift);
    return trine_refuse(call, "clusters are for rows that fill their threads");
}

/* `packs`: of a row. */
template <class Op, bool simple> inline trine_status run_team(trine_call *call, const Op &op, const row_walk<Op> &outer,
                                                              int64_t rows, int64_t n, int64_t packs, const row_split &split)
{
    const int wave = call->device->props.wave_size, most = row_most<Op>, blocks = target::row_most_blocks(call);
    row_team team = choose_team(packs, wave, most, blocks);
    if (blocks > 1 && (team.packs == 0 || team.threads > target::row_team_block)) {
        const auto kernel = row_kernel<Op, row_most<Op>, target::row_wide_team, simple>;
        team = choose_team(packs, wave, most, target::row_most_blocks_here(call, kernel, row_threads));
    }
    switch (team.packs) {
    case 0:
        if constexpr (row_in_pieces < Op >> 0)
            return trine_refuse(call, "no team can hold a row");
        else
            return run_split<Op, simple>(call, op, outer, rows, split);
    case 1: return launch_rows<Op, 1, simple>(call, op, outer, rows, n, team);
    case row_few: return launch_rows<Op, row_few, simple>(call, op, outer, rows, n, team);
    default: return launch_rows<Op, row_most<Op>, simple>(call, op, outer, rows, n, team);
    }
}

/* What rows of n elements may need of the workspace: that does not depend on where the tensors lie. */
template <class Op> struct row_needs {
    row_split split = {};
    size_t workspace = 0;
    row_needs(const trine_call *call, int64_t rows, int64_t n)
    {
        constexpr int V = row_pack<row_element<Op>>;
        const int most_blocks = target::row_most_blocks(call);
        if (choose_team(ceil_div(n + V - 1, V), call->device->props.wave_size, row_most<Op>, most_blocks).packs) return;
        split = plan_split<Op>(rows, n);
        workspace = split_workspace<Op>(split);
    }
};

/* What a family calls: the guard, the plan and the launch. tensors: the output, then the inputs. */
template <class Op>
inline trine_status run_rows(trine_call *call, Op op, const trine_tensor *const (&tensors)[row_operand_count<Op>])
{
    using T = row_element<Op>;
    constexpr int V = row_pack<T>;
    int64_t n;
    for (const trine_tensor *t : tensors) TRINE_REQUIRE_THAT(call, trine_last_axis_dense(t), "needs a last axis of stride 1");
    const trine_iter rows = trine_iter_rows(tensors, row_operand_count<Op>, &n);
    const row_needs<Op> needs(call, rows.numel, n);
    call->variant = target::variant;
    TRINE_END_OF_QUERY(call, needs.workspace);
    if (rows.numel == 0) return TRINE_OK;
    bool aligned = n % V == 0;
    for (int k = 0; k < row_operand_count<Op>; k++) {
        const uintptr_t pack_bytes = k == 0 ? V * sizeof(row_output<Op>) : 16;
        aligned = aligned && reinterpret_cast<uintptr_t>(tensors[k]->data) % pack_bytes == 0;
        for (int d = 0; d < rows.ndim; d++) aligned = aligned && (rows.size[d] == 1 || rows.stride[k][d] % V == 0);
    }
    const row_walk<Op> outer(rows);
    const int64_t packs = aligned ? n / V : ceil_div(n + V - 1, V);
    return aligned && op.aligned() ? run_team<Op, true>(call, op, outer, rows.numel, n, packs, needs.split)
                                   : run_team<Op, false>(call, op, outer, rows.numel, n, packs, needs.split);
}

/* Rows in pieces (row.h), n > 0 elements each. The caller has seen to it that a team holds them and all moves in packs. */
template <class Op> inline trine_status run_pieces(trine_call *call, const Op &op, const trine_iter &rows, int64_t n)
{
    const row_walk<Op> outer(rows);
    return run_team<Op, true>(call, op, outer, rows.numel, n, n / row_pack<row_element<Op>>, row_split{});
}

} // namespace simt

#endif
