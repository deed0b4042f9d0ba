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

#include "backends/cpu/rows_both.h"

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
    const int64_t behind = (end - along->row) * c->n * c->size, ahead = ask_distance(ROW_AHEAD);
    for (int32_t k = 0; k < c->op->inputs; k++) from[k] = along->at.p[1 + k] + (ahead < behind ? ahead : 0);
    rows_ask(c, &part, from, along->rows * c->n);
    return part;
}

static inline void rows_block_gather(const row_call *c, rows_block *b, int64_t end)
{
    row_part part = rows_first(c, b, b, end);
    for (int64_t r = 0; r < b->rows; r++, rows_step(c, &part, c->n)) c->op->partial(c->context, &part, b->own[r]);
}

/* A block is read while another one is written, if the op can. */
static inline bool rows_both_blocks(const row_call *c, rows_block *b, const rows_block *before, int64_t end)
{
    if (!rows_may_both(c) || b->rows != before->rows || c->n % LANES_BLOCK != 0) return false;
    const row_part reads = rows_first(c, b, b, end), writes = rows_first(c, before, b, end);
    if (((uintptr_t)before->at.p[0] | (uintptr_t)writes.kept) % 64 != 0) return false;
    c->op->both(c->context, &reads, b->own, &writes, (const row_stats *)before->own, (const row_stats *)before->stats, b->rows,
                before->at.p[0], c->stream);
    return true;
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
    _Alignas(64) float y[ROW_BLOCK];
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
        b->at.keep += turn * ROW_BLOCK;
        if (row == range.begin || !rows_both_blocks(c, b, before, range.end)) {
            rows_block_gather(c, b, range.end);
            if (row > range.begin) rows_block_emit(c, before, b, range.end);
        }
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

/* Rows of a block; 0: not in blocks. */
static inline int64_t rows_of_block(const row_call *c)
{
    if (c->n == 0 || c->n > SPAN_MAX || !rows_are_dense(c)) return 0;
    return c->chunk / c->n < ROWS_AT_ONCE ? c->chunk / c->n : ROWS_AT_ONCE;
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
    c->chunk = ROW_CHUNK;
    c->chunks = c->n > c->chunk ? (c->n + c->chunk - 1) / c->chunk : 1;
    c->stream = span_should_stream(c->rows.numel * c->n * c->size);
    const bool few = c->rows.numel < c->threads && c->n > CPU_GRAIN;
    c->kept = c->chunks == 1 || (op->keeps && !few && c->n <= (op->keeps_most ? op->keeps_most : ROW_KEPT));
    c->lane = op->keeps == ROW_KEEPS_NOTHING ? 0 : c->kept && c->chunks > 1 ? (c->chunks + 1) * c->chunk : 2 * ROW_BLOCK;
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
