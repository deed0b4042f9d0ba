/* Pooling of columns whose channels are dense ([N, H, W, C]), on the CPU, part of pool.c: an output's channels straight from the
 * windows' columns to lines, without indices; and back, a column's from the windows that meet it. What the next outputs bring is
 * asked for. */
#ifndef TRINE_CPU_POOL_CHANNELS_H
#define TRINE_CPU_POOL_CHANNELS_H

#include "backends/cpu/lanes_store.h"
#include "backends/cpu/pool_planes.h"

/* Taps of a window; bytes from what is read to what is asked for meanwhile. */
enum { CHANNEL_TAPS = 64, CHANNEL_TAP_AHEAD = 2048 };

static bool channels_fit(const job *j)
{
    const trine_pool_plan *p = &j->plan;
    return LANES_PUTS && p->inner > 1 && p->inner % LANES_PUT == 0 && (int64_t)p->height.kernel * p->width.kernel <= CHANNEL_TAPS;
}

/* ---- Forward ---- */

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
    if (j->average)
        w->count =
            (float)trine_pool_taps(v, (int32_t)o, j->include_pad) * (float)trine_pool_taps(a, (int32_t)column, j->include_pad);
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
    LANES_BY_DTYPE(j->dtype, REDUCE_AS);
#undef REDUCE_AS
}

/* A row of outputs. */
static void channels_forward(const job *j, const int64_t *plane, int64_t row)
{
    const trine_pool_plan *p = &j->plan;
    for (int64_t c = 0; c < p->width.out; c++) {
        channel_window w;
        channel_window_make(j, &w, j->from + plane[LARGE] * j->size, row, c);
        channel_reduce(j, &w, j->to + (plane[SMALL] + row * p->row[SMALL] + c * p->column[SMALL]) * j->size);
    }
}

/* ---- Backward ---- */

/* A row of outputs whose windows meet a row of dx, or one of its columns. */
typedef struct channel_source {
    const char *dy;
    const int32_t *index;
    float inverse; /* 1 / the window's elements along the axes that were gone along */
} channel_source;

static bool channels_fit_back(const job *j)
{
    const trine_pool_plan *p = &j->plan;
    return channels_fit(j) && pool_has_steps(&p->width) && pool_has_steps(&p->height) &&
           (j->average ||
            (j->index_dtype == TRINE_I32 && p->step[INDEX] == 1 && (int64_t)p->height.in * p->width.in <= INT32_MAX));
}

/* In row-major order of taps. */
static int channel_rows(const job *j, channel_source *source, const int64_t *plane, int64_t h)
{
    const trine_pool_plan *p = &j->plan;
    const trine_pool_axis *v = &p->height;
    int n = 0;
    for (int64_t i = 0; i < v->kernel; i++) {
        const int64_t t = h + v->padding - i * v->dilation, o = t / v->stride;
        if (t < 0 || t % v->stride || o >= v->out) continue;
        source[n].dy = j->from + (plane[SMALL] + o * p->row[SMALL]) * j->size;
        source[n].index =
            j->average ? NULL : (const int32_t *)(const void *)(j->indices + (plane[INDEX] + o * p->row[INDEX]) * j->index_size);
        source[n++].inverse = 1.0f / (float)trine_pool_taps(v, (int32_t)o, j->include_pad);
    }
    return n;
}

LANES_INLINE void channel_spread_as(const channel_source *source, int n, char *to, trine_dtype dtype, bool average,
                                    int32_t wanted, int64_t channels, bool stream)
{
    for (int64_t i = 0; i < channels; i += LANES_PUT) {
        f32x16 v[2] = {{0}, {0}};
        for (int s = 0; s < n; s++)
            for (int q = 0; q < 2; q++) {
                const f32x16 x = lanes_load(source[s].dy, dtype, i + LANES * q);
                v[q] = average ? lanes_fma(x, lanes_of(source[s].inverse), v[q])
                               : lanes_add_where(v[q], x, source[s].index + i + LANES * q, (i32x16){0} + wanted);
            }
        lanes_put(to + i * lanes_size(dtype), dtype, v[0], v[1], stream);
    }
}

/* One column of dx. */
static void channel_spread(const job *j, const channel_source *source, int n, char *to, int32_t wanted)
{
    const bool stream = j->stream && (uintptr_t)to % 64 == 0;
    const int64_t channels = j->plan.inner;
#define SPREAD_AS(dtype) \
    (j->average ? channel_spread_as(source, n, to, dtype, true, wanted, channels, stream) \
                : channel_spread_as(source, n, to, dtype, false, wanted, channels, stream))
    LANES_BY_DTYPE(j->dtype, SPREAD_AS);
#undef SPREAD_AS
}

/* A row of dx. */
static void channels_backward(const job *j, const int64_t *plane, int64_t row)
{
    const trine_pool_plan *p = &j->plan;
    const trine_pool_axis *a = &p->width;
    const pool_steps steps = pool_steps_of(a);
    channel_source rows[POOL_TAPS], source[CHANNEL_TAPS];
    const int n = channel_rows(j, rows, plane, row);
    const float whole = 1.0f / (float)a->kernel;
    const int32_t reach = (a->kernel - 1) * a->dilation;
    float along[POOL_TAPS] = {0};
    char *to = j->to + (plane[LARGE] + row * p->row[LARGE]) * j->size;
    for (int32_t c = 0, m = 0, q = 0; c < a->in; c++, to += p->column[LARGE] * j->size) {
        int all = 0;
        for (int t = 0; t < steps.count[q] && j->average; t++) {
            const int32_t o = m + steps.shift[q][t], start = o * a->stride - a->padding;
            along[t] = start >= 0 && start + reach < a->in ? whole : 1.0f / (float)trine_pool_taps(a, o, j->include_pad);
        }
        for (int r = 0; r < n; r++)
            for (int t = 0; t < steps.count[q]; t++) {
                const int32_t o = m + steps.shift[q][t];
                if (o < 0 || o >= a->out) continue;
                source[all].dy = rows[r].dy + o * p->column[SMALL] * j->size;
                source[all].index = j->average ? NULL : rows[r].index + o * p->column[INDEX];
                source[all++].inverse = rows[r].inverse * along[t];
            }
        channel_spread(j, source, all, to, (int32_t)row * a->in + c);
        if (++q == a->stride) q = 0, m++;
    }
}

/* ---- All of it: rows of what is written, each of so many columns ---- */

static void run_channels(const job *j, void (*fn)(const job *j, const int64_t *plane, int64_t row), int64_t rows, int64_t columns)
{
    const trine_pool_plan *p = &j->plan;
    const int64_t work = columns * p->inner * p->height.kernel * p->width.kernel;
    CPU_PARALLEL_FOR(range, p->planes.numel * rows, CPU_GRAIN / work + 1)
    {
        for (int64_t i = range.begin; i < range.end; i++) {
            int64_t plane[TRINE_ITER_OPERANDS];
            trine_iter_offsets(&p->planes, i / rows, plane);
            fn(j, plane, i % rows);
        }
        span_fence();
    }
}

#endif
