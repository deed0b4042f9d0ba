/* Scans of few long rows on Hopper. Bound by bytes: one read and one write an element.
 *
 * A block stays. Its rows' tiles come by bulk copies into a ring in shared memory that is far longer than the memory's latency, and
 * each goes through four hands that never wait for each other's next tile:
 * - one lane takes a ticket, the next tile of all, and starts its copy;
 * - a warp adds it up, each of summing_warps a tile in turn: the tile's total is published for all blocks, the sums of its segments
 *   stay here;
 * - one warp looks back for what precedes it: it reads the totals of all tiles before, a word each, a group at a time, and adds up
 *   what precedes the group as it goes. Each block does that for itself, in the same order, so that there is one hop of words
 *   from a tile to all that follow it, and the bits are the same every time;
 * - scanning_warps have a segment each: they scan it and store it from registers.
 * At a barrier every lane arrives for itself: that order racecheck can follow.
 * The time from a tile's coming to its prefix (1 to 3 us) is a few tiles of the ring.
 *
 * Blocks take tiles by ticket and add them up in that order without waiting for anything but their own ring, so all that a tile waits
 * for comes about however few blocks run at once.
 *
 * Sources: Merrill & Garland, Single-pass Parallel Prefix Scan with Decoupled Look-back (2016); PTX ISA, "cp.async.bulk", "mbarrier". */
#ifndef TRINE_CUDA_SCAN_SM90_ROWS_H
#define TRINE_CUDA_SCAN_SM90_ROWS_H

#include "backends/cuda/tile_ring_sm90.h"
#include "backends/simt/scan_look_back.h"
#include "backends/simt/walk.h"
#include "core/scan_shape.h"

