/* Normalisation over the last axis. What holds for every op is in trine.h. */
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
