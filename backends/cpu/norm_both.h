/* Layernorm and rmsnorm of one row while another one is read (rows_both.h), part of norm.c. With all parameters that the op may
 * have; other calls take a pass after the other. */
#ifndef TRINE_CPU_NORM_BOTH_H
#define TRINE_CPU_NORM_BOTH_H

/* ---- What is read: x, or the sum with the residual, which is kept as f32 or made again ---- */

LANES_INLINE void norm_take(const row_cursor *c, trine_dtype type, bool adds, bool keeps, int64_t i, f32x16 x[4])
{
    ROW_EACH(x[k] = ROW_LOAD(c, 0));
    if (!adds) return;
    ROW_EACH(x[k] += ROW_LOAD(c, 1));
    for (int k = 0; k < 4 && type != TRINE_F32; k += 2) {
        _Alignas(64) char codes[2 * LANES_PUT];
        lanes_put(codes, type, x[k], x[k + 1], false);
        x[k] = lanes_load(codes, type, 0);
        x[k + 1] = lanes_load(codes, type, LANES);
    }
    if (keeps) ROW_EACH(memcpy(c->keep + i + LANES * k, &x[k], sizeof x[k]));
}

typedef struct norm_sums {
    float about;
    f32x16 sum[4], squares[4];
} norm_sums;

LANES_INLINE void norm_begin(norm_sums *s, const void *context, const row_cursor *c, trine_dtype type)
{
    const norm_context *n = context;
    s->about = 0;
    if (n->centred) s->about = lanes_first(c->x[0], type);
    if (n->centred && n->adds) s->about += lanes_first(c->x[1], type);
    if (n->centred && n->adds && type != TRINE_F32) { /* as it is kept */
        _Alignas(64) char codes[2 * LANES_PUT];
        lanes_put(codes, type, lanes_of(s->about), lanes_of(s->about), false);
        s->about = lanes_first(codes, type);
    }
    ROW_EACH(s->sum[k] = s->squares[k] = (f32x16){0});
}

LANES_INLINE void norm_more(norm_sums *s, const row_cursor *c, trine_dtype type, bool centred, bool adds, bool keeps, int64_t i)
{
    f32x16 x[4];
    norm_take(c, type, adds, keeps, i, x);
    if (centred) ROW_EACH(x[k] -= s->about);
    if (centred) ROW_EACH(s->sum[k] += x[k]);
    ROW_EACH(s->squares[k] = lanes_fma(x[k], x[k], s->squares[k]));
}

LANES_INLINE void norm_end(const norm_sums *s, const void *context, const row_part *part, double stats[ROW_STATS])
{
    const norm_context *n = context;
    const float squares = lanes_sum((s->squares[0] + s->squares[1]) + (s->squares[2] + s->squares[3]));
    if (!n->centred) {
        stats[0] = (double)squares;
        return;
    }
    const lanes_input kept = {.x = {part->keep}, .dtype = TRINE_F32, .n = part->n};
    const float sum = lanes_sum((s->sum[0] + s->sum[1]) + (s->sum[2] + s->sum[3]));
    if (n->adds && layernorm_is_far((double)part->n, (double)sum / (double)part->n, squares)) add_residual(n, part);
    layernorm_settle(n->adds ? &kept : &part->source, s->about, sum, squares, stats);
}

/* ---- What is written ---- */

typedef struct norm_factors {
    float mean, rstd;
    const char *weight, *bias;
} norm_factors;

LANES_INLINE void norm_factors_of(norm_factors *f, const void *context, const row_cursor *c, const double *own,
                                  const double *stats)
{
    const norm_context *n = context;
    const int64_t size = trine_dtype_bits(n->weight.dtype) / 8;
    (void)own;
    *f = (norm_factors){n->centred ? (float)stats[1] : 0, (float)(n->centred ? stats[2] : stats[0]),
                        (const char *)n->weight.data + c->column * size,
                        n->centred ? (const char *)n->bias.data + c->column * size : NULL};
}

/* parameters: their dtype. */
LANES_INLINE void norm_values(const norm_factors *f, const row_cursor *c, trine_dtype type, trine_dtype parameters, bool centred,
                              bool adds, bool keeps, int64_t i, f32x16 y[4])
{
    if (adds && keeps)
        ROW_EACH(y[k] = lanes_load(c->keep, TRINE_F32, i + LANES * k));
    else
        norm_take(c, type, adds, false, i, y);
    for (int k = 0; k < 4 && adds && c->kept; k += 2)
        lanes_put(c->kept + (i + LANES * k) * lanes_size(type), type, y[k], y[k + 1], c->stream);
    if (centred)
        ROW_EACH(y[k] = lanes_fma((y[k] - f->mean) * f->rstd, lanes_load(f->weight, parameters, i + LANES * k),
                                  lanes_load(f->bias, parameters, i + LANES * k)));
    else
        ROW_EACH(y[k] = y[k] * f->rstd * lanes_load(f->weight, parameters, i + LANES * k));
}

#define NORM_BOTH(name, inputs, centred, adds, keeps, parameters) \
    LANES_INLINE void name##_more(norm_sums *s, const row_cursor *c, trine_dtype type, int64_t i) \
    { \
        norm_more(s, c, type, centred, adds, keeps, i); \
    } \
    LANES_INLINE void name##_values(const norm_factors *f, const row_cursor *c, trine_dtype type, int64_t i, f32x16 y[4]) \
    { \
        norm_values(f, c, type, parameters, centred, adds, keeps, i, y); \
    } \
    ROW_BOTH(name, inputs, norm_sums, norm_begin, name##_more, norm_end, norm_factors, norm_factors_of, name##_values)
NORM_BOTH(layernorm_wide, 1, true, false, false, TRINE_F32)
NORM_BOTH(layernorm_same, 1, true, false, false, type)
NORM_BOTH(layernorm_kept, 2, true, true, true, TRINE_F32)
NORM_BOTH(layernorm_again, 2, true, true, false, TRINE_F32)
NORM_BOTH(layernorm_again_same, 2, true, true, false, type)
NORM_BOTH(rmsnorm_wide, 1, false, false, false, TRINE_F32)
NORM_BOTH(rmsnorm_same, 1, false, false, false, type)
NORM_BOTH(rmsnorm_kept, 2, false, true, true, TRINE_F32)
NORM_BOTH(rmsnorm_again, 2, false, true, false, TRINE_F32)
NORM_BOTH(rmsnorm_again_same, 2, false, true, false, type)

/* For parameters that norm_put can load. */
static row_both_fn norm_both_of(const norm_context *c, bool kept)
{
    if (!trine_is_given(&c->weight) || (c->centred && (!trine_is_given(&c->bias) || c->bias.dtype != c->weight.dtype)))
        return NULL;
    const bool wide = c->weight.dtype == TRINE_F32;
    if (c->adds && kept && !wide) return NULL; /* few rows */
    if (c->adds && kept) return c->centred ? layernorm_kept : rmsnorm_kept;
    if (c->adds && wide) return c->centred ? layernorm_again : rmsnorm_again;
    if (c->adds) return c->centred ? layernorm_again_same : rmsnorm_again_same;
    if (wide) return c->centred ? layernorm_wide : rmsnorm_wide;
    return c->centred ? layernorm_same : rmsnorm_same;
}

#endif
