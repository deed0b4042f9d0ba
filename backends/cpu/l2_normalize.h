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

trine_status TRINE_CPU(l2_normalize)(trine_call *call, const trine_l2_normalize_args *a)
{
    static const row_op op = {1, ROW_KEEPS_NOTHING, l2_partial, l2_merge, l2_finish, NULL, NULL, l2_emit, l2_put};
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

trine_status TRINE_CPU(l2_normalize_backward)(trine_call *call, const trine_l2_normalize_backward_args *a)
{
    static const row_op op = {2,    ROW_KEEPS_NOTHING, l2_backward_partial, l2_backward_merge, l2_backward_finish, NULL,
                              NULL, l2_backward_emit,  l2_backward_put};
    return rows_call(call, &op, &(l2_context){a->eps}, (const trine_tensor *[]){&a->dx, &a->x, &a->dy});
}

#endif
