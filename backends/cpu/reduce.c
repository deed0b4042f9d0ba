/* Reductions on the CPU. Bound by bytes: each element is read once.
 *
 * The elements are walked as outer x R x inner, R the reduced axis, inner what lies inside it. R is cut into fixed chunks whose partials are merged in their order, so that results do not
 * depend on the number of threads. Two ways: where inner is one element, runs along R are summed by span; else rows of up to SPAN_MAX inner elements are added up side by side,
 * R after R, which reads memory in its order. All-reductions of dense tensors are one row. */
#include <math.h>

#include "backends/cpu/level.h"
#include "backends/cpu/walk.h"

enum { REDUCE_CHUNK = 32768, COLUMN_CHUNK = 1024, COLUMN_PIECE = 32 };

typedef enum reduce_kind { SUM, MEAN, NORM_L1, NORM_L2, DOT, AMAX, AMIN, ARGMAX } reduce_kind;

/* What is known of one output so far: a sum, or the best value and where it is. */
typedef struct partial {
    double value;
    int64_t at; /* index along R */
    int64_t whole; /* the value of an integer, exact */
} partial;

typedef struct reduction {
    reduce_kind kind;
    trine_dtype dtype;
    int64_t size, count, chunks, chunk;
    trine_iter outputs; /* y, x, (b): the kept axes; operand strides */
    int64_t step[2];    /* of x and b along R */
    trine_iter all;     /* for a reduction over everything: x, (b), its axes but the innermost */
    const char *x, *b;
    trine_tensor y;
} reduction;

/* ---- Runs along R ---- */

/* A NaN is before everything but another NaN; of equal values the first is kept. */
static bool better(reduce_kind kind, double x, double best)
{
    if (isnan(best)) return false;
    return isnan(x) || (kind == AMIN ? x < best : x > best);
}

#define SPAN_SUM(name, term) \
    static float name(const float *x, const float *b, int64_t n) \
    { \
        float sum = 0; \
        (void)b; \
        _Pragma("omp simd reduction(+ : sum)") for (int64_t i = 0; i < n; i++) sum += (term); \
        return sum; \
    }
SPAN_SUM(span_sum, x[i])
SPAN_SUM(span_l1, fabsf(x[i]))
SPAN_SUM(span_l2, x[i] * x[i])
SPAN_SUM(span_dot, x[i] * b[i])
typedef float (*span_sum_fn)(const float *x, const float *b, int64_t n);
static const span_sum_fn span_sums[] = {[SUM] = span_sum, [MEAN] = span_sum, [NORM_L1] = span_l1, [NORM_L2] = span_l2, [DOT] = span_dot};

/* The extreme of a span and whether it has a NaN, both in vectors; where it stands is looked for only if it is better than what was known. */
static void span_choose(reduce_kind kind, const float *x, int64_t n, int64_t first, partial *p)
{
    float most = -INFINITY;
    int nan = 0;
    const float sign = kind == AMIN ? -1.0f : 1.0f;
#pragma omp simd reduction(max : most) reduction(| : nan)
    for (int64_t i = 0; i < n; i++) {
        const float v = x[i] * sign;
        most = v > most ? v : most;
        nan |= x[i] != x[i];
    }
    if (!nan && p->at >= 0 && !better(AMAX, most, p->value * sign)) return;
    for (int64_t i = 0; i < n; i++)
        if (p->at < 0 || better(kind, x[i], p->value)) *p = (partial){.value = x[i], .at = first + i};
}

static void run_floats(const reduction *r, const char *x, const char *b, int64_t begin, int64_t end, partial *p)
{
    SPAN_BUFFER(buffer_x);
    SPAN_BUFFER(buffer_b);
    for (int64_t i = begin, m; i < end; i += m) {
        m = end - i < SPAN_MAX ? end - i : SPAN_MAX;
        const float *vx = cpu_load(buffer_x, x + i * r->step[0] * r->size, r->dtype, m, r->step[0]);
        const float *vb = r->b ? cpu_load(buffer_b, b + i * r->step[1] * r->size, r->dtype, m, r->step[1]) : NULL;
        if (r->kind >= AMAX) span_choose(r->kind, vx, m, i, p);
        else p->value += (double)span_sums[r->kind](vx, vb, m);
    }
}

static void run_integers(const reduction *r, const char *x, int64_t begin, int64_t end, partial *p)
{
    for (int64_t i = begin; i < end; i++) {
        const char *at = x + i * r->step[0] * r->size;
        const int64_t v = r->dtype == TRINE_I64 ? *(const int64_t *)(const void *)at : *(const int32_t *)(const void *)at;
        if (p->at < 0 || (r->kind == AMIN ? v < p->whole : v > p->whole)) *p = (partial){.whole = v, .at = i};
    }
}

