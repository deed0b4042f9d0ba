/* Activations, forward and backward. Bound by bytes: each operand is moved once, 16 bytes at a time (map.h); a 16-bit element
 * leaves time for about 40 instructions on an H100 and an MI300X. The kind is chosen once a pack, so that a kernel is compiled
 * once a dtype; a thread takes 16 elements, which bounds the code that 20 kinds unroll to. */
#ifndef TRINE_SIMT_ACTIVATION_H
#define TRINE_SIMT_ACTIVATION_H

#include "backends/simt/activation_math.h"
#include "backends/simt/map.h"

namespace simt {

enum { activation_elements = 16 }; /* a thread's, in the dense kernel */

struct f_activation {
    trine_activation_kind kind;
    float alpha;
    template <class T, int V> TRINE_DEVICE_METHOD void operator()(pack<T, V> &y, const pack<T, V> &x) const
    {
        visit_activation(kind, [&](auto k) {
#pragma unroll
            for (int i = 0; i < V; i++) y.at[i] = from_f32<T>(activate<T>(k.value, alpha, to_f32(x.at[i])));
        });
    }
};

struct f_activation_backward {
    trine_activation_kind kind;
    float alpha;
    template <class T, int V> TRINE_DEVICE_METHOD void operator()(pack<T, V> &dx, const pack<T, V> &x, const pack<T, V> &dy) const
    {
        visit_activation(kind, [&](auto k) {
#pragma unroll
            for (int i = 0; i < V; i++)
                dx.at[i] = from_f32<T>(to_f32(dy.at[i]) * activate_slope<T>(k.value, alpha, to_f32(x.at[i])));
        });
    }
};

/* As map_run, with fewer packs a thread. */
template <class F, class T, class... X>
inline trine_status activation_map(trine_call *call, F f, trine_iter it, T *y, const X *...x)
{
    constexpr int V = pack_of<T>, U = activation_elements / V;
    if (it.numel == 0) return TRINE_OK;
    bool dense = it.ndim == 1 && (aligned16(y) && ... && aligned16(x));
    for (int k = 0; k < it.operands; k++) dense = dense && it.stride[k][0] == 1;
    if (dense)
        return launch(call, map_dense_kernel<V, U, F, T, X...>, grid(ceil_div(ceil_div(it.numel, V), map_threads * U)),
                      map_threads, 0, f, it.numel, y, x...);
    inner_strides inner;
    const bool small = it.numel < 0x7fffffff;
    const int64_t n = trine_iter_pop_inner(&it, inner.of);
    if (small && packs_fit<V>(it, n, inner.of, static_cast<const T *>(y), x...))
        return launch_strided<V, divider32>(call, f, it, n, inner, y, x...);
    return small ? launch_strided<1, divider32>(call, f, it, n, inner, y, x...)
                 : launch_strided<1, divider64>(call, f, it, n, inner, y, x...);
}

inline trine_status activation(trine_call *call, const trine_activation_args *a)
{
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        const trine_tensor *operands[] = {&a->y, &a->x};
        return activation_map(call, f_activation{a->kind, a->alpha}, trine_iter_make(operands, 2, 0), data_of<T>(a->y),
                              static_cast<const T *>(data_of<T>(a->x)));
    });
}

inline trine_status activation_backward(trine_call *call, const trine_activation_backward_args *a)
{
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        const trine_tensor *operands[] = {&a->dx, &a->x, &a->dy};
        return activation_map(call, f_activation_backward{a->kind, a->alpha}, trine_iter_make(operands, 3, 0), data_of<T>(a->dx),
                              static_cast<const T *>(data_of<T>(a->x)), static_cast<const T *>(data_of<T>(a->dy)));
    });
}

} // namespace simt

/* ---- The backend's functions: they take any arguments that pass the core's checks, and no workspace ---- */

extern "C" trine_status TRINE_BACKEND_FN(activation)(trine_call *call, const trine_activation_args *a)
{
    call->variant = target::variant;
    TRINE_END_OF_QUERY(call, 0);
    return simt::activation(call, a);
}

extern "C" trine_status TRINE_BACKEND_FN(activation_backward)(trine_call *call, const trine_activation_backward_args *a)
{
    call->variant = target::variant;
    TRINE_END_OF_QUERY(call, 0);
    return simt::activation_backward(call, a);
}

#endif
