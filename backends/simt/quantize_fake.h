/* Fake quantisation, forward and straight through, as maps (map.h). Bound by bytes. */
#ifndef TRINE_SIMT_QUANTIZE_FAKE_H
#define TRINE_SIMT_QUANTIZE_FAKE_H

#include "backends/simt/map.h"
#include "backends/simt/quantize_round.h"

namespace simt {

/* rounded_quotient of a pack. one: its scales are the same, so that a reciprocal serves all: int8_codes' quotient, clamped at 2^22,
 * where neither the scale is so large or small that remainders leave the normal numbers. */
template <class T, int V>
TRINE_DEVICE void rounded_quotients(float (&r)[V], const pack<T, V> &x, const pack<float, V> &scale, bool one)
{
    const float size = __builtin_fabsf(scale.at[0]);
    if (one && size > 0x1p-64f && size < 0x1p64f) {
        const int8_divisor by = {1.0f, scale.at[0], target::div_ieee(1.0f, scale.at[0]), 0x1p22f * size, false};
#pragma unroll
        for (int i = 0; i < V; i++) {
            const float v = to_f32(x.at[i]), q = target::add_rn(int8_codes<false>::quotient(v, by), 0x1.8p23f);
            r[i] = v == v ? target::add_rn(q, -0x1.8p23f) : v;
        }
    } else {
#pragma unroll
        for (int i = 0; i < V; i++) r[i] = rounded_quotient(to_f32(x.at[i]), scale.at[i]);
    }
}

/* low, high: of q - zero_point. one: a pack has one scale. */
struct f_fake_quantize {
    float low, high;
    bool one;
    template <class T, int V>
    TRINE_DEVICE_METHOD void operator()(pack<T, V> &y, const pack<T, V> &x, const pack<float, V> &scale) const
    {
        float r[V];
        rounded_quotients(r, x, scale, one);
#pragma unroll
        for (int i = 0; i < V; i++) {
            const float above = r[i] < low ? low : r[i], q = above > high ? high : above;
            y.at[i] = from_f32<T>(target::mul_rn(q == q ? q : 0.0f, scale.at[i]));
        }
    }
};

struct f_fake_quantize_backward {
    float low, high;
    bool one;
    template <class T, int V> TRINE_DEVICE_METHOD void operator()(pack<T, V> &dx, const pack<T, V> &x,
                                                                  const pack<float, V> &scale, const pack<T, V> &dy) const
    {
        float r[V];
        rounded_quotients(r, x, scale, one);
#pragma unroll
        for (int i = 0; i < V; i++) dx.at[i] = r[i] < low || r[i] > high ? from_f32<T>(0.0f) : dy.at[i];
    }
};

template <class F, class Args> inline F fake_quantize_by(const Args *a, const trine_tensor &y)
{
    /* packs go along the axis that y is dense along */
    const int32_t last = y.ndim - 1;
    const bool one = trine_tensor_numel(&a->scale) == 1 ||
                     (last >= 0 && y.shape[last] > 1 && y.stride[last] == 1 && a->scale.shape[a->scale.ndim - 1] == 1);
    return F{float(a->low - a->zero_point), float(a->high - a->zero_point), one};
}

inline trine_status fake_quantize(trine_call *call, const trine_fake_quantize_args *a)
{
    TRINE_END_OF_QUERY(call, 0);
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        return map<T, T, float>(call, fake_quantize_by<f_fake_quantize>(a, a->y), a->y, a->x, a->scale);
    });
}

inline trine_status fake_quantize_backward(trine_call *call, const trine_fake_quantize_backward_args *a)
{
    TRINE_END_OF_QUERY(call, 0);
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        return map<T, T, float, T>(call, fake_quantize_by<f_fake_quantize_backward>(a, a->dx), a->dx, a->x, a->scale, a->dy);
    });
}

} // namespace simt

#endif
