/* Quantisation. Bound by bytes. nf4: a thread has a pack of 16 bytes of x, or 16 elements of y; neighbouring threads exchange
 * their largest element to a block's absmax. int8 is scaled.h, fake quantisation quantize_fake.h. Every rounding is an IEEE one,
 * so that all backends agree. */
#ifndef TRINE_SIMT_QUANTIZE_H
#define TRINE_SIMT_QUANTIZE_H

#include "backends/simt/block.h"
#include "backends/simt/divider.h"
#include "backends/simt/map.h"
#include "backends/simt/nf4_matmul.h"
#include "backends/simt/quantize_fake.h"
#include "backends/simt/scaled_run.h"
#include "core/dynamic_map.h"
#include "core/int8_scale.h"
#include "core/nf4.h"

namespace simt {

/* ---- nf4 ---- */

enum { nf4_threads = 256, nf4_elements = 16 };

struct op_larger {
    TRINE_METHOD float operator()(float a, float b) const { return a > b ? a : b; }
};

/* The codes of [-1, 1] by 31 bins of 1/15: narrower than thresholds are apart, so that a bin has at most one of them, or lies just
 * before it. A number is put into the bin next to it, off by the rounding of one multiply-add, which no threshold is near. NaN may
 * come to any of 32: the last one is there for it, so that it gives four bits too. */
enum { nf4_bins = 31 };
struct nf4_table {
    float threshold[nf4_bins + 1];
    uint32_t below[nf4_bins + 1]; /* thresholds before the bin */

    /* By the first threads of the block; a barrier must follow. */
    TRINE_DEVICE_METHOD void fill(int bin)
    {
        constexpr float t[] = TRINE_NF4_THRESHOLDS;
        const float begin = (float(bin) - 15.5f) / 15.0f;
        float next = __builtin_inff();
        uint32_t count = 0;
        for (int i = 14; i >= 0; i--) {
            if (t[i] >= begin)
                next = t[i];
            else
                count++;
        }
        threshold[bin] = next;
        below[bin] = count;
    }
    TRINE_DEVICE_METHOD uint32_t code(float v) const
    {
        const uint32_t bin = trine_bits_of_f32(target::fma_rn(v, 15.0f, 0x1.8p23f + 15.0f)) & 31u;
        return below[bin] + (v > threshold[bin] ? 1u : 0u);
    }
};

template <class T> TRINE_KERNEL(nf4_threads)
nf4_quantize_kernel(int64_t n, const T *x, uint8_t *codes, float *absmax, bool aligned)
{
    constexpr int V = pack_of<T>;
    TRINE_SHARED nf4_table table;
    const int64_t first = (int64_t(target::block_x()) * nf4_threads + target::thread_x()) * V;
    const bool whole = aligned && first + V <= n;
    pack<T, V> in;
    if (whole) {
        in = load_pack<T, V>(x + first);
    } else {
        for (int i = 0; i < V; i++) in.at[i] = first + i < n ? x[first + i] : from_f32<T>(0.0f);
    }
    if (target::thread_x() <= nf4_bins) table.fill(target::thread_x());
    target::barrier();
    float most = 0.0f;
    bool nan = false;
#pragma unroll
    for (int i = 0; i < V; i++) {
        const float v = to_f32(in.at[i]);
        most = __builtin_fmaxf(__builtin_fabsf(v), most); /* NaN is not larger */
        nan = nan || v != v;
    }
    most = wave_reduce(most, op_larger{}, TRINE_NF4_BLOCK / V);
    if (first >= n) return;
    const bool zeros = most < TRINE_NF4_LEAST || most == __builtin_inff();
    const float inverse = zeros ? 0.0f : target::div_ieee(1.0f, most);
    uint32_t word = 0;
#pragma unroll
    for (int i = 0; i < V; i++) word |= table.code(target::mul_rn(to_f32(in.at[i]), inverse)) << (i / 2 * 8 + (i % 2 ? 0 : 4));
    if (zeros || nan || !whole) {
#pragma unroll
        for (int i = 0; i < V; i++) {
            const float v = to_f32(in.at[i]);
            const int at = i / 2 * 8 + (i % 2 ? 0 : 4);
            if (zeros || v != v || first + i >= n) word = (word & ~(15u << at)) | uint32_t(TRINE_NF4_ZERO) << at;
        }
    }
    if (first % TRINE_NF4_BLOCK == 0) absmax[first / TRINE_NF4_BLOCK] = most < TRINE_NF4_LEAST ? 0.0f : most;
    if (whole) {
        if constexpr (V == 8)
            *reinterpret_cast<uint32_t *>(codes + first / 2) = word;
        else
            *reinterpret_cast<uint16_t *>(codes + first / 2) = uint16_t(word);
    } else {
        for (int i = 0; i < V && first + i < n; i += 2) codes[(first + i) / 2] = uint8_t(word >> (i / 2 * 8));
    }
}

/* A thread has nf4_elements, in packs that lie a block's width apart. `simple`: the codes of a pack are aligned, and so is y. Places
 * are counted from the block's first, in 32 bits without sign. */
template <class T> TRINE_KERNEL(nf4_threads)
nf4_dequantize_kernel(int64_t n, int64_t offset, nf4_book book, const uint8_t *codes, const float *absmax, T *y, bool simple)
{
    constexpr int V = pack_of<T>, U = nf4_elements / V;
    TRINE_SHARED float value[16];
    const int64_t begin = int64_t(target::block_x()) * (nf4_threads * nf4_elements), rest = n - begin;
    const uint32_t left = rest < nf4_threads * nf4_elements ? uint32_t(rest) : uint32_t(nf4_threads * nf4_elements);
    const uint64_t from = uint64_t(offset + begin);
    pack<uint8_t, V / 2> pairs[U];
    float scale[U];
#pragma unroll
    for (int u = 0; u < U; u++) {
        const uint32_t first = uint32_t(u * nf4_threads + target::thread_x()) * V;
        if (!simple || first + V > left) continue;
        pairs[u] = load_pack<uint8_t, V / 2>(codes + from / 2 + first / 2);
        scale[u] = absmax[(from + first) / TRINE_NF4_BLOCK];
    }
    if (target::thread_x() < 16) value[target::thread_x()] = book.at[target::thread_x()];
    target::barrier();
    y += begin;
#pragma unroll
    for (int u = 0; u < U; u++) {
        const uint32_t first = uint32_t(u * nf4_threads + target::thread_x()) * V;
        if (simple && first + V <= left) {
            pack<T, V> out;
#pragma unroll
            for (int i = 0; i < V; i++) {
                const uint32_t pair = pairs[u].at[i / 2];
                out.at[i] = from_f32<T>(target::mul_rn(value[i % 2 ? pair & 15u : pair >> 4], scale[u]));
            }
            store_pack<T, V>(y + first, out);
            continue;
        }
#pragma unroll 1
        for (uint32_t i = first; i < first + V && i < left; i++) {
            const uint64_t at = from + i;
            const uint32_t pair = codes[at / 2];
            y[i] = from_f32<T>(target::mul_rn(value[at % 2 ? pair & 15u : pair >> 4], absmax[at / TRINE_NF4_BLOCK]));
        }
    }
}

inline trine_status nf4_quantize(trine_call *call, const trine_nf4_quantize_args *a)
{
    TRINE_END_OF_QUERY(call, 0);
    const int64_t n = trine_tensor_numel(&a->x);
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        const bool aligned = aligned16(a->x.data) && reinterpret_cast<uintptr_t>(a->codes.data) % 4 == 0;
        return launch(call, nf4_quantize_kernel<T>, grid(ceil_div(n, int64_t(nf4_threads) * pack_of<T>)), nf4_threads, 0, n,
                      static_cast<const T *>(data_of<T>(a->x)), data_of<uint8_t>(a->codes), data_of<float>(a->absmax), aligned);
    });
}

