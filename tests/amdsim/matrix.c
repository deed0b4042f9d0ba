/* MFMA and WMMA. Products are exact or f32, summed in f32 in the order of K by fused multiply-add: the chips' own order and
 * rounding are not published, so results agree with them only to f32's accuracy. An undefined element makes its row or column
 * undefined. */
#include "matrix.h"

#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"
#include "half.h"
#include "valu.h"
#include "vmem.h"

enum { EDGE = 32, STEPS = 64, BLOCKS = 16 };

typedef struct side {
    float f[STEPS][EDGE];
    int32_t i[STEPS][EDGE];
    double d[STEPS][EDGE];
} side;

/* ---- Elements: neighbours in a row or column lie in neighbouring lanes, in the same place of their registers ---- */

/* Where an operand's values come from: its registers, or a copy of them with the lanes in another order. */
typedef struct source {
    const uint32_t (*v)[LANES];
    const uint64_t *undefined;
} source;

static bool is_int(element e) { return e == E_I8 || e == E_IU8 || e == E_IU4; }

static void convert_halves(const uint32_t *restrict bits, float *restrict out, int count)
{
    for (int x = 0; x < count; x += 4) {
        __m128i words = _mm_loadu_si128((const __m128i *)(bits + x));
        _mm_storeu_ps(out + x, _mm_cvtph_ps(_mm_packus_epi32(words, words)));
    }
}

static void convert(element e, const uint32_t *restrict bits, float *restrict out, int count)
{
    static float fp8[2][256];
    if ((e == E_FP8 || e == E_BF8) && fp8[0][1] == 0)
        for (uint32_t code = 0; code < 256; code++)
            fp8[0][code] = fp8_to_float(code, FP8), fp8[1][code] = fp8_to_float(code, BF8);
#define EACH(value) \
    for (int x = 0; x < count; x++) out[x] = (value)
    switch (e) {
    case E_F16: convert_halves(bits, out, count); break;
    case E_BF16: EACH(bf16_to_float(bits[x])); break;
    case E_FP8: EACH(fp8[0][bits[x]]); break;
    case E_BF8: EACH(fp8[1][bits[x]]); break;
    case E_XF32: EACH(float_of(bits[x] & 0xffffe000u)); break;
    default: EACH(float_of(bits[x])); break;
    }
#undef EACH
}

static void flush_denormals(element e, float *values, int count)
{
    float least = e == E_F16 ? 0x1p-14f : e == E_BF16 ? 0x1p-126f : 0;
    for (int x = 0; x < count; x++)
        if (fabsf(values[x]) < least) values[x] = copysignf(0, values[x]);
}

/* Elements of type e at bit `at` of neighbouring lanes, into step k. */
static void take(const inst *i, element e, bool is_b, const uint32_t *low, const uint32_t *high, int at, int count, side *s,
                 int k)
{
    int bits = matrix_bits(e);
    uint32_t part[EDGE], all = bits >= 32 ? ~0u : (1u << bits) - 1;
    if (e == E_F64) {
        for (int x = 0; x < count; x++) s->d[k][x] = double_of(low[x] | (uint64_t)high[x] << 32);
        return;
    }
    for (int x = 0; x < count; x++) part[x] = low[x] >> at & all;
    if (is_int(e)) {
        bool is_signed = e == E_I8 || i->neg_lo >> is_b & 1;
        for (int x = 0; x < count; x++)
            s->i[k][x] = is_signed ? (int32_t)(part[x] << (32 - bits)) >> (32 - bits) : (int32_t)part[x];
    } else {
        convert(e, part, s->f[k], count);
    }
}

/* neg_lo and neg_hi of floats: f64 has one, of WMMA one is for even steps and the other for odd ones. */
static void negate_step(const inst *i, const matrix_format *f, bool is_b, int k, int count, side *s)
{
    uint32_t which = f->wmma && k % 2 ? i->neg_hi : i->neg_lo;
    if (!(which >> is_b & 1)) return;
    for (int x = 0; x < count; x++) s->f[k][x] = -s->f[k][x];
    for (int x = 0; x < count && f->a == E_F64; x++) s->d[k][x] = -s->d[k][x];
}

