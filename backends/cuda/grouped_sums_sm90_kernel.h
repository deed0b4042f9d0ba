/* sm90: the sums of a grouped product, d[g] = a b over the group's terms, the gradient of a weight. All groups have the same tiles, so
 * units of work are those of a batched matmul (matmul_sm90_tile.h); a unit's terms, and so its steps, are its group's.
 *
 * Both operands lie along their rows, a line of shared memory is a term. A group may begin at any term, which TMA does not mind; where it
 * ends within a stage, the lines behind its last term are another group's, or nobody's: the multiplying warpgroups write zeros over
 * them in both operands, for nobody's terms may be NaN. */
#ifndef TRINE_CUDA_GROUPED_SUMS_SM90_KERNEL_H
#define TRINE_CUDA_GROUPED_SUMS_SM90_KERNEL_H

#include "backends/cuda/matmul_sm90_kernel.h"
#include "backends/simt/groups.h"

namespace sm90 {

/* Only groups are asked for. */
struct no_units {
    TRINE_DEVICE_METHOD int operator()(int) const { return 0; }
};

/* A group's terms; one step, without terms, of a group that has none. Neighbouring units are mostly of one group: it is looked for when
 * another comes, and the walk does not stay in registers. */
template <class T> struct group_terms {
    int group = -1, begin, steps, last; /* last: terms of the last step */

    TRINE_DEVICE_METHOD void find(const simt::group_list &list, int64_t index)
    {
        if (int(index) == group) return;
        group = int(index);
        simt::group_walk<int, no_units> walk(list, no_units{});
        const simt::group_place<int> g = walk.of_group(group);
        const int terms = g.end - g.begin;
        begin = __shfl_sync(0xffffffffu, g.begin, 0);
        steps = __shfl_sync(0xffffffffu, terms > 0 ? (terms + step_terms<T> - 1) / step_terms<T> : 1, 0);
        last = __shfl_sync(0xffffffffu, terms - (steps - 1) * step_terms<T>, 0);
    }
};

template <class T, class Tile>
TRINE_DEVICE void load_sums(const maps &m, const schedule &s, const simt::group_list &list, uint32_t base)
{
    using loads = producer<T, Tile, wgmma::along_rows, wgmma::along_rows>;
    const unsigned rank = ptx::cluster_rank(), units_apart = ptx::cluster_count();
    const bool leads = ptx::elected();
    const cluster_place in(s, rank);
    const typename loads::part own_a(Tile::M, s.neighbours_log - s.share_log, in.j, in.row),
        own_b(Tile::N, s.share_log, in.i, in.column);
    ring_place<Tile> at(base);
    group_terms<T> t;
    wait_for_ring(s);
    for (unsigned unit = ptx::cluster_index(); unit < s.units; unit += units_apart) {
        const work w = work_of<Tile>(s, unit, rank);
        t.find(list, w.index);
#pragma unroll 1
        for (int i = 0; i < t.steps; i++, at.advance()) {
            const int k = t.begin + i * step_terms<T>;
            ptx::barrier_wait(at.empty(), at.parity ^ 1);
            if (!leads) continue;
            ptx::barrier_expect(at.full(), Tile::bytes_stage);
            loads::template load<wgmma::along_rows>(&m.a, s, at.a(), at.full(), {}, w.row, k, own_a);
            loads::template load<wgmma::along_rows>(&m.b, s, at.b(), at.full(), {}, w.column, k, own_b);
        }
    }
}

/* Zeros in the lines from `terms` on, of both operands, whose blocks of 64 lines follow each other. */
template <class Tile> TRINE_DEVICE void clear_terms(const ring_place<Tile> &at, int terms)
{
    const int pieces = (wgmma::block_bytes / wgmma::line_bytes - terms) * (wgmma::line_bytes / 16);
    const uint32_t first = at.a() + terms * wgmma::line_bytes;
#pragma unroll 1
    for (int i = int(threadIdx.x); i < pieces; i += Tile::multipliers)
#pragma unroll
        for (int block = 0; block < (Tile::M + Tile::N) / 64; block++)
            ptx::store_shared(first + block * wgmma::block_bytes + i * 16, int4{0, 0, 0, 0});
    ptx::fence_async();
    ptx::meet(1 + Tile::consumers, Tile::multipliers);
}

/* The next tile's sums. beside: as multiply_tile's. */
template <class T, class Tile, class F> TRINE_DEVICE void multiply_sums(float (&sum)[Tile::N / 2], ring_place<Tile> &at,
                                                                        const schedule &s, const group_terms<T> &t, uint32_t rank,
                                                                        const lane_place &me, const F &beside)
{
    multiply_tile<T, Tile, wgmma::along_rows, wgmma::along_rows>(sum, at, s, t.steps, rank, me, beside, [&](int i) {
        if (i + 1 == t.steps && t.last < step_terms<T>) clear_terms(at, t.last);
    });
}

/* tile(at, w, t): what becomes of the block's next tile. */
template <class T, class Tile, class F>
TRINE_DEVICE void each_tile_of_sums(const schedule &s, const simt::group_list &list, uint32_t base, const F &tile)
{
    const unsigned units_apart = ptx::cluster_count();
    ring_place<Tile> at(base);
    group_terms<T> t;
    for (unsigned unit = ptx::cluster_index(); unit < s.units; unit += units_apart) {
        const work w = work_of<Tile>(s, unit, ptx::cluster_rank());
        t.find(list, w.index);
        tile(at, w, t);
    }
}

TRINE_DEVICE ptx::coordinates place_in_d(const work &w, const lane_place &me)
{
    return ptx::coordinates{w.column, w.row + me.group * 64, {int(w.index), 0, 0}};
}

/* Rounded sums that are d are stored while the next tile is multiplied. */
template <class T, class Tile>
TRINE_DEVICE void consume_sums_kept(const maps &m, const schedule &s, const simt::group_list &list, uint32_t base)
{
    const lane_place me = {ptx::warp_index() / 4, int(threadIdx.x) % warpgroup};
    const uint32_t staging = base + Tile::at_staging + me.group * Tile::staging, rank = ptx::cluster_rank();
    float sum[Tile::N / 2];
    kept_tile<Tile> kept;
    each_tile_of_sums<T, Tile>(s, list, base, [&](ring_place<Tile> &at, const work &w, const group_terms<T> &t) {
        multiply_sums<T>(sum, at, s, t, rank, me, [&](int i) { kept.store(i, &m.d, s, staging, me); });
        kept.store_rest(&m.d, s, staging, me);
        kept.keep(sum, place_in_d(w, me), T{});
    });
    kept.store_rest(&m.d, s, staging, me);
    if (kept.stores) ptx::wait_stores_read<0>();
}

template <class T, class Tile> TRINE_DEVICE void consume_sums(const maps &m, const product<T> &p, const schedule &s,
                                                              const simt::group_list &list, int64_t bias_group, uint32_t base)
{
    const lane_place me = {ptx::warp_index() / 4, int(threadIdx.x) % warpgroup};
    const uint32_t staging = base + Tile::at_staging + me.group * Tile::staging, rank = ptx::cluster_rank();
    float sum[Tile::N / 2];
    each_tile_of_sums<T, Tile>(s, list, base, [&](ring_place<Tile> &at, const work &w, const group_terms<T> &t) {
        multiply_sums<T>(sum, at, s, t, rank, me, nothing_beside());
        if (s.by_tma) {
            store_by_tma<Tile>(sum, &m.d, s, place_in_d(w, me), staging, me, float{});
            return;
        }
        product_offsets of_group = p.offsets(w.index);
        of_group.bias = w.index * bias_group;
        const simt::group_view<T> view = {p.m, p.n, p.out, of_group};
        store_finished<Tile>(sum, view, w, staging, me);
    });
    if (me.thread == 0) ptx::wait_stores_read<0>();
}

template <class T, class Tile> __global__ void __launch_bounds__(Tile::threads, Tile::together)
    grouped_sums_kernel(const __grid_constant__ maps m, const __grid_constant__ product<T> p, const __grid_constant__ schedule s,
                        const __grid_constant__ simt::group_list list, int64_t bias_group)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    const uint32_t base =
        (ptx::shared_address(target::dynamic_shared()) + wgmma::pattern_bytes - 1) & ~uint32_t(wgmma::pattern_bytes - 1);
    if (threadIdx.x == 0) init_ring<Tile>(base, 1, Tile::consumers * (s.share + s.share_a - 1));
    const bool clusters = s.share * s.share_a > 1;
    if (clusters) ptx::cluster_arrive_relaxed();
    const int warp = ptx::warp_index();
    if (warp < Tile::multipliers / 32) {
        if constexpr (Tile::trades_registers) ptx::take_registers<224>();
        wait_for_ring(s);
        if (s.by_tma && !p.out.d_wide)
            consume_sums_kept<T, Tile>(m, s, list, base);
        else
            consume_sums<T, Tile>(m, p, s, list, bias_group, base);
    } else {
        if constexpr (Tile::trades_registers) ptx::leave_registers<56>();
        if (warp > Tile::multipliers / 32)
            wait_for_ring(s);
        else
            load_sums<T, Tile>(m, s, list, base);
        __syncwarp();
    }
    /* nobody leaves while another block still writes or signals its shared memory */
    if (clusters) ptx::cluster_barrier_relaxed();
#endif
}

} // namespace sm90

#endif
