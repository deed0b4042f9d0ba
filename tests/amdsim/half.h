/* 16-bit and 8-bit floats. */
#ifndef AMDSIM_HALF_H
#define AMDSIM_HALF_H

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}
static inline float float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, 4);
    return x;
}
static inline uint64_t bits_of_double(double x)
{
    uint64_t u;
    memcpy(&u, &x, 8);
    return u;
}
static inline double double_of(uint64_t u)
{
    double x;
    memcpy(&x, &u, 8);
    return x;
}

/* In plain arithmetic, so that loops of it become vector code. A signalling NaN comes out quiet. */
static inline float half_to_float(uint32_t h)
{
    uint32_t magnitude = (h & 0x7fff) << 13, sign = (h & 0x8000) << 16;
    float scaled = float_of(magnitude) * 0x1p112f;
    uint32_t special =
        magnitude >= 0x0f800000u ? 0x7f800000u | (magnitude > 0x0f800000u ? 0x400000u : 0) | (magnitude & 0x7fe000u) : 0;
    return float_of((special ? special : bits_of(scaled)) | sign);
}
static inline uint16_t float_to_half(float x) { return (uint16_t)_cvtss_sh(x, 0); }
static inline uint16_t float_to_half_toward_zero(float x) { return (uint16_t)_cvtss_sh(x, 3); }
static inline float bf16_to_float(uint32_t b) { return float_of(b << 16); }
static inline uint32_t float_to_bf16(float x)
{
    uint32_t u = bits_of(x);
    return x != x ? u >> 16 | 0x40 : (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

/* Rounded once: to odd in f32, which has enough bits more, then to f16. */
static inline uint16_t double_to_half(double x)
{
    float f = (float)x;
    if (f != f || f == INFINITY || f == -INFINITY || (double)f == x) return float_to_half(f);
    uint32_t u = bits_of(f);
    if (!(u & 1)) u = fabs((double)f) < fabs(x) ? u + 1 : u - 1;
    return float_to_half(float_of(u));
}

/* Rounded to odd: the sum of doubles with a sticky last bit, so that a later rounding to fewer bits is right. */
static inline double add_to_odd(double a, double b)
{
    double s = a + b, t = s - a, error = (a - (s - t)) + (b - t);
    if (error == 0 || s - s != 0) return s;
    uint64_t u = bits_of_double(s);
    if (!(u & 1)) u = (error > 0) == (s > 0) ? u + 1 : u - 1;
    return double_of(u);
}

/* 8-bit floats of MI300, "FNUZ": no infinity, no negative zero, 0x80 is NaN. */
typedef struct fp8_format {
    int mantissa, bias;
} fp8_format;
#define FP8 ((fp8_format){3, 8})
#define BF8 ((fp8_format){2, 16})

static inline float fp8_to_float(uint32_t byte, fp8_format f)
{
    uint32_t sign = byte >> 7 & 1, magnitude = byte & 0x7f;
    uint32_t exponent = magnitude >> f.mantissa, mantissa = magnitude & ((1u << f.mantissa) - 1);
    if ((byte & 0xff) == 0x80) return NAN;
    float value = exponent ? ldexpf((float)(mantissa | 1u << f.mantissa), (int)exponent - f.bias - f.mantissa)
                           : ldexpf((float)mantissa, 1 - f.bias - f.mantissa);
    return sign ? -value : value;
}

/* To the nearest, ties to even; too large saturates. With `noise`, a fraction of the last place in 32 bits is added instead of
 * the half. */
static inline uint8_t float_to_fp8(float x, fp8_format f, int stochastic, uint32_t noise)
{
    int exponent;
    uint32_t sign = bits_of(x) >> 31;
    if (x != x || x - x != 0) return 0x80;
    double magnitude = fabs((double)x);
    if (magnitude == 0) return 0;
    frexp(magnitude, &exponent);
    exponent = exponent - 1 < 1 - f.bias ? 1 - f.bias : exponent - 1;
    double scaled = ldexp(magnitude, f.mantissa - exponent);
    double rounded = stochastic ? floor(scaled + (double)noise * 0x1p-32) : nearbyint(scaled);
    uint32_t code = (uint32_t)rounded + ((uint32_t)(exponent + f.bias - 1) << f.mantissa);
    if (code > 0x7f) code = 0x7f;
    return (uint8_t)(code ? sign << 7 | code : 0);
}

#endif
