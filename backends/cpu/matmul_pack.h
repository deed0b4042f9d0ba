/* Packing for register_tiled: from an operand of any strides and dtype to panels of f32, panel[k][width], which the micro-kernel
 * reads front to back. What the operand lacks of a last panel is 0. Bound by bytes: an element is read and written once for as
 * many multiply-adds as the other operand has rows.
 *
 * Of bf16 a panel may hold pairs of terms (matmul_kernel.h): `terms` then counts pairs, the last of which may lack its second.
 *
 * An operand that is dense along its rows is copied in lines; one that is dense along k is turned in squares of VEC_LANES x
 * VEC_LANES. Elements with scales (fp8) are multiplied by them on the way: one rounding more. */
#ifndef TRINE_CPU_MATMUL_PACK_H
#define TRINE_CPU_MATMUL_PACK_H

#include "backends/cpu/matmul_epilogue.h"
#include "backends/cpu/matmul_kernel.h"
#include "backends/cpu/prefetch.h"
#include "core/float_bits.h"

enum { PACK_WIDTH_MAX = WIDE_NR, /* no less than MR and NR */ PACK_GROUP = 8, PACK_TERMS = 384, PACK_AHEAD = 6 };

/* Rows of an operand, over some terms. */
typedef struct pack_source {
    const void *data;
    trine_dtype dtype;
    int64_t first;  /* element of row 0 and term 0 */
    int64_t row, k; /* strides */
    int64_t rows, terms;
    int64_t panel;              /* numbers from one panel to the next; 0: they follow each other */
    bool pairs, odd;            /* terms go by twos; the last one is alone */
    int64_t begin_row, begin_k; /* in the whole matrix, of row 0 and term 0: for what follows */
    /* An operand that has no strides: copies n elements along k (or along rows). NULL: it lies in memory as said above. */
    void (*gather)(void *line, const void *context, int64_t row, int64_t k, int64_t n, bool along_k);
    const void *context;
    const trine_product_scale *scale; /* NULL: none */
    const float *scales;              /* of the matrix's first row and term */
} pack_source;

/* n elements along k (or along rows); k counts elements. */
static inline const float *element_line(float *buffer, const pack_source *s, int64_t row, int64_t k, int64_t n, bool along_k)
{
    if (!s->gather) return load_line(buffer, s->data, s->dtype, s->first + row * s->row + k * s->k, n, along_k ? s->k : s->row);
    float elements[SPAN_MAX];
    void *line = s->dtype == TRINE_F32 ? buffer : elements;
    s->gather(line, s->context, s->begin_row + row, s->begin_k + k, n, along_k);
    return line == buffer ? buffer : span_load(buffer, line, s->dtype, n);
}

/* Two bf16 that were widened to f32. */
static inline float pair_of(float first, float second)
{
    return trine_f32_of_bits(trine_bits_of_f32(first) >> 16 | (trine_bits_of_f32(second) & 0xffff0000u));
}

/* n pairs along k, of `count` terms: 2 n or one less. */
static inline void pairs_along_k(float *pairs, const pack_source *s, int64_t row, int64_t k, int64_t n, int64_t count)
{
    if (s->gather || s->k == 1) {
        if (s->gather)
            s->gather(pairs, s->context, s->begin_row + row, s->begin_k + k, count, true);
        else
            memcpy(pairs, element(s->data, s->dtype, s->first + row * s->row + k), (size_t)count * 2);
        memset((char *)pairs + count * 2, 0, (size_t)(2 * n - count) * 2);
        return;
    }
    SPAN_BUFFER(buffer);
    const float *line = element_line(buffer, s, row, k, count, true);
    for (int64_t i = 0; i < count / 2; i++) pairs[i] = pair_of(line[2 * i], line[2 * i + 1]);
    if (count % 2) pairs[n - 1] = pair_of(line[count - 1], 0);
}

/* Pairs from two lines of bf16. */
static inline __attribute__((always_inline)) void join_lines(float *pairs, const uint16_t *first, const uint16_t *second,
                                                             int64_t n)
{
    for (int64_t i = 0; i < n; i++) pairs[i] = trine_f32_of_bits(first[i] | (uint32_t)second[i] << 16);
}

