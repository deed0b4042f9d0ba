/* Cases of the fp8 family: exact bits on every backend, but for products (fp8_matmul.h). Oracles do in f64 what the header says of f32, where products of f32 are
 * exact and quotients may be rounded twice without harm (Figueroa 1995). The casts are the core's, which the unit tests check. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/cases/cases.h"
#include "tests/cases/sizes.h"

typedef struct fp8_case {
    trine_dtype dtype, code;
    trine_fp8_scaling scaling;
    int32_t ndim;
    int64_t shape[3];
    bool given;
    const char *what;
} fp8_case;

static const trine_dtype codes[] = {TRINE_F8_E4M3FN, TRINE_F8_E5M2, TRINE_F8_E4M3FNUZ, TRINE_F8_E5M2FNUZ};
#include "tests/cases/fp8_matmul.h"

static const char *const scaling_names[] = {"tensor", "row", "1x128", "128x128"};

/* Shape of the scales of x of ndim axes: number of axes. */
static int32_t scale_shape(trine_fp8_scaling scaling, int32_t ndim, const int64_t *shape, int64_t *scales)
{
    for (int32_t d = 0; d < ndim; d++) scales[d] = shape[d];
    if (scaling == TRINE_FP8_PER_TENSOR) scales[0] = 1;
    if (scaling == TRINE_FP8_PER_TENSOR) return 1;
    if (scaling == TRINE_FP8_PER_ROW) return ndim - 1;
    scales[ndim - 1] = (shape[ndim - 1] + 127) / 128;
    if (scaling == TRINE_FP8_PER_128X128) scales[ndim - 2] = (shape[ndim - 2] + 127) / 128;
    return ndim;
}

/* Index of the scale of element i. */
static int64_t scale_of(const case_tensor *x, const case_tensor *scale, trine_fp8_scaling scaling, int64_t i)
{
    int64_t index[TRINE_MAX_DIMS];
    if (scaling == TRINE_FP8_PER_TENSOR) return 0;
    case_unravel(x, i, index);
    index[x->ndim - 1] /= 128;
    if (scaling == TRINE_FP8_PER_128X128) index[x->ndim - 2] /= 128;
    return case_ravel(scale, index); /* a row's has no last axis */
}

static double largest_of(trine_dtype code)
{
    double largest, all = INFINITY;
    unsigned char bits;
    trine_convert(&all, TRINE_F64, &bits, code, 1);
    trine_convert(&bits, code, &largest, TRINE_F64, 1);
    return largest;
}

/* A unit is as few whole rows as have their scales to themselves. */
static int64_t units_of(fp8_case f)
{
    int64_t rows = 1;
    for (int32_t d = 0; d + 1 < f.ndim; d++) rows *= f.shape[d];
    if (f.scaling == TRINE_FP8_PER_TENSOR && !f.given) return 1;
    if (f.scaling != TRINE_FP8_PER_128X128) return rows;
    return f.ndim == 2 && f.shape[0] % 128 == 0 ? rows / 128 : 1;
}

/* Of the elements [begin, end), whose first scale is `first`. */
static void find_scales(const test_case *c, int64_t begin, int64_t end, int64_t first, int64_t count, float *scales)
{
    const trine_fp8_quantize_args *a = (const trine_fp8_quantize_args *)(const void *)c->args;
    const case_tensor *x = case_find(c, "x"), *scale = case_find(c, "scale");
    const double largest = largest_of(case_find(c, "q")->dtype);
    for (int64_t s = 0; s < count; s++) scales[s] = a->amax_least == 0 ? 1e-12f : a->amax_least;
    for (int64_t i = begin; i < end; i++) {
        float *most = &scales[scale_of(x, scale, a->scaling, i) - first];
        const double magnitude = fabs(case_value(x, i));
        if (magnitude > (double)*most) *most = isinf(magnitude) ? 0x1.fffffep127f : (float)magnitude;
    }
    for (int64_t s = 0; s < count; s++) {
        int exponent;
        scales[s] = (float)((double)scales[s] / largest);
        if (a->power_of_two && frexp((double)scales[s], &exponent) != 0.5) scales[s] = (float)ldexp(1, exponent);
    }
}

