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
FIRST(absolute, S(a) < 0 ? 0 - a : a, S(a) > S(b) ? a - b : b - a)
FIRST(min_max_2, a<b ? a : b, S(a)> S(b) ? a : b)
FIRST(subb, a - b, c - c - (a < b))
FIRST(not_nand, ~a, ~(a &b))
FIRST(nor_xnor, ~(a | b), ~(a ^ b))
FIRST(or_xor, a | b, a ^ b)
FIRST(or_not, a | ~b, (a & b) != 0)
FIRST(and_wide, q & ~(uint64_t)c, (q & ~(uint64_t)c) >> 32)
FIRST(or_wide, q | c, (~(q ^ c)) >> 32)
FIRST(shift_add, (a << 1) + b, (a << 3) + b)
FIRST(shift_add_2, (a << 2) + b, (a << 4) + b)
FIRST(right_wide, q >> c % 64, (uint64_t)((int64_t)q >> c % 64) >> 32)
FIRST(field_wide, q >> 12 & 0xffffff, (uint64_t)((int64_t)(q << 28) >> 40) >> 32)
FIRST(mask_wide, ((1ull << a % 64) - 1) << b % 64, (((1ull << a % 64) - 1) << b % 64) >> 32)
FIRST(count_wide, __builtin_popcountll(q), 64 - __builtin_popcountll(q))
FIRST(zeros_32, 32 - __builtin_popcount(a), ~b ? __builtin_ctz(~b) : -1)
FIRST(find_wide, q ? __builtin_ctzll(q) : -1, q ? __builtin_clzll(q) : -1)
static uint32_t sign_run(uint64_t x, int bits)
{
    uint64_t sign = x >> (bits - 1) & 1;
    int n = 1;
    while (n < bits && (x >> (bits - 1 - n) & 1) == sign) n++;
    return n == bits ? ~0u : (uint32_t)n;
}
FIRST(sign_runs, sign_run(a, 32), sign_run(q, 64))
FIRST(reversed_wide, reversed(b), reversed(a))
FIRST(set_bits, a | 1u << b % 32, a & ~(1u << c % 32))
FIRST(set_bits_wide, (q | 1ull << c % 64), (q & ~(1ull << c % 64)) >> 32)
static uint64_t quads(uint64_t x)
{
    uint64_t any = 0;
    for (int k = 0; k < 64; k++) any |= (x >> k & 1) << k / 4;
    return any;
}
FIRST(quad_masks, quads(a), quads(q))
static uint64_t doubled(uint32_t x)
{
    uint64_t r = 0;
    for (int k = 0; k < 64; k++) r |= (uint64_t)(x >> k / 2 & 1) << k;
    return r;
}
FIRST(replicated, doubled(a), doubled(a) >> 32)
FIRST(moved_if, a < b ? c : 7, a < b ? 0xfffffff0u : 5)
FIRST(bits_tested, (q >> c % 64 & 1) == 0, (q >> c % 64 & 1) | ((a >> b % 32 & 1) == 0) << 1)
FIRST(compared, (S(a) == S(b)) | (S(a) != S(b)) << 1 | (S(a) > S(b)) << 2 | (S(a) >= S(b)) << 3 | (S(a) <= S(b)) << 4,
      (a != b) | (a > b) << 1 | (a >= b) << 2 | (a <= b) << 3)
FIRST(compared_constant, (S(a) > -3) | (S(a) < -3) << 1 | (S(a) == -3) << 2,
      (a >= 0xfff0) | (a <= 0xfff0) << 1 | (a != 0xfff0) << 2)
