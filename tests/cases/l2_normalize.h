/* Cases of l2_normalize and its gradient, part of norm.c.
 *
 * Bounds: the sum of squares has positive terms, so s is off by a few u; sum(x dy) of n terms of the size of sigma, added up in
 * lanes, is off by some sqrt(n) sigma u, and x s^3 sqrt(n) sigma is of the size of s / sqrt(n). */
#ifndef TRINE_TESTS_L2_NORMALIZE_H
#define TRINE_TESTS_L2_NORMALIZE_H

#include "tests/cases/gradients.h"

static double l2_norm(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sqrt(sum);
}

static void l2_forward(double *y, const double *x, int64_t n, double eps)
{
    const double norm = l2_norm(x, n), by = norm < eps ? eps : norm;
    for (int64_t i = 0; i < n; i++) y[i] = x[i] / by;
}

static void l2_backward(double *dx, const double *x, const double *dy, int64_t n, double eps)
{
    const double norm = l2_norm(x, n), by = norm < eps ? eps : norm;
    double dot = 0;
    for (int64_t i = 0; i < n; i++) dot += x[i] * dy[i];
    for (int64_t i = 0; i < n; i++) dx[i] = (dy[i] - (norm <= eps ? 0 : x[i] * dot / (by * by))) / by;
}

enum { L2_CHECKED = 7 };

typedef struct l2_loss_terms {
    const double *dy;
    double eps;
} l2_loss_terms;

static double l2_loss(const double *x, const void *user)
{
    const l2_loss_terms *t = user;
    double y[L2_CHECKED], sum = 0;
    l2_forward(y, x, L2_CHECKED, t->eps);
    for (int i = 0; i < L2_CHECKED; i++) sum += y[i] * t->dy[i];
    return sum;
}

static void l2_check_gradients(void)
{
    static const double dy[L2_CHECKED] = {0.3, -1, 0.7, 0.2, -0.4, 1.1, 0.5}, eps[] = {1e-3, 100};
    double x[L2_CHECKED] = {1, -0.5, 0.25, 2, -1.5, 0.1, 0}, dx[L2_CHECKED];
    for (int e = 0; e < 2; e++) {
        l2_backward(dx, x, dy, L2_CHECKED, eps[e]);
        check_differences("l2_normalize_backward", l2_loss, &(l2_loss_terms){dy, eps[e]}, x, dx, L2_CHECKED);
    }
}

/* Row `unit` of a tensor; freed by the caller. */
static double *row_values(const case_tensor *t, int64_t unit, int64_t n)
{
    double *x = malloc((size_t)(n + 1) * sizeof *x);
    if (!x) abort(); /* a test without memory can't judge anything */
    for (int64_t i = 0; i < n; i++) x[i] = case_value(t, unit * n + i);
    return x;
}

static void oracle_l2(const test_case *c, int64_t unit, double *const *out)
{
    const int64_t n = row_length(c);
    double *x = row_values(case_find(c, "x"), unit, n);
    l2_forward(out[0], x, n, (double)((const trine_l2_normalize_args *)(const void *)c->args)->eps);
    free(x);
}

static void oracle_l2_backward(const test_case *c, int64_t unit, double *const *out)
{
    const int64_t n = row_length(c);
    double *x = row_values(case_find(c, "x"), unit, n), *dy = row_values(case_find(c, "dy"), unit, n);
    l2_backward(out[0], x, dy, n, (double)((const trine_l2_normalize_backward_args *)(const void *)c->args)->eps);
    free(x);
    free(dy);
}

typedef struct l2_case {
    trine_op op;
    trine_dtype dtype;
    int32_t ndim;
    const int64_t *shape;
    case_layout layout;
    double spread, eps;
} l2_case;

static test_case *new_l2(case_list *list, l2_case s)
{
    const int64_t n = s.shape[s.ndim - 1];
    const bool forward = s.op == TRINE_OP_l2_normalize;
    test_case *c = case_new(list, s.op, "%s %lldx%lld spread %g eps %g", trine_dtype_name(s.dtype), (long long)s.shape[0],
                            (long long)n, s.spread, s.eps);
    case_set_fill(case_in(c, "x", s.dtype, s.ndim, s.shape), FILL_NORMAL, 0, s.spread);
    if (!forward) case_in(c, "dy", s.dtype, s.ndim, s.shape);
    const int64_t numel = case_out(c, forward ? "y" : "dx", s.dtype, s.ndim, s.shape)->numel;
    if (forward)
        CASE_ARGS(c, l2_normalize)->eps = (float)s.eps;
    else
        CASE_ARGS(c, l2_normalize_backward)->eps = (float)s.eps;
    case_set_layout(c, s.layout);
    c->units = n ? numel / n : 0;
    c->oracle = forward ? oracle_l2 : oracle_l2_backward;
    c->may_refuse = n > 1 && (s.layout == LAYOUT_STRIDED || s.layout == LAYOUT_TRANSPOSED);
    /* dx of a row of one element, and of any that has most of its length in one, cancels */
    const double norm = s.spread * sqrt(n ? (double)n : 1), by = norm > s.eps ? norm : s.eps;
    case_tolerance(c, s.dtype, 24 * u, forward ? 0 : (n < 16 ? 4000 : 200) * u / by);
    c->flops = (forward ? 3.0 : 7.0) * (double)numel;
    case_count_bytes(c);
    return c;
}

