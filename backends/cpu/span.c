/* Spans: conversion to and from f32, and stores past the caches. Compiled once a level.
 *
 * Conversions are loops that the compiler vectorises, with the results of core/float_bits.h; from v3 on f16 and bf16 go by
 * lanes_store.h. A streamed store writes whole lines; of most types
 * it makes them in a piece of L1 first. */
#include "backends/cpu/span.h"

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#if defined __SSE2__
#include <immintrin.h>
#endif

#include "backends/cpu/fp8_lanes.h"

enum { LINE = 64, PIECE = 4096 };

typedef void (*load_fn)(float *restrict to, const void *restrict from, int64_t n);
typedef void (*store_fn)(void *restrict to, const float *restrict from, int64_t n);

#define LOAD(name, type, expression) \
    static void name(float *restrict to, const void *restrict from, int64_t n) \
    { \
        for (int64_t i = 0; i < n; i++) { \
            type x; \
            memcpy(&x, (const char *)from + i * (int64_t)sizeof x, sizeof x); \
            to[i] = expression; \
        } \
    }
#define STORE(name, type, expression) \
    static void name(void *restrict to, const float *restrict from, int64_t n) \
    { \
        for (int64_t i = 0; i < n; i++) { \
            float x = from[i]; \
            type y = expression; \
            memcpy((char *)to + i * (int64_t)sizeof y, &y, sizeof y); \
        } \
    }

LOAD(load_f64, double, (float)x)
LOAD(load_f32, float, x)
LOAD(load_f16_plain, uint16_t, span_widen(x, SPAN_F16))
LOAD(load_bf16_plain, uint16_t, trine_bits_bf16_to_f32(x))
LOAD(load_e4m3fn_plain, uint8_t, span_widen(x, SPAN_E4M3FN))
LOAD(load_e5m2_plain, uint8_t, span_widen(x, SPAN_E5M2))
LOAD(load_e4m3fnuz_plain, uint8_t, span_widen_fnuz(x, SPAN_E4M3FNUZ))
LOAD(load_e5m2fnuz, uint8_t, span_widen_fnuz(x, SPAN_E5M2FNUZ))
LOAD(load_i64, int64_t, (float)x)
LOAD(load_i32, int32_t, (float)x)
LOAD(load_i8, int8_t, (float)x)
LOAD(load_u8, uint8_t, (float)x)
LOAD(load_bool, uint8_t, x != 0 ? 1.0f : 0.0f)

STORE(store_f64, double, x)
STORE(store_f32, float, x)
STORE(store_f16_plain, uint16_t, (uint16_t)span_narrow(x, SPAN_F16, 0, 0))
STORE(store_bf16_plain, uint16_t, trine_bits_f32_to_bf16(x))
STORE(store_e4m3fn_plain, uint8_t, (uint8_t)span_narrow(x, SPAN_E4M3FN, 1, 0))
STORE(store_e5m2_plain, uint8_t, (uint8_t)span_narrow(x, SPAN_E5M2, 1, 0))
STORE(store_e4m3fnuz_plain, uint8_t, (uint8_t)span_narrow(x, SPAN_E4M3FNUZ, 1, 1))
STORE(store_e5m2fnuz, uint8_t, (uint8_t)span_narrow(x, SPAN_E5M2FNUZ, 1, 1))
STORE(store_i64, int64_t, trine_f32_to_i64_sat(x))
STORE(store_i32, int32_t, trine_f32_to_i32_sat(x))
STORE(store_i8, int8_t, trine_f32_to_i8_sat(x))
STORE(store_u8, uint8_t, trine_f32_to_u8_sat(x))
STORE(store_bool, uint8_t, trine_f32_to_bool(x))

/* ---- f16 and bf16 ---- */

/* 16 elements as f32 in memory. With AVX2 a half at a time: GCC 12 takes an f32x16 through the stack there, a dozen instructions. */
LANES_INLINE void widen(float *to, const void *from, trine_dtype dtype)
{
#if defined __AVX2__ && defined __F16C__ && !defined __AVX512F__
    for (int half = 0; half < 2; half++) {
        const __m128i codes = _mm_loadu_si128((const __m128i *)from + half);
        _mm256_storeu_ps(to + 8 * half, dtype == TRINE_F16
                                            ? _mm256_cvtph_ps(codes)
                                            : _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(codes), 16)));
    }
