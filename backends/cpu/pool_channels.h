/* Pooling of columns whose channels are dense ([N, H, W, C]), on the CPU, part of pool.c: an output's channels straight from the
 * windows' columns to lines, without indices. What the next outputs bring is asked for. */
#ifndef TRINE_CPU_POOL_CHANNELS_H
#define TRINE_CPU_POOL_CHANNELS_H

#include "backends/cpu/lanes_store.h"
#include "backends/cpu/pool_planes.h"

/* Taps of a window; bytes from what is read to what is asked for meanwhile. */
enum { CHANNEL_TAPS = 64, CHANNEL_TAP_AHEAD = 2048 };

static bool channels_fit(const job *j)
{
    const trine_pool_plan *p = &j->plan;
    return LANES_PUTS && !j->indices && p->inner > 1 && p->inner % LANES_PUT == 0 &&
           (int64_t)p->height.kernel * p->width.kernel <= CHANNEL_TAPS;
}

/* A window: its columns that are inside, in row-major order; `fresh` of them, the last ones, no window of a row before met. */
typedef struct channel_window {
    const char *tap[CHANNEL_TAPS];
    int64_t taps, fresh;
    float count; /* elements in it, of an average */
} channel_window;

static void channel_window_make(const job *j, channel_window *w, const char *plane, int64_t o, int64_t column)
{
    const trine_pool_plan *p = &j->plan;
    const trine_pool_axis *v = &p->height, *a = &p->width;
    w->taps = w->fresh = 0;
    for (int64_t i = 0, h = o * v->stride - v->padding; i < v->kernel; i++, h += v->dilation) {
        if (h < 0 || h >= v->in) continue;
        for (int64_t k = 0, c = column * a->stride - a->padding; k < a->kernel; k++, c += a->dilation) {
            if (c < 0 || c >= a->in) continue;
            w->tap[w->taps++] = plane + (h * p->row[LARGE] + c * p->column[LARGE]) * j->size;
            w->fresh += v->kernel - i <= v->stride && a->kernel - k <= a->stride;
        }
    }
    w->count = (float)trine_pool_taps(v, (int32_t)o, j->include_pad) * (float)trine_pool_taps(a, (int32_t)column, j->include_pad);
}

LANES_INLINE void channel_reduce_as(const channel_window *w, char *to, trine_dtype dtype, bool average, int64_t n, bool stream)
{
    const int64_t taps = w->taps, size = lanes_size(dtype);
    const f32x16 count = lanes_of(w->count);
    for (int64_t i = 0; i < n; i += LANES_PUT) {
        f32x16 v[2];
        for (int q = 0; q < 2; q++) v[q] = (f32x16){0} + (average ? 0 : -INFINITY);
        for (int64_t k = 0; k < taps; k++) {
            if (k + w->fresh >= taps) span_prefetch(w->tap[k] + i * size + CHANNEL_TAP_AHEAD, LANES_PUT * size);
            for (int q = 0; q < 2; q++) v[q] = plane_both(lanes_load(w->tap[k], dtype, i + LANES * q), v[q], average);
        }
        for (int q = 0; q < 2; q++) v[q] = average ? v[q] / count : v[q] + 0.0f; /* no -0 */
        lanes_put(to + i * size, dtype, v[0], v[1], stream);
    }
}

static void channel_reduce(const job *j, const channel_window *w, char *to)
{
    const bool stream = j->stream && (uintptr_t)to % 64 == 0;
#define REDUCE_AS(dtype) \
    (j->average ? channel_reduce_as(w, to, dtype, true, j->plan.inner, stream) \
                : channel_reduce_as(w, to, dtype, false, j->plan.inner, stream))
    if (j->dtype == TRINE_F32)
        REDUCE_AS(TRINE_F32);
    else if (j->dtype == TRINE_BF16)
        REDUCE_AS(TRINE_BF16);
    else
        REDUCE_AS(TRINE_F16);
#undef REDUCE_AS
}

static void run_channels(const job *j)
{
    const trine_pool_plan *p = &j->plan;
    const int64_t rows = p->height.out, work = p->width.out * p->inner * p->height.kernel * p->width.kernel;
    CPU_PARALLEL_FOR(range, p->planes.numel * rows, CPU_GRAIN / work + 1)
    {
        for (int64_t i = range.begin; i < range.end; i++) {
            int64_t plane[TRINE_ITER_OPERANDS];
            trine_iter_offsets(&p->planes, i / rows, plane);
            const int64_t o = i % rows;
            for (int64_t c = 0; c < p->width.out; c++) {
                channel_window w;
                channel_window_make(j, &w, j->from + plane[LARGE] * j->size, o, c);
                channel_reduce(j, &w, j->to + (plane[SMALL] + o * p->row[SMALL] + c * p->column[SMALL]) * j->size);
            }
        }
        span_fence();
    }
}

#endif
