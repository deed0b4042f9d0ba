/* What the norm family's files on NVIDIA have of each other: norm.cu the tables and the shared variants, norm_sm90.cu Hopper's. */
#ifndef TRINE_CUDA_NORM_VARIANTS_H
#define TRINE_CUDA_NORM_VARIANTS_H

#include "core/backend.h"

/* For what Hopper's find out at the launch alone. */
trine_status trine_cuda_batchnorm_portable(trine_call *call, const void *args);
trine_status trine_cuda_batchnorm_backward_portable(trine_call *call, const void *args);
trine_status trine_cuda_l2_normalize_portable(trine_call *call, const void *args);
trine_status trine_cuda_l2_normalize_backward_portable(trine_call *call, const void *args);

namespace channel_ring {

template <bool any_size> trine_status batchnorm(trine_call *call, const void *args);
template <bool any_size> trine_status batchnorm_backward(trine_call *call, const void *args);
template <bool any_size> trine_status l2_normalize(trine_call *call, const void *args);
template <bool any_size> trine_status l2_normalize_backward(trine_call *call, const void *args);

} // namespace channel_ring

#endif
