/* Turns between planes of pixels [image][channel][pixel] and pixels of channels [image][pixel][channel]: what lets tensor cores read
 * the first and lets the convolution write the second. A thread loads a square of elements, as many lines of the source as a
 * pack of the result has elements, and stores it turned; registers are all it takes. Bound by bytes, each read and written
 * once. */
#ifndef TRINE_CUDA_CONV_TURN_H
#define TRINE_CUDA_CONV_TURN_H

#include "backends/simt/divider.h"
#include "backends/simt/launch.h"
#include "core/conv_plan.h"

namespace conv_turn {

enum { turn_threads = 256 };

/* Images of which each channel's pixels lie anywhere. */
struct conv_images {
    const void *data;
    int64_t n, c, image, channel, size[2], stride[2]; /* strides; [rows, columns] */
};

/* An axis of a turn: where element i of it lies, in packs of one. Where packs are larger it is dense. */
struct turn_axis {
    simt::divider32 width;
    int64_t row, column;
    TRINE_DEVICE_METHOD int64_t place(int i) const
    {
        const int h = int(width.divide(unsigned(i)));
        return h * row + (i - h * int(width.d)) * column;
    }
};

/* to[image][i][l] = from[image][l][i] for i < length, l < lines; zeros for l in [lines, to_lines). */
struct turn_problem {
    const void *from;
    void *to;
    int64_t from_image, from_line, to_image, to_line;
    int lines, length, to_lines;
    turn_axis along_length, along_lines;
    unsigned tiles_l, tiles_i;
};

/* Packs of 8 bytes as words: the compiler would take them apart. */
template <class U, int V> TRINE_DEVICE simt::pack<U, V> load_turned(const U *from)
{
    if constexpr (sizeof(U) * V == 8)
        return __builtin_bit_cast(simt::pack<U, V>, *reinterpret_cast<const uint2 *>(from));
    else
        return simt::load_pack<U, V>(from);
}
template <class U, int V> TRINE_DEVICE void store_turned(U *to, const simt::pack<U, V> &x)
{
    if constexpr (sizeof(U) * V == 8)
        *reinterpret_cast<uint2 *>(to) = __builtin_bit_cast(uint2, x);
    else
        simt::store_pack<U, V>(to, x);
}

/* Packs of VA elements are loaded, of VB stored. Neighbouring threads store neighbouring packs, eight of them; single elements 32. */
template <class U, int VA, int VB> __global__ void __launch_bounds__(turn_threads) turn_kernel(turn_problem p)
{
    constexpr int across = VA == 1 ? turn_threads / 32 : VB == 1 ? 32 : 8;
    const unsigned image = blockIdx.x / (p.tiles_l * p.tiles_i), tile = blockIdx.x - image * (p.tiles_l * p.tiles_i),
                   tile_i = tile / p.tiles_l, tile_l = tile - tile_i * p.tiles_l;
    const int t = int(threadIdx.x), in_l = VA == 1 ? t / 32 : t % across, in_i = VA == 1 ? t % 32 : t / across;
    const int l = (int(tile_l) * across + in_l) * VB, i = (int(tile_i) * (turn_threads / across) + in_i) * VA;
    if (l >= p.to_lines || i >= p.length) return;
    const U *from = static_cast<const U *>(p.from) + image * p.from_image + l * p.from_line +
                    (VA == 1 ? p.along_length.place(i) : int64_t(i));
    simt::pack<U, VA> in[VB];
#pragma unroll
    for (int b = 0; b < VB; b++) {
        in[b] = {};
        if (l + b < p.lines) in[b] = load_turned<U, VA>(from + b * p.from_line);
    }
    U *to = static_cast<U *>(p.to) + image * p.to_image + i * p.to_line + (VB == 1 ? p.along_lines.place(l) : int64_t(l));
#pragma unroll
    for (int a = 0; a < VA; a++) {
        simt::pack<U, VB> out;
#pragma unroll
        for (int b = 0; b < VB; b++) out.at[b] = in[b].at[a];
        if (i + a < p.length) store_turned<U, VB>(to + a * p.to_line, out);
    }
}

/* ---- Host ---- */

/* A group's channels. */
inline conv_images images_of_x(const trine_conv_shape &s, const void *data)
{
    return conv_images{data, s.n, s.c, s.x_n, s.x_c, {s.in[0], s.in[1]}, {s.x_at[0], s.x_at[1]}};
}
inline conv_images images_of_y(const trine_conv_shape &s, const void *data)
{
    return conv_images{data, s.n, s.k, s.y_n, s.y_k, {s.out[0], s.out[1]}, {s.y_at[0], s.y_at[1]}};
}
/* A filter an image. */
inline conv_images images_of_filters(const trine_conv_shape &s, const void *data)
{
    return conv_images{data, s.k, s.c, s.f_k, s.f_c, {s.taps[0], s.taps[1]}, {s.f_at[0], s.f_at[1]}};
}

template <class U, int VA, int VB> inline trine_status launch_turn(trine_call *call, turn_problem p, int64_t images)
{
    constexpr int across = VA == 1 ? turn_threads / 32 : VB == 1 ? 32 : 8;
    p.tiles_l = unsigned(simt::ceil_div(p.to_lines, across * VB));
    p.tiles_i = unsigned(simt::ceil_div(p.length, turn_threads / across * VA));
    return simt::launch(call, turn_kernel<U, VA, VB>, simt::grid(int64_t(p.tiles_l) * p.tiles_i * images), turn_threads, 0, p);
}

/* Pixels of the planes that may be moved together: 16 bytes, 8 (of 16-bit elements), or 1 element. */
inline int pixels_together(const conv_images &x, int64_t bytes)
{
    const bool dense =
        x.size[1] == 1 ? x.size[0] == 1 || x.stride[0] == 1 : x.stride[1] == 1 && (x.size[0] == 1 || x.stride[0] == x.size[1]);
    for (int v = int(16 / bytes); v >= 4 && dense; v /= 2)
        if (x.size[0] * x.size[1] % v == 0 && (x.c == 1 || x.channel % v == 0) && (x.n == 1 || x.image % v == 0) &&
            reinterpret_cast<uintptr_t>(x.data) % (size_t(v) * size_t(bytes)) == 0)
            return v;
    return 1;
}

inline turn_axis pixels_of(const conv_images &x) { return turn_axis{simt::divider32(x.size[1]), x.stride[0], x.stride[1]}; }

/* Planes to [image][pixel][channels], zeros from x.c on; channels: a multiple of 16 bytes. */
inline trine_status turn_to_channels(trine_call *call, const conv_images &x, int64_t bytes, int channels, void *to)
{
    const int64_t pixels = x.size[0] * x.size[1];
    turn_problem p = {};
    p.from = x.data;
    p.to = to;
    p.from_image = x.image;
    p.from_line = x.channel;
    p.to_image = pixels * channels;
    p.to_line = channels;
    p.lines = int(x.c);
    p.length = int(pixels);
    p.to_lines = channels;
    p.along_length = pixels_of(x);
    const int v = pixels_together(x, bytes);
    if (bytes == 4) return v == 4 ? launch_turn<uint32_t, 4, 4>(call, p, x.n) : launch_turn<uint32_t, 1, 4>(call, p, x.n);
    if (v == 8) return launch_turn<uint16_t, 8, 8>(call, p, x.n);
    return v == 4 ? launch_turn<uint16_t, 4, 8>(call, p, x.n) : launch_turn<uint16_t, 1, 8>(call, p, x.n);
}

/* And back: [image][pixel][channels], of which x has x.c, to x. */
inline trine_status turn_to_planes(trine_call *call, const void *from, int channels, const conv_images &x, int64_t bytes)
{
    const int64_t pixels = x.size[0] * x.size[1];
    turn_problem p = {};
    p.from = from;
    p.to = const_cast<void *>(x.data);
    p.from_image = pixels * channels;
    p.from_line = channels;
    p.to_image = x.image;
    p.to_line = x.channel;
    p.lines = p.to_lines = int(pixels);
    p.length = int(x.c);
    p.along_lines = pixels_of(x);
    const int v = pixels_together(x, bytes);
    if (bytes == 4) return v == 4 ? launch_turn<uint32_t, 4, 4>(call, p, x.n) : launch_turn<uint32_t, 4, 1>(call, p, x.n);
    if (v == 8) return launch_turn<uint16_t, 8, 8>(call, p, x.n);
    return v == 4 ? launch_turn<uint16_t, 8, 4>(call, p, x.n) : launch_turn<uint16_t, 8, 1>(call, p, x.n);
}

} // namespace conv_turn

#endif
