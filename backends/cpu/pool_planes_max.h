/* The gradient of a maximum over planes whose columns are dense, on the CPU, part of pool.c: by steps of one and two along a row
 * each element of dx looks at the indices of the outputs that may mean it; by longer ones, or with indices of 64 bits, dy is dealt
 * out by index in a plane of f32. */
#ifndef TRINE_CPU_POOL_PLANES_MAX_H
#define TRINE_CPU_POOL_PLANES_MAX_H

#include "backends/cpu/pool_planes.h"

/* ---- Looked for: the rows of dy, and the outputs along them, that a row of dx may get something from ---- */

enum { PLANE_LOOKS = PLANE_TAPS * PLANE_TAPS };

/* Element 2 m + phase of dx, or m, meets output m + shift of a row. */
typedef struct plane_look {
    const char *dy, *index;
    int64_t shift;
} plane_look;

LANES_INLINE f32x16 plane_looked(f32x16 sum, const plane_look *look, trine_dtype dtype, int64_t m, int64_t out, i32x16 wanted)
{
    const int64_t i = m + look->shift;
    const bool all = i >= 0 && i + LANES <= out;
    if (!all && (i <= -LANES || i >= out)) return sum;
    /* as an index, -1.0 is negative */
    const i32x16 index =
        (i32x16)(all ? lanes_load(look->index, TRINE_F32, i) : plane_load(look->index, TRINE_F32, i, out, -1.0f));
    const f32x16 x = all ? lanes_load(look->dy, dtype, i) : plane_load(look->dy, dtype, i, out, 0);
#if defined __AVX512F__
    const __mmask16 hit = _mm512_cmpeq_epi32_mask((__m512i)index, (__m512i)wanted);
    return (f32x16)_mm512_mask_add_ps((__m512)sum, hit, (__m512)sum, (__m512)x);
#else
    return sum + (f32x16)((i32x16)x & (index == wanted));
#endif
}

/* A row of dx, whose first element has the index `first`. */
LANES_INLINE void plane_look_as(float *dx, plane_look look[2][PLANE_LOOKS], const int *looks, trine_dtype dtype, int stride,
                                const trine_pool_axis *a, int32_t first)
{
    const i32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
                 low = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23}, high = low + 8;
    const int64_t in = a->in, out = a->out;
    for (int64_t m = 0; m * stride < in; m += LANES) {
        f32x16 sum[2] = {{0}, {0}};
        for (int q = 0; q < stride; q++) {
            const i32x16 wanted = (lane + (int32_t)m) * stride + (first + q);
            for (int t = 0; t < looks[q]; t++) sum[q] = plane_looked(sum[q], &look[q][t], dtype, m, out, wanted);
        }
        if (stride == 1) {
            memcpy(dx + m, &sum[0], sizeof sum[0]);
            continue;
        }
        const f32x16 left = __builtin_shuffle(sum[0], sum[1], low), right = __builtin_shuffle(sum[0], sum[1], high);
        memcpy(dx + 2 * m, &left, sizeof left);
        memcpy(dx + 2 * m + LANES, &right, sizeof right);
    }
}

static void plane_look_for(const job *j, float *dx, plane_look look[2][PLANE_LOOKS], const int *looks, int32_t first)
{
    const trine_pool_axis *a = &j->plan.width;
#define LOOK_AS(dtype) \
    (a->stride == 2 ? plane_look_as(dx, look, looks, dtype, 2, a, first) : plane_look_as(dx, look, looks, dtype, 1, a, first))
    if (j->dtype == TRINE_F32)
        LOOK_AS(TRINE_F32);
    else if (j->dtype == TRINE_BF16)
        LOOK_AS(TRINE_BF16);
    else
        LOOK_AS(TRINE_F16);
#undef LOOK_AS
}

/* What the rows and columns of windows that meet row h of dx are; in row-major order of taps. */
static void plane_looks(const job *j, const int64_t *plane, int64_t h, plane_look look[2][PLANE_LOOKS], int *looks)
{
    const trine_pool_plan *p = &j->plan;
    const trine_pool_axis *v = &p->height, *a = &p->width;
    looks[0] = looks[1] = 0;
    for (int64_t i = 0; i < v->kernel; i++) {
        const int64_t t = h + v->padding - i * v->dilation, o = t / v->stride;
        if (t < 0 || t % v->stride || o >= v->out) continue;
        for (int64_t k = 0; k < a->kernel; k++) {
            const int64_t ahead = a->padding - k * a->dilation, q = a->stride == 2 ? ahead & 1 : 0;
            look[q][looks[q]++] =
                (plane_look){j->from + (plane[SMALL] + o * p->row[SMALL]) * j->size,
                             j->indices + (plane[INDEX] + o * p->row[INDEX]) * j->index_size, floor_div(ahead + q, a->stride)};
        }
    }
}

static void plane_backward_max(const job *j, plane_buffers *b, const int64_t *plane, int64_t begin, int64_t end)
{
    const int64_t in = j->plan.width.in;
    plane_look look[2][PLANE_LOOKS];
    int looks[2];
    for (int64_t h = begin; h < end; h++) {
        plane_looks(j, plane, h, look, looks);
        float *dx = plane_next(j, b, j->to + (plane[LARGE] + h * j->plan.row[LARGE]) * j->size, in);
        plane_look_for(j, dx, look, looks, (int32_t)(h * in));
    }
}

