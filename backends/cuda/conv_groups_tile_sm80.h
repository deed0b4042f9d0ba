/* Tiles of convolutions by up to 3 x 3 in groups of few channels (conv_groups_sm80.h): a block has 64 channels of a tile of the plane and of
 * what its taps reach, in shared memory; where those lie, and how large they are. */
#ifndef TRINE_CUDA_CONV_GROUPS_TILE_SM80_H
#define TRINE_CUDA_CONV_GROUPS_TILE_SM80_H

#include "backends/cuda/conv_variants.h"
#include "backends/cuda/mma/mma_sync.h"
#include "backends/simt/conv.h"

namespace sm80 {

enum {
    tiles_threads = 256,
    tiles_blocks = 2, /* of a multiprocessor */
    tiles_channels = 64,
    tiles_side = 3, /* lines and columns of a filter, at most */
    tiles_taps = tiles_side * tiles_side,
    tiles_pixel =
        tiles_channels * 2 + 16, /* bytes from pixel to pixel in shared memory: eight of them, 16 bytes each, meet all banks */
    tiles_shared = 48 << 10,     /* bytes of a tile at most; of two there is one more line of zeros */
    tiles_zeros = 16,
    tiles_pixels = 256, /* that are made, at most */
    tiles_wide = 32,
    tiles_shared_weight = 31 << 10, /* the same of the filters' gradient, which has dy there, too */
    tiles_pixels_weight = 128,
    segment_channels = 8, /* of a warp there are four */
    segments = 4
};

/* WHOLE: 3 x 3 taps, which the compiler knows then. */
template <class T, bool WHOLE> struct group_tiles {
    const T *x; /* of image 0, line 0, column 0 */
    simt::conv_operand<T> filters;
    int32_t filters_first,
        filters_span; /* of a group's elements: where the first tap is, and how many hold all; 0: they lie apart */
    simt::conv_output<T> out;
    int64_t image, line, pixel;          /* strides of x */
    int64_t to_image, to_line, to_pixel; /* of the result */
    int32_t height, width;               /* of x */
    int32_t first_h, first_w;            /* what the first tap of all meets at the result's (0, 0) */
    int32_t step_h, step_w;              /* in x, from pixel to pixel of the result */
    int32_t tap_h, tap_w;                /* from tap to tap; may be negative */
    int32_t taps_h, taps_w;
    int32_t rows, columns;                     /* of the result */
    int32_t tile_h, tile_w, in_h, in_w, pitch; /* in_w: columns of a tile of x, pitch: the same with what is left out */
    int32_t tiles, chunks, channels;
    simt::divider32 tile_columns, across, down;

    group_tiles(const T *x_, const trine_conv_product &p) : x(x_), filters(p.b), out(p), tile_columns(1), across(1), down(1) {}
    TRINE_DEVICE_METHOD int line_of(int tap) const { return WHOLE || taps_w == 3 ? tap / 3 : taps_w == 2 ? tap / 2 : tap; }
    TRINE_DEVICE_METHOD int taps() const { return WHOLE ? tiles_taps : taps_h * taps_w; }
    TRINE_DEVICE_METHOD int side_h() const { return WHOLE ? tiles_side : taps_h; }
    TRINE_DEVICE_METHOD int side_w() const { return WHOLE ? tiles_side : taps_w; }
    TRINE_DEVICE_METHOD uint32_t tile_bytes() const { return uint32_t(in_h * pitch * tiles_pixel); }
};

/* Where a tile lies: image, and its first pixel of the result. */
struct plane_tile {
    int32_t n, h, w;
};
template <class T, bool WHOLE> TRINE_DEVICE plane_tile tile_at(const group_tiles<T, WHOLE> &p, int32_t index)
{
    const int32_t rest = int32_t(p.across.divide(index)), n = int32_t(p.down.divide(rest));
    return plane_tile{n, (rest - n * int32_t(p.down.d)) * p.tile_h, (index - rest * int32_t(p.across.d)) * p.tile_w};
}

/* The tile's part of x, zeros outside of it. */
template <class T, bool WHOLE>
TRINE_DEVICE void copy_tile(const group_tiles<T, WHOLE> &p, int32_t index, int32_t first_channel, uint32_t to)
{
    enum { pieces = tiles_channels / 8, apart = tiles_threads / pieces };
    const int piece = int(threadIdx.x) % pieces;
    const plane_tile t = tile_at(p, index);
    const int32_t h = t.h * p.step_h + p.first_h, w = t.w * p.step_w + p.first_w, channel = first_channel + piece * 8;
    const T *from = p.x + t.n * p.image + channel;
    to += uint32_t(piece * 16);
    for (int32_t i = 0; i < p.in_h; i++)
        for (int32_t j = int(threadIdx.x) / pieces; j < p.in_w; j += apart) {
            const bool some = channel < p.channels && uint32_t(h + i) < uint32_t(p.height) && uint32_t(w + j) < uint32_t(p.width);
            mma_sync::copy16_if(to + uint32_t((i * p.pitch + j) * tiles_pixel),
                                some ? from + (h + i) * p.line + (w + j) * p.pixel : p.x, some);
        }
}

/* Bytes from a pixel to what its tap meets. */
template <class T, bool WHOLE> TRINE_DEVICE int32_t tap_bytes(const group_tiles<T, WHOLE> &p, int tap)
{
    const int line = p.line_of(tap);
    const int32_t h = line * p.tap_h - (p.tap_h < 0 ? (p.side_h() - 1) * p.tap_h : 0),
                  w = (tap - line * p.side_w()) * p.tap_w - (p.tap_w < 0 ? (p.side_w() - 1) * p.tap_w : 0);
    return (h * p.pitch + w) * tiles_pixel;
}

template <class T, bool WHOLE> TRINE_DEVICE uint32_t pixel_bytes(const group_tiles<T, WHOLE> &p, int32_t pixel)
{
    const int32_t all = p.tile_h * p.tile_w, at = pixel < all ? pixel : all - 1, h = int32_t(p.tile_columns.divide(at)),
                  w = at - h * p.tile_w;
    return uint32_t((h * p.step_h * p.pitch + w * p.step_w) * tiles_pixel);
}

/* ---- Host ---- */

inline int64_t absolute(int64_t x) { return x < 0 ? -x : x; }

/* x, or what stands for it: which side of the operand its pixels are, and which one the taps. */
struct tiles_source {
    const trine_conv_operand &o;
    const trine_conv_side &pixels, &taps;
};

inline bool strides_in_eights(const trine_conv_side &s, int axes)
{
    bool fit = true;
    for (int i = 0; i < axes; i++) fit = fit && (s.size[i] == 1 || s.stride[i] % 8 == 0);
    return fit;
}

/* Whether channels lie densely, group after group, and pixels so that packs of eight can be read. */
inline bool tiles_lie(const tiles_source &x, int64_t channels)
{
    return x.taps.size[0] <= tiles_side && x.taps.size[1] <= tiles_side && x.taps.size[2] == channels && x.taps.stride[2] == 1 &&
           x.o.group == channels && x.o.first % 8 == 0 && strides_in_eights(x.pixels, 3) && strides_in_eights(x.taps, 2);
}
inline bool is_channels(int64_t n) { return n == 4 || n == 8 || n == 16; }

/* Whether all of a group's elements, no more than 3 x 3 taps have, lie in packs before the next group's; *span: so many hold the taps. */
inline bool filters_lie_together(const trine_conv_product &p, int64_t channels, int64_t *span)
{
    const trine_conv_side &rows = p.b.rows, &terms = p.b.terms;
    bool fit = p.b.group == channels * channels * tiles_taps && rows.stride[2] > 0 && p.b.first >= 0;
    *span = p.b.first + (rows.size[2] - 1) * rows.stride[2] + 1;
    for (int i = 0; i < 3; i++) {
        fit = fit && (terms.size[i] == 1 || terms.stride[i] > 0);
        *span += (terms.size[i] - 1) * terms.stride[i];
    }
    return fit && *span <= p.b.group && simt::aligned16(p.b.data);
}

struct tile_size {
    int32_t h, w, in_h, in_w, pitch;
};
/* Of a plane: near squares of at most so many pixels, whose part of x fits in so much shared memory; in_h 0: none does. */
inline tile_size tile_size_of(const tiles_source &x, int64_t pixels, int64_t shared)
{
    const int64_t reach_h = (x.taps.size[0] - 1) * absolute(x.taps.h[0]) + 1,
                  reach_w = (x.taps.size[1] - 1) * absolute(x.taps.w[1]) + 1;
    for (int64_t wide = tiles_wide; wide > 0; wide = pixels > wide ? wide : wide / 2, pixels /= 2) {
        const int64_t w = simt::ceil_div(x.pixels.size[2], simt::ceil_div(x.pixels.size[2], wide)),
                      most = pixels / w > 0 ? pixels / w : 1,
                      h = simt::ceil_div(x.pixels.size[1], simt::ceil_div(x.pixels.size[1], most)),
                      in_h = (h - 1) * x.pixels.h[1] + reach_h, in_w = (w - 1) * x.pixels.w[2] + reach_w,
                      pitch = simt::ceil_div(in_w - 4 > 0 ? in_w - 4 : 0, 8) * 8 + 4;
        if (in_h * pitch * tiles_pixel <= shared)
            return tile_size{int32_t(h), int32_t(w), int32_t(in_h), int32_t(in_w), int32_t(pitch)};
    }
    return tile_size{};
}

/* y: strides of the result's pixels, or dy's. */
template <class T, bool WHOLE> inline group_tiles<T, WHOLE> group_tiles_of(const trine_conv_product &p, const tiles_source &x,
                                                                           const trine_conv_side &y, const tile_size &t)
{
    const int64_t line = x.pixels.stride[1] / x.pixels.h[1],
                  pixel = x.pixels.stride[2] / x.pixels.w[2], /* strides are 1 at least */
        across = simt::ceil_div(x.pixels.size[2], t.w), down = simt::ceil_div(x.pixels.size[1], t.h),
                  channels = p.groups * x.taps.size[2];
    group_tiles<T, WHOLE> g(static_cast<const T *>(x.o.data) + x.o.first - x.o.h * line - x.o.w * pixel, p);
    int64_t span = 0;
    g.filters_first = int32_t(p.b.first);
    g.filters_span = filters_lie_together(p, x.taps.size[2], &span) ? int32_t(span) : 0;
    g.image = x.pixels.stride[0];
    g.line = line;
    g.pixel = pixel;
    g.to_image = y.stride[0];
    g.to_line = y.stride[1];
    g.to_pixel = y.stride[2];
    g.height = int32_t(x.o.height);
    g.width = int32_t(x.o.width);
    g.first_h = int32_t(x.o.h + (x.taps.h[0] < 0 ? (x.taps.size[0] - 1) * x.taps.h[0] : 0));
    g.first_w = int32_t(x.o.w + (x.taps.w[1] < 0 ? (x.taps.size[1] - 1) * x.taps.w[1] : 0));
    g.step_h = int32_t(x.pixels.h[1]);
    g.step_w = int32_t(x.pixels.w[2]);
    g.tap_h = int32_t(x.taps.h[0]);
    g.tap_w = int32_t(x.taps.w[1]);
    g.taps_h = int32_t(x.taps.size[0]);
    g.taps_w = int32_t(x.taps.size[1]);
    g.rows = int32_t(x.pixels.size[1]);
    g.columns = int32_t(x.pixels.size[2]);
    g.tile_h = t.h;
    g.tile_w = t.w;
    g.in_h = t.in_h;
    g.in_w = t.in_w;
    g.pitch = t.pitch;
    g.tiles = int32_t(x.pixels.size[0] * across * down);
    g.chunks = int32_t(simt::ceil_div(channels, tiles_channels));
    g.channels = int32_t(channels);
    g.tile_columns = simt::divider32(t.w);
    g.across = simt::divider32(across);
    g.down = simt::divider32(down);
    return g;
}

/* Blocks of a chunk of channels, each with tiles. */
inline int64_t blocks_of_chunk(const trine_call *call, int64_t chunks, int64_t tiles)
{
    const int64_t units = call->device->props.compute_units > 0 ? call->device->props.compute_units : 1,
                  most = simt::ceil_div(units * tiles_blocks, chunks);
    return most < tiles ? most : tiles;
}

inline trine_status group_tiles_can(trine_call *call, const trine_conv_product &p)
{
    TRINE_REQUIRE_THAT(call, atoi(call->device->props.arch + sizeof "sm_" - 1) >= 80, "needs compute capability 8.0");
    TRINE_REQUIRE_THAT(call, simt::conv_fits(p), "needs less than 2^31 pixels and terms");
    TRINE_REQUIRE_THAT(call, p.dtype == TRINE_F16 || p.dtype == TRINE_BF16, "needs f16 or bf16");
    TRINE_REQUIRE_THAT(call, p.m > 0 && p.n > 0 && p.k > 0 && p.groups > 1, "needs several groups");
    return TRINE_OK;
}

} // namespace sm80

#endif
