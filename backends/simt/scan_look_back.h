/* What precedes a tile: a look-back of two levels (after Merrill & Garland 2016).
 *
 * Tiles stand in groups. A tile publishes its total as soon as it has it; it reads the totals before it in its group, and what
 * precedes the group. The last tile of a group publishes the group's total, and the group's prefix once it knows it; a reader
 * walks back over groups to the nearest prefix and adds the totals behind it. A long chain of dependent steps has so one step a
 * group. Inside a group the totals are combined in one order, over groups always from left to right, as a prefix came about: the
 * bits are the same wherever it was found.
 *
 * Blocks take their tiles by ticket, so that all whom a tile waits for have begun.
 *
 * What bounds it (H100, one row of f32): without the waiting the kernel runs at a copy's speed. Of the 10.7 us that a tile's block
 * lives it waits 4.8: 1.3 for the slowest load of the tiles before, 3.5 for two words on their way, the last tile's total and the
 * group's. Many tiles go on at once then and load at once. Twice as many tiles in flight, pauses between looks, and asking the
 * second cache for lines 4 to 24 MB ahead changed nothing or made it slower. Blocks that stay, hold three tiles in shared memory,
 * tell a tile's total when it comes and look back one tile later took 640 us where this took 500 (f32), and 474 where the block that
 * tells a group's last total tells the group's: no more than this one's spread; with smaller tiles 510 to 620. */
#ifndef TRINE_SIMT_SCAN_LOOK_BACK_H
#define TRINE_SIMT_SCAN_LOOK_BACK_H

#include "backends/simt/scan_tile.h"

