/* Cases of fp8_matmul: the oracle in f64, the error that is allowed, what is checked and timed. A part of fp8.c. */
#ifndef TRINE_TESTS_CASES_FP8_MATMUL_H
#define TRINE_TESTS_CASES_FP8_MATMUL_H

#include <string.h>

#include "tests/cases/activation.h"
#include "tests/cases/fp8_scales.h"
#include "tests/cases/matrices.h"

typedef struct fp8_product_spec {
    trine_dtype a, b, d, bias; /* bias NONE: none */
    int64_t m, n, k;
    product_scaling scaling;
    case_layout a_layout, b_layout, d_layout, scale_layout;
    int32_t batch_ndim;
    int64_t batch[2], a_batch[2], b_batch[2], scale_batch[2];
    trine_activation_kind activation;
    bool fast;
    double scale; /* largest magnitude of a scale */
    const char *what;
} fp8_product_spec;

/* ---- Oracle: a row of d ---- */

/* The scale of row i of `rows`, term k; batch axes as a matrix's. */
static double product_scale(const case_tensor *t, const case_tensor *d, const int64_t *index, int32_t from_end, int64_t i,
                            int64_t rows, int64_t k)
{
    return fp8_scale_at(t, t->ndim < 2 ? 0 : case_first_of_matrix(t, d, index), from_end, i, rows, k);
}

static void oracle_fp8_matmul(const test_case *c, int64_t unit, double *const *out)
{
    const trine_fp8_matmul_args *args = (const trine_fp8_matmul_args *)(const void *)c->args;
    const case_tensor *a = case_find(c, "a"), *b = case_find(c, "b"), *bias = case_find(c, "bias"), *d = case_find(c, "d");
    const case_tensor *a_scale = case_find(c, "a_scale"), *b_scale = case_find(c, "b_scale");
    const int64_t k = a->shape[a->ndim - 1], n = b->shape[b->ndim - 1], m = a->shape[a->ndim - 2];
    int64_t index[TRINE_MAX_DIMS];
    double *row = malloc((size_t)(k + n) * sizeof *row + 1), *sum = row + k, *y = out[0];
    if (!row) abort(); /* an oracle without memory can't judge anything */
    case_unravel(d, unit * n, index);
    const int64_t i = index[d->ndim - 2];
    case_values(a, case_first_of_matrix(a, d, index) + i * k, k, row);
    memset(y, 0, (size_t)n * sizeof *y);
    for (int64_t p = 0; p < k; p += 128) { /* terms of the same scales */
        memset(sum, 0, (size_t)n * sizeof *sum);
        case_add_terms(row + p, k - p < 128 ? k - p : 128, b, case_first_of_matrix(b, d, index) + p * n, n, sum);
        const double of_row = product_scale(a_scale, d, index, 2, i, m, p);
        for (int64_t j = 0; j < n; j++) y[j] += sum[j] * of_row * product_scale(b_scale, d, index, 1, j, n, p);
    }
    for (int64_t j = 0; j < n; j++)
        y[j] = case_activation(args->activation, (double)args->activation_alpha, y[j] + (bias ? case_value(bias, j) : 0));
    free(row);
}

/* ---- Building ---- */

static void add_product_matrix(test_case *c, const char *field, trine_dtype dtype, const fp8_product_spec *s,
                               const int64_t *batch, int64_t rows, int64_t columns, case_layout layout)
{
    int64_t shape[4];
    int32_t ndim = 0;
    for (; ndim < s->batch_ndim; ndim++) shape[ndim] = batch[ndim];
    shape[ndim++] = rows;
    shape[ndim++] = columns;
    case_tensor *t = strcmp(field, "d") == 0 ? case_out(c, field, dtype, ndim, shape) : case_in(c, field, dtype, ndim, shape);
    if (dtype == TRINE_F32 && strcmp(field, "d") != 0) case_set_fill(t, FILL_UNIFORM, -s->scale, s->scale);
    t->layout = layout;
}

