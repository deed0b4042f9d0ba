/* Cases of the loss family. Every oracle of a gradient also takes the finite difference of its loss in f64, for one element a
 * unit, and answers NaN where they disagree.
 *
 * Bounds, with u = 2^-24. A row's lse is of a size of 10 and off by its exponentials' arguments, 1.5 |x - max| u, and their sum,
 * sqrt(C) u; tanh by 5 u times the cap; a sum of k losses by sqrt(k) u of itself in addition. In gradients an exponential has
 * that relative error, and what is subtracted from it a few u of the weight. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/cases/linear_entropy.h"
#include "tests/cases/sizes.h"

/* ---- Cross entropy ---- */

static const trine_cross_entropy_options *options_of(const test_case *c)
{
    return c->op == TRINE_OP_cross_entropy ? &((const trine_cross_entropy_args *)(const void *)c->args)->options
                                           : &((const trine_cross_entropy_backward_args *)(const void *)c->args)->options;
}

static int64_t classes_of(const test_case *c)
{
    const case_tensor *t = case_find(c, "logits");
    return t->shape[t->ndim - 1];
}

static bool is_left_out(const test_case *c, int64_t row)
{
    const trine_cross_entropy_options *o = options_of(c);
    return o->ignore && case_value_i64(case_find(c, "labels"), row) == o->ignore_index;
}

static double rows_counted(const test_case *c)
{
    const trine_cross_entropy_options *o = options_of(c);
    const case_tensor *labels = case_find(c, "labels");
    double count = (double)labels->numel;
    for (int64_t i = 0; o->ignore && i < labels->numel; i++) count -= case_value_i64(labels, i) == o->ignore_index;
    return count;
}

/* A row of logits of which element `moved` is moved by `by`. */
typedef struct entropy_row {
    const trine_cross_entropy_options *o;
    const case_tensor *logits;
    int64_t first, n, label, moved; /* its elements are `first` to first + n - 1 of logits */
    double by;
    bool left_out;
} entropy_row;

static entropy_row row_of(const test_case *c, int64_t row, int64_t moved, double by)
{
    const int64_t n = classes_of(c);
    return (entropy_row){.o = options_of(c),
                         .logits = case_find(c, "logits"),
                         .first = row * n,
                         .n = n,
                         .label = case_value_i64(case_find(c, "labels"), row),
                         .moved = moved,
                         .by = by,
                         .left_out = is_left_out(c, row)};
}

static double logit(const entropy_row *r, int64_t i)
{
    const double cap = (double)r->o->softcap, x = case_value(r->logits, r->first + i) + (i == r->moved ? r->by : 0);
    return cap > 0 ? cap * tanh(x / cap) : x;
}

static double lse_of(const entropy_row *r)
{
    double most = -INFINITY, sum = 0;
    for (int64_t i = 0; i < r->n; i++) {
        const double z = logit(r, i);
        if (isnan(z) || z == INFINITY) return NAN;
        most = fmax(most, z);
    }
    for (int64_t i = 0; i < r->n && most > -INFINITY; i++) sum += exp(logit(r, i) - most);
    return most + log(sum);
}

static double loss_of(const entropy_row *r, double lse)
{
    const double s = (double)r->o->label_smoothing;
    if (r->left_out) return 0;
    if (r->label < 0 || r->label >= r->n) return NAN;
    double loss = lse - (1 - s) * logit(r, r->label), total = 0;
    for (int64_t i = 0; i < r->n && s > 0; i++) total += logit(r, i);
    if (s > 0) loss -= s * total / (double)r->n;
    return loss + (double)r->o->z_loss * (r->o->z_loss > 0 ? lse * lse : 0);
}

static void oracle_entropy(const test_case *c, int64_t unit, double *const *out)
{
    const trine_loss_reduction reduction = options_of(c)->reduction;
    const int64_t n = reduction == TRINE_LOSS_NONE ? 1 : case_find(c, "labels")->numel;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const entropy_row r = row_of(c, unit * n + i, -1, 0);
        const double lse = lse_of(&r);
        if (case_find(c, "lse")) out[1][i] = lse;
        sum += loss_of(&r, lse);
    }
    out[0][0] = reduction == TRINE_LOSS_MEAN ? sum / rows_counted(c) : sum;
}

