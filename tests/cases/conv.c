/* Cases of the conv family. The oracles (conv_model.h) sum in f64, element by element. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/cases/activation.h"
#include "tests/cases/conv_forms.h"
#include "tests/cases/conv_model.h"

/* ---- Oracles: a unit is a line along the output's last axis ---- */

static geometry geometry_of(const case_tensor *x, const case_tensor *f, const case_tensor *y, const trine_conv_window *w,
                            int32_t channels_last)
{
    const int32_t channel = channels_last ? w->rank + 1 : 1;
    geometry g = {.n = x->shape[0],
                  .c = x->shape[channel],
                  .k = y->shape[channel],
                  .groups = w->groups ? w->groups : 1,
                  .in = {1, 1},
                  .out = {1, 1},
                  .taps = {1, 1},
                  .stride = {1, 1},
                  .dilation = {1, 1},
                  .last = channels_last != 0};
    for (int32_t i = 0; i < w->rank; i++) {
        const int32_t to = i + 2 - w->rank, d = i + (channels_last ? 1 : 2);
        g.in[to] = x->shape[d];
        g.out[to] = y->shape[d];
        g.taps[to] = f->shape[d];
        g.stride[to] = w->stride[i] ? w->stride[i] : 1;
        g.padding[to] = w->padding[i];
        g.dilation[to] = w->dilation[i] ? w->dilation[i] : 1;
    }
    return g;
}

/* [image, channel, row, column] of element i of a tensor. */
static void place_of(const case_tensor *t, int64_t i, bool last, int64_t at[4])
{
    int64_t index[TRINE_MAX_DIMS];
    const int32_t rank = t->ndim - 2;
    case_unravel(t, i, index);
    at[0] = index[0];
    at[1] = index[last ? rank + 1 : 1];
    at[2] = rank == 2 ? index[last ? 1 : 2] : 0;
    at[3] = index[(last ? 1 : 2) + rank - 1];
}

static void oracle_forward(const test_case *c, int64_t unit, double *const *out)
{
    const trine_conv_args *a = (const trine_conv_args *)(const void *)c->args;
    const case_tensor *x = case_find(c, "x"), *f = case_find(c, "weight"), *y = case_find(c, "y"), *bias = case_find(c, "bias");
    const geometry g = geometry_of(x, f, y, &a->window, a->channels_last);
    const field from = input_of(&g, x, NULL), filter = filter_of(&g, f, NULL);
    const int64_t line = y->shape[y->ndim - 1];
    for (int64_t i = 0; i < line; i++) {
        int64_t at[4];
        place_of(y, unit * line + i, g.last, at);
        const double sum = output_at(&g, &from, &filter, at) + (bias ? case_value(bias, at[1]) : 0);
        out[0][i] = case_activation(a->activation, a->activation_alpha, sum);
    }
}

static void oracle_data(const test_case *c, int64_t unit, double *const *out)
{
    const trine_conv_backward_data_args *a = (const trine_conv_backward_data_args *)(const void *)c->args;
    const case_tensor *dx = case_find(c, "dx"), *f = case_find(c, "weight"), *dy = case_find(c, "dy");
    const geometry g = geometry_of(dx, f, dy, &a->window, a->channels_last);
    const field from = output_of(&g, dy, NULL), filter = filter_of(&g, f, NULL);
    const int64_t line = dx->shape[dx->ndim - 1];
    for (int64_t i = 0; i < line; i++) {
        int64_t at[4];
        place_of(dx, unit * line + i, g.last, at);
        out[0][i] = input_gradient_at(&g, &from, &filter, at);
    }
}

/* With dbias a unit is one filter, so that dbias has an element a unit. */
static void oracle_weight(const test_case *c, int64_t unit, double *const *out)
{
    const trine_conv_backward_weight_args *a = (const trine_conv_backward_weight_args *)(const void *)c->args;
    const case_tensor *x = case_find(c, "x"), *df = case_find(c, "dweight"), *dy = case_find(c, "dy");
    const geometry g = geometry_of(x, df, dy, &a->window, a->channels_last);
    const field from = input_of(&g, x, NULL), gradient = output_of(&g, dy, NULL);
    const int64_t size = df->numel / c->units;
    for (int64_t i = 0; i < size; i++) {
        int64_t at[4];
        place_of(df, unit * size + i, g.last, at);
        out[0][i] = filter_gradient_at(&g, &from, &gradient, at);
    }
    if (!case_find(c, "dbias")) return;
    out[1][0] = 0;
    for (int64_t n = 0; n < g.n; n++)
        for (int64_t p = 0; p < g.out[0]; p++)
            for (int64_t q = 0; q < g.out[1]; q++) out[1][0] += get(&gradient, n, unit, p, q);
}

