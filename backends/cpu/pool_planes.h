/* Pooling of planes whose columns are dense ([N, C, H, W]), on the CPU, part of pool.c: forward, and what both ways share.
 *
 * A window is reduced along its row first and then down its column, so that a row of the input is reduced once for all windows
 * that meet in it; straight from where it lies, for a vector that is read across two that were just stored waits for both. What
 * is written is gathered across rows, whose lines rows share, in its own dtype. */
#ifndef TRINE_CPU_POOL_PLANES_H
#define TRINE_CPU_POOL_PLANES_H

#include "backends/cpu/lanes_store.h"
#include "backends/cpu/pool_rows.h"

/* Elements of a padded row; rows that are held; taps along a row; elements of a plane of f32 (in the L2 cache);
 * elements that a task writes. */
enum { PLANE_ROW = 2048, PLANE_RING = 8, PLANE_TAPS = POOL_TAPS, PLANE_MOST = 65536, PLANE_TASK = 16384 };

typedef struct plane_buffers {
    _Alignas(64) float ring[PLANE_RING][PLANE_ROW + 2 * LANES], inverse[PLANE_ROW + 2 * LANES];
    _Alignas(64) int32_t where[PLANE_RING][PLANE_ROW + 2 * LANES];
    _Alignas(64) char out[(SPAN_MAX + PLANE_ROW + 2 * LANES) * sizeof(float)];
    int64_t held[PLANE_RING]; /* the row in each place of the ring; -1: none */
    int64_t fill;             /* elements of out */
    char *to;                 /* where out goes */
    float deep;               /* rows of the windows whose averages inverse[] is for */
} plane_buffers;

static inline int64_t plane_up(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

/* ---- What is written: row by row, in whole lines ---- */

static inline void plane_flush(const job *j, plane_buffers *b, bool all)
{
    int64_t n = b->fill * j->size;
    const int64_t off = (int64_t)((uintptr_t)(b->to + n) % 64);
    if (!all) n = off < n ? n - off : 0;
    if (n == 0) return;
    span_copy_bytes(b->to, b->out, n, j->stream);
    memmove(b->out, b->out + n, (size_t)(b->fill * j->size - n));
    b->to += n;
    b->fill -= n / j->size;
}

/* The place for the next row, of n elements at `to`; up to 2 LANES more may be written there. */
static inline char *plane_next(const job *j, plane_buffers *b, char *to, int64_t n)
{
    if (b->fill >= SPAN_MAX || to != b->to + b->fill * j->size) plane_flush(j, b, to != b->to + b->fill * j->size);
    if (b->fill == 0) b->to = to;
    b->fill += n;
    return b->out + (b->fill - n) * j->size;
}

/* The elements of x, then those of y. */
LANES_INLINE void plane_put(char *to, trine_dtype dtype, f32x16 x, f32x16 y)
{
    if (LANES_PUTS) {
        lanes_put(to, dtype, x, y, false);
    } else {
        _Alignas(64) float both[2 * LANES];
        memcpy(both, &x, sizeof x);
        memcpy(both + LANES, &y, sizeof y);
        span_store(to, dtype, both, 2 * LANES, false);
    }
}

/* Elements of x and y by turns. */
LANES_INLINE void plane_put_turns(char *to, trine_dtype dtype, f32x16 x, f32x16 y)
{
    const i32x16 low = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23}, high = low + 8;
#if defined __AVX512BW__ && defined __AVX512VL__
    if (dtype == TRINE_BF16) {
        _mm512_storeu_si512(to, lanes_bf16_of_turns(x, y));
        return;
    }
#endif
    plane_put(to, dtype, __builtin_shuffle(x, y, low), __builtin_shuffle(x, y, high));
}

/* ---- Rows ---- */

/* The larger; NaN is larger than all. */
LANES_INLINE f32x16 plane_larger(f32x16 x, f32x16 best)
{
    const f32x16 most = lanes_larger(x, best);
#if defined __AVX512F__
    return (f32x16)_mm512_mask_mov_ps((__m512)most, _mm512_cmp_ps_mask((__m512)x, (__m512)x, _CMP_UNORD_Q), (__m512)x);
#else
    const i32x16 nan = x != x;
    return (f32x16)(((i32x16)x & nan) | ((i32x16)most & ~nan));
#endif
}

LANES_INLINE f32x16 plane_both(f32x16 x, f32x16 y, bool average) { return average ? x + y : plane_larger(x, y); }

