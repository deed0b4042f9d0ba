/* Exact quotients and roundings of quantisation. */
#ifndef TRINE_SIMT_QUANTIZE_ROUND_H
#define TRINE_SIMT_QUANTIZE_ROUND_H

#include "backends/simt/types.h"

namespace simt {

/* round(x / scale), clamped to +-2^22, where the sum with the magic number rounds to nearest even; NaN stays. */
TRINE_DEVICE float rounded_quotient(float x, float scale)
{
    const float magic = 0x1.8p23f, q = target::div_ieee(x, scale);
    const float below = q > 0x1p22f ? 0x1p22f : q, inside = below < -0x1p22f ? -0x1p22f : below;
    return target::add_rn(target::add_rn(inside, magic), -magic);
}

/* A quotient does not change where both numbers are multiplied by a power of two: `factor` takes scales that are very large or
 * small to where neither the quotients that matter nor their remainders leave the normal numbers. */
struct int8_divisor {
    float factor, scale, inverse, limit;
    bool none; /* x / 0 and x / inf are 0 */
};

template <bool scaled> struct int8_codes {
    /* x / scale from -127 to 127, rounded as IEEE says: a quotient that is a unit or two of its last place off, corrected twice by
     * its remainder, which a multiply-add makes exactly (Markstein 1990). */
    static TRINE_DEVICE_METHOD float quotient(float x, const int8_divisor &b)
    {
        if (scaled) x = target::mul_rn(x, b.factor);
        const float inside = __builtin_fminf(__builtin_fmaxf(x, -b.limit), b.limit), guess = target::mul_rn(inside, b.inverse),
                    near = target::fma_rn(target::fma_rn(-guess, b.scale, inside), b.inverse, guess);
        return target::fma_rn(target::fma_rn(-near, b.scale, inside), b.inverse, near);
    }
    /* To nearest even: the sum with the magic number has the code in its lowest byte. NaN gives 0. */
    static TRINE_DEVICE_METHOD uint32_t four(const float (&x)[4], const int8_divisor &b)
    {
        uint32_t bits[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float q = target::add_rn(quotient(x[i], b), 0x1.8p23f);
            bits[i] = x[i] == x[i] ? trine_bits_of_f32(q) : 0u;
        }
        const uint32_t low = target::byte_permute<0x0040>(bits[0], bits[1]),
                       high = target::byte_permute<0x0040>(bits[2], bits[3]);
        return b.none ? 0u : target::byte_permute<0x5410>(low, high);
    }
};

} // namespace simt

#endif
