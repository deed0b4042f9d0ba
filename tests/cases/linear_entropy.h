/* Cases of linear_cross_entropy, for loss.c. */
#ifndef TRINE_TESTS_CASES_LINEAR_ENTROPY_H
#define TRINE_TESTS_CASES_LINEAR_ENTROPY_H

#include <math.h>
#include <stdlib.h>

#include "tests/cases/cases.h"

static const double u = 0x1p-24;

/* Central difference of f against its slope; errors of f64 and of third order. */
static bool agrees(double slope, double above, double below, double step, double size)
{
    const double difference = (above - below) / (2 * step);
    return isnan(slope) || fabs(difference - slope) <= 1e-5 * (1 + size + fabs(slope));
}

/* A row's logits, with one element of x and one of weight moved. Not rounded: the bounds have room for that. */
static void linear_logits(const test_case *c, int64_t row, int64_t moved_x, int64_t moved_w, double by, double *z)
{
    const trine_linear_cross_entropy_args *a = (const trine_linear_cross_entropy_args *)(const void *)c->args;
    const case_tensor *x = case_find(c, "x"), *w = case_find(c, "weight");
    const int64_t D = x->shape[1];
    for (int64_t k = 0; k < w->shape[0]; k++) {
        z[k] = 0;
        for (int64_t i = 0; i < D; i++)
            z[k] += (case_value(x, row * D + i) + (row * D + i == moved_x ? by : 0)) *
                    (case_value(w, k * D + i) + (k * D + i == moved_w ? by : 0));
        if (a->options.softcap > 0) z[k] = (double)a->options.softcap * tanh(z[k] / (double)a->options.softcap);
    }
}

static double linear_lse(const double *z, int64_t n)
{
    double most = -INFINITY, sum = 0;
    for (int64_t k = 0; k < n; k++) most = fmax(most, z[k]);
    for (int64_t k = 0; k < n; k++) sum += exp(z[k] - most);
    return most + log(sum);
}

static double linear_loss(const test_case *c, int64_t row, const double *z, double lse)
{
    const trine_cross_entropy_options *o = &((const trine_linear_cross_entropy_args *)(const void *)c->args)->options;
    const int64_t label = case_value_i64(case_find(c, "labels"), row), n = case_find(c, "weight")->shape[0];
    const double s = (double)o->label_smoothing;
    double total = 0;
    if (o->ignore && label == o->ignore_index) return 0;
    for (int64_t k = 0; k < n; k++) total += z[k];
    return lse - (1 - s) * z[label] - s * total / (double)n + (double)o->z_loss * lse * lse;
}

/* The loss of all rows, less what MEAN divides by. */
static double linear_sum(const test_case *c, int64_t moved_x, int64_t moved_w, double by, double *z)
{
    double sum = 0;
    for (int64_t row = 0; row < case_find(c, "x")->shape[0]; row++) {
        linear_logits(c, row, moved_x, moved_w, by, z);
        sum += linear_loss(c, row, z, linear_lse(z, case_find(c, "weight")->shape[0]));
    }
    return sum;
}

/* d of one row's logits, before the cap. */
static void linear_slopes(const test_case *c, int64_t row, double *z, double lse, double weight)
{
    const trine_cross_entropy_options *o = &((const trine_linear_cross_entropy_args *)(const void *)c->args)->options;
    const int64_t label = case_value_i64(case_find(c, "labels"), row), n = case_find(c, "weight")->shape[0];
    const double s = (double)o->label_smoothing, cap = (double)o->softcap;
    for (int64_t k = 0; k < n; k++) {
        const double d = exp(z[k] - lse) * (1 + 2 * (double)o->z_loss * lse) - s / (double)n - (k == label ? 1 - s : 0);
        z[k] = o->ignore && label == o->ignore_index ? 0 : weight * d * (cap > 0 ? 1 - z[k] / cap * (z[k] / cap) : 1);
    }
}

