/* Planted faults: each must be named. And what only looks like one must pass. */
#include "test.h"

EACH(copy, a)
#define W "\ns_waitcnt lgkmcnt(0)\n"
/* Two waves: each writes its threads' dwords, then reads those of the other wave. WAVE_BYTES apart. */
#define ALL_WRITTEN "ds_write_b32 v1, v16" W "s_barrier\n"
#define OTHER_9 "v_xor_b32 v20, 0x100, v1\n"
#define OTHER_11 "v_xor_b32 v20, 0x80, v1\n"
#define TO_LDS_9 \
    "s_mov_b32 s20, s8\ns_mov_b32 s21, s9\ns_movk_i32 s22, 0x400\ns_mov_b32 s23, 0x20000\nv_readfirstlane_b32 s24, " \
    "v1\ns_mov_b32 m0, s24\nbuffer_load_dword " \
    "v1, " \
    "s[20:23], 0 offen lds\n"
static const piece pieces[] = {
    /* memory */
    {"past_the_end", "", "global_load_dword v80, v1, s[8:9] offset:4\ns_waitcnt vmcnt(0)", NULL, 1, 1,
     .fault = "out of bounds: read of 4 bytes"},
    {"past_by_a_byte", "", "global_load_dword v80, v1, s[8:9] offset:1\ns_waitcnt vmcnt(0)", NULL, 1, 1,
     .fault = "ends 1 bytes past"},
    {"before_the_start", "", "global_load_dword v80, v1, s[8:9] offset:-4\ns_waitcnt vmcnt(0)", NULL, 1, 1,
     .fault = "out of bounds"},
    {"store_past_the_end", "", "global_store_dword v1, v16, s[10:11] offset:4", NULL, 1, 1, .fault = "out of bounds: write"},
    {"write_read_only", "", "v_mov_b32 v20, 0\nglobal_store_dword v20, v16, s[0:1]", NULL, 1, 1, .fault = "read-only"},
    {"nowhere", "", "v_mov_b32 v20, 0x1000\nv_mov_b32 v21, 0\nglobal_load_dword v80, v[20:21], off\ns_waitcnt vmcnt(0)", NULL, 1,
     1, .fault = "in no allocation"},
    {"lds_past_the_end", "", "v_mov_b32 v20, 0x400\nds_read_b32 v80, v20" W, NULL, 1, 1,
     .fault = "LDS offset 1024 of 4 bytes, of 1024"},
    {"scratch_past_the_end", "gfx94 gfx11", "scratch_store_dword off, v16, off offset:64", NULL, 1, 1,
     .fault = "scratch offset 64"},
    {"masked_lane_is_innocent", "gfx9",
     "s_mov_b64 exec, 1\nglobal_load_dword v80, v1, s[8:9] offset:252\ns_waitcnt vmcnt(0)\ns_mov_b64 exec, -1\nv_mov_b32 v80, "
     "v16",
     copy, 1, 1},
    /* what was never written */
    {"undefined_address", "", "global_load_dword v80, v60, s[8:9]\ns_waitcnt vmcnt(0)", NULL, 1, 1,
     .fault = "the address is an undefined register"},
    {"undefined_store", "", "v_add_f32 v80, v60, v16", NULL, 1, 1, .fault = "is an undefined register"},
    {"undefined_branch", "", "s_cmp_eq_u32 s60, 0\ns_cbranch_scc1 1f\n1:", NULL, 1, 1, .fault = "scc decides a branch"},
    {"undefined_exec", "gfx9", "v_cmp_eq_u32 vcc, v60, v16\ns_and_saveexec_b64 s[20:21], vcc", NULL, 1, 1,
     .fault = "an undefined value decides exec"},
    {"undefined_lds", "", "ds_read_b32 v80, v1" W, NULL, 1, 1, .fault = "is an undefined register"},
    {"undefined_lane", "gfx9", "s_mov_b64 exec, 0xff\nv_mov_b32 v60, v16\ns_mov_b64 exec, -1\nv_mov_b32 v80, v60", NULL, 1, 1,
     .fault = "lane 8"},
    {"undefined_but_unused", "gfx9",
     "v_add_f32 v61, v60, v16\nv_cmp_lt_u32 vcc, v60, v16\ns_and_b64 vcc, vcc, 0\nv_cndmask_b32 v80, v16, v60, vcc", copy, 1, 1},
    {"undefined_half_merged", "gfx11",
     "v_mov_b32 v21, 0xffff\nv_bfi_b32 v20, v21, v16, v60\nv_and_b32 v21, 0xffff0000, v16\nv_mov_b32 v22, 0xffff\nv_bfi_b32 v80, "
     "v22, v20, v21",
     copy, 1, 1},
    /* waits */
    {"missing_wait", "", "global_load_dword v20, v1, s[8:9]\nv_mov_b32 v80, v20", NULL, 1, 1, .fault = "before the s_waitcnt"},
    {"missing_wait_accumulator", "gfx9", "global_load_dword a3, v1, s[8:9]\nv_accvgpr_read_b32 v80, a3", NULL, 1, 1,
     .fault = "a3 is used before the s_waitcnt"},
    {"missing_scalar_wait", "", "s_load_dword s20, s[8:9], 0x0\nv_mov_b32 v80, s20", NULL, 1, 1, .fault = "before the s_waitcnt"},
    {"missing_lds_wait", "", "ds_write_b32 v1, v16" W "ds_read_b32 v20, v1\nv_mov_b32 v80, v20", NULL, 1, 1,
     .fault = "before the s_waitcnt"},
    {"wait_for_too_few", "",
     "global_load_dword v20, v1, s[8:9]\nglobal_load_dword v21, v1, s[8:9]\ns_waitcnt vmcnt(1)\nv_mov_b32 v80, v21", NULL, 1, 1,
     .fault = "v21 is used before"},
    {"wait_for_enough", "",
     "global_load_dword v20, v1, s[8:9]\nglobal_load_dword v21, v1, s[8:9]\ns_waitcnt vmcnt(1)\nv_mov_b32 v80, v20\ns_waitcnt "
     "vmcnt(0)",
     copy, 1, 1},
    {"overwritten_while_loading", "", "global_load_dword v80, v1, s[8:9]\nv_mov_b32 v80, 0\ns_waitcnt vmcnt(0)", NULL, 1, 1,
     .fault = "written while a load"},
    {"scalar_out_of_order", "",
     "s_load_dword s20, s[8:9], 0x0\ns_load_dword s21, s[8:9], 0x4\ns_waitcnt lgkmcnt(1)\nv_mov_b32 v80, s20", NULL, 1, 1,
     .fault = "before the s_waitcnt"},
    {"to_lds_read_too_soon_9", "gfx9", TO_LDS_9 "ds_read_b32 v80, v1" W, NULL, 1, 1,
     .fault = "before the s_waitcnt of the load straight"},
    {"to_lds_overwritten_9", "gfx9", TO_LDS_9 "ds_write_b32 v1, v16" W, NULL, 1, 1,
     .fault = "before the s_waitcnt of the load straight"},
    {"to_lds_waited_for_9", "gfx9", TO_LDS_9 "s_waitcnt vmcnt(0)\nds_read_b32 v80, v1" W, copy, 1, 1},
    {"to_lds_one_of_two_9", "gfx9",
     TO_LDS_9 "s_movk_i32 m0, 0x100\nbuffer_load_dword v1, s[20:23], 0 offen lds\ns_waitcnt vmcnt(1)\nds_read_b32 v80, v1" W,
     copy, 1, 1},
    {"to_lds_barrier_too_soon_9", "gfx9", TO_LDS_9 "s_barrier\n" OTHER_9 "ds_read_b32 v80, v20" W, NULL, 1, 1,
     .fault = "before the s_waitcnt of the load straight", .threads = 128},
    {"to_lds_with_offset", "gfx9", TO_LDS_9 "buffer_load_dword v1, s[20:23], 0 offen offset:4 lds", NULL, 1, 1,
     .fault = "not simulated"},
    /* races */
    {"missing_barrier_9", "gfx9", ALL_WRITTEN "ds_write_b32 v1, v16" W OTHER_9 "ds_read_b32 v80, v20" W, NULL, 1, 1,
     .fault = "race: ", .threads = 128},
    {"missing_barrier_11", "gfx11", ALL_WRITTEN "ds_write_b32 v1, v16" W OTHER_11 "ds_read_b32 v80, v20" W, NULL, 1, 1,
     .fault = "race: ", .threads = 64},
    {"barrier_9", "gfx9", "ds_write_b32 v1, v16" W "s_barrier\n" OTHER_9 "ds_read_b32 v80, v20" W, NULL, 1, 1, .threads = 128},
    {"barrier_11", "gfx11", "ds_write_b32 v1, v16" W "s_barrier\n" OTHER_11 "ds_read_b32 v80, v20" W, NULL, 1, 1, .threads = 64},
    {"barrier_without_wait_9", "gfx9", ALL_WRITTEN "ds_write_b32 v1, v16\ns_barrier\n" OTHER_9 "ds_read_b32 v80, v20" W, NULL, 1,
     1, .fault = "race: ", .threads = 128},
    {"barrier_without_wait_11", "gfx11", ALL_WRITTEN "ds_store_b32 v1, v16\ns_barrier\n" OTHER_11 "ds_load_b32 v80, v20" W, NULL,
     1, 1, .fault = "race: ", .threads = 64},
    {"read_then_write_9", "gfx9",
     "ds_write_b32 v1, v16" W "s_barrier\n" OTHER_9 "ds_read_b32 v80, v20" W "ds_write_b32 v1, v16" W, NULL, 1, 1,
     .fault = "race: ", .threads = 128},
    {"global_race", "", "global_store_dword v1, v16, s[10:11]\ns_waitcnt vmcnt(0)", NULL, 1, 1,
     .fault = "race: write of global memory", .blocks = 2},
    {"global_atomics", "gfx9",
     "v_mov_b32 v20, 0\nv_mov_b32 v21, 1\nglobal_atomic_add v20, v21, s[10:11]\ns_waitcnt vmcnt(0)\ns_endpgm", NULL, 1, 1,
     .blocks = 4},
    /* control */
    {"unknown_9", "gfx9", ".long 0xffffffff", NULL, 1, 1, .fault = "unknown instruction"},
    {"unknown_11", "gfx11", ".long 0xc7ffffff", NULL, 1, 1, .fault = "unknown instruction"},
    {"jump_away", "", "s_mov_b64 s[20:21], 0\ns_setpc_b64 s[20:21]", NULL, 1, 1, .fault = "execution leaves the code"},
    {"rounding_mode_9", "gfx9", "s_setreg_imm32_b32 hwreg(HW_REG_MODE, 0, 4), 1", NULL, 1, 1, .fault = "not simulated"},
    {"rounding_mode_11", "gfx11", "s_round_mode 1", NULL, 1, 1, .fault = "not simulated"},
    {"cbsz_of_one_block", "gfx9", "v_mfma_f32_16x16x4f32 v[80:83], v16, v16, 0 cbsz:1", NULL, 1, 4,
     .fault = "cbsz or abid that the instruction does not have"},
    {"blgp_where_there_is_none", "gfx94", "v_mfma_f32_16x16x16_f16 v[80:83], v[16:17], v[18:19], 0 blgp:1", NULL, 4, 4,
     .fault = "blgp that the instruction does not have"},
    {"neg_of_dot", "", "v_dot2_f32_f16 v80, v16, v16, v16 neg_lo:[1,0,0]", NULL, 1, 1, .fault = "not simulated"},
    {0},
};
const suite fault_suite = {"fault", pieces};
