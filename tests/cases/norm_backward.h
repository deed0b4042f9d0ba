/* Cases of layernorm_backward and rmsnorm_backward; part of norm.c. The oracle's gradients are compared with central differences
 * of a forward in f64 (check_gradients).
 *
 * Bounds: u, k and the size of weights as in norm.c. dx is rstd times a difference of numbers of the size of g = dy weight, each
 * off by a few u, and by k u where x - mean takes part. A sum over the rows of dy h is off by (k + a few) u a term and by the
 * roundings of the sum, which grow with the square root of the number of rows. Where h is rounded before it is summed, it may be
 * rounded to the other side: a unit of the dtype of one term. */
#ifndef TRINE_TESTS_NORM_BACKWARD_H
#define TRINE_TESTS_NORM_BACKWARD_H

#include <stdio.h>
#include <stdlib.h>

/* ---- Oracle ---- */

typedef struct gradient_attributes {
    bool centred, round_first;
    double eps, offset;
} gradient_attributes;

/* Rows of one length as doubles; NULL: not there. weight: with the offset. */
typedef struct gradient_row {
    int64_t n;
    const double *x, *dy, *weight, *dsum, *mean, *rstd;
} gradient_row;

static double rounded_to(trine_dtype dtype, double value)
{
    unsigned char bits[8];
    trine_convert(&value, TRINE_F64, bits, dtype, 1);
    trine_convert(bits, dtype, &value, TRINE_F64, 1);
    return value;
}

/* dx of a row; adds to dweight and dbias. `dtype`: what h is rounded to, or F64. */
static void gradients_of_row(const gradient_attributes *a, const gradient_row *r, trine_dtype dtype, double *dx, double *dweight,
                             double *dbias)
{
    const double n = (double)r->n;
    double mean = 0, var = 0, g_mean = 0, slope = 0;
    for (int64_t i = 0; i < r->n && a->centred; i++) mean += r->x[i];
    mean /= n;
    for (int64_t i = 0; i < r->n; i++) var += (r->x[i] - mean) * (r->x[i] - mean);
    if (r->mean) mean = *r->mean;
    const double rstd = r->rstd ? *r->rstd : 1 / sqrt(var / n + a->eps);
    for (int64_t i = 0; i < r->n; i++) {
        const double g = r->dy[i] * (r->weight ? r->weight[i] : 1);
        g_mean += g;
        slope += g * (r->x[i] - mean);
    }
    g_mean = a->centred ? g_mean / n : 0;
    slope *= rstd / n;
    for (int64_t i = 0; i < r->n; i++) {
        const double h = (r->x[i] - mean) * rstd;
        dx[i] = rstd * (r->dy[i] * (r->weight ? r->weight[i] : 1) - g_mean - h * slope) + (r->dsum ? r->dsum[i] : 0);
        if (dweight) dweight[i] += r->dy[i] * (dtype == TRINE_F64 ? h : rounded_to(dtype, h));
        if (dbias) dbias[i] += r->dy[i];
    }
}

/* NULL for what rmsnorm lacks, too. */
static const case_tensor *find_of_either(const test_case *c, const char *field)
{
    const bool centres = strcmp(field, "mean") == 0 || strcmp(field, "dbias") == 0;
    return centres && c->op == TRINE_OP_rmsnorm_backward ? NULL : case_find(c, field);
}

/* All of a case's tensor as doubles. */
static double *doubles_of(const test_case *c, const char *field, double add)
{
    const case_tensor *t = find_of_either(c, field);
    double *p = t ? malloc((size_t)(t->numel + 1) * sizeof *p) : NULL;
    if (t && !p) abort();
    for (int64_t i = 0; t && i < t->numel; i++) p[i] = (i < t->period ? case_value(t, i) : p[i - t->period]) + add;
    return p;
}

static gradient_attributes attributes_of(const test_case *c)
{
    if (c->op == TRINE_OP_layernorm_backward)
        return (gradient_attributes){true, false, ((const trine_layernorm_backward_args *)(const void *)c->args)->eps, 0};
    const trine_rmsnorm_backward_args *a = (const trine_rmsnorm_backward_args *)(const void *)c->args;
    return (gradient_attributes){false, a->round_first != 0, a->eps, a->weight_offset};
}

