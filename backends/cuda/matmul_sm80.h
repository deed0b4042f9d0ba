/* sm80: matrix products of f16, bf16 and f32 as tf32 on tensor cores by the instruction of a warp (mma/mma_sync.h), as devices of
 * compute capability 8 have it; later ones run it too.
 *
 * A block of four warps makes a tile of 128 x 128 outputs, a warp 64 x 64 of them in registers. Asynchronous copies keep three
 * stages of 64 bytes of K in shared memory, 48 KiB, so that two blocks fit on every such device; while a warp multiplies one half
 * of a stage, it reads its fragments of the next. For 128 instructions a warp reads 32 times 512 bytes from shared memory: bound
 * by the tensor cores where tiles are many. Sums over K are divided among blocks as in register_tiled (simt/matmul_split.h). */
#ifndef TRINE_CUDA_MATMUL_SM80_H
#define TRINE_CUDA_MATMUL_SM80_H

#include "backends/cuda/matmul_sm80_store.h"
#include "backends/cuda/matmul_sm80_tile.h"

namespace sm80 {

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
    /* What is to be done with the sums after each stage. */
    TRINE_DEVICE_METHOD void end_stage(int, int) {}
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
        m.end_stage(i, steps);
    }
    mma_sync::wait_copies<0>();
    __syncthreads();
}

/* What a block makes: a tile of a product of the batch, from some terms of K. */
template <class Shape> struct block_work {
    simt::split_place part;
    int64_t first_row, end_row, first_column, first_k, terms; /* end_row: of the product's, not of the tile's */
    uint32_t tiles;                                           /* shared memory */

    template <class T> TRINE_DEVICE_METHOD block_work(const product<T> &p, unsigned tiles_m, unsigned tiles_n, unsigned blocks,
                                                      const split_sink &sink, const void *shared)
        : tiles(uint32_t(__cvta_generic_to_shared(shared)))
    {
        const simt::block_place place = simt::place_of_block(p, blocks);
        unsigned tile_m, tile_n;
        part.index = place.index;
        part.split = place.part / (tiles_m * tiles_n);
        simt::tile_of_block(place.part - part.split * (tiles_m * tiles_n), tiles_m, tiles_n, 1024 / Shape::rows, &tile_m,
                            &tile_n);
        first_row = int64_t(tile_m) * Shape::rows;
        end_row = p.m;
        first_column = int64_t(tile_n) * Shape::columns;
        first_k = part.split * sink.terms;
        const int64_t some = p.k - first_k < sink.terms ? p.k - first_k : sink.terms;
        terms = some > 0 ? some : 0;
    }
    TRINE_DEVICE_METHOD block_work(int64_t index, int64_t first_row_, int64_t end_row_, int64_t first_column_, int64_t first_k_,
                                   int64_t terms_, const void *shared)
        : part{index, 0}, first_row(first_row_), end_row(end_row_), first_column(first_column_), first_k(first_k_), terms(terms_),
          tiles(uint32_t(__cvta_generic_to_shared(shared)))
    {
    }
    /* The first row and column of a warp's sums. */
    TRINE_DEVICE_METHOD int64_t row_of_warp() const
    {
        return first_row + int(threadIdx.x) / 32 / Shape::warps_n * Shape::warp_rows;
    }
    TRINE_DEVICE_METHOD int64_t column_of_warp() const
    {
        return first_column + int(threadIdx.x) / 32 % Shape::warps_n * Shape::warp_columns;
    }
};

/* Stages of some terms; one, of zeros, if there are none. */
template <class T> TRINE_DEVICE int steps_of(int64_t terms)
{
    return terms > 0 ? int((terms + step_terms<T> - 1) / step_terms<T>) : 1;
}

