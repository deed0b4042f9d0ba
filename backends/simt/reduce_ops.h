/* What is reduced: one struct a kind, used by the kernels of reduce.h. Ops that differ in a sign or in what is summed share a struct
 * and ask at run time, those of several terms once for many elements (reduce_chooses).
 *
 * A `Kind` has
 *   element, inputs, in[inputs]    the inputs' type, number and data
 *   state                          what a thread carries; start()
 *   add(state, x0[, x1], index)    takes an element; a thread takes its own in the order of their indices
 *   merge(a, b)                    of two states: associative, and exact or in an order that the caller fixes
 *   shuffled(s, mask)              the state of the thread of the wave whose number differs by that mask
 *   write(state, offset)           the output */
#ifndef TRINE_SIMT_REDUCE_OPS_H
#define TRINE_SIMT_REDUCE_OPS_H

#include "backends/simt/types.h"

namespace simt {

/* Kinds that are one of several, known at run time, specialise this: choose(f) calls f with what adds the chosen one's elements, of
 * the same state and inputs. */
template <class Kind> constexpr bool reduce_chooses = false;
template <class Kind, class F> TRINE_DEVICE void as_chosen(const Kind &kind, F f)
{
    if constexpr (reduce_chooses<Kind>)
        kind.choose(f);
    else
        f(kind);
}

/* The end of a sum: divided, its root taken, rounded to the output's type. */
struct sum_output {
    void *y;
    trine_dtype dtype;
    float divisor; /* 1 but for mean */
    bool root;
    TRINE_DEVICE_METHOD void write(float sum, int64_t offset) const
    {
        float r = root ? target::sqrt_ieee(sum) : sum;
        if (divisor != 1.0f) r = target::div_ieee(r, divisor); /* 0 / 0 over no elements */
        if (dtype == TRINE_F32)
            static_cast<float *>(y)[offset] = r;
        else if (dtype == TRINE_F16)
            static_cast<f16 *>(y)[offset] = from_f32<f16>(r);
        else
            static_cast<bf16 *>(y)[offset] = from_f32<bf16>(r);
    }
};

/* What all kinds that are sums of f32 terms share. */
template <class T, int inputs_> struct sum_kind {
    using element = T;
    enum { inputs = inputs_, column_bytes = 16 };
    const T *in[inputs_];
    sum_output out;
    using state = float;
    static TRINE_DEVICE_METHOD state start() { return 0.0f; }
    static TRINE_DEVICE_METHOD state merge(state a, state b) { return target::add_rn(a, b); }
    static TRINE_DEVICE_METHOD state shuffled(state s, int mask) { return target::shuffle_xor(s, mask); }
    TRINE_DEVICE_METHOD void write(state s, int64_t offset) const { out.write(s, offset); }
};

template <class T> struct reduce_sum : sum_kind<T, 1> {
    static TRINE_DEVICE_METHOD void add(float &s, T x, int64_t) { s = target::add_rn(s, to_f32(x)); }
};

template <class T> struct reduce_dot : sum_kind<T, 2> {
    static TRINE_DEVICE_METHOD void add(float &s, T a, T b, int64_t) { s = target::fma_rn(to_f32(a), to_f32(b), s); }
};

/* sum |x| or sum x^2 */
template <bool squared> struct add_magnitudes {
    enum { inputs = 1 };
    using state = float;
    template <class T> static TRINE_DEVICE_METHOD void add(state &s, T x, int64_t)
    {
        const float v = to_f32(x);
        s = squared ? target::fma_rn(v, v, s) : target::add_rn(s, __builtin_fabsf(v));
    }
};
template <class T> struct reduce_norm : sum_kind<T, 1> {
    bool squared;
    template <class F> TRINE_DEVICE_METHOD void choose(F f) const
    {
        if (squared)
            f(add_magnitudes<true>{});
        else
            f(add_magnitudes<false>{});
    }
    TRINE_DEVICE_METHOD void add(float &s, T x, int64_t index) const
    {
        choose([&](const auto &chosen) { chosen.add(s, x, index); });
    }
};
template <class T> constexpr bool reduce_chooses<reduce_norm<T>> = true;

/* ---- The largest, by integer keys: a larger key is a larger element, NaN is the largest of all. ---- */

constexpr int32_t nan_key = 0x7fffffff;
template <class K> TRINE_DEVICE constexpr K lowest_key() { return sizeof(K) == 4 ? K(INT32_MIN) : K(INT64_MIN); }

TRINE_DEVICE int32_t float_key(float x)
{
    const int32_t bits = int32_t(trine_bits_of_f32(x));
    return x != x ? nan_key : bits ^ (bits >> 31 & 0x7fffffff);
}
/* Elements as numbers that compare in few instructions, and the key of a number; of integers also back. */
template <class T> struct key_traits {
    using key = int32_t;
    using number = float;
    static TRINE_DEVICE_METHOD number lowest() { return -__builtin_inff(); }
    static TRINE_DEVICE_METHOD number of(T x) { return to_f32(x); }
    static TRINE_DEVICE_METHOD number equal_zeros(number x) { return target::add_rn(x, 0.0f); /* -0 + 0 = +0 */ }
    /* The larger one; a if both are NaN. */
    static TRINE_DEVICE_METHOD number larger(number a, number b) { return target::maximum(a, b); }
    /* Whether x, of numbers whose largest is `most`, is one of the largest. */
    static TRINE_DEVICE_METHOD bool is_most(number x, number most) { return x == most || x != x; }
    static TRINE_DEVICE_METHOD key key_of(number x) { return float_key(equal_zeros(x)); }
    static TRINE_DEVICE_METHOD number number_of(key k) { return trine_f32_of_bits(uint32_t(k ^ (k >> 31 & 0x7fffffff))); }
};
template <class I> struct int_key_traits {
    using key = I;
    using number = I;
    static TRINE_DEVICE_METHOD number lowest() { return lowest_key<I>(); }
    static TRINE_DEVICE_METHOD number of(I x) { return x; }
    static TRINE_DEVICE_METHOD number equal_zeros(number x) { return x; }
    static TRINE_DEVICE_METHOD number larger(number a, number b) { return b > a ? b : a; }
    static TRINE_DEVICE_METHOD bool is_most(number x, number most) { return x == most; }
    static TRINE_DEVICE_METHOD key key_of(number x) { return x; }
    static TRINE_DEVICE_METHOD number number_of(key k) { return k; }
    /* Turned round by flip = -1; its own inverse. */
    static TRINE_DEVICE_METHOD key flipped(key k, int32_t flip) { return k ^ key(flip); }
};
template <> struct key_traits<int32_t> : int_key_traits<int32_t> {
};
template <> struct key_traits<int64_t> : int_key_traits<int64_t> {
};
template <class T> constexpr bool is_integer = false;
template <> inline constexpr bool is_integer<int32_t> = true;
template <> inline constexpr bool is_integer<int64_t> = true;

/* ---- Pairs of 16-bit floats, where the device compares both in one instruction ---- */

template <class T, int V> constexpr bool in_pairs = target::has_pairs && sizeof(T) == 2 && !is_integer<T> && V % 2 == 0;
template <int V> struct pair_words {
    uint32_t word[V / 2];
};
template <class T> constexpr bool is_bf16 = false;
template <> inline constexpr bool is_bf16<bf16> = true;

template <class T> TRINE_DEVICE T half_of(uint32_t word, int half)
{
    T x;
    x.bits = uint16_t(half ? word >> 16 : word);
    return x;
}
template <class T> TRINE_DEVICE uint32_t larger_of_pairs(uint32_t a, uint32_t b)
{
    return target::maximum_of_pairs<is_bf16<T>>(a, b);
}
template <class T> TRINE_DEVICE uint32_t pair_of(float x)
{
    const uint32_t half = from_f32<T>(x).bits;
    return half << 16 | half;
}

/* Of integers; flip = -1 turns their order round, for the smallest. */
template <class T> struct reduce_extreme_integer {
    using element = T;
    using keys = key_traits<T>;
    enum { inputs = 1, column_bytes = 16 };
    const T *in[1];
    T *y;
    int32_t flip;
    using state = typename keys::key;
    static TRINE_DEVICE_METHOD state start() { return lowest_key<state>(); }
    TRINE_DEVICE_METHOD void add(state &s, T x, int64_t) const { s = merge(s, keys::flipped(x, flip)); }
    static TRINE_DEVICE_METHOD state merge(state a, state b) { return a > b ? a : b; }
    static TRINE_DEVICE_METHOD state shuffled(state s, int mask) { return target::shuffle_xor(s, mask); }
    TRINE_DEVICE_METHOD void write(state s, int64_t offset) const { y[offset] = keys::flipped(s, flip); }
};

/* Floats need no keys: the larger of two is one instruction that knows NaN. The smallest is the largest of the negated ones: `flip`
 * has the sign bits to turn, of a word of 32 bits or two of 16. */
template <class T> struct reduce_extreme_float {
    using element = T;
    enum { inputs = 1, column_bytes = 16 };
    const T *in[1];
    T *y;
    uint32_t flip;
    using state = float;
    static TRINE_DEVICE_METHOD state start() { return -__builtin_inff(); }
    TRINE_DEVICE_METHOD float flipped(float x) const { return trine_f32_of_bits(trine_bits_of_f32(x) ^ (flip & 0x80000000u)); }
    TRINE_DEVICE_METHOD void add(state &s, T x, int64_t) const { s = merge(s, flipped(to_f32(x))); }
    static TRINE_DEVICE_METHOD state merge(state a, state b) { return target::maximum(a, b); }
    static TRINE_DEVICE_METHOD state shuffled(state s, int mask) { return target::shuffle_xor(s, mask); }
    TRINE_DEVICE_METHOD void write(state s, int64_t offset) const { y[offset] = from_f32<T>(flipped(s)); }
};

/* The start has index 0: where nothing is larger than the lowest key, all elements are equal and the first is the right answer.
 */
template <class T> struct reduce_argmax {
    using element = T;
    using keys = key_traits<T>;
    enum { inputs = 1, column_bytes = 16 };
    const T *in[1];
    void *y;
    bool wide; /* i64 */
    struct state {
        typename keys::key key;
        int64_t index;
    };
    static TRINE_DEVICE_METHOD state start() { return state{lowest_key<typename keys::key>(), 0}; }
    TRINE_DEVICE_METHOD void add(state &s, T x, int64_t index) const
    {
        const typename keys::key key = keys::key_of(keys::of(x));
        const bool better = key > s.key;
        s.key = better ? key : s.key;
        s.index = better ? index : s.index;
    }
    static TRINE_DEVICE_METHOD state merge(const state &a, const state &b)
    {
        const bool first = a.key > b.key || (a.key == b.key && a.index <= b.index);
        return state{first ? a.key : b.key, first ? a.index : b.index};
    }
    static TRINE_DEVICE_METHOD state shuffled(const state &s, int mask)
    {
        return state{target::shuffle_xor(s.key, mask), target::shuffle_xor(s.index, mask)};
    }
    /* Of all threads of a wave, for keys of 32 bits: the largest key, then the smallest index that has it, by its halves. */
    static TRINE_DEVICE_METHOD state merged_wave(const state &s)
    {
        const int32_t key = target::wave_maximum(int32_t(s.key));
        const uint32_t none = 0xffffffffu, high = target::wave_minimum(s.key == key ? uint32_t(s.index >> 32) : none),
                       low = target::wave_minimum(s.key == key && uint32_t(s.index >> 32) == high ? uint32_t(s.index) : none);
        return state{key, int64_t(uint64_t(high) << 32 | low)};
    }
    TRINE_DEVICE_METHOD void write(const state &s, int64_t offset) const
    {
        if (wide)
            static_cast<int64_t *>(y)[offset] = s.index;
        else
            static_cast<int32_t *>(y)[offset] = int32_t(s.index);
    }
};

} // namespace simt

#endif
