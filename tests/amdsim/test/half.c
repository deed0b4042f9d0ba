/* 16-bit floats and integers. Functions come out as f32, so that their last bit has a tolerance. */
#include "test.h"

#define H(x) half_value((x)&0xffff)
#define I(x) ((int16_t)(x))
#define U(x) ((uint16_t)(x))
static double least(double x, double y) { return x < y ? x : y; }
static double most(double x, double y) { return x > y ? x : y; }
static double middle(double x, double y, double z) { return most(least(x, y), least(most(x, y), z)); }
static uint32_t clamp16(double x, int low, int high)
{
    return (uint32_t)(x < low ? low : x > high ? high : (int)rint(x)) & 0xffff;
}
#define F16(name, expression) EACH(name, half_code(expression))
F16(sub, H(a) - H(b))
F16(subrev, H(b) - H(a))
F16(smaller, least(H(a), H(b)))
F16(larger, most(H(a), H(b)))
F16(min3, least(least(H(a), H(b)), H(c)))
F16(max3, most(most(H(a), H(b)), H(c)))
F16(med3, middle(H(a), H(b), H(c)))
F16(minmax, most(least(H(a), H(b)), H(c)))
F16(maxmin, least(most(H(a), H(b)), H(c)))
F16(down, floor(H(a)))
F16(up, ceil(H(a)))
F16(cut, trunc(H(a)))
F16(even, rint(H(a)))
F16(fract, H(a) - floor(H(a)))
F16(fused, fma(H(a), H(b), H(c)))
F16(plus3, fma(H(a), H(b), 3))
F16(times3, fma(H(a), 3, H(b)))
F16(scaled, ldexp(H(a), (int32_t)(b << 28) >> 28))
F16(mantissa, H(a) == 0 ? 0 : frexp(H(a), &(int){0}))
F16(of_int, I(a))
F16(of_unsigned, U(a))
#define F32(name, expression) EACH(name, B((float)half_value(half_code(expression))))
F32(exp_, exp2(H(a)))
F32(log_, log2(fabs(H(a))))
F32(rcp, 1 / H(a))
F32(rsq, 1 / sqrt(fabs(H(a))))
F32(root, sqrt(fabs(H(a))))
#define TURNS(name, expression) EACH(name, B((float)(expression)))
TURNS(sin_, 4 + sin(2 * 3.14159265358979 * H(a))) /* turns; 4 more, so that an error near 0 is small */
TURNS(cos_, 4 + cos(2 * 3.14159265358979 * H(a)))
static int exponent(double x)
{
    int e = 0;
    if (x != 0) frexp(x, &e);
    return e;
}
EACH(exponent16, exponent(H(a)) & 0xffff)
EACH(to_unsigned, H(a) <= 0 ? 0 : (uint32_t)H(a))
EACH(norm_i, clamp16((float)H(a) * 32767, -32768, 32767))
EACH(norm_u, clamp16((float)H(a) * 65535, 0, 65535))
EACH(class_, H(a) < 0 ? 1 : H(a) == 0 ? 2 : 4)
EACH(sub16, U(a - b))
EACH(min_u16, U(a) < U(b) ? U(a) : U(b))
EACH(max_u16, U(a) > U(b) ? U(a) : U(b))
EACH(max_i16, U(I(a) > I(b) ? a : b))
EACH(min3_i16, U(least(least(I(a), I(b)), I(c))))
EACH(max3_i16, U(most(most(I(a), I(b)), I(c))))
EACH(med3_i16, U(middle(I(a), I(b), I(c))))
EACH(min3_u16, U(least(least(U(a), U(b)), U(c))))
EACH(max3_u16, U(most(most(U(a), U(b)), U(c))))
EACH(med3_u16, U(middle(U(a), U(b), U(c))))
EACH(mul16, U(a *b))
EACH(mad16, U(a *b + c))
EACH(mad_wide_u, (uint32_t)U(a) * U(b) + c)
EACH(mad_wide_i, (uint32_t)(I(a) * I(b)) + c)
EACH(shr16, U(b) >> a % 16)
EACH(sar16, U(I(b) >> a % 16))
EACH(sat_pk, (I(a) < 0     ? 0u
              : I(a) > 255 ? 255u
                           : (uint32_t)I(a)) |
                 (I(a >> 16) < 0     ? 0u
                  : I(a >> 16) > 255 ? 255u
                                     : (uint32_t)I(a >> 16))
                     << 8)
