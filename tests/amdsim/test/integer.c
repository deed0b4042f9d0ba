/* Integer vector instructions. On gfx11 the sums have other names. */
#include "test.h"

#define S(x) ((int32_t)(x))
static uint32_t reversed(uint32_t x)
{
    uint32_t r = 0;
    for (int k = 0; k < 32; k++) r |= (x >> k & 1) << (31 - k);
    return r;
}
static uint32_t bytes_picked(uint32_t x, uint32_t y, uint32_t s)
{
    uint32_t r = 0;
    for (int k = 0; k < 4; k++) {
        uint32_t n = s >> 8 * k & 0xff, byte = n < 4 ? y >> 8 * n : n < 8 ? x >> 8 * (n - 4) : 0;
        if (n >= 8 && n < 12) byte = (n < 10 ? y : x) >> (n % 2 ? 31 : 15) & 1 ? 0xff : 0;
        if (n > 12) byte = 0xff;
        r |= (byte & 0xff) << 8 * k;
    }
    return r;
}
EACH(add, a + b)
EACH(sub, a - b)
EACH(saturated, (uint64_t)a + b > 0xffffffffu ? 0xffffffffu : a + b)
EACH(mul_lo, (uint64_t)a *b)
EACH(mul_hi, (uint64_t)a *b >> 32)
EACH(mul_hi_i, (uint64_t)((int64_t)S(a) * S(b)) >> 32)
EACH(mul24, (a & 0xffffff) * (b & 0xffffff))
EACH(mad24, (a & 0xffffff) * (b & 0xffffff) + c)
EACH(min_i, S(a) < S(b) ? a : b)
EACH(max_u, a > b ? a : b)
EACH(min3_u, (a < b ? a : b) < c ? (a < b ? a : b) : c)
EACH(med3_i, S(a) < S(b) ? (S(c) < S(a) ? a : S(c) > S(b) ? b : c) : (S(c) < S(b) ? b : S(c) > S(a) ? a : c))
EACH(logic, ((a & b) | c) ^ ~a)
EACH(shl, a << (b % 32))
EACH(shr, a >> (b % 32))
EACH(sar, S(a) >> (b % 32))
EACH(lshl_add, (a << (b % 32)) + c)
EACH(add_lshl, (a + b) << (c % 32))
EACH(lshl_or, a << (b % 32) | c)
EACH(and_or, (a & b) | c)
EACH(or3, a | b | c)
EACH(add3, a + b + c)
EACH(xad, (a ^ b) + c)
EACH(bfrev, reversed(a))
EACH(bfe_u, c % 32 ? a >> (b % 32) & ((1u << c % 32) - 1) : 0)
EACH(bfe_i, a >> 5 & 64 ? (a >> 5 & 127) | 0xffffff80u : a >> 5 & 127)
EACH(bfi, (a & b) | (~a & c))
EACH(alignbit, ((uint64_t)a << 32 | b) >> (c % 32))
EACH(perm, bytes_picked(a, b, c & 0x0f0f0f0f))
EACH(clz, a ? __builtin_clz(a) : -1)
EACH(ctz, a ? __builtin_ctz(a) : -1)
EACH(bcnt, __builtin_popcount(a) + b)
EACH(choose, a < b ? c : a)
EACH(add16, (a + b) & 0xffff)
EACH(min_i16, (uint16_t)((int16_t)a < (int16_t)b ? a : b))
EACH(shl16, (b << (a % 16)) & 0xffff)
EACH(sad, (a > b ? a - b : b - a) + c)
EACH64(shl64, r << (q % 64))
EACH64(sar64, (int64_t)r >> (q % 64))
EACH64(mad_u64, (q & 0xffffffff) * (q >> 32) + r)
EACH64(sum64, q + r)
EACH64(difference64, q - r)
EACH64(lshl_add64, (q << 3) + r)
#define BYTE(x, k) ((x) >> (k)&255)
static uint32_t byte_distance(uint32_t x, uint32_t y, bool masked)
{
    uint32_t sum = 0;
    for (int k = 0; k < 32; k += 8)
        if (!masked || BYTE(y, k)) sum += BYTE(x, k) > BYTE(y, k) ? BYTE(x, k) - BYTE(y, k) : BYTE(y, k) - BYTE(x, k);
    return sum;
}
static uint32_t word_distance(uint32_t x, uint32_t y) { return x > y ? x - y : y - x; }
static uint32_t byte_means(uint32_t x, uint32_t y, uint32_t z)
{
    uint32_t r = 0;
    for (int k = 0; k < 32; k += 8) r |= (BYTE(x, k) + BYTE(y, k) + (z >> k & 1)) / 2 << k;
    return r;
}
/* Leading bits that equal the sign; -1 if all do. */
static uint32_t signs(uint32_t x)
{
    uint32_t n = 1;
    while (n < 32 && (x >> (31 - n) & 1) == x >> 31) n++;
    return n == 32 ? ~0u : n;
}
#define LESS(x, y) ((x) < (y) ? (x) : (y))
#define MORE(x, y) ((x) > (y) ? (x) : (y))
#define S24(x) ((int32_t)((x) << 8) >> 8)
EACH(min3_i, LESS(LESS(S(a), S(b)), S(c)))
EACH(max3_i, MORE(MORE(S(a), S(b)), S(c)))
EACH(max3_u, MORE(MORE(a, b), c))
EACH(med3_u, MORE(LESS(a, b), LESS(MORE(a, b), c)))
EACH(min_u, LESS(a, b))
EACH(max_i, MORE(S(a), S(b)))
EACH(minmax_i, MORE(LESS(S(a), S(b)), S(c)))
EACH(maxmin_i, LESS(MORE(S(a), S(b)), S(c)))
EACH(minmax_u, MORE(LESS(a, b), c))
EACH(maxmin_u, LESS(MORE(a, b), c))
EACH(mul_i24, (int64_t)S24(a) * S24(b))
EACH(mul_hi_u24, (uint64_t)(a & 0xffffff) * (b & 0xffffff) >> 32)
EACH(mul_hi_i24, (uint64_t)((int64_t)S24(a) * S24(b)) >> 32)
EACH(mad_i24, (uint64_t)((int64_t)S24(a) * S24(b)) + c)
EACH(sad_u8, byte_distance(a, b, false) + c)
EACH(msad_u8, byte_distance(a, b, true) + c)
EACH(sad_hi_u8, (byte_distance(a, b, false) << 16) + c)
EACH(sad_u16, word_distance(a & 0xffff, b & 0xffff) + word_distance(a >> 16, b >> 16) + c)
EACH(lerp_u8, byte_means(a, b, c))
EACH(alignbyte, ((uint64_t)a << 32 | b) >> 8 * (c % 4))
EACH(xnor, ~(a ^ b))
EACH(xor3, a ^ b ^ c)
EACH(rsub, b - a)
EACH(leading_signs, signs(a))
static void exchanged(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++) out[0][l] = in[1][l], out[1][l] = in[0][l];
}
static void wide_move(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++) out[0][l] = in[0][l], out[1][l] = in[1][l];
}
EACH64(difference_swapped, r - q)
static void mbcnt(const lanes *in, lanes *out, int n)
{
    uint64_t mask = in[0][0] | (uint64_t)in[1][0] << 32;
    for (int l = 0; l < n; l++) out[0][l] = (uint32_t)__builtin_popcountll(mask & ((1ull << l) - 1));
}
static void compares(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++) {
        uint32_t a = in[0][l], b = in[1][l];
        uint64_t q = a | (uint64_t)b << 32, r = in[2][l] | (uint64_t)in[3][l] << 32;
        out[0][l] = (uint32_t)((a < b) | (S(a) < S(b)) << 1 | (q < r) << 2 | ((int64_t)q < (int64_t)r) << 3 |
                               ((a & 0xffff) < (b & 0xffff)) << 4 | ((int16_t)a < (int16_t)b) << 5);
    }
}
#define OR(bit, m) "v_cndmask_b32 v20, 0, " #bit ", " m "\nv_or_b32 v80, v80, v20\n"
#define COMPARES(m) \
    "v_cmp_lt_u32 " m \
    ", v16, v17\n" OR(1, m) "v_cmp_lt_i32 " m ", v16, v17\n" OR(2, m) "v_cmp_lt_u64 " m ", v[16:17], v[18:19]\n" OR( \
        4, m) "v_cmp_lt_i64 " m ", v[16:17], v[18:19]\n" OR(8, m) "v_cmp_lt_u16 " m \
                                                                  ", v16, v17\n" OR(16, m) "v_cmp_lt_i16 " m \
                                                                                           ", v16, v17\n" OR(32, m)

