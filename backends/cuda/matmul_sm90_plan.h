/* How the sm90 matmul divides a product: the table of tiles, and a model of the time that chooses among them. */
#ifndef TRINE_CUDA_MATMUL_SM90_PLAN_H
#define TRINE_CUDA_MATMUL_SM90_PLAN_H

namespace sm90 {

using tile_128x256 = tile<128, 256, 4, 1>;
using tile_128x128 = tile<128, 128, 6, 1>;
using tile_64x128 = tile<64, 128, 4, 2>;
using tile_64x64 = tile<64, 64, 6, 2>;

enum { tile_count = 4, most_splits = 8 };

/* A plan: a row of the table, blocks that share b, parts of K. One of the last two is 1. */
struct plan {
    int tile, share, splits;
};

struct tile_row {
    int m, n, together;
    double rate; /* part of the tensor cores' 2048 multiply-adds a cycle that the blocks on a multiprocessor reach */
    double ends; /* cycles that a tile takes beside its steps */
};
static constexpr tile_row tile_table[tile_count] = {
    {128, 256, 1, 0.88, 1500},
    {128, 128, 1, 0.80, 1200},
    {64, 128, 2, 0.75, 1200},
    {64, 64, 2, 0.50, 1000},
};

/* Whether two blocks along M may load b together: it comes in two halves of whole boxes. */
inline bool shares(int tile) { return tile_table[tile].n >= 128; }

inline int64_t units_of(const trine_product &p, const plan &how)
{
    const tile_row &t = tile_table[how.tile];
    return simt::ceil_div(simt::ceil_div(p.m, t.m), how.share) * simt::ceil_div(p.n, t.n) * p.batch.numel;
}
inline bool units_fit(const trine_product &p, const plan &how) { return units_of(p, how) <= 0x7fffffff / (how.share * how.splits); }

/* Cycles that a product takes. Memory delivers 1700 bytes a cycle to the chip, L2 48 to a multiprocessor. */
inline double cycles_of(const trine_product &p, const plan &how, int64_t units)
{
    const tile_row &t = tile_table[how.tile];
    const int64_t blocks = units_of(p, how) * how.share * how.splits, slots = units * t.together;
    const int64_t rounds = simt::ceil_div(blocks, slots), busy = blocks < slots ? simt::ceil_div(blocks, units) : t.together;
    const double rows = double(p.m < t.m ? p.m : t.m), columns = double(p.n < t.n ? p.n : t.n);
    const double multiply = double(t.m) * t.n * 64 / 2048 / t.rate, load = (rows + columns / how.share) * 128 / 48;
    const double step = double(busy) * (multiply > load ? multiply : load);
    const double steps = double(simt::ceil_div(simt::ceil_div(p.k, step_terms), how.splits));
    const double bytes = 2.0 * double(p.batch.numel) * (double(p.m) * p.k + double(p.n) * p.k + double(p.m) * p.n);
    const double work = double(rounds) * (steps * step + t.ends), memory = bytes / 1700;
    return (work > memory ? work : memory) + 1500 + (how.splits > 1 ? 1000 + 150 * how.splits : 0);
}

inline plan make_plan(const trine_product &p, int64_t units)
{
    plan best = {0, 1, 1};
    double least = 1e300;
    const int64_t steps = simt::ceil_div(p.k, step_terms);
    for (int tile = 0; tile < tile_count; tile++)
        for (int splits = 1; splits <= most_splits && (splits == 1 || steps >= 4 * splits); splits++) {
            const int64_t tiles_m = simt::ceil_div(p.m, tile_table[tile].m);
            const bool share = splits == 1 && shares(tile) && tiles_m % 2 == 0;
            const plan how = {tile, share ? 2 : 1, splits};
            const double cycles = cycles_of(p, how, units > 0 ? units : 1);
            if (cycles < least) {
                least = cycles;
                best = how;
            }
        }
    return best;
}

} // namespace sm90

#endif
