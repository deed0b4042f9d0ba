/* Rows taken from a table, or added to it, as host code of every backend sees it; C11 and C++17.
 *
 * table [A..., V, B...], ids [I...], rows [A..., I..., B...]: the axis of size V is replaced by the axes of ids. */
#ifndef TRINE_CORE_TAKEN_H
#define TRINE_CORE_TAKEN_H

#include "core/shape.h"

/* t without its axes first to first + count - 1. */
static inline trine_tensor trine_drop_axes(const trine_tensor *t, int32_t first, int32_t count)
{
    trine_tensor r = *t;
    r.ndim -= count;
    for (int32_t d = first; d < r.ndim; d++) {
        r.shape[d] = t->shape[d + count];
        r.stride[d] = t->stride[d + count];
    }
    return r;
}

/* Only those axes of t. */
static inline trine_tensor trine_keep_axes(const trine_tensor *t, int32_t first, int32_t count)
{
    trine_tensor r = *t;
    r.ndim = count;
    for (int32_t d = 0; d < count; d++) {
        r.shape[d] = t->shape[first + d];
        r.stride[d] = t->stride[first + d];
    }
    return r;
}

/* The table's row 0, for every id: a view of the shape of `rows`, whose axes of ids have stride 0. */
static inline trine_tensor trine_table_along_rows(const trine_tensor *table, const trine_tensor *ids, const trine_tensor *rows,
                                                  int32_t axis)
{
    trine_tensor r = *rows;
    r.data = table->data;
    r.dtype = table->dtype;
    for (int32_t d = 0; d < r.ndim; d++)
        r.stride[d] = d < axis ? table->stride[d] : d < axis + ids->ndim ? 0 : table->stride[d - ids->ndim + 1];
    return r;
}

/* The id of every element of `rows`. */
static inline trine_tensor trine_ids_along_rows(const trine_tensor *ids, const trine_tensor *rows, int32_t axis)
{
    trine_tensor r = *rows;
    r.data = ids->data;
    r.dtype = ids->dtype;
    for (int32_t d = 0; d < r.ndim; d++) r.stride[d] = d >= axis && d < axis + ids->ndim ? ids->stride[d - axis] : 0;
    return r;
}

#endif
