/* Softmax over the last axis. Source: Milakov & Gimelshein, "Online normalizer calculation for softmax", 2018. What holds for
 * every op is in trine.h. */
#ifndef TRINE_SOFTMAX_H
#define TRINE_SOFTMAX_H

#include "trine/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/* softmax:     y = exp(x - max) / sum exp(x - max)      log_softmax: y = x - max - log(sum exp(x - max))
 *   x, y [..., N], ndim >= 1, one dtype: f32, f16, bf16; the last axis has stride 1 (UNSUPPORTED otherwise), the others any. In
 *   place allowed. Statistics in f32.
 * A row whose entries are all -inf gives NaN, as the formula says; single -inf entries give 0 (softmax) or -inf (log_softmax). A
 * NaN or +inf makes its whole row NaN. */
typedef struct trine_softmax_args {
    trine_tensor x, y;
} trine_softmax_args;
typedef trine_softmax_args trine_log_softmax_args;
TRINE_API trine_status trine_softmax(trine_stream *stream, const trine_softmax_args *args);
TRINE_API trine_status trine_log_softmax(trine_stream *stream, const trine_log_softmax_args *args);

/* From the forward's OUTPUT y:   softmax: dx = y (dy - sum(y dy))      log_softmax: dx = dy - exp(y) sum(dy)
 *   y, dy, dx [..., N], ndim >= 1, one dtype: f32, f16, bf16; the last axis has stride 1 (UNSUPPORTED otherwise), the others any.
 *   In place allowed, dx as dy or y. Sums in f32. */
typedef struct trine_softmax_backward_args {
    trine_tensor y, dy, dx;
} trine_softmax_backward_args;
typedef trine_softmax_backward_args trine_log_softmax_backward_args;
TRINE_API trine_status trine_softmax_backward(trine_stream *stream, const trine_softmax_backward_args *args);
TRINE_API trine_status trine_log_softmax_backward(trine_stream *stream, const trine_log_softmax_backward_args *args);

#ifdef __cplusplus
}
#endif
#endif
