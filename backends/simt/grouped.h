/* Grouped products, portable: register_tiled of the matmul family, whose blocks find their group and tile from the sizes on the
 * device. There are as many blocks as tiles at most: one more a group than all rows together have, since a group's last tile may
 * be a part; those that find no tile end at once. A block of the sums has a tile of d, and its group's terms.
 *
 * fp8 is decoded and scaled on its way to shared memory (fp8_tile.h). Bound by multiply-adds; with few rows a group by the bytes
 * of b. */
#ifndef TRINE_SIMT_GROUPED_H
#define TRINE_SIMT_GROUPED_H

#include "backends/simt/fp8_tile.h"
#include "backends/simt/group_blocks.h"
#include "backends/simt/matmul_register.h"

namespace simt {

/* Its sums through the epilogue. */
template <class Tile, class T> TRINE_DEVICE void write_group_tile(float *shared, const float (&sum)[Tile::TM][Tile::TN],
                                                                  const register_thread<Tile> &me, const product<T> &p,
                                                                  const group_block &b, int64_t bias_group)
{
    product_offsets at = p.offsets(b.group);
    at.bias = b.group * bias_group;
    const group_view<T> view = {b.rows, p.n, p.out, at};
    write_tile<Tile>(shared, sum, me, b.row, b.column, view, whole_sink{}, split_place{0, 0});
}

template <class T, int V, tile_axis A, tile_axis B, bool SUMS>
TRINE_KERNEL_BLOCKS(small_tile::threads, V == 1 ? 1 : small_tile::together)
grouped_kernel(product<T> p, group_list list, int64_t bias_group, unsigned tiles_m, unsigned tiles_n)
{
    using Tile = small_tile;
    alignas(16) TRINE_SHARED float shared[Tile::shared];
    const group_block b = find_group_block(p, list, SUMS, Tile::BM, Tile::BN, target::block_x(), tiles_m, tiles_n);
    if (b.group < 0) return;
    const register_thread<Tile> me;
    float sum[Tile::TM][Tile::TN] = {};
    if (b.terms > 0)
        sum_tile<T, Tile, V, A, B>(sum, shared, me, p, p.offsets(b.group), b.row, b.rows, b.column, b.first_k, b.terms);
    write_group_tile<Tile>(shared, sum, me, p, b, bias_group);
}

/* fp8: groups of rows. */
template <int V, tile_axis A, tile_axis B> TRINE_KERNEL_BLOCKS(small_tile::threads, V == 1 ? 1 : small_tile::together)
fp8_grouped_kernel(product<f8_any> p, f8_scaling scaling, group_list list, int64_t bias_group, unsigned tiles_m, unsigned tiles_n)
{
    using Tile = small_tile;
    alignas(16) TRINE_SHARED float shared[Tile::shared];
    TRINE_SHARED f8_tables tables;
    const group_block b = find_group_block(p, list, false, Tile::BM, Tile::BN, target::block_x(), tiles_m, tiles_n);
    if (b.group < 0) return;
    const register_thread<Tile> me;
    float sum[Tile::TM][Tile::TN] = {};
    if (b.terms > 0)
        sum_f8_tile<Tile, V, A, B>(sum, shared, tables, me, p, scaling, b.group, b.row, b.rows, b.column, 0, b.terms);
    write_group_tile<Tile>(shared, sum, me, p, b, bias_group);
}

/* Packs of 4 along the dense axes; a group may begin anywhere, so not along what is divided among groups. */
template <class T> inline auto grouped_kernel_of(const trine_grouped &g)
{
    const trine_product &p = g.p;
    const bool a_along_k = operand_packs<4, T>(p, TRINE_PRODUCT_A, p.a, p.a_k, p.k, p.a_m);
    const bool a_along_rows = operand_packs<4, T>(p, TRINE_PRODUCT_A, p.a, p.a_m, p.m, p.a_k);
    const bool b_along_k = operand_packs<4, T>(p, TRINE_PRODUCT_B, p.b, p.b_k, p.k, p.b_n);
    const bool b_along_rows = operand_packs<4, T>(p, TRINE_PRODUCT_B, p.b, p.b_n, p.n, p.b_k);
    if (g.layout == TRINE_GROUPED_SUMS)
        return a_along_rows && b_along_rows ? grouped_kernel<T, 4, tile_along_rows, tile_along_rows, true>
                                            : grouped_kernel<T, 1, tile_along_any, tile_along_any, true>;
    if (a_along_k && b_along_k) return grouped_kernel<T, 4, tile_along_k, tile_along_k, false>;
    if (a_along_k && b_along_rows) return grouped_kernel<T, 4, tile_along_k, tile_along_rows, false>;
    return grouped_kernel<T, 1, tile_along_any, tile_along_any, false>;
}

inline auto fp8_grouped_kernel_of(const trine_grouped &g)
{
    const operand_way a = way_of_a<f8_any>(g.p), b = way_of_b<f8_any>(g.p);
    if (!a.packs || a.axis != tile_along_k || !b.packs) return fp8_grouped_kernel<1, tile_along_any, tile_along_any>;
    return b.axis == tile_along_k ? fp8_grouped_kernel<4, tile_along_k, tile_along_k>
                                  : fp8_grouped_kernel<4, tile_along_k, tile_along_rows>;
}

inline trine_status run_grouped_tiled(trine_call *call, const trine_grouped &g)
{
    using Tile = small_tile;
    const int64_t tiles_m = ceil_div(g.p.m, Tile::BM), tiles_n = ceil_div(g.p.n, Tile::BN);
    TRINE_END_OF_QUERY(call, 0);
    if (product_is_empty(g.p)) return TRINE_OK;
    const auto blocks = grid(grouped_tiles_m(g, Tile::BM) * tiles_n);
    if (g.p.has_scales)
        return launch(call, fp8_grouped_kernel_of(g), blocks, Tile::threads, 0, product<f8_any>(g.p), f8_scaling(g.p),
                      group_list(g), g.bias_group, tiles_m, tiles_n);
    return visit_floats(call, g.p.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        return launch(call, grouped_kernel_of<T>(g), blocks, Tile::threads, 0, product<T>(g.p), group_list(g), g.bias_group,
                      tiles_m, tiles_n);
    });
}

#define TRINE_GROUPED_BEGIN(call, args, name) \
    trine_grouped name; \
    TRINE_REQUIRE_THAT(call, trine_grouped_make(&name, static_cast<const trine_grouped_matmul_args *>(args)), \
                       "needs d with stride 1 along N")

inline trine_status grouped_register_tiled(trine_call *call, const void *args)
{
    TRINE_GROUPED_BEGIN(call, args, g);
    return run_grouped_tiled(call, g);
}

} // namespace simt

#endif
