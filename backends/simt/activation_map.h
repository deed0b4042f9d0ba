/* map.h for functors that contain all activations: the dense kernel takes 16 elements a thread, which bounds the code that 20
 * kinds unroll to. */
#ifndef TRINE_SIMT_ACTIVATION_MAP_H
#define TRINE_SIMT_ACTIVATION_MAP_H

#include "backends/simt/activation_math.h"
#include "backends/simt/map.h"

namespace simt {

enum { activation_elements = 16 }; /* a thread's, in the dense kernel */

template <class F, class T, class... X>
inline trine_status activation_map(trine_call *call, F f, const trine_iter &it, T *y, const X *...x)
{
    return map_run<activation_elements / pack_of<T>>(call, f, it, y, x...);
}

} // namespace simt

#endif
