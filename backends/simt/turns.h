/* Sine and cosine of angles in turns. */
#ifndef TRINE_SIMT_TURNS_H
#define TRINE_SIMT_TURNS_H

#include "backends/simt/activation_math.h"

namespace simt {

/* sin and cos of 2 pi v for |v| <= 2^20; v = n/4 + r exactly (err 2^-28 and 2^-34). */
TRINE_DEVICE void sincos_turns(float v, float &sine, float &cosine)
{
    const float sine_of[] = {6.2831852869f, -41.34166147f, 81.5923534345f, -75.3934846255f};
    const float cosine_of[] = {1.0f, -19.7392086331f, 64.9393107377f, -85.4422958317f, 59.2026925737f};
    const float t = target::fma_rn(v, 4.0f, round_magic), r = target::fma_rn(t - round_magic, -0.25f, v), u = r * r;
    const uint32_t n = trine_bits_of_f32(t);
    const float s = r * polynomial(sine_of, u), c = polynomial(cosine_of, u);
    sine = trine_f32_of_bits(trine_bits_of_f32(n & 1u ? c : s) ^ (n << 30 & 0x80000000u));
    cosine = trine_f32_of_bits(trine_bits_of_f32(n & 1u ? s : c) ^ ((n + 1u) << 30 & 0x80000000u));
}

} // namespace simt

#endif
