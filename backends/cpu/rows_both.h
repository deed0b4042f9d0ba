/* Rows that are summed while others are written, in one loop, for rows.h: of every block of elements first the one that is read
 * from memory, then the one that goes there. Requests for memory have no gaps, such as calls between a pass that reads and one that
 * writes leave (Zen 5, l2_normalize in f32: 75 % of a copy with a pass after the other, chunk by chunk). */
#ifndef TRINE_CPU_ROWS_BOTH_H
#define TRINE_CPU_ROWS_BOTH_H

#include "backends/cpu/rows_parts.h"

/* Elements of a row that a loop has come to: all addresses are of its first one. */
typedef struct row_cursor {
    const char *x[ROW_INPUTS];
    float *keep;
    char *kept; /* where what is kept is stored when it is written, or NULL */
    int64_t column;
    bool stream;
} row_cursor;

LANES_INLINE row_cursor row_cursor_of(const row_part *part, int inputs, int64_t from, int64_t size, bool stream)
{
    row_cursor c = {.keep = part->keep ? part->keep + from : NULL,
                    .kept = part->kept ? part->kept + from * size : NULL,
                    .column = part->column,
                    .stream = stream};
    for (int k = 0; k < inputs; k++) c.x[k] = (const char *)part->source.x[k] + from * size;
    return c;
}

/* Row number r of a part. */
static inline __attribute__((unused)) row_part row_of_part(const row_part *part, int64_t r)
{
    row_part own = *part;
    for (int k = 0; k < ROW_INPUTS; k++) {
        own.source.x[k] = (const char *)part->source.x[k] + r * part->n * lanes_size(part->source.dtype);
        own.source.ahead[k] = part->source.x[k];
    }
    own.source.lines = 0;
    if (part->keep) own.keep = part->keep + r * part->n;
    return own;
}

/* Defines a row_op's `both`, of parts of whole blocks. With cursors c, constants `type` and the first element i of a block:
 *   sums         a struct of what is summed
 *   begin        void (sums *, context, c, type)
 *   more         void (sums *, c, type, i): adds the block
 *   end          void (const sums *, context, const row_part *, double stats[]): what partial gives
 *   factors      a struct of numbers of the row that is written
 *   relate       void (factors *, context, c, own, stats)
 *   values       void (const factors *, c, type, i, f32x16 y[4]): the block's outputs */
#define ROW_BOTH_AS(type, inputs, sums, begin, more, end, factors, relate, values) \
    for (int64_t r = 0; r < rows; r++) { \
        const int64_t size_ = lanes_size(type), from_ = r * n; \
        const row_cursor in = row_cursor_of(reads, inputs, from_, size_, stream), \
                         out = row_cursor_of(writes, inputs, from_, size_, stream); \
        char *const to_ = (char *)to + from_ * size_; \
        const char *ahead_[ROW_INPUTS], *next_[ROW_INPUTS]; \
        for (int k = 0; k < (inputs); k++) ahead_[k] = reads->source.ahead[k] + from_ * size_; \
        sums s_; \
        factors f_; \
        begin(&s_, context, &in, type); \
        relate(&f_, context, &out, their_own[r], stats[r]); \
        for (int64_t i = 0; i < n; i += LANES_BLOCK) { \
            f32x16 y_[4]; \
            more(&s_, &in, type, i); \
            values(&f_, &out, type, i, y_); \
            for (int k = 0; k < (inputs); k++) next_[k] = ahead_[k] + i * size_; \
            lanes_put_asking(to_ + i * size_, type, y_, 4, stream, next_, inputs); \
        } \
        const row_part own_ = row_of_part(reads, r); \
        end(&s_, context, &own_, own[r]); \
    }
#define ROW_BOTH(name, ...) \
    static __attribute__((unused)) void name(const void *context, const row_part *reads, row_stats *own, const row_part *writes, \
                                             const row_stats *their_own, const row_stats *stats, int64_t rows, void *to, \
                                             bool stream) \
    { \
        const int64_t n = reads->n; \
        if (!LANES_PUTS) return; \
        if (reads->source.dtype == TRINE_F32) \
            ROW_BOTH_AS(TRINE_F32, __VA_ARGS__) \
        else if (reads->source.dtype == TRINE_BF16) \
            ROW_BOTH_AS(TRINE_BF16, __VA_ARGS__) \
        else \
            ROW_BOTH_AS(TRINE_F16, __VA_ARGS__) \
    }
#define ROW_EACH(statement) \
    do { \
        _Pragma("GCC unroll 4") for (int k = 0; k < 4; k++) { statement; } \
    } while (0)
#define ROW_LOAD(c, input) lanes_load((c)->x[input], type, i + LANES * k)

#endif
