/* Matrix products. */
#ifndef TRINE_MATMUL_H
#define TRINE_MATMUL_H

#include "trine/activation.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum trine_matmul_precision {
    TRINE_MATMUL_DEFAULT = 0, /* f32 inputs: true f32 products and sums. f16, bf16: exact products, f32 sums */
    TRINE_MATMUL_TF32         /* f32 inputs may be rounded to tf32 (10 bits of mantissa) first; backends without it use f32 */
} trine_matmul_precision;

/* d = act(alpha a b + beta c + bias)
 *   a [..., M, K], b [..., K, N], d [..., M, N], ndim >= 2; batch axes of a and b broadcast to d's. Any strides on a and b (so
 * transposed operands are views; stride 0 broadcasts); d has stride 1 along N or along M. c    [..., M, N] broadcastable to d,
 * optional (then beta is ignored); any strides; may be d in place bias [N], optional, a's dtype or f32, stride 1 dtypes: a and b
 * one of f32, f16, bf16; d and c that dtype or f32. alpha, beta are taken as they are: alpha = 0 gives act(beta c + bias) without
 * reading a and b; beta = 0 does not read c. K = 0 is a sum over nothing: 0. Accumulation and epilogue in f32, one rounding.
 *   activation with activation_alpha: as in activation.h.
 * Variants: naive, coalesced, tiled, register_tiled: the teaching ladder; docs/matmul-ladder.md walks through it. */
typedef struct trine_matmul_args {
    trine_tensor a, b, c, bias, d;
    float alpha, beta;
    trine_activation_kind activation;
    float activation_alpha;
    trine_matmul_precision precision;
} trine_matmul_args;
TRINE_API trine_status trine_matmul(trine_stream *stream, const trine_matmul_args *args);

#ifdef __cplusplus
}
#endif
#endif
