/* Cases of the layout family. Only bits are moved, so everything is exact. */
#include <stdio.h>
#include <string.h>

#include "tests/cases/cases.h"

/* Element i of y comes from the element of x whose index along axis axes[d] is y's along d. */
static void oracle_permuted(const test_case *c, int64_t unit, const int32_t *axes, void *to)
{
    const case_tensor *x = case_find(c, "x"), *y = case_find(c, "y");
    int64_t at[TRINE_MAX_DIMS], from[TRINE_MAX_DIMS];
    case_unravel(y, unit, at);
    for (int32_t d = 0; d < x->ndim; d++) from[axes[d]] = at[d];
    memcpy(to, case_element(x, case_ravel(x, from)), (size_t)trine_dtype_bits(x->dtype) / 8);
}

static void oracle_transpose(const test_case *c, int64_t unit, void *const *out)
{
    int32_t axes[TRINE_MAX_DIMS], n = case_find(c, "x")->ndim;
    for (int32_t d = 0; d < n; d++) axes[d] = d < n - 2 ? d : 2 * n - 3 - d;
    oracle_permuted(c, unit, axes, out[0]);
}

static void oracle_permute(const test_case *c, int64_t unit, void *const *out)
{
    oracle_permuted(c, unit, ((const trine_permute_args *)(const void *)c->args)->axes, out[0]);
}

static void finish(test_case *c, void (*oracle)(const test_case *, int64_t, void *const *))
{
    c->units = case_find(c, "y")->numel;
    c->oracle_bits = oracle;
    c->vendor_exact = true;
    case_count_bytes(c);
}

static test_case *new_transpose(case_list *list, trine_dtype dtype, int64_t batch, int64_t rows, int64_t cols, case_layout layout)
{
    test_case *c = case_new(list, TRINE_OP_transpose, "%s %lldx%lldx%lld", trine_dtype_name(dtype), (long long)batch,
                            (long long)rows, (long long)cols);
    case_set_fill(case_in(c, "x", dtype, SHAPE(batch, rows, cols)), FILL_BITS, 0, 0);
    case_out(c, "y", dtype, SHAPE(batch, cols, rows));
    case_set_layout(c, layout);
    finish(c, oracle_transpose);
    return c;
}

void cases_transpose(case_list *list, case_kind kind)
{
    static const trine_dtype dtypes[] = {TRINE_F64, TRINE_F32, TRINE_BF16, TRINE_F8_E4M3FN, TRINE_BOOL};
    static const int64_t shapes[][3] = {{1, 1, 1},   {2, 0, 3},    {1, 1, 17},    {1, 17, 1},    {3, 2, 2},    {1, 31, 33},
                                        {2, 64, 64}, {1, 65, 127}, {3, 128, 192}, {1, 16, 1040}, {1, 257, 130}};
    if (kind == CASES_BENCH) {
        new_transpose(list, TRINE_F32, 1, 8192, 16384, LAYOUT_DENSE);
        new_transpose(list, TRINE_BF16, 1, 16384, 16384, LAYOUT_DENSE);
        new_transpose(list, TRINE_BF16, 64, 2048, 1024, LAYOUT_DENSE);
        new_transpose(list, TRINE_U8, 1, 16384, 32768, LAYOUT_DENSE);
        return;
    }
    for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++)
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
            for (int layout = 0; layout < LAYOUT_COUNT; layout++)
                new_transpose(list, dtypes[d], shapes[s][0], shapes[s][1], shapes[s][2], (case_layout)layout);
}

static test_case *new_permute(case_list *list, trine_dtype dtype, int32_t ndim, const int64_t *shape, const int32_t *axes,
                              case_layout layout)
{
    test_case *c = case_new(list, TRINE_OP_permute, "%s", trine_dtype_name(dtype));
    int64_t permuted[TRINE_MAX_DIMS];
    for (int32_t d = 0; d < ndim; d++) {
        size_t used = strlen(c->name);
        snprintf(c->name + used, sizeof c->name - used, "%s%lld:%d", d ? "," : " ", (long long)shape[d], (int)axes[d]);
        permuted[d] = shape[axes[d]];
        CASE_ARGS(c, permute)->axes[d] = axes[d];
    }
    case_set_fill(case_in(c, "x", dtype, ndim, shape), FILL_BITS, 0, 0);
    case_out(c, "y", dtype, ndim, permuted);
    case_set_layout(c, layout);
    finish(c, oracle_permute);
    return c;
}

/* Every order of the axes of a 4-d tensor. */
static void every_order(case_list *list, trine_dtype dtype, const int64_t *shape, case_layout layout)
{
    for (int i = 0; i < 256; i++) {
        const int32_t axes[4] = {i & 3, i >> 2 & 3, i >> 4 & 3, i >> 6 & 3};
        if ((1 << axes[0] | 1 << axes[1] | 1 << axes[2] | 1 << axes[3]) == 15) new_permute(list, dtype, 4, shape, axes, layout);
    }
}

void cases_permute(case_list *list, case_kind kind)
{
    if (kind == CASES_BENCH) {
        new_permute(list, TRINE_BF16, 4, (int64_t[]){16, 4096, 16, 128}, (int32_t[]){0, 2, 1, 3}, LAYOUT_DENSE);
        new_permute(list, TRINE_F32, 4, (int64_t[]){64, 256, 64, 64}, (int32_t[]){0, 2, 3, 1}, LAYOUT_DENSE);
        return;
    }
    every_order(list, TRINE_F32, (int64_t[]){3, 5, 7, 9}, LAYOUT_DENSE);
    every_order(list, TRINE_BF16, (int64_t[]){2, 8, 72, 16}, LAYOUT_DENSE);
    every_order(list, TRINE_U8, (int64_t[]){4, 3, 33, 65}, LAYOUT_PADDED);
    every_order(list, TRINE_F64, (int64_t[]){2, 3, 5, 4}, LAYOUT_STRIDED);
    every_order(list, TRINE_F16, (int64_t[]){1, 70, 1, 66}, LAYOUT_DENSE);
    new_permute(list, TRINE_I32, 0, (int64_t[]){0}, (int32_t[]){0}, LAYOUT_DENSE);
    new_permute(list, TRINE_I32, 3, (int64_t[]){3, 0, 2}, (int32_t[]){2, 1, 0}, LAYOUT_DENSE);
    new_permute(list, TRINE_I64, 8, (int64_t[]){2, 1, 3, 2, 1, 2, 3, 2}, (int32_t[]){7, 0, 6, 1, 5, 2, 4, 3}, LAYOUT_DENSE);
}
