/* thin: products of a matrix with few vectors, f16 or bf16, on tensor cores (mma.sync): up to 32 where the matrix lies along K, 16
 * where it lies along its rows. Bound by the bytes of the matrix, which goes from memory straight into the registers that the
 * instruction takes it from: nothing but loads in flight stands between.
 *
 * w is the matrix, [rows, K]: b with few rows of a, a with few columns of b; x are the vectors. w's rows are the instruction's 16
 * rows, the vectors its 8 columns. The order of the terms is free, so that a lane multiplies those that its loads give it:
 * - w along K: a warp has 16 rows. The four lanes of a row have a line of 128 bytes, 64 terms, in two loads.
 * - w along its rows: a warp has 64 rows. A lane loads eight rows of four terms; pairs of terms are made by byte permutations, and
 *   the eight rows are those of four instructions.
 *
 * The warps of a block take turns along K and add up their sums in shared memory, in order. Where there are few rows, the blocks of
 * a cluster have a part of K each and add up theirs through each other's shared memory, in order, too. */
#ifndef TRINE_CUDA_MATMUL_THIN_H
#define TRINE_CUDA_MATMUL_THIN_H

#include "backends/cuda/matmul_variants.h"
#include "backends/cuda/mma/launch.h"
#include "backends/cuda/mma/mma_sync.h"
#include "backends/cuda/mma/ptx.h"
#include "backends/simt/matmul_product.h"

namespace thin {

using simt::product;
using simt::product_offsets;

enum { warps = 8, threads = 32 * warps, most_along_k = 32, most_along_rows = 16, most_splits = 4 };

/* Where things are: w [rows, K], x [vectors, K]. */
struct view {
    int64_t rows, w_row, w_k, x_row;
    int vectors;
    bool of_a; /* the vectors are a's rows */
};

/* A float of another block of the cluster, at the same address there. */
TRINE_DEVICE float load_of_block(const float *p, int rank)
{
    float x;
    asm volatile("{\n"
                 ".reg .b32 remote;\n"
                 "mapa.shared::cluster.u32 remote, %1, %2;\n"
                 "ld.shared::cluster.f32 %0, [remote];\n"
                 "}"
                 : "=f"(x)
                 : "r"(ptx::shared_address(p)), "r"(rank)
                 : "memory");
    return x;
}

/* A lane's part of a warp's work: 4 g + t. */
struct lane_place {
    int g, t;
    TRINE_DEVICE_METHOD lane_place() : g(int(threadIdx.x) % 32 / 4), t(int(threadIdx.x) % 4) {}
};

TRINE_DEVICE uint32_t word_of(const uint4 &v, int i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }

/* w along K. NT: eights of vectors. */
template <class T, int NT> struct along_k {
    enum { tiles = 1, rows = 16, terms = 64 };
    struct step {
        uint4 w[2][2], x[NT][2];
    };
    using sums = float[tiles][NT][4];
    const T *w[2], *x[NT];

    TRINE_DEVICE_METHOD along_k(const view &v, const T *w_, const T *x_, int64_t first)
    {
        const lane_place me;
#pragma unroll
        for (int i = 0; i < 2; i++)
            w[i] = w_ + (first + me.g + 8 * i < v.rows ? first + me.g + 8 * i : first) * v.w_row + 8 * me.t;
#pragma unroll
        for (int n = 0; n < NT; n++) x[n] = x_ + (8 * n + me.g < v.vectors ? 8 * n + me.g : 0) * v.x_row + 8 * me.t;
    }
    /* `left` terms from k on; whole: at least a step. What lies past them is 0. */
    template <bool whole> TRINE_DEVICE_METHOD void load(step &s, int64_t k, int left) const
    {
        const lane_place me;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const bool inside = whole || 32 * half + 8 * me.t < left;
#pragma unroll
            for (int i = 0; i < 2; i++) s.w[i][half] = inside ? target::load16_once(w[i] + (k + 32 * half)) : uint4{0, 0, 0, 0};
#pragma unroll
            for (int n = 0; n < NT; n++) s.x[n][half] = inside ? target::load16(x[n] + (k + 32 * half)) : uint4{0, 0, 0, 0};
        }
    }
    static TRINE_DEVICE_METHOD void multiply(sums &sum, const step &s)
    {
#pragma unroll
        for (int half = 0; half < 2; half++)
#pragma unroll
            for (int i = 0; i < 4; i += 2) {
                const uint4 &u = s.w[0][half], &v = s.w[1][half];
                const uint32_t a[4] = {word_of(u, i), word_of(v, i), word_of(u, i + 1), word_of(v, i + 1)};
#pragma unroll
                for (int n = 0; n < NT; n++)
                    mma_sync::multiply(sum[0][n], a, word_of(s.x[n][half], i), word_of(s.x[n][half], i + 1), T{});
            }
    }
    /* Where shared memory has the sums of row g + 8 half of an instruction's tile, and row i of the block's. */
    static TRINE_DEVICE_METHOD int position(int tile, int half) { return 16 * tile + 8 * half + lane_place().g; }
    static TRINE_DEVICE_METHOD int position_of(int row) { return row; }
};