/* ---- Building ---- */

typedef enum form_kind { FORWARD, DATA, WEIGHT } form_kind;

static void shape_of(const conv_case *p, int64_t n, int64_t c, int64_t h, int64_t w, int64_t shape[4])
{
    int32_t d = 0;
    shape[d++] = n;
    if (!p->last) shape[d++] = c;
    if (p->h) shape[d++] = h;
    shape[d++] = w;
    if (p->last) shape[d++] = c;
}

static trine_conv_window window_of(const conv_case *p)
{
    trine_conv_window w = {.rank = p->h ? 2 : 1, .groups = p->groups};
    for (int i = 0; i < w.rank; i++) {
        const int32_t more = p->other && w.rank == 2 && i == 0;
        w.stride[i] = p->stride + (more && p->stride ? 1 : 0);
        w.padding[i] = p->padding + more;
        w.dilation[i] = p->dilation + (more && p->dilation ? 1 : 0);
    }
    return w;
}

static int64_t out_of(const trine_conv_window *w, int32_t i, int64_t in, int64_t kernel)
{
    const int64_t room = in + 2 * w->padding[i] - (w->dilation[i] ? w->dilation[i] : 1) * (kernel - 1) - 1;
    return room < 0 ? 0 : room / (w->stride[i] ? w->stride[i] : 1) + 1;
}

/* As for matrix products (tests/cases/matmul.c derives it): `terms` products of operands of variance 1 are summed. */
static double bound_of_sum(double terms, trine_dtype dtype)
{
    const double u = 0x1p-24;
    return (4 * terms + 40) * u + (dtype == TRINE_F32 ? 0 : terms / 16 * sqrt(terms) * 2 * u);
}

static void set_tolerance(test_case *c, const conv_case *p, double terms, trine_dtype out)
{
    double rtol = 0x1p-22, atol = bound_of_sum(terms, p->dtype);
    if (p->tf32) atol += terms / 16 * sqrt(terms) * 0x1p-23 + (7 * sqrt(terms) + 20) * 0x1p-10;
    if (p->bias) atol += 0x1p-23 * (5 * sqrt(terms) + 5);
    if (p->activation != TRINE_ACT_IDENTITY) {
        const activation_error e = case_activation_error(p->activation, TRINE_F32, false);
        atol = (p->activation == TRINE_ACT_SQUARE ? 12 : 2) * atol + e.atol; /* the steepest slopes */
        rtol += e.rtol;
    }
    case_tolerance(c, out, rtol, atol);
}

