/* MFMA of CDNA2 and CDNA3: 16 x 16 sums in four registers. Included by unit.h.
 *
 * Each instruction takes as many terms as its type's operand registers hold, spread over the four groups of 16 lanes. Which terms
 * those are does not matter as long as both operands agree; so group g takes the 16 bytes of K from 16 g on, and the instructions
 * take their bytes in turn. Source: AMD's matrix instruction calculator. */
#ifndef TRINE_HIP_MMA_MFMA_H
#define TRINE_HIP_MMA_MFMA_H

namespace mma {

/* The operands are swapped, which transposes the tile: a lane has four neighbouring columns of row lane % 16. */
struct mfma {
    typedef float sums __attribute__((ext_vector_type(4)));
    typedef float float2 __attribute__((ext_vector_type(2)));
    typedef float float4 __attribute__((ext_vector_type(4)));
    typedef short short4 __attribute__((ext_vector_type(4)));
    typedef _Float16 half4 __attribute__((ext_vector_type(4)));
    enum { available = 1, slices = 1, pieces = 1 };
    template <int columns> static constexpr int pitch = columns + 4;

    struct fragment {
        vector16 piece[pieces];
    };
    /* Operand registers 2 i, 2 i + 1. */
    template <class Two> static TRINE_DEVICE_METHOD Two two(const fragment &f, int i)
    {
        typedef uint32_t pair __attribute__((ext_vector_type(2)));
        return __builtin_bit_cast(Two, pair{f.piece[0][2 * i], f.piece[0][2 * i + 1]});
    }
    static TRINE_DEVICE_METHOD int piece(int lane, int) { return lane / 16; }
    static TRINE_DEVICE_METHOD void store(float *to, int pitch, const sums &d, int lane)
    {
        *reinterpret_cast<sums *>(to + lane % 16 * pitch + lane / 16 * 4) = d;
    }
};

/* The instruction for f16. On gfx90a it takes subnormal inputs as 0. */
struct mfma_f16 : mfma {
    static TRINE_DEVICE_METHOD void multiply(sums &d, const fragment &a, const fragment &b)
    {
#pragma unroll
        for (int i = 0; i < 2; i++) d = __builtin_amdgcn_mfma_f32_16x16x16f16(two<half4>(b, i), two<half4>(a, i), d, 0, 0, 0);
    }
};

#if defined __gfx942__
template <> struct unit<f16> : mfma_f16 {
};
#else
template <> struct unit<f16_flushed> : mfma_f16 {
};

/* Exact, by the instruction for f32: a quarter of the rate. */
template <> struct unit<f16> : mfma {
    typedef _Float16 half8 __attribute__((ext_vector_type(8)));
    static TRINE_DEVICE_METHOD void multiply(sums &d, const fragment &a, const fragment &b)
    {
        const half8 x = __builtin_bit_cast(half8, a.piece[0]), y = __builtin_bit_cast(half8, b.piece[0]);
#pragma unroll
        for (int i = 0; i < 8; i++) d = __builtin_amdgcn_mfma_f32_16x16x4f32(float(y[i]), float(x[i]), d, 0, 0, 0);
    }
};
#endif

template <> struct unit<bf16> : mfma {
    static TRINE_DEVICE_METHOD void multiply(sums &d, const fragment &a, const fragment &b)
    {
#pragma unroll
        for (int i = 0; i < 2; i++)
            d = __builtin_amdgcn_mfma_f32_16x16x16bf16_1k(two<short4>(b, i), two<short4>(a, i), d, 0, 0, 0);
    }
};

template <> struct unit<f32> : mfma {
    static TRINE_DEVICE_METHOD void multiply(sums &d, const fragment &a, const fragment &b)
    {
        const float4 x = __builtin_bit_cast(float4, a.piece[0]), y = __builtin_bit_cast(float4, b.piece[0]);
#pragma unroll
        for (int i = 0; i < 4; i++) d = __builtin_amdgcn_mfma_f32_16x16x4f32(y[i], x[i], d, 0, 0, 0);
    }
};

#if defined __gfx942__
template <> struct unit<xf32> : mfma {
    static TRINE_DEVICE_METHOD void multiply(sums &d, const fragment &a, const fragment &b)
    {
#pragma unroll
        for (int i = 0; i < 2; i++) d = __builtin_amdgcn_mfma_f32_16x16x8_xf32(two<float2>(b, i), two<float2>(a, i), d, 0, 0, 0);
    }
};
#endif

} // namespace mma

#endif
