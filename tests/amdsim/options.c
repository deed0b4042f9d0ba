/* The options of vector instructions: SDWA, DPP, VOP3 and VOP3P modifiers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"

uint32_t decode_bits(const char *text)
{
    uint32_t bits = 0;
    int at = 0;
    for (; *text && *text != ']'; text++)
        if (*text == '0' || *text == '1') bits |= (uint32_t)(*text - '0') << at++;
    return bits;
}

/* ---- DPP: the lane that each lane reads, -1 for none (ISA manuals, "DPP") ---- */

static int row_shl(int l, int n) { return l % 16 + n < 16 ? l + n : -1; }
static int row_shr(int l, int n) { return l % 16 - n >= 0 ? l - n : -1; }
static int row_ror(int l, int n) { return (l & ~15) + ((l - n) & 15); }
static int row_mirror(int l, int n)
{
    (void)n;
    return l ^ 15;
}
static int row_half_mirror(int l, int n)
{
    (void)n;
    return l ^ 7;
}
static int row_share(int l, int n) { return (l & ~15) + n; }
static int row_xmask(int l, int n) { return l ^ n; }
static int wave_shl(int l, int n) { return l + n < LANES ? l + n : -1; }
static int wave_shr(int l, int n) { return l - n >= 0 ? l - n : -1; }
static int wave_rol(int l, int n) { return (l + n) % LANES; }
static int wave_ror(int l, int n) { return (l - n + LANES) % LANES; }
/* The last lane of a row, or of a half, to all lanes of the next. */
static int row_bcast(int l, int n) { return n == 15 ? (l >= 16 ? (l & ~15) - 1 : -1) : (l >= 32 ? 31 : -1); }

static const struct {
    const char *name;
    int (*lane)(int l, int n);
} dpp_controls[] = {
    {"row_shl:", row_shl},
    {"row_shr:", row_shr},
    {"row_ror:", row_ror},
    {"row_mirror", row_mirror},
    {"row_half_mirror", row_half_mirror},
    {"row_share:", row_share},
    {"row_newbcast:", row_share},
    {"row_xmask:", row_xmask},
    {"wave_shl:", wave_shl},
    {"wave_shr:", wave_shr},
    {"wave_rol:", wave_rol},
    {"wave_ror:", wave_ror},
    {"row_bcast:", row_bcast},
};

static bool set_dpp(inst *i, const char *text)
{
    int n[8] = {0};
    int8_t *lane = malloc(LANES);
    bool quad = sscanf(text, "quad_perm:[%d,%d,%d,%d]", n, n + 1, n + 2, n + 3) == 4;
    bool eight = !quad && sscanf(text, "dpp8:[%d,%d,%d,%d,%d,%d,%d,%d]", n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6, n + 7) == 8;
    i->dpp = lane;
    if (eight) i->dpp_mask = ~0ull;
    for (int l = 0; (quad || eight) && l < LANES; l++) lane[l] = (int8_t)(quad ? (l & ~3) + n[l & 3] : (l & ~7) + n[l & 7]);
    if (quad || eight) return true;
    for (size_t k = 0; k < sizeof dpp_controls / sizeof dpp_controls[0]; k++) {
        size_t length = strlen(dpp_controls[k].name);
        if (strncmp(text, dpp_controls[k].name, length) != 0) continue;
        for (int l = 0; l < LANES; l++) lane[l] = (int8_t)dpp_controls[k].lane(l, atoi(text + length));
        return true;
    }
    free(lane);
    i->dpp = NULL;
    return false;
}

static void limit_lanes(inst *i, uint32_t rows, uint32_t banks)
{
    for (int l = 0; l < LANES; l++)
        if (!(rows >> (l / 16 % 4) & 1) || !(banks >> (l % 16 / 4) & 1)) i->dpp_mask &= ~(1ull << l);
}

/* ---- One option ---- */

static uint8_t part(const char *text)
{
    static const char *const names[] = {"DWORD", "WORD_0", "WORD_1", "BYTE_0", "BYTE_1", "BYTE_2", "BYTE_3"};
    for (uint8_t s = 0; s < sizeof names / sizeof names[0]; s++)
        if (strcmp(text, names[s]) == 0) return s;
    return SEL_DWORD;
}