static test_case *new_fp8_product(case_list *list, const fp8_product_spec *s)
{
    const product_scaling *by = &s->scaling;
    test_case *c = case_new(list, TRINE_OP_fp8_matmul, "%s x %s to %s %lldx%lldx%lld %s%s%s%s", trine_dtype_name(s->a) + 3,
                            trine_dtype_name(s->b) + 3, trine_dtype_name(s->d), (long long)s->m, (long long)s->n, (long long)s->k,
                            by->name, s->fast ? " fast" : "", s->what[0] ? " " : "", s->what);
    add_product_matrix(c, "a", s->a, s, s->a_batch, s->m, s->k, s->a_layout);
    add_product_matrix(c, "b", s->b, s, s->b_batch, s->k, s->n, s->b_layout);
    add_product_matrix(c, "a_scale", TRINE_F32, s, s->scale_batch, extent_of(by->a_rows, s->m), extent_of(by->a_k, s->k),
                       s->scale_layout);
    add_product_matrix(c, "b_scale", TRINE_F32, s, s->scale_batch, extent_of(by->b_k, s->k), extent_of(by->b_rows, s->n),
                       s->scale_layout);
    if (s->bias) case_in(c, "bias", s->bias, SHAPE(s->n));
    add_product_matrix(c, "d", s->d, s, s->batch, s->m, s->n, s->d_layout);
    trine_fp8_matmul_args *args = CASE_ARGS(c, fp8_matmul);
    args->activation = s->activation;
    args->activation_alpha = 0.1f;
    args->fast_accumulate = s->fast;
    const case_tensor *d = case_find(c, "d");
    c->units = s->n ? d->numel / s->n : 0;
    c->oracle = oracle_fp8_matmul;
    c->work = (double)d->numel * (double)(s->k ? s->k : 1);
    c->flops = 2.0 * (double)d->numel * (double)s->k;
    const double atol = fp8_product_error(s->a, s->b, s->k, s->scale, s->fast) + (s->bias ? 0x1p-20 : 0);
    const activation_error e = case_activation_error(s->activation, s->d, false);
    if (s->activation == TRINE_ACT_IDENTITY)
        case_tolerance(c, s->d, 0x1p-22, atol);
    else /* slopes of at most 2; exp's error is relative to it, square's argument at most 6 */
        case_tolerance(c, s->d, e.rtol + atol, e.atol + (s->activation == TRINE_ACT_SQUARE ? 12 : 2) * atol + 1e-7);
    case_count_bytes(c);
    return c;
}

static fp8_product_spec fp8_product(trine_dtype code, int64_t m, int64_t n, int64_t k, int scaling)
{
    return (fp8_product_spec){.a = code,
                              .b = code,
                              .d = TRINE_BF16,
                              .m = m,
                              .n = n,
                              .k = k,
                              .scaling = product_scalings[scaling],
                              .scale = 1.5,
                              .what = ""};
}

/* ---- Checks ---- */

/* Every shape with every scaling; formats, outputs and transposes go round. */
static void product_shapes(case_list *list)
{
    static const int64_t shapes[][3] = {
        {0, 5, 7},       {5, 0, 7},      {5, 7, 0},       {1, 1, 1},      {1, 37, 5},       {37, 1, 5},      {33, 65, 31},
        {64, 64, 64},    {65, 127, 129}, {128, 128, 128}, {7, 13, 257},   {130, 258, 272},  {257, 129, 511}, {1, 1000, 777},
        {3, 515, 1024},  {40, 24, 3000}, {257, 136, 528}, {130, 264, 80}, {200, 40, 1104},  {392, 520, 64},  {16, 384, 2048},
        {129, 200, 384}, {70, 400, 640}, {300, 193, 256}, {5, 640, 1040}, {500, 500, 1408},
    };
    static const trine_dtype to[] = {TRINE_BF16, TRINE_F32, TRINE_F16};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int scaling = 0; scaling < PRODUCT_SCALINGS; scaling++)
            for (int kind = 0; kind < 3; kind++) {                                           /* OCP nt, OCP any, fnuz any */
                if (kind && shapes[i][0] * shapes[i][1] * shapes[i][2] > 40000000) continue; /* the oracle's time */
                fp8_product_spec s = fp8_product(TRINE_F8_E4M3FN, shapes[i][0], shapes[i][1], shapes[i][2], scaling);
                const int t = kind ? (int)i + scaling : 2;
                s.d = to[(i + (size_t)(scaling + kind)) % 3];
                if (kind) s.b = codes[(i + (size_t)kind) % 4];
                if (kind) s.a = codes[(i / 2 + (size_t)scaling) % 4];
                if (kind == 2) s.a = scaling % 2 ? TRINE_F8_E4M3FNUZ : TRINE_F8_E5M2FNUZ;
                s.a_layout = t & 1 ? LAYOUT_TRANSPOSED : LAYOUT_DENSE;
                s.b_layout = t & 2 ? LAYOUT_TRANSPOSED : LAYOUT_DENSE;
                s.scale_layout = i % 3 == 1 ? LAYOUT_TRANSPOSED : LAYOUT_DENSE;
                new_fp8_product(list, &s);
            }
}

