/* Conversions, with 8-bit floats of MI300. */
#include "test.h"

static uint32_t clamp_i(double x)
{
    return x != x ? 0 : x >= 2147483647.0 ? 0x7fffffff : x <= -2147483648.0 ? 0x80000000u : (uint32_t)(int32_t)x;
}
static uint32_t clamp_u(double x) { return x != x || x <= 0 ? 0 : x >= 4294967295.0 ? 0xffffffffu : (uint32_t)x; }
/* FNUZ: e4m3 with bias 8, e5m2 with bias 16; 0x80 is NaN. */
static float small_float(uint32_t code, int mantissa, int bias)
{
    uint32_t e = (code & 127) >> mantissa, m = code & ((1u << mantissa) - 1);
    if ((code & 255) == 0x80) return NAN;
    double v = e ? ldexp((1 << mantissa) + m, (int)e - bias - mantissa) : ldexp(m, 1 - bias - mantissa);
    return (float)(code & 128 ? -v : v);
}
/* The nearest code by trying all; the even one of two. */
static uint32_t nearest_code(float x, int mantissa, int bias)
{
    uint32_t best = 0;
    double distance = INFINITY;
    if (x != x || isinf(x)) return 0x80;
    if (fabsf(x) > small_float(127, mantissa, bias)) return signbit(x) ? 255 : 127;
    for (uint32_t code = 0; code < 128; code++) {
        double d = fabs((double)small_float(code, mantissa, bias) - fabs((double)x));
        if (d < distance || (d == distance && code % 2 == 0)) best = code, distance = d;
    }
    return best && signbit(x) ? best | 128 : best;
}
EACH(cvt_i, clamp_i(F(a)))
EACH(cvt_u, clamp_u(F(a)))
EACH(from_i, B((float)(int32_t)a))
EACH(from_u, B((float)a))
EACH(to_half, half_code(F(a)))
EACH(from_half, B((float)half_value(a & 0xffff)))
EACH(from_half_high, B((float)half_value(a >> 16)))
EACH(ubyte2, B((float)(a >> 16 & 255)))
EACH(fp8, B(small_float(a & 255, 3, 8)))
EACH(bf8, B(small_float(a & 255, 2, 16)))
EACH(pk_fp8, nearest_code(F(a), 3, 8) | nearest_code(F(b), 3, 8) << 8)
EACH(pk_bf8, nearest_code(F(a), 2, 16) | nearest_code(F(b), 2, 16) << 8)
EACH(pk_fp8_high, (nearest_code(F(a), 3, 8) | nearest_code(F(b), 3, 8) << 8) << 16)
EACH(from_double, B((float)(double)F(a)))
EACH(signed_half, (int16_t)half_value(a & 0xffff) & 0xffff)
EACH(word_sum, (a >> 16) + (b & 0xff))
EACH(byte_insert, (a & 0xffff00ffu) | (((b >> 24) + 1) & 0xff) << 8)
EACH(sext_sum, (uint32_t)(int32_t)(int8_t)(a >> 8) + b)
static const piece pieces[] = {
    {"cvt_i32_f32", "", "v_cvt_i32_f32 v80, v16", cvt_i, 1, 1},
    {"cvt_u32_f32", "", "v_cvt_u32_f32 v80, v16", cvt_u, 1, 1},
    {"cvt_f32_i32", "", "v_cvt_f32_i32 v80, v16", from_i, 1, 1},
    {"cvt_f32_u32", "", "v_cvt_f32_u32 v80, v16", from_u, 1, 1},
    {"cvt_f16_f32", "", "v_cvt_f16_f32 v80, v16", to_half, 1, 1, .data = D_FLOATS | D_SPECIAL},
    {"cvt_f32_f16", "", "v_cvt_f32_f16 v80, v16", from_half, 1, 1},
    {"cvt_f32_ubyte2", "", "v_cvt_f32_ubyte2 v80, v16", ubyte2, 1, 1},
    {"cvt_f64", "", "v_cvt_f64_f32 v[20:21], v16\nv_cvt_f32_f64 v80, v[20:21]", from_double, 1, 1, .data = D_FLOATS},
    {"cvt_i16_f16", "", "v_cvt_i16_f16 v80, v16", signed_half, 1, 1, .data = D_HALVES},
    {"sdwa_half", "gfx9", "v_cvt_f32_f16_sdwa v80, v16 dst_sel:DWORD dst_unused:UNUSED_PAD src0_sel:WORD_1", from_half_high, 1,
     1},
    {"sdwa_sum", "gfx9", "v_add_u32_sdwa v80, v16, v17 dst_sel:DWORD dst_unused:UNUSED_PAD src0_sel:WORD_1 src1_sel:BYTE_0",
     word_sum, 2, 1},
    {"sdwa_insert", "gfx9",
     "v_mov_b32 v80, v16\nv_mov_b32 v20, 1\nv_add_u32_sdwa v80, v17, v20 dst_sel:BYTE_1 dst_unused:UNUSED_PRESERVE "
     "src0_sel:BYTE_3 src1_sel:DWORD",
     byte_insert, 2, 1},
    {"sdwa_sext", "gfx9", "v_add_u32_sdwa v80, sext(v16), v17 dst_sel:DWORD dst_unused:UNUSED_PAD src0_sel:BYTE_1 src1_sel:DWORD",
     sext_sum, 2, 1},
    {"cvt_f32_fp8", "gfx94", "v_cvt_f32_fp8 v80, v16", fp8, 1, 1},
    {"cvt_f32_bf8", "gfx94", "v_cvt_f32_bf8 v80, v16", bf8, 1, 1},
    {"cvt_pk_fp8_f32", "gfx94", "v_cvt_pk_fp8_f32 v80, v16, v17", pk_fp8, 2, 1, .data = D_FLOATS | D_SPECIAL},
    {"cvt_pk_bf8_f32", "gfx94", "v_cvt_pk_bf8_f32 v80, v16, v17", pk_bf8, 2, 1, .data = D_FLOATS | D_SPECIAL},
    {"cvt_pk_fp8_high", "gfx94", "v_cvt_pk_fp8_f32 v80, v16, v17 op_sel:[0,0,1]", pk_fp8_high, 2, 1, .data = D_FLOATS},
    {0},
};
const suite convert_suite = {"convert", pieces};
