/* Convolution over one or two axes, and its gradients. What holds for every op is in trine.h. */
#ifndef TRINE_CONV_H
#define TRINE_CONV_H

#include "trine/activation.h"
#include "trine/matmul.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How a filter is moved over its input. Element 0 of each array is the first spatial axis (height; the length where rank is 1);
 * the other is ignored where rank is 1. The output o meets the input at o stride - padding + j dilation with tap j of the filter;
 * outside of the input there are zeros. The output has floor((L + 2 padding - dilation (kernel - 1) - 1) / stride) + 1 elements
 * along an axis of L, or none. The channels of input and output are divided into `groups` equal parts; each part of the output
 * is made of the same part of the input alone. */
typedef struct trine_conv_window {
    int32_t rank;                               /* 1 or 2 */
    int32_t stride[2], padding[2], dilation[2]; /* 0 in stride and dilation is taken as 1 */
    int32_t groups;                             /* 0 is taken as 1 */
} trine_conv_window;

/* y = act(x * weight + bias): a cross-correlation, as in PyTorch's conv1d and conv2d.
 *   x       [N, C, L] or [N, C, H, W]; f32, f16, bf16
 *   weight  [K, C/groups, S] or [K, C/groups, R, S]; x's dtype
 *   bias    [K], optional; x's dtype or f32; stride 1
 *   y       [N, K, Q] or [N, K, P, Q]; x's dtype or f32; no self-overlap
 * With channels_last the channels are the last axis of each: [N, H, W, C], [K, R, S, C/groups], [N, P, Q, K]. Any strides on all
 * but bias, so that either form can be a view of the other; fast are those in which channels lie densely.
 *   activation  with activation_alpha, as in activation.h; 0 is identity
 *   precision   as in matmul.h: what f32 tensors are multiplied as
 * Products and sums in f32, one rounding. A NaN or inf of x counts where a tap meets it and nowhere else; whether one of the
 * weight, or of dy in the filters' gradient, counts over padding (0 times it is NaN) is not defined. Asynchronous in the
 * stream's order.
 * Errors: INVALID_ARGUMENT for attributes out of range (stride and dilation 1 to 2^20, padding 0 to 2^20), groups that do not
 * divide C and K, sizes that don't go together, an unknown activation or precision, an axis of 2^30 or more. UNSUPPORTED on
 * GPUs for 2^31 pixels or more.
 * Variants on NVIDIA: pointwise (one tap: matmul's variants; f32, and planes), sm90 (Hopper's tensor cores: f16, bf16, and f32
 * as tf32; true f32 by multiply-adds), depthwise (a filter a channel, 3x3, 5x5, 7x7), depthwise_ring (the same on Hopper, channels
 * last in pieces of 16 bytes), sm80 (tensor cores from compute capability 8.0 on: f16, bf16, f32 as tf32, channels in eights, which
 * are turned in the workspace where they do not lie densely; sm80_TILE forces a tile of the convolution), implicit_gemm; on AMD:
 * mfma, wmma (channels last, in eights), depthwise, implicit_gemm. */
typedef struct trine_conv_args {
    trine_tensor x, weight, bias, y;
    trine_conv_window window;
    int32_t channels_last;
    trine_activation_kind activation;
    float activation_alpha;
    trine_matmul_precision precision;
} trine_conv_args;
TRINE_API trine_status trine_conv(trine_stream *stream, const trine_conv_args *args);

/* dx = the gradient of the input: for each of its elements the sum over the outputs that it went into. dy, weight as y and weight
 * above, of one dtype; dx as x, in dy's dtype or f32. */
typedef struct trine_conv_backward_data_args {
    trine_tensor dy, weight, dx;
    trine_conv_window window;
    int32_t channels_last;
    trine_matmul_precision precision;
} trine_conv_backward_data_args;
TRINE_API trine_status trine_conv_backward_data(trine_stream *stream, const trine_conv_backward_data_args *args);

/* dweight = the gradient of the filter, and dbias [K] (optional, stride 1) that of the bias. x, dy of one dtype; dweight and dbias
 * in it or in f32. The sums over N P Q terms are divided in a way that the shapes set: the same bits every time. */
typedef struct trine_conv_backward_weight_args {
    trine_tensor x, dy, dweight, dbias;
    trine_conv_window window;
    int32_t channels_last;
    trine_matmul_precision precision;
} trine_conv_backward_weight_args;
TRINE_API trine_status trine_conv_backward_weight(trine_stream *stream, const trine_conv_backward_weight_args *args);

#ifdef __cplusplus
}
#endif
#endif