/* w along its rows. */
template <class T, int NT> struct along_rows {
    enum { rows = 64, terms = 16, tiles = 4 };
    struct step {
        uint4 w[4];
        uint2 x[NT];
    };
    using sums = float[tiles][NT][4];
    const T *w, *x[NT];
    int64_t w_k;

    TRINE_DEVICE_METHOD along_rows(const view &v, const T *w_, const T *x_, int64_t first) : w_k(v.w_k)
    {
        const lane_place me;
        w = w_ + (first + 8 * me.g < v.rows ? first + 8 * me.g : first) + 4 * me.t * v.w_k;
#pragma unroll
        for (int n = 0; n < NT; n++) x[n] = x_ + (8 * n + me.g < v.vectors ? 8 * n + me.g : 0) * v.x_row + 4 * me.t;
    }
    template <bool whole> TRINE_DEVICE_METHOD void load(step &s, int64_t k, int left) const
    {
        const lane_place me;
        const bool inside = whole || 4 * me.t < left;
        const T *from = w + k * w_k;
#pragma unroll
        for (int i = 0; i < 4; i++) s.w[i] = inside ? target::load16_once(from + i * w_k) : uint4{0, 0, 0, 0};
#pragma unroll
        for (int n = 0; n < NT; n++) s.x[n] = inside ? *reinterpret_cast<const uint2 *>(x[n] + k) : uint2{0, 0};
    }
    static TRINE_DEVICE_METHOD void multiply(sums &sum, const step &s)
    {
#pragma unroll
        for (int j = 0; j < tiles; j++) {
            uint32_t a[4];
#pragma unroll
            for (int pair = 0; pair < 2; pair++) {
                const uint32_t low = word_of(s.w[2 * pair], j), high = word_of(s.w[2 * pair + 1], j);
                a[2 * pair] = target::byte_permute<0x5410>(low, high);
                a[2 * pair + 1] = target::byte_permute<0x7632>(low, high);
            }
#pragma unroll
            for (int n = 0; n < NT; n++) mma_sync::multiply(sum[j][n], a, s.x[n].x, s.x[n].y, T{});
        }
    }
    /* Rows that a lane has are apart, so that lanes meet different banks. */
    static TRINE_DEVICE_METHOD int position(int tile, int half) { return 8 * (2 * tile + half) + lane_place().g; }
    static TRINE_DEVICE_METHOD int position_of(int row) { return row % 8 * 8 + row / 8; }
};

/* A warp's sums over steps `warp`, `warp` + warps ... of those from `begin` to `end`; FLIGHT steps are loaded before the first of
 * them is multiplied. */
template <int FLIGHT, class Way>
TRINE_DEVICE void add_steps(typename Way::sums &sum, const Way &way, int begin, int end, int64_t k)
{
    const int whole = end < int(k / Way::terms) ? end : int(k / Way::terms);
    int i = begin + int(threadIdx.x) / 32;
#pragma unroll 1
    for (; i + (FLIGHT - 1) * warps < whole; i += FLIGHT * warps) {
        typename Way::step s[FLIGHT];
#pragma unroll
        for (int u = 0; u < FLIGHT; u++) way.template load<true>(s[u], int64_t(i + u * warps) * Way::terms, 0);
#pragma unroll
        for (int u = 0; u < FLIGHT; u++) Way::multiply(sum, s[u]);
    }
#pragma unroll 1
    for (; i < end; i += warps) {
        typename Way::step s;
        const int64_t at = int64_t(i) * Way::terms;
        way.template load<false>(s, at, int(k - at < Way::terms ? k - at : int64_t(Way::terms)));
        Way::multiply(sum, s);
    }
}

/* Shared memory: [warp][vector][row], the rows with some room. */
template <class Way, int NT> struct places {
    enum { pitch = Way::rows + 4, of_warp = 8 * NT * pitch, bytes = warps * of_warp * 4 };
};

