/* register_tiled for fp8: the tiles of matmul_register.h, whose elements are decoded and scaled on their way to shared memory.
 *
 * Codes are decoded by tables in shared memory, 256 numbers an operand, so that one kernel takes all sixteen mixes of formats. An
 * element is multiplied by its scale there, too: sums are those of f32 numbers, and scales of every kind cost one multiplication
 * an element, an eighth of an instruction a multiply-add. Scales change every 128 terms; the last 128, which may be fewer, come
 * first, because the first tile of a walk is the one that may be short. */
#ifndef TRINE_SIMT_FP8_MATMUL_H
#define TRINE_SIMT_FP8_MATMUL_H

#include "backends/simt/matmul_register.h"
#include "core/fp8_product.h"

namespace simt {

/* A code of any of the four formats. */
struct f8_any {
    uint8_t bits;
};

/* d = act(sum + bias); bias is f32 or d's. */
template <> struct epilogue<f8_any> {
    void *d;
    const void *bias;
    int64_t d_m, bias_m, bias_n;
    float activation_alpha;
    trine_activation_kind activation;
    trine_dtype d_dtype, bias_dtype;
    bool d_packs;

    explicit epilogue(const trine_product &p)
        : d(p.d), bias(p.bias), d_m(p.d_m), bias_m(p.bias_m), bias_n(p.bias_n), activation_alpha(p.activation_alpha),
          activation(p.activation), d_dtype(p.d_dtype), bias_dtype(p.bias_dtype),
          d_packs(p.n % 4 == 0 && p.d_m % 4 == 0 && aligned16(p.d))
    {
        for (int i = 0; i < p.batch.ndim; i++) d_packs = d_packs && p.batch.stride[TRINE_PRODUCT_D][i] % 4 == 0;
    }
    static TRINE_DEVICE_METHOD float read(const void *p, trine_dtype dtype, int64_t i)
    {
        if (dtype == TRINE_F32) return static_cast<const float *>(p)[i];
        return dtype == TRINE_F16 ? to_f32(static_cast<const f16 *>(p)[i]) : to_f32(static_cast<const bf16 *>(p)[i]);
    }
    TRINE_DEVICE_METHOD float finish(float sum, int64_t row, int64_t column, const product_offsets &) const
    {
        if (bias) sum += read(bias, bias_dtype, row * bias_m + column * bias_n);
        return activate(activation, activation_alpha, sum);
    }
    template <class D, int V> TRINE_DEVICE_METHOD void put_as(const pack<float, V> &values, int64_t i) const
    {
        pack<D, V> narrow;
#pragma unroll
        for (int j = 0; j < V; j++) narrow.at[j] = from_f32<D>(values.at[j]);
        store_pack<D, V>(static_cast<D *>(d) + i, narrow);
    }
    template <int V>
    TRINE_DEVICE_METHOD void put(const pack<float, V> &values, int64_t row, int64_t column, const product_offsets &at) const
    {
        const int64_t i = at.d + row * d_m + column;
        if (d_dtype == TRINE_F32)
            put_as<float, V>(values, i);
        else if (d_dtype == TRINE_F16)
            put_as<f16, V>(values, i);
        else
            put_as<bf16, V>(values, i);
    }
    TRINE_DEVICE_METHOD void store(float sum, int64_t row, int64_t column, const product_offsets &at) const
    {
        put(pack<float, 1>{{finish(sum, row, column, at)}}, row, column, at);
    }
    TRINE_DEVICE_METHOD bool plain() const { return !bias && activation == TRINE_ACT_IDENTITY; }
};

/* The scales of one operand. */
struct operand_scale {
    const float *data;
    int64_t row, k_step;
    int row_block;
    explicit operand_scale(const trine_product_scale &s) : data(s.data), row(s.row), k_step(s.k_step), row_block(s.row_block) {}
    TRINE_DEVICE_METHOD const float *at(int64_t i) const { return data + (row_block == 1 ? i : i / TRINE_FP8_BLOCK) * row; }
};

/* How both operands are decoded and scaled. */
struct f8_scaling {
    operand_scale a, b;
    trine_dtype a_dtype, b_dtype;
    bool batched;
    walk<2, divider64> batch;

