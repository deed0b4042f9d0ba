/* The sm80 and thin variants of matmul, an object of its own so that it is compiled beside matmul.cu. */
#include "backends/cuda/target.h"

#include "backends/cuda/matmul_sm80.h"
#include "backends/cuda/matmul_thin.h"
#include "backends/cuda/matmul_variants.h"
#include "backends/simt/matmul_product.h"

namespace sm80 {

template <class Shape>
static trine_status run_tile(trine_call *call, const trine_product &p, tile_axis a, tile_axis b, const split_sink &sink)
{
    return simt::visit_floats(call, p.dtype,
                              [&](auto t) { return launch<Shape, typename decltype(t)::type>(call, p, a, b, sink); });
}

static trine_status run(trine_call *call, const trine_product &p, tile_axis a, tile_axis b, const plan &chosen)
{
    if ((uintptr_t(p.a) | uintptr_t(p.b)) % 16 != 0) return trine_cuda_matmul_portable(call, &p);
    TRINE_END_OF_QUERY(call, simt::split_workspace(p, chosen.splits));
    if (simt::product_is_empty(p)) return TRINE_OK;
    const split_sink sink(call, p, chosen.splits, 64);
    static trine_status (*const runs[tile_count])(trine_call *, const trine_product &, tile_axis, tile_axis,
                                                  const split_sink &) = {run_tile<wide>, run_tile<square>, run_tile<small>};
    return runs[chosen.tile](call, p, a, b, sink);
}

static trine_status run_any(trine_call *call, const void *args, int tile)
{
    TRINE_MATMUL_BEGIN(call, args, p);
    TRINE_REQUIRE_THAT(call, atoi(call->device->props.arch + sizeof "sm_" - 1) >= 80, "needs compute capability 8.0");
    TRINE_REQUIRE_THAT(call, p.dtype != TRINE_F32 || static_cast<const trine_matmul_args *>(args)->precision == TRINE_MATMUL_TF32,
                       "needs f16, bf16, or f32 with precision TF32");
    TRINE_REQUIRE_THAT(call, p.k > 0 && p.k <= 1 << 30, "needs K from 1 to 2^30, and alpha other than 0");
    const tile_axis a = axis_of(p, TRINE_PRODUCT_A, p.m, p.a_m, p.a_k), b = axis_of(p, TRINE_PRODUCT_B, p.n, p.b_n, p.b_k);
    TRINE_REQUIRE_THAT(call, a != simt::tile_along_any && b != simt::tile_along_any,
                       "needs a and b with stride 1 along one axis and other strides of multiples of 16 bytes");
    return run(call, p, a, b, choose(tiles, call, p, tile));
}

trine_status matmul(trine_call *call, const void *args) { return run_any(call, args, any_tile); }
template <int tile> trine_status matmul_of_tile(trine_call *call, const void *args) { return run_any(call, args, tile); }
template trine_status matmul_of_tile<0>(trine_call *, const void *);
template trine_status matmul_of_tile<1>(trine_call *, const void *);
template trine_status matmul_of_tile<2>(trine_call *, const void *);

} // namespace sm80
