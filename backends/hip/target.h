/* AMD's side of the simt dialect: the same names as backends/cuda/target.h; backends/simt/README.md lists them.
 *
 * Compiled with -nogpulib -nogpuinc: device code is made of the compiler's builtins and calls no device library, so that it needs
 * neither ROCm's bitcode nor a version of it that knows the chip. Code object version 5 or later (grid_x). */
#ifndef TRINE_HIP_TARGET_H
#define TRINE_HIP_TARGET_H

#include <hip/hip_runtime_api.h>
#include <hip/hip_vector_types.h>
#include <stdint.h>

#define TRINE_INLINE static inline __attribute__((host, device, always_inline))
#define TRINE_DEVICE static inline __attribute__((device, always_inline))
/* Inside a struct or template, where `static` has another meaning or none is wanted. */
#define TRINE_METHOD inline __attribute__((host, device, always_inline))
#define TRINE_DEVICE_METHOD inline __attribute__((device, always_inline))
#define TRINE_KERNEL(threads) __attribute__((global, amdgpu_flat_work_group_size(1, threads))) void
#define TRINE_SHARED __attribute__((shared))

/* The exported function of op `name`. */
#define TRINE_BACKEND_FN(name) trine_hip_##name

#include "backends/simt/device.h"
#include "backends/simt/f8_word.h"
#include "core/float_bits.h"

namespace target {

using stream = hipStream_t;
constexpr const char *variant = "simt";

/* Waves: threads that run in lock step and can exchange registers. CDNA has waves of 64; RDNA is compiled for 32, its default.
 * In host code the number means nothing, so it can't be called there. */
#if defined __GFX9__
TRINE_DEVICE constexpr int wave_size() { return 64; }
#else
TRINE_DEVICE constexpr int wave_size() { return 32; }
#endif
enum { max_waves = 32 }; /* in a block of 1024 threads, whatever the wave size */

TRINE_DEVICE int thread_x() { return int(__builtin_amdgcn_workitem_id_x()); }
TRINE_DEVICE int thread_y() { return int(__builtin_amdgcn_workitem_id_y()); }
TRINE_DEVICE int block_threads() { return int(__builtin_amdgcn_workgroup_size_x()); }
TRINE_DEVICE unsigned block_x() { return __builtin_amdgcn_workgroup_id_x(); }
TRINE_DEVICE unsigned block_y() { return __builtin_amdgcn_workgroup_id_y(); }
TRINE_DEVICE unsigned block_z() { return __builtin_amdgcn_workgroup_id_z(); }
/* The first hidden argument (hidden_block_count_x); the builtin for the grid's size counts threads and would cost a division. */
TRINE_DEVICE unsigned grid_x() { return *(const __attribute__((address_space(4))) unsigned *)__builtin_amdgcn_implicitarg_ptr(); }

/* The fences order LDS and global memory, as __syncthreads does. */
TRINE_DEVICE void barrier()
{
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
    __builtin_amdgcn_s_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}
/* Kernels of a stream follow each other whole. */
TRINE_DEVICE void let_next_start() {}
TRINE_DEVICE void wait_for_previous() {}

/* ---- Exchange inside a wave ---- */

TRINE_DEVICE int lane_id()
{
    unsigned low = __builtin_amdgcn_mbcnt_lo(~0u, 0u);
    return int(wave_size() == 64 ? __builtin_amdgcn_mbcnt_hi(~0u, low) : low);
}

/* The register of the lane that a DPP control (see the ISA manuals) selects: a modifier of an instruction, no trip through
 * LDS. */
template <int control> TRINE_DEVICE int dpp(int value) { return __builtin_amdgcn_mov_dpp(value, control, 0xf, 0xf, true); }

/* quad_perm, rotation and mirrors of a row of 16 lanes make the xors up to 8. */
enum { dpp_xor1 = 0xb1, dpp_xor2 = 0x4e, dpp_xor3 = 0x1b, dpp_ror8 = 0x128, dpp_half_mirror = 0x141 };

/* The empty asm keeps v_permlanex16 where it stands: up to LLVM 20 it does not count as convergent, and was moved into a branch whose
 * other lanes it should read (llvm-project pull request 142962; the reduction of NaN in amax on gfx1100). */
TRINE_DEVICE int xor16(int value)
{
#if defined __GFX9__
    return __builtin_amdgcn_ds_swizzle(value, 16 << 10 | 0x1f);
#elif defined __AMDGCN__
    int other = int(__builtin_amdgcn_permlanex16(0u, unsigned(value), 0x76543210u, 0xfedcba98u, false, false));
    asm volatile("" : "+v"(other));
    return other;
#else
    return value; /* the host's pass only parses this */
#endif
}

/* Chosen while compiling where the mask is known then, which the unrolled loop of a reduction makes it. */
TRINE_DEVICE int exchange_xor(int value, int mask)
{
    if (__builtin_constant_p(mask)) {
        switch (mask) {
        case 1: return dpp<dpp_xor1>(value);
        case 2: return dpp<dpp_xor2>(value);
        case 4: return dpp<dpp_xor3>(dpp<dpp_half_mirror>(value)); /* 7 ^ 3 */
        case 8: return dpp<dpp_ror8>(value);
        case 16: return xor16(value);
        }
    }
    return __builtin_amdgcn_ds_bpermute((lane_id() ^ mask) << 2, value);
}

/* A value as registers. */
template <class T> struct words {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "exchanges move 4 or 8 bytes");
    int word[sizeof(T) / 4];
};

