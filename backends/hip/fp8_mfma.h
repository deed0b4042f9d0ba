/* The host side of fp8_matmul on gfx942's matrix units: what it takes, the plan, the launch. */
#ifndef TRINE_HIP_FP8_MFMA_H
#define TRINE_HIP_FP8_MFMA_H

#include "backends/hip/fp8_mfma_kernel.h"
#include "backends/hip/matmul_mfma_plan.h"

namespace mfma {

using fp8_tile_256x128 = tile<256, 128, 512, 1, 4>;
using fp8_tile_64x64 = tile<64, 64, 128, 3>;
static constexpr tile_row fp8_tile_table[] = {
    {256, 128, 1, 0.70, 0.70, 4},
    {64, 64, 3, 0.12, 0.30, 16},
};
enum { fp8_tile_count = sizeof fp8_tile_table / sizeof fp8_tile_table[0] };

inline bool is_e5(trine_dtype dtype) { return dtype == TRINE_F8_E5M2FNUZ; }

inline trine_status make_fp8_product(trine_call *call, const void *args, trine_product *product)
{
    TRINE_FP8_MATMUL_BEGIN(call, args, p);
    TRINE_REQUIRE_THAT(call, is_arch(call, "gfx942"), "needs gfx942");
    /* inf has no code in e5m2fnuz */
    TRINE_REQUIRE_THAT(call, p.dtype != TRINE_F8_E5M2 && p.b_dtype != TRINE_F8_E5M2, "needs e4m3fn, e4m3fnuz or e5m2fnuz");
    TRINE_REQUIRE_THAT(call, p.k > 0, "needs K > 0");
    TRINE_REQUIRE_THAT(call, make_dense(&p.a_m, &p.a_k, p.m, p.k) && make_dense(&p.b_n, &p.b_k, p.n, p.k),
                       "needs a and b with stride 1 along one axis");
    TRINE_REQUIRE_THAT(call, strides_fit(p.a_m, p.a_k, p.m, 1) && strides_fit(p.b_n, p.b_k, p.n, 1),
                       "needs a's and b's other strides between 8 elements and 8 MB");
    *product = p;
    return TRINE_OK;
}

template <class Type, class Tile>
inline trine_status launch_fp8(trine_call *call, const trine_product &p, const plan &how, unsigned dies)
{
    TRINE_REQUIRE_THAT(call, (blocks_fit<Tile>(p, how)), "the grid is too large");
    const simt::split_sink sink(call, p, how.splits, TRINE_FP8_BLOCK);
    const schedule s = schedule_of<Tile>(p, how, fp8_tile_table[how.tile].group, dies);
    const trine_status status = simt::launch_products(call, fp8_matmul_kernel<Type, Tile>, s.blocks, Tile::threads,
                                                      simt::product<simt::f8_any>(p), simt::f8_scaling(p), s, sink);
    return status == TRINE_OK ? simt::sum_splits<simt::f8_any>(call, p, sink) : status;
}

template <bool A_E5, bool B_E5>
inline trine_status launch_fp8_tile(trine_call *call, const trine_product &p, const plan &how, unsigned dies)
{
    using type = mma::f8<A_E5, B_E5>;
    return how.tile == 0 ? launch_fp8<type, fp8_tile_256x128>(call, p, how, dies)
                         : launch_fp8<type, fp8_tile_64x64>(call, p, how, dies);
}

inline trine_status run_fp8(trine_call *call, const trine_product &p, const plan &how, unsigned dies)
{
    TRINE_END_OF_QUERY(call, simt::split_workspace(p, how.splits));
    if (simt::product_is_empty(p)) return TRINE_OK;
    if (is_e5(p.dtype))
        return is_e5(p.b_dtype) ? launch_fp8_tile<true, true>(call, p, how, dies)
                                : launch_fp8_tile<true, false>(call, p, how, dies);
    return is_e5(p.b_dtype) ? launch_fp8_tile<false, true>(call, p, how, dies)
                            : launch_fp8_tile<false, false>(call, p, how, dies);
}

/* ---- The variants ---- */

inline trine_status fp8_matmul(trine_call *call, const void *args)
{
    const unit_rate rate = {2048, 1};
    trine_product p;
    const trine_status status = make_fp8_product(call, args, &p);
    if (status != TRINE_OK) return status;
    return run_fp8(call, p, make_plan(p, fp8_tile_table, fp8_tile_count, rate, call->device->props.compute_units), dies_of(call));
}

/* As matmul_of_tile. */
template <int tile, bool split> inline trine_status fp8_matmul_of_tile(trine_call *call, const void *args)
{
    trine_product p;
    const trine_status status = make_fp8_product(call, args, &p);
    return status == TRINE_OK ? run_fp8(call, p, plan{tile, split ? 2 : 1}, 8) : status;
}

} // namespace mfma

#endif
