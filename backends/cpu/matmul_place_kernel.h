/* The micro-kernel of rows that are multiplied where they lie (matmul_in_place.h). As matmul_kernel.h's it keeps MR x NR sums in
 * registers and adds NR / VEC_LANES vectors of b times MR numbers of a for each term, but these come from MR addresses.
 *
 * Or WIDE_MR x WIDE_NR sums: fewer rows, whose lines meet in one set of the L1 cache where rows lie some multiple of 4 KiB apart
 * (Granite Rapids, two cores, rows of 2048: 8 x 48 makes 357 GFLOP/s, 12 x 32 326, packed 355). */
#ifndef TRINE_CPU_MATMUL_PLACE_KERNEL_H
#define TRINE_CPU_MATMUL_PLACE_KERNEL_H

#include "backends/cpu/matmul_pack.h"

/* PLACE_ROWS: whose addresses lie together, a multiple of VEC_LANES and of the rows of a tile. */
enum { PLACE_ROWS = 16 * MR, PLACE_TILES = PLACE_ROWS / WIDE_MR };

typedef char place_rows_are_whole_tiles[PLACE_ROWS % WIDE_MR == 0 && PLACE_ROWS % VEC_LANES == 0 ? 1 : -1];

typedef struct place_tile {
    const uintptr_t *row; /* row[tap][i] */
    int64_t taps, terms;
    const float *b;
    float *out;
    int64_t pitch;
    bool add;
    bool odd;         /* the last pair of each tap lacks its second, which is not read */
    bool looks;       /* for subnormal terms */
    int64_t ahead;    /* bytes from the last tap's terms to others that are read later; 0: the rows have been read before */
    const char *next; /* a part of what is multiplied later, to come to the L2 cache meanwhile: */
    int64_t lines;    /* so many of its lines for every VEC_LANES terms; 0: none */
} place_tile;

/* Terms that no tile has read before come from memory: the kernel asks for what lies `ahead` bytes behind them and may look
 * for subnormal ones. *least stays in memory, for the sums need the registers. */
static inline __attribute__((always_inline)) void read_ahead(const panel_kind kind, const int rows, const char *const *from,
                                                             const place_tile *t, vec_halves *least)
{
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) __builtin_prefetch((const void *)((uintptr_t)from[i] + (uintptr_t)t->ahead));
#if defined __AVX512F__
    if (kind == PANEL_TERMS || !t->looks) return;
    __m512i ones, all = (__m512i)*least;
    __asm__ volatile("vpternlogd $255, %0, %0, %0" : "=v"(ones)); /* made anew each time, too */
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        const __m512i x = _mm512_loadu_si512(from[i]);
        all = _mm512_min_epu16(all, _mm512_add_epi16(_mm512_add_epi16(x, x), ones));
    }
    *least = (vec_halves)all;
    __asm__ volatile("" : "+m"(*least));
#else
    (void)kind, (void)least;
#endif
}

/* sum += the products of number k at the rows' places with vectors of b. `kind`, `rows` and `nv` are constants. */
static inline __attribute__((always_inline)) void add_vectors(const panel_kind kind, const int rows, const int nv,
                                                              const char *const *from, const int64_t k, const vec *right,
                                                              vec (*sum)[WIDE_NV])
{
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        float number;
        memcpy(&number, from[i] + k * (int64_t)sizeof number, sizeof number);
        const vec left = vec_all(number);
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++) sum[i][j] = add_kept(kind, left, right[j], sum[i][j]);
    }
}

static inline __attribute__((always_inline)) void add_place(const panel_kind kind, const int rows, const int nv,
                                                            const char *const *from, const int64_t k, const float *restrict b,
                                                            vec (*sum)[WIDE_NV])
{
    vec right[WIDE_NV];
    for (int j = 0; j < nv; j++) right[j] = vec_load(b + j * VEC_LANES);
    add_vectors(kind, rows, nv, from, k, right, sum);
}

