/* Cases of the elementwise family. Everything but div is exact: copy and casts by the host's conversions (which
 * tests/unit/dtype.c checks exhaustively), add, sub, mul in f64 rounded once (innocuous for f32 operands: 53 >= 2*24+2 bits). */
#include <math.h>
#include <string.h>

#include "tests/cases/cases.h"
#include "tests/cases/sizes.h"

static const char *name_of(trine_dtype dtype) { return trine_dtype_name(dtype); }

/* Benches want what people compute on; NaN and the like would take slow paths. */
static void normal_inputs(test_case *c)
{
    for (int32_t k = 0; k < c->tensor_count; k++)
        if (!c->tensor[k].output) case_set_fill(&c->tensor[k], FILL_NORMAL, 0, 1);
}

/* ---- copy, fill ---- */

static void oracle_copy(const test_case *c, int64_t unit, void *const *out)
{
    const case_tensor *x = case_find(c, "x"), *y = case_find(c, "y");
    trine_convert(case_element(x, case_broadcast_index(x, y, unit)), x->dtype, out[0], y->dtype, 1);
}

static void exact_elements(test_case *c, void (*oracle)(const test_case *, int64_t, void *const *))
{
    const case_tensor *y = case_find(c, "y");
    c->units = y->numel;
    c->oracle_bits = oracle;
    c->vendor_exact = true;
    case_count_bytes(c);
}

static test_case *new_copy(case_list *list, trine_dtype from, trine_dtype to, int64_t rows, int64_t cols, case_layout layout)
{
    test_case *c =
        case_new(list, TRINE_OP_copy, "%s to %s %lldx%lld", name_of(from), name_of(to), (long long)rows, (long long)cols);
    case_set_fill(case_in(c, "x", from, SHAPE(rows, cols)), from == to ? FILL_BITS : FILL_SPECIAL, 0, 1);
    case_out(c, "y", to, SHAPE(rows, cols));
    case_set_layout(c, layout);
    exact_elements(c, oracle_copy);
    return c;
}

static void copy_every_pair(case_list *list)
{
    for (int from = TRINE_F64; from <= TRINE_BOOL; from++)
        for (int to = TRINE_F64; to <= TRINE_BOOL; to++) {
            test_case *c = new_copy(list, (trine_dtype)from, (trine_dtype)to, 3, 1031, LAYOUT_DENSE);
            if (from >= TRINE_I64) case_set_fill(&c->tensor[0], FILL_BITS, 0, 0);
            new_copy(list, (trine_dtype)from, (trine_dtype)to, 5, 37, LAYOUT_STRIDED);
        }
}

static void copy_shapes(case_list *list)
{
    static const int64_t shapes[][2] = {{0, 5}, {1, 1}, {1, 2}, {1, 15}, {2, 16}, {7, 31}, {1, 4099}, {13, 1024}, {257, 129}};
    static const trine_dtype dtypes[] = {TRINE_F32, TRINE_BF16, TRINE_U8, TRINE_I64};
    for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++)
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
            for (int layout = 0; layout < LAYOUT_COUNT; layout++)
                new_copy(list, dtypes[d], dtypes[d], shapes[s][0], shapes[s][1], (case_layout)layout);
}

/* Whole packs along up to five axes that can't be walked as fewer. */
static void copy_gapped(case_list *list)
{
    static const int64_t shape[] = {2, 3, 2, 5, 64};
    for (int32_t ndim = 2; ndim <= 5; ndim++)
        for (int d = 0; d < 3; d += 2) {
            test_case *c = case_new(list, TRINE_OP_copy, "%s of %d axes", trine_dtype_name(case_floats[d]), (int)ndim);
            case_in(c, "x", case_floats[d], ndim, shape + 5 - ndim);
            case_out(c, "y", case_floats[d], ndim, shape + 5 - ndim);
            case_set_layout(c, LAYOUT_GAPPED);
            exact_elements(c, oracle_copy);
        }
}

