/* Cases of the quantize family: exact bits on every backend, but nf4_matmul (nf4_matmul.h). Oracles do in f64 what the headers say of f32: products and sums of
 * f32 round once to f32 there, and so do quotients (a double rounding of a quotient of f32 by way of f64 is harmless: Figueroa
 * 1995). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/dynamic_map.h"
#include "core/nf4.h"
#include "tests/cases/cases.h"
#include "tests/cases/nf4_matmul.h"

/* ---- nf4 ---- */

static const float values[] = TRINE_NF4_VALUES, thresholds[] = TRINE_NF4_THRESHOLDS;

/* The code book is symmetric in nothing, but ordered, and its thresholds lie halfway between neighbours. */
static void check_book(void)
{
    bool good = values[0] == -1 && values[TRINE_NF4_ZERO] == 0 && values[15] == 1;
    for (int i = 0; i < 15; i++)
        good = good && values[i] < values[i + 1] &&
               fabs(((double)values[i] + (double)values[i + 1]) / 2 - (double)thresholds[i]) < 2e-7;
    if (good) return;
    fprintf(stderr, "trine: nf4's thresholds are not halfway between its values\n");
    exit(3);
}

static float absmax_of(const case_tensor *x, int64_t block)
{
    double most = 0;
    for (int64_t i = block * TRINE_NF4_BLOCK; i < (block + 1) * TRINE_NF4_BLOCK && i < x->numel; i++)
        if (fabs(case_value(x, i)) > most) most = fabs(case_value(x, i));
    return (float)most;
}

static unsigned code_of(const case_tensor *x, int64_t i, float absmax)
{
    unsigned code = 0;
    if (i >= x->numel || absmax < TRINE_NF4_LEAST || absmax == INFINITY) return TRINE_NF4_ZERO;
    const float inverse = (float)(1.0 / (double)absmax), v = (float)(case_value(x, i) * (double)inverse);
    if (v != v) return TRINE_NF4_ZERO;
    while (code < 15 && v > thresholds[code]) code++;
    return code;
}

/* Everything at once: codes and scales have no slices in common. */
static void oracle_nf4_quantize(const test_case *c, int64_t unit, void *const *out)
{
    const case_tensor *x = case_find(c, "x");
    (void)unit;
    for (int64_t i = 0; i < x->numel; i += 2) {
        const float absmax = absmax_of(x, i / TRINE_NF4_BLOCK);
        ((unsigned char *)out[0])[i / 2] = (unsigned char)(code_of(x, i, absmax) << 4 | code_of(x, i + 1, absmax));
        if (i % TRINE_NF4_BLOCK == 0) ((float *)out[1])[i / TRINE_NF4_BLOCK] = absmax < TRINE_NF4_LEAST ? 0 : absmax;
    }
}

static test_case *new_nf4_quantize(case_list *list, trine_dtype dtype, int64_t rows, int64_t cols, const char *what)
{
    const int64_t n = rows * cols;
    test_case *c =
        case_new(list, TRINE_OP_nf4_quantize, "%s %s %lldx%lld", trine_dtype_name(dtype), what, (long long)rows, (long long)cols);
    case_in(c, "x", dtype, SHAPE(rows, cols));
    case_out(c, "codes", TRINE_U8, SHAPE((n + 1) / 2));
    case_out(c, "absmax", TRINE_F32, SHAPE((n + TRINE_NF4_BLOCK - 1) / TRINE_NF4_BLOCK));
    c->units = n ? 1 : 0;
    c->oracle_bits = oracle_nf4_quantize;
    c->vendor_exact = true;
    c->flops = 20.0 * (double)n;
    case_count_bytes(c);
    return c;
}

static const int64_t sizes[] = {0, 1, 2, 63, 64, 65, 127, 128, 1031, 4096, 4160, 16384};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

void cases_nf4_quantize(case_list *list, case_kind kind)
{
    for (int d = 0; d < 3 && kind == CASES_BENCH; d++) new_nf4_quantize(list, case_floats[d], 4096, 4096, "normal");
    if (kind == CASES_BENCH) return;
    check_book();
    for (int d = 0; d < 3; d++) {
        for (int s = 0; s < SIZES; s++) {
            new_nf4_quantize(list, case_floats[d], 1, sizes[s], "normal");
            case_set_fill(&new_nf4_quantize(list, case_floats[d], 1, sizes[s], "special")->tensor[0], FILL_SPECIAL, 0, 0);
        }
        case_set_fill(&new_nf4_quantize(list, case_floats[d], 37, 53, "bits")->tensor[0], FILL_BITS, 0, 0);
        case_set_fill(&new_nf4_quantize(list, case_floats[d], 3, 111, "zeros")->tensor[0], FILL_CONSTANT, 0, 0);
        case_set_fill(&new_nf4_quantize(list, case_floats[d], 3, 111, "whole")->tensor[0], FILL_INTEGERS, -7, 7);
        case_set_layout(new_nf4_quantize(list, case_floats[d], 7, 131, "view"), LAYOUT_OFFSET);
    }
}

