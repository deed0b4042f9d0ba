/* Cases of the grouped family. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cases/activation.h"
#include "tests/cases/fp8_scales.h"
#include "tests/cases/matrices.h"

/* ---- Oracle: a row of d in f64 ---- */

typedef enum grouped_layout { ROWS, MASKED, SUMS } grouped_layout;

static grouped_layout layout_of(const test_case *c)
{
    return case_find(c, "counts") ? MASKED : case_find(c, "b")->ndim == 2 ? SUMS : ROWS;
}

static int64_t bound_at(const case_tensor *t, int64_t i, int64_t most)
{
    const int64_t bound = case_value_i64(t, i);
    return bound < 0 ? 0 : bound > most ? most : bound;
}

/* Rows, or terms, of group g: each bound is raised to the largest before it. */
static void group_at(const test_case *c, int64_t g, int64_t groups, int64_t most, int64_t *begin, int64_t *end)
{
    const case_tensor *offsets = case_find(c, "offsets");
    *begin = 0;
    *end = 0;
    if (!offsets) {
        *end = bound_at(case_find(c, "counts"), g, most);
        return;
    }
    const bool ends = offsets->numel == groups;
    if (!ends) *end = bound_at(offsets, 0, most);
    for (int64_t i = 0; i <= g; i++) {
        const int64_t next = bound_at(offsets, ends ? i : i + 1, most);
        *begin = *end;
        if (next > *end) *end = next;
    }
}

/* Factors of row `row` of a (masked: of its group's rows) times those of a group's columns of b, in term k; of fp8 alone. */
static void scale_sums(const test_case *c, int64_t group, int64_t row, int64_t k, int64_t n, double *sum)
{
    const case_tensor *a = case_find(c, "a"), *a_scale = case_find(c, "a_scale"), *b_scale = case_find(c, "b_scale");
    const int64_t a_first = a_scale->ndim < 3 ? 0 : group * a_scale->shape[1] * a_scale->shape[2];
    const int64_t b_first = b_scale->ndim < 3 ? 0 : group * b_scale->shape[1] * b_scale->shape[2];
    const double of_row = fp8_scale_at(a_scale, a_first, 2, row, a->shape[a->ndim - 2], k);
    for (int64_t j = 0; j < n; j++) sum[j] *= of_row * fp8_scale_at(b_scale, b_first, 1, j, n, k);
}

/* y += sum over k in [first, last) of a[row_a + k] b[k, :], both offsets into the dense tensors; `row` is a's, for its scales. */
static void add_terms(const test_case *c, int64_t group, int64_t row, int64_t row_a, int64_t first_b, int64_t first, int64_t last,
                      int64_t n, double *y)
{
    enum { SAME_SCALES = 128 };
    const case_tensor *a = case_find(c, "a"), *b = case_find(c, "b");
    double terms[SAME_SCALES], *const sum = malloc((size_t)n * sizeof *sum + 1);
    const bool scaled = case_find(c, "a_scale") != NULL;
    if (!sum) abort(); /* an oracle without memory can't judge anything */
    for (int64_t k = first, m; k < last; k += m) {
        m = SAME_SCALES - k % SAME_SCALES < last - k ? SAME_SCALES - k % SAME_SCALES : last - k;
        case_values(a, row_a + k, m, terms);
        if (scaled) memset(sum, 0, (size_t)n * sizeof *sum);
        case_add_terms(terms, m, b, first_b + k * n, n, scaled ? sum : y);
        if (scaled) scale_sums(c, group, row, k, n, sum);
        for (int64_t j = 0; scaled && j < n; j++) y[j] += sum[j];
    }
    free(sum);
}

static void finish(const test_case *c, int64_t group, int64_t n, double *y)
{
    const trine_grouped_matmul_args *args = (const trine_grouped_matmul_args *)(const void *)c->args;
    const case_tensor *bias = case_find(c, "bias");
    for (int64_t j = 0; j < n; j++) {
        if (bias) y[j] += case_value(bias, group * n + j);
        y[j] = case_activation(args->activation, (double)args->activation_alpha, y[j]);
    }
}

