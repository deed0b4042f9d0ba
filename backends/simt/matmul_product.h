/* What every kernel of the matmul family is given, the one epilogue that they share, and how their blocks find their place. */
#ifndef TRINE_SIMT_MATMUL_PRODUCT_H
#define TRINE_SIMT_MATMUL_PRODUCT_H

#include "backends/simt/activation_math.h"
#include "backends/simt/launch.h"
#include "backends/simt/types.h"
#include "backends/simt/walk.h"
#include "core/matmul_shape.h"

namespace simt {

/* Offsets in elements of one product of the batch. */
struct product_offsets {
    int64_t d, a, b, c;
};

/* d = act(alpha sum + beta c + bias). T: the type of a and b; c, bias and d have it or are f32 ("wide"). */
template <class T> struct epilogue {
    void *d;
    const void *c, *bias;
    int64_t d_m, c_m, c_n, bias_m, bias_n;
    float alpha, beta, activation_alpha;
    trine_activation_kind activation;
    bool d_wide, c_wide, bias_wide, d_packs;

    explicit epilogue(const trine_product &p)
        : d(p.d), c(p.c), bias(p.bias), d_m(p.d_m), c_m(p.c_m), c_n(p.c_n), bias_m(p.bias_m), bias_n(p.bias_n), alpha(p.alpha),
          beta(p.beta), activation_alpha(p.activation_alpha), activation(p.activation), d_wide(p.d_dtype == TRINE_F32),
          c_wide(p.c_dtype == TRINE_F32), bias_wide(p.bias_dtype == TRINE_F32),
          d_packs(p.n % 4 == 0 && p.d_m % 4 == 0 && aligned16(p.d))
    {
        for (int i = 0; i < p.batch.ndim; i++) d_packs = d_packs && p.batch.stride[TRINE_PRODUCT_D][i] % 4 == 0;
    }
    static TRINE_DEVICE_METHOD float read(const void *p, bool wide, int64_t i)
    {
        return wide ? static_cast<const float *>(p)[i] : to_f32(static_cast<const T *>(p)[i]);
    }
    TRINE_DEVICE_METHOD float finish(float sum, int64_t row, int64_t column, const product_offsets &at) const
    {
        float y = alpha * sum;
        if (c) y = target::fma_rn(beta, read(c, c_wide, at.c + row * c_m + column * c_n), y);
        if (bias) y += read(bias, bias_wide, row * bias_m + column * bias_n);
        return activate(activation, activation_alpha, y);
    }
    /* V finished values of neighbouring columns; V > 1 only if d_packs. */
    template <int V>
    TRINE_DEVICE_METHOD void put(const pack<float, V> &values, int64_t row, int64_t column, const product_offsets &at) const
    {
        const int64_t i = at.d + row * d_m + column;
        if (d_wide) {
            store_pack<float, V>(static_cast<float *>(d) + i, values);
        } else {
            pack<T, V> narrow;
#pragma unroll
            for (int j = 0; j < V; j++) narrow.at[j] = from_f32<T>(values.at[j]);
            store_pack<T, V>(static_cast<T *>(d) + i, narrow);
        }
    }
    TRINE_DEVICE_METHOD void store(float sum, int64_t row, int64_t column, const product_offsets &at) const
    {
        put(pack<float, 1>{{finish(sum, row, column, at)}}, row, column, at);
    }
    /* Nothing to finish: d is the sum. */
    TRINE_DEVICE_METHOD bool plain() const { return alpha == 1.0f && !c && !bias && activation == TRINE_ACT_IDENTITY; }
};

/* Four neighbouring sums by an epilogue, of which d has those left of column `columns`. */
template <class Epilogue>
TRINE_DEVICE void store_four(const Epilogue &out, const pack<float, 4> &sums, int64_t row, int64_t column, int64_t columns,
                             const product_offsets &at)
{
    pack<float, 4> done;
#pragma unroll
    for (int j = 0; j < 4; j++) done.at[j] = column + j < columns ? out.finish(sums.at[j], row, column + j, at) : 0.0f;
    if (out.d_packs) {
        out.put(done, row, column, at);
        return;
    }
#pragma unroll
    for (int j = 0; j < 4; j++)
        if (column + j < columns) out.put(pack<float, 1>{{done.at[j]}}, row, column + j, at);
}

/* A trine_product on the device. */
template <class T> struct product {
    const T *a, *b;
    int64_t m, n, k, a_m, a_k, b_n, b_k;
    int64_t first;   /* index of the launch's first product in the batch */
    int64_t batches; /* products in the batch */
    epilogue<T> out;
    walk<TRINE_PRODUCT_OPERANDS, divider64> batch;

    explicit product(const trine_product &p)
        : a(static_cast<const T *>(p.a)), b(static_cast<const T *>(p.b)), m(p.m), n(p.n), k(p.k), a_m(p.a_m), a_k(p.a_k),
          b_n(p.b_n), b_k(p.b_k), first(0), batches(p.batch.numel), out(p), batch(p.batch)
    {
    }
    TRINE_DEVICE_METHOD product_offsets offsets(int64_t index) const
    {
        int64_t at[TRINE_PRODUCT_OPERANDS] = {0, 0, 0, 0};
        if (batches > 1) batch.offsets(index, at);
        return product_offsets{at[TRINE_PRODUCT_D], at[TRINE_PRODUCT_A], at[TRINE_PRODUCT_B], at[TRINE_PRODUCT_C]};
    }
};

/* The block's place: which product of the batch, and which of its `blocks` parts. */
struct block_place {
    int64_t index; /* in the batch */
    unsigned part;
};
template <class T> TRINE_DEVICE block_place place_of_block(const product<T> &p, unsigned blocks)
{
    const unsigned id = target::block_x(), product = id / blocks;
    return block_place{p.first + product, id - product * blocks};
}

/* Neighbouring blocks take tiles of a few rows of tiles, so that what they read stays in the cache. */
TRINE_DEVICE void tile_of_block(unsigned part, unsigned tiles_m, unsigned tiles_n, unsigned group_rows, unsigned *tile_m,
                                unsigned *tile_n)
{
    const unsigned group = part / (group_rows * tiles_n), inside = part - group * (group_rows * tiles_n);
    const unsigned first = group * group_rows, rows = tiles_m - first < group_rows ? tiles_m - first : group_rows;
    *tile_m = first + inside % rows;
    *tile_n = inside / rows;
}

/* ---- Host ---- */

/* Every kernel's first guard; fills the product. */
#define TRINE_MATMUL_BEGIN(call, args, name) \
    trine_product name; \
    TRINE_REQUIRE_THAT(call, trine_product_make(&name, static_cast<const trine_matmul_args *>(args)), \
                       "needs d with stride 1 along N or M")

/* True if an operand may be read in packs of V along the axis of stride `along` and size n: `other` is its other stride. */
template <int V, class T>
inline bool operand_packs(const trine_product &p, int operand, const void *data, int64_t along, int64_t n, int64_t other)
{
    bool fit = along == 1 && n % V == 0 && other % V == 0 && reinterpret_cast<uintptr_t>(data) % (V * sizeof(T)) == 0;
    for (int i = 0; i < p.batch.ndim; i++) fit = fit && p.batch.stride[operand][i] % V == 0;
    return fit;
}

/* `blocks` blocks for each product of the batch, in as many launches as the limit of a grid makes necessary. */
template <class T, class... P, class... A> inline trine_status
launch_products(trine_call *call, void (*kernel)(product<T>, P...), int64_t blocks, int threads, product<T> p, A... args)
{
    const int64_t most = 0x7fffffff / blocks;
    TRINE_REQUIRE_THAT(call, most > 0, "the grid is too large");
    trine_status status = TRINE_OK;
    for (p.first = 0; p.first < p.batches && status == TRINE_OK; p.first += most) {
        const int64_t products = p.batches - p.first < most ? p.batches - p.first : most;
        status = launch(call, kernel, grid(products * blocks), threads, 0, p, args...);
    }
    return status;
}

inline bool product_is_empty(const trine_product &p) { return p.m == 0 || p.n == 0 || p.batch.numel == 0; }

} // namespace simt

#endif
