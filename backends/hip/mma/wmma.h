/* WMMA of RDNA3 for waves of 32: 16 x 16 sums in eight registers. Included by unit.h.
 *
 * An instruction takes 16 terms, all of a row in one lane; lanes 16 to 31 hold the same rows again. Source: AMD's RDNA3 ISA
 * manual and matrix instruction calculator. */
#ifndef TRINE_HIP_MMA_WMMA_H
#define TRINE_HIP_MMA_WMMA_H

namespace mma {

/* Lanes hold a column of the even rows (lanes 0 to 15) or of the odd ones. */
struct wmma {
    typedef float sums __attribute__((ext_vector_type(8)));
    typedef short short16 __attribute__((ext_vector_type(16)));
    typedef _Float16 half16 __attribute__((ext_vector_type(16)));
    enum { available = 1, slices = 2, pieces = 2 };
    template <int columns> static constexpr int pitch = columns + 16;

    struct alignas(32) fragment {
        vector16 piece[pieces];
    };
    static TRINE_DEVICE_METHOD int piece(int, int slice) { return 2 * slice; }
    static TRINE_DEVICE_METHOD void store(float *to, int pitch, const sums &d, int lane)
    {
#pragma unroll
        for (int i = 0; i < 8; i++) to[(2 * i + lane / 16) * pitch + lane % 16] = d[i];
    }
};

template <> struct unit<f16> : wmma {
    static TRINE_DEVICE_METHOD void multiply(sums &d, const fragment &a, const fragment &b)
    {
        d = __builtin_amdgcn_wmma_f32_16x16x16_f16_w32(__builtin_bit_cast(half16, a), __builtin_bit_cast(half16, b), d);
    }
};

template <> struct unit<bf16> : wmma {
    static TRINE_DEVICE_METHOD void multiply(sums &d, const fragment &a, const fragment &b)
    {
        d = __builtin_amdgcn_wmma_f32_16x16x16_bf16_w32(__builtin_bit_cast(short16, a), __builtin_bit_cast(short16, b), d);
    }
};

} // namespace mma

#endif
