/* Grouped products of f16 and bf16 by the instruction of a warp (matmul_sm80.h), for compute capability 8.0 and later: groups of rows,
 * masked ones, and on every such device, Hopper too, groups of terms. */
#include "backends/cuda/target.h"

#include "backends/cuda/grouped_sm80.h"

namespace sm80 {

/* SUMS: groups of terms, of which one may begin at any: both operands lie along their rows then. */
template <class T, tile_axis A, tile_axis B, class Shape, bool SUMS>
__global__ void __launch_bounds__(Shape::threads, Shape::blocks)
    grouped_kernel(product<T> p, simt::group_list list, int64_t bias_group, unsigned tiles_m, unsigned tiles_n, int stages)
{
    extern __shared__ __align__(128) unsigned char sm80_shared[];
    const simt::group_block b = simt::find_group_block(p, list, SUMS, Shape::rows, Shape::columns, blockIdx.x, tiles_m, tiles_n);
    if (b.group < 0) return;
    const block_work<Shape> w = work_of_group<Shape>(b, sm80_shared);
    multiplier<T, A, B, Shape> m(w.tiles, int(threadIdx.x) / 32);
    multiply_block<Shape, A, B>(m, p, w, stages);
    write_tile<Shape, T>(m.sum, staged_of_warp<Shape>(sm80_shared), w.row_of_warp(), w.column_of_warp(),
                         view_of_group(p, b, bias_group), one_part{}, w.part);
}

/* ---- Host ---- */

struct group_axes {
    bool sums, b_along_k;
};

template <class T, class Shape> static trine_status launch_tile(trine_call *call, const trine_grouped &g, const group_axes &axes)
{
    const auto kernel = axes.sums        ? grouped_kernel<T, tile_along_rows, tile_along_rows, Shape, true>
                        : axes.b_along_k ? grouped_kernel<T, tile_along_k, tile_along_k, Shape, false>
                                         : grouped_kernel<T, tile_along_k, tile_along_rows, Shape, false>;
    return launch_groups<Shape>(call, kernel, g);
}

template <class Shape> static trine_status launch_dtype(trine_call *call, const trine_grouped &g, const group_axes &axes)
{
    return g.p.dtype == TRINE_F16 ? launch_tile<simt::f16, Shape>(call, g, axes) : launch_tile<simt::bf16, Shape>(call, g, axes);
}

/* Small where groups have few rows on average, or where the tiles of sums would leave multiprocessors without work. */
static bool wants_small(const trine_call *call, const trine_grouped &g)
{
    if (g.layout != TRINE_GROUPED_SUMS) return rows_of_groups(g) <= small::rows;
    return simt::grouped_tiles_m(g, square::rows) * simt::ceil_div(g.p.n, int64_t(square::columns)) <
           int64_t(square::blocks) * call->device->props.compute_units;
}

static trine_status run_groups(trine_call *call, const void *args, int tile)
{
    trine_grouped g;
    TRINE_REQUIRE_THAT(call, trine_grouped_make(&g, static_cast<const trine_grouped_matmul_args *>(args)),
                       "needs d with stride 1 along N");
    const trine_product &p = g.p;
    TRINE_REQUIRE_THAT(call, atoi(call->device->props.arch + sizeof "sm_" - 1) >= 80, "needs compute capability 8.0");
    TRINE_REQUIRE_THAT(call, (p.dtype == TRINE_F16 || p.dtype == TRINE_BF16) && p.b_dtype == p.dtype, "needs f16 or bf16");
    TRINE_REQUIRE_THAT(call, p.k > 0 && p.k <= 1 << 30, "needs K from 1 to 2^30");
    const group_axes axes = {g.layout == TRINE_GROUPED_SUMS, lies_along_k(g, TRINE_PRODUCT_B, p.b_n, p.b_k)};
    const bool b_along_rows = lies_along_rows(g, TRINE_PRODUCT_B, p.n, p.b_n, p.b_k);
    if (axes.sums)
        TRINE_REQUIRE_THAT(call, b_along_rows && lies_along_rows(g, TRINE_PRODUCT_A, p.m, p.a_m, p.a_k),
                           "needs a with stride 1 along M, b along N, and other strides of multiples of 16 bytes");
    else
        TRINE_REQUIRE_THAT(call, (b_along_rows || axes.b_along_k) && lies_along_k(g, TRINE_PRODUCT_A, p.a_m, p.a_k),
                           "needs a with stride 1 along K, b along K or N, and other strides of multiples of 16 bytes");
    if ((uintptr_t(p.a) | uintptr_t(p.b)) % 16 != 0) return trine_cuda_grouped_portable(call, &g);
    TRINE_END_OF_QUERY(call, 0);
    if (simt::product_is_empty(p)) return TRINE_OK;
    if (tile == any_tile) tile = wants_small(call, g);
    return tile == 0 ? launch_dtype<square>(call, g, axes) : launch_dtype<small>(call, g, axes);
}

trine_status grouped_matmul(trine_call *call, const void *args) { return run_groups(call, args, any_tile); }
template <int tile> trine_status grouped_matmul_of_tile(trine_call *call, const void *args)
{
    return run_groups(call, args, tile);
}
template trine_status grouped_matmul_of_tile<0>(trine_call *, const void *);
template trine_status grouped_matmul_of_tile<1>(trine_call *, const void *);

} // namespace sm80
