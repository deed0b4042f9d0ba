/* Codes with scales on the CPU: what int8 and fp8 share. A scale is found and used on one span where it can be, else in two
 * passes over a piece of a row that the L2 cache holds, or tiles of 128 rows that the last-level cache does; only scales of more
 * than a piece need a second read from memory. */
#ifndef TRINE_CPU_SCALED_H
#define TRINE_CPU_SCALED_H

#include <math.h>
#include <string.h>

#include "backends/cpu/scaled_lanes.h"
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
    scaled_put_fn put; /* the same from memory to memory, of dense elements; NULL: not there */
    bool back;         /* from codes to reals */
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

static inline float scaled_most_dense(const scaled_job *j, const char *x, int64_t n)
{
    return scaled_most_of_dense(x, j->real, n);
}

static inline bool scaled_is_dense(const scaled_job *j, int operand) { return j->shape.column_step[operand] == 1; }

/* n dense elements of one scale, the ordinary way. */
static inline void scaled_by_span(const scaled_job *j, char *codes, char *reals, int64_t n, float scale)
{
    SPAN_BUFFER(in);
    SPAN_BUFFER(out);
    const int64_t size = scaled_size(j);
    for (int64_t i = 0, m; i < n; i += m) {
        m = n - i < SPAN_MAX ? n - i : SPAN_MAX;
        j->emit(out, j->back ? span_load(in, codes + i, j->code, m) : span_load(in, reals + i * size, j->real, m), m, scale);
        if (j->back)
            span_store(reals + i * size, j->real, out, m, false);
        else
            span_store(codes + i, j->code, out, m, false);
    }
}

/* Columns [begin, end) of dense rows with the scales that are there, straight from memory to memory; but the elements behind the
 * last whole line, and with one scale, those before the first. */
static inline void scaled_put(const scaled_job *j, const scaled_row *r, cpu_range columns, int64_t ahead, bool stream)
{
    const int64_t size = scaled_size(j), block = j->shape.column_block;
    char *const to = j->back ? r->reals + columns.begin * size : r->codes + columns.begin;
    const int64_t off = (int64_t)((uintptr_t)to % 64), n = columns.end - columns.begin;
    const bool one = columns.begin / block == (columns.end - 1) / block;
    int64_t head = 0;
    if (one && off != 0 && off % (j->back ? size : 1) == 0) head = (64 - off) / (j->back ? size : 1);
    if (head > n) head = n;
    const int64_t first = columns.begin + head, whole = (n - head) / SCALED_PUT * SCALED_PUT, done = first + whole;
    const scaled_lines lines = {.codes = r->codes + first,
                                .reals = r->reals + first * size,
                                .n = whole,
                                .scale = scaled_scale(j, r, first),
                                .step = j->shape.column_step[SCALED_SCALES],
                                .block = one ? whole : block,
                                .ahead = ahead,
                                .stream = stream && (off == 0 || head > 0)};
    if (head > 0)
        scaled_by_span(j, r->codes + columns.begin, r->reals + columns.begin * size, head, *scaled_scale(j, r, columns.begin));
    if (whole > 0) j->put(&lines);
    for (int64_t i = done, m; i < columns.end; i += m) {
        m = block - i % block < columns.end - i ? block - i % block : columns.end - i;
        scaled_by_span(j, r->codes + i, r->reals + i * size, m, *scaled_scale(j, r, i));
    }
}

/* As scaled_write. New scales are made for several blocks before the first is used: each is a chain of two divisions, which then
 * wait beside each other. */
static inline void scaled_write_dense(const scaled_job *j, int64_t row, cpu_range columns, bool fresh, int64_t ahead, bool stream)
{
    enum { AT_ONCE = 8 };
    const scaled_row r = scaled_row_at(j, row);
    const int64_t block = j->shape.column_block, size = scaled_size(j), step = j->shape.column_step[SCALED_SCALES];
    if (!fresh) {
        scaled_put(j, &r, columns, ahead, stream);
        return;
    }
    for (int64_t i = columns.begin, end; i < columns.end; i = end) {
        float *scale = scaled_scale(j, &r, i);
        end = AT_ONCE * block < columns.end - i ? i + AT_ONCE * block : columns.end;
        for (int64_t k = 0; k < trine_blocks(end - i, block); k++) scale[k * step] = 0;
        scaled_most_of_blocks(scale, step, r.reals + i * size, j->real, end - i, block);
        for (int64_t k = 0; k < trine_blocks(end - i, block); k++) scale[k * step] = j->scale_of(j->context, scale[k * step]);
        scaled_put(j, &r, (cpu_range){i, end}, AT_ONCE * block * size, stream);
    }
}

static inline bool scaled_puts(const scaled_job *j)
{
    return j->put && scaled_is_dense(j, SCALED_CODES) && scaled_is_dense(j, SCALED_REALS);
}

/* Columns [begin, end) of a row, from a multiple of SPAN_MAX on, with the scales that are there, or, `fresh`, with new ones: of
 * blocks that a span holds. */
