/* The conv family on NVIDIA. */
#include "backends/cuda/target.h"

/* A kernel of which a multiprocessor must have room for that many blocks. */
#define TRINE_KERNEL_BLOCKS(threads, blocks) __global__ void __launch_bounds__(threads, blocks)

#include "backends/simt/conv.h"

/* Best first. */
static const trine_variant forward_variants[] = {{"implicit_gemm", simt::conv_forward}};
static const trine_variant data_variants[] = {{"implicit_gemm", simt::conv_data}};
static const trine_variant weight_variants[] = {{"implicit_gemm", simt::conv_weight}};

#include "backends/simt/conv_ops.h"
