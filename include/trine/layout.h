/* Moving elements. Any dtype but nf4, one for all, and any strides unless an op says otherwise; the bits are kept, of a NaN too
 * (scatter_add and embedding_backward, which add, apart). Source: NumPy's swapaxes and transpose. What holds for every op is in
 * trine.h. */
#ifndef TRINE_LAYOUT_H
#define TRINE_LAYOUT_H

#include "trine/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Exchanges the last two axes. x [..., M, N], y [..., N, M], ndim >= 2. Not in place. */
typedef struct trine_transpose_args {
    trine_tensor x, y;
} trine_transpose_args;
TRINE_API trine_status trine_transpose(trine_stream *stream, const trine_transpose_args *args);

/* Axis i of y is axis axes[i] of x: x [d0, d1, ...], y.shape[i] = x.shape[axes[i]]; axes count from 0, not from the end. Not in
 * place. INVALID_ARGUMENT if axes[0..ndim) is no permutation of 0..ndim-1; the rest of axes is ignored. */
typedef struct trine_permute_args {
    trine_tensor x, y;
    int32_t axes[TRINE_MAX_DIMS];
} trine_permute_args;
TRINE_API trine_status trine_permute(trine_stream *stream, const trine_permute_args *args);

enum { TRINE_CONCAT_MAX = 8 };

/* y = the x that are given, one after the other along the axis; one dtype and, but for that axis, one shape, ndim >= 1. axis
 * counts from the end when negative. Those that are not given are passed over; more than 8 are concatenated by several calls into
 * slices of y (trine_tensor_slice). Not in place. Sizes of 0 are fine. As numpy.concatenate. */
typedef struct trine_concat_args {
    trine_tensor x[TRINE_CONCAT_MAX];
    trine_tensor y;
    int32_t axis;
} trine_concat_args;
TRINE_API trine_status trine_concat(trine_stream *stream, const trine_concat_args *args);

/* The reverse: the y that are given are pieces of x along the axis, in their order; their sizes add up to x's. Not in place. */
typedef struct trine_split_args {
    trine_tensor x;
    trine_tensor y[TRINE_CONCAT_MAX];
    int32_t axis;
} trine_split_args;
TRINE_API trine_status trine_split(trine_stream *stream, const trine_split_args *args);

/* y = the slices of x along the axis that ids name: x [A..., V, B...], ids [I...] i32 or i64, y [A..., I..., B...]; x and y of
 * one dtype. With axis 0 and x [V, D]: y[i, :] = x[ids[i], :]. axis counts from the end when negative. An id outside [0, V) (also
 * a negative one) is defined: its slice of y is zeros. Not in place. As numpy.take and ONNX Gather, but for those ids. */
typedef struct trine_gather_args {
    trine_tensor x, ids, y;
    int32_t axis;
} trine_gather_args;
TRINE_API trine_status trine_gather(trine_stream *stream, const trine_gather_args *args);

/* y = x, and to y's slice ids[i] along the axis slice i of src is added: x, y [A..., V, B...], ids [I...] i32 or i64,
 * src [A..., I..., B...]; f32, f16, bf16, y's dtype and x's is src's, or f32. x may be left out (zeros), or be y in place. axis
 * counts from the end when negative. An id outside [0, V) adds nothing.
 * Deterministic: the slices of one id are added up in f32 in the order of i, pieces of the list first, x last, and rounded once;
 * the pieces depend on the shapes and the device alone, not on time, so two runs give the same bits. Fewer than 2^31 ids and
 * V < 2^31 - 1 (UNSUPPORTED otherwise). Workspace: the list of ids sorted, and the sums of pieces. As torch.index_add. */
typedef struct trine_scatter_add_args {
    trine_tensor x, ids, src, y;
    int32_t axis;
} trine_scatter_add_args;
TRINE_API trine_status trine_scatter_add(trine_stream *stream, const trine_scatter_add_args *args);

/* y[i, :] = weight[ids[i], :]: weight [V, D] f32, f16, bf16, ids [I...] i32 or i64, y [I..., D] of weight's dtype. An id outside
 * [0, V) gives a row of zeros: -1 serves as padding. Not in place. */
typedef struct trine_embedding_args {
    trine_tensor weight, ids, y;
} trine_embedding_args;
TRINE_API trine_status trine_embedding(trine_stream *stream, const trine_embedding_args *args);

/* dweight[v, :] = sum of dy[i, :] over ids[i] = v: ids [I...], dy [I..., D], dweight [V, D] of dy's dtype or f32. All of dweight
 * is written, zeros where no id leads. Ids outside [0, V) are passed over. Sums, limits and workspace as scatter_add's. */
typedef struct trine_embedding_backward_args {
    trine_tensor ids, dy, dweight;
} trine_embedding_backward_args;
TRINE_API trine_status trine_embedding_backward(trine_stream *stream, const trine_embedding_backward_args *args);

#ifdef __cplusplus
}
#endif
#endif
