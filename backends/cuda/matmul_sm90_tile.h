/* The sm90 matmul's tiles: their sizes, where things lie in shared memory, and which tile a block works on. */
#ifndef TRINE_CUDA_MATMUL_SM90_TILE_H
#define TRINE_CUDA_MATMUL_SM90_TILE_H

#include "backends/cuda/mma/tensor_map.h"
#include "backends/cuda/mma/ptx.h"
#include "backends/cuda/mma/wgmma.h"
#include "backends/simt/matmul_product.h"

namespace sm90 {

using simt::product;
using simt::product_offsets;

enum { warpgroup = 128 };

/* Terms of K that a stage of the ring holds: a line of 128 bytes. An instruction takes a fourth of them. */
template <class T> constexpr int step_terms = wgmma::elements_of_line<T>;

/* A tile of M_ x N_ outputs, made by M_ / 64 warpgroups that multiply and one warp that loads. STAGES: of the ring between them.
 * TOGETHER: blocks that fit on a multiprocessor. */
template <int M_, int N_, int STAGES, int TOGETHER> struct tile {
    enum {
        M = M_,
        N = N_,
        stages = STAGES,
        together = TOGETHER,
        consumers = M / 64,
        multipliers = consumers * warpgroup,
        /* 128 sums a thread and what is beside them: more than the registers of a multiprocessor divided by its threads. Then the
         * loading warp is a warpgroup, and gives of its registers to the others; a warp alone could not. */
        trades_registers = N * consumers >= 384,
        threads = multipliers + (trades_registers ? warpgroup : 32),
        bytes_a = M * wgmma::line_bytes,
        bytes_b = N * wgmma::line_bytes,
        bytes_stage = bytes_a + bytes_b,
        /* where a warpgroup turns its sums into lines: two boxes of 64 lines for TMA, or 64 x 32 sums */
        boxes = TOGETHER == 1 ? 2 : 1,
        staging_pitch = 32 + 8, /* floats; 8 more keep the stores free of bank conflicts */
        staging = boxes == 2 ? 2 * wgmma::block_bytes : 64 * staging_pitch * 4,
        sums_pitch = N + 8,
        /* offsets in shared memory, from a multiple of 1024 on */
        at_staging = stages * bytes_stage,
        at_barriers = at_staging + consumers * staging,
        shared = at_barriers + 2 * 8 * stages + wgmma::pattern_bytes
    };
    static_assert(M * sums_pitch * 4 <= stages * bytes_stage, "a split's sums lie where the ring was");
    static_assert(staging >= 64 * staging_pitch * 4 && staging % 1024 == 0, "the staging holds both");
};

/* What all blocks are told. A cluster is of `share` blocks whose tiles are neighbours along M and which load b together, or of
 * `splits` blocks that make one tile, each from its part of K. */
struct schedule {
    unsigned rows, columns; /* of units: a unit is a cluster's work, one tile or `share` tiles */
    unsigned units;         /* of the whole batch */
    int share, splits;
    int group;         /* rows of tiles that are worked on together */
    int steps;         /* along K */
    bool single;       /* one product: maps of two axes */
    bool by_tma;       /* d is the sum, and TMA can write it */
    bool adds = false; /* the sum is added to d */
};

struct maps {
    CUtensorMap a, b, d;
};

/* Where a block's tile begins. */
struct work {
    int64_t index; /* of the product in the batch */
    int row, column;
    int first_step, steps;
};

/* Units in groups of some rows, column by column, so that what neighbours read stays in L2. */
template <class Tile> TRINE_DEVICE work work_of(const schedule &s, unsigned unit, unsigned rank)
{
    work w;
    const unsigned inside = s.rows * s.columns;
    const unsigned index = s.single ? 0 : unit / inside;
    unsigned m, n;
    simt::tile_of_block(unit - index * inside, s.rows, s.columns, unsigned(s.group / s.share), &m, &n);
    w.index = index;
    w.row = int(m * unsigned(s.share) + (s.share > 1 ? rank : 0)) * Tile::M;
    w.column = int(n) * Tile::N;
    const unsigned split = s.splits > 1 ? rank : 0;
    w.first_step = int(int64_t(s.steps) * split / s.splits);
    w.steps = int(int64_t(s.steps) * (split + 1) / s.splits) - w.first_step;
    return w;
}

/* The batch's part of an operand's coordinates; 0 along axes that it is broadcast along. */
template <class T> TRINE_DEVICE void batch_coordinates(const product<T> &p, int operand, int64_t index, ptx::coordinates *at)
{
    const auto &walk = p.batch;
#pragma unroll
    for (int i = 0; i < 3; i++) {
        const int axis = walk.ndim - 1 - i;
        at->batch[i] = 0;
        if (axis < 0) continue;
        const int64_t outer = walk.size[axis].divide(index);
        if (walk.stride[operand][axis] != 0) at->batch[i] = int32_t(index - outer * walk.size[axis].d);
        index = outer;
    }
}

/* A place in the ring of stages. The parity turns with every round. */
template <class Tile> struct ring_place {
    uint32_t base;
    int slot = 0;
    uint32_t parity = 0;

    TRINE_DEVICE_METHOD explicit ring_place(uint32_t base_) : base(base_) {}
    TRINE_DEVICE_METHOD uint32_t a() const { return base + slot * Tile::bytes_stage; }
    TRINE_DEVICE_METHOD uint32_t b() const { return a() + Tile::bytes_a; }
    TRINE_DEVICE_METHOD uint32_t full() const { return base + Tile::at_barriers + 8 * slot; }
    TRINE_DEVICE_METHOD uint32_t empty() const { return full() + 8 * Tile::stages; }
    TRINE_DEVICE_METHOD void advance()
    {
        if (++slot == Tile::stages) {
            slot = 0;
            parity ^= 1;
        }
    }
};

} // namespace sm90

#endif
