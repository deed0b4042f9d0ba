/* Tensors: views of memory that somebody else owns. */
#ifndef TRINE_TENSOR_H
#define TRINE_TENSOR_H

#include "trine/dtype.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TRINE_MAX_DIMS = 8 };

/* A view; it never owns. Element (i0, i1, ...) lies at data + (i0*stride[0] + i1*stride[1] + ...) * size of dtype.
 *   shape    each >= 0; a size of 0 makes the tensor empty, and then data may be NULL.
 *   stride   in elements, as in DLPack; 0 repeats (inputs only: broadcasting); negative strides are refused.
 *   ndim     0 (a scalar, one element) to TRINE_MAX_DIMS.
 * A zeroed struct (dtype TRINE_DTYPE_NONE) is "not given", for the arguments that are optional. */
typedef struct trine_tensor {
    void *data;
    trine_dtype dtype;
    int32_t ndim;
    int64_t shape[TRINE_MAX_DIMS];
    int64_t stride[TRINE_MAX_DIMS];
} trine_tensor;

enum { TRINE_LIST_MAX = 1024 };

/* Several tensors as one argument, at[0] to at[count - 1], at most TRINE_LIST_MAX. An op reads the array during its call alone (a
 * graph keeps a copy). A zeroed struct is an empty list; of an optional list single tensors may be "not given", too. */
typedef struct trine_tensor_list {
    const trine_tensor *at;
    int32_t count;
} trine_tensor_list;

/* A contiguous (row-major) tensor. ndim outside 0..TRINE_MAX_DIMS or shape NULL with ndim > 0 gives a tensor
 * whose ndim is -1, which every op refuses. */
TRINE_API trine_tensor trine_tensor_make(void *data, trine_dtype dtype, int32_t ndim, const int64_t *shape);
TRINE_API trine_tensor trine_tensor_1d(void *data, trine_dtype dtype, int64_t n);
TRINE_API trine_tensor trine_tensor_2d(void *data, trine_dtype dtype, int64_t rows, int64_t cols);
TRINE_API trine_tensor trine_tensor_3d(void *data, trine_dtype dtype, int64_t d0, int64_t d1, int64_t d2);
TRINE_API trine_tensor trine_tensor_4d(void *data, trine_dtype dtype, int64_t d0, int64_t d1, int64_t d2, int64_t d3);

/* The same memory with two axes exchanged; axes count from 0, or from the end when negative. */
TRINE_API trine_tensor trine_tensor_swap_axes(trine_tensor t, int32_t axis_a, int32_t axis_b);
/* The elements begin, begin+step, ... < end of one axis. Out of range gives a tensor whose ndim is -1. */
TRINE_API trine_tensor trine_tensor_slice(trine_tensor t, int32_t axis, int64_t begin, int64_t end, int64_t step);

/* Number of elements; -1 if the shape is negative somewhere or the product overflows. */
TRINE_API int64_t trine_tensor_numel(const trine_tensor *t);
/* Bytes from the first to past the last element that the view can touch; -1 on overflow. */
TRINE_API int64_t trine_tensor_extent_bytes(const trine_tensor *t);
/* 1 if the elements lie row-major without gaps (axes of size 1 don't count). */
TRINE_API int trine_tensor_is_contiguous(const trine_tensor *t);

#ifdef __cplusplus
}
#endif
#endif
