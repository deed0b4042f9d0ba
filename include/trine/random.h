/* Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
 *
 * key = the two halves of seed (low word first). Element i of a tensor, counted row-major, takes word (i mod 4) of the block
 * whose 128-bit counter is (low word, high word of offset + i / 4, 0, 0). So a result depends on seed, offset and index alone:
 * not on strides, backend or launch shape. A call uses ceil(numel / 4) counters: add that to offset for the next call. seed and
 * offset are numbers of the host: a graph that is replayed gives the same numbers again. What holds for every op: trine.h. */
#ifndef TRINE_RANDOM_H
#define TRINE_RANDOM_H

#include "trine/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/* y = keep ? x factor : 0, with keep = (word >= floor(p 2^32)), p a float, and factor = 1 / (1 - p), computed once in f32; the
 * product is rounded to f32, then to y's dtype. The same bits on every backend. Srivastava et al. 2014.
 *   x, y  [one shape], one dtype: f32, f16, bf16; any strides. In place allowed, y as x.
 *   mask  [the same shape], optional output, bool or u8, contiguous: 1 where kept, 0 elsewhere
 * INVALID_ARGUMENT unless p is in [0, 1). The backward pass is the same op on dy with the same p, seed and offset. */
typedef struct trine_dropout_args {
    trine_tensor x, y, mask;
    float p;
    uint64_t seed, offset;
} trine_dropout_args;
TRINE_API trine_status trine_dropout(trine_stream *stream, const trine_dropout_args *args);

/* y = low + (high - low) u, with u = (word >> 8) 2^-24 in [0, 1): two roundings in f32 (product, then sum), then y's dtype, so y
 * may equal high. The same bits on every backend.
 *   y  [any shape], f32, f16, bf16; any strides
 * INVALID_ARGUMENT unless low <= high, both finite, and high - low finite in f32. */
typedef struct trine_uniform_args {
    trine_tensor y;
    float low, high;
    uint64_t seed, offset;
} trine_uniform_args;
TRINE_API trine_status trine_uniform(trine_stream *stream, const trine_uniform_args *args);

/* y = mean + std z, z standard normal by Box & Muller 1958 from the words in pairs. Elements 2j and 2j+1 take words w0 = 2j mod 4
 * and w1 = w0 + 1:  u = ((w0 >> 8) + 1) 2^-24 in (0, 1],  v = (w1 >> 8) 2^-24,  r = sqrt(-2 ln u),
 *   z(2j) = r cos(2 pi v),  z(2j+1) = r sin(2 pi v).
 * Equal on all backends up to the rounding of ln, cos and sin.
 *   y  [any shape], f32, f16, bf16; any strides
 * INVALID_ARGUMENT unless std >= 0, both finite. */
typedef struct trine_normal_args {
    trine_tensor y;
    float mean, std;
    uint64_t seed, offset;
} trine_normal_args;
TRINE_API trine_status trine_normal(trine_stream *stream, const trine_normal_args *args);

#ifdef __cplusplus
}
#endif
#endif
