/* fp8 on NVIDIA: shared but for what a thread holds and the clusters of row.h. */
#include "backends/cuda/target.h"

/* A kernel of which a multiprocessor must have room for that many blocks. */
#define TRINE_KERNEL_BLOCKS(threads, blocks) __global__ void __launch_bounds__(threads, blocks)
#define TRINE_FP8_ROWS 16

#include "backends/cuda/fp8_variants.h"
#include "backends/cuda/row.h"
#include "backends/simt/fp8.h"
#include "backends/simt/fp8_matmul.h"

trine_status trine_cuda_fp8_matmul_portable(trine_call *call, const trine_product *product)
{
    return simt::run_fp8_tiled(call, *product, simt::register_plan{true, 1, 0});
}

/* Best first. */
static const trine_variant fp8_matmul_variants[] = {
    {"sm90", sm90f8::fp8_matmul},
    {"sm89", sm89::fp8_matmul},
    {"register_tiled", simt::fp8_matmul_register_tiled},
    {"register_tiled_128", simt::fp8_matmul_register_tiled_128},
    {"sm90_128x192", sm90f8::fp8_matmul_of_tile<0, false>},
    {"sm90_128x128", sm90f8::fp8_matmul_of_tile<1, false>},
    {"sm90_64x128", sm90f8::fp8_matmul_of_tile<2, false>},
    {"sm90_128x256", sm90f8::fp8_matmul_of_tile<3, false>},
    {"sm90_64x64", sm90f8::fp8_matmul_of_tile<4, false>},
    {"sm90_128x128_split", sm90f8::fp8_matmul_of_tile<1, true>},
    {"sm90_64x128_split", sm90f8::fp8_matmul_of_tile<2, true>},
    {"sm90_64x64_split", sm90f8::fp8_matmul_of_tile<4, true>},
    {"sm89_128x128", sm89::fp8_matmul_of_tile<0>},
    {"sm89_64x64", sm89::fp8_matmul_of_tile<1>},
};

extern "C" trine_status TRINE_BACKEND_FN(fp8_matmul)(trine_call *call, const trine_fp8_matmul_args *args)
{
    return trine_run_variants(call, fp8_matmul_variants, sizeof fp8_matmul_variants / sizeof *fp8_matmul_variants, args);
}
