/* The conv family on AMD. */
#include "backends/hip/target.h"

/* The number of blocks that a compute unit should have room for is left to the compiler. */
#define TRINE_KERNEL_BLOCKS(threads, blocks) TRINE_KERNEL(threads)

#include "backends/simt/conv.h"

/* Best first. */
static const trine_variant forward_variants[] = {{"implicit_gemm", simt::conv_forward}};
static const trine_variant data_variants[] = {{"implicit_gemm", simt::conv_data}};
static const trine_variant weight_variants[] = {{"implicit_gemm", simt::conv_weight}};

#include "backends/simt/conv_ops.h"
