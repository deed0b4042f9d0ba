/* Cases of batchnorm, groupnorm and their gradients, part of norm.c. Statistics of a case are made once and kept, since outputs
 * are asked for a sample at a time.
 *
 * Bounds, with k = |mean| / sqrt(var + eps): as in norm.c, x - mean is off by a few u |mean|. dx has the terms g, mean(g) and
 * z mean(g z) of at most 10, 10 and, for sets of a few elements, 5 x 50; sums over n elements of the size of 5 are added up in pieces,
 * whose roundings are those of sqrt(n) terms. */
#ifndef TRINE_TESTS_CHANNELS_H
#define TRINE_TESTS_CHANNELS_H

#include <pthread.h>

#include "tests/cases/channel_model.h"

/* ---- The model of a case ---- */

typedef struct kept_model {
    const test_case *c;
    uint64_t seed;
    channel_model m;
} kept_model;

static double *values_of(const case_tensor *t)
{
    if (!t) return NULL;
    double *x = numbers(t->period);
    for (int64_t i = 0; i < t->period; i++) x[i] = case_value(t, i);
    return x;
}

static void release_model(kept_model *kept)
{
    free((void *)kept->m.x);
    free((void *)kept->m.dy);
    free((void *)kept->m.weight);
    free((void *)kept->m.bias);
    free(kept->m.mean);
    *kept = (kept_model){0};
}

/* What the case's op has as attributes. */
typedef struct channel_attributes {
    double eps, momentum;
    int64_t groups;
    int32_t last;
    bool inference, backward;
} channel_attributes;

static channel_attributes channel_attributes_of(const test_case *c)
{
    const void *args = c->args;
    const trine_batchnorm_args *b = args;
    const trine_batchnorm_backward_args *bb = args;
    const trine_groupnorm_args *g = args;
    const trine_groupnorm_backward_args *gb = args;
    switch (c->op) {
    case TRINE_OP_batchnorm:
        return (channel_attributes){(double)b->eps, (double)b->momentum, 0, b->channels_last, b->inference != 0, false};
    case TRINE_OP_batchnorm_backward:
        return (channel_attributes){(double)bb->eps, 0, 0, bb->channels_last, bb->inference != 0, true};
    case TRINE_OP_groupnorm: return (channel_attributes){(double)g->eps, 0, g->groups, g->channels_last, false, false};
    default: return (channel_attributes){0, 0, gb->groups, gb->channels_last, false, true};
    }
}

static void model_take_given(channel_model *m, const test_case *c, const channel_attributes *a)
{
    const case_tensor *mean = case_find(c, a->inference ? "running_mean" : "mean"),
                      *rstd = case_find(c, a->inference ? "running_var" : "rstd");
    for (int64_t s = 0; s < model_sets(m); s++) {
        m->mean[s] = case_value(mean, s);
        m->rstd[s] = a->inference ? 1 / sqrt(case_value(rstd, s) + a->eps) : case_value(rstd, s);
    }
}

/* A thread's model, freed when it ends. */
static pthread_key_t kept_key;
static pthread_once_t kept_once = PTHREAD_ONCE_INIT;

static void release_kept(void *kept)
{
    release_model(kept);
    free(kept);
}

static void make_kept_key(void) { pthread_key_create(&kept_key, release_kept); }

static kept_model *kept_of_thread(void)
{
    pthread_once(&kept_once, make_kept_key);
    kept_model *kept = pthread_getspecific(kept_key);
    if (kept) return kept;
    kept = calloc(1, sizeof *kept);
    if (!kept || pthread_setspecific(kept_key, kept) != 0) abort();
    return kept;
}