/* A row that no group has stays as it was. */
static void oracle_grouped(const test_case *c, int64_t unit, double *const *out)
{
    const case_tensor *a = case_find(c, "a"), *b = case_find(c, "b"), *d = case_find(c, "d");
    const grouped_layout layout = layout_of(c);
    const int64_t n = d->shape[d->ndim - 1], k = a->shape[a->ndim - 1], rows = d->shape[d->ndim - 2];
    const int64_t groups = layout == SUMS ? d->shape[0] : b->shape[0], most = layout == SUMS ? k : rows;
    int64_t group = layout == ROWS ? 0 : unit / rows, row = layout == ROWS ? unit : unit % rows, begin = 0, end = 0;
    if (layout == ROWS)
        for (group = 0; group < groups; group++) {
            group_at(c, group, groups, most, &begin, &end);
            if (row >= begin && row < end) break;
        }
    else
        group_at(c, group, groups, most, &begin, &end);
    memset(out[0], 0, (size_t)n * sizeof **out);
    if (layout != SUMS && (row < begin || row >= end || group == groups)) {
        for (int64_t j = 0; j < n; j++) out[0][j] = case_value(d, unit * n + j);
        return;
    }
    if (layout == SUMS)
        add_terms(c, group, row, row * k, 0, begin, end, n, out[0]);
    else
        add_terms(c, group, row, unit * k, group * k * n, 0, k, n, out[0]);
    finish(c, group, n, out[0]);
}

/* ---- Building ---- */

typedef enum group_sizes { EVEN, SORTED, ENDS, WILD } group_sizes;

typedef struct grouped_spec {
    trine_dtype dtype;
    grouped_layout layout;
    int64_t groups, m, n, k; /* m: of all groups, or the most of one; sums: k of all groups */
    group_sizes sizes;
    trine_dtype out, bias; /* NONE: d in dtype, no bias */
    case_layout a_layout, b_layout, d_layout;
    trine_activation_kind activation;
    trine_dtype index; /* of the sizes; NONE: i32 */
    const char *what;
    trine_dtype b; /* of fp8, which may be another format; NONE: dtype */
    const product_scaling *scaling;
    case_layout scale_layout;
    bool one_set; /* of scales for all groups */
} grouped_spec;

/* Largest magnitude of a scale. */
#define GROUPED_SCALE 1.5

/* As of matmul (tests/cases/matmul.c), for operands of variance 1: a chain of roundings, what matrix units cut off, the epilogue's
 * roundings and the slope of an activation, which is below 2 here. */
static void set_tolerance(test_case *c, const grouped_spec *s)
{
    const double k = (double)s->k, u = 0x1p-24;
    double atol = (4 * k + 40) * u + (s->dtype == TRINE_F32 ? 0 : k / 16 * sqrt(k) * 2 * u), rtol = 0x1p-22;
    if (s->scaling) atol = fp8_product_error(s->dtype, s->b ? s->b : s->dtype, s->k, GROUPED_SCALE, false);
    if (s->bias) atol += 2 * u * 5 * (sqrt(k) + 1);
    if (s->activation != TRINE_ACT_IDENTITY) {
        rtol = 0x1p-20 + atol;
        atol = 2 * atol + 1e-7;
    }
    case_tolerance(c, case_find(c, "d")->dtype, rtol, atol);
}

static void add_sizes(test_case *c, const grouped_spec *s)
{
    const int64_t most = s->layout == SUMS ? s->k : s->m, each = s->groups ? most / s->groups : 0;
    const trine_dtype index = s->index ? s->index : TRINE_I32;
    if (s->layout == MASKED) {
        case_tensor *counts = case_in(c, "counts", index, SHAPE(s->groups));
        case_set_fill(counts, FILL_INTEGERS, s->sizes == WILD ? -3 : 0, (double)(s->sizes == WILD ? most + 3 : most));
        if (s->sizes == EVEN) case_set_fill(counts, FILL_CONSTANT, (double)most, 0);
        return;
    }
    case_tensor *offsets = case_in(c, "offsets", index, SHAPE(s->sizes == ENDS ? s->groups : s->groups + 1));
    if (s->sizes == EVEN)
        case_set_fill(offsets, FILL_STEPS, 0, (double)each);
    else if (s->sizes == WILD)
        case_set_fill(offsets, FILL_INTEGERS, -7, (double)most + 7);
    else
        case_set_fill(offsets, FILL_SORTED, 0, (double)most);
}

