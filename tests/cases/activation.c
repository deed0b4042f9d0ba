/* Cases of the activation family. Oracles are plain f64 libm; the slopes among them are compared with central differences of the
 * functions before the first case is made (case_check_slopes), so that a wrong formula can't pass with a wrong kernel. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/cases/activation.h"
#include "tests/cases/sizes.h"

/* ---- The functions and their slopes ---- */

static double sigmoid(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }

static double softplus(double x) { return (x > 0 ? x : 0) + log1p(exp(-fabs(x))); }

static double normal_cdf(double x) { return erfc(-x * M_SQRT1_2) / 2; }

static const double gelu_rise = 0.044715, selu_scale = 1.0507009873554805, selu_alpha = 1.6732632423543772;

/* x gate, whose limit at -inf is 0. */
static double gated(double x, double gate) { return x == -INFINITY ? 0 : x * gate; }

static double gelu_argument(double x) { return 2 * sqrt(M_2_PI) * (x + gelu_rise * x * x * x); }

double case_activation(trine_activation_kind kind, double alpha, double x)
{
    switch (kind) {
    case TRINE_ACT_RELU: return x < 0 ? 0 : x;
    case TRINE_ACT_LEAKY_RELU: return x > 0 ? x : alpha * x;
    case TRINE_ACT_SIGMOID: return sigmoid(x);
    case TRINE_ACT_TANH: return tanh(x);
    case TRINE_ACT_SILU: return gated(x, sigmoid(x));
    case TRINE_ACT_GELU: return gated(x, normal_cdf(x));
    case TRINE_ACT_GELU_TANH: return gated(x, sigmoid(gelu_argument(x)));
    case TRINE_ACT_HARDSIGMOID: return x <= -3 ? 0 : x >= 3 ? 1 : (x + 3) / 6;
    case TRINE_ACT_HARDSWISH: return x <= -3 ? 0 : x >= 3 ? x : x * (x + 3) / 6;
    case TRINE_ACT_ELU: return x > 0 ? x : alpha * expm1(x);
    case TRINE_ACT_SELU: return selu_scale * (x > 0 ? x : selu_alpha * expm1(x));
    case TRINE_ACT_SOFTPLUS: return softplus(x);
    case TRINE_ACT_MISH: return gated(x, tanh(softplus(x)));
    case TRINE_ACT_ABS: return fabs(x);
    case TRINE_ACT_EXP: return exp(x);
    case TRINE_ACT_LOG: return log(x);
    case TRINE_ACT_SQRT: return sqrt(x);
    case TRINE_ACT_RSQRT: return 1 / sqrt(x);
    case TRINE_ACT_SQUARE: return x * x;
    default: return x;
    }
}

/* sech^2 without overflow. */
static double tanh_slope(double x)
{
    double z = exp(-2 * fabs(x));
    return 4 * z / ((1 + z) * (1 + z));
}

/* Of x s(v(x)): s + x s' v', whose limits are 0 and 1. `weight` is s, `density` s' v'. */
static double gated_slope(double x, double weight, double density) { return isinf(x) ? x > 0 : weight + x * density; }

static double rsqrt_slope(double x)
{
    double r = 1 / sqrt(x);
    return -r * r * r / 2;
}

static double smooth_slope(trine_activation_kind kind, double alpha, double x)
{
    double s = sigmoid(x), v = gelu_argument(x), mish_slope = tanh_slope(softplus(x)) * s;
    switch (kind) {
    case TRINE_ACT_SIGMOID: return s * sigmoid(-x);
    case TRINE_ACT_TANH: return tanh_slope(x);
    case TRINE_ACT_SILU: return gated_slope(x, s, s * sigmoid(-x));
    case TRINE_ACT_GELU: return gated_slope(x, normal_cdf(x), exp(-x * x / 2) / sqrt(2 * M_PI));
    case TRINE_ACT_GELU_TANH:
        return gated_slope(x, sigmoid(v), sigmoid(v) * sigmoid(-v) * 2 * sqrt(M_2_PI) * (1 + 3 * gelu_rise * x * x));
    case TRINE_ACT_ELU: return x > 0 ? 1 : alpha * exp(x);
    case TRINE_ACT_SELU: return selu_scale * (x > 0 ? 1 : selu_alpha * exp(x));
    case TRINE_ACT_SOFTPLUS: return s;
    case TRINE_ACT_MISH: return gated_slope(x, tanh(softplus(x)), mish_slope);
    case TRINE_ACT_EXP: return exp(x);
    case TRINE_ACT_LOG: return 1 / x; /* for negative x too, where log itself is NaN */
    case TRINE_ACT_SQRT: return 0.5 / sqrt(x);
    case TRINE_ACT_RSQRT: return rsqrt_slope(x);
    case TRINE_ACT_SQUARE: return 2 * x;
    default: return 1;
    }
}

