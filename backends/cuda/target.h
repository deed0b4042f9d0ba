/* NVIDIA's side of the simt dialect: what backends/simt/ needs and each vendor spells differently. backends/hip/target.h
 * defines the same names; backends/simt/README.md lists them. */
#ifndef TRINE_CUDA_TARGET_H
#define TRINE_CUDA_TARGET_H

#include <cuda_runtime.h>
#include <stdint.h>
#include <stdlib.h>

#define TRINE_INLINE static __host__ __device__ __forceinline__
#define TRINE_DEVICE static __device__ __forceinline__
/* Inside a struct or template, where `static` has another meaning or none is wanted. */
#define TRINE_METHOD __host__ __device__ __forceinline__
#define TRINE_DEVICE_METHOD __device__ __forceinline__
#define TRINE_KERNEL(threads) __global__ void __launch_bounds__(threads)
#define TRINE_SHARED __shared__

/* The exported function of op `name`. */
#define TRINE_BACKEND_FN(name) trine_cuda_##name

#include "backends/simt/device.h"
#include "backends/simt/f8_word.h"
#include "core/float_bits.h"

namespace target {

using stream = cudaStream_t;
constexpr const char *variant = "simt";

/* Whether a file may ask for what devices after compute capability 8.0 have. Files that need not get sm_90's machine code from the
 * same PTX as sm_80's (uses_sm90 in meson.build). */
#if defined TRINE_CODE_SM80
template <int> constexpr bool asks_later = false;
#else
template <int> constexpr bool asks_later = true;
#endif

/* Waves: threads that run in lock step and can exchange registers. */
TRINE_DEVICE constexpr int wave_size() { return 32; }
enum { max_waves = 32 }; /* in a block of 1024 threads, whatever the wave size */

TRINE_DEVICE int thread_x() { return int(threadIdx.x); }
TRINE_DEVICE int thread_y() { return int(threadIdx.y); }
TRINE_DEVICE int block_threads() { return int(blockDim.x); }
TRINE_DEVICE unsigned block_x() { return blockIdx.x; }
TRINE_DEVICE unsigned block_y() { return blockIdx.y; }
TRINE_DEVICE unsigned block_z() { return blockIdx.z; }
TRINE_DEVICE unsigned grid_x() { return gridDim.x; }

TRINE_DEVICE void barrier() { __syncthreads(); }
#if !defined TRINE_CODE_SM80
/* Between two kernels of a stream (PTX ISA, "griddepcontrol"): from here on the blocks of the next may start beside this one's;
 * and until the kernel before has ended and its writes can be seen. */
TRINE_DEVICE void let_next_start()
{
#if defined __CUDA_ARCH__ && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
TRINE_DEVICE void wait_for_previous()
{
#if defined __CUDA_ARCH__ && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
#endif
/* All threads of the wave must take part; T is 4 or 8 bytes. */
template <class T> TRINE_DEVICE T shuffle_xor(T value, int mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }
template <class T> TRINE_DEVICE T shuffle(T value, int lane) { return __shfl_sync(0xffffffffu, value, lane); }
/* Over all threads of the wave. */
TRINE_DEVICE int32_t wave_maximum(int32_t x) { return __reduce_max_sync(0xffffffffu, x); }
TRINE_DEVICE uint32_t wave_minimum(uint32_t x) { return __reduce_min_sync(0xffffffffu, x); }
/* A bit for every lane of the wave, of those lanes whose `is` holds; all threads of the wave must take part. */
using lane_set = uint32_t;
TRINE_DEVICE lane_set ballot(bool is) { return __ballot_sync(0xffffffffu, is); }
TRINE_DEVICE int count_lanes(lane_set lanes) { return __popc(lanes); }
/* What the wave's threads wrote to memory before is seen by them all. */
TRINE_DEVICE void wave_barrier() { __syncwarp(); }

/* f32 functions. exp2, log2, rcp and rsqrt_fast: the hardware's, about 2 ulp (exp2 and rcp flush subnormals); the others IEEE. */
TRINE_DEVICE float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
TRINE_DEVICE float log2_fast(float x)
{
    float y;
    asm("lg2.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
TRINE_DEVICE float rcp_fast(float x)
{
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
TRINE_DEVICE float sqrt_ieee(float x) { return __fsqrt_rn(x); }
TRINE_DEVICE float rsqrt_fast(float x)
{
    float y;
    asm("rsqrt.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
TRINE_DEVICE float rsqrt_ieee(float x) { return __frsqrt_rn(x); }
TRINE_DEVICE float div_ieee(float a, float b) { return __fdiv_rn(a, b); }
/* n / d for 0 <= n < 2^50 and 0 < d < 2^50; here a kernel has one copy of it, which is called. */
TRINE_INLINE int64_t divide_long(int64_t n, int64_t d) { return n / d; }
/* Never contracted into a multiply-add. */
TRINE_DEVICE float mul_rn(float a, float b) { return __fmul_rn(a, b); }
TRINE_DEVICE float add_rn(float a, float b) { return __fadd_rn(a, b); }
TRINE_DEVICE float fma_rn(float a, float b, float c) { return __fmaf_rn(a, b, c); }
/* NaN wins; -0 < +0. */
TRINE_DEVICE float minimum(float a, float b)
{
    float y;
    asm("min.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
    return y;
}
TRINE_DEVICE float maximum(float a, float b)
{
    float y;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
    return y;
}
/* Of both halves of a word, each a 16-bit float by its bits: what maximum() gives, and ones where a > b. */
constexpr bool has_pairs = true;
#define TRINE_OF_PAIRS(name, f16_code, bf16_code) \
    template <bool is_bf16> TRINE_DEVICE uint32_t name##_of_pairs(uint32_t a, uint32_t b) \
    { \
        uint32_t y; \
        if constexpr (is_bf16) \
            asm(bf16_code " %0, %1, %2;" : "=r"(y) : "r"(a), "r"(b)); \
        else \
            asm(f16_code " %0, %1, %2;" : "=r"(y) : "r"(a), "r"(b)); \
        return y; \
    }
TRINE_OF_PAIRS(maximum, "max.NaN.f16x2", "max.NaN.bf16x2")
#if !defined __CUDA_ARCH__ || __CUDA_ARCH__ >= 900
TRINE_OF_PAIRS(greater, "set.gt.u32.f16x2", "set.gt.u32.bf16x2")
#else /* which has no comparison of pairs of bf16 */
template <bool is_bf16> TRINE_DEVICE uint32_t greater_of_pairs(uint32_t a, uint32_t b)
{
    static_assert(asks_later<is_bf16>, "name the family in uses_sm90");
    if constexpr (is_bf16) {
        const bool low = __uint_as_float(a << 16) > __uint_as_float(b << 16);
        const bool high = __uint_as_float(a & 0xffff0000u) > __uint_as_float(b & 0xffff0000u);
        return (low ? 0xffffu : 0) | (high ? 0xffff0000u : 0);
    } else {
        uint32_t y;
        asm("set.gt.u32.f16x2 %0, %1, %2;" : "=r"(y) : "r"(a), "r"(b));
        return y;
    }
}
#endif
#undef TRINE_OF_PAIRS
/* -0 becomes 0, all else stays. */
template <bool is_bf16> TRINE_DEVICE uint32_t equal_zeros_of_pairs(uint32_t a)
{
    uint32_t y;
    if constexpr (is_bf16)
        asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(y) : "r"(a), "r"(0x3f803f80u), "r"(0u));
    else
        asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(y) : "r"(a), "r"(0x3c003c00u), "r"(0u));
    return y;
}
TRINE_DEVICE double mul_rn(double a, double b) { return __dmul_rn(a, b); }
TRINE_DEVICE double add_rn(double a, double b) { return __dadd_rn(a, b); }
TRINE_DEVICE double sqrt_ieee(double x) { return __dsqrt_rn(x); }

/* 16-bit floats by bits: one instruction each way; same results as core/float_bits.h, but a NaN may become another one. */
TRINE_DEVICE float f16_to_f32(uint16_t bits)
{
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(bits));
    return y;
}
TRINE_DEVICE uint16_t f32_to_f16(float x)
{
    uint16_t y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}
TRINE_DEVICE float bf16_to_f32(uint16_t bits) { return __uint_as_float(uint32_t(bits) << 16); }
TRINE_DEVICE uint16_t f32_to_bf16(float x)
{
    uint16_t y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}

/* fp8 by bits, equal to core/float_bits.h, saturating. From compute capability 8.9 on by instructions for the OCP formats. */
template <int e5, int fnuz> TRINE_DEVICE uint8_t f32_to_f8(float x)
{
    static_assert(asks_later<e5>, "name the family in uses_sm90");
#if defined __CUDA_ARCH__ && __CUDA_ARCH__ >= 890
    if constexpr (!fnuz) {
        uint16_t pair;
        if constexpr (e5)
            asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(x));
        else
            asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(x));
        return uint8_t(x == x ? pair : e5 ? 0x7e : 0x7f);
    }
#endif
    return trine_bits_f32_to_f8(x, e5, fnuz);
}

/* Four of them as a word, the first in the lowest byte. The fnuz formats by the same instructions: their codes are worth half of
 * the OCP ones, which lack the largest e4m3 and the four largest e5m2, whose codes are 12 above those of an eighth of the number.
 */
#if defined __CUDA_ARCH__ && __CUDA_ARCH__ >= 890
template <int e5> TRINE_DEVICE uint32_t f32_to_ocp_four(const float (&x)[4])
{
    uint16_t low, high;
    if constexpr (e5) {
        asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(low) : "f"(x[1]), "f"(x[0]));
        asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(high) : "f"(x[3]), "f"(x[2]));
    } else {
        asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(low) : "f"(x[1]), "f"(x[0]));
        asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(high) : "f"(x[3]), "f"(x[2]));
    }
    return uint32_t(low) | uint32_t(high) << 16;
}
#endif
template <int e5, int fnuz> TRINE_DEVICE uint32_t f32_to_f8_four(const float (&x)[4])
{
    static_assert(asks_later<e5>, "name the family in uses_sm90");
    uint32_t word = 0;
#if defined __CUDA_ARCH__ && __CUDA_ARCH__ >= 890
    float y[4];
    uint32_t more = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const bool large = fnuz && (e5 ? fabsf(x[i]) >= 30720.0f : fabsf(x[i]) > 232.0f); /* from the middle on */
        y[i] = fnuz ? x[i] + x[i] : x[i];
        if (e5 && large) y[i] = fminf(fmaxf(x[i], -57344.0f), 57344.0f) * 0.25f;
        if (large) more += (e5 ? 12u : 1u) << 8 * i;
    }
    word = f32_to_ocp_four<e5>(y);
    /* of NaN the instructions make 0x7f, with or without a sign; finite codes of e5m2 are below 0x7c */
    const uint32_t magnitude = word & 0x7f7f7f7fu, nan = (magnitude + (e5 ? 0x04040404u : 0x01010101u)) >> 7 & 0x01010101u;
    if (fnuz) word = (word & ((magnitude + 0x7f7f7f7fu) | 0x7f7f7f7fu)) + more; /* no -0 */
    return (word & ~(nan * 0xffu)) | nan * (fnuz ? 0x80u : e5 ? 0x7eu : 0x7fu);
