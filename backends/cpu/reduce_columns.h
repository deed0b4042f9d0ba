/* Reductions on the CPU along an axis outside the dense one: rows of "columns" are taken side by side, four at a time, so that
 * memory is read in its order and a column's running result is touched once in four rows. The reduced axis is cut into slices of
 * a fixed length, whose partials are merged in their order. */
#ifndef TRINE_CPU_REDUCE_COLUMNS_H
#define TRINE_CPU_REDUCE_COLUMNS_H

#include "backends/cpu/reduce_kinds.h"

/* Columns that are worked on together; rows whose sums are f32; slices at most, and their rows at least. */
enum { COLUMN_TILE = 8192, COLUMN_ROWS = 64, COLUMN_SLICES = 16, COLUMN_SLICE = 64, ROWS_AT_ONCE = 4 };

typedef struct columns {
    const reduction *r;
    trine_iter outer; /* the kept axes but the dense one */
    int64_t count, y_step;
    int64_t tiles, slices, slice;
    double *values;  /* outer x slices x count: sums, or the largest */
    int64_t *wholes; /* in their place for integers: the largest */
    int64_t *at;     /* its index */
} columns;

/* A tile of one slice. */
typedef struct column_task {
    const char *in[REDUCTION_INPUTS]; /* row `begin` of the tile */
    int64_t n, begin, end;
    int64_t to; /* index into values */
} column_task;

/* ---- Floats: rows as f32 ---- */

typedef struct column_rows {
    const float *x[ROWS_AT_ONCE], *y[ROWS_AT_ONCE];
} column_rows;

#define COLUMN_SUM(name, term) \
    static void name##_four(float *restrict s, const column_rows *rows, int64_t n) \
    { \
        const float *x0 = rows->x[0], *x1 = rows->x[1], *x2 = rows->x[2], *x3 = rows->x[3]; \
        const float *y0 = rows->y[0], *y1 = rows->y[1], *y2 = rows->y[2], *y3 = rows->y[3]; \
        (void)y0, (void)y1, (void)y2, (void)y3; \
        for (int64_t i = 0; i < n; i++) \
            s[i] += (term(x0[i], y0[i]) + term(x1[i], y1[i])) + (term(x2[i], y2[i]) + term(x3[i], y3[i])); \
    } \
    static void name##_one(float *restrict s, const column_rows *rows, int64_t n) \
    { \
        const float *x = rows->x[0], *y = rows->y[0]; \
        (void)y; \
        for (int64_t i = 0; i < n; i++) s[i] += term(x[i], y[i]); \
    }
#define TERM_SUM(x, y) (x)
#define TERM_L1(x, y) fabsf(x)
#define TERM_L2(x, y) ((x) * (x))
#define TERM_DOT(x, y) ((x) * (y))
COLUMN_SUM(column_sum, TERM_SUM)
COLUMN_SUM(column_l1, TERM_L1)
COLUMN_SUM(column_l2, TERM_L2)
COLUMN_SUM(column_dot, TERM_DOT)
typedef void (*column_sum_fn)(float *restrict s, const column_rows *rows, int64_t n);
static const column_sum_fn column_sums[][2] = {[SUM] = {column_sum_one, column_sum_four},
                                               [MEAN] = {column_sum_one, column_sum_four},
                                               [NORM_L1] = {column_l1_one, column_l1_four},
                                               [NORM_L2] = {column_l2_one, column_l2_four},
                                               [DOT] = {column_dot_one, column_dot_four}};

/* best[i], index[i]: the largest so far and its row; `row` counts from the slice's first. */
static void column_best(float *restrict best, int32_t *restrict index, const float *restrict x, float sign, int32_t row,
                        int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const float v = x[i] * sign, b = best[i];
        const int32_t take = (v > b) | ((v != v) & (b == b));
        best[i] = take ? v : b;
        index[i] = take ? row : index[i];
    }
}

/* Spans of `rows` rows, from element `i` of the tile on. */
static void column_load(const columns *c, const column_task *t, int64_t row, int rows, int64_t i, int64_t n,
                        float (*buffers)[SPAN_MAX], column_rows *to)
{
    const reduction *r = c->r;
    for (int k = 0; k < rows; k++) {
        const int64_t down = row + k - t->begin;
        to->x[k] = span_load(buffers[k], t->in[0] + (down * r->shape.step[0] + i) * r->size, r->dtype, n);
        to->y[k] = to->x[k];
        if (r->kind == DOT)
            to->y[k] = span_load(buffers[ROWS_AT_ONCE + k], t->in[1] + (down * r->shape.step[1] + i) * r->size, r->dtype, n);
    }
}