/* A vector of pairs. */
typedef uint16_t vec_narrow __attribute__((vector_size(2 * VEC_LANES), aligned(2), may_alias));

static inline vec join_halves(const uint16_t *first, const uint16_t *second)
{
    const vec_unsigned low = __builtin_convertvector(*(const vec_narrow *)(const void *)first, vec_unsigned),
                       high = __builtin_convertvector(*(const vec_narrow *)(const void *)second, vec_unsigned);
    return (vec)(low | high << 16);
}

/* A vector of bf16 as f32. */
static inline vec widen_halves(const uint16_t *from)
{
    return (vec)(__builtin_convertvector(*(const vec_narrow *)(const void *)from, vec_unsigned) << 16);
}

/* Pairs of n rows: the terms k and k + 1, or k alone. */
static inline void pairs_of_rows(float *pairs, const pack_source *s, int64_t row, int64_t k, int64_t n, bool alone)
{
    SPAN_BUFFER(buffer);
    if (s->gather) {
        uint16_t first[PACK_GROUP * PACK_WIDTH_MAX], second[PACK_GROUP * PACK_WIDTH_MAX] = {0};
        s->gather(first, s->context, s->begin_row + row, s->begin_k + k, n, false);
        if (!alone) s->gather(second, s->context, s->begin_row + row, s->begin_k + k + 1, n, false);
        join_lines(pairs, first, second, n);
        return;
    }
    const float *line = element_line(buffer, s, row, k, n, false);
    for (int64_t i = 0; i < n; i++) pairs[i] = pair_of(line[i], 0);
    if (alone) return;
    line = element_line(buffer, s, row, k + 1, n, false);
    for (int64_t i = 0; i < n; i++)
        pairs[i] = trine_f32_of_bits(trine_bits_of_f32(pairs[i]) | (trine_bits_of_f32(line[i]) & 0xffff0000u));
}

/* n numbers of panels along k (or along rows). */
static inline const float *source_line(float *buffer, const pack_source *s, int64_t row, int64_t k, int64_t n, bool along_k)
{
    if (!s->pairs) return element_line(buffer, s, row, k, n, along_k);
    const bool alone = s->odd && k + (along_k ? n : 1) == s->terms;
    if (along_k)
        pairs_along_k(buffer, s, row, 2 * k, n, 2 * n - alone);
    else
        pairs_of_rows(buffer, s, row, 2 * k, n, alone);
    return buffer;
}

enum { SCALE_TERMS = 128 };

/* A line of one row, from its first term on. */
static inline void scale_terms(float *line, const pack_source *s, int64_t row)
{
    const float *scales = s->scales + (s->begin_row + row) / s->scale->row_block * s->scale->row;
    for (int64_t k = 0, n; k < s->terms; k += n) {
        const int64_t at = s->begin_k + k, left = SCALE_TERMS - at % SCALE_TERMS;
        const float by = scales[at / SCALE_TERMS * s->scale->k_step];
        n = left < s->terms - k ? left : s->terms - k;
        for (int64_t i = 0; i < n; i++) line[k + i] *= by;
    }
}

/* The scales of rows in the term k. */
static inline void find_scales(float *scales, const pack_source *s, int64_t first_row, int64_t rows, int64_t k)
{
    const float *from = s->scales + (s->begin_k + k) / SCALE_TERMS * s->scale->k_step;
    for (int64_t i = 0; i < rows; i++) scales[i] = from[(s->begin_row + first_row + i) / s->scale->row_block * s->scale->row];
}

/* Lines of one term lie far apart: the processor does not look so far ahead by itself. k counts elements. */
static inline void ask_for(const pack_source *s, int64_t row, int64_t k, int64_t rows)
{
    const char *from = element(s->data, s->dtype, s->first + row + k * s->k);
    for (int64_t i = 0; i < rows * size_of(s->dtype); i += 64) ask_for_line(from + i);
}

/* ---- Subnormal bf16 ---- */

typedef uint16_t bf16_any __attribute__((may_alias, aligned(1)));

