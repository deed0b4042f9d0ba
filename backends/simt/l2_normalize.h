/* L2 normalisation and its gradient, in the frame of row.h. Bound by bytes: each element is moved once. */
#ifndef TRINE_SIMT_L2_NORMALIZE_H
#define TRINE_SIMT_L2_NORMALIZE_H

#include "backends/simt/row_run.h"

namespace simt {

/* in[0] = x; of the gradient in[1] = dy. A partial is sum(x^2) and, for the gradient, sum(x dy). */
template <class T, int I> struct l2_rows : row_shares_nothing {
    using element = T;
    enum { inputs = I };
    const T *in[I];
    T *out;
    float eps;

    struct partial {
        float sum[I];
    };
    struct stats {
        float scale, along; /* factors of x, or of dy and x */
    };

    static TRINE_DEVICE_METHOD float neutral() { return 0.0f; }
    static TRINE_DEVICE_METHOD partial identity() { return partial{}; }

    /* A sum after the other: together they would keep more converted numbers than there are registers. */
    template <int P> static TRINE_DEVICE_METHOD partial gather(row_tile<T, I, P> &tile, const row_place &at, int width)
    {
        partial p = identity();
#pragma unroll
        for (int k = 0; k < I; k++) {
            if (k > 0) tile.pass(at.zero());
#pragma unroll
            for (int i = 0; i < P; i++)
#pragma unroll
                for (int j = 0; j < row_pack<T>; j++)
                    p.sum[k] = target::fma_rn(tile.at[0][i].value(j), tile.at[k][i].value(j), p.sum[k]);
        }
#pragma unroll
        for (int k = 0; k < I; k++) p.sum[k] = wave_reduce(p.sum[k], op_sum{}, width);
        return p;
    }
    static TRINE_DEVICE_METHOD partial merge(const partial &a, const partial &b)
    {
        partial p;
#pragma unroll
        for (int k = 0; k < I; k++) p.sum[k] = a.sum[k] + b.sum[k];
        return p;
    }
    static TRINE_DEVICE_METHOD partial combine(const partial &mine)
    {
        partial p;
#pragma unroll
        for (int k = 0; k < I; k++) p.sum[k] = wave_reduce(mine.sum[k], op_sum{});
        return p;
    }
    TRINE_DEVICE_METHOD stats finish(const partial &p, int64_t) const
    {
        const float norm = target::sqrt_ieee(p.sum[0]), scale = target::div_ieee(1.0f, norm < eps ? eps : norm);
        if (I == 1 || norm <= eps) return stats{scale, 0.0f};
        return stats{scale, -(p.sum[I - 1] * scale * scale) * scale};
    }
    static TRINE_DEVICE_METHOD void note(const stats &, int64_t) {}

    template <int P>
    static TRINE_DEVICE_METHOD void emit(float (&y)[4], const stats &s, const row_tile<T, I, P> &tile, int i, int q, nothing)
    {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            y[j] = tile.at[I - 1][i].value(4 * q + j) * s.scale;
            if (I == 2) y[j] = target::fma_rn(tile.at[0][i].value(4 * q + j), s.along, y[j]);
        }
    }
};

inline trine_status l2_normalize(trine_call *call, const trine_l2_normalize_args *a)
{
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        const trine_tensor *tensors[] = {&a->y, &a->x};
        return run_rows(call, l2_rows<T, 1>{{}, {data_of<T>(a->x)}, data_of<T>(a->y), a->eps}, tensors);
    });
}

inline trine_status l2_normalize_backward(trine_call *call, const trine_l2_normalize_backward_args *a)
{
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        const trine_tensor *tensors[] = {&a->dx, &a->x, &a->dy};
        return run_rows(call, l2_rows<T, 2>{{}, {data_of<T>(a->x), data_of<T>(a->dy)}, data_of<T>(a->dx), a->eps}, tensors);
    });
}

} // namespace simt

extern "C" trine_status TRINE_BACKEND_FN(l2_normalize)(trine_call *call, const trine_l2_normalize_args *a)
{
    return simt::l2_normalize(call, a);
}
extern "C" trine_status TRINE_BACKEND_FN(l2_normalize_backward)(trine_call *call, const trine_l2_normalize_backward_args *a)
{
    return simt::l2_normalize_backward(call, a);
}

#endif
