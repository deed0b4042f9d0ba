/* A thread's part of a row (row.h): what an Op may specialise, the packs it holds, how they are loaded and stored. */
#ifndef TRINE_SIMT_ROW_TILE_H
#define TRINE_SIMT_ROW_TILE_H

#include "backends/simt/block.h"
#include "backends/simt/divider.h"
#include "backends/simt/launch.h"
#include "backends/simt/row_words.h"
#include "backends/simt/team.h"

namespace simt {

/* Blocks of rows that fit few packs a thread; the largest of such kernels, for few rows; and the largest there are. */
enum { row_small_block = 256, row_few_rows_block = 512, row_threads = 1024 };
/* Packs of each input that a thread can hold, and those of shorter rows. */
enum { row_few = 4 };
template <class Op> constexpr int row_most = target::row_packs / Op::inputs;
template <class Op> constexpr int row_wide_packs = row_most<Op>; /* the same in clusters of blocks */

/* Largest of two, a number before NaN. */
struct op_most {
    TRINE_METHOD float operator()(float a, float b) const { return __builtin_fmaxf(a, b); }
};

template <class Op> using row_element = typename Op::element;
/* Ops of which nothing but note() is wanted specialise this: `out` is then any tensor of the shape, emit() is not needed. */
template <class Op> constexpr bool row_emits = true;
/* Ops whose rows are not dense specialise this: rows of several dense pieces. Packs move whole where that is possible, `whole`;
 * otherwise in parts of `part` bytes, 8 or an element's, each within one piece. `pieces` are row_pieces of the operands. Only
 * `simple` kernels and teams serve them. */
template <class Op> constexpr bool row_in_pieces = false;
/* Packs of what fetch() loads that are on their way together, the first of them beside the row itself: a store stands between two
 * loads, so that each would wait for memory by itself. Ops that specialise this have `ahead`, a W that fits whatever choose() gives
 * where fetches_ahead(); numbers<element>, what fetch<ahead>() gives; fetched_ahead<W>(pack), which makes that a pack of
 * fetch<W>(); and W::number, the parameters' type. 0: as it comes. */
template <class Op, int P> constexpr int row_ahead = 0;
/* Ops that specialise this have touch(k), the k-th of so many things that fetch() loads from, of the row's type, and touched(), of how
 * many it is worth while. */
template <class Op> constexpr int row_touches = 0;
/* Ops whose note() takes what can be read before the row is there specialise this: note(stats, row, note_ahead(row)). Not where
 * the row takes all registers. */
template <class Op> constexpr bool row_notes_ahead = false;
/* Ops of which fetch() gives the same for all packs of a row specialise this. */
template <class Op> constexpr bool row_fetches_once = false;
/* Ops whose rows nearly always are whole packs specialise this: fewer kernels are compiled for the others, without clusters and
 * with few packs. */
template <class Op> constexpr bool row_seldom_odd = false;
/* Ops bound by arithmetic, which gain little by them, specialise this: no `simple` kernels are compiled. */
template <class Op> constexpr bool row_never_simple = false;
/* Ops whose output has a byte an element specialise this. */
template <class Op> constexpr bool row_narrow = false;
template <class Op, bool narrow = row_narrow<Op>> struct row_output_type {
    using type = row_element<Op>;
};
template <class Op> struct row_output_type<Op, true> {
    using type = uint8_t;
};
template <class Op> using row_output = typename row_output_type<Op>::type;
/* Ops of two inputs that take their sum, rounded to T, for the row specialise this: only that is held, and it goes to op.sum as
 * well, which may be NULL; its tensor comes after the inputs. */
template <class Op> constexpr bool row_adds = false;
template <class Op> constexpr int row_held = row_adds<Op> ? 1 : int(Op::inputs); /* of the inputs' packs */
template <class Op> constexpr int row_operand_count = 1 + Op::inputs + row_adds<Op>;
template <class Op, bool simple> using row_walk = rows_walk<row_operand_count<Op>, simple>;
/* Ops that are short of registers specialise this: operands' addresses are computed again for the output. */
template <class Op> constexpr bool row_places_again = row_adds<Op> || (row_in_pieces<Op> && Op::inputs == 1);

/* Pack i of the thread has the elements column(i), column(i) + 1, ... of the row; those outside [0, n) do not exist. */
struct row_place {
    int n, begin, step; /* columns of pack 0 and from one pack to the next */
    bool simple;        /* every pack is whole or wholly outside, and all operands lie alike: known while compiling */
    int64_t row;
    TRINE_DEVICE_METHOD int column(int i) const { return begin + i * step; }
    template <int V> TRINE_DEVICE_METHOD bool whole(int i) const
    {
        return simple ? column(i) < n : column(i) >= 0 && column(i) + V <= n;
    }
    template <int V> TRINE_DEVICE_METHOD bool touches(int i) const { return column(i) < n && (simple || column(i) + V > 0); }
    /* Elements of pack i that exist, in this and the other threads of the `width` that stand side by side. */
    template <int V> TRINE_DEVICE_METHOD int count_of_all(int i, int width) const
    {
        const int own = column(i) - (target::thread_x() & (width - 1)) * V, last = own + width * V,
                  begin_ = simple || own > 0 ? own : 0, end = last < n ? last : n;
        return end > begin_ ? end - begin_ : 0;
    }
    TRINE_DEVICE_METHOD uint32_t zero() const { return uint32_t(n) >> 31; }
    /* The place whose pack 0 is this one's pack i. */
    TRINE_DEVICE_METHOD row_place from(int i) const { return row_place{n, column(i), step, simple, row}; }
    /* The same place, of which nothing is kept in registers from before. */
    TRINE_DEVICE_METHOD row_place again() const { return row_place{n, int(begin + zero()), int(step + zero()), simple, row}; }
    TRINE_DEVICE_METHOD bool has(int i, int j) const { return unsigned(column(i) + j) < unsigned(n); }
};

/* Whether the f32 values of so many packs of 16 bits, of all inputs together, may stay from one pass to the next: where there are
 * registers. To convert them anew is a third of all instructions of a norm. */
template <int packs> constexpr bool row_keeps_values = target::row_hurries &&packs <= row_few;

template <class T, int I, int P> struct row_tile {
    row_words<T> at[I][P];
    /* Stands between two passes over the tile. A compiler that sees the same conversions twice keeps the f32 values of the first
     * time, in twice the registers, and spills: so the second time they are of other bits, as far as it can know. `zero`: 0, from
     * what is only known at run time. */
    template <bool keeps = row_keeps_values<I * P>> TRINE_DEVICE_METHOD void pass(uint32_t zero)
    {
        if constexpr (!keeps) {
#pragma unroll
            for (int i = 0; i < P; i++) pass(i, zero);
        }
    }
    TRINE_DEVICE_METHOD void pass(int i, uint32_t zero)
    {
        if constexpr (sizeof(T) < 4) {
#pragma unroll
            for (int w = 0; w < 4 * I; w++) target::opaque(at[w / 4][i].word[w % 4], zero);
        }
    }
};

template <class Op, int P> using row_tile_of = row_tile<row_element<Op>, row_held<Op>, P>;

/* f(tag) for the bytes that move together. */
template <int bytes_> struct part_tag {
    static constexpr int bytes = bytes_;
};
template <class Op, class F> TRINE_DEVICE void visit_part(const Op &op, F f)
{
    if constexpr (Op::whole)
        f(part_tag<16>{});
    else if (op.part == 8)
        f(part_tag<8>{});
    else
        f(part_tag<int(sizeof(row_element<Op>))>{});
}

/* Pieces of rows: dense, as many elements each, evenly apart in each of N operands; the output is operand 0. */
template <int N> struct row_pieces {
    divider32 size;
    uint32_t apart[N]; /* elements from the end of a piece to the begin of the next one, modulo 2^32 */

    row_pieces(int64_t size_, const int64_t (&step)[N]) : size(size_)
    {
        for (int k = 0; k < N; k++) apart[k] = uint32_t(step[k] - size_);
    }
    /* Offsets of `count` pieces are of 32 bits, columns of 31. */
    static bool fit(int64_t count, int64_t size, const int64_t (&step)[N])
    {
        bool all = count * size < INT32_MAX;
        for (int64_t s : step) all = all && s >= 0 && (count < 2 || s <= (UINT32_MAX - size) / (count - 1));
        return all;
    }
    TRINE_DEVICE_METHOD uint32_t offset(int operand, int column) const
    {
        return uint32_t(column) + uint32_t(size.divide(column)) * apart[operand];
    }
};

/* Where the parts of a thread's pack at `column` lie, of which part j begins with element j: those of one j of a wave's threads side
 * by side, if all of the wave's packs are there; so an access takes whole sectors. Which thread has what of a row in pieces does not
 * matter. */
template <class T, int bytes> struct row_parts {
    int begin, step;
    TRINE_DEVICE_METHOD row_parts(const row_place &at, int column) : begin(column), step(1)
    {
        constexpr int V = row_pack<T>, wave = target::wave_size(), each = bytes / int(sizeof(T));
        const int lane = target::thread_x() % wave, first = column - lane * V;
        uint32_t apart = at.step;
        if (bytes < 16) target::opaque(apart, at.zero()); /* else all of a tile's accesses are there twice, for either answer */
        if (bytes < 16 && int(apart) >= wave * V && first + wave * V <= at.n) {
            begin = first + lane * each;
            step = wave;
        }
    }
    TRINE_DEVICE_METHOD int column(int j) const { return begin + j * step; }
};

/* Operands of one row, or of a slice of it. */
template <class Op, bool simple> struct row_operands {
    using T = row_element<Op>;
    const T *in[Op::inputs];
    row_output<Op> *out;
    T *sum;
    int lead; /* elements between the boundary and the first one of in[0] */
    bool alike[Op::inputs], out_alike, sum_alike;
    int64_t row;

    TRINE_DEVICE_METHOD row_operands(const Op &op, const int64_t (&offset)[row_operand_count<Op>], int64_t first,
                                     int64_t row_ = 0)
        : row(row_)
    {
        out = target::settled(op.out + offset[0] + first);
        for (int k = 0; k < Op::inputs; k++) {
            in[k] = op.in[k] + offset[1 + k] + first;
            if (row_in_pieces<Op>) in[k] = target::settled(in[k]);
        }
        lead = simple ? 0 : misplaced(in[0]);
        for (int k = 0; k < Op::inputs; k++) alike[k] = simple || misplaced(in[k]) == lead;
        out_alike = simple || misplaced(out) == lead;
        sum = nullptr;
        if constexpr (row_adds<Op>) {
            if (op.sum) sum = op.sum + offset[1 + Op::inputs] + first;
        }
        sum_alike = simple || misplaced(sum) == lead;
    }
    static TRINE_DEVICE_METHOD int misplaced(const uint8_t *p) { return int(reinterpret_cast<uintptr_t>(p) % row_pack<T>); }
    static TRINE_DEVICE_METHOD int misplaced(const T *p) { return int(reinterpret_cast<uintptr_t>(p) % 16 / sizeof(T)); }
    TRINE_DEVICE_METHOD row_place place(int n, int first_pack, int packs_apart) const
    {
        constexpr int V = row_pack<T>;
        return row_place{n, first_pack * V - lead, packs_apart * V, simple, row};
    }
    template <class Words> TRINE_DEVICE_METHOD void store(const Op &op, const Words &words, const row_place &at, int i) const
    {
        if constexpr (!row_in_pieces<Op>)
            words.store(out + at.column(i));
        else
            visit_part(op, [&](auto p) {
                const row_parts<T, p.bytes> parts(at, at.column(i));
                words.template store_parts<p.bytes>([&](int j) { return out + op.pieces.offset(0, parts.column(j)); });
            });
    }
};

/* All whole packs first, so that they are in flight together. */
template <class T, int P, class Load>
TRINE_DEVICE void load_row(row_words<T> (&to)[P], const T *row, const row_place &at, bool alike, float neutral, Load load)
{
    constexpr int V = row_pack<T>;
    const row_words<T> nothing = row_words<T>::all(neutral);
#pragma unroll
    for (int i = 0; i < P; i++) to[i] = alike && at.whole<V>(i) ? load(at.column(i)) : nothing;
    if (at.simple) return;
    const row_place same = at.again();
#pragma unroll
    for (int i = 0; i < P; i++) {
        if ((alike && same.whole<V>(i)) || !same.touches<V>(i)) continue;
#pragma unroll 1
        for (int j = 0; j < V; j++) to[i].push(element_bits(same.has(i, j) ? row[same.column(i) + j] : nothing.element(0)));
    }
}

/* The same of a row in pieces whose elements, of 16 bits, come one by one: as many packs at a time as there are registers for their
 * halves. */
template <class T, int P, class Element>
TRINE_DEVICE void load_halves(row_words<T> (&to)[P], const row_place &at, float neutral, Element element)
{
    constexpr int V = row_pack<T>, each = P < target::row_halves_packs ? P : target::row_halves_packs;
#pragma unroll
    for (int first = 0; first < P; first += each) {
        row_halves halves[each];
#pragma unroll
        for (int i = 0; i < each; i++) {
            const row_parts<T, 2> parts(at, at.column(first + i));
            halves[i] = at.whole<V>(first + i) ? row_halves::load([&](int j) { return element(parts, j); })
                                               : row_halves::all(row_words<T>::all(neutral).word[0] & 0xffff);
        }
#pragma unroll
        for (int i = 0; i < each; i++) to[first + i] = halves[i].template together<T>();
    }
}

/* `whole` stores a pack that is. */
template <int V, class Y, class Words, class Whole>
TRINE_DEVICE void store_row(Y *row, const Words &from, const row_place &at, int i, bool alike, Whole whole)
{
    if (alike && at.whole<V>(i)) {
        whole();
    } else if (!at.simple) {
#pragma unroll
        for (int j = 0; j < V; j++)
            if (at.has(i, j)) row[at.column(i) + j] = from.element(j);
    }
}
template <class Op, bool simple, class Words>
TRINE_DEVICE void store_row(const Op &op, const row_operands<Op, simple> &row, const Words &from, const row_place &at, int i)
{
    store_row<row_pack<row_element<Op>>>(row.out, from, at, i, row.out_alike, [&] { row.store(op, from, at, i); });
}

template <int bytes, class Op, int P, bool simple>
TRINE_DEVICE void load_pieces(row_tile_of<Op, P> &tile, const Op &op, const row_operands<Op, simple> &row, const row_place &at)
{
    using T = row_element<Op>;
#pragma unroll
    for (int k = 0; k < Op::inputs; k++) {
        const auto part = [&](const row_parts<T, bytes> &parts, int j) {
            return row.in[k] + op.pieces.offset(1 + k, parts.column(j));
        };
        if constexpr (bytes == 2 && target::row_halves_packs > 1)
            load_halves(tile.at[k], at, op.neutral(), part);
        else
            load_row(tile.at[k], row.in[k], at, true, op.neutral(), [&](int column) {
                const row_parts<T, bytes> parts(at, column);
                return row_words<T>::template load_parts<bytes>([&](int j) { return part(parts, j); });
            });
    }
}

template <class Op, int P, bool simple>
TRINE_DEVICE void load_tile(row_tile_of<Op, P> &tile, const Op &op, const row_operands<Op, simple> &row, const row_place &at)
{
    using T = row_element<Op>;
    const auto load = [&](auto &to, const row_place &at, int k, float neutral) {
        const T *const from = row.in[k];
        load_row(to, from, at, row.alike[k], neutral, [&](int column) {
            constexpr bool moves = row_emits<Op> && !row_narrow<Op>;
            return moves ? row_words<T>::load_moved(from + column) : row_words<T>::load_once(from + column);
        });
    };
    if constexpr (row_in_pieces<Op>) {
        visit_part(op, [&](auto p) { load_pieces<p.bytes>(tile, op, row, at); }); /* once for all inputs: in flight together */
    } else if constexpr (row_adds<Op>) {
        constexpr int each = P > row_few ? P / 4 : P; /* registers are short */
        load(tile.at[0], at, 0, 0.0f);
#pragma unroll
        for (int first = 0; first < P; first += each) {
            row_words<T> more[each];
            load(more, at.from(first), 1, 0.0f);
#pragma unroll
            for (int i = 0; i < each; i++) {
                tile.at[0][first + i].add(more[i]);
                tile.pass(first + i, at.zero());
            }
        }
    } else {
#pragma unroll
        for (int k = 0; k < Op::inputs; k++) load(tile.at[k], at, k, op.neutral());
    }
}

/* For an Op whose rows share nothing. */
struct row_shares_nothing {
    struct nothing {};
    static bool aligned() { return true; }
    template <bool simple, class F> static TRINE_DEVICE_METHOD void choose(F f) { f(tag<float>{}); }
    template <class W> static TRINE_DEVICE_METHOD nothing fetch(const row_place &, int, int64_t) { return nothing{}; }
};

/* The same number, of which nothing that was derived of it is kept. */
TRINE_DEVICE int64_t derived_again(int64_t x, uint32_t zero)
{
    uint32_t low = uint32_t(x);
    target::opaque(low, zero);
    return int64_t(uint64_t(x) >> 32 << 32 | low);
}

} // namespace simt

#endif
