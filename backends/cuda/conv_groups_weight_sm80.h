/* The filters' gradient of conv_groups_sm80.h's convolutions: of a tile of the plane, and the pixels of x that its taps reach, each
 * product over pixels. a's rows are channels of x that a tap meets, eight of two taps or sixteen of one, b's columns eight channels
 * of dy; where groups are smaller than that, what is of two groups is left out. Pixels that lie outside of the result are zeros in
 * both, whatever x has there. A block adds up its tiles in registers, then its warps' sums, then the blocks' are added up
 * (conv_sum_kernel), always in one order. */
#ifndef TRINE_CUDA_CONV_GROUPS_WEIGHT_SM80_H
#define TRINE_CUDA_CONV_GROUPS_WEIGHT_SM80_H

#include "backends/cuda/conv_groups_sm80.h"

namespace sm80 {

template <class T> struct group_tiles_gradient {
    group_tiles<T, true> tiles; /* to_image, to_line, to_pixel: of dy */
    const T *dy;
    float *parts; /* [blocks of a chunk][channels][columns] */
    bool channel_first;

    TRINE_DEVICE_METHOD int32_t pixels() const { return (tiles.tile_h * tiles.tile_w + 15) / 16 * 16; }
};

/* Whether pixel `own` of a tile is one of the result. */
template <class T> TRINE_DEVICE bool is_inside(const group_tiles<T, true> &p, const plane_tile &t, int32_t own)
{
    const int32_t h = int32_t(p.tile_columns.divide(own)), w = own - h * p.tile_w;
    return h < p.tile_h && t.h + h < p.rows && t.w + w < p.columns;
}

template <class T>
TRINE_DEVICE void copy_gradient(const group_tiles_gradient<T> &g, int32_t index, int32_t first_channel, uint32_t to)
{
    enum { pieces = tiles_channels / 8, apart = tiles_threads / pieces };
    const group_tiles<T, true> &p = g.tiles;
    const int piece = int(threadIdx.x) % pieces;
    const plane_tile t = tile_at(p, index);
    const int32_t channel = first_channel + piece * 8;
    const T *from = g.dy + t.n * p.to_image + channel;
    for (int32_t i = int(threadIdx.x) / pieces; i < g.pixels(); i += apart) {
        const int32_t h = int32_t(p.tile_columns.divide(i)), w = i - h * p.tile_w;
        const bool some = channel < p.channels && is_inside(p, t, i);
        mma_sync::copy16_if(to + uint32_t(i * tiles_pixel + piece * 16),
                            some ? from + (t.h + h) * p.to_line + (t.w + w) * p.to_pixel : g.dy, some);
    }
}

/* A warp's sums: its segments of dy's channels by rows of a. */
template <int CG> struct group_sums {
    enum {
        own = CG == 16 ? 2 : 4, /* segments */
        channel_warps = tiles_channels / segment_channels / own,
        pixel_warps = tiles_threads / 32 / channel_warps,
        across = CG == 16 ? 9 : 5, /* instructions for all taps */
        columns = tiles_taps * CG
    };
    float sum[own][across][4];
};

/* Of 16 pixels from `pixel` on. x, dy: the tiles, from the warp's channels on. */
template <class T, int CG> TRINE_DEVICE void add_pixels(group_sums<CG> &s, const group_tiles<T, true> &p, const plane_tile &t,
                                                        uint32_t x, uint32_t dy, uint32_t zeros, int32_t pixel)
{
    using sums = group_sums<CG>;
    const int lane = int(threadIdx.x) % 32, second = lane / 8 % 2;
    uint32_t b[sums::own][2];
#pragma unroll
    for (int i = 0; i < sums::own; i += 2) {
        uint32_t v[4];
        mma_sync::load_matrices<true>(v, dy + uint32_t((pixel + second * 8 + lane % 8) * tiles_pixel + (i + lane / 16) * 16));
        b[i][0] = v[0];
        b[i][1] = v[1];
        b[i + 1][0] = v[2];
        b[i + 1][1] = v[3];
    }
    const int32_t own = pixel + lane / 16 * 8 + lane % 8;
    const bool inside = is_inside(p, t, own);
    const uint32_t at = x + pixel_bytes(p, own) + (CG == 16 ? second * 16 : 0);
#pragma unroll
    for (int i = 0; i < sums::across; i++) {
        const int tap = CG == 16 ? i : 2 * i + second;
        const bool some = inside && tap < tiles_taps;
        const uint32_t from = at + uint32_t(tap_bytes(p, tap));
#pragma unroll
        for (int k = 0; k < (CG == 16 ? 1 : sums::own); k++) {
            uint32_t a[4];
            mma_sync::load_matrices<true>(a, some ? from + uint32_t(k * 16) : zeros);
#pragma unroll
            for (int n = 0; n < (CG == 16 ? sums::own : 1); n++)
                mma_sync::multiply(s.sum[k + n][i], a, b[k + n][0], b[k + n][1], T{});
        }
    }
}

/* To shared memory, [channel of dy][tap][channel of x]: from the warp's channels on. */
template <int CG> TRINE_DEVICE void stage_sums_of_groups(const group_sums<CG> &s, float *to)
{
    using sums = group_sums<CG>;
    const int lane = int(threadIdx.x) % 32;
#pragma unroll
    for (int i = 0; i < sums::own; i++)
#pragma unroll
        for (int k = 0; k < sums::across; k++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const int output = lane % 4 * 2 + e % 2, tap = CG == 16 ? k : 2 * k + e / 2,
                          input = CG == 16 ? e / 2 * 8 + lane / 4 : lane / 4;
                if (tap < tiles_taps && (CG > 4 || input / CG == output / CG))
                    to[(i * segment_channels + output) * sums::columns + tap * CG + input % CG] = s.sum[i][k][e];
            }
}

template <class T, int CG> __global__ void __launch_bounds__(tiles_threads, tiles_blocks)
    group_tiles_weight_kernel(const __grid_constant__ group_tiles_gradient<T> g)
{
    extern __shared__ __align__(128) unsigned char sm80_shared[];
    using sums = group_sums<CG>;
    const group_tiles<T, true> &p = g.tiles;
    const uint32_t shared = uint32_t(__cvta_generic_to_shared(sm80_shared)), bytes = p.tile_bytes(),
                   both = bytes + uint32_t(g.pixels() * tiles_pixel), zeros = shared + 2 * both;
    const int warp = int(threadIdx.x) / 32;
    const int32_t chunk = int32_t(blockIdx.x) % p.chunks, first = int32_t(blockIdx.x) / p.chunks,
                  apart = int32_t(gridDim.x) / p.chunks, channel = chunk * tiles_channels,
                  own_channel = warp % sums::channel_warps * sums::own * segment_channels;
    copy_tile(p, first, channel, shared);
    copy_gradient(g, first, channel, shared + bytes);
    mma_sync::commit_copies();
    if (threadIdx.x < tiles_zeros / 4) reinterpret_cast<uint32_t *>(sm80_shared + 2 * both)[threadIdx.x] = 0;
    sums s = {};
    uint32_t turn = 0;
    for (int32_t index = first; index < p.tiles; index += apart, turn ^= 1) {
        if (index + apart < p.tiles) {
            copy_tile(p, index + apart, channel, shared + (turn ^ 1) * both);
            copy_gradient(g, index + apart, channel, shared + (turn ^ 1) * both + bytes);
        }
        mma_sync::commit_copies();
        mma_sync::wait_copies<1>();
        __syncthreads();
        const uint32_t x = shared + turn * both + uint32_t(own_channel * 2);
        const plane_tile t = tile_at(p, index);
#pragma unroll 1
        for (int32_t pixel = warp / sums::channel_warps * 16; pixel < g.pixels(); pixel += sums::pixel_warps * 16)
            add_pixels(s, p, t, x, x + bytes, zeros, pixel);
        __syncthreads();
    }
    enum { outputs = tiles_channels * sums::columns };
    float *const staged = reinterpret_cast<float *>(sm80_shared);
    stage_sums_of_groups(s, staged + warp / sums::channel_warps * outputs + own_channel * sums::columns);
    __syncthreads();
    float *const to = g.parts + int64_t(first) * p.channels * sums::columns;
    for (int32_t i = int(threadIdx.x); i < outputs; i += tiles_threads) {
        const int32_t output = channel + i / sums::columns, column = i % sums::columns;
        float sum = staged[i];
#pragma unroll
        for (int w = 1; w < sums::pixel_warps; w++) sum += staged[w * outputs + i];
        if (output < p.channels)
            to[int64_t(output) * sums::columns + (g.channel_first ? column % CG * tiles_taps + column / CG : column)] = sum;
    }
}

/* ---- Host ---- */

/* x's taps are the product's columns, in either order; channels behind the taps here. */
inline trine_conv_side taps_of_gradient(const trine_conv_product &p, bool *channel_first)
{
    trine_conv_side s = p.b.rows;
    *channel_first = s.stride[2] != 1 || s.size[2] == tiles_side; /* channels are 4, 8 or 16 */
    if (!*channel_first) return s;
    const trine_conv_side given = s;
    for (int i = 0; i < 3; i++) {
        s.size[i] = given.size[(i + 1) % 3];
        s.stride[i] = given.stride[(i + 1) % 3];
        s.h[i] = given.h[(i + 1) % 3];
        s.w[i] = given.w[(i + 1) % 3];
    }
    return s;
}

struct gradient_plan {
    trine_conv_side taps;
    bool channel_first;
    tile_size size;
    int64_t blocks; /* of a chunk */
};
inline gradient_plan gradient_plan_of(const trine_call *call, const trine_conv_product &p)
{
    gradient_plan plan = {};
    plan.taps = taps_of_gradient(p, &plan.channel_first);
    plan.size = tile_size_of(tiles_source{p.b, p.b.terms, plan.taps}, tiles_pixels_weight, tiles_shared_weight);
    if (plan.size.in_h == 0) return plan;
    const int64_t tiles =
        p.b.terms.size[0] * simt::ceil_div(p.b.terms.size[1], plan.size.h) * simt::ceil_div(p.b.terms.size[2], plan.size.w);
    plan.blocks = blocks_of_chunk(call, simt::ceil_div(p.groups * p.m, tiles_channels), tiles);
    return plan;
}

template <class T, int CG>
inline trine_status group_tiles_weight_launch(trine_call *call, const trine_conv_product &p, const gradient_plan &plan)
{
    using sums = group_sums<CG>;
    simt::conv_problem<T> problem(p, plan.blocks, call->workspace);
    problem.parts = reinterpret_cast<float *>((reinterpret_cast<uintptr_t>(call->workspace) + 15) / 16 * 16);
    const group_tiles_gradient<T> g = {group_tiles_of<T, true>(p, tiles_source{p.b, p.b.terms, plan.taps}, p.a.terms, plan.size),
                                       static_cast<const T *>(p.a.data) + p.a.first, problem.parts, plan.channel_first};
    const size_t pixels = size_t((plan.size.h * plan.size.w + 15) / 16 * 16),
                 tiles = 2 * (size_t(plan.size.in_h * plan.size.pitch) + pixels) * tiles_pixel + tiles_zeros,
                 staged = sizeof(float) * sums::pixel_warps * tiles_channels * sums::columns,
                 shared = tiles > staged ? tiles : staged;
    target::allow_shared(group_tiles_weight_kernel<T, CG>, shared);
    const trine_status status =
        simt::launch(call, group_tiles_weight_kernel<T, CG>, simt::grid(plan.blocks * g.tiles.chunks), tiles_threads, shared, g);
    return status == TRINE_OK ? simt::conv_sum_parts(call, problem) : status;
}

template <class T>
inline trine_status group_tiles_weight_run(trine_call *call, const trine_conv_product &p, const gradient_plan &plan)
{
    return p.m == 4   ? group_tiles_weight_launch<T, 4>(call, p, plan)
           : p.m == 8 ? group_tiles_weight_launch<T, 8>(call, p, plan)
                      : group_tiles_weight_launch<T, 16>(call, p, plan);
}

inline trine_status group_tiles_weight_product(trine_call *call, trine_conv_product p, size_t *needed, bool only_ask)
{
    const trine_status can = group_tiles_can(call, p);
    if (can != TRINE_OK) return can;
    TRINE_REQUIRE_THAT(call, is_channels(p.m) && p.n == p.m * tiles_taps && p.groups * p.m % 8 == 0,
                       "needs groups of 4, 8 or 16 channels in and out, in eights, 3 x 3 taps");
    const gradient_plan plan = gradient_plan_of(call, p);
    TRINE_REQUIRE_THAT(call,
                       tiles_lie(tiles_source{p.b, p.b.terms, plan.taps}, p.m) && p.a.rows.stride[2] == 1 && p.a.group == p.m &&
                           strides_in_eights(p.a.terms, 3),
                       "needs 3 x 3 taps and channels that lie densely");
    TRINE_REQUIRE_THAT(call, plan.blocks > 0, "needs taps that are closer together");
    const size_t parts = size_t(plan.blocks * p.groups * p.m * p.n) * sizeof(float) + 16;
    if (parts > *needed) *needed = parts;
    if (only_ask || !simt::aligned16(p.a.data) || !simt::aligned16(p.b.data))
        return simt::conv_portable(call, p, needed, only_ask);
    return p.dtype == TRINE_F16 ? group_tiles_weight_run<simt::f16>(call, p, plan)
                                : group_tiles_weight_run<simt::bf16>(call, p, plan);
}

} // namespace sm80

#endif