    static trine_iter scales_of(const trine_iter &all)
    {
        trine_iter it = all;
        for (int d = 0; d < all.ndim; d++)
            for (int k = 0; k < 2; k++) it.stride[k][d] = all.stride[TRINE_PRODUCT_A_SCALE + k][d];
        return it;
    }
    explicit f8_scaling(const trine_product &p)
        : a(p.a_scale), b(p.b_scale), a_dtype(p.dtype), b_dtype(p.b_dtype), batched(p.batch.numel > 1), batch(scales_of(p.batch))
    {
    }
    TRINE_DEVICE_METHOD void move_to(int64_t index)
    {
        int64_t at[2] = {0, 0};
        if (batched) batch.offsets(index, at);
        a.data += at[0];
        b.data += at[1];
    }
};

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

    const operand_scale &scale;
    int64_t first_row;
    int row_step;
    float by[base::packs][rows_of_pack];

    TRINE_DEVICE_METHOD f8_loader(const f8_any *x, int64_t x_row, int64_t x_k, int64_t first_row_, int64_t rows, int64_t first_k,
                                  const operand_scale &scale_)
        : base(x, x_row, x_k, first_row_, rows, first_k), scale(scale_)
    {
        const int t = target::thread_x();
        first_row = first_row_ + (this->along_k() ? t / base::packs_k : t % base::packs_rows * V);
        row_step = this->along_k() ? THREADS / base::packs_k : 0;
    }
    /* From block `block` of K on. */
    TRINE_DEVICE_METHOD void take_scales(int64_t block)
    {
#pragma unroll
        for (int i = 0; i < base::packs; i++)
#pragma unroll
            for (int j = 0; j < rows_of_pack; j++)
                by[i][j] = i < this->inside ? scale.at(first_row + i * row_step + j)[block * scale.k_step] : 0.0f;
    }
    TRINE_DEVICE_METHOD void skip(int64_t terms) { this->from += terms * this->x_k; }
    TRINE_DEVICE_METHOD void store_scaled(float *tile, const float *table) const
    {
        base::store(tile, [&](int i, int j) {
            return target::mul_rn(table[this->held[i].at[j].bits], by[i][rows_of_pack == 1 ? 0 : j]);
        });
    }
};

template <class Tile, int V, tile_axis A, tile_axis B> TRINE_KERNEL_BLOCKS(Tile::threads, V == 1 ? 1 : Tile::together)
fp8_tiled_kernel(product<f8_any> p, f8_scaling scaling, unsigned tiles_m, unsigned tiles_n, unsigned blocks, split_sink sink)
{
    alignas(16) TRINE_SHARED float shared[Tile::shared];
    TRINE_SHARED float table_a[f8_codes], table_b[f8_codes];
    const block_place place = place_of_block(p, blocks);
    const unsigned split = place.part / (tiles_m * tiles_n);
    unsigned tile_m, tile_n;
    tile_of_block(place.part - split * (tiles_m * tiles_n), tiles_m, tiles_n, 8, &tile_m, &tile_n);
    const int64_t first_row = int64_t(tile_m) * Tile::BM, first_column = int64_t(tile_n) * Tile::BN;
    const int64_t first_k = split * sink.terms, end_k = first_k + sink.terms < p.k ? first_k + sink.terms : p.k;

    const register_thread<Tile> me;
    float sum[Tile::TM][Tile::TN] = {};
    if (first_k < end_k) {
        const product_offsets at = p.offsets(place.index);
        scaling.move_to(place.index);
        fill_f8_table(table_a, scaling.a_dtype, Tile::threads);
        fill_f8_table(table_b, scaling.b_dtype, Tile::threads);
        int64_t k = (end_k - 1) / TRINE_FP8_BLOCK * TRINE_FP8_BLOCK;
        f8_loader<Tile::BM, Tile::BK, Tile::threads, V, A> a(p.a + at.a, p.a_m, p.a_k, first_row, p.m, k, scaling.a);
        f8_loader<Tile::BN, Tile::BK, Tile::threads, V, B> b(p.b + at.b, p.b_n, p.b_k, first_column, p.n, k, scaling.b);
        const int some = int((end_k - 1) % Tile::BK) + 1;
        int now = 0;
        a.take_scales(k / TRINE_FP8_BLOCK);
        b.take_scales(k / TRINE_FP8_BLOCK);
        a.load_some(some);
        b.load_some(some);
        k += some;
        target::barrier(); /* the tables are whole */
        a.store_scaled(shared, table_a);
        b.store_scaled(shared + Tile::tile_a, table_b);
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
                a.take_scales(k / TRINE_FP8_BLOCK);
                b.take_scales(k / TRINE_FP8_BLOCK);
            }
            a.load();
            b.load();
            k += Tile::BK;
            multiply_tile<Tile>(sum, shared + now, shared + now + Tile::tile_a, me);
            a.store_scaled(shared + next, table_a);
            b.store_scaled(shared + next + Tile::tile_a, table_b);
            target::barrier();
            now = next;
        }
        multiply_tile<Tile>(sum, shared + now, shared + now + Tile::tile_a, me);
        target::barrier();
    }
    write_tile<Tile>(shared, sum, me, first_row, first_column, p, sink, split_place{place.index, split});
}

