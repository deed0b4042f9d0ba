/* What scan's files on NVIDIA have of each other: scan.cu the table and the shared variant, scan_sm90.cu Hopper's; and what both
 * files ask of target.h. */
#ifndef TRINE_CUDA_SCAN_VARIANTS_H
#define TRINE_CUDA_SCAN_VARIANTS_H

#include "core/backend.h"

/* A kernel of which `blocks` must fit a multiprocessor at once. */
#define TRINE_CROWDED_KERNEL(threads, blocks) __global__ void __launch_bounds__(threads, blocks)

/* Of 16-bit rows that look back and of i64 rows tiles wait in shared memory: more blocks a multiprocessor. */
namespace target {
constexpr bool scan_holds_in_shared = true;
}

/* For what Hopper's finds out at the launch alone. */
trine_status trine_cuda_scan_portable(trine_call *call, const void *args);

namespace scan_sm90 {

template <bool any_size> trine_status scan(trine_call *call, const void *args);

} // namespace scan_sm90

#endif
