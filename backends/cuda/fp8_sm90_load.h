/* The sm90 fp8 product's tiles, and the side of a block that loads them and their scales. */
#ifndef TRINE_CUDA_FP8_SM90_LOAD_H
#define TRINE_CUDA_FP8_SM90_LOAD_H

#include "backends/cuda/matmul_sm90_epilogue.h"
#include "backends/simt/fp8_product.h"

namespace sm90f8 {

using namespace sm90;
using simt::f8_any;
using simt::f8_scaling;
using f8_product = simt::product<f8_any>;

/* part: columns, all of one block scale. all_warpgroups: a barrier that no warpgroup has to itself. */
enum { terms = 128, wgmma_terms = 32, part = 64, all_warpgroups = 5 };

/* PROMOTES: sums of 128 terms are added up outside of the tensor cores, CHUNK columns at a time. BOXES: of 64 columns, for the
 * way out. LEFT: registers of the loading side's threads; the others take the rest. */
template <int M_, int N_, int STAGES, int TOGETHER, int BOXES, int LEFT, bool PROMOTES, int CHUNK = N_> struct f8_tile {
    enum {
        M = M_,
        N = N_,
        stages = STAGES,
        together = TOGETHER,
        promotes = PROMOTES,
        chunk = CHUNK,
        splits = M_ * N_ <= 128 * 128, /* of K; beside more sums, adding parts up lacks registers */
        consumers = M / 64,
        multipliers = consumers * warpgroup,
        threads = multipliers + warpgroup,
        left = LEFT,
        taken = TOGETHER > 1 ? 256 - LEFT : (504 - LEFT) / 2,
        parts = N / part,
        bytes_a = M * wgmma::line_bytes,
        bytes_b = N * wgmma::line_bytes,
        bytes_stage = bytes_a + bytes_b,
        boxes = BOXES,
        staging_pitch = 32 + 8,
        staging = BOXES * wgmma::block_bytes > 64 * staging_pitch * 4 ? BOXES *wgmma::block_bytes : 64 * staging_pitch * 4,
        sums_pitch = N + 8,
        bytes_scales = PROMOTES ? (M + 8) * 4 : 0, /* a stage's: of the rows, then of the parts */
        bytes_factors = (64 + N) * 4,              /* a warpgroup's: of its rows, then of the columns */
        at_staging = stages * bytes_stage,
        at_scales = at_staging + consumers * staging,
        at_factors = at_scales, /* a product has one or the other */
        at_places =
            at_scales + (stages * bytes_scales > consumers * bytes_factors ? stages * bytes_scales : consumers * bytes_factors),
        at_barriers = at_places + stages * 16,
        shared = at_barriers + 2 * 8 * stages
    };
    static_assert(M * sums_pitch * 4 <= stages * bytes_stage, "a split's sums lie where the ring was");
    static_assert(bytes_stage % 1024 == 0 && staging % 1024 == 0, "patterns are aligned");
    static_assert(shared * together <= 227 * 1024, "shared memory of a multiprocessor");
};

/* Scales that change along k are the loop's, others the epilogue's. */
TRINE_DEVICE bool in_loop(const simt::operand_scale &s) { return s.k_step != 0; }

/* As work_of, where products of steps and parts have 32 bits. */
template <class Tile> TRINE_DEVICE work tile_of(const schedule &s, unsigned unit, unsigned rank)
{
    work w;
    unsigned m, n;
    w.index = s.place_of_unit(unit, &m, &n);
    w.row = int(m * unsigned(s.share) + (s.share > 1 ? rank : 0)) * Tile::M;
    w.column = int(n) * Tile::N;
    w.first_step = 0;
    w.steps = s.steps;
    if (Tile::splits && s.splits > 1) {
        w.first_step = int(unsigned(s.steps) * rank / unsigned(s.splits));
        w.steps = int(unsigned(s.steps) * (rank + 1) / unsigned(s.splits)) - w.first_step;
    }
    return w;
}

/* Where a tile is takes some divisions to find: the loading thread does that ahead of time, and puts it beside the tile's first
 * stage, whose barrier hands it over. */
template <class Tile> TRINE_DEVICE uint32_t place_of(const ring_place<Tile> &at)
{
    return at.base + Tile::at_places + at.slot * 16;
}

/* ---- The loading side ---- */

/* One warp's loop: keeps the ring full. All lanes go through it, one starts the copies (ptx::warp_index). */
template <class Tile>
TRINE_DEVICE void load_tiles(const maps &m, const f8_product &p, const schedule &s, uint32_t base, uint32_t rank)
{
    const bool leads = ptx::elected();
    ring_place<Tile> at(base);
    ptx::coordinates from_a = {}, from_b = {};
    const int columns = s.share > 1 ? Tile::N / 2 : Tile::N, first = s.share > 1 ? int(rank) * columns : 0;
    unsigned unit = ptx::cluster_index();
    work w = tile_of<Tile>(s, unit, rank); /* no cluster is without a unit */
    asm volatile("" : "+r"(w.row), "+r"(w.column), "+r"(w.first_step), "+r"(w.steps)::"memory");
    wait_for_ring(s);
    for (; unit < s.units; unit += ptx::cluster_count(), w = tile_of<Tile>(s, unit, rank)) {
        if (!s.single) {
            const batch_place place(p, w.index);
            batch_coordinates(p, TRINE_PRODUCT_A, place, &from_a);
            batch_coordinates(p, TRINE_PRODUCT_B, place, &from_b);
        }
        from_a.outer = w.row;
        from_b.outer = w.column + first;
#pragma unroll 1
        for (int i = 0; i < w.steps; i++) {
            from_a.inner = from_b.inner = (w.first_step + i) * terms;
            ptx::barrier_wait(at.empty(), at.parity ^ 1);
            if (leads) {
                if (i == 0) ptx::store_shared(place_of<Tile>(at), int4{w.row, w.column, int(w.index), w.steps});
                ptx::barrier_expect(at.full(), Tile::bytes_stage);
                ptx::load_box(at.a(), &m.a, from_a, s.single, at.full());
                if (s.share > 1)
                    ptx::load_box_shared(at.b() + first * wgmma::line_bytes, &m.b, from_b, s.single, at.full(), 3);
                else
                    ptx::load_box(at.b(), &m.b, from_b, s.single, at.full());
            }
            at.advance();
        }
    }
}

/* One warp: the scales of a tile's stages. */
template <class Tile>
TRINE_DEVICE void load_tile_scales(ring_place<Tile> &at, const f8_product &p, const f8_scaling &scaling, const work &w)
{
    constexpr int rows = Tile::M / 32;
    const int lane = int(threadIdx.x) % 32;
    int64_t offset[2];
    scaling.offsets(w.index, offset);
    const int column = w.column + lane * part;
    const bool of_b = in_loop(scaling.b) && lane < Tile::parts, b_there = of_b && column < p.n;
    const float *from_b = b_there ? scaling.b.at(column) + offset[1] + w.first_step * scaling.b.k_step : scaling.b.data;
    /* a tile's rows are one each, or lie in one block */
    const float *from = scaling.a.at(w.row + lane < p.m ? w.row + lane : 0) + offset[0] + w.first_step * scaling.a.k_step;
    const int inside = (p.m - w.row - lane + 31) / 32;
    const int64_t rows_apart = scaling.a.row_block == 1 ? 32 * scaling.a.row : 0;
#pragma unroll 1
    for (int step = 0; step < w.steps; step++) {
        const uint32_t to = at.base + Tile::at_scales + at.slot * Tile::bytes_scales;
        ptx::barrier_wait(at.empty(), at.parity ^ 1);
        if (in_loop(scaling.a)) {
#pragma unroll
            for (int i = 0; i < rows; i++) ptx::copy_word(to + (lane + 32 * i) * 4, from + i * rows_apart, i < inside);
            from += scaling.a.k_step;
        }
        if (of_b) {
            ptx::copy_word(to + (Tile::M + lane) * 4, from_b, b_there);
            from_b += b_there ? scaling.b.k_step : 0;
        }
        ptx::barrier_arrive_after_copies(at.full());
        at.advance();
    }
}

/* The scales of every stage. */
template <class Tile>
TRINE_DEVICE void load_scales(const f8_product &p, const f8_scaling &scaling, const schedule &s, uint32_t base, uint32_t rank)
{
    ring_place<Tile> at(base);
    for (unsigned unit = ptx::cluster_index(); unit < s.units; unit += ptx::cluster_count())
        load_tile_scales<Tile>(at, p, scaling, tile_of<Tile>(s, unit, rank));
}

} // namespace sm90f8

#endif
