/* How the matrix-unit matmul divides a product: the table of tiles, and a model of the time that chooses among them. No card has
 * confirmed the numbers: rates are published ones, the parts of them that tiles reach are estimates. */
#ifndef TRINE_HIP_MATMUL_MFMA_PLAN_H
#define TRINE_HIP_MATMUL_MFMA_PLAN_H

#include "backends/hip/matmul_mfma_tile.h"

namespace mfma {

using tile_256x256 = tile<256, 256, 512, 1>;
using tile_128x128 = tile<128, 128, 256, 2>;
using tile_64x64 = tile<64, 64, 128, 4>;

enum { tile_count = 3, most_splits = 16 };

/* A plan: a row of the table, parts of K. */
struct plan {
    int tile, splits;
};

struct tile_row {
    int m, n, together;
    double alone, crowded; /* part of the units' rate that one block on a compute unit reaches, and as many as fit */
    int group;             /* rows of tiles that are worked on together: as many as fit a die's cache with their columns */
};
static constexpr tile_row tile_table[tile_count] = {
    {256, 256, 1, 0.80, 0.80, 4},
    {128, 128, 2, 0.45, 0.70, 8},
    {64, 64, 4, 0.15, 0.45, 16},
};

/* Multiply-adds a cycle of a compute unit, and bytes of an element. */
struct unit_rate {
    double multiply;
    int bytes;
};

/* Cycles that a product takes. */
inline double cycles_of(const trine_product &p, const plan &how, const unit_rate &unit, int64_t units)
{
    const double l2_rate = 64, latency = 1500, ends = 3000; /* bytes a cycle of a compute unit; cycles */
    const tile_row &t = tile_table[how.tile];
    const int64_t blocks = simt::ceil_div(p.m, t.m) * simt::ceil_div(p.n, t.n) * p.batch.numel * how.splits;
    const int64_t rounds = simt::ceil_div(blocks, units * t.together), share = simt::ceil_div(blocks, units);
    const double busy = share < t.together ? double(share) : double(t.together);
    const int terms = mma::halves * mma::row_bytes / unit.bytes;
    const double steps = double(simt::ceil_div(simt::ceil_div(p.k, terms), how.splits));
    const double part = t.alone + (t.crowded - t.alone) * (t.together > 1 ? (busy - 1) / (t.together - 1) : 0);
    const double multiply = busy * t.m * t.n * terms / (unit.multiply * part);
    const double load = busy * (t.m + t.n) * mma::halves * mma::row_bytes / l2_rate;
    const double step = multiply > load ? multiply : load;
    return double(rounds) * (steps * (step > latency ? step : latency) + ends) + simt::split_cost(p, how.splits, units);
}

inline plan make_plan(const trine_product &p, const unit_rate &unit, int64_t units, bool large_tile)
{
    plan best = {large_tile ? 0 : 1, 1};
    double least = 1e300;
    for (int tile = large_tile ? 0 : 1; tile < tile_count; tile++)
        for (int splits = 1; splits <= most_splits && (splits == 1 || simt::split_fits(p, 4 * splits)); splits++) {
            const plan how = {tile, splits};
            const double cycles = cycles_of(p, how, unit, units > 0 ? units : 1);
            if (cycles < least) {
                least = cycles;
                best = how;
            }
        }
    return best;
}

} // namespace mfma

#endif
