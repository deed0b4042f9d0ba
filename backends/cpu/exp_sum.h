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

enum { POWERS = 4 };
#define POWERS_EACH(statement) \
    do { \
        _Pragma("GCC unroll 4") for (int k = 0; k < POWERS; k++) { statement; } \
    } while (0)

/* x becomes 2^t; of NaN anything. Below the smallest normal number 0, or gradually what it is. Coefficients as in vm_exp2; with
 * floor and scale as instructions, of 2^r on [0, 1) (err 2^-29). Each step of all vectors before the next one: what waits for its
 * operands fills the processor's scheduler. (Zen 5, cycles a vector: 5.6, with the instructions 4.5.) */
LANES_INLINE void powers_of(f32x16 x[POWERS], softmax_base base)
{
    f32x16 r[POWERS], p[POWERS];
    if (base.pivot != 0) POWERS_EACH(x[k] -= base.pivot);
    POWERS_EACH(x[k] = lanes_fma(x[k], lanes_of(VM_LOG2E), lanes_of(-base.shift)));
#if defined __AVX512DQ__
    POWERS_EACH(r[k] = (f32x16)_mm512_reduce_ps((__m512)x[k], _MM_FROUND_TO_NEG_INF));
    POWERS_EACH(p[k] = lanes_fma(lanes_of(0.000215659718f), r[k], lanes_of(0.00124822895f)));
    POWERS_EACH(p[k] = lanes_fma(p[k], r[k], lanes_of(0.00967377517f)));
    POWERS_EACH(p[k] = lanes_fma(p[k], r[k], lanes_of(0.0554861836f)));
    POWERS_EACH(p[k] = lanes_fma(p[k], r[k], lanes_of(0.240229085f)));
    POWERS_EACH(p[k] = lanes_fma(p[k], r[k], lanes_of(0.693147063f)));
    POWERS_EACH(p[k] = lanes_fma(p[k], r[k], lanes_of(1.0f)));
    POWERS_EACH(x[k] = (f32x16)_mm512_scalef_ps((__m512)p[k], (__m512)x[k]));
#else
    f32x16 z[POWERS];
    POWERS_EACH(z[k] = x[k] + VM_ROUND);
    POWERS_EACH(r[k] = z[k] - VM_ROUND);
    POWERS_EACH(r[k] = x[k] - r[k]);
    POWERS_EACH(p[k] = lanes_fma(lanes_of(0.0001532678f), r[k], lanes_of(0.00133910251f)));
    POWERS_EACH(p[k] = lanes_fma(p[k], r[k], lanes_of(0.00961850584f)));
    POWERS_EACH(p[k] = lanes_fma(p[k], r[k], lanes_of(0.0555035956f)));
    POWERS_EACH(p[k] = lanes_fma(p[k], r[k], lanes_of(0.240226477f)));
    POWERS_EACH(p[k] = lanes_fma(p[k], r[k], lanes_of(0.693147182f)));
    POWERS_EACH(p[k] = lanes_fma(p[k], r[k], lanes_of(1.0f)));
    POWERS_EACH(p[k] = (f32x16)((u32x16)p[k] + ((u32x16)z[k] << 23)));
    POWERS_EACH(x[k] = lanes_from(x[k], -126.0f, p[k]));
#endif
}

/* The sum of 2^t of f32 in->x[0]; asks for in->ahead[0]. put: the powers go to y, which may be in->x[0]. */
LANES_INLINE float powers_and_sum(float *y, const lanes_input *in, softmax_base base, bool put)
{
    const float *x = in->x[0];
    const char *ahead = in->ahead[0];
    const int64_t n = in->n;
    const int lines = in->lines;
    f32x16 sum[POWERS] = {{0}, {0}, {0}, {0}}, v[POWERS];
    int64_t i = 0;
    for (; i + POWERS * LANES <= n; i += POWERS * LANES) {
        lanes_ask(ahead + i * lines, lines);
        POWERS_EACH(v[k] = lanes_load(x, TRINE_F32, i + LANES * k));
        powers_of(v, base);
        if (put) POWERS_EACH(memcpy(y + i + LANES * k, &v[k], sizeof v[k]));
        POWERS_EACH(sum[k] += v[k]);
    }
    if (i < n) { /* what there is no more of is 0 */
        const int64_t whole = (n - i) / LANES;
        for (int k = 0; k < POWERS; k++)
            v[k] = k < whole ? lanes_load(x, TRINE_F32, i + LANES * k)
                             : lanes_load_part(x, TRINE_F32, i + LANES * k, k > whole ? 0 : (n - i) % LANES, -INFINITY);
        powers_of(v, base);
        for (int k = 0; k < POWERS && put && k <= whole; k++)
            if (k < whole)
                memcpy(y + i + LANES * k, &v[k], sizeof v[k]);
            else
                lanes_store_part(y + i + LANES * k, v[k], (n - i) % LANES);
        POWERS_EACH(sum[k] += v[k]);
    }
    return lanes_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

static __attribute__((unused)) float powers(float *y, const lanes_input *in, softmax_base base)
{
    return base.pivot == 0 ? powers_and_sum(y, in, (softmax_base){0, base.shift}, true) : powers_and_sum(y, in, base, true);
}

/* The same without y. */
static __attribute__((unused)) float sum_of_powers(const lanes_input *in, softmax_base base)
{
    return base.pivot == 0 ? powers_and_sum(NULL, in, (softmax_base){0, base.shift}, false)
                           : powers_and_sum(NULL, in, base, false);
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
