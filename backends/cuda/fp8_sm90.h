/* The sm90 fp8 product's host side: what it takes, which tile, the launch. */
#ifndef TRINE_CUDA_FP8_SM90_H
#define TRINE_CUDA_FP8_SM90_H

#include "backends/cuda/fp8_sm90_kernel.h"
#include "backends/cuda/fp8_variants.h"
#include "backends/cuda/matmul_sm90_operand.h"
#include "backends/cuda/mma/launch.h"

namespace sm90f8 {

/* ---- Tiles, and which to take ---- */

using tile_128x192 = f8_tile<128, 192, 4, 1, 3, 40, true>;
using tile_128x128 = f8_tile<128, 128, 5, 1, 2, 88, true>;
using tile_64x128 = f8_tile<64, 128, 4, 2, 1, 80, true>;
using tile_128x256 = f8_tile<128, 256, 4, 1, 2, 40, true, 128>;
using tile_64x64 = f8_tile<64, 64, 10, 1, 1, 88, true>;
using tile_fast = f8_tile<128, 256, 4, 1, 2, 40, false>;

/* group_rows: rows of tiles that are worked on together. */
enum { tile_count = 5, only_mixed_tile = 1, most_splits = 8, group_rows = 16 };

/* How a stage's sums are added up: times its scales, as they are, or by the tensor cores. */
enum promotion { promotes_scaled, promotes_plain, promotes_not, promotion_count };

/* Cycles of a stage, and of a tile beside its stages, measured on an H100. */
struct tile_row {
    int m, n, stages, together;
    double stage[promotion_count], ends[promotion_count];
};
static constexpr tile_row tile_table[tile_count] = {
    {128, 192, 4, 1, {1010, 820, 820}, {2770, 2770, 2770}}, {128, 128, 5, 1, {735, 601, 601}, {3300, 3300, 3300}},
    {64, 128, 4, 2, {380, 320, 320}, {1500, 1500, 1500}},   {128, 256, 4, 1, {1320, 1130, 1065}, {4200, 4200, 3000}},
    {64, 64, 10, 1, {220, 190, 190}, {1500, 1500, 1500}},
};

/* A tile, blocks that share b, parts of K. One of the last two is 1. */
struct f8_plan {
    int tile, share, splits;
};

/* An operand as TMA sees it, and the bytes of the copy that is made first; 0: none. */
struct f8_operand {
    tensor_map::matrices matrices;
    size_t copied;
};

/* A product with all that its launch needs. given: as the caller has it; p: with operands that are copied first. */
struct f8_request {
    trine_product given, p;
    f8_operand a, b;
    tensor_map::matrices d;
    bool by_tma, mixed, fast;
    promotion way() const
    {
        return p.a_scale.k_step || p.b_scale.k_step ? promotes_scaled : fast ? promotes_not : promotes_plain;
    }
};

inline bool shares(const f8_request &r, int tile)
{
    return (tile_table[tile].m >= 128 || tile_table[tile].n == 64) && simt::ceil_div(r.p.m, tile_table[tile].m) % 2 == 0;
}
inline bool can_split(int tile) { return tile_table[tile].m * tile_table[tile].n <= 128 * 128; }
inline int64_t units_of(const trine_product &p, const f8_plan &how)
{
    const tile_row &t = tile_table[how.tile];
    return simt::ceil_div(simt::ceil_div(p.m, t.m), how.share) * simt::ceil_div(p.n, t.n) * p.batch.numel;
}

/* Cycles of a multiprocessor for a stage of a tile: its own, or of the way from L2 at 64 bytes a cycle. */
inline double cycles_of_stage(const trine_product &p, promotion way, const tile_row &t, int share)
{
    const double rows = double(p.m < t.m ? p.m : t.m), columns = double(p.n < t.n ? p.n : t.n);
    const double load = (rows + columns / share) * terms / 64;
    return t.stage[way] > load ? t.stage[way] : load;
}

/* Cycles of a product; latencies as measured for 16-bit products. */
inline double cycles_of(const trine_product &p, promotion way, const f8_plan &how, int64_t units)
{
    const double memory_rate = 1700, latency = 2800; /* bytes a cycle; cycles */
    const tile_row &t = tile_table[how.tile];
    const int64_t blocks = units_of(p, how) * how.share * how.splits, spread = simt::ceil_div(blocks, units);
    const int64_t rounds = simt::ceil_div(blocks, units * t.together);
    const double busy = spread > t.together || (how.splits > 1 && 2 * blocks > units) ? t.together : double(spread);
    const double together = busy * cycles_of_stage(p, way, t, how.share), wait = latency / t.stages;
    const double steps = double(simt::ceil_div(simt::ceil_div(p.k, terms), how.splits));
    const double m = double(p.m), n = double(p.n), k = double(p.k), batch = double(p.batch.numel);
    const double memory = batch * (m * k + n * k + 2 * m * n) / memory_rate;
    const double work = double(rounds) * (steps * (together > wait ? together : wait) + t.ends[way]);
    const double rows = double(p.m < t.m ? p.m : t.m);
    const double sums = how.splits > 1 ? 1500 * how.splits + (rows + t.m) * t.n * 4 * busy / 16 : 0;
    return (work > memory ? work + 0.3 * memory : memory + 0.3 * work) + sums;
}

inline f8_plan make_f8_plan(const f8_request &r, int64_t units)
{
    f8_plan best = {only_mixed_tile, 1, 1};
    double least = 1e300;
    const int64_t steps = simt::ceil_div(r.p.k, terms);
    for (int tile = 0; tile < tile_count; tile++)
        for (int splits = 1; splits <= most_splits && (splits == 1 || steps >= 4 * splits); splits++) {
            /* K is divided where the tiles alone leave multiprocessors idle */
            if (splits > 1 && !can_split(tile)) break;
            if (splits > 1 &&
                units_of(r.p, f8_plan{tile, 1, 1}) > sm90::clusters_at_once(units, splits, tile_table[tile].together))
                break;
            if (!r.mixed && r.p.m <= 64 && tile_table[tile].m > 64) break; /* half of it would be nothing */
            if (r.mixed && tile != only_mixed_tile) continue;
            const f8_plan how = {tile, splits == 1 && shares(r, tile) ? 2 : 1, splits};
            const double cycles = cycles_of(r.p, r.way(), how, units > 0 ? units : 1);
            if (cycles < least) {
                least = cycles;
                best = how;
            }
        }
    return best;
}

/* ---- What it takes ---- */

inline tensor_map::matrices matrices_of(const trine_product &p, int which, const void *data, CUtensorMapDataType type, int bytes,
                                        int64_t inner, int64_t outer, int64_t outer_stride)
{
    tensor_map::matrices m = {};
    m.data = data;
    m.type = type;
    m.element_bytes = bytes;
    m.inner = inner;
    m.outer = outer;
    m.outer_stride = outer_stride;
    add_batch(&m, p, which);
    return m;
}

inline tensor_map::matrices matrices_of_d(const trine_product &p)
{
    return matrices_of(p, TRINE_PRODUCT_D, p.d, type_of(p.d_dtype), int(trine_dtype_bits(p.d_dtype) / 8), p.n, p.m, p.d_m);
}

/* The operand, or a copy of it that is to be made if `copies`: wgmma takes fp8 along K only. */
inline bool take_operand(f8_request *r, int which, bool copies, f8_operand *o)
{
    const auto seen = [&] {
        const operand_view v = view_of(r->p, which);
        return matrices_of(r->p, which, v.data, CU_TENSOR_MAP_DATA_TYPE_UINT8, 1, r->p.k, v.rows, v.row_stride);
    };
    o->matrices = seen();
    o->copied = 0;
    if ((view_of(r->p, which).k_stride == 1 || r->p.k == 1) && tensor_map::fits(o->matrices)) return true;
    if (!copies) return false;
    o->copied = plan_copy(&r->p, which);
    o->matrices = seen();
    return true;
}

/* copies: whatever the size, operands that can't be loaded as they lie are copied first; else only where that pays. */
inline trine_status make_f8_request(trine_call *call, const void *args, bool copies, f8_request *r)
{
    enum { largest = 1 << 30 };                  /* coordinates are 32-bit numbers */
    const double worth_copies = double(1 << 27); /* multiply-adds */
    TRINE_FP8_MATMUL_BEGIN(call, args, p);
#ifndef TRINE_CODE_SM90A
    return trine_refuse(call, "needs a build with machine code for sm_90a");
#endif
    TRINE_REQUIRE_THAT(call, strcmp(call->device->props.arch, "sm_90") == 0, "needs a GPU of compute capability 9.0");
    TRINE_REQUIRE_THAT(call, is_ocp_f8(p.dtype) && is_ocp_f8(p.b_dtype), "needs e4m3fn or e5m2");
    TRINE_REQUIRE_THAT(call, p.k > 0, "needs K > 0");
    TRINE_REQUIRE_THAT(call, p.m <= largest && p.n <= largest && p.k <= largest, "needs sizes of at most 2^30");
    TRINE_REQUIRE_THAT(call, p.batch.ndim <= 3, "needs at most three batch axes of different strides");
    TRINE_REQUIRE_THAT(call, p.b_scale.k_step == 0 || p.b_scale.row == 0 || p.b_scale.row_block != 1,
                       "needs b_scale in blocks of 128 columns where it depends on k");
    r->given = r->p = p;
    r->mixed = p.dtype != TRINE_F8_E4M3FN || p.b_dtype != TRINE_F8_E4M3FN;
    r->fast = static_cast<const trine_fp8_matmul_args *>(args)->fast_accumulate && p.a_scale.k_step == 0 && p.b_scale.k_step == 0;
    copies = copies || double(p.m) * double(p.n) * double(p.k) * double(p.batch.numel) >= worth_copies;
    TRINE_REQUIRE_THAT(call, take_operand(r, TRINE_PRODUCT_A, copies, &r->a) && take_operand(r, TRINE_PRODUCT_B, copies, &r->b),
                       "needs a and b with stride 1 along K and other strides of multiples of 16 bytes, or 2^27 multiply-adds, "
                       "which pay for a copy");
    r->d = matrices_of_d(p);
    /* TMA was seen to write more than a row of 2 bytes */
    r->by_tma = p.activation == TRINE_ACT_IDENTITY && !p.bias_m && tensor_map::fits(r->d) && tensor_map::aligned(r->d) &&
                p.n * r->d.element_bytes % 16 == 0;
    return TRINE_OK;
}

/* ---- The launch ---- */

template <class Tile> inline bool make_f8_maps(maps *m, const f8_request &r, const f8_plan &how)
{
    bool made = tensor_map::make(&m->a, r.a.matrices, wgmma::line_bytes, Tile::M);
    made = made && tensor_map::make(&m->b, r.b.matrices, wgmma::line_bytes, Tile::N / how.share);
    return made && (!r.by_tma || tensor_map::make(&m->d, r.d, wgmma::line_bytes / r.d.element_bytes, 64));
}

template <class A, class B, class Tile> inline trine_status launch_f8(trine_call *call, const f8_request &r, const f8_plan &how)
{
    const auto kernel = fp8_kernel<A, B, Tile>;
    schedule s = {};
    s.rows = unsigned(simt::ceil_div(simt::ceil_div(r.p.m, Tile::M), how.share));
    s.columns = unsigned(simt::ceil_div(r.p.n, Tile::N));
    s.units = unsigned(units_of(r.p, how));
    s.share = how.share;
    s.splits = how.splits;
    s.steps = int(simt::ceil_div(r.p.k, terms));
    s.single = r.p.batch.numel == 1;
    s.by_tma = r.by_tma;
    s.group = group_rows;
    s.find_units();
    const unsigned cluster = unsigned(how.share * how.splits);
    const unsigned resident = unsigned(call->device->props.compute_units) * Tile::together / cluster;
    const unsigned clusters = how.splits > 1 || s.units < resident ? s.units : resident;
    maps m = {};
    TRINE_REQUIRE_THAT(call, make_f8_maps<Tile>(&m, r, how), "the driver makes no tensor map of it");
    return sm90::launch_clusters<Tile>(call, kernel, clusters * cluster, cluster, m, f8_product(r.p), f8_scaling(r.p), s);
}

inline trine_status launch_f8_tile(trine_call *call, const f8_request &r, const f8_plan &how)
{
    using e4 = simt::f8_e4m3fn;
    using e5 = simt::f8_e5m2;
    if (r.mixed) {
        if (r.p.dtype == TRINE_F8_E4M3FN) return launch_f8<e4, e5, tile_128x128>(call, r, how);
        return r.p.b_dtype == TRINE_F8_E4M3FN ? launch_f8<e5, e4, tile_128x128>(call, r, how)
                                              : launch_f8<e5, e5, tile_128x128>(call, r, how);
    }
    switch (how.tile) {
    case 0: return launch_f8<e4, e4, tile_128x192>(call, r, how);
    case 1: return launch_f8<e4, e4, tile_128x128>(call, r, how);
    case 2: return launch_f8<e4, e4, tile_64x128>(call, r, how);
    case 4: return launch_f8<e4, e4, tile_64x64>(call, r, how);
    default: return r.fast ? launch_f8<e4, e4, tile_fast>(call, r, how) : launch_f8<e4, e4, tile_128x256>(call, r, how);
    }
}

inline trine_status run_f8(trine_call *call, f8_request *r, const f8_plan &how)
{
    TRINE_REQUIRE_THAT(call, units_of(r->p, how) <= 0x7fffffff / (how.share * how.splits), "the grid is too large");
    const size_t copied = r->a.copied + r->b.copied;
    /* a query accepted the strides without the addresses: what can't be loaded by TMA takes the portable tile, which needs no
     * workspace either */
    if ((!r->a.copied && !tensor_map::aligned(r->a.matrices)) || (!r->b.copied && !tensor_map::aligned(r->b.matrices)))
        return trine_cuda_fp8_matmul_portable(call, &r->given);
    TRINE_END_OF_QUERY(call, operand_copy::workspace_of(copied));
    if (simt::product_is_empty(r->p)) return TRINE_OK;
    const trine_status status = copied ? copy_operands(call, r) : TRINE_OK;
    return status == TRINE_OK ? launch_f8_tile(call, *r, how) : status;
}

/* ---- The variants ---- */

trine_status fp8_matmul(trine_call *call, const void *args)
{
    f8_request r;
    const trine_status status = make_f8_request(call, args, false, &r);
    return status == TRINE_OK ? run_f8(call, &r, make_f8_plan(r, call->device->props.compute_units)) : status;
}

/* One tile whatever the size, so that small cases check every one of them; K is split as far as it can be where `split`. */
template <int tile, bool split> trine_status fp8_matmul_of_tile(trine_call *call, const void *args)
{
    f8_request r;
    const trine_status status = make_f8_request(call, args, true, &r);
    if (status != TRINE_OK) return status;
    TRINE_REQUIRE_THAT(call, !r.mixed || tile == only_mixed_tile, "needs e4m3fn for both");
    const int64_t steps = simt::ceil_div(r.p.k, terms);
    return run_f8(
        call, &r,
        f8_plan{tile, !split && shares(r, tile) ? 2 : 1, split ? int(steps < most_splits ? steps : int64_t(most_splits)) : 1});
}

template trine_status fp8_matmul_of_tile<0, false>(trine_call *, const void *);
template trine_status fp8_matmul_of_tile<1, false>(trine_call *, const void *);
template trine_status fp8_matmul_of_tile<2, false>(trine_call *, const void *);
template trine_status fp8_matmul_of_tile<3, false>(trine_call *, const void *);
template trine_status fp8_matmul_of_tile<4, false>(trine_call *, const void *);
template trine_status fp8_matmul_of_tile<1, true>(trine_call *, const void *);
template trine_status fp8_matmul_of_tile<2, true>(trine_call *, const void *);
template trine_status fp8_matmul_of_tile<4, true>(trine_call *, const void *);

} // namespace sm90f8

#endif