static bool integers(const reduction *r)
{
    return r->dtype == TRINE_I32 || r->dtype == TRINE_I64;
}

static partial nothing(void)
{
    return (partial){.at = -1};
}

static void run(const reduction *r, const char *x, const char *b, int64_t begin, int64_t end, partial *p)
{
    if (integers(r)) run_integers(r, x, begin, end, p);
    else run_floats(r, x, b, begin, end, p);
}

static void merge(const reduction *r, partial *into, const partial *from)
{
    if (r->kind < AMAX) into->value += from->value;
    else if (into->at < 0) *into = *from;
    else if (from->at < 0) return;
    else if (integers(r) ? (r->kind == AMIN ? from->whole < into->whole : from->whole > into->whole) : better(r->kind, from->value, into->value)) *into = *from;
}

/* ---- The result ---- */

static void put(const reduction *r, int64_t offset, const partial *p)
{
    char *to = (char *)r->y.data + offset * (trine_dtype_bits(r->y.dtype) / 8);
    const double n = (double)r->count;
    if (r->kind == ARGMAX) trine_convert(&p->at, TRINE_I64, to, r->y.dtype, 1);
    else if (integers(r)) trine_convert(&p->whole, TRINE_I64, to, r->y.dtype, 1);
    else {
        /* one rounding of the final value: to f32 first, as everywhere */
        const float value = (float)(r->kind == MEAN ? p->value / n : r->kind == NORM_L2 ? sqrt(p->value) : p->value);
        trine_convert(&value, TRINE_F32, to, r->y.dtype, 1);
    }
}

/* ---- One output a run ---- */

/* Where the run of output `index` begins, and where it goes. For a reduction over everything, `index` is a row of r->all. */
static void run_offsets(const reduction *r, const trine_iter *it, int32_t first_input, int64_t index, int64_t *x, int64_t *b, int64_t *y)
{
    int64_t offset[TRINE_ITER_OPERANDS];
    trine_iter_offsets(it, index, offset);
    *y = first_input ? offset[0] : 0;
    *x = offset[first_input];
    *b = r->b ? offset[first_input + 1] : 0;
}

static void run_chunk(const reduction *r, const trine_iter *it, int32_t first_input, int64_t index, int64_t chunk, partial *p)
{
    int64_t x, b, y, begin = chunk * REDUCE_CHUNK, end = begin + REDUCE_CHUNK < r->count ? begin + REDUCE_CHUNK : r->count;
    run_offsets(r, it, first_input, index, &x, &b, &y);
    *p = nothing();
    p->value = 0;
    run(r, r->x + x * r->size, r->b ? r->b + b * r->size : NULL, begin, end, p);
}

static void reduce_runs(const reduction *r, partial *partials)
{
    const int64_t outputs = r->outputs.numel, grain = r->count >= CPU_GRAIN ? 1 : CPU_GRAIN / (r->count + 1) + 1;
    if (r->chunks > 1 && outputs < 64) { /* few and long: threads share an output's chunks */
        CPU_PARALLEL_FOR(range, outputs * r->chunks, 1) {
            for (int64_t i = range.begin; i < range.end; i++) run_chunk(r, &r->outputs, 1, i / r->chunks, i % r->chunks, &partials[i]);
        }
    }
    CPU_PARALLEL_FOR(range, outputs, grain) {
        for (int64_t o = range.begin; o < range.end; o++) {
            partial sum = nothing(), next;
            int64_t x, b, y;
            for (int64_t k = 0; k < r->chunks; k++) {
                if (r->chunks > 1 && outputs < 64) next = partials[o * r->chunks + k];
                else run_chunk(r, &r->outputs, 1, o, k, &next);
                merge(r, &sum, &next);
            }
            run_offsets(r, &r->outputs, 1, o, &x, &b, &y);
            put(r, y, &sum);
        }
    }
}

/* ---- Everything: rows of r->all, each a run along the innermost axis ---- */

static void reduce_all(const reduction *r, partial *partials)
{
    const int64_t tasks = r->all.numel * r->chunks;
    partial sum = nothing();
    const reduction row = *r;
    CPU_PARALLEL_FOR(range, tasks, r->count >= CPU_GRAIN ? 1 : CPU_GRAIN / (r->count + 1) + 1) {
        for (int64_t i = range.begin; i < range.end; i++) {
            run_chunk(&row, &r->all, 0, i / r->chunks, i % r->chunks, &partials[i]);
            if (partials[i].at >= 0) partials[i].at += i / r->chunks * r->count; /* row-major over all */
        }
    }
    for (int64_t i = 0; i < tasks; i++) merge(r, &sum, &partials[i]);
    reduction whole = *r;
    whole.count = r->count * r->all.numel;
    put(&whole, 0, &sum);
}