/* One step of K: the elements of all rows or columns. Gives those that are undefined. */
static uint64_t gather_step(const inst *i, const matrix_format *f, bool is_b, int k, int block, const source *from, side *s)
{
    element e = is_b ? f->b : f->a;
    element_place p = matrix_input(f, is_b, 0, k, block);
    int edge = is_b ? f->n : f->m, bits = matrix_bits(e), at = p.item * bits, words = bits > 32 ? 2 : 1;
    const uint32_t *low = from->v[at / 32] + p.lane;
    take(i, e, is_b, low, from->v[at / 32 + words - 1] + p.lane, at % 32, edge, s, k);
    if (!is_int(e)) {
        if (chip_now()->mfma_flushes && !f->wmma && e != E_F64) flush_denormals(e, s->f[k], edge);
        if (i->neg_lo | i->neg_hi) negate_step(i, f, is_b, k, edge, s);
    }
    uint64_t undefined = from->undefined ? from->undefined[at / 32] | from->undefined[at / 32 + words - 1] : 0;
    return undefined >> p.lane;
}

/* All of A or B of one block; the mask of rows or columns with an undefined element. */
static uint32_t gather(const inst *i, const matrix_format *f, bool is_b, int block, const source *from, side *s)
{
    int edge = is_b ? f->n : f->m, cbsz = (int)(i->option & 255), abid = (int)(i->option >> 8 & 255);
    uint64_t undefined = 0;
    if (!is_b && cbsz) block = (block & ~((1 << cbsz) - 1)) + abid; /* one block of A for 2^cbsz */
    for (int k = 0; k < f->k; k++) undefined |= gather_step(i, f, is_b, k, block, from, s);
    return (uint32_t)(undefined & ((1ull << edge) - 1));
}

/* A of SMFMAC: of each four steps two are held, and two bits for each say which. An index of 16 or 32 bits holds several sets. */
static uint32_t gather_sparse(const inst *i, const matrix_format *f, const source *from, const uint32_t *index, side *s)
{
    int bits = matrix_bits(f->a), each = f->k * f->m / LANES, cbsz = (int)(i->option & 255), abid = (int)(i->option >> 8 & 255);
    int set = cbsz ? 0 : abid * each; /* `each` bits a set */
    uint64_t undefined = 0;
    static side held;
    memset(s->f, 0, sizeof s->f);
    memset(s->i, 0, sizeof s->i);
    for (int lane = 0; lane < LANES; lane += f->m)
        for (int item = 0; item < each / 2; item++) {
            int at = item * bits, group = lane / f->m * each + item / 2 * 4;
            take(i, f->a, false, from->v[at / 32] + lane, NULL, at % 32, f->m, &held, 0);
            for (int x = 0; x < f->m; x++) {
                int k = group + (int)(index[lane + x] >> (set + 2 * item) & 3);
                s->f[k][x] += held.f[0][x];
                s->i[k][x] += held.i[0][x];
            }
            if (from->undefined) undefined |= from->undefined[at / 32] >> lane;
        }
    return (uint32_t)(undefined & ((1ull << f->m) - 1));
}

static bool any_undefined(const wave *w, const operand *o)
{
    uint64_t any = 0, all = w->group->launch->all_lanes;
    for (unsigned r = 0; r < o->count; r++) any |= w->v_undef[o->reg + r];
    return (any & all) != 0;
}

/* The operand's registers; of B with the lanes as blgp says (the manuals' "B-matrix lane-group pattern"). */
static source source_of(const wave *w, const inst *i, bool is_b)
{
    enum { MOST = 8 };
    static uint32_t copy[MOST][LANES];
    static uint64_t undefined[MOST];
    const operand *o = &i->src[is_b];
    uint32_t blgp = i->option >> 16 & 7;
    source s = {&w->v[o->reg], any_undefined(w, o) ? &w->v_undef[o->reg] : NULL};
    if (!is_b || !blgp) return s;
    for (unsigned r = 0; r < o->count; r++) {
        undefined[r] = 0;
        for (unsigned l = 0; l < LANES; l++) {
            unsigned from = blgp == 1   ? l % 32
                            : blgp == 2 ? 32 + l % 32
                            : blgp == 3 ? (l + 16) % LANES
                                        : l % 16 + 16 * (blgp - 4);
            copy[r][l] = s.v[r][from];
            if (s.undefined) undefined[r] |= (s.undefined[r] >> from & 1) << l;
        }
    }
    return (source){copy, s.undefined ? undefined : NULL};
}

