/* The sm90 matmul's epilogues: from a warpgroup's sums in registers to d. Four ways:
 *
 *   kept_tile      d is the sum in 16 bits: rounded at once, turned into swizzled boxes in shared memory and written by TMA while
 *                  the next tile is multiplied
 *   store_by_tma   d is the sum, or (f32) the sum is added to it: the same at once
 *   store_finished everything else (alpha, c, bias, activation, a d that TMA can't write), through shared memory as f32, so that
 *                  c and d are met in whole lines
 *   store_cluster  sums that are divided among the blocks of a cluster: each block adds up a part of the tile, in the order of K
 */
#ifndef TRINE_CUDA_MATMUL_SM90_EPILOGUE_H
#define TRINE_CUDA_MATMUL_SM90_EPILOGUE_H

#include "backends/cuda/matmul_finish.h"
#include "backends/cuda/matmul_sm90_tile.h"

namespace sm90 {

using simt::finish_four;

/* A thread among its warpgroup's. */
struct lane_place {
    int group, thread; /* warpgroup of the block, thread of the warpgroup */
    TRINE_DEVICE_METHOD int warp() const { return thread / 32; }
    TRINE_DEVICE_METHOD int lane() const { return thread % 32; }
    /* The first of this thread's two rows of sums, and its first column of each eight. */
    TRINE_DEVICE_METHOD int row() const { return warp() * 16 + lane() / 4; }
    TRINE_DEVICE_METHOD int column() const { return lane() % 4 * 2; }
    TRINE_DEVICE_METHOD void meet() const { ptx::meet(1 + group, warpgroup); }
};

/* A stage may be loaded again when every warpgroup that it was loaded for has read it: a thread of each tells one of the blocks that
 * load parts of it, which are those of the block's row and column in the cluster. The block that this thread tells, -1: none. */
TRINE_DEVICE int receiver_of(const schedule &s, uint32_t rank, const lane_place &me)
{
    const int share = s.share;
    if (me.thread >= share + s.share_a - 1) return -1;
    if (share * s.share_a == 1) return int(rank);
    const int place = int(s.place_of(rank)), part = int(rank) - place;
    const int i = place & (share - 1), first = place - i, other = (me.thread - share) * share + i;
    return part + (me.thread < share ? first + me.thread : other < first ? other : other + share);
}
TRINE_DEVICE void give_back(uint32_t empty, int receiver)
{
    if (receiver >= 0) ptx::barrier_arrive(empty, uint32_t(receiver));
}
/* Where b alone is shared. */
template <class Tile> TRINE_DEVICE void give_back(const schedule &s, uint32_t empty, uint32_t rank, const lane_place &me)
{
    give_back(empty, me.thread >= s.share ? -1 : s.share > 1 ? me.thread : int(rank));
}

TRINE_DEVICE uint32_t pack_pair(simt::f16, float low, float high)
{
    uint32_t y;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}
TRINE_DEVICE uint32_t pack_pair(simt::bf16, float low, float high)
{
    uint32_t y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}

/* A box of 64 lines of 128 bytes: 64 columns of 16 bits. `pair`: the box's sums, rounded. */
TRINE_DEVICE void fill_box_pairs(const uint32_t *pair, uint32_t box, const lane_place &me)
{
    const int line = me.warp() * 16 + me.lane() % 16;
#pragma unroll
    for (int j = 0; j < 8; j += 2) {
        const int piece = (j + me.lane() / 16) ^ (line % 8);
        ptx::store_matrices(box + line * wgmma::line_bytes + piece * 16, pair[2 * j], pair[2 * j + 1], pair[2 * j + 2],
                            pair[2 * j + 3]);
    }
}
template <class T> TRINE_DEVICE void fill_box(const float *d, uint32_t box, const lane_place &me, T)
{
    uint32_t pair[16];
#pragma unroll
    for (int i = 0; i < 16; i++) pair[i] = pack_pair(T{}, d[2 * i], d[2 * i + 1]);
    fill_box_pairs(pair, box, me);
}
/* 32 columns of f32. */
TRINE_DEVICE void fill_box(const float *d, uint32_t box, const lane_place &me, float)
{
#pragma unroll
    for (int j = 0; j < 4; j++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int line = me.row() + 8 * half, byte = (8 * j + me.column()) * 4, piece = byte / 16 ^ (line % 8);
            ptx::store_shared(box + line * wgmma::line_bytes + piece * 16 + byte % 16, d[4 * j + 2 * half],
                              d[4 * j + 2 * half + 1]);
        }
}

/* A box of sums to d, or added to it. */
TRINE_DEVICE void put_box(const CUtensorMap *map, const ptx::coordinates &at, const schedule &s, uint32_t from)
{
    if (s.adds)
        ptx::add_box(map, at, s.single, from);
    else
        ptx::store_box(map, at, s.single, from);
}

/* Sums of 64 rows in boxes of 8 KB, as many columns as lines of 128 bytes have elements: fill(sums, box) writes them to shared
 * memory, put(column, box) has TMA bring them to d, by one thread. */
template <class Tile, class D, class Fill, class Put> TRINE_DEVICE void
store_boxes(const float (&sum)[Tile::N / 2], uint32_t staging, const lane_place &me, const Fill &fill, const Put &put)
{
    constexpr int columns = wgmma::line_bytes / int(sizeof(D));
#pragma unroll
    for (int i = 0; i < Tile::N / columns; i++) {
        const uint32_t box = staging + i % Tile::boxes * wgmma::block_bytes;
        if (me.thread == 0) ptx::wait_stores_read<Tile::boxes - 1>();
        me.meet();
        fill(sum + i * columns / 2, box);
        ptx::fence_async();
        me.meet();
        if (me.thread == 0) put(i * columns, box);
    }
}

template <class Tile, class D> TRINE_DEVICE void store_by_tma(const float (&sum)[Tile::N / 2], const CUtensorMap *map,
                                                              const schedule &s, ptx::coordinates at, uint32_t staging,
                                                              const lane_place &me, D type)
{
    const int first = at.inner;
    store_boxes<Tile, D>(
        sum, staging, me, [&](const float *own, uint32_t box) { fill_box(own, box, me, type); },
        [&](int column, uint32_t box) {
            at.inner = first + column;
            put_box(map, at, s, box);
        });
}

/* For what multiplies a tile: nothing is done beside the multiplications. */
struct nothing_beside {
    TRINE_DEVICE_METHOD void operator()(int) const {}
};

/* A tile's sums in 16 bits, which wait in registers: they are stored box by box while the tensor cores have the next tile. */
template <class Tile> struct kept_tile {
    enum { columns = 64, boxes = Tile::N / columns };
    uint32_t pair[Tile::N / 4];
    ptx::coordinates at;
    int next = boxes;  /* the first box that is not stored */
    const bool stores; /* this thread starts the stores; all in uniform registers (ptx::warp_index) */

    TRINE_DEVICE_METHOD kept_tile() : stores(ptx::warp_index() % 4 == 0 && ptx::elected()) {}

    template <class T> TRINE_DEVICE_METHOD void keep(const float (&sum)[Tile::N / 2], const ptx::coordinates &to, T type)
    {
#pragma unroll
        for (int i = 0; i < Tile::N / 4; i++) pair[i] = pack_pair(type, sum[2 * i], sum[2 * i + 1]);
        at = to;
        next = 0;
    }
    /* Box i, if it is the next one. */
    TRINE_DEVICE_METHOD void store(int i, const CUtensorMap *map, const schedule &s, uint32_t staging, const lane_place &me)
    {
        if (i != next || next == boxes) return;
        const uint32_t box = staging + i % Tile::boxes * wgmma::block_bytes;
        if (stores) ptx::wait_stores_read<Tile::boxes - 1>();
        me.meet();
#pragma unroll
        for (int j = 0; j < boxes; j++) /* registers have no index */
            if (i == j) fill_box_pairs(pair + j * 16, box, me);
        ptx::fence_async();
        me.meet();
        if (stores) ptx::store_box(map, at, s.single, box);
        at.inner += columns;
        next++;
    }
    TRINE_DEVICE_METHOD void store_rest(const CUtensorMap *map, const schedule &s, uint32_t staging, const lane_place &me)
    {
#pragma unroll 1
        while (next < boxes) store(next, map, s, staging, me);
    }
};
/* 32 columns of sums, from column 32 i on, to 64 rows of `pitch` floats. */
template <int n> TRINE_DEVICE void stage_sums(const float (&sum)[n], int i, uint32_t to, int pitch, const lane_place &me)
{
#pragma unroll
    for (int j = 0; j < 4; j++)
#pragma unroll
        for (int half = 0; half < 2; half++)
            ptx::store_shared(to + ((me.row() + 8 * half) * pitch + 8 * j + me.column()) * 4, sum[16 * i + 4 * j + 2 * half],
                              sum[16 * i + 4 * j + 2 * half + 1]);
}

template <class Tile, class P> TRINE_DEVICE void store_finished(const float (&sum)[Tile::N / 2], const P &p, const work &w,
                                                                uint32_t staging, const lane_place &me)
{
    const product_offsets at = p.offsets(w.index);
    const int first_row = w.row + me.group * 64;
    /* a loop that is not unrolled, for epilogues are long; the sums it takes are chosen by conditions, for registers have no
     * index */
#pragma unroll 1
    for (int i = 0; i < Tile::N / 32; i++) {
#pragma unroll
        for (int j = 0; j < Tile::N / 32; j++)
            if (i == j) stage_sums(sum, j, staging, Tile::staging_pitch, me);
        me.meet();
#pragma unroll 1
        for (int line = me.thread / 8; line < 64; line += warpgroup / 8) {
            const int column = me.thread % 8 * 4;
            finish_four(ptx::load_shared(staging + (line * Tile::staging_pitch + column) * 4), first_row + line,
                        w.column + 32 * i + column, p, at);
        }
        me.meet();
    }
}

/* Asks for the tile's part of c before the sums are made: the epilogue would wait for memory line by line. */
template <class Tile, class P> TRINE_DEVICE void prefetch_addend(const P &p, const work &w, int thread)
{
    enum { line = 128 };
    if (!p.out.c || p.out.c_n != 1) return;
    const int bytes = p.out.c_wide ? 4 : 2, columns = line / bytes, lines = Tile::N / columns;
    const char *c = static_cast<const char *>(p.out.c) + p.offsets(w.index).c * bytes;
#pragma unroll 1
    for (int i = thread; i < Tile::M * lines; i += Tile::multipliers) {
        const int64_t row = w.row + i / lines, column = w.column + i % lines * columns;
        if (row < p.m && column < p.n) target::prefetch(c + (row * p.out.c_m + column) * bytes);
    }
}

/* The block's sums to the memory that the ring had: all stages have been read. */
template <class Tile> TRINE_DEVICE void keep_sums(const float (&sum)[Tile::N / 2], uint32_t base, const lane_place &me)
{
#pragma unroll
    for (int j = 0; j < Tile::N / 32; j++)
        stage_sums(sum, j, base + (me.group * 64 * Tile::sums_pitch + 32 * j) * 4, Tile::sums_pitch, me);
}

/* Four sums, of all parts of K in order. */
TRINE_DEVICE float4 add_parts(const schedule &s, uint32_t from, uint32_t rank)
{
    constexpr int most = 8;
    float4 part[most], all = {0, 0, 0, 0};
#pragma unroll
    for (int k = 0; k < most; k++)
        if (k < s.splits) part[k] = ptx::cluster_load(from, (k << s.neighbours_log) + s.place_of(rank));
#pragma unroll
    for (int k = 0; k < most; k++)
        if (k < s.splits) {
            all.x += part[k].x;
            all.y += part[k].y;
            all.z += part[k].z;
            all.w += part[k].w;
        }
    return all;
}

/* After the cluster's barrier: f(row of the tile, column, sums) for this block's part of the tile. */
template <class Tile, class F>
TRINE_DEVICE void each_cluster_pack(const schedule &s, int rows, uint32_t base, uint32_t rank, int thread, const F &f)
{
    constexpr int packs = Tile::N / 4;
#pragma unroll 1
    for (int i = int(s.part_of(rank)) * Tile::multipliers + thread; i < rows * packs; i += s.splits * Tile::multipliers) {
        const int row = i / packs, column = i % packs * 4;
        f(row, column, add_parts(s, base + (row * Tile::sums_pitch + column) * 4, rank));
    }
}

/* What is plainly the sum has a loop of its own: the way through everything else is long, and a block meets it once, when its
 * instructions have to come from memory. */
template <class Tile, class P>
TRINE_DEVICE void store_cluster(const P &p, const schedule &s, const work &w, uint32_t base, uint32_t rank, int thread)
{
    const product_offsets at = p.offsets(w.index);
    const int rows = p.m - w.row < Tile::M ? int(p.m - w.row) : Tile::M; /* the others hold nothing */
    if (s.by_tma && p.out.plain())                                       /* TMA could write it, so its rows have whole packs */
        each_cluster_pack<Tile>(s, rows, base, rank, thread, [&](int row, int column, const float4 &all) {
            if (w.column + column < p.n)
                p.out.put(simt::pack<float, 4>{{all.x, all.y, all.z, all.w}}, w.row + row, w.column + column, at);
        });
    else
        each_cluster_pack<Tile>(s, rows, base, rank, thread, [&](int row, int column, const float4 &all) {
            finish_four(all, w.row + row, w.column + column, p, at);
        });
}

} // namespace sm90

#endif
