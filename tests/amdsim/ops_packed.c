/* VOP3P: packed halves, packed pairs of f32, mixed precision, dot products. */
#include "lanes.h"
#include "valu.h"

#define H(x) ((int16_t)(x))

static inline float lower(float x, float y) { return x < y || y != y ? x : y; }
static inline float higher(float x, float y) { return x > y || y != y ? x : y; }
static inline u32 pick(bool first, u32 x, u32 y) { return first ? x : y; }

F1(add, a + b)
F1(mul, a *b)
F1(fma_, __builtin_fmaf(a, b, c))
F1(fma_half, half_to_float(double_to_half(add_to_odd((double)a *(double)b, (double)c))))
F1(min_, lower(a, b))
F1(max_, higher(a, b))
U1(add16, a + b)
U1(sub16, a - b)
U1(mul16, a *b)
U1(mad16, a *b + c)
U1(min_u16, pick(a < b, a, b))
U1(max_u16, pick(a > b, a, b))
U1(min_i16, pick(H(a) < H(b), a, b))
U1(max_i16, pick(H(a) > H(b), a, b))
U1(lshl16, b << (a & 15))
U1(lshr16, b >> (a & 15))
U1(ashr16, (u32)(H(b) >> (a & 15)))

/* ---- Dot products: packed parts of a and b, summed onto c ---- */

static inline float dot_f16(u32 x, u32 y, float z)
{
    return __builtin_fmaf(half_to_float(x >> 16), half_to_float(y >> 16),
                          __builtin_fmaf(half_to_float(x & 0xffff), half_to_float(y & 0xffff), z));
}
static inline float dot_bf16(u32 x, u32 y, float z)
{
    return __builtin_fmaf(bf16_to_float(x >> 16), bf16_to_float(y >> 16),
                          __builtin_fmaf(bf16_to_float(x & 0xffff), bf16_to_float(y & 0xffff), z));
}
static inline i32 part(u32 x, int index, int bits, bool is_signed)
{
    u32 top = x << (32 - bits - bits * index);
    return is_signed ? (i32)top >> (32 - bits) : (i32)(top >> (32 - bits));
}
static inline u32 dot(u32 x, u32 y, u32 z, int bits, bool sign_x, bool sign_y)
{
    for (int k = 0; k < 32 / bits; k++) z += (u32)part(x, k, bits, sign_x) * (u32)part(y, k, bits, sign_y);
    return z;
}
LANE_FN(dot2_f32_f16, f32, u32, u32, f32, dot_f16(a, b, c))
LANE_FN(dot2_f32_bf16, f32, u32, u32, f32, dot_bf16(a, b, c))
LANE_FN(dot2_f16, u32, u32, u32, u32, float_to_half(dot_f16(a, b, half_to_float(c))))
LANE_FN(dot2_bf16, u32, u32, u32, u32, float_to_bf16(dot_bf16(a, b, bf16_to_float(c))))
U1(dot2_i32_i16, dot(a, b, c, 16, true, true))
U1(dot2_u32_u16, dot(a, b, c, 16, false, false))
U1(dot4_i32_i8, dot(a, b, c, 8, true, true))
U1(dot4_u32_u8, dot(a, b, c, 8, false, false))
U1(dot4_su, dot(a, b, c, 8, true, false))
U1(dot4_us, dot(a, b, c, 8, false, true))
U1(dot8_i32_i4, dot(a, b, c, 4, true, true))
U1(dot8_u32_u4, dot(a, b, c, 4, false, false))
U1(dot8_su, dot(a, b, c, 4, true, false))
U1(dot8_us, dot(a, b, c, 4, false, true))

/* gfx11: neg_lo says which of the first two sources is signed. */
static void run_iu(wave *w, const inst *i)
{
    static lane_fn *const by_sign[2][4] = {{dot4_u32_u8, dot4_su, dot4_us, dot4_i32_i8},
                                           {dot8_u32_u4, dot8_su, dot8_us, dot8_i32_i4}};
    inst plain = *i;
    plain.lanes = by_sign[i->op->argument][i->neg_lo & 3];
    valu_run(w, &plain);
}

/* ---- Mixed: a source is f32, or by op_sel_hi a half that op_sel picks ---- */

