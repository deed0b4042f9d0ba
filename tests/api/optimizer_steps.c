/* Training steps in a row, on every backend that has a device here: the norm of all gradients, the step clipped by it, a step that
 * is skipped, against the same in f64. What a step leaves is what the next one starts from, so that errors add up. Then the same
 * calls from a graph, bit for bit. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/api/calls.h"
#include "tests/unit/expect.h"

enum { TENSORS = 3, STEPS = 30, SKIPPED = 11, MOST = 1031 };
static const int64_t sizes[TENSORS] = {MOST, 64, 7};
static const double max_norm = 20;

typedef struct tensors {
    trine_tensor at[TENSORS];
} tensors;

typedef struct model {
    trine_stream *s;
    tensors param, grad, m, v, master;
    trine_tensor norm, clip, found_inf;
    double weight[TENSORS][MOST], first[TENSORS][MOST], second[TENSORS][MOST], slope[TENSORS][MOST];
} model;

static trine_tensor make(trine_stream *s, trine_dtype dtype, int64_t n)
{
    void *data = NULL;
    EXPECT(trine_malloc(s, (size_t)n * 4, &data) == TRINE_OK && trine_memset(s, data, 0, (size_t)n * 4) == TRINE_OK);
    return trine_tensor_1d(data, dtype, n);
}

static void put(trine_stream *s, const trine_tensor *t, const double *from)
{
    unsigned char bits[MOST * 4];
    trine_convert(from, TRINE_F64, bits, t->dtype, t->shape[0]);
    EXPECT(trine_memcpy(s, t->data, bits, (size_t)t->shape[0] * (size_t)trine_dtype_bits(t->dtype) / 8, TRINE_HOST_TO_DEVICE) ==
               TRINE_OK &&
           trine_stream_synchronize(s) == TRINE_OK);
}

static void get(trine_stream *s, const trine_tensor *t, double *to)
{
    unsigned char bits[MOST * 4];
    EXPECT(trine_memcpy(s, bits, t->data, (size_t)t->shape[0] * (size_t)trine_dtype_bits(t->dtype) / 8, TRINE_DEVICE_TO_HOST) ==
               TRINE_OK &&
           trine_stream_synchronize(s) == TRINE_OK);
    trine_convert(bits, t->dtype, to, TRINE_F64, t->shape[0]);
}

/* The second parameter is bf16 with a master copy. */
static void model_make(model *x, trine_stream *s)
{
    memset(x, 0, sizeof *x);
    x->s = s;
    for (int k = 0; k < TENSORS; k++) {
        const bool half = k == 1;
        x->param.at[k] = make(s, half ? TRINE_BF16 : TRINE_F32, sizes[k]);
        x->grad.at[k] = make(s, half ? TRINE_BF16 : TRINE_F32, sizes[k]);
        x->m.at[k] = make(s, TRINE_F32, sizes[k]);
        x->v.at[k] = make(s, TRINE_F32, sizes[k]);
        if (half) x->master.at[k] = make(s, TRINE_F32, sizes[k]);
        for (int64_t i = 0; i < sizes[k]; i++) x->weight[k][i] = (double)(float)(sin(0.37 * (double)i + k) * 2);
        put(s, half ? &x->master.at[k] : &x->param.at[k], x->weight[k]);
    }
    x->norm = make(s, TRINE_F32, 1);
    x->clip = make(s, TRINE_F32, 1);
    x->found_inf = make(s, TRINE_F32, 1);
}

static void model_free(model *x)
{
    tensors *const all[] = {&x->param, &x->grad, &x->m, &x->v, &x->master};
    for (size_t j = 0; j < sizeof all / sizeof all[0]; j++)
        for (int k = 0; k < TENSORS; k++) trine_free(x->s, all[j]->at[k].data);
    trine_free(x->s, x->norm.data);
    trine_free(x->s, x->clip.data);
    trine_free(x->s, x->found_inf.data);
}