enum { SUBNORMAL_BF16 = 0xff };

/* The least of n bf16 without their signs, less 1 in the last place, times 2: below SUBNORMAL_BF16 if any is subnormal. */
static inline uint16_t least_bf16(const void *elements, int64_t n)
{
    const bf16_any *bits = elements;
    uint16_t least = 0xffff;
    for (int64_t i = 0; i < n; i++) {
        const uint16_t x = (uint16_t)((uint16_t)(bits[i] << 1) - 1);
        least = x < least ? x : least;
    }
    return least;
}

/* The same, lane by lane of vectors. */
static inline vec_halves less_halves(vec_halves least, vec_halves bits)
{
    const vec_halves x = (bits << 1) - 1;
#if defined __AVX512F__
    return (vec_halves)_mm512_min_epu16((__m512i)x, (__m512i)least);
#else
    const vec_halves less = (vec_halves)(x < least);
    return (x & less) | (least & ~less);
#endif
}

static inline bool is_least_subnormal(vec_halves least)
{
    uint16_t all = 0xffff;
    for (int i = 0; i < 2 * VEC_LANES; i++) all = least[i] < all ? least[i] : all;
    return all < SUBNORMAL_BF16;
}

/* Whether bf16 among n pairs are subnormal. */
static inline bool any_subnormal(const void *pairs, int64_t n) { return least_bf16(pairs, 2 * n) < SUBNORMAL_BF16; }

/* ---- Dense along rows: lines of PACK_GROUP panels ---- */

/* Pairs of whole vectors from two lines of bf16; the least of them. */
static inline __attribute__((always_inline)) void join_vectors(float *pairs, const uint16_t *first, const uint16_t *second,
                                                               const int64_t width, vec_halves *least)
{
    for (int64_t i = 0; i < width; i += VEC_LANES) {
        const vec x = join_halves(first + i, second + i);
        *least = less_halves(*least, (vec_halves)x);
        memcpy(pairs + i, &x, sizeof x);
    }
}

/* `least` of all pairs that were joined in whole vectors; false if others are among them. */
static inline __attribute__((always_inline)) bool pack_lines(float *panels, const int64_t width, const pack_source *s,
                                                             int64_t first_row, int64_t rows, vec_halves *least)
{
    SPAN_BUFFER(buffer);
    SPAN_BUFFER(scales);
    const int64_t whole = rows / width, rest = rows - whole * width, apart = s->panel ? s->panel : width * s->terms;
    const bool joins = s->pairs && !s->gather && s->row == 1, vectors = joins && width % VEC_LANES == 0;
    for (int64_t k = 0; k < s->terms; k++) {
        if (s->row == 1 && k + PACK_AHEAD < s->terms) {
            ask_for(s, first_row, s->pairs ? 2 * (k + PACK_AHEAD) : k + PACK_AHEAD, rows);
            if (s->pairs) ask_for(s, first_row, 2 * (k + PACK_AHEAD) + 1, rows);
        }
        float *to = panels + k * width;
        if (joins && (k + 1 < s->terms || !s->odd)) {
            const uint16_t *one = (const uint16_t *)s->data + s->first + first_row + 2 * k * s->k;
            for (int64_t i = 0; i < whole; i++, to += apart, one += width) {
                if (vectors)
                    join_vectors(to, one, one + s->k, width, least);
                else
                    join_lines(to, one, one + s->k, width);
            }
            for (int64_t j = 0; rest && j < width; j++)
                to[j] = trine_f32_of_bits(j < rest ? one[j] | (uint32_t)one[j + s->k] << 16 : 0);
            continue;
        }
        const float *line = source_line(buffer, s, first_row, k, rows, false);
        if (s->scale) {
            if (k == 0 || (s->begin_k + k) % SCALE_TERMS == 0) find_scales(scales, s, first_row, rows, k);
            for (int64_t i = 0; i < rows; i++) buffer[i] *= scales[i];
        }
        for (int64_t i = 0; i < whole; i++, to += apart, line += width) memcpy(to, line, (size_t)width * sizeof *to);
        for (int64_t j = 0; rest && j < width; j++) to[j] = j < rest ? line[j] : 0;
    }
    return vectors && rest == 0 && !s->odd;
}

