/* Grouped products of fp8 for compute capability 8.9: the kernel of fp8_sm89.h, whose blocks find their group and tile as the
 * portable kernel's do. */
#include "backends/cuda/target.h"

#include "backends/cuda/fp8_sm89.h"
#include "backends/cuda/fp8_variants.h"
#include "backends/cuda/grouped_sm80.h"

namespace sm89 {

/* T: an f8_pair. */
template <class T, class Shape> __global__ void __launch_bounds__(Shape::threads, Shape::blocks)
    grouped_f8_kernel(f8_product p, f8_scaling scaling, simt::group_list list, int64_t bias_group, unsigned tiles_m,
                      unsigned tiles_n, int stages)
{
    extern __shared__ __align__(128) unsigned char sm80_shared[];
    const simt::group_block b = simt::find_group_block(p, list, false, Shape::rows, Shape::columns, blockIdx.x, tiles_m, tiles_n);
    if (b.group < 0) return;
    const sm80::block_work<Shape> w = sm80::work_of_group<Shape>(b, sm80_shared);
    f8_multiplier<T, Shape> m(p.n, scaling, w, false);
    sm80::multiply_block<Shape, tile_along_k, tile_along_k>(m, p, w, stages);
    write_f8_tile<Shape>(m.total, sm80::staged_of_warp<Shape>(sm80_shared), sm80::view_of_group(p, b, bias_group), scaling, w,
                         sm80::one_part{});
}

template <class Shape> static trine_status launch_groups(trine_call *call, const trine_grouped &g)
{
    void (*const kernels[])(f8_product, f8_scaling, simt::group_list, int64_t, unsigned, unsigned,
                            int) = {grouped_f8_kernel<mma_sync::e4m3_e4m3, Shape>, grouped_f8_kernel<mma_sync::e4m3_e5m2, Shape>,
                                    grouped_f8_kernel<mma_sync::e5m2_e4m3, Shape>, grouped_f8_kernel<mma_sync::e5m2_e5m2, Shape>};
    return sm80::launch_groups<Shape>(call, kernels[pair_of(g.p)], g, f8_scaling(g.p));
}

static trine_status run_groups(trine_call *call, const void *args, int tile)
{
    trine_grouped given;
    TRINE_REQUIRE_THAT(call, trine_grouped_make(&given, static_cast<const trine_grouped_matmul_args *>(args)),
                       "needs d with stride 1 along N");
    const trine_product &p = given.p;
    TRINE_REQUIRE_THAT(call, atoi(call->device->props.arch + sizeof "sm_" - 1) >= 89, "needs compute capability 8.9");
    TRINE_REQUIRE_THAT(call, is_ocp_f8(p.dtype) && is_ocp_f8(p.b_dtype), "needs e4m3fn or e5m2");
    TRINE_REQUIRE_THAT(call, given.layout != TRINE_GROUPED_SUMS, "needs groups of rows, not of terms");
    TRINE_REQUIRE_THAT(call, p.k > 0 && p.k <= 1 << 30, "needs K from 1 to 2^30");
    TRINE_REQUIRE_THAT(call, p.b_scale.k_step == 0 || p.b_scale.row == 0 || p.b_scale.row_block != 1,
                       "needs b_scale in blocks of 128 columns where it depends on k");
    TRINE_REQUIRE_THAT(call,
                       sm80::lies_along_k(given, TRINE_PRODUCT_A, p.a_m, p.a_k) &&
                           sm80::lies_along_k(given, TRINE_PRODUCT_B, p.b_n, p.b_k),
                       "needs a and b with stride 1 along K and other strides of multiples of 16 bytes");
    if ((uintptr_t(p.a) | uintptr_t(p.b)) % 16 != 0) return trine_cuda_grouped_portable(call, &given);
    TRINE_END_OF_QUERY(call, 0);
    if (simt::product_is_empty(p)) return TRINE_OK;
    if (tile == sm80::any_tile) tile = rows_of_groups(given) <= small::rows;
    return tile == 0 ? launch_groups<square>(call, given) : launch_groups<small>(call, given);
}

trine_status grouped_matmul(trine_call *call, const void *args) { return run_groups(call, args, sm80::any_tile); }
template <int tile> trine_status grouped_matmul_of_tile(trine_call *call, const void *args)
{
    return run_groups(call, args, tile);
}
template trine_status grouped_matmul_of_tile<0>(trine_call *, const void *);
template trine_status grouped_matmul_of_tile<1>(trine_call *, const void *);

} // namespace sm89
