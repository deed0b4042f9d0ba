/* The scan family on NVIDIA: shared but for few long rows on Hopper (scan_sm90.cu). */
#include "backends/cuda/target.h"

#include "backends/cuda/scan_variants.h"
#include "backends/simt/scan.h"

trine_status trine_cuda_scan_portable(trine_call *call, const void *args)
{
    return simt::scan(call, static_cast<const trine_scan_args *>(args));
}

/* sm90_any: what sm90 leaves to the shared kernels because it is small. */
static const trine_variant variants[] = {
    {"sm90", scan_sm90::scan<false>},
    {"simt", trine_cuda_scan_portable},
    {"sm90_any", scan_sm90::scan<true>},
};

extern "C" trine_status TRINE_BACKEND_FN(scan)(trine_call *call, const trine_scan_args *args)
{
    return trine_run_variants(call, variants, sizeof variants / sizeof *variants, args);
}
