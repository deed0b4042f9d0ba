/* The launch of a kernel in clusters of blocks, and how many of them fit. */
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

/* Clusters that run at once. A cluster lies within one of the groups that multiprocessors come in: on an H100 eight of 14 to 18.
 * Seen on one, a block a multiprocessor: 66 of two blocks, 39 of three, 30 of four, 15 of eight. */
inline int64_t clusters_at_once(int64_t units, int blocks, int together)
{
    enum { group = 16 };
    if (units < group || blocks == 1) return units * together / blocks;
    return units / group * (group * together / blocks) - (blocks > 2) - (blocks == 4);
}

} // namespace sm90

#endif
