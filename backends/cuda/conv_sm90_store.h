/* The sm90 convolution's epilogues: from a warpgroup's sums in registers to d, wherever its pixels and channels lie.
 *
 *   store_by_tma         pixels follow each other, each with its channels: matmul's
 *   store_pixels_by_tma  pixels that lie anywhere, each with its channels
 *   store_planes_by_tma  planes, each with its pixels: the sums are turned on their way through shared memory
 *   store_scattered      everything else
 */
#ifndef TRINE_CUDA_CONV_SM90_STORE_H
#define TRINE_CUDA_CONV_SM90_STORE_H

#include "backends/cuda/conv_sm90_geometry.h"
#include "backends/cuda/matmul_sm90_epilogue.h"

namespace sm90 {

template <class T> TRINE_DEVICE float read_bias(const conv_finish &f, T, int i)
{
    return f.bias_wide ? static_cast<const float *>(f.bias)[i] : simt::to_f32(static_cast<const T *>(f.bias)[i]);
}

/* Bias and relu, for sums that TMA will store. */
template <class Tile, class T> TRINE_DEVICE void finish_sums(float (&sum)[Tile::N / 2], const conv_geometry &g,
                                                             const conv_finish &f, int column, const lane_place &me)
{
    if (f.bias) {
#pragma unroll
        for (int j = 0; j < Tile::N / 8; j++) {
            const int c = column + 8 * j + me.column();
            const float low = c < g.n ? read_bias(f, T{}, c) : 0.0f, high = c + 1 < g.n ? read_bias(f, T{}, c + 1) : 0.0f;
            sum[4 * j] += low;
            sum[4 * j + 1] += high;
            sum[4 * j + 2] += low;
            sum[4 * j + 3] += high;
        }
    }
    if (f.activation == TRINE_ACT_RELU) {
#pragma unroll
        for (int j = 0; j < Tile::N / 2; j++) sum[j] = sum[j] < 0.0f ? 0.0f : sum[j];
    }
}

TRINE_DEVICE float load_one(uint32_t address)
{
    float v;
    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(v) : "r"(address) : "memory");
    return v;
}
TRINE_DEVICE void store_one(uint32_t address, float v)
{
    asm volatile("st.shared.f32 [%0], %1;" ::"r"(address), "f"(v) : "memory");
}

template <class T, int V> TRINE_DEVICE void put_sums(const conv_finish &f, T, int64_t to, const simt::pack<float, V> &sums)
{
    if (f.wide) {
        simt::store_pack<float, V>(static_cast<float *>(f.d) + to, sums);
        return;
    }
    simt::pack<T, V> narrow;
#pragma unroll
    for (int j = 0; j < V; j++) narrow.at[j] = simt::from_f32<T>(sums.at[j]);
    simt::store_pack<T, V>(static_cast<T *>(f.d) + to, narrow);
}

/* Bias and activation of 64 x 32 staged sums. */
template <class T, int pitch>
TRINE_DEVICE void finish_staged(const conv_geometry &g, const conv_finish &f, int column, uint32_t staging, const lane_place &me)
{
    const int own = column + me.thread % 32;
    const float bias = f.bias && own < g.n ? read_bias(f, T{}, own) : 0.0f;
#pragma unroll 1
    for (int row = me.thread / 32; row < 64; row += warpgroup / 32) {
        const uint32_t at = staging + (row * pitch + me.thread % 32) * 4;
        store_one(at, simt::activate(f.activation, f.activation_alpha, load_one(at) + bias));
    }
    me.meet();
}

/* Where a column of d lies, from its pixel on; negative if the phase has no such pixel. */
TRINE_DEVICE int64_t column_place(const conv_finish &f, const pixel &at, int column)
{
    const conv_spread &o = f.spread;
    if (o.phases[0] == 0) return column * f.channel;
    const int phase = int(o.channels.divide(column)), h = int(o.across.divide(phase)), w = phase - h * o.phases[1];
    if (at.row * o.phases[0] + h >= o.size[0] || at.column * o.phases[1] + w >= o.size[1]) return -1;
    return h * o.stride[0] + w * o.stride[1] + (column - phase * int(o.channels.d)) * f.channel;
}

