/* Norm gradients: rows that are summed while others are written, in one loop (rows_both.h says why), where the forward's statistics
 * are given. Part of norm_backward.h. */
#ifndef TRINE_CPU_NORM_BACKWARD_BOTH_H
#define TRINE_CPU_NORM_BACKWARD_BOTH_H

#include "backends/cpu/norm_backward_rows.h"

/* Rows side by side, whose columns are added up before a sum of columns is loaded and stored; others go one after the other, and
 * their sums stay in the L1 cache. (Zen 5: more streams at once cost more than fewer sums save.) Bytes from what a row is read at to
 * what it asks for. */
enum { GRADIENT_SIDE = 2 };
#define GRADIENT_ASK(side) 2048

/* Rows that are summed and rows that are written, from one column on: where the first ones lie, all `stride` bytes from one to the
 * next. Rows have `length` bytes and end `left` bytes behind it. */
typedef struct gradient_pass {
    const char *x, *dy, *old_x, *old_dy, *dsum; /* dsum: NULL if there is none */
    char *dx;
    int64_t stride, length, left;
    const float *mean;        /* of the rows that are summed */
    const gradient_row *rows; /* that are written */
    gradient_columns columns;
} gradient_pass;

/* Of the rows that are summed: their means, and sums of g and g (x - mean). Of those that are written: see gradient_put_as. */
typedef struct gradient_side {
    float about[GRADIENT_SIDE], mean[GRADIENT_SIDE], rstd[GRADIENT_SIDE], slope[GRADIENT_SIDE], less[GRADIENT_SIDE];
    f32x16 g[GRADIENT_SIDE], gx[GRADIENT_SIDE];
} gradient_side;

LANES_INLINE void gradient_read(gradient_side *s, const char *x, const char *dy, const float *factors, int side, int64_t stride,
                                trine_dtype dtype, bool centred, int64_t i)
{
#pragma GCC unroll 2
    for (int k = 0; k < LANES_PUT; k += LANES) {
        const f32x16 factor = lanes_load(factors, TRINE_F32, i + k);
#pragma GCC unroll 2
        for (int r = 0; r < side; r++) {
            const f32x16 t = lanes_load(x + r * stride, dtype, i + k), g = lanes_load(dy + r * stride, dtype, i + k) * factor;
            if (centred) s->g[r] += g;
            s->gx[r] = lanes_fma(g, centred ? t - s->about[r] : t, s->gx[r]);
        }
    }
}

LANES_INLINE void gradient_give(const gradient_side *s, const char *x, const char *dy, const gradient_columns *c, int side,
                                int64_t stride, trine_dtype dtype, bool centred, int64_t i, f32x16 v[GRADIENT_SIDE])
{
    const f32x16 factor = lanes_load(c->factor, TRINE_F32, i);
    f32x16 dweight = lanes_load(c->dweight, TRINE_F32, i), dbias = dweight;
    if (centred) dbias = lanes_load(c->dbias, TRINE_F32, i);
#pragma GCC unroll 2
    for (int r = 0; r < side; r++) {
        const f32x16 t = lanes_load(x + r * stride, dtype, i), slopes = lanes_load(dy + r * stride, dtype, i),
                     g = slopes * factor, h = (centred ? t - s->mean[r] : t) * s->rstd[r];
        dweight = lanes_fma(slopes, h, dweight);
        if (centred) dbias += slopes;
        v[r] = lanes_fma(h, lanes_of(s->slope[r]),
                         centred ? lanes_fma(g, lanes_of(s->rstd[r]), lanes_of(s->less[r])) : g * s->rstd[r]);
    }
    memcpy(c->dweight + i, &dweight, sizeof dweight);
    if (centred) memcpy(c->dbias + i, &dbias, sizeof dbias);
}

/* The sums of a part of a row, whose n is a multiple of LANES_PUT, when no other one is written: the same bits. */
LANES_INLINE void gradient_alone_as(const gradient_part *p, float mean, trine_dtype dtype, bool centred, gradient_sums *sums)
{
    const gradient_part own = *p;
    gradient_side s = {.about = {mean}};
    s.g[0] = s.gx[0] = (f32x16){0};
    for (int64_t i = 0; i < own.n; i += LANES_PUT) {
        lanes_ask(own.ahead + i * lanes_size(dtype), (int)lanes_size(dtype) / 2);
        gradient_read(&s, own.x, own.dy, own.factor, 1, 0, dtype, centred, i);
    }
    *sums = (gradient_sums){(double)own.n, (double)mean, 0, (double)lanes_sum(s.g[0]), (double)lanes_sum(s.gx[0])};
}