static void column_sums_of(const columns *c, const column_task *t)
{
    _Alignas(64) float sum[COLUMN_TILE], buffers[2 * ROWS_AT_ONCE][SPAN_MAX];
    double *to = c->values + t->to;
    for (int64_t i = 0; i < t->n; i++) to[i] = 0;
    for (int64_t piece = t->begin, end; piece < t->end; piece = end) {
        end = piece + COLUMN_ROWS < t->end ? piece + COLUMN_ROWS : t->end;
        for (int64_t i = 0; i < t->n; i++) sum[i] = 0;
        for (int64_t row = piece; row < end;) {
            const int rows = end - row >= ROWS_AT_ONCE ? ROWS_AT_ONCE : 1;
            for (int64_t i = 0, m; i < t->n; i += m) {
                column_rows loaded;
                m = t->n - i < SPAN_MAX ? t->n - i : SPAN_MAX;
                column_load(c, t, row, rows, i, m, buffers, &loaded);
                column_sums[c->r->kind][rows > 1](sum + i, &loaded, m);
            }
            row += rows;
        }
        for (int64_t i = 0; i < t->n; i++) to[i] += (double)sum[i];
    }
}

static void column_floats_of(const columns *c, const column_task *t)
{
    SPAN_BUFFER(buffer);
    _Alignas(64) float best[COLUMN_TILE];
    int32_t index[COLUMN_TILE];
    for (int64_t i = 0; i < t->n; i++) {
        best[i] = -INFINITY;
        index[i] = 0;
    }
    for (int64_t row = t->begin; row < t->end; row++)
        for (int64_t i = 0, m; i < t->n; i += m) {
            m = t->n - i < SPAN_MAX ? t->n - i : SPAN_MAX;
            const float *x =
                span_load(buffer, t->in[0] + ((row - t->begin) * c->r->shape.step[0] + i) * c->r->size, c->r->dtype, m);
            column_best(best + i, index + i, x, c->r->kind == AMIN ? -1.0f : 1.0f, (int32_t)(row - t->begin), m);
        }
    for (int64_t i = 0; i < t->n; i++) {
        c->values[t->to + i] = (double)best[i];
        c->at[t->to + i] = t->begin + index[i];
    }
}

/* ---- Integers ---- */

#define COLUMN_WHOLES(name, type) \
    static void name(const columns *c, const column_task *t) \
    { \
        const type flip = c->r->kind == AMIN ? -1 : 0; \
        int64_t *restrict best = c->wholes + t->to, *restrict at = c->at + t->to; \
        for (int64_t i = 0; i < t->n; i++) { \
            best[i] = INT64_MIN; \
            at[i] = t->begin; \
        } \
        for (int64_t row = t->begin; row < t->end; row++) { \
            const type *x = \
                (const type *)(const void *)(t->in[0] + (row - t->begin) * c->r->shape.step[0] * (int64_t)sizeof(type)); \
            for (int64_t i = 0; i < t->n; i++) { \
                const int64_t v = (type)(x[i] ^ flip); \
                at[i] = v > best[i] ? row : at[i]; \
                best[i] = v > best[i] ? v : best[i]; \
            } \
        } \
    }
COLUMN_WHOLES(column_i32_of, int32_t)
COLUMN_WHOLES(column_i64_of, int64_t)

/* ---- All of it ---- */

static void column_run(const columns *c, int64_t task)
{
    const reduction *r = c->r;
    const int64_t slice = task % c->slices, tile = task / c->slices % c->tiles, o = task / c->slices / c->tiles,
                  first = tile * COLUMN_TILE;
    int64_t offset[TRINE_ITER_OPERANDS];
    trine_iter_offsets(&c->outer, o, offset);
    column_task t = {.n = c->count - first < COLUMN_TILE ? c->count - first : COLUMN_TILE,
                     .begin = slice * c->slice,
                     .to = (o * c->slices + slice) * c->count + first};
    t.end = t.begin + c->slice < r->shape.n ? t.begin + c->slice : r->shape.n;
    for (int k = 0; k < REDUCTION_INPUTS; k++) t.in[k] = r->in[k] + (offset[k] + first + t.begin * r->shape.step[k]) * r->size;
    if (is_sum(r))
        column_sums_of(c, &t);
    else if (!is_integer(r))
        column_floats_of(c, &t);
    else if (r->dtype == TRINE_I32)
        column_i32_of(c, &t);
    else
        column_i64_of(c, &t);
}

