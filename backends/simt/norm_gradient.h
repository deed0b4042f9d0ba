/* Kernels of the norms' gradients (norm_backward.h has the arithmetic).
 *
 * A team of threads, as in row.h, takes row after row and stays with its columns, whose weight and sums it keeps: so dx and the
 * columns' sums come of one read of x and dy. The next row's x and dy are on their way meanwhile, to registers or to shared memory;
 * where a thread has room for them in neither, a pack of the next row is asked for as soon as that pack of dx is stored. Teams' sums
 * go to the workspace and are added in the order of the teams. Where a row goes depends on its length N, with C columns a thread
 * (16 of f32, 32 where that is too few; 32 of 16 bits; where rows do not lie in packs of 16 bytes 8 and 16):
 *   N <= C lanes     several rows a wave or a wave a row; a block adds the sums of its teams
 *   N <= C threads   a block a row, or a cluster of blocks where the vendor has them and rows lie in packs: NVIDIA's 16 blocks of
 *                    512 threads hold 262144 columns (without packs single ones 4096 of f32, 8192 of 16 bits), AMD's single
 *                    ones 16384 (4096, 8192)
 *   above            tiles of 256 C columns, three kernels: partials of every row's tiles, the rows' statistics, dx
 * Bytes: the first two move x, dy and dx once, and twice the sums, 8 bytes a column and team: at most 17 MB on an H100, which
 * mostly stay in its L2 cache. The third moves x and dy twice, 5 moves instead of 3. Bound by bytes: H100, tensors of 256 MB, f32
 * 93 to 98 % of a copy, bf16 89 to 96; what doesn't grow with the rows (the first ones, the sums, the second kernel) takes 13 to 27
 * us of 290, of an addition of as many bytes 6. Columns' sums of small tensors, where the forward's statistics are given, come of x and
 * dy once more (norm_gradient_columns.h). Clusters have kernels of their own (norm_gradient_stream.h). Teams of a cooperative
 * grid that meet through words in the L2 cache lose to them: a row's meeting costs each block as many reads as the team has blocks.
 */
#ifndef TRINE_SIMT_NORM_GRADIENT_H
#define TRINE_SIMT_NORM_GRADIENT_H

#include "backends/simt/norm_backward.h"

