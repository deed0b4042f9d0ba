/* Convolutions and their gradients in the one form that every backend's kernels work on: a matrix product whose operands are
 * gathered from the tensors ("implicit GEMM"). C11, C++17.
 *
 *     d[m, n] = act(sum over k of a[m, k] b[n, k] + bias), for every group of channels
 *
 *                 m            n          k            a         b
 *     forward     (n, p, q)    k          (r, s, c)    x         weight
 *     data        (n, h, w)    c          (r, s, k)    dy        weight
 *     weight      k            (r, s, c)  (n, p, q)    dy        x
 *
 * where taps and channels stand in the order that lies closest in memory. With a stride, the data gradient is one product for
 * each phase of the input's elements: those that are a multiple of the stride apart meet the same taps. */
#ifndef TRINE_CORE_CONV_PLAN_H
#define TRINE_CORE_CONV_PLAN_H

#include <stdbool.h>

#include "core/shape.h"
#include "trine/conv.h"

/* ---- The window ---- */

static inline int32_t trine_conv_stride(const trine_conv_window *w, int32_t i) { return w->stride[i] ? w->stride[i] : 1; }
static inline int32_t trine_conv_dilation(const trine_conv_window *w, int32_t i) { return w->dilation[i] ? w->dilation[i] : 1; }
static inline int64_t trine_conv_groups(const trine_conv_window *w) { return w->groups ? w->groups : 1; }

/* The tensors' axis of channels (of the filter: of its own), and of spatial axis i. */
static inline int32_t trine_conv_channel(const trine_conv_window *w, int32_t channels_last)
{
    return channels_last ? w->rank + 1 : 1;
}
static inline int32_t trine_conv_axis(int32_t i, int32_t channels_last) { return i + (channels_last ? 1 : 2); }

/* Outputs along spatial axis i of length `in`. */
static inline int64_t trine_conv_out(const trine_conv_window *w, int32_t i, int64_t in, int64_t kernel)
{
    const int64_t room = in + 2 * (int64_t)w->padding[i] - trine_conv_dilation(w, i) * (kernel - 1) - 1;
    return room < 0 ? 0 : room / trine_conv_stride(w, i) + 1;
}

/* ---- The tensors ---- */

enum { TRINE_CONV_HEIGHT, TRINE_CONV_WIDTH };

/* Sizes and strides; a convolution along one axis is one of height 1. */
typedef struct trine_conv_shape {
    int64_t n, groups, c, k;        /* channels of a group */
    int64_t in[2], out[2], taps[2]; /* height and width */
    int64_t stride[2], padding[2], dilation[2];
    int64_t x_n, x_c, x_at[2], y_n, y_k, y_at[2], f_k, f_c, f_at[2]; /* strides in memory; f: the filter's */
} trine_conv_shape;

static inline trine_conv_shape trine_conv_shape_make(const trine_tensor *x, const trine_tensor *weight, const trine_tensor *y,
                                                     const trine_conv_window *w, int32_t channels_last)
{
    trine_conv_shape s;
    const int32_t channel = trine_conv_channel(w, channels_last);
    s.n = x->shape[0];
    s.groups = trine_conv_groups(w);
    s.c = x->shape[channel] / s.groups;
    s.k = weight->shape[0] / s.groups;
    s.x_n = x->stride[0];
    s.x_c = x->stride[channel];
    s.y_n = y->stride[0];
    s.y_k = y->stride[channel];
    s.f_k = weight->stride[0];
    s.f_c = weight->stride[channel];
    for (int32_t i = 0; i < 2; i++) {
        const int32_t own = i - (2 - w->rank), d = trine_conv_axis(own, channels_last);
        const bool has = own >= 0;
        s.in[i] = has ? x->shape[d] : 1;
        s.out[i] = has ? y->shape[d] : 1;
        s.taps[i] = has ? weight->shape[d] : 1;
        s.stride[i] = has ? trine_conv_stride(w, own) : 1;
        s.padding[i] = has ? w->padding[own] : 0;
        s.dilation[i] = has ? trine_conv_dilation(w, own) : 1;
        s.x_at[i] = has ? x->stride[d] : 0;
        s.y_at[i] = has ? y->stride[d] : 0;
        s.f_at[i] = has ? weight->stride[d] : 0;
    }
    return s;
}

/* ---- The product ---- */

/* An index in three parts, i = (i0 size1 + i1) size2 + i2, and what a step of each does: how far it goes in memory, and along the
 * height and width of a plane. */
typedef struct trine_conv_side {
    int64_t size[3], stride[3], h[3], w[3];
} trine_conv_side;

typedef struct trine_conv_operand {
    const void *data;
    int64_t first;         /* element of row 0 and term 0, which padding may put before the tensor */
    int64_t h, w;          /* where that lies in its plane */
    int64_t height, width; /* of the plane; outside of it there are zeros */
    int64_t group;         /* elements from one group to the next */
    trine_conv_side rows, terms;
} trine_conv_operand;

