/* Gradients of layernorm and rmsnorm on the CPU.
 *
 * Rows are taken in groups of which the caches hold x and dy. A group's rows are summed first, in chunks whose partials are merged
 * in their order; then, tile of columns by tile, its rows give dx and are added to the tile's column sums, which lie in the L1
 * cache: memory sees x, dy and dx once as long as a group fits (rows of up to about a million elements), x and dy twice beyond. A
 * group's column sums are f32, those of a slice of rows f64; slices are added in their order. What is summed in which order
 * depends on shapes alone, whichever threads do it: they take slices, or the chunks and tiles of one group where rows are few.
 * While dx is made the next group's x and dy are asked for. Bound by bytes. */
#ifndef TRINE_CPU_NORM_BACKWARD_H
#define TRINE_CPU_NORM_BACKWARD_H

#include <math.h>

#include "backends/cpu/lanes.h"
#include "backends/cpu/level.h"
#include "backends/cpu/span.h"
#include "core/backend.h"
#include "core/shape.h"

/* A chunk's columns; rows of a group at most, and bytes of its x and dy; where rows are longer, rows that are taken together as
 * long as they have no more bytes than the last number; a slice's rows at least, slices at most, and their columns together. */
enum {
    GRADIENT_CHUNK = 4096,
    GRADIENT_ROWS = 64,
    GRADIENT_BYTES = 1 << 18,
    GRADIENT_FEW = 4,
    GRADIENT_MOST_BYTES = 1 << 23,
    GRADIENT_SLICE = 64,
    GRADIENT_SLICES = 64,
    GRADIENT_COLUMNS = 1 << 22
};
enum { TO_DX, OF_X, OF_DY, OF_DSUM, GRADIENT_OPERANDS };

/* Of part of a row: count, mean, sum of squares about it, sum of g = dy weight, sum of g (x - mean). Rmsnorm: mean and g are 0. */
typedef struct gradient_sums {
    double count, mean, squares, g, gx;
} gradient_sums;

/* What a row's dx is made of: rstd (g - g_mean - h slope), h = (x - mean) rstd. */
typedef struct gradient_row {
    float mean, rstd, g_mean, slope;
    char *at[GRADIENT_OPERANDS]; /* its operands; NULL: none */
} gradient_row;

typedef struct gradient_job {
    bool centred, round_first, stream;
    trine_dtype dtype;
    int64_t size, n, chunks, group, slices, slice;
    trine_iter rows;
    char *data[GRADIENT_OPERANDS];
    const float *mean, *rstd; /* of the forward, or NULL */
    const float *factor;      /* weight_offset + weight; NULL: 1 */
    double eps;
    double *columns;         /* slices x 2 x n: dweight, dbias */
    gradient_sums *partials; /* group x chunks, where threads share a group */
} gradient_job;

/* ---- Sums along a row ---- */

typedef struct gradient_part {
    const char *x, *dy;
    const float *factor; /* NULL: 1 */
    int64_t n;
} gradient_part;

LANES_INLINE f32x16 gradient_take(const void *x, trine_dtype dtype, int64_t i, int64_t n, float pad)
{
    return i + LANES <= n ? lanes_load(x, dtype, i) : lanes_load_part(x, dtype, i, n - i, pad);
}

LANES_INLINE double gradient_mean(const gradient_part *p, trine_dtype dtype)
{
    f32x16 s[4] = {{0}, {0}, {0}, {0}};
    int64_t i = 0;
    for (; i + LANES_BLOCK <= p->n; i += LANES_BLOCK)
        for (int k = 0; k < 4; k++) s[k] += lanes_load(p->x, dtype, i + LANES * k);
    for (; i < p->n; i += LANES) s[0] += gradient_take(p->x, dtype, i, p->n, 0);
    return (double)lanes_sum((s[0] + s[1]) + (s[2] + s[3])) / (p->n ? (double)p->n : 1);
}