/* All at once: one unit. */
static void oracle_gradients(const test_case *c, int64_t unit, double *const *out)
{
    const gradient_attributes a = attributes_of(c);
    const case_tensor *x = case_find(c, "x"), *dweight = case_find(c, "dweight"), *dbias = find_of_either(c, "dbias");
    const int64_t n = x->shape[x->ndim - 1], rows = n ? x->numel / n : 0;
    double *p[] = {doubles_of(c, "x", 0),    doubles_of(c, "dy", 0),   doubles_of(c, "weight", a.offset),
                   doubles_of(c, "dsum", 0), doubles_of(c, "mean", 0), doubles_of(c, "rstd", 0)};
    double *to_dweight = dweight ? out[1] : NULL, *to_dbias = dbias ? out[dweight ? 2 : 1] : NULL;
    (void)unit;
    for (int64_t i = 0; i < n && dweight; i++) to_dweight[i] = 0;
    for (int64_t i = 0; i < n && dbias; i++) to_dbias[i] = 0;
    for (int64_t r = 0; r < rows; r++) {
        const gradient_row row = {
            n, p[0] + r * n, p[1] + r * n, p[2], p[3] ? p[3] + r * n : NULL, p[4] ? p[4] + r : NULL, p[5] ? p[5] + r : NULL};
        gradients_of_row(&a, &row, a.round_first ? x->dtype : TRINE_F64, out[0] + r * n, to_dweight, to_dbias);
    }
    for (size_t i = 0; i < sizeof p / sizeof p[0]; i++) free(p[i]);
}

/* ---- The oracle against differences ---- */

enum { PROBE = 5 };

/* sum(dy y) + sum(dsum x) of one row of the forward: what the gradients are of. */
static double probe_loss(const gradient_attributes *a, const double *dy, const double *dsum, const double *x,
                         const double *weight, const double *bias)
{
    double mean = 0, var = 0, loss = 0;
    for (int i = 0; i < PROBE && a->centred; i++) mean += x[i] / PROBE;
    for (int i = 0; i < PROBE; i++) var += (x[i] - mean) * (x[i] - mean) / PROBE;
    for (int i = 0; i < PROBE; i++)
        loss += dy[i] * ((x[i] - mean) / sqrt(var + a->eps) * (a->offset + weight[i]) + bias[i]) + dsum[i] * x[i];
    return loss;
}

static void check_gradients(const gradient_attributes *a)
{
    const double h = 0x1p-17, dy[PROBE] = {0.3, -1.1, 0.7, 0.2, 1.9}, dsum[PROBE] = {-0.5, 0.1, 0, 0.9, 2};
    double at[3][PROBE] = {
        {0.1, -0.8, 1.4, 0.5, 2.2}, {1.2, 0.4, -0.7, 0.9, 1.5}, {0.2, -0.3, 0.1, 0.6, 0}}; /* x, weight, bias */
    double got[3][PROBE] = {{0}}, factor[PROBE];
    for (int i = 0; i < PROBE; i++) factor[i] = a->offset + at[1][i];
    gradients_of_row(a, &(gradient_row){.n = PROBE, .x = at[0], .dy = dy, .weight = factor, .dsum = dsum}, TRINE_F64, got[0],
                     got[1], got[2]);
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < PROBE; i++) {
            const double here = at[k][i];
            at[k][i] = here + h;
            const double above = probe_loss(a, dy, dsum, at[0], at[1], at[2]);
            at[k][i] = here - h;
            const double want = (above - probe_loss(a, dy, dsum, at[0], at[1], at[2])) / (2 * h);
            at[k][i] = here;
            if (fabs(got[k][i] - want) > 1e-8) {
                fprintf(stderr, "trine: the norms' oracle: gradient %d of element %d is %g, but differences give %g\n", k, i,
                        got[k][i], want);
                exit(3);
            }
        }
}

/* ---- Cases ---- */

typedef struct gradient_case {
    trine_op op;
    trine_dtype dtype, parameters; /* NONE: without weight */
    int64_t rows, n;
    double mean, spread, eps;
    enum { DX_ALONE, WITH_DWEIGHT, WITH_ALL } sums; /* also: the dtype of the sums is f32 if parameters is NONE */
    bool saved, dsum;                               /* statistics are given; dsum is */
    int mode;                                       /* of rmsnorm: 0 f32, 1 Llama, 2 Gemma */
} gradient_case;

