/* The conv family's ops as products (core/conv_plan.h), which a variant runs one after the other. */
#ifndef TRINE_SIMT_CONV_RUN_H
#define TRINE_SIMT_CONV_RUN_H

#include "backends/simt/launch.h"
#include "core/conv_plan.h"

namespace simt {

/* Indices on the device have 31 bits. */
inline bool conv_fits(const trine_conv_product &p)
{
    const int64_t most = 0x7fffffff - 4096;
    return p.m < most && p.n < most && p.k < most && p.groups * p.n < most;
}

/* How one product is run. *needed: the workspace of the call, raised to what this product needs; only_ask: that is all. */
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

} // namespace simt

#endif
