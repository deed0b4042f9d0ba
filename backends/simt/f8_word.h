/* fp8 to f32 where there is no instruction for it: as core/float_bits.h, but in fewer operations and up to which NaN a NaN
 * becomes. Included by the vendors' target.h. */
#ifndef TRINE_SIMT_F8_WORD_H
#define TRINE_SIMT_F8_WORD_H

#include "core/float_bits.h"

namespace target {

/* Byte i of a word. The code's bits are those of an f32 with a smaller exponent, subnormal where the code is, which a product with
 * a power of two makes right: f32 subnormals must not be flushed. */
template <int e5, int fnuz> TRINE_DEVICE float f8_of_word(uint32_t word, int i)
{
    constexpr uint32_t bias = (e5 ? 15 : 7) + fnuz;
    const uint32_t top = word << (24 - 8 * i) & 0xff000000u, sign = top & TRINE_F32_SIGN,
                   magnitude = (top & 0x7f000000u) >> (e5 ? 3 : 4);
    const float y = trine_f32_of_bits(magnitude | sign) * trine_f32_of_bits((254 - bias) << 23);
    const bool special = fnuz ? top == TRINE_F32_SIGN
                         : e5 ? (top & 0x7c000000u) == 0x7c000000u
                              : (top & 0x7f000000u) == 0x7f000000u;
    return special ? trine_f32_of_bits(sign | magnitude | (e5 && !fnuz ? TRINE_F32_INF : TRINE_F32_NAN)) : y;
}

} // namespace target

#endif
