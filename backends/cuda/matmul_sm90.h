/* The sm90 matmul's host side: what it takes, how a product is divided (matmul_sm90_plan.h), and the launch. */
#ifndef TRINE_CUDA_MATMUL_SM90_H
#define TRINE_CUDA_MATMUL_SM90_H

#include "backends/cuda/matmul_sm90_kernel.h"
#include "backends/cuda/matmul_sm90_plan.h"
#include "backends/cuda/matmul_variants.h"

namespace sm90 {

/* ---- What it takes ---- */

/* One operand as TMA sees it, and along which axis it lies. */
struct operand {
    tensor_map::matrices matrices;
    wgmma::axis axis;
    bool dense;
};

inline void add_batch(tensor_map::matrices *m, const trine_product &p, int which)
{
    m->batch_axes = p.batch.numel > 1 ? p.batch.ndim : 0;
    for (int i = 0; i < 3; i++) {
        const int axis = p.batch.ndim - 1 - i;
        const bool has = m->batch_axes && axis >= 0 && p.batch.stride[which][axis] != 0;
        m->batch[i] = has ? p.batch.size[axis] : 1;
        m->batch_stride[i] = has ? p.batch.stride[which][axis] : 0;
    }
}

inline CUtensorMapDataType type_of(trine_dtype dtype)
{
    return dtype == TRINE_F32   ? CU_TENSOR_MAP_DATA_TYPE_FLOAT32
           : dtype == TRINE_F16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
}

inline operand operand_of(const trine_product &p, int which, const void *data, int64_t rows, int64_t row_stride, int64_t k_stride)
{
    operand o = {};
    const bool k_dense = k_stride == 1 || p.k == 1, rows_dense = row_stride == 1 || rows == 1;
    const bool along_k = k_dense && (k_stride == 1 || !rows_dense || p.k == 1);
    o.axis = along_k ? wgmma::along_k : wgmma::along_rows;
    o.dense = k_dense || rows_dense;
    tensor_map::matrices &m = o.matrices;
    m.data = data;
    m.type = type_of(p.dtype);
    m.element_bytes = int(trine_dtype_bits(p.dtype) / 8);
    m.inner = along_k ? p.k : rows;
    m.outer = along_k ? rows : p.k;
    m.outer_stride = along_k ? row_stride : k_stride;
    add_batch(&m, p, which);
    return o;
}

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

/* A product with all that its launch needs. */
struct request {
    trine_product p;
    operand a, b;
    tensor_map::matrices d;
    bool by_tma;
};

inline bool is_plain(const trine_product &p)
{
    return p.alpha == 1.0f && !p.has_c && !p.has_bias && p.activation == TRINE_ACT_IDENTITY;
}

inline trine_status make_request(trine_call *call, const void *args, request *r)
{
    enum { largest = 1 << 30 }; /* coordinates are 32-bit numbers */
    TRINE_MATMUL_BEGIN(call, args, p);
#ifndef TRINE_CODE_SM90A
    return trine_refuse(call, "needs a build with machine code for sm_90a");
#endif
    TRINE_REQUIRE_THAT(call, strcmp(call->device->props.arch, "sm_90") == 0, "needs a GPU of compute capability 9.0");
    TRINE_REQUIRE_THAT(call, p.dtype == TRINE_F16 || p.dtype == TRINE_BF16, "needs f16 or bf16");
    TRINE_REQUIRE_THAT(call, p.k > 0, "needs K > 0 and alpha other than 0");
    TRINE_REQUIRE_THAT(call, p.m <= largest && p.n <= largest && p.k <= largest, "needs sizes of at most 2^30");
    TRINE_REQUIRE_THAT(call, p.batch.ndim <= 3, "needs at most three batch axes of different strides");
    r->p = p;
    r->a = operand_of(p, TRINE_PRODUCT_A, p.a, p.m, p.a_m, p.a_k);
    r->b = operand_of(p, TRINE_PRODUCT_B, p.b, p.n, p.b_n, p.b_k);
    r->d = matrices_of_d(p);
    TRINE_REQUIRE_THAT(call, r->a.dense && r->b.dense, "needs a and b with stride 1 along one axis");
    TRINE_REQUIRE_THAT(call, tensor_map::fits(r->a.matrices) && tensor_map::fits(r->b.matrices),
                       "needs a's and b's other strides to be multiples of 16 bytes");
    /* TMA was seen to write more than a row of 2 bytes */
    r->by_tma = is_plain(p) && tensor_map::fits(r->d) && tensor_map::aligned(r->d) && p.n * r->d.element_bytes % 16 == 0;
    return TRINE_OK;
}

/* ---- The launch ---- */

template <class Tile> inline schedule schedule_of(const request &r, const plan &how)
{
    schedule s;
    s.rows = unsigned(simt::ceil_div(simt::ceil_div(r.p.m, Tile::M), how.share));
    s.columns = unsigned(simt::ceil_div(r.p.n, Tile::N));
    s.units = unsigned(int64_t(s.rows) * s.columns * r.p.batch.numel);
    s.share = how.share;
    s.splits = how.splits;
    s.steps = int(simt::ceil_div(r.p.k, step_terms));
    s.single = r.p.batch.numel == 1;
    s.by_tma = r.by_tma;
    s.group = group_rows;
    return s;
}

template <class Tile> inline bool make_maps(maps *m, const request &r, const plan &how)
{
    const int line = wgmma::terms_of_line, b_rows = Tile::N / how.share;
    bool made = tensor_map::make(&m->a, r.a.matrices, line, r.a.axis == wgmma::along_k ? int(Tile::M) : step_terms);
    made = made && tensor_map::make(&m->b, r.b.matrices, line, r.b.axis == wgmma::along_k ? b_rows : step_terms);
    return made && (!r.by_tma || tensor_map::make(&m->d, r.d, wgmma::line_bytes / r.d.element_bytes, 64));
}

template <class T, class Tile, wgmma::axis A, wgmma::axis B>
inline trine_status launch(trine_call *call, const request &r, const plan &how)
{
    const auto kernel = matmul_kernel<T, Tile, A, B>;
    const schedule s = schedule_of<Tile>(r, how);
    const unsigned cluster = unsigned(how.share * how.splits);
    const unsigned resident = unsigned(call->device->props.compute_units) * Tile::together / cluster;
    const unsigned clusters = how.splits > 1 || s.units < resident ? s.units : resident;
    maps m = {};
    TRINE_REQUIRE_THAT(call, make_maps<Tile>(&m, r, how), "the driver makes no tensor map of it");
    target::allow_shared(kernel, Tile::shared);
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {cluster, 1, 1};
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(clusters * cluster);
    config.blockDim = dim3(Tile::threads);
    config.dynamicSmemBytes = Tile::shared;
    config.stream = static_cast<cudaStream_t>(call->native);
    config.attrs = &attribute;
    config.numAttrs = 1;
    (void)cudaLaunchKernelEx(&config, kernel, m, product<T>(r.p), s); /* its error is the run time's last one */
    return target::launched(call);
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
    case 2: return launch_axes<T, tile_64x128>(call, r, how);
    default: return launch_axes<T, tile_64x64>(call, r, how);
    }
}

