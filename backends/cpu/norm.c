/* Layernorm and rmsnorm on the CPU, in the frame of rows.h. Bound by bytes. Sums of chunks are f32, everything above them f64. */
#include <math.h>

#include "backends/cpu/norm_backward.h"
#include "backends/cpu/rows.h"
#include "backends/cpu/walk.h"
#include "backends/cpu/vmath.h"

typedef struct norm_context {
    trine_dtype dtype;
    trine_tensor weight, bias, mean, rstd; /* not given: dtype NONE */
    float eps, weight_offset;
    bool round_first, adds, centred;
} norm_context;

LANES_SUM(lanes_plain, 1, s + a)
LANES_SUM(lanes_squares, 1, lanes_fma(a - about, a - about, s))

/* ---- The residual ---- */

/* x + residual as the dtype has it, n elements of a span, to `to`. */
static void add_span(const lanes_input *in, int64_t i, int64_t n, float *to)
{
    const int64_t at = i * lanes_size(in->dtype);
    SPAN_BUFFER(x_buffer);
    SPAN_BUFFER(residual_buffer);
    const float *x = span_load(x_buffer, (const char *)in->x[0] + at, in->dtype, n),
                *residual = span_load(residual_buffer, (const char *)in->x[1] + at, in->dtype, n);
    for (int64_t k = 0; k < n; k++) to[k] = x[k] + residual[k];
    if (in->dtype == TRINE_F32) return;
    char codes[SPAN_MAX * 2];
    span_store(codes, in->dtype, to, n, false);
    (void)span_load(to, codes, in->dtype, n);
}

/* The same of n elements, a multiple of LANES_BLOCK. */
LANES_INLINE void add_lines(const lanes_input *from, trine_dtype dtype, int64_t n, float *to)
{
    const lanes_input own = *from, *in = &own; /* which no store can change */
    for (int64_t i = 0; i < n; i += LANES_PUT) {
        _Alignas(64) char codes[2 * LANES_PUT];
        f32x16 sum[2];
        for (int k = 0; k < 2; k++) {
            lanes_ahead(in, 2, i / LANES_BLOCK * LANES_BLOCK, (int)(i % LANES_BLOCK / LANES) + k);
            sum[k] = lanes_load(in->x[0], dtype, i + LANES * k) + lanes_load(in->x[1], dtype, i + LANES * k);
        }
        if (dtype != TRINE_F32) {
            lanes_put(codes, dtype, sum[0], sum[1], false);
            for (int k = 0; k < 2; k++) sum[k] = lanes_load(codes, dtype, LANES * k);
        }
        memcpy(to + i, sum, sizeof sum);
    }
}

/* To where the part is kept. Asks for what comes next. */
static void add_residual(const norm_context *c, const row_part *part)
{
    const lanes_input *in = &part->source;
    int64_t i = LANES_PUTS ? part->n / LANES_BLOCK * LANES_BLOCK : 0;
    if (c->dtype == TRINE_F32)
        add_lines(in, TRINE_F32, i, part->keep);
    else if (c->dtype == TRINE_BF16)
        add_lines(in, TRINE_BF16, i, part->keep);
    else
        add_lines(in, TRINE_F16, i, part->keep);
    for (int64_t m; i < part->n; i += m) {
        m = part->n - i < SPAN_MAX ? part->n - i : SPAN_MAX;
        add_span(in, i, m, part->keep + i);
    }
}

static void residual_again(const void *context, const row_part *part, const double own[ROW_STATS])
{
    (void)own;
    add_residual(context, part);
}

/* What is normalised, as a first pass reads it: by its address, for a copy of what has just been written would wait. */
static const lanes_input *norm_source(const norm_context *c, const row_part *part, lanes_input *kept)
{
    if (!c->adds) return &part->source;
    add_residual(c, part);
    *kept = (lanes_input){.x = {part->keep}, .dtype = TRINE_F32, .n = part->n};
    return kept;
}

/* ---- The output ---- */

/* A weight or bias at [column, column + n) as f32. */
static const float *parameter(const trine_tensor *t, int64_t column, int64_t n, float *buffer)
{
    return span_load(buffer, (const char *)t->data + column * trine_dtype_bits(t->dtype) / 8, t->dtype, n);
}

