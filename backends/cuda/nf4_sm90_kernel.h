/* sm90: nf4_matmul with many rows of x, f16 or bf16, on Hopper's tensor cores. The weight is decoded on its way there: its packed codes
 * are all that is read of it, once for 64, 128 or 256 rows of x.
 *
 * The product is made transposed: 64 rows of the weight are the rows of an instruction, which takes them from registers, and x's rows
 * its columns, which lie in shared memory. One warp has TMA load codes and x into a ring of stages of 64 terms, a block of the
 * weight with one scale a row. A lane of a multiplying warpgroup looks the bytes that it needs up (nf4_table.h): two neighbouring
 * terms, as the instruction wants them; the pair is multiplied by its scale, which is the sum of two 16-bit floats, so that the
 * product is rounded once. While a stage is multiplied, the next one is decoded.
 *
 * Two blocks of a cluster have neighbouring rows of the weight and load half of x each, for both. */
#ifndef TRINE_CUDA_NF4_SM90_KERNEL_H
#define TRINE_CUDA_NF4_SM90_KERNEL_H

#include "backends/cuda/matmul_sm90_tile.h"
#include "backends/cuda/nf4_table.h"

namespace sm90nf4 {

using simt::nf4_product;
using sm90::ring_place; /* a stage's x lies at a(), its codes at b() */

enum { warpgroup = 128, together = 2, terms = TRINE_NF4_BLOCK, line_codes = terms / 2 };

/* ROWS: of x. TURNS: 1, or two pairs of warpgroups that take turns along K, where decoding takes more time than multiplying. */
template <int ROWS, int STAGES, int TURNS> struct tile {
    enum {
        columns = ROWS,
        stages = STAGES,
        rows = 128, /* of the weight */
        turns = TURNS,
        groups = rows / 64,
        multipliers = turns * groups * warpgroup,
        trades_registers = ROWS >= 128 || TURNS > 1, /* as sm90::tile */
        registers = TURNS > 1 ? 112 : 232,           /* then, of a multiplying thread, and of a loading one */
        registers_left = TURNS > 1 ? 32 : 40,
        threads = multipliers + (trades_registers ? warpgroup : 32),
        bytes_a = ROWS * wgmma::line_bytes, /* x */
        bytes_codes = rows * line_codes,
        bytes_stage = bytes_a + bytes_codes,
        /* where a warpgroup turns its sums: 32 rows of x, 64 of the weight and room that keeps lanes on different banks */
        pitch = 64 + 4,
        turn_rows = 32,
        staging = turn_rows * pitch * 4,
        /* offsets from the first multiple of 1024 behind the table */
        at_staging = stages * bytes_stage,
        at_barriers = at_staging + groups * staging,
        shared = nf4_table::table_bytes + at_barriers + 2 * 8 * stages + wgmma::pattern_bytes
    };
    static_assert(bytes_stage % wgmma::pattern_bytes == 0, "patterns are whole");
};

/* The work: units of a cluster's rows of the weight, a tile's rows of x and a part of K. */
struct schedule {
    unsigned units, columns, splits;
    int steps;
    float *parts; /* [split][m][n], or NULL: sums go to d */
};
struct maps {
    CUtensorMap x, codes;
};

template <class Tile> struct work {
    int64_t row; /* the first of the weight's that this block has */
    int column, first_step, steps;
    unsigned split;
    TRINE_DEVICE_METHOD work(const schedule &s, unsigned unit, uint32_t rank)
    {
        const unsigned rest = unit / s.columns;
        column = int(unit - rest * s.columns) * Tile::columns;
        split = rest % s.splits;
        row = (int64_t(rest / s.splits) * together + rank) * Tile::rows;
        first_step = int(unsigned(s.steps) * split / s.splits);
        steps = int(unsigned(s.steps) * (split + 1) / s.splits) - first_step;
    }
};

/* The loading warp. */
template <class Tile> TRINE_DEVICE void load_stages(const maps &m, const schedule &s, uint32_t base)
{
    const uint32_t rank = ptx::cluster_rank();
    const unsigned apart = ptx::cluster_count();
    const bool leads = ptx::elected();
    ring_place<Tile> at(base);
    for (unsigned unit = ptx::cluster_index(); unit < s.units; unit += apart) {
        const work<Tile> w(s, unit, rank);
        const int half = Tile::columns / together * int(rank);
#pragma unroll 1
        for (int i = 0; i < w.steps; i++) {
            const int step = w.first_step + i;
            ptx::barrier_wait(at.empty(), at.parity ^ 1);
            if (leads) {
                ptx::barrier_expect(at.full(), Tile::bytes_stage);
                ptx::load_box(at.b(), &m.codes, {step * line_codes, int(w.row), {}}, true, at.full());
                ptx::load_box_shared(at.a() + half * wgmma::line_bytes, &m.x, {step * terms, w.column + half, {}}, true,
                                     at.full(), (1 << together) - 1);
            }
            at.advance();
        }
    }
}

/* A scale as two 16-bit floats whose sum it is, each twice in a word; and a pair times it. */
template <class T> struct pair_scale;
#define TRINE_PAIR_SCALE(T, NAME, TO_F32) \
    template <> struct pair_scale<T> { \
        uint32_t high, low; \
        TRINE_DEVICE_METHOD explicit pair_scale(float s) \
        { \
            asm("cvt.rn." NAME ".f32 %0, %1, %1;" : "=r"(high) : "f"(s)); \
            const float rest = s - TO_F32(uint16_t(high)); \
            asm("cvt.rn." NAME ".f32 %0, %1, %1;" : "=r"(low) : "f"(rest)); \
        } \
        TRINE_DEVICE_METHOD uint32_t times(uint32_t pair) const \
        { \
            uint32_t small, y; \
            asm("mul.rn." NAME " %0, %1, %2;" : "=r"(small) : "r"(pair), "r"(low)); \
            asm("fma.rn." NAME " %0, %1, %2, %3;" : "=r"(y) : "r"(pair), "r"(high), "r"(small)); \
            return y; \
        } \
    };
TRINE_PAIR_SCALE(simt::f16, "f16x2", target::f16_to_f32)
TRINE_PAIR_SCALE(simt::bf16, "bf16x2", target::bf16_to_f32)
#undef TRINE_PAIR_SCALE

/* A lane's way from codes to the first operand, of the rows lane / 4 and that + 8 of its warp's 16. */
template <class T, class Tile> struct decoder {
    const unsigned char *table;
    uint32_t bank, selector, own, swizzled;
    const float *scales; /* of block lane % 4 of its first row, and of the other one so much further */
    int apart, lane, turn;
    int left; /* blocks from there on; none where there is no row */
    float now[2], next[2];

    TRINE_DEVICE_METHOD decoder(const unsigned char *table_, int group, int turn_, int thread)
        : table(table_), lane(thread % 32), turn(turn_)
    {
        const int row = group * 64 + thread / 32 * 16 + lane / 4;
        bank = uint32_t(4 * lane);
        selector = 0x5504u + 16u * uint32_t(lane % 4);
        own = uint32_t(row * line_codes);
        swizzled = uint32_t(row / 4 % 2 * 16);
    }
    TRINE_DEVICE_METHOD void begin(const nf4_product<T> &p, int64_t row, int first_block, int blocks)
    {
        row += own / line_codes;
        const int64_t in_row = p.k / TRINE_NF4_BLOCK, last = p.n - 1, first = row < last ? row : last;
        scales = static_cast<const float *>(p.scales.absmax) + first * in_row + first_block + lane % 4;
        apart = int((row + 8 < last ? row + 8 - first : last - first) * in_row);
        left = blocks - lane % 4;
        fetch_scales();
    }
    /* The scales of the next four blocks, one a lane. */
    TRINE_DEVICE_METHOD void fetch_scales()
    {
        next[0] = left > 0 ? scales[0] : 0.0f;
        next[1] = left > 0 ? scales[apart] : 0.0f;
        scales += 4;
        left -= 4;
    }
    /* Block i of the unit, its codes in shared memory. */
    TRINE_DEVICE_METHOD void run(uint32_t (&a)[4][4], uint32_t codes, int i)
    {
        if (i % 4 == turn) {
            /* volatile: else the compiler copies every time, and so waits for what was just asked for */
            asm volatile("mov.b32 %0, %2; mov.b32 %1, %3;" : "=&f"(now[0]), "=f"(now[1]) : "f"(next[0]), "f"(next[1]));
        } else if (i % 4 == turn + 2) {
            fetch_scales();
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const pair_scale<T> scale(__shfl_sync(0xffffffffu, now[half], (lane & ~3) + i % 4));
#pragma unroll
            for (int piece = 0; piece < 2; piece++) {
                const int4 v = ptx::load_shared_words(codes + own + half * 8 * line_codes + (swizzled ^ 16 * piece));
                a[2 * piece][half] = scale.times(pair_of(uint32_t(v.x)));
                a[2 * piece][2 + half] = scale.times(pair_of(uint32_t(v.y)));
                a[2 * piece + 1][half] = scale.times(pair_of(uint32_t(v.z)));
                a[2 * piece + 1][2 + half] = scale.times(pair_of(uint32_t(v.w)));
            }
        }
    }
    TRINE_DEVICE_METHOD uint32_t pair_of(uint32_t word) const
    {
        uint32_t at;
        asm("prmt.b32 %0, %1, %2, %3;" : "=r"(at) : "r"(word), "r"(bank), "r"(selector));
        return *reinterpret_cast<const uint32_t *>(table + at);
    }
};

TRINE_DEVICE void hold(uint32_t (&a)[4][4])
{
#pragma unroll
    for (int i = 0; i < 16; i++) asm volatile("" : "+r"(a[i / 4][i % 4])::"memory");
}

/* A stage is multiplied, and meanwhile the next one, if there is one, decoded as a whole: its terms wait for each other's look-ups no
 * more than they must. */
template <class T, class Tile>
TRINE_DEVICE void multiply_stage(float (&sum)[Tile::columns / 2], uint32_t (&a)[4][4], uint32_t (&after)[4][4],
                                 decoder<T, Tile> &codes, ring_place<Tile> &at, uint32_t &last, int i, int steps, int thread)
{
    const uint64_t x = wgmma::describe(at.a());
    const uint32_t empty = at.empty();
    hold(a);
    wgmma::fence();
#pragma unroll
    for (int k = 0; k < 4; k++)
        wgmma::multiply_pairs<T, Tile::columns>::run(sum, a[k], x + k * wgmma::next_terms<wgmma::along_k>, i + k > 0);
    wgmma::commit();
    wgmma::wait<1>();
    hold(after);
    if (i > 0 && thread < together) ptx::barrier_arrive(last, uint32_t(thread));
    last = empty;
    at.advance();
    if (i + 1 == steps) return;
    ptx::barrier_wait(at.full(), at.parity);
    codes.run(after, at.b(), i + 1);
}

/* The sums of a unit, or this turn's part of them. */
template <class T, class Tile> TRINE_DEVICE void multiply_unit(float (&sum)[Tile::columns / 2], decoder<T, Tile> &codes,
                                                               ring_place<Tile> &at, int steps, int thread)
{
    uint32_t even[4][4], odd[4][4], last = 0;
    wgmma::hold(sum);
    ptx::barrier_wait(at.full(), at.parity);
    codes.run(even, at.b(), 0);
#pragma unroll 1
    for (int i = 0; i < steps; i += 2) {
        multiply_stage<T, Tile>(sum, even, odd, codes, at, last, i, steps, thread);
        if (i + 1 < steps) multiply_stage<T, Tile>(sum, odd, even, codes, at, last, i + 1, steps, thread);
    }
    wgmma::wait<0>();
    wgmma::hold(sum);
    if (thread < together) ptx::barrier_arrive(last, uint32_t(thread));
}
template <class T, class Tile> TRINE_DEVICE void multiply_in_turns(float (&sum)[Tile::columns / 2], decoder<T, Tile> &codes,
                                                                   ring_place<Tile> &at, int steps, int thread)
{
    uint32_t a[4][4];
    if (steps <= codes.turn)
#pragma unroll
        for (float &x : sum) x = 0;
    wgmma::hold(sum);
#pragma unroll 1
    for (int i = 0; i < steps; i++, at.advance()) {
        if (i % Tile::turns != codes.turn) continue;
        ptx::barrier_wait(at.full(), at.parity);
        codes.run(a, at.b(), i);
        hold(a);
        const uint64_t x = wgmma::describe(at.a());
        wgmma::fence();
#pragma unroll
        for (int k = 0; k < 4; k++)
            wgmma::multiply_pairs<T, Tile::columns>::run(sum, a[k], x + k * wgmma::next_terms<wgmma::along_k>,
                                                         i + k > codes.turn);
        wgmma::commit();
        wgmma::wait<0>();
        wgmma::hold(sum);
        hold(a);
        if (thread < together) ptx::barrier_arrive(at.empty(), uint32_t(thread));
    }
}

/* The sums of 32 rows of x that a group has turned: four rows of the weight at a time, by all of its threads. */
template <class T, class Tile> TRINE_DEVICE void store_turned(const nf4_product<T> &p, const schedule &s, const work<Tile> &w,
                                                              int64_t row, int column, uint32_t staging, int thread)
{
    const int64_t first = row + thread % 16 * 4;
#pragma unroll 1
    for (int i = thread / 16; i < Tile::turn_rows && column + i < p.m; i += Tile::turns * warpgroup / 16) {
        const float4 v = ptx::load_shared(staging + uint32_t(i * Tile::pitch + thread % 16 * 4) * 4);
        if (first >= p.n) continue;
        if (s.parts && p.n % 4 == 0) {
            *reinterpret_cast<float4 *>(s.parts + (int64_t(w.split) * p.m + column + i) * p.n + first) = v;
            continue;
        }
        const simt::pack<float, 4> four = {{v.x, v.y, v.z, v.w}};
#pragma unroll
        for (int j = 0; j < 4; j++) {
            if (first + j >= p.n) continue;
            if (s.parts)
                s.parts[(int64_t(w.split) * p.m + column + i) * p.n + first + j] = four.at[j];
            else
                p.store(four.at[j], column + i, first + j);
        }
    }
}

template <class T, class Tile> TRINE_DEVICE void store_sums(const float (&sum)[Tile::columns / 2], const nf4_product<T> &p,
                                                            const schedule &s, const work<Tile> &w, uint32_t base, int group,
                                                            int turn, int thread)
{
    const uint32_t staging = base + Tile::at_staging + group * Tile::staging;
    const int lane = thread % 32;
    const uint32_t mine = staging + uint32_t(lane % 4 * 2 * Tile::pitch + thread / 32 * 16 + lane / 4) * 4;
#pragma unroll
    for (int c = 0; c < Tile::columns / Tile::turn_rows; c++) {
        if (w.column + c * Tile::turn_rows >= p.m) break;
#pragma unroll
        for (int t = Tile::turns - 1; t >= 0; t--) {       /* the last turn's sums, then the first's and those */
            ptx::meet(1 + group, Tile::turns * warpgroup); /* what was there has been read; what is added is there */
            if (t != turn) continue;
#pragma unroll
            for (int j = 0; j < Tile::turn_rows / 8; j++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const uint32_t at = mine + uint32_t((8 * j + i % 2) * Tile::pitch + i / 2 * 8) * 4;
                    const float x = sum[c * Tile::turn_rows / 2 + 4 * j + i];
                    ptx::store_shared(at, t + 1 < Tile::turns ? x + ptx::load_shared_one(at) : x);
                }
        }
        ptx::meet(1 + group, Tile::turns * warpgroup);
        store_turned(p, s, w, w.row + group * 64, w.column + c * Tile::turn_rows, staging, turn * warpgroup + thread);
    }
}

template <class T, class Tile>
TRINE_DEVICE void multiply_units(const nf4_product<T> &p, const schedule &s, const unsigned char *table, uint32_t base)
{
    const uint32_t rank = ptx::cluster_rank();
    const unsigned apart = ptx::cluster_count();
    const int index = ptx::warp_index() / 4, group = index % Tile::groups, turn = index / Tile::groups,
              thread = int(threadIdx.x) % warpgroup;
    ring_place<Tile> at(base);
    decoder<T, Tile> codes(table, group, turn, thread);
    float sum[Tile::columns / 2];
    for (unsigned unit = ptx::cluster_index(); unit < s.units; unit += apart) {
        const work<Tile> w(s, unit, rank);
        codes.begin(p, w.row, w.first_step, w.steps);
        if constexpr (Tile::turns > 1)
            multiply_in_turns<T, Tile>(sum, codes, at, w.steps, thread);
        else
            multiply_unit<T, Tile>(sum, codes, at, w.steps, thread);
        store_sums<T, Tile>(sum, p, s, w, base, group, turn, thread);
    }
}

template <class T, class Tile> __global__ void __launch_bounds__(Tile::threads, 1)
    nf4_kernel(const __grid_constant__ maps m, const __grid_constant__ nf4_product<T> p, const __grid_constant__ schedule s,
               const __grid_constant__ simt::nf4_book values)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    unsigned char *const table = target::dynamic_shared();
    const uint32_t base =
        (ptx::shared_address(table) + nf4_table::table_bytes + wgmma::pattern_bytes - 1) & ~uint32_t(wgmma::pattern_bytes - 1);
    if (threadIdx.x == Tile::multipliers) {
        ptx::prefetch_map(&m.x);
        ptx::prefetch_map(&m.codes);
        ring_place<Tile> at(base);
        for (int i = 0; i < Tile::stages; i++, at.advance()) {
            ptx::barrier_init(at.full(), 1);
            ptx::barrier_init(at.empty(), Tile::groups * together);
        }
        ptx::barrier_init_fence();
    }
    ptx::cluster_arrive_relaxed();
    const int warp = ptx::warp_index();
    if (warp < Tile::multipliers / 32) {
        nf4_table::fill_table<T, Tile::multipliers>(table, values);
        ptx::meet(15, Tile::multipliers);
        if constexpr (Tile::trades_registers) ptx::take_registers<Tile::registers>();
        ptx::cluster_wait();
        multiply_units<T, Tile>(p, s, table, base);
    } else {
        if constexpr (Tile::trades_registers) ptx::leave_registers<Tile::registers_left>();
        ptx::cluster_wait();
        if (warp == Tile::multipliers / 32) load_stages<Tile>(m, s, base);
        __syncwarp();
    }
    /* nobody leaves while the other block still signals its shared memory */
    ptx::cluster_barrier_relaxed();
#endif
}

} // namespace sm90nf4

#endif
