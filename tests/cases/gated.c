/* Cases of the gated family. The oracle is that of the activations (tests/cases/activation.h) times the other half; their slopes
 * are checked against differences there, and the product here. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/cases/activation.h"
#include "tests/cases/sizes.h"

/* Where the halves of element `unit` of y lie. */
typedef struct halves {
    double gate, up;
} halves;

static halves halves_of(const test_case *c, int64_t unit, int32_t up_first)
{
    const case_tensor *gate = case_find(c, "gate"), *up = case_find(c, "up");
    if (up) return (halves){case_value(gate, unit), case_value(up, unit)};
    const int64_t n = gate->shape[gate->ndim - 1] / 2, row = unit / n * 2 * n, column = unit % n;
    const double first = case_value(gate, row + column), second = case_value(gate, row + n + column);
    return up_first ? (halves){second, first} : (halves){first, second};
}

static void oracle_forward(const test_case *c, int64_t unit, double *const *out)
{
    const trine_gated_args *a = (const trine_gated_args *)(const void *)c->args;
    const halves h = halves_of(c, unit, a->up_first);
    out[0][0] = case_activation(a->kind, a->alpha, h.gate) * h.up;
}

/* dy up is an f32 before the slope multiplies it. */
static halves gradients(const trine_gated_backward_args *a, halves h, double dy)
{
    double product = dy * h.up;
    if (fabs(product) > FLT_MAX) product = copysign(INFINITY, product);
    return (halves){product * case_activation_slope(a->kind, a->alpha, h.gate), dy * case_activation(a->kind, a->alpha, h.gate)};
}

/* Two tensors: an element of each. */
static void oracle_backward(const test_case *c, int64_t unit, double *const *out)
{
    const trine_gated_backward_args *a = (const trine_gated_backward_args *)(const void *)c->args;
    const halves d = gradients(a, halves_of(c, unit, a->up_first), case_value(case_find(c, "dy"), unit));
    out[0][0] = d.gate;
    out[1][0] = d.up;
}

/* Packed: a row. */
static void oracle_backward_packed(const test_case *c, int64_t unit, double *const *out)
{
    const trine_gated_backward_args *a = (const trine_gated_backward_args *)(const void *)c->args;
    const case_tensor *dy = case_find(c, "dy");
    const int64_t n = dy->shape[dy->ndim - 1];
    for (int64_t i = 0; i < n; i++) {
        const halves d = gradients(a, halves_of(c, unit * n + i, a->up_first), case_value(dy, unit * n + i));
        out[0][i] = a->up_first ? d.up : d.gate;
        out[0][n + i] = a->up_first ? d.gate : d.up;
    }
}

/* y against its gradients by central differences; the slope's own test says how near they are. */
static void check_gradients(void)
{
    const double h = 0x1p-17;
    for (int kind = 0; kind < TRINE_ACT_COUNT; kind++) {
        const trine_gated_backward_args a = {.kind = (trine_activation_kind)kind, .alpha = 0.25f};
        for (double gate = 0.52; gate < 4; gate += 0.7) {
            const double up = 1.5 - gate, dy = 0.75;
            const halves got = gradients(&a, (halves){gate, up}, dy);
            const double high = case_activation(a.kind, a.alpha, gate + h), low = case_activation(a.kind, a.alpha, gate - h);
            const double dgate = dy * up * (high - low) / (2 * h);
            const double f = case_activation(a.kind, a.alpha, gate), dup = dy * (f * (up + h) - f * (up - h)) / (2 * h);
            if (fabs(got.gate - dgate) <= 1e-8 * (1 + fabs(dgate)) && fabs(got.up - dup) <= 1e-8 * (1 + fabs(dup))) continue;
            fprintf(stderr, "trine: the oracle's gradients of gated %s at %g, %g are %g, %g, but differences give %g, %g\n",
                    trine_activation_name(a.kind), gate, up, got.gate, got.up, dgate, dup);
            exit(3);
        }
    }
}

/* ---- Cases ---- */

typedef enum form { TWO, PACKED, UP_FIRST } form;
static const char *const form_names[] = {"two", "packed", "up first"};

