/* Normalisation. What holds for every op is in trine.h. */
#ifndef TRINE_NORM_H
#define TRINE_NORM_H

#include "trine/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Both ops may add a residual before they normalise, which a transformer's block does anyway: with `residual`, sum = x + residual,
 * rounded to x's dtype, stands in x's place below, whether it is stored or not. What is normalised is so what a model would have
 * read back, had it stored the sum first.
 *   residual      x's shape and dtype, optional
 *   sum           x's shape and dtype, optional output, only with a residual; may be x or residual in place */

/* y = (x - mean) / sqrt(var + eps) * weight + bias, mean and (biased) variance over the last axis. Ba, Kiros, Hinton 2016.
 *   x, y          [..., N], ndim >= 1, one dtype: f32, f16, bf16; the last axis has stride 1 (UNSUPPORTED otherwise), the others
 *                 any. In place allowed, y as x or residual.
 *   weight, bias  [N], optional (1 and 0), stride 1, x's dtype or f32
 *   mean, rstd    [...] (x's shape without the last axis), optional outputs, contiguous f32: the mean, and 1 / sqrt(var + eps),
 *                 which a backward pass needs
 * Statistics in f32, the variance from centred values. INVALID_ARGUMENT unless eps > 0. */
typedef struct trine_layernorm_args {
    trine_tensor x, weight, bias, y, mean, rstd, residual, sum;
    float eps;
} trine_layernorm_args;
TRINE_API trine_status trine_layernorm(trine_stream *stream, const trine_layernorm_args *args);

/* y = x / sqrt(mean(x^2) + eps) * (weight_offset + weight). Zhang & Sennrich 2019.
 *   x, y           [..., N], as in layernorm. In place allowed, y as x or residual.
 *   weight         [N], optional (the factor is then 1, without the offset), stride 1, x's dtype or f32
 *   rstd           [...], optional output, contiguous f32: 1 / sqrt(mean(x^2) + eps)
 *   weight_offset  0 (Llama) or 1 (Gemma); any number is taken as it is
 *   round_first    0: all in f32, one rounding. Otherwise the normalised value is rounded to x's dtype before the weight
 *                  multiplies it.
 * The casting modes by name:            weight_offset  round_first
 *   f32 (PyTorch's RMSNorm, T5)         0              0
 *   Llama (Mistral, Qwen)               0              1
 *   Gemma                               1              0
 * INVALID_ARGUMENT unless eps > 0. */
typedef struct trine_rmsnorm_args {
    trine_tensor x, weight, y, rstd, residual, sum;
    float eps;
    float weight_offset;
    int32_t round_first;
} trine_rmsnorm_args;
TRINE_API trine_status trine_rmsnorm(trine_stream *stream, const trine_rmsnorm_args *args);

/* y = x / max(|x|, eps), |x| the Euclidean norm over the last axis.
 *   x, y   [..., N], as in layernorm. In place allowed, y as x.
 *   eps    bounds the divisor from below, as in PyTorch's normalize: a row of zeros stays one. (TensorFlow's l2_normalize bounds
 *          the sum of squares: its epsilon is the square of this eps.)
 * The sum of squares is f32: rows with |x| beyond 2^63 may become 0, and |x| below 2^-63 counts as 0. INVALID_ARGUMENT unless
 * eps > 0. */
typedef struct trine_l2_normalize_args {
    trine_tensor x, y;
    float eps;
} trine_l2_normalize_args;
TRINE_API trine_status trine_l2_normalize(trine_stream *stream, const trine_l2_normalize_args *args);

/* From the forward's input x, with s = 1 / max(|x|, eps):
 *   dx = s (dy - x s^2 sum(x dy)) where |x| > eps, else s dy      [..., N]; may be x or dy in place
 * x, dy, dx one shape and dtype, strides as in the forward. INVALID_ARGUMENT unless eps > 0. */
typedef struct trine_l2_normalize_backward_args {
    trine_tensor x, dy, dx;
    float eps;
} trine_l2_normalize_backward_args;
TRINE_API trine_status trine_l2_normalize_backward(trine_stream *stream, const trine_l2_normalize_backward_args *args);

/* Batch normalisation, by channel: y = (x - mean) rstd weight + bias with rstd = 1 / sqrt(var + eps). Ioffe & Szegedy 2015.
 *   x, y           [N, C, ...], or [N, ..., C] with channels_last; ndim >= 2, one dtype: f32, f16, bf16, any strides. Fast where
 *                  a channel's elements lie in long pieces (NCHW), and where channels lie side by side (NHWC, as strides or by
 *                  the attribute). In place allowed, y as x.
 *   weight, bias   [C], optional (1 and 0), stride 1, x's dtype or f32
 *   running_*      [C] f32, stride 1. Inference: needed, and used as mean and var. Training: optional, see below.
 *   mean, rstd     [C] f32, stride 1, optional outputs of training, which the backward pass needs
 *   new_running_*  [C] f32, stride 1, outputs of training, each given if its running_* is; normally that same view, in place:
 *                  (1 - momentum) running + momentum (mean or variance), as in PyTorch. This variance is the unbiased one, var
 *                  n / (n - 1) for the n elements of a channel; with n = 1 the biased one, 0, as there is no other; with n = 0
 *                  nothing is added: new_running_* is running_*, and mean and rstd are NaN.
 * Training: mean and var (biased) over the n elements, f32 from centred values, in a fixed order: the same bits every time.
 * INVALID_ARGUMENT unless eps > 0 and 0 <= momentum <= 1; for outputs that belong to training in inference. */
