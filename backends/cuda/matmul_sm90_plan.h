/* How the sm90 matmul divides a product: the table of tiles, and a model of the time that chooses among them. */
#ifndef TRINE_CUDA_MATMUL_SM90_PLAN_H
#define TRINE_CUDA_MATMUL_SM90_PLAN_H

#include "backends/cuda/mma/launch.h"

namespace sm90 {

using tile_128x256 = tile<128, 256, 4, 1>;
using tile_128x128 = tile<128, 128, 6, 1>;
using tile_64x128 = tile<64, 128, 4, 2>; /* grouped products */
using tile_64x128_deep = tile<64, 128, 8, 1>;
using tile_64x64 = tile<64, 64, 12, 1>;
using tile_128x64 = tile<128, 64, 8, 1>;
using tile_128x192 = tile<128, 192, 4, 1>;

/* group_rows: rows of tiles that are worked on together. */
enum { tile_count = 6, most_splits = 8, group_rows = 16 };

/* A plan: a row of the table, blocks along M that share b, parts of K, blocks along N that share a. Parts or sharing. */
struct plan {
    int tile, share, splits, share_a = 1;
};

struct tile_row {
    int m, n, stages, together;
    double rate; /* part of the tensor cores' 2048 multiply-adds a cycle that the blocks on a multiprocessor reach */
};
static constexpr tile_row tile_table[tile_count] = {
    {128, 256, 4, 1, 0.636}, {128, 128, 6, 1, 0.795}, {64, 128, 8, 1, 0.5},
    {64, 64, 12, 1, 0.685},  {128, 64, 8, 1, 0.582},  {128, 192, 4, 1, 0.611},
};

/* What holds of a product's operands: whether it is turned (matmul_sm90_turned.h), and the lines of a tile that TMA loads in one
 * piece, so that a block's share of them is a multiple of that. */
struct operand_form {
    bool turned;
    int lines_a, lines_b;
};

/* Steps of the ring along K. What is said of times counts in steps, which have the same bytes and take the tensor cores the same
 * time in every dtype. */
inline int64_t steps_of(const trine_product &p)
{
    return simt::ceil_div(p.k * (trine_dtype_bits(p.dtype) / 8), int64_t(wgmma::line_bytes));
}

/* Whether a tile is made of whole warpgroups when the product is turned (matmul_sm90_turned.h). */
inline bool turns(int tile) { return tile_table[tile].n == 2 * tile_table[tile].m; }

/* Whether blocks may load a and b together so: whole pieces each, and no block without a tile. */
inline bool shares(const trine_product &p, const operand_form &form, const plan &how)
{
    const tile_row &t = tile_table[how.tile];
    return (how.share == 1 || (simt::ceil_div(p.m, t.m) % how.share == 0 && t.n / how.share % form.lines_b == 0)) &&
           (how.share_a == 1 || (simt::ceil_div(p.n, t.n) % how.share_a == 0 && t.m / how.share_a % form.lines_a == 0));
}

inline int64_t units_of(const trine_product &p, const plan &how)
{
    const tile_row &t = tile_table[how.tile];
    return simt::ceil_div(simt::ceil_div(p.m, t.m), how.share) * simt::ceil_div(simt::ceil_div(p.n, t.n), how.share_a) *
           p.batch.numel;
}
inline bool units_fit(const trine_product &p, const plan &how)
{
    return units_of(p, how) <= 0x7fffffff / (how.share * how.share_a * how.splits);
}

/* Cycles that a product takes, up to a factor: the numbers were fitted so that of the plans that an H100 was seen to run, a fast one
 * comes out first, for 34 products of 16 to 4096 rows. */
inline double cycles_of(const trine_product &p, const plan &how, int64_t units)
{
    const double memory_rate = 1700, l2_rate = 30, latency = 2730; /* bytes a cycle, of all and of a multiprocessor; cycles */
    const tile_row &t = tile_table[how.tile];
    const int64_t blocks = units_of(p, how) * how.share * how.share_a * how.splits;
    const int64_t rounds = simt::ceil_div(blocks, units * t.together), spread = simt::ceil_div(blocks, units);
    /* the blocks of a cluster may be put together on a multiprocessor while others are idle */
    const bool crowded = spread > t.together || (how.splits > 1 && 2 * blocks > units);
    const double busy = crowded ? t.together : double(spread);
    const double rows = double(p.m < t.m ? p.m : t.m), columns = double(p.n < t.n ? p.n : t.n);
    const double multiply = double(t.m) * t.n * 64 / 2048 / t.rate; /* a step of 16-bit terms */
    const double load = (rows / how.share_a + columns / how.share) * wgmma::line_bytes / l2_rate;
    const double together = busy * (multiply > load ? multiply : load), wait = latency / t.stages;
    const double steps = double(simt::ceil_div(steps_of(p), how.splits));
    const double m = double(p.m), n = double(p.n), k = double(p.k), batch = double(p.batch.numel);
    const double memory = double(trine_dtype_bits(p.dtype) / 8) * batch * (m * k + n * k + m * n) / memory_rate;
    const double ends = 13300 + 0.92 * t.m * t.n; /* beside a tile's steps */
    const double work = double(rounds) * (steps * (together > wait ? together : wait) + ends);
    const double warpgroups = t.m / 64; /* which add up the parts */
    const double sums = how.splits > 1 ? 958 * how.splits + (rows + t.m) * t.n * busy / (2.3 * warpgroups) : 0;
    return (work > memory ? work + 0.3 * memory : memory + 0.3 * work) + sums;
}

/* Parts of K are for tiles that leave multiprocessors idle: all parts of all tiles are worked on at once. */
inline bool splits_pay(const trine_product &p, int tile, int splits, int64_t units)
{
    if (splits == 1) return true;
    return steps_of(p) >= 4 * splits &&
           units_of(p, plan{tile, 1, splits}) <= clusters_at_once(units, splits, tile_table[tile].together);
}

inline plan make_plan(const trine_product &p, const operand_form &form, int64_t units)
{
    static const int sharing[][2] = {{2, 1}, {1, 2}, {1, 1}};
    plan best = {0, 1, 1};
    double least = 1e300;
    for (int tile = 0; tile < tile_count; tile++)
        for (int splits = 1; splits <= most_splits && splits_pay(p, tile, splits, units); splits++) {
            if ((form.turned && !turns(tile)) || (p.m <= 64 && tile_table[tile].m > 64)) continue;
            for (const auto &blocks : sharing) {
                const plan how = {tile, blocks[0], splits, blocks[1]};
                if ((splits > 1 && blocks[0] * blocks[1] > 1) || !shares(p, form, how)) continue;
                const double cycles = cycles_of(p, how, units > 0 ? units : 1);
                if (cycles >= least) continue;
                least = cycles;
                best = how;
            }
        }
    return best;
}

} // namespace sm90

#endif
