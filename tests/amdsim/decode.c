/* From the disassembler's text to an inst: mnemonic to a row of a table, operands by the row's kinds, then the options. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cost.h"
#include "decode.h"
#include "half.h"
#include "lanes.h"
#include "valu.h"

#undef a
#undef b
#undef c

/* ---- The tables, hashed by name ---- */

enum { BUCKETS = 4096 };
static const op_row *bucket[BUCKETS];

static unsigned hash(const char *name)
{
    unsigned h = 2166136261u;
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 16777619u;
    return h;
}

static void enter_table(const op_row *rows)
{
    for (; rows->name; rows++) {
        unsigned at = hash(rows->name) % BUCKETS;
        while (bucket[at]) at = (at + 1) % BUCKETS;
        bucket[at] = rows;
    }
}

const op_row *op_find(const char *name)
{
    static const op_row *const tables[] = {ops_float,  ops_double,  ops_integer, ops_convert,      ops_compare,
                                           ops_packed, ops_special, ops_scalar,  ops_scalar_logic, ops_branch};
    static bool entered;
    for (size_t t = 0; !entered && t < COUNT(tables); t++) enter_table(tables[t]);
    entered = true;
    for (unsigned at = hash(name) % BUCKETS; bucket[at]; at = (at + 1) % BUCKETS)
        if (strcmp(bucket[at]->name, name) == 0) return bucket[at];
    return NULL;
}

/* ---- Operands ---- */

static const struct {
    const char *name;
    uint16_t reg, count;
} named_registers[] = {
    {"vcc", S_VCC, 2},
    {"vcc_lo", S_VCC, 1},
    {"vcc_hi", S_VCC + 1, 1},
    {"exec", S_EXEC, 2},
    {"exec_lo", S_EXEC, 1},
    {"exec_hi", S_EXEC + 1, 1},
    {"m0", S_M0, 1},
    {"flat_scratch", S_FLAT_SCRATCH, 2},
    {"flat_scratch_lo", S_FLAT_SCRATCH, 1},
    {"flat_scratch_hi", S_FLAT_SCRATCH + 1, 1},
    {"xnack_mask", S_XNACK, 2},
    {"xnack_mask_lo", S_XNACK, 1},
    {"xnack_mask_hi", S_XNACK + 1, 1},
    {"null", S_SINK, 2},
};

/* v7 a7 s7 ttmp7, or a range v[4:7]. */
static bool read_register(const char *text, operand *o)
{
    static const struct {
        const char *prefix;
        uint16_t base;
        uint8_t where;
    } files[] = {{"ttmp", S_TTMP, IN_SGPR}, {"v", 0, IN_VGPR}, {"a", ACC, IN_VGPR}, {"s", 0, IN_SGPR}};
    unsigned first, last;
    int used = 0;
    for (size_t f = 0; f < COUNT(files); f++) {
        size_t length = strlen(files[f].prefix);
        if (strncmp(text, files[f].prefix, length) != 0) continue;
        if (sscanf(text + length, "[%u:%u]%n", &first, &last, &used) != 2 || !used) {
            if (sscanf(text + length, "%u%n", &first, &used) != 1 || text[length + (size_t)used]) continue;
            last = first;
        }
        o->where = files[f].where;
        o->reg = (uint16_t)(files[f].base + first);
        o->count = (uint8_t)(last - first + 1);
        return true;
    }
    return false;
}

static bool read_named(const char *text, operand *o)
{
    for (size_t n = 0; n < COUNT(named_registers); n++) {
        if (strcmp(text, named_registers[n].name) != 0) continue;
        o->where = IN_SGPR;
        o->reg = named_registers[n].reg;
        o->count = (uint8_t)named_registers[n].count;
        return true;
    }
    return false;
}

/* The bits that a float in the text stands for, in the type of the operand. */
static uint64_t float_bits_as(double value, char kind)
{
    switch (kind) {
    case 'd':
    case 'q': return bits_of_double(value);
    case 'h':
    case 's': return float_to_half((float)value);
    default: return bits_of((float)value);
    }
}

static bool read_number(const char *text, operand *o)
{
    char *end;
    o->where = IN_CONSTANT;
    if (strchr(text, '.') && strncmp(text, "0x", 2) != 0) {
        double value = strtod(text, &end);
        if (strncmp(text, "0.15915494", 10) == 0) value = o->kind == 'd' || o->kind == 'q' ? 0.15915494309189532 : 0.15915494f;
        o->value = float_bits_as(value, (char)o->kind);
        return *end == '\0';
    }
    bool hex = strncmp(text, "0x", 2) == 0;
    o->value = hex ? strtoull(text, &end, 16) : (uint64_t)strtoll(text, &end, 10);
    if (hex && o->kind == 'd' && o->value <= 0xffffffffu) o->value <<= 32; /* a literal is the upper half */
    return end > text && *end == '\0';
}