LANES_INLINE void gradient_add(f32x16 *s, const gradient_part *p, trine_dtype dtype, bool weighted, float about, int64_t i)
{
    const f32x16 t = gradient_take(p->x, dtype, i, p->n, about) - lanes_of(about);
    f32x16 g = gradient_take(p->dy, dtype, i, p->n, 0);
    if (weighted) g *= gradient_take(p->factor, TRINE_F32, i, p->n, 0);
    s[0] += t * t;
    s[1] += g;
    s[2] += g * t;
}

LANES_INLINE gradient_sums gradient_sums_as(const gradient_part *p, trine_dtype dtype, bool centred, bool weighted)
{
    const double n = (double)p->n, mean = centred ? gradient_mean(p, dtype) : 0;
    const float about = (float)mean; /* what that leaves of the mean is taken out after */
    f32x16 s[2][3] = {{{0}, {0}, {0}}, {{0}, {0}, {0}}};
    int64_t i = 0;
    for (; i + 2 * LANES <= p->n; i += 2 * LANES)
        for (int k = 0; k < 2; k++) gradient_add(s[k], p, dtype, weighted, about, i + LANES * k);
    for (; i < p->n; i += LANES) gradient_add(s[0], p, dtype, weighted, about, i);
    const double off = mean - (double)about, g = centred ? (double)lanes_sum(s[0][1] + s[1][1]) : 0;
    return (gradient_sums){n, mean, (double)lanes_sum(s[0][0] + s[1][0]) - n * off * off, g,
                           (double)lanes_sum(s[0][2] + s[1][2]) - off * g};
}

static gradient_sums gradient_sums_of(const gradient_part *p, trine_dtype dtype, bool centred)
{
#define GRADIENT_AS(dtype) \
    (centred     ? p->factor ? gradient_sums_as(p, dtype, true, true) : gradient_sums_as(p, dtype, true, false) \
         : p->factor ? gradient_sums_as(p, dtype, false, true) \
                 : gradient_sums_as(p, dtype, false, false))
    return dtype == TRINE_F32 ? GRADIENT_AS(TRINE_F32) : dtype == TRINE_BF16 ? GRADIENT_AS(TRINE_BF16) : GRADIENT_AS(TRINE_F16);
#undef GRADIENT_AS
}

/* Chan, Golub, LeVeque 1979; g (x - mean) goes along. */
static void gradient_merge(gradient_sums *into, const gradient_sums *from)
{
    const double count = into->count + from->count, d = from->mean - into->mean;
    const double mean = into->mean + d * from->count / count;
    into->squares += from->squares + d * d * into->count * from->count / count;
    into->gx += from->gx + (into->mean - mean) * into->g + (from->mean - mean) * from->g;
    into->g += from->g;
    into->mean = mean;
    into->count = count;
}

static gradient_sums gradient_chunk(const gradient_job *j, const gradient_row *row, int64_t chunk)
{
    const int64_t column = chunk * GRADIENT_CHUNK, left = j->n - column;
    const gradient_part part = {row->at[OF_X] + column * j->size, row->at[OF_DY] + column * j->size,
                                j->factor ? j->factor + column : NULL, left < GRADIENT_CHUNK ? left : GRADIENT_CHUNK};
    return gradient_sums_of(&part, j->dtype, j->centred);
}

static void gradient_place(const gradient_job *j, int64_t number, gradient_row *row)
{
    int64_t offset[TRINE_ITER_OPERANDS];
    trine_iter_offsets(&j->rows, number, offset);
    for (int k = 0; k < GRADIENT_OPERANDS; k++) row->at[k] = k < j->rows.operands ? j->data[k] + offset[k] * j->size : NULL;
}

static void gradient_finish(const gradient_job *j, int64_t number, const gradient_sums *s, gradient_row *row)
{
    const double n = (double)j->n, mean = j->centred && j->mean ? (double)j->mean[number] : s->mean;
    const double var = (s->squares < 0 ? 0 : s->squares) / n;
    const double rstd = j->rstd ? (double)j->rstd[number] : 1 / sqrt(var + j->eps);
    row->mean = (float)mean;
    row->rstd = (float)rstd;
    row->g_mean = j->centred ? (float)(s->g / n) : 0;
    row->slope = (float)(rstd * (s->gx + (s->mean - mean) * s->g) / n);
}