/* ---- Host ---- */

template <class Tile, tile_axis A> inline auto fp8_tiled_along(tile_axis b)
{
    return b == tile_along_k ? fp8_tiled_kernel<Tile, 4, A, tile_along_k> : fp8_tiled_kernel<Tile, 4, A, tile_along_rows>;
}

template <class Tile> inline trine_status launch_fp8_tiled(trine_call *call, const trine_product &p, const split_sink &sink)
{
    const int64_t tiles_m = ceil_div(p.m, Tile::BM), tiles_n = ceil_div(p.n, Tile::BN), blocks = tiles_m * tiles_n * sink.splits;
    const operand_way a = way_of_a<f8_any>(p), b = way_of_b<f8_any>(p);
    auto *kernel = fp8_tiled_kernel<Tile, 1, tile_along_any, tile_along_any>;
    if (a.packs && b.packs)
        kernel =
            a.axis == tile_along_k ? fp8_tiled_along<Tile, tile_along_k>(b.axis) : fp8_tiled_along<Tile, tile_along_rows>(b.axis);
    return launch_products(call, kernel, blocks, Tile::threads, product<f8_any>(p), f8_scaling(p), tiles_m, tiles_n, blocks,
                           sink);
}

/* A product in the form of core/fp8_product.h. */
inline trine_status run_fp8_tiled(trine_call *call, const trine_product &p, const register_plan &plan)
{
    TRINE_END_OF_QUERY(call, split_workspace(p, plan.splits));
    if (product_is_empty(p)) return TRINE_OK;
    const split_sink sink(call, p, plan.splits, TRINE_FP8_BLOCK);
    const trine_status status =
        plan.large ? launch_fp8_tiled<large_tile>(call, p, sink) : launch_fp8_tiled<small_tile>(call, p, sink);
    return status == TRINE_OK ? sum_splits<f8_any>(call, p, sink) : status;
}

/* Every variant's first guard; fills the product. */
#define TRINE_FP8_MATMUL_BEGIN(call, args, name) \
    trine_product name; \
    TRINE_REQUIRE_THAT(call, trine_fp8_product_make(&name, static_cast<const trine_fp8_matmul_args *>(args)), \
                       "needs d with stride 1 along N or M")

inline trine_status fp8_matmul_register_tiled(trine_call *call, const void *args)
{
    TRINE_FP8_MATMUL_BEGIN(call, args, p);
    return run_fp8_tiled(call, p, plan_register_tiled(call, p));
}

/* The large tile and no split, whatever the size: so that small cases check it too. */
inline trine_status fp8_matmul_register_tiled_128(trine_call *call, const void *args)
{
    TRINE_FP8_MATMUL_BEGIN(call, args, p);
    return run_fp8_tiled(call, p, register_plan{true, 1, 0});
}

} // namespace simt

#endif