/* ---- Products: d[i][j] += sum over k ---- */

typedef union square {
    float f[EDGE][EDGE];
    int32_t i[EDGE][EDGE];
    double d[EDGE][EDGE];
} square;

/* Four rows at a time, of N columns: sums that stay in registers and do not wait for each other. */
enum { ROWS = 4 };
#define PRODUCT(name, V, T, field, N, all, expression) \
    static void name(const matrix_format *f, const side *restrict a, const side *restrict b, square *restrict d) \
    { \
        enum { PARTS = N * sizeof(T) / sizeof(V), EACH = sizeof(V) / sizeof(T) }; \
        for (int i = 0; i < f->m; i += ROWS) { \
            V sum[ROWS][PARTS]; \
            for (int r = 0; r < ROWS; r++) memcpy(sum[r], d->field[i + r], sizeof sum[r]); \
            for (int k = 0; k < f->k; k++) \
                for (int r = 0; r < ROWS; r++) { \
                    V x = all(a->field[k][i + r]); \
                    for (int p = 0; p < PARTS; p++) { \
                        V y, z = sum[r][p]; \
                        memcpy(&y, &b->field[k][p * EACH], sizeof y); \
                        sum[r][p] = expression; \
                    } \
                } \
            for (int r = 0; r < ROWS; r++) memcpy(d->field[i + r], sum[r], sizeof sum[r]); \
        } \
    }
PRODUCT(float_4, __m128, float, f, 4, _mm_set1_ps, _mm_fmadd_ps(x, y, z))
PRODUCT(float_16, __m256, float, f, 16, _mm256_set1_ps, _mm256_fmadd_ps(x, y, z))
PRODUCT(float_32, __m256, float, f, 32, _mm256_set1_ps, _mm256_fmadd_ps(x, y, z))
PRODUCT(double_4, __m256d, double, d, 4, _mm256_set1_pd, _mm256_fmadd_pd(x, y, z))
PRODUCT(double_16, __m256d, double, d, 16, _mm256_set1_pd, _mm256_fmadd_pd(x, y, z))
PRODUCT(int_4, __m128i, int32_t, i, 4, _mm_set1_epi32, _mm_add_epi32(z, _mm_mullo_epi32(x, y)))
PRODUCT(int_16, __m256i, int32_t, i, 16, _mm256_set1_epi32, _mm256_add_epi32(z, _mm256_mullo_epi32(x, y)))
PRODUCT(int_32, __m256i, int32_t, i, 32, _mm256_set1_epi32, _mm256_add_epi32(z, _mm256_mullo_epi32(x, y)))

typedef void product_fn(const matrix_format *f, const side *restrict a, const side *restrict b, square *restrict d);
static product_fn *product_of(const matrix_format *f)
{
    static product_fn *const products[3][3] = {
        {float_4, float_16, float_32}, {double_4, double_16, NULL}, {int_4, int_16, int_32}};
    return products[f->a == E_F64 ? 1 : is_int(f->a) ? 2 : 0][f->n == 4 ? 0 : f->n == 16 ? 1 : 2];
}

/* ---- C and D ---- */

typedef struct sum {
    square value;
    uint32_t undefined[EDGE]; /* a bit a column */
} sum;

/* 16-bit results of WMMA lie in one half of each register; op_sel picks which. */
static int half_shift(const inst *i) { return i->sel_lo >> 2 & 1 ? 16 : 0; }

static void read_row(const inst *i, const matrix_format *f, const uint32_t *low, const uint32_t *high, square *d, int r)
{
    int shift = half_shift(i);
    for (int j = 0; j < f->n; j++) {
        if (f->out == E_F64)
            d->d[r][j] = double_of(low[j] | (uint64_t)high[j] << 32);
        else if (f->out == E_F16)
            d->f[r][j] = half_to_float(low[j] >> shift & 0xffff);
        else if (f->out == E_BF16)
            d->f[r][j] = bf16_to_float(low[j] >> shift & 0xffff);
        else
            d->i[r][j] = (int32_t)low[j];
    }
}

