/* Cross entropy, its gradient, and both behind a linear layer, on the CPU. Bound by bytes and by its exponentials, of which loss
 * and gradient each take one an element.
 *
 * Threads take rows; a row goes in chunks that fit the L1 cache, whose sums of exponentials are merged in their order. */
#ifndef TRINE_CPU_CROSS_ENTROPY_H
#define TRINE_CPU_CROSS_ENTROPY_H

#include <math.h>

#include "backends/cpu/exp_sum.h"
#include "backends/cpu/ids.h"
#include "backends/cpu/lanes.h"
#include "backends/cpu/lanes_store.h"
#include "backends/cpu/pieces.h"
#include "backends/cpu/walk.h"
#include "core/linear_cross_entropy.h"

LANES_SUM(entropy_sum, 1, s + a)

/* Rows of f32 in stages: bound by bytes, where the first blocks of several rows at once break the stream (Zen 5, % of a copy at 60
 * GB/s, rows of 1000: of eight 67, four 75, two 78). */
enum { ENTROPY_ROWS = 2 };
enum { ENTROPY_CHUNK = 4096, ENTROPY_AHEAD = 4096, ENTROPY_LABELS = 0, ENTROPY_LOSSES, ENTROPY_LSE };

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

#if BY_PIECES
/* Capped logits from memory to a buffer, of whole vectors and of the block in which n ends. */
LANES_INLINE void entropy_cap_as(float *to, const char *from, trine_dtype dtype, int64_t n, float cap)
{
    const float part = 1 / cap;
    f32x16 v[POWERS];
    for (int64_t i = 0; i < n; i += LANES_BLOCK) {
        const bool whole = i + LANES_BLOCK <= n;
        if (whole) lanes_ask(from + i * lanes_size(dtype) + ENTROPY_AHEAD, (int)lanes_size(dtype));
        for (int k = 0; k < POWERS; k++) {
            const int64_t at = i + LANES * k, left = n - at;
            v[k] =
                whole || left >= LANES ? lanes_load(from, dtype, at) : lanes_load_part(from, dtype, at, left > 0 ? left : 0, 0);
        }
        POWERS_EACH(v[k] *= part);
        pieces_tanh(v, POWERS);
        POWERS_EACH(v[k] *= cap);
        memcpy(to + i, v, sizeof v);
    }
}

/* A buffer has room for whole blocks. */
static void entropy_cap(const entropy *e, float *to, const char *from, int64_t n)
{
    e->dtype == TRINE_F32    ? entropy_cap_as(to, from, TRINE_F32, n, e->options.softcap)
    : e->dtype == TRINE_BF16 ? entropy_cap_as(to, from, TRINE_BF16, n, e->options.softcap)
                             : entropy_cap_as(to, from, TRINE_F16, n, e->options.softcap);
}
#else
static void entropy_cap(const entropy *e, float *to, const char *from, int64_t n)
{
    for (int64_t i = 0, m; i < n; i += m) {
        m = n - i < SPAN_MAX ? n - i : SPAN_MAX;
        const float *x = span_load(to + i, from + i * e->size, e->dtype, m);
        for (int64_t k = i; k < i + m; k++) to[k] = e->options.softcap * vm_tanh(x[k - i] / e->options.softcap);
    }
}
#endif

/* What the passes over n <= ENTROPY_CHUNK logits take: where there is a cap, f32 in the buffer. */
static lanes_input entropy_input(const entropy *e, float *buffer, const char *from, int64_t n)
{
    if (e->options.softcap == 0)
        return (lanes_input){.x = {from}, .dtype = e->dtype, .n = n, .ahead = {from + ENTROPY_AHEAD}, .lines = (int)e->size};
    entropy_cap(e, buffer, from, n);
    return (lanes_input){.x = {buffer}, .dtype = TRINE_F32, .n = n};
}

