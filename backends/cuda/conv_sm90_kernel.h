/* sm90: convolutions of 16-bit floats on Hopper's tensor cores: matmul's ring and warpgroups (matmul_sm90_kernel.h), whose rows of a
 * are pixels. A stage holds 64 terms: one tap's chunk of 64 channels, which TMA's im2col mode brings for any row of pixels, zeros
 * at the borders included; or, where channels are few, the taps of a filter row side by side, which lie so in an image that was
 * copied with padding ("windows"). Bound by the tensor cores, or by L2, which is read once a tap. */
#ifndef TRINE_CUDA_CONV_SM90_KERNEL_H
#define TRINE_CUDA_CONV_SM90_KERNEL_H

#include "backends/cuda/conv_sm90_geometry.h"
#include "backends/cuda/matmul_sm90_kernel.h"

namespace sm90 {

/* ---- Loading ---- */

/* B: how the filters lie. Along their rows they come in boxes of 64 rows. */
template <class Tile, wgmma::axis B> struct conv_producer {
    static TRINE_DEVICE_METHOD void load_a(const conv_maps &m, const conv_geometry &g, const conv_phase &p,
                                           const ring_place<Tile> &at, const pixel &first, int tap_row, int tap_column, int chunk)
    {
        if (g.windows) {
            const ptx::coordinates from = {
                chunk * 64, first.column * g.box[1], {first.row * g.box[0], tap_row * g.lines, first.image}};
            ptx::load_box(at.a(), &m.a[0], from, false, at.full());
        } else {
            const ptx::pixels from = {
                chunk * 64,  first.column * g.step[1] + p.first[1],           first.row * g.step[0] + p.first[0],
                first.image, uint16_t(p.tap_at[1] + tap_column * g.apart[1]), uint16_t(p.tap_at[0] + tap_row * g.apart[0])};
            ptx::load_pixels(at.a(), &m.a[p.plane], from, at.full());
        }
    }
    static TRINE_DEVICE_METHOD void load_b_box(const conv_maps &m, const schedule &s, uint32_t to, const ptx::coordinates &from,
                                               uint32_t full)
    {
        if (s.share > 1)
            ptx::load_box_shared(to, &m.b, from, false, full, 3);
        else
            ptx::load_box(to, &m.b, from, false, full);
    }
    /* b, or with two blocks this block's half of it, for both. */
    static TRINE_DEVICE_METHOD void load_b(const conv_maps &m, const schedule &s, const ring_place<Tile> &at, int column, int tap,
                                           int chunk, uint32_t rank)
    {
        const int columns = s.share > 1 ? Tile::N / 2 : Tile::N, first = s.share > 1 ? int(rank) * columns : 0;
        if constexpr (B == wgmma::along_k) {
            const ptx::coordinates from = {chunk * 64, column + first, {tap, 0, 0}};
            load_b_box(m, s, at.b() + first * wgmma::line_bytes, from, at.full());
        } else {
#pragma unroll 1
            for (int i = first; i < first + columns; i += 64) {
                const ptx::coordinates from = {column + i, chunk * 64, {tap, 0, 0}};
                load_b_box(m, s, at.b() + i * wgmma::line_bytes, from, at.full());
            }
        }
    }
    static TRINE_DEVICE_METHOD void run(const conv_maps &m, const conv_geometry &g, const schedule &s, uint32_t base,
                                        uint32_t rank, unsigned unit, unsigned units_apart)
    {
        ring_place<Tile> at(base);
        for (; unit < s.units; unit += units_apart) {
            const conv_work w = conv_work_of<Tile>(g, s, unit, rank);
            const conv_phase &p = g.phase[w.phase];
            const pixel first = pixel_of(p, g.windows ? w.row / Tile::M : w.row);
            int chunk = p.first_chunk, tap_row = 0, tap_column = 0;
            for (int i = 0; i < p.steps; i++) {
                const int tap = p.filter + tap_row * g.filter_step[0] + tap_column * g.filter_step[1];
                ptx::barrier_wait(at.empty(), at.parity ^ 1);
                ptx::barrier_expect(at.full(), Tile::bytes_stage);
                load_a(m, g, p, at, first, tap_row, tap_column, chunk);
                load_b(m, s, at, w.column, tap, chunk, rank);
                at.advance();
                if (++chunk < g.chunks) continue;
                chunk = 0;
                if (++tap_column < p.taps[1]) continue;
                tap_column = 0;
                tap_row++;
            }
        }
    }
};

/* ---- Multiplying two filter rows a step ----
 *
 * As multiply_tile, for windows of 32 elements: the tile's 128 pixels come once for each of two filter rows, in lines of 64 bytes,
 * swizzled in patterns of 512. */

enum { half_line = 64, half_tile = 128 * half_line };

TRINE_DEVICE uint64_t describe_half_lines(uint32_t address)
{
    return uint64_t((address & 0x3ffff) >> 4) | uint64_t(1) << 16 | uint64_t((8 * half_line) >> 4) << 32 | uint64_t(2) << 62;
}

template <class T, class Tile> TRINE_DEVICE void multiply_pairs(float (&sum)[Tile::N / 2], ring_place<Tile> &at,
                                                                const schedule &s, int steps, uint32_t rank, const lane_place &me)
{
    uint32_t last = 0;
    wgmma::hold(sum);
#pragma unroll 1
    for (int i = 0; i < steps; i++) {
        ptx::barrier_wait(at.full(), at.parity);
        const uint64_t a = describe_half_lines(at.a() + me.group * 64 * half_line), b = wgmma::describe(at.b());
        wgmma::fence();
#pragma unroll
        for (int k = 0; k < 4; k++)
            wgmma::multiply<T, Tile::N>::template run<wgmma::along_k, wgmma::along_k>(
                sum, a + (k / 2 * half_tile + k % 2 * 32) / 16, b + k * wgmma::next_terms<wgmma::along_k>, i + k > 0);
        wgmma::commit();
        if (i > 0) {
            wgmma::wait<1>();
            give_back<Tile>(s, last, rank, me);
        }
        last = at.empty();
        at.advance();
    }
    wgmma::wait<0>();
    wgmma::hold(sum);
    give_back<Tile>(s, last, rank, me);
}

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
    constexpr int columns = wgmma::line_bytes / int(sizeof(D));
#pragma unroll
    for (int i = 0; i < Tile::N / columns; i++) {
        const uint32_t box = staging + i % Tile::boxes * wgmma::block_bytes;
        if (me.thread == 0) ptx::wait_stores_read<Tile::boxes - 1>();
        me.meet();
        fill_box(sum + i * columns / 2, box, me, type);
        ptx::fence_async();
        me.meet();
        if (me.thread == 0 && first < p.m) {
            const pixel to = pixel_of(p, first);
            ptx::store_pixels(map, ptx::pixels{column + i * columns, to.column, to.row, to.image, 0, 0}, box);
        }
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
    const conv_phase &p = g.phase[w.phase];
    const int row = w.row + me.group * 64;
    ptx::coordinates to = {w.column, row, {0, 0, 0}};
    if (g.windows) {
        const pixel at = pixel_of(p, w.row / Tile::M);
        to = ptx::coordinates{w.column, at.column * g.box[1], {at.row * g.box[0] + me.group * 64 / g.box[1], at.image, 0}};
    }
    finish_sums<Tile, T>(sum, g, f, w.column, me);
    if (g.store_pixels && f.wide)
        store_pixels_by_tma<Tile>(sum, &m.d[w.phase], p, row, w.column, staging, me, float{});
    else if (g.store_pixels)
        store_pixels_by_tma<Tile>(sum, &m.d[w.phase], p, row, w.column, staging, me, T{});
    else if (f.wide)
        store_by_tma<Tile>(sum, &m.d[0], s, to, staging, me, float{});
    else
        store_by_tma<Tile>(sum, &m.d[0], s, to, staging, me, T{});
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

/* PAIRS: a step is two filter rows. */
template <class T, class Tile, wgmma::axis B, bool PAIRS> __global__ void __launch_bounds__(Tile::threads, Tile::together)
    conv_kernel(const __grid_constant__ conv_maps m, const __grid_constant__ conv_geometry g,
                const __grid_constant__ conv_finish f, const __grid_constant__ schedule s)
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
            ptx::prefetch_map(&m.a[0]);
            ptx::prefetch_map(&m.b);
            conv_producer<Tile, B>::run(m, g, s, base, rank, unit, units_apart);
        }
        __syncwarp();
    } else {
        if constexpr (Tile::trades_registers) ptx::take_registers<224>();
        const lane_place me = {int(threadIdx.x) / warpgroup, int(threadIdx.x) % warpgroup};
        const uint32_t staging = base + Tile::at_staging + me.group * Tile::staging;
        ring_place<Tile> at(base);
        float sum[Tile::N / 2];
        for (; unit < s.units; unit += units_apart) {
            const conv_work w = conv_work_of<Tile>(g, s, unit, rank);
            const int steps = g.phase[w.phase].steps;
            if constexpr (PAIRS)
                multiply_pairs<T, Tile>(sum, at, s, steps, rank, me);
            else
                multiply_tile<T, Tile, wgmma::along_k, B>(sum, at, s, steps, rank, me);
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
