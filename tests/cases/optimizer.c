/* Cases of the optimizer family. A case has lists of a few or of many tensors; its units are equal parts of each of them.
 *
 * Bounds, with u = 2^-24 and inputs of the size of 1 to 5. m and the buffer of sgd are sums of two products of three roundings
 * each, what scale and penalty did to the gradient before it counted: 12 u of terms that reach 5, say 64 u. v is such a sum of
 * squares, relatively good to 8 u. adamw moves p by lr times a quotient of m, whose bound counts twice since v is at least 1/4
 * there, and whose own five roundings are of numbers up to 12: 300 u of the rate. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/cases/optimizer_clip.h"
#include "tests/cases/sizes.h"

/* Tensors that lie one element off do so alone, beside others that are aligned, or all together. */
static void shift(test_case *c, int which)
{
    for (int32_t k = 0; k < c->tensor_count; k++)
        if (c->tensor[k].numel > 1 && k % 4 == which) c->tensor[k].layout = LAYOUT_OFFSET;
}

/* ---- Steps ---- */

typedef struct step_case {
    const sizes *s;
    formats f;
    double lr, decay, scale, skip; /* scale, skip: grad_scale and found_inf; 0 and -1: not given */
    double beta1, beta2, eps;      /* of sgd: momentum, dampening */
    int64_t step;
    bool other, maximize; /* l2, or nesterov */
    bool largest;         /* adamw with v_max */
    const char *what;
} step_case;

/* The rounded copy of a master weight is not read, unless nothing is done. */
static case_tensor *add_param(test_case *c, const format *f, bool skipped, const int64_t *shape)
{
    if (f->master && !skipped) return case_out(c, "param", f->param, 2, shape);
    return case_update(c, "param", f->param, 2, shape);
}

/* A case's tensors in the order in which they were added. */
typedef struct walk {
    const test_case *c;
    int32_t next, out;
    int64_t begin, n; /* the unit's elements */
} walk;

static const case_tensor *take(walk *w, const char *field)
{
    const case_tensor *t = &w->c->tensor[w->next];
    const trine_op_info *info = trine_op_get_info(w->c->op);
    if (w->next >= w->c->tensor_count || strcmp(info->fields[t->field].name, field) != 0) return NULL;
    w->next++;
    return t;
}

static const case_tensor *take_param(walk *w, int64_t unit)
{
    const case_tensor *t = take(w, "param");
    if (!t) return NULL;
    w->n = t->numel / w->c->units;
    w->begin = unit * w->n;
    return t;
}

static void keep(const case_tensor *t, int64_t i, double *to) { *to = case_value(t, i); }

static void adamw_element(const trine_adamw_args *a, double p, double g, double *m, double *v, double *w, double *to)
{
    if (a->l2) g += a->weight_decay * p;
    if (!a->l2 && a->weight_decay != 0) p -= a->lr * a->weight_decay * p;
    *m = in_f32(a->beta1 * *m + (1 - a->beta1) * g);
    *v = in_f32(a->beta2 * *v + (1 - a->beta2) * g * g);
    if (w) *w = in_f32(*v > *w || isnan(*v) ? *v : *w);
    *to = p - a->lr / (1 - pow(a->beta1, (double)a->step)) * *m /
                  (sqrt(w ? *w : *v) / sqrt(1 - pow(a->beta2, (double)a->step)) + a->eps);
}