inline trine_status nf4_dequantize(trine_call *call, const trine_nf4_dequantize_args *a)
{
    TRINE_END_OF_QUERY(call, 0);
    const int64_t n = trine_tensor_numel(&a->y);
    const bool simple = a->offset % 8 == 0 && aligned16(a->y.data) && reinterpret_cast<uintptr_t>(a->codes.data) % 4 == 0;
    return visit_floats(call, a->y.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        return launch(call, nf4_dequantize_kernel<T>, grid(ceil_div(n, int64_t(nf4_threads) * nf4_elements)), nf4_threads, 0, n,
                      a->offset, nf4_book{TRINE_NF4_VALUES}, static_cast<const uint8_t *>(data_of<uint8_t>(a->codes)),
                      static_cast<const float *>(data_of<float>(a->absmax)), data_of<T>(a->y), simple);
    });
}

/* ---- Scales of nf4: little data, a thread an element, a block of threads a block of scales ---- */

enum { scales_block = TRINE_ABSMAX_BLOCK };

/* In the order that the sum is defined by: a block of threads brings some blocks of scales to shared memory, a thread each adds one
 * up. */
enum { absmax_together = 32 };
TRINE_KERNEL(map_threads) absmax_sums_kernel(int64_t n, const float *absmax, double *sums)
{
    TRINE_SHARED float staged[absmax_together][scales_block + 1]; /* neighbours in different banks */
    const int t = target::thread_x();
    const int64_t first = int64_t(target::block_x()) * (absmax_together * scales_block);
#pragma unroll 8
    for (int i = t; i < absmax_together * scales_block; i += map_threads)
        staged[i / scales_block][i % scales_block] = first + i < n ? absmax[first + i] : 0.0f;
    target::barrier();
    const int64_t left = n - first - t * int64_t(scales_block);
    if (t >= absmax_together || left <= 0) return;
    const int count = left < scales_block ? int(left) : int(scales_block);
    double sum = 0;
#pragma unroll 16
    for (int i = 0; i < count; i++) sum = target::add_rn(sum, double(staged[t][i]));
    sums[int64_t(target::block_x()) * absmax_together + t] = sum;
}

