/* mfma and wmma of grouped products: matmul's and fp8_matmul's tiles (matmul_mfma_kernel.h, fp8_mfma_kernel.h), whose blocks find their
 * group and tile from the sizes on the device, as the portable kernel's do (simt/grouped.h). What the sizes leave of the grid's
 * blocks is spread over the dies, a run of neighbours each, which read the same group's b. */
#ifndef TRINE_HIP_GROUPED_MFMA_H
#define TRINE_HIP_GROUPED_MFMA_H

#include "backends/hip/fp8_mfma_kernel.h"
#include "backends/hip/matmul_mfma_plan.h"
#include "backends/simt/grouped.h"

namespace mfma {

/* What all blocks are told. */
struct group_schedule {
    unsigned tiles_m, tiles_n, xcds;
    bool sums; /* groups are of terms */
    int64_t bias_group;
};

TRINE_DEVICE int64_t uniform_count(int64_t x)
{
    return int64_t(uniform(unsigned(uint64_t(x) >> 32))) << 32 | uniform(unsigned(x));
}

/* The block's tile; rows: the first that its group lacks. */
struct group_work {
    work part;
    int64_t rows;
    bool there;
};

template <class Tile, class E>
TRINE_DEVICE group_work group_work_of_block(const product<E> &p, const simt::group_list &list, const group_schedule &s)
{
    unsigned blocks = target::grid_x();
    if (!s.sums) {
        const simt::group_walk<int64_t, simt::tiles_of_rows> walk(list, simt::tiles_of_rows{Tile::M});
        blocks = uniform(unsigned(walk.all_units())) * s.tiles_n;
    }
    const unsigned block = block_of_die(s.xcds, blocks);
    group_work g = {};
    if (block >= blocks) return g;
    const simt::group_block b = simt::find_group_block(p, list, s.sums, Tile::M, Tile::N, block, s.tiles_m, s.tiles_n);
    g.there = true;
    g.part = work{simt::split_place{uniform_count(b.group), 0}, uniform_count(b.row), b.column, uniform_count(b.first_k),
                  uniform_count(b.terms)};
    g.rows = uniform_count(b.rows);
    return g;
}

template <class Unit, class Tile, class Sums, class E>
TRINE_DEVICE void store_group_sums(const Sums (&sum)[Tile::rows][Tile::columns], unsigned char *shared, const product<E> &p,
                                   const group_work &g, int64_t bias_group, int wave, int lane)
{
    product_offsets at = p.offsets(g.part.part.index);
    at.bias = g.part.part.index * bias_group;
    put_sums<Unit, Tile>(sum, shared, wave, lane, [&](const simt::pack<float, 4> &four, int row, int column) {
        if (g.part.row + row < g.rows && g.part.column + column < p.n)
            simt::store_four(four, g.part.row + row, g.part.column + column, p, at);
    });
}

template <class Type, class Tile>
__attribute__((global, amdgpu_flat_work_group_size(Tile::threads, Tile::threads), amdgpu_waves_per_eu(Tile::waves_a_simd))) void
grouped_kernel(product<typename Type::element> p, simt::group_list list, group_schedule s)
{
    if constexpr (mma::unit<Type>::available && (mma::wave == 64 || !Tile::ping_pong)) {
        alignas(16) TRINE_SHARED unsigned char shared[Tile::shared];
        const group_work g = group_work_of_block<Tile>(p, list, s);
        if (!g.there) return;
        multiplier<Type, Tile> m(shared);
        nothing_more also;
        multiply_product(m, p, g.part, g.rows, false, false, also);
        store_group_sums<mma::unit<Type>, Tile>(m.sum, shared, p, g, s.bias_group, m.wave, m.lane);
    }
}

template <class Type, class Tile>
__attribute__((global, amdgpu_flat_work_group_size(Tile::threads, Tile::threads), amdgpu_waves_per_eu(Tile::waves_a_simd))) void
grouped_f8_kernel(product<simt::f8_any> p, simt::f8_scaling scaling, simt::group_list list, group_schedule s)
{
    if constexpr (mma::unit<Type>::available) {
        using scales = step_scales<Tile, mma::unit<Type>>;
        alignas(16) TRINE_SHARED unsigned char shared[Tile::shared + scales::bytes];
        const group_work g = group_work_of_block<Tile>(p, list, s);
        if (!g.there) return;
        multiplier<Type, Tile> m(shared);
        scales also(reinterpret_cast<float *>(shared + Tile::shared), scaling, p, g.part, m.wave, m.lane);
        multiply_product(m, p, g.part, g.rows, relabels(scaling.a_dtype), relabels(scaling.b_dtype), also);
        store_group_sums<mma::unit<Type>, Tile>(also.total, shared, p, g, s.bias_group, m.wave, m.lane);
    }
}

/* ---- Host ---- */

/* The tile by which all groups take least time, if their sizes are equal. table: rows of `count` tiles. */
inline int choose_group_tile(const trine_grouped &g, const tile_row *table, int count, const unit_rate &rate, int64_t units)
{
    trine_product each = g.p;
    const int64_t groups = g.p.batch.numel > 0 ? g.p.batch.numel : 1;
    if (g.layout == TRINE_GROUPED_ROWS) each.m = simt::ceil_div(g.p.m, groups);
    if (g.layout == TRINE_GROUPED_SUMS) each.k = simt::ceil_div(g.p.k, groups);
    int best = 0;
    for (int tile = 1; tile < count; tile++)
        if (cycles_of(each, table[tile], 1, rate, units) < cycles_of(each, table[best], 1, rate, units)) best = tile;
    return best;
}

template <class Tile, class... Args, class... Given> inline trine_status
launch_groups(trine_call *call, void (*kernel)(Args...), const trine_grouped &g, unsigned xcds, const Given &...given)
{
    const int64_t tiles_n = simt::ceil_div(g.p.n, Tile::N), blocks = simt::grouped_tiles_m(g, Tile::M) * tiles_n;
    const group_schedule s = {unsigned(simt::ceil_div(g.p.m, Tile::M)), unsigned(tiles_n), xcds, g.layout == TRINE_GROUPED_SUMS,
                              g.bias_group};
    TRINE_REQUIRE_THAT(call, blocks <= 0x7fffffff, "the grid is too large");
    return simt::launch(call, kernel, simt::grid(blocks), Tile::threads, 0, given..., simt::group_list(g), s);
}

inline bool is_e4(trine_dtype dtype) { return dtype == TRINE_F8_E4M3FN || dtype == TRINE_F8_E4M3FNUZ; }

/* A row of tile_table but the first, whose tile is for products of more rows than groups have. */
enum { group_tile_any, group_tile_128x128, group_tile_64x64 };

template <class Type> inline trine_status launch_group_tile(trine_call *call, const trine_grouped &g, unsigned xcds, int tile)
{
    const product<typename Type::element> p(g.p);
    return tile == group_tile_128x128 ? launch_groups<tile_128x128>(call, grouped_kernel<Type, tile_128x128>, g, xcds, p)
                                      : launch_groups<tile_64x64>(call, grouped_kernel<Type, tile_64x64>, g, xcds, p);
}

/* Operands that are loaded in packs. Groups of rows begin anywhere, where packs of rows can't. */
inline trine_status require_group_operands(trine_call *call, trine_grouped *g, int bytes)
{
    trine_product &p = g->p;
    TRINE_REQUIRE_THAT(call, make_dense(&p.a_m, &p.a_k, p.m, p.k) && make_dense(&p.b_n, &p.b_k, p.n, p.k),
                       "needs a and b with stride 1 along one axis");
    TRINE_REQUIRE_THAT(call, g->layout != TRINE_GROUPED_ROWS || p.a_k == 1, "needs a with stride 1 along K");
    TRINE_REQUIRE_THAT(call, strides_fit(p.a_m, p.a_k, p.m, bytes) && strides_fit(p.b_n, p.b_k, p.n, bytes),
                       "needs a's and b's other strides between 8 elements and 8 MB");
    return TRINE_OK;
}

template <instruction by, int tile> inline trine_status grouped(trine_call *call, const void *args)
{
    TRINE_GROUPED_BEGIN(call, args, g);
    const bool is_gfx942 = is_arch(call, "gfx942"), is_gfx90a = is_arch(call, "gfx90a");
    if (by == by_mfma)
        TRINE_REQUIRE_THAT(call, is_gfx942 || is_gfx90a, "needs gfx90a or gfx942");
    else
        TRINE_REQUIRE_THAT(call, strncmp(call->device->props.arch, "gfx11", 5) == 0, "needs gfx11");
    TRINE_REQUIRE_THAT(call, g.p.dtype == TRINE_F16 || g.p.dtype == TRINE_BF16, "needs f16 or bf16");
    const trine_status status = require_group_operands(call, &g, 2);
    if (status != TRINE_OK) return status;
    TRINE_END_OF_QUERY(call, 0);
    if (simt::product_is_empty(g.p)) return TRINE_OK;
    const unit_rate rate = rate_of(g.p.dtype, is_gfx942, is_gfx90a, false);
    const int how = tile != group_tile_any
                        ? tile
                        : 1 + choose_group_tile(g, tile_table + 1, tile_count - 1, rate, call->device->props.compute_units);
    return g.p.dtype == TRINE_F16 ? launch_group_tile<mma::f16>(call, g, dies_of(call), how)
                                  : launch_group_tile<mma::bf16>(call, g, dies_of(call), how);
}

/* ---- fp8 ---- */

using f8_group_tile_large = tile<256, 128, 512, 1, 4>;
using f8_group_tile_small = tile<64, 64, 128, 3>;

template <int tile> inline trine_status grouped_f8(trine_call *call, const void *args)
{
    using type = mma::f8<false, false>;
    static constexpr tile_row table[] = {{256, 128, 1, 0.70, 0.70, 4}, {64, 64, 3, 0.12, 0.30, 16}};
    TRINE_GROUPED_BEGIN(call, args, g);
    TRINE_REQUIRE_THAT(call, is_arch(call, "gfx942"), "needs gfx942");
    TRINE_REQUIRE_THAT(call, is_e4(g.p.dtype) && is_e4(g.p.b_dtype), "needs e4m3fn or e4m3fnuz");
    const trine_status status = require_group_operands(call, &g, 1);
    if (status != TRINE_OK) return status;
    TRINE_END_OF_QUERY(call, 0);
    if (simt::product_is_empty(g.p)) return TRINE_OK;
    const int how = tile >= 0 ? tile : choose_group_tile(g, table, 2, unit_rate{2048, 1}, call->device->props.compute_units);
    const product<simt::f8_any> p(g.p);
    const simt::f8_scaling scaling(g.p);
    return how == 0 ? launch_groups<f8_group_tile_large>(call, grouped_f8_kernel<type, f8_group_tile_large>, g, dies_of(call), p,
                                                         scaling)
                    : launch_groups<f8_group_tile_small>(call, grouped_f8_kernel<type, f8_group_tile_small>, g, dies_of(call), p,
                                                         scaling);
}

} // namespace mfma

#endif
