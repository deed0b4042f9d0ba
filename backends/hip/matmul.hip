/* The matmul family on AMD. */
#include "backends/hip/target.h"

/* The number of blocks that a compute unit should have room for is left to the compiler. */
#define TRINE_KERNEL_BLOCKS(threads, blocks) TRINE_KERNEL(threads)

#include "backends/hip/matmul_mfma.h"
#include "backends/simt/matmul.h"

/* Best first. */
static const trine_variant matmul_variants[] = {
    {"gemv", simt::matmul_gemv},
    {"mfma", mfma::matmul<mfma::by_mfma>},
    {"wmma", mfma::matmul<mfma::by_wmma>},
    {"register_tiled", simt::matmul_register_tiled},
    {"register_tiled_128", simt::matmul_register_tiled_128},
    {"tiled", simt::matmul_tiled},
    {"coalesced", simt::matmul_coalesced},
    {"naive", simt::matmul_naive},
    {"mfma_256x256", mfma::matmul_of_tile<mfma::by_mfma, 0, false>},
    {"mfma_128x128", mfma::matmul_of_tile<mfma::by_mfma, 1, false>},
    {"mfma_64x64", mfma::matmul_of_tile<mfma::by_mfma, 2, false>},
    {"mfma_64x64_split", mfma::matmul_of_tile<mfma::by_mfma, 2, true>},
    {"wmma_128x128", mfma::matmul_of_tile<mfma::by_wmma, 1, false>},
    {"wmma_64x64", mfma::matmul_of_tile<mfma::by_wmma, 2, false>},
    {"wmma_64x64_split", mfma::matmul_of_tile<mfma::by_wmma, 2, true>},
};

extern "C" trine_status TRINE_BACKEND_FN(matmul)(trine_call *call, const trine_matmul_args *args)
{
    return trine_run_variants(call, matmul_variants, sizeof matmul_variants / sizeof *matmul_variants, args);
}
