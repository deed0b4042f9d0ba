/* Rows [..., N] on the CPU: a statistic of each row, then its output. What softmax and the norms share.
 *
 * A row is taken in chunks that fit the L1 cache as f32. What the threads have read and converted they keep, up to ROW_KEPT
 * floats, so that memory sees one read and one write an element; of longer rows each chunk is read again (from the L2 or L3
 * cache, if it fits there). Each chunk gives a partial; partials are merged in the order of the chunks, whoever made them, so
 * that results do not depend on the number of threads. Threads take rows, or, where there are few, the chunks of a row. Short
 * dense rows are loaded and stored several at once. */
#ifndef TRINE_CPU_ROWS_H
#define TRINE_CPU_ROWS_H

#include "backends/cpu/level.h"
#include "backends/cpu/span.h"
#include "core/backend.h"
#include "core/shape.h"

enum { ROW_CHUNK = 4096, ROW_KEPT = 192 * 1024, ROW_STATS = 4, ROW_INPUTS = 2 };

/* Part of a row as f32. `keep`: what the op wrote there itself (ops that keep nothing: NULL). far: partial reads x from memory,
 * not from the L1 cache. */
typedef struct row_part {
    const float *x[ROW_INPUTS];
    float *keep;
    int64_t n, column;
    bool far;
} row_part;

typedef struct row_op {
    int32_t inputs;
    bool keeps; /* partial and again write part->keep, which may be part->x[0] */
    void (*partial)(const void *context, const row_part *part, double stats[ROW_STATS]);
    void (*merge)(double into[ROW_STATS], const double from[ROW_STATS]);
    /* of a whole row: from the partial's numbers to those that emit wants */
    void (*finish)(const void *context, int64_t row, int64_t n, double stats[ROW_STATS]);
    /* before a chunk is written: from its partial and the row's numbers to those that emit wants of it; may be NULL */
    void (*relate)(const void *context, double own[ROW_STATS], const double stats[ROW_STATS]);
    /* what partial left in keep, from its numbers; NULL for ops that keep nothing */
    void (*again)(const void *context, const row_part *part, const double own[ROW_STATS]);
    void (*emit)(const void *context, const row_part *part, const double own[ROW_STATS], const double stats[ROW_STATS], float *y);
} row_op;

typedef struct row_call {
    const row_op *op;
    const void *context;
    trine_iter rows; /* operands: the output, then the inputs */
    int64_t n, chunks;
    trine_dtype dtype;
    int64_t size;
    char *data[1 + ROW_INPUTS];
    bool stream, kept;
    int64_t lane; /* floats of scratch a thread and kept array has */
    char *workspace;
    int threads;
} row_call;

typedef double row_stats[ROW_STATS];

/* ---- A thread's scratch: what is kept of the row for each input and for the op, then the row's partials ---- */

static inline int64_t rows_arrays(const row_op *op, trine_dtype dtype)
{
    return dtype != TRINE_F32 ? op->inputs : op->keeps; /* a converted row is overwritten by what the op keeps */
}

static inline size_t rows_scratch_bytes(const row_call *c)
{
    return ((size_t)(c->lane * rows_arrays(c->op, c->dtype)) * sizeof(float) + (size_t)c->chunks * sizeof(row_stats) + 63) &
           ~(size_t)63;
}

