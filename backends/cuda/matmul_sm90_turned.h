/* The sm90 matmul's warpgroups for f32 where b lies along its columns, as a row-major b does. The tensor cores take tf32 from
 * shared memory along K alone; from registers they take their first operand however it lies. So the product is turned: b is the
 * first operand, each warp loads its 32 columns of it from shared memory into registers, and the sums are those of d transposed.
 *
 * A line of b's tile is one term of 32 columns, in eight pieces of four. Lane l reads piece l / 8 + l / 4 % 2 * 4 of the lines of
 * two terms, l % 4 and l % 4 + 4: eight neighbours meet all banks, and the four columns of a piece are the rows of two
 * instructions. The lane then has the sums of its four columns, 16 bytes of a row of d. */
#ifndef TRINE_CUDA_MATMUL_SM90_TURNED_H
#define TRINE_CUDA_MATMUL_SM90_TURNED_H

#include "backends/cuda/matmul_sm90_epilogue.h"

namespace sm90 {

template <class T, wgmma::axis B> constexpr bool is_turned = sizeof(T) == 4 && B == wgmma::along_rows;

/* A warpgroup has 128 columns of the tile; box_rows: of d, that a warp writes at a time. */
enum { turned_columns = 128, box_rows = 16, box_bytes = box_rows * wgmma::line_bytes };

/* sum[i][4 j + 2 h + e]: column 4 piece + 2 i + h of the warp's 32, row 8 j + 2 (lane % 4) + e of the tile. */
template <class Tile> using turned_sums = float[2][Tile::M / 2];

struct turned_lane {
    int piece, row; /* row: of each eight, the first of two */
    TRINE_DEVICE_METHOD explicit turned_lane(int lane) : piece(lane / 8 + lane / 4 % 2 * 4), row(lane % 4 * 2) {}
};

/* Where a warp's lane reads, from the beginning of the warp's block of 32 columns. */
struct turned_reader {
    uint32_t first, second;
    TRINE_DEVICE_METHOD explicit turned_reader(int lane)
    {
        const int piece = turned_lane(lane).piece, term = lane % 4;
        first = uint32_t(term * wgmma::line_bytes + (piece ^ term) * 16);
        second = uint32_t((term + 4) * wgmma::line_bytes + (piece ^ (term + 4)) * 16);
    }
    TRINE_DEVICE_METHOD void load(float (&x)[2][4], uint32_t block, int eight) const
    {
        const float4 v = ptx::load_shared(block + first + eight * wgmma::pattern_bytes),
                     w = ptx::load_shared(block + second + eight * wgmma::pattern_bytes);
        x[0][0] = v.x, x[0][1] = v.y, x[0][2] = w.x, x[0][3] = w.y;
        x[1][0] = v.z, x[1][1] = v.w, x[1][2] = w.z, x[1][3] = w.w;
    }
};

/* Groups of eight terms: while one is multiplied, the next one is loaded into the registers of the one before. */
template <class Tile> TRINE_DEVICE void multiply_turned(turned_sums<Tile> &sum, ring_place<Tile> &at, const schedule &s,
                                                        int steps, uint32_t rank, const lane_place &me)
{
    const turned_reader reader(me.lane());
    const uint32_t own = uint32_t((me.group * 4 + me.warp()) * wgmma::elements_of_line<float> * wgmma::line_bytes);
    const int to = receiver_of(s, rank, me);
    float x[2][2][4];
    uint32_t last = 0;
    wgmma::hold(sum[0]);
    wgmma::hold(sum[1]);
#pragma unroll 1
    for (int i = 0; i < steps; i++) {
        ptx::barrier_wait(at.full(), at.parity);
        const uint64_t a = wgmma::describe(at.a());
        const uint32_t b = at.b() + own;
#pragma unroll
        for (int k = 0; k < 4; k++) {
            reader.load(x[k % 2], b, k);
            wgmma::fence();
#pragma unroll
            for (int half = 0; half < 2; half++)
                wgmma::multiply_registers<Tile::M>::run(sum[half], x[k % 2][half], a + k * wgmma::next_terms<wgmma::along_k>,
                                                        i + k > 0);
            wgmma::commit();
            wgmma::wait<1>();
            wgmma::hold(x[(k + 1) % 2][0]);
            wgmma::hold(x[(k + 1) % 2][1]);
            if (k == 0 && i > 0) give_back(last, to);
        }
        last = at.empty();
        at.advance();
    }
    wgmma::wait<0>();
    wgmma::hold(sum[0]);
    wgmma::hold(sum[1]);
    give_back(last, to);
}

/* The sums of d's row 8 j + lane.row + e. */
template <int n> TRINE_DEVICE float4 turned_pack(const float (&sum)[2][n], int j, int e)
{
    return float4{sum[0][4 * j + e], sum[0][4 * j + 2 + e], sum[1][4 * j + e], sum[1][4 * j + 2 + e]};
}

/* 16 rows of a warp's columns, from row 16 i on, as lines of 128 bytes, swizzled. */
template <int n> TRINE_DEVICE void fill_turned_box(const float (&sum)[2][n], int i, uint32_t box, const turned_lane &mine)
{
#pragma unroll
    for (int j = 0; j < 2; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            const int line = 8 * j + mine.row + e;
            ptx::store_shared(box + line * wgmma::line_bytes + ((mine.piece ^ (line % 8)) << 4), turned_pack(sum, 2 * i + j, e));
        }
}

template <class Tile> TRINE_DEVICE void store_turned_by_tma(const turned_sums<Tile> &sum, const CUtensorMap *map,
                                                            const schedule &s, ptx::coordinates at, uint32_t staging, int lane)
{
    const turned_lane mine(lane);
    const int first = at.outer;
#pragma unroll
    for (int i = 0; i < Tile::M / box_rows; i++) {
        const uint32_t box = staging + i % Tile::boxes * box_bytes;
        if (lane == 0) ptx::wait_stores_read<Tile::boxes - 1>();
        __syncwarp();
        fill_turned_box(sum, i, box, mine);
        ptx::fence_async();
        __syncwarp();
        at.outer = first + i * box_rows;
        if (lane == 0) put_box(map, at, s, box);
    }
}

template <class Tile> TRINE_DEVICE void store_turned_finished(const turned_sums<Tile> &sum, const product<float> &p,
                                                              int64_t index, int row, int column, uint32_t staging, int lane)
{
    const product_offsets at = p.offsets(index);
    const turned_lane mine(lane);
#pragma unroll 1
    for (int i = 0; i < Tile::M / box_rows; i++) {
#pragma unroll
        for (int j = 0; j < Tile::M / box_rows; j++)
            if (i == j) fill_turned_box(sum, j, staging, mine);
        __syncwarp();
#pragma unroll 1
        for (int line = lane / 8; line < box_rows; line += 4)
            finish_four(ptx::load_shared(staging + line * wgmma::line_bytes + ((lane % 8 ^ line % 8) << 4)),
                        row + i * box_rows + line, column + lane % 8 * 4, p, at);
        __syncwarp();
    }
}

/* As keep_sums: the sums of a part of K, for store_cluster. */
template <class Tile> TRINE_DEVICE void keep_turned_sums(const turned_sums<Tile> &sum, uint32_t base, int column, int lane)
{
    const turned_lane mine(lane);
#pragma unroll
    for (int j = 0; j < Tile::M / 8; j++)
#pragma unroll
        for (int e = 0; e < 2; e++)
            ptx::store_shared(base + uint32_t((8 * j + mine.row + e) * Tile::sums_pitch + column + 4 * mine.piece) * 4,
                              turned_pack(sum, j, e));
}

template <class Tile> TRINE_DEVICE void consume_turned(const maps &m, const product<float> &p, const schedule &s, uint32_t base)
{
    /* found here, not held over the change of the number of registers, where there are too few */
    const unsigned units_apart = ptx::cluster_count(), rank = ptx::cluster_rank();
    static_assert(Tile::N == Tile::consumers * turned_columns && Tile::M % box_rows == 0, "a tile of whole warpgroups");
    static_assert(Tile::staging >= 4 * Tile::boxes * box_bytes, "every warp has its boxes");
    const lane_place me = {ptx::warp_index() / 4, int(threadIdx.x) % warpgroup};
    const uint32_t staging = base + Tile::at_staging + me.group * Tile::staging + me.warp() * (Tile::boxes * box_bytes);
    const int own = me.group * turned_columns + me.warp() * 32;
    ring_place<Tile> at(base);
    turned_sums<Tile> sum;
    for (unsigned unit = ptx::cluster_index(); unit < s.units; unit += units_apart) {
        const work w = work_of<Tile>(s, unit, rank);
        if (!s.by_tma) prefetch_addend<Tile>(p, w, int(threadIdx.x));
        multiply_turned<Tile>(sum, at, s, w.steps, rank, me);
        if (s.splits > 1) {
            ptx::meet(1, Tile::multipliers);
            keep_turned_sums<Tile>(sum, base, own, me.lane());
            ptx::cluster_barrier();
            store_cluster<Tile>(p, s, w, base, rank, int(threadIdx.x));
        } else if (s.by_tma) {
            ptx::coordinates to = {w.column + own, w.row, {0, 0, 0}};
            if (!s.single) batch_coordinates(p, TRINE_PRODUCT_D, batch_place(p, w.index), &to);
            store_turned_by_tma<Tile>(sum, &m.d, s, to, staging, me.lane());
        } else {
            store_turned_finished<Tile>(sum, p, w.index, w.row, w.column + own, staging, me.lane());
        }
    }
    if (me.lane() == 0) ptx::wait_stores_read<0>();
}

} // namespace sm90

#endif
