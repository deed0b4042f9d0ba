/* nf4_matmul with few rows of x, 16 at a time, f16 or bf16, on tensor cores (mma.sync). Bound by the bytes of the packed weight,
 * which are read once: 3 TB/s are about 27 codes a cycle and multiprocessor, so that the way from a code to the tensor core must be
 * short, and the next codes must be under way all the time.
 *
 * The product is made transposed: 16 rows of the weight are a tile's rows, x's rows its 8 or 16 columns. A byte is two neighbours
 * along K, which is what the instruction takes in a register: a table of 256 pairs gives them in one look-up, and every bank of
 * shared memory has a copy of the table, so that no two lanes meet. The order of the terms is free: the four lanes of a row have 8
 * of the 32 bytes of a block of 64 each, so that an instruction has terms of one block alone, and the block's sum is multiplied by
 * its scale in f32.
 *
 * A block of threads fills the table once and makes one unit of rows after the other. Its warps take turns along K; each has a ring
 * of its own in shared memory, which asynchronous copies fill some steps ahead, across units, and adds its sums to the others' in
 * shared memory, in order. */
#ifndef TRINE_CUDA_NF4_MMA_H
#define TRINE_CUDA_NF4_MMA_H

#include "backends/cuda/mma/mma_sync.h"
#include "backends/simt/nf4_matmul.h"

namespace nf4_mma {

using simt::nf4_product;

enum {
    warps = 16,
    threads = 32 * warps,
    step = 2 * TRINE_NF4_BLOCK, /* terms that a warp takes at a time: 64 bytes of a row */
    most_times = 3              /* that the weight is read; for more rows of x it is better dequantised once */
};

/* The table: entry [byte] has its pair once for every bank, and as many bytes unused, so that one byte permutation makes of a byte
 * and the lane's bank an address: shifts and masks take the same unit, and would be the bound. */
enum { entry_bytes = 256, table_bytes = 256 * entry_bytes };

/* How a block works. NT: eights of x's rows. Two of them are worth two tiles, which need no more of x. */
template <int NT, bool DOUBLED> struct layout {
    enum {
        tiles = NT,
        rows = 16 * tiles,
        stages = NT == 1 ? 3 : 2, /* more take from L1, which has x, what they bring */
        /* a stage: codes, and for each lane a scale, or a word with the scale's code, and that one's scale */
        at_scales = tiles * 16 * (step / 2),
        scale_bytes = DOUBLED ? 8 : 4,
        bytes_stage = at_scales + tiles * 32 * scale_bytes,
        pitch = rows + 4, /* of sums: lanes meet different banks */
        of_warp = 8 * NT * pitch,
        at_ring = table_bytes,
        at_sums = at_ring + warps * stages * bytes_stage,
        shared = at_sums + warps * of_warp * 4
    };
};

/* The first element of a byte in the lower half of its pair. Two threads have a byte; neighbours begin at different banks. */
template <class T> TRINE_DEVICE void fill_table(unsigned char *table, const simt::nf4_book &values)
{
    const int byte = int(threadIdx.x) / 2, half = int(threadIdx.x) % 2;
    const uint32_t pair =
        uint32_t(simt::from_f32<T>(values.at[byte >> 4]).bits) | uint32_t(simt::from_f32<T>(values.at[byte & 15]).bits) << 16;
#pragma unroll
    for (int i = 0; i < 4; i++)
        *reinterpret_cast<uint4 *>(table + byte * entry_bytes + (4 * half + i + byte) % 8 * 16) = uint4{pair, pair, pair, pair};
}

/* Byte b of a word, looked up. `bank`: four times the lane. */
template <int b> TRINE_DEVICE uint32_t look_up(const unsigned char *table, uint32_t bank, uint32_t word)
{
    return *reinterpret_cast<const uint32_t *>(table + target::byte_permute<0x5504 + 16 * b>(word, bank));
}

/* 4 bytes to shared memory; those from `bytes` on are 0. */
TRINE_DEVICE void copy4(uint32_t to, const void *p, int bytes)
{
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(__cvta_generic_to_global(p)), "r"(bytes)
                 : "memory");
}

