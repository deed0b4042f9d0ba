/* Sums of exponentials on the CPU: what softmax and cross entropy rest on. A partial is a maximum and a sum of exponentials
 * relative to a base near it; merging two rescales the sum of the lower one (Milakov & Gimelshein 2018). */
#ifndef TRINE_CPU_EXP_SUM_H
#define TRINE_CPU_EXP_SUM_H

#include <math.h>

#include "backends/cpu/lanes_exp2.h"

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
#define POWERS_EACH(statement) LANES_EACH(POWERS, statement)

/* x becomes 2^t, as lanes_exp2 has it. (Zen 5, cycles a vector: 5.6, with floor and scale as instructions 4.5.) */
LANES_INLINE void powers_of(f32x16 x[POWERS], softmax_base base)
{
    if (base.pivot != 0) POWERS_EACH(x[k] -= base.pivot);
    POWERS_EACH(x[k] = lanes_fma(x[k], lanes_of(VM_LOG2E), lanes_of(-base.shift)));
    lanes_exp2(x, POWERS);
}

/* Sums of 2^t of in->x[0], of every 16th element; asks for in->ahead[0]. y: where the powers go, or NULL. */
LANES_INLINE f32x16 powers_and_sums(const lanes_input *from, trine_dtype dtype, float *y, softmax_base base)
{
    const lanes_input own = *from, *in = &own; /* which no store to y can change */
    const void *x = in->x[0];
    const int64_t n = in->n;
    f32x16 sum[POWERS] = {{0}, {0}, {0}, {0}}, v[POWERS];
    int64_t i = 0;
    for (; i + POWERS * LANES <= n; i += POWERS * LANES) {
        if (lanes_size(dtype) == 4 && in->lines > 0) {
            POWERS_EACH((lanes_ahead(in, 1, i, k), v[k] = lanes_load(x, dtype, i + LANES * k)));
        } else { /* two of 16 bits, before all: between them vectors would be spilled (Zen 5, cross_entropy: 44 ms, then 53) */
            lanes_ask(in->ahead[0] + i * in->lines, in->lines);
            POWERS_EACH(v[k] = lanes_load(x, dtype, i + LANES * k));
        }
        powers_of(v, base);
        if (y) POWERS_EACH(memcpy(y + i + LANES * k, &v[k], sizeof v[k]));
        POWERS_EACH(sum[k] += v[k]);
    }
    if (i < n) { /* what there is no more of is 0 */
        const int64_t whole = (n - i) / LANES;
        for (int k = 0; k < POWERS; k++)
            v[k] = k < whole ? lanes_load(x, dtype, i + LANES * k)
                             : lanes_load_part(x, dtype, i + LANES * k, k > whole ? 0 : (n - i) % LANES, -INFINITY);
        powers_of(v, base);
        for (int k = 0; k < POWERS && y && k <= whole; k++)
            if (k < whole)
                memcpy(y + i + LANES * k, &v[k], sizeof v[k]);
            else
                lanes_store_part(y + i + LANES * k, v[k], (n - i) % LANES);
        POWERS_EACH(sum[k] += v[k]);
    }
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* With loops of their own for what is NULL and for a base without a pivot. */
LANES_INLINE f32x16 powers_as(const lanes_input *in, trine_dtype dtype, float *y, softmax_base base)
{
    const softmax_base shifted = {0, base.shift};
    if (base.pivot != 0) return powers_and_sums(in, dtype, y, base);
    return y ? powers_and_sums(in, dtype, y, shifted) : powers_and_sums(in, dtype, NULL, shifted);
}

static __attribute__((unused)) void powers_of_lanes(const lanes_input *in, float *y, softmax_base base, f32x16 *sums)
{
    *sums = in->dtype == TRINE_F32    ? powers_as(in, TRINE_F32, y, base)
            : in->dtype == TRINE_BF16 ? powers_as(in, TRINE_BF16, y, base)
                                      : powers_as(in, TRINE_F16, y, base);
}

static inline float powers(const lanes_input *in, float *y, softmax_base base)
{
    f32x16 sums;
    powers_of_lanes(in, y, base, &sums);
    return lanes_sum(sums);
}

/* y = e^(x - base), NaN and infinity included; the difference is rounded. ahead: what is asked for, as much as x, or NULL. */
static __attribute__((unused)) void exp_less(float *y, const float *x, int64_t n, float base, const float *ahead)
{
#if defined __AVX512DQ__
    const lanes_input in = {
        .x = {x}, .dtype = TRINE_F32, .n = n, .ahead = {(const char *)(const void *)ahead}, .lines = ahead ? 4 : 0};
    (void)powers(&in, y, (softmax_base){base, 0});
#else
    (void)ahead;
    for (int64_t i = 0; i < n; i++) y[i] = vm_exp(x[i] - base);
#endif
}

/* A partial: a number near the maximum, sum of 2^t, exponent of its base. */
enum { MOST, SUM, EXPONENT };

/* 2^x for x <= 0, at least 2^-1000, which is nothing beside 1: the series of e^(r ln 2), |r| <= 1/2 (err 2^-37). */
static inline double exp2_of(double x)
{
    const double low = x < -1000 ? -1000 : x, t = low + 0x1.8p52, z = (low - (t - 0x1.8p52)) * 0.6931471805599453, s = z * z;
    const double a = 1 + z + s * (0.5 + z * (1.0 / 6)),
                 b = 1.0 / 24 + z * (1.0 / 120) + s * (1.0 / 720 + z * (1.0 / 5040) + s * (1.0 / 40320 + z * (1.0 / 362880)));
    uint64_t bits;
    double power;
    memcpy(&bits, &t, sizeof bits);
    bits = (bits + 1023) << 52;
    memcpy(&power, &bits, sizeof power);
    return (a + s * s * b) * power;
}

static inline void exp_sum_merge(double *into, const double *from)
{
    const double *higher = from[MOST] > into[MOST] ? from : into, *lower = higher == into ? from : into;
    const double sum = higher[SUM] + lower[SUM] * exp2_of(lower[EXPONENT] - higher[EXPONENT]);
    const double merged[] = {higher[MOST], sum, higher[EXPONENT]};
    memcpy(into, merged, sizeof merged);
}

/* Whether a sum relative to `near`, of elements not all of which are known to be near it, will do: then it is the partial. None of
 * the powers is above 2^16, and errors of t are at most 2^-21. */
static inline bool exp_sum_is_good(float near, float sum, softmax_base base, double stats[EXPONENT + 1])
{
    if (!(near - near == 0 && sum < 0x1p16f)) return false;
    stats[MOST] = (double)near;
    stats[SUM] = (double)sum;
    stats[EXPONENT] = exponent_of(base);
    return true;
}

/* The partial of n elements in one pass over `first`, relative to the largest of the first block: where that is far from the
 * largest of all, or something is no number, in two, of which the one over `second` comes last. y: where the powers go, or
 * NULL. */
static inline void exp_sum_partial(const lanes_input *first, const lanes_input *second, float *y, double stats[EXPONENT + 1])
{
    bool nan;
#if defined __AVX512DQ__
    const float near = first->n < LANES_BLOCK ? NAN : lanes_near(first);
    if (near - near == 0) {
        const softmax_base base = base_of((double)near);
        const float sum = powers(first, y, base);
        if (exp_sum_is_good(near, sum, base, stats)) return;
    }
#endif
    const float most = lanes_most(first, 1, &nan);
    const softmax_base base = base_of((double)most);
    const float sum = powers(second, y, base);
    stats[MOST] = (double)most;
    stats[SUM] = nan || most == INFINITY ? NAN : (double)sum;
    stats[EXPONENT] = exponent_of(base);
}

/* exp_sum_partial of some inputs. All of one step before the next one: a step's latency is hidden by the others'. */
enum { EXP_SUM_ROWS = 8 };
static inline void exp_sum_partials(const lanes_input *in, int rows, double (*stats)[EXPONENT + 1])
{
#if defined __AVX512DQ__
    float near[EXP_SUM_ROWS];
    f32x16 sums[EXP_SUM_ROWS];
    for (int r = 0; r < rows; r++) near[r] = in[r].n < LANES_BLOCK ? NAN : lanes_near(&in[r]);
    for (int r = 0; r < rows; r++)
        if (near[r] - near[r] == 0) powers_of_lanes(&in[r], NULL, base_of((double)near[r]), &sums[r]);
    for (int r = 0; r < rows; r++)
        if (!(near[r] - near[r] == 0 && exp_sum_is_good(near[r], lanes_sum(sums[r]), base_of((double)near[r]), stats[r])))
            exp_sum_partial(&in[r], &in[r], NULL, stats[r]);
#else
    for (int r = 0; r < rows; r++) exp_sum_partial(&in[r], &in[r], NULL, stats[r]);
#endif
}

#endif
