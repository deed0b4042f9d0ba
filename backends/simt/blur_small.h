/* Blurs of u8 with a radius of 1 to 3 and 1, 3 or 4 interleaved channels: four bytes a thread.
 *
 * A thread takes one word of a row and goes down the image; the words around it are the taps' bytes at known places, so that
 * everything stays in registers. It loads as many rows at once as its ring has, which keeps enough bytes in flight. What lies
 * outside the image counts as 0 and is missing from the total. A box adds bytes in pairs of 16 bits (255 * 7 * 8 < 2^16), down
 * the column as a running sum, and divides by one multiplication: about 14 instructions a byte, so that bytes bound it. A
 * gaussian multiplies integers along the row, whose sums are exact in f32, and f32 down the column; where the quotient lies so near
 * the middle between two bytes that f32 can't tell, the word is made again in 64 bits. */
#ifndef TRINE_SIMT_BLUR_SMALL_H
#define TRINE_SIMT_BLUR_SMALL_H

#include "backends/simt/launch.h"
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

enum { blur_small_threads = 128, blur_small_radius = 3 };

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

/* The words around a thread's own, the middle one of `count`. */
template <int step, int radius> struct blur_window {
    static constexpr int reach = (radius * step + 3) / 4, count = 2 * reach + 1;
    uint32_t word[count];
    /* The four bytes that lie d pixels further along the row. */
    template <int d> TRINE_DEVICE_METHOD uint32_t tap() const
    {
        constexpr int byte = d * step + 4 * reach, first = byte / 4, shift = byte % 4 * 8;
        if constexpr (shift == 0)
            return word[first];
        else
            return uint32_t((uint64_t(word[first + 1]) << 32 | word[first]) >> shift);
    }
};

constexpr uint32_t even_bytes = 0x00ff00ffu;

/* Sums of the rows in the ring, and what they become. Row k of the ring is replaced by push<k>; result<k> is then of the row
 * `radius` before it. */
template <int step, int radius> struct blur_box {
    static constexpr int rows = 2 * radius + 1;
    uint32_t even[rows] = {}, odd[rows] = {}, even_sum = 0, odd_sum = 0; /* bytes 0 and 2, 1 and 3 */
    uint32_t factor[4], half_even, half_odd;

    TRINE_DEVICE_METHOD void start(const blur_small_weights<uint32_t> &) {}
    template <int d> TRINE_DEVICE_METHOD static void add(const blur_window<step, radius> &w, uint32_t &e, uint32_t &o)
    {
        const uint32_t t = w.template tap<d>();
        e += t & even_bytes;
        o += t >> 8 & even_bytes;
        if constexpr (d < radius) add<d + 1>(w, e, o);
    }
    template <int k> TRINE_DEVICE_METHOD void push(const blur_small_weights<uint32_t> &, const blur_window<step, radius> &w)
    {
        uint32_t e = 0, o = 0;
        add<-radius>(w, e, o);
        even_sum = even_sum + e - even[k]; /* no half underflows: what is taken off is in it */
        odd_sum = odd_sum + o - odd[k];
        even[k] = e;
        odd[k] = o;
    }
    /* c: pixels inside the square of each byte. With factor = ceil(2^24 / c), n factor / 2^24 is n / c and less than 1 / c more
     * for n <= 255.5 c, and fits 32 bits. */
    TRINE_DEVICE_METHOD void set_total(const uint32_t (&across)[4], uint32_t down)
    {
        uint32_t half[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const uint32_t c = across[i] * down;
            factor[i] = (0x1000000u + c - 1u) / c;
            half[i] = c / 2u;
        }
        half_even = half[0] | half[2] << 16;
        half_odd = half[1] | half[3] << 16;
    }
    template <int k> TRINE_DEVICE_METHOD uint32_t result(const blur_small_weights<uint32_t> &) const
    {
        const uint32_t e = even_sum + half_even, o = odd_sum + half_odd;
        const uint32_t b0 = (e & 0xffffu) * factor[0], b1 = (o & 0xffffu) * factor[1], b2 = (e >> 16) * factor[2],
                       b3 = (o >> 16) * factor[3];
        return b0 >> 24 | (b1 >> 16 & 0xff00u) | (b2 >> 8 & 0xff0000u) | (b3 & 0xff000000u);
    }
};