FIRST(packed_high, a >> 16 | (b & 0xffff0000u), a >> 16 | (b & 0xffff0000u))
FIRST(mode_read, 3, 15)
FIRST(branches_2, 1, 2)
/* exec, all ones before, after an operation that saves it, and what was saved. */
#define SAVED(name, value) FIRST(name, value, ~0u)
SAVED(save_or, a | ~0u)
SAVED(save_andn2, a & 0)
SAVED(save_xor, a ^ ~0u)
SAVED(save_nand, ~(a & ~0u))
SAVED(save_nor, ~(a | ~0u))
SAVED(save_xnor, ~(a ^ ~0u))
SAVED(save_orn2, a | 0)
SAVED(save_andn1, ~a & ~0u)
SAVED(save_orn1, ~a | ~0u)
#define IN "v_readfirstlane_b32 s20, v16\nv_readfirstlane_b32 s21, v17\nv_readfirstlane_b32 s22, v18\n"
#define OUT "\nv_mov_b32 v80, s40\nv_mov_b32 v81, s41"
#define P(name, chips, text, expected) \
    { \
        name, chips, IN text OUT, expected, 3, 2 \
    }
/* Adds a bit to s40 or s41 if the comparison holds. */
#define TEST(to, what, with, bit) \
    "s_cmp" what " s20, " with "\ns_cselect_b32 s42, " #bit ", 0\ns_or_b32 s" #to ", s" #to ", s42\n"
#define SAVE_9(what, expected) \
    P("s_save_" what, "gfx9", \
      "s_mov_b32 s21, s20\ns_" what \
      "_saveexec_b64 s[24:25], s[20:21]\ns_mov_b64 s[26:27], exec\ns_mov_b64 exec, -1\ns_mov_b32 s40, " \
      "s26\ns_mov_b32 s41, s25", \
      expected)