static void oracle_nf4_dequantize(const test_case *c, int64_t unit, void *const *out)
{
    const int64_t i = unit + ((const trine_nf4_dequantize_args *)(const void *)c->args)->offset;
    const unsigned pair = (unsigned)case_value_i64(case_find(c, "codes"), i / 2), code = i % 2 ? pair & 15 : pair >> 4;
    const float y = (float)((double)values[code] * case_value(case_find(c, "absmax"), i / TRINE_NF4_BLOCK));
    trine_convert(&y, TRINE_F32, out[0], case_find(c, "y")->dtype, 1);
}

static test_case *new_nf4_dequantize(case_list *list, trine_dtype dtype, int64_t offset, int64_t n, int64_t all)
{
    test_case *c = case_new(list, TRINE_OP_nf4_dequantize, "%s %lld from %lld of %lld", trine_dtype_name(dtype), (long long)n,
                            (long long)offset, (long long)all);
    case_set_fill(case_in(c, "codes", TRINE_U8, SHAPE((all + 1) / 2)), FILL_BITS, 0, 0);
    case_set_fill(case_in(c, "absmax", TRINE_F32, SHAPE((all + TRINE_NF4_BLOCK - 1) / TRINE_NF4_BLOCK)), FILL_UNIFORM, 0, 3);
    case_out(c, "y", dtype, SHAPE(n));
    CASE_ARGS(c, nf4_dequantize)->offset = offset;
    c->units = n;
    c->oracle_bits = oracle_nf4_dequantize;
    c->vendor_exact = true;
    c->flops = (double)n;
    case_count_bytes(c);
    return c;
}

void cases_nf4_dequantize(case_list *list, case_kind kind)
{
    for (int d = 0; d < 3 && kind == CASES_BENCH; d++) new_nf4_dequantize(list, case_floats[d], 0, 1 << 27, 1 << 27);
    for (int d = 0; d < 3 && kind == CASES_CHECK; d++) {
        for (int s = 0; s < SIZES; s++) new_nf4_dequantize(list, case_floats[d], 0, sizes[s], sizes[s]);
        new_nf4_dequantize(list, case_floats[d], 1, 1030, 1031);
        new_nf4_dequantize(list, case_floats[d], 64, 1500, 4096);
        new_nf4_dequantize(list, case_floats[d], 72, 1496, 4096);
        new_nf4_dequantize(list, case_floats[d], 333, 200, 4096);
        new_nf4_dequantize(list, case_floats[d], 4095, 1, 4096);
        new_nf4_dequantize(list, case_floats[d], 4096, 0, 4096);
        case_set_layout(new_nf4_dequantize(list, case_floats[d], 8, 1024, 2048), LAYOUT_OFFSET);
    }
}

/* ---- Scales of nf4 ---- */

/* An independent construction: all values, then sorted. */
static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void check_map(const trine_dynamic_map *map)
{
    float all[256] = {0, 1};
    int n = 2;
    for (int i = 0; i < 7; i++)
        for (int k = 0; k < 1 << i; k++) {
            const double low = 0.1 + 0.9 * k / (1 << i), high = 0.1 + 0.9 * (k + 1) / (1 << i);
            all[n++] = (float)(pow(10, i - 6) * (low + high) / 2);
            all[n] = -all[n - 1];
            n++;
        }
    qsort(all, 256, sizeof *all, by_value);
    for (int i = 0; i < 256; i++)
        if (n != 256 || fabsf(all[i] - map->value[i]) > 0x1p-22f * fabsf(all[i])) {
            fprintf(stderr, "trine: value %d of the dynamic map is %g and should be %g\n", i, (double)map->value[i],
                    (double)all[i]);
            exit(3);
        }
}

