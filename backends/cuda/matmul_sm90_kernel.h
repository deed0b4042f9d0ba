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

/* One thread's loop: keeps the ring full. */
template <class T, class Tile, wgmma::axis A, wgmma::axis B> struct producer {
    /* Boxes along the rows of an operand that lies along them: a line of rows each, all terms of the step. */
    static constexpr int box = wgmma::elements_of_line<T>;

    static TRINE_DEVICE_METHOD void load_a(const maps &m, const schedule &s, const ring_place<Tile> &at, ptx::coordinates from,
                                           int row, int k)
    {
        if constexpr (A == wgmma::along_k) {
            from.inner = k;
            from.outer = row;
            ptx::load_box(at.a(), &m.a, from, s.single, at.full());
        } else {
            from.outer = k;
#pragma unroll
            for (int i = 0; i < Tile::M / box; i++) {
                from.inner = row + i * box;
                ptx::load_box(at.a() + i * box * wgmma::line_bytes, &m.a, from, s.single, at.full());
            }
        }
    }
    /* b, or with two blocks this block's half of it, for both. */
    static TRINE_DEVICE_METHOD void load_b(const maps &m, const schedule &s, const ring_place<Tile> &at, ptx::coordinates from,
                                           int column, int k, uint32_t rank)
    {
        const int columns = s.share > 1 ? Tile::N / 2 : Tile::N, first = s.share > 1 ? int(rank) * columns : 0;
        if constexpr (B == wgmma::along_k) {
            from.inner = k;
            from.outer = column + first;
            load_one(m, s, at.b() + first * wgmma::line_bytes, from, at.full());
        } else {
            from.outer = k;
#pragma unroll 1
            for (int i = first; i < first + columns; i += box) {
                from.inner = column + i;
                load_one(m, s, at.b() + i * wgmma::line_bytes, from, at.full());
            }
        }
    }
    static TRINE_DEVICE_METHOD void load_one(const maps &m, const schedule &s, uint32_t to, const ptx::coordinates &from,
                                             uint32_t full)
    {
        if (s.share > 1)
            ptx::load_box_shared(to, &m.b, from, s.single, full, 3);
        else
            ptx::load_box(to, &m.b, from, s.single, full);
    }
    static TRINE_DEVICE_METHOD void run(const maps &m, const product<T> &p, const schedule &s, uint32_t base, uint32_t rank,
                                        unsigned unit, unsigned units_apart)
    {
        ring_place<Tile> at(base);
        ptx::coordinates from_a = {}, from_b = {};
        for (; unit < s.units; unit += units_apart) {
            const work w = work_of<Tile>(s, unit, rank);
            if (!s.single) {
                batch_coordinates(p, TRINE_PRODUCT_A, w.index, &from_a);
                batch_coordinates(p, TRINE_PRODUCT_B, w.index, &from_b);
            }
            for (int i = 0; i < w.steps; i++) {
                const int k = (w.first_step + i) * step_terms<T>;
                ptx::barrier_wait(at.empty(), at.parity ^ 1);
                ptx::barrier_expect(at.full(), Tile::bytes_stage);
                load_a(m, s, at, from_a, w.row, k);
                load_b(m, s, at, from_b, w.column, k, rank);
                at.advance();
            }
        }
    }
};

/* The sums of a tile: `steps` stages, the last of which is still being read when the next one is started. */
template <class T, class Tile, wgmma::axis A, wgmma::axis B> TRINE_DEVICE void
multiply_tile(float (&sum)[Tile::N / 2], ring_place<Tile> &at, const schedule &s, int steps, uint32_t rank, const lane_place &me)
{
    uint32_t last = 0;
    wgmma::hold(sum);
#pragma unroll 1
    for (int i = 0; i < steps; i++) {
        ptx::barrier_wait(at.full(), at.parity);
        const uint64_t a = wgmma::describe(at.a() + me.group * wgmma::block_bytes), b = wgmma::describe(at.b());
        wgmma::fence();
#pragma unroll
        for (int k = 0; k < 4; k++)
            wgmma::multiply<T, Tile::N>::template run<A, B>(sum, a + k * wgmma::next_terms<A>, b + k * wgmma::next_terms<B>,
                                                            i + k > 0);
        wgmma::commit();
        if (i > 0) {
            wgmma::wait<1>();
            give_back<Tile>(s, last, rank, me);
        }
        last = at.empty();
        at.advance();
    }
    wgmma::wait<0>();
    wgmma::hold(sum);
    give_back<Tile>(s, last, rank, me);
}

