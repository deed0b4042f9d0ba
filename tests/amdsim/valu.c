/* Vector instructions: see valu.h. The order of an operand's way is that of the manuals: DPP, SDWA's or op_sel's part, then abs
 * and neg. */
#include "valu.h"

#include <immintrin.h>
#include <stdlib.h>
#include <string.h>

#include "half.h"

/* ---- Sources ---- */

void valu_check(wave *w, const operand *o)
{
    for (unsigned k = 0; k < o->count; k++) {
        if (o->where == IN_VGPR && w->v_pending[o->reg + k])
            fault(w, -1, "%c%u is used before the s_waitcnt of the load into it", o->reg + k >= ACC ? 'a' : 'v',
                  (o->reg + k) % ACC);
        if (o->where == IN_SGPR && w->s_pending[o->reg + k])
            fault(w, -1, "s%u is used before the s_waitcnt of the load into it", o->reg + k);
    }
}

static inline void check(wave *w, const operand *o)
{
    if (o->where == IN_VGPR ? w->v_pending[o->reg] | (o->count > 1 ? w->v_pending[o->reg + 1] : 0) : w->s_pending[o->reg])
        valu_check(w, o);
}

/* A lane of the row that is switched off gives 0 on the chip; here that is undefined, as in ds_bpermute. */
static void permute(wave *w, const inst *i, uint32_t *values, uint64_t *undefined)
{
    uint32_t in[LANES];
    uint64_t was = *undefined, exec = EXEC(w);
    memcpy(in, values, sizeof in);
    *undefined = 0;
    for (int l = 0; l < LANES; l++) {
        int from = i->dpp[l];
        bool valid = from >= 0 && (i->dpp_inactive || exec >> from & 1);
        values[l] = valid ? in[from] : 0;
        if (from >= 0) *undefined |= (valid ? was >> from & 1 : 1) << l;
    }
}

static void select_part(uint32_t *v, int sel, bool sign)
{
    static const uint8_t shift[] = {0, 0, 16, 0, 8, 16, 24}, width[] = {32, 16, 16, 8, 8, 8, 8};
    int s = shift[sel], n = width[sel];
    for (int l = 0; l < LANES; l++) {
        uint32_t x = v[l] << (32 - n - s);
        v[l] = sign ? (uint32_t)((int32_t)x >> (32 - n)) : x >> (32 - n);
    }
}

static void change_sign(uint32_t *v, const operand *o)
{
    uint32_t keep = o->absolute ? 0x7fffffffu : ~0u, flip = o->negate ? 0x80000000u : 0;
    for (int l = 0; l < LANES; l++) v[l] = (v[l] & keep) ^ flip;
}

static void change_sign64(uint64_t *v, const operand *o)
{
    uint64_t keep = o->absolute ? ~0ull >> 1 : ~0ull, flip = o->negate ? 1ull << 63 : 0;
    for (int l = 0; l < LANES; l++) v[l] = (v[l] & keep) ^ flip;
}

/* Of a pair of registers, the lanes where the lower one is undefined; and where any is. */
static const void *fetch64(wave *w, const operand *o, row *room, uint64_t *undefined, uint64_t *low_undefined)
{
    if (o->where == IN_VGPR) {
        const uint32_t *low = w->v[o->reg], *high = w->v[o->reg + 1];
        for (int l = 0; l < LANES; l++) room->q[l] = low[l] | (uint64_t)high[l] << 32;
        *undefined = w->v_undef[o->reg] | w->v_undef[o->reg + 1];
        *low_undefined = w->v_undef[o->reg];
    } else if (o->where == IN_SGPR) {
        uint64_t bits, value = scalar_read64(w, o, &bits);
        for (int l = 0; l < LANES; l++) room->q[l] = value;
        *undefined = bits ? ~0ull : 0;
        *low_undefined = (uint32_t)bits ? ~0ull : 0;
    } else {
        *undefined = *low_undefined = 0;
        memcpy(room->q, o->row, sizeof room->q);
    }
    if (o->negate | o->absolute) change_sign64(room->q, o);
    return room;
}

static void to_float(row *r)
{
    for (int l = 0; l < LANES; l++) r->f[l] = half_to_float(r->u[l]);
}

