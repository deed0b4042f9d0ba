/* Softmax, its logarithm and their gradients, in the frame of row.h.
 *
 * A partial of the forward ops is a maximum and a sum of exponentials relative to it (Milakov & Gimelshein 2018); merging two
 * rescales the sums. An exponential is a subtraction, a multiply-add and the hardware's 2^x (softmax_base). They are computed
 * twice, for the sum and for the output: as many registers as it takes to keep them hold another row. Bound by bytes; 16-bit
 * types come near the rate of 2^x. */
#ifndef TRINE_SIMT_SOFTMAX_H
#define TRINE_SIMT_SOFTMAX_H

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

template <class T, bool log> struct softmax_rows : row_shares_nothing {
    using element = T;
    enum { inputs = 1 };
    const T *in[1];
    T *out;

    struct partial {
        float most, sum;
    };
    struct stats {
        softmax_base base;
        float most, last; /* 1 / sum, or its logarithm */
    };

    static TRINE_DEVICE_METHOD float neutral() { return -__builtin_inff(); }
    static TRINE_DEVICE_METHOD partial identity() { return partial{-__builtin_inff(), 0.0f}; }

    template <int P> static TRINE_DEVICE_METHOD partial gather(row_tile<T, 1, P> &tile, const row_place &at, int width)
    {
        constexpr int V = row_pack<T>;
        float most = -__builtin_inff(), sum = 0.0f;
#pragma unroll
        for (int i = 0; i < P; i++)
#pragma unroll
            for (int j = 0; j < V; j++) most = __builtin_fmaxf(most, tile.at[0][i].value(j));
        most = wave_reduce(most, op_most{}, width);
        const softmax_base base(most);
        tile.pass(at.zero());
#pragma unroll
        for (int i = 0; i < P; i++)
#pragma unroll
            for (int j = 0; j < V; j++) sum += base.power(tile.at[0][i].value(j));
        return partial{most, wave_reduce(sum, op_sum{}, width)};
    }

    /* The sum of `p` relative to `most`, which is at least p.most. */
    static TRINE_DEVICE_METHOD float rescaled(const partial &p, float most)
    {
        return p.sum * target::exp2_fast(softmax_base(most).exponent(p.most) - softmax_base::residual(p.most));
    }
    static TRINE_DEVICE_METHOD partial merge(const partial &a, const partial &b)
    {
        const float most = __builtin_fmaxf(a.most, b.most);
        return partial{most, target::add_rn(rescaled(a, most), rescaled(b, most))};
    }
    static TRINE_DEVICE_METHOD partial combine(const partial &p)
    {
        const float most = wave_reduce(p.most, op_most{});
        return partial{most, wave_reduce(rescaled(p, most), op_sum{})};
    }

    static TRINE_DEVICE_METHOD stats finish(const partial &p, int64_t)
    {
        const float last = log ? (target::log2_fast(p.sum) - softmax_base::residual(p.most)) * ln2 : target::rcp_fast(p.sum);
        return stats{softmax_base(p.most), p.most, last};
    }
    static TRINE_DEVICE_METHOD void note(const stats &, int64_t) {}

    template <int P>
    static TRINE_DEVICE_METHOD void emit(float (&y)[4], const stats &s, const row_tile<T, 1, P> &tile, int i, int q, nothing)
    {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const float x = tile.at[0][i].value(4 * q + j);
            y[j] = log ? (x - s.most) - s.last : s.base.power(x) * s.last;
        }
    }
};

/* in[0] = y, in[1] = dy. A partial is sum(y dy), or sum(dy) for the logarithm. */
template <class T, bool log> struct softmax_gradient_rows : row_shares_nothing {
    using element = T;
    enum { inputs = 2 };
    const T *in[2];
    T *out;

    struct partial {
        float sum;
    };
    using stats = partial;

    static TRINE_DEVICE_METHOD float neutral() { return 0.0f; }
    static TRINE_DEVICE_METHOD partial identity() { return partial{0.0f}; }

    template <int P> static TRINE_DEVICE_METHOD partial gather(row_tile<T, 2, P> &tile, const row_place &, int width)
    {
        float sum = 0.0f;
#pragma unroll
        for (int i = 0; i < P; i++)
#pragma unroll
            for (int j = 0; j < row_pack<T>; j++) {
                const float dy = tile.at[1][i].value(j);
                sum = log ? sum + dy : target::fma_rn(tile.at[0][i].value(j), dy, sum);
            }
        return partial{wave_reduce(sum, op_sum{}, width)};
    }
    static TRINE_DEVICE_METHOD partial merge(const partial &a, const partial &b) { return partial{a.sum + b.sum}; }
    static TRINE_DEVICE_METHOD partial combine(const partial &p) { return partial{wave_reduce(p.sum, op_sum{})}; }
    static TRINE_DEVICE_METHOD stats finish(const partial &p, int64_t) { return p; }
    static TRINE_DEVICE_METHOD void note(const stats &, int64_t) {}

    template <int P>
    static TRINE_DEVICE_METHOD void emit(float (&dx)[4], const stats &s, const row_tile<T, 2, P> &tile, int i, int q, nothing)
    {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const float y = tile.at[0][i].value(4 * q + j), dy = tile.at[1][i].value(4 * q + j);
            dx[j] = log ? target::fma_rn(-target::exp2_fast(y * log2e), s.sum, dy) : y * (dy - s.sum);
        }
    }
};

/* ---- Host ---- */

template <template <class, bool> class Rows, bool log>
inline trine_status softmax_forward(trine_call *call, const trine_softmax_args *a)
{
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        const trine_tensor *tensors[] = {&a->y, &a->x};
        return run_rows(call, Rows<T, log>{{}, {data_of<T>(a->x)}, data_of<T>(a->y)}, tensors);
    });
}

template <template <class, bool> class Rows, bool log>
inline trine_status softmax_backward(trine_call *call, const trine_softmax_backward_args *a)
{
    return visit_floats(call, a->y.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        const trine_tensor *tensors[] = {&a->dx, &a->y, &a->dy};
        return run_rows(call, Rows<T, log>{{}, {data_of<T>(a->y), data_of<T>(a->dy)}, data_of<T>(a->dx)}, tensors);
    });
}

} // namespace simt

/* ---- The backend's functions ---- */

extern "C" trine_status TRINE_BACKEND_FN(softmax)(trine_call *call, const trine_softmax_args *a)
{
    return simt::softmax_forward<simt::softmax_rows, false>(call, a);
}
extern "C" trine_status TRINE_BACKEND_FN(log_softmax)(trine_call *call, const trine_log_softmax_args *a)
{
    return simt::softmax_forward<simt::softmax_rows, true>(call, a);
}
extern "C" trine_status TRINE_BACKEND_FN(softmax_backward)(trine_call *call, const trine_softmax_backward_args *a)
{
    return simt::softmax_backward<simt::softmax_gradient_rows, false>(call, a);
}
extern "C" trine_status TRINE_BACKEND_FN(log_softmax_backward)(trine_call *call, const trine_log_softmax_backward_args *a)
{
    return simt::softmax_backward<simt::softmax_gradient_rows, true>(call, a);
}

#endif