static void oracle_quantize(const test_case *c, int64_t unit, void *const *out)
{
    const trine_fp8_scaling scaling = ((const trine_fp8_quantize_args *)(const void *)c->args)->scaling;
    const case_tensor *x = case_find(c, "x"), *given = case_find(c, "given_scale"),
                      *scale = given ? given : case_find(c, "scale");
    const trine_dtype code = case_find(c, "q")->dtype;
    const int64_t n = x->numel / c->units, count = scale->numel / c->units, first = unit * count;
    if (!given) find_scales(c, unit * n, (unit + 1) * n, first, count, out[1]);
    for (int64_t i = unit * n; i < (unit + 1) * n; i++) {
        const int64_t s = scale_of(x, scale, scaling, i);
        const double by = given ? case_value(given, s) : (double)((const float *)out[1])[s - first];
        const float inverse = (float)(1 / by), v = (float)(case_value(x, i) * (double)inverse);
        trine_convert(&v, TRINE_F32, (unsigned char *)out[0] + i - unit * n, code, 1);
    }
}

static void oracle_dequantize(const test_case *c, int64_t unit, double *const *out)
{
    const trine_fp8_scaling scaling = ((const trine_fp8_dequantize_args *)(const void *)c->args)->scaling;
    const case_tensor *q = case_find(c, "q"), *scale = case_find(c, "scale");
    const trine_dtype dtype = case_find(c, "y")->dtype;
    const float y = (float)(case_value(q, unit) * case_value(scale, scale_of(q, scale, scaling, unit)));
    unsigned char bits[8];
    trine_convert(&y, TRINE_F32, bits, dtype, 1);
    trine_convert(bits, dtype, out[0], TRINE_F64, 1);
}

static test_case *new_case(case_list *list, fp8_case f, bool back)
{
    char shape[64] = "";
    int64_t scales[3], numel = 1;
    for (int32_t d = 0, used = 0; d < f.ndim; d++) {
        used += snprintf(shape + used, sizeof shape - (size_t)used, d ? "x%lld" : "%lld", (long long)f.shape[d]);
        numel *= f.shape[d];
    }
    test_case *c =
        case_new(list, back ? TRINE_OP_fp8_dequantize : TRINE_OP_fp8_quantize, "%s %s %s%s %s %s", trine_dtype_name(f.dtype),
                 trine_dtype_name(f.code) + 3, f.given ? "given " : "", scaling_names[f.scaling], f.what, shape);
    const int32_t scale_ndim = scale_shape(f.scaling, f.ndim, f.shape, scales);
    if (back) {
        case_set_fill(case_in(c, "q", f.code, f.ndim, f.shape), FILL_BITS, 0, 0);
        case_set_fill(case_in(c, "scale", TRINE_F32, scale_ndim, scales), FILL_UNIFORM, 0.001, 0.1);
        case_out(c, "y", f.dtype, f.ndim, f.shape);
        CASE_ARGS(c, fp8_dequantize)->scaling = f.scaling;
        c->oracle = oracle_dequantize; /* tolerances of 0: exact but for which NaN a NaN is */
        c->units = numel;
    } else {
        case_in(c, "x", f.dtype, f.ndim, f.shape);
        case_out(c, "q", f.code, f.ndim, f.shape);
        if (f.given)
            case_set_fill(case_in(c, "given_scale", TRINE_F32, scale_ndim, scales), FILL_UNIFORM, 0.001, 0.1);
        else
            case_out(c, "scale", TRINE_F32, scale_ndim, scales);
        CASE_ARGS(c, fp8_quantize)->scaling = f.scaling;
        c->oracle_bits = oracle_quantize;
        c->units = units_of(f);
    }
    c->vendor_exact = true;
    c->flops = 4.0 * (double)numel;
    case_count_bytes(c);
    /* the scale for all is known when all has been read */
    if (!back && !f.given && f.scaling == TRINE_FP8_PER_TENSOR) c->bytes += (double)numel * trine_dtype_bits(f.dtype) / 8;
    return c;
}

/* ---- Sizes, layouts, values ---- */

