/* Normalisation. What holds for every op is in trine.h. */
#ifndef TRINE_NORM_H
#define TRINE_NORM_H

#include "trine/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/* y = (x - mean) / sqrt(var + eps) * weight + bias, mean and (biased) variance over the last axis. Ba, Kiros, Hinton 2016.
 *   x, y          [..., N], ndim >= 1, one dtype: f32, f16, bf16; the last axis has stride 1 (UNSUPPORTED otherwise), the others
 *                 any. In place allowed, y as x.
 *   weight, bias  [N], optional (1 and 0), stride 1, x's dtype or f32
 *   mean, rstd    [...] (x's shape without the last axis), optional outputs, contiguous f32: the mean, and 1 / sqrt(var + eps),
 *                 which a backward pass needs
 * Statistics in f32, the variance from centred values. INVALID_ARGUMENT unless eps > 0. */
typedef struct trine_layernorm_args {
    trine_tensor x, weight, bias, y, mean, rstd;
    float eps;
} trine_layernorm_args;
TRINE_API trine_status trine_layernorm(trine_stream *stream, const trine_layernorm_args *args);

/* y = x / sqrt(mean(x^2) + eps) * (weight_offset + weight). Zhang & Sennrich 2019.
 *   x, y           [..., N], as in layernorm. In place allowed, y as x.
 *   weight         [N], optional (the factor is then 1, without the offset), stride 1, x's dtype or f32
 *   rstd           [...], optional output, contiguous f32: 1 / sqrt(mean(x^2) + eps)
 *   weight_offset  0 (Llama) or 1 (Gemma); any number is taken as it is
 *   round_first    0: all in f32, one rounding. Otherwise the normalised value is rounded to x's dtype before the weight
 *                  multiplies it (Llama's reference).
 * INVALID_ARGUMENT unless eps > 0. */
typedef struct trine_rmsnorm_args {
    trine_tensor x, weight, y, rstd;
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

#ifdef __cplusplus
}
#endif
#endif
