/* Cases of the rope family. The oracle makes angles in long double. A rotation's gradient is the inverse rotation;
 * check_gradients compares it with differences. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/cases/cases.h"
#include "tests/cases/sizes.h"

static double angle_of(const trine_rope_args *a, int64_t rotary, int64_t pair, int64_t position)
{
    const long double scaling = a->scaling != 0 ? (long double)a->scaling : 1;
    const long double frequency = powl((long double)a->base, -2 * (long double)pair / (long double)rotary) / scaling;
    return (double)fmodl((long double)position * frequency, 6.283185307179586476925286766559L);
}

/* The pair of element i of the first R, and whether it is its second half. */
static int64_t pair_of(const trine_rope_args *a, int64_t rotary, int64_t i, bool *second)
{
    *second = a->interleaved ? i % 2 == 1 : i >= rotary / 2;
    return a->interleaved ? i / 2 : i % (rotary / 2);
}

/* Element i of the rotated row, whose elements before are x(user, k). */
static double rotated(const trine_rope_args *a, int64_t rotary, int64_t i, double cosine, double sine, const double *row)
{
    bool second;
    const int64_t pair = pair_of(a, rotary, i, &second);
    const double u = row[a->interleaved ? 2 * pair : pair], v = row[a->interleaved ? 2 * pair + 1 : pair + rotary / 2];
    const double s = a->inverse ? -sine : sine;
    return second ? u * s + v * cosine : u * cosine - v * s;
}

static void oracle(const test_case *c, int64_t unit, double *const *out)
{
    const trine_rope_args *a = (const trine_rope_args *)(const void *)c->args;
    const case_tensor *x = case_find(c, "x"), *positions = case_find(c, "positions"), *cosines = case_find(c, "cos"),
                      *sines = case_find(c, "sin");
    const int64_t dims = x->shape[x->ndim - 1], rotary = a->rotary_dims ? a->rotary_dims : dims;
    const int32_t axis = a->axis < 0 ? a->axis + x->ndim : a->axis;
    int64_t index[TRINE_MAX_DIMS];
    case_unravel(x, unit * dims, index);
    int64_t position = a->offset + index[axis];
    if (positions)
        position = case_value_i64(positions, positions->ndim == 2 ? index[0] * positions->shape[1] + index[axis] : index[axis]);
    double row[TRINE_ROPE_MAX_DIMS];
    for (int64_t i = 0; i < rotary; i++) row[i] = case_value(x, unit * dims + i);
    for (int64_t i = 0; i < dims; i++) {
        if (i >= rotary) {
            out[0][i] = case_value(x, unit * dims + i);
            continue;
        }
        bool second;
        const int64_t pair = pair_of(a, rotary, i, &second);
        double cosine = NAN, sine = NAN;
        if (!cosines) {
            cosine = cos(angle_of(a, rotary, pair, position));
            sine = sin(angle_of(a, rotary, pair, position));
        } else if (position >= 0 && position < cosines->shape[0]) {
            cosine = case_value(cosines, position * (rotary / 2) + pair);
            sine = case_value(sines, position * (rotary / 2) + pair);
        }
        out[0][i] = rotated(a, rotary, i, cosine, sine, row);
    }
}

/* L = sum of w y: dL/dx by differences against the inverse rotation of w. */
static void check_gradients(void)
{
    enum { R = 6 };
    for (int form = 0; form < 2; form++) {
        trine_rope_args a = {.interleaved = form, .base = 100}, back = a;
        back.inverse = 1;
        double x[R], w[R];
        for (int i = 0; i < R; i++) x[i] = 0.3 * i - 0.7, w[i] = 1 - 0.25 * i;
        for (int k = 0; k < R; k++) {
            double difference = 0;
            bool second;
            for (int side = -1; side <= 1; side += 2) {
                double moved[R];
                for (int i = 0; i < R; i++) moved[i] = x[i] + (i == k ? side * 0x1p-10 : 0);
                for (int i = 0; i < R; i++) {
                    const double angle = angle_of(&a, R, pair_of(&a, R, i, &second), 5);
                    difference += side * w[i] * rotated(&a, R, i, cos(angle), sin(angle), moved) / 0x1p-9;
                }
            }
            const double angle = angle_of(&a, R, pair_of(&a, R, k, &second), 5);
            const double got = rotated(&back, R, k, cos(angle), sin(angle), w);
            if (fabs(got - difference) <= 1e-9) continue;
            fprintf(stderr, "trine: rope's inverse gives %g as a gradient, but differences give %g\n", got, difference);
            exit(3);
        }
    }
}

