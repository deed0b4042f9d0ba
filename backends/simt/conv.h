/* The conv family's portable kernels: conv_gemm.h has the implicit matrix product, conv_depthwise.h and
 * conv_depthwise_weight.h what is none. A vendor's file
 * puts its kernels for matrix units before them. */
#ifndef TRINE_SIMT_CONV_H
#define TRINE_SIMT_CONV_H

#include "backends/simt/conv_depthwise_weight.h"
#include "backends/simt/conv_run.h"
#include "core/conv_bias.h"

namespace simt {

/* Runs one product; in a query adds up nothing, for products share the workspace. */
inline trine_status conv_portable(trine_call *call, trine_conv_product p, size_t *needed, bool only_ask)
{
    TRINE_REQUIRE_THAT(call, conv_fits(p), "needs less than 2^31 pixels and terms");
    const bool depthwise = conv_is_depthwise(p), of_weight = !depthwise && conv_is_depthwise_weight(p),
               empty = p.m == 0 || p.n == 0 || p.groups == 0;
    if (of_weight && !empty) {
        const int64_t slices = depthwise_weight_slices(call, p);
        if (depthwise_weight_workspace(p, slices) > *needed) *needed = depthwise_weight_workspace(p, slices);
        if (only_ask) return TRINE_OK;
        return visit_floats(call, p.dtype,
                            [&](auto t) { return depthwise_weight_run<typename decltype(t)::type>(call, p, slices); });
    }
    if (!depthwise) trine_conv_orient(&p);
    const conv_gemm_plan plan = depthwise || empty ? conv_gemm_plan{1, 1, 1} : conv_plan_gemm(call, p);
    if (conv_gemm_workspace(p, plan) > *needed) *needed = conv_gemm_workspace(p, plan);
    if (only_ask || empty) return TRINE_OK;
    return visit_floats(call, p.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        return depthwise ? depthwise_run<T>(call, p) : conv_gemm_launch<T>(call, p, plan);
    });
}

inline trine_status conv_forward(trine_call *call, const void *args) { return conv_forward_by(call, args, conv_portable); }
inline trine_status conv_data(trine_call *call, const void *args) { return conv_data_by(call, args, conv_portable); }
inline trine_status conv_weight(trine_call *call, const void *args) { return conv_weight_by(call, args, conv_portable); }

} // namespace simt

#endif
