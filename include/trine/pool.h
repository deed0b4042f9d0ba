/* Pooling over windows of one or two axes. */
#ifndef TRINE_POOL_H
#define TRINE_POOL_H

#include "trine/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum trine_pool_kind { TRINE_POOL_MAX = 0, TRINE_POOL_AVERAGE } trine_pool_kind;

/* The windows. Element 0 of each array is the first spatial axis (height; the length where rank is 1); the other is ignored where
 * rank is 1. The window of output o has the taps o stride - padding + j dilation, j = 0 ... kernel - 1; those outside of the
 * input are padding. The output has floor((L + 2 padding - dilation (kernel - 1) - 1) / stride) + 1 elements along an axis of L;
 * with ceil_mode the quotient is rounded up, but the last window begins before L + padding. */
typedef struct trine_pool_window {
    int32_t rank;                                          /* 1 or 2 */
    int32_t kernel[2], stride[2], padding[2], dilation[2]; /* 0 in stride and dilation is taken as 1 */
    int32_t ceil_mode;
    int32_t count_include_pad; /* average: padding (but not what ceil_mode adds beyond it) counts as zeros */
} trine_pool_window;

/* y = the largest, or the average, of each window.
 *   x, y     [N, C, L] or [N, C, H, W]; with channels_last [N, L, C] or [N, H, W, C]; one dtype: f32, f16, bf16; any strides on x,
 *            y without self-overlap
 *   indices  max only, optional, i32 or i64, y's shape, no self-overlap: where in the input's plane the largest is, h W + w
 * Max: the first of equals; NaN counts as largest; zeros come out as +0; a window of padding alone gives -inf and the index -1.
 * Average: summed in f32, divided by the number of its taps that count; 0/0 is NaN.
 * Asynchronous in the stream's order; no workspace. Errors: INVALID_ARGUMENT for attributes out of range (kernel and stride at
 * least 1, padding at most half of the extent dilation (kernel - 1) + 1), sizes that don't go together, a plane of 2^31 elements
 * or an axis of 2^30 or more. UNSUPPORTED on GPUs for 2^31 channels or more. */
typedef struct trine_pool_args {
    trine_tensor x, y, indices;
    trine_pool_window window;
    trine_pool_kind kind;
    int32_t channels_last;
} trine_pool_args;
TRINE_API trine_status trine_pool(trine_stream *stream, const trine_pool_args *args);

/* dx = the sum over the windows of dy where the element was the largest, or dy / count. dy, dx as y and x above; indices (max
 * only, required) as the forward gave them. Each element of dx adds its windows in f32, in an order that the shapes set: the same
 * bits every time. */
typedef struct trine_pool_backward_args {
    trine_tensor dy, indices, dx;
    trine_pool_window window;
    trine_pool_kind kind;
    int32_t channels_last;
} trine_pool_backward_args;
TRINE_API trine_status trine_pool_backward(trine_stream *stream, const trine_pool_backward_args *args);

#ifdef __cplusplus
}
#endif
#endif
