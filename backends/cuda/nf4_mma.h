/* nf4_matmul with few rows of x, 16 at a time, f16 or bf16, on tensor cores (mma.sync). Bound by the bytes of the packed weight,
 * which are read once: 3 TB/s are about 27 codes a cycle and multiprocessor, so that the way from a code to the tensor core must be
 * short, and the next codes must be under way all the time.
 *
 * The product is made transposed: 16 rows of the weight are a tile's rows, x's rows its 8 or 16 columns. A byte is two neighbours
 * along K, which is what the instruction takes in a register; nf4_table.h looks it up. The order of the terms is free: the four
 * lanes of a row have 4 of each 16 bytes, as a matrix load gives them, so that an instruction has terms of one block of 64 alone,
 * and the block's sum is multiplied by its scale in f32.
 *
 * A block of threads has all its tiles at once, up to 16: its warps are one, two or four groups with tiles of their own, up to four,
 * which a warp's x serves together; the warps of a group take turns along K. Groups are at about the same place of K, so that the
 * first-level cache has x for all. Each warp has a ring of its own in shared memory, which asynchronous copies fill some steps ahead.
 * At the end the group's sums are added up in shared memory, in order. */
#ifndef TRINE_CUDA_NF4_MMA_H
#define TRINE_CUDA_NF4_MMA_H

#include "backends/cuda/mma/mma_sync.h"
#include "backends/cuda/nf4_table.h"

namespace nf4_mma {

using namespace nf4_table;
using simt::nf4_product;

enum {
    step = 2 * TRINE_NF4_BLOCK, /* terms that a warp takes at a time: 64 bytes of a row */
    rows_at_once = 16,          /* of x, that a launch takes */
    most_times = 3              /* that the weight is read; for more rows of x it is better dequantised once */
};

/* How a block works. NT: eights of x's rows. TILES: that a warp has at most. FEW: with the 99 KiB of shared memory that compute
 * capability 8.6 and 8.9 have. */
template <int NT, int TILES, bool DOUBLED, bool FEW> struct layout {
    enum {
        eights = NT,
        tiles = TILES,
        doubled = DOUBLED,
        warps = FEW ? 8 : 16,
        most_groups = FEW ? 8 : 4,
        threads = 32 * warps,
        rows = 16 * tiles,
        stages = FEW ? 3 : 8 / tiles,
        /* a tile of a stage: codes, and for each lane a scale, or a word with the scale's code, and that one's scale */
        at_scales = 16 * (step / 2),
        scale_bytes = DOUBLED ? 8 : 4,
        bytes_tile = at_scales + 32 * scale_bytes,
        bytes_stage = tiles * bytes_tile,
        at_ring = table_bytes,
        shared = at_ring + warps * stages * bytes_stage,
        /* sums take the place of the rings */
        pitch = rows + 4, /* lanes meet different banks */
        of_warp = 8 * NT * pitch
    };
    static_assert(warps * of_warp * 4 <= shared - at_ring, "the sums fit");
};

/* The tiles of 16 rows that a launch makes: each block has `of_block` of them, in `rounds` of at most `at_once`. */
struct schedule {
    uint32_t tiles, of_block, at_once, steps;
    int log_groups;
};

/* 4 bytes to shared memory; those from `bytes` on are 0. */
TRINE_DEVICE void copy4(uint32_t to, const void *p, int bytes)
{
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(__cvta_generic_to_global(p)), "r"(bytes)
                 : "memory");
}

/* The tiles of a group in a round: `count` of them from the first-th of all on. */
struct share {
    uint32_t first;
    int count;
    TRINE_DEVICE_METHOD share(const schedule &s, uint32_t round, uint32_t group)
    {
        const uint32_t begin = blockIdx.x * s.of_block + round, most = (blockIdx.x + 1) * s.of_block,
                       limit = most < s.tiles ? most : s.tiles, end = begin + s.at_once < limit ? begin + s.at_once : limit,
                       all = end > begin ? end - begin : 0;
        first = begin + (all * group >> s.log_groups);
        count = int((all * (group + 1) >> s.log_groups) - (all * group >> s.log_groups));
    }
};

