/* fp8 on NVIDIA: shared but for what a thread holds and the clusters of row.h. */
#include "backends/cuda/target.h"

/* A kernel of which a multiprocessor must have room for that many blocks. */
#define TRINE_KERNEL_BLOCKS(threads, blocks) __global__ void __launch_bounds__(threads, blocks)

#include "backends/cuda/row.h"
#include "backends/simt/fp8.h"
#include "backends/simt/fp8_matmul.h"

/* Best first. */
static const trine_variant fp8_matmul_variants[] = {
    {"register_tiled", simt::fp8_matmul_register_tiled},
    {"register_tiled_128", simt::fp8_matmul_register_tiled_128},
};

extern "C" trine_status TRINE_BACKEND_FN(fp8_matmul)(trine_call *call, const trine_fp8_matmul_args *args)
{
    return trine_run_variants(call, fp8_matmul_variants, sizeof fp8_matmul_variants / sizeof *fp8_matmul_variants, args);
}