EACH(sign16, (uint32_t)(int32_t)I(a))
EACH(zero16, U(a))

#define ON(name, chips, text, function, inputs) \
    { \
        name, chips, text, function, inputs, 1, .data = D_HALVES \
    }
#define BITS(name, chips, text, function, inputs) \
    { \
        name, chips, text, function, inputs, 1 \
    }
#define NEAR(name, text, function) \
    { \
        name, "", text "\ns_nop 1\nv_cvt_f32_f16 v80, v80", function, 1, 1, .tolerance = 2e-3, .data = D_HALVES \
    }
#define ABS "v_and_b32 v20, 0x7fff, v16\n"
#define CLASS(m) \
    "v_cmp_class_f16 " m ", v16, 24\nv_cndmask_b32 v80, 0, 1, " m "\nv_mov_b32 v21, 0x60\nv_cmp_class_f16 " m \
    ", v16, v21\nv_cndmask_b32 v20, 0, 2, " m "\nv_or_b32 v80, v80, v20\nv_mov_b32 v21, 0x180\nv_cmp_class_f16 " m \
    ", v16, v21\nv_cndmask_b32 v20, 0, 4, " m "\nv_or_b32 v80, v80, v20"
static const piece pieces[] = {
    ON("sub_f16", "", "v_sub_f16 v80, v16, v17", sub, 2),
    ON("subrev_f16", "", "v_subrev_f16 v80, v16, v17", subrev, 2),
    ON("min_f16", "", "v_min_f16 v80, v16, v17", smaller, 2),
    ON("max_f16", "", "v_max_f16 v80, v16, v17", larger, 2),
    ON("min3_f16", "", "v_min3_f16 v80, v16, v17, v18", min3, 3),
    ON("max3_f16", "", "v_max3_f16 v80, v16, v17, v18", max3, 3),
    ON("med3_f16", "", "v_med3_f16 v80, v16, v17, v18", med3, 3),
    ON("minmax_f16", "gfx11", "v_minmax_f16 v80, v16, v17, v18", minmax, 3),
    ON("maxmin_f16", "gfx11", "v_maxmin_f16 v80, v16, v17, v18", maxmin, 3),
    ON("floor_f16", "", "v_floor_f16 v80, v16", down, 1),
    ON("ceil_f16", "", "v_ceil_f16 v80, v16", up, 1),
    ON("trunc_f16", "", "v_trunc_f16 v80, v16", cut, 1),
    ON("rndne_f16", "", "v_rndne_f16 v80, v16", even, 1),
    ON("fract_f16", "", "v_fract_f16 v80, v16", fract, 1),
    ON("fma_f16", "", "v_fma_f16 v80, v16, v17, v18", fused, 3),
    ON("fmac_f16", "gfx11", "v_mov_b32 v80, v18\nv_and_b32 v80, 0xffff, v80\nv_fmac_f16 v80, v16, v17", fused, 3),
    ON("fmaak_f16", "gfx11", "v_fmaak_f16 v80, v16, v17, 0x4200", plus3, 2),
    ON("fmamk_f16", "gfx11", "v_fmamk_f16 v80, v16, 0x4200, v17", times3, 2),
    ON("ldexp_f16", "", "v_bfe_i32 v20, v17, 0, 4\nv_ldexp_f16 v80, v16, v20", scaled, 2),
    ON("frexp_mant_f16", "", "v_frexp_mant_f16 v80, v16", mantissa, 1),
    ON("frexp_exp_i16_f16", "", "v_frexp_exp_i16_f16 v80, v16", exponent16, 1),
    NEAR("exp_f16", "v_exp_f16 v80, v16", exp_),
    NEAR("log_f16", ABS "v_log_f16 v80, v20", log_),
    NEAR("rcp_f16", "v_rcp_f16 v80, v16", rcp),
    NEAR("rsq_f16", ABS "v_rsq_f16 v80, v20", rsq),
    NEAR("sqrt_f16", ABS "v_sqrt_f16 v80, v20", root),
    {"sin_f16", "", "v_sin_f16 v80, v16\ns_nop 1\nv_cvt_f32_f16 v80, v80\nv_add_f32 v80, 4.0, v80", sin_, 1, 1, .tolerance = 2e-3,
     .data = D_HALVES},
    {"cos_f16", "", "v_cos_f16 v80, v16\ns_nop 1\nv_cvt_f32_f16 v80, v80\nv_add_f32 v80, 4.0, v80", cos_, 1, 1, .tolerance = 2e-3,
     .data = D_HALVES},
    BITS("cvt_f16_i16", "", "v_cvt_f16_i16 v80, v16", of_int, 1),
    BITS("cvt_f16_u16", "", "v_cvt_f16_u16 v80, v16", of_unsigned, 1),
    ON("cvt_u16_f16", "", "v_cvt_u16_f16 v80, v16", to_unsigned, 1),
    ON("cvt_norm_i16_f16", "", "v_cvt_norm_i16_f16 v80, v16", norm_i, 1),
    ON("cvt_norm_u16_f16", "", "v_cvt_norm_u16_f16 v80, v16", norm_u, 1),
    ON("class_f16_9", "gfx9", CLASS("vcc"), class_, 1),
    ON("class_f16_11", "gfx11", CLASS("vcc_lo"), class_, 1),
    BITS("sub_u16", "gfx9", "v_sub_u16 v80, v16, v17", sub16, 2),
    BITS("subrev_u16", "gfx9", "v_subrev_u16 v80, v17, v16", sub16, 2),
    BITS("sub_nc_u16", "gfx11", "v_sub_nc_u16 v80, v16, v17", sub16, 2),
    BITS("min_u16", "", "v_min_u16 v80, v16, v17", min_u16, 2),
    BITS("max_u16", "", "v_max_u16 v80, v16, v17", max_u16, 2),
    BITS("max_i16", "", "v_max_i16 v80, v16, v17", max_i16, 2),
    BITS("min3_i16", "", "v_min3_i16 v80, v16, v17, v18", min3_i16, 3),
    BITS("max3_i16", "", "v_max3_i16 v80, v16, v17, v18", max3_i16, 3),
    BITS("med3_i16", "", "v_med3_i16 v80, v16, v17, v18", med3_i16, 3),
    BITS("min3_u16", "", "v_min3_u16 v80, v16, v17, v18", min3_u16, 3),
    BITS("max3_u16", "", "v_max3_u16 v80, v16, v17, v18", max3_u16, 3),
    BITS("med3_u16", "", "v_med3_u16 v80, v16, v17, v18", med3_u16, 3),
    BITS("mul_lo_u16", "", "v_mul_lo_u16 v80, v16, v17", mul16, 2),
    BITS("mad_u16", "", "v_mad_u16 v80, v16, v17, v18", mad16, 3),
    BITS("mad_i16", "", "v_mad_i16 v80, v16, v17, v18", mad16, 3),
    BITS("mad_u32_u16", "", "v_mad_u32_u16 v80, v16, v17, v18", mad_wide_u, 3),
    BITS("mad_i32_i16", "", "v_mad_i32_i16 v80, v16, v17, v18", mad_wide_i, 3),
    BITS("lshrrev_b16", "", "v_lshrrev_b16 v80, v16, v17", shr16, 2),
    BITS("ashrrev_i16", "", "v_ashrrev_i16 v80, v16, v17", sar16, 2),
    BITS("sat_pk_u8_i16", "", "v_sat_pk_u8_i16 v80, v16", sat_pk, 1),
    BITS("cvt_i32_i16", "gfx11", "v_cvt_i32_i16 v80, v16", sign16, 1),
    BITS("cvt_u32_u16", "gfx11", "v_cvt_u32_u16 v80, v16", zero16, 1),
    {0},
};
const suite half_suite = {"half", pieces};
