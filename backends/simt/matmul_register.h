/* The top rung of the ladder: register_tiled. Its kernel, and the parts that other products build theirs from; what launches it is
 * in matmul_register_run.h, for matmul alone.
 *
 * A block makes a large tile of outputs from tiles of a and b in shared memory, 8 terms at a time; a thread makes 8 x 8 (or 8 x
 * 4) of them in registers. For 64 multiply-adds it reads 16 numbers from shared memory, in four loads of 16 bytes: what is left
 * is bound by the rate of multiply-adds. The tiles are double-buffered: the next one is on its way from memory while this one is
 * computed, and one barrier a tile is enough. a lies transposed in shared memory, so that a thread's rows are neighbours, as its
 * columns are.
 *
 * Small products don't fill a device with large tiles. They get smaller tiles, and sums that are split among blocks (split-K):
 * the parts are added in a fixed order by a second kernel, so that the bits don't depend on timing. A model of the time
 * chooses. */
#ifndef TRINE_SIMT_MATMUL_REGISTER_H
#define TRINE_SIMT_MATMUL_REGISTER_H

#include "backends/simt/matmul_split.h"
#include "backends/simt/matmul_tile.h"

namespace simt {

/* A block's tile: BM x BN outputs, TM x TN a thread. Threads come in patches of 4 x 8, in which two rows of threads alternate:
 * eight neighbours then ask shared memory for two packs of a and four of b. */
template <int BM_, int BN_, int TM_, int TN_, int together_> struct register_tile {
    enum { BM = BM_, BN = BN_, BK = 8, TM = TM_, TN = TN_ };
    enum { threads_m = BM / TM, threads_n = BN / TN, threads = threads_m * threads_n };
    enum { together = together_ }; /* blocks that a compute unit has room for */
    enum { patch_m = 4, patch_n = 8, patch = patch_m * patch_n };
    enum { tile_a = BK * tile_pitch<BM>, tile_b = BK * tile_pitch<BN>, tiles = tile_a + tile_b }; /* floats */
    enum { staged = threads_m * 2 * BN }; /* what the epilogue has in shared memory at a time */
    enum { shared = 2 * tiles > staged ? 2 * tiles : staged };
};
using large_tile = register_tile<128, 128, 16, 8, 2>;
using small_tile = register_tile<64, 64, 8, 4, 4>;

/* A thread's outputs: packs of 4 x 4, spread over the tile. `m`, `n`: the thread's place among the block's. */
template <class Tile> struct register_thread {
    int m, n;
    TRINE_DEVICE_METHOD register_thread()
    {
        const int t = target::thread_x(), patch = t / Tile::patch, lane = t % Tile::patch,
                  patches_n = Tile::threads_n / Tile::patch_n;
        m = patch / patches_n * Tile::patch_m + lane / (2 * Tile::patch_n) * 2 + lane % 2;
        n = patch % patches_n * Tile::patch_n + lane / 2 % Tile::patch_n;
    }
    /* First row (column) of the thread's pack g. */
    TRINE_DEVICE_METHOD int row(int g) const { return m * 4 + g * (Tile::threads_m * 4); }
    TRINE_DEVICE_METHOD int column(int g) const { return n * 4 + g * (Tile::threads_n * 4); }
};

template <class Tile> TRINE_DEVICE void multiply_tile(float (&sum)[Tile::TM][Tile::TN], const float *tile_a, const float *tile_b,
                                                      const register_thread<Tile> &me)
{
#pragma unroll
    for (int k = 0; k < Tile::BK; k++) {
        pack<float, 4> a[Tile::TM / 4], b[Tile::TN / 4];
#pragma unroll
        for (int g = 0; g < Tile::TM / 4; g++)
            a[g] = *reinterpret_cast<const pack<float, 4> *>(tile_a + k * tile_pitch<Tile::BM> + me.row(g));
#pragma unroll
        for (int g = 0; g < Tile::TN / 4; g++)
            b[g] = *reinterpret_cast<const pack<float, 4> *>(tile_b + k * tile_pitch<Tile::BN> + me.column(g));
#pragma unroll
        for (int i = 0; i < Tile::TM; i++)
#pragma unroll
            for (int j = 0; j < Tile::TN; j++) sum[i][j] = target::fma_rn(a[i / 4].at[i % 4], b[j / 4].at[j % 4], sum[i][j]);
    }
}

/* Brings two rows of every thread's pack of 4 into shared memory, so that the epilogue has whole rows of the tile. `round` counts
 * them through. */
template <class Tile>
TRINE_DEVICE void stage_rows(float *staged, const float (&sum)[Tile::TM][Tile::TN], int round, const register_thread<Tile> &me)
{
#pragma unroll
    for (int r = 0; r < Tile::TM / 2; r++) {
        if (r != round) continue;
#pragma unroll
        for (int i = 0; i < 2; i++)
#pragma unroll
            for (int g = 0; g < Tile::TN / 4; g++) {
                pack<float, 4> part;
#pragma unroll
                for (int j = 0; j < 4; j++) part.at[j] = sum[2 * r + i][4 * g + j];
                *reinterpret_cast<pack<float, 4> *>(staged + (2 * me.m + i) * Tile::BN + me.column(g)) = part;
            }
    }
}

/* Calls f(element, row, column) for every V-th of the staged elements that the product has; the block's threads share them. */
template <class Tile, int V, class F>
TRINE_DEVICE void each_staged(int round, int64_t first_row, int64_t first_column, int64_t rows, int64_t columns, F f)
{
#pragma unroll 1
    for (int i = target::thread_x() * V; i < Tile::staged; i += Tile::threads * V) {
        const int staged_row = i / Tile::BN;
        const int64_t row = first_row + round / 2 * (Tile::threads_m * 4) + staged_row / 2 * 4 + round % 2 * 2 + staged_row % 2;
        const int64_t column = first_column + i % Tile::BN;
        if (row < rows && column < columns) f(i, row, column);
    }
}

/* The staged sums on their way to memory, V columns a thread at a time. P: a product, or what has its sizes, epilogue and
 * offsets; Sink: where parts go. */
template <class Tile, int V, class P, class Sink>
TRINE_DEVICE void write_staged(const float *staged, int round, int64_t first_row, int64_t first_column, const P &p,
                               const Sink &sink, const product_offsets &at, const split_place &part)
{
    each_staged<Tile, V>(round, first_row, first_column, p.m, p.n, [&](int i, int64_t row, int64_t column) {
        const pack<float, V> values = *reinterpret_cast<const pack<float, V> *>(staged + i);
        if (sink.parts)
            sink.store(values, p, part, row, column);
        else
            p.out.put(values, row, column, at);
    });
}

/* The epilogue: the block's sums in rounds through shared memory. What there is to finish is finished there. */
template <class Tile, class P, class Sink>
TRINE_DEVICE void write_tile(float *staged, const float (&sum)[Tile::TM][Tile::TN], const register_thread<Tile> &me,
                             int64_t first_row, int64_t first_column, const P &p, const Sink &sink, const split_place &part)
{
    const product_offsets at = p.offsets(part.index);
    const bool finish = !sink.parts && !p.out.plain(), packs = sink.parts ? sink.packs : p.out.d_packs;
#pragma unroll 1
    for (int round = 0; round < Tile::TM / 2; round++) {
        stage_rows<Tile>(staged, sum, round, me);
        target::barrier();
        if (finish) {
            each_staged<Tile, 1>(round, first_row, first_column, p.m, p.n, [&](int i, int64_t row, int64_t column) {
                staged[i] = p.out.finish(staged[i], row, column, at);
            });
            target::barrier();
        }
        if (packs)
            write_staged<Tile, 4>(staged, round, first_row, first_column, p, sink, at, part);
        else
            write_staged<Tile, 1>(staged, round, first_row, first_column, p, sink, at, part);
        target::barrier();
    }
}

/* The block's sums over `terms` terms from first_k on, more than none; rows: the first that the operand lacks. */
template <class T, class Tile, int V, tile_axis A, tile_axis B>
TRINE_DEVICE void sum_tile(float (&sum)[Tile::TM][Tile::TN], float *shared, const register_thread<Tile> &me, const product<T> &p,
                           const product_offsets &at, int64_t first_row, int64_t rows, int64_t first_column, int64_t first_k,
                           int64_t terms)
{
    tile_loader<T, Tile::BM, Tile::BK, Tile::threads, V, A> a(p.a + at.a, p.a_m, p.a_k, first_row, rows, first_k);
    tile_loader<T, Tile::BN, Tile::BK, Tile::threads, V, B> b(p.b + at.b, p.b_n, p.b_k, first_column, p.n, first_k);
    /* the first tile takes what does not fill one, so that the others need not look */
    const int some = int((terms - 1) % Tile::BK) + 1;
    int now = 0;
    a.load_some(some);
    b.load_some(some);
    a.store(shared);
    b.store(shared + Tile::tile_a);
    target::barrier();
#pragma unroll 1
    for (int64_t left = terms - some; left > 0; left -= Tile::BK) {
        const int next = Tile::tiles - now;
        a.load();
        b.load();
        multiply_tile<Tile>(sum, shared + now, shared + now + Tile::tile_a, me);
        a.store(shared + next);
        b.store(shared + next + Tile::tile_a);
        target::barrier();
        now = next;
    }
    multiply_tile<Tile>(sum, shared + now, shared + now + Tile::tile_a, me);
    target::barrier();
}

/* V = 4 reads both operands in packs along their dense axes. V = 1 needs more registers than two blocks have. */
template <class T, class Tile, int V, tile_axis A, tile_axis B> TRINE_KERNEL_BLOCKS(Tile::threads, V == 1 ? 1 : Tile::together)
register_tiled_kernel(product<T> p, unsigned tiles_m, unsigned tiles_n, unsigned blocks, split_sink sink)
{
    alignas(16) TRINE_SHARED float shared[Tile::shared];
    const block_place place = place_of_block(p, blocks);
    const unsigned split = place.part / (tiles_m * tiles_n);
    unsigned tile_m, tile_n;
    tile_of_block(place.part - split * (tiles_m * tiles_n), tiles_m, tiles_n, 8, &tile_m, &tile_n);
    const int64_t first_row = int64_t(tile_m) * Tile::BM, first_column = int64_t(tile_n) * Tile::BN;
    const int64_t first_k = split * sink.terms, terms = p.k - first_k < sink.terms ? p.k - first_k : sink.terms;

    const register_thread<Tile> me;
    float sum[Tile::TM][Tile::TN] = {};
    if (terms > 0)
        sum_tile<T, Tile, V, A, B>(sum, shared, me, p, p.offsets(place.index), first_row, p.m, first_column, first_k, terms);

    write_tile<Tile>(shared, sum, me, first_row, first_column, p, sink, split_place{place.index, split});
}

/* ---- Host ---- */

/* How a product is divided: tile size and splits of K. cost: cycles. */
struct register_plan {
    bool large;
    int64_t splits;
    double cost;
};

/* The time that the busiest of the compute units takes. It starts 128 multiply-adds a cycle, of which a tile reaches the part
 * `efficiency` with very many threads, half of that with 128 and four fifths with 512. The split's sums go through memory. */
template <class Tile>
inline void consider_tile(register_plan *best, const trine_call *call, const trine_product &p, bool large, double efficiency)
{
    const int64_t units = call->device->props.compute_units > 0 ? call->device->props.compute_units : 1;
    const int64_t tiles = ceil_div(p.m, Tile::BM) * ceil_div(p.n, Tile::BN) * p.batch.numel;
    for (int64_t splits = 1; splits <= split_most; splits *= 2) {
        if (splits > 1 && !split_fits(p, splits)) break;
        const int64_t share = ceil_div(tiles * splits, units),
                      together = share < Tile::together ? share : int64_t(Tile::together);
        const double groups = double(together * Tile::threads) / 128, rate = 128 * efficiency * groups / (groups + 1);
        const double terms = double(ceil_div(p.k, splits) + 4 * Tile::BK); /* what a block takes to begin and to end */
        const double cost = double(share) * Tile::BM * Tile::BN * terms / rate + split_cost(p, splits, units);
        if (cost < best->cost) *best = register_plan{large, splits, cost};
    }
}

inline register_plan plan_register_tiled(const trine_call *call, const trine_product &p)
{
    register_plan best = {true, 1, 1e300};
    consider_tile<large_tile>(&best, call, p, true, 1.06);
    consider_tile<small_tile>(&best, call, p, false, 0.85);
    return best;
}

/* How an operand may be read: along which axis, and whether in packs of 4. */
struct operand_way {
    tile_axis axis;
    bool packs;
};
template <class T> inline operand_way way_of_a(const trine_product &p)
{
    if (p.a_k == 1) return {tile_along_k, operand_packs<4, T>(p, TRINE_PRODUCT_A, p.a, p.a_k, p.k, p.a_m)};
    return {tile_along_rows, operand_packs<4, T>(p, TRINE_PRODUCT_A, p.a, p.a_m, p.m, p.a_k)};
}
template <class T> inline operand_way way_of_b(const trine_product &p)
{
    if (p.b_k == 1) return {tile_along_k, operand_packs<4, T>(p, TRINE_PRODUCT_B, p.b, p.b_k, p.k, p.b_n)};
    return {tile_along_rows, operand_packs<4, T>(p, TRINE_PRODUCT_B, p.b, p.b_n, p.n, p.b_k)};
}

} // namespace simt

#endif
