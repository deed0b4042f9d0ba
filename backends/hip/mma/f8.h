/* MFMA of FNUZ codes, which gfx942 has: e4m3 or e5m2 in either place. */
#ifndef TRINE_HIP_MMA_F8_H
#define TRINE_HIP_MMA_F8_H

#include "backends/hip/mma/unit.h"
#include "backends/simt/fp8_product.h"

namespace mma {

template <bool A_E5, bool B_E5> struct f8 {
    using element = simt::f8_any;
};

#if defined __gfx942__
template <bool A_E5, bool B_E5> struct unit<f8<A_E5, B_E5>> : mfma {
    static TRINE_DEVICE_METHOD sums add(long a, long b, const sums &d)
    {
        if constexpr (B_E5)
            return A_E5 ? __builtin_amdgcn_mfma_f32_16x16x32_bf8_bf8(b, a, d, 0, 0, 0)
                        : __builtin_amdgcn_mfma_f32_16x16x32_bf8_fp8(b, a, d, 0, 0, 0);
        else
            return A_E5 ? __builtin_amdgcn_mfma_f32_16x16x32_fp8_bf8(b, a, d, 0, 0, 0)
                        : __builtin_amdgcn_mfma_f32_16x16x32_fp8_fp8(b, a, d, 0, 0, 0);
    }
    static TRINE_DEVICE_METHOD void multiply(sums &d, const fragment &a, const fragment &b)
    {
#pragma unroll
        for (int i = 0; i < 2; i++) d = add(two<long>(a, i), two<long>(b, i), d);
    }
};
#endif

} // namespace mma

#endif
