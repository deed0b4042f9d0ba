/* nf4_matmul with at most 16 rows of x, f16 or bf16, on tensor cores (mma.sync). Bound by the bytes of the packed weight, which are
 * read once: 3 TB/s are about 27 codes a cycle and multiprocessor, so that the way from a code to the tensor core must be short.
 *
 * The product is made transposed: 16 rows of the weight are a tile's rows, x's rows its 8 or 16 columns. A byte is two neighbours
 * along K, which is what the instruction takes in a register: a table of 256 pairs gives them in one look-up, and every bank of
 * shared memory has a copy of the table, so that no two lanes meet. Since the order of the terms is free, a lane takes those that it
 * has loaded: of 16 bytes (half a block of 64) it hands one half to the lane that has the other half of the block; then the four
 * lanes of a row have all of one block, then all of the next, and a block's sum is multiplied by its scale in f32.
 *
 * The warps of a block share K and add up their sums in shared memory, in order. */
#ifndef TRINE_CUDA_NF4_MMA_H
#define TRINE_CUDA_NF4_MMA_H

#include "backends/simt/nf4_matmul.h"

namespace nf4_mma {

using simt::nf4_product;

enum {
    warps = 8,
    threads = 32 * warps,
    tiles = 2, /* of 16 rows of the weight, a block of threads */
    rows = 16 * tiles,
    step = 2 * TRINE_NF4_BLOCK, /* terms that a warp takes at a time: 16 bytes a lane, four lanes a row */
    most = 16                   /* rows of x */
};

TRINE_DEVICE void multiply(simt::bf16, float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
TRINE_DEVICE void multiply(simt::f16, float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* The table: entry [byte] has its pair once for every bank, and as many bytes unused, so that one byte permutation makes of a byte and
 * the lane's bank an address: shifts and masks take the same unit, and would be the bound. */
enum { entry_bytes = 256, table_bytes = 256 * entry_bytes };

/* The first element of a byte in the lower half of its pair. A thread has a byte; neighbours begin at different banks. */
template <class T> TRINE_DEVICE void fill_table(unsigned char *table, const float *value)
{
    const int byte = int(threadIdx.x);
    const uint32_t pair = uint32_t(simt::from_f32<T>(value[byte >> 4]).bits) | uint32_t(simt::from_f32<T>(value[byte & 15]).bits)
                                                                                   << 16;
#pragma unroll
    for (int i = 0; i < 8; i++)
        *reinterpret_cast<uint4 *>(table + byte * entry_bytes + (i + byte) % 8 * 16) = uint4{pair, pair, pair, pair};
}

/* Byte b of a word, looked up. `bank`: four times the lane. */
template <int b> TRINE_DEVICE uint32_t look_up(const unsigned char *table, uint32_t bank, uint32_t word)
{
    return *reinterpret_cast<const uint32_t *>(table + target::byte_permute<0x5504 + 16 * b>(word, bank));
}

/* What a warp has loaded for a step of a tile: codes of rows `lane / 4` and that + 8, and one scale. */
struct tile_step {
    uint4 codes[2];
    float scale;
};

/* Where a lane reads. Offsets within the block's rows are 32-bit numbers, counted from its first row. */
template <class T, bool DOUBLED> struct lane_of {
    const nf4_product<T> &p;
    const float *map;
    int64_t first_row;
    const uint8_t *codes;                        /* of the first row */
    int lane, thread;                            /* thread: of the four of a row */
    uint32_t code_at[tiles][2], scale_at[tiles]; /* bytes; blocks */

    TRINE_DEVICE_METHOD lane_of(const nf4_product<T> &p_, const float *map_)
        : p(p_), map(map_), first_row(int64_t(blockIdx.x) * rows), codes(p_.codes + first_row * (p_.k / 2)),
          lane(int(threadIdx.x) % 32), thread(lane % 4)
    {
        const uint32_t row_bytes = uint32_t(p.k / 2);
#pragma unroll
        for (int i = 0; i < tiles; i++) {
#pragma unroll
            for (int half = 0; half < 2; half++) code_at[i][half] = row(i, half) * row_bytes + 16 * thread;
            /* lanes 0 to 3 of a row: the first row's two blocks, the second row's */
            scale_at[i] = row(i, thread / 2) * (row_bytes / 32) + thread % 2;
        }
    }
    /* Rows that there are not are the last one again. */
    TRINE_DEVICE_METHOD uint32_t row(int tile, int half) const
    {
        const int r = 16 * tile + 8 * half + lane / 4;
        return first_row + r < p.n ? r : uint32_t(p.n - 1 - first_row);
    }
    TRINE_DEVICE_METHOD float scale(uint32_t block) const
    {
        const int64_t i = first_row * (p.k / TRINE_NF4_BLOCK) + block;
        return DOUBLED ? p.scales.at(i, map) : static_cast<const float *>(p.scales.absmax)[i];
    }
    /* What lies past K is 0: code 7. */
    TRINE_DEVICE_METHOD void load(tile_step &s, int tile, uint32_t k) const
    {
        const bool inside = k + thread / 2 * TRINE_NF4_BLOCK < uint32_t(p.k);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            s.codes[half] = uint4{0x77777777u, 0x77777777u, 0x77777777u, 0x77777777u};
            if (inside) s.codes[half] = target::load16_once(codes + (code_at[tile][half] + k / 2));
        }
        s.scale = k + thread % 2 * TRINE_NF4_BLOCK < uint32_t(p.k) ? scale(scale_at[tile] + k / TRINE_NF4_BLOCK) : 0.0f;
    }
    /* 16 elements of each of x's rows that this lane multiplies, of block `block` of the step; those of no row are 0. */
    TRINE_DEVICE_METHOD void load_x(uint4 (&x)[2], int columns, uint32_t k, int block) const
    {
        const uint32_t at = k + block * TRINE_NF4_BLOCK;
        const int m = columns + lane / 4;
        x[0] = x[1] = uint4{0, 0, 0, 0};
        if (m >= p.m || at >= uint32_t(p.k)) return;
        const T *from = p.x + m * p.x_m + (at + thread % 2 * 32 + thread / 2 * 16);
        x[0] = target::load16(from);
        x[1] = target::load16(from + 8);
    }
    /* Four lanes of a row: 0 and 1 have the first block of the step, 2 and 3 the second; after it each has a quarter of both. */
    TRINE_DEVICE_METHOD void exchange(uint4 &c) const
    {
        const bool second = thread >= 2;
        const uint32_t x = __shfl_xor_sync(0xffffffffu, second ? c.x : c.z, 2),
                       y = __shfl_xor_sync(0xffffffffu, second ? c.y : c.w, 2);
        if (second) {
            c.x = x;
            c.y = y;
        } else {
            c.z = x;
            c.w = y;
        }
    }
};

/* One block of a tile: 64 terms, four instructions for each eight of x's rows; then its scales. first, second: this lane's codes of
 * its two rows. */
template <class T, int NT> TRINE_DEVICE void add_block(float (&sum)[NT][4], const uint32_t (&first)[2],
                                                       const uint32_t (&second)[2], const uint4 (&x)[NT][2], float scale,
                                                       float scale_8, const unsigned char *table, uint32_t bank)
{
    float part[NT][4] = {};
#pragma unroll
    for (int w = 0; w < 2; w++) {
        const uint32_t a0[4] = {look_up<0>(table, bank, first[w]), look_up<0>(table, bank, second[w]),
                                look_up<1>(table, bank, first[w]), look_up<1>(table, bank, second[w])};
        const uint32_t a1[4] = {look_up<2>(table, bank, first[w]), look_up<2>(table, bank, second[w]),
                                look_up<3>(table, bank, first[w]), look_up<3>(table, bank, second[w])};
#pragma unroll
        for (int n = 0; n < NT; n++) {
            multiply(T{}, part[n], a0, x[n][w].x, x[n][w].y);
            multiply(T{}, part[n], a1, x[n][w].z, x[n][w].w);
        }
    }
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) sum[n][i] = fmaf(i < 2 ? scale : scale_8, part[n][i], sum[n][i]);
}

/* The sums of all warps to d. shared: [warp][row][column]. */
template <int NT, class Lane> TRINE_DEVICE void store_sums(const float (&sum)[tiles][NT][4], float *shared, const Lane &me)
{
    constexpr int columns = 8 * NT;
    const int warp = int(threadIdx.x) / 32;
    __syncthreads(); /* the table has been read */
#pragma unroll
    for (int i = 0; i < tiles; i++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                shared[(warp * rows + 16 * i + j / 2 * 8 + me.lane / 4) * columns + 8 * n + me.thread * 2 + j % 2] = sum[i][n][j];
    __syncthreads();
    for (int i = int(threadIdx.x); i < rows * columns; i += threads) {
        const int row = i % rows, column = i / rows;
        if (column >= me.p.m || me.first_row + row >= me.p.n) continue;
        float all = 0;
        for (int w = 0; w < warps; w++) all += shared[(w * rows + row) * columns + column];
        me.p.store(all, column, me.first_row + row);
    }
}

/* NT: eights of x's rows. DOUBLED: scales are quantised themselves. */
template <class T, int NT, bool DOUBLED> __global__ void __launch_bounds__(threads, 2)
    nf4_mma_kernel(const __grid_constant__ nf4_product<T> p, simt::nf4_book values, simt::nf4_map_values map_values)
{
    __shared__ float map[simt::nf4_map_size], value[16];
    unsigned char *const table = target::dynamic_shared();
    static_assert(warps * rows * 8 * NT * 4 <= int(table_bytes) && threads == 256, "the sums lie where the table was");
    const int t = int(threadIdx.x);
    const lane_of<T, DOUBLED> me(p, map);
    tile_step now[tiles];
    if (t < 16) value[t] = values.at[t];
    if (DOUBLED) map[t] = map_values.at[t];
    __syncthreads();
    uint32_t k = t / 32 * step;
#pragma unroll
    for (int i = 0; i < tiles; i++) me.load(now[i], i, k);
    fill_table<T>(table, value);
    __syncthreads();

    const uint32_t bank = 4 * me.lane;
    float sum[tiles][NT][4] = {};
#pragma unroll 1
    for (; k < uint32_t(p.k); k += warps * step) {
        tile_step next[tiles];
#pragma unroll
        for (int i = 0; i < tiles; i++) {
            me.load(next[i], i, k + warps * step);
            me.exchange(now[i].codes[0]);
            me.exchange(now[i].codes[1]);
        }
#pragma unroll
        for (int block = 0; block < 2; block++) {
            uint4 x[NT][2];
#pragma unroll
            for (int n = 0; n < NT; n++) me.load_x(x[n], 8 * n, k, block);
#pragma unroll
            for (int i = 0; i < tiles; i++) {
                const uint4 &a = now[i].codes[0], &b = now[i].codes[1];
                const uint32_t first[2] = {block ? a.z : a.x, block ? a.w : a.y},
                               second[2] = {block ? b.z : b.x, block ? b.w : b.y};
                const int of_row = me.lane & ~3;
                const float scale = __shfl_sync(0xffffffffu, now[i].scale, of_row + block);
                const float scale_8 = __shfl_sync(0xffffffffu, now[i].scale, of_row + 2 + block);
                add_block<T, NT>(sum[i], first, second, x, scale, scale_8, table, bank);
            }
        }
#pragma unroll
        for (int i = 0; i < tiles; i++) now[i] = next[i];
    }
    store_sums<NT>(sum, reinterpret_cast<float *>(table), me);
}

template <class T, bool DOUBLED> inline trine_status launch(trine_call *call, const nf4_product<T> &p, int64_t n)
{
    const auto kernel = p.m <= 8 ? nf4_mma_kernel<T, 1, DOUBLED> : nf4_mma_kernel<T, 2, DOUBLED>;
    target::allow_shared(kernel, table_bytes);
    return simt::launch(call, kernel, simt::grid(simt::ceil_div(n, rows)), threads, table_bytes, p,
                        simt::nf4_book{TRINE_NF4_VALUES}, simt::nf4_map_values());
}

template <class T> inline trine_status run(trine_call *call, const trine_nf4_matmul_args &a, const trine_nf4_shape &s)
{
    const nf4_product<T> p(a, s);
    /* a query accepted the strides without the addresses */
    if (!p.packed) return simt::nf4_gemv_run<T>(call, a, s);
    return s.doubled ? launch<T, true>(call, p, s.n) : launch<T, false>(call, p, s.n);
}

inline trine_status matmul(trine_call *call, const void *args)
{
    const trine_nf4_matmul_args &a = *static_cast<const trine_nf4_matmul_args *>(args);
    const trine_nf4_shape s = trine_nf4_shape_make(&a);
    TRINE_REQUIRE_THAT(call, a.x.dtype != TRINE_F32 && s.m <= most, "needs f16 or bf16, and at most 16 rows of x");
    TRINE_REQUIRE_THAT(call, s.k <= 1 << 26, "needs K of at most 2^26");
    const trine_status status = simt::nf4_require(call, a, s);
    if (status != TRINE_OK) return status;
    TRINE_END_OF_QUERY(call, 0);
    if (s.m == 0 || s.n == 0) return TRINE_OK;
    return a.x.dtype == TRINE_F16 ? run<simt::f16>(call, a, s) : run<simt::bf16>(call, a, s);
}

} // namespace nf4_mma

#endif
