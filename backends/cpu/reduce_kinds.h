/* What a reduction on the CPU knows of its elements: sums, or the largest and where it is. Used by reduce.c and reduce_columns.h.
 */
#ifndef TRINE_CPU_REDUCE_KINDS_H
#define TRINE_CPU_REDUCE_KINDS_H

#include <math.h>

#include "backends/cpu/level.h"
#include "backends/cpu/reduce_rows.h"
#include "backends/cpu/walk.h"

enum { REDUCE_SPAN = 4096, REDUCE_PIECES = 8 };

typedef enum reduce_kind { SUM, MEAN, NORM_L1, NORM_L2, DOT, AMAX, AMIN, ARGMAX } reduce_kind;

/* One output, or part of it. Sums are f32 over REDUCE_SPAN elements (or a few rows of columns) and f64 above. The smallest is the
 * largest of numbers whose sign, or bits, are turned. */
typedef struct partial {
    double value;  /* floats */
    int64_t whole; /* integers */
    int64_t at;    /* index of the first largest */
} partial;

typedef struct reduction {
    reduce_kind kind;
    trine_dtype dtype;
    int64_t size; /* bytes of an element */
    bool far;     /* no cache holds the inputs, and the processor may be told so */
    trine_reduction shape;
    const char *in[REDUCTION_INPUTS];
    trine_tensor y;
    int64_t chunks; /* of a run */
} reduction;

static inline bool is_sum(const reduction *r) { return r->kind < AMAX; }

static inline bool is_integer(const reduction *r) { return r->dtype == TRINE_I32 || r->dtype == TRINE_I64; }

/* Where nothing is larger than the start, all elements are equal, and the first is the right one. */
static inline partial partial_start(const reduction *r, int64_t at)
{
    return (partial){.value = is_sum(r) ? 0 : -INFINITY, .whole = INT64_MIN, .at = at};
}

/* NaN counts as largest; of equals the earlier one stays. */
static inline bool is_larger(double x, double than) { return x > than || (isnan(x) && !isnan(than)); }

/* `from` comes after `into`. */
static inline void partial_merge(const reduction *r, partial *into, const partial *from)
{
    if (is_sum(r))
        into->value += from->value;
    else if (is_integer(r) ? from->whole > into->whole : is_larger(from->value, into->value))
        *into = *from;
}

/* The value of an output of floats. */
static inline float partial_float(const reduction *r, const partial *p)
{
    const double n = (double)(r->shape.n * r->shape.rows.numel);
    if (r->kind == MEAN) return (float)(p->value / n);
    if (r->kind == NORM_L2) return (float)sqrt(p->value);
    return (float)(r->kind == AMIN ? -p->value : p->value);
}

static inline void partial_put(const reduction *r, int64_t offset, const partial *p)
{
    char *to = (char *)r->y.data + offset * (trine_dtype_bits(r->y.dtype) / 8);
    const int64_t whole = r->kind == AMIN ? ~p->whole : p->whole;
    const float value = partial_float(r, p);
    if (r->kind == ARGMAX)
        trine_convert(&p->at, TRINE_I64, to, r->y.dtype, 1);
    else if (is_integer(r))
        trine_convert(&whole, TRINE_I64, to, r->y.dtype, 1);
    else
        trine_convert(&value, TRINE_F32, to, r->y.dtype, 1);
}

/* ---- Floats ---- */

typedef void (*reduce_rows_fn)(const reduce_rows *rows, float *out);
static const reduce_rows_fn reduce_floats[] = {
    [SUM] = reduce_sum, [MEAN] = reduce_sum,  [NORM_L1] = reduce_l1, [NORM_L2] = reduce_l2,
    [DOT] = reduce_dot, [AMAX] = reduce_most, [AMIN] = reduce_least, [ARGMAX] = reduce_most};

/* Pieces of one run, at most REDUCE_PIECES rows of at most REDUCE_SPAN elements, the first of which has the index `at`. */
static inline void floats_take(const reduction *r, partial *p, const reduce_rows *pieces, int64_t at)
{
    float out[REDUCE_PIECES];
    int64_t most = -1;
    reduce_floats[r->kind](pieces, out);
    for (int64_t k = 0; k < pieces->count; k++) {
        const double value = (double)out[k];
        if (is_sum(r)) {
            p->value += value;
        } else if (is_larger(value, p->value)) {
            p->value = value;
            most = k * pieces->n;
        }
    }
    if (most < 0 || r->kind != ARGMAX) return;
    const lanes_input in = {.x = {pieces->x[0] + most * lanes_size(pieces->dtype)}, .dtype = pieces->dtype, .n = pieces->n};
    p->at = at + most + lanes_find(&in, (float)p->value);
}

/* ---- Integers ---- */

#define WHOLE_TAKE(name, type) \
    static inline void name(const reduction *r, partial *p, const type *x, int64_t n, int64_t step, int64_t at) \
    { \
        const type flip = r->kind == AMIN ? -1 : 0; \
        type most = step == 1 && n > 0 ? (type)(x[0] ^ flip) : 0; \
        if (step == 1) { \
            _Pragma("omp simd reduction(max : most)") for (int64_t i = 0; i < n; i++) most = \
                (type)(x[i] ^ flip) > most ? (type)(x[i] ^ flip) : most; \
            if (n == 0 || most <= p->whole) return; \
        } \
        for (int64_t i = 0; i < n; i++) { \
            const type v = (type)(x[i * step] ^ flip); \
            if (v <= p->whole) continue; \
            p->whole = v; \
            p->at = at + i; \
            if (step == 1 && v == most) return; \
        } \
    }
WHOLE_TAKE(take_i32, int32_t)
WHOLE_TAKE(take_i64, int64_t)

#endif
