/* What the matmul kernels for tensor cores share of the way from sums to d. */
#ifndef TRINE_CUDA_MATMUL_FINISH_H
#define TRINE_CUDA_MATMUL_FINISH_H

#include "backends/simt/matmul_product.h"

namespace simt {

/* Four neighbouring sums to d, as far as it has them. P: a product, or what has its sizes, epilogue and offsets. */
template <class P> TRINE_DEVICE void finish_four(float4 v, int64_t row, int64_t column, const P &p, const product_offsets &at)
{
    const float sums[4] = {v.x, v.y, v.z, v.w};
    if (row >= p.m || column >= p.n) return;
    simt::pack<float, 4> done;
#pragma unroll
    for (int j = 0; j < 4; j++) done.at[j] = column + j < p.n ? p.out.finish(sums[j], row, column + j, at) : 0.0f;
    if (p.out.d_packs) {
        p.out.put(done, row, column, at);
        return;
    }
#pragma unroll
    for (int j = 0; j < 4; j++)
        if (column + j < p.n) p.out.put(simt::pack<float, 1>{{done.at[j]}}, row, column + j, at);
}

} // namespace simt

#endif
