/* Copies of a product's operands that a variant can't load as they lie: along K, rows a multiple of 16 bytes apart, one after the
 * other. */
#ifndef TRINE_CUDA_OPERAND_COPY_H
#define TRINE_CUDA_OPERAND_COPY_H

#include "backends/simt/matmul_product.h"

namespace operand_copy {

/* Where an operand's rows and terms are: rows of a, columns of b. */
struct operand_view {
    const void *data;
    int64_t rows, row_stride, k_stride;
};
inline operand_view view_of(const trine_product &p, int which)
{
    return which == TRINE_PRODUCT_A ? operand_view{p.a, p.m, p.a_m, p.a_k} : operand_view{p.b, p.n, p.b_n, p.b_k};
}

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
inline trine_status make_one(trine_call *call, const trine_product &from, const trine_product &to, int which)
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

/* Makes the copies that were planned, in the workspace: of so many bytes, 0 where there is none; p gets their addresses. */
inline trine_status make(trine_call *call, const trine_product &given, trine_product *p, size_t a_bytes, size_t b_bytes)
{
    char *at = reinterpret_cast<char *>((reinterpret_cast<uintptr_t>(call->workspace) + 255) / 256 * 256);
    trine_status status = TRINE_OK;
    if (a_bytes) {
        p->a = at;
        status = make_one(call, given, *p, TRINE_PRODUCT_A);
    }
    if (b_bytes && status == TRINE_OK) {
        p->b = at + a_bytes;
        status = make_one(call, given, *p, TRINE_PRODUCT_B);
    }
    return status;
}

/* What they take of a workspace. */
inline size_t workspace_of(size_t bytes) { return bytes ? bytes + 256 : 0; }

} // namespace operand_copy

#endif
