/* True f32 on the sm90 convolution's ring: stages come as for the tensor cores, and are multiplied by ordinary multiply-adds.
 * A warp has 16 rows of the tile and a lane of it every 32nd column, so that a row's four terms are one load for all lanes and
 * a column's meet all banks. Bound by the rate of multiply-adds: of a tile of 256 columns 512 of them for 24 loads. */
#ifndef TRINE_CUDA_CONV_SM90_EXACT_H
#define TRINE_CUDA_CONV_SM90_EXACT_H

#include "backends/cuda/conv_sm90_sums.h"

namespace sm90 {

/* Four terms of all rows and columns; a, b: where the warp's first row and the lane's first column begin. */
template <int columns>
TRINE_DEVICE void multiply_piece(float (&sum)[lane_sums::rows * columns], uint32_t a, uint32_t b, int piece, int lane)
{
    float4 y[columns];
#pragma unroll
    for (int j = 0; j < columns; j++) y[j] = ptx::load_shared(b + j * (32 * wgmma::line_bytes) + ((piece ^ lane % 8) << 4));
#pragma unroll
    for (int r = 0; r < lane_sums::rows; r++) {
        const float4 x = ptx::load_shared(a + r * wgmma::line_bytes + ((piece ^ r % 8) << 4));
        float *own = sum + r;
#pragma unroll
        for (int j = 0; j < columns; j++) own[lane_sums::rows * j] = target::fma_rn(x.x, y[j].x, own[lane_sums::rows * j]);
#pragma unroll
        for (int j = 0; j < columns; j++) own[lane_sums::rows * j] = target::fma_rn(x.y, y[j].y, own[lane_sums::rows * j]);
#pragma unroll
        for (int j = 0; j < columns; j++) own[lane_sums::rows * j] = target::fma_rn(x.z, y[j].z, own[lane_sums::rows * j]);
#pragma unroll
        for (int j = 0; j < columns; j++) own[lane_sums::rows * j] = target::fma_rn(x.w, y[j].w, own[lane_sums::rows * j]);
    }
}

template <class Tile> TRINE_DEVICE void multiply_exactly(float (&sum)[Tile::N / 2], ring_place<Tile> &at, const schedule &s,
                                                         int steps, uint32_t rank, const lane_place &me)
{
    const uint32_t row = uint32_t(me.group * 64 + me.warp() * lane_sums::rows) * wgmma::line_bytes,
                   column = uint32_t(me.lane()) * wgmma::line_bytes;
#pragma unroll
    for (int i = 0; i < Tile::N / 2; i++) sum[i] = 0;
#pragma unroll 1
    for (int i = 0; i < steps; i++) {
        ptx::barrier_wait(at.full(), at.parity);
#pragma unroll(Tile::N == 128 ? 2 : 1)
        for (int piece = 0; piece < 8; piece++)
            multiply_piece<Tile::N / 32>(sum, at.a() + row, at.b() + column, piece, me.lane());
        me.meet();
        give_back<Tile>(s, at.empty(), rank, me);
        at.advance();
    }
}

/* The same where operands lie along their rows: a term of 16 rows is four loads for all lanes, that of 32 columns one. */
template <class Tile> TRINE_DEVICE void multiply_rows_exactly(float (&sum)[Tile::N / 2], ring_place<Tile> &at, const schedule &s,
                                                              int steps, uint32_t rank, const lane_place &me)
{
    constexpr int terms = 32, box = terms * wgmma::line_bytes, columns = Tile::N / 32, rows = lane_sums::rows;
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