static inst *mixed_sources(const inst *i)
{
    inst *m = inst_new();
    *m = *i;
    for (int k = 0; k < 3; k++) {
        operand *o = &m->src[k];
        bool half = i->sel_hi >> k & 1;
        o->kind = half ? 'h' : 'f';
        o->sel = half ? (i->sel_lo >> k & 1 ? SEL_WORD1 : SEL_WORD0) : SEL_DWORD;
        o->negate |= i->neg_lo >> k & 1;
        o->absolute |= i->neg_hi >> k & 1;
        if (o->where == IN_CONSTANT) o->row = constant_row((char)o->kind, o->value);
    }
    m->dst.kind = i->op->argument ? 'h' : 'f';
    if (i->op->argument) m->dst.sel = i->op->argument == 2 ? SEL_WORD1 : SEL_WORD0;
    return m;
}
static void run_mix(wave *w, const inst *i)
{
    if (!i->pair) ((inst *)i)->pair = mixed_sources(i);
    valu_run(w, i->pair);
}

#define PK(name, kinds, function, flags) \
    { \
        "v_pk_" name, kinds, function, valu_run_packed, OP_PACKED | flags, 0 \
    }
#define MIX(name, which) \
    {"v_fma_mix" name, "f:fff", fma_, run_mix, OP_MIX | OP_KEEP_HIGH, which}, \
    { \
        "v_mad_mix" name, "f:fff", fma_, run_mix, OP_MIX | OP_KEEP_HIGH, which \
    }
#define DOT(name, kinds, function) \
    { \
        "v_dot" name, kinds, function, 0, 0, 0 \
    }

const op_row ops_packed[] = {
    PK("add_f16", "h:hh", add, 0),
    PK("mul_f16", "h:hh", mul, 0),
    PK("fma_f16", "h:hhh", fma_half, 0),
    PK("min_f16", "h:hh", min_, 0),
    PK("max_f16", "h:hh", max_, 0),
    PK("add_u16", "s:ss", add16, 0),
    PK("add_i16", "s:ss", add16, 0),
    PK("sub_u16", "s:ss", sub16, 0),
    PK("sub_i16", "s:ss", sub16, 0),
    PK("mul_lo_u16", "s:ss", mul16, 0),
    PK("mad_u16", "s:sss", mad16, 0),
    PK("mad_i16", "s:sss", mad16, 0),
    PK("min_u16", "s:ss", min_u16, 0),
    PK("max_u16", "s:ss", max_u16, 0),
    PK("min_i16", "s:ss", min_i16, 0),
    PK("max_i16", "s:ss", max_i16, 0),
    PK("lshlrev_b16", "s:ss", lshl16, 0),
    PK("lshrrev_b16", "s:ss", lshr16, 0),
    PK("ashrrev_i16", "s:ss", ashr16, 0),
    PK("add_f32", "f:ff", add, OP_PACKED32),
    PK("mul_f32", "f:ff", mul, OP_PACKED32),
    PK("fma_f32", "f:fff", fma_, OP_PACKED32),
    {"v_pk_fmac_f16", "h:hhh", fma_half, valu_run_packed, OP_PACKED | OP_ACC, 0},
    MIX("_f32", 0),
    MIX("lo_f16", 1),
    MIX("hi_f16", 2),
    DOT("2_f32_f16", "f:iif", dot2_f32_f16),
    DOT("2_f32_bf16", "f:iif", dot2_f32_bf16),
    {"v_dot2c_f32_f16", "f:iif", dot2_f32_f16, 0, OP_ACC, 0},
    {"v_dot2acc_f32_f16", "f:iif", dot2_f32_f16, 0, OP_ACC, 0},
    {"v_dot2c_f32_bf16", "f:iif", dot2_f32_bf16, 0, OP_ACC, 0},
    DOT("2_f16_f16", "s:iis", dot2_f16),
    DOT("2_bf16_bf16", "s:iis", dot2_bf16),
    {"v_dot2c_i32_i16", "i:iii", dot2_i32_i16, 0, OP_ACC, 0},
    {"v_dot8c_i32_i4", "i:iii", dot8_i32_i4, 0, OP_ACC, 0},
    DOT("2_i32_i16", "i:iii", dot2_i32_i16),
    DOT("2_u32_u16", "i:iii", dot2_u32_u16),
    DOT("4_i32_i8", "i:iii", dot4_i32_i8),
    DOT("4_u32_u8", "i:iii", dot4_u32_u8),
    {"v_dot4c_i32_i8", "i:iii", dot4_i32_i8, 0, OP_ACC, 0},
    DOT("8_i32_i4", "i:iii", dot8_i32_i4),
    DOT("8_u32_u4", "i:iii", dot8_u32_u4),
    {"v_dot4_i32_iu8", "i:iii", dot4_i32_i8, run_iu, OP_MIX, 0},
    {"v_dot8_i32_iu4", "i:iii", dot8_i32_i4, run_iu, OP_MIX, 1},
    TABLE_END,
};
