/* depthwise with channels first: as conv_rows.h, but neighbouring threads have neighbouring columns, V each, and every thread its own
 * channel's filter in registers. Strides of 1. */
#ifndef TRINE_SIMT_CONV_PLANES_H
#define TRINE_SIMT_CONV_PLANES_H

#include "backends/simt/conv_rows.h"

namespace simt {

/* V > 1: pairs of columns lie aligned, in x and in y. An item is (image, channel, part of the rows, V columns). */
template <class T, int V, int S> TRINE_KERNEL_BLOCKS(rows_threads, 4) conv_planes_kernel(rows_problem<T> p)
{
    constexpr int I = V + S - 1, packs = (I + V - 1 + V - 1) / V;
    const int64_t item = int64_t(target::block_x()) * rows_threads + target::thread_x();
    if (item >= p.items) return;
    const rows_place at = rows_place_of(p, int32_t(item));
    const int32_t image = int32_t(uint32_t(at.image) / uint32_t(p.s.channels)), channel = at.image - image * p.s.channels;
    float filter[S][S];
#pragma unroll
    for (int a = 0; a < S; a++)
#pragma unroll
        for (int s = 0; s < S; s++)
            filter[a][s] = to_f32(p.filters[channel * p.s.f_c + (S - 1 - a) * p.s.f_at[0] + s * p.s.f_at[1]]);
    /* packs begin where the strip's first element lies, or one before */
    const int32_t column = at.strip * V, shift = V > 1 ? p.s.padding[1] & 1 : 0, begin = column - p.s.padding[1] - shift;
    const int32_t first = at.begin - p.s.padding[0], last = at.end - p.s.padding[0] + p.s.taps[0] - 1;
    uint32_t mask = 0;
#pragma unroll
    for (int j = 0; j < packs; j++) mask |= uint32_t(uint32_t(begin + j * V) < uint32_t(p.s.in[1])) << j;
    const T *from = p.x + int64_t(image) * p.s.x_n + channel * p.s.x_c + begin;
    int64_t to = int64_t(image) * p.s.y_n + channel * p.s.y_c + at.begin * p.s.y_at[0] + column;
    rows_line<T, V, packs> line;
    rows_march<S, V, 1> march;
    line.load(from + first * p.s.x_at[0], V, uint32_t(first) < uint32_t(p.s.in[0]) ? mask : 0);
#pragma unroll 1
    for (int32_t row = first; row < last; row++) {
        float wide[packs][V], in[I][1], done[V][1];
        line.hold();
        line.widen(wide);
#pragma unroll
        for (int i = 0; i < I; i++) {
            in[i][0] = wide[i / V][i % V];
            if (V > 1 && shift) in[i][0] = wide[(i + V - 1) / V][(i + V - 1) % V];
        }
        const bool more = row + 1 < last && uint32_t(row + 1) < uint32_t(p.s.in[0]);
        line.load(from + (row + 1) * p.s.x_at[0], V, more ? mask : 0);
        const int early = p.s.taps[0] - 1 - (row - first);
        march.step(in, early, p.s.taps[0] - 1, done, [&](int a, int s, float(&w)[1]) { w[0] = filter[a][s]; });
        if (early > 0) continue;
        rows_finish<T, V, 1>(p, done, channel);
        pack<float, V> sums;
#pragma unroll
        for (int v = 0; v < V; v++) sums.at[v] = done[v][0];
        rows_put<T, V>(p, to, sums);
        to += p.s.y_at[0];
    }
}

} // namespace simt

#endif