static double slope_of(const entropy_row *r, double lse, int64_t i)
{
    const double s = (double)r->o->label_smoothing, z = logit(r, i), cap = (double)r->o->softcap;
    if (r->left_out) return 0;
    if (r->label < 0 || r->label >= r->n) return NAN;
    const double d = exp(z - lse) * (1 + 2 * (double)r->o->z_loss * lse) - s / (double)r->n - (i == r->label ? 1 - s : 0);
    return cap > 0 ? d * (1 - z / cap * (z / cap)) : d;
}

static void oracle_entropy_backward(const test_case *c, int64_t unit, double *const *out)
{
    const trine_loss_reduction reduction = options_of(c)->reduction;
    const int64_t n = classes_of(c), probe = unit % n;
    const double step = 1e-5, lse = case_value(case_find(c, "lse"), unit);
    const entropy_row r = row_of(c, unit, -1, 0), above = row_of(c, unit, probe, step), below = row_of(c, unit, probe, -step);
    double weight = case_value(case_find(c, "dloss"), reduction == TRINE_LOSS_NONE ? unit : 0);
    if (reduction == TRINE_LOSS_MEAN) weight /= rows_counted(c);
    for (int64_t i = 0; i < n; i++) out[0][i] = r.left_out ? 0 : weight * slope_of(&r, lse, i);
    /* with the lse that the logits have, which the case's need not be */
    if (!agrees(slope_of(&r, lse_of(&r), probe), loss_of(&above, lse_of(&above)), loss_of(&below, lse_of(&below)), step,
                fabs(loss_of(&r, lse_of(&r)))))
        out[0][probe] = NAN;
}

typedef struct entropy_shape {
    int64_t rows, classes;
    trine_cross_entropy_options options;
} entropy_shape;

/* batch: of as many rows each; 0: rows along one axis. */
static test_case *new_entropy_batch(case_list *list, trine_op op, trine_dtype dtype, trine_dtype label_dtype, int64_t batch,
                                    entropy_shape s, case_layout layout)
{
    static const char *const reductions[] = {"mean", "sum", "none"};
    const bool backward = op == TRINE_OP_cross_entropy_backward, each = s.options.reduction == TRINE_LOSS_NONE;
    const int64_t all[] = {batch, s.rows, s.classes}, *shape = batch ? all : all + 1, count = s.rows * (batch ? batch : 1);
    const int32_t axes = batch ? 2 : 1; /* of the rows */
    const double C = (double)(s.classes ? s.classes : 1), rows = (double)(count ? count : 1), cap = (double)s.options.softcap;
    test_case *c =
        case_new(list, op, "%s %s %lldx%lld %s smoothing %g z %g cap %g%s", trine_dtype_name(dtype),
                 trine_dtype_name(label_dtype), (long long)count, (long long)s.classes, reductions[s.options.reduction],
                 (double)s.options.label_smoothing, (double)s.options.z_loss, cap, s.options.ignore ? " ignore" : "");
    case_set_fill(case_in(c, "logits", dtype, axes + 1, shape), FILL_NORMAL, 0, 2);
    case_set_fill(case_in(c, "labels", label_dtype, axes, shape), FILL_INTEGERS, s.options.ignore ? -1 : 0, C - 1);
    if (backward) {
        CASE_ARGS(c, cross_entropy_backward)->options = s.options;
        case_set_fill(case_in(c, "lse", TRINE_F32, axes, shape), FILL_UNIFORM, log(C) + 1, log(C) + 4);
        case_tensor *dloss = each ? case_in(c, "dloss", TRINE_F32, axes, shape) : case_in(c, "dloss", TRINE_F32, 0, NULL);
        if (!each) case_set_fill(dloss, FILL_CONSTANT, 1.5, 0);
        case_out(c, "dlogits", dtype, axes + 1, shape);
        c->units = count;
        c->oracle = oracle_entropy_backward;
        const double weight = s.options.reduction == TRINE_LOSS_MEAN ? 8 / rows : 4;
        case_tolerance(c, dtype, (64 + 16 * cap) * u, (16 + 8 * cap) * u * weight);
    } else {
        CASE_ARGS(c, cross_entropy)->options = s.options;
        const case_tensor *loss = each ? case_out(c, "loss", TRINE_F32, axes, shape) : case_out(c, "loss", TRINE_F32, 0, NULL);
        case_out(c, "lse", TRINE_F32, axes, shape);
        c->units = loss->numel;
        c->oracle = oracle_entropy;
        const double size = log(C) + 8, z = 1 + 2 * (double)s.options.z_loss * size;
        const double error = (64 + 8 * cap + sqrt(C)) * z * u;
        case_tolerance(c, TRINE_F32, (16 + sqrt(rows)) * u, s.options.reduction == TRINE_LOSS_SUM ? error * rows : error);
    }
    case_set_layout(c, layout);
    c->may_refuse = s.classes > 1 && (layout == LAYOUT_STRIDED || layout == LAYOUT_TRANSPOSED);
    c->flops = 5.0 * (double)count * (double)s.classes;
    if (c->work > 1e6) c->work *= backward ? 40 : 8; /* passes of the oracle over a row */
    case_count_bytes(c);
    return c;
}

