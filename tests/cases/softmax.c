/* Cases of the softmax family.
 *
 * Bounds, with u = 2^-24 and n the length of a row. An exponential of x - max by 2^t has an argument rounded to |t| u, so its
 * relative error is (1.5 |x - max| + a few) u; a sum of n positive terms adds about sqrt(n) u (its rounding errors have random
 * signs), reciprocal, logarithm and product a few u more. Results below 2^-126 may be flushed. */
#include <math.h>
#include <stdlib.h>

#include "tests/cases/cases.h"
#include "tests/cases/sizes.h"

static const double u = 0x1p-24;

typedef struct rows_shape {
    int64_t rows, n;
} rows_shape;

static int64_t row_length(const test_case *c)
{
    const case_tensor *t = &c->tensor[0];
    return t->shape[t->ndim - 1];
}

/* ---- Forward ---- */

static void oracle_forward(const test_case *c, int64_t unit, double *const *out)
{
    const case_tensor *x = case_find(c, "x");
    const int64_t n = row_length(c);
    double most = -INFINITY, sum = 0;
    bool nan = false;
    for (int64_t i = 0; i < n; i++) {
        const double v = case_value(x, unit * n + i);
        nan = nan || isnan(v);
        most = fmax(most, v);
    }
    for (int64_t i = 0; i < n; i++) sum += exp(case_value(x, unit * n + i) - most);
    for (int64_t i = 0; i < n; i++) {
        const double d = case_value(x, unit * n + i) - most;
        out[0][i] = nan ? NAN : c->op == TRINE_OP_softmax ? exp(d) / sum : d - log(sum);
    }
}

/* range: the largest |x - max| that matters */
static void forward_tolerance(test_case *c, trine_dtype dtype, double range)
{
    const double n = (double)row_length(c);
    if (c->op == TRINE_OP_softmax)
        case_tolerance(c, dtype, (1.5 * range + 24 + sqrt(n)) * u, 0x1p-126);
    else
        case_tolerance(c, dtype, 4 * u, (range + 16 + sqrt(n)) * u);
}

static test_case *new_forward(case_list *list, trine_op op, trine_dtype dtype, int32_t ndim, const int64_t *shape,
                              case_layout layout)
{
    test_case *c = case_new(list, op, "%s %lldx%lld", trine_dtype_name(dtype), (long long)shape[0], (long long)shape[ndim - 1]);
    case_in(c, "x", dtype, ndim, shape);
    case_tensor *y = case_out(c, "y", dtype, ndim, shape);
    const int64_t n = shape[ndim - 1];
    case_set_layout(c, layout);
    c->units = n ? y->numel / n : 0;
    c->oracle = oracle_forward;
    c->may_refuse = n > 1 && (layout == LAYOUT_STRIDED || layout == LAYOUT_TRANSPOSED);
    c->flops = 5.0 * (double)y->numel;
    case_count_bytes(c);
    forward_tolerance(c, dtype, 12);
    return c;
}

static const int64_t lengths[] = {0, 1, 2, 3, 7, 31, 32, 33, 64, 127, 255, 257, 1000, 1023, 1024, 1025, 4096, 4099, 16392};
enum { LENGTHS = sizeof lengths / sizeof lengths[0] };

/* Every length at a number of rows that goes with it in turn. */
static int64_t rows_for(size_t i)
{
    static const int64_t rows[] = {5, 2, 131, 1};
    return lengths[i] > 2000 ? 3 : rows[i % 4];
}