static void oracle_adamw(const test_case *c, int64_t unit, double *const *out)
{
    const trine_adamw_args *a = (const trine_adamw_args *)(const void *)c->args;
    const double by = number_in(c, "grad_scale", 1) * (a->maximize ? -1 : 1);
    const bool skipped = number_in(c, "found_inf", 0) != 0;
    walk w = {.c = c};
    for (const case_tensor *param; (param = take_param(&w, unit));) {
        const case_tensor *grad = take(&w, "grad"), *m = take(&w, "m"), *v = take(&w, "v"), *largest = take(&w, "v_max"),
                          *master = take(&w, "master");
        const int32_t states = largest ? 4 : 3;
        double *const *to = out + w.out;
        for (int64_t j = 0; j < w.n; j++) {
            const int64_t i = w.begin + j;
            double weight = case_value(master ? master : param, i);
            keep(m, i, &to[1][j]);
            keep(v, i, &to[2][j]);
            if (largest) keep(largest, i, &to[3][j]);
            if (skipped)
                keep(param, i, &to[0][j]);
            else
                adamw_element(a, weight, by * case_value(grad, i), &to[1][j], &to[2][j], largest ? &to[3][j] : NULL, &weight);
            if (!skipped) to[0][j] = weight;
            if (master) to[states][j] = weight;
        }
        w.out += master ? states + 1 : states;
    }
}

static void sgd_element(const trine_sgd_args *a, double *p, double g, double *b)
{
    g += a->weight_decay * *p;
    if (b) {
        *b = in_f32(a->step == 1 ? g : a->momentum * *b + (1 - a->dampening) * g);
        g = a->nesterov ? g + a->momentum * *b : *b;
    }
    *p -= a->lr * g;
}

static void oracle_sgd(const test_case *c, int64_t unit, double *const *out)
{
    const trine_sgd_args *a = (const trine_sgd_args *)(const void *)c->args;
    const double by = number_in(c, "grad_scale", 1) * (a->maximize ? -1 : 1);
    const bool skipped = number_in(c, "found_inf", 0) != 0;
    walk w = {.c = c};
    for (const case_tensor *param; (param = take_param(&w, unit));) {
        const case_tensor *grad = take(&w, "grad"), *buffer = take(&w, "buffer"), *master = take(&w, "master");
        double *const *to = out + w.out;
        double *b = buffer ? to[1] : NULL, *own = master ? to[buffer ? 2 : 1] : NULL;
        for (int64_t j = 0; j < w.n; j++) {
            const int64_t i = w.begin + j;
            double weight = case_value(master ? master : param, i);
            if (b) keep(buffer, i, &b[j]);
            if (!skipped) sgd_element(a, &weight, by * case_value(grad, i), b ? &b[j] : NULL);
            to[0][j] = skipped ? case_value(param, i) : weight;
            if (own) own[j] = weight;
        }
        w.out += 1 + (b != NULL) + (own != NULL);
    }
}

/* State and weights beside a parameter's gradient. */
static void add_state(test_case *c, const char *field, int64_t item, const int64_t *shape, double bound, double low, double high)
{
    case_tensor *t = case_update(c, field, TRINE_F32, 2, shape);
    t->item = (int32_t)item;
    if (low < high) case_set_fill(t, FILL_UNIFORM, low, high);
    case_tensor_tolerance(t, 8 * u, bound);
}

static test_case *new_step(case_list *list, trine_op op, const step_case *k, bool bench)
{
    const bool adam = op == TRINE_OP_adamw, momentum = !adam && k->beta1 != 0;
    const double rate = adam ? k->lr / (1 - pow(k->beta1, (double)k->step)) : k->lr;
    const double moved = (adam ? 300 * rate : 64 * rate) * u, size = 64 * u;
    test_case *c = case_new(list, op, "%s %s %s", format_names[k->f], k->s->name, k->what);
    case_reserve(c, 6 * (int32_t)k->s->count + 2);
    for (int64_t i = 0; i < k->s->count; i++) {
        const format f = format_of(k->f, i);
        int64_t shape[2];
        shape_of(k->s, i, shape);
        case_tensor_tolerance(add_param(c, &f, k->skip > 0, shape), 8 * u, size + moved);
        case_in(c, "grad", f.grad, 2, shape);
        if (adam) {
            add_state(c, "m", i, shape, size, 0, 0);
            add_state(c, "v", i, shape, size, 0.25, 2);
            if (k->largest) add_state(c, "v_max", i, shape, size, 0.25, 2);
        } else if (momentum) {
            add_state(c, "buffer", i, shape, size, 0, 0);
        }
        if (f.master) add_state(c, "master", i, shape, size + moved, 0, 0);
    }
    if (k->scale != 0) tensor_number(c, "grad_scale", k->scale);
    if (k->skip >= 0) tensor_number(c, "found_inf", k->skip);
    c->oracle = adam ? oracle_adamw : oracle_sgd;
    finish(c, k->s, bench);
    c->flops = adam ? 4 * c->work : 3 * c->work; /* of 4 or 3 tensors, 16 and 8 an element */
    return c;
}

