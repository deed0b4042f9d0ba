/* The conv family on AMD. */
#include "backends/hip/target.h"

/* The number of blocks that a compute unit should have room for is left to the compiler. */
#define TRINE_KERNEL_BLOCKS(threads, blocks) TRINE_KERNEL(threads)

#include "backends/simt/conv_rows_run.h"

/* Best first. */
static const trine_variant forward_variants[] = {{"depthwise", simt::depthwise_forward}, {"implicit_gemm", simt::conv_forward}};
static const trine_variant data_variants[] = {{"depthwise", simt::depthwise_data}, {"implicit_gemm", simt::conv_data}};
static const trine_variant weight_variants[] = {{"depthwise", simt::depthwise_weight}, {"implicit_gemm", simt::conv_weight}};

#include "backends/simt/conv_ops.h"
