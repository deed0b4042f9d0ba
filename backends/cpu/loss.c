/* Losses on the CPU. Bound by bytes, cross entropy also by its exponentials, of which it takes one an element, as its gradient
 * does.
 *
 * Cross entropy: threads take rows; a row goes in chunks that fit the L1 cache, whose sums of exponentials are merged in their
 * order. Losses that go element by element are computed span by span; sums are made chunk by chunk and added up in the order of
 * the chunks, whoever made them. */
#include <math.h>

#include "backends/cpu/exp_sum.h"
#include "backends/cpu/ids.h"
#include "backends/cpu/lanes.h"
#include "backends/cpu/walk.h"

LANES_SUM(span_sum, x[i])

/* ---- Cross entropy ---- */

enum { ENTROPY_CHUNK = 4096, ENTROPY_LABELS = 0, ENTROPY_LOSSES, ENTROPY_LSE };

typedef struct entropy {
    trine_cross_entropy_options options;
    trine_iter logits, rows; /* rows: labels, losses or dloss, lse */
    int64_t classes, size;
    trine_dtype dtype, label_dtype;
    const char *in, *labels;
    char *out;
    float *losses, *lse;
    bool stream;
} entropy;

static int64_t label_of(const entropy *e, const int64_t *offset)
{
    return cpu_id(e->labels + offset[ENTROPY_LABELS] * (e->label_dtype == TRINE_I64 ? 8 : 4), e->label_dtype);
}

static bool left_out(const entropy *e, int64_t label) { return e->options.ignore && label == e->options.ignore_index; }

static float capped(const entropy *e, float x)
{
    return e->options.softcap > 0 ? e->options.softcap * vm_tanh(x / e->options.softcap) : x;
}

/* At most ENTROPY_CHUNK logits as f32, capped. */
static const float *load_logits(const entropy *e, float *buffer, const char *from, int64_t n)
{
    if (e->dtype == TRINE_F32 && e->options.softcap == 0) return (const float *)(const void *)from;
    for (int64_t i = 0, m; i < n; i += m) {
        m = n - i < SPAN_MAX ? n - i : SPAN_MAX;
        const float *x = span_load(buffer + i, from + i * e->size, e->dtype, m);
        if (x != buffer + i) memcpy(buffer + i, x, (size_t)m * sizeof *x);
    }
    if (e->options.softcap > 0)
        for (int64_t i = 0; i < n; i++) buffer[i] = e->options.softcap * vm_tanh(buffer[i] / e->options.softcap);
    return buffer;
}

static void entropy_row(const entropy *e, int64_t row)
{
    _Alignas(64) float buffer[ENTROPY_CHUNK];
    int64_t at[TRINE_ITER_OPERANDS], offset[TRINE_ITER_OPERANDS];
    trine_iter_offsets(&e->logits, row, at);
    trine_iter_offsets(&e->rows, row, offset);
    const char *logits = e->in + at[1] * e->size;
    double all[EXPONENT + 1] = {-INFINITY, 0, 0}, total = 0;
    for (int64_t i = 0, m; i < e->classes; i += m) {
        bool nan;
        m = e->classes - i < ENTROPY_CHUNK ? e->classes - i : ENTROPY_CHUNK;
        const float *x = load_logits(e, buffer, logits + i * e->size, m), most = lanes_most(x, m, &nan);
        const softmax_base base = base_of((double)most);
        const float sum = sum_of_powers(x, base, m);
        const double own[] = {(double)most, nan || most == INFINITY ? NAN : (double)sum, exponent_of(base)};
        if (i == 0)
            memcpy(all, own, sizeof all);
        else
            exp_sum_merge(all, own);
        if (e->options.label_smoothing > 0) total += (double)span_sum(x, NULL, 0, m);
    }
    const int64_t label = label_of(e, offset);
    const double lse = log(all[SUM]) + all[EXPONENT] * 0.6931471805599453, s = (double)e->options.label_smoothing;
    double loss = NAN;
    if (left_out(e, label)) {
        loss = 0;
    } else if (label >= 0 && label < e->classes) {
        float z;
        trine_convert(logits + label * e->size, e->dtype, &z, TRINE_F32, 1);
        z = capped(e, z);
        loss = lse - (double)z;
        if (s > 0) loss += s * ((double)z - total / (double)e->classes);
        if (e->options.z_loss > 0) loss += (double)e->options.z_loss * lse * lse;
    }
    e->losses[offset[ENTROPY_LOSSES]] = (float)loss;
    if (e->lse) e->lse[offset[ENTROPY_LSE]] = (float)lse;
}