/* All threads of the wave must take part; T is 4 or 8 bytes. */
template <class T> TRINE_DEVICE T shuffle_xor(T value, int mask)
{
    words<T> w = __builtin_bit_cast(words<T>, value);
    for (int &word : w.word) word = exchange_xor(word, mask);
    return __builtin_bit_cast(T, w);
}
template <class T> TRINE_DEVICE T shuffle(T value, int lane)
{
    words<T> w = __builtin_bit_cast(words<T>, value);
    for (int &word : w.word) word = __builtin_amdgcn_ds_bpermute(lane << 2, word);
    return __builtin_bit_cast(T, w);
}
/* Over all threads of the wave. */
TRINE_DEVICE int32_t wave_maximum(int32_t x)
{
#pragma unroll
    for (int mask = wave_size() / 2; mask > 0; mask /= 2) {
        const int32_t other = shuffle_xor(x, mask);
        x = other > x ? other : x;
    }
    return x;
}
TRINE_DEVICE uint32_t wave_minimum(uint32_t x)
{
#pragma unroll
    for (int mask = wave_size() / 2; mask > 0; mask /= 2) {
        const uint32_t other = shuffle_xor(x, mask);
        x = other < x ? other : x;
    }
    return x;
}

/* A bit for every lane of the wave, of those lanes whose `is` holds; all threads of the wave must take part. */
using lane_set = uint64_t;
TRINE_DEVICE lane_set ballot(bool is)
{
#if defined __GFX9__
    return __builtin_amdgcn_ballot_w64(is);
#elif defined __AMDGCN__
    return __builtin_amdgcn_ballot_w32(is);
#else
    return is;
#endif
}
TRINE_DEVICE int count_lanes(lane_set lanes) { return __builtin_popcountll(lanes); }
/* What the wave's threads wrote to memory before is seen by them all. */
TRINE_DEVICE void wave_barrier()
{
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "wavefront");
    __builtin_amdgcn_wave_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "wavefront");
}

/* ---- f32 functions. exp2, log2 and rcp: the hardware's, about 1 ulp, subnormals count as 0; the others IEEE. ---- */

TRINE_DEVICE float exp2_fast(float x) { return __builtin_amdgcn_exp2f(x); }
TRINE_DEVICE float log2_fast(float x) { return __builtin_amdgcn_logf(x); }
TRINE_DEVICE float rcp_fast(float x) { return __builtin_amdgcn_rcpf(x); }
TRINE_DEVICE float sqrt_ieee(float x) { return __builtin_sqrtf(x); }
TRINE_DEVICE float div_ieee(float a, float b) { return a / b; }
/* n / d for 0 <= n < 2^50 and 0 < d < 2^50: more elements than any memory has. The compiler writes 130 instructions for every
 * division of 64 bits; these are a quarter. Two steps bring the reciprocal from the hardware's 2^-23 to 2^-51, so that the quotient
 * is off by less than one before it is cut, and by at most one after. */
TRINE_INLINE int64_t divide_long(int64_t n, int64_t d)
{
#if defined __AMDGCN__
    const double wide = double(d);
    double x = __builtin_amdgcn_rcp(wide);
    x = __builtin_fma(__builtin_fma(-wide, x, 1.0), x, x);
    x = __builtin_fma(__builtin_fma(-wide, x, 1.0), x, x);
    const int64_t q = int64_t(double(n) * x), left = n - q * d;
    return q + (left >= d ? 1 : 0) - (left < 0 ? 1 : 0);
#else
    return n / d;
#endif
}
/* One step of third order in f64 from the hardware's 2^-23: its error of less than 2^-51 never reaches a rounding boundary of f32
 * (checked for all significands). 0, inf, NaN and negative numbers keep the hardware's answer. */
