/* Rows [..., N] on the CPU: a statistic of each row, then its output. What softmax and the norms share.
 *
 * A row is read in chunks and written in chunks, and the two take turns: chunk k of a row is written when that of the row after it
 * has been read (of short dense rows a block of them is a chunk), so that memory reads and writes at once as it does in a copy.
 * (Zen 5, a copy that reads, then writes 16 KB: 71 % of one line by line, 4 KB 86 %, 1 KB 96 %.) Each pass asks for its share of
 * what lies some chunks ahead, so that memory works while a pass computes on what the caches hold. What a row's output needs of its
 * input is read again, from the L2 or L3 cache; what the op keeps of it lies in L1 and L2, up to ROW_KEPT floats.
 *
 * Each chunk gives a partial; partials are merged in the order of the chunks, whoever made them, so that results do not depend on
 * the number of threads. Threads take rows, or, where there are few, the chunks of a row. */
#ifndef TRINE_CPU_ROWS_H
#define TRINE_CPU_ROWS_H

#include "backends/cpu/lanes_store.h"
#include "backends/cpu/level.h"
#include "backends/cpu/span.h"
#include "core/backend.h"
#include "core/shape.h"

/* Elements of a chunk: as many of f32, twice as many of 16 bits, for a chunk costs some 150 cycles besides its elements; bytes from
 * what is read to what is asked for. */
enum {
    ROW_CHUNK = 1024,
    ROW_CHUNK_MOST = 2048,
    ROW_AHEAD = 8192,
    ROW_KEPT = 192 * 1024,
    ROW_STATS = 4,
    ROW_INPUTS = LANES_INPUTS
};
enum { ROWS_AT_ONCE = 64 };

/* Lines of memory that a pass asks for, for each block of elements. */
typedef struct row_request {
    const char *from[ROW_INPUTS];
    int lines;
} row_request;

/* Part of a row. `source`: its elements, and what partial's first pass asks for; `last`: what put asks for. x: the elements as f32, for emit alone. `keep`: what the op wrote there itself (ops that keep nothing: NULL). */
typedef struct row_part {
    lanes_input source;
    row_request last;
    const float *x[ROW_INPUTS];
    float *keep;
    int64_t n, column;
} row_part;

/* What an op does with part->keep: nothing; its partial and again write it; it is an output besides, the tensor after the inputs. */
enum { ROW_KEEPS_NOTHING, ROW_KEEPS, ROW_STORES_KEPT };

