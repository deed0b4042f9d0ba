/* Random numbers on NVIDIA: fast functions; the rest is shared. */
#include "backends/cuda/target.h"

namespace target {

/* 2 ulp; 0 for 0. */
TRINE_DEVICE float sqrt_fast(float x)
{
    float y;
    asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* Of 2^-126 and more: an absolute error of 2^-22 from 1/2 to 2, a relative one elsewhere. */
TRINE_DEVICE float log2_normal(float x)
{
    float y;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* Of 2 pi n 2^-24, 0 <= n < 2^24: absolute errors of 2^-20.5. */
TRINE_DEVICE void sincos_of_24(float n, float &sine, float &cosine)
{
    const float x = n * (6.283185307179586f * 0x1p-24f);
    asm("sin.approx.ftz.f32 %0, %1;" : "=f"(sine) : "f"(x));
    asm("cos.approx.ftz.f32 %0, %1;" : "=f"(cosine) : "f"(x));
}

} // namespace target

#include "backends/simt/random.h"