template <class T, class Tile, wgmma::axis A, wgmma::axis B> TRINE_DEVICE void
consume(const maps &m, const product<T> &p, const schedule &s, uint32_t base, uint32_t rank, unsigned unit, unsigned units_apart)
{
    const lane_place me = {int(threadIdx.x) / warpgroup, int(threadIdx.x) % warpgroup};
    const uint32_t staging = base + Tile::at_staging + me.group * Tile::staging;
    ring_place<Tile> at(base);
    float sum[Tile::N / 2];
    for (; unit < s.units; unit += units_apart) {
        const work w = work_of<Tile>(s, unit, rank);
        if (!s.by_tma) prefetch_addend<Tile>(p, w, int(threadIdx.x));
        multiply_tile<T, Tile, A, B>(sum, at, s, w.steps, rank, me);
        if (s.splits > 1) {
            ptx::meet(1, Tile::multipliers);
            keep_sums<Tile>(sum, base, me);
            ptx::cluster_barrier();
            store_cluster<Tile>(p, s, w, base, rank, int(threadIdx.x));
        } else if (s.by_tma) {
            ptx::coordinates to = {w.column, w.row + me.group * 64, {0, 0, 0}};
            if (!s.single) batch_coordinates(p, TRINE_PRODUCT_D, w.index, &to);
            if (sizeof(T) < 4 && !p.out.d_wide)
                store_by_tma<Tile>(sum, &m.d, s, to, staging, me, T{});
            else
                store_by_tma<Tile>(sum, &m.d, s, to, staging, me, float{});
        } else {
            store_finished<Tile>(sum, p, w, staging, me);
        }
    }
    if (me.thread == 0) ptx::wait_stores_read<0>();
}

template <class T, class Tile, wgmma::axis A, wgmma::axis B> __global__ void __launch_bounds__(Tile::threads, Tile::together)
    matmul_kernel(const __grid_constant__ maps m, const __grid_constant__ product<T> p, const __grid_constant__ schedule s)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    const uint32_t base =
        (ptx::shared_address(target::dynamic_shared()) + wgmma::pattern_bytes - 1) & ~uint32_t(wgmma::pattern_bytes - 1);
    const unsigned blocks = unsigned(s.share * s.splits), unit = blockIdx.x / blocks, units_apart = gridDim.x / blocks;
    const uint32_t rank = ptx::cluster_rank();
    if (threadIdx.x == Tile::multipliers) { /* on their way while the barriers are made: from memory they take a microsecond */
        ptx::prefetch_map(&m.a);
        ptx::prefetch_map(&m.b);
        if (s.by_tma) ptx::prefetch_map(&m.d);
    }
    if (threadIdx.x == 0) {
        ring_place<Tile> at(base);
        for (int i = 0; i < Tile::stages; i++, at.advance()) {
            ptx::barrier_init(at.full(), 1);
            ptx::barrier_init(at.empty(), Tile::consumers * s.share);
        }
        ptx::barrier_init_fence();
    }
    if (blocks > 1)
        ptx::cluster_barrier();
    else
        __syncthreads();
    if (threadIdx.x >= Tile::multipliers) {
        if constexpr (Tile::trades_registers) ptx::leave_registers<56>();
        if (threadIdx.x == Tile::multipliers) producer<T, Tile, A, B>::run(m, p, s, base, rank, unit, units_apart);
        __syncwarp();
        if (s.splits > 1) ptx::cluster_barrier();
    } else {
        if constexpr (Tile::trades_registers) ptx::take_registers<224>();
        if constexpr (is_turned<T, B>)
            consume_turned<Tile>(m, p, s, base, rank);
        else
            consume<T, Tile, A, B>(m, p, s, base, rank, unit, units_apart);
    }
    /* nobody leaves while another block still reads or signals its shared memory */
    if (blocks > 1) ptx::cluster_barrier();
#endif
}

} // namespace sm90

#endif