/* ---- dx and the sums of columns ---- */

typedef struct gradient_tile {
    _Alignas(64) float x[SPAN_MAX], dy[SPAN_MAX], dsum[SPAN_MAX], dx[SPAN_MAX], dweight[SPAN_MAX], dbias[SPAN_MAX];
} gradient_tile;

/* `h`: what dweight's terms have in the place of (x - mean) rstd, or NULL. */
static void gradient_span(gradient_tile *restrict t, const gradient_row *row, const float *x, const float *dy,
                          const float *factor, const float *h, int64_t n)
{
    const float mean = row->mean, rstd = row->rstd, g_mean = row->g_mean, slope = row->slope;
    if (factor)
        for (int64_t i = 0; i < n; i++) t->dx[i] = rstd * (dy[i] * factor[i] - g_mean - (x[i] - mean) * rstd * slope);
    else
        for (int64_t i = 0; i < n; i++) t->dx[i] = rstd * (dy[i] - g_mean - (x[i] - mean) * rstd * slope);
    if (h)
        for (int64_t i = 0; i < n; i++) t->dweight[i] += dy[i] * h[i];
    else
        for (int64_t i = 0; i < n; i++) t->dweight[i] += dy[i] * ((x[i] - mean) * rstd);
    for (int64_t i = 0; i < n; i++) t->dbias[i] += dy[i];
}

/* n columns of one row, n <= SPAN_MAX. */
static void gradient_row_tile(const gradient_job *j, const gradient_row *row, gradient_tile *t, int64_t column, int64_t n)
{
    const int64_t from = column * j->size;
    const float *x = span_load(t->x, row->at[OF_X] + from, j->dtype, n),
                *dy = span_load(t->dy, row->at[OF_DY] + from, j->dtype, n);
    SPAN_BUFFER(rounded);
    const float *h = NULL;
    if (j->round_first && j->dtype != TRINE_F32) {
        char codes[SPAN_MAX * 2];
        for (int64_t i = 0; i < n; i++) rounded[i] = (x[i] - row->mean) * row->rstd;
        span_store(codes, j->dtype, rounded, n, false);
        h = span_load(rounded, codes, j->dtype, n);
    }
    gradient_span(t, row, x, dy, j->factor ? j->factor + column : NULL, h, n);
    if (row->at[OF_DSUM]) {
        const float *dsum = span_load(t->dsum, row->at[OF_DSUM] + from, j->dtype, n);
        for (int64_t i = 0; i < n; i++) t->dx[i] += dsum[i];
    }
    span_store(row->at[TO_DX] + from, j->dtype, t->dx, n, j->stream);
}

/* A tile of a group's rows. next: the group after it, whose x and dy are asked for; as many rows, or none. */
static void gradient_columns(const gradient_job *j, const gradient_row *row, const gradient_row *next, int64_t rows, int64_t tile,
                             double *columns)
{
    const int64_t column = tile * SPAN_MAX, n = j->n - column < SPAN_MAX ? j->n - column : SPAN_MAX;
    gradient_tile t;
    for (int64_t i = 0; i < n; i++) t.dweight[i] = t.dbias[i] = 0;
    for (int64_t r = 0; r < rows; r++) {
        for (int k = OF_X; next && k <= OF_DY; k++) span_prefetch(next[r].at[k] + column * j->size, n * j->size);
        gradient_row_tile(j, &row[r], &t, column, n);
    }
    for (int64_t i = 0; i < n; i++) columns[column + i] += (double)t.dweight[i];
    for (int64_t i = 0; i < n; i++) columns[j->n + column + i] += (double)t.dbias[i];
}

/* ---- Groups of rows ---- */

