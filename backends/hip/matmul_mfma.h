/* The matrix-unit matmul's host side: what it takes, how a product is divided (matmul_mfma_plan.h), and the launch. */
#ifndef TRINE_HIP_MATMUL_MFMA_H
#define TRINE_HIP_MATMUL_MFMA_H

#include "backends/hip/matmul_mfma_kernel.h"
#include "backends/hip/matmul_mfma_plan.h"

namespace mfma {

/* ---- What it takes ---- */

/* A product with what its launch needs. */
struct request {
    trine_product p;
    unit_rate unit;
    bool less;       /* the caller allows what is faster and less precise, and the chip has it */
    bool large_tile; /* only with registers for waves of 64 */
    unsigned xcds;
};

/* Whether a chip multiplies a dtype faster with less precision: tf32 on gfx942; f16 without subnormals on gfx90a. */
inline bool has_less(trine_dtype dtype, bool is_gfx942, bool is_gfx90a)
{
    return (is_gfx942 && dtype == TRINE_F32) || (is_gfx90a && dtype == TRINE_F16);
}

template <instruction by> inline trine_status make_request(trine_call *call, const void *args, request *r)
{
    TRINE_MATMUL_BEGIN(call, args, p);
    const trine_matmul_precision precision = static_cast<const trine_matmul_args *>(args)->precision;
    const bool is_gfx942 = is_arch(call, "gfx942"), is_gfx90a = is_arch(call, "gfx90a");
    if (by == by_mfma)
        TRINE_REQUIRE_THAT(call, is_gfx942 || is_gfx90a, "needs gfx90a or gfx942");
    else
        TRINE_REQUIRE_THAT(call, strncmp(call->device->props.arch, "gfx11", 5) == 0, "needs gfx11");
    TRINE_REQUIRE_THAT(call, by == by_mfma || p.dtype != TRINE_F32, "needs f16 or bf16");
    TRINE_REQUIRE_THAT(call, p.k > 0, "needs K > 0 and alpha other than 0");
    r->less = precision == TRINE_MATMUL_TF32 && has_less(p.dtype, is_gfx942, is_gfx90a);
    r->unit = rate_of(p.dtype, is_gfx942, is_gfx90a, r->less);
    TRINE_REQUIRE_THAT(call, make_dense(&p.a_m, &p.a_k, p.m, p.k) && make_dense(&p.b_n, &p.b_k, p.n, p.k),
                       "needs a and b with stride 1 along one axis");
    TRINE_REQUIRE_THAT(call, strides_fit(p.a_m, p.a_k, p.m, r->unit.bytes) && strides_fit(p.b_n, p.b_k, p.n, r->unit.bytes),
                       "needs a's and b's other strides between 8 elements and 8 MB");
    r->p = p;
    r->large_tile = by == by_mfma;
    r->xcds = dies_of(call);
    return TRINE_OK;
}

/* ---- The launch ---- */

template <class Type, class Tile> inline trine_status launch(trine_call *call, const request &r, const plan &how)
{
    using element = typename Type::element;
    const trine_product &p = r.p;
    TRINE_REQUIRE_THAT(call, (blocks_fit<Tile>(p, how)), "the grid is too large");
    const simt::split_sink sink(call, p, how.splits, mma::step_terms<element>);
    const schedule s = schedule_of<Tile>(p, how, tile_table[how.tile].group, r.xcds);
    const trine_status status =
        simt::launch_products(call, matmul_kernel<Type, Tile>, s.blocks, Tile::threads, product<element>(p), s, sink);
    return status == TRINE_OK ? simt::sum_splits<element>(call, p, sink) : status;
}

template <class Type> inline trine_status launch_tile(trine_call *call, const request &r, const plan &how)
{
    switch (how.tile) {
    case 0: return launch<Type, tile_256x256>(call, r, how);
    case 1: return launch<Type, tile_128x128>(call, r, how);
    default: return launch<Type, tile_64x64>(call, r, how);
    }
}

inline trine_status run(trine_call *call, const request &r, const plan &how)
{
    TRINE_END_OF_QUERY(call, simt::split_workspace(r.p, how.splits));
    if (simt::product_is_empty(r.p)) return TRINE_OK;
    switch (r.p.dtype) {
    case TRINE_F16: return r.less ? launch_tile<mma::f16_flushed>(call, r, how) : launch_tile<mma::f16>(call, r, how);
    case TRINE_BF16: return launch_tile<mma::bf16>(call, r, how);
    default: return r.less ? launch_tile<mma::xf32>(call, r, how) : launch_tile<mma::f32>(call, r, how);
    }
}

/* ---- The variants ---- */

template <instruction by> inline trine_status matmul(trine_call *call, const void *args)
{
    request r;
    const trine_status status = make_request<by>(call, args, &r);
    if (status != TRINE_OK) return status;
    const int skipped = r.large_tile ? 0 : 1;
    plan how = make_plan(r.p, tile_table + skipped, tile_count - skipped, r.unit, call->device->props.compute_units);
    how.tile += skipped;
    return run(call, r, how);
}

/* One tile whatever the size, K in two parts where `split`, blocks numbered as on eight dies: so that small cases check it all. */
template <instruction by, int tile, bool split> inline trine_status matmul_of_tile(trine_call *call, const void *args)
{
    request r;
    const trine_status status = make_request<by>(call, args, &r);
    if (status != TRINE_OK) return status;
    r.xcds = 8;
    return run(call, r, plan{tile, split ? 2 : 1});
}

} // namespace mfma

#endif
