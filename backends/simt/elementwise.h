/* Elementwise ops but copy (copy.h). Bound by bytes: see map.h. The op itself is chosen at run time, once a pack, so that a kernel is compiled once
 * a dtype. */
#ifndef TRINE_SIMT_ELEMENTWISE_H
#define TRINE_SIMT_ELEMENTWISE_H

#include "backends/simt/copy.h"

namespace simt {

/* ---- fill ---- */

template <class T> struct f_constant {
    T value;
    template <int V> TRINE_DEVICE_METHOD void operator()(pack<T, V> &y) const
    {
        for (int i = 0; i < V; i++) y.at[i] = value;
    }
};

/* The value is converted on the host, by the same code as on the device. */
template <class T> inline T host_bits(trine_dtype dtype, double value)
{
    T bits;
    const float odd = trine_bits_f64_to_f32_odd(value);
    uint64_t wide = 0;
    const auto keep = [&](auto v) { memcpy(&wide, &v, sizeof v); };
    switch (dtype) {
    case TRINE_F64: keep(value); break;
    case TRINE_F32: keep(float(value)); break;
    case TRINE_F16: keep(trine_bits_f32_to_f16(odd)); break;
    case TRINE_BF16: keep(trine_bits_f32_to_bf16(odd)); break;
    case TRINE_F8_E4M3FN: keep(trine_bits_f32_to_f8(odd, 0, 0)); break;
    case TRINE_F8_E5M2: keep(trine_bits_f32_to_f8(odd, 1, 0)); break;
    case TRINE_F8_E4M3FNUZ: keep(trine_bits_f32_to_f8(odd, 0, 1)); break;
    case TRINE_F8_E5M2FNUZ: keep(trine_bits_f32_to_f8(odd, 1, 1)); break;
    case TRINE_I64: keep(trine_f64_to_i64_sat(value)); break;
    case TRINE_I32: keep(trine_f64_to_i32_sat(value)); break;
    case TRINE_I8: keep(trine_f64_to_i8_sat(value)); break;
    case TRINE_U8: keep(trine_f64_to_u8_sat(value)); break;
    default: wide = value != 0; break;
    }
    memcpy(&bits, &wide, sizeof bits);
    return bits;
}

inline trine_status fill(trine_call *call, const trine_fill_args *a)
{
    return visit_bits(call, a->y.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        return map<T>(call, f_constant<T>{host_bits<T>(a->y.dtype, a->value)}, a->y);
    });
}

/* ---- Arithmetic ---- */

enum arithmetic { ADD, SUB, MUL, DIV, MIN, MAX };

TRINE_DEVICE float divide(float a, float b) { return target::div_ieee(a, b); }
TRINE_DEVICE double divide(double a, double b) { return a / b; }
TRINE_DEVICE float least(float a, float b) { return target::minimum(a, b); }
TRINE_DEVICE float most(float a, float b) { return target::maximum(a, b); }
/* -0 < +0: of two zeros the one whose sign is wanted */
TRINE_DEVICE double least(double a, double b)
{
    return a != a ? a : b != b ? b : a < b || (a == b && __builtin_signbit(a)) ? a : b;
}
TRINE_DEVICE double most(double a, double b)
{
    return a != a ? a : b != b ? b : a > b || (a == b && !__builtin_signbit(a)) ? a : b;
}

template <class T> TRINE_DEVICE T float_arithmetic(arithmetic op, T a, T b)
{
    switch (op) {
    case ADD: return target::add_rn(a, b);
    case SUB: return target::add_rn(a, -b);
    case MUL: return target::mul_rn(a, b);
    case DIV: return divide(a, b);
    case MIN: return least(a, b);
    default: return most(a, b);
    }
}

