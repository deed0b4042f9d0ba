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
#include "backends/cuda/matmul_sm80_plan.h"
#include "backends/cuda/matmul_sm80_tile.h"
#include "backends/simt/matmul_split.h"

namespace sm80 {

using simt::product;
using simt::split_sink;

/* A warp's fragments and sums. While one half of a stage is multiplied, the next one's fragments are read into the other half's
 * registers, a few before each row of instructions: the tensor cores do not wait, nor do the reads come all at once. */
template <class T, tile_axis A, tile_axis B, class Shape> struct multiplier {
    reader<T, A, Shape::rows, true> a;
    reader<T, B, Shape::columns, false> b;
    float sum[Shape::across_m][2 * Shape::across_n][4];
    uint32_t x[2][Shape::across_m][4], y[2][Shape::across_n][4];

    TRINE_DEVICE_METHOD multiplier(uint32_t tiles, int warp)
        : a(warp / Shape::warps_n * Shape::warp_rows, tiles),
          b(warp % Shape::warps_n * Shape::warp_columns, tiles + Shape::rows * step_bytes), sum{}
    {
    }
    /* The i-th share of the fragments of a half. */
    TRINE_DEVICE_METHOD void load(uint32_t slot, int half, int i)
    {
        a.load(x[half][i], slot, i, half);
#pragma unroll
        for (int j = i; j < Shape::across_n; j += Shape::across_m) b.load(y[half][j], slot, j, half);
    }
    TRINE_DEVICE_METHOD void load_all(uint32_t slot, int half)
    {
#pragma unroll
        for (int i = 0; i < Shape::across_m; i++) load(slot, half, i);
    }
    /* A row of instructions; every other row goes backwards, so that a fragment of b stays for two. */
    TRINE_DEVICE_METHOD void multiply(int half, int i)
    {
#pragma unroll
        for (int n = 0; n < Shape::across_n; n++) {
            const int j = i % 2 ? Shape::across_n - 1 - n : n;
            mma_sync::multiply(sum[i][2 * j], x[half][i], y[half][j][0], y[half][j][1], T{});
            mma_sync::multiply(sum[i][2 * j + 1], x[half][i], y[half][j][2], y[half][j][3], T{});
        }
    }
};

/* The ring: its stages' slots, and behind them two barriers for each: `full` counts the threads whose copies have come, `empty`
 * those that have read the stage: all lanes, for racecheck does not follow an order that goes from a lane's read through
 * __syncwarp to another lane's arrival. A warp that is ahead waits for neither until it needs what they say. */
struct ring {
    uint32_t slots, barriers, last;
    TRINE_DEVICE_METHOD ring(uint32_t slots_, int stages, uint32_t bytes)
        : slots(slots_), barriers(slots_ + stages * bytes), last((stages - 1) * bytes)
    {
    }
    static TRINE_DEVICE_METHOD uint32_t full(uint32_t barrier) { return barrier; }
    static TRINE_DEVICE_METHOD uint32_t empty(uint32_t barrier) { return barrier + 8 * most_stages; }
};

/* A stage on its way round the ring. */
struct cursor {
    uint32_t slot, barrier, parity;
    TRINE_DEVICE_METHOD explicit cursor(const ring &r) : slot(0), barrier(r.barriers), parity(0) {}
    TRINE_DEVICE_METHOD void step(const ring &r, uint32_t bytes)
    {
        const bool round = slot == r.last;
        slot = round ? 0 : slot + bytes;
        barrier = round ? r.barriers : barrier + 8;
        parity ^= uint32_t(round);
    }
};

template <class Shape> TRINE_DEVICE void start_ring(const ring &r, int stages)
{
    if (int(threadIdx.x) < stages) {
        mma_sync::barrier_init(ring::full(r.barriers + 8 * threadIdx.x), Shape::threads);
        mma_sync::barrier_init(ring::empty(r.barriers + 8 * threadIdx.x), Shape::threads);
    }
    __syncthreads();
}

/* A thread's copies of both operands, in `shares` that lie between rows of instructions. */
template <class Shape, class CopierA, class CopierB> struct copies {
    CopierA a;
    CopierB b;
    enum { shares = Shape::across_m };
    TRINE_DEVICE_METHOD void start(uint32_t slot, int share, bool some) const
    {
#pragma unroll
        for (int j = 0; j < CopierA::copies; j++)
            if (j % shares == share) a.copy(slot, j, some);
#pragma unroll
        for (int j = 0; j < CopierB::copies; j++)
            if ((j + CopierA::copies) % shares == share) b.copy(slot, j, some);
    }
    TRINE_DEVICE_METHOD void end_stage(uint32_t barrier)
    {
        a.next();
        b.next();
        mma_sync::barrier_arrive_after_copies(ring::full(barrier));
    }
};

/* The first stages' copies; those of the last terms, which are the first stage, the caller has begun. */
template <class Shape, class Copies> TRINE_DEVICE void fill_ring(Copies &c, const ring &r, cursor *filled, int stages, int steps)
{
    mma_sync::barrier_arrive_after_copies(ring::full(filled->barrier));
    filled->step(r, Shape::stage_bytes);
#pragma unroll 1
    for (int i = 1; i < stages - 1; i++, filled->step(r, Shape::stage_bytes)) {
#pragma unroll
        for (int share = 0; share < Copies::shares; share++) c.start(filled->slot, share, i < steps);
        c.end_stage(filled->barrier);
    }
}

template <class Shape, class M, class Copies>
TRINE_DEVICE void multiply_steps(M &m, Copies &c, const ring &r, int stages, int steps)
{
    cursor now(r), filled(r);
    fill_ring<Shape>(c, r, &filled, stages, steps);
    mma_sync::barrier_wait(ring::full(now.barrier), now.parity);
    m.load_all(now.slot, 0);
#pragma unroll 1
    for (int i = 0; i < steps; i++) {
        const bool more = i + stages - 1 < steps;
        mma_sync::barrier_wait(ring::empty(filled.barrier), filled.parity ^ 1);
#pragma unroll
        for (int row = 0; row < Shape::across_m; row++) {
            m.load(now.slot, 1, row);
            c.start(filled.slot, row, more);
            m.multiply(0, row);
        }
        mma_sync::barrier_arrive(ring::empty(now.barrier));
        c.end_stage(filled.barrier);
        now.step(r, Shape::stage_bytes);
        filled.step(r, Shape::stage_bytes);
        m.multiply(1, 0);
        mma_sync::barrier_wait(ring::full(now.barrier), now.parity);
        m.load(now.slot, 0, 0);
#pragma unroll
        for (int row = 1; row < Shape::across_m; row++) {
            m.load(now.slot, 0, row);
            m.multiply(1, row);
        }
    }
    mma_sync::wait_copies<0>();
    __syncthreads();
}

/* Some of a warp's rows of sums to shared memory. */
template <class Shape>
TRINE_DEVICE void stage_sums(const float (&sum)[Shape::across_m][2 * Shape::across_n][4], int round, float *staged, int lane)
{
    enum { some = Shape::staged_rows / 16 };
#pragma unroll
    for (int i = 0; i < Shape::across_m; i++)
        if (i / some == round)
#pragma unroll
            for (int j = 0; j < 2 * Shape::across_n; j++)
#pragma unroll
                for (int h = 0; h < 2; h++)
                    *reinterpret_cast<simt::pack<float, 2> *>(staged + (16 * (i % some) + 8 * h + lane / 4) * Shape::pitch +
                                                              8 * j + lane % 4 * 2) = {sum[i][j][2 * h], sum[i][j][2 * h + 1]};
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

/* Rows of the operand in a tile that begins there; none where it is past the end. */
TRINE_DEVICE int rows_of_tile(int64_t all, int64_t first, int rows)
{
    const int64_t left = all - first;
    return left < 0 ? 0 : left < rows ? int(left) : rows;
}

/* Sums that need nothing but rounding, 16 bytes a lane: of `rows` rows and `columns` columns, of which there are whole packs. */
template <class Shape, class To> TRINE_DEVICE void write_plain(const float (&sum)[Shape::across_m][2 * Shape::across_n][4],
                                                               float *staged, To *to, int64_t pitch, int rows, int columns)
{
    enum { values = 16 / int(sizeof(To)), lanes = Shape::warp_columns / values, at_once = 32 / lanes };
    const int lane = int(threadIdx.x) % 32, line = lane / lanes, column = lane % lanes * values;
    to += line * pitch + column;
    if (column >= columns) rows = 0;
#pragma unroll 1
    for (int round = 0; round < Shape::warp_rows / Shape::staged_rows; round++) {
        stage_sums<Shape>(sum, round, staged, lane);
        __syncwarp();
#pragma unroll 4
        for (int i = line; i < Shape::staged_rows; i += at_once, to += at_once * pitch) {
            const simt::pack<float, values> from =
                *reinterpret_cast<const simt::pack<float, values> *>(staged + i * Shape::pitch + column);
            simt::pack<To, values> some;
#pragma unroll
            for (int j = 0; j < values; j++) some.at[j] = simt::from_f32<To>(from.at[j]);
            if (round * Shape::staged_rows + i < rows) simt::store_pack<To, values>(to, some);
        }
        __syncwarp();
    }
}

template <class Shape, class T> TRINE_DEVICE void write_any(const float (&sum)[Shape::across_m][2 * Shape::across_n][4],
                                                            float *staged, int64_t first_row, int64_t first_column,
                                                            const product<T> &p, const split_sink &sink,
                                                            const simt::split_place &part, const simt::product_offsets &at)
{
    enum { lanes = Shape::warp_columns / 4, at_once = 32 / lanes };
    const int lane = int(threadIdx.x) % 32;
#pragma unroll 1
    for (int round = 0; round < Shape::warp_rows / Shape::staged_rows; round++) {
        stage_sums<Shape>(sum, round, staged, lane);
        __syncwarp();
#pragma unroll 1
        for (int line = lane / lanes; line < Shape::staged_rows; line += at_once)
            write_four(*reinterpret_cast<const float4 *>(staged + line * Shape::pitch + lane % lanes * 4),
                       first_row + round * Shape::staged_rows + line, first_column + lane % lanes * 4, p, sink, at, part);
        __syncwarp();
    }
}

/* A warp's sums to d, or to the workspace as a part of them. */
template <class Shape, class T>
TRINE_DEVICE void write_tile(const float (&sum)[Shape::across_m][2 * Shape::across_n][4], float *staged, int64_t first_row,
                             int64_t first_column, const product<T> &p, const split_sink &sink, const simt::split_place &part)
{
    const simt::product_offsets at = p.offsets(part.index);
    const int rows = rows_of_tile(p.m, first_row, Shape::warp_rows),
              columns = rows_of_tile(p.n, first_column, Shape::warp_columns);
    const bool whole = sink.parts ? sink.packs : p.out.plain() && p.out.d_packs;
    const int64_t i = at.d + first_row * p.out.d_m + first_column;
    if (whole && (sink.parts || p.out.d_wide)) {
        float *const to = sink.parts ? sink.parts + part.split * sink.apart + (part.index * p.m + first_row) * p.n + first_column
                                     : static_cast<float *>(p.out.d) + i;
        write_plain<Shape, float>(sum, staged, to, sink.parts ? p.n : p.out.d_m, rows, columns);
        return;
    }
    if constexpr (sizeof(T) == 2)
        if (whole && p.n % 8 == 0 && p.out.d_m % 8 == 0 && at.d % 8 == 0) {
            write_plain<Shape, T>(sum, staged, static_cast<T *>(p.out.d) + i, p.out.d_m, rows, columns);
            return;
        }
    write_any<Shape>(sum, staged, first_row, first_column, p, sink, part, at);
}

template <class T, tile_axis A, tile_axis B, class Shape> __global__ void __launch_bounds__(Shape::threads, Shape::blocks)
    matmul_kernel(product<T> p, unsigned tiles_m, unsigned tiles_n, unsigned blocks, int stages, split_sink sink)
{
    extern __shared__ __align__(128) unsigned char sm80_shared[];
    const simt::block_place place = simt::place_of_block(p, blocks);
    const unsigned split = place.part / (tiles_m * tiles_n);
    unsigned tile_m, tile_n;
    simt::tile_of_block(place.part - split * (tiles_m * tiles_n), tiles_m, tiles_n, 1024 / Shape::rows, &tile_m, &tile_n);
    const int64_t first_row = int64_t(tile_m) * Shape::rows, first_column = int64_t(tile_n) * Shape::columns;
    const int64_t first_k = split * sink.terms, some = p.k - first_k < sink.terms ? p.k - first_k : sink.terms,
                  terms = some > 0 ? some : 0;
    const int warp = int(threadIdx.x) / 32;
    const uint32_t tiles = uint32_t(__cvta_generic_to_shared(sm80_shared));
    const ring r(tiles, stages, Shape::stage_bytes);
    multiplier<T, A, B, Shape> m(tiles, warp);
    {
        const simt::product_offsets at = p.offsets(place.index);
        const int rows = rows_of_tile(p.m, first_row, Shape::rows), columns = rows_of_tile(p.n, first_column, Shape::columns);
        const int steps = terms > 0 ? int((terms + step_terms<T> - 1) / step_terms<T>) : 1,
                  last = int(terms) - (steps - 1) * step_terms<T>;
        using copier_a = copier<T, A, Shape::rows, Shape::threads>;
        using copier_b = copier<T, B, Shape::columns, Shape::threads>;
        copies<Shape, copier_a, copier_b> c{
            copier_a(p.a + at.a, p.a_m, p.a_k, first_row, rows, first_k, tiles),
            copier_b(p.b + at.b, p.b_n, p.b_k, first_column, columns, first_k, tiles + Shape::rows * step_bytes)};
        c.a.copy_last(rows, steps, last);
        c.b.copy_last(columns, steps, last);
        start_ring<Shape>(r, stages);
        multiply_steps<Shape>(m, c, r, stages, steps);
    }
    write_tile<Shape>(m.sum, reinterpret_cast<float *>(sm80_shared) + warp * Shape::staged_rows * Shape::pitch,
                      first_row + warp / Shape::warps_n * Shape::warp_rows,
                      first_column + warp % Shape::warps_n * Shape::warp_columns, p, sink, simt::split_place{place.index, split});
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

template <class T, class Shape, tile_axis A> inline auto kernel_along(tile_axis b)
{
    return b == tile_along_k ? matmul_kernel<T, A, tile_along_k, Shape> : matmul_kernel<T, A, tile_along_rows, Shape>;
}

template <class Shape, class T>
inline trine_status launch(trine_call *call, const trine_product &p, tile_axis a, tile_axis b, const split_sink &sink)
{
    const int64_t tiles_m = simt::ceil_div(p.m, int64_t(Shape::rows)), tiles_n = simt::ceil_div(p.n, int64_t(Shape::columns)),
                  blocks = tiles_m * tiles_n * sink.splits;
    const int stages = stages_of<Shape>(call);
    const size_t shared = size_t(stages) * Shape::stage_bytes + barrier_bytes;
    static_assert(3 * Shape::stage_bytes >= int(Shape::staged_bytes), "the epilogue's sums fit");
    const auto kernel = a == tile_along_k ? kernel_along<T, Shape, tile_along_k>(b) : kernel_along<T, Shape, tile_along_rows>(b);
    target::allow_shared(kernel, shared);
    const int64_t most = 0x7fffffff / blocks;
    TRINE_REQUIRE_THAT(call, most > 0, "the grid is too large");
    product<T> some(p);
    trine_status status = TRINE_OK;
    for (; some.first < some.batches && status == TRINE_OK; some.first += most)
        status =
            simt::launch(call, kernel, simt::grid((some.batches - some.first < most ? some.batches - some.first : most) * blocks),
                         Shape::threads, shared, some, tiles_m, tiles_n, blocks, stages, sink);
    return status == TRINE_OK ? simt::sum_splits<T>(call, p, sink) : status;
}

} // namespace sm80

#endif
