/* Quantisation on NVIDIA: shared but for what a thread holds and the clusters of row.h. */
#include "backends/cuda/target.h"

#include "backends/cuda/nf4_mma.h"
#include "backends/cuda/row.h"
#include "backends/simt/quantize.h"

static const trine_variant nf4_variants[] = {
    {"mma", nf4_mma::matmul},
    {"gemv", simt::nf4_gemv},
    {"dequantize", simt::nf4_dequantized},
};

extern "C" trine_status TRINE_BACKEND_FN(nf4_matmul)(trine_call *call, const trine_nf4_matmul_args *args)
{
    return trine_run_variants(call, nf4_variants, sizeof nf4_variants / sizeof *nf4_variants, args);
}
