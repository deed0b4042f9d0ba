/* Every conversion between float formats that the hardware may lack, by integer arithmetic.
 *
 * One implementation for host and device: C11, CUDA C++ and HIP C++. A device target defines TRINE_INLINE before it includes
 * this file, say as `static __host__ __device__ __forceinline__`. Nothing here depends on the FP environment (rounding mode,
 * flush to zero) or on -ffast-math: values are compared and rounded as bits, and the few int <-> float casts are exact or
 * truncating by definition. Code is branch-free where that lets a compiler vectorise loops over it.
 * What the conversions promise (rounding, NaN, saturation) is said in trine/dtype.h. */
#ifndef TRINE_CORE_FLOAT_BITS_H
#define TRINE_CORE_FLOAT_BITS_H

#include <stdint.h>

#ifndef TRINE_INLINE
#define TRINE_INLINE static inline
#endif

/* Defines `to name(from)`, which keeps the bits. */
#define TRINE_BITCAST(name, from, to) \
    TRINE_INLINE to name(from value) \
    { \
        to result; \
        __builtin_memcpy(&result, &value, sizeof result); \
        return result; \
    }

TRINE_BITCAST(trine_bits_of_f32, float, uint32_t)
TRINE_BITCAST(trine_f32_of_bits, uint32_t, float)
TRINE_BITCAST(trine_bits_of_f64, double, uint64_t)
TRINE_BITCAST(trine_f64_of_bits, uint64_t, double)

#define TRINE_F32_SIGN 0x80000000u
#define TRINE_F32_INF 0x7f800000u
#define TRINE_F32_NAN 0x7fc00000u
#define TRINE_F64_SIGN 0x8000000000000000u
#define TRINE_F64_INF 0x7ff0000000000000u

/* ---- The two directions for any format with `mantissa` stored bits and exponent bias `bias` (7 to 16) ---- */

/* A code without its sign, read as a finite number, as the bits of an f32. Special codes are the caller's. The significand is
 * exact as a float, and the scale goes straight into its exponent. Comparisons are used as numbers, because GCC turns `?:` into
 * jumps around the cast (an FP operation might trap), and then does not vectorise. */
TRINE_INLINE uint32_t trine_bits_widen(uint32_t code, int mantissa, int bias)
{
    uint32_t exponent = code >> mantissa;
    uint32_t subnormal = exponent == 0;
    uint32_t significand = (code & ((1u << mantissa) - 1)) | (subnormal ^ 1u) << mantissa;
    uint32_t scale = (exponent + subnormal - (uint32_t)(bias + mantissa)) << 23;
    uint32_t nonzero = 0u - (uint32_t)(significand != 0);
    return trine_bits_of_f32((float)(int32_t)significand) + (scale & nonzero);
}

/* The code, without sign, of the f32 whose bits without sign are `magnitude`: to nearest, ties to even, at most `largest`.
 * Codes grow with their values, so a carry out of the fraction lands in the exponent by itself. Not for NaN. An f32
 * subnormal gets an implicit bit that it lacks; it is far below every half of a smallest code and gives 0 all the same. */
TRINE_INLINE uint32_t trine_bits_narrow(uint32_t magnitude, int mantissa, int bias, uint32_t largest)
{
    int32_t exponent = (int32_t)(magnitude >> 23) - 127 + bias;
    int32_t base = exponent > 1 ? exponent : 1;
    int32_t shift = 23 - mantissa + base - exponent;
    shift = shift < 25 ? shift : 25; /* 25: everything rounds to 0 from there on */
    uint32_t full = (magnitude & 0x7fffffu) | 0x800000u;
    uint32_t odd = (full >> shift) & 1u;
    uint32_t rounded = (full + (1u << (shift - 1)) - 1u + odd) >> shift;
    uint32_t code = rounded + ((uint32_t)(base - 1) << mantissa);
    return code < largest ? code : largest;
}

/* ---- f16, bf16 ---- */

/* A signalling NaN comes out quiet, as from hardware. */
TRINE_INLINE float trine_bits_f16_to_f32(uint16_t bits)
{
    uint32_t magnitude = bits & 0x7fffu;
    uint32_t infinite = magnitude == 0x7c00u ? TRINE_F32_INF : 0;
    uint32_t special = magnitude > 0x7c00u ? TRINE_F32_NAN : infinite;
    return trine_f32_of_bits(trine_bits_widen(magnitude, 10, 15) | special | (uint32_t)(bits & 0x8000u) << 16);
}

