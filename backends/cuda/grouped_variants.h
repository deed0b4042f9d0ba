/* What the grouped family's files on NVIDIA have of each other: grouped.cu the table and the portable variant, grouped_sm90.cu
 * Hopper's, grouped_sm80.cu and grouped_sm89.cu those of compute capability 8.0 and 8.9. */
#ifndef TRINE_CUDA_GROUPED_VARIANTS_H
#define TRINE_CUDA_GROUPED_VARIANTS_H

#include "core/grouped_shape.h"

/* The portable kernel: for what a variant finds out at the launch alone. */
trine_status trine_cuda_grouped_portable(trine_call *call, const trine_grouped *grouped);

/* Rows that a group has on average; masked: at most. */
inline int64_t rows_of_groups(const trine_grouped &g)
{
    const int64_t groups = g.layout == TRINE_GROUPED_ROWS && g.p.batch.numel > 0 ? g.p.batch.numel : 1;
    return g.p.m / groups;
}

namespace sm90 {

enum grouped_tile { grouped_any, grouped_128x256, grouped_64x128 };
template <grouped_tile tile> trine_status grouped_matmul(trine_call *call, const void *args);

} // namespace sm90

/* Tile 0: 128 x 128, 1: 64 x 64. */
namespace sm89 {

trine_status grouped_matmul(trine_call *call, const void *args);
template <int tile> trine_status grouped_matmul_of_tile(trine_call *call, const void *args);

} // namespace sm89

namespace sm80 {

trine_status grouped_matmul(trine_call *call, const void *args);
template <int tile> trine_status grouped_matmul_of_tile(trine_call *call, const void *args);

} // namespace sm80

#endif
