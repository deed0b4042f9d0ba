/* sm80: a warp's sums on their way out, by shared memory to d or, as a part of them, to the workspace. */
#ifndef TRINE_CUDA_MATMUL_SM80_STORE_H
#define TRINE_CUDA_MATMUL_SM80_STORE_H

#include "backends/cuda/matmul_finish.h"
#include "backends/cuda/matmul_sm80_plan.h"
#include "backends/simt/matmul_split.h"

namespace sm80 {

using simt::product;
using simt::split_sink;

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

/* P: a product, or what has its sizes, epilogue and offsets; S: a split_sink, or what has no parts. */
template <class P, class S> TRINE_DEVICE void write_four(float4 v, int64_t row, int64_t column, const P &p, const S &sink,
                                                         const simt::product_offsets &at, const simt::split_place &part)
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

template <class Shape, class P, class S> TRINE_DEVICE void write_any(const float (&sum)[Shape::across_m][2 * Shape::across_n][4],
                                                                     float *staged, int64_t first_row, int64_t first_column,
                                                                     const P &p, const S &sink, const simt::split_place &part,
                                                                     const simt::product_offsets &at)
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

/* Where a part of the sums lies in the workspace. */
template <class P, class S>
TRINE_DEVICE float *part_at(const P &p, const S &sink, const simt::split_place &part, int64_t row, int64_t column)
{
    return sink.parts + part.split * sink.apart + (part.index * p.m + row) * p.n + column;
}

/* A warp's sums to d, or to the workspace as a part of them. T: the operands' type. */
template <class Shape, class T, class P, class S>
TRINE_DEVICE void write_tile(const float (&sum)[Shape::across_m][2 * Shape::across_n][4], float *staged, int64_t first_row,
                             int64_t first_column, const P &p, const S &sink, const simt::split_place &part)
{
    const simt::product_offsets at = p.offsets(part.index);
    const int rows = rows_of_tile(p.m, first_row, Shape::warp_rows),
              columns = rows_of_tile(p.n, first_column, Shape::warp_columns);
    const bool whole = sink.parts ? sink.packs : p.out.plain() && p.out.d_packs;
    const int64_t i = at.d + first_row * p.out.d_m + first_column;
    if (whole && (sink.parts || p.out.d_wide)) {
        float *const to = sink.parts ? part_at(p, sink, part, first_row, first_column) : static_cast<float *>(p.out.d) + i;
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

} // namespace sm80

#endif
