/* The sm90 nf4_matmul's host side: what it takes, how the work is divided, the launch. */
#ifndef TRINE_CUDA_NF4_SM90_H
#define TRINE_CUDA_NF4_SM90_H

#include "backends/cuda/mma/launch.h"
#include "backends/cuda/nf4_sm90_kernel.h"
#include "backends/cuda/nf4_variants.h"

namespace sm90nf4 {

using tile_64 = tile<64, 10, 2>;
using tile_128 = tile<128, 7, 2>;
using tile_256 = tile<256, 4, 1>;

enum { least = 17, most = 2048, most_splits = 8, most_parts = 32 << 20, finish_threads = 256 };

/* columns: a tile's rows of x. */
struct plan {
    int columns, splits;
};

inline int64_t units_of(const trine_nf4_shape &s, const plan &how)
{
    return simt::ceil_div(s.n, 2 * 128) * simt::ceil_div(s.m, how.columns) * how.splits;
}
inline int64_t bytes_of_parts(const trine_nf4_shape &s, int splits)
{
    return splits > 1 ? s.m * s.n * splits * int64_t(sizeof(float)) : 0;
}

/* Cycles, as fitted to an H100's times of 315 products, among which they choose within 0.3 % of the best: of a stage by the tile's
 * rows of x, of a unit beside its stages, of a second kernel, and of a way from and to memory. */
inline double cost_of(const trine_nf4_shape &s, const plan &how, int64_t clusters)
{
    const double stage = how.columns == 64 ? 535 : how.columns == 128 ? 787 : 1410;
    const int64_t steps = simt::ceil_div(s.k / terms, how.splits), rounds = simt::ceil_div(units_of(s, how), clusters);
    return double(rounds) * (double(steps) * stage + 7100) +
           (how.splits > 1 ? 10700 + 2 * double(bytes_of_parts(s, how.splits)) / 5370 : 0);
}

inline plan make_plan(const trine_nf4_shape &s, int64_t units)
{
    const int64_t clusters = sm90::clusters_at_once(units, together, 1);
    plan best = {256, 1};
    for (int columns = 64; columns <= 256; columns *= 2)
        for (int splits = 1; splits <= most_splits && splits * 4 <= s.k / terms; splits++) {
            const plan how = {columns, splits};
            if (bytes_of_parts(s, splits) <= most_parts && cost_of(s, how, clusters) < cost_of(s, best, clusters)) best = how;
        }
    return best;
}

/* The parts of K, added in order. */
template <class T> __global__ void __launch_bounds__(finish_threads)
    finish_kernel(const __grid_constant__ nf4_product<T> p, const float *parts, int splits, int64_t count)
{
    const int64_t i = (int64_t(blockIdx.x) * finish_threads + threadIdx.x) * 4;
    target::wait_for_previous();
    if (i >= count) return;
    simt::pack<float, 4> sum = {};
    if (p.n % 4 == 0) {
#pragma unroll 4
        for (int s = 0; s < splits; s++) {
            const float4 v = *reinterpret_cast<const float4 *>(parts + s * count + i);
            sum.at[0] += v.x, sum.at[1] += v.y, sum.at[2] += v.z, sum.at[3] += v.w;
        }
    } else {
        for (int j = 0; j < 4; j++)
            for (int s = 0; s < splits && i + j < count; s++) sum.at[j] += parts[s * count + i + j];
    }
    for (int j = 0; j < 4; j++)
        if (i + j < count) p.store(sum.at[j], (i + j) / p.n, (i + j) % p.n);
}

template <class T, class Tile>
inline trine_status launch(trine_call *call, const nf4_product<T> &p, const trine_nf4_shape &shape, const plan &how, float *parts)
{
    maps m = {};
    /* bits are only copied, whatever they are */
    const tensor_map::matrices x = {p.x, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2, p.k, shape.m, p.x_m, 0, {1, 1, 1}, {}};
    const tensor_map::matrices codes = {p.codes, CU_TENSOR_MAP_DATA_TYPE_UINT8, 1, p.k / 2, p.n, p.k / 2, 0, {1, 1, 1}, {}};
    const bool made = tensor_map::make(&m.x, x, terms, Tile::columns / together) &&
                      tensor_map::make(&m.codes, codes, line_codes, Tile::rows, CU_TENSOR_MAP_SWIZZLE_32B);
    TRINE_REQUIRE_THAT(call, made, "the driver makes no tensor map of it");
    const int64_t units = units_of(shape, how), most = sm90::clusters_at_once(call->device->props.compute_units, together, 1);
    const schedule s = {unsigned(units), unsigned(simt::ceil_div(shape.m, how.columns)), unsigned(how.splits), int(p.k / terms),
                        how.splits > 1 ? parts : nullptr};
    const trine_status status =
        sm90::launch_clusters<Tile>(call, nf4_kernel<T, Tile>, unsigned(units < most ? units : most) * together,
                                    unsigned(together), m, p, s, simt::nf4_book{TRINE_NF4_VALUES});
    if (status != TRINE_OK || how.splits == 1) return status;
    const int64_t count = shape.m * shape.n;
    return simt::launch_next(call, finish_kernel<T>, simt::ceil_div(count, 4 * finish_threads), finish_threads, p,
                             static_cast<const float *>(parts), how.splits, count);
}

/* Scales that are quantised themselves are made f32 first, in front of the workspace. */
inline size_t bytes_of_scales(const trine_nf4_matmul_args &a)
{
    return a.absmax.dtype == TRINE_U8 ? (size_t(trine_tensor_numel(&a.absmax)) * sizeof(float) + 255) / 256 * 256 : 0;
}
inline trine_status make_scales(trine_call *call, const trine_nf4_matmul_args &a, const trine_tensor &absmax, size_t own,
                                bool planning, size_t *most)
{
    trine_absmax_dequantize_args args = {};
    args.codes = a.absmax;
    args.scale = a.scale;
    args.mean = a.mean;
    args.absmax = absmax;
    args.kind = a.kind;
    trine_call inner = trine_inner_call(call, own, planning);
    return trine_inner_done(call, most, &inner, TRINE_BACKEND_FN(absmax_dequantize)(&inner, &args));
}

template <class T>
inline trine_status run(trine_call *call, const trine_nf4_matmul_args &given, const trine_nf4_shape &s, const plan &how)
{
    trine_nf4_matmul_args a = given;
    char *const memory = reinterpret_cast<char *>((reinterpret_cast<uintptr_t>(call->workspace) + 255) / 256 * 256);
    if (s.doubled) a.absmax = trine_tensor_1d(memory, TRINE_F32, trine_tensor_numel(&given.absmax));
    const size_t scales = bytes_of_scales(given), own = scales + size_t(bytes_of_parts(s, how.splits));
    size_t most = 0;
    if (s.doubled) {
        const trine_status status = make_scales(call, given, a.absmax, own + 256, true, &most);
        if (status != TRINE_OK) return status;
    }
    TRINE_END_OF_QUERY(call, own + most > 0 ? own + most + 256 : 0);
    if (s.m == 0 || s.n == 0) return TRINE_OK;
    const nf4_product<T> p(a, s);
    /* a query accepted the strides without the addresses */
    if (!p.packed) return trine_cuda_nf4_portable(call, &given);
    if (s.doubled) {
        const trine_status status = make_scales(call, given, a.absmax, own + 256, false, &most);
        if (status != TRINE_OK) return status;
    }
    float *const parts = reinterpret_cast<float *>(memory + scales);
    switch (how.columns) {
    case 64: return launch<T, tile_64>(call, p, s, how, parts);
    case 128: return launch<T, tile_128>(call, p, s, how, parts);
    default: return launch<T, tile_256>(call, p, s, how, parts);
    }
}

inline trine_status require(trine_call *call, const trine_nf4_matmul_args &a, const trine_nf4_shape &s)
{
#ifndef TRINE_CODE_SM90A
    return trine_refuse(call, "needs a build with machine code for sm_90a");
#endif
    TRINE_REQUIRE_THAT(call, strcmp(call->device->props.arch, "sm_90") == 0, "needs a GPU of compute capability 9.0");
    TRINE_REQUIRE_THAT(call, a.x.dtype != TRINE_F32, "needs f16 or bf16");
    TRINE_REQUIRE_THAT(call, s.k > 0 && s.k <= 1 << 26 && s.n <= 1 << 30 && s.m <= 1 << 26,
                       "needs K from 1 to 2^26, N of at most 2^30 and M of at most 2^26");
    TRINE_REQUIRE_THAT(call, s.m <= 1 || (a.x.stride[0] > 0 && a.x.stride[0] % 8 == 0),
                       "needs rows of x that are multiples of 16 bytes apart");
    return simt::nf4_require(call, a, s);
}

inline trine_status run_plan(trine_call *call, const trine_nf4_matmul_args &a, const trine_nf4_shape &s, const plan &how)
{
    TRINE_REQUIRE_THAT(call, units_of(s, how) < int64_t(1) << 31, "the grid is too large");
    return a.x.dtype == TRINE_F16 ? run<simt::f16>(call, a, s, how) : run<simt::bf16>(call, a, s, how);
}

trine_status matmul(trine_call *call, const void *args)
{
    const trine_nf4_matmul_args &a = *static_cast<const trine_nf4_matmul_args *>(args);
    const trine_nf4_shape s = trine_nf4_shape_make(&a);
    const trine_status status = require(call, a, s);
    if (status != TRINE_OK) return status;
    TRINE_REQUIRE_THAT(
        call, s.m >= least && s.m <= most,
        "needs 17 to 2048 rows of x: mma has less to do for fewer, and more are worth a weight that is dequantised once");
    return run_plan(call, a, s, make_plan(s, call->device->props.compute_units));
}

/* One tile whatever the size, and K in parts where it can be, so that small cases check all. */
template <int columns> trine_status matmul_of_tile(trine_call *call, const void *args)
{
    const trine_nf4_matmul_args &a = *static_cast<const trine_nf4_matmul_args *>(args);
    const trine_nf4_shape s = trine_nf4_shape_make(&a);
    const trine_status status = require(call, a, s);
    if (status != TRINE_OK) return status;
    const int64_t steps = s.k / terms;
    return run_plan(call, a, s, plan{columns, columns == 128 && steps > 1 ? int(steps < 3 ? steps : 3) : 1});
}
template trine_status matmul_of_tile<64>(trine_call *, const void *);
template trine_status matmul_of_tile<128>(trine_call *, const void *);
template trine_status matmul_of_tile<256>(trine_call *, const void *);

} // namespace sm90nf4

#endif
