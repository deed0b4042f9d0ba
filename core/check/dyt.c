#include "core/check.h"

static const trine_op_field forward_fields[] = {
    FIELD(trine_dyt_args, x, IN), FIELD(trine_dyt_args, alpha, IN), FIELD(trine_dyt_args, gamma, IN | OPTIONAL),
    FIELD(trine_dyt_args, beta, IN | OPTIONAL), FIELD(trine_dyt_args, y, OUT | INPLACE)};
static const trine_op_field backward_fields[] = {
    FIELD(trine_dyt_backward_args, x, IN),
    FIELD(trine_dyt_backward_args, alpha, IN),
    FIELD(trine_dyt_backward_args, gamma, IN | OPTIONAL),
    FIELD(trine_dyt_backward_args, dy, IN),
    FIELD(trine_dyt_backward_args, dx, OUT | INPLACE),
    FIELD(trine_dyt_backward_args, dalpha, OUT | OPTIONAL),
    FIELD(trine_dyt_backward_args, dgamma, OUT | OPTIONAL),
    FIELD(trine_dyt_backward_args, dbeta, OUT | OPTIONAL),
};

static trine_status check_like_x(const trine_check *check, const char *name, const trine_tensor *t, const trine_tensor *x)
{
    TRY(trine_check_same_dtype(check, name, t, "x", x));
    return trine_check_same_shape(check, name, t, "x", x);
}

static trine_status check_scalar(const trine_check *check, const char *name, const trine_tensor *t)
{
    if (!trine_is_given(t)) return TRINE_OK;
    TRY(trine_check_dtype(check, name, t, DT(F32)));
    return trine_tensor_numel(t) == 1
               ? TRINE_OK
               : trine_bad(check, name, "has %lld elements where one is wanted", (long long)trine_tensor_numel(t));
}

static trine_status check_vector(const trine_check *check, const char *name, const trine_tensor *t, const trine_tensor *x)
{
    if (!trine_is_given(t)) return TRINE_OK;
    TRY(trine_check_dtype(check, name, t, DT(F32) | 1u << x->dtype));
    return trine_check_is_vector(check, name, t, x->shape[x->ndim - 1]);
}

static trine_status check_forward(const trine_check *check, const void *args)
{
    const trine_dyt_args *a = args;
    TRY(trine_check_dtype(check, "x", &a->x, DT_FLOATS));
    TRY(trine_check_ndim_at_least(check, "x", &a->x, 1));
    TRY(check_like_x(check, "y", &a->y, &a->x));
    TRY(check_scalar(check, "alpha", &a->alpha));
    TRY(check_vector(check, "gamma", &a->gamma, &a->x));
    return check_vector(check, "beta", &a->beta, &a->x);
}

static trine_status check_backward(const trine_check *check, const void *args)
{
    const trine_dyt_backward_args *a = args;
    TRY(trine_check_dtype(check, "x", &a->x, DT_FLOATS));
    TRY(trine_check_ndim_at_least(check, "x", &a->x, 1));
    TRY(check_like_x(check, "dy", &a->dy, &a->x));
    TRY(check_like_x(check, "dx", &a->dx, &a->x));
    TRY(check_scalar(check, "alpha", &a->alpha));
    TRY(check_scalar(check, "dalpha", &a->dalpha));
    TRY(check_vector(check, "gamma", &a->gamma, &a->x));
    TRY(check_vector(check, "dgamma", &a->dgamma, &a->x));
    return check_vector(check, "dbeta", &a->dbeta, &a->x);
}

OP_DESC(dyt, dyt, forward_fields, check_forward);
OP_DESC(dyt, dyt_backward, backward_fields, check_backward);