static int64_t rows_that_count(const entropy *e)
{
    int64_t count = 0;
    for (int64_t row = 0; row < e->rows.numel; row++) {
        int64_t offset[TRINE_ITER_OPERANDS];
        trine_iter_offsets(&e->rows, row, offset);
        count += !left_out(e, label_of(e, offset));
    }
    return count;
}

/* A tensor with one element for every row, or one for all. */
static trine_tensor along_rows(const trine_tensor *t, const trine_tensor *labels)
{
    trine_tensor r = *labels;
    r.data = t->data;
    for (int32_t d = 0; d < r.ndim; d++) r.stride[d] = t->ndim == r.ndim && t->shape[d] == r.shape[d] ? t->stride[d] : 0;
    return r;
}

static entropy entropy_make(const trine_cross_entropy_options *options, const trine_tensor *logits, const trine_tensor *labels,
                            const trine_tensor *losses, const trine_tensor *lse, const trine_tensor *out)
{
    entropy e = {.options = *options,
                 .dtype = logits->dtype,
                 .label_dtype = labels->dtype,
                 .in = logits->data,
                 .labels = labels->data,
                 .out = out->data,
                 .losses = losses->data,
                 .lse = lse->data};
    const trine_tensor *both[] = {out, logits}, *rows[] = {labels, losses, trine_is_given(lse) ? lse : labels};
    e.logits = trine_iter_rows(both, 2, &e.classes);
    e.rows = trine_iter_make(rows, 3, 1);
    e.size = trine_dtype_bits(e.dtype) / 8;
    e.stream = span_should_stream(e.rows.numel * e.classes * e.size);
    return e;
}

trine_status TRINE_CPU(cross_entropy)(trine_call *call, const trine_cross_entropy_args *a)
{
    const int64_t n = trine_tensor_numel(&a->labels);
    const bool each = a->options.reduction == TRINE_LOSS_NONE;
    TRINE_REQUIRE_THAT(call, trine_last_axis_dense(&a->logits), "needs a last axis of stride 1");
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, each ? 0 : (size_t)n * sizeof(float));
    const trine_tensor dense = trine_tensor_make(call->workspace, TRINE_F32, a->labels.ndim, a->labels.shape);
    const entropy e = entropy_make(&a->options, &a->logits, &a->labels, each ? &a->loss : &dense, &a->lse, &a->logits);
    CPU_PARALLEL_FOR(range, n, 1 + CPU_GRAIN / (4 * (e.classes + 1)))
    {
        for (int64_t row = range.begin; row < range.end; row++) entropy_row(&e, row);
    }
    if (each) return TRINE_OK;
    double sum = 0;
    for (int64_t row = 0; row < n; row++) sum += (double)e.losses[row];
    *(float *)a->loss.data = (float)(a->options.reduction == TRINE_LOSS_MEAN ? sum / (double)rows_that_count(&e) : sum);
    return TRINE_OK;
}

/* One span of a gradient's row: from the logits to their gradient, but for the label's own part. */
static void entropy_slopes(const entropy *e, float *dx, const float *x, int64_t n, float lse, float scale, float pull)
{
    const float cap = e->options.softcap;
    if (cap > 0) {
        for (int64_t i = 0; i < n; i++) {
            const float t = vm_tanh(x[i] / cap);
            dx[i] = (vm_exp(cap * t - lse) * scale - pull) * (1.0f - t * t);
        }
    } else {
        for (int64_t i = 0; i < n; i++) dx[i] = vm_exp(x[i] - lse) * scale - pull;
    }
}

