/* A matrix product in the one form that every backend's kernels work on; C11 and C++17.
 *
 *     d[m, n] = act(alpha sum over k of a[m, k] b[k, n] + beta c[m, n] + bias) for every product of a batch
 *
 * with d dense along n. What is dense along m instead becomes this by the transposed product: d' = b' a'. */
#ifndef TRINE_CORE_MATMUL_SHAPE_H
#define TRINE_CORE_MATMUL_SHAPE_H

#include <stdbool.h>

#include "core/shape.h"
#include "trine/matmul.h"

/* Operands of trine_product.batch. c's offsets mean nothing without c; the scales' are there where elements have them. */
enum {
    TRINE_PRODUCT_D,
    TRINE_PRODUCT_A,
    TRINE_PRODUCT_B,
    TRINE_PRODUCT_C,
    TRINE_PRODUCT_OPERANDS,
    TRINE_PRODUCT_A_SCALE = TRINE_PRODUCT_OPERANDS,
    TRINE_PRODUCT_B_SCALE,
    TRINE_PRODUCT_SCALED_OPERANDS
};

/* The factors of an operand's elements: of row i (b: column i) and term k it is data[i / row_block * row + k / 128 * k_step].
 * A stride of 0: one for all of that axis. */
typedef struct trine_product_scale {
    const float *data;
    int64_t row, k_step;
    int32_t row_block; /* 1 or 128 */
} trine_product_scale;

typedef struct trine_product {
    int64_t m, n, k;            /* k is 0 where a and b must not be read */
    int64_t a_m, a_k, b_n, b_k; /* strides in elements; 0 along an axis of one element or of a broadcast */
    int64_t c_m, c_n, d_m, bias_m, bias_n;
    const void *a, *b, *c, *bias;
    void *d;
    bool has_c, has_bias;                                     /* in a query the pointers are NULL, whether given or not */
    trine_dtype dtype, b_dtype, c_dtype, bias_dtype, d_dtype; /* the first is a's */
    float alpha, beta, activation_alpha;
    trine_activation_kind activation;
    bool has_scales;
    trine_product_scale a_scale, b_scale;
    trine_iter batch;
} trine_product;

/* Stride along axis `ndim - from_end` of a tensor that is broadcast: 0 where it has one element or lacks the axis. */
static inline int64_t trine_product_stride(const trine_tensor *t, int32_t from_end)
{
    int32_t axis = t->ndim - from_end;
    return axis < 0 || t->shape[axis] == 1 ? 0 : t->stride[axis];
}

static inline trine_iter trine_product_batch(const trine_matmul_args *args, bool has_c)
{
    trine_tensor outer[TRINE_PRODUCT_OPERANDS] = {args->d, args->a, args->b, has_c ? args->c : args->d};
    const trine_tensor *outers[TRINE_PRODUCT_OPERANDS];
    for (int32_t i = 0; i < TRINE_PRODUCT_OPERANDS; i++) {
        outer[i].ndim = outer[i].ndim > 2 ? outer[i].ndim - 2 : 0;
        outers[i] = &outer[i];
    }
    return trine_iter_make(outers, TRINE_PRODUCT_OPERANDS, 0);
}

/* A batch that shares b, and whose products follow each other like rows, is one product of more rows. */
static inline void trine_product_fold_batch(trine_product *p)
{
    const int64_t size = p->batch.size[0];
    int64_t step[TRINE_PRODUCT_SCALED_OPERANDS];
    for (int32_t i = 0; i < TRINE_PRODUCT_SCALED_OPERANDS; i++)
        step[i] = i < TRINE_PRODUCT_OPERANDS || p->has_scales ? p->batch.stride[i][0] : 0;
    if (p->batch.ndim != 1 || size <= 1 || step[TRINE_PRODUCT_B] != 0 || (p->has_bias && p->bias_m)) return;
    if (p->m == 1) {
        p->a_m = step[TRINE_PRODUCT_A];
        p->c_m = step[TRINE_PRODUCT_C];
        p->d_m = step[TRINE_PRODUCT_D];
    }
    if (step[TRINE_PRODUCT_A] != p->m * p->a_m || step[TRINE_PRODUCT_D] != p->m * p->d_m) return;
    if (p->has_c && step[TRINE_PRODUCT_C] != p->m * p->c_m) return;
    if (p->has_scales) {
        const int64_t row = p->m == 1 ? step[TRINE_PRODUCT_A_SCALE] : p->a_scale.row;
        if (step[TRINE_PRODUCT_B_SCALE] != 0 || step[TRINE_PRODUCT_A_SCALE] != p->m * row) return;
        if (p->m > 1 && row != 0 && p->a_scale.row_block != 1) return;
        p->a_scale.row = row;
        if (p->m == 1) p->a_scale.row_block = 1;
    }
    p->m *= size;
    p->batch.size[0] = 1;
    p->batch.numel = 1;
}

static inline void trine_product_swap(int64_t *x, int64_t *y)
{
    const int64_t t = *x;
    *x = *y;
    *y = t;
}

