/* What nf4_matmul's files on NVIDIA have of each other: quantize.cu the table and the variants for all devices, quantize_sm90.cu
 * Hopper's. */
#ifndef TRINE_CUDA_NF4_VARIANTS_H
#define TRINE_CUDA_NF4_VARIANTS_H

#include "core/nf4_matmul.h"

/* Without a workspace and whatever the addresses: for what a variant finds out at the launch alone. */
trine_status trine_cuda_nf4_portable(trine_call *call, const trine_nf4_matmul_args *args);

namespace sm90nf4 {

trine_status matmul(trine_call *call, const void *args);
trine_status matmul_few(trine_call *call, const void *args);                            /* nf4_few_sm90.h */
template <int columns> trine_status matmul_of_tile(trine_call *call, const void *args); /* nf4_sm90.h has which */

} // namespace sm90nf4

#endif