namespace simt {

enum {
    gradient_threads = target::columns_threads,
    gradient_small_block = 256,
    gradient_sum_threads = 1024,
    gradient_operands = 4
};
/* Packs that a thread holds of each input, fewer of rows that are not moved in packs, and those of the longest rows, of which there
 * is no room for a second one on its way. Few threads with many packs each leave more registers to a pack. */
template <bool simple> constexpr int gradient_packs = simple ? 4 : 2;
template <class T, bool simple> constexpr int gradient_most_packs = simple && sizeof(T) == 4 ? 8 : gradient_packs<simple>;
template <int P> constexpr bool gradient_ahead = P == 4;
/* Where registers are short rows are in shared memory, one being worked on and the next one on its way, each thread's packs in
 * places of its own. */
template <int P, bool simple> constexpr bool gradient_sends = simple &&gradient_ahead<P> && !target::columns_in_registers;

/* All of a row by one team, or of its tiles one thing. */
enum gradient_phase { GRADIENT_ROWS, GRADIENT_PARTIALS, GRADIENT_EMIT };

template <class Op> struct gradient_plan {
    int64_t rows, n;
    int32_t groups;                 /* teams that share the rows, or share a tile's rows */
    int32_t tiles;                  /* of a row */
    int32_t shift;                  /* 2^shift threads a row; negative: the team's */
    float *sums;                    /* groups x sums x n, or NULL */
    typename Op::partial *partials; /* rows x tiles */
    gradient_stats *stats;          /* rows */
};

template <bool simple> using gradient_outer = rows_walk<gradient_operands, simple>;

/* The rows of a team: x and dy of one are on their way while another's dx is made. */
template <class Op, int P, bool simple> struct gradient_walk {
    using T = row_element<Op>;
    const Op &op;
    const gradient_outer<simple> &outer;
    gradient_place<Op::V, simple> at;
    int64_t first; /* column */

    TRINE_DEVICE_METHOD void load(row_tile<T, 2, P> &tile, const gradient_place<Op::V, simple> &same, int i, const T *x,
                                  const T *dy, bool there) const
    {
        tile.at[0][i] = tile.at[1][i] = row_words<T>{{0u, 0u, 0u, 0u}};
        if (!there) return;
        tile.at[0][i] = same.load(x, i);
        tile.at[1][i] = same.load(dy, i);
    }
    TRINE_DEVICE_METHOD void load(row_tile<T, 2, P> &tile, int64_t row, bool there) const
    {
        int64_t offset[gradient_operands];
        outer.offsets(row, offset);
        const gradient_place<Op::V, simple> same = at.again();
#pragma unroll
        for (int i = 0; i < P; i++) load(tile, same, i, op.x + offset[1] + first, op.dy + offset[2] + first, there);
    }
    /* The same by way of shared memory; place k of a thread is k * block_threads() further. */
    TRINE_DEVICE_METHOD void send(uint4 *places, int64_t row, bool there) const
    {
        int64_t offset[gradient_operands];
        outer.offsets(row, offset);
        const gradient_place<Op::V, simple> same = at.again();
        const T *const x = op.x + offset[1] + first, *const dy = op.dy + offset[2] + first;
#pragma unroll
        for (int i = 0; i < P; i++) {
            if (!there || !same.touches(i)) continue;
            target::copy_to_shared<16>(places + i * target::block_threads(), x + same.column(i, 0));
            target::copy_to_shared<16>(places + (P + i) * target::block_threads(), dy + same.column(i, 0));
        }
    }
    /* dx of `row`, whose tile it is, if it is there. Where no other tile is on its way, each pack makes room for `next`'s. */
    template <class Pair> TRINE_DEVICE_METHOD void emit(Pair pair_of, row_tile<T, 2, P> &tile,
                                                        typename Op::template columns<P> &columns, const gradient_stats &stats,
                                                        int64_t row, bool there, int64_t next, bool next_there) const
    {
        int64_t offset[gradient_operands], offset_next[gradient_operands];
        outer.offsets(row, offset);
        if constexpr (!gradient_ahead<P>) outer.offsets(next, offset_next);
        const gradient_place<Op::V, simple> same = at.again();
        T *dx = op.dx + offset[0] + first;
        const T *dsum = op.dsum ? op.dsum + offset[3] + first : nullptr;
#pragma unroll
        for (int i = 0; i < P; i++) {
            if (there && same.touches(i)) {
                row_words<T> more = {{0u, 0u, 0u, 0u}};
                if (dsum) more = same.load(dsum, i);
                same.store(dx, op.emit(pair_of(i), columns, stats, more, i), i);
            }
            if constexpr (!gradient_ahead<P>)
                load(tile, same, i, op.x + offset_next[1] + first, op.dy + offset_next[2] + first, next_there);
        }
    }
};

/* Four columns' sums, from 4q of pack i on. */
template <int V, bool simple>
TRINE_DEVICE void store_four(float *to, const gradient_place<V, simple> &at, const four_floats &sum, int i, int q)
{
    if constexpr (simple) {
        row_words<float> words;
        words.set_four(0, sum.at);
        if (at.touches(i)) words.store(to + at.column(i, 4 * q));
    } else {
#pragma unroll
        for (int j = 0; j < 4; j++)
            if (at.has(i, 4 * q + j)) to[at.column(i, 4 * q + j)] = sum.at[j];
    }
}

/* The teams of a block add up, then the block's sums go to the workspace. */
template <class Op, int P, bool simple> TRINE_DEVICE void store_sums(const typename Op::template columns<P> &columns,
                                                                     four_floats *block, const gradient_place<Op::V, simple> &at,
                                                                     int teams, float *to, int64_t n)
{
    using kept = typename Op::template columns<P>;
    constexpr int fours = P * Op::V / 4;
#pragma unroll
    for (int k = 0; k < Op::sums; k++) {
        columns.share(1 + k);
        for (int e = target::thread_x(); e < at.width * fours; e += target::block_threads()) {
            const int t = e & (at.width - 1), four = e / at.width, i = four / (Op::V / 4), q = four % (Op::V / 4);
            four_floats sum = {{0.0f, 0.0f, 0.0f, 0.0f}};
            for (int team = 0; team < teams; team++) {
                const four_floats own = block[kept::shared_index(team * at.width + t, 1 + k, four)];
                for (int j = 0; j < 4; j++) sum.at[j] += own.at[j];
            }
            const gradient_place<Op::V, simple> theirs = {at.n, t, at.width};
            store_four(to + k * n, theirs, sum, i, q);
        }
    }
}

/* A thread's sums as the team's. */
template <class Op, int P, bool simple, class Columns>
TRINE_DEVICE void store_own_sums(const Columns &columns, const gradient_place<Op::V, simple> &at, float *to, int64_t n)
{
    constexpr int fours = P * Op::V / 4;
#pragma unroll
    for (int k = 0; k < Op::sums; k++)
#pragma unroll
        for (int four = 0; four < fours; four++)
            store_four(to + k * n, at, columns.get(1 + k, four), four / (Op::V / 4), four % (Op::V / 4));
}

template <int P, int V, bool simple> TRINE_DEVICE float count_columns(const gradient_place<V, simple> &at)
{
    int count = 0;
    for (int i = 0; i < P; i++)
        for (int j = 0; j < V; j++) count += at.has(i, j);
    return float(count);
}

template <class Op, int P, bool simple>
constexpr int gradient_thread_bytes = int(Op::template columns<P>::bytes) + (gradient_sends<P, simple> ? 2 * 2 * P * 16 : 0);

/* Dynamic shared memory: the columns of all threads, places for two rows where they go there, then, for teams of several waves,
 * partials for two turns. */
template <class Op, int P, class Team, bool simple, gradient_phase phase> TRINE_KERNEL(gradient_threads)
gradient_kernel(Op op, gradient_outer<simple> outer, gradient_plan<Op> plan)
{
    if constexpr (Team::absent) return;
    using T = row_element<Op>;
    constexpr int V = Op::V;
    using partial = typename Op::partial;
    using kept = typename Op::template columns<P>;
    auto *const block = reinterpret_cast<four_floats *>(target::dynamic_shared());
    if (phase != GRADIENT_PARTIALS) target::let_next_start();
    const int threads = target::block_threads(), places = threads / target::wave_size() + Team::blocks();
    auto *const list = reinterpret_cast<partial *>(
        target::dynamic_shared() +
        (target::columns_in_registers && plan.shift < 0 ? 0 : threads * gradient_thread_bytes<Op, P, simple>));
    constexpr bool sends = gradient_sends<P, simple>;
    auto *const places_ahead =
        reinterpret_cast<uint4 *>(target::dynamic_shared() + threads * int(kept::bytes)) + target::thread_x();
    const bool alone = phase == GRADIENT_ROWS && plan.shift >= 0;
    const int width = alone ? 1 << plan.shift : threads * Team::blocks(), teams = alone ? threads >> plan.shift : 1;
    const int t = alone ? target::thread_x() & (width - 1) : Team::rank() * threads + target::thread_x();
    const unsigned team = target::block_x() / unsigned(Team::blocks());
    const int tile_number = int(team % unsigned(plan.tiles)), group = int(team / unsigned(plan.tiles));
    const int64_t first = int64_t(tile_number) * width * P * V, left = plan.n - first;
    if (!alone) Team::begin(exchanged_bytes<Team, Op>(), 2);

    const gradient_walk<Op, P, simple> rows = {
        op, outer, {plan.tiles == 1 || left < int64_t(width) * P * V ? int(left) : width * P * V, t, width}, first};
    kept columns(block);
    op.template start<P, simple>(columns, rows.at, first);
    const int lanes = alone ? width : target::wave_size();
    const float own = count_columns<P>(rows.at), count = wave_reduce(own, op_sum{}, lanes);
    /* teams of a block go on together, whether their rows are there or not: a wave stays together */
    using number = typename row_number<(Team::most_blocks > 1)>::type;
    const int step = plan.groups * teams;
    number row = number(group) * teams;
    const int turns = int((plan.rows - row + step - 1) / step);
    if (alone) row += target::thread_x() >> plan.shift;
    row_tile<T, 2, P> tile, ahead;
    if constexpr (sends)
        rows.send(places_ahead, row < plan.rows ? row : 0, row < plan.rows);
    else
        rows.load(tile, row < plan.rows ? row : 0, row < plan.rows);
    constexpr bool early =
        phase == GRADIENT_ROWS && (Team::most_blocks == 1 || gradient_ahead<P>); /* where there are registers */
    const bool knows = simple && early && op.knows();
    if (!alone) Team::started();
    for (int turn = 0; turn < turns; turn++, row += step) {
        const bool there = row < plan.rows, next_there = row + step < plan.rows;
        const number here = there ? row : 0, next = next_there ? row + step : 0;
        gradient_stats saved = {0.0f, 0.0f, 0.0f, 0.0f};
        if (early) saved = op.saved(here);
        /* 0 and what it is added to are computed in every turn, not kept in registers */
        uint32_t skipped = uint32_t(rows.at.n) >> 31;
        target::opaque(skipped, skipped);
        uint4 *const here_places = places_ahead + skipped + (turn & 1) * (2 * P) * threads;
        const auto pair_of = [&](int i) {
            if constexpr (sends) {
                const uint4 x = here_places[i * threads], dy = here_places[(P + i) * threads];
                return gradient_pair<T>{{{x.x, x.y, x.z, x.w}}, {{dy.x, dy.y, dy.z, dy.w}}};
            } else {
                return gradient_pair<T>{tile.at[0][i], tile.at[1][i]};
            }
        };
        if constexpr (sends) {
            target::wait_for_copies();
            rows.send(places_ahead + skipped + (~turn & 1) * (2 * P) * threads, next, next_there);
        } else if constexpr (gradient_ahead<P>) {
            rows.load(ahead, next, next_there);
        }
        gradient_stats stats;
        if constexpr (phase == GRADIENT_EMIT) {
            stats = plan.stats[here];
        } else {
            partial p;
            if (knows)
                p = op.template gather<P, simple, true>(pair_of, columns, rows.at.again(), own, count, lanes, saved.mean);
            else
                p = op.template gather<P, simple>(pair_of, columns, rows.at.again(), own, count, lanes);
            if (!alone) {
                p = exchange<Team>(op, p, list + (turn & 1) * places, turn);
                Team::again(turn, exchanged_bytes<Team, Op>());
            }
            if constexpr (phase == GRADIENT_PARTIALS) {
                if (target::thread_x() == 0) plan.partials[int64_t(row) * plan.tiles + tile_number] = p;
            } else {
                if (!early) saved = op.saved(here);
                stats = op.finish(p, plan.n, saved);
                if constexpr (!sends) tile.pass(uint32_t(rows.at.n) >> 31);
                columns.again(uint32_t(rows.at.n) >> 31);
            }
        }
        if constexpr (phase != GRADIENT_PARTIALS)
            rows.emit(pair_of, tile, columns, stats, here, there, next, next_there);
        else if constexpr (!gradient_ahead<P>)
            rows.load(tile, next, next_there);
        if constexpr (gradient_ahead<P> && !sends) tile = ahead;
    }
    if (phase == GRADIENT_PARTIALS || !plan.sums) return;
    float *to = plan.sums + int64_t(group) * Op::sums * plan.n + first;
    if (alone)
        store_sums<Op, P, simple>(columns, block, rows.at, teams, to, plan.n);
    else
        store_own_sums<Op, P, simple>(columns, rows.at, to, plan.n);
}

/* Statistics of rows from the partials of their tiles, a wave a row. */
template <class Op> TRINE_KERNEL(gradient_small_block) gradient_stats_kernel(Op op, gradient_plan<Op> plan)
{
    const int lane = target::thread_x() % target::wave_size();
    const int64_t waves = target::block_threads() / target::wave_size(),
                  row = target::block_x() * waves + target::thread_x() / target::wave_size();
    if (row >= plan.rows) return;
    typename Op::partial p = op.identity();
    for (int i = lane; i < plan.tiles; i += target::wave_size()) p = op.merge(p, plan.partials[row * plan.tiles + i]);
    const gradient_stats s = op.finish(op.combine(p), plan.n, op.saved(row));
    if (lane == 0) plan.stats[row] = s;
}

/* ---- The groups' sums ---- */

/* dweight or dbias: [n] of T or f32; data may be NULL. */
template <class T> struct gradient_vector {
    void *data;
    bool wide;
    explicit gradient_vector(const trine_tensor &t)
        : data(t.dtype == TRINE_DTYPE_NONE ? nullptr : t.data), wide(t.dtype == TRINE_F32)
    {
    }
    TRINE_DEVICE_METHOD void put(int64_t i, float x) const
    {
        if (wide)
            static_cast<float *>(data)[i] = x;
        else
            static_cast<T *>(data)[i] = from_f32<T>(x);
    }
};

/* A block has as many columns of one of the `of` sums as 2^shift threads hold fours, and as many lines of those as it has threads
 * for. */
template <class T> TRINE_KERNEL(gradient_sum_threads)
gradient_sums_kernel(const float *sums, int64_t n, int groups, int of, int shift, gradient_vector<T> dweight,
                     gradient_vector<T> dbias)
{
    TRINE_SHARED four_floats list[gradient_sum_threads];
    const int t = target::thread_x(), across = 1 << shift, lines = target::block_threads() >> shift;
    const unsigned which = target::block_x() % unsigned(of);
    const int64_t column = (int64_t(target::block_x() / unsigned(of)) * across + t % across) * 4;
    gradient_vector<T> to = dweight;
    if (which) to = dbias;
    if (!to.data) return;
    four_floats sum = {{0.0f, 0.0f, 0.0f, 0.0f}};
    target::wait_for_previous();
    const auto add = [&](auto load) {
#pragma unroll 8
        for (int g = t >> shift; g < groups; g += lines) {
            const four_floats more = load(sums + (int64_t(g) * of + which) * n + column);
            for (int j = 0; j < 4; j++) sum.at[j] += more.at[j];
        }
    };
    if (n % 4 != 0)
        add([&](const float *from) {
            four_floats some;
            for (int j = 0; j < 4; j++) some.at[j] = column + j < n ? from[j] : 0.0f;
            return some;
        });
    else if (column < n)
        add([](const float *from) {
            const row_words<float> words = row_words<float>::load_shared(from);
            return four_floats{{words.value(0), words.value(1), words.value(2), words.value(3)}};
        });
    for (int mask = across; mask < target::wave_size(); mask *= 2)
        for (int j = 0; j < 4; j++) sum.at[j] += target::shuffle_xor(sum.at[j], mask);
    const int apart = across < target::wave_size() ? target::wave_size() : across;
    list[t] = sum;
    target::barrier();
    if (t >= across) return;
    for (int other = t + apart; other < target::block_threads(); other += apart)
        for (int j = 0; j < 4; j++) sum.at[j] += list[other].at[j];
    for (int j = 0; j < 4; j++)
        if (column + j < n) to.put(column + j, sum.at[j]);
}

} // namespace simt

#endif