/* Any strides and activations: through shared memory, so that neighbouring threads have neighbours of d: channels, or pixels. */
template <class Tile, class T> TRINE_DEVICE void store_scattered(const float (&sum)[Tile::N / 2], const conv_geometry &g,
                                                                 const conv_finish &f, const conv_work &w, uint32_t staging,
                                                                 const lane_place &me)
{
    constexpr int pitch = Tile::staging_pitch;
    const conv_phase &p = g.phase[w.phase];
    const bool across = f.channel == 1, finish = f.bias || f.activation != TRINE_ACT_IDENTITY;
    const int width = f.packs ? 8 : 1, lines = 32 / width; /* packs of a row */
#pragma unroll 1
    for (int i = 0; i < Tile::N / 32; i++) {
#pragma unroll
        for (int j = 0; j < Tile::N / 32; j++)
            if (i == j) stage_sums(sum, j, staging, pitch, me);
        me.meet();
        if (finish) finish_staged<T, pitch>(g, f, w.column + 32 * i, staging, me);
#pragma unroll 1
        for (int e = me.thread; e < 64 * lines; e += warpgroup) {
            const int row = across ? e / lines : e % 64, own = (across ? e % lines : e / 64) * width,
                      column = w.column + 32 * i + own;
            pixel at;
            if (!output_of<Tile>(g, p, w.row, me.group * 64 + row, &at) || column >= g.n) continue;
            const int64_t own_place = column_place(f, at, column);
            if (own_place < 0) continue;
            const int64_t to = p.d + at.image * f.image + at.row * f.row + at.column * f.column + own_place;
            const uint32_t from = staging + (row * pitch + own) * 4;
            if (f.packs) {
                const float4 low = ptx::load_shared(from), high = ptx::load_shared(from + 16);
                put_sums(f, T{}, to, simt::pack<float, 8>{{low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w}});
            } else {
                put_sums(f, T{}, to, simt::pack<float, 1>{{load_one(from)}});
            }
        }
        me.meet();
    }
}

/* As store_by_tma, for pixels that lie anywhere; `first`: the warpgroup's first pixel, which one thread finds again for each box
 * so that no register holds it. */
template <class Tile, class D> TRINE_DEVICE void store_pixels_by_tma(const float (&sum)[Tile::N / 2], const CUtensorMap *map,
                                                                     const conv_phase &p, int first, int column, uint32_t staging,
                                                                     const lane_place &me, D type)
{
    store_boxes<Tile, D>(
        sum, staging, me, [&](const float *own, uint32_t box) { fill_box(own, box, me, type); },
        [&](int more, uint32_t box) {
            if (first >= p.m) return;
            const pixel to = pixel_of(p, first);
            ptx::store_pixels(map, ptx::pixels{column + more, to.column, to.row, to.image, 0, 0}, box);
        });
}

/* ---- Planes: boxes of a line a channel, which has 64 pixels (f32: 32 in each half of the box, or in lines of 256 bytes) ----
 *
 * swizzled: as TMA swizzles lines of 128 bytes, so that the eight channels of a matrix meet all banks. Boxes of a window's pixels
 * are no such lines; they lie one after the other. */

template <class T>
TRINE_DEVICE void fill_plane_box(const float *d, uint32_t box, bool swizzled, const lane_place &me, T)
{
    const int piece = 2 * me.warp() + me.lane() / 8 % 2;
#pragma unroll
    for (int j = 0; j < 8; j += 2) {
        const int line = 8 * (j + me.lane() / 16) + me.lane() % 8;
        const float *own = d + 4 * j;
        ptx::store_matrices_turned(box + line * wgmma::line_bytes + ((swizzled ? piece ^ (line % 8) : piece) << 4),
                                   pack_pair(T{}, own[0], own[1]), pack_pair(T{}, own[2], own[3]), pack_pair(T{}, own[4], own[5]),
                                   pack_pair(T{}, own[6], own[7]));
    }
}
TRINE_DEVICE void fill_plane_box(const float *d, uint32_t box, bool swizzled, const lane_place &me, float)
{
#pragma unroll
    for (int j = 0; j < 4; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int line = 8 * j + me.column() + i % 2, at = me.row() + i / 2 * 8;
            const int halves = at / 32 * (wgmma::block_bytes / 2) + line * wgmma::line_bytes +
                               ((at % 32 / 4 ^ line % 8) << 4) + at % 4 * 4;
            store_one(box + (swizzled ? halves : line * 2 * wgmma::line_bytes + at * 4), d[4 * j + i]);
        }
}