static void copy_broadcast(case_list *list)
{
    static const int64_t from[][3] = {{1, 1, 1}, {5, 1, 33}, {1, 7, 33}, {5, 7, 1}};
    for (size_t s = 0; s < sizeof from / sizeof from[0]; s++) {
        test_case *c = case_new(list, TRINE_OP_copy, "f32 broadcast %lldx%lldx%lld", (long long)from[s][0], (long long)from[s][1],
                                (long long)from[s][2]);
        case_in(c, "x", TRINE_F32, 3, from[s]);
        case_out(c, "y", TRINE_F16, SHAPE(5, 7, 33));
        exact_elements(c, oracle_copy);
    }
}

void cases_copy(case_list *list, case_kind kind)
{
    static const trine_dtype people_cast[][2] = {{TRINE_F32, TRINE_F32},
                                                 {TRINE_F32, TRINE_BF16},
                                                 {TRINE_BF16, TRINE_F32},
                                                 {TRINE_BF16, TRINE_F8_E4M3FN},
                                                 {TRINE_F8_E4M3FN, TRINE_BF16}};
    if (kind == CASES_BENCH) {
        for (size_t i = 0; i < sizeof people_cast / sizeof people_cast[0]; i++)
            normal_inputs(new_copy(list, people_cast[i][0], people_cast[i][1], 16384, i < 3 ? 8192 : 16384, LAYOUT_DENSE));
        return;
    }
    copy_every_pair(list);
    copy_shapes(list);
    copy_gapped(list);
    copy_broadcast(list);
}

SIZES_OF(copy) { normal_inputs(new_copy(list, dtype, dtype, rows, n, LAYOUT_DENSE)); }

static void oracle_fill(const test_case *c, int64_t unit, void *const *out)
{
    (void)unit;
    const trine_fill_args *a = (const trine_fill_args *)(const void *)c->args;
    trine_convert(&a->value, TRINE_F64, out[0], case_find(c, "y")->dtype, 1);
}

static void new_fill(case_list *list, trine_dtype dtype, int64_t rows, int64_t cols, double value, case_layout layout)
{
    test_case *c = case_new(list, TRINE_OP_fill, "%s %lldx%lld %g", name_of(dtype), (long long)rows, (long long)cols, value);
    case_out(c, "y", dtype, SHAPE(rows, cols));
    CASE_ARGS(c, fill)->value = value;
    case_set_layout(c, layout);
    exact_elements(c, oracle_fill);
}

void cases_fill(case_list *list, case_kind kind)
{
    static const double values[] = {0, -0.0, 1, -1.5, 3.14159265358979, 1e300, -300, NAN, INFINITY};
    if (kind == CASES_BENCH) {
        new_fill(list, TRINE_F32, 16384, 8192, 1.5, LAYOUT_DENSE);
        new_fill(list, TRINE_BF16, 16384, 8192, 1.5, LAYOUT_DENSE);
        return;
    }
    for (int dtype = TRINE_F64; dtype <= TRINE_BOOL; dtype++)
        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++)
            new_fill(list, (trine_dtype)dtype, 3, 41 + 97 * (int64_t)v, values[v], (case_layout)(v % LAYOUT_COUNT));
    new_fill(list, TRINE_F32, 0, 3, 1, LAYOUT_DENSE);
}

/* ---- Binary arithmetic ---- */

static double float_binary(trine_op op, double a, double b)
{
    switch (op) {
    case TRINE_OP_add: return a + b;
    case TRINE_OP_sub: return a - b;
    case TRINE_OP_mul: return a * b;
    case TRINE_OP_div: return a / b;
    case TRINE_OP_minimum: return isnan(a) || isnan(b) ? NAN : a == b ? (signbit(a) ? a : b) : fmin(a, b);
    default: return isnan(a) || isnan(b) ? NAN : a == b ? (signbit(a) ? b : a) : fmax(a, b);
    }
}

static int64_t int_divide(int64_t a, int64_t b, int64_t smallest)
{
    if (b == 0) return 0;
    return a == smallest && b == -1 ? smallest : a / b;
}

