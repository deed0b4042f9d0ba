/* Codes with scales on the CPU: what int8 and fp8 share. A scale is found and used on one span where it can be, else in two passes
 * over tiles of 128 rows or a piece of a row that the L2 cache holds; only scales of more than a piece need a second read from
 * memory. */
#ifndef TRINE_CPU_SCALED_H
#define TRINE_CPU_SCALED_H

#include <math.h>
#include <string.h>

#include "backends/cpu/walk.h"
#include "core/scaled_shape.h"

typedef struct scaled_job {
    trine_scaled_shape shape;
    char *codes, *reals;
    float *scales;
    trine_dtype code, real;
    const void *context;
    /* the scale for a largest magnitude; NULL: the scales are given */
    float (*scale_of)(const void *context, float most);
    /* n codes, as f32, of x; or the other way round */
    void (*emit)(float *restrict to, const float *restrict from, int64_t n, float scale);
    bool back; /* from codes to reals */
} scaled_job;

/* The first element of a row, and its scales. */
typedef struct scaled_row {
    char *codes, *reals;
    float *scales;
} scaled_row;

static inline int64_t scaled_size(const scaled_job *j) { return trine_dtype_bits(j->real) / 8; }
static inline int64_t scaled_rows(const scaled_job *j) { return j->shape.outer.numel * j->shape.m; }
static inline int64_t scaled_pieces(const scaled_job *j) { return trine_blocks(j->shape.k, CPU_GRAIN); }
/* Tasks of a piece of a row each that a thread is started for. */
static inline int64_t scaled_grain(const scaled_job *j)
{
    const int64_t k = j->shape.k < CPU_GRAIN ? j->shape.k : CPU_GRAIN;
    return k > 0 ? CPU_GRAIN / k : 1;
}

static inline scaled_row scaled_row_at(const scaled_job *j, int64_t row)
{
    const trine_scaled_shape *s = &j->shape;
    const int64_t i = row % s->m;
    int64_t offset[TRINE_ITER_OPERANDS];
    trine_iter_offsets(&s->outer, row / s->m, offset);
    return (scaled_row){j->codes + offset[SCALED_CODES] + i * s->row_step[SCALED_CODES],
                        j->reals + (offset[SCALED_REALS] + i * s->row_step[SCALED_REALS]) * scaled_size(j),
                        j->scales + offset[SCALED_SCALES] + i / s->row_block * s->row_step[SCALED_SCALES]};
}

static inline float *scaled_scale(const scaled_job *j, const scaled_row *r, int64_t column)
{
    return r->scales + column / j->shape.column_block * j->shape.column_step[SCALED_SCALES];
}

static inline const float *scaled_load(const scaled_job *j, const scaled_row *r, float *buffer, int64_t column, int64_t n)
{
    const int64_t *step = j->shape.column_step;
    if (j->back) return cpu_load(buffer, r->codes + column * step[SCALED_CODES], j->code, n, step[SCALED_CODES]);
    return cpu_load(buffer, r->reals + column * step[SCALED_REALS] * scaled_size(j), j->real, n, step[SCALED_REALS]);
}

static inline void scaled_store(const scaled_job *j, const scaled_row *r, const float *from, int64_t column, int64_t n,
                                bool stream)
{
    const int64_t *step = j->shape.column_step;
    if (j->back)
        cpu_store(r->reals + column * step[SCALED_REALS] * scaled_size(j), j->real, from, n, step[SCALED_REALS], stream);
    else
        cpu_store(r->codes + column * step[SCALED_CODES], j->code, from, n, step[SCALED_CODES], stream);
}

/* NaN does not count. */
static inline float scaled_most(const float *x, int64_t n)
{
    float most = 0;
#pragma omp simd reduction(max : most)
    for (int64_t i = 0; i < n; i++) most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    return most;
}

/* Columns [begin, end) of a row, from a multiple of SPAN_MAX on, with the scales that are there, or, `fresh`, with new ones: of
 * blocks that a span holds. */
