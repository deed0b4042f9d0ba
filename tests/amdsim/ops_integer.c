/* Vector integer arithmetic, logic, shifts and moves. 16-bit sources come in the low half of a dword, the upper half 0. */
#include "lanes.h"

#define S(x) ((i32)(x))
#define H(x) ((int16_t)(x))
#define LO24(x) ((x)&0xffffffu)
#define S24(x) (S((x) << 8) >> 8)

static inline u32 umin(u32 x, u32 y) { return x < y ? x : y; }
static inline u32 umax(u32 x, u32 y) { return x > y ? x : y; }
static inline i32 smin(i32 x, i32 y) { return x < y ? x : y; }
static inline i32 smax(i32 x, i32 y) { return x > y ? x : y; }
static inline u32 reversed(u32 x)
{
    x = (x >> 1 & 0x55555555u) | (x & 0x55555555u) << 1;
    x = (x >> 2 & 0x33333333u) | (x & 0x33333333u) << 2;
    x = (x >> 4 & 0x0f0f0f0fu) | (x & 0x0f0f0f0fu) << 4;
    return __builtin_bswap32(x);
}
static inline u32 sign_bits(i32 x) /* V_FFBH_I32: leading bits equal to the sign; -1 if all are */
{
    return x == 0 || x == -1 ? ~0u : (u32)__builtin_clz((u32)(x < 0 ? ~x : x));
}
static inline u32 field(u32 x, u32 offset, u32 width) { return width ? x >> (offset & 31) & (~0u >> (32 - width)) : 0; }
static inline i32 signed_field(u32 x, u32 offset, u32 width)
{
    if (!width) return 0;
    u32 bits = (offset & 31) + width > 32 ? (u32)(S(x) >> (offset & 31)) : x >> (offset & 31);
    return S(bits << (32 - width)) >> (32 - width);
}
/* V_PERM_B32: selectors 0 to 3 pick bytes of the second source, 4 to 7 of the first, 8 to 11 a sign, 12 gives 0x00, more 0xff. */
static inline u32 pick_byte(u64 both, u32 s)
{
    if (s < 8) return (u32)(both >> 8 * s) & 0xff;
    if (s < 12) return both >> (16 * (s - 8) + 15) & 1 ? 0xff : 0;
    return s == 12 ? 0 : 0xff;
}
static inline u32 permuted(u32 x, u32 y, u32 s)
{
    u64 both = (u64)x << 32 | y;
    return pick_byte(both, s & 0xff) | pick_byte(both, s >> 8 & 0xff) << 8 | pick_byte(both, s >> 16 & 0xff) << 16 |
           pick_byte(both, s >> 24) << 24;
}
static inline u32 sad8(u32 x, u32 y)
{
    u32 sum = 0;
    for (int k = 0; k < 32; k += 8) sum += (u32)abs(S(x >> k & 255) - S(y >> k & 255));
    return sum;
}

/* V_MSAD_U8: bytes that are 0 in the second source do not count. */
static inline u32 masked_sad8(u32 x, u32 y)
{
    u32 sum = 0;
    for (int k = 0; k < 32; k += 8) sum += y >> k & 255 ? (u32)abs(S(x >> k & 255) - S(y >> k & 255)) : 0;
    return sum;
}
static inline u32 sad16(u32 x, u32 y) { return (u32)abs(S(x & 0xffff) - S(y & 0xffff)) + (u32)abs(S(x >> 16) - S(y >> 16)); }
/* V_LERP_U8: means of bytes, rounded up where the third source's byte is odd. */
static inline u32 means8(u32 x, u32 y, u32 z)
{
    u32 r = 0;
    for (int k = 0; k < 32; k += 8) r |= ((x >> k & 255) + (y >> k & 255) + (z >> k & 1)) >> 1 << k;
    return r;
}
static inline u32 saturated8(int16_t x) { return x < 0 ? 0 : x > 255 ? 255 : (u32)x; }

/* ---- 32 bits ---- */