static void forward_values(case_list *list, trine_op op, trine_dtype dtype)
{
    static const struct {
        case_fill fill;
        double a, b, range;
    } fills[] = {{FILL_SPECIAL, 0, 1, 104},       {FILL_CONSTANT, -INFINITY, 0, 0}, {FILL_CONSTANT, 3, 0, 0},
                 {FILL_UNIFORM, -1e4, 1e4, 104},  {FILL_NORMAL, 1000, 8, 80},       {FILL_NORMAL, 0, 1e-3, 1},
                 {FILL_CONSTANT, INFINITY, 0, 0}, {FILL_NORMAL, -1e4, 1, 12},       {FILL_UNIFORM, -3.3e38, 3.3e38, 104}};
    static const rows_shape short_rows[] = {{997, 1}, {997, 2}, {499, 3}, {131, 8}};
    for (size_t f = 0; f < sizeof fills / sizeof fills[0]; f++)
        for (int64_t n = 3; n < 6000; n = n * 11 + 2) {
            test_case *c = new_forward(list, op, dtype, 2, (int64_t[]){7, n}, f % 2 ? LAYOUT_PADDED : LAYOUT_DENSE);
            case_set_fill(&c->tensor[0], fills[f].fill, fills[f].a, fills[f].b);
            forward_tolerance(c, dtype, fills[f].range);
        }
    for (size_t s = 0; s < sizeof short_rows / sizeof short_rows[0]; s++) { /* so short that special values come alone */
        test_case *c = new_forward(list, op, dtype, 2, (int64_t[]){short_rows[s].rows, short_rows[s].n}, LAYOUT_DENSE);
        case_set_fill(&c->tensor[0], FILL_SPECIAL, 0, 1);
        forward_tolerance(c, dtype, 104);
    }
    for (int k = 0; k < 2; k++) /* input and output lie differently */
        for (int64_t n = 37; n < 6000; n = n * 11 + 1)
            new_forward(list, op, dtype, 2, (int64_t[]){5, n}, LAYOUT_DENSE)->tensor[k].layout =
                k ? LAYOUT_OFFSET : LAYOUT_PADDED;
}

static void forward_check(case_list *list, trine_op op)
{
    for (int d = 0; d < 3; d++) {
        for (size_t i = 0; i < LENGTHS; i++)
            for (int layout = 0; layout < LAYOUT_COUNT; layout++)
                if (lengths[i] < 2000 || layout < LAYOUT_STRIDED)
                    new_forward(list, op, case_floats[d], 2, (int64_t[]){rows_for(i), lengths[i]}, (case_layout)layout);
        new_forward(list, op, case_floats[d], 1, (int64_t[]){333}, LAYOUT_DENSE);
        new_forward(list, op, case_floats[d], 3, (int64_t[]){3, 5, 129}, LAYOUT_PADDED);
        new_forward(list, op, case_floats[d], 4, (int64_t[]){2, 3, 2, 72}, LAYOUT_OFFSET);
        new_forward(list, op, case_floats[d], 3, (int64_t[]){3, 5, 1032}, LAYOUT_GAPPED); /* rows along two axes, and three */
        new_forward(list, op, case_floats[d], 4, (int64_t[]){2, 3, 2, 72}, LAYOUT_GAPPED);
        new_forward(list, op, case_floats[d], 2, (int64_t[]){0, 9}, LAYOUT_DENSE);
        case_set_inplace(new_forward(list, op, case_floats[d], 2, (int64_t[]){9, 1031}, LAYOUT_DENSE), "y", "x");
        forward_values(list, op, case_floats[d]);
        new_forward(list, op, case_floats[d], 2, (int64_t[]){2, 50001}, LAYOUT_DENSE);
        new_forward(list, op, case_floats[d], 2, (int64_t[]){2, 131073}, LAYOUT_PADDED);
        new_forward(list, op, case_floats[d], 2, (int64_t[]){1, 262144}, LAYOUT_DENSE);
    }
    new_forward(list, op, TRINE_BF16, 2, (int64_t[]){1, 1048577}, LAYOUT_DENSE);
    new_forward(list, op, TRINE_F32, 2, (int64_t[]){2, 600000}, LAYOUT_DENSE);
}

static const rows_shape bench_shapes[] = {{262144, 256}, {131072, 1024}, {32768, 4096}, {16384, 8192},
                                          {4096, 32768}, {1024, 131072}, {512, 262144}};
enum { BENCH_SHAPES = sizeof bench_shapes / sizeof bench_shapes[0] };

static void forward_cases(case_list *list, case_kind kind, trine_op op)
{
    if (kind == CASES_CHECK) {
        forward_check(list, op);
        return;
    }
    for (int d = 0; d < 3; d += 2) /* f32 and bf16 */
        for (size_t s = 0; s < BENCH_SHAPES; s++)
            new_forward(list, op, case_floats[d], 2, (int64_t[]){bench_shapes[s].rows * (1 + d / 2), bench_shapes[s].n},
                        LAYOUT_DENSE);
}

void cases_softmax(case_list *list, case_kind kind) { forward_cases(list, kind, TRINE_OP_softmax); }
void cases_log_softmax(case_list *list, case_kind kind) { forward_cases(list, kind, TRINE_OP_log_softmax); }

SIZES_OF(softmax) { new_forward(list, TRINE_OP_softmax, dtype, 2, (int64_t[]){rows, n}, LAYOUT_DENSE); }

/* ---- Backward ---- */

