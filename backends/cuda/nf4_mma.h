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
 * shared memory, in order. With more than 8 rows of x the warps may be divided into teams that have units of their own and are at
 * about the same place of K, so that the first-level cache has x for all of them. */
#ifndef TRINE_CUDA_NF4_MMA_H
#define TRINE_CUDA_NF4_MMA_H

#include "backends/cuda/mma/mma_sync.h"
#include "backends/cuda/nf4_table.h"

namespace nf4_mma {

using namespace nf4_table;
using simt::nf4_product;

enum {
    step = 2 * TRINE_NF4_BLOCK, /* terms that a warp takes at a time: 64 bytes of a row */
    most_log_teams = 2,
    rows_at_once = 16, /* of x, that a launch takes */
    most_times = 3     /* that the weight is read; for more rows of x it is better dequantised once */
};

/* How a block works. NT: eights of x's rows. Two of them are worth two tiles, which need no more of x. FEW: with the 99 KiB of shared
 * memory that compute capability 8.6 and 8.9 have. */
template <int NT, bool DOUBLED, bool FEW> struct layout {
    enum {
        doubled = DOUBLED,
        warps = FEW ? 8 : 16,
        threads = 32 * warps,
        tiles = FEW ? 1 : NT,
        rows = 16 * tiles,
        stages = tiles == NT && NT == 1 ? 3 : 2, /* more take from L1, which has x, what they bring */
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

/* 4 bytes to shared memory; those from `bytes` on are 0. */
TRINE_DEVICE void copy4(uint32_t to, const void *p, int bytes)
{
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(__cvta_generic_to_global(p)), "r"(bytes)
                 : "memory");
}

/* A warp's place: in which team, and which units its team has. */
template <class Layout> struct team {
    int log_teams, warp_of_block;

    TRINE_DEVICE_METHOD explicit team(int log_teams_)
        : log_teams(log_teams_), warp_of_block(__shfl_sync(0xffffffffu, int(threadIdx.x) / 32, 0))
    {
    }
    TRINE_DEVICE_METHOD int warps() const { return int(Layout::warps) >> log_teams; }
    TRINE_DEVICE_METHOD int warp() const { return warp_of_block & (warps() - 1); }
    TRINE_DEVICE_METHOD int index() const
    {
        int warp = warp_of_block;
        if (!Layout::doubled) asm volatile("" : "+r"(warp)); /* not held from the beginning on: a register that would spill */
        return (warp << log_teams) / Layout::warps;
    }
    TRINE_DEVICE_METHOD unsigned first_unit() const { return (blockIdx.x << log_teams) + index(); }
    TRINE_DEVICE_METHOD unsigned unit_step() const { return gridDim.x << log_teams; }
    /* All of the team. Barrier 0 is the block's. */
    TRINE_DEVICE_METHOD void meet() const { asm volatile("bar.sync %0, %1;" ::"r"(1 + index()), "r"(32 * warps()) : "memory"); }
};

/* A lane's way through its warp's steps, ahead of the multiplications: fills the ring. */
template <class T, class lay, bool DOUBLED> struct reader {
    const nf4_product<T> &p;
    const team<lay> &mine;
    unsigned unit, units;
    uint32_t at, steps; /* along K */
    int lane;
    uint32_t piece[lay::tiles][2]; /* of 16 bytes, that this lane copies first: of the rows lane / 4 and that + 8 */
    uint32_t scale_at[lay::tiles]; /* this lane's first scale: of the rows lane / 4 and that + 8, two blocks each */

    TRINE_DEVICE_METHOD reader(const nf4_product<T> &p_, const team<lay> &mine_, unsigned units_)
        : p(p_), mine(mine_), unit(mine_.first_unit()), units(units_), at(mine_.warp()),
          steps(uint32_t((p_.k + step - 1) / step)), lane(int(threadIdx.x) % 32)
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
                    mma_sync::copy16_if(there + (16 * i + 8 * half) * (step / 2),
                                        p.codes + 16 * uint64_t(piece[i][half] + (inside ? k / 32 : 0)), inside);
                load_scale(to + lay::at_scales + (32 * i + lane) * lay::scale_bytes, scale_at[i] + 2 * at,
                           k + lane % 2 * TRINE_NF4_BLOCK < uint32_t(p.k));
            }
            at += mine.warps();
            if (at >= steps) {
                at = mine.warp();
                unit += mine.unit_step();
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
TRINE_DEVICE float scale_of(const nf4_product<T> &p, const unsigned char *from, uint32_t i, const float *map)
{
    if (!DOUBLED) return *reinterpret_cast<const float *>(from);
    const uint2 v = *reinterpret_cast<const uint2 *>(from);
    return p.scales.of_code(v.x >> i % 4 * 8 & 255u, __uint_as_float(v.y), map);
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

/* A unit's sums of all of the team's warps to d. */
template <class Layout, int NT, class T> TRINE_DEVICE void store_sums(const float (&sum)[Layout::tiles][NT][4], float *shared,
                                                                      const nf4_product<T> &p, const team<Layout> &mine,
                                                                      unsigned unit)
{
    int lane; /* read again: held, it is one register too many */
    asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
    float *const of_team = shared + mine.index() * mine.warps() * Layout::of_warp;
    mine.meet(); /* the unit before has been read */
#pragma unroll
    for (int i = 0; i < Layout::tiles; i++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const int column = 8 * n + lane % 4 * 2 + j % 2, row = 16 * i + j / 2 * 8 + lane / 4;
                if (column < p.m) of_team[mine.warp() * Layout::of_warp + column * Layout::pitch + row] = sum[i][n][j];
            }
    mine.meet();
    for (int i = mine.warp() * 32 + lane; i < p.m * Layout::rows; i += mine.warps() * 32) {
        const int row = i % Layout::rows, column = i / Layout::rows;
        const int64_t at = int64_t(unit) * Layout::rows + row;
        if (at >= p.n) continue;
        float all = 0;
#pragma unroll 4
        for (int w = 0; w < mine.warps(); w++) all += of_team[w * Layout::of_warp + column * Layout::pitch + row];
        p.store(all, column, at);
    }
}

/* DOUBLED: scales are quantised themselves. */
template <class T, int NT, bool DOUBLED, bool FEW> __global__ void __launch_bounds__(layout<NT, DOUBLED, FEW>::threads, 1)
    nf4_mma_kernel(const __grid_constant__ nf4_product<T> p, const __grid_constant__ simt::nf4_book values,
                   const __grid_constant__ simt::nf4_map_values map_values, unsigned units, int log_teams)
{
    using lay = layout<NT, DOUBLED, FEW>;
    __shared__ float map[DOUBLED ? simt::nf4_map_size : 1];
    unsigned char *const table = target::dynamic_shared();
    int lane = int(threadIdx.x) % 32;
    const team<lay> mine(log_teams);
    unsigned char *const ring = table + lay::at_ring + mine.warp_of_block * (lay::stages * lay::bytes_stage);
    const uint32_t ring_at = uint32_t(__cvta_generic_to_shared(ring)), bank = 4 * lane;
    reader<T, lay, DOUBLED> ahead(p, mine, units);
    const uint32_t steps = ahead.steps;
#pragma unroll 1
    for (int i = 0; i < lay::stages - 1; i++) ahead.load(ring_at + i * lay::bytes_stage);
    fill_table<T, lay::threads>(table, values);
    if (DOUBLED)
        for (int i = int(threadIdx.x); i < simt::nf4_map_size; i += lay::threads) map[i] = map_values.at[i];
    __syncthreads();

    int slot = 0;
    for (unsigned unit = mine.first_unit(); unit < units; unit += mine.unit_step()) {
        float sum[lay::tiles][NT][4] = {};
        uint32_t first_scales = 0; /* of each tile, which of a word of codes */
        if (DOUBLED)
#pragma unroll
            for (int tile = 0; tile < lay::tiles; tile++)
                first_scales |= uint32_t(scale_index<lay>(p, unit, tile, lane) & 3) << 2 * tile;
#pragma unroll 1
        for (uint32_t i = mine.warp(); i < steps; i += mine.warps()) {
            uint4 x[2][NT][2];
#pragma unroll
            for (int block = 0; block < 2; block++)
#pragma unroll
                for (int n = 0; n < NT; n++) load_x(x[block][n], p, 8 * n, i * step + block * TRINE_NF4_BLOCK, lane);
            mma_sync::wait_copies<lay::stages - 2>();
            __syncwarp(); /* all lanes' copies are here, and the stage before has been read */
            /* addresses are derived from the lane again: held, they are more than there are registers */
            asm volatile("" : "+r"(ahead.lane), "+r"(lane));
            ahead.load(ring_at + (slot == 0 ? lay::stages - 1 : slot - 1) * lay::bytes_stage);
            const unsigned char *const stage = ring + slot * lay::bytes_stage;
            float scale[lay::tiles];
#pragma unroll
            for (int tile = 0; tile < lay::tiles; tile++) {
                scale[tile] = scale_of<T, DOUBLED>(p, stage + lay::at_scales + (32 * tile + lane) * lay::scale_bytes,
                                                   (first_scales >> 2 * tile) + 2 * i, map);
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
        }
        store_sums<lay, NT>(sum, reinterpret_cast<float *>(table + lay::at_sums), p, mine, unit);
    }
}

/* As many teams as leave the busiest multiprocessor no more units. Few rows of x are read so seldom that teams bring nothing. */
template <class Layout> inline int choose_log_teams(int64_t units, int64_t blocks, int m)
{
    if (m <= 8) return 0;
    int log = int(most_log_teams);
    while (simt::ceil_div(units, blocks << log) << log > simt::ceil_div(units, blocks)) log--;
    return log;
}

template <class T, int NT, bool DOUBLED, bool FEW> inline trine_status launch(trine_call *call, const nf4_product<T> &p)
{
    using lay = layout<NT, DOUBLED, FEW>;
    const auto kernel = nf4_mma_kernel<T, NT, DOUBLED, FEW>;
    const int64_t units = simt::ceil_div(p.n, int64_t(lay::rows)), most_blocks = call->device->props.compute_units;
    const int log_teams = choose_log_teams<lay>(units, most_blocks, p.m);
    const int64_t blocks = simt::ceil_div(units, int64_t(1) << log_teams);
    target::allow_shared(kernel, lay::shared);
    return simt::launch(call, kernel, simt::grid(blocks < most_blocks ? blocks : most_blocks), lay::threads, lay::shared, p,
                        simt::nf4_book{TRINE_NF4_VALUES}, simt::nf4_map_values(), unsigned(units), log_teams);
}

/* Whether the device's shared memory has room for a way to work. */
template <class Layout> inline bool fits(const trine_call *call)
{
    return call->device->props.shared_bytes >= Layout::shared + int64_t(sizeof(simt::nf4_map_values));
}

template <class T, bool DOUBLED> inline trine_status launch_for(trine_call *call, const nf4_product<T> &p)
{
    if (p.m <= 8 && fits<layout<1, true, false>>(call)) return launch<T, 1, DOUBLED, false>(call, p);
    if (fits<layout<2, true, false>>(call)) return launch<T, 2, DOUBLED, false>(call, p);
    return launch<T, 2, DOUBLED, true>(call, p);
}

template <class T> inline trine_status run(trine_call *call, const trine_nf4_matmul_args &a, const trine_nf4_shape &s)
{
    const nf4_product<T> p(a, s);
    /* a query accepted the strides without the addresses */
    if (!p.packed || uintptr_t(a.absmax.data) % 4 != 0) return simt::nf4_gemv_run<T>(call, a, s);
    trine_status status = TRINE_OK;
    for (int64_t m = 0; m < s.m && status == TRINE_OK; m += rows_at_once) {
        const nf4_product<T> some = p.rows_from(m, rows_at_once);
        status = s.doubled ? launch_for<T, true>(call, some) : launch_for<T, false>(call, some);
    }
    return status;
}

inline trine_status matmul(trine_call *call, const void *args)
{
    const trine_nf4_matmul_args &a = *static_cast<const trine_nf4_matmul_args *>(args);
    const trine_nf4_shape s = trine_nf4_shape_make(&a);
    TRINE_REQUIRE_THAT(call, (fits<layout<2, true, true>>(call)), "needs 95 KiB of shared memory in a block");
    TRINE_REQUIRE_THAT(call, a.x.dtype != TRINE_F32 && s.m <= most_times * rows_at_once,
                       "needs f16 or bf16, and at most 48 rows of x");
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
