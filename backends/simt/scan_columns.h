/* Scans along an axis outside the innermost. Bound by bytes: one read and one write an element.
 *
 * Neighbouring threads take neighbouring columns, in packs of 16 bytes. Where columns are many a thread goes down one alone.
 * Where they are too few to keep the device busy the axis is cut into tiles: a block has up to 32 packs of columns side by side
 * and several lines of threads below each other, of which each thread holds scan_deep rows in registers; lines meet in shared
 * memory, and a thread for every column looks back for what precedes the tile (scan_look_back.h). Tiles that lie side by side have
 * neighbouring tickets, so that with many columns a tile's predecessor is long done. */
#ifndef TRINE_SIMT_SCAN_COLUMNS_H
#define TRINE_SIMT_SCAN_COLUMNS_H

#include "backends/simt/map.h"
#include "backends/simt/scan_look_back.h"
#include "core/scan_shape.h"

namespace simt {

enum { scan_down = 4, scan_deep = 16, scan_widest = 32 };

struct scan_columns_plan {
    int64_t n;
    int64_t columns;    /* packs of V columns: all, */
    divider_any packs;  /* in a run along the innermost axis, */
    int32_t shift;      /* 2^shift of a tile */
    divider_any panels; /* tiles side by side */
    int64_t tiles;      /* and below each other */
    int64_t inner[TRINE_ITER_OPERANDS], step[2];
    bool exclusive, reverse;

