/* The conv family on AMD. */
#include "backends/hip/target.h"

/* The number of blocks that a compute unit should have room for is left to the compiler. */
#define TRINE_KERNEL_BLOCKS(threads, blocks) TRINE_KERNEL(threads)

#define TRINE_ROWS_REGISTERS 180 /* where clang still spills none of 256 */

#include "backends/hip/conv_mfma.h"
#include "backends/simt/conv_few.h"
#include "backends/simt/conv_rows_run.h"

/* Best first. */
static const trine_variant forward_variants[] = {
    {"few_channels", simt::few_forward},
    {"mfma", mfma::conv_forward<mfma::by_mfma>},
    {"wmma", mfma::conv_forward<mfma::by_wmma>},
    {"depthwise", simt::depthwise_forward},
    {"implicit_gemm", simt::conv_forward},
};
static const trine_variant data_variants[] = {
    {"few_channels", simt::few_data},
    {"mfma", mfma::conv_data<mfma::by_mfma>},
    {"wmma", mfma::conv_data<mfma::by_wmma>},
    {"depthwise", simt::depthwise_data},
    {"implicit_gemm", simt::conv_data},
};
static const trine_variant weight_variants[] = {
    {"mfma", mfma::conv_weight<mfma::by_mfma>},
    {"wmma", mfma::conv_weight<mfma::by_wmma>},
    {"depthwise", simt::depthwise_weight},
    {"implicit_gemm", simt::conv_weight},
};

#include "backends/simt/conv_ops.h"
