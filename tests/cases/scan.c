/* Cases of the scan family.
 *
 * Bounds, with u = 2^-24 and n the length of the axis. A running sum of n normal numbers has a size of up to about 3 sqrt(n), and
 * every one of n additions rounds by at most u of it: one after the other, with random signs, that comes to less than 3 sqrt(n)
 * sqrt(n) u / sqrt(3), say 2 n u; in a tree to less. Among many sums, m, some are larger: with E, a sum's mean square over that of
 * all, the error's deviation is 0.3 sqrt(E) n u (roundings of 2^e u with 2^e <= |sum|), and large E have a probability of
 * exp(-0.62 E) (the integral of a squared Brownian motion), so that an error of t times 0.3 n u has one of exp(-1.11 t): the largest
 * of m is about 0.27 ln(m) n u, and more than 0.27 (ln(m) + 7) n u in one case of a thousand. A product of n factors is off by n u of itself. max is exact but for the output's
 * rounding, which its inputs don't need. Sums of integers are exact, or wrap. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/cases/cases.h"

static const double u = 0x1p-24;

static double wrapped(trine_dtype dtype, uint64_t sum)
{
    return dtype == TRINE_I32 ? (double)(int32_t)(uint32_t)sum : (double)(int64_t)sum;
}

/* A unit is all that shares the indices before the axis. */
static void oracle_scan(const test_case *c, int64_t unit, double *const *out)
{
    const trine_scan_args *a = (const trine_scan_args *)(const void *)c->args;
    const case_tensor *x = case_find(c, "x");
    const int32_t axis = a->axis < 0 ? a->axis + x->ndim : a->axis;
    int64_t inner = 1;
    const int64_t n = x->shape[axis];
    for (int32_t d = axis + 1; d < x->ndim; d++) inner *= x->shape[d];
    for (int64_t j = 0; j < inner; j++) {
        uint64_t whole = 0;
        double running = a->kind == TRINE_SCAN_SUM ? 0 : a->kind == TRINE_SCAN_MUL ? 1 : -INFINITY;
        for (int64_t i = 0; i < n; i++) {
            const int64_t at = (a->reverse ? n - 1 - i : i) * inner + j;
            const double v = case_value(x, unit * n * inner + at);
            if (x->dtype == TRINE_I32 || x->dtype == TRINE_I64) {
                if (a->exclusive) out[0][at] = wrapped(x->dtype, whole);
                whole += (uint64_t)(int64_t)v;
                if (!a->exclusive) out[0][at] = wrapped(x->dtype, whole);
                continue;
            }
            if (a->exclusive) out[0][at] = running;
            switch (a->kind) {
            case TRINE_SCAN_SUM: running += v; break;
            case TRINE_SCAN_MUL: running *= v; break;
            default: running = isnan(running) || isnan(v) ? NAN : fmax(running, v);
            }
            if (!a->exclusive) out[0][at] = running;
        }
    }
}

static test_case *new_scan(case_list *list, trine_dtype dtype, int32_t ndim, const int64_t *shape, int32_t axis,
                           trine_scan_kind kind, int way, case_layout layout)
{
    static const char *const kinds[] = {"sum", "max", "mul"};
    test_case *c = case_new(list, TRINE_OP_scan, "%s %s%s%s", trine_dtype_name(dtype), kinds[kind], way & 1 ? " exclusive" : "",
                            way & 2 ? " reverse" : "");
    for (int32_t d = 0; d < ndim; d++) {
        const size_t used = strlen(c->name);
        snprintf(c->name + used, sizeof c->name - used, "%s%lld%s", d ? "x" : " ", (long long)shape[d],
                 d == (axis < 0 ? axis + ndim : axis) ? "*" : "");
    }
    trine_scan_args *a = CASE_ARGS(c, scan);
    a->axis = axis;
    a->kind = kind;
    a->exclusive = way & 1;
    a->reverse = way >> 1 & 1;
    case_tensor *x = case_in(c, "x", dtype, ndim, shape);
    if (kind == TRINE_SCAN_MUL) case_set_fill(x, FILL_UNIFORM, 0.97, 1.03);
    const case_tensor *y = case_out(c, "y", dtype, ndim, shape);
    const double n = (double)shape[axis < 0 ? axis + ndim : axis];
    c->units = y->numel > 0;
    for (int32_t d = 0; d < (axis < 0 ? axis + ndim : axis); d++) c->units *= shape[d];
    c->oracle = oracle_scan;
    c->vendor_exact = dtype == TRINE_I32 || dtype == TRINE_I64;
    if (c->vendor_exact)
        case_set_fill(x, FILL_INTEGERS, -1e8, 1e8); /* an i32 wraps where rows are long */
    else if (kind == TRINE_SCAN_SUM)
        case_tolerance(c, dtype, 4 * u, (8 * sqrt(n) + 0.27 * (log(fmax(1, (double)y->numel / n)) + 7) * n) * u);
    else
        case_tolerance(c, dtype, kind == TRINE_SCAN_MUL ? (n + 4) * u : 0, 0);
    case_set_layout(c, layout);
    c->flops = (double)y->numel;
    case_count_bytes(c);
    return c;
}

