/* Layernorm and rmsnorm on the CPU, in the frame of rows.h. Bound by bytes. Sums of spans are f32, everything above them f64. */
#include <math.h>

#include "backends/cpu/level.h"
#include "backends/cpu/rows.h"

typedef struct norm_context {
    trine_dtype dtype;
    const trine_tensor *weight, *bias, *mean, *rstd; /* not given: dtype NONE */
    float eps, weight_offset;
    bool round_first;
} norm_context;

static const float *load(const row_part *part, int64_t i, int64_t m, trine_dtype dtype, float *buffer)
{
    return span_load(buffer, part->p[1] + i * trine_dtype_bits(dtype) / 8, dtype, m);
}

/* Converted once: into the scratch by the first pass, from there in the later ones. f32 needs no conversion. */
static const float *load_first(const row_part *part, int64_t i, int64_t m, trine_dtype dtype, float *buffer)
{
    return load(part, i, m, dtype, part->scratch ? part->scratch + i : buffer);
}

static const float *load_again(const row_part *part, int64_t i, int64_t m, trine_dtype dtype, float *buffer)
{
    return part->scratch && dtype != TRINE_F32 ? part->scratch + i : load(part, i, m, dtype, buffer);
}

static float span_sum(const float *x, int64_t n)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += x[i];
    return sum;
}

static float span_squares(const float *x, int64_t n, float about)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += (x[i] - about) * (x[i] - about);
    return sum;
}

static int64_t span_at(int64_t i, int64_t n)
{
    return n - i < SPAN_MAX ? n - i : SPAN_MAX;
}

/* ---- Layernorm. stats: count, mean, sum of squares about it ---- */

static void layernorm_partial(const void *context, const row_part *part, double stats[ROW_STATS])
{
    const norm_context *c = context;
    SPAN_BUFFER(buffer);
    double sum = 0, squares = 0;
    for (int64_t i = 0, m; i < part->n; i += m) {
        m = span_at(i, part->n);
        sum += (double)span_sum(load_first(part, i, m, c->dtype, buffer), m);
    }
    const double mean = sum / (double)part->n;
    /* about the mean as f32 has it; what that leaves is taken out after */
    for (int64_t i = 0, m; i < part->n; i += m) {
        m = span_at(i, part->n);
        squares += (double)span_squares(load_again(part, i, m, c->dtype, buffer), m, (float)mean);
    }
    const double off = mean - (double)(float)mean;
    stats[0] = (double)part->n;
    stats[1] = mean;
    stats[2] = squares - (double)part->n * off * off;
}

/* Chan, Golub, LeVeque 1979 */
static void layernorm_merge(double into[ROW_STATS], const double from[ROW_STATS])
{
    const double count = into[0] + from[0], d = from[1] - into[1];
    into[2] += from[2] + d * d * into[0] * from[0] / count;
    into[1] += d * from[0] / count;
    into[0] = count;
}

static void put_statistic(const trine_tensor *t, int64_t row, double value)
{
    if (trine_is_given(t)) ((float *)t->data)[row] = (float)value;
}

static void layernorm_finish(const void *context, int64_t row, int64_t n, double stats[ROW_STATS])
{
    const norm_context *c = context;
    if (n == 0) stats[1] = stats[2] = NAN; /* over nothing */
    stats[2] = 1 / sqrt((stats[2] < 0 ? 0 : stats[2]) / (n ? (double)n : 1) + (double)c->eps);
    put_statistic(c->mean, row, stats[1]);
    put_statistic(c->rstd, row, stats[2]);
}

/* y *= weight, y += bias, for the columns from `column` on. */
static void apply_parameters(const norm_context *c, float *y, int64_t column, int64_t m)
{
    SPAN_BUFFER(buffer);
    if (trine_is_given(c->weight)) {
        const float *w = span_load(buffer, (const char *)c->weight->data + column * trine_dtype_bits(c->weight->dtype) / 8, c->weight->dtype, m);
        const float offset = c->weight_offset;
        for (int64_t j = 0; j < m; j++) y[j] *= offset + w[j];
    }
    if (trine_is_given(c->bias)) {
        const float *b = span_load(buffer, (const char *)c->bias->data + column * trine_dtype_bits(c->bias->dtype) / 8, c->bias->dtype, m);
        for (int64_t j = 0; j < m; j++) y[j] += b[j];
    }
}

static void norm_emit(const norm_context *c, const row_part *part, float mean, float rstd)
{
    const int64_t size = trine_dtype_bits(c->dtype) / 8;
    SPAN_BUFFER(buffer);
    SPAN_BUFFER(y);
    for (int64_t i = 0, m; i < part->n; i += m) {
        m = span_length(part->p[0] + i * size, c->dtype, part->n - i);
        const float *x = load_again(part, i, m, c->dtype, buffer);
        for (int64_t j = 0; j < m; j++) y[j] = (x[j] - mean) * rstd;
        if (c->round_first && c->dtype != TRINE_F32) {
            char rounded[SPAN_MAX * 2];
            span_store(rounded, c->dtype, y, m, false);
            (void)span_load(y, rounded, c->dtype, m);
        }
        apply_parameters(c, y, part->column + i, m);
        span_store(part->p[0] + i * size, c->dtype, y, m, part->stream);
    }
}

static void layernorm_emit(const void *context, const row_part *part, const double stats[ROW_STATS])
{
    norm_emit(context, part, (float)stats[1], (float)stats[2]);
}

trine_status TRINE_CPU(layernorm)(trine_call *call, const trine_layernorm_args *a)
{
    static const row_op op = {layernorm_partial, layernorm_merge, layernorm_finish, layernorm_emit};
    const norm_context context = {a->x.dtype, &a->weight, &a->bias, &a->mean, &a->rstd, a->eps, 0, false};
    return rows_call(call, &op, &context, (const trine_tensor *[]){&a->y, &a->x}, 2);
}

/* ---- Rmsnorm. stats: sum of squares ---- */

static void rmsnorm_partial(const void *context, const row_part *part, double stats[ROW_STATS])
{
    const norm_context *c = context;
    SPAN_BUFFER(buffer);
    double squares = 0;
    for (int64_t i = 0, m; i < part->n; i += m) {
        m = span_at(i, part->n);
        squares += (double)span_squares(load_first(part, i, m, c->dtype, buffer), m, 0);
    }
    stats[0] = squares;
}

static void rmsnorm_merge(double into[ROW_STATS], const double from[ROW_STATS])
{
    into[0] += from[0];
}

static void rmsnorm_finish(const void *context, int64_t row, int64_t n, double stats[ROW_STATS])
{
    const norm_context *c = context;
    stats[0] = n ? 1 / sqrt(stats[0] / (double)n + (double)c->eps) : NAN;
    put_statistic(c->rstd, row, stats[0]);
}

static void rmsnorm_emit(const void *context, const row_part *part, const double stats[ROW_STATS])
{
    norm_emit(context, part, 0, (float)stats[0]);
}

trine_status TRINE_CPU(rmsnorm)(trine_call *call, const trine_rmsnorm_args *a)
{
    static const row_op op = {rmsnorm_partial, rmsnorm_merge, rmsnorm_finish, rmsnorm_emit};
    static const trine_tensor none;
    const norm_context context = {a->x.dtype, &a->weight, &none, &none, &a->rstd, a->eps, a->weight_offset, a->round_first != 0};
    return rows_call(call, &op, &context, (const trine_tensor *[]){&a->y, &a->x}, 2);
}
