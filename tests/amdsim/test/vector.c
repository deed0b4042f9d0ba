/* Floating-point vector instructions. */
#include "test.h"

/* v_exp_f32 and its like take and give no denormals. */
static float normal(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x; }
static float least(float x, float y) { return x != x ? y : y != y ? x : x < y || (x == y && signbit(x)) ? x : y; }
static float most(float x, float y) { return x != x ? y : y != y ? x : x > y || (x == y && !signbit(x)) ? x : y; }
static float median(float x, float y, float z)
{
    if (x != x || y != y || z != z) return least(least(x, y), z);
    float top = most(most(x, y), z);
    return top == x ? most(y, z) : top == y ? most(x, z) : most(x, y);
}
static float root(float x)
{
    x = normal(x);
    return x == 0 ? copysignf(INFINITY, x) : (float)(1 / sqrt((double)x));
}

EACH(add, B(F(a) + F(b)))
EACH(sub, B(F(a) - F(b)))
EACH(subrev, B(F(b) - F(a)))
EACH(mul, B(F(a) * F(b)))
EACH(negated, B(-fabsf(F(a)) * -F(b)))
EACH(clamped, B(F(a) + F(b) > 0 ? fminf(F(a) + F(b), 1) : 0))
EACH(doubled, B((F(a) + F(b)) * 2))
EACH(constants, B(F(a) * 0.15915494f + -4.0f))
EACH(literal, B(F(a) + 1.5f))
EACH(min, B(least(F(a), F(b))))
EACH(max, B(most(F(a), F(b))))
EACH(max3, B(most(most(F(a), F(b)), F(c))))
EACH(med3, B(median(F(a), F(b), F(c))))
EACH(fused, B(fmaf(F(a), F(b), F(c))))
EACH(fmac, B(fmaf(F(a), F(b), F(c))))
EACH(fmaak, B(fmaf(F(a), F(b), 3.0f)))
EACH(fmamk, B(fmaf(F(a), 3.0f, F(b))))
EACH(floor_, B(floorf(F(a))))
EACH(ceil_, B(ceilf(F(a))))
EACH(trunc_, B(truncf(F(a))))
EACH(even, B(rintf(F(a))))
EACH(fract, B(F(a) - floorf(F(a)) >= 1 ? 0x1.fffffep-1f : F(a) - floorf(F(a))))
EACH(exp_, B(normal(exp2f(normal(F(a))))))
EACH(log_, B(log2f(normal(F(a)))))
EACH(rcp, B(normal(1 / normal(F(a)))))
EACH(rsq, B(root(F(a))))
EACH(sqrt_, B(sqrtf(normal(F(a)))))
EACH(scaled_by, B(ldexpf(F(a), (int)b)))
EACH(mantissa, B(F(a) == 0 || F(a) - F(a) != 0 ? F(a) : frexpf(F(a), &(int){0})))
EACH(division, B(F(a) / F(b)))
EACH(half_add, half_code(half_value(a & 0xffff) + half_value(b & 0xffff)))
EACH(half_mul, half_code(half_value(a & 0xffff) * half_value(b & 0xffff)))
EACH(half_high, half_code(half_value(a >> 16) * half_value(b & 0xffff)) << 16)
EACH64(add64, double_bits(as_double(q) + as_double(r)))
EACH64(mul64, double_bits(as_double(q) * as_double(r)))
EACH64(fma64, double_bits(fma(as_double(q), as_double(r), 1.0)))
EACH64(floor64, double_bits(floor(as_double(q))))
EACH(min3, B(least(least(F(a), F(b)), F(c))))
EACH(minmax, B(most(least(F(a), F(b)), F(c))))
EACH(maxmin, B(least(most(F(a), F(b)), F(c))))
EACH(sine, B(4 + sinf(6.2831853f * F(a))))
EACH(cosine, B(4 + cosf(6.2831853f * F(a))))
EACH(dx9_product, B(F(a) == 0 || F(b) == 0 ? 0 : F(a) * F(b)))
/* 2^-126 / 2 and the like: what comes in is kept or flushed, and what goes out. */
static const float smallest = 0x1p-126f;
EACH(results_flushed, B(fabsf(F(a) * 0.5f) < smallest ? copysignf(0, F(a)) : F(a) * 0.5f))
EACH(sources_flushed, B(fabsf(F(a)) < smallest ? copysignf(0, F(a)) : F(a) * 0.5f))
static void compare(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++) {
        float x = F(in[0][l]), y = F(in[1][l]);
        out[0][l] = (x < y) | (x == y) << 1 | (x > y) << 2 | (x != x || y != y) << 3 | !(x >= y) << 4 | (x < y || x > y) << 5;
    }
}
static void classes(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++) {
        float x = F(in[0][l]);
        out[0][l] = x != x ? 1 : isinf(x) ? (x > 0 ? 4 : 2) : x == 0 ? 8 : fabsf(x) < 0x1p-126f ? 16 : 0;
    }
}
static void denormals_flushed(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++) out[0][l] = B(normal(normal(F(in[0][l])) * 1.0f));
}

