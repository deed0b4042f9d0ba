/* The sm90 matmul's operands: how TMA sees them, and copies of those that it can't load as they lie. */
#ifndef TRINE_CUDA_MATMUL_SM90_OPERAND_H
#define TRINE_CUDA_MATMUL_SM90_OPERAND_H

#include "backends/cuda/mma/tensor_map.h"
#include "backends/cuda/mma/wgmma.h"
#include "backends/simt/matmul_product.h"

namespace sm90 {

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

/* Where an operand's rows and terms are: rows of a, columns of b. */
struct operand_view {
    const void *data;
    int64_t rows, row_stride, k_stride;
};
inline operand_view view_of(const trine_product &p, int which)
{
    return which == TRINE_PRODUCT_A ? operand_view{p.a, p.m, p.a_m, p.a_k} : operand_view{p.b, p.n, p.b_n, p.b_k};
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

/* ---- Copies: along K, rows a multiple of 16 bytes apart, one after the other ---- */

inline bool is_broadcast(const trine_product &p, int which, int axis)
{
    return p.batch.numel <= 1 || p.batch.stride[which][axis] == 0;
}

/* Gives p the strides that a copy will have; returns its bytes, a multiple of 256. */
inline size_t plan_copy(trine_product *p, int which)
{
    const int64_t bytes = trine_dtype_bits(p->dtype) / 8, pitch = simt::ceil_div(p->k * bytes, 16) * 16 / bytes;
    int64_t elements = view_of(*p, which).rows * pitch;
    (which == TRINE_PRODUCT_A ? p->a_m : p->b_n) = pitch;
    (which == TRINE_PRODUCT_A ? p->a_k : p->b_k) = 1;
    for (int axis = p->batch.ndim - 1; axis >= 0; axis--)
        if (!is_broadcast(*p, which, axis)) {
            p->batch.stride[which][axis] = elements;
            elements *= p->batch.size[axis];
        }
    return size_t(simt::ceil_div(elements * bytes, 256)) * 256;
}

inline trine_tensor tensor_of(const trine_product &p, int which, const trine_product &given)
{
    const operand_view v = view_of(p, which);
    trine_tensor t = {};
    t.data = const_cast<void *>(v.data);
    t.dtype = p.dtype;
    t.ndim = p.batch.ndim + 2;
    for (int axis = 0; axis < p.batch.ndim; axis++) {
        t.shape[axis] = is_broadcast(given, which, axis) ? 1 : p.batch.size[axis];
        t.stride[axis] = p.batch.stride[which][axis];
    }
    t.shape[t.ndim - 2] = v.rows;
    t.stride[t.ndim - 2] = v.row_stride;
    t.shape[t.ndim - 1] = p.k;
    t.stride[t.ndim - 1] = v.k_stride;
    return t;
}

/* From where `from` has the operand to where `to` has it. */
inline trine_status make_copy(trine_call *call, const trine_product &from, const trine_product &to, int which)
{
    trine_call inner = *call;
    trine_permute_args args = {};
    args.x = tensor_of(from, which, from);
    args.y = tensor_of(to, which, from);
    for (int axis = 0; axis < args.x.ndim; axis++) args.axes[axis] = axis;
    inner.forced = nullptr;
    inner.forced_by_op = false;
    const trine_status status = TRINE_BACKEND_FN(permute)(&inner, &args);
    if (status != TRINE_OK) memcpy(call->why, inner.why, sizeof inner.why);
    return status;
}

/* Makes the copies that were planned, in the workspace. R: a request with given, p, and operands a and b. */
template <class R> inline trine_status copy_operands(trine_call *call, R *r)
{
    char *at = reinterpret_cast<char *>((reinterpret_cast<uintptr_t>(call->workspace) + 255) / 256 * 256);
    trine_status status = TRINE_OK;
    if (r->a.copied) {
        r->p.a = r->a.matrices.data = at;
        status = make_copy(call, r->given, r->p, TRINE_PRODUCT_A);
    }
    if (r->b.copied && status == TRINE_OK) {
        r->p.b = r->b.matrices.data = at + r->a.copied;
        status = make_copy(call, r->given, r->p, TRINE_PRODUCT_B);
    }
    return status;
}

} // namespace sm90

#endif
