/* Rows [..., N] on the CPU: a statistic of each row, then its output. What softmax and the norms share.
 *
 * A row is taken in chunks that fit the L1 cache as f32. What the threads have read and converted they keep, up to ROW_KEPT
 * floats, so that memory sees one read and one write an element; of longer rows each chunk is read again (from the L2 or L3
 * cache, if it fits there). Each chunk gives a partial; partials are merged in the order of the chunks, whoever made them, so
 * that results do not depend on the number of threads. Threads take rows, or, where there are few, the chunks of a row. Short
 * dense rows are taken several at once, ROW_BLOCK elements: enough that one row's work hides what another one waits for, few
 * enough that what is put past the caches drains while the next block is read (4096 elements: 0.7 to 0.9 of the rate). */
#ifndef TRINE_CPU_ROWS_H
#define TRINE_CPU_ROWS_H

#include "backends/cpu/lanes_store.h"
#include "backends/cpu/level.h"
#include "backends/cpu/span.h"
#include "core/backend.h"
#include "core/shape.h"

enum { ROW_CHUNK = 4096, ROW_BLOCK = 2048, ROW_KEPT = 192 * 1024, ROW_STATS = 4, ROW_INPUTS = LANES_INPUTS, ROWS_AT_ONCE = 64 };

/* Part of a row. In partial the elements are in `source`, and its first pass is over that; from then on they are also in x, as
 * f32. `keep`: what the op wrote there itself (ops that keep nothing: NULL). */
typedef struct row_part {
    lanes_input source;
    const float *x[ROW_INPUTS];
    float *keep;
    int64_t n, column;
} row_part;

/* What an op does with part->keep, which may be part->x[0]: nothing; its partial and again write it; it is an output besides, the
 * tensor after the inputs. */
enum { ROW_KEEPS_NOTHING, ROW_KEEPS, ROW_STORES_KEPT };

typedef struct row_op {
    int32_t inputs;
    int keeps;
    int passes; /* that partial makes and that ask for memory: 1, or 2 */
    void (*partial)(const void *context, const row_part *part, double stats[ROW_STATS]);
    void (*merge)(double into[ROW_STATS], const double from[ROW_STATS]);
    /* of a whole row: from the partial's numbers to those that emit wants */
    void (*finish)(const void *context, int64_t row, int64_t n, double stats[ROW_STATS]);
    /* before a chunk is written: from its partial and the row's numbers to those that emit wants of it; may be NULL */
    void (*relate)(const void *context, double own[ROW_STATS], const double stats[ROW_STATS]);
    /* what partial left in keep, from its numbers; NULL for ops that keep nothing */
    void (*again)(const void *context, const row_part *part, const double own[ROW_STATS]);
    void (*emit)(const void *context, const row_part *part, const double own[ROW_STATS], const double stats[ROW_STATS], float *y);
    /* emit and store in one, of a multiple of LANES_PUT elements; NULL for ops that don't */
    void (*put)(const void *context, const row_part *part, const double own[ROW_STATS], const double stats[ROW_STATS], void *to,
                trine_dtype dtype, bool stream);
} row_op;
#define ROW_PUT(name) \
    static void name(const void *context, const row_part *part, const double own[ROW_STATS], const double stats[ROW_STATS], \
                     void *to, trine_dtype dtype, bool stream)

typedef struct row_call {
    const row_op *op;
    const void *context;
    trine_iter rows; /* operands: the output, then the inputs, then what is kept if it is an output */
    int64_t n, chunks;
    trine_dtype dtype;
    int64_t size;
    char *data[2 + ROW_INPUTS];
    bool stream, kept;
    int64_t lane; /* floats of scratch a thread and kept array has */
    char *workspace;
    int threads;
} row_call;

typedef double row_stats[ROW_STATS];

/* ---- A thread's scratch: what is kept of the row for each input and for the op, then the row's partials ---- */

static inline int64_t rows_arrays(const row_op *op, trine_dtype dtype)
{
    return dtype != TRINE_F32 ? op->inputs
                              : op->keeps != ROW_KEEPS_NOTHING; /* a converted row is overwritten by what the op keeps */
}

static inline size_t rows_scratch_bytes(const row_call *c)
{
    return ((size_t)(c->lane * rows_arrays(c->op, c->dtype)) * sizeof(float) + (size_t)c->chunks * sizeof(row_stats) + 63) &
           ~(size_t)63;
}

