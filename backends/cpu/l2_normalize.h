/* L2 normalisation on the CPU, part of norm.c, in the frame of rows.h. stats: sum of squares, sum(x dy), from which finish makes
 * the factors of dy and of x. */
#ifndef TRINE_CPU_L2_NORMALIZE_H
#define TRINE_CPU_L2_NORMALIZE_H

LANES_SUM(lanes_product, 2, lanes_fma(a, b, s))

typedef struct l2_context {
    float eps;
} l2_context;

static double l2_scale(const void *context, double squares)
{
    const double norm = sqrt(squares), eps = (double)((const l2_context *)context)->eps;
    return 1 / (norm < eps ? eps : norm); /* NaN stays */
}

static void l2_partial(const void *context, const row_part *part, double stats[ROW_STATS])
{
    (void)context;
    stats[0] = (double)lanes_squares(&part->source, 0);
}

static void l2_merge(double into[ROW_STATS], const double from[ROW_STATS]) { into[0] += from[0]; }

static void l2_finish(const void *context, int64_t row, int64_t n, double stats[ROW_STATS])
{
    (void)row, (void)n;
    stats[0] = l2_scale(context, stats[0]);
}

static void l2_emit(const void *context, const row_part *part, const double own[ROW_STATS], const double stats[ROW_STATS],
                    float *y)
{
    const float scale = (float)stats[0], *x = part->x[0];
    (void)context, (void)own;
    for (int64_t i = 0; i < part->n; i++) y[i] = x[i] * scale;
}

ROW_PUT(l2_put)
{
    const float scale = (float)stats[0];
    (void)context, (void)own;
    ROW_PUT_EACH(1, ROW_AT(0) * scale);
}

/* The same, a row read while another one is written. */
typedef struct square_sums {
    f32x16 sum[4];
} square_sums;

LANES_INLINE void square_begin(square_sums *s, const void *context, const row_cursor *c, trine_dtype type)
{
    (void)context, (void)c, (void)type;
    ROW_EACH(s->sum[k] = (f32x16){0});
}

LANES_INLINE void square_more(square_sums *s, const row_cursor *c, trine_dtype type, int64_t i)
{
    f32x16 x[4];
    ROW_EACH(x[k] = ROW_LOAD(c, 0));
    ROW_EACH(s->sum[k] = lanes_fma(x[k], x[k], s->sum[k]));
}

LANES_INLINE void square_end(const square_sums *s, const void *context, const row_part *part, double stats[ROW_STATS])
{
    (void)context, (void)part;
    stats[0] = (double)lanes_sum((s->sum[0] + s->sum[1]) + (s->sum[2] + s->sum[3]));
}

LANES_INLINE void l2_scale_of(float *scale, const void *context, const row_cursor *c, const double *own, const double *stats)
{
    (void)context, (void)c, (void)own;
    *scale = (float)stats[0];
}

LANES_INLINE void l2_values(const float *scale, const row_cursor *c, trine_dtype type, int64_t i, f32x16 y[4])
{
    ROW_EACH(y[k] = ROW_LOAD(c, 0) * *scale);
}

ROW_BOTH(l2_both, 1, square_sums, square_begin, square_more, square_end, float, l2_scale_of, l2_values)

trine_status TRINE_CPU(l2_normalize)(trine_call *call, const trine_l2_normalize_args *a)
{
    static const row_op op = {1,    ROW_KEEPS_NOTHING, l2_partial, l2_merge,       l2_finish, NULL,
                              NULL, l2_emit,           l2_put,     .both = l2_both};
    return rows_call(call, &op, &(l2_context){a->eps}, (const trine_tensor *[]){&a->y, &a->x});
}

/* ---- Backward. Inputs: x, dy ---- */

static void l2_backward_partial(const void *context, const row_part *part, double stats[ROW_STATS])
{
    (void)context;
    stats[1] = (double)lanes_product(&part->source, 0);
    const lanes_input x = rows_second(part, 0);
    stats[0] = (double)lanes_squares(&x, 0);
}