typedef struct trine_conv_product {
    int64_t m, n, k, groups;
    trine_conv_operand a, b;
    void *d;
    int64_t d_first, d_group;
    trine_conv_side d_rows, d_columns;
    const void *bias; /* [groups][n], or [groups][m] where bias_of_rows; NULL in a query, too */
    bool has_bias, bias_of_rows;
    trine_dtype dtype, d_dtype, bias_dtype;
    trine_activation_kind activation;
    float activation_alpha;
} trine_conv_product;

/* An index of one part. */
static inline trine_conv_side trine_conv_line(int64_t size, int64_t stride)
{
    const trine_conv_side s = {{1, 1, size}, {0, 0, stride}, {0, 0, 0}, {0, 0, 0}};
    return s;
}
/* (image, row, column), `step` elements of the plane apart. */
static inline trine_conv_side trine_conv_pixels(int64_t n, int64_t height, int64_t width, int64_t image, const int64_t *at,
                                                const int64_t *step)
{
    const trine_conv_side s = {{n, height, width}, {image, step[0] * at[0], step[1] * at[1]}, {0, step[0], 0}, {0, 0, step[1]}};
    return s;
}
/* (tap, tap, channel), or (channel, tap, tap) where channels do not lie densely. `step`: of the taps in the plane. */
static inline trine_conv_side trine_conv_taps(const int64_t *taps, int64_t channels, const int64_t *at, const int64_t *step,
                                              int64_t channel, bool channel_last)
{
    const trine_conv_side
        last = {{taps[0], taps[1], channels}, {step[0] * at[0], step[1] * at[1], channel}, {step[0], 0, 0}, {0, step[1], 0}},
        first = {{channels, taps[0], taps[1]}, {channel, step[0] * at[0], step[1] * at[1]}, {0, step[0], 0}, {0, 0, step[1]}};
    return channel_last ? last : first;
}

static inline int64_t trine_conv_count(const trine_conv_side *s) { return s->size[0] * s->size[1] * s->size[2]; }

/* An operand that is read as it lies: its plane is a point. */
static inline trine_conv_operand trine_conv_plain(const void *data, int64_t first, int64_t group, trine_conv_side rows,
                                                  trine_conv_side terms)
{
    trine_conv_operand o = {data, first, 0, 0, 1, 1, group, rows, terms};
    for (int32_t i = 0; i < 3; i++) o.rows.h[i] = o.rows.w[i] = o.terms.h[i] = o.terms.w[i] = 0;
    return o;
}

/* The transposed product, where that makes d's columns what lies closest in memory. */
static inline void trine_conv_orient(trine_conv_product *p)
{
    const bool rows_dense = p->d_rows.size[2] > 1 && p->d_rows.stride[2] == 1,
               columns_dense = p->d_columns.size[2] > 1 && p->d_columns.stride[2] == 1;
    if (columns_dense || !rows_dense) return;
    const trine_conv_operand a = p->a;
    const trine_conv_side rows = p->d_rows;
    const int64_t m = p->m;
    p->a = p->b;
    p->b = a;
    p->d_rows = p->d_columns;
    p->d_columns = rows;
    p->m = p->n;
    p->n = m;
    p->bias_of_rows = !p->bias_of_rows;
}

/* What is left when the operands and d are known. */
static inline void trine_conv_finish(trine_conv_product *p, const trine_conv_shape *s, trine_dtype dtype, const trine_tensor *d)
{
    p->m = trine_conv_count(&p->a.rows);
    p->n = trine_conv_count(&p->b.rows);
    p->k = trine_conv_count(&p->a.terms);
    p->groups = s->groups;
    p->d = d->data;
    p->dtype = dtype;
    p->d_dtype = p->bias_dtype = d->dtype;
    p->bias = NULL;
    p->has_bias = p->bias_of_rows = false;
    p->activation = TRINE_ACT_IDENTITY;
    p->activation_alpha = 0;
}

static inline trine_conv_product trine_conv_forward(const trine_conv_shape *s, const trine_conv_args *args)
{
    trine_conv_product p;
    const int64_t one[2] = {1, 1};
    const bool last = s->x_c == 1;
    p.a.data = args->x.data;
    p.a.h = -s->padding[0];
    p.a.w = -s->padding[1];
    p.a.first = p.a.h * s->x_at[0] + p.a.w * s->x_at[1];
    p.a.height = s->in[0];
    p.a.width = s->in[1];
    p.a.group = s->c * s->x_c;
    p.a.rows = trine_conv_pixels(s->n, s->out[0], s->out[1], s->x_n, s->x_at, s->stride);
    p.a.terms = trine_conv_taps(s->taps, s->c, s->x_at, s->dilation, s->x_c, last);
    p.b = trine_conv_plain(args->weight.data, 0, s->k * s->f_k, trine_conv_line(s->k, s->f_k),
                           trine_conv_taps(s->taps, s->c, s->f_at, one, s->f_c, last));
    p.d_first = 0;
    p.d_group = s->k * s->y_k;
    p.d_rows = trine_conv_pixels(s->n, s->out[0], s->out[1], s->y_n, s->y_at, one);
    p.d_columns = trine_conv_line(s->k, s->y_k);
    trine_conv_finish(&p, s, args->x.dtype, &args->y);
    p.has_bias = trine_is_given(&args->bias);
    p.bias = p.has_bias ? args->bias.data : NULL;
    if (p.has_bias) p.bias_dtype = args->bias.dtype;
    p.activation = args->activation;
    p.activation_alpha = args->activation_alpha;
    return p;
}

