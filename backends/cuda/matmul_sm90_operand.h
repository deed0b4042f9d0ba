/* The sm90 matmul's operands: how TMA sees them, and copies of those that it can't load as they lie. */
#ifndef TRINE_CUDA_MATMUL_SM90_OPERAND_H
#define TRINE_CUDA_MATMUL_SM90_OPERAND_H

#include "backends/cuda/mma/tensor_map.h"
#include "backends/cuda/mma/wgmma.h"
#include "backends/cuda/operand_copy.h"

namespace sm90 {

using operand_copy::operand_view;
using operand_copy::plan_copy;
using operand_copy::view_of;

/* One operand as TMA sees it, and along which axis it lies. */
struct operand {
    tensor_map::matrices matrices;
    wgmma::axis axis;
    bool dense;
    size_t copied; /* bytes of the copy that is made first; 0: none */
};

inline void add_batch(tensor_map::matrices *m, const trine_product &p, int which)
{
    m->batch_axes = p.batch.numel > 1 ? p.batch.ndim : 0;
    for (int i = 0; i < 3; i++) {
        const int axis = p.batch.ndim - 1 - i;
        const bool has = m->batch_axes && axis >= 0 && p.batch.stride[which][axis] != 0;
        m->batch[i] = has ? p.batch.size[axis] : 1;
        m->batch_stride[i] = has ? p.batch.stride[which][axis] : 0;
    }
}

inline CUtensorMapDataType type_of(trine_dtype dtype)
{
    return dtype == TRINE_F32   ? CU_TENSOR_MAP_DATA_TYPE_FLOAT32
           : dtype == TRINE_F16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
}

inline operand operand_of(const trine_product &p, int which)
{
    operand o = {};
    const operand_view v = view_of(p, which);
    const bool k_dense = v.k_stride == 1 || p.k == 1, rows_dense = v.row_stride == 1 || v.rows == 1;
    const bool along_k = k_dense && (v.k_stride == 1 || !rows_dense || p.k == 1);
    o.axis = along_k ? wgmma::along_k : wgmma::along_rows;
    o.dense = k_dense || rows_dense;
    tensor_map::matrices &m = o.matrices;
    m.data = v.data;
    m.type = p.dtype == TRINE_F32 ? CU_TENSOR_MAP_DATA_TYPE_TFLOAT32 : type_of(p.dtype); /* TMA rounds to tf32 */
    m.element_bytes = int(trine_dtype_bits(p.dtype) / 8);
    m.inner = along_k ? p.k : v.rows;
    m.outer = along_k ? v.rows : p.k;
    m.outer_stride = along_k ? v.row_stride : v.k_stride;
    add_batch(&m, p, which);
    return o;
}

/* ---- Copies ---- */

/* Makes the copies that were planned, in the workspace. R: a request with given, p, and operands a and b. */
template <class R> inline trine_status copy_operands(trine_call *call, R *r)
{
    const trine_status status = operand_copy::make(call, r->given, &r->p, r->a.copied, r->b.copied);
    if (r->a.copied) r->a.matrices.data = r->p.a;
    if (r->b.copied) r->b.matrices.data = r->p.b;
    return status;
}

} // namespace sm90

#endif
