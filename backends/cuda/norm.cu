/* The norm family on NVIDIA: shared but for what a thread holds, the clusters of row.h, and batchnorm of planes on Hopper
 * (norm_sm90.cu). */
#include "backends/cuda/target.h"

#include "backends/cuda/norm_variants.h"
#include "backends/cuda/row.h"
#include "backends/simt/norm.h"
#include "backends/simt/batchnorm.h"
#include "backends/simt/groupnorm.h"
#include "backends/simt/l2_normalize.h"
#include "backends/simt/norm_gradient_run.h"

trine_status trine_cuda_batchnorm_portable(trine_call *call, const void *args)
{
    return simt::batchnorm(call, static_cast<const trine_batchnorm_args *>(args));
}
trine_status trine_cuda_batchnorm_backward_portable(trine_call *call, const void *args)
{
    return simt::batchnorm_backward(call, static_cast<const trine_batchnorm_backward_args *>(args));
}

/* sm90_any: what sm90 leaves to the shared kernels because it is small. */
static const trine_variant forward_variants[] = {
    {"sm90", channel_ring::batchnorm<false>},
    {"simt", trine_cuda_batchnorm_portable},
    {"sm90_any", channel_ring::batchnorm<true>},
};
static const trine_variant backward_variants[] = {
    {"sm90", channel_ring::batchnorm_backward<false>},
    {"simt", trine_cuda_batchnorm_backward_portable},
    {"sm90_any", channel_ring::batchnorm_backward<true>},
};

extern "C" trine_status TRINE_BACKEND_FN(batchnorm)(trine_call *call, const trine_batchnorm_args *args)
{
    return trine_run_variants(call, forward_variants, sizeof forward_variants / sizeof *forward_variants, args);
}
extern "C" trine_status TRINE_BACKEND_FN(batchnorm_backward)(trine_call *call, const trine_batchnorm_backward_args *args)
{
    return trine_run_variants(call, backward_variants, sizeof backward_variants / sizeof *backward_variants, args);
}
