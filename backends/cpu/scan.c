/* Scans along an axis on the CPU. Bound by bytes, and by the chain of operations that a row is.
 *
 * A dense row goes in spans of four vectors of running results at a time: steps of shifting and combining inside a vector, then
 * combinations with what precedes it, so that the chain has one link for four vectors. Rows are cut into chunks of a fixed
 * length, each scanned from the neutral element and then combined with the chunks before it; threads take rows, or, where there
 * are few, chunks, whose totals they find first, so that results do not depend on the number of threads. Axes outside the
 * innermost go down spans of columns side by side. Integers: scan_integers.h. */
#include <math.h>

#include "backends/cpu/lanes.h"
#include "backends/cpu/walk.h"
#include "core/scan_shape.h"

/* Columns that a task goes down: at most, and at least where there would be too few tasks; so few that what comes later, ROWS_AHEAD
 * rows down, is asked for, since the processor does not follow such short pieces. */
enum { SCAN_CHUNK = 32768, COLUMNS_LEAST = 128, COLUMNS_MOST = 8192, COLUMNS_ASKED = 512, ROWS_AHEAD = 16 };

/* ---- Operations: of floats, and of vectors ---- */

/* The running results of a vector are made in log2(WIDTH) steps of shifting and combining: which bits come of it depends on the
 * level. */
#if defined __AVX512F__
enum { WIDTH = 16 };
typedef f32x16 wide;
typedef i32x16 wide_mask;
#define SHIFTED(by) \
    { \
        SHIFT_4(0, by), SHIFT_4(4, by), SHIFT_4(8, by), SHIFT_4(12, by) \
    }
#else
enum { WIDTH = 4 };
typedef float wide __attribute__((vector_size(16)));
typedef int32_t wide_mask __attribute__((vector_size(16)));
#define SHIFTED(by) \
    { \
        SHIFT_4(0, by) \
    }
#endif
/* Lane j takes lane j - by of the second operand, or the first one's. */
#define SHIFT_1(j, by) ((j) < (by) ? (j) : WIDTH + (j) - (by))
#define SHIFT_4(j, by) SHIFT_1(j, by), SHIFT_1((j) + 1, by), SHIFT_1((j) + 2, by), SHIFT_1((j) + 3, by)

static inline wide wide_of(float x) { return (wide){0} + x; }

/* Lane j + by of the first operand, or the second one's. */
#define AHEAD_4(j, by) (j) + (by), (j) + 1 + (by), (j) + 2 + (by), (j) + 3 + (by)
#if defined __AVX512F__
#define AHEAD(by) \
    { \
        AHEAD_4(0, by), AHEAD_4(4, by), AHEAD_4(8, by), AHEAD_4(12, by) \
    }
#else
#define AHEAD(by) \
    { \
        AHEAD_4(0, by) \
    }
#endif

/* The lane that a walk meets last, everywhere. */
static inline wide wide_last(wide v, bool back) { return __builtin_shuffle(v, (wide_mask){0} + (back ? 0 : WIDTH - 1)); }

static inline float both_sum(float a, float b) { return a + b; }
static inline float both_mul(float a, float b) { return a * b; }
static inline float both_max(float a, float b) { return a > b || a != a ? a : b; } /* NaN wins */
static inline wide wide_sum(wide a, wide b) { return a + b; }
static inline wide wide_mul(wide a, wide b) { return a * b; }
static inline wide wide_max(wide a, wide b)
{
#if defined __AVX512F__
    const __m512 most = _mm512_max_ps((__m512)a, (__m512)b); /* b, if one is NaN */
    return (wide)_mm512_mask_mov_ps(most, _mm512_cmp_ps_mask((__m512)a, (__m512)a, _CMP_UNORD_Q), (__m512)a);
#else
    const wide_mask first = (a > b) | (a != a);
    return (wide)((first & (wide_mask)a) | (~first & (wide_mask)b));
#endif
}

/* y = x's running results after `carry`, which moves on; back: from the last element to the first; exclusive: those before each
 * element. y may be x. ask: NULL, or what memory is asked for, as many elements of `size` bytes as x has. */
typedef float (*scan_span_fn)(float *y, const float *x, int64_t n, const char *ask, int64_t size, float carry, bool back,
                              bool exclusive);
/* y[i] = both(base, y[i]); into[i] = both(into[i], x[i]). */
typedef void (*scan_base_fn)(float *y, float base, int64_t n);
typedef void (*scan_rows_fn)(float *into, const float *x, int64_t n, int64_t ahead);