const void *constant_row(char kind, uint64_t value)
{
    row *r = aligned_alloc(64, sizeof *r);
    for (int l = 0; l < LANES; l++) {
        if (kind == 'd' || kind == 'q')
            r->q[l] = value;
        else if (kind == 'h')
            r->f[l] = half_to_float((uint32_t)value & 0xffff);
        else
            r->u[l] = kind == 's' ? (uint32_t)value & 0xffff : (uint32_t)value;
    }
    return r;
}

static const struct {
    const char *name;
    uint64_t value;
} hardware_constants[] = {{"src_shared_base", SHARED_BASE},
                          {"src_shared_limit", SHARED_BASE + 0xffffffffu},
                          {"src_private_base", PRIVATE_BASE},
                          {"src_private_limit", PRIVATE_BASE + 0xffffffffu}};

static bool read_hardware(const char *text, operand *o)
{
    for (size_t n = 0; n < COUNT(hardware_constants); n++) {
        if (strcmp(text, hardware_constants[n].name) != 0) continue;
        o->where = IN_CONSTANT;
        o->value = o->kind == 'q' ? hardware_constants[n].value : hardware_constants[n].value >> 32;
        return true;
    }
    return false;
}

/* Takes off -x, |x|, -|x|, neg(x), abs(x), sext(x). */
static void strip_modifiers(char *text, operand *o)
{
    static const struct {
        const char *open;
        char close;
        uint8_t which;
    } wrappers[] = {{"neg(", ')', 0}, {"abs(", ')', 1}, {"sext(", ')', 2}, {"|", '|', 1}};
    bool again = true;
    while (again) {
        again = false;
        if (text[0] == '-' && !isdigit((unsigned char)text[1])) {
            o->negate = again = true;
            memmove(text, text + 1, strlen(text));
        }
        for (size_t n = 0; n < COUNT(wrappers); n++) {
            size_t length = strlen(wrappers[n].open), total = strlen(text);
            if (strncmp(text, wrappers[n].open, length) != 0 || text[total - 1] != wrappers[n].close || total <= length) continue;
            memmove(text, text + length, total - length - 1);
            text[total - length - 1] = '\0';
            *(wrappers[n].which == 0 ? &o->negate : wrappers[n].which == 1 ? &o->absolute : &o->sign_extend) = true;
            again = true;
        }
    }
}

bool decode_one(char *text, char kind, operand *o, const chip *chip)
{
    (void)chip;
    o->kind = (uint8_t)kind;
    o->count = 1;
    strip_modifiers(text, o);
    if (strcmp(text, "off") == 0) return true;
    if (read_register(text, o) || read_named(text, o)) {
        if (o->reg == S_SINK && o->where == IN_SGPR) o->count = 2;
        return true;
    }
    if (!read_hardware(text, o) && !read_number(text, o)) return false;
    o->row = constant_row(kind, o->value);
    return true;
}

/* ---- The line ---- */

/* Cuts the text at commas outside brackets, and the options, which blanks part, off the last piece. */
static void cut(line *t, char *text)
{
    int depth = 0;
    char *begin = text;
    t->count = t->options = 0;
    if (!*text) return;
    for (char *p = text;; p++) {
        if (*p == '[' || *p == '(') depth++;
        if (*p == ']' || *p == ')') depth--;
        bool end = *p == '\0', blank = *p == ' ' && depth == 0, comma = *p == ',' && depth == 0;
        if (!end && !blank && !comma) continue;
        *p = '\0';
        if (p > begin && t->count < LINE_PIECES) t->piece[t->count++] = begin;
        begin = p + 1;
        if (end) return;
        if (comma) {
            while (*begin == ' ') begin++, p++;
            continue;
        }
        for (char *o = begin; blank && *o;) { /* options to the end */
            while (*o == ' ') o++;
            if (!*o || t->options == LINE_PIECES) break;
            t->option[t->options++] = o;
            for (depth = 0; *o && (*o != ' ' || depth); o++) depth += (*o == '[' || *o == '(') - (*o == ']' || *o == ')');
            if (*o) *o++ = '\0';
        }
        return;
    }
}

