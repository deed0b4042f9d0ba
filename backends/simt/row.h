/* Rows [..., N] that are read once and written once: softmax and the norms.
 *
 * Algorithm: a team of threads takes a row and keeps it in registers, as packs of the input type, 16 bytes each. Every wave
 * reduces its part to a partial (a maximum and a sum, a mean and a sum of squares, ...); teams of more than a wave exchange
 * partials through shared memory, one barrier a row, and every thread merges them in the same order; then each thread makes its
 * elements of the output from what it holds. A team is a power of two of threads within a wave, a block, or a cluster of blocks
 * that see each other's shared memory (where the vendor has them). Rows that no team can hold are cut into slices (row_split.h).
 * Bound by bytes: one read and one write an element; several packs a thread are in flight.
 *
 * Packs are counted from the 16-byte boundary at or before the row's first element, so that rows of odd length move in packs too;
 * what is not whole at either end, and operands that lie differently from the first input, move element by element.
 *
 * An `Op` has
 *   element (T), inputs (1 or 2), in[inputs], out       operands, stride 1 along the row
 *   neutral()                                           stands beside the row; contributes nothing to a partial
 *   partial                                             of 4-byte words; identity()
 *   gather(tile, place, width)                          partial of a tile over `width` threads of a wave; the same in all of them
 *   merge(a, b)                                         of two partials
 *   combine(p)                                          over a wave, each lane with one; the same in all lanes
 *   finish(p, n) -> stats                               of the whole row
 *   note(stats, row)                                    by one thread a row, for outputs that are one a row
 *   aligned()                                           on the host: what fetch() loads may be loaded in packs
 *   choose<simple>(f)                                   f(tag<W>{}) with what fetch() is made for, asked once a tile
 *   fetch<W>(place, i, first)                           what pack i needs of what all rows share; `first`: column of the row's
 *                                                       (or slice's) first element
 *   emit(y, stats, tile, i, q, fetched)                 elements 4q to 4q + 3 of pack i of the output
 *   codes(stats, tile, i)                               in their place where row_narrow<Op>: pack i of the output, a byte an
 *                                                       element
 *
 * Kernels are compiled twice: `simple` ones for operands that all lie on 16-byte boundaries with rows of whole packs along at most
 * two axes, which is what is fast; and those for everything else. Together they would not fit the instruction caches. */
#ifndef TRINE_SIMT_ROW_H
#define TRINE_SIMT_ROW_H

#include "backends/simt/row_store.h"

