/* Images on NVIDIA: all of it is shared. */
#include "backends/cuda/target.h"

/* A kernel of which `blocks` must fit a multiprocessor at once. */
#define TRINE_CROWDED_KERNEL(threads, blocks) __global__ void __launch_bounds__(threads, blocks)

#include "backends/simt/image.h"
