/* Cases of the matmul family. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cases/activation.h"
#include "tests/cases/matrices.h"

/* ---- Oracle: a row of d in f64 ---- */

/* sum[j] = sum over k of a[row, k] b[k, j] */
static void row_times_matrix(const test_case *c, const int64_t *index, double *sum)
{
    const case_tensor *a = case_find(c, "a"), *b = case_find(c, "b"), *d = case_find(c, "d");
    const int64_t k = a->shape[a->ndim - 1], n = b->shape[b->ndim - 1];
    double *row = malloc((size_t)k * sizeof *row + 1);
    if (!row) abort(); /* an oracle without memory can't judge anything */
    case_values(a, case_first_of_matrix(a, d, index) + index[d->ndim - 2] * k, k, row);
    case_add_terms(row, k, b, case_first_of_matrix(b, d, index), n, sum);
    free(row);
}

static void oracle_matmul(const test_case *c, int64_t unit, double *const *out)
{
    const trine_matmul_args *args = (const trine_matmul_args *)(const void *)c->args;
    const case_tensor *addend = case_find(c, "c"), *bias = case_find(c, "bias"), *d = case_find(c, "d");
    int64_t n = d->shape[d->ndim - 1], index[TRINE_MAX_DIMS];
    double *y = out[0];
    case_unravel(d, unit * n, index);
    memset(y, 0, (size_t)n * sizeof *y);
    if (args->alpha != 0) row_times_matrix(c, index, y);
    for (int64_t j = 0; j < n; j++) {
        y[j] = args->alpha == 0 ? 0 : args->alpha * y[j];
        if (addend && args->beta != 0) y[j] += args->beta * case_value(addend, case_broadcast_index(addend, d, unit * n + j));
        if (bias) y[j] += case_value(bias, j);
        y[j] = case_activation(args->activation, args->activation_alpha, y[j]);
    }
}

/* ---- Building ---- */

typedef struct matmul_spec {
    trine_dtype dtype;
    int64_t m, n, k;
    trine_dtype out, c, bias; /* NONE: d in dtype, no c, no bias */
    int32_t batch_ndim;       /* of d */
    int64_t batch[2], a_batch[2], b_batch[2];
    case_layout a_layout, b_layout, d_layout;
    float alpha, beta;
    trine_activation_kind activation;
    bool tf32;        /* f32 that may be rounded first */
    const char *what; /* ends the name */
} matmul_spec;

/* What operands may be: each dtype, and f32 as tf32. */
enum { OPERAND_KINDS = 4 };

static matmul_spec spec_of(trine_dtype dtype, int64_t m, int64_t n, int64_t k)
{
    return (matmul_spec){.dtype = dtype, .m = m, .n = n, .k = k, .alpha = 1, .what = ""};
}

/* Of kind `kind`: case_floats, then tf32. */
static matmul_spec spec_of_kind(int kind, int64_t m, int64_t n, int64_t k)
{
    matmul_spec s = spec_of(kind < 3 ? case_floats[kind] : TRINE_F32, m, n, k);
    s.tf32 = kind == 3;
    return s;
}

/* What the f32 computation may be off by, for operands of variance 1.
 *
 * The sum: after k of K terms the partial sum is about sqrt(k), and rounding it costs at most 2^-24 of that. Roundings are as
 * good as independent, so that all of them together have the standard deviation 2^-24 sqrt(sum of k / 3) = 0.41 K 2^-24, in one
 * chain; shorter chains, added up, do better. 4 K 2^-24 is ten of these. Where few terms are summed, the largest ones count,
 * hence + 40. Matrix units cut instead of rounding, 16 terms at a time: K / 16 steps that lose up to 2^-23 of sqrt(K), with one
 * sign; allowed where they may compute. The epilogue: alpha scales it, and each further term is rounded once, at most 5 standard
 * deviations large. Activations have slopes of at most 2, but square's, and exp's, which is relative; they come with at most 8
 * ulp and 1e-7 of their own.
 *
 * tf32 has 10 bits of fraction. Cut to them, x loses e |x| with e in [0, 2^-10), a product of two (e + f) |x y| with e + f of root
 * mean square sqrt(7/6) 2^-10; signs of products are independent, so that K of them have the standard deviation 1.08 sqrt(K)
 * 2^-10. Seven of these, and 20 x 2^-10 where few large products count. Rounding to nearest loses half of that. */
