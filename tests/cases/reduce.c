/* Cases of the reduce family.
 *
 * Bounds, with u = 2^-24 and n the elements of a sum. Sums of one sign are off by at most about sqrt(n) u of themselves (rounding
 * errors have random signs), plus a few u. A sum of n normal numbers has a size of sqrt(n); added up in a few lanes its error is
 * about n/8 u. amax, amin and argmax are exact. */
#include <math.h>
#include <stdio.h>

#include "tests/cases/cases.h"
#include "tests/cases/sizes.h"

static const double u = 0x1p-24;

/* The axis from 0; -1 for all. */
static int32_t axis_of(const test_case *c)
{
    const int32_t axis = c->op == TRINE_OP_dot ? ((const trine_dot_args *)(const void *)c->args)->axis
                                               : ((const trine_reduce_args *)(const void *)c->args)->axis;
    return axis == TRINE_AXIS_ALL ? -1 : axis < 0 ? axis + c->tensor[0].ndim : axis;
}

/* Output `unit` reduces elements first, first + step, ... (count of them). */
static void elements_of(const test_case *c, int64_t unit, int64_t *first, int64_t *step, int64_t *count)
{
    const case_tensor *x = &c->tensor[0];
    const int32_t axis = axis_of(c);
    *first = 0;
    *step = 1;
    *count = x->numel;
    if (axis < 0) return;
    for (int32_t d = axis + 1; d < x->ndim; d++) *step *= x->shape[d];
    *count = x->shape[axis];
    *first = unit / *step * *step * *count + unit % *step;
}

static double accumulate(const test_case *c, double sum, int64_t i)
{
    const double x = case_value(&c->tensor[0], i);
    switch (c->op) {
    case TRINE_OP_dot: return sum + x * case_value(&c->tensor[1], i);
    case TRINE_OP_norm_l1: return sum + fabs(x);
    case TRINE_OP_norm_l2: return sum + x * x;
    default: return sum + x;
    }
}

static void oracle_sum(const test_case *c, int64_t unit, double *const *out)
{
    int64_t first, step, count;
    double sum = 0;
    elements_of(c, unit, &first, &step, &count);
    for (int64_t k = 0; k < count; k++) sum = accumulate(c, sum, first + k * step);
    out[0][0] = c->op == TRINE_OP_mean ? sum / (double)count : c->op == TRINE_OP_norm_l2 ? sqrt(sum) : sum;
}

/* Is x before `best`? A NaN is before everything but another NaN. */
static bool better(trine_op op, double x, double best)
{
    if (isnan(best)) return false;
    return isnan(x) || (op == TRINE_OP_amin ? x < best : x > best);
}

static void oracle_choose(const test_case *c, int64_t unit, double *const *out)
{
    int64_t first, step, count, at = 0;
    elements_of(c, unit, &first, &step, &count);
    double best = case_value(&c->tensor[0], first);
    for (int64_t k = 1; k < count; k++) {
        const double x = case_value(&c->tensor[0], first + k * step);
        if (!better(c->op, x, best)) continue;
        best = x;
        at = k;
    }
    out[0][0] = c->op == TRINE_OP_argmax ? (double)at : best;
}

/* ---- Making cases ---- */

typedef struct shape_of {
    int32_t ndim;
    int64_t size[4];
} shape_of;

static bool chooses(trine_op op) { return op == TRINE_OP_amax || op == TRINE_OP_amin || op == TRINE_OP_argmax; }

static shape_of reduced(const shape_of *x, int32_t axis, bool keep)
{
    shape_of y = {0, {0}};
    for (int32_t d = 0; d < x->ndim; d++) {
        const bool gone = axis == TRINE_AXIS_ALL || d == (axis < 0 ? axis + x->ndim : axis);
        if (!gone || keep) y.size[y.ndim++] = gone ? 1 : x->size[d];
    }
    return y;
}

static void set_bound(test_case *c, trine_dtype out, bool one_sign)
{
    int64_t first, step, count;
    elements_of(c, 0, &first, &step, &count);
    const double n = count ? (double)count : 1;
    const double signed_error = (8 * sqrt(n) + n / 8) * u / (c->op == TRINE_OP_mean ? n : 1);
    one_sign = one_sign || c->op == TRINE_OP_norm_l1 || c->op == TRINE_OP_norm_l2;
    if (chooses(c->op))
        case_tolerance(c, TRINE_F64, 0, 0);
    else
        case_tolerance(c, out, (8 + sqrt(n)) * u, one_sign ? 0 : signed_error);
}

