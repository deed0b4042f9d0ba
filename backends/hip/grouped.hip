/* Grouped products on AMD: shared. */
#include "backends/hip/target.h"

/* The number of blocks that a compute unit should have room for is left to the compiler. */
#define TRINE_KERNEL_BLOCKS(threads, blocks) TRINE_KERNEL(threads)

#include "backends/simt/grouped.h"

static const trine_variant grouped_variants[] = {{"register_tiled", simt::grouped_register_tiled}};

extern "C" trine_status TRINE_BACKEND_FN(grouped_matmul)(trine_call *call, const trine_grouped_matmul_args *args)
{
    return trine_run_variants(call, grouped_variants, sizeof grouped_variants / sizeof *grouped_variants, args);
}
