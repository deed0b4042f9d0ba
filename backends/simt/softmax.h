/* Softmax, its logarithm and their gradients, in the frame of row.h; exp_sum.h has the forward's statistics. Exponentials are
 * computed twice, for the sum and for the output: as many registers as it takes to keep them hold another row. Bound by bytes;
 * 16-bit types come near the rate of 2^x. */
#ifndef TRINE_SIMT_SOFTMAX_H
#define TRINE_SIMT_SOFTMAX_H

#include "backends/simt/await.h"
#include "backends/simt/exp_sum.h"

namespace simt {

/* The op or its logarithm. Known while compiling for simple rows: kernels with the code of both took up to 0.2 us longer on small
 * tensors (H100). The others ask. */
template <bool log_> struct softmax_way {
    static constexpr bool log = log_;
};
struct softmax_either {
    bool log;
};

template <class T, class Way> struct softmax_rows : row_shares_nothing, Way {
    using element = T;
    using Way::log;
    enum { inputs = 1 };
    const T *in[1];
    T *out;

    using partial = exp_sum;
    struct stats {
        softmax_base base;
        float most, last; /* 1 / sum, or its logarithm */
    };

    static TRINE_DEVICE_METHOD float neutral() { return -__builtin_inff(); }
    static TRINE_DEVICE_METHOD partial identity() { return exp_sum::identity(); }
    static TRINE_DEVICE_METHOD partial merge(const partial &a, const partial &b) { return exp_sum::merge(a, b); }
    static TRINE_DEVICE_METHOD partial combine(const partial &p) { return exp_sum::combine(p); }
    template <int P> static TRINE_DEVICE_METHOD partial gather(row_tile<T, 1, P> &tile, const row_place &at, int width)
    {
        return exp_sum::gather<T, P>(tile, at, width, [&](int i, int j) { return tile.at[0][i].value(j); });
    }

    TRINE_DEVICE_METHOD stats finish(const partial &p, int64_t) const
    {
        const float last = log ? p.log() : target::rcp_fast(p.sum);
        return stats{softmax_base(p.most), p.most, last};
    }
    static TRINE_DEVICE_METHOD void note(const stats &, int64_t) {}

    template <int P>
    TRINE_DEVICE_METHOD void emit(float (&y)[4], const stats &s, const row_tile<T, 1, P> &tile, int i, int q, nothing) const
    {
        if (log) {
#pragma unroll
            for (int j = 0; j < 4; j++) y[j] = (tile.at[0][i].value(4 * q + j) - s.most) - s.last;
        } else {
#pragma unroll
            for (int j = 0; j < 4; j++) y[j] = s.base.power(tile.at[0][i].value(4 * q + j)) * s.last;
        }
    }
};

/* in[0] = y, in[1] = dy. A partial is sum(y dy), or sum(dy) for the logarithm. */
template <class T, class Way> struct softmax_gradient_rows : row_shares_nothing, Way {
    using element = T;
    using Way::log;
    enum { inputs = 2 };
    const T *in[2];
    T *out;

    struct partial {
        float sum;
    };
    using stats = partial;

    static TRINE_DEVICE_METHOD float neutral() { return 0.0f; }
    static TRINE_DEVICE_METHOD partial identity() { return partial{0.0f}; }

    template <int P> TRINE_DEVICE_METHOD partial gather(row_tile<T, 2, P> &tile, const row_place &at, int width) const
    {
        float sum = 0.0f;
        if (log) {
            await(tile.at[1][0], arrival_of(tile.at[0], at.zero())); /* y, which is not in the sum, is asked for now */
#pragma unroll
            for (int i = 0; i < P; i++)
#pragma unroll
                for (int j = 0; j < row_pack<T>; j++) sum += tile.at[1][i].value(j);
        } else {
#pragma unroll
            for (int i = 0; i < P; i++)
#pragma unroll
                for (int j = 0; j < row_pack<T>; j++) sum = target::fma_rn(tile.at[0][i].value(j), tile.at[1][i].value(j), sum);
        }
        return partial{wave_reduce(sum, op_sum{}, width)};
    }
    static TRINE_DEVICE_METHOD partial merge(const partial &a, const partial &b) { return partial{a.sum + b.sum}; }
    static TRINE_DEVICE_METHOD partial combine(const partial &p) { return partial{wave_reduce(p.sum, op_sum{})}; }
    static TRINE_DEVICE_METHOD stats finish(const partial &p, int64_t) { return p; }
    static TRINE_DEVICE_METHOD void note(const stats &, int64_t) {}

    template <int P>
    TRINE_DEVICE_METHOD void emit(float (&dx)[4], const stats &s, const row_tile<T, 2, P> &tile, int i, int q, nothing) const
    {
        const auto y = [&](int j) { return tile.at[0][i].value(4 * q + j); };
        const auto dy = [&](int j) { return tile.at[1][i].value(4 * q + j); };
        if (log) {
#pragma unroll
            for (int j = 0; j < 4; j++) dx[j] = target::fma_rn(-target::exp2_fast(y(j) * log2e), s.sum, dy(j));
        } else {
#pragma unroll
            for (int j = 0; j < 4; j++) dx[j] = y(j) * (dy(j) - s.sum);
        }
    }
};

/* ---- Host ---- */

template <bool log> inline trine_status softmax_forward(trine_call *call, const trine_softmax_args *a)
{
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        const trine_tensor *tensors[] = {&a->y, &a->x};
        const softmax_rows<T, softmax_way<log>> simple = {{}, {}, {data_of<T>(a->x)}, data_of<T>(a->y)};
        const softmax_rows<T, softmax_either> any = {{}, {log}, {data_of<T>(a->x)}, data_of<T>(a->y)};
        return run_rows(call, simple, any, true, tensors);
    });
}

template <bool log> inline trine_status softmax_backward(trine_call *call, const trine_softmax_backward_args *a)
{
    return visit_floats(call, a->y.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        const trine_tensor *tensors[] = {&a->dx, &a->y, &a->dy};
        const softmax_gradient_rows<T, softmax_way<log>> simple = {
            {}, {}, {data_of<T>(a->y), data_of<T>(a->dy)}, data_of<T>(a->dx)};
        const softmax_gradient_rows<T, softmax_either> any = {
            {}, {log}, {data_of<T>(a->y), data_of<T>(a->dy)}, data_of<T>(a->dx)};
        return run_rows(call, simple, any, true, tensors);
    });
}

} // namespace simt

/* ---- The backend's functions ---- */

extern "C" trine_status TRINE_BACKEND_FN(softmax)(trine_call *call, const trine_softmax_args *a)
{
    return simt::softmax_forward<false>(call, a);
}
extern "C" trine_status TRINE_BACKEND_FN(log_softmax)(trine_call *call, const trine_log_softmax_args *a)
{
    return simt::softmax_forward<true>(call, a);
}
extern "C" trine_status TRINE_BACKEND_FN(softmax_backward)(trine_call *call, const trine_softmax_backward_args *a)
{
    return simt::softmax_backward<false>(call, a);
}
extern "C" trine_status TRINE_BACKEND_FN(log_softmax_backward)(trine_call *call, const trine_log_softmax_backward_args *a)
{
    return simt::softmax_backward<true>(call, a);
}

#endif
