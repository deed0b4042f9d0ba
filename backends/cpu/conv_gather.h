/* Lines of a gathered operand (core/conv_plan.h) as f32: the other index stands still, zeros where a line leaves the plane. */
#ifndef TRINE_CPU_CONV_GATHER_H
#define TRINE_CPU_CONV_GATHER_H

#include "backends/cpu/matmul_epilogue.h"
#include "core/conv_plan.h"

/* Where something lies: element in memory, row and column in its plane. */
typedef struct conv_place {
    int64_t at, h, w;
} conv_place;

static inline conv_place conv_place_of(const trine_conv_side *s, int64_t index)
{
    const int64_t rest = index / s->size[2], i2 = index - rest * s->size[2], i0 = rest / s->size[1], i1 = rest - i0 * s->size[1];
    return (conv_place){i0 * s->stride[0] + i1 * s->stride[1] + i2 * s->stride[2], i0 * s->h[0] + i1 * s->h[1] + i2 * s->h[2],
                        i0 * s->w[0] + i1 * s->w[1] + i2 * s->w[2]};
}

/* Cuts [begin, end) to the steps that lie inside: 0 <= at + step i < size. */
static inline void conv_clip(cpu_range *steps, int64_t at, int64_t step, int64_t size)
{
    int64_t begin = 0, end = steps->end;
    if (step == 0) {
        end = at >= 0 && at < size ? end : 0;
    } else if (step > 0) {
        begin = at < 0 ? (-at + step - 1) / step : 0;
        end = at < size ? (size - at + step - 1) / step : 0;
    } else {
        begin = at >= size ? (at - size) / -step + 1 : 0;
        end = at >= 0 ? at / -step + 1 : 0;
    }
    if (steps->begin < begin) steps->begin = begin;
    if (steps->end > end) steps->end = end;
    if (steps->end < steps->begin) steps->begin = steps->end = 0;
}

/* n steps of a side's last part from `p` on. */
static inline void conv_gather_run(float *to, const trine_conv_operand *o, trine_dtype dtype, const trine_conv_side *along,
                                   conv_place p, int64_t n)
{
    cpu_range inside = {0, n};
    conv_clip(&inside, p.h, along->h[2], o->height);
    conv_clip(&inside, p.w, along->w[2], o->width);
    const int64_t count = inside.end - inside.begin, stride = along->stride[2];
    for (int64_t i = 0; i < inside.begin; i++) to[i] = 0;
    for (int64_t i = inside.end; i < n; i++) to[i] = 0;
    if (count <= 0) return;
    float *at = to + inside.begin;
    const float *line = load_line(at, o->data, dtype, p.at + inside.begin * stride, count, stride);
    if (line != at) memcpy(at, line, (size_t)count * sizeof *at);
}

/* n elements along a side from index `first` on, at most SPAN_MAX; the other side's place is `other`, with the group's. */
static void conv_gather_line(float *to, const trine_conv_operand *o, trine_dtype dtype, const trine_conv_side *along,
                             int64_t first, int64_t n, conv_place other)
{
    int64_t i2 = first % along->size[2];
    for (int64_t m; n > 0; n -= m, to += m, first += m, i2 = 0) {
        const conv_place p = conv_place_of(along, first);
        m = along->size[2] - i2 < n ? along->size[2] - i2 : n;
        conv_gather_run(to, o, dtype, along, (conv_place){other.at + p.at + o->first, other.h + p.h + o->h, other.w + p.w + o->w},
                        m);
    }
}

#endif
