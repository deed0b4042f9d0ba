/* Grouped products on AMD. */
#include "backends/hip/target.h"

/* The number of blocks that a compute unit should have room for is left to the compiler. */
#define TRINE_KERNEL_BLOCKS(threads, blocks) TRINE_KERNEL(threads)

#include "backends/hip/grouped_mfma.h"

/* Best first. */
static const trine_variant grouped_variants[] = {
    {"mfma", mfma::grouped<mfma::by_mfma, mfma::group_tile_any>},
    {"wmma", mfma::grouped<mfma::by_wmma, mfma::group_tile_any>},
    {"mfma_f8", mfma::grouped_f8<-1>},
    {"register_tiled", simt::grouped_register_tiled},
    {"mfma_128x128", mfma::grouped<mfma::by_mfma, mfma::group_tile_128x128>},
    {"mfma_64x64", mfma::grouped<mfma::by_mfma, mfma::group_tile_64x64>},
    {"wmma_128x128", mfma::grouped<mfma::by_wmma, mfma::group_tile_128x128>},
    {"wmma_64x64", mfma::grouped<mfma::by_wmma, mfma::group_tile_64x64>},
    {"mfma_f8_256x128", mfma::grouped_f8<0>},
    {"mfma_f8_64x64", mfma::grouped_f8<1>},
};

extern "C" trine_status TRINE_BACKEND_FN(grouped_matmul)(trine_call *call, const trine_grouped_matmul_args *args)
{
    return trine_run_variants(call, grouped_variants, sizeof grouped_variants / sizeof *grouped_variants, args);
}
