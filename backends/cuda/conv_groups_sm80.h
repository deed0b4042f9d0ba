/* group_tiles: convolutions of f16 and bf16 by up to 3 x 3 in groups of 4, 8 or 16 channels in and out (ResNeXt's, RegNet's), and their
 * data gradients, by the instruction of a warp. A tile of an ordinary matrix product would be mostly empty, or
 * mix groups: zeros times another group's infinity are no zeros. Here a's 16 rows are pixels, and its 16 terms belong to one group:
 * four taps of 4 channels, two of 8, or one of 16.
 *
 * A block has 64 channels and takes tile after tile of the plane: its pixels and those that the taps reach lie in shared memory, the
 * next tile's are on their way meanwhile, and filters stay in registers. A warp makes 32 channels of 16 pixels at a time. Bound by
 * bytes, as far as shared memory keeps up: every pixel is read nine times from there. */
#ifndef TRINE_CUDA_CONV_GROUPS_SM80_H
#define TRINE_CUDA_CONV_GROUPS_SM80_H

#include "backends/cuda/conv_groups_tile_sm80.h"

namespace sm80 {

TRINE_DEVICE uint4 load_words(uint32_t address)
{
    uint4 v;
    asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "r"(address)
                 : "memory");
    return v;
}

/* ---- What groups of CG channels make of a warp's 32: sums of four segments, as mma_sync.h says of d ---- */

template <class T, int CG> struct group_filters {
    enum {
        steps = CG == 4   ? 3
                : CG == 8 ? 5
                          : 9,
        across = CG == 16 ? 2 : 1, /* instructions for the group's outputs */
        pairs = segments / across  /* what has terms of its own: two groups of 4, one of 8 or 16 */
    };
    uint32_t b[pairs][steps][across][2];

    /* Two neighbouring channels of a tap, from `channel` on; `output`: of all; `from`: the first filter of group `group`. */
    template <bool WHOLE> static TRINE_DEVICE_METHOD uint32_t two(const group_tiles<T, WHOLE> &p, const T *from, int32_t group,
                                                                  int32_t output, int32_t tap, int32_t channel)
    {
        if (output >= p.channels || tap >= p.taps()) return 0;
        const simt::conv_side &rows = p.filters.rows, &terms = p.filters.terms;
        const int line = p.line_of(tap);
        const T *of = from + (output / CG - group) * p.filters.group + output % CG * rows.stride[2] + line * terms.stride[0] +
                      (tap - line * p.taps_w) * terms.stride[1] + channel * terms.stride[2];
        return uint32_t(of[0].bits) | uint32_t(of[terms.stride[2]].bits) << 16;
    }
    /* first_channel: the warp's. */
    template <bool WHOLE>
    TRINE_DEVICE_METHOD group_filters(const group_tiles<T, WHOLE> &p, const T *from, int32_t group, int32_t first_channel)
    {
        const int lane = int(threadIdx.x) % 32, column = lane / 4, own = lane % 4;
#pragma unroll
        for (int i = 0; i < pairs; i++)
#pragma unroll
            for (int s = 0; s < steps; s++)
#pragma unroll
                for (int n = 0; n < across; n++)
#pragma unroll
                    for (int half = 0; half < 2; half++) {
                        const int32_t output = first_channel + (i * across + n) * segment_channels + column;
                        b[i][s][n][half] = CG == 4   ? two(p, from, group, output, 4 * s + own, 2 * half)
                                           : CG == 8 ? two(p, from, group, output, 2 * s + half, 2 * own)
                                                     : two(p, from, group, output, s, 8 * half + 2 * own);
                    }
    }
};

/* The filters of a block's groups to shared memory, where they are picked from in any order. */
template <class T, int CG, bool WHOLE>
TRINE_DEVICE void copy_filters(const group_tiles<T, WHOLE> &p, int32_t first_channel, uint32_t to)
{
    enum { pack = 16 / sizeof(T), each = tiles_taps * CG * CG / pack, all = tiles_channels / CG * each };
    const T *from = p.filters.data - p.filters_first + first_channel / CG * p.filters.group;
    for (int32_t i = int(threadIdx.x); i < all; i += tiles_threads) {
        const int32_t left = (p.filters_span - i % each * pack) * int32_t(sizeof(T));
        const bool some = left > 0 && first_channel + i / each * CG < p.channels;
        mma_sync::copy16(to + uint32_t(i * 16), some ? from + i * pack : p.x, some ? left < 16 ? left : 16 : 0);
    }
}