namespace simt {

/* Tiles of a group: where a wave looks back together, a lane each; and where every thread looks back for itself. */
enum { scan_group = 32, scan_group_alone = 8 };

/* Values that go into a word with their state. */
template <class Op> constexpr bool scan_published_whole = sizeof(typename Op::value) == 4;

/* What a tile or a group has published: nothing yet (0), its total, or the prefix up to its end; in one word, so that no reader
 * sees half. */
enum { SCAN_TOTAL = 1, SCAN_PREFIX = 2 };
TRINE_DEVICE uint64_t scan_word(int state, float value) { return uint64_t(state) << 32 | trine_bits_of_f32(value); }
TRINE_DEVICE uint64_t scan_word(int state, int32_t value) { return uint64_t(state) << 32 | uint32_t(value); }
TRINE_DEVICE int scan_state(uint64_t word) { return int(word >> 32); }
TRINE_INLINE int64_t scan_groups(int64_t tiles, int of) { return (tiles + of - 1) / of; }
template <class Op> TRINE_DEVICE typename Op::value scan_published(uint64_t word)
{
    if constexpr (scan_integer<typename Op::value>)
        return typename Op::value(uint32_t(word));
    else
        return trine_f32_of_bits(uint32_t(word));
}

template <class T> TRINE_KERNEL(scan_threads) scan_clear_kernel(int64_t n, T *words)
{
    const int64_t i = int64_t(target::block_x()) * scan_threads + target::thread_x();
    if (i < n) words[i] = 0;
}

/* What group number `at` has published: of those before the first, that nothing precedes it. */
template <class Op> TRINE_DEVICE uint64_t scan_group_word(const uint64_t *groups, int64_t at)
{
    return at < 0 ? scan_word(SCAN_PREFIX, Op::neutral()) : target::load_published(groups + at);
}

/* Of all groups before `group`, by one wave; the same in all lanes. word: what the lane's has published so far. */
template <class Op> TRINE_DEVICE typename Op::value scan_groups_before(const uint64_t *groups, int64_t group, uint64_t word)
{
    constexpr int wave_size = target::wave_size();
    const int lane = target::thread_x() % wave_size;
    int64_t window = group; /* one past the groups that are looked at; the lanes' are window - 1 - lane */
    int nearest;
    for (;;) { /* until a prefix is seen */
        while (scan_state(word) == 0) word = scan_group_word<Op>(groups, window - 1 - lane);
        nearest = wave_reduce(scan_state(word) == SCAN_PREFIX ? lane : wave_size, op_least{});
        if (nearest < wave_size) break;
        window -= wave_size;
        word = 0;
    }
    auto prefix = target::shuffle(scan_published<Op>(word), nearest); /* and the totals behind it, in their order */
    for (int l = nearest - 1; l >= 0; l--) prefix = Op::both(prefix, target::shuffle(scan_published<Op>(word), l));
    while (window < group) {
        window += wave_size;
        const int64_t at = window - 1 - lane;
        word = target::load_published(groups + at);
        nearest = wave_reduce(scan_state(word) == SCAN_PREFIX ? lane : wave_size, op_least{});
        if (nearest < wave_size) prefix = target::shuffle(scan_published<Op>(word), nearest); /* the same bits, known by now */
        for (int l = nearest - 1; l >= 0; l--) prefix = Op::both(prefix, target::shuffle(scan_published<Op>(word), l));
    }
    return prefix;
}

/* What precedes a tile whose total is published, by one wave. tiles, groups: the row's words. */
template <class Op>
TRINE_DEVICE typename Op::value scan_look_back(uint64_t *tiles, uint64_t *groups, int64_t tile, typename Op::value total)
{
    constexpr int wave_size = target::wave_size();
    const int lane = target::thread_x() % wave_size, rank = int(tile % scan_group);
    const int64_t group = tile / scan_group;
    const uint64_t of_groups = scan_group_word<Op>(groups, group - 1 - lane); /* asked for early */
    uint64_t word = scan_word(SCAN_TOTAL, Op::neutral());
    if (lane < rank) do
            word = target::load_published(tiles + group * scan_group + lane);
        while (scan_state(word) == 0);
    auto sum = scan_published<Op>(word);
#pragma unroll
    for (int apart = 1; apart < scan_group; apart *= 2) {
        const auto other = target::shuffle(sum, lane < apart ? lane : lane - apart);
        sum = lane >= apart ? Op::both(other, sum) : sum;
    }
    sum = target::shuffle(sum, rank == 0 ? 0 : rank - 1); /* of the group's tiles before this one; of none, the neutral element */
    const auto of_group = Op::both(sum, total);
    const bool last = lane == 0 && rank == scan_group - 1;
    if (last) target::publish(groups + group, scan_word(group == 0 ? SCAN_PREFIX : SCAN_TOTAL, of_group));
    if (group == 0) return sum;
    const auto prefix = scan_groups_before<Op>(groups, group, of_groups);
    if (last) target::publish(groups + group, scan_word(SCAN_PREFIX, Op::both(prefix, of_group)));
    return Op::both(prefix, sum);
}

/* The words of up to `count` places that follow each other in steps, asked for together; those past it count as nothing. */
template <int N> struct scan_words {
    uint64_t at[N];
    const uint64_t *from;
    int64_t step;
    TRINE_DEVICE_METHOD scan_words(const uint64_t *from_, int64_t step_, int64_t count) : from(from_), step(step_)
    {
#pragma unroll
        for (int i = 0; i < N; i++) at[i] = i < count ? target::load_published(from + i * step) : 0;
    }
    TRINE_DEVICE_METHOD uint64_t wait(int i)
    {
        while (scan_state(at[i]) == 0) at[i] = target::load_published(from + i * step);
        return at[i];
    }
};

/* The same by one thread, of whose column the words are `step` apart. */
template <class Op> TRINE_DEVICE typename Op::value scan_groups_before_alone(const uint64_t *groups, int64_t step, int64_t group)
{
    constexpr int N = scan_group_alone;
    auto prefix = Op::neutral();
    int64_t known = -1; /* the group up to which prefix goes */
    for (int64_t from = group - 1; known < 0; from -= N) {
        scan_words<N> words(groups + from * step, -step, from + 1);
        int nearest = -1;
#pragma unroll
        for (int i = 0; i < N; i++)
            if (nearest < 0 && from - i >= 0 && scan_state(words.wait(i)) == SCAN_PREFIX) {
                nearest = i;
                prefix = scan_published<Op>(words.at[i]);
            }
        if (nearest < 0) continue;
        known = from - nearest;
#pragma unroll
        for (int i = N - 1; i >= 0; i--)
            if (i < nearest) {
                prefix = Op::both(prefix, scan_published<Op>(words.at[i]));
                known++;
            }
    }
    for (known++; known < group; known += N) { /* those that were passed by: known by now */
        scan_words<N> words(groups + known * step, step, group - known);
#pragma unroll
        for (int i = 0; i < N; i++)
            if (known + i < group)
                prefix = scan_state(words.at[i]) == SCAN_PREFIX ? scan_published<Op>(words.at[i])
                                                                : Op::both(prefix, scan_published<Op>(words.at[i]));
    }
    return prefix;
}

template <class Op> TRINE_DEVICE typename Op::value scan_look_back_alone(uint64_t *tiles, uint64_t *groups, int64_t step,
                                                                         int64_t tile, typename Op::value total)
{
    constexpr int N = scan_group_alone;
    const int rank = int(tile % N);
    const int64_t group = tile / N;
    target::publish(tiles + tile * step, scan_word(SCAN_TOTAL, total));
    scan_words<N - 1> words(tiles + group * N * step, step, rank);
    auto sum = Op::neutral();
#pragma unroll
    for (int i = 0; i < N - 1; i++)
        if (i < rank) sum = Op::both(sum, scan_published<Op>(words.wait(i)));
    const auto of_group = Op::both(sum, total);
    if (rank == N - 1) target::publish(groups + group * step, scan_word(group == 0 ? SCAN_PREFIX : SCAN_TOTAL, of_group));
    if (group == 0) return sum;
    const auto prefix = scan_groups_before_alone<Op>(groups, step, group);
    if (rank == N - 1) target::publish(groups + group * step, scan_word(SCAN_PREFIX, Op::both(prefix, of_group)));
    return Op::both(prefix, sum);
}

} // namespace simt

#endif
