/* depthwise: the filters' gradient, channels last. A thread has some channels' sums of all taps, for every fourth or so strip of seven
 * columns; the block adds its threads' up, a second kernel the blocks'. Bound by bytes, or by multiply-adds as forward. */
#ifndef TRINE_SIMT_CONV_ROWS_WEIGHT_H
#define TRINE_SIMT_CONV_ROWS_WEIGHT_H

#include "backends/simt/conv_rows.h"

namespace simt {

enum { rows_taps_together = 8, rows_sum_outputs = 32, rows_sum_parts = 8 };

/* Rows of taps that a block makes: half of them where all sums, lines and what is multiplied need more registers than
 * TRINE_ROWS_REGISTERS, which is the vendor's; then dy is read twice. */
template <int V, int S, int STEP>
constexpr int rows_taps_of_block = S *S *V + S *(STEP *(rows_columns - 1) + S) +
                                               (STEP * (rows_columns - 1) + S + rows_columns) * V
                                           > TRINE_ROWS_REGISTERS
                                       ? (S + 1) / 2
                                       : S;
template <int V, int S, int STEP>
constexpr int rows_parts_of_taps = (S + rows_taps_of_block<V, S, STEP> - 1) / rows_taps_of_block<V, S, STEP>;

/* Sums of the taps of a row that the output row meets, `valid` of whose columns there are. Others are left out: x may be infinite
 * where they would be. */
template <int S, int STEP, bool ALL, int W, int V, int I>
TRINE_DEVICE void rows_gather(float (&sum)[S][V], const float (&in)[I][V], const float (&g)[W][V], int valid)
{
#pragma unroll
    for (int u = 0; u < W; u++) {
        if (!ALL && u >= valid) break;
#pragma unroll
        for (int s = 0; s < S; s++)
#pragma unroll
            for (int v = 0; v < V; v++) sum[s][v] = target::fma_rn(in[STEP * u + s][v], g[u][v], sum[s][v]);
    }
}

/* R rows of taps, from `first` on; the lines are under way before the first is needed. */
template <class T, int V, int S, int STEP, bool ALL, int R>
TRINE_DEVICE void rows_gather_all(float (&sum)[R][S][V], const rows_problem<T> &p, const T *x, const T *y, int32_t row, int first,
                                  uint32_t mask, uint32_t mask_y, int valid)
{
    constexpr int W = rows_columns, I = STEP * (W - 1) + S;
    rows_line<T, V, W> from_y;
    rows_line<T, V, I> line[R];
    float g[W][V];
    from_y.load(y, p.s.y_at[1], mask_y);
#pragma unroll
    for (int r = 0; r < R; r++) {
        const int32_t h = STEP * row - p.s.padding[0] + first + r;
        line[r].load(x + h * p.s.x_at[0], p.s.x_at[1], uint32_t(h) < uint32_t(p.s.in[0]) ? mask : 0);
    }
    from_y.widen(g);
#pragma unroll
    for (int r = 0; r < R; r++) {
        float in[I][V];
        line[r].widen(in);
        rows_gather<S, STEP, ALL, W, V>(sum[r], in, g, valid);
    }
}

/* p.y is dy; parts: [lines][tap][channel]. */
template <class T, int V, int S, int STEP> TRINE_KERNEL(rows_threads)
conv_rows_weight_kernel(rows_problem<T> p, float *parts, unsigned groups, unsigned lines)
{
    constexpr int W = rows_columns, I = STEP * (W - 1) + S, R = rows_taps_of_block<V, S, STEP>;
    constexpr unsigned passes = rows_parts_of_taps<V, S, STEP>;
    alignas(16) TRINE_SHARED float shared[rows_taps_together][rows_threads][V];
    const int t = target::thread_x(), per = rows_threads / p.lanes, slot = t / p.lanes, lane = t - slot * p.lanes;
    const unsigned block = target::block_x() / passes, own = block / groups, group = block - own * groups;
    const int first_tap = int(target::block_x() % passes) * R;
    const int32_t first = int32_t(group) * p.lanes * V, channel = first + lane * V;
    const bool inside = slot < per && channel < p.s.channels;
    float sum[R][S][V] = {};
    const T *const dy = static_cast<const T *>(p.y);
    for (int64_t item = int64_t(own) * per + slot; inside && item < p.items; item += int64_t(lines) * per) {
        const rows_place at = rows_place_of(p, int32_t(item));
        const int32_t column = at.strip * W, valid = p.s.out[1] - column;
        const uint32_t mask = rows_mask<I>(STEP * column - p.s.padding[1], p.s.in[1]), mask_y = rows_mask<W>(column, p.s.out[1]);
        const T *x = p.x + int64_t(at.image) * p.s.x_n + (STEP * column - p.s.padding[1]) * p.s.x_at[1] + channel;
        const T *y = dy + int64_t(at.image) * p.s.y_n + column * p.s.y_at[1] + channel;
#pragma unroll 1
        for (int32_t row = at.begin; row < at.end; row++) {
            if (valid >= W)
                rows_gather_all<T, V, S, STEP, true, R>(sum, p, x, y + row * p.s.y_at[0], row, first_tap, mask, mask_y, valid);
            else
                rows_gather_all<T, V, S, STEP, false, R>(sum, p, x, y + row * p.s.y_at[0], row, first_tap, mask, mask_y, valid);
        }
    }
    const int width = p.lanes * V, taps = p.s.taps[0] * p.s.taps[1];
#pragma unroll
    for (int together = 0; together < R * S; together += rows_taps_together) {
        target::barrier();
#pragma unroll
        for (int i = 0; i < rows_taps_together; i++)
#pragma unroll
            for (int v = 0; v < V; v++)
                if (together + i < R * S) shared[i][t][v] = sum[(together + i) / S % R][(together + i) % S][v];
        target::barrier();
        for (int e = t; e < rows_taps_together * width; e += rows_threads) {
            const int i = e / width, c = e - i * width, r = first_tap + (together + i) / S, s = (together + i) % S;
            if (together + i >= R * S || r >= p.s.taps[0] || s >= p.s.taps[1] || first + c >= p.s.channels) continue;
            float all = 0;
            for (int j = 0; j < per; j++) all += (&shared[i][0][0])[j * width + c];
            parts[(int64_t(own) * taps + r * p.s.taps[1] + s) * p.s.channels + first + c] = all;
        }
    }
}

/* The blocks' sums in their order, every eighth by one thread; to p.y, dweight, by the filters' strides. */
template <class T> TRINE_KERNEL(rows_sum_outputs *rows_sum_parts)
conv_rows_sum_kernel(rows_problem<T> p, const float *parts, unsigned lines)
{
    TRINE_SHARED float shared[rows_sum_parts][rows_sum_outputs];
    const int lane = target::thread_x() % rows_sum_outputs, part = target::thread_x() / rows_sum_outputs;
    const int32_t outputs = p.s.taps[0] * p.s.taps[1] * p.s.channels, own = int32_t(target::block_x()) * rows_sum_outputs + lane;
    float sum = 0;
    if (own < outputs)
#pragma unroll 4
        for (unsigned i = unsigned(part); i < lines; i += rows_sum_parts) sum += parts[int64_t(i) * outputs + own];
    shared[part][lane] = sum;
    target::barrier();
    if (part != 0 || own >= outputs) return;
    for (int i = 1; i < rows_sum_parts; i++) sum += shared[i][lane];
    const int32_t tap = own / p.s.channels, channel = own - tap * p.s.channels, r = tap / p.s.taps[1], s = tap - r * p.s.taps[1];
    rows_put<T, 1>(p, channel * p.s.f_c + r * p.s.f_at[0] + s * p.s.f_at[1], pack<float, 1>{{sum}});
}

} // namespace simt

#endif