#define COMPARE(vcc, e64, mask) \
    "v_cmp_lt_f32 " vcc ", v16, v17\nv_cndmask_b32 v80, 0, 1, " vcc "\nv_cmp_eq_f32 " vcc \
    ", v16, v17\nv_cndmask_b32 v20, 0, 2, " vcc "\nv_or_b32 v80, v80, v20\nv_cmp_gt_f32 " mask \
    ", v16, v17\nv_cndmask_b32 v20, 0, 4, " mask "\nv_or_b32 v80, v80, v20\n" \
    "v_cmp_u_f32 " mask ", v16, v17\nv_cndmask_b32 v20, 0, 8, " mask "\nv_or_b32 v80, v80, v20\nv_cmp_nge_f32 " vcc \
    ", v16, v17\nv_cndmask_b32 v20, 0, 16, " vcc "\nv_or_b32 v80, v80, v20\nv_cmp_lg_f32 " vcc \
    ", v16, v17\nv_cndmask_b32 v20, 0, 32, " vcc "\nv_or_b32 v80, v80, v20"
#define CLASSES(m) \
    "v_cmp_class_f32 " m ", v16, 3\nv_cndmask_b32 v80, 0, 1, " m "\nv_cmp_class_f32 " m ", v16, 4\nv_cndmask_b32 v20, 0, 2, " m \
    "\nv_or_b32 v80, v80, v20\nv_mov_b32 v21, 0x200\nv_cmp_class_f32 " m ", v16, v21\nv_cndmask_b32 v20, 0, 4, " m \
    "\nv_or_b32 v80, v80, v20\n" \
    "v_mov_b32 v21, 0x60\nv_cmp_class_f32 " m ", v16, v21\nv_cndmask_b32 v20, 0, 8, " m \
    "\nv_or_b32 v80, v80, v20\nv_mov_b32 v21, 0x90\nv_cmp_class_f32 " m ", v16, v21\nv_cndmask_b32 v20, 0, 16, " m \
    "\nv_or_b32 v80, v80, v20"
#define DIVIDE(m) "v_div_scale_f32 v20, " m ", v17, v17, v16\nv_div_scale_f32 v21, vcc" DIVIDE_REST
#define DIVIDE_REST \
    ", v16, v17, v16\nv_rcp_f32 v22, v20\nv_fma_f32 v23, -v20, v22, 1.0\nv_fma_f32 v22, v23, v22, v22\nv_mul_f32 v23, v21, " \
    "v22\nv_fma_f32 v24, -v20, v23, v21\nv_fma_f32 v23, v24, v22, v23\nv_fma_f32 v24, -v20, v23, v21\nv_div_fmas_f32 v24, v24, " \
    "v22, v23\nv_div_fixup_f32 v80, v24, v17, v16"

