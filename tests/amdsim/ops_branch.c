/* Program flow, waiting, barriers, modes: scalar instructions whose operands are numbers or words. Their kinds are "*". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"
#include "lanes.h"
#include "run.h"
#include "valu.h"

#undef a
#undef b
#undef c

/* ---- Branches ---- */

enum { ALWAYS, SCC0, SCC1, VCCZ, VCCNZ, EXECZ, EXECNZ };

static bool vcc_is_zero(wave *w)
{
    uint64_t all = w->group->launch->all_lanes, value = VCC(w) & all, undefined = w->s64_undef[S_VCC / 2] & all;
    operand o = {.where = IN_SGPR, .reg = S_VCC, .count = 2};
    valu_check(w, &o);
    if (undefined && !(value & ~undefined)) fault(w, __builtin_ctzll(undefined), "an undefined value in vcc decides a branch");
    return value == 0;
}

static bool taken(wave *w, uint32_t condition)
{
    if ((condition == SCC0 || condition == SCC1) && w->scc_undef) fault(w, -1, "an undefined value in scc decides a branch");
    switch (condition) {
    case SCC0: return !w->scc;
    case SCC1: return w->scc;
    case VCCZ: return vcc_is_zero(w);
    case VCCNZ: return !vcc_is_zero(w);
    case EXECZ: return EXEC(w) == 0;
    case EXECNZ: return EXEC(w) != 0;
    default: return true;
    }
}

static void branch(wave *w, const inst *i)
{
    if (taken(w, i->op->argument & 255)) w->pc = i->next + (uint64_t)(4 * (int64_t)i->offset);
}

static uint64_t code_base(const wave *w) { return (uint64_t)w->kernel->code->image; }
static void getpc(wave *w, const inst *i) { scalar_write64(w, &i->dst, code_base(w) + i->next, 0); }
static void setpc(wave *w, const inst *i) { w->pc = scalar_need64(w, &i->src[0], "a jump") - code_base(w); }
static void swappc(wave *w, const inst *i)
{
    uint64_t to = scalar_need64(w, &i->src[0], "a call");
    getpc(w, i);
    w->pc = to - code_base(w);
}
static void call(wave *w, const inst *i)
{
    getpc(w, i);
    w->pc = i->next + (uint64_t)(4 * (int64_t)i->offset);
}

/* ---- Ends and barriers ---- */

static void endpgm(wave *w, const inst *i)
{
    (void)i;
    w->state = WAVE_DONE;
    w->group->done++;
}
static void barrier(wave *w, const inst *i)
{
    (void)i;
    w->state = WAVE_AT_BARRIER;
    w->group->at_barrier++;
}
static void stop(wave *w, const inst *i) { fault(w, -1, "the kernel runs into `%s`", i->text); }
static void nothing(wave *w, const inst *i) { (void)w, (void)i; }

/* ---- Waits ---- */

enum { WAIT_VM, WAIT_LGKM, WAIT_VS };
static void waitcnt(wave *w, const inst *i)
{
    if (i->offset >= 0) wait_until(w, QUEUE_VM, (uint32_t)i->offset);
    if (i->offset2 >= 0) wait_until(w, QUEUE_LGKM, (uint32_t)i->offset2);
    if ((int32_t)i->option >= 0) wait_until(w, QUEUE_VS, i->option);
}

static bool parse_waits(inst *i, const char *text)
{
    static const struct {
        const char *name;
        size_t field;
    } counters[] = {{"vmcnt(", offsetof(inst, offset)}, {"lgkmcnt(", offsetof(inst, offset2)}};
    i->offset = i->offset2 = -1;
    i->option = ~0u;
    for (size_t k = 0; k < COUNT(counters); k++) {
        const char *found = strstr(text, counters[k].name);
        if (found) *(int32_t *)((char *)i + counters[k].field) = atoi(found + strlen(counters[k].name));
    }
    return strchr(text, '(') != NULL;
}

