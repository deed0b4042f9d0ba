/* Blurs of u8 with a radius of 1 to 3 and 1, 3 or 4 interleaved channels: eight bytes a thread.
 *
 * A thread takes two words of a row and goes down the image; the words around them are the taps' bytes at known places, so that
 * everything stays in registers. It loads as many rows at once as its ring has, which keeps enough bytes in flight. What lies
 * outside the image counts as 0 and is missing from the total. Instructions bound these kernels, those of integers most: they go
 * at half the rate of the others. A box adds bytes in pairs of 16 bits (255 * 7 * 8 < 2^16), down the column as a running sum, and
 * divides by one multiplication: about 10 instructions a byte. A gaussian multiplies bytes by weights two at a time along the row,
 * whose sums are exact in f32, and f32 down the column: about 17; where the quotient lies so near the middle between two bytes that
 * f32 can't tell, it is compared with the sum in integers. */
#ifndef TRINE_SIMT_BLUR_SMALL_H
#define TRINE_SIMT_BLUR_SMALL_H

#include "backends/simt/launch.h"
#include "backends/simt/types.h"
#include "core/blur_weights.h"

namespace simt {

/* ---- What all blurs share ---- */

/* How blocks share an image: strips across a row times chunks of `rows` rows times planes, the strips first. */
struct blur_blocks {
    trine_blur_shape shape;
    int64_t strips, chunks, rows;
    grid all() const { return grid(shape.planes * chunks * strips); }
};

/* Where a thread works: rows [first, last) of a plane; `across`: its number along the row. */
struct blur_place {
    int64_t plane, first, last, across;
};
TRINE_DEVICE blur_place blur_place_of(const blur_blocks &blocks)
{
    const int64_t outer = int64_t(target::block_x()) / blocks.strips, strip = int64_t(target::block_x()) - outer * blocks.strips;
    const int64_t plane = outer / blocks.chunks, first = (outer - plane * blocks.chunks) * blocks.rows,
                  last = first + blocks.rows;
    return blur_place{plane, first, last < blocks.shape.height ? last : blocks.shape.height,
                      strip * target::block_threads() + target::thread_x()};
}

/* Eight rings' worth of rows a block, or fewer until the device has work for four blocks a compute unit. */
inline blur_blocks blur_blocks_of(trine_call *call, const trine_blur_shape &shape, int64_t strips, int32_t radius)
{
    blur_blocks b;
    b.shape = shape;
    b.strips = strips;
    b.rows = 8 * (2 * radius + 1);
    while (b.rows > 8 && b.rows > 2 * radius &&
           ceil_div(shape.height, b.rows) * strips * shape.planes < 4 * int64_t(call->device->props.compute_units))
        b.rows /= 2;
    b.chunks = ceil_div(shape.height, b.rows);
    return b;
}

/* How far a blur reaches if there are so many elements left before the image ends. */
TRINE_DEVICE int32_t blur_reach(int64_t left, int32_t radius) { return left < radius ? int32_t(left) : radius; }

TRINE_DEVICE int32_t as_signed(uint32_t x) { return int32_t(x); }
TRINE_DEVICE int64_t as_signed(uint64_t x) { return int64_t(x); }

/* floor((sum + total / 2) / total), at most 255; the quotient in f32 is at most one off. */
template <class S> TRINE_DEVICE uint32_t blur_quotient(S sum, S total, float reciprocal)
{
    const S n = sum + total / 2;
    const uint32_t q = uint32_t(float(n) * reciprocal);
    const auto rest = as_signed(S(n - q * total));
    return rest < 0 ? q - 1u : rest >= as_signed(total) ? q + 1u : q;
}

/* ---- Words of four bytes ---- */

enum { blur_small_threads = 128, blur_small_radius = 3, blur_words = 2 /* a thread */ };

template <class W> struct blur_small_weights {
    W at[blur_small_radius + 1];
    /* at[0] and, on either side, those that are reached; no index that is known at run time only, which would take it to memory.
     */
    template <int radius> TRINE_DEVICE_METHOD W sum(int32_t before, int32_t after) const
    {
        W total = at[0];
#pragma unroll
        for (int d = 1; d <= radius; d++) total += (d <= before ? at[d] : W(0)) + (d <= after ? at[d] : W(0));
        return total;
    }
};

constexpr uint32_t even_bytes = 0x00ff00ffu;

/* The words around a thread's own. `at`, in bytes or pairs of them, counts from the first of the window. */
template <int step, int radius> struct blur_window {
    static constexpr int reach = (radius * step + 3) / 4, count = 2 * reach + blur_words;
    uint32_t word[count];

    /* Bytes 2 at + odd and 2 at + odd + 2 as two numbers of 16 bits. */
    template <int odd> TRINE_DEVICE_METHOD uint32_t split(int word_) const
    {
        return odd ? target::byte_permute<0x4341>(word[word_], 0) : word[word_] & even_bytes;
    }
    template <int odd, int at> TRINE_DEVICE_METHOD uint32_t pair() const
    {
        if constexpr (at % 2 == 0)
            return split<odd>(at / 2);
        else
            return target::byte_permute<0x5432>(split<odd>(at / 2), split<odd>(at / 2 + 1));
    }
    /* Bytes `at`, `at` + step, and the ones behind each. */
    template <int at> TRINE_DEVICE_METHOD uint32_t taps() const
    {
        constexpr uint32_t o = at % 4, selector = o | (o + step) << 4 | (o + 1) << 8 | (o + step + 1) << 12;
        static_assert(o + step + 1 < 8, "in two words");
        return target::byte_permute<selector>(word[at / 4], word[at / 4 + 1]);
    }
    /* `own`: the thread's first word. All exist, and words lie in pairs; or there are `before` words before the first one and
     * `after` behind it, in rows that are `inside`. */
    TRINE_DEVICE_METHOD void load_whole(const uint32_t *own)
    {
#pragma unroll
        for (int j = reach % 2; j + 1 < count; j += 2) {
            const pack<uint32_t, 2> two = load_pack<uint32_t, 2>(own + (j - reach));
            word[j] = two.at[0];
            word[j + 1] = two.at[1];
        }
        if (reach % 2) {
            word[0] = own[-reach];
            word[count - 1] = own[count - 1 - reach];
        }
    }
    TRINE_DEVICE_METHOD void load(const uint32_t *own, bool inside, int32_t before, int32_t after)
    {
#pragma unroll
        for (int j = 0; j < count; j++) word[j] = inside && reach - j <= before && j - reach <= after ? own[j - reach] : 0u;
    }
};

/* Sums of the rows in the ring, and what they become. Row k of the ring is replaced by push<k>; result<k> is then of the row
 * `radius` before it. `across`: of each byte, the weights inside along the row. */
template <int step, int radius> struct blur_box {
    static constexpr int rows = 2 * radius + 1;
    using window = blur_window<step, radius>;
    /* Bytes 0 and 2, 1 and 3 of each word; the sums have half of the divisors in them, for rounding. */
    uint32_t even[rows][blur_words] = {}, odd[rows][blur_words] = {}, even_sum[blur_words] = {}, odd_sum[blur_words] = {};
    uint32_t factor[4 * blur_words], even_half[blur_words] = {}, odd_half[blur_words] = {};

    TRINE_DEVICE_METHOD void start(const blur_small_weights<uint32_t> &) {}
    template <int i, int d> TRINE_DEVICE_METHOD static void add(const window &w, uint32_t &e, uint32_t &o)
    {
        constexpr int byte = 4 * (window::reach + i) + d * step, odd = byte % 2;
        e += w.template pair<odd, byte / 2>();
        o += w.template pair<1 - odd, (byte + 1) / 2>();
        if constexpr (d < radius) add<i, d + 1>(w, e, o);
    }
    template <int k, int i = 0> TRINE_DEVICE_METHOD void push(const blur_small_weights<uint32_t> &weights, const window &w)
    {
        uint32_t e = 0, o = 0;
        add<i, -radius>(w, e, o);
        even_sum[i] = even_sum[i] + e - even[k][i]; /* no half underflows: what is taken off is in it */
        odd_sum[i] = odd_sum[i] + o - odd[k][i];
        even[k][i] = e;
        odd[k][i] = o;
        if constexpr (i + 1 < blur_words) push<k, i + 1>(weights, w);
    }
    /* c: pixels inside the square of each byte. With 2^24 / c <= factor < 2^24 / c + 8, n factor / 2^24 is n / c and less than 1 / c
     * more for n <= 255.5 c, and fits 32 bits. The reciprocal is two units off at most, which are 2 in the product. */
    TRINE_DEVICE_METHOD void set_total(const uint32_t (&across)[4 * blur_words], uint32_t down)
    {
#pragma unroll
        for (int i = 0; i < blur_words; i++) {
            uint32_t half[4];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const uint32_t c = across[4 * i + j] * down;
                factor[4 * i + j] = uint32_t(0x1p24f * target::rcp_fast(float(c))) + 4u;
                half[j] = c / 2u;
            }
            even_sum[i] -= even_half[i];
            odd_sum[i] -= odd_half[i];
            even_half[i] = half[0] | half[2] << 16;
            odd_half[i] = half[1] | half[3] << 16;
            even_sum[i] += even_half[i];
            odd_sum[i] += odd_half[i];
        }
    }
    template <int k> TRINE_DEVICE_METHOD void result(const blur_small_weights<uint32_t> &, uint32_t (&y)[blur_words]) const
    {
#pragma unroll
        for (int i = 0; i < blur_words; i++) {
            const uint32_t e = even_sum[i], o = odd_sum[i], *by = factor + 4 * i;
            const uint32_t b0 = (e & 0xffffu) * by[0], b1 = (o & 0xffffu) * by[1], b2 = (e >> 16) * by[2], b3 = (o >> 16) * by[3];
            y[i] = target::byte_permute<0x5410>(target::byte_permute<0x0073>(b0, b1), target::byte_permute<0x0073>(b2, b3));
        }
    }
};

