/* Quantisation on NVIDIA: shared but for what a thread holds and the clusters of row.h. */
#include "backends/cuda/target.h"

#include "backends/cuda/nf4_mma.h"
#include "backends/cuda/nf4_variants.h"
#include "backends/cuda/row.h"
#include "backends/simt/quantize.h"

static const trine_variant nf4_variants[] = {
    {"sm90", sm90nf4::matmul},
    {"sm90_few", sm90nf4::matmul_few},
    {"mma", nf4_mma::matmul},
    {"gemv", simt::nf4_gemv},
    {"dequantize", simt::nf4_dequantized},
    {"sm90_64", sm90nf4::matmul_of_tile<64>},
    {"sm90_128", sm90nf4::matmul_of_tile<128>},
    {"sm90_256", sm90nf4::matmul_of_tile<256>},
};

trine_status trine_cuda_nf4_portable(trine_call *call, const trine_nf4_matmul_args *args)
{
    const trine_nf4_shape s = trine_nf4_shape_make(args);
    return simt::visit_floats(call, args->x.dtype,
                              [&](auto t) { return simt::nf4_gemv_run<typename decltype(t)::type>(call, *args, s); });
}

extern "C" trine_status TRINE_BACKEND_FN(nf4_matmul)(trine_call *call, const trine_nf4_matmul_args *args)
{
    return trine_run_variants(call, nf4_variants, sizeof nf4_variants / sizeof *nf4_variants, args);
}
