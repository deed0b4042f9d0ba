/* fp8 on the CPU, in the frame of scaled.h: the same bits as backends/simt/fp8.h. Bound by bytes with AVX-512 (fp8_lanes.h),
 * else by the conversion to fp8, some 15 integer operations an element that vectorise (span_formats.h). */
#include "backends/cpu/matmul_register.h"
#include "backends/cpu/scaled.h"
#include "core/fp8_product.h"
#include "core/fp8_scale.h"

static float scale_of(const void *context, float most)
{
    const trine_fp8_rule *rule = context;
    return trine_fp8_scale(*rule, trine_fp8_amax(*rule, most) / rule->largest);
}

static void emit_codes(float *restrict q, const float *restrict x, int64_t n, float scale)
{
    const float inverse = 1.0f / scale;
    for (int64_t i = 0; i < n; i++) q[i] = x[i] * inverse;
}

static void emit_reals(float *restrict y, const float *restrict q, int64_t n, float scale)
{
    for (int64_t i = 0; i < n; i++) y[i] = q[i] * scale;
}

trine_status TRINE_CPU(fp8_quantize)(trine_call *call, const trine_fp8_quantize_args *a)
{
    const bool given = trine_is_given(&a->given_scale), by_row = a->scaling == TRINE_FP8_PER_ROW,
               by_row_or_one = by_row || a->scaling == TRINE_FP8_PER_TENSOR;
    const trine_tensor *scales = given ? &a->given_scale : &a->scale;
    const trine_fp8_rule rule = trine_fp8_rule_make(a);
    const scaled_job j = {.shape = trine_scaled_shape_make(&a->q, &a->x, scales, a->scaling),
                          .codes = a->q.data,
                          .reals = a->x.data,
                          .scales = scales->data,
                          .code = a->q.dtype,
                          .real = a->x.dtype,
                          .context = &rule,
                          .scale_of = given ? NULL : scale_of,
                          .emit = emit_codes,
                          .put = scaled_fp8_put(a->q.dtype, a->x.dtype, false)};
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, given ? 0 : by_row_or_one ? scaled_row_bytes(&j, by_row) : 0);
    if (!given && by_row_or_one)
        scaled_by_row(&j, by_row, call->workspace);
    else if (!given && a->scaling == TRINE_FP8_PER_128X128)
        scaled_by_tile(&j);
    else
        scaled_all(&j);
    return TRINE_OK;
}

trine_status TRINE_CPU(fp8_dequantize)(trine_call *call, const trine_fp8_dequantize_args *a)
{
    const scaled_job j = {.shape = trine_scaled_shape_make(&a->q, &a->y, &a->scale, a->scaling),
                          .codes = a->q.data,
                          .reals = a->y.data,
                          .scales = a->scale.data,
                          .code = a->q.dtype,
                          .real = a->y.dtype,
                          .emit = emit_reals,
                          .put = scaled_fp8_put(a->q.dtype, a->y.dtype, true),
                          .back = true};
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, 0);
    scaled_all(&j);
    return TRINE_OK;
}

/* As matmul's, with operands that are decoded and scaled while they are packed. */
static trine_status fp8_matmul_register_tiled(trine_call *call, const void *args)
{
    trine_product p;
    TRINE_REQUIRE_THAT(call, trine_fp8_product_make(&p, args), "needs d with stride 1 along N or M");
    return run_register_tiled(call, &p);
}

trine_status TRINE_CPU(fp8_matmul)(trine_call *call, const trine_fp8_matmul_args *a)
{
    static const trine_variant variants[] = {{"register_tiled", fp8_matmul_register_tiled}};
    return trine_run_variants(call, variants, sizeof variants / sizeof *variants, a);
}
