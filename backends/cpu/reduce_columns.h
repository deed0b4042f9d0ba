/* Reductions on the CPU along an axis outside the dense one: rows of "columns" are taken side by side, several at a time, so that
 * a column's running result is touched once for them, or singly, so that memory is read in its order. The reduced axis is cut into
 * slices of a fixed length, whose partials are merged in their order. */
#ifndef TRINE_CPU_REDUCE_COLUMNS_H
#define TRINE_CPU_REDUCE_COLUMNS_H

#include "backends/cpu/reduce_kinds.h"

/* Columns that are worked on together; rows whose sums are f32; slices at most, and their rows at least. */
enum { COLUMN_TILE = 8192, COLUMN_ROWS = 256, COLUMN_SLICES = 16, COLUMN_SLICE = 64, ROWS_AT_ONCE = 4 };

/* Bytes from what is read to what is asked for meanwhile, of one row and of several; rows up to COLUMN_BYTES are read singly,
 * twice as long ones where results are only looked at. */
enum { COLUMN_AHEAD = 8192, COLUMN_AHEAD_EACH = 1024, COLUMN_BYTES = 8192 };

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

/* Rows of n columns, where they lie: step[k] bytes from one to the next. */
typedef struct column_rows {
    const char *x[REDUCTION_INPUTS];
    trine_dtype dtype;
    bool far;
    int64_t n, count, step[REDUCTION_INPUTS];
} column_rows;

LANES_INLINE f32x16 column_take(const char *x, trine_dtype dtype, int64_t i, int64_t n, bool whole)
{
    return whole ? lanes_load(x, dtype, i) : lanes_load_part(x, dtype, i, n - i, 0);
}

/* Elements of a line. */
LANES_INLINE int64_t column_line(trine_dtype dtype) { return 64 / lanes_size(dtype); }

/* Rows at once, which read as many places in turn and touch a column's result once: best where rows are long, and for sums of f32,
 * of which so much is under way that the processor needs not be asked. Else a row at a time, in memory's order. (Zen 5, sums of
 * rows of 4 KiB: f32 in fours 89 GB/s, singly 71; bf16 in fours 46, singly 53 of a slower bus.) */
LANES_INLINE int64_t column_together(const column_rows *c, trine_dtype dtype, bool sums)
{
    const bool singly =
        c->n * lanes_size(dtype) == c->step[0] && c->step[0] <= (sums ? 1 : 2) * COLUMN_BYTES && !(sums && dtype == TRINE_F32);
    return singly ? 0 : c->count / ROWS_AT_ONCE * ROWS_AT_ONCE;
}

/* What comes next in each of `count` rows. */
LANES_INLINE void column_ask(const char *x, int64_t step, trine_dtype dtype, int count, bool sums, bool far)
{
    if (count > 1 && sums && dtype == TRINE_F32 && !prefers_l2()) return;
    for (int k = 0; k < count; k++) {
        const char *next = x + k * step + (count > 1 ? COLUMN_AHEAD_EACH : COLUMN_AHEAD);
        if (far)
            __builtin_prefetch(next, 0, 0);
        else
            ask_for_line(next);
    }
}

/* ---- Sums ---- */

