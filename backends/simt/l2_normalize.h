/* L2 normalisation, one of the norms of norm.h, and its gradient, in the frame of row.h. Bound by bytes: each element is moved
 * once. */
#ifndef TRINE_SIMT_L2_NORMALIZE_H
#define TRINE_SIMT_L2_NORMALIZE_H

#include "backends/simt/norm.h"

namespace simt {

/* in[0] = x, in[1] = dy. A partial is sum(x^2) and sum(x dy). */
template <class T> struct l2_gradient_rows : row_shares_nothing {
    using element = T;
    enum { inputs = 2 };
    const T *in[2];
    T *out;
    float eps;

    struct partial {
        float sum[2];
    };
    struct stats {
        float scale, along; /* factors of dy and x */
    };

    static TRINE_DEVICE_METHOD float neutral() { return 0.0f; }
    static TRINE_DEVICE_METHOD partial identity() { return partial{}; }

    /* A sum after the other: together they would keep more converted numbers than there are registers. */
    template <int P> static TRINE_DEVICE_METHOD partial gather(row_tile<T, 2, P> &tile, const row_place &at, int width)
    {
        partial p = identity();
#pragma unroll
        for (int k = 0; k < 2; k++) {
            if (k > 0) tile.pass(at.zero());
#pragma unroll
            for (int i = 0; i < P; i++)
#pragma unroll
                for (int j = 0; j < row_pack<T>; j++)
                    p.sum[k] = target::fma_rn(tile.at[0][i].value(j), tile.at[k][i].value(j), p.sum[k]);
        }
#pragma unroll
        for (int k = 0; k < 2; k++) p.sum[k] = wave_reduce(p.sum[k], op_sum{}, width);
        return p;
    }
    static TRINE_DEVICE_METHOD partial merge(const partial &a, const partial &b)
    {
        partial p;
#pragma unroll
        for (int k = 0; k < 2; k++) p.sum[k] = a.sum[k] + b.sum[k];
        return p;
    }
    static TRINE_DEVICE_METHOD partial combine(const partial &mine)
    {
        partial p;
#pragma unroll
        for (int k = 0; k < 2; k++) p.sum[k] = wave_reduce(mine.sum[k], op_sum{});
        return p;
    }
    TRINE_DEVICE_METHOD stats finish(const partial &p, int64_t) const
    {
        const float norm = target::sqrt_ieee(p.sum[0]), scale = target::div_ieee(1.0f, norm < eps ? eps : norm);
        return stats{scale, norm <= eps ? 0.0f : -(p.sum[1] * scale * scale) * scale};
    }
    static TRINE_DEVICE_METHOD void note(const stats &, int64_t) {}

    template <int P>
    static TRINE_DEVICE_METHOD void emit(float (&y)[4], const stats &s, const row_tile<T, 2, P> &tile, int i, int q, nothing)
    {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            y[j] = target::fma_rn(tile.at[0][i].value(4 * q + j), s.along, tile.at[1][i].value(4 * q + j) * s.scale);
        }
    }
};

template <class T> constexpr bool row_seldom_odd<l2_gradient_rows<T>> = true;
template <class T> constexpr bool row_goes_long<l2_gradient_rows<T>> = true;

inline trine_status l2_normalize(trine_call *call, const trine_l2_normalize_args *a)
{
    return visit_floats(call, a->x.dtype, [&](auto t) {
        return run_norm<typename decltype(t)::type>(call, {{}, {}, {}, {}, a->eps, 0.0f, norm_mode::length, false}, &a->y, &a->x);
    });
}

inline trine_status l2_normalize_backward(trine_call *call, const trine_l2_normalize_backward_args *a)
{
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        const trine_tensor *tensors[] = {&a->dx, &a->x, &a->dy};
        return run_rows(call, l2_gradient_rows<T>{{}, {data_of<T>(a->x), data_of<T>(a->dy)}, data_of<T>(a->dx), a->eps}, tensors);
    });
}

} // namespace simt

#endif
