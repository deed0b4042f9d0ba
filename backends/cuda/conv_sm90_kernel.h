/* sm90: convolutions of 16-bit floats on Hopper's tensor cores: matmul's ring and warpgroups (matmul_sm90_kernel.h), whose rows of a
 * are pixels. A stage holds 64 terms: one tap's chunk of 64 channels, which TMA's im2col mode brings for any row of pixels, zeros
 * at the borders included; or, where channels are few, the taps of a filter row side by side, which lie so in an image that was
 * copied with padding ("windows"). Bound by the tensor cores, or by L2, which is read once a tap. */
#ifndef TRINE_CUDA_CONV_SM90_KERNEL_H
#define TRINE_CUDA_CONV_SM90_KERNEL_H

#include "backends/cuda/matmul_sm90_kernel.h"
#include "backends/cuda/mma/im2col.h"
#include "backends/simt/divider.h"

namespace sm90 {

/* How the tile's rows are pixels (p, q) of images, and its steps are taps and channels. */
struct conv_geometry {
    bool windows;
    simt::divider32 width, height; /* im2col: outputs along a row and a column; windows: boxes */
    int first[2], step[2];         /* of output 0, between outputs: [row, column] */
    int apart[2];                  /* between taps */
    int taps[2], chunks;
    int box[2];              /* windows: a tile's pixels, [rows, columns] */
    int lines;               /* windows: filter rows in a step */
    int m, n, rows, columns; /* pixels, channels of d; outputs along a column and a row */
};

/* d and what is done to a sum before. */
struct conv_finish {
    void *d;
    const void *bias;
    int64_t image, row, column, channel; /* d's strides */
    trine_activation_kind activation;
    float activation_alpha;
    bool wide, bias_wide;
};

struct pixel {
    int image, row, column; /* outputs */
};

TRINE_DEVICE pixel pixel_of(const conv_geometry &g, int index)
{
    const int line = int(g.width.divide(index)), image = int(g.height.divide(line));
    return pixel{image, line - image * int(g.height.d), index - line * int(g.width.d)};
}

/* The output of a row of a tile; false if there is none. */
template <class Tile> TRINE_DEVICE bool output_of(const conv_geometry &g, int tile_row, int row, pixel *at)
{
    if (!g.windows) {
        *at = pixel_of(g, tile_row + row);
        return tile_row + row < g.m;
    }
    *at = pixel_of(g, tile_row / Tile::M);
    at->row = at->row * g.box[0] + row / g.box[1];
    at->column = at->column * g.box[1] + row % g.box[1];
    return at->row < g.rows && at->column < g.columns;
}

/* ---- Loading ---- */

template <class Tile> struct conv_producer {
    static TRINE_DEVICE_METHOD void load_a(const maps &m, const conv_geometry &g, const ring_place<Tile> &at, const pixel &first,
                                           int tap_row, int tap_column, int chunk)
    {
        if (g.windows) {
            const ptx::coordinates from = {
                chunk * 64, tap_row * g.lines, {first.column * g.box[1], first.row * g.box[0], first.image}};
            ptx::load_box(at.a(), &m.a, from, false, at.full());
        } else {
            const ptx::pixels from = {chunk * 64,  first.column * g.step[1] + g.first[1], first.row * g.step[0] + g.first[0],
                                      first.image, uint16_t(tap_column * g.apart[1]),     uint16_t(tap_row * g.apart[0])};
            ptx::load_pixels(at.a(), &m.a, from, at.full());
        }
    }
    /* b, or with two blocks this block's half of it, for both. */
    static TRINE_DEVICE_METHOD void load_b(const maps &m, const schedule &s, const ring_place<Tile> &at, int column, int tap,
                                           int chunk, uint32_t rank)
    {
        const int first = s.share > 1 ? int(rank) * (Tile::N / 2) : 0;
        const ptx::coordinates from = {chunk * 64, column + first, {tap, 0, 0}};
        if (s.share > 1)
            ptx::load_box_shared(at.b() + first * wgmma::line_bytes, &m.b, from, false, at.full(), 3);
        else
            ptx::load_box(at.b(), &m.b, from, false, at.full());
    }
    static TRINE_DEVICE_METHOD void run(const maps &m, const conv_geometry &g, const schedule &s, uint32_t base, uint32_t rank,
                                        unsigned unit, unsigned units_apart)
    {
        ring_place<Tile> at(base);
        for (; unit < s.units; unit += units_apart) {
            const work w = work_of<Tile>(s, unit, rank);
            const pixel first = pixel_of(g, g.windows ? w.row / Tile::M : w.row);
            int chunk = 0, tap_row = 0, tap_column = 0;
            for (int i = 0; i < w.steps; i++) {
                ptx::barrier_wait(at.empty(), at.parity ^ 1);
                ptx::barrier_expect(at.full(), Tile::bytes_stage);
                load_a(m, g, at, first, tap_row, tap_column, chunk);
                load_b(m, s, at, w.column, tap_row * g.taps[1] + tap_column, chunk, rank);
                at.advance();
                if (++chunk < g.chunks) continue;
                chunk = 0;
                if (++tap_column < g.taps[1]) continue;
                tap_column = 0;
                tap_row++;
            }
        }
    }
};

/* ---- Storing ---- */

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

/* Any strides and activations: through shared memory, so that neighbouring threads have neighbours of d: channels, or pixels. */
template <class Tile, class T> TRINE_DEVICE void store_scattered(const float (&sum)[Tile::N / 2], const conv_geometry &g,
                                                                 const conv_finish &f, const work &w, uint32_t staging,
                                                                 const lane_place &me)
{
    constexpr int pitch = Tile::staging_pitch;
    const bool across = f.channel == 1;
#pragma unroll 1
    for (int i = 0; i < Tile::N / 32; i++) {
#pragma unroll
        for (int j = 0; j < Tile::N / 32; j++)
            if (i == j) stage_sums(sum, j, staging, pitch, me);
        me.meet();
#pragma unroll 1
        for (int e = me.thread; e < 64 * 32; e += warpgroup) {
            const int row = across ? e / 32 : e % 64, own = across ? e % 32 : e / 64, column = w.column + 32 * i + own;
            pixel at;
            if (!output_of<Tile>(g, w.row, me.group * 64 + row, &at) || column >= g.n) continue;
            float y = load_one(staging + (row * pitch + own) * 4);
            if (f.bias) y += read_bias(f, T{}, column);
            y = simt::activate(f.activation, f.activation_alpha, y);
            const int64_t to = at.image * f.image + at.row * f.row + at.column * f.column + column * f.channel;
            if (f.wide)
                static_cast<float *>(f.d)[to] = y;
            else
                static_cast<T *>(f.d)[to] = simt::from_f32<T>(y);
        }
        me.meet();
    }
}

template <class Tile, class T> TRINE_DEVICE void conv_store(float (&sum)[Tile::N / 2], const maps &m, const conv_geometry &g,
                                                            const conv_finish &f, const schedule &s, const work &w,
                                                            uint32_t staging, const lane_place &me)
{
    if (!s.by_tma) {
        store_scattered<Tile, T>(sum, g, f, w, staging, me);
        return;
    }
    ptx::coordinates to = {w.column, w.row + me.group * 64, {0, 0, 0}};
    if (g.windows) {
        const pixel at = pixel_of(g, w.row / Tile::M);
        to = ptx::coordinates{w.column, at.column * g.box[1], {at.row * g.box[0] + me.group * 64 / g.box[1], at.image, 0}};
    }
    finish_sums<Tile, T>(sum, g, f, w.column, me);
    if (f.wide)
        store_by_tma<Tile>(sum, &m.d, s, to, staging, me, float{});
    else
        store_by_tma<Tile>(sum, &m.d, s, to, staging, me, T{});
}

/* ---- The kernel ---- */

/* The ring's barriers; all threads of the cluster. */
template <class Tile> TRINE_DEVICE void begin_conv_ring(uint32_t base, int share)
{
    if (threadIdx.x == 0) {
        ring_place<Tile> at(base);
        for (int i = 0; i < Tile::stages; i++, at.advance()) {
            ptx::barrier_init(at.full(), 1);
            ptx::barrier_init(at.empty(), Tile::consumers * share);
        }
        ptx::barrier_init_fence();
    }
    ptx::cluster_barrier();
}

template <class T, class Tile> __global__ void __launch_bounds__(Tile::threads, Tile::together)
    conv_kernel(const __grid_constant__ maps m, const __grid_constant__ conv_geometry g, const __grid_constant__ conv_finish f,
                const __grid_constant__ schedule s)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    const uint32_t base =
        (ptx::shared_address(target::dynamic_shared()) + wgmma::pattern_bytes - 1) & ~uint32_t(wgmma::pattern_bytes - 1);
    const uint32_t rank = ptx::cluster_rank();
    unsigned unit = blockIdx.x / unsigned(s.share);
    const unsigned units_apart = gridDim.x / unsigned(s.share);
    begin_conv_ring<Tile>(base, s.share);
    if (threadIdx.x >= Tile::multipliers) {
        if constexpr (Tile::trades_registers) ptx::leave_registers<56>();
        if (threadIdx.x == Tile::multipliers) {
            ptx::prefetch_map(&m.a);
            ptx::prefetch_map(&m.b);
            conv_producer<Tile>::run(m, g, s, base, rank, unit, units_apart);
        }
        __syncwarp();
    } else {
        if constexpr (Tile::trades_registers) ptx::take_registers<224>();
        const lane_place me = {int(threadIdx.x) / warpgroup, int(threadIdx.x) % warpgroup};
        const uint32_t staging = base + Tile::at_staging + me.group * Tile::staging;
        ring_place<Tile> at(base);
        float sum[Tile::N / 2];
        for (; unit < s.units; unit += units_apart) {
            const work w = work_of<Tile>(s, unit, rank);
            multiply_tile<T, Tile, wgmma::along_k, wgmma::along_k>(sum, at, s, w.steps, rank, me);
            conv_store<Tile, T>(sum, m, g, f, s, w, staging, me);
        }
        if (me.thread == 0) ptx::wait_stores_read<0>();
    }
    /* nobody leaves while another block still signals its shared memory */
    if (s.share > 1) ptx::cluster_barrier();
#endif
}

} // namespace sm90

#endif