/* U: the unsigned type in which overflow wraps. */
template <class T, class U> TRINE_DEVICE T int_arithmetic(arithmetic op, T a, T b)
{
    switch (op) {
    case ADD: return T(U(U(a) + U(b)));
    case SUB: return T(U(U(a) - U(b)));
    case MUL: return T(U(U(a) * U(b)));
    case DIV: return b == 0 ? T(0) : T(b) == T(-1) && T(-1) < T(0) ? T(U(0) - U(a)) : T(a / b);
    case MIN: return a < b ? a : b;
    default: return a > b ? a : b;
    }
}

TRINE_DEVICE float apply(arithmetic op, float a, float b) { return float_arithmetic(op, a, b); }
TRINE_DEVICE double apply(arithmetic op, double a, double b) { return float_arithmetic(op, a, b); }
TRINE_DEVICE f16 apply(arithmetic op, f16 a, f16 b) { return from_f32<f16>(float_arithmetic(op, to_f32(a), to_f32(b))); }
TRINE_DEVICE bf16 apply(arithmetic op, bf16 a, bf16 b) { return from_f32<bf16>(float_arithmetic(op, to_f32(a), to_f32(b))); }
TRINE_DEVICE int64_t apply(arithmetic op, int64_t a, int64_t b) { return int_arithmetic<int64_t, uint64_t>(op, a, b); }
TRINE_DEVICE int32_t apply(arithmetic op, int32_t a, int32_t b) { return int_arithmetic<int32_t, uint32_t>(op, a, b); }
TRINE_DEVICE int8_t apply(arithmetic op, int8_t a, int8_t b) { return int_arithmetic<int8_t, uint8_t>(op, a, b); }
TRINE_DEVICE uint8_t apply(arithmetic op, uint8_t a, uint8_t b) { return int_arithmetic<uint8_t, uint8_t>(op, a, b); }

/* a / b for 16-bit floats in f32, by fewer instructions than an IEEE division and with the same result once it is rounded to T;
 * `sure` becomes false where it might not be. With significands of p bits, a / b is never half way between two numbers of T (its
 * divisor would have p + 1 bits), but at least 2^-2p relative from there, unless the result is subnormal. A trial of all pairs of
 * significands, with reciprocals up to two units in the last place off, says so too. */
TRINE_DEVICE bool sure_divisor(tag<bf16>, float b) { return __builtin_fabsf(b) >= 0x1p-126f && __builtin_fabsf(b) <= 0x1p125f; }
TRINE_DEVICE bool sure_divisor(tag<f16>, float) { return true; }
/* `r`: rcp_fast(b). */
TRINE_DEVICE float quick_quotient(tag<bf16>, float a, float, float r, bool &sure)
{
    const float q = target::mul_rn(a, r); /* within 2^-22 */
    sure = sure && (!(__builtin_fabsf(q) < 0x1p-125f) || a == 0.0f);
    return q;
}
/* All results are normal in f32. A step of Newton's gives quotients exactly that f32 has, as those half way between subnormals,
 * and the others within less than 2^-23. For 0, inf and NaN the step gives 0 or NaN, where the first quotient is right. */
TRINE_DEVICE float quick_quotient(tag<f16>, float a, float b, float r, bool &)
{
    const float q = target::mul_rn(a, r), better = target::fma_rn(target::fma_rn(-q, b, a), r, q);
    return better > 0.0f || better < 0.0f ? better : q;
}
/* Whether all elements have the same bits; by words. */
template <class T, int V> TRINE_DEVICE bool all_alike(const pack<T, V> &x)
{
    static_assert(sizeof(T) == 2 && V % 2 == 0, "halves of words");
    const uint32_t *word = reinterpret_cast<const uint32_t *>(&x);
    uint32_t others = word[0] ^ target::byte_permute<0x1032>(word[0], 0);
#pragma unroll
    for (int w = 1; w < V / 2; w++) others |= word[0] ^ word[w];
    return others == 0;
}
template <class T> TRINE_DEVICE bool all_alike(const pack<T, 1> &) { return true; }

