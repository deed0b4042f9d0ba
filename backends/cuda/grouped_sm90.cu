/* Hopper's grouped products: what they take, and the launch. The kernels are in grouped_sm90_kernel.h and grouped_f8_sm90_kernel.h,
 * those of the sums in grouped_sums_sm90_kernel.h. */
#include "backends/cuda/target.h"

#include "backends/cuda/fp8_variants.h"
#include "backends/cuda/grouped_f8_sm90_kernel.h"
#include "backends/cuda/grouped_sums_sm90_kernel.h"
#include "backends/cuda/grouped_variants.h"
#include "backends/cuda/matmul_sm90_operand.h"
#include "backends/cuda/matmul_sm90_plan.h"
#include "backends/cuda/mma/launch.h"

namespace sm90 {

/* A grouped product with all that its launch needs. given: as the caller has it; g: with a b that is copied first. */
struct group_request {
    trine_grouped given, g;
    size_t copied; /* bytes of b; 0: as it lies */
    tensor_map::matrices a, b, d;
    wgmma::axis b_axis;
    bool by_tma;
    int step_terms; /* of a stage: 128 bytes */
};

static tensor_map::matrices matrices_of(const trine_grouped &g, int which, trine_dtype dtype, const void *data, int64_t inner,
                                        int64_t outer, int64_t outer_stride)
{
    const int64_t groups = g.p.batch.numel, apart = g.p.batch.stride[which][0];
    tensor_map::matrices m = {};
    m.data = data;
    m.type = trine_dtype_bits(dtype) == 8 ? CU_TENSOR_MAP_DATA_TYPE_UINT8 : type_of(dtype);
    m.element_bytes = int(trine_dtype_bits(dtype) / 8);
    m.inner = inner;
    m.outer = outer;
    m.outer_stride = outer_stride;
    m.batch_axes = which == TRINE_PRODUCT_B || g.layout == TRINE_GROUPED_MASKED ? 1 : 0;
    m.batch[0] = m.batch_axes ? groups : 1;
    m.batch[1] = m.batch[2] = 1;
    m.batch_stride[0] = apart;
    return m;
}

/* wgmma takes fp8 along K only: a b that lies otherwise, or whose columns TMA can't take, is copied first. a is not, for some of its
 * rows may be nobody's. */
static void plan_group_copy(group_request *r)
{
    trine_product &p = r->g.p;
    if ((p.b_k != 1 && p.k != 1) || !tensor_map::fits(matrices_of(r->g, TRINE_PRODUCT_B, p.dtype, p.b, p.k, p.n, p.b_n)))
        r->copied = plan_copy(&p, TRINE_PRODUCT_B);
}

/* What the operands must be like, and how TMA sees them. */
static trine_status take_group_operands(trine_call *call, group_request *r, bool is_f8, bool copies)
{
    const trine_grouped &g = r->g;
    const trine_product &p = g.p;
    if (is_f8 && copies) plan_group_copy(r);
    const bool along_k = p.b_k == 1 || p.k == 1;
    TRINE_REQUIRE_THAT(call, (p.a_k == 1 || p.k == 1) && (along_k || (!is_f8 && (p.b_n == 1 || p.n == 1))),
                       "needs a with stride 1 along K, b along K or N; fp8 along K, or groups that pay for a copy of b");
    r->step_terms = is_f8 ? int(sm90f8::terms) : 64;
    r->b_axis = along_k ? wgmma::along_k : wgmma::along_rows;
    r->a = matrices_of(g, TRINE_PRODUCT_A, p.dtype, p.a, p.k, p.m, p.a_m);
    r->b = matrices_of(g, TRINE_PRODUCT_B, p.dtype, p.b, along_k ? p.k : p.n, along_k ? p.n : p.k, along_k ? p.b_n : p.b_k);
    r->d = matrices_of(g, TRINE_PRODUCT_D, p.d_dtype, p.d, p.n, p.m, p.d_m);
    TRINE_REQUIRE_THAT(call, tensor_map::fits(r->a) && tensor_map::fits(r->b),
                       "needs a's and b's other strides to be multiples of 16 bytes");
    /* TMA was seen to write more than a row of 2 bytes */
    r->by_tma = !p.has_bias && p.activation == TRINE_ACT_IDENTITY && tensor_map::fits(r->d) && tensor_map::aligned(r->d) &&
                p.n * r->d.element_bytes % 16 == 0;
    return TRINE_OK;
}

/* Sums: operands along their rows, all groups' terms in one matrix. Maps of one kind for all three. */
static trine_status take_sums_operands(trine_call *call, group_request *r)
{
    const trine_product &p = r->g.p;
    TRINE_REQUIRE_THAT(call, p.dtype == TRINE_F16 || p.dtype == TRINE_BF16, "needs groups of rows, not of terms, with fp8");
    TRINE_REQUIRE_THAT(call, (p.a_m == 1 || p.m == 1) && (p.b_n == 1 || p.n == 1), "needs a with stride 1 along M, b along N");
    r->a = matrices_of(r->g, TRINE_PRODUCT_A, p.dtype, p.a, p.m, p.k, p.a_k);
    r->b = matrices_of(r->g, TRINE_PRODUCT_B, p.dtype, p.b, p.n, p.k, p.b_k);
    r->d = matrices_of(r->g, TRINE_PRODUCT_D, p.d_dtype, p.d, p.n, p.m, p.d_m);
    for (tensor_map::matrices *m : {&r->a, &r->b, &r->d}) m->batch_axes = p.batch.numel > 1;
    r->a.batch[0] = r->b.batch[0] = 1;
    r->d.batch[0] = p.batch.numel;
    TRINE_REQUIRE_THAT(call, tensor_map::fits(r->a) && tensor_map::fits(r->b),
                       "needs a's and b's other strides to be multiples of 16 bytes");
    r->by_tma = !p.has_bias && p.activation == TRINE_ACT_IDENTITY && tensor_map::fits(r->d) && tensor_map::aligned(r->d) &&
                p.n * r->d.element_bytes % 16 == 0;
    return TRINE_OK;
}

/* copies: b of fp8 is turned whatever the size; else only where that pays. */
static trine_status make_group_request(trine_call *call, const void *args, bool copies, group_request *r)
{
    enum { largest = 1 << 30, rows_worth_copies = 16 }; /* coordinates and units are 32-bit numbers */
    const double worth_copies = double(1 << 27);        /* multiply-adds */
    trine_grouped &g = r->g;
    const trine_product &p = g.p;
    TRINE_REQUIRE_THAT(call, trine_grouped_make(&g, static_cast<const trine_grouped_matmul_args *>(args)),
                       "needs d with stride 1 along N");
#ifndef TRINE_CODE_SM90A
    return trine_refuse(call, "needs a build with machine code for sm_90a");
#endif
    TRINE_REQUIRE_THAT(call, strcmp(call->device->props.arch, "sm_90") == 0, "needs a GPU of compute capability 9.0");
    const bool is_f8 = is_ocp_f8(p.dtype) && is_ocp_f8(p.b_dtype);
    TRINE_REQUIRE_THAT(call, p.dtype == TRINE_F16 || p.dtype == TRINE_BF16 || is_f8, "needs f16, bf16, e4m3fn or e5m2");
    TRINE_REQUIRE_THAT(call, p.b_scale.k_step == 0 || p.b_scale.row == 0 || p.b_scale.row_block != 1,
                       "needs b_scale in blocks of 128 columns where it depends on k");
    TRINE_REQUIRE_THAT(call, p.k > 0, "needs K > 0");
    TRINE_REQUIRE_THAT(call, p.m <= largest && p.n <= largest && p.k <= largest, "needs sizes of at most 2^30");
    const int64_t units = (p.m / 64 + 1) * (p.n / 128 + 1);
    TRINE_REQUIRE_THAT(call, units * p.batch.numel <= largest, "needs fewer tiles");
    r->given = g;
    r->copied = 0;
    if (g.layout == TRINE_GROUPED_SUMS) return take_sums_operands(call, r);
    const double products = double(rows_of_groups(g)) * double(p.n) * double(p.k) * double(p.batch.numel);
    return take_group_operands(call, r, is_f8, copies || (rows_of_groups(g) >= rows_worth_copies && products >= worth_copies));
}

template <class Tile> static group_schedule schedule_of(const group_request &r)
{
    group_schedule s = {};
    s.tiles.share = 2;
    s.tiles.splits = 1;
    s.tiles.by_tma = r.by_tma;
    s.masked = r.g.layout == TRINE_GROUPED_MASKED;
    s.tiles.single = !s.masked;
    s.columns = int(simt::ceil_div(r.g.p.n, Tile::N));
    s.steps = int(simt::ceil_div(r.g.p.k, r.step_terms));
    s.bias_group = r.g.bias_group;
    return s;
}

template <class Tile> static bool make_maps(maps *m, const group_request &r)
{
    const int line = r.step_terms, half_a = Tile::M / 2, half_b = Tile::N / 2;
    return tensor_map::make(&m->a, r.a, line, half_a) &&
           tensor_map::make(&m->b, r.b, line, r.b_axis == wgmma::along_k ? half_b : line) &&
           (!r.by_tma || tensor_map::make(&m->d, r.d, wgmma::line_bytes / r.d.element_bytes, 64));
}

/* Clusters of two; no more than there may be units. given: what the kernel has beside maps, schedule and sizes. */
template <class Tile, class... P, class... A>
static trine_status launch_groups(trine_call *call, const group_request &r, void (*kernel)(P...), const A &...given)
{
    const group_schedule s = schedule_of<Tile>(r);
    const trine_product &p = r.g.p;
    const int64_t each = s.masked ? p.batch.numel * simt::ceil_div(p.m, Tile::M) : p.m / Tile::M + p.batch.numel;
    const int64_t resident = int64_t(call->device->props.compute_units) * Tile::together / 2, units = each * s.columns;
    maps m = {};
    const bool made = make_maps<Tile>(&m, r);
    TRINE_REQUIRE_THAT(call, made, "the driver makes no tensor map of it");
    return launch_clusters<Tile>(call, kernel, unsigned(2 * (units < resident ? units : resident)), 2, m, given..., s,
                                 simt::group_list(r.g));
}

template <class T, class Tile> static trine_status launch_axis(trine_call *call, const group_request &r)
{
    const product<T> p(r.g.p);
    return r.b_axis == wgmma::along_k ? launch_groups<Tile>(call, r, grouped_kernel<T, Tile, wgmma::along_k>, p)
                                      : launch_groups<Tile>(call, r, grouped_kernel<T, Tile, wgmma::along_rows>, p);
}

template <class T> static trine_status launch_tile(trine_call *call, const group_request &r, grouped_tile tile)
{
    return tile == grouped_64x128 ? launch_axis<T, tile_64x128>(call, r) : launch_axis<T, tile_128x256>(call, r);
}

static bool is_mixed(const group_request &r)
{
    return r.g.p.has_scales && (r.g.p.dtype != TRINE_F8_E4M3FN || r.g.p.b_dtype != TRINE_F8_E4M3FN);
}

template <class A, class B, class Tile> static trine_status launch_f8(trine_call *call, const group_request &r)
{
    return launch_groups<Tile>(call, r, sm90f8::grouped_f8_kernel<A, B, Tile>, sm90f8::f8_product(r.g.p),
                               sm90f8::f8_scaling(r.g.p));
}

static trine_status launch_f8_tile(trine_call *call, const group_request &r, grouped_tile tile)
{
    using e4 = simt::f8_e4m3fn;
    using e5 = simt::f8_e5m2;
    using small = sm90f8::group_tile_64x128;
    if (!is_mixed(r))
        return tile == grouped_64x128 ? launch_f8<e4, e4, small>(call, r)
                                      : launch_f8<e4, e4, sm90f8::group_tile_128x256>(call, r);
    if (r.g.p.dtype == TRINE_F8_E4M3FN) return launch_f8<e4, e5, small>(call, r);
    return r.g.p.b_dtype == TRINE_F8_E4M3FN ? launch_f8<e5, e4, small>(call, r) : launch_f8<e5, e5, small>(call, r);
}

/* Blocks of a cluster share b where tiles go in pairs along M, a where they do along N. */
template <class T> static trine_status launch_sums(trine_call *call, const group_request &r)
{
    using tile = tile_128x256;
    const trine_product &p = r.g.p;
    const int64_t tiles_m = simt::ceil_div(p.m, tile::M), tiles_n = simt::ceil_div(p.n, tile::N);
    schedule s = {};
    s.share = tiles_m % 2 == 0 ? 2 : 1;
    s.share_a = s.share == 1 && tiles_n % 2 == 0 ? 2 : 1;
    s.splits = 1;
    s.rows = unsigned(tiles_m / s.share);
    s.columns = unsigned(tiles_n / s.share_a);
    s.units = unsigned(int64_t(s.rows) * s.columns * p.batch.numel);
    s.single = p.batch.numel == 1;
    s.by_tma = r.by_tma;
    s.group = group_rows;
    s.find_units();
    maps m = {};
    const int line = wgmma::elements_of_line<T>;
    const bool made = tensor_map::make(&m.a, r.a, line, step_terms<T>) && tensor_map::make(&m.b, r.b, line, step_terms<T>) &&
                      (!r.by_tma || tensor_map::make(&m.d, r.d, wgmma::line_bytes / r.d.element_bytes, 64));
    TRINE_REQUIRE_THAT(call, made, "the driver makes no tensor map of it");
    const unsigned cluster = unsigned(s.share * s.share_a), resident = unsigned(call->device->props.compute_units) / cluster;
    return launch_clusters<tile>(call, grouped_sums_kernel<T, tile>, (s.units < resident ? s.units : resident) * cluster, cluster,
                                 m, product<T>(p), s, simt::group_list(r.g), r.g.bias_group);
}

/* Where groups are small on average, so are the tiles: b's bytes are the bound, and more of them are on their way so. e5m2 has no
 * others. */
static grouped_tile choose_tile(const group_request &r)
{
    return is_mixed(r) || rows_of_groups(r.g) <= 64 ? grouped_64x128 : grouped_128x256;
}

template <grouped_tile tile> trine_status grouped_matmul(trine_call *call, const void *args)
{
    group_request r;
    trine_status status = make_group_request(call, args, tile != grouped_any, &r);
    if (status != TRINE_OK) return status;
    TRINE_REQUIRE_THAT(call, tile != grouped_128x256 || !is_mixed(r), "needs e4m3fn for both");
    const bool sums = r.g.layout == TRINE_GROUPED_SUMS;
    TRINE_REQUIRE_THAT(call, !sums || tile == grouped_128x256 || (tile == grouped_any && r.g.p.m >= 128 && r.g.p.n >= 128),
                       "needs sums of at least 128 x 128, and their tile");
    /* a query accepted the strides without the addresses; the portable kernel needs no workspace either */
    if (!tensor_map::aligned(r.a) || (!r.copied && !tensor_map::aligned(r.b))) return trine_cuda_grouped_portable(call, &r.given);
    TRINE_END_OF_QUERY(call, operand_copy::workspace_of(r.copied));
    if (simt::product_is_empty(r.g.p)) return TRINE_OK;
    if (sums) return r.g.p.dtype == TRINE_F16 ? launch_sums<simt::f16>(call, r) : launch_sums<simt::bf16>(call, r);
    status = operand_copy::make(call, r.given.p, &r.g.p, 0, r.copied);
    if (status != TRINE_OK) return status;
    r.b.data = r.g.p.b;
    const grouped_tile how = tile == grouped_any ? choose_tile(r) : tile;
    if (r.g.p.has_scales) return launch_f8_tile(call, r, how);
    return r.g.p.dtype == TRINE_F16 ? launch_tile<simt::f16>(call, r, how) : launch_tile<simt::bf16>(call, r, how);
}

template trine_status grouped_matmul<grouped_any>(trine_call *, const void *);
template trine_status grouped_matmul<grouped_128x256>(trine_call *, const void *);
template trine_status grouped_matmul<grouped_64x128>(trine_call *, const void *);

} // namespace sm90
