/* What the fp8 products' files on NVIDIA have of each other: fp8.cu the table and the portable variants, fp8_sm90.cu Hopper's. */
#ifndef TRINE_CUDA_FP8_VARIANTS_H
#define TRINE_CUDA_FP8_VARIANTS_H

#include "core/fp8_product.h"

/* The portable tile without a workspace: for what a variant finds out at the launch alone. */
trine_status trine_cuda_fp8_matmul_portable(trine_call *call, const trine_product *product);

namespace sm90f8 {

trine_status fp8_matmul(trine_call *call, const void *args);
template <int tile, bool split> trine_status fp8_matmul_of_tile(trine_call *call, const void *args); /* fp8_sm90.h has which */

} // namespace sm90f8

#endif