static const channel_model *model_of(const test_case *c)
{
    kept_model *const kept = kept_of_thread();
    const channel_attributes a = channel_attributes_of(c);
    const case_tensor *x = case_find(c, "x");
    if (kept->c == c && kept->seed == c->seed) return &kept->m;
    release_model(kept);
    kept->c = c;
    kept->seed = c->seed;
    channel_model *m = &kept->m;
    *m = (channel_model){.samples = x->shape[0],
                         .channels = x->shape[a.last ? x->ndim - 1 : 1],
                         .last = a.last,
                         .groups = a.groups,
                         .period = x->period,
                         .eps = a.eps};
    m->plane = 1;
    for (int32_t d = a.last ? 1 : 2; d < x->ndim - (a.last ? 1 : 0); d++) m->plane *= x->shape[d];
    m->x = values_of(x);
    m->dy = a.backward ? values_of(case_find(c, "dy")) : NULL;
    m->weight = values_of(case_find(c, "weight"));
    m->bias = a.backward ? NULL : values_of(case_find(c, "bias"));
    model_allocate(m);
    if (a.backward || a.inference)
        model_take_given(m, c, &a);
    else
        model_statistics(m);
    if (a.backward) model_slopes(m);
    return m;
}

/* ---- The oracle ---- */

static double running_value(const test_case *c, const char *old, int64_t channel, double value, double n)
{
    const channel_attributes a = channel_attributes_of(c);
    const double before = case_value(case_find(c, old), channel);
    return n > 0 ? (1 - a.momentum) * before + a.momentum * value : before;
}

static double channel_value(const test_case *c, const channel_model *m, const char *name, int64_t i)
{
    const double n = model_set_size(m);
    if (strcmp(name, "y") == 0) return model_y(m, i);
    if (strcmp(name, "dx") == 0) return model_dx(m, i, channel_attributes_of(c).inference);
    if (strcmp(name, "mean") == 0) return m->mean[i];
    if (strcmp(name, "rstd") == 0) return m->rstd[i];
    if (strcmp(name, "dweight") == 0) return m->dweight[i];
    if (strcmp(name, "dbias") == 0) return m->dbias[i];
    if (strcmp(name, "new_running_mean") == 0) return running_value(c, "running_mean", i, m->mean[i], n);
    return running_value(c, "running_var", i, m->squares[i] / (n > 1 ? n - 1 : 1), n);
}

static void oracle_channels(const test_case *c, int64_t unit, double *const *out)
{
    const trine_op_info *info = trine_op_get_info(c->op);
    const channel_model *m = model_of(c);
    int k = 0;
    for (int32_t t = 0; t < c->tensor_count; t++) {
        if (!c->tensor[t].output) continue;
        const int64_t n = c->tensor[t].numel / c->units;
        for (int64_t i = 0; i < n; i++) out[k][i] = channel_value(c, m, info->fields[c->tensor[t].field].name, unit * n + i);
        k++;
    }
}

/* ---- Cases ---- */

typedef struct channel_case {
    trine_op op;
    trine_dtype dtype, parameters;            /* NONE: without weight and bias */
    int64_t samples, channels, height, width; /* width 0: [N, C, H]; both -1: [N, C] */
    int32_t last, groups;
    enum { BARE, ALL_OUTPUTS, INFERENCE } kind;
    case_layout layout;
    double mean, spread, eps;
} channel_case;

static int32_t shape_of(const channel_case *s, int64_t shape[4])
{
    int32_t ndim = 0;
    shape[ndim++] = s->samples;
    if (!s->last) shape[ndim++] = s->channels;
    if (s->height >= 0) shape[ndim++] = s->height;
    if (s->height >= 0 && s->width > 0) shape[ndim++] = s->width;
    if (s->last) shape[ndim++] = s->channels;
    return ndim;
}