static void gradient_tolerance(test_case *c, const gradient_case *s)
{
    /* a row's own spread is seldom below half of what it is drawn from; short rows' may be anything, down to 0 */
    const double least = s->n < 20 ? 0 : s->spread / 2, rstd = s->saved ? 2 : 1 / sqrt(least * least + s->eps);
    const double k = c->op == TRINE_OP_layernorm_backward ? fabs(s->mean) * rstd : 0, size = s->parameters ? 5 : 1;
    double atol = rstd * size * (64 + 24 * k) * u + 8 * u;
    if (s->sums) atol += (32 + 8 * k) * 4 * sqrt((double)s->rows) * u;
    if (s->saved) atol *= 4; /* their h is not of size 1 */
    if (s->mode == 1) atol += s->dtype == TRINE_BF16 ? 12 * 0x1p-8 : s->dtype == TRINE_F16 ? 12 * 0x1p-11 : 0;
    case_tolerance(c, s->dtype, 24 * u, atol);
}

static test_case *new_gradient(case_list *list, gradient_case s)
{
    static const char *const sums[] = {"dx", "dweight", "all"}, *const modes[] = {"", " Llama", " Gemma"};
    const bool layernorm = s.op == TRINE_OP_layernorm_backward;
    test_case *c = case_new(list, s.op, "%s %lldx%lld weight %s %s%s%s%s mean %g spread %g eps %g", trine_dtype_name(s.dtype),
                            (long long)s.rows, (long long)s.n, s.parameters ? trine_dtype_name(s.parameters) : "none",
                            sums[s.sums], s.saved ? " saved" : "", s.dsum ? " dsum" : "", modes[s.mode], s.mean, s.spread, s.eps);
    const trine_dtype wide = s.parameters ? s.parameters : TRINE_F32;
    case_in(c, "dy", s.dtype, SHAPE(s.rows, s.n));
    case_set_fill(case_in(c, "x", s.dtype, SHAPE(s.rows, s.n)), FILL_NORMAL, s.mean, s.spread);
    if (s.parameters) case_in(c, "weight", s.parameters, 1, &s.n);
    if (s.saved && layernorm) case_set_fill(case_in(c, "mean", TRINE_F32, 1, &s.rows), FILL_UNIFORM, -1, 1);
    if (s.saved) case_set_fill(case_in(c, "rstd", TRINE_F32, 1, &s.rows), FILL_UNIFORM, 0.5, 2);
    if (s.dsum) case_in(c, "dsum", s.dtype, SHAPE(s.rows, s.n));
    case_out(c, "dx", s.dtype, SHAPE(s.rows, s.n));
    if (s.sums) case_out(c, "dweight", wide, 1, &s.n);
    if (s.sums == WITH_ALL && layernorm) case_out(c, "dbias", wide, 1, &s.n);
    if (layernorm) {
        CASE_ARGS(c, layernorm_backward)->eps = (float)s.eps;
    } else {
        *CASE_ARGS(c, rmsnorm_backward) =
            (trine_rmsnorm_backward_args){.eps = (float)s.eps, .weight_offset = s.mode == 2, .round_first = s.mode == 1};
    }
    c->units = 1;
    c->oracle = oracle_gradients;
    c->work *= 4;
    c->flops = (layernorm ? 16.0 : 12.0) * (double)(s.rows * s.n);
    gradient_tolerance(c, &s);
    case_count_bytes(c);
    return c;
}

static test_case *set_gradient_layout(test_case *c, case_layout layout)
{
    case_set_layout(c, layout);
    dense_but_rows(c);
    c->may_refuse = layout == LAYOUT_STRIDED || layout == LAYOUT_TRANSPOSED;
    return c;
}

