/* Tiles of an operand: from global memory through registers into shared memory, as f32, tile[k][row], whatever the strides and
 * the dtype. */
#ifndef TRINE_SIMT_MATMUL_TILE_H
#define TRINE_SIMT_MATMUL_TILE_H

#include "backends/simt/matmul_product.h"

namespace simt {

/* Elements from one k of a tile to the next. 4 more than the rows: the stores of a tile that is read along k then meet different
 * banks, and packs of 4 stay aligned. */
template <int rows> constexpr int tile_pitch = rows + 4;

/* The axis along which neighbouring threads read: the operand's dense one. tile_along_any: known at run time only. */
enum tile_axis { tile_along_rows, tile_along_k, tile_along_any };

/* A thread's part of a tile of `ROWS` x `TERMS`: one or more packs of V along the dense axis. V = 1 takes any strides. Loading
 * and storing are apart, so that arithmetic can hide the way from memory. Where the operand has no rows, a part stays 0. */
template <class T, int ROWS, int TERMS, int THREADS, int V, tile_axis AXIS> struct tile_loader {
    enum { packs = ROWS * TERMS / V / THREADS, pitch = tile_pitch<ROWS>, packs_k = TERMS / V, packs_rows = ROWS / V };
    static_assert(packs * V * THREADS == ROWS * TERMS && THREADS % packs_k == 0 && THREADS % packs_rows == 0,
                  "every thread has the same part");

    const T *from; /* the first pack; moves along k */
    int64_t x_k;
    int64_t apart; /* in memory, from one pack of this thread to its next */
    int inside;    /* packs in rows that the operand has */
    int k, to;     /* of the first pack: its k, its place in the tile */
    int k_step;
    int to_step;
    bool dense_k;
    pack<T, V> held[packs];

    TRINE_DEVICE_METHOD bool along_k() const { return AXIS == tile_along_any ? dense_k : AXIS == tile_along_k; }

    TRINE_DEVICE_METHOD tile_loader(const T *x, int64_t x_row, int64_t x_k_, int64_t first_row, int64_t rows, int64_t first_k)
        : x_k(AXIS == tile_along_k ? 1 : x_k_), dense_k(x_k_ == 1)
    {
        const int t = target::thread_x();
        const int row = along_k() ? t / packs_k : t % packs_rows * V, row_step = along_k() ? THREADS / packs_k : 0;
        k = along_k() ? t % packs_k * V : t / packs_rows;
        k_step = along_k() ? 0 : THREADS / packs_rows;
        to = k * pitch + row;
        to_step = k_step * pitch + row_step;
        from = x + (first_row + row) * x_row + (first_k + k) * x_k;
        apart = row_step * x_row + k_step * x_k;
        inside = 0;
#pragma unroll
        for (int i = 0; i < packs; i++) {
            held[i] = {};
            inside += first_row + row + i * row_step < rows;
        }
    }
    /* The next `terms` terms, fewer than a tile's: only for the first tile. */
    TRINE_DEVICE_METHOD void load_some(int terms)
    {
#pragma unroll
        for (int i = 0; i < packs; i++)
            if (i < inside && k + i * k_step < terms) held[i] = load_pack<T, V>(from + i * apart);
        from += terms * x_k;
    }
    /* The next tile, all of whose terms the operand has. */
    TRINE_DEVICE_METHOD void load()
    {
#pragma unroll
        for (int i = 0; i < packs; i++)
            if (i < inside) held[i] = load_pack<T, V>(from + i * apart);
        from += TERMS * x_k;
    }
    TRINE_DEVICE_METHOD void store(float *tile) const
    {
        store(tile, [&](int i, int j) { return to_f32(held[i].at[j]); });
    }
    /* value(i, j): what element j of pack i is worth. */
    template <class F> TRINE_DEVICE_METHOD void store(float *tile, F value) const
    {
#pragma unroll
        for (int i = 0; i < packs; i++) {
            pack<float, V> wide;
#pragma unroll
            for (int j = 0; j < V; j++) wide.at[j] = value(i, j);
            float *at = tile + to + i * to_step;
            if (V == 1 || !along_k()) {
                *reinterpret_cast<pack<float, V> *>(at) = wide;
            } else {
#pragma unroll
                for (int j = 0; j < V; j++) at[j * pitch] = wide.at[j];
            }
        }
    }
};

} // namespace simt

#endif