/* Elements [i, i + 16) of a row of n; `none` where there are none. */
LANES_INLINE f32x16 plane_load(const char *row, trine_dtype dtype, int64_t i, int64_t n, float none)
{
    if (i >= 0 && i + LANES <= n) return lanes_load(row, dtype, i);
    if (i >= n || i + LANES <= 0) return (f32x16){0} + none;
#if defined __AVX512BW__ && defined __AVX512VL__
    const uint32_t before = i < 0 ? (1u << -i) - 1 : 0, upto = n - i < LANES ? (1u << (n - i)) - 1 : 0xffff;
    const __mmask16 there = (__mmask16)(upto & ~before);
    const char *from = row + i * lanes_size(dtype);
    const __m512 all = _mm512_set1_ps(none);
    if (dtype == TRINE_F32) return (f32x16)_mm512_mask_loadu_ps(all, there, from);
    const __m256i codes = _mm256_maskz_loadu_epi16(there, from);
    return (f32x16)_mm512_mask_mov_ps(
        all, there, dtype == TRINE_F16 ? _mm512_cvtph_ps(codes) : (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(codes), 16));
#else
    float x[LANES];
    for (int k = 0; k < LANES; k++) {
        const bool there = i + k >= 0 && i + k < n;
        x[k] = there ? lanes_load_part(row, dtype, i + k, 1, 0)[0] : none;
    }
    return lanes_load(x, TRINE_F32, 0);
#endif
}

/* The windows of `out` outputs along a row of `in`, straight from where it lies. */
LANES_INLINE void plane_windows_of(float *to, const char *row, const trine_pool_axis *a, trine_dtype dtype, int stride,
                                   int kernel, bool average)
{
    const i32x16 even = {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30};
    const int64_t out = a->out, in = a->in, dilation = a->dilation;
    const float none = average ? 0 : -INFINITY;
    for (int64_t i = 0; i < out; i += LANES) {
        f32x16 v = {0};
        for (int64_t k = 0, t = i * stride - a->padding; k < kernel; k++, t += dilation) {
            f32x16 x = plane_load(row, dtype, t, in, none);
            if (stride == 2) x = __builtin_shuffle(x, plane_load(row, dtype, t + LANES, in, none), even);
            v = k ? plane_both(x, v, average) : x;
        }
        memcpy(to + i, &v, sizeof v);
    }
}

LANES_INLINE void plane_windows_as(float *to, const char *row, const trine_pool_axis *a, trine_dtype dtype, bool average)
{
    if (a->stride == 2 && a->kernel == 3)
        plane_windows_of(to, row, a, dtype, 2, 3, average);
    else
        a->stride == 2 ? plane_windows_of(to, row, a, dtype, 2, a->kernel, average)
                       : plane_windows_of(to, row, a, dtype, 1, a->kernel, average);
}

static void plane_windows(float *to, const char *row, const trine_pool_axis *a, trine_dtype dtype, bool average)
{
#define WINDOWS(dtype) (average ? plane_windows_as(to, row, a, dtype, true) : plane_windows_as(to, row, a, dtype, false))
    LANES_BY_DTYPE(dtype, WINDOWS);
#undef WINDOWS
}

/* A row of outputs, of windows along the rows that `tap` holds. */
LANES_INLINE void plane_reduce_of(char *to, trine_dtype dtype, const float *const *tap, int taps, const float *inverse, int64_t n,
                                  bool average)
{
    for (int64_t i = 0; i < n; i += 2 * LANES) {
        f32x16 v[2];
        for (int q = 0; q < 2; q++) {
            const int64_t at = i + LANES * q;
            v[q] = taps > 0 ? lanes_load(tap[0], TRINE_F32, at) : (f32x16){0} + (average ? 0 : -INFINITY);
            for (int k = 1; k < taps; k++) v[q] = plane_both(lanes_load(tap[k], TRINE_F32, at), v[q], average);
            v[q] = average ? v[q] * lanes_load(inverse, TRINE_F32, at) : v[q] + 0.0f; /* no -0 */
        }
        plane_put(to + i * lanes_size(dtype), dtype, v[0], v[1]);
    }
}

LANES_INLINE void plane_reduce_as(char *to, trine_dtype dtype, const float *const *tap, int taps, const float *inverse, int64_t n,
                                  bool average)
{
    if (taps == 2)
        plane_reduce_of(to, dtype, tap, 2, inverse, n, average);
    else
        taps == 3 ? plane_reduce_of(to, dtype, tap, 3, inverse, n, average)
                  : plane_reduce_of(to, dtype, tap, taps, inverse, n, average);
}

static void plane_reduce(char *to, trine_dtype dtype, const float *const *tap, int taps, const float *inverse, int64_t n,
                         bool average)
{
#define REDUCE(dtype) \
    (average ? plane_reduce_as(to, dtype, tap, taps, inverse, n, true) : plane_reduce_as(to, dtype, tap, taps, inverse, n, false))
    LANES_BY_DTYPE(dtype, REDUCE);
#undef REDUCE
}

