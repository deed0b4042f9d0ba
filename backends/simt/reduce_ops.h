/* What is reduced: one struct a kind, used by the kernels of reduce.h. Ops that differ in a sign or a mask share a struct and ask
 * at run time.
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

/* sum x, sum |x|, sum x^2 */
template <class T> struct reduce_sum {
    using element = T;
    enum { inputs = 1, column_bytes = 16 };
    const T *in[1];
    sum_output out;
    uint32_t mask; /* keeps or drops the sign */
    bool square;
    using state = float;
    static TRINE_DEVICE_METHOD state start() { return 0.0f; }
    TRINE_DEVICE_METHOD void add(state &s, T x, int64_t) const
    {
        const float v = trine_f32_of_bits(trine_bits_of_f32(to_f32(x)) & mask);
        s = target::fma_rn(v, square ? v : 1.0f, s);
    }
    static TRINE_DEVICE_METHOD state merge(state a, state b) { return target::add_rn(a, b); }
    static TRINE_DEVICE_METHOD state shuffled(state s, int mask) { return target::shuffle_xor(s, mask); }
    TRINE_DEVICE_METHOD void write(state s, int64_t offset) const { out.write(s, offset); }
};

template <class T> struct reduce_dot {
    using element = T;
    enum { inputs = 2, column_bytes = 16 };
    const T *in[2];
    sum_output out;
    using state = float;
    static TRINE_DEVICE_METHOD state start() { return 0.0f; }
    TRINE_DEVICE_METHOD void add(state &s, T a, T b, int64_t) const { s = target::fma_rn(to_f32(a), to_f32(b), s); }
    static TRINE_DEVICE_METHOD state merge(state a, state b) { return target::add_rn(a, b); }
    static TRINE_DEVICE_METHOD state shuffled(state s, int mask) { return target::shuffle_xor(s, mask); }
    TRINE_DEVICE_METHOD void write(state s, int64_t offset) const { out.write(s, offset); }
};

/* ---- The largest, by integer keys: a larger key is a larger element, NaN is the largest of all. flip = -1 turns the order of
 * numbers round, for the smallest. ---- */

constexpr int32_t nan_key = 0x7fffffff;

TRINE_DEVICE int32_t float_key(float x)
{
    const int32_t bits = int32_t(trine_bits_of_f32(x));
    return x != x ? nan_key : bits ^ (bits >> 31 & 0x7fffffff);
}
/* Key of an element; of integers also back. */
template <class T> struct key_traits {
    using key = int32_t;
    static TRINE_DEVICE_METHOD key of_equal_zeros(T x) { return float_key(target::add_rn(to_f32(x), 0.0f)); /* -0 + 0 = +0 */ }
    /* The largest key of a pack; numbers are compared as such, which takes fewer instructions. */
    template <int V> static TRINE_DEVICE_METHOD key most(const pack<T, V> &x)
    {
        float largest = to_f32(x.at[0]);
#pragma unroll
        for (int j = 1; j < V; j++) largest = target::maximum(largest, to_f32(x.at[j]));
        return float_key(target::add_rn(largest, 0.0f));
    }
};
template <class I> struct int_key_traits {
    using key = I;
    static TRINE_DEVICE_METHOD key of(I x, int32_t flip) { return x ^ key(flip); }
    static TRINE_DEVICE_METHOD key of_equal_zeros(I x) { return x; }
    template <int V> static TRINE_DEVICE_METHOD key most(const pack<I, V> &x)
    {
        key largest = x.at[0];
#pragma unroll
        for (int j = 1; j < V; j++) largest = x.at[j] > largest ? x.at[j] : largest;
        return largest;
    }
    static TRINE_DEVICE_METHOD I back(key k, int32_t flip) { return k ^ key(flip); }
};
template <> struct key_traits<int32_t> : int_key_traits<int32_t> {
};
template <> struct key_traits<int64_t> : int_key_traits<int64_t> {
};

template <class K> TRINE_DEVICE constexpr K lowest_key() { return sizeof(K) == 4 ? K(INT32_MIN) : K(INT64_MIN); }

/* Of integers. */
template <class T> struct reduce_extreme_integer {
    using element = T;
    using keys = key_traits<T>;
    enum { inputs = 1, column_bytes = 16 };
    const T *in[1];
    T *y;
    int32_t flip;
    using state = typename keys::key;
    static TRINE_DEVICE_METHOD state start() { return lowest_key<state>(); }
    TRINE_DEVICE_METHOD void add(state &s, T x, int64_t) const { s = merge(s, keys::of(x, flip)); }
    static TRINE_DEVICE_METHOD state merge(state a, state b) { return a > b ? a : b; }
    static TRINE_DEVICE_METHOD state shuffled(state s, int mask) { return target::shuffle_xor(s, mask); }
    TRINE_DEVICE_METHOD void write(state s, int64_t offset) const { y[offset] = keys::back(s, flip); }
};

/* Floats need no keys: the larger of two is one instruction that knows NaN. flip = -1 turns signs round, for the smallest. */
template <class T> struct reduce_extreme_float {
    using element = T;
    enum { inputs = 1, column_bytes = 16 };
    const T *in[1];
    T *y;
    int32_t flip;
    using state = float;
    TRINE_DEVICE_METHOD float turned(float x) const
    {
        return trine_f32_of_bits(trine_bits_of_f32(x) ^ (uint32_t(flip) & 0x80000000u));
    }
    static TRINE_DEVICE_METHOD state start() { return -__builtin_inff(); }
    TRINE_DEVICE_METHOD void add(state &s, T x, int64_t) const { s = merge(s, turned(to_f32(x))); }
    static TRINE_DEVICE_METHOD state merge(state a, state b) { return target::maximum(a, b); }
    static TRINE_DEVICE_METHOD state shuffled(state s, int mask) { return target::shuffle_xor(s, mask); }
    TRINE_DEVICE_METHOD void write(state s, int64_t offset) const { y[offset] = from_f32<T>(turned(s)); }
};

template <class T> struct extreme_of {
    using kind = reduce_extreme_float<T>;
};
template <> struct extreme_of<int32_t> {
    using kind = reduce_extreme_integer<int32_t>;
};
template <> struct extreme_of<int64_t> {
    using kind = reduce_extreme_integer<int64_t>;
};

/* The start has index 0: where nothing is larger than the lowest key, all elements are equal and the first is the right answer.
 */
template <class T> struct reduce_argmax {
    using element = T;
    using keys = key_traits<T>;
    enum { inputs = 1, column_bytes = sizeof(T) < 4 ? 8 : 16 };
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
        const typename keys::key key = keys::of_equal_zeros(x);
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
