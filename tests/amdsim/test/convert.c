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
EACH(floor_i, clamp_i(floor((double)F(a))))
EACH(nearest_i, clamp_i(floor((double)F(a) + 0.5)))
EACH(ubyte0, B((float)(a & 255)))
EACH(ubyte1, B((float)(a >> 8 & 255)))
EACH(ubyte3, B((float)(a >> 24)))
EACH(off_i4, B((float)((int32_t)(a << 28) >> 28) / 16))
static uint32_t to_byte(float x) { return x != x || x <= 0 ? 0 : x >= 255 ? 255 : (uint32_t)rintf(x); }
EACH(insert_u8, (c & ~(255u << 8 * (b % 4))) | to_byte(F(a)) << 8 * (b % 4))
/* Toward zero: the nearest, or the one below it if that is too large. */
static uint32_t half_toward_zero(float x)
{
    uint32_t h = half_code(x);
    if (x != x || isinf(x)) return h;
    return fabs(half_value(h)) > fabs((double)x) ? h - 1 : h;
}
EACH(pkrtz, half_toward_zero(F(a)) | half_toward_zero(F(b)) << 16)
static uint32_t norm(float x, float most, int low, int high)
{
    double v = rint((double)(x * most));
    return (uint32_t)(x != x ? 0 : v < low ? low : v > high ? high : (int)v) & 0xffff;
}
EACH(norm_i16, norm(F(a), 32767, -32768, 32767) | norm(F(b), 32767, -32768, 32767) << 16)
EACH(norm_u16, norm(F(a), 65535, 0, 65535) | norm(F(b), 65535, 0, 65535) << 16)
EACH(pk_u16, (a > 65535 ? 65535 : a) | (b > 65535 ? 65535 : b) << 16)
static uint32_t sat16(int32_t x) { return (uint32_t)(x < -32768 ? -32768 : x > 32767 ? 32767 : x) & 0xffff; }
EACH(pk_i16, sat16((int32_t)a) | sat16((int32_t)b) << 16)
EACH(pack_halves, (a & 0xffff) | (b >> 16) << 16)
EACH(exponents, F(a) == 0 || F(a) - F(a) != 0 ? 0 : (uint32_t)(ilogbf(F(a)) + 1))
static void two_fp8(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++)
        for (int k = 0; k < 2; k++) out[k][l] = B(small_float(in[0][l] >> (16 + 8 * k) & 255, 3, 8));
}
static void two_bf8(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++)
        for (int k = 0; k < 2; k++) out[k][l] = B(small_float(in[0][l] >> 8 * k & 255, 2, 16));
}
EACH(fp8_byte3, B(small_float(a >> 24, 3, 8)))
EACH(bf8_byte1, B(small_float(a >> 8 & 255, 2, 16)))
/* Stochastic: the noise, as a part of the last place, is added before the rest is cut off. Normal numbers within range. */
static uint32_t noisy(float x, uint32_t noise, int mantissa, int bias)
{
    int e;
    double m = fabs((double)x);
    if (m == 0) return 0;
    frexp(m, &e);
    e = e - 1 < 1 - bias ? 1 - bias : e - 1;
    double kept = floor(ldexp(m, mantissa - e) + ldexp(noise, -32));
    uint32_t code = (uint32_t)kept + (uint32_t)((e + bias - 1) << mantissa);
    if (code > 127) code = 127;
    return code ? code | (signbit(x) ? 128 : 0) : 0;
}
EACH(sr_fp8, noisy(F(a), b, 3, 8))
EACH(sr_bf8, noisy(F(a), b, 2, 16))
EACH(sr_byte1, (c & 0xffff00ffu) | noisy(F(a), b, 3, 8) << 8)
EACH(sr_byte2, (c & 0xff00ffffu) | noisy(F(a), b, 3, 8) << 16)
EACH(sr_byte3, (c & 0x00ffffffu) | noisy(F(a), b, 2, 16) << 24)
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
    {"cvt_flr_i32_f32", "gfx9", "v_cvt_flr_i32_f32 v80, v16", floor_i, 1, 1},
    {"cvt_floor_i32_f32", "gfx11", "v_cvt_floor_i32_f32 v80, v16", floor_i, 1, 1},
    {"cvt_rpi_i32_f32", "gfx9", "v_cvt_rpi_i32_f32 v80, v16", nearest_i, 1, 1},
    {"cvt_nearest_i32_f32", "gfx11", "v_cvt_nearest_i32_f32 v80, v16", nearest_i, 1, 1},
    {"cvt_f32_ubyte0", "", "v_cvt_f32_ubyte0 v80, v16", ubyte0, 1, 1},
    {"cvt_f32_ubyte1", "", "v_cvt_f32_ubyte1 v80, v16", ubyte1, 1, 1},
    {"cvt_f32_ubyte3", "", "v_cvt_f32_ubyte3 v80, v16", ubyte3, 1, 1},
    {"cvt_off_f32_i4", "", "v_cvt_off_f32_i4 v80, v16", off_i4, 1, 1},
    {"cvt_pk_u8_f32", "", "v_cvt_pk_u8_f32 v80, v16, v17, v18", insert_u8, 3, 1},
    {"cvt_pkrtz", "", "v_cvt_pkrtz_f16_f32 v80, v16, v17", pkrtz, 2, 1, .data = D_FLOATS},
    {"cvt_pknorm_i16", "", "v_cvt_pknorm_i16_f32 v80, v16, v17", norm_i16, 2, 1, .data = D_FLOATS | D_SPECIAL},
    {"cvt_pknorm_u16", "", "v_cvt_pknorm_u16_f32 v80, v16, v17", norm_u16, 2, 1, .data = D_FLOATS | D_SPECIAL},
    {"cvt_pk_u16_u32", "", "v_cvt_pk_u16_u32 v80, v16, v17", pk_u16, 2, 1},
    {"cvt_pk_i16_i32", "", "v_cvt_pk_i16_i32 v80, v16, v17", pk_i16, 2, 1},
    {"pack_b32_f16", "", "v_pack_b32_f16 v80, v16, v17 op_sel:[0,1,0]", pack_halves, 2, 1, .data = D_HALVES},
    {"frexp_exp_i32_f32", "", "v_frexp_exp_i32_f32 v80, v16", exponents, 1, 1, .data = D_FLOATS},
    {"cvt_pk_f32_fp8", "gfx94", "v_cvt_pk_f32_fp8_sdwa v[80:81], v16 src0_sel:WORD_1", two_fp8, 1, 2},
    {"cvt_pk_f32_bf8", "gfx94", "v_cvt_pk_f32_bf8 v[80:81], v16", two_bf8, 1, 2},
    {"cvt_f32_fp8_byte", "gfx94", "v_cvt_f32_fp8_sdwa v80, v16 src0_sel:BYTE_3", fp8_byte3, 1, 1},
    {"cvt_f32_bf8_byte", "gfx94", "v_cvt_f32_bf8_sdwa v80, v16 src0_sel:BYTE_1", bf8_byte1, 1, 1},
    {"cvt_sr_fp8", "gfx94", "v_cvt_sr_fp8_f32 v80, v16, v17", sr_fp8, 2, 1, .data = D_FLOATS},
    {"cvt_sr_bf8", "gfx94", "v_cvt_sr_bf8_f32 v80, v16, v17", sr_bf8, 2, 1, .data = D_FLOATS},
    {"cvt_sr_byte1", "gfx94", "v_mov_b32 v80, v18\nv_cvt_sr_fp8_f32 v80, v16, v17 op_sel:[0,0,1,0]", sr_byte1, 3, 1,
     .data = D_FLOATS},
    {"cvt_sr_byte2", "gfx94", "v_mov_b32 v80, v18\nv_cvt_sr_fp8_f32 v80, v16, v17 op_sel:[0,0,0,1]", sr_byte2, 3, 1,
     .data = D_FLOATS},
    {"cvt_sr_byte3", "gfx94", "v_mov_b32 v80, v18\nv_cvt_sr_bf8_f32 v80, v16, v17 op_sel:[0,0,1,1]", sr_byte3, 3, 1,
     .data = D_FLOATS},
    {0},
};
const suite convert_suite = {"convert", pieces};
