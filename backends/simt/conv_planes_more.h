/* depthwise with channels first, what conv_planes.h leaves: strides of 2, their data gradient, and the gradient of the
 * filters. As there, neighbouring threads have neighbouring columns; a thread loads all that some rows of outputs meet before
 * it multiplies, and what neighbours load again comes from the caches. */
#ifndef TRINE_SIMT_CONV_PLANES_MORE_H
#define TRINE_SIMT_CONV_PLANES_MORE_H

#include "backends/simt/conv_rows_weight.h"

namespace simt {

enum { planes_weight_rows = 4 };

/* Output rows that a thread makes together. */
template <int taps> constexpr int planes_rows = taps == 3 ? 4 : 2;

/* ROWS x COLUMNS elements of a plane from (row, column) on, zeros outside. */
template <class T, int ROWS, int COLUMNS> TRINE_DEVICE void planes_load(float (&to)[ROWS][COLUMNS], const T *plane, int64_t line,
                                                                        int32_t row, int32_t column, const int32_t *size)
{
    T held[ROWS][COLUMNS];
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            const bool inside = uint32_t(row + r) < uint32_t(size[0]) && uint32_t(column + c) < uint32_t(size[1]);
            held[r][c] = inside ? plane[(row + r) * line + column + c] : from_f32<T>(0.0f);
        }
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) to[r][c] = to_f32(held[r][c]);
}

template <class T, int S> TRINE_DEVICE void planes_filter(float (&filter)[S][S], const rows_problem<T> &p, int32_t channel)
{
#pragma unroll
    for (int r = 0; r < S; r++)
#pragma unroll
        for (int s = 0; s < S; s++) filter[r][s] = to_f32(p.filters[channel * p.s.f_c + r * p.s.f_at[0] + s * p.s.f_at[1]]);
}

/* A stride of 2. An item is (image, channel, part of the rows, column). */
template <class T, int S> TRINE_KERNEL(rows_threads) conv_planes_stride_kernel(rows_problem<T> p)
{
    constexpr int R = planes_rows<S>, rows = 2 * (R - 1) + S;
    const int64_t item = int64_t(target::block_x()) * rows_threads + target::thread_x();
    if (item >= p.items) return;
    const rows_place at = rows_place_of(p, int32_t(item));
    const int32_t image = int32_t(uint32_t(at.image) / uint32_t(p.s.channels)), channel = at.image - image * p.s.channels;
    const T *plane = p.x + int64_t(image) * p.s.x_n + channel * p.s.x_c;
    const int64_t to = int64_t(image) * p.s.y_n + channel * p.s.y_c + at.strip;
    float filter[S][S];
    planes_filter<T, S>(filter, p, channel);
#pragma unroll 1
    for (int32_t row = at.begin; row < at.end; row += R) {
        float in[rows][S], sum[R][1];
        planes_load<T, rows, S>(in, plane, p.s.x_at[0], 2 * row - p.s.padding[0], 2 * at.strip - p.s.padding[1], p.s.in);
#pragma unroll
        for (int k = 0; k < R; k++) {
            sum[k][0] = 0;
#pragma unroll
            for (int r = 0; r < S; r++)
#pragma unroll
                for (int s = 0; s < S; s++) sum[k][0] = target::fma_rn(in[2 * k + r][s], filter[r][s], sum[k][0]);
        }
        rows_finish<T, R, 1>(p, sum, channel);
#pragma unroll
        for (int k = 0; k < R; k++)
            if (row + k < at.end) rows_put<T, 1>(p, to + (row + k) * p.s.y_at[0], pack<float, 1>{{sum[k][0]}});
    }
}

/* Its data gradient (x: dy, y: dx): pairs of columns and of rows, of which the first has padding + place even, as
 * conv_rows_spread_kernel. An item is (image, channel, part of the rows, pair of columns). */