template <class Shape, tile_axis A, tile_axis B, class T, class M>
TRINE_DEVICE void multiply_block(M &m, const product<T> &p, const block_work<Shape> &w, int stages)
{
    const simt::product_offsets at = p.offsets(w.part.index);
    const int rows = rows_of_tile(w.end_row, w.first_row, Shape::rows),
              columns = rows_of_tile(p.n, w.first_column, Shape::columns);
    const int steps = steps_of<T>(w.terms), last = int(w.terms) - (steps - 1) * step_terms<T>;
    using copier_a = copier<T, A, Shape::rows, Shape::threads>;
    using copier_b = copier<T, B, Shape::columns, Shape::threads>;
    const ring r(w.tiles, stages, Shape::stage_bytes);
    copies<Shape, copier_a, copier_b> c{
        copier_a(p.a + at.a, p.a_m, p.a_k, w.first_row, rows, w.first_k, w.tiles),
        copier_b(p.b + at.b, p.b_n, p.b_k, w.first_column, columns, w.first_k, w.tiles + Shape::rows * step_bytes)};
    c.a.copy_last(rows, steps, last);
    c.b.copy_last(columns, steps, last);
    start_ring<Shape>(r, stages);
    multiply_steps<Shape>(m, c, r, stages, steps);
}

/* A warp's part of shared memory for its sums on their way out. */
template <class Shape> TRINE_DEVICE float *staged_of_warp(unsigned char *shared)
{
    return reinterpret_cast<float *>(shared) + int(threadIdx.x) / 32 * Shape::staged_rows * Shape::pitch;
}

template <class T, tile_axis A, tile_axis B, class Shape> __global__ void __launch_bounds__(Shape::threads, Shape::blocks)
    matmul_kernel(product<T> p, unsigned tiles_m, unsigned tiles_n, unsigned blocks, int stages, split_sink sink)
{
    extern __shared__ __align__(128) unsigned char sm80_shared[];
    const block_work<Shape> w(p, tiles_m, tiles_n, blocks, sink, sm80_shared);
    multiplier<T, A, B, Shape> m(w.tiles, int(threadIdx.x) / 32);
    multiply_block<Shape, A, B>(m, p, w, stages);
    write_tile<Shape, T>(m.sum, staged_of_warp<Shape>(sm80_shared), w.row_of_warp(), w.column_of_warp(), p, sink, w.part);
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

/* A launch's shared memory, which is asked for. */
template <class Shape, class Kernel> inline size_t shared_of(const trine_call *call, Kernel *kernel)
{
    const size_t shared = size_t(stages_of<Shape>(call)) * Shape::stage_bytes + barrier_bytes;
    static_assert(3 * Shape::stage_bytes >= int(Shape::staged_bytes), "the epilogue's sums fit");
    target::allow_shared(kernel, shared);
    return shared;
}

/* given: what the kernel has beside the product, its tiles and the sink. */
template <class Shape, class T, class... P, class... G>
inline trine_status launch_tiles(trine_call *call, void (*kernel)(product<T>, P...), const trine_product &p,
                                 const split_sink &sink, const G &...given)
{
    const int64_t tiles_m = simt::ceil_div(p.m, int64_t(Shape::rows)), tiles_n = simt::ceil_div(p.n, int64_t(Shape::columns)),
                  blocks = tiles_m * tiles_n * sink.splits;
    const int stages = stages_of<Shape>(call);
    const size_t shared = shared_of<Shape>(call, kernel);
    const int64_t most = 0x7fffffff / blocks;
    TRINE_REQUIRE_THAT(call, most > 0, "the grid is too large");
    product<T> some(p);
    trine_status status = TRINE_OK;
    for (; some.first < some.batches && status == TRINE_OK; some.first += most)
        status =
            simt::launch(call, kernel, simt::grid((some.batches - some.first < most ? some.batches - some.first : most) * blocks),
                         Shape::threads, shared, some, tiles_m, tiles_n, blocks, stages, sink, given...);
    return status == TRINE_OK ? simt::sum_splits<T>(call, p, sink) : status;
}

template <class Shape, class T>
inline trine_status launch(trine_call *call, const trine_product &p, tile_axis a, tile_axis b, const split_sink &sink)
{
    const auto kernel = a == tile_along_k ? kernel_along<T, Shape, tile_along_k>(b) : kernel_along<T, Shape, tile_along_rows>(b);
    return launch_tiles<Shape>(call, kernel, p, sink);
}

} // namespace sm80

#endif
