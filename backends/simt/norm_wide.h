/* Norms of long rows on devices with clusters of blocks, in the frame of row_stream.h, without or with a residual. Weight and bias
 * stay in registers: fetched for every row they would be as many reads from the L2 cache again as x is, or twice. Bound by bytes:
 * one read and one write an element of each operand. */
#ifndef TRINE_SIMT_NORM_WIDE_H
#define TRINE_SIMT_NORM_WIDE_H

#include "backends/simt/row_stream.h"

namespace simt {

/* Packs of a row from which on it goes this way. H100, of a copy, for 131072 and 262144 columns: f32 93 to 96 % (94 with kernels that
 * kept a row in registers), with a residual 94 to 97 (88 to 93 in row.h); bf16 93 to 95 (90 to 93), with a residual 95 to 96 (84 to
 * 89); so with stores that the L2 cache keeps. Of 32768 columns row.h has 2 to 10 % more. A quarter of bf16's instructions less was
 * worth 2 to 4 %; clusters of 8 and 16 leave 24 and 40 of 264 places of the multiprocessors empty. */
enum { norm_wide_least = 16384 };

/* An element of the parameters as f32. A compiler that sees the same conversions in every row keeps their results, in twice the
 * registers: so bf16 is shifted and masked by numbers of which it does not know that they stay the same. */
template <class T, bool adds> struct wide_halves {
    static constexpr bool pass = sizeof(T) < 4;
    TRINE_DEVICE_METHOD void again(uint32_t) {}
    TRINE_DEVICE_METHOD float value(const row_words<T> &words, int j) const { return words.value(j); }
};
template <> struct wide_halves<bf16, false> { /* with a residual there are no registers for them */
    static constexpr bool pass = false;
    uint32_t up = 0x10000u, high = 0xffff0000u;
    TRINE_DEVICE_METHOD void again(uint32_t zero)
    {
        target::opaque(up, zero);
        target::opaque(high, zero);
    }
    TRINE_DEVICE_METHOD float value(const row_words<bf16> &words, int j) const
    {
        return trine_f32_of_bits(j % 2 ? words.word[j / 2] & high : words.word[j / 2] * up);
    }
};

/* What a thread does with its columns of the rows. Shared memory has three rows' places: three rows of x; or, with a residual, two
 * of x, of which one becomes the sum, and one of the residual, asked for again as soon as it is added. */
template <class T, bool adds, class Team> struct norm_stream {
    using Op = norm_rows<T, adds>;
    using words = row_words<T>;
    enum { P = stream_bytes / 16, V = row_pack<T>, x_slots = stream_slots - adds, more_slot = stream_slots - 1 };
    const Op &op;
    const row_walk<Op, true> &outer;
    const stream_exchange<Team, Op> &blocks;
    row_place all;
    int rows;
    stream_places<T, P> places;

    TRINE_DEVICE_METHOD const T *input(int k, int row) const
    {
        int64_t offset[row_operand_count<Op>];
        outer.offsets(row, offset);
        return op.in[k] + offset[1 + k];
    }
    TRINE_DEVICE_METHOD void ask(int k, int slot, int row) const
    {
        if (row >= rows) return;
        const T *const from = input(k, row);
#pragma unroll
        for (int i = 0; i < P; i++)
            if (all.touches<V>(i)) places.send(slot, i, from + all.column(i));
    }
    /* Pack i of the row, or of the sum, which goes where both are wanted. */
    TRINE_DEVICE_METHOD words take(const row_place &same, int slot, int i, T *sum, const T *more) const
    {
        words x = places.get(slot, i);
        if constexpr (adds) {
            x.add(places.get(more_slot, i));
            if (more) places.send(more_slot, i, more + same.column(i));
            *places.at(slot, i) = uint4{x.word[0], x.word[1], x.word[2], x.word[3]};
            if (sum) x.store_once(sum + same.column(i));
        }
        return x;
    }
    /* Offers the partial of `row`; `next` is the team's next one. */
    TRINE_DEVICE_METHOD void gather(int slot, int turn, int row, int next) const
    {
        T *sum = nullptr;
        const T *more = nullptr;
        if constexpr (adds) {
            int64_t offset[row_operand_count<Op>];
            outer.offsets(row, offset);
            if (op.sum) sum = op.sum + offset[1 + Op::inputs];
            if (next < rows) more = input(1, next);
        }
        const row_place same = all.again();
        const bool centred = op.mode == norm_mode::centred;
        float count = 0.0f, about = 0.0f, total = 0.0f, squares = 0.0f;
        const auto add = [&](int i) {
            const words x = take(same, slot, i, sum, more);
            if (i == 0 && centred) about = x.value(0);
            count += float(V);
#pragma unroll
            for (int j = 0; j < V; j++) {
                const float d = x.value(j) - about;
                total += d;
                squares = target::fma_rn(d, d, squares);
            }
        };
        if (same.template touches<V>(P - 1)) { /* so that nothing stands between their loads */
#pragma unroll
            for (int i = 0; i < P; i++) add(i);
        } else {
#pragma unroll 1
            for (int i = 0; same.template touches<V>(i); i++) add(i);
        }
        if (adds) Team::end_copies();
        const int lanes = target::wave_size();
        const typename Op::partial p = centred ? op.gathered(count, about, total, squares, lanes)
                                               : typename Op::partial{0.0f, 0.0f, wave_reduce(squares, op_sum{}, lanes)};
        blocks.offer(op, p, turn);
    }
    /* y of `row`; what its place is for then is asked for. */
    TRINE_DEVICE_METHOD void emit(int slot, int turn, int row, int further, row_tile<T, 2, P> &kept,
                                  wide_halves<T, adds> &halves) const
    {
        const typename Op::stats stats = op.finish(blocks.collect(op, turn), all.n);
        /* -0 added to anything leaves it as it is */
        const float shift = stats.mean != 0.0f ? -stats.mean * stats.rstd : -0.0f;
        if (Team::rank() == 0 && target::thread_x() == 0) op.note(stats, row);
        int64_t offset[row_operand_count<Op>];
        outer.offsets(row, offset);
        const row_place same = all.again();
        T *const y = stream_address(op.out + offset[0], same.zero());
        const T *const x = stream_address(input(0, further < rows ? further : row), same.zero());
        halves.again(same.zero());
        words next = places.get(slot, 0);
#pragma unroll
        for (int i = 0; i < P; i++) {
            const row_tile<T, 1, 1> tile = {{{next}}};
            if (i + 1 < P) next = places.get(slot, i + 1);
            if (!same.template touches<V>(i)) continue;
            if (further < rows) places.send(slot, i, x + same.column(i));
            if constexpr (wide_halves<T, adds>::pass)
                kept.pass(i, same.zero()); /* they stay as they are, not as twice as many f32 */
            words out;
#pragma unroll
            for (int q = 0; q < V / 4; q++) {
                float four[4];
                if constexpr (sizeof(T) == 4)
                    op.emit(four, stats, tile, 0, q, typename Op::template numbers<T>{{{{kept.at[0][i]}}}, {{{kept.at[1][i]}}}});
                else
#pragma unroll
                    for (int j = 0; j < 4; j++)
                        four[j] = target::fma_rn(target::fma_rn(tile.at[0][0].value(4 * q + j), stats.rstd, shift),
                                                 halves.value(kept.at[0][i], 4 * q + j), halves.value(kept.at[1][i], 4 * q + j));
                out.set_four(q, four);
            }
            out.store_once(y + same.column(i)); /* an output as long as these leaves the caches before it is read */
        }
        Team::end_copies();
    }
};

template <class T, bool adds, class Team> TRINE_KERNEL(stream_threads)
norm_wide_kernel(norm_rows<T, adds> op, row_walk<norm_rows<T, adds>, true> outer, int rows, int n)
{
    if constexpr (Team::absent) return;
    using Op = norm_rows<T, adds>;
    using stream = norm_stream<T, adds, Team>;
    constexpr int V = stream::V, P = stream::P, slots = stream::x_slots;
    TRINE_SHARED typename Op::partial list[4][Team::most_blocks], own[2][target::max_waves];
    const stream_exchange<Team, Op> blocks{list, own};
    Team::begin(exchanged_bytes<Team, Op>(), 4);
    const int threads = target::block_threads(), width = threads * Team::blocks(), teams = target::grid_x() / Team::blocks(),
              t = Team::rank() * threads + target::thread_x();
    const stream of{op, outer, blocks, {n, t * V, width * V, true, 0}, rows, {}};
    int row = target::block_x() / Team::blocks();
    for (int slot = 0; slot < slots; slot++) {
        of.ask(0, slot, row + slot * teams);
        if (adds && slot == 0) of.ask(1, stream::more_slot, row);
        Team::end_copies();
    }
    wide_halves<T, adds> halves;
    row_tile<T, 2, P> kept; /* weight and bias */
#pragma unroll
    for (int i = 0; i < P; i++) {
        kept.at[0][i] = kept.at[1][i] = row_words<T>{};
        if (!of.all.template touches<V>(i)) continue;
        kept.at[0][i] = op.weight.template fetch<T>(of.all, i, 0).at[0];
        kept.at[1][i] = op.bias.template fetch<T>(of.all, i, 0).at[0];
    }
    Team::started();
    if (!adds) {
        Team::template wait_for_copies_but<slots - 1>();
        of.gather(0, 0, row, row);
    }
    int slot = 0;
    for (int turn = 0; row < rows; turn++, row += teams) {
        const int next = slot + 1 == slots ? 0 : slot + 1;
        if (adds || row + teams < rows) Team::template wait_for_copies_but<1>();
        if (adds)
            of.gather(slot, turn, row, row + teams);
        else if (row + teams < rows)
            of.gather(next, turn + 1, row, row);
        of.emit(slot, turn, row, row + slots * teams, kept, halves);
        slot = next;
    }
}

/* ---- Host ---- */

/* False: another way. */
template <class T, bool adds> struct row_other_way<norm_rows<T, adds>> {
    using Op = norm_rows<T, adds>;
    static bool run(trine_call *call, const Op &op, const row_walk<Op, true> &outer, int64_t rows, int64_t n, int64_t packs,
                    trine_status *status)
    {
        if constexpr (target::row_wide_team::most_blocks > 1) {
            /* 16 bits: where instructions count, so without what is seldom asked for */
            const bool alike =
                sizeof(T) == sizeof(float) || (op.weight.narrow && op.bias.narrow && op.offset == 0.0f && !op.round_first);
            if (packs < norm_wide_least || target::row_most_blocks(call) == 1 || !alike) return false;
            return launch_stream(call, norm_wide_kernel<T, adds, target::row_stream_team>, rows, packs, stream_bytes / 16,
                                 stream_slots * stream_bytes, status, op, outer, int(rows), int(n));
        }
        return false;
    }
};

} // namespace simt

#endif
