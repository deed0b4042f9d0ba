/* Grouped products on NVIDIA. */
#include "backends/cuda/target.h"

/* A kernel of which a multiprocessor must have room for that many blocks. */
#define TRINE_KERNEL_BLOCKS(threads, blocks) __global__ void __launch_bounds__(threads, blocks)

#include "backends/simt/grouped.h"

static const trine_variant grouped_variants[] = {{"register_tiled", simt::grouped_register_tiled}};

extern "C" trine_status TRINE_BACKEND_FN(grouped_matmul)(trine_call *call, const trine_grouped_matmul_args *args)
{
    return trine_run_variants(call, grouped_variants, sizeof grouped_variants / sizeof *grouped_variants, args);
}