/* Gradients of this step, as the device has them; their norm. */
static double new_gradients(model *x, int step)
{
    double sum = 0;
    for (int k = 0; k < TENSORS; k++) {
        for (int64_t i = 0; i < sizes[k]; i++)
            x->slope[k][i] = cos(0.11 * (double)i * (1 + 0.1 * step) + step) * (step % 5 == 0 ? 0.1 : 1.5);
        put(x->s, &x->grad.at[k], x->slope[k]);
        get(x->s, &x->grad.at[k], x->slope[k]); /* rounded */
        for (int64_t i = 0; i < sizes[k]; i++) sum += x->slope[k][i] * x->slope[k][i];
    }
    return sqrt(sum);
}

static trine_tensor_list list(const tensors *t) { return (trine_tensor_list){t->at, TENSORS}; }

static void call_norm(const model *x)
{
    const trine_global_norm_args a = {.x = list(&x->grad), .norm = x->norm, .clip = x->clip, .max_norm = max_norm};
    CHECK(trine_global_norm(x->s, &a) == TRINE_OK, "global_norm: %s", trine_error_text());
}

static trine_adamw_args adamw_args(const model *x, int step)
{
    return (trine_adamw_args){.param = list(&x->param),
                              .grad = list(&x->grad),
                              .m = list(&x->m),
                              .v = list(&x->v),
                              .master = list(&x->master),
                              .grad_scale = x->clip,
                              .found_inf = x->found_inf,
                              .lr = 0.01,
                              .beta1 = 0.9,
                              .beta2 = 0.99,
                              .eps = 1e-6,
                              .weight_decay = 0.1,
                              .step = step};
}

static void adamw_in_f64(model *x, const trine_adamw_args *a, double scale)
{
    for (int k = 0; k < TENSORS; k++)
        for (int64_t i = 0; i < sizes[k]; i++) {
            double *p = &x->weight[k][i], *m = &x->first[k][i], *v = &x->second[k][i], g = x->slope[k][i] * scale;
            *p *= 1 - a->lr * a->weight_decay;
            *m += (1 - a->beta1) * (g - *m);
            *v += (1 - a->beta2) * (g * g - *v);
            *p -=
                a->lr * (*m / (1 - pow(a->beta1, (double)a->step))) / (sqrt(*v / (1 - pow(a->beta2, (double)a->step))) + a->eps);
        }
}

static trine_sgd_args sgd_args(const model *x, int step)
{
    return (trine_sgd_args){.param = list(&x->param),
                            .grad = list(&x->grad),
                            .buffer = list(&x->m),
                            .master = list(&x->master),
                            .grad_scale = x->clip,
                            .found_inf = x->found_inf,
                            .lr = 0.01,
                            .momentum = 0.9,
                            .weight_decay = 0.1,
                            .nesterov = 1,
                            .step = step};
}

static void sgd_in_f64(model *x, const trine_sgd_args *a, double scale)
{
    for (int k = 0; k < TENSORS; k++)
        for (int64_t i = 0; i < sizes[k]; i++) {
            double *p = &x->weight[k][i], *b = &x->first[k][i], g = x->slope[k][i] * scale + a->weight_decay * *p;
            *b = a->step == 1 ? g : a->momentum * *b + g;
            *p -= a->lr * (g + a->momentum * *b);
        }
}

/* Weights against f64: a few roundings of numbers of the size of 2 each step. Of the master copy, the parameter is its rounding. */
static void expect_weights(const model *x, const char *backend, const char *op)
{
    for (int k = 0; k < TENSORS; k++) {
        double got[MOST], copy[MOST], worst = 0;
        const bool half = x->master.at[k].data != NULL;
        get(x->s, half ? &x->master.at[k] : &x->param.at[k], got);
        get(x->s, &x->param.at[k], copy);
        for (int64_t i = 0; i < sizes[k]; i++) {
            uint16_t bits;
            trine_convert(&got[i], TRINE_F64, &bits, TRINE_BF16, 1);
            if (half) trine_convert(&bits, TRINE_BF16, &got[i], TRINE_F64, 1);
            CHECK(!half || copy[i] == got[i], "%s: %s: parameter %d[%d] is not its master copy rounded", backend, op, k, (int)i);
        }
        get(x->s, half ? &x->master.at[k] : &x->param.at[k], got);
        for (int64_t i = 0; i < sizes[k]; i++) worst = fmax(worst, fabs(got[i] - x->weight[k][i]));
        CHECK(worst <= STEPS * 4 * 0x1p-23, "%s: %s: parameter %d is off by %g", backend, op, k, worst);
    }
}

