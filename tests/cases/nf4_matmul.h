/* Cases of nf4_matmul, for tests/cases/quantize.c. */
#ifndef TRINE_TESTS_CASES_NF4_MATMUL_H
#define TRINE_TESTS_CASES_NF4_MATMUL_H

#include <math.h>

#include "core/dynamic_map.h"
#include "core/nf4.h"
#include "tests/cases/cases.h"

/* absmax of block i, in f32 as absmax_dequantize has it. */
static double scale_of(const test_case *c, int64_t i)
{
    const trine_nf4_matmul_args *a = (const trine_nf4_matmul_args *)(const void *)c->args;
    const case_tensor *absmax = case_find(c, "absmax");
    if (absmax->dtype == TRINE_F32) return case_value(absmax, i);
    const bool linear = a->kind == TRINE_ABSMAX_LINEAR;
    const int64_t code = case_value_i64(absmax, i);
    static _Thread_local trine_dynamic_map map;
    if (map.value[255] == 0) trine_dynamic_map_make(&map);
    const double scale = case_value(case_find(c, "scale"), i / TRINE_ABSMAX_BLOCK);
    const float product = (float)((linear ? (double)code : (double)map.value[code]) * scale);
    return linear ? (double)product : (double)(float)((double)product + case_value(case_find(c, "mean"), 0));
}

/* A row of d. */
static void oracle_nf4_matmul(const test_case *c, int64_t unit, double *const *out)
{
    static const float book[] = TRINE_NF4_VALUES;
    const bool transposed = ((const trine_nf4_matmul_args *)(const void *)c->args)->transposed;
    const case_tensor *x = case_find(c, "x"), *codes = case_find(c, "codes"), *bias = case_find(c, "bias");
    const int64_t inner = x->shape[1], outer = case_find(c, "d")->shape[1], k = transposed ? outer : inner;
    for (int64_t j = 0; j < outer; j++) out[0][j] = bias ? case_value(bias, j) : 0;
    double scale = 0;
    for (int64_t row = 0; row < (transposed ? inner : outer); row++)
        for (int64_t i = 0; i < k; i++) {
            const int64_t at = row * k + i;
            if (i == 0 || at % TRINE_NF4_BLOCK == 0) scale = scale_of(c, at / TRINE_NF4_BLOCK);
            const unsigned pair = (unsigned)case_value_i64(codes, at / 2), code = at % 2 ? pair & 15 : pair >> 4;
            const double w = (double)(float)((double)book[code] * scale);
            out[0][transposed ? i : row] += w * case_value(x, unit * inner + (transposed ? row : i));
        }
}

typedef enum nf4_scaling { NF4_SINGLE, NF4_DYNAMIC, NF4_LINEAR } nf4_scaling;

typedef struct nf4_spec {
    trine_dtype dtype;
    int64_t m, n, k;
    nf4_scaling scaling;
    trine_dtype out, bias; /* NONE: d in dtype, no bias */
    bool transposed;
    case_layout layout; /* of x */
} nf4_spec;

/* As matmul's bound for a sum in f32 of terms whose size is at most 1 on average. With 16 bits, each element of the weight is
 * rounded to x's dtype, half of the last place u at most: errors of either sign, whose sum has the deviation u sqrt(K / 3); seven of
 * these. Where the value and its product with the scale are both rounded, five of the deviation of that. */
static void nf4_tolerance(test_case *c, const nf4_spec *s)
{
    const double k = (double)(s->transposed ? s->n : s->k), u = 0x1p-24;
    const double half = s->dtype == TRINE_F32 ? 0 : s->dtype == TRINE_F16 ? 0x1p-11 : 0x1p-8;
    case_tolerance(c, s->out ? s->out : s->dtype, 0x1p-22,
                   (4 * k + 40) * u + (half > 0 ? k / 16 * sqrt(k) * 2 * u + 4 * half * sqrt(k) : 0));
}