static void entropy_backward_row(const entropy *e, int64_t row, float mean)
{
    SPAN_BUFFER(buffer);
    SPAN_BUFFER(dx);
    int64_t at[TRINE_ITER_OPERANDS], offset[TRINE_ITER_OPERANDS];
    trine_iter_offsets(&e->logits, row, at);
    trine_iter_offsets(&e->rows, row, offset);
    const int64_t label = label_of(e, offset);
    const float lse = e->lse[offset[ENTROPY_LSE]], weight = e->losses[offset[ENTROPY_LOSSES]] / mean,
                s = e->options.label_smoothing, scale = weight * (1.0f + 2.0f * e->options.z_loss * lse),
                pull = weight * s / (float)e->classes;
    const bool nothing = left_out(e, label), broken = !nothing && (label < 0 || label >= e->classes);
    for (int64_t i = 0, m; i < e->classes; i += m) {
        char *to = e->out + (at[0] + i) * e->size;
        m = span_length(to, e->dtype, e->classes - i);
        if (nothing || broken) {
            for (int64_t j = 0; j < m; j++) dx[j] = nothing ? 0 : NAN;
        } else {
            const float *x = span_load(buffer, e->in + (at[1] + i) * e->size, e->dtype, m);
            const float own = label >= i && label < i + m ? x[label - i] : 0;
            entropy_slopes(e, dx, x, m, lse, scale, pull);
            if (label >= i && label < i + m) {
                const float t = e->options.softcap > 0 ? vm_tanh(own / e->options.softcap) : 0;
                dx[label - i] -= weight * (1.0f - s) * (1.0f - t * t);
            }
        }
        span_store(to, e->dtype, dx, m, e->stream);
    }
}

trine_status TRINE_CPU(cross_entropy_backward)(trine_call *call, const trine_cross_entropy_backward_args *a)
{
    TRINE_REQUIRE_THAT(call, trine_last_axis_dense(&a->logits), "needs a last axis of stride 1");
    TRINE_REQUIRE_THAT(call, trine_last_axis_dense(&a->dlogits), "needs a last axis of stride 1");
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, 0);
    const trine_tensor dloss = along_rows(&a->dloss, &a->labels);
    const entropy e = entropy_make(&a->options, &a->logits, &a->labels, &dloss, &a->lse, &a->dlogits);
    const float mean = a->options.reduction == TRINE_LOSS_MEAN ? (float)rows_that_count(&e) : 1;
    CPU_PARALLEL_FOR(range, e.rows.numel, 1 + CPU_GRAIN / (4 * (e.classes + 1)))
    {
        for (int64_t row = range.begin; row < range.end; row++) entropy_backward_row(&e, row, mean);
        span_fence();
    }
    return TRINE_OK;
}

/* ---- Element by element ---- */

enum { PAIR_CHUNK = 32768 };

/* y = losses, or slopes, of n <= SPAN_MAX pairs; `own` is the op's attribute. y may be x or t. */
typedef void (*pair_fn)(float *y, const float *x, const float *t, float own, int64_t n);

#define PAIR(name, expression) \
    static void name(float *y, const float *x, const float *t, float own, int64_t n) \
    { \
        (void)own, (void)x, (void)t; \
        for (int64_t i = 0; i < n; i++) y[i] = (expression); \
    }
