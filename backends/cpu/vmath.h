/* Elementary functions in f32 for loops that the compiler vectorises: no branches, tables, calls or state.
 *
 * Contract of all: NaN gives NaN; every argument is allowed unless said otherwise; subnormal arguments and results are right
 * (gradual underflow; nothing is flushed to 0 unless the caller has set the processor so). Odd functions keep the sign of 0. A
 * vector body and a scalar tail give the same bits, because products are fused only where TRINE_FMA says so: compile with
 * -ffp-contract=off. Levels with and without FMA differ in the last bits.
 *
 * Largest errors over all 2^32 arguments, against libm in f64, in units in the last place of the result (tests/unit/vmath.c
 * holds them to it); where there are two, with FMA and without:
 *   exp 0.91 1.18, exp2 1.01 1.27, expm1 1.46 1.53, log 0.85, log1p 1.40, tanh 2.61, erf 1.86 2.01, sigmoid 2.41,
 *   softplus 2.08 2.38, rsqrt 1.50, sincos2pi 1.62 1.65 over [0, 1); normal_cdf 1.60, in units of at least 2^-24.
 *
 * Polynomials are our own minimax fits: Lawson's iteratively reweighted least squares on 900 Chebyshev-spaced points (values
 * from mpmath, 40 digits), weighted for the relative error of the function, then rounded to f32 one coefficient at a time,
 * lowest first, the others fitted anew each time. "err" is the relative error of the fit with these coefficients.
 *
 * What bounds the speed (Zen 5, GCC 12): instructions that wait for operands fill the scheduler, so a function costs its number
 * of instructions times its longest chain; that decides between Horner's scheme and a shorter one with more products. */
#ifndef TRINE_CPU_VMATH_H
#define TRINE_CPU_VMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined __FMA__ || defined __ARM_FEATURE_FMA
#define TRINE_FMA(a, b, c) fmaf((a), (b), (c))
#else
#define TRINE_FMA(a, b, c) ((a) * (b) + (c))
#endif

/* ln 2 in two parts; the first has 12 bits, so that its product with an exponent is exact without FMA too. */
#define VM_LN2_HI 0x1.62ep-1f
#define VM_LN2_LO 0x1.0bfbe8p-15f
#define VM_LOG2E 0x1.715476p+0f
/* x + VM_ROUND has round(x) in its low bits for |x| < 2^22; a bias for an exponent may be added to it. */
#define VM_ROUND 0x1.8p23f

static inline uint32_t vm_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float vm_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The lesser one, for a limit > 0. As integers, because GCC 12 makes a comparison and a blend of x < limit ? x : limit, six
 * cycles instead of one. NaN may give the limit. */
static inline float vm_min(float x, float limit)
{
    int32_t a = (int32_t)vm_bits(x), b = (int32_t)vm_bits(limit);
    return vm_float((uint32_t)(a < b ? a : b));
}

/* |y| with the sign of x, for y >= 0. */
static inline float vm_with_sign(float y, float x) { return vm_float(vm_bits(y) | (vm_bits(x) & 0x80000000u)); }

/* e^r for |r| <= ln2/2: 1 + r + r^2 q(r), q of degree 4 (err 2^-28.2). */
static inline float vm_exp_poly(float r)
{
    float p = TRINE_FMA(0.00138187385f, r, 0.00836872123f);
    p = TRINE_FMA(p, r, 0.0416682921f);
    p = TRINE_FMA(p, r, 0.166665211f);
    p = TRINE_FMA(p, r, 0.49999994f);
    p = TRINE_FMA(p, r, 1.0f);
    return TRINE_FMA(p, r, 1.0f);
}

/* p 2^n, rounded once; t = n + VM_ROUND + 254, -152 <= n <= 128. In two steps, for 2^n itself need not be an f32. */
static inline float vm_scale(float p, float t)
{
    uint32_t half = vm_bits(t) >> 1;
    return p * vm_float(half << 23) * vm_float((vm_bits(t) - half) << 23);
}

/* e^x. 0 below -104 (half of the smallest subnormal), inf above 88.7228. Beyond 89 n stays 128, and r grows instead. */
static inline float vm_exp(float x)
{
    float t = vm_min(TRINE_FMA(x, VM_LOG2E, VM_ROUND + 254.0f), VM_ROUND + 254.0f + 128.0f);
    float n = t - (VM_ROUND + 254.0f);
    float r = TRINE_FMA(n, -VM_LN2_HI, x);
    r = TRINE_FMA(n, -VM_LN2_LO, r);
    float y = vm_scale(vm_exp_poly(r), t);
    return x < -104.0f ? 0.0f : y;
}

