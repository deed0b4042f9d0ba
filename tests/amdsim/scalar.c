/* Reading and writing scalar registers. */
#include "valu.h"

static void check(wave *w, const operand *o)
{
    if (o->where == IN_SGPR && (w->s_pending[o->reg] | (o->count > 1 ? w->s_pending[o->reg + 1] : 0))) valu_check(w, o);
}

uint32_t scalar_read(wave *w, const operand *o, uint32_t *undefined)
{
    *undefined = 0;
    if (o->where == IN_CONSTANT) return (uint32_t)o->value;
    check(w, o);
    if (o->reg == S_SINK) return 0;
    *undefined = w->s_undef[o->reg];
    return w->s[o->reg];
}

uint64_t scalar_read64(wave *w, const operand *o, uint64_t *undefined)
{
    *undefined = 0;
    if (o->where == IN_CONSTANT) return o->value;
    check(w, o);
    if (o->reg == S_SINK) return 0;
    *undefined = w->s_undef[o->reg] | (uint64_t)w->s_undef[o->reg + 1] << 32;
    return w->s[o->reg] | (uint64_t)w->s[o->reg + 1] << 32;
}

static void check_exec(wave *w, unsigned reg, uint32_t undefined)
{
    if (undefined && (reg == S_EXEC || reg == S_EXEC + 1)) fault(w, __builtin_ctz(undefined), "an undefined value decides exec");
}

void scalar_write(wave *w, const operand *o, uint32_t value, uint32_t undefined)
{
    if (w->s_pending[o->reg]) fault(w, -1, "s%u is written while a load into it is under way", o->reg);
    check_exec(w, o->reg, undefined);
    w->s[o->reg] = value;
    w->s_undef[o->reg] = undefined;
}

void scalar_write64(wave *w, const operand *o, uint64_t value, uint64_t undefined)
{
    operand high = *o;
    high.reg++;
    scalar_write(w, o, (uint32_t)value, (uint32_t)undefined);
    scalar_write(w, &high, (uint32_t)(value >> 32), (uint32_t)(undefined >> 32));
}

uint32_t scalar_need(wave *w, const operand *o, const char *use)
{
    uint32_t undefined, value = scalar_read(w, o, &undefined);
    if (undefined) fault(w, -1, "an undefined scalar register decides %s", use);
    return value;
}

uint64_t scalar_need64(wave *w, const operand *o, const char *use)
{
    uint64_t undefined, value = scalar_read64(w, o, &undefined);
    if (undefined) fault(w, -1, "an undefined scalar register decides %s", use);
    return value;
}