static test_case *new_reduce(case_list *list, trine_op op, trine_dtype dtype, trine_dtype out, shape_of x, int32_t axis,
                             bool keep, case_layout layout)
{
    const shape_of y = reduced(&x, axis, keep);
    char text[32] = "all";
    if (axis != TRINE_AXIS_ALL) snprintf(text, sizeof text, "axis %d", (int)axis);
    test_case *c = case_new(list, op, "%s to %s %lldx%lldx%lldx%lld %s%s", trine_dtype_name(dtype), trine_dtype_name(out),
                            (long long)x.size[0], x.ndim > 1 ? (long long)x.size[1] : 1, x.ndim > 2 ? (long long)x.size[2] : 1,
                            x.ndim > 3 ? (long long)x.size[3] : 1, text, keep ? " kept" : "");
    const case_fill fill = dtype == TRINE_I32 || dtype == TRINE_I64 ? FILL_INTEGERS : FILL_NORMAL;
    const double a = fill == FILL_INTEGERS ? -1e9 : 0, b = fill == FILL_INTEGERS ? 1e9 : 1;
    case_set_fill(case_in(c, op == TRINE_OP_dot ? "a" : "x", dtype, x.ndim, x.size), fill, a, b);
    if (op == TRINE_OP_dot) case_in(c, "b", dtype, x.ndim, x.size);
    c->units = case_out(c, "y", out, y.ndim, y.size)->numel;
    if (op == TRINE_OP_dot)
        CASE_ARGS(c, dot)->axis = axis;
    else
        CASE_ARGS(c, sum)->axis = axis;
    case_set_layout(c, layout);
    c->oracle = chooses(op) ? oracle_choose : oracle_sum;
    set_bound(c, out, false);
    c->flops = (double)c->tensor[0].numel * (op == TRINE_OP_dot || op == TRINE_OP_norm_l2 ? 2 : 1);
    case_count_bytes(c);
    return c;
}

static trine_dtype result_of(trine_op op, trine_dtype dtype, int turn)
{
    if (op == TRINE_OP_argmax) return turn % 2 ? TRINE_I32 : TRINE_I64;
    return chooses(op) || turn % 2 == 0 ? dtype : TRINE_F32;
}

static void check_shapes(case_list *list, trine_op op, trine_dtype dtype)
{
    static const shape_of shapes[] = {{1, {1}},           {1, {7}},        {1, {1031}},       {1, {70001}},
                                      {2, {3, 5}},        {2, {33, 130}},  {2, {1, 4099}},    {2, {515, 3}},
                                      {2, {2050, 72}},    {3, {5, 7, 33}}, {3, {4, 129, 16}}, {4, {3, 2, 5, 64}},
                                      {4, {2, 17, 3, 8}}, {2, {37, 960}},  {2, {37, 1920}}};
    int turn = 0;
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (int32_t axis = -1; axis < shapes[s].ndim; axis++, turn++) {
            new_reduce(list, op, dtype, result_of(op, dtype, turn), shapes[s], axis, turn % 3 == 0, LAYOUT_DENSE);
            if (shapes[s].ndim > 1)
                new_reduce(list, op, dtype, result_of(op, dtype, turn), shapes[s], axis, false,
                           (case_layout)(1 + turn % (LAYOUT_COUNT - 1)));
        }
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++, turn++)
        new_reduce(list, op, dtype, result_of(op, dtype, turn), shapes[s], TRINE_AXIS_ALL, turn % 2,
                   (case_layout)(turn % LAYOUT_COUNT));
}

