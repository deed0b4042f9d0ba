/* Moving elements without changing them. Any dtype but nf4, any strides on x; the bits are kept. */
#ifndef TRINE_LAYOUT_H
#define TRINE_LAYOUT_H

#include "trine/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Exchanges the last two axes. x [..., M, N], y [..., N, M], one dtype, ndim >= 2. Not in place. */
typedef struct trine_transpose_args {
    trine_tensor x, y;
} trine_transpose_args;
TRINE_API trine_status trine_transpose(trine_stream *stream, const trine_transpose_args *args);

/* Axis i of y is axis axes[i] of x: y.shape[i] = x.shape[axes[i]]. One dtype. Not in place.
 * Error: INVALID_ARGUMENT if axes[0..ndim) is no permutation. */
typedef struct trine_permute_args {
    trine_tensor x, y;
    int32_t axes[TRINE_MAX_DIMS];
} trine_permute_args;
TRINE_API trine_status trine_permute(trine_stream *stream, const trine_permute_args *args);

#ifdef __cplusplus
}
#endif
#endif
