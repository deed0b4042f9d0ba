/* Softmax, its logarithm and their gradients, in the frame of row.h.
 *
 * A partial of the forward ops is a maximum and the sum of exponentials relative to it (Milakov & Gimelshein 2018); merging two rescales the sums. An exponential is one
 * multiply-add and the hardware's 2^x: e^(x - most) = 2^(x scale - shift), with shift = most scale rounded once for the whole row, so that its error is the same factor in
 * numerator and denominator. Exponentials are computed twice, for the sum and for the output: as many registers as it takes to keep them hold another row.
 * Bound by bytes; 16-bit types come near the rate of 2^x. */
#ifndef TRINE_SIMT_SOFTMAX_H
#define TRINE_SIMT_SOFTMAX_H

#include "backends/simt/row_run.h"

namespace simt {

constexpr float log2e = 1.44269504f, ln2 = 0.693147181f;

/* x scale must be finite for every finite x. So close to the largest f32, two numbers that differ do so by more than any exponential can show, at any scale. */
TRINE_DEVICE float exponent_scale(float most) { return __builtin_fabsf(most) > 0x1p127f ? 0.5f : log2e; }

/* e^-inf is 0 beside a finite maximum and NaN beside -inf, which is right for a whole row, but not for the part of it that a wave or a slice has. */
TRINE_DEVICE float finite_or_zero(float most) { return most == -__builtin_inff() ? 0.0f : most; }

template <class T, bool log> struct softmax_rows {
    using element = T;
    enum { inputs = 1 };
    const T *in[1];
    T *out;

    struct partial {
        float most, sum;
    };
    struct stats {
        float most, scale, shift;
        float last; /* 1 / sum, or its logarithm */
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
        const float scale = exponent_scale(most), shift = target::mul_rn(finite_or_zero(most), scale);
        tile.pass(at.zero());
#pragma unroll
        for (int i = 0; i < P; i++)
#pragma unroll
            for (int j = 0; j < V; j++) sum += target::exp2_fast(target::fma_rn(tile.at[0][i].value(j), scale, -shift));
        return partial{most, wave_reduce(sum, op_sum{}, width)};
    }

    /* The sum of `p` relative to `most`, which is at least p.most. */
    static TRINE_DEVICE_METHOD float rescaled(const partial &p, float most)
    {
        const float scale = exponent_scale(most), shift = target::mul_rn(finite_or_zero(most), scale);
        return p.sum * target::exp2_fast(target::mul_rn(p.most, scale) - shift);
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

    /* A row of -inf alone gives NaN by -inf - -inf. The logarithm takes back the rounding of shift, which the sum has in it. */
    static TRINE_DEVICE_METHOD stats finish(const partial &p, int64_t)
    {
        stats s;
        s.most = p.most;
        s.scale = exponent_scale(p.most);
        s.shift = target::mul_rn(p.most, s.scale);
        if (log) s.last = (target::log2_fast(p.sum) - target::fma_rn(p.most, s.scale, -s.shift)) * ln2;
        else s.last = target::rcp_fast(p.sum);
        return s;
    }
    static TRINE_DEVICE_METHOD void note(const stats &, int64_t) {}

    template <int P>
    static TRINE_DEVICE_METHOD void emit(float (&y)[4], const stats &s, const row_tile<T, 1, P> &tile, int i, int q, const row_place &, int64_t)
    {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const float x = tile.at[0][i].value(4 * q + j);
            const float exponential = target::exp2_fast(target::fma_rn(x, s.scale, -s.shift));
            y[j] = log ? (x - s.most) - s.last : exponential * s.last;
        }
    }
};

/* in[0] = y, in[1] = dy. A partial is sum(y dy), or sum(dy) for the logarithm. */
template <class T, bool log> struct softmax_gradient_rows {
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
    static TRINE_DEVICE_METHOD void emit(float (&dx)[4], const stats &s, const row_tile<T, 2, P> &tile, int i, int q, const row_place &, int64_t)
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
        return run_rows(call, Rows<T, log>{{data_of<T>(a->x)}, data_of<T>(a->y)}, tensors);
    });
}

template <template <class, bool> class Rows, bool log>
inline trine_status softmax_backward(trine_call *call, const trine_softmax_backward_args *a)
{
    return visit_floats(call, a->y.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        const trine_tensor *tensors[] = {&a->dx, &a->y, &a->dy};
        return run_rows(call, Rows<T, log>{{data_of<T>(a->y), data_of<T>(a->dy)}, data_of<T>(a->dx)}, tensors);
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