/* ---- Side by side: the kept axes end in a dense one ---- */

typedef struct columns {
    int64_t inner, blocks; /* elements of the dense axis; blocks of SPAN_MAX of them */
    int64_t chunks;
    trine_iter outer; /* y, x, (b): the kept axes but the dense one */
    int64_t y_step;
    double *sums; /* outer x chunks x inner, where there are several chunks */
} columns;

#define COLUMN_SUM(name, term) \
    static void name(float *restrict sum, const float *restrict x, const float *restrict b, int64_t n) \
    { \
        (void)b; \
        for (int64_t i = 0; i < n; i++) sum[i] += (term); \
    }
COLUMN_SUM(column_sum, x[i])
COLUMN_SUM(column_l1, fabsf(x[i]))
COLUMN_SUM(column_l2, x[i] * x[i])
COLUMN_SUM(column_dot, x[i] * b[i])
typedef void (*column_sum_fn)(float *restrict sum, const float *restrict x, const float *restrict b, int64_t n);
static const column_sum_fn column_sums[] = {[SUM] = column_sum, [MEAN] = column_sum, [NORM_L1] = column_l1, [NORM_L2] = column_l2, [DOT] = column_dot};

/* Rows [begin, end) of a block of n columns, added up in f32. */
static void column_rows(const reduction *r, const int64_t *offset, int64_t first, int64_t n, int64_t begin, int64_t end, float *sum)
{
    SPAN_BUFFER(buffer_x);
    SPAN_BUFFER(buffer_b);
    for (int64_t i = 0; i < n; i++) sum[i] = 0;
    for (int64_t k = begin; k < end; k++) {
        const float *x = span_load(buffer_x, r->x + (offset[1] + first + k * r->step[0]) * r->size, r->dtype, n);
        const float *b = r->b ? span_load(buffer_b, r->b + (offset[2] + first + k * r->step[1]) * r->size, r->dtype, n) : NULL;
        column_sums[r->kind](sum, x, b, n);
    }
}

/* One chunk of rows of one block of columns; pieces of few rows in f32, so that a column's chain of additions is short, their sums in f64. */
static void columns_partial(const reduction *r, const columns *c, int64_t task)
{
    const int64_t chunk = task % c->chunks, block = task / c->chunks % c->blocks, o = task / c->chunks / c->blocks;
    const int64_t first = block * SPAN_MAX, n = c->inner - first < SPAN_MAX ? c->inner - first : SPAN_MAX;
    const int64_t begin = chunk * COLUMN_CHUNK, end = begin + COLUMN_CHUNK < r->count ? begin + COLUMN_CHUNK : r->count;
    double *to = c->sums + (o * c->chunks + chunk) * c->inner + first;
    int64_t offset[TRINE_ITER_OPERANDS];
    SPAN_BUFFER(sum);
    trine_iter_offsets(&c->outer, o, offset);
    for (int64_t i = 0; i < n; i++) to[i] = 0;
    for (int64_t k = begin; k < end; k += COLUMN_PIECE) {
        column_rows(r, offset, first, n, k, k + COLUMN_PIECE < end ? k + COLUMN_PIECE : end, sum);
        for (int64_t i = 0; i < n; i++) to[i] += (double)sum[i];
    }
}

static void columns_finish(const reduction *r, const columns *c, int64_t o, int64_t i)
{
    int64_t offset[TRINE_ITER_OPERANDS];
    partial sum = nothing();
    trine_iter_offsets(&c->outer, o, offset);
    for (int64_t k = 0; k < c->chunks; k++) sum.value += c->sums[(o * c->chunks + k) * c->inner + i];
    put(r, offset[0] + i * c->y_step, &sum);
}

static void reduce_columns(const reduction *r, const columns *c)
{
    CPU_PARALLEL_FOR(range, c->outer.numel * c->blocks * c->chunks, 1) {
        for (int64_t task = range.begin; task < range.end; task++) columns_partial(r, c, task);
    }
    CPU_PARALLEL_FOR(range, c->outer.numel * c->inner, 1024) {
        for (int64_t i = range.begin; i < range.end; i++) columns_finish(r, c, i / c->inner, i % c->inner);
    }
}

/* ---- Host ---- */

/* y seen with x's axes: the reduced ones have size 1 (and any stride). */
static trine_tensor expanded(const trine_tensor *y, const trine_tensor *x, int32_t axis)
{
    trine_tensor v = *x;
    v.data = y->data;
    v.dtype = y->dtype;
    for (int32_t d = 0, from = 0; d < x->ndim; d++) {
        const bool gone = d == axis;
        v.shape[d] = gone ? 1 : x->shape[d];
        v.stride[d] = gone ? 0 : y->stride[from];
        from += !gone || y->ndim == x->ndim;
    }
    return v;
}

