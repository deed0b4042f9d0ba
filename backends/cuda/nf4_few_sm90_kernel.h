/* sm90_few: nf4_matmul with up to 16 rows of x, f16 or bf16, on Hopper. Bound by the bytes of the packed weight.
 *
 * The product and the way from a code to the tensor core are nf4_mma.h's: 16 rows of the weight are the rows of an instruction, two
 * neighbouring codes are looked up as a pair, a block's sum is multiplied by its scale in f32. What differs is how the bytes come and
 * where x is:
 * - One warp copies long pieces of whole rows (2 KiB of codes, or 1 with more than 8 rows of x) into a ring of stages, by one
 *   instruction each (cp.async.bulk). Lines of the ring are padded, so that lanes meet no banks.
 * - K is cut into slices. A multiplying warp has up to four blocks of each (two with more than 8 rows of x), and their elements of x
 *   in registers while the tiles of 16 rows that the block of threads has go by: x is loaded once a slice.
 * - A tile's sums of the 16 warps are left in shared memory and added one stage later, when all have long been there. */
#ifndef TRINE_CUDA_NF4_FEW_SM90_KERNEL_H
#define TRINE_CUDA_NF4_FEW_SM90_KERNEL_H

#include "backends/cuda/mma/mma_sync.h"
#include "backends/cuda/mma/ptx.h"
#include "backends/cuda/nf4_table.h"

namespace nf4_few {

using simt::nf4_product;

enum {
    warps = 16, /* that multiply */
    threads = 32 * warps + 32,
    tile_rows = 16,
    most = 16,           /* rows of x */
    group = 16,          /* tiles whose sums are kept from slice to slice */
    slice_multiple = 256 /* a piece of scales is whole 16 bytes */
};

/* NT: eights of x's rows. */
template <int NT> struct layout {
    enum {
        threads = nf4_few::threads,
        blocks = 4 / NT, /* that a warp has of a slice */
        slice = warps * blocks * TRINE_NF4_BLOCK,
        line = slice / 2 + 32, /* bytes in a stage of a row's codes; and of its scales */
        scale_line = slice / 16 + 16,
        at_scales = tile_rows * line,
        bytes_stage = at_scales + tile_rows * scale_line,
        stages = NT == 1 ? 3 : 5,
        columns = 8 * NT,
        pitch = tile_rows + 4,   /* of sums, in floats: lanes meet different banks, */
        parts = NT == 1 ? 4 : 2, /* as do those lanes that add parts of a sum */
        of_warp = columns * pitch + 32 / parts,
        at_ring = nf4_table::table_bytes,
        at_sums = at_ring + stages * bytes_stage,
        at_kept = at_sums + 2 * warps * of_warp * 4,
        at_barriers = at_kept + group * tile_rows * columns * 4,
        shared = at_barriers + 8 * (2 * stages + 1)
    };
};

/* each, rest: tiles that every block has, and those that the first blocks have beside them. */
struct work {
    int each, rest, slices, slice; /* slice: terms */
};

/* What is read once need not push other lines out of L2. */
TRINE_DEVICE uint64_t evict_first()
{
    uint64_t policy;
    asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}
TRINE_DEVICE void copy_bulk(uint32_t to, const void *from, uint32_t bytes, uint32_t barrier, uint64_t policy)
{
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::"r"(to),
        "l"(__cvta_generic_to_global(from)), "r"(bytes), "r"(barrier), "l"(policy)
        : "memory");
}

/* The tiles of this block, as all its warps take them: in groups, and each slice for all of a group. Blocks take turns, so that all
 * read at about the same place of the weight. */
struct walk {
    const work &w;
    int begin = 0, count, slice = 0, place = 0; /* of a group: its first tile among the block's, how many; the place in it */
    int all;

