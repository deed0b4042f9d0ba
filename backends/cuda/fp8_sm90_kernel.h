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

#include "backends/cuda/fp8_sm90_epilogue.h"

namespace sm90f8 {

/* ---- The multiplying side ---- */

/* A stage may be loaded again when every warp that it was loaded for has read it; lane i of each tells block i. */
TRINE_DEVICE void give_back(const schedule &s, uint32_t empty, uint32_t rank, const lane_place &me)
{
    if (me.lane() < s.share) ptx::barrier_arrive(empty, s.share > 1 ? me.lane() : rank);
}

/* A stage as wgmma is told of it. */
struct stage_operands {
    uint64_t a, b;
    template <class Tile> TRINE_DEVICE_METHOD stage_operands(const ring_place<Tile> &at, const lane_place &me)
        : a(wgmma::describe(at.a() + me.group * wgmma::block_bytes)), b(wgmma::describe(at.b()))
    {
    }
};

/* A stage's product, or that of `columns` of it from `first` on, added to d or in its place; runs on. */
template <class A, class B, int columns>
TRINE_DEVICE void start_stage(float (&d)[columns / 2], const stage_operands &of, int first, bool add)
{
    const uint64_t b = of.b + (first * wgmma::line_bytes >> 4);
    wgmma::fence();
#pragma unroll
    for (int k = 0; k < terms / wgmma_terms; k++)
        wgmma::multiply_f8<A, B, columns>::run(d, of.a + k * wgmma::next_terms<wgmma::along_k>,
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

/* Two sums in a register pair, the second one low. A multiply-add reads three registers, and where two of them lie in one bank, as
 * sums do that are numbered like a stage's, it takes time from the tensor cores. Pairs are aligned, so these lie the other way. */
TRINE_DEVICE void unpack(uint64_t pair, float *first, float *second)
{
    asm("mov.b64 {%0, %1}, %2;" : "=f"(*second), "=f"(*first) : "l"(pair));
}
TRINE_DEVICE uint64_t pack(float first, float second)
{
    uint64_t pair;
    asm("mov.b64 %0, {%1, %2};" : "=l"(pair) : "f"(second), "f"(first));
    return pair;
}

/* scaled: by scales of the stage. The next stage is waited for while the last part of this one is multiplied. */
template <class A, class B, class Tile, bool scaled>
TRINE_DEVICE void multiply_promoting(float (&sum)[Tile::N / 2], ring_place<Tile> &at, const schedule &s,
                                     const f8_scaling &scaling, int steps, uint32_t rank, const lane_place &me)
{
    constexpr int chunk = Tile::chunk;
    float stage[chunk / 2];
    uint64_t pair[scaled ? Tile::N / 4 : 1] = {};
    chunk_scales<Tile> scales;
    stage_operands of(at, me);
#pragma unroll
    for (int i = 0; i < Tile::N / 2 && !scaled; i++) sum[i] = 0;
#pragma unroll 1
    for (int i = 0; i < steps; i++) {
        const ring_place<Tile> now = at;
        at.advance();
#pragma unroll
        for (int first = 0; first < Tile::N; first += chunk) {
            const bool last = first + chunk == Tile::N;
            wgmma::hold(stage);
            start_stage<A, B, chunk>(stage, of, first, false);
            if constexpr (scaled) scales.load(scaling, now.base + Tile::at_scales + now.slot * Tile::bytes_scales, me, first);
            if (last) of = stage_operands(at, me);
            if (last && i + 1 < steps) ptx::barrier_wait(at.full(), at.parity);
            wgmma::wait<0>();
            wgmma::hold(stage);
            if (last) give_back(s, now.empty(), rank, me);
#pragma unroll
            for (int j = 0; j < chunk / 2; j += 2) {
                if constexpr (scaled) {
                    uint64_t &two = pair[first / 4 + j / 2];
                    const float by = scales.by[j / (part / 2)][j % 4 / 2];
                    float x, y;
                    unpack(two, &x, &y);
                    two = pack(target::fma_rn(by, stage[j], x), target::fma_rn(by, stage[j + 1], y));
                } else {
                    sum[first / 2 + j] += stage[j];
                    sum[first / 2 + j + 1] += stage[j + 1];
                }
            }
        }
    }
    if constexpr (scaled)
#pragma unroll
        for (int i = 0; i < Tile::N / 4; i++) unpack(pair[i], &sum[2 * i], &sum[2 * i + 1]);
}

/* beside: as of multiply_tile. */
template <class A, class B, class Tile, class F = nothing_beside>
TRINE_DEVICE void multiply_fast(float (&sum)[Tile::N / 2], ring_place<Tile> &at, const schedule &s, int steps, uint32_t rank,
                                const lane_place &me, const F &beside = F())
{
    uint32_t last = 0;
    wgmma::hold(sum);
#pragma unroll 1
    for (int i = 0; i < steps; i++) {
        ptx::barrier_wait(at.full(), at.parity);
        start_stage<A, B, Tile::N>(sum, stage_operands(at, me), 0, i > 0);
        beside(i);
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

/* ---- Tile by tile ---- */

/* The tile that begins at `at`, once its first stage is there. */
template <class Tile> TRINE_DEVICE work next_tile(const ring_place<Tile> &at)
{
    ptx::barrier_wait(at.full(), at.parity);
    const int4 place = ptx::load_shared_words(place_of<Tile>(at));
    return work{place.z, place.x, place.y, 0, place.w};
}

template <class A, class B, class Tile> TRINE_DEVICE void consume(const maps &m, const f8_product &p, const f8_scaling &scaling,
                                                                  const schedule &s, uint32_t base, uint32_t rank)
{
    const lane_place me = {ptx::warp_index() / 4, int(threadIdx.x) % warpgroup};
    const uint32_t staging = base + Tile::at_staging + me.group * Tile::staging;
    const tile_factors<Tile> factors(p, scaling, me, s.by_tma && s.splits == 1);
    const bool scaled = in_loop(scaling.a) || in_loop(scaling.b);
    ring_place<Tile> at(base);
    float sum[Tile::N / 2];
    for (unsigned unit = ptx::cluster_index(); unit < s.units; unit += ptx::cluster_count()) {
        const work w = next_tile<Tile>(at);
        factors.begin(p, scaling, w, staging, me);
        if constexpr (!Tile::promotes)
            multiply_fast<A, B, Tile>(sum, at, s, w.steps, rank, me);
        else if (scaled)
            multiply_promoting<A, B, Tile, true>(sum, at, s, scaling, w.steps, rank, me);
        else
            multiply_promoting<A, B, Tile, false>(sum, at, s, scaling, w.steps, rank, me);
        factors.apply(sum, p, scaling, w, staging, me);
        if (Tile::splits && s.splits > 1) {
            ptx::meet(all_warpgroups, Tile::multipliers);
            keep_sums<Tile>(sum, base, me);
            ptx::cluster_barrier();
            store_cluster<Tile>(p, s, w, base, rank, int(threadIdx.x));
        } else if (s.by_tma) {
            store_box_of<Tile>(sum, m, p, s, w, staging, me);
        } else {
            if (factors.any) me.meet(); /* the sums go where other threads may still read the factors */
            store_finished<Tile>(sum, p, w, staging, me);
        }
    }
    if (me.thread == 0) ptx::wait_stores_read<0>();
}

/* As matmul's: the tensor cores add up all of K, and 16-bit tiles are stored while they have the next one. */
template <class A, class B, class Tile> TRINE_DEVICE void
consume_kept(const maps &m, const f8_product &p, const f8_scaling &scaling, const schedule &s, uint32_t base, uint32_t rank)
{
    const lane_place me = {ptx::warp_index() / 4, int(threadIdx.x) % warpgroup};
    const uint32_t staging = base + Tile::at_staging + me.group * Tile::staging;
    const tile_factors<Tile> factors(p, scaling, me, true);
    ring_place<Tile> at(base);
    float sum[Tile::N / 2];
    kept_tile<Tile> kept;
    for (unsigned unit = ptx::cluster_index(); unit < s.units; unit += ptx::cluster_count()) {
        const work w = next_tile<Tile>(at);
        multiply_fast<A, B, Tile>(sum, at, s, w.steps, rank, me, [&](int i) {
            kept.store(i, &m.d, s, staging, me);
            if (i == 0) factors.begin(p, scaling, w, staging, me); /* the warpgroup has met since it read the last tile's */
        });
        kept.store_rest(&m.d, s, staging, me);
        if (factors.any && !factors.copied && kept.stores) ptx::wait_stores_read<0>(); /* the factors lie there, too */
        factors.apply(sum, p, scaling, w, staging, me);
        ptx::coordinates to = {w.column, w.row + me.group * 64, {0, 0, 0}};
        if (!s.single) batch_coordinates(p, TRINE_PRODUCT_D, batch_place(p, w.index), &to);
        if (p.out.d_dtype == TRINE_F16)
            kept.keep(sum, to, simt::f16{});
        else
            kept.keep(sum, to, simt::bf16{});
    }
    kept.store_rest(&m.d, s, staging, me);
    if (kept.stores) ptx::wait_stores_read<0>();
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
    if (threadIdx.x == 0) init_ring<Tile>(base, scales ? 1 + 32 : 1, Tile::consumers * 4 * s.share);
    if (s.share * s.splits > 1) ptx::cluster_arrive_relaxed();
    if (threadIdx.x < Tile::multipliers) {
        ptx::take_registers<Tile::taken>();
        wait_for_ring(s);
        if constexpr (Tile::promotes) {
            consume<A, B, Tile>(m, p, scaling, s, base, rank);
        } else {
            if (s.by_tma && p.out.d_dtype != TRINE_F32)
                consume_kept<A, B, Tile>(m, p, scaling, s, base, rank);
            else
                consume<A, B, Tile>(m, p, scaling, s, base, rank);
        }
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
