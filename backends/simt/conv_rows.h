/* depthwise: convolutions in which every channel has one filter of its own, of 3 x 3, 5 x 5 or 7 x 7 taps without dilation, and
 * their data gradients. A thread makes some columns of some channels and walks down the rows: an element of the input is loaded
 * once, while the row before it is multiplied, and goes into the sums of all the rows of the output that meet it, which the thread
 * holds. Bound by bytes (3 x 3) or by multiply-adds (7 x 7 of 16-bit floats: 49 for each 4 bytes).
 *
 * Channels last, neighbouring threads have neighbouring channels, 4 bytes each, and 7 columns (as most images' widths are multiples
 * of 7); channels first, neighbouring columns (conv_planes.h). */
#ifndef TRINE_SIMT_CONV_ROWS_H
#define TRINE_SIMT_CONV_ROWS_H

#include "backends/simt/activation_math.h"
#include "backends/simt/launch.h"
#include "core/conv_plan.h"

namespace simt {

enum { rows_threads = 128, rows_columns = 7, rows_lanes = 32 /* at most, of channels */ };

/* A convolution with filters of taps[0] x taps[1]; strides in elements. Tap 0 of output 0 meets element -padding. */
struct rows_shape {
    int32_t n, channels, in[2], out[2], taps[2], padding[2];
    int64_t x_n, x_c, x_at[2], y_n, y_c, y_at[2], f_c, f_at[2];
};

template <class T> struct rows_problem {
    rows_shape s;
    const T *x, *filters;
    void *y;
    const void *bias;
    trine_activation_kind activation;
    float activation_alpha;
    bool wide, bias_wide;
    int32_t lanes, strips, chunks, rows; /* channel lanes of a block; parts of a line and of a column of d; rows of a part */
    int32_t items;                       /* strips x chunks x images (x channels) */
};

/* Where a thread works: strip (of columns), rows [begin, end) of the output, image. */
struct rows_place {
    int32_t strip, begin, end;
    int32_t image;
};
template <class T> TRINE_DEVICE rows_place rows_place_of(const rows_problem<T> &p, int32_t item)
{
    const uint32_t line = uint32_t(item) / uint32_t(p.strips), image = line / uint32_t(p.chunks);
    rows_place at;
    at.strip = item - int32_t(line) * p.strips;
    at.begin = (int32_t(line) - int32_t(image) * p.chunks) * p.rows;
    at.end = at.begin + p.rows < p.s.out[0] ? at.begin + p.rows : p.s.out[0];
    at.image = int32_t(image);
    return at;
}

/* ---- Rows of a strip ---- */

/* A pack is moved as one word, which the compiler would take apart otherwise. */
template <int bytes> struct rows_word {
    using type = uint32_t;
};
template <> struct rows_word<2> {
    using type = uint16_t;
};
template <> struct rows_word<8> {
    using type = uint64_t;
};

/* COUNT packs of a row, `apart` elements from one to the next; those whose bit is not in the mask are zeros. */
template <class T, int V, int COUNT> struct rows_line {
    using word = typename rows_word<int(sizeof(T)) * V>::type;
    word at[COUNT];

    TRINE_DEVICE_METHOD void load(const T *from, int64_t apart, uint32_t mask)
    {
#pragma unroll
        for (int j = 0; j < COUNT; j++) {
            at[j] = 0;
            if (mask >> j & 1) at[j] = *reinterpret_cast<const word *>(from + j * apart);
        }
    }
    /* Of what was loaded in a loop's turn before; the compiler would convert it there, and wait for each load before the next. */
    TRINE_DEVICE_METHOD void hold()
    {
        enum { halves = sizeof(word) / 4 };
        if constexpr (halves > 0) {
            uint32_t part[COUNT * halves + 3] = {};
#pragma unroll
            for (int i = 0; i < COUNT * halves; i++) part[i] = uint32_t(at[i / halves] >> i % halves * 16 >> i % halves * 16);
#pragma unroll
            for (int i = 0; i < COUNT * halves; i += 4) {
                uint4 four = {part[i], part[i + 1], part[i + 2], part[i + 3]};
                target::derive_again(four);
                part[i] = four.x;
                part[i + 1] = four.y;
                part[i + 2] = four.z;
                part[i + 3] = four.w;
            }
#pragma unroll
            for (int j = 0; j < COUNT; j++)
                at[j] = halves == 2 ? word(uint64_t(part[j * halves + halves - 1]) << 32 | part[j * halves]) : word(part[j]);
        }
    }
    TRINE_DEVICE_METHOD void widen(float (&in)[COUNT][V]) const
    {
#pragma unroll
        for (int j = 0; j < COUNT; j++) {
            const pack<T, V> x = __builtin_bit_cast(pack<T, V>, at[j]);
#pragma unroll
            for (int v = 0; v < V; v++) in[j][v] = to_f32(x.at[v]);
        }
    }
};

/* Bit j: first + j lies in [0, size). */
template <int COUNT> TRINE_DEVICE uint32_t rows_mask(int32_t first, int32_t size)
{
    uint32_t mask = 0;
#pragma unroll
    for (int j = 0; j < COUNT; j++) mask |= uint32_t(uint32_t(first + j) < uint32_t(size)) << j;
    return mask;
}

/* sum[u] += in[STEP u + s] w[s] for W outputs. */
template <int S, int STEP, int W, int V, int I, class Weights>
TRINE_DEVICE void rows_multiply(float (&sum)[W][V], const float (&in)[I][V], const Weights &weights)
{
#pragma unroll
    for (int s = 0; s < S; s++) {
        float w[V];
        weights(s, w);
#pragma unroll
        for (int u = 0; u < W; u++)
#pragma unroll
            for (int v = 0; v < V; v++) sum[u][v] = target::fma_rn(in[STEP * u + s][v], w[v], sum[u][v]);
    }
}

/* The sums of a stride of 1. held[i]: of the output that will have met its last row in i + 1 rows. */
template <int S, int W, int V> struct rows_march {
    float held[S - 1][W][V];

    TRINE_DEVICE_METHOD rows_march()
    {
#pragma unroll
        for (int a = 0; a < S - 1; a++) clear(held[a]);
    }
    static TRINE_DEVICE_METHOD void clear(float (&sum)[W][V])
    {
#pragma unroll
        for (int u = 0; u < W; u++)
#pragma unroll
            for (int v = 0; v < V; v++) sum[u][v] = 0;
    }
    /* One row; weights(a, s, w): of the row of taps that is number a from the end, of which those from `from` to `to` are wanted;
     * of three rows it takes longer to ask. The sums that are whole go to `whole` before others need registers. */
    template <int I, class Weights, class Whole>
    TRINE_DEVICE_METHOD void step_to(const float (&in)[I][V], int from, int to, const Weights &weights, const Whole &whole)
    {
#pragma unroll
        for (int a = 0; a < S; a++) {
            float sum[W][V];
#pragma unroll
            for (int u = 0; u < W; u++)
#pragma unroll
                for (int v = 0; v < V; v++) sum[u][v] = a < S - 1 ? held[a < S - 1 ? a : 0][u][v] : 0.0f;
            if (S == 3 || (a >= from && a <= to)) rows_multiply<S, 1>(sum, in, [&](int s, float(&w)[V]) { weights(a, s, w); });
            if (a == 0) {
                whole(sum);
                continue;
            }
#pragma unroll
            for (int u = 0; u < W; u++)
#pragma unroll
                for (int v = 0; v < V; v++) held[a ? a - 1 : 0][u][v] = sum[u][v];
        }
    }
    /* The same, to `done`. */
    template <int I, class Weights>
    TRINE_DEVICE_METHOD void step(const float (&in)[I][V], int from, int to, float (&done)[W][V], const Weights &weights)
    {
        step_to(in, from, to, weights, [&](const float(&sum)[W][V]) {
#pragma unroll
            for (int u = 0; u < W; u++)
#pragma unroll
                for (int v = 0; v < V; v++) done[u][v] = sum[u][v];
        });
    }
};

/* ---- Storing ---- */

/* Bias and activation of W x V sums, channel + v; a loop that is not unrolled, for activations are long. */
template <class T, int W, int V> TRINE_DEVICE void rows_finish(const rows_problem<T> &p, float (&sum)[W][V], int32_t channel)
{
    if (!p.bias && p.activation == TRINE_ACT_IDENTITY) return;
    float bias[V] = {};
    if (p.bias)
#pragma unroll
        for (int v = 0; v < V; v++)
            bias[v] = p.bias_wide ? static_cast<const float *>(p.bias)[channel + v]
                                  : to_f32(static_cast<const T *>(p.bias)[channel + v]);
#pragma unroll 1
    for (int i = 0; i < W; i++) {
        float x[V] = {};
#pragma unroll
        for (int u = 0; u < W; u++)
#pragma unroll
            for (int v = 0; v < V; v++) x[v] = u == i ? sum[u][v] : x[v];
#pragma unroll
        for (int v = 0; v < V; v++) x[v] = activate(p.activation, p.activation_alpha, x[v] + bias[v]);
#pragma unroll
        for (int u = 0; u < W; u++)
#pragma unroll
            for (int v = 0; v < V; v++) sum[u][v] = u == i ? x[v] : sum[u][v];
    }
}

template <class D, int V> TRINE_DEVICE void rows_store_pack(D *to, const pack<D, V> &x)
{
    if constexpr (sizeof x == 16)
        store_pack<D, V>(to, x);
    else
        *reinterpret_cast<typename rows_word<int(sizeof x)>::type *>(to) =
            __builtin_bit_cast(typename rows_word<int(sizeof x)>::type, x);
}

template <class T, int V> TRINE_DEVICE void rows_put(const rows_problem<T> &p, int64_t to, const pack<float, V> &sums)
{
    if (p.wide) {
        rows_store_pack<float, V>(static_cast<float *>(p.y) + to, sums);
        return;
    }
    pack<T, V> narrow;
#pragma unroll
    for (int v = 0; v < V; v++) narrow.at[v] = from_f32<T>(sums.at[v]);
    rows_store_pack<T, V>(static_cast<T *>(p.y) + to, narrow);
}

/* Packs `apart` from each other, those whose number from `first` on lies in [0, size). */
template <class D, int W, int V>
TRINE_DEVICE void rows_store(D *to, int64_t apart, const float (&sum)[W][V], int32_t first, int32_t size)
{
    const bool whole = first >= 0 && first + W <= size;
#pragma unroll
    for (int u = 0; u < W; u++) {
        pack<D, V> narrow;
#pragma unroll
        for (int v = 0; v < V; v++) narrow.at[v] = from_f32<D>(sum[u][v]);
        if (whole || uint32_t(first + u) < uint32_t(size)) rows_store_pack<D, V>(to + u * apart, narrow);
    }
}

/* W columns from `column` on, those that there are; `to`: where column 0 of the row lies. */
template <class T, int W, int V>
TRINE_DEVICE void rows_put_strip(const rows_problem<T> &p, float (&sum)[W][V], int64_t to, int32_t column, int32_t channel)
{
    const int64_t first = to + column * p.s.y_at[1];
    rows_finish<T, W, V>(p, sum, channel);
    if (p.wide)
        rows_store<float, W, V>(static_cast<float *>(p.y) + first, p.s.y_at[1], sum, column, p.s.out[1]);
    else
        rows_store<T, W, V>(static_cast<T *>(p.y) + first, p.s.y_at[1], sum, column, p.s.out[1]);
}

/* ---- Kernels of channels last ---- */

/* The filters of the block's channels as f32, [row of taps, from the last on][S][lane][V], and which part of d a thread makes. */
template <class T, int V, int S> struct rows_block {
    const float *filters;
    int width;
    int32_t channel;
    int32_t item;
    bool inside;

    TRINE_DEVICE_METHOD rows_block(const rows_problem<T> &p, float *shared, unsigned groups) : width(p.lanes * V)
    {
        const int t = target::thread_x(), per = rows_threads / p.lanes, slot = t / p.lanes, lane = t - slot * p.lanes;
        const unsigned line = target::block_x() / groups, group = target::block_x() - line * groups;
        const int32_t first = int32_t(group) * width;
        for (int i = t; i < p.s.taps[0] * S * width; i += rows_threads) {
            const int tap = i / width, c = first + i - tap * width, a = tap / S, s = tap - a * S;
            const bool there = c < p.s.channels;
            shared[i] = there ? to_f32(p.filters[c * p.s.f_c + (p.s.taps[0] - 1 - a) * p.s.f_at[0] + s * p.s.f_at[1]]) : 0.0f;
        }
        target::barrier();
        filters = shared + lane * V;
        channel = first + lane * V;
        item = int32_t(line) * per + slot;
        inside = slot < per && item < p.items && channel < p.s.channels;
    }
    TRINE_DEVICE_METHOD void read(int a, int s, float (&w)[V]) const
    {
        const pack<float, V> v = *reinterpret_cast<const pack<float, V> *>(filters + (a * S + s) * width);
#pragma unroll
        for (int j = 0; j < V; j++) w[j] = v.at[j];
    }
};

/* A stride of 1. */
template <class T, int V, int S> TRINE_KERNEL_BLOCKS(rows_threads, 3) conv_rows_kernel(rows_problem<T> p, unsigned groups)
{
    constexpr int W = rows_columns, I = W + S - 1;
    alignas(16) TRINE_SHARED float shared[S * S * rows_lanes * V];
    const rows_block<T, V, S> block(p, shared, groups);
    if (!block.inside) return;
    const rows_place at = rows_place_of(p, block.item);
    const int32_t column = at.strip * W, first = at.begin - p.s.padding[0], last = at.end - p.s.padding[0] + p.s.taps[0] - 1;
    const uint32_t mask = rows_mask<I>(column - p.s.padding[1], p.s.in[1]);
    const T *from = p.x + int64_t(at.image) * p.s.x_n + (column - p.s.padding[1]) * p.s.x_at[1] + block.channel;
    int64_t to = int64_t(at.image) * p.s.y_n + at.begin * p.s.y_at[0] + block.channel;
    rows_line<T, V, I> line;
    rows_march<S, W, V> march;
    from += first * p.s.x_at[0];
    line.load(from, p.s.x_at[1], uint32_t(first) < uint32_t(p.s.in[0]) ? mask : 0);
#pragma unroll 1
    for (int32_t row = first; row < last; row++) {
        float in[I][V], done[W][V];
        line.hold();
        line.widen(in);
        const bool more = row + 1 < last && uint32_t(row + 1) < uint32_t(p.s.in[0]);
        from += p.s.x_at[0];
        line.load(from, p.s.x_at[1], more ? mask : 0);
        const int early = p.s.taps[0] - 1 - (row - first), late = last - 1 - row; /* outputs before and after the thread's */
        march.step(in, early, late < p.s.taps[0] ? late : p.s.taps[0] - 1, done,
                   [&](int a, int s, float(&w)[V]) { block.read(a, s, w); });
        if (early > 0) continue;
        rows_put_strip<T, W, V>(target::first_argument(p), done, to, column, block.channel);
        to += p.s.y_at[0];
    }
}

/* A stride of 2: rows meet few outputs, and are loaded again for each. */
template <class T, int V, int S> TRINE_KERNEL(rows_threads) conv_rows_stride_kernel(rows_problem<T> p, unsigned groups)
{
    constexpr int W = rows_columns, I = 2 * (W - 1) + S;
    alignas(16) TRINE_SHARED float shared[S * S * rows_lanes * V];
    const rows_block<T, V, S> block(p, shared, groups);
    if (!block.inside) return;
    const rows_place at = rows_place_of(p, block.item);
    const int32_t column = at.strip * W;
    const uint32_t mask = rows_mask<I>(2 * column - p.s.padding[1], p.s.in[1]);
    const T *from = p.x + int64_t(at.image) * p.s.x_n + (2 * column - p.s.padding[1]) * p.s.x_at[1] + block.channel;
    const int64_t to = int64_t(at.image) * p.s.y_n + block.channel;
#pragma unroll 1
    for (int32_t row = at.begin; row < at.end; row++) {
        float done[W][V];
        rows_line<T, V, I> line[S]; /* all under way before the first is needed */
        rows_march<S, W, V>::clear(done);
#pragma unroll
        for (int r = 0; r < S; r++) {
            const int32_t h = 2 * row - p.s.padding[0] + r;
            line[r].load(from + h * p.s.x_at[0], p.s.x_at[1], uint32_t(h) < uint32_t(p.s.in[0]) ? mask : 0);
        }
#pragma unroll
        for (int r = 0; r < S; r++) {
            float in[I][V];
            line[r].widen(in);
            rows_multiply<S, 2>(done, in, [&](int s, float(&w)[V]) { block.read(S - 1 - r, s, w); });
        }
        rows_put_strip<T, W, V>(target::first_argument(p), done, to + row * p.s.y_at[0], column, block.channel);
    }
}

/* The data gradient of a stride of 2 (x: dy, y: dx): two rows of eight columns, of which the first has padding + column even. Tap
 * 2 i + parity of each meets dy i before the place. Strips and rows count from the padding's parity before 0. */
template <class T, int V, int S> TRINE_KERNEL_BLOCKS(rows_threads, 4) conv_rows_spread_kernel(rows_problem<T> p, unsigned groups)
{
    constexpr int W = 8, half = (S - 1) / 2, I = W / 2 + half;
    alignas(16) TRINE_SHARED float shared[S * S * rows_lanes * V];
    const rows_block<T, V, S> block(p, shared, groups);
    if (!block.inside) return;
    const rows_place at = rows_place_of(p, block.item);
    const int32_t column = at.strip * W - p.s.padding[1] % 2, q = (column + p.s.padding[1]) / 2 - half;
    const uint32_t mask = rows_mask<I>(q, p.s.in[1]);
    const T *from = p.x + int64_t(at.image) * p.s.x_n + q * p.s.x_at[1] + block.channel;
    const int64_t to = int64_t(at.image) * p.s.y_n + block.channel;
    const int32_t first = at.begin - p.s.padding[0] % 2, end = first + p.rows < p.s.out[0] ? first + p.rows : p.s.out[0];
#pragma unroll 1
    for (int32_t row = first; row < end; row += 2) {
        float done[2][W][V];
        rows_march<S, W, V>::clear(done[0]);
        rows_march<S, W, V>::clear(done[1]);
        rows_line<T, V, I> line[half + 1];
#pragma unroll
        for (int i = 0; i <= half; i++) {
            const int32_t h = (row + p.s.padding[0]) / 2 - i;
            line[i].load(from + h * p.s.x_at[0], p.s.x_at[1], uint32_t(h) < uint32_t(p.s.in[0]) ? mask : 0);
        }
#pragma unroll
        for (int i = 0; i <= half; i++) {
            float in[I][V];
            line[i].widen(in);
#pragma unroll
            for (int r = 2 * i; r < 2 * i + 2 && r < S; r++)
#pragma unroll
                for (int s = 0; s < S; s++) {
                    float w[V];
                    block.read(S - 1 - r, s, w);
#pragma unroll
                    for (int u = s % 2; u < W; u += 2)
#pragma unroll
                        for (int v = 0; v < V; v++)
                            done[r % 2][u][v] = target::fma_rn(in[u / 2 - s / 2 + half][v], w[v], done[r % 2][u][v]);
                }
        }
#pragma unroll
        for (int parity = 0; parity < 2; parity++)
            if (uint32_t(row + parity) < uint32_t(p.s.out[0]))
                rows_put_strip<T, W, V>(target::first_argument(p), done[parity], to + (row + parity) * p.s.y_at[0], column,
                                        block.channel);
    }
}

} // namespace simt

#endif