static void l2_check_values(case_list *list, trine_op op, trine_dtype dtype)
{
    static const double values[][2] = {{1, 1e-12}, {100, 1e-3}, {1e-3, 1}, {0, 1e-2}, {3, 1e4}}; /* spread, eps */
    for (size_t v = 0; v < sizeof values / sizeof values[0]; v++)
        for (int64_t n = 5; n < 3000; n = n * 13 + 1)
            new_l2(list, (l2_case){op, dtype, 2, (int64_t[]){6, n}, LAYOUT_DENSE, values[v][0], values[v][1]});
    if (op != TRINE_OP_l2_normalize) return;
    test_case *special = new_l2(list, (l2_case){op, dtype, 2, (int64_t[]){16, 37}, LAYOUT_OFFSET, 1, 1e-12});
    case_set_fill(&special->tensor[0], FILL_SPECIAL, 0, 1);
    special->atol += 2; /* rows with numbers whose squares overflow are looked at for NaN only */
}

static void l2_check_cases(case_list *list, trine_op op)
{
    for (int d = 0; d < 3; d++) {
        const trine_dtype dtype = case_floats[d];
        for (size_t i = 0; i < LENGTHS; i++)
            for (int layout = 0; layout < LAYOUT_COUNT; layout++) {
                const int64_t shape[] = {lengths[i] > 2000 ? 3 : i % 2 ? 5 : 67, lengths[i]};
                if (lengths[i] > 2000 && layout >= LAYOUT_STRIDED) continue;
                new_l2(list, (l2_case){op, dtype, 2, shape, (case_layout)layout, 1, 1e-12});
            }
        l2_check_values(list, op, dtype);
        new_l2(list, (l2_case){op, dtype, 1, (int64_t[]){333}, LAYOUT_DENSE, 1, 1e-12});
        new_l2(list, (l2_case){op, dtype, 3, (int64_t[]){3, 5, 129}, LAYOUT_PADDED, 1, 1e-12});
        new_l2(list, (l2_case){op, dtype, 2, (int64_t[]){0, 9}, LAYOUT_DENSE, 1, 1e-12});
        new_l2(list, (l2_case){op, dtype, 2, (int64_t[]){9, 0}, LAYOUT_DENSE, 1, 1e-12});
        new_l2(list, (l2_case){op, dtype, 2, (int64_t[]){2, 50001}, LAYOUT_DENSE, 1, 1e-12});
        new_l2(list, (l2_case){op, dtype, 2, (int64_t[]){2, 131073}, LAYOUT_PADDED, 1, 1e-12});
        new_l2(list, (l2_case){op, dtype, 2, (int64_t[]){1, 262144}, LAYOUT_DENSE, 1, 1e-12});
        new_l2(list, (l2_case){op, dtype, 2, (int64_t[]){3, 98312}, LAYOUT_PADDED, 1, 1e-12});
    }
    new_l2(list, (l2_case){op, TRINE_BF16, 2, (int64_t[]){1, 1 << 20}, LAYOUT_DENSE, 1, 1e-12});
    new_l2(list, (l2_case){op, TRINE_F32, 2, (int64_t[]){2, 600000}, LAYOUT_DENSE, 1, 1e-12});
}

static void l2_cases(case_list *list, case_kind kind, trine_op op)
{
    static const int64_t shapes[][2] = {{131072, 1024}, {16384, 8192}, {1024, 131072}, {128, 1 << 20}};
    if (kind == CASES_CHECK) {
        l2_check_cases(list, op);
        return;
    }
    for (int d = 0; d < 3; d += 2) /* f32 and bf16 */
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
            new_l2(list, (l2_case){op, case_floats[d], 2, shapes[s], LAYOUT_DENSE, 1, 1e-12});
}

void cases_l2_normalize(case_list *list, case_kind kind)
{
    l2_cases(list, kind, TRINE_OP_l2_normalize);
    for (int d = 0; d < 3 && kind == CASES_CHECK; d++)
        case_set_inplace(
            new_l2(list, (l2_case){TRINE_OP_l2_normalize, case_floats[d], 2, (int64_t[]){9, 1031}, LAYOUT_DENSE, 1, 1e-12}), "y",
            "x");
}

void cases_l2_normalize_backward(case_list *list, case_kind kind)
{
    static const char *const inputs[] = {"x", "dy"};
    if (kind == CASES_CHECK) l2_check_gradients();
    l2_cases(list, kind, TRINE_OP_l2_normalize_backward);
    for (int k = 0; k < 6 && kind == CASES_CHECK; k++)
        case_set_inplace(new_l2(list, (l2_case){TRINE_OP_l2_normalize_backward, case_floats[k / 2], 2,
                                                (int64_t[]){9, k % 2 ? 1032 : 515}, LAYOUT_DENSE, 1, 1e-12}),
                         "dx", inputs[k % 2]);
}

#endif
