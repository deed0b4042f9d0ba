/* Division of 16-bit floats by fewer instructions than an IEEE division and with the same result. */
#ifndef TRINE_SIMT_DIVIDE_H
#define TRINE_SIMT_DIVIDE_H

#include "backends/simt/types.h"

namespace simt {

/* a / b in f32, which is right once it is rounded to T; `sure` becomes false where it might not be. With significands of p bits,
 * a / b is never half way between two numbers of T (its divisor would have p + 1 bits), but at least 2^-2p relative from there,
 * unless the result is subnormal. A trial of all pairs of significands, with reciprocals up to two units in the last place off,
 * says so too. */
struct quick_divisor {
    float b, r; /* r: 1 / b within 2^-23 */
    bool sure;
    TRINE_DEVICE_METHOD explicit quick_divisor(float b_) : b(b_), r(target::rcp_fast(b_))
    {
        const float size = __builtin_fabsf(b_);
        sure = size >= 0x1p-126f && size <= 0x1p125f;
    }
};
TRINE_DEVICE float quick_quotient(tag<bf16>, float a, const quick_divisor &by, bool &sure)
{
    const float q = target::mul_rn(a, by.r); /* within 2^-22 */
    sure = sure && by.sure && (!(__builtin_fabsf(q) < 0x1p-125f) || a == 0.0f);
    return q;
}
/* All results are normal in f32. A step of Newton's gives quotients exactly that f32 has, as those half way between subnormals,
 * and the others within less than 2^-23. For 0, inf and NaN the step gives 0 or NaN, where the first quotient is right. */
TRINE_DEVICE float quick_quotient(tag<f16>, float a, const quick_divisor &by, bool &)
{
    const float q = target::mul_rn(a, by.r), better = target::fma_rn(target::fma_rn(-q, by.b, a), by.r, q);
    return better > 0.0f || better < 0.0f ? better : q;
}
/* Whether a pack is one element over and over, as of a column that is broadcast. */
template <class T, int V> TRINE_DEVICE bool all_same(const pack<T, V> &x)
{
    if constexpr (V == 1) return true;
    uint32_t word[(V + 1) / 2];
    __builtin_memcpy(word, &x, sizeof x);
    bool same = word[0] >> 16 == (word[0] & 0xffffu);
#pragma unroll
    for (int i = 1; i < V / 2; i++) same = same && word[i] == word[0];
    return same;
}

/* y = a / b; ieee(a, b) where the quick quotient is not sure. A divisor that all share is inverted once. */
template <class T, int V, class F> TRINE_DEVICE void divide_pack(pack<T, V> &y, const pack<T, V> &a, const pack<T, V> &b, F ieee)
{
    bool sure = true;
    pack<T, V> quick;
    const auto all = [&](auto divisor) {
#pragma unroll
        for (int i = 0; i < V; i++) quick.at[i] = from_f32<T>(quick_quotient(tag<T>{}, to_f32(a.at[i]), divisor(i), sure));
    };
    if (all_same(b)) {
        const quick_divisor shared(to_f32(b.at[0]));
        all([&](int) { return shared; });
    } else {
        all([&](int i) { return quick_divisor(to_f32(b.at[i])); });
    }
    if (!sure) {
#pragma unroll
        for (int i = 0; i < V; i++) quick.at[i] = ieee(a.at[i], b.at[i]);
    }
    y = quick;
}

} // namespace simt

#endif