/* Sums that matrix units may add up themselves; the last has so many tiles that multiprocessors of an H100 have two. */
static void product_fast(case_list *list)
{
    static const int64_t shapes[][3] = {{1, 37, 16},     {64, 64, 64},    {130, 258, 272}, {257, 129, 512},
                                        {392, 520, 128}, {200, 40, 1104}, {2300, 2090, 32}};
    static const trine_dtype to[] = {TRINE_BF16, TRINE_F32, TRINE_F16};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int scaling = TENSOR; scaling <= ROW; scaling++)
            for (int biased = 0; biased < 2; biased++) {
                fp8_product_spec s = fp8_product(TRINE_F8_E4M3FN, shapes[i][0], shapes[i][1], shapes[i][2], scaling);
                s.b_layout = LAYOUT_TRANSPOSED;
                s.fast = true;
                s.d = to[(i + (size_t)(scaling + biased)) % 3];
                if (biased) s.bias = TRINE_F32;
                s.what = biased ? "bias" : "";
                new_fp8_product(list, &s);
            }
}

/* All mixes of formats, with sums in f32 and without. */
static void product_formats(case_list *list)
{
    for (int i = 0; i < 16; i++)
        for (int fast = 0; fast < 2; fast++)
            for (int scaling = TENSOR; scaling <= BLOCK; scaling++) {
                fp8_product_spec s = fp8_product(codes[i / 4], 72, 136, 272, scaling);
                s.b = codes[i % 4];
                s.b_layout = LAYOUT_TRANSPOSED;
                s.fast = fast;
                new_fp8_product(list, &s);
            }
}

static void product_views(case_list *list)
{
    static const int64_t shapes[][3] = {{9, 21, 30}, {68, 132, 144}, {1, 264, 48}, {150, 140, 260}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int scaling = TENSOR; scaling <= BLOCK; scaling++) {
            fp8_product_spec s = fp8_product(TRINE_F8_E4M3FN, shapes[i][0], shapes[i][1], shapes[i][2], scaling);
            for (int layout = 1; layout < LAYOUT_COUNT; layout++) {
                s.what = "all";
                test_case *c = new_fp8_product(list, &s);
                case_set_layout(c, (case_layout)layout);
                c->may_refuse = layout == LAYOUT_STRIDED;
            }
            s.what = "d along m, strided operands";
            s.a_layout = s.b_layout = s.scale_layout = LAYOUT_STRIDED;
            s.d_layout = LAYOUT_TRANSPOSED;
            s.bias = TRINE_F32;
            new_fp8_product(list, &s);
            s.what = "d along m";
            s.a_layout = LAYOUT_DENSE;
            s.b_layout = LAYOUT_TRANSPOSED;
            s.b = TRINE_F8_E5M2;
            new_fp8_product(list, &s);
            /* every operand and scale column by column: the public MI300X problem */
            s.what = "columns";
            s.bias = TRINE_DTYPE_NONE;
            s.a = s.b = TRINE_F8_E4M3FNUZ;
            s.a_layout = s.scale_layout = LAYOUT_TRANSPOSED;
            s.b_layout = s.d_layout = LAYOUT_DENSE;
            new_fp8_product(list, &s);
        }
}

static void product_batches(case_list *list)
{
    static const struct {
        int32_t ndim;
        int64_t d[2], a[2], b[2], scale[2];
        const char *what;
    } rows[] = {
        {1, {3}, {3}, {3}, {3}, "batch 3"},
        {1, {3}, {3}, {1}, {1}, "batch 3 of one b"},
        {1, {3}, {1}, {3}, {3}, "batch 3 of one a"},
        {1, {3}, {3}, {1}, {3}, "batch 3 of one b, scales each"},
        {2, {2, 3}, {2, 1}, {1, 3}, {2, 3}, "batch 2x3 of a 2x1, b 1x3"},
        {2, {2, 3}, {2, 3}, {1, 1}, {1, 3}, "batch 2x3 of one b, scales 1x3"},
        {1, {0}, {0}, {1}, {1}, "batch 0"},
    };
    static const int64_t shapes[][3] = {{20, 36, 144}, {1, 48, 272}, {13, 7, 11}, {130, 136, 160}};
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
            for (int scaling = TENSOR; scaling <= BLOCK; scaling++) {
                fp8_product_spec s = fp8_product(codes[(r + i) % 2], shapes[i][0], shapes[i][1], shapes[i][2], scaling);
                s.batch_ndim = rows[r].ndim;
                memcpy(s.batch, rows[r].d, sizeof s.batch);
                memcpy(s.a_batch, rows[r].a, sizeof s.batch);
                memcpy(s.b_batch, rows[r].b, sizeof s.batch);
                memcpy(s.scale_batch, rows[r].scale, sizeof s.batch);
                s.what = rows[r].what;
                s.b_layout = r % 2 ? LAYOUT_DENSE : LAYOUT_TRANSPOSED;
                s.d_layout = r % 3 == 2 ? LAYOUT_TRANSPOSED : LAYOUT_DENSE;
                new_fp8_product(list, &s);
            }
}

