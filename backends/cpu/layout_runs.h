/* Copies of dense runs that are too short to be walked one by one: of rows with gaps between them, and of runs whose order changes
 * (the heads of attention, before and behind the tokens). Outputs go past the caches.
 *
 * Runs that change their order are moved in tiles of two axes, the one that comes next in y and the one that comes next in x, by
 * way of a buffer, so that memory is read and written in rows that are as long as a page. While the runs of a tile arrive, those
 * of the tile before leave. (Zen 5, runs of 256 bytes one by one: 21 GB/s of a copy's 60.) */
#ifndef TRINE_CPU_LAYOUT_RUNS_H
#define TRINE_CPU_LAYOUT_RUNS_H

#include <string.h>

#include "backends/cpu/walk.h"

/* Bytes of a tile's rows, and runs in them, at most; bytes of a run; columns that are asked for ahead. */
enum { RUNS_ROW = 4096, RUNS_ROW_INTEL = 8192, RUNS_MOST = 32, RUNS_LONGEST = 2048, RUNS_AHEAD = 1, RUNS_LINE = 64 };

/* A thread's buffers: of two tiles. A line between rows keeps them out of the same sets of the caches. */
enum { RUNS_BUFFER = RUNS_MOST * (RUNS_ROW_INTEL + RUNS_LINE) };

typedef char runs_line __attribute__((vector_size(RUNS_LINE), aligned(1), may_alias));

static inline void runs_move(char *to, const char *from, int64_t bytes)
{
    if (bytes % RUNS_LINE) {
        memcpy(to, from, (size_t)bytes);
        return;
    }
    for (int64_t i = 0; i < bytes; i += RUNS_LINE) *(runs_line *)(to + i) = *(const runs_line *)(from + i);
}

/* ---- Rows ---- */

/* Rows of `bytes`; those of y may follow each other, those of x have gaps. */
typedef struct runs_rows {
    char *y;
    const char *x;
    int64_t rows, bytes, y_step, x_step;
} runs_rows;

/* Is the copy one of rows? Of a single one, too. */
static inline bool runs_rows_make(runs_rows *r, const trine_tensor *y, const trine_tensor *x)
{
    const int64_t size = trine_dtype_bits(y->dtype) / 8;
    trine_iter it = trine_iter_make((const trine_tensor *[]){y, x}, 2, 0);
    int64_t step[TRINE_ITER_OPERANDS];
    const int64_t numel = it.numel, n = numel ? trine_iter_pop_inner(&it, step) : 0;
    if (numel == 0 || step[0] != 1 || step[1] != 1 || it.ndim > 1) return false;
    *r = (runs_rows){y->data, x->data, it.numel, n * size, it.stride[0][0] * size, it.stride[1][0] * size};
    return true;
}

/* Rows that follow each other in y, by way of a block that leaves in whole lines. */
static inline void runs_rows_packed(const runs_rows *r, int64_t begin, int64_t end)
{
    enum { BLOCK = 8192 };
    _Alignas(RUNS_LINE) char block[BLOCK];
    char *to = r->y + begin * r->bytes;
    for (int64_t row = begin, m; row < end; row += m, to += m * r->bytes) {
        m = BLOCK / r->bytes < end - row ? BLOCK / r->bytes : end - row;
        for (int64_t k = 0; k < m; k++) memcpy(block + k * r->bytes, r->x + (row + k) * r->x_step, (size_t)r->bytes);
        span_copy_bytes(to, block, m * r->bytes, true);
    }
}

static inline void runs_rows_range(const runs_rows *r, int64_t begin, int64_t end)
{
    if (r->y_step == r->bytes && r->bytes <= RUNS_LONGEST) {
        runs_rows_packed(r, begin, end);
        return;
    }
    for (int64_t row = begin; row < end; row++) span_copy_bytes(r->y + row * r->y_step, r->x + row * r->x_step, r->bytes, true);
}

/* Several copies that read, or write, parts of the same rows: some rows of each in turn, so that what the processor reads beyond
 * a part's end is used. */
