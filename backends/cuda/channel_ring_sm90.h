/* Normalisation by channel of planes (NCHW), or by very long rows, on Hopper, by the ring of tile_ring_sm90.h: one read and one write an element, however
 * large a channel is, as long as its tiles fit the multiprocessors' shared memory all together.
 *
 * A tile has planes of a channel from several images, or a piece of a plane. Its hands:
 * - a lane starts the copies;
 * - summing_warps, a stage each, leave the tile's partial where all blocks see it; who comes last of a channel merges its partials in
 *   their order and leaves the total; all wait for that and make the channel's map (channel_ops.h);
 * - mapping_warps map the tile's elements and store them.
 *
 * Blocks wait for each other's tiles, so all run at once: a cooperative launch. Block b has the tiles b, b + blocks, ..: those of a
 * channel are spread over all of them, and their rings hold them all. */
#ifndef TRINE_CUDA_CHANNEL_RING_SM90_H
#define TRINE_CUDA_CHANNEL_RING_SM90_H

#include "backends/cuda/tile_ring_sm90.h"
#include "backends/simt/block.h"
#include "backends/simt/channel_ops.h"

namespace channel_ring {

enum {
    stages = 6,
    summing_warps = stages,
    mapping_warps = 8,
    threads = 32 * (1 + summing_warps + mapping_warps),
    tile_bytes = 32 << 10 /* of all inputs */
};

/* Where what lies, in packs of 16 bytes or elements. */
struct plan {
    int64_t channels, n;      /* elements of a channel */
    int32_t images, pieces;   /* chunks of a channel: planes, or of each plane so many pieces */
    int32_t packs, all_packs; /* of a chunk; of a plane */
    int32_t of_tile, tiles;   /* chunks; of a channel */
    simt::divider32 by_packs, by_tiles, by_pieces;
    int64_t channel_step[simt::channel_operands], image_step[simt::channel_operands]; /* of the output and the inputs */
};

/* A tile's place: its first chunk's image and piece, its chunks, and the packs of each. */
struct place {
    int64_t channel;
    int32_t part, image, piece, chunks, packs;
    TRINE_DEVICE_METHOD place(const plan &p, int64_t tile)
        : channel(p.by_tiles.divide(tile)), part(int32_t(tile - channel * p.tiles)), image(part * p.of_tile), piece(0),
          chunks(p.images - image < p.of_tile ? p.images - image : p.of_tile), packs(p.packs)
    {
        if (p.pieces == 1) return;
        image = int32_t(p.by_pieces.divide(part));
        piece = part - image * p.pieces;
        chunks = 1;
        if (p.all_packs - piece * p.packs < packs) packs = p.all_packs - piece * p.packs;
    }
    /* Of operand k, of the tile's chunk number `chunk`. */
    template <int V> TRINE_DEVICE_METHOD int64_t offset(const plan &p, int k, int chunk) const
    {
        return channel * p.channel_step[k] + (image + chunk) * p.image_step[k] + int64_t(piece) * p.packs * V;
    }
};

/* A channel's partial of a tile: two numbers, each in a word that says that it is there. */
struct alignas(16) note {
    uint64_t word[2];
    TRINE_DEVICE_METHOD void publish(float a, float b)
    {
        target::publish(word, uint64_t(1) << 32 | trine_bits_of_f32(a));
        target::publish(word + 1, uint64_t(1) << 32 | trine_bits_of_f32(b));
    }
    static TRINE_DEVICE_METHOD note load(const note *from)
    {
        return {{target::load_published(from->word), target::load_published(from->word + 1)}};
    }
    TRINE_DEVICE_METHOD bool there() const { return word[0] >> 32 && word[1] >> 32; }
    TRINE_DEVICE_METHOD float number(int i) const { return trine_f32_of_bits(uint32_t(word[i])); }
};

using memory = tile_ring::memory<simt::channel_affine, stages, tile_bytes>;
using ring = tile_ring::place<memory>;

/* ---- What is summed up, and the map that comes of it ---- */

template <class T> struct forward : simt::gather_moments<T> {
    using partial = simt::channel_moments;
    T *out;
    simt::batchnorm_outputs of;
    forward(const trine_batchnorm_args *a, int64_t)
        : simt::gather_moments<T>{{simt::data_of<T>(a->x)}}, out(simt::data_of<T>(a->y)), of(a)
    {
    }
    using known = simt::channel_affine; /* of a mean of 0 and a deviation of 1 */
    TRINE_DEVICE_METHOD known fetch(int64_t channel) const { return of.map(0.0f, 1.0f, channel); }
    static TRINE_DEVICE_METHOD float about(const known &, float data) { return data; }
    static TRINE_DEVICE_METHOD void publish(channel_ring::note *to, const partial &p) { to->publish(p.mean, p.squares); }
    static TRINE_DEVICE_METHOD partial of_note(const channel_ring::note &n, int64_t count)
    {
        return {float(count), n.number(0), n.number(1)};
    }
    TRINE_DEVICE_METHOD simt::channel_affine map(const partial &p, const known &k) const
    {
        return {of.mean_of(p), 0.0f, of.rstd_of(p) * k.b, k.d};
    }
    TRINE_DEVICE_METHOD void note(const partial &p, const known &, int64_t channel) const { of.note(p, channel); }
};

template <class T> struct backward : simt::gather_slopes<T> {
    using partial = simt::channel_slopes;
    T *out;
    simt::batchnorm_gradients of;
    backward(const trine_batchnorm_backward_args *a, int64_t n)
        : simt::gather_slopes<T>{{simt::data_of<T>(a->x), simt::data_of<T>(a->dy)}, nullptr, simt::divider_any(1)},
          out(simt::data_of<T>(a->dx)), of(a, n)
    {
    }
    using known = simt::batchnorm_gradients::known;
    TRINE_DEVICE_METHOD known fetch(int64_t channel) const { return of.fetch(channel); }
    static TRINE_DEVICE_METHOD float about(const known &k, float) { return k.mean; }
    static TRINE_DEVICE_METHOD void publish(channel_ring::note *to, const partial &p) { to->publish(p.sum, p.along); }
    static TRINE_DEVICE_METHOD partial of_note(const channel_ring::note &n, int64_t) { return {n.number(0), n.number(1)}; }
    TRINE_DEVICE_METHOD simt::channel_affine map(const partial &p, const known &k) const { return of.map(p, k); }
    TRINE_DEVICE_METHOD void note(const partial &p, const known &k, int64_t channel) const { of.note(p, k, channel); }
};

/* A row's length, in the place of a channel: y = x / max(|x|, eps); and its gradient, from sum(x^2) and sum(x dy). */
template <class T, int I> struct lengths {
    using element = T;
    enum { inputs = I };
    const T *in[2];
    T *out;
    float eps;

    struct partial {
        float squares, along;
        static TRINE_DEVICE_METHOD partial none() { return {0.0f, 0.0f}; }
        static TRINE_DEVICE_METHOD partial merge(const partial &a, const partial &b)
        {
            return {a.squares + b.squares, a.along + b.along};
        }
        static TRINE_DEVICE_METHOD partial shuffled(const partial &p, int mask)
        {
            return {target::shuffle_xor(p.squares, mask), target::shuffle_xor(p.along, mask)};
        }
    };
    struct known {};
    static TRINE_DEVICE_METHOD known fetch(int64_t) { return {}; }
    static TRINE_DEVICE_METHOD float about(const known &, float) { return 0.0f; }
    static TRINE_DEVICE_METHOD void add(float (&sum)[2], const float (&x)[I], float)
    {
        sum[0] = target::fma_rn(x[0], x[0], sum[0]);
        if (I == 2) sum[1] = target::fma_rn(x[0], x[I - 1], sum[1]);
    }
    static TRINE_DEVICE_METHOD partial finish(const float (&sum)[2], float, int64_t) { return {sum[0], sum[1]}; }
    static TRINE_DEVICE_METHOD void publish(channel_ring::note *to, const partial &p) { to->publish(p.squares, p.along); }
    static TRINE_DEVICE_METHOD partial of_note(const channel_ring::note &n, int64_t) { return {n.number(0), n.number(1)}; }
    TRINE_DEVICE_METHOD simt::channel_affine map(const partial &p, const known &) const
    {
        const float norm = target::sqrt_ieee(p.squares), scale = target::div_ieee(1.0f, norm < eps ? eps : norm);
        if (I == 1) return {0.0f, 0.0f, scale, 0.0f};
        return {0.0f, scale, norm <= eps ? 0.0f : -(p.along * scale * scale) * scale, 0.0f};
    }
    static TRINE_DEVICE_METHOD void note(const partial &, const known &, int64_t) {}
};

/* ---- The hands ---- */

/* By one lane. Input k of a tile begins at k * tile_bytes / inputs. */
template <class Op> TRINE_DEVICE void load_tiles(const Op &op, const plan &p, ring at)
{
    constexpr int I = Op::inputs, V = 16 / int(sizeof(typename Op::element));
    const int64_t all = p.channels * p.tiles;
    for (int64_t tile = blockIdx.x; tile < all; tile += gridDim.x, at.next()) {
        at.wait_empty();
        const place here(p, tile);
        ptx::barrier_expect(at.full(), I * here.chunks * here.packs * 16);
        for (int c = 0; c < here.chunks; c++)
#pragma unroll
            for (int k = 0; k < I; k++)
                tile_ring::copy_bulk(at.data() + k * (tile_bytes / I) + c * here.packs * 16,
                                     op.in[k] + here.template offset<V>(p, 1 + k, c), here.packs * 16, at.full());
    }
}

template <class T, int I> TRINE_DEVICE simt::channel_words<T, 16 / int(sizeof(T))> words_at(const ring &at, int k, int i)
{
    const int4 w = ptx::load_shared_words(ptx::shared_address(at.data()) + k * (tile_bytes / I) + 16 * i);
    return {{uint32_t(w.x), uint32_t(w.y), uint32_t(w.z), uint32_t(w.w)}};
}

TRINE_DEVICE float wave_sum(float x) { return simt::wave_reduce(x, simt::op_sum{}); }

/* A tile's partial, by a warp, about one value: the known mean, or the mean of the lanes' first elements. */
template <class Op> TRINE_DEVICE typename Op::partial sum_tile(const typename Op::known &known, int packs, const ring &at)
{
    using T = typename Op::element;
    constexpr int I = Op::inputs, V = 16 / int(sizeof(T)), chains = 4; /* of additions that wait for each other */
    const int lane = threadIdx.x % 32;
    const float about = Op::about(known, wave_sum(words_at<T, I>(at, 0, lane < packs ? lane : 0).value(0) * (1.0f / 32)));
    float sum[chains][2] = {};
#pragma unroll 4
    for (int i = lane; i < packs; i += 32) {
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
    float all[2];
    for (int i = 0; i < 2; i++) all[i] = wave_sum((sum[0][i] + sum[1][i]) + (sum[2][i] + sum[3][i]));
    return Op::finish(all, about, int64_t(packs) * V);
}

/* A channel's place in the workspace: how many of its tiles are summed up, its total, and a note for each tile. All zeros at first. */
struct channel_notes {
    uint32_t *arrived;
    note *total, *tiles;
    TRINE_DEVICE_METHOD channel_notes(const plan &p, note *of_all, int64_t channel)
        : arrived(reinterpret_cast<uint32_t *>(of_all + channel * (p.tiles + 2))), total(of_all + channel * (p.tiles + 2) + 1),
          tiles(total + 1)
    {
    }
};

/* By a warp; right in its first lane. */
template <class Op> TRINE_DEVICE typename Op::partial merge_tiles(const plan &p, const channel_notes &notes, int64_t channel)
{
    using P = typename Op::partial;
    constexpr int U = 4; /* notes of a lane on their way */
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
            const place other(p, channel * p.tiles + i + u * 32);
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
    const int64_t all = p.channels * p.tiles;
    at.next(warp);
    for (int64_t tile = blockIdx.x + int64_t(warp) * gridDim.x; tile < all;
         tile += int64_t(summing_warps) * gridDim.x, at.next(summing_warps)) {
        const place here(p, tile);
        const channel_notes notes(p, of_all, here.channel);
        const auto known = op.fetch(here.channel);
        at.wait_full();
        const P own = sum_tile<Op>(known, here.chunks * here.packs, at);
        uint32_t before = 0;
        if (lane == 0) {
            Op::publish(notes.tiles + here.part, own);
            before = target::atomic_add(notes.arrived, 1u);
        }
        if (target::shuffle(before, 0) == uint32_t(p.tiles - 1)) {
            const P sum = merge_tiles<Op>(p, notes, here.channel);
            if (lane == 0) {
                Op::publish(notes.total, sum);
                op.note(sum, known, here.channel);
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
    const int64_t all = p.channels * p.tiles;
    for (int64_t tile = blockIdx.x; tile < all; tile += gridDim.x, at.next()) {
        const place here(p, tile);
        const int packs = here.chunks * here.packs;
        at.wait_full();
        at.wait_ready();
        const simt::channel_affine f = at.notes();
#pragma unroll 4
        for (int i = t; i < packs; i += 32 * mapping_warps) {
            const int chunk = p.pieces > 1 ? 0 : int(p.by_packs.divide(i)), within = i - chunk * here.packs;
            simt::channel_words<T, V> x[I], out;
#pragma unroll
            for (int k = 0; k < I; k++) x[k] = words_at<T, I>(at, k, i);
            float y[V];
#pragma unroll
            for (int j = 0; j < V; j++) y[j] = simt::map_one(f, x, j);
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