/* y = (x - mean) rstd, then rounded, times weight, plus bias, as far as wanted. */
static void norm_emit(const norm_context *c, const row_part *part, float mean, float rstd, float *y)
{
    SPAN_BUFFER(weight_buffer);
    SPAN_BUFFER(bias_buffer);
    const int64_t n = part->n;
    const float *x = c->adds ? part->keep : part->x[0], offset = c->weight_offset;
    const float *w = trine_is_given(&c->weight) ? parameter(&c->weight, part->column, n, weight_buffer) : NULL;
    const float *b = trine_is_given(&c->bias) ? parameter(&c->bias, part->column, n, bias_buffer) : NULL;
    if (c->round_first && c->dtype != TRINE_F32) {
        char rounded[SPAN_MAX * 2];
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * rstd;
        span_store(rounded, c->dtype, y, n, false);
        x = span_load(y, rounded, c->dtype, n);
        mean = 0;
        rstd = 1;
    }
    if (w && b)
        for (int64_t i = 0; i < n; i++) y[i] = TRINE_FMA((x[i] - mean) * rstd, offset + w[i], b[i]);
    else if (w)
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * rstd * (offset + w[i]);
    else if (b)
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * rstd + b[i];
    else
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * rstd * (offset + 1);
}

/* The same without offset, of parameters that are f32, or with `same` of the dtype. adds: x is what is kept. LANES_PUT_EACH is
 * large: cases that differ in what they load only. */
#define NORM_X (adds ? lanes_load(part->keep, TRINE_F32, i) : ROW_AT(0))
#define NORM_OF(t) lanes_load(t, same ? type_ : TRINE_F32, i)
LANES_INLINE void norm_put_as(const norm_context *c, const row_part *part, bool centred, bool adds, bool same, float mean,
                              float rstd, void *to, trine_dtype dtype, bool stream)
{
    const int64_t from = part->column * (same ? lanes_size(dtype) : 4);
    const char *w = trine_is_given(&c->weight) ? (const char *)c->weight.data + from : NULL;
    const char *b = trine_is_given(&c->bias) ? (const char *)c->bias.data + from : NULL;
    if (!centred && !w)
        ROW_PUT_EACH(adds ? 2 : 1, NORM_X * rstd);
    else if (!centred)
        ROW_PUT_EACH(adds ? 2 : 1, NORM_X * rstd * NORM_OF(w));
    else if (w && b)
        ROW_PUT_EACH(adds ? 2 : 1, lanes_fma((NORM_X - mean) * rstd, NORM_OF(w), NORM_OF(b)));
    else if (w)
        ROW_PUT_EACH(adds ? 2 : 1, (NORM_X - mean) * rstd * NORM_OF(w));
    else if (b)
        ROW_PUT_EACH(adds ? 2 : 1, (NORM_X - mean) * rstd + NORM_OF(b));
    else
        ROW_PUT_EACH(adds ? 2 : 1, (NORM_X - mean) * rstd);
}

static inline void norm_put(const norm_context *c, const row_part *part, bool centred, float mean, float rstd, void *to,
                            trine_dtype dtype, bool stream)
{
    const bool wide = (!trine_is_given(&c->weight) || c->weight.dtype == TRINE_F32) &&
                      (!trine_is_given(&c->bias) || c->bias.dtype == TRINE_F32);
    if (c->adds && wide)
        norm_put_as(c, part, centred, true, false, mean, rstd, to, dtype, stream);
    else if (c->adds)
        norm_put_as(c, part, centred, true, true, mean, rstd, to, dtype, stream);
    else if (wide)
        norm_put_as(c, part, centred, false, false, mean, rstd, to, dtype, stream);
    else
        norm_put_as(c, part, centred, false, true, mean, rstd, to, dtype, stream);
}

static void put_statistic(const trine_tensor *t, int64_t row, double value)
{
    if (trine_is_given(t)) ((float *)t->data)[row] = (float)value;
}

/* ---- Calls ---- */

/* Parameters are converted once a call rather than once a row where there are enough rows and the f32 ones stay in the L1 and L2
 * caches. */
enum { NORM_WIDE = 16384, NORM_ROWS = 8 };

/* Elements of a row up to which its sum with the residual is kept; beyond, it is made again, for the L2 cache holds its terms. */
enum { NORM_KEPT = 16384 };

static bool to_widen(const trine_tensor *t, const row_call *c)
{
    return trine_is_given(t) && t->dtype != TRINE_F32 && c->n <= NORM_WIDE && c->rows.numel >= NORM_ROWS;
}

static float *widen(trine_tensor *t, const row_call *c, float *to)
{
    if (!to_widen(t, c)) return to;
    (void)span_load(to, t->data, t->dtype, c->n);
    t->data = to;
    t->dtype = TRINE_F32;
    return to + (c->n + 15) / 16 * 16;
}

