/* Steps of optimizers on the CPU. Bound by bytes: every tensor is read once and written once, where it lies.
 *
 * The elements of all tensors of a list are numbered through and cut into equal parts for the threads; a part is worked on in spans
 * of 1024. f32 tensors are updated in memory; 16-bit ones go through a buffer. One rounding an operation (the build contracts
 * nothing), in the order that simt/optimizer.h has, too. */
#include <math.h>
#include <string.h>

#include "backends/cpu/level.h"
#include "backends/cpu/span.h"
#include "core/backend.h"
#include "core/optimizer_step.h"

static char *at(const trine_tensor *t, int64_t i) { return (char *)t->data + i * (trine_dtype_bits(t->dtype) / 8); }

static int64_t list_numel(const trine_tensor_list *list)
{
    int64_t sum = 0;
    for (int32_t i = 0; i < list->count; i++) sum += trine_tensor_numel(&list->at[i]);
    return sum;
}

static float number_of(const trine_tensor *t, float otherwise)
{
    float x = otherwise;
    if (trine_is_given(t)) memcpy(&x, t->data, sizeof x);
    return x;
}

/* n <= SPAN_MAX elements from element i of tensor k on. */
typedef void (*span_fn)(const void *context, int32_t k, int64_t i, int64_t n);

static void list_range(const trine_tensor_list *list, cpu_range range, span_fn run, const void *context)
{
    int64_t before = 0;
    for (int32_t k = 0; k < list->count && before < range.end; k++) {
        const trine_tensor *t = &list->at[k];
        const int64_t n = trine_tensor_numel(t), end = range.end - before < n ? range.end - before : n;
        for (int64_t i = range.begin > before ? range.begin - before : 0, m; i < end; i += m) {
            m = span_length(at(t, i), t->dtype, end - i);
            run(context, k, i, m);
        }
        before += n;
    }
}

static void list_run(const trine_tensor_list *list, span_fn run, const void *context)
{
    const int64_t total = list_numel(list);
    if (total <= CPU_GRAIN) { /* even a parallel region of one thread costs more than a small op */
        list_range(list, (cpu_range){0, total}, run, context);
        return;
    }
    CPU_PARALLEL_FOR(range, total, CPU_GRAIN) { list_range(list, range, run, context); }
}

/* ---- Parameters ---- */

/* Where a span's weights are computed: in place if they are f32 (the parameter, or its master copy), else in the buffer. */
static float *weights_of(float *buffer, const trine_tensor *param, const trine_tensor_list *master, int32_t k, int64_t i,
                         int64_t n)
{
    if (k < master->count && trine_is_given(&master->at[k])) return (float *)(void *)at(&master->at[k], i);
    if (param->dtype == TRINE_F32) return (float *)(void *)at(param, i);
    return (float *)span_load(buffer, at(param, i), param->dtype, n);
}

/* And where they go besides. */
static void weights_put(const trine_tensor *param, int64_t i, const float *weights, int64_t n)
{
    if (param->dtype != TRINE_F32) span_store(at(param, i), param->dtype, weights, n, false);
}

/* A loop is made for each combination of what it may do: its flags are constants where it is called. */
#define UPDATE static inline __attribute__((always_inline)) void

/* ---- AdamW ---- */

typedef struct adamw_context {
    const trine_adamw_args *a;
    trine_adamw_step s;
    float by; /* what gradients are multiplied by */
} adamw_context;

typedef struct adamw_operands {
    float *p, *m, *v, *w; /* w: the largest v, or NULL */
    const float *g;
} adamw_operands;

UPDATE adamw_loop(const adamw_context *context, const adamw_operands *x, int64_t n, bool l2, bool decay, bool largest)
{
    const trine_adamw_step c = context->s;
    const float by = context->by, *g = x->g;
    float *restrict p = x->p, *restrict m = x->m, *restrict v = x->v, *restrict w = x->w;
    for (int64_t j = 0; j < n; j++) {
        float slope = g[j] * by, weight = p[j];
        if (l2) slope += c.l2 * weight;
        if (decay) weight -= c.decay * weight;
        m[j] = c.beta1 * m[j] + c.rest1 * slope;
        v[j] = c.beta2 * v[j] + c.rest2 * slope * slope;
        if (largest) w[j] = TRINE_LARGEST_SQUARE(w[j], v[j]);
        p[j] = weight - c.rate * m[j] / (sqrtf(largest ? w[j] : v[j]) * c.rescale + c.eps);
    }
}