static void check_gradient_lengths(case_list *list, trine_op op, trine_dtype dtype)
{
    static const int64_t many[] = {1, 2, 3, 7, 31, 32, 33, 64, 127, 255, 257, 1000, 1023, 1024, 1025, 4096, 4099, 16392};
    static const int64_t rows[] = {5, 2, 131, 1};
    for (int i = 0; i < (int)(sizeof many / sizeof many[0]); i++)
        for (int layout = 0; layout < LAYOUT_COUNT; layout++) {
            if (many[i] > 2000 && layout >= LAYOUT_STRIDED) continue;
            const trine_dtype parameters[] = {dtype, TRINE_F32, TRINE_DTYPE_NONE};
            const gradient_case s = {.op = op,
                                     .dtype = dtype,
                                     .parameters = parameters[(i + layout) % 3],
                                     .rows = many[i] > 2000 ? 3 : rows[i % 4],
                                     .n = many[i],
                                     .spread = 1,
                                     .eps = many[i] < 20 ? 0.1 : 1e-5,
                                     .sums = (i + layout / 2) % 3,
                                     .saved = (i + layout) % 4 == 1,
                                     .dsum = (i + layout) % 5 == 2};
            set_gradient_layout(new_gradient(list, s), (case_layout)layout);
        }
}

static void check_gradient_values(case_list *list, trine_op op, trine_dtype dtype)
{
    static const struct {
        double mean, spread, eps;
    } values[] = {{0, 1, 1e-12}, {4, 0.5, 1e-6}, {0, 100, 1e-5}, {0, 1e-3, 1e-5}, {0, 0, 1e-5}, {-3, 1, 1}};
    for (size_t v = 0; v < sizeof values / sizeof values[0]; v++)
        for (int64_t n = 66; n < 3000; n = n * 13 + 1)
            new_gradient(list, (gradient_case){.op = op,
                                               .dtype = dtype,
                                               .parameters = dtype,
                                               .rows = 6,
                                               .n = n,
                                               .mean = values[v].mean,
                                               .spread = values[v].spread,
                                               .eps = values[v].eps,
                                               .sums = v % 2 ? DX_ALONE : WITH_ALL});
}

static void check_gradient_cases(case_list *list, trine_op op)
{
    const gradient_case first = {.op = op,
                                 .dtype = TRINE_F32,
                                 .parameters = TRINE_F32,
                                 .rows = 5,
                                 .n = 40,
                                 .spread = 1,
                                 .eps = 1e-5,
                                 .sums = WITH_ALL,
                                 .saved = true,
                                 .dsum = true};
    new_gradient(list, first); /* what the API's tests start from */
    for (int d = 0; d < 3; d++) {
        gradient_case s = {
            .op = op, .dtype = case_floats[d], .parameters = case_floats[d], .spread = 1, .eps = 1e-5, .sums = WITH_ALL};
        check_gradient_lengths(list, op, s.dtype);
        check_gradient_values(list, op, s.dtype);
        static const int64_t shapes[][2] = {{0, 9},     {7, 0},     {300, 8},    {1031, 72},
                                            {70, 3000}, {3, 50001}, {2, 131073}, {1, 262144}};
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
            s.rows = shapes[i][0];
            s.n = shapes[i][1];
            s.dsum = i % 2;
            new_gradient(list, s)->rtol += shapes[i][1] == 8 ? 1e-4 : 0; /* rows of 8: now and then an rstd far from 1 */
        }
        /* rows of whole lines with their statistics, in two sums of many rows and parts of long ones; more of them than a strip of
         * columns has lines of threads */
        static const int64_t lines[][2] = {{137, 32}, {137, 288}, {137, 1056}, {137, 4128}, {137, 8224}, {700, 72}};
        for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
            gradient_case many = s;
            many.rows = lines[i][0];
            many.n = lines[i][1];
            many.saved = true;
            many.dsum = i % 2;
            new_gradient(list, many);
        }
        static const char *const inplace[] = {"dy", "x", "dsum"};
        for (int i = 0; i < 3; i++) {
            s.rows = 9;
            s.n = 1031 + i;
            s.dsum = true;
            case_set_inplace(new_gradient(list, s), "dx", inplace[i]);
            gradient_case known = s;
            known.n = 1032;
            known.saved = true;
            case_set_inplace(new_gradient(list, known), "dx", inplace[i]);
        }
    }
    /* NaN and inf in rows of 3, of which some are without */
    const gradient_case rows = {.op = op, .dtype = TRINE_F16, .rows = 64, .n = 3, .spread = 1, .eps = 0.1};
    case_set_fill(&new_gradient(list, rows)->tensor[1], FILL_SPECIAL, 0, 1);
    new_gradient(list, (gradient_case){.op = op,
                                       .dtype = TRINE_F32,
                                       .parameters = TRINE_F32,
                                       .rows = 2,
                                       .n = 600000,
                                       .spread = 1,
                                       .eps = 1e-5,
                                       .sums = WITH_ALL,
                                       .dsum = true});
    new_gradient(list, (gradient_case){.op = op,
                                       .dtype = TRINE_BF16,
                                       .parameters = TRINE_F32,
                                       .rows = 3,
                                       .n = 1048576,
                                       .spread = 1,
                                       .eps = 1e-5,
                                       .sums = WITH_ALL});
    new_gradient(list, (gradient_case){.op = op,
                                       .dtype = TRINE_F32,
                                       .parameters = TRINE_F32,
                                       .rows = 4099,
                                       .n = 260,
                                       .spread = 1,
                                       .eps = 1e-5,
                                       .sums = WITH_ALL});
    /* several long rows one after the other for a cluster of blocks */
    static const struct {
        trine_dtype dtype;
        int64_t rows, n;
    } streamed[] = {{TRINE_F32, 200, 16392}, {TRINE_F32, 40, 131072}, {TRINE_BF16, 100, 65544}, {TRINE_F16, 30, 262144}};
    for (size_t i = 0; i < sizeof streamed / sizeof streamed[0]; i++)
        new_gradient(list, (gradient_case){.op = op,
                                           .dtype = streamed[i].dtype,
                                           .parameters = streamed[i].dtype,
                                           .rows = streamed[i].rows,
                                           .n = streamed[i].n,
                                           .spread = 1,
                                           .eps = 1e-5,
                                           .sums = WITH_ALL,
                                           .saved = i % 2,
                                           .dsum = i / 2});
}

