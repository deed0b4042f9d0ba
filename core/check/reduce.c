#include "core/check.h"

static const trine_op_field reduce_fields[] = {FIELD(trine_reduce_args, x, IN), FIELD(trine_reduce_args, y, OUT)};
static const trine_op_field dot_fields[] = {FIELD(trine_dot_args, a, IN), FIELD(trine_dot_args, b, IN),
                                            FIELD(trine_dot_args, y, OUT)};

static const trine_op_field segment_sum_fields[] = {FIELD(trine_segment_sum_args, x, IN), FIELD(trine_segment_sum_args, ids, IN),
                                                    FIELD(trine_segment_sum_args, y, OUT)};

enum { DT_ORDERED = DT_FLOATS | DT(I32) | DT(I64) };

/* y's shape: x's without the axis, or with 1 there. */
static trine_status check_reduced_shape(const trine_check *check, const trine_tensor *x, const trine_tensor *y, int32_t axis)
{
    if (axis == TRINE_AXIS_ALL)
        return trine_tensor_numel(y) == 1
                   ? TRINE_OK
                   : trine_bad(check, "y", "has %lld elements where one is wanted", (long long)trine_tensor_numel(y));
    if (axis < -x->ndim || axis >= x->ndim) return trine_bad(check, "axis", "%d is outside x's %d axes", (int)axis, (int)x->ndim);
    if (axis < 0) axis += x->ndim;
    trine_tensor kept = *x, dropped = *x;
    kept.shape[axis] = 1;
    dropped.ndim--;
    for (int32_t d = axis; d < dropped.ndim; d++) dropped.shape[d] = x->shape[d + 1];
    return trine_check_same_shape(check, "y", y, "the reduced x", y->ndim == x->ndim ? &kept : &dropped);
}

static trine_status check_sum(const trine_check *check, const void *args)
{
    const trine_reduce_args *a = args;
    TRY(trine_check_dtype(check, "x", &a->x, DT_FLOATS));
    TRY(trine_check_dtype(check, "y", &a->y, DT(F32) | 1u << a->x.dtype));
    return check_reduced_shape(check, &a->x, &a->y, a->axis);
}

static trine_status check_not_over_nothing(const trine_check *check, const trine_reduce_args *a)
{
    if (trine_tensor_numel(&a->x) == 0 && trine_tensor_numel(&a->y) != 0)
        return trine_bad(check, "x", "has no element to choose from");
    return TRINE_OK;
}

static trine_status check_extreme(const trine_check *check, const void *args)
{
    const trine_reduce_args *a = args;
    TRY(trine_check_dtype(check, "x", &a->x, DT_ORDERED));
    TRY(trine_check_same_dtype(check, "y", &a->y, "x", &a->x));
    TRY(check_reduced_shape(check, &a->x, &a->y, a->axis));
    return check_not_over_nothing(check, a);
}

static trine_status check_argmax(const trine_check *check, const void *args)
{
    const trine_reduce_args *a = args;
    TRY(trine_check_dtype(check, "x", &a->x, DT_ORDERED));
    TRY(trine_check_dtype(check, "y", &a->y, DT(I32) | DT(I64)));
    TRY(check_reduced_shape(check, &a->x, &a->y, a->axis));
    int64_t choices = trine_tensor_numel(&a->y) ? trine_tensor_numel(&a->x) / trine_tensor_numel(&a->y) : 0;
    if (a->y.dtype == TRINE_I32 && choices > INT32_MAX)
        return trine_bad(check, "y", "i32 can't hold an index below %lld", (long long)choices);
    return check_not_over_nothing(check, a);
}

static trine_status check_dot(const trine_check *check, const void *args)
{
    const trine_dot_args *a = args;
    TRY(trine_check_dtype(check, "a", &a->a, DT_FLOATS));
    TRY(trine_check_same_dtype(check, "b", &a->b, "a", &a->a));
    TRY(trine_check_same_shape(check, "b", &a->b, "a", &a->a));
    TRY(trine_check_dtype(check, "y", &a->y, DT(F32) | 1u << a->a.dtype));
    return check_reduced_shape(check, &a->a, &a->y, a->axis);
}

static trine_status check_segment_sum(const trine_check *check, const void *args)
{
    const trine_segment_sum_args *a = args;
    TRY(trine_check_dtype(check, "x", &a->x, DT_FLOATS));
    TRY(trine_check_dtype(check, "y", &a->y, DT(F32) | 1u << a->x.dtype));
    TRY(trine_check_dtype(check, "ids", &a->ids, DT(I32) | DT(I64)));
    TRY(trine_check_ndim_at_least(check, "x", &a->x, 1));
    trine_tensor ids = a->x, y = a->x;
    ids.ndim = 1;
    TRY(trine_check_same_shape(check, "ids", &a->ids, "x's rows", &ids));
    if (a->y.ndim > 0) y.shape[0] = a->y.shape[0];
    TRY(trine_check_same_shape(check, "y", &a->y, "the segments", &y));
    return a->sorted == 0 || a->sorted == 1 ? TRINE_OK : trine_bad(check, "sorted", "%d is neither 0 nor 1", (int)a->sorted);
}

OP_DESC(reduce, segment_sum, segment_sum_fields, check_segment_sum);
OP_DESC(reduce, sum, reduce_fields, check_sum);
OP_DESC(reduce, mean, reduce_fields, check_sum);
OP_DESC(reduce, amax, reduce_fields, check_extreme);
OP_DESC(reduce, amin, reduce_fields, check_extreme);
OP_DESC(reduce, argmax, reduce_fields, check_argmax);
OP_DESC(reduce, norm_l1, reduce_fields, check_sum);
OP_DESC(reduce, norm_l2, reduce_fields, check_sum);
OP_DESC(reduce, dot, dot_fields, check_dot);