U1(move, a)
U1(add, a + b)
U1(sub, a - b)
U1(subrev, b - a)
U1(add_sat, a + b < a ? ~0u : a + b)
U1(sub_sat, a < b ? 0 : a - b)
U1(subrev_sat, b < a ? 0 : b - a)
U1(add_i_sat, __builtin_add_overflow_p(S(a), S(b), (i32)0) ? (S(a) < 0 ? 0x80000000u : 0x7fffffffu) : a + b)
U1(sub_i_sat, __builtin_sub_overflow_p(S(a), S(b), (i32)0) ? (S(a) < 0 ? 0x80000000u : 0x7fffffffu) : a - b)
U1(mul_lo, a *b)
U1(mul_hi, (u32)((u64)a *b >> 32))
U1(mul_hi_i, (u32)((i64)S(a) * S(b) >> 32))
U1(mul_24, LO24(a) * LO24(b))
U1(mul_i24, (u32)S24(a) * (u32)S24(b))
U1(mul_hi_24, (u32)((u64)LO24(a) * LO24(b) >> 32))
U1(mul_hi_i24, (u32)((i64)S24(a) * S24(b) >> 32))
U1(mad_24, LO24(a) * LO24(b) + c)
U1(mad_i24, (u32)S24(a) * (u32)S24(b) + c)
U1(min_u, umin(a, b))
U1(max_u, umax(a, b))
I1(min_i, smin(a, b))
I1(max_i, smax(a, b))
U1(min3_u, umin(umin(a, b), c))
U1(max3_u, umax(umax(a, b), c))
I1(min3_i, smin(smin(a, b), c))
I1(max3_i, smax(smax(a, b), c))
U1(med3_u, umax(umin(a, b), umin(umax(a, b), c)))
I1(med3_i, smax(smin(a, b), smin(smax(a, b), c)))
U1(minmax_u, umax(umin(a, b), c))
U1(maxmin_u, umin(umax(a, b), c))
I1(minmax_i, smax(smin(a, b), c))
I1(maxmin_i, smin(smax(a, b), c))
U1(and_, a &b)
U1(or_, a | b)
U1(xor_, a ^ b)
U1(xnor, ~(a ^ b))
U1(not_, ~a)
U1(lshl, a << (b & 31))
U1(lshr, a >> (b & 31))
I1(ashr, a >> (b & 31))
U1(lshlrev, b << (a & 31))
U1(lshrrev, b >> (a & 31))
I1(ashrrev, b >> (a & 31))
U1(lshl_add, (a << (b & 31)) + c)
U1(add_lshl, (a + b) << (c & 31))
U1(lshl_or, a << (b & 31) | c)
U1(and_or, (a & b) | c)
U1(or3, a | b | c)
U1(xor3, a ^ b ^ c)
U1(add3, a + b + c)
U1(xad, (a ^ b) + c)
U1(bfrev, reversed(a))
U1(bfe_u, field(a, b, c & 31))
U1(bfe_i, (u32)signed_field(a, b, c & 31))
U1(bfi, (a & b) | (~a & c))
U1(bfm, ((1u << (a & 31)) - 1) << (b & 31))
U1(alignbit, (u32)(((u64)a << 32 | b) >> (c & 31)))
U1(alignbyte, (u32)(((u64)a << 32 | b) >> 8 * (c & 3)))
U1(perm, permuted(a, b, c))
U1(ffbh_u, a ? (u32)__builtin_clz(a) : ~0u)
U1(ffbl, a ? (u32)__builtin_ctz(a) : ~0u)
U1(ffbh_i, sign_bits(S(a)))
U1(bcnt, (u32)__builtin_popcount(a) + b)
U1(mbcnt_lo, (u32)__builtin_popcount(l < 32 ? a & ((1u << (l & 31)) - 1) : a) + b)
U1(mbcnt_hi, (u32)__builtin_popcount(l < 32 ? 0 : a & ((1u << (l & 31)) - 1)) + b)
U1(sad_u8, sad8(a, b) + c)
U1(sad_u32, (a > b ? a - b : b - a) + c)
U1(sad_hi_u8, (sad8(a, b) << 16) + c)
U1(sad_u16, sad16(a, b) + c)
U1(msad_u8, masked_sad8(a, b) + c)
U1(lerp_u8, means8(a, b, c))
U1(sat_pk, saturated8(H(a)) | saturated8(H(a >> 16)) << 8)
U1(sign16, (u32)H(a))

static void cndmask(void *restrict d_, const void *restrict a_, const void *restrict b_, const void *restrict c_, lane_io *io)
{
    u32 *restrict d = d_;
    const u32 *restrict as = a_, *restrict bs = b_;
    uint8_t pick[LANES];
    (void)c_;
    spread_lanes(io->mask_in, pick);
    for (int l = 0; l < LANES; l++) d[l] = pick[l] ? b : a;
}