static void check_edges(case_list *list, trine_op op, trine_dtype dtype)
{
    new_reduce(list, op, dtype, result_of(op, dtype, 0), (shape_of){3, {4, 0, 3}}, 2, false,
               LAYOUT_DENSE); /* nothing of nothing */
    if (!chooses(op)) new_reduce(list, op, dtype, dtype, (shape_of){3, {4, 0, 3}}, 1, false, LAYOUT_DENSE);
    if (!chooses(op)) new_reduce(list, op, dtype, dtype, (shape_of){2, {0, 3}}, TRINE_AXIS_ALL, false, LAYOUT_DENSE);
    if (op == TRINE_OP_sum && dtype == TRINE_F32) /* a block of a GPU a row, more than once through it */
        new_reduce(list, op, dtype, dtype, (shape_of){2, {300, 8200}}, 1, false, LAYOUT_DENSE);
    if (dtype != TRINE_F32 && dtype != TRINE_F16 && dtype != TRINE_BF16) return;
    for (int32_t axis = 0; axis < 2; axis++) {
        test_case *c = new_reduce(list, op, dtype, result_of(op, dtype, 0), (shape_of){2, {67, 129}}, axis, false, LAYOUT_DENSE);
        case_set_fill(&c->tensor[0], FILL_SPECIAL, 0, 1);
        if (!chooses(op))
            case_set_fill(&c->tensor[0], FILL_UNIFORM, 0.5, 1.5),
                set_bound(c, c->tensor[c->tensor_count - 1].dtype, op != TRINE_OP_dot);
    }
    if (!chooses(op)) return;
    for (int32_t axis = 0; axis < 2; axis++) /* NaN in a few lanes of a wave */
        case_set_fill(&new_reduce(list, op, dtype, result_of(op, dtype, 0), (shape_of){2, {67, 127}}, axis, false, LAYOUT_STRIDED)
                           ->tensor[0],
                      FILL_SPECIAL, 8, 1);
    test_case *ties = new_reduce(list, op, dtype, result_of(op, dtype, 0), (shape_of){2, {5, 3001}}, 1, false, LAYOUT_DENSE);
    case_set_fill(&ties->tensor[0], FILL_INTEGERS, -2, 2);
}

static void reduce_cases(case_list *list, case_kind kind, trine_op op)
{
    static const trine_dtype dtypes[] = {TRINE_F32, TRINE_F16, TRINE_BF16, TRINE_I32, TRINE_I64};
    static const shape_of big[] = {{2, {131072, 1024}}, {2, {16384, 8192}}, {2, {64, 2097152}}};
    for (int d = 0; d < (chooses(op) ? 5 : 3) && kind == CASES_CHECK; d++) {
        check_shapes(list, op, dtypes[d]);
        check_edges(list, op, dtypes[d]);
    }
    for (int d = 0; d < 3 && kind == CASES_BENCH; d += 2)
        for (size_t s = 0; s < sizeof big / sizeof big[0]; s++) {
            shape_of x = big[s];
            x.size[0] *= 1 + d / 2;
            new_reduce(list, op, dtypes[d], result_of(op, dtypes[d], 0), x, 1, false, LAYOUT_DENSE);
            if (s < 2) new_reduce(list, op, dtypes[d], result_of(op, dtypes[d], 0), x, 0, false, LAYOUT_DENSE);
            if (s == 1) new_reduce(list, op, dtypes[d], result_of(op, dtypes[d], 0), x, TRINE_AXIS_ALL, false, LAYOUT_DENSE);
        }
}

void cases_sum(case_list *list, case_kind kind) { reduce_cases(list, kind, TRINE_OP_sum); }
void cases_mean(case_list *list, case_kind kind) { reduce_cases(list, kind, TRINE_OP_mean); }
void cases_amax(case_list *list, case_kind kind) { reduce_cases(list, kind, TRINE_OP_amax); }
void cases_amin(case_list *list, case_kind kind) { reduce_cases(list, kind, TRINE_OP_amin); }
void cases_argmax(case_list *list, case_kind kind) { reduce_cases(list, kind, TRINE_OP_argmax); }
void cases_norm_l1(case_list *list, case_kind kind) { reduce_cases(list, kind, TRINE_OP_norm_l1); }
void cases_norm_l2(case_list *list, case_kind kind) { reduce_cases(list, kind, TRINE_OP_norm_l2); }
void cases_dot(case_list *list, case_kind kind) { reduce_cases(list, kind, TRINE_OP_dot); }

SIZES_OF(sum) { new_reduce(list, TRINE_OP_sum, dtype, dtype, (shape_of){2, {rows, n}}, 1, false, LAYOUT_DENSE); }

/* ---- segment_sum ---- */

