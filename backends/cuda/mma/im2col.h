/* TMA for convolutions: boxes of pixels that a filter's tap meets (im2col mode), and boxes of more than two axes. Source: the PTX
 * ISA and the CUDA driver API. */
#ifndef TRINE_CUDA_MMA_IM2COL_H
#define TRINE_CUDA_MMA_IM2COL_H

#include "backends/cuda/mma/ptx.h"
#include "backends/cuda/mma/tensor_map.h"

namespace ptx {

/* Where a row of pixels begins: channel, column, row, image; `tap`: how far from there the tap lies. Pixels go on along columns,
 * rows and images, in the map's steps. Outside of the tensor there are zeros. */
struct pixels {
    int32_t channel, column, row, image;
    uint16_t tap_column, tap_row;
};
TRINE_DEVICE void load_pixels(uint32_t to, const CUtensorMap *map, const pixels &at, uint32_t barrier)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], "
                 "[%1, {%3, %4, %5, %6}], [%2], {%7, %8};" ::"r"(to),
                 "l"(map), "r"(barrier), "r"(at.channel), "r"(at.column), "r"(at.row), "r"(at.image), "h"(at.tap_column),
                 "h"(at.tap_row)
                 : "memory");
}

/* To every block whose bit is in `blocks`, at the same address. */
TRINE_DEVICE void load_pixels_shared(uint32_t to, const CUtensorMap *map, const pixels &at, uint32_t barrier, uint16_t blocks)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
                 "[%1, {%3, %4, %5, %6}], [%2], {%7, %8}, %9;" ::"r"(to),
                 "l"(map), "r"(barrier), "r"(at.channel), "r"(at.column), "r"(at.row), "r"(at.image), "h"(at.tap_column),
                 "h"(at.tap_row), "h"(blocks)
                 : "memory");
}

/* As store_matrices of what the sums hold, each matrix turned: lane l gives the address of column l % 8 of matrix l / 8. */
TRINE_DEVICE void store_matrices_turned(uint32_t address, uint32_t m0, uint32_t m1, uint32_t m2, uint32_t m3)
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(m0), "r"(m1),
                 "r"(m2), "r"(m3)
                 : "memory");
}

/* Pixels, one after the other along columns, rows and images, from shared memory; the taps count for nothing. */
TRINE_DEVICE void store_pixels(const CUtensorMap *map, const pixels &at, uint32_t from)
{
    asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.im2col_no_offs.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"(map),
                 "r"(from), "r"(at.channel), "r"(at.column), "r"(at.row), "r"(at.image)
                 : "memory");
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

} // namespace ptx

namespace tensor_map {

using encode_im2col_function = CUresult (*)(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *, const cuuint64_t *,
                                            const cuuint64_t *, const int *, const int *, cuuint32_t, cuuint32_t,
                                            const cuuint32_t *, CUtensorMapInterleave, CUtensorMapSwizzle, CUtensorMapL2promotion,
                                            CUtensorMapFloatOOBfill);

inline encode_im2col_function find_encode_im2col()
{
    void *found = nullptr;
    cudaDriverEntryPointQueryResult result;
#if CUDART_VERSION >= 12050
    const cudaError_t error =
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeIm2col", &found, 12000, cudaEnableDefault, &result);
#else
    const cudaError_t error = cudaGetDriverEntryPoint("cuTensorMapEncodeIm2col", &found, cudaEnableDefault, &result);
#endif
    if (error != cudaSuccess) (void)cudaGetLastError();
    return error == cudaSuccess && result == cudaDriverEntryPointSuccess ? reinterpret_cast<encode_im2col_function>(found)
                                                                         : nullptr;
}

/* Images of dense channels. Along columns and rows [0 columns, 1 rows]: `first` is where output 0 begins, `count`
 * how many outputs there are, `step` elements apart. */
struct images {
    const void *data;
    CUtensorMapDataType type;
    int element_bytes;
    int64_t channels, images, image_stride;
    int64_t size[2], stride[2];
    int64_t first[2], count[2], step[2];
};

/* Corners are numbers of 8 bits; steps are at most 8. `reach`: of the taps. */
inline bool fits(const images &m, const int64_t *reach)
{
    bool fit = m.channels > 0 && m.channels <= 0x7fffffff && m.images > 0 && m.images <= 0x7fffffff &&
               (m.images == 1 || stride_fits(m.image_stride, m.element_bytes));
    for (int i = 0; i < 2; i++) {
        const int64_t last = m.first[i] + (m.count[i] - 1) * m.step[i] - (m.size[i] - 1);
        fit = fit && m.size[i] > 0 && m.size[i] <= 0x7fffffff && (m.size[i] == 1 || stride_fits(m.stride[i], m.element_bytes)) &&
              m.count[i] > 0 && m.first[i] >= -128 && m.first[i] <= 127 && last >= -128 && last <= 127 && m.step[i] <= 8 &&
              reach[i] <= 255;
    }
    return fit;
}

/* A map for boxes of `pixels` pixels x 128 bytes of channels, swizzled. m fits and is aligned. */
inline bool make(CUtensorMap *map, const images &m, int pixels)
{
    static const encode_im2col_function encode = find_encode_im2col();
    const cuuint64_t size[4] = {cuuint64_t(m.channels), cuuint64_t(m.size[0]), cuuint64_t(m.size[1]), cuuint64_t(m.images)};
    cuuint64_t stride[3] = {16, 16, 16};
    for (int i = 0; i < 2; i++)
        if (m.size[i] > 1) stride[i] = cuuint64_t(m.stride[i] * m.element_bytes);
    if (m.images > 1) stride[2] = cuuint64_t(m.image_stride * m.element_bytes);
    int lower[2], upper[2];
    for (int i = 0; i < 2; i++) {
        lower[i] = int(m.first[i]);
        upper[i] = int(m.first[i] + (m.count[i] - 1) * m.step[i] - (m.size[i] - 1));
    }
    const cuuint32_t step[4] = {1, cuuint32_t(m.step[0]), cuuint32_t(m.step[1]), 1};
    return encode &&
           encode(map, m.type, 4, const_cast<void *>(m.data), size, stride, lower, upper, cuuint32_t(128 / m.element_bytes),
                  cuuint32_t(pixels), step, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                  CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

/* A map of five axes, the first of them dense; strides in bytes, of the others. Swizzled in lines of 128 bytes, or of 64 if a box is
 * no wider; or `plain`, one element after the other. */
struct boxes {
    const void *data;
    CUtensorMapDataType type;
    cuuint64_t size[5], stride[4];
    cuuint32_t box[5];
    bool plain = false;
};
inline bool make(CUtensorMap *map, const boxes &m)
{
    static const encode_function encode = find_encode();
    const cuuint32_t step[5] = {1, 1, 1, 1, 1};
    const bool wide = m.type == CU_TENSOR_MAP_DATA_TYPE_FLOAT32 || m.type == CU_TENSOR_MAP_DATA_TYPE_TFLOAT32,
               half = m.box[0] * (wide ? 4 : 2) == 64;
    const CUtensorMapSwizzle swizzle = m.plain ? CU_TENSOR_MAP_SWIZZLE_NONE
                                       : half  ? CU_TENSOR_MAP_SWIZZLE_64B
                                               : CU_TENSOR_MAP_SWIZZLE_128B;
    return encode &&
           encode(map, m.type, 5, const_cast<void *>(m.data), m.size, m.stride, m.box, step, CU_TENSOR_MAP_INTERLEAVE_NONE,
                  swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

} // namespace tensor_map

#endif
