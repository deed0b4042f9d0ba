/* fp8 to and from 32 f32 in registers, where the processor has AVX-512: the codes of span_formats.h, in a third of the
 * instructions.
 *
 * e4m3fn, e4m3fnuz and e5m2 are an f16 without its last bits times a power of two, so that the f16 instructions convert them
 * exactly, subnormals included and whatever the mode for these. To fp8 a number is first rounded to the format's mantissa, by a
 * sum with 1.5 x 2^k whose last bit is worth that much. (e5m2fnuz has one exponent more than f16: not here.) */
#ifndef TRINE_CPU_FP8_LANES_H
#define TRINE_CPU_FP8_LANES_H

#include "backends/cpu/lanes_store.h"

/* Elements of a group. */
enum { FP8_LANES = 2 * LANES };

#if defined __AVX512BW__ && defined __AVX512VL__

/* Is the format here? */
LANES_INLINE bool fp8_lanes_have(trine_dtype code)
{
    return code == TRINE_F8_E4M3FN || code == TRINE_F8_E4M3FNUZ || code == TRINE_F8_E5M2;
}

/* 2^k: the f16 with the code's bits, times it, is the number. */
LANES_INLINE float fp8_factor(trine_dtype code) { return code == TRINE_F8_E5M2 ? 1 : code == TRINE_F8_E4M3FN ? 0x1p8f : 0x1p7f; }

/* 32 codes as numbers; which of them are NaN, whose numbers are some finite ones. */
LANES_INLINE __mmask32 fp8_lanes_finite(f32x16 *v, const void *from, trine_dtype code)
{
    const bool e5m2 = code == TRINE_F8_E5M2, fnuz = code == TRINE_F8_E4M3FNUZ;
    const __m512i bytes = _mm512_cvtepu8_epi16(_mm256_loadu_si256(from)), high = _mm512_slli_epi16(bytes, 8),
                  magnitude = _mm512_and_si512(bytes, _mm512_set1_epi16(0x7f));
    const __mmask32 nan = e5m2   ? _mm512_cmpgt_epi16_mask(magnitude, _mm512_set1_epi16(0x7c))
                          : fnuz ? _mm512_cmpeq_epi16_mask(bytes, _mm512_set1_epi16(0x80))
                                 : _mm512_cmpeq_epi16_mask(magnitude, _mm512_set1_epi16(0x7f));
    const __m512i half = e5m2 ? _mm512_maskz_mov_epi16(~nan, high)
                              : _mm512_and_si512(_mm512_srai_epi16(high, 1), _mm512_set1_epi16((int16_t)0xbfff));
    const __m512 factor = _mm512_set1_ps(fp8_factor(code));
    v[0] = (f32x16)_mm512_cvtph_ps(_mm512_castsi512_si256(half));
    v[1] = (f32x16)_mm512_cvtph_ps(_mm512_extracti64x4_epi64(half, 1));
    for (int k = 0; k < 2 && !e5m2; k++) v[k] = (f32x16)_mm512_mul_ps((__m512)v[k], factor);
    return nan;
}

/* The upper halves of NaN as f32: with the code's sign, if the format has one for it, and unless `bare`, its mantissa. */
LANES_INLINE __m512i fp8_quiet_nan(const void *from, trine_dtype code, bool bare)
{
    const __m512i bytes = _mm512_cvtepu8_epi16(_mm256_loadu_si256(from)), quiet = _mm512_set1_epi16(0x7fc0),
                  sign = _mm512_and_si512(_mm512_slli_epi16(bytes, 8), _mm512_set1_epi16(INT16_MIN)),
                  mantissa = _mm512_slli_epi16(_mm512_and_si512(bytes, _mm512_set1_epi16(code == TRINE_F8_E5M2 ? 3 : 7)),
                                               code == TRINE_F8_E5M2 ? 5 : 4);
    if (code == TRINE_F8_E4M3FNUZ) return quiet;
    return _mm512_or_si512(_mm512_or_si512(quiet, sign), bare ? _mm512_setzero_si512() : mantissa);
}

LANES_INLINE void fp8_lanes_load(f32x16 *v, const void *from, trine_dtype code)
{
    const __mmask32 nan = fp8_lanes_finite(v, from, code);
    if (__builtin_expect(nan != 0, 0)) {
        const __m512i quiet = fp8_quiet_nan(from, code, false);
        for (int k = 0; k < 2; k++) {
            const __m256i half = k ? _mm512_extracti64x4_epi64(quiet, 1) : _mm512_castsi512_si256(quiet);
            const __m512i bits = _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
            v[k] = (f32x16)_mm512_mask_mov_epi32((__m512i)v[k], (__mmask16)(nan >> 16 * k), bits);
        }
    }
}

