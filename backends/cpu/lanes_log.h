/* Logarithms of whole vectors (AVX-512). */
#ifndef TRINE_CPU_LANES_LOG_H
#define TRINE_CPU_LANES_LOG_H

#include "backends/cpu/lanes.h"
#include "backends/cpu/vmath.h"

#if defined __AVX512DQ__
#define LANES_LOG 1

/* log x, as vm_log and with its polynomial; exponent and mantissa are one instruction each, subnormal numbers included. */
LANES_INLINE f32x16 lanes_log(f32x16 x)
{
    __m512 e = _mm512_getexp_ps((__m512)x), m = _mm512_getmant_ps((__m512)x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_nan);
    const __mmask16 high = _mm512_cmp_ps_mask(m, _mm512_set1_ps(1.41421354f), _CMP_GE_OQ);
    m = _mm512_mask_mul_ps(m, high, m, _mm512_set1_ps(0.5f));
    e = _mm512_mask_add_ps(e, high, e, _mm512_set1_ps(1.0f));
    const f32x16 f = (f32x16)m - 1.0f, s = f * f, s2 = s * s;
    f32x16 a = lanes_fma(lanes_of(-0.250000089f), f, lanes_of(0.333333135f));
    const f32x16 b = lanes_fma(lanes_of(-0.166679889f), f, lanes_of(0.200020716f));
    f32x16 c = lanes_fma(lanes_of(-0.124062344f), f, lanes_of(0.142203584f));
    f32x16 d = lanes_fma(lanes_of(-0.116700925f), f, lanes_of(0.118835509f));
    d = lanes_fma(lanes_of(0.0674925223f), s, d);
    a = lanes_fma(b, s, a);
    c = lanes_fma(d, s, c);
    a = lanes_fma(c, s2, a);
    f32x16 y = lanes_fma(s * f, a, (f32x16)e * VM_LN2_LO);
    y = lanes_fma(lanes_of(-0.5f), s, y);
    return lanes_fma((f32x16)e, lanes_of(VM_LN2_HI), f + y);
}

#else
#define LANES_LOG 0
#endif

#endif