TRINE_DEVICE float rsqrt_ieee(float x)
{
#pragma clang fp contract(off)
    double wide = x;
    double y = __builtin_amdgcn_rsq(wide);
    double residual = __builtin_fma(-wide * y, y, 1.0);
    double refined = __builtin_fma(y * residual, __builtin_fma(residual, 0.375, 0.5), y);
    return float(x > 0.0f && x < __builtin_inff() ? refined : y);
}
TRINE_DEVICE float rsqrt_fast(float x) { return rsqrt_ieee(x); } /* the hardware's takes subnormals for 0 */
/* Never contracted into a multiply-add. */
TRINE_DEVICE float mul_rn(float a, float b)
{
#pragma clang fp contract(off)
    return a * b;
}
TRINE_DEVICE float add_rn(float a, float b)
{
#pragma clang fp contract(off)
    return a + b;
}
TRINE_DEVICE float fma_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
/* NaN wins, the first if both are; -0 < +0, as v_min_f32 and v_max_f32 order them (their pseudocode in AMD's ISA documents). */
TRINE_DEVICE float minimum(float a, float b)
{
    const float other = b != b ? b : __builtin_fminf(a, b);
    return a != a ? a : other;
}
TRINE_DEVICE float maximum(float a, float b)
{
    const float other = b != b ? b : __builtin_fmaxf(a, b);
    return a != a ? a : other;
}
/* No instruction of both halves of a word knows NaN. */
constexpr bool has_pairs = false;
template <bool is_bf16> TRINE_DEVICE uint32_t maximum_of_pairs(uint32_t a, uint32_t b);
template <bool is_bf16> TRINE_DEVICE uint32_t greater_of_pairs(uint32_t a, uint32_t b);
template <bool is_bf16> TRINE_DEVICE uint32_t equal_zeros_of_pairs(uint32_t a);
TRINE_DEVICE double sqrt_ieee(double x) { return __builtin_sqrt(x); }
TRINE_DEVICE double mul_rn(double a, double b)
{
#pragma clang fp contract(off)
    return a * b;
}
TRINE_DEVICE double add_rn(double a, double b)
{
#pragma clang fp contract(off)
    return a + b;
}

/* ---- 16-bit floats by bits: same results as core/float_bits.h ---- */

TRINE_DEVICE float f16_to_f32(uint16_t bits) { return float(__builtin_bit_cast(_Float16, bits)); }
/* Keeps the rounding apart from a multiplication before it: clang 19 makes one v_fma_mixlo_f16 of both, whose addend of +0 turns
 * -0 into 0 and which may round once where f32 and f16 are meant. */
TRINE_DEVICE float apart(float x)
{
#if defined __AMDGCN__
    __asm__("" : "+v"(x));
#endif
    return x;
}
TRINE_DEVICE uint16_t f32_to_f16(float x)
{
    uint32_t nan = (__builtin_bit_cast(uint32_t, x) >> 16 & 0x8000u) | 0x7e00u;
    uint32_t y = __builtin_bit_cast(uint16_t, _Float16(apart(x)));
    return uint16_t(__builtin_unpredictable(x == x) ? y : nan); /* a select, not a branch */
}
TRINE_DEVICE float bf16_to_f32(uint16_t bits) { return __builtin_bit_cast(float, uint32_t(bits) << 16); }
TRINE_DEVICE uint16_t f32_to_bf16(float x)
{
    uint32_t bits = __builtin_bit_cast(uint32_t, x);
    uint32_t nan = (bits >> 16 & 0x8000u) | 0x7fc0u;
    uint32_t y = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    return uint16_t(__builtin_unpredictable(x == x) ? y : nan);
}

/* fp8 by bits, saturating. */
template <int e5, int fnuz> TRINE_DEVICE uint8_t f32_to_f8(float x) { return trine_bits_f32_to_f8(x, e5, fnuz); }
template <int e5, int fnuz> TRINE_DEVICE float f8_to_f32(uint8_t bits) { return trine_bits_f8_to_f32(bits, e5, fnuz); }

