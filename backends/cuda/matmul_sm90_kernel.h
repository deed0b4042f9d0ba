/* sm90: matrix products of 16-bit floats, and of f32 as tf32, on Hopper's tensor cores. docs/matmul-hopper.md explains it step by
 * step.
 *
 * A block makes tiles of d. One warp of it has TMA load tiles of a and b into a ring of stages in shared memory; its warpgroups
 * multiply what has come (wgmma, sums in registers) and hand stages back. Bound by the tensor cores where tiles are many; by
 * memory where M or N is small, and then K is divided among the blocks of a cluster, which add their sums through each other's
 * shared memory. */
#ifndef TRINE_CUDA_MATMUL_SM90_KERNEL_H
#define TRINE_CUDA_MATMUL_SM90_KERNEL_H

#include "backends/cuda/matmul_sm90_turned.h"

namespace sm90 {

/* The loading warp's loop: keeps the ring full. All lanes go through it, one starts the copies (ptx::warp_index). */
template <class T, class Tile, wgmma::axis A, wgmma::axis B> struct producer {
    /* Boxes along the rows of an operand that lies along them: a line of rows each, all terms of the step. */
    static constexpr int box = wgmma::elements_of_line<T>;

    /* This block's part of the lines of an operand's tile, which go to several blocks if those load it together. */
    struct part {
        int first, end;
        bool shared;
        uint16_t blocks;
        TRINE_DEVICE_METHOD part(int lines, int share_log, unsigned mine, uint16_t blocks_)
            : first((lines >> share_log) * int(mine)), end(first + (lines >> share_log)), shared(share_log > 0), blocks(blocks_)
        {
        }
    };
    template <wgmma::axis AXIS> static TRINE_DEVICE_METHOD void load(const CUtensorMap *map, const schedule &s, uint32_t to,
                                                                     uint32_t full, ptx::coordinates from, int line, int k,
                                                                     const part &own)
    {
        if constexpr (AXIS == wgmma::along_k) {
            from.inner = k;
            from.outer = line + own.first;
            load_one(map, s, to + own.first * wgmma::line_bytes, from, full, own);
        } else {
            from.outer = k;
#pragma unroll 1
            for (int i = own.first; i < own.end; i += box) {
                from.inner = line + i;
                load_one(map, s, to + i * wgmma::line_bytes, from, full, own);
            }
        }
    }
    static TRINE_DEVICE_METHOD void load_one(const CUtensorMap *map, const schedule &s, uint32_t to, const ptx::coordinates &from,
                                             uint32_t full, const part &own)
    {
        if (own.shared)
            ptx::load_box_shared(to, map, from, s.single, full, own.blocks);
        else
            ptx::load_box(to, map, from, s.single, full);
    }
    /* What can be found out without the ring comes before the wait for it. */
    static TRINE_DEVICE_METHOD void run(const maps &m, const product<T> &p, const schedule &s, uint32_t base)
    {
        const unsigned units_apart = ptx::cluster_count(), rank = ptx::cluster_rank();
        const bool leads = ptx::elected();
        const cluster_place in(s, rank);
        const part own_a(Tile::M, s.neighbours_log - s.share_log, in.j, in.row), own_b(Tile::N, s.share_log, in.i, in.column);
        ring_place<Tile> at(base);
        ptx::coordinates from_a = {}, from_b = {};
        unsigned unit = ptx::cluster_index();
        work w = work_of<Tile>(s, unit, rank); /* no cluster is without a unit */
        asm volatile("" : "+r"(w.row), "+r"(w.column), "+r"(w.first_step), "+r"(w.steps)::"memory");
        wait_for_ring(s);
        for (; unit < s.units; unit += units_apart, w = work_of<Tile>(s, unit, rank)) {
            if (!s.single) {
                const batch_place place(p, w.index);
                batch_coordinates(p, TRINE_PRODUCT_A, place, &from_a);
                batch_coordinates(p, TRINE_PRODUCT_B, place, &from_b);
            }
#pragma unroll 1
            for (int i = 0; i < w.steps; i++) {
                const int k = (w.first_step + i) * step_terms<T>;
                ptx::barrier_wait(at.empty(), at.parity ^ 1);
                if (leads) {
                    ptx::barrier_expect(at.full(), Tile::bytes_stage);
                    load<A>(&m.a, s, at.a(), at.full(), from_a, w.row, k, own_a);
                    load<B>(&m.b, s, at.b(), at.full(), from_b, w.column, k, own_b);
                }
                at.advance();
            }
        }
    }
};

/* The sums of a tile: `steps` stages, the last of which is still being read when the next one is started. beside(i): what is done
 * while step i is multiplied; before(i): when it has come. */
template <class T, class Tile, wgmma::axis A, wgmma::axis B, class F = nothing_beside, class G = nothing_beside>
TRINE_DEVICE void multiply_tile(float (&sum)[Tile::N / 2], ring_place<Tile> &at, const schedule &s, int steps, uint32_t rank,
                                const lane_place &me, const F &beside = F(), const G &before = G())
{
    const int to = receiver_of(s, rank, me);
    uint32_t last = 0;
    wgmma::hold(sum);
#pragma unroll 1
    for (int i = 0; i < steps; i++) {
        ptx::barrier_wait(at.full(), at.parity);
        before(i);
        const uint64_t a = wgmma::describe(at.a() + me.group * wgmma::block_bytes), b = wgmma::describe(at.b());
        wgmma::fence();
#pragma unroll
        for (int k = 0; k < 4; k++)
            wgmma::multiply<T, Tile::N>::template run<A, B>(sum, a + k * wgmma::next_terms<A>, b + k * wgmma::next_terms<B>,
                                                            i + k > 0);
        wgmma::commit();
        beside(i);
        if (i > 0) {
            wgmma::wait<1>();
            give_back(last, to);
        }
        last = at.empty();
        at.advance();
    }
    wgmma::wait<0>();
    wgmma::hold(sum);
    give_back(last, to);
}

/* Tiles that are finished one by one: parts of K, f32 sums, and what TMA doesn't write. */
template <class T, class Tile, wgmma::axis A, wgmma::axis B>
TRINE_DEVICE void consume(const maps &m, const product<T> &p, const schedule &s, uint32_t base)
{
    const lane_place me = {ptx::warp_index() / 4, int(threadIdx.x) % warpgroup};
    const uint32_t staging = base + Tile::at_staging + me.group * Tile::staging, rank = ptx::cluster_rank();
    const unsigned units_apart = ptx::cluster_count();
    ring_place<Tile> at(base);
    float sum[Tile::N / 2];
    for (unsigned unit = ptx::cluster_index(); unit < s.units; unit += units_apart) {
        const work w = work_of<Tile>(s, unit, rank);
        if (!s.by_tma) prefetch_addend<Tile>(p, w, int(threadIdx.x));
        multiply_tile<T, Tile, A, B>(sum, at, s, w.steps, rank, me);
        if (s.splits == 1 && !s.by_tma) {
            store_finished<Tile>(sum, p, w, staging, me);
        } else if (s.splits == 1) {
            ptx::coordinates to = {w.column, w.row + me.group * 64, {0, 0, 0}};
            if (!s.single) batch_coordinates(p, TRINE_PRODUCT_D, batch_place(p, w.index), &to);
            store_by_tma<Tile>(sum, &m.d, s, to, staging, me, float{});
        } else {
            ptx::meet(1, Tile::multipliers);
            keep_sums<Tile>(sum, base, me);
            ptx::cluster_barrier();
            store_cluster<Tile>(p, s, w, base, rank, int(threadIdx.x));
        }
    }
    if (me.thread == 0) ptx::wait_stores_read<0>();
}

/* Tiles whose rounded sums are d: they are stored while the next tile is multiplied. */
template <class T, class Tile, wgmma::axis A, wgmma::axis B>
TRINE_DEVICE void consume_kept(const maps &m, const product<T> &p, const schedule &s, uint32_t base)
{
    const lane_place me = {ptx::warp_index() / 4, int(threadIdx.x) % warpgroup};
    const uint32_t staging = base + Tile::at_staging + me.group * Tile::staging, rank = ptx::cluster_rank();
    const unsigned units_apart = ptx::cluster_count();
    ring_place<Tile> at(base);
    float sum[Tile::N / 2];
    kept_tile<Tile> kept;
    for (unsigned unit = ptx::cluster_index(); unit < s.units; unit += units_apart) {
        const work w = work_of<Tile>(s, unit, rank);
        multiply_tile<T, Tile, A, B>(sum, at, s, w.steps, rank, me, [&](int i) { kept.store(i, &m.d, s, staging, me); });
        kept.store_rest(&m.d, s, staging, me);
        ptx::coordinates to = {w.column, w.row + me.group * 64, {0, 0, 0}};
        if (!s.single) batch_coordinates(p, TRINE_PRODUCT_D, batch_place(p, w.index), &to);
        kept.keep(sum, to, T{});
    }
    kept.store_rest(&m.d, s, staging, me);
    if (kept.stores) ptx::wait_stores_read<0>();
}

template <class T, class Tile, wgmma::axis A, wgmma::axis B> __global__ void __launch_bounds__(Tile::threads, Tile::together)
    matmul_kernel(const __grid_constant__ maps m, const __grid_constant__ product<T> p, const __grid_constant__ schedule s)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    const uint32_t base =
        (ptx::shared_address(target::dynamic_shared()) + wgmma::pattern_bytes - 1) & ~uint32_t(wgmma::pattern_bytes - 1);
    const int blocks = s.share * s.share_a * s.splits;
    if (threadIdx.x == Tile::multipliers) { /* on their way while the barriers are made: from memory they take a microsecond */
        ptx::prefetch_map(&m.a);
        ptx::prefetch_map(&m.b);
        if (s.by_tma) ptx::prefetch_map(&m.d);
    }
    if (threadIdx.x == 0) init_ring<Tile>(base, 1, Tile::consumers * (s.share + s.share_a - 1));
    if (blocks > 1) ptx::cluster_arrive_relaxed();
    const int warp = ptx::warp_index();
    if (warp < Tile::multipliers / 32) {
        if constexpr (Tile::trades_registers) ptx::take_registers<224>();
        wait_for_ring(s);
        if constexpr (is_turned<T, B>) {
            consume_turned<Tile>(m, p, s, base);
        } else if constexpr (sizeof(T) < 4) {
            if (!s.by_tma || s.splits > 1 || p.out.d_wide)
                consume<T, Tile, A, B>(m, p, s, base);
            else
                consume_kept<T, Tile, A, B>(m, p, s, base);
        } else {
            consume<T, Tile, A, B>(m, p, s, base);
        }
    } else {
        if constexpr (Tile::trades_registers) ptx::leave_registers<56>();
        if (warp > Tile::multipliers / 32)
            wait_for_ring(s);
        else
            producer<T, Tile, A, B>::run(m, p, s, base);
        __syncwarp();
        if (s.splits > 1) ptx::cluster_barrier();
    }
    /* nobody leaves while another block still reads or signals its shared memory */
    if (blocks > 1) ptx::cluster_barrier_relaxed();
#endif
}

} // namespace sm90

#endif