template <class T, int S> TRINE_KERNEL(rows_threads) conv_planes_spread_kernel(rows_problem<T> p)
{
    constexpr int half = (S - 1) / 2, R = 2, rows = R + half;
    const int64_t item = int64_t(target::block_x()) * rows_threads + target::thread_x();
    if (item >= p.items) return;
    const rows_place at = rows_place_of(p, int32_t(item));
    const int32_t image = int32_t(uint32_t(at.image) / uint32_t(p.s.channels)), channel = at.image - image * p.s.channels;
    const int32_t column = 2 * at.strip - p.s.padding[1] % 2, q = (column + p.s.padding[1]) / 2,
                  begin = at.begin - p.s.padding[0] % 2, end = begin + p.rows < p.s.out[0] ? begin + p.rows : p.s.out[0];
    const T *plane = p.x + int64_t(image) * p.s.x_n + channel * p.s.x_c;
    const int64_t to = int64_t(image) * p.s.y_n + channel * p.s.y_c + column;
    float filter[S][S];
    planes_filter<T, S>(filter, p, channel);
#pragma unroll 1
    for (int32_t row = begin; row < end; row += 2 * R) {
        float in[rows][half + 1], sum[2 * R][2] = {};
        planes_load<T, rows, half + 1>(in, plane, p.s.x_at[0], (row + p.s.padding[0]) / 2 - half, q - half, p.s.in);
#pragma unroll
        for (int k = 0; k < R; k++)
#pragma unroll
            for (int r = 0; r < S; r++)
#pragma unroll
                for (int s = 0; s < S; s++)
                    sum[2 * k + r % 2][s % 2] =
                        target::fma_rn(in[k - r / 2 + half][half - s / 2], filter[r][s], sum[2 * k + r % 2][s % 2]);
#pragma unroll
        for (int k = 0; k < 2 * R; k++)
#pragma unroll
            for (int u = 0; u < 2; u++)
                if (row + k >= 0 && row + k < end && uint32_t(column + u) < uint32_t(p.s.out[1]))
                    rows_put<T, 1>(p, to + (row + k) * p.s.y_at[0] + u, pack<float, 1>{{sum[k][u]}});
    }
}

/* The filters' gradient; p.y is dy. A block has a channel and every lines-th group of items, (image, four rows, column); parts:
 * [lines][tap][channel]. */
template <class T, int S, int STEP> TRINE_KERNEL(rows_threads)
conv_planes_weight_kernel(rows_problem<T> p, float *parts, unsigned lines)
{
    constexpr int R = planes_weight_rows, rows = STEP * (R - 1) + S;
    TRINE_SHARED float shared[target::max_waves][S * S];
    const int32_t t = target::thread_x(), line = int32_t(target::block_x() % lines), channel = int32_t(target::block_x() / lines);
    const T *const x = p.x + channel * p.s.x_c, *const dy = static_cast<const T *>(p.y) + channel * p.s.y_c;
    float sum[S][S] = {};
#pragma unroll 1
    for (int64_t item = int64_t(line) * rows_threads + t; item < p.items; item += int64_t(lines) * rows_threads) {
        const rows_place at = rows_place_of(p, int32_t(item));
        float in[rows][S], g[R][1];
        planes_load<T, R, 1>(g, dy + int64_t(at.image) * p.s.y_n, p.s.y_at[0], at.begin, at.strip, p.s.out);
        planes_load<T, rows, S>(in, x + int64_t(at.image) * p.s.x_n, p.s.x_at[0], STEP * at.begin - p.s.padding[0],
                                STEP * at.strip - p.s.padding[1], p.s.in);
#pragma unroll
        for (int k = 0; k < R; k++) {
            if (at.begin + k >= p.s.out[0]) break; /* x may be infinite where dy is not there */
#pragma unroll
            for (int r = 0; r < S; r++)
#pragma unroll
                for (int s = 0; s < S; s++) sum[r][s] = target::fma_rn(in[STEP * k + r][s], g[k][0], sum[r][s]);
        }
    }
    const int wave = t / target::wave_size(), lane = t % target::wave_size();
#pragma unroll
    for (int i = 0; i < S * S; i++) {
        float all = sum[i / S][i % S];
        for (int apart = target::wave_size() / 2; apart > 0; apart /= 2) all += target::shuffle_xor(all, apart);
        if (lane == 0) shared[wave][i] = all;
    }
    target::barrier();
    if (t >= S * S) return;
    float all = 0;
    for (int i = 0; i < rows_threads / target::wave_size(); i++) all += shared[i][t];
    parts[(int64_t(line) * S * S + t) * p.s.channels + channel] = all;
}

/* ---- Host ---- */

/* Columns lie densely in both. */
inline bool planes_lie(const rows_shape &s) { return (s.in[1] == 1 || s.x_at[1] == 1) && (s.out[1] == 1 || s.y_at[1] == 1); }

/* Blocks of a channel: some of a device's for all, each thread with at least four items. */
inline int64_t planes_lines(const trine_call *call, const rows_shape &s, int64_t items)
{
    const int64_t units = call->device->props.compute_units > 0 ? call->device->props.compute_units : 1,
                  wanted = ceil_div(16 * units, s.channels), most = ceil_div(items, 4 * rows_threads);
    return wanted < most ? wanted : most;
}

template <class T> inline trine_status planes_sum_parts(trine_call *call, rows_problem<T> p, const float *parts, int64_t lines,
                                                        void *dweight, bool wide)
{
    p.y = dweight;
    p.wide = wide;
    const int64_t outputs = int64_t(p.s.taps[0]) * p.s.taps[1] * p.s.channels;
    return launch(call, conv_rows_sum_kernel<T>, grid(ceil_div(outputs, int(rows_sum_outputs))),
                  rows_sum_outputs * rows_sum_parts, 0, p, parts, lines);
}

} // namespace simt

#endif