/* e^-|x|, in [0, 1]. n is 0 at most, so that 2^(n + 65) and p times it are normal numbers, and the last step alone rounds. */
static inline float vm_exp_minus_abs(float x)
{
    float a = fabsf(x);
    float t = TRINE_FMA(a, -VM_LOG2E, VM_ROUND + 192.0f);
    float n = t - (VM_ROUND + 192.0f);
    float r = TRINE_FMA(n, -VM_LN2_HI, -a);
    r = TRINE_FMA(n, -VM_LN2_LO, r);
    float y = vm_exp_poly(r) * vm_float(vm_bits(t) << 23) * 0x1p-65f;
    return a > 104.0f ? 0.0f : y;
}

/* 2^x: 1 + r q(r) on [-1/2, 1/2], q of degree 5 (err 2^-28.3). */
static inline float vm_exp2(float x)
{
    float t = vm_min(x + (VM_ROUND + 254.0f), VM_ROUND + 254.0f + 128.0f);
    float r = x - (t - (VM_ROUND + 254.0f));
    float s = r * r;
    float a = TRINE_FMA(0.240226477f, r, 0.693147182f);
    float b = TRINE_FMA(0.00961850584f, r, 0.0555035956f);
    float c = TRINE_FMA(0.0001532678f, r, 0.00133910251f);
    b = TRINE_FMA(c, s, b);
    a = TRINE_FMA(b, s, a);
    float y = vm_scale(TRINE_FMA(a, r, 1.0f), t);
    return x < -151.0f ? 0.0f : y;
}

/* e^x - 1, accurate relatively: 2^n (p + 1) - 1 with p = e^r - 1 = r + r^2 q(r), q of degree 5 (err 2^-31). The scale is
 * half of 2^n, for 2^128 is no f32. */
static inline float vm_expm1(float x)
{
    float t = vm_min(TRINE_FMA(x, VM_LOG2E, VM_ROUND + 126.0f), VM_ROUND + 126.0f + 128.0f);
    float n = t - (VM_ROUND + 126.0f);
    float r = TRINE_FMA(n, -VM_LN2_HI, x);
    r = TRINE_FMA(n, -VM_LN2_LO, r);
    float s = r * r;
    float a = TRINE_FMA(0.166666657f, r, 0.5f);
    float b = TRINE_FMA(0.00833354332f, r, 0.0416664928f);
    float c = TRINE_FMA(0.000197644549f, r, 0.0013932389f);
    b = TRINE_FMA(c, s, b);
    a = TRINE_FMA(b, s, a);
    float p = TRINE_FMA(a, s, r);
    float scale = vm_float(vm_bits(t) << 23);
    float y = TRINE_FMA(scale, p, scale - 0.5f);
    y = x < -18.0f ? -0.5f : y;
    return fabsf(x) < 0x1p-25f ? x : y + y;
}

/* log(1 + f) + e ln2 for f in [sqrt(1/2) - 1, sqrt(2) - 1]: f - f^2/2 + f^3 q(f), q of degree 8 (err 2^-30.3). */
static inline float vm_log_poly(float f, float e)
{
    float s = f * f;
    float s2 = s * s;
    float a = TRINE_FMA(-0.250000089f, f, 0.333333135f);
    float b = TRINE_FMA(-0.166679889f, f, 0.200020716f);
    float c = TRINE_FMA(-0.124062344f, f, 0.142203584f);
    float d = TRINE_FMA(-0.116700925f, f, 0.118835509f);
    d = TRINE_FMA(0.0674925223f, s, d);
    a = TRINE_FMA(b, s, a);
    c = TRINE_FMA(d, s, c);
    float q = TRINE_FMA(c, s2, a);
    float y = TRINE_FMA(s * f, q, e * VM_LN2_LO);
    y = TRINE_FMA(-0.5f, s, y);
    return TRINE_FMA(e, VM_LN2_HI, f + y);
}

