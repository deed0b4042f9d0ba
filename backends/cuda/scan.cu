/* The scan family on NVIDIA: all of it is shared. */
#include "backends/cuda/target.h"

/* A kernel of which `blocks` must fit a multiprocessor at once. */
#define TRINE_CROWDED_KERNEL(threads, blocks) __global__ void __launch_bounds__(threads, blocks)

/* Of 16-bit rows that look back and of i64 rows tiles wait in shared memory: more blocks a multiprocessor. */
namespace target {
constexpr bool scan_holds_in_shared = true;
}

#include "backends/simt/scan.h"