/* Outputs in the order in which they were added: loss, lse, dx, dweight. */
static void oracle_linear(const test_case *c, int64_t unit, double *const *out)
{
    const trine_cross_entropy_options *o = &((const trine_linear_cross_entropy_args *)(const void *)c->args)->options;
    const case_tensor *x = case_find(c, "x"), *w = case_find(c, "weight"), *labels = case_find(c, "labels");
    const int64_t N = x->shape[0], D = x->shape[1], C = w->shape[0];
    double *z = malloc(sizeof *z * (size_t)(C + 1)), sum = 0, count = 0;
    const bool whole = case_find(c, "dweight") != NULL; /* else a unit is a row */
    const int64_t begin = whole ? 0 : unit, end = whole ? N : unit + 1;
    if (!z) abort();
    for (int64_t row = 0; row < N; row++) count += !(o->ignore && case_value_i64(labels, row) == o->ignore_index);
    const double weight = o->reduction == TRINE_LOSS_MEAN ? 1 / count : 1;
    for (int64_t i = 0; i < (end - begin) * D; i++) out[2][i] = 0;
    for (int64_t i = 0; i < C * D && whole; i++) out[3][i] = 0;
    for (int64_t row = begin; row < end; row++) {
        linear_logits(c, row, -1, -1, 0, z);
        const double lse = out[1][row - begin] = linear_lse(z, C), loss = linear_loss(c, row, z, lse);
        if (o->reduction == TRINE_LOSS_NONE) out[0][row - begin] = loss;
        sum += loss;
        linear_slopes(c, row, z, lse, weight);
        for (int64_t k = 0; k < C; k++)
            for (int64_t i = 0; i < D; i++) {
                out[2][(row - begin) * D + i] += z[k] * case_value(w, k * D + i);
                if (whole) out[3][k * D + i] += z[k] * case_value(x, row * D + i);
            }
    }
    if (o->reduction != TRINE_LOSS_NONE) out[0][0] = N ? weight * sum : o->reduction == TRINE_LOSS_MEAN ? NAN : 0;
    const double step = 1e-5; /* an element of either gradient against the difference of the loss */
    if (whole && N && C && D) {
        const int64_t px = N * D / 2, pw = C * D / 3;
        if (!agrees(out[2][px] / weight, linear_sum(c, px, -1, step, z), linear_sum(c, px, -1, -step, z), step, fabs(sum)))
            out[2][px] = NAN;
        if (!agrees(out[3][pw] / weight, linear_sum(c, -1, pw, step, z), linear_sum(c, -1, pw, -step, z), step, fabs(sum)))
            out[3][pw] = NAN;
    }
    free(z);
}

/* out: dweight's dtype, NONE for a case without it, whose reduction is NONE.
 *
 * Logits have a size of 2 and are rounded to the dtype, e: so are their gradients, at most a row's weight; dx sums them with
 * weights of a size of 2 / sqrt(D), dweight with normal numbers over the rows. */
