#include "core/check.h"
#include "core/scaled_shape.h"

static const trine_op_field fp8_quantize_fields[] = {
    FIELD(trine_fp8_quantize_args, x, IN), FIELD(trine_fp8_quantize_args, q, OUT),
    FIELD(trine_fp8_quantize_args, scale, OUT | OPTIONAL), FIELD(trine_fp8_quantize_args, given_scale, IN | OPTIONAL)};
static const trine_op_field fp8_dequantize_fields[] = {FIELD(trine_fp8_dequantize_args, q, IN),
                                                       FIELD(trine_fp8_dequantize_args, scale, IN),
                                                       FIELD(trine_fp8_dequantize_args, y, OUT)};

enum { DT_FP8 = DT(F8_E4M3FN) | DT(F8_E5M2) | DT(F8_E4M3FNUZ) | DT(F8_E5M2FNUZ) };

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

OP_DESC(fp8, fp8_quantize, fp8_quantize_fields, check_fp8_quantize);
OP_DESC(fp8, fp8_dequantize, fp8_dequantize_fields, check_fp8_dequantize);
