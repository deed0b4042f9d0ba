/* nf4_matmul as every backend can do it: rows of the weight are dequantised into the workspace, some MiB at a time, so that they
 * are still in a cache when the backend's own matmul reads them. C11 and C++17. */
#ifndef TRINE_CORE_NF4_MATMUL_H
#define TRINE_CORE_NF4_MATMUL_H

#include "core/inner_call.h"
#include "core/shape.h"

typedef struct trine_nf4_ops {
    trine_status (*nf4_dequantize)(trine_call *call, const trine_nf4_dequantize_args *args);
    trine_status (*absmax_dequantize)(trine_call *call, const trine_absmax_dequantize_args *args);
    trine_status (*matmul)(trine_call *call, const trine_matmul_args *args);
} trine_nf4_ops;

/* The weight is [n, k], x is [m, k] (transposed: [m, n]). */
typedef struct trine_nf4_shape {
    int64_t m, n, k;
    bool doubled; /* absmax is quantised itself */
} trine_nf4_shape;

static inline trine_nf4_shape trine_nf4_shape_make(const trine_nf4_matmul_args *a)
{
    trine_nf4_shape s;
    s.m = a->x.shape[0];
    s.n = a->transposed ? a->x.shape[1] : a->d.shape[1];
    s.k = a->transposed ? a->d.shape[1] : a->x.shape[1];
    s.doubled = a->absmax.dtype == TRINE_U8;
    return s;
}

typedef struct trine_nf4_work {
    trine_call *call;
    const trine_nf4_ops *ops;
    const trine_nf4_matmul_args *a;
    trine_nf4_shape s;
    int64_t chunk;             /* rows of the weight at a time */
    trine_tensor absmax, rows; /* f32; a chunk of rows */
    size_t own, most;          /* bytes of the workspace: in front, and the most that an op needs behind */
    bool planning;             /* the ops are only asked what they need */
} trine_nf4_work;

static inline void trine_nf4_lay_out(trine_nf4_work *w)
{
    const int64_t budget = (int64_t)32 << 20, size = trine_dtype_bits(w->a->x.dtype) / 8, unit = 128;
    const int64_t bytes = (w->s.k > 0 ? w->s.k : 1) * size, scales = trine_tensor_numel(&w->a->absmax);
    w->chunk = budget / bytes / unit * unit;
    if (w->chunk < unit) w->chunk = unit;
    if (w->chunk > w->s.n || w->a->transposed) w->chunk = w->s.n; /* a sum is made in one piece */
    char *const memory = (char *)w->call->workspace;
    const size_t first = w->s.doubled ? ((size_t)scales * sizeof(float) + 255) / 256 * 256 : 0;
    w->absmax = w->s.doubled ? trine_tensor_1d(memory, TRINE_F32, scales) : w->a->absmax;
    w->rows = trine_tensor_2d(memory ? memory + first : NULL, w->a->x.dtype, w->chunk, w->s.k);
    w->own = first + ((size_t)(w->chunk * w->s.k * size) + 255) / 256 * 256;
}

static inline trine_status trine_nf4_scales(trine_nf4_work *w)
{
    trine_absmax_dequantize_args args;
    memset(&args, 0, sizeof args);
    args.codes = w->a->absmax;
    args.scale = w->a->scale;
    args.mean = w->a->mean;
    args.absmax = w->absmax;
    args.kind = w->a->kind;
    trine_call inner = trine_inner_call(w->call, w->own, w->planning);
    return trine_inner_done(w->call, &w->most, &inner, w->ops->absmax_dequantize(&inner, &args));
}

/* Rows begin to begin + chunk of the weight: columns of d, or all of the sum. */
static inline trine_status trine_nf4_rows(trine_nf4_work *w, int64_t begin)
{
    const trine_nf4_matmul_args *a = w->a;
    const int64_t end = begin + w->chunk < w->s.n ? begin + w->chunk : w->s.n;
    const trine_tensor rows = trine_tensor_slice(w->rows, 0, 0, end - begin, 1);
    trine_nf4_dequantize_args values;
    trine_matmul_args product;
    memset(&values, 0, sizeof values);
    memset(&product, 0, sizeof product);
    values.codes = a->codes;
    values.absmax = w->absmax;
    values.y = rows;
    values.offset = begin * w->s.k;
    trine_call inner = trine_inner_call(w->call, w->own, w->planning);
    const trine_status status = trine_inner_done(w->call, &w->most, &inner, w->ops->nf4_dequantize(&inner, &values));
    if (status != TRINE_OK) return status;
    product.a = a->x;
    product.b = a->transposed ? rows : trine_tensor_swap_axes(rows, 0, 1);
    product.d = a->transposed ? a->d : trine_tensor_slice(a->d, 1, begin, end, 1);
    product.alpha = 1;
    if (trine_is_given(&a->bias)) product.bias = a->transposed ? a->bias : trine_tensor_slice(a->bias, 0, begin, end, 1);
    inner = trine_inner_call(w->call, w->own, w->planning);
    return trine_inner_done(w->call, &w->most, &inner, w->ops->matmul(&inner, &product));
}

/* planning: chunks of both sizes that there are. A sum over no rows of the weight is one chunk of none. */
static inline trine_status trine_nf4_all(trine_nf4_work *w, bool planning)
{
    trine_status status = TRINE_OK;
    w->planning = planning;
    if (w->s.doubled) status = trine_nf4_scales(w);
    const int64_t last = w->chunk > 0 ? (w->s.n - 1) / w->chunk * w->chunk : 0;
    for (int64_t begin = 0; begin <= last && status == TRINE_OK; begin += w->chunk > 0 ? w->chunk : 1) {
        if (planning && begin > 0) begin = last;
        status = trine_nf4_rows(w, begin);
    }
    return status;
}

static inline trine_status trine_nf4_matmul_run(trine_call *call, const trine_nf4_ops *ops, const trine_nf4_matmul_args *a)
{
    trine_nf4_work w;
    memset(&w, 0, sizeof w);
    w.call = call;
    w.ops = ops;
    w.a = a;
    w.s = trine_nf4_shape_make(a);
    trine_nf4_lay_out(&w);
    const trine_status status = trine_nf4_all(&w, true);
    if (status != TRINE_OK) return status;
    TRINE_END_OF_QUERY(call, w.own + w.most);
    return trine_nf4_all(&w, false);
}

#endif
