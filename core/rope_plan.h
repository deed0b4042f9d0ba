/* What rope's arguments come down to, for host code of every backend; C11 and C++17. */
#ifndef TRINE_CORE_ROPE_PLAN_H
#define TRINE_CORE_ROPE_PLAN_H

#include "core/shape.h"
#include "trine/rope.h"

/* Tokens are the axes that the angle depends on, heads the others but the last. */
typedef struct trine_rope_plan {
    trine_iter tokens, heads; /* operands: y, x; of tokens also positions, where given */
    int64_t dims, rotary;
    int64_t step[2]; /* from element to element: y, x */
    int64_t turns;   /* tokens a run of positions 0, 1, ... has, without positions: T */
} trine_rope_plan;

/* Keeps the axes whose bit is set in `mask`. */
static inline trine_tensor trine_rope_axes(const trine_tensor *t, unsigned mask)
{
    trine_tensor kept = *t;
    kept.ndim = 0;
    for (int32_t d = 0; d < t->ndim; d++)
        if (mask >> d & 1u) {
            kept.shape[kept.ndim] = t->shape[d];
            kept.stride[kept.ndim++] = t->stride[d];
        }
    return kept;
}

static inline trine_rope_plan trine_rope_plan_make(const trine_rope_args *a)
{
    trine_rope_plan p;
    const int32_t last = a->x.ndim - 1, axis = a->axis < 0 ? a->axis + a->x.ndim : a->axis;
    const int32_t given = trine_is_given(&a->positions);
    const unsigned tokens = 1u << axis | (given && a->positions.ndim == 2 ? 1u : 0u), heads = ((1u << last) - 1u) & ~tokens;
    const trine_tensor y_tokens = trine_rope_axes(&a->y, tokens), x_tokens = trine_rope_axes(&a->x, tokens);
    const trine_tensor y_heads = trine_rope_axes(&a->y, heads), x_heads = trine_rope_axes(&a->x, heads);
    const trine_tensor *of_tokens[] = {&y_tokens, &x_tokens, &a->positions}, *of_heads[] = {&y_heads, &x_heads};
    p.tokens = trine_iter_make(of_tokens, given ? 3 : 2, 1);
    p.heads = trine_iter_make(of_heads, 2, 0);
    p.dims = a->x.shape[last];
    p.rotary = a->rotary_dims ? a->rotary_dims : p.dims;
    p.step[0] = a->y.stride[last];
    p.step[1] = a->x.stride[last];
    p.turns = a->x.shape[axis];
    return p;
}

/* What a position adds to each pair's angle, in 2^-64 of a turn. */
typedef struct trine_rope_steps {
    uint64_t at[TRINE_ROPE_MAX_DIMS / 2];
} trine_rope_steps;

/* base^(1/n) for n >= 1 by Newton's method from above. Without libm, which plugins don't link; to 2^-60 relatively. */
static inline long double trine_rope_root(double base, int64_t n)
{
    long double root = 1, before;
    double left = base;
    /* 2^(log2(base) / n) is at most this: the powers of two below base, n-th parts of them, each 1 + ln2/n at most */
    for (; left > 1; left /= 2) root *= 1 + 0.6931471805599454L / (long double)n * (1 + 0.6931471805599454L / (long double)n);
    do {
        long double power = 1, square = root;
        for (int64_t bits = n - 1; bits > 0; bits >>= 1, square *= square)
            if (bits & 1) power *= square;
        before = root;
        root -= (root - (long double)base / power) / (long double)n;
    } while (before - root > root * 0x1p-62L);
    return root;
}

static inline void trine_rope_steps_make(trine_rope_steps *steps, double base, double scaling, int64_t rotary)
{
    const long double tau = 6.283185307179586476925286766559L, root = rotary > 2 ? trine_rope_root(base, rotary / 2) : 1;
    long double turns = 1 / (tau * (long double)(scaling > 0 ? scaling : 1));
    for (int64_t i = 0; i < rotary / 2; i++, turns /= root) {
        const long double part = turns - (long double)(uint64_t)turns; /* at most 2^20 whole turns */
        steps->at[i] = (uint64_t)(part * 0x1p64L);
    }
}

#endif