#else
    for (int i = 0; i < 4; i++) word |= uint32_t(f32_to_f8<e5, fnuz>(x[i])) << 8 * i;
    return word;
#endif
}

template <int e5, int fnuz> TRINE_DEVICE float f8_to_f32(uint8_t bits)
{
    static_assert(asks_later<e5>, "name the family in uses_sm90");
#if defined __CUDA_ARCH__ && __CUDA_ARCH__ >= 890
    if constexpr (!fnuz) {
        uint32_t pair;
        if constexpr (e5)
            asm("cvt.rn.f16x2.e5m2x2 %0, %1;" : "=r"(pair) : "h"(uint16_t(bits)));
        else
            asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(pair) : "h"(uint16_t(bits)));
        const float y = f16_to_f32(uint16_t(pair));
        /* the same NaN as there, with the code's fraction */
        const uint32_t nan =
            TRINE_F32_NAN | uint32_t(bits & 0x80u) << 24 | (e5 ? uint32_t(bits & 3u) << 21 : uint32_t(bits & 7u) << 20);
        return y == y ? y : __uint_as_float(nan);
    }
#endif
    return trine_bits_f8_to_f32(bits, e5, fnuz);
}

/* Four of a word. Which NaN a NaN becomes is open. */
template <int e5, int fnuz> TRINE_DEVICE void f8_to_f32_four(uint32_t word, float (&y)[4])
{
    static_assert(asks_later<e5>, "name the family in uses_sm90");
#if defined __CUDA_ARCH__ && __CUDA_ARCH__ >= 890
    if constexpr (!fnuz) {
        uint32_t pair[2];
        for (int i = 0; i < 2; i++)
            if constexpr (e5)
                asm("cvt.rn.f16x2.e5m2x2 %0, %1;" : "=r"(pair[i]) : "h"(uint16_t(word >> 16 * i)));
            else
                asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(pair[i]) : "h"(uint16_t(word >> 16 * i)));
        for (int i = 0; i < 4; i++) y[i] = f16_to_f32(uint16_t(pair[i / 2] >> i % 2 * 16));
    } else
