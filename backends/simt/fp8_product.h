/* What every kernel of fp8_matmul is given: the product of codes, its epilogue, its scales. */
#ifndef TRINE_SIMT_FP8_PRODUCT_H
#define TRINE_SIMT_FP8_PRODUCT_H

#include "backends/simt/matmul_product.h"
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
    TRINE_DEVICE_METHOD float finish(float sum, int64_t row, int64_t column, const product_offsets &at) const
    {
        if (bias) sum += read(bias, bias_dtype, at.bias + row * bias_m + column * bias_n);
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
    /* Where the scales of the batch's matrix begin. */
    TRINE_DEVICE_METHOD void offsets(int64_t index, int64_t (&at)[2]) const
    {
        at[0] = at[1] = 0;
        if (batched) batch.offsets(index, at);
    }
};

/* ---- Host ---- */

/* Every variant's first guard; fills the product. */
#define TRINE_FP8_MATMUL_BEGIN(call, args, name) \
    trine_product name; \
    TRINE_REQUIRE_THAT(call, trine_fp8_product_make(&name, static_cast<const trine_fp8_matmul_args *>(args)), \
                       "needs d with stride 1 along N or M")

} // namespace simt

#endif
