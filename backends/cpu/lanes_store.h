/* Stores of 32 f32 from registers as f32, f16 or bf16, to memory or past the caches. From v3 on; below, span_store does it.
 *
 * Roundings are those of core/float_bits.h: a NaN keeps its sign, becomes quiet and loses its payload. (AVX512-BF16's conversion
 * is not used: it flushes subnormals.) */
#ifndef TRINE_CPU_LANES_STORE_H
#define TRINE_CPU_LANES_STORE_H

#include "backends/cpu/lanes.h"
#include "backends/cpu/span.h"

/* A line of 16-bit elements. */
enum { LANES_PUT = 2 * LANES };

#if defined __AVX512BW__ && defined __AVX512VL__
enum { LANES_PUTS = 1 };

LANES_INLINE void lanes_put_line(void *to, __m512i x, bool stream)
{
    if (stream)
        _mm512_stream_si512(to, x);
    else
        _mm512_storeu_si512(to, x);
}

LANES_INLINE __m256i lanes_f16_of(f32x16 v)
{
    const __m512 x = (__m512)v;
    const __m256i y = _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    return _mm256_mask_blend_epi16(nan, y, _mm256_and_si256(y, _mm256_set1_epi16((int16_t)0xfe00))); /* y is quiet already */
}

LANES_INLINE __m512i lanes_bare_nan(__m512i x, __mmask16 nan)
{
    const __m512i quiet = _mm512_or_si512(x, _mm512_set1_epi32(0x00400000));
    return _mm512_mask_and_epi32(x, nan, quiet, _mm512_set1_epi32((int)0xffc00000u));
}

/* NaN as the conversion wants it, in either of two vectors; seldom there. */
LANES_INLINE void lanes_bare_nans(__m512i *x, __m512i *y)
{
    const __m512 a = _mm512_castsi512_ps(*x), b = _mm512_castsi512_ps(*y);
    if (__builtin_expect(_mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q) == 0, 1)) return;
    *x = lanes_bare_nan(*x, _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q));
    *y = lanes_bare_nan(*y, _mm512_cmp_ps_mask(b, b, _CMP_UNORD_Q));
}

/* Of 32 numbers' upper and lower halves: the upper one grows where the lower one, with the upper one's last bit, is above a half. */
LANES_INLINE __m512i lanes_round_halves(__m512i upper, __m512i lower)
{
    const __m512i one = _mm512_set1_epi16(1);
    const __mmask32 up =
        _mm512_cmpgt_epu16_mask(_mm512_or_si512(lower, _mm512_and_si512(upper, one)), _mm512_set1_epi16(INT16_MIN));
    return _mm512_mask_add_epi16(upper, up, upper, one);
}

/* The elements of a, then those of b. */
LANES_INLINE __m512i lanes_bf16_of(f32x16 a, f32x16 b)
{
    const __m512i odd = _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33, 31, 29, 27, 25, 23, 21,
                                         19, 17, 15, 13, 11, 9, 7, 5, 3, 1),
                  even = _mm512_sub_epi16(odd, _mm512_set1_epi16(1));
    __m512i x = (__m512i)a, y = (__m512i)b;
    lanes_bare_nans(&x, &y);
    return lanes_round_halves(_mm512_permutex2var_epi16(x, odd, y), _mm512_permutex2var_epi16(x, even, y));
}

/* Elements of a and b by turns, and the way back. Shifts and masks for permutations. NaNs keep their payload, which has to have
 * been that of a bf16: without a test for them a line takes a tenth less. */
LANES_INLINE __m512i lanes_bf16_of_turns(f32x16 a, f32x16 b)
{
    const __mmask32 odd = 0xaaaaaaaau;
    const __m512i x = (__m512i)a, y = (__m512i)b;
    return lanes_round_halves(_mm512_mask_mov_epi16(_mm512_srli_epi32(x, 16), odd, y),
                              _mm512_mask_mov_epi16(x, odd, _mm512_slli_epi32(y, 16)));
}

/* Elements of a, then those of b; NaNs as above, of f16. */
LANES_INLINE __m512i lanes_f16_with_nans(f32x16 a, f32x16 b)
{
    const int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtps_ph((__m512)a, nearest)), _mm512_cvtps_ph((__m512)b, nearest),
                              1);
}

LANES_INLINE void lanes_turns_of_bf16(f32x16 v[2], const void *from)
{
    const __m512i both = _mm512_loadu_si512(from);
    v[0] = (f32x16)_mm512_slli_epi32(both, 16);
    v[1] = (f32x16)_mm512_and_si512(both, _mm512_set1_epi32((int)0xffff0000u));
}

LANES_INLINE void lanes_put_f32(void *to, f32x16 a, bool stream) { lanes_put_line(to, (__m512i)a, stream); }

LANES_INLINE void lanes_put(void *to, trine_dtype dtype, f32x16 a, f32x16 b, bool stream)
{
    if (dtype == TRINE_F32) {
        lanes_put_f32(to, a, stream);
        lanes_put_f32((char *)to + 64, b, stream);
    } else if (dtype == TRINE_BF16) {
        lanes_put_line(to, lanes_bf16_of(a, b), stream);
    } else {
        lanes_put_line(to, _mm512_inserti64x4(_mm512_castsi256_si512(lanes_f16_of(a)), lanes_f16_of(b), 1), stream);
    }
}

#elif defined __AVX2__ && defined __F16C__
enum { LANES_PUTS = 1 };

LANES_INLINE void lanes_put_half(void *to, __m256i x, bool stream)
{
    if (stream)
        _mm256_stream_si256(to, x);
    else
        _mm256_storeu_si256(to, x);
}

