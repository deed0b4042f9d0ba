/* register_tiled on the host: the variants of matmul. They name all its kernels and are no templates, so that every file that
 * includes them compiles these; products with kernels of their own include matmul_register.h. */
#ifndef TRINE_SIMT_MATMUL_REGISTER_RUN_H
#define TRINE_SIMT_MATMUL_REGISTER_RUN_H

#include "backends/simt/matmul_register.h"

namespace simt {

template <class T, class Tile, tile_axis A> inline auto register_tiled_along(tile_axis b)
{
    return b == tile_along_k ? register_tiled_kernel<T, Tile, 4, A, tile_along_k>
                             : register_tiled_kernel<T, Tile, 4, A, tile_along_rows>;
}

template <class T, class Tile>
inline trine_status launch_register_tiled(trine_call *call, const trine_product &p, const split_sink &sink)
{
    const int64_t tiles_m = ceil_div(p.m, Tile::BM), tiles_n = ceil_div(p.n, Tile::BN), blocks = tiles_m * tiles_n * sink.splits;
    const operand_way a = way_of_a<T>(p), b = way_of_b<T>(p);
    auto *kernel = register_tiled_kernel<T, Tile, 1, tile_along_any, tile_along_any>;
    if (a.packs && b.packs)
        kernel = a.axis == tile_along_k ? register_tiled_along<T, Tile, tile_along_k>(b.axis)
                                        : register_tiled_along<T, Tile, tile_along_rows>(b.axis);
    return launch_products(call, kernel, blocks, Tile::threads, product<T>(p), tiles_m, tiles_n, blocks, sink);
}

inline trine_status run_register_tiled(trine_call *call, const trine_product &p, const register_plan &plan)
{
    TRINE_END_OF_QUERY(call, split_workspace(p, plan.splits));
    if (product_is_empty(p)) return TRINE_OK;
    const split_sink sink(call, p, plan.splits, large_tile::BK);
    return visit_floats(call, p.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        const trine_status status = plan.large ? launch_register_tiled<T, large_tile>(call, p, sink)
                                               : launch_register_tiled<T, small_tile>(call, p, sink);
        return status == TRINE_OK ? sum_splits<T>(call, p, sink) : status;
    });
}

inline trine_status matmul_register_tiled(trine_call *call, const void *args)
{
    TRINE_MATMUL_BEGIN(call, args, p);
    return run_register_tiled(call, p, plan_register_tiled(call, p));
}

/* The large tile and no split, whatever the size: so that small cases check it too, and to see what the choice is worth. */
inline trine_status matmul_register_tiled_128(trine_call *call, const void *args)
{
    TRINE_MATMUL_BEGIN(call, args, p);
    return run_register_tiled(call, p, register_plan{true, 1, 0});
}

} // namespace simt

#endif
