/* Lines of a gathered operand (core/conv_plan.h) as they are: the other index stands still, zeros where a line leaves the
 * plane. */
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
    } else if (step == 1) { /* the others divide */
        begin = at < 0 ? -at : 0;
        end = size - at;
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

/* What is gathered: elements of 1 << shift bytes. */
typedef struct conv_lines {
    const trine_conv_operand *o;
    const trine_conv_side *along;
    int shift;
    bool
        taps_together; /* the middle part's steps follow each other in memory and along the width, and the last part stays there */
} conv_lines;

static inline conv_lines conv_lines_make(const trine_conv_operand *o, trine_dtype dtype, const trine_conv_side *along)
{
    const bool together =
        along->stride[2] == 1 && along->stride[1] == along->size[2] && !along->h[1] && !along->h[2] && !along->w[2];
    return (conv_lines){o, along, dtype == TRINE_F32 ? 2 : 1, together && along->size[1] > 1};
}

/* Every second element. */
typedef uint16_t conv_bits16 __attribute__((may_alias));
typedef uint32_t conv_bits32 __attribute__((may_alias));
#define EVERY_SECOND(name, element) \
    static inline void name(char *restrict to, const char *restrict from, int64_t n) \
    { \
        const element *in = (const element *)(const void *)from; \
        element *out = (element *)(void *)to; \
        for (int64_t i = 0; i < n; i++) out[i] = in[2 * i]; \
    }
EVERY_SECOND(every_second16, conv_bits16)
EVERY_SECOND(every_second32, conv_bits32)
#undef EVERY_SECOND

static inline void conv_copy(char *to, const char *from, int shift, int64_t n, int64_t stride)
{
    if (stride == 1)
        memcpy(to, from, (size_t)(n << shift));
    else if (stride == 2 && shift == 2)
        every_second32(to, from, n);
    else if (stride == 2)
        every_second16(to, from, n);
    else if (shift == 2)
        for (int64_t i = 0; i < n; i++) memcpy(to + 4 * i, from + 4 * i * stride, 4);
    else
        for (int64_t i = 0; i < n; i++) memcpy(to + 2 * i, from + 2 * i * stride, 2);
}

/* n elements from `at` on, of which those outside of [begin, end) are zeros. */
static inline void conv_copy_inside(char *to, const conv_lines *l, int64_t at, int64_t stride, cpu_range inside, int64_t n)
{
    const char *data = l->o->data;
    if (inside.end <= inside.begin) {
        memset(to, 0, (size_t)(n << l->shift));
        return;
    }
    if (inside.begin > 0) memset(to, 0, (size_t)(inside.begin << l->shift));
    conv_copy(to + (inside.begin << l->shift), data + (at + inside.begin * stride) * (1 << l->shift), l->shift,
              inside.end - inside.begin, stride);
    if (inside.end < n) memset(to + (inside.end << l->shift), 0, (size_t)((n - inside.end) << l->shift));
}

/* n steps of a side's last part from `p` on. */
static inline void conv_gather_run(char *to, const conv_lines *l, conv_place p, int64_t n)
{
    cpu_range inside = {0, n};
    conv_clip(&inside, p.h, l->along->h[2], l->o->height);
    conv_clip(&inside, p.w, l->along->w[2], l->o->width);
    conv_copy_inside(to, l, p.at, l->along->stride[2], inside, n);
}

/* The same where taps lie together: p is that of the tap that element 0 belongs to, of which `skipped` elements come before it. */
static inline void conv_gather_taps(char *to, const conv_lines *l, conv_place p, int64_t skipped, int64_t n)
{
    const int64_t channels = l->along->size[2], taps = (skipped + n + channels - 1) / channels;
    cpu_range inside = {0, taps};
    conv_clip(&inside, p.h, 0, l->o->height);
    conv_clip(&inside, p.w, l->along->w[1], l->o->width);
    inside.begin = inside.begin * channels - skipped;
    inside.end = inside.end * channels - skipped;
    if (inside.begin < 0) inside.begin = 0;
    if (inside.end > n) inside.end = n;
    conv_copy_inside(to, l, p.at + skipped, 1, inside, n);
}

/* n elements along a side from index `first` on; the other side's place is `other`, with the group's. */
static inline void conv_gather_line(char *to, const conv_lines *l, int64_t first, int64_t n, conv_place other)
{
    const trine_conv_side *along = l->along;
    if (n <= 0) return; /* a phase of a strided gradient may have no taps */
    const int64_t rest = first / along->size[2], i0 = rest / along->size[1];
    int64_t i2 = first - rest * along->size[2], i1 = rest - i0 * along->size[1];
    conv_place outer = {other.at + l->o->first + i0 * along->stride[0], other.h + l->o->h + i0 * along->h[0],
                        other.w + l->o->w + i0 * along->w[0]};
    for (int64_t m; n > 0; n -= m, to += m << l->shift, i2 = 0) {
        const conv_place at = {outer.at + i1 * along->stride[1], outer.h + i1 * along->h[1], outer.w + i1 * along->w[1]};
        const int64_t parts = l->taps_together ? along->size[1] - i1 : 1, left = parts * along->size[2] - i2;
        m = left < n ? left : n;
        if (l->taps_together)
            conv_gather_taps(to, l, at, i2, m);
        else
            conv_gather_run(to, l, (conv_place){at.at + i2 * along->stride[2], at.h + i2 * along->h[2], at.w + i2 * along->w[2]},
                            m);
        if ((i1 += parts) < along->size[1]) continue;
        i1 = 0;
        outer = (conv_place){outer.at + along->stride[0], outer.h + along->h[0], outer.w + along->w[0]};
    }
}

#endif