static void adamw_span(const void *context, int32_t k, int64_t i, int64_t n)
{
    const adamw_context *c = context;
    const trine_adamw_args *a = c->a;
    SPAN_BUFFER(gradient);
    SPAN_BUFFER(buffer);
    const adamw_operands x = {.p = weights_of(buffer, &a->param.at[k], &a->master, k, i, n),
                              .m = (float *)(void *)at(&a->m.at[k], i),
                              .v = (float *)(void *)at(&a->v.at[k], i),
                              .w = a->v_max.count ? (float *)(void *)at(&a->v_max.at[k], i) : NULL,
                              .g = span_load(gradient, at(&a->grad.at[k], i), a->grad.at[k].dtype, n)};
    if (x.w)
        adamw_loop(c, &x, n, c->s.l2 != 0, c->s.decay != 0, true);
    else if (c->s.l2 != 0)
        adamw_loop(c, &x, n, true, false, false);
    else if (c->s.decay != 0)
        adamw_loop(c, &x, n, false, true, false);
    else
        adamw_loop(c, &x, n, false, false, false);
    weights_put(&a->param.at[k], i, x.p, n);
}

trine_status TRINE_CPU(adamw)(trine_call *call, const trine_adamw_args *a)
{
    call->variant = TRINE_CPU_VARIANT;
    TRINE_REQUIRE_PACKED(call, &a->param, &a->grad, &a->m, &a->v, &a->master, &a->v_max);
    TRINE_END_OF_QUERY(call, 0);
    if (number_of(&a->found_inf, 0) != 0) return TRINE_OK;
    adamw_context c = {.a = a, .s = trine_adamw_step_make(a)};
    c.by = c.s.sign * number_of(&a->grad_scale, 1);
    list_run(&a->param, adamw_span, &c);
    return TRINE_OK;
}

/* ---- SGD ---- */

typedef enum momentum { NONE, FIRST, PLAIN, NESTEROV, FIRST_NESTEROV } momentum;

typedef struct sgd_context {
    const trine_sgd_args *a;
    trine_sgd_step s;
    float by;
    momentum kind;
} sgd_context;

typedef struct sgd_operands {
    float *p, *b;
    const float *g;
} sgd_operands;

UPDATE sgd_loop(const sgd_context *context, const sgd_operands *x, int64_t n, momentum kind)
{
    const trine_sgd_step c = context->s;
    const float by = context->by, *g = x->g;
    float *restrict p = x->p, *restrict b = x->b;
    for (int64_t j = 0; j < n; j++) {
        float slope = g[j] * by, weight = p[j];
        slope = c.l2 != 0 ? slope + c.l2 * weight : slope;
        if (kind == FIRST || kind == FIRST_NESTEROV) b[j] = slope;
        if (kind == PLAIN || kind == NESTEROV) b[j] = c.momentum * b[j] + c.share * slope;
        if (kind == FIRST || kind == PLAIN) slope = b[j];
        if (kind == NESTEROV || kind == FIRST_NESTEROV) slope += c.momentum * b[j];
        p[j] = weight - c.rate * slope;
    }
}

static void sgd_span(const void *context, int32_t k, int64_t i, int64_t n)
{
    const sgd_context *c = context;
    const trine_sgd_args *a = c->a;
    SPAN_BUFFER(gradient);
    SPAN_BUFFER(buffer);
    const sgd_operands x = {.p = weights_of(buffer, &a->param.at[k], &a->master, k, i, n),
                            .b = c->kind == NONE ? NULL : (float *)(void *)at(&a->buffer.at[k], i),
                            .g = span_load(gradient, at(&a->grad.at[k], i), a->grad.at[k].dtype, n)};
    switch (c->kind) {
    case NONE: sgd_loop(c, &x, n, NONE); break;
    case FIRST: sgd_loop(c, &x, n, FIRST); break;
    case PLAIN: sgd_loop(c, &x, n, PLAIN); break;
    case NESTEROV: sgd_loop(c, &x, n, NESTEROV); break;
    default: sgd_loop(c, &x, n, FIRST_NESTEROV);
    }
    weights_put(&a->param.at[k], i, x.p, n);
}

static momentum momentum_of(const trine_sgd_args *a, const trine_sgd_step *s)
{
    if (a->buffer.count == 0) return NONE;
    if (s->first) return s->nesterov ? FIRST_NESTEROV : FIRST;
    return s->nesterov ? NESTEROV : PLAIN;
}