static void add_scale(test_case *c, const char *field, const grouped_spec *s, int64_t rows, int64_t columns, bool a_group)
{
    const int64_t shape[] = {s->groups, rows, columns};
    case_tensor *t = case_in(c, field, TRINE_F32, a_group ? 3 : 2, a_group ? shape : shape + 1);
    case_set_fill(t, FILL_UNIFORM, -GROUPED_SCALE, GROUPED_SCALE);
    t->layout = s->scale_layout;
}

static void add_scales(test_case *c, const grouped_spec *s)
{
    const product_scaling *by = s->scaling;
    add_scale(c, "a_scale", s, extent_of(by->a_rows, s->m), extent_of(by->a_k, s->k), s->layout == MASKED && !s->one_set);
    add_scale(c, "b_scale", s, extent_of(by->b_k, s->k), extent_of(by->b_rows, s->n), !s->one_set);
}

static test_case *new_grouped(case_list *list, const grouped_spec *s)
{
    static const char *const layouts[] = {"rows", "masked", "sums"}, *const sizes[] = {"even", "sorted", "ends", "wild"};
    const trine_dtype out = s->out ? s->out : s->scaling ? TRINE_BF16 : s->dtype;
    test_case *c =
        case_new(list, TRINE_OP_grouped_matmul, "%s%s%s %s %s %lldx %lldx%lldx%lld%s%s%s%s", trine_dtype_name(s->dtype),
                 s->b ? " x " : "", s->b ? trine_dtype_name(s->b) : "", layouts[s->layout], sizes[s->sizes], (long long)s->groups,
                 (long long)s->m, (long long)s->n, (long long)s->k, s->scaling ? " " : "", s->scaling ? s->scaling->name : "",
                 s->what ? " " : "", s->what ? s->what : "");
    const int64_t a[] = {s->groups, s->m, s->k}, b[] = {s->groups, s->k, s->n}, d[] = {s->groups, s->m, s->n};
    const bool masked = s->layout == MASKED, sums = s->layout == SUMS;
    case_in(c, "a", s->dtype, masked ? 3 : 2, masked ? a : a + 1)->layout = s->a_layout;
    case_in(c, "b", s->b ? s->b : s->dtype, sums ? 2 : 3, sums ? b + 1 : b)->layout = s->b_layout;
    if (s->scaling) add_scales(c, s);
    add_sizes(c, s);
    if (s->bias) case_in(c, "bias", s->bias, SHAPE(s->groups, s->n));
    /* rows that no group has must stay as they are; where there are none, all must be written */
    case_tensor *const t = (sums || s->sizes == EVEN ? case_out : case_update)(c, "d", out, s->layout == ROWS ? 2 : 3,
                                                                               s->layout == ROWS ? d + 1 : d);
    t->layout = s->d_layout;
    CASE_ARGS(c, grouped_matmul)->activation = s->activation;
    CASE_ARGS(c, grouped_matmul)->activation_alpha = 0.1f;
    c->units = s->n ? t->numel / s->n : 0;
    c->oracle = oracle_grouped;
    c->work = (double)t->numel * (double)(s->k ? s->k : 1) / (sums && s->groups ? (double)s->groups : 1);
    c->flops = 2.0 * c->work;
    set_tolerance(c, s);
    case_count_bytes(c);
    return c;
}

/* ---- Checks ---- */

