/* The bias's gradient: sums of dy over all axes but the channels', by the backend's own `sum`. Axes that lie behind each other are
 * one; what is left is summed up axis by axis, in f32. C11 and C++17. */
#ifndef TRINE_CORE_CONV_BIAS_H
#define TRINE_CORE_CONV_BIAS_H

#include "core/backend.h"
#include "core/conv_plan.h"

typedef trine_status (*trine_conv_sum_fn)(trine_call *call, const trine_sum_args *args);

/* [axes..., K] of dy: as few axes as possible, at least one, outermost first. */
static inline trine_tensor trine_conv_bias_view(const trine_tensor *dy, const trine_conv_window *w, int32_t channels_last)
{
    trine_tensor pixels = *dy, view = *dy;
    const int32_t channel = trine_conv_channel(w, channels_last);
    pixels.ndim--;
    for (int32_t d = channel; d < pixels.ndim; d++) {
        pixels.shape[d] = dy->shape[d + 1];
        pixels.stride[d] = dy->stride[d + 1];
    }
    const trine_tensor *all[] = {&pixels};
    const trine_iter it = trine_iter_make(all, 1, 0);
    view.ndim = it.ndim + 1;
    for (int32_t d = 0; d < it.ndim; d++) {
        view.shape[d] = it.size[d];
        view.stride[d] = it.stride[0][d];
    }
    view.shape[it.ndim] = dy->shape[channel];
    view.stride[it.ndim] = dy->stride[channel];
    return view;
}

/* Runs, or in a query only asks; *needed is what the workspace must hold. */
static inline trine_status trine_conv_bias_run(trine_call *call, trine_conv_sum_fn sum, const trine_conv_backward_weight_args *a,
                                               bool query, size_t *needed)
{
    trine_tensor x = trine_conv_bias_view(&a->dy, &a->window, a->channels_last);
    size_t used = 0;
    *needed = 0;
    for (int32_t axes = x.ndim - 1; axes > 0; axes--) {
        trine_sum_args args;
        memset(&args, 0, sizeof args);
        trine_tensor y = a->dbias;
        if (axes > 1) {
            int64_t shape[TRINE_MAX_DIMS], numel = 1;
            for (int32_t d = 0; d + 1 < x.ndim; d++) numel *= shape[d] = x.shape[d + 1 < axes ? d : d + 1];
            shape[axes - 1] = x.shape[axes];
            y = trine_tensor_make(query || !call->workspace ? NULL : (char *)call->workspace + used, TRINE_F32, axes, shape);
            used += ((size_t)numel * sizeof(float) + 255) / 256 * 256;
        }
        args.x = x;
        args.y = y;
        args.axis = axes - 1;
        trine_call inner = *call;
        const bool enough = !query && call->workspace && call->workspace_size >= used;
        inner.query = query;
        inner.any_variant = inner.forced_by_op = false;
        inner.forced = NULL;
        inner.workspace = enough ? (char *)call->workspace + used : NULL;
        inner.workspace_size = enough ? call->workspace_size - used : 0;
        inner.workspace_needed = 0;
        const trine_status status = sum(&inner, &args);
        if (*needed < used + inner.workspace_needed) *needed = used + inner.workspace_needed;
        if (status != TRINE_OK) {
            memcpy(call->why, inner.why, sizeof call->why);
            return status;
        }
        x = y;
    }
    return TRINE_OK;
}

/* conv_backward_weight with its two parts; `run` makes dweight. The workspace serves one after the other. */
static inline trine_status trine_conv_weight_and_bias(trine_call *call, trine_conv_sum_fn sum,
                                                      trine_status (*run)(trine_call *call,
                                                                          const trine_conv_backward_weight_args *a),
                                                      const trine_conv_backward_weight_args *a)
{
    size_t needed = 0;
    if (!trine_is_given(&a->dbias)) return run(call, a);
    trine_status status = trine_conv_bias_run(call, sum, a, true, &needed);
    if (status != TRINE_OK) return status;
    const bool query = call->query;
    if (!query && needed > call->workspace_size) {
        call->query = true; /* what both need, so that the workspace grows once */
        status = run(call, a);
        call->query = false;
        if (call->workspace_needed < needed) call->workspace_needed = needed;
        return status == TRINE_OK ? TRINE_ERROR_WORKSPACE_TOO_SMALL : status;
    }
    status = run(call, a);
    if (call->workspace_needed < needed) call->workspace_needed = needed;
    return status == TRINE_OK && !query ? trine_conv_bias_run(call, sum, a, false, &needed) : status;
}

#endif