trine_status TRINE_CPU(sgd)(trine_call *call, const trine_sgd_args *a)
{
    call->variant = TRINE_CPU_VARIANT;
    TRINE_REQUIRE_PACKED(call, &a->param, &a->grad, &a->buffer, &a->master);
    TRINE_END_OF_QUERY(call, 0);
    if (number_of(&a->found_inf, 0) != 0) return TRINE_OK;
    sgd_context c = {.a = a, .s = trine_sgd_step_make(a)};
    c.by = c.s.sign * number_of(&a->grad_scale, 1);
    c.kind = momentum_of(a, &c.s);
    list_run(&a->param, sgd_span, &c);
    return TRINE_OK;
}

/* ---- The norm of all ---- */

enum { NORM_CHUNK = 32768, NORM_LANES = 16 };

/* A fixed number of lanes, so that all levels add in one order; as many as the compiler keeps in registers. */
static double sum_of_squares(const float *x, int64_t n)
{
    double lane[NORM_LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + NORM_LANES <= n; i += NORM_LANES)
        for (int k = 0; k < NORM_LANES; k++) lane[k] += (double)x[i + k] * (double)x[i + k];
    for (; i < n; i++) lane[i % NORM_LANES] += (double)x[i] * (double)x[i];
    for (int k = 0; k < NORM_LANES; k++) sum += lane[k];
    return sum;
}

static double chunk_sum(const trine_tensor *t, int64_t chunk)
{
    SPAN_BUFFER(buffer);
    const int64_t n = trine_tensor_numel(t), end = (chunk + 1) * NORM_CHUNK < n ? (chunk + 1) * NORM_CHUNK : n;
    double sum = 0;
    for (int64_t i = chunk * NORM_CHUNK, m; i < end; i += m) {
        m = end - i < SPAN_MAX ? end - i : SPAN_MAX;
        sum += sum_of_squares(span_load(buffer, at(t, i), t->dtype, m), m);
    }
    return sum;
}

static int64_t chunks_of(const trine_tensor *t) { return (trine_tensor_numel(t) + NORM_CHUNK - 1) / NORM_CHUNK; }

/* Chunks [begin, end) of all tensors' together. */
static void norm_range(const trine_tensor_list *x, cpu_range range, double *partial)
{
    int64_t before = 0;
    for (int32_t k = 0; k < x->count && before < range.end; k++) {
        const int64_t chunks = chunks_of(&x->at[k]), end = range.end - before < chunks ? range.end - before : chunks;
        for (int64_t c = range.begin > before ? range.begin - before : 0; c < end; c++)
            partial[before + c] = chunk_sum(&x->at[k], c);
        before += chunks;
    }
}

trine_status TRINE_CPU(global_norm)(trine_call *call, const trine_global_norm_args *a)
{
    int64_t chunks = 0;
    double sum = 0;
    call->variant = TRINE_CPU_VARIANT;
    TRINE_REQUIRE_PACKED(call, &a->x);
    for (int32_t k = 0; k < a->x.count; k++) chunks += chunks_of(&a->x.at[k]);
    TRINE_END_OF_QUERY(call, (size_t)chunks * sizeof(double));
    double *partial = call->workspace;
    if (chunks <= 1)
        norm_range(&a->x, (cpu_range){0, chunks}, partial);
    else
        CPU_PARALLEL_FOR(range, chunks, 1) { norm_range(&a->x, range, partial); }
    for (int64_t c = 0; c < chunks; c++) sum += partial[c];
    const double norm = sqrt(sum), clip = a->max_norm / (norm + TRINE_CLIP_EPS);
    *(float *)a->norm.data = (float)norm;
    if (trine_is_given(&a->clip)) *(float *)a->clip.data = (float)(clip > 1 ? 1 : clip);
    return TRINE_OK;
}

/* ---- scale_list ---- */

typedef struct scale_context {
    const trine_tensor_list *x;
    float by;
} scale_context;

static void scale_span(const void *context, int32_t k, int64_t i, int64_t n)
{
    const scale_context *c = context;
    const trine_tensor *t = &c->x->at[k];
    SPAN_BUFFER(buffer);
    const float *x = span_load(buffer, at(t, i), t->dtype, n);
    float *y = t->dtype == TRINE_F32 ? (float *)(void *)at(t, i) : buffer;
    for (int64_t j = 0; j < n; j++) y[j] = x[j] * c->by;
    if (y == buffer) span_store(at(t, i), t->dtype, buffer, n, false);
}

trine_status TRINE_CPU(scale_list)(trine_call *call, const trine_scale_list_args *a)
{
    call->variant = TRINE_CPU_VARIANT;
    TRINE_REQUIRE_PACKED(call, &a->x);
    TRINE_END_OF_QUERY(call, 0);
    const scale_context c = {&a->x, number_of(&a->factor, 1)};
    if (c.by != 1) list_run(&a->x, scale_span, &c);
    return TRINE_OK;
}
