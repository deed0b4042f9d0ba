/* Dynamic tanh, a layer in the place of a normalisation. Zhu, Chen, He, LeCun, Liu 2025, "Transformers without Normalization". */
#ifndef TRINE_DYT_H
#define TRINE_DYT_H

#include "trine/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/* y = gamma tanh(alpha x) + beta, with tanh itself: no argument overflows.
 *   x, y          [..., N], ndim >= 1, one dtype: f32, f16, bf16; any strides on x, y without self-overlap
 *   alpha         one element, f32
 *   gamma, beta   [N], optional (1 and 0), stride 1, x's dtype or f32
 * Computed in f32, rounded once. y may be x in place. Asynchronous in the stream's order; no workspace. Errors: INVALID_ARGUMENT
 * for shapes or dtypes that don't go together. */
typedef struct trine_dyt_args {
    trine_tensor x, alpha, gamma, beta, y;
} trine_dyt_args;
TRINE_API trine_status trine_dyt(trine_stream *stream, const trine_dyt_args *args);

/* With t = tanh(alpha x) and s = 1 - t^2, from the forward's input x:
 *   dx = dy gamma alpha s        [..., N], x's dtype; may be x or dy in place
 *   dalpha = sum(dy gamma x s)   one element, f32, optional
 *   dgamma = sum(dy t), dbeta = sum(dy) over all axes but the last   [N], optional, stride 1, x's dtype or f32
 * x, dy [..., N], one dtype, any strides; gamma as in the forward. Sums are f32 in a fixed order: the same bits every time. The
 * rest as above, with workspace. */
typedef struct trine_dyt_backward_args {
    trine_tensor x, alpha, gamma, dy, dx, dalpha, dgamma, dbeta;
} trine_dyt_backward_args;
TRINE_API trine_status trine_dyt_backward(trine_stream *stream, const trine_dyt_backward_args *args);

#ifdef __cplusplus
}
#endif
#endif
