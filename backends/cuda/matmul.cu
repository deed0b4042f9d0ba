/* The matmul family on NVIDIA. */
#include "backends/cuda/target.h"

/* A kernel of which a multiprocessor must have room for that many blocks. */
#define TRINE_KERNEL_BLOCKS(threads, blocks) __global__ void __launch_bounds__(threads, blocks)

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
