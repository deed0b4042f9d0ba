/* gemv: products of a matrix with at most four vectors, f32 eight. Bound by bytes: the matrix is read once, in packs of 16 bytes
 * where it lies densely.
 *
 * w is the matrix, [rows, K]: b with few rows of a, a with few columns of b. x is the thin operand, [thin, K]. Two kernels, by
 * how w lies:
 * - along K: a wave has a row, or a few where vectors are; its lanes walk along K together and add up what they have at the end.
 * - along rows: a lane has one pack of rows, its wave one of the block's shares of K; shared memory adds the shares.
 *
 * Where the rows are too few to keep a device busy, K is split among blocks (matmul_split.h). Any strides work, dense ones are
 * fast. */
#ifndef TRINE_SIMT_MATMUL_GEMV_H
#define TRINE_SIMT_MATMUL_GEMV_H

#include "backends/simt/block.h"
#include "backends/simt/matmul_split.h"

namespace simt {

enum { gemv_threads = 256 };

/* Vectors that there is room for; rows of a wave: more of them use what was loaded of the vectors more often. */
template <class T> constexpr int gemv_most = sizeof(T) == 4 ? 8 : 4;
template <int S> constexpr int gemv_wave_rows = S == 1 ? 1 : S > 4 ? 4 : 2;

/* Packs that a lane asks for before it uses the first, of each of its rows or of one; fewer where sums take the registers. */
template <int S> constexpr int gemv_flight_along_k = S == 1 ? 8 : S > 4 ? 1 : 2;
template <int S> constexpr int gemv_flight_along_rows = S == 1 ? 8 : 4;

/* The product seen as matrix and vectors, on the device. */
struct thin_view : trine_thin {
    explicit thin_view(const trine_thin &t) : trine_thin(t) {}
    template <class T> TRINE_DEVICE_METHOD const T *w(const product<T> &p, const product_offsets &at) const
    {
        return of_a ? p.b + at.b : p.a + at.a;
    }
    template <class T> TRINE_DEVICE_METHOD const T *x(const product<T> &p, const product_offsets &at) const
    {
        return of_a ? p.a + at.a : p.b + at.b;
    }
    /* A finished sum of this block: to the epilogue, or to the other parts. */
    template <class T> TRINE_DEVICE_METHOD void store(float sum, int64_t row, int vector, const product<T> &p,
                                                      const split_sink &sink, const split_place &part,
                                                      const product_offsets &at) const
    {
        const int64_t m = of_a ? vector : row, n = of_a ? row : vector;
        if (sink.parts)
            sink.store(pack<float, 1>{{sum}}, p, part, m, n);
        else
            p.out.store(sum, m, n, at);
    }
};

/* ---- w lies along K ---- */

/* Adds FLIGHT packs of V terms to the sums of the wave's rows and of S vectors, and moves on. `w_step`, `x_step`: from one pack
 * to the next. All loads come first, so that they are on their way together. V > 1 only if w and x lie in packs along K. */
template <int FLIGHT, class T, int V, int S> TRINE_DEVICE void add_along_k(float (&sum)[gemv_wave_rows<S>][S],
                                                                           const T *(&w)[gemv_wave_rows<S>], const T *(&x)[S],
                                                                           int64_t w_step, int64_t x_step)
{
    pack<T, V> wk[FLIGHT][gemv_wave_rows<S>], xk[FLIGHT][S];
#pragma unroll
    for (int u = 0; u < FLIGHT; u++) {
#pragma unroll
        for (int r = 0; r < gemv_wave_rows<S>; r++) wk[u][r] = load_pack_once<T, V>(w[r] + u * w_step);
#pragma unroll
        for (int s = 0; s < S; s++) xk[u][s] = load_pack<T, V>(x[s] + u * x_step);
    }
#pragma unroll
    for (int u = 0; u < FLIGHT; u++)
#pragma unroll
        for (int s = 0; s < S; s++)
#pragma unroll
            for (int r = 0; r < gemv_wave_rows<S>; r++)
#pragma unroll
                for (int j = 0; j < V; j++) sum[r][s] = target::fma_rn(to_f32(wk[u][r].at[j]), to_f32(xk[u][s].at[j]), sum[r][s]);
#pragma unroll
    for (int r = 0; r < gemv_wave_rows<S>; r++) w[r] += FLIGHT * w_step;
#pragma unroll
    for (int s = 0; s < S; s++) x[s] += FLIGHT * x_step;
}

/* S: room for vectors, of which there may be fewer; the first one is then computed again. */
template <class T, int V, int S> TRINE_KERNEL_BLOCKS(gemv_threads, 2)
gemv_along_k_kernel(product<T> p, unsigned row_blocks, unsigned blocks, thin_view view, split_sink sink)
{
    constexpr int flight = gemv_flight_along_k<S>;
    const block_place place = place_of_block(p, blocks);
    const product_offsets at = p.offsets(place.index);
    const int lane = target::thread_x() % target::wave_size(), wave = target::thread_x() / target::wave_size();
    const unsigned split = place.part / row_blocks;
    const int64_t block = place.part - split * row_blocks, waves = gemv_threads / target::wave_size();
    const int64_t first = (block * waves + wave) * gemv_wave_rows<S>, step = target::wave_size() * V;
    const int64_t begin = split * sink.terms, end = begin + sink.terms < p.k ? begin + sink.terms : p.k;
    if (first >= view.rows) return;

    int64_t k = begin + lane * V;
    const int64_t w_k = V == 1 ? view.w_k : 1, x_k = V == 1 ? view.x_k : 1;
    const T *w[gemv_wave_rows<S>], *x[S];
    for (int r = 0; r < gemv_wave_rows<S>; r++)
        w[r] = view.w(p, at) + (first + r < view.rows ? first + r : first) * view.w_row + k * w_k;
    for (int s = 0; s < S; s++) x[s] = view.x(p, at) + (s < view.thin ? s : 0) * view.x_row + k * x_k;
    float sum[gemv_wave_rows<S>][S] = {};
#pragma unroll 1
    for (; k + (flight - 1) * step < end; k += flight * step) add_along_k<flight, T, V, S>(sum, w, x, step * w_k, step * x_k);
#pragma unroll 1
    for (; k < end; k += step) add_along_k<1, T, V, S>(sum, w, x, step * w_k, step * x_k);
    /* lane r S + s keeps the sum of row r and vector s */
    float mine = 0;
#pragma unroll
    for (int i = 0; i < gemv_wave_rows<S> * S; i++) {
        const float all = wave_reduce(sum[i / S][i % S], op_sum{});
        mine = lane == i ? all : mine;
    }
    if (lane < gemv_wave_rows<S> * S && lane % S < view.thin && first + lane / S < view.rows)
        view.store(mine, first + lane / S, lane % S, p, sink, split_place{place.index, split}, at);
}

/* ---- w lies along its rows ---- */

/* Adds FLIGHT terms to the sums of a pack of V rows and of S vectors, and moves on; loads first, as above. `x_row`: from one
 * vector to the next. */
template <int FLIGHT, class T, int V, int S> TRINE_DEVICE void
add_along_rows(float (&sum)[S][V], const T *&w, const T *&x, int64_t w_step, int64_t x_step, int64_t x_row, int thin)
{
    pack<T, V> wk[FLIGHT];
    T xk[FLIGHT][S];
#pragma unroll
    for (int u = 0; u < FLIGHT; u++) {
        wk[u] = load_pack_once<T, V>(w + u * w_step);
#pragma unroll
        for (int s = 0; s < S; s++) xk[u][s] = x[u * x_step + (s < thin ? s : 0) * x_row];
    }
#pragma unroll
    for (int u = 0; u < FLIGHT; u++)
#pragma unroll
        for (int s = 0; s < S; s++)
#pragma unroll
            for (int j = 0; j < V; j++) sum[s][j] = target::fma_rn(to_f32(wk[u].at[j]), to_f32(xk[u][s]), sum[s][j]);
    w += FLIGHT * w_step;
    x += FLIGHT * x_step;
}

template <class T, int V, int S> TRINE_KERNEL_BLOCKS(gemv_threads, 2)
gemv_along_rows_kernel(product<T> p, unsigned row_blocks, unsigned blocks, thin_view view, split_sink sink)
{
    constexpr int flight = gemv_flight_along_rows<S>;
    alignas(16) TRINE_SHARED float shares[gemv_threads * V * S]; /* [wave][vector][row] */
    const block_place place = place_of_block(p, blocks);
    const product_offsets at = p.offsets(place.index);
    const int waves = gemv_threads / target::wave_size(), block_rows = target::wave_size() * V;
    const int lane = target::thread_x() % target::wave_size(), wave = target::thread_x() / target::wave_size();
    const unsigned split = place.part / row_blocks;
    const int64_t first = int64_t(place.part - split * row_blocks) * block_rows, row = first + lane * V;
    const int64_t begin = split * sink.terms, end = begin + sink.terms < p.k ? begin + sink.terms : p.k;

    float sum[S][V] = {};
    if (row < view.rows) {
        int64_t k = begin + wave;
        const int64_t w_step = waves * view.w_k, x_step = waves * view.x_k;
        const T *w = view.w(p, at) + row * view.w_row + k * view.w_k, *x = view.x(p, at) + k * view.x_k;
#pragma unroll 1
        for (; k + (flight - 1) * waves < end; k += flight * waves)
            add_along_rows<flight, T, V, S>(sum, w, x, w_step, x_step, view.x_row, view.thin);
#pragma unroll 1
        for (; k < end; k += waves) add_along_rows<1, T, V, S>(sum, w, x, w_step, x_step, view.x_row, view.thin);
    }
#pragma unroll
    for (int s = 0; s < S; s++)
#pragma unroll
        for (int j = 0; j < V; j++) shares[(wave * S + s) * block_rows + lane * V + j] = sum[s][j];
    target::barrier();
    for (int i = target::thread_x(); i < S * block_rows; i += gemv_threads) {
        const int s = i / block_rows, r = i - s * block_rows;
        if (s >= view.thin || first + r >= view.rows) continue;
        float all = shares[i];
        for (int share = 1; share < waves; share++) all += shares[share * S * block_rows + i];
        view.store(all, first + r, s, p, sink, split_place{place.index, split}, at);
    }
}

/* ---- Host ---- */

template <class T, int V, int S> inline int64_t gemv_row_blocks(const trine_call *call, const thin_view &view)
{
    const int64_t wave = call->device->props.wave_size;
    return ceil_div(view.rows, trine_thin_along_k(&view) ? gemv_threads / wave * gemv_wave_rows<S> : wave * V);
}

/* Four blocks a compute unit, as long as the parts stay long. */
inline int64_t gemv_splits(const trine_call *call, const trine_product &p, int64_t row_blocks)
{
    int64_t splits = 1;
    const int64_t blocks = row_blocks * p.batch.numel, wanted = 4 * int64_t(call->device->props.compute_units);
    while (2 * splits <= split_most && 2 * splits * blocks <= wanted && p.k >= 2 * splits * 512 && split_fits(p, 2 * splits))
        splits *= 2;
    return splits;
}

template <class T, int V, int S> inline trine_status run_gemv(trine_call *call, const trine_product &p, const thin_view &view)
{
    const int64_t row_blocks = gemv_row_blocks<T, V, S>(call, view), splits = gemv_splits(call, p, row_blocks);
    TRINE_END_OF_QUERY(call, split_workspace(p, splits));
    if (product_is_empty(p)) return TRINE_OK;
    const split_sink sink(call, p, splits, int64_t(call->device->props.wave_size) * V);
    const auto kernel = trine_thin_along_k(&view) ? gemv_along_k_kernel<T, V, S> : gemv_along_rows_kernel<T, V, S>;
    const trine_status status = launch_products(call, kernel, row_blocks * splits, gemv_threads, product<T>(p), row_blocks,
                                                row_blocks * splits, view, sink);
    return status == TRINE_OK ? sum_splits<T>(call, p, sink) : status;
}

/* Whether what is read along the walk may be read in packs. */
template <class T, int V> inline bool gemv_packs(const trine_product &p, const thin_view &view)
{
    const int w = view.of_a ? TRINE_PRODUCT_B : TRINE_PRODUCT_A, x = view.of_a ? TRINE_PRODUCT_A : TRINE_PRODUCT_B;
    const void *w_data = view.of_a ? p.b : p.a, *x_data = view.of_a ? p.a : p.b;
    if (!trine_thin_along_k(&view)) return operand_packs<V, T>(p, w, w_data, view.w_row, view.rows, view.w_k);
    return operand_packs<V, T>(p, w, w_data, view.w_k, p.k, view.w_row) &&
           operand_packs<V, T>(p, x, x_data, view.x_k, p.k, view.x_row);
}

template <class T, int V> inline trine_status run_gemv_of_vectors(trine_call *call, const trine_product &p, const thin_view &view)
{
    if (view.thin == 1) return run_gemv<T, V, 1>(call, p, view);
    if constexpr (gemv_most < T >> TRINE_THIN_MOST)
        if (view.thin > TRINE_THIN_MOST) return run_gemv<T, V, gemv_most<T>>(call, p, view);
    return run_gemv<T, V, TRINE_THIN_MOST>(call, p, view);
}

inline trine_status matmul_gemv(trine_call *call, const void *args)
{
    TRINE_MATMUL_BEGIN(call, args, p);
    trine_thin thin;
    return visit_floats(call, p.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        constexpr int V = 16 / sizeof(T);
        const int64_t vectors = p.m <= p.n ? p.m : p.n;
        TRINE_REQUIRE_THAT(call, trine_thin_make(&thin, &p) || vectors <= gemv_most<T>, "needs M or N of at most 4, f32 8");
        thin.thin = int32_t(vectors);
        const thin_view view(thin);
        return gemv_packs<T, V>(p, view) ? run_gemv_of_vectors<T, V>(call, p, view) : run_gemv_of_vectors<T, 1>(call, p, view);
    });
}

} // namespace simt

#endif
