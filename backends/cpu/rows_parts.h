/* Parts of rows, and long rows in chunks, for rows.h. */
#ifndef TRINE_CPU_ROWS_PARTS_H
#define TRINE_CPU_ROWS_PARTS_H

#include "backends/cpu/lanes_store.h"
#include "backends/cpu/level.h"
#include "backends/cpu/span.h"
#include "core/backend.h"
#include "core/shape.h"

enum {
    ROW_CHUNK = 2048,       /* elements; one costs some 150 cycles besides them */
    ROW_AHEAD = 8192,       /* bytes from what is read to what is asked for */
    ROW_AHEAD_INTEL = 3072, /* but of rows that are read from memory twice, of ROW_FAR bytes and more */
    ROW_FAR = 1 << 20,
    ROW_KEPT = 320 * 1024, /* floats that a thread may keep */
    ROW_APART = 4096,      /* bytes between threads' scratch, for processors fetch ahead of what is read */
    ROW_STATS = 4,
    ROW_INPUTS = LANES_INPUTS
};
enum { ROWS_AT_ONCE = 64, ROW_BLOCK = 2048 };

/* Lines of memory that a pass asks for, for each block of elements. */
typedef struct row_request {
    const char *from[ROW_INPUTS];
    int lines;
} row_request;

/* Part of a row. `source`: its elements, and what partial's first pass asks for; `last`: what put asks for. x: the elements as
 * f32, for emit alone. `keep`: what the op wrote there itself (ops that keep nothing: NULL). */
typedef struct row_part {
    lanes_input source;
    row_request last;
    const float *x[ROW_INPUTS];
    float *keep;
    char *kept; /* where rows_both.h stores what is kept, or NULL */
    int64_t n, column;
} row_part;

/* What an op does with part->keep: nothing; its partial and again write it; it is an output besides, the tensor behind
 * the inputs. */
enum { ROW_KEEPS_NOTHING, ROW_KEEPS, ROW_STORES_KEPT };

typedef double row_stats[ROW_STATS];
typedef void (*row_both_fn)(const void *context, const row_part *reads, row_stats *own, const row_part *writes,
                            const row_stats *their_own, const row_stats *stats, int64_t rows, void *to, bool stream);

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
    /* partial of `rows` dense rows or of a chunk, and put of as many others, by turns (rows_both.h); NULL for ops that don't */
    row_both_fn both;
    int64_t keeps_most; /* floats of a row beyond which nothing is kept; 0: ROW_KEPT */
    bool both_again;    /* `both` reads nothing of what is kept */
} row_op;
#define ROW_PUT(name) \
    static void name(const void *context, const row_part *part, const double own[ROW_STATS], const double stats[ROW_STATS], \
                     void *to, trine_dtype dtype, bool stream)

/* The elements [i, i + LANES) of an input, in a put. */
#define ROW_AT(k) lanes_load(part->source.x[k], type_, i)
/* LANES_PUT_EACH that asks for what comes next. */
#define ROW_PUT_EACH(inputs, value) LANES_PUT_ASKING(dtype, to, part->n, stream, row_ask(&part->last, inputs, i), value)

/* Before vector i of a put: a line, while its block has some. */
LANES_INLINE void row_ask(const row_request *r, int inputs, int64_t i)
{
    const int64_t block = i / LANES_BLOCK, vector = i % LANES_BLOCK / LANES;
    if (vector >= r->lines) return;
    for (int k = 0; k < inputs; k++) ask_for_line(r->from[k] + (block * r->lines + vector) * 64);
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

/* ---- A thread's scratch: what the op keeps, then the partials of two rows ---- */

static inline size_t rows_scratch_bytes(const row_call *c)
{
    return ((size_t)c->lane * sizeof(float) + 2 * (size_t)c->chunks * sizeof(row_stats) + 63 + ROW_APART) & ~(size_t)63;
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

/* Where what is kept of operands at p goes; NULL: nowhere. */
static inline char *rows_kept_to(const row_call *c, char *const *p)
{
    return c->op->keeps == ROW_STORES_KEPT ? p[1 + c->op->inputs] : NULL;
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
    part->kept = rows_kept_to(c, p);
    if (part->kept) part->kept += column * c->size;
}

/* What n elements from `next` on hold: half of it in partial, half in put if there is one. */
static inline void rows_ask(const row_call *c, row_part *part, char *const *next, int64_t n)
{
    part->last.lines = c->op->put ? (int)c->size / 2 : 0;
    part->source.lines = (int)c->size - part->last.lines;
    for (int32_t k = 0; k < c->op->inputs; k++) {
        part->source.ahead[k] = next[k];
        part->last.from[k] = next[k] + n / LANES_BLOCK * 64 * part->source.lines;
    }
}

/* Whether what the op keeps, if it does, is there when it is written. */
static inline bool rows_may_both(const row_call *c)
{
    return LANES_PUTS && c->n > 0 && c->op->both && (c->op->keeps == ROW_KEEPS_NOTHING || c->kept || c->op->both_again);
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
    column += (prefers_l2() && c->n * c->size < ROW_FAR ? ROW_AHEAD_INTEL : ROW_AHEAD) / c->size;
    for (int32_t k = 0; k < c->op->inputs; k++) { /* it may lie outside of the tensor: no arithmetic of pointers */
        const uintptr_t here = (uintptr_t)at->p[1 + k], there = (uintptr_t)next->p[1 + k];
        from[k] = (char *)(column < c->n ? here + (uintptr_t)(column * c->size)
                                         : there + (uintptr_t)((column - c->n) / 64 * 64 * c->size));
    }
    rows_ask(c, part, from, part->n);
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

/* A chunk of one row is read while that of another is written, if the op can. */
static inline bool rows_both_chunks(const row_call *c, const rows_place *reads, const rows_place *writes, const rows_place *next,
                                    int64_t chunk, row_stats *own, row_stats *theirs, const row_stats *stats)
{
    row_part in, out;
    if (!rows_may_both(c)) return false;
    rows_chunk(c, &out, writes, chunk);
    char *to = writes->p[0] + out.column * c->size;
    if (out.n % LANES_BLOCK != 0 || ((uintptr_t)to | (uintptr_t)out.kept) % 64 != 0) return false;
    rows_chunk(c, &in, reads, chunk);
    rows_ask_along(c, &in, in.column, reads, next);
    if (c->op->relate) c->op->relate(c->context, theirs[chunk], *stats);
    c->op->both(c->context, &in, own + chunk, &out, (const row_stats *)theirs + chunk, stats, 1, to, c->stream);
    return true;
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
            if (writes && k == 0) c->op->finish(c->context, row - 1, c->n, before);
            const bool both = reads && writes &&
                              rows_both_chunks(c, at, &place[(row + 2) % 3], next, k, own, others, (const row_stats *)before);
            if (reads && !both) rows_gather_chunk(c, at, next, k, own[k]);
            if (reads && k > 0) c->op->merge(total, own[k]);
            if (reads && k == 0) memcpy(total, own[k], sizeof own[k]);
            if (writes && !both)
                rows_emit_chunk(c, &place[(row + 2) % 3], reads ? at : &place[(row + 2) % 3], next, k, others[k], before);
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

#endif
