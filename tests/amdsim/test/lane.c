/* Instructions that move values between lanes. */
#include "test.h"

/* Each lane reads the one of an expression of l; a negative one leaves what was there, 7. */
#define FROM(name, expression) \
    static void name(const lanes *in, lanes *out, int n) \
    { \
        for (int l = 0; l < n; l++) { \
            int from = (expression); \
            out[0][l] = from < 0 ? 7 : in[0][from]; \
        } \
    }
#define FROM_ZERO(name, expression) \
    static void name(const lanes *in, lanes *out, int n) \
    { \
        for (int l = 0; l < n; l++) { \
            int from = (expression); \
            out[0][l] = from < 0 ? 0 : in[0][from]; \
        } \
    }
static const int quads[4] = {2, 3, 0, 0};
FROM(quad, (l & ~3) + quads[l & 3])
FROM(shl, l % 16 < 13 ? l + 3 : -1)
FROM_ZERO(shr_zero, l % 16 >= 2 ? l - 2 : -1)
FROM(ror, (l & ~15) + (l + 16 - 5) % 16)
FROM(mirror, l ^ 15)
FROM(half_mirror, l ^ 7)
FROM(bcast, (l & ~15) + 4)
FROM(bcast15, l < 16 ? -1 : (l & ~15) - 1)
FROM(xmask, l ^ 5)
FROM(eight, (l & ~7) + 7 - (l & 7))
FROM(masked, l / 16 % 2 == 0 && l % 16 / 4 == 1 ? (l & ~3) + quads[l & 3] : -1)
FROM(swap16, l ^ 16)
FROM(reverse8, l ^ 7)
FROM(broadcast, l & ~7)
FROM(other_row, ((l & ~15) ^ 16) + 15 - l % 16)
FROM(same_row, (l & ~15) + 15 - l % 16)
static void bpermute(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++) out[0][l] = in[0][in[1][l] % (uint32_t)n];
}
static void permute(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++) out[0][(l * 5 + 3) % n] = in[0][l];
}
static void lane_access(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++) out[0][l] = l == 9 ? in[0][5] : in[0][0];
}
/* A DPP operand inside an instruction: the sum with the neighbour, inactive lanes giving 0. */
static void sum_neighbour(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++) out[0][l] = B(F(in[0][l ^ 1]) + F(in[1][l]));
}
#define DPP(control) "v_mov_b32 v80, 7\nv_mov_b32_dpp v80, v16 " control
#define FULL " row_mask:0xf bank_mask:0xf"
static const piece pieces[] = {
    {"quad_perm", "", DPP("quad_perm:[2,3,0,0]" FULL), quad, 1, 1},
    {"row_shl", "", DPP("row_shl:3" FULL), shl, 1, 1},
    {"row_shr_zero", "", DPP("row_shr:2" FULL " bound_ctrl:1"), shr_zero, 1, 1},
    {"row_ror", "", DPP("row_ror:5" FULL), ror, 1, 1},
    {"row_mirror", "", DPP("row_mirror" FULL), mirror, 1, 1},
    {"row_half_mirror", "", DPP("row_half_mirror" FULL), half_mirror, 1, 1},
    {"row_newbcast", "gfx9", DPP("row_newbcast:4" FULL), bcast, 1, 1},
    {"row_share", "gfx11", DPP("row_share:4" FULL), bcast, 1, 1},
    {"row_bcast15", "gfx9", DPP("row_bcast:15" FULL), bcast15, 1, 1},
    {"row_xmask", "gfx11", DPP("row_xmask:5" FULL), xmask, 1, 1},
    {"dpp8", "gfx11", "v_mov_b32 v80, 7\nv_mov_b32_dpp v80, v16 dpp8:[7,6,5,4,3,2,1,0]", eight, 1, 1},
    {"masks", "", DPP("quad_perm:[2,3,0,0] row_mask:0x5 bank_mask:0x2"), masked, 1, 1},
    {"dpp_operand", "", "v_add_f32_dpp v80, v16, v17 quad_perm:[1,0,3,2]" FULL, sum_neighbour, 2, 1, .data = D_FLOATS},
    {"bpermute", "", "v_lshlrev_b32 v20, 2, v17\nds_bpermute_b32 v80, v20, v16\ns_waitcnt lgkmcnt(0)", bpermute, 2, 1},
    {"permute", "",
     "v_mul_u32_u24 v20, 20, v0\nv_or_b32 v20, 0, v20\nds_permute_b32 v80, v20, v16 offset:12\ns_waitcnt lgkmcnt(0)", permute, 1,
     1},
    {"swizzle_swap", "", "ds_swizzle_b32 v80, v16 offset:swizzle(SWAP,16)\ns_waitcnt lgkmcnt(0)", swap16, 1, 1},
    {"swizzle_reverse", "", "ds_swizzle_b32 v80, v16 offset:swizzle(REVERSE,8)\ns_waitcnt lgkmcnt(0)", reverse8, 1, 1},
    {"swizzle_broadcast", "", "ds_swizzle_b32 v80, v16 offset:swizzle(BROADCAST,8,0)\ns_waitcnt lgkmcnt(0)", broadcast, 1, 1},
    {"swizzle_quad", "", "ds_swizzle_b32 v80, v16 offset:swizzle(QUAD_PERM,2,3,0,0)\ns_waitcnt lgkmcnt(0)", quad, 1, 1},
    {"swizzle_mask", "", "ds_swizzle_b32 v80, v16 offset:swizzle(BITMASK_PERM,\"ppiii\")\ns_waitcnt lgkmcnt(0)", reverse8, 1, 1},
    {"permlanex16", "gfx11", "s_mov_b32 s20, 0x89abcdef\ns_mov_b32 s21, 0x01234567\nv_permlanex16_b32 v80, v16, s20, s21",
     other_row, 1, 1},
    {"permlane16", "gfx11", "s_mov_b32 s20, 0x89abcdef\ns_mov_b32 s21, 0x01234567\nv_permlane16_b32 v80, v16, s20, s21", same_row,
     1, 1},
    {"lanes", "", "v_readfirstlane_b32 s20, v16\nv_readlane_b32 s21, v16, 5\nv_mov_b32 v80, s20\nv_writelane_b32 v80, s21, 9",
     lane_access, 1, 1},
    {0},
};
const suite lane_suite = {"lanes", pieces};
