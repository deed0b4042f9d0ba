/* How a convolution whose channels are their own groups is cut into units of work and where its lines lie (conv_depthwise.h). */
#ifndef TRINE_CPU_CONV_DEPTHWISE_PLAN_H
#define TRINE_CPU_CONV_DEPTHWISE_PLAN_H

#include "backends/cpu/conv_depthwise_taps.h"

/* DEPTH_CHANNELS: of a ring. DEPTH_BAND: floats of a plane's buffer.
 * DEPTH_ROWS: of d that are made together, channels last: a block of channels of the ring stays in L1 meanwhile. */
enum { DEPTH_CHANNELS = 512, DEPTH_BAND = 1 << 15, DEPTH_ROWS = 4 };

/* Lines and columns of the buffer. */
typedef struct depth_offset {
    int64_t h, w;
} depth_offset;

static inline size_t whole_lines(int64_t floats) { return (size_t)(floats + 15) / 16 * 16; }

typedef struct depth_plan {
    const trine_conv_product *c;
    depth_taps taps;
    bool along_groups, stream;
    bool subnormal;               /* pairs of factors are */
    int64_t rows, columns;        /* of an image of d */
    int64_t step[2];              /* of d's pixels in the plane */
    int64_t origin[2];            /* of the buffer, in the plane, for row 0 of d */
    int64_t high, wide;           /* lines that the taps of a pixel reach over, columns that those of a line do */
    int64_t pixel, line;          /* strides of the plane in memory */
    int64_t together, slots;      /* rows of d made together, lines of the ring for them */
    int64_t chunk;                /* channels of a ring, or rows of d in a band */
    int64_t phases[2], pitch;     /* of a band; its lines' */
    int64_t band;                 /* lines of a phase */
    int64_t units;                /* of work: rows made together in a chunk, or bands */
    size_t filters;               /* floats, in whole lines of 64 bytes, for a load across two takes as long as two loads */
    size_t tables, buffer, lines; /* a thread's: of the taps' places, of its input, of its sums */
} depth_plan;

static void find_reach(depth_plan *d)
{
    const trine_conv_operand *o = &d->c->a;
    conv_place low = {0, 0, 0}, high = {0, 0, 0};
    for (int64_t k = 0; k < d->c->k; k++) {
        const conv_place p = conv_place_of(&o->terms, k);
        if (k == 0) low = high = p;
        low.h = less_of(low.h, p.h);
        low.w = less_of(low.w, p.w);
        high.h = -less_of(-high.h, -p.h);
        high.w = -less_of(-high.w, -p.w);
    }
    d->origin[0] = o->h + low.h;
    d->origin[1] = o->w + low.w;
    d->high = high.h - low.h + 1;
    d->wide = (d->columns - 1) * d->step[1] + high.w - low.w + 1;
    d->phases[0] = less_of(d->step[0], d->high);
    d->phases[1] = less_of(d->step[1], high.w - low.w + 1);
}

/* The last sums of a line read beyond it. */
static inline int64_t ring_wide(const depth_plan *d)
{
    return d->wide + (parts_of(d->columns, DEPTH_SUMS) * DEPTH_SUMS - d->columns) * d->step[1];
}

/* pairs: taps of bf16 may go by twos. */
static depth_plan depth_plan_of(const trine_conv_product *c, bool pairs)
{
    const trine_conv_side *r = &c->a.rows;
    depth_plan d = {.c = c, .along_groups = c->a.group == 1 && c->d_group == 1, .rows = r->size[1], .columns = r->size[2]};
    const int64_t slack = DEPTH_SUMS * VEC_LANES;
    d.step[0] = r->h[1];
    d.step[1] = r->w[2];
    d.line = r->stride[1] / d.step[0];
    d.pixel = r->stride[2] / d.step[1];
    d.stream = span_should_stream(c->m * c->groups * size_of(c->d_dtype));
    find_reach(&d);
    /* in planes pixels go by pairs if they follow each other */
    d.taps = depth_taps_make(c, pairs && (d.along_groups || (d.step[1] == 1 && d.pixel == 1)));
    d.filters = whole_lines((c->k + 1) * c->groups + 2 * slack); /* and the bias */
    d.tables = whole_lines(c->k * (int64_t)(sizeof(depth_offset) + sizeof(float *)) / (int64_t)sizeof(float));
    if (d.along_groups) {
        d.chunk = less_of(c->groups, DEPTH_CHANNELS);
        const int64_t line = parts_of(d.chunk, VEC_LANES) * ring_wide(&d) * VEC_LANES;
        d.together = d.high > d.step[0] ? DEPTH_ROWS : 1;
        d.slots = d.high + (d.together - 1) * d.step[0];
        d.tables += whole_lines(d.slots);
        d.units = parts_of(c->groups, d.chunk) * r->size[0] * parts_of(d.rows, d.together);
        d.buffer = whole_lines(d.slots * line + slack);
        d.lines = (size_t)d.together * whole_lines((d.columns + DEPTH_SUMS) * d.chunk + slack);
        return d;
    }
    d.pitch = parts_of(d.wide, d.step[1]);
    const int64_t fits = DEPTH_BAND / (d.pitch * d.step[0] + 1);
    d.chunk = less_of(d.rows, fits > 1 ? fits : 1);
    d.band = parts_of((d.chunk - 1) * d.step[0] + d.high, d.step[0]);
    d.units = parts_of(d.rows, d.chunk) * r->size[0] * c->groups;
    d.buffer = whole_lines(d.phases[0] * d.phases[1] * d.band * d.pitch + 2 * slack);
    d.lines = whole_lines(d.chunk * d.pitch + slack);
    return d;
}

static depth_plan depth_plan_make(const trine_conv_product *c) { return depth_plan_of(c, true); }

static inline int64_t depth_grain(const depth_plan *d)
{
    const int64_t work = d->columns * d->chunk * (d->along_groups ? d->together : 1) * (d->c->k + 1);
    return work < CPU_GRAIN ? CPU_GRAIN / (work > 0 ? work : 1) : 1;
}

static inline size_t depth_own(const depth_plan *d) { return d->tables + d->buffer + d->lines; }

static inline size_t conv_depthwise_size(const trine_conv_product *c)
{
    const depth_plan d = depth_plan_make(c);
    return (d.filters + (size_t)cpu_threads(d.units, depth_grain(&d)) * depth_own(&d)) * sizeof(float) + 64;
}

/* n finished sums that follow each other in d. */
static void store_sums(const depth_plan *d, float *sums, int64_t n, int64_t first, int64_t stride)
{
    const trine_conv_product *c = d->c;
    for (int64_t i = 0, m; i < n; i += m) {
        void *to = (void *)(uintptr_t)element(c->d, c->d_dtype, first + i * stride);
        m = stride == 1 && d->stream ? span_length(to, c->d_dtype, n - i) : less_of(n - i, SPAN_MAX);
        if (c->activation != TRINE_ACT_IDENTITY) activate_span(c->activation, c->activation_alpha, sums + i, m);
        if (stride == 1 || m == 1)
            span_store(to, c->d_dtype, sums + i, m, d->stream);
        else
            span_store_strided(to, c->d_dtype, sums + i, m, stride);
    }
}

static void find_offsets(const depth_plan *d, depth_offset *to)
{
    const trine_conv_operand *o = &d->c->a;
    for (int64_t k = 0; k < d->taps.entries; k++) {
        const conv_place p = conv_place_of(&o->terms, tap_of_entry(&d->taps, k, false));
        to[k] = (depth_offset){o->h + p.h - d->origin[0], o->w + p.w - d->origin[1]};
    }
}

#endif
