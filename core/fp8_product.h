/* fp8_matmul as a trine_product whose elements have scales; C11 and C++17. */
#ifndef TRINE_CORE_FP8_PRODUCT_H
#define TRINE_CORE_FP8_PRODUCT_H

#include <string.h>

#include "core/matmul_shape.h"
#include "trine/fp8.h"

/* `from_end`: the place of the rows' axis, counted from the end; K's is the other one of 1 and 2. */
static inline trine_product_scale trine_fp8_product_scale(const trine_tensor *t, int32_t from_end, int64_t rows)
{
    trine_product_scale s = trine_product_scale_none();
    s.data = (const float *)t->data;
    if (t->ndim < 2) return s;
    s.row = trine_product_stride(t, from_end);
    s.k_step = trine_product_stride(t, 3 - from_end);
    if (t->shape[t->ndim - from_end] != rows) s.row_block = TRINE_FP8_BLOCK;
    return s;
}

static inline trine_iter trine_fp8_product_batch(const trine_fp8_matmul_args *args)
{
    trine_tensor outer[TRINE_PRODUCT_SCALED_OPERANDS] = {args->d, args->a, args->b, args->d, args->a_scale, args->b_scale};
    const trine_tensor *outers[TRINE_PRODUCT_SCALED_OPERANDS];
    for (int32_t i = 0; i < TRINE_PRODUCT_SCALED_OPERANDS; i++) {
        outer[i].ndim = outer[i].ndim > 2 ? outer[i].ndim - 2 : 0;
        outers[i] = &outer[i];
    }
    return trine_iter_make(outers, TRINE_PRODUCT_SCALED_OPERANDS, 0);
}

/* Fills *p from arguments that passed the core's checks. False if d is dense neither along n nor along m. */
static inline bool trine_fp8_product_make(trine_product *p, const trine_fp8_matmul_args *args)
{
    trine_matmul_args same;
    memset(&same, 0, sizeof same);
    same.a = args->a;
    same.b = args->b;
    same.bias = args->bias;
    same.d = args->d;
    same.alpha = 1;
    same.activation = args->activation;
    same.activation_alpha = args->activation_alpha;
    trine_product_fill(p, &same);
    p->has_scales = true;
    p->a_scale = trine_fp8_product_scale(&args->a_scale, 2, p->m);
    p->b_scale = trine_fp8_product_scale(&args->b_scale, 1, p->n);
    p->batch = trine_fp8_product_batch(args);
    return trine_product_settle(p, &args->d);
}

#endif
