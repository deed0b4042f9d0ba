/* Vector instructions that look across lanes or between the register files. */
#include <string.h>

#include "decode.h"
#include "lanes.h"
#include "profile.h"
#include "valu.h"

#undef a
#undef b
#undef c

static int first_lane(const wave *w) { return EXEC(w) ? __builtin_ctzll(EXEC(w)) : 0; }

static void take_lane(wave *w, const inst *i, int lane)
{
    row room;
    uint64_t undefined;
    const uint32_t *values = valu_read(w, i, &i->src[0], &room, &undefined);
    scalar_write(w, &i->dst, values[lane], undefined >> lane & 1 ? ~0u : 0);
}
static void readfirstlane(wave *w, const inst *i) { take_lane(w, i, first_lane(w)); }
static void readlane(wave *w, const inst *i)
{
    take_lane(w, i, (int)(scalar_need(w, &i->src[1], "the lane of v_readlane") % w->kernel->wave_size));
}
static void writelane(wave *w, const inst *i)
{
    uint32_t undefined, value = scalar_read(w, &i->src[0], &undefined),
                        lane = scalar_need(w, &i->src[1], "the lane of v_writelane") % w->kernel->wave_size;
    uint32_t values[LANES];
    for (int l = 0; l < LANES; l++) values[l] = value;
    valu_write(w, i->dst.reg, values, 1ull << lane, undefined ? ~0ull : 0);
}

/* Each lane of a row of 16 reads the lane that a nibble of two scalars names, in its own row or (x) the other of a pair. op_sel:
 * fi, bound_ctrl. A lane that is switched off gives 0 or leaves the register as it was; what that is counts as undefined. */
static void permlane(wave *w, const inst *i)
{
    row room;
    uint64_t undefined, out_undefined = 0;
    uint64_t pick = scalar_need(w, &i->src[1], "the selection of v_permlane16") |
                    (uint64_t)scalar_need(w, &i->src[2], "the selection of v_permlane16") << 32;
    const uint32_t *values = valu_read(w, i, &i->src[0], &room, &undefined);
    uint32_t out[LANES];
    bool inactive = i->sel_lo & 1, zero = i->sel_lo >> 1 & 1;
    for (int l = 0; l < LANES; l++) {
        int from = ((l & ~15) ^ (i->op->argument ? 16 : 0)) + (int)(pick >> 4 * (l & 15) & 15);
        bool valid = inactive || EXEC(w) >> from & 1;
        out[l] = valid ? values[from] : zero ? 0 : w->v[i->dst.reg][l];
        out_undefined |= (valid ? undefined >> from & 1 : 1) << l;
    }
    valu_write(w, i->dst.reg, out, EXEC(w), out_undefined);
}

static void permlane64(wave *w, const inst *i)
{
    row room;
    uint64_t undefined;
    const uint32_t *values = valu_read(w, i, &i->src[0], &room, &undefined);
    uint32_t out[LANES];
    for (int l = 0; l < LANES; l++) out[l] = values[l ^ 32];
    valu_write(w, i->dst.reg, out, EXEC(w), undefined >> 32 | undefined << 32);
}

/* Lower result from either half of the first pair, upper from the second. */
static void pk_mov(wave *w, const inst *i)
{
    row room[2];
    uint64_t undefined[2];
    const uint32_t *values[2];
    for (int k = 0; k < 2; k++) {
        operand o = i->src[k];
        o.kind = 'i';
        if (o.where != IN_CONSTANT) o.reg = (uint16_t)(o.reg + (i->sel_lo >> k & 1));
        o.count = 1;
        values[k] = valu_read(w, i, &o, &room[k], &undefined[k]);
    }
    for (unsigned k = 0; k < 2; k++) valu_write(w, i->dst.reg + k, values[k], EXEC(w), undefined[k]);
}

/* Register by register: one half may be undefined. */
static void mov_b64(wave *w, const inst *i)
{
    row room[2];
    uint64_t undefined[2];
    const uint32_t *values[2];
    if (i->dpp || i->src[0].negate || i->src[0].absolute) fault(w, -1, "v_mov_b64 with modifiers is not simulated");
    for (unsigned k = 0; k < 2; k++) {
        operand o = i->src[0];
        uint64_t half = o.value >> 32 * k;
        o.kind = 'i';
        o.count = 1;
        o.reg = (uint16_t)(o.reg + k);
        if (o.where == IN_CONSTANT) {
            for (int l = 0; l < LANES; l++) room[k].u[l] = (uint32_t)half;
            values[k] = room[k].u;
            undefined[k] = 0;
        } else {
            values[k] = valu_read(w, i, &o, &room[k], &undefined[k]);
        }
    }
    for (unsigned k = 0; k < 2; k++) valu_write(w, i->dst.reg + k, values[k], EXEC(w), undefined[k]);
}

