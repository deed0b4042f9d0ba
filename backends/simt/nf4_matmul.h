/* nf4_matmul. gemv: products with at most four rows of x, which read the packed weight once; bound by its bytes. A wave has two rows
 * of the weight; a lane loads 32 codes of each at a time, half a block with one scale, looks them up in a table that every bank of
 * shared memory has its copy of, and multiplies them with x's elements, which the caches hold. dequantize: core/nf4_matmul.h. */
#ifndef TRINE_SIMT_NF4_MATMUL_H
#define TRINE_SIMT_NF4_MATMUL_H

#include "backends/simt/block.h"
#include "backends/simt/launch.h"
#include "backends/simt/types.h"
#include "core/dynamic_map.h"
#include "core/nf4.h"
#include "core/nf4_matmul.h"

namespace simt {

enum { nf4_gemv_threads = 256, nf4_gemv_rows = 2, nf4_gemv_most = 4, nf4_lane_codes = 32, nf4_banks = 32, nf4_map_size = 256 };

struct nf4_book {
    float at[16];
};

/* Scales of the weight's blocks; `map`: values of the dynamic map's codes, a copy in shared memory that the kernel makes. */
struct nf4_scales {
    const void *absmax;
    const float *scale, *mean;
    bool doubled, linear;
    explicit nf4_scales(const trine_nf4_matmul_args &a)
        : absmax(a.absmax.data), scale(data_of<float>(a.scale)), mean(data_of<float>(a.mean)),
          doubled(a.absmax.dtype == TRINE_U8), linear(a.kind == TRINE_ABSMAX_LINEAR)
    {
    }
    TRINE_DEVICE_METHOD float at(int64_t i, const float *map) const
    {
        if (!doubled) return static_cast<const float *>(absmax)[i];
        return of_code(static_cast<const uint8_t *>(absmax)[i], scale[i / TRINE_ABSMAX_BLOCK], map);
    }
    /* Of a code and its block's scale. */
    TRINE_DEVICE_METHOD float of_code(uint32_t code, float s, const float *map) const
    {
        return linear ? target::mul_rn(float(code), s) : target::add_rn(target::mul_rn(map[code], s), *mean);
    }
};

struct nf4_map_values {
    float at[nf4_map_size];
    nf4_map_values()
    {
        trine_dynamic_map map;
        trine_dynamic_map_make(&map);
        memcpy(at, map.value, sizeof at);
    }
};

/* x [m, k] of type T, dense along k; the weight [n, k]. */
template <class T> struct nf4_product {
    const T *x;
    const uint8_t *codes;
    nf4_scales scales;
    const void *bias;
    void *d;
    int64_t n, k, x_m, d_m, d_n;
    int m;
    bool bias_wide, d_wide;
    bool packed; /* x and codes may be loaded in pieces of 16 bytes */

    nf4_product(const trine_nf4_matmul_args &a, const trine_nf4_shape &s)
        : x(data_of<T>(a.x)), codes(data_of<uint8_t>(a.codes)), scales(a), bias(a.bias.data), d(a.d.data), n(s.n), k(s.k),
          x_m(a.x.stride[0]), d_m(a.d.stride[0]), d_n(a.d.stride[1]), m(int(s.m)), bias_wide(a.bias.dtype == TRINE_F32),
          d_wide(a.d.dtype == TRINE_F32),
          packed(aligned16(a.x.data) && aligned16(a.codes.data) && (s.m <= 1 || x_m * int64_t(sizeof(T)) % 16 == 0))
    {
    }
    /* Codes of 32 elements from i on, a multiple of 32; 8 elements of x. */
    TRINE_DEVICE_METHOD uint4 load_codes(int64_t i) const
    {
        const uint8_t *from = codes + i / 2;
        if (packed) return target::load16_once(from);
        uint32_t words[4] = {0, 0, 0, 0};
        for (int b = 0; b < 16; b++) words[b / 4] |= uint32_t(from[b]) << b % 4 * 8;
        return uint4{words[0], words[1], words[2], words[3]};
    }
    TRINE_DEVICE_METHOD pack<T, 8> load_x(int64_t i) const
    {
        if (packed) return load_pack<T, 8>(x + i);
        pack<T, 8> some;
        for (int j = 0; j < 8; j++) some.at[j] = x[i + j];
        return some;
    }
    /* Of x's rows, at most `most` from the first-th on. */
    nf4_product rows_from(int64_t first, int most) const
    {
        nf4_product some = *this;
        some.x += first * x_m;
        some.d = static_cast<char *>(d) + first * d_m * int64_t(d_wide ? sizeof(float) : sizeof(T));
        some.m = m - int(first) < most ? m - int(first) : most;
        return some;
    }
    TRINE_DEVICE_METHOD void store(float sum, int64_t row_of_x, int64_t row) const
    {
        if (bias) sum += bias_wide ? static_cast<const float *>(bias)[row] : to_f32(static_cast<const T *>(bias)[row]);
        const int64_t i = row_of_x * d_m + row * d_n;
        if (d_wide)
            static_cast<float *>(d)[i] = sum;
        else
            static_cast<T *>(d)[i] = from_f32<T>(sum);
    }
};

/* Where code i of a word begins: of each byte the high half comes first. */
TRINE_DEVICE constexpr int nf4_shift(int i) { return i / 2 * 8 + (i % 2 ? 0 : 4); }

/* Sums of 32 codes of each row with S rows of x from term k on. */
template <class T, int S> TRINE_DEVICE void nf4_add(float (&part)[nf4_gemv_rows][S], const uint4 (&words)[nf4_gemv_rows],
                                                    const nf4_product<T> &p, int64_t k, const float *book)
{
#pragma unroll
    for (int j = 0; j < 4; j++) {
        pack<T, 8> x[S];
#pragma unroll
        for (int s = 0; s < S; s++) x[s] = p.load_x((s < p.m ? s : 0) * p.x_m + k + 8 * j);
#pragma unroll
        for (int r = 0; r < nf4_gemv_rows; r++) {
            const uint32_t word = j == 0 ? words[r].x : j == 1 ? words[r].y : j == 2 ? words[r].z : words[r].w;
#pragma unroll
            for (int i = 0; i < 8; i++) {
                const float value = book[(word >> nf4_shift(i) & 15u) * nf4_banks];
#pragma unroll
                for (int s = 0; s < S; s++) part[r][s] = target::fma_rn(value, to_f32(x[s].at[i]), part[r][s]);
            }
        }
    }
}

/* S: room for rows of x, of which there may be fewer; the first one is then computed again. */
template <class T, int S> TRINE_KERNEL(nf4_gemv_threads)
nf4_gemv_kernel(nf4_product<T> p, nf4_book values, nf4_map_values map_values)
{
    TRINE_SHARED float books[16 * nf4_banks], map[nf4_map_size];
    const int t = target::thread_x(), lane = t % target::wave_size(), wave = t / target::wave_size();
    for (int i = t; i < 16 * nf4_banks; i += nf4_gemv_threads) books[i] = values.at[i / nf4_banks];
    for (int i = t; i < nf4_map_size; i += nf4_gemv_threads) map[i] = map_values.at[i];
    target::barrier();
    const int64_t waves = nf4_gemv_threads / target::wave_size();
    const int64_t first = (int64_t(target::block_x()) * waves + wave) * nf4_gemv_rows;
    if (first >= p.n) return;
    int64_t row[nf4_gemv_rows];
    for (int r = 0; r < nf4_gemv_rows; r++) row[r] = first + r < p.n ? first + r : first;

    float sum[nf4_gemv_rows][S] = {};
#pragma unroll 1
    for (int64_t k = lane * nf4_lane_codes; k < p.k; k += target::wave_size() * nf4_lane_codes) {
        uint4 words[nf4_gemv_rows];
        float part[nf4_gemv_rows][S] = {}, scale[nf4_gemv_rows];
#pragma unroll
        for (int r = 0; r < nf4_gemv_rows; r++) {
            words[r] = p.load_codes(row[r] * p.k + k);
            scale[r] = p.scales.at((row[r] * p.k + k) / TRINE_NF4_BLOCK, map);
        }
        nf4_add<T, S>(part, words, p, k, books + lane % nf4_banks);
#pragma unroll
        for (int r = 0; r < nf4_gemv_rows; r++)
#pragma unroll
            for (int s = 0; s < S; s++) sum[r][s] = target::fma_rn(scale[r], part[r][s], sum[r][s]);
    }
    /* lane r S + s keeps the sum of row r and row s of x */
    float mine = 0;
#pragma unroll
    for (int i = 0; i < nf4_gemv_rows * S; i++) {
        const float all = wave_reduce(sum[i / S][i % S], op_sum{});
        mine = lane == i ? all : mine;
    }
    if (lane < nf4_gemv_rows * S && lane % S < p.m && first + lane / S < p.n) p.store(mine, lane % S, first + lane / S);
}

/* What the kernels that read packed codes want. */
inline trine_status nf4_require(trine_call *call, const trine_nf4_matmul_args &a, const trine_nf4_shape &s)
{
    TRINE_REQUIRE_THAT(call, !a.transposed && s.k % TRINE_NF4_BLOCK == 0 && (a.x.stride[1] == 1 || s.k <= 1),
                       "needs a weight that is not transposed, K of whole blocks of 64, and x with stride 1 along K");
    return TRINE_OK;
}

/* As many launches as there are fours of rows of x. */
template <class T> inline trine_status nf4_gemv_run(trine_call *call, const trine_nf4_matmul_args &a, const trine_nf4_shape &s)
{
    const auto kernel = s.m == 1 ? nf4_gemv_kernel<T, 1> : nf4_gemv_kernel<T, nf4_gemv_most>;
    const int64_t rows = nf4_gemv_threads / call->device->props.wave_size * nf4_gemv_rows;
    const nf4_product<T> all(a, s);
    trine_status status = TRINE_OK;
    for (int64_t m = 0; m < s.m && status == TRINE_OK; m += nf4_gemv_most)
        status = launch(call, kernel, grid(ceil_div(s.n, rows)), nf4_gemv_threads, 0, all.rows_from(m, nf4_gemv_most),
                        nf4_book{TRINE_NF4_VALUES}, nf4_map_values());
    return status;
}

inline trine_status nf4_gemv(trine_call *call, const void *args)
{
    const trine_nf4_matmul_args &a = *static_cast<const trine_nf4_matmul_args *>(args);
    const trine_nf4_shape s = trine_nf4_shape_make(&a);
    TRINE_REQUIRE_THAT(call, s.m <= nf4_gemv_most, "needs at most 4 rows of x");
    const trine_status status = nf4_require(call, a, s);
    if (status != TRINE_OK) return status;
    TRINE_END_OF_QUERY(call, 0);
    if (s.m == 0 || s.n == 0) return TRINE_OK;
    return visit_floats(call, a.x.dtype, [&](auto t) { return nf4_gemv_run<typename decltype(t)::type>(call, a, s); });
}

inline trine_status nf4_dequantized(trine_call *call, const void *args)
{
    static const trine_nf4_ops ops = {TRINE_BACKEND_FN(nf4_dequantize), TRINE_BACKEND_FN(absmax_dequantize),
                                      TRINE_BACKEND_FN(matmul)};
    return trine_nf4_matmul_run(call, &ops, static_cast<const trine_nf4_matmul_args *>(args));
}

} // namespace simt

#endif
