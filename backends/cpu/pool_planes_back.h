/* Gradients of pooling over planes whose columns are dense, on the CPU, part of pool.c.
 *
 * Rows of dy are held as f32, an average's divided by its windows, with what is none around them, and the indices of maxima beside
 * them. An element of dx adds what the outputs have for it that its windows are of; by steps of two along a row these are others
 * for even and for odd columns. */
#ifndef TRINE_CPU_POOL_PLANES_BACK_H
#define TRINE_CPU_POOL_PLANES_BACK_H

#include "backends/cpu/pool_planes.h"

/* What to do about a row, by constants where windows are the commonest: of 2, or of 3 with a padding of 1, by steps of two. */
typedef enum plane_kind { PLANE_BY_ONE, PLANE_BY_TWO, PLANE_OF_2, PLANE_OF_3 } plane_kind;
static const pool_steps plane_steps_2 = {{1, 1}, {{0}, {0}}}, plane_steps_3 = {{1, 2}, {{0}, {1, 0}}};

static plane_kind plane_kind_of(const trine_pool_axis *a, const pool_steps *steps)
{
    if (a->stride == 1) return PLANE_BY_ONE;
    return memcmp(steps, &plane_steps_2, sizeof *steps) == 0   ? PLANE_OF_2
           : memcmp(steps, &plane_steps_3, sizeof *steps) == 0 ? PLANE_OF_3
                                                               : PLANE_BY_TWO;
}

/* A row of dy and its indices. */
typedef struct plane_source {
    const float *dy;
    const int32_t *index;
} plane_source;

LANES_INLINE void plane_hold_as(const job *j, float *to, int32_t *where, const char *dy, const char *index, const float *inverse,
                                trine_dtype dtype)
{
    const int64_t out = j->plan.width.out;
    for (int64_t i = 0; i < out; i += LANES) {
        f32x16 x = plane_load(dy, dtype, i, out, 0);
        if (j->average) x *= lanes_load(inverse, TRINE_F32, i);
        memcpy(to + i, &x, sizeof x);
        if (j->average) continue;
        x = plane_load(index, TRINE_F32, i, out, -1.0f); /* which as an index is negative */
        memcpy(where + i, &x, sizeof x);
    }
}

static plane_source plane_hold(const job *j, plane_buffers *b, const int64_t *plane, int64_t o)
{
    const trine_pool_plan *p = &j->plan;
    const int64_t before = plane_margin(&p->width), place = o % PLANE_RING;
    float *to = b->ring[place] + before;
    int32_t *where = b->where[place] + before;
    const char *dy = j->from + (plane[SMALL] + o * p->row[SMALL]) * j->size,
               *index = j->average ? NULL : j->indices + (plane[INDEX] + o * p->row[INDEX]) * j->index_size;
    if (b->held[place] != o) {
        if (j->average) plane_invert(j, b, o);
        if (j->dtype == TRINE_F32)
            plane_hold_as(j, to, where, dy, index, b->inverse, TRINE_F32);
        else if (j->dtype == TRINE_BF16)
            plane_hold_as(j, to, where, dy, index, b->inverse, TRINE_BF16);
        else
            plane_hold_as(j, to, where, dy, index, b->inverse, TRINE_F16);
        b->held[place] = o;
    }
    return (plane_source){to, where};
}

/* sum, and what outputs [i, i + 16) have for the elements `wanted`. */
LANES_INLINE f32x16 plane_more(f32x16 sum, const plane_source *row, int64_t i, bool average, i32x16 wanted)
{
    const f32x16 x = lanes_load(row->dy, TRINE_F32, i);
    return average ? sum + x : lanes_add_where(sum, x, row->index + i, wanted);
}

/* A row of dx, whose first element has the index `first`. */
LANES_INLINE void plane_spread_of(char *to, trine_dtype dtype, const plane_source *row, int rows, const pool_steps *steps,
                                  int stride, bool average, int32_t first, int64_t in)
{
    const i32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    for (int64_t i = 0; i < in; i += 2 * LANES) {
        f32x16 v[2];
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) {
            const int q = stride == 2 ? half : 0;
            const int64_t m = stride == 2 ? i / 2 : i + LANES * half;
            const i32x16 wanted = (lane + (int32_t)m) * stride + (first + q);
            v[half] = (f32x16){0};
#pragma GCC unroll 2
            for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
                for (int t = 0; t < steps->count[q]; t++)
                    v[half] = plane_more(v[half], &row[r], m + steps->shift[q][t], average, wanted);
        }
        if (stride == 2)
            plane_put_turns(to + i * lanes_size(dtype), dtype, v[0], v[1]);
        else
            plane_put(to + i * lanes_size(dtype), dtype, v[0], v[1]);
    }
}

LANES_INLINE void plane_spread_as(char *to, trine_dtype dtype, const plane_source *row, int rows, const pool_steps *steps,
                                  plane_kind kind, bool average, int32_t first, int64_t in)
{
    if (kind == PLANE_BY_ONE)
        plane_spread_of(to, dtype, row, rows, steps, 1, average, first, in);
    else if (kind == PLANE_OF_2 && rows == 1)
        plane_spread_of(to, dtype, row, 1, &plane_steps_2, 2, average, first, in);
    else if (kind == PLANE_OF_3 && rows == 1)
        plane_spread_of(to, dtype, row, 1, &plane_steps_3, 2, average, first, in);
    else if (kind == PLANE_OF_3 && rows == 2)
        plane_spread_of(to, dtype, row, 2, &plane_steps_3, 2, average, first, in);
    else
        plane_spread_of(to, dtype, row, rows, steps, 2, average, first, in);
}

static void plane_spread(const job *j, char *to, const plane_source *row, int rows, const pool_steps *steps, plane_kind kind,
                         int32_t first)
{
    const int64_t in = j->plan.width.in;
#define SPREAD(dtype) \
    (j->average ? plane_spread_as(to, dtype, row, rows, steps, kind, true, first, in) \
                : plane_spread_as(to, dtype, row, rows, steps, kind, false, first, in))
    LANES_BY_DTYPE(j->dtype, SPREAD);
#undef SPREAD
}

/* Rows [begin, end) of dx. */
static void plane_backward(const job *j, plane_buffers *b, const int64_t *plane, int64_t begin, int64_t end)
{
    const trine_pool_axis *v = &j->plan.height;
    const pool_steps steps = pool_steps_of(&j->plan.width);
    const plane_kind kind = plane_kind_of(&j->plan.width, &steps);
    const int64_t in = j->plan.width.in;
    for (int k = 0; k < PLANE_RING; k++) b->held[k] = -1;
    for (int64_t h = begin; h < end; h++) {
        plane_source row[PLANE_TAPS];
        int rows = 0;
        for (int64_t i = 0; i < v->kernel; i++) {
            const int64_t t = h + v->padding - i * v->dilation;
            if (t < 0 || t % v->stride || t / v->stride >= v->out) continue;
            row[rows++] = plane_hold(j, b, plane, t / v->stride);
        }
        char *to = plane_next(j, b, j->to + (plane[LARGE] + h * j->plan.row[LARGE]) * j->size, in);
        plane_spread(j, to, row, rows, &steps, kind, (int32_t)(h * in));
    }
}

/* Whether maxima are looked for in this way. */
static inline bool planes_look_fit(const job *j)
{
    const trine_pool_plan *p = &j->plan;
    return !j->average && j->index_dtype == TRINE_I32 && p->column[INDEX] == 1 && plane_fits(j, SMALL, LARGE) &&
           (int64_t)p->height.in * p->width.in <= INT32_MAX;
}

#endif