static test_case *new_case(case_list *list, conv_case p, form_kind form)
{
    static const trine_op ops[] = {TRINE_OP_conv, TRINE_OP_conv_backward_data, TRINE_OP_conv_backward_weight};
    const trine_conv_window w = window_of(&p);
    const int64_t groups = p.groups ? p.groups : 1, oh = p.h ? out_of(&w, 0, p.h, p.r) : 1, ow = out_of(&w, w.rank - 1, p.w, p.s);
    const trine_dtype out = p.out ? p.out : p.dtype;
    const int32_t ndim = w.rank + 2;
    int64_t x[4], f[4], y[4];
    test_case *c =
        case_new(list, ops[form], "%s%s%s%s %lldx%lldx%lldx%lld to %lld, %dx%d stride %d padding %d dilation %d groups %d%s%s%s",
                 trine_dtype_name(p.dtype), p.tf32 ? " as tf32" : "", p.out ? " to f32" : "", p.last ? " channels last" : "",
                 (long long)p.n, (long long)p.c, (long long)p.h, (long long)p.w, (long long)p.k, (int)p.r, (int)p.s,
                 (int)p.stride, (int)p.padding, (int)p.dilation, (int)p.groups, p.other ? " (one more along the height)" : "",
                 p.bias ? " bias" : "", p.what ? p.what : "");
    shape_of(&p, p.n, p.c, p.h, p.w, x);
    shape_of(&p, p.k, p.c / groups, p.r, p.s, f);
    shape_of(&p, p.n, p.k, oh, ow, y);
    if (form != DATA) case_in(c, "x", p.dtype, ndim, x);
    if (form != FORWARD) case_in(c, "dy", p.dtype, ndim, y);
    if (form != WEIGHT) case_in(c, "weight", p.dtype, ndim, f);
    if (form == FORWARD && p.bias) case_in(c, "bias", p.bias, SHAPE(p.k));
    const case_tensor *made = form == FORWARD ? case_out(c, "y", out, ndim, y)
                              : form == DATA  ? case_out(c, "dx", out, ndim, x)
                                              : case_out(c, "dweight", out, ndim, f);
    const int64_t numel = made->numel, line = made->shape[ndim - 1];
    const double taps = (double)p.r * (double)p.s, pixels = (double)(p.n * oh * ow);
    const double terms = form == WEIGHT ? pixels : taps * (double)((form == FORWARD ? p.c : p.k) / groups);
    const trine_matmul_precision precision = p.tf32 ? TRINE_MATMUL_TF32 : TRINE_MATMUL_DEFAULT;
    if (form == FORWARD) {
        trine_conv_args *a = CASE_ARGS(c, conv);
        a->window = w;
        a->channels_last = p.last;
        a->activation = p.activation;
        a->activation_alpha = 0.1f;
        a->precision = precision;
    } else if (form == DATA) {
        CASE_ARGS(c, conv_backward_data)->window = w;
        CASE_ARGS(c, conv_backward_data)->channels_last = p.last;
        CASE_ARGS(c, conv_backward_data)->precision = precision;
    } else {
        CASE_ARGS(c, conv_backward_weight)->window = w;
        CASE_ARGS(c, conv_backward_weight)->channels_last = p.last;
        CASE_ARGS(c, conv_backward_weight)->precision = precision;
        if (p.bias) case_tensor_tolerance(case_out(c, "dbias", p.bias, SHAPE(p.k)), 0x1p-22, bound_of_sum(pixels, TRINE_F32));
    }
    set_tolerance(c, &p, terms, out);
    c->oracle = form == FORWARD ? oracle_forward : form == DATA ? oracle_data : oracle_weight;
    c->units = numel == 0 ? 0 : form == WEIGHT && p.bias ? p.k : numel / line;
    c->flops = 2 * pixels * (double)p.k * taps * (double)(p.c / groups);
    c->work = c->flops / 2 > c->work ? c->flops / 2 : c->work;
    case_count_bytes(c);
    return c;
}

/* ---- Checks ---- */

static test_case *with_layout(test_case *c, case_layout layout)
{
    case_set_layout(c, layout);
    for (int32_t i = 0; i < c->tensor_count; i++)
        if (c->tensor[i].ndim == 1) c->tensor[i].layout = LAYOUT_DENSE;
    return c;
}

static void check_forms(case_list *list, form_kind form)
{
    for (int f = 0; f < FORMS; f++)
        for (int d = 0; d < 4; d++)
            for (int last = 0; last < 2; last++) {
                conv_case p = forms[f];
                if (d == 3 && p.groups > 1) continue; /* no variant of theirs has less precision */
                p.dtype = d == 3 ? TRINE_F32 : case_floats[d];
                p.tf32 = d == 3;
                p.last = last;
                p.out = d && d < 3 && (f + last) % 4 == 1 ? TRINE_F32 : TRINE_DTYPE_NONE;
                p.bias = form == DATA || f % 3 == 0 ? TRINE_DTYPE_NONE : f % 3 == 1 ? TRINE_F32 : p.dtype;
                new_case(list, p, form);
            }
    static const int strided[] = {0, 1, 4, 6, 8, 11, 12, 16};
    for (int layout = 1; layout < LAYOUT_COUNT; layout++)
        for (int last = 0; last < 2; last++)
            for (size_t f = 0; f < sizeof strided / sizeof strided[0]; f++) {
                conv_case p = forms[strided[f]];
                p.dtype = case_floats[(f + (size_t)layout) % 3];
                p.last = last;
                p.bias = form == DATA ? TRINE_DTYPE_NONE : p.dtype;
                with_layout(new_case(list, p, form), (case_layout)layout);
            }
    static const int gapped[] = {1, 2, 3, 20, 23}; /* nothing is written behind lines whose next begins at an aligned address */
    for (int d = 0; d < 4; d++)
        for (int last = 0; last < 2; last++)
            for (size_t f = 0; f < sizeof gapped / sizeof gapped[0]; f++) {
                conv_case p = forms[gapped[f]];
                p.dtype = d == 3 ? TRINE_F32 : case_floats[d];
                p.tf32 = d == 3;
                p.last = last;
                p.what = " gapped";
                test_case *c = new_case(list, p, form);
                for (int32_t i = 0; i < c->tensor_count; i++)
                    if (c->tensor[i].output) c->tensor[i].layout = LAYOUT_GAPPED;
            }
}

