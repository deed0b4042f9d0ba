/* Blurs of floats with a radius of 1 to 3 and 1, 3 or 4 interleaved channels: four elements a thread.
 *
 * As in blur_small.h a thread takes one pack of a row and goes down the image, and the packs around it have the taps at known
 * places; the last 2 radius + 1 sums along a row stay in registers. The next row's packs are on their way while one is summed,
 * and rows further down on theirs to the cache that all blocks share. About 2 (2 radius + 1) multiply-adds an element, so that
 * bytes bound it. */
#ifndef TRINE_SIMT_BLUR_FLOATS_H
#define TRINE_SIMT_BLUR_FLOATS_H

#include "backends/simt/blur_blocks.h"
#include "backends/simt/types.h"

namespace simt {

/* The packs around a thread's own in a row, and the sums of its four elements. */
template <class T, int step, int radius> struct blur_span {
    static constexpr int reach = (radius * step + 3) / 4, count = 2 * reach + 1;
    pack<T, 4> at[count];

    /* x: the thread's own pack; those from `before` packs before it to `after` packs after it are inside the row. */
    TRINE_DEVICE_METHOD void load(const T *x, bool inside, int32_t before, int32_t after)
    {
#pragma unroll
        for (int j = -reach; j <= reach; j++) {
            if (inside && -j <= before && j <= after)
                at[j + reach] = load_pack<T, 4>(x + 4 * j);
            else
                at[j + reach] = pack<T, 4>{};
        }
    }
    TRINE_DEVICE_METHOD void sum(float (&to)[4], const blur_small_weights<float> &weights) const
    {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            to[i] = weights.at[0] * element(i);
#pragma unroll
            for (int d = 1; d <= radius; d++)
                to[i] = target::fma_rn(weights.at[d], element(i - d * step) + element(i + d * step), to[i]);
        }
    }

  private:
    TRINE_DEVICE_METHOD float element(int i) const { return to_f32(at[(i + 4 * reach) / 4].at[(i + 4 * reach) % 4]); }
};

template <class T, int step, int radius> struct blur_floats_descent {
    static constexpr int rows = 2 * radius + 1, ahead = 4;
    const blur_blocks &blocks;
    const blur_small_weights<float> &weights;
    const blur_place place;
    T *y;                  /* the thread's pack in row 0 */
    const T *x;            /* likewise */
    int32_t before, after; /* packs inside the row, as far as the span reaches */
    float across[4];       /* weights inside the image */
    float factor[4] = {};  /* one over the total in force */
    int32_t border = -1;   /* which rows are missing from it */
    float ring[rows][4] = {};
    blur_span<T, step, radius> next;

    TRINE_DEVICE_METHOD void load(int64_t row)
    {
        const bool inside = row >= 0 && row < blocks.shape.height && row < place.last + radius;
        const int64_t later = row + ahead;
        if (later < blocks.shape.height && later < place.last + radius) target::prefetch(x + later * blocks.shape.row);
        next.load(x + row * blocks.shape.row, inside, before, after);
    }
    template <int k> TRINE_DEVICE_METHOD void step_rows(int64_t base)
    {
        const int64_t out = base + k - radius;
        const blur_span<T, step, radius> now = next;
        load(base + k + 1);
        now.sum(ring[k], weights);
        if (out >= place.first && out < place.last) {
            const int32_t above = blur_reach(out, radius), below = blur_reach(blocks.shape.height - 1 - out, radius);
            if (border != above * 8 + below) {
                border = above * 8 + below;
                const float down = weights.template sum<radius>(above, below);
#pragma unroll
                for (int i = 0; i < 4; i++) factor[i] = target::div_ieee(1.0f, across[i] * down);
            }
            constexpr int middle = (k + radius + 1) % rows; /* k - radius */
            pack<T, 4> result;
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float sum = weights.at[0] * ring[middle][i];
#pragma unroll
                for (int d = 1; d <= radius; d++)
                    sum = target::fma_rn(weights.at[d], ring[(middle + d) % rows][i] + ring[(middle + rows - d) % rows][i], sum);
                result.at[i] = from_f32<T>(sum * factor[i]);
            }
            store_pack<T, 4>(y + out * blocks.shape.row, result);
        }
        if constexpr (k + 1 < rows) step_rows<k + 1>(base);
    }
};

template <class T, int step, int radius> TRINE_KERNEL(blur_small_threads)
blur_floats_kernel(blur_small_weights<float> weights, blur_blocks blocks, T *y, const T *x)
{
    const trine_blur_shape &s = blocks.shape;
    const blur_place place = blur_place_of(blocks);
    const int64_t packs = s.row / 4, own = place.plane * s.height * s.row + place.across * 4;
    if (place.across >= packs) return;
    constexpr int reach = blur_span<T, step, radius>::reach;
    blur_floats_descent<T, step, radius> way{
        blocks, weights, place, y + own, x + own, blur_reach(place.across, reach), blur_reach(packs - 1 - place.across, reach),
        {},     {},      -1,    {},      {}};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int64_t column = (place.across * 4 + i) / step;
        way.across[i] = weights.template sum<radius>(blur_reach(column, radius), blur_reach(s.width - 1 - column, radius));
    }
    way.load(place.first - radius);
    for (int64_t base = place.first - radius; base < place.last + radius; base += 2 * radius + 1) way.template step_rows<0>(base);
}

/* ---- Host ---- */

template <class T, int step, int radius> inline trine_status
blur_floats_run(trine_call *call, const blur_small_weights<float> &weights, const trine_blur_shape &shape, T *y, const T *x)
{
    const blur_blocks blocks = blur_blocks_of(call, shape, ceil_div(shape.row / 4, blur_small_threads), radius);
    return launch(call, blur_floats_kernel<T, step, radius>, blocks.all(), blur_small_threads, 0, weights, blocks, y, x);
}

/* at: the weights of the distances 0 to radius. False, and nothing done, for what is none of it. */
template <class T> inline bool blur_floats(trine_call *call, const float *at, int32_t radius, const trine_blur_shape &shape, T *y,
                                           const T *x, trine_status *status)
{
    using fn = trine_status (*)(trine_call *, const blur_small_weights<float> &, const trine_blur_shape &, T *, const T *);
    static constexpr fn table[][blur_small_radius] = {
        {blur_floats_run<T, 1, 1>, blur_floats_run<T, 1, 2>, blur_floats_run<T, 1, 3>},
        {blur_floats_run<T, 3, 1>, blur_floats_run<T, 3, 2>, blur_floats_run<T, 3, 3>},
        {blur_floats_run<T, 4, 1>, blur_floats_run<T, 4, 2>, blur_floats_run<T, 4, 3>},
    };
    const int row = blur_small_row(shape, y, x, 4 * sizeof(T));
    if (row < 0 || radius < 1 || radius > blur_small_radius) return false;
    blur_small_weights<float> weights;
    memcpy(weights.at, at, sizeof weights.at);
    *status = table[row][radius - 1](call, weights, shape, y, x);
    return true;
}

} // namespace simt

#endif