#endif
    {
        for (int i = 0; i < 4; i++) y[i] = f8_of_word<e5, fnuz>(word, i);
    }
}

/* Bytes 0-3 of low and 4-7 of high, chosen by the four hexadecimal digits of `selector`, the lowest byte's last. */
template <uint32_t selector> TRINE_DEVICE uint32_t byte_permute(uint32_t low, uint32_t high)
{
    return __byte_perm(low, high, selector);
}

/* sum + both halves of `two` times the two low (half 0) or high bytes. */
template <int half> TRINE_DEVICE uint32_t dot_of_pair(uint32_t two, uint32_t bytes, uint32_t sum)
{
    return half ? __dp2a_hi(two, bytes, sum) : __dp2a_lo(two, bytes, sum);
}

/* sum + the four bytes of `a` times those of b. */
TRINE_DEVICE uint32_t dot_of_four(uint32_t a, uint32_t b, uint32_t sum) { return __dp4a(a, b, sum); }

/* Global memory in 16-byte pieces; `once` says that nobody reads it again soon, so that it need not push other lines out of the
 * caches, `moved` the same of a kernel that writes as much as it reads. Such lines are evicted first. Where a kernel only reads, it
 * pays: what it pushes out otherwise may be dirty and goes to memory meanwhile (H100, sums of 16 and 67 MB behind stores: 5 and 15 %
 * less time). Where it writes as much, it costs: softmax and norms of 134 MB and more 1 to 3 %, so moved lines are plain ones. */
