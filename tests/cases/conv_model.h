/* Convolutions and their gradients in f64, element by element, over the tensors of a case or plain numbers; the gradients are compared
 * with differences of the forward's (check_gradients). */
#ifndef TRINE_TESTS_CASES_CONV_MODEL_H
#define TRINE_TESTS_CASES_CONV_MODEL_H

#include "tests/cases/cases.h"
#include "tests/cases/gradients.h"

/* ---- The oracle ---- */

/* Sizes; a convolution along one axis has height 1. */
typedef struct geometry {
    int64_t n, c, k, groups; /* all channels */
    int64_t in[2], out[2], taps[2], stride[2], padding[2], dilation[2];
    bool last; /* channels */
} geometry;

/* [images, channels, height, width], or with the channels last: of a case, or plain numbers. */
typedef struct field {
    const case_tensor *t;
    const double *values;                /* NULL: only the tensor has them */
    int64_t image, channel, row, column; /* steps along the axes */
} field;

static field field_of(const case_tensor *t, const double *values, int64_t channels, const int64_t *size, bool last)
{
    return (field){.t = t,
                   .values = t ? t->values : values,
                   .image = channels * size[0] * size[1],
                   .channel = last ? 1 : size[0] * size[1],
                   .row = last ? channels * size[1] : size[1],
                   .column = last ? channels : 1};
}

static double value_at(const field *f, int64_t i) { return f->values ? f->values[i] : case_value(f->t, i); }

static int64_t index_of(const field *f, int64_t n, int64_t c, int64_t h, int64_t w)
{
    return n * f->image + c * f->channel + h * f->row + w * f->column;
}

static double get(const field *f, int64_t n, int64_t c, int64_t h, int64_t w) { return value_at(f, index_of(f, n, c, h, w)); }

static field input_of(const geometry *g, const case_tensor *t, const double *values)
{
    return field_of(t, values, g->c, g->in, g->last);
}
static field output_of(const geometry *g, const case_tensor *t, const double *values)
{
    return field_of(t, values, g->k, g->out, g->last);
}
static field filter_of(const geometry *g, const case_tensor *t, const double *values)
{
    return field_of(t, values, g->c / g->groups, g->taps, g->last);
}

/* Where tap j of output o meets the input along an axis; -1: nowhere. */
static int64_t met(const geometry *g, int axis, int64_t o, int64_t j)
{
    const int64_t at = o * g->stride[axis] - g->padding[axis] + j * g->dilation[axis];
    return at < g->in[axis] ? at : -1;
}

/* The output whose tap j meets element i; -1: none. */
static int64_t met_by(const geometry *g, int axis, int64_t i, int64_t j)
{
    const int64_t at = i + g->padding[axis] - j * g->dilation[axis];
    return at >= 0 && at % g->stride[axis] == 0 && at / g->stride[axis] < g->out[axis] ? at / g->stride[axis] : -1;
}

static double output_at(const geometry *g, const field *x, const field *f, const int64_t *at)
{
    const int64_t c = g->c / g->groups, first = at[1] / (g->k / g->groups) * c;
    double sum = 0;
    for (int64_t r = 0; r < g->taps[0]; r++)
        for (int64_t s = 0; s < g->taps[1]; s++) {
            const int64_t h = met(g, 0, at[2], r), w = met(g, 1, at[3], s);
            if (h < 0 || w < 0) continue;
            const int64_t from = index_of(x, at[0], first, h, w), by = index_of(f, at[1], 0, r, s);
            for (int64_t i = 0; i < c; i++) sum += value_at(x, from + i * x->channel) * value_at(f, by + i * f->channel);
        }
    return sum;
}

