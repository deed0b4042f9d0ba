/* MFMA and WMMA. Products are exact or f32, summed in f32 in the order of K by fused multiply-add: the chips' own order and
 * rounding are not published, so results agree with them only to f32's accuracy. An undefined element makes its row or column
 * undefined. */
#include "matrix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"
#include "half.h"
#include "valu.h"

enum { EDGE = 32, STEPS = 32, BLOCKS = 16 };

typedef struct side {
    float f[STEPS][EDGE];
    int32_t i[STEPS][EDGE];
    double d[STEPS][EDGE];
} side;

/* ---- Elements: neighbours in a row or column lie in neighbouring lanes, in the same place of their registers ---- */

static bool is_int(element e) { return e == E_I8 || e == E_IU8 || e == E_IU4; }

static void convert(element e, const uint32_t *restrict bits, float *restrict out, int count)
{
    static float fp8[2][256];
    if ((e == E_FP8 || e == E_BF8) && fp8[0][1] == 0)
        for (uint32_t code = 0; code < 256; code++)
            fp8[0][code] = fp8_to_float(code, FP8), fp8[1][code] = fp8_to_float(code, BF8);
#define EACH(value) \
    for (int x = 0; x < count; x++) out[x] = (value)
    switch (e) {
    case E_F16: EACH(half_to_float(bits[x])); break;
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

/* One step of K: the elements of all rows or columns. */
static void gather_step(const wave *w, const inst *i, const matrix_format *f, bool is_b, int k, int block, side *s)
{
    const operand *o = &i->src[is_b];
    element e = is_b ? f->b : f->a;
    element_place p = matrix_input(f, is_b, 0, k, block);
    int edge = is_b ? f->n : f->m, bits = matrix_bits(e), at = p.item * bits, shift = at % 32;
    const uint32_t *v = w->v[o->reg + at / 32] + p.lane;
    uint32_t part[EDGE], all = bits >= 32 ? ~0u : (1u << bits) - 1;
    if (e == E_F64) {
        const uint32_t *high = w->v[o->reg + at / 32 + 1] + p.lane;
        for (int x = 0; x < edge; x++) s->d[k][x] = double_of(v[x] | (uint64_t)high[x] << 32);
        return;
    }
    for (int x = 0; x < edge; x++) part[x] = v[x] >> shift & all;
    if (is_int(e)) {
        bool is_signed = e == E_I8 || i->neg_lo >> is_b & 1;
        for (int x = 0; x < edge; x++)
            s->i[k][x] = is_signed ? (int32_t)(part[x] << (32 - bits)) >> (32 - bits) : (int32_t)part[x];
    } else {
        convert(e, part, s->f[k], edge);
        if (chip_now()->mfma_flushes && !f->wmma) flush_denormals(e, s->f[k], edge);
    }
}

static bool any_undefined(const wave *w, const operand *o)
{
    uint64_t any = 0, all = w->group->launch->all_lanes;
    if (o->where != IN_VGPR) return false;
    for (unsigned r = 0; r < o->count; r++) any |= w->v_undef[o->reg + r];
    return (any & all) != 0;
}

/* All of A or B of one block; the mask of rows or columns with an undefined element. */
static uint32_t gather(const wave *w, const inst *i, const matrix_format *f, bool is_b, int block, side *s)
{
    const operand *o = &i->src[is_b];
    int edge = is_b ? f->n : f->m, bits = matrix_bits(is_b ? f->b : f->a);
    bool watch = any_undefined(w, o);
    uint64_t undefined = 0;
    for (int k = 0; k < f->k; k++) {
        gather_step(w, i, f, is_b, k, block, s);
        element_place p = matrix_input(f, is_b, 0, k, block);
        for (int r = p.item * bits / 32; watch && r <= (p.item * bits + bits - 1) / 32; r++)
            undefined |= w->v_undef[o->reg + r] >> p.lane;
    }
    return (uint32_t)(undefined & ((1ull << edge) - 1));
}

/* ---- Products: d[i][j] += sum over k ---- */

typedef union square {
    float f[EDGE][EDGE];
    int32_t i[EDGE][EDGE];
    double d[EDGE][EDGE];
} square;

#define PRODUCT(name, field, expression) \
    static void name(const matrix_format *f, const side *restrict a, const side *restrict b, square *restrict d) \
    { \
        for (int i = 0; i < f->m; i++) \
            for (int k = 0; k < f->k; k++) \
                for (int j = 0; j < f->n; j++) d->field[i][j] = expression; \
    }
PRODUCT(product_float, f, __builtin_fmaf(a->f[k][i], b->f[k][j], d->f[i][j]))
PRODUCT(product_double, d, __builtin_fma(a->d[k][i], b->d[k][j], d->d[i][j]))
PRODUCT(product_int, i, (int32_t)((uint32_t)d->i[i][j] + (uint32_t)(a->i[k][i] * b->i[k][j])))

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

static void read_c(const wave *w, const inst *i, const matrix_format *f, int block, sum *s)
{
    const operand *o = &i->src[2];
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
            s->undefined[r] = (uint32_t)(w->v_undef[reg] >> p.lane);
        }
    }
}

static uint32_t half_result(const inst *i, const matrix_format *f, float value, uint32_t old)
{
    uint32_t bits = bits_of(value), half = f->out == E_F16 ? float_to_half(value) : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
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
    for (int block = 0; block < f->blocks; block++) {
        sum *s = &d[block];
        memset(s->undefined, 0, sizeof s->undefined);
        uint32_t rows = gather(w, i, f, false, block, &a), columns = gather(w, i, f, true, block, &b);
        read_c(w, i, f, block, s);
        for (int r = 0; r < f->m && (rows | columns); r++) s->undefined[r] |= rows >> r & 1 ? ~0u : columns;
        if (f->a == E_F64)
            product_double(f, &a, &b, &s->value);
        else if (is_int(f->a))
            product_int(f, &a, &b, &s->value);
        else
            product_float(f, &a, &b, &s->value);
    }
    for (int block = 0; block < f->blocks; block++) write_d(w, i, f, block, &d[block]);
}

bool decode_matrix(inst *i, const char *name, line *t, const chip *chip)
{
    bool mfma = strncmp(name, "v_mfma_", 7) == 0, wmma = strncmp(name, "v_wmma_", 7) == 0;
    matrix_format f;
    if (!mfma && !wmma) return false;
    bool good = t->count == 4 && decode_one(t->piece[0], 'v', &i->dst, chip);
    const char *out = name + 7;
    i->sources = 3;
    for (int k = 0; k < 3; k++)
        good = good && decode_one(t->piece[k + 1], k == 2 && strncmp(out, "f64", 3) == 0 ? 'd' : 'v', &i->src[k], chip);
    const char *wrong = good ? decode_options(i, t) : NULL;
    if (!good || wrong)
        i->why_not = wrong ? wrong : "operands that the simulator does not understand";
    else if (i->option)
        i->why_not = "cbsz, abid and blgp are not simulated";
    else if (!matrix_parse(out, wmma, i->dst.count, &f))
        i->why_not = "unknown instruction";
    if (i->why_not) return true;
    matrix_format *own = malloc(sizeof *own);
    *own = f;
    i->format = own;
    i->run = multiply;
    i->unit = UNIT_MATRIX;
    i->cycles = (uint8_t)matrix_cycles(&f, chip);
    return true;
}
