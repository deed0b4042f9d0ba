/* Rows [..., N] on the CPU: a statistic of each row, then its output. What softmax and the norms share.
 *
 * A row is cut into chunks that fit the L2 cache with room to spare. A row of one chunk is read from memory once: the op leaves what it needs again in `scratch`. Of longer
 * rows each chunk gives a partial; partials are merged in the order of the chunks, whoever made them, so that results do not depend on the number of threads; then each
 * chunk is read again and written. Threads take rows, or, where there are fewer rows than threads, the chunks of a row. */
#ifndef TRINE_CPU_ROWS_H
#define TRINE_CPU_ROWS_H

#include "backends/cpu/walk.h"

enum { ROW_CHUNK = 16384, ROW_STATS = 4 };

/* Part of a row: operand k begins at p[k]; `scratch` has room for n floats, or is NULL. */
typedef struct row_part {
    char *p[TRINE_ITER_OPERANDS];
    int64_t n, column;
    float *scratch;
    bool stream;
} row_part;

typedef struct row_op {
    void (*partial)(const void *context, const row_part *part, double stats[ROW_STATS]);
    void (*merge)(double into[ROW_STATS], const double from[ROW_STATS]);
    /* of a whole row: from the partial's numbers to those that emit wants */
    void (*finish)(const void *context, int64_t row, int64_t n, double stats[ROW_STATS]);
    void (*emit)(const void *context, const row_part *part, const double stats[ROW_STATS]);
} row_op;

typedef struct row_call {
    const row_op *op;
    const void *context;
    trine_iter rows;
    int64_t n, chunks, size;
    char *data[TRINE_ITER_OPERANDS];
    bool stream;
    char *workspace; /* threads * ROW_CHUNK floats, then chunks * ROW_STATS doubles */
    int threads;
} row_call;

static inline int rows_threads(void)
{
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}

static inline int rows_this_thread(void)
{
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

static inline row_part rows_part(const row_call *c, int64_t row, int64_t chunk)
{
    row_part part = {.column = chunk * ROW_CHUNK, .stream = c->stream};
    int64_t offset[TRINE_ITER_OPERANDS];
    trine_iter_offsets(&c->rows, row, offset);
    for (int32_t k = 0; k < c->rows.operands; k++) part.p[k] = c->data[k] + (offset[k] + part.column) * c->size;
    part.n = c->n - part.column < ROW_CHUNK ? c->n - part.column : ROW_CHUNK;
    if (c->chunks <= 1) part.scratch = (float *)(void *)c->workspace + (int64_t)rows_this_thread() * ROW_CHUNK;
    return part;
}

/* One row by one thread. */
static inline void rows_serial(const row_call *c, int64_t row)
{
    double stats[ROW_STATS] = {0}, next[ROW_STATS];
    for (int64_t k = 0; k < c->chunks; k++) {
        const row_part part = rows_part(c, row, k);
        c->op->partial(c->context, &part, k ? next : stats);
        if (k) c->op->merge(stats, next);
    }
    c->op->finish(c->context, row, c->n, stats);
    for (int64_t k = 0; k < c->chunks; k++) {
        const row_part part = rows_part(c, row, k);
        c->op->emit(c->context, &part, stats);
    }
}

/* One row by all threads. */
static inline void rows_together(const row_call *c, int64_t row)
{
    double(*partials)[ROW_STATS] = (double(*)[ROW_STATS])(void *)(c->workspace + (int64_t)c->threads * ROW_CHUNK * (int64_t)sizeof(float));
    CPU_PARALLEL_FOR(range, c->chunks, 1) {
        for (int64_t k = range.begin; k < range.end; k++) {
            const row_part part = rows_part(c, row, k);
            c->op->partial(c->context, &part, partials[k]);
        }
    }
    for (int64_t k = 1; k < c->chunks; k++) c->op->merge(partials[0], partials[k]);
    c->op->finish(c->context, row, c->n, partials[0]);
    CPU_PARALLEL_FOR(range, c->chunks, 1) {
        for (int64_t k = range.begin; k < range.end; k++) {
            const row_part part = rows_part(c, row, k);
            c->op->emit(c->context, &part, partials[0]);
        }
        span_fence();
    }
}

static inline void rows_run(const row_call *c)
{
    const int64_t rows = c->rows.numel, grain = c->n >= CPU_GRAIN ? 1 : (CPU_GRAIN + c->n - 1) / (c->n ? c->n : 1);
    if (rows * c->n <= CPU_GRAIN) {
        for (int64_t row = 0; row < rows; row++) rows_serial(c, row);
        span_fence();
    } else if (c->chunks > 1 && rows < 2 * c->threads) {
        for (int64_t row = 0; row < rows; row++) rows_together(c, row);
    } else {
        CPU_PARALLEL_FOR(range, rows, grain) {
            for (int64_t row = range.begin; row < range.end; row++) rows_serial(c, row);
            span_fence();
        }
    }
}

/* The whole of an op: guards, query, run. tensors: the output, then the inputs, of one dtype. */
static inline trine_status rows_call(trine_call *call, const row_op *op, const void *context, const trine_tensor *const *tensors, int32_t operands)
{
    row_call c = {.op = op, .context = context, .threads = rows_threads()};
    for (int32_t k = 0; k < operands; k++) {
        TRINE_REQUIRE_THAT(call, trine_last_axis_dense(tensors[k]), "needs a last axis of stride 1");
        c.data[k] = tensors[k]->data;
    }
    c.rows = trine_iter_rows(tensors, operands, &c.n);
    c.chunks = (c.n + ROW_CHUNK - 1) / ROW_CHUNK;
    c.size = trine_dtype_bits(tensors[0]->dtype) / 8;
    c.stream = span_should_stream(c.rows.numel * c.n * c.size);
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, (size_t)c.threads * ROW_CHUNK * sizeof(float) + (size_t)c.chunks * ROW_STATS * sizeof(double));
    c.workspace = call->workspace;
    rows_run(&c);
    return TRINE_OK;
}

#endif