/* A lane's way through its warp's steps, ahead of the multiplications: fills the ring. */
template <class T, int NT, bool DOUBLED> struct reader {
    using lay = layout<NT, DOUBLED>;
    const nf4_product<T> &p;
    unsigned unit, units;
    uint32_t at, steps; /* along K */
    int lane;
    uint32_t piece[lay::tiles][2]; /* of 16 bytes, that this lane copies first: of the rows lane / 4 and that + 8 */
    uint32_t scale_at[lay::tiles]; /* this lane's first scale: of the rows lane / 4 and that + 8, two blocks each */

    TRINE_DEVICE_METHOD reader(const nf4_product<T> &p_, unsigned units_)
        : p(p_), unit(blockIdx.x), units(units_), at(threadIdx.x / 32), steps(uint32_t((p_.k + step - 1) / step)),
          lane(int(threadIdx.x) % 32)
    {
        if (at >= steps) unit = units; /* nothing for this warp */
        place();
    }
    /* Rows that there are not are the last one again. */
    TRINE_DEVICE_METHOD int64_t row(int tile, int half) const
    {
        const int64_t r = int64_t(unit) * lay::rows + 16 * tile + 8 * half + lane / 4;
        return r < p.n ? r : p.n - 1;
    }
    TRINE_DEVICE_METHOD void place()
    {
#pragma unroll
        for (int i = 0; i < lay::tiles; i++) {
#pragma unroll
            for (int half = 0; half < 2; half++) piece[i][half] = uint32_t(row(i, half) * (p.k / 32)) + uint32_t(lane % 4);
            scale_at[i] = uint32_t(row(i, lane % 4 / 2) * (p.k / TRINE_NF4_BLOCK)) + uint32_t(lane % 2);
        }
    }
    /* What lies past K is 0. */
    TRINE_DEVICE_METHOD void load_scale(uint32_t to, int64_t i, bool inside) const
    {
        if (!DOUBLED) {
            copy4(to, static_cast<const float *>(p.scales.absmax) + (inside ? i : 0), inside ? 4 : 0);
            return;
        }
        const int64_t word = inside ? i / 4 * 4 : 0, left = p.n * (p.k / TRINE_NF4_BLOCK) - word;
        copy4(to, static_cast<const uint8_t *>(p.scales.absmax) + word, left < 4 ? int(left) : 4);
        copy4(to + 4, p.scales.scale + (inside ? i / TRINE_ABSMAX_BLOCK : 0), inside ? 4 : 0);
    }
    /* A step to the stage at `to`; the piece of 16 bytes that row r has of a block lies where no other of four rows has it. */
    TRINE_DEVICE_METHOD void load(uint32_t to)
    {
        if (unit < units) {
            const uint32_t k = at * step;
            const bool inside = k + lane % 4 / 2 * TRINE_NF4_BLOCK < uint32_t(p.k);
            const uint32_t there = to + lane / 4 * (step / 2) + ((lane % 4 ^ lane / 8 % 2 * 2) << 4);
#pragma unroll
            for (int i = 0; i < lay::tiles; i++) {
#pragma unroll
                for (int half = 0; half < 2; half++)
                    mma_sync::copy16(there + (16 * i + 8 * half) * (step / 2),
                                     p.codes + 16 * uint64_t(piece[i][half] + (inside ? k / 32 : 0)), inside ? 16 : 0);
                load_scale(to + lay::at_scales + (32 * i + lane) * lay::scale_bytes, scale_at[i] + 2 * at,
                           k + lane % 2 * TRINE_NF4_BLOCK < uint32_t(p.k));
            }
            at += warps;
            if (at >= steps) {
                at = threadIdx.x / 32;
                unit += gridDim.x;
                place();
            }
        }
        mma_sync::commit_copies();
    }
};

/* A lane's codes of a block in one row, and its scale among the four of a step. */
TRINE_DEVICE uint2 codes_of(const unsigned char *stage, int row, int block, int lane)
{
    const int piece = (2 * block + lane % 4 / 2) ^ row / 2 % 2 * 2;
    return *reinterpret_cast<const uint2 *>(stage + row * (step / 2) + piece * 16 + lane % 2 * 8);
}
template <class T, bool DOUBLED>
TRINE_DEVICE float scale_of(const nf4_product<T> &p, const unsigned char *from, int64_t i, const float *map)
{
    if (!DOUBLED) return *reinterpret_cast<const float *>(from);
    const uint2 v = *reinterpret_cast<const uint2 *>(from);
    return p.scales.of_code(v.x >> int(i % 4) * 8 & 255u, __uint_as_float(v.y), map);
}

/* Which of all scales it is: as reader::scale_at has it. */
template <class Layout, class T> TRINE_DEVICE int64_t scale_index(const nf4_product<T> &p, unsigned unit, int tile, int lane)
{
    const int64_t row = int64_t(unit) * Layout::rows + 16 * tile + lane % 4 / 2 * 8 + lane / 4;
    return (row < p.n ? row : p.n - 1) * (p.k / TRINE_NF4_BLOCK) + lane % 2;
}

