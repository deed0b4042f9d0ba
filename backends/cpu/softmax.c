/* Softmax, its logarithm and their gradients on the CPU, in the frame of rows.h. Bound by bytes, with one exponential an element;
 * 16-bit types come near the rate of exponentials.
 *
 * A chunk's exponentials are relative to its own maximum and are kept; the output scales them to the row's (Milakov & Gimelshein
 * 2018). */
#include "backends/cpu/exp_sum.h"
#include "backends/cpu/rows.h"

/* ---- Forward. stats: maximum, sum of 2^t, exponent of its base, what the output is scaled by ---- */

enum { SCALE = EXPONENT + 1 };

static void forward_partial(const void *context, const row_part *part, double stats[ROW_STATS])
{
    const lanes_input second = rows_second(part, 0);
    (void)context;
    exp_sum_partial(&part->source, &second, part->keep, stats);
}

static void log_partial(const void *context, const row_part *part, double stats[ROW_STATS])
{
    const lanes_input second = rows_second(part, 0);
    (void)context;
    exp_sum_partial(&part->source, &second, NULL, stats);
}

static void forward_merge(double into[ROW_STATS], const double from[ROW_STATS]) { exp_sum_merge(into, from); }

static void forward_finish(const void *context, int64_t row, int64_t n, double stats[ROW_STATS])
{
    (void)context, (void)row, (void)n;
    if (stats[MOST] == -INFINITY) stats[SUM] = NAN; /* -inf - -inf */
    stats[SCALE] = 1 / stats[SUM];
}

static void forward_relate(const void *context, double own[ROW_STATS], const double stats[ROW_STATS])
{
    (void)context;
    own[SCALE] = own[EXPONENT] == stats[EXPONENT] ? stats[SCALE] : stats[SCALE] * exp2_of(own[EXPONENT] - stats[EXPONENT]);
}

static void forward_again(const void *context, const row_part *part, const double own[ROW_STATS])
{
    (void)context;
    const lanes_input in = {.x = {part->source.x[0]}, .dtype = part->source.dtype, .n = part->n};
    (void)powers(&in, part->keep, base_of(own[MOST]));
}

static void forward_emit(const void *context, const row_part *part, const double own[ROW_STATS], const double stats[ROW_STATS],
                         float *y)
{
    const float scale = (float)own[SCALE];
    (void)context, (void)stats;
    for (int64_t i = 0; i < part->n; i++) y[i] = part->keep[i] * scale;
}

