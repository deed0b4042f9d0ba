/* Activations, forward and backward. Bound by bytes: each operand is moved once, 16 bytes at a time (map.h); a 16-bit element
 * leaves time for about 40 instructions on an H100 and an MI300X. The kind is chosen once a pack, so that a kernel is compiled
 * once a dtype. */
#ifndef TRINE_SIMT_ACTIVATION_H
#define TRINE_SIMT_ACTIVATION_H

#include "backends/simt/activation_map.h"

namespace simt {

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
