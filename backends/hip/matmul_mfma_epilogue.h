/* The matrix-unit matmul's epilogue: from a wave's sums in registers to d, or to the parts of a split, through LDS, so that c and
 * d are met in whole lines. A wave has an area of its own there, so no wave waits for another. */
#ifndef TRINE_HIP_MATMUL_MFMA_EPILOGUE_H
#define TRINE_HIP_MATMUL_MFMA_EPILOGUE_H

#include "backends/hip/matmul_mfma_tile.h"

namespace mfma {

/* Orders the wave's own LDS accesses; the hardware does so anyway. */
TRINE_DEVICE void wave_fence()
{
    __builtin_amdgcn_fence(__ATOMIC_ACQ_REL, "wavefront", "local");
    __builtin_amdgcn_wave_barrier();
}

/* By one instruction; the compiler would read one by one what it stores one by one. */
TRINE_DEVICE simt::pack<float, 4> read_four(const float *at)
{
    return __builtin_bit_cast(simt::pack<float, 4>, mma::derive_again(*reinterpret_cast<const mma::vector16 *>(at)));
}

/* Four neighbouring sums to where they belong, as far as the product has them. */
template <class E> TRINE_DEVICE void store_four(const simt::pack<float, 4> &sums, int64_t row, int64_t column,
                                                const product<E> &p, const simt::split_sink &sink, const simt::split_place &part,
                                                const product_offsets &at)
{
    if (row >= p.m || column >= p.n) return;
    if (!sink.parts) {
        simt::store_four(sums, row, column, p, at);
    } else if (sink.packs) {
        sink.store(sums, p, part, row, column);
    } else {
#pragma unroll
        for (int j = 0; j < 4; j++)
            if (column + j < p.n) sink.store(simt::pack<float, 1>{{sums.at[j]}}, p, part, row, column + j);
    }
}

/* A block's sums through shared memory to put(four, row, column): four of a row, places counted within the tile. */
template <class Unit, class Tile, class Sums, class Put> TRINE_DEVICE void
put_sums(const Sums (&sum)[Tile::rows][Tile::columns], unsigned char *shared, int wave, int lane, const Put &put)
{
    constexpr int columns = Tile::columns * 16, pitch = Unit::template pitch<columns>, lanes = columns / 4,
                  lines = mma::wave / lanes;
    static_assert(Tile::waves * 16 * pitch * 4 <= Tile::shared, "room for every wave");
    float *area = reinterpret_cast<float *>(shared) + wave * 16 * pitch;
    const int row = wave / Tile::wave_columns * (Tile::rows * 16) + lane / lanes,
              column = wave % Tile::wave_columns * columns + lane % lanes * 4;
    /* a loop that is not unrolled, for epilogues are long; registers have no index, hence the conditions */
#pragma unroll 1
    for (int i = 0; i < Tile::rows; i++) {
#pragma unroll
        for (int r = 0; r < Tile::rows; r++)
            if (i == r)
#pragma unroll
                for (int c = 0; c < Tile::columns; c++) Unit::store(area + c * 16, pitch, sum[r][c], lane);
        wave_fence();
#pragma unroll 1
        for (int line = 0; line < 16; line += lines)
            put(read_four(area + (line + lane / lanes) * pitch + lane % lanes * 4), row + i * 16 + line, column);
        wave_fence();
    }
}

template <class Unit, class Tile, class Sums, class E>
TRINE_DEVICE void store_sums(const Sums (&sum)[Tile::rows][Tile::columns], unsigned char *shared, const product<E> &p,
                             const simt::split_sink &sink, const work &w, int wave, int lane)
{
    const product_offsets at = p.offsets(w.part.index);
    put_sums<Unit, Tile>(sum, shared, wave, lane, [&](const simt::pack<float, 4> &four, int row, int column) {
        store_four(four, w.row + row, w.column + column, p, sink, w.part, at);
    });
}

} // namespace mfma

#endif
