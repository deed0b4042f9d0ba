/* An image of at most four channels and filters with a stride of 2 along the columns (a network's first layer): pixels are copied to
 * four channels, so that neighbouring outputs begin 16 bytes apart. That is how the tensor cores take a matrix that is not
 * swizzled: eight rows of 16 bytes follow each other. So they read the windows of 64 outputs from the lines of the image as they
 * lie, the next two taps 16 bytes further; nothing is loaded once a tap. A stage holds the lines that two rows of 64 outputs meet,
 * the filters stay in shared memory. Bound by the stores of d. */
#ifndef TRINE_CUDA_CONV_SM90_LINES_H
#define TRINE_CUDA_CONV_SM90_LINES_H

#include "backends/cuda/conv_sm90_kernel.h"

namespace sm90 {

enum {
    lines_outputs = 64,                                 /* of a row, that a warpgroup makes */
    lines_taps = 8,                                     /* at most, along rows and columns: 64 bytes of a line */
    lines_pitch = (lines_outputs - 1) * 16 + half_line, /* bytes of a line in a stage */
    lines_most = lines_taps + 2                         /* in a stage */
};

/* As the tile of 128 x 64, but a stage is lines of the image, and the filters, two rows of taps a line of 128 bytes, come once. */
struct lines_tile : tile<128, 64, 3, 2> {
    enum {
        stages = 4,
        bytes_stage = (lines_most * lines_pitch + wgmma::pattern_bytes - 1) / wgmma::pattern_bytes * wgmma::pattern_bytes,
        at_filters = stages * bytes_stage,
        at_staging = at_filters + lines_taps / 2 * bytes_b,
        at_barriers = at_staging + consumers * staging,
        at_filters_barrier = at_barriers + 2 * 8 * stages,
        shared = at_filters_barrier + 8 + wgmma::pattern_bytes
    };
};

struct conv_lines {
    int lines, taps, across; /* of a stage; taps along columns and rows */
};

/* Rows of 16 bytes that overlap: the next eight are 128 bytes further, the next eight terms 16. */
TRINE_DEVICE uint64_t describe_lines(uint32_t address)
{
    return uint64_t((address & 0x3ffff) >> 4) | uint64_t(16 >> 4) << 16 | uint64_t(128 >> 4) << 32;
}

/* ---- NaN and inf: a window of 8 x 8 taps may end in pixels that no tap meets, whose filters are zeros, and 0 times
 * them is NaN ---- */

/* Whether this thread's part of so many bytes has any. */
template <class T> TRINE_DEVICE bool any_not_finite(uint32_t from, int bytes, const lane_place &me)
{
    constexpr bool is_bf16 = std::is_same<T, simt::bf16>::value;
    constexpr uint32_t exponents = is_bf16 ? 0x7f807f80u : 0x7c007c00u, lowest = is_bf16 ? 0x00800080u : 0x04000400u;
    uint32_t found = 0;
#pragma unroll 4
    for (int i = me.thread * 16; i < bytes; i += warpgroup * 16) {
        const int4 v = ptx::load_shared_words(from + uint32_t(i));
        found |= ((uint32_t(v.x) & exponents) + lowest) | ((uint32_t(v.y) & exponents) + lowest) |
                 ((uint32_t(v.z) & exponents) + lowest) | ((uint32_t(v.w) & exponents) + lowest);
    }
    return (found & 0x80008000u) != 0;
}

/* Whether any thread of the warpgroup says so. */
TRINE_DEVICE bool warpgroup_any(bool own, const lane_place &me)
{
    uint32_t any;
    asm volatile("{\n"
                 ".reg .pred p, q;\n"
                 "setp.ne.u32 p, %1, 0;\n"
                 "bar.red.or.pred q, %2, %3, p;\n"
                 "selp.u32 %0, 1, 0, q;\n"
                 "}"
                 : "=r"(any)
                 : "r"(uint32_t(own)), "r"(1 + me.group), "n"(int(warpgroup))
                 : "memory");
    return any != 0;
}

template <class T> TRINE_DEVICE float load_narrow(uint32_t address)
{
    uint16_t bits;
    asm volatile("ld.shared.u16 %0, [%1];" : "=h"(bits) : "r"(address) : "memory");
    return simt::to_f32(__builtin_bit_cast(T, bits));
}

/* The sums again, of the taps alone: as slow as ordinary loads are. */
template <class T> TRINE_DEVICE void multiply_taps(float (&sum)[lines_tile::N / 2], uint32_t lines, uint32_t filters,
                                                   const conv_lines &own, const lane_place &me)
{
#pragma unroll
    for (int i = 0; i < lines_tile::N / 2; i++) sum[i] = 0;
#pragma unroll 1
    for (int i = 0; i < own.taps * own.across * 4; i++) {
        const int r = i / (own.across * 4), e = i - r * (own.across * 4), term = r % 2 * 32 + e;
        const uint32_t from = lines + uint32_t(r * lines_pitch + me.row() * 16 + e * 2);
        const float low = load_narrow<T>(from), high = load_narrow<T>(from + 8 * 16);
#pragma unroll
        for (int j = 0; j < lines_tile::N / 4; j++) {
            const int column = j / 2 * 8 + me.column() + j % 2;
            const float w = load_narrow<T>(filters + uint32_t(r / 2 * lines_tile::bytes_b + column * wgmma::line_bytes +
                                                              ((term / 8 ^ column % 8) << 4) + term % 8 * 2));
            sum[j / 2 * 4 + j % 2] += low * w;
            sum[j / 2 * 4 + 2 + j % 2] += high * w;
        }
    }
}

/* ---- The kernel ---- */

TRINE_DEVICE void load_lines(const conv_maps &m, const conv_geometry &g, const schedule &s, const conv_lines &own, uint32_t base)
{
    const bool leads = ptx::elected();
    const unsigned units_apart = ptx::cluster_count();
    const conv_phase &p = g.phase[0];
    ring_place<lines_tile> at(base);
    if (leads) {
        const uint32_t barrier = base + lines_tile::at_filters_barrier;
        ptx::barrier_expect(barrier, uint32_t(p.steps * lines_tile::bytes_b));
        for (int i = 0; i < p.steps; i++)
            ptx::load_box(base + lines_tile::at_filters + i * lines_tile::bytes_b, &m.b, ptx::coordinates{0, 0, {i, 0, 0}}, false,
                          barrier);
    }
    for (unsigned unit = ptx::cluster_index(); unit < s.units; unit += units_apart) {
        const pixel box = pixel_of(p, conv_work_of<lines_tile>(g, s, unit, 0).row / lines_tile::M);
        const ptx::coordinates from = {box.column * (lines_outputs * 2), box.row * (2 * g.step[0]), {box.image, 0, 0}};
        ptx::barrier_wait(at.empty(), at.parity ^ 1);
        if (leads) {
            ptx::barrier_expect(at.full(), uint32_t(own.lines * lines_pitch));
            ptx::load_box(at.a(), &m.a[0], from, false, at.full());
        }
        at.advance();
    }
}

template <class T> __global__ void __launch_bounds__(lines_tile::threads, lines_tile::together)
    conv_lines_kernel(const __grid_constant__ conv_maps m, const __grid_constant__ conv_geometry g,
                      const __grid_constant__ conv_finish f, const __grid_constant__ schedule s,
                      const __grid_constant__ conv_lines own)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    const uint32_t base =
        (ptx::shared_address(target::dynamic_shared()) + wgmma::pattern_bytes - 1) & ~uint32_t(wgmma::pattern_bytes - 1);
    if (threadIdx.x == 0) ptx::barrier_init(base + lines_tile::at_filters_barrier, 1);
    begin_conv_ring<lines_tile>(base, 1);
    if (threadIdx.x < lines_tile::multipliers) {
        const unsigned units_apart = ptx::cluster_count();
        const lane_place me = {int(threadIdx.x) / warpgroup, int(threadIdx.x) % warpgroup};
        const uint32_t staging = base + lines_tile::at_staging + me.group * lines_tile::staging;
        ring_place<lines_tile> at(base);
        const int steps = g.phase[0].steps; /* of two rows of taps */
        ptx::barrier_wait(base + lines_tile::at_filters_barrier, 0);
        for (unsigned unit = ptx::cluster_index(); unit < s.units; unit += units_apart) {
            const conv_work w = conv_work_of<lines_tile>(g, s, unit, 0);
            float sum[lines_tile::N / 2];
            const uint32_t lines = at.a() + uint32_t(me.group * g.step[0] * lines_pitch);
            ptx::barrier_wait(at.full(), at.parity);
            wgmma::hold(sum);
#pragma unroll 1
            for (int i = 0; i < steps; i++) {
                const uint64_t a = describe_lines(lines + uint32_t(i * 2 * lines_pitch)),
                               b = wgmma::describe(base + lines_tile::at_filters + i * lines_tile::bytes_b);
                wgmma::fence();
#pragma unroll
                for (int k = 0; k < 4; k++)
                    wgmma::multiply<T, lines_tile::N>::template run<wgmma::along_k, wgmma::along_k>(
                        sum, a + (k / 2 * lines_pitch + k % 2 * 32) / 16, b + k * wgmma::next_terms<wgmma::along_k>, i + k > 0);
                wgmma::commit();
            }
            const bool special = warpgroup_any(any_not_finite<T>(lines, 2 * steps * lines_pitch, me), me);
            wgmma::wait<0>();
            wgmma::hold(sum);
            if (special) {
                multiply_taps<T>(sum, lines, base + lines_tile::at_filters, own, me);
                me.meet();
            }
            give_back<lines_tile>(s, at.empty(), 0, me);
            at.advance();
            conv_store<fragment_sums, lines_tile, T>(sum, m, g, f, s, w, staging, me);
        }
        if (me.thread == 0) ptx::wait_stores_read<0>();
    } else {
        if (ptx::warp_index() == lines_tile::multipliers / 32) load_lines(m, g, s, own, base);
        __syncwarp();
    }
#endif
}

} // namespace sm90

#endif