/* A block's sums in order of its warps, where those of its first warp were. */
template <class Way, int NT> TRINE_DEVICE void add_warps(const typename Way::sums &sum, float *shared, int vectors)
{
    using place = places<Way, NT>;
    const lane_place me;
    float *const mine = shared + int(threadIdx.x) / 32 * place::of_warp;
#pragma unroll
    for (int j = 0; j < Way::tiles; j++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int vector = 8 * n + 2 * me.t + i % 2;
                if (vector < vectors) mine[vector * place::pitch + Way::position(j, i / 2)] = sum[j][n][i];
            }
    __syncthreads();
    for (int i = int(threadIdx.x); i < vectors * Way::rows; i += threads) {
        const int at = i / Way::rows * place::pitch + i % Way::rows;
        float all = shared[at];
#pragma unroll
        for (int w = 1; w < warps; w++) all += shared[w * place::of_warp + at];
        shared[at] = all;
    }
}

/* The cluster's sums, this block's part of them, to d. */
template <class Way, int NT, class T> TRINE_DEVICE void store_sums(const product<T> &p, const view &v, const product_offsets &at,
                                                                   int64_t first, const float *shared, int rank, int splits)
{
    using place = places<Way, NT>;
    for (int i = rank * threads + int(threadIdx.x); i < v.vectors * Way::rows; i += splits * threads) {
        const int vector = i / Way::rows, row = i % Way::rows;
        if (first + row >= v.rows) continue;
        const float *from = shared + vector * place::pitch + Way::position_of(row);
        float all = 0;
#if __CUDA_ARCH__ >= 900
        if (splits > 1) {
            float part[most_splits];
#pragma unroll
            for (int s = 0; s < most_splits; s++) part[s] = s < splits ? load_of_block(from, s) : 0.0f;
#pragma unroll
            for (int s = 0; s < most_splits; s++)
                if (s < splits) all += part[s];
        } else
#endif
            all = *from;
        p.out.store(all, v.of_a ? vector : first + row, v.of_a ? first + row : vector, at);
    }
}

/* blocks: of a product. Blocks of a cluster follow each other. */
template <class T, template <class, int> class Axis, int NT, int FLIGHT, int TOGETHER>
__global__ void __launch_bounds__(threads, TOGETHER)
    thin_kernel(const __grid_constant__ product<T> p, const __grid_constant__ view v, unsigned blocks, int splits)
{
    using Way = Axis<T, NT>;
    float *const shared = reinterpret_cast<float *>(target::dynamic_shared());
    const simt::block_place place = simt::place_of_block(p, blocks);
    const product_offsets at = p.offsets(place.index);
    const int rank = int(place.part % unsigned(splits));
    const int64_t first = int64_t(place.part / unsigned(splits)) * Way::rows;
    const int steps = int((p.k + Way::terms - 1) / Way::terms);
    const Way way(v, v.of_a ? p.b + at.b : p.a + at.a, v.of_a ? p.a + at.a : p.b + at.b, first);
    typename Way::sums sum = {};
    add_steps<FLIGHT>(sum, way, int(int64_t(steps) * rank / splits), int(int64_t(steps) * (rank + 1) / splits), p.k);
    add_warps<Way, NT>(sum, shared, v.vectors);
#if __CUDA_ARCH__ >= 900
    if (splits > 1) ptx::cluster_barrier();
#endif
    if (splits == 1) __syncthreads();
    store_sums<Way, NT>(p, v, at, first, shared, rank, splits);
#if __CUDA_ARCH__ >= 900
    if (splits > 1) ptx::cluster_barrier(); /* nobody leaves while another block reads its shared memory */
#endif
}

/* ---- Host ---- */

/* What the launch in clusters wants to know. */
template <class Way, int NT> struct block {
    enum { threads = thin::threads, shared = places<Way, NT>::bytes };
};

template <class Way> inline int64_t blocks_of(const view &v) { return simt::ceil_div(v.rows, int64_t(Way::rows)); }

/* Parts of K: what it takes to have `wanted` blocks, while every warp keeps some steps. A cluster costs about 2 us. */
inline int splits_of(const trine_call *call, int64_t blocks, int64_t wanted, int64_t steps)
{
    int splits = 1;
    if (atoi(call->device->props.arch + sizeof "sm_" - 1) < 90) return splits; /* which have no clusters */
    while (splits < most_splits && splits * blocks < wanted && steps >= 2 * splits * 2 * warps) splits *= 2;
    return splits;
}

