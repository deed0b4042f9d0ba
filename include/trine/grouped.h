/* Matrix products of groups of rows, each with a matrix of its own: the experts of a mixture. */
#ifndef TRINE_GROUPED_H
#define TRINE_GROUPED_H

#include "trine/activation.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Three layouts, told apart by the shapes; G groups, whose sizes lie in the device's memory, where the call reads them when it
 * runs. Source: Gale et al. 2023, "MegaBlocks"; NumPy's matmul for each group.
 *
 *   rows     d[r] = act(a[r] b[g] + bias[g]) for every row r of group g
 *            a [T, K]     b [G, K, N]   d [T, N]      offsets: rows sorted by group
 *   masked   d[g, r] = act(a[g, r] b[g] + bias[g]) for the first counts[g] rows of each group
 *            a [G, M, K]  b [G, K, N]   d [G, M, N]   counts
 *   sums     d[g] = act(a[:, s] b[s] + bias[g]), s the terms of group g: the gradient of b, with a the transposed view of the input
 *            a [M, T]     b [T, N]      d [G, M, N]   offsets: terms sorted by group
 *
 *   a, b     one dtype: f32, f16, bf16; any strides, so that transposed operands are views. Of rows and masked also fp8: each of
 *            one of the four formats, with scales
 *   a_scale  of fp8 alone, f32: one element, or [R, C] (masked: [G, R, C], or [R, C] for all groups) with C of 1 (all of K) or
 *            ceil(K/128), R of 1 (all rows) or T (masked: M, or ceil(M/128)): so [T, 1] is per row, [T, ceil(K/128)] is 1x128
 *   b_scale  of fp8 alone, f32: one element, or [G, C, R], or [C, R] for all groups, with C likewise and R of 1, N or ceil(N/128):
 *            [G, 1, 1] is per matrix, [G, 1, N] per column, [G, ceil(K/128), ceil(N/128)] is 128x128. Both: any strides, any sign;
 *            they are applied as fp8_matmul does (trine/fp8.h), with fast_accumulate of 0
 *   offsets  [G + 1] i32 or i64, contiguous: group g has rows (terms) offsets[g] to offsets[g+1] - 1; or [G]: their ends, from 0 on
 *   counts   [G] i32 or i64, contiguous
 *   bias     [G, N], optional, contiguous; a's dtype or f32; with fp8 d's dtype or f32
 *   d        a's dtype or f32; with fp8 f32, f16 or bf16; stride 1 along N (UNSUPPORTED otherwise)
 *   activation   with activation_alpha, as in activation.h; 0 is identity
 * A group may be empty: of the sums, it gives act(bias). Bad sizes do no harm: an offset below 0 or above T counts as 0 or T, one
 * below an earlier one as that one, and a count likewise from 0 to M. Rows that no group has, before the first offset, behind the
 * last or past a count, are neither read nor written.
 * Sums and epilogue in f32, one rounding. Asynchronous in the stream's order, one launch on GPUs. INVALID_ARGUMENT for an unknown
 * activation and for shapes or dtypes that don't go together.
 * Variants: sm90 (Hopper's tensor cores: f16, bf16, and, for rows and masked, e4m3fn, e5m2; operands that lie at multiples of 16
 * bytes, of fp8 along K; a b of fp8 that does not is copied first where groups have 16 rows on average and all rows 2^27
 * multiply-adds), sm89 (those of compute capability 8.9 and later: e4m3fn and e5m2 along K), sm80 (those of 8.0 and later: f16
 * and bf16, a of rows along K, both operands of sums along their rows), mfma and wmma (AMD's matrix units: f16 and bf16 that are
 * dense along one axis, a of rows along K), mfma_f8 (gfx942's: e4m3fn and e4m3fnuz, likewise), register_tiled. */
typedef struct trine_grouped_matmul_args {
    trine_tensor a, b, a_scale, b_scale, offsets, counts, bias, d;
    trine_activation_kind activation;
    float activation_alpha;
} trine_grouped_matmul_args;
TRINE_API trine_status trine_grouped_matmul(trine_stream *stream, const trine_grouped_matmul_args *args);

#ifdef __cplusplus
}
#endif
#endif