    TRINE_DEVICE_METHOD explicit walk(const work &w_) : w(w_), all(w_.each + (int(blockIdx.x) < w_.rest))
    {
        count = all < group ? all : int(group);
    }
    TRINE_DEVICE_METHOD bool more() const { return begin < all; }
    TRINE_DEVICE_METHOD int tile() const { return (begin + place) * int(gridDim.x) + int(blockIdx.x); }
    /* The slice that is next if it is another, else -1. */
    TRINE_DEVICE_METHOD int next_slice() const
    {
        if (w.slices == 1 || place + 1 < count) return -1;
        return slice + 1 < w.slices ? slice + 1 : begin + count < all ? 0 : -1;
    }
    TRINE_DEVICE_METHOD void next()
    {
        if (++place < count) return;
        place = 0;
        if (++slice < w.slices) return;
        slice = 0, begin += count;
        count = all - begin < group ? all - begin : int(group);
    }
};

/* A ring's barriers: codes and scales have come; all warps have read them. */
template <class Layout> struct ring {
    uint32_t data, barriers;
    int stage = 0;
    uint32_t parity = 0;
    TRINE_DEVICE_METHOD explicit ring(uint32_t shared) : data(shared + Layout::at_ring), barriers(shared + Layout::at_barriers) {}
    TRINE_DEVICE_METHOD uint32_t full() const { return barriers + 8 * stage; }
    TRINE_DEVICE_METHOD uint32_t empty() const { return barriers + 8 * (Layout::stages + stage); }
    TRINE_DEVICE_METHOD uint32_t sums() const { return barriers + 8 * (2 * Layout::stages); }
    TRINE_DEVICE_METHOD void next()
    {
        if (++stage == Layout::stages) stage = 0, parity ^= 1;
    }
};

/* The loading warp, one lane of it: rows of codes and of their scales. */
template <class Layout, class T> TRINE_DEVICE void load(const nf4_product<T> &p, const work &w, ring<Layout> r)
{
    const bool leads = ptx::elected();
    const uint64_t policy = evict_first();
    const uint32_t k_codes = uint32_t(p.k) / 2, k_scales = uint32_t(p.k) / TRINE_NF4_BLOCK;
    for (walk at(w); at.more(); at.next(), r.next()) {
        const uint32_t begin = uint32_t(at.slice) * uint32_t(w.slice), left = uint32_t(p.k) - begin;
        const uint32_t terms = left < uint32_t(w.slice) ? left : uint32_t(w.slice);
        const int first = at.tile() * tile_rows, rows = int(p.n) - first < tile_rows ? int(p.n) - first : int(tile_rows);
        const uint8_t *codes = p.codes + (uint64_t(uint32_t(first)) * k_codes + begin / 2);
        const float *scales =
            static_cast<const float *>(p.scales.absmax) + (uint64_t(uint32_t(first)) * k_scales + begin / TRINE_NF4_BLOCK);
        uint32_t to = r.data + r.stage * Layout::bytes_stage, scales_to = to + Layout::at_scales;
        ptx::barrier_wait(r.empty(), r.parity ^ 1);
        if (leads) {
            ptx::barrier_expect(r.full(), rows * (terms / 2 + terms / 16));
#pragma unroll 1
            for (int row = 0; row < rows; row++) {
                copy_bulk(to, codes, terms / 2, r.full(), policy);
                copy_bulk(scales_to, scales, terms / 16, r.full(), policy);
                to += Layout::line, scales_to += Layout::scale_line;
                codes += k_codes, scales += k_scales;
            }
        }
        __syncwarp();
    }
}

/* A word's four bytes, looked up. */
TRINE_DEVICE void look_up_word(uint32_t (&pair)[4], const unsigned char *table, uint32_t bank, uint32_t w)
{
    pair[0] = nf4_table::look_up<0>(table, bank, w);
    pair[1] = nf4_table::look_up<1>(table, bank, w);
    pair[2] = nf4_table::look_up<2>(table, bank, w);
    pair[3] = nf4_table::look_up<3>(table, bank, w);
}

