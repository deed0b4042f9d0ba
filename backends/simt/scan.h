/* Scans along an axis. Bound by bytes: one read and one write an element; only few and long columns are read twice.
 *
 * Rows that lie densely: a group of threads, part of a wave or a block, goes along its row tile by tile and carries the result
 * on. Where rows are few and long, every block takes a tile, in the order of a ticket, and looks back for what precedes it
 * (decoupled look-back, Merrill & Garland 2016): each tile publishes its total as soon as it has it and its prefix once it knows
 * it; a tile walks back to the nearest prefix and adds the totals behind it from left to right, as that prefix came about, so
 * that the bits are the same wherever it found one.
 *
 * Axes outside the innermost: neighbouring threads take neighbouring columns, in packs of 16 bytes, and go down the axis. Where
 * columns are too few to keep the device busy the axis is cut into slices, whose totals a first launch takes. */
#ifndef TRINE_SIMT_SCAN_H
#define TRINE_SIMT_SCAN_H

#include "backends/simt/map.h"
#include "backends/simt/scan_tile.h"
#include "core/scan_shape.h"

namespace simt {

/* ---- Rows ---- */

/* 2^shift threads a row, or the block. */
template <class Op, class T, int V> TRINE_KERNEL(scan_threads)
scan_rows_kernel(walk<2, divider_any> rows, int64_t count, scan_order order, int shift, T *y, const T *x)
{
    TRINE_SHARED float list[2][scan_packs * target::max_waves];
    const int width = shift < 0 ? scan_threads : 1 << shift, t = target::thread_x() & (width - 1);
    const int64_t asked = int64_t(target::block_x()) * (scan_threads / width) + target::thread_x() / width,
                  row = asked < count ? asked : count - 1;
    int64_t offset[2];
    rows.offsets(row, offset);
    if (asked >= count) order.packs = 0; /* walks along with its wave and moves nothing */
    const int64_t packs = (order.n + V - 1) / V;
    float carry = Op::neutral();
    int turn = 0;
    for (int64_t first = 0; first < packs; first += int64_t(width) * scan_packs) {
        scan_tile<Op, T, V> tile;
        tile.load(x + offset[SCAN_X], order, first + t, width);
        tile.gather(width, list[turn]);
        tile.store(y + offset[SCAN_Y], order, first + t, width, carry);
        carry = Op::both(carry, tile.total);
        turn ^= 1;
    }
}

/* What a tile has published: nothing yet (0), its total, or the prefix up to its end; in one word, so that no reader sees half.
 */
enum { SCAN_TOTAL = 1, SCAN_PREFIX = 2 };
TRINE_DEVICE uint64_t scan_word(int state, float value) { return uint64_t(state) << 32 | trine_bits_of_f32(value); }
TRINE_DEVICE int scan_state(uint64_t word) { return int(word >> 32); }
TRINE_DEVICE float scan_value(uint64_t word) { return trine_f32_of_bits(uint32_t(word)); }

template <class T> TRINE_KERNEL(scan_threads) scan_clear_kernel(int64_t n, T *words)
{
    const int64_t i = int64_t(target::block_x()) * scan_threads + target::thread_x();
    if (i < n) words[i] = 0;
}

/* Of all tiles before `tile`, by one wave; the same in all lanes. words: those of the row. */
template <class Op> TRINE_DEVICE float look_back(const uint64_t *words, int64_t tile)
{
    constexpr int wave_size = target::wave_size();
    const int lane = target::thread_x() % wave_size;
    int64_t window = tile; /* one past the tiles that are looked at; the lanes' tiles are window - 1 - lane */
    int nearest;
    uint64_t word;
    for (;;) { /* until a prefix is seen */
        const int64_t at = window - 1 - lane;
        do word = at < 0 ? scan_word(SCAN_PREFIX, Op::neutral()) : target::load_published(words + at);
        while (scan_state(word) == 0);
        nearest = wave_reduce(scan_state(word) == SCAN_PREFIX ? lane : wave_size, op_least{});
        if (nearest < wave_size) break;
        window -= wave_size;
    }
    float prefix = target::shuffle(scan_value(word), nearest); /* and the totals behind it, in their order */
    for (int l = nearest - 1; l >= 0; l--) prefix = Op::both(prefix, target::shuffle(scan_value(word), l));
    while (window < tile) {
        window += wave_size;
        const int64_t at = window - 1 - lane;
        word = target::load_published(words + at);
        nearest = wave_reduce(scan_state(word) == SCAN_PREFIX ? lane : wave_size, op_least{});
        if (nearest < wave_size) prefix = target::shuffle(scan_value(word), nearest); /* the same bits, known by now */
        for (int l = nearest - 1; l >= 0; l--) prefix = Op::both(prefix, target::shuffle(scan_value(word), l));
    }
    return prefix;
}

/* words: the ticket, then one for every tile. */
template <class Op, class T, int V> TRINE_KERNEL(scan_threads)
scan_look_back_kernel(walk<2, divider_any> rows, int64_t tiles, scan_order order, T *y, const T *x, uint64_t *words)
{
    TRINE_SHARED float list[scan_packs * target::max_waves];
    TRINE_SHARED uint32_t ticket;
    TRINE_SHARED float carried;
    if (target::thread_x() == 0) ticket = target::atomic_add(reinterpret_cast<uint32_t *>(words), 1u);
    target::barrier();
    const int64_t row = ticket / tiles, tile_at = ticket - row * tiles,
                  first = tile_at * scan_threads * scan_packs + target::thread_x();
    uint64_t *const published = words + 1 + row * tiles;
    int64_t offset[2];
    rows.offsets(row, offset);
    scan_tile<Op, T, V> tile;
    tile.load(x + offset[SCAN_X], order, first, scan_threads);
    tile.gather(scan_threads, list);
    float carry = Op::neutral();
    if (target::thread_x() == 0)
        target::publish(published + tile_at, scan_word(tile_at == 0 ? SCAN_PREFIX : SCAN_TOTAL, tile.total));
    if (tile_at > 0) {
        if (target::thread_x() < target::wave_size()) {
            carry = look_back<Op>(published, tile_at);
            if (target::thread_x() == 0) {
                target::publish(published + tile_at, scan_word(SCAN_PREFIX, Op::both(carry, tile.total)));
                carried = carry;
            }
        }
        target::barrier();
        carry = carried;
    }
    tile.store(y + offset[SCAN_Y], order, first, scan_threads, carry);
}

/* ---- Columns ---- */

enum { scan_down = 4, scan_most_slices = 64 };

struct scan_columns_plan {
    int64_t n, slices, slice;
    divider_any columns, packs; /* packs of V columns: all, and in a run along the innermost axis */
    int64_t inner[TRINE_ITER_OPERANDS], step[2];
    bool exclusive, reverse;
};

/* totals[slice * columns + column], in packs. emit: they are there, and y is made; else they are made. */
template <class Op, class T, int V, bool emit> TRINE_KERNEL(scan_threads)
scan_columns_kernel(walk<2, divider_any> outer, scan_columns_plan plan, T *y, const T *x, float *totals)
{
    const int64_t asked = int64_t(target::block_x()) * scan_threads + target::thread_x(), slice = plan.columns.divide(asked),
                  column = asked - slice * plan.columns.d, run = plan.packs.divide(column);
    if (slice >= plan.slices) return;
    int64_t offset[2];
    outer.offsets(run, offset);
    for (int k = 0; k < 2; k++) offset[k] += (column - run * plan.packs.d) * V * plan.inner[k];
    float running[V];
#pragma unroll
    for (int j = 0; j < V; j++) running[j] = Op::neutral();
    if constexpr (emit)
        for (int64_t s = 0; s < slice; s++) {
            const pack<float, V> total = load_pack<float, V>(totals + (s * plan.columns.d + column) * V);
#pragma unroll
            for (int j = 0; j < V; j++) running[j] = Op::both(running[j], total.at[j]);
        }
    const int64_t begin = slice * plan.slice, end = begin + plan.slice < plan.n ? begin + plan.slice : plan.n;
    for (int64_t i = begin; i < end; i += scan_down) {
        pack<T, V> in[scan_down];
#pragma unroll
        for (int u = 0; u < scan_down; u++) {
            const int64_t walked = i + u < end ? i + u : end - 1, at = plan.reverse ? plan.n - 1 - walked : walked;
            in[u] = load_pack<T, V>(x + offset[SCAN_X] + at * plan.step[SCAN_X]);
        }
#pragma unroll
        for (int u = 0; u < scan_down; u++) {
            if (i + u >= end) break;
            const int64_t at = plan.reverse ? plan.n - 1 - i - u : i + u;
            pack<T, V> out;
#pragma unroll
            for (int j = 0; j < V; j++) {
                const float next = Op::both(running[j], to_f32(in[u].at[j]));
                out.at[j] = from_f32<T>(plan.exclusive ? running[j] : next);
                running[j] = next;
            }
            if (emit) store_pack<T, V>(y + offset[SCAN_Y] + at * plan.step[SCAN_Y], out);
        }
    }
    if constexpr (!emit) {
        pack<float, V> total;
#pragma unroll
        for (int j = 0; j < V; j++) total.at[j] = running[j];
        store_pack<float, V>(totals + (slice * plan.columns.d + column) * V, total);
    }
}

/* ---- Host ---- */

template <class Op, class T, int V> inline trine_status
run_scan_columns(trine_call *call, const trine_iter &outer, int64_t inner_size, scan_columns_plan plan, T *y, const T *x)
{
    auto *totals = static_cast<float *>(call->workspace);
    plan.packs = divider_any(inner_size / V);
    plan.columns = divider_any(outer.numel * plan.packs.d);
    const grid g(ceil_div(plan.columns.d * plan.slices, scan_threads));
    trine_status status = TRINE_OK;
    if (plan.slices > 1)
        status = launch(call, scan_columns_kernel<Op, T, V, false>, g, scan_threads, 0, walk<2, divider_any>(outer), plan, y, x,
                        totals);
    if (status == TRINE_OK)
        status = launch(call, scan_columns_kernel<Op, T, V, true>, g, scan_threads, 0, walk<2, divider_any>(outer), plan, y, x,
                        totals);
    return status;
}

template <class Op, class T> inline trine_status scan_columns(trine_call *call, const trine_scan_args *a, trine_scan_shape s)
{
    constexpr int V = pack_of<T>;
    scan_columns_plan plan = {};
    plan.n = s.n;
    plan.step[SCAN_Y] = s.step[SCAN_Y];
    plan.step[SCAN_X] = s.step[SCAN_X];
    plan.exclusive = a->exclusive != 0;
    plan.reverse = a->reverse != 0;
    const int64_t wanted = int64_t(call->device->props.compute_units) * 1024, most = ceil_div(s.n, 8 * scan_down);
    plan.slices = ceil_div(wanted, ceil_div(s.rows.numel, V));
    if (plan.slices > scan_most_slices) plan.slices = scan_most_slices;
    if (plan.slices > most) plan.slices = most;
    if (plan.slices < 3) plan.slices = 1; /* two would read everything twice for no more than twice the threads */
    plan.slice = ceil_div(s.n, plan.slices);
    plan.slices = ceil_div(s.n, plan.slice);
    const size_t bytes = plan.slices > 1 ? size_t(plan.slices * s.rows.numel) * sizeof(float) : 0;
    TRINE_END_OF_QUERY(call, bytes);
    T *y = data_of<T>(a->y);
    const T *x = data_of<T>(a->x);
    const int64_t inner_size = trine_iter_pop_inner(&s.rows, plan.inner);
    const bool packed = plan.inner[SCAN_X] == 1 && plan.step[SCAN_Y] % V == 0 && plan.step[SCAN_X] % V == 0 &&
                        packs_fit<V>(s.rows, inner_size, plan.inner, static_cast<const T *>(y), x);
    return packed ? run_scan_columns<Op, T, V>(call, s.rows, inner_size, plan, y, x)
                  : run_scan_columns<Op, T, 1>(call, s.rows, inner_size, plan, y, x);
}

template <class Op, class T, int V>
inline trine_status run_scan_rows(trine_call *call, const trine_scan_args *a, const trine_scan_shape &s, bool shared)
{
    const scan_order order = {
        s.n, ceil_div(s.n, V), V == 1 ? s.step[SCAN_Y] : 1, V == 1 ? s.step[SCAN_X] : 1, a->exclusive != 0, a->reverse != 0};
    const walk<2, divider_any> rows(s.rows);
    T *y = data_of<T>(a->y);
    const T *x = data_of<T>(a->x);
    if (shared) {
        const int64_t tiles = ceil_div(order.packs, scan_threads * scan_packs), words = 1 + s.rows.numel * tiles;
        auto *memory = static_cast<uint64_t *>(call->workspace);
        const trine_status status =
            launch(call, scan_clear_kernel<uint64_t>, grid(ceil_div(words, scan_threads)), scan_threads, 0, words, memory);
        if (status != TRINE_OK) return status;
        return launch(call, scan_look_back_kernel<Op, T, V>, grid(s.rows.numel * tiles), scan_threads, 0, rows, tiles, order, y,
                      x, memory);
    }
    int shift = 0;
    while (int64_t(scan_packs) << shift < order.packs && shift >= 0)
        shift = 1 << shift < call->device->props.wave_size ? shift + 1 : -1;
    return launch(call, scan_rows_kernel<Op, T, V>, grid(ceil_div(s.rows.numel, shift < 0 ? 1 : scan_threads >> shift)),
                  scan_threads, 0, rows, s.rows.numel, order, shift, y, x);
}

template <class Op, class T> inline trine_status scan_rows(trine_call *call, const trine_scan_args *a, const trine_scan_shape &s)
{
    constexpr int V = pack_of<T>;
    /* rows so few that a block each leaves the device idle, and so long that they have several tiles */
    const bool shared = s.rows.numel < 2 * call->device->props.compute_units && s.n > 4 * V * scan_threads * scan_packs;
    TRINE_END_OF_QUERY(call, shared ? size_t(1 + s.rows.numel * ceil_div(s.n, scan_threads * scan_packs)) * sizeof(uint64_t) : 0);
    bool packed = aligned16(a->y.data) && aligned16(a->x.data) && s.step[SCAN_Y] == 1 && s.step[SCAN_X] == 1;
    for (int d = 0; d < s.rows.ndim; d++)
        packed = packed && (s.rows.size[d] == 1 || (s.rows.stride[SCAN_Y][d] % V == 0 && s.rows.stride[SCAN_X][d] % V == 0));
    return packed ? run_scan_rows<Op, T, V>(call, a, s, shared) : run_scan_rows<Op, T, 1>(call, a, s, shared);
}

template <class Op> inline trine_status scan(trine_call *call, const trine_scan_args *a)
{
    const trine_scan_shape s = trine_scan_shape_of(a);
    call->variant = target::variant;
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        if (s.n == 0 || s.rows.numel == 0) return TRINE_OK;
        return s.columns ? scan_columns<Op, T>(call, a, s) : scan_rows<Op, T>(call, a, s);
    });
}

} // namespace simt

extern "C" trine_status TRINE_BACKEND_FN(scan)(trine_call *call, const trine_scan_args *a)
{
    switch (a->kind) {
    case TRINE_SCAN_MAX: return simt::scan<simt::scan_max>(call, a);
    case TRINE_SCAN_MUL: return simt::scan<simt::scan_mul>(call, a);
    default: return simt::scan<simt::scan_sum>(call, a);
    }
}

#endif
