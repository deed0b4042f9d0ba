/* depthwise on Hopper, channels last: simt/conv_rows.h's sums, whose rows TMA brings. A block makes some columns of some channels
 * and walks down the rows of its part of the images; the rows that it needs next come into a ring in shared memory, zeros at the
 * borders included, so that no thread has a load of its own, a mask or an address to find out, and memory is busy while rows are
 * multiplied. A thread has a pack of channels and 7 columns, and holds the sums of all rows of the output that a row of the input
 * meets. Bound by bytes (3 x 3) or by multiply-adds (7 x 7). */
#ifndef TRINE_CUDA_CONV_SM90_ROWS_H
#define TRINE_CUDA_CONV_SM90_ROWS_H

#include "backends/cuda/mma/ptx.h"
#include "backends/cuda/mma/tensor_map.h"
#include "backends/simt/conv_rows.h"

namespace sm90 {

enum { ring_rows = 4 /* of the input under way */ };

/* How the output is divided among blocks: groups of channels, tiles of columns, and ranges of the rows of all images. */
struct rows_ring {
    unsigned groups, tiles, ranges;
    int lanes, strips;          /* packs and strips of a block */
    int columns;                /* of the input that the block meets */
    unsigned row_bytes, shared; /* row_bytes: of the ring, in whole lines */
};

/* A block's rows of one image, and how many of its rows come after them. */
struct ring_segment {
    int image, begin, rows, rest;
    TRINE_DEVICE_METHOD ring_segment(const simt::rows_shape &s, unsigned range, unsigned ranges)
    {
        const int64_t all = int64_t(s.n) * s.out[0];
        const int first = int(all * range / ranges), end = int(all * (range + 1) / ranges);
        image = first / s.out[0];
        begin = first - image * s.out[0];
        cut(s, end - first);
    }
    TRINE_DEVICE_METHOD void cut(const simt::rows_shape &s, int left)
    {
        rows = s.out[0] - begin < left ? s.out[0] - begin : left;
        rest = left - rows;
    }
    TRINE_DEVICE_METHOD void advance(const simt::rows_shape &s)
    {
        image++;
        begin = 0;
        cut(s, rest);
    }
    template <int S, int STEP> TRINE_DEVICE_METHOD int inputs() const { return (rows - 1) * STEP + S; }
};

/* A stride of 2: a row of the input with an even number from the block's first on meets taps 0, 2, .. of the outputs under way, the
 * others taps 1, 3, ..; held[k]: of the output that is whole after k + 1 more even rows. `weights` counts taps from the end. */
template <int S, int W, int V> struct rows_march_two {
    enum { most = (S - 1) / 2 };
    float held[most][W][V];

    TRINE_DEVICE_METHOD rows_march_two()
    {
#pragma unroll
        for (int k = 0; k < most; k++) simt::rows_march<S, W, V>::clear(held[k]);
    }
    template <int I, class Weights, class Whole>
    TRINE_DEVICE_METHOD void even(const float (&in)[I][V], const Weights &weights, const Whole &whole)
    {
#pragma unroll
        for (int k = -1; k < most; k++) {
            float sum[W][V];
#pragma unroll
            for (int u = 0; u < W; u++)
#pragma unroll
                for (int v = 0; v < V; v++) sum[u][v] = k + 1 < most ? held[k + 1 < most ? k + 1 : 0][u][v] : 0.0f;
            simt::rows_multiply<S, 2>(sum, in, [&](int s, float(&w)[V]) { weights(2 * (k + 1), s, w); });
            if (k < 0) {
                whole(sum);
                continue;
            }
#pragma unroll
            for (int u = 0; u < W; u++)
#pragma unroll
                for (int v = 0; v < V; v++) held[k < 0 ? 0 : k][u][v] = sum[u][v];
        }
    }
    template <int I, class Weights> TRINE_DEVICE_METHOD void odd(const float (&in)[I][V], const Weights &weights)
    {
#pragma unroll
        for (int k = 0; k < most; k++)
            simt::rows_multiply<S, 2>(held[k], in, [&](int s, float(&w)[V]) { weights(2 * k + 1, s, w); });
    }
};

/* Bias and relu; other activations are conv_rows.h's. */
template <class T, int V> struct ring_finish {
    float bias[V], least;
    TRINE_DEVICE_METHOD ring_finish(const simt::rows_problem<T> &p, int channel, bool inside)
    {
        least = p.activation == TRINE_ACT_RELU ? 0.0f : -INFINITY;
#pragma unroll
        for (int v = 0; v < V; v++) {
            bias[v] = 0;
            if (!p.bias || !inside) continue;
            bias[v] = p.bias_wide ? static_cast<const float *>(p.bias)[channel + v]
                                  : simt::to_f32(static_cast<const T *>(p.bias)[channel + v]);
        }
    }
    template <int W>
    TRINE_DEVICE_METHOD void put(const simt::rows_problem<T> &p, float (&sum)[W][V], int64_t to, int column) const
    {
        if (p.bias || p.activation == TRINE_ACT_RELU) {
#pragma unroll
            for (int u = 0; u < W; u++)
#pragma unroll
                for (int v = 0; v < V; v++) {
                    const float x = sum[u][v] + bias[v];
                    sum[u][v] = x < least ? least : x;
                }
        }
        if (p.wide)
            simt::rows_store<float, W, V>(static_cast<float *>(p.y) + to, p.s.y_at[1], sum, column, p.s.out[1]);
        else
            simt::rows_store<T, W, V>(static_cast<T *>(p.y) + to, p.s.y_at[1], sum, column, p.s.out[1]);
    }
};

/* At most, of a block; and of a multiprocessor: what the sums' registers leave room for. */
template <class T, int S> constexpr int ring_threads = sizeof(T) == 2 && S == 7 ? 192 : 256;
template <class T, int S> constexpr int ring_together = sizeof(T) == 4 ? 640 : S == 7 ? 384 : 512;

template <class T, int V, int S, int STEP> __global__ void __launch_bounds__((ring_threads<T, S>), 2)
    depthwise_ring_kernel(const __grid_constant__ CUtensorMap map, const __grid_constant__ simt::rows_problem<T> p,
                          const __grid_constant__ rows_ring g)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    constexpr int W = simt::rows_columns, I = STEP * (W - 1) + S;
    extern __shared__ __align__(128) unsigned char ring[];
    __shared__ alignas(8) uint64_t full[ring_rows];
    const int width = g.lanes * V, t = int(threadIdx.x), slot = t / g.lanes, lane = t - slot * g.lanes;
    const unsigned part = blockIdx.x / g.groups, range = part / g.tiles;
    const int first_channel = int(blockIdx.x - part * g.groups) * width,
              first_column = int(part - range * g.tiles) * g.strips * W;
    const uint32_t barriers = ptx::shared_address(full), base = ptx::shared_address(ring),
                   bytes = uint32_t(g.columns * width) * uint32_t(sizeof(T));
    ring_segment now(p.s, range, g.ranges), ahead = now;
    int row_ahead = 0;
    /* The next row of the block's, to place `at` of the ring. */
    const auto load = [&](int at) {
        if (ahead.rows == 0) return;
        if (t == 0) {
            const ptx::coordinates from = {first_channel,
                                           first_column * STEP - p.s.padding[1],
                                           {ahead.begin * STEP - p.s.padding[0] + row_ahead, ahead.image, 0}};
            ptx::barrier_expect(barriers + 8 * at, bytes);
            ptx::load_box(base + at * g.row_bytes, &map, from, false, barriers + 8 * at);
        }
        if (++row_ahead < ahead.template inputs<S, STEP>()) return;
        row_ahead = 0;
        ahead.advance(p.s);
    };
    if (t == 0) {
        for (int i = 0; i < ring_rows; i++) ptx::barrier_init(barriers + 8 * i, 1);
        ptx::barrier_init_fence();
    }
#pragma unroll 1
    for (int i = 0; i < ring_rows; i++) load(i);
    /* [lane][tap, rows from the last on][channel of the pack]: a lane's are at fixed places, and lanes meet all banks */
    float *const filters = reinterpret_cast<float *>(ring + ring_rows * g.row_bytes);
    for (int i = t; i < S * S * width; i += int(blockDim.x)) {
        const int own = i / (S * S), tap = i - own * (S * S), a = tap / S, s = tap - a * S, c = first_channel + own;
        filters[(own / V * (S * S) + tap) * V + own % V] =
            c < p.s.channels ? simt::to_f32(p.filters[c * p.s.f_c + (S - 1 - a) * p.s.f_at[0] + s * p.s.f_at[1]]) : 0.0f;
    }
    __syncthreads();
    const int channel = first_channel + lane * V, strip = slot < g.strips ? slot : g.strips - 1,
              column = first_column + strip * W;
    const bool inside = slot < g.strips && channel < p.s.channels && column < p.s.out[1];
    const T *const own = reinterpret_cast<const T *>(ring) + (strip * W * STEP * g.lanes + lane) * V;
    const float *const taps = filters + lane * (S * S * V);
    const auto weights = [&](int a, int s, float(&w)[V]) {
        const simt::pack<float, V> v = *reinterpret_cast<const simt::pack<float, V> *>(taps + (a * S + s) * V);
#pragma unroll
        for (int j = 0; j < V; j++) w[j] = v.at[j];
    };
    const ring_finish<T, V> finish(p, channel, inside);
    uint32_t parity = 0;
    int at = 0;
    /* The next row; all threads have read it when its place is loaded again. */
    const auto take = [&](float(&in)[I][V]) {
        simt::rows_line<T, V, I> line;
        ptx::barrier_wait(barriers + 8 * at, parity);
        line.load(own + unsigned(at) * (g.row_bytes / unsigned(sizeof(T))), width, ~0u);
        __syncthreads();
        load(at);
        line.widen(in);
        if (++at == ring_rows) {
            at = 0;
            parity ^= 1;
        }
    };
#pragma unroll 1
    for (; now.rows > 0; now.advance(p.s)) {
        const int count = now.template inputs<S, STEP>();
        int64_t to = int64_t(now.image) * p.s.y_n + now.begin * p.s.y_at[0] + channel;
        const auto put = [&](float(&sum)[W][V]) {
            if (inside) finish.put(p, sum, to + column * p.s.y_at[1], column);
            to += p.s.y_at[0];
        };
        if constexpr (STEP == 1) {
            simt::rows_march<S, W, V> march;
#pragma unroll 1
            for (int i = 0; i < count; i++) {
                float in[I][V];
                take(in);
                const int late = count - 1 - i; /* outputs before and after the block's are left out */
                march.step_to(in, S - 1 - i, late < S ? late : S - 1, weights, [&](float(&sum)[W][V]) {
                    if (i >= S - 1) put(sum);
                });
            }
        } else {
            rows_march_two<S, W, V> march;
#pragma unroll 1
            for (int i = 0;; i += 2) {
                {
                    float in[I][V];
                    take(in);
                    march.even(in, weights, [&](float(&sum)[W][V]) {
                        if (i >= S - 1) put(sum);
                    });
                }
                if (i + 1 >= count) break;
                float in[I][V];
                take(in);
                march.odd(in, weights);
            }
        }
    }
#endif
}

} // namespace sm90

#endif
