/* AMD's side of simt/row.h: how much a thread holds. Blocks have no clusters here, but twice the registers. Included after
 * target.h and before the family's header. */
#ifndef TRINE_HIP_ROW_H
#define TRINE_HIP_ROW_H

#include "backends/simt/launch.h"
#include "backends/simt/team.h"

namespace target {

/* Packs of 16 bytes that a thread holds, all operands together: half of the 128 registers of a thread in a block of 1024. */
constexpr int row_packs = 16;
/* Whether kernels have more code so that a block by itself ends sooner: not before that can be measured, and a thread's 16 packs
 * take long enough to compile. */
constexpr bool row_hurries = false;
constexpr int row_team_block = 1024;
/* Where threads that go through many rows keep their columns' sums (norm_backward.h), how many work in a compute unit, and the block
 * beyond which two would be better. */
constexpr bool columns_in_registers = true;
constexpr int columns_threads = 512, columns_team_block = 512;

/* The same bits, of which the compiler knows nothing. */
TRINE_DEVICE void opaque(uint32_t &word, uint32_t)
{
#if defined __AMDGCN__
    asm volatile("" : "+v"(word));
#else
    (void)word; /* the host's pass only parses this */
#endif
}

/* Of interest on NVIDIA's only. */
TRINE_DEVICE void not_before(uint32_t &) {}
constexpr int row_halves_packs = 1; /* loads go into either half of a register, and more at a time spill */
template <class T> TRINE_DEVICE T *settled(T *p) { return p; }

using row_wide_team = simt::lone_block;
using row_stream_team = simt::lone_block;
constexpr int stream_shared = 0, stream_reserved = 0;
inline int row_most_blocks(const trine_call *) { return 1; }
template <class Kernel> inline int row_most_blocks_here(trine_call *, Kernel *, int) { return 1; }
template <class Kernel> inline int row_wide_teams(trine_call *, Kernel *, int, int, size_t) { return 0; }

template <class... P, class... A>
inline trine_status launch_wide(trine_call *call, void (*kernel)(P...), int64_t grid, int, int threads, size_t shared, A... args)
{
    return simt::launch(call, kernel, simt::grid(grid), threads, shared, args...);
}

} // namespace target

#endif