/* A row's loss and lse, from its sum of exponentials and, with smoothing, the sum of its logits. */
static void entropy_finish(const entropy *e, int64_t row, const double *all, double total)
{
    int64_t at[TRINE_ITER_OPERANDS], offset[TRINE_ITER_OPERANDS];
    trine_iter_offsets(&e->logits, row, at);
    trine_iter_offsets(&e->rows, row, offset);
    const int64_t label = label_of(e, offset);
    const double lse = log(all[SUM]) + all[EXPONENT] * 0.6931471805599453, s = (double)e->options.label_smoothing;
    double loss = NAN;
    if (left_out(e, label)) {
        loss = 0;
    } else if (label >= 0 && label < e->classes) {
        const float z = capped(e, lanes_first(e->in + (at[1] + label) * e->size, e->dtype));
        loss = lse - (double)z;
        if (s > 0) loss += s * ((double)z - total / (double)e->classes);
        if (e->options.z_loss > 0) loss += (double)e->options.z_loss * lse * lse;
    }
    e->losses[offset[ENTROPY_LOSSES]] = (float)loss;
    if (e->lse) e->lse[offset[ENTROPY_LSE]] = (float)lse;
}

static const char *entropy_logits(const entropy *e, int64_t row)
{
    int64_t at[TRINE_ITER_OPERANDS];
    trine_iter_offsets(&e->logits, row, at);
    return e->in + at[1] * e->size;
}

static void entropy_row(const entropy *e, int64_t row)
{
    _Alignas(64) float buffer[ENTROPY_CHUNK];
    const char *logits = entropy_logits(e, row);
    double all[EXPONENT + 1] = {-INFINITY, 0, 0}, total = 0;
    for (int64_t i = 0, m; i < e->classes; i += m) {
        m = e->classes - i < ENTROPY_CHUNK ? e->classes - i : ENTROPY_CHUNK;
        double own[EXPONENT + 1];
        const lanes_input in = entropy_input(e, buffer, logits + i * e->size, m);
        exp_sum_partial(&in, &in, NULL, own);
        if (i == 0)
            memcpy(all, own, sizeof all);
        else
            exp_sum_merge(all, own);
        if (e->options.label_smoothing > 0) total += (double)entropy_sum(&in, 0);
    }
    entropy_finish(e, row, all, total);
}

/* Rows of one chunk, EXP_SUM_ROWS at most, without a cap. */
static void entropy_rows(const entropy *e, int64_t row, int rows)
{
    lanes_input in[EXP_SUM_ROWS];
    double all[EXP_SUM_ROWS][EXPONENT + 1];
    for (int r = 0; r < rows; r++) in[r] = entropy_input(e, NULL, entropy_logits(e, row + r), e->classes);
    exp_sum_partials(in, rows, all);
    for (int r = 0; r < rows; r++)
        entropy_finish(e, row + r, all[r], e->options.label_smoothing > 0 ? (double)entropy_sum(&in[r], 0) : 0);
}

static int64_t rows_that_count(const trine_tensor *labels, const trine_cross_entropy_options *o)
{
    const trine_tensor *operand[] = {labels};
    const trine_iter it = trine_iter_make(operand, 1, 1);
    int64_t count = 0;
    for (int64_t row = 0; row < it.numel; row++) count += !(o->ignore && cpu_id_at(labels, &it, row) == o->ignore_index);
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
        const bool whole = e.classes > 0 && e.classes <= ENTROPY_CHUNK && e.options.softcap == 0;
        const int64_t together = e.size == 4 ? ENTROPY_ROWS : EXP_SUM_ROWS;
        for (int64_t row = range.begin, m; row < range.end; row += m) {
            m = !whole ? 1 : range.end - row < together ? range.end - row : together;
            if (whole)
                entropy_rows(&e, row, (int)m);
            else
                entropy_row(&e, row);
        }
    }
    if (each) return TRINE_OK;
    double sum = 0;
    for (int64_t row = 0; row < n; row++) sum += (double)e.losses[row];
    *(float *)a->loss.data =
        (float)(a->options.reduction == TRINE_LOSS_MEAN ? sum / (double)rows_that_count(&a->labels, &a->options) : sum);
    return TRINE_OK;
}

/* What a row's gradient is made of: e^(x - lse) scale - pull, and of the label `own` less. */
typedef struct entropy_factors {
    float lse, scale, pull, own;
} entropy_factors;

