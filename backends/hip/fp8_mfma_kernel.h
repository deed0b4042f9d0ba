/* mfma for fp8_matmul: the matrix-unit matmul's kernel (matmul_mfma_kernel.h), of whose steps of 128 terms each has scales.
 *
 * A step's sums are added up by the matrix unit from 0, and added, times the scales of their row and column, to the whole sums
 * when the next step's fragments are read. So scales of every granularity are one kernel. They cost two vector instructions a sum
 * and step, which in a wave of 64 x 64 sums is 512 cycles beside 1024 of multiplying, and a group of waves does them while the
 * other multiplies. Scales come as codes do: a thread has one row's or column's, through registers into LDS.
 *
 * Codes are FNUZ in hardware. e4m3fn is relabelled on its way to LDS: the same code is worth half there, which its scales make
 * good; -0 and NaN have other codes. */
#ifndef TRINE_HIP_FP8_MFMA_KERNEL_H
#define TRINE_HIP_FP8_MFMA_KERNEL_H

#include "backends/hip/matmul_mfma_kernel.h"
#include "backends/hip/mma/f8.h"

namespace mfma {

static_assert(mma::step_terms<simt::f8_any> == TRINE_FP8_BLOCK, "a step is a block of K");

/* See nothing_more. */
template <class Tile, class Unit> struct step_scales {
    enum { count = Tile::M + Tile::N, bytes = 2 * count * int(sizeof(float)) };
    static_assert(int(Tile::threads) >= int(count), "a thread has a scale at most");
    typedef typename Unit::sums sums;

    float *lds;
    const float *from; /* of the thread's row or column, at the block's first step */
    int64_t k_step;
    float factor, held;
    int row, column; /* of the lane's first sums, in LDS */
    sums total[Tile::rows][Tile::columns] = {};

    TRINE_DEVICE_METHOD step_scales(float *lds_, const simt::f8_scaling &s, const simt::product<simt::f8_any> &p, const work &w,
                                    int wave, int lane)
        : lds(lds_)
    {
        int64_t begins[2];
        s.offsets(w.part.index, begins);
        const int t = target::thread_x();
        const bool of_a = t < Tile::M;
        const simt::operand_scale &scale = of_a ? s.a : s.b;
        const int64_t i = of_a ? w.row + t : w.column + (t - Tile::M), n = of_a ? p.m : p.n;
        k_step = scale.k_step;
        from = scale.at(i < n ? i : n - 1) + begins[of_a ? 0 : 1] + w.first_k / TRINE_FP8_BLOCK * k_step;
        factor = (of_a ? s.a_dtype : s.b_dtype) == TRINE_F8_E4M3FN ? 2.0f : 1.0f;
        held = 0;
        row = wave / Tile::wave_columns * (Tile::rows * 16) + lane % 16;
        column = Tile::M + wave % Tile::wave_columns * (Tile::columns * 16) + lane / 16 * 4;
    }
    TRINE_DEVICE_METHOD void load(int64_t step)
    {
        if (target::thread_x() < count) held = from[step * k_step];
    }
    TRINE_DEVICE_METHOD void store(int turn)
    {
        if (target::thread_x() < count) lds[turn % 2 * count + target::thread_x()] = held * factor;
    }
    TRINE_DEVICE_METHOD void take(sums (&sum)[Tile::rows][Tile::columns], int turn)
    {
        const float *scale = lds + turn % 2 * count;
        sums b[Tile::columns];
#pragma unroll
        for (int j = 0; j < Tile::columns; j++) b[j] = *reinterpret_cast<const sums *>(scale + column + 16 * j);
#pragma unroll
        for (int i = 0; i < Tile::rows; i++) {
            const float a = scale[row + 16 * i];
#pragma unroll
            for (int j = 0; j < Tile::columns; j++) {
                total[i][j] += sum[i][j] * (a * b[j]);
                sum[i][j] = sums{};
            }
        }
    }
};

TRINE_DEVICE bool relabels(trine_dtype dtype) { return dtype == TRINE_F8_E4M3FN; }

template <class Type, class Tile>
__attribute__((global, amdgpu_flat_work_group_size(Tile::threads, Tile::threads), amdgpu_waves_per_eu(Tile::waves_a_simd))) void
fp8_matmul_kernel(simt::product<simt::f8_any> p, simt::f8_scaling scaling, schedule s, simt::split_sink sink)
{
    if constexpr (mma::unit<Type>::available) {
        using scales = step_scales<Tile, mma::unit<Type>>;
        alignas(16) TRINE_SHARED unsigned char shared[Tile::shared + scales::bytes];
        const work w = work_of_block<Tile>(p, s, sink);
        multiplier<Type, Tile> m(shared);
        scales also(reinterpret_cast<float *>(shared + Tile::shared), scaling, p, w, m.wave, m.lane);
        multiply_product(m, p, w, p.m, relabels(scaling.a_dtype), relabels(scaling.b_dtype), also);
        store_sums<mma::unit<Type>, Tile>(also.total, shared, p, sink, w, m.wave, m.lane);
    }
}

} // namespace mfma

#endif
