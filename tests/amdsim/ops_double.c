/* Vector arithmetic on f64. The hardware's rcp, rsq and sqrt of f64 are good for about 2^-27 only: so are these, lest code rely
 * on more. */
#include "lanes.h"

static inline double lower(double x, double y)
{
    double m = x < y || y != y ? x : y;
    return x == 0 && y == 0 ? double_of(bits_of_double(x) | bits_of_double(y)) : m;
}
static inline double higher(double x, double y)
{
    double m = x > y || y != y ? x : y;
    return x == 0 && y == 0 ? double_of(bits_of_double(x) & bits_of_double(y)) : m;
}
static inline double rough(double x) { return x - x != 0 ? x : double_of(bits_of_double(x) & ~((1ull << 26) - 1)); }
static inline int exponent(double x)
{
    int e = 0;
    if (x == 0 || x - x != 0) return 0;
    frexp(x, &e);
    return e;
}
static inline double significand_of(double x)
{
    int e;
    return x == 0 || x - x != 0 ? x : frexp(x, &e);
}

D1(add, a + b)
D1(mul, a *b)
D1(min_, lower(a, b))
D1(max_, higher(a, b))
D1(fma_, __builtin_fma(a, b, c))
D1(floor_, floor(a))
D1(ceil_, ceil(a))
D1(trunc_, trunc(a))
D1(rint_, rint(a))
D1(fract, lower(a - floor(a), 0x1.fffffffffffffp-1))
D1(rcp, rough(1 / a))
D1(rsq, a == 0 ? copysign(INFINITY, a) : rough(1 / sqrt(a)))
D1(sqrt_, rough(sqrt(a)))
D1(mantissa, significand_of(a))
LANE_FN(exponent_of, i32, f64, f64, f64, exponent(a))
LANE_FN(ldexp_, f64, f64, i32, f64, ldexp(a, b<-4000 ? -4000 : b> 4000 ? 4000 : b))

/* As in ops_float.c, with the numbers of f64. */
static inline double div_scaled(double s0, double s1, double s2, int *scaled)
{
    double up = s0 * 0x1p128, down = s0 * 0x1p-128;
    *scaled = 0;
    if (s2 == 0 || s1 == 0) return NAN;
    if (exponent(s2) - exponent(s1) >= 768) {
        *scaled = 1;
        return s0 == s1 ? up : s0;
    }
    if (fabs(s1) < 0x1p-1022) return up;
    bool small_inverse = fabs(1 / s1) < 0x1p-1022, small_quotient = fabs(s2 / s1) < 0x1p-1022;
    if (small_inverse && small_quotient) {
        *scaled = 1;
        return s0 == s1 ? down : s0;
    }
    if (small_inverse) return down;
    if (small_quotient) {
        *scaled = 1;
        return s0 == s2 ? up : s0;
    }
    return exponent(s2) <= 53 - 1022 ? up : s0;
}

static void div_scale(void *restrict d_, const void *restrict a_, const void *restrict b_, const void *restrict c_, lane_io *io)
{
    double *d = d_;
    const double *as = a_, *bs = b_, *cs = c_;
    io->mask_out = 0;
    for (int l = 0; l < LANES; l++) {
        int scaled;
        d[l] = div_scaled(a, b, c, &scaled);
        io->mask_out |= (u64)scaled << l;
    }
}

static inline double div_fixed(double q, double denominator, double numerator)
{
    bool minus = (bits_of_double(denominator) ^ bits_of_double(numerator)) >> 63;
    double sign = minus ? -1.0 : 1.0;
    if (numerator != numerator) return numerator;
    if (denominator != denominator) return denominator;
    if (numerator == 0 && denominator == 0) return -NAN;
    if (numerator - numerator != 0 && denominator - denominator != 0) return -NAN;
    if (denominator == 0 || numerator - numerator != 0) return sign * INFINITY;
    if (denominator - denominator != 0 || numerator == 0) return sign * 0.0;
    if (exponent(numerator) - exponent(denominator) < -1075) return sign * 0.0;
    if (q != q) return sign * INFINITY;
    return minus ? -fabs(q) : fabs(q);
}
D1(div_fixup, div_fixed(a, b, c))
D1(div_fmas, BIT(io->mask_in) ? __builtin_fma(a, b, c) * (fabs(c) >= 2 ? 0x1p128 : 0x1p-128) : __builtin_fma(a, b, c))

#define ONE(name, kinds, function, flags) \
    { \
        "v_" name "_f64", kinds, function, 0, OP_DOUBLE | flags, 0 \
    }

const op_row ops_double[] = {
    ONE("add", "d:dd", add, 0),
    ONE("mul", "d:dd", mul, 0),
    ONE("min", "d:dd", min_, 0),
    ONE("max", "d:dd", max_, 0),
    ONE("fma", "d:ddd", fma_, 0),
    ONE("fmac", "d:ddd", fma_, OP_ACC),
    ONE("floor", "d:d", floor_, 0),
    ONE("ceil", "d:d", ceil_, 0),
    ONE("trunc", "d:d", trunc_, 0),
    ONE("rndne", "d:d", rint_, 0),
    ONE("fract", "d:d", fract, 0),
    ONE("rcp", "d:d", rcp, OP_TRANS),
    ONE("rsq", "d:d", rsq, OP_TRANS),
    ONE("sqrt", "d:d", sqrt_, OP_TRANS),
    ONE("frexp_mant", "d:d", mantissa, 0),
    ONE("frexp_exp_i32", "i:d", exponent_of, 0),
    ONE("ldexp", "d:di", ldexp_, 0),
    ONE("div_scale", "dm:ddd", div_scale, 0),
    ONE("div_fmas", "d:dddm", div_fmas, OP_VCC),
    ONE("div_fixup", "d:ddd", div_fixup, 0),
    TABLE_END,
};
