/* The conv family's portable kernels: conv_gemm.h has the implicit matrix product, conv_depthwise.h and
 * conv_depthwise_weight.h what is none. A vendor's file
 * puts its kernels for matrix units before them. */
#ifndef TRINE_SIMT_CONV_H
#define TRINE_SIMT_CONV_H

#include "backends/simt/conv_depthwise_weight.h"
#include "core/conv_bias.h"

namespace simt {

/* Indices on the device have 31 bits. */
inline bool conv_fits(const trine_conv_product &p)
{
    const int64_t most = 0x7fffffff - 4096;
    return p.m < most && p.n < most && p.k < most && p.groups * p.n < most;
}

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

/* How one product is run, as conv_portable. */
typedef trine_status (*conv_product_fn)(trine_call *call, trine_conv_product p, size_t *needed, bool only_ask);

/* All products of an op: first what they need, then they. `each` calls its argument with one after the other. */
template <class Each> inline trine_status conv_run(trine_call *call, conv_product_fn product, Each each)
{
    size_t needed = 0;
    trine_status status = each([&](const trine_conv_product &p) { return product(call, p, &needed, true); });
    if (status != TRINE_OK) return status;
    TRINE_END_OF_QUERY(call, needed);
    return each([&](const trine_conv_product &p) { return product(call, p, &needed, false); });
}

inline trine_status conv_forward_by(trine_call *call, const void *args, conv_product_fn product)
{
    const trine_conv_args *a = static_cast<const trine_conv_args *>(args);
    const trine_conv_shape s = trine_conv_shape_make(&a->x, &a->weight, &a->y, &a->window, a->channels_last);
    return conv_run(call, product, [&](auto run) { return run(trine_conv_forward(&s, a)); });
}

inline trine_status conv_data_by(trine_call *call, const void *args, conv_product_fn product)
{
    const trine_conv_backward_data_args *a = static_cast<const trine_conv_backward_data_args *>(args);
    const trine_conv_shape s = trine_conv_shape_make(&a->dx, &a->weight, &a->dy, &a->window, a->channels_last);
    return conv_run(call, product, [&](auto run) {
        trine_status status = TRINE_OK;
        for (int64_t h = 0; h < trine_conv_phases(&s, 0); h++)
            for (int64_t w = 0; w < trine_conv_phases(&s, 1) && status == TRINE_OK; w++)
                status = run(trine_conv_data(&s, a, h, w));
        return status;
    });
}

inline trine_status conv_weight_by(trine_call *call, const void *args, conv_product_fn product)
{
    const trine_conv_backward_weight_args *a = static_cast<const trine_conv_backward_weight_args *>(args);
    const trine_conv_shape s = trine_conv_shape_make(&a->x, &a->dweight, &a->dy, &a->window, a->channels_last);
    return conv_run(call, product, [&](auto run) { return run(trine_conv_weight(&s, a)); });
}

inline trine_status conv_forward(trine_call *call, const void *args) { return conv_forward_by(call, args, conv_portable); }
inline trine_status conv_data(trine_call *call, const void *args) { return conv_data_by(call, args, conv_portable); }
inline trine_status conv_weight(trine_call *call, const void *args) { return conv_weight_by(call, args, conv_portable); }

} // namespace simt

#endif
