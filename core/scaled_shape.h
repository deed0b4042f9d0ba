/* Elements that share scales, as host code of every backend sees them; C11 and C++17. */
#ifndef TRINE_CORE_SCALED_SHAPE_H
#define TRINE_CORE_SCALED_SHAPE_H

#include "core/shape.h"
#include "trine/fp8.h"

enum { SCALED_CODES, SCALED_REALS, SCALED_SCALES, SCALED_OPERANDS };

/* Operands: codes, reals, scales. Element (row i, column j) of matrix `o` of the walk `outer` has the scale at
 * (i / row_block, j / column_block). */
typedef struct trine_scaled_shape {
    trine_iter outer;
    int64_t m, k;
    int64_t row_block, column_block;                                 /* 1 or 128; 128 or, for all of k, k or more */
    int64_t row_step[SCALED_OPERANDS], column_step[SCALED_OPERANDS]; /* the scales' go from block to block */
} trine_scaled_shape;

static inline int64_t trine_blocks(int64_t n, int64_t block) { return n / block + (n % block != 0); }

/* One scale for all: the axes may be taken in any order, so that what is dense becomes one row. */
static inline trine_scaled_shape trine_scaled_by_one(const trine_tensor *codes, const trine_tensor *reals)
{
    trine_scaled_shape s;
    trine_tensor one = *reals;
    const trine_tensor *tensors[SCALED_OPERANDS] = {codes, reals, &one};
    int64_t inner[TRINE_ITER_OPERANDS];
    one.ndim = 0;
    s.outer = trine_iter_make(tensors, SCALED_OPERANDS, 0);
    s.k = trine_iter_pop_inner(&s.outer, inner);
    s.m = s.row_block = 1;
    s.column_block = INT64_MAX;
    for (int k = 0; k < SCALED_OPERANDS; k++) s.row_step[k] = 0, s.column_step[k] = k == SCALED_SCALES ? 0 : inner[k];
    for (int32_t d = 0; d < s.outer.ndim; d++) s.outer.stride[SCALED_SCALES][d] = 0;
    return s;
}

/* Arguments that the checks let pass. */
static inline trine_scaled_shape trine_scaled_shape_make(const trine_tensor *codes, const trine_tensor *reals,
                                                         const trine_tensor *scales, trine_fp8_scaling scaling)
{
    trine_scaled_shape s;
    trine_tensor outer[SCALED_OPERANDS] = {*codes, *reals, *scales};
    const trine_tensor *outers[SCALED_OPERANDS] = {&outer[0], &outer[1], &outer[2]};
    const int32_t last = reals->ndim - 1;
    if (scaling == TRINE_FP8_PER_TENSOR) return trine_scaled_by_one(codes, reals);
    if (scaling == TRINE_FP8_PER_ROW) { /* [...] as [..., 1] */
        outer[SCALED_SCALES].stride[last] = 0;
        outer[SCALED_SCALES].ndim++;
    }
    const int32_t inner = scaling == TRINE_FP8_PER_128X128 ? 2 : 1;
    s.m = inner == 2 ? reals->shape[last - 1] : 1;
    s.k = reals->shape[last];
    s.row_block = inner == 2 ? (int64_t)TRINE_FP8_BLOCK : 1;
    s.column_block = scaling == TRINE_FP8_PER_ROW ? INT64_MAX : (int64_t)TRINE_FP8_BLOCK;
    for (int k = 0; k < SCALED_OPERANDS; k++) {
        s.column_step[k] = outer[k].stride[last];
        s.row_step[k] = inner == 2 ? outer[k].stride[last - 1] : 0;
        outer[k].ndim = last + 1 - inner;
    }
    s.outer = trine_iter_make(outers, SCALED_OPERANDS, 1);
    return s;
}

#endif
