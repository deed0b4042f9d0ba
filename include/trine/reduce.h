/* Reductions over one axis or all. Sums are accumulated in f32 or wider, whatever the dtype, by a fixed tree: the same bits every
 * time on one device. Source: NumPy's reductions; BLAS's asum, nrm2 and dot. What holds for every op is in trine.h. */
#ifndef TRINE_REDUCE_H
#define TRINE_REDUCE_H

#include "trine/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TRINE_AXIS_ALL = INT32_MIN };

/* x [shape]; axis 0..ndim-1, or from the end when negative, or TRINE_AXIS_ALL.
 * y: x's shape with that axis removed, or with size 1 there; for all: ndim 0, or all sizes 1. Any strides on both. Not in place.
 *   sum, mean, norm_l1 (sum |x|), norm_l2 (sqrt of sum x^2)   x f32, f16, bf16; y the same dtype or f32
 *   amax, amin   x f32, f16, bf16, i32, i64; y the same dtype. NaN wins.
 *   argmax       x as amax; y i64 or i32: the index along the axis (the row-major index for all) of the first largest, where a
 *                NaN counts as largest. INVALID_ARGUMENT if i32 can't hold every index.
 * Over zero elements: sum and norms give 0, mean gives NaN; amax, amin and argmax are INVALID_ARGUMENT unless y is empty too. */
typedef struct trine_reduce_args {
    trine_tensor x, y;
    int32_t axis;
} trine_reduce_args;
typedef trine_reduce_args trine_sum_args, trine_mean_args, trine_amax_args, trine_amin_args, trine_argmax_args,
    trine_norm_l1_args, trine_norm_l2_args;
TRINE_API trine_status trine_sum(trine_stream *stream, const trine_sum_args *args);
TRINE_API trine_status trine_mean(trine_stream *stream, const trine_mean_args *args);
TRINE_API trine_status trine_amax(trine_stream *stream, const trine_amax_args *args);
TRINE_API trine_status trine_amin(trine_stream *stream, const trine_amin_args *args);
TRINE_API trine_status trine_argmax(trine_stream *stream, const trine_argmax_args *args);
TRINE_API trine_status trine_norm_l1(trine_stream *stream, const trine_norm_l1_args *args);
TRINE_API trine_status trine_norm_l2(trine_stream *stream, const trine_norm_l2_args *args);

/* Inner product along one axis or all: y = sum a * b. a, b [one shape], one dtype: f32, f16, bf16; axis, y's shape and dtype, and
 * what is given over zero elements as for sum. Any strides. Not in place. */
typedef struct trine_dot_args {
    trine_tensor a, b, y;
    int32_t axis;
} trine_dot_args;
TRINE_API trine_status trine_dot(trine_stream *stream, const trine_dot_args *args);

/* Sums of rows by segment: y[s, ...] = sum of x[i, ...] over ids[i] = s. x [N, D...] f32, f16, bf16, ids [N] i32 or i64,
 * y [S, D...] of x's dtype or f32, all of it written: zeros for a segment without rows. Rows whose id lies outside [0, S) are
 * passed over. sorted: the ids do not decrease, which saves sorting them; where that is not true, the sums are unspecified, but
 * nothing outside the tensors is touched. Any strides. Not in place. Asynchronous.
 * Deterministic: a segment's rows are added up in f32 in their order, in pieces that depend on ids, shapes and the device alone.
 * N and S below 2^31 - 1 (UNSUPPORTED otherwise). Workspace: the list of ids and the sums of pieces. As
 * torch_scatter.segment_coo. */
typedef struct trine_segment_sum_args {
    trine_tensor x, ids, y;
    int32_t sorted;
} trine_segment_sum_args;
TRINE_API trine_status trine_segment_sum(trine_stream *stream, const trine_segment_sum_args *args);

#ifdef __cplusplus
}
#endif
#endif