/* Merges the slices of `n` columns from `first` on. */
static void column_finish_floats(const columns *c, int64_t o, int64_t first, int64_t n, char *to)
{
    SPAN_BUFFER(out);
    double value[SPAN_MAX];
    const double *from = c->values + o * c->slices * c->count + first;
    memcpy(value, from, (size_t)n * sizeof *value);
    for (int64_t s = 1; s < c->slices; s++) {
        const double *next = from + s * c->count;
        if (is_sum(c->r))
            for (int64_t i = 0; i < n; i++) value[i] += next[i];
        else
            for (int64_t i = 0; i < n; i++) value[i] = is_larger(next[i], value[i]) ? next[i] : value[i];
    }
    for (int64_t i = 0; i < n; i++) out[i] = partial_float(c->r, &(partial){.value = value[i]});
    cpu_store(to, c->r->y.dtype, out, n, c->y_step, false);
}

static void column_finish_one(const columns *c, int64_t o, int64_t i, int64_t y)
{
    partial p = partial_start(c->r, 0);
    for (int64_t s = 0; s < c->slices; s++) {
        const int64_t from = (o * c->slices + s) * c->count + i;
        partial next = {.value = c->values[from], .at = c->at[from]};
        if (is_integer(c->r)) next.whole = c->wholes[from];
        partial_merge(c->r, &p, &next);
    }
    partial_put(c->r, y, &p);
}

static void column_finish(const columns *c, int64_t o, int64_t first, int64_t n)
{
    int64_t offset[TRINE_ITER_OPERANDS];
    trine_iter_offsets(&c->outer, o, offset);
    const int64_t y = offset[REDUCTION_Y] + first * c->y_step;
    if (c->r->kind != ARGMAX && !is_integer(c->r))
        column_finish_floats(c, o, first, n, (char *)c->r->y.data + y * (trine_dtype_bits(c->r->y.dtype) / 8));
    else
        for (int64_t i = 0; i < n; i++) column_finish_one(c, o, first + i, y + i * c->y_step);
}

static void columns_run(const columns *c)
{
    CPU_PARALLEL_FOR(range, c->outer.numel * c->tiles * c->slices, 1)
    {
        for (int64_t task = range.begin; task < range.end; task++) column_run(c, task);
    }
    CPU_PARALLEL_FOR(range, c->outer.numel * c->count, 4096)
    {
        for (int64_t i = range.begin, m; i < range.end; i += m) {
            const int64_t first = i % c->count, left = c->count - first < range.end - i ? c->count - first : range.end - i;
            m = left < SPAN_MAX ? left : SPAN_MAX;
            column_finish(c, i / c->count, first, m);
        }
    }
}

/* The kept axis that lies closest is dense, in all inputs, and closer than the reduced one. */
static inline bool columns_fit(const reduction *r)
{
    const trine_iter *kept = &r->shape.kept;
    const int32_t last = kept->ndim - 1;
    bool fit = r->shape.rows.numel == 1 && kept->size[last] > 1 && r->shape.n > 1;
    for (int32_t k = 0; k < REDUCTION_INPUTS; k++) fit = fit && kept->stride[k][last] == 1 && r->shape.step[k] != 1;
    return fit;
}

static inline trine_status columns_call(trine_call *call, const reduction *r)
{
    columns c = {.r = r, .outer = r->shape.kept};
    int64_t inner[TRINE_ITER_OPERANDS];
    c.count = trine_iter_pop_inner(&c.outer, inner);
    c.y_step = inner[REDUCTION_Y];
    c.tiles = (c.count + COLUMN_TILE - 1) / COLUMN_TILE;
    c.slices = r->shape.n / COLUMN_SLICE < COLUMN_SLICES ? r->shape.n / COLUMN_SLICE : COLUMN_SLICES;
    if (c.slices < 1) c.slices = 1;
    c.slice = (r->shape.n + c.slices - 1) / c.slices;
    c.slices = (r->shape.n + c.slice - 1) / c.slice;
    const size_t all = (size_t)(c.outer.numel * c.slices * c.count) * sizeof(double);
    TRINE_END_OF_QUERY(call, is_sum(r) ? all : 2 * all);
    c.values = call->workspace;
    c.wholes = call->workspace;
    c.at = (int64_t *)(void *)((char *)call->workspace + all);
    columns_run(&c);
    return TRINE_OK;
}

#endif
