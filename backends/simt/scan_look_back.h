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
 * What bounds it (H100, one row of f32, 80 % of a copy): without the waiting the kernel runs at a copy's speed. Of the 10.7 us that a
 * tile's block lives it waits 4.8: 1.3 for the slowest load of the tiles before, 3.5 for two words on their way, the last tile's total
 * and the group's. Many tiles go on at once then and load at once. Twice as many tiles in flight, pauses between looks, and asking the
 * second cache for lines 4 to 24 MB ahead changed nothing or made it slower. What helps is that nobody who loads ever waits:
 * backends/cuda/scan_sm90_rows.h (98 %). */
#ifndef TRINE_SIMT_SCAN_LOOK_BACK_H
#define TRINE_SIMT_SCAN_LOOK_BACK_H

#include "backends/simt/scan_tile.h"

namespace simt {

/* Tiles of a group: where a wave looks back together, a lane each; and where every thread looks back for itself. */
enum { scan_group = 32, scan_group_alone = 8 };

/* What a tile or a group has published: nothing yet (0), its total, or the prefix up to its end. */
enum { SCAN_TOTAL = 1, SCAN_PREFIX = 2 };
TRINE_INLINE int64_t scan_groups(int64_t tiles, int of) { return (tiles + of - 1) / of; }

/* In one word with the value, so that no reader sees half; a value of 8 bytes in two, and until the states of both agree there is
 * nothing yet. In memory and as it was read. */
template <class A> struct scan_note {
    static constexpr int words = sizeof(A) / 4;
    uint64_t word[words];

    static TRINE_DEVICE_METHOD scan_note nothing()
    {
        scan_note n;
        for (int i = 0; i < words; i++) n.word[i] = 0;
        return n;
    }
    static TRINE_DEVICE_METHOD scan_note of(int state, float value) { return {{tagged(state, trine_bits_of_f32(value))}}; }
    static TRINE_DEVICE_METHOD scan_note of(int state, int32_t value) { return {{tagged(state, uint32_t(value))}}; }
    static TRINE_DEVICE_METHOD scan_note of(int state, int64_t value)
    {
        return {{tagged(state, uint32_t(value)), tagged(state, uint32_t(uint64_t(value) >> 32))}};
    }
    static TRINE_DEVICE_METHOD scan_note load(const scan_note *from)
    {
        scan_note n;
#pragma unroll
        for (int i = 0; i < words; i++) n.word[i] = target::load_published(from->word + i);
        return n;
    }
    TRINE_DEVICE_METHOD void publish(scan_note *to) const
    {
#pragma unroll
        for (int i = 0; i < words; i++) target::publish(to->word + i, word[i]);
    }
    TRINE_DEVICE_METHOD int state() const
    {
        const int first = int(word[0] >> 32);
        return words == 1 || first == int(word[words - 1] >> 32) ? first : 0;
    }
    TRINE_DEVICE_METHOD A value() const
    {
        if constexpr (words == 2)
            return A(word[0] & 0xffffffffu | word[1] << 32);
        else if constexpr (scan_integer<A>)
            return A(uint32_t(word[0]));
        else
            return trine_f32_of_bits(uint32_t(word[0]));
    }

  private:
    static TRINE_DEVICE_METHOD uint64_t tagged(int state, uint32_t bits) { return uint64_t(state) << 32 | bits; }
};

template <class T> TRINE_KERNEL(scan_threads) scan_clear_kernel(int64_t n, T *words)
{
    const int64_t i = int64_t(target::block_x()) * scan_threads + target::thread_x();
    if (i < n) words[i] = 0;
}

template <class T> inline trine_status scan_clear(trine_call *call, int64_t n, T *words)
{
    return launch(call, scan_clear_kernel<T>, grid(ceil_div(n, scan_threads)), scan_threads, 0, n, words);
}

/* What group number `at` has published: of those before the first, that nothing precedes it. */
template <class Op, class Note = scan_note<typename Op::value>> TRINE_DEVICE Note scan_group_note(const Note *groups, int64_t at)
{
    return at < 0 ? Note::of(SCAN_PREFIX, Op::neutral()) : Note::load(groups + at);
}

/* Of all groups before `group`, by one wave; the same in all lanes. note: what the lane's has published so far. */
template <class Op, class Note = scan_note<typename Op::value>>
TRINE_DEVICE typename Op::value scan_groups_before(const Note *groups, int64_t group, Note note)
{
    constexpr int wave_size = target::wave_size();
    const int lane = target::thread_x() % wave_size;
    int64_t window = group; /* one past the groups that are looked at; the lanes' are window - 1 - lane */
    int nearest;
    for (;;) { /* until a prefix is seen */
        while (note.state() == 0) note = scan_group_note<Op>(groups, window - 1 - lane);
        nearest = wave_reduce(note.state() == SCAN_PREFIX ? lane : wave_size, op_least{});
        if (nearest < wave_size) break;
        window -= wave_size;
        note = Note::nothing();
    }
    auto prefix = target::shuffle(note.value(), nearest); /* and the totals behind it, in their order */
    for (int l = nearest - 1; l >= 0; l--) prefix = Op::both(prefix, target::shuffle(note.value(), l));
    while (window < group) {
        window += wave_size;
        do note = Note::load(groups + window - 1 - lane);
        while (note.state() == 0); /* only while it turns from a total into a prefix */
        nearest = wave_reduce(note.state() == SCAN_PREFIX ? lane : wave_size, op_least{});
        if (nearest < wave_size) prefix = target::shuffle(note.value(), nearest); /* the same bits, known by now */
        for (int l = nearest - 1; l >= 0; l--) prefix = Op::both(prefix, target::shuffle(note.value(), l));
    }
    return prefix;
}

/* What precedes a tile whose total is published, by one wave. tiles, groups: the row's notes. */
template <class Op, class Note = scan_note<typename Op::value>>
TRINE_DEVICE typename Op::value scan_look_back(Note *tiles, Note *groups, int64_t tile, typename Op::value total)
{
    constexpr int wave_size = target::wave_size();
    const int lane = target::thread_x() % wave_size, rank = int(tile % scan_group);
    const int64_t group = tile / scan_group;
    const Note of_groups = scan_group_note<Op>(groups, group - 1 - lane); /* asked for early */
    Note note = Note::of(SCAN_TOTAL, Op::neutral());
    if (lane < rank) do
            note = Note::load(tiles + group * scan_group + lane);
        while (note.state() == 0);
    auto sum = note.value();
#pragma unroll
    for (int apart = 1; apart < scan_group; apart *= 2) {
        const auto other = target::shuffle(sum, lane < apart ? lane : lane - apart);
        sum = lane >= apart ? Op::both(other, sum) : sum;
    }
    sum = target::shuffle(sum, rank == 0 ? 0 : rank - 1); /* of the group's tiles before this one; of none, the neutral element */
    const auto of_group = Op::both(sum, total);
    const bool last = lane == 0 && rank == scan_group - 1;
    if (last) Note::of(group == 0 ? SCAN_PREFIX : SCAN_TOTAL, of_group).publish(groups + group);
    if (group == 0) return sum;
    const auto prefix = scan_groups_before<Op>(groups, group, of_groups);
    if (last) Note::of(SCAN_PREFIX, Op::both(prefix, of_group)).publish(groups + group);
    return Op::both(prefix, sum);
}

/* Up to `count` notes that follow each other in steps, asked for together; those past it count as nothing. */
template <class Note, int N> struct scan_notes {
    Note at[N];
    const Note *from;
    int64_t step;
    TRINE_DEVICE_METHOD scan_notes(const Note *from_, int64_t step_, int64_t count) : from(from_), step(step_)
    {
#pragma unroll
        for (int i = 0; i < N; i++) at[i] = i < count ? Note::load(from + i * step) : Note::nothing();
    }
    TRINE_DEVICE_METHOD Note wait(int i)
    {
        while (at[i].state() == 0) at[i] = Note::load(from + i * step);
        return at[i];
    }
};

/* The same by one thread, of whose column the notes are `step` apart. */
template <class Op, class Note = scan_note<typename Op::value>>
TRINE_DEVICE typename Op::value scan_groups_before_alone(const Note *groups, int64_t step, int64_t group)
{
    constexpr int N = scan_group_alone;
    auto prefix = Op::neutral();
    int64_t known = -1; /* the group up to which prefix goes */
    for (int64_t from = group - 1; known < 0; from -= N) {
        scan_notes<Note, N> notes(groups + from * step, -step, from + 1);
        int nearest = -1;
#pragma unroll
        for (int i = 0; i < N; i++)
            if (nearest < 0 && from - i >= 0 && notes.wait(i).state() == SCAN_PREFIX) {
                nearest = i;
                prefix = notes.at[i].value();
            }
        if (nearest < 0) continue;
        known = from - nearest;
#pragma unroll
        for (int i = N - 1; i >= 0; i--)
            if (i < nearest) {
                prefix = Op::both(prefix, notes.at[i].value());
                known++;
            }
    }
    for (known++; known < group; known += N) { /* those that were passed by: known by now */
        scan_notes<Note, N> notes(groups + known * step, step, group - known);
#pragma unroll
        for (int i = 0; i < N; i++)
            if (known + i < group)
                prefix = notes.wait(i).state() == SCAN_PREFIX ? notes.at[i].value() : Op::both(prefix, notes.at[i].value());
    }
    return prefix;
}

template <class Op, class Note = scan_note<typename Op::value>> TRINE_DEVICE typename Op::value
scan_look_back_alone(Note *tiles, Note *groups, int64_t step, int64_t tile, typename Op::value total)
{
    constexpr int N = scan_group_alone;
    const int rank = int(tile % N);
    const int64_t group = tile / N;
    Note::of(SCAN_TOTAL, total).publish(tiles + tile * step);
    scan_notes<Note, N - 1> notes(tiles + group * N * step, step, rank);
    auto sum = Op::neutral();
#pragma unroll
    for (int i = 0; i < N - 1; i++)
        if (i < rank) sum = Op::both(sum, notes.wait(i).value());
    const auto of_group = Op::both(sum, total);
    if (rank == N - 1) Note::of(group == 0 ? SCAN_PREFIX : SCAN_TOTAL, of_group).publish(groups + group * step);
    if (group == 0) return sum;
    const auto prefix = scan_groups_before_alone<Op>(groups, step, group);
    if (rank == N - 1) Note::of(SCAN_PREFIX, Op::both(prefix, of_group)).publish(groups + group * step);
    return Op::both(prefix, sum);
}

} // namespace simt

#endif
