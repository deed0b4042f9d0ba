#include "core/check.h"
#include "core/scaled_shape.h"

static const trine_op_field fp8_quantize_fields[] = {
    FIELD(trine_fp8_quantize_args, x, IN), FIELD(trine_fp8_quantize_args, q, OUT),
    FIELD(trine_fp8_quantize_args, scale, OUT | OPTIONAL), FIELD(trine_fp8_quantize_args, given_scale, IN | OPTIONAL)};
static const trine_op_field fp8_dequantize_fields[] = {FIELD(trine_fp8_dequantize_args, q, IN),
                                                       FIELD(trine_fp8_dequantize_args, scale, IN),
                                                       FIELD(trine_fp8_dequantize_args, y, OUT)};
static const trine_op_field fp8_matmul_fields[] = {FIELD(trine_fp8_matmul_args, a, IN),
                                                   FIELD(trine_fp8_matmul_args, b, IN),
                                                   FIELD(trine_fp8_matmul_args, a_scale, IN),
                                                   FIELD(trine_fp8_matmul_args, b_scale, IN),
                                                   FIELD(trine_fp8_matmul_args, bias, IN | OPTIONAL),
                                                   FIELD(trine_fp8_matmul_args, d, OUT)};

/* x's shape with blocks in the place of its last axes. */
static trine_status check_scale_shape(const trine_check *check, const char *name, const trine_tensor *scale,
                                      const trine_tensor *x, trine_fp8_scaling scaling)
{
    trine_tensor blocks = *x;
    if (scaling == TRINE_FP8_PER_TENSOR)
        return trine_tensor_numel(scale) == 1 ? TRINE_OK : trine_bad(check, name, "is not one element");
    if (scaling == TRINE_FP8_PER_ROW)
        blocks.ndim--;
    else
        blocks.shape[x->ndim - 1] = trine_blocks(x->shape[x->ndim - 1], TRINE_FP8_BLOCK);
    if (scaling == TRINE_FP8_PER_128X128) blocks.shape[x->ndim - 2] = trine_blocks(x->shape[x->ndim - 2], TRINE_FP8_BLOCK);
    return trine_check_same_shape(check, name, scale, "the blocks", &blocks);
}

static trine_status check_fp8(const trine_check *check, const char *x_name, const trine_tensor *x, const trine_tensor *q,
                              const char *scale_name, const trine_tensor *scale, trine_fp8_scaling scaling)
{
    if ((unsigned)scaling >= TRINE_FP8_SCALING_COUNT) return trine_bad(check, "scaling", "%d is no scaling", (int)scaling);
    TRY(trine_check_dtype(check, x_name, x, DT_FLOATS));
    TRY(trine_check_dtype(check, "q", q, DT_FP8));
    TRY(trine_check_ndim_at_least(check, x_name, x, scaling == TRINE_FP8_PER_128X128 ? 2 : 1));
    TRY(trine_check_same_shape(check, "q", q, x_name, x));
    TRY(trine_check_dtype(check, scale_name, scale, DT(F32)));
    return check_scale_shape(check, scale_name, scale, x, scaling);
}

static trine_status check_fp8_quantize(const trine_check *check, const void *args)
{
    const trine_fp8_quantize_args *a = args;
    bool given;
    TRY(trine_check_one_scale(check, &a->scale, &a->given_scale, &given));
    if (a->power_of_two != 0 && a->power_of_two != 1)
        return trine_bad(check, "power_of_two", "%d is not 0 or 1", (int)a->power_of_two);
    if (!(a->amax_least == 0 || (a->amax_least >= 0x1p-100f && a->amax_least <= 0x1.fffffep127f)))
        return trine_bad(check, "amax_least", "%g is not 0 or a number from 2^-100 on", (double)a->amax_least);
    return check_fp8(check, "x", &a->x, &a->q, given ? "given_scale" : "scale", given ? &a->given_scale : &a->scale, a->scaling);
}

static trine_status check_fp8_dequantize(const trine_check *check, const void *args)
{
    const trine_fp8_dequantize_args *a = args;
    return check_fp8(check, "y", &a->y, &a->q, "scale", &a->scale, a->scaling);
}

trine_status trine_check_product_scale(const trine_check *check, const char *name, const trine_tensor *t, const trine_tensor *of,
                                       int64_t rows, int64_t k, int32_t k_axis)
{
    TRY(trine_check_dtype(check, name, t, DT(F32)));
    if (trine_tensor_numel(t) == 1 && t->ndim < 2) return TRINE_OK;
    TRY(trine_check_ndim_at_least(check, name, t, 2));
    const int64_t blocks = t->shape[t->ndim - k_axis], of_rows = t->shape[t->ndim - (3 - k_axis)];
    if (blocks != 1 && blocks != trine_blocks(k, TRINE_FP8_BLOCK))
        return trine_bad(check, name, "has %lld elements along K, which is %lld", (long long)blocks, (long long)k);
    if (of_rows != 1 && of_rows != rows && of_rows != trine_blocks(rows, TRINE_FP8_BLOCK))
        return trine_bad(check, name, "has %lld elements for %lld %s", (long long)of_rows, (long long)rows,
                         k_axis == 1 ? "rows" : "columns");
    trine_tensor batch = *t, wanted = *of;
    batch.ndim -= 2;
    wanted.ndim -= 2;
    return trine_check_broadcasts(check, name, &batch, "the batch", &wanted);
}

static trine_status check_fp8_matmul(const trine_check *check, const void *args)
{
    const trine_fp8_matmul_args *a = args;
    TRY(trine_check_dtype(check, "a", &a->a, DT_FP8));
    TRY(trine_check_dtype(check, "b", &a->b, DT_FP8));
    TRY(trine_check_dtype(check, "d", &a->d, DT_FLOATS));
    TRY(trine_check_product(check, &a->a, &a->b, &a->d));
    const int64_t m = a->d.shape[a->d.ndim - 2], n = a->d.shape[a->d.ndim - 1], k = a->a.shape[a->a.ndim - 1];
    TRY(trine_check_product_scale(check, "a_scale", &a->a_scale, &a->d, m, k, 1));
    TRY(trine_check_product_scale(check, "b_scale", &a->b_scale, &a->d, n, k, 2));
    if (trine_is_given(&a->bias)) {
        TRY(trine_check_dtype(check, "bias", &a->bias, DT(F32) | 1u << a->d.dtype));
        TRY(trine_check_is_vector(check, "bias", &a->bias, n));
    }
    if ((unsigned)a->activation >= TRINE_ACT_COUNT)
        return trine_bad(check, "activation", "there is no activation %d", (int)a->activation);
    if (a->fast_accumulate != 0 && a->fast_accumulate != 1)
        return trine_bad(check, "fast_accumulate", "%d is not 0 or 1", (int)a->fast_accumulate);
    return TRINE_OK;
}

OP_DESC(fp8, fp8_quantize, fp8_quantize_fields, check_fp8_quantize);
OP_DESC(fp8, fp8_dequantize, fp8_dequantize_fields, check_fp8_dequantize);
OP_DESC(fp8, fp8_matmul, fp8_matmul_fields, check_fp8_matmul);
