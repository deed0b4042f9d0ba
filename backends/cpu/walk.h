/* Walking strided operands on the CPU: a trine_iter (core/shape.h) cut into contiguous parts for threads and into runs along the
 * innermost axis. */
#ifndef TRINE_CPU_WALK_H
#define TRINE_CPU_WALK_H

#include "backends/cpu/span.h"
#include "core/backend.h"
#include "core/shape.h"

/* n elements along the innermost axis: p[k] is the address of operand k's first one, step[k] the elements from one to the next.
 * `stream`: outputs go past the caches. */
typedef void (*cpu_run_fn)(const void *context, char *const *p, const int64_t *step, int64_t n, bool stream);

typedef struct cpu_walk {
    trine_iter outer;
    int64_t n; /* size of the innermost axis */
    int64_t step[TRINE_ITER_OPERANDS];
    int64_t size[TRINE_ITER_OPERANDS]; /* bytes of an element */
    char *data[TRINE_ITER_OPERANDS];
    bool stream;
} cpu_walk;

/* tensors[0] is the output and gives the shape. */
static inline cpu_walk cpu_walk_make(const trine_tensor *const *tensors, int32_t operands)
{
    cpu_walk w;
    w.outer = trine_iter_make(tensors, operands, 0);
    w.stream = span_should_stream(w.outer.numel * trine_dtype_bits(tensors[0]->dtype) / 8);
    for (int32_t k = 0; k < operands; k++) {
        w.size[k] = trine_dtype_bits(tensors[k]->dtype) / 8;
        w.data[k] = tensors[k]->data;
    }
    w.n = trine_iter_pop_inner(&w.outer, w.step);
    return w;
}

/* Elements [begin, end) of the walk, as runs. */
static inline void cpu_walk_range(const cpu_walk *w, cpu_range range, cpu_run_fn run, const void *context)
{
    for (int64_t i = range.begin; i < range.end;) {
        int64_t row = i / w->n, column = i - row * w->n, offset[TRINE_ITER_OPERANDS];
        int64_t n = w->n - column < range.end - i ? w->n - column : range.end - i;
        char *p[TRINE_ITER_OPERANDS];
        trine_iter_offsets(&w->outer, row, offset);
        for (int32_t k = 0; k < w->outer.operands; k++) p[k] = w->data[k] + (offset[k] + column * w->step[k]) * w->size[k];
        run(context, p, w->step, n, w->stream);
        i += n;
    }
}

/* All of it, on as many threads as it is worth. */
static inline void cpu_walk_run(const cpu_walk *w, cpu_run_fn run, const void *context)
{
    const int64_t total = w->outer.numel * w->n;
    if (total <= CPU_GRAIN) { /* even a parallel region of one thread costs more than a small op */
        if (total > 0) cpu_walk_range(w, (cpu_range){0, total}, run, context);
        return;
    }
    CPU_PARALLEL_FOR(range, total, CPU_GRAIN)
    {
        cpu_walk_range(w, range, run, context);
        span_fence();
    }
}

/* A span of operand k as f32, whatever its step. */
static inline const float *cpu_load(float *buffer, const char *p, trine_dtype dtype, int64_t n, int64_t step)
{
    return step == 1 ? span_load(buffer, p, dtype, n) : span_load_strided(buffer, p, dtype, n, step);
}

static inline void cpu_store(char *p, trine_dtype dtype, const float *from, int64_t n, int64_t step, bool stream)
{
    if (step == 1)
        span_store(p, dtype, from, n, stream);
    else
        span_store_strided(p, dtype, from, n, step);
}

#endif