/* inverse[]: by what averages of output row o are multiplied. */
static void plane_invert(const job *j, plane_buffers *b, int64_t o)
{
    const float deep = (float)trine_pool_taps(&j->plan.height, (int32_t)o, j->include_pad);
    if (deep == b->deep) return;
    b->deep = deep;
    for (int32_t i = 0; i < j->plan.width.out; i++)
        b->inverse[i] = 1.0f / (deep * (float)trine_pool_taps(&j->plan.width, i, j->include_pad));
}

/* ---- Forward ---- */

/* Elements of a padded row that windows meet. */
static inline int64_t plane_need(const trine_pool_axis *a)
{
    return (int64_t)(a->out - 1) * a->stride + (int64_t)(a->kernel - 1) * a->dilation + 1;
}

static inline bool plane_fits(const job *j, int small, int large)
{
    const trine_pool_plan *p = &j->plan;
    const trine_pool_axis *h = &p->height, *w = &p->width;
    const int64_t most = plane_need(w) > (int64_t)w->in + 2 * w->padding ? plane_need(w) : (int64_t)w->in + 2 * w->padding;
    return p->inner == 1 && p->column[small] == 1 && p->column[large] == 1 && w->stride <= 2 && w->kernel <= PLANE_TAPS &&
           h->kernel <= PLANE_TAPS && 2 * most + w->out <= PLANE_ROW - LANES &&
           (int64_t)(h->kernel - 1) * h->dilation < PLANE_RING;
}

/* The windows of row h of the input along it. */
static const float *plane_row(const job *j, plane_buffers *b, const char *plane, int64_t h)
{
    float *to = b->ring[h % PLANE_RING];
    if (b->held[h % PLANE_RING] != h)
        plane_windows(to, plane + h * j->plan.row[LARGE] * j->size, &j->plan.width, j->dtype, j->average);
    b->held[h % PLANE_RING] = h;
    return to;
}

/* Output rows [begin, end) of a plane. */
static void plane_forward(const job *j, plane_buffers *b, const int64_t *plane, int64_t begin, int64_t end)
{
    const trine_pool_axis *v = &j->plan.height;
    const int64_t out = j->plan.width.out;
    for (int k = 0; k < PLANE_RING; k++) b->held[k] = -1;
    for (int64_t o = begin; o < end; o++) {
        const float *tap[PLANE_TAPS];
        int taps = 0;
        for (int64_t i = 0, h = o * v->stride - v->padding; i < v->kernel; i++, h += v->dilation)
            if (h >= 0 && h < v->in) tap[taps++] = plane_row(j, b, j->from + plane[LARGE] * j->size, h);
        if (j->average) plane_invert(j, b, o);
        char *to = plane_next(j, b, j->to + (plane[SMALL] + o * j->plan.row[SMALL]) * j->size, out);
        plane_reduce(to, j->dtype, tap, taps, b->inverse, out, j->average);
    }
}

/* ---- All of it ---- */

/* What is before the first output of a held row of dy. */
static inline int64_t plane_margin(const trine_pool_axis *a)
{
    return plane_up((int64_t)(a->kernel - 1) * a->dilation / a->stride);
}

/* What is around held rows of dy: nothing, with indices of nothing. */
static inline void plane_surround(plane_buffers *b, int64_t n)
{
    if (n > PLANE_ROW + 2 * LANES) n = PLANE_ROW + 2 * LANES;
    for (int k = 0; k < PLANE_RING; k++) {
        memset(b->ring[k], 0, (size_t)n * sizeof b->ring[k][0]);
        memset(b->where[k], -1, (size_t)n * sizeof b->where[k][0]);
    }
}

/* Rows of what is written, some to a task. */
typedef void (*plane_fn)(const job *j, plane_buffers *b, const int64_t *plane, int64_t begin, int64_t end);

static void run_planes(const job *j, plane_fn fn, bool back)
{
    const trine_pool_axis *h = &j->plan.height, *w = &j->plan.width;
    const int64_t rows = back ? h->in : h->out, columns = back ? w->in : w->out, most = PLANE_TASK / columns + 1,
                  parts = (rows + most - 1) / most, each = (rows + parts - 1) / parts;
    CPU_PARALLEL_FOR(range, j->plan.planes.numel * parts, CPU_GRAIN / (each * columns * 2) + 1)
    {
        plane_buffers b;
        b.fill = 0;
        b.to = NULL;
        b.deep = -1;
        memset(b.inverse, 0, sizeof b.inverse);
        if (back) plane_surround(&b, plane_margin(w) + w->in + w->padding + 3 * LANES);
        for (int64_t i = range.begin; i < range.end; i++) {
            int64_t plane[TRINE_ITER_OPERANDS];
            const int64_t begin = i % parts * each, end = begin + each < rows ? begin + each : rows;
            trine_iter_offsets(&j->plan.planes, i / parts, plane);
            fn(j, &b, plane, begin, end);
        }
        plane_flush(j, &b, true);
        span_fence();
    }
}

#endif