#define SAVE_11(what, expected) \
    P("s_save_" what, "gfx11", \
      "s_" what "_saveexec_b32 s24, s20\ns_mov_b32 s26, exec_lo\ns_mov_b32 exec_lo, -1\ns_mov_b32 s40, s26\ns_mov_b32 s41, s24", \
      expected)
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
    P("s_abs", "", "s_abs_i32 s40, s20\ns_absdiff_i32 s41, s20, s21", absolute),
    P("s_min_max_2", "", "s_min_u32 s40, s20, s21\ns_max_i32 s41, s20, s21", min_max_2),
    P("s_subb", "", "s_sub_u32 s40, s20, s21\ns_subb_u32 s41, s22, s22", subb),
    P("s_not_nand", "", "s_not_b32 s40, s20\ns_nand_b32 s41, s20, s21", not_nand),
    P("s_nor_xnor", "", "s_nor_b32 s40, s20, s21\ns_xnor_b32 s41, s20, s21", nor_xnor),
    P("s_or_xor", "", "s_or_b32 s40, s20, s21\ns_xor_b32 s41, s20, s21", or_xor),
    P("s_orn2", "gfx9", "s_orn2_b32 s40, s20, s21\ns_and_b32 s41, s20, s21\ns_cselect_b32 s41, 1, 0", or_not),
    P("s_or_not1", "gfx11", "s_or_not1_b32 s40, s20, s21\ns_and_b32 s41, s20, s21\ns_cselect_b32 s41, 1, 0", or_not),
    P("s_andn2_b64", "gfx9", "s_mov_b32 s23, 0\ns_andn2_b64 s[40:41], s[20:21], s[22:23]", and_wide),
    P("s_and_not1_b64", "gfx11", "s_mov_b32 s23, 0\ns_and_not1_b64 s[40:41], s[20:21], s[22:23]", and_wide),
    P("s_wide_logic", "",
      "s_mov_b32 s23, 0\ns_or_b64 s[24:25], s[20:21], s[22:23]\ns_xnor_b64 s[26:27], s[20:21], s[22:23]\ns_mov_b32 s40, "
      "s24\ns_mov_b32 "
      "s41, s27",
      or_wide),
    P("s_wide_logic_2", "",
      "s_mov_b32 s23, 0\ns_nor_b64 s[24:25], s[20:21], s[22:23]\ns_not_b64 s[24:25], s[24:25]\ns_xor_b64 s[26:27], s[20:21], "
      "s[22:23]\ns_not_b64 s[26:27], s[26:27]\ns_mov_b32 s40, s24\ns_mov_b32 s41, s27",
      or_wide),
    P("s_shift_add", "", "s_lshl1_add_u32 s40, s20, s21\ns_lshl3_add_u32 s41, s20, s21", shift_add),
    P("s_shift_add_2", "", "s_lshl2_add_u32 s40, s20, s21\ns_lshl4_add_u32 s41, s20, s21", shift_add_2),
    P("s_right_wide", "",
      "s_lshr_b64 s[24:25], s[20:21], s22\ns_ashr_i64 s[26:27], s[20:21], s22\ns_mov_b32 s40, s24\ns_mov_b32 s41, s27",
      right_wide),
    P("s_field_wide", "",
      "s_bfe_u64 s[24:25], s[20:21], 0x18000c\ns_bfe_i64 s[26:27], s[20:21], 0x18000c\ns_mov_b32 s40, s24\ns_mov_b32 s41, s27",
      field_wide),
    P("s_mask_wide", "", "s_bfm_b64 s[40:41], s20, s21", mask_wide),
    P("s_count_wide", "", "s_bcnt1_i32_b64 s40, s[20:21]\ns_bcnt0_i32_b64 s41, s[20:21]", count_wide),
    P("s_zeros", "gfx9", "s_bcnt0_i32_b32 s40, s20\ns_ff0_i32_b32 s41, s21", zeros_32),
    P("s_find_wide_9", "gfx9", "s_ff1_i32_b64 s40, s[20:21]\ns_flbit_i32_b64 s41, s[20:21]", find_wide),
    P("s_find_wide_11", "gfx11", "s_ctz_i32_b64 s40, s[20:21]\ns_clz_i32_u64 s41, s[20:21]", find_wide),
    P("s_sign_runs_9", "gfx9", "s_flbit_i32 s40, s20\ns_flbit_i32_i64 s41, s[20:21]", sign_runs),
    P("s_sign_runs_11", "gfx11", "s_cls_i32 s40, s20\ns_cls_i32_i64 s41, s[20:21]", sign_runs),
    P("s_brev_b64", "", "s_brev_b64 s[40:41], s[20:21]", reversed_wide),
    P("s_bitset", "", "s_mov_b32 s40, s20\ns_mov_b32 s41, s20\ns_bitset1_b32 s40, s21\ns_bitset0_b32 s41, s22", set_bits),
    P("s_bitset_wide", "",
      "s_mov_b64 s[24:25], s[20:21]\ns_mov_b64 s[26:27], s[20:21]\ns_bitset1_b64 s[24:25], s22\ns_bitset0_b64 s[26:27], "
      "s22\ns_mov_b32 "
      "s40, s24\ns_mov_b32 s41, s27",
      set_bits_wide),
    P("s_quadmask", "", "s_quadmask_b32 s40, s20\ns_quadmask_b64 s[24:25], s[20:21]\ns_mov_b32 s41, s24", quad_masks),
    P("s_bitreplicate", "", "s_bitreplicate_b64_b32 s[40:41], s20", replicated),
    P("s_cmov", "", "s_mov_b32 s40, 7\ns_mov_b32 s41, 5\ns_cmp_lt_u32 s20, s21\ns_cmov_b32 s40, s22\ns_cmovk_i32 s41, 0xfff0",
      moved_if),
    P("s_bitcmp", "",
      "s_bitcmp0_b64 s[20:21], s22\ns_cselect_b32 s40, 1, 0\ns_bitcmp1_b64 s[20:21], s22\ns_cselect_b32 s41, 1, 0\ns_bitcmp0_b32 "
      "s20, "
      "s21\ns_cselect_b32 s42, 2, 0\ns_or_b32 s41, s41, s42",
      bits_tested),
    P("s_compared", "",
      "s_mov_b32 s40, 0\ns_mov_b32 s41, 0\n" TEST(40, "_eq_i32", "s21", 1) TEST(40, "_lg_i32", "s21", 2)
          TEST(40, "_gt_i32", "s21", 4) TEST(40, "_ge_i32", "s21", 8) TEST(40, "_le_i32", "s21", 16) TEST(41, "_lg_u32", "s21", 1)
              TEST(41, "_gt_u32", "s21", 2) TEST(41, "_ge_u32", "s21", 4) TEST(41, "_le_u32", "s21", 8),
      compared),
    P("s_compared_constant", "",
      "s_mov_b32 s40, 0\ns_mov_b32 s41, 0\n" TEST(40, "k_gt_i32", "0xfffd", 1) TEST(40, "k_lt_i32", "0xfffd", 2)
          TEST(40, "k_eq_i32", "0xfffd", 4) TEST(41, "k_ge_u32", "0xfff0", 1) TEST(41, "k_le_u32", "0xfff0", 2)
              TEST(41, "k_lg_u32", "0xfff0", 4),
      compared_constant),
    P("s_pack_hh", "", "s_pack_hh_b32_b16 s40, s20, s21\ns_mov_b32 s41, s40", packed_high),
    P("s_getreg", "", "s_getreg_b32 s40, hwreg(HW_REG_MODE, 4, 2)\ns_getreg_b32 s41, hwreg(HW_REG_MODE, 4, 4)", mode_read),
    P("s_waits_and_hints_9", "gfx9",
      "s_mov_b32 s40, 1\ns_mov_b32 s41, 2\ns_setprio 3\ns_sleep 1\ns_nop 5\ns_barrier\ns_setprio 0\ns_sendmsg "
      "sendmsg(MSG_SAVEWAVE)\n"
      "s_cbranch_execz 9f\ns_cbranch_execnz 8f\ns_mov_b32 s40, 0\n8: s_cmp_eq_u32 s40, 0\ns_cbranch_scc0 7f\ns_mov_b32 s40, "
      "0\n7: s_mov_b64 "
      "vcc, 0\ns_cbranch_vccnz 9f\ns_cbranch_vccz 6f\n9: s_mov_b32 s41, 0\n6:",
      branches_2),
    P("s_waits_and_hints_11", "gfx11",
      "s_mov_b32 s40, 1\ns_mov_b32 s41, 2\ns_setprio 3\ns_sleep 1\ns_nop 5\ns_barrier\ns_waitcnt_depctr 0\ns_delay_alu "
      "instid0(VALU_DEP_1)\ns_clause 0\n"
      "s_cbranch_execz 9f\ns_cbranch_execnz 8f\ns_mov_b32 s40, 0\n8: s_cmp_eq_u32 s40, 0\ns_cbranch_scc0 7f\ns_mov_b32 s40, "
      "0\n7: s_mov_b64 "
      "vcc, 0\ns_cbranch_vccnz 9f\ns_cbranch_vccz 6f\n9: s_mov_b32 s41, 0\n6:",
      branches_2),
    SAVE_9("or", save_or),
    SAVE_9("andn2", save_andn2),
    SAVE_9("xor", save_xor),
    SAVE_9("nand", save_nand),
    SAVE_9("nor", save_nor),
    SAVE_9("xnor", save_xnor),
    SAVE_9("orn2", save_orn2),
    SAVE_9("andn1", save_andn1),
    SAVE_9("orn1", save_orn1),
    SAVE_11("or", save_or),
    SAVE_11("and_not1", save_andn2),
    SAVE_11("xor", save_xor),
    SAVE_11("nand", save_nand),
    SAVE_11("nor", save_nor),
    SAVE_11("xnor", save_xnor),
    SAVE_11("or_not1", save_orn2),
    SAVE_11("and_not0", save_andn1),
    SAVE_11("or_not0", save_orn1),
    {0},
};
const suite scalar_suite = {"scalar", pieces};