static inline void runs_rows_together(const runs_rows *copies, int count)
{
    int64_t bytes = 0;
    for (int k = 0; k < count; k++) bytes += copies[k].bytes;
    const int64_t most = 1 + (16 * RUNS_ROW) / bytes;
    CPU_PARALLEL_FOR(range, copies[0].rows, 1 + CPU_GRAIN / bytes)
    {
        for (int64_t row = range.begin, end; row < range.end; row = end) {
            end = row + most < range.end ? row + most : range.end;
            for (int k = 0; k < count; k++) runs_rows_range(&copies[k], row, end);
        }
        span_fence();
    }
}

/* ---- Tiles of runs ---- */

/* Along y's next axis, `across`, and x's, `down`. Steps in bytes. */
typedef struct runs_tiling {
    trine_iter batch;
    int64_t bytes, size, across, down, y_across, y_down, x_across, x_down, tile_across, tile_down, tiles_across, tiles_down;
    char *y, *workspace;
    const char *x;
} runs_tiling;

typedef struct runs_tile {
    char *y, *buffer;
    const char *x;
    int64_t across, down;
} runs_tile;

static inline runs_tile runs_tile_at(const runs_tiling *t, int64_t index, int64_t end, char *buffers)
{
    const int64_t tiles = t->tiles_across * t->tiles_down, batch = index / tiles, i = index - batch * tiles,
                  a = i % t->tiles_across * t->tile_across, d = i / t->tiles_across * t->tile_down;
    int64_t offset[TRINE_ITER_OPERANDS];
    if (index >= end) return (runs_tile){NULL, NULL, NULL, 0, 0};
    trine_iter_offsets(&t->batch, batch, offset);
    return (runs_tile){t->y + offset[0] * t->size + a * t->y_across + d * t->y_down, buffers + index % 2 * RUNS_BUFFER,
                       t->x + offset[1] * t->size + a * t->x_across + d * t->x_down,
                       t->across - a < t->tile_across ? t->across - a : t->tile_across,
                       t->down - d < t->tile_down ? t->down - d : t->tile_down};
}

static inline int64_t runs_buffer_step(const runs_tiling *t) { return t->tile_across * t->bytes + RUNS_LINE; }

/* Column `a` of the tile, which lies in a row of x, is taken while column `b` of another is asked for. */
static inline void runs_take(const runs_tiling *t, const runs_tile *tile, int64_t a, const runs_tile *next, int64_t b)
{
    const char *from = tile->x + a * t->x_across, *ahead = next->x + b * t->x_across;
    char *to = tile->buffer + a * t->bytes;
    const int64_t take = a < tile->across ? tile->down : 0, ask = b < next->across ? next->down : 0;
    for (int64_t d = 0; d < t->tile_down; d++) {
        if (d < ask) span_prefetch(ahead + d * t->x_down, t->bytes);
        if (d < take) runs_move(to + d * runs_buffer_step(t), from + d * t->x_down, t->bytes);
    }
}

static inline void runs_put(const runs_tiling *t, const runs_tile *tile, int64_t d)
{
    if (d >= tile->down) return;
    const char *from = tile->buffer + d * runs_buffer_step(t);
    char *to = tile->y + d * t->y_down;
    if (t->y_across == t->bytes) {
        span_copy_bytes(to, from, tile->across * t->bytes, true);
        return;
    }
    for (int64_t a = 0; a < tile->across; a++) span_copy_bytes(to + a * t->y_across, from + a * t->bytes, t->bytes, true);
}

#if defined __AVX512F__
/* Column k of a whole tile is taken, column `b` of `next` asked for and row k of one that is done put, a line of each at a time:
 * bursts wait for each other (prefetch.h). false: not done, for the shapes differ or lines don't fit. */