/* Sums of a row are less than 2^23 and those of two rows less than 2^24: exact. The quotient is made in units of half a byte, as
 * 128 + (quotient + 1/2) / 2: bits 15 to 22 are then the byte that it rounds to, and those below say how near the next one is. Its
 * error, from at most four roundings of the sum, the reciprocal's and its own: 255 (4 2^-24 + 2^-22) + 2^-16 < 1.4e-4, which is
 * less than 5 units of the last place; so many are added, so that only with less than 11 of them the byte may be another one. */
template <int step, int radius> struct blur_gaussian {
    static constexpr int rows = 2 * radius + 1;
    static constexpr float rounding = 128.25f + 5 * 0x1p-16f;
    static constexpr uint32_t doubtful = 11;
    using window = blur_window<step, radius>;
    static_assert(radius <= 3 && 255 * TRINE_BLUR_ONE * 7 < 1 << 23, "exact sums");
    float row[rows][4 * blur_words] = {}, weight[radius + 1], half_reciprocal[4 * blur_words];
    uint32_t total[4 * blur_words];

    TRINE_DEVICE_METHOD void start(const blur_small_weights<uint32_t> &weights)
    {
#pragma unroll
        for (int d = 0; d <= radius; d++) weight[d] = float(weights.at[d]);
    }
    /* Bytes b and b + 1: taps in pairs but for one, the last where the middle one would part the others. */
    template <int b, int d>
    TRINE_DEVICE_METHOD static void add(const blur_small_weights<uint32_t> &weights, const window &w, uint32_t (&sum)[2])
    {
        constexpr int alone = radius % 2 ? radius : 0, at = b + d * step;
        if constexpr (d == alone) {
            sum[0] = target::dot_of_pair<at % 4 / 2>(weights.at[alone] << at % 2 * 16, w.word[at / 4], sum[0]);
            sum[1] = target::dot_of_pair<(at + 1) % 4 / 2>(weights.at[alone] << (at + 1) % 2 * 16, w.word[(at + 1) / 4], sum[1]);
        } else {
            const uint32_t two = weights.at[d < 0 ? -d : d] | weights.at[d + 1 < 0 ? -d - 1 : d + 1] << 16,
                           four = w.template taps<at>();
            sum[0] = target::dot_of_pair<0>(two, four, sum[0]);
            sum[1] = target::dot_of_pair<1>(two, four, sum[1]);
        }
        constexpr int next = d == alone ? d + 1 : d + 2;
        if constexpr (next <= radius) add<b, next>(weights, w, sum);
    }
    template <int k, int b = 0> TRINE_DEVICE_METHOD void push(const blur_small_weights<uint32_t> &weights, const window &w)
    {
        uint32_t sum[2] = {};
        add<4 * window::reach + b, -radius>(weights, w, sum);
        row[k][b] = float(sum[0]);
        row[k][b + 1] = float(sum[1]);
        if constexpr (b + 2 < 4 * blur_words) push<k, b + 2>(weights, w);
    }
    TRINE_DEVICE_METHOD void set_total(const uint32_t (&across)[4 * blur_words], uint32_t down)
    {
#pragma unroll
        for (int i = 0; i < 4 * blur_words; i++) {
            total[i] = across[i] * down; /* less than 2^30 */
            half_reciprocal[i] = 0.5f * target::rcp_fast(float(total[i]));
        }
    }
    /* The rows at a distance from the one that is made. */
    template <int k> static TRINE_METHOD constexpr int above(int d) { return (k + radius + 1 + d) % rows; }
    template <int k> static TRINE_METHOD constexpr int below(int d) { return (k + radius + 1 + rows - d) % rows; }
    /* The quotient of byte i, which is `guess` or one off: what it leaves is less than 2^31, so that 32 bits of it are enough. */
    template <int k>
    TRINE_DEVICE_METHOD uint32_t exactly(const blur_small_weights<uint32_t> &weights, int i, uint32_t guess) const
    {
        uint32_t rest = total[i] / 2 - guess * total[i] + weights.at[0] * uint32_t(row[above<k>(0)][i]);
#pragma unroll
        for (int d = 1; d <= radius; d++) rest += weights.at[d] * uint32_t(row[above<k>(d)][i] + row[below<k>(d)][i]);
        return int32_t(rest) < 0 ? guess - 1u : int32_t(rest) >= int32_t(total[i]) ? guess + 1u : guess;
    }
    template <int k> TRINE_DEVICE_METHOD void result(const blur_small_weights<uint32_t> &weights, uint32_t (&y)[blur_words]) const
    {
        uint32_t byte[4 * blur_words], sure = ~0u;
#pragma unroll
        for (int i = 0; i < 4 * blur_words; i++) {
            float sum = weight[0] * row[above<k>(0)][i];
#pragma unroll
            for (int d = 1; d <= radius; d++) sum = target::fma_rn(weight[d], row[above<k>(d)][i] + row[below<k>(d)][i], sum);
            byte[i] = trine_bits_of_f32(target::fma_rn(sum, half_reciprocal[i], rounding));
        }
#pragma unroll
        for (int i = 0; i < 4 * blur_words; i += 2) /* both fractions at once, below a bit that a borrow clears */
            sure &= ((target::byte_permute<0x5410>(byte[i], byte[i + 1]) & 0x7fff7fffu) | 0x80008000u) - doubtful * 0x10001u;
        if ((sure & 0x80008000u) != 0x80008000u) {
#pragma unroll
            for (int i = 0; i < 4 * blur_words; i++) byte[i] = exactly<k>(weights, i, byte[i] >> 15 & 0xffu) << 15;
        }
#pragma unroll
        for (int i = 0; i < blur_words; i++) {
            const uint32_t *b = byte + 4 * i, low = target::byte_permute<0x6521>(b[0], b[1]),
                           high = target::byte_permute<0x6521>(b[2], b[3]);
            y[i] = target::byte_permute<0x7531>(low + low, high + high);
        }
    }
};

