/* AMD's matrix units behind one interface: mma::unit<Type> for the types below, where the chip being compiled for has it.
 *
 *     available            0 on chips without it; nothing else is there then
 *     sums                 the registers of a 16 x 16 tile of sums
 *     slices, pieces       a fragment is what a lane needs of 16 rows for 64 / slices bytes of K: `pieces` pieces of 16 bytes
 *     piece(lane, slice)   the first of them; the lane's row is lane % 16
 *     multiply(d, a, b)    adds a fragment's products, all of its K
 *     pitch<columns>       floats from row to row in LDS so that store has no bank conflicts
 *     store(to, pitch, d, lane)   the tile as rows of floats */
#ifndef TRINE_HIP_MMA_UNIT_H
#define TRINE_HIP_MMA_UNIT_H

#include "backends/simt/types.h"

namespace mma {

#if defined __GFX9__
enum { wave = 64 };
#else
enum { wave = 32 };
#endif

using target::vector16;

/* What the unit multiplies. f16_flushed: f16 whose subnormals count as 0, where that is faster. xf32: f32 of which the unit reads
 * tf32's bits. */
struct f16 {
    using element = simt::f16;
};
struct f16_flushed {
    using element = simt::f16;
};
struct bf16 {
    using element = simt::bf16;
};
struct f32 {
    using element = float;
};
struct xf32 {
    using element = float;
};

template <class Type> struct unit {
    enum { available = 0 };
};

} // namespace mma

#if defined __gfx90a__ || defined __gfx942__
#include "backends/hip/mma/mfma.h"
#elif defined __GFX11__
#include "backends/hip/mma/wmma.h"
#endif

#endif
