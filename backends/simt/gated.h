/* Gated activations, forward and backward. Bound by bytes: each operand is moved once, 16 bytes at a time where rows are whole
 * packs; the packed form is two views of one tensor. The kind is chosen once a pack (activation_math.h). */
#ifndef TRINE_SIMT_GATED_H
#define TRINE_SIMT_GATED_H

#include "backends/simt/activation_map.h"
#include "backends/simt/map_many.h"
#include "core/gated_halves.h"

namespace simt {

struct f_gated {
    trine_activation_kind kind;
    float alpha;
    template <class T, int V>
    TRINE_DEVICE_METHOD void operator()(pack<T, V> &y, const pack<T, V> &gate, const pack<T, V> &up) const
    {
        visit_activation(kind, [&](auto k) {
#pragma unroll
            for (int i = 0; i < V; i++) y.at[i] = from_f32<T>(activate<T>(k.value, alpha, to_f32(gate.at[i])) * to_f32(up.at[i]));
        });
    }
};

/* dgate, dup of gate, up, dy. */
struct f_gated_backward {
    trine_activation_kind kind;
    float alpha;
    template <class T, int V> TRINE_DEVICE_METHOD void operator()(pack<T, V> (&out)[2], const pack<T, V> (&in)[3]) const
    {
        visit_activation(kind, [&](auto k) {
#pragma unroll
            for (int i = 0; i < V; i++) {
                const float gate = to_f32(in[0].at[i]), up = to_f32(in[1].at[i]), dy = to_f32(in[2].at[i]);
                out[0].at[i] = from_f32<T>(dy * up * activate_slope<T>(k.value, alpha, gate));
                out[1].at[i] = from_f32<T>(dy * activate<T>(k.value, alpha, gate));
            }
        });
    }
};

enum { gated_elements = 8 }; /* of each of five operands a thread has in flight */

inline trine_status gated(trine_call *call, const trine_gated_args *a)
{
    trine_tensor gate = a->gate, up = a->up;
    if (!trine_is_given(&up)) trine_gated_split(&gate, &up, a->up_first);
    return visit_floats(call, a->y.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        const trine_tensor *operands[] = {&a->y, &gate, &up};
        return activation_map(call, f_gated{a->kind, a->alpha}, trine_iter_make(operands, 3, 0), data_of<T>(a->y),
                              static_cast<const T *>(data_of<T>(gate)), static_cast<const T *>(data_of<T>(up)));
    });
}

inline trine_status gated_backward(trine_call *call, const trine_gated_backward_args *a)
{
    trine_tensor gate = a->gate, up = a->up, dgate = a->dgate, dup = a->dup;
    if (!trine_is_given(&up)) {
        trine_gated_split(&gate, &up, a->up_first);
        trine_gated_split(&dgate, &dup, a->up_first);
    }
    return visit_floats(call, a->dy.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        const trine_tensor *const operands[] = {&dgate, &dup, &gate, &up, &a->dy};
        return map_many<T, gated_elements, 2, 3>(call, f_gated_backward{a->kind, a->alpha}, operands);
    });
}

} // namespace simt

/* ---- The backend's functions: they take any arguments that pass the core's checks, and no workspace ---- */

extern "C" trine_status TRINE_BACKEND_FN(gated)(trine_call *call, const trine_gated_args *a)
{
    call->variant = target::variant;
    TRINE_END_OF_QUERY(call, 0);
    return simt::gated(call, a);
}

extern "C" trine_status TRINE_BACKEND_FN(gated_backward)(trine_call *call, const trine_gated_backward_args *a)
{
    call->variant = target::variant;
    TRINE_END_OF_QUERY(call, 0);
    return simt::gated_backward(call, a);
}

#endif
