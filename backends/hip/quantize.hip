/* Quantisation on AMD: shared but for what a thread holds. */
#include "backends/hip/target.h"

#include "backends/hip/row.h"
#include "backends/simt/quantize.h"

static const trine_variant nf4_variants[] = {
    {"gemv", simt::nf4_gemv},
    {"dequantize", simt::nf4_dequantized},
};

extern "C" trine_status TRINE_BACKEND_FN(nf4_matmul)(trine_call *call, const trine_nf4_matmul_args *args)
{
    return trine_run_variants(call, nf4_variants, sizeof nf4_variants / sizeof *nf4_variants, args);
}
