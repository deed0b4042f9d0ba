/* f16 and fp8 to and from f32, one element, for loops that the compiler vectorises at every level.
 *
 * The results are those of core/float_bits.h. Additions in f32 stand in the place of its variable shifts and casts: that takes a
 * fifth of the time at v2, which lacks the shifts, and half to three quarters above. Integers are signed, because x86 compares
 * no others before v4. The rounding mode must be the default one. No f32 subnormal takes part, so that flushing them changes
 * nothing. */
#ifndef TRINE_CPU_SPAN_FORMATS_H
#define TRINE_CPU_SPAN_FORMATS_H

#include "core/float_bits.h"

/* A format: where its sign is, how many bits of mantissa it stores, its exponent bias. Codes have no sign here. */
typedef struct span_format {
    int sign, mantissa, bias;
    int32_t largest; /* the code that all too large ones become: a finite one, or inf in f16 */
    int32_t inf;     /* the code of inf; -1: none */
    int32_t nan;     /* the code written for NaN; codes above `inf`, or above `largest` where there is no inf, are read as NaN */
} span_format;

#define SPAN_F16 ((span_format){15, 10, 15, 0x7c00, 0x7c00, 0x7e00})
#define SPAN_E4M3FN ((span_format){7, 3, 7, 0x7e, -1, 0x7f})
#define SPAN_E5M2 ((span_format){7, 2, 15, 0x7b, 0x7c, 0x7e})
#define SPAN_E4M3FNUZ ((span_format){7, 3, 8, 0x7f, -1, 0x80})
#define SPAN_E5M2FNUZ ((span_format){7, 2, 16, 0x7f, -1, 0x80})

/* yes where the condition holds, else no: with masks, because GCC makes nested copies of everything that hangs on chained ?: */
static inline int32_t span_select(int condition, int32_t yes, int32_t no)
{
    int32_t mask = -(int32_t)condition;
    return (mask & yes) | (~mask & no);
}

/* Finite codes. A subnormal one is given an implicit bit, whose value is then subtracted. */
static inline int32_t span_widen_finite(int32_t code, span_format f)
{
    int32_t aligned = code << (23 - f.mantissa);
    int32_t unit = (128 - f.bias) << 23; /* the bits of the smallest normal number */
    float subnormal = trine_f32_of_bits((uint32_t)(aligned + unit)) - trine_f32_of_bits((uint32_t)unit);
    int32_t normal = aligned + ((127 - f.bias) << 23);
    return span_select(code < 1 << f.mantissa, (int32_t)trine_bits_of_f32(subnormal), normal);
}

static inline float span_widen(uint32_t bits, span_format f)
{
    int32_t code = (int32_t)(bits & ((1u << f.sign) - 1));
    int32_t nan = span_select(code > (f.inf < 0 ? f.largest : f.inf), (int32_t)TRINE_F32_NAN, 0);
    int32_t inf = span_select(code == f.inf, (int32_t)TRINE_F32_INF, 0);
    return trine_f32_of_bits((uint32_t)(span_widen_finite(code, f) | nan | inf) | bits >> f.sign << 31);
}

static inline float span_widen_fnuz(uint8_t bits, span_format f)
{
    int32_t value = (int32_t)trine_bits_of_f32(span_widen(bits, f));
    return trine_f32_of_bits((uint32_t)span_select(bits == 0x80, (int32_t)TRINE_F32_NAN, value));
}

/* The code for the f32 whose bits without sign are `magnitude`, not NaN. A subnormal code: a sum with a number whose last bit is
 * worth the smallest code rounds to a multiple of it. */
static inline int32_t span_narrow_finite(int32_t magnitude, span_format f)
{
    int shift = 23 - f.mantissa;
    uint32_t magic = (uint32_t)(127 + 24 - f.bias - f.mantissa) << 23;
    float sum = trine_f32_of_bits((uint32_t)magnitude) + trine_f32_of_bits(magic);
    uint32_t rounded = (uint32_t)magnitude + ((1u << (shift - 1)) - 1) + ((uint32_t)magnitude >> shift & 1);
    int32_t normal = (int32_t)(rounded >> shift) - ((127 - f.bias) << f.mantissa);
    int32_t code = span_select(magnitude < (128 - f.bias) << 23, (int32_t)(trine_bits_of_f32(sum) - magic), normal);
    return code < f.largest ? code : f.largest;
}

/* unsigned_nan: NaN's code loses its sign. unsigned_zero: so does 0. */
static inline uint32_t span_narrow(float x, span_format f, int unsigned_nan, int unsigned_zero)
{
    uint32_t bits = trine_bits_of_f32(x);
    int32_t magnitude = (int32_t)(bits & ~TRINE_F32_SIGN);
    int32_t sign = (int32_t)(bits >> 31 << f.sign);
    int32_t code = span_narrow_finite(magnitude, f);
    int32_t sign_of_code = unsigned_zero ? sign & -(int32_t)(code > 0) : sign;
    int32_t sign_of_nan = unsigned_nan ? 0 : sign;
    return (uint32_t)span_select(magnitude > (int32_t)TRINE_F32_INF, f.nan | sign_of_nan, code | sign_of_code);
}

#endif
