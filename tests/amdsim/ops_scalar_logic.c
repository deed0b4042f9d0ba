/* Scalar logic, comparison and selection. What is undefined is followed bit by bit: masks of lanes are made of these. */
#include "lanes.h"
#include "scalar_bits.h"

#undef a
#undef b
#undef c

/* ---- Logic: a row of truth a name ---- */

static bits logic(int which, bits x, bits y)
{
    enum { AND, OR, XOR, ANDN2, ORN2, NAND, NOR, XNOR };
    if (which == ANDN2 || which == ORN2) {
        y.value = ~y.value;
        which = which == ANDN2 ? AND : OR;
    }
    bool invert = which >= NAND;
    int base = which == NAND ? AND : which == NOR ? OR : which == XNOR ? XOR : which;
    bits r = {0, x.undefined | y.undefined};
    if (base == AND)
        r = (bits){x.value & y.value, (x.undefined & y.undefined) | (x.undefined & y.value) | (y.undefined & x.value)};
    if (base == OR)
        r = (bits){x.value | y.value, (x.undefined & y.undefined) | (x.undefined & ~y.value) | (y.undefined & ~x.value)};
    if (base == XOR) r.value = x.value ^ y.value;
    if (invert) r.value = ~r.value;
    return r;
}
static void run_logic(wave *w, const inst *i)
{
    bits r = trimmed(i, logic((int)i->op->argument, get(w, i, 0), get(w, i, 1)));
    put(w, i, r);
    scc_if_not_zero(w, r);
}
static void run_not(wave *w, const inst *i)
{
    bits r = get(w, i, 0);
    r.value = ~r.value;
    r = trimmed(i, r);
    put(w, i, r);
    scc_if_not_zero(w, r);
}

/* The old exec to the result, source op exec to exec. 16: source and exec change places (andn1, orn1). */
static void run_saveexec(wave *w, const inst *i)
{
    bits source = get(w, i, 0), exec = {is_wide(&i->dst) ? EXEC(w) : w->s[S_EXEC], 0};
    bool swapped = i->op->argument & 16, back = i->op->argument & 32;
    bits r = swapped ? logic((int)(i->op->argument & 15), exec, source) : logic((int)(i->op->argument & 15), source, exec);
    r = trimmed(i, r);
    operand o = {.where = IN_SGPR, .reg = S_EXEC, .count = 2};
    put(w, i, back ? r : exec);
    if (is_wide(&i->dst))
        scalar_write64(w, &o, r.value, r.undefined);
    else
        scalar_write(w, &o, (uint32_t)r.value, (uint32_t)r.undefined);
    scc_if_not_zero(w, r);
}

/* ---- Comparison ---- */

enum { EQ, LG, GT, GE, LT, LE, SIGNED = 8, BIT0 = 16, BIT1, IMMEDIATE = 32 /* 16 bits, extended by sign */ };
static bool compare(uint32_t how, uint64_t x, uint64_t y)
{
    if (how & SIGNED) x ^= 0x80000000u, y ^= 0x80000000u;
    switch (how & 7) {
    case EQ: return x == y;
    case LG: return x != y;
    case GT: return x > y;
    case GE: return x >= y;
    case LT: return x < y;
    default: return x <= y;
    }
}
static void run_compare(wave *w, const inst *i)
{
    bits x = get(w, i, 0), y = get(w, i, 1);
    uint32_t how = i->op->argument;
    if (!is_wide(&i->src[0])) x.value &= 0xffffffffu, y.value &= 0xffffffffu;
    if (how & IMMEDIATE) y.value = (uint32_t)(int16_t)y.value;
    if (how & BIT0) {
        uint64_t bit = y.value & (is_wide(&i->src[0]) ? 63 : 31);
        set_scc(w, (x.value >> bit & 1) == how - BIT0, x.undefined >> bit & 1 || y.undefined);
        return;
    }
    uint64_t known = ~(x.undefined | y.undefined);
    bool decided = how <= LG && (x.value & known) != (y.value & known); /* differs in a bit that is known */
    set_scc(w, compare(how, x.value, y.value), known != ~0ull && !decided);
}

static void run_cselect(wave *w, const inst *i) { put(w, i, get(w, i, need_scc(w) ? 0 : 1)); }
static void run_cmov(wave *w, const inst *i)
{
    if (need_scc(w)) put(w, i, get(w, i, 0));
}

static void run_cmovk(wave *w, const inst *i)
{
    if (need_scc(w)) put(w, i, (bits){(uint32_t)(int16_t)i->src[0].value, 0});
}

#define OP(name, kinds, run, argument) \
    { \
        "s_" name, kinds, 0, run, 0, argument \
    }
#define LOGIC(name, which) OP(name "_b32", "i:ii", run_logic, which), OP(name "_b64", "q:qq", run_logic, which)
#define SAVE(name, which) \
    OP(name "_saveexec_b32", "i:i", run_saveexec, which), OP(name "_saveexec_b64", "q:q", run_saveexec, which)
#define WR(name, which) OP(name "_wrexec_b32", "i:i", run_saveexec, which), OP(name "_wrexec_b64", "q:q", run_saveexec, which)
#define CMP(name, which) \
    OP("cmp_" name "_i32", ":ii", run_compare, which | SIGNED), OP("cmp_" name "_u32", ":ii", run_compare, which), \
        OP("cmpk_" name "_i32", ":ii", run_compare, which | SIGNED | IMMEDIATE), \
        OP("cmpk_" name "_u32", ":ii", run_compare, which), OP("cmp_" name "_u64", ":qq", run_compare, which)

const op_row ops_scalar_logic[] = {
    LOGIC("and", 0),
    LOGIC("or", 1),
    LOGIC("xor", 2),
    LOGIC("andn2", 3),
    LOGIC("and_not1", 3),
    LOGIC("orn2", 4),
    LOGIC("or_not1", 4),
    LOGIC("nand", 5),
    LOGIC("nor", 6),
    LOGIC("xnor", 7),
    OP("not_b32", "i:i", run_not, 0),
    OP("not_b64", "q:q", run_not, 0),
    SAVE("and", 0),
    SAVE("or", 1),
    SAVE("xor", 2),
    SAVE("andn2", 3),
    SAVE("and_not1", 3),
    SAVE("orn2", 4),
    SAVE("or_not1", 4),
    SAVE("nand", 5),
    SAVE("nor", 6),
    SAVE("xnor", 7),
    SAVE("andn1", 16 | 3),
    SAVE("and_not0", 16 | 3),
    SAVE("orn1", 16 | 4),
    SAVE("or_not0", 16 | 4),
    WR("andn1", 48 | 3),
    WR("and_not0", 48 | 3),
    WR("andn2", 32 | 3),
    WR("and_not1", 32 | 3),
    CMP("eq", EQ),
    CMP("lg", LG),
    CMP("gt", GT),
    CMP("ge", GE),
    CMP("lt", LT),
    CMP("le", LE),
    OP("bitcmp0_b32", ":ii", run_compare, BIT0),
    OP("bitcmp1_b32", ":ii", run_compare, BIT1),
    OP("bitcmp0_b64", ":qi", run_compare, BIT0),
    OP("bitcmp1_b64", ":qi", run_compare, BIT1),
    OP("cselect_b32", "i:ii", run_cselect, 0),
    OP("cselect_b64", "q:qq", run_cselect, 0),
    OP("cmov_b32", "i:i", run_cmov, 0),
    OP("cmovk_i32", "i:i", run_cmovk, 0),
    OP("cmov_b64", "q:q", run_cmov, 0),
    TABLE_END,
};