/* C's own neg_lo negates, neg_hi is WMMA's absolute value. */
static void change_c(const inst *i, const matrix_format *f, square *d)
{
    for (int r = 0; r < f->m; r++)
        for (int j = 0; j < f->n; j++) {
            if (f->out == E_F64)
                d->d[r][j] = -d->d[r][j];
            else if (i->neg_hi >> 2 & 1)
                d->f[r][j] = i->neg_lo >> 2 & 1 ? -fabsf(d->f[r][j]) : fabsf(d->f[r][j]);
            else
                d->f[r][j] = -d->f[r][j];
        }
}

static void read_c(const wave *w, const inst *i, const matrix_format *f, int block, sum *s)
{
    const operand *o = f->sparse ? &i->dst : &i->src[2];
    uint32_t constant[2][EDGE];
    int words = f->out == E_F64 ? 2 : 1;
    for (int k = 0; k < 2; k++)
        for (int j = 0; j < EDGE && o->where == IN_CONSTANT; j++) constant[k][j] = (uint32_t)(o->value >> 32 * k);
    for (int r = 0; r < f->m; r++) {
        element_place p = matrix_output(f, r, 0, block);
        int reg = o->reg + p.item * words;
        if (o->where == IN_CONSTANT) {
            read_row(i, f, constant[0], constant[1], &s->value, r);
        } else {
            read_row(i, f, w->v[reg] + p.lane, w->v[reg + words - 1] + p.lane, &s->value, r);
            s->undefined[r] = (uint32_t)((w->v_undef[reg] | w->v_undef[reg + words - 1]) >> p.lane);
        }
    }
    if ((i->neg_lo | i->neg_hi) >> 2 & 1) change_c(i, f, &s->value);
}

static uint32_t half_result(const inst *i, const matrix_format *f, float value, uint32_t old)
{
    uint32_t half = f->out == E_F16 ? float_to_half(value) : float_to_bf16(value);
    int shift = half_shift(i);
    return (old & ~(0xffffu << shift)) | half << shift;
}

static void write_row(const inst *i, const matrix_format *f, const square *d, int r, uint32_t *low, uint32_t *high)
{
    for (int j = 0; j < f->n; j++) {
        uint64_t wide = bits_of_double(d->d[f->out == E_F64 ? r : 0][f->out == E_F64 ? j : 0]);
        if (f->out == E_F64)
            low[j] = (uint32_t)wide, high[j] = (uint32_t)(wide >> 32);
        else if (f->out == E_F16 || f->out == E_BF16)
            low[j] = half_result(i, f, d->f[r][j], low[j]);
        else
            low[j] = (uint32_t)d->i[r][j];
    }
}

static void write_d(wave *w, const inst *i, const matrix_format *f, int block, const sum *s)
{
    int words = f->out == E_F64 ? 2 : 1;
    uint64_t all = (1ull << f->n) - 1;
    for (int r = 0; r < f->m; r++) {
        element_place p = matrix_output(f, r, 0, block);
        int reg = i->dst.reg + p.item * words;
        if (f->out == E_F32 || f->out == E_I32)
            memcpy(w->v[reg] + p.lane, s->value.i[r], (size_t)f->n * 4);
        else
            write_row(i, f, &s->value, r, w->v[reg] + p.lane, w->v[reg + words - 1] + p.lane);
        for (int k = 0; k < words; k++)
            w->v_undef[reg + k] = (w->v_undef[reg + k] & ~(all << p.lane)) | (s->undefined[r] & all) << p.lane;
    }
}

/* ---- Execution ---- */

/* WMMA of gfx11 reads A and B from both halves of the wave: they must be the same. */
static void check_copies(wave *w, const operand *o, const char *which)
{
    for (unsigned r = 0; r < o->count; r++)
        for (int l = 0; l < 16; l++)
            if (w->v[o->reg + r][l] != w->v[o->reg + r][l + 16])
                fault(w, l, "%s of a WMMA differs between lane %d and lane %d, which must hold the same", which, l, l + 16);
}

