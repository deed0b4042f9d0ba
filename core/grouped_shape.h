/* A grouped product in the form that every backend's kernels work on; C11 and C++17. */
#ifndef TRINE_CORE_GROUPED_SHAPE_H
#define TRINE_CORE_GROUPED_SHAPE_H

#include <string.h>

#include "core/fp8_product.h"
#include "trine/grouped.h"

typedef enum trine_grouped_layout { TRINE_GROUPED_ROWS, TRINE_GROUPED_MASKED, TRINE_GROUPED_SUMS } trine_grouped_layout;

/* `p` is the product of all rows, its batch the groups: what an operand has for all groups together has stride 0 there. A group's
 * product has fewer rows (rows, masked) or terms (sums). */
typedef struct trine_grouped {
    trine_product p;
    trine_grouped_layout layout;
    int64_t bias_group; /* elements from one group's bias to the next one's */
    const void *sizes;  /* offsets or counts */
    bool sizes_wide;    /* i64 */
    bool from_zero;     /* offsets are ends */
} trine_grouped;

/* A set a group; a's, of rows sorted by group, is one for all. */
static inline void trine_grouped_take_scales(trine_product *p, const trine_grouped_matmul_args *args)
{
    p->a_scale = trine_fp8_product_scale(&args->a_scale, 2, p->m);
    p->b_scale = trine_fp8_product_scale(&args->b_scale, 1, p->n);
    p->batch.operands = TRINE_PRODUCT_SCALED_OPERANDS;
    p->batch.stride[TRINE_PRODUCT_A_SCALE][0] = trine_product_stride(&args->a_scale, 3);
    p->batch.stride[TRINE_PRODUCT_B_SCALE][0] = trine_product_stride(&args->b_scale, 3);
}

/* Fills *g from arguments that passed the core's checks. False if d is not dense along n. */
static inline bool trine_grouped_make(trine_grouped *g, const trine_grouped_matmul_args *args)
{
    const trine_tensor *a = &args->a, *b = &args->b, *d = &args->d;
    const bool masked = trine_is_given(&args->counts), sums = !masked && b->ndim == 2;
    const trine_tensor *sizes = masked ? &args->counts : &args->offsets;
    trine_product *p = &g->p;
    memset(g, 0, sizeof *g);
    g->layout = masked ? TRINE_GROUPED_MASKED : sums ? TRINE_GROUPED_SUMS : TRINE_GROUPED_ROWS;
    p->m = a->shape[a->ndim - 2];
    p->k = a->shape[a->ndim - 1];
    p->n = b->shape[b->ndim - 1];
    p->a_m = trine_product_stride(a, 2);
    p->a_k = trine_product_stride(a, 1);
    p->b_k = trine_product_stride(b, 2);
    p->b_n = trine_product_stride(b, 1);
    p->d_m = trine_product_stride(d, 2);
    p->has_bias = trine_is_given(&args->bias);
    p->bias_n = p->has_bias && p->n > 1;
    p->a = a->data;
    p->b = b->data;
    p->bias = p->has_bias ? args->bias.data : NULL;
    p->d = d->data;
    p->dtype = a->dtype;
    p->b_dtype = b->dtype;
    p->d_dtype = p->c_dtype = d->dtype;
    p->bias_dtype = p->has_bias ? args->bias.dtype : d->dtype;
    p->alpha = 1;
    p->activation = args->activation;
    p->activation_alpha = args->activation_alpha;
    p->batch.ndim = 1;
    p->batch.operands = TRINE_PRODUCT_OPERANDS;
    p->batch.size[0] = p->batch.numel = sums ? d->shape[0] : b->shape[0];
    p->batch.stride[TRINE_PRODUCT_A][0] = trine_product_stride(a, 3);
    p->batch.stride[TRINE_PRODUCT_B][0] = trine_product_stride(b, 3);
    p->batch.stride[TRINE_PRODUCT_D][0] = trine_product_stride(d, 3);
    p->a_scale = p->b_scale = trine_product_scale_none();
    p->has_scales = trine_is_given(&args->a_scale);
    if (p->has_scales) trine_grouped_take_scales(p, args);
    g->bias_group = p->has_bias ? p->n : 0;
    g->sizes = sizes->data;
    g->sizes_wide = sizes->dtype == TRINE_I64;
    g->from_zero = sizes->shape[0] == p->batch.numel;
    return trine_product_stride(d, 1) == 1 || p->n <= 1;
}

#endif