static gradient_sums gradient_alone(const gradient_part *p, float mean, trine_dtype dtype, bool centred)
{
    gradient_sums sums;
#define GRADIENT_AS(type) \
    (centred ? gradient_alone_as(p, mean, type, true, &sums) : gradient_alone_as(p, mean, type, false, &sums))
    GRADIENT_EACH(dtype);
#undef GRADIENT_AS
    return sums;
}

/* columns.n columns, a multiple of LANES_PUT, of `side` rows from number `first` on; dx on whole lines. */
LANES_INLINE void gradient_both_as(const gradient_pass *p, int first, int side, trine_dtype dtype, bool centred, bool stream,
                                   gradient_sums *sums)
{
    const int64_t size = lanes_size(dtype), n = p->columns.n, stride = p->stride, from = first * stride,
                  near = (p->left - GRADIENT_ASK(side)) / size; /* columns whose lines ahead are the row's own */
    const char *x = p->x + from, *dy = p->dy + from, *old_x = p->old_x + from, *old_dy = p->old_dy + from,
               *dsum = p->dsum ? p->dsum + from : NULL;
    char *dx = p->dx + from;
    const gradient_columns c = {0, 0, p->columns.factor, p->columns.dweight, p->columns.dbias, NULL};
    gradient_side s;
    for (int r = 0; r < side; r++) {
        const gradient_row *row = &p->rows[first + r];
        s.about[r] = centred ? p->mean[first + r] : 0;
        s.mean[r] = row->mean;
        s.rstd[r] = row->rstd;
        s.slope[r] = -row->slope * row->rstd;
        s.less[r] = -row->g_mean * row->rstd;
        s.g[r] = s.gx[r] = (f32x16){0};
    }
    for (int64_t i = 0, end; i < n;) {
        /* behind the row the one that is read in its place next; in integers, for it may lie outside of the tensor */
        const int64_t ahead = GRADIENT_ASK(side) + (i < near ? 0 : side * stride - p->length);
        const uintptr_t x_ahead = (uintptr_t)x + (uintptr_t)ahead, dy_ahead = (uintptr_t)dy + (uintptr_t)ahead;
        end = i < near && near < n ? near : n;
        for (; i < end; i += LANES_PUT) {
            f32x16 v[2][GRADIENT_SIDE];
#pragma GCC unroll 2
            for (int r = 0; r < side; r++) {
                lanes_ask((const char *)x_ahead + r * stride + i * size, (int)size / 2);
            }
            gradient_read(&s, x, dy, c.factor, side, stride, dtype, centred, i);
#pragma GCC unroll 2
            for (int r = 0; r < side; r++) lanes_ask((const char *)dy_ahead + r * stride + i * size, (int)size / 2);
#pragma GCC unroll 2
            for (int k = 0; k < 2; k++) gradient_give(&s, old_x, old_dy, &c, side, stride, dtype, centred, i + LANES * k, v[k]);
#pragma GCC unroll 2
            for (int r = 0; r < side; r++) {
                for (int k = 0; k < 2 && dsum; k++) v[k][r] += lanes_load(dsum + r * stride, dtype, i + LANES * k);
                lanes_put(dx + r * stride + i * size, dtype, v[0][r], v[1][r], stream);
            }
        }
    }
    for (int r = 0; r < side; r++)
        sums[r] = (gradient_sums){(double)n, (double)s.about[r], 0, (double)lanes_sum(s.g[r]), (double)lanes_sum(s.gx[r])};
}

/* side: 1 or GRADIENT_SIDE. */
static void gradient_both(const gradient_pass *p, int first, int side, trine_dtype dtype, bool centred, bool stream,
                          gradient_sums *sums)
{
#define GRADIENT_AS(type) \
    (side == 1 ? centred ? gradient_both_as(p, first, 1, type, true, stream, sums) \
                         : gradient_both_as(p, first, 1, type, false, stream, sums) \
     : centred ? gradient_both_as(p, first, GRADIENT_SIDE, type, true, stream, sums) \
               : gradient_both_as(p, first, GRADIENT_SIDE, type, false, stream, sums))
    GRADIENT_EACH(dtype);
#undef GRADIENT_AS
}

#endif
