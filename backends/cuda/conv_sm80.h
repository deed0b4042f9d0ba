/* sm80's convolutions and their gradients: the ring and multiplier of matmul_sm80.h over operands that are gathered from the tensors
 * (core/conv_plan.h) on their way to shared memory, 16 bytes at a time: some channels of a pixel that a tap meets, or zeros. Needs
 * channels that lie densely, in eights; conv_sm80.cu turns what lies otherwise.
 *
 *                 a                        b
 *     forward     pixels x (taps, c)       filters along K
 *     data        pixels x (taps, k)       filters along rows (their channels)
 *     weight      dy along rows            (taps, c) x pixels, along rows
 *
 * Where an index leads costs two divisions. Along K a thread has the same few rows all the way, whose places it keeps, and finds one
 * term's a stage. Along rows it has one place, and the stage's terms are found by the lanes of its warp, one each, and handed round. */
#ifndef TRINE_CUDA_CONV_SM80_H
#define TRINE_CUDA_CONV_SM80_H

#include "backends/cuda/conv_variants.h"
#include "backends/cuda/matmul_sm80.h"
#include "backends/simt/conv_matrix.h"
#include "backends/simt/conv_run.h"

namespace sm80 {

/* Where an index leads, in 32 bits: elements from the operand's first, and in the plane of a window's. */
struct gather_place {
    int32_t at, h, w;
};

/* PIXELS: the index is (image, row, column), else (tap, tap, channel). */
template <bool WINDOW, bool PIXELS> TRINE_DEVICE gather_place gather_place_of(const simt::conv_side &s, int32_t index)
{
    const int32_t rest = int32_t(s.inner.divide(index)), i2 = index - rest * int32_t(s.inner.d);
    const int32_t i0 = int32_t(s.middle.divide(rest)), i1 = rest - i0 * int32_t(s.middle.d);
    gather_place p = {i0 * int32_t(s.stride[0]) + i1 * int32_t(s.stride[1]) + i2 * int32_t(s.stride[2]), 0, 0};
    if constexpr (WINDOW) {
        p.h = PIXELS ? i1 * s.h[1] : i0 * s.h[0];
        p.w = PIXELS ? i2 * s.w[2] : i1 * s.w[1];
    }
    return p;
}

/* A thread's copies of an operand's tiles, as copier's (matmul_sm80_tile.h). WINDOW: a tap may meet what is outside of the plane. */
template <class T, tile_axis A, int ROWS, int THREADS, bool WINDOW> struct gatherer {
    using lines = tile<T, A, ROWS>;
    enum {
        copies = ROWS * step_bytes / 16 / THREADS,
        lines_apart = THREADS / lines::pieces,
        along_k = lines::along_k,
        own = along_k ? copies : 1 /* rows, or packs of rows */
    };
    static_assert(along_k || step_terms<T> <= 32, "a lane a term");
    const simt::conv_operand<T> &o;
    const T *from;
    gather_place row[own], term; /* term: of the next stage; along rows of the lane's */
    int32_t next_term;
    uint32_t inside; /* bit i: the operand has row i */
    uint32_t to;

    TRINE_DEVICE_METHOD gatherer(const simt::conv_operand<T> &o_, int32_t first_row, int32_t rows, int32_t first_k, int64_t group,
                                 uint32_t tile_at)
        : o(o_), from(o_.data + group * o_.group), next_term(first_k + term_of_thread()), inside(0)
    {
        const int piece_of_thread = int(threadIdx.x) % lines::pieces, line = int(threadIdx.x) / lines::pieces;
#pragma unroll
        for (int i = 0; i < own; i++) {
            const int32_t index = first_row + (along_k ? line + i * lines_apart : piece_of_thread * piece<T>);
            inside |= uint32_t(index < rows) << i;
            row[i] = gather_place_of<WINDOW, along_k>(o.rows, index < rows ? index : 0);
            row[i].h += o.h;
            row[i].w += o.w;
        }
        to = tile_at + lines::place(line, piece_of_thread);
        find_term();
    }
    /* Of a stage: along K the thread's first, along rows the lane's. */
    static TRINE_DEVICE_METHOD int32_t term_of_thread()
    {
        return along_k ? int(threadIdx.x) % lines::pieces * piece<T> : int(threadIdx.x) % step_terms<T>;
    }
    TRINE_DEVICE_METHOD gather_place place_of_term(int32_t index) const
    {
        return gather_place_of<WINDOW, !along_k>(o.terms, index);
    }
    TRINE_DEVICE_METHOD void find_term() { term = place_of_term(next_term); }
    /* Copy i's; all lanes take part. */
    TRINE_DEVICE_METHOD gather_place term_of_copy(const gather_place &p, int i) const
    {
        if constexpr (along_k) return p;
        const int line = int(threadIdx.x) / lines::pieces + i * lines_apart;
        gather_place q = {target::shuffle(p.at, line), 0, 0};
        if constexpr (WINDOW) {
            q.h = target::shuffle(p.h, line);
            q.w = target::shuffle(p.w, line);
        }
        return q;
    }
    TRINE_DEVICE_METHOD void copy_from(uint32_t slot, int i, const gather_place &term_place, bool some) const
    {
        const gather_place &r = row[along_k ? i : 0];
        some = some && (inside >> (along_k ? i : 0) & 1);
        if constexpr (WINDOW) some = some && o.meets(r.h + term_place.h, r.w + term_place.w);
        mma_sync::copy16_if(to + slot + uint32_t(i * lines_apart * lines::line_bytes), from + (r.at + term_place.at), some);
    }
    /* Stage `steps` - 1, which has `terms`, to the first slot. */
    TRINE_DEVICE_METHOD void copy_last(int steps, int terms) const
    {
        const int32_t before = (steps - 1) * step_terms<T>;
        const gather_place p = place_of_term(next_term + before);
#pragma unroll
        for (int i = 0; i < copies; i++) {
            const int32_t k = along_k ? term_of_thread() : int(threadIdx.x) / lines::pieces + i * lines_apart;
            copy_from(0, i, term_of_copy(p, i), k < terms);
        }
    }
    TRINE_DEVICE_METHOD void copy(uint32_t slot, int i, bool some) const { copy_from(slot, i, term_of_copy(term, i), some); }
    TRINE_DEVICE_METHOD void next()
    {
        next_term += step_terms<T>;
        find_term();
    }
};

/* A warp's sums to d or, as a part of them, to the workspace. */
template <class Shape, class T> TRINE_DEVICE void write_conv(const float (&sum)[Shape::across_m][2 * Shape::across_n][4],
                                                             float *staged, const simt::conv_problem<T> &p, int32_t first_row,
                                                             int32_t first_column, int64_t group, int64_t split)
{
    if (p.parts && p.n % 4 == 0) {
        write_plain<Shape, float>(sum, staged, p.parts + split * p.apart + (group * p.m + first_row) * p.n + first_column, p.n,
                                  rows_of_tile(p.m, first_row, Shape::warp_rows),
                                  rows_of_tile(p.n, first_column, Shape::warp_columns));
        return;
    }
    enum { lanes = Shape::warp_columns / 4, at_once = 32 / lanes };
    const int lane = int(threadIdx.x) % 32, column = lane % lanes * 4;
    const bool packs = !p.parts && p.out.packs && p.out.plain();
    const int64_t to = packs ? group * p.out.group + p.out.columns.place(first_column + column).at : 0;
#pragma unroll 1
    for (int round = 0; round < Shape::warp_rows / Shape::staged_rows; round++) {
        stage_sums<Shape>(sum, round, staged, lane);
        __syncwarp();
#pragma unroll 1
        for (int line = lane / lanes; line < Shape::staged_rows; line += at_once) {
            const simt::pack<float, 4> four =
                *reinterpret_cast<const simt::pack<float, 4> *>(staged + line * Shape::pitch + column);
            const int32_t row = first_row + round * Shape::staged_rows + line;
            if (!packs)
                simt::conv_put_four(four, row, first_column + column, p, group, split);
            else if (row < p.m && first_column + column < p.n)
                p.out.put_at(four, to + p.out.rows.place(row).at);
        }
        __syncwarp();
    }
}

/* Where a block's tile lies, and which terms it adds up. */
struct conv_block {
    int32_t row, column, begin, end;
    unsigned group, split;
};
template <class Shape, class T>
TRINE_DEVICE conv_block conv_block_of(const simt::conv_problem<T> &p, unsigned tiles_m, unsigned tiles_n)
{
    conv_block b;
    const unsigned tiles = tiles_m * tiles_n, part = blockIdx.x / tiles;
    unsigned tile_m, tile_n;
    simt::tile_of_block(blockIdx.x - part * tiles, tiles_m, tiles_n, 1024 / Shape::rows, &tile_m, &tile_n);
    b.group = part / unsigned(p.splits);
    b.split = part - b.group * unsigned(p.splits);
    b.row = int32_t(tile_m) * Shape::rows;
    b.column = int32_t(tile_n) * Shape::columns;
    b.begin = int32_t(b.split) * p.terms;
    b.end = p.k - b.begin < p.terms ? p.k : b.begin + p.terms;
    return b;
}

/* Forward and the data gradient have the window on a, that of the weight, whose a lies along rows, on b. */
template <class T, tile_axis A, tile_axis B, class Shape> __global__ void __launch_bounds__(Shape::threads, Shape::blocks)
    conv_kernel(const __grid_constant__ simt::conv_problem<T> p, unsigned tiles_m, unsigned tiles_n, int stages)
{
    extern __shared__ __align__(128) unsigned char sm80_shared[];
    constexpr bool window_a = A == tile_along_k;
    using gatherer_a = gatherer<T, A, Shape::rows, Shape::threads, window_a>;
    using gatherer_b = gatherer<T, B, Shape::columns, Shape::threads, !window_a>;
    const conv_block b = conv_block_of<Shape>(p, tiles_m, tiles_n);
    const uint32_t tiles = uint32_t(__cvta_generic_to_shared(sm80_shared));
    const int32_t terms = b.end > b.begin ? b.end - b.begin : 0;
    const int steps = steps_of<T>(terms), last = terms - (steps - 1) * step_terms<T>;
    multiplier<T, A, B, Shape> m(tiles, int(threadIdx.x) / 32);
    const ring r(tiles, stages, Shape::stage_bytes);
    copies<Shape, gatherer_a, gatherer_b> c{gatherer_a(p.a, b.row, p.m, b.begin, b.group, tiles),
                                            gatherer_b(p.b, b.column, p.n, b.begin, b.group, tiles + Shape::rows * step_bytes)};
    c.a.copy_last(steps, last);
    c.b.copy_last(steps, last);
    start_ring<Shape>(r, stages);
    multiply_steps<Shape>(m, c, r, stages, steps);
    const int warp = int(threadIdx.x) / 32;
    write_conv<Shape>(m.sum, staged_of_warp<Shape>(sm80_shared), p, b.row + warp / Shape::warps_n * Shape::warp_rows,
                      b.column + warp % Shape::warps_n * Shape::warp_columns, b.group, b.split);
}

/* ---- Host ---- */

/* Whether what an index adds to a place fits in 31 bits. */
inline int64_t gather_reach(const trine_conv_side &s)
{
    int64_t reach = 0;
    for (int i = 0; i < 3; i++) reach += (s.size[i] > 0 ? s.size[i] - 1 : 0) * (s.stride[i] < 0 ? -s.stride[i] : s.stride[i]);
    return reach;
}
/* No window: every index is in the plane. */
inline bool is_plain(const trine_conv_operand &o)
{
    bool plain = o.h == 0 && o.w == 0;
    for (int i = 0; i < 3; i++) plain = plain && o.rows.h[i] == 0 && o.rows.w[i] == 0 && o.terms.h[i] == 0 && o.terms.w[i] == 0;
    return plain;
}
inline bool is_along_k(const trine_conv_operand &o) { return o.terms.stride[2] == 1 && o.terms.size[2] > 1; }

template <class T> inline bool conv_operand_fits(const trine_conv_operand &o)
{
    return simt::conv_gathers(o) && simt::conv_packs<T, piece<T>>(o) && gather_reach(o.rows) + gather_reach(o.terms) < 0x7fffffff;
}

/* By matmul's model of tiles and parts of K. */
inline plan conv_plan_of(const trine_call *call, const trine_conv_product &p, int tile)
{
    trine_product alike = {};
    alike.m = p.m;
    alike.n = p.n;
    alike.k = p.k;
    alike.dtype = p.dtype;
    alike.batch.numel = p.groups;
    return choose(tiles, call, alike, tile);
}

template <class T, class Shape> inline trine_status launch_conv(trine_call *call, const trine_conv_product &p, int64_t splits)
{
    const simt::conv_problem<T> problem(p, splits, call->workspace, step_terms<T>);
    const auto kernel = !is_along_k(p.a) && p.k > 0   ? conv_kernel<T, tile_along_rows, tile_along_rows, Shape>
                        : !is_along_k(p.b) && p.k > 0 ? conv_kernel<T, tile_along_k, tile_along_rows, Shape>
                                                      : conv_kernel<T, tile_along_k, tile_along_k, Shape>;
    const size_t shared = shared_of<Shape>(call, kernel);
    const int64_t tiles_m = simt::ceil_div(p.m, int64_t(Shape::rows)), tiles_n = simt::ceil_div(p.n, int64_t(Shape::columns)),
                  blocks = tiles_m * tiles_n * splits * p.groups;
    const trine_status status = simt::launch(call, kernel, simt::grid(blocks), Shape::threads, shared, problem, unsigned(tiles_m),
                                             unsigned(tiles_n), stages_of<Shape>(call));
    return status == TRINE_OK ? simt::conv_sum_parts(call, problem) : status;
}

/* One product. The portable kernel's workspace will do, too: it runs where addresses, which a query does not know, are odd. */
template <class T, int tile>
inline trine_status conv_product_of(trine_call *call, trine_conv_product p, size_t *needed, bool only_ask)
{
    const bool empty = p.m == 0 || p.n == 0 || p.groups == 0;
    trine_conv_orient(&p);
    if (!empty && p.k > 0) {
        TRINE_REQUIRE_THAT(call, conv_operand_fits<T>(p.a) && conv_operand_fits<T>(p.b),
                           "needs channels that lie densely, in eights, other strides of multiples of 16 bytes, and less than "
                           "2^31 elements");
        TRINE_REQUIRE_THAT(call, is_along_k(p.a) ? is_plain(p.b) : is_plain(p.a) && !is_along_k(p.b),
                           "needs results whose channels lie densely");
    }
    const plan chosen = empty ? plan{0, 1} : conv_plan_of(call, p, tile);
    const simt::conv_gemm_plan own = {1, 1, chosen.splits}, portable = empty ? own : simt::conv_plan_gemm(call, p);
    for (const simt::conv_gemm_plan &each : {own, portable}) {
        const size_t bytes = simt::conv_gemm_workspace(p, each);
        if (bytes > *needed) *needed = bytes;
    }
    if (only_ask || empty) return TRINE_OK;
    switch (chosen.tile) {
    case 0: return launch_conv<T, wide>(call, p, chosen.splits);
    case 1: return launch_conv<T, square>(call, p, chosen.splits);
    default: return launch_conv<T, small>(call, p, chosen.splits);
    }
}

template <int tile> inline trine_status conv_product(trine_call *call, trine_conv_product p, size_t *needed, bool only_ask)
{
    TRINE_REQUIRE_THAT(call, atoi(call->device->props.arch + sizeof "sm_" - 1) >= 80, "needs compute capability 8.0");
    TRINE_REQUIRE_THAT(call, simt::conv_fits(p), "needs less than 2^31 pixels and terms");
    switch (p.dtype) {
    case TRINE_F16: return conv_product_of<simt::f16, tile>(call, p, needed, only_ask);
    case TRINE_BF16: return conv_product_of<simt::bf16, tile>(call, p, needed, only_ask);
    default: return conv_product_of<float, tile>(call, p, needed, only_ask);
    }
}

} // namespace sm80

#endif