namespace simt {

/* ---- Teams ---- */

/* What a team's blocks put into each other. */
template <class Team, class Op> TRINE_DEVICE int exchanged_bytes() { return int(sizeof(typename Op::partial)) * Team::blocks(); }

/* Of all waves of the team. `mine` is the same in all lanes of a wave. Waves of a block first, then blocks: words that go to other
 * blocks go one by one. `list`: a place for a partial of every block of the team and of every wave of a block. Teams that go
 * through several rows count them in `turn`; turns that follow each other have lists of their own. */
template <class Team, class Op>
TRINE_DEVICE typename Op::partial exchange(const Op &op, typename Op::partial mine, typename Op::partial *list, int turn = 0)
{
    constexpr int wave_size = target::wave_size();
    const int waves = target::block_threads() / wave_size, lane = target::thread_x() % wave_size,
              wave = target::thread_x() / wave_size;
    typename Op::partial *const own = Team::most_blocks > 1 ? list + Team::blocks() : list;
    if (lane == 0) own[wave] = mine;
    target::barrier();
    typename Op::partial p = op.combine(lane < waves ? own[lane] : op.identity()); /* no block has more waves than a wave lanes */
    if constexpr (Team::most_blocks > 1) {
        if (wave == 0 && lane < Team::blocks()) Team::put(&list[Team::rank()], lane, p, turn);
        Team::meet(turn);
        p = op.combine(lane < Team::blocks() ? list[lane] : op.identity());
    }
    return p;
}

/* Packs that a thread may hold of each input: one kernel each. */
struct row_sizes {
    bool one;            /* a pack, too */
    int few, most, wide; /* wide: in clusters of blocks */
    bool spreads;        /* a block with few packs a thread is better than a wave with most */
};
template <class Op, bool simple> constexpr int row_most_of = simple || !row_seldom_odd<Op> ? row_most<Op> : int(row_few);
template <class Op, bool simple> constexpr row_sizes row_sizes_of = {
    !row_in_pieces<Op>, row_in_pieces<Op> || row_most_of<Op, simple> < row_most<Op> ? row_most_of<Op, simple> : int(row_few),
    row_most_of<Op, simple>, row_wide_packs<Op>, simple &&target::row_hurries &&row_touches<Op> != 0};
/* Whether such rows may take clusters of blocks. */
template <class Op, bool simple> constexpr bool row_goes_wide = target::row_wide_team::most_blocks > 1 &&
                                                                (simple || !row_seldom_odd<Op>);

/* Counts rows. Of simple ones, and of those that take a cluster, there are fewer than 2^31: instructions and registers less. */
template <bool few> struct row_number {
    using type = int64_t;
};
template <> struct row_number<true> {
    using type = int;
};

/* By the thread that will note it. */
template <bool ahead, class Op> TRINE_DEVICE auto note_ahead_of(const Op &op, int64_t row, bool mine)
{
    if constexpr (ahead)
        return op.note_ahead(row, mine);
    else
        return 0;
}

/* Rows of n elements. 2^shift threads of a wave take one, so that a block has several; with a negative shift all threads of the
 * team. */
struct row_shape {
    int64_t rows;
    int n, shift;
};

template <class Op, int P, class Team, bool simple>
TRINE_KERNEL((P < row_sizes_of<Op, simple>.most ? row_few_rows_block : row_threads))
row_kernel(row_shape shape, Op op, row_walk<Op, simple> outer)
{
    if constexpr (Team::absent) return;
    constexpr bool notes_ahead = row_notes_ahead<Op> && P < row_sizes_of<Op, simple>.most;
    TRINE_SHARED typename Op::partial list[Team::most_blocks + target::max_waves];
    const int64_t rows = shape.rows;
    const int n = shape.n, shift = shape.shift;
    const bool alone = shift >= 0; /* no exchange */
    const int threads = target::block_threads(), in_team = Team::rank() * threads + target::thread_x();
    const int width = alone ? 1 << shift : threads * Team::blocks(), t = alone ? in_team & (width - 1) : in_team;
    if (!alone) Team::begin(exchanged_bytes<Team, Op>());
    /* the threads of a row that is not there do as the last one's, but for loads and stores: a wave stays together */
    using number = typename row_number<(simple || Team::most_blocks > 1)>::type;
    const number team = target::block_x() / unsigned(Team::blocks()),
                 mine = alone ? team * (threads >> shift) + (in_team >> shift) : team,
                 row = mine < number(rows) ? mine : number(rows) - 1;
    int64_t offset[row_operand_count<Op>];
    outer.offsets(row, offset);
    const row_operands<Op, simple> operands(op, offset, 0, row);
    const row_place at = operands.place(mine < number(rows) ? n : 0, t, width);
    row_tile_of<Op, P> tile;
    load_tile(tile, op, operands, at);
    row_fetched<Op, P, simple> ahead;
    ahead.begin(op, at);
    row_touched<Op, P, simple> touched;
    touched.begin(op, at, operands.in[0]);
    const auto noted = note_ahead_of<notes_ahead>(op, row, t == 0);
    typename Op::partial p = op.gather(tile, at, alone ? width : target::wave_size());
    if (!alone) {
        Team::started();
        p = exchange<Team>(op, p, list);
    }
    if (mine >= number(rows)) return;
    const typename Op::stats stats = op.finish(p, n);
    if constexpr (notes_ahead) {
        if (t == 0) op.note(stats, row, noted);
    } else {
        if (t == 0) op.note(stats, row);
    }
    if constexpr (row_emits<Op>) {
        tile.template pass<!row_adds<Op> && row_keeps_values<row_held<Op> * P>>(at.zero());
        const row_place place = touched.end(at.again().again());
        if constexpr (row_places_again<Op>) {
            outer.offsets(derived_again(row, at.zero()), offset);
            store_tile(stats, tile, op, row_operands<Op, simple>(op, offset, 0, row), place, 0, ahead);
        } else {
            store_tile(stats, tile, op, operands, place, 0, ahead);
        }
    }
}

} // namespace simt

#endif