/* ---- The kernel ---- */

/* A thread's way down the image, as many rows at a time as the ring has. Rows are counted in 32 bits. */
template <int step, int radius, class Sums> struct blur_descent {
    const blur_small_weights<uint32_t> &weights;
    const int32_t first, last, height; /* rows that are made, and all */
    const bool pairs, second;          /* words lie in pairs; the thread has two */
    const int64_t words;               /* of a row */
    uint32_t *to;                      /* the thread's first word in the row that the next sums are of */
    Sums sums;
    uint32_t across[4 * blur_words];
    bool inside = false; /* whether the total in force is that of rows away from the borders */

    TRINE_DEVICE_METHOD bool away(int32_t from, int32_t to_row) const { return from >= radius && to_row + radius < height; }
    /* What is so in all of a ring's rows is asked once. */
    TRINE_DEVICE_METHOD bool steady(int32_t base) const
    {
        const int32_t from = base - radius, end = from + Sums::rows - 1;
        return inside && from >= first && end < last && away(from, end);
    }
    /* Whether row `out` is made; sees to the total. */
    TRINE_DEVICE_METHOD bool prepare(int32_t out)
    {
        if (out < first || out >= last) return false;
        const bool now_inside = away(out, out);
        if (!now_inside || !inside)
            sums.set_total(across, weights.template sum<radius>(blur_reach(out, radius), blur_reach(height - 1 - out, radius)));
        inside = now_inside;
        return true;
    }
    template <int k>
    TRINE_DEVICE_METHOD void step_rows(const blur_window<step, radius> (&window)[Sums::rows], int32_t base, bool all)
    {
        sums.template push<k>(weights, window[k]);
        if (all || prepare(base + k - radius)) {
            uint32_t word[blur_words];
            sums.template result<k>(weights, word);
            if (pairs) {
                store_pack<uint32_t, 2>(to, pack<uint32_t, 2>{{word[0], word[1]}});
            } else {
                to[0] = word[0];
                if (second) to[1] = word[1];
            }
        }
        to += words;
        if constexpr (k + 1 < Sums::rows) step_rows<k + 1>(window, base, all);
    }
};

