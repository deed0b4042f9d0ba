/* The sm90 matmul's host side: what it takes, how a product is divided (matmul_sm90_plan.h), and the launch. */
#ifndef TRINE_CUDA_MATMUL_SM90_H
#define TRINE_CUDA_MATMUL_SM90_H

#include "backends/cuda/matmul_sm90_kernel.h"
#include "backends/cuda/matmul_sm90_operand.h"
#include "backends/cuda/matmul_sm90_plan.h"
#include "backends/cuda/matmul_variants.h"
#include "backends/cuda/mma/launch.h"

namespace sm90 {

/* ---- What it takes ---- */

inline tensor_map::matrices matrices_of_d(const trine_product &p)
{
    tensor_map::matrices m = {};
    m.data = p.d;
    m.type = type_of(p.d_dtype);
    m.element_bytes = int(trine_dtype_bits(p.d_dtype) / 8);
    m.inner = p.n;
    m.outer = p.m;
    m.outer_stride = p.d_m;
    add_batch(&m, p, TRINE_PRODUCT_D);
    return m;
}

/* A product with all that its launch needs. given: as the caller has it; p: with operands that are copied first. */
struct request {
    trine_product given, p;
    operand a, b;
    tensor_map::matrices d;
    bool by_tma, adds;
};

inline bool is_sum(const trine_product &p) { return p.alpha == 1.0f && !p.has_bias && p.activation == TRINE_ACT_IDENTITY; }

/* f32 that the sum is added to where it lies: the memory can do that by itself. Known at the launch only. */
inline bool adds_to_d(const trine_product &p)
{
    bool same = p.has_c && p.c && p.c == p.d && p.beta == 1.0f && p.d_dtype == TRINE_F32 && p.c_dtype == TRINE_F32 &&
                (p.c_n == 1 || p.n == 1) && (p.c_m == p.d_m || p.m == 1);
    for (int axis = 0; axis < p.batch.ndim && p.batch.numel > 1; axis++)
        same = same && p.batch.stride[TRINE_PRODUCT_C][axis] == p.batch.stride[TRINE_PRODUCT_D][axis];
    return same;
}

/* tf32 lies along K, but for b in tiles that can be turned. */
inline bool fits(const operand &o, trine_dtype dtype, int which)
{
    return o.dense && tensor_map::fits(o.matrices) &&
           (dtype != TRINE_F32 || which == TRINE_PRODUCT_B || o.axis == wgmma::along_k);
}

/* The operand, or a copy of it that is to be made if `copies`. */
inline bool take_operand(request *r, int which, bool copies, operand *o)
{
    *o = operand_of(r->p, which);
    if (fits(*o, r->p.dtype, which)) return true;
    if (!copies) return false;
    const size_t bytes = plan_copy(&r->p, which);
    *o = operand_of(r->p, which);
    o->copied = bytes;
    return true;
}

inline operand_form form_of(const request &r)
{
    const int line = int(wgmma::line_bytes / (trine_dtype_bits(r.p.dtype) / 8)),
              pattern = wgmma::pattern_bytes / wgmma::line_bytes;
    return {r.p.dtype == TRINE_F32 && r.b.axis == wgmma::along_rows, r.a.axis == wgmma::along_k ? pattern : line,
            r.b.axis == wgmma::along_k ? pattern : line};
}
inline bool is_turned_request(const request &r) { return form_of(r).turned; }

/* copies: whatever the size, operands that can't be loaded as they lie are copied first; else only where that pays. */
inline trine_status make_request(trine_call *call, const void *args, bool copies, request *r)
{
    enum { largest = 1 << 30 };                  /* coordinates are 32-bit numbers */
    const double worth_copies = double(1 << 27); /* multiply-adds */
    TRINE_MATMUL_BEGIN(call, args, p);
#ifndef TRINE_CODE_SM90A
    return trine_refuse(call, "needs a build with machine code for sm_90a");
#endif
    TRINE_REQUIRE_THAT(call, strcmp(call->device->props.arch, "sm_90") == 0, "needs a GPU of compute capability 9.0");
    TRINE_REQUIRE_THAT(call, p.dtype != TRINE_F32 || static_cast<const trine_matmul_args *>(args)->precision == TRINE_MATMUL_TF32,
                       "needs f16, bf16, or f32 with precision TF32");
    TRINE_REQUIRE_THAT(call, p.k > 0, "needs K > 0 and alpha other than 0");
    TRINE_REQUIRE_THAT(call, p.m <= largest && p.n <= largest && p.k <= largest, "needs sizes of at most 2^30");
    TRINE_REQUIRE_THAT(call, p.batch.ndim <= 3, "needs at most three batch axes of different strides");
    r->given = r->p = p;
    copies = copies || double(p.m) * double(p.n) * double(p.k) * double(p.batch.numel) >= worth_copies;
    TRINE_REQUIRE_THAT(call, take_operand(r, TRINE_PRODUCT_A, copies, &r->a) && take_operand(r, TRINE_PRODUCT_B, copies, &r->b),
                       "needs a and b with stride 1 along one axis (tf32: a along K) and other strides of multiples of 16 bytes, "
                       "or 2^27 multiply-adds, which pay for a copy");
    r->d = matrices_of_d(p);
    /* TMA was seen to write more than a row of 2 bytes */
    r->adds = adds_to_d(p);
    r->by_tma = is_sum(p) && (!p.has_c || r->adds) && tensor_map::fits(r->d) && tensor_map::aligned(r->d) &&
                p.n * r->d.element_bytes % 16 == 0;
    return TRINE_OK;
}

/* ---- The launch ---- */

template <class Tile> inline schedule schedule_of(const request &r, const plan &how)
{
    schedule s;
    s.rows = unsigned(simt::ceil_div(simt::ceil_div(r.p.m, Tile::M), how.share));
    s.columns = unsigned(simt::ceil_div(simt::ceil_div(r.p.n, Tile::N), how.share_a));
    s.units = unsigned(int64_t(s.rows) * s.columns * r.p.batch.numel);
    s.share = how.share;
    s.share_a = how.share_a;
    s.splits = how.splits;
    s.steps = int(steps_of(r.p));
    s.single = r.p.batch.numel == 1;
    s.by_tma = r.by_tma;
    s.adds = r.adds;
    s.group = group_rows;
    s.find_units();
    return s;
}

template <class T, class Tile> inline bool make_maps(maps *m, const request &r, const plan &how)
{
    const int line = wgmma::elements_of_line<T>, terms = step_terms<T>, a_rows = Tile::M / how.share_a,
              b_rows = Tile::N / how.share;
    bool made = tensor_map::make(&m->a, r.a.matrices, line, r.a.axis == wgmma::along_k ? a_rows : terms);
    made = made && tensor_map::make(&m->b, r.b.matrices, line, r.b.axis == wgmma::along_k ? b_rows : terms);
    const int d_rows = is_turned_request(r) ? int(box_rows) : 64;
    return made && (!r.by_tma || tensor_map::make(&m->d, r.d, wgmma::line_bytes / r.d.element_bytes, d_rows));
}

template <class T, class Tile, wgmma::axis A, wgmma::axis B>
inline trine_status launch(trine_call *call, const request &r, const plan &how)
{
    const auto kernel = matmul_kernel<T, Tile, A, B>;
    const schedule s = schedule_of<Tile>(r, how);
    const unsigned cluster = unsigned(how.share * how.share_a * how.splits);
    const unsigned resident = unsigned(call->device->props.compute_units) * Tile::together / cluster;
    const unsigned clusters = how.splits > 1 || s.units < resident ? s.units : resident;
    maps m = {};
    const bool made = make_maps<T, Tile>(&m, r, how);
    TRINE_REQUIRE_THAT(call, made, "the driver makes no tensor map of it");
    return launch_clusters<Tile>(call, kernel, clusters * cluster, cluster, m, product<T>(r.p), s);
}

template <class T, class Tile> inline trine_status launch_axes(trine_call *call, const request &r, const plan &how)
{
    using wgmma::along_k;
    using wgmma::along_rows;
    if (r.a.axis == along_k)
        return r.b.axis == along_k ? launch<T, Tile, along_k, along_k>(call, r, how)
                                   : launch<T, Tile, along_k, along_rows>(call, r, how);
    return r.b.axis == along_k ? launch<T, Tile, along_rows, along_k>(call, r, how)
                               : launch<T, Tile, along_rows, along_rows>(call, r, how);
}

template <class T> inline trine_status launch_tile(trine_call *call, const request &r, const plan &how)
{
    switch (how.tile) {
    case 0: return launch_axes<T, tile_128x256>(call, r, how);
    case 1: return launch_axes<T, tile_128x128>(call, r, how);
    case 2: return launch_axes<T, tile_64x128_deep>(call, r, how);
    case 3: return launch_axes<T, tile_64x64>(call, r, how);
    case 4: return launch_axes<T, tile_128x64>(call, r, how);
    default: return launch_axes<T, tile_128x192>(call, r, how);
    }
}

/* tf32: a lies along K; a b that does not turns the product, which only some tiles can. */
inline trine_status launch_tf32(trine_call *call, const request &r, const plan &how)
{
    using wgmma::along_k;
    using wgmma::along_rows;
    if (is_turned_request(r))
        return how.tile == 0 ? launch<float, tile_128x256, along_k, along_rows>(call, r, how)
                             : launch<float, tile_64x128_deep, along_k, along_rows>(call, r, how);
    switch (how.tile) {
    case 0: return launch<float, tile_128x256, along_k, along_k>(call, r, how);
    case 1: return launch<float, tile_128x128, along_k, along_k>(call, r, how);
    case 2: return launch<float, tile_64x128_deep, along_k, along_k>(call, r, how);
    case 3: return launch<float, tile_64x64, along_k, along_k>(call, r, how);
    case 4: return launch<float, tile_128x64, along_k, along_k>(call, r, how);
    default: return launch<float, tile_128x192, along_k, along_k>(call, r, how);
    }
}

inline trine_status launch_dtype(trine_call *call, const request &r, const plan &how)
{
    switch (r.p.dtype) {
    case TRINE_F16: return launch_tile<simt::f16>(call, r, how);
    case TRINE_BF16: return launch_tile<simt::bf16>(call, r, how);
    default: return launch_tf32(call, r, how);
    }
}

inline trine_status run(trine_call *call, request *r, const plan &how)
{
    TRINE_REQUIRE_THAT(call, units_fit(r->p, how), "the grid is too large");
    const size_t copied = r->a.copied + r->b.copied;
    /* a query accepted the strides without the addresses: what can't be loaded by TMA takes the portable tile, which needs no
     * workspace */
    if ((!r->a.copied && !tensor_map::aligned(r->a.matrices)) || (!r->b.copied && !tensor_map::aligned(r->b.matrices)))
        return trine_cuda_matmul_portable(call, &r->given);
    TRINE_END_OF_QUERY(call, operand_copy::workspace_of(copied));
    if (simt::product_is_empty(r->p)) return TRINE_OK;
    const trine_status status = copied ? copy_operands(call, r) : TRINE_OK;
    return status == TRINE_OK ? launch_dtype(call, *r, how) : status;
}

/* ---- The variants ---- */

trine_status matmul(trine_call *call, const void *args)
{
    request r;
    const trine_status status = make_request(call, args, false, &r);
    return status == TRINE_OK ? run(call, &r, make_plan(r.p, form_of(r), call->device->props.compute_units)) : status;
}

/* One tile whatever the size, so that small cases check every one of them; K is split as far as it can be where `split`. */
template <int tile, bool split> trine_status matmul_of_tile(trine_call *call, const void *args)
{
    request r;
    const trine_status status = make_request(call, args, true, &r);
    if (status != TRINE_OK) return status;
    TRINE_REQUIRE_THAT(call, turns(tile) || !is_turned_request(r), "needs b along K for this tile with tf32");
    const int64_t steps = steps_of(r.p);
    plan how = {tile, split ? 1 : 2, split ? int(steps < most_splits ? steps : int64_t(most_splits)) : 1};
    if (!shares(r.p, form_of(r), how)) how.share = 1;
    if (!split && how.share == 1 && shares(r.p, form_of(r), plan{tile, 1, 1, 2})) how.share_a = 2;
    return run(call, &r, how);
}

template trine_status matmul_of_tile<0, false>(trine_call *, const void *);
template trine_status matmul_of_tile<1, false>(trine_call *, const void *);
template trine_status matmul_of_tile<2, false>(trine_call *, const void *);
template trine_status matmul_of_tile<3, false>(trine_call *, const void *);
template trine_status matmul_of_tile<4, false>(trine_call *, const void *);
template trine_status matmul_of_tile<5, false>(trine_call *, const void *);
template trine_status matmul_of_tile<0, true>(trine_call *, const void *);
template trine_status matmul_of_tile<1, true>(trine_call *, const void *);
template trine_status matmul_of_tile<2, true>(trine_call *, const void *);
template trine_status matmul_of_tile<3, true>(trine_call *, const void *);
template trine_status matmul_of_tile<4, true>(trine_call *, const void *);

} // namespace sm90

#endif
