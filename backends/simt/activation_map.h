/* map.h for functors that contain all activations: the dense kernel takes 16 elements a thread, which bounds the code that 20
 * kinds unroll to. */
#ifndef TRINE_SIMT_ACTIVATION_MAP_H
#define TRINE_SIMT_ACTIVATION_MAP_H

#include "backends/simt/activation_math.h"
#include "backends/simt/map.h"

namespace simt {

enum { activation_elements = 16 }; /* a thread's, in the dense kernel */

/* As map_run, with fewer packs a thread. */
template <class F, class T, class... X>
inline trine_status activation_map(trine_call *call, F f, trine_iter it, T *y, const X *...x)
{
    constexpr int V = pack_of<T>, U = activation_elements / V;
    if (it.numel == 0) return TRINE_OK;
    bool dense = it.ndim == 1 && (aligned16(y) && ... && aligned16(x));
    for (int k = 0; k < it.operands; k++) dense = dense && it.stride[k][0] == 1;
    if (dense) return launch_dense<V, U>(call, f, it.numel, y, x...);
    inner_strides inner;
    const bool small = it.numel < 0x7fffffff;
    const int64_t n = trine_iter_pop_inner(&it, inner.of);
    if (small && packs_fit<V>(it, n, inner.of, static_cast<const T *>(y), x...))
        return launch_strided<V, divider32>(call, f, it, n, inner, y, x...);
    return small ? launch_strided<1, divider32>(call, f, it, n, inner, y, x...)
                 : launch_strided<1, divider64>(call, f, it, n, inner, y, x...);
}

} // namespace simt

#endif
