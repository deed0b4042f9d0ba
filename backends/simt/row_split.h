/* Rows that no team can hold (see row.h), read twice: a first kernel makes a partial of every slice of every row, a second one
 * merges the slices' partials of its row in their order and makes the output of its slice. The second one goes backwards: what the
 * first one read last comes from the cache. (Groups of rows that fit half of the last-level cache, so that all of the second read
 * comes from there, cost more in launches than they save: H100, f32 rows of 2^20.) Bound by bytes: 3 moves an element. */
#ifndef TRINE_SIMT_ROW_SPLIT_H
#define TRINE_SIMT_ROW_SPLIT_H

#include "backends/simt/row.h"

namespace simt {

/* split_group: slices whose partials are in the workspace at once. */
enum { split_packs = 4, split_most_slices = 512, split_group = 1 << 18 };

struct row_slices {
    int64_t n, length; /* of a row, and of every slice but the last */
    int count;         /* slices in a row */
};

/* The slice of a block. */
struct row_slice {
    int64_t row, first; /* row within the group, first column */
    int n;
    TRINE_DEVICE_METHOD row_slice(const row_slices &slices, unsigned block)
    {
        row = block / unsigned(slices.count);
        first = (block % unsigned(slices.count)) * slices.length;
        n = int(slices.n - first < slices.length ? slices.n - first : slices.length);
    }
};

/* Calls f(place) for every tile of the slice. */
template <class Op, bool simple, class F> TRINE_DEVICE void each_tile(const row_operands<Op, simple> &operands, int n, F f)
{
    constexpr int V = row_pack<row_element<Op>>;
    const int threads = target::block_threads();
    for (int pack = 0; pack * V - operands.lead < n; pack += threads * split_packs)
        f(operands.place(n, pack + target::thread_x(), threads));
}

template <class Op, bool simple> TRINE_KERNEL(row_small_block)
row_gather_kernel(Op op, row_walk<Op, simple> outer, int64_t first_row, row_slices slices, typename Op::partial *partials)
{
    TRINE_SHARED typename Op::partial list[target::max_waves];
    const row_slice slice(slices, target::block_x());
    int64_t offset[row_operand_count<Op>];
    outer.offsets(first_row + slice.row, offset);
    const row_operands<Op, simple> operands(op, offset, slice.first, first_row + slice.row);
    typename Op::partial p = op.identity();
    each_tile(operands, slice.n, [&](const row_place &at) {
        row_tile_of<Op, split_packs> tile;
        load_tile(tile, op, operands, at);
        p = op.merge(p, op.gather(tile, at, target::wave_size()));
    });
    p = exchange<lone_block>(op, p, list);
    if (target::thread_x() == 0) partials[target::block_x()] = p;
}

template <class Op, bool simple> TRINE_KERNEL(row_small_block)
row_emit_kernel(Op op, row_walk<Op, simple> outer, int64_t first_row, row_slices slices, const typename Op::partial *partials)
{
    const row_slice slice(slices, target::grid_x() - 1 - target::block_x());
    int64_t offset[row_operand_count<Op>];
    outer.offsets(first_row + slice.row, offset);
    typename Op::partial p = op.identity();
    for (int i = target::thread_x() % target::wave_size(); i < slices.count; i += target::wave_size())
        p = op.merge(p, partials[slice.row * slices.count + i]);
    const typename Op::stats stats = op.finish(op.combine(p), slices.n);
    if (slice.first == 0 && target::thread_x() == 0) op.note(stats, first_row + slice.row);
    if constexpr (row_emits<Op>) {
        const row_operands<Op, simple> operands(op, offset, slice.first, first_row + slice.row);
        each_tile(operands, slice.n, [&](const row_place &at) {
            row_tile_of<Op, split_packs> tile;
            load_tile(tile, op, operands, at);
            store_tile(stats, tile, op, operands, at, slice.first);
        });
    }
}

/* ---- Host ---- */

struct row_split {
    row_slices slices;
    int64_t group; /* rows at a time */
};

template <class Op> inline row_split plan_split(int64_t rows, int64_t n)
{
    using T = row_element<Op>;
    const int64_t tile = int64_t(row_small_block) * split_packs * row_pack<T>;
    const int64_t length = ceil_div(ceil_div(n, split_most_slices), tile) * tile;
    row_split plan = {{n, length, int(ceil_div(n, length))}, 0};
    plan.group = split_group / plan.slices.count;
    if (plan.group < 1) plan.group = 1;
    if (plan.group > rows) plan.group = rows;
    return plan;
}

template <class Op> inline size_t split_workspace(const row_split &plan)
{
    return size_t(plan.group * plan.slices.count) * sizeof(typename Op::partial);
}

template <class Op, bool simple>
inline trine_status run_split(trine_call *call, const Op &op, const trine_iter &walked, const row_split &plan)
{
    const row_walk<Op, simple> outer(walked);
    const int64_t rows = walked.numel;
    auto *partials = static_cast<typename Op::partial *>(call->workspace);
    trine_status status = TRINE_OK;
    for (int64_t first = 0; first < rows && status == TRINE_OK; first += plan.group) {
        const int64_t group = rows - first < plan.group ? rows - first : plan.group;
        const grid g(group * plan.slices.count);
        status = launch(call, row_gather_kernel<Op, simple>, g, row_small_block, 0, op, outer, first, plan.slices, partials);
        if (status == TRINE_OK)
            status = launch(call, row_emit_kernel<Op, simple>, g, row_small_block, 0, op, outer, first, plan.slices, partials);
    }
    return status;
}

} // namespace simt

#endif
