/* Global, scratch and scalar memory, atomics. Inputs lie at s[8:9], 256 bytes a register. */
#include "test.h"

EACH(copy, a)
EACH(byte_u, a >> 8 & 255)
EACH(byte_i, (int8_t)(a >> 16))
EACH(short_i, (int16_t)(a >> 16))
EACH(merged, (a & 0xffff) | b << 16)
EACH(high_byte, (a & 0xffffff00u) | (b & 255))
static void four(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++)
        for (int k = 0; k < 4; k++) out[k][l] = ((const uint32_t *)in)[4 * (l % 16) + k];
}
static void scalar_loads(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++) out[0][l] = in[0][1], out[1][l] = in[0][7];
}
static void atomics(const lanes *in, lanes *out, int n)
{
    uint32_t sum = 0, top = 0;
    for (int l = 0; l < n; l++) sum += in[0][l], top = in[0][l] > top ? in[0][l] : top;
    out[0][0] = sum;
    out[1][0] = top;
    for (int l = 0; l < n; l++) {
        out[2][l] = in[0][l] == 5 ? in[1][l] : in[0][l];
        out[3][l] = in[0][l];
    }
}
static void float_atomic(const lanes *in, lanes *out, int n)
{
    float sum = 0;
    for (int l = 0; l < n; l++) sum += F(in[0][l]);
    out[0][0] = B(sum);
}
static void spilled(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++) out[0][l] = in[1][l], out[1][l] = in[0][l];
}
static void buffers(const lanes *in, lanes *out, int n)
{
    for (int l = 0; l < n; l++) out[0][l] = l < 8 ? in[0][l] : 0; /* 32 bytes: what is beyond reads 0 */
}