typedef struct rope_case {
    trine_dtype dtype, positions, tables; /* NONE: none */
    int32_t axis, rotary, interleaved, inverse;
    int64_t b, t, h, d;  /* x: [b, t, h, d], or [b, h, t, d] for axis -2 */
    int64_t offset, far; /* positions are in [-3, far) */
    double base, scaling;
} rope_case;

static test_case *new_case(case_list *list, rope_case r)
{
    const int64_t shape[] = {r.b, r.axis == -2 ? r.h : r.t, r.axis == -2 ? r.t : r.h, r.d},
                  pairs = (r.rotary ? r.rotary : r.d) / 2;
    test_case *c = case_new(list, TRINE_OP_rope, "%s%s%s%s%s %lldx%lldx%lldx%lld axis %d dims %d positions %s to %lld base %g/%g",
                            trine_dtype_name(r.dtype), r.interleaved ? " interleaved" : "", r.inverse ? " inverse" : "",
                            r.tables ? " tables " : "", r.tables ? trine_dtype_name(r.tables) : "", (long long)r.b,
                            (long long)shape[1], (long long)shape[2], (long long)r.d, (int)r.axis, (int)r.rotary,
                            r.positions ? trine_dtype_name(r.positions) : "counted", (long long)(r.positions ? r.far : r.offset),
                            r.base, r.scaling);
    case_set_fill(case_in(c, "x", r.dtype, 4, shape), FILL_UNIFORM, -2, 2);
    /* one row of positions for all, or one for each of the batch */
    if (r.positions)
        case_set_fill(r.b % 2 ? case_in(c, "positions", r.positions, 1, &r.t)
                              : case_in(c, "positions", r.positions, SHAPE(r.b, r.t)),
                      FILL_INTEGERS, r.tables ? 0 : -3, (double)r.far - 1);
    if (r.tables) {
        const int64_t rows = r.positions ? r.far - r.far / 8 : r.offset + r.t; /* some positions are outside */
        case_set_fill(case_in(c, "cos", r.tables, SHAPE(rows, pairs)), FILL_UNIFORM, -1, 1);
        case_set_fill(case_in(c, "sin", r.tables, SHAPE(rows, pairs)), FILL_UNIFORM, -1, 1);
    }
    const int64_t numel = case_out(c, "y", r.dtype, 4, shape)->numel;
    trine_rope_args *a = CASE_ARGS(c, rope);
    a->axis = r.axis;
    a->rotary_dims = r.rotary;
    a->interleaved = r.interleaved;
    a->inverse = r.inverse;
    a->offset = r.offset;
    a->base = r.base;
    a->scaling = r.scaling;
    /* |u|, |v| <= 2: each product is off by the header's bound and two roundings, the terms may cancel */
    const double far = (double)(r.positions ? r.far : llabs(r.offset) + r.t), angle = r.tables ? 0 : 4e-7 + far * 0x1p-50;
    case_tolerance(c, r.dtype, 0x1p-23, 4 * (angle + 0x1p-23));
    c->units = r.d ? numel / r.d : 0;
    c->oracle = oracle;
    c->flops = 3.0 * (double)numel;
    case_count_bytes(c);
    return c;
}

static const trine_dtype NONE = TRINE_DTYPE_NONE;