double case_activation_slope(trine_activation_kind kind, double alpha, double x)
{
    if (isnan(x)) return x;
    switch (kind) {
    case TRINE_ACT_RELU: return x > 0;
    case TRINE_ACT_LEAKY_RELU: return x > 0 ? 1 : alpha;
    case TRINE_ACT_HARDSIGMOID: return fabs(x) < 3 ? 1.0 / 6 : 0;
    case TRINE_ACT_HARDSWISH: return fabs(x) < 3 ? x / 3 + 0.5 : x > 0;
    case TRINE_ACT_ABS: return (x > 0) - (x < 0);
    default: return smooth_slope(kind, alpha, x);
    }
}

/* (f(x+h) - f(x-h)) / 2h with h = 2^-17: its own error is h^2 f''' / 6 + 2^-52 f / h, below 1e-9 where f and f''' are moderate.
 * The points miss the kinks. */
void case_check_slopes(void)
{
    const double h = 0x1p-17, alpha = 0.3;
    for (int kind = 0; kind < TRINE_ACT_COUNT; kind++) {
        bool positive = kind == TRINE_ACT_LOG || kind == TRINE_ACT_SQRT || kind == TRINE_ACT_RSQRT;
        for (double x = positive ? 0.52 : -8.02; x < 8; x += 0.3) {
            double got = case_activation_slope((trine_activation_kind)kind, alpha, x);
            double want = (case_activation((trine_activation_kind)kind, alpha, x + h) -
                           case_activation((trine_activation_kind)kind, alpha, x - h)) /
                          (2 * h);
            if (fabs(got - want) <= 1e-9 + 1e-9 * fabs(want)) continue;
            fprintf(stderr, "trine: the oracle's slope of %s at %g is %g, but differences give %g\n",
                    trine_activation_name((trine_activation_kind)kind), x, got, want);
            exit(3);
        }
    }
}

/* ---- Oracles ---- */

static void oracle_value(const test_case *c, int64_t unit, double *const *out)
{
    const trine_activation_args *a = (const trine_activation_args *)(const void *)c->args;
    out[0][0] = case_activation(a->kind, a->alpha, case_value(case_find(c, "x"), unit));
}

/* The slope is an f32: where it overflows, dx does. */
static void oracle_slope(const test_case *c, int64_t unit, double *const *out)
{
    const trine_activation_backward_args *a = (const trine_activation_backward_args *)(const void *)c->args;
    double slope = case_activation_slope(a->kind, a->alpha, case_value(case_find(c, "x"), unit));
    if (fabs(slope) > FLT_MAX) slope = copysign(INFINITY, slope);
    out[0][0] = case_value(case_find(c, "dy"), unit) * slope;
}

/* ---- Tolerances: units of eps = 2^-23, and an absolute part ----
 *
 * Of the functions: an exponential and a reciprocal of 2 eps each and the roundings around them; the gated ones are x times a
 * gate whose error is absolute (gelu's 2^-26). Of slopes: a product more; those that cross 0 are small differences there. A GPU's
 * exponential may flush results below 2^-126 (times a slope's scale). In 16 bits exponentials are not corrected for the rounding
 * of their argument: |argument| 2^-24 more with |argument| < 127, which is 1 % of f16's rounding. */
