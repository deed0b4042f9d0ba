/* The matrix-unit matmul's tiles, and which tile a block works on. The kernels are the same for MFMA and WMMA. */
#ifndef TRINE_HIP_MATMUL_MFMA_TILE_H
#define TRINE_HIP_MATMUL_MFMA_TILE_H

#include "backends/hip/mma/operand.h"
#include "backends/simt/matmul_split.h"

namespace mfma {

using mma::uniform;
using simt::product;
using simt::product_offsets;

/* M_ x N_ outputs, made by THREADS threads, whatever the wave size. TOGETHER: blocks that a compute unit has room for. WAVE_ROWS:
 * rows of waves. */
template <int M_, int N_, int THREADS, int TOGETHER, int WAVE_ROWS = 2> struct tile {
    enum {
        M = M_,
        N = N_,
        threads = THREADS,
        waves = THREADS / mma::wave,
        wave_columns = waves / WAVE_ROWS, /* of waves */
        rows = M / WAVE_ROWS / 16,        /* of a wave, in tiles of 16 */
        columns = N / wave_columns / 16,
        waves_a_simd = TOGETHER * waves / 4,
        /* two groups of waves, one on each SIMD's either place, of which one multiplies while the other moves data */
        together = TOGETHER,
        ping_pong = TOGETHER == 1,
        bytes_a = M * mma::row_bytes,
        bytes_half = (M + N) * mma::row_bytes,
        shared = mma::halves * bytes_half
    };
};

/* What all blocks are told. */
struct schedule {
    unsigned tiles_m, tiles_n, blocks; /* blocks: of one product */
    unsigned xcds;                     /* dies with a cache of their own, which take blocks in turn */
    unsigned group;                    /* rows of tiles that are worked on together */
};

/* The block's number such that each die has a run of neighbours, of `blocks` that there are; as many or more where there is none
 * for it. */
TRINE_DEVICE unsigned block_of_die(unsigned xcds, unsigned blocks)
{
    const unsigned id = target::block_x(), die = uniform(id % xcds), each = uniform(blocks / xcds), more = blocks - each * xcds;
    const unsigned inside = uniform(id / xcds), own = each + (die < more);
    return inside < own ? die * each + (die < more ? die : more) + inside : blocks;
}

/* Where a block's tile begins. */
struct work {
    simt::split_place part;
    int64_t row, column;
    int64_t first_k, terms;
};

template <class Tile, class E>
TRINE_DEVICE work work_of_block(const product<E> &p, const schedule &s, const simt::split_sink &sink)
{
    const unsigned id = block_of_die(s.xcds, target::grid_x()), index = uniform(id / s.blocks), inside = id - index * s.blocks;
    const unsigned tiles = s.tiles_m * s.tiles_n, split = uniform(inside / tiles);
    unsigned tile_m, tile_n;
    simt::tile_of_block(inside - split * tiles, s.tiles_m, s.tiles_n, s.group, &tile_m, &tile_n);
    work w;
    w.part = simt::split_place{p.first + index, split};
    w.row = int64_t(uniform(tile_m)) * Tile::M;
    w.column = int64_t(uniform(tile_n)) * Tile::N;
    w.first_k = split * sink.terms;
    w.terms = p.k - w.first_k < sink.terms ? p.k - w.first_k : sink.terms;
    return w;
}

} // namespace mfma

#endif
