/* The scan family on AMD: all of it is shared. */
#include "backends/hip/target.h"

/* The compute unit has registers for as many. */
#define TRINE_CROWDED_KERNEL(threads, blocks) TRINE_KERNEL(threads)

/* Registers are the larger memory. */
namespace target {
constexpr bool scan_holds_in_shared = false;
}

#include "backends/simt/scan.h"

extern "C" trine_status TRINE_BACKEND_FN(scan)(trine_call *call, const trine_scan_args *args)
{
    call->variant = target::variant;
    return simt::scan(call, args);
}