typedef struct gated_case {
    trine_activation_kind kind;
    trine_dtype dtype;
    form form;
    int64_t rows, cols; /* of y */
    const char *what;
} gated_case;

static test_case *new_case(case_list *list, trine_op op, const gated_case *g)
{
    return case_new(list, op, "%s %s %s %s %lldx%lld", trine_activation_name(g->kind), trine_dtype_name(g->dtype),
                    form_names[g->form], g->what, (long long)g->rows, (long long)g->cols);
}

/* up in [-2, 2]: an absolute error of the activation counts twice. */
static void finish_case(test_case *c, const gated_case *g, double operations)
{
    c->work *= case_activation_work(g->kind);
    c->flops = (double)(g->rows * g->cols) * (case_activation_work(g->kind) + operations);
    case_count_bytes(c);
}

static test_case *new_forward(case_list *list, gated_case g)
{
    test_case *c = new_case(list, TRINE_OP_gated, &g);
    const bool two = g.form == TWO;
    case_set_fill(case_in(c, "gate", g.dtype, SHAPE(g.rows, two ? g.cols : 2 * g.cols)), FILL_UNIFORM, two ? -6 : -2,
                  two ? 6 : 2);
    if (two) case_set_fill(case_in(c, "up", g.dtype, SHAPE(g.rows, g.cols)), FILL_UNIFORM, -2, 2);
    case_out(c, "y", g.dtype, SHAPE(g.rows, g.cols));
    trine_gated_args *a = CASE_ARGS(c, gated);
    a->kind = g.kind;
    a->alpha = 0.1f;
    a->up_first = g.form == UP_FIRST;
    const activation_error e = case_activation_error(g.kind, g.dtype, false);
    case_tolerance(c, g.dtype, e.rtol + 0x1p-24, 2 * e.atol);
    c->units = g.rows * g.cols;
    c->oracle = oracle_forward;
    finish_case(c, &g, 1);
    return c;
}

/* dy up and dy act each round once more; |dy up| <= 4. */
static test_case *new_backward(case_list *list, gated_case g)
{
    test_case *c = new_case(list, TRINE_OP_gated_backward, &g);
    const bool two = g.form == TWO;
    const int64_t wide = two ? g.cols : 2 * g.cols;
    case_set_fill(case_in(c, "gate", g.dtype, SHAPE(g.rows, wide)), FILL_UNIFORM, two ? -6 : -2, two ? 6 : 2);
    if (two) case_set_fill(case_in(c, "up", g.dtype, SHAPE(g.rows, g.cols)), FILL_UNIFORM, -2, 2);
    case_set_fill(case_in(c, "dy", g.dtype, SHAPE(g.rows, g.cols)), FILL_UNIFORM, -2, 2);
    case_out(c, "dgate", g.dtype, SHAPE(g.rows, wide));
    if (two) case_out(c, "dup", g.dtype, SHAPE(g.rows, g.cols));
    trine_gated_backward_args *a = CASE_ARGS(c, gated_backward);
    a->kind = g.kind;
    a->alpha = 0.1f;
    a->up_first = g.form == UP_FIRST;
    const activation_error value = case_activation_error(g.kind, g.dtype, false),
                           slope = case_activation_error(g.kind, g.dtype, true);
    case_tolerance(c, g.dtype, fmax(value.rtol, slope.rtol) + 0x1p-23, fmax(2 * value.atol, 4 * slope.atol));
    c->units = two ? g.rows * g.cols : g.cols ? g.rows : 0;
    c->oracle = two ? oracle_backward : oracle_backward_packed;
    finish_case(c, &g, 3);
    return c;
}

typedef test_case *(*new_fn)(case_list *, gated_case);

static const int64_t sizes[][2] = {{1, 0}, {0, 7}, {1, 1}, {3, 7}, {5, 64}, {2, 1031}, {3, 2056}};
enum { SIZES = sizeof sizes / sizeof sizes[0] };
static const trine_activation_kind named[] = {TRINE_ACT_SILU, TRINE_ACT_GELU, TRINE_ACT_GELU_TANH, TRINE_ACT_RELU,
                                              TRINE_ACT_SIGMOID};
