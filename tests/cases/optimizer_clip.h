/* Cases of global_norm and scale_list: what clips gradients. Part of optimizer.c. */
#ifndef TRINE_TESTS_OPTIMIZER_CLIP_H
#define TRINE_TESTS_OPTIMIZER_CLIP_H

#include <math.h>

#include "tests/cases/optimizer_lists.h"

/* ---- global_norm ---- */

static void oracle_norm(const test_case *c, int64_t unit, double *const *out)
{
    const trine_global_norm_args *a = (const trine_global_norm_args *)(const void *)c->args;
    double sum = 0;
    (void)unit;
    for (int32_t k = 0; k < c->tensor_count; k++)
        for (int64_t i = 0; i < c->tensor[k].numel && !c->tensor[k].output; i++) {
            const double x = case_value(&c->tensor[k], i);
            sum += x * x;
        }
    const double clip = a->max_norm / (sqrt(sum) + 1e-6);
    out[0][0] = sqrt(sum);
    if (case_find(c, "clip")) out[1][0] = clip > 1 ? 1 : clip;
}

static test_case *new_norm(case_list *list, const sizes *s, formats f, double max_norm, const char *what, bool bench)
{
    test_case *c = case_new(list, TRINE_OP_global_norm, "%s %s%s%s", format_names[f], s->name, what[0] ? " " : "", what);
    case_reserve(c, (int32_t)s->count + 2);
    for (int64_t i = 0; i < s->count; i++) {
        int64_t shape[2];
        shape_of(s, i, shape);
        case_in(c, "x", format_of(f, i).grad, 2, shape);
    }
    case_out(c, "norm", TRINE_F32, SHAPE(1));
    if (max_norm >= 0) case_out(c, "clip", TRINE_F32, SHAPE(1));
    CASE_ARGS(c, global_norm)->max_norm = max_norm >= 0 ? max_norm : 0;
    c->oracle = oracle_norm;
    /* at most 8 squares are added up in f32, to 8 u, of which the root leaves half; f64 counts for nothing beside them */
    case_tolerance(c, TRINE_F32, 6 * u, 0);
    finish(c, s, bench);
    c->units = 1;
    c->flops = 2 * c->work;
    return c;
}

void cases_global_norm(case_list *list, case_kind kind)
{
    static const formats of_grads[] = {F32_ALL, BF16_ALL, F16_MASTER, MIXED};
    for (int f = 0; f < 2 && kind == CASES_BENCH; f++) {
        new_norm(list, &large, of_grads[f], 1, "", true);
        new_norm(list, &layers, of_grads[f], 1, "", true);
    }
    for (int f = 0; f < 4 && kind == CASES_CHECK; f++) {
        for (size_t s = 0; s < sizeof few / sizeof few[0]; s++) {
            new_norm(list, &few[s], of_grads[f], 1.5, "clipped", false);
            new_norm(list, &few[s], of_grads[f], -1, "", false);
            case_set_layout(new_norm(list, &few[s], of_grads[f], 1e6, "small enough", false), LAYOUT_OFFSET);
            case_set_layout(new_norm(list, &few[s], of_grads[f], 0, "to 0", false), LAYOUT_TRANSPOSED);
        }
        new_norm(list, &small_many, of_grads[f], 1, "clipped", false);
        new_norm(list, &three_hundred, of_grads[f], 1, "clipped", false);
        new_norm(list, &gaps_many, of_grads[f], 1, "clipped", false);
        case_set_fill(&new_norm(list, &few[7], of_grads[f], 1, "with NaN", false)->tensor[1], FILL_CONSTANT, NAN, 0);
        case_set_fill(&new_norm(list, &few[7], of_grads[f], 1, "with inf", false)->tensor[1], FILL_CONSTANT, -INFINITY, 0);
        test_case *c = new_norm(list, &few[4], of_grads[f], 1, "large", false);
        case_set_fill(&c->tensor[0], FILL_NORMAL, 0, c->tensor[0].dtype == TRINE_F16 ? 1e4 : 1e30);
        c = new_norm(list, &few[4], of_grads[f], 1, "tiny", false);
        case_set_fill(&c->tensor[0], FILL_NORMAL, 0, c->tensor[0].dtype == TRINE_F16 ? 1e-6 : 1e-30);
    }
    if (kind == CASES_BENCH) return;
    test_case *c = new_norm(list, &few[4], F32_ALL, 1, "padded", false);
    c->tensor[0].layout = LAYOUT_PADDED;
    c->may_refuse = true;
}

/* ---- scale_list ---- */

static void oracle_scale(const test_case *c, int64_t unit, double *const *out)
{
    const double by = number_in(c, "factor", 1);
    for (int32_t k = 0; k + 1 < c->tensor_count; k++) {
        const int64_t n = c->tensor[k].numel / c->units;
        for (int64_t j = 0; j < n; j++) {
            double x = by == 1 ? case_value(&c->tensor[k], unit * n + j) : in_f32(by * case_value(&c->tensor[k], unit * n + j));
            unsigned char bits[8];
            trine_convert(&x, TRINE_F64, bits, c->tensor[k].dtype, 1);
            trine_convert(bits, c->tensor[k].dtype, &out[k][j], TRINE_F64, 1);
        }
    }
}

static test_case *new_scale(case_list *list, const sizes *s, formats f, double by, const char *what, bool bench)
{
    test_case *c = case_new(list, TRINE_OP_scale_list, "%s %s%s%s", format_names[f], s->name, what[0] ? " " : "", what);
    case_reserve(c, (int32_t)s->count + 1);
    for (int64_t i = 0; i < s->count; i++) {
        int64_t shape[2];
        shape_of(s, i, shape);
        case_set_fill(case_update(c, "x", format_of(f, i).param, 2, shape), bench ? FILL_NORMAL : FILL_SPECIAL, 0, 1);
    }
    tensor_number(c, "factor", by);
    c->oracle = oracle_scale; /* exact but for the bits of a NaN */
    finish(c, s, bench);
    c->flops = c->work;
    return c;
}

void cases_scale_list(case_list *list, case_kind kind)
{
    static const formats of_grads[] = {F32_ALL, BF16_ALL, F16_MASTER, MIXED};
    for (int f = 0; f < 2 && kind == CASES_BENCH; f++) {
        new_scale(list, &large, of_grads[f], 0.7, "", true);
        new_scale(list, &layers, of_grads[f], 0.7, "", true);
    }
    for (int f = 0; f < 4 && kind == CASES_CHECK; f++) {
        for (size_t s = 0; s < sizeof few / sizeof few[0]; s++) {
            new_scale(list, &few[s], of_grads[f], 0.7, "", false);
            case_set_layout(new_scale(list, &few[s], of_grads[f], -1e-3, "", false), LAYOUT_OFFSET);
            case_set_layout(new_scale(list, &few[s], of_grads[f], 3, "", false), LAYOUT_TRANSPOSED);
        }
        new_scale(list, &few[4], of_grads[f], 1, "by 1", false);
        new_scale(list, &few[4], of_grads[f], NAN, "by NaN", false);
        new_scale(list, &three_hundred, of_grads[f], 0.1, "", false);
        new_scale(list, &gaps_many, of_grads[f], 0.1, "", false);
    }
    if (kind == CASES_BENCH) return;
    test_case *c = new_scale(list, &few[4], F32_ALL, 2, "strided", false);
    c->tensor[0].layout = LAYOUT_STRIDED;
    c->may_refuse = true;
}

#endif
