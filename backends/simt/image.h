/* Images. rgb_to_gray, invert and color_pattern are bound by bytes: a thread moves 16-byte packs, whole pixels of them; unaligned
 * images go element by element. The blurs are in blur.h. */
#ifndef TRINE_SIMT_IMAGE_H
#define TRINE_SIMT_IMAGE_H

#include "backends/simt/blur.h"
#include "backends/simt/divider.h"
#include "backends/simt/launch.h"
#include "backends/simt/types.h"

namespace simt {

enum { image_threads = 256, image_invert_packs = 4 };

/* u8 or a float. */
template <class F> inline trine_status visit_pixels(trine_call *call, trine_dtype dtype, F f)
{
    return dtype == TRINE_U8 ? f(tag<uint8_t>{}) : visit_floats(call, dtype, f);
}
template <class T> constexpr int image_pack = 16 / int(sizeof(T));

/* ---- rgb_to_gray ---- */

struct gray_weights {
    uint32_t whole[3];
    float part[3];
};

TRINE_DEVICE uint8_t gray_of(const gray_weights &w, uint8_t r, uint8_t g, uint8_t b)
{
    return uint8_t((w.whole[0] * r + w.whole[1] * g + w.whole[2] * b + 0x8000u) >> 16);
}
template <class T> TRINE_DEVICE T gray_of(const gray_weights &w, T r, T g, T b)
{
    return from_f32<T>(target::fma_rn(w.part[0], to_f32(r), target::fma_rn(w.part[1], to_f32(g), w.part[2] * to_f32(b))));
}

/* V pixels a thread: C packs that follow each other. */
template <int V, int C, class T> TRINE_KERNEL(image_threads) gray_hwc_kernel(gray_weights w, int64_t pixels, T *y, const T *x)
{
    const int64_t first = (int64_t(target::block_x()) * image_threads + target::thread_x()) * V;
    if (first + V <= pixels) {
        pack<T, V> in[C], out;
#pragma unroll
        for (int k = 0; k < C; k++) in[k] = load_pack<T, V>(x + first * C + k * V);
#pragma unroll
        for (int i = 0; i < V; i++) {
            const auto channel = [&](int c) { return in[(i * C + c) / V].at[(i * C + c) % V]; };
            out.at[i] = gray_of(w, channel(0), channel(1), channel(2));
        }
        store_pack<T, V>(y + first, out);
    } else {
        for (int64_t p = first; p < pixels; p++) y[p] = gray_of(w, x[p * C], x[p * C + 1], x[p * C + 2]);
    }
}

/* V pixels a thread, from three planes; V divides the size of a plane. */
template <int V, class T> TRINE_KERNEL(image_threads)
gray_chw_kernel(gray_weights w, divider_any packs_a_plane, int64_t channels, int64_t packs, T *y, const T *x)
{
    const int64_t p = int64_t(target::block_x()) * image_threads + target::thread_x();
    if (p >= packs) return;
    const int64_t image = packs_a_plane.divide(p), plane = int64_t(packs_a_plane.d) * V;
    const T *from = x + image * channels * plane + (p - image * int64_t(packs_a_plane.d)) * V;
    const pack<T, V> r = load_pack<T, V>(from), g = load_pack<T, V>(from + plane), b = load_pack<T, V>(from + 2 * plane);
    pack<T, V> out;
#pragma unroll
    for (int i = 0; i < V; i++) out.at[i] = gray_of(w, r.at[i], g.at[i], b.at[i]);
    store_pack<T, V>(y + p * V, out);
}

inline gray_weights gray_weights_of(trine_gray_weights standard)
{
    if (standard == TRINE_GRAY_BT709) return gray_weights{{13763, 47186, 4587}, {0.21f, 0.72f, 0.07f}};
    return gray_weights{{19595, 38470, 7471}, {0.299f, 0.587f, 0.114f}};
}

template <int V, class T> inline trine_status gray_chw(trine_call *call, const gray_weights &w, int64_t plane, int64_t channels,
                                                       int64_t pixels, T *y, const T *x)
{
    const int64_t packs = pixels / V;
    const grid g(ceil_div(packs, image_threads));
    return launch(call, gray_chw_kernel<V, T>, g, image_threads, 0, w, divider_any(plane / V), channels, packs, y, x);
}

template <class T> inline trine_status gray(trine_call *call, const trine_rgb_to_gray_args *a)
{
    constexpr int V = image_pack<T>;
    const gray_weights w = gray_weights_of(a->weights);
    const int64_t pixels = trine_tensor_numel(&a->y);
    T *y = data_of<T>(a->y);
    const T *x = data_of<T>(a->x);
    const bool aligned = aligned16(y) && aligned16(x);
    if (pixels == 0) return TRINE_OK;
    if (a->layout == TRINE_IMAGE_CHW) {
        const int64_t plane = a->x.shape[a->x.ndim - 2] * a->x.shape[a->x.ndim - 1], channels = a->x.shape[a->x.ndim - 3];
        return aligned && plane % V == 0 ? gray_chw<V>(call, w, plane, channels, pixels, y, x)
                                         : gray_chw<1>(call, w, plane, channels, pixels, y, x);
    }
    const grid packs(ceil_div(pixels, V * image_threads)), single(ceil_div(pixels, image_threads));
    if (a->x.shape[a->x.ndim - 1] == 3)
        return aligned ? launch(call, gray_hwc_kernel<V, 3, T>, packs, image_threads, 0, w, pixels, y, x)
                       : launch(call, gray_hwc_kernel<1, 3, T>, single, image_threads, 0, w, pixels, y, x);
    return aligned ? launch(call, gray_hwc_kernel<V, 4, T>, packs, image_threads, 0, w, pixels, y, x)
                   : launch(call, gray_hwc_kernel<1, 4, T>, single, image_threads, 0, w, pixels, y, x);
}

/* ---- invert ---- */

TRINE_DEVICE uint8_t inverse(uint8_t x) { return uint8_t(255 - x); }
template <class T> TRINE_DEVICE T inverse(T x) { return from_f32<T>(1.0f - to_f32(x)); }

/* Fourth channels are the elements 3, 7, ... of a pack, which begins at a multiple of 4. */
template <class T, int V> TRINE_DEVICE void invert_pack(pack<T, V> &p, bool keep_alpha)
{
    if constexpr (sizeof(T) == 1) {
        uint32_t *word = reinterpret_cast<uint32_t *>(&p);
#pragma unroll
        for (int i = 0; i < V / 4; i++) word[i] ^= keep_alpha ? 0x00ffffffu : 0xffffffffu;
    } else {
#pragma unroll
        for (int i = 0; i < V; i++)
            if (!(keep_alpha && i % 4 == 3)) p.at[i] = inverse(p.at[i]);
    }
}

template <int V, class T> TRINE_KERNEL(image_threads) invert_kernel(bool keep_alpha, int64_t n, T *y, const T *x)
{
    constexpr int U = image_invert_packs;
    const int64_t packs = n / V, first = int64_t(target::block_x()) * (image_threads * U) + target::thread_x();
    pack<T, V> p[U] = {};
#pragma unroll
    for (int u = 0; u < U; u++)
        if (first + u * image_threads < packs) p[u] = load_pack<T, V>(x + (first + u * image_threads) * V);
#pragma unroll
    for (int u = 0; u < U; u++)
        if (first + u * image_threads < packs) {
            invert_pack(p[u], keep_alpha);
            store_pack<T, V>(y + (first + u * image_threads) * V, p[u]);
        }
    const int64_t rest = packs * V + first;
    if (target::block_x() == 0 && target::thread_x() < V && rest < n)
        y[rest] = keep_alpha && rest % 4 == 3 ? x[rest] : inverse(x[rest]);
}

template <class T> TRINE_KERNEL(image_threads) invert_elements_kernel(bool keep_alpha, int64_t n, T *y, const T *x)
{
    const int64_t i = int64_t(target::block_x()) * image_threads + target::thread_x();
    if (i < n) y[i] = keep_alpha && i % 4 == 3 ? x[i] : inverse(x[i]);
}

template <class T> inline trine_status invert(trine_call *call, const trine_invert_args *a)
{
    constexpr int V = image_pack<T>;
    const int64_t n = trine_tensor_numel(&a->y);
    T *y = data_of<T>(a->y);
    const T *x = data_of<T>(a->x);
    if (n == 0) return TRINE_OK;
    if (aligned16(y) && aligned16(x))
        return launch(call, invert_kernel<V, T>, grid(ceil_div(ceil_div(n, V), image_threads * image_invert_packs)),
                      image_threads, 0, a->keep_alpha != 0, n, y, x);
    return launch(call, invert_elements_kernel<T>, grid(ceil_div(n, image_threads)), image_threads, 0, a->keep_alpha != 0, n, y,
                  x);
}

/* ---- color_pattern ---- */

TRINE_DEVICE uint32_t triangle(uint32_t v) { return ((v & 256u) ? ~v : v) & 255u; }

/* R, G, B, A from the low byte up. */
TRINE_DEVICE uint32_t pattern_color(uint32_t column, uint32_t row, uint32_t t)
{
    return triangle(column + t) | triangle(row + 2u * t) << 8 | triangle(column + row + 3u * t) << 16 | 0xff000000u;
}

/* 4 C bytes a thread and round, P pixels in all: C words from 4 pixels. Where a thread has three packs, they change places in shared
 * memory, so that neighbouring threads store neighbouring packs. */
template <int C, int P> TRINE_KERNEL(image_threads) pattern_kernel(divider_any width, int64_t pixels, uint32_t t, uint8_t *y)
{
    const int64_t first = (int64_t(target::block_x()) * image_threads + target::thread_x()) * P;
    if (first >= pixels) return;
    const int64_t row = width.divide(first);
    uint32_t j = uint32_t(row), i = uint32_t(first - row * int64_t(width.d));
    const auto next = [&]() {
        const uint32_t color = pattern_color(i, j, t);
        if (++i == uint32_t(width.d)) {
            i = 0;
            j++;
        }
        return color;
    };
    if (P > 1 && first + P <= pixels) {
        constexpr int packs = P * C / 16 > 1 ? P * C / 16 : 1;
        uint32_t word[4 * packs];
#pragma unroll
        for (int q = 0; q < P / 4; q++) {
            const uint32_t a = next(), b = next(), c = next(), d = next();
            uint32_t *to = word + q * C;
            to[0] = C == 4 ? a : (a & 0xffffffu) | b << 24;
            to[1] = C == 4 ? b : (b >> 8 & 0xffffu) | c << 16;
            to[2] = C == 4 ? c : (c >> 16 & 0xffu) | d << 8;
            if (C == 4) to[C - 1] = d;
        }
        const int64_t begin = int64_t(target::block_x()) * (image_threads * P);
        const bool turns = packs > 1 && begin + image_threads * P <= pixels;
        TRINE_SHARED uint4 turned[packs > 1 ? packs * image_threads : 1];
#pragma unroll
        for (int k = 0; k < packs; k++) {
            const uint4 out = {word[4 * k], word[4 * k + 1], word[4 * k + 2], word[4 * k + 3]};
            if (turns)
                turned[target::thread_x() * packs + k] = out;
            else
                target::store16(y + first * C + 16 * k, out);
        }
        if (!turns) return;
        target::barrier();
#pragma unroll
        for (int k = 0; k < packs; k++) {
            const int at = k * image_threads + target::thread_x();
            target::store16(y + begin * C + 16 * at, turned[at]);
        }
    } else {
        for (int64_t p = first; p < pixels && p < first + P; p++) {
            const uint32_t color = next();
#pragma unroll
            for (int c = 0; c < C; c++) y[p * C + c] = uint8_t(color >> 8 * c);
        }
    }
}

template <int C, int P> inline trine_status pattern(trine_call *call, int64_t width, int64_t pixels, uint32_t t, uint8_t *y)
{
    const grid g(ceil_div(pixels, int64_t(P) * image_threads));
    return launch(call, pattern_kernel<C, P>, g, image_threads, 0, divider_any(width), pixels, t, y);
}

/* Packs of whole pixels: 16 of 3 bytes or 4 of 4. */
inline trine_status color_pattern(trine_call *call, const trine_color_pattern_args *a)
{
    const int64_t width = a->y.shape[1], pixels = a->y.shape[0] * width;
    uint8_t *y = data_of<uint8_t>(a->y);
    if (pixels == 0) return TRINE_OK;
    if (a->y.shape[2] == 3)
        return aligned16(y) ? pattern<3, 16>(call, width, pixels, uint32_t(a->time), y)
                            : pattern<3, 1>(call, width, pixels, uint32_t(a->time), y);
    return aligned16(y) ? pattern<4, 4>(call, width, pixels, uint32_t(a->time), y)
                        : pattern<4, 1>(call, width, pixels, uint32_t(a->time), y);
}

} // namespace simt

