/* Codes with scales: what int8 and fp8 share. Bound by bytes.
 *
 * A thread has packs of 16 bytes of what is real, which are 4 or 8 codes. Scales a row are made in the frame of row.h; scales of 128
 * columns by neighbouring threads that exchange their largest element; scales of 128 rows of 128 columns by a block that holds
 * them in registers: one read, one write. One scale for all takes two reads, the second one in the opposite order, so that it
 * begins with what the last-level cache still has.
 *
 * A `Coder` is what the host knows of the codes:
 *   scale_of(most)     the scale for a largest magnitude
 *   by                 what dividing by a scale takes; divide_by(scale) makes it
 *   choose(f, by)      f(C{}) with a type that has four(x, by): four codes as a word; and choose(f) for values(word, scale, y) */
#ifndef TRINE_SIMT_SCALED_H
#define TRINE_SIMT_SCALED_H

#include "backends/simt/row_run.h"
#include "core/scaled_shape.h"

namespace simt {

enum { scaled_threads = 256, scaled_unroll = 4, scaled_codes_unroll = 2, scaled_tile_packs = 8, scaled_block = TRINE_FP8_BLOCK };

/* ---- Where rows lie ---- */

template <class T> struct scaled_operands {
    uint8_t *codes;
    T *reals;
    float *scales;
};

/* Packs are for tensors whose packs can be counted in 31 bits: divisions of 64 bits take more registers than a kernel has left. */
template <bool packed> struct scaled_divider_type {
    using type = divider_any;
};
template <> struct scaled_divider_type<true> {
    using type = divider32;
};
template <bool packed> using scaled_divider = typename scaled_divider_type<packed>::type;

/* trine_scaled_shape on the device; with packs of at most two outer axes, for short arguments. */
template <bool packed> struct scaled_walk {
    rows_walk<SCALED_OPERANDS, packed, false> outer; /* scales never lie as their matrix */
    scaled_divider<packed> m;
    int64_t k, row_step[SCALED_OPERANDS], column_step[SCALED_OPERANDS];
    int row_shift; /* 2^row_shift rows a scale */
    bool flat;     /* codes and reals lie row by row without gaps: packs are found without a walk */
    int64_t total; /* elements */

    explicit scaled_walk(const trine_scaled_shape &s)
        : outer(s.outer), m(s.m ? s.m : 1), k(s.k), row_shift(s.row_block == 1 ? 0 : log2_up(scaled_block)),
          flat(s.m == 1 && s.outer.ndim == 1), total(s.outer.numel * s.m * s.k)
    {
        for (int o = 0; o < SCALED_OPERANDS; o++) row_step[o] = s.row_step[o], column_step[o] = s.column_step[o];
        for (int o = SCALED_CODES; o <= SCALED_REALS; o++)
            flat = flat && s.column_step[o] == 1 && (s.outer.size[0] == 1 || s.outer.stride[o][0] == s.k);
    }
    /* Row i of matrix o. */
    template <class T> TRINE_DEVICE_METHOD scaled_operands<T> row(const scaled_operands<T> &from, int64_t o, int64_t i) const
    {
        int64_t offset[SCALED_OPERANDS];
        outer.offsets(o, offset);
        return {from.codes + offset[SCALED_CODES] + i * row_step[SCALED_CODES],
                from.reals + offset[SCALED_REALS] + i * row_step[SCALED_REALS],
                from.scales + offset[SCALED_SCALES] + (i >> row_shift) * row_step[SCALED_SCALES]};
    }
    template <class T> TRINE_DEVICE_METHOD scaled_operands<T> row(const scaled_operands<T> &from, int64_t index) const
    {
        const int64_t o = m.divide(index);
        return row(from, o, index - o * int64_t(m.d));
    }
    /* Moved on to a column and its scale. */
    template <class T> TRINE_DEVICE_METHOD scaled_operands<T> at(const scaled_operands<T> &row, int64_t column) const
    {
        return {row.codes + column * column_step[SCALED_CODES], row.reals + column * column_step[SCALED_REALS],
                row.scales + (column >> 7) * column_step[SCALED_SCALES]};
    }
    /* Elements of a pack at that column that exist, which may be more than V or less than none. */
    TRINE_DEVICE_METHOD int left(int64_t column) const { return left_of(k - column); }
    static TRINE_DEVICE_METHOD int left_of(int64_t elements) { return int(elements < 16 ? elements : 16); }
};
static_assert(scaled_block == 1 << 7, "columns of a scale");

/* ---- Packs: in one piece if `packed` and whole, else element by element ---- */

template <class T> struct scaled_pack {
    T *p;
    int left;
    int64_t step;
};

/* N packs, the whole ones first, so that they are in flight together. at(u): pack u. */
template <bool packed, class T, int N, class At> TRINE_DEVICE void load_reals(row_words<T> (&x)[N], bool once, At at)
{
    constexpr int V = row_pack<T>;
#pragma unroll
    for (int u = 0; u < N; u++) {
        const scaled_pack<T> pack = at(u);
        x[u] = row_words<T>::all(0.0f);
        if (packed && pack.left >= V) x[u] = once ? row_words<T>::load_once(pack.p) : row_words<T>::load_shared(pack.p);
    }
#pragma unroll
    for (int u = 0; u < N; u++) {
        const scaled_pack<T> pack = at(u);
        if (pack.left <= 0 || (packed && pack.left >= V)) continue;
#pragma unroll 1
        for (int j = 0; j < V; j++) x[u].push(j < pack.left ? element_bits(pack.p[j * pack.step]) : 0u);
    }
}

/* Words: row_words or row_codes. */
template <bool packed, int V, class Y, class Words> TRINE_DEVICE void store_scaled(const scaled_pack<Y> &pack, const Words &from)
{
    if (packed && pack.left >= V) {
        from.store(pack.p);
        return;
    }
#pragma unroll
    for (int j = 0; j < V; j++)
        if (j < pack.left) pack.p[j * pack.step] = from.element(j);
}

template <bool packed, int V> TRINE_DEVICE row_codes<V> load_codes(const scaled_pack<uint8_t> &pack)
{
    if (packed && pack.left >= V) return row_codes<V>::load(pack.p);
    row_codes<V> codes = {};
#pragma unroll
    for (int j = 0; j < V; j++)
        if (j < pack.left) codes.word[j / 4] |= uint32_t(pack.p[j * pack.step]) << j % 4 * 8;
    return codes;
}

/* NaN does not count. */
template <class T> TRINE_DEVICE float largest_of(const row_words<T> &x, float most)
{
#pragma unroll
    for (int j = 0; j < row_pack<T>; j++) most = op_most{}(most, __builtin_fabsf(x.value(j)));
    return most;
}

/* The way is chosen once a pack: once for all packs, compilers would do what the ways have in common, a product of each element,
 * for all of them before, in too many registers. */
template <class Coder, class T>
TRINE_DEVICE row_codes<row_pack<T>> codes_of(const Coder &coder, const row_words<T> &x, const typename Coder::by &by)
{
    row_codes<row_pack<T>> out;
    coder.choose(
        [&](auto way) {
#pragma unroll
            for (int q = 0; q < row_pack<T> / 4; q++)
                out.word[q] =
                    decltype(way)::four({x.value(4 * q), x.value(4 * q + 1), x.value(4 * q + 2), x.value(4 * q + 3)}, by);
        },
        by);
    return out;
}

/* ---- A scale a row, all of whose elements are with their team: row.h ---- */

template <class T, class Coder> struct scaled_rows : row_shares_nothing {
    using element = T;
    enum { inputs = 1 };
    const T *in[1];
    uint8_t *out;
    Coder coder;
    float *scales;
    int64_t step; /* from a row's scale to the next one's */

    struct partial {
        float most;
    };
    struct stats {
        float scale;
        typename Coder::by by;
    };

    static TRINE_DEVICE_METHOD float neutral() { return 0.0f; }
    static TRINE_DEVICE_METHOD partial identity() { return partial{0.0f}; }
    template <int P> static TRINE_DEVICE_METHOD partial gather(row_tile<T, 1, P> &tile, const row_place &, int width)
    {
        float most = 0.0f;
#pragma unroll
        for (int i = 0; i < P; i++) most = largest_of(tile.at[0][i], most);
        return partial{wave_reduce(most, op_most{}, width)};
    }
    static TRINE_DEVICE_METHOD partial merge(const partial &a, const partial &b) { return partial{op_most{}(a.most, b.most)}; }
    static TRINE_DEVICE_METHOD partial combine(const partial &p) { return partial{wave_reduce(p.most, op_most{})}; }
    TRINE_DEVICE_METHOD stats finish(const partial &p, int64_t) const
    {
        const float scale = coder.scale_of(p.most);
        return stats{scale, Coder::divide_by(scale)};
    }
    TRINE_DEVICE_METHOD void note(const stats &s, int64_t row) const { scales[row * step] = s.scale; }
    template <int P> TRINE_DEVICE_METHOD row_codes<row_pack<T>> codes(const stats &s, const row_tile<T, 1, P> &tile, int i) const
    {
        return codes_of(coder, tile.at[0][i], s.by);
    }
};
template <class T, class Coder> constexpr bool row_narrow<scaled_rows<T, Coder>> = true;
/* With more packs clang does not unroll the loops over them, as all of a coder's ways are in them. */
template <class T, class Coder> constexpr int row_most<scaled_rows<T, Coder>> = target::row_packs < 8 ? target::row_packs : 8;

/* ---- Rows in packs ---- */

/* U packs of a thread. */
template <class T, bool packed, int U> struct scaled_packs {
    scaled_operands<T> first[U];
    int left[U];
    int64_t step[2];

    TRINE_DEVICE_METHOD scaled_packs(const scaled_walk<packed> &w, const scaled_divider<packed> &packs_a_row, int64_t packs,
                                     unsigned block, const scaled_operands<T> &from)
    {
        const int64_t mine = int64_t(block) * (scaled_threads * U) + target::thread_x();
#pragma unroll
        for (int u = 0; u < U; u++) {
            const int64_t wanted = mine + u * scaled_threads, p = wanted < packs ? wanted : packs - 1, r = packs_a_row.divide(p);
            const int64_t column = (p - r * int64_t(packs_a_row.d)) * row_pack<T>, i = p * row_pack<T>;
            if (packed && w.flat) {
                first[u] = {from.codes + i, from.reals + i,
                            from.scales + r * w.outer.step[0][SCALED_SCALES] + (column >> 7) * w.column_step[SCALED_SCALES]};
                left[u] = wanted < packs ? w.left_of(w.total - i) : 0;
                continue;
            }
            first[u] = w.at(w.row(from, r), column);
            left[u] = wanted < packs ? w.left(column) : 0;
        }
        for (int k = 0; k < 2; k++) step[k] = w.column_step[k];
    }
    TRINE_DEVICE_METHOD scaled_pack<T> operator()(int u) const { return {first[u].reals, left[u], step[SCALED_REALS]}; }
    TRINE_DEVICE_METHOD scaled_pack<uint8_t> codes(int u) const { return {first[u].codes, left[u], step[SCALED_CODES]}; }
};

/* What the blocks of scaled_most_kernel left. */
struct scaled_list {
    const float *most;
    int count;
};

/* by_one: one scale for all, which each block makes from the list, while its packs are on their way; the last packs first, which
 * the last-level cache may still have. */
template <class T, class Coder, bool packed, bool by_one> TRINE_KERNEL(scaled_threads)
scaled_codes_kernel(scaled_walk<packed> w, scaled_divider<packed> packs_a_row, int64_t packs, Coder coder,
                    scaled_operands<T> from, scaled_list list)
{
    constexpr int V = row_pack<T>, U = scaled_codes_unroll;
    TRINE_SHARED float scratch[target::max_waves];
    const unsigned block = by_one ? target::grid_x() - 1 - target::block_x() : target::block_x();
    const scaled_packs<T, packed, U> at(w, packs_a_row, packs, block, from);
    row_words<T> x[U];
    float scale[U], most = 0.0f;
#pragma unroll
    for (int u = 0; u < U && !by_one; u++) scale[u] = *at.first[u].scales;
    load_reals<packed>(x, true, at);
    if (by_one) {
        target::wait_for_previous();
        for (int i = target::thread_x(); i < list.count; i += scaled_threads) most = op_most{}(most, list.most[i]);
        scale[0] = coder.scale_of(block_reduce(most, op_most{}, scratch));
        if (target::block_x() == 0 && target::thread_x() == 0) *from.scales = scale[0];
    }
#pragma unroll
    for (int u = 0; u < U; u++)
        store_scaled<packed, V>(at.codes(u), codes_of(coder, x[u], Coder::divide_by(scale[by_one ? 0 : u])));
}

/* Fresh scales of 128 columns: a group of lanes has as many packs each as makes its reduction and its divisions cheap. */
template <class T> constexpr int scaled_lanes = scaled_block / (scaled_codes_unroll * row_pack<T>);

template <class T, class Coder, bool packed> TRINE_KERNEL(scaled_threads)
scaled_fresh_kernel(scaled_walk<packed> w, scaled_divider<packed> blocks_a_row, int64_t blocks, Coder coder,
                    scaled_operands<T> from)
{
    constexpr int V = row_pack<T>, U = scaled_codes_unroll, lanes = scaled_lanes<T>;
    const int lane = target::thread_x() % lanes;
    const int64_t wanted = int64_t(target::block_x()) * (scaled_threads / lanes) + target::thread_x() / lanes,
                  b = wanted < blocks ? wanted : blocks - 1, r = blocks_a_row.divide(b),
                  column = (b - r * int64_t(blocks_a_row.d)) * scaled_block + lane * V;
    const scaled_operands<T> first = w.at(w.row(from, r), column);
    const int64_t left = wanted < blocks ? w.k - column : 0;
    const auto left_of = [&](int u) { return left < u * lanes * V + V ? int(left) - u * lanes * V : V; };
    row_words<T> x[U];
    load_reals<packed>(x, true, [&](int u) {
        return scaled_pack<T>{first.reals + u * lanes * V * w.column_step[SCALED_REALS], left_of(u), w.column_step[SCALED_REALS]};
    });
    float most = 0.0f;
#pragma unroll
    for (int u = 0; u < U; u++) most = largest_of(x[u], most);
    const float scale = coder.scale_of(wave_reduce(most, op_most{}, lanes));
    if (lane == 0 && left > 0) *first.scales = scale;
    const typename Coder::by by = Coder::divide_by(scale);
#pragma unroll
    for (int u = 0; u < U; u++) {
        const scaled_pack<uint8_t> to = {first.codes + u * lanes * V * w.column_step[SCALED_CODES], left_of(u),
                                         w.column_step[SCALED_CODES]};
        store_scaled<packed, V>(to, codes_of(coder, x[u], by));
    }
}

template <class T, class Coder, bool packed> TRINE_KERNEL(scaled_threads)
scaled_values_kernel(scaled_walk<packed> w, scaled_divider<packed> packs_a_row, int64_t packs, Coder coder,
                     scaled_operands<T> from)
{
    constexpr int V = row_pack<T>;
    const scaled_packs<T, packed, scaled_unroll> at(w, packs_a_row, packs, target::block_x(), from);
    row_codes<V> codes[scaled_unroll];
    float scale[scaled_unroll];
#pragma unroll
    for (int u = 0; u < scaled_unroll; u++) codes[u] = load_codes<packed, V>(at.codes(u));
#pragma unroll
    for (int u = 0; u < scaled_unroll; u++) scale[u] = *at.first[u].scales;
#pragma unroll
    for (int u = 0; u < scaled_unroll; u++) {
        row_words<T> out;
        coder.choose([&](auto way) {
#pragma unroll
            for (int q = 0; q < V / 4; q++) {
                float y[4];
                decltype(way)::values(codes[u].word[q], scale[u], y);
                out.set_four(q, y);
            }
        });
        store_scaled<packed, V>(at(u), out);
    }
}

/* ---- Scales of 128 rows of 128 columns: a block of threads each, the columns' neighbours side by side ---- */

template <class T> constexpr int scaled_tile_threads = scaled_block *scaled_block / (scaled_tile_packs * row_pack<T>);

template <class T, class Coder, bool packed> TRINE_KERNEL(scaled_tile_threads<T>)
scaled_tile_kernel(scaled_walk<packed> w, int64_t tiles_across, int64_t tiles_down, Coder coder, scaled_operands<T> from)
{
    constexpr int V = row_pack<T>, lanes = scaled_block / V, P = scaled_tile_packs, apart = scaled_tile_threads<T> / lanes;
    TRINE_SHARED float scratch[target::max_waves];
    const int64_t band = target::block_x() / unsigned(tiles_across), across = target::block_x() % unsigned(tiles_across);
    const int64_t o = band / unsigned(tiles_down), down = band % unsigned(tiles_down);
    const int64_t top = down * scaled_block + target::thread_x() / lanes, rows = int64_t(w.m.d) - top,
                  column = across * scaled_block + target::thread_x() % lanes * V;
    const scaled_operands<T> first = w.at(w.row(from, o, top), column);
    const int left = w.left(column);
    const auto left_of = [&](int i) { return i * apart < rows ? left : 0; };
    row_words<T> x[P];
    load_reals<packed>(x, true, [&](int i) {
        return scaled_pack<T>{first.reals + i * apart * w.row_step[SCALED_REALS], left_of(i), w.column_step[SCALED_REALS]};
    });
    float most = 0.0f;
#pragma unroll
    for (int i = 0; i < P; i++) most = largest_of(x[i], most);
    const float scale = coder.scale_of(block_reduce(most, op_most{}, scratch));
    if (target::thread_x() == 0) *first.scales = scale;
    const typename Coder::by by = Coder::divide_by(scale);
#pragma unroll
    for (int i = 0; i < P; i++) {
        const scaled_pack<uint8_t> to = {first.codes + i * apart * w.row_step[SCALED_CODES], left_of(i),
                                         w.column_step[SCALED_CODES]};
        store_scaled<packed, V>(to, codes_of(coder, x[i], by));
    }
}

/* ---- One scale for all, and rows whose elements have gaps: the largest magnitudes alone ---- */

/* By all blocks, each of which leaves its own. */
template <class T, bool packed> TRINE_KERNEL(scaled_threads)
scaled_most_kernel(scaled_walk<packed> w, scaled_divider<packed> packs_a_row, int64_t packs, scaled_operands<T> from, float *list)
{
    TRINE_SHARED float scratch[target::max_waves];
    float most = 0.0f;
    target::let_next_start();
    const int64_t parts = (packs + scaled_threads * scaled_unroll - 1) / (scaled_threads * scaled_unroll);
    for (int64_t part = target::block_x(); part < parts; part += target::grid_x()) {
        const scaled_packs<T, packed, scaled_unroll> at(w, packs_a_row, packs, unsigned(part), from);
        row_words<T> x[scaled_unroll];
        load_reals<packed>(x, false, at);
#pragma unroll
        for (int u = 0; u < scaled_unroll; u++) most = largest_of(x[u], most);
    }
    most = block_reduce(most, op_most{}, scratch);
    if (target::thread_x() == 0) list[target::block_x()] = most;
}

/* Of no elements. */
template <class Coder> TRINE_KERNEL(1) scaled_nothing_kernel(Coder coder, float *scale) { *scale = coder.scale_of(0.0f); }

/* A block a row, element by element. */
template <class T, class Coder> TRINE_KERNEL(scaled_threads)
scaled_gapped_kernel(scaled_walk<false> w, Coder coder, scaled_operands<T> from)
{
    TRINE_SHARED float scratch[target::max_waves];
    const scaled_operands<T> row = w.row(from, target::block_x());
    float most = 0.0f;
    for (int64_t i = target::thread_x(); i < w.k; i += scaled_threads)
        most = op_most{}(most, __builtin_fabsf(to_f32(row.reals[i * w.column_step[SCALED_REALS]])));
    most = block_reduce(most, op_most{}, scratch);
    if (target::thread_x() == 0) *row.scales = coder.scale_of(most);
}

} // namespace simt

#endif
