/* Reductions; reduce_run.h chooses the kernels. segment_sum is in layout.h. Bound by bytes: the inputs once. */
#ifndef TRINE_SIMT_REDUCE_H
#define TRINE_SIMT_REDUCE_H

#include "backends/simt/argmax_rows.h"
#include "backends/simt/reduce_run.h"

namespace simt {

/* ---- Ops ---- */

inline sum_output output_of(const trine_tensor &y, const trine_reduction &r, bool mean, bool root)
{
    return sum_output{y.data, y.dtype, mean ? float(r.rows.numel * r.n) : 1.0f, root};
}

enum sum_op { SUM, MEAN, NORM_L1, NORM_L2 };

inline trine_status reduce_sums(trine_call *call, const trine_reduce_args *a, sum_op what)
{
    const trine_reduction r = trine_reduction_make(&a->x, &a->x, &a->y, a->axis, 0);
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        const T *x = data_of<T>(a->x);
        const sum_output out = output_of(a->y, r, what == MEAN, what == NORM_L2);
        if (what == NORM_L1 || what == NORM_L2) return reduce(call, reduce_norm<T>{{{x}, out}, what == NORM_L2}, r);
        return reduce(call, reduce_sum<T>{{{x}, out}}, r);
    });
}

inline trine_status reduce_dots(trine_call *call, const trine_dot_args *a)
{
    const trine_reduction r = trine_reduction_make(&a->a, &a->b, &a->y, a->axis, 0);
    return visit_floats(call, a->a.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        return reduce(call, reduce_dot<T>{{{data_of<T>(a->a), data_of<T>(a->b)}, output_of(a->y, r, false, false)}}, r);
    });
}

template <class F> inline trine_status visit_ordered(trine_call *call, trine_dtype dtype, F f)
{
    switch (dtype) {
    case TRINE_I32: return f(tag<int32_t>{});
    case TRINE_I64: return f(tag<int64_t>{});
    default: return visit_floats(call, dtype, f);
    }
}

inline trine_status reduce_extremes(trine_call *call, const trine_reduce_args *a, bool least)
{
    const trine_reduction r = trine_reduction_make(&a->x, &a->x, &a->y, a->axis, 0);
    return visit_ordered(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        const T *x = data_of<T>(a->x);
        T *y = data_of<T>(a->y);
        if constexpr (is_integer<T>)
            return reduce(call, reduce_extreme_integer<T>{{x}, y, least ? -1 : 0}, r);
        else
            return reduce(call, reduce_extreme_float<T>{{x}, y, least ? sizeof(T) == 2 ? 0x80008000u : 0x80000000u : 0}, r);
    });
}

inline trine_status reduce_argmaxes(trine_call *call, const trine_reduce_args *a)
{
    const trine_reduction r = trine_reduction_make(&a->x, &a->x, &a->y, a->axis, 1);
    return visit_ordered(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        return argmax(call, reduce_argmax<T>{{data_of<T>(a->x)}, a->y.data, a->y.dtype == TRINE_I64}, r);
    });
}

} // namespace simt

/* ---- The backend's functions ---- */

#define TRINE_REDUCE(name, expression) \
    extern "C" trine_status TRINE_BACKEND_FN(name)(trine_call * call, const trine_##name##_args *a) { return expression; }
TRINE_REDUCE(sum, simt::reduce_sums(call, a, simt::SUM))
TRINE_REDUCE(mean, simt::reduce_sums(call, a, simt::MEAN))
TRINE_REDUCE(norm_l1, simt::reduce_sums(call, a, simt::NORM_L1))
TRINE_REDUCE(norm_l2, simt::reduce_sums(call, a, simt::NORM_L2))
TRINE_REDUCE(dot, simt::reduce_dots(call, a))
TRINE_REDUCE(amax, simt::reduce_extremes(call, a, false))
TRINE_REDUCE(amin, simt::reduce_extremes(call, a, true))
TRINE_REDUCE(argmax, simt::reduce_argmaxes(call, a))
#undef TRINE_REDUCE

#endif
