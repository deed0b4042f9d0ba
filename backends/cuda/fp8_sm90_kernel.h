/* sm90: products of fp8 on Hopper's tensor cores. The frame is that of the 16-bit products (docs/matmul-hopper.md): a ring of
 * stages that TMA fills, warpgroups that multiply what has come. A stage holds 128 terms of K, a line of 128 bytes, which is what
 * a block scale is for.
 *
 * The tensor cores keep 13 bits after the point of the largest term of a sum of fp8 products. So a stage's product is made in
 * sums of its own, which are then added to the tile's sums in f32 ("promoted"), scaled if scales depend on k. With
 * fast_accumulate and no such scales, the tensor cores add up all of K. docs/fp8-hopper.md has what bounds either.
 *
 * Block scales come as words by cp.async, any strides, into the stage that they belong to: one warp beside the one that starts
 * TMA does nothing else. Scales that don't depend on k, and the bias, are asked for before a tile's first product and used after
 * its last. */
#ifndef TRINE_CUDA_FP8_SM90_KERNEL_H
#define TRINE_CUDA_FP8_SM90_KERNEL_H

#include "backends/cuda/fp8_sm90_load.h"

namespace sm90f8 {

/* ---- The multiplying side ---- */

/* A stage may be loaded again when every warp that it was loaded for has read it; lane i of each tells block i. */
TRINE_DEVICE void give_back(const schedule &s, uint32_t empty, uint32_t rank, const lane_place &me)
{
    if (me.lane() < s.share) ptx::barrier_arrive(empty, s.share > 1 ? me.lane() : rank);
}

/* A stage's product, or that of `columns` of it from `first` on, added to d or in its place; runs on. */
template <class A, class B, class Tile, int columns>
TRINE_DEVICE void start_stage(float (&d)[columns / 2], const ring_place<Tile> &at, const lane_place &me, int first, bool add)
{
    const uint64_t a = wgmma::describe(at.a() + me.group * wgmma::block_bytes),
                   b = wgmma::describe(at.b() + first * wgmma::line_bytes);
    wgmma::fence();
#pragma unroll
    for (int k = 0; k < terms / wgmma_terms; k++)
        wgmma::multiply_f8<A, B, columns>::run(d, a + k * wgmma::next_terms<wgmma::along_k>,
                                               b + k * wgmma::next_terms<wgmma::along_k>, add || k > 0);
    wgmma::commit();
}

/* The scales of a thread's two rows times those of a chunk's parts. */
template <class Tile> struct chunk_scales {
    float by[Tile::chunk / part][2];

    TRINE_DEVICE_METHOD void load(const f8_scaling &scaling, uint32_t from, const lane_place &me, int first)
    {
        float row[2] = {1, 1};
        if (in_loop(scaling.a)) {
            row[0] = ptx::load_shared_one(from + (me.group * 64 + me.row()) * 4);
            row[1] = ptx::load_shared_one(from + (me.group * 64 + me.row() + 8) * 4);
        }
#pragma unroll
        for (int q = 0; q < Tile::chunk / part; q++) {
            const float column = in_loop(scaling.b) ? ptx::load_shared_one(from + (Tile::M + first / part + q) * 4) : 1.0f;
            by[q][0] = row[0] * column;
            by[q][1] = row[1] * column;
        }
    }
};

/* scaled: by scales of the stage. Else an addition: it reads two registers where the other reads three, and the registers' ports
 * are what the tensor cores leave little of. */
template <class A, class B, class Tile, bool scaled>
TRINE_DEVICE void multiply_promoting(float (&sum)[Tile::N / 2], ring_place<Tile> &at, const schedule &s,
                                     const f8_scaling &scaling, int steps, uint32_t rank, const lane_place &me)
{
    constexpr int chunk = Tile::chunk;
    float stage[chunk / 2];
    chunk_scales<Tile> scales;
#pragma unroll
    for (int i = 0; i < Tile::N / 2; i++) sum[i] = 0;
#pragma unroll 1
    for (int i = 0; i < steps; i++) {
        const uint32_t from = at.base + Tile::at_scales + at.slot * Tile::bytes_scales;
        ptx::barrier_wait(at.full(), at.parity);
#pragma unroll
        for (int first = 0; first < Tile::N; first += chunk) {
            wgmma::hold(stage);
            start_stage<A, B, Tile, chunk>(stage, at, me, first, false);
            if constexpr (scaled) scales.load(scaling, from, me, first);
            wgmma::wait<0>();
            wgmma::hold(stage);
            if (first + chunk == Tile::N) {
                give_back(s, at.empty(), rank, me);
                at.advance();
            }
#pragma unroll
            for (int j = 0; j < chunk / 2; j++) {
                float &to = sum[first / 2 + j];
                to = scaled ? target::fma_rn(scales.by[j / (part / 2)][j % 4 / 2], stage[j], to) : to + stage[j];
            }
        }
    }
}

template <class A, class B, class Tile> TRINE_DEVICE void
multiply_fast(float (&sum)[Tile::N / 2], ring_place<Tile> &at, const schedule &s, int steps, uint32_t rank, const lane_place &me)
{
    uint32_t last = 0;
    wgmma::hold(sum);
#pragma unroll 1
    for (int i = 0; i < steps; i++) {
        ptx::barrier_wait(at.full(), at.parity);
        start_stage<A, B, Tile, Tile::N>(sum, at, me, 0, i > 0);
        if (i > 0) {
            wgmma::wait<1>();
            give_back(s, last, rank, me);
        }
        last = at.empty();
        at.advance();
    }
    wgmma::wait<0>();
    wgmma::hold(sum);
    give_back(s, last, rank, me);
}

/* ---- What is applied to whole sums ---- */

/* Whether there are any: block scales without a bias leave nothing to do. */
TRINE_DEVICE bool has_factors(const f8_product &p, const f8_scaling &scaling, bool with_bias)
{
    return !in_loop(scaling.a) || !in_loop(scaling.b) || (with_bias && p.out.bias);
}

/* Scales per tensor, of all products of a batch. */
TRINE_DEVICE bool has_one_factor(const f8_product &p, const f8_scaling &scaling, bool with_bias)
{
    return !in_loop(scaling.a) && !in_loop(scaling.b) && scaling.a.row == 0 && scaling.b.row == 0 && !scaling.batched &&
           !(with_bias && p.out.bias);
}

/* Asked for before the first product of a tile, so that they are near after the last. */
template <class Tile>
TRINE_DEVICE void prefetch_factors(const f8_product &p, const f8_scaling &scaling, const work &w, const lane_place &me)
{
    int64_t offset[2];
    const int row = w.row + me.group * 64 + me.thread;
    scaling.offsets(w.index, offset);
    if (!in_loop(scaling.a) && me.thread < 64 && row < p.m) ptx::prefetch_near(scaling.a.at(row) + offset[0]);
#pragma unroll
    for (int i = 0; i < Tile::N; i += warpgroup) {
        const int column = w.column + me.thread + i;
        if (!in_loop(scaling.b) && me.thread + i < Tile::N && column < p.n) ptx::prefetch_near(scaling.b.at(column) + offset[1]);
    }
}

/* sum = sum row column + bias, of a thread's two rows and its columns. `columns`: shared memory of the warpgroup, from which it
 * may still be storing. */
template <class Tile> TRINE_DEVICE void apply_factors(float (&sum)[Tile::N / 2], const f8_product &p, const f8_scaling &scaling,
                                                      const work &w, uint32_t columns, const lane_place &me, bool with_bias)
{
    enum { columns_a_thread = (Tile::N + warpgroup - 1) / warpgroup };
    const bool biased = with_bias && p.out.bias;
    float row[2], column[columns_a_thread], bias[columns_a_thread];
    int64_t offset[2];
    scaling.offsets(w.index, offset);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int at = w.row + me.group * 64 + me.row() + 8 * i;
        row[i] = !in_loop(scaling.a) && at < p.m ? scaling.a.at(at)[offset[0]] : 1.0f;
    }
#pragma unroll
    for (int i = 0; i < columns_a_thread; i++) {
        const int at = w.column + me.thread + warpgroup * i;
        const bool there = me.thread + warpgroup * i < Tile::N && at < p.n;
        column[i] = there && !in_loop(scaling.b) ? scaling.b.at(at)[offset[1]] : 1.0f;
        bias[i] = there && biased ? p.out.read(p.out.bias, p.out.bias_dtype, at * p.out.bias_n) : 0.0f;
    }
    if (me.thread == 0) ptx::wait_stores_read<0>();
    me.meet();
#pragma unroll
    for (int i = 0; i < columns_a_thread; i++)
        if (me.thread + warpgroup * i < Tile::N) {
            ptx::store_shared(columns + (me.thread + warpgroup * i) * 4, column[i]);
            ptx::store_shared(columns + (Tile::N + me.thread + warpgroup * i) * 4, bias[i]);
        }
    me.meet();
#pragma unroll
    for (int j = 0; j < Tile::N / 8; j++) {
        const float2 by = ptx::load_shared_two(columns + (8 * j + me.column()) * 4),
                     more = ptx::load_shared_two(columns + (Tile::N + 8 * j + me.column()) * 4);
#pragma unroll
        for (int i = 0; i < 2; i++) {
            sum[4 * j + 2 * i] = target::fma_rn(sum[4 * j + 2 * i] * row[i], by.x, more.x);
            sum[4 * j + 2 * i + 1] = target::fma_rn(sum[4 * j + 2 * i + 1] * row[i], by.y, more.y);
        }
    }
}