/* With a carry in and out, a bit a lane. */
#define CARRY_FN(name, value, out) \
    static void name(void *restrict d_, const void *restrict a_, const void *restrict b_, const void *restrict c_, lane_io *io) \
    { \
        u32 *restrict d = d_; \
        const u32 *restrict as = a_, *restrict bs = b_; \
        uint8_t hit[LANES], carry[LANES]; \
        (void)c_; \
        spread_lanes(io->mask_in, carry); \
        for (int l = 0; l < LANES; l++) { \
            u32 in = carry[l]; \
            (void)in; \
            d[l] = (u32)(value); \
            hit[l] = (out) ? 1 : 0; \
        } \
        io->mask_out = gather_lanes(hit); \
    }
CARRY_FN(add_co, a + b, a + b < a)
CARRY_FN(sub_co, a - b, a < b)
CARRY_FN(subrev_co, b - a, b < a)
CARRY_FN(addc, a + b + in, (a + b < a) | (a + b + in < in))
CARRY_FN(subb, a - b - in, (a < b) | (a - b < in))
CARRY_FN(subbrev, b - a - in, (b < a) | (b - a < in))

/* ---- 64 bits ---- */

LANE_FN(lshlrev64, u64, u32, u64, u64, b << (a & 63))
LANE_FN(lshrrev64, u64, u32, u64, u64, b >> (a & 63))
LANE_FN(ashrrev64, i64, u32, i64, i64, b >> (a & 63))
LANE_FN(lshl_add64, u64, u64, u32, u64, (a << (b & 63)) + c)
/* The carry out of the 64-bit sum. */
static void mad_u64(void *restrict d_, const void *restrict a_, const void *restrict b_, const void *restrict c_, lane_io *io)
{
    u64 *d = d_;
    const u32 *as = a_, *bs = b_;
    const u64 *cs = c_;
    io->mask_out = 0;
    for (int l = 0; l < LANES; l++) {
        d[l] = (u64)a * b + c;
        io->mask_out |= (u64)(d[l] < c) << l;
    }
}
static void mad_i64(void *restrict d_, const void *restrict a_, const void *restrict b_, const void *restrict c_, lane_io *io)
{
    i64 *d = d_;
    const i32 *as = a_, *bs = b_;
    const i64 *cs = c_;
    io->mask_out = 0;
    for (int l = 0; l < LANES; l++) {
        i64 product = (i64)a * b;
        io->mask_out |= (u64)__builtin_add_overflow_p(product, c, (i64)0) << l;
        d[l] = (i64)((u64)product + (u64)c);
    }
}

/* ---- 16 bits ---- */

U1(lshlrev16, b << (a & 15))
U1(lshrrev16, b >> (a & 15))
U1(ashrrev16, (u32)(H(b) >> (a & 15)))
U1(min_i16, (u32)smin(H(a), H(b)))
U1(max_i16, (u32)smax(H(a), H(b)))
U1(min3_i16, (u32)smin(smin(H(a), H(b)), H(c)))
U1(max3_i16, (u32)smax(smax(H(a), H(b)), H(c)))
U1(med3_i16, (u32)smax(smin(H(a), H(b)), smin(smax(H(a), H(b)), H(c))))
U1(mad16, a *b + c)
U1(mad_i32_i16, (u32)(H(a) * H(b)) + c)
U1(add_u16_sat, umin(a + b, 0xffff))

#define ONE(name, kinds, function) \
    { \
        "v_" name, kinds, function, 0, 0, 0 \
    }
#define FLAGS(name, kinds, function, flags) \
    { \
        "v_" name, kinds, function, 0, flags, 0 \
    }