LANES_INLINE __m256 lanes_bare_nan(__m256 x)
{
    const __m256 sign = _mm256_and_ps(x, _mm256_set1_ps(-0.0f)),
                 quiet = _mm256_or_ps(sign, _mm256_castsi256_ps(_mm256_set1_epi32(TRINE_F32_NAN)));
    return _mm256_blendv_ps(x, quiet, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}

LANES_INLINE __m256i lanes_round_bf16(__m256 x)
{
    const __m256i bits = _mm256_castps_si256(x), odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    return _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd), 16);
}

/* 16 elements of 16 bits. */
LANES_INLINE __m256i lanes_halves_of(trine_dtype dtype, const __m256 *x)
{
    __m256 a = x[0], b = x[1];
    if (dtype == TRINE_F16) {
        const __m128i low = _mm256_cvtps_ph(lanes_bare_nan(a), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                      high = _mm256_cvtps_ph(lanes_bare_nan(b), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
    }
    if (_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_UNORD_Q))) a = lanes_bare_nan(a), b = lanes_bare_nan(b);
    return _mm256_permute4x64_epi64(_mm256_packus_epi32(lanes_round_bf16(a), lanes_round_bf16(b)), 0xd8);
}

LANES_INLINE void lanes_put_f32(void *to, f32x16 a, bool stream)
{
    __m256 x[2];
    memcpy(x, &a, sizeof a);
    for (int k = 0; k < 2; k++) lanes_put_half((char *)to + 32 * k, _mm256_castps_si256(x[k]), stream);
}

LANES_INLINE void lanes_put(void *to, trine_dtype dtype, f32x16 a, f32x16 b, bool stream)
{
    __m256 x[4];
    if (dtype == TRINE_F32) {
        lanes_put_f32(to, a, stream);
        lanes_put_f32((char *)to + 64, b, stream);
        return;
    }
    memcpy(x, &a, sizeof a);
    memcpy(x + 2, &b, sizeof b);
    for (int k = 0; k < 2; k++) lanes_put_half((char *)to + 32 * k, lanes_halves_of(dtype, x + 2 * k), stream);
}

#else
enum { LANES_PUTS = 0 };
LANES_INLINE void lanes_put_f32(void *to, f32x16 a, bool stream) { (void)to, (void)a, (void)stream; }
LANES_INLINE void lanes_put(void *to, trine_dtype dtype, f32x16 a, f32x16 b, bool stream)
{
    (void)to, (void)dtype, (void)a, (void)b, (void)stream;
}
#endif

/* Puts `count` vectors, an even number, and before each line asks for one of each input: of those from next[k] on. */
LANES_INLINE void lanes_put_asking(char *to, trine_dtype dtype, const f32x16 *v, int count, bool stream, const char *const *next,
                                   int inputs)
{
    const int lines = (int)lanes_size(dtype) * count / 4;
#pragma GCC unroll 4
    for (int line = 0; line < lines; line++) {
        ask_in_order();
        for (int k = 0; k < inputs; k++) ask_for_line(next[k] + 64 * line);
        if (dtype == TRINE_F32)
            lanes_put_f32(to + 64 * line, v[line], stream);
        else
            lanes_put(to + 64 * line, dtype, v[2 * line], v[2 * line + 1], stream);
    }
}

/* Elements that may be put from `to` on: whole lines, from a line on. 0: the *m ones before it, or behind the last, go by a span. */
static inline int64_t lanes_to_put(bool put, const char *to, trine_dtype dtype, int64_t left, int64_t *m)
{
    const int64_t size = trine_dtype_bits(dtype) / 8, off = (int64_t)((uintptr_t)to % 64);
    *m = span_length(to, dtype, left);
    if (!put || off % size != 0 || left < LANES_PUT) return 0;
    if (off == 0) return left / LANES_PUT * LANES_PUT;
    if (*m > (64 - off) / size) *m = (64 - off) / size;
    return 0;
}

/* Puts n elements, a multiple of LANES_PUT, of `value`, an expression in int64_t i that gives the elements [i, i + LANES), and in
 * type_, the dtype as a constant; with a loop of its own for each dtype. `asks` comes before each value: a statement in i, too, that
 * asks memory for a line at most. */
#define LANES_PUT_AS(type, to, n, stream, asks, value) \
    _Pragma("GCC unroll 2") for (int64_t at_ = 0; at_ < (n); at_ += LANES_PUT) \
    { \
        const trine_dtype type_ = type; \
        f32x16 v_[2]; \
        for (int k_ = 0; k_ < 2; k_++) { \
            const int64_t i = at_ + LANES * k_; \
            asks; \
            v_[k_] = (value); \
        } \
        lanes_put((char *)(to) + at_ * lanes_size(type_), type_, v_[0], v_[1], stream); \
    }
#define LANES_PUT_ASKING(dtype, to, n, stream, asks, value) \
    do { \
        if ((dtype) == TRINE_F32) \
            LANES_PUT_AS(TRINE_F32, to, n, stream, asks, value) \
        else if ((dtype) == TRINE_BF16) \
            LANES_PUT_AS(TRINE_BF16, to, n, stream, asks, value) \
        else \
            LANES_PUT_AS(TRINE_F16, to, n, stream, asks, value) \
    } while (0)
#define LANES_PUT_EACH(dtype, to, n, stream, value) LANES_PUT_ASKING(dtype, to, n, stream, (void)0, value)
#define LANES_AT(x) lanes_load((x), TRINE_F32, i)

#endif