/* Every layout with every kind of sizes and both ways that b may lie. */
static void sizes_cases(case_list *list)
{
    static const int64_t shapes[][4] = {{3, 40, 24, 16},  {1, 17, 19, 23},    {5, 300, 72, 40}, {8, 7, 33, 5},
                                        {4, 0, 8, 8},     {0, 8, 8, 8},       {4, 12, 0, 8},    {4, 12, 8, 0},
                                        {70, 211, 12, 8}, {2, 260, 264, 136}, {3, 6, 264, 200}, {6, 700, 136, 72},
                                        {9, 333, 40, 256}};
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            for (int layout = ROWS; layout <= SUMS; layout++)
                for (int sizes = EVEN; sizes <= WILD; sizes++) {
                    grouped_spec s = {.dtype = case_floats[d],
                                      .layout = (grouped_layout)layout,
                                      .groups = shapes[i][0],
                                      .m = layout == SUMS ? shapes[i][3] : shapes[i][1],
                                      .n = shapes[i][2],
                                      .k = layout == SUMS ? shapes[i][1] : shapes[i][3],
                                      .sizes = (group_sizes)sizes,
                                      .index = sizes % 2 ? TRINE_I64 : TRINE_I32,
                                      .what = (sizes + layout) % 2 ? "nt" : "nn"};
                    if (sizes == EVEN && layout == ROWS && s.groups) s.m = s.m / s.groups * s.groups;
                    if (sizes == EVEN && layout == ROWS && !s.groups) s.m = 0;
                    if (s.what[1] == 't') s.b_layout = LAYOUT_TRANSPOSED;
                    if (layout == SUMS && sizes < ENDS) s.a_layout = LAYOUT_TRANSPOSED;
                    new_grouped(list, &s);
                }
}

/* Strides, dtypes of d and of bias, activations. */
static void epilogue_cases(case_list *list)
{
    static const trine_activation_kind kinds[] = {TRINE_ACT_RELU, TRINE_ACT_SILU, TRINE_ACT_GELU};
    for (int d = 0; d < 3; d++)
        for (int layout = ROWS; layout <= SUMS; layout++) {
            grouped_spec s = {.dtype = case_floats[d],
                              .layout = (grouped_layout)layout,
                              .groups = 4,
                              .m = 150,
                              .n = 72,
                              .k = 88,
                              .sizes = SORTED};
            for (int wide = 0; wide < 2; wide++) {
                s.bias = wide ? TRINE_F32 : s.dtype;
                s.out = wide ? s.dtype : TRINE_F32;
                s.activation = kinds[(d + layout + wide) % 3];
                s.what = wide ? "bias f32, activation" : "to f32, bias, activation";
                new_grouped(list, &s);
            }
            s = (grouped_spec){.dtype = s.dtype, .layout = s.layout, .groups = 4, .m = 150, .n = 72, .k = 88, .sizes = SORTED};
            s.out = TRINE_F32;
            s.what = "to f32";
            new_grouped(list, &s);
            s.out = TRINE_DTYPE_NONE;
            for (int view = 1; view < LAYOUT_COUNT; view++) {
                s.a_layout = s.b_layout = s.d_layout = (case_layout)view;
                s.what = case_layout_name((case_layout)view);
                new_grouped(list, &s)->may_refuse = view == LAYOUT_STRIDED || view == LAYOUT_TRANSPOSED;
                s.d_layout = LAYOUT_DENSE;
                s.what = "strided operands";
                if (view == LAYOUT_STRIDED || view == LAYOUT_TRANSPOSED) new_grouped(list, &s);
            }
        }
}

/* Sums of operands that lie along their rows, as matrix units take them: groups begin and end anywhere, some have more terms than a
 * stage of any kernel. */