static void set_tolerance(test_case *c, const matmul_spec *s)
{
    double k = (double)s->k, u = 0x1p-24, rtol = 0x1p-22;
    double sum = (4 * k + 40) * u + (s->dtype == TRINE_F32 && !s->tf32 ? 0 : k / 16 * sqrt(k) * 2 * u);
    if (s->tf32 && s->k > 0) sum += (7 * sqrt(k) + 20) * 0x1p-10;
    double terms = 5 * (fabs((double)s->alpha) * sqrt(k) + (s->c ? fabs((double)s->beta) : 0) + (s->bias ? 1 : 0));
    double atol = fabs((double)s->alpha) * sum + 2 * u * terms;
    if (s->activation == TRINE_ACT_IDENTITY && s->alpha == 1 && !s->c && !s->bias) atol = sum;
    if (s->activation != TRINE_ACT_IDENTITY) {
        rtol = 0x1p-20 + atol;
        atol = (s->activation == TRINE_ACT_SQUARE ? 12 : 2) * atol + 1e-7;
    }
    case_tolerance(c, s->out ? s->out : s->dtype, rtol, atol);
}

static void add_matrix(test_case *c, const char *field, trine_dtype dtype, const matmul_spec *s, const int64_t *batch,
                       int64_t rows, int64_t cols, case_layout layout)
{
    int64_t shape[4];
    int32_t ndim = 0;
    for (; ndim < s->batch_ndim; ndim++) shape[ndim] = batch[ndim];
    shape[ndim++] = rows;
    shape[ndim++] = cols;
    bool out = strcmp(field, "d") == 0;
    case_tensor *t = out ? case_out(c, field, dtype, ndim, shape) : case_in(c, field, dtype, ndim, shape);
    t->layout = layout;
}

static test_case *new_matmul(case_list *list, const matmul_spec *s)
{
    trine_dtype out = s->out ? s->out : s->dtype;
    test_case *c =
        case_new(list, TRINE_OP_matmul, "%s%s %lldx%lldx%lld%s%s", trine_dtype_name(s->dtype), s->tf32 ? " as tf32" : "",
                 (long long)s->m, (long long)s->n, (long long)s->k, s->what[0] ? " " : "", s->what);
    add_matrix(c, "a", s->dtype, s, s->a_batch, s->m, s->k, s->a_layout);
    add_matrix(c, "b", s->dtype, s, s->b_batch, s->k, s->n, s->b_layout);
    if (s->c) add_matrix(c, "c", s->c, s, s->batch, s->m, s->n, s->d_layout);
    if (s->bias) case_in(c, "bias", s->bias, SHAPE(s->n));
    add_matrix(c, "d", out, s, s->batch, s->m, s->n, s->d_layout);
    const case_tensor *d = case_find(c, "d");
    trine_matmul_args *args = CASE_ARGS(c, matmul);
    args->alpha = s->alpha;
    args->beta = s->beta;
    args->activation = s->activation;
    args->activation_alpha = 0.1f;
    args->precision = s->tf32 ? TRINE_MATMUL_TF32 : TRINE_MATMUL_DEFAULT;
    c->units = s->n ? d->numel / s->n : 0;
    c->oracle = oracle_matmul;
    c->work = (double)d->numel * (double)(s->k ? s->k : 1);
    c->flops = 2.0 * (double)d->numel * (double)s->k;
    set_tolerance(c, s);
    case_count_bytes(c);
    return c;
}

/* The layout of every tensor but bias, which must be dense. */
static void set_matrix_layouts(test_case *c, case_layout layout)
{
    case_set_layout(c, layout);
    for (int32_t i = 0; i < c->tensor_count; i++)
        if (c->tensor[i].ndim == 1) c->tensor[i].layout = LAYOUT_DENSE;
}

/* ---- Checks ---- */