static test_case *new_nf4_matmul(case_list *list, nf4_spec s)
{
    static const char *const scalings[] = {"single", "dynamic", "linear"};
    const int64_t n = s.n * s.k, blocks = (n + TRINE_NF4_BLOCK - 1) / TRINE_NF4_BLOCK,
                  outer = (blocks + TRINE_ABSMAX_BLOCK - 1) / TRINE_ABSMAX_BLOCK, columns = s.transposed ? s.k : s.n;
    test_case *c = case_new(list, TRINE_OP_nf4_matmul, "%s %s %lldx%lldx%lld%s%s%s", trine_dtype_name(s.dtype),
                            scalings[s.scaling], (long long)s.m, (long long)s.n, (long long)s.k,
                            s.transposed ? " transposed" : "", s.bias ? " bias" : "", s.layout ? case_layout_name(s.layout) : "");
    case_in(c, "x", s.dtype, SHAPE(s.m, s.transposed ? s.n : s.k))->layout = s.layout;
    case_set_fill(case_in(c, "codes", TRINE_U8, SHAPE((n + 1) / 2)), FILL_BITS, 0, 0);
    if (s.scaling == NF4_SINGLE) {
        case_set_fill(case_in(c, "absmax", TRINE_F32, SHAPE(blocks)), FILL_UNIFORM, 0.2, 1.5);
    } else {
        case_set_fill(case_in(c, "absmax", TRINE_U8, SHAPE(blocks)), FILL_BITS, 0, 0);
        const bool linear = s.scaling == NF4_LINEAR;
        case_set_fill(case_in(c, "scale", TRINE_F32, SHAPE(outer)), FILL_UNIFORM, linear ? 0.001 : 0.3, linear ? 0.005 : 0.6);
        if (!linear) case_set_fill(case_in(c, "mean", TRINE_F32, SHAPE(1)), FILL_UNIFORM, 0.6, 0.8);
        CASE_ARGS(c, nf4_matmul)->kind = linear ? TRINE_ABSMAX_LINEAR : TRINE_ABSMAX_DYNAMIC;
    }
    if (s.bias) case_in(c, "bias", s.bias, SHAPE(columns));
    case_out(c, "d", s.out ? s.out : s.dtype, SHAPE(s.m, columns));
    CASE_ARGS(c, nf4_matmul)->transposed = s.transposed;
    c->units = columns ? s.m : 0;
    c->oracle = oracle_nf4_matmul;
    c->work = (double)s.m * (double)n;
    c->flops = 2.0 * (double)s.m * (double)n;
    nf4_tolerance(c, &s);
    case_count_bytes(c);
    return c;
}

static void nf4_bench(case_list *list)
{
    static const int64_t weights[][2] = {{4096, 4096}, {14336, 4096}, {4096, 14336}, {8192, 8192}, {28672, 8192}};
    static const int64_t rows[] = {1, 4, 16, 32, 128, 512, 4096};
    for (size_t w = 0; w < sizeof weights / sizeof *weights; w++)
        for (size_t m = 0; m < sizeof rows / sizeof *rows; m++)
            new_nf4_matmul(list, (nf4_spec){.dtype = TRINE_BF16, .m = rows[m], .n = weights[w][0], .k = weights[w][1]});
    new_nf4_matmul(list, (nf4_spec){.dtype = TRINE_F16, .m = 1, .n = 8192, .k = 8192, .scaling = NF4_DYNAMIC});
    new_nf4_matmul(list, (nf4_spec){.dtype = TRINE_F32, .m = 1, .n = 8192, .k = 8192});
}

void cases_nf4_matmul(case_list *list, case_kind kind)
{
    static const int64_t shapes[][3] = {{0, 5, 64},     {3, 0, 64},     {2, 7, 0},     {1, 1, 1},      {1, 37, 192},
                                        {2, 70, 67},    {4, 33, 256},   {5, 48, 640},  {8, 100, 1088}, {16, 65, 128},
                                        {13, 31, 64},   {17, 40, 192},  {3, 16, 2304}, {41, 37, 1088}, {9, 300, 320},
                                        {70, 140, 320}, {129, 33, 192}, {257, 40, 128}};
    if (kind == CASES_BENCH) {
        nf4_bench(list);
        return;
    }
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            for (int scaling = NF4_SINGLE; scaling <= NF4_LINEAR; scaling++) {
                nf4_spec s = {case_floats[d], shapes[i][0], shapes[i][1], shapes[i][2], (nf4_scaling)scaling, 0, 0, false, 0};
                new_nf4_matmul(list, s);
                s.out = TRINE_F32;
                s.bias = scaling == NF4_SINGLE ? TRINE_F32 : s.dtype;
                s.transposed = scaling == NF4_DYNAMIC;
                if (scaling == NF4_LINEAR) s.layout = (case_layout)(1 + (d + (int)i) % (LAYOUT_COUNT - 1));
                new_nf4_matmul(list, s);
            }
    /* K in several slices, of few rows of x; groups of tiles */
    for (int d = 1; d < 3; d++) {
        new_nf4_matmul(list, (nf4_spec){.dtype = case_floats[d], .m = 1, .n = 37, .k = 8448, .bias = case_floats[d]});
        new_nf4_matmul(list, (nf4_spec){.dtype = case_floats[d], .m = 11, .n = 50, .k = 4352, .out = TRINE_F32});
        new_nf4_matmul(list, (nf4_spec){.dtype = case_floats[d], .m = 16, .n = 16, .k = 256});
    }
    new_nf4_matmul(list, (nf4_spec){.dtype = TRINE_BF16, .m = 3, .n = 34000, .k = 256});
    /* more tiles than a device has multiprocessors, of few rows of x and of many */
    new_nf4_matmul(list, (nf4_spec){.dtype = TRINE_BF16, .m = 17, .n = 17000, .k = 64});
    new_nf4_matmul(list, (nf4_spec){.dtype = TRINE_F16, .m = 2, .n = 36000, .k = 64});
    new_nf4_matmul(list, (nf4_spec){.dtype = TRINE_BF16, .m = 13, .n = 12000, .k = 64});
}

#endif
