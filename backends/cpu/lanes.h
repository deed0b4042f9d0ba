/* First passes over rows: sums and maxima of f32, f16 or bf16 arrays that come from memory, 16 elements at a time.
 *
 * A pass converts on the way and may keep what it converted, so that the next one finds f32 in the L1 cache. Four running results
 * take turns: one alone would wait for itself. The order of operations depends on the length alone, so the bits are the same at
 * every level of the instruction set, but where an op asks for lanes_fma. A pass also asks for memory that a later one will read
 * (`ahead`), a few lines for each block of elements: requests in one burst would fill the queue of misses and make the pass wait
 * (Zen 5, layernorm of bf16 rows of 4096: 32 GB/s without, 41 in a burst, 48 spread over two passes). */
#ifndef TRINE_CPU_LANES_H
#define TRINE_CPU_LANES_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined __SSE2__
#include <immintrin.h>
#endif

#include "backends/cpu/prefetch.h"
#include "backends/cpu/span_formats.h"
#include "trine/dtype.h"

typedef float f32x16 __attribute__((vector_size(64)));
typedef int32_t i32x16 __attribute__((vector_size(64)));
typedef uint32_t u32x16 __attribute__((vector_size(64)));
enum { LANES = 16, LANES_BLOCK = 64, LANES_INPUTS = 2 };
#define LANES_INLINE static inline __attribute__((always_inline, unused))

/* x[1] is read by passes over two inputs only. */
typedef struct lanes_input {
    const void *x[LANES_INPUTS];
    float *keep[LANES_INPUTS]; /* where to put f32 made of 16-bit types; NULL: nowhere */
    trine_dtype dtype;         /* f32, f16 or bf16 */
    int64_t n;
    const char *ahead[LANES_INPUTS]; /* memory to ask for, `lines` cache lines a block: 0, 1, 2 or 4 */
    int lines;
} lanes_input;

/* of(dtype) with the dtype, f32, bf16 or f16, as a constant. */
#define LANES_BY_DTYPE(dtype, of) \
    do { \
        if ((dtype) == TRINE_F32) \
            of(TRINE_F32); \
        else if ((dtype) == TRINE_BF16) \
            of(TRINE_BF16); \
        else \
            of(TRINE_F16); \
    } while (0)

/* ---- Vectors ---- */

LANES_INLINE f32x16 lanes_of(float x) { return (f32x16){0} + x; }

LANES_INLINE f32x16 lanes_of_f16(const void *p)
{
    f32x16 v;
#if defined __AVX512F__
    v = (f32x16)_mm512_cvtph_ps(_mm256_loadu_si256(p));
#elif defined __AVX2__ && defined __F16C__
    const __m256 halves[2] = {_mm256_cvtph_ps(_mm_loadu_si128(p)), _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p + 1))};
    memcpy(&v, halves, sizeof v);
#else
    uint16_t codes[LANES];
    float widened[LANES];
    memcpy(codes, p, sizeof codes);
    for (int i = 0; i < LANES; i++) widened[i] = span_widen(codes[i], SPAN_F16);
    memcpy(&v, widened, sizeof v);
#endif
    return v;
}

/* By hand: GCC widens halves and puts them together, which takes twice as long. */
LANES_INLINE f32x16 lanes_of_bf16(const void *p)
{
#if defined __AVX512F__
    return (f32x16)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)), 16);
#elif defined __AVX2__
    f32x16 v;
    const __m128i *from = p;
    const __m256i halves[2] = {_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(from)), 16),
                               _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(from + 1)), 16)};
    memcpy(&v, halves, sizeof v);
    return v;
#else
    typedef uint16_t u16x16 __attribute__((vector_size(32)));
    u16x16 codes;
    memcpy(&codes, p, sizeof codes);
    return (f32x16)(__builtin_convertvector(codes, i32x16) << 16);
#endif
}

LANES_INLINE int64_t lanes_size(trine_dtype dtype) { return dtype == TRINE_F32 ? 4 : 2; }

/* Elements [i, i + 16) of x. */
LANES_INLINE f32x16 lanes_load(const void *x, trine_dtype dtype, int64_t i)
{
    const char *p = (const char *)x + i * lanes_size(dtype);
    f32x16 v;
    if (dtype == TRINE_F16) return lanes_of_f16(p);
    if (dtype == TRINE_BF16) return lanes_of_bf16(p);
    memcpy(&v, p, sizeof v);
    return v;
}