TRINE_DEVICE uint4 load16(const void *p) { return *static_cast<const uint4 *>(p); }
TRINE_DEVICE uint4 load16_once(const void *p) { return __ldcs(static_cast<const uint4 *>(p)); }
TRINE_DEVICE uint4 load16_moved(const void *p) { return load16(p); }
/* To global memory alone. By an instruction of its own: an assignment of four words is four stores to the compiler, which it does
 * not always put together again. (__stwb is no plain store but one that is strong at a block's scope.) */
TRINE_DEVICE void store16(void *p, uint4 v)
{
    asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(p)), "r"(v.x), "r"(v.y), "r"(v.z),
                 "r"(v.w)
                 : "memory");
}
TRINE_DEVICE void store8(void *p, uint2 v)
{
    asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(p)), "r"(v.x), "r"(v.y) : "memory");
}
TRINE_DEVICE void store16_once(void *p, uint4 v) { __stcs(static_cast<uint4 *>(p), v); }
TRINE_DEVICE void store16_moved(void *p, uint4 v) { store16(p, v); }

/* Makes a register's value unknown to the compiler, so that what was derived from it is computed again, not held in registers. */
TRINE_DEVICE void derive_again(uint4 &v) { asm volatile("" : "+r"(v.x), "+r"(v.y), "+r"(v.z), "+r"(v.w)); }
/* The kernel's first argument: here instructions read arguments from the constant bank. */
template <class T> TRINE_DEVICE const T &first_argument(const T &p) { return p; }
/* To the cache that all blocks share. */
TRINE_DEVICE void prefetch(const void *p) { asm volatile("prefetch.global.L2 [%0];" ::"l"(p)); }
/* Words that blocks of a running kernel hand to each other: whole, and at the device's scope; they order nothing else. */
TRINE_DEVICE uint32_t atomic_add(uint32_t *p, uint32_t value) { return atomicAdd(p, value); }
TRINE_DEVICE void publish(uint64_t *p, uint64_t word)
{
    asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(__cvta_generic_to_global(p)), "l"(word) : "memory");
}
TRINE_DEVICE uint64_t load_published(const uint64_t *p)
{
    uint64_t word;
    asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(word) : "l"(__cvta_generic_to_global(p)) : "memory");
    return word;
}

