/* Cases of the random family, by the Philox of tests/cases/philox.h. dropout and uniform are exact on every backend; normal is
 * compared with Box and Muller's formulas in f64. */
#include <float.h>
#include <math.h>

#include "tests/cases/cases.h"
#include "tests/cases/sizes.h"
#include "tests/cases/philox.h"

/* Counters that carry into their upper half inside a tensor, wrap around, or lie far beyond 2^32; keys with both halves. */
static const struct {
    const char *name;
    uint64_t seed, offset;
} starts[] = {{"from 0", 0, 0},
              {"seed 42", 42, 5},
              {"carry", 0x123456789abcdef0u, 0xfffffffeu},
              {"far", ~(uint64_t)0, (uint64_t)1 << 40 | 7},
              {"wrap", 0xfedcba9876543210u, ~(uint64_t)0 - 2}};
enum { STARTS = sizeof starts / sizeof starts[0] };

static const int64_t sizes[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 64, 1031, 4099};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static double rounded_to(float value, trine_dtype dtype)
{
    unsigned char bits[8];
    double y;
    trine_convert(&value, TRINE_F32, bits, dtype, 1);
    trine_convert(bits, dtype, &y, TRINE_F64, 1);
    return y;
}

/* ---- dropout ---- */

static void oracle_dropout(const test_case *c, int64_t unit, double *const *out)
{
    const trine_dropout_args *a = (const trine_dropout_args *)(const void *)c->args;
    const case_tensor *x = case_find(c, "x");
    bool keep = philox_word(a->seed, a->offset, (uint64_t)unit) >= floor((double)a->p * 0x1p32);
    float factor = 1.0f / (1.0f - a->p);
    out[0][0] = keep ? rounded_to((float)(case_value(x, unit) * factor), x->dtype) : 0; /* the product is exact in f64 */
    if (case_find(c, "mask")) out[1][0] = keep;
}

typedef struct dropout_case {
    trine_dtype dtype, mask; /* mask: TRINE_DTYPE_NONE for none */
    int64_t rows, cols;
    float p;
    int start;
} dropout_case;

static test_case *new_dropout(case_list *list, dropout_case d)
{
    bool masked = d.mask != TRINE_DTYPE_NONE;
    test_case *c =
        case_new(list, TRINE_OP_dropout, "%s%s%s p %g %s %lldx%lld", trine_dtype_name(d.dtype), masked ? " mask " : "",
                 masked ? trine_dtype_name(d.mask) : "", (double)d.p, starts[d.start].name, (long long)d.rows, (long long)d.cols);
    case_set_fill(case_in(c, "x", d.dtype, SHAPE(d.rows, d.cols)), FILL_SPECIAL, 0, 1);
    case_out(c, "y", d.dtype, SHAPE(d.rows, d.cols));
    if (masked) case_out(c, "mask", d.mask, SHAPE(d.rows, d.cols));
    trine_dropout_args *a = CASE_ARGS(c, dropout);
    a->p = d.p;
    a->seed = starts[d.start].seed;
    a->offset = starts[d.start].offset;
    c->units = d.rows * d.cols;
    c->oracle = oracle_dropout; /* tolerances of 0: exact but for the bits of a NaN */
    c->vendor_exact = true;
    c->work *= 32;
    c->flops = (double)c->units;
    case_count_bytes(c);
    return c;
}

/* The mask must be contiguous whatever the others are. */
static void dropout_views(case_list *list)
{
    for (int layout = 1; layout < LAYOUT_COUNT; layout++)
        for (int d = 0; d < 3; d++) {
            test_case *c = new_dropout(list, (dropout_case){case_floats[d], TRINE_BOOL, 9, 1031, 0.3f, 2});
            case_set_layout(c, (case_layout)layout);
            c->tensor[2].layout = LAYOUT_DENSE;
            c = new_dropout(list, (dropout_case){case_floats[d], TRINE_U8, 33, 64, 0.3f, 1});
            case_set_layout(c, (case_layout)layout);
            c->tensor[1].layout = layout == LAYOUT_STRIDED ? LAYOUT_TRANSPOSED : LAYOUT_DENSE; /* x and y apart */
            c->tensor[2].layout = layout == LAYOUT_OFFSET ? LAYOUT_OFFSET : LAYOUT_DENSE;
            case_set_layout(new_dropout(list, (dropout_case){case_floats[d], TRINE_DTYPE_NONE, 5, 7, 0.5f, 1}),
                            (case_layout)layout);
        }
}