/* store_by_tma with as many boxes as the tile has: one meeting for all. */
template <class Tile, class D> TRINE_DEVICE void store_whole(const float (&sum)[Tile::N / 2], const CUtensorMap *map,
                                                             const schedule &s, ptx::coordinates at, uint32_t staging,
                                                             const lane_place &me, D type)
{
    if constexpr (Tile::boxes < Tile::parts) {
        store_by_tma<Tile>(sum, map, s, at, staging, me, type);
    } else {
        if (me.thread == 0) ptx::wait_stores_read<0>();
        me.meet();
#pragma unroll
        for (int i = 0; i < Tile::parts; i++) fill_box(sum + i * (part / 2), staging + i * wgmma::block_bytes, me, type);
        ptx::fence_async();
        me.meet();
        if (me.thread == 0)
#pragma unroll
            for (int i = 0; i < Tile::parts; i++) {
                ptx::store_box(map, at, s.single, staging + i * wgmma::block_bytes);
                at.inner += part;
            }
    }
}

template <class Tile> TRINE_DEVICE void store_box_of(const float (&sum)[Tile::N / 2], const maps &m, const f8_product &p,
                                                     const schedule &s, const work &w, uint32_t staging, const lane_place &me)
{
    ptx::coordinates to = {w.column, w.row + me.group * 64, {0, 0, 0}};
    if (!s.single) batch_coordinates(p, TRINE_PRODUCT_D, batch_place(p, w.index), &to);
    if (p.out.d_dtype == TRINE_F32)
        store_by_tma<Tile>(sum, &m.d, s, to, staging, me, float{});
    else if (p.out.d_dtype == TRINE_F16)
        store_whole<Tile>(sum, &m.d, s, to, staging, me, simt::f16{});
    else
        store_whole<Tile>(sum, &m.d, s, to, staging, me, simt::bf16{});
}

