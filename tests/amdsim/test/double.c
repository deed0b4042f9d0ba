/* f64: functions, conversions and the compiler's division. Inputs become f64 from f32, so that they are of common size. */
#include "test.h"

static int exponent(double x)
{
    int e = 0;
    if (x != 0 && x - x == 0) frexp(x, &e);
    return e;
}
static double mantissa(double x)
{
    int e;
    return x == 0 || x - x != 0 ? x : frexp(x, &e);
}
/* x and y are the f64 of in[0] and in[1]. */
#define EACH_D(name, expression) \
    static void name(const lanes *in, lanes *out, int wave_size) \
    { \
        for (int l = 0; l < wave_size; l++) { \
            double x = (double)F(in[0][l]), y = (double)F(in[1][l]); \
            (void)x, (void)y; \
            uint64_t d_ = double_bits(expression); \
            out[0][l] = (uint32_t)d_; \
            out[1][l] = (uint32_t)(d_ >> 32); \
        } \
    }
EACH_D(up, ceil(x))
EACH_D(cut, trunc(x))
EACH_D(even, rint(x))
EACH_D(fract, x - floor(x))
EACH_D(mant, mantissa(x))
EACH_D(smaller, x < y ? x : y)
EACH_D(larger, x > y ? x : y)
EACH_D(scaled, ldexp(x, 5))
EACH_D(quotient, x / y)
EACH_D(product_sum, fma(x, y, 1.0))
EACH64(from_int, double_bits((int32_t)q))
EACH64(from_unsigned, double_bits((uint32_t)q))
EACH(exponents, exponent((double)F(a)))
EACH(to_int, F(a) != F(a)             ? 0
             : F(a) >= 2147483647.0f  ? 0x7fffffff
             : F(a) <= -2147483648.0f ? 0x80000000u
                                      : (uint32_t)(int32_t)F(a))
EACH(to_unsigned, F(a) != F(a) || F(a) <= 0 ? 0 : F(a) >= 4294967295.0f ? 0xffffffffu : (uint32_t)F(a))
EACH(one, F(a) == 0 ? 0x7fc00000 : B(1.0f))
EACH(itself, a & 0x7fffffff)
EACH(class_, as_double(double_bits((double)F(a))) < 0 ? 1 : 2)
#define X "v_cvt_f64_f32 v[20:21], v16\nv_cvt_f64_f32 v[22:23], v17\n"
#define ABS "v_and_b32 v16, 0x7fffffff, v16\nv_cvt_f64_f32 v[20:21], v16\n"
/* What the compiler makes of x / y. */
#define DIVIDE(m, vcc) \
    X "v_div_scale_f64 v[24:25], " m ", v[22:23], v[22:23], v[20:21]\nv_rcp_f64 v[26:27], v[24:25]\ns_nop 3\n" \
      "v_fma_f64 v[28:29], -v[24:25], v[26:27], 1.0\nv_fma_f64 v[26:27], v[26:27], v[28:29], v[26:27]\n" \
      "v_fma_f64 v[28:29], -v[24:25], v[26:27], 1.0\nv_fma_f64 v[26:27], v[26:27], v[28:29], v[26:27]\n" \
      "v_div_scale_f64 v[28:29], " vcc ", v[20:21], v[22:23], v[20:21]\nv_mul_f64 v[30:31], v[28:29], v[26:27]\n" \
      "v_fma_f64 v[24:25], -v[24:25], v[30:31], v[28:29]\nv_div_fmas_f64 v[24:25], v[24:25], v[26:27], v[30:31]\n" \
      "v_div_fixup_f64 v[80:81], v[24:25], v[22:23], v[20:21]"
#define CLASS(m) X "v_cmp_class_f64 " m ", v[20:21], 28\nv_cndmask_b32 v80, 2, 1, " m
#define ON(name, text, function) \
    { \
        name, "", X text, function, 2, 2, .data = D_FLOATS \
    }
static const piece pieces[] = {
    ON("ceil_f64", "v_ceil_f64 v[80:81], v[20:21]", up),
    ON("trunc_f64", "v_trunc_f64 v[80:81], v[20:21]", cut),
    ON("rndne_f64", "v_rndne_f64 v[80:81], v[20:21]", even),
    ON("fract_f64", "v_fract_f64 v[80:81], v[20:21]", fract),
    ON("frexp_mant_f64", "v_frexp_mant_f64 v[80:81], v[20:21]", mant),
    ON("min_f64", "v_min_f64 v[80:81], v[20:21], v[22:23]", smaller),
    ON("max_f64", "v_max_f64 v[80:81], v[20:21], v[22:23]", larger),
    ON("ldexp_f64", "v_ldexp_f64 v[80:81], v[20:21], 5", scaled),
    {"fmac_f64", "gfx9", X "v_mov_b32 v80, 0\nv_mov_b32 v81, 0x3ff00000\nv_fmac_f64 v[80:81], v[20:21], v[22:23]", product_sum, 2,
     2, .data = D_FLOATS},
    {"divide_9", "gfx9", DIVIDE("s[20:21]", "vcc"), quotient, 2, 2, .data = D_FLOATS | D_SPECIAL},
    {"divide_11", "gfx11", DIVIDE("s20", "vcc_lo"), quotient, 2, 2, .data = D_FLOATS | D_SPECIAL},
    {"frexp_exp_i32_f64", "", X "v_frexp_exp_i32_f64 v80, v[20:21]", exponents, 2, 1, .data = D_FLOATS},
    {"rcp_f64", "",
     X "v_rcp_f64 v[22:23], v[20:21]\ns_nop 3\nv_mul_f64 v[22:23], v[22:23], v[20:21]\nv_cvt_f32_f64 v80, v[22:23]", one, 2, 1,
     .tolerance = 1e-6, .data = D_FLOATS},
    {"rsq_f64", "",
     ABS "v_rsq_f64 v[22:23], v[20:21]\ns_nop 3\nv_mul_f64 v[24:25], v[22:23], v[20:21]\nv_mul_f64 v[22:23], v[22:23], v[24:25]\n"
         "v_cvt_f32_f64 v80, v[22:23]",
     one, 2, 1, .tolerance = 1e-6, .data = D_FLOATS},
    {"sqrt_f64", "",
     ABS "v_sqrt_f64 v[22:23], v[20:21]\ns_nop 3\nv_mul_f64 v[22:23], v[22:23], v[22:23]\nv_cvt_f32_f64 v80, v[22:23]", itself, 2,
     1, .tolerance = 1e-6, .data = D_FLOATS},
    {"cvt_f64_i32", "", "v_cvt_f64_i32 v[80:81], v16", from_int, 1, 2},
    {"cvt_f64_u32", "", "v_cvt_f64_u32 v[80:81], v16", from_unsigned, 1, 2},
    {"cvt_i32_f64", "", X "v_cvt_i32_f64 v80, v[20:21]", to_int, 2, 1},
    {"cvt_u32_f64", "", X "v_cvt_u32_f64 v80, v[20:21]", to_unsigned, 2, 1},
    {"class_f64_9", "gfx9", CLASS("vcc"), class_, 2, 1, .data = D_FLOATS},
    {"class_f64_11", "gfx11", CLASS("vcc_lo"), class_, 2, 1, .data = D_FLOATS},
    {0},
};
const suite double_suite = {"double", pieces};