static float mean_of(const case_tensor *absmax)
{
    double sum = 0;
    for (int64_t first = 0; first < absmax->numel; first += TRINE_ABSMAX_BLOCK) {
        double part = 0;
        for (int64_t i = first; i < absmax->numel && i < first + TRINE_ABSMAX_BLOCK; i++) part += case_value(absmax, i);
        sum += part;
    }
    return (float)(sum / (double)absmax->numel);
}

static unsigned char map_code(const trine_dynamic_map *map, float v)
{
    int code = 0;
    while (code < 255 && v > map->middle[code]) code++;
    return (unsigned char)code;
}

static void oracle_absmax_quantize(const test_case *c, int64_t unit, void *const *out)
{
    const bool linear = ((const trine_absmax_quantize_args *)(const void *)c->args)->kind == TRINE_ABSMAX_LINEAR;
    const case_tensor *absmax = case_find(c, "absmax");
    trine_dynamic_map map;
    (void)unit;
    trine_dynamic_map_make(&map);
    const float mean = linear ? 0 : mean_of(absmax);
    if (!linear) *(float *)out[2] = mean;
    for (int64_t first = 0; first < absmax->numel; first += TRINE_ABSMAX_BLOCK) {
        const int64_t end = first + TRINE_ABSMAX_BLOCK < absmax->numel ? first + TRINE_ABSMAX_BLOCK : absmax->numel;
        float most = 0;
        for (int64_t i = first; i < end; i++) most = fmaxf(most, fabsf((float)case_value(absmax, i) - mean));
        float scale = linear ? (float)((double)most / 255) : most;
        if (scale < TRINE_NF4_LEAST) scale = 0;
        for (int64_t i = first; i < end; i++) {
            const float v = (float)case_value(absmax, i) - mean;
            unsigned char code = linear ? 0 : TRINE_DYNAMIC_MAP_ZERO;
            if (scale > 0)
                code = linear ? (unsigned char)nearbyint((double)(float)((double)v / (double)scale))
                              : map_code(&map, (float)((double)v * (double)(float)(1 / (double)scale)));
            ((unsigned char *)out[0])[i] = code;
        }
        ((float *)out[1])[first / TRINE_ABSMAX_BLOCK] = scale;
    }
}

static void oracle_absmax_dequantize(const test_case *c, int64_t unit, void *const *out)
{
    const bool linear = ((const trine_absmax_dequantize_args *)(const void *)c->args)->kind == TRINE_ABSMAX_LINEAR;
    const int64_t code = case_value_i64(case_find(c, "codes"), unit);
    const double scale = case_value(case_find(c, "scale"), unit / TRINE_ABSMAX_BLOCK);
    trine_dynamic_map map;
    trine_dynamic_map_make(&map);
    const float product = (float)((linear ? (double)code : (double)map.value[code]) * scale);
    *(float *)out[0] = linear ? product : (float)((double)product + case_value(case_find(c, "mean"), 0));
}

static test_case *new_absmax(case_list *list, bool back, trine_absmax_kind kind, int64_t n, const char *what)
{
    test_case *c = case_new(list, back ? TRINE_OP_absmax_dequantize : TRINE_OP_absmax_quantize, "%s %s %lld",
                            kind == TRINE_ABSMAX_LINEAR ? "linear" : "dynamic", what, (long long)n);
    case_tensor *(*const first)(test_case *, const char *, trine_dtype, int32_t, const int64_t *) = back ? case_out : case_in;
    case_tensor *(*const rest)(test_case *, const char *, trine_dtype, int32_t, const int64_t *) = back ? case_in : case_out;
    if (!back) case_set_fill(first(c, "absmax", TRINE_F32, SHAPE(n)), FILL_UNIFORM, 0.01, 3);
    case_tensor *codes = rest(c, "codes", TRINE_U8, SHAPE(n));
    case_tensor *scale = rest(c, "scale", TRINE_F32, SHAPE((n + TRINE_ABSMAX_BLOCK - 1) / TRINE_ABSMAX_BLOCK));
    if (back) case_set_fill(codes, FILL_BITS, 0, 0);
    if (back) case_set_fill(scale, FILL_UNIFORM, 0.01, 1);
    if (kind == TRINE_ABSMAX_DYNAMIC) rest(c, "mean", TRINE_F32, SHAPE(1));
    if (back) first(c, "absmax", TRINE_F32, SHAPE(n));
    if (back)
        CASE_ARGS(c, absmax_dequantize)->kind = kind;
    else
        CASE_ARGS(c, absmax_quantize)->kind = kind;
    c->units = back ? n : n ? 1 : 0;
    c->oracle_bits = back ? oracle_absmax_dequantize : oracle_absmax_quantize;
    c->vendor_exact = true;
    c->flops = 20.0 * (double)n;
    case_count_bytes(c);
    return c;
}