/* The list's length: the last parameters may have no master copy. */
static int32_t masters(const test_case *c, const step_case *k) { return case_find(c, "master") ? (int32_t)k->s->count : 0; }

static test_case *new_adamw(case_list *list, step_case k, bool bench)
{
    test_case *c = new_step(list, TRINE_OP_adamw, &k, bench);
    *CASE_ARGS(c, adamw) = (trine_adamw_args){.master.count = masters(c, &k),
                                              .lr = k.lr,
                                              .beta1 = k.beta1,
                                              .beta2 = k.beta2,
                                              .eps = k.eps,
                                              .weight_decay = k.decay,
                                              .step = k.step,
                                              .l2 = k.other,
                                              .maximize = k.maximize};
    return c;
}

static test_case *new_sgd(case_list *list, step_case k, bool bench)
{
    test_case *c = new_step(list, TRINE_OP_sgd, &k, bench);
    *CASE_ARGS(c, sgd) = (trine_sgd_args){.master.count = masters(c, &k),
                                          .lr = k.lr,
                                          .momentum = k.beta1,
                                          .dampening = k.beta2,
                                          .weight_decay = k.decay,
                                          .step = k.step,
                                          .nesterov = k.other,
                                          .maximize = k.maximize};
    return c;
}

typedef test_case *(*new_fn)(case_list *list, step_case k, bool bench);

/* Every size and alignment with every format; what the arguments mean, on one of them. */
static void step_cases(case_list *list, new_fn new, const step_case *plain, const step_case *variants, int count)
{
    for (int f = F32_ALL; f <= MIXED; f++)
        for (size_t s = 0; s < sizeof few / sizeof few[0]; s++) {
            step_case k = *plain;
            k.s = &few[s];
            k.f = (formats)f;
            new (list, k, false);
            if (s != 2 && s != 7) continue;
            case_set_layout(new (list, k, false), LAYOUT_OFFSET);
            case_set_layout(new (list, k, false), LAYOUT_TRANSPOSED);
            for (int which = 0; which < 4; which++) {
                k.what = (const char *const[]){"shifted 0", "shifted 1", "shifted 2", "shifted 3"}[which];
                shift(new (list, k, false), which);
            }
        }
    for (int layout = LAYOUT_PADDED; layout <= LAYOUT_STRIDED; layout++) {
        step_case k = *plain;
        k.s = &few[4];
        test_case *c = new (list, k, false);
        case_set_layout(c, (case_layout)layout);
        c->may_refuse = true;
    }
    for (int v = 0; v < count; v++)
        for (int f = F32_ALL; f <= MIXED; f++) {
            step_case k = variants[v];
            k.f = (formats)f;
            k.s = k.f == MIXED ? (v % 2 ? &gaps_many : &small_many) : &few[7];
            new (list, k, false);
        }
}

static void step_benches(case_list *list, new_fn new, step_case k)
{
    static const formats timed[] = {F32_ALL, BF16_ALL, BF16_MASTER};
    for (size_t f = 0; f < sizeof timed / sizeof timed[0]; f++) {
        k.f = timed[f];
        k.s = &large;
        new (list, k, true);
        k.s = &layers;
        new (list, k, true);
    }
}