namespace scan_sm90 {

using simt::scan_order;

enum {
    summing_warps = 3,
    scanning_warps = 8,
    packs = 8, /* of a lane in a segment */
    segment = 32 * packs,
    tile = scanning_warps * segment, /* packs of 16 bytes */
    tile_bytes = 16 * tile,
    stages = 6,
    row_threads = 32 * (2 + summing_warps + scanning_warps),
    group_notes = 4, /* of a lane that looks back */
    group = 32 * group_notes
};
static_assert(stages % summing_warps == 0, "each has stages of its own");

/* What goes with a tile. */
template <class A> struct row_notes {
    int64_t row, tile;        /* row -1: there are no more */
    A carried;                /* what precedes the tile, */
    A before[scanning_warps]; /* and each segment in the tile */
};
template <class A> using row_memory = tile_ring::memory<row_notes<A>, stages, tile_bytes>;
template <class A> using row_place = tile_ring::place<row_memory<A>>;

/* The rows. A tile has its place in memory in a stage, whichever way it is walked; what lies outside of the row is neutral there. */
template <class T> struct rows_of {
    simt::walk<2, simt::divider_any> rows;
    int64_t count, tiles; /* of a row */
    scan_order order;

    static constexpr int V = 16 / int(sizeof(T));
    /* Where a tile begins in memory, in packs of the row: in the last tile of a row that is walked from its end, before the row. */
    TRINE_DEVICE_METHOD int64_t begin(int64_t tile_at) const
    {
        return order.reverse ? order.packs - (tile_at + 1) * tile : tile_at * tile;
    }
};

/* Starts the copies of tiles, by a warp, and fills up those that the row ends in. */
template <class Op, class T>
TRINE_DEVICE void load_tiles(const rows_of<T> &p, const T *x, uint32_t *tickets, row_place<typename Op::value> at)
{
    constexpr int V = p.V;
    const int64_t all = p.count * p.tiles;
    const int lane = threadIdx.x % 32;
    int64_t taken = tile_ring::take(tickets, all);
    for (int ends = 0; ends < summing_warps; at.next()) { /* each summing warp is told the end */
        at.wait_empty();
        if (taken == all) {
            ends++;
            if (lane == 0) at.notes().row = -1;
            mma_sync::barrier_arrive(at.full());
            continue;
        }
        const int64_t row = taken / p.tiles, tile_at = taken - row * p.tiles, begin = p.begin(tile_at);
        int64_t offset[2];
        p.rows.offsets(row, offset);
        const T *const from = x + offset[SCAN_X] + begin * V;
        const int first = begin < 0 ? int(-begin) : 0; /* packs that are there whole */
        const int64_t left = p.order.n / V - begin;
        const int last = left < tile ? int(left) : int(tile);
        if (last - first < tile) {
            const int64_t end = p.order.n - begin * V;
            for (int j = lane; j < tile; j += 32) {
                if (j >= first && j < last) continue;
                simt::pack<T, V> fill;
                for (int i = 0; i < V; i++)
                    fill.at[i] = j >= first && j * V + i < end ? from[j * V + i] : simt::scan_element<T>(Op::neutral());
                reinterpret_cast<simt::pack<T, V> *>(at.data())[j] = fill;
            }
            ptx::fence_async(); /* the stage's next copy is written after this */
        }
        if (lane == 0) {
            const uint32_t bytes = last > first ? 16 * (last - first) : 0;
            at.notes().row = row;
            at.notes().tile = tile_at;
            ptx::barrier_expect(at.full(), bytes);
            if (bytes) tile_ring::copy_bulk(at.data() + 16 * first, from + first * V, bytes, at.full());
        } else {
            mma_sync::barrier_arrive(at.full());
        }
        taken = tile_ring::take(tickets, all);
    }
}

/* Adds tiles up, by a warp. */
template <class Op, class T, class A = typename Op::value>
TRINE_DEVICE void sum_tiles(const rows_of<T> &p, simt::scan_note<A> *published, int warp, row_place<A> at)
{
    const int lane = threadIdx.x % 32;
    for (at.next(warp);; at.next(summing_warps)) {
        at.wait_full();
        auto &notes = at.notes();
        if (notes.row < 0) return;
        A sum[scanning_warps], before = Op::neutral(), mine = before;
#pragma unroll
        for (int s = 0; s < scanning_warps; s++) sum[s] = Op::neutral();
#pragma unroll 2
        for (int u = 0; u < packs; u++)
#pragma unroll
            for (int s = 0; s < scanning_warps; s++)
                sum[s] = Op::both(
                    sum[s], simt::scan_tile<Op, T, p.V, packs>::sum_of(at.template pack_at<T>(s * segment + u * 32 + lane)));
#pragma unroll
        for (int mask = 16; mask > 0; mask /= 2)
#pragma unroll
            for (int s = 0; s < scanning_warps; s++) sum[s] = Op::both(sum[s], target::shuffle_xor(sum[s], mask));
#pragma unroll
        for (int s = 0; s < scanning_warps; s++) { /* segments in the order of the walk */
            const int at_s = p.order.reverse ? scanning_warps - 1 - s : s;
            mine = lane == at_s ? before : mine;
            before = Op::both(before, p.order.reverse ? sum[scanning_warps - 1 - s] : sum[s]);
        }
        if (lane == 0) simt::scan_note<A>::of(simt::SCAN_TOTAL, before).publish(published + notes.row * p.tiles + notes.tile);
        if (lane < scanning_warps) notes.before[lane] = mine;
        mma_sync::barrier_arrive(at.ready());
    }
}

/* What precedes a tile, for tiles that follow each other: by a warp. It keeps what the tiles of two groups have published, so that
 * words of both are on their way at once: blocks as many as a group's tiles come to the next group with nearly every tile. */
template <class Op> struct look_back {
    using A = typename Op::value;
    using note = simt::scan_note<A>;
    note seen[2][group_notes]; /* a lane's of group `at` and of the next, as far as they are known */
    A before;                  /* of all groups before it */
    int64_t row = -1, at;

    TRINE_DEVICE_METHOD void forget(int k)
    {
#pragma unroll
        for (int i = 0; i < group_notes; i++) seen[k][i] = note::nothing();
    }
    /* Asks for what is not known of the first `count` tiles of group at + k. */
    TRINE_DEVICE_METHOD void ask(int k, const note *published, int count)
    {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int i = 0; i < group_notes; i++)
            if (i * 32 + lane < count && seen[k][i].state() == 0)
                seen[k][i] = note::load(published + (at + k) * group + i * 32 + lane);
    }
    /* Of the first `count` tiles of group `at`, once they are known; asks for some of the next one meanwhile. */
    TRINE_DEVICE_METHOD A sum_of(const note *published, int count, int of_next)
    {
        const int lane = threadIdx.x % 32;
        bool missing;
        do {
            ask(0, published, count);
            ask(1, published, of_next);
            missing = false;
#pragma unroll
            for (int i = 0; i < group_notes; i++) missing |= i * 32 + lane < count && seen[0][i].state() == 0;
        } while (target::ballot(missing));
        A sum = Op::neutral();
#pragma unroll
        for (int i = 0; i < group_notes; i++)
            if (i * 32 + lane < count) sum = Op::both(sum, seen[0][i].value());
#pragma unroll
        for (int mask = 16; mask > 0; mask /= 2) sum = Op::both(sum, target::shuffle_xor(sum, mask));
        return sum;
    }
    /* published: of the row's tiles. */
    TRINE_DEVICE_METHOD A of(const note *published, int64_t of_row, int64_t tile_at)
    {
        if (of_row != row) {
            row = of_row, at = 0, before = Op::neutral();
            forget(0);
            forget(1);
        }
        const int64_t group_at = tile_at / group;
        const int rank = int(tile_at % group);
        for (; at < group_at; at++) {
            before = Op::both(before, sum_of(published, group, at + 1 < group_at ? int(group) : rank));
#pragma unroll
            for (int i = 0; i < group_notes; i++) seen[0][i] = seen[1][i];
            forget(1);
        }
        return Op::both(before, sum_of(published, rank, 0));
    }
};

