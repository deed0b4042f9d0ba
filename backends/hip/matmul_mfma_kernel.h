/* mfma and wmma: matrix products on AMD's matrix units.
 *
 * A block's tiles of a and b lie in LDS, two halves of a step of 128 bytes of K. While one half is multiplied, the other is
 * stored from registers, into which the next step is loaded meanwhile: a step's loads have half a step's multiplications, or
 * more, to arrive. Bound by the matrix units where tiles are many: with 256 x 256 outputs and 64 terms of 16 bits, a compute unit
 * of MI300X multiplies for 4096 cycles, reads 192 KB of LDS in 1536, stores 64 KB there in 512 and loads 64 KB in 1024.
 *
 * Where a block has two waves on each SIMD, they work in turn (ping-pong): a phase in which one reads and stores LDS and asks for
 * memory is the other's multiplying phase, with a barrier between phases. */
#ifndef TRINE_HIP_MATMUL_MFMA_KERNEL_H
#define TRINE_HIP_MATMUL_MFMA_KERNEL_H

#include "backends/hip/matmul_mfma_epilogue.h"

namespace mfma {

/* Of what was stored to LDS, and only of that: loads from memory stay under way. */
TRINE_DEVICE void lds_barrier()
{
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup", "local");
    __builtin_amdgcn_s_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup", "local");
}

/* Fragments of neighbouring tiles of 16 rows. `at`: where piece 0 of the lane's first row lies, `piece`: the lane's first one. */
template <class Unit, int count>
TRINE_DEVICE void read_fragments(typename Unit::fragment (&f)[count], const unsigned char *tile, int at, int piece)
{
#pragma unroll
    for (int p = 0; p < Unit::pieces; p++)
#pragma unroll
        for (int i = 0; i < count; i++)
            f[i].piece[p] = *reinterpret_cast<const mma::vector16 *>(tile + mma::place_below(at ^ (piece + p) << 4, i));
}

/* What else a kernel does with each step, beside sums over all of K: nothing. Others load factors of a step with its operands,
 * store them to LDS with its first half, and take the sums of the step before, with its factors, when its first fragments are
 * read. `step` counts steps from the block's first on; `turn` steps in their order. */
struct nothing_more {
    TRINE_DEVICE_METHOD void load(int64_t) {}
    TRINE_DEVICE_METHOD void store(int) {}
    template <class Sums> TRINE_DEVICE_METHOD void take(Sums &, int) {}
};

template <class Type, class Tile> struct multiplier {
    using unit = mma::unit<Type>;
    using element = typename Type::element;
    template <int rows> using loader = mma::loader<element, rows, Tile::threads>;

    int wave, lane;
    int a_lane, b_lane; /* where the lane's first row of each operand lies in a tile */
    unsigned char *shared;
    typename unit::sums sum[Tile::rows][Tile::columns] = {};

    TRINE_DEVICE_METHOD explicit multiplier(unsigned char *shared_) : shared(shared_)
    {
        wave = __builtin_amdgcn_readfirstlane(target::thread_x() / mma::wave);
        lane = target::thread_x() % mma::wave;
        a_lane = mma::place(wave / Tile::wave_columns * (Tile::rows * 16) + lane % 16, 0);
        b_lane = mma::place(wave % Tile::wave_columns * (Tile::columns * 16) + lane % 16, 0);
    }
    /* Multiplications are done before what follows; the compiler would put them off past the next branch. */
    TRINE_DEVICE_METHOD void hold()
    {
#pragma unroll
        for (int i = 0; i < Tile::rows; i++)
#pragma unroll
            for (int j = 0; j < Tile::columns; j++) sum[i][j] = mma::derive_again(sum[i][j]);
    }
    /* One half of a step. `move` is done between reading the fragments and multiplying them. */
    template <class F> TRINE_DEVICE_METHOD void half(int h, F move)
    {
        const unsigned char *a_tile = shared + h * Tile::bytes_half, *b_tile = a_tile + Tile::bytes_a;
        const int a_at = mma::derive_again(a_lane), b_at = mma::derive_again(b_lane);
#pragma unroll
        for (int slice = 0; slice < unit::slices; slice++) {
            typename unit::fragment a[Tile::rows], b[Tile::columns];
            const int piece = unit::piece(lane, slice);
            read_fragments<unit>(a, a_tile, a_at, piece);
            read_fragments<unit>(b, b_tile, b_at, piece);
            if (slice == 0) move();
            if constexpr (Tile::ping_pong) {
                __builtin_amdgcn_sched_barrier(0);
                lds_barrier();
                __builtin_amdgcn_s_setprio(1);
            }
#pragma unroll
            for (int i = 0; i < Tile::rows; i++)
#pragma unroll
                for (int j = 0; j < Tile::columns; j++) unit::multiply(sum[i][j], a[i], b[j]);
            if constexpr (Tile::ping_pong) __builtin_amdgcn_s_setprio(0);
            /* also keeps the next slice's fragments out of this one's registers */
            if constexpr (Tile::ping_pong || unit::slices > 1) __builtin_amdgcn_sched_barrier(0);
            hold();
        }
        lds_barrier();
    }
    /* The step at which the loaders stand, to LDS. */
    TRINE_DEVICE_METHOD void begin(loader<Tile::M> &a, loader<Tile::N> &b, const mma::operand<element> &from_a,
                                   const mma::operand<element> &from_b, const work &w, int64_t first_k, int terms)
    {
        unsigned char *b_tile = shared + Tile::bytes_a;
        if (mma::is_whole<Tile::M>(from_a, w.row, terms) && mma::is_whole<Tile::N>(from_b, w.column, terms)) {
            a.load();
            b.load();
            a.go_back(1);
            b.go_back(1);
#pragma unroll
            for (int h = 0; h < mma::halves; h++) {
                a.store(shared + h * Tile::bytes_half, h);
                b.store(b_tile + h * Tile::bytes_half, h);
            }
        } else {
            mma::fill<Tile::M, Tile::threads>(shared, Tile::bytes_half, from_a, w.row, first_k, terms);
            mma::fill<Tile::N, Tile::threads>(b_tile, Tile::bytes_half, from_b, w.column, first_k, terms);
        }
    }
    template <class More> TRINE_DEVICE_METHOD void run(const mma::operand<element> &from_a, const mma::operand<element> &from_b,
                                                       const work &w, More &also)
    {
        /* the first step has the last terms, which may fill no step */
        const int64_t more = (w.terms - 1) / mma::step_terms<element>, first = w.first_k + more * mma::step_terms<element>;
        loader<Tile::M> a(from_a, w.row, first);
        loader<Tile::N> b(from_b, w.column, first);
        also.load(more);
        begin(a, b, from_a, from_b, w, first, int(w.first_k + w.terms - first));
        also.store(0);
        a.go_back(more);
        b.go_back(more);
        lds_barrier();
        const bool second = Tile::ping_pong && wave >= Tile::waves / 2;
        if (second) __builtin_amdgcn_s_barrier();
#pragma unroll 1
        for (int64_t left = more; left >= 0; left--) {
            half(0, [&] {
                if (left < more) {
                    also.take(sum, int(more - left - 1));
                    a.store(shared + Tile::bytes_half, 1);
                    b.store(shared + Tile::bytes_half + Tile::bytes_a, 1);
                }
                if (left > 0) {
                    a.load();
                    b.load();
                    also.load(more - left);
                }
            });
            half(1, [&] {
                if (left > 0) {
                    a.store(shared, 0);
                    b.store(shared + Tile::bytes_a, 0);
                    also.store(int(more - left + 1));
                }
            });
        }
        also.take(sum, int(more));
        if (Tile::ping_pong && !second) __builtin_amdgcn_s_barrier();
    }
};

/* The block's sums; rows: the first that a lacks. relabels: of codes, by operand. */
template <class Type, class Tile, class More>
TRINE_DEVICE void multiply_product(multiplier<Type, Tile> &m, const product<typename Type::element> &p, const work &w,
                                   int64_t rows, bool a_relabels, bool b_relabels, More &also)
{
    using element = typename Type::element;
    const product_offsets at = p.offsets(w.part.index);
    const mma::operand<element> a = {p.a + at.a, p.a_m, p.a_k, rows, p.k, a_relabels};
    const mma::operand<element> b = {p.b + at.b, p.b_n, p.b_k, p.n, p.k, b_relabels};
    if (w.terms > 0) m.run(a, b, w, also);
}

template <class Type, class Tile>
__attribute__((global, amdgpu_flat_work_group_size(Tile::threads, Tile::threads), amdgpu_waves_per_eu(Tile::waves_a_simd))) void
matmul_kernel(product<typename Type::element> p, schedule s, simt::split_sink sink)
{
    if constexpr (mma::unit<Type>::available && (mma::wave == 64 || !Tile::ping_pong)) {
        alignas(16) TRINE_SHARED unsigned char shared[Tile::shared];
        const work w = work_of_block<Tile>(p, s, sink);
        multiplier<Type, Tile> m(shared);
        nothing_more also;
        multiply_product(m, p, w, p.m, false, false, also);
        store_sums<mma::unit<Type>, Tile>(m.sum, shared, p, sink, w, m.wave, m.lane);
    }
}

} // namespace mfma

#endif