static test_case *new_entropy(case_list *list, trine_op op, trine_dtype dtype, trine_dtype label_dtype, entropy_shape s,
                              case_layout layout)
{
    return new_entropy_batch(list, op, dtype, label_dtype, 0, s, layout);
}

static const trine_cross_entropy_options entropy_options[] = {
    {0, 0, 0, 0, 0, TRINE_LOSS_NONE},         {-1, 1, 0, 0, 0, TRINE_LOSS_MEAN},    {-1, 1, 0.1f, 0, 0, TRINE_LOSS_SUM},
    {-1, 1, 0.1f, 1e-2f, 0, TRINE_LOSS_NONE}, {0, 0, 0, 0.1f, 30, TRINE_LOSS_MEAN}, {-1, 1, 0.3f, 0.01f, 5, TRINE_LOSS_NONE},
    {3, 1, 0, 0, 15, TRINE_LOSS_SUM},         {-1, 1, 1, 0, 0, TRINE_LOSS_MEAN}};
enum { ENTROPY_OPTIONS = sizeof entropy_options / sizeof entropy_options[0] };

static void entropy_values(case_list *list, trine_op op, trine_dtype dtype)
{
    const trine_cross_entropy_options none = entropy_options[0], mean = entropy_options[1];
    for (int64_t n = 5; n < 2000; n = n * 9 + 4) {
        /* labels that are neither classes nor ignored */
        test_case *c = new_entropy(list, op, dtype, n % 2 ? TRINE_I32 : TRINE_I64, (entropy_shape){33, n, none}, LAYOUT_DENSE);
        case_set_fill(&c->tensor[1], FILL_INTEGERS, -2, (double)n + 1);
        if (op == TRINE_OP_cross_entropy) { /* -inf, NaN and inf among the logits */
            c = new_entropy(list, op, dtype, TRINE_I64, (entropy_shape){33, n, none}, LAYOUT_PADDED);
            case_set_fill(&c->tensor[0], FILL_SPECIAL, 0, 1);
            case_tolerance(c, TRINE_F32, 200 * u, 1e-3);
            c = new_entropy(list, op, dtype, TRINE_I32, (entropy_shape){3, n, none}, LAYOUT_DENSE);
            case_set_fill(&c->tensor[0], FILL_CONSTANT, -INFINITY, 0);
        }
        c = new_entropy(list, op, dtype, TRINE_I32, (entropy_shape){7, n, mean}, LAYOUT_DENSE); /* every row left out */
        case_set_fill(&c->tensor[1], FILL_CONSTANT, -1, 0);
    }
}

