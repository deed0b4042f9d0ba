/* Fake quantisation, forward and straight through, as maps (map.h). Bound by bytes. */
#ifndef TRINE_SIMT_QUANTIZE_FAKE_H
#define TRINE_SIMT_QUANTIZE_FAKE_H

#include "backends/simt/map.h"
#include "backends/simt/quantize_round.h"

namespace simt {

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
