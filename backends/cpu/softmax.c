/* Softmax, its logarithm and their gradients on the CPU, in the frame of rows.h. Bound by bytes, with one exponential an element. */
#include <math.h>

#include "backends/cpu/level.h"
#include "backends/cpu/rows.h"
#include "backends/cpu/vmath.h"

/* Calls `body` for spans of `n` elements: i is where the span begins, m its length. */
#define EACH_SPAN(i, m, n) for (int64_t i = 0, m; i < (n) && (m = (n) - i < SPAN_MAX ? (n) - i : SPAN_MAX, true); i += m)

/* ---- Loops over spans ---- */

static float span_most(const float *x, int64_t n, float most)
{
#pragma omp simd reduction(max : most)
    for (int64_t i = 0; i < n; i++) most = x[i] > most ? x[i] : most; /* passes over NaN: its exponential makes the sum NaN */
    return most;
}

/* y = e^(x - most); returns its sum. */
static float span_exp(float *y, const float *x, int64_t n, float most)
{
    float sum = 0;
    for (int64_t i = 0; i < n; i++) y[i] = vm_exp(x[i] - most);
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += y[i];
    return sum;
}

static float span_sum(const float *x, int64_t n)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += x[i];
    return sum;
}

static float span_dot(const float *x, const float *y, int64_t n)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

/* ---- Forward. stats: maximum, sum of exponentials relative to it ---- */

typedef struct softmax_context {
    trine_dtype dtype;
    bool log;
} softmax_context;

/* What a span of the row was loaded to: the scratch if there is one. */
static const float *load_part(const row_part *part, int operand, int64_t i, int64_t m, trine_dtype dtype, float *buffer)
{
    const char *p = part->p[operand] + i * trine_dtype_bits(dtype) / 8;
    return span_load(part->scratch ? part->scratch + i : buffer, p, dtype, m);
}

static void forward_partial(const void *context, const row_part *part, double stats[ROW_STATS])
{
    const softmax_context *c = context;
    SPAN_BUFFER(buffer);
    SPAN_BUFFER(exponential);
    float most = -INFINITY;
    double sum = 0;
    const bool f32 = c->dtype == TRINE_F32;
    EACH_SPAN(i, m, part->n) most = span_most(load_part(part, 1, i, m, c->dtype, buffer), m, most);
    /* a part of -inf alone has no exponentials unless the row has nothing else */
    const float shift = most == -INFINITY && part->n != 0 && !part->scratch ? 0 : most;
    EACH_SPAN(i, m, part->n) {
        const float *x = part->scratch && !f32 ? part->scratch + i : span_load(buffer, part->p[1] + i * trine_dtype_bits(c->dtype) / 8, c->dtype, m);
        sum += (double)span_exp(part->scratch && !c->log ? part->scratch + i : exponential, x, m, shift);
    }
    stats[0] = most;
    stats[1] = sum;
}

static double rescaled(double sum, double most, double to)
{
    return most == to ? sum : most == -INFINITY ? sum * 0 : sum * exp(most - to);
}

static void forward_merge(double into[ROW_STATS], const double from[ROW_STATS])
{
    const double most = into[0] > from[0] ? into[0] : from[0];
    into[1] = rescaled(into[1], into[0], most) + rescaled(from[1], from[0], most);
    into[0] = most;
}

static void forward_finish(const void *context, int64_t row, int64_t n, double stats[ROW_STATS])
{
    const softmax_context *c = context;
    (void)row, (void)n;
    if (stats[0] == -INFINITY || stats[0] == INFINITY) stats[1] = NAN; /* inf - inf */
    stats[2] = c->log ? log(stats[1]) : 1 / stats[1];
}