static void entropy_cases(case_list *list, case_kind kind, trine_op op)
{
    static const int64_t sizes[][2] = {{5, 1}, {37, 2}, {131, 10}, {9, 33}, {5, 1000}, {3, 1031}, {17, 264}, {2, 8200}};
    if (kind == CASES_BENCH) {
        const trine_cross_entropy_options plain = {-100, 1, 0, 0, 0, TRINE_LOSS_NONE}; /* a row is checked at a time */
        const trine_cross_entropy_options capped = {-100, 1, 0, 0, 30, TRINE_LOSS_NONE};
        for (int d = 0; d < 3; d += 2) {
            new_entropy(list, op, case_floats[d], TRINE_I64, (entropy_shape){16384 * (1 + d / 2), 32768, capped}, LAYOUT_DENSE);
            new_entropy(list, op, case_floats[d], TRINE_I64, (entropy_shape){16384 * (1 + d / 2), 32768, plain}, LAYOUT_DENSE);
            new_entropy(list, op, case_floats[d], TRINE_I64, (entropy_shape){4096 * (1 + d / 2), 131072, plain}, LAYOUT_DENSE);
            new_entropy(list, op, case_floats[d], TRINE_I64, (entropy_shape){524288 * (1 + d / 2), 1000, plain}, LAYOUT_DENSE);
        }
        return;
    }
    for (int d = 0; d < 3; d++) {
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
            for (int o = 0; o < ENTROPY_OPTIONS; o++)
                new_entropy(list, op, case_floats[d], (s + (size_t)o) % 2 ? TRINE_I32 : TRINE_I64,
                            (entropy_shape){sizes[s][0], sizes[s][1], entropy_options[o]},
                            (case_layout)((s + (size_t)o) % LAYOUT_COUNT));
        for (int o = 0; o < ENTROPY_OPTIONS; o += 3) {
            new_entropy(list, op, case_floats[d], TRINE_I64, (entropy_shape){2, 50257, entropy_options[o]}, LAYOUT_DENSE);
            new_entropy(list, op, case_floats[d], TRINE_I32, (entropy_shape){2, 151937, entropy_options[o]}, LAYOUT_DENSE);
        }
        new_entropy(list, op, case_floats[d], TRINE_I32, (entropy_shape){9001, 3, entropy_options[1]}, LAYOUT_DENSE);
        new_entropy_batch(list, op, case_floats[d], TRINE_I64, 3, (entropy_shape){7, 264, entropy_options[2]}, LAYOUT_GAPPED);
        new_entropy_batch(list, op, case_floats[d], TRINE_I32, 3, (entropy_shape){7, 1032, entropy_options[3]}, LAYOUT_GAPPED);
        new_entropy(list, op, case_floats[d], TRINE_I32, (entropy_shape){0, 3, entropy_options[1]}, LAYOUT_DENSE);
        new_entropy(list, op, case_floats[d], TRINE_I32, (entropy_shape){0, 0, entropy_options[0]}, LAYOUT_DENSE);
        entropy_values(list, op, case_floats[d]);
        if (op == TRINE_OP_cross_entropy_backward)
            case_set_inplace(
                new_entropy(list, op, case_floats[d], TRINE_I32, (entropy_shape){7, 515, entropy_options[3]}, LAYOUT_DENSE),
                "dlogits", "logits");
    }
}

void cases_cross_entropy(case_list *list, case_kind kind) { entropy_cases(list, kind, TRINE_OP_cross_entropy); }
void cases_cross_entropy_backward(case_list *list, case_kind kind) { entropy_cases(list, kind, TRINE_OP_cross_entropy_backward); }

/* ---- Element by element ---- */

static bool is_backward(trine_op op)
{
    return op == TRINE_OP_mse_backward || op == TRINE_OP_huber_backward || op == TRINE_OP_kl_div_backward;
}

static bool is_kl(trine_op op) { return op == TRINE_OP_kl_div || op == TRINE_OP_kl_div_backward; }
static bool is_huber(trine_op op) { return op == TRINE_OP_huber || op == TRINE_OP_huber_backward; }

/* The reductions, and the attributes that only one op has, lie alike in the structs of forward or backward. */
static trine_loss_reduction reduction_of(const test_case *c)
{
    return is_backward(c->op) ? ((const trine_mse_backward_args *)(const void *)c->args)->reduction
                              : ((const trine_mse_args *)(const void *)c->args)->reduction;
}

static double pair_of(const test_case *c, double x, double t)
{
    if (is_kl(c->op)) {
        const bool logs = is_backward(c->op) ? ((const trine_kl_div_backward_args *)(const void *)c->args)->log_target
                                             : ((const trine_kl_div_args *)(const void *)c->args)->log_target;
        if (logs) return t == -INFINITY ? 0 : exp(t) * (t - x);
        return t == 0 ? 0 : t * (log(t) - x);
    }
    if (!is_huber(c->op)) return (x - t) * (x - t);
    const double delta = (double)(is_backward(c->op) ? ((const trine_huber_backward_args *)(const void *)c->args)->delta
                                                     : ((const trine_huber_args *)(const void *)c->args)->delta);
    return fabs(x - t) <= delta ? (x - t) * (x - t) / 2 : delta * (fabs(x - t) - delta / 2);
}

