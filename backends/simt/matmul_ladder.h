/* The lower rungs of the ladder: naive, coalesced, tiled. docs/matmul-ladder.md walks through them.
 *
 * One thread an output in all three. Each takes any strides. */
#ifndef TRINE_SIMT_MATMUL_LADDER_H
#define TRINE_SIMT_MATMUL_LADDER_H

#include "backends/simt/matmul_product.h"

namespace simt {

/* ---- naive and coalesced ----
 *
 * A thread walks a row of a and a column of b in global memory: two loads for one multiply-add, whatever the order. What differs
 * is which outputs a wave has. naive: neighbouring threads have neighbouring rows. With row-major operands every thread of a wave
 * then reads another cache line of a (and writes another one of d), of which it uses 4 bytes: bound by cache lines. coalesced:
 * neighbouring threads have neighbouring columns. The wave's element of a is one address, its elements of b and d are whole
 * lines: bound by L1 bandwidth and by the load instructions, and still every element of a is read N times, every element of b M
 * times. */

/* A block of outputs: `ladder_long` along the axis that neighbouring threads walk, at least a wave. */
enum { ladder_long = 64, ladder_short = 4, ladder_threads = ladder_long * ladder_short };

template <class T, bool along_n> TRINE_KERNEL(ladder_threads) one_output_kernel(product<T> p, unsigned blocks_n, unsigned blocks)
{
    const block_place place = place_of_block(p, blocks);
    const product_offsets at = p.offsets(place.index);
    const int fast = target::thread_x() % ladder_long, slow = target::thread_x() / ladder_long;
    const int64_t block_m = place.part / blocks_n, block_n = place.part % blocks_n;
    const int64_t row = along_n ? block_m * ladder_short + slow : block_m * ladder_long + fast;
    const int64_t column = along_n ? block_n * ladder_long + fast : block_n * ladder_short + slow;
    if (row >= p.m || column >= p.n) return;
    const T *a = p.a + at.a + row * p.a_m, *b = p.b + at.b + column * p.b_n;
    float sum = 0;
    for (int64_t k = 0; k < p.k; k++) sum = target::fma_rn(to_f32(a[k * p.a_k]), to_f32(b[k * p.b_k]), sum);
    p.out.store(sum, row, column, at);
}

/* ---- tiled ----
 *
 * A block of 32 x 32 threads brings a 32 x 32 tile of a and one of b into shared memory and uses every element 32 times from
 * there: global traffic falls by 32. A multiply-add still needs two loads, now from shared memory: bound by shared-memory
 * bandwidth. */

enum { tile_edge = 32, tiled_threads = tile_edge * tile_edge };

/* Neighbouring threads load along k where that is the operand's dense axis, else along its rows. tile[k][row]. */
template <class T> TRINE_DEVICE void load_square(float (&tile)[tile_edge][tile_edge + 1], const T *x, int64_t x_row, int64_t x_k,
                                                 int64_t first_row, int64_t rows, int64_t first_k, int64_t terms)
{
    const int fast = target::thread_x() % tile_edge, slow = target::thread_x() / tile_edge;
    const int k = x_k == 1 ? fast : slow, row = x_k == 1 ? slow : fast;
    const bool inside = first_row + row < rows && first_k + k < terms;
    tile[k][row] = inside ? to_f32(x[(first_row + row) * x_row + (first_k + k) * x_k]) : 0.0f;
}

template <class T> TRINE_KERNEL(tiled_threads) tiled_kernel(product<T> p, unsigned blocks_n, unsigned blocks)
{
    TRINE_SHARED float tile_a[tile_edge][tile_edge + 1], tile_b[tile_edge][tile_edge + 1];
    const block_place place = place_of_block(p, blocks);
    const product_offsets at = p.offsets(place.index);
    const int x = target::thread_x() % tile_edge, y = target::thread_x() / tile_edge;
    const int64_t first_row = int64_t(place.part / blocks_n) * tile_edge,
                  first_column = int64_t(place.part % blocks_n) * tile_edge;
    float sum = 0;
    for (int64_t k0 = 0; k0 < p.k; k0 += tile_edge) {
        load_square(tile_a, p.a + at.a, p.a_m, p.a_k, first_row, p.m, k0, p.k);
        load_square(tile_b, p.b + at.b, p.b_n, p.b_k, first_column, p.n, k0, p.k);
        target::barrier();
#pragma unroll
        for (int k = 0; k < tile_edge; k++) sum = target::fma_rn(tile_a[k][y], tile_b[k][x], sum);
        target::barrier();
    }
    if (first_row + y < p.m && first_column + x < p.n) p.out.store(sum, first_row + y, first_column + x, at);
}

/* ---- Host ---- */

/* A kernel whose blocks make rows x columns outputs. */
template <class Kernels>
inline trine_status run_ladder(trine_call *call, const void *args, int64_t rows, int64_t columns, int threads, Kernels kernel_of)
{
    TRINE_MATMUL_BEGIN(call, args, p);
    TRINE_END_OF_QUERY(call, 0);
    if (product_is_empty(p)) return TRINE_OK;
    const int64_t blocks_m = ceil_div(p.m, rows), blocks_n = ceil_div(p.n, columns);
    return visit_floats(call, p.dtype, [&](auto t) {
        return launch_products(call, kernel_of(t), blocks_m * blocks_n, threads, product<typename decltype(t)::type>(p), blocks_n,
                               blocks_m * blocks_n);
    });
}

inline trine_status matmul_naive(trine_call *call, const void *args)
{
    return run_ladder(call, args, ladder_long, ladder_short, ladder_threads,
                      [](auto t) { return one_output_kernel<typename decltype(t)::type, false>; });
}

inline trine_status matmul_coalesced(trine_call *call, const void *args)
{
    return run_ladder(call, args, ladder_short, ladder_long, ladder_threads,
                      [](auto t) { return one_output_kernel<typename decltype(t)::type, true>; });
}

inline trine_status matmul_tiled(trine_call *call, const void *args)
{
    return run_ladder(call, args, tile_edge, tile_edge, tiled_threads,
                      [](auto t) { return tiled_kernel<typename decltype(t)::type>; });
}

} // namespace simt

#endif