/* A source of at most 32 bits that is not simply a register: dpp only for the first source. */
static const void *fetch_changed(wave *w, const inst *i, const operand *o, bool dpp, row *room, uint64_t *undefined)
{
    if (o->where == IN_VGPR) {
        memcpy(room->u, w->v[o->reg], sizeof room->u);
        *undefined = w->v_undef[o->reg];
    } else if (o->where == IN_SGPR) {
        uint32_t bits, value = scalar_read(w, o, &bits);
        for (int l = 0; l < LANES; l++) room->u[l] = value;
        *undefined = bits ? ~0ull : 0;
    } else {
        memcpy(room->u, o->row, sizeof room->u);
        *undefined = 0;
        if (o->negate | o->absolute) change_sign(room->u, o);
        return room;
    }
    if (dpp) permute(w, i, room->u, undefined);
    int sel = o->sel == SEL_DWORD && (o->kind == 'h' || o->kind == 's') ? SEL_WORD0 : o->sel;
    if (sel != SEL_DWORD) select_part(room->u, sel, o->sign_extend);
    if (o->kind == 'h') to_float(room);
    if (o->negate | o->absolute) change_sign(room->u, o);
    return room;
}

static inline const void *fetch(wave *w, const inst *i, int index, row *room, uint64_t *undefined, uint64_t *low_undefined)
{
    const operand *o = &i->src[index];
    bool dpp = i->dpp && index == 0, plain = o->kind == 'f' || o->kind == 'i';
    if (o->where != IN_CONSTANT) check(w, o);
    if (o->kind == 'd' || o->kind == 'q') return fetch64(w, o, room, undefined, low_undefined);
    if (plain && !dpp && !(o->negate | o->absolute | o->sel)) {
        if (o->where == IN_VGPR) {
            *undefined = w->v_undef[o->reg];
            return w->v[o->reg];
        }
        if (o->where == IN_CONSTANT) {
            *undefined = 0;
            return o->row;
        }
    }
    return fetch_changed(w, i, o, dpp, room, undefined);
}

const uint32_t *valu_read(wave *w, const inst *i, const operand *o, row *room, uint64_t *undefined)
{
    if (o->where != IN_CONSTANT) check(w, o);
    return fetch_changed(w, i, o, false, room, undefined);
}

/* ---- Results ---- */

typedef struct result {
    row value;
    uint64_t mask, undefined, lanes;
    uint64_t low_undefined; /* of the lower half of a 64-bit result */
} result;

void valu_write(wave *w, unsigned reg, const uint32_t *values, uint64_t lanes, uint64_t undefined)
{
    uint32_t *d = w->v[reg];
    if (w->v_pending[reg]) fault(w, -1, "%c%u is written while a load into it is under way", reg >= ACC ? 'a' : 'v', reg % ACC);
    if (lanes == w->all_lanes) {
        memcpy(d, values, LANES * sizeof *d);
    } else {
        uint8_t write[LANES];
        spread_lanes(lanes, write);
        for (int l = 0; l < LANES; l++) d[l] = write[l] ? values[l] : d[l];
    }
    w->v_undef[reg] = (w->v_undef[reg] & ~lanes) | (undefined & lanes);
}

/* A mask goes to scalar registers; lanes outside exec give 0. */
static void write_mask(wave *w, const inst *i, const operand *o, uint64_t mask, uint64_t undefined)
{
    uint64_t exec = EXEC(w);
    mask &= exec;
    undefined &= exec;
    if (i->op->flags & OP_CMPX) {
        if (undefined) fault(w, __builtin_ctzll(undefined), "an undefined value decides exec");
        EXEC(w) = mask;
        if (o->reg == S_EXEC) return;
    }
    if (w->kernel->wave_size == 64)
        scalar_write64(w, o, mask, undefined);
    else
        scalar_write(w, o, (uint32_t)mask, (uint32_t)undefined);
}

static void write_part(wave *w, const inst *i, result *r, int shift, uint32_t bits, bool keep)
{
    uint32_t *d = w->v[i->dst.reg];
    uint32_t all = bits << shift;
    for (int l = 0; l < LANES; l++) {
        uint32_t value = (r->value.u[l] & bits) << shift;
        r->value.u[l] = keep ? (d[l] & ~all) | value : value;
    }
    valu_write(w, i->dst.reg, r->value.u, r->lanes, r->undefined);
}

static void write_16(wave *w, const inst *i, result *r)
{
    bool keep = chip_now()->high_half_kept || i->op->flags & OP_KEEP_HIGH;
    if (i->dst.sel == SEL_WORD1)
        write_part(w, i, r, 16, 0xffff, true);
    else
        write_part(w, i, r, 0, 0xffff, keep);
}