/* t: bit 0 for a, bit 1 for b. */
static void transposed(case_list *list, int kind, const int64_t shape[3], int t)
{
    static const char *const what[] = {"nn", "tn", "nt", "tt"};
    matmul_spec s = spec_of_kind(kind, shape[0], shape[1], shape[2]);
    s.a_layout = t & 1 ? LAYOUT_TRANSPOSED : LAYOUT_DENSE;
    s.b_layout = t & 2 ? LAYOUT_TRANSPOSED : LAYOUT_DENSE;
    s.what = what[t];
    new_matmul(list, &s);
}

/* Every shape with every way to transpose the operands, for the first `kinds` kinds of them. */
static void transposes(case_list *list, const int64_t (*shapes)[3], size_t count, int kinds)
{
    for (int d = 0; d < kinds; d++)
        for (size_t i = 0; i < count; i++)
            for (int t = 0; t < 4; t++) transposed(list, d, shapes[i], t);
}

static void shapes(case_list *list)
{
    static const int64_t ordinary[][3] = {
        {0, 5, 7},   {5, 0, 7},    {5, 7, 0},    {1, 1, 1},      {1, 37, 5},      {37, 1, 5},     {17, 19, 1},
        {7, 13, 17}, {33, 65, 31}, {64, 64, 64}, {65, 127, 129}, {128, 128, 128}, {130, 258, 66}, {257, 129, 511},
    };
    /* one operand is a few vectors, or sums are worth dividing */
    static const int64_t thin[][3] = {
        {1, 1000, 777}, {1, 1024, 2048}, {3, 515, 1024}, {1000, 1, 333}, {512, 2, 1024},  {4, 4, 5000},   {1, 1, 547},
        {2, 3, 1},      {40, 24, 3000},  {5, 640, 1030}, {7, 392, 1032}, {16, 136, 2064}, {72, 31, 3080},
    };
    /* rows of whole 16-byte pieces, for kernels that want them, and edges inside of large tiles */
    static const int64_t pieces[][3] = {{257, 136, 520}, {130, 264, 72}, {8, 8, 8}, {200, 40, 1096}, {392, 520, 64}};
    transposes(list, ordinary, sizeof ordinary / sizeof ordinary[0], 3);
    transposes(list, pieces, sizeof pieces / sizeof pieces[0], OPERAND_KINDS);
    transposes(list, thin, sizeof thin / sizeof thin[0], OPERAND_KINDS);
    /* many steps along K: long on a simulator, so each kind once */
    static const int64_t deep[3] = {1, 1, 4099};
    for (int d = 0; d < OPERAND_KINDS; d++) transposed(list, d, deep, d % 4);
}

/* Views of every kind; a d that is dense along neither axis may be refused. */
static void views(case_list *list)
{
    static const int64_t shapes[][3] = {{9, 21, 30}, {68, 132, 40}, {1, 264, 48}, {264, 1, 48}, {150, 140, 130}};
    for (int d = 0; d < OPERAND_KINDS; d++)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
            matmul_spec s = spec_of_kind(d, shapes[i][0], shapes[i][1], shapes[i][2]);
            s.out = TRINE_F32;
            for (int layout = 1; layout < LAYOUT_COUNT; layout++) {
                s.what = "all";
                test_case *c = new_matmul(list, &s);
                case_set_layout(c, (case_layout)layout);
                c->may_refuse = layout == LAYOUT_STRIDED;
            }
            s.what = "d along m, strided operands";
            s.a_layout = s.b_layout = LAYOUT_STRIDED;
            s.d_layout = LAYOUT_TRANSPOSED;
            s.c = s.bias = s.dtype;
            s.beta = 0.5f;
            new_matmul(list, &s);
            s.what = "d along m";
            s.a_layout = s.b_layout = LAYOUT_DENSE;
            new_matmul(list, &s);
            s.what = "padded operands";
            s.a_layout = s.b_layout = LAYOUT_PADDED;
            s.d_layout = LAYOUT_DENSE;
            new_matmul(list, &s);
        }
}

