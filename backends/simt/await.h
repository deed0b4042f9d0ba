/* Loads that are not put off. To save registers, CUDA's assembler asks for some packs only when it has used others, although all stand
 * together in the source: one journey to memory more, which is what a kernel of a few packs a thread consists of. So the first use of
 * a pack is made to depend on the arrival of all. */
#ifndef TRINE_SIMT_AWAIT_H
#define TRINE_SIMT_AWAIT_H

#include "backends/simt/types.h"

namespace simt {

template <class Packs> struct arrived_words {
    static_assert(sizeof(Packs) % 16 == 0, "whole packs");
    uint32_t at[sizeof(Packs) / 16][4];
};

/* Is 0, and known when all of these packs are there. `zero`: 0, from what is only known at run time. */
template <class Packs> TRINE_DEVICE uint32_t arrival_of(const Packs &packs, uint32_t zero)
{
    const auto words = __builtin_bit_cast(arrived_words<Packs>, packs);
    uint32_t all = 0;
#pragma unroll
    for (const auto &pack : words.at) all |= pack[3];
    return all & zero;
}

template <class Packs, int n> TRINE_DEVICE uint32_t arrival_of(const Packs (&list)[n], uint32_t zero)
{
    uint32_t all = 0;
#pragma unroll
    for (int i = 0; i < n; i++) all |= arrival_of(list[i], zero);
    return all;
}

/* The same packs, of which the first is there when `arrival` is. */
template <class Packs> TRINE_DEVICE void await(Packs &packs, uint32_t arrival)
{
    auto words = __builtin_bit_cast(arrived_words<Packs>, packs);
    words.at[0][0] |= arrival;
    packs = __builtin_bit_cast(Packs, words);
}

} // namespace simt

#endif
