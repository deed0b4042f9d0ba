/* What the fp8 products' files on NVIDIA have of each other: fp8.cu the table and the portable variants, fp8_sm90.cu Hopper's,
 * fp8_sm89.cu those of compute capability 8.9. */
#ifndef TRINE_CUDA_FP8_VARIANTS_H
#define TRINE_CUDA_FP8_VARIANTS_H

#include "core/fp8_product.h"

/* The portable tile without a workspace: for what a variant finds out at the launch alone. */
trine_status trine_cuda_fp8_matmul_portable(trine_call *call, const trine_product *product);

/* The formats that NVIDIA's tensor cores take. */
inline bool is_ocp_f8(trine_dtype dtype) { return dtype == TRINE_F8_E4M3FN || dtype == TRINE_F8_E5M2; }

namespace sm90f8 {

trine_status fp8_matmul(trine_call *call, const void *args);
template <int tile, bool split> trine_status fp8_matmul_of_tile(trine_call *call, const void *args); /* fp8_sm90.h has which */

} // namespace sm90f8

namespace sm89 {

trine_status fp8_matmul(trine_call *call, const void *args);
template <int tile> trine_status fp8_matmul_of_tile(trine_call *call, const void *args); /* fp8_sm89.h has which */

} // namespace sm89

#endif
