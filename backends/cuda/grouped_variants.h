/* What the grouped family's files on NVIDIA have of each other: grouped.cu the table and the portable variant, grouped_sm90.cu
 * Hopper's. */
#ifndef TRINE_CUDA_GROUPED_VARIANTS_H
#define TRINE_CUDA_GROUPED_VARIANTS_H

#include "core/grouped_shape.h"

/* The portable kernel: for what a variant finds out at the launch alone. */
trine_status trine_cuda_grouped_portable(trine_call *call, const trine_grouped *grouped);

namespace sm90 {

enum grouped_tile { grouped_any, grouped_128x256, grouped_64x128 };
template <grouped_tile tile> trine_status grouped_matmul(trine_call *call, const void *args);

} // namespace sm90

#endif
