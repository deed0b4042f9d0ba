/* Box and gaussian blur. Separable: a thread follows one element of a row down the image, makes the weighted sum along the row
 * for every row that it comes to, and from the last 2 radius + 1 of these, kept in a ring, the sum along the column. A block's
 * threads lie side by side on a row; nothing passes between them, so that there are no barriers, and neighbours meet in the L1
 * cache. A block makes several times more rows than the ring has, for the 2 radius rows that it needs beyond its own are extra.
 *
 * Bytes bound small radii only; in general it is 2 (2 radius + 1) multiply-adds and loads an element. Small radii have
 * kernels of their own, blur_small.h and blur_floats.h.
 *
 * u8: exact. Sums along a row fit 32 bits (255 (2^12 * 129) < 2^28); along a column a box's do (255 * 129^2), a gaussian's
 * take 64. Floats: f32 sums, weights / 2^12. */
#ifndef TRINE_SIMT_BLUR_H
#define TRINE_SIMT_BLUR_H

#include "backends/simt/blur_floats.h"
#include "backends/simt/blur_small.h"
#include "backends/simt/launch.h"
#include "backends/simt/types.h"
#include "core/blur_weights.h"

namespace simt {

enum { blur_threads = 256, blur_ring_bytes = 36 * 1024 };

template <class W> struct blur_taps {
    int32_t radius;
    W at[TRINE_BLUR_RADIUS_MAX + 1], sum[TRINE_BLUR_RADIUS_MAX + 1];
};

/* The sum along a row around *x, with `left` and `right` elements inside the image. */
template <class W> TRINE_DEVICE W blur_load(uint8_t x) { return W(x); }
template <class W, class T> TRINE_DEVICE W blur_load(T x) { return to_f32(x); }
template <class T, class W>
TRINE_DEVICE W blur_row(const blur_taps<W> &taps, const T *x, int64_t step, int32_t left, int32_t right)
{
    W sum = taps.at[0] * blur_load<W>(*x);
    const T *before = x, *after = x;
    for (int32_t d = 1; d <= taps.radius; d++) {
        before -= step;
        after += step;
        W pair = 0;
        if (d <= left) pair = blur_load<W>(*before);
        if (d <= right) pair += blur_load<W>(*after);
        sum += taps.at[d] * pair;
    }
    return sum;
}

template <class S> TRINE_DEVICE void blur_store(uint8_t *y, S sum, S total)
{
    *y = uint8_t(blur_quotient(sum, total, target::rcp_fast(float(total))));
}
template <class T> TRINE_DEVICE void blur_store(T *y, float sum, float total) { *y = from_f32<T>(target::div_ieee(sum, total)); }

/* The sum along a column of the ring, whose row `middle` is the output's; there are `above` and `below` rows inside the image. */
template <class W, class V>
TRINE_DEVICE V blur_column(const blur_taps<W> &taps, const W *ring, int32_t middle, int32_t above, int32_t below)
{
    const int32_t size = 2 * taps.radius + 1, pitch = target::block_threads();
    int32_t up = middle, down = middle;
    V sum = V(taps.at[0]) * ring[middle * pitch];
    for (int32_t d = 1; d <= taps.radius; d++) {
        up = up == 0 ? size - 1 : up - 1;
        down = down == size - 1 ? 0 : down + 1;
        W pair = 0;
        if (d <= above) pair = ring[up * pitch];
        if (d <= below) pair += ring[down * pitch];
        sum += V(taps.at[d]) * pair;
    }
    return sum;
}

template <class T, class W, class V> TRINE_KERNEL(blur_threads)
blur_kernel(blur_taps<W> taps, blur_blocks blocks, T *y, const T *x)
{
    const trine_blur_shape &s = blocks.shape;
    const blur_place place = blur_place_of(blocks);
    const int64_t first = place.first, last = place.last, e = place.across;
    if (e >= s.row) return;
    const int64_t column = e / s.step;
    const int32_t radius = taps.radius, size = 2 * radius + 1;
    const int32_t left = blur_reach(column, radius), right = blur_reach(s.width - 1 - column, radius);
    const V total = V(taps.sum[left] + taps.sum[right] - taps.at[0]);
    W *ring = reinterpret_cast<W *>(target::dynamic_shared()) + target::thread_x();
    x += place.plane * s.height * s.row + e;
    y += place.plane * s.height * s.row + e;
    int32_t slot = 0, middle = size - radius; /* of the row that comes in and, once it goes round, of the row that goes out */
    for (int64_t in = first < radius ? 0 : first - radius; in < last + radius; in++) {
        if (in < s.height) ring[slot * target::block_threads()] = blur_row(taps, x + in * s.row, s.step, left, right);
        const int64_t out = in - radius;
        middle = middle == size ? 0 : middle;
        if (out >= first) {
            const int32_t above = blur_reach(out, radius), below = blur_reach(s.height - 1 - out, radius);
            const V sum = blur_column<W, V>(taps, ring, middle, above, below);
            blur_store(y + out * s.row, sum, V(total * V(taps.sum[above] + taps.sum[below] - taps.at[0])));
        }
        slot = slot + 1 == size ? 0 : slot + 1;
        middle++;
    }
}

/* ---- Host ---- */

inline blur_taps<uint32_t> blur_taps_of(tag<uint8_t>, const trine_blur_weights &w, float)
{
    blur_taps<uint32_t> t;
    t.radius = w.radius;
    memcpy(t.at, w.at, sizeof t.at);
    memcpy(t.sum, w.sum, sizeof t.sum);
    return t;
}
template <class T> inline blur_taps<float> blur_taps_of(tag<T>, const trine_blur_weights &w, float sigma)
{
    const float scale = sigma > 0 ? 1.0f / TRINE_BLUR_ONE : 1.0f;
    blur_taps<float> t;
    t.radius = w.radius;
    for (int d = 0; d <= TRINE_BLUR_RADIUS_MAX; d++) {
        t.at[d] = float(w.at[d]) * scale;
        t.sum[d] = float(w.sum[d]) * scale;
    }
    return t;
}

template <class T, class V, class W>
inline trine_status blur_launch(trine_call *call, const blur_taps<W> &taps, const trine_blur_shape &shape, T *y, const T *x)
{
    int threads = blur_threads;
    while (threads > 64 && size_t(threads) * (2 * taps.radius + 1) * sizeof(W) > blur_ring_bytes) threads /= 2;
    const blur_blocks blocks = blur_blocks_of(call, shape, ceil_div(shape.row, threads), taps.radius);
    return launch(call, blur_kernel<T, W, V>, blocks.all(), threads, size_t(threads) * (2 * taps.radius + 1) * sizeof(W), taps,
                  blocks, y, x);
}

/* sigma 0: a box. */
inline trine_status blur(trine_call *call, const trine_blur_args *a, float sigma)
{
    const trine_blur_shape shape = trine_blur_shape_of(a);
    const trine_blur_weights w = trine_blur_weights_make(a->radius, sigma);
    if (shape.planes * shape.height * shape.row == 0) return TRINE_OK;
    if (a->x.dtype == TRINE_U8) {
        uint8_t *y = data_of<uint8_t>(a->y);
        const uint8_t *x = data_of<uint8_t>(a->x);
        trine_status status;
        if (blur_small(call, w, sigma > 0, shape, y, x, &status)) return status;
        const blur_taps<uint32_t> taps = blur_taps_of(tag<uint8_t>{}, w, sigma);
        return sigma > 0 ? blur_launch<uint8_t, uint64_t>(call, taps, shape, y, x)
                         : blur_launch<uint8_t, uint32_t>(call, taps, shape, y, x);
    }
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        const blur_taps<float> taps = blur_taps_of(t, w, sigma);
        T *y = data_of<T>(a->y);
        const T *x = data_of<T>(a->x);
        trine_status status;
        if (blur_floats(call, taps.at, taps.radius, shape, y, x, &status)) return status;
        return blur_launch<T, float>(call, taps, shape, y, x);
    });
}

} // namespace simt

#endif
