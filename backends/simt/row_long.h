/* Rows that a cluster of blocks holds in its registers and its shared memory together, which are twice as much: one read and one
 * write where row_split.h reads twice. Only for rows of whole packs on 16-byte boundaries. */
#ifndef TRINE_SIMT_ROW_LONG_H
#define TRINE_SIMT_ROW_LONG_H

#include "backends/simt/row.h"

namespace simt {

/* Ops whose rows go this way specialise this. */
template <class Op> constexpr bool row_goes_long = false;
/* Packs that are taken out of shared memory at a time. */
enum { row_long_part = 1 }; /* with two some kernels spill */

/* A thread's places in shared memory: after the packs in its registers it has as many there. */
template <class Op> struct row_long_places {
    using T = row_element<Op>;
    enum { P = row_wide_packs<Op>, V = row_pack<T> };
    uint4 *first;
    row_place at;

    TRINE_DEVICE_METHOD uint4 *place(int k, int i) const { return first + (k * P + i) * target::block_threads(); }
    TRINE_DEVICE_METHOD void send(const T *const (&from)[Op::inputs]) const
    {
#pragma unroll
        for (int k = 0; k < Op::inputs; k++)
#pragma unroll
            for (int i = 0; i < P; i++)
                if (at.touches<V>(i)) target::copy_to_shared<16>(place(k, i), from[k] + at.column(i));
    }
    /* f(tile, place) for a few packs at a time. */
    template <class F> TRINE_DEVICE_METHOD void each(const Op &op, F f) const
    {
#pragma unroll 1
        for (int i = 0; i < P; i += row_long_part) {
            row_tile_of<Op, row_long_part> tile;
#pragma unroll
            for (int k = 0; k < Op::inputs; k++)
#pragma unroll
                for (int j = 0; j < row_long_part; j++) {
                    tile.at[k][j] = row_words<T>::all(op.neutral());
                    if (!at.touches<V>(i + j)) continue;
                    const uint4 v = *place(k, i + j);
                    tile.at[k][j] = {{v.x, v.y, v.z, v.w}};
                }
            f(tile, at.from(i));
        }
    }
};

template <class Op, class Team> TRINE_KERNEL(row_threads) row_long_kernel(Op op, row_walk<Op, true> outer, int n)
{
    if constexpr (Team::absent) return;
    constexpr int P = row_wide_packs<Op>;
    TRINE_SHARED typename Op::partial list[Team::most_blocks + target::max_waves];
    const int threads = target::block_threads(), row = target::block_x() / Team::blocks();
    Team::begin(exchanged_bytes<Team, Op>());
    int64_t offset[row_operand_count<Op>];
    outer.offsets(row, offset);
    const row_operands<Op, true> operands(op, offset, 0, row);
    const row_place at = operands.place(n, Team::rank() * threads + target::thread_x(), threads * Team::blocks());
    const row_long_places<Op> more = {reinterpret_cast<uint4 *>(target::dynamic_shared()) + target::thread_x(), at.from(P)};
    more.send(operands.in);
    row_tile_of<Op, P> tile;
    load_tile(tile, op, operands, at);
    typename Op::partial p = op.gather(tile, at, target::wave_size());
    target::wait_for_copies();
    more.each(op, [&](auto &part, const row_place &where) { p = op.merge(p, op.gather(part, where, target::wave_size())); });
    Team::started();
    p = exchange<Team>(op, p, list);
    const typename Op::stats stats = op.finish(p, n);
    if (Team::rank() == 0 && target::thread_x() == 0) op.note(stats, row);
    tile.pass(at.zero());
    store_tile(stats, tile, op, operands, at.again(), 0);
    more.each(op, [&](auto &part, const row_place &where) { store_tile(stats, part, op, operands, where, 0); });
}

/* ---- Host ---- */

/* False: the device has no such clusters, or the row is too long. */
template <class Op> inline bool run_long(trine_call *call, const Op &op, const row_walk<Op, true> &outer, int64_t rows, int64_t n,
                                         int64_t packs, trine_status *status)
{
    using Team = target::row_wide_team;
    constexpr int P = row_wide_packs<Op>, blocks = Team::most_blocks;
    const int64_t threads =
        ceil_div(ceil_div(packs, int64_t(blocks) * 2 * P), call->device->props.wave_size) * call->device->props.wave_size;
    const size_t shared = size_t(threads) * P * Op::inputs * 16;
    const auto kernel = row_long_kernel<Op, Team>;
    if (threads > row_threads || rows > 0x7fffffff / blocks || target::row_most_blocks(call) == 1) return false;
    if (target::row_wide_teams(call, kernel, blocks, int(threads), shared) == 0) return false;
    *status = target::launch_wide(call, kernel, rows * blocks, blocks, int(threads), shared, op, outer, int(n));
    return true;
}

} // namespace simt

#endif
