/* The sm90 convolution's epilogues: from a warpgroup's sums in registers (Sums says which) to d, wherever its pixels and channels
 * lie.
 *
 *   store_by_tma         pixels follow each other, each with its channels: matmul's
 *   store_pixels_by_tma  pixels that lie anywhere, each with its channels
 *   store_planes_by_tma  planes, each with its pixels: the sums are turned on their way through shared memory
 *   store_scattered      everything else
 */
#ifndef TRINE_CUDA_CONV_SM90_STORE_H
#define TRINE_CUDA_CONV_SM90_STORE_H

#include "backends/cuda/conv_sm90_sums.h"

namespace sm90 {

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
template <class Sums, class Tile, class T>
TRINE_DEVICE void store_scattered(const float (&sum)[Tile::N / 2], const conv_geometry &g, const conv_finish &f,
                                  const conv_work &w, uint32_t staging, const lane_place &me)
{
    constexpr int pitch = Tile::staging_pitch;
    const conv_phase &p = g.phase[w.phase];
    const bool across = f.channel == 1, finish = f.bias || f.activation != TRINE_ACT_IDENTITY;
    const int width = f.packs ? 8 : 1, lines = 32 / width; /* packs of a row */
#pragma unroll 1
    for (int i = 0; i < Tile::N / 32; i++) {
#pragma unroll
        for (int j = 0; j < Tile::N / 32; j++)
            if (i == j) Sums::stage(sum, j, staging, pitch, me);
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
template <class Sums, class Tile, class D>
TRINE_DEVICE void store_pixels_by_tma(const float (&sum)[Tile::N / 2], const CUtensorMap *map, const conv_phase &p, int first,
                                      int column, uint32_t staging, const lane_place &me, D type)
{
    store_boxes<Tile, D>(
        sum, staging, me, [&](const float *own, uint32_t box) { Sums::fill(own, box, me, type); },
        [&](int more, uint32_t box) {
            if (first >= p.m) return;
            const pixel to = pixel_of(p, first);
            ptx::store_pixels(map, ptx::pixels{column + more, to.column, to.row, to.image, 0, 0}, box);
        });
}

/* ---- Planes ---- */

/* Pixels from `first` on, all of one image. */
TRINE_DEVICE void put_plane_pixels(const CUtensorMap *map, const conv_phase &p, int first, int column, uint32_t box)
{
    if (first >= p.m) return;
    const int image = int(p.height.divide(p.width.divide(unsigned(first)))), plane = int(p.width.d) * int(p.height.d);
    ptx::store_box(map, ptx::coordinates{first - image * plane, column, {image, 0, 0}}, false, box);
}

template <class Sums, class Tile, class D>
TRINE_DEVICE void store_planes_by_tma(const float (&sum)[Tile::N / 2], const CUtensorMap *map, const conv_geometry &g,
                                      const conv_work &w, uint32_t staging, const lane_place &me, D type)
{
    const conv_phase &p = g.phase[w.phase];
    const bool swizzled = !g.windows;
    store_boxes<Tile, D>(
        sum, staging, me, [&](const float *own, uint32_t box) { Sums::fill_plane(own, box, swizzled, me, type); },
        [&](int more, uint32_t box) {
            if (g.windows) {
                const pixel at = pixel_of(p, w.row / Tile::M);
                const int row = at.row * g.box[0] + me.group * 64 / g.box[1];
                ptx::store_box(map, ptx::coordinates{at.column * g.box[1], row, {w.column + more, at.image, 0}}, false, box);
                return;
            }
            const int first = w.row + me.group * 64;
            put_plane_pixels(map, p, first, w.column + more, box);
            if (sizeof(D) == 4) put_plane_pixels(map, p, first + 32, w.column + more, box + wgmma::block_bytes / 2);
        });
}

template <class Sums, class Tile, class D>
TRINE_DEVICE void conv_store_by_tma(const float (&sum)[Tile::N / 2], const conv_maps &m, const conv_geometry &g,
                                    const conv_work &w, uint32_t staging, const lane_place &me, D type)
{
    const conv_phase &p = g.phase[w.phase];
    const int row = w.row + me.group * 64;
    if (g.store == store_kind_pixels) {
        store_pixels_by_tma<Sums, Tile>(sum, &m.d[w.phase], p, row, w.column, staging, me, type);
    } else if (g.store == store_kind_planes) {
        store_planes_by_tma<Sums, Tile>(sum, &m.d[0], g, w, staging, me, type);
    } else {
        ptx::coordinates to = {w.column, row, {0, 0, 0}};
        if (g.windows) {
            const pixel at = pixel_of(p, w.row / Tile::M);
            to = ptx::coordinates{w.column, at.column * g.box[1], {at.row * g.box[0] + me.group * 64 / g.box[1], at.image, 0}};
        }
        store_boxes<Tile, D>(
            sum, staging, me, [&](const float *own, uint32_t box) { Sums::fill(own, box, me, type); },
            [&](int more, uint32_t box) {
                to.inner = w.column + more;
                ptx::store_box(&m.d[0], to, !g.windows, box);
            });
    }
}

template <class Sums, class Tile, class T>
TRINE_DEVICE void conv_store(float (&sum)[Tile::N / 2], const conv_maps &m, const conv_geometry &g, const conv_finish &f,
                             const schedule &s, const conv_work &w, uint32_t staging, const lane_place &me)
{
    if (!s.by_tma) {
        store_scattered<Sums, Tile, T>(sum, g, f, w, staging, me);
        return;
    }
    if (f.bias) Sums::add_bias(sum, g, f, w.column, me, T{});
    if (f.activation == TRINE_ACT_RELU) {
#pragma unroll
        for (int j = 0; j < Tile::N / 2; j++) sum[j] = sum[j] < 0.0f ? 0.0f : sum[j];
    }
    if constexpr (sizeof(T) == 2) {
        if (!f.wide) {
            conv_store_by_tma<Sums, Tile>(sum, m, g, w, staging, me, T{});
            return;
        }
    }
    conv_store_by_tma<Sums, Tile>(sum, m, g, w, staging, me, float{});
}

} // namespace sm90

#endif