/* From zeros, with small gradients: the corrections of the first steps are all that makes them large again. */
static void first_steps(case_list *list)
{
    for (int64_t step = 1; step < 4; step++) {
        const step_case k = {
            &few[3],      F32_ALL,
            .lr = 1e-3,   .skip = -1,
            .beta1 = 0.9, .beta2 = 0.999,
            .step = step, .what = (const char *const[]){"", "from zero", "from zero, step 2", "from zero, step 3"}[step]};
        test_case *c = new_adamw(list, k, false);
        case_set_fill(&c->tensor[1], FILL_NORMAL, 0, 1e-5);
        case_set_fill(&c->tensor[2], FILL_CONSTANT, 0, 0);
        case_set_fill(&c->tensor[3], FILL_CONSTANT, 0, 0);
    }
}

static const step_case plain_adamw = {&few[2],      F32_ALL,        .lr = 1e-2,  .decay = 0.1, .skip = -1,
                                      .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .step = 7,    .what = "plain"};

SIZES_OF(adamw)
{
    char name[24];
    step_case k = plain_adamw;
    snprintf(name, sizeof name, "%lldx%lld", (long long)rows, (long long)n);
    k.f = dtype == TRINE_F32 ? F32_ALL : BF16_ALL;
    k.s = &(sizes){name, 1, {rows * n}, NULL};
    new_adamw(list, k, true);
}

void cases_adamw(case_list *list, case_kind kind)
{
    const step_case plain = plain_adamw;
    step_case all = plain, l2 = plain, up = plain, skipped = plain, eps = plain, late = plain, still = plain, largest = plain;
    all.scale = 0.37, all.skip = 0, all.what = "scaled";
    l2.other = true, l2.scale = 4, l2.step = 2, l2.what = "l2";
    up.maximize = true, up.decay = 0, up.what = "maximize";
    skipped.scale = NAN, skipped.skip = 1, skipped.what = "skipped";
    eps.eps = 0.5, eps.step = 1, eps.what = "large eps";
    late.step = 1000000, late.beta1 = 0, late.what = "late";
    still.lr = 0, still.what = "lr 0";
    largest.largest = true, largest.scale = 0.37, largest.skip = 0, largest.what = "amsgrad";
    const step_case variants[] = {all, l2, largest, up, skipped, eps, late, still};
    if (kind == CASES_BENCH) {
        step_benches(list, new_adamw, plain);
        return;
    }
    step_cases(list, new_adamw, &plain, variants, sizeof variants / sizeof variants[0]);
    first_steps(list);
    step_case special = plain;
    special.s = &few[4], special.what = "special gradients";
    case_set_fill(&new_adamw(list, special, false)->tensor[1], FILL_SPECIAL, 0, 1);
}

void cases_sgd(case_list *list, case_kind kind)
{
    const step_case plain = {&few[2], F32_ALL, .lr = 0.1, .decay = 0.01, .skip = -1, .beta1 = 0.9, .step = 7, .what = "momentum"};
    step_case all = plain, without = plain, nesterov = plain, damped = plain, first = plain, skipped = plain, up = plain;
    all.scale = 0.37, all.skip = 0, all.what = "scaled";
    without.beta1 = 0, without.scale = 3, without.what = "plain";
    nesterov.other = true, nesterov.what = "nesterov";
    damped.beta2 = 0.3, damped.what = "dampening";
    first.step = 1, first.beta2 = 0.3, first.what = "first";
    skipped.scale = NAN, skipped.skip = 1, skipped.what = "skipped";
    up.maximize = true, up.decay = 0, up.what = "maximize";
    const step_case variants[] = {all, without, nesterov, damped, first, skipped, up};
    if (kind == CASES_BENCH) {
        step_benches(list, new_sgd, plain);
        step_benches(list, new_sgd, without);
        return;
    }
    step_cases(list, new_sgd, &plain, variants, sizeof variants / sizeof variants[0]);
    step_case k = first;
    k.s = &few[4], k.other = true, k.beta2 = 0, k.what = "first, over NaN";
    case_set_fill(&new_sgd(list, k, false)->tensor[2], FILL_CONSTANT, NAN, 0);
    k = plain, k.s = &few[4], k.what = "special gradients";
    case_set_fill(&new_sgd(list, k, false)->tensor[1], FILL_SPECIAL, 0, 1);
}