enum {
    CLAMP,
    MUL,
    DIV,
    OP_SEL,
    OP_SEL_HI,
    NEG_LO,
    NEG_HI,
    DST_SEL,
    DST_UNUSED,
    SRC0_SEL,
    SRC1_SEL,
    ROW_MASK,
    BANK_MASK,
    BOUND_CTRL,
    FI,
    CBSZ,
    ABID,
    BLGP,
    NEG
};
static const char *const names[] = {
    "clamp",    "mul:",        "div:",      "op_sel:",   "op_sel_hi:", "neg_lo:",    "neg_hi:",
    "dst_sel:", "dst_unused:", "src0_sel:", "src1_sel:", "row_mask:",  "bank_mask:", "bound_ctrl:",
    "fi:",      "cbsz:",       "abid:",     "blgp:",     "neg:"};

/* VOP3's op_sel on 16-bit operands: a bit a source, then one for the result. */
static void place_halves(inst *i)
{
    for (int k = 0; k < i->sources; k++)
        if (i->sel_lo >> k & 1) i->src[k].sel = SEL_WORD1;
    if (i->sel_lo >> i->sources & 1 && (i->dst.kind == 's' || i->dst.kind == 'h')) i->dst.sel = SEL_WORD1;
}

static void set(inst *i, int which, const char *v)
{
    static const char *const unused[] = {"UNUSED_PAD", "UNUSED_SEXT", "UNUSED_PRESERVE"};
    int number = (int)strtol(v, NULL, 0);
    switch (which) {
    case CLAMP: i->flags |= M_CLAMP; break;
    case MUL: i->omod = number == 4 ? 2 : 1; break;
    case DIV: i->omod = 3; break;
    case OP_SEL: i->sel_lo = decode_bits(v); break;
    case OP_SEL_HI: i->sel_hi = decode_bits(v); break;
    case NEG_LO: i->neg_lo = decode_bits(v); break;
    case NEG_HI: i->neg_hi = decode_bits(v); break;
    case DST_SEL: i->dst_sel = part(v); break;
    case DST_UNUSED:
        for (uint8_t u = 0; u < 3; u++)
            if (strcmp(v, unused[u]) == 0) i->dst_keep = u;
        break;
    case SRC0_SEL: i->src[0].sel = part(v); break;
    case SRC1_SEL: i->src[1].sel = part(v); break;
    case ROW_MASK: limit_lanes(i, (uint32_t)number, 15); break;
    case BANK_MASK: limit_lanes(i, 15, (uint32_t)number); break;
    case BOUND_CTRL: i->dpp_zero = true; break; /* both spellings, 0 and 1, mean that it is set */
    case FI: i->dpp_inactive = number; break;
    case CBSZ: i->option |= (uint32_t)number; break;
    case ABID: i->option |= (uint32_t)number << 8; break;
    case BLGP: i->option |= (uint32_t)number << 16; break;
    case NEG: i->neg_lo = decode_bits(v); break;
    }
}

const char *decode_options(inst *i, const line *t)
{
    bool packed = i->op && i->op->flags & OP_PACKED, byte = i->dst.kind == 'b';
    i->dpp_mask = ~0ull;
    i->sel_hi = packed ? 7 : 0;
    for (int k = 0; k < t->options; k++) {
        size_t n = 0, count = sizeof names / sizeof names[0];
        while (n < count && strncmp(t->option[k], names[n], strlen(names[n])) != 0) n++;
        bool of_packed = n == OP_SEL_HI || n == NEG_LO || n == NEG_HI;
        if (of_packed && i->op && !i->op->run && !(i->op->flags & (OP_PACKED | OP_MIX)))
            return "an option that is not simulated with this instruction";
        if (n < count)
            set(i, (int)n, t->option[k] + strlen(names[n]));
        else if (!set_dpp(i, t->option[k]))
            return "an option that the simulator does not understand";
    }
    if (byte) { /* two bits of op_sel name the byte that is replaced */
        i->dst.kind = 'i';
        i->dst_sel = (uint8_t)(SEL_BYTE0 + (i->sel_lo >> 2 & 3));
        i->dst_keep = 2;
    } else if (i->op && !(i->op->flags & (OP_PACKED | OP_MIX)) && !i->op->run) {
        place_halves(i);
    }
    return NULL;
}
