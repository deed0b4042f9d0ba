/* sm90, the gradient of the filters: dweight[k, (tap, c)] = sum over pixels of dy[pixel, k] x[pixel moved by tap, c]. Both
 * operands lie along their rows (channels), 64 pixels a stage (f32, which is multiplied exactly: 32); TMA's im2col mode brings
 * x. The tiles are few and the sums long, so that pixels are divided among blocks: each stores its sums as f32, and a second
 * kernel adds them in order. Bound by L2, from which every column of tiles reads dy again and every row of them (with clusters
 * of two, every second one) x. */
#ifndef TRINE_CUDA_CONV_SM90_WEIGHT_H
#define TRINE_CUDA_CONV_SM90_WEIGHT_H

#include "backends/cuda/conv_sm90_exact.h"
#include "backends/cuda/conv_sm90_kernel.h"

namespace sm90 {

/* planes: filters of one tap, of images whose channels are planes of dense pixels: both operands lie along K. turned: tf32; dy was
 * copied as [row][pixel], for the tensor cores want terms of f32 dense, and x comes to them through registers
 * (matmul_sm90_turned.h). exact: f32 is not rounded. */
enum class weight_way { plain, planes, turned, exact };

struct weight_parts {
    float *sums; /* [split][row][column]: columns are (tap, channel), channels in whole boxes */
    unsigned tiles_m, tiles_n, splits;
    int rows, pitch, steps;
    int blocks; /* of a box's columns that there are */
    int plane;  /* planes: steps of an image */
    int share;  /* blocks of a cluster, whose tiles are neighbours along the rows and which load x together */
};

struct weight_work {
    int row, column, split, first, steps;
};

template <class Tile> TRINE_DEVICE weight_work weight_work_of(const weight_parts &p, unsigned unit, uint32_t rank)
{
    weight_work w;
    const unsigned rows = p.tiles_m / unsigned(p.share), tiles = rows * p.tiles_n, split = unit / tiles,
                   tile = unit - split * tiles;
    w.row = int(tile % rows * unsigned(p.share) + (p.share > 1 ? rank : 0)) * Tile::M;
    w.column = int(tile / rows) * Tile::N;
    w.split = int(split);
    w.first = int(int64_t(p.steps) * split / p.splits);
    w.steps = int(int64_t(p.steps) * (split + 1) / p.splits) - w.first;
    return w;
}

/* Boxes have as many pixels as channels, those of a line of 128 bytes. */
template <class T> constexpr int weight_unit = wgmma::elements_of_line<T>;
template <class T> constexpr int weight_box_bytes = weight_unit<T> *wgmma::line_bytes;

/* The taps and channels of a tile's columns, a line's to a box, and which of the boxes this block loads. */
template <class T, class Tile> struct weight_boxes {
    enum { unit = weight_unit<T>, count = Tile::N / unit };
    int channel[count];
    uint16_t tap_row[count], tap_column[count];
    bool own[count];

    TRINE_DEVICE_METHOD weight_boxes(const conv_geometry &g, const weight_parts &p, int column, uint32_t rank)
    {
        const int taps = g.phase[0].taps[1];
#pragma unroll
        for (int j = 0; j < count; j++) {
            const int wanted = column / unit + j, block = wanted < p.blocks ? wanted : p.blocks - 1;
            const int tap = block / g.chunks, row = tap / taps;
            channel[j] = (block - tap * g.chunks) * unit;
            tap_row[j] = uint16_t(row * g.apart[0]);
            tap_column[j] = uint16_t((tap - row * taps) * g.apart[1]);
            own[j] = p.share == 1 || j / (count / 2) == int(rank);
        }
    }
};

/* dy of the step, whose box of pixels begins at `box`. */
template <class T, class Tile, weight_way WAY> TRINE_DEVICE void
load_weight_rows(const maps &m, const conv_geometry &g, const ring_place<Tile> &at, int row, int step, const pixel &box)
{
    constexpr int unit = weight_unit<T>, bytes = weight_box_bytes<T>;
    if constexpr (WAY == weight_way::turned) {
        ptx::load_box(at.a(), &m.a, ptx::coordinates{step * unit, row, {0, 0, 0}}, true, at.full());
    } else {
        ptx::coordinates from = {row, step * unit, {0, 0, 0}};
        if (g.windows) from = ptx::coordinates{row, box.column * g.box[1], {box.row * g.box[0], box.image, 0}};
#pragma unroll
        for (int j = 0; j < Tile::M / unit; j++) {
            ptx::load_box(at.a() + j * bytes, &m.a, from, !g.windows, at.full());
            from.inner += unit;
        }
    }
}

/* What each tap meets of x from a pixel on. */
template <class T, class Tile> TRINE_DEVICE void load_weight_pixels(const maps &m, const conv_geometry &g, const weight_parts &p,
                                                                    const ring_place<Tile> &at,
                                                                    const weight_boxes<T, Tile> &boxes, const pixel &begin)
{
    constexpr int bytes = weight_box_bytes<T>;
    const conv_phase &phase = g.phase[0];
    const int w = begin.column * g.step[1] + phase.first[1], h = begin.row * g.step[0] + phase.first[0];
#pragma unroll
    for (int j = 0; j < weight_boxes<T, Tile>::count; j++) {
        const ptx::pixels from = {boxes.channel[j], w, h, begin.image, boxes.tap_column[j], boxes.tap_row[j]};
        if (!boxes.own[j]) continue;
        if (p.share > 1)
            ptx::load_pixels_shared(at.b() + j * bytes, &m.b, from, at.full(), 3);
        else
            ptx::load_pixels(at.b() + j * bytes, &m.b, from, at.full());
    }
}

/* The same for a box of pixels whose channels are few: a filter row's taps lie side by side. Blocks load for themselves. */
template <class T, class Tile> TRINE_DEVICE void load_weight_windows(const maps &m, const conv_geometry &g, const weight_parts &p,
                                                                     const ring_place<Tile> &at, const weight_work &w,
                                                                     const pixel &box)
{
    constexpr int unit = weight_unit<T>, bytes = weight_box_bytes<T>;
    const int row = box.row * g.box[0], column = box.column * g.box[1];
#pragma unroll 1
    for (int j = 0; j < Tile::N / unit; j++) {
        const int wanted = w.column / unit + j, block = wanted < p.blocks ? wanted : p.blocks - 1, line = block / g.chunks;
        ptx::load_box(at.b() + j * bytes, &m.b,
                      ptx::coordinates{(block - line * g.chunks) * unit, column, {row, line, box.image}}, false, at.full());
    }
}

/* Both operands of planes, of one image. */
template <class T, class Tile> TRINE_DEVICE void load_weight_planes(const maps &m, const weight_parts &p,
                                                                    const ring_place<Tile> &at, const weight_work &w, int step)
{
    const int image = step / p.plane;
    ptx::coordinates from = {(step - image * p.plane) * weight_unit<T>, w.row, {image, 0, 0}};
    ptx::load_box(at.a(), &m.a, from, false, at.full());
    from.outer = w.column;
    ptx::load_box(at.b(), &m.b, from, false, at.full());
}

/* All lanes go through it, one starts the copies (ptx::warp_index). */
template <class T, class Tile, weight_way WAY>
TRINE_DEVICE void load_weight_stages(const maps &m, const conv_geometry &g, const weight_parts &p, uint32_t base)
{
    const unsigned units_apart = ptx::cluster_count(), rank = ptx::cluster_rank(),
                   units = p.tiles_m / unsigned(p.share) * p.tiles_n * p.splits;
    const bool leads = ptx::elected();
    ring_place<Tile> at(base);
    for (unsigned unit = ptx::cluster_index(); unit < units; unit += units_apart) {
        const weight_work w = weight_work_of<Tile>(p, unit, rank);
        const weight_boxes<T, Tile> boxes(g, p, w.column, rank);
#pragma unroll 1
        for (int step = w.first; step < w.first + w.steps; step++) {
            const pixel box = pixel_of(g.phase[0], g.windows ? step : step * weight_unit<T>);
            ptx::barrier_wait(at.empty(), at.parity ^ 1);
            if (leads) {
                ptx::barrier_expect(at.full(), Tile::bytes_stage);
                if constexpr (WAY == weight_way::planes) {
                    load_weight_planes<T, Tile>(m, p, at, w, step);
                } else {
                    load_weight_rows<T, Tile, WAY>(m, g, at, w.row, step, box);
                    if (g.windows)
                        load_weight_windows<T, Tile>(m, g, p, at, w, box);
                    else
                        load_weight_pixels<T, Tile>(m, g, p, at, boxes, box);
                }
            }
            at.advance();
        }
    }
}

/* Of multiply_turned's sums. */
template <class Tile>
TRINE_DEVICE void put_turned_sums(const turned_sums<Tile> &sum, const weight_parts &p, const weight_work &w, const lane_place &me)
{
    const turned_lane mine(me.lane());
    float *const parts =
        p.sums + int64_t(w.split) * p.rows * p.pitch + w.column + me.group * turned_columns + me.warp() * 32 + 4 * mine.piece;
#pragma unroll
    for (int j = 0; j < Tile::M / 8; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            const int row = w.row + 8 * j + mine.row + e;
            if (row < p.rows) *reinterpret_cast<float4 *>(parts + int64_t(row) * p.pitch) = turned_pack(sum, j, e);
        }
}

template <weight_way WAY, class Tile> TRINE_DEVICE void put_weight_sums(const float (&sum)[Tile::N / 2], const weight_parts &p,
                                                                        const weight_work &w, const lane_place &me)
{
    float *const parts = p.sums + int64_t(w.split) * p.rows * p.pitch + w.column;
    if constexpr (WAY == weight_way::exact) {
        const int row = w.row + me.group * 64 + me.warp() * lane_sums<1>::rows;
        float *to = parts + int64_t(row) * p.pitch + me.lane();
#pragma unroll
        for (int r = 0; r < lane_sums<1>::rows; r++)
#pragma unroll
            for (int j = 0; j < Tile::N / 32; j++)
                if (row + r < p.rows) to[int64_t(r) * p.pitch + 32 * j] = sum[lane_sums<1>::rows * j + r];
    } else {
        const int row = w.row + me.group * 64 + me.row();
        float *to = parts + int64_t(row) * p.pitch + me.column();
#pragma unroll
        for (int j = 0; j < Tile::N / 8; j++) {
            if (row < p.rows) *reinterpret_cast<float2 *>(to + 8 * j) = float2{sum[4 * j], sum[4 * j + 1]};
            if (row + 8 < p.rows)
                *reinterpret_cast<float2 *>(to + 8 * int64_t(p.pitch) + 8 * j) = float2{sum[4 * j + 2], sum[4 * j + 3]};
        }
    }
}

/* The sums of each unit of work. */
template <class T, class Tile, weight_way WAY> TRINE_DEVICE void make_weight_sums(const weight_parts &p, uint32_t base)
{
    /* found here, not held over the change of the number of registers, where there are too few */
    const lane_place me = {int(threadIdx.x) / warpgroup, int(threadIdx.x) % warpgroup};
    const unsigned units_apart = ptx::cluster_count(), rank = ptx::cluster_rank(),
                   units = p.tiles_m / unsigned(p.share) * p.tiles_n * p.splits;
    constexpr wgmma::axis axis = WAY == weight_way::planes ? wgmma::along_k : wgmma::along_rows;
    schedule s = {};
    s.share = p.share;
    s.splits = 1;
    ring_place<Tile> at(base);
    for (unsigned unit = ptx::cluster_index(); unit < units; unit += units_apart) {
        const weight_work w = weight_work_of<Tile>(p, unit, rank);
        if constexpr (WAY == weight_way::turned) {
            turned_sums<Tile> sum;
            multiply_turned<Tile>(sum, at, s, w.steps, rank, me);
            put_turned_sums<Tile>(sum, p, w, me);
        } else {
            float sum[Tile::N / 2];
            if constexpr (WAY == weight_way::exact)
                multiply_rows_exactly<Tile>(sum, at, s, w.steps, rank, me);
            else
                multiply_tile<T, Tile, axis, axis>(sum, at, s, w.steps, rank, me);
            put_weight_sums<WAY, Tile>(sum, p, w, me);
        }
    }
}

template <class T, class Tile, weight_way WAY> __global__ void __launch_bounds__(Tile::threads, Tile::together)
    conv_weight_kernel(const __grid_constant__ maps m, const __grid_constant__ conv_geometry g,
                       const __grid_constant__ weight_parts p)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    const uint32_t base =
        (ptx::shared_address(target::dynamic_shared()) + wgmma::pattern_bytes - 1) & ~uint32_t(wgmma::pattern_bytes - 1);
    if (threadIdx.x == Tile::multipliers) {
        ptx::prefetch_map(&m.a);
        ptx::prefetch_map(&m.b);
    }
    begin_conv_ring<Tile>(base, p.share);
    if (threadIdx.x < Tile::multipliers) {
        if constexpr (Tile::trades_registers) ptx::take_registers<224>();
        make_weight_sums<T, Tile, WAY>(p, base);
    } else { /* last, so that the compiler puts it first: docs/matmul-hopper.md, "Cold instructions" */
        if constexpr (Tile::trades_registers) ptx::leave_registers<56>();
        if (ptx::warp_index() == Tile::multipliers / 32) load_weight_stages<T, Tile, WAY>(m, g, p, base);
        __syncwarp();
    }
    if (p.share > 1) ptx::cluster_barrier_relaxed();
#endif
}

/* dweight and its strides. */
struct weight_output {
    void *d;
    int64_t row, channel, tap[2];
    int channels, taps, taps_1, padded, line; /* in the sums: from a tap to the next, and to the next filter row's */
    bool wide;
};

template <class T> __global__ void __launch_bounds__(256) add_weight_kernel(weight_parts p, weight_output o)
{
    const int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x, line = i / o.channels, row = line / o.taps;
    const int c = int(i - line * o.channels), tap = int(line - row * o.taps);
    if (row >= p.rows) return;
    const float *from = p.sums + row * p.pitch + tap / o.taps_1 * o.line + tap % o.taps_1 * o.padded + c;
    float sum = 0;
#pragma unroll 4
    for (unsigned s = 0; s < p.splits; s++) sum += from[int64_t(s) * p.rows * p.pitch];
    const int64_t to = row * o.row + c * o.channel + tap / o.taps_1 * o.tap[0] + tap % o.taps_1 * o.tap[1];
    if (o.wide)
        static_cast<float *>(o.d)[to] = sum;
    else
        static_cast<T *>(o.d)[to] = simt::from_f32<T>(sum);
}

} // namespace sm90

#endif