template <class T, int V> TRINE_DEVICE void divide_pack(pack<T, V> &y, const pack<T, V> &a, const pack<T, V> &b)
{
    const float first = to_f32(b.at[0]), r = target::rcp_fast(first);
    bool sure = sure_divisor(tag<T>{}, first);
    pack<T, V> quick;
    if (all_alike(b)) { /* a column's: one reciprocal */
#pragma unroll
        for (int i = 0; i < V; i++) quick.at[i] = from_f32<T>(quick_quotient(tag<T>{}, to_f32(a.at[i]), first, r, sure));
    } else {
#pragma unroll
        for (int i = 0; i < V; i++) {
            const float divisor = to_f32(b.at[i]);
            sure = sure && sure_divisor(tag<T>{}, divisor);
            quick.at[i] = from_f32<T>(quick_quotient(tag<T>{}, to_f32(a.at[i]), divisor, target::rcp_fast(divisor), sure));
        }
    }
    if (!sure) {
#pragma unroll
        for (int i = 0; i < V; i++) quick.at[i] = apply(DIV, a.at[i], b.at[i]);
    }
    y = quick;
}

/* The switch stands outside the loop over the pack. */
template <class T, int V> TRINE_DEVICE void apply_pack(arithmetic op, pack<T, V> &y, const pack<T, V> &a, const pack<T, V> &b)
{
    const auto all = [&](arithmetic fixed) {
#pragma unroll
        for (int i = 0; i < V; i++) y.at[i] = apply(fixed, a.at[i], b.at[i]);
    };
    switch (op) {
    case ADD: return all(ADD);
    case SUB: return all(SUB);
    case MUL: return all(MUL);
    case DIV:
        if constexpr (sizeof(T) == 2)
            return divide_pack(y, a, b);
        else
            return all(DIV);
    case MIN: return all(MIN);
    default: return all(MAX);
    }
}

struct f_binary {
    arithmetic op;
    template <class T, int V> TRINE_DEVICE_METHOD void operator()(pack<T, V> &y, const pack<T, V> &a, const pack<T, V> &b) const
    {
        apply_pack(op, y, a, b);
    }
};

template <class F> inline trine_status visit_arithmetic(trine_call *call, trine_dtype dtype, F f)
{
    switch (dtype) {
    case TRINE_F64: return f(tag<double>{});
    case TRINE_I64: return f(tag<int64_t>{});
    case TRINE_I32: return f(tag<int32_t>{});
    case TRINE_I8: return f(tag<int8_t>{});
    case TRINE_U8: return f(tag<uint8_t>{});
    default: return visit_floats(call, dtype, f);
    }
}

inline trine_status binary(trine_call *call, const trine_binary_args *a, arithmetic op)
{
    return visit_arithmetic(call, a->y.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        return map<T, T, T>(call, f_binary{op}, a->y, a->a, a->b);
    });
}

/* S: the scalar's type, f32 for the 16-bit floats. */
template <class S> struct f_scalar {
    S value;
    bool multiply;
    template <class T, int V> TRINE_DEVICE_METHOD void operator()(pack<T, V> &y, const pack<T, V> &x) const
    {
        const S s = value;
#pragma unroll
        for (int i = 0; i < V; i++) y.at[i] = multiply ? with_scalar(MUL, x.at[i], s) : with_scalar(ADD, x.at[i], s);
    }
    template <class T> static TRINE_DEVICE_METHOD T with_scalar(arithmetic op, T x, S s)
    {
        if constexpr (sizeof(T) == 2)
            return from_f32<T>(float_arithmetic(op, to_f32(x), s));
        else
            return apply(op, x, s);
    }
};

inline trine_status with_scalar(trine_call *call, const trine_scalar_args *a, bool multiply)
{
    return visit_arithmetic(call, a->y.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        if constexpr (sizeof(T) == 2)
            return map<T, T>(call, f_scalar<float>{float(a->value), multiply}, a->y, a->x);
        else
            return map<T, T>(call, f_scalar<T>{host_bits<T>(a->y.dtype, a->value), multiply}, a->y, a->x);
    });
}

/* ---- swap ---- */