typedef struct tolerance {
    double eps, atol, slope_eps, slope_atol;
    bool exponential;
} tolerance;
#define FLUSH 0x1p-126
static const tolerance tolerances[TRINE_ACT_COUNT] = {
    [TRINE_ACT_IDENTITY] = {0, 0, 1, 0, false},
    [TRINE_ACT_RELU] = {0, 0, 1, 0, false},
    [TRINE_ACT_LEAKY_RELU] = {1, 0, 1, 0, false},
    [TRINE_ACT_SIGMOID] = {5, FLUSH, 7, FLUSH, true},
    [TRINE_ACT_TANH] = {4, 0, 8, 4 * FLUSH, true},
    [TRINE_ACT_SILU] = {4, 2e-8, 4, 1e-7, true},
    [TRINE_ACT_GELU] = {4, 8e-8, 4, 1e-7, true},
    [TRINE_ACT_GELU_TANH] = {4, 3e-8, 4, 1e-7, true},
    [TRINE_ACT_HARDSIGMOID] = {2, 0, 1, 0, false},
    [TRINE_ACT_HARDSWISH] = {2, 0, 3, 0, false},
    [TRINE_ACT_ELU] = {3, 0, 5, 2 * FLUSH, true},
    [TRINE_ACT_SELU] = {3, 0, 5, 2 * FLUSH, true},
    [TRINE_ACT_SOFTPLUS] = {5, FLUSH, 5, FLUSH, true},
    [TRINE_ACT_MISH] = {4, 2e-8, 4, 1e-7, true},
    [TRINE_ACT_ABS] = {0, 0, 1, 0, false},
    [TRINE_ACT_EXP] = {4, FLUSH, 5, FLUSH, true},
    [TRINE_ACT_LOG] = {2, 0, 2, 0, false},
    [TRINE_ACT_SQRT] = {1, 0, 2, 0, false},
    [TRINE_ACT_RSQRT] = {2, 0, 5, 0, false},
    [TRINE_ACT_SQUARE] = {1, 0, 1, 0, false},
};

activation_error case_activation_error(trine_activation_kind kind, trine_dtype dtype, bool slope)
{
    const tolerance *t = &tolerances[kind];
    const double eps = (slope ? t->slope_eps : t->eps) + (t->exponential && dtype != TRINE_F32 ? 32 : 0);
    return (activation_error){eps * 0x1p-23, slope ? t->slope_atol : t->atol};
}

static void set_tolerance(test_case *c, trine_activation_kind kind, trine_dtype dtype, bool backward, double largest_dy)
{
    const activation_error e = case_activation_error(kind, dtype, backward);
    case_tolerance(c, dtype, e.rtol, backward ? e.atol * largest_dy : e.atol);
}

/* ---- Cases ---- */

double case_activation_work(trine_activation_kind kind)
{
    return tolerances[kind].exponential ? 16 : 2; /* rough operations an element */
}

static test_case *new_forward(case_list *list, trine_activation_kind kind, trine_dtype dtype, int64_t rows, int64_t cols,
                              const char *what)
{
    test_case *c = case_new(list, TRINE_OP_activation, "%s %s %s %lldx%lld", trine_activation_name(kind), trine_dtype_name(dtype),
                            what, (long long)rows, (long long)cols);
    case_set_fill(case_in(c, "x", dtype, SHAPE(rows, cols)), FILL_NORMAL, 0, 2);
    case_out(c, "y", dtype, SHAPE(rows, cols));
    CASE_ARGS(c, activation)->kind = kind;
    CASE_ARGS(c, activation)->alpha = 0.1f;
    set_tolerance(c, kind, dtype, false, 0);
    c->units = rows * cols;
    c->oracle = oracle_value;
    c->vendor_exact = tolerances[kind].eps == 0;
    c->work *= case_activation_work(kind);
    c->flops = (double)c->units * case_activation_work(kind);
    case_count_bytes(c);
    return c;
}

static test_case *new_backward(case_list *list, trine_activation_kind kind, trine_dtype dtype, int64_t rows, int64_t cols,
                               const char *what)
{
    test_case *c = case_new(list, TRINE_OP_activation_backward, "%s %s %s %lldx%lld", trine_activation_name(kind),
                            trine_dtype_name(dtype), what, (long long)rows, (long long)cols);
    case_set_fill(case_in(c, "x", dtype, SHAPE(rows, cols)), FILL_NORMAL, 0, 2);
    case_set_fill(case_in(c, "dy", dtype, SHAPE(rows, cols)), FILL_UNIFORM, -2, 2);
    case_out(c, "dx", dtype, SHAPE(rows, cols));
    CASE_ARGS(c, activation_backward)->kind = kind;
    CASE_ARGS(c, activation_backward)->alpha = 0.1f;
    set_tolerance(c, kind, dtype, true, 2);
    c->units = rows * cols;
    c->oracle = oracle_slope;
    c->work *= case_activation_work(kind);
    c->flops = (double)c->units * (case_activation_work(kind) + 1);
    case_count_bytes(c);
    return c;
}

typedef test_case *(*new_fn)(case_list *, trine_activation_kind, trine_dtype, int64_t, int64_t, const char *);

/* What x is filled with: kinks at 0 and +-3, the range where f32 and bf16 overflow, arguments so small that only relative
 * accuracy will do. */
