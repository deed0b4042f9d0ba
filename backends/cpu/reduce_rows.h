/* Rows of floats that lie one behind the other, each reduced to one f32: sums, or the largest. Used by reduce.c for short rows and
 * for the pieces of long ones.
 *
 * The loop over rows is here, and its arguments are in registers: with a struct copied for each row, whose stores had to reach the
 * cache first, a row waited until all loads before it had come from memory (Zen 5, f32 rows of 1024: 32 GB/s of 48).
 *
 * What comes later is asked for as memory is read. Of inputs that no cache holds it is asked for once only (far): lines that are
 * marked so need not be moved to the last-level cache when they leave (a plain loop: 52.9 GB/s, 51.0 otherwise, 46.9 without). */
#ifndef TRINE_CPU_REDUCE_ROWS_H
#define TRINE_CPU_REDUCE_ROWS_H

#include "backends/cpu/lanes.h"
#include "core/reduction.h"

enum { REDUCE_AHEAD = 8192 }; /* not on Intel */

/* n elements a row. */
typedef struct reduce_rows {
    const char *x[REDUCTION_INPUTS];
    trine_dtype dtype;
    bool far;
    int64_t n, count;
} reduce_rows;

/* of_dtype(rows, dtype, ...) with the dtype as a constant. */
#define REDUCE_BY_DTYPE(of_dtype, rows, ...) \
    do { \
        if ((rows)->dtype == TRINE_F32) \
            of_dtype(rows, TRINE_F32, __VA_ARGS__); \
        else if ((rows)->dtype == TRINE_BF16) \
            of_dtype(rows, TRINE_BF16, __VA_ARGS__); \
        else \
            of_dtype(rows, TRINE_F16, __VA_ARGS__); \
    } while (0)

/* How memory is asked: for lines that are read once, for the L2 cache, or for L1. */
typedef enum reduce_hint { ASK_ONCE, ASK_L2, ASK_L1 } reduce_hint;

static inline reduce_hint reduce_hint_of(const reduce_rows *rows)
{
    return rows->far ? ASK_ONCE : prefers_l2() ? ASK_L2 : ASK_L1;
}

/* out[r] = value, an expression in r and the constant `hint`, for each row. */
#define REDUCE_EACH(rows, value) \
    do { \
        const int64_t count_ = (rows)->count; \
        const reduce_hint hint_ = reduce_hint_of(rows); \
        if (hint_ == ASK_ONCE) \
            REDUCE_EACH_AS(ASK_ONCE, value) \
        else if (hint_ == ASK_L2) \
            REDUCE_EACH_AS(ASK_L2, value) \
        else \
            REDUCE_EACH_AS(ASK_L1, value) \
    } while (0)
#define REDUCE_EACH_AS(constant, value) \
    for (int64_t r = 0; r < count_; r++) { \
        const reduce_hint hint = constant; \
        out[r] = (value); \
    }

/* Of the elements [i, i + LANES) what lies `ahead` bytes behind them, once a line. */
LANES_INLINE void reduce_ask(const char *from, trine_dtype dtype, int64_t i, int64_t ahead, reduce_hint hint)
{
    const char *const line = from + i * lanes_size(dtype) + ahead;
    if (!lanes_begin_line(dtype, i)) return;
    ask_in_order();
    if (hint == ASK_ONCE)
        __builtin_prefetch(line, 0, 0);
    else if (hint == ASK_L2)
        __builtin_prefetch(line, 0, 2);
    else
        __builtin_prefetch(line);
}

/* Defines void name(rows, out): out[r] is the sum over row r of `more`, an expression that adds to the vector s what becomes of
 * the vectors a and (inputs 2) b. Four running sums take turns: one alone would wait for itself. */