static void swap(wave *w, const inst *i)
{
    row room[2];
    uint64_t undefined[2];
    const uint32_t *x = valu_read(w, i, &i->src[0], &room[0], &undefined[0]);
    operand o = i->dst;
    const uint32_t *y = valu_read(w, i, &o, &room[1], &undefined[1]);
    valu_write(w, i->dst.reg, x, EXEC(w), undefined[0]);
    valu_write(w, i->src[0].reg, y, EXEC(w), undefined[1]);
}

/* gfx11: a register at m0 after the one that is named. */
enum { INDEX_SOURCE = 1, INDEX_RESULT = 8 };
static void move_indexed(wave *w, const inst *i, uint32_t index, uint32_t which)
{
    inst moved = *i;
    uint32_t source = i->src[0].reg + (which & INDEX_SOURCE ? index : 0),
             result = i->dst.reg + (which & INDEX_RESULT ? index : 0);
    if (source >= ACC || result >= ACC) fault(w, -1, "register index %u leaves the registers", index);
    moved.src[0].reg = (uint16_t)source;
    moved.dst.reg = (uint16_t)result;
    row room;
    uint64_t undefined;
    const uint32_t *values = valu_read(w, &moved, &moved.src[0], &room, &undefined);
    valu_write(w, result, values, EXEC(w), undefined);
}
static void move_relative(wave *w, const inst *i)
{
    operand m0 = {.where = IN_SGPR, .reg = S_M0, .count = 1};
    move_indexed(w, i, scalar_need(w, &m0, "a register index"), i->op->argument);
}

/* gfx9: from s_set_gpr_idx_on to _off registers are counted from an index. Compilers put single moves between the two. */
static void index_on(wave *w, const inst *i)
{
    uint32_t index = scalar_need(w, &i->src[0], "a register index") & 255;
    w->s[S_M0] = (w->s[S_M0] & ~0xf0ffu) | index | i->option << 12;
    for (;;) {
        const inst *next = code_decode(w->kernel->code, w->pc);
        if (!next) return; /* reported where it is run */
        w->now = next;
        w->pc = next->next;
        profile_count(w->kernel->profile, next);
        const char *name = next->op ? next->op->name : "";
        if (strcmp(name, "s_set_gpr_idx_off") == 0) return;
        if (strcmp(name, "s_nop") == 0) continue;
        bool moves = strcmp(name, "v_mov_b32") == 0 && next->src[0].where == IN_VGPR && !next->dpp && !next->dst_sel;
        if (!moves) fault(w, -1, "this instruction with indexed registers is not simulated");
        move_indexed(w, next, index, i->option);
    }
}

static void nothing(wave *w, const inst *i) { (void)w, (void)i; }

#define ROW(name, kinds, function, argument) \
    { \
        "v_" name, kinds, 0, function, 0, argument \
    }
const op_row ops_special[] = {
    ROW("readfirstlane_b32", "i:i", readfirstlane, 0),
    ROW("readlane_b32", "i:ii", readlane, 0),
    ROW("writelane_b32", "i:ii", writelane, 0),
    ROW("permlane16_b32", "i:iii", permlane, 0),
    ROW("permlanex16_b32", "i:iii", permlane, 1),
    ROW("permlane64_b32", "i:i", permlane64, 0),
    ROW("pk_mov_b32", "i:ii", pk_mov, 0),
    ROW("mov_b64", "q:q", mov_b64, 0),
    ROW("swap_b32", "i:i", swap, 0),
    ROW("movrels_b32", "i:i", move_relative, INDEX_SOURCE),
    ROW("movreld_b32", "i:i", move_relative, INDEX_RESULT),
    ROW("movrelsd_b32", "i:i", move_relative, INDEX_SOURCE | INDEX_RESULT),
    {"s_set_gpr_idx_on", "*", 0, index_on, 0, PARSE_INDEX << 8},
    {"s_set_gpr_idx_off", "*", 0, nothing, 0, 0},
    ROW("nop", "*", nothing, 0),
    TABLE_END,
};
