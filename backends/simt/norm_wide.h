/* Norms of long rows with a weight or bias, on devices with clusters of blocks: a cluster goes through row after row and keeps each
 * thread's columns of weight and bias in shared memory, so that rows share one read of them; a thread's packs of the next row are
 * on their way to registers meanwhile. Fetched for every row they are as many reads from the L2 cache again as x is, or twice, of
 * parameters that lie there anyway, and waits of the threads that store.
 * Bound by bytes: one read and one write an element. */
#ifndef TRINE_SIMT_NORM_WIDE_H
#define TRINE_SIMT_NORM_WIDE_H

namespace simt {

/* Packs of a row from which on it goes this way if it has both, a weight and a bias; twice as many with one of them. H100, of a
 * copy: 93 to 94 % at 32768 and 65536 packs (86 to 90 in row.h), 91 (89) at 16384, there 91 (93) with a weight alone. */
enum { norm_wide_least = 16384 };

template <class T> TRINE_KERNEL(row_threads)
norm_wide_kernel(norm_rows<T, false> op, row_walk<norm_rows<T, false>> outer, int rows, int n)
{
    using Op = norm_rows<T, false>;
    using Team = target::row_wide_team;
    using words = row_words<T>;
    constexpr int P = row_few, V = row_pack<T>;
    TRINE_SHARED typename Op::partial list[2][Team::most_blocks + target::max_waves];
    Team::begin(exchanged_bytes<Team, Op>(), 2);
    const int threads = target::block_threads(), width = threads * Team::blocks(), teams = target::grid_x() / Team::blocks(),
              t = Team::rank() * threads + target::thread_x();
    int row = target::block_x() / Team::blocks();
    const row_place all = {n, t * V, width * V, true, 0};
    const auto load = [&](row_tile<T, 1, P> &tile, int row, int skipped) {
        int64_t offset[2];
        row_place at = all.again();
        at.begin += skipped;
        if (row >= rows) row = at.n = 0;
        outer.offsets(row, offset);
        load_tile(tile, op, row_operands<Op, true>(op, offset, 0, row), at);
    };
    row_tile<T, 1, P> tile, ahead;
    load(ahead, row, 0);
    auto *const kept = reinterpret_cast<words *>(target::dynamic_shared()) + target::thread_x();
#pragma unroll
    for (int i = 0; i < P; i++) {
        if (!all.touches<V>(i)) continue;
        kept[i * row_threads] = op.weight.template fetch<T>(all, i, 0).at[0];
        kept[(P + i) * row_threads] = op.bias.template fetch<T>(all, i, 0).at[0];
    }
    Team::started();
    for (int turn = 0; row < rows; turn++, row += teams) {
        tile = ahead;
        typename Op::partial p = op.gather(tile, all.again(), target::wave_size());
        /* Asked for when this row's packs are in use: before, both would wait at one scoreboard, for the later ones. No sum of
         * squares is negative, which the compiler does not know. */
        load(ahead, row + teams, p.squares < 0.0f);
        p = exchange<Team>(op, p, list[turn & 1], turn);
        Team::again(turn, exchanged_bytes<Team, Op>());
        const typename Op::stats stats = op.finish(p, n);
        if (Team::rank() == 0 && target::thread_x() == 0) op.note(stats, row);
        tile.pass(all.zero());
        int64_t offset[2];
        outer.offsets(row, offset);
        T *const y = op.out + offset[0];
        const row_place same = all.again();
#pragma unroll
        for (int i = 0; i < P; i++) {
            if (!same.touches<V>(i)) continue;
            const typename Op::template numbers<T> given = {{{kept[i * row_threads]}}, {{kept[(P + i) * row_threads]}}};
            words out;
#pragma unroll
            for (int q = 0; q < V / 4; q++) {
                float four[4];
                op.emit(four, stats, tile, i, q, given);
                out.set_four(q, four);
            }
            out.store(y + same.column(i));
        }
    }
}

/* ---- Host ---- */

/* False: another way. */
template <class T> struct row_other_way<norm_rows<T, false>> {
    static bool run(trine_call *call, const norm_rows<T, false> &op, const row_walk<norm_rows<T, false>> &outer, int64_t rows,
                    int64_t n, int64_t packs, trine_status *status)
    {
        if constexpr (target::row_wide_team::most_blocks > 1) {
            const bool alike = sizeof(T) == sizeof(float) || (op.weight.narrow && op.bias.narrow);
            const int most = target::row_most_blocks(call) > 1 ? int(target::row_wide_team::most_blocks) : 1;
            const int given = (op.weight.data != nullptr) + (op.bias.data != nullptr);
            if (given == 0 || packs * given < 2 * norm_wide_least || most == 1 || !alike) return false;
            int blocks = 2;
            while (blocks < most && packs > int64_t(blocks) * row_threads * row_few) blocks *= 2;
            const int64_t threads = round_up(ceil_div(packs, int64_t(blocks) * row_few), call->device->props.wave_size);
            if (threads > row_threads) return false;
            const size_t shared = 2 * row_few * row_threads * sizeof(row_words<T>);
            const auto kernel = norm_wide_kernel<T>;
            const int teams = target::row_wide_teams(call, kernel, blocks, int(threads), shared);
            if (teams == 0 || rows <= teams) return false;
            *status = target::launch_wide(call, kernel, int64_t(teams) * blocks, blocks, int(threads), shared, op, outer,
                                          int(rows), int(n));
            return true;
        }
        return false;
    }
};

} // namespace simt

#endif
