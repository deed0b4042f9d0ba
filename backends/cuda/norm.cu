/* The norm family on NVIDIA: shared but for what a thread holds, the clusters of row.h, and channels and groups of planes and
 * very long rows on Hopper (norm_sm90.cu). */
#include "backends/cuda/target.h"

#include "backends/cuda/norm_variants.h"
#include "backends/cuda/row.h"
#include "backends/simt/norm.h"
#include "backends/simt/batchnorm.h"
#include "backends/simt/groupnorm.h"
#include "backends/simt/l2_normalize.h"
#include "backends/simt/norm_gradient_run.h"

/* An op of which Hopper has variants of its own: sm90_any is what sm90 leaves to the shared kernels because it is small. */
#define TRINE_RING_OP(op) \
    trine_status trine_cuda_##op##_portable(trine_call *call, const void *args) \
    { \
        return simt::op(call, static_cast<const trine_##op##_args *>(args)); \
    } \
    static const trine_variant op##_variants[] = { \
        {"sm90", channel_ring::op<false>}, \
        {"simt", trine_cuda_##op##_portable}, \
        {"sm90_any", channel_ring::op<true>}, \
    }; \
    extern "C" trine_status TRINE_BACKEND_FN(op)(trine_call * call, const trine_##op##_args *args) \
    { \
        return trine_run_variants(call, op##_variants, sizeof op##_variants / sizeof *op##_variants, args); \
    }
TRINE_RING_OPS(TRINE_RING_OP)

trine_status trine_cuda_groupnorm_parameters(trine_call *call, const trine_groupnorm_backward_args *a, const void *slopes,
                                             int64_t parts)
{
    const simt::groupnorm_sets of = {simt::channel_vector(a->weight),
                                     simt::channel_vector(trine_tensor{}),
                                     simt::data_of<float>(a->mean),
                                     simt::data_of<float>(a->rstd),
                                     a->x.shape[0] * a->groups,
                                     a->x.shape[1] / a->groups,
                                     a->x.shape[1],
                                     parts,
                                     0.0f,
                                     0.0f};
    return simt::groupnorm_parameters(call, a, of, parts, static_cast<const simt::channel_slopes *>(slopes));
}
