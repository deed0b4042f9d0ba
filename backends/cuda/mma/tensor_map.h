/* Tensor maps: what TMA must know of a tensor in memory. They are made by a function of the driver, which is asked for at run time
 * so that nothing links to it, and passed to kernels by value, so that they are part of a captured graph. */
#ifndef TRINE_CUDA_MMA_TENSOR_MAP_H
#define TRINE_CUDA_MMA_TENSOR_MAP_H

#include <cuda.h>

namespace tensor_map {

using encode_function = CUresult (*)(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *, const cuuint64_t *,
                                     const cuuint64_t *, const cuuint32_t *, const cuuint32_t *, CUtensorMapInterleave,
                                     CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

/* NULL if the driver has none. */
inline encode_function find_encode()
{
    void *found = nullptr;
    cudaDriverEntryPointQueryResult result;
#if CUDART_VERSION >= 12050
    const cudaError_t error =
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &result);
#else
    const cudaError_t error = cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &found, cudaEnableDefault, &result);
#endif
    if (error != cudaSuccess) (void)cudaGetLastError();
    return error == cudaSuccess && result == cudaDriverEntryPointSuccess ? reinterpret_cast<encode_function>(found) : nullptr;
}

/* Matrices of a batch; strides in elements. The inner axis is dense. Axes of the batch that have one size and stride for all
 * operands stand innermost first; unused ones have the size 1. */
struct matrices {
    const void *data;
    CUtensorMapDataType type;
    int element_bytes;
    int64_t inner, outer, outer_stride;
    int batch_axes; /* 0: one matrix, a map of two axes; else one of five */
    int64_t batch[3], batch_stride[3];
};

inline bool stride_fits(int64_t stride, int element_bytes)
{
    return stride > 0 && stride * element_bytes % 16 == 0 && stride < (int64_t(1) << 40) / element_bytes;
}

/* What TMA wants of sizes and strides: multiples of 16 bytes. Axes of one element have no stride. */
inline bool fits(const matrices &m)
{
    bool fit = m.inner <= 0x7fffffff && m.outer <= 0x7fffffff;
    fit = fit && (m.outer == 1 || stride_fits(m.outer_stride, m.element_bytes));
    for (int i = 0; i < m.batch_axes; i++)
        fit = fit && m.batch[i] <= 0x7fffffff && (m.batch[i] == 1 || stride_fits(m.batch_stride[i], m.element_bytes));
    return fit;
}

/* And of the address, which a query does not know. */
inline bool aligned(const matrices &m) { return reinterpret_cast<uintptr_t>(m.data) % 16 == 0; }

/* A map of m for boxes of box_inner x box_outer, swizzled by lines of 128 bytes if nothing else is said. m fits and is aligned. */
inline bool make(CUtensorMap *map, const matrices &m, int64_t box_inner, int64_t box_outer,
                 CUtensorMapSwizzle swizzle = CU_TENSOR_MAP_SWIZZLE_128B)
{
    static const encode_function encode = find_encode();
    const cuuint64_t size[5] = {cuuint64_t(m.inner), cuuint64_t(m.outer), cuuint64_t(m.batch[0]), cuuint64_t(m.batch[1]),
                                cuuint64_t(m.batch[2])};
    cuuint64_t stride[4] = {16, 16, 16, 16}; /* in bytes, of all axes but the inner one */
    const cuuint32_t box[5] = {cuuint32_t(box_inner), cuuint32_t(box_outer), 1, 1, 1}, step[5] = {1, 1, 1, 1, 1};
    if (m.outer > 1) stride[0] = cuuint64_t(m.outer_stride * m.element_bytes);
    for (int i = 0; i < m.batch_axes; i++)
        if (m.batch[i] > 1) stride[i + 1] = cuuint64_t(m.batch_stride[i] * m.element_bytes);
    return encode && encode(map, m.type, m.batch_axes ? 5 : 2, const_cast<void *>(m.data), size, stride, box, step,
                            CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                            CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

} // namespace tensor_map

#endif
