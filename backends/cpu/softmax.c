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
    exp_sum_partial(&part->source, &second, part->keep, false, stats);
}

static void log_partial(const void *context, const row_part *part, double stats[ROW_STATS])
{
    const lanes_input second = rows_second(part, 0);
    (void)context;
    exp_sum_partial(&part->source, &second, NULL, true, stats);
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
    (void)powers(&in, part->keep, base_of(own[MOST]), NULL);
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
    const float *y = part->x[0], *dy = part->x[1];
    (void)context, (void)own;
    for (int64_t i = 0; i < part->n; i++) dx[i] = dy[i] - vm_exp(y[i]) * sum;
}

ROW_PUT(log_backward_put)
{
    _Alignas(64) float powers_of_y[ROW_CHUNK_MOST];
    const float sum = (float)stats[0];
    (void)context, (void)own;
    for (int64_t i = 0, m; i < part->n; i += m) {
        m = part->n - i < SPAN_MAX ? part->n - i : SPAN_MAX;
        const float *y = span_load(powers_of_y + i, (const char *)part->source.x[0] + i * lanes_size(dtype), dtype, m);
        exp_less(powers_of_y + i, y, m, 0, NULL);
    }
    ROW_PUT_EACH(2, ROW_AT(1) - LANES_AT(powers_of_y) * sum);
}

/* ---- The backend's functions ---- */

trine_status TRINE_CPU(softmax)(trine_call *call, const trine_softmax_args *a)
{
    static const row_op op = {
        1, ROW_KEEPS, forward_partial, forward_merge, forward_finish, forward_relate, forward_again, forward_emit, forward_put};
    return rows_call(call, &op, NULL, (const trine_tensor *[]){&a->y, &a->x});
}

trine_status TRINE_CPU(log_softmax)(trine_call *call, const trine_log_softmax_args *a)
{
    static const row_op op = {1, ROW_KEEPS_NOTHING, log_partial, forward_merge, log_finish, NULL, NULL, log_emit, log_put};
    return rows_call(call, &op, NULL, (const trine_tensor *[]){&a->y, &a->x});
}

trine_status TRINE_CPU(softmax_backward)(trine_call *call, const trine_softmax_backward_args *a)
{
    static const row_op op = {2, ROW_KEEPS_NOTHING, dot_partial, sum_merge, sum_finish, NULL, NULL, backward_emit, backward_put};
    return rows_call(call, &op, NULL, (const trine_tensor *[]){&a->dx, &a->y, &a->dy});
}

trine_status TRINE_CPU(log_softmax_backward)(trine_call *call, const trine_log_softmax_backward_args *a)
{
    static const row_op op = {2,    ROW_KEEPS_NOTHING, sum_partial,     sum_merge, sum_finish, NULL,
                              NULL, log_backward_emit, log_backward_put};
    return rows_call(call, &op, NULL, (const trine_tensor *[]){&a->dx, &a->y, &a->dy});
}