/* Four of them as a word, the first in the lowest byte. gfx942 has instructions for fnuz, which don't saturate. */
template <int e5, int fnuz> TRINE_DEVICE uint32_t f32_to_f8_four(const float (&x)[4])
{
#if defined __gfx942__
    if constexpr (fnuz) {
        constexpr float largest = e5 ? 57344.0f : 240.0f;
        float y[4];
        for (int i = 0; i < 4; i++) y[i] = x[i] == x[i] ? __builtin_amdgcn_fmed3f(x[i], largest, -largest) : x[i];
        if constexpr (e5)
            return uint32_t(
                __builtin_amdgcn_cvt_pk_bf8_f32(y[2], y[3], __builtin_amdgcn_cvt_pk_bf8_f32(y[0], y[1], 0, false), true));
        else
            return uint32_t(
                __builtin_amdgcn_cvt_pk_fp8_f32(y[2], y[3], __builtin_amdgcn_cvt_pk_fp8_f32(y[0], y[1], 0, false), true));
    } else
#endif
    {
        uint32_t word = 0;
        for (int i = 0; i < 4; i++) word |= uint32_t(f32_to_f8<e5, fnuz>(x[i])) << 8 * i;
        return word;
    }
}

/* Four of a word. Which NaN a NaN becomes is open. */
template <int e5, int fnuz> TRINE_DEVICE void f8_to_f32_four(uint32_t word, float (&y)[4])
{
#if defined __gfx942__
    if constexpr (fnuz) {
        if constexpr (e5) {
            const auto low = __builtin_amdgcn_cvt_pk_f32_bf8(int(word), false),
                       high = __builtin_amdgcn_cvt_pk_f32_bf8(int(word), true);
            y[0] = low[0], y[1] = low[1], y[2] = high[0], y[3] = high[1];
        } else {
            const auto low = __builtin_amdgcn_cvt_pk_f32_fp8(int(word), false),
                       high = __builtin_amdgcn_cvt_pk_f32_fp8(int(word), true);
            y[0] = low[0], y[1] = low[1], y[2] = high[0], y[3] = high[1];
        }
    } else
#endif
    {
        for (int i = 0; i < 4; i++) y[i] = f8_of_word<e5, fnuz>(word, i);
    }
}

/* Bytes 0-3 of low and 4-7 of high, chosen by the four hexadecimal digits of `selector`, the lowest byte's last. */
template <uint32_t selector> TRINE_DEVICE uint32_t byte_permute(uint32_t low, uint32_t high)
{
    constexpr uint32_t bytes = (selector & 0xf) | (selector & 0xf0) << 4 | (selector & 0xf00) << 8 | (selector & 0xf000) << 12;
    return __builtin_amdgcn_perm(high, low, bytes);
}

/* sum + both halves of `two` times the two low (half 0) or high bytes. */
template <int half> TRINE_DEVICE uint32_t dot_of_pair(uint32_t two, uint32_t bytes, uint32_t sum)
{
    return sum + (two & 0xffffu) * (bytes >> 16 * half & 0xffu) + (two >> 16) * (bytes >> (16 * half + 8) & 0xffu);
}

/* sum + the four bytes of `a` times those of b. */
TRINE_DEVICE uint32_t dot_of_four(uint32_t a, uint32_t b, uint32_t sum)
{
    for (int i = 0; i < 32; i += 8) sum += (a >> i & 0xffu) * (b >> i & 0xffu);
    return sum;
}

/* ---- Global memory in 16-byte pieces ----
 * The pointers are cast to the global address space, which the compiler can't always prove and which saves the slower flat_
 * instructions: p must not point to LDS. `once` says that nobody reads it again soon, so that it need not push other lines out
 * of the caches, `moved` the same of a kernel that writes as much as it reads. */

using vector16 = uint32_t __attribute__((ext_vector_type(4)));
using global16 = __attribute__((address_space(1))) vector16;

static_assert(sizeof(uint4) == 16 && alignof(uint4) == 16, "uint4 is moved by one instruction");
TRINE_DEVICE uint4 from_vector(vector16 v) { return uint4{v.x, v.y, v.z, v.w}; }
TRINE_DEVICE vector16 to_vector(uint4 v) { return vector16{v.x, v.y, v.z, v.w}; }

TRINE_DEVICE uint4 load16(const void *p) { return from_vector(*(const global16 *)p); }
TRINE_DEVICE uint4 load16_once(const void *p) { return from_vector(__builtin_nontemporal_load((const global16 *)p)); }
TRINE_DEVICE uint4 load16_moved(const void *p) { return load16_once(p); }
TRINE_DEVICE void store16(void *p, uint4 v) { *(global16 *)p = to_vector(v); }
TRINE_DEVICE void store8(void *p, uint2 v) { *static_cast<uint2 *>(p) = v; }
TRINE_DEVICE void store16_once(void *p, uint4 v) { __builtin_nontemporal_store(to_vector(v), (global16 *)p); }
TRINE_DEVICE void store16_moved(void *p, uint4 v) { store16_once(p, v); }

