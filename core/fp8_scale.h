/* The dynamic scale of fp8; C11 and device C++. The quotient between the two functions is each backend's own, rounded to f32. */
#ifndef TRINE_CORE_FP8_SCALE_H
#define TRINE_CORE_FP8_SCALE_H

#include "core/float_bits.h"
#include "trine/fp8.h"

typedef struct trine_fp8_rule {
    float least, largest; /* of amax; of the dtype */
    int32_t power_of_two;
} trine_fp8_rule;

static inline trine_fp8_rule trine_fp8_rule_make(const trine_fp8_quantize_args *a)
{
    const float largest = a->q.dtype == TRINE_F8_E4M3FN ? 448.0f : a->q.dtype == TRINE_F8_E4M3FNUZ ? 240.0f : 57344.0f;
    const trine_fp8_rule rule = {a->amax_least == 0 ? 1e-12f : a->amax_least, largest, a->power_of_two};
    return rule;
}

/* amax as it counts: from `least` on, finite. */
TRINE_INLINE float trine_fp8_amax(trine_fp8_rule rule, float most)
{
    const float enough = most < rule.least ? rule.least : most;
    return enough < 0x1.fffffep127f ? enough : 0x1.fffffep127f;
}

/* amax / largest, which is a normal number far from the largest f32, as the scale. */
TRINE_INLINE float trine_fp8_scale(trine_fp8_rule rule, float quotient)
{
    const uint32_t up = (trine_bits_of_f32(quotient) + 0x7fffffu) & TRINE_F32_INF;
    return rule.power_of_two ? trine_f32_of_bits(up) : quotient;
}

#endif
