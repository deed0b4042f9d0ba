/* Gradients of norms of long rows, in the frame of row_stream.h: a thread's columns keep their sums in registers and their weight in
 * shared memory, beside places for as many packs of x and dy as there is room for. While dx of a row is made the next row's partial
 * is exchanged, where two rows fit; each pack makes room for one of a later row. Two rows of 16 bits fit where the weight is kept in
 * 16 bits as well. */
#ifndef TRINE_SIMT_NORM_GRADIENT_STREAM_H
#define TRINE_SIMT_NORM_GRADIENT_STREAM_H

#include "backends/simt/norm_gradient.h"
#include "backends/simt/row_stream.h"

namespace simt {

struct saved_floats {
    float mean, rstd;
};

template <class Op, int P, bool narrow> struct gradient_stream_columns {
    using type = gradient_columns<1 + Op::sums, P * Op::V / 4, true>;
};
template <class Op, int P> struct gradient_stream_columns<Op, P, true> {
    using type = gradient_narrow_columns<row_element<Op>, 1 + Op::sums, P * Op::V / 4>;
};

/* P packs a thread of both, x and dy, with all that follows from it. `narrow`: the weight is kept in 16 bits. A multiprocessor shall
 * hold two blocks of half of stream_threads, with what they reserve, or one of the longest rows' P. */
template <class Op, int P_, bool narrow_> struct gradient_stream {
    static constexpr bool narrow = narrow_;
    using columns = typename gradient_stream_columns<Op, P_, narrow>::type;
    using partial = typename Op::partial;
    enum {
        P = P_,
        pair_bytes = 32,
        static_bytes =
            (4 * target::row_stream_team::most_blocks + 2 * target::max_waves) * int(sizeof(partial)) + 128, /* at most */
        blocks = P > gradient_packs<true> ? 1 : 2,
        room = (target::stream_shared - blocks * (static_bytes + target::stream_reserved)) / stream_threads - columns::bytes,
        places = room / pair_bytes > 3 * P ? 3 * P : room / pair_bytes,
        ahead = places > 2 * P + 1,                /* rows whose partial is made before dx of the last one is */
        last_asked = (2 + ahead) * P - 1 - places, /* the pack that makes room for the last one of the row after those */
        thread_bytes = columns::bytes + places * pair_bytes
    };
};

/* The rows of a team. Pair k of row i, both counted from the team's first one, has place (i P + k) modulo `places`. */
template <class Op, int P, bool narrow, class Team> struct gradient_stream_walk {
    using T = row_element<Op>;
    using plan_of = gradient_stream<Op, P, narrow>;
    using columns = typename plan_of::columns;
    enum { V = Op::V, places = plan_of::places };
    const Op &op;
    const gradient_outer<true> &outer;
    const stream_exchange<Team, Op> &blocks;
    const stream_exchange<Team, gradient_sums, gradient_sums> &known_blocks; /* instead, where the statistics are known */
    gradient_place<V, true> at;
    int rows, step;
    uint4 *first;
    saved_floats *saved; /* of four rows */

    /* `base`: of the row's first pair, in uint4. A wave's packs of a pair lie side by side. */
    static TRINE_DEVICE_METHOD int pitch() { return 2 * target::block_threads(); }
    TRINE_DEVICE_METHOD uint4 *place(int base, int k) const
    {
        const int i = base + k * pitch(), end = places * pitch();
        return first + (i < end ? i : i - end);
    }
    static TRINE_DEVICE_METHOD gradient_pair<T> get(const uint4 *p)
    {
        const uint4 x = p[0], dy = p[target::wave_size()];
        return {{{x.x, x.y, x.z, x.w}}, {{dy.x, dy.y, dy.z, dy.w}}};
    }
    /* x and dy of a row that is there. */
    struct source {
        const T *x, *dy;
    };
    TRINE_DEVICE_METHOD source from(int row) const
    {
        if (row >= rows) return {nullptr, nullptr};
        int64_t offset[gradient_operands];
        outer.offsets(row, offset);
        return {op.x + offset[1], op.dy + offset[2]};
    }
    /* Pair k of a row to a place. */
    TRINE_DEVICE_METHOD void ask(uint4 *to, const gradient_place<V, true> &same, const source &row, int k) const
    {
        if (!row.x || !same.touches(k)) return;
        target::copy_to_shared<16>(to, row.x + same.column(k, 0));
        target::copy_to_shared<16>(to + target::wave_size(), row.dy + same.column(k, 0));
    }
    /* As much as there are places, in two groups: what is waited for first, and the rest. */
    TRINE_DEVICE_METHOD void begin(int row) const
    {
        source now = {};
#pragma unroll
        for (int s = 0; s < places; s++) {
            if (s % P == 0) now = from(row + s / P * step);
            ask(place(0, s), at, now, s % P);
            if (s == P - 1) Team::end_copies();
            if (plan_of::ahead && s == 2 * P - 1) Team::end_copies();
        }
        Team::end_copies();
    }
    template <bool known> TRINE_DEVICE_METHOD void gather(int base, int turn, const columns &c) const
    {
        const auto pair_of = [&](int i) { return get(place(base, i)); };
        const gradient_place<V, true> same = at.again();
        const float own = count_columns<P>(same);
        const int lanes = target::wave_size();
        if constexpr (known) {
            const gradient_sums p =
                op.template gather<P, true, true, true>(pair_of, c, same, own, 0.0f, lanes, saved[turn % 4].mean);
            known_blocks.offer(p, p.combine(p), turn);
        } else {
            blocks.offer(op, op.template gather<P, true>(pair_of, c, same, own, wave_reduce(own, op_sum{}), lanes), turn);
        }
    }
    TRINE_DEVICE_METHOD gradient_stats collect(bool knows, int turn, int64_t n) const
    {
        typename Op::partial p;
        const saved_floats own = saved[turn % 4];
        if (knows)
            p = gradient_sums::whole(tag<typename Op::partial>{}, known_blocks.collect(gradient_sums{}, turn), own.mean);
        else
            p = blocks.collect(op, turn);
        return op.finish(p, n, {own.mean, own.rstd, 0.0f, 0.0f});
    }
    /* The forward's statistics of row i, by the block's first thread: they come with the group that is closed next and are seen
     * by the others after the barrier that follows. */
    TRINE_DEVICE_METHOD void ask_saved(int i, int row) const
    {
        if (target::thread_x() != 0 || row >= rows) return;
        if (op.mean) target::copy_to_shared<4>(&saved[i % 4].mean, op.mean + row);
        if (op.rstd) target::copy_to_shared<4>(&saved[i % 4].rstd, op.rstd + row);
    }
    TRINE_DEVICE_METHOD void emit(int base, int turn, columns &c, const gradient_stats &stats, int row) const
    {
        ask_saved(turn + 3, row + 3 * step);
        int64_t offset[gradient_operands];
        outer.offsets(row, offset);
        const gradient_place<V, true> same = at.again();
        T *const dx = op.dx + offset[0];
        const T *const dsum = op.dsum ? op.dsum + offset[3] : nullptr;
        if (plan_of::last_asked < 0) Team::end_copies();
        source later = from(row + places / P * step);
#pragma unroll
        for (int k = 0; k < P; k++) {
            if (k && (k + places) % P == 0) later = from(row + (k + places) / P * step);
            const bool some = same.touches(k);
            row_words<T> more = {{0u, 0u, 0u, 0u}};
            gradient_pair<T> pair = {};
            if (some && dsum) more = same.load(dsum, k);
            uint4 *const at_k = place(base, k);
            if (some) pair = get(at_k);
            ask(at_k, same, later, (k + places) % P); /* another pack, which a row may have without this one */
            if (some) same.store(dx, op.emit(pair, c, stats, more, k), k);
            if (k == plan_of::last_asked) Team::end_copies();
        }
        Team::end_copies();
    }
};

template <class Op, int P, bool narrow, class Team> TRINE_KERNEL(stream_threads)
gradient_stream_kernel(Op op, gradient_outer<true> outer, gradient_plan<Op> plan)
{
    if constexpr (Team::absent) return;
    using plan_of = gradient_stream<Op, P, narrow>;
    using partial = typename Op::partial;
    TRINE_SHARED partial list[4][Team::most_blocks], waves[2][target::max_waves];
    TRINE_SHARED saved_floats saved[4];
    static_assert(sizeof(partial) >= sizeof(gradient_sums), "share their places");
    const stream_exchange<Team, Op> blocks{list, waves};
    const stream_exchange<Team, gradient_sums, gradient_sums> known_blocks{
        reinterpret_cast<gradient_sums(&)[4][Team::most_blocks]>(list),
        reinterpret_cast<gradient_sums(&)[2][target::max_waves]>(waves)};
    const bool knows = op.knows();
    target::let_next_start();
    Team::begin(int(knows ? sizeof(gradient_sums) : sizeof(partial)) * Team::blocks(), 4);
    const int threads = target::block_threads(), team = int(target::block_x() / unsigned(Team::blocks())),
              t = Team::rank() * threads + target::thread_x();
    auto *const shared = reinterpret_cast<four_floats *>(target::dynamic_shared());
    gradient_stream_walk<Op, P, narrow, Team> rows = {
        op,
        outer,
        blocks,
        known_blocks,
        {int(plan.n), t, threads * Team::blocks()},
        int(plan.rows),
        plan.groups,
        reinterpret_cast<uint4 *>(shared) + threads * int(plan_of::columns::bytes / 16) +
            target::thread_x() / target::wave_size() * target::wave_size() + target::thread_x(), /* pairs: two packs a lane */
        saved};
    if (target::thread_x() == 0)
        for (saved_floats &one : saved) one = saved_floats{0.0f, 0.0f};
    for (int i = 0; i < 3; i++) rows.ask_saved(i, team + i * rows.step);
    rows.begin(team);
    typename plan_of::columns columns(shared);
    if constexpr (narrow)
        op.template start<P>(columns, rows.at);
    else
        op.template start<P, true>(columns, rows.at, 0);
    constexpr int ahead = plan_of::ahead;
    const auto gather = [&](int base, int turn) {
        if (knows)
            rows.template gather<true>(base, turn, columns);
        else
            rows.template gather<false>(base, turn, columns);
    };
    int row = team, base = 0;
    Team::started();
    Team::template wait_for_copies_but<1 + ahead>();
    target::barrier();
    if (ahead) gather(0, 0);
    for (int turn = 0; row < rows.rows; turn++, row += rows.step) {
        const int further = base + P * rows.pitch(), end = plan_of::places * rows.pitch(),
                  next = further < end ? further : further - end;
        if (!ahead || row + rows.step < rows.rows) {
            Team::template wait_for_copies_but<1>();
            gather(ahead ? next : base, turn + ahead);
        }
        const gradient_stats stats = rows.collect(knows, turn, plan.n);
        columns.again(uint32_t(rows.at.n) >> 31);
        rows.emit(base, turn, columns, stats, row);
        base = next;
    }
    if (!plan.sums) return;
    store_own_sums<Op, P, true>(columns, rows.at, plan.sums + int64_t(team) * Op::sums * plan.n, plan.n);
}

} // namespace simt

#endif