/* Dynamic shared memory, 16-byte aligned. */
TRINE_DEVICE unsigned char *dynamic_shared()
{
    extern __shared__ __align__(16) unsigned char trine_dynamic_shared[];
    return trine_dynamic_shared;
}

/* `bytes` (16, 8, 4 or 2) from global to shared memory, seen by this thread after wait_for_copies() (PTX ISA, "cp.async"). */
template <int bytes> TRINE_DEVICE void copy_to_shared(void *to, const void *from)
{
    const uint32_t there = uint32_t(__cvta_generic_to_shared(to));
    if constexpr (bytes == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(there), "l"(from) : "memory");
    else if constexpr (bytes > 2)
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(there), "l"(from), "n"(bytes) : "memory");
    else
        *static_cast<uint16_t *>(to) = *static_cast<const uint16_t *>(from);
}
TRINE_DEVICE void wait_for_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

/* ---- Host side ---- */

/* After a launch: TRINE_OK, or DEVICE with the reason in call->why. */
inline trine_status launched(trine_call *call)
{
    cudaError_t error = cudaGetLastError();
    if (error == cudaSuccess) return TRINE_OK;
    snprintf(call->why, sizeof call->why, "launch failed: %s", cudaGetErrorString(error));
    return error == cudaErrorMemoryAllocation ? TRINE_ERROR_OUT_OF_MEMORY : TRINE_ERROR_DEVICE;
}

/* simt::launch_next: beside the end of the kernel before, from compute capability 9.0 on. */
template <class... P, class... A>
inline trine_status launch_next(trine_call *call, void (*kernel)(P...), unsigned blocks, unsigned threads, A... args)
{
    cudaLaunchAttribute early;
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(blocks);
    config.blockDim = dim3(threads);
    config.stream = static_cast<stream>(call->native);
    config.attrs = &early;
    config.numAttrs = atoi(call->device->props.arch + sizeof "sm_" - 1) >= 90;
    cudaLaunchKernelEx(&config, kernel, static_cast<P>(args)...);
    return launched(call);
}

/* Allows a kernel more than the 48 KiB of dynamic shared memory that every device has. */
template <class Kernel> inline void allow_shared(Kernel *kernel, size_t bytes)
{
    if (bytes > 48 * 1024)
        cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes));
}

} // namespace target

#endif