/* The product of the transposed matrices. */
static inline void trine_product_transpose(trine_product *p)
{
    const void *a = p->a;
    p->a = p->b;
    p->b = a;
    trine_product_swap(&p->m, &p->n);
    trine_product_swap(&p->a_m, &p->b_n);
    trine_product_swap(&p->a_k, &p->b_k);
    trine_product_swap(&p->c_m, &p->c_n);
    trine_product_swap(&p->bias_m, &p->bias_n);
    const trine_dtype dtype = p->dtype;
    p->dtype = p->b_dtype;
    p->b_dtype = dtype;
    const trine_product_scale scale = p->a_scale;
    p->a_scale = p->b_scale;
    p->b_scale = scale;
    for (int32_t i = 0; i < p->batch.ndim; i++) {
        trine_product_swap(&p->batch.stride[TRINE_PRODUCT_A][i], &p->batch.stride[TRINE_PRODUCT_B][i]);
        if (p->has_scales)
            trine_product_swap(&p->batch.stride[TRINE_PRODUCT_A_SCALE][i], &p->batch.stride[TRINE_PRODUCT_B_SCALE][i]);
    }
}

static inline trine_product_scale trine_product_scale_none(void)
{
    trine_product_scale none;
    none.data = NULL;
    none.row = none.k_step = 0;
    none.row_block = 1;
    return none;
}

/* As the arguments have it, with d's stride along n still open. */
static inline void trine_product_fill(trine_product *p, const trine_matmul_args *args)
{
    const trine_tensor *d = &args->d;
    p->m = d->shape[d->ndim - 2];
    p->n = d->shape[d->ndim - 1];
    p->k = args->alpha == 0.0f ? 0 : args->a.shape[args->a.ndim - 1];
    p->a_m = trine_product_stride(&args->a, 2);
    p->a_k = trine_product_stride(&args->a, 1);
    p->b_k = trine_product_stride(&args->b, 2);
    p->b_n = trine_product_stride(&args->b, 1);
    p->has_c = trine_is_given(&args->c) && args->beta != 0.0f;
    p->has_bias = trine_is_given(&args->bias);
    p->c_m = p->has_c ? trine_product_stride(&args->c, 2) : 0;
    p->c_n = p->has_c ? trine_product_stride(&args->c, 1) : 0;
    p->bias_m = 0;
    p->bias_n = p->has_bias && p->n > 1;
    p->a = args->a.data;
    p->b = args->b.data;
    p->c = p->has_c ? args->c.data : NULL;
    p->bias = p->has_bias ? args->bias.data : NULL;
    p->d = d->data;
    p->dtype = args->a.dtype;
    p->b_dtype = args->b.dtype;
    p->c_dtype = p->has_c ? args->c.dtype : d->dtype;
    p->bias_dtype = p->has_bias ? args->bias.dtype : d->dtype;
    p->d_dtype = d->dtype;
    p->alpha = args->alpha;
    p->beta = args->beta;
    p->activation = args->activation;
    p->activation_alpha = args->activation_alpha;
    p->has_scales = false;
    p->a_scale = p->b_scale = trine_product_scale_none();
    p->batch = trine_product_batch(args, p->has_c);
}

/* Brings it into the form that kernels know. False if d is dense neither along n nor along m. */
static inline bool trine_product_settle(trine_product *p, const trine_tensor *d)
{
    const int64_t d_m = trine_product_stride(d, 2), d_n = trine_product_stride(d, 1);
    p->d_m = d_m;
    if (!(d_n == 1 || (d_n == 0 && d_m != 1))) {
        if (d_m > 1) return false;
        trine_product_transpose(p);
        p->d_m = d_n;
    }
    trine_product_fold_batch(p);
    if (p->batch.numel == 1) /* nothing to walk: no stride stands in the way of loads of whole packs */
        for (int32_t i = 0; i < TRINE_PRODUCT_OPERANDS; i++)
            for (int32_t d = 0; d < p->batch.ndim; d++) p->batch.stride[i][d] = 0;
    return true;
}

/* Fills *p from arguments that passed the core's checks. False if d is dense neither along n nor along m. */
static inline bool trine_product_make(trine_product *p, const trine_matmul_args *args)
{
    trine_product_fill(p, args);
    return trine_product_settle(p, &args->d);
}

/* ---- Products of a matrix with a few vectors ---- */

enum { TRINE_THIN_MOST = 4 };

/* w is the matrix, [rows, K]: b where a has few rows (`of_a`: the vectors are a's), a where b has few columns. x is the thin
 * operand, [thin, K]. */
typedef struct trine_thin {
    int64_t rows, w_row, w_k, x_row, x_k;
    int32_t thin;
    bool of_a;
} trine_thin;

/* False if neither M nor N is at most `most`. */
static inline bool trine_thin_at_most(trine_thin *t, const trine_product *p, int32_t most)
{
    t->of_a = p->m <= p->n;
    t->thin = (int32_t)((t->of_a ? p->m : p->n) <= most ? (t->of_a ? p->m : p->n) : most + 1);
    t->rows = t->of_a ? p->n : p->m;
    t->w_row = t->of_a ? p->b_n : p->a_m;
    t->w_k = t->of_a ? p->b_k : p->a_k;
    t->x_row = t->of_a ? p->a_m : p->b_n;
    t->x_k = t->of_a ? p->a_k : p->b_k;
    return t->thin <= most;
}

static inline bool trine_thin_make(trine_thin *t, const trine_product *p) { return trine_thin_at_most(t, p, TRINE_THIN_MOST); }

/* The axis of w to walk along: its dense one. Few rows are better walked along K even where they are dense the other way. */
static inline bool trine_thin_along_k(const trine_thin *t) { return t->w_row != 1 || t->rows <= 8; }

#endif
