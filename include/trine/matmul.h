/* Matrix products. What holds for every op is in trine.h. */
#ifndef TRINE_MATMUL_H
#define TRINE_MATMUL_H

#include "trine/activation.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum trine_matmul_precision {
    TRINE_MATMUL_DEFAULT = 0, /* f32 inputs: true f32 products and sums. f16, bf16: exact products, f32 sums */
    /* f32 inputs may be rounded or cut to tf32 (10 bits of mantissa) first, subnormal f16 inputs may count as 0 (gfx90a); backends
     * without tf32 use f32 */
    TRINE_MATMUL_TF32
} trine_matmul_precision;

/* d = act(alpha a b + beta c + bias). Source: BLAS's gemm, with NumPy's matmul for the batch axes.
 *   a, b   [..., M, K] and [..., K, N], ndim >= 2; batch axes broadcast to d's. One dtype: f32, f16, bf16. Any strides, so that
 *          transposed operands are views
 *   c      [..., M, N] broadcastable to d's shape, optional (beta is then ignored); a's dtype or f32; any strides
 *   bias   [N], optional; a's dtype or f32; stride 1
 *   d      [..., M, N]; a's dtype or f32; stride 1 along N or along M (UNSUPPORTED otherwise). In place allowed, d as c; d over a
 *          or b is INVALID_ARGUMENT
 *   alpha, beta        taken as they are: alpha = 0 gives act(beta c + bias) without reading a and b; beta = 0 does not read c
 *   activation         with activation_alpha, as in activation.h; 0 is identity
 * K = 0 is a sum over nothing: 0. Sums and epilogue in f32, one rounding. INVALID_ARGUMENT for an unknown activation or
 * precision.
 * Variants: thin (NVIDIA's tensor cores, f16 and bf16: at most 32 rows or columns where the other operand lies along K, 16
 * where it lies along its rows), in_place (CPU: 17 rows and columns at least, an operand dense along K, of f32, or of bf16 with
 * AVX512-BF16 and even K; from 1536 rows and columns on a dense along M will do, which is copied into the workspace first), dots (CPU: at most 32 rows or columns, the other operand dense along K; f32, and bf16 with
 * AVX512-BF16), gemv (at most four rows or columns, on GPUs of f32 eight), sm90 (Hopper's tensor cores: f16, bf16, and f32 as
 * tf32; large operands that do not lie at multiples of 16 bytes, or with tf32 a that is not dense along K, are copied into the
 * workspace first; f32 d that is c in place may be added to in memory; sm90_TILE and sm90_TILE_split force a tile), sm80 (tensor
 * cores of compute capability 8.0 and later, operands at multiples of 16 bytes), mfma (gfx90a, gfx942; f32 too, which it
 * multiplies exactly) and wmma (gfx11), both for operands that are dense along one axis, register_tiled (on CPUs with AVX512-BF16
 * bf16 in pairs, sums below 2^-126 as 0), and the teaching ladder naive, coalesced, tiled. docs/matmul-hopper.md, docs/amd.md and
 * docs/matmul-ladder.md walk through them, docs/numerics.md says what each may be off by. */
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
