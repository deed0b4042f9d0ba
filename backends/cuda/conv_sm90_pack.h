/* Copies that bring a convolution's operands into the order that TMA can read; elements as bits, U. Bound by bytes, of which
 * the filters are few. */
#ifndef TRINE_CUDA_CONV_SM90_PACK_H
#define TRINE_CUDA_CONV_SM90_PACK_H

#include "backends/simt/conv_gather.h"

namespace sm90 {

enum { pack_threads = 256 };

/* ---- Filters: [row][step][terms], a line of 128 bytes ---- */

template <class U> constexpr int pack_terms = 128 / int(sizeof(U));

/* Where element `term` of a row comes from: `parts` lines of filter rows lie side by side in a step. Channels stand `cell` apart:
 * the line of a filter row is [tap][cell]. A filter whose steps are taps and chunks of channels is one of cells of a step. */
struct filter_pack {
    const void *from;
    int64_t row, channel, tap[2]; /* strides; of the taps they may be negative */
    int rows, channels, taps[2];
    int cell, parts, chunks; /* chunks: steps of a line (parts 1) */
    int steps;               /* of a row */
};

template <class U> TRINE_DEVICE U filter_element(const filter_pack &f, int row, int step, int i)
{
    const int width = pack_terms<U> / f.parts, line = step / f.chunks, r = line * f.parts + i / width,
              e = step % f.chunks * width + i % width;
    int s = e / f.cell, c = e % f.cell, tap = r;
    if (f.cell >= pack_terms<U>) { /* lines are single taps, chunks are of channels */
        tap = r / f.taps[1];
        s = r - tap * f.taps[1];
        c = e;
    }
    if (tap >= f.taps[0] || s >= f.taps[1] || c >= f.channels) return 0;
    return static_cast<const U *>(f.from)[row * f.row + c * f.channel + tap * f.tap[0] + s * f.tap[1]];
}

template <class U> __global__ void __launch_bounds__(pack_threads) pack_filters_kernel(filter_pack f, U *to)
{
    constexpr int terms = pack_terms<U>;
    const int64_t i = int64_t(blockIdx.x) * pack_threads + threadIdx.x;
    if (i >= int64_t(f.rows) * f.steps * terms) return;
    const int64_t line = i / terms;
    to[i] = filter_element<U>(f, int(line / f.steps), int(line % f.steps), int(i % terms));
}

/* ---- Filters of a data gradient whose phases are columns: [phase][phase][channel][tap][tap][term], terms in whole steps ---- */

enum { spread_most = 8 /* phases along an axis */ };

/* Along each axis, of each phase: its taps tap, tap + step, ..., of which number j lies at begin - j among the `all` taps. */
struct spread_pack {
    const void *from;
    int64_t k, c, stride[2]; /* of terms, channels, taps */
    int terms, channels;
    int phases[2], all[2], step[2];
    int tap[2][spread_most], taps[2][spread_most], begin[2][spread_most];
};

template <class U> __global__ void __launch_bounds__(pack_threads)
    pack_spread_kernel(const __grid_constant__ spread_pack f, U *to)
{
    const int64_t i = int64_t(blockIdx.x) * pack_threads + threadIdx.x;
    const int padded = (f.terms + pack_terms<U> - 1) / pack_terms<U> * pack_terms<U>, term = int(i % padded),
              line = int(i / padded), taps = f.all[0] * f.all[1];
    const int column = line / taps, tap = line - column * taps, phase = column / f.channels;
    const int own[2] = {phase / f.phases[1], phase % f.phases[1]}, at[2] = {tap / f.all[1], tap % f.all[1]};
    if (own[0] >= f.phases[0]) return;
    int64_t from = term * f.k + (column - phase * f.channels) * f.c;
    bool met = term < f.terms;
#pragma unroll
    for (int a = 0; a < 2; a++) {
        const int j = f.begin[a][own[a]] - at[a];
        met = met && j >= 0 && j < f.taps[a][own[a]];
        from += (f.tap[a][own[a]] + j * f.step[a]) * f.stride[a];
    }
    to[i] = met ? static_cast<const U *>(f.from)[from] : U(0);
}

/* ---- Images of few channels ---- */

struct image_pack {
    const void *from;
    int64_t n, c, h, w; /* strides */
    int images, channels, height, width;
    int first_h, first_w, rows, columns; /* of what is written, in the plane; outside of it zeros */
};

/* [image][row][column][CELL]; so many neighbouring threads, a power of two, have a line. */
template <class U, int CELL> __global__ void __launch_bounds__(pack_threads)
    pack_cells_kernel(image_pack p, U *to, int threads_log)
{
    const unsigned line = blockIdx.x * (pack_threads >> threads_log) + (threadIdx.x >> threads_log),
                   image = line / unsigned(p.rows);
    if (image >= unsigned(p.images)) return;
    const int h = int(line - image * unsigned(p.rows)) + p.first_h, threads = 1 << threads_log;
    const U *const from = static_cast<const U *>(p.from) + image * p.n + h * p.h;
    to += int64_t(line) * p.columns * CELL;
    for (int i = int(threadIdx.x) & (threads - 1); i < p.columns; i += threads) {
        const int w = i + p.first_w;
        const bool inside = unsigned(h) < unsigned(p.height) && unsigned(w) < unsigned(p.width);
        simt::pack<U, CELL> cell;
#pragma unroll
        for (int c = 0; c < CELL; c++) cell.at[c] = inside && c < p.channels ? from[w * p.w + c * p.c] : U(0);
        simt::store_pack<U, CELL>(to + i * CELL, cell);
    }
}

/* ---- Host; U: as wide as the elements ---- */

template <class U> inline trine_status pack_filters(trine_call *call, const filter_pack &f, void *to)
{
    const int64_t elements = int64_t(f.rows) * f.steps * pack_terms<U>;
    return simt::launch(call, pack_filters_kernel<U>, simt::grid(simt::ceil_div(elements, pack_threads)), pack_threads, 0, f,
                        static_cast<U *>(to));
}

template <class U> inline trine_status pack_spread(trine_call *call, const spread_pack &f, void *to)
{
    const int64_t padded = simt::ceil_div(f.terms, pack_terms<U>) * pack_terms<U>,
                  lines = int64_t(f.phases[0]) * f.phases[1] * f.channels * f.all[0] * f.all[1];
    return simt::launch(call, pack_spread_kernel<U>, simt::grid(simt::ceil_div(lines * padded, pack_threads)), pack_threads, 0, f,
                        static_cast<U *>(to));
}

template <class U> inline trine_status pack_cells(trine_call *call, const image_pack &p, int cell, void *to)
{
    const int64_t lines = int64_t(p.images) * p.rows;
    const auto kernel = cell == 4 ? pack_cells_kernel<U, 4> : cell == 8 ? pack_cells_kernel<U, 8> : pack_cells_kernel<U, 16>;
    int threads_log = 5;
    while (1 << threads_log < p.columns && 1 << threads_log < pack_threads) threads_log++;
    return simt::launch(call, kernel, simt::grid(simt::ceil_div(lines, pack_threads >> threads_log)), pack_threads, 0, p,
                        static_cast<U *>(to), threads_log);
}

} // namespace sm90

#endif
