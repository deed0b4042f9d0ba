/* Reductions along an axis that lies closest in memory, and over everything.
 *
 * Algorithm: a group of threads (part of a wave, or a block) strides over a segment, 16 bytes a thread where it lies densely,
 * four packs in flight; the states of a group are merged by shuffles and, across waves, through shared memory. Where outputs are
 * few, several blocks work on each: their states go to the workspace and reduce_finish_kernel merges them. Who adds what to whom
 * depends on the shape and the device alone. Bound by bytes: every input is read once. */
#ifndef TRINE_SIMT_REDUCE_ROWS_H
#define TRINE_SIMT_REDUCE_ROWS_H

#include "backends/simt/await.h"
#include "backends/simt/divider.h"
#include "backends/simt/launch.h"
#include "backends/simt/reduce_ops.h"

namespace simt {

enum { reduce_threads = 256, reduce_unroll = 4, reduce_finish = 8 };

template <class Kind> using reduce_element = typename Kind::element;
template <class Kind> using reduce_state = typename Kind::state;

/* ---- Merging states ---- */

/* Kinds that can merge a whole wave at once. */
template <class Kind> constexpr bool reduce_merges_waves = false;
template <class T> constexpr bool reduce_merges_waves<reduce_argmax<T>> = sizeof(typename key_traits<T>::key) == 4;

/* Over `width` threads of a wave, a power of two; all of the wave take part and get the result. */
template <class Kind> TRINE_DEVICE reduce_state<Kind> merge_wave(reduce_state<Kind> s, int width)
{
    if constexpr (reduce_merges_waves<Kind>) {
        if (width == target::wave_size()) return Kind::merged_wave(s);
    }
#pragma unroll
    for (int mask = target::wave_size() / 2; mask > 0; mask /= 2)
        if (mask < width) s = Kind::merge(s, Kind::shuffled(s, mask));
    return s;
}

/* Over a block of reduce_threads. `list`: of max_waves. The result is right in the first thread. */
template <class Kind> TRINE_DEVICE reduce_state<Kind> merge_block(reduce_state<Kind> s, reduce_state<Kind> *list)
{
    constexpr int wave_size = target::wave_size(), waves = reduce_threads / wave_size;
    const int lane = target::thread_x() % wave_size;
    s = merge_wave<Kind>(s, wave_size);
    if (lane == 0) list[target::thread_x() / wave_size] = s;
    target::barrier();
    return target::thread_x() < wave_size ? merge_wave<Kind>(lane < waves ? list[lane] : Kind::start(), waves) : s;
}

/* ---- A segment ---- */

template <class Kind, class E> TRINE_DEVICE void add_elements(const Kind &kind, reduce_state<Kind> &s, const E *x, int64_t index)
{
    if constexpr (Kind::inputs == 1)
        kind.add(s, x[0], index);
    else
        kind.add(s, x[0], x[1], index);
}

template <class Kind, class T, int V, int I>
TRINE_DEVICE void add_pack(const Kind &kind, reduce_state<Kind> &s, const pack<T, V> (&x)[I], int64_t index)
{
#pragma unroll
    for (int j = 0; j < V; j++) {
        T one[I];
        for (int k = 0; k < I; k++) one[k] = x[k].at[j];
        add_elements(kind, s, one, index + j);
    }
}

/* The largest of a pack: by pairs of 16-bit floats where the device compares two in one instruction. */
template <class T, int V> TRINE_DEVICE typename key_traits<T>::number most_of(const pack<T, V> &x)
{
    using keys = key_traits<T>;
    if constexpr (in_pairs<T, V>) {
        const pair_words<V> w = __builtin_bit_cast(pair_words<V>, x);
        uint32_t most = w.word[0];
#pragma unroll
        for (int i = 1; i < V / 2; i++) most = larger_of_pairs<T>(most, w.word[i]);
        return keys::larger(keys::of(half_of<T>(most, 0)), keys::of(half_of<T>(most, 1)));
    } else {
        typename keys::number most = keys::of(x.at[0]);
#pragma unroll
        for (int j = 1; j < V; j++) most = keys::larger(most, keys::of(x.at[j]));
        return most;
    }
}

/* Of U packs, `apart` elements from each other, of which the first `count` are there. The index becomes that of the pack;
 * find_first() looks where in it the largest stands, once for all threads. */
template <int U, class T, int V> TRINE_DEVICE void add_best(reduce_state<reduce_argmax<T>> &s, const pack<T, V> (&x)[U][1],
                                                            int count, int64_t index, int64_t apart)
{
    using keys = key_traits<T>;
    typename keys::number most[U], best = keys::lowest();
#pragma unroll
    for (int u = 0; u < U; u++) {
        most[u] = most_of(x[u][0]);
        if (u < count) best = keys::larger(best, most[u]);
    }
    const typename keys::key key = keys::key_of(best);
    if (key <= s.key) return;
    int which = 0;
#pragma unroll
    for (int u = U - 1; u >= 0; u--) which = u < count && keys::is_most(most[u], best) ? u : which;
    s.key = key;
    s.index = index + which * apart;
}

/* Kinds whose elements are better taken many at once. */
template <class Kind> constexpr bool reduce_picks = false;
template <class T> constexpr bool reduce_picks<reduce_argmax<T>> = true;

template <class Kind> struct reduce_segment {
    using T = reduce_element<Kind>;
    const T *in[Kind::inputs];
    int64_t step[Kind::inputs];
    int64_t n, index; /* elements, and the index of the first */

    TRINE_DEVICE_METHOD void add_one(const Kind &kind, reduce_state<Kind> &s, int64_t i) const
    {
        T x[Kind::inputs];
        for (int k = 0; k < Kind::inputs; k++) x[k] = in[k][i * step[k]];
        add_elements(kind, s, x, index + i);
    }

    /* `count` of reduce_unroll packs, `apart` elements from each other. All are in flight together. */
    struct packs {
        pack<T, 16 / int(sizeof(T))> at[reduce_unroll][Kind::inputs];
    };
    TRINE_DEVICE_METHOD packs load_packs(int64_t first, int64_t apart, int count) const
    {
        constexpr int V = 16 / int(sizeof(T));
        packs x;
#pragma unroll
        for (int u = 0; u < reduce_unroll; u++)
#pragma unroll
            for (int k = 0; k < Kind::inputs; k++) x.at[u][k] = load_pack_once<T, V>(in[k] + first + (u < count ? u * apart : 0));
        return x;
    }
    /* Summed up on their own first, which also keeps the error of a long sum small. */
    TRINE_DEVICE_METHOD void add_packs(const Kind &kind, reduce_state<Kind> &s, const packs &x, int64_t first, int64_t apart,
                                       int count) const
    {
        if constexpr (reduce_picks<Kind>) {
            add_best(s, x.at, count, index + first, apart);
        } else {
            reduce_state<Kind> own = Kind::start();
            as_chosen(kind, [&](const auto &chosen) {
#pragma unroll
                for (int u = 0; u < reduce_unroll; u++)
                    if (u < count) add_pack(chosen, own, x.at[u], index + first + u * apart);
            });
            s = Kind::merge(s, own);
        }
    }
    TRINE_DEVICE_METHOD void add_packs(const Kind &kind, reduce_state<Kind> &s, int64_t first, int64_t apart, int count) const
    {
        add_packs(kind, s, load_packs(first, apart, count), first, apart, count);
    }

    /* By thread t of `width`. Dense segments go in packs from the first 16-byte boundary on, if the inputs have theirs at the
     * same element. */
    TRINE_DEVICE_METHOD void add_all(const Kind &kind, reduce_state<Kind> &s, int t, int width) const
    {
        constexpr int V = 16 / int(sizeof(T));
        const int lead = misplaced(in[0]);
        bool dense = step[0] == 1;
        if (Kind::inputs == 2) dense = dense && step[Kind::inputs - 1] == 1 && misplaced(in[Kind::inputs - 1]) == lead;
        int64_t head = dense && lead ? V - lead : 0;
        if (head > n) head = n;
        const int64_t packs = dense ? (n - head) / V : 0;
        for (int64_t i = t; i < head; i += width) add_one(kind, s, i);
        int64_t p = t;
        for (; p + (reduce_unroll - 1) * int64_t(width) < packs; p += reduce_unroll * int64_t(width))
            add_packs(kind, s, head + p * V, int64_t(width) * V, reduce_unroll);
        if (p < packs) add_packs(kind, s, head + p * V, int64_t(width) * V, int((packs - p + width - 1) / width));
#pragma unroll 4
        for (int64_t i = head + packs * V + t; i < n; i += width) add_one(kind, s, i); /* all of it if it is not dense */
    }

  private:
    static TRINE_DEVICE_METHOD int misplaced(const T *p) { return int(reinterpret_cast<uintptr_t>(p) % 16 / sizeof(T)); }
};

/* ---- The kernel ---- */

struct reduce_rows_plan {
    int64_t outputs;
    int64_t n;            /* elements of a segment */
    divider_any parts;    /* pieces that a segment is cut into */
    int64_t part, pieces; /* elements of a piece, pieces of an output */
    int64_t blocks;       /* that work on one output together; 0: a block has several outputs, one a group */
    divider32 of_output;  /* blocks, or 1 */
    int32_t shift;        /* 2^shift threads a group */
    int64_t step[2];
};

/* Moves the index from a pack's first element on to the first one that has the key. Where that is the lowest key all elements are
 * equal, and index 0 is right. `x`: the output's first segment. */
template <class T> TRINE_DEVICE void find_first(reduce_state<reduce_argmax<T>> &s, const T *x, const walk<2, divider_any> &rows,
                                                const reduce_rows_plan &plan)
{
    using keys = key_traits<T>;
    constexpr int V = 16 / int(sizeof(T));
    if (s.key == lowest_key<typename keys::key>()) return;
    const int64_t row = plan.pieces == plan.parts.d ? 0 : s.index / plan.n, place = s.index - row * plan.n;
    int64_t offset[2];
    rows.offsets(row, offset);
    x += offset[0] + place * plan.step[0];
    T near[V]; /* all on their way together; the index of what is no pack is right already */
#pragma unroll
    for (int j = 0; j < V; j++) near[j] = x[place + j < plan.n ? j * plan.step[0] : 0];
    const typename keys::number most = keys::number_of(s.key);
    int first = 0;
#pragma unroll
    for (int j = V - 1; j >= 0; j--) first = keys::is_most(keys::of(near[j]), most) ? j : first;
    s.index += first;
}

/* What has to be done with an output's state once all of it is merged: nothing, or find_first(). */
template <class Kind, bool picks = reduce_picks<Kind>> struct reduce_search {
    reduce_search() = default;
    reduce_search(const walk<2, divider_any> &, const reduce_rows_plan &) {}
    TRINE_DEVICE_METHOD void end(const Kind &, reduce_state<Kind> &, int64_t) const {}
};
template <class Kind> struct reduce_search<Kind, true> {
    bool wanted = false;
    walk<2, divider_any> rows = walk<2, divider_any>(trine_iter{});
    reduce_rows_plan plan = {};
    reduce_search() = default;
    reduce_search(const walk<2, divider_any> &rows_, const reduce_rows_plan &plan_) : wanted(true), rows(rows_), plan(plan_) {}
    /* base: of the output's first segment. */
    TRINE_DEVICE_METHOD void end(const Kind &kind, reduce_state<Kind> &s, int64_t base) const
    {
        if (wanted) find_first(s, kind.in[0] + base, rows, plan);
    }
};

/* The state of a group, by one of its threads: to the output, or to where the states of an output's blocks are kept, as they are:
 * of two equal keys the pack that comes first also has the element that does. */
template <class Kind> TRINE_DEVICE void end_rows(const Kind &kind, reduce_state<Kind> s, const int64_t (&base)[3],
                                                 const walk<2, divider_any> &rows, const reduce_rows_plan &plan,
                                                 reduce_state<Kind> *states)
{
    if (plan.blocks > 1) {
        states[target::block_x()] = s;
        return;
    }
    if constexpr (reduce_picks<Kind>) find_first(s, kind.in[0] + base[0], rows, plan);
    kind.write(s, base[2]);
}

/* A block of less than reduce_threads where no output takes more than a wave. */
template <class Kind> TRINE_KERNEL(reduce_threads)
reduce_rows_kernel(reduce_rows_plan plan, Kind kind, reduce_state<Kind> *states, walk<3, divider_any> kept,
                   walk<2, divider_any> rows)
{
    TRINE_SHARED reduce_state<Kind> list[target::max_waves];
    target::let_next_start();
    const bool together = plan.blocks > 0;
    const int width = 1 << plan.shift, groups = target::block_threads() >> plan.shift;
    const int t = target::thread_x() & (width - 1), group = target::thread_x() >> plan.shift;
    const int64_t block = target::block_x(), asked = together ? plan.of_output.divide(block) : block * groups + group;
    const int64_t output = asked < plan.outputs ? asked : plan.outputs - 1;
    int64_t base[3];
    kept.offsets(output, base);
    reduce_state<Kind> s = Kind::start();
    /* the pieces of all segments, dealt out to the groups of all blocks */
    const int64_t first = together ? (block - output * plan.blocks) * groups + group : 0,
                  apart = together ? plan.blocks * groups : 1;
    for (int64_t piece = first; piece < plan.pieces; piece += apart) {
        const int64_t row = plan.parts.divide(piece), begin = (piece - row * plan.parts.d) * plan.part;
        int64_t offset[2];
        rows.offsets(row, offset);
        reduce_segment<Kind> segment;
        for (int k = 0; k < Kind::inputs; k++) {
            segment.in[k] = kind.in[k] + base[k] + offset[k] + begin * plan.step[k];
            segment.step[k] = plan.step[k];
        }
        segment.n = plan.n - begin < plan.part ? plan.n - begin : plan.part;
        segment.index = row * plan.n + begin;
        segment.add_all(kind, s, t, width);
    }
    s = together ? merge_block<Kind>(s, list) : merge_wave<Kind>(s, width);
    const bool first_of_group = together ? target::thread_x() == 0 : t == 0 && asked < plan.outputs;
    if (first_of_group) end_rows(kind, s, base, rows, plan, states);
}

/* ---- Rows of whole packs ---- */

/* Where rows are one after the other, each one segment of whole packs: most are. Of the general kernel's 600 instructions 200 come
 * before the first load, which is half of its time where tensors are small; and where they are large, about 120 in a piece of four
 * packs are not sums. */
template <class Kind> struct reduce_packs_plan {
    int rows, packs, shift;         /* 2^shift threads a row */
    int blocks;                     /* that work on one row together, each on every so many rounds; 1: a block has one or more */
    divider32 of_row;               /* blocks */
    int64_t step[Kind::inputs], to; /* elements from row to row of the inputs and the output */
    reduce_state<Kind> *states;     /* of the blocks of a row */
};
template <class Kind> TRINE_KERNEL(reduce_threads) reduce_packs_kernel(reduce_packs_plan<Kind> plan, Kind kind)
{
    constexpr int V = 16 / int(sizeof(reduce_element<Kind>)), U = reduce_unroll;
    TRINE_SHARED reduce_state<Kind> list[target::max_waves];
    target::let_next_start();
    const int width = 1 << plan.shift, t = target::thread_x() & (width - 1);
    const int block = int(target::block_x()), round = U * width;
    int asked = block * (target::block_threads() >> plan.shift) + (target::thread_x() >> plan.shift), stride = round, p = t;
    if (plan.blocks > 1) {
        asked = int(plan.of_row.divide(block));
        p += (block - asked * plan.blocks) * round;
        stride *= plan.blocks;
    }
    const int row = asked < plan.rows ? asked : plan.rows - 1;
    reduce_segment<Kind> segment = {};
    for (int k = 0; k < Kind::inputs; k++) segment.in[k] = kind.in[k] + row * plan.step[k];
    reduce_state<Kind> s = Kind::start();
    for (; p + stride + (U - 1) * width < plan.packs; p += 2 * stride) {
        auto first = segment.load_packs(int64_t(p) * V, width * V, U),
             second = segment.load_packs(int64_t(p + stride) * V, width * V, U);
        const uint32_t zero = uint32_t(plan.shift) >> 8, all = arrival_of(first, zero) | arrival_of(second, zero);
        await(first, all);
        await(second, all);
        segment.add_packs(kind, s, first, int64_t(p) * V, width * V, U);
        segment.add_packs(kind, s, second, int64_t(p + stride) * V, width * V, U);
    }
    if (p + (U - 1) * width < plan.packs) {
        segment.add_packs(kind, s, int64_t(p) * V, width * V, U);
        p += stride;
    }
    if (p < plan.packs) segment.add_packs(kind, s, int64_t(p) * V, width * V, (plan.packs - p + width - 1) >> plan.shift);
    const bool by_block = width > target::wave_size();
    s = by_block ? merge_block<Kind>(s, list) : merge_wave<Kind>(s, width);
    if (t != 0 || asked >= plan.rows) return;
    if (plan.blocks > 1)
        plan.states[block] = s;
    else
        kind.write(s, row * plan.to);
}

/* Merges `count` states of each output in their order: states[output * output_step + i * state_step]. 2^shift threads an output,
 * neighbouring threads for neighbouring outputs. */
template <class Kind> TRINE_KERNEL(reduce_threads)
reduce_finish_kernel(Kind kind, walk<3, divider_any> kept, int64_t outputs, int count, int64_t output_step, int64_t state_step,
                     int shift, const reduce_state<Kind> *states, reduce_search<Kind> search)
{
    TRINE_SHARED reduce_state<Kind> list[reduce_threads];
    const int across = reduce_threads >> shift, t = target::thread_x() / across, mine = target::thread_x() & (across - 1);
    const int64_t output = int64_t(target::block_x()) * across + mine, last = output < outputs ? output : outputs - 1;
    const reduce_state<Kind> *from = states + last * output_step + t * state_step;
    const int64_t step = state_step << shift;
    int left = output < outputs && t < count ? ((count - 1 - t) >> shift) + 1 : 0;
    int64_t base[3];
    kept.offsets(last, base); /* all this while the states are made */
    reduce_state<Kind> s = Kind::start();
    target::wait_for_previous();
#pragma unroll 1
    for (; left > 0; left -= reduce_finish) {
        reduce_state<Kind> some[reduce_finish]; /* in flight together */
#pragma unroll
        for (int i = 0; i < reduce_finish; i++) some[i] = from[i < left ? i * step : 0];
#pragma unroll
        for (int i = 0; i < reduce_finish; i++)
            if (i < left) s = Kind::merge(s, some[i]);
        from += reduce_finish * step;
    }
    list[target::thread_x()] = s;
    for (int half = 1 << shift >> 1; half > 0; half /= 2) {
        target::barrier();
        if (t < half) list[target::thread_x()] = Kind::merge(list[target::thread_x()], list[target::thread_x() + half * across]);
    }
    if (t != 0 || output >= outputs) return;
    s = list[target::thread_x()];
    search.end(kind, s, base[0]);
    kind.write(s, base[2]);
}

} // namespace simt

#endif
