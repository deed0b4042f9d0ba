/* A model in f64 of batchnorm (`groups` 0), groupnorm and their gradients, for channels.h, part of norm.c. Gradients are compared
 * with central differences. */
#ifndef TRINE_TESTS_CHANNEL_MODEL_H
#define TRINE_TESTS_CHANNEL_MODEL_H

#include <string.h>

#include "tests/cases/gradients.h"

typedef struct channel_model {
    int64_t samples, channels, plane;
    int32_t last; /* channels_last */
    int64_t groups;
    const double *x, *dy;
    int64_t period; /* elements of x and dy that are there */
    const double *weight, *bias;
    double eps;
    /* of every set; sums are sum(g) and sum(g z) */
    double *mean, *rstd, *squares, *sum, *along;
    double *dweight, *dbias;
} channel_model;

static int64_t model_sets(const channel_model *m) { return m->groups ? m->samples * m->groups : m->channels; }

static int64_t model_numel(const channel_model *m) { return m->samples * m->channels * m->plane; }

static void model_where(const channel_model *m, int64_t i, int64_t *sample, int64_t *channel)
{
    *sample = i / (m->channels * m->plane);
    *channel = m->last ? i % m->channels : i / m->plane % m->channels;
}

static int64_t model_set(const channel_model *m, int64_t sample, int64_t channel)
{
    return m->groups ? sample * m->groups + channel / (m->channels / m->groups) : channel;
}

static double model_set_size(const channel_model *m)
{
    const int64_t sets = model_sets(m);
    return sets ? (double)(model_numel(m) / sets) : 0;
}

static double model_weight(const channel_model *m, int64_t channel) { return m->weight ? m->weight[channel] : 1; }

/* f(m, i, at, set, channel) for every element; at: its index in x and dy. */
typedef void (*model_fn)(const channel_model *m, int64_t i, int64_t set, int64_t channel);

static void model_each(const channel_model *m, model_fn f)
{
    int64_t at = 0;
    const int64_t runs = m->last ? m->samples * m->plane : m->samples * m->channels, run = m->last ? m->channels : m->plane;
    for (int64_t r = 0; r < runs; r++)
        for (int64_t j = 0; j < run; j++) {
            const int64_t sample = m->last ? r / m->plane : r / m->channels, channel = m->last ? j : r % m->channels;
            f(m, at, model_set(m, sample, channel), channel);
            if (++at == m->period) at = 0;
        }
}

static void add_value(const channel_model *m, int64_t i, int64_t set, int64_t channel)
{
    (void)channel;
    m->mean[set] += m->x[i];
}

static void add_square(const channel_model *m, int64_t i, int64_t set, int64_t channel)
{
    (void)channel;
    m->squares[set] += (m->x[i] - m->mean[set]) * (m->x[i] - m->mean[set]);
}

static void add_slope(const channel_model *m, int64_t i, int64_t set, int64_t channel)
{
    const double z = (m->x[i] - m->mean[set]) * m->rstd[set], g = model_weight(m, channel) * m->dy[i];
    m->sum[set] += g;
    m->along[set] += g * z;
    m->dweight[channel] += m->dy[i] * z;
    m->dbias[channel] += m->dy[i];
}

static void model_statistics(const channel_model *m)
{
    const double n = model_set_size(m);
    const int64_t sets = model_sets(m);
    for (int64_t s = 0; s < sets; s++) m->mean[s] = m->squares[s] = 0;
    model_each(m, add_value);
    for (int64_t s = 0; s < sets; s++) m->mean[s] /= n;
    model_each(m, add_square);
    for (int64_t s = 0; s < sets; s++) m->rstd[s] = 1 / sqrt(m->squares[s] / n + m->eps);
}

static void model_slopes(const channel_model *m)
{
    for (int64_t s = 0; s < model_sets(m); s++) m->sum[s] = m->along[s] = 0;
    for (int64_t c = 0; c < m->channels; c++) m->dweight[c] = m->dbias[c] = 0;
    model_each(m, add_slope);
}

static double model_y(const channel_model *m, int64_t i)
{
    int64_t sample, channel;
    model_where(m, i, &sample, &channel);
    const int64_t set = model_set(m, sample, channel);
    return (m->x[i % m->period] - m->mean[set]) * m->rstd[set] * model_weight(m, channel) + (m->bias ? m->bias[channel] : 0);
}

static double model_dx(const channel_model *m, int64_t i, bool inference)
{
    int64_t sample, channel;
    model_where(m, i, &sample, &channel);
    const int64_t set = model_set(m, sample, channel);
    const double n = model_set_size(m), g = model_weight(m, channel) * m->dy[i % m->period];
    const double z = (m->x[i % m->period] - m->mean[set]) * m->rstd[set];
    return m->rstd[set] * (inference ? g : g - m->sum[set] / n - z * m->along[set] / n);
}

static double *numbers(int64_t n)
{
    double *x = calloc((size_t)n + 1, sizeof *x);
    if (!x) abort(); /* a test without memory can't judge anything */
    return x;
}

static void model_allocate(channel_model *m)
{
    const int64_t sets = model_sets(m);
    m->mean = numbers(5 * sets + 2 * m->channels);
    m->rstd = m->mean + sets;
    m->squares = m->rstd + sets;
    m->sum = m->squares + sets;
    m->along = m->sum + sets;
    m->dweight = m->along + sets;
    m->dbias = m->dweight + m->channels;
}

/* ---- Gradients against differences ---- */

enum { SMALL = 2 * 4 * 3 };

typedef struct channel_loss_terms {
    channel_model *m;
    bool inference;
} channel_loss_terms;

static double channel_loss(const double *at, const void *user)
{
    const channel_loss_terms *t = user;
    double sum = 0;
    (void)at; /* part of the model */
    if (!t->inference) model_statistics(t->m);
    for (int64_t i = 0; i < SMALL; i++) sum += model_y(t->m, i) * t->m->dy[i];
    return sum;
}

static void check_channel_gradients(int64_t groups, int32_t last, bool inference)
{
    double x[SMALL], dy[SMALL], dx[SMALL], weight[4] = {0.5, -1, 2, 1.25}, bias[4] = {1, 0, -1, 3}, dweight[4], dbias[4];
    channel_model m = {2, 4, 3, last, groups, x, dy, SMALL, weight, bias, 1e-3, NULL, NULL, NULL, NULL, NULL, NULL, NULL};
    const channel_loss_terms t = {&m, inference};
    model_allocate(&m);
    for (int i = 0; i < SMALL; i++) x[i] = sin(i * i) + 2, dy[i] = cos(3 * i);
    model_statistics(&m);
    model_slopes(&m);
    memcpy(dweight, m.dweight, sizeof dweight);
    memcpy(dbias, m.dbias, sizeof dbias);
    for (int i = 0; i < SMALL; i++) dx[i] = model_dx(&m, i, inference);
    check_differences("the norms by channel, x", channel_loss, &t, x, dx, SMALL);
    check_differences("the norms by channel, weight", channel_loss, &t, weight, dweight, 4);
    check_differences("the norms by channel, bias", channel_loss, &t, bias, dbias, 4);
    free(m.mean);
}

#endif