static inline void scaled_write(const scaled_job *j, int64_t row, cpu_range columns, bool fresh, bool stream)
{
    SPAN_BUFFER(in);
    SPAN_BUFFER(out);
    const scaled_row r = scaled_row_at(j, row);
    for (int64_t i = columns.begin, m; i < columns.end; i += m) {
        m = columns.end - i < SPAN_MAX ? columns.end - i : SPAN_MAX;
        const float *from = scaled_load(j, &r, in, i, m);
        for (int64_t k = 0, n; k < m; k += n) {
            const int64_t left = j->shape.column_block - (i + k) % j->shape.column_block;
            float *scale = scaled_scale(j, &r, i + k);
            n = left < m - k ? left : m - k;
            if (fresh) *scale = j->scale_of(j->context, scaled_most(from + k, n));
            j->emit(out + k, from + k, n, *scale);
        }
        scaled_store(j, &r, out, i, m, stream);
    }
}

static inline cpu_range scaled_piece(const scaled_job *j, int64_t piece)
{
    const int64_t begin = piece * CPU_GRAIN;
    return (cpu_range){begin, begin + CPU_GRAIN < j->shape.k ? begin + CPU_GRAIN : j->shape.k};
}

static inline bool scaled_streams(const scaled_job *j)
{
    return span_should_stream(scaled_rows(j) * j->shape.k * (j->back ? scaled_size(j) : 1));
}

/* All pieces of all rows: with given scales, or new ones of blocks of a row. */
static inline void scaled_all(const scaled_job *j)
{
    const int64_t pieces = scaled_pieces(j), tasks = scaled_rows(j) * pieces;
    const bool stream = scaled_streams(j), fresh = j->scale_of && j->shape.column_block <= SPAN_MAX;
    CPU_PARALLEL_FOR(range, tasks, scaled_grain(j))
    {
        for (int64_t task = range.begin; task < range.end; task++)
            scaled_write(j, task / pieces, scaled_piece(j, task % pieces), fresh, stream);
        span_fence();
    }
}

/* ---- A scale a row, or one for all ---- */

static inline float scaled_most_of(const scaled_job *j, int64_t row, cpu_range columns)
{
    SPAN_BUFFER(buffer);
    const scaled_row r = scaled_row_at(j, row);
    float most = 0;
    for (int64_t i = columns.begin, m; i < columns.end; i += m) {
        m = columns.end - i < SPAN_MAX ? columns.end - i : SPAN_MAX;
        const float part = scaled_most(scaled_load(j, &r, buffer, i, m), m);
        most = part > most ? part : most;
    }
    return most;
}

/* Whether each row is a piece, whose thread makes its scale. */
static inline bool scaled_alone(const scaled_job *j, bool by_row) { return by_row && j->shape.k <= CPU_GRAIN; }

static inline size_t scaled_row_bytes(const scaled_job *j, bool by_row)
{
    return scaled_alone(j, by_row) ? 0 : (size_t)(scaled_rows(j) * scaled_pieces(j)) * sizeof(float);
}

/* Each row by one thread. */
static inline void scaled_rows_alone(const scaled_job *j)
{
    const bool stream = scaled_streams(j);
    CPU_PARALLEL_FOR(range, scaled_rows(j), scaled_grain(j))
    {
        for (int64_t row = range.begin; row < range.end; row++) {
            const cpu_range all = {0, j->shape.k};
            *scaled_row_at(j, row).scales = j->scale_of(j->context, scaled_most_of(j, row, all));
            scaled_write(j, row, all, false, stream);
        }
        span_fence();
    }
}

/* workspace: of scaled_row_bytes, for the largest magnitude of each piece. */
static inline void scaled_by_row(const scaled_job *j, bool by_row, float *most)
{
    if (scaled_alone(j, by_row)) {
        scaled_rows_alone(j);
        return;
    }
    const int64_t pieces = scaled_pieces(j), tasks = scaled_rows(j) * pieces, share = by_row ? pieces : tasks;
    CPU_PARALLEL_FOR(range, tasks, scaled_grain(j))
    {
        for (int64_t task = range.begin; task < range.end; task++)
            most[task] = scaled_most_of(j, task / pieces, scaled_piece(j, task % pieces));
    }
    for (int64_t i = 0, scales = by_row ? scaled_rows(j) : 1; i < scales; i++)
        *(by_row ? scaled_row_at(j, i).scales : j->scales) = j->scale_of(j->context, scaled_most(most + i * share, share));
    scaled_all(j);
}