/* 32 codes times a factor. As bf16 without a branch for NaN, whose codes may be met at random. */
LANES_INLINE void fp8_lanes_scale(void *to, trine_dtype dtype, const void *from, trine_dtype code, float factor, bool stream)
{
    f32x16 v[2];
    if (dtype == TRINE_BF16) {
        const __mmask32 nan = fp8_lanes_finite(v, from, code);
        lanes_put_line(
            to, _mm512_mask_mov_epi16(lanes_bf16_of(v[0] * factor, v[1] * factor), nan, fp8_quiet_nan(from, code, true)), stream);
        return;
    }
    fp8_lanes_load(v, from, code);
    lanes_put(to, dtype, v[0] * factor, v[1] * factor, stream);
}

/* x, no NaN, as an f16 that has the code's bits above others that are 0. */
LANES_INLINE __m256i fp8_half_of(f32x16 x, trine_dtype code)
{
    const bool e5m2 = code == TRINE_F8_E5M2;
    const __m512 most = _mm512_set1_ps(e5m2                      ? 57344.0f
                                       : code == TRINE_F8_E4M3FN ? 448.0f
                                                                 : 240.0f),
                 least = _mm512_set1_ps(e5m2                      ? 0x1p-14f
                                        : code == TRINE_F8_E4M3FN ? 0x1p-6f
                                                                  : 0x1p-7f);
    const __m512 v = _mm512_max_ps(_mm512_min_ps((__m512)x, most), -most);
    /* the power of two below |v|, that of the subnormals at least, times 1.5 x 2^(23 - mantissa) */
    const __m512i power = _mm512_max_epi32(_mm512_and_si512((__m512i)v, _mm512_set1_epi32(0x7f800000)), (__m512i)least);
    const __m512 magic = (__m512)_mm512_add_epi32(power, _mm512_set1_epi32(((e5m2 ? 21 : 20) << 23) + 0x400000));
    const __m512 rounded = _mm512_sub_ps(_mm512_add_ps(v, magic), magic);
    /* a zero has lost its sign: rounded | v & sign */
    const __m512 y = (__m512)_mm512_ternarylogic_epi32((__m512i)rounded, (__m512i)v, _mm512_set1_epi32(INT32_MIN), 0xf8);
    return _mm512_cvtps_ph(e5m2 ? y : _mm512_mul_ps(y, _mm512_set1_ps(1 / fp8_factor(code))),
                           _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* The codes of 32 numbers. */
LANES_INLINE __m256i fp8_lanes_of(f32x16 a, f32x16 b, trine_dtype code)
{
    const __m512i half = _mm512_inserti64x4(_mm512_castsi256_si512(fp8_half_of(a, code)), fp8_half_of(b, code), 1);
    const __m512i high = _mm512_srli_epi16(half, 8),
                  bits = code == TRINE_F8_E5M2
                             ? high /* sign from there, the rest a bit lower */
                             : _mm512_ternarylogic_epi32(high, _mm512_srli_epi16(half, 7), _mm512_set1_epi16(0x7f), 0xd8);
    __m256i codes = _mm512_cvtepi16_epi8(bits);
    const __m256i sign = _mm256_set1_epi8((int8_t)0x80);
    if (code == TRINE_F8_E4M3FNUZ) codes = _mm256_maskz_mov_epi8(_mm256_cmpneq_epi8_mask(codes, sign), codes);
    if (__builtin_expect(_mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_UNORD_Q) != 0, 0)) {
        const __mmask32 nan = (__mmask32)_mm512_cmp_ps_mask((__m512)a, (__m512)a, _CMP_UNORD_Q) |
                              (__mmask32)_mm512_cmp_ps_mask((__m512)b, (__m512)b, _CMP_UNORD_Q) << 16;
        const int quiet = code == TRINE_F8_E4M3FN ? 0x7f : code == TRINE_F8_E5M2 ? 0x7e : 0x80;
        codes = _mm256_mask_mov_epi8(codes, nan, _mm256_set1_epi8((int8_t)quiet));
    }
    return codes;
}

/* 64 codes of v, to memory or past the caches; then `to` begins a line. */
LANES_INLINE void fp8_lanes_put(void *to, const f32x16 *v, trine_dtype code, bool stream)
{
    lanes_put_line(to,
                   _mm512_inserti64x4(_mm512_castsi256_si512(fp8_lanes_of(v[0], v[1], code)), fp8_lanes_of(v[2], v[3], code), 1),
                   stream);
}
#else
LANES_INLINE bool fp8_lanes_have(trine_dtype code) { return (void)code, false; }
LANES_INLINE void fp8_lanes_load(f32x16 *v, const void *from, trine_dtype code) { (void)v, (void)from, (void)code; }
LANES_INLINE void fp8_lanes_scale(void *to, trine_dtype dtype, const void *from, trine_dtype code, float factor, bool stream)
{
    (void)to, (void)dtype, (void)from, (void)code, (void)factor, (void)stream;
}
LANES_INLINE void fp8_lanes_put(void *to, const f32x16 *v, trine_dtype code, bool stream)
{
    (void)to, (void)v, (void)code, (void)stream;
}
#endif

#endif
