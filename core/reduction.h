/* A reduction as host code of every backend sees it; C11 and C++17. */
#ifndef TRINE_CORE_REDUCTION_H
#define TRINE_CORE_REDUCTION_H

#include "core/taken.h"
#include "trine/reduce.h"

enum { REDUCTION_INPUTS = 2, REDUCTION_Y = REDUCTION_INPUTS };

/* Every output reduces `rows` segments of n elements. Operands of the walks: 0 and 1 are the inputs (the same one twice if there
 * is one), REDUCTION_Y the output. kept  over the outputs, the inputs' closest axis innermost rows  over what is reduced outside
 * the segments: one row unless all axes are reduced and do not lie in one piece. Row-major if the order counts, else as the first
 * input lies */
typedef struct trine_reduction {
    trine_iter kept, rows;
    int64_t n;
    int64_t step[REDUCTION_INPUTS]; /* from one element of a segment to the next */
} trine_reduction;

static inline trine_reduction trine_reduction_of_all(const trine_tensor *a, const trine_tensor *b, const trine_tensor *y,
                                                     int ordered)
{
    trine_reduction r;
    trine_tensor one = *y;
    int64_t inner[TRINE_ITER_OPERANDS];
    one.ndim = 0; /* one element: its strides don't count */
    const trine_tensor *kept[] = {&one, &one, &one}, *inputs[] = {a, b};
    r.kept = trine_iter_make(kept, 3, 1);
    r.rows = trine_iter_make(inputs, 2, ordered);
    r.n = r.rows.numel;
    if (r.n) r.n = trine_iter_pop_inner(&r.rows, inner);
    for (int32_t k = 0; k < REDUCTION_INPUTS; k++) r.step[k] = r.n ? inner[k] : 0;
    if (!r.n) r.rows = r.kept;
    return r;
}

/* axis is checked. a and b have one shape. ordered: the result depends on the order of the elements, as an index does. */
static inline trine_reduction trine_reduction_make(const trine_tensor *a, const trine_tensor *b, const trine_tensor *y,
                                                   int32_t axis, int ordered)
{
    if (axis == TRINE_AXIS_ALL) return trine_reduction_of_all(a, b, y, ordered);
    trine_reduction r;
    if (axis < 0) axis += a->ndim;
    trine_tensor scalar = *a, outer[3] = {trine_drop_axes(a, axis, 1), trine_drop_axes(b, axis, 1), *y};
    if (y->ndim == a->ndim) outer[2] = trine_drop_axes(y, axis, 1);
    const trine_tensor *kept[] = {&outer[0], &outer[1], &outer[2]}, *none[] = {&scalar, &scalar};
    scalar.ndim = 0;
    r.kept = trine_iter_make(kept, 3, 0);
    r.rows = trine_iter_make(none, 2, 1);
    r.n = a->shape[axis];
    r.step[0] = a->stride[axis];
    r.step[1] = b->stride[axis];
    return r;
}

#endif
