/* What convolutions on matrix units share: what they need of the operands, and how sums get to d. The kernels are the vendors' own. */
#ifndef TRINE_SIMT_CONV_MATRIX_H
#define TRINE_SIMT_CONV_MATRIX_H

#include "backends/simt/conv_gemm.h"

namespace simt {

/* Four neighbouring sums to d, as far as it has them, or to the workspace. */
template <class E> TRINE_DEVICE void conv_put_four(const pack<float, 4> &sums, int32_t row, int32_t column,
                                                   const conv_problem<E> &p, int64_t group, int64_t split)
{
    if (row >= p.m || column >= p.n) return;
    if (p.parts) {
        float *to = p.parts + split * p.apart + (group * p.m + row) * p.n + column;
        if (p.n % 4 == 0) {
            store_pack<float, 4>(to, sums);
            return;
        }
#pragma unroll
        for (int j = 0; j < 4; j++)
            if (column + j < p.n) to[j] = sums.at[j];
        return;
    }
    if (p.out.packs) {
        pack<float, 4> done = sums;
        if (!p.out.plain())
#pragma unroll 1
            for (int j = 0; j < 4; j++) {
                float x = 0;
#pragma unroll
                for (int e = 0; e < 4; e++) x = e == j ? done.at[e] : x;
                x = p.out.finish(x, group, row, column + j);
#pragma unroll
                for (int e = 0; e < 4; e++) done.at[e] = e == j ? x : done.at[e];
            }
        p.out.put(done, group, row, column);
        return;
    }
#pragma unroll 1
    for (int j = 0; j < 4 && column + j < p.n; j++) {
        float x = 0;
#pragma unroll
        for (int e = 0; e < 4; e++) x = e == j ? sums.at[e] : x;
        p.out.put(pack<float, 1>{{p.out.finish(x, group, row, column + j)}}, group, row, column + j);
    }
}

/* ---- Host ---- */

/* Pieces of eight lie together. */
inline bool conv_gathers(const trine_conv_operand &o)
{
    const bool along_k = o.terms.stride[2] == 1 && o.terms.size[2] > 1;
    const trine_conv_side &dense = along_k ? o.terms : o.rows;
    return dense.stride[2] == 1 && dense.size[2] % 8 == 0 && dense.h[2] == 0 && dense.w[2] == 0;
}

} // namespace simt

#endif
