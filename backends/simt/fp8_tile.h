/* What register_tiled kernels of fp8 are made of (fp8_matmul.h, grouped_fp8.h): tiles as matmul_register.h's, whose elements are
 * decoded and scaled on their way to shared memory.
 *
 * Codes are decoded by tables in shared memory, 256 numbers an operand, so that one kernel takes all sixteen mixes of formats. An
 * element is multiplied by its scale there, too: sums are those of f32 numbers, and scales of every kind cost one multiplication
 * an element, an eighth of an instruction a multiply-add. Scales change every 128 terms; the last 128, which may be fewer, come
 * first, because the first tile of a walk is the one that may be short. */
#ifndef TRINE_SIMT_FP8_TILE_H
#define TRINE_SIMT_FP8_TILE_H

#include "backends/simt/fp8_product.h"
#include "backends/simt/matmul_register.h"

namespace simt {

enum { f8_codes = 256 };

TRINE_DEVICE void fill_f8_table(float *table, trine_dtype dtype, int threads)
{
    const int e5 = dtype == TRINE_F8_E5M2 || dtype == TRINE_F8_E5M2FNUZ,
              fnuz = dtype == TRINE_F8_E4M3FNUZ || dtype == TRINE_F8_E5M2FNUZ;
    for (int i = target::thread_x(); i < f8_codes; i += threads) table[i] = trine_bits_f8_to_f32(uint8_t(i), e5, fnuz);
}

/* A tile_loader of codes, with the scales of what it holds. */
template <int ROWS, int TERMS, int THREADS, int V, tile_axis AXIS> struct f8_loader
    : tile_loader<f8_any, ROWS, TERMS, THREADS, V, AXIS> {
    using base = tile_loader<f8_any, ROWS, TERMS, THREADS, V, AXIS>;
    enum { rows_of_pack = AXIS == tile_along_rows ? V : 1 };

    const float *scale; /* of the thread's first row and of term 0 */
    int64_t scale_row;  /* from a row to the next: a tile never crosses blocks of 128 rows */
    float by[base::packs][rows_of_pack];

    TRINE_DEVICE_METHOD f8_loader(const f8_any *x, int64_t x_row, int64_t x_k, int64_t first_row, int64_t rows, int64_t first_k,
                                  const operand_scale &s, int64_t scale_offset)
        : base(x, x_row, x_k, first_row, rows, first_k)
    {
        const int t = target::thread_x(), row = this->along_k() ? t / base::packs_k : t % base::packs_rows * V;
        scale = s.at(first_row + row) + scale_offset;
        scale_row = s.row_block == 1 ? s.row : 0;
    }
    /* `offset`: of the block of K from which on they are. */
    TRINE_DEVICE_METHOD void take_scales(int64_t offset)
    {
        const int row_step = this->along_k() ? THREADS / base::packs_k : 0;
#pragma unroll
        for (int i = 0; i < base::packs; i++)
#pragma unroll
            for (int j = 0; j < rows_of_pack; j++)
                by[i][j] = i < this->inside ? scale[(i * row_step + j) * scale_row + offset] : 0.0f;
    }
    TRINE_DEVICE_METHOD void skip(int64_t terms) { this->from += terms * this->x_k; }
    TRINE_DEVICE_METHOD void store_scaled(float *tile, const float *table) const
    {
        base::store(tile, [&](int i, int j) {
            return target::mul_rn(table[this->held[i].at[j].bits], by[i][rows_of_pack == 1 ? 0 : j]);
        });
    }
};

/* The tables of both operands, in shared memory. */
struct f8_tables {
    float a[f8_codes], b[f8_codes];
};

/* The block's sums over the terms from first_k to end_k, more than none; rows: the first that the operand lacks. */
template <class Tile, int V, tile_axis A, tile_axis B>
TRINE_DEVICE void sum_f8_tile(float (&sum)[Tile::TM][Tile::TN], float *shared, f8_tables &tables, const register_thread<Tile> &me,
                              const product<f8_any> &p, const f8_scaling &scaling, int64_t index, int64_t first_row, int64_t rows,
                              int64_t first_column, int64_t first_k, int64_t end_k)
{
    const product_offsets at = p.offsets(index);
    int64_t scales[2];
    scaling.offsets(index, scales);
    fill_f8_table(tables.a, scaling.a_dtype, Tile::threads);
    fill_f8_table(tables.b, scaling.b_dtype, Tile::threads);
    int64_t k = (end_k - 1) / TRINE_FP8_BLOCK * TRINE_FP8_BLOCK;
    f8_loader<Tile::BM, Tile::BK, Tile::threads, V, A> a(p.a + at.a, p.a_m, p.a_k, first_row, rows, k, scaling.a, scales[0]);
    f8_loader<Tile::BN, Tile::BK, Tile::threads, V, B> b(p.b + at.b, p.b_n, p.b_k, first_column, p.n, k, scaling.b, scales[1]);
    const int some = int((end_k - 1) % Tile::BK) + 1;
    int now = 0;
    a.take_scales(k / TRINE_FP8_BLOCK * scaling.a.k_step);
    b.take_scales(k / TRINE_FP8_BLOCK * scaling.b.k_step);
    a.load_some(some);
    b.load_some(some);
    k += some;
    target::barrier(); /* the tables are whole */
    a.store_scaled(shared, tables.a);
    b.store_scaled(shared + Tile::tile_a, tables.b);
    target::barrier();
#pragma unroll 1
    for (int64_t left = end_k - first_k - some; left > 0; left -= Tile::BK) {
        const int next = Tile::tiles - now;
        if (k == end_k) {
            a.skip(first_k - k);
            b.skip(first_k - k);
            k = first_k;
        }
        if (k % TRINE_FP8_BLOCK == 0) {
            a.take_scales(k / TRINE_FP8_BLOCK * scaling.a.k_step);
            b.take_scales(k / TRINE_FP8_BLOCK * scaling.b.k_step);
        }
        a.load();
        b.load();
        k += Tile::BK;
        multiply_tile<Tile>(sum, shared + now, shared + now + Tile::tile_a, me);
        a.store_scaled(shared + next, tables.a);
        b.store_scaled(shared + next + Tile::tile_a, tables.b);
        target::barrier();
        now = next;
    }
    multiply_tile<Tile>(sum, shared + now, shared + now + Tile::tile_a, me);
    target::barrier();
}

} // namespace simt

#endif
