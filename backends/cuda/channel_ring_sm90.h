/* Normalisation by channel or group of planes (NCHW), or by very long rows, on Hopper, by the ring of tile_ring_sm90.h: one read and
 * one write an element, however large a set is, as long as its tiles fit the multiprocessors' shared memory all together.
 *
 * A set is what has statistics of its own: a channel, of which every image has a plane; a group of a sample (groupnorm), of which every
 * channel has one; or a row. A tile has several planes of a set, or a piece of one. Its hands:
 * - a lane starts the copies;
 * - summing_warps, a stage each, leave the tile's partial where all blocks see it; who comes last of a set merges its partials in
 *   their order and leaves the total; all wait for that and make the set's map (channel_ops.h);
 * - mapping_warps map the tile's elements and store them.
 *
 * Blocks wait for each other's tiles, so all run at once: a cooperative launch. Block b has the tiles b, b + blocks, ..: those of a
 * set are spread over all of them, and their rings hold them all. */
#ifndef TRINE_CUDA_CHANNEL_RING_SM90_H
#define TRINE_CUDA_CHANNEL_RING_SM90_H

#include "backends/cuda/channel_ring_ops_sm90.h"
#include "backends/cuda/tile_ring_sm90.h"
#include "backends/simt/block.h"

namespace channel_ring {

enum {
    stages = 7,
    summing_warps = stages,
    mapping_warps = 8,
    threads = 32 * (1 + summing_warps + mapping_warps),
    tile_bytes = 32 << 10 /* of all inputs */
};

/* Where what lies, in packs of 16 bytes or elements. */
struct plan {
    int64_t sets, n;          /* elements of a set */
    int32_t planes, pieces;   /* chunks of a set: planes, or of each plane so many pieces */
    int32_t packs, all_packs; /* of a chunk; of a plane */
    int32_t of_tile, tiles;   /* chunks; of a set */
    int32_t shift;            /* 2^shift lanes add up a chunk, where each has sums of its own */
    bool dense;               /* a tile's chunks lie one after the other: one copy brings them all */
    simt::divider32 by_packs, by_tiles, by_pieces;
    int64_t set_step[simt::channel_operands], plane_step[simt::channel_operands]; /* of the output and the inputs */
};

/* A tile's place: its first chunk's plane and piece, its chunks, and the packs of each. */
struct place {
    int64_t set;
    int32_t part, plane, piece, chunks, packs;
    TRINE_DEVICE_METHOD place(const plan &p, int64_t tile)
        : set(p.by_tiles.divide(tile)), part(int32_t(tile - set * p.tiles)), plane(part * p.of_tile), piece(0),
          chunks(p.planes - plane < p.of_tile ? p.planes - plane : p.of_tile), packs(p.packs)
    {
        if (p.pieces == 1) return;
        plane = int32_t(p.by_pieces.divide(part));
        piece = part - plane * p.pieces;
        chunks = 1;
        if (p.all_packs - piece * p.packs < packs) packs = p.all_packs - piece * p.packs;
    }
    /* Of operand k, of the tile's chunk number `chunk`. */
    template <int V> TRINE_DEVICE_METHOD int64_t offset(const plan &p, int k, int chunk) const
    {
        return set * p.set_step[k] + (plane + chunk) * p.plane_step[k] + int64_t(piece) * p.packs * V;
    }
};

using memory = tile_ring::memory<simt::channel_affine, stages, tile_bytes>;
using ring = tile_ring::place<memory>;

/* ---- The hands ---- */

/* By one lane. Input k of a tile begins at k * tile_bytes / inputs. */
template <class Op> TRINE_DEVICE void load_tiles(const Op &op, const plan &p, ring at)
{
    constexpr int I = Op::inputs, V = 16 / int(sizeof(typename Op::element));
    const int64_t all = p.sets * p.tiles;
    for (int64_t tile = blockIdx.x; tile < all; tile += gridDim.x, at.next()) {
        at.wait_empty();
        const place here(p, tile);
        const int copies = p.dense ? 1 : here.chunks, packs = p.dense ? here.chunks * here.packs : here.packs;
        ptx::barrier_expect(at.full(), I * copies * packs * 16);
        for (int c = 0; c < copies; c++)
#pragma unroll
            for (int k = 0; k < I; k++)
                tile_ring::copy_bulk(at.data() + k * (tile_bytes / I) + c * packs * 16,
                                     op.in[k] + here.template offset<V>(p, 1 + k, c), packs * 16, at.full());
    }
}

template <class T, int I> TRINE_DEVICE simt::channel_words<T, 16 / int(sizeof(T))> words_at(const ring &at, int k, int i)
{
    const int4 w = ptx::load_shared_words(ptx::shared_address(at.data()) + k * (tile_bytes / I) + 16 * i);
    return {{uint32_t(w.x), uint32_t(w.y), uint32_t(w.z), uint32_t(w.w)}};
}

/* Over 2^shift neighbouring lanes; the same in all of them. */
TRINE_DEVICE float lanes_sum(float x, int shift)
{
    for (int i = 0; i < shift; i++) x += target::shuffle_xor(x, 1 << i);
    return x;
}

/* The sums of packs, by 2^shift lanes, about one value; the same in all of these. */
template <class Op> TRINE_DEVICE void sum_packs(float (&all)[2], float about, int first, int end, int shift, const ring &at)
{
    using T = typename Op::element;
    constexpr int I = Op::inputs, V = 16 / int(sizeof(T)), chains = 4; /* of additions that wait for each other */
    float sum[chains][2] = {};
#pragma unroll 4
    for (int i = first + int(threadIdx.x & ((1 << shift) - 1)); i < end; i += 1 << shift) {
        simt::channel_words<T, V> x[I];
#pragma unroll
        for (int k = 0; k < I; k++) x[k] = words_at<T, I>(at, k, i);
#pragma unroll
        for (int j = 0; j < V; j++) {
            float one[I];
            for (int k = 0; k < I; k++) one[k] = x[k].value(j);
            Op::add(sum[j % chains], one, about);
        }
    }
    for (int i = 0; i < 2; i++) all[i] = lanes_sum((sum[0][i] + sum[1][i]) + (sum[2][i] + sum[3][i]), shift);
}

/* A tile's partial, about the known mean or the mean of the lanes' first elements; or the sum of its chunks' ones. Right in the first
 * lane. */
template <class Op> TRINE_DEVICE typename Op::partial sum_tile(const Op &op, const plan &p, const typename Op::known &known,
                                                               const place &here, const ring &at)
{
    using T = typename Op::element;
    constexpr int I = Op::inputs, V = 16 / int(sizeof(T));
    const int lane = threadIdx.x % 32, packs = here.chunks * here.packs;
    float sum[2];
    if constexpr (Op::by_chunk) {
        auto all = Op::partial::none();
        for (int first = 0; first < here.chunks; first += 32 >> p.shift) {
            const int c = first + (lane >> p.shift);
            const bool is = c < here.chunks;
            sum_packs<Op>(sum, known.mean, c * here.packs, is ? (c + 1) * here.packs : 0, p.shift, at);
            if (is && lane % (1 << p.shift) == 0)
                all = Op::partial::merge(all, op.of_chunk(sum, known, here.plane + c, here.piece, p.pieces));
        }
        return simt::merge_lanes(all);
    } else {
        const float about = Op::about(known, lanes_sum(words_at<T, I>(at, 0, lane < packs ? lane : 0).value(0) * (1.0f / 32), 5));
        sum_packs<Op>(sum, about, 0, packs, 5, at);
        return Op::finish(sum, about, int64_t(packs) * V);
    }
}

/* A set's place in the workspace: how many of its tiles are summed up, its total, and a note for each tile. All zeros at first. */
struct set_notes {
    uint32_t *arrived;
    note *total, *tiles;
    TRINE_DEVICE_METHOD set_notes(const plan &p, note *of_all, int64_t set)
        : arrived(reinterpret_cast<uint32_t *>(of_all + set * (p.tiles + 2))), total(of_all + set * (p.tiles + 2) + 1),
          tiles(total + 1)
    {
    }
};

/* By a warp; right in its first lane. */
template <class Op> TRINE_DEVICE typename Op::partial merge_tiles(const plan &p, const set_notes &notes, int64_t set)
{
    using P = typename Op::partial;
    constexpr int U = sizeof(P) == 8 ? 8 : 4; /* notes of a lane on their way; more moments would not fit registers */
    constexpr int V = 16 / int(sizeof(typename Op::element));
    P sum = P::none();
    for (int i = threadIdx.x % 32; i < p.tiles; i += 32 * U) {
        note next[U];
        bool missing;
        do {
            missing = false;
#pragma unroll
            for (int u = 0; u < U; u++) next[u] = note::load(notes.tiles + (i + u * 32 < p.tiles ? i + u * 32 : i));
#pragma unroll
            for (int u = 0; u < U; u++) missing |= !next[u].there();
        } while (missing);
#pragma unroll
        for (int u = 0; u < U; u++) {
            if (i + u * 32 >= p.tiles) continue;
            const place other(p, set * p.tiles + i + u * 32);
            sum = P::merge(sum, Op::of_note(next[u], int64_t(other.chunks) * other.packs * V));
        }
    }
    __syncwarp();
    return simt::merge_lanes(sum);
}

template <class Op> TRINE_DEVICE void sum_tiles(const Op &op, const plan &p, note *of_all, int warp, ring at)
{
    using P = typename Op::partial;
    const int lane = threadIdx.x % 32;
    const int64_t all = p.sets * p.tiles;
    at.next(warp);
    for (int64_t tile = blockIdx.x + int64_t(warp) * gridDim.x; tile < all;
         tile += int64_t(summing_warps) * gridDim.x, at.next(summing_warps)) {
        const place here(p, tile);
        const set_notes notes(p, of_all, here.set);
        const auto known = op.fetch(here.set);
        at.wait_full();
        const P own = sum_tile(op, p, known, here, at);
        uint32_t before = 0;
        if (lane == 0) {
            Op::publish(notes.tiles + here.part, own);
            before = target::atomic_add(notes.arrived, 1u);
        }
        if (target::shuffle(before, 0) == uint32_t(p.tiles - 1)) {
            const P sum = merge_tiles<Op>(p, notes, here.set);
            if (lane == 0) {
                Op::publish(notes.total, sum);
                op.note(sum, known, here.set);
            }
        }
        note total;
        do total = note::load(notes.total);
        while (!total.there());
        if (lane == 0) at.notes() = op.map(Op::of_note(total, p.n), known);
        mma_sync::barrier_arrive(at.ready());
    }
}

template <class Op> TRINE_DEVICE void map_tiles(const Op &op, const plan &p, int t, ring at)
{
    using T = typename Op::element;
    constexpr int I = Op::inputs, V = 16 / int(sizeof(T));
    const int64_t all = p.sets * p.tiles;
    for (int64_t tile = blockIdx.x; tile < all; tile += gridDim.x, at.next()) {
        const place here(p, tile);
        const int packs = here.chunks * here.packs;
        at.wait_full();
        at.wait_ready();
        const simt::channel_affine f = at.notes();
#pragma unroll 4
        for (int i = t; i < packs; i += 32 * mapping_warps) {
            const int chunk = p.pieces > 1 ? 0 : int(p.by_packs.divide(i)), within = i - chunk * here.packs;
            const simt::channel_affine g = op.of_plane(f, here.set, here.plane + chunk);
            simt::channel_words<T, V> x[I], out;
#pragma unroll
            for (int k = 0; k < I; k++) x[k] = words_at<T, I>(at, k, i);
            float y[V];
#pragma unroll
            for (int j = 0; j < V; j++) y[j] = simt::map_one(g, x, j);
            out.set(y);
            out.store(op.out + here.template offset<V>(p, 0, chunk) + within * V);
        }
        mma_sync::barrier_arrive(at.empty());
    }
}

template <class Op> __global__ void __launch_bounds__(threads)
    kernel(const __grid_constant__ Op op, const __grid_constant__ plan p, note *of_all)
{
    const ring at(tile_ring::make<memory>(1, 32, 32 * mapping_warps));
    const int warp = ptx::warp_index();
    if (warp == 0) {
        if (threadIdx.x == 0) load_tiles(op, p, at);
    } else if (warp <= summing_warps) {
        sum_tiles(op, p, of_all, warp - 1, at);
    } else {
        map_tiles(op, p, int(threadIdx.x) - 32 * (1 + summing_warps), at);
    }
}

} // namespace channel_ring

#endif
