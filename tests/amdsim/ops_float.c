/* Vector arithmetic on f32 and f16. f16 goes through the same functions as f32: the sources come widened, and rounding the f32
 * result of one +, -, * or sqrt again to f16 gives the same as rounding once. The fused multiply-add has its own. */
#include "lanes.h"

#pragma GCC diagnostic ignored "-Wunused-parameter"

/* ---- Helpers ---- */

/* IEEE-754 minNum and maxNum: a number beats a NaN; -0 is less than +0. */
static inline float lower(float x, float y)
{
    float m = x < y || y != y ? x : y;
    return x == 0 && y == 0 ? float_of(bits_of(x) | bits_of(y)) : m;
}
static inline float higher(float x, float y)
{
    float m = x > y || y != y ? x : y;
    return x == 0 && y == 0 ? float_of(bits_of(x) & bits_of(y)) : m;
}
static inline float middle(float x, float y, float z)
{
    if (x != x || y != y || z != z) return lower(lower(x, y), z);
    float top = higher(higher(x, y), z);
    return top == x ? higher(y, z) : top == y ? higher(x, z) : higher(x, y);
}

/* Denormals are zero, whatever the mode says: v_exp_f32 and its like, v_mad_f32, v_mac_f32. */
static inline float no_denormal(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x; }
static inline float times_zero(float x, float y) { return x == 0 || y == 0 ? 0 : x * y; /* the DirectX 9 rule */ }
static inline float unfused(float x, float y, float z)
{
    float p = no_denormal(no_denormal(x) * no_denormal(y));
    __asm__("" : "+x"(p)); /* never contracted */
    return no_denormal(p + no_denormal(z));
}
static inline float reciprocal_root(float x) { return x == 0 ? copysignf(INFINITY, x) : (float)(1 / sqrt((double)x)); }
static inline float below_one(float x) { return lower(x - floorf(x), 0x1.fffffep-1f); }
static inline float scale(float x, i32 e) { return ldexpf(x, e < -400 ? -400 : e > 400 ? 400 : e); }
static inline float significand_of(float x)
{
    int e;
    return x == 0 || x - x != 0 ? x : frexpf(x, &e);
}
static inline i32 exponent(float x)
{
    int e = 0;
    if (x == 0 || x - x != 0) return 0;
    frexpf(x, &e);
    return e;
}

/* ---- One lane each ---- */

F1(add, a + b)
F1(sub, a - b)
F1(subrev, b - a)
F1(mul, a *b)
F1(mul_legacy, times_zero(a, b))
F1(fmin_, lower(a, b))
F1(fmax_, higher(a, b))
F1(min3, lower(lower(a, b), c))
F1(max3, higher(higher(a, b), c))
F1(minmax, higher(lower(a, b), c))
F1(maxmin, lower(higher(a, b), c))
F1(med3, middle(a, b, c))
F1(fma_, __builtin_fmaf(a, b, c))
F1(fma_legacy, a == 0 || b == 0 ? c : __builtin_fmaf(a, b, c))
F1(mad, unfused(a, b, c))
F1(floor_, floorf(a))
F1(ceil_, ceilf(a))
F1(trunc_, truncf(a))
F1(rint_, rintf(a))
F1(fract, below_one(a))

F1(exp2_, no_denormal((float)exp2((double)no_denormal(a))))
F1(log2_, (float)log2((double)no_denormal(a)))
F1(rcp, no_denormal(1.0f / no_denormal(a)))
F1(rsq, reciprocal_root(no_denormal(a)))
F1(sqrt_, sqrtf(no_denormal(a)))
F1(sin_, (float)sin(6.283185307179586476925 * (double)a))
F1(cos_, (float)cos(6.283185307179586476925 * (double)a))
F1(exp2_half, (float)exp2((double)a))
F1(log2_half, (float)log2((double)a))
F1(rcp_half, 1.0f / a)
F1(rsq_half, reciprocal_root(a))
F1(sqrt_half, sqrtf(a))
F1(mantissa, significand_of(a))
LANE_FN(exponent_of, i32, f32, f32, f32, exponent(a))
LANE_FN(ldexp_, f32, f32, i32, f32, scale(a, b))
LANE_FN(ldexp_half, f32, f32, u32, f32, scale(a, (int16_t)b))
LANE_FN(exponent_half, i32, f32, f32, f32, exponent(a))