/* Bias and activations, NaN. */
static void product_epilogues(case_list *list)
{
    static const trine_dtype to[] = {TRINE_BF16, TRINE_F32, TRINE_F16};
    for (int i = 0; i < 36; i++) {
        fp8_product_spec s = fp8_product(codes[i % 2 * 2], i % 4 == 1 ? 5 : 80, i % 4 == 2 ? 203 : 208, 272, i / 3 % 3);
        s.d = to[i % 3];
        s.bias = i < 18 ? TRINE_F32 : s.d;
        s.b_layout = LAYOUT_TRANSPOSED;
        s.what = i < 18 ? "f32 bias" : "bias";
        new_fp8_product(list, &s);
    }
    for (int scaling = TENSOR; scaling <= BLOCK; scaling++) { /* where refusals start from: nothing is a view */
        fp8_product_spec s = fp8_product(TRINE_F8_E4M3FN, 48, 72, 144, scaling);
        s.bias = TRINE_F32;
        s.what = "dense, bias";
        new_fp8_product(list, &s);
    }
    for (int kind = 0; kind < TRINE_ACT_COUNT; kind++) {
        fp8_product_spec s = fp8_product(codes[kind % 2], 66, 72, 48, kind % 3);
        s.b_layout = LAYOUT_TRANSPOSED;
        s.scale = 0.5; /* the argument's standard deviation is about 0.6 */
        s.activation = (trine_activation_kind)kind;
        s.what = trine_activation_name(s.activation);
        test_case *c = new_fp8_product(list, &s);
        if (kind != TRINE_ACT_LOG && kind != TRINE_ACT_SQRT && kind != TRINE_ACT_RSQRT) continue;
        for (int i = 0; i < 4; i++) case_set_fill(&c->tensor[i], FILL_UNIFORM, 0.5, 1); /* their slopes are steep near 0 */
    }
    for (int i = 0; i < 8; i++) {
        fp8_product_spec s = fp8_product(codes[i % 4], 40, 72, i < 4 ? 2 : 144, i % 3);
        s.b_layout = LAYOUT_TRANSPOSED;
        s.what = i < 4 ? "special a" : "NaN";
        test_case *c = new_fp8_product(list, &s);
        case_set_fill(&c->tensor[0], i < 4 ? FILL_SPECIAL : FILL_CONSTANT, i < 4 ? 0 : NAN, 1);
        if (i < 4) case_set_fill(&c->tensor[1], FILL_UNIFORM, 0.01, 0.2);
    }
}

/* ---- What is timed ---- */

static void product_bench(case_list *list)
{
    static const int64_t large[][3] = {{4096, 7168, 2048}, {4096, 4096, 7168}, {4096, 24576, 1536}, {4096, 7168, 16384},
                                       {8192, 8192, 8192}, {64, 2112, 7168},   {128, 7168, 2048},   {16, 7168, 16384}};
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++)
        for (int scaling = TENSOR; scaling <= BLOCK; scaling++)
            for (int fast = 0; fast < (scaling == BLOCK ? 1 : 2); fast++) {
                fp8_product_spec s = fp8_product(TRINE_F8_E4M3FN, large[i][0], large[i][1], large[i][2], scaling);
                s.b_layout = LAYOUT_TRANSPOSED;
                s.scale_layout = scaling == BLOCK ? LAYOUT_TRANSPOSED : LAYOUT_DENSE; /* as cuBLASLt wants them */
                s.fast = fast;
                s.scale = 0.1;
                new_fp8_product(list, &s);
            }
    /* the public MI300X problem */
    static const int64_t weights[][2] = {{1536, 7168}, {3072, 1536}, {576, 7168}, {7168, 256}, {7168, 2048},
                                         {4608, 7168}, {7168, 2304}, {512, 7168}, {4096, 512}};
    for (size_t i = 0; i < sizeof weights / sizeof weights[0]; i++) {
        fp8_product_spec s = fp8_product(TRINE_F8_E4M3FNUZ, 1024, weights[i][0], weights[i][1], BLOCK);
        s.a_layout = s.scale_layout = LAYOUT_TRANSPOSED;
        s.what = "columns";
        new_fp8_product(list, &s);
    }
}

static void fp8_matmul_cases(case_list *list, case_kind kind)
{
    if (kind == CASES_BENCH) {
        product_bench(list);
        return;
    }
    product_shapes(list);
    product_fast(list);
    product_formats(list);
    product_views(list);
    product_batches(list);
    product_epilogues(list);
}

#endif
