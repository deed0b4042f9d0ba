/* sm90: convolutions of 16-bit floats, and of f32 as tf32, on Hopper's tensor cores: matmul's ring and warpgroups
 * (matmul_sm90_kernel.h), whose rows of a are pixels. A stage holds 64 terms (tf32: 32): one tap's chunk of 64 channels, which
 * TMA's im2col mode brings for any row of pixels, zeros at the borders included; or, where channels are few, the taps of a
 * filter row side by side, which lie so in an image that was copied with padding ("windows"). Bound by the tensor cores, or by
 * L2, which is read once a tap. */
#ifndef TRINE_CUDA_CONV_SM90_KERNEL_H
#define TRINE_CUDA_CONV_SM90_KERNEL_H

#include "backends/cuda/conv_sm90_exact.h"
#include "backends/cuda/conv_sm90_store.h"
#include "backends/cuda/matmul_sm90_kernel.h"

namespace sm90 {

/* ---- Loading ---- */

/* B: how the filters lie. Along their rows they come in boxes of 64 rows. */
template <class T, class Tile, wgmma::axis B> struct conv_producer {
    enum { terms = step_terms<T> };
    static TRINE_DEVICE_METHOD void load_a(const conv_maps &m, const conv_geometry &g, const conv_phase &p,
                                           const ring_place<Tile> &at, const pixel &first, int tap_row, int tap_column, int chunk)
    {
        if (g.windows) {
            const ptx::coordinates from = {
                chunk * terms, first.column * g.box[1], {first.row * g.box[0], tap_row * g.lines, first.image}};
            ptx::load_box(at.a(), &m.a[0], from, false, at.full());
        } else {
            const ptx::pixels from = {
                chunk * terms, first.column * g.step[1] + p.first[1],           first.row * g.step[0] + p.first[0],
                first.image,   uint16_t(p.tap_at[1] + tap_column * g.apart[1]), uint16_t(p.tap_at[0] + tap_row * g.apart[0])};
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
            const ptx::coordinates from = {chunk * terms, column + first, {tap, 0, 0}};
            load_b_box(m, s, at.b() + first * wgmma::line_bytes, from, at.full());
        } else {
#pragma unroll 1
            for (int i = first; i < first + columns; i += 64) {
                const ptx::coordinates from = {column + i, chunk * terms, {tap, 0, 0}};
                load_b_box(m, s, at.b() + i * wgmma::line_bytes, from, at.full());
            }
        }
    }
    /* All lanes go through it, one starts the copies (ptx::warp_index). */
    static TRINE_DEVICE_METHOD void run(const conv_maps &m, const conv_geometry &g, const schedule &s, uint32_t base)
    {
        const unsigned units_apart = ptx::cluster_count(), rank = ptx::cluster_rank();
        const bool leads = ptx::elected();
        ring_place<Tile> at(base);
        for (unsigned unit = ptx::cluster_index(); unit < s.units; unit += units_apart) {
            const conv_work w = conv_work_of<Tile>(g, s, unit, rank);
            const conv_phase &p = g.phase[w.phase];
            const pixel first = pixel_of(p, g.windows ? w.row / Tile::M : w.row);
            int chunk = p.first_chunk, tap_row = 0, tap_column = 0;
#pragma unroll 1
            for (int i = 0; i < p.steps; i++) {
                const int tap = p.filter + tap_row * g.filter_step[0] + tap_column * g.filter_step[1];
                ptx::barrier_wait(at.empty(), at.parity ^ 1);
                if (leads) {
                    ptx::barrier_expect(at.full(), Tile::bytes_stage);
                    load_a(m, g, p, at, first, tap_row, tap_column, chunk);
                    load_b(m, s, at, w.column, tap, chunk, rank);
                }
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

/* ---- The kernel ---- */

/* The ring's barriers; all threads of the cluster. */
template <class Tile> TRINE_DEVICE void begin_conv_ring(uint32_t base, int share)
{
    if (threadIdx.x == 0) init_ring<Tile>(base, 1, Tile::consumers * share);
    ptx::cluster_barrier_relaxed();
}

/* pairs: a step is two filter rows; exact: f32 is not rounded. */
enum class conv_way { plain, pairs, exact };

template <class T, class Tile, wgmma::axis B, conv_way WAY> __global__ void __launch_bounds__(Tile::threads, Tile::together)
    conv_kernel(const __grid_constant__ conv_maps m, const __grid_constant__ conv_geometry g,
                const __grid_constant__ conv_finish f, const __grid_constant__ schedule s)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    const uint32_t base =
        (ptx::shared_address(target::dynamic_shared()) + wgmma::pattern_bytes - 1) & ~uint32_t(wgmma::pattern_bytes - 1);
    if (threadIdx.x == Tile::multipliers) {
        ptx::prefetch_map(&m.a[0]);
        ptx::prefetch_map(&m.b);
    }
    begin_conv_ring<Tile>(base, s.share);
    if (threadIdx.x < Tile::multipliers) {
        if constexpr (Tile::trades_registers) ptx::take_registers<224>();
        const lane_place me = {int(threadIdx.x) / warpgroup, int(threadIdx.x) % warpgroup};
        const uint32_t staging = base + Tile::at_staging + me.group * Tile::staging;
        /* found here, not held over the change of the number of registers, where there are too few */
        const unsigned units_apart = ptx::cluster_count(), rank = ptx::cluster_rank();
        ring_place<Tile> at(base);
        float sum[Tile::N / 2];
        for (unsigned unit = ptx::cluster_index(); unit < s.units; unit += units_apart) {
            const conv_work w = conv_work_of<Tile>(g, s, unit, rank);
            const int steps = g.phase[w.phase].steps;
            if constexpr (WAY == conv_way::exact) {
                multiply_exactly<Tile>(sum, at, s, steps, rank, me);
                conv_store<exact_sums<Tile>, Tile, T>(sum, m, g, f, s, w, staging, me);
            } else {
                if constexpr (WAY == conv_way::pairs)
                    multiply_pairs<T, Tile>(sum, at, s, steps, rank, me);
                else
                    multiply_tile<T, Tile, wgmma::along_k, B>(sum, at, s, steps, rank, me);
                conv_store<fragment_sums, Tile, T>(sum, m, g, f, s, w, staging, me);
            }
        }
        if (me.thread == 0) ptx::wait_stores_read<0>();
    } else { /* last, so that the compiler puts it first: docs/matmul-hopper.md, "Cold instructions" */
        if constexpr (Tile::trades_registers) ptx::leave_registers<56>();
        if (ptx::warp_index() == Tile::multipliers / 32) conv_producer<T, Tile, B>::run(m, g, s, base);
        __syncwarp();
    }
    /* nobody leaves while another block still signals its shared memory */
    if (s.share > 1) ptx::cluster_barrier_relaxed();
#endif
}

} // namespace sm90

#endif