enum { COPY_TERMS = 4, COPY_AHEAD = 8 };

/* Some terms of f32 of a panel's rows, which lie there as the panel wants them. */
static inline __attribute__((always_inline)) void copy_terms(float *to, const int64_t width, const float *from, int64_t apart,
                                                             const int64_t terms)
{
    for (int64_t k = 0; k < terms; k++, from += apart) {
        for (int64_t i = 0; i < width * (int64_t)sizeof *from; i += 64)
            ask_for_line((const char *)(from + COPY_AHEAD * apart) + i);
        memcpy(to + k * width, from, (size_t)width * sizeof *to);
    }
}

/* Whether whole panels can be copied. */
static inline bool copies_lines(const pack_source *s)
{
    return s->row == 1 && s->dtype == TRINE_F32 && !s->pairs && !s->gather && !s->scale;
}

/* So many whole panels. Several terms of each at a time: every panel is a stream of its own to the processor. */
static inline __attribute__((always_inline)) void copy_lines(float *panels, const int64_t width, const pack_source *s,
                                                             int64_t first_row, int64_t count)
{
    const int64_t apart = s->panel ? s->panel : width * s->terms;
    for (int64_t k = 0; k < s->terms; k += COPY_TERMS) {
        const float *from = (const float *)s->data + s->first + first_row + k * s->k;
        float *to = panels + k * width;
        for (int64_t i = 0; i < count; i++, to += apart, from += width) {
            if (s->terms - k >= COPY_TERMS)
                copy_terms(to, width, from, s->k, COPY_TERMS);
            else
                copy_terms(to, width, from, s->k, s->terms - k);
        }
    }
}

/* ---- Dense along k, or neither: one panel, turned ---- */

/* VEC_LANES numbers of each of VEC_LANES lines, from byte `at` of them on, become VEC_LANES rows of n numbers, `pitch` apart:
 * halves of lines that lie `step` apart change places. n is a constant. */