template <class A, class B, class Tile> TRINE_DEVICE void consume(const maps &m, const f8_product &p, const f8_scaling &scaling,
                                                                  const schedule &s, uint32_t base, uint32_t rank)
{
    const lane_place me = {int(threadIdx.x) / warpgroup, int(threadIdx.x) % warpgroup};
    const uint32_t staging = base + Tile::at_staging + me.group * Tile::staging;
    const bool with_bias = s.by_tma && s.splits == 1, one_factor = has_one_factor(p, scaling, with_bias),
               factors = !one_factor && has_factors(p, scaling, with_bias);
    ring_place<Tile> at(base);
    const bool scaled = in_loop(scaling.a) || in_loop(scaling.b);
    float sum[Tile::N / 2];
    if (one_factor && me.thread < 2) ptx::prefetch_near(me.thread ? scaling.a.data : scaling.b.data);
    for (unsigned unit = ptx::cluster_index(); unit < s.units; unit += ptx::cluster_count()) {
        ptx::barrier_wait(at.full(), at.parity);
        const int4 place = ptx::load_shared_words(place_of<Tile>(at));
        const int steps = place.w;
        work w;
        w.row = place.x;
        w.column = place.y;
        w.index = place.z;
        if (factors) prefetch_factors<Tile>(p, scaling, w, me);
        if constexpr (!Tile::promotes)
            multiply_fast<A, B, Tile>(sum, at, s, steps, rank, me);
        else if (scaled)
            multiply_promoting<A, B, Tile, true>(sum, at, s, scaling, steps, rank, me);
        else
            multiply_promoting<A, B, Tile, false>(sum, at, s, scaling, steps, rank, me);
        if (one_factor) {
            const float factor = *scaling.a.data * *scaling.b.data; /* not held: registers are few */
#pragma unroll
            for (int j = 0; j < Tile::N / 2; j++) sum[j] *= factor;
        } else if (factors) {
            apply_factors<Tile>(sum, p, scaling, w, staging, me, with_bias);
        }
        if (Tile::splits && s.splits > 1) {
            ptx::meet(all_warpgroups, Tile::multipliers);
            keep_sums<Tile>(sum, base, me);
            ptx::cluster_barrier();
            store_cluster<Tile>(p, s, w, base, rank, int(threadIdx.x));
        } else if (s.by_tma) {
            store_box_of<Tile>(sum, m, p, s, w, staging, me);
        } else {
            if (factors) me.meet(); /* the sums go where other threads may still read the factors */
            store_finished<Tile>(sum, p, w, staging, me);
        }
    }
    if (me.thread == 0) ptx::wait_stores_read<0>();
}

