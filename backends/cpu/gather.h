/* gather and embedding on the CPU: runs of y are copied from the slices of x that ids name. Bound by bytes. */
#ifndef TRINE_CPU_GATHER_H
#define TRINE_CPU_GATHER_H

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
    CPU_PARALLEL_FOR(range, w.outer.numel * w.n, CPU_GRAIN)
    {
        gather_range(&w, &table, range);
        span_fence();
    }
    return TRINE_OK;
}

#endif
