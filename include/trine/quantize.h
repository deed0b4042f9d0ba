/* Quantisation of weights and activations to 4 and 8 bits. All ops of the family but nf4_matmul give the same bits on every backend. */
#ifndef TRINE_QUANTIZE_H
#define TRINE_QUANTIZE_H

#include "trine/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TRINE_NF4_BLOCK = 64, TRINE_ABSMAX_BLOCK = 256 };

/* nf4: each block of 64 elements, counted row-major, has the scale absmax = max |x|, and each element the code of the nearest of
 * 16 values in [-1, 1] to x (1 / absmax), the quotient and the product rounded to f32. Dettmers et al. 2023, "QLoRA"; code book,
 * thresholds and packing (two codes a byte, the first in the high nibble) are those of bitsandbytes.
 *   x        any shape of n elements, contiguous: f32, f16, bf16
 *   codes    [ceil(n/2)] u8, contiguous; the low nibble beyond the last element is 7
 *   absmax   [ceil(n/64)] f32, contiguous
 * A NaN counts not for absmax and gets code 7, which is 0; so do all elements of a block whose absmax is below 2^-126 (stored as
 * 0) or infinite. Asynchronous in the stream's order; no workspace. Errors: INVALID_ARGUMENT for sizes or dtypes that don't go
 * together. */
typedef struct trine_nf4_quantize_args {
    trine_tensor x, codes, absmax;
} trine_nf4_quantize_args;
TRINE_API trine_status trine_nf4_quantize(trine_stream *stream, const trine_nf4_quantize_args *args);

/* y[i] = value of code (offset + i), times its block's absmax, in f32, then rounded to y's dtype: the elements [offset, offset +
 * m) of what was quantised. codes [k] u8, absmax [ceil(k/32)] f32, as above   y any shape of m elements, contiguous: f32, f16,
 * bf16; offset >= 0, offset + m <= 2 k */
typedef struct trine_nf4_dequantize_args {
    trine_tensor codes, absmax, y;
    int64_t offset;
} trine_nf4_dequantize_args;
TRINE_API trine_status trine_nf4_dequantize(trine_stream *stream, const trine_nf4_dequantize_args *args);

/* The scales of nf4, quantised themselves ("double quantisation", the same paper): blocks of 256, counted from the first.
 *   DYNAMIC  v = absmax - mean, mean = the mean of all; each block has the scale max |v|, each element the code of the value of
 *            bitsandbytes' signed dynamic map that is nearest to v (1 / scale). The map: 0, 1 and +-10^(i-6) times the middles of
 * 2^i equal parts of [0.1, 1], i = 0 ... 6, in ascending order, as f32. The sum is f64, each block from its first to its last,
 *            then the blocks.
 *   LINEAR   code = round(absmax / scale) to nearest even, scale = largest / 255 of each block; no mean. For scales that are not
 *            negative.
 *   absmax   [n] f32, finite, contiguous   codes [n] u8, contiguous   scale [ceil(n/256)] f32, contiguous
 *   mean     one element, f32: DYNAMIC alone, required
 * A scale below 2^-126 is stored as 0, with the codes of 0. Asynchronous in the stream's order; workspace (DYNAMIC). Errors:
 * INVALID_ARGUMENT for sizes, dtypes or a kind that don't go together. */
typedef enum trine_absmax_kind { TRINE_ABSMAX_DYNAMIC = 0, TRINE_ABSMAX_LINEAR } trine_absmax_kind;
typedef struct trine_absmax_quantize_args {
    trine_tensor absmax, codes, scale, mean;
    trine_absmax_kind kind;
} trine_absmax_quantize_args;
TRINE_API trine_status trine_absmax_quantize(trine_stream *stream, const trine_absmax_quantize_args *args);

/* absmax = map[code] scale + mean (product and sum rounded), or code scale. Tensors as above, absmax the output. */
typedef struct trine_absmax_dequantize_args {
    trine_tensor codes, scale, mean, absmax;
    trine_absmax_kind kind;
} trine_absmax_dequantize_args;
TRINE_API trine_status trine_absmax_dequantize(trine_stream *stream, const trine_absmax_dequantize_args *args);

