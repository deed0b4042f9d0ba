/* Pooling of planes whose columns are dense ([N, C, H, W]), on the CPU, part of pool.c.
 *
 * A window is reduced along its row first and then down its column, so that a row of the input is reduced once for all windows
 * that meet in it; straight from where it lies, for a vector that is read across two that were just stored waits for both. What
 * is written is gathered into spans across rows, whose lines rows share. The gradient of an average goes the same way back, from
 * rows of dy to rows of dx; that of a maximum is in pool_planes_max.h. */
#ifndef TRINE_CPU_POOL_PLANES_H
#define TRINE_CPU_POOL_PLANES_H

#include "backends/cpu/lanes.h"
#include "backends/cpu/pool_rows.h"

/* Elements of a padded row; rows that are held; taps along a row; elements of a plane of f32 (in the L2 cache);
 * elements that a task writes. */
enum { PLANE_ROW = 2048, PLANE_RING = 8, PLANE_TAPS = 8, PLANE_MOST = 65536, PLANE_TASK = 16384 };

typedef struct plane_buffers {
    _Alignas(64) float row[PLANE_ROW + 2 * LANES], phase[2][PLANE_ROW / 2 + 2 * LANES], ring[PLANE_RING][PLANE_ROW + 2 * LANES],
        taps[PLANE_ROW + 2 * LANES], out[SPAN_MAX + PLANE_ROW + 2 * LANES];
    int64_t held[PLANE_RING]; /* the row in each place of the ring; -1: none */
    int64_t fill;             /* of out */
    char *to;                 /* where out goes */
} plane_buffers;

static inline int64_t plane_up(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

/* ---- What is written: row by row, in whole lines ---- */

static inline void plane_flush(const job *j, plane_buffers *b, bool all)
{
    int64_t n = b->fill;
    const int64_t off = (int64_t)((uintptr_t)(b->to + n * j->size) % 64) / j->size;
    if (!all) n = off < n ? n - off : 0;
    if (n == 0) return;
    for (int64_t i = 0, m; i < n; i += m) {
        m = span_length(b->to + i * j->size, j->dtype, n - i);
        span_store(b->to + i * j->size, j->dtype, b->out + i, m, j->stream);
    }
    memmove(b->out, b->out + n, (size_t)(b->fill - n) * sizeof *b->out);
    b->to += n * j->size;
    b->fill -= n;
}

/* The place for the next row, of n elements at `to`. */
static inline float *plane_next(const job *j, plane_buffers *b, char *to, int64_t n)
{
    if (b->fill >= SPAN_MAX || to != b->to + b->fill * j->size) plane_flush(j, b, to != b->to + b->fill * j->size);
    if (b->fill == 0) b->to = to;
    b->fill += n;
    return b->out + b->fill - n;
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
    if (dtype == TRINE_F32)
        WINDOWS(TRINE_F32);
    else if (dtype == TRINE_BF16)
        WINDOWS(TRINE_BF16);
    else
        WINDOWS(TRINE_F16);
#undef WINDOWS
}

/* to[i] = the taps' values from i on. */
LANES_INLINE void plane_taps_of(float *to, const float *const *tap, int taps, int64_t n, bool average)
{
    for (int64_t i = 0; i < n; i += LANES) {
        f32x16 v = lanes_load(tap[0], TRINE_F32, i);
        for (int k = 1; k < taps; k++) v = plane_both(lanes_load(tap[k], TRINE_F32, i), v, average);
        memcpy(to + i, &v, sizeof v);
    }
}

static void plane_taps(float *to, const float *const *tap, int taps, int64_t n, bool average)
{
    if (average)
        taps == 2 ? plane_taps_of(to, tap, 2, n, true) : plane_taps_of(to, tap, taps, n, true);
    else if (taps == 2)
        plane_taps_of(to, tap, 2, n, false);
    else if (taps == 3)
        plane_taps_of(to, tap, 3, n, false);
    else
        plane_taps_of(to, tap, taps, n, false);
}

static inline void plane_fill(float *to, int64_t n, float value)
{
    for (int64_t i = 0; i < n; i++) to[i] = value;
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
           h->kernel <= PLANE_TAPS && 2 * most + w->out <= PLANE_ROW && (int64_t)(h->kernel - 1) * h->dilation < PLANE_RING;
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
        float *y = plane_next(j, b, j->to + (plane[SMALL] + o * j->plan.row[SMALL]) * j->size, out);
        if (taps > 0)
            plane_taps(y, tap, taps, out, j->average);
        else
            plane_fill(y, out, j->average ? 0 : -INFINITY);
        const float deep = (float)trine_pool_taps(v, (int32_t)o, j->include_pad);
        if (j->average)
            for (int64_t i = 0; i < out; i++) y[i] /= deep * b->taps[i];
        else
            for (int64_t i = 0; i < out; i++) y[i] += 0.0f; /* no -0 */
    }
}