static void check_activations(case_list *list)
{
    for (int d = 0; d < 3; d++)
        for (int kind = 1; kind < TRINE_ACT_COUNT; kind++) {
            conv_case p = {.dtype = case_floats[d], .n = 1, .c = 8, .k = 16, .h = 9, .w = 16, .r = 1, .s = 1, .last = kind % 2};
            char what[64];
            p.bias = kind % 3 ? p.dtype : TRINE_DTYPE_NONE;
            p.activation = (trine_activation_kind)kind;
            snprintf(what, sizeof what, " %s", trine_activation_name(p.activation));
            p.what = what;
            test_case *c = new_case(list, p, FORWARD);
            c->tensor[1].b = 0.2; /* the argument's standard deviation is about 1 */
            if (kind != TRINE_ACT_LOG && kind != TRINE_ACT_SQRT && kind != TRINE_ACT_RSQRT && kind != TRINE_ACT_EXP) continue;
            for (int i = 0; i < c->tensor_count; i++) /* their slopes are steep near 0, or large */
                if (!c->tensor[i].output) case_set_fill(&c->tensor[i], FILL_UNIFORM, 0.25, 0.5);
        }
}

/* NaN and inf come through where a tap meets them and nowhere else; those of a filter meet padding, too, which is left out here.
 * What meets them is positive and small. */
static void check_special(case_list *list, form_kind form)
{
    for (int d = 0; d < 3; d++)
        for (int last = 0; last < 2; last++)
            for (int which = 0; which < (form == FORWARD ? 3 : 2); which++) {
                conv_case p = {
                    .dtype = case_floats[d], .n = 1, .c = 2, .k = form == DATA ? 2 : 8, .h = 5, .w = 4, .r = 1, .s = 2};
                p.last = last;
                p.padding = !which;
                if (which == 1) p.s = 1;
                p.what = which == 1 ? " special second" : " special first";
                if (which == 2) { /* rows of more than 64 outputs */
                    p.c = 1;
                    p.h = 3;
                    p.w = 150;
                    p.stride = 2;
                }
                if (form == WEIGHT && p.dtype == TRINE_F32) continue; /* of many terms two huge ones may cancel */
                if (form == WEIGHT) p.h = p.w = 2;
                test_case *c = new_case(list, p, form);
                case_set_fill(&c->tensor[which == 1], FILL_SPECIAL, 0, 1);
                case_set_fill(&c->tensor[which != 1], FILL_UNIFORM, 0.01, 0.2);
            }
}

/* Groups of few channels may be multiplied as one: NaN and inf of one reach no other. */
static void check_few_channels(case_list *list, form_kind form)
{
    for (int d = 0; d < 3; d++)
        for (int last = 0; last < 2; last++) {
            conv_case p = {.n = 2, .c = 6, .k = form == DATA ? 6 : 18, .h = 5, .w = 4, .r = 1, .s = 2, .padding = 1, .groups = 6};
            if (form == DATA) p.c = 18;
            p.dtype = case_floats[d];
            p.last = last;
            p.what = " special first";
            test_case *c = new_case(list, p, form);
            case_set_fill(&c->tensor[0], FILL_SPECIAL, 0, 1);
            case_set_fill(&c->tensor[1], FILL_UNIFORM, 0.01, 0.2);
            if (d == 0) continue; /* of many terms a huge one leaves errors of its own */
            for (int32_t each = 4; each <= 16; each *= 2) {
                p = (conv_case){.n = 1, .c = 2 * each, .h = 6, .w = 9, .r = 3, .s = 3, .padding = 1, .groups = 2};
                p.k = p.c;
                p.dtype = case_floats[d];
                p.last = last;
                p.what = " special first";
                c = new_case(list, p, form);
                case_set_fill(&c->tensor[0], FILL_SPECIAL, 20 * each, 1); /* some sums should have none */
                case_set_fill(&c->tensor[1], FILL_UNIFORM, 0.01, 0.2);
            }
        }
}