static inline bool planes_look_fit(const job *j)
{
    const trine_pool_plan *p = &j->plan;
    return !j->average && j->index_dtype == TRINE_I32 && p->column[INDEX] == 1 && plane_fits(j, SMALL, LARGE) &&
           (int64_t)p->height.in * p->width.in <= INT32_MAX;
}

/* ---- Dealt out: windows from the last to the first, the order in which an element meets its taps ---- */

/* Indices of outputs [begin, begin + n) of row o; those outside of the output's window name one of LANES places from `none` on,
 * by turns, so that sums there do not wait for each other. */
#define PLANE_WHERE(name, type) \
    static void name(int32_t *restrict where, const type *restrict index, const job *j, int64_t o, int64_t begin, int64_t n, \
                     int32_t none) \
    { \
        const trine_pool_axis *v = &j->plan.height, *a = &j->plan.width; \
        const uint32_t wide = (uint32_t)a->in, taps = (uint32_t)a->kernel; \
        const int32_t step = a->stride, first = (int32_t)begin * step - a->padding; \
        for (int32_t i = 0; i < (int32_t)n; i++) where[i] = none + (i & (LANES - 1)); \
        for (int64_t k = 0, h = o * v->stride - v->padding; k < v->kernel; k++, h += v->dilation) { \
            const int32_t row = (int32_t)(h * a->in); \
            if (h < 0 || h >= v->in) continue; \
            for (int32_t i = 0; i < (int32_t)n; i++) { \
                const int32_t at = (index[i] >= 0) & (index[i] < (type)none) ? (int32_t)index[i] : -1; \
                const uint32_t column = (uint32_t)at - (uint32_t)row, tap = column - (uint32_t)(first + i * step); \
                where[i] = (column < wide) & (tap < taps) ? at : where[i]; \
            } \
        } \
    }
PLANE_WHERE(plane_where_i32, int32_t)
PLANE_WHERE(plane_where_i64, int64_t)

static void plane_deal(const job *j, float *sums, const int64_t *plane)
{
    const trine_pool_plan *p = &j->plan;
    const int64_t out = p->width.out, all = (int64_t)p->height.in * p->width.in;
    _Alignas(64) int32_t where[SPAN_MAX];
    SPAN_BUFFER(buffer);
    memset(sums, 0, (size_t)all * sizeof *sums);
    for (int64_t o = p->height.out - 1; o >= 0; o--)
        for (int64_t end = out, begin; end > 0; end = begin) {
            begin = end > SPAN_MAX ? end - SPAN_MAX : 0;
            const char *index = j->indices + (plane[INDEX] + o * p->row[INDEX] + begin) * j->index_size,
                       *from = j->from + (plane[SMALL] + o * p->row[SMALL] + begin) * j->size;
            const float *dy = span_load(buffer, from, j->dtype, end - begin);
            if (j->index_dtype == TRINE_I32)
                plane_where_i32(where, (const int32_t *)(const void *)index, j, o, begin, end - begin, (int32_t)all);
            else
                plane_where_i64(where, (const int64_t *)(const void *)index, j, o, begin, end - begin, (int32_t)all);
            for (int64_t i = end - begin - 1; i >= 0; i--) sums[where[i]] += dy[i];
        }
    const bool one = p->row[LARGE] == p->width.in;
    const int64_t rows = one ? 1 : p->height.in, n = one ? all : p->width.in;
    for (int64_t h = 0; h < rows; h++) {
        char *to = j->to + (plane[LARGE] + h * p->row[LARGE]) * j->size;
        for (int64_t i = 0, m; i < n; i += m) {
            m = span_length(to + i * j->size, j->dtype, n - i);
            span_store(to + i * j->size, j->dtype, sums + h * n + i, m, j->stream);
        }
    }
}

/* Also asked by queries, which have no data. */
static bool planes_deal_fit(const job *j)
{
    const trine_pool_plan *p = &j->plan;
    return !j->average && p->inner == 1 && p->column[SMALL] == 1 && p->column[LARGE] == 1 && p->column[INDEX] == 1 &&
           (int64_t)p->height.in * p->width.in <= PLANE_MOST && p->width.dilation == 1 && p->height.kernel <= PLANE_TAPS &&
           p->planes.numel >= 16;
}

static size_t planes_deal_bytes(void) { return (size_t)cpu_threads(INT32_MAX, 1) * (PLANE_MOST + LANES) * sizeof(float); }

static void run_planes_deal(const job *j, char *workspace)
{
    const int64_t all = (int64_t)j->plan.height.in * j->plan.width.in;
    CPU_PARALLEL_FOR(range, j->plan.planes.numel, CPU_GRAIN / (all + 1) + 1)
    {
        float *sums = (float *)(void *)workspace + (int64_t)cpu_thread() * (PLANE_MOST + LANES);
        for (int64_t i = range.begin; i < range.end; i++) {
            int64_t plane[TRINE_ITER_OPERANDS];
            trine_iter_offsets(&j->plan.planes, i, plane);
            plane_deal(j, sums, plane);
        }
        span_fence();
    }
}

#endif