static void shapes(case_list *list, trine_dtype dtype, trine_fp8_scaling scaling, bool back)
{
    static const struct {
        int32_t ndim;
        int64_t shape[3];
    } all[] = {{2, {1, 1}},      {2, {3, 7}},     {2, {5, 128}},   {2, {130, 129}},   {2, {2, 1031}},
               {2, {33, 384}},   {2, {7, 0}},     {2, {0, 9}},     {3, {2, 131, 40}}, {2, {129, 256}},
               {1, {300}},       {2, {3, 33000}}, {2, {9, 4096}},  {3, {0, 3, 5}},    {2, {1, 70000}},
               {3, {2, 3, 264}}, {2, {300, 520}}, {2, {2000, 16}}, {2, {2, 300000}}};
    for (size_t s = 0; s < sizeof all / sizeof all[0]; s++)
        for (int given = 0; given < (back ? 1 : 2); given++) {
            fp8_case f = {dtype, codes[(s + (size_t)given) % 4], scaling, all[s].ndim, {0}, given, "normal"};
            if (f.ndim == 1 && scaling == TRINE_FP8_PER_128X128) continue;
            for (int d = 0; d < 3; d++) f.shape[d] = all[s].shape[d];
            new_case(list, f, back);
        }
}

static void layouts(case_list *list, trine_dtype dtype, trine_fp8_scaling scaling, bool back)
{
    const fp8_case f = {dtype, TRINE_F8_E4M3FN, scaling, 2, {130, 264}, false, "view"};
    fp8_case given = f;
    given.given = true;
    for (int layout = 1; layout < LAYOUT_COUNT; layout++) {
        case_set_layout(new_case(list, f, back), (case_layout)layout);
        if (!back) case_set_layout(new_case(list, given, back), (case_layout)layout);
    }
    /* scales column by column, the rest dense */
    test_case *c = new_case(list, (fp8_case){dtype, TRINE_F8_E4M3FNUZ, scaling, 2, {260, 256}, false, "columns"}, back);
    c->tensor[back ? 1 : 2].layout = LAYOUT_TRANSPOSED;
    c = new_case(list, (fp8_case){dtype, TRINE_F8_E5M2, scaling, 3, {2, 131, 384}, false, "columns"}, back);
    c->tensor[back ? 1 : 2].layout = LAYOUT_TRANSPOSED;
}

static void values(case_list *list, trine_dtype dtype, trine_fp8_scaling scaling)
{
    for (int i = 0; i < 4; i++) {
        const fp8_case f = {dtype, codes[i], scaling, 2, {40, 200}, false, "special"},
                       g = {dtype, codes[i], scaling, 2, {40, 200}, true, "special"};
        case_set_fill(&new_case(list, f, false)->tensor[0], FILL_SPECIAL, 0, 0);
        test_case *c = new_case(list, g, false);
        case_set_fill(&c->tensor[0], FILL_SPECIAL, 0, 0);
        case_set_fill(&c->tensor[2], FILL_SPECIAL, 0, 0);
        case_set_fill(&new_case(list, (fp8_case){dtype, codes[i], scaling, 2, {17, 256}, true, "bits"}, false)->tensor[0],
                      FILL_BITS, 0, 0);
        case_set_fill(&new_case(list, (fp8_case){dtype, codes[i], scaling, 2, {9, 136}, false, "bits"}, false)->tensor[0],
                      FILL_BITS, 0, 0);
        case_set_fill(&new_case(list, (fp8_case){dtype, codes[i], scaling, 2, {3, 136}, false, "zero"}, false)->tensor[0],
                      FILL_CONSTANT, 0, 0);
        c = new_case(list, (fp8_case){dtype, codes[i], scaling, 2, {5, 264}, false, "infinite"}, false);
        case_set_fill(&c->tensor[0], FILL_CONSTANT, -INFINITY, 0);
        c = new_case(list, (fp8_case){dtype, codes[i], scaling, 2, {3, 264}, false, "nan"}, false);
        case_set_fill(&c->tensor[0], FILL_CONSTANT, NAN, 0);
        c = new_case(list, (fp8_case){dtype, codes[i], scaling, 2, {20, 264}, false, "small above 1e-4"}, false);
        case_set_fill(&c->tensor[0], FILL_NORMAL, 0, 4e-5);
        CASE_ARGS(c, fp8_quantize)->amax_least = 1e-4f;
        c = new_case(list, (fp8_case){dtype, codes[i], scaling, 2, {20, 264}, false, "power of two"}, false);
        CASE_ARGS(c, fp8_quantize)->power_of_two = 1;
        /* amax is largest, and a power of two times it: quotients that are powers of two already */
        c = new_case(list, (fp8_case){dtype, codes[i], scaling, 2, {3, 128}, false, "exact power of two"}, false);
        case_set_fill(&c->tensor[0], FILL_CONSTANT, -4 * largest_of(codes[i]) / (dtype == TRINE_F16 ? 64 : 1), 0);
        CASE_ARGS(c, fp8_quantize)->power_of_two = 1;
        c = new_case(list, (fp8_case){dtype, codes[i], scaling, 2, {20, 264}, false, "large power of two"}, false);
        case_set_fill(&c->tensor[0], FILL_SPECIAL, 0, 0);
        CASE_ARGS(c, fp8_quantize)->power_of_two = 1;
        CASE_ARGS(c, fp8_quantize)->amax_least = 0x1p-100f;
    }
}

