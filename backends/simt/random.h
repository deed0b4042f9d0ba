/* dropout, uniform and normal from Philox4x32-10, counted by the row-major index of an element (trine/random.h). Bound by bytes,
 * or, where elements are only written, by Philox and what becomes of its words: 20 wide multiplications for 4 elements. The
 * first of them is of 0, the third of what all blocks of a launch share. On an H100 one takes 4.2 cycles of a scheduler (alone; with
 * an exclusive-or each 5.3, so that little else is issued meanwhile): of four uniform bf16 18 * 4.2 + 50, which would be 126 us for
 * 2^27 of them at 1.98 GHz; 123 were measured, and 83 for writing the bytes alone. Upper words by DFMA and lower ones by IMAD were
 * 8 % slower, for the moves that their register pairs need.
 *
 * Dense tensors: a thread makes 16 elements, in packs of 16 bytes whose words come from one Philox block (f32) or two. Everything
 * else: a thread a block of four elements, wherever they lie.
 *
 * Included after target.h and after the vendor's target::sqrt_fast, log2_normal and sincos_of_24. */
#ifndef TRINE_SIMT_RANDOM_H
#define TRINE_SIMT_RANDOM_H

#include "backends/simt/divider.h"
#include "backends/simt/map.h"
#include "backends/simt/turns.h"

namespace simt {

enum { random_elements = 16 };

/* ---- Philox: Salmon et al. 2011 ---- */

struct words {
    uint32_t at[4];
};

/* A launch's counters have one upper half. The keys of all rounds are the kernel's argument, operands that cost no instruction; or
 * come from the first ones, where that is faster: of 16-bit elements (uniform on an H100: 123 us against 158). */
enum { philox_rounds = 10 };
struct philox {
    uint32_t low, high, key[philox_rounds][2];

    philox(uint64_t seed, uint64_t counter) : low(uint32_t(counter)), high(uint32_t(counter >> 32))
    {
        for (int round = 0; round < philox_rounds; round++) {
            key[round][0] = uint32_t(seed) + uint32_t(round) * 0x9e3779b9u;
            key[round][1] = uint32_t(seed >> 32) + uint32_t(round) * 0xbb67ae85u;
        }
    }
    template <bool given_keys> TRINE_DEVICE_METHOD words block(uint32_t index) const
    {
        uint32_t c0 = low + index, c1 = high, c2 = 0, c3 = 0, k0 = key[0][0], k1 = key[0][1];
#pragma unroll
        for (int round = 0; round < philox_rounds; round++) {
            const uint64_t p0 = uint64_t(0xd2511f53u) * c0, p1 = uint64_t(0xcd9e8d57u) * c2;
            c0 = uint32_t(p1 >> 32) ^ c1 ^ (given_keys ? key[round][0] : k0);
            c1 = uint32_t(p1);
            c2 = uint32_t(p0 >> 32) ^ c3 ^ (given_keys ? key[round][1] : k1);
            c3 = uint32_t(p0);
            k0 += 0x9e3779b9u;
            k1 += 0xbb67ae85u;
        }
        return words{{c0, c1, c2, c3}};
    }
};

/* ---- What becomes of four words. Each functor: y from x (if it reads) and words; kept says which elements dropout lets through.
 * ---- */

struct f_dropout {
    static constexpr bool reads = true;
    uint32_t threshold;
    float factor;
    template <class T> TRINE_DEVICE_METHOD void operator()(T *y, const T *x, uint8_t *kept, const words &w) const
    {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const bool keep = w.at[i] >= threshold;
            kept[i] = keep;
            y[i] = from_f32<T>(keep ? target::mul_rn(to_f32(x[i]), factor) : 0.0f);
        }
    }
};

/* A word's upper 24 bits. */
TRINE_DEVICE float upper_24(uint32_t word) { return float(word >> 8); }

struct f_uniform {
    static constexpr bool reads = false;
    float low, range, unit; /* unit: range 2^-24, where that is exact, so that unit (word >> 8) is range u */
    bool exact;
    f_uniform(float low_, float high) : low(low_), range(high - low_), unit(range * 0x1p-24f), exact(unit * 0x1p24f == range) {}
    template <class T> TRINE_DEVICE_METHOD void operator()(T *y, const T *, uint8_t *, const words &w) const
    {
        float product[4];
#pragma unroll
        for (int i = 0; i < 4; i++) product[i] = target::mul_rn(unit, upper_24(w.at[i]));
        if (!exact) {
#pragma unroll
            for (int i = 0; i < 4; i++) product[i] = target::mul_rn(range, upper_24(w.at[i]) * 0x1p-24f);
        }
#pragma unroll
        for (int i = 0; i < 4; i++) y[i] = from_f32<T>(target::add_rn(low, product[i]));
    }
};

/* sqrt(-2 ln u) and the sines for f32; and for 16 bits by the hardware's functions: near u = 1, where its logarithm has an
 * absolute error only, by a series in 1 - u, which is exact (err 2^-20 below 2^-6). */
