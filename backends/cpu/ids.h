/* Lists of ids, i32 or i64, on the CPU. */
#ifndef TRINE_CPU_IDS_H
#define TRINE_CPU_IDS_H

#include "core/shape.h"

static inline int64_t cpu_id(const void *p, trine_dtype dtype)
{
    return dtype == TRINE_I64 ? *(const int64_t *)p : *(const int32_t *)p;
}

/* Id i in row-major order; `it` walks ids. */
static inline int64_t cpu_id_at(const trine_tensor *ids, const trine_iter *it, int64_t i)
{
    int64_t offset[TRINE_ITER_OPERANDS] = {0};
    if (it->ndim == 1)
        offset[0] = i * it->stride[0][0];
    else
        trine_iter_offsets(it, i, offset);
    return cpu_id((const char *)ids->data + offset[0] * (ids->dtype == TRINE_I64 ? 8 : 4), ids->dtype);
}

#endif