/* One thread. `row` has the group's places; `next` those of the one after it, or is NULL. */
static void gradient_group(const gradient_job *j, int64_t first, int64_t rows, gradient_row *row, const gradient_row *next,
                           double *columns)
{
    for (int64_t r = 0; r < rows; r++) {
        gradient_sums s = gradient_chunk(j, &row[r], 0);
        for (int64_t k = 1; k < j->chunks; k++) {
            const gradient_sums own = gradient_chunk(j, &row[r], k);
            gradient_merge(&s, &own);
        }
        gradient_finish(j, first + r, &s, &row[r]);
    }
    for (int64_t tile = 0; tile * SPAN_MAX < j->n; tile++) gradient_columns(j, row, next, rows, tile, columns);
}

/* All threads. */
static void gradient_group_together(const gradient_job *j, int64_t first, int64_t rows, gradient_row *row, double *columns)
{
    const int64_t tiles = (j->n + SPAN_MAX - 1) / SPAN_MAX;
    CPU_PARALLEL_FOR(range, rows * j->chunks, 4)
    {
        for (int64_t i = range.begin; i < range.end; i++) j->partials[i] = gradient_chunk(j, &row[i / j->chunks], i % j->chunks);
    }
    for (int64_t r = 0; r < rows; r++) {
        gradient_sums *s = &j->partials[r * j->chunks];
        for (int64_t k = 1; k < j->chunks; k++) gradient_merge(s, &s[k]);
        gradient_finish(j, first + r, s, &row[r]);
    }
    CPU_PARALLEL_FOR(range, tiles, 4)
    {
        for (int64_t tile = range.begin; tile < range.end; tile++) gradient_columns(j, row, NULL, rows, tile, columns);
        span_fence();
    }
}

static void gradient_slice(const gradient_job *j, int64_t slice, bool together)
{
    const int64_t begin = slice * j->slice, end = begin + j->slice < j->rows.numel ? begin + j->slice : j->rows.numel;
    double *columns = j->columns + slice * 2 * j->n;
    gradient_row row[2][GRADIENT_ROWS];
    for (int64_t i = 0; i < 2 * j->n; i++) columns[i] = 0;
    for (int64_t r = 0; r < j->group && begin + r < end; r++) gradient_place(j, begin + r, &row[0][r]);
    for (int64_t first = begin, turn = 0; first < end; first += j->group, turn ^= 1) {
        const int64_t rows = end - first < j->group ? end - first : j->group, after = first + j->group;
        for (int64_t r = 0; r < j->group && after + r < end; r++) gradient_place(j, after + r, &row[turn ^ 1][r]);
        if (together)
            gradient_group_together(j, first, rows, row[turn], columns);
        else
            gradient_group(j, first, rows, row[turn], after + rows <= end ? row[turn ^ 1] : NULL, columns);
    }
}

/* ---- Calls ---- */

/* The slices' sums, added in their order. which: 0 dweight, 1 dbias. */
static void gradient_put(const gradient_job *j, const trine_tensor *to, int which)
{
    if (!trine_is_given(to)) return;
    CPU_PARALLEL_FOR(range, j->n, CPU_GRAIN)
    {
        SPAN_BUFFER(out);
        for (int64_t i = range.begin, m; i < range.end; i += m) {
            m = range.end - i < SPAN_MAX ? range.end - i : SPAN_MAX;
            for (int64_t k = 0; k < m; k++) {
                double sum = 0;
                for (int64_t s = 0; s < j->slices; s++) sum += j->columns[(2 * s + which) * j->n + i + k];
                out[k] = (float)sum;
            }
            span_store((char *)to->data + i * (trine_dtype_bits(to->dtype) / 8), to->dtype, out, m, false);
        }
    }
}