template <class T> TRINE_DEVICE float radius(float u)
{
    if constexpr (sizeof(T) == sizeof(float)) return target::sqrt_fast(-2.0f * log_of_normal(u));
    const float w = 1.0f - u, near_1 = w * target::fma_rn(w, target::fma_rn(w, 2.0f / 3.0f, 1.0f), 2.0f);
    return target::sqrt_fast(w < 0x1p-6f ? near_1 : (-2.0f * ln_2) * target::log2_normal(u));
}
/* Of 2 pi n 2^-24. */
template <class T> TRINE_DEVICE void sincos_for(float n, float &sine, float &cosine)
{
    if constexpr (sizeof(T) == sizeof(float))
        sincos_turns(n * 0x1p-24f, sine, cosine);
    else
        target::sincos_of_24(n, sine, cosine);
}

struct f_normal {
    static constexpr bool reads = false;
    float mean, std;
    template <class T> TRINE_DEVICE_METHOD void operator()(T *y, const T *, uint8_t *, const words &w) const
    {
#pragma unroll
        for (int i = 0; i < 4; i += 2) {
            float sine, cosine;
            sincos_for<T>(upper_24(w.at[i + 1]), sine, cosine);
            const float r = std * radius<T>(float((w.at[i] >> 8) + 1u) * 0x1p-24f);
            y[i] = from_f32<T>(target::fma_rn(r, cosine, mean));
            y[i + 1] = from_f32<T>(target::fma_rn(r, sine, mean));
        }
    }
};

/* ---- Kernels ---- */

template <int V, class T, class F> TRINE_DEVICE void random_pack(const F &f, const philox &source, int64_t p, pack<T, V> &y,
                                                                 const pack<T, V> &x, pack<uint8_t, V> &kept)
{
#pragma unroll
    for (int i = 0; i < V; i += 4)
        f(y.at + i, x.at + i, kept.at + i, source.block<(sizeof(T) > 2)>(uint32_t(p) * (V / 4) + i / 4));
}

/* The four elements from `first` on, of which those below n exist; at() tells where in y and x they lie. */
template <class T, class F, class At>
TRINE_DEVICE void random_block(const F &f, const words &w, int64_t first, int64_t n, T *y, const T *x, uint8_t *mask, At at)
{
    T in[4], out[4];
    uint8_t kept[4];
    int64_t offset[4][2];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if (first + i < n) at(first + i, offset[i]);
        if (F::reads && first + i < n) in[i] = x[offset[i][1]];
    }
    f(out, in, kept, w);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if (first + i >= n) break;
        y[offset[i][0]] = out[i];
        if (F::reads && mask) mask[first + i] = kept[i];
    }
}

template <int V, int U, bool masked, class T, class F> TRINE_KERNEL(map_threads)
random_dense_kernel(F f, philox source, int64_t n, T *y, const T *x, uint8_t *mask)
{
    const int64_t packs = n / V, first = int64_t(target::block_x()) * (map_threads * U) + target::thread_x();
    pack<T, V> in[U] = {}, out;
    pack<uint8_t, V> kept;
    if (F::reads) {
#pragma unroll
        for (int u = 0; u < U; u++)
            if (first + u * map_threads < packs) in[u] = load_pack<T, V>(x + (first + u * map_threads) * V);
    }
#pragma unroll
    for (int u = 0; u < U; u++) {
        const int64_t p = first + u * map_threads;
        if (p >= packs) break;
        random_pack<V>(f, source, p, out, in[u], kept);
        store_pack<T, V>(y + p * V, out);
        if (masked) store_pack<uint8_t, V>(mask + p * V, kept);
    }
    /* what does not fill a pack, by the first threads of the first block */
    const int64_t rest = packs * (V / 4) + first;
    if (target::block_x() == 0 && target::thread_x() < V / 4 && rest * 4 < n)
        random_block(f, source.block<(sizeof(T) > 2)>(uint32_t(rest)), rest * 4, n, y, x, masked ? mask : nullptr,
                     [](int64_t element, int64_t(&offset)[2]) { offset[0] = offset[1] = element; });
}

/* Elements begin to end. */
template <class T, class F> TRINE_KERNEL(map_threads)
random_strided_kernel(F f, philox source, walk<2, divider_any> where, int64_t begin, int64_t end, T *y, const T *x, uint8_t *mask)
{
    const int64_t blocks = (end - begin + 3) / 4;
    for (int64_t b = int64_t(target::block_x()) * map_threads + target::thread_x(); b < blocks;
         b += int64_t(target::grid_x()) * map_threads)
        random_block(f, source.block<false>(uint32_t(b)), begin + b * 4, end, y, x, mask,
                     [&](int64_t element, int64_t(&offset)[2]) { where.offsets(element, offset); });
}

/* ---- Host ---- */

