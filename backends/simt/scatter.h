/* Adding rows up by ids, deterministically: scatter_add, embedding_backward, segment_sum.
 *
 * Algorithm: the ids are sorted stably (sort_ids.h), so that the rows of one output follow each other in the order of the list.
 * The sorted list is cut into tiles of one length, whatever ids they hold, so that an id with many rows does not wait for one
 * thread. A thread goes through a tile with one pack of columns and adds up runs of equal ids in f32; a run that lies in the tile
 * is an output and is written, what is left of one that began before or goes on behind it is a partial. A second kernel adds the
 * partials of an output in their order and writes the outputs that no id names. Bound by bytes: the rows are read once, the
 * outputs written once; partials are less than an eighth of the rows. Who adds what to whom depends on the ids, the shape and the
 * device alone. */
#ifndef TRINE_SIMT_SCATTER_H
#define TRINE_SIMT_SCATTER_H

#include "backends/simt/map.h"
#include "backends/simt/sort_ids.h"
#include "core/taken.h"

namespace simt {

enum {
    scatter_threads = 256,
    scatter_batch = 8, /* at most, see below; what lengths of tiles are multiples of */
    scatter_least = 32,
    scatter_most = 512,
    scatter_each = 4,          /* packs of an output that a thread finishes */
    scatter_long = 8,          /* partials */
    scatter_blocks_a_unit = 4, /* that finish, if there are so many outputs */
    scatter_rounds = 16        /* of groups, at most, of such a block */
};
/* Rows of which a thread has loads in flight: 64 bytes of packs. */
template <class T, int V> constexpr int scatter_unroll = V == 1 ? 4 : 64 / (V * int(sizeof(T)));

/* Operands of the columns' walk and of steps: y, the rows that are added, x. */
enum { SCATTER_Y, SCATTER_ROWS, SCATTER_X };

struct scatter_plan {
    int64_t n, rows;       /* ids, slices of y */
    int64_t length, tiles; /* of the sorted list */
    divider32 by_length;
    divider_any columns;                /* packs of V columns in a slice */
    divider_any packs;                  /* in a run along the innermost axis */
    divider_any pieces;                 /* of a slice, for a group of threads each */
    int32_t shift;                      /* 2^shift threads in a group */
    int64_t inner[TRINE_ITER_OPERANDS]; /* from one column to the next */
    int64_t step[3];                    /* from one slice to the next; rows that go element by element have a walk instead */
    int32_t groups, rounds;             /* that a block finishes at once, and how often */
    bool has_x, in_place;
};

/* A pack as words, which stay whole in registers where some of them are not loaded. */
template <class T, int V> struct scatter_words {
    static constexpr int bytes = V * int(sizeof(T)), count = bytes < 4 ? 1 : bytes / 4;
    pack<uint32_t, count> word;
    static TRINE_DEVICE_METHOD scatter_words load(const T *p, bool there)
    {
        scatter_words r = {};
        if (!there) return r;
        if constexpr (bytes < 4)
            r.word.at[0] = p->bits;
        else
            r.word = load_pack<uint32_t, count>(reinterpret_cast<const uint32_t *>(p));
        return r;
    }
    TRINE_DEVICE_METHOD float value(int j) const
    {
        if constexpr (sizeof(T) == 4)
            return trine_f32_of_bits(word.at[j]);
        else
            return to_f32(T{uint16_t(j % 2 ? word.at[j / 2] >> 16 : word.at[j / 2])});
    }
};

/* What a thread knows of its pack of columns. */
template <int V, class Y> struct scatter_columns {
    int64_t offset[3];
    float sum[V];

    TRINE_DEVICE_METHOD scatter_columns(const scatter_plan &plan, const walk<3, divider_any> &outer, int64_t pack)
    {
        const bool one_run = plan.columns.d == plan.packs.d;
        const int64_t run = one_run ? 0 : plan.packs.divide(pack), column = (pack - run * plan.packs.d) * V;
        offset[0] = offset[1] = offset[2] = 0;
        if (!one_run) outer.offsets(run, offset);
        for (int k = 0; k < 3; k++) offset[k] += column * plan.inner[k];
        clear();
    }
    TRINE_DEVICE_METHOD void clear()
    {
#pragma unroll
        for (int j = 0; j < V; j++) sum[j] = 0.0f;
    }
    TRINE_DEVICE_METHOD void write(const scatter_plan &plan, int64_t row, Y *y, const Y *x)
    {
        pack<Y, V> out;
        if (plan.has_x) {
            const pack<Y, V> base = load_pack<Y, V>(x + offset[SCATTER_X] + row * plan.step[SCATTER_X]);
#pragma unroll
            for (int j = 0; j < V; j++) sum[j] = target::add_rn(sum[j], to_f32(base.at[j]));
        }
#pragma unroll
        for (int j = 0; j < V; j++) out.at[j] = from_f32<Y>(sum[j]);
        store_pack<Y, V>(y + offset[SCATTER_Y] + row * plan.step[SCATTER_Y], out);
    }
};

/* Slot 0 of a tile: the end of a run that began before it. Slot 1: the beginning of one that goes on behind it. */
template <int V>
TRINE_DEVICE float *scatter_partial(float *partials, const scatter_plan &plan, int64_t tile, int slot, int64_t pack)
{
    return partials + ((tile * 2 + slot) * plan.columns.d + pack) * V;
}

template <class T, class Y, int V> TRINE_KERNEL(scatter_threads)
scatter_tiles_kernel(scatter_plan plan, walk<3, divider_any> outer, walk<1, divider_any> places, sorted_ids sorted, const T *rows,
                     const Y *x, Y *y, float *partials)
{
    target::let_next_start();
    target::wait_for_previous();
    const int64_t asked = int64_t(target::block_x()) * scatter_threads + target::thread_x(), tile = plan.columns.divide(asked),
                  column = asked - tile * plan.columns.d;
    if (tile >= plan.tiles) return;
    scatter_columns<V, Y> mine(plan, outer, column);
    const int32_t begin = int32_t(tile * plan.length), end = int32_t(begin + plan.length < plan.n ? begin + plan.length : plan.n);
    int32_t key = sorted.keys[begin];
    bool began_before = begin > 0 && sorted.keys[begin - 1] == key;
    const auto finish = [&](bool ends_here) {
        if (uint32_t(key) >= uint32_t(plan.rows)) return;
        if (ends_here && !began_before) {
            mine.write(plan, key, y, x);
            return;
        }
        pack<float, V> part;
#pragma unroll
        for (int j = 0; j < V; j++) part.at[j] = mine.sum[j];
        store_pack<float, V>(scatter_partial<V>(partials, plan, tile, began_before ? 0 : 1, column), part);
    };
    constexpr int U = scatter_unroll<T, V>;
    rows += mine.offset[SCATTER_ROWS];
    /* the lists go on for a batch behind the end: what is there counts for nothing */
    pack<int32_t, U> keys = load_pack<int32_t, U>(sorted.keys + begin), from = load_pack<int32_t, U>(sorted.places + begin);
    for (int32_t i = begin; i < end; i += U) {
        const pack<int32_t, U> now = keys;
        scatter_words<T, V> in[U];
#pragma unroll
        for (int u = 0; u < U; u++) {
            const bool there = i + u < end && uint32_t(now.at[u]) < uint32_t(plan.rows);
            int64_t offset[1] = {0};
            if constexpr (V == 1)
                places.offsets(there ? from.at[u] : 0, offset);
            else
                offset[0] = from.at[u] * plan.step[SCATTER_ROWS];
            in[u] = scatter_words<T, V>::load(rows + offset[0], there);
        }
        if (i + U < end) { /* the ids of the next rows, while these are on their way */
            keys = load_pack<int32_t, U>(sorted.keys + i + U);
            from = load_pack<int32_t, U>(sorted.places + i + U);
        }
#pragma unroll
        for (int u = 0; u < U; u++) {
            if (now.at[u] != key && i + u < end) {
                finish(true);
                mine.clear();
                key = now.at[u];
                began_before = false;
            }
#pragma unroll
            for (int j = 0; j < V; j++) mine.sum[j] = target::add_rn(mine.sum[j], in[u].value(j));
        }
    }
    finish(end == plan.n || sorted.keys[end] != key);
}

/* Outputs that are made of partials, or of nothing, whose `packs` of columns a group of threads takes from `pack` on. */
template <class Y, int V> TRINE_DEVICE void scatter_none(const scatter_plan &plan, const walk<3, divider_any> &outer, int64_t row,
                                                         int64_t pack_at, int width, const Y *x, Y *y)
{
    pack<Y, V> out[scatter_each] = {};
#pragma unroll
    for (int u = 0; u < scatter_each; u++) {
        const int64_t at = pack_at + u * width;
        if (!plan.has_x || at >= plan.columns.d) break;
        const scatter_columns<V, Y> from(plan, outer, at);
        out[u] = load_pack<Y, V>(x + from.offset[SCATTER_X] + row * plan.step[SCATTER_X]);
    }
#pragma unroll
    for (int u = 0; u < scatter_each; u++) {
        const int64_t at = pack_at + u * width;
        if (at >= plan.columns.d) break;
        const scatter_columns<V, Y> to(plan, outer, at);
        store_pack<Y, V>(y + to.offset[SCATTER_Y] + row * plan.step[SCATTER_Y], out[u]);
    }
}

/* The partials of an output: those of tiles `first` to `last`. */
struct scatter_run {
    int64_t first, last;
    bool empty, whole; /* no id names the output; it lies in one tile, which has written it */
    TRINE_DEVICE_METHOD scatter_run(const scatter_plan &plan, const int32_t *begins, int64_t row)
    {
        const int64_t begin = begins[row], end = begins[row + 1];
        empty = begin >= end;
        first = plan.by_length.divide(begin);
        last = empty ? first : plan.by_length.divide(end - 1);
        whole = !empty && first == last;
    }
    /* So many for a few packs of columns that a block shares them out. */
    TRINE_DEVICE_METHOD bool is_long(int64_t packs) const
    {
        return !empty && last - first >= scatter_long && packs * 2 <= scatter_threads;
    }
};

/* Adds partials [begin, end) of a run. */
template <class Y, int V> TRINE_DEVICE void scatter_add_up(scatter_columns<V, Y> &mine, const scatter_plan &plan,
                                                           const scatter_run &run, int64_t begin, int64_t end, int64_t pack_at,
                                                           const float *partials)
{
#pragma unroll 4
    for (int64_t i = begin; i < end; i++) {
        const pack<float, V> part =
            load_pack<float, V>(scatter_partial<V>(const_cast<float *>(partials), plan, run.first + i, i == 0 ? 1 : 0, pack_at));
#pragma unroll
        for (int j = 0; j < V; j++) mine.sum[j] = target::add_rn(mine.sum[j], part.at[j]);
    }
}

/* One long run, whose packs from `pack_at` on the whole block takes: lines of threads have a share of its partials each, and the
 * first line adds up the shares. */
template <class Y, int V> TRINE_DEVICE void scatter_long_run(const scatter_plan &plan, const walk<3, divider_any> &outer,
                                                             const scatter_run &run, int64_t row, int64_t pack_at, int packs,
                                                             const Y *x, Y *y, const float *partials)
{
    TRINE_SHARED pack<float, V> list[scatter_threads];
    const int t = target::thread_x(), line = t / packs, lines = scatter_threads / packs;
    const int64_t at = pack_at + t - line * packs, count = run.last - run.first + 1, share = (count + lines - 1) / lines,
                  begin = line * share < count ? line * share : count, end = begin + share < count ? begin + share : count;
    scatter_columns<V, Y> mine(plan, outer, at);
    if (line < lines) scatter_add_up<Y, V>(mine, plan, run, begin, end, at, partials);
#pragma unroll
    for (int j = 0; j < V; j++) list[t].at[j] = mine.sum[j];
    target::barrier();
    if (line == 0) {
        for (int l = 1; l < lines; l++)
#pragma unroll
            for (int j = 0; j < V; j++) mine.sum[j] = target::add_rn(mine.sum[j], list[l * packs + t].at[j]);
        mine.write(plan, row, y, x);
    }
    target::barrier();
}

/* What a block finishes at once: groups `first` and on. */
template <class Y, int V> TRINE_DEVICE void scatter_finish_groups(const scatter_plan &plan, const walk<3, divider_any> &outer,
                                                                  int64_t first, const int32_t *begins, const Y *x, Y *y,
                                                                  const float *partials)
{
    TRINE_SHARED int32_t any_long;
    const int width = 1 << plan.shift, groups = plan.groups, t = target::thread_x();
    const int64_t group = first + (t >> plan.shift), row = plan.pieces.divide(group),
                  pack_at = (group - row * plan.pieces.d) * (scatter_each * width) + (t & (width - 1));
    const int64_t packs = plan.columns.d < scatter_each * width ? plan.columns.d : scatter_each * width;
    target::barrier(); /* any_long was read */
    if (t == 0) any_long = 0;
    target::barrier();
    if (row < plan.rows && group < first + groups) {
        const scatter_run run(plan, begins, row);
        if (run.empty && !plan.in_place) scatter_none<Y, V>(plan, outer, row, pack_at, width, x, y);
        if (run.is_long(packs)) any_long = 1;
        for (int64_t at = pack_at;
             !run.empty && !run.whole && !run.is_long(packs) && at < pack_at + scatter_each * width && at < plan.columns.d;
             at += width) {
            scatter_columns<V, Y> mine(plan, outer, at);
            scatter_add_up<Y, V>(mine, plan, run, 0, run.last - run.first + 1, at, partials);
            mine.write(plan, row, y, x);
        }
    }
    target::barrier();
    for (int g = 0; any_long && g < groups; g++) {
        const int64_t other = plan.pieces.divide(first + g), from = (first + g - other * plan.pieces.d) * (scatter_each * width);
        if (other >= plan.rows) break;
        const scatter_run run(plan, begins, other);
        const int64_t left = plan.columns.d - from;
        if (run.is_long(packs))
            scatter_long_run<Y, V>(plan, outer, run, other, from, int(left < packs ? left : packs), x, y, partials);
    }
}

/* begins[v]: where v's run begins in the sorted list. A block goes through several rounds of groups, and leaves out those rounds in
 * which all outputs are written: where rows are long a group is a block, and most blocks would live for nothing but that answer. */
template <class Y, int V> TRINE_KERNEL(scatter_threads)
scatter_finish_kernel(scatter_plan plan, walk<3, divider_any> outer, const int32_t *begins, const Y *x, Y *y, float *partials)
{
    TRINE_SHARED int32_t busy[scatter_rounds];
    target::wait_for_previous();
    const int wave_size = target::wave_size(), lane = target::thread_x() % wave_size;
    const int64_t first = int64_t(target::block_x()) * (plan.groups * plan.rounds);
    for (int r = target::thread_x() / wave_size; plan.rounds > 1 && r < plan.rounds; r += scatter_threads / wave_size) {
        bool any = false;
        for (int g = lane; g < plan.groups; g += wave_size) {
            const int64_t row = plan.pieces.divide(first + r * plan.groups + g);
            if (row >= plan.rows) break;
            const scatter_run run(plan, begins, row);
            any = any || !(run.whole || (run.empty && plan.in_place));
        }
        const target::lane_set yes = target::ballot(any);
        if (lane == 0) busy[r] = yes != 0;
    }
    target::barrier();
    for (int r = 0; r < plan.rounds; r++)
        if (plan.rounds == 1 || busy[r])
            scatter_finish_groups<Y, V>(plan, outer, first + r * plan.groups, begins, x, y, partials);
}

/* ---- Host ---- */

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
    /* eight blocks a unit; where more outputs than ids have most of them nothing, and rounds would write those one after the other */
    const int64_t rounds = plan.n < plan.rows ? 1 : share / (2 * plan.groups);
    plan.rounds = int32_t(rounds < 1 ? 1 : rounds < scatter_rounds ? rounds : int64_t(scatter_rounds));
    trine_status status = sort_ids(call, sort, *c.ids, c.sorted, memory, &sorted);
    if (status == TRINE_OK)
        status = launch_next(call, sort_bounds_kernel<int32_t>, ceil_div(plan.rows + 1, sort_threads), sort_threads, plan.n,
                             plan.rows, sorted.keys, first);
    const trine_iter places = scatter_places(c);
    plan.step[SCATTER_ROWS] = places.stride[0][0];
    const walk<3, divider_any> columns(outer);
    if (status == TRINE_OK)
        status = launch_next(call, scatter_tiles_kernel<T, Y, V>, ceil_div(plan.tiles * plan.columns.d, scatter_threads),
                             scatter_threads, plan, columns, walk<1, divider_any>(places), sorted, data_of<T>(*c.rows), x,
                             data_of<Y>(*c.y), partials);
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
