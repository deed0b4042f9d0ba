/* Quantisation. Bound by bytes. nf4: a thread has a pack of 16 bytes of x, or 8 elements of y; neighbouring threads exchange
 * their largest element to a block's absmax. Fake quantisation is map.h. Every rounding is an IEEE one, so that all backends
 * agree. */
#ifndef TRINE_SIMT_QUANTIZE_H
#define TRINE_SIMT_QUANTIZE_H

#include "backends/simt/block.h"
#include "backends/simt/map.h"
#include "core/nf4.h"

namespace simt {

/* ---- nf4 ---- */

enum { nf4_threads = 256, nf4_elements = 8 };

struct op_larger {
    TRINE_METHOD float operator()(float a, float b) const { return a > b ? a : b; }
};

/* Thresholds below v, by halving. */
TRINE_DEVICE uint32_t nf4_code(float v)
{
    constexpr float t[] = TRINE_NF4_THRESHOLDS;
    const bool a = v > t[7];
    const bool b = v > (a ? t[11] : t[3]);
    const float low = b ? t[5] : t[1], high = b ? t[13] : t[9];
    const bool c = v > (a ? high : low);
    const float low_0 = c ? t[2] : t[0], low_1 = c ? t[6] : t[4], high_0 = c ? t[10] : t[8], high_1 = c ? t[14] : t[12];
    const float low_ = b ? low_1 : low_0, high_ = b ? high_1 : high_0;
    const bool d = v > (a ? high_ : low_);
    return v == v ? uint32_t(a) << 3 | uint32_t(b) << 2 | uint32_t(c) << 1 | uint32_t(d) : uint32_t(TRINE_NF4_ZERO);
}

template <class T> TRINE_KERNEL(nf4_threads)
nf4_quantize_kernel(int64_t n, const T *x, uint8_t *codes, float *absmax, bool aligned)
{
    constexpr int V = pack_of<T>;
    const int64_t first = (int64_t(target::block_x()) * nf4_threads + target::thread_x()) * V;
    const bool whole = aligned && first + V <= n;
    pack<T, V> in;
    if (whole) {
        in = load_pack<T, V>(x + first);
    } else {
        for (int i = 0; i < V; i++) in.at[i] = first + i < n ? x[first + i] : from_f32<T>(0.0f);
    }
    float most = 0.0f;
#pragma unroll
    for (int i = 0; i < V; i++) most = op_larger{}(__builtin_fabsf(to_f32(in.at[i])), most); /* NaN is not larger */
    most = wave_reduce(most, op_larger{}, TRINE_NF4_BLOCK / V);
    if (first >= n) return;
    const bool zeros = most < TRINE_NF4_LEAST || most == __builtin_inff();
    const float inverse = zeros ? 0.0f : target::div_ieee(1.0f, most);
    uint32_t word = 0;
#pragma unroll
    for (int i = 0; i < V; i++) {
        const uint32_t code =
            zeros || (!whole && first + i >= n) ? uint32_t(TRINE_NF4_ZERO) : nf4_code(target::mul_rn(to_f32(in.at[i]), inverse));
        word |= code << (i / 2 * 8 + (i % 2 ? 0 : 4));
    }
    if (first % TRINE_NF4_BLOCK == 0) absmax[first / TRINE_NF4_BLOCK] = most < TRINE_NF4_LEAST ? 0.0f : most;
    if (whole) {
        if constexpr (V == 8)
            *reinterpret_cast<uint32_t *>(codes + first / 2) = word;
        else
            *reinterpret_cast<uint16_t *>(codes + first / 2) = uint16_t(word);
    } else {
        for (int i = 0; i < V && first + i < n; i += 2) codes[(first + i) / 2] = uint8_t(word >> (i / 2 * 8));
    }
}

struct nf4_book {
    float at[16];
};

/* `simple`: 8 elements are four aligned bytes of codes and whole aligned packs of y. */
template <class T> TRINE_KERNEL(nf4_threads)
nf4_dequantize_kernel(int64_t n, int64_t offset, nf4_book book, const uint8_t *codes, const float *absmax, T *y, bool simple)
{
    constexpr int E = nf4_elements, V = pack_of<T>;
    TRINE_SHARED float value[16];
    if (target::thread_x() < 16) value[target::thread_x()] = book.at[target::thread_x()];
    target::barrier();
    const int64_t first = (int64_t(target::block_x()) * nf4_threads + target::thread_x()) * E;
    if (simple && first + E <= n) {
        const int64_t from = offset + first;
        const uint32_t word = *reinterpret_cast<const uint32_t *>(codes + from / 2);
        const float scale = absmax[from / TRINE_NF4_BLOCK];
#pragma unroll
        for (int p = 0; p < E / V; p++) {
            pack<T, V> out;
#pragma unroll
            for (int i = 0; i < V; i++) {
                const int k = p * V + i;
                out.at[i] = from_f32<T>(target::mul_rn(value[word >> (k / 2 * 8 + (k % 2 ? 0 : 4)) & 15u], scale));
            }
            store_pack<T, V>(y + first + p * V, out);
        }
        return;
    }
    for (int64_t i = first; i < first + E && i < n; i++) {
        const int64_t from = offset + i;
        const uint32_t pair = codes[from / 2];
        y[i] = from_f32<T>(target::mul_rn(value[from % 2 ? pair & 15u : pair >> 4], absmax[from / TRINE_NF4_BLOCK]));
    }
}

inline trine_status nf4_quantize(trine_call *call, const trine_nf4_quantize_args *a)
{
    const int64_t n = trine_tensor_numel(&a->x);
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        const bool aligned = aligned16(a->x.data) && reinterpret_cast<uintptr_t>(a->codes.data) % 4 == 0;
        return launch(call, nf4_quantize_kernel<T>, grid(ceil_div(n, int64_t(nf4_threads) * pack_of<T>)), nf4_threads, 0, n,
                      static_cast<const T *>(data_of<T>(a->x)), data_of<uint8_t>(a->codes), data_of<float>(a->absmax), aligned);
    });
}