/* Sums of a row are less than 2^23 and those of two rows less than 2^24: exact. The quotient's error: three roundings of the sum and
 * the reciprocal's, 255 (3 2^-24 + 2^-22) < 1.1e-4. */
template <int step, int radius> struct blur_gaussian {
    static constexpr int rows = 2 * radius + 1;
    static_assert(radius <= 3 && 255 * TRINE_BLUR_ONE * 7 < 1 << 23, "exact sums");
    float row[rows][4] = {}, weight[radius + 1], reciprocal[4];
    uint32_t total[4];

    TRINE_DEVICE_METHOD void start(const blur_small_weights<uint32_t> &weights)
    {
#pragma unroll
        for (int d = 0; d <= radius; d++) weight[d] = float(weights.at[d]);
    }
    template <int d> TRINE_DEVICE_METHOD static void add(const blur_small_weights<uint32_t> &weights,
                                                         const blur_window<step, radius> &w, uint32_t (&sum)[4])
    {
        const uint32_t a = w.template tap<d>(), b = d ? w.template tap<-d>() : 0u;
        const uint32_t e = (a & even_bytes) + (b & even_bytes), o = (a >> 8 & even_bytes) + (b >> 8 & even_bytes);
        sum[0] += weights.at[d] * (e & 0xffffu);
        sum[1] += weights.at[d] * (o & 0xffffu);
        sum[2] += weights.at[d] * (e >> 16);
        sum[3] += weights.at[d] * (o >> 16);
        if constexpr (d < radius) add<d + 1>(weights, w, sum);
    }
    template <int k>
    TRINE_DEVICE_METHOD void push(const blur_small_weights<uint32_t> &weights, const blur_window<step, radius> &w)
    {
        uint32_t sum[4] = {};
        add<0>(weights, w, sum);
#pragma unroll
        for (int i = 0; i < 4; i++) row[k][i] = float(sum[i]);
    }
    TRINE_DEVICE_METHOD void set_total(const uint32_t (&across)[4], uint32_t down)
    {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            total[i] = across[i] * down; /* less than 2^30 */
            reciprocal[i] = target::rcp_fast(float(total[i]));
        }
    }
    /* The rows at a distance from the one that is made. */
    template <int k> static TRINE_METHOD constexpr int above(int d) { return (k + radius + 1 + d) % rows; }
    template <int k> static TRINE_METHOD constexpr int below(int d) { return (k + radius + 1 + rows - d) % rows; }
    template <int k> TRINE_DEVICE_METHOD uint32_t exactly(const blur_small_weights<uint32_t> &weights) const
    {
        uint32_t word = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            uint64_t sum = uint64_t(weights.at[0]) * uint32_t(row[above<k>(0)][i]);
#pragma unroll
            for (int d = 1; d <= radius; d++)
                sum += uint64_t(weights.at[d]) * uint32_t(row[above<k>(d)][i] + row[below<k>(d)][i]);
            word |= blur_quotient(sum, uint64_t(total[i]), reciprocal[i]) << 8 * i;
        }
        return word;
    }
    template <int k> TRINE_DEVICE_METHOD uint32_t result(const blur_small_weights<uint32_t> &weights) const
    {
        constexpr float whole = 0x1p23f; /* added to a small number it leaves the nearest integer in the last bits */
        uint32_t byte[4];
        float farthest = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float sum = weight[0] * row[above<k>(0)][i];
#pragma unroll
            for (int d = 1; d <= radius; d++) sum = target::fma_rn(weight[d], row[above<k>(d)][i] + row[below<k>(d)][i], sum);
            const float near = target::fma_rn(sum, reciprocal[i], whole);
            const float off = target::fma_rn(sum, reciprocal[i], whole - near);
            farthest = target::maximum(farthest, off < 0 ? -off : off);
            byte[i] = trine_bits_of_f32(near);
        }
        if (farthest > 0.4998f) return exactly<k>(weights);
        return target::byte_permute<0x5410>(target::byte_permute<0x0040>(byte[0], byte[1]),
                                            target::byte_permute<0x0040>(byte[2], byte[3]));
    }
};