typedef struct trine_batchnorm_args {
    trine_tensor x, weight, bias, running_mean, running_var, y, mean, rstd, new_running_mean, new_running_var;
    float eps, momentum;
    int32_t inference, channels_last;
} trine_batchnorm_args;
TRINE_API trine_status trine_batchnorm(trine_stream *stream, const trine_batchnorm_args *args);

/* With z = (x - mean) rstd and sums over the n elements of a channel:
 *   dbias = sum(dy), dweight = sum(dy z)                                   [C], optional, stride 1, x's dtype or f32
 *   dx = weight rstd (dy - dbias / n - z dweight / n); inference: weight rstd dy       may be x or dy in place
 * x, dy, dx as x and y in the forward; weight as there.
 *   mean, rstd      [C] f32, stride 1: needed in training, as saved by the forward; inference does not read them
 *   running_*       [C] f32, stride 1: needed in inference, mean and rstd = 1 / sqrt(running_var + eps); training does not read
 *                   them
 * INVALID_ARGUMENT unless eps > 0 in inference (it does not count in training). */
typedef struct trine_batchnorm_backward_args {
    trine_tensor x, dy, weight, mean, rstd, running_mean, running_var, dx, dweight, dbias;
    float eps;
    int32_t inference, channels_last;
} trine_batchnorm_backward_args;
TRINE_API trine_status trine_batchnorm_backward(trine_stream *stream, const trine_batchnorm_backward_args *args);

/* Group normalisation: the C channels are `groups` groups of C / groups neighbours, and every group of every sample has its own
 * statistics: y = (x - mean) rstd weight + bias. Wu & He 2018. Instance normalisation is groups = C, layer normalisation over all
 * but the batch is groups = 1.
 *   x, y           as in batchnorm; fast for NCHW
 *   weight, bias   [C], as there
 *   mean, rstd     [N, groups] f32, contiguous, optional outputs
 * INVALID_ARGUMENT unless eps > 0 and groups >= 1 divides C. */
typedef struct trine_groupnorm_args {
    trine_tensor x, weight, bias, y, mean, rstd;
    float eps;
    int32_t groups, channels_last;
} trine_groupnorm_args;
TRINE_API trine_status trine_groupnorm(trine_stream *stream, const trine_groupnorm_args *args);

/* With z = (x - mean) rstd and g = weight dy, sums over a channel of all samples, and means over the m elements of a group:
 *   dbias = sum(dy), dweight = sum(dy z)            [C], optional, stride 1, x's dtype or f32
 *   dx = rstd (g - mean(g) - z mean(g z))           may be x or dy in place
 * mean, rstd [N, groups] f32, contiguous: as saved by the forward. The rest as in batchnorm_backward. */
typedef struct trine_groupnorm_backward_args {
    trine_tensor x, dy, weight, mean, rstd, dx, dweight, dbias;
    int32_t groups, channels_last;
} trine_groupnorm_backward_args;
TRINE_API trine_status trine_groupnorm_backward(trine_stream *stream, const trine_groupnorm_backward_args *args);
/* Gradients of layernorm: with h = (x - mean) rstd and g = dy weight, means over the last axis,
 * dx = rstd (g - mean(g) - h mean(g h)) + dsum, dweight = sum(dy h) and dbias = sum(dy) over all rows.
 *   dy, x         [..., N], one dtype: f32, f16, bf16; the last axis has stride 1 (UNSUPPORTED otherwise), the others any. x: what
 *                 was normalised, so the sum where there was a residual, whose gradient is dx as well.
 *   weight        [N], optional (1), stride 1, x's dtype or f32
 *   mean, rstd    [...], what the forward stored, optional but both or none: they are made of x again, which is read anyway
 *   dsum          x's shape and dtype, optional: the gradient that reaches the sum by other ways (the residual branch); it is added
 *                 in f32, before dx is rounded
 *   dx            x's shape and dtype. In place allowed, as dy, x or dsum.
 *   dweight, dbias  [N], optional outputs, stride 1, x's dtype or f32
 *   eps           the forward's; not used where rstd is given
 * Everything in f32; the order of the sums over rows depends on shapes and device alone. INVALID_ARGUMENT unless eps > 0. */
typedef struct trine_layernorm_backward_args {
    trine_tensor dy, x, weight, mean, rstd, dsum, dx, dweight, dbias;
    float eps;
} trine_layernorm_backward_args;
TRINE_API trine_status trine_layernorm_backward(trine_stream *stream, const trine_layernorm_backward_args *args);

/* Gradients of rmsnorm: with h = x rstd and g = dy (weight_offset + weight), or dy without a weight,
 * dx = rstd (g - h mean(g h)) + dsum and dweight = sum(dy h) over all rows. Arguments and attributes as in layernorm_backward and
 * rmsnorm. round_first: dweight's h is rounded to x's dtype, as the forward's was; for dx the rounding counts as the identity, in
 * f32. */
typedef struct trine_rmsnorm_backward_args {
    trine_tensor dy, x, weight, rstd, dsum, dx, dweight;
    float eps;
    float weight_offset;
    int32_t round_first;
} trine_rmsnorm_backward_args;
TRINE_API trine_status trine_rmsnorm_backward(trine_stream *stream, const trine_rmsnorm_backward_args *args);

#ifdef __cplusplus
}
#endif
#endif
