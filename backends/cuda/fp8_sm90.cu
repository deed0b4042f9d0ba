/* Hopper's products of fp8: a file of its own, because its instructions need code for sm_90a. */
#include "backends/cuda/target.h"

#define TRINE_KERNEL_BLOCKS(threads, blocks) __global__ void __launch_bounds__(threads, blocks)

#include "backends/cuda/fp8_sm90.h"
