/* Packing for register_tiled: from an operand of any strides and dtype to panels of f32, panel[k][width], which the micro-kernel
 * reads front to back. What the operand lacks of a last panel is 0. Bound by bytes: an element is read and written once for as
 * many multiply-adds as the other operand has rows.
 *
 * An operand that is dense along its rows is copied in lines; one that is dense along k is turned in 4 x 4 squares. Elements with
 * scales (fp8) are multiplied by them on the way: one rounding more. */
#ifndef TRINE_CPU_MATMUL_PACK_H
#define TRINE_CPU_MATMUL_PACK_H

#include "backends/cpu/matmul_epilogue.h"
#include "backends/cpu/matmul_kernel.h"

enum { PACK_WIDTH_MAX = NR, /* more than MR */ PACK_GROUP = 8, PACK_TERMS = 384, PACK_AHEAD = 6 };

/* Rows of an operand, over some terms. */
typedef struct pack_source {
    const void *data;
    trine_dtype dtype;
    int64_t first;  /* element of row 0 and term 0 */
    int64_t row, k; /* strides */
    int64_t rows, terms;
    int64_t begin_row, begin_k; /* in the whole matrix, of row 0 and term 0: for what follows */
    /* An operand that has no strides: n elements along k (or along rows) in buffer. NULL: it lies in memory as said above. */
    void (*gather)(float *buffer, const void *context, int64_t row, int64_t k, int64_t n, bool along_k);
    const void *context;
    const trine_product_scale *scale; /* NULL: none */
    const float *scales;              /* of the matrix's first row and term */
} pack_source;