/* A sum in f64 with a sticky bit, so that the one rounding is to f16; the result is given as f32, exactly. */
F1(fma_half, half_to_float(double_to_half(add_to_odd((double)a *(double)b, (double)c))))

/* ---- Division: scale, iterate, fix (ISA manuals, V_DIV_SCALE_F32 and after) ---- */

/* The quotient's numerator or denominator (whichever the first source is), scaled where intermediate results would leave the
 * range. */
static inline float div_scaled(float s0, float s1, float s2, int *scaled)
{
    int e1 = exponent(s1), e2 = exponent(s2);
    float up = s0 * 0x1p64f, down = s0 * 0x1p-64f;
    *scaled = 0;
    if (s2 == 0 || s1 == 0) return NAN;
    if (e2 - e1 >= 96) {
        *scaled = 1;
        return s0 == s1 ? up : s0;
    }
    if (fabsf(s1) < 0x1p-126f) return up;
    bool small_inverse = e1 > 126 + 1 || fabsf(1 / s1) < 0x1p-126f, small_quotient = fabs((double)s2 / (double)s1) < 0x1p-126;
    if (small_inverse && small_quotient) {
        *scaled = 1;
        return s0 == s1 ? down : s0;
    }
    if (small_inverse) return down;
    if (small_quotient) {
        *scaled = 1;
        return s0 == s2 ? up : s0;
    }
    if (e2 <= 23 - 126) return up;
    return s0;
}

static void div_scale(void *restrict d_, const void *restrict a_, const void *restrict b_, const void *restrict c_, lane_io *io)
{
    float *d = d_;
    const float *as = a_, *bs = b_, *cs = c_;
    io->mask_out = 0;
    for (int l = 0; l < LANES; l++) {
        int scaled;
        d[l] = div_scaled(a, b, c, &scaled);
        io->mask_out |= (u64)scaled << l;
    }
}

static inline float div_fixed(float q, float denominator, float numerator)
{
    bool minus = (bits_of(denominator) ^ bits_of(numerator)) >> 31;
    float sign = minus ? -1.0f : 1.0f;
    if (numerator != numerator) return numerator;
    if (denominator != denominator) return denominator;
    if (numerator == 0 && denominator == 0) return float_of(0xffc00000u);
    if (numerator - numerator != 0 && denominator - denominator != 0) return float_of(0xffc00000u);
    if (denominator == 0 || numerator - numerator != 0) return sign * INFINITY;
    if (denominator - denominator != 0 || numerator == 0) return sign * 0.0f;
    if (exponent(numerator) - exponent(denominator) < -150) return sign * 0.0f;
    if (q != q) return sign * INFINITY; /* the iteration overflowed */
    return minus ? -fabsf(q) : fabsf(q);
}
F1(div_fixup, div_fixed(a, b, c))

/* The scaling is undone towards where the quotient, c, lies; rounded once. */
static inline float scaled_fma(float x, float y, float z)
{
    return (float)(add_to_odd((double)x * (double)y, (double)z) * (fabsf(z) >= 2 ? 0x1p64 : 0x1p-64));
}
F1(div_fmas, BIT(io->mask_in) ? scaled_fma(a, b, c) : __builtin_fmaf(a, b, c))

/* ---- Tables ---- */

#define BOTH(name, kinds32, kinds16, function, flags) \
    {"v_" name "_f32", kinds32, function, 0, flags, 0}, { "v_" name "_f16", kinds16, function, 0, flags, 0 }
#define ONE(name, kinds, function, flags) \
    { \
        "v_" name, kinds, function, 0, flags, 0 \
    }