static void oracle_backward(const test_case *c, int64_t unit, double *const *out)
{
    const case_tensor *y = case_find(c, "y"), *dy = case_find(c, "dy");
    const int64_t n = row_length(c), first = unit * n;
    const bool is_log = c->op == TRINE_OP_log_softmax_backward;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (is_log ? 1 : case_value(y, first + i)) * case_value(dy, first + i);
    for (int64_t i = 0; i < n; i++) {
        const double a = case_value(y, first + i), b = case_value(dy, first + i);
        out[0][i] = is_log ? b - exp(a) * sum : a * (b - sum);
    }
}

/* y is filled like a softmax's output, uniform in [0, 2/n), so that sum |y dy| is about 0.8; or like its logarithm, uniform in
 * [-12, 0). A sum of n normal numbers has a size of sqrt(n) and, added up in lanes, an error of about n/16 u. */
static test_case *new_backward(case_list *list, trine_op op, trine_dtype dtype, int32_t ndim, const int64_t *shape,
                               case_layout layout)
{
    test_case *c = case_new(list, op, "%s %lldx%lld", trine_dtype_name(dtype), (long long)shape[0], (long long)shape[ndim - 1]);
    const int64_t n = shape[ndim - 1];
    const double m = n ? (double)n : 1;
    case_tensor *y = case_in(c, "y", dtype, ndim, shape);
    case_in(c, "dy", dtype, ndim, shape);
    case_tensor *dx = case_out(c, "dx", dtype, ndim, shape);
    if (op == TRINE_OP_softmax_backward) {
        case_set_fill(y, FILL_UNIFORM, 0, 2 / m);
        case_tolerance(c, dtype, 8 * u, 2 / m * (16 + sqrt(m)) * u + 0x1p-126);
    } else {
        case_set_fill(y, FILL_UNIFORM, -12, 0);
        case_tolerance(c, dtype, 8 * u, (200 * sqrt(m) + m / 8) * u);
    }
    case_set_layout(c, layout);
    c->units = n ? dx->numel / n : 0;
    c->oracle = oracle_backward;
    c->may_refuse = n > 1 && (layout == LAYOUT_STRIDED || layout == LAYOUT_TRANSPOSED);
    c->flops = 4.0 * (double)dx->numel;
    case_count_bytes(c);
    return c;
}

static void backward_cases(case_list *list, case_kind kind, trine_op op)
{
    for (int d = 0; d < 3 && kind == CASES_CHECK; d++) {
        for (size_t i = 0; i < LENGTHS; i++)
            for (int layout = 0; layout < LAYOUT_COUNT; layout++)
                if (lengths[i] < 2000 || layout < LAYOUT_STRIDED)
                    new_backward(list, op, case_floats[d], 2, (int64_t[]){rows_for(i), lengths[i]}, (case_layout)layout);
        new_backward(list, op, case_floats[d], 3, (int64_t[]){3, 5, 129}, LAYOUT_PADDED);
        new_backward(list, op, case_floats[d], 3, (int64_t[]){3, 5, 72}, LAYOUT_GAPPED);
        new_backward(list, op, case_floats[d], 4, (int64_t[]){2, 3, 2, 1032}, LAYOUT_GAPPED);
        case_set_inplace(new_backward(list, op, case_floats[d], 2, (int64_t[]){9, 1031}, LAYOUT_DENSE), "dx", "dy");
        case_set_inplace(new_backward(list, op, case_floats[d], 2, (int64_t[]){9, 515}, LAYOUT_DENSE), "dx", "y");
        new_backward(list, op, case_floats[d], 2, (int64_t[]){2, 50001}, LAYOUT_DENSE);
        new_backward(list, op, case_floats[d], 2, (int64_t[]){2, 131073}, LAYOUT_PADDED);
    }
    for (int d = 0; d < 3 && kind == CASES_BENCH; d += 2)
        for (size_t s = 0; s < BENCH_SHAPES; s++)
            new_backward(list, op, case_floats[d], 2, (int64_t[]){bench_shapes[s].rows, bench_shapes[s].n}, LAYOUT_DENSE);
}

void cases_softmax_backward(case_list *list, case_kind kind) { backward_cases(list, kind, TRINE_OP_softmax_backward); }
void cases_log_softmax_backward(case_list *list, case_kind kind) { backward_cases(list, kind, TRINE_OP_log_softmax_backward); }

SIZES_OF(softmax_backward) { new_backward(list, TRINE_OP_softmax_backward, dtype, 2, (int64_t[]){rows, n}, LAYOUT_DENSE); }
