/* Weights of the blurs, the same on every backend: C11 and C++17, and arithmetic that calls no library. */
#ifndef TRINE_CORE_BLUR_WEIGHTS_H
#define TRINE_CORE_BLUR_WEIGHTS_H

#include "trine/image.h"

enum { TRINE_BLUR_RADIUS_MAX = 64, TRINE_BLUR_ONE = 1 << 12 /* the middle weight of a gaussian */ };

/* Weight of the distance d <= radius along one axis, and sum[d] = at[0] + ... + at[d]. Weights beyond radius are 0. */
typedef struct trine_blur_weights {
    int32_t radius;
    uint32_t at[TRINE_BLUR_RADIUS_MAX + 1], sum[TRINE_BLUR_RADIUS_MAX + 1];
} trine_blur_weights;

/* e^-t for t >= 0: the series for e^(-t/64), where t/64 < 1, squared six times; 1e-14 relative. 0 where 2^12 e^-t rounds to it.
 */
static inline double trine_blur_exp(double t)
{
    double x = -t / 64, term = 1, sum = 1;
    if (!(t < 40)) return 0;
    for (int n = 1; n < 20; n++) {
        term *= x / n;
        sum += term;
    }
    for (int i = 0; i < 6; i++) sum *= sum;
    return sum;
}

/* sigma 0: a box, all weights 1. The radius shrinks to the last weight that is not 0. */
static inline trine_blur_weights trine_blur_weights_make(int32_t radius, float sigma)
{
    trine_blur_weights w;
    w.radius = 0;
    for (int32_t d = 0; d <= TRINE_BLUR_RADIUS_MAX; d++) {
        double t = sigma > 0 ? (double)d * d / (2.0 * sigma * sigma) : 0;
        uint32_t weight = sigma > 0 ? (uint32_t)(TRINE_BLUR_ONE * trine_blur_exp(t) + 0.5) : 1;
        w.at[d] = d <= radius ? weight : 0;
        w.sum[d] = w.at[d] + (d ? w.sum[d - 1] : 0);
        if (w.at[d]) w.radius = d;
    }
    return w;
}

/* How a blur sees an image: `planes` of `height` rows of `row` elements; the neighbours along the row lie `step` elements apart,
 * and there are `width` of them. */
typedef struct trine_blur_shape {
    int64_t planes, height, row, width, step;
} trine_blur_shape;

/* x is contiguous. */
static inline trine_blur_shape trine_blur_shape_of(const trine_blur_args *a)
{
    const trine_tensor *x = &a->x;
    const int32_t first = x->ndim - 3, chw = a->layout == TRINE_IMAGE_CHW;
    trine_blur_shape s;
    s.planes = 1;
    for (int32_t d = 0; d < first + chw; d++) s.planes *= x->shape[d];
    s.height = x->shape[first + chw];
    s.width = x->shape[first + chw + 1];
    s.step = chw ? 1 : x->shape[first + 2];
    s.row = s.width * s.step;
    return s;
}

#endif