/* The same of VEC_LANES numbers. */
static inline __attribute__((always_inline)) void add_vector(const panel_kind kind, const int rows, const int nv,
                                                             const char *const *from, const float *restrict b,
                                                             vec (*sum)[WIDE_NV])
{
    for (int64_t k = 0; k < VEC_LANES; k += TERMS_UNROLLED, b += TERMS_UNROLLED * nv * VEC_LANES) {
#pragma GCC unroll 16
        for (int i = 0; i < TERMS_UNROLLED; i++) {
            add_place(kind, rows, nv, from, k + i, b + i * nv * VEC_LANES, sum);
            keep_sums(rows, nv, WIDE_NV, sum[0]);
        }
    }
}

/* The same of n numbers. */
static inline __attribute__((always_inline)) void add_places(const panel_kind kind, const int rows, const int nv,
                                                             const char *const *from, const int64_t n, const float *restrict b,
                                                             vec (*sum)[WIDE_NV])
{
    for (int64_t k = 0; k < n; k++, b += nv * VEC_LANES) add_place(kind, rows, nv, from, k, b, sum);
}

/* The products of a last term alone. It is loaded with the one before it. */
static inline __attribute__((always_inline)) void add_last_place(const panel_kind kind, const int nv, const char *const *from,
                                                                 const int64_t n, const float *restrict b, vec (*sum)[WIDE_NV])
{
    vec right[WIDE_NV];
    for (int j = 0; j < nv; j++) right[j] = vec_load(b + j * VEC_LANES);
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++) {
        float number;
        memcpy(&number, from[i] + n * (int64_t)sizeof number - sizeof number / 2, sizeof number);
        const vec left = (vec)((vec_unsigned)vec_all(number) >> 16);
        for (int j = 0; j < nv; j++) sum[i][j] = add_product(kind, left, right[j], sum[i][j]);
    }
}

/* As multiply_panels (matmul_kernel.h), of a whole tile of rows. All but the tile are constants. first: nobody has read the last
 * tap before; true if it is the only one and there were subnormal terms: nothing is written then. asks: for t->next. What is
 * volatile shall leave the registers to pointers and sums. */
static inline __attribute__((always_inline)) bool multiply_places(const panel_kind kind, const int rows, const int nv,
                                                                  const bool first, const bool asks, const place_tile *of)
{
    const place_tile *volatile const t = of;
    volatile int64_t tap = 0, left;
    const char *volatile next = t->next;
    vec sum[MR][WIDE_NV] = {0};
    vec_halves least = (vec_halves){0} - 1;
    const float *b = t->b;
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < nv; j++) __builtin_prefetch(t->out + i * t->pitch + (j + 1) * VEC_LANES - 1, 1);
    for (; tap < t->taps; tap++) {
        const uintptr_t *row = t->row + tap * PLACE_ROWS;
        const char *from[MR];
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) from[i] = (const char *)row[i];
        left = t->terms - (kind != PANEL_TERMS && t->odd);
        const bool new = first &&tap + 1 == t->taps;
        for (; new &&left >= VEC_LANES; left -= VEC_LANES, b += VEC_LANES * nv * VEC_LANES) {
            read_ahead(kind, rows, from, t, &least);
            add_vector(kind, rows, nv, from, b, sum);
#pragma GCC unroll 16
            for (int i = 0; i < rows; i++) from[i] += sizeof(vec);
        }
        for (; left >= VEC_LANES; left -= VEC_LANES, b += VEC_LANES * nv * VEC_LANES) {
            if (asks) {
                const char *line = next, *const end = line + t->lines * 64;
                for (; line < end; line += 64) __builtin_prefetch(line, 0, 2);
                next = end;
            }
            add_vector(kind, rows, nv, from, b, sum);
#pragma GCC unroll 16
            for (int i = 0; i < rows; i++) from[i] += sizeof(vec);
        }
        const int64_t rest = left;
        add_places(kind, rows, nv, from, rest, b, sum);
        b += rest * nv * VEC_LANES;
        if (kind != PANEL_TERMS && t->odd) {
            add_last_place(kind, nv, from, rest, b, sum);
            b += nv * VEC_LANES;
        }
        if (!new || !rest) continue;
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) from[i] -= (VEC_LANES - rest) * (int64_t)sizeof(float);
        read_ahead(kind, rows, from, t, &least);
    }
    if (first && kind == PANEL_PAIRS && is_least_subnormal(least)) return true;
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < nv; j++) {
            float *to = t->out + i * t->pitch + j * VEC_LANES;
            vec_store(to, t->add ? vec_load(to) + sum[i][j] : sum[i][j]);
        }
    return false;
}