/* n elements along k (or along rows). */
static inline const float *source_line(float *buffer, const pack_source *s, int64_t row, int64_t k, int64_t n, bool along_k)
{
    if (!s->gather) return load_line(buffer, s->data, s->dtype, s->first + row * s->row + k * s->k, n, along_k ? s->k : s->row);
    s->gather(buffer, s->context, s->begin_row + row, s->begin_k + k, n, along_k);
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

/* Lines of one term lie far apart: the processor does not look so far ahead by itself. */
static inline void ask_for(const pack_source *s, int64_t row, int64_t k, int64_t rows)
{
    const char *from = element(s->data, s->dtype, s->first + row + k * s->k);
    for (int64_t i = 0; i < rows * size_of(s->dtype); i += 64) __builtin_prefetch(from + i);
}

/* ---- Dense along rows: lines of PACK_GROUP panels ---- */

static inline __attribute__((always_inline)) void pack_lines(float *panels, const int64_t width, const pack_source *s,
                                                             int64_t first_row, int64_t rows)
{
    SPAN_BUFFER(buffer);
    SPAN_BUFFER(scales);
    const int64_t whole = rows / width, rest = rows - whole * width, apart = width * s->terms;
    for (int64_t k = 0; k < s->terms; k++) {
        if (s->row == 1 && k + PACK_AHEAD < s->terms) ask_for(s, first_row, k + PACK_AHEAD, rows);
        const float *line = source_line(buffer, s, first_row, k, rows, false);
        float *to = panels + k * width;
        if (s->scale) {
            if (k == 0 || (s->begin_k + k) % SCALE_TERMS == 0) find_scales(scales, s, first_row, rows, k);
            for (int64_t i = 0; i < rows; i++) buffer[i] *= scales[i];
        }
        for (int64_t i = 0; i < whole; i++, to += apart, line += width) memcpy(to, line, (size_t)width * sizeof *to);
        for (int64_t j = 0; rest && j < width; j++) to[j] = j < rest ? line[j] : 0;
    }
}

/* ---- Dense along k, or neither: one panel, turned ---- */

typedef float vec4 __attribute__((vector_size(16)));
typedef float vec4_any __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t mask4 __attribute__((vector_size(16)));

/* Four numbers of each of four lines become four rows, `pitch` apart. */
static inline void turn_square(float *to, int64_t pitch, const float *const *line, int64_t k)
{
    const vec4 a = *(const vec4_any *)(line[0] + k), b = *(const vec4_any *)(line[1] + k);
    const vec4 c = *(const vec4_any *)(line[2] + k), d = *(const vec4_any *)(line[3] + k);
    const vec4 ab_low = __builtin_shuffle(a, b, (mask4){0, 4, 1, 5}), ab_high = __builtin_shuffle(a, b, (mask4){2, 6, 3, 7});
    const vec4 cd_low = __builtin_shuffle(c, d, (mask4){0, 4, 1, 5}), cd_high = __builtin_shuffle(c, d, (mask4){2, 6, 3, 7});
    *(vec4_any *)(to) = __builtin_shuffle(ab_low, cd_low, (mask4){0, 1, 4, 5});
    *(vec4_any *)(to + pitch) = __builtin_shuffle(ab_low, cd_low, (mask4){2, 3, 6, 7});
    *(vec4_any *)(to + 2 * pitch) = __builtin_shuffle(ab_high, cd_high, (mask4){0, 1, 4, 5});
    *(vec4_any *)(to + 3 * pitch) = __builtin_shuffle(ab_high, cd_high, (mask4){2, 3, 6, 7});
}

/* `width` lines (padded to a multiple of 4 by lines of zeros) become a panel. Where width is no multiple of 4, the last square of
 * a row writes over the beginning of the next row, which is written after it; the last rows therefore go one by one. */
static inline __attribute__((always_inline)) void turn_lines(float *panel, const int64_t width, const float *const *line,
                                                             int64_t terms)
{
    int64_t k = 0;
    for (; k + 4 < terms || (k + 4 == terms && width % 4 == 0); k += 4)
        for (int64_t r = (width - 1) / 4 * 4; r >= 0; r -= 4) turn_square(panel + k * width + r, width, line + r, k);
    for (; k < terms; k++)
        for (int64_t r = 0; r < width; r++) panel[k * width + r] = line[r][k];
}

static inline __attribute__((always_inline)) void pack_turned(float *panel, const int64_t width, const pack_source *s,
                                                              int64_t first_row, int64_t rows)
{
    static const float zeros[PACK_TERMS];
    _Alignas(64) float buffer[PACK_WIDTH_MAX * PACK_TERMS];
    const float *line[PACK_WIDTH_MAX + 4];
    for (int64_t r = 0; r < width + 3; r++)
        line[r] = r < rows ? source_line(buffer + r * PACK_TERMS, s, first_row + r, 0, s->terms, true) : zeros;
    for (int64_t r = 0; s->scale && r < width && r < rows; r++) scale_terms(buffer + r * PACK_TERMS, s, first_row + r);
    turn_lines(panel, width, line, s->terms);
}

/* ---- All panels ---- */

/* This member's part of the panels. `width` is a constant wherever this is called. */
static inline __attribute__((always_inline)) void pack_panels(const cpu_team *team, float *panels, const int64_t width,
                                                              const pack_source *s)
{
    const int64_t count = (s->rows + width - 1) / width, apart = width * s->terms;
    const bool lines = s->row == 1 || s->k != 1;
    const int64_t group = lines ? PACK_GROUP : 1;
    const cpu_range mine = team_range(team, count, group);
    for (int64_t i = mine.begin; i < mine.end; i += group) {
        const int64_t first = i * width, most = (mine.end - i < group ? mine.end - i : group) * width;
        const int64_t rows = s->rows - first < most ? s->rows - first : most;
        if (lines)
            pack_lines(panels + i * apart, width, s, first, rows);
        else
            pack_turned(panels + i * apart, width, s, first, rows);
    }
}

static void pack_a(const cpu_team *team, float *panels, const pack_source *s) { pack_panels(team, panels, MR, s); }

static void pack_b(const cpu_team *team, float *panels, const pack_source *s) { pack_panels(team, panels, NR, s); }

#endif
