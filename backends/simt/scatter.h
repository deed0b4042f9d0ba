/* Adding rows up by ids, deterministically: scatter_add, embedding_backward, segment_sum.
 *
 * Algorithm: the ids are sorted stably (sort_ids.h), so that the rows of one output follow each other in the order of the list.
 * The sorted list is cut into tiles of one length, whatever ids they hold, so that an id with many rows does not wait for one
 * thread. A thread goes through a tile with one pack of columns and adds up runs of equal ids in f32; a run that lies in the tile,
 * or ends soon behind it, is an output and is written, what is left of longer ones is a partial. A second kernel adds the
 * partials of an output in their order and writes the outputs that no id names. Bound by bytes: the rows are read once, the
 * outputs written once; partials are less than an eighth of the rows. Who adds what to whom depends on the ids, the shape and the
 * device alone. */
#ifndef TRINE_SIMT_SCATTER_H
#define TRINE_SIMT_SCATTER_H

#include "backends/simt/scatter_finish.h"
#include "core/taken.h"

namespace simt {

/* rows are added to y's slices along `axis` (from 0); x may be not given. sorted: ids do not decrease. */
struct scatter_call {
    const trine_tensor *x, *ids, *rows, *y;
    int32_t axis;
    bool sorted;
};

/* Tiles so short that the device has several blocks for each of those that run at once, and so long that partials are few. */
inline int64_t scatter_length(const trine_call *call, int64_t n, int64_t packs)
{
    const int64_t threads = int64_t(call->device->props.compute_units) * 2048, length = n * packs / threads;
    if (length < scatter_least) return scatter_least;
    return length > scatter_most ? int64_t(scatter_most) : ceil_div(length, scatter_batch) * scatter_batch;
}

/* Where the rows begin that the ids stand for. */
inline trine_iter scatter_places(const scatter_call &c)
{
    const trine_tensor places = trine_keep_axes(c.rows, c.axis, c.ids->ndim), *operand[] = {&places};
    return trine_iter_make(operand, 1, 1);
}

template <class T, class Y, int V> inline trine_status run_scatter(trine_call *call, const scatter_call &c, const sort_plan &sort,
                                                                   scatter_plan plan, const trine_iter &outer, int64_t inner_size)
{
    sorted_ids sorted;
    char *memory = static_cast<char *>(call->workspace);
    auto *first = reinterpret_cast<int32_t *>(memory + (sort.bytes() + 15) / 16 * 16);
    auto *partials = reinterpret_cast<float *>(reinterpret_cast<char *>(first) + (size_t(plan.rows + 1) * 4 + 15) / 16 * 16);
    const Y *x = plan.has_x ? data_of<Y>(*c.x) : nullptr;
    plan.packs = divider_any(inner_size / V);
    plan.columns = divider_any(outer.numel * plan.packs.d);
    while (plan.shift < 8 && int64_t(scatter_each) << plan.shift < plan.columns.d) plan.shift++;
    plan.pieces = divider_any(ceil_div(plan.columns.d, int64_t(scatter_each) << plan.shift));
    const int64_t groups = plan.rows * plan.pieces.d,
                  share = groups / (int64_t(call->device->props.compute_units) * scatter_blocks_a_unit);
    plan.groups = int32_t(share < 1 ? 1 : share < scatter_threads >> plan.shift ? share : scatter_threads >> plan.shift);
    /* whole lines of y */
    while (1 << plan.chunk < plan.groups && (plan.columns.d * V * int64_t(sizeof(Y))) << plan.chunk < 128) plan.chunk++;
    plan.groups = (plan.groups + (1 << plan.chunk) - 1) >> plan.chunk << plan.chunk;
    /* eight blocks a unit; where most outputs are copies of x, loads of one round after the other would be waited for */
    const int64_t rounds = plan.n < plan.rows && plan.has_x ? 1 : share / (2 * plan.groups);
    plan.rounds = int32_t(rounds < 1 ? 1 : rounds < scatter_rounds ? rounds : int64_t(scatter_rounds));
    trine_status status = sort_ids(call, sort, *c.ids, c.sorted, memory, &sorted);
    const trine_iter places = scatter_places(c);
    plan.step[SCATTER_ROWS] = places.stride[0][0];
    const walk<3, divider_any> columns(outer);
    const int64_t tile_blocks = ceil_div(plan.tiles * plan.columns.d, scatter_threads),
                  blocks = tile_blocks + ceil_div(plan.rows + 1, scatter_threads);
    TRINE_REQUIRE_THAT(call, blocks <= 0x7fffffff, "the grid is too large");
    plan.tile_blocks = int32_t(tile_blocks);
    if (status == TRINE_OK)
        status = launch_next(call, scatter_tiles_kernel<T, Y, V>, blocks, scatter_threads, plan, columns,
                             walk<1, divider_any>(places), sorted, data_of<T>(*c.rows), x, data_of<Y>(*c.y), partials, first);
    if (status == TRINE_OK)
        status = launch_next(call, scatter_finish_kernel<Y, V>, ceil_div(groups, plan.groups * plan.rounds), scatter_threads,
                             plan, columns, first, x, data_of<Y>(*c.y), partials);
    return status;
}

template <class T, class Y> inline trine_status scatter_packed(trine_call *call, const scatter_call &c, const sort_plan &sort,
                                                               const scatter_plan &plan, const trine_iter &outer,
                                                               int64_t inner_size)
{
    constexpr int V = pack_of<Y>;
    const Y *y = data_of<Y>(*c.y), *x = plan.has_x ? data_of<Y>(*c.x) : y;
    const T *rows = data_of<T>(*c.rows);
    bool packed = packs_fit<V>(outer, inner_size, plan.inner, y, rows, x) && scatter_places(c).ndim == 1;
    for (int k = 0; k < 3; k++) packed = packed && plan.inner[k] == 1 && plan.step[k] % V == 0;
    for (int32_t d = c.axis; d < c.axis + c.ids->ndim; d++) packed = packed && c.rows->stride[d] % V == 0;
    return packed ? run_scatter<T, Y, V>(call, c, sort, plan, outer, inner_size)
                  : run_scatter<T, Y, 1>(call, c, sort, plan, outer, inner_size);
}

inline trine_status scatter_rows(trine_call *call, const scatter_call &c)
{
    const int32_t count = c.ids->ndim, axis = c.axis;
    const trine_tensor y = trine_drop_axes(c.y, axis, 1), rows = trine_drop_axes(c.rows, axis, count),
                       x = trine_is_given(c.x) ? trine_drop_axes(c.x, axis, 1) : y, *operands[] = {&y, &rows, &x};
    trine_iter outer = trine_iter_make(operands, 3, 0);
    const int64_t columns = outer.numel, n = trine_tensor_numel(c.ids);
    scatter_plan plan = {};
    plan.n = n;
    plan.rows = c.y->shape[axis];
    TRINE_REQUIRE_THAT(call, n < INT32_MAX && plan.rows < INT32_MAX - 1, "needs fewer than 2^31 ids and slices");
    const sort_plan sort(n, plan.rows);
    plan.length = scatter_length(call, n, ceil_div(columns, 16 / (trine_dtype_bits(c.y->dtype) / 8)));
    plan.by_length = divider32(plan.length);
    plan.tiles = ceil_div(n, plan.length);
    plan.has_x = trine_is_given(c.x);
    plan.in_place = plan.has_x && c.x->data == c.y->data;
    plan.step[SCATTER_Y] = c.y->stride[axis];
    plan.step[SCATTER_X] = plan.has_x ? c.x->stride[axis] : 0;
    call->variant = target::variant;
    TRINE_END_OF_QUERY(call, (sort.bytes() + 15) / 16 * 16 + (size_t(plan.rows + 1) * 4 + 15) / 16 * 16 +
                                 size_t(plan.tiles * 2 * columns) * sizeof(float));
    if (plan.rows == 0 || columns == 0) return TRINE_OK;
    const int64_t inner_size = trine_iter_pop_inner(&outer, plan.inner);
    return visit_floats(call, c.rows->dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        if (c.y->dtype == TRINE_F32) return scatter_packed<T, float>(call, c, sort, plan, outer, inner_size);
        return scatter_packed<T, T>(call, c, sort, plan, outer, inner_size);
    });
}

} // namespace simt

#endif