static void gradient_plan(gradient_job *j)
{
    const int64_t row = 2 * j->n * j->size, rows = j->rows.numel, most = GRADIENT_COLUMNS / (j->n + 1) + 1;
    j->chunks = j->n > GRADIENT_CHUNK ? (j->n + GRADIENT_CHUNK - 1) / GRADIENT_CHUNK : 1;
    j->group = row ? GRADIENT_BYTES / row : 1;
    if (j->group < GRADIENT_FEW) j->group = GRADIENT_FEW * row <= GRADIENT_MOST_BYTES ? GRADIENT_FEW : 1;
    if (j->group > GRADIENT_ROWS) j->group = GRADIENT_ROWS;
    j->slices = rows / GRADIENT_SLICE < GRADIENT_SLICES ? rows / GRADIENT_SLICE : GRADIENT_SLICES;
    if (j->slices > most) j->slices = most;
    if (j->slices < 1) j->slices = 1;
    j->slice = (rows + j->slices - 1) / j->slices;
    j->stream = span_should_stream(rows * j->n * j->size);
}

/* operands: dx, x, dy, and dsum if there is one. dbias may be not given. */
static trine_status gradient_call(trine_call *call, gradient_job *j, const trine_tensor *const *operands, int count,
                                  const trine_tensor *weight, float offset, const trine_tensor *dweight,
                                  const trine_tensor *dbias)
{
    for (int k = 0; k < count; k++) {
        TRINE_REQUIRE_THAT(call, trine_last_axis_dense(operands[k]), "needs a last axis of stride 1");
        j->data[k] = operands[k]->data;
    }
    j->dtype = operands[0]->dtype;
    j->size = trine_dtype_bits(j->dtype) / 8;
    j->rows = trine_iter_rows(operands, count, &j->n);
    gradient_plan(j);
    call->variant = TRINE_CPU_VARIANT;
    const size_t columns = (size_t)(j->slices * 2 * j->n) * sizeof(double),
                 partials = (size_t)(j->group * j->chunks) * sizeof(gradient_sums);
    TRINE_END_OF_QUERY(call, columns + partials + (trine_is_given(weight) ? (size_t)j->n * sizeof(float) : 0));
    j->columns = call->workspace;
    j->partials = (gradient_sums *)(void *)((char *)call->workspace + columns);
    if (trine_is_given(weight)) {
        float *factor = (float *)(void *)((char *)call->workspace + columns + partials);
        const float *as_is = span_load(factor, weight->data, weight->dtype, j->n);
        for (int64_t i = 0; i < j->n; i++) factor[i] = as_is[i] + offset;
        j->factor = factor;
    }
    const int threads = cpu_threads(j->rows.numel * j->n, CPU_GRAIN);
    if (j->slices < threads) {
        for (int64_t slice = 0; slice < j->slices; slice++) gradient_slice(j, slice, true);
    } else {
        CPU_PARALLEL_FOR(range, j->slices, threads > 1 ? 1 : j->slices)
        {
            for (int64_t slice = range.begin; slice < range.end; slice++) gradient_slice(j, slice, false);
            span_fence();
        }
    }
    gradient_put(j, dweight, 0);
    gradient_put(j, dbias, 1);
    return TRINE_OK;
}

static const float *gradient_statistic(const trine_tensor *t) { return trine_is_given(t) ? t->data : NULL; }

trine_status TRINE_CPU(layernorm_backward)(trine_call *call, const trine_layernorm_backward_args *a)
{
    gradient_job j = {
        .centred = true, .mean = gradient_statistic(&a->mean), .rstd = gradient_statistic(&a->rstd), .eps = (double)a->eps};
    const trine_tensor *const operands[] = {&a->dx, &a->x, &a->dy, &a->dsum};
    return gradient_call(call, &j, operands, trine_is_given(&a->dsum) ? 4 : 3, &a->weight, 0, &a->dweight, &a->dbias);
}

trine_status TRINE_CPU(rmsnorm_backward)(trine_call *call, const trine_rmsnorm_backward_args *a)
{
    gradient_job j = {.round_first = a->round_first != 0, .rstd = gradient_statistic(&a->rstd), .eps = (double)a->eps};
    const trine_tensor *const operands[] = {&a->dx, &a->x, &a->dy, &a->dsum};
    const trine_tensor none = {.dtype = TRINE_DTYPE_NONE};
    return gradient_call(call, &j, operands, trine_is_given(&a->dsum) ? 4 : 3, &a->weight, a->weight_offset, &a->dweight, &none);
}

#endif