static void absmax_cases(case_list *list, case_kind kind, bool back)
{
    static const int64_t lengths[] = {0, 1, 2, 255, 256, 257, 1031, 4099, 300001};
    for (int k = 0; k < 2 && kind == CASES_BENCH; k++) new_absmax(list, back, (trine_absmax_kind)k, 1 << 20, "uniform");
    for (int k = 0; k < 2 && kind == CASES_CHECK; k++) {
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
            new_absmax(list, back, (trine_absmax_kind)k, lengths[i], "uniform");
        case_set_fill(&new_absmax(list, back, (trine_absmax_kind)k, 600, "equal")->tensor[0], FILL_CONSTANT, 3, 0);
        case_set_fill(&new_absmax(list, back, (trine_absmax_kind)k, 600, "zero")->tensor[0], FILL_CONSTANT, 0, 0);
        case_set_layout(new_absmax(list, back, (trine_absmax_kind)k, 1031, "view"), LAYOUT_OFFSET);
    }
}

void cases_absmax_quantize(case_list *list, case_kind kind)
{
    trine_dynamic_map map;
    trine_dynamic_map_make(&map);
    check_map(&map);
    absmax_cases(list, kind, false);
}

void cases_absmax_dequantize(case_list *list, case_kind kind) { absmax_cases(list, kind, true); }

/* ---- int8 ---- */

/* A unit has one scale: all, or a row. */
static void oracle_int8_quantize(const test_case *c, int64_t unit, void *const *out)
{
    const case_tensor *x = case_find(c, "x"), *given = case_find(c, "given_scale");
    const int64_t n = x->numel / c->units, first = unit * n;
    double most = 0;
    for (int64_t i = first; i < first + n && !given; i++)
        if (fabs(case_value(x, i)) > most) most = fabs(case_value(x, i));
    const float scale = given ? (float)case_value(given, given->numel > 1 ? unit : 0) : (float)(most / 127);
    if (!given) *(float *)out[1] = scale;
    for (int64_t i = first; i < first + n; i++) {
        const double q = nearbyint((double)(float)(case_value(x, i) / (double)scale));
        ((signed char *)out[0])[i - first] = (signed char)(scale == 0 || isnan(q) ? 0 : fmin(fmax(q, -127), 127));
    }
}

static void oracle_int8_dequantize(const test_case *c, int64_t unit, void *const *out)
{
    const case_tensor *q = case_find(c, "q"), *scales = case_find(c, "scale");
    const float y = (float)(case_value(q, unit) * case_value(scales, unit / (q->numel / scales->numel)));
    trine_convert(&y, TRINE_F32, out[0], case_find(c, "y")->dtype, 1);
}

typedef enum int8_way { INT8_DYNAMIC, INT8_GIVEN, INT8_BACK } int8_way;

static test_case *new_int8(case_list *list, int8_way way, trine_dtype dtype, int64_t rows, int64_t cols, bool all,
                           const char *what)
{
    const bool back = way == INT8_BACK;
    test_case *c =
        case_new(list, back ? TRINE_OP_int8_dequantize : TRINE_OP_int8_quantize, "%s %s%s %s %lldx%lld", trine_dtype_name(dtype),
                 way == INT8_GIVEN ? "given " : "", all ? "tensor" : "rows", what, (long long)rows, (long long)cols);
    const int64_t scales = all ? 1 : rows;
    if (back) {
        case_set_fill(case_in(c, "q", TRINE_I8, SHAPE(rows, cols)), FILL_BITS, 0, 0);
        case_set_fill(case_in(c, "scale", TRINE_F32, SHAPE(scales)), FILL_UNIFORM, 0.001, 0.1);
        case_out(c, "y", dtype, SHAPE(rows, cols));
    } else {
        case_in(c, "x", dtype, SHAPE(rows, cols));
        case_out(c, "q", TRINE_I8, SHAPE(rows, cols));
        if (way == INT8_GIVEN)
            case_set_fill(case_in(c, "given_scale", TRINE_F32, SHAPE(scales)), FILL_UNIFORM, 0.005, 0.05);
        else
            case_out(c, "scale", TRINE_F32, SHAPE(scales));
    }
    c->units = back ? rows * cols : way == INT8_GIVEN ? rows : scales;
    c->oracle_bits = back ? oracle_int8_dequantize : oracle_int8_quantize;
    c->vendor_exact = true;
    c->flops = 6.0 * (double)(rows * cols);
    case_count_bytes(c);
    /* the scale for all is known when all has been read */
    if (way == INT8_DYNAMIC && all) c->bytes += (double)(rows * cols) * trine_dtype_bits(dtype) / 8;
    return c;
}