/* What precedes each element of a vector in the walk: nothing else than `first` the first one. */
#define SCAN_BEFORE(v, first) \
    (back ? __builtin_shuffle(v, first, (wide_mask)AHEAD(1)) : __builtin_shuffle(first, v, (wide_mask)SHIFTED(1)))
#define SCAN_STEP(kind, v, by) \
    v = wide_##kind( \
        back ? __builtin_shuffle(v, neutral, (wide_mask)AHEAD(by)) : __builtin_shuffle(neutral, v, (wide_mask)SHIFTED(by)), v)
#define SCAN_KIND(kind, neutral_) \
    LANES_INLINE float scan_walk_##kind(float *y, const float *x, int64_t n, const char *ask, int64_t size, float carry, \
                                        bool back, bool exclusive) \
    { \
        const wide neutral = wide_of(neutral_); \
        const int first = back ? 3 : 0, step = back ? -1 : 1; \
        wide before = wide_of(carry); \
        int64_t i = 0; \
        for (; i + 4 * WIDTH <= n; i += 4 * WIDTH) { \
            const int64_t at = back ? n - i - 4 * WIDTH : i; \
            wide v[4], result[4]; \
            memcpy(v, x + at, sizeof v); \
            for (int k = 0; k < 4; k++) { \
                if (ask && WIDTH * k * size % 64 == 0) __builtin_prefetch(ask + (at + WIDTH * k) * size, 0, 2); \
                SCAN_STEP(kind, v[k], 1); \
                SCAN_STEP(kind, v[k], 2); \
                if (WIDTH == 4) continue; \
                SCAN_STEP(kind, v[k], 4); \
                SCAN_STEP(kind, v[k], 8); \
            } \
            for (int k = 1; k < 4; k++) \
                v[first + k * step] = wide_##kind(wide_last(v[first + (k - 1) * step], back), v[first + k * step]); \
            const wide total = wide_last(v[3 - first], back); \
            for (int k = 0; k < 4; k++) v[k] = wide_##kind(before, v[k]); \
            for (int k = 0; k < 4 && exclusive; k++) \
                result[k] = SCAN_BEFORE(v[k], k == first ? before : wide_last(v[(k - step) & 3], back)); \
            memcpy(y + at, exclusive ? result : v, sizeof v); \
            before = wide_##kind(before, total); \
        } \
        carry = before[0]; \
        for (; i < n; i++) { \
            const int64_t at = back ? n - 1 - i : i; \
            const float next = both_##kind(carry, x[at]); \
            y[at] = exclusive ? carry : next; \
            carry = next; \
        } \
        return carry; \
    } \
    static float scan_span_##kind(float *y, const float *x, int64_t n, const char *ask, int64_t size, float carry, bool back, \
                                  bool exclusive) \
    { \
        return exclusive ? back ? scan_walk_##kind(y, x, n, ask, size, carry, true, true) \
                                : scan_walk_##kind(y, x, n, ask, size, carry, false, true) \
               : back ? scan_walk_##kind(y, x, n, ask, size, carry, true, false) \
                         : scan_walk_##kind(y, x, n, ask, size, carry, false, false); \
    } \
    static void scan_base_##kind(float *y, float base, int64_t n) \
    { \
        for (int64_t i = 0; i < n; i++) y[i] = both_##kind(base, y[i]); \
    } \
    static void scan_rows_##kind(float *into, const float *x, int64_t n, int64_t ahead) \
    { \
        int64_t i = 0; \
        for (; ahead && i + WIDTH <= n; i += WIDTH) { \
            wide result, v; \
            if (i % 16 == 0) __builtin_prefetch((const char *)(x + i) + ahead, 0, 2); \
            memcpy(&result, into + i, sizeof result); \
            memcpy(&v, x + i, sizeof v); \
            result = wide_##kind(result, v); \
            memcpy(into + i, &result, sizeof result); \
        } \
        for (; i < n; i++) into[i] = both_##kind(into[i], x[i]); \
    } \
    static float scan_pair_##kind(float a, float b) { return both_##kind(a, b); }
SCAN_KIND(sum, 0.0f)
SCAN_KIND(max, -INFINITY)
SCAN_KIND(mul, 1.0f)

static const struct scan_kind {
    float neutral;
    float (*pair)(float a, float b);
    scan_span_fn span;
    scan_base_fn base;
    scan_rows_fn rows;
} kinds[] = {[TRINE_SCAN_SUM] = {0.0f, scan_pair_sum, scan_span_sum, scan_base_sum, scan_rows_sum},
             [TRINE_SCAN_MAX] = {-INFINITY, scan_pair_max, scan_span_max, scan_base_max, scan_rows_max},
             [TRINE_SCAN_MUL] = {1.0f, scan_pair_mul, scan_span_mul, scan_base_mul, scan_rows_mul}};

