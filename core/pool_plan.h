/* Pooling's windows and how its tensors are walked; C11, C++17 and device code. */
#ifndef TRINE_CORE_POOL_PLAN_H
#define TRINE_CORE_POOL_PLAN_H

#include "core/shape.h"
#include "trine/pool.h"

#ifndef TRINE_INLINE
#define TRINE_INLINE static inline
#endif

/* One spatial axis. */
typedef struct trine_pool_axis {
    int32_t in, out, kernel, stride, padding, dilation;
} trine_pool_axis;

/* Outputs along an axis of length `in`; none where the window is larger than the padded input. */
TRINE_INLINE int64_t trine_pool_out(int64_t in, const trine_pool_axis *a, int ceil_mode)
{
    const int64_t room = in + 2 * (int64_t)a->padding - (int64_t)a->dilation * (a->kernel - 1) - 1;
    if (room < 0) return 0;
    int64_t out = (room + (ceil_mode ? a->stride - 1 : 0)) / a->stride + 1;
    return ceil_mode && (out - 1) * a->stride >= in + a->padding ? out - 1 : out;
}

/* Taps of output o's window that count in an average: before `in`, or before in + padding with padding included. */
TRINE_INLINE int32_t trine_pool_taps(const trine_pool_axis *a, int32_t o, int include_pad)
{
    const int32_t start = o * a->stride - a->padding, limit = include_pad ? a->in + a->padding : a->in;
    int32_t first = !include_pad && start < 0 ? (-start + a->dilation - 1) / a->dilation : 0;
    int32_t end = start < limit ? (limit - start + a->dilation - 1) / a->dilation : 0;
    if (end > a->kernel) end = a->kernel;
    return end > first ? end - first : 0;
}

enum { TRINE_POOL_OPERANDS = 3 }; /* the small tensor (y, dy), the large one (x, dx), indices */

/* Planes of [height, width], `inner` side by side: the channels where they lie densely, else one. */
typedef struct trine_pool_plan {
    trine_iter planes;
    trine_pool_axis height, width;
    int64_t inner;
    int64_t row[TRINE_POOL_OPERANDS], column[TRINE_POOL_OPERANDS], step[TRINE_POOL_OPERANDS]; /* strides */
} trine_pool_plan;

static inline trine_pool_axis trine_pool_axis_of(const trine_pool_window *w, int32_t i)
{
    trine_pool_axis a;
    a.in = a.out = 1;
    a.kernel = w->kernel[i];
    a.stride = w->stride[i] ? w->stride[i] : 1;
    a.padding = w->padding[i];
    a.dilation = w->dilation[i] ? w->dilation[i] : 1;
    return a;
}

/* indices may be not given. */
static inline trine_pool_plan trine_pool_plan_make(const trine_tensor *out, const trine_tensor *in, const trine_tensor *indices,
                                                   const trine_pool_window *w, int32_t channels_last)
{
    trine_pool_plan p;
    const int32_t rank = w->rank, first = channels_last ? 1 : 2, channel = channels_last ? rank + 1 : 1;
    const int32_t given = trine_is_given(indices);
    const trine_tensor *t[TRINE_POOL_OPERANDS];
    trine_tensor planes[TRINE_POOL_OPERANDS];
    const trine_tensor *pointers[TRINE_POOL_OPERANDS];
    t[0] = out;
    t[1] = in;
    t[2] = given ? indices : out;
    p.width = trine_pool_axis_of(w, rank - 1);
    p.height = p.width;
    p.height.in = p.height.out = p.height.kernel = p.height.stride = p.height.dilation = 1;
    p.height.padding = 0;
    if (rank == 2) {
        p.height = trine_pool_axis_of(w, 0);
        p.height.in = (int32_t)in->shape[first];
        p.height.out = (int32_t)out->shape[first];
    }
    p.width.in = (int32_t)in->shape[first + rank - 1];
    p.width.out = (int32_t)out->shape[first + rank - 1];
    const int32_t dense = in->shape[channel] > 1 && in->stride[channel] == 1 && out->stride[channel] == 1;
    p.inner = dense ? in->shape[channel] : 1;
    for (int32_t k = 0; k < TRINE_POOL_OPERANDS; k++) {
        p.row[k] = rank == 2 ? t[k]->stride[first] : 0;
        p.column[k] = t[k]->stride[first + rank - 1];
        p.step[k] = dense ? t[k]->stride[channel] : 0;
        planes[k] = *t[k];
        planes[k].ndim = dense ? 1 : 2;
        planes[k].shape[1] = t[k]->shape[channel];
        planes[k].stride[1] = t[k]->stride[channel];
        pointers[k] = &planes[k];
    }
    p.planes = trine_iter_make(pointers, TRINE_POOL_OPERANDS, 1);
    return p;
}

#endif