#else
    const f32x16 v = lanes_load(from, dtype, 0);
    memcpy(to, &v, sizeof v);
#endif
}

/* Whole vectors; what is left goes one by one. */
#define HALVES(name, dtype) \
    static void load_##name(float *restrict to, const void *restrict from, int64_t n) \
    { \
        int64_t i = 0; \
        _Pragma("GCC unroll 4") for (; LANES_PUTS && i + LANES <= n; i += LANES) \
        { \
            if (i % 32 == 0) __builtin_prefetch((const char *)from + 2 * (i + n)); \
            widen(to + i, (const char *)from + 2 * i, dtype); \
        } \
        load_##name##_plain(to + i, (const char *)from + 2 * i, n - i); \
    } \
    static void store_##name(void *restrict to, const float *restrict from, int64_t n) \
    { \
        int64_t i = 0; \
        _Pragma("GCC unroll 2") for (; LANES_PUTS && i + LANES_PUT <= n; i += LANES_PUT) \
            lanes_put((char *)to + 2 * i, dtype, lanes_load(from, TRINE_F32, i), lanes_load(from, TRINE_F32, i + LANES), false); \
        store_##name##_plain((char *)to + 2 * i, from + i, n - i); \
    } \
    static void stream_##name(void *restrict to, const float *restrict from, int64_t n) \
    { \
        _Pragma("GCC unroll 2") for (int64_t i = 0; i < n; i += LANES_PUT) \
            lanes_put((char *)to + 2 * i, dtype, lanes_load(from, TRINE_F32, i), lanes_load(from, TRINE_F32, i + LANES), true); \
    }
HALVES(f16, TRINE_F16)
HALVES(bf16, TRINE_BF16)

/* ---- fp8 ---- */

#if defined __AVX512BW__ && defined __AVX512VL__
enum { FP8_PUTS = 1 };
#define EIGHTS(name, dtype) \
    static void load_##name(float *restrict to, const void *restrict from, int64_t n) \
    { \
        const bool asks = prefers_l2(); \
        int64_t i = 0; \
        for (; i + FP8_LANES <= n; i += FP8_LANES) { \
            f32x16 v[2]; \
            if (asks && i % LINE == 0) __builtin_prefetch((const char *)from + i + ASK_NEAR, 0, 2); \
            fp8_lanes_load(v, (const char *)from + i, dtype); \
            memcpy(to + i, v, sizeof v); \
        } \
        load_##name##_plain(to + i, (const char *)from + i, n - i); \
    } \
    static void put_##name(char *restrict to, const float *restrict from, int64_t n, bool stream) \
    { \
        for (int64_t i = 0; i < n; i += LINE) { \
            f32x16 v[4]; \
            memcpy(v, from + i, sizeof v); \
            fp8_lanes_put(to + i, v, dtype, stream); \
        } \
    } \
    static void store_##name(void *restrict to, const float *restrict from, int64_t n) \
    { \
        const int64_t whole = n / LINE * LINE; \
        put_##name(to, from, whole, false); \
        store_##name##_plain((char *)to + whole, from + whole, n - whole); \
    } \
    static void stream_##name(void *restrict to, const float *restrict from, int64_t n) { put_##name(to, from, n, true); }
#else
enum { FP8_PUTS = 0 };
#define EIGHTS(name, dtype) \
    static void load_##name(float *restrict to, const void *restrict from, int64_t n) { load_##name##_plain(to, from, n); } \
    static void store_##name(void *restrict to, const float *restrict from, int64_t n) { store_##name##_plain(to, from, n); } \
    static void stream_##name(void *restrict to, const float *restrict from, int64_t n) { store_##name##_plain(to, from, n); }
#endif
EIGHTS(e4m3fn, TRINE_F8_E4M3FN)
EIGHTS(e4m3fnuz, TRINE_F8_E4M3FNUZ)
EIGHTS(e5m2, TRINE_F8_E5M2)

/* ---- One row a dtype ---- */

