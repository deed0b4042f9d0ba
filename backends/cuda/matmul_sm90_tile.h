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

/* What all blocks are told. A cluster is of `share` x `share_a` blocks whose tiles are neighbours: those along M load b together,
 * those along N a; and of `splits` times as many where K is in parts: as many blocks after each other make their tiles' sums over
 * one part. */
struct schedule {
    unsigned rows, columns; /* of units: a unit is a cluster's work, one tile or those of the blocks that share */
    unsigned units;         /* of the whole batch */
    int share, splits;
    int group;   /* rows of tiles that are worked on together */
    int steps;   /* along K */
    bool single; /* one product: maps of two axes */
    bool by_tma; /* d is the sum, or (adds) what it was and the sum, and TMA can write it */
    int share_a = 1;
    bool adds = false;
    /* shares are powers of two; a bit for each of share_a blocks that lie `share` apart */
    int share_log = 0, neighbours_log = 0;
    unsigned row_bits = 1;
    simt::divider32 of_product, of_group, of_row, of_last;

    /* On the host, after the rest: units lie in groups of some rows, column by column; the last group may have fewer. */
    void find_units()
    {
        while (1 << share_log < share) share_log++;
        while (1 << neighbours_log < share * share_a) neighbours_log++;
        for (int k = 1; k < share_a; k++) row_bits |= 1u << (k * share);
        unsigned most = unsigned(group / share);
        if (most > rows) most = rows;
        of_product = simt::divider32(int64_t(rows) * columns);
        of_group = simt::divider32(int64_t(most) * columns);
        of_row = simt::divider32(most);
        of_last = simt::divider32(rows % most ? rows % most : most);
    }
    /* Of a block of the cluster: its part of K, and its place among the blocks that have the same part. */
    TRINE_DEVICE_METHOD unsigned part_of(uint32_t rank) const { return rank >> neighbours_log; }
    TRINE_DEVICE_METHOD unsigned place_of(uint32_t rank) const { return rank & unsigned(share * share_a - 1); }
    /* The unit's product of the batch, and its row and column. */
    TRINE_DEVICE_METHOD unsigned place_of_unit(unsigned unit, unsigned *m, unsigned *n) const
    {
        const unsigned product = single ? 0 : unsigned(of_product.divide(unit)), part = unit - product * of_product.d;
        const unsigned in_group = unsigned(of_group.divide(part)), inside = part - in_group * of_group.d,
                       first = in_group * of_row.d;
        const simt::divider32 &by = first + of_row.d > rows ? of_last : of_row;
        *n = unsigned(by.divide(inside));
        *m = first + inside - *n * by.d;
        return product;
    }
};

/* Where a block is in its cluster, and the blocks that get its parts of a and of b, a bit each. */
struct cluster_place {
    unsigned part, i, j; /* of K, along M, along N */
    uint16_t row, column;
    TRINE_DEVICE_METHOD cluster_place(const schedule &s, uint32_t rank)
    {
        const unsigned place = s.place_of(rank), first = rank - place;
        part = s.part_of(rank);
        j = place >> s.share_log;
        i = place - (j << s.share_log);
        column = uint16_t(((1u << s.share) - 1) << (rank - i));
        row = uint16_t(s.row_bits << (first + i));
    }
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
    unsigned m, n;
    w.index = s.place_of_unit(unit, &m, &n);
    const cluster_place in(s, rank);
    w.row = int(m * unsigned(s.share) + in.i) * Tile::M;
    w.column = int(n * unsigned(s.share_a) + in.j) * Tile::N;
    w.first_step = 0;
    w.steps = s.steps;
    if (s.splits > 1) { /* K has at most 2^25 steps */
        const unsigned steps = unsigned(s.steps), splits = unsigned(s.splits);
        w.first_step = int(steps * in.part / splits);
        w.steps = int(steps * (in.part + 1) / splits) - w.first_step;
    }
    return w;
}

/* Where a product is along the batch's axes. A launch has fewer than 2^31 of them: 32-bit divisions, which are a third of the code
 * of 64-bit ones, and code that lies in the way has to come from memory before a block's first loads. */
struct batch_place {
    unsigned at[3];
    template <class T> TRINE_DEVICE_METHOD batch_place(const product<T> &p, int64_t product)
    {
        unsigned index = unsigned(product);
#pragma unroll
        for (int i = 0; i < 3; i++) {
            const int axis = p.batch.ndim - 1 - i;
            at[i] = 0;
            if (axis < 0) continue;
            const unsigned size = unsigned(p.batch.size[axis].d), outer = index / size;
            at[i] = index - outer * size;
            index = outer;
        }
    }
};

/* The batch's part of an operand's coordinates; 0 along axes that it is broadcast along. */
template <class T>
TRINE_DEVICE void batch_coordinates(const product<T> &p, int operand, const batch_place &in, ptx::coordinates *to)
{
    const auto &walk = p.batch;
#pragma unroll
    for (int i = 0; i < 3; i++) {
        const int axis = walk.ndim - 1 - i;
        to->batch[i] = axis >= 0 && walk.step[axis][operand] != 0 ? int32_t(in.at[i]) : 0;
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

/* Makes the ring's barriers, which wait for so many arrivals; by one thread. */
template <class Tile> TRINE_DEVICE void init_ring(uint32_t base, int of_full, int of_empty)
{
    ring_place<Tile> at(base);
    for (int i = 0; i < Tile::stages; i++, at.advance()) {
        ptx::barrier_init(at.full(), of_full);
        ptx::barrier_init(at.empty(), of_empty);
    }
    ptx::barrier_init_fence();
}

/* Every warp of the cluster, once: until the ring's barriers are made. In a cluster the kernel has arrived before. */
TRINE_DEVICE void wait_for_ring(const schedule &s)
{
    if (s.share * s.share_a * s.splits > 1)
        ptx::cluster_wait();
    else
        __syncthreads();
}

} // namespace sm90

#endif
