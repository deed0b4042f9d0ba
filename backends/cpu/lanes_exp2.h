/* Powers of two of whole vectors, for loops over 16 elements at a time. */
#ifndef TRINE_CPU_LANES_EXP2_H
#define TRINE_CPU_LANES_EXP2_H

#include "backends/cpu/lanes.h"
#include "backends/cpu/vmath.h"

/* Each of the n vectors, a constant, before the next statement: what waits for its operands fills the processor's scheduler. */
#define LANES_EACH(n, statement) \
    do { \
        _Pragma("GCC unroll 4") for (int k = 0; k < (n); k++) { statement; } \
    } while (0)

/* x becomes 2^x of n vectors, n at most 4, for x <= 16; with AVX-512 of any x, NaN of NaN, else of NaN anything. Below the smallest
 * normal number 0, or gradually what it is. Coefficients as in vm_exp2; with floor and scale as instructions, of 2^r on [0, 1) (err
 * 2^-29). */
LANES_INLINE void lanes_exp2(f32x16 *x, int n)
{
    f32x16 r[4], p[4];
#if defined __AVX512DQ__
    LANES_EACH(n, r[k] = (f32x16)_mm512_reduce_ps((__m512)x[k], _MM_FROUND_TO_NEG_INF));
    LANES_EACH(n, p[k] = lanes_fma(lanes_of(0.000215659718f), r[k], lanes_of(0.00124822895f)));
    LANES_EACH(n, p[k] = lanes_fma(p[k], r[k], lanes_of(0.00967377517f)));
    LANES_EACH(n, p[k] = lanes_fma(p[k], r[k], lanes_of(0.0554861836f)));
    LANES_EACH(n, p[k] = lanes_fma(p[k], r[k], lanes_of(0.240229085f)));
    LANES_EACH(n, p[k] = lanes_fma(p[k], r[k], lanes_of(0.693147063f)));
    LANES_EACH(n, p[k] = lanes_fma(p[k], r[k], lanes_of(1.0f)));
    LANES_EACH(n, x[k] = (f32x16)_mm512_scalef_ps((__m512)p[k], (__m512)x[k]));
#else
    f32x16 z[4];
    LANES_EACH(n, z[k] = x[k] + VM_ROUND);
    LANES_EACH(n, r[k] = z[k] - VM_ROUND);
    LANES_EACH(n, r[k] = x[k] - r[k]);
    LANES_EACH(n, p[k] = lanes_fma(lanes_of(0.0001532678f), r[k], lanes_of(0.00133910251f)));
    LANES_EACH(n, p[k] = lanes_fma(p[k], r[k], lanes_of(0.00961850584f)));
    LANES_EACH(n, p[k] = lanes_fma(p[k], r[k], lanes_of(0.0555035956f)));
    LANES_EACH(n, p[k] = lanes_fma(p[k], r[k], lanes_of(0.240226477f)));
    LANES_EACH(n, p[k] = lanes_fma(p[k], r[k], lanes_of(0.693147182f)));
    LANES_EACH(n, p[k] = lanes_fma(p[k], r[k], lanes_of(1.0f)));
    LANES_EACH(n, p[k] = (f32x16)((u32x16)p[k] + ((u32x16)z[k] << 23)));
    LANES_EACH(n, x[k] = lanes_from(x[k], -126.0f, p[k]));
#endif
}

#endif