/* Defines name(sums, c): to the sums of the columns is added `term` of all rows. */
#define COLUMN_SUM(name, inputs, term) \
    LANES_INLINE f32x16 name##_at(const char *x, const char *y, trine_dtype dtype, int64_t i, int64_t n, bool whole) \
    { \
        const f32x16 a = column_take(x, dtype, i, n, whole); \
        const f32x16 b = (inputs) > 1 ? column_take(y, dtype, i, n, whole) : a; \
        return (void)b, (term); \
    } \
    LANES_INLINE void name##_add(float *sums, const char *x, const char *y, int64_t x_step, int64_t y_step, trine_dtype dtype, \
                                 int count, int64_t i, int64_t n, bool whole) \
    { \
        f32x16 s, t[ROWS_AT_ONCE]; \
        for (int k = 0; k < count; k++) t[k] = name##_at(x + k * x_step, y + k * y_step, dtype, i, n, whole); \
        if (count > 1) t[0] = (t[0] + t[1]) + (t[2] + t[3]); \
        memcpy(&s, sums + i, sizeof s); \
        s += t[0]; \
        memcpy(sums + i, &s, sizeof s); \
    } \
    LANES_INLINE void name##_rows(float *sums, const column_rows *c, trine_dtype dtype, int64_t from, int64_t rows, int count) \
    { \
        const int64_t x_step = c->step[0], y_step = c->step[1], n = c->n, line = column_line(dtype); \
        const char *x = c->x[0] + from * x_step, *y = c->x[1] + from * y_step; \
        const bool far = c->far; \
        for (int64_t row = 0; row < rows; row += count, x += count * x_step, y += count * y_step) { \
            int64_t i = 0; \
            for (; i + line <= n; i += line) { \
                column_ask(x + i * lanes_size(dtype), x_step, dtype, count, true, far); \
                if ((inputs) > 1) column_ask(y + i * lanes_size(dtype), y_step, dtype, count, true, far); \
                for (int64_t j = 0; j < line; j += LANES) name##_add(sums, x, y, x_step, y_step, dtype, count, i + j, n, true); \
            } \
            for (; i + LANES <= n; i += LANES) name##_add(sums, x, y, x_step, y_step, dtype, count, i, n, true); \
            if (i < n) name##_add(sums, x, y, x_step, y_step, dtype, count, i, n, false); \
        } \
    } \
    LANES_INLINE void name##_of(const column_rows *c, trine_dtype dtype, float *sums) \
    { \
        const int64_t together = column_together(c, dtype, true); \
        name##_rows(sums, c, dtype, 0, together, ROWS_AT_ONCE); \
        name##_rows(sums, c, dtype, together, c->count - together, 1); \
    } \
    static void name(float *sums, const column_rows *c) { REDUCE_BY_DTYPE(name##_of, c, sums); }
COLUMN_SUM(column_sum, 1, a)
COLUMN_SUM(column_l1, 1, (f32x16)((i32x16)(a)&0x7fffffff))
COLUMN_SUM(column_l2, 1, (a) * (a))
COLUMN_SUM(column_dot, 2, (a) * (b))
typedef void (*column_sum_fn)(float *sums, const column_rows *c);
static const column_sum_fn column_sums[] = {
    [SUM] = column_sum, [MEAN] = column_sum, [NORM_L1] = column_l1, [NORM_L2] = column_l2, [DOT] = column_dot};

/* Rows [row, row + count) of a tile. */
static column_rows column_rows_at(const columns *c, const column_task *t, int64_t row, int64_t count)
{
    const reduction *r = c->r;
    column_rows rows = {.dtype = r->dtype, .far = r->far, .n = t->n, .count = count};
    for (int k = 0; k < REDUCTION_INPUTS; k++) {
        rows.step[k] = r->shape.step[k] * r->size;
        rows.x[k] = t->in[k] + (row - t->begin) * rows.step[k];
    }
    return rows;
}

static void column_sums_of(const columns *c, const column_task *t)
{
    _Alignas(64) float sum[COLUMN_TILE + LANES];
    double *to = c->values + t->to;
    for (int64_t i = 0; i < t->n; i++) to[i] = 0;
    for (int64_t row = t->begin, count; row < t->end; row += count) {
        count = t->end - row < COLUMN_ROWS ? t->end - row : COLUMN_ROWS;
        for (int64_t i = 0; i < t->n + LANES; i++) sum[i] = 0;
        const column_rows rows = column_rows_at(c, t, row, count);
        column_sums[c->r->kind](sum, &rows);
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

/* Can `count` elements change the best? Rarely, once some rows were seen. */
LANES_INLINE bool column_changes(const f32x16 *x, int count, f32x16 best)
{
#if defined __AVX512F__
    const __m512 a = (__m512)x[0], so_far = (__m512)best;
    if (count == 1) return _mm512_cmp_ps_mask(a, so_far, _CMP_NLE_UQ) != 0;
    const __m512 b = (__m512)x[1], c = (__m512)x[2], d = (__m512)x[3],
                 most = _mm512_max_ps(_mm512_max_ps(a, b), _mm512_max_ps(c, d));
    const __mmask16 nan = _mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q) | _mm512_cmp_ps_mask(c, d, _CMP_UNORD_Q);
    return (_mm512_cmp_ps_mask(most, so_far, _CMP_NLE_UQ) | nan) != 0;
#else
    return (void)x, (void)count, (void)best, true;
#endif
}

/* All rows; `turned`: the smallest are looked for. Their indices count from 0. */
LANES_INLINE void column_best_rows(float *best, int32_t *index, const column_rows *c, trine_dtype dtype, bool turned,
                                   int64_t from, int64_t rows, int count)
{
    const int64_t step = c->step[0], n = c->n;
    const char *x = c->x[0] + from * step;
    const bool far = c->far;
    const i32x16 sign = (i32x16){0} + (turned ? INT32_MIN : 0);
    for (int64_t row = 0; row < rows; row += count, x += count * step)
        for (int64_t i = 0; i < n; i += LANES) {
            const bool whole = i + LANES <= n;
            f32x16 b = lanes_load(best, TRINE_F32, i), v[ROWS_AT_ONCE];
            i32x16 at;
            if (i % column_line(dtype) == 0) column_ask(x + i * lanes_size(dtype), step, dtype, count, false, far);
            for (int k = 0; k < count; k++) v[k] = (f32x16)((i32x16)column_take(x + k * step, dtype, i, n, whole) ^ sign);
            if (!column_changes(v, count, b)) continue;
            memcpy(&at, index + i, sizeof at);
            for (int k = 0; k < count; k++) column_larger(&b, &at, v[k], (int32_t)(from + row) + k);
            memcpy(best + i, &b, sizeof b);
            memcpy(index + i, &at, sizeof at);
        }
}

LANES_INLINE void column_best_of(const column_rows *c, trine_dtype dtype, float *best, int32_t *index, bool turned)
{
    const int64_t together = column_together(c, dtype, false);
    column_best_rows(best, index, c, dtype, turned, 0, together, ROWS_AT_ONCE);
    column_best_rows(best, index, c, dtype, turned, together, c->count - together, 1);
}

static void column_best(float *best, int32_t *index, const column_rows *c, bool turned)
{
    REDUCE_BY_DTYPE(column_best_of, c, best, index, turned);
}

static void column_floats_of(const columns *c, const column_task *t)
{
    _Alignas(64) float best[COLUMN_TILE + LANES];
    _Alignas(64) int32_t index[COLUMN_TILE + LANES];
    const column_rows rows = column_rows_at(c, t, t->begin, t->end - t->begin);
    for (int64_t i = 0; i < t->n + LANES; i++) {
        best[i] = -INFINITY;
        index[i] = 0;
    }
    column_best(best, index, &rows, c->r->kind == AMIN);
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
