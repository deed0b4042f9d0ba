/* Cases of the norm family.
 *
 * Bounds, with u = 2^-24, n the length of a row and k = |mean| / sqrt(var + eps) the condition of the centring: x - mean is off
 * by a few u |mean|, so y by (k + a few) u of the weight's size; sums of n terms add sqrt(n)/n of that, which is less. */
#include <math.h>
#include <string.h>

#include "tests/cases/cases.h"
#include "tests/cases/sizes.h"

static const double u = 0x1p-24;

typedef struct norm_case {
    trine_op op;
    trine_dtype dtype, parameters; /* NONE: without weight and bias */
    bool statistics;
    int32_t ndim;
    const int64_t *shape;
    case_layout layout;
    double mean, spread, eps;
} norm_case;

typedef enum norm_residual { NO_RESIDUAL, SUM_DROPPED, SUM_STORED } norm_residual;

static int64_t row_length(const test_case *c)
{
    const case_tensor *t = &c->tensor[0];
    return t->shape[t->ndim - 1];
}

/* Where the outputs go: y, and the statistics that the case has (else NULL), in the order of its tensors. */
typedef struct norm_outputs {
    double *y, *mean, *rstd, *sum;
} norm_outputs;

static norm_outputs outputs_of(const test_case *c, double *const *out)
{
    norm_outputs o = {NULL, NULL, NULL, NULL};
    o.y = *out++;
    if (case_find(c, "rstd") && c->op == TRINE_OP_layernorm) o.mean = *out++;
    if (case_find(c, "rstd")) o.rstd = *out++;
    if (case_find(c, "sum")) o.sum = *out;
    return o;
}

static double parameter(const case_tensor *t, int64_t i, double absent) { return t ? case_value(t, i) : absent; }

/* The n elements from `first` on of what is normalised: the sum as x's dtype has it, if there is a residual. */
static void normalised(const test_case *c, int64_t first, int64_t n, double *to)
{
    const case_tensor *x = case_find(c, "x"), *residual = case_find(c, "residual");
    enum { BLOCK = 256 };
    double more[BLOCK];
    float sum[BLOCK];
    unsigned char bits[BLOCK * sizeof(float)];
    case_values(x, first, n, to);
    for (int64_t at = 0, m; residual && at < n; at += m) {
        m = n - at < BLOCK ? n - at : BLOCK;
        case_values(residual, first + at, m, more);
        for (int64_t i = 0; i < m; i++) sum[i] = (float)(to[at + i] + more[i]);
        trine_convert(sum, TRINE_F32, bits, x->dtype, m);
        trine_convert(bits, x->dtype, to + at, TRINE_F64, m);
    }
}

static void oracle_layernorm(const test_case *c, int64_t unit, double *const *out)
{
    const norm_outputs o = outputs_of(c, out);
    const case_tensor *weight = case_find(c, "weight"), *bias = case_find(c, "bias");
    const int64_t n = row_length(c), first = unit * n;
    const double eps = ((const trine_layernorm_args *)(const void *)c->args)->eps;
    double mean = 0, var = 0;
    normalised(c, first, n, o.y);
    for (int64_t i = 0; i < n && o.sum; i++) o.sum[i] = o.y[i];
    for (int64_t i = 0; i < n; i++) mean += o.y[i];
    mean /= (double)n;
    for (int64_t i = 0; i < n; i++) var += (o.y[i] - mean) * (o.y[i] - mean);
    const double rstd = 1 / sqrt(var / (double)n + eps);
    for (int64_t i = 0; i < n; i++) o.y[i] = (o.y[i] - mean) * rstd * parameter(weight, i, 1) + parameter(bias, i, 0);
    if (o.mean) *o.mean = mean;
    if (o.rstd) *o.rstd = rstd;
}

