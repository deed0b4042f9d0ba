/* LDS: each thread's dword at 4 l, other places as the piece says. */
#include "test.h"

EACH(copy, a)
EACH(half, (uint16_t)a)
EACH(byte_i, (int8_t)a)
static void neighbour(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++) out[0][l] = in[0][(l + 1) % n];
}
static void pairs(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++) out[0][l] = in[0][l], out[1][l] = in[1][l];
}
static void in_order(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++)
        for (int k = 0; k < 4; k++) out[k][l] = in[k][l];
}
static void four(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++)
        for (int k = 0; k < 4; k++) out[k][l] = in[3 - k][l];
}
static void atomics(const lanes *in, lanes *out, int n)
{
    uint32_t before = 100;
    for (int l = 0; l < n; l++) {
        out[0][l] = before;
        before += in[0][l];
    }
    for (int l = 0; l < n; l++) out[1][l] = before;
}
static void swapped(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++) out[0][l] = in[0][l], out[1][l] = in[0][l] == 7 ? in[1][l] : in[0][l];
}
static void swapped_wide(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++)
        for (int k = 0; k < 2; k++) out[k][l] = in[k][l], out[2 + k][l] = in[0][l] == 7 ? in[2 + k][l] : in[k][l];
}
#define W "\ns_waitcnt lgkmcnt(0)\n"
static const piece pieces[] = {
    {"write_read", "gfx9", "ds_write_b32 v1, v16" W "v_add_u32_e32 v20, 4, v1\nv_and_b32 v20, 0xff, v20\nds_read_b32 v80, v20" W,
     neighbour, 1, 1},
    {"store_load", "gfx11", "ds_store_b32 v1, v16" W "v_add_nc_u32 v20, 4, v1\nv_and_b32 v20, 0x7f, v20\nds_load_b32 v80, v20" W,
     neighbour, 1, 1},
    {"two", "", "ds_write2_b32 v1, v16, v17 offset1:128" W "ds_read2_b32 v[80:81], v1 offset1:128" W, pairs, 2, 2},
    {"two_far", "", "ds_write2st64_b32 v1, v16, v17 offset1:2" W "ds_read2st64_b32 v[80:81], v1 offset1:2" W, pairs, 2, 2},
    {"accumulators_lds", "gfx9",
     "v_accvgpr_write_b32 a5, v16\ns_nop 1\nds_write_b32 v1, a5" W "ds_read_b32 a6, v1" W "v_accvgpr_read_b32 v80, a6", copy, 1,
     1},
    {"two_wide", "",
     "v_lshlrev_b32 v20, 3, v0\nds_write2_b64 v20, v[16:17], v[18:19] offset1:64" W "ds_read2_b64 v[80:83], v20 offset1:64" W,
     in_order, 4, 4},
    {"two_wide_far", "",
     "v_lshlrev_b32 v20, 3, v0\nds_write2st64_b64 v20, v[16:17], v[18:19] offset1:1" W
     "ds_read2st64_b64 v[80:83], v20 offset1:1" W,
     in_order, 4, 4},
    {"wide", "",
     "v_lshlrev_b32 v20, 4, v0\nv_mov_b32 v24, v19\nv_mov_b32 v25, v18\nv_mov_b32 v26, v17\nv_mov_b32 v27, v16\nds_write_b128 "
     "v20, v[24:27]" W "ds_read_b128 v[80:83], v20" W,
     four, 4, 4},
    {"wide_halves", "", "v_lshlrev_b32 v20, 3, v0\nds_write_b64 v20, v[16:17]" W "ds_read_b64 v[80:81], v20" W, pairs, 2, 2},
    {"short_", "", "v_lshlrev_b32 v20, 1, v0\nds_write_b16 v20, v16" W "ds_read_u16 v80, v20" W, half, 1, 1},
    {"byte_", "", "ds_write_b8 v0, v16" W "ds_read_i8 v80, v0" W, byte_i, 1, 1},
    {"negative_base", "",
     "v_mov_b32 v80, v16\nv_or_b32 v20, 0xffffff00, v1\nds_write_b32 v20, v16 offset:256" W "ds_read_b32 v80, v1" W, copy, 1, 1},
    {"atomic_add", "",
     "v_mov_b32 v20, 0\nv_mov_b32 v21, 0x64\nds_write_b32 v20, v21" W "ds_add_rtn_u32 v80, v20, v16" W "ds_read_b32 v81, v20" W,
     atomics, 1, 2, .data = D_SMALL},
    {"compare_swap", "gfx9",
     "ds_write_b32 v1, v16\nv_mov_b32 v20, 7" W "ds_cmpst_rtn_b32 v80, v1, v20, v17" W "ds_read_b32 v81, v1" W, swapped, 2, 2,
     .data = D_SMALL},
    {"compare_store", "gfx11",
     "ds_store_b32 v1, v16\nv_mov_b32 v20, 7" W "ds_cmpstore_rtn_b32 v80, v1, v17, v20" W "ds_load_b32 v81, v1" W, swapped, 2, 2,
     .data = D_SMALL},
    {"compare_swap_wide_9", "gfx9",
     "v_lshlrev_b32 v20, 3, v0\nds_write_b64 v20, v[16:17]\nv_mov_b32 v22, 7\nv_mov_b32 v23, v17" W
     "ds_cmpst_rtn_b64 v[80:81], v20, v[22:23], v[18:19]" W "ds_read_b64 v[82:83], v20" W,
     swapped_wide, 4, 4, .data = D_SMALL},
    {"compare_swap_wide_11", "gfx11",
     "v_lshlrev_b32 v20, 3, v0\nds_store_b64 v20, v[16:17]\nv_mov_b32 v22, 7\nv_mov_b32 v23, v17" W
     "ds_cmpstore_rtn_b64 v[80:81], v20, v[18:19], v[22:23]" W "ds_load_b64 v[82:83], v20" W,
     swapped_wide, 4, 4, .data = D_SMALL},
    {0},
};
const suite lds_suite = {"lds", pieces};