static void l2_backward_merge(double into[ROW_STATS], const double from[ROW_STATS])
{
    into[0] += from[0];
    into[1] += from[1];
}

static void l2_backward_finish(const void *context, int64_t row, int64_t n, double stats[ROW_STATS])
{
    const double scale = l2_scale(context, stats[0]);
    const bool bounded = sqrt(stats[0]) <= (double)((const l2_context *)context)->eps;
    (void)row, (void)n;
    stats[1] = bounded ? 0 : -stats[1] * scale * scale * scale;
    stats[0] = scale;
}

static void l2_backward_emit(const void *context, const row_part *part, const double own[ROW_STATS],
                             const double stats[ROW_STATS], float *dx)
{
    const float scale = (float)stats[0], along = (float)stats[1], *x = part->x[0], *dy = part->x[1];
    (void)context, (void)own;
    for (int64_t i = 0; i < part->n; i++) dx[i] = dy[i] * scale + x[i] * along;
}

ROW_PUT(l2_backward_put)
{
    const float scale = (float)stats[0], along = (float)stats[1];
    (void)context, (void)own;
    ROW_PUT_EACH(2, ROW_AT(1) * scale + ROW_AT(0) * along);
}

typedef struct l2_sums {
    f32x16 squares[4], products[4];
} l2_sums;

LANES_INLINE void l2_backward_begin(l2_sums *s, const void *context, const row_cursor *c, trine_dtype type)
{
    (void)context, (void)c, (void)type;
    ROW_EACH(s->squares[k] = s->products[k] = (f32x16){0});
}

LANES_INLINE void l2_backward_more(l2_sums *s, const row_cursor *c, trine_dtype type, int64_t i)
{
    f32x16 x[4];
    ROW_EACH(x[k] = ROW_LOAD(c, 0));
    ROW_EACH(s->squares[k] = lanes_fma(x[k], x[k], s->squares[k]));
    ROW_EACH(s->products[k] = lanes_fma(x[k], ROW_LOAD(c, 1), s->products[k]));
}

LANES_INLINE void l2_backward_end(const l2_sums *s, const void *context, const row_part *part, double stats[ROW_STATS])
{
    (void)context, (void)part;
    stats[0] = (double)lanes_sum((s->squares[0] + s->squares[1]) + (s->squares[2] + s->squares[3]));
    stats[1] = (double)lanes_sum((s->products[0] + s->products[1]) + (s->products[2] + s->products[3]));
}

typedef struct l2_factors {
    float scale, along;
} l2_factors;

LANES_INLINE void l2_factors_of(l2_factors *f, const void *context, const row_cursor *c, const double *own, const double *stats)
{
    (void)context, (void)c, (void)own;
    *f = (l2_factors){(float)stats[0], (float)stats[1]};
}

LANES_INLINE void l2_backward_values(const l2_factors *f, const row_cursor *c, trine_dtype type, int64_t i, f32x16 dx[4])
{
    ROW_EACH(dx[k] = ROW_LOAD(c, 1) * f->scale + ROW_LOAD(c, 0) * f->along);
}

ROW_BOTH(l2_backward_both, 2, l2_sums, l2_backward_begin, l2_backward_more, l2_backward_end, l2_factors, l2_factors_of,
         l2_backward_values)

trine_status TRINE_CPU(l2_normalize_backward)(trine_call *call, const trine_l2_normalize_backward_args *a)
{
    static const row_op op = {2,    ROW_KEEPS_NOTHING, l2_backward_partial, l2_backward_merge,       l2_backward_finish, NULL,
                              NULL, l2_backward_emit,  l2_backward_put,     .both = l2_backward_both};
    return rows_call(call, &op, &(l2_context){a->eps}, (const trine_tensor *[]){&a->dx, &a->x, &a->dy});
}

#endif