const op_row ops_float[] = {
    BOTH("add", "f:ff", "h:hh", add, 0),
    BOTH("sub", "f:ff", "h:hh", sub, 0),
    BOTH("subrev", "f:ff", "h:hh", subrev, 0),
    BOTH("mul", "f:ff", "h:hh", mul, 0),
    BOTH("min", "f:ff", "h:hh", fmin_, 0),
    BOTH("max", "f:ff", "h:hh", fmax_, 0),
    BOTH("min3", "f:fff", "h:hhh", min3, 0),
    BOTH("max3", "f:fff", "h:hhh", max3, 0),
    BOTH("minmax", "f:fff", "h:hhh", minmax, 0),
    BOTH("maxmin", "f:fff", "h:hhh", maxmin, 0),
    BOTH("med3", "f:fff", "h:hhh", med3, 0),
    BOTH("floor", "f:f", "h:h", floor_, 0),
    BOTH("ceil", "f:f", "h:h", ceil_, 0),
    BOTH("trunc", "f:f", "h:h", trunc_, 0),
    BOTH("rndne", "f:f", "h:h", rint_, 0),
    BOTH("fract", "f:f", "h:h", fract, 0),
    BOTH("frexp_mant", "f:f", "h:h", mantissa, 0),
    ONE("frexp_exp_i32_f32", "i:f", exponent_of, 0),
    ONE("frexp_exp_i16_f16", "s:h", exponent_half, 0),
    ONE("mul_legacy_f32", "f:ff", mul_legacy, 0),
    ONE("mul_dx9_zero_f32", "f:ff", mul_legacy, 0),
    ONE("fma_f32", "f:fff", fma_, 0),
    ONE("fmac_f32", "f:fff", fma_, OP_ACC),
    ONE("fmaak_f32", "f:fff", fma_, 0),
    ONE("fmamk_f32", "f:fff", fma_, 0),
    ONE("fma_dx9_zero_f32", "f:fff", fma_legacy, 0),
    ONE("fmac_dx9_zero_f32", "f:fff", fma_legacy, OP_ACC),
    ONE("fmac_legacy_f32", "f:fff", fma_legacy, OP_ACC),
    ONE("fma_legacy_f32", "f:fff", fma_legacy, 0),
    ONE("mad_f32", "f:fff", mad, 0),
    ONE("mac_f32", "f:fff", mad, OP_ACC),
    ONE("madak_f32", "f:fff", mad, 0),
    ONE("madmk_f32", "f:fff", mad, 0),
    ONE("fma_f16", "h:hhh", fma_half, OP_KEEP_HIGH),
    ONE("fmac_f16", "h:hhh", fma_half, OP_ACC),
    ONE("fmaak_f16", "h:hhh", fma_half, 0),
    ONE("fmamk_f16", "h:hhh", fma_half, 0),
    ONE("exp_f32", "f:f", exp2_, OP_TRANS),
    ONE("log_f32", "f:f", log2_, OP_TRANS),
    ONE("rcp_f32", "f:f", rcp, OP_TRANS),
    ONE("rcp_iflag_f32", "f:f", rcp, OP_TRANS),
    ONE("rsq_f32", "f:f", rsq, OP_TRANS),
    ONE("sqrt_f32", "f:f", sqrt_, OP_TRANS),
    ONE("sin_f32", "f:f", sin_, OP_TRANS),
    ONE("cos_f32", "f:f", cos_, OP_TRANS),
    ONE("exp_f16", "h:h", exp2_half, OP_TRANS),
    ONE("log_f16", "h:h", log2_half, OP_TRANS),
    ONE("rcp_f16", "h:h", rcp_half, OP_TRANS),
    ONE("rsq_f16", "h:h", rsq_half, OP_TRANS),
    ONE("sqrt_f16", "h:h", sqrt_half, OP_TRANS),
    ONE("sin_f16", "h:h", sin_, OP_TRANS),
    ONE("cos_f16", "h:h", cos_, OP_TRANS),
    ONE("ldexp_f32", "f:fi", ldexp_, 0),
    ONE("ldexp_f16", "h:hs", ldexp_half, 0),
    ONE("div_scale_f32", "fm:fff", div_scale, 0),
    ONE("div_fmas_f32", "f:fffm", div_fmas, OP_VCC),
    ONE("div_fixup_f32", "f:fff", div_fixup, 0),
    ONE("div_fixup_f16", "h:hhh", div_fixup, OP_KEEP_HIGH),
    TABLE_END,
};