static const struct conversion {
    int64_t size;
    load_fn load;
    store_fn store;
    store_fn stream; /* whole lines past the caches; NULL: by way of a piece of L1 */
} conversions[TRINE_DTYPE_COUNT] = {
    [TRINE_F64] = {8, load_f64, store_f64, NULL},
    [TRINE_F32] = {4, load_f32, store_f32, NULL},
    [TRINE_F16] = {2, load_f16, store_f16, LANES_PUTS ? stream_f16 : NULL},
    [TRINE_BF16] = {2, load_bf16, store_bf16, LANES_PUTS ? stream_bf16 : NULL},
    [TRINE_F8_E4M3FN] = {1, load_e4m3fn, store_e4m3fn, FP8_PUTS ? stream_e4m3fn : NULL},
    [TRINE_F8_E5M2] = {1, load_e5m2, store_e5m2, FP8_PUTS ? stream_e5m2 : NULL},
    [TRINE_F8_E4M3FNUZ] = {1, load_e4m3fnuz, store_e4m3fnuz, FP8_PUTS ? stream_e4m3fnuz : NULL},
    [TRINE_F8_E5M2FNUZ] = {1, load_e5m2fnuz, store_e5m2fnuz, NULL},
    [TRINE_I64] = {8, load_i64, store_i64, NULL},
    [TRINE_I32] = {4, load_i32, store_i32, NULL},
    [TRINE_I8] = {1, load_i8, store_i8, NULL},
    [TRINE_U8] = {1, load_u8, store_u8, NULL},
    [TRINE_BOOL] = {1, load_bool, store_bool, NULL},
};

/* ---- Contiguous ---- */

/* No prefetching of the next span: measured, it gains nothing for f16 and bf16 and loses up to a fifth for f32, where the
 * kernel's own loop reads memory and the processor prefetches by itself. */
const float *span_load(float *buffer, const void *src, trine_dtype dtype, int64_t n)
{
    if (dtype == TRINE_F32 && (uintptr_t)src % sizeof(float) == 0) return src;
    conversions[dtype].load(buffer, src, n);
    return buffer;
}

/* Whole lines, both ends aligned at dst. */
static void stream_lines(char *to, const char *from, int64_t lines)
{
#if defined __AVX512F__
    for (const bool asks = prefers_l2(); asks && lines > 0; lines--, to += LINE, from += LINE) {
        __builtin_prefetch(from + ASK_NEAR, 0, 2);
        _mm512_stream_si512((void *)to, _mm512_loadu_si512(from));
    }
    for (; lines > 0; lines--, to += LINE, from += LINE) _mm512_stream_si512((void *)to, _mm512_loadu_si512(from));
#elif defined __AVX__
    for (; lines > 0; lines--, to += LINE, from += LINE) {
        __m256i a = _mm256_loadu_si256((const __m256i *)from), b = _mm256_loadu_si256((const __m256i *)from + 1);
        _mm256_stream_si256((__m256i *)to, a);
        _mm256_stream_si256((__m256i *)to + 1, b);
    }
#elif defined __SSE2__
    for (; lines > 0; lines--, to += LINE, from += LINE)
        for (int i = 0; i < 4; i++) _mm_stream_si128((__m128i *)to + i, _mm_loadu_si128((const __m128i *)from + i));
#else
    memcpy(to, from, (size_t)lines * LINE);
#endif
}

static int64_t to_next_line(const void *p) { return -(intptr_t)p & (LINE - 1); }

static void stream_bytes(char *to, const char *from, int64_t bytes)
{
    int64_t head = to_next_line(to) < bytes ? to_next_line(to) : bytes;
    int64_t lines = (bytes - head) / LINE;
    int64_t done = head + lines * LINE;
    memcpy(to, from, (size_t)head);
    stream_lines(to + head, from + head, lines);
    memcpy(to + done, from + done, (size_t)(bytes - done));
}

void span_copy_bytes(void *dst, const void *src, int64_t bytes, bool stream)
{
    if (dst == src) return;
    if (stream)
        stream_bytes(dst, src, bytes);
    else
        memcpy(dst, src, (size_t)bytes);
}

/* What lies before the first whole line and behind the last one goes the ordinary way. dst: aligned to elements. */
static void stream_directly(char *to, const struct conversion *c, const float *src, int64_t n)
{
    const int64_t head = to_next_line(to) / c->size < n ? to_next_line(to) / c->size : n;
    const int64_t lines = (n - head) * c->size / LINE, behind = head + lines * LINE / c->size;
    if (head > 0) c->store(to, src, head);
    c->stream(to + head * c->size, src + head, behind - head);
    if (behind < n) c->store(to + behind * c->size, src + behind, n - behind);
}

