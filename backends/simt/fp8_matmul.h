/* register_tiled for fp8: the tiles of fp8_tile.h. */
#ifndef TRINE_SIMT_FP8_MATMUL_H
#define TRINE_SIMT_FP8_MATMUL_H

#include "backends/simt/fp8_tile.h"

namespace simt {

/* Rows that a thread of the large tile makes: fp8.cu and fp8.hip say how many fit in its registers beside scales and codes. */
using f8_large_tile = register_tile<128, 128, TRINE_FP8_ROWS, 8, 2>;

template <class Tile, int V, tile_axis A, tile_axis B> TRINE_KERNEL_BLOCKS(Tile::threads, V == 1 ? 1 : Tile::together)
fp8_tiled_kernel(product<f8_any> p, f8_scaling scaling, unsigned tiles_m, unsigned tiles_n, unsigned blocks, split_sink sink)
{
    alignas(16) TRINE_SHARED float shared[Tile::shared];
    TRINE_SHARED f8_tables tables;
    const block_place place = place_of_block(p, blocks);
    const unsigned split = place.part / (tiles_m * tiles_n);
    unsigned tile_m, tile_n;
    tile_of_block(place.part - split * (tiles_m * tiles_n), tiles_m, tiles_n, 8, &tile_m, &tile_n);
    const int64_t first_row = int64_t(tile_m) * Tile::BM, first_column = int64_t(tile_n) * Tile::BN;
    const int64_t first_k = split * sink.terms, end_k = first_k + sink.terms < p.k ? first_k + sink.terms : p.k;

    const register_thread<Tile> me;
    float sum[Tile::TM][Tile::TN] = {};
    if (first_k < end_k)
        sum_f8_tile<Tile, V, A, B>(sum, shared, tables, me, p, scaling, place.index, first_row, p.m, first_column, first_k,
                                   end_k);
    write_tile<Tile>(shared, sum, me, first_row, first_column, p, sink, split_place{place.index, split});
}

/* ---- Host ---- */

template <class Tile, tile_axis A> inline auto fp8_tiled_along(tile_axis b)
{
    return b == tile_along_k ? fp8_tiled_kernel<Tile, 4, A, tile_along_k> : fp8_tiled_kernel<Tile, 4, A, tile_along_rows>;
}

template <class Tile> inline trine_status launch_fp8_tiled(trine_call *call, const trine_product &p, const split_sink &sink)
{
    const int64_t tiles_m = ceil_div(p.m, Tile::BM), tiles_n = ceil_div(p.n, Tile::BN), blocks = tiles_m * tiles_n * sink.splits;
    const operand_way a = way_of_a<f8_any>(p), b = way_of_b<f8_any>(p);
    auto *kernel = fp8_tiled_kernel<Tile, 1, tile_along_any, tile_along_any>;
    if (a.packs && b.packs)
        kernel =
            a.axis == tile_along_k ? fp8_tiled_along<Tile, tile_along_k>(b.axis) : fp8_tiled_along<Tile, tile_along_rows>(b.axis);
    return launch_products(call, kernel, blocks, Tile::threads, product<f8_any>(p), f8_scaling(p), tiles_m, tiles_n, blocks,
                           sink);
}

/* A product in the form of core/fp8_product.h. */
inline trine_status run_fp8_tiled(trine_call *call, const trine_product &p, const register_plan &plan)
{
    TRINE_END_OF_QUERY(call, split_workspace(p, plan.splits));
    if (product_is_empty(p)) return TRINE_OK;
    const split_sink sink(call, p, plan.splits, TRINE_FP8_BLOCK);
    const trine_status status =
        plan.large ? launch_fp8_tiled<f8_large_tile>(call, p, sink) : launch_fp8_tiled<small_tile>(call, p, sink);
    return status == TRINE_OK ? sum_splits<f8_any>(call, p, sink) : status;
}

inline trine_status fp8_matmul_register_tiled(trine_call *call, const void *args)
{
    TRINE_FP8_MATMUL_BEGIN(call, args, p);
    return run_fp8_tiled(call, p, plan_register_tiled(call, p));
}

/* The large tile and no split, whatever the size: so that small cases check it too. */
inline trine_status fp8_matmul_register_tiled_128(trine_call *call, const void *args)
{
    TRINE_FP8_MATMUL_BEGIN(call, args, p);
    return run_fp8_tiled(call, p, register_plan{true, 1, 0});
}

} // namespace simt

#endif