#define WAIT "\ns_waitcnt vmcnt(0) lgkmcnt(0)"
#define STORED "\ns_waitcnt vmcnt(0)"
/* Stores go straight to the output; the frame's own store of v80 then writes what was loaded back. */
static const piece pieces[] = {
    {"global_address", "gfx9",
     "v_mov_b32 v21, s9\nv_add_co_u32 v20, vcc, s8, v1\nv_addc_co_u32 v21, vcc, 0, v21, vcc\nglobal_load_dword v80, v[20:21], "
     "off" WAIT,
     copy, 1, 1},
    {"global_address_11", "gfx11",
     "v_add_co_u32 v20, s20, s8, v1\nv_add_co_ci_u32 v21, s20, s9, 0, s20\nglobal_load_b32 v80, v[20:21], off" WAIT, copy, 1, 1},
    {"flat", "gfx9",
     "v_mov_b32 v21, s9\nv_add_co_u32 v20, vcc, s8, v1\nv_addc_co_u32 v21, vcc, 0, v21, vcc\nflat_load_dword v80, v[20:21]" WAIT,
     copy, 1, 1},
    {"flat_11", "gfx11", "v_add_co_u32 v20, s20, s8, v1\nv_add_co_ci_u32 v21, s20, s9, 0, s20\nflat_load_b32 v80, v[20:21]" WAIT,
     copy, 1, 1},
    {"load_x4", "gfx9", "v_and_b32 v20, 15, v0\nv_lshlrev_b32 v20, 4, v20\nglobal_load_dwordx4 v[80:83], v20, s[8:9]" WAIT, four,
     2, 4},
    {"load_b128", "gfx11", "v_and_b32 v20, 15, v0\nv_lshlrev_b32 v20, 4, v20\nglobal_load_b128 v[80:83], v20, s[8:9]" WAIT, four,
     2, 4},
    {"ubyte", "gfx9", "global_load_ubyte v80, v1, s[8:9] offset:1" WAIT, byte_u, 1, 1},
    {"u8", "gfx11", "global_load_u8 v80, v1, s[8:9] offset:1" WAIT, byte_u, 1, 1},
    {"sbyte", "gfx9", "global_load_sbyte v80, v1, s[8:9] offset:2" WAIT, byte_i, 1, 1},
    {"i8", "gfx11", "global_load_i8 v80, v1, s[8:9] offset:2" WAIT, byte_i, 1, 1},
    {"sshort", "gfx9", "global_load_sshort v80, v1, s[8:9] offset:2" WAIT, short_i, 1, 1},
    {"i16", "gfx11", "global_load_i16 v80, v1, s[8:9] offset:2" WAIT, short_i, 1, 1},
    {"d16_hi", "gfx9", "v_mov_b32 v80, v16\nglobal_load_short_d16_hi v80, v1, s[8:9] offset:256" WAIT, merged, 2, 1},
    {"d16_hi_b16", "gfx11", "v_mov_b32 v80, v16\nglobal_load_d16_hi_b16 v80, v1, s[8:9] offset:256" WAIT, merged, 2, 1},
    {"store_byte", "gfx9",
     "global_store_dword v1, v16, s[10:11]\nglobal_store_byte v1, v17, s[10:11]" STORED
     "\nglobal_load_dword v80, v1, s[10:11]" WAIT,
     high_byte, 2, 1},
    {"store_b8", "gfx11",
     "global_store_b32 v1, v16, s[10:11]\nglobal_store_b8 v1, v17, s[10:11]\ns_waitcnt_vscnt null, 0\nglobal_load_b32 v80, v1, "
     "s[10:11]" WAIT,
     high_byte, 2, 1},
    {"scalar_load", "gfx9",
     "s_load_dword s20, s[8:9], 0x4\ns_load_dwordx8 s[24:31], s[8:9], 0x0\ns_waitcnt lgkmcnt(0)\nv_mov_b32 v80, s20\nv_mov_b32 "
     "v81, s31",
     scalar_loads, 1, 2},
    {"scalar_load_11", "gfx11",
     "s_load_b32 s20, s[8:9], 0x4\ns_load_b256 s[24:31], s[8:9], 0x0\ns_waitcnt lgkmcnt(0)\nv_mov_b32 v80, s20\nv_mov_b32 v81, "
     "s31",
     scalar_loads, 1, 2},
    {"scalar_wide", "",
     "s_load_dwordx16 s[24:39], s[8:9], 0x0\ns_load_dwordx2 s[42:43], s[8:9], 0x18\ns_waitcnt lgkmcnt(0)\nv_mov_b32 v80, "
     "s25\nv_mov_b32 v81, "
     "s43",
     scalar_loads, 1, 2},
    {"scalar_buffer", "",
     "s_mov_b32 s20, s8\ns_mov_b32 s21, s9\ns_mov_b32 s22, 64\ns_mov_b32 s23, 0x20000\ns_buffer_load_dword s24, s[20:23], 0x4\n"
     "s_buffer_load_dwordx4 s[28:31], s[20:23], 0x10\ns_waitcnt lgkmcnt(0)\nv_mov_b32 v80, s24\nv_mov_b32 v81, s31",
     scalar_loads, 1, 2},
    {"to_accumulators", "gfx9", "global_load_dword a3, v1, s[8:9]" WAIT "\nv_accvgpr_read_b32 v80, a3", copy, 1, 1},
    {"from_accumulators", "gfx9", "v_accvgpr_write_b32 a5, v16\ns_nop 1\nglobal_store_dword v1, a5, s[10:11]\ns_endpgm", copy, 1,
     1},
    {"atomics", "gfx94",
     "v_mov_b32 v20, 0\nglobal_atomic_add v20, v16, s[10:11]\nglobal_atomic_umax v20, v16, s[10:11] "
     "offset:256\nglobal_store_dword v1, v16, s[10:11] offset:512\ns_waitcnt vmcnt(0)\nv_mov_b32 v22, v17\nv_mov_b32 v23, "
     "5\nglobal_atomic_cmpswap v83, v1, v[22:23], s[10:11] offset:512 sc0\n"
     "s_waitcnt vmcnt(0)\nv_mov_b32 v80, 0\nv_mov_b32 v81, 0\nglobal_load_dword v80, v1, s[10:11]\nglobal_load_dword v81, v1, "
     "s[10:11] offset:256\nglobal_load_dword v82, v1, s[10:11] offset:512" WAIT,
     atomics, 2, 4, .data = D_SMALL},
    {"atomics_11", "gfx11",
     "v_mov_b32 v20, 0\nglobal_atomic_add_u32 v20, v16, s[10:11]\nglobal_atomic_max_u32 v20, v16, s[10:11] "
     "offset:256\nglobal_store_b32 v1, v16, s[10:11] offset:512\ns_waitcnt_vscnt null, 0\nv_mov_b32 v22, v17\nv_mov_b32 v23, "
     "5\nglobal_atomic_cmpswap_b32 v83, v1, v[22:23], s[10:11] offset:512 glc\n"
     "s_waitcnt vmcnt(0)\nglobal_load_b32 v80, v1, s[10:11]\nglobal_load_b32 v81, v1, s[10:11] offset:256\nglobal_load_b32 v82, "
     "v1, s[10:11] offset:512" WAIT,
     atomics, 2, 4, .data = D_SMALL},
    {"float_atomic", "",
     "v_mov_b32 v20, 0\nglobal_atomic_add_f32 v20, v16, s[10:11]\ns_waitcnt vmcnt(0)\nglobal_load_dword v80, v1, s[10:11]" WAIT,
     float_atomic, 1, 1, .data = D_SMALL},
    {"scratch", "gfx94 gfx11",
     "scratch_store_dword off, v16, off offset:8\nscratch_store_dword off, v17, off offset:12\ns_waitcnt "
     "vmcnt(0)\nscratch_load_dwordx2 v[20:21], off, off offset:8\ns_waitcnt vmcnt(0)\nv_mov_b32 v80, v21\nv_mov_b32 v81, v20",
     spilled, 2, 2},
    {"scratch_buffer", "gfx90a",
     "s_mov_b32 s21, 0x8000ffff\ns_mov_b32 s20, 0\ns_mov_b32 s22, -1\ns_mov_b32 s23, 0\nbuffer_store_dword v16, off, s[20:23], 0 "
     "offset:8\nbuffer_store_dword v17, off, s[20:23], 0 offset:12\ns_waitcnt vmcnt(0)\nbuffer_load_dwordx2 v[20:21], off, "
     "s[20:23], 0 offset:8\ns_waitcnt vmcnt(0)\nv_mov_b32 v80, v21\nv_mov_b32 v81, v20",
     spilled, 2, 2},
    {"buffer", "",
     "s_mov_b32 s20, s8\ns_mov_b32 s21, s9\ns_mov_b32 s22, 32\ns_mov_b32 s23, 0x20000\nbuffer_load_dword v80, v1, s[20:23], 0 "
     "offen" WAIT,
     buffers, 1, 1},
    {"global_load_lds", "gfx94",
     "s_mov_b32 m0, 16\nglobal_load_lds_dword v1, s[8:9]\ns_waitcnt vmcnt(0)\nds_read_b32 v80, v1 offset:16\ns_waitcnt "
     "lgkmcnt(0)",
     copy, 1, 1},
    {0},
};
const suite memory_suite = {"memory", pieces};