static int64_t int_binary(trine_op op, int64_t a, int64_t b, int64_t smallest)
{
    switch (op) {
    case TRINE_OP_add: return (int64_t)((uint64_t)a + (uint64_t)b);
    case TRINE_OP_sub: return (int64_t)((uint64_t)a - (uint64_t)b);
    case TRINE_OP_mul: return (int64_t)((uint64_t)a * (uint64_t)b);
    case TRINE_OP_div: return int_divide(a, b, smallest);
    case TRINE_OP_minimum: return a < b ? a : b;
    default: return a > b ? a : b;
    }
}

static int64_t smallest_of(trine_dtype dtype)
{
    return dtype == TRINE_I64 ? INT64_MIN : dtype == TRINE_I32 ? INT32_MIN : dtype == TRINE_I8 ? INT8_MIN : 0;
}

/* Values are NaN-normalised: which NaN comes out is not part of the contract, so that NaN results are compared by value in
 * oracle_float. */
static void oracle_int(const test_case *c, int64_t unit, void *const *out)
{
    const case_tensor *a = case_find(c, "a"), *b = case_find(c, "b"), *y = case_find(c, "y");
    int64_t r = int_binary(c->op, case_value_i64(a, case_broadcast_index(a, y, unit)),
                           case_value_i64(b, case_broadcast_index(b, y, unit)), smallest_of(y->dtype));
    trine_convert(&r, TRINE_I64, out[0], y->dtype, 1);
}

/* Rounded to the output's dtype here, so that the comparison may be exact but for the bits of a NaN. f16 and bf16 go through f32,
 * as the contract says. */
static double round_to(double value, trine_dtype dtype)
{
    unsigned char bits[8];
    if (dtype == TRINE_F64) return value;
    value = (float)value;
    trine_convert(&value, TRINE_F64, bits, dtype, 1);
    trine_convert(bits, dtype, &value, TRINE_F64, 1);
    return value;
}

static void oracle_float(const test_case *c, int64_t unit, double *const *out)
{
    const case_tensor *a = case_find(c, "a"), *b = case_find(c, "b"), *y = case_find(c, "y");
    double r =
        float_binary(c->op, case_value(a, case_broadcast_index(a, y, unit)), case_value(b, case_broadcast_index(b, y, unit)));
    out[0][0] = round_to(r, y->dtype);
}

static test_case *new_binary(case_list *list, trine_op op, trine_dtype dtype, int32_t ndim, const int64_t *a, const int64_t *b,
                             const int64_t *y, const char *what)
{
    test_case *c = case_new(list, op, "%s %s %lldx%lld", name_of(dtype), what, (long long)y[ndim - 2], (long long)y[ndim - 1]);
    bool whole = dtype >= TRINE_I64;
    case_fill fill = whole ? FILL_BITS : FILL_SPECIAL;
    case_set_fill(case_in(c, "a", dtype, ndim, a), fill, 0, 3);
    case_set_fill(case_in(c, "b", dtype, ndim, b), fill, 0, 3);
    case_out(c, "y", dtype, ndim, y);
    c->units = case_find(c, "y")->numel;
    if (whole)
        c->oracle_bits = oracle_int;
    else
        c->oracle = oracle_float;
    c->vendor_exact = true;
    case_count_bytes(c);
    c->flops = (double)c->units;
    return c;
}