static void check_scan(case_list *list, trine_dtype dtype)
{
    static const int64_t rows[][2] = {{1, 1}, {5, 3}, {3, 17}, {131, 32}, {2, 67}, {7, 130}, {3, 1031}, {2, 4096}, {33, 264}};
    static const int64_t columns[][3] = {{1, 9, 5}, {3, 33, 16}, {2, 130, 3}, {1, 300, 264}, {2, 7, 1033}};
    int turn = 0;
    for (size_t s = 0; s < sizeof rows / sizeof rows[0]; s++)
        for (int way = 0; way < 4; way++)
            for (int layout = 0; layout < LAYOUT_COUNT; layout++, turn++)
                new_scan(list, dtype, 2, rows[s], 1, (trine_scan_kind)(turn % 3), way, (case_layout)layout);
    for (size_t s = 0; s < sizeof columns / sizeof columns[0]; s++)
        for (int way = 0; way < 4; way++)
            for (int layout = 0; layout < LAYOUT_COUNT; layout++, turn++)
                new_scan(list, dtype, 3, columns[s], layout % 2 ? -2 : 1, (trine_scan_kind)(turn % 3), way, (case_layout)layout);
    for (int way = 0; way < 4; way++)
        for (int kind = 0; kind < 3; kind++) { /* so long that blocks look back, and that threads share the row */
            new_scan(list, dtype, 1, (int64_t[]){39997}, 0, (trine_scan_kind)kind, way, LAYOUT_DENSE);
            new_scan(list, dtype, 2, (int64_t[]){2, 150000}, 1, (trine_scan_kind)kind, way, LAYOUT_PADDED);
            new_scan(list, dtype, 2, (int64_t[]){9000, 4}, 0, (trine_scan_kind)kind, way, LAYOUT_DENSE);
            new_scan(list, dtype, 2, (int64_t[]){5003, 264}, 0, (trine_scan_kind)kind, way, LAYOUT_DENSE);
            case_set_inplace(new_scan(list, dtype, 2, (int64_t[]){5, 700}, 1, (trine_scan_kind)kind, way, LAYOUT_DENSE), "y",
                             "x");
            case_set_inplace(new_scan(list, dtype, 2, (int64_t[]){90, 72}, 0, (trine_scan_kind)kind, way, LAYOUT_DENSE), "y",
                             "x");
        }
    for (int way = 0; way < 4; way += 3) { /* and so long that they look back over groups of tiles */
        new_scan(list, dtype, 1, (int64_t[]){1400003}, 0, TRINE_SCAN_SUM, way, LAYOUT_DENSE);
        new_scan(list, dtype, 2, (int64_t[]){20011, 72}, 0, TRINE_SCAN_SUM, way, LAYOUT_DENSE);
        new_scan(list, dtype, 1, (int64_t[]){dtype == TRINE_F32 ? 3500001 : 7000003}, 0, TRINE_SCAN_MAX, 3 - way, LAYOUT_DENSE);
    }
    new_scan(list, dtype, 2, (int64_t[]){3, 0}, 1, TRINE_SCAN_SUM, 0, LAYOUT_DENSE);
    new_scan(list, dtype, 2, (int64_t[]){0, 3}, 1, TRINE_SCAN_SUM, 1, LAYOUT_DENSE);
    for (int way = 0; way < 4; way++)
        case_set_fill(&new_scan(list, dtype, 2, (int64_t[]){61, 70}, way % 2, TRINE_SCAN_MAX, way, LAYOUT_DENSE)->tensor[0],
                      FILL_SPECIAL, 0, 1);
}