/* The encoding is no part of the name, nor is VOPD's v_dual_. */
static void strip_name(char *name)
{
    if (strncmp(name, "v_dual_", 7) == 0) memmove(name + 2, name + 7, strlen(name + 7) + 1);
    static const char *const suffixes[] = {"_dpp", "_sdwa", "_e32", "_e64", "_dpp8"};
    for (int twice = 0; twice < 2; twice++)
        for (size_t s = 0; s < COUNT(suffixes); s++) {
            size_t length = strlen(name), tail = strlen(suffixes[s]);
            if (length > tail && strcmp(name + length - tail, suffixes[s]) == 0) name[length - tail] = '\0';
        }
}

/* Operands that the text leaves out: exec of a gfx11 v_cmpx, vcc of v_div_fmas, the accumulator of v_fmac. */
static bool fill_operands(inst *i, const line *t, const chip *chip)
{
    const char *kinds = i->op->kinds;
    size_t results = (size_t)(strchr(kinds, ':') - kinds), sources = strlen(kinds) - results - 1;
    int at = 0;
    operand mask = {.where = IN_SGPR, .kind = 'm', .reg = S_VCC, .count = (uint8_t)(chip->wave_size / 32)};
    if (i->op->flags & OP_CMPX && t->count == (int)sources) {
        i->dst = mask;
        i->dst.reg = S_EXEC;
    } else {
        for (size_t k = 0; k < results; k++)
            if (at >= t->count || !decode_one(t->piece[at++], kinds[k], k ? &i->dst2 : &i->dst, chip)) return false;
    }
    kinds += results + 1;
    i->sources = (uint8_t)sources;
    for (size_t k = 0; k < sources; k++) {
        if (at < t->count) {
            if (!decode_one(t->piece[at++], kinds[k], &i->src[k], chip)) return false;
        } else if (i->op->flags & OP_ACC) {
            i->src[k] = i->dst;
            i->src[k].kind = (uint8_t)kinds[k];
        } else if (kinds[k] == 'm') {
            i->src[k] = mask;
        } else {
            return false;
        }
    }
    return at == t->count;
}

static void decode_vector(inst *i, line *t, const chip *chip)
{
    if (!fill_operands(i, t, chip)) {
        i->why_not = "operands that the simulator does not understand";
        return;
    }
    const char *wrong = decode_options(i, t);
    if (wrong) {
        i->why_not = wrong;
        return;
    }
    if (i->flags & M_CLAMP && i->dst.kind != 'f' && i->dst.kind != 'h' && i->dst.kind != 'd' &&
        !(i->op->flags & (OP_PACKED | OP_MIX))) {
        char name[64];
        snprintf(name, sizeof name, "%s_sat", i->op->name);
        const op_row *saturating = op_find(name);
        if (saturating)
            i->op = saturating;
        else
            i->why_not = "clamp of an instruction that has none here";
    }
    i->lanes = i->op->lanes;
    i->run = i->op->run ? i->op->run : valu_run;
    if (strchr(i->op->kinds, 'f') && i->lanes) i->flags |= M_FLUSH32;
}

static void cannot_run(wave *w, const inst *i) { fault(w, -1, "%s", i->why_not); }

static void decode_single(inst *i, char *text, const chip *chip)
{
    char name[64];
    line t;
    size_t length = strcspn(text, " ");
    snprintf(name, sizeof name, "%.*s", (int)length, text);
    char *rest = text + length + strspn(text + length, " ");
    strip_name(name);
    i->op = op_find(name);
    if (i->op && strchr(i->op->kinds, '*')) {
        i->run = i->op->run;
        if (!decode_control(i, rest)) i->why_not = "operands that the simulator does not understand";
        return;
    }
    cut(&t, rest);
    if (i->op)
        decode_vector(i, &t, chip);
    else if (!decode_memory(i, name, &t, chip) && !decode_lds(i, name, &t, chip) && !decode_matrix(i, name, &t, chip))
        i->why_not = "unknown instruction";
}

void decode_text(inst *i, const char *text, const chip *chip)
{
    char copy[512];
    snprintf(copy, sizeof copy, "%s", text);
    char *second = strstr(copy, " :: ");
    if (second) *second = '\0';
    decode_single(i, copy, chip);
    if (second && !i->why_not) {
        i->pair = inst_new();
        decode_single(i->pair, second + 4, chip);
        i->why_not = i->pair->why_not;
        i->run = valu_run_pair;
    }
    if (i->why_not)
        i->run = cannot_run;
    else
        cost_set(i);
}
