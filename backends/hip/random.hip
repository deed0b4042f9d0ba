/* Random numbers on AMD: fast functions; the rest is shared. */
#include "backends/hip/target.h"

namespace target {

/* 1 ulp; 0 for 0. */
TRINE_DEVICE float sqrt_fast(float x) { return __builtin_amdgcn_sqrtf(x); }

/* 1 ulp, of 2^-126 and more. */
TRINE_DEVICE float log2_normal(float x) { return __builtin_amdgcn_logf(x); }

/* Of 2 pi n 2^-24, 0 <= n < 2^24; the hardware's functions take turns. */
TRINE_DEVICE void sincos_of_24(float n, float &sine, float &cosine)
{
    sine = __builtin_amdgcn_sinf(n * 0x1p-24f);
    cosine = __builtin_amdgcn_cosf(n * 0x1p-24f);
}

} // namespace target

#include "backends/simt/random.h"
