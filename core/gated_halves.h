/* The halves of a packed gated activation as views; C11 and C++17. */
#ifndef TRINE_CORE_GATED_HALVES_H
#define TRINE_CORE_GATED_HALVES_H

#include "trine/tensor.h"

/* Makes of the packed *gate [..., 2 N] the gate and *up, each [..., N]. */
static inline void trine_gated_split(trine_tensor *gate, trine_tensor *up, int32_t up_first)
{
    const int64_t n = gate->shape[gate->ndim - 1] / 2;
    const trine_tensor first = trine_tensor_slice(*gate, -1, 0, n, 1), second = trine_tensor_slice(*gate, -1, n, 2 * n, 1);
    *gate = up_first ? second : first;
    *up = up_first ? first : second;
}

#endif