static inline bool runs_take_and_put(const runs_tiling *t, const runs_tile *tile, const runs_tile *done, int64_t k,
                                     const runs_tile *next, int64_t b)
{
    const int64_t count = t->tile_down, step = runs_buffer_step(t);
    char *const to = done->y + k * t->y_down;
    if (t->tile_across != count || t->bytes % RUNS_LINE != 0 || ((uintptr_t)to | (uintptr_t)t->y_across) % RUNS_LINE != 0 ||
        k >= done->down || done->across != count || k >= tile->across || tile->down != count)
        return false;
    const bool asks = b < next->across && next->down == count;
    const char *from = tile->x + k * t->x_across, *soon = asks ? next->x + b * t->x_across : from,
               *left = done->buffer + k * step;
    char *own = tile->buffer + k * t->bytes;
    for (int64_t d = 0; d < count; d++)
        for (int64_t i = 0; i < t->bytes; i += RUNS_LINE) {
            __builtin_prefetch(soon + d * t->x_down + i, 0, 2);
            _mm512_storeu_si512(own + d * step + i, _mm512_loadu_si512(from + d * t->x_down + i));
            _mm512_stream_si512((void *)(to + d * t->y_across + i), _mm512_loadu_si512(left + d * t->bytes + i));
        }
    return true;
}
#else
static inline bool runs_take_and_put(const runs_tiling *t, const runs_tile *tile, const runs_tile *done, int64_t k,
                                     const runs_tile *next, int64_t b)
{
    return (void)t, (void)tile, (void)done, (void)k, (void)next, (void)b, false;
}
#endif

static inline void runs_tiles_range(const runs_tiling *t, cpu_range range)
{
    char *const buffers = t->workspace + (size_t)cpu_thread() * 2 * RUNS_BUFFER;
    const int64_t steps = t->tile_across > t->tile_down ? t->tile_across : t->tile_down;
    runs_tile done = {NULL, NULL, NULL, 0, 0}, this = runs_tile_at(t, range.begin, range.end, buffers);
    for (int64_t i = range.begin; i <= range.end; i++) {
        const runs_tile next = runs_tile_at(t, i + 1, range.end, buffers);
        for (int64_t k = 0; k < steps; k++) {
            const bool here = k + RUNS_AHEAD < t->tile_across;
            const runs_tile *asked = here ? &this : &next;
            const int64_t column = here ? k + RUNS_AHEAD : k + RUNS_AHEAD - t->tile_across;
            if (runs_take_and_put(t, &this, &done, k, asked, column)) continue;
            runs_take(t, &this, k, asked, column);
            runs_put(t, &done, k);
        }
        done = this;
        this = next;
    }
    span_fence();
}

static inline int64_t runs_in_tile(int64_t bytes, int64_t count)
{
    const int64_t fit = (prefers_l2() ? RUNS_ROW_INTEL : RUNS_ROW) / bytes, runs = fit < RUNS_MOST ? fit : RUNS_MOST;
    return runs < count ? runs : count;
}

static inline size_t runs_workspace(void) { return 2 * RUNS_BUFFER; }

/* it: of y and x, both dense along the last axis. false: the order of runs does not change, or they are long. */
static inline bool runs_exchange(const trine_iter *it, char *y, const char *x, int64_t size, char *workspace)
{
    const int32_t last = it->ndim - 1;
    runs_tiling t = {.batch = *it, .bytes = it->size[last] * size, .size = size, .y = y, .x = x, .workspace = workspace};
    int64_t step[TRINE_ITER_OPERANDS];
    int32_t down = last - 1;
    if (last < 2 || t.bytes > RUNS_LONGEST) return false;
    for (int32_t d = 0; d < last; d++)
        if (it->stride[1][d] < it->stride[1][down]) down = d;
    if (down == last - 1) return false;
    trine_iter_pop_inner(&t.batch, step);
    t.across = trine_iter_pop_inner(&t.batch, step);
    t.y_across = step[0] * size;
    t.x_across = step[1] * size;
    for (int32_t k = down; k + 1 < t.batch.ndim; k++) trine_iter_swap_axes(&t.batch, k, k + 1);
    t.down = trine_iter_pop_inner(&t.batch, step);
    t.y_down = step[0] * size;
    t.x_down = step[1] * size;
    t.tile_across = runs_in_tile(t.bytes, t.across);
    t.tile_down = runs_in_tile(t.bytes, t.down);
    t.tiles_across = (t.across + t.tile_across - 1) / t.tile_across;
    t.tiles_down = (t.down + t.tile_down - 1) / t.tile_down;
    CPU_PARALLEL_FOR(range, t.batch.numel * t.tiles_across * t.tiles_down, 2) { runs_tiles_range(&t, range); }
    return true;
}

#endif
