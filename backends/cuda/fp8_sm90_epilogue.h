/* sm90, fp8: from a tile's sums to d. Scales that don't depend on k, and the bias, are applied to whole sums. */
#ifndef TRINE_CUDA_FP8_SM90_EPILOGUE_H
#define TRINE_CUDA_FP8_SM90_EPILOGUE_H

#include "backends/cuda/fp8_sm90_load.h"

namespace sm90f8 {

/* Whether there are any: block scales without a bias leave nothing to do. */
TRINE_DEVICE bool has_factors(const f8_product &p, const f8_scaling &scaling, bool with_bias)
{
    return !in_loop(scaling.a) || !in_loop(scaling.b) || (with_bias && p.out.bias);
}

/* Scales per tensor, of all products of a batch. */
TRINE_DEVICE bool has_one_factor(const f8_product &p, const f8_scaling &scaling, bool with_bias)
{
    return !in_loop(scaling.a) && !in_loop(scaling.b) && scaling.a.row == 0 && scaling.b.row == 0 && !scaling.batched &&
           !(with_bias && p.out.bias);
}

/* Where a column's factor lies among a warpgroup's: a thread's four of each 16 columns side by side. */
TRINE_DEVICE uint32_t place_of_column(int column)
{
    return column / 16 * 16 + column % 8 / 2 * 4 + column / 8 % 2 * 2 + column % 2;
}

/* sum = sum row column (+ bias), of a thread's two rows and its columns. columns, biases: in shared memory. */
template <bool biased, int sums> TRINE_DEVICE void multiply_by_factors(float (&sum)[sums], const float (&row)[2],
                                                                       uint32_t columns, uint32_t biases, const lane_place &me)
{
#pragma unroll
    for (int j = 0; j < sums / 8; j++) {
        const uint32_t at = (16 * j + 2 * me.column()) * 4;
        float by[4], more[4] = {};
        ptx::load_shared_four(columns + at, by);
        if (biased) ptx::load_shared_four(biases + at, more);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const int of = i / 4 * 2 + i % 2;
            float &x = sum[8 * j + i];
            x = biased ? target::fma_rn(x * row[i / 2 % 2], by[of], more[of]) : x * row[i / 2 % 2] * by[of];
        }
    }
}

/* Factors without scales in the loop or a bias come by cp.async while the tile is multiplied: from memory they take as long as a
 * stage or two. `to`: the warpgroup's place for them, which nobody reads. */
template <class Tile>
TRINE_DEVICE void start_factors(const f8_product &p, const f8_scaling &scaling, const work &w, uint32_t to, const lane_place &me)
{
    int64_t offset[2];
    scaling.offsets(w.index, offset);
    const int row = w.row + me.group * 64 + me.thread;
    if (me.thread < 64) {
        const bool there = row < p.m;
        ptx::copy_word(to + me.thread * 4, scaling.a.at(there ? row : 0) + offset[0], there);
    }
#pragma unroll
    for (int i = 0; i < Tile::N; i += warpgroup)
        if (me.thread + i < Tile::N) {
            const int column = w.column + me.thread + i;
            const bool there = column < p.n;
            ptx::copy_word(to + (64 + place_of_column(me.thread + i)) * 4, scaling.b.at(there ? column : 0) + offset[1], there);
        }
}
template <class Tile> TRINE_DEVICE void apply_started(float (&sum)[Tile::N / 2], uint32_t from, const lane_place &me)
{
    target::wait_for_copies();
    me.meet();
    const float row[2] = {ptx::load_shared_one(from + me.row() * 4), ptx::load_shared_one(from + (me.row() + 8) * 4)};
    multiply_by_factors<false>(sum, row, from + 64 * 4, 0, me);
}

/* Asked for before the first product of a tile, so that they are near after the last. */
template <class Tile>
TRINE_DEVICE void prefetch_factors(const f8_product &p, const f8_scaling &scaling, const work &w, const lane_place &me)
{
    int64_t offset[2];
    const int row = w.row + me.group * 64 + me.thread;
    scaling.offsets(w.index, offset);
    if (!in_loop(scaling.a) && me.thread < 64 && row < p.m) ptx::prefetch_near(scaling.a.at(row) + offset[0]);
#pragma unroll
    for (int i = 0; i < Tile::N; i += warpgroup) {
        const int column = w.column + me.thread + i;
        if (!in_loop(scaling.b) && me.thread + i < Tile::N && column < p.n) ptx::prefetch_near(scaling.b.at(column) + offset[1]);
    }
}

/* Any factors, through `columns`: shared memory of the warpgroup, from which it may still be storing. */
template <class Tile> TRINE_DEVICE void apply_factors(float (&sum)[Tile::N / 2], const f8_product &p, const f8_scaling &scaling,
                                                      const work &w, uint32_t columns, const lane_place &me, bool with_bias)
{
    enum { columns_a_thread = (Tile::N + warpgroup - 1) / warpgroup };
    const bool biased = with_bias && p.out.bias;
    float row[2], column[columns_a_thread], bias[columns_a_thread];
    int64_t offset[2];
    scaling.offsets(w.index, offset);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int at = w.row + me.group * 64 + me.row() + 8 * i;
        row[i] = !in_loop(scaling.a) && at < p.m ? scaling.a.at(at)[offset[0]] : 1.0f;
    }