/* x of one slice, of the blocks that this warp has: of each, 16 elements of each of x's rows that this lane multiplies. */
template <class Layout, int NT> struct slice_of_x {
    uint4 at[Layout::blocks][NT][2];
    int inside; /* blocks that there are */

    template <class T>
    TRINE_DEVICE_METHOD void load(const nf4_product<T> &p, const work &w, int slice, int each, int warp, int lane)
    {
        const int64_t begin = int64_t(slice) * w.slice, mine = begin + warp * each * TRINE_NF4_BLOCK;
        const int64_t left = (p.k - begin < w.slice ? p.k : begin + w.slice) - mine;
        inside = left < each * TRINE_NF4_BLOCK ? int(left) / TRINE_NF4_BLOCK : each;
#pragma unroll
        for (int b = 0; b < Layout::blocks; b++)
#pragma unroll
            for (int n = 0; n < NT; n++) {
                const int row = 8 * n + lane / 4;
                at[b][n][0] = at[b][n][1] = uint4{0, 0, 0, 0};
                if (row < p.m && b < inside) {
                    const T *from = p.x + (row * p.x_m + mine + b * TRINE_NF4_BLOCK + lane % 4 * 16);
                    at[b][n][0] = target::load16(from);
                    at[b][n][1] = target::load16(from + 8);
                }
            }
    }
};

/* Two blocks of a tile: 64 terms each, four instructions for each eight of x's rows; then their scales. */
template <class Layout, class T, int NT> TRINE_DEVICE void add_two(float (&sum)[NT][4], const unsigned char *stage, int block,
                                                                   int inside, int lane, const uint4 (&x)[2][NT][2],
                                                                   const unsigned char *table)
{
    float part[2][NT][4] = {};
    uint2 code[2][2];
    float scale[2][2];
#pragma unroll
    for (int b = 0; b < 2; b++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int row = lane / 4 + 8 * h;
            code[b][h] = *reinterpret_cast<const uint2 *>(stage + row * Layout::line + (block + b) * 32 + lane % 4 * 8);
            scale[b][h] =
                *reinterpret_cast<const float *>(stage + Layout::at_scales + row * Layout::scale_line + (block + b) * 4);
            if (b >= inside) scale[b][h] = 0; /* not of the slice: x is 0 there, but who knows what the scale is */
        }
    const uint32_t bank = 4 * lane;
#pragma unroll
    for (int w = 0; w < 2; w++) {
        uint32_t pair[2][2][4];
#pragma unroll
        for (int b = 0; b < 2; b++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const uint32_t word = w ? code[b][h].y : code[b][h].x;
                look_up_word(pair[b][h], table, bank, word);
            }
#pragma unroll
        for (int j = 0; j < 2; j++)
#pragma unroll
            for (int b = 0; b < 2; b++) {
                const uint32_t a[4] = {pair[b][0][2 * j], pair[b][1][2 * j], pair[b][0][2 * j + 1], pair[b][1][2 * j + 1]};
#pragma unroll
                for (int n = 0; n < NT; n++)
                    mma_sync::multiply(part[b][n], a, j ? x[b][n][w].z : x[b][n][w].x, j ? x[b][n][w].w : x[b][n][w].y, T{});
            }
    }
#pragma unroll
    for (int b = 0; b < 2; b++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) sum[n][i] = fmaf(scale[b][i / 2], part[b][n][i], sum[n][i]);
}

/* A warp's sums of a tile, for the others. */
template <class Layout, int NT> TRINE_DEVICE void leave(const float (&sum)[NT][4], float *to, int m, int lane)
{
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int column = 8 * n + lane % 4 * 2 + i % 2, row = i / 2 * 8 + lane / 4;
            if (column < m) to[column * Layout::pitch + row] = sum[n][i];
        }
}

/* A tile's sums of all warps, in order; this warp has a column, or half of one. kept: of the slices before. */
template <class Layout, class T> TRINE_DEVICE void add_up(const nf4_product<T> &p, const work &w, const float *sums, float *kept,
                                                          int tile, int slice, int warp, int lane)
{
    enum { rows = 32 / Layout::parts };
    const int column = warp % Layout::columns, row = lane % rows + (Layout::columns < warps ? warp / Layout::columns * rows : 0);
    if (column >= p.m) return;
    const float *from = sums + lane / rows * Layout::of_warp + column * Layout::pitch + row;
    float all = 0;
#pragma unroll
    for (int j = 0; j < warps / Layout::parts; j++) all += from[j * Layout::parts * Layout::of_warp];
#pragma unroll
    for (int other = rows; other < 32; other *= 2) all += __shfl_xor_sync(0xffffffffu, all, other);
    float *const mine = kept + column * tile_rows + row;
    const int64_t at = int64_t(tile) * tile_rows + row;
    if (lane >= rows) return;
    if (slice > 0) all += *mine;
    if (slice + 1 < w.slices)
        *mine = all;
    else if (at < p.n)
        p.store(all, column, at);
}