/* ---- The kernel ---- */

/* A thread's way down the image, as many rows at a time as the ring has. */
template <int step, int radius, class Sums> struct blur_descent {
    const blur_blocks &blocks;
    const blur_small_weights<uint32_t> &weights;
    const blur_place place;
    const int64_t words; /* of a row */
    uint32_t *y;         /* the thread's word in row 0 */
    Sums sums;
    uint32_t across[4];
    int32_t border = -1; /* which rows are missing from the total in force */

    template <int k> TRINE_DEVICE_METHOD void step_rows(const blur_window<step, radius> (&window)[Sums::rows], int64_t base)
    {
        const int64_t out = base + k - radius;
        sums.template push<k>(weights, window[k]);
        if (out >= place.first && out < place.last) {
            const int32_t above = blur_reach(out, radius), below = blur_reach(blocks.shape.height - 1 - out, radius);
            if (border != above * 8 + below) {
                border = above * 8 + below;
                sums.set_total(across, weights.template sum<radius>(above, below));
            }
            y[out * words] = sums.template result<k>(weights);
        }
        if constexpr (k + 1 < Sums::rows) step_rows<k + 1>(window, base);
    }
};

template <int step, int radius, class Sums> TRINE_KERNEL(blur_small_threads)
blur_small_kernel(blur_small_weights<uint32_t> weights, blur_blocks blocks, uint32_t *y, const uint32_t *x)
{
    constexpr int reach = blur_window<step, radius>::reach, rows = Sums::rows;
    const trine_blur_shape &s = blocks.shape;
    const blur_place place = blur_place_of(blocks);
    const int64_t words = s.row / 4, plane = place.plane * s.height * words;
    if (place.across >= words) return;
    blur_descent<step, radius, Sums> way{blocks, weights, place, words, y + plane + place.across, {}, {}};
    way.sums.start(weights);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int64_t column = (place.across * 4 + i) / step;
        way.across[i] = weights.template sum<radius>(blur_reach(column, radius), blur_reach(s.width - 1 - column, radius));
    }
    const uint32_t *own = x + plane + place.across;
    const int32_t before = blur_reach(place.across, reach), after = blur_reach(words - 1 - place.across, reach);
    for (int64_t base = place.first - radius; base < place.last + radius; base += rows) {
        blur_window<step, radius> window[rows];
#pragma unroll
        for (int k = 0; k < rows; k++) {
            const bool inside = base + k >= 0 && base + k < s.height && base + k < place.last + radius;
            const uint32_t *row = own + (base + k) * words;
#pragma unroll
            for (int j = -reach; j <= reach; j++) window[k].word[j + reach] = inside && -j <= before && j <= after ? row[j] : 0u;
        }
        way.template step_rows<0>(window, base);
    }
}

/* ---- Host ---- */

template <int step, int radius> inline trine_status blur_small_run(trine_call *call, const trine_blur_weights &w, bool gaussian,
                                                                   const trine_blur_shape &shape, uint8_t *y, const uint8_t *x)
{
    blur_small_weights<uint32_t> weights;
    memcpy(weights.at, w.at, sizeof weights.at);
    const blur_blocks blocks = blur_blocks_of(call, shape, ceil_div(shape.row / 4, blur_small_threads), radius);
    uint32_t *to = reinterpret_cast<uint32_t *>(y);
    const uint32_t *from = reinterpret_cast<const uint32_t *>(x);
    if (gaussian)
        return launch(call, blur_small_kernel<step, radius, blur_gaussian<step, radius>>, blocks.all(), blur_small_threads, 0,
                      weights, blocks, to, from);
    return launch(call, blur_small_kernel<step, radius, blur_box<step, radius>>, blocks.all(), blur_small_threads, 0, weights,
                  blocks, to, from);
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
    if (row < 0 || w.radius < 1 || w.radius > blur_small_radius) return false;
    *status = table[row][w.radius - 1](call, w, gaussian, shape, y, x);
    return true;
}

} // namespace simt

#endif