/* What was derived from a register is computed again, not held. Where registers are many the compiler may choose; on RDNA it chose to
 * spill (cumulative maxima of f16 columns on gfx1100: 33 registers). */
TRINE_DEVICE void derive_again(uint4 &v)
{
#if defined __GFX11__ || defined __GFX12__
    uint32_t x = v.x, y = v.y, z = v.z, w = v.w; /* of a struct's own members the compiler knows no registers */
    __asm__ volatile("" : "+v"(x), "+v"(y), "+v"(z), "+v"(w));
    v = uint4{x, y, z, w};
#else
    (void)v;
#endif
}
/* The kernel's first argument, loaded again where it is asked for: what a loop knows of it may be more scalars than there are
 * registers, and the compiler would spill them. */
template <class T> TRINE_DEVICE const T &first_argument()
{
#if defined __AMDGCN__
    auto *at = (const __attribute__((address_space(4))) T *)__builtin_amdgcn_kernarg_segment_ptr();
    __asm__ volatile("" : "+s"(at));
    return *(const T *)at;
#else
    return *static_cast<const T *>(nullptr); /* the host's pass compiles no kernel */
#endif
}
template <class T> TRINE_DEVICE const T &first_argument(const T &) { return first_argument<T>(); }
/* To the cache that all blocks share: no instruction of these chips does so. */
TRINE_DEVICE void prefetch(const void *) {}
/* Words that blocks of a running kernel hand to each other: whole, and at the device's scope; they order nothing else. publish is
 * an exchange, which is made in the L2 cache, where all compute units see it. */
TRINE_DEVICE uint32_t atomic_add(uint32_t *p, uint32_t value)
{
    return __hip_atomic_fetch_add((__attribute__((address_space(1))) uint32_t *)p, value, __ATOMIC_RELAXED,
                                  __HIP_MEMORY_SCOPE_AGENT);
}
TRINE_DEVICE void publish(uint64_t *p, uint64_t word)
{
    (void)__hip_atomic_exchange((__attribute__((address_space(1))) uint64_t *)p, word, __ATOMIC_RELAXED,
                                __HIP_MEMORY_SCOPE_AGENT);
}
TRINE_DEVICE uint64_t load_published(const uint64_t *p)
{
    return __hip_atomic_load((const __attribute__((address_space(1))) uint64_t *)p, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);
}

/* Dynamic shared memory, 16-byte aligned. */
TRINE_DEVICE unsigned char *dynamic_shared()
{
    extern TRINE_SHARED unsigned char trine_dynamic_shared[] __attribute__((aligned(16)));
    return trine_dynamic_shared;
}

/* `bytes` (16, 8, 4 or 2) from global to shared memory, seen by this thread after wait_for_copies(). */
template <int bytes> TRINE_DEVICE void copy_to_shared(void *to, const void *from)
{
    if constexpr (bytes == 16)
        *static_cast<uint4 *>(to) = *static_cast<const uint4 *>(from);
    else if constexpr (bytes == 8)
        *static_cast<uint2 *>(to) = *static_cast<const uint2 *>(from);
    else if constexpr (bytes == 4)
        *static_cast<uint32_t *>(to) = *static_cast<const uint32_t *>(from);
    else
        *static_cast<uint16_t *>(to) = *static_cast<const uint16_t *>(from);
}
TRINE_DEVICE void wait_for_copies() {}

/* ---- Host side ---- */

/* After a launch: TRINE_OK, or DEVICE with the reason in call->why. */
inline trine_status launched(trine_call *call)
{
    hipError_t error = hipGetLastError();
    if (error == hipSuccess) return TRINE_OK;
    snprintf(call->why, sizeof call->why, "launch failed: %s (%s)", hipGetErrorName(error), hipGetErrorString(error));
    return error == hipErrorOutOfMemory ? TRINE_ERROR_OUT_OF_MEMORY : TRINE_ERROR_DEVICE;
}

template <class... P, class... A>
inline trine_status launch_next(trine_call *call, void (*kernel)(P...), unsigned blocks, unsigned threads, A... args)
{
    kernel<<<dim3(blocks), dim3(threads), 0, static_cast<stream>(call->native)>>>(static_cast<P>(args)...);
    return launched(call);
}

/* Nothing to allow: a block may have all of the LDS. */
template <class Kernel> inline void allow_shared(Kernel *, size_t) {}

} // namespace target

#endif