/* Scales are contiguous whatever the others are. */
static void int8_layout(test_case *c, case_layout layout)
{
    case_set_layout(c, layout);
    for (int32_t t = 0; t < c->tensor_count; t++)
        if (c->tensor[t].ndim == 1 && layout != LAYOUT_OFFSET) c->tensor[t].layout = LAYOUT_DENSE;
}

static void int8_cases(case_list *list, case_kind kind, int8_way way)
{
    static const int64_t shapes[][2] = {{0, 7},    {5, 0},    {1, 1},     {3, 7},    {33, 64},
                                        {5, 1031}, {2, 4104}, {3, 33000}, {300, 16}, {2, 300000}};
    for (int d = 0; d < 3 && kind == CASES_BENCH; d++) {
        new_int8(list, way, case_floats[d], 16384, 8192, false, "normal");
        new_int8(list, way, case_floats[d], 8192, 8192, true, "normal");
    }
    for (int d = 0; d < 3 && kind == CASES_CHECK; d++)
        for (int all = 0; all < 2; all++) {
            for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
                new_int8(list, way, case_floats[d], shapes[s][0], shapes[s][1], all, "normal");
            for (int layout = 1; layout < LAYOUT_COUNT; layout++)
                int8_layout(new_int8(list, way, case_floats[d], 9, 136, all, "view"), (case_layout)layout);
            if (way == INT8_BACK) continue;
            test_case *c = new_int8(list, way, case_floats[d], 40, 37, all, "special");
            case_set_fill(&c->tensor[0], FILL_SPECIAL, 0, 0);
            if (way == INT8_GIVEN) case_set_fill(&c->tensor[2], FILL_SPECIAL, 0, 0);
            case_set_fill(&new_int8(list, way, case_floats[d], 4, 37, all, "zero")->tensor[0], FILL_CONSTANT, 0, 0);
            /* scales whose reciprocals are no normal numbers */
            case_set_fill(&new_int8(list, way, case_floats[d], 4, 137, all, "tiny")->tensor[0], FILL_NORMAL, 0, 3e-39);
            /* quotients in the middle between two codes */
            c = new_int8(list, way, case_floats[d], 5, 1031, all, "halves");
            case_set_fill(&c->tensor[0], FILL_INTEGERS, -127, 127);
            if (way == INT8_GIVEN) case_set_fill(&c->tensor[2], FILL_CONSTANT, 2, 0);
        }
}

void cases_int8_quantize(case_list *list, case_kind kind)
{
    int8_cases(list, kind, INT8_DYNAMIC);
    int8_cases(list, kind, INT8_GIVEN);
}

void cases_int8_dequantize(case_list *list, case_kind kind) { int8_cases(list, kind, INT8_BACK); }

/* ---- Fake quantisation ---- */

/* round(x / scale), NaN where that is none. */
static double level_of(const test_case *c, int64_t i)
{
    const case_tensor *x = case_find(c, "x"), *scale = case_find(c, "scale");
    const float q = (float)(case_value(x, i) / case_value(scale, case_broadcast_index(scale, x, i)));
    return nearbyint((double)q);
}

static void oracle_fake(const test_case *c, int64_t unit, double *const *out)
{
    const trine_fake_quantize_args *a = (const trine_fake_quantize_args *)(const void *)c->args;
    const case_tensor *x = case_find(c, "x"), *scale = case_find(c, "scale");
    const double level = level_of(c, unit),
                 q = fmin(fmax(isnan(level) ? 0 : level, a->low - a->zero_point), a->high - a->zero_point);
    const float y = (float)(q * case_value(scale, case_broadcast_index(scale, x, unit)));
    unsigned char bits[8];
    trine_convert(&y, TRINE_F32, bits, x->dtype, 1);
    trine_convert(bits, x->dtype, out[0], TRINE_F64, 1);
}

static void oracle_fake_backward(const test_case *c, int64_t unit, double *const *out)
{
    const trine_fake_quantize_backward_args *a = (const trine_fake_quantize_backward_args *)(const void *)c->args;
    const double q = level_of(c, unit) + a->zero_point;
    out[0][0] = q < a->low || q > a->high ? 0 : case_value(case_find(c, "dy"), unit);
}