inline trine_status nf4_dequantize(trine_call *call, const trine_nf4_dequantize_args *a)
{
    const int64_t n = trine_tensor_numel(&a->y);
    const bool simple =
        a->offset % nf4_elements == 0 && aligned16(a->y.data) && reinterpret_cast<uintptr_t>(a->codes.data) % 4 == 0;
    return visit_floats(call, a->y.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        return launch(call, nf4_dequantize_kernel<T>, grid(ceil_div(n, int64_t(nf4_threads) * nf4_elements)), nf4_threads, 0, n,
                      a->offset, nf4_book{TRINE_NF4_VALUES}, static_cast<const uint8_t *>(data_of<uint8_t>(a->codes)),
                      static_cast<const float *>(data_of<float>(a->absmax)), data_of<T>(a->y), simple);
    });
}

/* ---- Fake quantisation ---- */

/* round(x / scale), clamped to +-2^22, where the sum with the magic number rounds to nearest even; NaN stays. */
TRINE_DEVICE float rounded_quotient(float x, float scale)
{
    const float magic = 0x1.8p23f, q = target::div_ieee(x, scale);
    const float below = q > 0x1p22f ? 0x1p22f : q, inside = below < -0x1p22f ? -0x1p22f : below;
    return target::add_rn(target::add_rn(inside, magic), -magic);
}

/* low, high: of q - zero_point. */
struct f_fake_quantize {
    float low, high;
    template <class T, int V>
    TRINE_DEVICE_METHOD void operator()(pack<T, V> &y, const pack<T, V> &x, const pack<float, V> &scale) const
    {
#pragma unroll
        for (int i = 0; i < V; i++) {
            const float r = rounded_quotient(to_f32(x.at[i]), scale.at[i]);
            const float above = r < low ? low : r, q = above > high ? high : above;
            y.at[i] = from_f32<T>(target::mul_rn(q == q ? q : 0.0f, scale.at[i]));
        }
    }
};

struct f_fake_quantize_backward {
    float low, high;
    template <class T, int V> TRINE_DEVICE_METHOD void operator()(pack<T, V> &dx, const pack<T, V> &x,
                                                                  const pack<float, V> &scale, const pack<T, V> &dy) const
    {
#pragma unroll
        for (int i = 0; i < V; i++) {
            const float r = rounded_quotient(to_f32(x.at[i]), scale.at[i]);
            dx.at[i] = r < low || r > high ? from_f32<T>(0.0f) : dy.at[i];
        }
    }
};

inline trine_status fake_quantize(trine_call *call, const trine_fake_quantize_args *a)
{
    const f_fake_quantize f = {float(a->low - a->zero_point), float(a->high - a->zero_point)};
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        return map<T, T, float>(call, f, a->y, a->x, a->scale);
    });
}

inline trine_status fake_quantize_backward(trine_call *call, const trine_fake_quantize_backward_args *a)
{
    const f_fake_quantize_backward f = {float(a->low - a->zero_point), float(a->high - a->zero_point)};
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        return map<T, T, float, T>(call, f, a->dx, a->x, a->scale, a->dy);
    });
}

} // namespace simt

/* ---- The backend's functions: they take any arguments that pass the core's checks, and no workspace ---- */

#define TRINE_QUANTIZE(name) \
    extern "C" trine_status TRINE_BACKEND_FN(name)(trine_call * call, const trine_##name##_args *a) \
    { \
        call->variant = target::variant; \
        TRINE_END_OF_QUERY(call, 0); \
        return simt::name(call, a); \
    }
TRINE_QUANTIZE(nf4_quantize)
TRINE_QUANTIZE(nf4_dequantize)
TRINE_QUANTIZE(fake_quantize)
TRINE_QUANTIZE(fake_quantize_backward)
#undef TRINE_QUANTIZE

#endif