static double input_gradient_at(const geometry *g, const field *dy, const field *f, const int64_t *at)
{
    const int64_t c = g->c / g->groups, k = g->k / g->groups, first = at[1] / c * k;
    double sum = 0;
    for (int64_t r = 0; r < g->taps[0]; r++)
        for (int64_t s = 0; s < g->taps[1]; s++) {
            const int64_t p = met_by(g, 0, at[2], r), q = met_by(g, 1, at[3], s);
            if (p < 0 || q < 0) continue;
            const int64_t from = index_of(dy, at[0], first, p, q), by = index_of(f, first, at[1] % c, r, s);
            for (int64_t i = 0; i < k; i++) sum += value_at(dy, from + i * dy->channel) * value_at(f, by + i * f->image);
        }
    return sum;
}

static double filter_gradient_at(const geometry *g, const field *x, const field *dy, const int64_t *at)
{
    const int64_t c = g->c / g->groups, channel = at[0] / (g->k / g->groups) * c + at[1];
    double sum = 0;
    for (int64_t n = 0; n < g->n; n++)
        for (int64_t p = 0; p < g->out[0]; p++) {
            const int64_t h = met(g, 0, p, at[2]);
            if (h < 0) continue;
            const int64_t from = index_of(dy, n, at[0], p, 0), by = index_of(x, n, channel, h, 0);
            for (int64_t q = 0; q < g->out[1]; q++) {
                const int64_t w = met(g, 1, q, at[3]);
                if (w >= 0) sum += value_at(dy, from + q * dy->column) * value_at(x, by + w * x->column);
            }
        }
    return sum;
}

/* ---- Gradients against differences ---- */

enum { MODEL_X = 2 * 4 * 6 * 5, MODEL_F = 6 * 2 * 3 * 2, MODEL_Y = 2 * 6 * 3 * 5 };

typedef struct model {
    geometry g;
    double dy[MODEL_Y];
} model;

/* at: x, then the filter. */
static double model_loss(const double *at, const void *user)
{
    const model *m = user;
    const geometry *g = &m->g;
    const field x = input_of(g, NULL, at), f = filter_of(g, NULL, at + MODEL_X);
    double loss = 0;
    int64_t i = 0;
    for (int64_t n = 0; n < g->n; n++)
        for (int64_t k = 0; k < g->k; k++)
            for (int64_t p = 0; p < g->out[0]; p++)
                for (int64_t q = 0; q < g->out[1]; q++, i++) loss += m->dy[i] * output_at(g, &x, &f, (int64_t[4]){n, k, p, q});
    return loss;
}

static void check_gradients(void)
{
    model m = {.g = {.n = 2,
                     .c = 4,
                     .k = 6,
                     .groups = 2,
                     .in = {6, 5},
                     .out = {3, 5},
                     .taps = {3, 2},
                     .stride = {2, 1},
                     .padding = {1, 1},
                     .dilation = {1, 2}}};
    double at[MODEL_X + MODEL_F], gradient[MODEL_X + MODEL_F];
    const geometry *g = &m.g;
    for (int i = 0; i < MODEL_X + MODEL_F; i++) at[i] = (double)(i * 37 % 101) / 101 - 0.5;
    for (int i = 0; i < MODEL_Y; i++) m.dy[i] = ((double)(i * 53 % 97) / 97 - 0.5) / 16;
    const field x = input_of(g, NULL, at), f = filter_of(g, NULL, at + MODEL_X), dy = output_of(g, NULL, m.dy);
    double *to = gradient;
    for (int64_t n = 0; n < g->n; n++)
        for (int64_t c = 0; c < g->c; c++)
            for (int64_t h = 0; h < g->in[0]; h++)
                for (int64_t w = 0; w < g->in[1]; w++) *to++ = input_gradient_at(g, &dy, &f, (int64_t[4]){n, c, h, w});
    for (int64_t k = 0; k < g->k; k++)
        for (int64_t c = 0; c < g->c / g->groups; c++)
            for (int64_t r = 0; r < g->taps[0]; r++)
                for (int64_t s = 0; s < g->taps[1]; s++) *to++ = filter_gradient_at(g, &x, &dy, (int64_t[4]){k, c, r, s});
    check_differences("conv", model_loss, &m, at, gradient, MODEL_X + MODEL_F);
}

#endif
