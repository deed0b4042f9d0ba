/* Decoding of vector and scalar memory instructions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"
#include "smem.h"
#include "vmem.h"

/* ---- Options ---- */

static const struct {
    const char *name;
    uint16_t flag;
} flags[] = {{"glc", M_GLC}, {"sc0", M_GLC},     {"sc1", M_SC1},     {"slc", M_SLC}, {"nt", M_SLC}, {"dlc", 0},
             {"scc", 0},     {"offen", M_OFFEN}, {"idxen", M_IDXEN}, {"lds", M_LDS}, {"gds", M_GDS}};

/* offset:swizzle(SWAP,16) and the like: the pattern that ds_swizzle_b32 has in its offset. */
static int32_t swizzle_code(const char *text)
{
    int and_mask = 0x1f, or_mask = 0, xor_mask = 0, n[5] = {0};
    char pattern[8] = "";
    if (sscanf(text, "swizzle(QUAD_PERM,%d,%d,%d,%d)", n, n + 1, n + 2, n + 3) == 4)
        return 0x8000 | n[0] | n[1] << 2 | n[2] << 4 | n[3] << 6;
    if (sscanf(text, "swizzle(SWAP,%d)", n) == 1) return xor_mask = n[0], and_mask | xor_mask << 10;
    if (sscanf(text, "swizzle(REVERSE,%d)", n) == 1) return and_mask | (n[0] - 1) << 10;
    if (sscanf(text, "swizzle(BROADCAST,%d,%d)", n, n + 1) == 2) return (32 - n[0]) | n[1] << 5;
    if (sscanf(text, "swizzle(BITMASK_PERM,\"%5[01pi]\")", pattern) != 1) return (int32_t)strtol(text, NULL, 0);
    and_mask = 0;
    for (int bit = 0; bit < 5; bit++) { /* the first letter is the highest bit: 0, 1, preserve, invert */
        char letter = pattern[4 - bit];
        if (letter == 'p' || letter == 'i') and_mask |= 1 << bit;
        if (letter == '1') or_mask |= 1 << bit;
        if (letter == 'i') xor_mask |= 1 << bit;
    }
    return and_mask | or_mask << 5 | xor_mask << 10;
}

bool decode_memory_option(inst *i, const char *text)
{
    for (size_t k = 0; k < sizeof flags / sizeof flags[0]; k++) {
        if (strcmp(text, flags[k].name) != 0) continue;
        i->flags |= flags[k].flag;
        return true;
    }
    if (strncmp(text, "offset:", 7) == 0)
        i->offset = strncmp(text + 7, "swizzle", 7) == 0 ? swizzle_code(text + 7) : (int32_t)strtol(text + 7, NULL, 0);
    else if (strncmp(text, "offset0:", 8) == 0)
        i->offset = (int32_t)strtol(text + 8, NULL, 0);
    else if (strncmp(text, "offset1:", 8) == 0)
        i->offset2 = (int32_t)strtol(text + 8, NULL, 0);
    else
        return false;
    return true;
}

static void read_options(inst *i, const line *t)
{
    for (int k = 0; k < t->options; k++)
        if (!decode_memory_option(i, t->option[k])) i->why_not = "an option that the simulator does not understand";
}

/* ---- Operands: the places in the text of result, address, data, scalar address, scalar offset; -1 none ---- */

typedef struct layout {
    int8_t count, dst, address, data, scalar, offset;
} layout;

static const layout layouts[][3] = {
    [GLOBAL] = {[LOAD] = {3, 0, 1, -1, 2, -1}, [STORE] = {3, -1, 0, 1, 2, -1}, [ATOMIC] = {3, -1, 0, 1, 2, -1}},
    [FLAT] = {[LOAD] = {2, 0, 1, -1, -1, -1}, [STORE] = {2, -1, 0, 1, -1, -1}, [ATOMIC] = {2, -1, 0, 1, -1, -1}},
    [SCRATCH] = {[LOAD] = {3, 0, 1, -1, 2, -1}, [STORE] = {3, -1, 0, 1, 2, -1}},
    [BUFFER] = {[LOAD] = {4, 0, 1, -1, 2, 3}, [STORE] = {4, -1, 1, 0, 2, 3}, [ATOMIC] = {4, -1, 1, 0, 2, 3}},
};

static bool place(inst *i, line *t, const layout *l, const chip *chip)
{
    const struct {
        int at;
        operand *o;
    } places[] = {
        {l->dst, &i->dst}, {l->address, &i->src[0]}, {l->data, &i->src[1]}, {l->scalar, &i->src[2]}, {l->offset, &i->src[3]}};
    if (t->count != l->count) return false;
    for (size_t k = 0; k < sizeof places / sizeof places[0]; k++)
        if (places[k].at >= 0 && !decode_one(t->piece[places[k].at], k == 4 ? 'i' : 'v', places[k].o, chip)) return false;
    return true;
}

static bool place_all(inst *i, line *t, const mem_format *f, const chip *chip)
{
    layout l = layouts[f->space][f->what];
    if (f->what == ATOMIC && i->flags & M_GLC && f->space != BUFFER) { /* the old value comes back, in front */
        l.count++, l.address++, l.data++, l.dst = 0;
        if (l.scalar >= 0) l.scalar++;
    }
    if (i->flags & M_LDS) l.count--, l.address--, l.scalar--, l.offset--, l.dst = -1; /* to LDS: no register */
    if (f->space == BUFFER && t->count == l.count - 1)                                /* some texts leave `off` out */
        l.count--, l.scalar--, l.offset--, l.address = -1;
    if (!place(i, t, &l, chip)) return false;
    if (f->what == ATOMIC && i->flags & M_GLC && f->space == BUFFER) i->dst = i->src[1];
    return true;
}

/* ---- Names ---- */

static const struct {
    const char *prefix;
    uint8_t space;
} spaces[] = {{"global_", GLOBAL}, {"flat_", FLAT}, {"scratch_", SCRATCH}, {"buffer_", BUFFER}};
static const struct {
    const char *prefix;
    uint8_t what;
} actions[] = {{"load_", LOAD}, {"store_", STORE}, {"atomic_", ATOMIC}};

static const mem_format *parse_name(inst *i, const char *name)
{
    for (size_t s = 0; s < sizeof spaces / sizeof spaces[0]; s++) {
        size_t length = strlen(spaces[s].prefix);
        if (strncmp(name, spaces[s].prefix, length) != 0) continue;
        for (size_t k = 0; k < sizeof actions / sizeof actions[0]; k++) {
            size_t more = strlen(actions[k].prefix);
            const char *rest = name + length + more;
            if (strncmp(name + length, actions[k].prefix, more) != 0) continue;
            if (strncmp(rest, "lds_", 4) == 0) rest += 4, i->flags |= M_LDS;
            const mem_format *f = actions[k].what == ATOMIC ? atomic_of(rest) : format_of(rest);
            return f ? format_copy(f, actions[k].what, spaces[s].space) : NULL;
        }
    }
    return NULL;
}

static const uint8_t units[] = {[LOAD] = UNIT_LOAD, [STORE] = UNIT_STORE, [ATOMIC] = UNIT_ATOMIC};

bool decode_memory(inst *i, const char *name, line *t, const chip *chip)
{
    if (decode_smem(i, name, t, chip)) return true;
    const mem_format *f = parse_name(i, name);
    if (!f) return false;
    read_options(i, t);
    i->format = f;
    i->run = vmem_run;
    i->unit = units[f->what];
    if (!place_all(i, t, f, chip)) i->why_not = "operands that the simulator does not understand";
    return true;
}
