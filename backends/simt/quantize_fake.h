/* Fake quantisation, forward and straight through, as maps (map.h). Bound by bytes. */
#ifndef TRINE_SIMT_QUANTIZE_FAKE_H
#define TRINE_SIMT_QUANTIZE_FAKE_H

#include "backends/simt/map.h"
#include "backends/simt/quantize_round.h"

namespace simt {

/* Of the scales of a pack: where all are one, which lies where quotients that matter are normal and so are their remainders, a
 * quotient is corrected twice by its remainder, as in int8_codes: no division, whose instructions are as many as all others together. */
template <int V> struct pack_divisor {
    float by, inverse;
    bool alike;
    explicit TRINE_DEVICE_METHOD pack_divisor(const pack<float, V> &scale) : by(scale.at[0])
    {
        const float size = __builtin_fabsf(by);
        uint32_t others = 0;
#pragma unroll
        for (int i = 1; i < V; i++) others |= trine_bits_of_f32(scale.at[i]) ^ trine_bits_of_f32(by);
        alike = V > 1 && others == 0 && size > 0x1p-90f && size < 0x1p90f;
        inverse = target::div_ieee(1.0f, by);
    }
    /* round(x / scale) for x from low to high or high to low, at most 2^22 scales; NaN becomes one of them. */
    TRINE_DEVICE_METHOD float rounded(float x, float low, float high) const
    {
        const float inside = __builtin_fminf(__builtin_fmaxf(x, low), high), guess = target::mul_rn(inside, inverse),
                    near = target::fma_rn(target::fma_rn(-guess, by, inside), inverse, guess),
                    q = target::fma_rn(target::fma_rn(-near, by, inside), inverse, near);
        return target::add_rn(target::add_rn(q, 0x1.8p23f), -0x1.8p23f);
    }
};

/* low, high: of q - zero_point. */
struct f_fake_quantize {
    float low, high;
    template <class T, int V>
    TRINE_DEVICE_METHOD void operator()(pack<T, V> &y, const pack<T, V> &x, const pack<float, V> &scale) const
    {
        const pack_divisor<V> divisor(scale);
        if (divisor.alike) { /* clamped first: the ends' quotients round to low and high */
            const float a = low * divisor.by, b = high * divisor.by, least = a < b ? a : b, most = a < b ? b : a;
#pragma unroll
            for (int i = 0; i < V; i++) {
                const float given = to_f32(x.at[i]), q = target::mul_rn(divisor.rounded(given, least, most), divisor.by);
                y.at[i] = from_f32<T>(given == given ? q : 0.0f);
            }
            return;
        }
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
        const pack_divisor<V> divisor(scale);
        const float limit = 0x1p22f * __builtin_fabsf(divisor.by);
        if (divisor.alike) {
#pragma unroll
            for (int i = 0; i < V; i++) {
                const float given = to_f32(x.at[i]), r = divisor.rounded(given, -limit, limit);
                dx.at[i] = given == given && (r < low || r > high) ? from_f32<T>(0.0f) : dy.at[i];
            }
            return;
        }
#pragma unroll
        for (int i = 0; i < V; i++) {
            const float r = rounded_quotient(to_f32(x.at[i]), scale.at[i]);
            dx.at[i] = r < low || r > high ? from_f32<T>(0.0f) : dy.at[i];
        }
    }
};

inline trine_status fake_quantize(trine_call *call, const trine_fake_quantize_args *a)
{
    TRINE_END_OF_QUERY(call, 0);
    const f_fake_quantize f = {float(a->low - a->zero_point), float(a->high - a->zero_point)};
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        return map<T, T, float>(call, f, a->y, a->x, a->scale);
    });
}

inline trine_status fake_quantize_backward(trine_call *call, const trine_fake_quantize_backward_args *a)
{
    TRINE_END_OF_QUERY(call, 0);
    const f_fake_quantize_backward f = {float(a->low - a->zero_point), float(a->high - a->zero_point)};
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        return map<T, T, float, T>(call, f, a->dx, a->x, a->scale, a->dy);
    });
}

} // namespace simt

#endif