/* Whether norm_put can load the parameters. */
static bool may_put(const norm_context *c)
{
    const trine_tensor *given[] = {&c->weight, &c->bias};
    bool wide = true, same = true;
    for (int k = 0; k < 2; k++) {
        if (!trine_is_given(given[k])) continue;
        wide = wide && given[k]->dtype == TRINE_F32;
        same = same && given[k]->dtype == c->dtype;
    }
    return (wide || same) && !c->round_first && c->weight_offset == 0;
}

static row_both_fn norm_both_of(const norm_context *c, bool kept);

static trine_status norm_call(trine_call *call, const row_op *op, norm_context *context, const trine_tensor *const *tensors)
{
    row_call c;
    const trine_status status = rows_plan(&c, call, op, context, tensors);
    if (status != TRINE_OK) return status;
    const size_t rows = rows_bytes(&c), wide = (size_t)(c.n + 15) / 16 * 64;
    TRINE_END_OF_QUERY(call, rows + wide * ((size_t)to_widen(&context->weight, &c) + (size_t)to_widen(&context->bias, &c)));
    float *to = (float *)(void *)((char *)call->workspace + rows);
    widen(&context->bias, &c, widen(&context->weight, &c, to));
    row_op plain = *op;
    if (!may_put(context)) plain.put = NULL;
    plain.both = plain.put ? norm_both_of(context, c.kept) : NULL;
    plain.both_again = !c.kept;
    c.op = &plain;
    rows_run(&c, call->workspace);
    return TRINE_OK;
}

static int norm_keeps(const trine_tensor *residual, const trine_tensor *sum)
{
    return !trine_is_given(residual) ? ROW_KEEPS_NOTHING : trine_is_given(sum) ? ROW_STORES_KEPT : ROW_KEEPS;
}

/* ---- Layernorm. stats: count, mean, sum of squares about it ---- */

/* Sums of x - about and of its squares. */
LANES_INLINE void moments_of(const lanes_input *from, trine_dtype dtype, float about, float *sum, float *squares)
{
    const lanes_input own = *from, *in = &own;
    const f32x16 pivot = lanes_of(about);
    f32x16 s[4] = {{0}, {0}, {0}, {0}}, q[4] = {{0}, {0}, {0}, {0}};
    int64_t i = 0;
    for (; i + LANES_BLOCK <= in->n; i += LANES_BLOCK) {
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            lanes_ahead(in, 1, i, k);
            const f32x16 d = lanes_load(in->x[0], dtype, i + LANES * k) - pivot;
            s[k] += d;
            q[k] = lanes_fma(d, d, q[k]);
        }
    }
    for (int64_t m; i < in->n; i += m) {
        m = in->n - i < LANES ? in->n - i : LANES;
        const f32x16 d = (m == LANES ? lanes_load(in->x[0], dtype, i) : lanes_load_part(in->x[0], dtype, i, m, about)) - pivot;
        s[0] += d;
        q[0] = lanes_fma(d, d, q[0]);
    }
    *sum = lanes_sum((s[0] + s[1]) + (s[2] + s[3]));
    *squares = lanes_sum((q[0] + q[1]) + (q[2] + q[3]));
}

static void moments(const lanes_input *in, float about, float *sum, float *squares)
{
    if (in->dtype == TRINE_F32)
        moments_of(in, TRINE_F32, about, sum, squares);
    else if (in->dtype == TRINE_BF16)
        moments_of(in, TRINE_BF16, about, sum, squares);
    else
        moments_of(in, TRINE_F16, about, sum, squares);
}

/* Whether a mean, `off` from what it was summed about, is so far from it that squares would cancel. */
static inline bool layernorm_is_far(double n, double off, float squares) { return !((double)squares > 1.125 * n * off * off); }

/* In one pass about the first element. Where that is far from the mean, so that squares about it would cancel, another one is made
 * about the mean as f32 has it; what that leaves is taken out after. */
static inline void layernorm_settle(const lanes_input *in, float about, float sum, float squares, double stats[ROW_STATS])
{
    const double n = (double)in->n;
    double off = (double)sum / n, mean = (double)about + off;
    if (layernorm_is_far(n, off, squares)) {
        lanes_input again = *in;
        again.lines = 0;
        about = (float)mean;
        moments(&again, about, &sum, &squares);
        off = mean - (double)about;
    }
    stats[0] = n;
    stats[1] = mean;
    stats[2] = (double)squares - n * off * off;
}