/* gfx11: s_waitcnt_vscnt null, 0x0 */
static bool parse_counter(inst *i, const char *text)
{
    const char *comma = strchr(text, ',');
    i->offset = i->offset2 = -1;
    i->option = ~0u;
    int32_t *const fields[] = {&i->offset, &i->offset2, (int32_t *)&i->option};
    if (!comma || strncmp(text, "null", 4) != 0) return false;
    *fields[i->op->argument & 255] = (int32_t)strtol(comma + 1, NULL, 0);
    return true;
}

/* ---- The mode register; other hardware registers read as 0 ---- */

/* hwreg(HW_REG_MODE, 4, 2): offset and width; option's bit 16 says that it is the mode. */
static bool parse_hwreg(inst *i, const char *text)
{
    const char *at = strstr(text, "hwreg(");
    unsigned offset = 0, width = 32;
    if (!at) return false;
    const char *comma = strchr(at, ','), *close = strchr(at, ')');
    if (comma && comma < close) sscanf(comma + 1, "%u, %u", &offset, &width);
    i->option = offset | width << 8 | (strstr(at, "HW_REG_MODE") ? 1u << 16 : 0);
    return true;
}
static uint32_t field_mask(const inst *i)
{
    uint32_t width = i->option >> 8 & 255;
    return (width >= 32 ? ~0u : (1u << width) - 1) << (i->option & 255);
}
static void set_mode(wave *w, uint32_t mode)
{
    const char *wrong = run_mode_problem(mode);
    if (wrong) fault(w, -1, "%s", wrong);
    w->mode = mode;
}
static void write_mode(wave *w, const inst *i, uint32_t value)
{
    uint32_t mask = field_mask(i);
    if (i->option >> 16) set_mode(w, (w->mode & ~mask) | (value << (i->option & 255) & mask));
}
static void setreg_imm(wave *w, const inst *i) { write_mode(w, i, (uint32_t)i->offset); }
static void setreg(wave *w, const inst *i) { write_mode(w, i, scalar_need(w, &i->src[0], "the mode register")); }
static void getreg(wave *w, const inst *i)
{
    uint32_t value = i->option >> 16 ? w->mode : 0;
    scalar_write(w, &i->dst, (value & field_mask(i)) >> (i->option & 255), 0);
}
static void denorm_mode(wave *w, const inst *i) { set_mode(w, (w->mode & ~0xf0u) | ((uint32_t)i->offset & 15) << 4); }
static void round_mode(wave *w, const inst *i) { set_mode(w, (w->mode & ~15u) | ((uint32_t)i->offset & 15)); }

static bool parse_mode(inst *i, char *text)
{
    char *comma = strrchr(text, ',');
    if (!parse_hwreg(i, text)) return false;
    if (text[0] != 'h') { /* s_getreg_b32 s0, hwreg(...) */
        text[strcspn(text, ",")] = '\0';
        return decode_one(text, 'i', &i->dst, chip_now());
    }
    char *close = strchr(text, ')');
    if (!comma || comma < close) return false;
    comma += 1 + strspn(comma + 1, " ");
    if (i->op->run == setreg_imm)
        i->offset = (int32_t)strtoul(comma, NULL, 0);
    else
        return decode_one(comma, 'i', &i->src[0], chip_now());
    return true;
}

/* ---- Clocks ---- */

static void memtime(wave *w, const inst *i) { scalar_write64(w, &i->dst, (uint64_t)sim_clock * 100, 0); }

/* ---- Decoding ---- */

/* s_call_b64 s[0:1], 12 */
static bool parse_call(inst *i, char *text)
{
    char *comma = strchr(text, ',');
    if (!comma) return false;
    *comma = '\0';
    i->offset = (int16_t)strtol(comma + 1, NULL, 0);
    return decode_one(text, 'q', &i->dst, chip_now());
}

/* s_set_gpr_idx_on s4, gpr_idx(SRC0,DST) */
static bool parse_index(inst *i, char *text)
{
    static const char *const names[] = {"SRC0", "SRC1", "SRC2", "DST"};
    char *comma = strchr(text, ',');
    if (!comma) return false;
    *comma = '\0';
    for (uint32_t k = 0; k < COUNT(names); k++)
        if (strstr(comma + 1, names[k])) i->option |= 1u << k;
    return decode_one(text, 'i', &i->src[0], chip_now());
}