static const struct {
    const char *name;
    case_fill fill;
    double a, b;
} fills[] = {{"special", FILL_SPECIAL, 0, 0},
             {"whole", FILL_INTEGERS, -5, 5},
             {"wide", FILL_UNIFORM, -120, 120},
             {"small", FILL_NORMAL, 0, 1e-3},
             {"positive", FILL_UNIFORM, 0, 4}};

static void cases_of_kind(case_list *list, trine_activation_kind kind, new_fn make)
{
    static const int64_t sizes[] = {0, 1, 7, 64, 1031, 4099};
    for (int d = 0; d < 3; d++) {
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) make(list, kind, case_floats[d], 1, sizes[s], "normal");
        for (size_t f = 0; f < sizeof fills / sizeof fills[0]; f++)
            case_set_fill(&make(list, kind, case_floats[d], 3, 1031, fills[f].name)->tensor[0], fills[f].fill, fills[f].a,
                          fills[f].b);
    }
    for (int layout = 1; layout < LAYOUT_COUNT; layout++) {
        case_set_layout(make(list, kind, case_floats[(kind + layout) % 3], 33, 64, "view"), (case_layout)layout);
        case_set_layout(make(list, kind, case_floats[(kind + layout + 1) % 3], 9, 1031, "view"), (case_layout)layout);
    }
}

static void set_alpha(test_case *c, float alpha)
{
    if (c->op == TRINE_OP_activation)
        CASE_ARGS(c, activation)->alpha = alpha;
    else
        CASE_ARGS(c, activation_backward)->alpha = alpha;
}

static void cases_of_alpha(case_list *list, new_fn make)
{
    static const struct {
        float alpha;
        const char *name;
    } alphas[] = {{0, "alpha 0"}, {0.01f, "alpha 0.01"}, {1, "alpha 1"}, {-0.5f, "alpha -0.5"}, {1.7f, "alpha 1.7"}};
    for (size_t i = 0; i < sizeof alphas / sizeof alphas[0]; i++)
        for (int d = 0; d < 3; d++) {
            set_alpha(make(list, TRINE_ACT_LEAKY_RELU, case_floats[d], 2, 517, alphas[i].name), alphas[i].alpha);
            set_alpha(make(list, TRINE_ACT_ELU, case_floats[d], 2, 517, alphas[i].name), alphas[i].alpha);
        }
}

/* 256 MB in 16 bits, 512 MB in f32. */
static void bench_cases(case_list *list, new_fn make, const trine_activation_kind *kinds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (int d = 0; d < 3; d++) make(list, kinds[i], case_floats[d], 16384, 8192, "normal");
}

void cases_activation(case_list *list, case_kind kind)
{
    static const trine_activation_kind benched[] = {TRINE_ACT_RELU, TRINE_ACT_GELU, TRINE_ACT_TANH, TRINE_ACT_SILU};
    if (kind == CASES_BENCH) {
        bench_cases(list, new_forward, benched, sizeof benched / sizeof benched[0]);
        return;
    }
    for (int k = 0; k < TRINE_ACT_COUNT; k++) {
        cases_of_kind(list, (trine_activation_kind)k, new_forward);
        case_set_inplace(new_forward(list, (trine_activation_kind)k, case_floats[k % 3], 5, 1031, "normal"), "y", "x");
    }
    cases_of_alpha(list, new_forward);
}

void cases_activation_backward(case_list *list, case_kind kind)
{
    static const trine_activation_kind benched[] = {TRINE_ACT_GELU, TRINE_ACT_SILU};
    if (kind == CASES_BENCH) {
        bench_cases(list, new_backward, benched, sizeof benched / sizeof benched[0]);
        return;
    }
    case_check_slopes();
    for (int k = 0; k < TRINE_ACT_COUNT; k++) {
        cases_of_kind(list, (trine_activation_kind)k, new_backward);
        case_set_inplace(new_backward(list, (trine_activation_kind)k, case_floats[k % 3], 5, 1031, "normal"), "dx", "x");
        case_set_inplace(new_backward(list, (trine_activation_kind)k, case_floats[(k + 1) % 3], 5, 1031, "normal"), "dx", "dy");
        /* with dy of inf and 3e38 only what has a relative error alone */
        if (tolerances[k].slope_atol > 4 * FLUSH) continue;
        for (int d = 0; d < 3; d++)
            case_set_fill(&new_backward(list, (trine_activation_kind)k, case_floats[d], 3, 1031, "special dy")->tensor[1],
                          FILL_SPECIAL, 0, 0);
    }
    cases_of_alpha(list, new_backward);
}

SIZES_OF(activation) { new_forward(list, TRINE_ACT_GELU, dtype, rows, n, "normal"); }
