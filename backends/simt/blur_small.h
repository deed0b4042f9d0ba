/* Blurs of u8 with a radius of 1 to 3 and 1, 3 or 4 interleaved channels: eight bytes a thread.
 *
 * A thread takes two words of a row and goes down the image; the words around them are the taps' bytes at known places, so that
 * everything stays in registers. It loads as many rows at once as its ring has, which keeps enough bytes in flight. Instructions
 * bound these kernels, those that go at half the rate most: so bytes are not taken out of their words but multiplied there by
 * weights, two or four at a time. A box's running sum down the column is divided by one multiplication. A gaussian's sums along a
 * row are exact in f32, in which it goes on; where a quotient lies so near the middle between two bytes that f32 can't tell, it is
 * compared with the sum in integers.
 *
 * All this is for words whose taps are inside the image. The others, a frame, are made tap by tap by blocks of their own. */
#ifndef TRINE_SIMT_BLUR_SMALL_H
#define TRINE_SIMT_BLUR_SMALL_H

#include "backends/simt/blur_blocks.h"
#include "backends/simt/types.h"

namespace simt {

/* ---- Words of four bytes ---- */

enum { blur_words = 2 /* a thread */ };

/* The words around a thread's own. `at`, in bytes, counts from the first of the window. */
template <int step, int radius> struct blur_window {
    static constexpr int reach = (radius * step + 3) / 4, count = 2 * reach + blur_words;
    uint32_t word[count];

    /* Bytes `at`, `at` + step, and the ones behind each. */
    template <int at> TRINE_DEVICE_METHOD uint32_t taps() const
    {
        constexpr uint32_t o = at % 4, selector = o | (o + step) << 4 | (o + 1) << 8 | (o + step + 1) << 12;
        static_assert(o + step + 1 < 8, "in two words");
        return target::byte_permute<selector>(word[at / 4], word[at / 4 + 1]);
    }
    /* Adds the sums along the row to those of bytes b and b + 1: taps in pairs but for one, the last where the middle one would part
     * the others. */
    template <int b, int d, bool ones>
    TRINE_DEVICE_METHOD void add(const blur_small_weights<uint32_t> &weights, uint32_t (&sum)[2]) const
    {
        constexpr int alone = radius % 2 ? radius : 0, at = b + d * step, next = d == alone ? d + 1 : d + 2;
        if constexpr (ones && d == alone) {
            sum[0] = target::dot_of_four(1u << at % 4 * 8, word[at / 4], sum[0]);
            sum[1] = target::dot_of_four(1u << (at + 1) % 4 * 8, word[(at + 1) / 4], sum[1]);
        } else if constexpr (d == alone) {
            sum[0] = target::dot_of_pair<at % 4 / 2>(weights.at[alone] << at % 2 * 16, word[at / 4], sum[0]);
            sum[1] = target::dot_of_pair<(at + 1) % 4 / 2>(weights.at[alone] << (at + 1) % 2 * 16, word[(at + 1) / 4], sum[1]);
        } else if constexpr (ones) {
            const uint32_t four = taps<at>();
            sum[0] = target::dot_of_four(0x0101u, four, sum[0]);
            sum[1] = target::dot_of_four(0x01010000u, four, sum[1]);
        } else {
            const uint32_t two = weights.at[d < 0 ? -d : d] | weights.at[d + 1 < 0 ? -d - 1 : d + 1] << 16, four = taps<at>();
            sum[0] = target::dot_of_pair<0>(two, four, sum[0]);
            sum[1] = target::dot_of_pair<1>(two, four, sum[1]);
        }
        if constexpr (next <= radius) add<b, next, ones>(weights, sum);
    }
    /* Of all bytes. `ones`: all weights are 1. */
    template <bool ones, int b = 0>
    TRINE_DEVICE_METHOD void sums(const blur_small_weights<uint32_t> &weights, uint32_t (&to)[4 * blur_words]) const
    {
        uint32_t two[2] = {};
        add<4 * reach + b, -radius, ones>(weights, two);
        to[b] = two[0];
        to[b + 1] = two[1];
        if constexpr (b + 2 < 4 * blur_words) sums<ones, b + 2>(weights, to);
    }
    /* `own`: the thread's first word; `pairs`: words lie in pairs. */
    TRINE_DEVICE_METHOD void load(const uint32_t *own, bool pairs)
    {
        if (!pairs) {
#pragma unroll
            for (int j = 0; j < count; j++) word[j] = own[j - reach];
            return;
        }
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
};

/* What the host knows of an image. */
struct blur_small_image {
    trine_blur_shape shape;
    blur_blocks inner;                /* of rows and threads away from the borders */
    int64_t words;                    /* of a row */
    unsigned frame_blocks;            /* that come first */
    int32_t lead, across;             /* threads of a row before those, and those */
    bool pairs;                       /* words lie in pairs */
    uint32_t total, factor, rounding; /* what sums are divided by; of a box, see there */
    float half_reciprocal;
};

/* Sums of the rows in the ring, and what they become. Row k of the ring is replaced by push<k>; result<k> is then of the row
 * `radius` before it. */
template <int step, int radius> struct blur_box {
    static constexpr int rows = 2 * radius + 1, bytes = 4 * blur_words, pairs = bytes / 2,
                         blocks = radius < 3 ? 5 : 3; /* of a multiprocessor, without spills */
    uint32_t row[rows][pairs] = {}, sum[pairs] = {};  /* of 16 bits: 255 * 49 < 2^16 */

    TRINE_DEVICE_METHOD void start(const blur_small_weights<uint32_t> &) {}
    template <int k>
    TRINE_DEVICE_METHOD void push(const blur_small_weights<uint32_t> &weights, const blur_window<step, radius> &window)
    {
        uint32_t now[bytes];
        window.template sums<true>(weights, now);
#pragma unroll
        for (int i = 0; i < pairs; i++) {
            const uint32_t two = now[2 * i + 1] * 0x10000u + now[2 * i];
            sum[i] = sum[i] + two - row[k][i]; /* no half underflows: what is taken off is in it */
            row[k][i] = two;
        }
    }
    /* With factor = ceil(2^24 / c) for c pixels, n factor / 2^24 is n / c and less than 1 / c more for n <= 255.5 c, and fits 32 bits.
     */
    template <int k> TRINE_DEVICE_METHOD void result(const blur_small_weights<uint32_t> &, const blur_small_image &image,
                                                     uint32_t (&y)[blur_words]) const
    {
        const uint32_t factor = image.factor, rounding = image.rounding;
#pragma unroll
        for (int i = 0; i < blur_words; i++) {
            const uint32_t low = sum[2 * i], high = sum[2 * i + 1];
            const uint32_t b0 = (low & 0xffffu) * factor + rounding, b1 = (low >> 16) * factor + rounding,
                           b2 = (high & 0xffffu) * factor + rounding, b3 = (high >> 16) * factor + rounding;
            y[i] = target::byte_permute<0x5410>(target::byte_permute<0x0073>(b0, b1), target::byte_permute<0x0073>(b2, b3));
        }
    }
};

/* Sums of a row are less than 2^23 and those of two rows less than 2^24: exact. The quotient is made in units of half a byte, as
 * 128 + (quotient + 1/2) / 2: bits 15 to 22 are then the byte that it rounds to, and those below say how near the next one is. Its
 * error, from at most four roundings of the sum, the reciprocal's and its own: 255 (4 2^-24 + 2^-22) + 2^-16 < 1.4e-4, which is
 * less than 5 units of the last place; so many are added, so that only with less than 11 of them the byte may be another one. */
template <int step, int radius> struct blur_gaussian {
    static constexpr int rows = 2 * radius + 1, bytes = 4 * blur_words, blocks = radius < 3 ? 4 : 2;
    static constexpr float rounding = 128.25f + 5 * 0x1p-16f;
    static constexpr uint32_t doubtful = 11;
    static_assert(radius <= 3 && 255 * TRINE_BLUR_ONE * 7 < 1 << 23, "exact sums");
    float row[rows][bytes] = {}, weight[radius + 1];

    TRINE_DEVICE_METHOD void start(const blur_small_weights<uint32_t> &weights)
    {
#pragma unroll
        for (int d = 0; d <= radius; d++) weight[d] = float(weights.at[d]);
    }
    template <int k>
    TRINE_DEVICE_METHOD void push(const blur_small_weights<uint32_t> &weights, const blur_window<step, radius> &window)
    {
        uint32_t now[bytes];
        window.template sums<false>(weights, now);
#pragma unroll
        for (int i = 0; i < bytes; i++) row[k][i] = float(now[i]);
    }
    /* The rows at a distance from the one that is made. */
    template <int k> static TRINE_METHOD constexpr int above(int d) { return (k + radius + 1 + d) % rows; }
    template <int k> static TRINE_METHOD constexpr int below(int d) { return (k + radius + 1 + rows - d) % rows; }
    /* The quotient, which is `guess` or one off: what that leaves is less than 2^31, so that 32 bits of it are enough. */
    template <int k>
    TRINE_DEVICE_METHOD uint32_t exactly(const blur_small_weights<uint32_t> &weights, uint32_t total, int i, uint32_t guess) const
    {
        uint32_t rest = total / 2 - guess * total + weights.at[0] * uint32_t(row[above<k>(0)][i]); /* total < 2^30 */
#pragma unroll
        for (int d = 1; d <= radius; d++) rest += weights.at[d] * uint32_t(row[above<k>(d)][i] + row[below<k>(d)][i]);
        return int32_t(rest) < 0 ? guess - 1u : int32_t(rest) >= int32_t(total) ? guess + 1u : guess;
    }
    template <int k> TRINE_DEVICE_METHOD void result(const blur_small_weights<uint32_t> &weights, const blur_small_image &image,
                                                     uint32_t (&y)[blur_words]) const
    {
        uint32_t byte[bytes], sure = 0x80008000u;
#pragma unroll
        for (int i = 0; i < bytes; i++) {
            float sum = weight[0] * row[above<k>(0)][i];
#pragma unroll
            for (int d = 1; d <= radius; d++) sum = target::fma_rn(weight[d], row[above<k>(d)][i] + row[below<k>(d)][i], sum);
            byte[i] = trine_bits_of_f32(target::fma_rn(sum, image.half_reciprocal, rounding));
        }
#pragma unroll
        for (int i = 0; i < bytes; i += 2) /* both fractions at once, below a bit that a borrow clears */
            sure &= ((target::byte_permute<0x5410>(byte[i], byte[i + 1]) & 0x7fff7fffu) | 0x80008000u) - doubtful * 0x10001u;
        if (sure != 0x80008000u) {
#pragma unroll
            for (int i = 0; i < bytes; i++) byte[i] = exactly<k>(weights, image.total, i, byte[i] >> 15 & 0xffu) << 15;
        }
#pragma unroll
        for (int i = 0; i < blur_words; i++) {
            const uint32_t *const b = byte + 4 * i, low = target::byte_permute<0x6521>(b[0], b[1]),
                                  high = target::byte_permute<0x6521>(b[2], b[3]);
            y[i] = target::byte_permute<0x7531>(low + low, high + high);
        }
    }
};

/* ---- The kernel ---- */

/* A word of row r, tap by tap; those of a row are on their way together. */
template <int step, int radius> TRINE_DEVICE uint32_t blur_word(const blur_small_weights<uint32_t> &weights,
                                                                const trine_blur_shape &s, const uint8_t *plane, int64_t r,
                                                                int64_t word)
{
    uint64_t sum[4] = {};
    uint32_t down = 0, across[4], out = 0;
    int32_t column[4];
#pragma unroll
    for (int j = 0; j < 4; j++) {
        column[j] = int32_t((word * 4 + j) / step);
        across[j] = weights.template sum<radius>(blur_reach(column[j], radius), blur_reach(s.width - 1 - column[j], radius));
    }
#pragma unroll 1
    for (int32_t d = -blur_reach(r, radius); d <= blur_reach(s.height - 1 - r, radius); d++) {
        const uint8_t *const row = plane + (r + d) * s.row + word * 4;
        uint32_t along[4] = {};
#pragma unroll
        for (int a = -radius; a <= radius; a++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                if (uint32_t(column[j] + a) < uint32_t(s.width)) along[j] += weights.at[a < 0 ? -a : a] * row[j + a * step];
        const uint32_t weight = weights.of(d);
        down += weight;
#pragma unroll
        for (int j = 0; j < 4; j++) sum[j] += uint64_t(weight) * along[j];
    }
#pragma unroll
    for (int j = 0; j < 4; j++) {
        const uint64_t total = uint64_t(across[j]) * down;
        out |= blur_quotient(sum[j], total, target::rcp_fast(float(total))) << 8 * j;
    }
    return out;
}

/* Word `index` of the frame: of each plane the first and last `radius` rows, and of the rows between what lies beside the others. */
template <int step, int radius> TRINE_DEVICE void blur_frame(const blur_small_weights<uint32_t> &weights,
                                                             const blur_small_image &image, int64_t index, uint8_t *y,
                                                             const uint8_t *x)
{
    const trine_blur_shape &s = image.shape;
    const int64_t inner_rows = image.inner.shape.height, beside = image.words - image.across * blur_words,
                  outer = (s.height - inner_rows) * image.words, a_plane = outer + inner_rows * beside;
    const int64_t plane = index / a_plane, at = index - plane * a_plane;
    if (plane >= s.planes) return;
    int64_t row, word;
    if (at < outer) {
        row = at / image.words;
        word = at - row * image.words;
        if (row >= radius) row += inner_rows;
    } else {
        row = (at - outer) / beside;
        word = at - outer - row * beside;
        row += radius;
        if (word >= image.lead * blur_words) word += image.across * blur_words;
    }
    *reinterpret_cast<uint32_t *>(y + (plane * s.height + row) * s.row + word * 4) =
        blur_word<step, radius>(weights, s, x + plane * s.height * s.row, row, word);
}

/* A thread's way down the image, as many rows at a time as the ring has. */
template <int step, int radius, class Sums> struct blur_descent {
    const blur_small_weights<uint32_t> &weights;
    const blur_small_image &image;
    uint32_t *to;         /* the thread's first word in the row that the next sums are of */
    const uint32_t *next; /* in the row below the window */
    Sums sums;

    /* Of the window's rows, `begin` to `left` - 1 make one of the image each. As soon as one is added up, the one a ring further down
     * is asked for, if it is one of `left`. */
    template <int k>
    TRINE_DEVICE_METHOD void step_rows(blur_window<step, radius> (&window)[Sums::rows], int32_t begin, int32_t left)
    {
        sums.template push<k>(weights, window[k]);
        if (k + Sums::rows < left) window[k].load(next, image.pairs);
        next += image.words;
        if (begin <= k && k < left) {
            uint32_t word[blur_words];
            sums.template result<k>(weights, image, word);
            if (image.pairs) {
                store_pack<uint32_t, 2>(to, pack<uint32_t, 2>{{word[0], word[1]}});
            } else {
                to[0] = word[0];
                to[1] = word[1];
            }
        }
        to += image.words;
        if constexpr (k + 1 < Sums::rows) step_rows<k + 1>(window, begin, left);
    }
};

template <int step, int radius, class Sums> TRINE_CROWDED_KERNEL(blur_small_threads, Sums::blocks)
blur_small_kernel(blur_small_weights<uint32_t> weights, blur_small_image image, uint32_t *y, const uint32_t *x)
{
    constexpr int rows = Sums::rows;
    if (target::block_x() < image.frame_blocks)
        return blur_frame<step, radius>(weights, image, int64_t(target::block_x()) * blur_small_threads + target::thread_x(),
                                        reinterpret_cast<uint8_t *>(y), reinterpret_cast<const uint8_t *>(x));
    const blur_place place = blur_place_of(image.inner, target::block_x() - image.frame_blocks);
    if (place.across >= image.across) return;
    /* row `first` of the inner ones is made from rows `first` to first + 2 radius of the image */
    const int64_t own = (place.plane * image.shape.height + place.first) * image.words + (image.lead + place.across) * blur_words;
    blur_descent<step, radius, Sums> way{weights, image, y + (own - radius * image.words), x + own, {}};
    way.sums.start(weights);
    int32_t begin = rows - 1, left = int32_t(place.last - place.first) + 2 * radius;
    blur_window<step, radius> window[rows]; /* there are at least as many rows */
#pragma unroll
    for (int k = 0; k < rows; k++, way.next += image.words) window[k].load(way.next, image.pairs);
    for (; left > 0; left -= rows, begin = 0) way.template step_rows<0>(window, begin, left);
}

/* ---- Host ---- */

template <int step, int radius> inline trine_status blur_small_run(trine_call *call, const trine_blur_weights &w, bool gaussian,
                                                                   const trine_blur_shape &shape, uint8_t *y, const uint8_t *x)
{
    constexpr int reach = blur_window<step, radius>::reach;
    blur_small_weights<uint32_t> weights;
    memcpy(weights.at, w.at, sizeof weights.at);
    trine_blur_shape inner = shape;
    blur_small_image image;
    image.shape = shape;
    image.words = shape.row / 4;
    image.lead = (reach + blur_words - 1) / blur_words;
    const int64_t last = (image.words - reach) / blur_words; /* thread, whose words still have all around them */
    image.across = last > image.lead ? int32_t(last - image.lead) : 0;
    inner.height = image.across && shape.height > 2 * radius ? shape.height - 2 * radius : 0;
    image.inner = blur_blocks_of(call, inner, ceil_div(image.across, blur_small_threads), radius);
    image.pairs = shape.row % 8 == 0 && (reinterpret_cast<uintptr_t>(y) | reinterpret_cast<uintptr_t>(x)) % 8 == 0;
    const uint32_t along = 2 * w.sum[radius] - w.at[0];
    image.total = along * along;
    image.factor = (0x1000000u + image.total - 1u) / image.total;
    image.rounding = image.total / 2u * image.factor;
    image.half_reciprocal = 0.5f / float(image.total);
    const int64_t frame = shape.planes * (shape.height * image.words - inner.height * image.across * blur_words);
    image.frame_blocks = unsigned(ceil_div(frame, blur_small_threads));
    const grid g(image.inner.blocks() + image.frame_blocks);
    uint32_t *to = reinterpret_cast<uint32_t *>(y);
    const uint32_t *from = reinterpret_cast<const uint32_t *>(x);
    if (gaussian)
        return launch(call, blur_small_kernel<step, radius, blur_gaussian<step, radius>>, g, blur_small_threads, 0, weights,
                      image, to, from);
    return launch(call, blur_small_kernel<step, radius, blur_box<step, radius>>, g, blur_small_threads, 0, weights, image, to,
                  from);
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
