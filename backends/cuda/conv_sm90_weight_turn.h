/* dy as the tensor cores want it for tf32: [channel][pixel], pixels in the order of the ring's steps, zeros where a step's box lies
 * outside of the plane. Where channels lie densely, a thread turns 4 x 4 elements in registers; elsewhere neighbouring threads
 * copy neighbouring pixels. Bound by bytes, each read and written once. */
#ifndef TRINE_CUDA_CONV_SM90_WEIGHT_TURN_H
#define TRINE_CUDA_CONV_SM90_WEIGHT_TURN_H

#include "backends/cuda/conv_sm90_geometry.h"
#include "backends/simt/launch.h"

namespace sm90 {

enum { weight_turn_threads = 256, weight_turn_channels = 4, weight_turn_step = 32 /* pixels */ };

struct weight_turn {
    const float *from;
    float *to;
    int64_t image, row, column, channel; /* dy's strides */
    int channels, width;                 /* width: pixels with those beyond the last, whole steps */
    bool dense;                          /* channels, in packs of 16 bytes */
};

/* Where pixel i of the steps lies in dy; negative if there is none. */
TRINE_DEVICE int64_t weight_pixel_place(const conv_geometry &g, const weight_turn &t, int i)
{
    const conv_phase &p = g.phase[0];
    pixel at = pixel_of(p, g.windows ? i / weight_turn_step : i);
    if (g.windows) {
        const int in = i % weight_turn_step, down = in / g.box[1];
        at.row = at.row * g.box[0] + down;
        at.column = at.column * g.box[1] + in - down * g.box[1];
        if (at.row >= p.rows || at.column >= p.columns) return -1;
    } else if (i >= p.m) {
        return -1;
    }
    return at.image * t.image + at.row * t.row + at.column * t.column;
}

/* A warp has 32 pixels of 16 channels: it loads 64 bytes of each pixel and stores 128 of each channel; a block 128 of 32. */
__global__ void __launch_bounds__(weight_turn_threads)
    turn_weight_rows_kernel(const __grid_constant__ weight_turn t, const __grid_constant__ conv_geometry g, int blocks_across)
{
    const int across = int(blockIdx.x) % blocks_across, along = int(blockIdx.x) / blocks_across, lane = int(threadIdx.x) % 32,
              warp = int(threadIdx.x) / 32;
    const int pixel = (along * 32 + warp % 4 * 8 + lane % 8) * 4,
              channel = (across * 8 + warp / 4 * 4 + lane / 8) * weight_turn_channels;
    if (pixel >= t.width || channel >= t.channels) return;
    float4 in[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int64_t at = weight_pixel_place(g, t, pixel + i);
        in[i] = float4{0, 0, 0, 0};
        if (at >= 0) in[i] = *reinterpret_cast<const float4 *>(t.from + at + channel);
    }
    float *const to = t.to + int64_t(channel) * t.width + pixel;
    const int64_t next = t.width;
    *reinterpret_cast<float4 *>(to) = float4{in[0].x, in[1].x, in[2].x, in[3].x};
    *reinterpret_cast<float4 *>(to + next) = float4{in[0].y, in[1].y, in[2].y, in[3].y};
    *reinterpret_cast<float4 *>(to + 2 * next) = float4{in[0].z, in[1].z, in[2].z, in[3].z};
    *reinterpret_cast<float4 *>(to + 3 * next) = float4{in[0].w, in[1].w, in[2].w, in[3].w};
}

/* A pixel of four channels a thread. */
__global__ void __launch_bounds__(weight_turn_threads)
    copy_weight_rows_kernel(const __grid_constant__ weight_turn t, const __grid_constant__ conv_geometry g, int blocks_along)
{
    const int along = int(blockIdx.x) % blocks_along, across = int(blockIdx.x) / blocks_along,
              pixel = along * weight_turn_threads + int(threadIdx.x), channel = across * weight_turn_channels;
    if (pixel >= t.width) return;
    const int64_t at = weight_pixel_place(g, t, pixel);
    float in[weight_turn_channels];
#pragma unroll
    for (int c = 0; c < weight_turn_channels; c++)
        in[c] = at >= 0 && channel + c < t.channels ? t.from[at + (channel + c) * t.channel] : 0.0f;
#pragma unroll
    for (int c = 0; c < weight_turn_channels; c++)
        if (channel + c < t.channels) t.to[int64_t(channel + c) * t.width + pixel] = in[c];
}

inline trine_status turn_weight_rows(trine_call *call, const weight_turn &t, const conv_geometry &g)
{
    if (t.dense) {
        const int64_t across = simt::ceil_div(t.channels, 32), along = simt::ceil_div(t.width, 128);
        return simt::launch(call, turn_weight_rows_kernel, simt::grid(across * along), weight_turn_threads, 0, t, g, int(across));
    }
    const int64_t across = simt::ceil_div(t.channels, weight_turn_channels), along = simt::ceil_div(t.width, weight_turn_threads);
    return simt::launch(call, copy_weight_rows_kernel, simt::grid(across * along), weight_turn_threads, 0, t, g, int(along));
}

} // namespace sm90

#endif
