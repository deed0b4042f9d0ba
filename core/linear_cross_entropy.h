/* linear_cross_entropy as every backend does it: a loop over chunks of rows of the backend's own ops, so that no more than one
 * chunk of logits is there at a time. C11 and C++17.
 *
 *     logits = x weight^T
 *     loss, lse; then, over the same memory, dlogits
 *     dx = dlogits weight
 *     dweight += dlogits^T x
 *
 * The call's workspace holds a chunk of logits, what is one a row, dweight in f32 where the tensor has another dtype, and behind
 * them what the ops need themselves. */
#ifndef TRINE_CORE_LINEAR_CROSS_ENTROPY_H
#define TRINE_CORE_LINEAR_CROSS_ENTROPY_H

#include "core/inner_call.h"
#include "core/shape.h"

typedef struct trine_linear_entropy_ops {
    trine_status (*matmul)(trine_call *call, const trine_matmul_args *args);
    trine_status (*cross_entropy)(trine_call *call, const trine_cross_entropy_args *args);
    trine_status (*cross_entropy_backward)(trine_call *call, const trine_cross_entropy_backward_args *args);
    trine_status (*sum)(trine_call *call, const trine_sum_args *args);
    trine_status (*mul)(trine_call *call, const trine_mul_args *args);
    trine_status (*copy)(trine_call *call, const trine_copy_args *args);
    /* *weight = 1 / the number of rows that are not left out for MEAN, else 1 */
    trine_status (*weight)(trine_call *call, const trine_tensor *labels, const trine_cross_entropy_options *options,
                           float *weight);
    /* Both cross entropies at once, in place; NULL, or UNSUPPORTED where one after the other is what there is. */
    trine_status (*both)(trine_call *call, const trine_cross_entropy_args *forward,
                         const trine_cross_entropy_backward_args *backward);
} trine_linear_entropy_ops;

typedef struct trine_linear_entropy {
    trine_call *call;
    const trine_linear_entropy_ops *ops;
    const trine_linear_cross_entropy_args *a;
    int64_t rows, chunk, classes;
    bool planning;                             /* the ops are only asked what they need */
    size_t own, most;                          /* bytes of the workspace: in front, and the most that an op needs behind */
    trine_tensor logits, losses, lse, dweight; /* of a chunk; of all rows; what dweight is summed up in */
    float *weight, *total;
} trine_linear_entropy;

static inline size_t trine_linear_entropy_place(trine_linear_entropy *f, int64_t bytes)
{
    const size_t at = f->own;
    f->own += ((size_t)bytes + 255) / 256 * 256;
    return at;
}

static inline void *trine_linear_entropy_memory(const trine_linear_entropy *f, size_t at)
{
    return f->call->workspace ? (char *)f->call->workspace + at : NULL;
}

/* Rows at once: as many logits as x has elements, but at least 64 MiB, so that the products have work, and up to 256 MiB if that and
 * what there is beside it is less than a sixteenth of all logits. */
static inline int64_t trine_linear_entropy_chunk(const trine_linear_cross_entropy_args *a)
{
    const int64_t rows = a->x.shape[0], size = trine_dtype_bits(a->x.dtype) / 8, least = (int64_t)64 << 20;
    const int64_t x_bytes = rows * a->x.shape[1] * size, budget = x_bytes > least ? x_bytes : least,
                  row = (a->weight.shape[0] > 0 ? a->weight.shape[0] : 1) * size;
    int64_t chunk = a->chunk > 0 ? a->chunk : budget / row / 128 * 128;
    if (chunk < 1) chunk = 128;
    if (a->chunk <= 0) {
        int64_t more = (rows - 1) / 16, most = ((int64_t)256 << 20) / row;
        if (more > most) more = most;
        if (chunk < more) chunk = more / 8 * 8;
    }
    return chunk < rows ? chunk : rows;
}