static void batches(case_list *list)
{
    static const struct {
        int32_t ndim;
        int64_t d[2], a[2], b[2];
        const char *what;
    } rows[] = {
        {1, {3}, {3}, {3}, "batch 3"},
        {1, {3}, {3}, {1}, "batch 3 of one b"},
        {1, {3}, {1}, {3}, "batch 3 of one a"},
        {1, {3}, {1}, {1}, "batch 3 of one product"},
        {2, {2, 3}, {2, 3}, {2, 3}, "batch 2x3"},
        {2, {2, 3}, {2, 1}, {1, 3}, "batch 2x3 of a 2x1, b 1x3"},
        {2, {2, 3}, {1, 3}, {2, 3}, "batch 2x3 of a 1x3"},
        {2, {2, 3}, {2, 3}, {1, 1}, "batch 2x3 of one b"},
        {1, {0}, {0}, {1}, "batch 0"},
        {1, {70}, {70}, {1}, "batch 70 of one b"},
    };
    static const int64_t shapes[][3] = {{20, 36, 28}, {1, 36, 64}, {36, 1, 28}, {13, 7, 11}, {24, 72, 136}};
    static const case_layout layouts[] = {LAYOUT_DENSE, LAYOUT_TRANSPOSED, LAYOUT_PADDED};
    for (int d = 0; d < OPERAND_KINDS; d++)
        for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++)
            for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
                matmul_spec s = spec_of_kind(d, shapes[i][0], shapes[i][1], shapes[i][2]);
                s.batch_ndim = rows[r].ndim;
                memcpy(s.batch, rows[r].d, sizeof s.batch);
                memcpy(s.a_batch, rows[r].a, sizeof s.batch);
                memcpy(s.b_batch, rows[r].b, sizeof s.batch);
                s.what = rows[r].what;
                s.c = i % 2 ? TRINE_DTYPE_NONE : s.dtype;
                s.bias = s.c;
                s.beta = -1;
                set_matrix_layouts(new_matmul(list, &s), layouts[r % 3]);
            }
}

/* alpha, beta, c given and in place, bias, output dtypes. */
static void epilogues(case_list *list)
{
    static const float scales[][2] = {{1, 0}, {1, 1}, {-0.5f, 2}, {0, 1}, {0, 0}, {2, 0}};
    for (int d = 0; d < OPERAND_KINDS; d++)
        for (int wide = 0; wide < (case_floats[d % 3] == TRINE_F32 ? 1 : 2); wide++)
            for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++)
                for (int inplace = 0; inplace < 2; inplace++)
                    for (int size = 0; size < 2; size++) {
                        char what[64];
                        matmul_spec s = spec_of_kind(d, size ? 70 : 3, size ? 72 : 68, size ? 304 : 20);
                        s.alpha = scales[i][0];
                        s.beta = scales[i][1];
                        s.out = wide ? TRINE_F32 : s.dtype;
                        s.c = inplace || i % 2 ? s.out : s.dtype;
                        s.bias = i % 2 ? s.dtype : size ? TRINE_F32 : TRINE_DTYPE_NONE;
                        snprintf(what, sizeof what, "to %s, alpha %g beta %g", trine_dtype_name(s.out), (double)s.alpha,
                                 (double)s.beta);
                        s.what = what;
                        test_case *c = new_matmul(list, &s);
                        if (inplace) case_set_inplace(c, "d", "c");
                    }
}

/* d += a b in f32, dense, with a pitch, for several products: kernels may leave the addition to the memory. */
static void accumulations(case_list *list)
{
    static const int64_t shapes[][3] = {{3, 68, 20}, {70, 72, 304}, {131, 264, 200}};
    for (int d = 0; d < OPERAND_KINDS; d++)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
            for (int form = 0; form < 3; form++) {
                matmul_spec s = spec_of_kind(d, shapes[i][0], shapes[i][1], shapes[i][2]);
                s.out = s.c = TRINE_F32;
                s.beta = 1;
                s.what = form == 0 ? "added" : form == 1 ? "added, padded" : "added, batch";
                s.batch_ndim = form == 2;
                s.batch[0] = s.a_batch[0] = s.b_batch[0] = 3;
                test_case *c = new_matmul(list, &s);
                if (form == 1) case_set_layout(c, LAYOUT_PADDED);
                case_set_inplace(c, "d", "c");
            }
}

