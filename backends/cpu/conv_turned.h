/* Convolutions of planes: images are turned, some MiB at a time, to have their channels last, and the results back. */
#ifndef TRINE_CPU_CONV_TURNED_H
#define TRINE_CPU_CONV_TURNED_H

#include "backends/cpu/conv_product.h"

trine_status TRINE_CPU(permute)(trine_call *call, const trine_permute_args *a);

enum { TURNED_BYTES = 32 << 20 };

typedef struct turned_conv {
    trine_conv_args all, part; /* with channels last; of some images */
    int64_t images;
    size_t weight, x, y, own; /* bytes in the workspace, of the images; of all three */
    bool amx;
} turned_conv;

/* The same tensor with channels last, dense. */
static trine_tensor turned_tensor(const trine_tensor *t)
{
    int64_t shape[TRINE_MAX_DIMS];
    for (int32_t i = 0; i < t->ndim; i++) shape[i] = t->shape[i == 0 ? 0 : i == t->ndim - 1 ? 1 : i + 1];
    return trine_tensor_make(NULL, t->dtype, t->ndim, shape);
}

static size_t turned_bytes(const trine_tensor *t)
{
    return ((size_t)(trine_tensor_numel(t) * size_of(t->dtype)) + 255) / 256 * 256;
}

/* Some images of a tensor. */
static trine_tensor images_of(const trine_tensor *t, int64_t first, int64_t n)
{
    trine_tensor part = *t;
    part.shape[0] = n;
    if (part.data) part.data = (char *)part.data + first * t->stride[0] * size_of(t->dtype);
    return part;
}

/* False if the rows of what is turned could not be multiplied in place either. */
static bool turned_conv_make(turned_conv *w, const trine_conv_args *a, bool amx)
{
    w->all = *a;
    w->amx = amx;
    w->all.x = turned_tensor(&a->x);
    w->all.y = turned_tensor(&a->y);
    w->all.weight = turned_tensor(&a->weight);
    w->all.channels_last = true;
    const trine_conv_shape s = trine_conv_shape_make(&w->all.x, &w->all.weight, &w->all.y, &a->window, true);
    const trine_conv_product c = trine_conv_forward(&s, &w->all);
    if (a->channels_last || c.m == 0 || conv_is_depthwise(&c) || !rows_in_place(&c)) return false;
    const int64_t image = (int64_t)(turned_bytes(&w->all.x) + turned_bytes(&w->all.y)) / a->x.shape[0];
    w->images = smaller(a->x.shape[0], image < TURNED_BYTES ? TURNED_BYTES / image : 1);
    w->part = w->all;
    w->part.x = images_of(&w->all.x, 0, w->images);
    w->part.y = images_of(&w->all.y, 0, w->images);
    w->weight = turned_bytes(&w->part.weight);
    w->x = turned_bytes(&w->part.x);
    w->y = turned_bytes(&w->part.y);
    w->own = w->weight + w->x + w->y;
    return true;
}

/* A permutation between the axes' two orders, in the workspace behind our own; *needed grows in a query. */
static trine_status turn(trine_call *inner, const trine_tensor *x, const trine_tensor *y, bool back, size_t *needed)
{
    trine_permute_args args = {.x = *x, .y = *y};
    const int32_t last = x->ndim - 1;
    for (int32_t i = 1; i <= last; i++) args.axes[i] = back ? (i == 1 ? last : i - 1) : i == last ? 1 : i + 1;
    inner->workspace_needed = 0;
    const trine_status status = TRINE_CPU(permute)(inner, &args);
    if (inner->workspace_needed > *needed) *needed = inner->workspace_needed;
    return status;
}

static trine_status turned_images(trine_call *inner, const turned_conv *w, const trine_conv_args *a, int64_t first,
                                  size_t *needed)
{
    const int64_t n = smaller(w->images, a->x.shape[0] - first);
    trine_conv_args part = w->part;
    const trine_tensor x = images_of(&a->x, first, n), y = images_of(&a->y, first, n);
    part.x.shape[0] = part.y.shape[0] = n;
    const trine_conv_shape s = trine_conv_shape_make(&part.x, &part.weight, &part.y, &part.window, true);
    trine_status status = turn(inner, &x, &part.x, false, needed);
    if (status == TRINE_OK) run_product(inner, trine_conv_forward(&s, &part), w->amx, inner->query, needed);
    return status == TRINE_OK ? turn(inner, &part.y, &y, true, needed) : status;
}

static trine_status run_turned(trine_call *call, turned_conv *w, const trine_conv_args *a)
{
    trine_call inner = *call;
    size_t needed = 0;
    inner.query = true;
    trine_status status = turn(&inner, &a->weight, &w->part.weight, false, &needed);
    if (status == TRINE_OK) status = turned_images(&inner, w, a, 0, &needed);
    if (status != TRINE_OK) return status;
    TRINE_END_OF_QUERY(call, w->own + needed);
    char *const memory = call->workspace;
    w->part.weight.data = memory;
    w->part.x.data = memory + w->weight;
    w->part.y.data = memory + w->weight + w->x;
    inner = *call;
    inner.workspace = memory + w->own;
    inner.workspace_size = call->workspace_size - w->own;
    status = turn(&inner, &a->weight, &w->part.weight, false, &needed);
    for (int64_t i = 0; status == TRINE_OK && i < a->x.shape[0]; i += w->images) status = turned_images(&inner, w, a, i, &needed);
    return status;
}

#endif
