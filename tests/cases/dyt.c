/* Cases of the dyt family. The oracle's gradients are compared with central differences of its forward (check_gradients). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/cases/cases.h"

static const double eps = 0x1p-23;

static double forward(double alpha, double gamma, double beta, double x) { return gamma * tanh(alpha * x) + beta; }

/* 1 - tanh^2 without cancellation. */
static double slope(double v)
{
    const double z = exp(-2 * fabs(v));
    return 4 * z / ((1 + z) * (1 + z));
}

/* The terms of one element: dx, and what it adds to dalpha, dgamma, dbeta. */
typedef struct gradients {
    double dx, dalpha, dgamma, dbeta;
} gradients;

static gradients backward(double alpha, double gamma, double x, double dy)
{
    const double inner = dy * gamma * slope(alpha * x);
    return (gradients){inner * alpha, inner * x, dy * tanh(alpha * x), dy};
}

static void check_gradients(void)
{
    const double h = 0x1p-17;
    for (double x = -4; x < 4; x += 0.37) {
        const double alpha = 0.6, gamma = 1.3, beta = -0.2, dy = 0.7;
        const gradients got = backward(alpha, gamma, x, dy);
        const double want[] = {forward(alpha, gamma, beta, x + h) - forward(alpha, gamma, beta, x - h),
                               forward(alpha + h, gamma, beta, x) - forward(alpha - h, gamma, beta, x),
                               forward(alpha, gamma + h, beta, x) - forward(alpha, gamma - h, beta, x),
                               forward(alpha, gamma, beta + h, x) - forward(alpha, gamma, beta - h, x)};
        const double have[] = {got.dx, got.dalpha, got.dgamma, got.dbeta};
        for (int k = 0; k < 4; k++)
            if (fabs(have[k] - dy * want[k] / (2 * h)) > 1e-9) {
                fprintf(stderr, "trine: dyt's oracle: gradient %d at %g is %g, but differences give %g\n", k, x, have[k],
                        dy * want[k] / (2 * h));
                exit(3);
            }
    }
}

static double parameter(const case_tensor *t, int64_t i, double absent) { return t ? case_value(t, i) : absent; }

static int64_t row_length(const test_case *c)
{
    const case_tensor *x = case_find(c, "x");
    return x->shape[x->ndim - 1];
}

static void oracle_forward(const test_case *c, int64_t unit, double *const *out)
{
    const int64_t column = unit % row_length(c);
    out[0][0] = forward(case_value(case_find(c, "alpha"), 0), parameter(case_find(c, "gamma"), column, 1),
                        parameter(case_find(c, "beta"), column, 0), case_value(case_find(c, "x"), unit));
}

/* All at once: one unit. */
static void oracle_backward(const test_case *c, int64_t unit, double *const *out)
{
    const case_tensor *x = case_find(c, "x"), *dy = case_find(c, "dy"), *gamma = case_find(c, "gamma");
    const double alpha = case_value(case_find(c, "alpha"), 0);
    const int64_t n = row_length(c);
    int k = 1;
    (void)unit;
    double *dalpha = case_find(c, "dalpha") ? out[k++] : NULL, *dgamma = case_find(c, "dgamma") ? out[k++] : NULL,
           *dbeta = case_find(c, "dbeta") ? out[k++] : NULL;
    if (dalpha) *dalpha = 0;
    for (int64_t i = 0; i < n && dgamma; i++) dgamma[i] = dbeta[i] = 0;
    for (int64_t i = 0; i < x->numel; i++) {
        const gradients g = backward(alpha, parameter(gamma, i % n, 1), case_value(x, i), case_value(dy, i));
        out[0][i] = g.dx;
        if (dalpha) *dalpha += g.dalpha;
        if (dgamma) dgamma[i % n] += g.dgamma;
        if (dbeta) dbeta[i % n] += g.dbeta;
    }
}

typedef struct dyt_case {
    trine_dtype dtype, parameters; /* NONE: without gamma and beta */
    int64_t rows, cols;
    double alpha;
    enum { NO_SUMS, COLUMNS, ALL } sums;
} dyt_case;

static void add_inputs(test_case *c, const dyt_case *d)
{
    case_set_fill(case_in(c, "x", d->dtype, SHAPE(d->rows, d->cols)), FILL_NORMAL, 0, 2);
    case_set_fill(case_in(c, "alpha", TRINE_F32, 1, (int64_t[]){1}), FILL_CONSTANT, d->alpha, 0);
    if (d->parameters) case_set_fill(case_in(c, "gamma", d->parameters, 1, &d->cols), FILL_UNIFORM, -2, 2);
}

/* alpha x rounds once, tanh is off by 4 eps; gamma tanh and beta may cancel. */
static test_case *new_forward(case_list *list, dyt_case d)
{
    test_case *c =
        case_new(list, TRINE_OP_dyt, "%s parameters %s alpha %g %lldx%lld", trine_dtype_name(d.dtype),
                 d.parameters ? trine_dtype_name(d.parameters) : "none", d.alpha, (long long)d.rows, (long long)d.cols);
    add_inputs(c, &d);
    if (d.parameters) case_set_fill(case_in(c, "beta", d.parameters, 1, &d.cols), FILL_UNIFORM, -2, 2);
    case_out(c, "y", d.dtype, SHAPE(d.rows, d.cols));
    case_tolerance(c, d.dtype, 6 * eps, d.parameters ? 12 * eps : 0);
    c->units = d.rows * d.cols;
    c->oracle = oracle_forward;
    c->work *= 4;
    c->flops = 20.0 * (double)(d.rows * d.cols);
    case_count_bytes(c);
    return c;
}