template <class Op, class T, class A = typename Op::value>
TRINE_DEVICE void carry_tiles(const rows_of<T> &p, const simt::scan_note<A> *published, row_place<A> at)
{
    look_back<Op> back;
    for (;; at.next()) {
        at.wait_full();
        auto &notes = at.notes();
        if (notes.row < 0) return;
        const A carried = back.of(published + notes.row * p.tiles, notes.row, notes.tile);
        if (threadIdx.x % 32 == 0) notes.carried = carried;
        mma_sync::barrier_arrive(at.ready());
    }
}

/* Scans the tiles' segment number `warp` in memory. */
template <class Op, class T, class A = typename Op::value>
TRINE_DEVICE void scan_segments(const rows_of<T> &p, T *y, int warp, row_place<A> at)
{
    const int lane = threadIdx.x % 32, walked = p.order.reverse ? scanning_warps - 1 - warp : warp;
    int64_t row = -1, offset[2];
    for (;; at.next()) {
        at.wait_full();
        const auto &notes = at.notes();
        if (notes.row < 0) return;
        const int64_t first = notes.tile * tile + walked * segment + lane;
        const bool whole =
            first - lane + segment <= p.order.n / p.V && (!p.order.reverse || notes.tile > 0 || p.order.n % p.V == 0);
        if (notes.row != row) {
            row = notes.row;
            p.rows.offsets(row, offset);
        }
        simt::scan_tile<Op, T, p.V, packs> part;
#pragma unroll
        for (int u = 0; u < packs; u++) {
            const int j = walked * segment + u * 32 + lane;
            part.in.set(u, at.template pack_at<T>(p.order.reverse ? tile - 1 - j : j));
        }
        if (p.order.reverse) part.reverse();
        part.gather(32, nullptr);
        at.wait_ready();
        const A carried = Op::both(notes.carried, notes.before[warp]);
        mma_sync::barrier_arrive(at.empty());
        if (whole)
            part.template store<true>(y + offset[SCAN_Y], p.order, first, 32, carried);
        else
            part.store(y + offset[SCAN_Y], p.order, first, 32, carried);
    }
}

/* words: the ticket, then for every row the notes of its tiles. */
template <class Op, class T> __global__ void __launch_bounds__(row_threads)
    rows_kernel(const __grid_constant__ rows_of<T> p, T *y, const T *x, uint64_t *words)
{
    using A = typename Op::value;
    const row_place<A> at(tile_ring::make<row_memory<A>>(32, 2 * 32, scanning_warps * 32));
    auto *const published = reinterpret_cast<simt::scan_note<A> *>(words + 1);
    const int warp = ptx::warp_index();
    if (warp == 0)
        load_tiles<Op>(p, x, reinterpret_cast<uint32_t *>(words), at);
    else if (warp == 1)
        carry_tiles<Op>(p, published, at);
    else if (warp < 2 + summing_warps)
        sum_tiles<Op>(p, published, warp - 2, at);
    else
        scan_segments<Op>(p, y, warp - 2 - summing_warps, at);
}

} // namespace scan_sm90

#endif
