/* Random numbers on AMD: the fast functions of 16-bit normals; the rest is shared. */
#include "backends/hip/target.h"

namespace target {

/* 1 ulp; 0 for 0. */
TRINE_DEVICE float sqrt_fast(float x) { return __builtin_amdgcn_sqrtf(x); }

/* Of 2 pi v, 0 <= v < 1, which is what the hardware's functions take. */
TRINE_DEVICE void sincos_turns_fast(float v, float &sine, float &cosine)
{
    sine = __builtin_amdgcn_sinf(v);
    cosine = __builtin_amdgcn_cosf(v);
}

} // namespace target

#include "backends/simt/random.h"