typedef struct row_op {
    int32_t inputs;
    int keeps;
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

/* The elements [i, i + LANES) of an input, in a put. */
#define ROW_AT(k) lanes_load(part->source.x[k], type_, i)
/* LANES_PUT_EACH that asks for what comes next. */
#define ROW_PUT_EACH(inputs, value) LANES_PUT_DOING(dtype, to, part->n, stream, row_ask(&part->last, inputs, at_), value)

LANES_INLINE void row_ask(const row_request *r, int inputs, int64_t i)
{
    if (i % LANES_BLOCK != 0) return;
    for (int k = 0; k < inputs; k++) lanes_ask(r->from[k] + i * r->lines, r->lines);
}

typedef struct row_call {
    const row_op *op;
    const void *context;
    trine_iter rows; /* operands: the output, then the inputs, then what is kept if it is an output */
    int64_t n, chunk, chunks;
    trine_dtype dtype;
    int64_t size;
    char *data[2 + ROW_INPUTS];
    bool stream, kept;
    int64_t lane; /* floats of scratch a thread has for what is kept */
    char *workspace;
    int threads;
} row_call;

typedef double row_stats[ROW_STATS];

/* ---- A thread's scratch: what the op keeps, then the partials of two rows ---- */

static inline size_t rows_scratch_bytes(const row_call *c)
{
    return ((size_t)c->lane * sizeof(float) + 2 * (size_t)c->chunks * sizeof(row_stats) + 63) & ~(size_t)63;
}

static inline char *rows_scratch(const row_call *c, int thread) { return c->workspace + (size_t)thread * rows_scratch_bytes(c); }

static inline row_stats *rows_partials(const row_call *c, int thread, int turn)
{
    return (row_stats *)(void *)(rows_scratch(c, thread) + (size_t)c->lane * sizeof(float)) + turn * c->chunks;
}

/* ---- Parts ---- */

static inline void rows_addresses(const row_call *c, int64_t row, char **p)
{
    int64_t offset[TRINE_ITER_OPERANDS];
    trine_iter_offsets(&c->rows, row, offset);
    for (int32_t k = 0; k < c->rows.operands; k++) p[k] = c->data[k] + offset[k] * c->size;
}

/* n elements, a chunk at most, at operands' addresses p from `column` of the row on. keep: where what the op keeps of them goes. */
static inline void rows_part(const row_call *c, row_part *part, char *const *p, int64_t n, int64_t column, float *keep)
{
    for (int32_t k = 0; k < c->op->inputs; k++) {
        part->source.x[k] = p[1 + k] + column * c->size;
        part->source.keep[k] = NULL;
    }
    part->source.dtype = c->dtype;
    part->source.n = part->n = n;
    part->column = column;
    part->keep = c->op->keeps ? keep : NULL;
}

/* From `next` on: half of it in partial, half in put if there is one. */
static inline void rows_ask(const row_call *c, row_part *part, char *const *next)
{
    part->last.lines = c->op->put ? (int)c->size / 2 : 0;
    part->source.lines = (int)c->size - part->last.lines;
    for (int32_t k = 0; k < c->op->inputs; k++) {
        part->source.ahead[k] = next[k];
        part->last.from[k] = next[k] + part->n / LANES_BLOCK * 64 * part->source.lines;
    }
}

/* What a second pass over one input of a part takes. */
static inline lanes_input rows_second(const row_part *part, int input)
{
    return (lanes_input){.x = {part->source.x[input]}, .dtype = part->source.dtype, .n = part->n};
}

/* Lines that are put straight from registers begin on lines. What is before the first one and behind the last is emitted. */
static inline int64_t rows_span(const row_call *c, const char *to, int64_t left, bool *put)
{
    const int64_t off = (int64_t)((uintptr_t)to % 64);
    *put = LANES_PUTS && c->op->put && left >= LANES_PUT && off % c->size == 0;
    if (!*put || off == 0) return *put ? left / LANES_PUT * LANES_PUT : span_length(to, c->dtype, left);
    *put = false;
    return (64 - off) / c->size;
}

/* Where what is kept of operands at p goes; NULL: nowhere. */
static inline char *rows_kept_to(const row_call *c, char *const *p)
{
    return c->op->keeps == ROW_STORES_KEPT ? p[1 + c->op->inputs] : NULL;
}

/* At most SPAN_MAX elements, to y. */
static inline void rows_emit_span(const row_call *c, const row_part *span, const double *own, const double *stats, float *y)
{
    _Alignas(64) float x[ROW_INPUTS][SPAN_MAX];
    row_part part = *span;
    for (int32_t k = 0; k < c->op->inputs; k++) part.x[k] = span_load(x[k], part.source.x[k], c->dtype, part.n);
    c->op->emit(c->context, &part, own, stats, y);
}

/* Of dense rows the next one. m: elements from one to the next. */
static inline void rows_step(const row_call *c, row_part *part, int64_t m)
{
    for (int32_t k = 0; k < c->op->inputs; k++) {
        part->source.x[k] = (const char *)part->source.x[k] + m * c->size;
        part->source.ahead[k] += m * part->source.lines;
        part->last.from[k] += m * part->last.lines;
    }
    if (part->keep) part->keep += m;
}

/* Takes the part along. kept: where part->keep is stored, or NULL. */
static inline void rows_emit(const row_call *c, row_part *part, char *to, char *kept, const double *own, const double *stats)
{
    SPAN_BUFFER(y);
    const int64_t n = part->n;
    for (int64_t i = 0, m; i < n; i += m) {
        bool put;
        m = part->n = rows_span(c, to + i * c->size, n - i, &put);
        if (kept && put) span_store(kept + i * c->size, c->dtype, part->keep, m, c->stream);
        if (put) {
            c->op->put(c->context, part, own, stats, to + i * c->size, c->dtype, c->stream);
        } else {
            rows_emit_span(c, part, own, stats, y);
            if (kept) span_store(kept + i * c->size, c->dtype, part->keep, m, c->stream);
            span_store(to + i * c->size, c->dtype, y, m, c->stream);
        }
        part->column += m;
        if (i + m < n) rows_step(c, part, m);
    }
}

/* ---- Chunks of long rows ---- */

/* A row's addresses, and what is kept of its chunks: of chunk k in the slot number first + k of a ring, which has one more than a
 * row has chunks, or of every chunk in one slot. */
typedef struct rows_place {
    char *p[2 + ROW_INPUTS];
    float *keep;
    int64_t first;
} rows_place;

static inline rows_place rows_at(const row_call *c, int64_t row, int64_t first)
{
    rows_place at = {.keep = (float *)(void *)rows_scratch(c, cpu_thread()), .first = first};
    rows_addresses(c, row, at.p);
    return at;
}

static inline float *rows_slot(const row_call *c, const rows_place *at, int64_t chunk)
{
    const int64_t slot = at->first + chunk;
    return at->keep + (c->kept ? (slot > c->chunks ? slot - c->chunks - 1 : slot) * c->chunk : 0);
}

static inline void rows_chunk(const row_call *c, row_part *part, const rows_place *at, int64_t chunk)
{
    const int64_t column = chunk * c->chunk, n = c->n - column < c->chunk ? c->n - column : c->chunk;
    rows_part(c, part, at->p, n, column, rows_slot(c, at, chunk));
}

/* Has the part ask for what is ROW_AHEAD behind `column` of a row, in it or in the next one. */
static inline void rows_ask_along(const row_call *c, row_part *part, int64_t column, const rows_place *at, const rows_place *next)
{
    char *from[ROW_INPUTS];
    column += ROW_AHEAD / c->size;
    for (int32_t k = 0; k < c->op->inputs; k++)
        from[k] = column < c->n ? at->p[1 + k] + column * c->size : next->p[1 + k] + (column - c->n) / 64 * 64 * c->size;
    rows_ask(c, part, from);
}

static inline void rows_gather_chunk(const row_call *c, const rows_place *at, const rows_place *next, int64_t chunk, double *own)
{
    row_part part;
    rows_chunk(c, &part, at, chunk);
    rows_ask_along(c, &part, part.column, at, next);
    c->op->partial(c->context, &part, own);
}

/* What is asked for is that of the part that is gathered with it, the same chunk of `along`. */
static inline void rows_emit_chunk(const row_call *c, const rows_place *at, const rows_place *along, const rows_place *next,
                                   int64_t chunk, double *own, const double *stats)
{
    row_part part;
    rows_chunk(c, &part, at, chunk);
    rows_ask_along(c, &part, part.column, along, next);
    if (!c->kept && c->op->again) c->op->again(c->context, &part, own);
    if (c->op->relate) c->op->relate(c->context, own, stats);
    char *kept = rows_kept_to(c, (char *const *)at->p);
    rows_emit(c, &part, at->p[0] + part.column * c->size, kept ? kept + part.column * c->size : NULL, own, stats);
}

/* Rows by one thread. A chunk is written when that of the row after it has been read, so that memory reads and writes at once, and
 * what one of the two waits for the other one's work hides. */
static inline void rows_apart(const row_call *c, cpu_range range)
{
    row_stats *partials[2] = {rows_partials(c, cpu_thread(), 0), rows_partials(c, cpu_thread(), 1)}, stats[2];
    rows_place place[3];
    place[range.begin % 3] = rows_at(c, range.begin, 0);
    for (int64_t row = range.begin; row <= range.end; row++) {
        const bool reads = row<range.end, writes = row> range.begin;
        row_stats *own = partials[row % 2], *others = partials[(row + 1) % 2];
        double *total = stats[row % 2], *before = stats[(row + 1) % 2];
        const rows_place *at = &place[row % 3], *next = at;
        if (row + 1 < range.end) next = &place[(row + 1) % 3];
        if (next != at) place[(row + 1) % 3] = rows_at(c, row + 1, (at->first + c->chunks) % (c->chunks + 1));
        for (int64_t k = 0; k < c->chunks; k++) {
            if (reads) rows_gather_chunk(c, at, next, k, own[k]);
            if (reads && k > 0) c->op->merge(total, own[k]);
            if (reads && k == 0) memcpy(total, own[k], sizeof own[k]);
            if (writes && k == 0) c->op->finish(c->context, row - 1, c->n, before);
            if (writes) rows_emit_chunk(c, &place[(row + 2) % 3], reads ? at : &place[(row + 2) % 3], next, k, others[k], before);
        }
    }
}

/* One row by all threads; nothing is kept. */
static inline void rows_together(const row_call *c, int64_t row)
{
    row_stats *partials = rows_partials(c, 0, 0), stats;
    CPU_PARALLEL_FOR(range, c->chunks, 16)
    {
        const rows_place at = rows_at(c, row, 0);
        for (int64_t k = range.begin; k < range.end; k++) rows_gather_chunk(c, &at, &at, k, partials[k]);
    }
    memcpy(stats, partials[0], sizeof stats);
    for (int64_t k = 1; k < c->chunks; k++) c->op->merge(stats, partials[k]);
    c->op->finish(c->context, row, c->n, stats);
    CPU_PARALLEL_FOR(range, c->chunks, 16)
    {
        const rows_place at = rows_at(c, row, 0);
        for (int64_t k = range.begin; k < range.end; k++) rows_emit_chunk(c, &at, &at, &at, k, partials[k], stats);
        span_fence();
    }
}

/* ---- Blocks of short dense rows ---- */

/* Rows that are taken together, and their numbers. */
typedef struct rows_block {
    int64_t row, rows;
    rows_place at;
    row_stats own[ROWS_AT_ONCE], stats[ROWS_AT_ONCE];
} rows_block;

/* The part that a block begins with; it asks for what is ROW_AHEAD behind it, up to row `end`. */
static inline row_part rows_first(const row_call *c, const rows_block *b, const rows_block *along, int64_t end)
{
    char *from[ROW_INPUTS];
    row_part part;
    rows_part(c, &part, b->at.p, c->n, 0, b->at.keep);
    const int64_t bytes = c->n * c->size, behind = (end - along->row) * bytes;
    for (int32_t k = 0; k < c->op->inputs; k++) from[k] = along->at.p[1 + k] + (ROW_AHEAD < behind ? ROW_AHEAD : 0);
    rows_ask(c, &part, from);
    return part;
}

static inline void rows_block_gather(const row_call *c, rows_block *b, int64_t end)
{
    row_part part = rows_first(c, b, b, end);
    for (int64_t r = 0; r < b->rows; r++, rows_step(c, &part, c->n)) c->op->partial(c->context, &part, b->own[r]);
}

static inline void rows_block_finish(const row_call *c, rows_block *b)
{
    for (int64_t r = 0; r < b->rows; r++) {
        memcpy(b->stats[r], b->own[r], sizeof b->stats[r]);
        c->op->finish(c->context, b->row + r, c->n, b->stats[r]);
        if (c->op->relate) c->op->relate(c->context, b->own[r], b->stats[r]);
    }
}

/* Rows that a span holds together are stored together. */
static inline void rows_block_emit(const row_call *c, const rows_block *b, const rows_block *along, int64_t end)
{
    SPAN_BUFFER(y);
    char *to = b->at.p[0], *kept = rows_kept_to(c, (char *const *)b->at.p);
    const bool lines = LANES_PUTS && c->op->put && c->n % LANES_PUT == 0 && (uintptr_t)to % 64 == 0;
    const int64_t n = c->n;
    row_part part = rows_first(c, b, along, end);
    for (int64_t r = 0; r < b->rows; r++, rows_step(c, &part, n))
        if (lines)
            c->op->put(c->context, &part, b->own[r], b->stats[r], to + r * n * c->size, c->dtype, c->stream);
        else
            rows_emit_span(c, &part, b->own[r], b->stats[r], y + r * n);
    if (kept) span_store(kept, c->dtype, b->at.keep, b->rows * n, c->stream);
    if (lines) return;
    span_store(to, c->dtype, y, b->rows * n, c->stream);
}

/* A block is written when the one after it has been read, and while that one's numbers are on their way. */
static inline void rows_in_blocks(const row_call *c, cpu_range range, int64_t rows)
{
    rows_block block[2];
    int turn = 0;
    for (int64_t row = range.begin; row < range.end; row += rows, turn ^= 1) {
        rows_block *b = &block[turn], *before = &block[turn ^ 1];
        b->row = row;
        b->rows = range.end - row < rows ? range.end - row : rows;
        b->at = rows_at(c, row, 0);
        b->at.keep += turn * c->chunk;
        rows_block_gather(c, b, range.end);
        if (row > range.begin) rows_block_emit(c, before, b, range.end);
        rows_block_finish(c, b);
    }
    if (range.begin < range.end) rows_block_emit(c, &block[turn ^ 1], &block[turn ^ 1], range.end);
}

static inline bool rows_are_dense(const row_call *c)
{
    bool dense = c->rows.ndim == 1;
    for (int32_t k = 0; k < c->rows.operands; k++) dense = dense && c->rows.stride[k][0] == c->n;
    return dense;
}

/* Rows of a block: as many as a chunk and a span hold; 0: not in blocks. */
static inline int64_t rows_of_block(const row_call *c)
{
    if (c->n == 0 || c->n > SPAN_MAX || !rows_are_dense(c)) return 0;
    return SPAN_MAX / c->n < ROWS_AT_ONCE ? SPAN_MAX / c->n : ROWS_AT_ONCE;
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
    c->size = trine_dtype_bits(c->dtype) / 8;
    c->chunk = c->size == 4 ? ROW_CHUNK : ROW_CHUNK_MOST;
    c->chunks = c->n > c->chunk ? (c->n + c->chunk - 1) / c->chunk : 1;
    c->stream = span_should_stream(c->rows.numel * c->n * c->size);
    const bool few = c->rows.numel < c->threads && c->n > CPU_GRAIN;
    c->kept = c->chunks == 1 || (op->keeps && !few && c->n <= ROW_KEPT);
    c->lane = op->keeps == ROW_KEEPS_NOTHING ? 0 : c->kept && c->chunks > 1 ? (c->chunks + 1) * c->chunk : 2 * c->chunk;
    call->variant = TRINE_CPU_VARIANT;
    return TRINE_OK;
}

static inline size_t rows_bytes(const row_call *c) { return (size_t)c->threads * rows_scratch_bytes(c); }

/* workspace: of rows_bytes. */
static inline void rows_run(row_call *c, void *workspace)
{
    c->workspace = workspace;
    if (!c->kept && c->threads > 1 && c->chunks > 1 && c->rows.numel < 4 * c->threads) {
        for (int64_t row = 0; row < c->rows.numel; row++) rows_together(c, row);
        return;
    }
    const int64_t rows = c->rows.numel, block = rows_of_block(c);
    CPU_PARALLEL_FOR(range, rows, (CPU_GRAIN + c->n) / (c->n + 1))
    {
        if (block > 0)
            rows_in_blocks(c, range, block);
        else
            rows_apart(c, range);
        span_fence();
    }
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