static inline char *rows_scratch(const row_call *c, int thread) { return c->workspace + (size_t)thread * rows_scratch_bytes(c); }

static inline row_stats *rows_partials(const row_call *c, int thread)
{
    return (row_stats *)(void *)(rows_scratch(c, thread) + (size_t)(c->lane * rows_arrays(c->op, c->dtype)) * sizeof(float));
}

/* ---- Parts ---- */

/* n elements at operands' addresses p, from `column` of the row on, n <= ROW_CHUNK. */
static inline row_part rows_part(const row_call *c, char *const *p, int64_t n, int64_t column)
{
    row_part part = {.source = {.dtype = c->dtype, .n = n}, .n = n, .column = column};
    float *scratch = (float *)(void *)rows_scratch(c, cpu_thread()) + (c->kept ? column : 0);
    for (int32_t k = 0; k < c->op->inputs; k++) {
        const char *from = p[1 + k] + column * c->size;
        part.source.x[k] = from;
        part.source.keep[k] = scratch + k * c->lane;
        part.x[k] = c->dtype == TRINE_F32 ? (const float *)(const void *)from : scratch + k * c->lane;
    }
    if (c->op->keeps) part.keep = scratch;
    return part;
}

/* The first pass asks for the same part of what comes next, half of it where the op makes a second pass. */
static inline void rows_ask(const row_call *c, row_part *part, char *const *next)
{
    part->source.lines = (int)c->size / (c->op->passes > 1 ? 2 : 1);
    for (int32_t k = 0; k < c->op->inputs; k++) part->source.ahead[k] = next[1 + k] + part->column * c->size;
}

/* What a second pass over a part's f32 takes; it asks for the other half. */
static inline lanes_input rows_second(const row_part *part, int input)
{
    lanes_input again = {.x = {part->x[input]}, .dtype = TRINE_F32, .n = part->n, .lines = part->source.lines};
    again.ahead[0] = part->source.ahead[input] + part->n / LANES_BLOCK * (part->source.lines * 64);
    return again;
}

static inline void rows_load(const row_call *c, const row_part *part)
{
    for (int32_t k = 0; k < c->op->inputs && c->dtype != TRINE_F32; k++)
        for (int64_t i = 0, m; i < part->n; i += m) {
            m = part->n - i < SPAN_MAX ? part->n - i : SPAN_MAX;
            (void)span_load(part->source.keep[k] + i, (const char *)part->source.x[k] + i * c->size, c->dtype, m);
        }
}

/* Lines that are put straight from registers begin on lines. What is before the first one and behind the last is emitted. */
static inline int64_t rows_span(const row_call *c, const char *to, int64_t left, bool *put)
{
    const int64_t off = (int64_t)((uintptr_t)to % 64), m = left < SPAN_MAX ? left : SPAN_MAX;
    *put = LANES_PUTS && c->op->put && left >= LANES_PUT && off % c->size == 0;
    if (!*put || off == 0) return *put ? m / LANES_PUT * LANES_PUT : span_length(to, c->dtype, left);
    *put = false;
    return (64 - off) / c->size;
}

/* Where what is kept of operands at p goes; NULL: nowhere. */
static inline char *rows_kept_to(const row_call *c, char *const *p)
{
    return c->op->keeps == ROW_STORES_KEPT ? p[1 + c->op->inputs] : NULL;
}

