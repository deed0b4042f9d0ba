/* Norm gradients: rows that are summed while others are written, in one loop (rows_both.h says why), where the forward's statistics
 * are given. Part of norm_backward.h. */
#ifndef TRINE_CPU_NORM_BACKWARD_BOTH_H
#define TRINE_CPU_NORM_BACKWARD_BOTH_H

#include "backends/cpu/norm_backward_rows.h"

/* Columns that are read, then written, by turns. */
enum { GRADIENT_TURN = 128 };

/* Rows that are read, from the column that comes next: what is asked for, and the sums so far of g and of g (x - mean). */
typedef struct gradient_reads {
    const char *x[GRADIENT_TOGETHER], *dy[GRADIENT_TOGETHER], *x_ahead[GRADIENT_TOGETHER], *dy_ahead[GRADIENT_TOGETHER];
    float mean[GRADIENT_TOGETHER];
    f32x16 g[GRADIENT_TOGETHER], gx[GRADIENT_TOGETHER];
} gradient_reads;

/* Numbers of the rows that are written, as gradient_put_as has them. */
typedef struct gradient_writes {
    const char *x[GRADIENT_TOGETHER], *dy[GRADIENT_TOGETHER], *dsum[GRADIENT_TOGETHER];
    char *dx[GRADIENT_TOGETHER];
    float mean[GRADIENT_TOGETHER], rstd[GRADIENT_TOGETHER], slope[GRADIENT_TOGETHER], less[GRADIENT_TOGETHER];
} gradient_writes;

LANES_INLINE gradient_writes gradient_writes_of(const gradient_row *rows, int together, int64_t from)
{
    gradient_writes w;
    for (int r = 0; r < together; r++) {
        w.x[r] = rows[r].at[OF_X] + from;
        w.dy[r] = rows[r].at[OF_DY] + from;
        w.dx[r] = rows[r].at[TO_DX] + from;
        w.dsum[r] = rows[r].at[OF_DSUM] ? rows[r].at[OF_DSUM] + from : NULL;
        w.mean[r] = rows[r].mean;
        w.rstd[r] = rows[r].rstd;
        w.slope[r] = -rows[r].slope * rows[r].rstd;
        w.less[r] = -rows[r].g_mean * rows[r].rstd;
    }
    return w;
}

LANES_INLINE void gradient_read(gradient_reads *in, int together, trine_dtype dtype, bool centred, f32x16 factor, int64_t i)
{
#pragma GCC unroll 4
    for (int r = 0; r < together; r++) {
        const f32x16 x = lanes_load(in->x[r], dtype, i), g = lanes_load(in->dy[r], dtype, i) * factor;
        if (centred) in->g[r] += g;
        in->gx[r] = lanes_fma(g, centred ? x - in->mean[r] : x, in->gx[r]);
    }
}

LANES_INLINE void gradient_write_lanes(const gradient_writes *w, int together, trine_dtype dtype, bool centred, bool added,
                                       const gradient_columns *c, int64_t i, f32x16 *dx)
{
    const f32x16 factor = lanes_load(c->factor, TRINE_F32, i);
    f32x16 dweight = lanes_load(c->dweight, TRINE_F32, i), dbias = dweight;
    if (centred) dbias = lanes_load(c->dbias, TRINE_F32, i);
#pragma GCC unroll 4
    for (int r = 0; r < together; r++) {
        const f32x16 x = lanes_load(w->x[r], dtype, i), dy = lanes_load(w->dy[r], dtype, i), g = dy * factor,
                     h = (centred ? x - w->mean[r] : x) * w->rstd[r];
        dweight = lanes_fma(dy, h, dweight);
        if (centred) dbias += dy;
        dx[r] = lanes_fma(h, lanes_of(w->slope[r]),
                          centred ? lanes_fma(g, lanes_of(w->rstd[r]), lanes_of(w->less[r])) : g * w->rstd[r]);
        if (added) dx[r] += lanes_load(w->dsum[r], dtype, i);
    }
    memcpy(c->dweight + i, &dweight, sizeof dweight);
    if (centred) memcpy(c->dbias + i, &dbias, sizeof dbias);
}

/* c->n columns, a multiple of LANES_PUT, of `together` rows each; dx on whole lines. */
LANES_INLINE void gradient_both_as(gradient_reads *reads, const gradient_row *rows, const gradient_columns *columns, int together,
                                   trine_dtype dtype, bool centred, bool stream)
{
    const gradient_columns c = *columns;
    const int64_t size = lanes_size(dtype);
    const gradient_writes w = gradient_writes_of(rows, together, c.column * size);
    const bool added = rows[0].at[OF_DSUM] != NULL;
    gradient_reads in = *reads;
    for (int64_t from = 0, end; from < c.n; from = end) {
        end = c.n - from < GRADIENT_TURN ? c.n : from + GRADIENT_TURN;
        for (int64_t i = from; i < end; i += LANES_PUT) {
#pragma GCC unroll 4
            for (int r = 0; r < together; r++) lanes_ask(in.x_ahead[r] + i * size, (int)size / 2);
#pragma GCC unroll 2
            for (int k = 0; k < LANES_PUT; k += LANES)
                gradient_read(&in, together, dtype, centred, lanes_load(c.factor, TRINE_F32, i + k), i + k);
        }
        for (int64_t i = from; i < end; i += LANES_PUT) {
            f32x16 v[2][GRADIENT_TOGETHER];
#pragma GCC unroll 4
            for (int r = 0; r < together; r++) lanes_ask(in.dy_ahead[r] + i * size, (int)size / 2);
            for (int k = 0; k < 2; k++)
                if (added)
                    gradient_write_lanes(&w, together, dtype, centred, true, &c, i + LANES * k, v[k]);
                else
                    gradient_write_lanes(&w, together, dtype, centred, false, &c, i + LANES * k, v[k]);
#pragma GCC unroll 4
            for (int r = 0; r < together; r++) lanes_put(w.dx[r] + i * size, dtype, v[0][r], v[1][r], stream);
        }
    }
    for (int r = 0; r < together; r++) reads->g[r] = in.g[r], reads->gx[r] = in.gx[r];
}

/* together: GRADIENT_TOGETHER or 1. */
static void gradient_both(gradient_reads *reads, const gradient_row *rows, const gradient_columns *c, int together,
                          trine_dtype dtype, bool centred, bool stream)
{
#define GRADIENT_AS(type) \
    (together == 1 ? centred ? gradient_both_as(reads, rows, c, 1, type, true, stream) \
                             : gradient_both_as(reads, rows, c, 1, type, false, stream) \
     : centred ? gradient_both_as(reads, rows, c, GRADIENT_TOGETHER, type, true, stream) \
                   : gradient_both_as(reads, rows, c, GRADIENT_TOGETHER, type, false, stream))
    GRADIENT_EACH(dtype);
#undef GRADIENT_AS
}

#endif
