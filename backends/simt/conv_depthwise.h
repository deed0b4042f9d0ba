/* depthwise: every channel is its own group, with one filter each; the data gradient of such a convolution is another. Bound by
 * bytes: a block has some channels and some pixels, the filters of its channels as f32 in shared memory. Neighbouring threads take
 * packs of neighbouring channels where those lie densely, else neighbouring pixels of one channel. */
#ifndef TRINE_SIMT_CONV_DEPTHWISE_H
#define TRINE_SIMT_CONV_DEPTHWISE_H

#include "backends/simt/conv_gather.h"

namespace simt {

enum { depthwise_threads = 256, depthwise_pixels = 4 /* of a thread */, depthwise_shared = 32 * 1024 };

template <class T> struct conv_depthwise {
    conv_operand<T> x;
    conv_output<T> out;
    const T *filters;
    int64_t filter_group;
    conv_side taps; /* of the filter */
    int32_t m, k, channels;
    int32_t lanes; /* threads side by side along the channels */

    conv_depthwise(const trine_conv_product &p, int lanes_)
        : x(p.a), out(p), filters(static_cast<const T *>(p.b.data) + p.b.first), filter_group(p.b.group), taps(p.b.terms),
          m(int32_t(p.m)), k(int32_t(p.k)), channels(int32_t(p.groups)), lanes(lanes_)
    {
    }
};

/* V > 1 only if the channels of both tensors lie densely. */
template <class T, int V> TRINE_KERNEL(depthwise_threads) depthwise_kernel(conv_depthwise<T> p, unsigned blocks_across)
{
    float *filters = reinterpret_cast<float *>(target::dynamic_shared()); /* [tap][channel of the block] */
    const int width = p.lanes * V, t = target::thread_x();
    const unsigned down = target::block_x() / blocks_across, across = target::block_x() - down * blocks_across;
    const int32_t first = int32_t(across) * width;
    for (int i = t; i < p.k * width; i += depthwise_threads) {
        const int tap = i / width, channel = first + i - tap * width;
        filters[i] = channel < p.channels ? to_f32(p.filters[p.taps.place(tap).at + channel * p.filter_group]) : 0.0f;
    }
    target::barrier();
    const int lane = t % p.lanes, apart = depthwise_threads / p.lanes;
    const int32_t channel = first + lane * V;
    if (channel >= p.channels) return;
    const T *from = p.x.data + channel * p.x.group;
    int32_t row = int32_t(down) * apart * depthwise_pixels + t / p.lanes;
#pragma unroll 1
    for (int u = 0; u < depthwise_pixels && row < p.m; u++, row += apart) {
        const conv_place at = p.x.rows.place(row);
        float sum[V] = {};
#pragma unroll 4
        for (int tap = 0; tap < p.k; tap++) {
            const conv_place term = p.x.terms.place(tap);
            pack<T, V> in = {};
            if (p.x.meets(at.h + p.x.h + term.h, at.w + p.x.w + term.w)) in = load_pack<T, V>(from + at.at + term.at);
#pragma unroll
            for (int j = 0; j < V; j++) sum[j] = target::fma_rn(to_f32(in.at[j]), filters[tap * width + lane * V + j], sum[j]);
        }
        pack<float, V> done;
#pragma unroll
        for (int j = 0; j < V; j++) done.at[j] = p.out.finish(sum[j], channel + j, row, 0);
        p.out.put(done, channel, row, 0);
    }
}

/* ---- Host ---- */

inline bool conv_is_depthwise(const trine_conv_product &p)
{
    const trine_conv_side &t = p.a.terms;
    const int64_t taps = t.h[0] || t.w[1] ? t.size[0] * t.size[1] : t.size[1] * t.size[2];
    return p.groups > 1 && p.n == 1 && taps == p.k && p.k <= depthwise_shared / (8 * int64_t(sizeof(float)));
}

template <class T> inline bool depthwise_packs(const trine_conv_product &p)
{
    constexpr int V = 16 / sizeof(T);
    bool fit = p.groups % V == 0 && p.a.group == 1 && p.d_group == 1 && aligned16(static_cast<const T *>(p.a.data)) &&
               aligned16(p.d) && p.a.first % V == 0 && p.d_first % V == 0;
    for (int i = 0; i < 3; i++)
        fit = fit && (p.a.rows.size[i] == 1 || p.a.rows.stride[i] % V == 0) &&
              (p.a.terms.size[i] == 1 || p.a.terms.stride[i] % V == 0) && (p.d_rows.size[i] == 1 || p.d_rows.stride[i] % V == 0);
    return fit;
}

template <class T, int V> inline trine_status depthwise_launch(trine_call *call, const trine_conv_product &p, int lanes)
{
    const conv_depthwise<T> problem(p, lanes);
    const int64_t across = ceil_div(p.groups, lanes * V), down = ceil_div(p.m, depthwise_threads / lanes * depthwise_pixels);
    return launch(call, depthwise_kernel<T, V>, grid(across * down), depthwise_threads,
                  size_t(p.k) * size_t(lanes) * V * sizeof(float), problem, across);
}

template <class T> inline trine_status depthwise_run(trine_call *call, const trine_conv_product &p)
{
    constexpr int V = 16 / sizeof(T);
    if (!depthwise_packs<T>(p)) return depthwise_launch<T, 1>(call, p, 1);
    int lanes = 1;
    while (2 * lanes <= 16 && 2 * lanes * V <= p.groups + V && p.k * 2 * lanes * V * int64_t(sizeof(float)) <= depthwise_shared)
        lanes *= 2;
    return depthwise_launch<T, V>(call, p, lanes);
}

} // namespace simt

#endif
