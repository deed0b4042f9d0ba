/* few_channels: convolutions by 3 x 3 in groups of four channels in and out (ResNeXt's), and their data gradients with a stride of 1.
 * A tile of a matrix product would be mostly empty; here a thread holds the filters of two channels in registers and makes one pixel of
 * them after the other. Bound by the loads' latency, then by bytes. Neighbouring threads take neighbouring channels, which must lie
 * densely. */
#ifndef TRINE_SIMT_CONV_FEW_H
#define TRINE_SIMT_CONV_FEW_H

#include "backends/simt/conv.h"

namespace simt {

enum {
    few_threads = 128,
    few_blocks = 3, /* of a compute unit */
    few_channels = 4,
    few_side = 3, /* lines and columns of a filter */
    few_taps = few_side * few_side,
    few_terms = few_channels * few_taps,
    few_outputs = 2, /* channels that a thread makes */
    few_pixels = 64  /* of a thread, at most: it loads 72 numbers of filters first */
};

template <class T> struct few_problem {
    conv_operand<T> x, filters;
    conv_output<T> out;
    int32_t m, groups;
    int32_t lanes;  /* threads side by side along the groups */
    int32_t pixels; /* of a thread */

    few_problem(const trine_conv_product &p, int lanes_, int64_t pixels_)
        : x(p.a), filters(p.b), out(p), m(int32_t(p.m)), groups(int32_t(p.groups)), lanes(lanes_), pixels(int32_t(pixels_))
    {
    }
};

/* The pixels that an output's taps meet, zeros beyond the edges. */
template <class T>
TRINE_DEVICE void few_load(pack<T, few_channels> (&x)[few_taps], const few_problem<T> &p, const T *from, int32_t row)
{
    const conv_place at = p.x.rows.place(row);
    const conv_side &terms = p.x.terms;
#pragma unroll
    for (int tap = 0; tap < few_taps; tap++) {
        const int i = tap / few_side, j = tap % few_side;
        x[tap] = {};
        if (row < p.m && p.x.meets(at.h + p.x.h + i * terms.h[0], at.w + p.x.w + j * terms.w[1]))
            x[tap] = load_pack<T, few_channels>(from + at.at + i * terms.stride[0] + j * terms.stride[1]);
    }
}

template <class T> TRINE_KERNEL_BLOCKS(few_threads, few_blocks) few_channels_kernel(few_problem<T> p, unsigned across)
{
    enum { V = few_channels, N = few_outputs, parts = few_channels / N };
    const int t = target::thread_x(), lane = t % p.lanes, apart = few_threads / p.lanes;
    const unsigned down = target::block_x() / across;
    const int32_t unit = int32_t(target::block_x() - down * across) * p.lanes + lane, group = unit / parts,
                  first = unit % parts * N;
    if (group >= p.groups) return;
    float filter[N][few_terms];
#pragma unroll
    for (int n = 0; n < N; n++) {
        const T *of = p.filters.data + group * p.filters.group + p.filters.rows.place(first + n).at;
#pragma unroll
        for (int k = 0; k < few_terms; k++) {
            const conv_side &terms = p.filters.terms;
            filter[n][k] =
                to_f32(of[k / V / few_side * terms.stride[0] + k / V % few_side * terms.stride[1] + k % V * terms.stride[2]]);
        }
    }
    const T *from = p.x.data + group * p.x.group;
    int32_t row = int32_t(down) * apart * p.pixels + t / p.lanes;
    constexpr bool ahead = sizeof(T) == 4; /* 16 bits would be converted as they come, and each load waited for */
    pack<T, V> x[few_taps], next[few_taps] = {};
    if (ahead) few_load(next, p, from, row);
#pragma unroll 1
    for (int u = 0; u < p.pixels && row < p.m; u++, row += apart) {
        float sum[N] = {};
        if constexpr (ahead) {
#pragma unroll
            for (int tap = 0; tap < few_taps; tap++) x[tap] = next[tap];
            if (u + 1 < p.pixels) few_load(next, p, from, row + apart); /* on their way while this pixel is made */
        } else {
            few_load(x, p, from, row);
        }
#pragma unroll
        for (int k = 0; k < few_terms; k++)
#pragma unroll
            for (int n = 0; n < N; n++) sum[n] = target::fma_rn(to_f32(x[k / V].at[k % V]), filter[n][k], sum[n]);
        pack<float, N> done;
#pragma unroll
        for (int n = 0; n < N; n++) done.at[n] = p.out.plain() ? sum[n] : p.out.finish(sum[n], group, row, first + n);
        if (p.out.packs) {
            p.out.put(done, group, row, first);
            continue;
        }
#pragma unroll
        for (int n = 0; n < N; n++) p.out.put(pack<float, 1>{{done.at[n]}}, group, row, first + n);
    }
}

/* ---- Host ---- */

/* Whether a group's channels of a pixel lie in a pack, neighbours beside each other. */
inline bool few_packs(const trine_conv_product &p)
{
    const trine_conv_operand &o = p.a;
    bool fit = o.terms.size[0] == few_side && o.terms.size[1] == few_side && o.terms.size[2] == few_channels &&
               o.terms.stride[2] == 1 && o.group == few_channels && o.first % few_channels == 0 && aligned16(o.data);
    for (int i = 0; i < 3; i++)
        fit = fit && (o.rows.size[i] == 1 || o.rows.stride[i] % few_channels == 0) &&
              (i == 2 || o.terms.size[i] == 1 || o.terms.stride[i] % few_channels == 0);
    return fit;
}

template <class T> inline trine_status few_launch(trine_call *call, const trine_conv_product &p)
{
    const int64_t units = p.groups * (few_channels / few_outputs);
    int lanes = 1;
    while (2 * lanes <= 64 && 2 * lanes <= units) lanes *= 2;
    const int64_t across = ceil_div(units, lanes), apart = few_threads / lanes,
                  wanted = ceil_div(int64_t(call->device->props.compute_units) * few_blocks, across),
                  share = ceil_div(p.m, apart * wanted), most = few_pixels, least = few_pixels / 8,
                  pixels = share < least  ? least
                           : share < most ? share
                                          : most;
    return launch(call, few_channels_kernel<T>, grid(across * ceil_div(p.m, apart * pixels)), few_threads, 0,
                  few_problem<T>(p, lanes, pixels), unsigned(across));
}

/* What is not aligned is implicit_gemm's, whose workspace it asks for. */
inline trine_status few_product(trine_call *call, trine_conv_product p, size_t *needed, bool only_ask)
{
    TRINE_REQUIRE_THAT(call, conv_fits(p), "needs less than 2^31 pixels and terms");
    TRINE_REQUIRE_THAT(call, p.groups > 1 && p.n == few_channels && p.k == few_terms,
                       "needs groups of four channels in and out, 3 x 3 taps (of a gradient: a stride of 1)");
    trine_conv_product dense = p;
    dense.a.data = nullptr;
    TRINE_REQUIRE_THAT(call, few_packs(dense), "needs channels that lie densely");
    if (only_ask || !few_packs(p)) return conv_portable(call, p, needed, only_ask);
    return visit_floats(call, p.dtype, [&](auto t) { return few_launch<typename decltype(t)::type>(call, p); });
}

inline trine_status few_forward(trine_call *call, const void *args) { return conv_forward_by(call, args, few_product); }
inline trine_status few_data(trine_call *call, const void *args) { return conv_data_by(call, args, few_product); }

} // namespace simt

#endif