static void run_steps(trine_stream *s, const char *backend, bool adam)
{
    static model x;
    const double one = 1, zero = 0;
    model_make(&x, s);
    for (int call = 1, step = 1; call <= STEPS; call++) {
        const double norm = new_gradients(&x, call), scale = fmin(1, max_norm / (norm + 1e-6));
        double got;
        put(s, &x.found_inf, call == SKIPPED ? &one : &zero);
        call_norm(&x);
        get(s, &x.norm, &got);
        CHECK(fabs(got - norm) <= 1e-7 * norm, "%s: norm %.9g should be %.9g", backend, got, norm);
        const trine_adamw_args a = adamw_args(&x, step);
        const trine_sgd_args b = sgd_args(&x, step);
        CHECK((adam ? trine_adamw(s, &a) : trine_sgd(s, &b)) == TRINE_OK, "%s: step %d: %s", backend, step, trine_error_text());
        if (call == SKIPPED) continue;
        if (adam)
            adamw_in_f64(&x, &a, scale);
        else
            sgd_in_f64(&x, &b, scale);
        step++;
    }
    expect_weights(&x, backend, adam ? "adamw" : "sgd");
    model_free(&x);
}

/* Norm, scaling and step three times: called, and launched from one graph. */
static void run_graph(trine_stream *s, const char *backend)
{
    static model x[2];
    static double weights[2][MOST];
    trine_graph *graph = NULL;
    for (int which = 0; which < 2; which++) {
        model_make(&x[which], s);
        new_gradients(&x[which], 3);
        call_norm(&x[which]); /* the workspace grows now */
        const trine_sgd_args step = sgd_args(&x[which], 2);
        const trine_scale_list_args scale = {list(&x[which].grad), x[which].clip};
        if (which) EXPECT(trine_graph_begin(s) == TRINE_OK);
        for (int i = 0; i < (which ? 1 : 3); i++) {
            call_norm(&x[which]);
            EXPECT(trine_scale_list(s, &scale) == TRINE_OK);
            EXPECT(trine_sgd(s, &step) == TRINE_OK);
        }
        if (which) EXPECT(trine_graph_end(s, &graph) == TRINE_OK);
        for (int i = 0; which && i < 3; i++) EXPECT(trine_graph_launch(graph) == TRINE_OK);
        get(s, &x[which].param.at[0], weights[which]);
    }
    CHECK(memcmp(weights[0], weights[1], sizeof weights[0]) == 0, "%s: a graph's steps have other bits", backend);
    trine_graph_destroy(graph);
    for (int which = 0; which < 2; which++) model_free(&x[which]);
}

int main(void)
{
    for (int32_t i = 0; trine_backend_name(i); i++) {
        const char *backend = trine_backend_name(i);
        trine_stream *s = NULL;
        int32_t devices = 0;
        const trine_stream_options options = {.backend = backend, .variant = "", .flags = TRINE_STREAM_NO_FALLBACK};
        if (trine_device_count(backend, &devices) != TRINE_OK || devices == 0) continue;
        EXPECT(trine_stream_create(&options, &s) == TRINE_OK);
        run_steps(s, backend, true);
        run_steps(s, backend, false);
        run_graph(s, backend);
        trine_stream_destroy(s);
        printf("%s: %d steps\n", backend, 2 * STEPS);
    }
    return finish();
}
