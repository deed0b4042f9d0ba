/* True f32 on the sm90 convolution's ring: stages come as for the tensor cores, and are multiplied by ordinary multiply-adds.
 * A warp has 16 rows of the tile and all its columns, a lane a part of both (lane_sums). A load of 16 bytes a lane takes four
 * cycles of the multiprocessor's way from shared memory, the same address for many lanes or not, and its four warps' multiply-adds
 * of one instruction one; so lanes have 16 x 8, 8 x 8, 4 x 8 rows and columns of tiles of 256, 128, 64: for four terms 96 cycles
 * of loads and 128 of multiply-adds, 64 and 64, 48 and 32. */
#ifndef TRINE_CUDA_CONV_SM90_EXACT_H
#define TRINE_CUDA_CONV_SM90_EXACT_H

#include "backends/cuda/conv_sm90_sums.h"

namespace sm90 {

/* Groups of lanes with rows of their own. */
template <class Tile> using exact_sums = lane_sums<256 / Tile::N>;

/* Four terms of all rows and columns; a, b: where the lane's first row and first column begin; odd: 64 if the row's number is an odd
 * multiple of 4, whose pieces are swizzled so. */
template <int columns, class Sums>
TRINE_DEVICE void multiply_piece(float (&sum)[Sums::rows * columns], uint32_t a, uint32_t b, uint32_t odd, int piece, int lane)
{
    constexpr int rows = Sums::rows;
    float4 y[columns];
#pragma unroll
    for (int j = 0; j < columns; j++)
        y[j] = ptx::load_shared(b + j * (Sums::across * wgmma::line_bytes) + ((piece ^ lane % 8) << 4));
#pragma unroll
    for (int r = 0; r < rows; r++) {
        const float4 x = ptx::load_shared(a + r * wgmma::line_bytes + (uint32_t((piece ^ r % 8) << 4) ^ odd));
        float *own = sum + r;
#pragma unroll
        for (int j = 0; j < columns; j++) own[rows * j] = target::fma_rn(x.x, y[j].x, own[rows * j]);
#pragma unroll
        for (int j = 0; j < columns; j++) own[rows * j] = target::fma_rn(x.y, y[j].y, own[rows * j]);
#pragma unroll
        for (int j = 0; j < columns; j++) own[rows * j] = target::fma_rn(x.z, y[j].z, own[rows * j]);
#pragma unroll
        for (int j = 0; j < columns; j++) own[rows * j] = target::fma_rn(x.w, y[j].w, own[rows * j]);
    }
}

template <class Tile> TRINE_DEVICE void multiply_exactly(float (&sum)[Tile::N / 2], ring_place<Tile> &at, const schedule &s,
                                                         int steps, uint32_t rank, const lane_place &me)
{
    using Sums = exact_sums<Tile>;
    const int first = Sums::first_row(me);
    const uint32_t row = uint32_t(me.group * 64 + first) * wgmma::line_bytes,
                   column = uint32_t(Sums::first_column(me)) * wgmma::line_bytes, odd = Sums::rows < 8 ? first % 8 * 16 : 0;
#pragma unroll
    for (int i = 0; i < Tile::N / 2; i++) sum[i] = 0;
#pragma unroll 1
    for (int i = 0; i < steps; i++) {
        ptx::barrier_wait(at.full(), at.parity);
#pragma unroll 1
        for (int piece = 0; piece < 8; piece++)
            multiply_piece<Tile::N / 2 / Sums::rows, Sums>(sum, at.a() + row, at.b() + column, odd, piece, me.lane());
        me.meet();
        give_back<Tile>(s, at.empty(), rank, me);
        at.advance();
    }
}

/* The same where operands lie along their rows: a term of 16 rows is four loads for all lanes, that of 32 columns one. */
template <class Tile> TRINE_DEVICE void multiply_rows_exactly(float (&sum)[Tile::N / 2], ring_place<Tile> &at, const schedule &s,
                                                              int steps, uint32_t rank, const lane_place &me)
{
    constexpr int terms = 32, box = terms * wgmma::line_bytes, columns = Tile::N / 32, rows = lane_sums<1>::rows;
    const int first = me.group * 64 + me.warp() * rows, lane = me.lane();
#pragma unroll
    for (int i = 0; i < Tile::N / 2; i++) sum[i] = 0;
#pragma unroll 1
    for (int i = 0; i < steps; i++) {
        ptx::barrier_wait(at.full(), at.parity);
        const uint32_t a = at.a() + uint32_t(first / 32 * box), b = at.b() + uint32_t(lane % 4 * 4);
#pragma unroll 1
        for (int eight = 0; eight < terms * wgmma::line_bytes; eight += wgmma::pattern_bytes)
#pragma unroll
            for (int k = 0; k < 8; k++) {
                const uint32_t line = uint32_t(eight + k * wgmma::line_bytes);
                float x[rows], y[columns];
#pragma unroll
                for (int r = 0; r < rows; r += 4) {
                    const float4 v = ptx::load_shared(a + line + (((first % 32 + r) / 4 ^ k) << 4));
                    x[r] = v.x, x[r + 1] = v.y, x[r + 2] = v.z, x[r + 3] = v.w;
                }
#pragma unroll
                for (int j = 0; j < columns; j++) y[j] = ptx::load_shared_one(b + j * box + line + ((lane / 4 ^ k) << 4));
#pragma unroll
                for (int r = 0; r < rows; r++)
#pragma unroll
                    for (int j = 0; j < columns; j++) sum[rows * j + r] = target::fma_rn(x[r], y[j], sum[rows * j + r]);
            }
        me.meet();
        give_back<Tile>(s, at.empty(), rank, me);
        at.advance();
    }
}

} // namespace sm90

#endif
