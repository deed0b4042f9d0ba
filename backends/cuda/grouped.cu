/* Grouped products on NVIDIA. */
#include "backends/cuda/target.h"

/* A kernel of which a multiprocessor must have room for that many blocks. */
#define TRINE_KERNEL_BLOCKS(threads, blocks) __global__ void __launch_bounds__(threads, blocks)

#include "backends/cuda/grouped_variants.h"
#include "backends/simt/grouped.h"

trine_status trine_cuda_grouped_portable(trine_call *call, const trine_grouped *grouped)
{
    return simt::run_grouped_tiled(call, *grouped);
}

/* Best first. */
static const trine_variant grouped_variants[] = {
    {"sm90", sm90::grouped_matmul<sm90::grouped_any>},
    {"sm89", sm89::grouped_matmul},
    {"sm80", sm80::grouped_matmul},
    {"register_tiled", simt::grouped_register_tiled},
    {"sm90_128x256", sm90::grouped_matmul<sm90::grouped_128x256>},
    {"sm90_64x128", sm90::grouped_matmul<sm90::grouped_64x128>},
    {"sm89_128x128", sm89::grouped_matmul_of_tile<0>},
    {"sm89_64x64", sm89::grouped_matmul_of_tile<1>},
    {"sm80_128x128", sm80::grouped_matmul_of_tile<0>},
    {"sm80_64x64", sm80::grouped_matmul_of_tile<1>},
};

extern "C" trine_status TRINE_BACKEND_FN(grouped_matmul)(trine_call *call, const trine_grouped_matmul_args *args)
{
    return trine_run_variants(call, grouped_variants, sizeof grouped_variants / sizeof *grouped_variants, args);
}
