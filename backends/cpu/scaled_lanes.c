/* Magnitudes and fp8 codes of dense elements, from registers to registers. */
#include "backends/cpu/scaled_lanes.h"

#include "backends/cpu/fp8_lanes.h"

LANES_INLINE float scaled_most_as(const char *x, trine_dtype dtype, int64_t n)
{
    const bool asks = prefers_l2();
    f32x16 most[4] = {{0}, {0}, {0}, {0}};
    int64_t i = 0;
#define LARGER(k, v) most[k] = lanes_larger((f32x16)((i32x16)(v)&0x7fffffff), most[k])
    for (; i + LANES_BLOCK <= n; i += LANES_BLOCK)
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            if (asks) lanes_ask_at(x, dtype, i + LANES * k, ASK_NEAR);
            LARGER(k, lanes_load(x, dtype, i + LANES * k));
        }
    for (; i + LANES <= n; i += LANES) LARGER(0, lanes_load(x, dtype, i));
    if (i < n) LARGER(1, lanes_load_part(x, dtype, i, n - i, 0));
#undef LARGER
    return lanes_largest(lanes_larger(lanes_larger(most[0], most[1]), lanes_larger(most[2], most[3])));
}

#if defined __AVX512BW__ && defined __AVX512VL__
/* 16-bit floats without their signs are ordered as integers, 32 at a time; where one of them is a NaN, which then is the largest,
 * the way above tells. */