static inline __attribute__((always_inline)) void turn_square(float *to, int64_t pitch, const int n, const void *const *line,
                                                              int64_t at, int64_t ahead)
{
    vec x[VEC_LANES];
    vec_bits lane;
    for (int i = 0; i < VEC_LANES; i++) lane[i] = i;
#pragma GCC unroll 16
    for (int i = 0; i < VEC_LANES; i++) {
        memcpy(&x[i], (const char *)line[i] + at, sizeof x[i]);
        __builtin_prefetch((const char *)line[i] + at + ahead, 0, 2);
    }
#pragma GCC unroll 4
    for (int step = 1; step < VEC_LANES; step *= 2) {
        const vec_bits second = (lane & step) != 0, low = lane + (second & (VEC_LANES - step)),
                       high = lane + (~second & step) + (second & VEC_LANES);
#pragma GCC unroll 16
        for (int i = 0; i < VEC_LANES; i++) {
            if (i & step) continue;
            const vec a = x[i], b = x[i + step];
            x[i] = __builtin_shuffle(a, b, low);
            x[i + step] = __builtin_shuffle(a, b, high);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < VEC_LANES - 1; i++)
        memcpy(to + i * pitch, &x[i], sizeof x[i]); /* the next row goes over what is too much */
    memcpy(to + (VEC_LANES - 1) * pitch, &x[VEC_LANES - 1], (size_t)n * sizeof *to);
}

/* `width` lines (filled up to a multiple of VEC_LANES) become a panel. */
static inline __attribute__((always_inline)) void turn_lines(float *panel, const int64_t width, const void *const *line,
                                                             int64_t terms, int64_t ahead)
{
    enum { REST = MR % VEC_LANES };
    int64_t k = 0;
    for (; k + VEC_LANES <= terms; k += VEC_LANES) {
        int64_t r = 0;
        for (; r + VEC_LANES <= width; r += VEC_LANES)
            turn_square(panel + k * width + r, width, VEC_LANES, line + r, k * (int64_t)sizeof *panel, ahead);
        if (r < width) turn_square(panel + k * width + r, width, REST, line + r, k * (int64_t)sizeof *panel, ahead);
    }
    for (; k < terms; k++)
        for (int64_t r = 0; r < width; r++) memcpy(panel + k * width + r, (const float *)line[r] + k, sizeof *panel);
}

/* Where a row's numbers lie one after the other as a panel wants them: no copy of the line is needed. */
static inline const void *line_in_place(const pack_source *s, int64_t row)
{
    const bool whole = s->pairs ? !s->odd : s->dtype == TRINE_F32;
    return !s->gather && s->k == 1 && whole && !s->scale ? element(s->data, s->dtype, s->first + row * s->row) : NULL;
}

static inline __attribute__((always_inline)) void pack_turned(float *panel, const int64_t width, const pack_source *s,
                                                              int64_t first_row, int64_t rows)
{
    static const float zeros[PACK_TERMS];
    _Alignas(64) float buffer[PACK_WIDTH_MAX * PACK_TERMS];
    const void *line[PACK_WIDTH_MAX + VEC_LANES];
    for (int64_t r = 0; r < width + VEC_LANES - 1; r++) {
        line[r] = zeros;
        if (r >= rows || r >= width) continue;
        line[r] = line_in_place(s, first_row + r);
        if (!line[r]) line[r] = source_line(buffer + r * PACK_TERMS, s, first_row + r, 0, s->terms, true);
    }
    for (int64_t r = 0; s->scale && r < width && r < rows; r++) scale_terms(buffer + r * PACK_TERMS, s, first_row + r);
    turn_lines(panel, width, line, s->terms, s->gather ? 0 : width * s->row * size_of(s->dtype));
}

/* ---- All panels ---- */

/* This member's part of the panels; of pairs, subnormal[i] is 1 where panel i has such terms, else 0. `width` is a constant
 * wherever this is called. */
static inline __attribute__((always_inline)) void pack_panels(const cpu_team *team, float *panels, float *subnormal,
                                                              const int64_t width, const pack_source *s)
{
    const int64_t count = (s->rows + width - 1) / width, size = width * s->terms, apart = s->panel ? s->panel : size;
    const bool lines = s->row == 1 || s->k != 1;
    const int64_t group = lines ? PACK_GROUP : 1;
    const bool copies = copies_lines(s);
    const cpu_range mine = team_range(team, count, copies ? 1 : group);
    for (int64_t i = mine.begin, last; i < mine.end; i = last) {
        const int64_t first = i * width;
        last = mine.end - i < group ? mine.end : i + group;
        if (copies && s->rows / width > i) { /* a last panel that is not whole by itself */
            last = last < s->rows / width ? last : s->rows / width;
            copy_lines(panels + i * apart, width, s, first, last - i);
            continue;
        }
        const int64_t rows = s->rows - first < (last - i) * width ? s->rows - first : (last - i) * width;
        vec_halves least = (vec_halves){0} - 1;
        bool looked = false;
        if (lines)
            looked = pack_lines(panels + i * apart, width, s, first, rows, &least);
        else
            pack_turned(panels + i * apart, width, s, first, rows);
        for (int64_t j = i; s->pairs && j < last; j++)
            subnormal[j] = looked ? is_least_subnormal(least) : any_subnormal(panels + j * apart, size);
    }
}

static __attribute__((unused)) void pack_a(const cpu_team *team, float *panels, float *subnormal, const pack_source *s)
{
    pack_panels(team, panels, subnormal, MR, s);
}

static __attribute__((unused)) void pack_b(const cpu_team *team, float *panels, float *subnormal, const pack_source *s)
{
    pack_panels(team, panels, subnormal, NR, s);
}

static __attribute__((unused)) void pack_narrow_b(const cpu_team *team, float *panels, float *subnormal, const pack_source *s)
{
    pack_panels(team, panels, subnormal, VEC_LANES, s);
}

static __attribute__((unused)) void pack_wide_b(const cpu_team *team, float *panels, float *subnormal, const pack_source *s)
{
    pack_panels(team, panels, subnormal, WIDE_NR, s);
}

#endif