typedef struct scan {
    trine_scan_shape shape;
    const struct scan_kind *kind;
    trine_dtype dtype;
    int64_t size, chunks;
    char *y;
    const char *x;
    bool exclusive, reverse, stream;
} scan;

/* Bytes from what is read to what is asked for: of columns of f32, 0 where the processor sees it itself; of rows. */
static int64_t columns_ahead(void) { return prefers_l2() ? ASK_NEAR : 0; }
enum { ROW_AHEAD = 4096 };

/* ---- Rows ---- */

/* Elements [begin, begin + n) of the walk along a row: in memory they begin at that element, or end before its mirror image. */
static int64_t scan_place(const scan *s, int64_t begin, int64_t n) { return s->reverse ? s->shape.n - begin - n : begin; }

/* A chunk of a row after `base`; returns its total. store: writes the outputs. */
static float scan_chunk(const scan *s, const char *x, char *y, int64_t chunk, float base, bool store)
{
    SPAN_BUFFER(buffer);
    SPAN_BUFFER(out);
    const int64_t end = (chunk + 1) * SCAN_CHUNK < s->shape.n ? (chunk + 1) * SCAN_CHUNK : s->shape.n;
    /* in both directions (Zen 5, f32, reverse: 23 ms by spans of a page, 16.6 line by line) */
    const int64_t ahead = s->reverse ? -ask_distance(ROW_AHEAD) : ask_distance(ROW_AHEAD);
    const bool asks = s->shape.step[SCAN_X] == 1;
    float carry = s->kind->neutral;
    for (int64_t i = chunk * SCAN_CHUNK, m; i < end; i += m) {
        m = end - i < SPAN_MAX ? end - i : SPAN_MAX;
        const int64_t at = scan_place(s, i, m);
        const float *in = cpu_load(buffer, x + at * s->shape.step[SCAN_X] * s->size, s->dtype, m, s->shape.step[SCAN_X]);
        const char *const ask = asks ? x + at * s->size + ahead : NULL;
        carry = s->kind->span(out, in, m, ask, s->size, carry, s->reverse, s->exclusive);
        if (!store) continue;
        if (chunk > 0) s->kind->base(out, base, m);
        cpu_store(y + at * s->shape.step[SCAN_Y] * s->size, s->dtype, out, m, s->shape.step[SCAN_Y], s->stream);
    }
    return carry;
}

static void scan_addresses(const scan *s, int64_t row, const char **x, char **y)
{
    int64_t offset[TRINE_ITER_OPERANDS];
    trine_iter_offsets(&s->shape.rows, row, offset);
    *y = s->y + offset[SCAN_Y] * s->size;
    *x = s->x + offset[SCAN_X] * s->size;
}

static void rows_apart(const scan *s)
{
    CPU_PARALLEL_FOR(range, s->shape.rows.numel, 1 + CPU_GRAIN / s->shape.n)
    {
        for (int64_t row = range.begin; row < range.end; row++) {
            const char *x;
            char *y;
            float base = s->kind->neutral;
            scan_addresses(s, row, &x, &y);
            for (int64_t k = 0; k < s->chunks; k++) base = s->kind->pair(base, scan_chunk(s, x, y, k, base, true));
        }
        span_fence();
    }
}

/* totals: of every chunk; they become what precedes it. */
static void chunks_apart(const scan *s, float *totals)
{
    const int64_t tasks = s->shape.rows.numel * s->chunks;
    CPU_PARALLEL_FOR(range, tasks, 1)
    {
        const char *from;
        char *to;
        for (int64_t i = range.begin; i < range.end; i++) {
            scan_addresses(s, i / s->chunks, &from, &to);
            totals[i] = scan_chunk(s, from, to, i % s->chunks, s->kind->neutral, false);
        }
    }
    for (int64_t row = 0; row < s->shape.rows.numel; row++) {
        float base = s->kind->neutral;
        for (int64_t k = 0; k < s->chunks; k++) {
            const float total = totals[row * s->chunks + k];
            totals[row * s->chunks + k] = base;
            base = s->kind->pair(base, total);
        }
    }
    CPU_PARALLEL_FOR(range, tasks, 1)
    {
        const char *from;
        char *to;
        for (int64_t i = range.begin; i < range.end; i++) {
            scan_addresses(s, i / s->chunks, &from, &to);
            (void)scan_chunk(s, from, to, i % s->chunks, totals[i], true);
        }
        span_fence();
    }
}

/* ---- Columns ---- */

