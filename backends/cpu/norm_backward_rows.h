/* What norm_backward.h does with parts of rows: their sums, their dx and what they add to the sums of columns. */
#ifndef TRINE_CPU_NORM_BACKWARD_ROWS_H
#define TRINE_CPU_NORM_BACKWARD_ROWS_H

#include <math.h>

#include "backends/cpu/lanes_store.h"
#include "backends/cpu/span.h"
#include "backends/cpu/vmath.h"

/* Rows that are taken together: what is added to a column's sum is loaded and stored once for all of them. */
enum { GRADIENT_TOGETHER = 4 };
enum { TO_DX, OF_X, OF_DY, OF_DSUM, GRADIENT_OPERANDS };

/* Of part of a row: count, mean, sum of squares about it (not where rstd is given), sum of g = dy factor, sum of g (x - mean).
 * Where the mean is given, it is that one. Rmsnorm: mean and g are 0. */
typedef struct gradient_sums {
    double count, mean, squares, g, gx;
} gradient_sums;

/* Part of a row: n elements. What comes after x is asked for at `ahead`. */
typedef struct gradient_part {
    const char *x, *dy, *ahead;
    const float *factor;
    int64_t n;
} gradient_part;

/* What a row's dx is made of: rstd (g - g_mean - h slope), h = (x - mean) rstd. */
typedef struct gradient_row {
    float mean, rstd, g_mean, slope;
    char *at[GRADIENT_OPERANDS]; /* its operands; NULL: none */
} gradient_row;

#define GRADIENT_EACH(dtype) \
    ((dtype) == TRINE_F32 ? GRADIENT_AS(TRINE_F32) : (dtype) == TRINE_BF16 ? GRADIENT_AS(TRINE_BF16) : GRADIENT_AS(TRINE_F16))

/* ---- Sums along a row ---- */

/* What is summed: x - about, its squares, g, g (x - about). */
enum { GRADIENT_X, GRADIENT_SQUARES, GRADIENT_G, GRADIENT_GX, GRADIENT_SUMS };

LANES_INLINE f32x16 gradient_take(const void *x, trine_dtype dtype, int64_t i, int64_t n, float pad)
{
    return i + LANES <= n ? lanes_load(x, dtype, i) : lanes_load_part(x, dtype, i, n - i, pad);
}

/* moments: x - about and its squares are wanted. */
LANES_INLINE void gradient_add(f32x16 *s, const gradient_part *p, trine_dtype dtype, bool centred, bool moments, f32x16 about,
                               int64_t i)
{
    const f32x16 x = gradient_take(p->x, dtype, i, p->n, about[0]), t = centred ? x - about : x,
                 g = gradient_take(p->dy, dtype, i, p->n, 0) * gradient_take(p->factor, TRINE_F32, i, p->n, 0);
    if (centred && moments) s[GRADIENT_X] += t;
    if (moments) s[GRADIENT_SQUARES] = lanes_fma(t, t, s[GRADIENT_SQUARES]);
    if (centred) s[GRADIENT_G] += g;
    s[GRADIENT_GX] = lanes_fma(g, t, s[GRADIENT_GX]);
}

LANES_INLINE void gradient_add_up(const gradient_part *p, trine_dtype dtype, bool centred, bool moments, float from, double *sums)
{
    const int lines = (int)lanes_size(dtype);
    const gradient_part own = *p;
    const f32x16 about = lanes_of(from);
    f32x16 s[2][GRADIENT_SUMS] = {{{0}, {0}, {0}, {0}}, {{0}, {0}, {0}, {0}}};
    int64_t i = 0;
    for (; i + LANES_BLOCK <= own.n; i += LANES_BLOCK) {
        lanes_ask(own.ahead + i * lines, lines);
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) gradient_add(s[k % 2], &own, dtype, centred, moments, about, i + LANES * k);
    }
    for (; i < own.n; i += LANES) gradient_add(s[0], &own, dtype, centred, moments, about, i);
    for (int k = 0; k < GRADIENT_SUMS; k++) sums[k] = (double)lanes_sum(s[0][k] + s[1][k]);
}

