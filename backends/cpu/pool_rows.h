/* Pieces of rows for pooling on the CPU: how they are read, held and written. See pool.c. */
#ifndef TRINE_CPU_POOL_ROWS_H
#define TRINE_CPU_POOL_ROWS_H

#include "backends/cpu/walk.h"
#include "core/pool_plan.h"

typedef struct job {
    trine_pool_plan plan;
    trine_dtype dtype, index_dtype;
    int64_t size, index_size;
    const char *from;
    char *to, *indices; /* NULL: none */
    bool average, include_pad, stream;
} job;

enum { SMALL, LARGE, INDEX }; /* operands of the plan */
enum { PIECE = 4096, HELD = 3 * PIECE };

/* Backward along an axis by at most POOL_TAPS with windows of at most as many: place stride m + q meets the outputs m + shift[q][t],
 * t < count[q], in the order of taps. */
enum { POOL_TAPS = 8 };
typedef struct pool_steps {
    int count[POOL_TAPS], shift[POOL_TAPS][POOL_TAPS];
} pool_steps;

static inline int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

static inline bool pool_has_steps(const trine_pool_axis *a) { return a->stride <= POOL_TAPS && a->kernel <= POOL_TAPS; }

static inline pool_steps pool_steps_of(const trine_pool_axis *a)
{
    pool_steps s = {{0}, {{0}}};
    for (int32_t k = 0; k < a->kernel; k++) {
        const int64_t ahead = a->padding - (int64_t)k * a->dilation, q = floor_div(ahead, a->stride) * a->stride - ahead;
        const int64_t phase = q < 0 ? q + a->stride : 0;
        s.shift[phase][s.count[phase]++] = (int)((ahead + phase) / a->stride);
    }
    return s;
}

/* Columns [first, first + count) of a row, channels [channel, channel + inner). */
typedef struct piece {
    const int64_t *plane;
    int64_t row, first, count, channel, inner;
} piece;

/* Elements of a piece: outputs or, backward, what came to the outputs. column: of the first tap, relative to the first element's.
 */
typedef struct buffers {
    _Alignas(64) float value[PIECE], held[HELD], taps[PIECE];
    _Alignas(64) int32_t where[PIECE], column[PIECE];
    int64_t numbered, numbered_inner; /* what column[] was made for, and taps[]: elements in the windows of a row */
    int64_t counted, counted_first;
} buffers;

static inline const char *at(const job *j, const char *data, int k, const piece *e, int64_t row, int64_t column)
{
    const trine_pool_plan *p = &j->plan;
    const int64_t size = k == INDEX ? j->index_size : j->size;
    return data + (e->plane[k] + row * p->row[k] + column * p->column[k] + e->channel * p->step[k]) * size;
}

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static inline void load_block(const job *j, float *to, const char *from, int64_t n)
{
    for (int64_t i = 0, m; i < n; i += m, to += m) {
        m = least(n - i, SPAN_MAX);
        const float *x = span_load(to, from + i * j->size, j->dtype, m);
        if (x != to) memcpy(to, x, (size_t)m * sizeof *to);
    }
}

/* count columns of operand k, `step` apart, as blocks of channels one behind the other. */
static inline void load_columns(const job *j, float *to, int k, const piece *e, int64_t row, int64_t column, int64_t step,
                                int64_t count)
{
    const bool channels = e->inner > 1;
    const int64_t apart = j->plan.column[k] * step, runs = channels && apart != e->inner ? count : 1,
                  n = count * e->inner / (runs ? runs : 1);
    const char *from = at(j, j->from, k, e, row, column);
    if (e->inner == 1 && apart != 1)
        for (int64_t i = 0, m; i < n; i += m) {
            m = least(n - i, SPAN_MAX);
            (void)span_load_strided(to + i, from + i * apart * j->size, j->dtype, m, apart);
        }
    else
        for (int64_t r = 0; r < runs; r++) load_block(j, to + r * n, from + r * apart * j->size, n);
}

/* The reverse. */
static inline void store_columns(const job *j, const float *from, int k, const piece *e, int64_t column, int64_t step,
                                 int64_t count)
{
    const bool channels = e->inner > 1;
    const int64_t apart = j->plan.column[k] * step, runs = channels && apart != e->inner ? count : 1,
                  n = count * e->inner / (runs ? runs : 1);
    char *to = (char *)at(j, j->to, k, e, e->row, column);
    for (int64_t r = 0; r < runs; r++, to += apart * j->size, from += n)
        cpu_store(to, j->dtype, from, n, channels ? 1 : apart, j->stream);
}

/* Of the same piece again they stand already. */
static inline void number_columns(buffers *b, const piece *e, int64_t count, int64_t step)
{
    if (b->numbered == count * e->inner && b->numbered_inner == e->inner) return;
    for (int64_t i = 0; i < count; i++)
        for (int64_t k = 0; k < e->inner; k++) b->column[i * e->inner + k] = (int32_t)(i * step);
    b->numbered = count * e->inner;
    b->numbered_inner = e->inner;
}