static inline void trine_linear_entropy_lay_out(trine_linear_entropy *f)
{
    const trine_linear_cross_entropy_args *a = f->a;
    const int64_t shape[2] = {f->chunk, f->classes}, size = trine_dtype_bits(a->x.dtype) / 8;
    const bool each = a->options.reduction == TRINE_LOSS_NONE,
               own_sum = trine_is_given(&a->dweight) && a->dweight.dtype != TRINE_F32;
    f->own = 0;
    f->weight = (float *)trine_linear_entropy_memory(f, trine_linear_entropy_place(f, 2 * (int64_t)sizeof(float)));
    f->total = f->weight ? f->weight + 1 : NULL;
    f->logits = trine_tensor_make(trine_linear_entropy_memory(f, trine_linear_entropy_place(f, f->chunk * f->classes * size)),
                                  a->x.dtype, 2, shape);
    f->losses = a->loss;
    if (!each)
        f->losses =
            trine_tensor_1d(trine_linear_entropy_memory(f, trine_linear_entropy_place(f, f->rows * 4)), TRINE_F32, f->rows);
    f->lse = a->lse;
    if (!trine_is_given(&a->lse))
        f->lse = trine_tensor_1d(trine_linear_entropy_memory(f, trine_linear_entropy_place(f, f->rows * 4)), TRINE_F32, f->rows);
    f->dweight = a->dweight;
    if (own_sum)
        f->dweight =
            trine_tensor_make(trine_linear_entropy_memory(f, trine_linear_entropy_place(f, f->classes * a->weight.shape[1] * 4)),
                              TRINE_F32, 2, a->weight.shape);
}

static inline trine_call trine_linear_entropy_call(const trine_linear_entropy *f)
{
    return trine_inner_call(f->call, f->own, f->planning);
}

static inline trine_status trine_linear_entropy_done(trine_linear_entropy *f, const trine_call *inner, trine_status status)
{
    return trine_inner_done(f->call, &f->most, inner, status);
}

/* Runs an op of the table; returns from the caller if it fails. */
#define TRINE_LINEAR_ENTROPY(f, op, args) \
    do { \
        trine_call inner_call = trine_linear_entropy_call(f); \
        const trine_status inner_status = trine_linear_entropy_done((f), &inner_call, (f)->ops->op(&inner_call, (args))); \
        if (inner_status != TRINE_OK) return inner_status; \
    } while (0)

/* d = a b, plus d if `more`. */
static inline trine_matmul_args trine_linear_entropy_product(trine_tensor a, trine_tensor b, trine_tensor d, bool more)
{
    trine_matmul_args m;
    memset(&m, 0, sizeof m);
    m.a = a;
    m.b = b;
    m.d = d;
    m.alpha = 1;
    if (more) {
        m.c = d;
        m.beta = 1;
    }
    return m;
}

/* A chunk's losses, and its logits' gradient in their place. */
static inline trine_status trine_linear_entropy_slopes(trine_linear_entropy *f, const trine_cross_entropy_args *forward)
{
    trine_cross_entropy_backward_args backward;
    memset(&backward, 0, sizeof backward);
    backward.logits = backward.dlogits = forward->logits;
    backward.labels = forward->labels;
    backward.lse = forward->lse;
    backward.dloss = trine_tensor_1d(f->weight, TRINE_F32, forward->logits.shape[0]);
    backward.dloss.stride[0] = 0; /* the same for all rows */
    backward.options = forward->options;
    if (f->ops->both) {
        trine_call inner = trine_linear_entropy_call(f);
        const trine_status status = f->ops->both(&inner, forward, &backward);
        if (status != TRINE_ERROR_UNSUPPORTED) return trine_linear_entropy_done(f, &inner, status);
    }
    TRINE_LINEAR_ENTROPY(f, cross_entropy, forward);
    TRINE_LINEAR_ENTROPY(f, cross_entropy_backward, &backward);
    return TRINE_OK;
}