static void gradient_add_as(const gradient_part *p, trine_dtype dtype, bool centred, bool moments, float about, double *sums)
{
#define GRADIENT_AS(type) \
    (centred   ? moments ? gradient_add_up(p, type, true, true, about, sums) : gradient_add_up(p, type, true, false, about, sums) \
       : moments ? gradient_add_up(p, type, false, true, 0, sums) \
               : gradient_add_up(p, type, false, false, 0, sums))
    GRADIENT_EACH(dtype);
#undef GRADIENT_AS
}

/* mean: the row's, or NULL, and then everything is summed about the first element; where that is far from the mean, so that
 * squares would cancel, again about the mean as f32 has it. moments: squares are wanted. */
static gradient_sums gradient_sums_of(const gradient_part *p, trine_dtype dtype, bool centred, const float *mean, bool moments)
{
    const double n = (double)p->n;
    double s[GRADIENT_SUMS];
    float about = 0;
    if (mean) {
        gradient_add_as(p, dtype, centred, moments, *mean, s);
        return (gradient_sums){n, (double)*mean, s[GRADIENT_SQUARES], s[GRADIENT_G], s[GRADIENT_GX]};
    }
    if (centred && p->n > 0) about = lanes_first(p->x, dtype);
    gradient_add_as(p, dtype, centred, true, about, s);
    double off = p->n && centred ? s[GRADIENT_X] / n : 0;
    const double own = (double)about + off;
    if (centred && !(s[GRADIENT_SQUARES] > 1.125 * n * off * off)) {
        about = (float)own;
        gradient_add_as(p, dtype, centred, true, about, s);
        off = own - (double)about;
    }
    return (gradient_sums){n, own, s[GRADIENT_SQUARES] - n * off * off, s[GRADIENT_G], s[GRADIENT_GX] - off * s[GRADIENT_G]};
}

/* Chan, Golub, LeVeque 1979; g (x - mean) goes along. */
static void gradient_merge(gradient_sums *into, const gradient_sums *from)
{
    const double count = into->count + from->count, d = from->mean - into->mean;
    if (d != 0) { /* not where the mean is given */
        const double mean = into->mean + d * from->count / count;
        into->squares += d * d * into->count * from->count / count;
        into->gx += (into->mean - mean) * into->g + (from->mean - mean) * from->g;
        into->mean = mean;
    }
    into->squares += from->squares;
    into->gx += from->gx;
    into->g += from->g;
    into->count = count;
}

/* ---- dx and the sums of columns ---- */

/* n columns of all rows: where they begin, their factors and sums. What comes after dy is asked for at `ahead`. */
typedef struct gradient_columns {
    int64_t column, n;
    const float *factor;
    float *dweight, *dbias;
    const char *ahead;
} gradient_columns;