static inline float huber_of(float d, float delta)
{
    const float a = fabsf(d), square = 0.5f * a * a, line = delta * (a - 0.5f * delta);
    return a <= delta ? square : line;
}
static inline float huber_slope(float d, float delta)
{
    const float low = d < -delta ? -delta : d; /* NaN stays */
    return low > delta ? delta : low;
}
static inline float kl_of(float x, float t)
{
    const float y = t * (vm_log(t) - x);
    return t == 0 ? 0 : y;
}
static inline float kl_log_of(float x, float t)
{
    const float y = vm_exp(t) * (t - x);
    return t == -INFINITY ? 0 : y;
}
PAIR(mse_loss, (x[i] - t[i]) * (x[i] - t[i]))
PAIR(mse_slope, 2.0f * (x[i] - t[i]))
PAIR(huber_loss, huber_of(x[i] - t[i], own))
PAIR(huber_slopes, huber_slope(x[i] - t[i], own))
PAIR(kl_loss, kl_of(x[i], t[i]))
PAIR(kl_slope, -t[i])
PAIR(kl_log_loss, kl_log_of(x[i], t[i]))
PAIR(kl_log_slope, -vm_exp(t[i]))

typedef struct pair {
    pair_fn f;
    float own, scale;
    trine_dtype dtype;
} pair;

/* What a sum is divided by. */
static double loss_divisor(const trine_tensor *x, trine_loss_reduction reduction)
{
    return reduction == TRINE_LOSS_MEAN         ? (double)trine_tensor_numel(x)
           : reduction == TRINE_LOSS_BATCH_MEAN ? (double)x->shape[0]
                                                : 1;
}

/* p: the output (f32), x, target. */
static void losses_run(const void *context, char *const *p, const int64_t *step, int64_t n, bool stream)
{
    SPAN_BUFFER(buffer_x);
    SPAN_BUFFER(buffer_t);
    SPAN_BUFFER(out);
    const pair *c = context;
    const int64_t size = trine_dtype_bits(c->dtype) / 8;
    for (int64_t i = 0, m; i < n; i += m) {
        m = n - i < SPAN_MAX ? n - i : SPAN_MAX;
        const float *x = cpu_load(buffer_x, p[1] + i * step[1] * size, c->dtype, m, step[1]);
        const float *t = cpu_load(buffer_t, p[2] + i * step[2] * size, c->dtype, m, step[2]);
        c->f(out, x, t, c->own, m);
        cpu_store(p[0] + i * step[0] * 4, TRINE_F32, out, m, step[0], stream);
    }
}

/* p: dx, x, target, dloss (f32). */
static void slopes_run(const void *context, char *const *p, const int64_t *step, int64_t n, bool stream)
{
    SPAN_BUFFER(buffer_x);
    SPAN_BUFFER(buffer_t);
    SPAN_BUFFER(buffer_g);
    SPAN_BUFFER(out);
    const pair *c = context;
    const int64_t size = trine_dtype_bits(c->dtype) / 8;
    for (int64_t i = 0, m; i < n; i += m) {
        m = n - i < SPAN_MAX ? n - i : SPAN_MAX;
        const float *x = cpu_load(buffer_x, p[1] + i * step[1] * size, c->dtype, m, step[1]);
        const float *t = cpu_load(buffer_t, p[2] + i * step[2] * size, c->dtype, m, step[2]);
        const float *g = cpu_load(buffer_g, p[3] + i * step[3] * 4, TRINE_F32, m, step[3]);
        c->f(out, x, t, c->own, m);
        for (int64_t j = 0; j < m; j++) out[j] *= g[j] * c->scale;
        cpu_store(p[0] + i * step[0] * size, c->dtype, out, m, step[0], stream);
    }
}

/* The sum of chunk `index` of the walk over x and target. */
static double chunk_sum(const pair *c, const trine_iter *runs, const int64_t *step, int64_t n, int64_t chunks, int64_t index,
                        const char *x, const char *t)
{
    SPAN_BUFFER(out);
    int64_t offset[TRINE_ITER_OPERANDS];
    const int64_t size = trine_dtype_bits(c->dtype) / 8, begin = index % chunks * PAIR_CHUNK,
                  end = begin + PAIR_CHUNK < n ? begin + PAIR_CHUNK : n;
    double sum = 0;
    trine_iter_offsets(runs, index / chunks, offset);
    for (int64_t i = begin, m; i < end; i += m) {
        m = end - i < SPAN_MAX ? end - i : SPAN_MAX;
        char *const p[] = {(char *)out, (char *)(uintptr_t)(x + (offset[0] + i * step[0]) * size),
                           (char *)(uintptr_t)(t + (offset[1] + i * step[1]) * size)};
        losses_run(c, p, (const int64_t[]){1, step[0], step[1]}, m, false);
        sum += (double)span_sum(out, NULL, 0, m);
    }
    return sum;
}

