/* sm80: matrix products of f16, bf16 and f32 as tf32 on tensor cores by the instruction of a warp (mma/mma_sync.h), as devices of
 * compute capability 8 have it; later ones run it too.
 *
 * A block of four warps makes a tile of 128 x 128 outputs, a warp 64 x 64 of them in registers. Asynchronous copies keep three
 * stages of 64 bytes of K in shared memory, 48 KiB, so that two blocks fit on every such device; while a warp multiplies one half
 * of a stage, it reads its fragments of the next. For 128 instructions a warp reads 32 times 512 bytes from shared memory: bound
 * by the tensor cores where tiles are many. Sums over K are divided among blocks as in register_tiled (simt/matmul_split.h). */
#ifndef TRINE_CUDA_MATMUL_SM80_H
#define TRINE_CUDA_MATMUL_SM80_H

#include "backends/cuda/matmul_finish.h"
#include "backends/cuda/matmul_sm80_tile.h"
#include "backends/simt/matmul_split.h"

namespace sm80 {

using simt::product;
using simt::split_sink;

enum { warp_side = 64, across = warp_side / 16, pitch = warp_side + 8, round_rows = 32 };

template <class T, tile_axis A, tile_axis B> struct multiplier {
    reader<T, A> a;
    reader<T, B> b;
    float sum[across][2 * across][4];
    uint32_t x[2][across][4], y[2][across][4];

    TRINE_DEVICE_METHOD multiplier(uint32_t tiles, int warp)
        : a(warp / 2 * warp_side, tiles), b(warp % 2 * warp_side, tiles + tile_bytes), sum{}
    {
    }
    TRINE_DEVICE_METHOD void load(uint32_t slot, int k)
    {
#pragma unroll
        for (int i = 0; i < across; i++) a.load(x[k][i], slot, i, k);
#pragma unroll
        for (int i = 0; i < across; i++) b.load(y[k][i], slot, i, k);
    }
    TRINE_DEVICE_METHOD void multiply(int k)
    {
#pragma unroll
        for (int i = 0; i < across; i++)
#pragma unroll
            for (int j = 0; j < across; j++) {
                mma_sync::multiply(sum[i][2 * j], x[k][i], y[k][j][0], y[k][j][2], T{});
                mma_sync::multiply(sum[i][2 * j + 1], x[k][i], y[k][j][1], y[k][j][3], T{});
            }
    }
};

TRINE_DEVICE uint32_t next_slot(uint32_t slot) { return slot == (stages - 1) * 2 * tile_bytes ? 0 : slot + 2 * tile_bytes; }

template <class T, tile_axis A, tile_axis B>
TRINE_DEVICE void multiply_steps(multiplier<T, A, B> &m, copier<T, A> &a, copier<T, B> &b, int steps)
{
    uint32_t now = 0, filled = 0;
#pragma unroll
    for (int i = 0; i < stages - 1; i++, filled = next_slot(filled)) {
        a.start(filled);
        b.start(filled);
        mma_sync::commit_copies();
    }
    mma_sync::wait_copies<stages - 2>();
    __syncthreads();
    m.load(now, 0);
#pragma unroll 1
    for (int i = 0; i < steps; i++) {
        m.load(now, 1);
        a.start(filled); /* past the end of K these write zeros */
        b.start(filled);
        mma_sync::commit_copies();
        m.multiply(0);
        /* all have read this stage; the next one has come */
        mma_sync::wait_copies<stages - 2>();
        __syncthreads();
        now = next_slot(now);
        filled = next_slot(filled);
        m.load(now, 0);
        m.multiply(1);
    }
    mma_sync::wait_copies<0>();
    __syncthreads();
}

/* 32 of a warp's rows of sums to shared memory. */
template <int n> TRINE_DEVICE void stage_sums(const float (&sum)[across][n][4], int round, float *staged, int lane)
{
#pragma unroll
    for (int r = 0; r < warp_side / round_rows; r++)
        if (r == round)
#pragma unroll
            for (int i = 0; i < 2; i++)
#pragma unroll
                for (int j = 0; j < n; j++)
#pragma unroll
                    for (int h = 0; h < 2; h++) {
                        const float *from = &sum[2 * r + i][j][2 * h];
                        *reinterpret_cast<simt::pack<float, 2> *>(staged + (16 * i + 8 * h + lane / 4) * pitch + 8 * j +
                                                                  lane % 4 * 2) = {from[0], from[1]};
                    }
}

template <class T> TRINE_DEVICE void write_four(float4 v, int64_t row, int64_t column, const product<T> &p,
                                                const split_sink &sink, const simt::product_offsets &at,
                                                const simt::split_place &part)
{
    if (!sink.parts) {
        simt::finish_four(v, row, column, p, at);
        return;
    }
    if (row >= p.m || column >= p.n) return;
    if (sink.packs) {
        sink.store(simt::pack<float, 4>{{v.x, v.y, v.z, v.w}}, p, part, row, column);
        return;
    }
    const float sums[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int j = 0; j < 4; j++)
        if (column + j < p.n) sink.store(simt::pack<float, 1>{{sums[j]}}, p, part, row, column + j);
}

template <class T, int n> TRINE_DEVICE void write_tile(const float (&sum)[across][n][4], float *staged, int64_t first_row,
                                                       int64_t first_column, const product<T> &p, const split_sink &sink,
                                                       const simt::split_place &part)
{
    const int lane = int(threadIdx.x) % 32, lanes = warp_side / 4;
    const simt::product_offsets at = p.offsets(part.index);
#pragma unroll 1
    for (int round = 0; round < warp_side / round_rows; round++) {
        stage_sums(sum, round, staged, lane);
        __syncwarp();
#pragma unroll 1
        for (int line = lane / lanes; line < round_rows; line += 32 / lanes)
            write_four(*reinterpret_cast<const float4 *>(staged + line * pitch + lane % lanes * 4),
                       first_row + round * round_rows + line, first_column + lane % lanes * 4, p, sink, at, part);
        __syncwarp();
    }
}

template <class T, tile_axis A, tile_axis B> __global__ void __launch_bounds__(threads, 2)
    matmul_kernel(product<T> p, unsigned tiles_m, unsigned tiles_n, unsigned blocks, split_sink sink)
{
    alignas(128) __shared__ unsigned char shared[stages * 2 * tile_bytes];
    static_assert(sizeof shared >= 4 * round_rows * pitch * sizeof(float), "the epilogue's sums fit");
    const simt::block_place place = simt::place_of_block(p, blocks);
    const unsigned split = place.part / (tiles_m * tiles_n);
    unsigned tile_m, tile_n;
    simt::tile_of_block(place.part - split * (tiles_m * tiles_n), tiles_m, tiles_n, 8, &tile_m, &tile_n);
    const int64_t first_row = int64_t(tile_m) * tile_rows, first_column = int64_t(tile_n) * tile_rows;
    const int64_t first_k = split * sink.terms, some = p.k - first_k < sink.terms ? p.k - first_k : sink.terms,
                  terms = some > 0 ? some : 0;
    const int warp = int(threadIdx.x) / 32;
    const uint32_t tiles = uint32_t(__cvta_generic_to_shared(shared));
    multiplier<T, A, B> m(tiles, warp);
    {
        const simt::product_offsets at = p.offsets(place.index);
        copier<T, A> a(p.a + at.a, p.a_m, p.a_k, first_row, p.m, first_k, terms, tiles);
        copier<T, B> b(p.b + at.b, p.b_n, p.b_k, first_column, p.n, first_k, terms, tiles + tile_bytes);
        multiply_steps(m, a, b, int((terms + step_terms<T> - 1) / step_terms<T>));
    }
    write_tile(m.sum, reinterpret_cast<float *>(shared) + warp * round_rows * pitch, first_row + warp / 2 * warp_side,
               first_column + warp % 2 * warp_side, p, sink, simt::split_place{place.index, split});
}

/* ---- Host ---- */

/* 16-byte copies: dense along the axis, other strides of whole pieces. */
inline bool copies_fit(const trine_product &p, int which, int64_t along, int64_t other)
{
    const int64_t piece = 16 / (trine_dtype_bits(p.dtype) / 8);
    bool fit = along == 1 && other % piece == 0;
    for (int i = 0; i < p.batch.ndim && p.batch.numel > 1; i++) fit = fit && p.batch.stride[which][i] % piece == 0;
    return fit;
}

/* The axis along which an operand is copied; tile_along_any: neither will do. An axis of one element has any stride. */
inline tile_axis axis_of(const trine_product &p, int which, int64_t rows, int64_t row_stride, int64_t k_stride)
{
    if (copies_fit(p, which, p.k == 1 ? 1 : k_stride, rows == 1 ? 0 : row_stride)) return tile_along_k;
    if (copies_fit(p, which, rows == 1 ? 1 : row_stride, p.k == 1 ? 0 : k_stride)) return tile_along_rows;
    return simt::tile_along_any;
}

/* Parts of K: the fewest rounds of tiles, of which two are on a multiprocessor; a tile has about 10 steps beside its own. */
inline int64_t choose_splits(const trine_call *call, const trine_product &p)
{
    const int64_t units = call->device->props.compute_units > 0 ? call->device->props.compute_units : 1;
    const int64_t tiles = simt::ceil_div(p.m, tile_rows) * simt::ceil_div(p.n, tile_rows) * p.batch.numel;
    const double step = double(tile_rows) * tile_rows * step_bytes / 1024; /* cycles, of 512 bytes' products a cycle and block */
    const int64_t steps = simt::ceil_div(p.k * (trine_dtype_bits(p.dtype) / 8), step_bytes);
    double least = 1e300;
    int64_t best = 1;
    for (int64_t splits = 1; splits <= 32; splits *= 2) {
        if (splits > 1 && !simt::split_fits(p, splits)) break;
        const double rounds = double(simt::ceil_div(tiles * splits, 2 * units));
        const double cost = rounds * double(simt::ceil_div(steps, splits) + 10) * step + simt::split_cost(p, splits, units);
        if (cost >= least) continue;
        least = cost;
        best = splits;
    }
    return best;
}

template <class T, tile_axis A> inline auto kernel_along(tile_axis b)
{
    return b == tile_along_k ? matmul_kernel<T, A, tile_along_k> : matmul_kernel<T, A, tile_along_rows>;
}

template <class T>
inline trine_status launch(trine_call *call, const trine_product &p, tile_axis a, tile_axis b, const split_sink &sink)
{
    const int64_t tiles_m = simt::ceil_div(p.m, tile_rows), tiles_n = simt::ceil_div(p.n, tile_rows),
                  blocks = tiles_m * tiles_n * sink.splits;
    const auto kernel = a == tile_along_k ? kernel_along<T, tile_along_k>(b) : kernel_along<T, tile_along_rows>(b);
    const trine_status status =
        simt::launch_products(call, kernel, blocks, threads, product<T>(p), tiles_m, tiles_n, blocks, sink);
    return status == TRINE_OK ? simt::sum_splits<T>(call, p, sink) : status;
}

} // namespace sm80

#endif