ROW_PUT(forward_put)
{
    const float *powers_of = part->keep, scale = (float)own[SCALE];
    (void)context, (void)stats;
    ROW_PUT_EACH(1, LANES_AT(powers_of) * scale);
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

ROW_PUT(log_put)
{
    const float most = (float)stats[MOST], log_sum = (float)stats[SCALE];
    (void)context, (void)own;
    ROW_PUT_EACH(1, ROW_AT(0) - most - log_sum);
}

/* ---- Forward, a row read while another one is written. As exp_sum_partial does it relative to the first block ---- */

#if defined __AVX512DQ__
typedef struct power_sums {
    float near;
    softmax_base base;
    f32x16 sum[POWERS];
} power_sums;

LANES_INLINE void power_begin(power_sums *s, const void *context, const row_cursor *c, trine_dtype type)
{
    const lanes_input in = {.x = {c->x[0]}};
    (void)context;
    s->near = lanes_near_of(&in, type);
    s->base = (softmax_base){0, base_of((double)s->near).shift};
    ROW_EACH(s->sum[k] = (f32x16){0});
}

LANES_INLINE void power_more(power_sums *s, const row_cursor *c, trine_dtype type, int64_t i, bool keep)
{
    f32x16 v[POWERS];
    ROW_EACH(v[k] = ROW_LOAD(c, 0));
    powers_of(v, s->base);
    if (keep) ROW_EACH(memcpy(c->keep + i + LANES * k, &v[k], sizeof v[k]));
    ROW_EACH(s->sum[k] += v[k]);
}

LANES_INLINE void kept_powers_more(power_sums *s, const row_cursor *c, trine_dtype type, int64_t i)
{
    power_more(s, c, type, i, true);
}

LANES_INLINE void bare_powers_more(power_sums *s, const row_cursor *c, trine_dtype type, int64_t i)
{
    power_more(s, c, type, i, false);
}

LANES_INLINE void power_end(const power_sums *s, const void *context, const row_part *part, double stats[ROW_STATS])
{
    const float sum = lanes_sum((s->sum[0] + s->sum[1]) + (s->sum[2] + s->sum[3]));
    const softmax_base base = base_of((double)s->near);
    if (base.pivot == 0 && exp_sum_is_good(s->near, sum, base, stats)) return;
    if (part->keep)
        forward_partial(context, part, stats);
    else
        log_partial(context, part, stats);
}

LANES_INLINE void scale_of(float *scale, const void *context, const row_cursor *c, const double *own, const double *stats)
{
    (void)context, (void)c, (void)stats;
    *scale = (float)own[SCALE];
}

LANES_INLINE void scaled_powers(const float *scale, const row_cursor *c, trine_dtype type, int64_t i, f32x16 y[4])
{
    (void)type;
    ROW_EACH(y[k] = lanes_load(c->keep, TRINE_F32, i + LANES * k) * *scale);
}

typedef struct log_terms {
    float most, log_sum;
} log_terms;

LANES_INLINE void log_terms_of(log_terms *t, const void *context, const row_cursor *c, const double *own, const double *stats)
{
    (void)context, (void)c, (void)own;
    *t = (log_terms){(float)stats[MOST], (float)stats[SCALE]};
}

LANES_INLINE void log_values(const log_terms *t, const row_cursor *c, trine_dtype type, int64_t i, f32x16 y[4])
{
    ROW_EACH(y[k] = ROW_LOAD(c, 0) - t->most - t->log_sum);
}

ROW_BOTH(forward_both, 1, power_sums, power_begin, kept_powers_more, power_end, float, scale_of, scaled_powers)
ROW_BOTH(log_both, 1, power_sums, power_begin, bare_powers_more, power_end, log_terms, log_terms_of, log_values)
#else
#define forward_both NULL
#define log_both NULL
#endif

/* ---- Backward. stats: sum(y dy), or sum(dy) for the logarithm. Inputs: y, dy ---- */

LANES_SUM(lanes_dot, 2, lanes_fma(a, b, s))
LANES_SUM(lanes_second, 2, s + b)

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

ROW_PUT(backward_put)
{
    const float sum = (float)stats[0];
    (void)context, (void)own;
    ROW_PUT_EACH(2, ROW_AT(0) * (ROW_AT(1) - sum));
}

static void log_backward_emit(const void *context, const row_part *part, const double own[ROW_STATS],
                              const double stats[ROW_STATS], float *dx)
{
    const float sum = (float)stats[0];
    const float *dy = part->x[1];
    SPAN_BUFFER(powers_of_y);
    (void)context, (void)own;
    exp_less(powers_of_y, part->x[0], part->n, 0, NULL); /* as in put, bit for bit */
    for (int64_t i = 0; i < part->n; i++) dx[i] = dy[i] - powers_of_y[i] * sum;
}

ROW_PUT(log_backward_put)
{
    _Alignas(64) float powers_of_y[ROW_CHUNK];
    const float sum = (float)stats[0];
    (void)context, (void)own;
    for (int64_t i = 0, m; i < part->n; i += m) {
        m = part->n - i < SPAN_MAX ? part->n - i : SPAN_MAX;
        const float *y = span_load(powers_of_y + i, (const char *)part->source.x[0] + i * lanes_size(dtype), dtype, m);
        exp_less(powers_of_y + i, y, m, 0, NULL);
    }
    ROW_PUT_EACH(2, ROW_AT(1) - LANES_AT(powers_of_y) * sum);
}

/* ---- Backward, a row read while another one is written ---- */

typedef struct product_sums {
    f32x16 sum[4];
} product_sums;

LANES_INLINE void product_begin(product_sums *s, const void *context, const row_cursor *c, trine_dtype type)
{
    (void)context, (void)c, (void)type;
    ROW_EACH(s->sum[k] = (f32x16){0});
}

LANES_INLINE void product_more(product_sums *s, const row_cursor *c, trine_dtype type, int64_t i)
{
    ROW_EACH(s->sum[k] = lanes_fma(ROW_LOAD(c, 0), ROW_LOAD(c, 1), s->sum[k]));
}

LANES_INLINE void slope_more(product_sums *s, const row_cursor *c, trine_dtype type, int64_t i)
{
    ROW_EACH(s->sum[k] += ROW_LOAD(c, 1));
}

LANES_INLINE void product_end(const product_sums *s, const void *context, const row_part *part, double stats[ROW_STATS])
{
    (void)context, (void)part;
    stats[0] = (double)lanes_sum((s->sum[0] + s->sum[1]) + (s->sum[2] + s->sum[3]));
}

LANES_INLINE void product_of(float *sum, const void *context, const row_cursor *c, const double *own, const double *stats)
{
    (void)context, (void)c, (void)own;
    *sum = (float)stats[0];
}

LANES_INLINE void backward_values(const float *sum, const row_cursor *c, trine_dtype type, int64_t i, f32x16 dx[4])
{
    ROW_EACH(dx[k] = ROW_LOAD(c, 0) * (ROW_LOAD(c, 1) - *sum));
}

ROW_BOTH(backward_both, 2, product_sums, product_begin, product_more, product_end, float, product_of, backward_values)

#if defined __AVX512DQ__
LANES_INLINE void log_backward_values(const float *sum, const row_cursor *c, trine_dtype type, int64_t i, f32x16 dx[4])
{
    ROW_EACH(dx[k] = ROW_LOAD(c, 0));
    powers_of(dx, (softmax_base){0, 0});
    ROW_EACH(dx[k] = ROW_LOAD(c, 1) - dx[k] * *sum);
}

ROW_BOTH(log_backward_both, 2, product_sums, product_begin, slope_more, product_end, float, product_of, log_backward_values)
#else
#define log_backward_both NULL
#endif

/* ---- The backend's functions ---- */

trine_status TRINE_CPU(softmax)(trine_call *call, const trine_softmax_args *a)
{
    static const row_op op = {1,
                              ROW_KEEPS,
                              forward_partial,
                              forward_merge,
                              forward_finish,
                              forward_relate,
                              forward_again,
                              forward_emit,
                              forward_put,
                              .both = forward_both};
    return rows_call(call, &op, NULL, (const trine_tensor *[]){&a->y, &a->x});
}

trine_status TRINE_CPU(log_softmax)(trine_call *call, const trine_log_softmax_args *a)
{
    static const row_op op = {1,    ROW_KEEPS_NOTHING, log_partial, forward_merge,   log_finish, NULL,
                              NULL, log_emit,          log_put,     .both = log_both};
    return rows_call(call, &op, NULL, (const trine_tensor *[]){&a->y, &a->x});
}

trine_status TRINE_CPU(softmax_backward)(trine_call *call, const trine_softmax_backward_args *a)
{
    static const row_op op = {
        2, ROW_KEEPS_NOTHING, dot_partial, sum_merge, sum_finish, NULL, NULL, backward_emit, backward_put, .both = backward_both};
    return rows_call(call, &op, NULL, (const trine_tensor *[]){&a->dx, &a->y, &a->dy});
}

trine_status TRINE_CPU(log_softmax_backward)(trine_call *call, const trine_log_softmax_backward_args *a)
{
    static const row_op op = {2,
                              ROW_KEEPS_NOTHING,
                              sum_partial,
                              sum_merge,
                              sum_finish,
                              NULL,
                              NULL,
                              log_backward_emit,
                              log_backward_put,
                              .both = log_backward_both};
    return rows_call(call, &op, NULL, (const trine_tensor *[]){&a->dx, &a->y, &a->dy});
}
