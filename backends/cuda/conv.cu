/* The conv family on NVIDIA. */
#include "backends/cuda/target.h"

#define TRINE_ROWS_REGISTERS 256

#include "backends/cuda/conv_variants.h"
#include "backends/simt/conv_few.h"
#include "backends/simt/conv_pointwise.h"
#include "backends/simt/conv_rows_run.h"

trine_status trine_cuda_conv_forward_portable(trine_call *call, const void *args) { return simt::conv_forward(call, args); }
trine_status trine_cuda_conv_data_portable(trine_call *call, const void *args) { return simt::conv_data(call, args); }
trine_status trine_cuda_conv_weight_portable(trine_call *call, const void *args) { return simt::conv_weight(call, args); }

/* few_channels, or the portable variant: what comes first in the tables below. */
trine_status trine_cuda_conv_forward_groups(trine_call *call, const void *args)
{
    const trine_status few = simt::few_forward(call, args);
    return few == TRINE_ERROR_UNSUPPORTED ? simt::conv_forward(call, args) : few;
}
trine_status trine_cuda_conv_data_groups(trine_call *call, const void *args)
{
    const trine_status few = simt::few_data(call, args);
    return few == TRINE_ERROR_UNSUPPORTED ? simt::conv_data(call, args) : few;
}

/* The product of tf32 has few outputs and as many terms as pixels: sm90 divides them among blocks. */
static trine_status pointwise_weight(trine_call *call, const void *args)
{
    TRINE_REQUIRE_THAT(call,
                       static_cast<const trine_conv_backward_weight_args *>(args)->precision != TRINE_MATMUL_TF32 ||
                           strcmp(call->device->props.arch, "sm_90") != 0,
                       "needs true f32, or another GPU");
    return simt::pointwise_weight(call, args);
}

/* Best first. */
static const trine_variant forward_variants[] = {
    {"pointwise", simt::pointwise_forward},
    {"sm90", sm90::conv_forward<-1>},
    {"depthwise_ring", sm90::depthwise_ring_forward},
    {"depthwise", simt::depthwise_forward},
    {"group_tiles", sm80::group_tiles_forward},
    {"few_channels", simt::few_forward},
    {"turned", sm80::turned_forward<false>},
    {"sm80", sm80::conv_forward<-1>},
    {"implicit_gemm", simt::conv_forward},
    {"turned_any", sm80::turned_forward<true>},
    {"sm90_128x256", sm90::conv_forward<0>},
    {"sm90_128x128", sm90::conv_forward<1>},
    {"sm90_128x64", sm90::conv_forward<2>},
    {"sm80_128x256", sm80::conv_forward<0>},
    {"sm80_128x128", sm80::conv_forward<1>},
    {"sm80_64x64", sm80::conv_forward<2>},
};
static const trine_variant data_variants[] = {
    {"pointwise", simt::pointwise_data},
    {"sm90", sm90::conv_data<-1>},
    {"depthwise_ring", sm90::depthwise_ring_data},
    {"depthwise", simt::depthwise_data},
    {"group_tiles", sm80::group_tiles_data},
    {"few_channels", simt::few_data},
    {"turned", sm80::turned_data<false>},
    {"sm80", sm80::conv_data<-1>},
    {"implicit_gemm", simt::conv_data},
    {"turned_any", sm80::turned_data<true>},
};
static const trine_variant weight_variants[] = {
    {"pointwise", pointwise_weight},
    {"sm90", sm90::conv_weight},
    {"depthwise", simt::depthwise_weight},
    {"group_tiles", sm80::group_tiles_weight},
    {"turned", sm80::turned_weight<false>},
    {"sm80", sm80::conv_weight<-1>},
    {"implicit_gemm", simt::conv_weight},
    {"turned_any", sm80::turned_weight<true>},
};

#include "backends/simt/conv_ops.h"