TRINE_INLINE uint16_t trine_bits_f32_to_f16(float value)
{
    uint32_t bits = trine_bits_of_f32(value);
    uint32_t magnitude = bits & ~TRINE_F32_SIGN;
    uint32_t code = trine_bits_narrow(magnitude, 10, 15, 0x7c00u);
    code = magnitude > TRINE_F32_INF ? 0x7e00u : code;
    return (uint16_t)(code | (bits >> 16 & 0x8000u));
}

TRINE_INLINE float trine_bits_bf16_to_f32(uint16_t bits) { return trine_f32_of_bits((uint32_t)bits << 16); }

TRINE_INLINE uint16_t trine_bits_f32_to_bf16(float value)
{
    uint32_t bits = trine_bits_of_f32(value);
    uint32_t code = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    uint32_t nan = 0x7fc0u | (bits >> 16 & 0x8000u);
    return (uint16_t)((bits & ~TRINE_F32_SIGN) > TRINE_F32_INF ? nan : code);
}

/* ---- fp8: e5 chooses e5m2 over e4m3, fnuz AMD's MI300 encoding over OCP's; fastest where both are constants ---- */

TRINE_INLINE float trine_bits_f8_to_f32(uint8_t bits, int e5, int fnuz)
{
    uint32_t magnitude = bits & 0x7fu;
    uint32_t last = e5 ? 0x7cu : 0x7eu; /* in the OCP formats all codes above are NaN, and in e5m2 this one is inf */
    uint32_t infinite = e5 && magnitude == last ? TRINE_F32_INF : 0;
    uint32_t ocp = magnitude > last ? TRINE_F32_NAN : infinite;
    uint32_t amd = bits == 0x80u ? TRINE_F32_NAN : 0;
    uint32_t sign = fnuz && magnitude == 0 ? 0 : (uint32_t)(bits & 0x80u) << 24;
    uint32_t wide = trine_bits_widen(magnitude, e5 ? 2 : 3, (e5 ? 15 : 7) + (fnuz ? 1 : 0));
    return trine_f32_of_bits(wide | sign | (fnuz ? amd : ocp)); /* a special one sets bits, so that nothing jumps */
}

TRINE_INLINE uint8_t trine_bits_f32_to_f8(float value, int e5, int fnuz)
{
    uint32_t bits = trine_bits_of_f32(value);
    uint32_t magnitude = bits & ~TRINE_F32_SIGN;
    uint32_t largest = fnuz ? 0x7fu : e5 ? 0x7bu : 0x7eu;
    uint32_t nan = fnuz ? 0x80u : e5 ? 0x7eu : 0x7fu;
    uint32_t code = trine_bits_narrow(magnitude, e5 ? 2 : 3, (e5 ? 15 : 7) + (fnuz ? 1 : 0), largest);
    uint32_t sign = fnuz && code == 0 ? 0 : bits >> 24 & 0x80u; /* fnuz has no -0 */
    return (uint8_t)(magnitude > TRINE_F32_INF ? nan : code | sign);
}

/* ---- Round to odd: an inexact result gets its last bit set ----
 *
 * Such an f32 lies on the right side of every rounding boundary of the narrower formats, so that rounding it again equals one
 * rounding of the source. Beyond the f32 range a finite source gives the largest finite f32 (which is odd); inf stays inf,
 * NaN stays NaN. */

TRINE_INLINE float trine_bits_f64_to_f32_odd(double value)
{
    uint64_t bits = trine_bits_of_f64(value);
    uint64_t magnitude = bits & ~TRINE_F64_SIGN;
    int32_t exponent = (int32_t)(magnitude >> 52) - 1023 + 127;
    int32_t base = exponent > 1 ? exponent : 1;
    int32_t shift = 29 + base - exponent;
    shift = shift < 60 ? shift : 60;
    uint64_t implicit = magnitude >> 52 ? (uint64_t)1 << 52 : 0;
    uint64_t full = (magnitude & (((uint64_t)1 << 52) - 1)) | implicit;
    uint64_t sticky = (full & (((uint64_t)1 << shift) - 1)) != 0;
    uint64_t code = ((full >> shift) + ((uint64_t)(base - 1) << 23)) | sticky;
    uint32_t finite = code < TRINE_F32_INF ? (uint32_t)code : TRINE_F32_INF - 1;
    uint32_t special = magnitude > TRINE_F64_INF ? TRINE_F32_NAN : TRINE_F32_INF;
    uint32_t sign = (uint32_t)(bits >> 32) & TRINE_F32_SIGN;
    return trine_f32_of_bits((magnitude < TRINE_F64_INF ? finite : special) | sign);
}