/* tile: the warp's channels of the first pixel; zeros: an address of some. Of 4 channels two groups come with a load, and a column of b
 * is of either: both are multiplied, and each column keeps its own group's sum. */
template <class T, bool WHOLE> TRINE_DEVICE void multiply_pixels(float (&sum)[segments][4], const group_filters<T, 4> &f,
                                                                 const group_tiles<T, WHOLE> &p, uint32_t tile, uint32_t,
                                                                 int32_t first_pixel)
{
    const int lane = int(threadIdx.x) % 32, own = lane % 4;
    const uint32_t at[2] = {tile + pixel_bytes(p, first_pixel + lane / 4), tile + pixel_bytes(p, first_pixel + lane / 4 + 8)};
    int32_t tap[3];
#pragma unroll
    for (int s = 0; s < 3; s++) tap[s] = tap_bytes(p, 4 * s + own);
#pragma unroll
    for (int i = 0; i < segments; i++) {
        float both[2][4] = {};
#pragma unroll
        for (int s = 0; s < 3; s++) {
            uint4 v[2] = {};
#pragma unroll
            for (int r = 0; r < 2; r++)
                if (4 * s + own < p.taps()) v[r] = load_words(at[r] + uint32_t(tap[s] + i * 16));
            const uint32_t first[4] = {v[0].x, v[1].x, v[0].y, v[1].y}, second[4] = {v[0].z, v[1].z, v[0].w, v[1].w};
            mma_sync::multiply(both[0], first, f.b[i][s][0][0], f.b[i][s][0][1], T{});
            mma_sync::multiply(both[1], second, f.b[i][s][0][0], f.b[i][s][0][1], T{});
        }
#pragma unroll
        for (int e = 0; e < 4; e++) sum[i][e] = own < 2 ? both[0][e] : both[1][e];
    }
}

/* Of 8 and 16 channels, whose lines ldmatrix takes as they lie. */
template <class T, int CG, bool WHOLE> TRINE_DEVICE void multiply_pixels(float (&sum)[segments][4], const group_filters<T, CG> &f,
                                                                         const group_tiles<T, WHOLE> &p, uint32_t tile,
                                                                         uint32_t zeros, int32_t first_pixel)
{
    using filters = group_filters<T, CG>;
    const int lane = int(threadIdx.x) % 32, second = lane / 16;
    const uint32_t at = tile + pixel_bytes(p, first_pixel + lane % 16) + (CG == 16 ? second * 16 : 0);
#pragma unroll
    for (int i = 0; i < segments; i++)
#pragma unroll
        for (int e = 0; e < 4; e++) sum[i][e] = 0;
#pragma unroll
    for (int s = 0; s < filters::steps; s++) {
        if (s * 16 >= p.taps() * CG) break;
        const int tap = CG == 16 ? s : 2 * s + second;
        const uint32_t from = at + uint32_t(tap_bytes(p, tap));
#pragma unroll
        for (int i = 0; i < filters::pairs; i++) {
            uint32_t a[4];
            mma_sync::load_matrices<false>(a, tap < p.taps() ? from + uint32_t(i * CG * 2) : zeros);
#pragma unroll
            for (int n = 0; n < filters::across; n++)
                mma_sync::multiply(sum[i * filters::across + n], a, f.b[i][s][n][0], f.b[i][s][n][1], T{});
        }
    }
}

/* ---- To the result ---- */

template <class T> TRINE_DEVICE uint32_t narrow_two(float a, float b)
{
    return uint32_t(simt::from_f32<T>(a).bits) | uint32_t(simt::from_f32<T>(b).bits) << 16;
}

/* Lane l of four has word i of segment i's; gets all words of segment l % 4. */
TRINE_DEVICE void gather_segment(uint32_t (&v)[segments])
{
    const int lane = int(threadIdx.x);
    const bool odd = lane & 1, high = lane & 2;
#pragma unroll
    for (int i = 0; i < segments; i += 2) {
        const uint32_t got = __shfl_xor_sync(0xffffffffu, odd ? v[i] : v[i + 1], 1);
        v[i] = odd ? got : v[i];
        v[i + 1] = odd ? v[i + 1] : got;
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const uint32_t got = __shfl_xor_sync(0xffffffffu, high ? v[i] : v[i + 2], 2);
        v[i] = high ? got : v[i];
        v[i + 2] = high ? v[i + 2] : got;
    }
}