/* kept: where part->keep is stored, or NULL. */
static inline void rows_emit(const row_call *c, const row_part *part, char *to, char *kept, const double *own,
                             const double *stats)
{
    SPAN_BUFFER(y);
    row_part span = *part;
    for (int64_t i = 0, m; i < part->n; i += m) {
        bool put;
        m = span.n = rows_span(c, to + i * c->size, part->n - i, &put);
        if (put) {
            c->op->put(c->context, &span, own, stats, to + i * c->size, c->dtype, c->stream);
        } else {
            c->op->emit(c->context, &span, own, stats, y);
            if (kept) span_store(kept + i * c->size, c->dtype, span.keep, m, c->stream);
            span_store(to + i * c->size, c->dtype, y, m, c->stream);
        }
        span.column += m;
        for (int32_t k = 0; k < c->op->inputs; k++) span.x[k] += m;
        if (span.keep) span.keep += m;
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

static inline void rows_gather_chunk(const row_call *c, char *const *p, char *const *next, int64_t chunk, double *own)
{
    row_part part = rows_part(c, p, rows_chunk_length(c, chunk), chunk * ROW_CHUNK);
    rows_ask(c, &part, next);
    c->op->partial(c->context, &part, own);
}

static inline void rows_emit_chunk(const row_call *c, char *const *p, int64_t chunk, double *own, const double *stats)
{
    const row_part part = rows_part(c, p, rows_chunk_length(c, chunk), chunk * ROW_CHUNK);
    if (!c->kept) rows_load(c, &part);
    if (!c->kept && c->op->again) c->op->again(c->context, &part, own);
    if (c->op->relate) c->op->relate(c->context, own, stats);
    char *kept = rows_kept_to(c, p);
    rows_emit(c, &part, p[0] + part.column * c->size, kept ? kept + part.column * c->size : NULL, own, stats);
}

/* From the partials of a row's chunks. */
static inline void rows_finish(const row_call *c, int64_t row, row_stats *partials, double *stats)
{
    memcpy(stats, partials[0], sizeof(row_stats));
    for (int64_t k = 1; k < c->chunks; k++) c->op->merge(stats, partials[k]);
    c->op->finish(c->context, row, c->n, stats);
}

/* ---- Rows ---- */

static inline void rows_serial(const row_call *c, int64_t row, int64_t end)
{
    row_stats *partials = rows_partials(c, cpu_thread()), stats;
    char *p[2 + ROW_INPUTS], *next[2 + ROW_INPUTS];
    rows_addresses(c, row, p);
    rows_addresses(c, row + 1 < end ? row + 1 : row, next);
    for (int64_t k = 0; k < c->chunks; k++) rows_gather_chunk(c, p, next, k, partials[k]);
    rows_finish(c, row, partials, stats);
    for (int64_t k = 0; k < c->chunks; k++) rows_emit_chunk(c, p, k, partials[k], stats);
}

/* One row by all threads; nothing is kept. */
static inline void rows_together(const row_call *c, int64_t row)
{
    row_stats *partials = rows_partials(c, 0), stats;
    char *p[2 + ROW_INPUTS];
    rows_addresses(c, row, p);
    CPU_PARALLEL_FOR(range, c->chunks, 4)
    {
        for (int64_t k = range.begin; k < range.end; k++) rows_gather_chunk(c, p, p, k, partials[k]);
    }
    rows_finish(c, row, partials, stats);
    CPU_PARALLEL_FOR(range, c->chunks, 4)
    {
        for (int64_t k = range.begin; k < range.end; k++) rows_emit_chunk(c, p, k, partials[k], stats);
        span_fence();
    }
}

/* The next of the dense rows of a block. */
static inline void rows_step(const row_call *c, row_part *part)
{
    for (int32_t k = 0; k < c->op->inputs; k++) {
        part->source.x[k] = (const char *)part->source.x[k] + c->n * c->size;
        part->source.ahead[k] += c->n * c->size;
        part->source.keep[k] += c->n;
        part->x[k] += c->n;
    }
    if (part->keep) part->keep += c->n;
}

/* Short dense rows, stage by stage: what one waits for, a sum of lanes or a square root, another one's work hides. Rows that a
 * span holds together are stored together. */
static inline void rows_block(const row_call *c, int64_t row, int64_t rows, int64_t end)
{
    SPAN_BUFFER(y);
    row_stats own[ROWS_AT_ONCE], stats[ROWS_AT_ONCE];
    char *p[2 + ROW_INPUTS], *next[2 + ROW_INPUTS];
    rows_addresses(c, row, p);
    const bool lines = LANES_PUTS && c->op->put && c->n % LANES_PUT == 0 && (uintptr_t)p[0] % 64 == 0;
    const int64_t together = 2 * c->n <= SPAN_MAX ? SPAN_MAX / c->n : 1;
    rows_addresses(c, row + 2 * rows <= end ? row + rows : row, next);
    row_part part = rows_part(c, p, c->n, 0);
    rows_ask(c, &part, next);
    for (int64_t r = 0; r < rows; r++, rows_step(c, &part)) c->op->partial(c->context, &part, own[r]);
    for (int64_t r = 0; r < rows; r++) {
        memcpy(stats[r], own[r], sizeof stats[r]);
        c->op->finish(c->context, row + r, c->n, stats[r]);
        if (c->op->relate) c->op->relate(c->context, own[r], stats[r]);
    }
    part = rows_part(c, p, c->n, 0);
    for (int64_t r = 0; lines && r < rows; r++, rows_step(c, &part))
        c->op->put(c->context, &part, own[r], stats[r], p[0] + r * c->n * c->size, c->dtype, c->stream);
    for (int64_t first = lines ? rows : 0, m; first < rows; first += m) {
        char *to = p[0] + first * c->n * c->size, *kept = rows_kept_to(c, p);
        if (kept) kept += first * c->n * c->size;
        m = rows - first < together ? rows - first : together;
        if (kept && m > 1) span_store(kept, c->dtype, part.keep, m * c->n, c->stream);
        for (int64_t r = first; r < first + m; r++, rows_step(c, &part))
            if (m > 1)
                c->op->emit(c->context, &part, own[r], stats[r], y + (r - first) * c->n);
            else
                rows_emit(c, &part, to, kept, own[r], stats[r]);
        if (m > 1) span_store(to, c->dtype, y, m * c->n, c->stream);
    }
}

static inline bool rows_are_dense(const row_call *c)
{
    bool dense = c->rows.ndim == 1;
    for (int32_t k = 0; k < c->rows.operands; k++) dense = dense && c->rows.stride[k][0] == c->n;
    return dense;
}

/* Rows of a block: as many as a chunk holds. */
static inline int64_t rows_at_once(const row_call *c)
{
    if (c->n == 0 || 2 * c->n > ROW_CHUNK || !rows_are_dense(c)) return 1;
    return ROW_BLOCK / c->n < 1 ? 1 : ROW_BLOCK / c->n < ROWS_AT_ONCE ? ROW_BLOCK / c->n : ROWS_AT_ONCE;
}

/* Each row by one thread. */
static inline void rows_apart(const row_call *c)
{
    const int64_t rows = c->rows.numel, grain = (CPU_GRAIN + c->n) / (c->n + 1), a_block = rows_at_once(c);
    CPU_PARALLEL_FOR(range, rows, grain)
    {
        for (int64_t row = range.begin, m; row < range.end; row += m) {
            m = range.end - row < a_block ? range.end - row : a_block;
            if (m > 1)
                rows_block(c, row, m, range.end);
            else
                rows_serial(c, row, range.end);
        }
        span_fence();
    }
}

/* ---- What an op does: rows_plan (its guards), TRINE_END_OF_QUERY with rows_bytes and what it needs itself, rows_run ---- */

/* tensors: the output, then the inputs, then what is kept if it is an output, of one dtype. */
static inline trine_status rows_plan(row_call *c, trine_call *call, const row_op *op, const void *context,
                                     const trine_tensor *const *tensors)
{
    *c = (row_call){.op = op, .context = context, .threads = cpu_threads(INT32_MAX, 1), .dtype = tensors[0]->dtype};
    const int32_t operands = 1 + op->inputs + (op->keeps == ROW_STORES_KEPT);
    for (int32_t k = 0; k < operands; k++) {
        TRINE_REQUIRE_THAT(call, trine_last_axis_dense(tensors[k]), "needs a last axis of stride 1");
        c->data[k] = tensors[k]->data;
    }
    c->rows = trine_iter_rows(tensors, operands, &c->n);
    c->chunks = c->n > ROW_CHUNK ? (c->n + ROW_CHUNK - 1) / ROW_CHUNK : 1;
    c->size = trine_dtype_bits(c->dtype) / 8;
    c->stream = span_should_stream(c->rows.numel * c->n * c->size);
    const bool few = c->rows.numel < c->threads && c->n > CPU_GRAIN;
    c->kept = c->chunks == 1 || (op->keeps && !few && c->n * (1 + (c->dtype == TRINE_F32)) <= ROW_KEPT);
    c->lane = c->kept && c->n > ROW_CHUNK ? (c->n + 15) / 16 * 16 : ROW_CHUNK;
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

/* All three, for an op that needs nothing else. */
static inline trine_status rows_call(trine_call *call, const row_op *op, const void *context, const trine_tensor *const *tensors)
{
    row_call c;
    const trine_status status = rows_plan(&c, call, op, context, tensors);
    if (status != TRINE_OK) return status;
    TRINE_END_OF_QUERY(call, rows_bytes(&c));
    rows_run(&c, call->workspace);
    return TRINE_OK;
}

#endif
