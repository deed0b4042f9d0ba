#include "core/check.h"

static const trine_op_field forward_fields[] = {FIELD(trine_softmax_args, x, IN), FIELD(trine_softmax_args, y, OUT | INPLACE)};
static const trine_op_field backward_fields[] = {FIELD(trine_softmax_backward_args, y, IN),
                                                 FIELD(trine_softmax_backward_args, dy, IN),
                                                 FIELD(trine_softmax_backward_args, dx, OUT | INPLACE)};

static trine_status check_forward(const trine_check *check, const void *args)
{
    const trine_softmax_args *a = args;
    TRY(trine_check_dtype(check, "x", &a->x, DT_FLOATS));
    TRY(trine_check_ndim_at_least(check, "x", &a->x, 1));
    TRY(trine_check_same_dtype(check, "y", &a->y, "x", &a->x));
    return trine_check_same_shape(check, "y", &a->y, "x", &a->x);
}

static trine_status check_backward(const trine_check *check, const void *args)
{
    const trine_softmax_backward_args *a = args;
    TRY(trine_check_dtype(check, "y", &a->y, DT_FLOATS));
    TRY(trine_check_ndim_at_least(check, "y", &a->y, 1));
    TRY(trine_check_same_dtype(check, "dy", &a->dy, "y", &a->y));
    TRY(trine_check_same_dtype(check, "dx", &a->dx, "y", &a->y));
    TRY(trine_check_same_shape(check, "dy", &a->dy, "y", &a->y));
    return trine_check_same_shape(check, "dx", &a->dx, "y", &a->y);
}

OP_DESC(softmax, softmax, forward_fields, check_forward);
OP_DESC(softmax, log_softmax, forward_fields, check_forward);
OP_DESC(softmax, softmax_backward, backward_fields, check_backward);
OP_DESC(softmax, log_softmax_backward, backward_fields, check_backward);
