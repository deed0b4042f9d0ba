/* The micro-kernel of register_tiled: a small tile of d in registers, from a panel of a and a panel of b.
 *
 * Panels are packed: panel[k][MR] of a, panel[k][NR] of b, so that it reads both front to back. For one k it loads NR / VEC_LANES
 * vectors of b and broadcasts MR numbers of a, and starts MR NR / VEC_LANES multiply-adds: the processor's rate of multiply-adds is
 * what bounds it, as long as all MR NR / VEC_LANES sums stay in registers, of which AVX-512 has 32 and the others 16.
 *
 * Products of bf16 take half as many steps on a processor with AVX512-BF16: a number of a panel is then a pair of terms, and
 * VDPBF16PS adds the products of two pairs to a sum, each rounded to nearest. It takes subnormal numbers for 0, terms and sums;
 * panels that hold subnormal terms are therefore multiplied in f32, and only sums below 2^-126 are lost. */
#ifndef TRINE_CPU_MATMUL_KERNEL_H
#define TRINE_CPU_MATMUL_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#if defined __AVX512F__ || defined __FMA__
#include <immintrin.h>
#endif

#if defined __AVX512F__
enum { VEC_LANES = 16, MR = 12, WIDE_MR = 8, WIDE_NV = 3 };
#elif defined __FMA__
enum { VEC_LANES = 8, MR = 6, WIDE_MR = MR, WIDE_NV = 2 };
#else
enum { VEC_LANES = 4, MR = 4, WIDE_MR = MR, WIDE_NV = 2 };
#endif
enum { NV = 2, NR = NV * VEC_LANES, WIDE_NR = WIDE_NV * VEC_LANES };

/* vec_any: in memory, at any multiple of 4 bytes. */
typedef float vec __attribute__((vector_size(4 * VEC_LANES)));
typedef float vec_any __attribute__((vector_size(4 * VEC_LANES), aligned(4), may_alias));

static inline vec vec_load(const float *p) { return *(const vec_any *)p; }

static inline void vec_store(float *p, vec x) { *(vec_any *)p = x; }

static inline vec vec_all(float x) { return x - (vec){0}; }

/* a b + c; rounded once where the processor has such an instruction. */
static inline vec vec_fma(vec a, vec b, vec c)
{
#if defined __AVX512F__
    return _mm512_fmadd_ps(a, b, c);
#elif defined __FMA__
    return _mm256_fmadd_ps(a, b, c);
#else
    return a * b + c;
#endif
}

/* What a number of a panel is: a term, or two of bf16, the first in the low half. */
typedef enum panel_kind { PANEL_TERMS, PANEL_PAIRS, PANEL_PAIRS_IN_F32 } panel_kind;

/* Whether products of bf16 go by pairs here. */
static inline bool multiplies_pairs(void)
{
#if defined __AVX512F__
    return __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

typedef uint16_t vec_halves __attribute__((vector_size(4 * VEC_LANES)));
typedef int32_t vec_bits __attribute__((vector_size(4 * VEC_LANES)));
typedef uint32_t vec_unsigned __attribute__((vector_size(4 * VEC_LANES)));

static inline vec first_of_pairs(vec x) { return (vec)((vec_bits)x << 16); }

static inline vec second_of_pairs(vec x) { return (vec)((vec_bits)x & (int32_t)0xffff0000); }

static inline float total_of_lanes(vec x)
{
    vec_bits lane;
    for (int i = 0; i < VEC_LANES; i++) lane[i] = i;
#pragma GCC unroll 4
    for (int step = VEC_LANES / 2; step > 0; step /= 2) x += __builtin_shuffle(x, lane ^ step);
    return x[0];
}

/* sum + a b. `kind` is a constant. */
static inline __attribute__((always_inline)) vec add_product(const panel_kind kind, vec a, vec b, vec sum)
{
    if (kind == PANEL_TERMS) return vec_fma(a, b, sum);
#if defined __AVX512F__
    if (kind == PANEL_PAIRS) {
        __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(b), "v"(a)); /* the level's compiler flags have no intrinsic for it */
        return sum;
    }
#endif
    return vec_fma(second_of_pairs(a), second_of_pairs(b), vec_fma(first_of_pairs(a), first_of_pairs(b), sum));
}

/* The same; the sum stays in its register: no moves. */
static inline __attribute__((always_inline)) vec add_kept(const panel_kind kind, vec a, vec b, vec sum)
{
#if defined __FMA__
    if (kind == PANEL_TERMS) {
        __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
        return sum;
    }
#endif
    return add_product(kind, a, b, sum);
}

/* Terms of a loop's body. A jump for each term costs 5 % (Granite Rapids). */
enum { TERMS_UNROLLED = VEC_LANES > 4 ? 4 : 1 };