/* dx: products of |dy| <= 2, |gamma| <= 2 and a slope that is off by 8 eps and 1e-7 (16 bits leave out the argument's correction:
 * 32 eps more). Sums of n terms of at most 4 (dalpha: 4 |x|, here 40) in pieces of 32 or fewer: sqrt(n) of their roundings, 4 eps
 * of which is generous. */
static test_case *new_backward(case_list *list, dyt_case d)
{
    static const char *const sums[] = {"dx", "columns", "all"};
    test_case *c = case_new(list, TRINE_OP_dyt_backward, "%s parameters %s alpha %g %s %lldx%lld", trine_dtype_name(d.dtype),
                            d.parameters ? trine_dtype_name(d.parameters) : "none", d.alpha, sums[d.sums], (long long)d.rows,
                            (long long)d.cols);
    const trine_dtype wide = d.parameters ? d.parameters : TRINE_F32;
    add_inputs(c, &d);
    case_set_fill(case_in(c, "dy", d.dtype, SHAPE(d.rows, d.cols)), FILL_UNIFORM, -2, 2);
    case_out(c, "dx", d.dtype, SHAPE(d.rows, d.cols));
    if (d.sums == ALL) case_out(c, "dalpha", TRINE_F32, 1, (int64_t[]){1});
    if (d.sums != NO_SUMS) case_out(c, "dgamma", wide, 1, &d.cols);
    if (d.sums != NO_SUMS) case_out(c, "dbeta", wide, 1, &d.cols);
    const double terms = d.sums == ALL ? 10 * sqrt((double)(d.rows * d.cols)) : d.sums == COLUMNS ? sqrt((double)d.rows) : 0;
    case_tolerance(c, d.dtype, (d.dtype == TRINE_F32 ? 12 : 44) * eps, 4e-7 + 4 * 4 * eps * terms);
    c->units = 1;
    c->oracle = oracle_backward;
    c->work *= 8;
    c->flops = 40.0 * (double)(d.rows * d.cols);
    case_count_bytes(c);
    return c;
}

static const int64_t sizes[][2] = {{0, 9}, {7, 0}, {1, 1}, {3, 7}, {5, 64}, {70, 24}, {2, 1031}, {33, 136}, {300, 8}, {2, 4104}};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

/* Parameters must be dense whatever the others are. */
static void set_layout(test_case *c, case_layout layout)
{
    case_set_layout(c, layout);
    for (int32_t t = 0; t < c->tensor_count; t++)
        if (c->tensor[t].ndim == 1 && layout != LAYOUT_OFFSET) c->tensor[t].layout = LAYOUT_DENSE;
}

typedef test_case *(*new_fn)(case_list *, dyt_case);

static void check_cases(case_list *list, new_fn make)
{
    make(list, (dyt_case){TRINE_F32, TRINE_F32, 5, 24, 0.5, ALL}); /* first: what the API's tests start from */
    for (int d = 0; d < 3; d++) {
        const trine_dtype dtype = case_floats[d], kinds[] = {dtype, TRINE_F32, TRINE_DTYPE_NONE};
        for (int s = 0; s < SIZES; s++)
            for (int k = 0; k < 3; k++) make(list, (dyt_case){dtype, kinds[k], sizes[s][0], sizes[s][1], 0.5, (s + k) % 3});
        for (int layout = 1; layout < LAYOUT_COUNT; layout++) {
            set_layout(make(list, (dyt_case){dtype, dtype, 33, 64, 0.8, ALL}), (case_layout)layout);
            set_layout(make(list, (dyt_case){dtype, TRINE_F32, 9, 131, 0.8, COLUMNS}), (case_layout)layout);
        }
        /* e^(2 alpha x) would overflow */
        make(list, (dyt_case){dtype, dtype, 5, 1032, 300, COLUMNS});
        make(list, (dyt_case){dtype, dtype, 5, 1032, 0, ALL});
        make(list, (dyt_case){dtype, dtype, 5, 1032, -1e-3, ALL});
    }
    make(list, (dyt_case){TRINE_BF16, TRINE_F32, 4099, 40, 0.7, ALL});
    make(list, (dyt_case){TRINE_F32, TRINE_F32, 1031, 1100, 0.7, ALL});
}

/* The backward's oracle has to go through all of it: a quarter. */
static void bench_cases(case_list *list, new_fn make)
{
    const int64_t part = make == new_backward ? 2 : 1;
    for (int d = 0; d < 3; d++) make(list, (dyt_case){case_floats[d], TRINE_F32, 16384 / part, 8192, 0.5, ALL});
    make(list, (dyt_case){TRINE_BF16, TRINE_F32, 131072 / part, 1024, 0.5, ALL});
}

void cases_dyt(case_list *list, case_kind kind)
{
    if (kind == CASES_BENCH) {
        bench_cases(list, new_forward);
        return;
    }
    check_cases(list, new_forward);
    for (int d = 0; d < 3; d++) {
        case_set_inplace(new_forward(list, (dyt_case){case_floats[d], TRINE_F32, 5, 1031, 0.5, ALL}), "y", "x");
        case_set_fill(&new_forward(list, (dyt_case){case_floats[d], TRINE_F32, 6, 517, 0.5, ALL})->tensor[0], FILL_SPECIAL, 0, 0);
    }
}

void cases_dyt_backward(case_list *list, case_kind kind)
{
    if (kind == CASES_BENCH) {
        bench_cases(list, new_backward);
        return;
    }
    check_gradients();
    check_cases(list, new_backward);
    for (int d = 0; d < 3; d++) {
        case_set_inplace(new_backward(list, (dyt_case){case_floats[d], TRINE_F32, 5, 1031, 0.5, ALL}), "dx", "x");
        case_set_inplace(new_backward(list, (dyt_case){case_floats[d], TRINE_F32, 5, 1032, 0.5, COLUMNS}), "dx", "dy");
    }
}
