/* What conv's files on NVIDIA have of each other: conv.cu the tables and the portable variants, conv_sm90.cu Hopper's, conv_sm80.cu
 * those of compute capability 8.0. */
#ifndef TRINE_CUDA_CONV_VARIANTS_H
#define TRINE_CUDA_CONV_VARIANTS_H

#include "core/backend.h"
#include "core/conv_plan.h"

/* A kernel of which a multiprocessor must have room for that many blocks. */
#define TRINE_KERNEL_BLOCKS(threads, blocks) __global__ void __launch_bounds__(threads, blocks)

/* The portable variants: for what one of Hopper's finds out at the launch alone. */
trine_status trine_cuda_conv_forward_portable(trine_call *call, const void *args);
trine_status trine_cuda_conv_data_portable(trine_call *call, const void *args);
trine_status trine_cuda_conv_weight_portable(trine_call *call, const void *args);
/* Those of channels that lie last, in groups. */
trine_status trine_cuda_conv_forward_groups(trine_call *call, const void *args);
trine_status trine_cuda_conv_data_groups(trine_call *call, const void *args);

namespace sm90 {

template <int tile> trine_status conv_forward(trine_call *call, const void *args); /* -1 to 2: conv_sm90.cu has them */
template <int tile> trine_status conv_data(trine_call *call, const void *args);    /* -1 */
trine_status conv_weight(trine_call *call, const void *args);
trine_status depthwise_ring_forward(trine_call *call, const void *args);
trine_status depthwise_ring_data(trine_call *call, const void *args);

} // namespace sm90

/* Tiles: -1 any, or one of matmul_sm80_plan.h. */
namespace sm80 {

template <int tile> trine_status conv_forward(trine_call *call, const void *args); /* -1 to 2 */
template <int tile> trine_status conv_data(trine_call *call, const void *args);    /* -1 */
template <int tile> trine_status conv_weight(trine_call *call, const void *args);  /* -1 */
trine_status group_tiles_forward(trine_call *call, const void *args);
trine_status group_tiles_data(trine_call *call, const void *args);
trine_status group_tiles_weight(trine_call *call, const void *args);
/* Planes of true f32 by way of channels that lie last; any: of any size. */
template <bool any> trine_status turned_forward(trine_call *call, const void *args);
template <bool any> trine_status turned_data(trine_call *call, const void *args);
template <bool any> trine_status turned_weight(trine_call *call, const void *args);

} // namespace sm80

#endif
