/* Rotary position embedding. Su et al. 2021, "RoFormer: Enhanced Transformer with Rotary Position Embedding"; the half-split form
 * is that of GPT-NeoX and Llama's published weights. */
#ifndef TRINE_ROPE_H
#define TRINE_ROPE_H

#include "trine/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TRINE_ROPE_MAX_DIMS = 512 };

/* Pairs (u, v) of the last axis are rotated by the angle of their token and pair:  u' = u cos - v sin,  v' = u sin + v cos.
 *   x, y          [..., D], 2 axes or more, one dtype: f32, f16, bf16; any strides on x, y without self-overlap; y may be x in
 * place axis          which axis (not the last; it may count from the end) has the tokens: -3 for [B, T, H, D], -2 for [B, H, T,
 * D] rotary_dims   R: the first R elements are rotated, the others copied; even, at most D and TRINE_ROPE_MAX_DIMS; 0: all of D
 *   interleaved   0: pair i is elements i and i + R/2; 1: elements 2i and 2i + 1
 *   positions     [T] or [B, T] (B: x's first axis, axis is another), optional, i32 or i64, any strides; else token t has
 * `offset` + t cos, sin      [P, R/2], both or none, f32 or x's dtype, last stride 1: row p is for position p. A position outside
 * [0, P) gives NaN; without positions P >= offset + T and offset >= 0 base, scaling without tables: pair i turns by (position /
 * scaling) base^(-2i/R) radians. base >= 1 (10000 is usual), scaling 0 (taken as 1) or >= 2^-20 inverse       1: rotates by the
 * negative angles. That is the backward pass: dx is the inverse op on dy. Angles are 64-bit fractions of a turn, the product with
 * the position is exact modulo a turn: a sine or cosine is off by at most 4e-7 + |position| 2^-50 at any position. The rest is
 * computed in f32 and rounded once. Asynchronous in the stream's order; no workspace. Errors: INVALID_ARGUMENT for attributes out
 * of these ranges, shapes or dtypes that don't go together. */
typedef struct trine_rope_args {
    trine_tensor x, positions, cos, sin, y;
    int32_t axis, rotary_dims, interleaved, inverse;
    int64_t offset;
    double base, scaling;
} trine_rope_args;
TRINE_API trine_status trine_rope(trine_stream *stream, const trine_rope_args *args);

#ifdef __cplusplus
}
#endif
#endif