/* The sums come to shared memory by all threads; one adds them up in their order. */
enum { absmax_staged = 2048 };
TRINE_KERNEL(map_threads) absmax_mean_kernel(int64_t n, int64_t blocks, const double *sums, float *mean)
{
    TRINE_SHARED double staged[absmax_staged];
    double sum = 0;
    for (int64_t first = 0; first < blocks; first += absmax_staged) {
        const int count = blocks - first < absmax_staged ? int(blocks - first) : int(absmax_staged);
        for (int i = target::thread_x(); i < count; i += map_threads) staged[i] = sums[first + i];
        target::barrier();
        if (target::thread_x() == 0)
#pragma unroll 16
            for (int i = 0; i < count; i++) sum = target::add_rn(sum, staged[i]);
        target::barrier();
    }
    if (target::thread_x() == 0) *mean = n ? float(sum / double(n)) : 0.0f;
}

TRINE_DEVICE uint8_t nearest(const float *middle, float v)
{
    int low = 0;
    for (int half = 128; half > 0; half /= 2) low += v > middle[low + half - 1] ? half : 0;
    return uint8_t(low);
}

/* mean: NULL for the linear kind. In both kernels a block goes through several blocks of scales: the map, which every thread finds
 * elsewhere in the arguments, comes to shared memory once. */
TRINE_KERNEL(scales_block)
absmax_quantize_kernel(int64_t n, const float *absmax, uint8_t *codes, float *scale, const float *mean, trine_dynamic_map map)
{
    TRINE_SHARED float middle[scales_block], scratch[target::max_waves];
    const int t = target::thread_x();
    if (mean && t < 255) middle[t] = map.middle[t];
    const float middle_of_all = mean ? *mean : 0.0f;
    for (int64_t block = target::block_x(); block * scales_block < n; block += target::grid_x()) {
        const int64_t i = block * scales_block + t;
        const float v = i < n ? target::add_rn(absmax[i], mean ? -middle_of_all : 0.0f) : 0.0f;
        target::barrier(); /* middle, whatever block_reduce does; and scratch of the last round */
        const float most = block_reduce(__builtin_fabsf(v), op_larger{}, scratch);
        const float s = mean ? most : target::div_ieee(most, 255.0f);
        const bool zeros = s < TRINE_NF4_LEAST;
        if (t == 0) scale[block] = zeros ? 0.0f : s;
        if (i >= n) break;
        if (zeros)
            codes[i] = mean ? uint8_t(TRINE_DYNAMIC_MAP_ZERO) : uint8_t(0);
        else
            codes[i] = mean ? nearest(middle, target::mul_rn(v, target::div_ieee(1.0f, s))) : uint8_t(rounded_quotient(v, s));
    }
}

TRINE_KERNEL(scales_block)
absmax_dequantize_kernel(int64_t n, const uint8_t *codes, const float *scale, const float *mean, float *absmax,
                         trine_dynamic_map map)
{
    TRINE_SHARED float value[scales_block];
    const int t = target::thread_x();
    if (mean) value[t] = map.value[t];
    target::barrier();
    const float add = mean ? *mean : 0.0f;
    for (int64_t block = target::block_x(), i = block * scales_block + t; i < n;
         block += target::grid_x(), i = block * scales_block + t) {
        const float s = scale[block];
        absmax[i] = mean ? target::add_rn(target::mul_rn(value[codes[i]], s), add) : target::mul_rn(float(codes[i]), s);
    }
}

/* Blocks of threads: as many as work at a time. */
inline grid scales_grid(const trine_call *call, int64_t blocks)
{
    const int64_t most = int64_t(call->device->props.compute_units) * 8;
    return grid(blocks < most ? blocks : most);
}