/* One span of a gradient's row: from the logits to their gradient, but for the label's own part. */
static void entropy_slopes(const entropy *e, float *dx, const float *x, int64_t n, const entropy_factors *f)
{
    const float cap = e->options.softcap;
    if (cap > 0) {
        for (int64_t i = 0; i < n; i++) {
            const float t = vm_tanh(x[i] / cap);
            dx[i] = (vm_exp(cap * t - f->lse) * f->scale - f->pull) * (1.0f - t * t);
        }
    } else {
        exp_less(dx, x, n, f->lse, e->dtype == TRINE_F32 ? x + SPAN_MAX : NULL);
        for (int64_t i = 0; i < n; i++) dx[i] = TRINE_FMA(dx[i], f->scale, -f->pull);
    }
}

/* The same straight from the logits (without a cap the same bits), n of whole blocks to whole lines; `label` is counted from the first. Through spans of f32,
 * 16 bits took half as long again (Zen 4, 131072 classes: 175 and 128 ms). */
#if BY_PIECES
enum { ENTROPY_PUTS = 1 };

LANES_INLINE void entropy_put_as(const entropy *e, trine_dtype dtype, bool caps, char *to, const char *from, int64_t n,
                                 int64_t label, const entropy_factors *f)
{
    const float cap = e->options.softcap, part = caps ? 1 / cap : 0;
    f32x16 tanh[POWERS];
    const softmax_base base = {f->lse, 0};
    const f32x16 scale = lanes_of(f->scale), pull = lanes_of(-f->pull);
    const int64_t size = lanes_size(dtype), block = label >= 0 ? label / LANES_BLOCK * LANES_BLOCK : -1;
    const bool by_stores = prefers_l2(); /* where memory is asked (Zen 5, f32: 82 ms by stores, 75 before the loads) */
    f32x16 v[POWERS];
    for (int64_t i = 0; i < n; i += LANES_BLOCK) {
        const char *const next = from + i * size + ENTROPY_AHEAD;
        if (!by_stores) lanes_ask(next, (int)size);
        POWERS_EACH(v[k] = lanes_load(from, dtype, i + LANES * k));
        if (caps) {
            POWERS_EACH(tanh[k] = v[k] * part);
            pieces_tanh(tanh, POWERS);
            POWERS_EACH(v[k] = cap * tanh[k]);
        }
        powers_of(v, base);
        POWERS_EACH(v[k] = lanes_fma(v[k], scale, pull));
        if (i == block) {
            float dx[LANES_BLOCK];
            memcpy(dx, v, sizeof dx);
            dx[label - i] -= f->own;
            memcpy(v, dx, sizeof dx);
        }
        if (caps) POWERS_EACH(v[k] *= lanes_fma(-tanh[k], tanh[k], lanes_of(1)));
        if (by_stores) {
            lanes_put_asking(to + i * size, dtype, v, POWERS, e->stream, &next, 1);
        } else {
            lanes_put(to + i * size, dtype, v[0], v[1], e->stream);
            lanes_put(to + (i + LANES_PUT) * size, dtype, v[2], v[3], e->stream);
        }
    }
}

static void entropy_put(const entropy *e, char *to, const char *from, int64_t n, int64_t label, const entropy_factors *f)
{
#define ENTROPY_PUT(dtype) \
    e->options.softcap > 0 ? entropy_put_as(e, dtype, true, to, from, n, label, f) \
                           : entropy_put_as(e, dtype, false, to, from, n, label, f)
    if (e->dtype == TRINE_F32)
        ENTROPY_PUT(TRINE_F32);
    else if (e->dtype == TRINE_BF16)
        ENTROPY_PUT(TRINE_BF16);
    else
        ENTROPY_PUT(TRINE_F16);
#undef ENTROPY_PUT
}
#else
enum { ENTROPY_PUTS = 0 };
static void entropy_put(const entropy *e, char *to, const char *from, int64_t n, int64_t label, const entropy_factors *f)
{
    (void)e, (void)to, (void)from, (void)n, (void)label, (void)f;
}
#endif