static void oracle_rmsnorm(const test_case *c, int64_t unit, double *const *out)
{
    const norm_outputs o = outputs_of(c, out);
    const trine_rmsnorm_args *a = (const trine_rmsnorm_args *)(const void *)c->args;
    const case_tensor *weight = case_find(c, "weight");
    const int64_t n = row_length(c), first = unit * n;
    double sum = 0;
    normalised(c, first, n, o.y);
    for (int64_t i = 0; i < n && o.sum; i++) o.sum[i] = o.y[i];
    for (int64_t i = 0; i < n; i++) sum += o.y[i] * o.y[i];
    const double rstd = 1 / sqrt(sum / (double)n + a->eps);
    for (int64_t i = 0; i < n; i++) o.y[i] *= rstd * (weight ? a->weight_offset + case_value(weight, i) : 1);
    if (o.rstd) *o.rstd = rstd;
}

static bool lies_like_x(const char *name)
{
    static const char *const names[] = {"x", "y", "residual", "sum", "dy", "dx", "dsum"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

/* Statistics and parameters must be dense whatever the layout of x and what has its shape. */
static void dense_but_rows(test_case *c)
{
    const trine_op_info *info = trine_op_get_info(c->op);
    for (int32_t t = 0; t < c->tensor_count; t++) {
        const char *name = info->fields[c->tensor[t].field].name;
        if (!lies_like_x(name) && c->tensor[t].layout > LAYOUT_OFFSET) c->tensor[t].layout = LAYOUT_DENSE;
    }
}

static test_case *new_residual(case_list *list, norm_case s, norm_residual residual)
{
    const int64_t n = s.shape[s.ndim - 1];
    const bool layernorm = s.op == TRINE_OP_layernorm;
    test_case *c =
        case_new(list, s.op, "%s %lldx%lld weight %s%s eps %g%s", trine_dtype_name(s.dtype), (long long)s.shape[0], (long long)n,
                 s.parameters ? trine_dtype_name(s.parameters) : "none", s.statistics ? " statistics" : "", s.eps,
                 residual == SUM_STORED    ? " residual sum"
                 : residual == SUM_DROPPED ? " residual"
                                           : "");
    case_set_fill(case_in(c, "x", s.dtype, s.ndim, s.shape), FILL_NORMAL, s.mean, s.spread);
    if (residual) case_set_fill(case_in(c, "residual", s.dtype, s.ndim, s.shape), FILL_NORMAL, 0, s.spread);
    if (s.parameters) case_in(c, "weight", s.parameters, 1, &n);
    if (s.parameters && layernorm) case_in(c, "bias", s.parameters, 1, &n);
    const int64_t numel = case_out(c, "y", s.dtype, s.ndim, s.shape)->numel;
    if (s.statistics && layernorm) /* a sum's roundings are of the size of its terms */
        case_tensor_tolerance(case_out(c, "mean", TRINE_F32, s.ndim - 1, s.shape), 24 * u, 8 * (fabs(s.mean) + s.spread) * u);
    if (s.statistics) case_out(c, "rstd", TRINE_F32, s.ndim - 1, s.shape);
    if (residual == SUM_STORED) case_out(c, "sum", s.dtype, s.ndim, s.shape);
    case_set_layout(c, s.layout);
    dense_but_rows(c);
    if (layernorm)
        CASE_ARGS(c, layernorm)->eps = (float)s.eps;
    else
        CASE_ARGS(c, rmsnorm)->eps = (float)s.eps;
    c->units = n ? numel / n : 0;
    c->oracle = layernorm ? oracle_layernorm : oracle_rmsnorm;
    c->may_refuse = n > 1 && (s.layout == LAYOUT_STRIDED || s.layout == LAYOUT_TRANSPOSED);
    const double k = layernorm ? fabs(s.mean) / sqrt(s.spread * s.spread + s.eps) : 0;
    const double size = (s.parameters ? 5 : 1), rstd = 1 / sqrt(s.spread * s.spread + s.eps);
    case_tolerance(c, s.dtype, 24 * u, (16 + 8 * k) * size * u + (s.statistics ? 8 * rstd * u : 0));
    c->flops = (layernorm ? 8.0 : 4.0) * (double)numel;
    case_count_bytes(c);
    return c;
}

#include "tests/cases/norm_backward.h"

static test_case *new_norm(case_list *list, norm_case s) { return new_residual(list, s, NO_RESIDUAL); }

static const int64_t lengths[] = {1, 2, 3, 7, 31, 32, 33, 64, 127, 255, 257, 1000, 1023, 1024, 1025, 4096, 4099, 16392};
enum { LENGTHS = sizeof lengths / sizeof lengths[0] };

static void check_lengths(case_list *list, trine_op op, trine_dtype dtype)
{
    static const int64_t rows[] = {5, 2, 131, 1};
    for (size_t i = 0; i < LENGTHS; i++)
        for (int layout = 0; layout < LAYOUT_COUNT; layout++) {
            const int64_t shape[] = {lengths[i] > 2000 ? 3 : rows[i % 4], lengths[i]};
            if (lengths[i] > 2000 && layout >= LAYOUT_STRIDED) continue;
            new_norm(list, (norm_case){op, dtype, i % 3 ? dtype : TRINE_F32, i % 2, 2, shape, (case_layout)layout, 0, 1, 1e-5});
        }
}

static void check_values(case_list *list, trine_op op, trine_dtype dtype)
{
    static const struct {
        double mean, spread, eps;
    } values[] = {{0, 1, 1e-12}, {4, 0.5, 1e-6}, {0, 100, 1e-5}, {0, 1e-3, 1e-5}, {0, 0, 1e-5}, {-3, 1, 1}};
    for (size_t v = 0; v < sizeof values / sizeof values[0]; v++)
        for (int64_t n = 5; n < 3000; n = n * 13 + 1)
            new_norm(list, (norm_case){op, dtype, dtype, true, 2, (int64_t[]){6, n}, LAYOUT_DENSE, values[v].mean,
                                       values[v].spread, values[v].eps});
    test_case *special = new_norm(list, (norm_case){op, dtype, dtype, false, 2, (int64_t[]){16, 37}, LAYOUT_DENSE, 0, 1, 1e-5});
    case_set_fill(&special->tensor[0], FILL_SPECIAL, 0, 1);
    special->atol += 64; /* rows with numbers near the largest f32, whose squares overflow, are looked at for NaN only */
}

static void check_cases(case_list *list, trine_op op)
{
    for (int d = 0; d < 3; d++) {
        const trine_dtype dtype = case_floats[d];
        check_lengths(list, op, dtype);
        check_values(list, op, dtype);
        new_norm(list, (norm_case){op, dtype, TRINE_DTYPE_NONE, false, 1, (int64_t[]){333}, LAYOUT_DENSE, 0, 1, 1e-5});
        new_norm(list, (norm_case){op, dtype, TRINE_DTYPE_NONE, true, 3, (int64_t[]){3, 5, 129}, LAYOUT_PADDED, 0, 1, 1e-5});
        new_norm(list, (norm_case){op, dtype, dtype, true, 4, (int64_t[]){2, 3, 2, 72}, LAYOUT_OFFSET, 0, 1, 1e-5});
        new_norm(list, (norm_case){op, dtype, dtype, true, 3, (int64_t[]){3, 5, 1032}, LAYOUT_GAPPED, 0, 1, 1e-5});
        new_norm(list, (norm_case){op, dtype, dtype, true, 4, (int64_t[]){2, 3, 2, 128}, LAYOUT_GAPPED, 0, 1, 1e-5});
        new_norm(list, (norm_case){op, dtype, TRINE_DTYPE_NONE, true, 2, (int64_t[]){37, 256}, LAYOUT_DENSE, 2, 1, 1e-5});
        new_norm(list, (norm_case){op, dtype, dtype, true, 2, (int64_t[]){0, 9}, LAYOUT_DENSE, 0, 1, 1e-5});
        case_set_inplace(new_norm(list, (norm_case){op, dtype, dtype, false, 2, (int64_t[]){9, 1031}, LAYOUT_DENSE, 0, 1, 1e-5}),
                         "y", "x");
        new_norm(list, (norm_case){op, dtype, dtype, true, 2, (int64_t[]){2, 50001}, LAYOUT_DENSE, 0, 1, 1e-5});
        new_norm(list, (norm_case){op, dtype, TRINE_F32, true, 2, (int64_t[]){2, 131073}, LAYOUT_PADDED, 0, 1, 1e-5});
        new_norm(list, (norm_case){op, dtype, dtype, true, 2, (int64_t[]){1, 262144}, LAYOUT_DENSE, 0, 1, 1e-5});
    }
    /* more long rows than an H100 has clusters for */
    new_norm(list, (norm_case){op, TRINE_F32, TRINE_F32, true, 2, (int64_t[]){17, 131072}, LAYOUT_DENSE, 0, 1, 1e-5});
    new_norm(list, (norm_case){op, TRINE_BF16, TRINE_BF16, true, 2, (int64_t[]){67, 131080}, LAYOUT_DENSE, 0, 1, 1e-5});
    new_norm(list, (norm_case){op, TRINE_F32, TRINE_F32, true, 2, (int64_t[]){2, 600000}, LAYOUT_DENSE, 0, 1, 1e-5});
}

/* Every length and layout; sums near the ends of rows that don't lie as x does; both outputs in place. */
static void residual_cases(case_list *list, trine_op op)
{
    for (int d = 0; d < 3; d++) {
        const trine_dtype dtype = case_floats[d];
        for (size_t i = 0; i < LENGTHS; i++)
            for (int layout = 0; layout <= LAYOUT_PADDED; layout++) {
                const int64_t shape[] = {lengths[i] > 2000 ? 3 : 67, lengths[i]};
                new_residual(list,
                             (norm_case){op, dtype, i % 3 ? dtype : TRINE_F32, i % 2, 2, shape, (case_layout)layout, 0, 1,
                                         lengths[i] < 8 ? 0.1 : 1e-5},
                             ((int)i + layout) % 4 ? SUM_STORED : SUM_DROPPED);
            }
        static const int64_t large[][2] = {{2, 50001}, {2, 131073}, {1, 262144}, {3, 300000}, {1, 600000}};
        for (size_t i = 0; i < sizeof large / sizeof large[0]; i++)
            new_residual(list, (norm_case){op, dtype, dtype, true, 2, large[i], LAYOUT_DENSE, 0, 1, 1e-5}, SUM_STORED);
        new_residual(list, (norm_case){op, dtype, dtype, true, 2, (int64_t[]){0, 9}, LAYOUT_DENSE, 0, 1, 1e-5}, SUM_STORED);
        new_residual(list, (norm_case){op, dtype, dtype, true, 4, (int64_t[]){2, 3, 2, 72}, LAYOUT_PADDED, 0, 1, 1e-5},
                     SUM_STORED);
        new_residual(list, (norm_case){op, dtype, dtype, true, 3, (int64_t[]){5, 3, 1032}, LAYOUT_GAPPED, 0, 1, 1e-5},
                     SUM_STORED);
        for (int i = 0; i < 4; i++) {
            const int64_t shape[] = {9, i < 2 ? 1031 : 40000};
            test_case *c =
                new_residual(list, (norm_case){op, dtype, dtype, false, 2, shape, LAYOUT_DENSE, 0, 1, 1e-5}, SUM_STORED);
            case_set_inplace(c, "sum", i % 2 ? "x" : "residual");
            if (i) case_set_inplace(c, "y", i % 2 ? "residual" : "x");
        }
    }
    /* several long rows one after the other for a cluster of blocks */
    static const struct {
        trine_dtype dtype;
        int64_t shape[2];
    } streamed[] = {{TRINE_F32, {50, 131072}}, {TRINE_BF16, {50, 131080}}, {TRINE_F16, {40, 262144}}};
    for (size_t i = 0; i < sizeof streamed / sizeof streamed[0]; i++)
        new_residual(list,
                     (norm_case){op, streamed[i].dtype, streamed[i].dtype, true, 2, streamed[i].shape, LAYOUT_DENSE, 0, 1, 1e-5},
                     SUM_STORED);
}

static void bench_cases(case_list *list, trine_op op)
{
    static const int64_t shapes[][2] = {{262144, 256}, {131072, 1024}, {32768, 4096}, {16384, 8192},
                                        {4096, 32768}, {1024, 131072}, {512, 262144}};
    for (int d = 0; d < 3; d += 2) /* f32 and bf16 */
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
            new_norm(list, (norm_case){op, case_floats[d], case_floats[d], false, 2,
                                       (int64_t[]){shapes[s][0] * (1 + d / 2), shapes[s][1]}, LAYOUT_DENSE, 0, 1, 1e-5});
    for (int d = 0; d < 3; d += 2)
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
            new_residual(list,
                         (norm_case){op, case_floats[d], case_floats[d], false, 2,
                                     (int64_t[]){shapes[s][0] * (1 + d / 2) / 2, shapes[s][1]}, LAYOUT_DENSE, 0, 1, 1e-5},
                         SUM_STORED);
}

void cases_layernorm(case_list *list, case_kind kind)
{
    if (kind == CASES_BENCH)
        bench_cases(list, TRINE_OP_layernorm);
    else {
        check_cases(list, TRINE_OP_layernorm);
        residual_cases(list, TRINE_OP_layernorm);
    }
}

/* The two conventions of the weight, and the rounding before it: one more rounding of x's dtype. */
static void rmsnorm_conventions(case_list *list, trine_dtype dtype)
{
    for (int i = 0; i < 4; i++) {
        test_case *c = new_norm(list, (norm_case){TRINE_OP_rmsnorm, dtype, i < 2 ? dtype : TRINE_F32, true, 2,
                                                  (int64_t[]){5, 200 + 333 * i}, LAYOUT_DENSE, 0, 1, 1e-6});
        CASE_ARGS(c, rmsnorm)->weight_offset = i % 2;
        CASE_ARGS(c, rmsnorm)->round_first = i / 2;
        if (i / 2) c->rtol += dtype == TRINE_BF16 ? 0x1p-8 : dtype == TRINE_F16 ? 0x1p-11 : 0;
    }
}

void cases_rmsnorm(case_list *list, case_kind kind)
{
    if (kind == CASES_BENCH) {
        bench_cases(list, TRINE_OP_rmsnorm);
        return;
    }
    check_cases(list, TRINE_OP_rmsnorm);
    residual_cases(list, TRINE_OP_rmsnorm);
    for (int d = 0; d < 3; d++) rmsnorm_conventions(list, case_floats[d]);
}

static norm_case sized(trine_op op, trine_dtype dtype, const int64_t shape[2])
{
    return (norm_case){op, dtype, dtype, false, 2, shape, LAYOUT_DENSE, 0, 1, 1e-5};
}

SIZES_OF(layernorm) { new_norm(list, sized(TRINE_OP_layernorm, dtype, (int64_t[]){rows, n})); }

SIZES_OF(rmsnorm)
{
    const int64_t shape[] = {rows, n};
    new_norm(list, sized(TRINE_OP_rmsnorm, dtype, shape));
    new_residual(list, sized(TRINE_OP_rmsnorm, dtype, shape), SUM_STORED);
}

SIZES_OF(layernorm_backward) { new_gradient(list, timed_gradient(TRINE_OP_layernorm_backward, dtype, rows, n)); }

#include "tests/cases/channels.h"
#include "tests/cases/l2_normalize.h"