/* Values of count outputs from `first` on of row o by how many elements each window has. A row's windows are counted once. */
static inline void divide(const job *j, const piece *e, buffers *b, int64_t o, int64_t first, int64_t count)
{
    const float deep = (float)trine_pool_taps(&j->plan.height, (int32_t)o, j->include_pad);
    if (b->counted != count || b->counted_first != first) {
        for (int64_t i = 0; i < count; i++)
            b->taps[i] = (float)trine_pool_taps(&j->plan.width, (int32_t)(first + i), j->include_pad);
        b->counted = count;
        b->counted_first = first;
    }
    if (e->inner == 1)
        for (int64_t i = 0; i < count; i++) b->value[i] /= deep * b->taps[i];
    else
        for (int64_t i = 0; i < count; i++) {
            const float taps = deep * b->taps[i];
            for (int64_t k = 0; k < e->inner; k++) b->value[i * e->inner + k] /= taps;
        }
}

/* Between indices of count columns from `p` on and `where`. */
#define MOVE_INDICES(name, type, to, from) \
    static void name(type *p, int32_t *where, int64_t count, int64_t inner, int64_t column, int64_t step) \
    { \
        const bool dense = (inner == 1 || step == 1) && (inner == 1 ? column == 1 : column == inner); \
        for (int64_t i = 0; dense && i < count * inner; i++) { \
            type *const index = &p[i]; \
            int32_t *const own = &where[i]; \
            *to = (__typeof__(*to))*from; \
        } \
        for (int64_t i = 0; !dense && i < count; i++) \
            for (int64_t k = 0; k < inner; k++) { \
                type *const index = &p[i * column + k * step]; \
                int32_t *const own = &where[i * inner + k]; \
                *to = (__typeof__(*to))*from; \
            } \
    }
MOVE_INDICES(put_i32, int32_t, index, own)
MOVE_INDICES(put_i64, int64_t, index, own)
MOVE_INDICES(get_i32, int32_t, own, index)
MOVE_INDICES(get_i64, int64_t, own, index)

static inline void move_indices(const job *j, const piece *e, int64_t row, int64_t column, int64_t count, int32_t *where,
                                bool put)
{
    const trine_pool_plan *p = &j->plan;
    void *to = (char *)at(j, j->indices, INDEX, e, row, column);
    if (j->index_dtype == TRINE_I32)
        (put ? put_i32 : get_i32)(to, where, count, e->inner, p->column[INDEX], p->step[INDEX]);
    else
        (put ? put_i64 : get_i64)(to, where, count, e->inner, p->column[INDEX], p->step[INDEX]);
}

/* ---- Phases ---- */

/* Places a phase has for the taps of all outputs of a piece. */
static inline int64_t places_of(const trine_pool_axis *a, int64_t count)
{
    return count + (int64_t)(a->kernel - 1) * a->dilation / a->stride;
}

/* m columns, the first of which belongs to a place of phase `phase`: to[] are the phases from that place on. */
static inline void part_columns(float *held, const float *x, int64_t m, int64_t stride, int64_t places, int64_t phase,
                                int64_t place)
{
    if (stride == 1) {
        memcpy(held + place, x, (size_t)m * sizeof *x);
        return;
    }
    if (stride == 2) {
        float *restrict own = held + phase * places + place, *restrict other = held + (1 - phase) * places + place + phase;
        for (int64_t i = 0; i < m / 2; i++) {
            own[i] = x[2 * i];
            other[i] = x[2 * i + 1];
        }
        if (m % 2) own[m / 2] = x[m - 1];
        return;
    }
    for (int64_t i = 0; i < m; i++, phase++) {
        if (phase == stride) phase = 0, place++;
        held[phase * places + place] = x[i];
    }
}

/* Row h of the input for a piece; place 0 of phase 0 is at the first tap of the first output. The row that the next outputs bring
 * is asked for. */
static inline void load_phases(const job *j, const piece *e, buffers *b, int64_t h)
{
    const trine_pool_plan *p = &j->plan;
    const int64_t s = p->width.stride, places = places_of(&p->width, e->count), base = e->first * s - p->width.padding,
                  begin = base < 0 ? 0 : base, end = least(p->width.in, base + places * s), step = p->column[LARGE],
                  ahead = h + p->height.stride < p->height.in ? p->height.stride * p->row[LARGE] * j->size : 0;
    SPAN_BUFFER(buffer);
    int64_t phase = (begin - base) % s, place = (begin - base) / s;
    for (int64_t c = begin, m; c < end; c += m) {
        const char *from = at(j, j->from, LARGE, e, h, c);
        if (e->inner > 1) {
            m = 1;
            load_block(j, b->held + (phase * places + place) * e->inner, from, e->inner);
            span_prefetch(from + ahead, e->inner * j->size);
        } else {
            m = least(end - c, SPAN_MAX);
            part_columns(b->held, cpu_load(buffer, from, j->dtype, m, step), m, s, places, phase, place);
            if (step == 1) span_prefetch(from + ahead, m * j->size);
        }
        place += (phase + m) / s;
        phase = (phase + m) % s;
    }
}

/* Columns in their order, from phases. */
static inline void join_columns(float *restrict to, const float *restrict held, int64_t count, int64_t inner, int64_t stride,
                                int64_t places)
{
    if (inner == 1 && stride == 2) {
        for (int64_t i = 0; i < count / 2; i++) {
            to[2 * i] = held[i];
            to[2 * i + 1] = held[places + i];
        }
        if (count % 2) to[count - 1] = held[count / 2];
        return;
    }
    for (int64_t i = 0, phase = 0, place = 0; i < count; i++) {
        const float *from = held + (phase * places + place) * inner;
        for (int64_t k = 0; k < inner; k++) to[i * inner + k] = from[k];
        if (++phase == stride) phase = 0, place++;
    }
}

#endif