static void add_statistics(test_case *c, const channel_case *s, bool backward)
{
    const int64_t sets[] = {s->groups ? s->samples : s->channels, s->groups};
    const int32_t ndim = s->groups ? 2 : 1;
    const double rstd = 1 / sqrt(s->spread * s->spread + s->eps);
    const bool running = s->op == TRINE_OP_batchnorm || (s->op == TRINE_OP_batchnorm_backward && s->samples % 2);
    if (backward && s->kind != INFERENCE) {
        case_set_fill(case_in(c, "mean", TRINE_F32, ndim, sets), FILL_NORMAL, s->mean, s->spread / 8);
        case_set_fill(case_in(c, "rstd", TRINE_F32, ndim, sets), FILL_UNIFORM, 0.75 * rstd, 1.25 * rstd);
    }
    if (s->kind == INFERENCE || (running && s->kind == ALL_OUTPUTS)) { /* not read by the backward of training */
        const double var = s->spread * s->spread;
        case_set_fill(case_in(c, "running_mean", TRINE_F32, ndim, sets), FILL_NORMAL, s->mean, s->spread / 8);
        case_set_fill(case_in(c, "running_var", TRINE_F32, ndim, sets), FILL_UNIFORM, 0.75 * var, 1.25 * var);
    }
    if (backward || s->kind != ALL_OUTPUTS) return;
    case_out(c, "mean", TRINE_F32, ndim, sets);
    case_out(c, "rstd", TRINE_F32, ndim, sets);
    if (s->groups) return;
    case_out(c, "new_running_mean", TRINE_F32, ndim, sets);
    case_out(c, "new_running_var", TRINE_F32, ndim, sets);
    if (s->samples % 2) return; /* beside the old ones */
    case_set_inplace(c, "new_running_mean", "running_mean");
    case_set_inplace(c, "new_running_var", "running_var");
}

static void set_attributes(test_case *c, const channel_case *s)
{
    if (s->op == TRINE_OP_batchnorm) {
        trine_batchnorm_args *a = CASE_ARGS(c, batchnorm);
        a->eps = (float)s->eps;
        a->momentum = 0.125f;
        a->inference = s->kind == INFERENCE;
        a->channels_last = s->last;
    } else if (s->op == TRINE_OP_batchnorm_backward) {
        trine_batchnorm_backward_args *a = CASE_ARGS(c, batchnorm_backward);
        a->eps = (float)s->eps;
        a->inference = s->kind == INFERENCE;
        a->channels_last = s->last;
    } else if (s->op == TRINE_OP_groupnorm) {
        trine_groupnorm_args *a = CASE_ARGS(c, groupnorm);
        a->eps = (float)s->eps;
        a->groups = s->groups;
        a->channels_last = s->last;
    } else {
        CASE_ARGS(c, groupnorm_backward)->groups = s->groups;
        CASE_ARGS(c, groupnorm_backward)->channels_last = s->last;
    }
}

static void set_bounds(test_case *c, const channel_case *s, bool backward, double numel)
{
    const double rstd = 1 / sqrt(s->spread * s->spread + s->eps), k = fabs(s->mean) * rstd, size = s->parameters ? 2 : 1,
                 sets = s->groups ? (double)(s->samples * s->groups) : (double)s->channels, n = sets > 0 ? numel / sets : 0,
                 of_channel = s->channels ? numel / (double)s->channels : 0, var = s->spread * s->spread;
    const double slope = (n < 64 ? 4000 : 400) * size * rstd * u + (s->kind == ALL_OUTPUTS ? 40 * sqrt(of_channel) * u : 0);
    /* a few elements may lie close together: the variance is then eps, of which x - mean is off by u |x| */
    const double near = n < 8 && s->kind != INFERENCE ? (fabs(s->mean) + 4 * s->spread) / sqrt(s->eps) : 0;
    const double value = ((16 + 8 * k) * 5 + 4 * near) * size * u,
                 outputs = (8 * (fabs(s->mean) + rstd * (1 + k * k * u) + var) + near / sqrt(s->eps)) * u;
    case_tolerance(c, s->dtype, 32 * u, backward ? slope : value + (s->kind == ALL_OUTPUTS ? outputs : 0));
}