static const uint32_t *sparse_index(wave *w, const inst *i)
{
    need_defined(w, w->v_undef[i->src[2].reg], "the index of a sparse product");
    return w->v[i->src[2].reg];
}

static void check_operands(wave *w, const inst *i, const matrix_format *f)
{
    for (int k = 0; k < 3; k++)
        if (i->src[k].where == IN_VGPR) valu_check(w, &i->src[k]);
    valu_check(w, &i->dst);
    if (f->wmma) {
        check_copies(w, &i->src[0], "A");
        check_copies(w, &i->src[1], "B");
    }
    if (EXEC(w) != w->group->launch->all_lanes) fault(w, -1, "a matrix instruction with lanes switched off");
}

static void multiply(wave *w, const inst *i)
{
    static side a, b; /* launches are one at a time */
    static sum d[BLOCKS];
    const matrix_format *f = i->format;
    check_operands(w, i, f);
    source from_a = source_of(w, i, false), from_b = source_of(w, i, true);
    product_fn *product = product_of(f);
    for (int block = 0; block < f->blocks; block++) {
        sum *s = &d[block];
        memset(s->undefined, 0, sizeof s->undefined);
        uint32_t rows =
            f->sparse ? gather_sparse(i, f, &from_a, sparse_index(w, i), &a) : gather(i, f, false, block, &from_a, &a);
        uint32_t columns = gather(i, f, true, block, &from_b, &b);
        read_c(w, i, f, block, s);
        for (int r = 0; r < f->m && (rows | columns); r++) s->undefined[r] |= rows >> r & 1 ? ~0u : columns;
        product(f, &a, &b, &s->value);
    }
    for (int block = 0; block < f->blocks; block++) write_d(w, i, f, block, &d[block]);
}

/* ---- Decoding ---- */

/* What a chip ignores or forbids is no instruction to rely on. */
static const char *check_modifiers(const inst *i, const matrix_format *f, const chip *chip)
{
    uint32_t cbsz = i->option & 255, abid = i->option >> 8 & 255, blgp = i->option >> 16, negations = i->neg_lo | i->neg_hi;
    uint32_t sets = 32u / (uint32_t)(f->k * f->m / LANES); /* of sparse indices in a register */
    bool no_broadcast = (cbsz || abid) && (f->wmma || 1u << cbsz > f->blocks || abid >= 1u << cbsz);
    if (f->sparse ? cbsz > 3 || abid >= sets : no_broadcast) return "cbsz or abid that the instruction does not have";
    if (blgp && !matrix_has_blgp(f, chip)) return "blgp that the instruction does not have";
    if (negations && !f->wmma && f->a != E_F64) return "neg that the instruction does not have";
    if (is_int(f->a) && (i->neg_hi || i->neg_lo >> 2)) return "neg that the instruction does not have";
    return NULL;
}

bool decode_matrix(inst *i, const char *name, line *t, const chip *chip)
{
    matrix_format f;
    if (strncmp(name, "v_mfma_", 7) != 0 && strncmp(name, "v_wmma_", 7) != 0 && strncmp(name, "v_smfmac_", 9) != 0) return false;
    bool good = t->count == 4 && decode_one(t->piece[0], 'v', &i->dst, chip);
    i->sources = 3;
    for (int k = 0; k < 3; k++)
        good = good && decode_one(t->piece[k + 1], k == 2 && strstr(name, "_f64") ? 'd' : 'v', &i->src[k], chip);
    const char *wrong = good ? decode_options(i, t) : "operands that the simulator does not understand";
    if (wrong)
        i->why_not = wrong;
    else if (!matrix_parse(name, i->dst.count, &f))
        i->why_not = "unknown instruction";
    else
        i->why_not = check_modifiers(i, &f, chip);
    if (i->why_not) return true;
    matrix_format *own = malloc(sizeof *own);
    *own = f;
    i->format = own;
    i->run = multiply;
    i->unit = UNIT_MATRIX;
    i->cycles = (uint8_t)matrix_cycles(&f, chip);
    return true;
}