static const piece pieces[] = {
    {"add_u32", "gfx9", "v_add_u32 v80, v16, v17", add, 2, 1},
    {"add_nc_u32", "gfx11", "v_add_nc_u32 v80, v16, v17", add, 2, 1},
    {"sub_u32", "gfx9", "v_sub_u32 v80, v16, v17", sub, 2, 1},
    {"subrev_nc_u32", "gfx11", "v_subrev_nc_u32 v80, v17, v16", sub, 2, 1},
    {"add_u32_clamp", "gfx9", "v_add_u32 v80, v16, v17 clamp", saturated, 2, 1},
    {"add_nc_u32_clamp", "gfx11", "v_add_nc_u32 v80, v16, v17 clamp", saturated, 2, 1},
    {"mul_lo_u32", "", "v_mul_lo_u32 v80, v16, v17", mul_lo, 2, 1},
    {"mul_hi_u32", "", "v_mul_hi_u32 v80, v16, v17", mul_hi, 2, 1},
    {"mul_hi_i32", "", "v_mul_hi_i32 v80, v16, v17", mul_hi_i, 2, 1},
    {"mul_u32_u24", "", "v_mul_u32_u24 v80, v16, v17", mul24, 2, 1},
    {"mad_u32_u24", "", "v_mad_u32_u24 v80, v16, v17, v18", mad24, 3, 1},
    {"min_i32", "", "v_min_i32 v80, v16, v17", min_i, 2, 1},
    {"max_u32", "", "v_max_u32 v80, v16, v17", max_u, 2, 1},
    {"min3_u32", "", "v_min3_u32 v80, v16, v17, v18", min3_u, 3, 1},
    {"med3_i32", "", "v_med3_i32 v80, v16, v17, v18", med3_i, 3, 1},
    {"logic", "", "v_and_b32 v20, v16, v17\nv_or_b32 v20, v20, v18\nv_not_b32 v21, v16\nv_xor_b32 v80, v20, v21", logic, 3, 1},
    {"lshlrev_b32", "", "v_lshlrev_b32 v80, v17, v16", shl, 2, 1},
    {"lshrrev_b32", "", "v_lshrrev_b32 v80, v17, v16", shr, 2, 1},
    {"ashrrev_i32", "", "v_ashrrev_i32 v80, v17, v16", sar, 2, 1},
    {"lshl_add_u32", "", "v_lshl_add_u32 v80, v16, v17, v18", lshl_add, 3, 1},
    {"add_lshl_u32", "", "v_add_lshl_u32 v80, v16, v17, v18", add_lshl, 3, 1},
    {"lshl_or_b32", "", "v_lshl_or_b32 v80, v16, v17, v18", lshl_or, 3, 1},
    {"and_or_b32", "", "v_and_or_b32 v80, v16, v17, v18", and_or, 3, 1},
    {"or3_b32", "", "v_or3_b32 v80, v16, v17, v18", or3, 3, 1},
    {"add3_u32", "", "v_add3_u32 v80, v16, v17, v18", add3, 3, 1},
    {"xad_u32", "", "v_xad_u32 v80, v16, v17, v18", xad, 3, 1},
    {"bfrev_b32", "", "v_bfrev_b32 v80, v16", bfrev, 1, 1},
    {"bfe_u32", "", "v_bfe_u32 v80, v16, v17, v18", bfe_u, 3, 1},
    {"bfe_i32", "", "v_bfe_i32 v80, v16, 5, 7", bfe_i, 1, 1},
    {"bfi_b32", "", "v_bfi_b32 v80, v16, v17, v18", bfi, 3, 1},
    {"alignbit_b32", "", "v_alignbit_b32 v80, v16, v17, v18", alignbit, 3, 1},
    {"perm_b32", "", "v_and_b32 v18, 0x0f0f0f0f, v18\nv_perm_b32 v80, v16, v17, v18", perm, 3, 1, .data = D_SMALL},
    {"ffbh_u32", "gfx9", "v_ffbh_u32 v80, v16", clz, 1, 1},
    {"clz_i32_u32", "gfx11", "v_clz_i32_u32 v80, v16", clz, 1, 1},
    {"ffbl_b32", "gfx9", "v_ffbl_b32 v80, v16", ctz, 1, 1},
    {"ctz_i32_b32", "gfx11", "v_ctz_i32_b32 v80, v16", ctz, 1, 1},
    {"bcnt_u32_b32", "", "v_bcnt_u32_b32 v80, v16, v17", bcnt, 2, 1},
    {"sad_u32", "", "v_sad_u32 v80, v16, v17, v18", sad, 3, 1},
    {"cndmask_9", "gfx9", "v_cmp_lt_u32 vcc, v16, v17\nv_cndmask_b32 v80, v16, v18, vcc", choose, 3, 1},
    {"cndmask_11", "gfx11", "v_cmp_lt_u32 vcc_lo, v16, v17\nv_cndmask_b32 v80, v16, v18, vcc_lo", choose, 3, 1},
    {"add_u16", "gfx9", "v_add_u16 v80, v16, v17", add16, 2, 1},
    {"add_nc_u16", "gfx11", "v_add_nc_u16 v80, v16, v17", add16, 2, 1},
    {"min_i16", "", "v_min_i16 v80, v16, v17", min_i16, 2, 1},
    {"lshlrev_b16", "", "v_lshlrev_b16 v80, v16, v17", shl16, 2, 1},
    {"lshlrev_b64", "", "v_lshlrev_b64 v[80:81], v16, v[18:19]", shl64, 4, 2},
    {"ashrrev_i64", "", "v_ashrrev_i64 v[80:81], v16, v[18:19]", sar64, 4, 2},
    {"lshl_add_u64", "gfx94", "v_lshl_add_u64 v[80:81], v[16:17], 3, v[18:19]", lshl_add64, 4, 2},
    {"mad_u64_u32_9", "gfx9", "v_mad_u64_u32 v[80:81], s[20:21], v16, v17, v[18:19]", mad_u64, 4, 2},
    {"mad_u64_u32_11", "gfx11", "v_mad_u64_u32 v[80:81], null, v16, v17, v[18:19]", mad_u64, 4, 2},
    {"carries_9", "gfx9", "v_add_co_u32 v80, vcc, v16, v18\nv_addc_co_u32 v81, vcc, v17, v19, vcc", sum64, 4, 2},
    {"carries_11", "gfx11", "v_add_co_u32 v80, vcc_lo, v16, v18\nv_add_co_ci_u32 v81, vcc_lo, v17, v19, vcc_lo", sum64, 4, 2},
    {"borrows_9", "gfx9", "v_sub_co_u32 v80, s[20:21], v16, v18\nv_subb_co_u32 v81, s[20:21], v17, v19, s[20:21]", difference64,
     4, 2},
    {"borrows_11", "gfx11", "v_sub_co_u32 v80, s20, v16, v18\nv_sub_co_ci_u32 v81, s20, v17, v19, s20", difference64, 4, 2},
    {"min3_i32", "", "v_min3_i32 v80, v16, v17, v18", min3_i, 3, 1},
    {"max3_i32", "", "v_max3_i32 v80, v16, v17, v18", max3_i, 3, 1},
    {"max3_u32", "", "v_max3_u32 v80, v16, v17, v18", max3_u, 3, 1},
    {"med3_u32", "", "v_med3_u32 v80, v16, v17, v18", med3_u, 3, 1},
    {"min_u32", "", "v_min_u32 v80, v16, v17", min_u, 2, 1},
    {"max_i32", "", "v_max_i32 v80, v16, v17", max_i, 2, 1},
    {"minmax_i32", "gfx11", "v_minmax_i32 v80, v16, v17, v18", minmax_i, 3, 1},
    {"maxmin_i32", "gfx11", "v_maxmin_i32 v80, v16, v17, v18", maxmin_i, 3, 1},
    {"minmax_u32", "gfx11", "v_minmax_u32 v80, v16, v17, v18", minmax_u, 3, 1},
    {"maxmin_u32", "gfx11", "v_maxmin_u32 v80, v16, v17, v18", maxmin_u, 3, 1},
    {"mul_i32_i24", "", "v_mul_i32_i24 v80, v16, v17", mul_i24, 2, 1},
    {"mul_hi_u32_u24", "", "v_mul_hi_u32_u24 v80, v16, v17", mul_hi_u24, 2, 1},
    {"mul_hi_i32_i24", "", "v_mul_hi_i32_i24 v80, v16, v17", mul_hi_i24, 2, 1},
    {"mad_i32_i24", "", "v_mad_i32_i24 v80, v16, v17, v18", mad_i24, 3, 1},
    {"sad_u8", "", "v_sad_u8 v80, v16, v17, v18", sad_u8, 3, 1},
    {"msad_u8", "", "v_msad_u8 v80, v16, v17, v18", msad_u8, 3, 1},
    {"sad_hi_u8", "", "v_sad_hi_u8 v80, v16, v17, v18", sad_hi_u8, 3, 1},
    {"sad_u16", "", "v_sad_u16 v80, v16, v17, v18", sad_u16, 3, 1},
    {"lerp_u8", "", "v_lerp_u8 v80, v16, v17, v18", lerp_u8, 3, 1},
    {"alignbyte_b32", "", "v_alignbyte_b32 v80, v16, v17, v18", alignbyte, 3, 1},
    {"xnor_b32", "", "v_xnor_b32 v80, v16, v17", xnor, 2, 1},
    {"xor3_b32", "gfx11", "v_xor3_b32 v80, v16, v17, v18", xor3, 3, 1},
    {"subrev_u32", "gfx9", "v_subrev_u32 v80, v16, v17", rsub, 2, 1},
    {"ffbh_i32", "gfx9", "v_ffbh_i32 v80, v16", leading_signs, 1, 1},
    {"cls_i32", "gfx11", "v_cls_i32 v80, v16", leading_signs, 1, 1},
    {"swap_b32", "", "v_swap_b32 v16, v17\nv_mov_b32 v80, v16\nv_mov_b32 v81, v17", exchanged, 2, 2},
    {"mov_b64", "gfx94", "v_mov_b64 v[80:81], v[16:17]", wide_move, 2, 2},
    {"accumulators", "gfx9",
     "v_accvgpr_write_b32 a4, v16\nv_accvgpr_write_b32 a6, v17\nv_accvgpr_mov_b32 a5, a4\nv_accvgpr_read_b32 v80, "
     "a5\nv_accvgpr_read_b32 "
     "v81, a6",
     wide_move, 2, 2},
    {"indexed_read_9", "gfx9",
     "s_mov_b32 s20, 1\ns_set_gpr_idx_on s20, gpr_idx(SRC0)\nv_mov_b32 v80, v16\ns_set_gpr_idx_off\ns_mov_b32 s20, "
     "65\ns_set_gpr_idx_on "
     "s20, gpr_idx(DST)\nv_mov_b32 v16, v16\ns_set_gpr_idx_off",
     exchanged, 2, 2},
    {"indexed_read_11", "gfx11", "s_mov_b32 m0, 1\nv_movrels_b32 v80, v16\ns_mov_b32 m0, 65\nv_movreld_b32 v16, v16", exchanged,
     2, 2},
    {"borrows_swapped_9", "gfx9", "v_subrev_co_u32 v80, vcc, v16, v18\nv_subbrev_co_u32 v81, vcc, v17, v19, vcc",
     difference_swapped, 4, 2},
    {"borrows_swapped_11", "gfx11", "v_subrev_co_u32 v80, vcc_lo, v16, v18\nv_subrev_co_ci_u32 v81, vcc_lo, v17, v19, vcc_lo",
     difference_swapped, 4, 2},
    {"mbcnt_9", "gfx9",
     "v_readfirstlane_b32 s20, v16\nv_readfirstlane_b32 s21, v17\nv_mbcnt_lo_u32_b32 v80, s20, 0\nv_mbcnt_hi_u32_b32 v80, s21, "
     "v80",
     mbcnt, 2, 1},
    {"mbcnt_11", "gfx11", "v_readfirstlane_b32 s20, v16\nv_mbcnt_lo_u32_b32 v80, s20, 0", mbcnt, 2, 1},
    {"compares_9", "gfx9", COMPARES("s[20:21]"), compares, 4, 1},
    {"compares_11", "gfx11", COMPARES("s20"), compares, 4, 1},
    {0},
};
const suite integer_suite = {"integer", pieces};
