/* Sums of short planes (7 x 7, 14 x 14) of many samples, on the CPU, part of norm.c: those of a sample lie one behind the other, and
 * are read as they lie, some samples at a time, every element a column of its own (channel_columns.h). A tile is some whole planes;
 * its columns are added up in f32 over some samples, about one number a channel, and in f64 above, by channel. */
#ifndef TRINE_CPU_CHANNEL_FLAT_H
#define TRINE_CPU_CHANNEL_FLAT_H

#include "backends/cpu/channel_columns.h"
#include "backends/cpu/channel_planes.h"

typedef struct flat_tile {
    int64_t channel, channels, width;
    _Alignas(64) float about[SPAN_MAX];
    column_sums s;
} flat_tile;

static void flat_start(const channel_columns *p, flat_tile *t, int64_t number, const float *about)
{
    const int64_t left = p->c->units.channels - number * p->tile;
    t->channel = number * p->tile;
    t->channels = left < p->tile ? left : p->tile;
    t->width = t->channels * p->plane;
    for (int64_t u = 0; u < t->channels; u++) {
        const char *x = columns_at(p, 0, (t->channel + u) * p->plane, 1);
        const float own = about ? about[t->channel + u] : plane_mean(p->c, x);
        for (int64_t i = 0; i < p->plane; i++) t->about[u * p->plane + i] = own;
    }
    memset(&t->s, 0, sizeof t->s);
}

/* To the channels' sums, at `to`. */
static void flat_flush(const channel_columns *p, flat_tile *t, double *to)
{
    for (int64_t u = 0; u < t->channels; u++)
        for (int k = 0; k < 2; k++) {
            const lanes_input in = {.x = {t->s.sum[k] + u * p->plane}, .dtype = TRINE_F32, .n = p->plane};
            to[2 * (t->channel + u) + k] += (double)lanes_plain(&in, 0);
        }
    memset(&t->s, 0, sizeof t->s);
}

/* Tiles from `from` on, of a slice's rows. */
static void flat_gather_tiles(const channel_columns *p, int64_t slice, int64_t from, const float *about)
{
    enum { F32_ROWS = 256 };
    flat_tile tiles[CHANNEL_FLAT];
    double *to = p->sum[0] + slice * p->c->units.channels * 2;
    const int64_t count = p->tiles - from < CHANNEL_FLAT ? p->tiles - from : CHANNEL_FLAT, begin = slice * p->slice,
                  end = begin + p->slice < p->rows ? begin + p->slice : p->rows;
    for (int64_t k = 0; k < count; k++) flat_start(p, &tiles[k], from + k, about);
    for (int64_t row = begin, rows; row < end; row += rows) {
        rows = end - row >= CHANNEL_ROWS ? CHANNEL_ROWS : 1;
        for (flat_tile *t = tiles; t < tiles + count; t++) {
            const char *x[CHANNEL_ROWS] = {NULL}, *dy[CHANNEL_ROWS] = {NULL};
            for (int64_t k = 0; k < rows; k++) {
                x[k] = columns_at(p, row + k, t->channel * p->plane, 1);
                if (p->c->inputs > 1) dy[k] = columns_at(p, row + k, t->channel * p->plane, 2);
            }
            column_add(&t->s, x, dy, t->about, p->c->dtype, t->width, rows);
            if ((row + rows - begin) % F32_ROWS == 0) flat_flush(p, t, to);
        }
    }
    for (int64_t k = 0; k < count; k++) flat_flush(p, &tiles[k], to);
}

/* about: of the channels, or NULL for the mean of each one's first plane. */
static void channel_flat_gather(const channel_columns *p, const float *about)
{
    const unit_call *c = p->c;
    const int64_t groups = (p->tiles + CHANNEL_FLAT - 1) / CHANNEL_FLAT, channels = c->units.channels;
    memset(p->sum[0], 0, (size_t)(p->slices * channels) * 2 * sizeof(double));
    CPU_PARALLEL_FOR(range, p->slices * groups, 1)
    {
        for (int64_t task = range.begin; task < range.end; task++)
            flat_gather_tiles(p, task / groups, task % groups * CHANNEL_FLAT, about);
    }
    for (int64_t channel = 0; channel < channels; channel++) {
        double sum[2] = {0, 0};
        for (int64_t s = 0; s < p->slices; s++)
            for (int k = 0; k < 2; k++) sum[k] += p->sum[0][(s * channels + channel) * 2 + k];
        unit_clear(c->sums[channel]);
        memcpy(c->sums[channel], sum, sizeof sum);
        if (c->inputs > 1) continue;
        const double n = (double)c->units.n, mean = (double)plane_mean(c, columns_at(p, 0, channel * p->plane, 1)) + sum[0] / n;
        const double own[UNIT_SUMS] = {n, mean, sum[1] - sum[0] * sum[0] / n}; /* the count, the mean, the squares about it */
        memcpy(c->sums[channel], own, sizeof own);
    }
}

#endif