/* ---- The data gradient's phases ---- */

/* Elements first, first + stride, ... of the input, `count` of them, meet the taps tap, tap + step, ...: element number i and tap
 * number j meet at output begin + i - j apart. */
typedef struct trine_conv_phase {
    int64_t first, count, tap, taps, step, begin, apart;
} trine_conv_phase;

static inline trine_conv_phase trine_conv_phase_of(const trine_conv_shape *s, int32_t axis, int64_t first)
{
    const int64_t stride = s->stride[axis], dilation = s->dilation[axis], padding = s->padding[axis];
    int64_t common = stride, rest = dilation % stride;
    while (rest) {
        const int64_t next = common % rest;
        common = rest;
        rest = next;
    }
    trine_conv_phase f = {first, 0, 0, 0, stride / common, 0, dilation / common};
    f.count = s->in[axis] > first ? (s->in[axis] - first + stride - 1) / stride : 0;
    while (f.tap < f.step && f.tap < s->taps[axis] && (first + padding - f.tap * dilation) % stride) f.tap++;
    if (f.tap < f.step && f.tap < s->taps[axis]) f.taps = (s->taps[axis] - f.tap + f.step - 1) / f.step;
    f.begin = f.taps ? (first + padding - f.tap * dilation) / stride : 0;
    return f;
}

/* Phases along an axis. */
static inline int64_t trine_conv_phases(const trine_conv_shape *s, int32_t axis)
{
    return s->stride[axis] < s->in[axis] ? s->stride[axis] : s->in[axis];
}

static inline trine_conv_product trine_conv_data(const trine_conv_shape *s, const trine_conv_backward_data_args *args,
                                                 int64_t phase_h, int64_t phase_w)
{
    trine_conv_product p;
    const trine_conv_phase f[2] = {trine_conv_phase_of(s, 0, phase_h), trine_conv_phase_of(s, 1, phase_w)};
    const int64_t one[2] = {1, 1}, taps[2] = {f[0].taps, f[1].taps}, back[2] = {-f[0].apart, -f[1].apart},
                  step[2] = {f[0].step, f[1].step};
    const bool last = s->y_k == 1;
    p.a.data = args->dy.data;
    p.a.h = f[0].begin;
    p.a.w = f[1].begin;
    p.a.first = p.a.h * s->y_at[0] + p.a.w * s->y_at[1];
    p.a.height = s->out[0];
    p.a.width = s->out[1];
    p.a.group = s->k * s->y_k;
    p.a.rows = trine_conv_pixels(s->n, f[0].count, f[1].count, s->y_n, s->y_at, one);
    p.a.terms = trine_conv_taps(taps, s->k, s->y_at, back, s->y_k, last);
    p.b = trine_conv_plain(args->weight.data, f[0].tap * s->f_at[0] + f[1].tap * s->f_at[1], s->k * s->f_k,
                           trine_conv_line(s->c, s->f_c), trine_conv_taps(taps, s->k, s->f_at, step, s->f_k, last));
    p.d_first = f[0].first * s->x_at[0] + f[1].first * s->x_at[1];
    p.d_group = s->c * s->x_c;
    p.d_rows = trine_conv_pixels(s->n, f[0].count, f[1].count, s->x_n, s->x_at, s->stride);
    p.d_columns = trine_conv_line(s->c, s->x_c);
    trine_conv_finish(&p, s, args->dy.dtype, &args->dx);
    return p;
}

static inline trine_conv_product trine_conv_weight(const trine_conv_shape *s, const trine_conv_backward_weight_args *args)
{
    trine_conv_product p;
    const int64_t one[2] = {1, 1};
    const bool last = s->f_c == 1;
    p.a = trine_conv_plain(args->dy.data, 0, s->k * s->y_k, trine_conv_line(s->k, s->y_k),
                           trine_conv_pixels(s->n, s->out[0], s->out[1], s->y_n, s->y_at, one));
    p.b.data = args->x.data;
    p.b.h = -s->padding[0];
    p.b.w = -s->padding[1];
    p.b.first = p.b.h * s->x_at[0] + p.b.w * s->x_at[1];
    p.b.height = s->in[0];
    p.b.width = s->in[1];
    p.b.group = s->c * s->x_c;
    p.b.rows = trine_conv_taps(s->taps, s->c, s->x_at, s->dilation, s->x_c, last);
    p.b.terms = trine_conv_pixels(s->n, s->out[0], s->out[1], s->x_n, s->x_at, s->stride);
    p.d_first = 0;
    p.d_group = s->k * s->f_k;
    p.d_rows = trine_conv_line(s->k, s->f_k);
    p.d_columns = trine_conv_taps(s->taps, s->c, s->f_at, one, s->f_c, last);
    trine_conv_finish(&p, s, args->x.dtype, &args->dweight);
    return p;
}

#endif