void cases_dropout(case_list *list, case_kind kind)
{
    static const float rates[] = {0, 0.1f, 0.5f, 0.999f};
    for (int d = 0; d < 6 && kind == CASES_BENCH; d++) {
        const dropout_case k = {case_floats[d / 2], d % 2 ? TRINE_BOOL : TRINE_DTYPE_NONE, 16384, 8192, 0.1f, 1};
        case_set_fill(&new_dropout(list, k)->tensor[0], FILL_NORMAL, 0, 1);
    }
    for (int d = 0; d < 3 && kind == CASES_CHECK; d++) {
        for (int r = 0; r < 4; r++)
            for (int s = 0; s < STARTS; s++)
                new_dropout(list,
                            (dropout_case){case_floats[d], (r + s) % 2 ? TRINE_BOOL : TRINE_DTYPE_NONE, 3, 1031, rates[r], s});
        for (int n = 0; n < SIZES; n++) {
            new_dropout(list, (dropout_case){case_floats[d], TRINE_DTYPE_NONE, 1, sizes[n], 0.5f, 1});
            new_dropout(list, (dropout_case){case_floats[d], TRINE_U8, 1, sizes[n], 0.5f, 1});
        }
        case_set_inplace(new_dropout(list, (dropout_case){case_floats[d], TRINE_BOOL, 5, 1031, 0.1f, 1}), "y", "x");
    }
    if (kind == CASES_CHECK) dropout_views(list);
}

SIZES_OF(dropout)
{
    case_set_fill(&new_dropout(list, (dropout_case){dtype, TRINE_DTYPE_NONE, rows, n, 0.1f, 1})->tensor[0], FILL_NORMAL, 0, 1);
}

/* ---- uniform ---- */

/* Both roundings are done from f64, where the product of two f32 is exact and the sum of two is rounded so far down that a second
 * rounding is harmless. */
static void oracle_uniform(const test_case *c, int64_t unit, void *const *out)
{
    const trine_uniform_args *a = (const trine_uniform_args *)(const void *)c->args;
    double u = (double)(philox_word(a->seed, a->offset, (uint64_t)unit) >> 8) * 0x1p-24;
    float range = a->high - a->low, product = (float)(range * u), sum = (float)((double)a->low + product);
    trine_convert(&sum, TRINE_F32, out[0], case_find(c, "y")->dtype, 1);
}

static test_case *new_uniform(case_list *list, trine_dtype dtype, int64_t rows, int64_t cols, float low, float high, int start)
{
    test_case *c = case_new(list, TRINE_OP_uniform, "%s %g to %g %s %lldx%lld", trine_dtype_name(dtype), (double)low,
                            (double)high, starts[start].name, (long long)rows, (long long)cols);
    case_out(c, "y", dtype, SHAPE(rows, cols));
    trine_uniform_args *a = CASE_ARGS(c, uniform);
    *a = (trine_uniform_args){.low = low, .high = high, .seed = starts[start].seed, .offset = starts[start].offset};
    c->units = rows * cols;
    c->oracle_bits = oracle_uniform;
    c->vendor_exact = true;
    c->work *= 32;
    c->flops = 2.0 * (double)c->units;
    case_count_bytes(c);
    return c;
}

void cases_uniform(case_list *list, case_kind kind)
{
    static const float ranges[][2] = {
        {0, 1}, {-1, 1}, {3, 3}, {-2.5f, 1000}, {-1e30f, 3e37f}, {0, 1e-40f}, {-FLT_MAX / 2, FLT_MAX / 2}};
    for (int d = 0; d < 3 && kind == CASES_BENCH; d++) new_uniform(list, case_floats[d], 16384, 8192, 0, 1, 1);
    for (int d = 0; d < 3 && kind == CASES_CHECK; d++) {
        for (size_t r = 0; r < sizeof ranges / sizeof ranges[0]; r++)
            new_uniform(list, case_floats[d], 3, 1031, ranges[r][0], ranges[r][1], (int)(r % STARTS));
        for (int s = 0; s < STARTS; s++) new_uniform(list, case_floats[d], 2, 517, 0, 1, s);
        for (int n = 0; n < SIZES; n++) new_uniform(list, case_floats[d], 1, sizes[n], -1, 1, 1);
        for (int layout = 1; layout < LAYOUT_COUNT; layout++) {
            case_set_layout(new_uniform(list, case_floats[d], 9, 1031, -1, 1, 2), (case_layout)layout);
            case_set_layout(new_uniform(list, case_floats[d], 33, 64, -1, 1, 1), (case_layout)layout);
        }
    }
}