static test_case *new_channels(case_list *list, channel_case s)
{
    static const char *const kinds[] = {"", " all outputs", " inference"};
    int64_t shape[4];
    char groups[32] = "";
    const int32_t ndim = shape_of(&s, shape);
    const bool backward = s.op == TRINE_OP_batchnorm_backward || s.op == TRINE_OP_groupnorm_backward;
    if (s.groups) snprintf(groups, sizeof groups, " groups %d", (int)s.groups);
    test_case *c =
        case_new(list, s.op, "%s %lldx%lldx%lldx%lld%s%s%s weight %s mean %g", trine_dtype_name(s.dtype), (long long)s.samples,
                 (long long)s.channels, (long long)s.height, (long long)s.width, s.last ? " channels last" : "", groups,
                 kinds[s.kind], s.parameters ? trine_dtype_name(s.parameters) : "none", s.mean);
    case_set_fill(case_in(c, "x", s.dtype, ndim, shape), FILL_NORMAL, s.mean, s.spread);
    if (backward) case_in(c, "dy", s.dtype, ndim, shape);
    if (s.parameters) case_set_fill(case_in(c, "weight", s.parameters, 1, &s.channels), FILL_UNIFORM, -2, 2);
    if (s.parameters && !backward) case_set_fill(case_in(c, "bias", s.parameters, 1, &s.channels), FILL_UNIFORM, -2, 2);
    const int64_t numel = case_out(c, backward ? "dx" : "y", s.dtype, ndim, shape)->numel;
    case_set_layout(c, s.layout);
    add_statistics(c, &s, backward);
    if (backward && s.kind != BARE) {
        case_out(c, "dweight", s.parameters ? s.parameters : TRINE_F32, 1, &s.channels);
        case_out(c, "dbias", s.parameters ? s.parameters : TRINE_F32, 1, &s.channels);
    }
    for (int32_t t = 0; t < c->tensor_count; t++)
        if (c->tensor[t].ndim == 1 && s.layout > LAYOUT_OFFSET) c->tensor[t].layout = LAYOUT_DENSE;
    set_attributes(c, &s);
    set_bounds(c, &s, backward, (double)numel);
    c->units = 1;
    c->oracle = oracle_channels;
    c->work *= 4;
    c->flops = (backward ? 12.0 : 8.0) * (double)numel;
    case_count_bytes(c);
    return c;
}

static void channel_check_shapes(case_list *list, trine_op op, trine_dtype dtype, bool grouped)
{
    static const int64_t sizes[][4] = {{1, 1, 1, 0},   {2, 3, 5, 0},      {3, 4, 7, 7},    {2, 6, 0, 0},     {0, 4, 9, 0},
                                       {3, 0, 4, 0},   {9, 33, -1, 0},    {300, 8, -1, 0}, {130, 64, -1, 0}, {1, 7, -1, 0},
                                       {5, 16, 4, 8},  {2, 12, 14, 14},   {4, 8, 16, 16},  {1, 2, 1031, 0},  {2, 24, 3, 7},
                                       {1, 513, 2, 0}, {70, 1100, -1, 0}, {8, 6, 7, 7},    {1352, 2, 7, 7}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int32_t last = 0; last < 2; last++) {
            const int64_t *z = sizes[i];
            channel_case s = {op,   dtype, i % 3 ? dtype : TRINE_F32,  z[0],         z[1], z[2], z[3],
                              last, 0,     i % 2 ? ALL_OUTPUTS : BARE, LAYOUT_DENSE, 0.5,  1,    1e-5};
            if (grouped) s.groups = z[1] % 4 == 0 && i % 3 ? 4 : i % 2 ? 1 : z[1] > 0 ? (int32_t)z[1] : 1;
            new_channels(list, s);
            s.kind = ALL_OUTPUTS;
            s.mean = 0;
            s.parameters = i % 2 ? TRINE_DTYPE_NONE : dtype;
            s.layout = (case_layout)(1 + i % (LAYOUT_COUNT - 1));
            if (grouped) s.groups = z[1] % 2 == 0 && z[1] > 0 ? 2 : 1;
            new_channels(list, s);
        }
}