static void check_cases(case_list *list, bool back)
{
    for (int d = 0; d < 3; d++)
        for (int scaling = 0; scaling < TRINE_FP8_SCALING_COUNT; scaling++) {
            shapes(list, case_floats[d], (trine_fp8_scaling)scaling, back);
            layouts(list, case_floats[d], (trine_fp8_scaling)scaling, back);
            if (!back) values(list, case_floats[d], (trine_fp8_scaling)scaling);
            for (int i = 0; i < 4 && back; i++) {
                const fp8_case f = {case_floats[d], codes[i], (trine_fp8_scaling)scaling, 2, {40, 200}, false, "special"};
                case_set_fill(&new_case(list, f, back)->tensor[1], FILL_SPECIAL, 0, 0);
            }
        }
}

/* ---- What is timed ---- */

static void bench_cases(case_list *list, bool back)
{
    for (int d = 0; d < 3; d += 2) /* f32 and bf16 */
        for (int scaling = 0; scaling < TRINE_FP8_SCALING_COUNT; scaling++) {
            fp8_case f = {case_floats[d], TRINE_F8_E4M3FN, (trine_fp8_scaling)scaling, 2, {16384, 8192}, false, "normal"};
            fp8_case given = f, fnuz = f;
            given.given = true;
            fnuz.code = TRINE_F8_E4M3FNUZ;
            if (!back && scaling == 0) { /* the check takes all of it */
                new_case(list, given, back);
                f.shape[0] = fnuz.shape[0] = 8192;
            }
            new_case(list, f, back);
            if (d > 0 && (back || scaling > 0)) new_case(list, fnuz, back);
        }
    new_case(list, (fp8_case){TRINE_BF16, TRINE_F8_E5M2, TRINE_FP8_PER_ROW, 2, {16384, 8192}, false, "normal"}, back);
    new_case(list, (fp8_case){TRINE_BF16, TRINE_F8_E5M2FNUZ, TRINE_FP8_PER_ROW, 2, {16384, 8192}, false, "normal"}, back);
    new_case(list, (fp8_case){TRINE_BF16, TRINE_F8_E4M3FN, TRINE_FP8_PER_ROW, 2, {131072, 1024}, false, "normal"}, back);
    new_case(list, (fp8_case){TRINE_BF16, TRINE_F8_E4M3FN, TRINE_FP8_PER_ROW, 2, {4096, 32768}, false, "normal"}, back);
    new_case(list, (fp8_case){TRINE_BF16, TRINE_F8_E4M3FN, TRINE_FP8_PER_TENSOR, 2, {2048, 4096}, false, "normal"}, back);
    if (!back) return; /* outputs of timed cases are contiguous */
    /* the activations of DeepSeek-V3, scales column by column */
    test_case *c =
        new_case(list, (fp8_case){TRINE_BF16, TRINE_F8_E4M3FN, TRINE_FP8_PER_1X128, 2, {16384, 7168}, false, "columns"}, back);
    c->tensor[1].layout = LAYOUT_TRANSPOSED;
}

static void fp8_cases(case_list *list, case_kind kind, bool back)
{
    if (kind == CASES_BENCH)
        bench_cases(list, back);
    else
        check_cases(list, back);
}

void cases_fp8_quantize(case_list *list, case_kind kind) { fp8_cases(list, kind, false); }

void cases_fp8_dequantize(case_list *list, case_kind kind) { fp8_cases(list, kind, true); }

SIZES_OF(fp8_quantize)
{
    new_case(list, (fp8_case){dtype, TRINE_F8_E4M3FN, TRINE_FP8_PER_ROW, 2, {rows, n}, false, "normal"}, false);
}

void cases_fp8_matmul(case_list *list, case_kind kind) { fp8_matmul_cases(list, kind); }
