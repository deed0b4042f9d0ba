/* Reductions on the CPU along an axis outside the dense one: rows of "columns" are taken side by side, long ones four at a
 * time, so that a column's running result is touched once in four rows, short ones one by one, so that memory is read in its
 * order. The reduced axis is cut into slices of a fixed length, whose partials are merged in their order. */
#ifndef TRINE_CPU_REDUCE_COLUMNS_H
#define TRINE_CPU_REDUCE_COLUMNS_H

#include "backends/cpu/reduce_kinds.h"

/* Columns that are worked on together; rows whose sums are f32; slices at most, and their rows at least. */
enum { COLUMN_TILE = 8192, COLUMN_ROWS = 64, COLUMN_SLICES = 16, COLUMN_SLICE = 64, ROWS_AT_ONCE = 4, COLUMN_BYTES = 8192 };

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

/* ---- Sums ---- */

/* n columns of up to ROWS_AT_ONCE rows, where they lie; apart: bytes from one to the one that is asked for meanwhile. */
typedef struct column_rows {
    const void *x[ROWS_AT_ONCE], *y[ROWS_AT_ONCE];
    trine_dtype dtype;
    int64_t n, apart[REDUCTION_INPUTS];
} column_rows;

LANES_INLINE f32x16 column_take(const void *x, trine_dtype dtype, int64_t i, int64_t n, bool whole)
{
    return whole ? lanes_load(x, dtype, i) : lanes_load_part(x, dtype, i, n - i, 0);
}

/* What comes later, for a block of each row. */
LANES_INLINE void column_ahead(const column_rows *c, trine_dtype dtype, int inputs, int count, int64_t i)
{
    const int lines = (int)(LANES_BLOCK * lanes_size(dtype) / 64);
    for (int k = 0; k < count; k++) {
        lanes_ask((const char *)c->x[k] + c->apart[0] + i * lanes_size(dtype), lines);
        if (inputs > 1) lanes_ask((const char *)c->y[k] + c->apart[1] + i * lanes_size(dtype), lines);
    }
}

