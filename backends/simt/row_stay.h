/* Rows of clusters of blocks (row.h) that stay: what all rows need of the columns (weight, bias) is kept in shared memory as far as
 * there is room, since from the L2 cache it would be as many bytes again as the row. Two groups of threads of every block share it,
 * each with a row of its own, so that one row is on its way while the other is reduced and stored. The second of two inputs comes
 * by way of shared memory: that of the next row meanwhile. Bytes: those of row.h, and what is kept once a cluster.
 *
 * An `Op` that stays has, beside what row.h says,
 *   kept_arrays(), kept_bytes(k)      on the host: what is worth keeping, best first; bytes of a pack of the k-th, 16 or 32
 *   keep<W>(to, place, i, arrays)     puts pack i of the first `arrays` there; to(w): address of its w-th 16 bytes
 *   kept<W>(from, place, i, arrays)   what fetch<W>() gives, those from there */
#ifndef TRINE_SIMT_ROW_STAY_H
#define TRINE_SIMT_ROW_STAY_H

#include "backends/simt/row.h"

namespace simt {

enum { stay_groups = 2, stay_threads = row_threads / stay_groups, stay_packs = 8 };

/* Where a thread's packs lie in shared memory: those of one number side by side. */
struct row_places {
    unsigned char *own;
    int apart; /* bytes between packs of a thread */
    TRINE_DEVICE_METHOD unsigned char *at(int pack) const { return own + pack * apart; }
};

template <class Op, int P> TRINE_DEVICE void
send_second_input(const Op &op, const row_walk<Op> &outer, const row_places &places, int row, const row_place &at)
{
    int64_t offset[row_operand_count<Op>];
    outer.offsets(row, offset);
    const row_element<Op> *const from = op.in[1] + offset[2];
#pragma unroll
    for (int i = 0; i < P; i++)
        if (at.whole<row_pack<row_element<Op>>>(i)) target::copy_to_shared<16>(places.at(i), from + at.column(i));
}
/* Adds that of `row` and sends for that of `next`, if it is there: pack by pack, since registers are short. */
template <class Op, int P> TRINE_DEVICE void add_second_input(row_tile_of<Op, P> &tile, const Op &op, const row_walk<Op> &outer,
                                                              const row_places &places, int next, bool next_there,
                                                              const row_place &at)
{
    using T = row_element<Op>;
    int64_t offset[row_operand_count<Op>];
    outer.offsets(next, offset);
    const T *const from = op.in[1] + offset[2];
    target::wait_for_copies();
#pragma unroll
    for (int i = 0; i < P; i++) {
        if (!at.whole<row_pack<T>>(i)) continue;
        tile.at[0][i].add(row_words<T>::load_shared(reinterpret_cast<const T *>(places.at(i))));
        if (next_there) target::copy_to_shared<16>(places.at(i), from + at.column(i));
    }
}

/* Dynamic shared memory: what is kept, P packs an array of each thread of a group, then P packs of a second input of each thread.
 * Rows are whole packs; there are fewer than 2^31. */
template <class Op, int P, class Team> TRINE_KERNEL(row_threads)
row_stay_kernel(Op op, row_walk<Op> outer, int rows, int n, int arrays, int kept_packs)
{
    using T = row_element<Op>;
    constexpr int V = row_pack<T>;
    TRINE_SHARED typename Op::partial list[stay_groups][2][Team::most_blocks + target::max_waves / stay_groups];
    const int threads = target::block_threads() / stay_groups, teams = int(target::grid_x()) / Team::blocks();
    const auto group = [&] { return int(target::thread_x() >= threads); }; /* computed where it is asked, as all that is no row */
    const auto mine = [&] { return target::thread_x() - group() * threads; };
    const auto place = [&](int row) {
        return row_place{n, (Team::rank() * threads + mine()) * V, threads * Team::blocks() * V, true, row};
    };
    const auto second = [&] {
        return row_places{target::dynamic_shared() + (kept_packs * threads + target::thread_x()) * 16, stay_groups * threads * 16};
    };
    const auto place_of = [&](int i) {
        return [&, i](int w) { return target::dynamic_shared() + ((w * P + i) * threads + mine()) * 16; };
    };
    Team::begin(exchanged_bytes<Team, Op>(), 2 * stay_groups);
    int row = int(target::block_x()) / Team::blocks() + group() * teams;
    if constexpr (row_adds<Op>) {
        if (row < rows) send_second_input<Op, P>(op, outer, second(), row, place(row));
    }
    op.template choose<true>([&](auto shared) {
#pragma unroll
        for (int i = 0; i < P; i++)
            if (i % stay_groups == group() && place(0).template whole<V>(i))
                op.template keep<typename decltype(shared)::type>(place_of(i), place(0), i, arrays);
    });
    target::barrier();
    Team::started();
    for (int turn = 0; row < rows; turn++, row += stay_groups * teams) {
        row_place at = place(row);
        uint32_t begin = uint32_t(at.begin); /* places are computed in every turn: of all packs they would be too many registers */
        target::opaque(begin, at.zero());
        at.begin = int(begin);
        int64_t offset[row_operand_count<Op>];
        outer.offsets(row, offset);
        row_tile_of<Op, P> tile;
        load_row(tile.at[0], op.in[0] + offset[1], at, true, op.neutral(),
                 [&](int column) { return row_words<T>::load(op.in[0] + offset[1] + column); });
        if constexpr (row_adds<Op>) {
            const int next = row + stay_groups * teams;
            add_second_input<Op, P>(tile, op, outer, second(), next, next < rows, at);
        }
        typename Op::partial p = op.gather(tile, at, target::wave_size());
        p = exchange<Team>(op, p, list[group()][turn & 1], turn, group(), threads);
        Team::again(turn, exchanged_bytes<Team, Op>(), group(), mine() == 0);
        const typename Op::stats stats = op.finish(p, n);
        if (at.begin == 0) op.note(stats, row);
        tile.pass(at.zero());
        outer.offsets(derived_again(row, at.zero()), offset);
        begin = uint32_t(place(row).begin);
        target::opaque(begin, at.zero());
        at.begin = int(begin);
        store_tile_with(
            [&](auto shared, int i) { return op.template kept<typename decltype(shared)::type>(place_of(i), at, i, arrays); }, stats,
            tile, op, row_operands<Op, true>(op, offset, 0, row), at);
    }
}

/* ---- Host ---- */

/* `threads`: of a group. As many clusters as work at a time. */
template <class Op, int P, class Team> inline trine_status launch_stay(trine_call *call, const Op &op, const row_walk<Op> &outer,
                                                                       int64_t rows, int64_t n, int blocks, int threads)
{
    const auto kernel = row_stay_kernel<Op, P, Team>;
    const int64_t own = 8192, pack = 16; /* own: the kernel's other shared memory, and the system's */
    int64_t packs = row_adds<Op> ? P * stay_groups : 0, kept = 0;
    int arrays = 0;
    for (; arrays < op.kept_arrays(); arrays++) {
        const int64_t more = P * (op.kept_bytes(arrays) / pack);
        if ((packs + kept + more) * threads * pack + own > call->device->props.shared_bytes) break;
        kept += more;
    }
    const size_t shared = size_t((packs + kept) * threads * pack);
    int64_t teams = call->device->props.compute_units / blocks;
    target::allow_shared(kernel, shared);
    if (rows > teams / 2) teams = target::row_wide_teams(call, kernel, blocks, threads * stay_groups, shared);
    if (teams < 1) teams = 1;
    if (teams > rows) teams = rows;
    return target::launch_wide(call, kernel, teams * blocks, blocks, threads * stay_groups, shared, op, outer, int(rows), int(n),
                               arrays, int(kept));
}

} // namespace simt

#endif