inline bool aligned_to(const void *p, int bytes) { return reinterpret_cast<uintptr_t>(p) % uintptr_t(bytes) == 0; }

/* A call's key and first counter. */
struct random_source {
    uint64_t seed, offset;
    uint64_t counter(int64_t element) const { return offset + uint64_t(element) / 4; }
    philox from(int64_t element) const { return philox(seed, counter(element)); }
    /* Elements from there on whose counters have one upper half. */
    int64_t left(int64_t element) const { return ((int64_t(1) << 32) - int64_t(uint32_t(counter(element)))) * 4; }
};

/* Where neither y nor x has gaps, n elements. */
template <class T, class F>
inline trine_status random_dense(trine_call *call, F f, const philox &source, int64_t n, T *y, const T *x, uint8_t *mask)
{
    constexpr int V = pack_of<T>, U = random_elements / V;
    const grid g(ceil_div(ceil_div(n, V), map_threads * U));
    if (F::reads && mask)
        return launch(call, random_dense_kernel<V, U, F::reads, T, F>, g, map_threads, 0, f, source, n, y, x, mask);
    return launch(call, random_dense_kernel<V, U, false, T, F>, g, map_threads, 0, f, source, n, y, x, mask);
}

template <class T, class F> inline trine_status random_strided(trine_call *call, F f, const philox &source, const trine_iter &it,
                                                               int64_t begin, int64_t end, T *y, const T *x, uint8_t *mask)
{
    const int64_t blocks = ceil_div(ceil_div(end - begin, 4), map_threads);
    const grid g(blocks < (1 << 24) ? blocks : 1 << 24);
    return launch(call, random_strided_kernel<T, F>, g, map_threads, 0, f, source, walk<2, divider_any>(it), begin, end, y, x,
                  mask);
}

/* A launch for each upper half of the counters; where that changes inside of a pack, the pack goes the strided way. */
template <class T, class F> inline trine_status random_run(trine_call *call, F f, random_source source, const trine_tensor &y_,
                                                           const trine_tensor &x_, uint8_t *mask)
{
    constexpr int V = pack_of<T>;
    const trine_tensor *operands[] = {&y_, &x_};
    const trine_iter it = trine_iter_make(operands, 2, 1);
    T *y = data_of<T>(y_);
    const T *x = data_of<T>(x_);
    const bool dense =
        it.ndim == 1 && it.stride[0][0] == 1 && it.stride[1][0] == 1 && aligned16(y) && aligned16(x) && aligned_to(mask, V);
    trine_status status = TRINE_OK;
    for (int64_t begin = 0, end; begin < it.numel && status == TRINE_OK; begin = end) {
        const int64_t left = source.left(begin), rest = it.numel - begin;
        end = begin + (left < rest ? left : rest);
        const int64_t whole = end == it.numel ? end : end / V * V;
        const bool packs = dense && begin % V == 0 && whole > begin;
        if (packs)
            end = whole;
        else if (dense && end - begin > 4)
            end = begin + 4; /* to the next pack's first element */
        status = packs ? random_dense(call, f, source.from(begin), end - begin, y + begin, x + begin, mask ? mask + begin : mask)
                       : random_strided(call, f, source.from(begin), it, begin, end, y, x, mask);
    }
    return status;
}

inline trine_status dropout(trine_call *call, const trine_dropout_args *a)
{
    const f_dropout f{uint32_t(double(a->p) * 0x1p32), 1.0f / (1.0f - a->p)};
    return visit_floats(call, a->x.dtype, [&](auto t) {
        return random_run<typename decltype(t)::type>(call, f, random_source{a->seed, a->offset}, a->y, a->x,
                                                      data_of<uint8_t>(a->mask));
    });
}

inline trine_status uniform(trine_call *call, const trine_uniform_args *a)
{
    const f_uniform f(a->low, a->high);
    return visit_floats(call, a->y.dtype, [&](auto t) {
        return random_run<typename decltype(t)::type>(call, f, random_source{a->seed, a->offset}, a->y, a->y, nullptr);
    });
}

inline trine_status normal(trine_call *call, const trine_normal_args *a)
{
    const f_normal f{a->mean, a->std};
    return visit_floats(call, a->y.dtype, [&](auto t) {
        return random_run<typename decltype(t)::type>(call, f, random_source{a->seed, a->offset}, a->y, a->y, nullptr);
    });
}

} // namespace simt

/* ---- The backend's functions: they take any arguments that pass the core's checks, and no workspace ---- */

#define TRINE_RANDOM(name) \
    extern "C" trine_status TRINE_BACKEND_FN(name)(trine_call * call, const trine_##name##_args *a) \
    { \
        call->variant = target::variant; \
        TRINE_END_OF_QUERY(call, 0); \
        return simt::name(call, a); \
    }
TRINE_RANDOM(dropout)
TRINE_RANDOM(uniform)
TRINE_RANDOM(normal)
#undef TRINE_RANDOM

#endif