static void forms(case_list *list, trine_dtype dtype, int interleaved)
{
    for (int inverse = 0; inverse < 2; inverse++) {
        new_case(list, (rope_case){dtype, NONE, NONE, -3, 0, interleaved, inverse, 2, 5, 3, 64, 0, 0, 10000, 0});
        new_case(list, (rope_case){dtype, TRINE_I32, NONE, -2, 32, interleaved, inverse, 2, 7, 5, 80, 0, 4096, 10000, 0});
        new_case(list, (rope_case){dtype, TRINE_I64, NONE, -3, 0, interleaved, inverse, 3, 7, 2, 128, 0, 131072, 500000, 4});
        new_case(list, (rope_case){dtype, TRINE_I32, TRINE_F32, -3, 16, interleaved, inverse, 1, 9, 2, 48, 0, 40, 0, 0});
        new_case(list, (rope_case){dtype, TRINE_I64, dtype, -2, 0, interleaved, inverse, 2, 9, 2, 32, 0, 40, 0, 0});
        new_case(list, (rope_case){dtype, NONE, dtype, -3, 0, interleaved, inverse, 2, 9, 2, 6, 3, 0, 0, 0});
    }
    /* whole turns a position */
    new_case(list, (rope_case){dtype, TRINE_I32, NONE, -3, 0, interleaved, 0, 1, 9, 2, 128, 0, 4096, 10000, 0.003});
    new_case(list, (rope_case){dtype, NONE, NONE, -3, 0, interleaved, 0, 1, 9, 2, 32, 100, 0, 1, 0x1p-19});
    /* odd sizes, one pair, nothing, one token of many heads, as many dims as there may be */
    new_case(list, (rope_case){dtype, NONE, NONE, -3, 6, interleaved, 0, 1, 3, 5, 13, 17, 0, 10000, 0});
    new_case(list, (rope_case){dtype, NONE, NONE, -2, 2, interleaved, 0, 1, 3, 5, 2, -5, 0, 10000, 0});
    new_case(list, (rope_case){dtype, NONE, NONE, -3, 0, interleaved, 0, 2, 0, 5, 8, 0, 0, 10000, 0});
    new_case(list, (rope_case){dtype, NONE, NONE, -3, 0, interleaved, 0, 2, 4, 5, 0, 0, 0, 10000, 0});
    new_case(list, (rope_case){dtype, NONE, NONE, -3, 0, interleaved, 0, 1, 1, 67, 64, 99, 0, 10000, 0});
    new_case(list, (rope_case){dtype, NONE, NONE, -3, 512, interleaved, 0, 1, 3, 2, 1100, 99, 0, 1, 0.0625});
    /* far positions */
    new_case(list, (rope_case){dtype, NONE, NONE, -3, 0, interleaved, 0, 1, 5, 2, 64, 1000000, 0, 10000, 0});
    new_case(list, (rope_case){dtype, NONE, NONE, -3, 0, interleaved, 1, 1, 5, 2, 64, (int64_t)1 << 31, 0, 1e6, 0});
    for (int layout = 1; layout < LAYOUT_COUNT; layout++) {
        case_set_layout(
            new_case(list, (rope_case){dtype, TRINE_I32, NONE, -3, 16, interleaved, 0, 2, 9, 3, 24, 0, 1000, 10000, 0}),
            (case_layout)layout);
        case_set_layout(new_case(list, (rope_case){dtype, NONE, NONE, -2, 0, interleaved, 0, 2, 9, 3, 64, 0, 0, 10000, 0}),
                        (case_layout)layout);
    }
    case_set_inplace(new_case(list, (rope_case){dtype, NONE, NONE, -3, 16, interleaved, 0, 2, 9, 3, 24, 0, 0, 10000, 0}), "y",
                     "x");
    case_set_inplace(new_case(list, (rope_case){dtype, NONE, NONE, -3, 0, interleaved, 1, 2, 9, 3, 14, 0, 0, 10000, 0}), "y",
                     "x");
}

void cases_rope(case_list *list, case_kind kind)
{
    for (int d = 0; d < 3 && kind == CASES_BENCH; d++)
        for (int f = 0; f < 2; f++) {
            new_case(list, (rope_case){case_floats[d], NONE, NONE, -3, 0, f, 0, 4, 4096, 32, 128, 0, 0, 10000, 0});
            new_case(list, (rope_case){case_floats[d], NONE, NONE, -2, 0, f, 0, 4, 4096, 32, 128, 0, 0, 10000, 0});
        }
    if (kind == CASES_BENCH) return;
    check_gradients();
    for (int d = 0; d < 3; d++)
        for (int f = 0; f < 2; f++) forms(list, case_floats[d], f);
}

/* Heads of 128, eight of them for a thousand elements. */
SIZES_OF(rope) { new_case(list, (rope_case){dtype, NONE, NONE, -3, 0, 0, 0, 1, rows, n / 128, 128, 0, 0, 10000, 0}); }
