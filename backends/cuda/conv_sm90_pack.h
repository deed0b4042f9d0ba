/* Copies that bring a convolution's operands into the order that TMA can read; 16-bit elements as bits. Bound by bytes, of which
 * the filters are few. */
#ifndef TRINE_CUDA_CONV_SM90_PACK_H
#define TRINE_CUDA_CONV_SM90_PACK_H

#include "backends/simt/conv_gather.h"

namespace sm90 {

enum { pack_threads = 256 };

/* ---- Filters: [row][step][64] ---- */

/* Where element `term` of a row comes from: `parts` lines of filter rows lie side by side in a step's 64 elements. Channels stand
 * `cell` apart: the line of a filter row is [tap][cell]. A filter whose steps are taps and chunks of channels is one of 64-element
 * cells. */
struct filter_pack {
    const uint16_t *from;
    int64_t row, channel, tap[2]; /* strides; of the taps they may be negative */
    int rows, channels, taps[2];
    int cell, parts, chunks; /* chunks of 64 elements of a line (parts 1) */
    int steps;               /* of a row */
};

TRINE_DEVICE uint16_t filter_element(const filter_pack &f, int row, int step, int i)
{
    const int width = 64 / f.parts, line = step / f.chunks, r = line * f.parts + i / width,
              e = step % f.chunks * width + i % width;
    int s = e / f.cell, c = e % f.cell, tap = r;
    if (f.cell >= 64) { /* lines are single taps, chunks are of channels */
        tap = r / f.taps[1];
        s = r - tap * f.taps[1];
        c = e;
    }
    if (tap >= f.taps[0] || s >= f.taps[1] || c >= f.channels) return 0;
    return f.from[row * f.row + c * f.channel + tap * f.tap[0] + s * f.tap[1]];
}

static __global__ void __launch_bounds__(pack_threads) pack_filters_kernel(filter_pack f, uint16_t *to)
{
    const int64_t i = int64_t(blockIdx.x) * pack_threads + threadIdx.x;
    if (i >= int64_t(f.rows) * f.steps * 64) return;
    const int64_t line = i / 64;
    to[i] = filter_element(f, int(line / f.steps), int(line % f.steps), int(i % 64));
}

/* ---- Filters of a data gradient whose phases are columns: [phase][phase][channel][tap][tap][term], terms in 64s ---- */

enum { spread_most = 8 /* phases along an axis */ };

/* Along each axis, of each phase: its taps tap, tap + step, ..., of which number j lies at begin - j among the `all` taps. */
struct spread_pack {
    const uint16_t *from;
    int64_t k, c, stride[2]; /* of terms, channels, taps */
    int terms, channels;
    int phases[2], all[2], step[2];
    int tap[2][spread_most], taps[2][spread_most], begin[2][spread_most];
};

static __global__ void __launch_bounds__(pack_threads) pack_spread_kernel(const __grid_constant__ spread_pack f, uint16_t *to)
{
    const int64_t i = int64_t(blockIdx.x) * pack_threads + threadIdx.x;
    const int padded = (f.terms + 63) / 64 * 64, term = int(i % padded), line = int(i / padded), taps = f.all[0] * f.all[1];
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
    to[i] = met ? f.from[from] : uint16_t(0);
}

/* ---- Images ---- */

struct image_pack {
    const uint16_t *from;
    int64_t n, c, h, w; /* strides */
    int images, channels, height, width;
    int first_h, first_w, rows, columns; /* of what is written, in the plane; outside of it zeros */
};

/* Few channels: [image][row][column][CELL]. */
template <int CELL> static __global__ void __launch_bounds__(pack_threads)
    pack_cells_kernel(image_pack p, uint16_t *to, int64_t cells)
{
    const int64_t i = int64_t(blockIdx.x) * pack_threads + threadIdx.x;
    if (i >= cells) return;
    const int64_t line = i / p.columns, image = line / p.rows;
    const int w = int(i - line * p.columns) + p.first_w, h = int(line - image * p.rows) + p.first_h;
    const bool inside = unsigned(h) < unsigned(p.height) && unsigned(w) < unsigned(p.width);
    const uint16_t *from = p.from + image * p.n + h * p.h + w * p.w;
    simt::pack<uint16_t, CELL> cell;
#pragma unroll
    for (int c = 0; c < CELL; c++) cell.at[c] = inside && c < p.channels ? from[c * p.c] : uint16_t(0);
    simt::store_pack<uint16_t, CELL>(to + i * CELL, cell);
}

/* [image][row][column][channels], of which there is a multiple of 8: squares of 64 pixels x 64 channels through shared memory. */
static __global__ void __launch_bounds__(pack_threads)
    pack_channels_kernel(image_pack p, uint16_t *to, int channels, unsigned squares_c)
{
    __shared__ uint16_t square[64][66]; /* [channel][pixel] */
    const int pixels = p.height * p.width;
    const unsigned per_image = unsigned((pixels + 63) / 64) * squares_c, image = blockIdx.x / per_image,
                   inside = blockIdx.x - image * per_image;
    const int first = int(inside / squares_c) * 64, first_c = int(inside % squares_c) * 64;
    const int pixel = first + int(threadIdx.x % 64);
    const int64_t at = pixel < pixels ? image * p.n + pixel / p.width * p.h + pixel % p.width * p.w : 0;
#pragma unroll 4
    for (int c = int(threadIdx.x / 64); c < 64; c += 4)
        square[c][threadIdx.x % 64] = pixel < pixels && first_c + c < p.channels ? p.from[at + (first_c + c) * p.c] : uint16_t(0);
    __syncthreads();
    for (int i = int(threadIdx.x); i < 64 * 8; i += pack_threads) {
        const int own = i / 8, c = i % 8 * 8;
        if (first + own >= pixels || first_c + c >= channels) continue;
        simt::pack<uint16_t, 8> part;
#pragma unroll
        for (int j = 0; j < 8; j++) part.at[j] = square[c + j][own];
        simt::store_pack<uint16_t, 8>(to + (int64_t(image) * pixels + first + own) * channels + first_c + c, part);
    }
}

/* ---- Host ---- */

inline trine_status pack_filters(trine_call *call, const filter_pack &f, void *to)
{
    return simt::launch(call, pack_filters_kernel, simt::grid(simt::ceil_div(int64_t(f.rows) * f.steps * 64, pack_threads)),
                        pack_threads, 0, f, static_cast<uint16_t *>(to));
}

inline trine_status pack_spread(trine_call *call, const spread_pack &f, void *to)
{
    const int64_t padded = simt::ceil_div(f.terms, 64) * 64,
                  lines = int64_t(f.phases[0]) * f.phases[1] * f.channels * f.all[0] * f.all[1];
    return simt::launch(call, pack_spread_kernel, simt::grid(simt::ceil_div(lines * padded, pack_threads)), pack_threads, 0, f,
                        static_cast<uint16_t *>(to));
}

inline trine_status pack_cells(trine_call *call, const image_pack &p, int cell, void *to)
{
    const int64_t cells = int64_t(p.images) * p.rows * p.columns;
    const auto kernel = cell == 4 ? pack_cells_kernel<4> : cell == 8 ? pack_cells_kernel<8> : pack_cells_kernel<16>;
    return simt::launch(call, kernel, simt::grid(simt::ceil_div(cells, pack_threads)), pack_threads, 0, p,
                        static_cast<uint16_t *>(to), cells);
}

inline trine_status pack_channels(trine_call *call, const image_pack &p, int channels, void *to)
{
    const int64_t squares = simt::ceil_div(channels, 64), blocks = simt::ceil_div(int64_t(p.height) * p.width, 64) * squares;
    return simt::launch(call, pack_channels_kernel, simt::grid(blocks * p.images), pack_threads, 0, p,
                        static_cast<uint16_t *>(to), channels, squares);
}

} // namespace sm90

#endif