template <int step, int radius, class Sums> TRINE_KERNEL(blur_small_threads)
blur_small_kernel(blur_small_weights<uint32_t> weights, blur_blocks blocks, bool pairs, uint32_t *y, const uint32_t *x)
{
    constexpr int reach = blur_window<step, radius>::reach, rows = Sums::rows;
    const trine_blur_shape &s = blocks.shape;
    const blur_place place = blur_place_of(blocks);
    const int64_t words = s.row / 4, own = place.plane * s.height * words + place.across * blur_words;
    const int32_t first = int32_t(place.first), last = int32_t(place.last), height = int32_t(s.height),
                  left = int32_t(words - place.across * blur_words);
    if (left <= 0) return;
    blur_descent<step, radius, Sums> way{
        weights, first, last, height, pairs, left > 1, words, y + (own + (first - 2 * radius) * words), {}, {}};
    way.sums.start(weights);
#pragma unroll
    for (int i = 0; i < 4 * blur_words; i++) {
        const int64_t column = (place.across * (4 * blur_words) + i) / step;
        way.across[i] = weights.template sum<radius>(blur_reach(column, radius), blur_reach(s.width - 1 - column, radius));
    }
    const int32_t before = blur_reach(place.across * blur_words, reach), after = blur_reach(left - 1, reach + blur_words - 1),
                  end = last + radius < height ? last + radius : height;
    const bool amid = pairs && before == reach && after == reach + blur_words - 1;
    const uint32_t *row = x + (own + (first - radius) * words);
    for (int32_t base = first - radius; base < last + radius; base += rows) {
        blur_window<step, radius> window[rows];
        if (amid && base >= 0 && base + rows <= end) {
#pragma unroll
            for (int k = 0; k < rows; k++, row += words) window[k].load_whole(row);
        } else {
#pragma unroll
            for (int k = 0; k < rows; k++, row += words) window[k].load(row, base + k >= 0 && base + k < end, before, after);
        }
        way.template step_rows<0>(window, base, way.steady(base));
    }
}

