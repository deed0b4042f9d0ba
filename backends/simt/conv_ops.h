/* The conv family's functions, over the tables forward_variants, data_variants and weight_variants of the vendor's file. */
#ifndef TRINE_SIMT_CONV_OPS_H
#define TRINE_SIMT_CONV_OPS_H

#include "backends/simt/conv.h"

extern "C" trine_status TRINE_BACKEND_FN(sum)(trine_call *call, const trine_sum_args *args);

extern "C" trine_status TRINE_BACKEND_FN(conv)(trine_call *call, const trine_conv_args *args)
{
    return trine_run_variants(call, forward_variants, sizeof forward_variants / sizeof *forward_variants, args);
}

extern "C" trine_status TRINE_BACKEND_FN(conv_backward_data)(trine_call *call, const trine_conv_backward_data_args *args)
{
    return trine_run_variants(call, data_variants, sizeof data_variants / sizeof *data_variants, args);
}

static trine_status conv_weight_variants(trine_call *call, const trine_conv_backward_weight_args *args)
{
    return trine_run_variants(call, weight_variants, sizeof weight_variants / sizeof *weight_variants, args);
}

extern "C" trine_status TRINE_BACKEND_FN(conv_backward_weight)(trine_call *call, const trine_conv_backward_weight_args *args)
{
    return trine_conv_weight_and_bias(call, TRINE_BACKEND_FN(sum), conv_weight_variants, args);
}

#endif
