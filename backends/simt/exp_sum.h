/* The sum of the exponentials of a row, in the frame of row.h: what softmax and cross entropy rest on.
 *
 * A partial is a maximum and a sum of exponentials relative to it (Milakov & Gimelshein 2018); merging two rescales the sums. An
 * exponential is a subtraction, a multiply-add and the hardware's 2^x (softmax_base). */
#ifndef TRINE_SIMT_EXP_SUM_H
#define TRINE_SIMT_EXP_SUM_H

#include "backends/simt/row_run.h"

namespace simt {

constexpr float log2e = 1.44269504f, ln2 = 0.693147181f;

/* e^x = 2^exponent(x) 2^base with a base close to x's maximum. Small maxima are taken off by the multiply-add: `shift` is
 * rounded, but it is the same for the whole row, in numerator and denominator. What that rounding comes to is residual(); for
 * large maxima it would be too much, so they are subtracted before. */
struct softmax_base {
    float pivot, shift;
    TRINE_DEVICE_METHOD explicit softmax_base(float most)
    {
        const float finite = finite_or_zero(most);
        const bool small = __builtin_fabsf(finite) <= 65536.0f;
        pivot = small ? 0.0f : finite;
        shift = small ? target::mul_rn(finite, log2e) : 0.0f;
    }
    TRINE_DEVICE_METHOD float exponent(float x) const { return target::fma_rn(x - pivot, log2e, -shift); }
    TRINE_DEVICE_METHOD float power(float x) const { return target::exp2_fast(exponent(x)); }
    /* Of the base of `most`: e^most = 2^residual 2^base. */
    static TRINE_DEVICE_METHOD float residual(float most) { return softmax_base(most).exponent(finite_or_zero(most)); }
    /* A part of a row, or a row, whose entries are all -inf: e^(-inf - 0) is 0 for each, and a row with the sum 0 becomes NaN. */
    static TRINE_DEVICE_METHOD float finite_or_zero(float most) { return most == -__builtin_inff() ? 0.0f : most; }
};

struct exp_sum {
    float most, sum;
    static TRINE_DEVICE_METHOD exp_sum identity() { return exp_sum{-__builtin_inff(), 0.0f}; }

    /* Of a tile over `width` threads of a wave; value(i, j) is element j of pack i, -inf outside the row. */
    template <class T, int P, class Value>
    static TRINE_DEVICE_METHOD exp_sum gather(row_tile<T, 1, P> &tile, const row_place &at, int width, Value value)
    {
        constexpr int V = row_pack<T>;
        float most = -__builtin_inff(), sum = 0.0f;
#pragma unroll
        for (int i = 0; i < P; i++)
#pragma unroll
            for (int j = 0; j < V; j++) most = __builtin_fmaxf(most, value(i, j));
        most = wave_reduce(most, op_most{}, width);
        const softmax_base base(most);
        tile.pass(at.zero());
#pragma unroll
        for (int i = 0; i < P; i++)
#pragma unroll
            for (int j = 0; j < V; j++) sum += base.power(value(i, j));
        return exp_sum{most, wave_reduce(sum, op_sum{}, width)};
    }

    /* The sum relative to `other`, which is at least most. */
    TRINE_DEVICE_METHOD float rescaled(float other) const
    {
        return sum * target::exp2_fast(softmax_base(other).exponent(most) - softmax_base::residual(most));
    }
    static TRINE_DEVICE_METHOD exp_sum merge(const exp_sum &a, const exp_sum &b)
    {
        const float most = __builtin_fmaxf(a.most, b.most);
        return exp_sum{most, target::add_rn(a.rescaled(most), b.rescaled(most))};
    }
    static TRINE_DEVICE_METHOD exp_sum combine(const exp_sum &p)
    {
        const float most = wave_reduce(p.most, op_most{});
        return exp_sum{most, wave_reduce(p.rescaled(most), op_sum{})};
    }
    /* Logarithm of the sum relative to most. */
    TRINE_DEVICE_METHOD float log() const { return (target::log2_fast(sum) - softmax_base::residual(most)) * ln2; }
};

} // namespace simt

#endif