/* 16 elements of each of x's rows that this lane multiplies, from term k on; those of no row are 0. */
template <class T> TRINE_DEVICE void load_x(uint4 (&x)[2], const nf4_product<T> &p, int columns, uint32_t k, int lane)
{
    x[0] = x[1] = uint4{0, 0, 0, 0};
    if (columns + lane / 4 >= p.m || k >= uint32_t(p.k)) return;
    const T *from = p.x + (columns + lane / 4) * p.x_m + (k + lane % 4 * 16);
    x[0] = target::load16(from);
    x[1] = target::load16(from + 8);
}

/* One block of a tile: 64 terms, four instructions for each eight of x's rows; then its scales. first, second: this lane's codes of
 * its two rows. */
template <class T, int NT> TRINE_DEVICE void add_block(float (&sum)[NT][4], uint2 first, uint2 second, const uint4 (&x)[NT][2],
                                                       float scale, float scale_8, const unsigned char *table, uint32_t bank)
{
    float part[NT][4] = {};
#pragma unroll
    for (int w = 0; w < 2; w++) {
        const uint32_t u = w ? first.y : first.x, v = w ? second.y : second.x;
        const uint32_t a0[4] = {look_up<0>(table, bank, u), look_up<0>(table, bank, v), look_up<1>(table, bank, u),
                                look_up<1>(table, bank, v)};
        const uint32_t a1[4] = {look_up<2>(table, bank, u), look_up<2>(table, bank, v), look_up<3>(table, bank, u),
                                look_up<3>(table, bank, v)};
#pragma unroll
        for (int n = 0; n < NT; n++) {
            mma_sync::multiply(part[n], a0, x[n][w].x, x[n][w].y, T{});
            mma_sync::multiply(part[n], a1, x[n][w].z, x[n][w].w, T{});
        }
    }
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) sum[n][i] = fmaf(i < 2 ? scale : scale_8, part[n][i], sum[n][i]);
}

/* A unit's sums of all warps to d. */
template <class Layout, int NT, class T>
TRINE_DEVICE void store_sums(const float (&sum)[Layout::tiles][NT][4], float *shared, const nf4_product<T> &p, unsigned unit)
{
    const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
    __syncthreads(); /* the unit before has been read */
#pragma unroll
    for (int i = 0; i < Layout::tiles; i++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const int column = 8 * n + lane % 4 * 2 + j % 2, row = 16 * i + j / 2 * 8 + lane / 4;
                if (column < p.m) shared[warp * Layout::of_warp + column * Layout::pitch + row] = sum[i][n][j];
            }
    __syncthreads();
    for (int i = int(threadIdx.x); i < p.m * Layout::rows; i += threads) {
        const int row = i % Layout::rows, column = i / Layout::rows;
        const int64_t at = int64_t(unit) * Layout::rows + row;
        if (at >= p.n) continue;
        float all = 0;
#pragma unroll
        for (int w = 0; w < warps; w++) all += shared[w * Layout::of_warp + column * Layout::pitch + row];
        p.store(all, column, at);
    }
}

/* DOUBLED: scales are quantised themselves. */
template <class T, int NT, bool DOUBLED> __global__ void __launch_bounds__(threads, 1)
    nf4_mma_kernel(const __grid_constant__ nf4_product<T> p, const __grid_constant__ simt::nf4_book values,
                   const __grid_constant__ simt::nf4_map_values map_values, unsigned units)
{
    using lay = layout<NT, DOUBLED>;
    __shared__ float map[DOUBLED ? simt::nf4_map_size : 1];
    unsigned char *const table = target::dynamic_shared();
    int lane = int(threadIdx.x) % 32;
    const int warp = int(threadIdx.x) / 32;
    unsigned char *const ring = table + lay::at_ring + warp * (lay::stages * lay::bytes_stage);
    const uint32_t ring_at = uint32_t(__cvta_generic_to_shared(ring)), bank = 4 * lane;
    reader<T, NT, DOUBLED> ahead(p, units);
    const uint32_t steps = ahead.steps;
#pragma unroll 1
    for (int i = 0; i < lay::stages - 1; i++) ahead.load(ring_at + i * lay::bytes_stage);
    fill_table<T>(table, values);
    if (DOUBLED && threadIdx.x < simt::nf4_map_size) map[threadIdx.x] = map_values.at[threadIdx.x];
    __syncthreads();

    int slot = 0, next = lay::stages - 1;
    for (unsigned unit = blockIdx.x; unit < units; unit += gridDim.x) {
        float sum[lay::tiles][NT][4] = {};
#pragma unroll 1
        for (uint32_t i = warp; i < steps; i += warps) {
            uint4 x[2][NT][2];
#pragma unroll
            for (int block = 0; block < 2; block++)
#pragma unroll
                for (int n = 0; n < NT; n++) load_x(x[block][n], p, 8 * n, i * step + block * TRINE_NF4_BLOCK, lane);
            mma_sync::wait_copies<lay::stages - 2>();
            __syncwarp(); /* all lanes' copies are here, and the stage before has been read */
            /* addresses are derived from the lane again: held, they are more than there are registers */
            asm volatile("" : "+r"(ahead.lane), "+r"(lane));
            ahead.load(ring_at + next * lay::bytes_stage);
            const unsigned char *const stage = ring + slot * lay::bytes_stage;
            float scale[lay::tiles];
#pragma unroll
            for (int tile = 0; tile < lay::tiles; tile++) {
                const int64_t block_of = DOUBLED ? scale_index<lay>(p, unit, tile, lane) + 2 * int64_t(i) : 0;
                scale[tile] =
                    scale_of<T, DOUBLED>(p, stage + lay::at_scales + (32 * tile + lane) * lay::scale_bytes, block_of, map);
            }
#pragma unroll
            for (int block = 0; block < 2; block++)
#pragma unroll
                for (int tile = 0; tile < lay::tiles; tile++) {
                    const int row = 16 * tile + lane / 4, from = (lane & ~3) + block;
                    add_block<T, NT>(sum[tile], codes_of(stage, row, block, lane), codes_of(stage, row + 8, block, lane),
                                     x[block], __shfl_sync(0xffffffffu, scale[tile], from),
                                     __shfl_sync(0xffffffffu, scale[tile], from + 2), table, bank);
                }
            slot = slot + 1 == lay::stages ? 0 : slot + 1;
            next = next + 1 == lay::stages ? 0 : next + 1;
        }
        store_sums<lay, NT>(sum, reinterpret_cast<float *>(table + lay::at_sums), p, unit);
    }
}

