/* Activations and their slopes in f32, for the activation family and for epilogues of others.
 *
 * NaN gives NaN. At +-inf a function and its slope have their limits (silu(-inf) is -0, not NaN); log, sqrt and rsqrt of negative
 * numbers are NaN, and so is what leaky_relu and elu make of alpha 0 and -inf. Largest errors, eps = 2^-23 of the result, with
 * exp2_fast and rcp_fast at 2 eps:
 *
 *   5 eps          sigmoid, tanh, elu, selu, softplus, exp, log
 *
 *   2 eps          hardsigmoid, hardswish
 *
 *   4 eps + 2e-8   silu, gelu, gelu_tanh, mish
 *
 *   4 eps + 1e-7   slopes
 *
 * T is the type that the result will be rounded to. If it has 16 bits, exponentials leave out the correction of their argument:
 * their error grows by |argument| 2^-24, a small part of T's rounding. Where exp2_fast flushes results below 2^-126, they are 0.
 *
 * Polynomials and rationals are minimax fits (Lawson's reweighted least squares); "err" is the fit's relative error. */
#ifndef TRINE_SIMT_ACTIVATION_MATH_H
#define TRINE_SIMT_ACTIVATION_MATH_H

#include "backends/simt/types.h"

namespace simt {

/* ---- Building blocks ---- */

template <int n> TRINE_DEVICE float polynomial(const float (&c)[n], float x)
{
    float y = c[n - 1];
#pragma unroll
    for (int i = n - 2; i >= 0; i--) y = target::fma_rn(y, x, c[i]);
    return y;
}

/* Comparisons that let NaN pass; min and max of the hardware do not. */
TRINE_DEVICE float at_most(float x, float high) { return x > high ? high : x; }
TRINE_DEVICE float at_least(float x, float low) { return x < low ? low : x; }
TRINE_DEVICE float magnitude(float x, float most) { return at_most(__builtin_fabsf(x), most); }

constexpr float log2_e = 0x1.715476p+0f, log2_e_low = 0x1.4ae0cp-26f;
constexpr float ln_2 = 0x1.62e43p-1f;
/* In two parts: the first has 12 bits, so that its product with an exponent is exact. */
constexpr float ln_2_high = 0x1.62ep-1f, ln_2_low = 0x1.0bfbe8p-15f;
/* x + round_magic has round(x) in its low bits, for |x| < 2^22. */
constexpr float round_magic = 0x1.8p23f;

/* e^x for -1000 <= x <= 1000 or NaN. The exponent's rounding error, known exactly, is multiplied in after. */
template <class T> TRINE_DEVICE float exp_of(float x)
{
    const float t = target::mul_rn(x, log2_e);
    const float y = target::exp2_fast(t);
    if constexpr (sizeof(T) < sizeof(float)) return y;
    const float rest = target::fma_rn(x, log2_e_low, target::fma_rn(x, log2_e, -t));
    return y * target::fma_rn(rest, ln_2, 1.0f);
}

/* e^x - 1 for x <= 80 or NaN: 2^n p + (2^n - 1), p = e^r - 1 (err 2^-26.4). */
TRINE_DEVICE float expm1_of(float x)
{
    const float c[] = {1.0f, 0.499999981157f, 0.166665055939f, 0.0416671370979f, 0.00836913879021f, 0.00138889392654f};
    x = at_least(x, -30.0f);
    const float t = target::fma_rn(x, log2_e, round_magic), n = t - round_magic;
    const float r = target::fma_rn(n, -ln_2_low, target::fma_rn(n, -ln_2_high, x));
    const float scale = trine_f32_of_bits((trine_bits_of_f32(t) << 23) + 0x3f800000u);
    return target::fma_rn(scale, r * polynomial(c, r), scale - 1.0f);
}

/* log(1 + z) for 0 <= z <= 1 (err 2^-27.6). */
TRINE_DEVICE float log1p_of(float z)
{
    const float c[] = {1.0f,
                       -0.499999021056f,
                       0.333299559935f,
                       -0.249540814718f,
                       0.196757218005f,
                       -0.153050765377f,
                       0.106029304393f,
                       -0.0569535945646f,
                       0.0198488422394f,
                       -0.00324354683103f};
    return z * polynomial(c, z);
}

/* log x = e ln2 + log(1 + f), 2^e (1 + f) = x, f in [sqrt(1/2) - 1, sqrt(2) - 1] (err 2^-27.8), for x >= 2^-126; minus 23 ln2 for
 * `scaled`. */
TRINE_DEVICE float log_of_normal(float x, bool scaled = false)
{
    const float c[] = {-0.499999883226f, 0.333333255184f, -0.250015839578f, 0.200019829295f,  -0.166090762373f,
                       0.141816835572f,  -0.13242870907f, 0.129051309066f,  -0.0762285271596f};
    const uint32_t bits = trine_bits_of_f32(x), exponent = (bits - 0x3f3504f3u) & 0xff800000u;
    const float e = float(int32_t(exponent) >> 23) - (scaled ? 23.0f : 0.0f), f = trine_f32_of_bits(bits - exponent) - 1.0f;
    return target::fma_rn(e, ln_2_high, f + target::fma_rn(f * f, polynomial(c, f), e * ln_2_low));
}
TRINE_DEVICE float log_of(float x)
{
    const bool small = x < 0x1p-126f;
    const float y = log_of_normal(small ? x * 0x1p23f : x, small);
    const float special = x == 0.0f ? -__builtin_inff() : x < 0.0f ? __builtin_nanf("") : x;
    return x > 0.0f && x < __builtin_inff() ? y : special;
}

/* x P(x^2) / Q(x^2) on [-9.01, 9.01], where it is 1 (err 2^-25.4). */
TRINE_DEVICE float tanh_of(float x)
{
    const float p[] = {1.0f, 0.133803175432f, 0.00349474585525f, 2.05951778401e-5f, 1.33353150828e-8f};
    const float q[] = {1.0f, 0.467136330364f, 0.0258737811021f, 0.000328425539727f, 7.76865713501e-7f};
    x = at_least(at_most(x, 9.01f), -9.01f);
    const float u = x * x;
    return at_least(at_most(x * polynomial(p, u) * target::rcp_fast(polynomial(q, u)), 1.0f), -1.0f);
}

/* Phi(-a) e^(a^2/2) for 0 <= a <= 14.5: all coefficients are positive, nothing cancels (err 2^-27.3). */
TRINE_DEVICE float normal_tail(float a)
{
    const float p[] = {0.500000003f, 0.4383312128f, 0.1832630099f, 0.04064291459f, 0.004117830547f};
    const float q[] = {1.0f, 1.67454741f, 1.202616728f, 0.4695444613f, 0.1018831179f, 0.01032175091f};
    return polynomial(p, a) * target::rcp_fast(polynomial(q, a));
}

/* z = e^-a and 1 / (1 + z): what sigmoid and its relatives are made of, without overflow. */
struct logistic {
    float z, r;
};
template <class T> TRINE_DEVICE logistic logistic_of(float a)
{
    const float z = exp_of<T>(-a);
    return logistic{z, target::rcp_fast(1.0f + z)};
}

/* Beyond these, e^-x, Phi(-x) and e^-gelu_tanh_argument(x) are 0 in f32. */
constexpr float exp_end = 150.0f, gelu_end = 14.5f, gelu_tanh_end = 11.0f;
constexpr float mish_end = 25.0f;                                                      /* tanh(softplus(x)) is 1 */
constexpr float selu_scale = 1.0507009873554805f, selu_negative = 1.7580993408473766f; /* the latter times 1.6732632423543772 */

/* tanh and its slope from one exponential: for sums, as tanh is within 2 eps of 1, not of itself. */
template <class T> TRINE_DEVICE void tanh_and_slope(float x, float &y, float &slope)
{
    const logistic l = logistic_of<T>(2.0f * magnitude(x, exp_end));
    y = __builtin_copysignf((1.0f - l.z) * l.r, x);
    slope = 4.0f * l.z * l.r * l.r;
}

/* 2 sqrt(2/pi) (x + 0.044715 x^3): gelu_tanh(x) is x sigmoid of it. */
constexpr float gelu_tanh_1 = 1.5957691216057308f, gelu_tanh_3 = 0.0713548162726009f;
TRINE_DEVICE float gelu_tanh_argument(float a) { return a * target::fma_rn(gelu_tanh_3, a * a, gelu_tanh_1); }

/* max(x, 0) - a tail: the shape of silu, gelu and gelu_tanh, where tail = f(-a) / -a for a = |x| */
TRINE_DEVICE float ramp_less(float x, float a, float tail) { return target::fma_rn(-a, tail, at_least(x, 0.0f)); }
TRINE_DEVICE float slope_step(float x, float above, float below) { return x > 0.0f ? above : x != x ? x : below; }

/* ---- A function and a slope for every kind ---- */

template <trine_activation_kind kind> struct activation_constant {
    static constexpr trine_activation_kind value = kind;
};

/* Calls f with the kind as a constant: for loops that must not contain the switch. */
template <class F> TRINE_DEVICE void visit_activation(trine_activation_kind kind, const F &f)
{
#define TRINE_VISIT(name) \
    case TRINE_ACT_##name: return f(activation_constant<TRINE_ACT_##name>{});
    switch (kind) {
        TRINE_VISIT(RELU)
        TRINE_VISIT(LEAKY_RELU)
        TRINE_VISIT(SIGMOID)
        TRINE_VISIT(TANH)
        TRINE_VISIT(SILU)
        TRINE_VISIT(GELU)
        TRINE_VISIT(GELU_TANH)
        TRINE_VISIT(HARDSIGMOID)
        TRINE_VISIT(HARDSWISH)
        TRINE_VISIT(ELU)
        TRINE_VISIT(SELU)
        TRINE_VISIT(SOFTPLUS)
        TRINE_VISIT(MISH)
        TRINE_VISIT(ABS)
        TRINE_VISIT(EXP)
        TRINE_VISIT(LOG)
        TRINE_VISIT(SQRT)
        TRINE_VISIT(RSQRT)
        TRINE_VISIT(SQUARE)
    default: return f(activation_constant<TRINE_ACT_IDENTITY>{});
    }
#undef TRINE_VISIT
}

template <class T> TRINE_DEVICE float mish_of(float x)
{
    const float w = exp_of<T>(at_most(at_least(x, -exp_end), mish_end)), n = target::fma_rn(w, w, w + w);
    return at_least(x, -exp_end) * (n * target::rcp_fast(n + 2.0f));
}

/* y = f(x). The switch costs nothing where kind is a constant. */
template <class T = float> TRINE_DEVICE float activate(trine_activation_kind kind, float alpha, float x)
{
    switch (kind) {
    case TRINE_ACT_RELU: return at_least(x, 0.0f);
    case TRINE_ACT_LEAKY_RELU: return x > 0.0f ? x : alpha * x;
    case TRINE_ACT_SIGMOID: {
        const logistic l = logistic_of<T>(magnitude(x, exp_end));
        return (x < 0.0f ? l.z : 1.0f) * l.r;
    }
    case TRINE_ACT_TANH: return tanh_of(x);
    case TRINE_ACT_SILU: {
        const float a = magnitude(x, exp_end);
        const logistic l = logistic_of<T>(a);
        return ramp_less(x, a, l.z * l.r);
    }
    case TRINE_ACT_GELU: {
        const float a = magnitude(x, gelu_end);
        return ramp_less(x, a, exp_of<T>(-0.5f * a * a) * normal_tail(a));
    }
    case TRINE_ACT_GELU_TANH: {
        const float a = magnitude(x, gelu_tanh_end);
        const logistic l = logistic_of<T>(gelu_tanh_argument(a));
        return ramp_less(x, a, l.z * l.r);
    }
    case TRINE_ACT_HARDSIGMOID: return at_most(at_least(x + 3.0f, 0.0f), 6.0f) * (1.0f / 6.0f); /* x + 3 is exact near -3 */
    case TRINE_ACT_HARDSWISH: {
        const float c = at_least(x, -3.0f);
        return c * (at_most(c + 3.0f, 6.0f) * (1.0f / 6.0f));
    }
    case TRINE_ACT_ELU: return x > 0.0f ? x : alpha * expm1_of(x);
    case TRINE_ACT_SELU: return x > 0.0f ? selu_scale * x : selu_negative * expm1_of(x);
    case TRINE_ACT_SOFTPLUS: return at_least(x, 0.0f) + log1p_of(exp_of<T>(-magnitude(x, exp_end)));
    case TRINE_ACT_MISH: return mish_of<T>(x);
    case TRINE_ACT_ABS: return __builtin_fabsf(x);
    case TRINE_ACT_EXP: return exp_of<T>(at_least(at_most(x, exp_end), -exp_end));
    case TRINE_ACT_LOG: return log_of(x);
    case TRINE_ACT_SQRT: return target::sqrt_ieee(x);
    case TRINE_ACT_RSQRT: return target::rsqrt_ieee(x);
    case TRINE_ACT_SQUARE: return x * x;
    default: return x;
    }
}

/* The slopes of silu, gelu and gelu_tanh are h at -a and 1 - h at a. */
TRINE_DEVICE float mirrored(float x, float h) { return x < 0.0f ? h : 1.0f - h; }

/* s(x) + x s(x) s(-x), where s(a) = r and s(-a) = z r. */
template <class T> TRINE_DEVICE float silu_slope(float x)
{
    const float a = magnitude(x, exp_end);
    const logistic l = logistic_of<T>(a);
    return mirrored(x, l.z * l.r * target::fma_rn(-a, l.r, 1.0f));
}

/* Phi(x) + x phi(x). */
template <class T> TRINE_DEVICE float gelu_slope(float x)
{
    const float a = magnitude(x, gelu_end);
    return mirrored(x, exp_of<T>(-0.5f * a * a) * target::fma_rn(-0.3989422804014327f, a, normal_tail(a)));
}

/* s(v) + x s(v) s(-v) v', v the argument and v' its slope. */
template <class T> TRINE_DEVICE float gelu_tanh_slope(float x)
{
    const float a = magnitude(x, gelu_tanh_end);
    const logistic l = logistic_of<T>(gelu_tanh_argument(a));
    const float rise = a * target::fma_rn(3.0f * gelu_tanh_3, a * a, gelu_tanh_1);
    return mirrored(x, l.z * l.r * target::fma_rn(-rise, l.r, 1.0f));
}

/* With w = e^x and n = w (w + 2): n / (n + 2) + x 4 w (w + 1) / (n + 2)^2. */
template <class T> TRINE_DEVICE float mish_slope(float x)
{
    const float c = at_most(at_least(x, -exp_end), mish_end), w = exp_of<T>(c);
    const float n = target::fma_rn(w, w, w + w), r = target::rcp_fast(n + 2.0f);
    return r * target::fma_rn(4.0f * c * r, target::fma_rn(w, w, w), n);
}

/* f'(x). At kinks and outside of a function's domain: see trine/activation.h; log' is 1/x for negative x too. */
template <class T = float> TRINE_DEVICE float activate_slope(trine_activation_kind kind, float alpha, float x)
{
    switch (kind) {
    case TRINE_ACT_RELU: return slope_step(x, 1.0f, 0.0f);
    case TRINE_ACT_LEAKY_RELU: return slope_step(x, 1.0f, alpha);
    case TRINE_ACT_SIGMOID: {
        const logistic l = logistic_of<T>(magnitude(x, exp_end));
        return l.z * l.r * l.r;
    }
    case TRINE_ACT_TANH: {
        const logistic l = logistic_of<T>(2.0f * magnitude(x, exp_end));
        return 4.0f * l.z * l.r * l.r;
    }
    case TRINE_ACT_SILU: return silu_slope<T>(x);
    case TRINE_ACT_GELU: return gelu_slope<T>(x);
    case TRINE_ACT_GELU_TANH: return gelu_tanh_slope<T>(x);
    case TRINE_ACT_HARDSIGMOID: return __builtin_fabsf(x) < 3.0f ? 1.0f / 6.0f : x != x ? x : 0.0f;
    case TRINE_ACT_HARDSWISH: return __builtin_fabsf(x) < 3.0f ? (x + x + 3.0f) * (1.0f / 6.0f) : slope_step(x, 1.0f, 0.0f);
    case TRINE_ACT_ELU: return x > 0.0f ? 1.0f : alpha * exp_of<T>(at_least(at_most(x, 0.0f), -exp_end));
    case TRINE_ACT_SELU: return x > 0.0f ? selu_scale : selu_negative * exp_of<T>(at_least(at_most(x, 0.0f), -exp_end));
    case TRINE_ACT_SOFTPLUS: return activate<T>(TRINE_ACT_SIGMOID, alpha, x);
    case TRINE_ACT_MISH: return mish_slope<T>(x);
    case TRINE_ACT_ABS: return slope_step(x, 1.0f, x == 0.0f ? 0.0f : -1.0f);
    case TRINE_ACT_EXP: return activate<T>(TRINE_ACT_EXP, alpha, x);
    case TRINE_ACT_LOG: return target::div_ieee(1.0f, x);
    case TRINE_ACT_SQRT: return 0.5f * target::rsqrt_ieee(x);
    case TRINE_ACT_RSQRT: {
        const float r = target::rsqrt_ieee(x);
        return -0.5f * r * r * r;
    }
    case TRINE_ACT_SQUARE: return x + x;
    default: return x != x ? x : 1.0f;
    }
}

} // namespace simt

#endif