static float scaled_most_of_halves(const char *x, trine_dtype dtype, int64_t n)
{
    const __m512i magnitude = _mm512_set1_epi16(0x7fff);
    const bool asks = prefers_l2();
    __m512i most[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    int64_t i = 0;
#define LARGER(k, v) most[k] = _mm512_max_epu16(most[k], _mm512_and_si512(v, magnitude))
    for (; i + LANES_BLOCK <= n; i += LANES_BLOCK)
        for (int k = 0; k < 2; k++) {
            if (asks) lanes_ask_at(x, dtype, i + 2 * LANES * k, ASK_NEAR);
            LARGER(k, _mm512_loadu_si512(x + 2 * (i + 2 * LANES * k)));
        }
    for (int k = 0; i < n; i += 2 * LANES, k++)
        LARGER(k, _mm512_maskz_loadu_epi16(n - i < 2 * LANES ? (1u << (n - i)) - 1 : UINT32_MAX, x + 2 * i));
#undef LARGER
    const __m512i all = _mm512_max_epu16(most[0], most[1]);
    const __m256i half = _mm256_max_epu16(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
    const uint16_t code = (uint16_t)_mm512_reduce_max_epi32(_mm512_cvtepu16_epi32(half));
    if (code > (dtype == TRINE_BF16 ? 0x7f80 : 0x7c00))
        return dtype == TRINE_BF16 ? scaled_most_as(x, TRINE_BF16, n) : scaled_most_as(x, TRINE_F16, n);
    return lanes_first(&code, dtype);
}
#else
static float scaled_most_of_halves(const char *x, trine_dtype dtype, int64_t n)
{
    return dtype == TRINE_BF16 ? scaled_most_as(x, TRINE_BF16, n) : scaled_most_as(x, TRINE_F16, n);
}
#endif

void scaled_most_of_blocks(float *most, int64_t step, const char *x, trine_dtype dtype, int64_t n, int64_t block)
{
    const int64_t size = trine_dtype_bits(dtype) / 8;
    for (int64_t i = 0; i < n; i += block, most += step) {
        const float part = scaled_most_of_dense(x + i * size, dtype, n - i < block ? n - i : block);
        *most = part > *most ? part : *most;
    }
}

float scaled_most_of_dense(const char *x, trine_dtype dtype, int64_t n)
{
    return dtype == TRINE_F32 ? scaled_most_as(x, TRINE_F32, n) : scaled_most_of_halves(x, dtype, n);
}

/* Of the elements [i, i + LANES), what is `ahead` bytes behind them, once a line; 0: nothing. */
LANES_INLINE void scaled_ask(const char *reals, trine_dtype real, int64_t i, int64_t ahead)
{
    if (ahead && lanes_begin_line(real, i)) ask_for_line(reals + i * lanes_size(real) + ahead);
}

/* 64 codes at a time, from registers to registers. (lanes_of would make 0 of an inverse of -0.) */
LANES_INLINE void put_codes_as(const scaled_lines *l, trine_dtype code, trine_dtype real)
{
    const scaled_lines own = *l;
    const float *scale = own.scale;
    for (int64_t begin = 0; begin < own.n; begin += own.block, scale += own.step) {
        const int64_t end = own.n - begin < own.block ? own.n : begin + own.block;
        const float inverse = 1.0f / *scale;
        for (int64_t i = begin; i < end; i += SCALED_PUT) {
            const char *from = own.reals + i * lanes_size(real);
            f32x16 v[4];
            for (int k = 0; k < 4; k++) {
                scaled_ask(from, real, LANES * k, own.ahead);
                v[k] = lanes_load(from, real, LANES * k) * inverse;
            }
            fp8_lanes_put(own.codes + i, v, code, own.stream);
        }
    }
}

LANES_INLINE void put_reals_as(const scaled_lines *l, trine_dtype code, trine_dtype real)
{
    const scaled_lines own = *l;
    const float *scale = own.scale;
    const bool asks = prefers_l2();
    for (int64_t begin = 0; begin < own.n; begin += own.block, scale += own.step) {
        const int64_t end = own.n - begin < own.block ? own.n : begin + own.block;
        for (int64_t i = begin; i < end; i += FP8_LANES) {
            if (asks && i % 64 == 0) __builtin_prefetch(own.codes + i + ASK_NEAR, 0, 2);
            fp8_lanes_scale(own.reals + i * lanes_size(real), real, own.codes + i, code, *scale, own.stream);
        }
    }
}

#define PUT(name, code, real) \
    static void put_##name(const scaled_lines *l) { put_codes_as(l, code, real); } \
    static void back_##name(const scaled_lines *l) { put_reals_as(l, code, real); }
#define PUTS(name, code) \
    PUT(name##_f32, code, TRINE_F32) \
    PUT(name##_bf16, code, TRINE_BF16) \
    PUT(name##_f16, code, TRINE_F16)
PUTS(e4m3fn, TRINE_F8_E4M3FN)
PUTS(e4m3fnuz, TRINE_F8_E4M3FNUZ)
PUTS(e5m2, TRINE_F8_E5M2)

scaled_put_fn scaled_fp8_put(trine_dtype code, trine_dtype real, bool back)
{
#define ROW(code, name) \
    [code] = { \
        [TRINE_F32] = {put_##name##_f32, back_##name##_f32}, \
        [TRINE_BF16] = {put_##name##_bf16, back_##name##_bf16}, \
        [TRINE_F16] = {put_##name##_f16, back_##name##_f16} \
    }
    static const scaled_put_fn puts[TRINE_DTYPE_COUNT][TRINE_DTYPE_COUNT][2] = {
        ROW(TRINE_F8_E4M3FN, e4m3fn), ROW(TRINE_F8_E4M3FNUZ, e4m3fnuz), ROW(TRINE_F8_E5M2, e5m2)};
    return fp8_lanes_have(code) ? puts[code][real][back] : NULL;
}

/* ---- int8 ---- */

#if defined __AVX512BW__ && defined __AVX512VL__

/* x / scale rounded to f32, as large as it matters. inverse, of 1 / scale rounded, times x is some units off; a correction by the
 * remainder, which is exact, brings it within one unit, from where a second one ends at the rounded quotient (Markstein 1990). A
 * division takes as long as all the rest. What no code reaches stays rough, for its remainder may overflow. */
LANES_INLINE __m512 int8_quotient(__m512 x, __m512 scale, __m512 inverse)
{
    const __m512 rough = _mm512_mul_ps(x, inverse);
    const __mmask16 large = _mm512_cmp_ps_mask(_mm512_abs_ps(rough), _mm512_set1_ps(200.0f), _CMP_GT_OQ);
    __m512 q = rough;
    for (int k = 0; k < 2; k++) q = _mm512_fmadd_ps(_mm512_fnmadd_ps(q, scale, x), inverse, q);
    return _mm512_mask_mov_ps(q, large, rough);
}

/* 16 codes, of 32 bits; 0 for NaN. */
LANES_INLINE __m512i int8_codes(__m512 q)
{
    const __m512 least = _mm512_set1_ps(-127.0f), most = _mm512_set1_ps(127.0f);
    return _mm512_maskz_cvtps_epi32(_mm512_cmp_ps_mask(q, q, _CMP_ORD_Q), _mm512_max_ps(_mm512_min_ps(q, most), least));
}

LANES_INLINE void int8_put_block(char *codes, const char *reals, trine_dtype real, int64_t n, float scale, int64_t ahead,
                                 bool stream)
{
    const __m512i order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    const bool plain = fabsf(scale) >= 0x1p-60f && fabsf(scale) <= 0x1p60f;
    const __m512 s = _mm512_set1_ps(scale), inverse = _mm512_set1_ps(1.0f / scale);
    for (int64_t i = 0; i < n; i += SCALED_PUT) {
        const char *from = reals + i * lanes_size(real);
        __m512i c[4];
        for (int k = 0; k < 4; k++) {
            scaled_ask(from, real, LANES * k, ahead);
            const __m512 x = (__m512)lanes_load(from, real, LANES * k);
            c[k] = int8_codes(plain ? int8_quotient(x, s, inverse) : _mm512_div_ps(x, s));
        }
        const __m512i pairs[] = {_mm512_packs_epi32(c[0], c[1]), _mm512_packs_epi32(c[2], c[3])};
        lanes_put_line(codes + i, _mm512_permutexvar_epi32(order, _mm512_packs_epi16(pairs[0], pairs[1])), stream);
    }
}

LANES_INLINE void int8_put_as(const scaled_lines *l, trine_dtype real)
{
    const float *scale = l->scale;
    for (int64_t i = 0; i < l->n; i += l->block, scale += l->step) {
        const int64_t n = l->n - i < l->block ? l->n - i : l->block;
        if (*scale == 0) /* all codes are 0, NaN's too */
            int8_put_block(l->codes + i, l->reals + i * lanes_size(real), real, n, INFINITY, 0, l->stream);
        else
            int8_put_block(l->codes + i, l->reals + i * lanes_size(real), real, n, *scale, l->ahead, l->stream);
    }
}

static void int8_put_f32(const scaled_lines *l) { int8_put_as(l, TRINE_F32); }
static void int8_put_bf16(const scaled_lines *l) { int8_put_as(l, TRINE_BF16); }
static void int8_put_f16(const scaled_lines *l) { int8_put_as(l, TRINE_F16); }

scaled_put_fn scaled_int8_put(trine_dtype real)
{
    return real == TRINE_F32 ? int8_put_f32 : real == TRINE_BF16 ? int8_put_bf16 : int8_put_f16;
}
#else
scaled_put_fn scaled_int8_put(trine_dtype real) { return (void)real, NULL; }
#endif