/* A lane's way through its warp's steps, ahead of the multiplications: fills the ring. */
template <class T, class lay> struct reader {
    const nf4_product<T> &p;
    uint32_t at, steps, apart; /* along K */
    int lane;
    share mine;

    /* Rows that there are not are the last one again. */
    TRINE_DEVICE_METHOD uint32_t row(int tile, int in_tile) const
    {
        const uint32_t r = 16 * (mine.first + tile) + in_tile;
        return r < uint32_t(p.n) ? r : uint32_t(p.n) - 1;
    }
    /* What lies past K is 0. */
    TRINE_DEVICE_METHOD void load_scale(uint32_t to, int64_t i, bool inside) const
    {
        if (!lay::doubled) {
            copy4(to, static_cast<const float *>(p.scales.absmax) + (inside ? i : 0), inside ? 4 : 0);
            return;
        }
        const int64_t word = inside ? i / 4 * 4 : 0, left = p.n * (p.k / TRINE_NF4_BLOCK) - word;
        copy4(to, static_cast<const uint8_t *>(p.scales.absmax) + word, left < 4 ? int(left) : 4);
        copy4(to + 4, p.scales.scale + (inside ? i / TRINE_ABSMAX_BLOCK : 0), inside ? 4 : 0);
    }
    /* A step to the stage at `to`; the pieces of 16 bytes lie so that eight rows' pieces of one place meet all banks. */
    TRINE_DEVICE_METHOD void load(uint32_t to)
    {
        if (at < steps) {
            const uint32_t k = at * step, bytes = uint32_t(p.k / 2);
            const bool inside = k + lane % 4 / 2 * TRINE_NF4_BLOCK < uint32_t(p.k);
            const uint8_t *const from = p.codes + (inside ? k / 2 + lane % 4 * 16 : 0);
            const uint32_t there = to + lane / 4 * (step / 2) + ((lane % 4 ^ lane / 8 % 4) << 4);
#pragma unroll
            for (int i = 0; i < lay::tiles; i++) {
                if (i >= mine.count) break;
#pragma unroll
                for (int half = 0; half < 2; half++)
                    mma_sync::copy16_if(there + i * lay::bytes_tile + half * 8 * (step / 2),
                                        from + uint64_t(row(i, 8 * half + lane / 4)) * bytes, inside);
                load_scale(to + i * lay::bytes_tile + lay::at_scales + lane * lay::scale_bytes, scale_index(i, at),
                           k + lane % 4 / 2 * TRINE_NF4_BLOCK < uint32_t(p.k));
            }
            at += apart;
        }
        mma_sync::commit_copies();
    }
    /* This lane's scale of a step: of the row lane / 4, or that and 8, and of the step's first block or its second. */
    TRINE_DEVICE_METHOD int64_t scale_index(int tile, uint32_t at_step) const
    {
        return int64_t(uint64_t(row(tile, lane / 4 + lane % 2 * 8)) * uint32_t(p.k / TRINE_NF4_BLOCK)) + 2 * at_step +
               lane % 4 / 2;
    }
    /* The scales that a lane's sums of a tile want: of both blocks, the row lane / 4 and that + 8. */
    TRINE_DEVICE_METHOD float4 scales_of(const unsigned char *tile_at, int tile, uint32_t at_step, const float *map) const
    {
        const unsigned char *const from = tile_at + lay::at_scales;
        if (!lay::doubled) return *reinterpret_cast<const float4 *>(from + lane / 4 * 16);
        const uint2 v = *reinterpret_cast<const uint2 *>(from + lane * 8);
        const float own = p.scales.of_code(v.x >> scale_index(tile, at_step) % 4 * 8 & 255u, __uint_as_float(v.y), map);
        const int first = lane & ~3;
        return float4{__shfl_sync(0xffffffffu, own, first), __shfl_sync(0xffffffffu, own, first + 1),
                      __shfl_sync(0xffffffffu, own, first + 2), __shfl_sync(0xffffffffu, own, first + 3)};
    }
};

/* 16 elements of each of x's rows that this lane multiplies, of the block from term k on; those of no row are 0. */
template <class T> TRINE_DEVICE void load_x(uint4 (&x)[2], const nf4_product<T> &p, int columns, uint32_t k, int lane)
{
    x[0] = x[1] = uint4{0, 0, 0, 0};
    if (columns + lane / 4 >= p.m || k >= uint32_t(p.k)) return;
    const T *from = p.x + (columns + lane / 4) * p.x_m + (k + lane % 4 * 8);
    x[0] = target::load16(from);
    x[1] = target::load16(from + 32);
}

/* One block of a tile: 64 terms, four instructions for each eight of x's rows; then its scales. codes: this lane's of its two rows,
 * of the first 32 terms and of the others. */
