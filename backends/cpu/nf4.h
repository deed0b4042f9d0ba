/* nf4 codes to f32. Processors with AVX-512 look 16 codes up at once, in a register. */
#ifndef TRINE_CPU_NF4_H
#define TRINE_CPU_NF4_H

#include <stdint.h>

#include "core/nf4.h"

#if defined __AVX512F__
#include <immintrin.h>
#endif

/* Elements [first, first + n), within a block, as f32. */
static inline void nf4_values(float *restrict y, const uint8_t *codes, int64_t first, int64_t n, float absmax)
{
    static const float value[] = TRINE_NF4_VALUES;
    _Alignas(64) float scaled[16];
    for (int k = 0; k < 16; k++) scaled[k] = value[k] * absmax;
    int64_t i = 0;
    if (first % 2 && n > 0) y[i++] = scaled[codes[first / 2] & 15];
    const uint8_t *from = codes + (first + i) / 2;
#if defined __AVX512F__
    const __m512 table = _mm512_load_ps(scaled);
    for (; i + 16 <= n; i += 16, from += 8) {
        const __m128i pairs = _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)from));
        const __m128i low = _mm_slli_epi16(_mm_and_si128(pairs, _mm_set1_epi16(15)), 8);
        const __m512i code = _mm512_cvtepu8_epi32(_mm_or_si128(_mm_srli_epi16(pairs, 4), low));
        _mm512_storeu_ps(y + i, _mm512_permutexvar_ps(code, table));
    }
#endif
    for (; i + 1 < n; i += 2, from++) {
        y[i] = scaled[*from >> 4];
        y[i + 1] = scaled[*from & 15];
    }
    if (i < n) y[i] = scaled[*from >> 4];
}

#endif