/* By way of an f64, where up to 53 bits are exact; longer ones drop 11 bits to a sticky one first. */
TRINE_INLINE float trine_bits_i64_to_f32_odd(int64_t value)
{
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    uint64_t wide = magnitude >> 53 != 0;
    uint64_t dropped = magnitude >> 11 | (uint64_t)((magnitude & 0x7ffu) != 0);
    uint64_t exact = trine_bits_of_f64((double)(int64_t)(wide ? dropped : magnitude));
    uint64_t scale = wide ? (uint64_t)11 << 52 : 0;
    uint64_t sign = value < 0 ? TRINE_F64_SIGN : 0;
    return trine_bits_f64_to_f32_odd(trine_f64_of_bits((exact + scale) | sign));
}

/* ---- Float to integer: truncates, saturates, NaN gives 0. The cast sees only values in range. ---- */

#define TRINE_FLOAT_TO_INT(name, real, word, bits_of, sign, inf, integer, limit, lowest, highest) \
    TRINE_INLINE integer name(real value) \
    { \
        word bits = bits_of(value); \
        word magnitude = bits & ~sign; \
        integer outside = magnitude > inf ? 0 : bits & sign ? lowest : highest; \
        integer inside = (integer)(magnitude < limit ? value : (real)0); \
        return magnitude < limit ? inside : outside; \
    }

/* limit: the bits of 2^63 and 2^31 */
TRINE_FLOAT_TO_INT(trine_f64_to_i64_sat, double, uint64_t, trine_bits_of_f64, TRINE_F64_SIGN, TRINE_F64_INF, int64_t,
                   0x43e0000000000000u, INT64_MIN, INT64_MAX)
TRINE_FLOAT_TO_INT(trine_f64_to_i32_sat, double, uint64_t, trine_bits_of_f64, TRINE_F64_SIGN, TRINE_F64_INF, int32_t,
                   0x41e0000000000000u, INT32_MIN, INT32_MAX)
TRINE_FLOAT_TO_INT(trine_f32_to_i64_sat, float, uint32_t, trine_bits_of_f32, TRINE_F32_SIGN, TRINE_F32_INF, int64_t, 0x5f000000u,
                   INT64_MIN, INT64_MAX)
TRINE_FLOAT_TO_INT(trine_f32_to_i32_sat, float, uint32_t, trine_bits_of_f32, TRINE_F32_SIGN, TRINE_F32_INF, int32_t, 0x4f000000u,
                   INT32_MIN, INT32_MAX)

TRINE_INLINE int32_t trine_i32_clamp(int32_t value, int32_t lowest, int32_t highest)
{
    int32_t low = value < lowest ? lowest : value;
    return low > highest ? highest : low;
}

TRINE_INLINE int8_t trine_f64_to_i8_sat(double value) { return (int8_t)trine_i32_clamp(trine_f64_to_i32_sat(value), -128, 127); }

TRINE_INLINE uint8_t trine_f64_to_u8_sat(double value) { return (uint8_t)trine_i32_clamp(trine_f64_to_i32_sat(value), 0, 255); }

TRINE_INLINE int8_t trine_f32_to_i8_sat(float value) { return (int8_t)trine_i32_clamp(trine_f32_to_i32_sat(value), -128, 127); }

TRINE_INLINE uint8_t trine_f32_to_u8_sat(float value) { return (uint8_t)trine_i32_clamp(trine_f32_to_i32_sat(value), 0, 255); }

/* Float to bool: x != 0; NaN is true, subnormals are even where the hardware flushes them. */
TRINE_INLINE uint8_t trine_f64_to_bool(double value) { return (trine_bits_of_f64(value) & ~TRINE_F64_SIGN) != 0; }

TRINE_INLINE uint8_t trine_f32_to_bool(float value) { return (trine_bits_of_f32(value) & ~TRINE_F32_SIGN) != 0; }

#endif
