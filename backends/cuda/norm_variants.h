/* What the norm family's files on NVIDIA have of each other: norm.cu the tables and the shared variants, norm_sm90.cu Hopper's. */
#ifndef TRINE_CUDA_NORM_VARIANTS_H
#define TRINE_CUDA_NORM_VARIANTS_H

#include "core/backend.h"
#include "trine/norm.h"

/* The ops that have variants for Hopper. */
#define TRINE_RING_OPS(OP) \
    OP(batchnorm) OP(batchnorm_backward) OP(groupnorm) OP(groupnorm_backward) OP(l2_normalize) OP(l2_normalize_backward)

/* The shared variant, for what Hopper's find out at the launch alone; and Hopper's. */
#define TRINE_RING_OP(op) \
    trine_status trine_cuda_##op##_portable(trine_call *call, const void *args); \
    namespace channel_ring { \
    template <bool any_size> trine_status op(trine_call *call, const void *args); \
    }
TRINE_RING_OPS(TRINE_RING_OP)
#undef TRINE_RING_OP

/* dweight and dbias, where they are asked for, from what every channel of a sample sums up to (simt::channel_slopes), in so many parts
 * each. */
trine_status trine_cuda_groupnorm_parameters(trine_call *call, const trine_groupnorm_backward_args *a, const void *slopes,
                                             int64_t parts);

#endif