/* The multiplying warps. x: of the first slice. The last turn only adds up. */
template <class Layout, class T, int NT> TRINE_DEVICE void multiply(const nf4_product<T> &p, const work &w, ring<Layout> r,
                                                                    unsigned char *shared, slice_of_x<Layout, NT> &x, int each)
{
    const int warp = ptx::warp_index(), lane = int(threadIdx.x) % 32;
    float *const sums = reinterpret_cast<float *>(shared + Layout::at_sums);
    float *const kept = reinterpret_cast<float *>(shared + Layout::at_kept);
    int last_tile = 0, last_slice = 0, last_place = 0;
    walk at(w);
#pragma unroll 1
    for (int turn = 0;; turn++) {
        const bool some = at.more();
        float sum[NT][4] = {};
        if (some) {
            ptx::barrier_wait(r.full(), r.parity);
            const unsigned char *const stage = shared + Layout::at_ring + r.stage * Layout::bytes_stage;
#pragma unroll
            for (int b = 0; b < Layout::blocks; b += 2) {
                if (b >= x.inside) continue;
                uint4 some_x[2][NT][2];
#pragma unroll
                for (int i = 0; i < 4 * NT; i++) some_x[i / NT / 2][i / 2 % NT][i % 2] = x.at[b + i / NT / 2][i / 2 % NT][i % 2];
                add_two<Layout, T, NT>(sum, stage, warp * each + b, x.inside - b, lane, some_x, shared);
            }
            __syncwarp();
            mma_sync::barrier_arrive(r.empty()); /* every lane for itself: that order racecheck can follow */
            r.next();
            if (at.next_slice() >= 0) x.load(p, w, at.next_slice(), each, warp, lane);
        }
        if (turn > 0) {
            ptx::barrier_wait(r.sums(), uint32_t(turn + 1) & 1);
            add_up<Layout>(p, w, sums + ((turn + 1) & 1) * warps * Layout::of_warp,
                           kept + last_place * tile_rows * Layout::columns, last_tile, last_slice, warp, lane);
        }
        if (!some) break;
        leave<Layout, NT>(sum, sums + (turn & 1) * warps * Layout::of_warp + warp * Layout::of_warp, p.m, lane);
        __syncwarp();
        mma_sync::barrier_arrive(r.sums());
        last_tile = at.tile(), last_slice = at.slice, last_place = at.place;
        at.next();
    }
}

template <class T, int NT> __global__ void __launch_bounds__(threads, 1)
    kernel(const __grid_constant__ nf4_product<T> p, const __grid_constant__ simt::nf4_book values,
           const __grid_constant__ work w)
{
    using lay = layout<NT>;
    unsigned char *const shared = target::dynamic_shared();
    const ring<lay> r(ptx::shared_address(shared));
    const int warp = ptx::warp_index(), lane = int(threadIdx.x) % 32;
    enum { ready = 1 };
    if (warp < warps) {
        const int each = (w.slice / TRINE_NF4_BLOCK + warps - 1) / warps; /* blocks of a warp */
        slice_of_x<lay, NT> x;
        x.load(p, w, 0, each, warp, lane);
        nf4_table::fill_table<T, 32 * warps>(shared, values);
        ptx::meet(ready, threads);
        multiply<lay, T, NT>(p, w, r, shared, x, each);
    } else { /* what stands last comes first in the code, as in matmul_kernel */
        if (lane == 0) {
            for (int i = 0; i < lay::stages; i++) {
                ptx::barrier_init(r.barriers + 8 * i, 1);
                ptx::barrier_init(r.barriers + 8 * (lay::stages + i), 32 * warps);
            }
            ptx::barrier_init(r.sums(), 32 * warps);
            ptx::barrier_init_fence();
        }
        __syncwarp();
        asm volatile("bar.arrive %0, %1;" ::"r"(int(ready)), "r"(int(threads)) : "memory");
        load<lay>(p, w, r);
    }
}

} // namespace nf4_few

#endif
