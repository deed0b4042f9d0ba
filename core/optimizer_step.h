/* What a step's arguments come down to, the same on every backend: C11 and C++17, and arithmetic that calls no library. */
#ifndef TRINE_CORE_OPTIMIZER_STEP_H
#define TRINE_CORE_OPTIMIZER_STEP_H

#include "core/backend.h"
#include "core/shape.h"
#include "trine/optimizer.h"

/* Beside the norm that clip divides by. */
#define TRINE_CLIP_EPS 1e-6

/* The numbers of adamw, rounded once from f64. */
typedef struct trine_adamw_step {
    float sign;         /* of the gradient: -1 if the goal is the largest */
    float decay, l2;    /* p -= decay p; g += l2 p. Nothing where 0, also of inf. */
    float beta1, rest1; /* rest: 1 - beta */
    float beta2, rest2;
    float rate;    /* lr / (1 - beta1^step) */
    float rescale; /* 1 / sqrt(1 - beta2^step) */
    float eps;
} trine_adamw_step;

typedef struct trine_sgd_step {
    float sign, l2;
    float momentum, share; /* b = momentum b + share g */
    float rate;
    int32_t first; /* b = g */
    int32_t nesterov;
} trine_sgd_step;

/* AMSGrad's: a NaN stays. */
#define TRINE_LARGEST_SQUARE(largest, v) ((v) > (largest) || (v) != (v) ? (v) : (largest))

static inline double trine_power(double x, int64_t n)
{
    double product = 1;
    for (; n > 0; n /= 2, x *= x)
        if (n % 2) product *= x;
    return product;
}

/* Heron's iteration from above, for 0 < x <= 1. */
static inline double trine_root(double x)
{
    double root = 1, next = (1 + x) / 2;
    while (next < root) {
        root = next;
        next = (root + x / root) / 2;
    }
    return root;
}

static inline trine_adamw_step trine_adamw_step_make(const trine_adamw_args *a)
{
    trine_adamw_step s;
    s.sign = a->maximize ? -1.0f : 1.0f;
    s.decay = a->l2 ? 0.0f : (float)(a->lr * a->weight_decay);
    s.l2 = a->l2 ? (float)a->weight_decay : 0.0f;
    s.beta1 = (float)a->beta1;
    s.rest1 = (float)(1 - a->beta1);
    s.beta2 = (float)a->beta2;
    s.rest2 = (float)(1 - a->beta2);
    s.rate = (float)(a->lr / (1 - trine_power(a->beta1, a->step)));
    s.rescale = (float)(1 / trine_root(1 - trine_power(a->beta2, a->step)));
    s.eps = (float)a->eps;
    return s;
}

static inline trine_sgd_step trine_sgd_step_make(const trine_sgd_args *a)
{
    trine_sgd_step s;
    s.sign = a->maximize ? -1.0f : 1.0f;
    s.l2 = (float)a->weight_decay;
    s.momentum = (float)a->momentum;
    s.share = (float)(1 - a->dampening);
    s.rate = (float)a->lr;
    s.first = a->step == 1;
    s.nesterov = a->nesterov != 0;
    return s;
}

/* ---- Tensors ---- */

/* Without gaps, the axes in any order. */
static inline int trine_is_packed(const trine_tensor *t)
{
    int64_t wanted = 1;
    unsigned left = 0;
    for (int32_t d = 0; d < t->ndim; d++) {
        if (t->shape[d] == 0) return 1;
        if (t->shape[d] > 1) left |= 1u << d;
    }
    while (left) {
        int32_t d = 0;
        while (d < t->ndim && !(left >> d & 1u && t->stride[d] == wanted)) d++;
        if (d == t->ndim) return 0;
        left &= ~(1u << d);
        wanted *= t->shape[d];
    }
    return 1;
}

static inline int trine_is_laid_out_as(const trine_tensor *t, const trine_tensor *other)
{
    int same = 1;
    for (int32_t d = 0; d < t->ndim; d++) same &= t->shape[d] <= 1 || t->stride[d] == other->stride[d];
    return same || trine_tensor_numel(t) == 0;
}

/* All tensors of the first list are packed, and those of the others that are given lie as they do. */
static inline int trine_lists_fit(const trine_tensor_list *const *lists, int32_t count)
{
    for (int32_t i = 0; i < lists[0]->count; i++) {
        if (!trine_is_packed(&lists[0]->at[i])) return 0;
        for (int32_t k = 1; k < count; k++)
            if (i < lists[k]->count && trine_is_given(&lists[k]->at[i]) &&
                !trine_is_laid_out_as(&lists[k]->at[i], &lists[0]->at[i]))
                return 0;
    }
    return 1;
}

/* The guard of all kernels of the family. */
#define TRINE_REQUIRE_PACKED(call, ...) \
    do { \
        const trine_tensor_list *const require_lists[] = {__VA_ARGS__}; \
        TRINE_REQUIRE_THAT(call, trine_lists_fit(require_lists, (int32_t)(sizeof require_lists / sizeof require_lists[0])), \
                           "needs tensors without gaps, those of one parameter with one order of axes"); \
    } while (0)

#endif