/* Element 0 of x. */
LANES_INLINE float lanes_first(const void *x, trine_dtype dtype)
{
    float value;
    uint16_t code;
    memcpy(&code, x, sizeof code);
    if (dtype == TRINE_F32) return memcpy(&value, x, sizeof value), value;
    return dtype == TRINE_BF16 ? trine_f32_of_bits((uint32_t)code << 16) : span_widen(code, SPAN_F16);
}

/* Elements [i, i + m), m < 16; the lanes behind them are `pad`. */
LANES_INLINE f32x16 lanes_load_part(const void *x, trine_dtype dtype, int64_t i, int64_t m, float pad)
{
    const char *p = (const char *)x + i * lanes_size(dtype);
#if defined __AVX512BW__ && defined __AVX512VL__
    const __mmask16 there = (__mmask16)((1u << m) - 1);
    if (dtype == TRINE_F32) return (f32x16)_mm512_mask_loadu_ps(_mm512_set1_ps(pad), there, p);
    char part[32];
    const __m256i codes = _mm256_maskz_loadu_epi16(there, p);
    memcpy(part, &codes, sizeof part);
    return (f32x16)_mm512_mask_mov_ps(_mm512_set1_ps(pad), there, (__m512)lanes_load(part, dtype, 0));
#else
    const i32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, there = lane < (int32_t)m;
    char part[64] = {0};
    memcpy(part, p, (size_t)(m * lanes_size(dtype)));
    return (f32x16)(((i32x16)lanes_load(part, dtype, 0) & there) | ((i32x16)lanes_of(pad) & ~there));
#endif
}

/* The first m < 16 lanes. */
LANES_INLINE void lanes_store_part(float *to, f32x16 v, int64_t m)
{
#if defined __AVX512F__
    _mm512_mask_storeu_ps(to, (__mmask16)((1u << m) - 1), (__m512)v);
#else
    memcpy(to, &v, (size_t)m * sizeof *to);
#endif
}

/* TRINE_FMA of vectors. */
LANES_INLINE f32x16 lanes_fma(f32x16 a, f32x16 b, f32x16 c)
{
#if defined __AVX512F__
    return (f32x16)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined __FMA__
    __m256 x[3][2];
    memcpy(x[0], &a, sizeof a);
    memcpy(x[1], &b, sizeof b);
    memcpy(x[2], &c, sizeof c);
    for (int i = 0; i < 2; i++) x[2][i] = _mm256_fmadd_ps(x[0][i], x[1][i], x[2][i]);
    memcpy(&c, x[2], sizeof c);
    return c;
#elif defined __ARM_FEATURE_FMA
    for (int i = 0; i < LANES; i++) c[i] = fmaf(a[i], b[i], c[i]);
    return c;
#else
    return a * b + c;
#endif
}

/* y where t >= low, else 0. */
LANES_INLINE f32x16 lanes_from(f32x16 t, float low, f32x16 y)
{
#if defined __AVX512F__
    return (f32x16)_mm512_maskz_mov_ps(_mm512_cmp_ps_mask((__m512)t, _mm512_set1_ps(low), _CMP_GE_OQ), (__m512)y);
#else
    return (f32x16)((i32x16)y & (t >= lanes_of(low)));
#endif
}

/* sum, and x where the 16 indices are `wanted`. */
LANES_INLINE f32x16 lanes_add_where(f32x16 sum, f32x16 x, const int32_t *index, i32x16 wanted)
{
#if defined __AVX512F__
    const __mmask16 hit = _mm512_cmpeq_epi32_mask(_mm512_loadu_si512(index), (__m512i)wanted);
    return (f32x16)_mm512_mask_add_ps((__m512)sum, hit, (__m512)sum, (__m512)x);
#else
    i32x16 own;
    memcpy(&own, index, sizeof own);
    return sum + (f32x16)((i32x16)x & (own == wanted));
#endif
}

