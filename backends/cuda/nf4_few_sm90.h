/* The host side of nf4_matmul's sm90_few: what it takes, the launch. */
#ifndef TRINE_CUDA_NF4_FEW_SM90_H
#define TRINE_CUDA_NF4_FEW_SM90_H

#include "backends/cuda/nf4_few_sm90_kernel.h"
#include "backends/cuda/nf4_sm90.h"

namespace nf4_few {

template <class T, int NT> inline trine_status launch(trine_call *call, const nf4_product<T> &p)
{
    using lay = layout<NT>;
    const int64_t tiles = simt::ceil_div(p.n, int64_t(tile_rows)), most = call->device->props.compute_units;
    const int64_t blocks = tiles < most ? tiles : most, slices = simt::ceil_div(p.k, int64_t(lay::slice));
    const int64_t slice = simt::ceil_div(p.k / slice_multiple, slices) * slice_multiple;
    const work w = {int(tiles / blocks), int(tiles % blocks), int(simt::ceil_div(p.k, slice)), int(slice)};
    target::allow_shared(kernel<T, NT>, lay::shared);
    return simt::launch(call, kernel<T, NT>, simt::grid(blocks), threads, lay::shared, p, simt::nf4_book{TRINE_NF4_VALUES}, w);
}

template <class T> inline trine_status run(trine_call *call, const trine_nf4_matmul_args &a, const trine_nf4_shape &s)
{
    const nf4_product<T> p(a, s);
    /* a query accepted the strides without the addresses */
    if (!p.packed || !simt::aligned16(a.absmax.data)) return trine_cuda_nf4_portable(call, &a);
    return s.m <= 8 ? launch<T, 1>(call, p) : launch<T, 2>(call, p);
}

} // namespace nf4_few

trine_status sm90nf4::matmul_few(trine_call *call, const void *args)
{
    const trine_nf4_matmul_args &a = *static_cast<const trine_nf4_matmul_args *>(args);
    const trine_nf4_shape s = trine_nf4_shape_make(&a);
    const trine_status status = require(call, a, s);
    if (status != TRINE_OK) return status;
    TRINE_REQUIRE_THAT(call, s.m <= nf4_few::most, "needs at most 16 rows of x");
    TRINE_REQUIRE_THAT(call, !s.doubled && s.k % nf4_few::slice_multiple == 0, "needs absmax in f32 and K of whole 256 elements");
    TRINE_END_OF_QUERY(call, 0);
    if (s.m == 0 || s.n == 0) return TRINE_OK;
    return a.x.dtype == TRINE_F16 ? nf4_few::run<simt::f16>(call, a, s) : nf4_few::run<simt::bf16>(call, a, s);
}

#endif