#pragma unroll
    for (int i = 0; i < columns_a_thread; i++) {
        const int at = w.column + me.thread + warpgroup * i;
        const bool there = me.thread + warpgroup * i < Tile::N && at < p.n;
        column[i] = there && !in_loop(scaling.b) ? scaling.b.at(at)[offset[1]] : 1.0f;
        bias[i] = there && biased ? p.out.read(p.out.bias, p.out.bias_dtype, at * p.out.bias_n) : 0.0f;
    }
    if (me.thread == 0) ptx::wait_stores_read<0>();
    me.meet();
#pragma unroll
    for (int i = 0; i < columns_a_thread; i++)
        if (me.thread + warpgroup * i < Tile::N) {
            const uint32_t to = columns + place_of_column(me.thread + warpgroup * i) * 4;
            ptx::store_shared(to, column[i]);
            ptx::store_shared(to + Tile::N * 4, bias[i]);
        }
    me.meet();
    multiply_by_factors<true>(sum, row, columns, columns + Tile::N * 4, me);
}

/* store_by_tma with as many boxes as the tile has: one meeting for all. */
template <class Tile, class D> TRINE_DEVICE void store_whole(const float (&sum)[Tile::N / 2], const CUtensorMap *map,
                                                             const schedule &s, ptx::coordinates at, uint32_t staging,
                                                             const lane_place &me, D type)
{
    if constexpr (Tile::boxes < Tile::parts) {
        store_by_tma<Tile>(sum, map, s, at, staging, me, type);
    } else {
        if (me.thread == 0) ptx::wait_stores_read<0>();
        me.meet();
#pragma unroll
        for (int i = 0; i < Tile::parts; i++) fill_box(sum + i * (part / 2), staging + i * wgmma::block_bytes, me, type);
        ptx::fence_async();
        me.meet();
        if (me.thread == 0)
#pragma unroll
            for (int i = 0; i < Tile::parts; i++) {
                ptx::store_box(map, at, s.single, staging + i * wgmma::block_bytes);
                at.inner += part;
            }
    }
}

template <class Tile> TRINE_DEVICE void store_box_of(const float (&sum)[Tile::N / 2], const maps &m, const f8_product &p,
                                                     const schedule &s, const work &w, uint32_t staging, const lane_place &me)
{
    ptx::coordinates to = {w.column, w.row + me.group * 64, {0, 0, 0}};
    if (!s.single) batch_coordinates(p, TRINE_PRODUCT_D, batch_place(p, w.index), &to);
    if (p.out.d_dtype == TRINE_F32)
        store_by_tma<Tile>(sum, &m.d, s, to, staging, me, float{});
    else if (p.out.d_dtype == TRINE_F16)
        store_whole<Tile>(sum, &m.d, s, to, staging, me, simt::f16{});
    else
        store_whole<Tile>(sum, &m.d, s, to, staging, me, simt::bf16{});
}

/* What becomes of a tile's sums before they are rounded: begin() with the tile's first product, apply() after its last. */
template <class Tile> struct tile_factors {
    bool one, any, copied, with_bias;

    TRINE_DEVICE_METHOD tile_factors(const f8_product &p, const f8_scaling &scaling, const lane_place &me, bool with_bias_)
        : one(has_one_factor(p, scaling, with_bias_)), any(!one && has_factors(p, scaling, with_bias_)),
          copied(Tile::together == 1 && any && !in_loop(scaling.a) && !in_loop(scaling.b) && !(with_bias_ && p.out.bias)),
          with_bias(with_bias_)
    {
        if (one && me.thread < 2) ptx::prefetch_near(me.thread ? scaling.a.data : scaling.b.data);
    }
    /* The warpgroup's place of copied ones. */
    static TRINE_DEVICE_METHOD uint32_t place(uint32_t staging, const lane_place &me)
    {
        return staging + (Tile::at_factors - Tile::at_staging) + me.group * (Tile::bytes_factors - Tile::staging);
    }
    /* After the warpgroup has met behind the last apply(). */
    TRINE_DEVICE_METHOD void begin(const f8_product &p, const f8_scaling &scaling, const work &w, uint32_t staging,
                                   const lane_place &me) const
    {
        if (copied)
            start_factors<Tile>(p, scaling, w, place(staging, me), me);
        else if (any)
            prefetch_factors<Tile>(p, scaling, w, me);
    }
    TRINE_DEVICE_METHOD void apply(float (&sum)[Tile::N / 2], const f8_product &p, const f8_scaling &scaling, const work &w,
                                   uint32_t staging, const lane_place &me) const
    {
        if (one) {
            const float factor = *scaling.a.data * *scaling.b.data; /* not held: registers are few */
#pragma unroll
            for (int j = 0; j < Tile::N / 2; j++) sum[j] *= factor;
        } else if (copied) {
            apply_started<Tile>(sum, place(staging, me), me);
        } else if (any) {
            apply_factors<Tile>(sum, p, scaling, w, staging, me, with_bias);
        }
    }
};

} // namespace sm90f8

#endif