/* ---- Backward, averages ---- */

/* What row o of dy gives to each row of dx that its windows meet. */
static const float *plane_row_back(const job *j, plane_buffers *b, const char *plane, int64_t o)
{
    const trine_pool_axis *a = &j->plan.width;
    const int64_t s = a->stride, before = plane_up((int64_t)(a->kernel - 1) * a->dilation / s),
                  n = (a->in + a->padding + s - 1) / s;
    const float deep = (float)trine_pool_taps(&j->plan.height, (int32_t)o, j->include_pad), *x;
    float *to = b->ring[o % PLANE_RING], *g = b->row + before; /* between zeros */
    if (b->held[o % PLANE_RING] == o) return to;
    for (int64_t i = 0, m; i < a->out; i += m) {
        m = a->out - i < SPAN_MAX ? a->out - i : SPAN_MAX;
        x = span_load(g + i, plane + (o * j->plan.row[SMALL] + i) * j->size, j->dtype, m);
        for (int64_t k = 0; k < m; k++) g[i + k] = x[k] / (deep * b->taps[i + k]);
    }
    for (int64_t q = 0; q < s; q++) {
        const float *tap[PLANE_TAPS];
        float *sums = s == 2 ? b->phase[q] : to;
        int taps = 0;
        for (int64_t k = 0, t = 0; k < a->kernel; k++, t += a->dilation)
            if (t % s == q) tap[taps++] = g - t / s;
        if (taps > 0)
            plane_taps(sums, tap, taps, n, true);
        else
            plane_fill(sums, plane_up(n), 0);
    }
    const i32x16 low = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23}, high = low + 8;
    for (int64_t i = 0; s == 2 && i < n; i += LANES) {
        const f32x16 p = lanes_load(b->phase[0], TRINE_F32, i), q = lanes_load(b->phase[1], TRINE_F32, i),
                     first = __builtin_shuffle(p, q, low), second = __builtin_shuffle(p, q, high);
        memcpy(to + 2 * i, &first, sizeof first);
        memcpy(to + 2 * i + LANES, &second, sizeof second);
    }
    b->held[o % PLANE_RING] = o;
    return to;
}

static void plane_backward(const job *j, plane_buffers *b, const int64_t *plane, int64_t begin, int64_t end)
{
    const trine_pool_axis *v = &j->plan.height;
    const int64_t in = j->plan.width.in, padding = j->plan.width.padding;
    for (int k = 0; k < PLANE_RING; k++) b->held[k] = -1;
    for (int64_t h = begin; h < end; h++) {
        const float *tap[PLANE_TAPS];
        int taps = 0;
        for (int64_t i = 0; i < v->kernel; i++) {
            const int64_t t = h + v->padding - i * v->dilation;
            if (t < 0 || t % v->stride || t / v->stride >= v->out) continue;
            tap[taps++] = plane_row_back(j, b, j->from + plane[SMALL] * j->size, t / v->stride) + padding;
        }
        float *dx = plane_next(j, b, j->to + (plane[LARGE] + h * j->plan.row[LARGE]) * j->size, in);
        if (taps > 0)
            plane_taps(dx, tap, taps, in, true);
        else
            plane_fill(dx, in, 0);
    }
}

/* ---- All of it ---- */

/* Rows of what is written, some to a task. */
typedef void (*plane_fn)(const job *j, plane_buffers *b, const int64_t *plane, int64_t begin, int64_t end);

static void run_planes(const job *j, plane_fn fn)
{
    const bool back = fn != plane_forward;
    const trine_pool_axis *h = &j->plan.height, *w = &j->plan.width;
    const int64_t rows = back ? h->in : h->out, columns = back ? w->in : w->out, most = PLANE_TASK / columns + 1,
                  parts = (rows + most - 1) / most, each = (rows + parts - 1) / parts;
    CPU_PARALLEL_FOR(range, j->plan.planes.numel * parts, CPU_GRAIN / (each * columns * 2) + 1)
    {
        plane_buffers b;
        b.fill = 0;
        b.to = NULL;
        plane_fill(b.row, PLANE_ROW + 2 * LANES, 0);
        for (int64_t i = 0; i < w->out && j->average; i++) b.taps[i] = (float)trine_pool_taps(w, (int32_t)i, j->include_pad);
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
