/* Convolutions in which every channel is its own group, with one filter each; the data gradient of such a one is another. Bound by
 * bytes where the filter is small: sums of a span stay in L1 while taps are added one after the other. Spans go along the channels
 * where those lie densely, else along the rows of the plane. */
#ifndef TRINE_CPU_CONV_DEPTHWISE_H
#define TRINE_CPU_CONV_DEPTHWISE_H

#include "backends/cpu/conv_gather.h"

static inline bool conv_is_depthwise(const trine_conv_product *c)
{
    const trine_conv_side *t = &c->a.terms;
    const int64_t taps = t->h[0] || t->w[1] ? t->size[0] * t->size[1] : t->size[1] * t->size[2];
    return c->groups > 1 && c->n == 1 && taps == c->k;
}

/* The filters as f32, [tap][group]. */
static inline size_t conv_depthwise_size(const trine_conv_product *c) { return (size_t)(c->k * c->groups) * sizeof(float) + 64; }

static void load_filters(const trine_conv_product *c, float *filters)
{
    for (int64_t k = 0; k < c->k; k++)
        for (int64_t g = 0, n; g < c->groups; g += n) {
            n = c->groups - g < SPAN_MAX ? c->groups - g : SPAN_MAX;
            const int64_t first = c->b.first + conv_place_of(&c->b.terms, k).at + g * c->b.group;
            float *to = filters + k * c->groups + g;
            const float *line = load_line(to, c->b.data, c->dtype, first, n, c->b.group);
            if (line != to) memcpy(to, line, (size_t)n * sizeof *to);
        }
}

/* Sums of n elements of d from element `first` on, of groups from g on, or of one group (step 0). */
static void store_sums(const trine_conv_product *c, float *sums, int64_t n, int64_t first, int64_t stride, int64_t g,
                       int64_t step)
{
    if (c->has_bias) {
        SPAN_BUFFER(buffer);
        const float *bias = load_line(buffer, c->bias, c->bias_dtype, g, step ? n : 1, 1);
        for (int64_t j = 0; j < n; j++) sums[j] += bias[j * step];
    }
    if (c->activation != TRINE_ACT_IDENTITY) activate_span(c->activation, c->activation_alpha, sums, n);
    void *to = (void *)(uintptr_t)element(c->d, c->d_dtype, first);
    if (stride == 1 || n == 1)
        span_store(to, c->d_dtype, sums, n, false);
    else
        span_store_strided(to, c->d_dtype, sums, n, stride);
}

static bool meets(const trine_conv_operand *o, conv_place p) { return p.h >= 0 && p.h < o->height && p.w >= 0 && p.w < o->width; }

static conv_place sum_of_places(const trine_conv_operand *o, conv_place a, conv_place b)
{
    return (conv_place){o->first + a.at + b.at, o->h + a.h + b.h, o->w + a.w + b.w};
}

/* Pixel m, groups [g, g + n). */
static void pixel_of_groups(const trine_conv_product *c, const float *filters, int64_t m, int64_t g, int64_t n)
{
    const trine_conv_operand *o = &c->a;
    const conv_place row = conv_place_of(&o->rows, m);
    SPAN_BUFFER(sums);
    SPAN_BUFFER(buffer);
    for (int64_t j = 0; j < n; j++) sums[j] = 0;
    for (int64_t k = 0; k < c->k; k++) {
        const conv_place p = sum_of_places(o, row, conv_place_of(&o->terms, k));
        if (!meets(o, p)) continue;
        const float *x = load_line(buffer, o->data, c->dtype, p.at + g, n, 1), *w = filters + k * c->groups + g;
        for (int64_t j = 0; j < n; j++) sums[j] = TRINE_FMA(x[j], w[j], sums[j]);
    }
    store_sums(c, sums, n, c->d_first + conv_place_of(&c->d_rows, m).at + g, 1, g, 1);
}

/* n pixels from m on, which are of one row of the plane, of group g. */
static void line_of_group(const trine_conv_product *c, const float *filters, int64_t m, int64_t g, int64_t n)
{
    const trine_conv_operand *o = &c->a;
    const conv_place row = conv_place_of(&o->rows, m), group = {g * o->group, 0, 0};
    SPAN_BUFFER(sums);
    SPAN_BUFFER(buffer);
    for (int64_t j = 0; j < n; j++) sums[j] = 0;
    for (int64_t k = 0; k < c->k; k++) {
        conv_place p = sum_of_places(o, row, conv_place_of(&o->terms, k));
        p.at += group.at;
        cpu_range inside = {0, n};
        conv_clip(&inside, p.h, o->rows.h[2], o->height);
        conv_clip(&inside, p.w, o->rows.w[2], o->width);
        const int64_t count = inside.end - inside.begin, stride = o->rows.stride[2];
        if (count <= 0) continue;
        const float *x = load_line(buffer, o->data, c->dtype, p.at + inside.begin * stride, count, stride);
        const float w = filters[k * c->groups + g];
        float *to = sums + inside.begin;
        for (int64_t j = 0; j < count; j++) to[j] = TRINE_FMA(x[j], w, to[j]);
    }
    store_sums(c, sums, n, c->d_first + g * c->d_group + conv_place_of(&c->d_rows, m).at, c->d_rows.stride[2], g, 0);
}

/* memory: conv_depthwise_size bytes. */
static void conv_depthwise(const trine_conv_product *c, void *memory)
{
    float *filters = (float *)(((uintptr_t)memory + 63) / 64 * 64);
    if (c->m == 0) return;
    load_filters(c, filters);
    const bool along_groups = c->a.group == 1 && c->d_group == 1;
    const int64_t width = along_groups ? c->groups : c->d_rows.size[2], lines = along_groups ? c->m : c->m / width * c->groups;
    const int64_t work = width * (c->k + 1), grain = work < CPU_GRAIN ? CPU_GRAIN / (work > 0 ? work : 1) : 1;
    CPU_PARALLEL_FOR(range, lines, grain)
    {
        for (int64_t i = range.begin; i < range.end; i++)
            for (int64_t at = 0, n; at < width; at += n) {
                n = width - at < SPAN_MAX ? width - at : SPAN_MAX;
                if (along_groups)
                    pixel_of_groups(c, filters, i, at, n);
                else
                    line_of_group(c, filters, i / c->groups * width + at, i % c->groups, n);
            }
    }
}

#endif
