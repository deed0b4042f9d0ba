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

/* Elements [begin, end) of the walk, run by run as cpu_walk_range does, with the slice of a run asked for some runs before. */
static inline void gather_range(const cpu_walk *w, const gather_table *t, cpu_range range)
{
    enum { AHEAD = 4, ASKED = 512 };
    const int64_t asked = w->n * t->size < ASKED ? w->n * t->size : ASKED;
    for (int64_t i = range.begin; i < range.end;) {
        const int64_t row = i / w->n, column = i - row * w->n, n = w->n - column < range.end - i ? w->n - column : range.end - i;
        int64_t offset[TRINE_ITER_OPERANDS];
        char *p[TRINE_ITER_OPERANDS];
        if (w->step[2] == 0 && row + AHEAD < w->outer.numel) {
            trine_iter_offsets(&w->outer, row + AHEAD, offset);
            const int64_t id = cpu_id(w->data[2] + offset[2] * w->size[2], t->ids);
            if (id >= 0 && id < t->rows) span_prefetch(w->data[1] + offset[1] * t->size + id * t->step, asked);
        }
        trine_iter_offsets(&w->outer, row, offset);
        for (int32_t k = 0; k < 3; k++) p[k] = w->data[k] + (offset[k] + column * w->step[k]) * w->size[k];
        gather_run(t, p, w->step, n, w->stream);
        i += n;
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