static void binary_check_cases(case_list *list, trine_op op)
{
    static const trine_dtype dtypes[] = {TRINE_F32, TRINE_F16, TRINE_BF16, TRINE_F64, TRINE_I64, TRINE_I32, TRINE_I8, TRINE_U8};
    static const int64_t shapes[][2] = {{0, 3}, {1, 1}, {1, 7}, {3, 64}, {5, 1031}, {129, 33}};
    static const int64_t broadcast[][3][3] = {{{1, 1, 65}, {4, 9, 65}, {4, 9, 65}},
                                              {{4, 9, 65}, {4, 9, 1}, {4, 9, 65}},
                                              {{4, 1, 65}, {1, 9, 1}, {4, 9, 65}},
                                              {{1, 1, 1}, {4, 9, 64}, {4, 9, 64}}};
    for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++) {
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
            new_binary(list, op, dtypes[d], 2, shapes[s], shapes[s], shapes[s], "same");
        for (size_t s = 0; s < sizeof broadcast / sizeof broadcast[0]; s++)
            new_binary(list, op, dtypes[d], 3, broadcast[s][0], broadcast[s][1], broadcast[s][2], "broadcast");
        for (int layout = 1; layout < LAYOUT_COUNT; layout++)
            case_set_layout(new_binary(list, op, dtypes[d], 2, shapes[4], shapes[4], shapes[4], "view"), (case_layout)layout);
        case_set_inplace(new_binary(list, op, dtypes[d], 2, shapes[4], shapes[4], shapes[4], "same"), "y", "a");
        case_set_inplace(new_binary(list, op, dtypes[d], 2, shapes[5], shapes[5], shapes[5], "same"), "y", "b");
    }
}

static void binary_cases(case_list *list, case_kind kind, trine_op op)
{
    if (kind == CASES_CHECK) {
        binary_check_cases(list, op);
        return;
    }
    const int64_t full[] = {16384, 8192}, row[] = {1, 8192}, column[] = {16384, 1};
    for (int d = 0; d < 3; d++) normal_inputs(new_binary(list, op, case_floats[d], 2, full, full, full, "same"));
    normal_inputs(new_binary(list, op, TRINE_BF16, 2, full, row, full, "row"));
    normal_inputs(new_binary(list, op, TRINE_BF16, 2, full, column, full, "column"));
}

void cases_add(case_list *list, case_kind kind) { binary_cases(list, kind, TRINE_OP_add); }
void cases_sub(case_list *list, case_kind kind) { binary_cases(list, kind, TRINE_OP_sub); }
void cases_mul(case_list *list, case_kind kind) { binary_cases(list, kind, TRINE_OP_mul); }
void cases_div(case_list *list, case_kind kind) { binary_cases(list, kind, TRINE_OP_div); }
void cases_minimum(case_list *list, case_kind kind) { binary_cases(list, kind, TRINE_OP_minimum); }
void cases_maximum(case_list *list, case_kind kind) { binary_cases(list, kind, TRINE_OP_maximum); }

SIZES_OF(add)
{
    const int64_t shape[] = {rows, n}, row[] = {1, n};
    normal_inputs(new_binary(list, TRINE_OP_add, dtype, 2, shape, shape, shape, "same"));
    normal_inputs(new_binary(list, TRINE_OP_add, dtype, 2, shape, row, shape, "row"));
}

/* ---- With a scalar ---- */

static double scalar_of(const test_case *c, trine_dtype dtype)
{
    double value = ((const trine_scalar_args *)(const void *)c->args)->value;
    return dtype == TRINE_F64 ? value : (float)value;
}

static void oracle_scalar_float(const test_case *c, int64_t unit, double *const *out)
{
    const case_tensor *x = case_find(c, "x"), *y = case_find(c, "y");
    double v = case_value(x, case_broadcast_index(x, y, unit)), s = scalar_of(c, y->dtype);
    out[0][0] = round_to(c->op == TRINE_OP_scale ? v * s : v + s, y->dtype);
}

static void oracle_scalar_int(const test_case *c, int64_t unit, void *const *out)
{
    const case_tensor *x = case_find(c, "x"), *y = case_find(c, "y");
    double value = ((const trine_scalar_args *)(const void *)c->args)->value;
    int64_t v = case_value_i64(x, case_broadcast_index(x, y, unit)), s;
    unsigned char bits[8];
    trine_convert(&value, TRINE_F64, bits, y->dtype, 1);
    trine_convert(bits, y->dtype, &s, TRINE_I64, 1);
    int64_t r = int_binary(c->op == TRINE_OP_scale ? TRINE_OP_mul : TRINE_OP_add, v, s, 0);
    trine_convert(&r, TRINE_I64, out[0], y->dtype, 1);
}