static void write_sdwa(wave *w, const inst *i, result *r)
{
    static const uint8_t shift[] = {0, 0, 16, 0, 8, 16, 24};
    static const uint32_t bits[] = {~0u, 0xffff, 0xffff, 0xff, 0xff, 0xff, 0xff};
    enum { PAD, SEXT, PRESERVE };
    if (i->dst_keep == SEXT) {
        select_part(r->value.u, i->dst_sel, true);
        for (int l = 0; l < LANES; l++) r->value.u[l] <<= shift[i->dst_sel];
        valu_write(w, i->dst.reg, r->value.u, r->lanes, r->undefined);
    } else {
        write_part(w, i, r, shift[i->dst_sel], bits[i->dst_sel], i->dst_keep == PRESERVE);
    }
}

static void write_64(wave *w, const inst *i, const result *r)
{
    uint32_t low[LANES], high[LANES];
    for (int l = 0; l < LANES; l++) {
        low[l] = (uint32_t)r->value.q[l];
        high[l] = (uint32_t)(r->value.q[l] >> 32);
    }
    valu_write(w, i->dst.reg, low, r->lanes, r->low_undefined);
    valu_write(w, i->dst.reg + 1u, high, r->lanes, r->undefined);
}

/* Output modifiers of floats; NaN clamps to 0 (dx10_clamp, which the compiler always sets). */
static void modify(const inst *i, result *r)
{
    static const float factor[] = {1, 2, 4, 0.5f};
    if (i->dst.kind == 'd') {
        for (int l = 0; l < LANES; l++) {
            double x = r->value.d[l] * factor[i->omod];
            r->value.d[l] = i->flags & M_CLAMP ? (x > 0 ? (x < 1 ? x : 1) : 0) : x;
        }
        return;
    }
    for (int l = 0; l < LANES; l++) {
        float x = r->value.f[l] * factor[i->omod];
        r->value.f[l] = i->flags & M_CLAMP ? (x > 0 ? (x < 1 ? x : 1) : 0) : x;
    }
}

static void to_half(result *r)
{
    for (int l = 0; l < LANES; l++) r->value.u[l] = float_to_half(r->value.f[l]);
}

static void commit(wave *w, const inst *i, result *r)
{
    bool is_float = i->dst.kind == 'f' || i->dst.kind == 'd' || i->dst.kind == 'h';
    if (is_float && (i->omod || i->flags & M_CLAMP)) modify(i, r);
    switch (i->dst.kind) {
    case 'm': write_mask(w, i, &i->dst, r->mask, r->undefined); return;
    case 'd':
    case 'q': write_64(w, i, r); break;
    case 'h': to_half(r); /* fall through */
    case 's':
        if (i->dst_sel || i->dst_keep)
            write_sdwa(w, i, r);
        else
            write_16(w, i, r);
        break;
    default:
        if (i->dst_sel || i->dst_keep)
            write_sdwa(w, i, r);
        else
            valu_write(w, i->dst.reg, r->value.u, r->lanes, r->undefined);
    }
    if (i->dst2.kind == 'm') write_mask(w, i, &i->dst2, r->mask, r->undefined);
}

/* ---- Execution ---- */

static uint64_t undefined_of(const inst *i, const uint64_t *each, uint64_t mask, uint64_t mask_undefined)
{
    uint64_t any = mask_undefined, all = ~0ull;
    bool registers = false;
    if (i->op->flags & OP_SELECT) return mask_undefined | (mask & each[1]) | (~mask & each[0]);
    for (int k = 0; k < i->sources; k++) {
        any |= each[k];
        if (i->src[k].where != IN_VGPR) continue;
        all &= each[k];
        registers = true;
    }
    return i->op->flags & OP_MERGE ? (registers ? all : 0) : any;
}

static void run_lanes(const wave *w, const inst *i, void *d, const void **p, lane_io *io)
{
    enum { DENORMALS_ARE_ZERO = 0x40, FLUSH_TO_ZERO = 0x8000 };
    uint32_t keeps = w->mode >> 4 & 3; /* f32 denormals: bit 0 of sources, bit 1 of results */
    if (!(i->flags & M_FLUSH32) || keeps == 3) {
        i->lanes(d, p[0], p[1], p[2], io);
        return;
    }
    unsigned before = _mm_getcsr();
    _mm_setcsr(before | (keeps & 1 ? 0 : DENORMALS_ARE_ZERO) | (keeps & 2 ? 0 : FLUSH_TO_ZERO));
    i->lanes(d, p[0], p[1], p[2], io);
    _mm_setcsr(before);
}

