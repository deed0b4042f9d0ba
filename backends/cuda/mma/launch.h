/* The launch of a kernel in clusters of blocks. */
#ifndef TRINE_CUDA_MMA_LAUNCH_H
#define TRINE_CUDA_MMA_LAUNCH_H

#include "backends/cuda/target.h"

namespace sm90 {

/* Tile says how many threads and how much shared memory a block has. */
template <class Tile, class... P, class... A>
inline trine_status launch_clusters(trine_call *call, void (*kernel)(P...), unsigned blocks, unsigned cluster, const A &...args)
{
    target::allow_shared(kernel, Tile::shared);
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {cluster, 1, 1};
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(blocks);
    config.blockDim = dim3(Tile::threads);
    config.dynamicSmemBytes = Tile::shared;
    config.stream = static_cast<cudaStream_t>(call->native);
    config.attrs = &attribute;
    config.numAttrs = cluster > 1;
    (void)cudaLaunchKernelEx(&config, kernel, args...); /* its error is the run time's last one */
    return target::launched(call);
}

} // namespace sm90

#endif