/* Where rows are dense, even and alone in their walk, neighbours lie in one pack. */
struct f_swap {
    template <class T, int V> TRINE_DEVICE_METHOD void operator()(pack<T, V> &y, const pack<T, V> &x) const
    {
        for (int i = 0; i < V; i++) y.at[i] = x.at[V > 1 ? i ^ 1 : i];
    }
};

/* In place is safe: a thread reads both neighbours before it writes either. */
template <class T> TRINE_KERNEL(map_threads)
swap_kernel(walk<2, divider64> rows, int64_t n, int64_t pairs, int64_t y_step, int64_t x_step, T *y, const T *x)
{
    const int64_t a_row = (n + 1) / 2;
    for (int64_t p = int64_t(target::block_x()) * map_threads + target::thread_x(); p < pairs;
         p += int64_t(target::grid_x()) * map_threads) {
        const int64_t row = p / a_row, column = (p - row * a_row) * 2;
        int64_t offset[2];
        rows.offsets(row, offset);
        const T first = x[offset[1] + column * x_step];
        if (column + 1 == n) {
            y[offset[0] + column * y_step] = first;
        } else {
            const T second = x[offset[1] + (column + 1) * x_step];
            y[offset[0] + column * y_step] = second;
            y[offset[0] + (column + 1) * y_step] = first;
        }
    }
}

inline trine_status swap(trine_call *call, const trine_swap_args *a)
{
    const trine_tensor *t[] = {&a->y, &a->x};
    int64_t n;
    const trine_iter rows = trine_iter_rows(t, 2, &n);
    if (rows.numel == 0 || n == 0) return TRINE_OK;
    return visit_bits(call, a->y.dtype, [&](auto tag_) {
        using T = typename decltype(tag_)::type;
        const int last = a->y.ndim - 1;
        T *y = data_of<T>(a->y);
        const T *x = data_of<T>(a->x);
        /* a dense tensor of rows of whole packs is one long row of pairs */
        constexpr int V = pack_of<T>;
        if (n % V == 0 && trine_tensor_is_contiguous(&a->y) && trine_tensor_is_contiguous(&a->x) && aligned16(y) && aligned16(x))
            return map<T, T>(call, f_swap{}, a->y, a->x);
        const int64_t pairs = rows.numel * ((n + 1) / 2), blocks = ceil_div(pairs, map_threads);
        return launch(call, swap_kernel<T>, grid(blocks < (1 << 24) ? blocks : 1 << 24), map_threads, 0, walk<2, divider64>(rows),
                      n, pairs, a->y.stride[last], a->x.stride[last], y, x);
    });
}

} // namespace simt

/* ---- The backend's functions ---- */

/* Every op of this family takes any arguments that pass the core's checks, and no workspace. */
#define TRINE_ELEMENTWISE(name, expression) \
    extern "C" trine_status TRINE_BACKEND_FN(name)(trine_call * call, const trine_##name##_args *a) \
    { \
        call->variant = target::variant; \
        TRINE_END_OF_QUERY(call, 0); \
        return expression; \
    }
TRINE_ELEMENTWISE(copy, simt::copy(call, a))
TRINE_ELEMENTWISE(fill, simt::fill(call, a))
TRINE_ELEMENTWISE(add, simt::binary(call, a, simt::ADD))
TRINE_ELEMENTWISE(sub, simt::binary(call, a, simt::SUB))
TRINE_ELEMENTWISE(mul, simt::binary(call, a, simt::MUL))
TRINE_ELEMENTWISE(div, simt::binary(call, a, simt::DIV))
TRINE_ELEMENTWISE(minimum, simt::binary(call, a, simt::MIN))
TRINE_ELEMENTWISE(maximum, simt::binary(call, a, simt::MAX))
TRINE_ELEMENTWISE(add_scalar, simt::with_scalar(call, a, false))
TRINE_ELEMENTWISE(scale, simt::with_scalar(call, a, true))
TRINE_ELEMENTWISE(swap, simt::swap(call, a))
#undef TRINE_ELEMENTWISE

#endif