static uint64_t read_mask(wave *w, const operand *o, uint64_t *undefined)
{
    if (w->kernel->wave_size == 64) return scalar_read64(w, o, undefined);
    uint32_t bits, value = scalar_read(w, o, &bits);
    *undefined = bits;
    return value;
}

static void compute(wave *w, const inst *i, result *r)
{
    row room[3];
    const void *p[3] = {NULL, NULL, NULL};
    uint64_t each[4] = {0, 0, 0, 0}, low[4] = {0, 0, 0, 0}, low_any = 0, mask_undefined = 0;
    lane_io io = {.exec = EXEC(w)};
    for (int k = 0; k < i->sources; k++) {
        if (i->src[k].kind == 'm')
            io.mask_in = read_mask(w, &i->src[k], &mask_undefined);
        else {
            low[k] = ~0ull;
            p[k] = fetch(w, i, k, &room[k], &each[k], &low[k]);
            low_any |= low[k] & each[k];
        }
    }
    run_lanes(w, i, &r->value, p, &io);
    r->mask = io.mask_out;
    r->undefined = undefined_of(i, each, io.mask_in, mask_undefined & io.exec);
    r->low_undefined = i->op->flags & OP_UPWARD ? low_any : r->undefined;
    r->lanes = io.exec;
    if (!i->dpp) return;
    r->lanes &= i->dpp_mask;
    if (i->dpp_zero) return;
    for (int l = 0; l < LANES; l++) /* without a lane to read and without bound_ctrl nothing is written */
        if (i->dpp[l] < 0 || !(i->dpp_inactive || io.exec >> i->dpp[l] & 1)) r->lanes &= ~(1ull << l);
}

void valu_run(wave *w, const inst *i)
{
    result r;
    compute(w, i, &r);
    commit(w, i, &r);
}

/* VOPD: both halves read before either writes. */
void valu_run_pair(wave *w, const inst *i)
{
    result first, second;
    compute(w, i, &first);
    compute(w, i->pair, &second);
    commit(w, i, &first);
    commit(w, i->pair, &second);
}

/* The instruction as it is for one half: each source's half chosen by op_sel or op_sel_hi. */
static inst *half_of(const inst *i, int h)
{
    inst *part = inst_new();
    bool wide = i->op->flags & OP_PACKED32;
    uint32_t sel = h ? i->sel_hi : i->sel_lo, negate = h ? i->neg_hi : i->neg_lo;
    *part = *i;
    for (int k = 0; k < part->sources; k++) {
        operand *o = &part->src[k];
        bool high = sel >> k & 1;
        o->negate |= negate >> k & 1;
        if (wide && o->where == IN_CONSTANT) continue;
        if (wide)
            o->reg = (uint16_t)(o->reg + high), o->count = 1;
        else
            o->sel = high ? SEL_WORD1 : SEL_WORD0;
        if (o->where == IN_CONSTANT && high) o->row = constant_row((char)o->kind, o->value >> 16 & 0xffff);
    }
    return part;
}

/* VOP3P: once a half; for packed f32 the halves are the registers of pairs. */
void valu_run_packed(wave *w, const inst *i)
{
    result half[2];
    bool wide = i->op->flags & OP_PACKED32;
    if (!i->pair) {
        ((inst *)i)->pair = half_of(i, 0);
        i->pair->pair = half_of(i, 1);
    }
    for (int h = 0; h < 2; h++) {
        compute(w, h ? i->pair->pair : i->pair, &half[h]);
        if (i->flags & M_CLAMP && i->dst.kind != 's') modify(i, &half[h]);
        if (i->dst.kind == 'h') to_half(&half[h]);
    }
    if (wide) {
        for (unsigned h = 0; h < 2; h++) valu_write(w, i->dst.reg + h, half[h].value.u, half[h].lanes, half[h].undefined);
        return;
    }
    for (int l = 0; l < LANES; l++) half[0].value.u[l] = (half[0].value.u[l] & 0xffff) | half[1].value.u[l] << 16;
    valu_write(w, i->dst.reg, half[0].value.u, half[0].lanes, half[0].undefined & half[1].undefined);
}