/* bf16 that may be multiplied in pairs: NaN and inf beside an odd last term, and subnormal numbers, whose products with large ones
 * are not small. A line of taps as one, and a filter a channel, whose vectors end within a line. */
static void check_pairs(case_list *list, form_kind form)
{
    static const conv_case shapes[] = {
        {.n = 1, .c = 3, .k = 8, .h = 5, .w = 9, .r = 2, .s = 3},
        {.n = 1, .c = 24, .k = 40, .h = 5, .w = 9, .r = 1, .s = 1}, /* a tap that fills no whole block of 32 terms */
        {.n = 1, .c = 64, .k = 40, .h = 5, .w = 8, .r = 1, .s = 1, .padding = 3}, /* tiles whose first rows are zeros */
        {.n = 1, .c = 18, .k = 18, .h = 5, .w = 9, .r = 2, .s = 3, .groups = 18},
        {.n = 1, .c = 18, .k = 18, .h = 5, .w = 9, .r = 2, .s = 3, .stride = 2, .groups = 18},
    };
    static const char *const what[] = {" special first", " subnormal first", " subnormal second"};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int last = 0; last < 2; last++)
            for (int kind = 0; kind < 3; kind++) {
                conv_case p = shapes[i];
                p.dtype = TRINE_BF16;
                p.last = last;
                if (!p.padding) p.padding = 1;
                p.what = what[kind];
                test_case *c = new_case(list, p, form);
                const int first = kind == 2;
                if (kind) {
                    case_set_fill(&c->tensor[first], FILL_UNIFORM, 2e-40, 9e-39);
                    case_set_fill(&c->tensor[!first], FILL_UNIFORM, -1e37, 1e37);
                } else {
                    case_set_fill(&c->tensor[0], FILL_SPECIAL, p.c == 24 ? 80 : 0, 1); /* some sums should have none */
                    case_set_fill(&c->tensor[1], FILL_UNIFORM, 0.01, 0.2);
                }
            }
}

/* ---- Bench ---- */

static void bench_cases(case_list *list, form_kind form)
{
    static const trine_dtype dtypes[] = {TRINE_BF16, TRINE_F16, TRINE_F32, TRINE_F32};
    for (size_t i = 0; i < sizeof bench / sizeof bench[0]; i++)
        for (int d = 0; d < 4; d++)
            for (int first = 0; first < 2; first++) {
                conv_case p = bench[i];
                p.tf32 = d == 3;
                if (p.tf32 && p.groups > 1) continue;
                if (d == 1 && (first || i > 3)) continue; /* f16 runs the same code */
                p.dtype = dtypes[d];
                p.last = !first;
                new_case(list, p, form);
            }
}

void cases_conv(case_list *list, case_kind kind)
{
    if (kind == CASES_BENCH) {
        bench_cases(list, FORWARD);
        return;
    }
    check_forms(list, FORWARD);
    check_activations(list);
    check_special(list, FORWARD);
    check_few_channels(list, FORWARD);
    check_pairs(list, FORWARD);
}

void cases_conv_backward_data(case_list *list, case_kind kind)
{
    if (kind == CASES_BENCH) {
        bench_cases(list, DATA);
        return;
    }
    check_gradients();
    check_forms(list, DATA);
    check_special(list, DATA);
    check_few_channels(list, DATA);
    check_pairs(list, DATA);
}

void cases_conv_backward_weight(case_list *list, case_kind kind)
{
    if (kind == CASES_BENCH) {
        bench_cases(list, WEIGHT);
        return;
    }
    check_gradients();
    check_forms(list, WEIGHT);
    check_special(list, WEIGHT);
}
