/* sm89: products of fp8 by the instruction of a warp, for compute capability 8.9 and what follows it without wgmma. The frame is
 * sm80's (matmul_sm80.h): a ring of stages that asynchronous copies fill, 64 terms of K each.
 *
 * The tensor cores keep 13 bits after the point of the largest term of a sum of fp8 products, as Hopper's do (docs/fp8-ada.md). So
 * two stages, the 128 terms that block scales are for, have sums of their own, which are then added to the tile's in f32, times
 * scales that depend on k. A warp has 64 x 32 of either. With fast_accumulate and no such scales the tensor cores add up all of K. */
#ifndef TRINE_CUDA_FP8_SM89_H
#define TRINE_CUDA_FP8_SM89_H

#include "backends/cuda/matmul_sm80.h"
#include "backends/simt/fp8_product.h"

namespace sm89 {

using simt::f8_any;
using simt::f8_scaling;
using simt::split_sink;
using sm80::shape;
using sm80::tile_along_k;

using f8_product = simt::product<f8_any>;

using square = shape<128, 128, 64, 32, 1>;
using small = shape<64, 64, 32, 32, 3>;

/* Scales that change along k are the loop's, others the epilogue's. */
TRINE_DEVICE bool in_loop(const simt::operand_scale &s) { return s.k_step != 0; }

/* A warp's sums: of two stages, and of all terms. T: an f8_pair. */
template <class T, class Shape> struct f8_multiplier : sm80::multiplier<T, tile_along_k, tile_along_k, Shape> {
    using base = sm80::multiplier<T, tile_along_k, tile_along_k, Shape>;
    float total[Shape::across_m][2 * Shape::across_n][4];
    float row_scale[Shape::across_m][2], column_scale;
    const f8_scaling &scaling;
    const float *a_scale, *b_scale; /* of the thread's first row, the warp's first column */
    int rows;                       /* that there are from the thread's first on */
    bool columns, fast;

    /* columns_: of the whole product. */
    TRINE_DEVICE_METHOD f8_multiplier(int64_t columns_, const f8_scaling &scaling_, const sm80::block_work<Shape> &w, bool fast_)
        : base(w.tiles, int(threadIdx.x) / 32), total{}, column_scale(1), scaling(scaling_), fast(fast_)
    {
        int64_t offset[2];
        scaling.offsets(w.part.index, offset);
        const int64_t row = w.row_of_warp() + int(threadIdx.x) % 32 / 4, column = w.column_of_warp(),
                      block = w.first_k / TRINE_FP8_BLOCK;
        rows = w.terms > 0 ? sm80::rows_of_tile(w.end_row, row, Shape::warp_rows) : 0;
        columns = w.terms > 0 && column < columns_;
        a_scale = scaling.a.at(row) + offset[0] + block * scaling.a.k_step;
        b_scale = scaling.b.at(column) + offset[1] + block * scaling.b.k_step;
#pragma unroll
        for (int i = 0; i < Shape::across_m; i++) row_scale[i][0] = row_scale[i][1] = 1;
        load_scales((sm80::steps_of<T>(w.terms) - 1) / 2); /* the last terms come first */
    }
    /* `block`: of 128 terms, counted from the first of this part of K. */
    TRINE_DEVICE_METHOD void load_scales(int block)
    {
        if (in_loop(scaling.a)) {
            const int64_t apart = scaling.a.row_block == 1 ? scaling.a.row : 0;
            const float *from = a_scale + block * scaling.a.k_step;
#pragma unroll
            for (int i = 0; i < Shape::across_m; i++)
#pragma unroll
                for (int h = 0; h < 2; h++) row_scale[i][h] = 16 * i + 8 * h < rows ? from[(16 * i + 8 * h) * apart] : 0.0f;
        }
        if (in_loop(scaling.b)) column_scale = columns ? b_scale[block * scaling.b.k_step] : 0.0f;
    }
    /* The walk begins with the last stage; then come the first, the second ... */
    TRINE_DEVICE_METHOD void end_stage(int i, int steps)
    {
        const bool last = i + 1 == steps;
        if (!last && (fast || i % 2 != 0)) return;
#pragma unroll
        for (int m = 0; m < Shape::across_m; m++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const float by = row_scale[m][h] * column_scale;
#pragma unroll
                for (int n = 0; n < 2 * Shape::across_n; n++)
#pragma unroll
                    for (int e = 2 * h; e < 2 * h + 2; e++) {
                        total[m][n][e] = target::fma_rn(by, this->sum[m][n][e], total[m][n][e]);
                        this->sum[m][n][e] = 0;
                    }
            }
        if (!last) load_scales(i / 2);
    }
};

/* ---- The way out: P: a product, or what has its sizes, epilogue and offsets; S: a split_sink, or what has no parts ---- */

/* Of all sums or, where K is in parts, a part: which need nothing but rounding once scales and bias are applied, 16 bytes a lane. */
template <class P, class S> TRINE_DEVICE bool is_whole(const P &p, const S &sink, const simt::product_offsets &at)
{
    if (sink.parts) return sink.packs;
    return p.out.activation == TRINE_ACT_IDENTITY && !p.out.bias_m && p.out.d_packs &&
           (p.out.d_dtype == TRINE_F32 || (p.n % 8 == 0 && p.out.d_m % 8 == 0 && at.d % 8 == 0));
}

/* Scales that don't depend on k, and the bias if `biased`. */
template <class Shape, class P> TRINE_DEVICE void apply_factors(float (&sum)[Shape::across_m][2 * Shape::across_n][4], const P &p,
                                                                const f8_scaling &scaling, const sm80::block_work<Shape> &w,
                                                                const simt::product_offsets &to, bool biased)
{
    const int lane = int(threadIdx.x) % 32;
    const int64_t first_row = w.row_of_warp() + lane / 4, first_column = w.column_of_warp() + lane % 4 * 2;
    int64_t offset[2];
    scaling.offsets(w.part.index, offset);
    float row[Shape::across_m][2];
#pragma unroll
    for (int i = 0; i < Shape::across_m; i++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int64_t at = first_row + 16 * i + 8 * h;
            row[i][h] = !in_loop(scaling.a) && at < p.m ? scaling.a.at(at)[offset[0]] : 1.0f;
        }
#pragma unroll
    for (int j = 0; j < 2 * Shape::across_n; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            const int64_t at = first_column + 8 * j + e;
            const float by = !in_loop(scaling.b) && at < p.n ? scaling.b.at(at)[offset[1]] : 1.0f,
                        more = biased && at < p.n ? p.out.read(p.out.bias, p.out.bias_dtype, to.bias + at * p.out.bias_n) : 0.0f;
#pragma unroll
            for (int i = 0; i < Shape::across_m; i++)
#pragma unroll
                for (int h = 0; h < 2; h++) sum[i][j][2 * h + e] = target::fma_rn(sum[i][j][2 * h + e] * row[i][h], by, more);
        }
}

template <class Shape, class P, class S> TRINE_DEVICE void write_f8_tile(float (&sum)[Shape::across_m][2 * Shape::across_n][4],
                                                                         float *staged, const P &p, const f8_scaling &scaling,
                                                                         const sm80::block_work<Shape> &w, const S &sink)
{
    const simt::product_offsets at = p.offsets(w.part.index);
    const int64_t row = w.row_of_warp(), column = w.column_of_warp(), i = at.d + row * p.out.d_m + column;
    const int rows = sm80::rows_of_tile(p.m, row, Shape::warp_rows),
              columns = sm80::rows_of_tile(p.n, column, Shape::warp_columns);
    const bool whole = is_whole(p, sink, at);
    apply_factors<Shape>(sum, p, scaling, w, at, whole && !sink.parts && p.out.bias);
    if (!whole)
        sm80::write_any<Shape>(sum, staged, row, column, p, sink, w.part, at);
    else if (sink.parts)
        sm80::write_plain<Shape, float>(sum, staged, sm80::part_at(p, sink, w.part, row, column), p.n, rows, columns);
    else if (p.out.d_dtype == TRINE_F32)
        sm80::write_plain<Shape, float>(sum, staged, static_cast<float *>(p.out.d) + i, p.out.d_m, rows, columns);
    else if (p.out.d_dtype == TRINE_F16)
        sm80::write_plain<Shape, simt::f16>(sum, staged, static_cast<simt::f16 *>(p.out.d) + i, p.out.d_m, rows, columns);
    else
        sm80::write_plain<Shape, simt::bf16>(sum, staged, static_cast<simt::bf16 *>(p.out.d) + i, p.out.d_m, rows, columns);
}

/* T: an f8_pair. */
template <class T, class Shape> __global__ void __launch_bounds__(Shape::threads, Shape::blocks)
    fp8_kernel(f8_product p, unsigned tiles_m, unsigned tiles_n, unsigned blocks, int stages, split_sink sink, f8_scaling scaling,
               bool fast)
{
    extern __shared__ __align__(128) unsigned char sm80_shared[];
    const sm80::block_work<Shape> w(p, tiles_m, tiles_n, blocks, sink, sm80_shared);
    f8_multiplier<T, Shape> m(p.n, scaling, w, fast);
    sm80::multiply_block<Shape, tile_along_k, tile_along_k>(m, p, w, stages);
    write_f8_tile<Shape>(m.total, sm80::staged_of_warp<Shape>(sm80_shared), p, scaling, w, sink);
}

/* ---- Host ---- */

/* Cycles as reckoned, 16 an instruction and quarter of a multiprocessor: none of these devices has been measured. */
const sm80::tile_facts tiles[] = {
    {square::rows, square::columns, square::blocks, 1060, 1060, 7000},
    {small::rows, small::columns, small::blocks, 1060, 450, 5000},
};

/* Of the four f8_pairs. */
inline int pair_of(const trine_product &p) { return 2 * (p.dtype == TRINE_F8_E5M2) + (p.b_dtype == TRINE_F8_E5M2); }

template <class Shape>
inline trine_status launch_tile(trine_call *call, const trine_product &p, const split_sink &sink, bool fast)
{
    void (*const kernels[])(f8_product, unsigned, unsigned, unsigned, int, split_sink, f8_scaling,
                            bool) = {fp8_kernel<mma_sync::e4m3_e4m3, Shape>, fp8_kernel<mma_sync::e4m3_e5m2, Shape>,
                                     fp8_kernel<mma_sync::e5m2_e4m3, Shape>, fp8_kernel<mma_sync::e5m2_e5m2, Shape>};
    return sm80::launch_tiles<Shape>(call, kernels[pair_of(p)], p, sink, f8_scaling(p), fast);
}

} // namespace sm89

#endif