/* All sums are in registers here: else the compiler mixes the terms of a loop's body, and has too few registers. */
static inline __attribute__((always_inline)) void keep_sums(const int rows, const int nv, const int pitch, vec *sum)
{
#if defined __AVX__
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++) __asm__ volatile("" : "+v"(sum[i * pitch + j]));
#else
    (void)rows, (void)nv, (void)pitch, (void)sum;
#endif
}

/* sum += the products of one term. */
static inline __attribute__((always_inline)) void add_term(const panel_kind kind, const int rows, const float *restrict a,
                                                           const float *restrict b, vec (*sum)[NV])
{
    vec right[NV];
    for (int j = 0; j < NV; j++) right[j] = vec_load(b + j * VEC_LANES);
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        const vec left = vec_all(a[i]);
        for (int j = 0; j < NV; j++) sum[i][j] = add_kept(kind, left, right[j], sum[i][j]);
    }
}

/* What comes to the L2 cache while a tile is made: a number of bytes for every term from `from` on. */
typedef struct panel_ahead {
    const char *from;
    int64_t each; /* 0: nothing */
} panel_ahead;

/* The first `rows` of the tile; `kind`, `rows` and `asks` are constants. What it is added to is asked for before it is needed. */
static inline __attribute__((always_inline)) void multiply_rows(const panel_kind kind, const int rows, const bool asks,
                                                                const float *restrict a, const float *restrict b, int64_t terms,
                                                                float *restrict out, int64_t pitch, bool add, panel_ahead ahead)
{
    vec sum[MR][NV] = {0};
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < NV; j++) __builtin_prefetch(out + i * pitch + (j + 1) * VEC_LANES - 1, 1);
    int64_t k = 0;
    for (; k + TERMS_UNROLLED <= terms; k += TERMS_UNROLLED, a += TERMS_UNROLLED * MR, b += TERMS_UNROLLED * NR) {
#pragma GCC unroll 16
        for (int i = 0; i < TERMS_UNROLLED; i++) {
            if (asks) __builtin_prefetch(ahead.from + i * ahead.each, 0, 2);
            add_term(kind, rows, a + i * MR, b + i * NR, sum);
            keep_sums(rows, NV, NV, sum[0]);
        }
        ahead.from += TERMS_UNROLLED * ahead.each;
    }
    for (; k < terms; k++, a += MR, b += NR) add_term(kind, rows, a, b, sum);
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < NV; j++) {
            float *to = out + i * pitch + j * VEC_LANES;
            vec_store(to, add ? vec_load(to) + sum[i][j] : sum[i][j]);
        }
}

/* Rows that multiply_panels makes of a tile of which `rows` are wanted: a third, two thirds or all. */
static inline int64_t rows_made(int64_t rows) { return rows <= MR / 3 ? MR / 3 : rows <= 2 * MR / 3 ? 2 * MR / 3 : MR; }

static inline __attribute__((always_inline)) void multiply_kind(const panel_kind kind, const float *a, const float *b,
                                                                int64_t terms, float *out, int64_t pitch, bool add, int64_t made)
{
    const panel_ahead nothing = {0};
    if (made == MR)
        multiply_rows(kind, MR, false, a, b, terms, out, pitch, add, nothing);
    else if (made == MR / 3)
        multiply_rows(kind, MR / 3, false, a, b, terms, out, pitch, add, nothing);
    else
        multiply_rows(kind, 2 * MR / 3, false, a, b, terms, out, pitch, add, nothing);
}

#if defined __AVX512F__
/* Of panels of pairs. */
static __attribute__((noinline)) void multiply_pairs(bool in_f32, const float *a, const float *b, int64_t terms, float *out,
                                                     int64_t pitch, bool add, int64_t made)
{
    if (in_f32)
        multiply_kind(PANEL_PAIRS_IN_F32, a, b, terms, out, pitch, add, made);
    else
        multiply_kind(PANEL_PAIRS, a, b, terms, out, pitch, add, made);
}
#endif

/* Of whole tiles of terms. */
static __attribute__((noinline)) void multiply_and_ask(const float *a, const float *b, int64_t terms, float *out, int64_t pitch,
                                                       bool add, panel_ahead ahead)
{
    multiply_rows(PANEL_TERMS, MR, true, a, b, terms, out, pitch, add, ahead);
}

/* out[rows_made(rows)][NR], `pitch` apart: the sum over the panels' terms, or that added to what is there. */
static inline void multiply_panels(panel_kind kind, const float *a, const float *b, int64_t terms, float *out, int64_t pitch,
                                   bool add, int64_t rows, panel_ahead ahead)
{
#if defined __AVX512F__
    if (kind != PANEL_TERMS) {
        multiply_pairs(kind == PANEL_PAIRS_IN_F32, a, b, terms, out, pitch, add, rows_made(rows));
        return;
    }
#endif
    (void)kind;
    if (ahead.each && rows_made(rows) == MR)
        multiply_and_ask(a, b, terms, out, pitch, add, ahead);
    else
        multiply_kind(PANEL_TERMS, a, b, terms, out, pitch, add, rows_made(rows));
}

#endif
