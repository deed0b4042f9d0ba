/* int8's scales as an operand that broadcasts; C11 and C++17. */
#ifndef TRINE_CORE_INT8_SCALE_H
#define TRINE_CORE_INT8_SCALE_H

#include "trine/tensor.h"

/* [1]: one for all. */
static inline int trine_int8_is_one_scale(const trine_tensor *scale) { return scale->ndim == 1 && scale->shape[0] == 1; }

/* [...] as [..., 1]; one for all as it is. */
static inline trine_tensor trine_int8_scale_view(const trine_tensor *scale, const trine_tensor *x)
{
    trine_tensor view = *scale;
    if (scale->ndim != x->ndim - 1) return view;
    view.shape[view.ndim] = 1;
    view.stride[view.ndim++] = 0;
    return view;
}

#endif
