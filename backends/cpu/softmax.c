/* Softmax, its logarithm and their gradients on the CPU, in the frame of rows.h. Bound by bytes, with one exponential an element;
 * 16-bit types come near the rate of exponentials.
 *
 * A chunk's exponentials are relative to its own maximum and are kept; the output scales them to the row's (Milakov & Gimelshein
 * 2018). */
#include <math.h>

#include "backends/cpu/rows.h"
#include "backends/cpu/vmath.h"

/* ---- Exponentials ---- */

/* e^x = 2^t 2^base, t = (x - pivot) log2(e) - shift <= 0 or nearly. With a fused multiply-add a small maximum is taken off after
 * the product, in `shift`, whose rounding is the same for the whole chunk and known exactly in `base`; else, and where it would
 * be too much, before it. */
typedef struct softmax_base {
    float pivot, shift;
} softmax_base;

static softmax_base base_of(double most)
{
#ifdef __FMA__
    if (fabs(most) <= 65536) return (softmax_base){0, (float)most * VM_LOG2E};
#endif
    return (softmax_base){most == -INFINITY ? 0 : (float)most, 0}; /* a part of -inf alone has the sum 0 */
}

static double exponent_of(softmax_base b) { return (double)b.pivot * (double)VM_LOG2E + (double)b.shift; }

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
static float powers(float *y, const float *x, softmax_base base, int64_t n)
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
static float sum_of_powers(const float *x, softmax_base base, int64_t n)
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

/* ---- Forward. stats: maximum, sum of 2^t, exponent of its base, what the output is scaled by ---- */

enum { MOST, SUM, EXPONENT, SCALE };

static void forward_partial(const void *context, const row_part *part, double stats[ROW_STATS])
{
    bool nan;
    (void)context;
    const float most = lanes_most(&part->source, 1, &nan);
    const softmax_base base = base_of((double)most);
    const float sum = part->keep ? powers(part->keep, part->x[0], base, part->n) : sum_of_powers(part->x[0], base, part->n);
    stats[MOST] = (double)most;
    stats[SUM] = nan || most == INFINITY ? NAN : (double)sum;
    stats[EXPONENT] = exponent_of(base);
}

static void forward_merge(double into[ROW_STATS], const double from[ROW_STATS])
{
    const double *higher = from[MOST] > into[MOST] ? from : into, *lower = higher == into ? from : into;
    const double sum = higher[SUM] + lower[SUM] * exp2(lower[EXPONENT] - higher[EXPONENT]);
    const double merged[] = {higher[MOST], sum, higher[EXPONENT]};
    memcpy(into, merged, sizeof merged);
}

static void forward_finish(const void *context, int64_t row, int64_t n, double stats[ROW_STATS])
{
    (void)context, (void)row, (void)n;
    if (stats[MOST] == -INFINITY) stats[SUM] = NAN; /* -inf - -inf */
    stats[SCALE] = 1 / stats[SUM];
}

static void forward_relate(const void *context, double own[ROW_STATS], const double stats[ROW_STATS])
{
    (void)context;
    own[SCALE] = own[EXPONENT] == stats[EXPONENT] ? stats[SCALE] : stats[SCALE] * exp2(own[EXPONENT] - stats[EXPONENT]);
}

static void forward_again(const void *context, const row_part *part, const double own[ROW_STATS])
{
    (void)context;
    (void)powers(part->keep, part->x[0], base_of(own[MOST]), part->n);
}

static void forward_emit(const void *context, const row_part *part, const double own[ROW_STATS], const double stats[ROW_STATS],
                         float *y)
{
    const float scale = (float)own[SCALE];
    (void)context, (void)stats;
    for (int64_t i = 0; i < part->n; i++) y[i] = part->keep[i] * scale;
}

static void log_finish(const void *context, int64_t row, int64_t n, double stats[ROW_STATS])
{
    (void)context, (void)row, (void)n;
    if (stats[MOST] == -INFINITY) stats[SUM] = NAN;
    stats[SCALE] = log(stats[SUM]) + (stats[EXPONENT] - stats[MOST] * (double)VM_LOG2E) * 0.6931471805599453;
}