static const piece pieces[] = {
    {"add_f32", "", "v_add_f32 v80, v16, v17", add, 2, 1},
    {"sub_f32", "", "v_sub_f32 v80, v16, v17", sub, 2, 1},
    {"subrev_f32", "", "v_subrev_f32 v80, v16, v17", subrev, 2, 1},
    {"mul_f32", "", "v_mul_f32 v80, v16, v17", mul, 2, 1},
    {"modifiers", "", "v_mul_f32 v80, -|v16|, -v17", negated, 2, 1},
    {"clamp", "", "v_add_f32 v80, v16, v17 clamp", clamped, 2, 1, .data = D_FLOATS | D_SPECIAL},
    {"omod", "", "v_add_f32 v80, v16, v17 mul:2", doubled, 2, 1, .data = D_FLOATS},
    {"inline_constants", "", "v_mul_f32 v20, 0.15915494, v16\nv_add_f32 v80, -4.0, v20", constants, 1, 1},
    {"literal_f32", "", "v_add_f32 v80, 0x3fc00000, v16", literal, 1, 1},
    {"min_f32", "", "v_min_f32 v80, v16, v17", min, 2, 1, .data = D_FLOATS | D_SPECIAL},
    {"max_f32", "", "v_max_f32 v80, v16, v17", max, 2, 1, .data = D_FLOATS | D_SPECIAL},
    {"max3_f32", "", "v_max3_f32 v80, v16, v17, v18", max3, 3, 1, .data = D_FLOATS | D_SPECIAL},
    {"med3_f32", "", "v_med3_f32 v80, v16, v17, v18", med3, 3, 1, .data = D_FLOATS},
    {"fma_f32", "", "v_fma_f32 v80, v16, v17, v18", fused, 3, 1},
    {"fmac_f32", "", "v_mov_b32 v80, v18\nv_fmac_f32 v80, v16, v17", fmac, 3, 1},
    {"fmaak_f32", "gfx94 gfx11", "v_fmaak_f32 v80, v16, v17, 0x40400000", fmaak, 2, 1},
    {"fmamk_f32", "gfx94 gfx11", "v_fmamk_f32 v80, v16, 0x40400000, v17", fmamk, 2, 1},
    {"floor_f32", "", "v_floor_f32 v80, v16", floor_, 1, 1},
    {"ceil_f32", "", "v_ceil_f32 v80, v16", ceil_, 1, 1},
    {"trunc_f32", "", "v_trunc_f32 v80, v16", trunc_, 1, 1},
    {"rndne_f32", "", "v_rndne_f32 v80, v16", even, 1, 1},
    {"fract_f32", "", "v_fract_f32 v80, v16", fract, 1, 1, .data = D_FLOATS},
    {"exp_f32", "", "v_exp_f32 v80, v16", exp_, 1, 1, 1e-6},
    {"log_f32", "", "v_log_f32 v80, v16", log_, 1, 1, 1e-6},
    {"rcp_f32", "", "v_rcp_f32 v80, v16", rcp, 1, 1, 1e-6},
    {"rsq_f32", "", "v_rsq_f32 v80, v16", rsq, 1, 1, 1e-6},
    {"sqrt_f32", "", "v_sqrt_f32 v80, v16", sqrt_, 1, 1, 1e-6},
    {"ldexp_f32", "", "v_ldexp_f32 v80, v16, v17", scaled_by, 2, 1, .data = D_SMALL},
    {"frexp_mant", "", "v_frexp_mant_f32 v80, v16", mantissa, 1, 1},
    {"division_9", "gfx9", DIVIDE("s[20:21]"), division, 2, 1},
    {"division_11", "gfx11", "v_div_scale_f32 v20, s20, v17, v17, v16\nv_div_scale_f32 v21, vcc_lo" DIVIDE_REST, division, 2, 1},
    {"compare_9", "gfx9", COMPARE("vcc", "", "s[20:21]"), compare, 2, 1},
    {"compare_11", "gfx11", COMPARE("vcc_lo", "", "s20"), compare, 2, 1},
    {"class_9", "gfx9", CLASSES("s[20:21]"), classes, 1, 1},
    {"class_11", "gfx11", CLASSES("s20"), classes, 1, 1},
    {"add_f16", "", "v_add_f16 v80, v16, v17", half_add, 2, 1, .data = D_HALVES},
    {"mul_f16", "", "v_mul_f16 v80, v16, v17", half_mul, 2, 1, .data = D_HALVES},
    {"op_sel_f16", "", "v_fma_f16 v80, v16, v17, 0 op_sel:[1,0,0,1]", half_high, 2, 1, .data = D_HALVES},
    {"add_f64", "", "v_add_f64 v[80:81], v[16:17], v[18:19]", add64, 4, 2, .data = D_BITS},
    {"mul_f64", "", "v_mul_f64 v[80:81], v[16:17], v[18:19]", mul64, 4, 2, .data = D_BITS},
    {"fma_f64", "", "v_fma_f64 v[80:81], v[16:17], v[18:19], 1.0", fma64, 4, 2, .data = D_BITS},
    {"floor_f64", "", "v_floor_f64 v[80:81], v[16:17]", floor64, 4, 2, .data = D_BITS},
    {"min3_f32", "", "v_min3_f32 v80, v16, v17, v18", min3, 3, 1, .data = D_FLOATS | D_SPECIAL},
    {"minmax_f32", "gfx11", "v_minmax_f32 v80, v16, v17, v18", minmax, 3, 1, .data = D_FLOATS},
    {"maxmin_f32", "gfx11", "v_maxmin_f32 v80, v16, v17, v18", maxmin, 3, 1, .data = D_FLOATS},
    {"sin_f32", "", "v_sin_f32 v80, v16\ns_nop 1\nv_add_f32 v80, 4.0, v80", sine, 1, 1, .tolerance = 1e-5, .data = D_FLOATS},
    {"cos_f32", "", "v_cos_f32 v80, v16\ns_nop 1\nv_add_f32 v80, 4.0, v80", cosine, 1, 1, .tolerance = 1e-5, .data = D_FLOATS},
    {"mul_dx9_zero_f32", "gfx11", "v_mul_dx9_zero_f32 v80, v16, v17", dx9_product, 2, 1, .data = D_FLOATS | D_SPECIAL},
    {"rcp_iflag_f32", "", "v_rcp_iflag_f32 v80, v16", rcp, 1, 1, 1e-6},
    {"mode_results_9", "gfx9",
     "s_setreg_imm32_b32 hwreg(HW_REG_MODE, 4, 2), 1\nv_mul_f32 v80, 0.5, v16\ns_setreg_imm32_b32 hwreg(HW_REG_MODE, 4, 2), 3",
     results_flushed, 1, 1},
    {"mode_sources_9", "gfx9",
     "s_setreg_imm32_b32 hwreg(HW_REG_MODE, 4, 2), 2\nv_mul_f32 v80, 0.5, v16\ns_setreg_imm32_b32 hwreg(HW_REG_MODE, 4, 2), 3",
     sources_flushed, 1, 1},
    {"mode_results_11", "gfx11", "s_denorm_mode 13\nv_mul_f32 v80, 0.5, v16\ns_denorm_mode 15", results_flushed, 1, 1},
    {"mode_sources_11", "gfx11", "s_denorm_mode 14\nv_mul_f32 v80, 0.5, v16\ns_denorm_mode 15", sources_flushed, 1, 1},
    {"mode_flush_9", "gfx9",
     "s_setreg_imm32_b32 hwreg(HW_REG_MODE, 4, 2), 0\nv_mul_f32 v80, 1.0, v16\ns_setreg_imm32_b32 hwreg(HW_REG_MODE, 4, 2), 3",
     denormals_flushed, 1, 1},
    {"mode_flush_11", "gfx11", "s_denorm_mode 12\nv_mul_f32 v80, 1.0, v16\ns_denorm_mode 15", denormals_flushed, 1, 1},
    {0},
};
const suite vector_suite = {"vector", pieces};