static double pair_slope(const test_case *c, double x, double t)
{
    if (is_kl(c->op)) return ((const trine_kl_div_backward_args *)(const void *)c->args)->log_target ? -exp(t) : -t;
    if (!is_huber(c->op)) return 2 * (x - t);
    const double delta = (double)((const trine_huber_backward_args *)(const void *)c->args)->delta;
    return fmax(-delta, fmin(delta, x - t));
}

static double divisor_of(const test_case *c)
{
    const case_tensor *x = case_find(c, "x");
    const trine_loss_reduction reduction = reduction_of(c);
    return reduction == TRINE_LOSS_MEAN ? (double)x->numel : reduction == TRINE_LOSS_BATCH_MEAN ? (double)x->shape[0] : 1;
}

static void oracle_pair(const test_case *c, int64_t unit, double *const *out)
{
    const case_tensor *x = case_find(c, "x"), *t = case_find(c, "target");
    const int64_t n = reduction_of(c) == TRINE_LOSS_NONE ? 1 : x->numel;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += pair_of(c, case_value(x, unit * n + i), case_value(t, unit * n + i));
    out[0][0] = sum / divisor_of(c);
}

static void oracle_pair_backward(const test_case *c, int64_t unit, double *const *out)
{
    const double x = case_value(case_find(c, "x"), unit), t = case_value(case_find(c, "target"), unit), step = 1e-6,
                 slope = pair_slope(c, x, t),
                 g = case_value(case_find(c, "dloss"), reduction_of(c) == TRINE_LOSS_NONE ? unit : 0);
    const bool right = agrees(slope, pair_of(c, x + step, t), pair_of(c, x - step, t), step, fabs(pair_of(c, x, t)));
    out[0][0] = right ? g / divisor_of(c) * slope : NAN;
}

static test_case *new_pair(case_list *list, trine_op op, trine_dtype dtype, int64_t rows, int64_t cols,
                           trine_loss_reduction reduction, int log_target, case_layout layout)
{
    static const char *const reductions[] = {"mean", "sum", "none", "batch mean"};
    const bool backward = is_backward(op), each = reduction == TRINE_LOSS_NONE;
    test_case *c = case_new(list, op, "%s %lldx%lld %s%s", trine_dtype_name(dtype), (long long)rows, (long long)cols,
                            reductions[reduction], log_target ? " log" : "");
    case_tensor *x = case_in(c, "x", dtype, SHAPE(rows, cols));
    case_tensor *t = case_in(c, "target", dtype, SHAPE(rows, cols));
    if (is_kl(op)) {
        case_set_fill(x, FILL_UNIFORM, -6, 0);
        case_set_fill(t, FILL_UNIFORM, log_target ? -6 : 0, log_target ? 0 : 1);
    }
    const double n = rows * cols > 0 ? (double)(rows * cols) : 1;
    if (backward) {
        if (each)
            case_in(c, "dloss", TRINE_F32, SHAPE(rows, cols));
        else
            case_set_fill(case_in(c, "dloss", TRINE_F32, 0, NULL), FILL_CONSTANT, 1.5, 0);
        c->units = case_out(c, "dx", dtype, SHAPE(rows, cols))->numel;
        c->oracle = oracle_pair_backward;
        case_tolerance(c, dtype, 24 * u, 0x1p-126);
        CASE_ARGS(c, mse_backward)->reduction = reduction;
        if (is_huber(op)) CASE_ARGS(c, huber_backward)->delta = 0.75f;
        if (is_kl(op)) CASE_ARGS(c, kl_div_backward)->log_target = log_target;
    } else {
        c->units = (each ? case_out(c, "loss", TRINE_F32, SHAPE(rows, cols)) : case_out(c, "loss", TRINE_F32, 0, NULL))->numel;
        c->oracle = oracle_pair;
        /* the terms of kl have both signs, and each is a difference of terms of a size of 6 */
        const double error = is_kl(op) ? 64 * u : 0, terms = reduction == TRINE_LOSS_SUM ? n : 1;
        case_tolerance(c, TRINE_F32, (24 + (each ? 0 : sqrt(n))) * u,
                       error * (reduction == TRINE_LOSS_BATCH_MEAN ? (double)(cols ? cols : 1) : terms));
        CASE_ARGS(c, mse)->reduction = reduction;
        if (is_huber(op)) CASE_ARGS(c, huber)->delta = 0.75f;
        if (is_kl(op)) CASE_ARGS(c, kl_div)->log_target = log_target;
    }
    case_set_layout(c, layout);
    c->flops = 4 * n;
    case_count_bytes(c);
    if (backward && is_kl(op)) c->bytes -= (double)x->numel * trine_dtype_bits(dtype) / 8; /* of the target alone */
    return c;
}