template <class T, int NT, bool DOUBLED> inline trine_status launch(trine_call *call, const nf4_product<T> &p)
{
    using lay = layout<NT, DOUBLED>;
    const auto kernel = nf4_mma_kernel<T, NT, DOUBLED>;
    const int64_t units = simt::ceil_div(p.n, int64_t(lay::rows)), most_blocks = call->device->props.compute_units;
    target::allow_shared(kernel, lay::shared);
    return simt::launch(call, kernel, simt::grid(units < most_blocks ? units : most_blocks), threads, lay::shared, p,
                        simt::nf4_book{TRINE_NF4_VALUES}, simt::nf4_map_values(), unsigned(units));
}

/* Rows of x that a launch takes: what the device's shared memory has room for. */
inline int rows_at_once(const trine_call *call)
{
    const int64_t room = call->device->props.shared_bytes - int64_t(sizeof(simt::nf4_map_values));
    return room >= layout<2, true>::shared ? 16 : room >= layout<1, true>::shared ? 8 : 0;
}

template <class T> inline trine_status run(trine_call *call, const trine_nf4_matmul_args &a, const trine_nf4_shape &s)
{
    const nf4_product<T> p(a, s);
    /* a query accepted the strides without the addresses */
    if (!p.packed || uintptr_t(a.absmax.data) % 4 != 0) return simt::nf4_gemv_run<T>(call, a, s);
    const int at_once = rows_at_once(call);
    trine_status status = TRINE_OK;
    for (int64_t m = 0; m < s.m && status == TRINE_OK; m += at_once) {
        const nf4_product<T> some = p.rows_from(m, at_once);
        if (some.m <= 8)
            status = s.doubled ? launch<T, 1, true>(call, some) : launch<T, 1, false>(call, some);
        else
            status = s.doubled ? launch<T, 2, true>(call, some) : launch<T, 2, false>(call, some);
    }
    return status;
}

inline trine_status matmul(trine_call *call, const void *args)
{
    const trine_nf4_matmul_args &a = *static_cast<const trine_nf4_matmul_args *>(args);
    const trine_nf4_shape s = trine_nf4_shape_make(&a);
    const int at_once = rows_at_once(call);
    TRINE_REQUIRE_THAT(call, at_once > 0, "needs 135 KiB of shared memory in a block");
    TRINE_REQUIRE_THAT(call, a.x.dtype != TRINE_F32 && s.m <= most_times * at_once,
                       "needs f16 or bf16, and at most 48 rows of x (24 with less than 181 KiB of shared memory)");
    TRINE_REQUIRE_THAT(call, s.k <= 1 << 26 && (s.k == 0 || s.n <= (int64_t(1) << 36) / s.k),
                       "needs K of at most 2^26 and a weight of at most 2^36 elements");
    const trine_status status = simt::nf4_require(call, a, s);
    if (status != TRINE_OK) return status;
    TRINE_END_OF_QUERY(call, 0);
    if (s.m == 0 || s.n == 0) return TRINE_OK;
    return a.x.dtype == TRINE_F16 ? run<simt::f16>(call, a, s) : run<simt::bf16>(call, a, s);
}

} // namespace nf4_mma

#endif