static void log_emit(const void *context, const row_part *part, const double own[ROW_STATS], const double stats[ROW_STATS],
                     float *y)
{
    const float most = (float)stats[MOST], log_sum = (float)stats[SCALE];
    const float *x = part->x[0];
    (void)context, (void)own;
    for (int64_t i = 0; i < part->n; i++) y[i] = (x[i] - most) - log_sum;
}

/* ---- Backward. stats: sum(y dy), or sum(dy) for the logarithm. Inputs: y, dy ---- */

LANES_SUM(lanes_dot, 2, (a) * (b))
LANES_SUM(lanes_second, 2, b)

static void dot_partial(const void *context, const row_part *part, double stats[ROW_STATS])
{
    (void)context;
    stats[0] = (double)lanes_dot(&part->source, 0);
}

static void sum_partial(const void *context, const row_part *part, double stats[ROW_STATS])
{
    (void)context;
    stats[0] = (double)lanes_second(&part->source, 0);
}

static void sum_merge(double into[ROW_STATS], const double from[ROW_STATS]) { into[0] += from[0]; }

static void sum_finish(const void *context, int64_t row, int64_t n, double stats[ROW_STATS])
{
    (void)context, (void)row, (void)n, (void)stats;
}

static void backward_emit(const void *context, const row_part *part, const double own[ROW_STATS], const double stats[ROW_STATS],
                          float *dx)
{
    const float sum = (float)stats[0];
    const float *y = part->x[0], *dy = part->x[1];
    (void)context, (void)own;
    for (int64_t i = 0; i < part->n; i++) dx[i] = y[i] * (dy[i] - sum);
}

static void log_backward_emit(const void *context, const row_part *part, const double own[ROW_STATS],
                              const double stats[ROW_STATS], float *dx)
{
    const float sum = (float)stats[0];
    const float *y = part->x[0], *dy = part->x[1];
    (void)context, (void)own;
    for (int64_t i = 0; i < part->n; i++) dx[i] = dy[i] - vm_exp(y[i]) * sum;
}

/* ---- The backend's functions ---- */

static trine_status softmax_call(trine_call *call, const row_op *op, const trine_tensor *const *tensors)
{
    row_call c;
    const trine_status status = rows_plan(&c, call, op, NULL, tensors);
    if (status != TRINE_OK) return status;
    TRINE_END_OF_QUERY(call, rows_bytes(&c));
    rows_run(&c, call->workspace);
    return TRINE_OK;
}

trine_status TRINE_CPU(softmax)(trine_call *call, const trine_softmax_args *a)
{
    static const row_op op = {1,           true, 1, forward_partial, forward_merge, forward_finish, forward_relate, forward_again,
                              forward_emit};
    return softmax_call(call, &op, (const trine_tensor *[]){&a->y, &a->x});
}

trine_status TRINE_CPU(log_softmax)(trine_call *call, const trine_log_softmax_args *a)
{
    static const row_op op = {1, false, 1, forward_partial, forward_merge, log_finish, NULL, NULL, log_emit};
    return softmax_call(call, &op, (const trine_tensor *[]){&a->y, &a->x});
}

trine_status TRINE_CPU(softmax_backward)(trine_call *call, const trine_softmax_backward_args *a)
{
    static const row_op op = {2, false, 1, dot_partial, sum_merge, sum_finish, NULL, NULL, backward_emit};
    return softmax_call(call, &op, (const trine_tensor *[]){&a->dx, &a->y, &a->dy});
}

trine_status TRINE_CPU(log_softmax_backward)(trine_call *call, const trine_log_softmax_backward_args *a)
{
    static const row_op op = {2, false, 1, sum_partial, sum_merge, sum_finish, NULL, NULL, log_backward_emit};
    return softmax_call(call, &op, (const trine_tensor *[]){&a->dx, &a->y, &a->dy});
}
