/* The matmul family on NVIDIA. */
#include "backends/cuda/target.h"

/* A kernel of which a multiprocessor must have room for that many blocks. */
#define TRINE_KERNEL_BLOCKS(threads, blocks) __global__ void __launch_bounds__(threads, blocks)

#include "backends/cuda/matmul_variants.h"
#include "backends/simt/matmul.h"

trine_status trine_cuda_matmul_portable(trine_call *call, const trine_product *product)
{
    return simt::run_register_tiled(call, *product, simt::register_plan{true, 1, 0});
}

/* Best first. */
static const trine_variant matmul_variants[] = {
    {"thin", thin::matmul},
    {"gemv", simt::matmul_gemv},
    {"sm90", sm90::matmul},
    {"sm80", sm80::matmul},
    {"register_tiled", simt::matmul_register_tiled},
    {"register_tiled_128", simt::matmul_register_tiled_128},
    {"tiled", simt::matmul_tiled},
    {"coalesced", simt::matmul_coalesced},
    {"naive", simt::matmul_naive},
    {"sm90_128x256", sm90::matmul_of_tile<0, false>},
    {"sm90_128x128", sm90::matmul_of_tile<1, false>},
    {"sm90_64x128", sm90::matmul_of_tile<2, false>},
    {"sm90_64x64", sm90::matmul_of_tile<3, false>},
    {"sm90_128x64", sm90::matmul_of_tile<4, false>},
    {"sm90_128x192", sm90::matmul_of_tile<5, false>},
    {"sm90_128x256_split", sm90::matmul_of_tile<0, true>},
    {"sm90_128x128_split", sm90::matmul_of_tile<1, true>},
    {"sm90_64x128_split", sm90::matmul_of_tile<2, true>},
    {"sm90_64x64_split", sm90::matmul_of_tile<3, true>},
    {"sm90_128x64_split", sm90::matmul_of_tile<4, true>},
    {"sm80_128x256", sm80::matmul_of_tile<0>},
    {"sm80_128x128", sm80::matmul_of_tile<1>},
    {"sm80_64x64", sm80::matmul_of_tile<2>},
};

extern "C" trine_status TRINE_BACKEND_FN(matmul)(trine_call *call, const trine_matmul_args *args)
{
    return trine_run_variants(call, matmul_variants, sizeof matmul_variants / sizeof *matmul_variants, args);
}