template <class T, template <class, int> class Axis, int NT, int FLIGHT, int TOGETHER>
inline trine_status launch(trine_call *call, const trine_product &p, const view &v)
{
    using Way = Axis<T, NT>;
    const int64_t row_blocks = blocks_of<Way>(v), units = call->device->props.compute_units;
    const int splits = splits_of(call, row_blocks * p.batch.numel, NT > 2 ? units * 3 / 2 : units * 9 / 10,
                                 simt::ceil_div(p.k, int64_t(Way::terms)));
    const int64_t blocks = row_blocks * splits, most = 0x7fffffff / blocks;
    TRINE_REQUIRE_THAT(call, most > 0, "the grid is too large");
    product<T> all(p);
    trine_status status = TRINE_OK;
    for (all.first = 0; all.first < all.batches && status == TRINE_OK; all.first += most) {
        const int64_t products = all.batches - all.first < most ? all.batches - all.first : most;
        status =
            sm90::launch_clusters<block<Way, NT>>(call, thin_kernel<T, Axis, NT, FLIGHT, TOGETHER>, unsigned(products * blocks),
                                                  unsigned(splits), all, v, unsigned(blocks), splits);
    }
    return status;
}

/* Bytes in flight: 4 to 8 MB on all of an H100. More are slower, as are blocks that have to wait for their turn; so a warp has one
 * step in flight where three blocks a multiprocessor are there at once, two where blocks are fewer or have to wait anyway. */
template <class T, int NT> inline trine_status launch_along_k(trine_call *call, const trine_product &p, const view &v)
{
    const int64_t blocks = blocks_of<along_k<T, NT>>(v) * p.batch.numel, units = call->device->props.compute_units;
    return 2 * blocks >= 3 * units && blocks <= 3 * units ? launch<T, along_k, NT, 1, 3>(call, p, v)
                                                          : launch<T, along_k, NT, 2, 2>(call, p, v);
}

template <class T> inline trine_status run(trine_call *call, const trine_product &p, const view &v)
{
    if (v.w_k != 1)
        return v.vectors <= 8 ? launch<T, along_rows, 1, 2, 2>(call, p, v) : launch<T, along_rows, 2, 2, 2>(call, p, v);
    if (v.vectors <= 8) return launch_along_k<T, 1>(call, p, v);
    return v.vectors <= 16 ? launch_along_k<T, 2>(call, p, v) : launch<T, along_k, 4, 1, 2>(call, p, v);
}

/* Whether strides allow loads of 16 bytes of w and 16 or 8 of x. */
inline bool packs(const trine_product &p, const view &v, int64_t x_k)
{
    using simt::operand_packs;
    const int w = v.of_a ? TRINE_PRODUCT_B : TRINE_PRODUCT_A, x = v.of_a ? TRINE_PRODUCT_A : TRINE_PRODUCT_B;
    if (v.w_k == 1)
        return operand_packs<8, simt::f16>(p, w, nullptr, v.w_k, p.k, v.w_row) &&
               operand_packs<8, simt::f16>(p, x, nullptr, x_k, p.k, v.x_row);
    return operand_packs<8, simt::f16>(p, w, nullptr, v.w_row, v.rows, v.w_k) &&
           operand_packs<4, simt::f16>(p, x, nullptr, x_k, p.k, v.x_row);
}

trine_status matmul(trine_call *call, const void *args)
{
    TRINE_MATMUL_BEGIN(call, args, p);
    const bool of_a = p.m <= p.n;
    const int64_t vectors = of_a ? p.m : p.n;
    TRINE_REQUIRE_THAT(call, atoi(call->device->props.arch + sizeof "sm_" - 1) >= 80, "needs compute capability 8.0");
    TRINE_REQUIRE_THAT(call, p.dtype != TRINE_F32 && vectors <= most_along_k, "needs f16 or bf16, and M or N of at most 32");
    TRINE_REQUIRE_THAT(call, p.k > 0 && p.k <= 1 << 30, "needs K from 1 to 2^30, and alpha other than 0");
    TRINE_REQUIRE_THAT(call, vectors <= most_along_rows || (of_a ? p.b_k : p.a_k) == 1,
                       "needs M or N of at most 16 where the matrix does not lie along K");
    const view v = of_a ? view{p.n, p.b_n, p.b_k, p.a_m, int(vectors), of_a} : view{p.m, p.a_m, p.a_k, p.b_n, int(vectors), of_a};
    TRINE_REQUIRE_THAT(call, packs(p, v, of_a ? p.a_k : p.b_k),
                       "needs vectors with stride 1 along K, a matrix with stride 1 along one axis, sizes and other strides of "
                       "multiples of 16 bytes");
    /* a query accepted the strides without the addresses */
    if ((uintptr_t(p.a) | uintptr_t(p.b)) % 16 != 0) return trine_cuda_matmul_portable(call, &p);
    TRINE_END_OF_QUERY(call, 0);
    if (simt::product_is_empty(p)) return TRINE_OK;
    return p.dtype == TRINE_F16 ? run<simt::f16>(call, p, v) : run<simt::bf16>(call, p, v);
}

} // namespace thin

#endif
