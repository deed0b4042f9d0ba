/* Element types on the device, and the ways from a run-time dtype to a template. */
#ifndef TRINE_SIMT_TYPES_H
#define TRINE_SIMT_TYPES_H

namespace simt {

/* Storage only; arithmetic is in f32. */
struct f16 {
    uint16_t bits;
};
struct bf16 {
    uint16_t bits;
};
template <int e5, int fnuz> struct f8 {
    uint8_t bits;
};
using f8_e4m3fn = f8<0, 0>;
using f8_e5m2 = f8<1, 0>;
using f8_e4m3fnuz = f8<0, 1>;
using f8_e5m2fnuz = f8<1, 1>;
struct boolean {
    uint8_t bits;
};

template <class T> struct tag {
    using type = T;
};

TRINE_DEVICE float to_f32(float x) { return x; }
TRINE_DEVICE float to_f32(f16 x) { return target::f16_to_f32(x.bits); }
TRINE_DEVICE float to_f32(bf16 x) { return target::bf16_to_f32(x.bits); }
template <int e5, int fnuz> TRINE_DEVICE float to_f32(f8<e5, fnuz> x) { return target::f8_to_f32<e5, fnuz>(x.bits); }
TRINE_DEVICE float to_f32(int8_t x) { return float(x); }
TRINE_DEVICE float to_f32(uint8_t x) { return float(x); }
TRINE_DEVICE float to_f32(boolean x) { return x.bits ? 1.0f : 0.0f; }

/* from_f32(tag<T>{}, x): rounded to nearest even once; integers truncate and saturate. */
TRINE_DEVICE float from_f32(tag<float>, float x) { return x; }
TRINE_DEVICE f16 from_f32(tag<f16>, float x) { return f16{target::f32_to_f16(x)}; }
TRINE_DEVICE bf16 from_f32(tag<bf16>, float x) { return bf16{target::f32_to_bf16(x)}; }
template <int e5, int fnuz> TRINE_DEVICE f8<e5, fnuz> from_f32(tag<f8<e5, fnuz>>, float x)
{
    return f8<e5, fnuz>{target::f32_to_f8<e5, fnuz>(x)};
}
template <class T> TRINE_DEVICE T from_f32(float x) { return from_f32(tag<T>{}, x); }

/* V elements that are loaded and stored together. */
template <class T, int V> struct alignas(sizeof(T) * V > 16 ? 16 : sizeof(T) * V) pack {
    T at[V];
};

/* p must be aligned to the pack (at most 16 bytes). */
template <class T, int V> TRINE_DEVICE pack<T, V> load_pack(const T *p)
{
    pack<T, V> r;
    constexpr int bytes = int(sizeof(T)) * V;
    if constexpr (bytes % 16 == 0) {
        for (int i = 0; i < bytes / 16; i++)
            reinterpret_cast<uint4 *>(&r)[i] = target::load16(reinterpret_cast<const uint4 *>(p) + i);
    } else {
        r = *reinterpret_cast<const pack<T, V> *>(p);
    }
    return r;
}
template <class T, int V> TRINE_DEVICE void store_pack(T *p, const pack<T, V> &r)
{
    constexpr int bytes = int(sizeof(T)) * V;
    if constexpr (bytes % 16 == 0) {
        for (int i = 0; i < bytes / 16; i++)
            target::store16(reinterpret_cast<uint4 *>(p) + i, reinterpret_cast<const uint4 *>(&r)[i]);
    } else {
        *reinterpret_cast<pack<T, V> *>(p) = r;
    }
}
/* The same, and nobody reads it again soon: what is read often stays in the cache. Loads so are for kernels that write little (target.h,
 * load16_once). */
template <class T, int V> TRINE_DEVICE pack<T, V> load_pack_once(const T *p)
{
    if constexpr (sizeof(T) * V == 16) {
        pack<T, V> r;
        *reinterpret_cast<uint4 *>(&r) = target::load16_once(p);
        return r;
    } else {
        return load_pack<T, V>(p);
    }
}
template <class T, int V> TRINE_DEVICE void store_pack_once(T *p, const pack<T, V> &r)
{
    if constexpr (sizeof(T) * V == 16)
        target::store16_once(p, *reinterpret_cast<const uint4 *>(&r));
    else
        store_pack<T, V>(p, r);
}

/* ---- Host: from a dtype to a type. f is called with a tag<T> and returns a trine_status. ---- */

template <class F> inline trine_status visit_floats(trine_call *call, trine_dtype dtype, F f)
{
    switch (dtype) {
    case TRINE_F32: return f(tag<float>{});
    case TRINE_F16: return f(tag<f16>{});
    case TRINE_BF16: return f(tag<bf16>{});
    default: return trine_refuse(call, "needs f32, f16 or bf16");
    }
}

/* A type of the same size, for ops that only move bits. */
template <class F> inline trine_status visit_bits(trine_call *call, trine_dtype dtype, F f)
{
    switch (trine_dtype_bits(dtype)) {
    case 8: return f(tag<uint8_t>{});
    case 16: return f(tag<uint16_t>{});
    case 32: return f(tag<uint32_t>{});
    case 64: return f(tag<uint64_t>{});
    default: return trine_refuse(call, "needs elements of whole bytes");
    }
}

template <class T> inline T *data_of(const trine_tensor &t) { return static_cast<T *>(t.data); }
inline bool aligned16(const void *p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

} // namespace simt

#endif