typedef struct fake_case {
    trine_dtype dtype;
    int64_t rows, cols, scale_rows, scale_cols;
    int32_t low, high, zero_point;
    const char *what;
} fake_case;

/* Tolerances of 0: exact but for which NaN a NaN is. */
static test_case *new_fake(case_list *list, fake_case f, bool backward)
{
    test_case *c =
        case_new(list, backward ? TRINE_OP_fake_quantize_backward : TRINE_OP_fake_quantize,
                 "%s %s %d to %d zero %d scale %lldx%lld %lldx%lld", trine_dtype_name(f.dtype), f.what, (int)f.low, (int)f.high,
                 (int)f.zero_point, (long long)f.scale_rows, (long long)f.scale_cols, (long long)f.rows, (long long)f.cols);
    case_in(c, "x", f.dtype, SHAPE(f.rows, f.cols));
    case_set_fill(case_in(c, "scale", TRINE_F32, SHAPE(f.scale_rows, f.scale_cols)), FILL_UNIFORM, 0.005, 0.03);
    if (backward) case_in(c, "dy", f.dtype, SHAPE(f.rows, f.cols));
    case_out(c, backward ? "dx" : "y", f.dtype, SHAPE(f.rows, f.cols));
    if (backward) {
        trine_fake_quantize_backward_args *a = CASE_ARGS(c, fake_quantize_backward);
        a->low = f.low, a->high = f.high, a->zero_point = f.zero_point;
    } else {
        trine_fake_quantize_args *a = CASE_ARGS(c, fake_quantize);
        a->low = f.low, a->high = f.high, a->zero_point = f.zero_point;
    }
    c->units = f.rows * f.cols;
    c->oracle = backward ? oracle_fake_backward : oracle_fake;
    c->vendor_exact = true;
    c->flops = 8.0 * (double)c->units;
    case_count_bytes(c);
    return c;
}

static void fake_cases(case_list *list, case_kind kind, bool backward)
{
    for (int d = 0; d < 3 && kind == CASES_BENCH; d++) {
        new_fake(list, (fake_case){case_floats[d], 16384, 8192, 1, 1, -128, 127, 0, "normal"}, backward);
        new_fake(list, (fake_case){case_floats[d], 16384, 8192, 16384, 1, -128, 127, 0, "normal"}, backward);
    }
    static const int64_t shapes[][2] = {{1, 0}, {1, 1}, {3, 7}, {33, 64}, {5, 1031}, {2, 4104}};
    for (int d = 0; d < 3 && kind == CASES_CHECK; d++) {
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            const int64_t rows = shapes[s][0], cols = shapes[s][1];
            new_fake(list, (fake_case){case_floats[d], rows, cols, 1, 1, -128, 127, 0, "normal"}, backward);
            new_fake(list, (fake_case){case_floats[d], rows, cols, rows, 1, 0, 255, 117, "normal"}, backward);
            new_fake(list, (fake_case){case_floats[d], rows, cols, 1, cols, -8, 7, -2, "normal"}, backward);
        }
        case_set_fill(&new_fake(list, (fake_case){case_floats[d], 3, 1031, 1, 1, -128, 127, 5, "special"}, backward)->tensor[0],
                      FILL_SPECIAL, 0, 0);
        /* quotients in the middle between two levels */
        test_case *c = new_fake(list, (fake_case){case_floats[d], 3, 1031, 1, 1, -128, 127, 0, "halves"}, backward);
        case_set_fill(&c->tensor[0], FILL_INTEGERS, -300, 300);
        case_set_fill(&c->tensor[1], FILL_CONSTANT, 2, 0);
        for (int layout = 1; layout < LAYOUT_COUNT; layout++)
            case_set_layout(new_fake(list, (fake_case){case_floats[d], 33, 64, 33, 1, -128, 127, 0, "view"}, backward),
                            (case_layout)layout);
        case_set_inplace(new_fake(list, (fake_case){case_floats[d], 5, 1031, 1, 1, -8, 7, 0, "onto x"}, backward),
                         backward ? "dx" : "y", "x");
    }
}

void cases_fake_quantize(case_list *list, case_kind kind) { fake_cases(list, kind, false); }

void cases_fake_quantize_backward(case_list *list, case_kind kind) { fake_cases(list, kind, true); }
