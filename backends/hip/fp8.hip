/* fp8 on AMD: shared but for what a thread holds. */
#include "backends/hip/target.h"

/* The number of blocks that a compute unit should have room for is left to the compiler. */
#define TRINE_KERNEL_BLOCKS(threads, blocks) TRINE_KERNEL(threads)

#include "backends/hip/row.h"
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