#define REDUCE_SUM(name, inputs, more) \
    LANES_INLINE f32x16 name##_more(f32x16 s, f32x16 a, f32x16 b) { return (void)b, (more); } \
    LANES_INLINE f32x16 name##_part(f32x16 s, const char *x, const char *y, trine_dtype dtype, int64_t i, int64_t m) \
    { \
        const f32x16 a = lanes_load_part(x, dtype, i, m, 0); \
        return name##_more(s, a, (inputs) > 1 ? lanes_load_part(y, dtype, i, m, 0) : a); \
    } \
    LANES_INLINE float name##_of(const char *x, const char *y, trine_dtype dtype, int64_t n, reduce_hint hint) \
    { \
        const int64_t ahead = ask_distance(REDUCE_AHEAD); \
        f32x16 s[4] = {{0}, {0}, {0}, {0}}; \
        int64_t i = 0; \
        for (; i + LANES_BLOCK <= n; i += LANES_BLOCK) { \
            _Pragma("GCC unroll 4") for (int k = 0; k < 4; k++) \
            { \
                reduce_ask(x, dtype, i + LANES * k, ahead, hint); \
                if ((inputs) > 1) reduce_ask(y, dtype, i + LANES * k, ahead, hint); \
                const f32x16 a = lanes_load(x, dtype, i + LANES * k); \
                s[k] = name##_more(s[k], a, (inputs) > 1 ? lanes_load(y, dtype, i + LANES * k) : a); \
            } \
        } \
        for (; i + LANES <= n; i += LANES) { \
            const f32x16 a = lanes_load(x, dtype, i); \
            s[0] = name##_more(s[0], a, (inputs) > 1 ? lanes_load(y, dtype, i) : a); \
        } \
        if (i < n) s[1] = name##_part(s[1], x, y, dtype, i, n - i); \
        return lanes_sum((s[0] + s[1]) + (s[2] + s[3])); \
    } \
    LANES_INLINE void name##_rows(const reduce_rows *rows, trine_dtype dtype, float *out) \
    { \
        const char *const x = rows->x[0], *const y = rows->x[1]; \
        const int64_t n = rows->n, row = n * lanes_size(dtype); \
        REDUCE_EACH(rows, name##_of(x + r * row, y + r * row, dtype, n, hint)); \
    } \
    static void name(const reduce_rows *rows, float *out) { REDUCE_BY_DTYPE(name##_rows, rows, out); }

/* ---- The largest ---- */

/* The largest number, or with `turned` the largest of their negatives, -inf if there is none; NaN where not all of them are finite
 * and one is a NaN: what a sum says, and only then they are looked at again. */
LANES_INLINE float reduce_most_of(const char *x, trine_dtype dtype, int64_t n, bool turned, reduce_hint hint)
{
    const int64_t ahead = ask_distance(REDUCE_AHEAD);
    f32x16 best[4], sum[4] = {{0}, {0}, {0}, {0}};
    const i32x16 sign = (i32x16){0} + (turned ? INT32_MIN : 0);
    int64_t i = 0;
    for (int k = 0; k < 4; k++) best[k] = lanes_of(-INFINITY);
    for (; i + LANES_BLOCK <= n; i += LANES_BLOCK) {
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            reduce_ask(x, dtype, i + LANES * k, ahead, hint);
            const f32x16 a = lanes_load(x, dtype, i + LANES * k);
            best[k] = lanes_larger((f32x16)((i32x16)a ^ sign), best[k]);
            sum[k] += a;
        }
    }
    for (; i < n; i += LANES) {
        const bool whole = i + LANES <= n;
        const f32x16 a = whole ? lanes_load(x, dtype, i) : lanes_load_part(x, dtype, i, n - i, turned ? INFINITY : -INFINITY);
        best[0] = lanes_larger((f32x16)((i32x16)a ^ sign), best[0]);
        sum[0] += whole ? a : lanes_load_part(x, dtype, i, n - i, 0);
    }
    const float total = lanes_sum((sum[0] + sum[1]) + (sum[2] + sum[3])),
                most = lanes_largest(lanes_larger(lanes_larger(best[0], best[1]), lanes_larger(best[2], best[3])));
    if (__builtin_expect(total - total == 0, 1)) return most;
    const lanes_input again = {.x = {x}, .dtype = dtype, .n = n};
    return lanes_find(&again, NAN) >= 0 ? NAN : most;
}

LANES_INLINE void reduce_most_rows(const reduce_rows *rows, trine_dtype dtype, bool turned, float *out)
{
    const char *const x = rows->x[0];
    const int64_t n = rows->n, row = n * lanes_size(dtype);
    REDUCE_EACH(rows, reduce_most_of(x + r * row, dtype, n, turned, hint));
}

static void reduce_most(const reduce_rows *rows, float *out) { REDUCE_BY_DTYPE(reduce_most_rows, rows, false, out); }

static void reduce_least(const reduce_rows *rows, float *out) { REDUCE_BY_DTYPE(reduce_most_rows, rows, true, out); }

/* The index of the first largest element, a NaN if there is one: without looking for it a second time, which a short row's loads
 * would wait for. n > 0. */
#if defined __AVX512F__
typedef struct reduce_first {
    __m512 best, sum;
    __m512i index; /* of the first element of best's vector; lane by lane */
} reduce_first;

LANES_INLINE void reduce_first_take(reduce_first *f, f32x16 x, f32x16 term, int64_t i)
{
    const __mmask16 above = _mm512_cmp_ps_mask((__m512)x, f->best, _CMP_GT_OQ);
    f->best = _mm512_max_ps((__m512)x, f->best);
    f->index = _mm512_mask_set1_epi32(f->index, above, (int32_t)i);
    f->sum = _mm512_add_ps(f->sum, (__m512)term);
}

LANES_INLINE int64_t reduce_where_of(const char *x, trine_dtype dtype, int64_t n, reduce_hint hint)
{
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                  none = _mm512_set1_epi32(INT32_MAX);
    const int64_t ahead = ask_distance(REDUCE_AHEAD);
    reduce_first f[2];
    int64_t i = 0;
    for (int k = 0; k < 2; k++) f[k] = (reduce_first){_mm512_set1_ps(-INFINITY), _mm512_setzero_ps(), none};
    for (; i + LANES_BLOCK <= n; i += LANES_BLOCK) {
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            reduce_ask(x, dtype, i + LANES * k, ahead, hint);
            const f32x16 a = lanes_load(x, dtype, i + LANES * k);
            reduce_first_take(&f[k % 2], a, a, i + LANES * k);
        }
    }
    for (; i < n; i += LANES) {
        const bool whole = i + LANES <= n;
        const f32x16 a = whole ? lanes_load(x, dtype, i) : lanes_load_part(x, dtype, i, n - i, -INFINITY);
        reduce_first_take(&f[0], a, whole ? a : lanes_load_part(x, dtype, i, n - i, 0), i);
    }
    const float total = _mm512_reduce_add_ps(_mm512_add_ps(f[0].sum, f[1].sum));
    const __m512 most = _mm512_set1_ps(_mm512_reduce_max_ps(_mm512_max_ps(f[0].best, f[1].best)));
    if (__builtin_expect(total - total != 0, 0)) { /* not all are finite: NaNs, and nothing is above -inf */
        const lanes_input row = {.x = {x}, .dtype = dtype, .n = n};
        const int64_t nan = lanes_find(&row, NAN);
        return nan >= 0 ? nan : lanes_find(&row, _mm512_cvtss_f32(most));
    }
    __m512i first = none;
    for (int k = 0; k < 2; k++)
        first = _mm512_mask_min_epi32(first, _mm512_cmp_ps_mask(f[k].best, most, _CMP_EQ_OQ), first,
                                      _mm512_or_si512(f[k].index, lane));
    return _mm512_reduce_min_epi32(first);
}
#else
LANES_INLINE int64_t reduce_where_of(const char *x, trine_dtype dtype, int64_t n, reduce_hint hint)
{
    const float most = reduce_most_of(x, dtype, n, false, hint);
    const lanes_input row = {.x = {x}, .dtype = dtype, .n = n};
    return lanes_find(&row, most);
}
#endif

LANES_INLINE void reduce_where_rows(const reduce_rows *rows, trine_dtype dtype, int64_t *out)
{
    const char *const x = rows->x[0];
    const int64_t n = rows->n, row = n * lanes_size(dtype);
    REDUCE_EACH(rows, reduce_where_of(x + r * row, dtype, n, hint));
}

static void reduce_where(const reduce_rows *rows, int64_t *out) { REDUCE_BY_DTYPE(reduce_where_rows, rows, out); }

REDUCE_SUM(reduce_sum, 1, s + a)
REDUCE_SUM(reduce_l1, 1, s + (f32x16)((i32x16)(a)&0x7fffffff))
REDUCE_SUM(reduce_l2, 1, s + a * a)
REDUCE_SUM(reduce_dot, 2, s + a * b)

#endif