LANES_INLINE float lanes_sum(f32x16 v)
{
#if defined __AVX512F__
    return _mm512_reduce_add_ps((__m512)v);
#else
    typedef float f32x8 __attribute__((vector_size(32)));
    typedef float f32x4 __attribute__((vector_size(16)));
    f32x8 halves[2];
    f32x4 quarters[2];
    memcpy(halves, &v, sizeof halves);
    halves[0] += halves[1];
    memcpy(quarters, halves, sizeof quarters);
    quarters[0] += quarters[1];
    return (quarters[0][0] + quarters[0][2]) + (quarters[0][1] + quarters[0][3]);
#endif
}

/* Lane by lane the larger number: x > best ? x : best. */
LANES_INLINE f32x16 lanes_larger(f32x16 x, f32x16 best)
{
#if defined __AVX512F__
    return (f32x16)_mm512_max_ps((__m512)x, (__m512)best);
#elif defined __AVX__
    __m256 a[2], b[2];
    memcpy(a, &x, sizeof a);
    memcpy(b, &best, sizeof b);
    for (int i = 0; i < 2; i++) b[i] = _mm256_max_ps(a[i], b[i]);
    memcpy(&best, b, sizeof best);
    return best;
#elif defined __SSE2__
    __m128 a[4], b[4];
    memcpy(a, &x, sizeof a);
    memcpy(b, &best, sizeof b);
    for (int i = 0; i < 4; i++) b[i] = _mm_max_ps(a[i], b[i]);
    memcpy(&best, b, sizeof best);
    return best;
#else
    for (int i = 0; i < LANES; i++) best[i] = x[i] > best[i] ? x[i] : best[i];
    return best;
#endif
}

LANES_INLINE float lanes_largest(f32x16 v)
{
#if defined __AVX512F__
    return _mm512_reduce_max_ps((__m512)v);
#else
    float most = v[0];
    for (int i = 1; i < LANES; i++) most = v[i] > most ? v[i] : most;
    return most;
#endif
}

/* Bit k: whether lane k is `wanted`, or with `nan` a NaN. In 16 bits: GCC 12 spills 16 of a mask and reloads 32. */
LANES_INLINE uint16_t lanes_where(f32x16 a, f32x16 wanted, bool nan)
{
#if defined __AVX512F__
    return nan ? _mm512_cmp_ps_mask((__m512)a, (__m512)a, _CMP_UNORD_Q)
               : _mm512_cmp_ps_mask((__m512)a, (__m512)wanted, _CMP_EQ_OQ);
#elif defined __SSE2__
    const i32x16 hit = nan ? a != a : a == wanted;
    __m128 part[4];
    uint32_t where = 0;
    memcpy(part, &hit, sizeof part);
    for (int k = 0; k < 4; k++) where |= (uint32_t)_mm_movemask_ps(part[k]) << 4 * k;
    return (uint16_t)where;
#else
    uint32_t where = 0;
    for (int k = 0; k < LANES; k++) where |= (uint32_t)(nan ? a[k] != a[k] : a[k] == wanted[k]) << k;
    return (uint16_t)where;
#endif
}

/* A mask's 16 bits by way of memory, which keeps the compiler from taking 32. */
LANES_INLINE uint32_t lanes_bits_of(uint16_t mask)
{
    const volatile uint16_t bits = mask;
    return bits;
}

/* ---- Passes ---- */

/* Whether the elements [i, i + LANES) are the first of a line's worth, counted from element 0. */
LANES_INLINE bool lanes_begin_line(trine_dtype dtype, int64_t i) { return i * lanes_size(dtype) % 64 == 0; }

/* Asks the L2 cache for what lies `ahead` bytes behind the elements [i, i + LANES), once a line. */
LANES_INLINE void lanes_ask_at(const char *from, trine_dtype dtype, int64_t i, int64_t ahead)
{
    if (lanes_begin_line(dtype, i)) __builtin_prefetch(from + i * lanes_size(dtype) + ahead, 0, 2);
}

/* Straight lines of 4, 2 and 1: a loop would take as long as the pass. */
LANES_INLINE void lanes_ask(const char *from, int lines)
{
    if (lines & 4)
        for (int line = 0; line < 4; line++) ask_for_line(from + line * 64);
    if (lines & 2)
        for (int line = 0; line < 2; line++) ask_for_line(from + (line + (lines & 4)) * 64);
    if (lines & 1) ask_for_line(from + (lines & 6) * 64);
}

