/* Scalar instructions: on the first lane's inputs, in s20, s21, ...; results from s40, s41 to all lanes. */
#include "test.h"

#define S(x) ((int32_t)(x))
/* d and e are what s40 and s41 should be. */
#define FIRST(name, d, e) \
    static void name(const lanes *in, lanes *out, int n) \
    { \
        uint32_t a = in[0][0], b = in[1][0], c = in[2][0]; \
        uint64_t q = a | (uint64_t)b << 32; \
        (void)a, (void)b, (void)c, (void)q; \
        for (int l = 0; l < n; l++) out[0][l] = (uint32_t)(d), out[1][l] = (uint32_t)(e); \
    }
static uint32_t reversed(uint32_t x)
{
    uint32_t r = 0;
    for (int k = 0; k < 32; k++) r |= (x >> k & 1) << (31 - k);
    return r;
}
FIRST(add_carry, a + b, ((uint64_t)a + b) >> 32)
FIRST(addc, a + b, c + c + (((uint64_t)a + b) >> 32))
FIRST(overflow, a - b, __builtin_sub_overflow_p(S(a), S(b), (int32_t)0))
FIRST(min_max, S(a) < S(b) ? a : b, a > b ? a : b)
FIRST(mul, a *b, (uint64_t)a *b >> 32)
FIRST(logic, (a & ~b), (a & ~b) != 0)
FIRST(shifts, a << (b % 32), S(a) >> (b % 32))
FIRST(bfe, a >> 4 & 0xff, S(a << 20) >> 24)
FIRST(bits, reversed(a), __builtin_popcount(b))
FIRST(find, a ? __builtin_ctz(a) : -1, b ? __builtin_clz(b) : -1)
FIRST(sext, (int16_t)a, (int8_t)b)
FIRST(pack, (a & 0xffff) | b << 16, a >> 16 | (b & 0xffff0000u))
FIRST(wide_shift, q << (c % 64), (q << (c % 64)) >> 32)
FIRST(choose, S(a) < S(b) ? a : b, a == b)
FIRST(constants, -5, 0xffff8000u)
FIRST(wide_compare, q == ((uint64_t)b << 32 | a), q != 0)
FIRST(branches, 10, 45)
FIRST(call, a + 1, b)
FIRST(bitfield_mask, ((1u << a % 32) - 1) << (b % 32), a >> b % 32 & 1)
FIRST(immediates, a + 7, b * 0xfffffffdu)
#define IN "v_readfirstlane_b32 s20, v16\nv_readfirstlane_b32 s21, v17\nv_readfirstlane_b32 s22, v18\n"
#define OUT "\nv_mov_b32 v80, s40\nv_mov_b32 v81, s41"
#define P(name, chips, text, expected) \
    { \
        name, chips, IN text OUT, expected, 3, 2 \
    }
static const piece pieces[] = {
    P("s_add", "", "s_add_u32 s40, s20, s21\ns_cselect_b32 s41, 1, 0", add_carry),
    P("s_addc", "", "s_add_u32 s40, s20, s21\ns_addc_u32 s41, s22, s22", addc),
    P("s_sub_i32", "", "s_sub_i32 s40, s20, s21\ns_cselect_b32 s41, 1, 0", overflow),
    P("s_min_max", "", "s_min_i32 s40, s20, s21\ns_max_u32 s41, s20, s21", min_max),
    P("s_mul", "", "s_mul_i32 s40, s20, s21\ns_mul_hi_u32 s41, s20, s21", mul),
    P("s_andn2", "gfx9", "s_andn2_b32 s40, s20, s21\ns_cselect_b32 s41, 1, 0", logic),
    P("s_and_not1", "gfx11", "s_and_not1_b32 s40, s20, s21\ns_cselect_b32 s41, 1, 0", logic),
    P("s_shifts", "", "s_lshl_b32 s40, s20, s21\ns_ashr_i32 s41, s20, s21", shifts),
    P("s_bfe", "", "s_bfe_u32 s40, s20, 0x80004\ns_bfe_i32 s41, s20, 0x80004", bfe),
    P("s_bits", "", "s_brev_b32 s40, s20\ns_bcnt1_i32_b32 s41, s21", bits),
    P("s_find_9", "gfx9", "s_ff1_i32_b32 s40, s20\ns_flbit_i32_b32 s41, s21", find),
    P("s_find_11", "gfx11", "s_ctz_i32_b32 s40, s20\ns_clz_i32_u32 s41, s21", find),
    P("s_sext", "", "s_sext_i32_i16 s40, s20\ns_sext_i32_i8 s41, s21", sext),
    P("s_pack", "", "s_pack_ll_b32_b16 s40, s20, s21\ns_lshr_b32 s23, s20, 16\ns_pack_lh_b32_b16 s41, s23, s21", pack),
    P("s_lshl_b64", "", "s_lshl_b64 s[40:41], s[20:21], s22", wide_shift),
    P("s_compare", "", "s_cmp_lt_i32 s20, s21\ns_cselect_b32 s40, s20, s21\ns_cmp_eq_u32 s20, s21\ns_cselect_b32 s41, 1, 0",
      choose),
    P("s_constants", "", "s_mov_b32 s40, -5\ns_movk_i32 s41, 0x8000", constants),
    P("s_wide_compare", "",
      "s_mov_b64 s[24:25], s[20:21]\ns_cmp_eq_u64 s[24:25], s[20:21]\ns_cselect_b32 s40, 1, 0\ns_cmp_lg_u64 s[20:21], "
      "0\ns_cselect_b32 s41, 1, 0",
      wide_compare),
    P("s_branches", "",
      "s_mov_b32 s40, 0\ns_mov_b32 s41, 0\n1: s_add_u32 s41, s41, s40\ns_add_u32 s40, s40, 1\ns_cmp_lt_u32 s40, "
      "10\ns_cbranch_scc1 1b\ns_branch 2f\ns_mov_b32 s41, 0\n2:",
      branches),
    P("s_call", "",
      "s_mov_b32 s41, s21\ns_getpc_b64 s[30:31]\ns_add_u32 s30, s30, 16\ns_addc_u32 s31, s31, 0\ns_swappc_b64 s[32:33], "
      "s[30:31]\ns_branch 3f\n2: s_add_u32 s40, s20, 1\ns_setpc_b64 s[32:33]\n3:",
      call),
    P("s_bfm", "", "s_bfm_b32 s40, s20, s21\ns_bitcmp1_b32 s20, s21\ns_cselect_b32 s41, 1, 0", bitfield_mask),
    P("s_immediates", "", "s_mov_b32 s40, s20\ns_addk_i32 s40, 7\ns_mov_b32 s41, s21\ns_mulk_i32 s41, 0xfffd", immediates),
    {0},
};
const suite scalar_suite = {"scalar", pieces};