static void pair_cases(case_list *list, case_kind kind, trine_op op)
{
    static const int64_t sizes[][2] = {{1, 1}, {3, 5}, {7, 64}, {33, 130}, {2, 4099}, {300, 8}};
    const int reductions = is_kl(op) ? TRINE_LOSS_REDUCTION_COUNT : TRINE_LOSS_BATCH_MEAN;
    if (kind == CASES_BENCH) {
        for (int d = 0; d < 3; d += 2) {
            new_pair(list, op, case_floats[d], 8192, 8192, TRINE_LOSS_MEAN, 0, LAYOUT_DENSE);
            if (d == 2) new_pair(list, op, case_floats[d], 8192, 8192, TRINE_LOSS_NONE, is_kl(op), LAYOUT_DENSE);
        }
        return;
    }
    int turn = 0;
    for (int d = 0; d < 3; d++) {
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
            for (int reduction = 0; reduction < reductions; reduction++)
                for (int layout = 0; layout < LAYOUT_COUNT; layout++, turn++)
                    new_pair(list, op, case_floats[d], sizes[s][0], sizes[s][1], (trine_loss_reduction)reduction,
                             is_kl(op) && turn / 2 % 2, (case_layout)layout);
        for (int reduction = 0; reduction < reductions; reduction++) {
            if (is_kl(op)) { /* 0 log 0 and exp(-inf) */
                case_set_fill(
                    &new_pair(list, op, case_floats[d], 9, 31, (trine_loss_reduction)reduction, 0, LAYOUT_DENSE)->tensor[1],
                    FILL_INTEGERS, 0, 1);
                case_set_fill(
                    &new_pair(list, op, case_floats[d], 9, 33, (trine_loss_reduction)reduction, 1, LAYOUT_DENSE)->tensor[1],
                    FILL_CONSTANT, -INFINITY, 0);
            }
            if (reduction != TRINE_LOSS_BATCH_MEAN)
                new_pair(list, op, case_floats[d], 0, 5, (trine_loss_reduction)reduction, 0, LAYOUT_DENSE);
            if (!is_backward(op)) continue;
            case_set_inplace(new_pair(list, op, case_floats[d], 9, 40, (trine_loss_reduction)reduction, 0, LAYOUT_DENSE), "dx",
                             "x");
            case_set_inplace(new_pair(list, op, case_floats[d], 9, 41, (trine_loss_reduction)reduction, 0, LAYOUT_DENSE), "dx",
                             "target");
        }
        if (!is_backward(op)) new_pair(list, op, case_floats[d], 1, 300001, TRINE_LOSS_MEAN, 0, LAYOUT_DENSE);
    }
}

void cases_mse(case_list *list, case_kind kind) { pair_cases(list, kind, TRINE_OP_mse); }
void cases_mse_backward(case_list *list, case_kind kind) { pair_cases(list, kind, TRINE_OP_mse_backward); }
void cases_huber(case_list *list, case_kind kind) { pair_cases(list, kind, TRINE_OP_huber); }
void cases_huber_backward(case_list *list, case_kind kind) { pair_cases(list, kind, TRINE_OP_huber_backward); }
void cases_kl_div(case_list *list, case_kind kind) { pair_cases(list, kind, TRINE_OP_kl_div); }
void cases_kl_div_backward(case_list *list, case_kind kind) { pair_cases(list, kind, TRINE_OP_kl_div_backward); }

static void entropy_sizes(case_list *list, trine_op op, trine_dtype dtype, int64_t rows, int64_t n)
{
    const trine_cross_entropy_options plain = {-100, 1, 0, 0, 0, TRINE_LOSS_NONE};
    new_entropy(list, op, dtype, TRINE_I64, (entropy_shape){rows, n, plain}, LAYOUT_DENSE);
}

SIZES_OF(cross_entropy) { entropy_sizes(list, TRINE_OP_cross_entropy, dtype, rows, n); }
SIZES_OF(cross_entropy_backward) { entropy_sizes(list, TRINE_OP_cross_entropy_backward, dtype, rows, n); }