/* What a pass asks for before vector k of the block that begins with element i: a line of each input, while the block has some. */
LANES_INLINE void lanes_ahead(const lanes_input *in, int inputs, int64_t i, int k)
{
    ask_in_order();
    for (int input = 0; input < inputs && k < in->lines; input++) ask_for_line(in->ahead[input] + i * in->lines + 64 * k);
}

LANES_INLINE f32x16 lanes_take(const lanes_input *in, int k, trine_dtype dtype, bool keep, int64_t i)
{
    const f32x16 v = lanes_load(in->x[k], dtype, i);
    if (keep) memcpy(in->keep[k] + i, &v, sizeof v);
    return v;
}

LANES_INLINE f32x16 lanes_take_part(const lanes_input *in, int k, trine_dtype dtype, bool keep, int64_t i, float pad)
{
    const f32x16 v = lanes_load_part(in->x[k], dtype, i, in->n - i, pad);
    if (keep) lanes_store_part(in->keep[k] + i, v, in->n - i);
    return v;
}

/* Calls of_dtype(in, dtype, keep, ...) with constants in the second and third place, so that the loops are made for them. */
#define LANES_DISPATCH(of_dtype, in, ...) \
    ((in)->dtype == TRINE_F32 ? of_dtype(in, TRINE_F32, false, __VA_ARGS__) \
     : (in)->dtype == TRINE_BF16 \
         ? (in)->keep[0] ? of_dtype(in, TRINE_BF16, true, __VA_ARGS__) : of_dtype(in, TRINE_BF16, false, __VA_ARGS__) \
     : (in)->keep[0] ? of_dtype(in, TRINE_F16, true, __VA_ARGS__) \
                     : of_dtype(in, TRINE_F16, false, __VA_ARGS__))

/* Defines float name(in, about): the sum of `more`, an expression that adds to the vector s what becomes of the vectors a (of the
 * first input), b (of the second, if there are two) and about: nothing where a is `about` and b is 0. */
