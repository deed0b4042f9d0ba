/* depthwise: the filters' gradient where every channel is its own group, with one filter each. A block has a tap, some channels and a
 * slice of the pixels; its sums are parts, which conv_sum_kernel adds in order. Bound by L2, from which dy and x come once a tap. */
#ifndef TRINE_SIMT_CONV_DEPTHWISE_WEIGHT_H
#define TRINE_SIMT_CONV_DEPTHWISE_WEIGHT_H

#include "backends/simt/conv_depthwise.h"
#include "backends/simt/conv_gemm.h"

namespace simt {

/* V > 1 only if the channels of both tensors lie densely. p.splits: slices, of p.terms pixels. */
template <class T, int V> TRINE_KERNEL(depthwise_threads)
depthwise_weight_kernel(conv_problem<T> p, int32_t channels, int lanes, int apart, unsigned blocks_across)
{
    TRINE_SHARED float shares[depthwise_threads][V];
    const int t = target::thread_x();
    const unsigned part = target::block_x() / blocks_across, slice = part / unsigned(p.n), tap = part - slice * unsigned(p.n);
    const int32_t channel = (int32_t(target::block_x() - part * blocks_across) * lanes + t % lanes) * V;
    const int32_t begin = int32_t(slice) * p.terms, end = p.k - begin < p.terms ? p.k : begin + p.terms;
    const bool inside = channel < channels;
    const T *dy = p.a.data + (inside ? channel * p.a.group : 0), *x = p.b.data + (inside ? channel * p.b.group : 0);
    const conv_place term = p.b.rows.place(int32_t(tap));
    float sum[V] = {};
#pragma unroll 2
    for (int32_t i = begin + t / lanes; i < end; i += apart) {
        const conv_place from = p.b.terms.place(i);
        if (!inside || !p.b.meets(from.h + term.h + p.b.h, from.w + term.w + p.b.w)) continue;
        const pack<T, V> g = load_pack<T, V>(dy + p.a.terms.place(i).at), in = load_pack<T, V>(x + from.at + term.at);
#pragma unroll
        for (int j = 0; j < V; j++) sum[j] = target::fma_rn(to_f32(g.at[j]), to_f32(in.at[j]), sum[j]);
    }
#pragma unroll
    for (int j = 0; j < V; j++) shares[t][j] = sum[j];
    for (int half = depthwise_threads / 2; half >= lanes; half /= 2) {
        target::barrier();
        if (t < half)
#pragma unroll
            for (int j = 0; j < V; j++) shares[t][j] += shares[t + half][j];
    }
    if (t >= lanes || !inside) return;
#pragma unroll
    for (int j = 0; j < V; j++) p.parts[slice * p.apart + int64_t(channel + j) * p.n + tap] = shares[t][j];
}

/* ---- Host ---- */

/* Before trine_conv_orient. */
inline bool conv_is_depthwise_weight(const trine_conv_product &p)
{
    const trine_conv_side &t = p.b.rows;
    return p.groups > 1 && p.m == 1 && p.a.terms.size[2] == p.b.terms.size[2] && p.b.terms.h[1] != 0 && p.k > 1 &&
           p.n == (t.h[0] || t.w[1] ? t.size[0] * t.size[1] : t.size[1] * t.size[2]);
}

template <class T> inline bool depthwise_weight_packs(const trine_conv_product &p)
{
    constexpr int V = 16 / sizeof(T);
    bool fit = p.groups % V == 0 && p.a.group == 1 && p.b.group == 1 && aligned16(p.a.data) && aligned16(p.b.data) &&
               p.a.first % V == 0 && p.b.first % V == 0;
    for (int i = 0; i < 3; i++)
        fit = fit && (p.a.terms.size[i] == 1 || p.a.terms.stride[i] % V == 0) &&
              (p.b.terms.size[i] == 1 || p.b.terms.stride[i] % V == 0) && (p.b.rows.size[i] == 1 || p.b.rows.stride[i] % V == 0);
    return fit;
}

/* Slices of at least 512 pixels until there are eight blocks a unit; what is asked in a query is what runs, so that it does not
 * depend on addresses. */
inline int64_t depthwise_weight_slices(const trine_call *call, const trine_conv_product &p)
{
    const int64_t units = call->device->props.compute_units > 0 ? call->device->props.compute_units : 1;
    const int64_t blocks = ceil_div(p.groups, 64) * p.n;
    int64_t slices = 2; /* at least, for parts are what the second kernel adds */
    while (slices < 256 && slices * blocks < 8 * units && p.k >= 2 * slices * 512) slices *= 2;
    return slices;
}
inline size_t depthwise_weight_workspace(const trine_conv_product &p, int64_t slices)
{
    return size_t(slices * p.groups * p.n) * sizeof(float) + 16;
}

template <class T, int V>
inline trine_status depthwise_weight_launch(trine_call *call, const trine_conv_product &p, int64_t slices, int lanes)
{
    const conv_problem<T> problem(p, slices, call->workspace);
    const int64_t across = ceil_div(p.groups, lanes * V);
    const trine_status status = launch(call, depthwise_weight_kernel<T, V>, grid(across * p.n * slices), depthwise_threads, 0,
                                       problem, p.groups, lanes, depthwise_threads / lanes, across);
    return status == TRINE_OK ? conv_sum_parts(call, problem) : status;
}

template <class T> inline trine_status depthwise_weight_run(trine_call *call, const trine_conv_product &p, int64_t slices)
{
    constexpr int V = 16 / sizeof(T);
    if (!depthwise_weight_packs<T>(p)) return depthwise_weight_launch<T, 1>(call, p, slices, 1);
    int lanes = 1;
    while (2 * lanes <= 8 && 2 * lanes * V <= p.groups + V) lanes *= 2;
    return depthwise_weight_launch<T, V>(call, p, slices, lanes);
}

} // namespace simt

#endif