static trine_status pair_forward(trine_call *call, pair c, const trine_tensor *x, const trine_tensor *target,
                                 const trine_tensor *loss, trine_loss_reduction reduction)
{
    const trine_tensor *all[] = {loss, x, target}, *inputs[] = {x, target};
    c.dtype = x->dtype;
    call->variant = TRINE_CPU_VARIANT;
    if (reduction == TRINE_LOSS_NONE) {
        TRINE_END_OF_QUERY(call, 0);
        if (trine_tensor_numel(x) == 0) return TRINE_OK;
        const cpu_walk w = cpu_walk_make(all, 3);
        cpu_walk_run(&w, losses_run, &c);
        return TRINE_OK;
    }
    trine_iter runs = trine_iter_make(inputs, 2, 0);
    int64_t step[TRINE_ITER_OPERANDS];
    const int64_t n = trine_iter_pop_inner(&runs, step), chunks = (n + PAIR_CHUNK - 1) / PAIR_CHUNK,
                  tasks = n ? runs.numel * chunks : 0;
    TRINE_END_OF_QUERY(call, (size_t)tasks * sizeof(double));
    double *sums = call->workspace, sum = 0;
    CPU_PARALLEL_FOR(range, tasks, 1 + CPU_GRAIN / (n < PAIR_CHUNK ? n + 1 : PAIR_CHUNK))
    {
        for (int64_t i = range.begin; i < range.end; i++)
            sums[i] = chunk_sum(&c, &runs, step, n, chunks, i, x->data, target->data);
    }
    for (int64_t i = 0; i < tasks; i++) sum += sums[i];
    *(float *)loss->data = (float)(sum / loss_divisor(x, reduction));
    return TRINE_OK;
}

static trine_status pair_backward(trine_call *call, pair c, const trine_tensor *x, const trine_tensor *target,
                                  const trine_tensor *dloss, const trine_tensor *dx, trine_loss_reduction reduction)
{
    const trine_tensor one = {.data = dloss->data, .dtype = TRINE_F32};
    const trine_tensor *all[] = {dx, x, target, reduction == TRINE_LOSS_NONE ? dloss : &one};
    c.dtype = x->dtype;
    c.scale = (float)(1 / loss_divisor(x, reduction));
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, 0);
    if (trine_tensor_numel(x) == 0) return TRINE_OK;
    const cpu_walk w = cpu_walk_make(all, 4);
    cpu_walk_run(&w, slopes_run, &c);
    return TRINE_OK;
}

#define PAIR_OP(name, loss_, slope_, own_) \
    trine_status TRINE_CPU(name)(trine_call * call, const trine_##name##_args *a) \
    { \
        return pair_forward(call, (pair){.f = (loss_), .own = (own_)}, &a->x, &a->target, &a->loss, a->reduction); \
    } \
    trine_status TRINE_CPU(name##_backward)(trine_call * call, const trine_##name##_backward_args *a) \
    { \
        return pair_backward(call, (pair){.f = (slope_), .own = (own_)}, &a->x, &a->target, &a->dloss, &a->dx, a->reduction); \
    }
PAIR_OP(mse, mse_loss, mse_slope, 0)
PAIR_OP(huber, huber_loss, huber_slopes, a->delta)
PAIR_OP(kl_div, a->log_target ? kl_log_loss : kl_loss, a->log_target ? kl_log_slope : kl_slope, 0)