/* Bias and activation. channel: of sum[0][0]. */
template <class T, int CG, bool WHOLE>
TRINE_DEVICE void finish_sums(float (&sum)[segments][4], const group_tiles<T, WHOLE> &p, int32_t channel)
{
#pragma unroll 1
    for (int e = 0; e < 4 * segments; e++) {
        float x = 0;
#pragma unroll
        for (int k = 0; k < 4 * segments; k++) x = k == e ? sum[k / 4][k % 4] : x;
        const int32_t own = channel + e / 4 * segment_channels + e % 2;
        if (own < p.channels) x = p.out.finish(x, own / CG, 0, own % CG);
#pragma unroll
        for (int k = 0; k < 4 * segments; k++) sum[k / 4][k % 4] = k == e ? x : sum[k / 4][k % 4];
    }
}

/* A pixel's sums, of row r of those of a lane. */
template <class T, bool WHOLE> TRINE_DEVICE void put_pixel(const float (&sum)[segments][4], int r, const group_tiles<T, WHOLE> &p,
                                                           int64_t to, bool some, int32_t first_channel)
{
    const int own = int(threadIdx.x) % 4;
    if (p.out.wide) {
#pragma unroll
        for (int i = 0; i < segments; i++) {
            const int32_t channel = first_channel + i * segment_channels + own * 2;
            if (some && channel < p.channels)
                *reinterpret_cast<float2 *>(static_cast<float *>(p.out.d) + to + channel) =
                    float2{sum[i][2 * r], sum[i][2 * r + 1]};
        }
        return;
    }
    uint32_t v[segments];
#pragma unroll
    for (int i = 0; i < segments; i++) v[i] = narrow_two<T>(sum[i][2 * r], sum[i][2 * r + 1]);
    gather_segment(v);
    const int32_t channel = first_channel + own * segment_channels;
    if (some && channel < p.channels)
        *reinterpret_cast<uint4 *>(static_cast<T *>(p.out.d) + to + channel) = uint4{v[0], v[1], v[2], v[3]};
}

template <class T, int CG, bool WHOLE> __global__ void __launch_bounds__(tiles_threads, tiles_blocks)
    group_tiles_kernel(const __grid_constant__ group_tiles<T, WHOLE> p)
{
    extern __shared__ __align__(128) unsigned char sm80_shared[];
    const uint32_t shared = uint32_t(__cvta_generic_to_shared(sm80_shared)), bytes = p.tile_bytes(), zeros = shared + 2 * bytes;
    const int warp = int(threadIdx.x) / 32, half = warp % 2, lane = int(threadIdx.x) % 32;
    const int32_t chunk = int32_t(blockIdx.x) % p.chunks, first = int32_t(blockIdx.x) / p.chunks,
                  apart = int32_t(gridDim.x) / p.chunks;
    const int32_t block_channel = chunk * tiles_channels, channel = block_channel + half * (tiles_channels / 2);
    if (p.filters_span) copy_filters<T, CG>(p, block_channel, shared + bytes);
    mma_sync::commit_copies();
    copy_tile(p, first, block_channel, shared);
    mma_sync::commit_copies();
    mma_sync::wait_copies<1>();
    __syncthreads();
    const int32_t group = p.filters_span ? block_channel / CG : 0;
    const group_filters<T, CG> filters(
        p, p.filters_span ? reinterpret_cast<const T *>(sm80_shared + bytes) + p.filters_first : p.filters.data, group, channel);
    __syncthreads();
    if (threadIdx.x < tiles_zeros / 4) reinterpret_cast<uint32_t *>(sm80_shared + 2 * bytes)[threadIdx.x] = 0;
    uint32_t turn = 0;
    for (int32_t index = first; index < p.tiles; index += apart, turn ^= 1) {
        if (index + apart < p.tiles) copy_tile(p, index + apart, block_channel, shared + (turn ^ 1) * bytes);
        mma_sync::commit_copies();
        mma_sync::wait_copies<1>();
        __syncthreads();
        const plane_tile t = tile_at(p, index);
        const int32_t pixels = p.tile_h * p.tile_w;
#pragma unroll 1
        for (int32_t pixel = warp / 2 * 16; pixel < pixels; pixel += tiles_threads / 64 * 16) {
            float sum[segments][4];
            multiply_pixels(sum, filters, p, shared + turn * bytes + uint32_t(half * tiles_channels), zeros, pixel);
            if (!p.out.plain()) finish_sums<T, CG>(sum, p, channel + lane % 4 * 2);
#pragma unroll
            for (int r = 0; r < 2; r++) {
                const int32_t own = pixel + lane / 4 + 8 * r, h = int32_t(p.tile_columns.divide(own)), w = own - h * p.tile_w;
                const bool some = own < pixels && t.h + h < p.rows && t.w + w < p.columns;
                put_pixel(sum, r, p, t.n * p.to_image + (t.h + h) * p.to_line + (t.w + w) * p.to_pixel, some, channel);
            }
        }
        __syncthreads();
    }
}

