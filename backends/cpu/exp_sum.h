/* Sums of exponentials on the CPU: what softmax and cross entropy rest on. A partial is a maximum and a sum of exponentials
 * relative to a base near it; merging two rescales the sum of the lower one (Milakov & Gimelshein 2018). */
#ifndef TRINE_CPU_EXP_SUM_H
#define TRINE_CPU_EXP_SUM_H

#include <math.h>

#include "backends/cpu/lanes.h"
#include "backends/cpu/vmath.h"

/* e^x = 2^t 2^base, t = (x - pivot) log2(e) - shift <= 0 or nearly. With a fused multiply-add a small maximum is taken off after
 * the product, in `shift`, whose rounding is the same for the whole chunk and known exactly in `base`; else, and where it would
 * be too much, before it. */
typedef struct softmax_base {
    float pivot, shift;
} softmax_base;

static inline softmax_base base_of(double most)
{
#ifdef __FMA__
    if (fabs(most) <= 65536) return (softmax_base){0, (float)most * VM_LOG2E};
#endif
    return (softmax_base){most == -INFINITY ? 0 : (float)most, 0}; /* a part of -inf alone has the sum 0 */
}

static inline double exponent_of(softmax_base b) { return (double)b.pivot * (double)VM_LOG2E + (double)b.shift; }

/* 2^t for t <= 1, 0 below the smallest normal number, whatever becomes of the steps on the way there; of NaN anything.
 * Coefficients as in vm_exp2. */
LANES_INLINE f32x16 powers_of_two(f32x16 t)
{
    const f32x16 z = t + VM_ROUND, r = t - (z - VM_ROUND);
    const f32x16 s = r * r, a = lanes_fma(lanes_of(0.240226477f), r, lanes_of(0.693147182f));
    f32x16 p = lanes_fma(lanes_of(0.0001532678f), r, lanes_of(0.00133910251f));
    p = lanes_fma(p, s, lanes_fma(lanes_of(0.00961850584f), r, lanes_of(0.0555035956f)));
    p = lanes_fma(lanes_fma(p, s, a), r, lanes_of(1.0f));
    return lanes_from(t, -126.0f, (f32x16)((i32x16)p + ((i32x16)z << 23)));
}

LANES_INLINE f32x16 powers_at(f32x16 x, softmax_base base)
{
    if (base.pivot != 0) x -= base.pivot;
    return powers_of_two(lanes_fma(x, lanes_of(VM_LOG2E), lanes_of(-base.shift)));
}

/* The sum of 2^t of x; y, which may be x: where to put the powers, or NULL. */
LANES_INLINE float powers_and_sum(float *y, const float *x, softmax_base base, int64_t n)
{
    enum { AT_ONCE = 4 };
    f32x16 sum[AT_ONCE] = {{0}, {0}, {0}, {0}};
    int64_t i = 0;
    for (; i + AT_ONCE * LANES <= n; i += AT_ONCE * LANES)
#pragma GCC unroll 4
        for (int k = 0; k < AT_ONCE; k++) {
            const f32x16 p = powers_at(lanes_load(x, TRINE_F32, i + LANES * k), base);
            if (y) memcpy(y + i + LANES * k, &p, sizeof p);
            sum[k] += p;
        }
    for (; i + LANES <= n; i += LANES) {
        const f32x16 p = powers_at(lanes_load(x, TRINE_F32, i), base);
        if (y) memcpy(y + i, &p, sizeof p);
        sum[0] += p;
    }
    if (i < n) {
        const f32x16 p = powers_at(lanes_load_part(x, TRINE_F32, i, n - i, -INFINITY), base);
        if (y) lanes_store_part(y + i, p, n - i);
        sum[1] += p;
    }
    return lanes_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

static __attribute__((unused)) float powers(float *y, const float *x, softmax_base base, int64_t n)
{
    return base.pivot == 0 ? powers_and_sum(y, x, (softmax_base){0, base.shift}, n) : powers_and_sum(y, x, base, n);
}

/* The same without y. */
static __attribute__((unused)) float sum_of_powers(const float *x, softmax_base base, int64_t n)
{
    return base.pivot == 0 ? powers_and_sum(NULL, x, (softmax_base){0, base.shift}, n) : powers_and_sum(NULL, x, base, n);
}

/* A partial: maximum, sum of 2^t, exponent of its base. */
enum { MOST, SUM, EXPONENT };

static inline void exp_sum_merge(double *into, const double *from)
{
    const double *higher = from[MOST] > into[MOST] ? from : into, *lower = higher == into ? from : into;
    const double sum = higher[SUM] + lower[SUM] * exp2(lower[EXPONENT] - higher[EXPONENT]);
    const double merged[] = {higher[MOST], sum, higher[EXPONENT]};
    memcpy(into, merged, sizeof merged);
}

#endif