template <class A, class B, class Tile> __global__ void __launch_bounds__(Tile::threads, Tile::together)
    fp8_kernel(const __grid_constant__ maps m, const __grid_constant__ f8_product p, const __grid_constant__ f8_scaling scaling,
               const __grid_constant__ schedule s)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    extern __shared__ __align__(1024) unsigned char shared_of_block[];
    const uint32_t base = ptx::shared_address(shared_of_block), rank = ptx::cluster_rank();
    if (base % wgmma::pattern_bytes) __trap();
    const bool scales = Tile::promotes && (in_loop(scaling.a) || in_loop(scaling.b));
    if (threadIdx.x == Tile::multipliers) { /* on their way while the barriers are made: from memory they take a microsecond */
        ptx::prefetch_map(&m.a);
        ptx::prefetch_map(&m.b);
        if (s.by_tma) ptx::prefetch_map(&m.d);
    }
    if (threadIdx.x == 0) {
        ring_place<Tile> at(base);
        for (int i = 0; i < Tile::stages; i++, at.advance()) {
            ptx::barrier_init(at.full(), scales ? 1 + 32 : 1);
            ptx::barrier_init(at.empty(), Tile::consumers * 4 * s.share);
        }
        ptx::barrier_init_fence();
    }
    if (s.share * s.splits > 1) ptx::cluster_arrive_relaxed();
    if (threadIdx.x < Tile::multipliers) {
        ptx::take_registers<Tile::taken>();
        wait_for_ring(s);
        consume<A, B, Tile>(m, p, scaling, s, base, rank);
    } else { /* the compiler puts what stands last first: the instructions up to a block's first loads are what it waits for */
        ptx::leave_registers<Tile::left>();
        const int warp = ptx::warp_index() - Tile::multipliers / 32;
        if (warp > 0) {
            wait_for_ring(s);
            if (scales && warp == 1) load_scales<Tile>(p, scaling, s, base, rank);
        } else {
            load_tiles<Tile>(m, p, s, base, rank);
        }
        __syncwarp();
        if (Tile::splits && s.splits > 1) ptx::cluster_barrier();
    }
    /* nobody leaves while another block still reads or signals its shared memory */
    if (s.share * s.splits > 1) ptx::cluster_barrier_relaxed();
#endif
}

} // namespace sm90f8

#endif