/* ---- Host ---- */

template <int step, int radius> inline trine_status blur_small_run(trine_call *call, const trine_blur_weights &w, bool gaussian,
                                                                   const trine_blur_shape &shape, uint8_t *y, const uint8_t *x)
{
    blur_small_weights<uint32_t> weights;
    memcpy(weights.at, w.at, sizeof weights.at);
    const blur_blocks blocks = blur_blocks_of(call, shape, ceil_div(shape.row / 4, blur_small_threads * blur_words), radius);
    const bool pairs = shape.row % 8 == 0 && (reinterpret_cast<uintptr_t>(y) | reinterpret_cast<uintptr_t>(x)) % 8 == 0;
    uint32_t *to = reinterpret_cast<uint32_t *>(y);
    const uint32_t *from = reinterpret_cast<const uint32_t *>(x);
    if (gaussian)
        return launch(call, blur_small_kernel<step, radius, blur_gaussian<step, radius>>, blocks.all(), blur_small_threads, 0,
                      weights, blocks, pairs, to, from);
    return launch(call, blur_small_kernel<step, radius, blur_box<step, radius>>, blocks.all(), blur_small_threads, 0, weights,
                  blocks, pairs, to, from);
}

/* The line of a table of kernels for 1, 3 and 4 channels; -1 where rows are not made of whole packs of `bytes` bytes. */
inline int blur_small_row(const trine_blur_shape &shape, const void *y, const void *x, size_t bytes)
{
    const bool whole =
        shape.row % 4 == 0 && reinterpret_cast<uintptr_t>(y) % bytes == 0 && reinterpret_cast<uintptr_t>(x) % bytes == 0;
    if (!whole) return -1;
    return shape.step == 1 ? 0 : shape.step == 3 ? 1 : shape.step == 4 ? 2 : -1;
}

using blur_small_fn = trine_status (*)(trine_call *, const trine_blur_weights &, bool, const trine_blur_shape &, uint8_t *,
                                       const uint8_t *);

/* False, and nothing done, for what is none of it. */
inline bool blur_small(trine_call *call, const trine_blur_weights &w, bool gaussian, const trine_blur_shape &shape, uint8_t *y,
                       const uint8_t *x, trine_status *status)
{
    static constexpr blur_small_fn table[][blur_small_radius] = {
        {blur_small_run<1, 1>, blur_small_run<1, 2>, blur_small_run<1, 3>},
        {blur_small_run<3, 1>, blur_small_run<3, 2>, blur_small_run<3, 3>},
        {blur_small_run<4, 1>, blur_small_run<4, 2>, blur_small_run<4, 3>},
    };
    const int row = blur_small_row(shape, y, x, 4);
    const int64_t most = 0x3fffffff;
    if (row < 0 || shape.height > most || shape.row > most || w.radius < 1 || w.radius > blur_small_radius) return false;
    *status = table[row][w.radius - 1](call, w, gaussian, shape, y, x);
    return true;
}

} // namespace simt

#endif
