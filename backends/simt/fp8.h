/* fp8 with scales, in the frame of scaled.h. Dividing by a scale is a multiplication by its reciprocal, both rounded as IEEE says,
 * so that all backends agree. */
#ifndef TRINE_SIMT_FP8_H
#define TRINE_SIMT_FP8_H

#include "backends/simt/scaled_run.h"
#include "core/fp8_scale.h"

namespace simt {

template <int e5, int fnuz> struct fp8_codes {
    static TRINE_DEVICE_METHOD uint32_t four(const float (&x)[4], float inverse)
    {
        const float scaled[4] = {target::mul_rn(x[0], inverse), target::mul_rn(x[1], inverse), target::mul_rn(x[2], inverse),
                                 target::mul_rn(x[3], inverse)};
        return target::f32_to_f8_four<e5, fnuz>(scaled);
    }
    static TRINE_DEVICE_METHOD void values(uint32_t word, float scale, float (&y)[4])
    {
        target::f8_to_f32_four<e5, fnuz>(word, y);
#pragma unroll
        for (int i = 0; i < 4; i++) y[i] = target::mul_rn(y[i], scale);
    }
};

struct fp8_coder {
    trine_dtype code;
    trine_fp8_rule rule;

    using by = float;
    static TRINE_DEVICE_METHOD by divide_by(float scale) { return target::div_ieee(1.0f, scale); }
    TRINE_DEVICE_METHOD float scale_of(float most) const
    {
        return trine_fp8_scale(rule, target::div_ieee(trine_fp8_amax(rule, most), rule.largest));
    }
    template <class F> TRINE_DEVICE_METHOD void choose(F f, by = 0) const
    {
        switch (code) {
        case TRINE_F8_E4M3FN: return f(fp8_codes<0, 0>{});
        case TRINE_F8_E5M2: return f(fp8_codes<1, 0>{});
        case TRINE_F8_E4M3FNUZ: return f(fp8_codes<0, 1>{});
        default: return f(fp8_codes<1, 1>{});
        }
    }
};

inline trine_status fp8_quantize(trine_call *call, const trine_fp8_quantize_args *a)
{
    const bool given = trine_is_given(&a->given_scale);
    const trine_tensor &scales = given ? a->given_scale : a->scale;
    const trine_scaled_shape s = trine_scaled_shape_make(&a->q, &a->x, &scales, a->scaling);
    const fp8_coder coder = {a->q.dtype, trine_fp8_rule_make(a)};
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        const scaled_operands<T> o = scaled_operands_of<T>(a->q, a->x, scales);
        if (!given && a->scaling == TRINE_FP8_PER_TENSOR) return run_scaled_by_one(call, coder, s, o);
        if (!given && a->scaling == TRINE_FP8_PER_ROW) return run_scaled_rows(call, coder, s, o, a->q, a->x);
        TRINE_END_OF_QUERY(call, 0);
        if (given) return run_scaled_codes(call, coder, s, o);
        if (a->scaling == TRINE_FP8_PER_1X128) return run_scaled_fresh(call, coder, s, o);
        return run_scaled_tiles(call, coder, s, o);
    });
}

inline trine_status fp8_dequantize(trine_call *call, const trine_fp8_dequantize_args *a)
{
    const trine_scaled_shape s = trine_scaled_shape_make(&a->q, &a->y, &a->scale, a->scaling);
    TRINE_END_OF_QUERY(call, 0);
    return visit_floats(call, a->y.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        return run_scaled_values(call, fp8_coder{a->q.dtype, {}}, s, scaled_operands_of<T>(a->q, a->y, a->scale));
    });
}

} // namespace simt

/* ---- The backend's functions: they take any arguments that pass the core's checks ---- */

extern "C" trine_status TRINE_BACKEND_FN(fp8_quantize)(trine_call *call, const trine_fp8_quantize_args *a)
{
    call->variant = target::variant;
    return simt::fp8_quantize(call, a);
}
extern "C" trine_status TRINE_BACKEND_FN(fp8_dequantize)(trine_call *call, const trine_fp8_dequantize_args *a)
{
    call->variant = target::variant;
    return simt::fp8_dequantize(call, a);
}

#endif