static trine_tensor without_axis(trine_tensor x, int32_t axis)
{
    for (int32_t d = axis; d + 1 < x.ndim; d++) {
        x.shape[d] = x.shape[d + 1];
        x.stride[d] = x.stride[d + 1];
    }
    x.ndim--;
    return x;
}

static trine_status call_all(trine_call *call, reduction *r, const trine_tensor *x, const trine_tensor *b)
{
    /* keep_order: argmax counts row-major */
    const trine_tensor *inputs[] = {x, b};
    int64_t inner[TRINE_ITER_OPERANDS];
    r->all = trine_iter_make(inputs, b ? 2 : 1, 1);
    r->count = trine_iter_pop_inner(&r->all, inner);
    r->step[0] = inner[0];
    r->step[1] = b ? inner[1] : 0;
    r->chunks = (r->count + REDUCE_CHUNK - 1) / REDUCE_CHUNK;
    TRINE_END_OF_QUERY(call, (size_t)(r->all.numel * r->chunks) * sizeof(partial));
    reduce_all(r, call->workspace);
    return TRINE_OK;
}

/* Dense columns beside each other, in all operands; and sums, which add up well side by side. */
static bool columns_fit(const reduction *r, const trine_iter *kept, int32_t inputs)
{
    const int32_t last = kept->ndim - 1;
    bool fit = r->kind < AMAX && kept->size[last] > 1 && r->step[0] != 1;
    for (int32_t k = 1; k <= inputs; k++) fit = fit && kept->stride[k][last] == 1;
    return fit;
}

static trine_status call_columns(trine_call *call, const reduction *r)
{
    columns c = {.outer = r->outputs, .chunks = (r->count + COLUMN_CHUNK - 1) / COLUMN_CHUNK};
    int64_t inner[TRINE_ITER_OPERANDS];
    c.inner = trine_iter_pop_inner(&c.outer, inner);
    c.y_step = inner[0];
    c.blocks = (c.inner + SPAN_MAX - 1) / SPAN_MAX;
    TRINE_END_OF_QUERY(call, (size_t)(c.outer.numel * c.chunks * c.inner) * sizeof(double));
    c.sums = call->workspace;
    reduce_columns(r, &c);
    return TRINE_OK;
}

static trine_status reduce(trine_call *call, reduce_kind kind, const trine_tensor *x, const trine_tensor *b, const trine_tensor *y, int32_t axis)
{
    reduction r = {.kind = kind, .dtype = x->dtype, .size = trine_dtype_bits(x->dtype) / 8, .x = x->data, .b = b ? b->data : NULL, .y = *y};
    call->variant = TRINE_CPU_VARIANT;
    if (b && !b->data) r.b = ""; /* a query: only whether there is one counts */
    if (axis == TRINE_AXIS_ALL) return call_all(call, &r, x, b);
    if (axis < 0) axis += x->ndim;
    const trine_tensor kept_x = without_axis(*x, axis), kept_b = b ? without_axis(*b, axis) : kept_x, wide_y = expanded(y, x, axis), kept_y = without_axis(wide_y, axis);
    const trine_tensor *kept[] = {&kept_y, &kept_x, &kept_b};
    r.outputs = trine_iter_make(kept, b ? 3 : 2, 0);
    r.count = x->shape[axis];
    r.step[0] = x->stride[axis];
    r.step[1] = b ? b->stride[axis] : 0;
    if (columns_fit(&r, &r.outputs, b ? 2 : 1)) return call_columns(call, &r);
    r.chunks = (r.count + REDUCE_CHUNK - 1) / REDUCE_CHUNK;
    TRINE_END_OF_QUERY(call, r.chunks > 1 && r.outputs.numel < 64 ? (size_t)(r.outputs.numel * r.chunks) * sizeof(partial) : 0);
    reduce_runs(&r, call->workspace);
    return TRINE_OK;
}

/* ---- The backend's functions ---- */

#define REDUCE(name, kind) \
    trine_status TRINE_CPU(name)(trine_call * call, const trine_##name##_args *a) \
    { \
        return reduce(call, kind, &a->x, NULL, &a->y, a->axis); \
    }
REDUCE(sum, SUM)
REDUCE(mean, MEAN)
REDUCE(amax, AMAX)
REDUCE(amin, AMIN)
REDUCE(argmax, ARGMAX)
REDUCE(norm_l1, NORM_L1)
REDUCE(norm_l2, NORM_L2)

trine_status TRINE_CPU(dot)(trine_call *call, const trine_dot_args *a)
{
    return reduce(call, DOT, &a->a, &a->b, &a->y, a->axis);
}