/* `pixels` pixels from `first` on, which may end in a later image: TMA leaves out what its image does not have. */
TRINE_DEVICE void put_plane_pixels(const CUtensorMap *map, const conv_phase &p, int first, int pixels, int column, uint32_t box)
{
    const int plane = int(p.width.d) * int(p.height.d);
    int image = int(p.height.divide(p.width.divide(unsigned(first)))), at = first - image * plane;
#pragma unroll 1
    for (; at > -pixels && image * plane < p.m; at -= plane, image++)
        ptx::store_box(map, ptx::coordinates{at, column, {image, 0, 0}}, false, box);
}

template <class Tile, class D> TRINE_DEVICE void store_planes_by_tma(const float (&sum)[Tile::N / 2], const CUtensorMap *map,
                                                                     const conv_geometry &g, const conv_work &w,
                                                                     uint32_t staging, const lane_place &me, D type)
{
    const conv_phase &p = g.phase[w.phase];
    const bool swizzled = !g.windows;
    store_boxes<Tile, D>(
        sum, staging, me, [&](const float *own, uint32_t box) { fill_plane_box(own, box, swizzled, me, type); },
        [&](int more, uint32_t box) {
            if (g.windows) {
                const pixel at = pixel_of(p, w.row / Tile::M);
                const int row = at.row * g.box[0] + me.group * 64 / g.box[1];
                ptx::store_box(map, ptx::coordinates{at.column * g.box[1], row, {w.column + more, at.image, 0}}, false, box);
                return;
            }
            constexpr int pixels = sizeof(D) == 4 ? 32 : 64;
#pragma unroll
            for (int half = 0; half < 64 / pixels; half++) {
                const int first = w.row + me.group * 64 + half * pixels;
                if (first < p.m)
                    put_plane_pixels(map, p, first, pixels, w.column + more, box + half * (wgmma::block_bytes / 2));
            }
        });
}

template <class Tile, class D>
TRINE_DEVICE void conv_store_by_tma(const float (&sum)[Tile::N / 2], const conv_maps &m, const conv_geometry &g,
                                    const schedule &s, const conv_work &w, uint32_t staging, const lane_place &me, D type)
{
    const conv_phase &p = g.phase[w.phase];
    const int row = w.row + me.group * 64;
    if (g.store == store_kind_pixels) {
        store_pixels_by_tma<Tile>(sum, &m.d[w.phase], p, row, w.column, staging, me, type);
    } else if (g.store == store_kind_planes) {
        store_planes_by_tma<Tile>(sum, &m.d[0], g, w, staging, me, type);
    } else {
        ptx::coordinates to = {w.column, row, {0, 0, 0}};
        if (g.windows) {
            const pixel at = pixel_of(p, w.row / Tile::M);
            to = ptx::coordinates{w.column, at.column * g.box[1], {at.row * g.box[0] + me.group * 64 / g.box[1], at.image, 0}};
        }
        store_by_tma<Tile>(sum, &m.d[0], s, to, staging, me, type);
    }
}

template <class Tile, class T> TRINE_DEVICE void conv_store(float (&sum)[Tile::N / 2], const conv_maps &m, const conv_geometry &g,
                                                            const conv_finish &f, const schedule &s, const conv_work &w,
                                                            uint32_t staging, const lane_place &me)
{
    if (!s.by_tma) {
        store_scattered<Tile, T>(sum, g, f, w, staging, me);
        return;
    }
    finish_sums<Tile, T>(sum, g, f, w.column, me);
    if constexpr (sizeof(T) == 2) {
        if (!f.wide) {
            conv_store_by_tma<Tile>(sum, m, g, s, w, staging, me, T{});
            return;
        }
    }
    conv_store_by_tma<Tile>(sum, m, g, s, w, staging, me, float{});
}

} // namespace sm90

#endif