/* With the statistics that the forward pass left, as training has them. */
static gradient_case timed_gradient(trine_op op, trine_dtype dtype, int64_t rows, int64_t n)
{
    return (gradient_case){.op = op,
                           .dtype = dtype,
                           .parameters = dtype,
                           .rows = rows,
                           .n = n,
                           .spread = 1,
                           .eps = 1e-5,
                           .saved = true,
                           .sums = WITH_ALL};
}

static void bench_gradient_cases(case_list *list, trine_op op)
{
    static const int64_t shapes[][2] = {{262144, 256}, {65536, 1024}, {16384, 4096}, {8192, 8192},
                                        {2048, 32768}, {512, 131072}, {256, 262144}};
    for (int d = 0; d < 3; d += 2) /* f32 and bf16 */
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
            new_gradient(list, timed_gradient(op, case_floats[d], shapes[s][0] * (1 + d / 2), shapes[s][1]));
}

void cases_layernorm_backward(case_list *list, case_kind kind)
{
    if (kind == CASES_BENCH) {
        bench_gradient_cases(list, TRINE_OP_layernorm_backward);
        return;
    }
    check_gradients(&(gradient_attributes){.centred = true, .eps = 0.01});
    check_gradient_cases(list, TRINE_OP_layernorm_backward);
}

void cases_rmsnorm_backward(case_list *list, case_kind kind)
{
    if (kind == CASES_BENCH) {
        bench_gradient_cases(list, TRINE_OP_rmsnorm_backward);
        return;
    }
    check_gradients(&(gradient_attributes){.eps = 0.01});
    check_gradients(&(gradient_attributes){.eps = 0.01, .offset = 1});
    check_gradient_cases(list, TRINE_OP_rmsnorm_backward);
    for (int d = 0; d < 3; d++)
        for (int mode = 1; mode <= 2; mode++)
            for (int i = 0; i < 4; i++)
                new_gradient(list, (gradient_case){.op = TRINE_OP_rmsnorm_backward,
                                                   .dtype = case_floats[d],
                                                   .parameters = i % 2 ? TRINE_F32 : case_floats[d],
                                                   .rows = 40,
                                                   .n = 67 + 333 * i,
                                                   .spread = 1,
                                                   .eps = 1e-6,
                                                   .sums = WITH_ALL,
                                                   .dsum = i > 1,
                                                   .mode = mode});
}

#endif
