/* What matmul's files on NVIDIA have of each other: matmul.cu the table and the portable variants, matmul_sm90.cu Hopper's,
 * matmul_sm80.cu those of compute capability 8 and thin products. */
#ifndef TRINE_CUDA_MATMUL_VARIANTS_H
#define TRINE_CUDA_MATMUL_VARIANTS_H

#include "core/matmul_shape.h"

/* The portable tile without a workspace: for what a variant finds out at the launch alone. */
trine_status trine_cuda_matmul_portable(trine_call *call, const trine_product *product);

namespace sm90 {

trine_status matmul(trine_call *call, const void *args);
template <int tile, bool split> trine_status matmul_of_tile(trine_call *call, const void *args); /* matmul_sm90.h has which */

} // namespace sm90

namespace sm80 {

trine_status matmul(trine_call *call, const void *args);
template <int tile> trine_status matmul_of_tile(trine_call *call, const void *args); /* matmul_sm80_plan.h has which */

} // namespace sm80

namespace thin {

trine_status matmul(trine_call *call, const void *args);

} // namespace thin

#endif