static void activations(case_list *list)
{
    for (int d = 0; d < 3; d++)
        for (int kind = 0; kind < TRINE_ACT_COUNT; kind++)
            for (int thin = 0; thin < 2; thin++) {
                matmul_spec s = spec_of(case_floats[d], thin ? 2 : 66, thin ? 70 : 72, thin ? 33 : 40);
                s.alpha = 0.2f; /* the argument's standard deviation is about 1 */
                s.activation = (trine_activation_kind)kind;
                s.what = trine_activation_name(s.activation);
                test_case *c = new_matmul(list, &s);
                if (kind != TRINE_ACT_LOG && kind != TRINE_ACT_SQRT && kind != TRINE_ACT_RSQRT) continue;
                case_set_fill(&c->tensor[0], FILL_UNIFORM, 0.5, 1.5); /* their slopes are steep near 0 */
                case_set_fill(&c->tensor[1], FILL_UNIFORM, 0.5, 1.5);
            }
}

/* NaN and inf come through from what is read, and from nothing else. What meets special values is positive and small, so that the
 * huge ones among them neither overflow nor cancel on the way. */
static void special_values(case_list *list)
{
    static const struct {
        float alpha, beta;
        int special; /* bits: a, b, c */
        const char *what;
    } rows[] = {
        {1, 0, 1, "special a"},
        {1, 0, 2, "special b"},
        {1, 1, 4, "special c"},
        {1, 0, 4, "special c, beta 0"},
        {0, 1, 3, "special a and b, alpha 0"},
        {0, 0, 7, "special everything, alpha 0 beta 0"},
    };
    static const int64_t shapes[][3] = {{30, 44, 3}, {2, 72, 4}, {130, 132, 2}, {130, 136, 8}};
    for (int d = 0; d < 3; d++)
        for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++)
            for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
                matmul_spec s = spec_of(case_floats[d], shapes[i][0], shapes[i][1], shapes[i][2]);
                /* of eight terms two huge ones may cancel: more than f32's bound allows, less than a rounding to 16 bits */
                if (s.dtype == TRINE_F32 && s.k > 4) continue;
                s.alpha = rows[r].alpha;
                s.beta = rows[r].beta;
                s.c = s.dtype;
                s.what = rows[r].what;
                test_case *c = new_matmul(list, &s);
                for (int k = 0; k < 3; k++)
                    if (rows[r].special >> k & 1)
                        case_set_fill(&c->tensor[k], FILL_SPECIAL, 0, 1);
                    else
                        case_set_fill(&c->tensor[k], FILL_UNIFORM, 0.01, 0.2);
            }
}

/* Subnormal numbers of bf16, whose products with large ones are not small. */
static void subnormal_values(case_list *list)
{
    static const int64_t shapes[][3] = {{30, 44, 301}, {3, 72, 300}, {40, 17, 1000}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int which = 0; which < 2; which++)
            for (int transposed = 0; transposed < 2; transposed++) {
                matmul_spec s = spec_of(TRINE_BF16, shapes[i][0], shapes[i][1], shapes[i][2]);
                s.b_layout = transposed ? LAYOUT_TRANSPOSED : s.b_layout;
                s.what = which ? "subnormal b" : "subnormal a";
                test_case *c = new_matmul(list, &s);
                case_set_fill(&c->tensor[which], FILL_UNIFORM, 2e-40, 9e-39);
                case_set_fill(&c->tensor[!which], FILL_UNIFORM, -1e37, 1e37);
            }
}

/* A few rows or columns, with a matrix dense along K. */
static void few_vectors(case_list *list)
{
    static const int64_t vectors[] = {1, 2, 3, 7, 17, 32, 33};
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++)
            for (int of_b = 0; of_b < 2; of_b++) {
                const int64_t k = i % 2 ? 317 : 256 + 2 * (int64_t)i;
                matmul_spec s = spec_of(case_floats[d], of_b ? 103 : vectors[i], of_b ? vectors[i] : 103, k);
                s.b_layout = LAYOUT_TRANSPOSED;
                s.what = of_b ? "few columns, nt" : "few rows, nt";
                new_matmul(list, &s);
            }
}

