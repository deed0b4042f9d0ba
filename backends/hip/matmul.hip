/* The matmul family on AMD. */
#include "backends/hip/target.h"

/* The number of blocks that a compute unit should have room for is left to the compiler. */
#define TRINE_KERNEL_BLOCKS(threads, blocks) TRINE_KERNEL(threads)

#include "backends/simt/matmul.h"

/* Best first. */
static const trine_variant matmul_variants[] = {
    {"gemv", simt::matmul_gemv},
    {"register_tiled", simt::matmul_register_tiled},
    {"register_tiled_128", simt::matmul_register_tiled_128},
    {"tiled", simt::matmul_tiled},
    {"coalesced", simt::matmul_coalesced},
    {"naive", simt::matmul_naive},
};

extern "C" trine_status TRINE_BACKEND_FN(matmul)(trine_call *call, const trine_matmul_args *args)
{
    return trine_run_variants(call, matmul_variants, sizeof matmul_variants / sizeof *matmul_variants, args);
}