static test_case *new_scalar(case_list *list, trine_op op, trine_dtype dtype, int64_t rows, int64_t cols, double value)
{
    test_case *c = case_new(list, op, "%s %lldx%lld by %g", name_of(dtype), (long long)rows, (long long)cols, value);
    bool whole = dtype >= TRINE_I64;
    case_set_fill(case_in(c, "x", dtype, SHAPE(rows, cols)), whole ? FILL_BITS : FILL_SPECIAL, 0, 1);
    case_out(c, "y", dtype, SHAPE(rows, cols));
    CASE_ARGS(c, scale)->value = value;
    c->units = rows * cols;
    if (whole)
        c->oracle_bits = oracle_scalar_int;
    else
        c->oracle = oracle_scalar_float;
    c->vendor_exact = true;
    case_count_bytes(c);
    c->flops = (double)c->units;
    return c;
}

static void scalar_cases(case_list *list, case_kind kind, trine_op op)
{
    static const trine_dtype dtypes[] = {TRINE_F32, TRINE_F16, TRINE_BF16, TRINE_F64, TRINE_I64, TRINE_I32, TRINE_I8, TRINE_U8};
    static const double values[] = {0, 1, -2.7, 0.1, 1000};
    if (kind == CASES_BENCH) {
        for (int d = 0; d < 3; d++) normal_inputs(new_scalar(list, op, case_floats[d], 16384, 8192, 0.7));
        return;
    }
    for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++) {
        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++)
            case_set_layout(new_scalar(list, op, dtypes[d], 3, 101 + (int64_t)v, values[v]), (case_layout)v);
        case_set_inplace(new_scalar(list, op, dtypes[d], 4, 333, 2), "y", "x");
        new_scalar(list, op, dtypes[d], 0, 333, 2);
    }
}

void cases_add_scalar(case_list *list, case_kind kind) { scalar_cases(list, kind, TRINE_OP_add_scalar); }
void cases_scale(case_list *list, case_kind kind) { scalar_cases(list, kind, TRINE_OP_scale); }

/* ---- swap ---- */

static void oracle_swap(const test_case *c, int64_t unit, void *const *out)
{
    const case_tensor *x = case_find(c, "x");
    int64_t n = x->shape[x->ndim - 1], column = unit % n;
    int64_t partner = column ^ 1;
    if (partner >= n) partner = column;
    memcpy(out[0], case_element(x, unit - column + partner), (size_t)trine_dtype_bits(x->dtype) / 8);
}

static test_case *new_swap(case_list *list, trine_dtype dtype, int64_t rows, int64_t cols, case_layout layout)
{
    test_case *c = case_new(list, TRINE_OP_swap, "%s %lldx%lld", name_of(dtype), (long long)rows, (long long)cols);
    case_set_fill(case_in(c, "x", dtype, SHAPE(rows, cols)), FILL_BITS, 0, 0);
    case_out(c, "y", dtype, SHAPE(rows, cols));
    case_set_layout(c, layout);
    exact_elements(c, oracle_swap);
    return c;
}

void cases_swap(case_list *list, case_kind kind)
{
    static const int64_t shapes[][2] = {{2, 0}, {1, 1}, {3, 2}, {5, 7}, {1, 4096}, {9, 1025}};
    if (kind == CASES_BENCH) {
        new_swap(list, TRINE_F32, 1, 1 << 27, LAYOUT_DENSE);
        new_swap(list, TRINE_BF16, 16384, 16384, LAYOUT_DENSE);
        return;
    }
    for (int dtype = TRINE_F64; dtype <= TRINE_BOOL; dtype++)
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
            for (int layout = 0; layout < LAYOUT_COUNT; layout++)
                new_swap(list, (trine_dtype)dtype, shapes[s][0], shapes[s][1], (case_layout)layout);
    case_set_inplace(new_swap(list, TRINE_F32, 5, 1031, LAYOUT_DENSE), "y", "x");
    case_set_inplace(new_swap(list, TRINE_U8, 5, 64, LAYOUT_DENSE), "y", "x");
}
