/* Random numbers on NVIDIA: the fast functions of 16-bit normals; the rest is shared. */
#include "backends/cuda/target.h"

namespace target {

/* 2 ulp; 0 for 0. */
TRINE_DEVICE float sqrt_fast(float x)
{
    float y;
    asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* Of 2 pi v, 0 <= v < 1: absolute errors of 2^-20.5. */
TRINE_DEVICE void sincos_turns_fast(float v, float &sine, float &cosine)
{
    const float x = v * 6.283185307179586f;
    asm("sin.approx.ftz.f32 %0, %1;" : "=f"(sine) : "f"(x));
    asm("cos.approx.ftz.f32 %0, %1;" : "=f"(cosine) : "f"(x));
}

} // namespace target

#include "backends/simt/random.h"
