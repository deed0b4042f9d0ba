/* The gradient of a maximum over planes whose columns are dense, on the CPU, part of pool.c: by steps of more than two along a row,
 * or with indices of 64 bits, dy is dealt out by index in a plane of f32. Windows go from the last to the first, the order in which
 * an element meets its taps. */
#ifndef TRINE_CPU_POOL_PLANES_DEAL_H
#define TRINE_CPU_POOL_PLANES_DEAL_H

#include "backends/cpu/pool_planes.h"

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