/* One row of a span of columns. */
static void columns_step(const scan *s, float *running, const char *x, char *y, int64_t columns, const int64_t *inner)
{
    SPAN_BUFFER(buffer);
    const float *in = cpu_load(buffer, x, s->dtype, columns, inner[SCAN_X]);
    if (!s->exclusive) {
        s->kind->rows(running, in, columns, in == buffer ? 0 : columns_ahead());
        cpu_store(y, s->dtype, running, columns, inner[SCAN_Y], s->stream);
        return;
    }
    if (in != buffer) memcpy(buffer, in, (size_t)columns * sizeof *buffer); /* y may be x */
    cpu_store(y, s->dtype, running, columns, inner[SCAN_Y], s->stream);
    s->kind->rows(running, buffer, columns, 0);
}

static void columns_down(const scan *s, const char *x, char *y, int64_t columns, const int64_t *inner)
{
    _Alignas(64) float running[COLUMNS_MOST];
    const int64_t later = s->reverse ? -ROWS_AHEAD : ROWS_AHEAD;
    for (int64_t j = 0; j < columns; j++) running[j] = s->kind->neutral;
    for (int64_t i = 0; i < s->shape.n; i++) {
        const int64_t at = s->reverse ? s->shape.n - 1 - i : i;
        if (inner[SCAN_X] == 1 && columns <= COLUMNS_ASKED && (uint64_t)(at + later) < (uint64_t)s->shape.n)
            span_prefetch(x + (at + later) * s->shape.step[SCAN_X] * s->size, columns * s->size);
        for (int64_t j = 0; j < columns; j += SPAN_MAX)
            columns_step(s, running + j, x + (at * s->shape.step[SCAN_X] + j * inner[SCAN_X]) * s->size,
                         y + (at * s->shape.step[SCAN_Y] + j * inner[SCAN_Y]) * s->size,
                         columns - j < SPAN_MAX ? columns - j : SPAN_MAX, inner);
    }
}

/* Columns that a task goes down together: many, for memory is read in long pieces, but so few that each thread has some. */
static int64_t columns_together(int64_t size, int64_t outer)
{
    const int64_t threads = cpu_threads(INT32_MAX, 1);
    int64_t columns = COLUMNS_MOST;
    while (columns > COLUMNS_LEAST && (size + columns - 1) / columns * outer < threads) columns /= 2;
    return columns;
}

static void columns_apart(const scan *s)
{
    trine_iter outer = s->shape.rows;
    int64_t inner[TRINE_ITER_OPERANDS];
    const int64_t size = trine_iter_pop_inner(&outer, inner), most = columns_together(size, outer.numel),
                  parts = (size + most - 1) / most;
    CPU_PARALLEL_FOR(range, outer.numel * parts, 1 + CPU_GRAIN / (s->shape.n * (size < most ? size : most)))
    {
        for (int64_t i = range.begin; i < range.end; i++) {
            int64_t offset[TRINE_ITER_OPERANDS], begin = i % parts * most;
            trine_iter_offsets(&outer, i / parts, offset);
            for (int k = 0; k < 2; k++) offset[k] += begin * inner[k];
            columns_down(s, s->x + offset[SCAN_X] * s->size, s->y + offset[SCAN_Y] * s->size,
                         size - begin < most ? size - begin : most, inner);
        }
        span_fence();
    }
}

#include "backends/cpu/scan_integers.h"

trine_status TRINE_CPU(scan)(trine_call *call, const trine_scan_args *a)
{
    scan s = {.shape = trine_scan_shape_of(a), .kind = &kinds[a->kind], .dtype = a->x.dtype};
    s.size = trine_dtype_bits(s.dtype) / 8;
    s.y = a->y.data;
    s.x = a->x.data;
    s.exclusive = a->exclusive;
    s.reverse = a->reverse;
    s.chunks = (s.shape.n + SCAN_CHUNK - 1) / SCAN_CHUNK;
    s.stream = span_should_stream(s.shape.rows.numel * s.shape.n * s.size);
    call->variant = TRINE_CPU_VARIANT;
    const int64_t tasks = s.shape.rows.numel * s.chunks;
    const bool integers = s.dtype == TRINE_I32 || s.dtype == TRINE_I64,
               by_chunks = !integers && !s.shape.columns && s.chunks > 1 && s.shape.rows.numel < 64;
    TRINE_END_OF_QUERY(call, by_chunks ? (size_t)tasks * sizeof(float) : 0);
    if (tasks == 0) return TRINE_OK;
    if (integers)
        scan_integers(&s);
    else if (s.shape.columns)
        columns_apart(&s);
    else if (by_chunks && s.shape.rows.numel < cpu_threads(INT32_MAX, 1))
        chunks_apart(&s, call->workspace);
    else
        rows_apart(&s);
    return TRINE_OK;
}