/* n a multiple of LANES_PUT, with GRADIENT_TOGETHER rows, and dx on whole lines where it is streamed. */
LANES_INLINE void gradient_put_as(const gradient_row *rows, const gradient_columns *columns, trine_dtype dtype, bool centred,
                                  bool added, bool stream)
{
    const gradient_columns c = *columns;
    const int64_t size = lanes_size(dtype);
    const char *x[GRADIENT_TOGETHER], *dy[GRADIENT_TOGETHER], *dsum[GRADIENT_TOGETHER];
    char *dx[GRADIENT_TOGETHER];
    f32x16 mean[GRADIENT_TOGETHER], rstd[GRADIENT_TOGETHER], slope[GRADIENT_TOGETHER], less[GRADIENT_TOGETHER];
    for (int r = 0; r < GRADIENT_TOGETHER; r++) {
        x[r] = rows[r].at[OF_X] + c.column * size;
        dy[r] = rows[r].at[OF_DY] + c.column * size;
        dx[r] = rows[r].at[TO_DX] + c.column * size;
        dsum[r] = added ? rows[r].at[OF_DSUM] + c.column * size : NULL;
        mean[r] = lanes_of(rows[r].mean);
        rstd[r] = lanes_of(rows[r].rstd);
        slope[r] = lanes_of(-rows[r].slope * rows[r].rstd);
        less[r] = lanes_of(-rows[r].g_mean * rows[r].rstd);
    }
    for (int64_t i = 0; i < c.n; i += LANES_PUT) {
        f32x16 v[GRADIENT_TOGETHER][2];
        lanes_ask(c.ahead + i * GRADIENT_TOGETHER * size, (int)size);
        lanes_ask(c.ahead + (i * GRADIENT_TOGETHER + 64) * size, (int)size);
        for (int k = 0; k < 2; k++) {
            const int64_t at = i + LANES * k;
            const f32x16 factor = lanes_load(c.factor, TRINE_F32, at);
            f32x16 dweight = lanes_load(c.dweight, TRINE_F32, at), dbias = dweight;
            if (centred) dbias = lanes_load(c.dbias, TRINE_F32, at);
#pragma GCC unroll 4
            for (int r = 0; r < GRADIENT_TOGETHER; r++) {
                const f32x16 t = lanes_load(x[r], dtype, at), slopes = lanes_load(dy[r], dtype, at), g = slopes * factor,
                             h = (centred ? t - mean[r] : t) * rstd[r];
                dweight = lanes_fma(slopes, h, dweight);
                if (centred) dbias += slopes;
                v[r][k] = lanes_fma(h, slope[r], centred ? lanes_fma(g, rstd[r], less[r]) : g * rstd[r]);
                if (added) v[r][k] += lanes_load(dsum[r], dtype, at);
            }
            memcpy(c.dweight + at, &dweight, sizeof dweight);
            if (centred) memcpy(c.dbias + at, &dbias, sizeof dbias);
        }
#pragma GCC unroll 4
        for (int r = 0; r < GRADIENT_TOGETHER; r++) lanes_put(dx[r] + i * size, dtype, v[r][0], v[r][1], stream);
    }
}

static void gradient_put_lines(const gradient_row *rows, const gradient_columns *c, trine_dtype dtype, bool centred, bool stream)
{
    const bool added = rows[0].at[OF_DSUM] != NULL;
#define GRADIENT_AS(type) \
    (centred ? added ? gradient_put_as(rows, c, type, true, true, stream) : gradient_put_as(rows, c, type, true, false, stream) \
     : added ? gradient_put_as(rows, c, type, false, true, stream) \
             : gradient_put_as(rows, c, type, false, false, stream))
    GRADIENT_EACH(dtype);
#undef GRADIENT_AS
}

/* One row, n <= SPAN_MAX. round_first: what dweight's terms have in the place of h is rounded. */
static void gradient_put_span(const gradient_row *row, const gradient_columns *c, trine_dtype dtype, bool round_first,
                              bool stream)
{
    const int64_t from = c->column * (trine_dtype_bits(dtype) / 8), n = c->n;
    const float mean = row->mean, rstd = row->rstd, g_mean = row->g_mean, slope = row->slope;
    SPAN_BUFFER(x_buffer);
    SPAN_BUFFER(dy_buffer);
    SPAN_BUFFER(h_buffer);
    SPAN_BUFFER(dx);
    const float *x = span_load(x_buffer, row->at[OF_X] + from, dtype, n),
                *dy = span_load(dy_buffer, row->at[OF_DY] + from, dtype, n), *h = h_buffer;
    for (int64_t i = 0; i < n; i++) h_buffer[i] = (x[i] - mean) * rstd;
    for (int64_t i = 0; i < n; i++) dx[i] = TRINE_FMA(h[i], -slope * rstd, TRINE_FMA(dy[i] * c->factor[i], rstd, -g_mean * rstd));
    if (round_first && dtype != TRINE_F32) {
        char codes[SPAN_MAX * 2];
        span_store(codes, dtype, h, n, false);
        h = span_load(h_buffer, codes, dtype, n);
    }
    for (int64_t i = 0; i < n; i++) c->dweight[i] = TRINE_FMA(dy[i], h[i], c->dweight[i]);
    for (int64_t i = 0; i < n; i++) c->dbias[i] += dy[i];
    if (row->at[OF_DSUM]) {
        const float *dsum = span_load(x_buffer, row->at[OF_DSUM] + from, dtype, n);
        for (int64_t i = 0; i < n; i++) dx[i] += dsum[i];
    }
    span_store(row->at[TO_DX] + from, dtype, dx, n, stream);
}

#endif
