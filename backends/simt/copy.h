/* Copies and casts: through a carrier that holds the source exactly (f32, or f64 and i64 for the wide ones), then one rounding. Bound
 * by bytes: see map.h. */
#ifndef TRINE_SIMT_COPY_H
#define TRINE_SIMT_COPY_H

#include "backends/simt/divider.h"
#include "backends/simt/map.h"

namespace simt {

/* The narrow floats take an f64 or i64 through f32 rounded to odd, which a second rounding does not disturb. */
TRINE_DEVICE float narrowed(float x) { return x; }
TRINE_DEVICE float narrowed(double x) { return trine_bits_f64_to_f32_odd(x); }
TRINE_DEVICE float narrowed(int64_t x) { return trine_bits_i64_to_f32_odd(x); }
TRINE_DEVICE int64_t to_i64(float x) { return trine_f32_to_i64_sat(x); }
TRINE_DEVICE int64_t to_i64(double x) { return trine_f64_to_i64_sat(x); }
TRINE_DEVICE int64_t to_i64(int64_t x) { return x; }
TRINE_DEVICE int32_t to_i32(float x) { return trine_f32_to_i32_sat(x); }
TRINE_DEVICE int32_t to_i32(double x) { return trine_f64_to_i32_sat(x); }
TRINE_DEVICE int32_t to_i32(int64_t x) { return int32_t(uint32_t(uint64_t(x))); }
TRINE_DEVICE int8_t to_i8(float x) { return trine_f32_to_i8_sat(x); }
TRINE_DEVICE int8_t to_i8(double x) { return trine_f64_to_i8_sat(x); }
TRINE_DEVICE int8_t to_i8(int64_t x) { return int8_t(uint8_t(uint64_t(x))); }
TRINE_DEVICE uint8_t to_u8(float x) { return trine_f32_to_u8_sat(x); }
TRINE_DEVICE uint8_t to_u8(double x) { return trine_f64_to_u8_sat(x); }
TRINE_DEVICE uint8_t to_u8(int64_t x) { return uint8_t(uint64_t(x)); }

template <class C> TRINE_DEVICE void store_as(tag<double>, double &y, C x) { y = double(x); }
template <class C> TRINE_DEVICE void store_as(tag<float>, float &y, C x) { y = float(x); }
template <class C> TRINE_DEVICE void store_as(tag<int64_t>, int64_t &y, C x) { y = to_i64(x); }
template <class C> TRINE_DEVICE void store_as(tag<int32_t>, int32_t &y, C x) { y = to_i32(x); }
template <class C> TRINE_DEVICE void store_as(tag<int8_t>, int8_t &y, C x) { y = to_i8(x); }
template <class C> TRINE_DEVICE void store_as(tag<uint8_t>, uint8_t &y, C x) { y = to_u8(x); }
template <class C> TRINE_DEVICE void store_as(tag<boolean>, boolean &y, C x) { y.bits = x != C(0); }
template <class T, class C> TRINE_DEVICE void store_as(tag<T> t, T &y, C x) { y = from_f32(t, narrowed(x)); }
/* Instructions may give any NaN; a cast gives that of trine_f32_to_f16. */
template <class C> TRINE_DEVICE void store_as(tag<f16> t, f16 &y, C x)
{
    const float v = narrowed(x);
    y = v == v ? from_f32(t, v) : f16{trine_bits_f32_to_f16(v)};
}
template <class C> TRINE_DEVICE void store_as(tag<bf16> t, bf16 &y, C x)
{
    const float v = narrowed(x);
    y = v == v ? from_f32(t, v) : bf16{trine_bits_f32_to_bf16(v)};
}

template <class X> TRINE_DEVICE float carried(X x) { return to_f32(x); }
/* The same for that of trine_f16_to_f32. */
TRINE_DEVICE float carried(f16 x) { return (x.bits & 0x7fffu) > 0x7c00u ? trine_bits_f16_to_f32(x.bits) : to_f32(x); }
TRINE_DEVICE double carried(double x) { return x; }
TRINE_DEVICE int64_t carried(int64_t x) { return x; }
TRINE_DEVICE int64_t carried(int32_t x) { return x; }
TRINE_DEVICE int64_t carried(int8_t x) { return x; }
TRINE_DEVICE int64_t carried(uint8_t x) { return x; }

struct f_cast {
    template <class Y, class X, int V> TRINE_DEVICE_METHOD void operator()(pack<Y, V> &y, const pack<X, V> &x) const
    {
#pragma unroll
        for (int i = 0; i < V; i++) store_as(tag<Y>{}, y.at[i], carried(x.at[i]));
    }
};

/* To and from codes of eight bits of a format that is known at run time: one kernel for all four. */
template <class F> TRINE_DEVICE void with_fp8(trine_dtype format, F f)
{
    switch (format) {
    case TRINE_F8_E4M3FN: return f(tag<f8_e4m3fn>{});
    case TRINE_F8_E5M2: return f(tag<f8_e5m2>{});
    case TRINE_F8_E4M3FNUZ: return f(tag<f8_e4m3fnuz>{});
    default: return f(tag<f8_e5m2fnuz>{});
    }
}
struct f_encode {
    trine_dtype format;
    template <class X, int V> TRINE_DEVICE_METHOD void operator()(pack<uint8_t, V> &y, const pack<X, V> &x) const
    {
        with_fp8(format, [&](auto t) {
#pragma unroll
            for (int i = 0; i < V; i++) {
                typename decltype(t)::type code;
                store_as(t, code, carried(x.at[i]));
                y.at[i] = code.bits;
            }
        });
    }
};
struct f_decode {
    trine_dtype format;
    template <class Y, int V> TRINE_DEVICE_METHOD void operator()(pack<Y, V> &y, const pack<uint8_t, V> &x) const
    {
        with_fp8(format, [&](auto t) {
#pragma unroll
            for (int i = 0; i < V; i++) {
                typename decltype(t)::type code;
                code.bits = x.at[i];
                store_as(tag<Y>{}, y.at[i], carried(code));
            }
        });
    }
};

/* Any pair of dtypes, one element at a time: what no kernel of its own is worth. */
template <class X> TRINE_DEVICE void cast_element(void *y, trine_dtype to, int64_t i, X x)
{
    const auto v = carried(x);
    const auto store = [&](auto t) { store_as(t, static_cast<typename decltype(t)::type *>(y)[i], v); };
    switch (to) {
    case TRINE_F64: return store(tag<double>{});
    case TRINE_F32: return store(tag<float>{});
    case TRINE_F16: return store(tag<f16>{});
    case TRINE_BF16: return store(tag<bf16>{});
    case TRINE_F8_E4M3FN: return store(tag<f8_e4m3fn>{});
    case TRINE_F8_E5M2: return store(tag<f8_e5m2>{});
    case TRINE_F8_E4M3FNUZ: return store(tag<f8_e4m3fnuz>{});
    case TRINE_F8_E5M2FNUZ: return store(tag<f8_e5m2fnuz>{});
    case TRINE_I64: return store(tag<int64_t>{});
    case TRINE_I32: return store(tag<int32_t>{});
    case TRINE_I8: return store(tag<int8_t>{});
    case TRINE_U8: return store(tag<uint8_t>{});
    case TRINE_BOOL: return store(tag<boolean>{});
    default: return;
    }
}

template <class X> TRINE_KERNEL(map_threads)
cast_any_kernel(walk<2, divider_any> all, int64_t n, void *y, trine_dtype to, const X *x)
{
    for (int64_t i = int64_t(target::block_x()) * map_threads + target::thread_x(); i < n;
         i += int64_t(target::grid_x()) * map_threads) {
        int64_t offset[2];
        all.offsets(i, offset);
        cast_element(y, to, offset[0], x[offset[1]]);
    }
}

/* From any dtype to its type. */
template <class F> inline trine_status visit_any(trine_call *call, trine_dtype dtype, F f)
{
    switch (dtype) {
    case TRINE_F64: return f(tag<double>{});
    case TRINE_F8_E4M3FN: return f(tag<f8_e4m3fn>{});
    case TRINE_F8_E5M2: return f(tag<f8_e5m2>{});
    case TRINE_F8_E4M3FNUZ: return f(tag<f8_e4m3fnuz>{});
    case TRINE_F8_E5M2FNUZ: return f(tag<f8_e5m2fnuz>{});
    case TRINE_I64: return f(tag<int64_t>{});
    case TRINE_I32: return f(tag<int32_t>{});
    case TRINE_I8: return f(tag<int8_t>{});
    case TRINE_U8: return f(tag<uint8_t>{});
    case TRINE_BOOL: return f(tag<boolean>{});
    default: return visit_floats(call, dtype, f);
    }
}

inline trine_status cast_any(trine_call *call, const trine_copy_args *a, const trine_iter &it)
{
    return visit_any(call, a->x.dtype, [&](auto tx) {
        using X = typename decltype(tx)::type;
        const int64_t blocks = ceil_div(it.numel, map_threads);
        const grid g(blocks < (1 << 24) ? blocks : 1 << 24);
        return launch(call, cast_any_kernel<X>, g, map_threads, 0, walk<2, divider_any>(it), it.numel, a->y.data, a->y.dtype,
                      data_of<X>(a->x));
    });
}

/* The pairs that training and inference spend their time on: among f32, f16 and bf16, and between these and fp8. */
inline bool is_fp8(trine_dtype d) { return d >= TRINE_F8_E4M3FN && d <= TRINE_F8_E5M2FNUZ; }
inline bool is_float(trine_dtype d) { return d == TRINE_F32 || d == TRINE_F16 || d == TRINE_BF16; }

inline bool cast_packed(trine_call *call, const trine_copy_args *a, const trine_iter &it, trine_status *status)
{
    bool done = false;
    const auto run = [&](auto ty, auto tx, auto f) {
        using Y = typename decltype(ty)::type;
        using X = typename decltype(tx)::type;
        done = map_packed<packs_of<Y, X>>(call, f, it, status, data_of<Y>(a->y), static_cast<const X *>(data_of<X>(a->x)));
        return TRINE_OK;
    };
    const tag<uint8_t> code;
    if (is_float(a->x.dtype) && is_float(a->y.dtype))
        visit_floats(call, a->x.dtype,
                     [&](auto tx) { return visit_floats(call, a->y.dtype, [&](auto ty) { return run(ty, tx, f_cast{}); }); });
    else if (is_float(a->x.dtype) && is_fp8(a->y.dtype))
        visit_floats(call, a->x.dtype, [&](auto tx) { return run(code, tx, f_encode{a->y.dtype}); });
    else if (is_fp8(a->x.dtype) && is_float(a->y.dtype))
        visit_floats(call, a->y.dtype, [&](auto ty) { return run(ty, code, f_decode{a->x.dtype}); });
    return done;
}

inline trine_status copy(trine_call *call, const trine_copy_args *a)
{
    if (a->x.dtype == a->y.dtype && a->x.dtype != TRINE_BOOL)
        return visit_bits(call, a->y.dtype, [&](auto t) {
            using T = typename decltype(t)::type;
            return map<T, T>(call, f_same{}, a->y, a->x);
        });
    const trine_tensor *t[] = {&a->y, &a->x};
    const trine_iter it = trine_iter_make(t, 2, 0);
    trine_status status = TRINE_OK;
    if (it.numel == 0 || cast_packed(call, a, it, &status)) return status;
    return cast_any(call, a, it);
}

} // namespace simt

#endif