inline trine_status run(trine_call *call, const request &r, const plan &how)
{
    TRINE_REQUIRE_THAT(call, units_fit(r.p, how), "the grid is too large");
    /* a query accepted the strides without the addresses: what can't be loaded by TMA takes the portable tile, which needs no
     * workspace either */
    if (!tensor_map::aligned(r.a.matrices) || !tensor_map::aligned(r.b.matrices)) return trine_cuda_matmul_portable(call, &r.p);
    TRINE_END_OF_QUERY(call, 0);
    if (simt::product_is_empty(r.p)) return TRINE_OK;
    return r.p.dtype == TRINE_F16 ? launch_tile<simt::f16>(call, r, how) : launch_tile<simt::bf16>(call, r, how);
}

/* ---- The variants ---- */

trine_status matmul(trine_call *call, const void *args)
{
    request r;
    const trine_status status = make_request(call, args, &r);
    return status == TRINE_OK ? run(call, r, make_plan(r.p, call->device->props.compute_units)) : status;
}

/* One tile whatever the size, so that small cases check every one of them; K is split as far as it can be where `split`. */
template <int tile, bool split> trine_status matmul_of_tile(trine_call *call, const void *args)
{
    request r;
    const trine_status status = make_request(call, args, &r);
    if (status != TRINE_OK) return status;
    const int64_t steps = simt::ceil_div(r.p.k, step_terms);
    return run(call, r,
               plan{tile, !split && shares(tile) ? 2 : 1, split ? int(steps < most_splits ? steps : int64_t(most_splits)) : 1});
}

template trine_status matmul_of_tile<0, false>(trine_call *, const void *);
template trine_status matmul_of_tile<1, false>(trine_call *, const void *);
template trine_status matmul_of_tile<2, false>(trine_call *, const void *);
template trine_status matmul_of_tile<3, false>(trine_call *, const void *);
template trine_status matmul_of_tile<0, true>(trine_call *, const void *);
template trine_status matmul_of_tile<1, true>(trine_call *, const void *);
template trine_status matmul_of_tile<2, true>(trine_call *, const void *);
template trine_status matmul_of_tile<3, true>(trine_call *, const void *);

} // namespace sm90

#endif