static void forward_emit(const void *context, const row_part *part, const double stats[ROW_STATS])
{
    const softmax_context *c = context;
    const int64_t size = trine_dtype_bits(c->dtype) / 8;
    const float most = (float)stats[0], last = (float)stats[2];
    SPAN_BUFFER(buffer);
    SPAN_BUFFER(y);
    for (int64_t i = 0, m; i < part->n; i += m) {
        m = span_length(part->p[0] + i * size, c->dtype, part->n - i);
        const bool kept = part->scratch && !(c->log && c->dtype == TRINE_F32); /* exponentials, or x of a narrower dtype */
        const float *x = kept ? part->scratch + i : span_load(buffer, part->p[1] + i * size, c->dtype, m);
        if (c->log)
            for (int64_t j = 0; j < m; j++) y[j] = (x[j] - most) - last;
        else if (kept)
            for (int64_t j = 0; j < m; j++) y[j] = x[j] * last;
        else
            for (int64_t j = 0; j < m; j++) y[j] = vm_exp(x[j] - most) * last;
        span_store(part->p[0] + i * size, c->dtype, y, m, part->stream);
    }
}

static const row_op forward_op = {forward_partial, forward_merge, forward_finish, forward_emit};

static trine_status forward(trine_call *call, const trine_softmax_args *a, bool is_log)
{
    const softmax_context context = {a->x.dtype, is_log};
    return rows_call(call, &forward_op, &context, (const trine_tensor *[]){&a->y, &a->x}, 2);
}

/* ---- Backward. stats: sum(y dy), or sum(dy) for the logarithm ---- */

static void backward_partial(const void *context, const row_part *part, double stats[ROW_STATS])
{
    const softmax_context *c = context;
    const int64_t size = trine_dtype_bits(c->dtype) / 8;
    SPAN_BUFFER(buffer_y);
    SPAN_BUFFER(buffer_dy);
    double sum = 0;
    EACH_SPAN(i, m, part->n) {
        const float *dy = span_load(buffer_dy, part->p[2] + i * size, c->dtype, m);
        sum += c->log ? (double)span_sum(dy, m) : (double)span_dot(span_load(buffer_y, part->p[1] + i * size, c->dtype, m), dy, m);
    }
    stats[0] = sum;
}

static void backward_merge(double into[ROW_STATS], const double from[ROW_STATS])
{
    into[0] += from[0];
}

static void backward_finish(const void *context, int64_t row, int64_t n, double stats[ROW_STATS])
{
    (void)context, (void)row, (void)n, (void)stats;
}

static void backward_emit(const void *context, const row_part *part, const double stats[ROW_STATS])
{
    const softmax_context *c = context;
    const int64_t size = trine_dtype_bits(c->dtype) / 8;
    const float sum = (float)stats[0];
    SPAN_BUFFER(buffer_y);
    SPAN_BUFFER(buffer_dy);
    SPAN_BUFFER(dx);
    for (int64_t i = 0, m; i < part->n; i += m) {
        m = span_length(part->p[0] + i * size, c->dtype, part->n - i);
        const float *y = span_load(buffer_y, part->p[1] + i * size, c->dtype, m), *dy = span_load(buffer_dy, part->p[2] + i * size, c->dtype, m);
        if (c->log)
            for (int64_t j = 0; j < m; j++) dx[j] = dy[j] - vm_exp(y[j]) * sum;
        else
            for (int64_t j = 0; j < m; j++) dx[j] = y[j] * (dy[j] - sum);
        span_store(part->p[0] + i * size, c->dtype, dx, m, part->stream);
    }
}

static const row_op backward_op = {backward_partial, backward_merge, backward_finish, backward_emit};

static trine_status backward(trine_call *call, const trine_softmax_backward_args *a, bool is_log)
{
    const softmax_context context = {a->y.dtype, is_log};
    return rows_call(call, &backward_op, &context, (const trine_tensor *[]){&a->dx, &a->y, &a->dy}, 3);
}

/* ---- The backend's functions ---- */

trine_status TRINE_CPU(softmax)(trine_call *call, const trine_softmax_args *a)
{
    return forward(call, a, false);
}

trine_status TRINE_CPU(log_softmax)(trine_call *call, const trine_log_softmax_args *a)
{
    return forward(call, a, true);
}

trine_status TRINE_CPU(softmax_backward)(trine_call *call, const trine_softmax_backward_args *a)
{
    return backward(call, a, false);
}

trine_status TRINE_CPU(log_softmax_backward)(trine_call *call, const trine_log_softmax_backward_args *a)
{
    return backward(call, a, true);
}