/* d = x W^T + bias, or d = x W + bias if `transposed` (the gradient of x), W [N, K] being what nf4_quantize was given; Dettmers et
 * al. 2023, "QLoRA".
 *   x       [M, K] (transposed: [M, N]): f32, f16, bf16, any strides
 *   codes   [ceil(NK/2)] u8, contiguous   absmax [ceil(NK/64)] f32, contiguous: as nf4_quantize makes them; or
 *   absmax  the same number of u8 codes of absmax_quantize, with `scale`, `mean` and `kind` as there
 *   bias    [N] (transposed: [K]), optional, stride 1; x's dtype or f32
 *   d       [M, N] (transposed: [M, K]); x's dtype or f32; stride 1 along one axis (UNSUPPORTED otherwise)
 * W's elements are value * absmax in f32. With a 16-bit x the value, the product or both may be rounded to x's dtype before
 * x is multiplied. Sums in f32, one rounding. Asynchronous in the stream's order; workspace (at most about 32 MiB and absmax in f32;
 * transposed: W in x's dtype). Errors: INVALID_ARGUMENT for sizes, dtypes or a kind that don't go together.
 * Variants, of which all but the last read W packed: sm90 (CUDA, compute capability 9.0: M of 17 to 2048, f16 and bf16, W decoded on
 * its way to the tensor cores, read once for up to 256 rows), sm90_few (the same devices and dtypes: M of at most 16, absmax in f32, K
 * of whole 256 elements), mma (CUDA with 95 KiB of shared memory in a block: M of at most 48, f16 and bf16, W read once for each 16
 * rows), gemv (M of at most 4, W read once); dequantize: rows of W in x's dtype through the workspace, then matmul. */
typedef struct trine_nf4_matmul_args {
    trine_tensor x, codes, absmax, scale, mean, bias, d;
    trine_absmax_kind kind;
    int32_t transposed; /* 0 or 1 */
} trine_nf4_matmul_args;
TRINE_API trine_status trine_nf4_matmul(trine_stream *stream, const trine_nf4_matmul_args *args);

/* int8, symmetric: scale = max |x| / 127 of each row, or of all; q = x / scale, rounded to nearest even, in [-127, 127].
 *   x, q     [..., N], ndim >= 1, x f32, f16, bf16, q i8; any strides on x, q without self-overlap
 *   scale    f32, contiguous; x's shape without the last axis: a row each; or [1]: one for all
 *   given_scale   in the place of scale: an input of its shape, which stands for max |x| / 127; one of the two is given
 * NaN counts not for the scale and gives 0; so does everything where the scale is 0 or infinite. Asynchronous in the stream's
 * order; workspace. Errors: INVALID_ARGUMENT for shapes or dtypes that don't go together. */
typedef struct trine_int8_quantize_args {
    trine_tensor x, q, scale, given_scale;
} trine_int8_quantize_args;
TRINE_API trine_status trine_int8_quantize(trine_stream *stream, const trine_int8_quantize_args *args);

/* y = q scale in f32, rounded to y's dtype. Tensors as above, y in x's place, any strides. */
typedef struct trine_int8_dequantize_args {
    trine_tensor q, scale, y;
} trine_int8_dequantize_args;
TRINE_API trine_status trine_int8_dequantize(trine_stream *stream, const trine_int8_dequantize_args *args);

/* Fake quantisation, for training that foresees it: y = (q - zero_point) scale with q = clamp(round(x / scale) + zero_point, low,
 * high), rounded to nearest even; the quotient, the difference's product and y are rounded once each. Jacob et al. 2018.
 *   x, y [one shape], one dtype: f32, f16, bf16; any strides on x, y without self-overlap; y may be x in place
 *   scale      f32, broadcasts to x's shape (one element: per tensor; [C, 1, 1]: per channel); not 0
 *   low, high, zero_point   low <= zero_point <= high, each within +-2^20
 * NaN gives q = zero_point, so y = 0. Asynchronous in the stream's order; no workspace. Errors: INVALID_ARGUMENT for attributes
 * out of range, shapes or dtypes that don't go together. */
typedef struct trine_fake_quantize_args {
    trine_tensor x, scale, y;
    int32_t low, high, zero_point;
} trine_fake_quantize_args;
TRINE_API trine_status trine_fake_quantize(trine_stream *stream, const trine_fake_quantize_args *args);

/* Straight through (Bengio et al. 2013): dx = dy where round(x / scale) + zero_point is within [low, high], else 0; from the
 * forward's x and scale. dx may be dy or x in place. */
typedef struct trine_fake_quantize_backward_args {
    trine_tensor x, scale, dy, dx;
    int32_t low, high, zero_point;
} trine_fake_quantize_backward_args;
TRINE_API trine_status trine_fake_quantize_backward(trine_stream *stream, const trine_fake_quantize_backward_args *args);

#ifdef __cplusplus
}
#endif
#endif