/* Layouts; statistics that cancellation would spoil; sets beyond what is held at once. */
static void channel_check_values(case_list *list, trine_op op, trine_dtype dtype, int32_t groups)
{
    for (int layout = 0; layout < LAYOUT_COUNT; layout++) {
        new_channels(list,
                     (channel_case){op, dtype, dtype, 3, 8, 5, 24, 0, groups, ALL_OUTPUTS, (case_layout)layout, 0, 1, 1e-5});
        new_channels(list,
                     (channel_case){op, dtype, dtype, 3, 16, 24, 0, 0, groups, ALL_OUTPUTS, (case_layout)layout, 2, 1, 1e-5});
        new_channels(list,
                     (channel_case){op, dtype, TRINE_F32, 3, 24, 5, 0, 1, groups, ALL_OUTPUTS, (case_layout)layout, 2, 1, 1e-5});
    }
    for (int32_t last = 0; last < 2; last++) {
        new_channels(list, (channel_case){op, dtype, dtype, 4, 8, 24, 0, last, groups, ALL_OUTPUTS, LAYOUT_DENSE, 1000, 1, 1e-5});
        new_channels(list,
                     (channel_case){op, dtype, dtype, 4, 8, 40, 40, last, groups, ALL_OUTPUTS, LAYOUT_DENSE, -1000, 1, 1e-5});
        new_channels(list, (channel_case){op, dtype, dtype, 5, 8, 17, 3, last, groups, ALL_OUTPUTS, LAYOUT_DENSE, 3, 0, 1e-3});
        new_channels(list,
                     (channel_case){op, dtype, TRINE_F32, 2, 4, 224, 224, last, groups, ALL_OUTPUTS, LAYOUT_DENSE, 0, 1, 1e-5});
        new_channels(list,
                     (channel_case){op, dtype, TRINE_F32, 1, 4, 70001, 0, last, groups, ALL_OUTPUTS, LAYOUT_DENSE, 0, 1, 1e-5});
    }
    static const int64_t pieces[][4] = {{3, 40, 49, 5}, {2, 80, 196, 2},  {2, 320, 256, 8}, {2, 64, 784, 2}, {5, 96, 8, 3},
                                        {4, 48, 9, 3},  {2, 2048, 16, 2}, {1, 6000, 40, 1}, {2, 96, 128, 2}, {40, 32, 16, 32}};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces && groups; i++) { /* groups in one piece, of small planes */
        const int64_t *z = pieces[i];
        new_channels(list, (channel_case){op, dtype, i % 2 ? dtype : TRINE_F32, z[0], z[1], z[2], 0, 0, (int32_t)z[3],
                                          i == 4 ? BARE : ALL_OUTPUTS, i % 3 ? LAYOUT_DENSE : LAYOUT_APART, 1, 1, 1e-5});
    }
    for (int64_t plane = 40; plane <= 152 && groups; plane += 112) /* groups of several planes, in a tile or in pieces */
        new_channels(list, (channel_case){op, dtype, dtype, 3, 8, plane, 72, 0, 2, ALL_OUTPUTS, LAYOUT_DENSE, 1, 1, 1e-5});
    new_channels(list, (channel_case){op, dtype, dtype, 6, 8, 2880, 0, 1, groups ? 2 : 0, ALL_OUTPUTS, LAYOUT_TRANSPOSED, 1, 1,
                                      1e-5}); /* channels last by the attribute, planes by the strides */
    new_channels(list, (channel_case){op, dtype, dtype, groups ? 12 : 2, groups ? 32 : 528, groups ? 96 : 1056, 0, 0, groups,
                                      ALL_OUTPUTS, LAYOUT_DENSE, 1, 1, 1e-5}); /* many blocks of planes that are whole lines */
    for (int layout = 0; layout < LAYOUT_COUNT; layout++)                      /* several planes a tile, and fewer in the last */
        new_channels(list,
                     (channel_case){op, dtype, TRINE_F32, 9, 4, 72, 40, 0, groups, ALL_OUTPUTS, (case_layout)layout, 1, 1, 1e-5});
    new_channels(list, (channel_case){op, TRINE_F32, TRINE_F32, 1, 2, 600000, 0, 0, groups > 1 ? 1 : groups, BARE, LAYOUT_DENSE,
                                      1, 1, 1e-5});
}