#define LANES_SUM(name, inputs, more) \
    LANES_INLINE f32x16 name##_more(f32x16 s, f32x16 a, f32x16 b, f32x16 about) \
    { \
        return (void)s, (void)a, (void)b, (void)about, (more); \
    } \
    LANES_INLINE float name##_of(const lanes_input *input, trine_dtype dtype, bool keep, float from) \
    { \
        const lanes_input own = *input, *in = &own; /* which no store to what is kept can change */ \
        const f32x16 about = lanes_of(from); \
        f32x16 s[4] = {{0}, {0}, {0}, {0}}; \
        int64_t i = 0; \
        for (; i + LANES_BLOCK <= in->n; i += LANES_BLOCK) { \
            _Pragma("GCC unroll 4") for (int k = 0; k < 4; k++) \
            { \
                lanes_ahead(in, inputs, i, k); \
                const f32x16 a = lanes_take(in, 0, dtype, keep, i + LANES * k); \
                s[k] = name##_more(s[k], a, (inputs) > 1 ? lanes_take(in, 1, dtype, keep, i + LANES * k) : a, about); \
            } \
        } \
        for (; i + LANES <= in->n; i += LANES) { \
            const f32x16 a = lanes_take(in, 0, dtype, keep, i); \
            s[0] = name##_more(s[0], a, (inputs) > 1 ? lanes_take(in, 1, dtype, keep, i) : a, about); \
        } \
        if (i < in->n) { \
            const f32x16 a = lanes_take_part(in, 0, dtype, keep, i, from); \
            s[1] = name##_more(s[1], a, (inputs) > 1 ? lanes_take_part(in, 1, dtype, keep, i, 0) : a, about); \
        } \
        return lanes_sum((s[0] + s[1]) + (s[2] + s[3])); \
    } \
    static __attribute__((unused)) float name(const lanes_input *in, float about) { return LANES_DISPATCH(name##_of, in, about); }

/* ---- Maxima ---- */

/* The largest number, -inf if there is none, of the elements, or with `turned` of their negatives. *finite: all elements are,
 * which a finite sum says. */
LANES_INLINE float lanes_most_of(const lanes_input *from, trine_dtype dtype, bool keep, bool turned, bool *finite)
{
    const lanes_input own = *from, *in = &own; /* which no store to what is kept can change */
    f32x16 best[4], sum[4] = {{0}, {0}, {0}, {0}};
    int64_t i = 0;
    for (int k = 0; k < 4; k++) best[k] = lanes_of(-INFINITY);
    for (; i + LANES_BLOCK <= in->n; i += LANES_BLOCK) {
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            lanes_ahead(in, 1, i, k);
            const f32x16 a = lanes_take(in, 0, dtype, keep, i + LANES * k);
            best[k] = lanes_larger(turned ? -a : a, best[k]);
            sum[k] += a;
        }
    }
    for (; i + LANES <= in->n; i += LANES) {
        const f32x16 a = lanes_take(in, 0, dtype, keep, i);
        best[0] = lanes_larger(turned ? -a : a, best[0]);
        sum[0] += a;
    }
    if (i < in->n) {
        const f32x16 a = lanes_take_part(in, 0, dtype, keep, i, turned ? INFINITY : -INFINITY);
        best[1] = lanes_larger(turned ? -a : a, best[1]);
        sum[1] += lanes_load_part(in->x[0], dtype, i, in->n - i, 0);
    }
    const float total = lanes_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
    *finite = total - total == 0;
    return lanes_largest(lanes_larger(lanes_larger(best[0], best[1]), lanes_larger(best[2], best[3])));
}

/* The largest of the first block, or a NaN. */
LANES_INLINE float lanes_near_of(const lanes_input *in, trine_dtype dtype)
{
    f32x16 v[4];
    for (int k = 0; k < 4; k++) v[k] = lanes_load(in->x[0], dtype, LANES * k);
    return lanes_largest(lanes_larger(lanes_larger(v[0], v[1]), lanes_larger(v[2], v[3])));
}

static __attribute__((unused)) float lanes_near(const lanes_input *in)
{
    return in->dtype == TRINE_F32    ? lanes_near_of(in, TRINE_F32)
           : in->dtype == TRINE_BF16 ? lanes_near_of(in, TRINE_BF16)
                                     : lanes_near_of(in, TRINE_F16);
}

/* First i with x[i] == value, or with a NaN if `nan`; -1: none. */
LANES_INLINE int64_t lanes_find_of(const lanes_input *in, trine_dtype dtype, bool keep, float value, bool nan)
{
    const f32x16 wanted = lanes_of(value);
    int64_t i = 0;
    (void)keep;
    for (; i + LANES_BLOCK <= in->n; i += LANES_BLOCK) {
        uint16_t where[4];
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) where[k] = lanes_where(lanes_load(in->x[0], dtype, i + LANES * k), wanted, nan);
        if (!(uint16_t)(where[0] | where[1] | where[2] | where[3])) continue;
        for (int k = 0; k < 4; k++) {
            const uint32_t own = lanes_bits_of(where[k]);
            if (own) return i + LANES * k + __builtin_ctz(own);
        }
    }
    for (int64_t m; i < in->n; i += m) {
        m = in->n - i < LANES ? in->n - i : LANES;
        const f32x16 a = m == LANES ? lanes_load(in->x[0], dtype, i) : lanes_load_part(in->x[0], dtype, i, m, 0);
        const uint32_t where = lanes_bits_of(lanes_where(a, wanted, nan)) & ((1u << m) - 1);
        if (where) return i + __builtin_ctz(where);
    }
    return -1;
}

static __attribute__((unused)) int64_t lanes_find(const lanes_input *in, float value)
{
    return isnan(value) ? LANES_DISPATCH(lanes_find_of, in, value, true) : LANES_DISPATCH(lanes_find_of, in, value, false);
}

/* The largest number of the elements times `sign`, which is 1 or -1; -inf if there is none. *nan: whether one is NaN. */
static __attribute__((unused)) float lanes_most(const lanes_input *in, float sign, bool *nan)
{
    bool finite;
    const float most =
        sign < 0 ? LANES_DISPATCH(lanes_most_of, in, true, &finite) : LANES_DISPATCH(lanes_most_of, in, false, &finite);
    *nan = !finite && lanes_find(in, NAN) >= 0;
    return most;
}

#endif