bool decode_control(inst *i, char *rest)
{
    switch (i->op->argument >> 8) {
    case PARSE_TARGET: i->offset = (int16_t)strtol(rest, NULL, 0); return *rest != '\0';
    case PARSE_WAIT: return parse_waits(i, rest);
    case PARSE_COUNTER: return parse_counter(i, rest);
    case PARSE_MODE: return parse_mode(i, rest);
    case PARSE_CALL: return parse_call(i, rest);
    case PARSE_INDEX: return parse_index(i, rest);
    default: return true;
    }
}

#define ROW(name, run, parse, argument) \
    { \
        "s_" name, "*", 0, run, 0, (parse) << 8 | (argument) \
    }
#define NOTHING(name) \
    { \
        name, "*", 0, nothing, 0, 0 \
    }

const op_row ops_branch[] = {
    ROW("branch", branch, PARSE_TARGET, ALWAYS),
    ROW("cbranch_scc0", branch, PARSE_TARGET, SCC0),
    ROW("cbranch_scc1", branch, PARSE_TARGET, SCC1),
    ROW("cbranch_vccz", branch, PARSE_TARGET, VCCZ),
    ROW("cbranch_vccnz", branch, PARSE_TARGET, VCCNZ),
    ROW("cbranch_execz", branch, PARSE_TARGET, EXECZ),
    ROW("cbranch_execnz", branch, PARSE_TARGET, EXECNZ),
    {"s_getpc_b64", "q:", 0, getpc, 0, 0},
    {"s_setpc_b64", ":q", 0, setpc, 0, 0},
    {"s_swappc_b64", "q:q", 0, swappc, 0, 0},
    ROW("call_b64", call, PARSE_CALL, 0),
    ROW("endpgm", endpgm, PARSE_NOTHING, 0),
    ROW("barrier", barrier, PARSE_NOTHING, 0),
    ROW("trap", stop, PARSE_NOTHING, 0),
    ROW("code_end", stop, PARSE_NOTHING, 0),
    ROW("sethalt", stop, PARSE_NOTHING, 0),
    ROW("waitcnt", waitcnt, PARSE_WAIT, 0),
    ROW("waitcnt_vmcnt", waitcnt, PARSE_COUNTER, WAIT_VM),
    ROW("waitcnt_lgkmcnt", waitcnt, PARSE_COUNTER, WAIT_LGKM),
    ROW("waitcnt_vscnt", waitcnt, PARSE_COUNTER, WAIT_VS),
    ROW("setreg_imm32_b32", setreg_imm, PARSE_MODE, 0),
    ROW("setreg_b32", setreg, PARSE_MODE, 0),
    ROW("getreg_b32", getreg, PARSE_MODE, 0),
    ROW("denorm_mode", denorm_mode, PARSE_TARGET, 0),
    ROW("round_mode", round_mode, PARSE_TARGET, 0),
    {"s_memtime", "q:", 0, memtime, 0, 0},
    {"s_memrealtime", "q:", 0, memtime, 0, 0},
    NOTHING("s_nop"),
    NOTHING("s_sleep"),
    NOTHING("s_setprio"),
    NOTHING("s_clause"),
    NOTHING("s_delay_alu"),
    NOTHING("s_sendmsg"),
    NOTHING("s_waitcnt_depctr"),
    NOTHING("s_waitcnt_expcnt"),
    NOTHING("s_set_inst_prefetch_distance"),
    NOTHING("s_inst_prefetch"),
    NOTHING("s_icache_inv"),
    NOTHING("s_dcache_inv"),
    NOTHING("s_dcache_wb"),
    NOTHING("s_gl1_inv"),
    NOTHING("s_incperflevel"),
    NOTHING("s_decperflevel"),
    NOTHING("s_ttracedata"),
    NOTHING("s_version"),
    NOTHING("s_wait_idle"),
    NOTHING("s_wakeup"),
    NOTHING("buffer_wbl2"),
    NOTHING("buffer_inv"),
    NOTHING("buffer_gl0_inv"),
    NOTHING("buffer_gl1_inv"),
    NOTHING("buffer_wbinvl1"),
    NOTHING("buffer_wbinvl1_vol"),
    NOTHING("buffer_invl2"),
    TABLE_END,
};