static void check_integers(case_list *list, trine_dtype dtype)
{
    static const int64_t shapes[][3] = {{1, 1, 1},    {5, 3, 1},     {7, 130, 1},    {3, 1031, 1},  {2, 0, 1},
                                        {1, 9, 5},    {3, 33, 16},   {2, 130, 3},    {1, 300, 264}, {1, 39997, 1},
                                        {1, 9000, 4}, {2, 90007, 1}, {1, 5003, 264}, {1, 20011, 72}};
    int turn = 0;
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (int way = 0; way < 4; way++, turn++)
            new_scan(list, dtype, 3, shapes[s], turn % 2 ? -2 : 1, TRINE_SCAN_SUM, way,
                     s < 9 ? (case_layout)(turn % LAYOUT_COUNT) : LAYOUT_DENSE);
    new_scan(list, dtype, 1, (int64_t[]){dtype == TRINE_I32 ? 3500001 : 1700001}, 0, TRINE_SCAN_SUM, 2, LAYOUT_DENSE);
    case_set_inplace(new_scan(list, dtype, 2, (int64_t[]){5, 700}, 1, TRINE_SCAN_SUM, 1, LAYOUT_DENSE), "y", "x");
    case_set_inplace(new_scan(list, dtype, 2, (int64_t[]){90, 72}, 0, TRINE_SCAN_SUM, 3, LAYOUT_DENSE), "y", "x");
}

void cases_scan(case_list *list, case_kind kind)
{
    if (kind == CASES_CHECK) {
        for (int d = 0; d < 3; d++) check_scan(list, case_floats[d]);
        check_integers(list, TRINE_I32);
        check_integers(list, TRINE_I64);
        return;
    }
    new_scan(list, TRINE_I32, 1, (int64_t[]){134217728}, 0, TRINE_SCAN_SUM, 0, LAYOUT_DENSE);
    new_scan(list, TRINE_I64, 1, (int64_t[]){67108864}, 0, TRINE_SCAN_SUM, 0, LAYOUT_DENSE);
    new_scan(list, TRINE_I64, 2, (int64_t[]){16384, 4096}, 1, TRINE_SCAN_SUM, 0, LAYOUT_DENSE);
    new_scan(list, TRINE_I32, 2, (int64_t[]){1048576, 128}, 0, TRINE_SCAN_SUM, 0, LAYOUT_DENSE);
    new_scan(list, TRINE_I64, 2, (int64_t[]){1048576, 64}, 0, TRINE_SCAN_SUM, 0, LAYOUT_DENSE);
    for (int d = 0; d < 3; d += 2) {
        new_scan(list, case_floats[d], 1, (int64_t[]){134217728 * (1 + d / 2)}, 0, TRINE_SCAN_SUM, 0, LAYOUT_DENSE);
        new_scan(list, case_floats[d], 2, (int64_t[]){131072, 1024 * (1 + d / 2)}, 1, TRINE_SCAN_SUM, 0, LAYOUT_DENSE);
        new_scan(list, case_floats[d], 2, (int64_t[]){16384, 8192 * (1 + d / 2)}, 1, TRINE_SCAN_SUM, 3, LAYOUT_DENSE);
        new_scan(list, case_floats[d], 3, (int64_t[]){16, 2048, 4096 * (1 + d / 2)}, 1, TRINE_SCAN_SUM, 0, LAYOUT_DENSE);
        new_scan(list, case_floats[d], 2, (int64_t[]){1048576, 128 * (1 + d / 2)}, 0, TRINE_SCAN_MAX, 0, LAYOUT_DENSE);
    }
}