/* ---- The backend's functions ---- */

extern "C" trine_status TRINE_BACKEND_FN(rgb_to_gray)(trine_call *call, const trine_rgb_to_gray_args *a)
{
    call->variant = target::variant;
    TRINE_REQUIRE_THAT(call, trine_tensor_is_contiguous(&a->x) && trine_tensor_is_contiguous(&a->y), "needs contiguous images");
    TRINE_END_OF_QUERY(call, 0);
    return simt::visit_pixels(call, a->x.dtype, [&](auto t) { return simt::gray<typename decltype(t)::type>(call, a); });
}

extern "C" trine_status TRINE_BACKEND_FN(invert)(trine_call *call, const trine_invert_args *a)
{
    call->variant = target::variant;
    TRINE_REQUIRE_THAT(call, trine_tensor_is_contiguous(&a->x) && trine_tensor_is_contiguous(&a->y), "needs contiguous images");
    TRINE_END_OF_QUERY(call, 0);
    return simt::visit_pixels(call, a->x.dtype, [&](auto t) { return simt::invert<typename decltype(t)::type>(call, a); });
}

extern "C" trine_status TRINE_BACKEND_FN(color_pattern)(trine_call *call, const trine_color_pattern_args *a)
{
    call->variant = target::variant;
    TRINE_REQUIRE_THAT(call, trine_tensor_is_contiguous(&a->y), "needs a contiguous image");
    TRINE_END_OF_QUERY(call, 0);
    return simt::color_pattern(call, a);
}

extern "C" trine_status TRINE_BACKEND_FN(box_blur)(trine_call *call, const trine_box_blur_args *a)
{
    call->variant = target::variant;
    TRINE_REQUIRE_THAT(call, trine_tensor_is_contiguous(&a->x) && trine_tensor_is_contiguous(&a->y), "needs contiguous images");
    TRINE_END_OF_QUERY(call, 0);
    return simt::blur(call, a, 0.0f);
}

extern "C" trine_status TRINE_BACKEND_FN(gaussian_blur)(trine_call *call, const trine_gaussian_blur_args *a)
{
    call->variant = target::variant;
    TRINE_REQUIRE_THAT(call, trine_tensor_is_contiguous(&a->x) && trine_tensor_is_contiguous(&a->y), "needs contiguous images");
    TRINE_END_OF_QUERY(call, 0);
    return simt::blur(call, a, a->sigma);
}

#endif
