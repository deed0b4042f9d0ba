/* Arithmetic on shapes that host code of every backend shares; C11 and C++17. */
#ifndef TRINE_CORE_SHAPE_H
#define TRINE_CORE_SHAPE_H

#include "trine/tensor.h"

enum { TRINE_ITER_OPERANDS = 6 };

/* Several operands walked together over one shape: as few axes as possible, outermost first, strides in elements. */
typedef struct trine_iter {
    int32_t ndim; /* >= 1 */
    int32_t operands;
    int64_t numel;
    int64_t size[TRINE_MAX_DIMS];
    int64_t stride[TRINE_ITER_OPERANDS][TRINE_MAX_DIMS];
} trine_iter;

static inline void trine_iter_swap_axes(trine_iter *it, int32_t i, int32_t j)
{
    int64_t t = it->size[i];
    it->size[i] = it->size[j];
    it->size[j] = t;
    for (int32_t k = 0; k < it->operands; k++) {
        t = it->stride[k][i];
        it->stride[k][i] = it->stride[k][j];
        it->stride[k][j] = t;
    }
}

/* Axes with larger strides of operand 0 (the output) go outside, so that the innermost is what lies closest in memory. */
static inline void trine_iter_sort(trine_iter *it)
{
    for (int32_t i = 1; i < it->ndim; i++)
        for (int32_t j = i; j > 0 && it->stride[0][j - 1] < it->stride[0][j]; j--) trine_iter_swap_axes(it, j - 1, j);
}

/* Joins neighbours that every operand walks with one stride. */
static inline void trine_iter_merge(trine_iter *it)
{
    int32_t last = 0;
    for (int32_t d = 1; d < it->ndim; d++) {
        int32_t joins = 1;
        for (int32_t k = 0; k < it->operands; k++) joins = joins && it->stride[k][last] == it->stride[k][d] * it->size[d];
        if (!joins) last++;
        it->size[last] = joins ? it->size[last] * it->size[d] : it->size[d];
        for (int32_t k = 0; k < it->operands; k++) it->stride[k][last] = it->stride[k][d];
    }
    it->ndim = last + 1;
}

/* Takes the second half of the longest axis off *it, and returns it; offset: elements from one half to the other, of each operand. The
 * cut is at a multiple of 16, so that the halves are aligned alike. */
static inline trine_iter trine_iter_halve(trine_iter *it, int64_t offset[TRINE_ITER_OPERANDS])
{
    int32_t longest = 0;
    for (int32_t d = 1; d < it->ndim; d++)
        if (it->size[d] > it->size[longest]) longest = d;
    trine_iter rest = *it;
    const int64_t size = it->size[longest], half = size < 32 ? size / 2 : size / 32 * 16;
    it->size[longest] = half;
    it->numel = it->numel / size * half;
    rest.size[longest] = size - half;
    rest.numel -= it->numel;
    for (int32_t k = 0; k < it->operands; k++) offset[k] = half * it->stride[k][longest];
    return rest;
}

/* tensors[0] gives the shape; the others are broadcast to it (aligned at the last axis). keep_order: axes stay in the order of
 * the shape, so that the walk is row-major. */
static inline trine_iter trine_iter_make(const trine_tensor *const *tensors, int32_t operands, int keep_order)
{
    trine_iter it;
    const trine_tensor *shape = tensors[0];
    it.ndim = 0;
    it.operands = operands;
    it.numel = 1;
    for (int32_t d = 0; d < shape->ndim; d++) {
        it.numel *= shape->shape[d];
        if (shape->shape[d] == 1) continue;
        it.size[it.ndim] = shape->shape[d];
        for (int32_t k = 0; k < operands; k++) {
            int32_t axis = d - (shape->ndim - tensors[k]->ndim);
            it.stride[k][it.ndim] = axis < 0 || tensors[k]->shape[axis] == 1 ? 0 : tensors[k]->stride[axis];
        }
        it.ndim++;
    }
    if (it.ndim == 0) {
        it.ndim = 1;
        it.size[0] = 1;
        for (int32_t k = 0; k < operands; k++) it.stride[k][0] = 1;
    }
    if (!keep_order) trine_iter_sort(&it);
    trine_iter_merge(&it);
    return it;
}

/* Takes the innermost axis off: returns its size; the iterator then walks the outer axes ("rows"). */
static inline int64_t trine_iter_pop_inner(trine_iter *it, int64_t inner_stride[TRINE_ITER_OPERANDS])
{
    int32_t d = it->ndim - 1;
    int64_t size = it->size[d];
    for (int32_t k = 0; k < it->operands; k++) inner_stride[k] = it->stride[k][d];
    it->ndim = d;
    it->numel = size ? it->numel / size : 0;
    if (d == 0) {
        it->ndim = 1;
        it->size[0] = 1;
        it->numel = size ? 1 : 0;
        for (int32_t k = 0; k < it->operands; k++) it->stride[k][0] = 0;
    }
    return size;
}

/* Offsets (in elements) of all operands at position `index` of the walk. */
static inline void trine_iter_offsets(const trine_iter *it, int64_t index, int64_t offset[TRINE_ITER_OPERANDS])
{
    for (int32_t k = 0; k < it->operands; k++) offset[k] = 0;
    for (int32_t d = it->ndim - 1; d >= 0; d--) {
        int64_t i = it->ndim == 1 ? index : index % it->size[d];
        if (it->ndim > 1) index /= it->size[d];
        for (int32_t k = 0; k < it->operands; k++) offset[k] += i * it->stride[k][d];
    }
}

/* [..., N] as rows: an iterator over all axes but the last, in row-major order of rows. *n: length of a row. ndim >= 1. */
static inline trine_iter trine_iter_rows(const trine_tensor *const *tensors, int32_t operands, int64_t *n)
{
    trine_tensor outer[TRINE_ITER_OPERANDS];
    const trine_tensor *outers[TRINE_ITER_OPERANDS] = {0}; /* at least one is set below */
    for (int32_t k = 0; k < operands; k++) {
        outer[k] = *tensors[k];
        outer[k].ndim--;
        outers[k] = &outer[k];
    }
    *n = tensors[0]->shape[tensors[0]->ndim - 1];
    return trine_iter_make(outers, operands, 1);
}

/* True if the last axis lies without gaps (or has at most one element). */
static inline int trine_last_axis_dense(const trine_tensor *t)
{
    return t->shape[t->ndim - 1] <= 1 || t->stride[t->ndim - 1] == 1;
}

static inline int trine_is_given(const trine_tensor *t) { return t->dtype != TRINE_DTYPE_NONE; }

#endif