/* ---- A scale for 128 rows of 128 columns: strips of some tiles, kept as f32 in the L2 cache. In their own place the rows of a
 * matrix, often a power of two apart, would push each other out of it. ---- */

enum {
    SCALED_STRIP = 512,
    SCALED_TILES = SCALED_STRIP / TRINE_FP8_BLOCK,
    SCALED_STRIP_BYTES = SCALED_STRIP * TRINE_FP8_BLOCK * sizeof(float)
};

static inline size_t scaled_tile_bytes(void) { return (size_t)cpu_threads(INT32_MAX, 1) * SCALED_STRIP_BYTES; }

/* Rows [row, end) of one matrix and at most SCALED_STRIP columns. */
static inline void scaled_strip(const scaled_job *j, int64_t row, int64_t end, int64_t column, bool stream, float *kept)
{
    SPAN_BUFFER(out);
    const int64_t n = j->shape.k - column < SCALED_STRIP ? j->shape.k - column : SCALED_STRIP;
    const scaled_row first = scaled_row_at(j, row);
    float most[SCALED_TILES] = {0};
    for (int64_t i = row; i < end; i++) {
        const scaled_row r = scaled_row_at(j, i), ahead = scaled_row_at(j, i + 2 < end ? i + 2 : i);
        float *to = kept + (i - row) * SCALED_STRIP;
        if (j->shape.column_step[SCALED_REALS] == 1) /* too short a piece for the processor to see it coming */
            span_prefetch(ahead.reals + column * scaled_size(j), n * scaled_size(j));
        const float *x = scaled_load(j, &r, to, column, n);
        if (x != to) memcpy(to, x, (size_t)n * sizeof *to);
        for (int64_t tile = 0, k = 0; k < n; tile++, k += TRINE_FP8_BLOCK) {
            const float own = scaled_most(to + k, n - k < TRINE_FP8_BLOCK ? n - k : TRINE_FP8_BLOCK);
            most[tile] = own > most[tile] ? own : most[tile];
        }
    }
    for (int64_t tile = 0, k = 0; k < n; tile++, k += TRINE_FP8_BLOCK)
        *scaled_scale(j, &first, column + k) = most[tile] = j->scale_of(j->context, most[tile]);
    for (int64_t i = row; i < end; i++) {
        const scaled_row r = scaled_row_at(j, i);
        for (int64_t tile = 0, k = 0; k < n; tile++, k += TRINE_FP8_BLOCK)
            j->emit(out + k, kept + (i - row) * SCALED_STRIP + k, n - k < TRINE_FP8_BLOCK ? n - k : TRINE_FP8_BLOCK, most[tile]);
        scaled_store(j, &r, out, column, n, stream);
    }
}

/* workspace: of scaled_tile_bytes. */
static inline void scaled_by_tile(const scaled_job *j, char *workspace)
{
    const int64_t strips = trine_blocks(j->shape.k, SCALED_STRIP), bands = trine_blocks(j->shape.m, TRINE_FP8_BLOCK);
    const bool stream = scaled_streams(j);
    CPU_PARALLEL_FOR(range, j->shape.outer.numel * bands * strips, 1)
    {
        for (int64_t task = range.begin; task < range.end; task++) {
            const int64_t band = task / strips, matrix = band / bands, row = band % bands * TRINE_FP8_BLOCK,
                          end = row + TRINE_FP8_BLOCK < j->shape.m ? row + TRINE_FP8_BLOCK : j->shape.m;
            scaled_strip(j, matrix * j->shape.m + row, matrix * j->shape.m + end, task % strips * SCALED_STRIP, stream,
                         (float *)(void *)(workspace + cpu_thread() * SCALED_STRIP_BYTES));
        }
        span_fence();
    }
}

#endif