/* log x. 0 gives -inf, negative numbers NaN, inf inf. x = 2^e m with m in [sqrt(1/2), sqrt(2)). */
static inline float vm_log(float x)
{
    int small = x < 0x1p-126f;
    float xs = small ? x * 0x1p23f : x;
    float bias = small ? -23.0f : 0.0f;
    int32_t e = (int32_t)(vm_bits(xs) - 0x3f3504f3u) >> 23;
    float m = vm_float(vm_bits(xs) - ((uint32_t)e << 23));
    float y = vm_log_poly(m - 1.0f, (float)e + bias);
    float special = x == 0.0f ? -INFINITY : NAN;
    y = x > 0.0f ? y : special;
    return x < INFINITY ? y : x;
}

/* log(1 + x), accurate relatively; -1 gives -inf, less NaN. As log, but with 2^-e (1 + x) - 1 computed as 2^-e x + (2^-e - 1). */
static inline float vm_log1p(float x)
{
    int32_t e = (int32_t)(vm_bits(1.0f + x) - 0x3f3504f3u) >> 23;
    uint32_t shift = (uint32_t)e << 23;
    int32_t scale = (int32_t)(0x3f800000u - shift); /* the bits of 2^-e; negative for e = 128, where 0 does as well */
    float f = vm_float(vm_bits(x) - shift) + (vm_float((uint32_t)(scale < 0 ? 0 : scale)) - 1.0f);
    float y = copysignf(vm_log_poly(f, (float)e), x); /* the sign of -0 */
    float special = x == -1.0f ? -INFINITY : NAN;
    y = x > -1.0f ? y : special;
    return x < INFINITY ? y : x;
}

/* tanh x = (e^2|x| - 1) / (e^2|x| + 1) with the sign of x, where e^2|x| - 1 = 2^n (p + 1) - 1 and p = e^r - 1 = r + r^2 q(r), q
 * of degree 4 (err 2^-26.1): accurate near 0 too, where n = 0. 1 from 9.02 on. ln 2 in one part will do, for n is small where it
 * counts. */
static inline float vm_tanh(float x)
{
    float a = fabsf(x);
    float t = vm_min(TRINE_FMA(a, 2.0f * VM_LOG2E, VM_ROUND + 127.0f), VM_ROUND + 127.0f + 32.0f);
    float n = t - (VM_ROUND + 127.0f);
    float r = TRINE_FMA(n, -0.693147182f, a + a);
    float s = r * r;
    float p = TRINE_FMA(0.16666545f, r, 0.49999997f);
    float q = TRINE_FMA(0.00836645346f, r, 0.041667439f);
    q = TRINE_FMA(0.0013870555f, s, q);
    p = TRINE_FMA(q, s, p);
    p = TRINE_FMA(p, s, r);
    float scale = vm_float(vm_bits(t) << 23);
    float minus = TRINE_FMA(scale, p, scale - 1.0f);
    float y = minus / (minus + 2.0f);
    return vm_with_sign(a > 9.5f ? 1.0f : y, x);
}

/* erf x. |x| < 1.1: x + x q(x^2), q of degree 6 (err 2^-27.6). Else 1 - p(|x|)^8, p of degree 6 on [1.1, 3.95] (err 2^-26.8),
 * which is 1 from 3.84 on. */
static inline float vm_erf(float x)
{
    float a = fabsf(x);
    float b = vm_min(a, 3.95f);
    float p = TRINE_FMA(0.000160520256f, b, -0.00258422364f);
    p = TRINE_FMA(p, b, 0.0134265497f);
    p = TRINE_FMA(p, b, -0.0125164669f);
    p = TRINE_FMA(p, b, -0.0599891469f);
    p = TRINE_FMA(p, b, -0.146005273f);
    p = TRINE_FMA(p, b, 1.0010885f);
    p *= p;
    p *= p;
    float large = TRINE_FMA(-p, p, 1.0f);
    float u = a * a;
    float q = TRINE_FMA(7.19021991e-05f, u, -0.000780883653f);
    q = TRINE_FMA(q, u, 0.00516566634f);
    q = TRINE_FMA(q, u, -0.0268422868f);
    q = TRINE_FMA(q, u, 0.112833314f);
    q = TRINE_FMA(q, u, -0.376126081f);
    q = TRINE_FMA(q, u, 0.128379166f);
    float small = TRINE_FMA(q, a, a);
    return vm_with_sign(a >= 1.1f ? large : small, x); /* NaN comes by way of small */
}