/* The calling thread's number among those of CPU_PARALLEL_FOR; outside of it the caller may be of a team of its own. */
static inline int rows_thread(void)
{
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

static inline char *rows_scratch(const row_call *c, int thread) { return c->workspace + (size_t)thread * rows_scratch_bytes(c); }

static inline row_stats *rows_partials(const row_call *c, int thread)
{
    return (row_stats *)(void *)(rows_scratch(c, thread) + (size_t)(c->lane * rows_arrays(c->op, c->dtype)) * sizeof(float));
}

/* ---- Parts ---- */

/* n elements at operands' addresses p, from `column` of the row on; loaded if `fresh`, else as they were kept. */
static inline row_part rows_part(const row_call *c, char *const *p, int64_t n, int64_t column, bool fresh)
{
    row_part part = {.n = n, .column = column, .far = c->dtype == TRINE_F32};
    float *scratch = (float *)(void *)rows_scratch(c, rows_thread()) + (c->kept ? column : 0);
    const int64_t step = c->lane;
    for (int32_t k = 0; k < c->op->inputs; k++) {
        const char *from = p[1 + k] + column * c->size;
        if (c->dtype == TRINE_F32)
            part.x[k] = (const float *)(const void *)from;
        else
            part.x[k] = scratch + k * step;
        for (int64_t i = 0, m; fresh && i < n; i += m) {
            m = n - i < SPAN_MAX ? n - i : SPAN_MAX;
            (void)span_load(scratch + k * step + i, from + i * c->size, c->dtype, m);
        }
    }
    if (c->op->keeps) part.keep = scratch;
    return part;
}

static inline void rows_emit(const row_call *c, const row_part *part, char *to, const double *own, const double *stats,
                             char *const *next)
{
    SPAN_BUFFER(y);
    for (int64_t i = 0, m; i < part->n; i += m) {
        row_part span = *part;
        m = span.n = span_length(to + i * c->size, c->dtype, part->n - i);
        span.column += i;
        for (int32_t k = 0; k < c->op->inputs; k++) span.x[k] += i;
        if (span.keep) span.keep += i;
        for (int32_t k = 0; k < c->op->inputs; k++) span_prefetch(next[1 + k] + span.column * c->size, m * c->size);
        c->op->emit(c->context, &span, own, stats, y);
        span_store(to + i * c->size, c->dtype, y, m, c->stream);
    }
}

static inline void rows_addresses(const row_call *c, int64_t row, char **p)
{
    int64_t offset[TRINE_ITER_OPERANDS];
    trine_iter_offsets(&c->rows, row, offset);
    for (int32_t k = 0; k < c->rows.operands; k++) p[k] = c->data[k] + offset[k] * c->size;
}

static inline int64_t rows_chunk_length(const row_call *c, int64_t chunk)
{
    return c->n - chunk * ROW_CHUNK < ROW_CHUNK ? c->n - chunk * ROW_CHUNK : ROW_CHUNK;
}

static inline void rows_gather_chunk(const row_call *c, char *const *p, int64_t chunk, double *own)
{
    const row_part part = rows_part(c, p, rows_chunk_length(c, chunk), chunk * ROW_CHUNK, true);
    c->op->partial(c->context, &part, own);
}

static inline void rows_emit_chunk(const row_call *c, char *const *p, char *const *next, int64_t chunk, double *own,
                                   const double *stats)
{
    const row_part part = rows_part(c, p, rows_chunk_length(c, chunk), chunk * ROW_CHUNK, !c->kept);
    if (!c->kept && c->op->again) c->op->again(c->context, &part, own);
    if (c->op->relate) c->op->relate(c->context, own, stats);
    rows_emit(c, &part, p[0] + part.column * c->size, own, stats, next);
}

/* From the partials of a row's chunks. */
static inline void rows_finish(const row_call *c, int64_t row, row_stats *partials, double *stats)
{
    memcpy(stats, partials[0], sizeof(row_stats));
    for (int64_t k = 1; k < c->chunks; k++) c->op->merge(stats, partials[k]);
    c->op->finish(c->context, row, c->n, stats);
}

/* ---- Rows ---- */

static inline void rows_serial(const row_call *c, int64_t row)
{
    row_stats *partials = rows_partials(c, rows_thread()), stats;
    char *p[1 + ROW_INPUTS], *next[1 + ROW_INPUTS];
    rows_addresses(c, row, p);
    rows_addresses(c, row + 1 < c->rows.numel ? row + 1 : row, next);
    for (int64_t k = 0; k < c->chunks; k++) rows_gather_chunk(c, p, k, partials[k]);
    rows_finish(c, row, partials, stats);
    for (int64_t k = 0; k < c->chunks; k++) rows_emit_chunk(c, p, next, k, partials[k], stats);
}

/* One row by all threads; nothing is kept. */
static inline void rows_together(const row_call *c, int64_t row)
{
    row_stats *partials = rows_partials(c, 0), stats;
    char *p[1 + ROW_INPUTS];
    rows_addresses(c, row, p);
    CPU_PARALLEL_FOR(range, c->chunks, 4)
    {
        for (int64_t k = range.begin; k < range.end; k++) rows_gather_chunk(c, p, k, partials[k]);
    }
    rows_finish(c, row, partials, stats);
    CPU_PARALLEL_FOR(range, c->chunks, 4)
    {
        for (int64_t k = range.begin; k < range.end; k++) rows_emit_chunk(c, p, p, k, partials[k], stats);
        span_fence();
    }
}

/* Dense rows of one short chunk: as many as a span holds are loaded, and stored, as one. */
static inline void rows_block(const row_call *c, int64_t row, int64_t rows)
{
    SPAN_BUFFER(y);
    char *p[1 + ROW_INPUTS];
    rows_addresses(c, row, p);
    row_part part = rows_part(c, p, rows * c->n, 0, true);
    part.n = c->n;
    for (int64_t r = 0; r < rows; r++) {
        row_stats own = {0}, stats;
        c->op->partial(c->context, &part, own);
        memcpy(stats, own, sizeof stats);
        c->op->finish(c->context, row + r, c->n, stats);
        if (c->op->relate) c->op->relate(c->context, own, stats);
        c->op->emit(c->context, &part, own, stats, y + r * c->n);
        for (int32_t k = 0; k < c->op->inputs; k++) part.x[k] += c->n;
        if (part.keep) part.keep += c->n;
    }
    span_store(p[0], c->dtype, y, rows * c->n, c->stream);
}

static inline bool rows_are_dense(const row_call *c)
{
    bool dense = c->rows.ndim == 1;
    for (int32_t k = 0; k < c->rows.operands; k++) dense = dense && c->rows.stride[k][0] == c->n;
    return dense;
}

/* Each row by one thread. */
static inline void rows_apart(const row_call *c)
{
    const int64_t rows = c->rows.numel, grain = (CPU_GRAIN + c->n) / (c->n + 1);
    const int64_t a_block = c->n > 0 && 2 * c->n <= SPAN_MAX && rows_are_dense(c) ? SPAN_MAX / c->n : 1;
    CPU_PARALLEL_FOR(range, rows, grain)
    {
        for (int64_t row = range.begin, m; row < range.end; row += m) {
            m = range.end - row < a_block ? range.end - row : a_block;
            if (m > 1)
                rows_block(c, row, m);
            else
                rows_serial(c, row);
        }
        span_fence();
    }
}

/* ---- What an op does: rows_plan (its guards), TRINE_END_OF_QUERY with rows_bytes and what it needs itself, rows_run ---- */

/* tensors: the output, then the inputs, of one dtype. */
static inline trine_status rows_plan(row_call *c, trine_call *call, const row_op *op, const void *context,
                                     const trine_tensor *const *tensors)
{
    *c = (row_call){.op = op, .context = context, .threads = cpu_threads(INT32_MAX, 1), .dtype = tensors[0]->dtype};
    for (int32_t k = 0; k < 1 + op->inputs; k++) {
        TRINE_REQUIRE_THAT(call, trine_last_axis_dense(tensors[k]), "needs a last axis of stride 1");
        c->data[k] = tensors[k]->data;
    }
    c->rows = trine_iter_rows(tensors, 1 + op->inputs, &c->n);
    c->chunks = c->n > ROW_CHUNK ? (c->n + ROW_CHUNK - 1) / ROW_CHUNK : 1;
    c->size = trine_dtype_bits(c->dtype) / 8;
    c->stream = span_should_stream(c->rows.numel * c->n * c->size);
    const bool few = c->rows.numel < c->threads && c->n > CPU_GRAIN;
    c->kept = c->chunks == 1 || (op->keeps && !few && c->n * (1 + (c->dtype == TRINE_F32)) <= ROW_KEPT);
    c->lane = c->kept && c->n > SPAN_MAX ? (c->n + 15) / 16 * 16 : ROW_CHUNK;
    call->variant = TRINE_CPU_VARIANT;
    return TRINE_OK;
}

static inline size_t rows_bytes(const row_call *c) { return (size_t)c->threads * rows_scratch_bytes(c); }

/* workspace: of rows_bytes. */
static inline void rows_run(row_call *c, void *workspace)
{
    c->workspace = workspace;
    if (!c->kept && c->threads > 1 && c->chunks > 1 && c->rows.numel < 4 * c->threads)
        for (int64_t row = 0; row < c->rows.numel; row++) rows_together(c, row);
    else
        rows_apart(c);
}

#endif