static void layernorm_partial(const void *context, const row_part *part, double stats[ROW_STATS])
{
    lanes_input kept;
    const lanes_input *in = norm_source(context, part, &kept);
    float sum, squares;
    memcpy(stats, (double[ROW_STATS]){0}, sizeof(double[ROW_STATS]));
    if (part->n == 0) return;
    const float about = lanes_first(in->x[0], in->dtype);
    moments(in, about, &sum, &squares);
    layernorm_settle(in, about, sum, squares, stats);
}

/* Chan, Golub, LeVeque 1979 */
static void layernorm_merge(double into[ROW_STATS], const double from[ROW_STATS])
{
    const double count = into[0] + from[0], d = from[1] - into[1];
    into[2] += from[2] + d * d * into[0] * from[0] / count;
    into[1] += d * from[0] / count;
    into[0] = count;
}

static void layernorm_finish(const void *context, int64_t row, int64_t n, double stats[ROW_STATS])
{
    const norm_context *c = context;
    if (n == 0) stats[1] = stats[2] = NAN; /* over nothing */
    stats[2] = 1 / sqrt((stats[2] < 0 ? 0 : stats[2]) / (n ? (double)n : 1) + (double)c->eps);
    put_statistic(&c->mean, row, stats[1]);
    put_statistic(&c->rstd, row, stats[2]);
}

static void layernorm_emit(const void *context, const row_part *part, const double own[ROW_STATS], const double stats[ROW_STATS],
                           float *y)
{
    (void)own;
    norm_emit(context, part, (float)stats[1], (float)stats[2], y);
}

ROW_PUT(layernorm_put)
{
    (void)own;
    norm_put(context, part, true, (float)stats[1], (float)stats[2], to, dtype, stream);
}

trine_status TRINE_CPU(layernorm)(trine_call *call, const trine_layernorm_args *a)
{
    const bool adds = trine_is_given(&a->residual);
    const row_op op = {
        adds ? 2 : 1, norm_keeps(&a->residual, &a->sum), layernorm_partial, layernorm_merge, layernorm_finish,
        NULL,         adds ? residual_again : NULL,      layernorm_emit,    layernorm_put,   .keeps_most = NORM_KEPT};
    norm_context context = {a->x.dtype, a->weight, a->bias, a->mean, a->rstd, a->eps, 0, false, adds, true};
    return norm_call(call, &op, &context, (const trine_tensor *[]){&a->y, &a->x, &a->residual, &a->sum});
}

/* ---- Rmsnorm. stats: sum of squares ---- */

static void rmsnorm_partial(const void *context, const row_part *part, double stats[ROW_STATS])
{
    lanes_input kept;
    stats[0] = (double)lanes_squares(norm_source(context, part, &kept), 0);
}

static void rmsnorm_merge(double into[ROW_STATS], const double from[ROW_STATS]) { into[0] += from[0]; }

static void rmsnorm_finish(const void *context, int64_t row, int64_t n, double stats[ROW_STATS])
{
    const norm_context *c = context;
    stats[0] = n ? 1 / sqrt(stats[0] / (double)n + (double)c->eps) : NAN;
    put_statistic(&c->rstd, row, stats[0]);
}

static void rmsnorm_emit(const void *context, const row_part *part, const double own[ROW_STATS], const double stats[ROW_STATS],
                         float *y)
{
    (void)own;
    norm_emit(context, part, 0, (float)stats[0], y);
}

ROW_PUT(rmsnorm_put)
{
    (void)own;
    norm_put(context, part, false, 0, (float)stats[0], to, dtype, stream);
}

trine_status TRINE_CPU(rmsnorm)(trine_call *call, const trine_rmsnorm_args *a)
{
    const bool adds = trine_is_given(&a->residual);
    const row_op op = {adds ? 2 : 1, norm_keeps(&a->residual, &a->sum), rmsnorm_partial, rmsnorm_merge, rmsnorm_finish,
                       NULL,         adds ? residual_again : NULL,      rmsnorm_emit,    rmsnorm_put,   .keeps_most = NORM_KEPT};
    norm_context context = {.dtype = a->x.dtype,
                            .weight = a->weight,
                            .rstd = a->rstd,
                            .eps = a->eps,
                            .weight_offset = a->weight_offset,
                            .round_first = a->round_first != 0,
                            .adds = adds};
    return norm_call(call, &op, &context, (const trine_tensor *[]){&a->y, &a->x, &a->residual, &a->sum});
}

#include "backends/cpu/norm_both.h"

#include "backends/cpu/batchnorm.h"
#include "backends/cpu/groupnorm.h"
#include "backends/cpu/l2_normalize.h"
