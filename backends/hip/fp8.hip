/* The fp8 family on AMD. */
#include "backends/hip/target.h"

/* The number of blocks that a compute unit should have room for is left to the compiler. */
#define TRINE_KERNEL_BLOCKS(threads, blocks) TRINE_KERNEL(threads)
#define TRINE_FP8_ROWS 8 /* 16 spilled 85 to 92 registers */

#include "backends/hip/row.h"
#include "backends/simt/fp8.h"
#include "backends/simt/fp8_matmul.h"
#include "backends/hip/fp8_mfma.h"

/* Best first. */
static const trine_variant fp8_matmul_variants[] = {
    {"mfma", mfma::fp8_matmul},
    {"register_tiled", simt::fp8_matmul_register_tiled},
    {"register_tiled_128", simt::fp8_matmul_register_tiled_128},
    {"mfma_256x128", mfma::fp8_matmul_of_tile<0, false>},
    {"mfma_64x64", mfma::fp8_matmul_of_tile<1, false>},
    {"mfma_64x64_split", mfma::fp8_matmul_of_tile<1, true>},
};

extern "C" trine_status TRINE_BACKEND_FN(fp8_matmul)(trine_call *call, const trine_fp8_matmul_args *args)
{
    return trine_run_variants(call, fp8_matmul_variants, sizeof fp8_matmul_variants / sizeof *fp8_matmul_variants, args);
}