const op_row ops_integer[] = {
    FLAGS("mov_b32", "i:i", move, OP_MERGE),
    FLAGS("accvgpr_read_b32", "i:i", move, OP_MERGE),
    FLAGS("accvgpr_write_b32", "i:i", move, OP_MERGE),
    FLAGS("accvgpr_mov_b32", "i:i", move, OP_MERGE),
    ONE("mov_b16", "s:s", move),
    ONE("add_u32", "i:ii", add),
    ONE("sub_u32", "i:ii", sub),
    ONE("subrev_u32", "i:ii", subrev),
    ONE("add_nc_u32", "i:ii", add),
    ONE("sub_nc_u32", "i:ii", sub),
    ONE("subrev_nc_u32", "i:ii", subrev),
    ONE("add_i32", "i:ii", add),
    ONE("sub_i32", "i:ii", sub),
    ONE("add_nc_i32", "i:ii", add),
    ONE("sub_nc_i32", "i:ii", sub),
    ONE("add_u32_sat", "i:ii", add_sat),
    ONE("sub_u32_sat", "i:ii", sub_sat),
    ONE("add_nc_u32_sat", "i:ii", add_sat),
    ONE("sub_nc_u32_sat", "i:ii", sub_sat),
    ONE("subrev_u32_sat", "i:ii", subrev_sat),
    ONE("subrev_nc_u32_sat", "i:ii", subrev_sat),
    ONE("add_i32_sat", "i:ii", add_i_sat),
    ONE("sub_i32_sat", "i:ii", sub_i_sat),
    ONE("add_nc_i32_sat", "i:ii", add_i_sat),
    ONE("sub_nc_i32_sat", "i:ii", sub_i_sat),
    ONE("add_co_u32", "im:ii", add_co),
    ONE("sub_co_u32", "im:ii", sub_co),
    ONE("subrev_co_u32", "im:ii", subrev_co),
    ONE("addc_co_u32", "im:iim", addc),
    ONE("subb_co_u32", "im:iim", subb),
    ONE("subbrev_co_u32", "im:iim", subbrev),
    ONE("add_co_ci_u32", "im:iim", addc),
    ONE("sub_co_ci_u32", "im:iim", subb),
    ONE("subrev_co_ci_u32", "im:iim", subbrev),
    ONE("mul_lo_u32", "i:ii", mul_lo),
    ONE("mul_hi_u32", "i:ii", mul_hi),
    ONE("mul_hi_i32", "i:ii", mul_hi_i),
    ONE("mul_u32_u24", "i:ii", mul_24),
    ONE("mul_i32_i24", "i:ii", mul_i24),
    ONE("mul_hi_u32_u24", "i:ii", mul_hi_24),
    ONE("mul_hi_i32_i24", "i:ii", mul_hi_i24),
    ONE("mad_u32_u24", "i:iii", mad_24),
    ONE("mad_i32_i24", "i:iii", mad_i24),
    ONE("min_u32", "i:ii", min_u),
    ONE("max_u32", "i:ii", max_u),
    ONE("min_i32", "i:ii", min_i),
    ONE("max_i32", "i:ii", max_i),
    ONE("min3_u32", "i:iii", min3_u),
    ONE("max3_u32", "i:iii", max3_u),
    ONE("min3_i32", "i:iii", min3_i),
    ONE("max3_i32", "i:iii", max3_i),
    ONE("med3_u32", "i:iii", med3_u),
    ONE("med3_i32", "i:iii", med3_i),
    ONE("minmax_u32", "i:iii", minmax_u),
    ONE("maxmin_u32", "i:iii", maxmin_u),
    ONE("minmax_i32", "i:iii", minmax_i),
    ONE("maxmin_i32", "i:iii", maxmin_i),
    ONE("and_b32", "i:ii", and_),
    FLAGS("or_b32", "i:ii", or_, OP_MERGE),
    ONE("xor_b32", "i:ii", xor_),
    ONE("xnor_b32", "i:ii", xnor),
    ONE("not_b32", "i:i", not_),
    ONE("lshl_b32", "i:ii", lshl),
    ONE("lshr_b32", "i:ii", lshr),
    ONE("ashr_i32", "i:ii", ashr),
    ONE("lshlrev_b32", "i:ii", lshlrev),
    ONE("lshrrev_b32", "i:ii", lshrrev),
    ONE("ashrrev_i32", "i:ii", ashrrev),
    ONE("lshl_add_u32", "i:iii", lshl_add),
    ONE("add_lshl_u32", "i:iii", add_lshl),
    FLAGS("lshl_or_b32", "i:iii", lshl_or, OP_MERGE),
    FLAGS("and_or_b32", "i:iii", and_or, OP_MERGE),
    FLAGS("or3_b32", "i:iii", or3, OP_MERGE),
    ONE("xor3_b32", "i:iii", xor3),
    ONE("add3_u32", "i:iii", add3),
    ONE("xad_u32", "i:iii", xad),
    ONE("bfrev_b32", "i:i", bfrev),
    ONE("bfe_u32", "i:iii", bfe_u),
    ONE("bfe_i32", "i:iii", bfe_i),
    FLAGS("bfi_b32", "i:iii", bfi, OP_MERGE),
    ONE("bfm_b32", "i:ii", bfm),
    FLAGS("alignbit_b32", "i:iii", alignbit, OP_MERGE),
    FLAGS("alignbyte_b32", "i:iii", alignbyte, OP_MERGE),
    FLAGS("perm_b32", "i:iii", perm, OP_MERGE),
    ONE("ffbh_u32", "i:i", ffbh_u),
    ONE("ffbl_b32", "i:i", ffbl),
    ONE("ffbh_i32", "i:i", ffbh_i),
    ONE("clz_i32_u32", "i:i", ffbh_u),
    ONE("ctz_i32_b32", "i:i", ffbl),
    ONE("cls_i32", "i:i", ffbh_i),
    ONE("bcnt_u32_b32", "i:ii", bcnt),
    ONE("mbcnt_lo_u32_b32", "i:ii", mbcnt_lo),
    ONE("mbcnt_hi_u32_b32", "i:ii", mbcnt_hi),
    ONE("sad_u8", "i:iii", sad_u8),
    ONE("sad_u32", "i:iii", sad_u32),
    ONE("sad_hi_u8", "i:iii", sad_hi_u8),
    ONE("sad_u16", "i:iii", sad_u16),
    ONE("msad_u8", "i:iii", msad_u8),
    ONE("lerp_u8", "i:iii", lerp_u8),
    ONE("sat_pk_u8_i16", "s:i", sat_pk),
    ONE("cvt_i32_i16", "i:s", sign16),
    ONE("cvt_u32_u16", "i:s", move),
    FLAGS("cndmask_b32", "i:iim", cndmask, OP_SELECT),
    FLAGS("cndmask_b16", "s:ssm", cndmask, OP_SELECT),
    FLAGS("lshlrev_b64", "q:iq", lshlrev64, OP_UPWARD),
    ONE("lshrrev_b64", "q:iq", lshrrev64),
    ONE("ashrrev_i64", "q:iq", ashrrev64),
    FLAGS("lshl_add_u64", "q:qiq", lshl_add64, OP_UPWARD),
    FLAGS("mad_u64_u32", "qm:iiq", mad_u64, OP_UPWARD),
    FLAGS("mad_i64_i32", "qm:iiq", mad_i64, OP_UPWARD),
    ONE("add_u16", "s:ss", add),
    ONE("sub_u16", "s:ss", sub),
    ONE("subrev_u16", "s:ss", subrev),
    ONE("add_nc_u16", "s:ss", add),
    ONE("sub_nc_u16", "s:ss", sub),
    ONE("add_i16", "s:ss", add),
    ONE("sub_i16", "s:ss", sub),
    ONE("add_nc_i16", "s:ss", add),
    ONE("sub_nc_i16", "s:ss", sub),
    ONE("add_u16_sat", "s:ss", add_u16_sat),
    ONE("sub_u16_sat", "s:ss", sub_sat),
    ONE("add_nc_u16_sat", "s:ss", add_u16_sat),
    ONE("sub_nc_u16_sat", "s:ss", sub_sat),
    ONE("mul_lo_u16", "s:ss", mul_lo),
    ONE("mad_u16", "s:sss", mad16),
    ONE("mad_i16", "s:sss", mad16),
    ONE("mad_legacy_u16", "s:sss", mad16),
    ONE("mad_legacy_i16", "s:sss", mad16),
    ONE("mad_u32_u16", "i:ssi", mad16),
    ONE("mad_i32_i16", "i:ssi", mad_i32_i16),
    ONE("min_u16", "s:ss", min_u),
    ONE("max_u16", "s:ss", max_u),
    ONE("min_i16", "s:ss", min_i16),
    ONE("max_i16", "s:ss", max_i16),
    ONE("min3_u16", "s:sss", min3_u),
    ONE("max3_u16", "s:sss", max3_u),
    ONE("min3_i16", "s:sss", min3_i16),
    ONE("max3_i16", "s:sss", max3_i16),
    ONE("med3_u16", "s:sss", med3_u),
    ONE("med3_i16", "s:sss", med3_i16),
    ONE("lshlrev_b16", "s:ss", lshlrev16),
    ONE("lshrrev_b16", "s:ss", lshrrev16),
    ONE("ashrrev_i16", "s:ss", ashrrev16),
    ONE("and_b16", "s:ss", and_),
    ONE("or_b16", "s:ss", or_),
    ONE("xor_b16", "s:ss", xor_),
    ONE("not_b16", "s:s", not_),
    TABLE_END,
};