/* A span of a row; `label` is counted from its first element. */
static void entropy_span(const entropy *e, char *to, const char *from, int64_t n, int64_t label, const entropy_factors *f)
{
    SPAN_BUFFER(buffer);
    SPAN_BUFFER(dx);
    const float *x = span_load(buffer, from, e->dtype, n);
    const bool has = label >= 0 && label < n;
    const float own = has ? x[label] : 0;
    entropy_slopes(e, dx, x, n, f);
    if (has) {
        const float t = e->options.softcap > 0 ? vm_tanh(own / e->options.softcap) : 0;
        dx[label] -= f->own * (1.0f - t * t);
    }
    span_store(to, e->dtype, dx, n, e->stream);
}

/* A row without a loss, or whose label is no class. */
static void entropy_fill(const entropy *e, char *to, float value)
{
    SPAN_BUFFER(dx);
    for (int64_t i = 0; i < SPAN_MAX && i < e->classes; i++) dx[i] = value;
    for (int64_t i = 0, m; i < e->classes; i += m, to += m * e->size) {
        m = span_length(to, e->dtype, e->classes - i);
        span_store(to, e->dtype, dx, m, e->stream);
    }
}

static void entropy_backward_row(const entropy *e, int64_t row, float mean)
{
    int64_t at[TRINE_ITER_OPERANDS], offset[TRINE_ITER_OPERANDS];
    trine_iter_offsets(&e->logits, row, at);
    trine_iter_offsets(&e->rows, row, offset);
    const int64_t label = label_of(e, offset);
    const float lse = e->lse[offset[ENTROPY_LSE]], weight = e->losses[offset[ENTROPY_LOSSES]] / mean,
                s = e->options.label_smoothing;
    const entropy_factors f = {lse, weight * (1.0f + 2.0f * e->options.z_loss * lse), weight * s / (float)e->classes,
                               weight * (1.0f - s)};
    const char *from = e->in + at[1] * e->size;
    char *to = e->out + at[0] * e->size;
    /* where this row ends within a line: a store that misses would hold up those behind it */
    __builtin_prefetch(to + e->classes * e->size, 1);
    if (left_out(e, label) || label < 0 || label >= e->classes) {
        entropy_fill(e, to, left_out(e, label) ? 0 : NAN);
        return;
    }
    const bool put = ENTROPY_PUTS && (e->size == 2 || e->classes >= ENTROPY_CHUNK);
    for (int64_t i = 0, m; i < e->classes; i += m) {
        char *const own = to + i * e->size;
        const int64_t blocks = lanes_to_put(put, own, e->dtype, e->classes - i, &m) / LANES_BLOCK;
        if (blocks > 0)
            entropy_put(e, own, from + i * e->size, m = blocks * LANES_BLOCK, label - i, &f);
        else
            entropy_span(e, own, from + i * e->size, m, label - i, &f);
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
    const float mean = a->options.reduction == TRINE_LOSS_MEAN ? (float)rows_that_count(&a->labels, &a->options) : 1;
    CPU_PARALLEL_FOR(range, e.rows.numel, 1 + CPU_GRAIN / (4 * (e.classes + 1)))
    {
        for (int64_t row = range.begin; row < range.end; row++) entropy_backward_row(&e, row, mean);
        span_fence();
    }
    return TRINE_OK;
}

/* ---- A linear layer's ---- */

#define OP(family, name) trine_status TRINE_CPU(name)(trine_call * call, const trine_##name##_args *args);
#include "trine/ops.def"
#undef OP

static trine_status entropy_weight(trine_call *call, const trine_tensor *labels, const trine_cross_entropy_options *o,
                                   float *weight)
{
    TRINE_END_OF_QUERY(call, 0);
    *weight = o->reduction == TRINE_LOSS_MEAN ? 1 / (float)rows_that_count(labels, o) : 1;
    return TRINE_OK;
}

trine_status TRINE_CPU(linear_cross_entropy)(trine_call *call, const trine_linear_cross_entropy_args *a)
{
    static const trine_linear_entropy_ops ops = {TRINE_CPU(matmul),
                                                 TRINE_CPU(cross_entropy),
                                                 TRINE_CPU(cross_entropy_backward),
                                                 TRINE_CPU(sum),
                                                 TRINE_CPU(mul),
                                                 TRINE_CPU(copy),
                                                 entropy_weight,
                                                 NULL};
    return trine_linear_entropy_run(call, &ops, a, TRINE_CPU_VARIANT);
}

#endif