static inline trine_status trine_linear_entropy_rows(trine_linear_entropy *f, int64_t begin)
{
    const trine_linear_cross_entropy_args *a = f->a;
    const int64_t end = begin + f->chunk < f->rows ? begin + f->chunk : f->rows;
    const trine_tensor x = trine_tensor_slice(a->x, 0, begin, end, 1),
                       logits = trine_tensor_slice(f->logits, 0, 0, end - begin, 1);
    trine_cross_entropy_args forward;
    memset(&forward, 0, sizeof forward);
    forward.logits = logits;
    forward.labels = trine_tensor_slice(a->labels, 0, begin, end, 1);
    forward.loss = trine_tensor_slice(f->losses, 0, begin, end, 1);
    forward.lse = trine_tensor_slice(f->lse, 0, begin, end, 1);
    forward.options = a->options;
    forward.options.reduction = TRINE_LOSS_NONE;
    const trine_matmul_args product = trine_linear_entropy_product(x, trine_tensor_swap_axes(a->weight, 0, 1), logits, false);
    TRINE_LINEAR_ENTROPY(f, matmul, &product);
    if (!trine_is_given(&a->dx) && !trine_is_given(&a->dweight)) {
        TRINE_LINEAR_ENTROPY(f, cross_entropy, &forward);
        return TRINE_OK;
    }
    const trine_status status = trine_linear_entropy_slopes(f, &forward);
    if (status != TRINE_OK) return status;
    if (trine_is_given(&a->dx)) {
        const trine_matmul_args dx =
            trine_linear_entropy_product(logits, a->weight, trine_tensor_slice(a->dx, 0, begin, end, 1), false);
        TRINE_LINEAR_ENTROPY(f, matmul, &dx);
    }
    if (trine_is_given(&a->dweight)) {
        const trine_matmul_args dw = trine_linear_entropy_product(trine_tensor_swap_axes(logits, 0, 1), x, f->dweight, begin > 0);
        TRINE_LINEAR_ENTROPY(f, matmul, &dw);
    }
    return TRINE_OK;
}

/* What comes before the chunks and after them. */
static inline trine_status trine_linear_entropy_begin(trine_linear_entropy *f)
{
    trine_call inner = trine_linear_entropy_call(f);
    return trine_linear_entropy_done(f, &inner, f->ops->weight(&inner, &f->a->labels, &f->a->options, f->weight));
}

static inline trine_status trine_linear_entropy_end(trine_linear_entropy *f)
{
    const trine_linear_cross_entropy_args *a = f->a;
    if (a->options.reduction != TRINE_LOSS_NONE) {
        trine_sum_args sum;
        trine_mul_args mul;
        memset(&sum, 0, sizeof sum);
        memset(&mul, 0, sizeof mul);
        sum.x = f->losses;
        sum.y = mul.a = trine_tensor_make(f->total, TRINE_F32, 0, NULL);
        sum.axis = TRINE_AXIS_ALL;
        mul.b = trine_tensor_make(f->weight, TRINE_F32, 0, NULL);
        mul.y = trine_tensor_make(a->loss.data, TRINE_F32, 0, NULL);
        TRINE_LINEAR_ENTROPY(f, sum, &sum);
        TRINE_LINEAR_ENTROPY(f, mul, &mul);
    }
    if (trine_is_given(&a->dweight) && a->dweight.dtype != TRINE_F32) {
        trine_copy_args copy;
        memset(&copy, 0, sizeof copy);
        copy.x = f->dweight;
        copy.y = a->dweight;
        TRINE_LINEAR_ENTROPY(f, copy, &copy);
    }
    return TRINE_OK;
}

/* planning: chunks of every size that there is, which are two. One chunk even of no rows, so that dweight is written. */
static inline trine_status trine_linear_entropy_all(trine_linear_entropy *f, bool planning)
{
    f->planning = planning;
    trine_status status = trine_linear_entropy_begin(f);
    const int64_t last = f->chunk > 0 ? (f->rows - 1) / f->chunk * f->chunk : 0;
    for (int64_t begin = 0; begin <= last && status == TRINE_OK; begin += f->chunk > 0 ? f->chunk : 1) {
        if (planning && begin > f->chunk) begin = last; /* the second adds to dweight, the last may be shorter */
        status = trine_linear_entropy_rows(f, begin);
    }
    return status == TRINE_OK ? trine_linear_entropy_end(f) : status;
}

static inline trine_status trine_linear_entropy_run(trine_call *call, const trine_linear_entropy_ops *ops,
                                                    const trine_linear_cross_entropy_args *a, const char *variant)
{
    trine_linear_entropy f;
    memset(&f, 0, sizeof f);
    f.call = call;
    f.ops = ops;
    f.a = a;
    f.rows = a->x.shape[0];
    f.classes = a->weight.shape[0];
    f.chunk = trine_linear_entropy_chunk(a);
    trine_linear_entropy_lay_out(&f);
    const trine_status status = trine_linear_entropy_all(&f, true);
    if (status != TRINE_OK) return status;
    call->variant = variant;
    TRINE_END_OF_QUERY(call, f.own + f.most);
    return trine_linear_entropy_all(&f, false);
}

#endif
