/* gather and embedding on the CPU: runs of y are copied from the slices of x that ids name. Bound by bytes. */
#ifndef TRINE_CPU_GATHER_H
#define TRINE_CPU_GATHER_H

#if defined __AVX512F__
#include <immintrin.h>
#endif

#include "backends/cpu/ids.h"
#include "backends/cpu/walk.h"
#include "core/taken.h"

typedef struct gather_table {
    int64_t rows, step, size; /* slices of x; bytes from one to the next, and of an element */
    trine_dtype ids;
} gather_table;

/* p: y, x's slice 0, the run's first id. */
static inline void gather_run(const gather_table *t, char *const *p, const int64_t *step, int64_t n, bool stream)
{
    if (step[0] == 1 && step[1] == 1 && step[2] == 0) {
        const int64_t id = cpu_id(p[2], t->ids);
        if (id >= 0 && id < t->rows)
            span_copy_bytes(p[0], p[1] + id * t->step, n * t->size, stream);
        else
            memset(p[0], 0, (size_t)(n * t->size));
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        const int64_t id = cpu_id(p[2] + i * step[2] * (t->ids == TRINE_I64 ? 8 : 4), t->ids);
        char *to = p[0] + i * step[0] * t->size;
        if (id >= 0 && id < t->rows)
            memcpy(to, p[1] + id * t->step + i * step[1] * t->size, (size_t)t->size);
        else
            memset(to, 0, (size_t)t->size);
    }
}

/* Where elements [column, ...) of run `row` come from; NULL if that is not known by one id, or there is no such row. */
static inline const char *gather_source(const cpu_walk *w, const gather_table *t, int64_t row, int64_t column)
{
    int64_t offset[TRINE_ITER_OPERANDS];
    if (w->step[1] != 1 || w->step[2] != 0 || row >= w->outer.numel) return NULL;
    trine_iter_offsets(&w->outer, row, offset);
    const int64_t id = cpu_id(w->data[2] + offset[2] * w->size[2], t->ids);
    return id >= 0 && id < t->rows ? w->data[1] + (offset[1] + column) * t->size + id * t->step : NULL;
}

/* Elements [begin, end) of the walk, run by run as cpu_walk_range does. Rows lie anywhere, which no processor foresees: while a
 * piece is copied, the one that lies AHEAD bytes behind it in y is asked for. */
static inline void gather_range(const cpu_walk *w, const gather_table *t, cpu_range range)
{
    enum { AHEAD = 4096, PIECE = 1024 };
    const int64_t piece = PIECE / t->size, ahead = 1 + (AHEAD - 1) / (w->n * t->size);
    for (int64_t i = range.begin, n; i < range.end; i += n) {
        const int64_t row = i / w->n, column = i - row * w->n,
                      left = w->n - column < range.end - i ? w->n - column : range.end - i;
        const char *next = gather_source(w, t, row + ahead, column);
        int64_t offset[TRINE_ITER_OPERANDS];
        char *p[TRINE_ITER_OPERANDS];
        trine_iter_offsets(&w->outer, row, offset);
        for (int32_t k = 0; k < 3; k++) p[k] = w->data[k] + (offset[k] + column * w->step[k]) * w->size[k];
        n = left < 2 * piece || (uintptr_t)p[0] % 64 != 0 || !next ? left : piece;
        if (next) span_prefetch(next, n * t->size);
        gather_run(t, p, w->step, n, w->stream);
    }
}

/* ---- Short rows, one behind the other in y ---- */

enum { GATHER_SHORT = 8192, GATHER_AHEAD = 8192 };

typedef struct gather_short {
    const gather_table *table;
    const char *x, *ids;
    char *y;
    int64_t bytes, x_step, id_step; /* of a row of y, and from one to the next */
} gather_short;

static inline bool gather_is_short(const cpu_walk *w, const gather_table *t)
{
    return w->stream && w->outer.ndim == 1 && w->step[0] == 1 && w->step[1] == 1 && w->step[2] == 0 &&
           w->outer.stride[0][0] == w->n && w->n * t->size <= GATHER_SHORT;
}

