/* VOP3P and VOPD. */
#include "test.h"

#define LO(x) half_value((x)&0xffff)
#define HI(x) half_value((x) >> 16)
static uint32_t halves(double low, double high) { return half_code(low) | half_code(high) << 16; }
EACH(pk_add, halves(LO(a) + LO(b), HI(a) + HI(b)))
EACH(pk_crossed, halves(HI(a) + LO(b), LO(a) - HI(b)))
EACH(pk_constant, halves(LO(a) * 2, HI(a) * 2))
EACH(pk_fma, halves(LO(a) * LO(b) + LO(c), HI(a) * HI(b) + HI(c)))
EACH(pk_add_u16, ((a + b) & 0xffff) | ((a >> 16) + (b >> 16)) << 16)
EACH(pk_max_i16, (uint16_t)((int16_t)a > (int16_t)b ? a : b) | ((int32_t)a >> 16 > (int32_t)b >> 16 ? a >> 16 : b >> 16) << 16)
EACH(mix, B(fmaf((float)LO(a), (float)HI(b), F(c))))
EACH(mixlo, half_code(fmaf((float)LO(a), F(b), F(c))))
EACH(mixneg, B(fmaf(-(float)LO(a), (float)HI(b), fabsf(F(c)))))
EACH(dot2, B(fmaf((float)HI(a), (float)HI(b), fmaf((float)LO(a), (float)LO(b), F(c)))))
static uint32_t dot_bytes(uint32_t a, uint32_t b, uint32_t c, bool sign)
{
    for (int k = 0; k < 32; k += 8) c += sign ? (uint32_t)((int8_t)(a >> k) * (int8_t)(b >> k)) : (a >> k & 255) * (b >> k & 255);
    return c;
}
EACH(dot4, dot_bytes(a, b, c, true))
EACH(dot4_unsigned, dot_bytes(a, b, c, false))
static void pk_f32(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++) {
        out[0][l] = B(fmaf(F(in[0][l]), F(in[2][l]), F(in[5][l])));
        out[1][l] = B(fmaf(-F(in[1][l]), F(in[3][l]), F(in[5][l])));
    }
}
static int32_t part(uint32_t x, int at, int bits, bool sign)
{
    uint32_t top = x << (32 - bits - at);
    return sign ? (int32_t)top >> (32 - bits) : (int32_t)(top >> (32 - bits));
}
static uint32_t dot(uint32_t x, uint32_t y, uint32_t sum, int bits, bool sx, bool sy)
{
    for (int at = 0; at < 32; at += bits) sum += (uint32_t)((int64_t)part(x, at, bits, sx) * part(y, at, bits, sy));
    return sum;
}
EACH(dot2_i, dot(a, b, c, 16, true, true))
EACH(dot2_u, dot(a, b, c, 16, false, false))
EACH(dot8_i, dot(a, b, c, 4, true, true))
EACH(dot8_u, dot(a, b, c, 4, false, false))
EACH(dot4_mixed, dot(a, b, c, 8, true, false))
EACH(dot8_mixed, dot(a, b, c, 4, false, true))
static double bf16(uint32_t x) { return (double)F(x << 16); }
EACH(dot2_bf16, B((float)(bf16(a >> 16) * bf16(b >> 16) + bf16(a & 0xffff) * bf16(b & 0xffff) + (double)F(c))))
EACH(dot2_half, B((float)half_value(half_code(LO(a) * LO(b) + HI(a) * HI(b) + LO(c)))))
EACH(pk_mul, halves(LO(a) * LO(b), HI(a) * HI(b)))
EACH(pk_min, halves(fmin(LO(a), LO(b)), fmin(HI(a), HI(b))))
EACH(pk_max, halves(fmax(LO(a), LO(b)), fmax(HI(a), HI(b))))
EACH(mixhi, (a & 0xffff) | half_code(fmaf((float)LO(a), F(b), F(c))) << 16)
#define PAIR(low, high) (((low)&0xffff) | (high) << 16)
EACH(pk_sub, PAIR(a - b, (a >> 16) - (b >> 16)))
EACH(pk_mul_u, PAIR(a *b, (a >> 16) * (b >> 16)))
EACH(pk_mad, PAIR(a *b + c, (a >> 16) * (b >> 16) + (c >> 16)))
EACH(pk_min_u, PAIR((a & 0xffff) < (b & 0xffff) ? a : b, a >> 16 < b >> 16 ? a >> 16 : b >> 16))
EACH(pk_min_i, PAIR((int16_t)a < (int16_t)b ? a : b, (int32_t)a >> 16 < (int32_t)b >> 16 ? a >> 16 : b >> 16))
EACH(pk_max_u, PAIR((a & 0xffff) > (b & 0xffff) ? a : b, a >> 16 > b >> 16 ? a >> 16 : b >> 16))
EACH(pk_shl, PAIR(b << a % 16, (b >> 16) << (a >> 16) % 16))
EACH(pk_shr, PAIR((b & 0xffff) >> a % 16, b >> 16 >> (a >> 16) % 16))
EACH(pk_sar, PAIR((uint32_t)((int16_t)b >> a % 16), (uint32_t)((int32_t)b >> 16 >> (a >> 16) % 16)))
static void pk_sum(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++) out[0][l] = B(F(in[0][l]) + F(in[2][l])), out[1][l] = B(F(in[1][l]) + F(in[3][l]));
}
static void pk_product(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++) out[0][l] = B(F(in[0][l]) * F(in[2][l])), out[1][l] = B(F(in[1][l]) * F(in[3][l]));
}
static void pk_mov(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++) out[0][l] = in[1][l], out[1][l] = in[2][l];
}
/* v80 and v81 change places while they are summed: both halves read first. */
static void dual(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++) out[0][l] = B(F(in[1][l]) + F(in[2][l])), out[1][l] = B(F(in[0][l]) * F(in[3][l]));
}
static const piece pieces[] = {
    {"pk_add_f16", "", "v_pk_add_f16 v80, v16, v17", pk_add, 2, 1, .data = D_HALVES},
    {"pk_op_sel", "", "v_pk_add_f16 v80, v16, v17 op_sel:[1,0] op_sel_hi:[0,1] neg_hi:[0,1]", pk_crossed, 2, 1, .data = D_HALVES},
    {"pk_constant", "", "v_pk_mul_f16 v80, v16, 2.0 op_sel_hi:[1,0]", pk_constant, 1, 1, .data = D_HALVES},
    {"pk_fma_f16", "", "v_pk_fma_f16 v80, v16, v17, v18", pk_fma, 3, 1, .data = D_HALVES},
    {"pk_add_u16", "", "v_pk_add_u16 v80, v16, v17", pk_add_u16, 2, 1},
    {"pk_max_i16", "", "v_pk_max_i16 v80, v16, v17", pk_max_i16, 2, 1},
    {"fma_mix_f32", "", "v_fma_mix_f32 v80, v16, v17, v18 op_sel:[0,1,0] op_sel_hi:[1,1,0]", mix, 3, 1, .data = D_HALVES},
    {"fma_mixlo_f16", "", "v_fma_mixlo_f16 v80, v16, v17, v18 op_sel_hi:[1,0,0]", mixlo, 3, 1, .data = D_HALVES},
    {"fma_mix_neg", "", "v_fma_mix_f32 v80, -v16, v17, |v18| op_sel:[0,1,0] op_sel_hi:[1,1,0]", mixneg, 3, 1, .data = D_HALVES},
    {"dot2_f32_f16", "", "v_dot2_f32_f16 v80, v16, v17, v18", dot2, 3, 1, .tolerance = 1e-6, .data = D_HALVES},
    {"dot4_i32_i8", "gfx9", "v_dot4_i32_i8 v80, v16, v17, v18", dot4, 3, 1},
    {"dot4_u32_u8", "", "v_dot4_u32_u8 v80, v16, v17, v18", dot4_unsigned, 3, 1},
    {"dot4_i32_iu8", "gfx11", "v_dot4_i32_iu8 v80, v16, v17, v18 neg_lo:[1,1,0]", dot4, 3, 1},
    {"pk_fma_f32", "gfx9", "v_pk_fma_f32 v[80:81], v[16:17], v[18:19], v[20:21] op_sel:[0,0,1] op_sel_hi:[1,1,1] neg_hi:[1,0,0]",
     pk_f32, 6, 2},
    {"dot2c_f32_f16", "gfx9", "v_mov_b32 v80, v18\nv_dot2c_f32_f16 v80, v16, v17", dot2, 3, 1, .tolerance = 1e-6,
     .data = D_HALVES},
    {"dot2acc_f32_f16", "gfx11", "v_mov_b32 v80, v18\nv_dot2acc_f32_f16 v80, v16, v17", dot2, 3, 1, .tolerance = 1e-6,
     .data = D_HALVES},
    {"dot4c_i32_i8", "gfx9", "v_mov_b32 v80, v18\nv_dot4c_i32_i8 v80, v16, v17", dot4, 3, 1},
    {"dot2c_i32_i16", "gfx9", "v_mov_b32 v80, v18\nv_dot2c_i32_i16 v80, v16, v17", dot2_i, 3, 1},
    {"dot8c_i32_i4", "gfx9", "v_mov_b32 v80, v18\nv_dot8c_i32_i4 v80, v16, v17", dot8_i, 3, 1},
    {"dot2_i32_i16", "gfx9", "v_dot2_i32_i16 v80, v16, v17, v18", dot2_i, 3, 1},
    {"dot2_u32_u16", "gfx9", "v_dot2_u32_u16 v80, v16, v17, v18", dot2_u, 3, 1},
    {"dot8_i32_i4", "gfx9", "v_dot8_i32_i4 v80, v16, v17, v18", dot8_i, 3, 1},
    {"dot8_u32_u4", "", "v_dot8_u32_u4 v80, v16, v17, v18", dot8_u, 3, 1},
    {"dot4_mixed", "gfx11", "v_dot4_i32_iu8 v80, v16, v17, v18 neg_lo:[1,0,0]", dot4_mixed, 3, 1},
    {"dot8_mixed", "gfx11", "v_dot8_i32_iu4 v80, v16, v17, v18 neg_lo:[0,1,0]", dot8_mixed, 3, 1},
    {"dot2_f32_bf16", "gfx11", "v_dot2_f32_bf16 v80, v16, v17, v18", dot2_bf16, 3, 1, .tolerance = 1e-5, .data = D_HALVES},
    {"dot2_f16_f16", "gfx11", "v_dot2_f16_f16 v80, v16, v17, v18\nv_cvt_f32_f16 v80, v80", dot2_half, 3, 1, .tolerance = 2e-3,
     .data = D_HALVES},
    {"pk_mul_f16", "", "v_pk_mul_f16 v80, v16, v17", pk_mul, 2, 1, .data = D_HALVES},
    {"pk_min_f16", "", "v_pk_min_f16 v80, v16, v17", pk_min, 2, 1, .data = D_HALVES},
    {"pk_max_f16", "", "v_pk_max_f16 v80, v16, v17", pk_max, 2, 1, .data = D_HALVES},
    {"pk_fmac_f16", "", "v_mov_b32 v80, v18\nv_pk_fmac_f16 v80, v16, v17", pk_fma, 3, 1, .data = D_HALVES},
    {"fma_mixhi_f16", "", "v_mov_b32 v80, v16\nv_fma_mixhi_f16 v80, v16, v17, v18 op_sel_hi:[1,0,0]", mixhi, 3, 1,
     .data = D_HALVES},
    {"pk_sub_u16", "", "v_pk_sub_u16 v80, v16, v17", pk_sub, 2, 1},
    {"pk_mul_lo_u16", "", "v_pk_mul_lo_u16 v80, v16, v17", pk_mul_u, 2, 1},
    {"pk_mad_u16", "", "v_pk_mad_u16 v80, v16, v17, v18", pk_mad, 3, 1},
    {"pk_mad_i16", "", "v_pk_mad_i16 v80, v16, v17, v18", pk_mad, 3, 1},
    {"pk_min_u16", "", "v_pk_min_u16 v80, v16, v17", pk_min_u, 2, 1},
    {"pk_min_i16", "", "v_pk_min_i16 v80, v16, v17", pk_min_i, 2, 1},
    {"pk_max_u16", "", "v_pk_max_u16 v80, v16, v17", pk_max_u, 2, 1},
    {"pk_lshlrev_b16", "", "v_pk_lshlrev_b16 v80, v16, v17", pk_shl, 2, 1},
    {"pk_lshrrev_b16", "", "v_pk_lshrrev_b16 v80, v16, v17", pk_shr, 2, 1},
    {"pk_ashrrev_i16", "", "v_pk_ashrrev_i16 v80, v16, v17", pk_sar, 2, 1},
    {"pk_add_f32", "gfx9", "v_pk_add_f32 v[80:81], v[16:17], v[18:19]", pk_sum, 4, 2},
    {"pk_mul_f32", "gfx9", "v_pk_mul_f32 v[80:81], v[16:17], v[18:19]", pk_product, 4, 2},
    {"pk_mov_b32", "gfx9", "v_pk_mov_b32 v[80:81], v[16:17], v[18:19] op_sel:[1,0]", pk_mov, 4, 2},
    {"dual", "gfx11", "v_mov_b32 v81, v16\nv_mov_b32 v80, v17\nv_dual_add_f32 v80, v80, v18 :: v_dual_mul_f32 v81, v81, v19",
     dual, 4, 2, .data = D_FLOATS},
    {0},
};
const suite packed_suite = {"packed", pieces};
