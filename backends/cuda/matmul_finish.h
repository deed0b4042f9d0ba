/* What the matmul kernels for tensor cores share of the way from sums to d. */
#ifndef TRINE_CUDA_MATMUL_FINISH_H
#define TRINE_CUDA_MATMUL_FINISH_H

#include "backends/simt/matmul_product.h"

namespace simt {

/* Four neighbouring sums to d, as far as it has them. P: a product, or what has its sizes, epilogue and offsets. */
template <class P> TRINE_DEVICE void finish_four(float4 v, int64_t row, int64_t column, const P &p, const product_offsets &at)
{
    if (row < p.m && column < p.n) store_four(pack<float, 4>{{v.x, v.y, v.z, v.w}}, row, column, p, at);
}

} // namespace simt

#endif