static void oracle_segments(const test_case *c, int64_t unit, double *const *out)
{
    const case_tensor *x = case_find(c, "x"), *ids = case_find(c, "ids"), *y = case_find(c, "y");
    const int64_t columns = y->numel / y->shape[0];
    for (int64_t j = 0; j < columns; j++) out[0][j] = 0;
    for (int64_t i = 0; i < ids->numel; i++)
        for (int64_t j = 0; j < columns && case_value_i64(ids, i) == unit; j++) out[0][j] += case_value(x, i * columns + j);
}

static test_case *new_segments(case_list *list, trine_dtype dtype, trine_dtype out, trine_dtype ids, int64_t n, int64_t columns,
                               int64_t segments, int64_t beyond, bool sorted, case_layout layout)
{
    test_case *c =
        case_new(list, TRINE_OP_segment_sum, "%s to %s %s %lldx%lld to %lld%s", trine_dtype_name(dtype), trine_dtype_name(out),
                 trine_dtype_name(ids), (long long)n, (long long)columns, (long long)segments, sorted ? " sorted" : "");
    case_in(c, "x", dtype, SHAPE(n, columns));
    case_set_fill(case_in(c, "ids", ids, SHAPE(n)), sorted ? FILL_SORTED : FILL_INTEGERS, (double)-beyond,
                  (double)(segments - 1 + beyond));
    c->units = case_out(c, "y", out, SHAPE(segments, columns))->numel ? segments : 0;
    CASE_ARGS(c, segment_sum)->sorted = sorted;
    c->oracle = oracle_segments;
    /* a segment may have most of the rows: the first one of sorted ids has a share of 1 / sqrt(segments) */
    const double k = 1 + (double)n / sqrt((double)(segments ? segments : 1)) * 4;
    case_tolerance(c, out, 4 * u, 4 * (sqrt(k) + k / 8 + 2) * u);
    case_set_layout(c, layout);
    case_count_bytes(c);
    if (c->work > 1e6) c->work = (double)n * (double)c->units; /* a unit's oracle goes through all ids */
    c->flops = (double)n * (double)columns;
    return c;
}

void cases_segment_sum(case_list *list, case_kind kind)
{
    static const struct {
        int64_t n, columns, segments, beyond;
    } shapes[] = {{12, 5, 7, 2},    {1, 1, 1, 0},       {33, 16, 1, 0}, {96, 136, 50, 1}, {257, 3, 9, 3},
                  {3001, 24, 2, 0}, {4100, 8, 1000, 5}, {0, 8, 3, 0},   {5, 0, 3, 0},     {5, 4, 0, 1}};
    if (kind == CASES_BENCH) {
        new_segments(list, TRINE_BF16, TRINE_BF16, TRINE_I32, 1000000, 128, 50000, 0, false, LAYOUT_DENSE);
        new_segments(list, TRINE_BF16, TRINE_BF16, TRINE_I32, 1000000, 128, 50000, 0, true, LAYOUT_DENSE);
        new_segments(list, TRINE_F32, TRINE_F32, TRINE_I64, 4000000, 64, 256, 0, true, LAYOUT_DENSE);
        return;
    }
    /* sorts of more than one block, of so many that a kernel of its own adds up their counts, of three passes */
    new_segments(list, TRINE_F32, TRINE_F32, TRINE_I32, 40009, 3, 200, 1, false, LAYOUT_DENSE);
    new_segments(list, TRINE_BF16, TRINE_F32, TRINE_I64, 150001, 1, 300, 2, false, LAYOUT_DENSE);
    new_segments(list, TRINE_F32, TRINE_F32, TRINE_I32, 150001, 1, 3, 0, true, LAYOUT_DENSE);
    new_segments(list, TRINE_F32, TRINE_F32, TRINE_I64, 307, 1, 70001, 5, false, LAYOUT_DENSE);
    for (int d = 0; d < 3; d++)
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
            for (int sorted = 0; sorted < 2; sorted++)
                for (int layout = 0; layout < LAYOUT_COUNT; layout++)
                    if (shapes[s].n < 1000 || layout < 2)
                        new_segments(list, case_floats[d], (s + (size_t)layout) % 3 ? case_floats[d] : TRINE_F32,
                                     (d + layout) % 2 ? TRINE_I32 : TRINE_I64, shapes[s].n, shapes[s].columns, shapes[s].segments,
                                     shapes[s].beyond, sorted, (case_layout)layout);
}