static void channel_check_inplace(case_list *list, trine_op op, trine_dtype dtype, int32_t groups, bool backward)
{
    for (int32_t last = 0; last < 2; last++)
        for (int i = 0; i <= backward; i++) {
            const channel_case s = {op, dtype, dtype, 6, 16, 5, 9, last, groups, ALL_OUTPUTS, LAYOUT_DENSE, 0, 1, 1e-5};
            case_set_inplace(new_channels(list, s), backward ? "dx" : "y", i ? "dy" : "x");
            const channel_case larger = {op, dtype, dtype, 5, 4, 48, 48, last, groups, ALL_OUTPUTS, LAYOUT_DENSE, 0, 1, 1e-5};
            case_set_inplace(new_channels(list, larger), backward ? "dx" : "y", i ? "dy" : "x");
        }
}

static void channel_check_cases(case_list *list, trine_op op, bool grouped, bool backward)
{
    for (int d = 0; d < 3; d++) {
        channel_check_shapes(list, op, case_floats[d], grouped);
        channel_check_values(list, op, case_floats[d], grouped ? 4 : 0);
        channel_check_inplace(list, op, case_floats[d], grouped ? 4 : 0, backward);
        for (int32_t last = 0; last < 2 && !grouped; last++)
            for (int layout = 0; layout < LAYOUT_COUNT; layout++) {
                new_channels(list, (channel_case){op, case_floats[d], case_floats[d], 3, 16, 5, 16, last, 0, INFERENCE,
                                                  (case_layout)layout, 1, 1, 1e-5});
                new_channels(list, (channel_case){op, case_floats[d], TRINE_DTYPE_NONE, 7, 33, layout ? 3 : -1, 0, last, 0,
                                                  INFERENCE, (case_layout)layout, 1, 1, 1e-5});
            }
    }
}

/* A sample is a unit, which deals out the outputs by channel too: there is a multiple of as many channels. `moves`: reads and writes
 * of each element; a set that stays on the chip is read once. */
static void bench_channels(case_list *list, channel_case s, double moves)
{
    test_case *c = new_channels(list, s);
    const bool forward = s.op == TRINE_OP_batchnorm || s.op == TRINE_OP_groupnorm;
    c->units = s.samples;
    c->work = (double)(s.samples * s.channels * s.height * s.width);
    c->bytes += (moves - (forward ? 2 : 3)) * c->work * (double)trine_dtype_bits(s.dtype) / 8;
}

/* Tensors of 256 MiB and more in either dtype. */
static void batchnorm_bench_cases(case_list *list, trine_op op, trine_dtype t, double once, double twice)
{
    const int64_t more = t == TRINE_F32 ? 1 : 2;
    const bool backward = op == TRINE_OP_batchnorm_backward;
    bench_channels(list, (channel_case){op, t, TRINE_F32, 64 * more, 256, 64, 64, 0, 0, backward, LAYOUT_DENSE, 0, 1, 1e-5},
                   once);
    bench_channels(list, (channel_case){op, t, TRINE_F32, 64 * more, 256, 64, 64, 1, 0, backward, LAYOUT_DENSE, 0, 1, 1e-5},
                   twice);
    bench_channels(list, (channel_case){op, t, TRINE_F32, 256 * more, 1536, 14, 14, 0, 0, backward, LAYOUT_DENSE, 0, 1, 1e-5},
                   once);
    bench_channels(list, (channel_case){op, t, TRINE_F32, 672 * more, 2048, 7, 7, 0, 0, backward, LAYOUT_DENSE, 0, 1, 1e-5},
                   once);
    bench_channels(list, (channel_case){op, t, TRINE_F32, 64 * more, 128, 112, 112, 0, 0, backward, LAYOUT_DENSE, 0, 1, 1e-5},
                   once);
    bench_channels(list, (channel_case){op, t, TRINE_F32, 16, 16 * more, 512, 512, 0, 0, backward, LAYOUT_DENSE, 0, 1, 1e-5},
                   twice);
    bench_channels(list, (channel_case){op, t, TRINE_F32, 8 * more, 2048, 64, 64, 1, 0, backward, LAYOUT_DENSE, 0, 1, 1e-5},
                   twice);
    if (backward) return;
    bench_channels(list, (channel_case){op, t, TRINE_F32, 64 * more, 256, 64, 64, 0, 0, INFERENCE, LAYOUT_DENSE, 0, 1, 1e-5}, 2);
    bench_channels(list, (channel_case){op, t, TRINE_F32, 64 * more, 256, 64, 64, 1, 0, INFERENCE, LAYOUT_DENSE, 0, 1, 1e-5}, 2);
}