static inline void scaled_write(const scaled_job *j, int64_t row, cpu_range columns, bool fresh, bool stream)
{
    SPAN_BUFFER(in);
    SPAN_BUFFER(out);
    const scaled_row r = scaled_row_at(j, row);
    if (scaled_puts(j)) {
        scaled_write_dense(j, row, columns, fresh, prefers_l2() ? ASK_NEAR : 0, stream);
        return;
    }
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
    if (scaled_is_dense(j, SCALED_REALS))
        return scaled_most_dense(j, r.reals + columns.begin * scaled_size(j), columns.end - columns.begin);
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
            if (scaled_puts(j)) { /* the processor would see the next row coming when it is its turn */
                const int64_t next = row + 1 < range.end ? scaled_row_at(j, row + 1).reals - scaled_row_at(j, row).reals : 0;
                scaled_write_dense(j, row, all, false, next, stream);
            } else {
                scaled_write(j, row, all, false, stream);
            }
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

/* ---- A scale for 128 rows of 128 columns ----
 *
 * Strips of some tiles, short enough to be found in the last-level cache when they are read again, their rows long enough for
 * memory to see them coming. */

enum { SCALED_STRIP = 8192, SCALED_TILES = SCALED_STRIP / TRINE_FP8_BLOCK };

typedef struct scaled_strip {
    int64_t row, rows; /* of one matrix */
    cpu_range columns;
    float most[SCALED_TILES];
} scaled_strip;

static inline scaled_strip scaled_strip_of(const scaled_job *j, int64_t task)
{
    const int64_t strips = trine_blocks(j->shape.k, SCALED_STRIP), bands = trine_blocks(j->shape.m, TRINE_FP8_BLOCK),
                  band = task / strips, row = band % bands * TRINE_FP8_BLOCK, column = task % strips * SCALED_STRIP,
                  end = column + SCALED_STRIP;
    return (scaled_strip){.row = band / bands * j->shape.m + row,
                          .rows = j->shape.m - row < TRINE_FP8_BLOCK ? j->shape.m - row : TRINE_FP8_BLOCK,
                          .columns = {column, end < j->shape.k ? end : j->shape.k}};
}

static inline void scaled_strip_most(const scaled_job *j, scaled_strip *s, int64_t row)
{
    SPAN_BUFFER(buffer);
    const scaled_row r = scaled_row_at(j, row);
    const int64_t n = s->columns.end - s->columns.begin;
    if (scaled_is_dense(j, SCALED_REALS)) {
        scaled_most_of_blocks(s->most, 1, r.reals + s->columns.begin * scaled_size(j), j->real, n, TRINE_FP8_BLOCK);
        return;
    }
    for (int64_t i = 0, m; i < n; i += m) {
        m = n - i < SPAN_MAX ? n - i : SPAN_MAX;
        const float *x = scaled_load(j, &r, buffer, s->columns.begin + i, m);
        scaled_most_of_blocks(s->most + i / TRINE_FP8_BLOCK, 1, (const char *)x, TRINE_F32, m, TRINE_FP8_BLOCK);
    }
}

static inline void scaled_strip_scales(const scaled_job *j, const scaled_strip *s)
{
    const scaled_row first = scaled_row_at(j, s->row);
    for (int64_t i = s->columns.begin, tile = 0; i < s->columns.end; i += TRINE_FP8_BLOCK, tile++)
        *scaled_scale(j, &first, i) = j->scale_of(j->context, s->most[tile]);
}

static inline const char *scaled_strip_at(const scaled_job *j, const scaled_strip *s, int64_t i)
{
    return scaled_row_at(j, s->row + i).reals + s->columns.begin * scaled_size(j);
}

/* Strips one behind the other: while one arrives from memory, row by row, the one before is written. */
static inline void scaled_strips(const scaled_job *j, cpu_range range, bool stream)
{
    scaled_strip before = {.rows = 0};
    for (int64_t task = range.begin; task <= range.end; task++) {
        scaled_strip this = {.rows = 0};
        if (task < range.end) this = scaled_strip_of(j, task);
        for (int64_t i = 0; i < this.rows || i < before.rows; i++) {
            if (i < this.rows) scaled_strip_most(j, &this, this.row + i);
            if (i >= before.rows) continue;
            if (scaled_puts(j)) {
                const int64_t next = i + 1 < this.rows ? scaled_strip_at(j, &this, i + 1) - scaled_strip_at(j, &before, i) : 0;
                scaled_write_dense(j, before.row + i, before.columns, false, next, stream);
            } else {
                scaled_write(j, before.row + i, before.columns, false, stream);
            }
        }
        if (this.rows) scaled_strip_scales(j, &this);
        before = this;
    }
}

static inline void scaled_by_tile(const scaled_job *j)
{
    const int64_t strips = trine_blocks(j->shape.k, SCALED_STRIP), bands = trine_blocks(j->shape.m, TRINE_FP8_BLOCK);
    const bool stream = scaled_streams(j);
    CPU_PARALLEL_FOR(range, j->shape.outer.numel * bands * strips, 1)
    {
        scaled_strips(j, range, stream);
        span_fence();
    }
}

#endif
