/* Moving elements without changing them: the bits are kept, of a NaN too. Any dtype but nf4, one for both; any strides. Source:
 * NumPy's swapaxes and transpose. What holds for every op is in trine.h. */
#ifndef TRINE_LAYOUT_H
#define TRINE_LAYOUT_H

#include "trine/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Exchanges the last two axes. x [..., M, N], y [..., N, M], ndim >= 2. Not in place. */
typedef struct trine_transpose_args {
    trine_tensor x, y;
} trine_transpose_args;
TRINE_API trine_status trine_transpose(trine_stream *stream, const trine_transpose_args *args);

/* Axis i of y is axis axes[i] of x: x [d0, d1, ...], y.shape[i] = x.shape[axes[i]]; axes count from 0, not from the end. Not in
 * place. INVALID_ARGUMENT if axes[0..ndim) is no permutation of 0..ndim-1; the rest of axes is ignored. */
typedef struct trine_permute_args {
    trine_tensor x, y;
    int32_t axes[TRINE_MAX_DIMS];
} trine_permute_args;
TRINE_API trine_status trine_permute(trine_stream *stream, const trine_permute_args *args);

#ifdef __cplusplus
}
#endif
#endif
