/* Sums of exponentials on the CPU: what softmax and cross entropy rest on. A partial is a maximum and a sum of exponentials
 * relative to a base near it; merging two rescales the sum of the lower one (Milakov & Gimelshein 2018). */
#ifndef TRINE_CPU_EXP_SUM_H
#define TRINE_CPU_EXP_SUM_H

#include <math.h>

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

/* 2^t for t <= 1, 0 below the smallest normal number; of NaN anything. Coefficients as in vm_exp2. */
static inline float power_of_two(float t)
{
    float clamped = t < -126.0f ? -126.0f : t;
    float z = clamped + VM_ROUND, r = clamped - (z - VM_ROUND);
    float p = TRINE_FMA(0.0001532678f, r, 0.00133910251f);
    p = TRINE_FMA(p, r, 0.00961850584f);
    p = TRINE_FMA(p, r, 0.0555035956f);
    p = TRINE_FMA(p, r, 0.240226477f);
    p = TRINE_FMA(p, r, 0.693147182f);
    p = TRINE_FMA(p, r, 1.0f);
    return t < -126.0f ? 0.0f : vm_float(vm_bits(p) + (vm_bits(z) << 23));
}

static inline float power_at(const float *x, float pivot, float shift, int64_t i)
{
    return power_of_two(TRINE_FMA(x[i] - pivot, VM_LOG2E, -shift));
}

/* y = 2^t of x; returns the sum. y may be x. */
static inline float powers(float *y, const float *x, softmax_base base, int64_t n)
{
    const float pivot = base.pivot, shift = base.shift;
    const int64_t h = n / 2;
    float a = 0, b = 0;
#pragma omp simd reduction(+ : a, b)
    for (int64_t i = 0; i < h; i++) {
        float u = power_at(x, pivot, shift, i), v = power_at(x, pivot, shift, i + h);
        y[i] = u;
        y[i + h] = v;
        a += u;
        b += v;
    }
    if (n % 2) a += y[n - 1] = power_at(x, pivot, shift, n - 1);
    return a + b;
}

/* The same without y. */
static inline float sum_of_powers(const float *x, softmax_base base, int64_t n)
{
    const float pivot = base.pivot, shift = base.shift;
    const int64_t h = n / 2;
    float a = 0, b = 0;
#pragma omp simd reduction(+ : a, b)
    for (int64_t i = 0; i < h; i++) {
        a += power_at(x, pivot, shift, i);
        b += power_at(x, pivot, shift, i + h);
    }
    if (n % 2) a += power_at(x, pivot, shift, n - 1);
    return a + b;
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
