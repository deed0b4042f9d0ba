/* Sums and maxima of f32 arrays. Four running results, each a vector's worth, over the quarters of the array: one alone would
 * wait for itself, four cycles an addition. For arrays that come from memory that is the better way (name_far): demand runs less
 * far ahead of the processor's prefetching, which gains more (measured on Zen 5: 1.5 against 2.4 ns a line). The order of
 * additions depends on the length alone. Without OpenMP's pragma the loops run one element at a time, and the bits are others. */
#ifndef TRINE_CPU_LANES_H
#define TRINE_CPU_LANES_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/* Defines float name(x, y, about, n) and name_far: the sum of `term`, an expression in x[i], y[i] and about. */
#define LANES_SUM(name, term) \
    static inline float name##_at(const float *x, const float *y, float about, int64_t i) \
    { \
        (void)x, (void)y, (void)about; \
        return term; \
    } \
    static float name(const float *x, const float *y, float about, int64_t n) \
    { \
        const int64_t q = n / 4; \
        float a = 0, b = 0, c = 0, d = 0; \
        _Pragma("omp simd reduction(+ : a, b, c, d)") for (int64_t i = 0; i < q; i++) \
        { \
            a += name##_at(x, y, about, i); \
            b += name##_at(x, y, about, i + q); \
            c += name##_at(x, y, about, i + 2 * q); \
            d += name##_at(x, y, about, i + 3 * q); \
        } \
        for (int64_t i = 4 * q; i < n; i++) a += name##_at(x, y, about, i); \
        return (a + b) + (c + d); \
    } \
    static __attribute__((unused)) float name##_far(const float *x, const float *y, float about, int64_t n) \
    { \
        float a = 0; \
        _Pragma("omp simd reduction(+ : a)") for (int64_t i = 0; i < n; i++) a += name##_at(x, y, about, i); \
        return a; \
    }

static inline float lanes_larger(float a, float b) { return a > b ? a : b; }

/* The largest number, -inf if there is none; *nan: whether one is NaN. */
static inline float lanes_most(const float *x, int64_t n, bool *nan)
{
    const int64_t q = n / 4;
    float a = -INFINITY, b = a, c = a, d = a;
    int odd = 0;
#pragma omp simd reduction(max : a, b, c, d) reduction(| : odd)
    for (int64_t i = 0; i < q; i++) {
        a = lanes_larger(x[i], a);
        b = lanes_larger(x[i + q], b);
        c = lanes_larger(x[i + 2 * q], c);
        d = lanes_larger(x[i + 3 * q], d);
        odd |= (x[i] != x[i]) | (x[i + q] != x[i + q]) | (x[i + 2 * q] != x[i + 2 * q]) | (x[i + 3 * q] != x[i + 3 * q]);
    }
    for (int64_t i = 4 * q; i < n; i++) {
        a = lanes_larger(x[i], a);
        odd |= x[i] != x[i];
    }
    *nan = odd != 0;
    return lanes_larger(lanes_larger(a, b), lanes_larger(c, d));
}

/* From memory; of the elements times `sign`. */
static inline float lanes_most_far(const float *x, float sign, int64_t n, bool *nan)
{
    float a = -INFINITY;
    int odd = 0;
#pragma omp simd reduction(max : a) reduction(| : odd)
    for (int64_t i = 0; i < n; i++) {
        a = lanes_larger(x[i] * sign, a);
        odd |= x[i] != x[i];
    }
    *nan = odd != 0;
    return a;
}

#endif