/* Piece by piece; each piece but the last ends on a line, if elements can. */
static void stream_by_pieces(void *dst, const struct conversion *c, const float *src, int64_t n)
{
    _Alignas(LINE) char piece[PIECE];
    char *to = dst;
    for (int64_t i = 0, m; i < n; i += m, to += m * c->size) {
        int64_t most = (PIECE - LINE + to_next_line(to)) / c->size;
        m = n - i < most ? n - i : most;
        c->store(piece, src + i, m);
        stream_bytes(to, piece, m * c->size);
    }
}

void span_store(void *dst, trine_dtype dtype, const float *src, int64_t n, bool stream)
{
    const struct conversion *c = &conversions[dtype];
    if (dtype == TRINE_F32)
        span_copy_bytes(dst, src, n * c->size, stream);
    else if (stream && c->stream && (uintptr_t)dst % (uintptr_t)c->size == 0)
        stream_directly(dst, c, src, n);
    else if (stream)
        stream_by_pieces(dst, c, src, n);
    else
        c->store(dst, src, n);
}

/* Measured with outputs that the next op reads (32 MiB of L3, two cores): up to 16 MiB ordinary stores are 10 to 30 % faster,
 * from 32 MiB on streamed ones are. At most 16 MiB, for what the system calls its cache may be shared by many, other machines
 * included. */
static int64_t streaming_threshold(void)
{
    const int64_t most = (int64_t)16 << 20, least = (int64_t)1 << 20;
    int64_t half = 0;
#ifdef _SC_LEVEL3_CACHE_SIZE
    half = sysconf(_SC_LEVEL3_CACHE_SIZE) / 2;
#endif
    if (half <= 0) half = most / 2;
    return half < least ? least : half < most ? half : most;
}

bool span_should_stream(int64_t bytes_written)
{
    static _Atomic int64_t threshold; /* 0: not asked yet; whoever asks gets the same */
    int64_t known = atomic_load_explicit(&threshold, memory_order_relaxed);
    if (known == 0) {
        known = streaming_threshold();
        atomic_store_explicit(&threshold, known, memory_order_relaxed);
    }
    return bytes_written >= known;
}

/* ---- Strided: through a piece of raw elements, in their own size ---- */

#define MOVE(name, type, to_step, from_step) \
    static void name(char *to, const char *from, int64_t n, int64_t stride) \
    { \
        for (int64_t i = 0; i < n; i++) \
            memcpy(to + i * (to_step) * (int64_t)sizeof(type), from + i * (from_step) * (int64_t)sizeof(type), sizeof(type)); \
    }
MOVE(gather_1, uint8_t, 1, stride)
MOVE(gather_2, uint16_t, 1, stride)
MOVE(gather_4, uint32_t, 1, stride)
MOVE(gather_8, uint64_t, 1, stride)
MOVE(scatter_1, uint8_t, stride, 1)
MOVE(scatter_2, uint16_t, stride, 1)
MOVE(scatter_4, uint32_t, stride, 1)
MOVE(scatter_8, uint64_t, stride, 1)

typedef void (*move_fn)(char *to, const char *from, int64_t n, int64_t stride);
static const move_fn gathers[9] = {[1] = gather_1, [2] = gather_2, [4] = gather_4, [8] = gather_8};
static const move_fn scatters[9] = {[1] = scatter_1, [2] = scatter_2, [4] = scatter_4, [8] = scatter_8};

const float *span_load_strided(float *buffer, const void *src, trine_dtype dtype, int64_t n, int64_t stride)
{
    const struct conversion *c = &conversions[dtype];
    _Alignas(LINE) char piece[PIECE];
    if (stride == 0 && n > 0) {
        float one;
        c->load(&one, src, 1);
        for (int64_t i = 0; i < n; i++) buffer[i] = one;
        return buffer;
    }
    for (int64_t i = 0, m; i < n; i += m) {
        m = n - i < PIECE / c->size ? n - i : PIECE / c->size;
        gathers[c->size](piece, (const char *)src + i * stride * c->size, m, stride);
        c->load(buffer + i, piece, m);
    }
    return buffer;
}

void span_store_strided(void *dst, trine_dtype dtype, const float *src, int64_t n, int64_t stride)
{
    const struct conversion *c = &conversions[dtype];
    _Alignas(LINE) char piece[PIECE];
    for (int64_t i = 0, m; i < n; i += m) {
        m = n - i < PIECE / c->size ? n - i : PIECE / c->size;
        c->store(piece, src + i, m);
        scatters[c->size]((char *)dst + i * stride * c->size, piece, m, stride);
    }
}