static test_case *new_linear(case_list *list, trine_dtype dtype, trine_dtype out, int64_t rows, int64_t depth, int64_t classes,
                             trine_cross_entropy_options options, int64_t chunk, case_layout layout)
{
    static const char *const reductions[] = {"mean", "sum", "none"};
    const bool each = options.reduction == TRINE_LOSS_NONE;
    test_case *c =
        case_new(list, TRINE_OP_linear_cross_entropy, "%s to %s %lldx%lldx%lld by %lld %s%s cap %g", trine_dtype_name(dtype),
                 trine_dtype_name(out), (long long)rows, (long long)depth, (long long)classes, (long long)chunk,
                 reductions[options.reduction], options.ignore ? " ignore" : "", (double)options.softcap);
    case_in(c, "x", dtype, SHAPE(rows, depth));
    case_set_fill(case_in(c, "weight", dtype, SHAPE(classes, depth)), FILL_NORMAL, 0, 2 / sqrt((double)(depth ? depth : 1)));
    case_set_fill(case_in(c, "labels", TRINE_I32, SHAPE(rows)), FILL_INTEGERS, options.ignore ? -1 : 0, (double)classes - 1);
    if (each)
        case_out(c, "loss", TRINE_F32, SHAPE(rows));
    else
        case_out(c, "loss", TRINE_F32, 0, NULL);
    case_out(c, "lse", TRINE_F32, SHAPE(rows));
    case_out(c, "dx", dtype, SHAPE(rows, depth));
    if (out != TRINE_DTYPE_NONE) case_out(c, "dweight", out, SHAPE(classes, depth));
    trine_linear_cross_entropy_args *a = CASE_ARGS(c, linear_cross_entropy);
    a->options = options;
    a->chunk = chunk;
    c->units = out != TRINE_DTYPE_NONE ? 1 : rows;
    c->oracle = oracle_linear;
    const double e = dtype == TRINE_BF16  ? 0x1p-8
                     : dtype == TRINE_F16 ? 0x1p-11
                                          : 128 * u,
                 losses = options.reduction == TRINE_LOSS_SUM ? sqrt((double)rows + 1) : 1;
    c->rtol = 2 * e;
    c->atol = 3 * e * (each || options.reduction == TRINE_LOSS_SUM ? sqrt((double)rows + 1) : 1) + 2 * e * losses;
    case_set_layout(c, layout);
    c->may_refuse = layout == LAYOUT_STRIDED || layout == LAYOUT_TRANSPOSED;
    c->work = (double)rows * (double)depth * (double)classes;
    c->flops = (out != TRINE_DTYPE_NONE ? 6 : 4) * c->work;
    case_count_bytes(c);
    return c;
}

void cases_linear_cross_entropy(case_list *list, case_kind kind)
{
    static const trine_cross_entropy_options options[] = {
        {-1, 1, 0, 0, 0, TRINE_LOSS_MEAN}, {-1, 1, 0.1f, 1e-3f, 0, TRINE_LOSS_SUM}, {0, 0, 0, 0, 10, TRINE_LOSS_NONE}};
    const trine_cross_entropy_options plain = {-1, 1, 0, 0, 0, TRINE_LOSS_NONE},
                                      smooth = {-1, 1, 0.1f, 1e-3f, 0, TRINE_LOSS_NONE};
    static const int64_t shapes[][4] = {{5, 7, 11, 0}, {12, 16, 24, 5}, {33, 8, 40, 16}, {9, 24, 3, 1}, {16, 32, 64, 4}};
    if (kind == CASES_BENCH) {
        /* without dweight, every element of which would take the oracle all logits */
        new_linear(list, TRINE_BF16, TRINE_DTYPE_NONE, 2048, 1024, 32768, plain, 0, LAYOUT_DENSE);
        new_linear(list, TRINE_F32, TRINE_DTYPE_NONE, 1024, 1024, 32768, plain, 0, LAYOUT_DENSE);
        return;
    }
    for (int d = 0; d < 3; d++) {
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
            for (int o = 0; o < 3; o++)
                new_linear(list, case_floats[d], (s + (size_t)o) % 2 ? case_floats[d] : TRINE_F32, shapes[s][0], shapes[s][1],
                           shapes[s][2], options[o], shapes[s][3], (case_layout)((s + 3 * (size_t)o) % LAYOUT_COUNT));
        new_linear(list, case_floats[d], case_floats[d], 7, 9, 13, options[0], 3, LAYOUT_DENSE);
        new_linear(list, case_floats[d], TRINE_DTYPE_NONE, 10, 9, 13, plain, 4, LAYOUT_DENSE);
        /* rows that fill a block or a cluster: loss and gradient at once */
        new_linear(list, case_floats[d], TRINE_DTYPE_NONE, 4, 1, 8264, smooth, 0, LAYOUT_DENSE);
        new_linear(list, case_floats[d], TRINE_DTYPE_NONE, 5, 2, 40960, plain, 3, LAYOUT_DENSE);
        new_linear(list, case_floats[d], TRINE_DTYPE_NONE, 2, 2, 16387, plain, 0, LAYOUT_DENSE);
        new_linear(list, case_floats[d], TRINE_F32, 0, 9, 13, options[0], 0, LAYOUT_DENSE);
        new_linear(list, case_floats[d], case_floats[d], 0, 9, 13, options[2], 4, LAYOUT_DENSE);
    }
}

#endif