/* Gradients are counted as if x and dy were read once, which the shared kernels for GPUs do where a block holds a group. */
static void groupnorm_bench_cases(case_list *list, trine_op op, trine_dtype t, double moves)
{
    const int64_t more = t == TRINE_F32 ? 1 : 2;
    const bool backward = op == TRINE_OP_groupnorm_backward;
    bench_channels(list, (channel_case){op, t, TRINE_F32, 64 * more, 256, 64, 64, 0, 32, backward, LAYOUT_DENSE, 0, 1, 1e-5},
                   moves);
    bench_channels(list, (channel_case){op, t, TRINE_F32, 8 * more, 128, 256, 256, 0, 32, backward, LAYOUT_DENSE, 0, 1, 1e-5},
                   moves);
    bench_channels(list, (channel_case){op, t, TRINE_F32, 256 * more, 1536, 14, 14, 0, 32, backward, LAYOUT_DENSE, 0, 1, 1e-5},
                   moves);
    bench_channels(list, (channel_case){op, t, TRINE_F32, 256 * more, 1280, 16, 16, 0, 32, backward, LAYOUT_DENSE, 0, 1, 1e-5},
                   moves);
    bench_channels(list, (channel_case){op, t, TRINE_F32, 1, 64 * more, 1024, 1024, 0, 32, backward, LAYOUT_DENSE, 0, 1, 1e-5},
                   moves);
}

static void channel_bench_cases(case_list *list, trine_op op, bool grouped, bool backward)
{
    for (int d = 0; d < 3; d += 2)
        if (grouped)
            groupnorm_bench_cases(list, op, case_floats[d], backward ? 3 : 2);
        else
            batchnorm_bench_cases(list, op, case_floats[d], backward ? 3 : 2, backward ? 5 : 3);
}

static void channel_cases(case_list *list, case_kind kind, trine_op op)
{
    const bool grouped = op == TRINE_OP_groupnorm || op == TRINE_OP_groupnorm_backward,
               backward = op == TRINE_OP_batchnorm_backward || op == TRINE_OP_groupnorm_backward;
    if (kind == CASES_BENCH) {
        channel_bench_cases(list, op, grouped, backward);
        return;
    }
    for (int32_t last = 0; last < 2 && backward; last++) {
        check_channel_gradients(grouped ? 2 : 0, last, false);
        if (!grouped) check_channel_gradients(0, last, true);
    }
    channel_check_cases(list, op, grouped, backward);
}

void cases_batchnorm(case_list *list, case_kind kind) { channel_cases(list, kind, TRINE_OP_batchnorm); }
void cases_batchnorm_backward(case_list *list, case_kind kind) { channel_cases(list, kind, TRINE_OP_batchnorm_backward); }
void cases_groupnorm(case_list *list, case_kind kind) { channel_cases(list, kind, TRINE_OP_groupnorm); }
void cases_groupnorm_backward(case_list *list, case_kind kind) { channel_cases(list, kind, TRINE_OP_groupnorm_backward); }

#endif