/* name_new, name_asks, name: of new rows, with requests for t->next, without. */
#define MULTIPLY_PLACES(name, kind, rows, nv, first, asks) \
    static __attribute__((noinline)) bool name(const place_tile *tile) \
    { \
        return multiply_places(kind, rows, nv, first, asks, tile); \
    }
#define MULTIPLY_TERMS(name, rows, nv) \
    MULTIPLY_PLACES(name, PANEL_TERMS, rows, nv, false, false) \
    MULTIPLY_PLACES(name##_asks, PANEL_TERMS, rows, nv, false, true) \
    MULTIPLY_PLACES(name##_new, PANEL_TERMS, rows, nv, true, false)
#define MULTIPLY_PAIRS(name, nv) \
    MULTIPLY_PLACES(name, PANEL_PAIRS, MR, nv, false, false) \
    MULTIPLY_PLACES(name##_new, PANEL_PAIRS, MR, nv, true, false) \
    MULTIPLY_PLACES(name##_in_f32, PANEL_PAIRS_IN_F32, MR, nv, false, false)
MULTIPLY_TERMS(terms_of_1, MR, 1)
MULTIPLY_TERMS(terms_of_2, MR, 2)
#if defined __AVX512F__
MULTIPLY_TERMS(wide_terms_of_1, WIDE_MR, 1)
MULTIPLY_TERMS(wide_terms_of_2, WIDE_MR, 2)
MULTIPLY_TERMS(wide_terms_of_3, WIDE_MR, 3)
MULTIPLY_PAIRS(pairs_of_1, 1)
MULTIPLY_PAIRS(pairs_of_2, 2)
#endif
#undef MULTIPLY_PAIRS
#undef MULTIPLY_TERMS
#undef MULTIPLY_PLACES

typedef bool (*place_fn)(const place_tile *t);

/* nv: vectors of the panel. *subnormal: whether rows or columns have such terms; of new rows it is found out. */
static void multiply_tile(bool pairs, bool wide, int64_t nv, const place_tile *t, bool *subnormal)
{
    enum { PLAIN, ASKS, NEW };
    static const place_fn of_terms[NV][3] = {{terms_of_1, terms_of_1_asks, terms_of_1_new},
                                             {terms_of_2, terms_of_2_asks, terms_of_2_new}};
    const int how = t->ahead ? NEW : t->lines ? ASKS : PLAIN;
#if defined __AVX512F__
    static const place_fn of_wide_terms[WIDE_NV][3] = {{wide_terms_of_1, wide_terms_of_1_asks, wide_terms_of_1_new},
                                                       {wide_terms_of_2, wide_terms_of_2_asks, wide_terms_of_2_new},
                                                       {wide_terms_of_3, wide_terms_of_3_asks, wide_terms_of_3_new}};
    if (wide) {
        of_wide_terms[nv - 1][how](t);
        return;
    }
    if (pairs && how == NEW && !*subnormal) {
        *subnormal = (nv == 1 ? pairs_of_1_new : pairs_of_2_new)(t);
        if (!*subnormal) return;
    }
    if (pairs) {
        if (nv == 1)
            (*subnormal ? pairs_of_1_in_f32 : pairs_of_1)(t);
        else
            (*subnormal ? pairs_of_2_in_f32 : pairs_of_2)(t);
        return;
    }
#endif
    (void)pairs, (void)wide, (void)subnormal;
    of_terms[nv - 1][how](t);
}

#endif