template <class T, int NT> TRINE_DEVICE void add_block(float (&sum)[NT][4], const uint32_t (&codes)[4], const uint4 (&x)[NT][2],
                                                       float scale, float scale_8, const unsigned char *table, uint32_t bank)
{
    float part[NT][4] = {};
#pragma unroll
    for (int w = 0; w < 2; w++) {
        const uint32_t u = codes[2 * w], v = codes[2 * w + 1];
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

/* The sums of a round of all warps to d. */
template <class lay, class T> TRINE_DEVICE void store_sums(const float (&sum)[lay::tiles][lay::eights][4], float *shared,
                                                           const nf4_product<T> &p, const schedule &s, uint32_t round, int warp,
                                                           int lane)
{
    const int log_turns = (lay::warps == 16 ? 4 : 3) - s.log_groups;
    float *const mine = shared + warp * lay::of_warp;
    __syncthreads(); /* nobody reads the rings any more */
#pragma unroll
    for (int i = 0; i < lay::tiles; i++)
#pragma unroll
        for (int n = 0; n < lay::eights; n++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                mine[(8 * n + lane % 4 * 2 + j % 2) * lay::pitch + 16 * i + j / 2 * 8 + lane / 4] = sum[i][n][j];
    __syncthreads();
#pragma unroll 1
    for (int i = int(threadIdx.x); i < p.m * lay::rows << s.log_groups; i += lay::threads) {
        const int row = i % lay::rows, rest = i / lay::rows, group = rest & ((1 << s.log_groups) - 1),
                  column = rest >> s.log_groups;
        const share of_group(s, round, uint32_t(group));
        const int64_t at = int64_t(of_group.first) * 16 + row;
        if (row / 16 >= of_group.count || at >= p.n) continue;
        const float *from = shared + (group << log_turns) * lay::of_warp + column * lay::pitch + row;
        float all = 0;
#pragma unroll 4
        for (int w = 0; w < 1 << log_turns; w++) all += from[w * lay::of_warp];
        p.store(all, column, at);
    }
}

/* A round's sums of a warp. */
template <class lay, class T> TRINE_DEVICE void add_steps(float (&sum)[lay::tiles][lay::eights][4], const nf4_product<T> &p,
                                                          reader<T, lay> &ahead, const unsigned char *ring, uint32_t first_step,
                                                          const unsigned char *table, const float *map)
{
    const uint32_t ring_at = uint32_t(__cvta_generic_to_shared(ring)), bank = 4 * ahead.lane;
    int slot = 0;
#pragma unroll 1
    for (uint32_t i = first_step; i < ahead.steps; i += ahead.apart) {
        /* addresses are derived from the lane again: held, they are more than there are registers */
        asm volatile("" : "+r"(ahead.lane));
        const int lane = ahead.lane;
        uint4 x[2][lay::eights][2];
#pragma unroll
        for (int block = 0; block < 2; block++)
#pragma unroll
            for (int n = 0; n < lay::eights; n++) load_x(x[block][n], p, 8 * n, i * step + block * TRINE_NF4_BLOCK, lane);
        mma_sync::wait_copies<lay::stages - 2>();
        __syncwarp(); /* all lanes' copies are here, and the stage before has been read */
        ahead.load(ring_at + (slot == 0 ? lay::stages - 1 : slot - 1) * lay::bytes_stage);
        /* where this lane's line for the matrix loads is: eight lanes have the first rows or the others of a piece each */
        const int line = lane % 16, piece = lane / 16 ^ line / 2 % 4;
#pragma unroll
        for (int tile = 0; tile < lay::tiles; tile++) {
            if (tile >= ahead.mine.count) break;
            const int at = slot * lay::bytes_stage + tile * lay::bytes_tile;
            const float4 scale = ahead.scales_of(ring + at, tile, i, map);
#pragma unroll
            for (int block = 0; block < 2; block++) {
                uint32_t codes[4];
                mma_sync::load_matrices<false>(codes, ring_at + at + line * (step / 2) + ((piece ^ 2 * block) << 4));
                add_block<T, lay::eights>(sum[tile], codes, x[block], block ? scale.z : scale.x, block ? scale.w : scale.y, table,
                                          bank);
            }
        }
        slot = slot + 1 == lay::stages ? 0 : slot + 1;
    }
}

/* DOUBLED: scales are quantised themselves. */
template <class T, class lay> __global__ void __launch_bounds__(lay::threads, 1)
    nf4_mma_kernel(const __grid_constant__ nf4_product<T> p, const __grid_constant__ simt::nf4_book values,
                   const __grid_constant__ simt::nf4_map_values map_values, const __grid_constant__ schedule s)
{
    __shared__ float map[lay::doubled ? simt::nf4_map_size : 1];
    unsigned char *const table = target::dynamic_shared();
    const int lane = int(threadIdx.x) % 32, warp = __shfl_sync(0xffffffffu, int(threadIdx.x) / 32, 0);
    const uint32_t turns = uint32_t(lay::warps) >> s.log_groups, group = uint32_t(warp) / turns, turn = uint32_t(warp) % turns;
    unsigned char *const ring = table + lay::at_ring + warp * (lay::stages * lay::bytes_stage);
    const uint32_t ring_at = uint32_t(__cvta_generic_to_shared(ring));
#pragma unroll 1
    for (uint32_t round = 0; round < s.of_block; round += s.at_once) {
        reader<T, lay> ahead = {p, turn, s.steps, turns, lane, share(s, round, group)};
#pragma unroll 1
        for (int i = 0; i < lay::stages - 1; i++) ahead.load(ring_at + i * lay::bytes_stage);
        if (round == 0) {
            fill_table<T, lay::threads>(table, values);
            if (lay::doubled)
                for (int i = int(threadIdx.x); i < simt::nf4_map_size; i += lay::threads) map[i] = map_values.at[i];
            __syncthreads();
        }
        float sum[lay::tiles][lay::eights][4] = {};
        add_steps<lay>(sum, p, ahead, ring, turn, table, map);
        mma_sync::wait_copies<0>();
        store_sums<lay>(sum, reinterpret_cast<float *>(table + lay::at_ring), p, s, round, warp, lane);
        __syncthreads(); /* the sums have been read */
    }
}

/* As few rounds as there can be, and in these as few groups: the more tiles a warp has, the less it reads of x. */
template <class lay> inline schedule make_schedule(int64_t n, int64_t k, int64_t units)
{
    const int64_t tiles = simt::ceil_div(n, 16), most = int64_t(lay::tiles) * lay::most_groups,
                  of_block = simt::ceil_div(tiles, units), rounds = simt::ceil_div(of_block, most),
                  at_once = simt::ceil_div(of_block, rounds);
    int log_groups = 0;
    while (int64_t(lay::tiles) << log_groups < at_once) log_groups++;
    return {uint32_t(tiles), uint32_t(of_block), uint32_t(at_once), uint32_t(simt::ceil_div(k, int64_t(step))), log_groups};
}

template <class T, class lay> inline trine_status launch(trine_call *call, const nf4_product<T> &p)
{
    const auto kernel = nf4_mma_kernel<T, lay>;
    const schedule s = make_schedule<lay>(p.n, p.k, call->device->props.compute_units);
    target::allow_shared(kernel, lay::shared);
    return simt::launch(call, kernel, simt::grid(simt::ceil_div(int64_t(s.tiles), int64_t(s.of_block))), lay::threads,
                        lay::shared, p, simt::nf4_book{TRINE_NF4_VALUES}, simt::nf4_map_values(), s);
}

/* Whether the device's shared memory has room for a way to work. */
template <class Layout> inline bool fits(const trine_call *call)
{
    return call->device->props.shared_bytes >= Layout::shared + int64_t(sizeof(simt::nf4_map_values));
}

template <class T, int NT, bool DOUBLED> inline trine_status launch_tiles(trine_call *call, const nf4_product<T> &p)
{
    /* two tiles a block or fewer: rings with more stages */
    return simt::ceil_div(p.n, int64_t(16)) <= 2 * int64_t(call->device->props.compute_units)
               ? launch<T, layout<NT, 2, DOUBLED, false>>(call, p)
               : launch<T, layout<NT, 4, DOUBLED, false>>(call, p);
}
template <class T, bool DOUBLED> inline trine_status launch_for(trine_call *call, const nf4_product<T> &p)
{
    if (!fits<layout<2, 4, true, false>>(call)) return launch<T, layout<2, 1, DOUBLED, true>>(call, p);
    return p.m <= 8 ? launch_tiles<T, 1, DOUBLED>(call, p) : launch_tiles<T, 2, DOUBLED>(call, p);
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
    TRINE_REQUIRE_THAT(call, (fits<layout<2, 1, true, true>>(call)), "needs 95 KiB of shared memory in a block");
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
