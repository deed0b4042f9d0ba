#include "core/check.h"
#include "core/pool_plan.h"

static const trine_op_field forward_fields[] = {FIELD(trine_pool_args, x, IN), FIELD(trine_pool_args, y, OUT),
                                                FIELD(trine_pool_args, indices, OUT | OPTIONAL)};
static const trine_op_field backward_fields[] = {FIELD(trine_pool_backward_args, dy, IN),
                                                 FIELD(trine_pool_backward_args, indices, IN | OPTIONAL),
                                                 FIELD(trine_pool_backward_args, dx, OUT)};

enum { MOST = 1 << 20 }; /* of kernel, stride, padding and dilation: products stay within 64 bits */

static trine_status check_axis(const trine_check *check, const trine_pool_window *w, int32_t i)
{
    const trine_pool_axis a = trine_pool_axis_of(w, i);
    if (a.kernel < 1 || a.kernel > MOST) return trine_bad(check, "window", "kernel %d is not in 1 to 2^20", (int)a.kernel);
    if (a.stride < 1 || a.stride > MOST) return trine_bad(check, "window", "stride %d is not in 1 to 2^20", (int)a.stride);
    if (a.dilation < 1 || a.dilation > MOST)
        return trine_bad(check, "window", "dilation %d is not in 1 to 2^20", (int)a.dilation);
    const int64_t extent = (int64_t)a.dilation * (a.kernel - 1) + 1;
    if (extent > INT32_MAX / 4) return trine_bad(check, "window", "an extent of %lld is too large", (long long)extent);
    if (a.padding < 0 || 2 * (int64_t)a.padding > extent)
        return trine_bad(check, "window", "padding %d is not in 0 to half of the extent %lld", (int)a.padding, (long long)extent);
    return TRINE_OK;
}

/* `out` must have the sizes that pooling gives of `in`. */
static trine_status check_sizes(const trine_check *check, const char *out_name, const trine_tensor *out, const char *in_name,
                                const trine_tensor *in, const trine_pool_window *w, int32_t channels_last)
{
    int64_t plane = 1;
    trine_tensor wanted = *in;
    if (w->rank < 1 || w->rank > 2) return trine_bad(check, "window", "rank %d is neither 1 nor 2", (int)w->rank);
    if (in->ndim != w->rank + 2) return trine_bad(check, in_name, "has %d axes and needs %d", (int)in->ndim, (int)w->rank + 2);
    for (int32_t i = 0; i < w->rank; i++) {
        const int32_t d = i + (channels_last ? 1 : 2);
        TRY(check_axis(check, w, i));
        if (in->shape[d] > INT32_MAX / 2 || (plane *= in->shape[d] > 1 ? in->shape[d] : 1) > INT32_MAX)
            return trine_bad(check, in_name, "has planes of 2^31 elements or an axis of 2^30");
        const trine_pool_axis a = trine_pool_axis_of(w, i);
        wanted.shape[d] = trine_pool_out(in->shape[d], &a, w->ceil_mode);
    }
    return trine_check_same_shape(check, out_name, out, "the pooled input", &wanted);
}

static trine_status check_indices(const trine_check *check, const trine_tensor *indices, const char *like_name,
                                  const trine_tensor *like, trine_pool_kind kind)
{
    if (!trine_is_given(indices)) return TRINE_OK;
    if (kind != TRINE_POOL_MAX) return trine_bad(check, "indices", "are of the maximum alone");
    TRY(trine_check_dtype(check, "indices", indices, DT(I32) | DT(I64)));
    return trine_check_same_shape(check, "indices", indices, like_name, like);
}

static trine_status check_kind(const trine_check *check, trine_pool_kind kind)
{
    return (unsigned)kind <= TRINE_POOL_AVERAGE ? TRINE_OK : trine_bad(check, "kind", "%d is no kind of pooling", (int)kind);
}

static trine_status check_forward(const trine_check *check, const void *args)
{
    const trine_pool_args *a = args;
    TRY(check_kind(check, a->kind));
    TRY(trine_check_dtype(check, "x", &a->x, DT_FLOATS));
    TRY(trine_check_same_dtype(check, "y", &a->y, "x", &a->x));
    TRY(check_sizes(check, "y", &a->y, "x", &a->x, &a->window, a->channels_last));
    return check_indices(check, &a->indices, "y", &a->y, a->kind);
}

static trine_status check_backward(const trine_check *check, const void *args)
{
    const trine_pool_backward_args *a = args;
    TRY(check_kind(check, a->kind));
    TRY(trine_check_dtype(check, "dy", &a->dy, DT_FLOATS));
    TRY(trine_check_same_dtype(check, "dx", &a->dx, "dy", &a->dy));
    TRY(check_sizes(check, "dy", &a->dy, "dx", &a->dx, &a->window, a->channels_last));
    if (a->kind == TRINE_POOL_MAX && !trine_is_given(&a->indices)) return trine_bad(check, "indices", "is not given");
    return check_indices(check, &a->indices, "dy", &a->dy, a->kind);
}

OP_DESC(pool, pool, forward_fields, check_forward);
OP_DESC(pool, pool_backward, backward_fields, check_backward);
