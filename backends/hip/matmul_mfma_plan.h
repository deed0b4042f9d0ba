/* What products on matrix units take, and how they are divided: the table of tiles, and a model of the time that chooses among
 * them. No card has confirmed the numbers: rates are published ones, the parts of them that tiles reach are estimates. */
#ifndef TRINE_HIP_MATMUL_MFMA_PLAN_H
#define TRINE_HIP_MATMUL_MFMA_PLAN_H

#include "backends/hip/matmul_mfma_tile.h"

namespace mfma {

/* ---- What they take ---- */

/* Makes one axis dense where it can be; the stride along an axis of one element means nothing. */
inline bool make_dense(int64_t *row, int64_t *k, int64_t rows, int64_t terms)
{
    if (*k == 1 || terms == 1) {
        *k = 1;
        return true;
    }
    if (rows == 1) *row = 1;
    return *row == 1;
}

/* Offsets inside of a tile are 32-bit numbers; a pack of eight rows may go past a line's end, into the next line. */
inline bool strides_fit(int64_t row, int64_t k, int64_t rows, int bytes)
{
    const int64_t other = k == 1 ? row : k, most = (int64_t(1) << 31) / 256 / bytes;
    return other >= 0 && other < most && (k == 1 || rows % 8 == 0 || k >= 8);
}

enum instruction { by_mfma, by_wmma };

inline bool is_arch(const trine_call *call, const char *arch) { return strcmp(call->device->props.arch, arch) == 0; }

/* Dies with a cache of their own. */
inline unsigned dies_of(const trine_call *call)
{
    enum { units_a_die = 38 }; /* of MI300 */
    return is_arch(call, "gfx942") ? unsigned(simt::ceil_div(call->device->props.compute_units, units_a_die)) : 1;
}

/* ---- How they are divided ---- */

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
    {64, 64, 4, 0.12, 0.33, 16},
};

/* Multiply-adds a cycle of a compute unit, and bytes of an element. */
struct unit_rate {
    double multiply;
    int bytes;
};

/* Of the chip's compute unit, which on RDNA is a pair. Sources: the white papers of CDNA2, CDNA3 and RDNA3. */
inline unit_rate rate_of(trine_dtype dtype, bool is_gfx942, bool is_gfx90a, bool less)
{
    if (dtype == TRINE_F32) return unit_rate{less ? 512.0 : 128.0, 4};
    if (dtype == TRINE_F16 && is_gfx90a && !less) return unit_rate{128.0, 2};
    return unit_rate{is_gfx942 ? 1024.0 : 512.0, 2};
}

/* Cycles that a product takes. */
inline double cycles_of(const trine_product &p, const tile_row &t, int splits, const unit_rate &unit, int64_t units)
{
    const double l2_rate = 64, latency = 1500, ends = 3000; /* bytes a cycle of a compute unit; cycles */
    const int64_t blocks = simt::ceil_div(p.m, t.m) * simt::ceil_div(p.n, t.n) * p.batch.numel * splits;
    const int64_t rounds = simt::ceil_div(blocks, units * t.together), share = simt::ceil_div(blocks, units);
    const double busy = share < t.together ? double(share) : double(t.together);
    const int terms = mma::halves * mma::row_bytes / unit.bytes;
    const double steps = double(simt::ceil_div(simt::ceil_div(p.k, terms), splits));
    const double part = t.alone + (t.crowded - t.alone) * (t.together > 1 ? (busy - 1) / (t.together - 1) : 0);
    const double multiply = busy * t.m * t.n * terms / (unit.multiply * part);
    const double load = busy * (t.m + t.n) * mma::halves * mma::row_bytes / l2_rate;
    const double step = multiply > load ? multiply : load;
    return double(rounds) * (steps * (step > latency ? step : latency) + ends) + simt::split_cost(p, splits, units);
}

inline plan make_plan(const trine_product &p, const tile_row *table, int count, const unit_rate &unit, int64_t units)
{
    plan best = {0, 1};
    double least = 1e300;
    for (int tile = 0; tile < count; tile++)
        for (int splits = 1; splits <= most_splits && (splits == 1 || simt::split_fits(p, 4 * splits)); splits++) {
            const double cycles = cycles_of(p, table[tile], splits, unit, units > 0 ? units : 1);
            if (cycles < least) {
                least = cycles;
                best = plan{tile, splits};
            }
        }
    return best;
}

template <class Tile> inline bool blocks_fit(const trine_product &p, const plan &how)
{
    return simt::ceil_div(p.m, Tile::M) <= 0x7fffffff / how.splits / simt::ceil_div(p.n, Tile::N);
}
template <class Tile> inline schedule schedule_of(const trine_product &p, const plan &how, int group, unsigned dies)
{
    const unsigned tiles_m = unsigned(simt::ceil_div(p.m, Tile::M)), tiles_n = unsigned(simt::ceil_div(p.n, Tile::N));
    return schedule{tiles_m, tiles_n, tiles_m * tiles_n * unsigned(how.splits), dies, unsigned(group)};
}

} // namespace mfma

#endif