/* ---- Host ---- */

inline tiles_source tiles_source_of(const trine_conv_product &p) { return tiles_source{p.a, p.a.rows, p.a.terms}; }

inline bool result_lies(const trine_conv_product &p)
{
    return p.d_group == p.n && p.d_columns.stride[2] == 1 && p.d_columns.size[2] == p.n && p.d_first % 8 == 0 &&
           strides_in_eights(p.d_rows, 3);
}

template <class T, int CG, bool WHOLE> inline trine_status group_tiles_launch(trine_call *call, const trine_conv_product &p)
{
    const tiles_source x = tiles_source_of(p);
    const group_tiles<T, WHOLE> tiles = group_tiles_of<T, WHOLE>(p, x, p.d_rows, tile_size_of(x, tiles_pixels, tiles_shared));
    const size_t bytes = size_t(tiles.in_h * tiles.pitch * tiles_pixel), filters = tiles_channels * tiles_taps * CG * sizeof(T),
                 shared = bytes + (bytes > filters ? bytes : filters) + tiles_zeros;
    target::allow_shared(group_tiles_kernel<T, CG, WHOLE>, shared);
    return simt::launch(call, group_tiles_kernel<T, CG, WHOLE>,
                        simt::grid(blocks_of_chunk(call, tiles.chunks, tiles.tiles) * tiles.chunks), tiles_threads, shared,
                        tiles);
}

template <class T, bool WHOLE> inline trine_status group_tiles_run(trine_call *call, const trine_conv_product &p)
{
    return p.n == 4   ? group_tiles_launch<T, 4, WHOLE>(call, p)
           : p.n == 8 ? group_tiles_launch<T, 8, WHOLE>(call, p)
                      : group_tiles_launch<T, 16, WHOLE>(call, p);
}
template <class T> inline trine_status group_tiles_run_taps(trine_call *call, const trine_conv_product &p)
{
    return p.k == p.n * tiles_taps ? group_tiles_run<T, true>(call, p) : group_tiles_run<T, false>(call, p);
}

/* What is not aligned is implicit_gemm's, whose workspace it asks for. */
inline trine_status group_tiles_product(trine_call *call, trine_conv_product p, size_t *needed, bool only_ask)
{
    const trine_status can = group_tiles_can(call, p);
    if (can != TRINE_OK) return can;
    TRINE_REQUIRE_THAT(call, is_channels(p.n) && p.groups * p.n % 8 == 0,
                       "needs groups of 4, 8 or 16 channels in and out, in eights");
    TRINE_REQUIRE_THAT(call, tiles_lie(tiles_source_of(p), p.n) && result_lies(p),
                       "needs up to 3 x 3 taps, and channels that lie densely");
    TRINE_REQUIRE_THAT(call, tile_size_of(tiles_source_of(p), tiles_pixels, tiles_shared).in_h > 0,
                       "needs taps that are closer together");
    if (only_ask || !simt::aligned16(p.a.data) || !simt::aligned16(p.d)) return simt::conv_portable(call, p, needed, only_ask);
    return p.dtype == TRINE_F16 ? group_tiles_run_taps<simt::f16>(call, p) : group_tiles_run_taps<simt::bf16>(call, p);
}

} // namespace sm80

#endif