enum { NAMED = sizeof named / sizeof named[0] };

static void views(case_list *list, new_fn make)
{
    for (int layout = 1; layout < LAYOUT_COUNT; layout++)
        for (int f = TWO; f <= UP_FIRST; f++) {
            const trine_activation_kind kind = named[(layout + f) % NAMED];
            case_set_layout(make(list, (gated_case){kind, case_floats[(layout + f) % 3], (form)f, 33, 64, "view"}),
                            (case_layout)layout);
            case_set_layout(make(list, (gated_case){kind, case_floats[(layout + f + 1) % 3], (form)f, 9, 131, "view"}),
                            (case_layout)layout);
        }
}

static void check_cases(case_list *list, new_fn make)
{
    for (int k = 0; k < TRINE_ACT_COUNT; k++)
        for (int f = TWO; f <= UP_FIRST; f++)
            make(list, (gated_case){(trine_activation_kind)k, case_floats[(k + f) % 3], (form)f, 4, 136, "all"});
    for (int k = 0; k < NAMED; k++)
        for (int d = 0; d < 3; d++)
            for (int s = 0; s < SIZES; s++)
                make(list, (gated_case){named[k], case_floats[d], (form)((k + s) % 3), sizes[s][0], sizes[s][1], "size"});
    views(list, make);
    for (int d = 0; d < 3; d++) /* exact but for rounding whatever the other factors are */
        case_set_fill(&make(list, (gated_case){TRINE_ACT_RELU, case_floats[d], PACKED, 3, 1031, "special"})->tensor[0],
                      FILL_SPECIAL, 0, 0);
}

static void bench_cases(case_list *list, new_fn make)
{
    for (int d = 0; d < 3; d++) {
        make(list, (gated_case){TRINE_ACT_SILU, case_floats[d], PACKED, 8192, 11008, "half"});
        make(list, (gated_case){TRINE_ACT_SILU, case_floats[d], TWO, 8192, 11008, "half"});
        make(list, (gated_case){TRINE_ACT_GELU, case_floats[d], PACKED, 8192, 11008, "half"});
    }
}

void cases_gated(case_list *list, case_kind kind)
{
    if (kind == CASES_BENCH) {
        bench_cases(list, new_forward);
        return;
    }
    check_cases(list, new_forward);
    for (int d = 0; d < 3; d++) {
        case_set_inplace(new_forward(list, (gated_case){TRINE_ACT_SILU, case_floats[d], TWO, 5, 1031, "onto gate"}), "y", "gate");
        case_set_inplace(new_forward(list, (gated_case){TRINE_ACT_GELU, case_floats[d], TWO, 5, 1031, "onto up"}), "y", "up");
        /* the tails alone decide: silu(-inf) inf is NaN, as in the oracle */
        case_set_fill(&new_forward(list, (gated_case){TRINE_ACT_SILU, case_floats[d], TWO, 3, 1031, "special"})->tensor[0],
                      FILL_SPECIAL, 0, 0);
    }
}

void cases_gated_backward(case_list *list, case_kind kind)
{
    if (kind == CASES_BENCH) {
        bench_cases(list, new_backward);
        return;
    }
    check_gradients();
    check_cases(list, new_backward);
    for (int d = 0; d < 3; d++) {
        test_case *c = new_backward(list, (gated_case){TRINE_ACT_SILU, case_floats[d], TWO, 5, 1031, "onto both"});
        case_set_inplace(c, "dgate", "gate");
        case_set_inplace(c, "dup", "up");
        case_set_inplace(new_backward(list, (gated_case){TRINE_ACT_GELU, case_floats[d], TWO, 5, 1031, "onto dy"}), "dup", "dy");
        case_set_inplace(new_backward(list, (gated_case){TRINE_ACT_GELU, case_floats[d], UP_FIRST, 5, 1032, "onto"}), "dgate",
                         "gate");
    }
}

SIZES_OF(gated) { new_forward(list, (gated_case){TRINE_ACT_SILU, dtype, TWO, rows, n, "half"}); }