/* The normal distribution function, Phi(x) = (1 + erf(x / sqrt 2)) / 2: gelu is x Phi(x), a fifth cheaper than by vm_erf. Its
 * accuracy is absolute. |x| < 1.6: 1/2 + x q(x^2), q of degree 6 (err 2^-28 of 1). Else h = ((8 - |x|) p(|x|))^8 or 1 - h, p of
 * degree 5 (err 2^-26.2 of 1); h is 0 from 8 on. The power makes 16 of each rounding before it, so h should be small. */
static inline float vm_normal_cdf(float x)
{
    float b = vm_min(fabsf(x), 8.0f);
    float p = TRINE_FMA(-1.71414085e-05f, b, 0.000261915848f);
    p = TRINE_FMA(p, b, -0.00085586193f);
    p = TRINE_FMA(p, b, -0.00320897484f);
    p = TRINE_FMA(p, b, 0.00259525678f);
    p = TRINE_FMA(p, b, 0.114715748f);
    p *= 8.0f - b;
    p *= p;
    p *= p;
    float h = p * p;
    float large = x > 0.0f ? 1.0f - h : h;
    float u = x * x;
    float q = TRINE_FMA(3.49974442e-07f, u, -8.25658026e-06f);
    q = TRINE_FMA(q, u, 0.000113035538f);
    q = TRINE_FMA(q, u, -0.00118470017f);
    q = TRINE_FMA(q, u, 0.0099720955f);
    q = TRINE_FMA(q, u, -0.066490039f);
    q = TRINE_FMA(q, u, 0.398942262f);
    float small = TRINE_FMA(q, x, 0.5f);
    return fabsf(x) >= 1.6f ? large : small;
}

/* 1 / (1 + e^-x) = e^x / (e^x + 1), accurate relatively on both sides; 1 from 17.4 on. */
static inline float vm_sigmoid(float x)
{
    float e = vm_exp(x);
    float y = e / (e + 1.0f);
    return x > 20.0f ? 1.0f : y;
}

/* log(1 + e^x) = max(x, 0) + log1p(z), z = e^-|x| in [0, 1]: z + z^2 q(z), q of degree 8 (err 2^-27.5). */
static inline float vm_softplus(float x)
{
    float z = vm_exp_minus_abs(x);
    float s = z * z;
    float s2 = s * s;
    float a = TRINE_FMA(0.333304644f, z, -0.499999315f);
    float b = TRINE_FMA(0.196921214f, z, -0.249580204f);
    float c = TRINE_FMA(0.106613614f, z, -0.153449759f);
    float d = TRINE_FMA(0.0200882591f, z, -0.0574602671f);
    d = TRINE_FMA(-0.00329100713f, s, d);
    a = TRINE_FMA(b, s, a);
    c = TRINE_FMA(d, s, c);
    a = TRINE_FMA(c, s2, a);
    return TRINE_FMA(s, a, z) + (x > 0.0f ? x : 0.0f);
}

/* sin and cos of 2 pi v, for |v| <= 2^20: v = n/4 + r exactly, |r| <= 1/8. Degrees 7 (err 2^-27.9) and 8 (err 2^-31). */
static inline void vm_sincos2pi(float v, float *sine, float *cosine)
{
    float t = TRINE_FMA(v, 4.0f, VM_ROUND);
    float r = TRINE_FMA(t - VM_ROUND, -0.25f, v);
    float u = r * r;
    float s = TRINE_FMA(-75.4275436f, u, 81.5934296f);
    s = TRINE_FMA(s, u, -41.341671f);
    s = TRINE_FMA(s, u, -1.74845553e-07f); /* 2 pi less its f32 */
    s = TRINE_FMA(s, r, 6.28318548f * r);
    float c = TRINE_FMA(58.619278f, u, -85.4245071f);
    c = TRINE_FMA(c, u, 64.9391479f);
    c = TRINE_FMA(c, u, -19.7392082f);
    c = TRINE_FMA(c, u, 1.0f);
    uint32_t n = vm_bits(t);
    uint32_t odd = n & 1;
    *sine = vm_float(vm_bits(odd ? c : s) ^ (n & 2) << 30);
    *cosine = vm_float(vm_bits(odd ? s : c) ^ ((n + 1) & 2) << 30);
}

static inline float vm_rsqrt(float x) { return 1.0f / sqrtf(x); }

#endif