/* NULL: there is no such row. */
static inline const char *gather_short_row(const gather_short *g, int64_t row)
{
    const int64_t id = cpu_id(g->ids + row * g->id_step, g->table->ids);
    return id >= 0 && id < g->table->rows ? g->x + row * g->x_step + id * g->table->step : NULL;
}

#if defined __AVX512F__
/* Whole lines at both ends, each asked for as one leaves: in bursts they would wait for each other. */
static inline void gather_short_lines(const gather_short *g, cpu_range range)
{
    const int64_t ahead = 1 + (GATHER_AHEAD - 1) / g->bytes;
    for (int64_t row = range.begin; row < range.end; row++) {
        const char *from = gather_short_row(g, row), *next = row + ahead < range.end ? gather_short_row(g, row + ahead) : NULL;
        char *to = g->y + row * g->bytes;
        if (!next) next = from;
        for (int64_t i = 0; i < g->bytes; i += 64) {
            ask_for_line(next + i);
            _mm512_stream_si512((void *)(to + i), from ? _mm512_loadu_si512(from + i) : _mm512_setzero_si512());
        }
    }
}
#endif

/* Rows go by way of a block that leaves in whole lines. */
static inline void gather_short_range(const gather_short *g, cpu_range range)
{
    enum { BLOCK = 8192 };
    _Alignas(64) char block[BLOCK];
    const int64_t ahead = 1 + (GATHER_AHEAD - 1) / g->bytes, most = BLOCK / g->bytes;
#if defined __AVX512F__
    if (g->bytes % 64 == 0 && (uintptr_t)g->y % 64 == 0) {
        gather_short_lines(g, range);
        return;
    }
#endif
    for (int64_t first = range.begin, m; first < range.end; first += m) {
        m = range.end - first < most ? range.end - first : most;
        for (int64_t k = 0; k < m; k++) {
            const char *from = gather_short_row(g, first + k),
                       *next = first + k + ahead < range.end ? gather_short_row(g, first + k + ahead) : NULL;
            if (next) span_prefetch(next, g->bytes);
            if (from)
                memcpy(block + k * g->bytes, from, (size_t)g->bytes);
            else
                memset(block + k * g->bytes, 0, (size_t)g->bytes);
        }
        span_copy_bytes(g->y + first * g->bytes, block, m * g->bytes, true);
    }
}

static inline void gather_short_run(const cpu_walk *w, const gather_table *t)
{
    const gather_short g = {.table = t,
                            .x = w->data[1],
                            .ids = w->data[2],
                            .y = w->data[0],
                            .bytes = w->n * t->size,
                            .x_step = w->outer.stride[1][0] * t->size,
                            .id_step = w->outer.stride[2][0] * w->size[2]};
    CPU_PARALLEL_FOR(range, w->outer.numel, 1 + CPU_GRAIN / w->n)
    {
        gather_short_range(&g, range);
        span_fence();
    }
}

/* axis counts from 0. */
static inline trine_status gather_rows(trine_call *call, const trine_tensor *x, const trine_tensor *ids, const trine_tensor *y,
                                       int32_t axis)
{
    const trine_tensor from = trine_table_along_rows(x, ids, y, axis), which = trine_ids_along_rows(ids, y, axis);
    const trine_tensor *operands[] = {y, &from, &which};
    const int64_t size = trine_dtype_bits(x->dtype) / 8;
    const gather_table table = {x->shape[axis], x->stride[axis] * size, size, ids->dtype};
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, 0);
    if (trine_tensor_numel(y) == 0) return TRINE_OK;
    const cpu_walk w = cpu_walk_make(operands, 3);
    if (gather_is_short(&w, &table)) {
        gather_short_run(&w, &table);
        return TRINE_OK;
    }
    CPU_PARALLEL_FOR(range, w.outer.numel * w.n, CPU_GRAIN)
    {
        gather_range(&w, &table, range);
        span_fence();
    }
    return TRINE_OK;
}

#endif