/* Defines name(sums, rows, count): to the sums of the columns are added those of `term` of `count` rows, 1 or ROWS_AT_ONCE. */
#define COLUMN_SUM(name, inputs, term) \
    LANES_INLINE f32x16 name##_at(const column_rows *c, trine_dtype dtype, int k, int64_t i, bool whole) \
    { \
        const f32x16 a = column_take(c->x[k], dtype, i, c->n, whole); \
        const f32x16 b = (inputs) > 1 ? column_take(c->y[k], dtype, i, c->n, whole) : a; \
        return (void)b, (term); \
    } \
    LANES_INLINE void name##_add(float *sums, const column_rows *c, trine_dtype dtype, int count, int64_t i, bool whole) \
    { \
        f32x16 s, t = name##_at(c, dtype, 0, i, whole); \
        if (count > 1) \
            t = (t + name##_at(c, dtype, 1, i, whole)) + (name##_at(c, dtype, 2, i, whole) + name##_at(c, dtype, 3, i, whole)); \
        memcpy(&s, sums + i, sizeof s); \
        s += t; \
        memcpy(sums + i, &s, sizeof s); \
    } \
    LANES_INLINE void name##_of(float *sums, const column_rows *rows, trine_dtype dtype, int count) \
    { \
        const column_rows own = *rows, *c = &own; /* which no store to sums can change */ \
        int64_t i = 0; \
        for (; i + LANES <= c->n; i += LANES) { \
            /* for sums of four rows of f32 the processor looks ahead better by itself */ \
            if (i % LANES_BLOCK == 0 && (count == 1 || dtype != TRINE_F32)) column_ahead(c, dtype, inputs, count, i); \
            name##_add(sums, c, dtype, count, i, true); \
        } \
        if (i < c->n) name##_add(sums, c, dtype, count, i, false); \
    } \
    static void name(float *sums, const column_rows *c, int count) \
    { \
        if (c->dtype == TRINE_F32) \
            count > 1 ? name##_of(sums, c, TRINE_F32, ROWS_AT_ONCE) : name##_of(sums, c, TRINE_F32, 1); \
        else if (c->dtype == TRINE_BF16) \
            count > 1 ? name##_of(sums, c, TRINE_BF16, ROWS_AT_ONCE) : name##_of(sums, c, TRINE_BF16, 1); \
        else \
            count > 1 ? name##_of(sums, c, TRINE_F16, ROWS_AT_ONCE) : name##_of(sums, c, TRINE_F16, 1); \
    }
COLUMN_SUM(column_sum, 1, a)
COLUMN_SUM(column_l1, 1, (f32x16)((i32x16)(a)&0x7fffffff))
COLUMN_SUM(column_l2, 1, (a) * (a))
COLUMN_SUM(column_dot, 2, (a) * (b))
typedef void (*column_sum_fn)(float *sums, const column_rows *c, int count);
static const column_sum_fn column_sums[] = {
    [SUM] = column_sum, [MEAN] = column_sum, [NORM_L1] = column_l1, [NORM_L2] = column_l2, [DOT] = column_dot};

/* Rows [row, row + count) of a tile, from its column `i` on. */
static column_rows column_rows_at(const columns *c, const column_task *t, int64_t row, int count, int64_t i, int64_t n)
{
    const reduction *r = c->r;
    column_rows rows = {.dtype = r->dtype, .n = n};
    const int64_t ahead = count > 1 ? count : 1 + (COLUMN_BYTES - 1) / (n * r->size);
    for (int j = 0; j < REDUCTION_INPUTS; j++) rows.apart[j] = ahead * r->shape.step[j] * r->size;
    for (int k = 0; k < count; k++) {
        const int64_t down = row + k - t->begin;
        rows.x[k] = t->in[0] + (down * r->shape.step[0] + i) * r->size;
        rows.y[k] = t->in[1] + (down * r->shape.step[1] + i) * r->size;
    }
    return rows;
}

/* Rows that are taken together: one by one where memory is then read in its order. */
static int rows_together(const columns *c, const column_task *t, int64_t left)
{
    const bool in_order = t->n == c->count && t->n * c->r->size <= COLUMN_BYTES;
    return left >= ROWS_AT_ONCE && !in_order ? ROWS_AT_ONCE : 1;
}

static void column_sums_of(const columns *c, const column_task *t)
{
    _Alignas(64) float sum[COLUMN_TILE + LANES];
    double *to = c->values + t->to;
    for (int64_t i = 0; i < t->n; i++) to[i] = 0;
    for (int64_t piece = t->begin, end; piece < t->end; piece = end) {
        end = piece + COLUMN_ROWS < t->end ? piece + COLUMN_ROWS : t->end;
        for (int64_t i = 0; i < t->n + LANES; i++) sum[i] = 0;
        for (int64_t row = piece; row < end;) {
            const int count = rows_together(c, t, end - row);
            const column_rows rows = column_rows_at(c, t, row, count, 0, t->n);
            column_sums[c->r->kind](sum, &rows, count);
            row += count;
        }
        for (int64_t i = 0; i < t->n; i++) to[i] += (double)sum[i];
    }
}

/* ---- Maxima ---- */

/* best: the largest so far, index: its row; NaN is larger than all numbers, and of equals the first one stays. */
LANES_INLINE void column_larger(f32x16 *best, i32x16 *index, f32x16 x, int32_t row)
{
#if defined __AVX512F__
    const __m512 b = (__m512)*best;
    const __mmask16 above = _mm512_cmp_ps_mask((__m512)x, b, _CMP_NLE_UQ),
                    take = _mm512_mask_cmp_ps_mask(above, b, b, _CMP_ORD_Q);
    *best = (f32x16)_mm512_mask_mov_ps(b, take, (__m512)x);
    *index = (i32x16)_mm512_mask_set1_epi32((__m512i)*index, take, row);
#else
    const f32x16 b = *best;
    const i32x16 take = (x > b) | ((x != x) & (b == b));
    *best = (f32x16)(((i32x16)x & take) | ((i32x16)b & ~take));
    *index = (row & take) | (*index & ~take);
#endif
}

/* `count` rows, 1 or ROWS_AT_ONCE, the first of which is `row`; turned: the smallest are looked for. */
LANES_INLINE void column_best_of(float *best, int32_t *index, const column_rows *rows, trine_dtype dtype, int count, bool turned,
                                 int32_t row)
{
    const column_rows own = *rows, *c = &own; /* which no store to best can change */
    const i32x16 sign = (i32x16){0} + (turned ? INT32_MIN : 0);
    for (int64_t i = 0; i < c->n; i += LANES) {
        const bool whole = i + LANES <= c->n;
        f32x16 b = lanes_load(best, TRINE_F32, i);
        i32x16 at;
        memcpy(&at, index + i, sizeof at);
        if (i % LANES_BLOCK == 0 && whole) column_ahead(c, dtype, 1, count, i);
        for (int k = 0; k < count; k++)
            column_larger(&b, &at, (f32x16)((i32x16)column_take(c->x[k], dtype, i, c->n, whole) ^ sign), row + k);
        memcpy(best + i, &b, sizeof b);
        memcpy(index + i, &at, sizeof at);
    }
}

static void column_best(float *best, int32_t *index, const column_rows *c, int count, bool turned, int32_t row)
{
#define BEST(dtype) \
    (count > 1 ? column_best_of(best, index, c, dtype, ROWS_AT_ONCE, turned, row) \
               : column_best_of(best, index, c, dtype, 1, turned, row))
    if (c->dtype == TRINE_F32)
        BEST(TRINE_F32);
    else if (c->dtype == TRINE_BF16)
        BEST(TRINE_BF16);
    else
        BEST(TRINE_F16);
#undef BEST
}

static void column_floats_of(const columns *c, const column_task *t)
{
    _Alignas(64) float best[COLUMN_TILE + LANES];
    _Alignas(64) int32_t index[COLUMN_TILE + LANES];
    for (int64_t i = 0; i < t->n + LANES; i++) {
        best[i] = -INFINITY;
        index[i] = 0;
    }
    for (int64_t row = t->begin, count; row < t->end; row += count) {
        count = rows_together(c, t, t->end - row);
        const column_rows rows = column_rows_at(c, t, row, (int)count, 0, t->n);
        column_best(best, index, &rows, (int)count, c->r->kind == AMIN, (int32_t)(row - t->begin));
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
