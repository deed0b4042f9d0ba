/* Fake quantisation, forward and straight through, as maps (map.h). Bound by bytes. */
#ifndef TRINE_SIMT_QUANTIZE_FAKE_H
#define TRINE_SIMT_QUANTIZE_FAKE_H

#include "backends/simt/map.h"
#include "backends/simt/quantize_round.h"

namespace simt {

/* round(x / scale) for the scales of a pack. Where all are one, which lies where quotients that matter are normal and so are their
 * remainders, the quotient is corrected twice by its remainder, as in int8_codes: no division, whose instructions are as many as all
 * others together. Beyond +-2^22, and for NaN, see rounded_quotient. */
template <int V> struct pack_quotients {
    const pack<float, V> &scale;
    float inverse, limit;
    bool alike;

    explicit TRINE_DEVICE_METHOD pack_quotients(const pack<float, V> &scale_) : scale(scale_)
    {
        const float size = __builtin_fabsf(scale.at[0]);
        alike = V > 1 && size > 0x1p-90f && size < 0x1p90f;
#pragma unroll
        for (int i = 1; i < V; i++) alike = alike && scale.at[i] == scale.at[0];
        inverse = target::div_ieee(1.0f, scale.at[0]);
        limit = 0x1p22f * size;
    }
    TRINE_DEVICE_METHOD float corrected(float x) const
    {
        const float by = scale.at[0], inside = __builtin_fminf(__builtin_fmaxf(x, -limit), limit),
                    guess = target::mul_rn(inside, inverse),
                    near = target::fma_rn(target::fma_rn(-guess, by, inside), inverse, guess);
        return target::fma_rn(target::fma_rn(-near, by, inside), inverse, near);
    }
    /* f(i, rounded quotient, scale) for all. */
    template <class T, class F> TRINE_DEVICE_METHOD void each(const pack<T, V> &x, F f) const
    {
        if (alike) {
#pragma unroll
            for (int i = 0; i < V; i++) {
                const float r = target::add_rn(target::add_rn(corrected(to_f32(x.at[i])), 0x1.8p23f), -0x1.8p23f);
                f(i, to_f32(x.at[i]) == to_f32(x.at[i]) ? r : __builtin_nanf(""), scale.at[0]);
            }
        } else {
#pragma unroll
            for (int i = 0; i < V; i++) f(i, rounded_quotient(to_f32(x.at[i]), scale.at[i]), scale.at[i]);
        }
    }
};

/* low, high: of q - zero_point. */
struct f_fake_quantize {
    float low, high;
    template <class T, int V>
    TRINE_DEVICE_METHOD void operator()(pack<T, V> &y, const pack<T, V> &x, const pack<float, V> &scale) const
    {
        pack_quotients<V>(scale).each(x, [&](int i, float r, float by) {
            const float above = r < low ? low : r, q = above > high ? high : above;
            y.at[i] = from_f32<T>(target::mul_rn(q == q ? q : 0.0f, by));
        });
    }
};

struct f_fake_quantize_backward {
    float low, high;
    template <class T, int V> TRINE_DEVICE_METHOD void operator()(pack<T, V> &dx, const pack<T, V> &x,
                                                                  const pack<float, V> &scale, const pack<T, V> &dy) const
    {
        pack_quotients<V>(scale).each(
            x, [&](int i, float r, float) { dx.at[i] = r < low || r > high ? from_f32<T>(0.0f) : dy.at[i]; });
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