static void sums_cases(case_list *list)
{
    static const int64_t shapes[][4] = {
        {2, 260, 264, 136}, {6, 700, 136, 72}, {3, 500, 264, 200}, {70, 211, 136, 128}, {5, 900, 520, 384}};
    for (int d = 1; d < 3; d++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            for (int sizes = EVEN; sizes <= WILD; sizes++) {
                grouped_spec s = {.dtype = case_floats[d],
                                  .layout = SUMS,
                                  .groups = shapes[i][0],
                                  .m = shapes[i][3],
                                  .n = shapes[i][2],
                                  .k = shapes[i][1],
                                  .sizes = (group_sizes)sizes,
                                  .a_layout = LAYOUT_TRANSPOSED,
                                  .what = "tn"};
                new_grouped(list, &s);
                s.out = TRINE_F32;
                s.what = "tn to f32";
                if (sizes == SORTED) new_grouped(list, &s);
                s.bias = s.dtype;
                s.activation = TRINE_ACT_SILU;
                s.what = "tn to f32, bias, activation";
                if (sizes == SORTED) new_grouped(list, &s);
            }
}

/* NaN and inf of one group reach no other: neither rows nor terms that are neighbours. */
static void special_cases(case_list *list)
{
    for (int d = 1; d < 3; d++)
        for (int which = 0; which < 2; which++) {
            const grouped_spec s = {.dtype = case_floats[d],
                                    .layout = SUMS,
                                    .groups = 5,
                                    .m = 136,
                                    .n = 264,
                                    .k = 10,
                                    .sizes = SORTED,
                                    .a_layout = LAYOUT_TRANSPOSED,
                                    .what = which ? "tn special b" : "tn special a"};
            test_case *c = new_grouped(list, &s);
            case_set_fill(&c->tensor[which], FILL_SPECIAL, 0, 1);
            case_set_fill(&c->tensor[!which], FILL_UNIFORM, 0.01, 0.2);
        }
    for (int d = 0; d < 3; d++)
        for (int layout = ROWS; layout <= SUMS; layout++) {
            const grouped_spec s = {.dtype = case_floats[d],
                                    .layout = (grouped_layout)layout,
                                    .groups = 5,
                                    .m = layout == SUMS ? 136 : 200,
                                    .n = 136,
                                    .k = layout == SUMS ? 10 : 4, /* few, for huge terms may cancel */
                                    .sizes = SORTED,
                                    .what = "special a"};
            test_case *c = new_grouped(list, &s);
            case_set_fill(&c->tensor[0], FILL_SPECIAL, 0, 1);
            case_set_fill(&c->tensor[1], FILL_UNIFORM, 0.01, 0.2);
        }
}

#include "tests/cases/grouped_fp8.h"

/* ---- Bench ---- */

static void bench_cases(case_list *list)
{
    static const int64_t shapes[][4] = {
        {32, 8192, 4096, 7168}, {32, 8192, 7168, 2048}, {8, 8192, 14336, 4096}, {64, 512, 4096, 2048}, {4, 1024, 2048, 2048}};
    for (int d = 1; d < 3; d++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            for (int way = 0; way < 4; way++) {
                grouped_spec s = {.dtype = case_floats[d],
                                  .layout = way == 3 ? MASKED : ROWS,
                                  .groups = shapes[i][0],
                                  .m = way == 3 ? shapes[i][1] / shapes[i][0] : shapes[i][1],
                                  .n = shapes[i][2],
                                  .k = shapes[i][3],
                                  .sizes = way == 2 ? SORTED : EVEN,
                                  .b_layout = way ? LAYOUT_TRANSPOSED : LAYOUT_DENSE,
                                  .what = way ? "nt" : "nn"};
                new_grouped(list, &s);
            }
    const grouped_spec sums = {.dtype = TRINE_BF16,
                               .layout = SUMS,
                               .groups = 32,
                               .m = 7168,
                               .n = 4096,
                               .k = 8192,
                               .a_layout = LAYOUT_TRANSPOSED,
                               .what = "tn"};
    new_grouped(list, &sums);
    fp8_bench_cases(list);
}

void cases_grouped_matmul(case_list *list, case_kind kind)
{
    if (kind == CASES_BENCH) {
        bench_cases(list);
        return;
    }
    sizes_cases(list);
    epilogue_cases(list);
    sums_cases(list);
    special_cases(list);
    fp8_cases(list);
    fp8_epilogue_cases(list);
}
