/* From a tile (row_tile.h) and what the whole row gave to the output, pack by pack; and what fetch() loads for that, which a thread
 * may have on its way, or brought near, while it waits for the row. */
#ifndef TRINE_SIMT_ROW_STORE_H
#define TRINE_SIMT_ROW_STORE_H

#include "backends/simt/row_tile.h"

namespace simt {

template <class Op, class F> TRINE_DEVICE auto once_of(F fetch)
{
    if constexpr (row_fetches_once<Op>)
        return fetch();
    else
        return 0;
}

template <class A, class B> constexpr bool same_type = false;
template <class A> constexpr bool same_type<A, A> = true;

/* The first packs of what fetch() loads. */
template <class Op, int P, bool simple, bool any = simple && (row_ahead<Op, P> > 0)> struct row_fetched {
    static constexpr int count = 0;
    TRINE_DEVICE_METHOD void begin(const Op &, const row_place &) {}
};
template <class Op, int P, bool simple> struct row_fetched<Op, P, simple, true> {
    static constexpr int count = row_ahead<Op, P>;
    using W = typename Op::ahead;
    typename Op::template numbers<row_element<Op>> pack[count];
    TRINE_DEVICE_METHOD void begin(const Op &op, const row_place &at)
    {
        if (!op.fetches_ahead()) return;
#pragma unroll
        for (int i = 0; i < count; i++)
            if (at.touches<row_pack<row_element<Op>>>(i)) pack[i] = op.template fetch<W>(at, i, 0);
    }
};

/* Brings near what fetch() will load, while the row comes: else its packs would wait for it one by one, in a block that is the first
 * to ask there. A thread reads a word of each two packs of its share. (prefetch.global.L1 in its place took up to twice as long as
 * all the rest on an H100: each wave's request goes to the L2 cache, and all blocks ask for the same lines.) */
template <class Op, int P, bool simple> constexpr bool row_is_touched =
    simple &&target::row_hurries &&row_touches<Op> != 0 && row_ahead<Op, P> == 0 && P <= row_few;
template <class Op, int P, bool simple, bool any = row_is_touched<Op, P, simple>> struct row_touched {
    TRINE_DEVICE_METHOD void begin(const Op &, const row_place &, const void *) {}
    TRINE_DEVICE_METHOD row_place end(const row_place &at) const { return at; }
};
template <class Op, int P, bool simple> struct row_touched<Op, P, simple, true> {
    enum { V = row_pack<row_element<Op>>, words = P / 2 };
    uint32_t word[words][row_touches<Op>];
    /* row: an address of it, whose highest bit is 0; so that its packs are asked for before. */
    TRINE_DEVICE_METHOD void begin(const Op &op, const row_place &at, const void *row)
    {
        const int column = at.begin * P + int(reinterpret_cast<uintptr_t>(row) >> 63);
#pragma unroll
        for (int k = 0; k < row_touches<Op>; k++) {
            const row_element<Op> *const first = op.touch(k) + uint32_t(column);
#pragma unroll
            for (int i = 0; i < words; i++) {
                word[i][k] = 0;
                if (k < op.touched() && column + 2 * i * V < at.n)
                    word[i][k] = *reinterpret_cast<const uint32_t *>(first + 2 * i * V);
            }
        }
    }
    /* The same place; only known once all has come. */
    TRINE_DEVICE_METHOD row_place end(const row_place &at) const
    {
        uint32_t all = 0;
#pragma unroll
        for (int i = 0; i < words; i++)
#pragma unroll
            for (int k = 0; k < row_touches<Op>; k++) all |= word[i][k];
        return row_place{int(at.n + (all & at.zero())), at.begin, at.step, at.simple, at.row};
    }
};

/* Pack i of the output, and of the sum where the op adds. */
template <class Op, int P, bool simple, class Fetched>
TRINE_DEVICE void store_pack_of(const typename Op::stats &stats, const row_tile_of<Op, P> &tile, const Op &op,
                                const row_operands<Op, simple> &row, const row_place &at, int i, const Fetched &fetched)
{
    using T = row_element<Op>;
    if constexpr (row_adds<Op>) {
        const row_words<T> &sum = tile.at[0][i];
        if (row.sum) store_row<row_pack<T>>(row.sum, sum, at, i, row.sum_alike, [&] { sum.store(row.sum + at.column(i)); });
    }
    row_words<T> out;
#pragma unroll
    for (int q = 0; q < row_pack<T> / 4; q++) {
        float y[4];
        op.emit(y, stats, tile, i, q, fetched);
        out.set_four(q, y);
    }
    store_row(op, row, out, at, i);
}

/* The same of all packs, with what fetch() loads in groups. */
template <class W, class Op, int P, class Ahead>
TRINE_DEVICE void store_tile_ahead(const typename Op::stats &stats, const row_tile_of<Op, P> &tile, const Op &op,
                                   const row_operands<Op, true> &row, const row_place &at, const Ahead &ahead)
{
    constexpr int V = row_pack<row_element<Op>>, G = same_type<typename W::number, row_element<Op>> ? Ahead::count : 1;
    static_assert(P % G == 0, "whole groups");
#pragma unroll
    for (int g = 0; g < P; g += G) {
        decltype(op.template fetch<W>(at, 0, 0)) group[G];
#pragma unroll
        for (int u = 0; u < G; u++) {
            if constexpr (same_type<typename W::number, row_element<Op>>) {
                if (g == 0) {
                    group[u] = op.template fetched_ahead<W>(ahead.pack[u]);
                    continue;
                }
            }
            if (at.touches<V>(g + u)) group[u] = op.template fetch<W>(at, g + u, 0);
        }
#pragma unroll
        for (int u = 0; u < G; u++)
            if (at.touches<V>(g + u)) store_pack_of(stats, tile, op, row, at, g + u, group[u]);
    }
}

/* The same, with what fetch() loads for the next pack on its way while one is made. */
template <class W, class Op, int P>
TRINE_DEVICE void store_tile_next(const typename Op::stats &stats, const row_tile_of<Op, P> &tile, const Op &op,
                                  const row_operands<Op, true> &row, const row_place &at, int64_t first)
{
    constexpr int V = row_pack<row_element<Op>>;
    decltype(op.template fetch<W>(at, 0, first)) next;
    if (at.touches<V>(0)) next = op.template fetch<W>(at, 0, first);
#pragma unroll
    for (int i = 0; i < P; i++) {
        const auto now = next;
        if (i + 1 < P && at.touches<V>(i + 1)) next = op.template fetch<W>(at, i + 1, first);
        if (at.touches<V>(i)) store_pack_of(stats, tile, op, row, at, i, now);
    }
}

template <class Op, int P, bool simple, class Ahead = row_fetched<Op, 0, false, false>>
TRINE_DEVICE void store_tile(const typename Op::stats &stats, const row_tile_of<Op, P> &tile, const Op &op,
                             const row_operands<Op, simple> &row, const row_place &at, int64_t first, const Ahead &ahead = {})
{
    using T = row_element<Op>;
    op.template choose<simple>([&](auto shared) {
        using W = typename decltype(shared)::type;
        if constexpr (Ahead::count > 0) return store_tile_ahead<W>(stats, tile, op, row, at, ahead);
        const auto again = [&](int i, const auto &once) {
            if constexpr (row_fetches_once<Op>)
                return once;
            else
                return op.template fetch<W>(at, i, first);
        };
        const auto once = once_of<Op>([&] { return op.template fetch<W>(at, 0, first); });
        if constexpr (row_is_touched<Op, P, simple>) {
            store_tile_next<W>(stats, tile, op, row, at, first);
        } else {
#pragma unroll
            for (int i = 0; i < P; i++) {
                if (!at.touches<row_pack<T>>(i)) continue;
                if constexpr (row_narrow<Op>) {
                    store_row(op, row, op.codes(stats, tile, i), at, i);
                } else {
                    store_pack_of(stats, tile, op, row, at, i, again(i, once));
                }
            }
        }
    });
}

} // namespace simt

#endif