    scan_columns_plan(const trine_scan_args *a, const trine_scan_shape &s, int V)
        : n(s.n), columns(ceil_div(s.rows.numel, V)), packs(1), shift(0), step{s.step[0], s.step[1]},
          exclusive(a->exclusive != 0), reverse(a->reverse != 0)
    {
        while (shift < 5 && 1 << shift < columns) shift++;
        panels = divider_any(ceil_div(columns, int64_t(1) << shift));
        tiles = ceil_div(n, (scan_threads >> shift) * scan_deep);
    }
    /* Of every panel and column in it the tiles' notes and the groups'. */
    TRINE_METHOD int64_t panel_notes(int V) const
    {
        return (int64_t(V) << shift) * (tiles + scan_groups(tiles, scan_group_alone));
    }
    /* The ticket, and notes of so many words. */
    int64_t words(int V, int of_note) const { return 1 + panels.d * panel_notes(V) * of_note; }
};

/* Offsets of a column's first row. */
template <int V> TRINE_DEVICE void scan_column_offsets(const walk<2, divider_any> &outer, const scan_columns_plan &plan,
                                                       int64_t column, int64_t (&offset)[2])
{
    const int64_t run = plan.packs.divide(column);
    outer.offsets(run, offset);
    for (int k = 0; k < 2; k++) offset[k] += (column - run * plan.packs.d) * V * plan.inner[k];
}

/* One row more of V columns. */
template <class Op, class T, int V>
TRINE_DEVICE pack<T, V> scan_step(typename Op::value (&running)[V], const pack<T, V> &in, bool exclusive)
{
    using A = typename Op::value;
    pack<T, V> out;
#pragma unroll
    for (int j = 0; j < V; j++) {
        const A next = Op::both(running[j], scan_value<A>(in.at[j]));
        out.at[j] = scan_element<T>(exclusive ? running[j] : next);
        running[j] = next;
    }
    return out;
}

template <class Op, class T, int V> TRINE_KERNEL(scan_threads)
scan_columns_kernel(walk<2, divider_any> outer, scan_columns_plan plan, T *y, const T *x)
{
    const int64_t column = int64_t(target::block_x()) * scan_threads + target::thread_x();
    if (column >= plan.columns) return;
    int64_t offset[2];
    scan_column_offsets<V>(outer, plan, column, offset);
    typename Op::value running[V];
#pragma unroll
    for (int j = 0; j < V; j++) running[j] = Op::neutral();
    for (int64_t i = 0; i < plan.n; i += scan_down) {
        pack<T, V> in[scan_down];
#pragma unroll
        for (int u = 0; u < scan_down; u++) {
            const int64_t walked = i + u < plan.n ? i + u : plan.n - 1, at = plan.reverse ? plan.n - 1 - walked : walked;
            in[u] = load_pack<T, V>(x + offset[SCAN_X] + at * plan.step[SCAN_X]);
        }
#pragma unroll
        for (int u = 0; u < scan_down; u++) {
            if (i + u >= plan.n) break;
            const int64_t at = plan.reverse ? plan.n - 1 - i - u : i + u;
            store_pack<T, V>(y + offset[SCAN_Y] + at * plan.step[SCAN_Y], scan_step<Op>(running, in[u], plan.exclusive));
        }
    }
}

/* Combines `sum` of every line with those of the lines before: running becomes what precedes a line. list: of scan_threads packs,
 * [line][column]; its last line holds the tile's totals afterwards. */
template <class Op, int V, class A> TRINE_DEVICE void scan_lines(pack<A, V> sum, A (&running)[V], pack<A, V> *list, int shift)
{
    const int t = target::thread_x(), width = 1 << shift;
    list[t] = sum;
    for (int apart = width; apart < scan_threads; apart *= 2) {
        target::barrier();
        pack<A, V> other;
        if (t >= apart) other = list[t - apart];
        target::barrier();
        if (t < apart) continue;
#pragma unroll
        for (int j = 0; j < V; j++) sum.at[j] = Op::both(other.at[j], sum.at[j]);
        list[t] = sum;
    }
    target::barrier();
    const pack<A, V> before = list[t < width ? t : t - width];
#pragma unroll
    for (int j = 0; j < V; j++) running[j] = t < width ? Op::neutral() : before.at[j];
}

template <class Op, class T, int V> TRINE_KERNEL(scan_threads)
scan_panels_kernel(walk<2, divider_any> outer, scan_columns_plan plan, T *y, const T *x, uint64_t *words)
{
    using A = typename Op::value;
    TRINE_SHARED pack<A, V> list[scan_threads];
    TRINE_SHARED A carried[scan_widest * V];
    TRINE_SHARED uint32_t ticket;
    const int t = target::thread_x(), width = 1 << plan.shift, side = t & (width - 1);
    if (t == 0) ticket = target::atomic_add(reinterpret_cast<uint32_t *>(words), 1u);
    target::barrier();
    const int64_t tile = plan.panels.divide(ticket), panel = ticket - tile * plan.panels.d, column = panel * width + side,
                  first = (tile * (scan_threads >> plan.shift) + (t >> plan.shift)) * scan_deep;
    const bool inside = column < plan.columns;
    const int rows = !inside || first >= plan.n ? 0 : plan.n - first < scan_deep ? int(plan.n - first) : int(scan_deep);
    int64_t offset[2] = {0, 0};
    if (inside) scan_column_offsets<V>(outer, plan, column, offset);
    const int64_t row = plan.reverse ? plan.n - 1 - first : first, x_step = plan.reverse ? -plan.step[SCAN_X] : plan.step[SCAN_X],
                  y_step = plan.reverse ? -plan.step[SCAN_Y] : plan.step[SCAN_Y];
    x += offset[SCAN_X] + row * plan.step[SCAN_X];
    held_pack<T, V> in[scan_deep];
#pragma unroll
    for (int u = 0; u < scan_deep; u++, x += x_step) {
        if (u < rows)
            in[u].load(x);
        else {
            pack<T, V> none;
#pragma unroll
            for (int j = 0; j < V; j++) none.at[j] = scan_element<T>(Op::neutral());
            in[u].set(none);
        }
    }
    pack<A, V> sum;
    A running[V];
#pragma unroll
    for (int u = 0; u < scan_deep; u++) {
        const pack<T, V> p = in[u].get();
#pragma unroll
        for (int j = 0; j < V; j++) sum.at[j] = u == 0 ? scan_value<A>(p.at[j]) : Op::both(sum.at[j], scan_value<A>(p.at[j]));
    }
    scan_lines<Op, V>(sum, running, list, plan.shift);
    if (t < width * V) {
        auto *const tiles = reinterpret_cast<scan_note<A> *>(words + 1) + panel * plan.panel_notes(V) + t;
        const A total = reinterpret_cast<const A *>(list + scan_threads - width)[t];
        carried[t] = scan_look_back_alone<Op>(tiles, tiles + plan.tiles * width * V, width * V, tile, total);
    }
    target::barrier();
#pragma unroll
    for (int j = 0; j < V; j++) running[j] = Op::both(carried[side * V + j], running[j]);
    y += offset[SCAN_Y] + row * plan.step[SCAN_Y];
#pragma unroll
    for (int u = 0; u < scan_deep; u++, y += y_step) {
        in[u].derive_again();
        const pack<T, V> out = scan_step<Op>(running, in[u].get(), plan.exclusive);
        if (u < rows) store_pack<T, V>(y, out);
    }
}

/* ---- Host ---- */

template <class Op, class T, int V> inline trine_status run_scan_columns(trine_call *call, const trine_iter &outer,
                                                                         int64_t inner_size, scan_columns_plan plan, bool tiled,
                                                                         T *y, const T *x)
{
    const walk<2, divider_any> where(outer);
    plan.packs = divider_any(inner_size / V);
    if (!tiled)
        return launch(call, scan_columns_kernel<Op, T, V>, grid(ceil_div(plan.columns, scan_threads)), scan_threads, 0, where,
                      plan, y, x);
    auto *words = static_cast<uint64_t *>(call->workspace);
    const trine_status status = scan_clear(call, plan.words(V, scan_note<typename Op::value>::words), words);
    if (status != TRINE_OK) return status;
    return launch(call, scan_panels_kernel<Op, T, V>, grid(plan.panels.d * plan.tiles), scan_threads, 0, where, plan, y, x,
                  words);
}

/* The words of columns that are cut into tiles, 0 of others: it does not depend on where the tensors lie. */
template <class Op, class T>
inline int64_t scan_columns_words(const trine_call *call, const trine_scan_args *a, const trine_scan_shape &s)
{
    constexpr int V = pack_of<T>;
    const scan_columns_plan wide(a, s, V), single(a, s, 1);
    /* a thread a column leaves the device idle, and the axis is so long that tiles are filled */
    if (wide.columns >= int64_t(call->device->props.compute_units) * 1024 || s.n < 4 * scan_deep) return 0;
    constexpr int of_note = scan_note<typename Op::value>::words;
    const int64_t of_wide = wide.words(V, of_note), of_single = single.words(1, of_note);
    return of_wide > of_single ? of_wide : of_single;
}

template <class Op, class T> inline trine_status scan_columns(trine_call *call, const trine_scan_args *a, trine_scan_shape s)
{
    constexpr int V = pack_of<T>;
    scan_columns_plan wide(a, s, V), single(a, s, 1);
    const int64_t words = scan_columns_words<Op, T>(call, a, s);
    TRINE_END_OF_QUERY(call, size_t(words) * sizeof(uint64_t));
    T *y = data_of<T>(a->y);
    const T *x = data_of<T>(a->x);
    int64_t inner[TRINE_ITER_OPERANDS];
    const int64_t inner_size = trine_iter_pop_inner(&s.rows, inner);
    for (int k = 0; k < 2; k++) wide.inner[k] = single.inner[k] = inner[k];
    const bool packed = inner[SCAN_X] == 1 && s.step[SCAN_Y] % V == 0 && s.step[SCAN_X] % V == 0 &&
                        packs_fit<V>(s.rows, inner_size, inner, static_cast<const T *>(y), x);
    return packed ? run_scan_columns<Op, T, V>(call, s.rows, inner_size, wide, words > 0, y, x)
                  : run_scan_columns<Op, T, 1>(call, s.rows, inner_size, single, words > 0, y, x);
}

} // namespace simt

#endif
