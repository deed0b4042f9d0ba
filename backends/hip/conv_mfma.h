/* mfma and wmma of conv and its gradients: matmul's tiles and multiplier (matmul_mfma_kernel.h) over operands that are gathered from
 * the tensors (core/conv_plan.h) on their way to LDS, 16 bytes at a time: eight channels of a pixel that a tap meets, or zeros. Where
 * an index leads costs two divisions a piece, which the matrix units hide. Needs channels that lie densely, in eights. */
#ifndef TRINE_HIP_CONV_MFMA_H
#define TRINE_HIP_CONV_MFMA_H

#include "backends/hip/matmul_mfma_kernel.h"
#include "backends/hip/matmul_mfma_plan.h"
#include "backends/simt/conv.h"
#include "backends/simt/conv_matrix.h"

namespace mfma {

/* ---- Operands ---- */

/* matmul's loader with places of its own. */
template <class E, int ROWS, int THREADS, bool OF_B> struct gatherer : mma::loader<E, ROWS, THREADS> {
    using base = mma::loader<E, ROWS, THREADS>;
    enum { pieces = base::pieces, bytes = sizeof(E), half = mma::half_terms<E>, packs_of_four = bytes == 4 };
    static_assert(pieces == 2, "two pieces a half");
    using typename base::unaligned16;

    const E *from[pieces]; /* along K: of the thread's rows; along rows: of its pack */
    int32_t h[pieces], w[pieces];

    static TRINE_DEVICE_METHOD const simt::conv_operand<E> &operand()
    {
        const auto &p = target::first_argument<simt::conv_problem<E>>();
        return OF_B ? p.b : p.a;
    }
    TRINE_DEVICE_METHOD gatherer(int32_t first_row, int32_t rows, int64_t group)
        : base(mma::operand<E>{operand().data, operand().along_k ? 0 : 1, operand().along_k ? 1 : 0, ROWS, 0, false}, 0, 0)
    {
        const simt::conv_operand<E> &o = operand();
#pragma unroll
        for (int i = 0; i < pieces; i++) {
            const int own = o.along_k ? target::thread_x() / 4 + i * (THREADS / 4) : base::pack() * 8;
            const simt::conv_place at = o.rows.place(first_row + own < rows ? first_row + own : 0);
            from[i] = o.data + group * o.group + at.at + (!o.along_k && packs_of_four ? i * 4 : 0);
            h[i] = o.h + at.h;
            w[i] = o.w + at.w;
        }
    }
    /* Of the step from term `first` on, zeros from `end` on. */
    TRINE_DEVICE_METHOD void load(int32_t first, int32_t end)
    {
        const simt::conv_operand<E> &o = operand();
#pragma unroll
        for (int half_number = 0; half_number < mma::halves; half_number++) {
            simt::conv_place at = {};
            int32_t term = 0;
#pragma unroll
            for (int i = 0; i < pieces; i++) {
                if (i == 0 || (!o.along_k && !packs_of_four)) {
                    term = first + half_number * half +
                           (o.along_k       ? target::thread_x() % 4 * (16 / bytes)
                            : packs_of_four ? base::word()
                                            : base::word() * 2 + i);
                    at = o.terms.place(term);
                }
                this->held[half_number][i] = {};
                if (term < end && o.meets(h[i] + at.h, w[i] + at.w))
                    this->held[half_number][i] = *reinterpret_cast<const unaligned16 *>(from[i] + at.at);
            }
        }
    }
};

/* ---- The kernel ---- */

template <class Unit, class Tile, class Sums, class E>
TRINE_DEVICE void store_conv(const Sums (&sum)[Tile::rows][Tile::columns], unsigned char *shared, const simt::conv_problem<E> &p,
                             int32_t first_row, int32_t first_column, int64_t group, int64_t split, int wave, int lane)
{
    put_sums<Unit, Tile>(sum, shared, wave, lane, [&](const simt::pack<float, 4> &four, int row, int column) {
        simt::conv_put_four(four, first_row + row, first_column + column, p, group, split);
    });
}

template <class Type, class Tile>
TRINE_DEVICE void multiply_gathered(multiplier<Type, Tile> &m, gatherer<typename Type::element, Tile::M, Tile::threads, false> &a,
                                    gatherer<typename Type::element, Tile::N, Tile::threads, true> &b, int32_t begin, int32_t end)
{
    constexpr int32_t step = mma::step_terms<typename Type::element>;
    unsigned char *const second = m.shared + Tile::bytes_half;
    a.load(begin, end);
    b.load(begin, end);
    a.store(m.shared, 0);
    b.store(m.shared + Tile::bytes_a, 0);
    a.store(second, 1);
    b.store(second + Tile::bytes_a, 1);
    lds_barrier();
#pragma unroll 1
    for (int32_t k = begin; k < end; k += step) {
        const bool more = end - k > step;
        m.half(0, [&] {
            if (k > begin) {
                a.store(second, 1);
                b.store(second + Tile::bytes_a, 1);
            }
            if (more) {
                a.load(k + step, end);
                b.load(k + step, end);
            }
        });
        m.half(1, [&] {
            if (more) {
                a.store(m.shared, 0);
                b.store(m.shared + Tile::bytes_a, 0);
            }
        });
    }
}

template <class Type, class Tile>
__attribute__((global, amdgpu_flat_work_group_size(Tile::threads, Tile::threads), amdgpu_waves_per_eu(Tile::waves_a_simd))) void
conv_kernel(simt::conv_problem<typename Type::element> p, unsigned tiles_m, unsigned tiles_n)
{
    if constexpr (mma::unit<Type>::available) {
        using element = typename Type::element;
        alignas(16) TRINE_SHARED unsigned char shared[Tile::shared];
        const unsigned tiles = tiles_m * tiles_n, part = uniform(target::block_x() / tiles),
                       group = uniform(part / unsigned(p.splits)), split = part - group * unsigned(p.splits);
        unsigned tile_m, tile_n;
        simt::tile_of_block(target::block_x() - part * tiles, tiles_m, tiles_n, 8, &tile_m, &tile_n);
        const int32_t first_row = int32_t(uniform(tile_m)) * Tile::M, first_column = int32_t(uniform(tile_n)) * Tile::N;
        const int32_t begin = int32_t(split) * p.terms, end = p.k - begin < p.terms ? p.k : begin + p.terms;
        multiplier<Type, Tile> m(shared);
        if (begin < end) {
            gatherer<element, Tile::M, Tile::threads, false> a(first_row, p.m, group);
            gatherer<element, Tile::N, Tile::threads, true> b(first_column, p.n, group);
            multiply_gathered(m, a, b, begin, end);
        }
        store_conv<mma::unit<Type>, Tile>(m.sum, shared, target::first_argument<simt::conv_problem<element>>(), first_row,
                                          first_column, group, split, m.wave, m.lane);
    }
}

/* ---- Host ---- */

/* The larger tile where there are enough of them; parts of at least 256 terms until there are two blocks a unit. */
struct conv_plan {
    bool large;
    simt::conv_gemm_plan tiles;
};
inline conv_plan plan_conv(const trine_call *call, const trine_conv_product &p)
{
    const int64_t units = call->device->props.compute_units > 0 ? call->device->props.compute_units : 1;
    const auto tiles = [&](int64_t side) { return simt::ceil_div(p.m, side) * simt::ceil_div(p.n, side) * p.groups; };
    const bool large = tiles(128) >= units || (p.k >= 4096 && p.m > 64 && p.n > 64);
    const int64_t side = large ? 128 : 64, outputs = p.m * p.n * p.groups;
    conv_plan plan = {large, {simt::ceil_div(p.m, side), simt::ceil_div(p.n, side), 1}};
    while (2 * plan.tiles.splits <= simt::split_most && tiles(side) * plan.tiles.splits < 2 * units &&
           p.k >= 2 * plan.tiles.splits * 256 && outputs * 2 * plan.tiles.splits <= int64_t(1) << 26)
        plan.tiles.splits *= 2;
    return plan;
}

template <class Type, class Tile>
inline trine_status launch_conv(trine_call *call, const trine_conv_product &p, const simt::conv_gemm_plan &plan)
{
    using element = typename Type::element;
    const simt::conv_problem<element> problem(p, plan.splits, call->workspace, mma::step_terms<element>);
    const int64_t blocks = plan.tiles_m * plan.tiles_n * plan.splits * p.groups;
    const trine_status status = simt::launch(call, conv_kernel<Type, Tile>, simt::grid(blocks), Tile::threads, 0, problem,
                                             unsigned(plan.tiles_m), unsigned(plan.tiles_n));
    return status == TRINE_OK ? simt::conv_sum_parts(call, problem) : status;
}

template <class Type> inline trine_status launch_conv_tile(trine_call *call, const trine_conv_product &p, const conv_plan &plan)
{
    return plan.large ? launch_conv<Type, tile_128x128>(call, p, plan.tiles) : launch_conv<Type, tile_64x64>(call, p, plan.tiles);
}

/* One product, as simt::conv_portable. */
template <instruction by> inline trine_status conv_product(trine_call *call, trine_conv_product p, size_t *needed, bool only_ask)
{
    if (by == by_mfma)
        TRINE_REQUIRE_THAT(call, is_arch(call, "gfx942") || is_arch(call, "gfx90a"), "needs gfx90a or gfx942");
    else
        TRINE_REQUIRE_THAT(call, strncmp(call->device->props.arch, "gfx11", 5) == 0, "needs gfx11");
    TRINE_REQUIRE_THAT(call, by == by_mfma || p.dtype != TRINE_F32, "needs f16 or bf16");
    TRINE_REQUIRE_THAT(call, simt::conv_fits(p), "needs less than 2^31 pixels and terms");
    const bool empty = p.m == 0 || p.n == 0 || p.groups == 0;
    TRINE_REQUIRE_THAT(call, empty || p.k == 0 || (simt::conv_gathers(p.a) && simt::conv_gathers(p.b)),
                       "needs channels that lie densely, in eights");
    trine_conv_orient(&p);
    const conv_plan plan = empty ? conv_plan{false, {1, 1, 1}} : plan_conv(call, p);
    const size_t own = simt::conv_gemm_workspace(p, plan.tiles);
    if (own > *needed) *needed = own;
    if (only_ask || empty) return TRINE_OK;
    switch (p.dtype) {
    case TRINE_F16: return launch_conv_tile<mma::f16>(call, p, plan);
    case TRINE_BF16: return launch_conv_tile<mma::bf16>(call, p, plan);
    default: return launch_conv_tile<mma::f32>(call, p, plan);
    }
}

template <instruction by> inline trine_status conv_forward(trine_call *call, const void *args)
{
    return simt::conv_forward_by(call, args, conv_product<by>);
}
template <instruction by> inline trine_status conv_data(trine_call *call, const void *args)
{
    return simt::conv_data_by(call, args, conv_product<by>);
}
template <instruction by> inline trine_status conv_weight(trine_call *call, const void *args)
{
    return simt::conv_weight_by(call, args, conv_product<by>);
}

} // namespace mfma

#endif