/* ---- normal ---- */

static void oracle_normal(const test_case *c, int64_t unit, double *const *out)
{
    const trine_normal_args *a = (const trine_normal_args *)(const void *)c->args;
    uint32_t w0 = philox_word(a->seed, a->offset, (uint64_t)unit / 2 * 2),
             w1 = philox_word(a->seed, a->offset, (uint64_t)unit / 2 * 2 + 1);
    double u = ((double)(w0 >> 8) + 1) * 0x1p-24, turn = (double)(w1 >> 8) * 0x1p-24 * 2 * M_PI;
    double z = sqrt(-2 * log(u)) * (unit % 2 ? sin(turn) : cos(turn));
    out[0][0] = a->mean + a->std * z;
}

/* f32: a logarithm of 2 ulp whose root halves it, a sine of 2 ulp and four roundings: 6 ulp of std z; less the cancellation of
 * mean and std z, which makes an absolute error of mean's size; and sin(2 pi v) of the f64 oracle is 1e-16 where it should be 0.
 * 16 bits: a GPU's own sine and logarithm may serve, with 2^-20 of the radius, which is below 5.77, and 2^-17; all of it is far
 * below f16's rounding but near 0. */
static void set_normal_tolerance(test_case *c, trine_dtype dtype, double mean, double std)
{
    const double rtol = dtype == TRINE_F32 ? 6 * 0x1p-23 : 0x1p-17, radius = 5.77;
    case_tolerance(c, dtype, rtol, rtol * fabs(mean) + std * (dtype == TRINE_F32 ? 1e-15 : radius * 0x1p-20));
}

static test_case *new_normal(case_list *list, trine_dtype dtype, int64_t rows, int64_t cols, float mean, float std, int start)
{
    test_case *c = case_new(list, TRINE_OP_normal, "%s mean %g std %g %s %lldx%lld", trine_dtype_name(dtype), (double)mean,
                            (double)std, starts[start].name, (long long)rows, (long long)cols);
    case_out(c, "y", dtype, SHAPE(rows, cols));
    trine_normal_args *a = CASE_ARGS(c, normal);
    *a = (trine_normal_args){.mean = mean, .std = std, .seed = starts[start].seed, .offset = starts[start].offset};
    set_normal_tolerance(c, dtype, mean, std);
    c->units = rows * cols;
    c->oracle = oracle_normal;
    c->work *= 48;
    c->flops = 20.0 * (double)c->units;
    case_count_bytes(c);
    return c;
}

void cases_normal(case_list *list, case_kind kind)
{
    static const float laws[][2] = {{0, 1}, {3, 0.5f}, {-1, 0}, {1e-3f, 20}, {-100, 1e-3f}};
    for (int d = 0; d < 3 && kind == CASES_BENCH; d++) new_normal(list, case_floats[d], 16384, 8192, 0, 1, 1);
    for (int d = 0; d < 3 && kind == CASES_CHECK; d++) {
        for (size_t l = 0; l < sizeof laws / sizeof laws[0]; l++)
            new_normal(list, case_floats[d], 3, 1031, laws[l][0], laws[l][1], (int)(l % STARTS));
        for (int s = 0; s < STARTS; s++) new_normal(list, case_floats[d], 2, 517, 0, 1, s);
        for (int n = 0; n < SIZES; n++) new_normal(list, case_floats[d], 1, sizes[n], 0, 1, 1);
        new_normal(list, case_floats[d], 1, 200003, 0, 1, 3); /* long enough for rare words */
        for (int layout = 1; layout < LAYOUT_COUNT; layout++) {
            case_set_layout(new_normal(list, case_floats[d], 9, 1031, 0, 1, 2), (case_layout)layout);
            case_set_layout(new_normal(list, case_floats[d], 33, 64, 0, 1, 1), (case_layout)layout);
        }
    }
}
