/* Reductions along an axis outside the one that lies closest in memory.
 *
 * Algorithm: neighbouring threads take neighbouring outputs ("columns"), a pack each where they lie densely, and go down the
 * reduced axis; a block has several rows of threads, which meet in shared memory at the end. Where there are few columns several
 * blocks take its rows in turns; their states go to the workspace. Bound by bytes: every input is read once, in pieces of at least
 * 16 bytes times the width of a block. */
#ifndef TRINE_SIMT_REDUCE_COLUMNS_H
#define TRINE_SIMT_REDUCE_COLUMNS_H

#include "backends/simt/reduce_rows.h"

namespace simt {

/* Packs of a thread in flight, and blocks a multiprocessor that are wanted at least: as many as it holds of any kind, so that all end
 * together; on an H100 more of them gain nothing and leave more states to merge. */
enum { columns_unroll = 8, columns_blocks = 2, columns_most_rows = 1 << 16 };
/* Lines of threads of a block whose states meet without a barrier between them. */
enum { columns_last_lines = 8 };

struct reduce_columns_plan {
    int64_t columns, outer; /* outputs = outer * columns */
    int64_t column_step[3]; /* from one column to the next: inputs, output */
    int64_t n, slices;      /* reduced axis, and the blocks that take its rows in turns, so that they read side by side */
    int64_t step[2];
    int64_t blocks_across; /* of a row of outputs */
    int32_t shift;         /* 2^shift threads side by side in a block */
};

/* A pack of V columns of one row; goes on by `down` elements. */
template <class Kind, int V> TRINE_DEVICE void load_columns(pack<reduce_element<Kind>, V> (&x)[Kind::inputs],
                                                            const reduce_element<Kind> *(&p)[Kind::inputs],
                                                            const int64_t (&down)[Kind::inputs])
{
#pragma unroll
    for (int k = 0; k < Kind::inputs; k++) {
        x[k] = load_pack_once<reduce_element<Kind>, V>(p[k]);
        p[k] += down[k];
    }
}

/* What a thread carries for a column while it goes down, and the state that comes of it. */
template <class Kind> struct column_part {
    reduce_state<Kind> s = Kind::start();
    template <class Chosen, class E> TRINE_DEVICE_METHOD void add(const Chosen &kind, const E *x, uint32_t)
    {
        add_elements(kind, s, x, 0);
    }
    template <class Look> TRINE_DEVICE_METHOD reduce_state<Kind> state(int64_t, int64_t, Look) const { return s; }
};
/* The largest and how many of the thread's rows came before it: fewer instructions than a key and an index of 64 bits. A thread
 * has at most columns_most_rows. Nothing is greater than NaN or less, so that the first NaN is looked for at the end: look(number)
 * is the element of that number. */
template <class T, class Look> TRINE_DEVICE reduce_state<reduce_argmax<T>>
column_argmax(typename key_traits<T>::number most, uint32_t at, int64_t first, int64_t apart, Look look)
{
    using keys = key_traits<T>;
    if (most != most)
        for (at = 0; keys::of(look(at)) == keys::of(look(at));) at++;
    return reduce_state<reduce_argmax<T>>{keys::key_of(most), first + at * apart};
}
template <class T> struct column_part<reduce_argmax<T>> {
    using keys = key_traits<T>;
    typename keys::number most = keys::lowest();
    uint32_t at = 0;
    TRINE_DEVICE_METHOD void add(const reduce_argmax<T> &, const T *x, uint32_t number)
    {
        const typename keys::number own = keys::of(x[0]);
        at = own > most ? number : at;
        most = keys::larger(most, own);
    }
    template <class Look> TRINE_DEVICE_METHOD reduce_state<reduce_argmax<T>> state(int64_t first, int64_t apart, Look look) const
    {
        return column_argmax<T>(most, at, first, apart, look);
    }
};

/* The V columns of a thread. */
template <class Kind, int V, bool pairs = in_pairs<reduce_element<Kind>, V>> struct column_parts {
    using packs = pack<reduce_element<Kind>, V>[Kind::inputs];
    column_part<Kind> part[V];
    TRINE_DEVICE_METHOD void add(const Kind &kind, const packs &x, uint32_t number)
    {
        as_chosen(kind, [&](const auto &chosen) {
#pragma unroll
            for (int j = 0; j < V; j++) {
                reduce_element<Kind> one[Kind::inputs];
                for (int k = 0; k < Kind::inputs; k++) one[k] = x[k].at[j];
                part[j].add(chosen, one, number);
            }
        });
    }
    template <class Look> TRINE_DEVICE_METHOD reduce_state<Kind> state(int j, int64_t first, int64_t apart, Look look) const
    {
        return part[j].state(first, apart, look);
    }
};
template <class T, int V> struct column_parts<reduce_extreme_float<T>, V, true> {
    using kind_type = reduce_extreme_float<T>;
    pair_words<V> most;
    TRINE_DEVICE_METHOD column_parts()
    {
        for (uint32_t &word : most.word) word = pair_of<T>(kind_type::start());
    }
    TRINE_DEVICE_METHOD void add(const kind_type &kind, const pack<T, V> (&x)[1], uint32_t)
    {
        const pair_words<V> w = __builtin_bit_cast(pair_words<V>, x[0]);
#pragma unroll
        for (int i = 0; i < V / 2; i++) most.word[i] = larger_of_pairs<T>(most.word[i], w.word[i] ^ kind.flip);
    }
    template <class Look> TRINE_DEVICE_METHOD float state(int j, int64_t, int64_t, Look) const
    {
        return to_f32(half_of<T>(most.word[j / 2], j % 2));
    }
};
/* Numbers in pairs of 16 bits, too. */
template <class T, int V> struct column_parts<reduce_argmax<T>, V, true> {
    using keys = key_traits<T>;
    pair_words<V> most;
    uint32_t at[V / 2] = {};
    TRINE_DEVICE_METHOD column_parts()
    {
        for (uint32_t &word : most.word) word = pair_of<T>(keys::lowest());
    }
    TRINE_DEVICE_METHOD void add(const reduce_argmax<T> &, const pack<T, V> (&x)[1], uint32_t number)
    {
        const pair_words<V> w = __builtin_bit_cast(pair_words<V>, x[0]);
        const uint32_t numbers = number << 16 | number;
#pragma unroll
        for (int i = 0; i < V / 2; i++) {
            const uint32_t greater = target::greater_of_pairs<is_bf16<T>>(w.word[i], most.word[i]);
            at[i] = (numbers & greater) | (at[i] & ~greater);
            most.word[i] = larger_of_pairs<T>(most.word[i], w.word[i]);
        }
    }
    template <class Look>
    TRINE_DEVICE_METHOD reduce_state<reduce_argmax<T>> state(int j, int64_t first, int64_t apart, Look look) const
    {
        return column_argmax<T>(keys::of(half_of<T>(most.word[j / 2], j % 2)), at[j / 2] >> j % 2 * 16 & 0xffffu, first, apart,
                                look);
    }
};

template <class Kind, int V> TRINE_KERNEL(reduce_threads)
reduce_columns_kernel(Kind kind, walk<3, divider_any> outer, reduce_columns_plan plan, reduce_state<Kind> *states)
{
    using T = reduce_element<Kind>;
    TRINE_SHARED reduce_state<Kind> list[V][reduce_threads];
    target::let_next_start();
    const int width = 1 << plan.shift, deep = reduce_threads >> plan.shift;
    const int t = target::thread_x() & (width - 1), line = target::thread_x() >> plan.shift;
    /* block = (slice * outer + which) * blocks_across + across; the grid has less than 2^31 */
    const unsigned across = target::block_x() % unsigned(plan.blocks_across),
                   group = target::block_x() / unsigned(plan.blocks_across);
    const int64_t which = group % unsigned(plan.outer), slice = group / unsigned(plan.outer),
                  asked = (int64_t(across) * width + t) * V, column = asked < plan.columns ? asked : 0;
    int64_t base[3];
    outer.offsets(which, base);
    const int64_t apart = deep * plan.slices;
    int64_t row = slice * deep + line;
    const T *p[Kind::inputs];
    int64_t down[Kind::inputs];
    for (int k = 0; k < Kind::inputs; k++) {
        p[k] = kind.in[k] + base[k] + column * plan.column_step[k] + row * plan.step[k];
        down[k] = apart * plan.step[k];
    }

    const int64_t first = row;
    column_parts<Kind, V> parts;
    uint32_t number = 0; /* of the thread's rows that it has come to */
    /* the last rows are in flight together too */
    for (; row < plan.n; row += columns_unroll * apart, number += columns_unroll) {
        pack<T, V> x[columns_unroll][Kind::inputs];
#pragma unroll
        for (int u = 0; u < columns_unroll; u++)
            if (row + u * apart < plan.n) load_columns<Kind, V>(x[u], p, down);
#pragma unroll
        for (int u = 0; u < columns_unroll; u++)
            if (row + u * apart < plan.n) parts.add(kind, x[u], number + u);
    }

#pragma unroll
    for (int j = 0; j < V; j++) {
        const T *const own = kind.in[0] + base[0] + (column + j) * plan.column_step[0] + first * plan.step[0];
        list[j][target::thread_x()] =
            parts.state(j, first, apart, [&](uint32_t number) { return own[number * apart * plan.step[0]]; });
    }
    int lines = deep;
    for (; lines > columns_last_lines; lines /= 2) {
        target::barrier();
        if (line >= lines / 2) continue;
#pragma unroll
        for (int j = 0; j < V; j++)
            list[j][target::thread_x()] =
                Kind::merge(list[j][target::thread_x()], list[j][target::thread_x() + lines / 2 * width]);
    }
    target::barrier();
    /* the last ones by all threads, a column each */
    for (int e = target::thread_x(); e < V * width; e += reduce_threads) {
        const int j = e >> plan.shift, theirs = e & (width - 1);
        const int64_t pack = int64_t(across) * width + theirs, its_column = pack * V + j;
        if (pack * V >= plan.columns) continue;
        reduce_state<Kind> s = list[j][theirs];
        for (int l = 1; l < lines; l++) s = Kind::merge(s, list[j][l * width + theirs]);
        if (plan.slices > 1)
            states[(slice * plan.outer + which) * plan.columns + its_column] = s;
        else
            kind.write(s, base[2] + its_column * plan.column_step[2]);
    }
}

} // namespace simt

#endif
