/* fp8 with scales: x is about q scale. fp8_quantize and fp8_dequantize give the same bits on every backend. */
#ifndef TRINE_FP8_H
#define TRINE_FP8_H

#include "trine/activation.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Which elements share a scale, and the scales' shape for x of [..., M, K]. Blocks are counted from the first row and column of
 * each matrix; those at the ends may be smaller. */
typedef enum trine_fp8_scaling {
    TRINE_FP8_PER_TENSOR = 0, /* all: one element, whatever its shape */
    TRINE_FP8_PER_ROW,        /* a row: [..., M], x's shape without the last axis */
    TRINE_FP8_PER_1X128,      /* 128 columns of a row: [..., M, ceil(K/128)] */
    TRINE_FP8_PER_128X128,    /* 128 rows of 128 columns: [..., ceil(M/128), ceil(K/128)]; x has two axes at least */
    TRINE_FP8_SCALING_COUNT
} trine_fp8_scaling;

enum { TRINE_FP8_BLOCK = 128 };

/* q = x (1 / scale): the reciprocal and the product are rounded to f32, the product then to q's dtype, saturating (trine/dtype.h:
 * inf gives the largest value, NaN the dtype's NaN without a sign, -0 stays -0 but in fnuz).
 *   x            [..., M, K], ndim >= 1: f32, f16, bf16
 *   q            x's shape: one of the four fp8 dtypes
 *   scale        f32, output: the dynamic scale, amax / largest, rounded to f32, where largest is that of q's dtype
 *   given_scale  f32, input in the place of scale: the arithmetic is that of f32, so that a scale of 0 makes x of 0 a NaN
 * One of the two is given, in the scaling's shape. Any strides on all, on the outputs without self-overlap: scales may lie
 * row-major or column-major. Of a dynamic scale:
 *   amax          is max |x|. NaN does not count and inf counts as the largest f32, so that inf gives the largest code and what is
 *                 finite beside it 0 or nearly so.
 *   amax_least    is the least that amax is taken for, so that zeros have a scale: 0 stands for 1e-12, else at least 2^-100
 *   power_of_two  1: the scale is rounded up to a power of two (the values of the OCP Microscaling format's E8M0, as f32)
 * The amax of no elements is 0. Asynchronous in the stream's order; workspace. Errors: INVALID_ARGUMENT for attributes out of
 * range, shapes or dtypes that don't go together. Sources: Micikevicius et al. 2022, "FP8 Formats for Deep Learning";
 * DeepSeek-AI 2024, "DeepSeek-V3 Technical Report", for the blocks. */
typedef struct trine_fp8_quantize_args {
    trine_tensor x, q, scale, given_scale;
    trine_fp8_scaling scaling;
    float amax_least;
    int32_t power_of_two;
} trine_fp8_quantize_args;
TRINE_API trine_status trine_fp8_quantize(trine_stream *stream, const trine_fp8_quantize_args *args);

/* y = q scale, rounded to f32 and then to y's dtype: f32, f16 or bf16. Tensors as above, y in x's place, any strides. No
 * workspace. */
typedef struct trine_fp8_dequantize_args {
    trine_tensor q, scale, y;
    trine_fp8_scaling scaling;
} trine_fp8_dequantize_args;
TRINE_API trine_status trine_fp8_dequantize(trine_stream *stream, const trine_fp8_dequantize_args *args);

/* d = act(sum over k of (a a_scale) (b b_scale) + bias).
 *   a, b     [..., M, K] and [..., K, N], ndim >= 2; batch axes broadcast to d's. Each in one of the four fp8 dtypes, which may
 *            differ. Any strides, so that weights of [N, K] and column-major operands are views
 *   a_scale  f32: one element, or [..., R, C] with R of 1 (all rows), M, ceil(M/128) and C of 1 (all of K), ceil(K/128): so
 *            [M, 1] is per row, [M, ceil(K/128)] is 1x128. Batch axes broadcast to d's. Any strides, any sign
 *   b_scale  f32: one element, or [..., C, R] likewise with N in M's place: [1, N] is per column, [ceil(K/128), ceil(N/128)] is
 *            128x128
 *   bias     [N], optional; f32 or d's dtype; stride 1
 *   d        [..., M, N]: f32, f16, bf16; stride 1 along N or along M (UNSUPPORTED otherwise). d over an input is
 *            INVALID_ARGUMENT
 *   activation       with activation_alpha, as in activation.h; 0 is identity
 *   fast_accumulate  0: sums in f32, at most 128 terms of which are first added up by a matrix unit as precisely as that does (on
 *                    Hopper with 13 bits after the point of the largest term). 1: the matrix unit may add up all of K itself
 *                    where the scales don't depend on k
 * Scales may be applied to elements, to sums of 128 terms or, where they don't depend on k, to the whole sum: a a_scale and b
 * b_scale must be in f32's range, and an inf among the scales may give NaN. K = 0 is a sum over nothing: 0. Asynchronous in the
 * stream's order; workspace. Errors: INVALID_ARGUMENT for shapes or dtypes that don't go together, an unknown activation or
 * fast_accumulate. Sources: as above.
 * Variants: sm90 (Hopper's tensor cores: the OCP formats; operands that don't lie dense along K are copied first where the product
 * has 2^27 multiply-adds; sm90_TILE and sm90_TILE_split force a tile), sm89 (those of compute capability 8.9 and later, likewise;
 * sm89_TILE), mfma (gfx942's matrix units: all formats but e5m2, operands dense along either axis; mfma_TILE and mfma_TILE_split
 * likewise), register_tiled. */
typedef struct trine_fp8_matmul_args {
    trine_tensor a, b, a_scale, b_scale, bias, d;
    trine_activation_kind activation;
    float activation_alpha;
    int32_t fast_accumulate;
} trine_fp8_matmul_args;
TRINE_API trine_status trine_fp8_matmul(trine_stream *stream, const trine_fp8_matmul_args *args);

#ifdef __cplusplus
}
#endif
#endif