/* Neither operand is dense along K, of a size that makes it worth while to turn one. */
static void large_tn(case_list *list)
{
    for (int d = 0; d < 3; d += 2) {
        matmul_spec s = spec_of(case_floats[d], 1543, 1536, 66);
        s.a_layout = LAYOUT_TRANSPOSED;
        s.what = "large tn";
        new_matmul(list, &s);
    }
}

/* ---- Bench ---- */

static void bench_nt(case_list *list, trine_dtype dtype, int64_t m, int64_t n, int64_t k)
{
    matmul_spec s = spec_of(dtype, m, n, k);
    s.b_layout = LAYOUT_TRANSPOSED;
    s.what = "nt";
    new_matmul(list, &s);
}

/* Projections of models, N x K, for a token, a few, some and many: weights lie along K, as layers have them. */
static void bench_projections(case_list *list)
{
    static const int64_t tokens[] = {1, 16, 128, 4096};
    static const int64_t weights[][2] = {
        {6144, 4096},  {4096, 4096},  {28672, 4096}, {4096, 14336}, /* Llama 3 8B: qkv, out, gate and up, down */
        {10240, 8192}, {14336, 4096},                               /* Llama 3 70B: qkv; Mixtral 8x7B: an expert's gate */
        {2112, 7168},  {24576, 1536}, {7168, 16384}, {7168, 2048},  /* DeepSeek V3: q and kv down, q up, out, an expert's down */
    };
    for (size_t i = 0; i < sizeof weights / sizeof weights[0]; i++)
        for (size_t t = 0; t < sizeof tokens / sizeof tokens[0]; t++)
            bench_nt(list, TRINE_BF16, tokens[t], weights[i][0], weights[i][1]);
}

static void bench_cases(case_list *list)
{
    static const int64_t shapes[][3] = {{1024, 1024, 1024}, {2048, 2048, 2048}, {4096, 4096, 4096}, {8192, 8192, 8192},
                                        {64, 2112, 7168},   {128, 7168, 2048},  {4096, 4096, 7168}};
    static const int64_t large[][3] = {{4096, 7168, 2048}, {4096, 24576, 1536}, {4096, 7168, 16384}};
    static const int64_t thin[][3] = {{1, 8192, 8192}, {1, 11008, 4096}};
    static const int bf16 = 2;
    for (int d = 0; d < OPERAND_KINDS; d++) {
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
            matmul_spec s = spec_of_kind(d, shapes[i][0], shapes[i][1], shapes[i][2]);
            new_matmul(list, &s);
        }
        for (size_t i = 0; d == bf16 && i < sizeof large / sizeof large[0]; i++) {
            matmul_spec s = spec_of_kind(d, large[i][0], large[i][1], large[i][2]);
            new_matmul(list, &s);
        }
        for (size_t i = 0; i < sizeof thin / sizeof thin[0]; i++)
            for (int t = 0; t < 2; t++) {
                matmul_spec s = spec_of_kind(d, thin[i][0], thin[i][1], thin[i][2]);
                s.b_layout = t ? LAYOUT_TRANSPOSED : LAYOUT_DENSE;
                s.what = t ? "nt" : "nn";
                new_matmul(list, &s);
            }
    }
    /* the other ways that operands lie: forward with weights along K, the weight's gradient */
    for (int d = 0; d < OPERAND_KINDS; d++) {
        matmul_spec s = spec_of_kind(d, 4096, 4096, 4096);
        s.b_layout = LAYOUT_TRANSPOSED;
        s.what = "nt";
        new_matmul(list, &s);
        s.a_layout = LAYOUT_TRANSPOSED;
        s.b_layout = LAYOUT_DENSE;
        s.what = "tn";
        new_matmul(list, &s);
    }
    bench_projections(list);
}

void cases_matmul(case_list *list, case_kind kind)
{
    if (kind == CASES_BENCH) {
        bench_cases(list);
        return;
    }
    shapes(list);
    views(list);
    batches(list);
    epilogues(list);
    accumulations(list);
    activations(list);
    special_values(list);
    subnormal_values(list);
    few_vectors(list);
    large_tn(list);
}
