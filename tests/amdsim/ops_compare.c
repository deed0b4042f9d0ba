/* V_CMP and V_CMPX: all conditions of all types, and the class tests. */
#include "lanes.h"

/* clang-format off */
#define CONDITIONS_INT(type, A) \
    MASK_FN(type##_lt, A, A, a < b) \
    MASK_FN(type##_eq, A, A, a == b) \
    MASK_FN(type##_le, A, A, a <= b) \
    MASK_FN(type##_gt, A, A, a > b) \
    MASK_FN(type##_ne, A, A, a != b) \
    MASK_FN(type##_ge, A, A, a >= b)
#define CONDITIONS_FLOAT(type, A) \
    MASK_FN(type##_lt, A, A, a < b) \
    MASK_FN(type##_eq, A, A, a == b) \
    MASK_FN(type##_le, A, A, a <= b) \
    MASK_FN(type##_gt, A, A, a > b) \
    MASK_FN(type##_lg, A, A, a < b || a > b) \
    MASK_FN(type##_ge, A, A, a >= b) \
    MASK_FN(type##_o, A, A, a == a && b == b) \
    MASK_FN(type##_u, A, A, a != a || b != b) \
    MASK_FN(type##_nge, A, A, !(a >= b)) \
    MASK_FN(type##_nlg, A, A, !(a < b || a > b)) \
    MASK_FN(type##_ngt, A, A, !(a > b)) \
    MASK_FN(type##_nle, A, A, !(a <= b)) \
    MASK_FN(type##_neq, A, A, !(a == b)) \
    MASK_FN(type##_nlt, A, A, !(a < b))
/* clang-format on */

CONDITIONS_FLOAT(f, f32)
CONDITIONS_FLOAT(d, f64)
CONDITIONS_INT(u, u32)
CONDITIONS_INT(i, i32)
CONDITIONS_INT(q, u64)
CONDITIONS_INT(p, i64)
MASK_FN(never, u32, u32, false)
MASK_FN(always, u32, u32, true)
MASK_FN(h_lt, u32, u32, (int16_t)a < (int16_t)b)
MASK_FN(h_eq, u32, u32, (int16_t)a == (int16_t)b)
MASK_FN(h_le, u32, u32, (int16_t)a <= (int16_t)b)
MASK_FN(h_gt, u32, u32, (int16_t)a > (int16_t)b)
MASK_FN(h_ne, u32, u32, (int16_t)a != (int16_t)b)
MASK_FN(h_ge, u32, u32, (int16_t)a >= (int16_t)b)

/* Classes by bit: signalling NaN, quiet NaN, -inf, -normal, -denormal, -0, +0, +denormal, +normal, +inf. */
static inline u32 class_of(bool minus, bool nan, bool quiet, bool infinite, bool zero, bool small)
{
    if (nan) return quiet ? 2 : 1;
    if (infinite) return minus ? 4 : 512;
    if (zero) return minus ? 32 : 64;
    if (small) return minus ? 16 : 128;
    return minus ? 8 : 256;
}
static inline u32 class32(u32 x)
{
    u32 m = x & 0x7fffffffu;
    return class_of(x >> 31, m > 0x7f800000u, x >> 22 & 1, m == 0x7f800000u, m == 0, m < 0x800000u);
}
static inline u32 class16(float x)
{
    u32 m = bits_of(x) & 0x7fffffffu;
    return class_of(bits_of(x) >> 31, x != x, true, m == 0x7f800000u, m == 0, fabsf(x) < 0x1p-14f);
}
static inline u32 class64(u64 x)
{
    u64 m = x & ~0ull >> 1, infinity = 0x7ffull << 52;
    return class_of(x >> 63, m > infinity, x >> 51 & 1, m == infinity, m == 0, m < 1ull << 52);
}
MASK_FN(f_class, u32, u32, class32(a) & b)
MASK_FN(hf_class, f32, u32, class16(a) & b)
MASK_FN(d_class, u64, u32, class64(a) & b)

#define ROW(name, kinds, function) \
    {"v_cmp_" name, "m:" kinds, function, 0, 0, 0}, { "v_cmpx_" name, "m:" kinds, function, 0, OP_CMPX, 0 }
#define INT_ROWS(text, kinds, f) \
    ROW("lt_" text, kinds, f##_lt), ROW("eq_" text, kinds, f##_eq), ROW("le_" text, kinds, f##_le), \
        ROW("gt_" text, kinds, f##_gt), ROW("ne_" text, kinds, f##_ne), ROW("ge_" text, kinds, f##_ge), \
        ROW("f_" text, kinds, never), ROW("t_" text, kinds, always)
#define FLOAT_ROWS(text, kinds, f) \
    ROW("lt_" text, kinds, f##_lt), ROW("eq_" text, kinds, f##_eq), ROW("le_" text, kinds, f##_le), \
        ROW("gt_" text, kinds, f##_gt), ROW("lg_" text, kinds, f##_lg), ROW("ge_" text, kinds, f##_ge), \
        ROW("o_" text, kinds, f##_o), ROW("u_" text, kinds, f##_u), ROW("nge_" text, kinds, f##_nge), \
        ROW("nlg_" text, kinds, f##_nlg), ROW("ngt_" text, kinds, f##_ngt), ROW("nle_" text, kinds, f##_nle), \
        ROW("neq_" text, kinds, f##_neq), ROW("nlt_" text, kinds, f##_nlt), ROW("f_" text, kinds, never), \
        ROW("tru_" text, kinds, always), ROW("t_" text, kinds, always)

const op_row ops_compare[] = {
    FLOAT_ROWS("f32", "ff", f),
    FLOAT_ROWS("f16", "hh", f),
    FLOAT_ROWS("f64", "dd", d),
    INT_ROWS("u32", "ii", u),
    INT_ROWS("i32", "ii", i),
    INT_ROWS("u16", "ss", u),
    INT_ROWS("i16", "ss", h),
    INT_ROWS("u64", "qq", q),
    INT_ROWS("i64", "qq", p),
    ROW("class_f32", "fi", f_class),
    ROW("class_f16", "hi", hf_class),
    ROW("class_f64", "di", d_class),
    TABLE_END,
};