inline trine_status absmax_quantize(trine_call *call, const trine_absmax_quantize_args *a)
{
    const int64_t n = trine_tensor_numel(&a->absmax), blocks = ceil_div(n, scales_block);
    const bool dynamic = a->kind == TRINE_ABSMAX_DYNAMIC;
    TRINE_END_OF_QUERY(call, dynamic ? size_t(blocks) * sizeof(double) : 0);
    const float *absmax = data_of<float>(a->absmax);
    double *sums = static_cast<double *>(call->workspace);
    float *mean = dynamic ? data_of<float>(a->mean) : nullptr;
    trine_dynamic_map map;
    trine_dynamic_map_make(&map);
    trine_status status = TRINE_OK;
    if (dynamic)
        status = launch(call, absmax_sums_kernel, grid(ceil_div(blocks, absmax_together)), map_threads, 0, n, absmax, sums);
    if (dynamic && status == TRINE_OK) status = launch(call, absmax_mean_kernel, grid(1), map_threads, 0, n, blocks, sums, mean);
    if (status != TRINE_OK) return status;
    return launch(call, absmax_quantize_kernel, scales_grid(call, blocks), scales_block, 0, n, absmax, data_of<uint8_t>(a->codes),
                  data_of<float>(a->scale), mean, map);
}

inline trine_status absmax_dequantize(trine_call *call, const trine_absmax_dequantize_args *a)
{
    const int64_t n = trine_tensor_numel(&a->absmax);
    TRINE_END_OF_QUERY(call, 0);
    trine_dynamic_map map;
    trine_dynamic_map_make(&map);
    return launch(call, absmax_dequantize_kernel, scales_grid(call, ceil_div(n, scales_block)), scales_block, 0, n,
                  data_of<uint8_t>(a->codes), data_of<float>(a->scale),
                  a->kind == TRINE_ABSMAX_DYNAMIC ? data_of<float>(a->mean) : nullptr, data_of<float>(a->absmax), map);
}

/* ---- int8, in the frame of scaled.h ---- */

struct int8_coder {
    using by = int8_divisor;
    static TRINE_DEVICE_METHOD by divide_by(float given)
    {
        const float size = __builtin_fabsf(given),
                    factor = size < 0x1p-64f  ? 0x1p100f
                             : size > 0x1p64f ? 0x1p-100f
                                              : 1.0f,
                    scale = target::mul_rn(given, factor);
        return by{factor, scale, target::div_ieee(1.0f, scale), __builtin_fabsf(target::mul_rn(127.0f, scale)),
                  !(size > 0.0f && size < __builtin_inff())};
    }
    static TRINE_DEVICE_METHOD float scale_of(float most) { return target::div_ieee(most, 127.0f); }
    template <class F> static TRINE_DEVICE_METHOD void choose(F f, const by &b)
    {
        return b.factor == 1.0f ? f(int8_codes<false>{}) : f(int8_codes<true>{});
    }
};

inline trine_status int8_quantize(trine_call *call, const trine_int8_quantize_args *a)
{
    const bool given = trine_is_given(&a->given_scale);
    const trine_tensor &scales = given ? a->given_scale : a->scale;
    const bool by_row = !trine_int8_is_one_scale(&scales);
    const trine_scaled_shape s =
        trine_scaled_shape_make(&a->q, &a->x, &scales, by_row ? TRINE_FP8_PER_ROW : TRINE_FP8_PER_TENSOR);
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        const scaled_operands<T> o = scaled_operands_of<T>(a->q, a->x, scales);
        if (!given)
            return by_row ? run_scaled_rows(call, int8_coder{}, s, o, a->q, a->x) : run_scaled_by_one(call, int8_coder{}, s, o);
        TRINE_END_OF_QUERY(call, 0);
        return run_scaled_codes(call, int8_coder{}, s, o);
    });
}

struct f_int8_values {
    template <class T, int V>
    TRINE_DEVICE_METHOD void operator()(pack<T, V> &y, const pack<int8_t, V> &q, const pack<float, V> &scale) const
    {
#pragma unroll
        for (int i = 0; i < V; i++) y.at[i] = from_f32<T>(target::mul_rn(to_f32(q.at[i]), scale.at[i]));
    }
};

inline trine_status int8_dequantize(trine_call *call, const trine_int8_dequantize_args *a)
{
    const trine_tensor scale = trine_int8_scale_view(&a->scale, &a->y);
    TRINE_END_OF_QUERY(call, 0);
    return visit_floats(call, a->y.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        return map<T, int8_t, float>(call, f_int8_values{}, a->y, a->q, scale);
    });
}

} // namespace simt

/* ---- The backend's functions: they take any arguments that pass the core's checks ---- */

#define TRINE_QUANTIZE(name) \
    extern "C" trine_status TRINE_BACKEND_FN(name)(trine_call * call, const trine_##name##_args *a) \
    { \
        call->variant = target::variant; \
        return simt::name(call, a); \
    }
TRINE_QUANTIZE(nf4_quantize)
TRINE_QUANTIZE(nf4_dequantize)
TRINE_QUANTIZE(absmax_quantize)
TRINE_QUANTIZE(absmax_dequantize)
TRINE_QUANTIZE(int8_quantize)
TRINE_QUANTIZE(int8_dequantize)
TRINE_QUANTIZE(fake_quantize)
TRINE_QUANTIZE(fake_quantize_backward)
#undef TRINE_QUANTIZE

#endif
