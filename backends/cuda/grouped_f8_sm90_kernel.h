/* sm90: grouped products of fp8. Units, tiles and what the blocks of a cluster share are those of grouped_sm90_kernel.h; stages, their
 * scales and how their sums are added up those of fp8_sm90_kernel.h.
 *
 * Only the loading side walks the groups: registers of the multiplying side are full. It puts a tile's place beside its first
 * stage; a stage without operands whose place has no group ends the work. */
#ifndef TRINE_CUDA_GROUPED_F8_SM90_KERNEL_H
#define TRINE_CUDA_GROUPED_F8_SM90_KERNEL_H

#include "backends/cuda/fp8_sm90_kernel.h"
#include "backends/cuda/grouped_sm90_kernel.h"

namespace sm90f8 {

using group_tile_128x256 = f8_tile<128, 256, 4, 1, 2, 40, true, 128>;
using group_tile_64x128 = f8_tile<64, 128, 4, 2, 1, 80, true>;

/* One warp: operands and places. */
template <class Tile> TRINE_DEVICE void load_groups(const maps &m, const group_schedule &s, const simt::group_list &list,
                                                    uint32_t base, int rank, int unit, int units_apart)
{
    const bool leads = ptx::elected();
    ring_place<Tile> at(base);
    unit_walk<Tile> walk(list, units_of_rows<Tile>{s.columns});
    group_tile t;
    bool there = tile_of_unit<Tile>(walk, unit, rank, &t);
    ptx::cluster_wait();
    for (; there; unit += units_apart, there = tile_of_unit<Tile>(walk, unit, rank, &t)) {
        ptx::barrier_wait(at.empty(), at.parity ^ 1);
        if (leads) ptx::store_shared(place_of<Tile>(at), int4{t.row, t.column, t.group, t.end});
        group_producer<Tile, wgmma::along_k, terms>::load_tile(m, s, at, uniform(t), rank, leads);
    }
    ptx::barrier_wait(at.empty(), at.parity ^ 1);
    if (leads) {
        ptx::store_shared(place_of<Tile>(at), int4{0, 0, -1, 0});
        ptx::barrier_expect(at.full(), 0);
    }
}

/* One warp: scales, if stages have them. */
template <class Tile> TRINE_DEVICE void load_group_scales(const f8_product &p, const f8_scaling &scaling, const group_schedule &s,
                                                          const simt::group_list &list, uint32_t base, int rank, int unit,
                                                          int units_apart)
{
    ring_place<Tile> at(base);
    unit_walk<Tile> walk(list, units_of_rows<Tile>{s.columns});
    group_tile t;
    for (; tile_of_unit<Tile>(walk, unit, rank, &t); unit += units_apart)
        load_tile_scales<Tile>(at, p, scaling, work{t.group, t.row, t.column, 0, s.steps});
    ptx::barrier_wait(at.empty(), at.parity ^ 1);
    ptx::barrier_arrive_after_copies(at.full());
}

/* As sm90::skip_tile: of each warp a thread gives back. */
template <class Tile>
TRINE_DEVICE void skip_group_tile(ring_place<Tile> &at, const group_schedule &s, uint32_t rank, const lane_place &me)
{
#pragma unroll 1
    for (int i = 0; i < s.steps; i++, at.advance()) {
        ptx::barrier_wait(at.full(), at.parity);
        __syncwarp(); /* a thread that is late must still see this phase */
        give_back(s.tiles, at.empty(), rank, me);
    }
}

template <class A, class B, class Tile> TRINE_DEVICE void consume_f8_groups(const maps &m, const f8_product &p,
                                                                            const f8_scaling &scaling, const group_schedule &s,
                                                                            uint32_t base, uint32_t rank)
{
    const lane_place me = {ptx::warp_index() / 4, int(threadIdx.x) % warpgroup};
    const uint32_t staging = base + Tile::at_staging + me.group * Tile::staging;
    const bool scaled = in_loop(scaling.a) || in_loop(scaling.b);
    const tile_factors<Tile> factors(p, scaling, me, false);
    static_assert((Tile::stages & (Tile::stages - 1)) == 0, "stages are counted modulo 2^32");
    float sum[Tile::N / 2];
    /* Where a tile begins in the ring is counted apart from what is done with it, by steps that all tiles have, and branches are
     * taken by vote: so descriptors are made in uniform registers, not collected from a warp's threads before every stage. */
    for (unsigned first = 0;; first += unsigned(s.steps)) {
        ring_place<Tile> at(base);
        at.slot = int(first % unsigned(Tile::stages));
        at.parity = first / unsigned(Tile::stages) & 1;
        ptx::barrier_wait(at.full(), at.parity);
        const int4 place = ptx::load_shared_words(place_of<Tile>(at));
        const group_tile t = {place.z, place.x, place.w, place.y, false};
        if (__any_sync(0xffffffff, t.group < 0)) break;
        if (__any_sync(0xffffffff, t.row + me.group * 64 >= t.end || t.column >= p.n)) {
            skip_group_tile<Tile>(at, s, rank, me);
            continue;
        }
        const work w = {t.group, t.row, t.column, 0, s.steps};
        factors.begin(p, scaling, w, staging, me);
        if (scaled)
            multiply_promoting<A, B, Tile, true>(sum, at, s.tiles, scaling, s.steps, rank, me);
        else
            multiply_promoting<A, B, Tile, false>(sum, at, s.tiles, scaling, s.steps, rank, me);
        factors.apply(sum, p, scaling, w, staging, me);
        store_group_tile<Tile>(sum, m, p, s, t, staging, me);
    }
    if (me.thread == 0) ptx::wait_stores_read<0>();
}

template <class A, class B, class Tile> __global__ void __launch_bounds__(Tile::threads, Tile::together)
    grouped_f8_kernel(const __grid_constant__ maps m, const __grid_constant__ f8_product p,
                      const __grid_constant__ f8_scaling scaling, const __grid_constant__ group_schedule s,
                      const __grid_constant__ simt::group_list list)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    extern __shared__ __align__(1024) unsigned char shared_of_block[];
    const uint32_t base = ptx::shared_address(shared_of_block), rank = ptx::cluster_rank();
    const int unit = int(ptx::cluster_index()), units_apart = int(ptx::cluster_count());
    if (base % wgmma::pattern_bytes) __trap();
    const bool scales = in_loop(scaling.a) || in_loop(scaling.b);
    if (threadIdx.x == Tile::multipliers) { /* on their way while the barriers are made */
        ptx::prefetch_map(&m.a);
        ptx::prefetch_map(&m.b);
        if (s.tiles.by_tma) ptx::prefetch_map(&m.d);
    }
    if (threadIdx.x == 0) init_ring<Tile>(base, scales ? 1 + 32 : 1, Tile::consumers * 4 * 2);
    ptx::cluster_arrive_relaxed();
    const int warp = ptx::warp_index() - Tile::multipliers / 32;
    if (warp < 0) {
        ptx::take_registers<Tile::taken>();
        ptx::cluster_wait();
        consume_f8_groups<A, B, Tile>(m, p, scaling, s, base, rank);
    } else { /* what stands last comes first in the code, as in fp8_kernel */
        ptx::leave_registers<Tile::left>();
        if (warp > 0) {
            ptx::cluster_wait();
            if (scales && warp == 1) load_group_scales<Tile>(p, scaling, s, list, base, int(rank), unit, units_apart);
        } else {
            load_groups<Tile>(m, s, list, base, int(rank), unit, units_apart);
        }
        __syncwarp();
    }
    /* nobody leaves while another block still writes or signals its shared memory */
    ptx::cluster_barrier_relaxed();
#endif
}

} // namespace sm90f8

#endif
