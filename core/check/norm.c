#include "core/check.h"

static const trine_op_field layernorm_fields[] = {
    FIELD(trine_layernorm_args, x, IN),
    FIELD(trine_layernorm_args, weight, IN | OPTIONAL),
    FIELD(trine_layernorm_args, bias, IN | OPTIONAL),
    FIELD(trine_layernorm_args, y, OUT | INPLACE),
    FIELD(trine_layernorm_args, mean, OUT | OPTIONAL),
    FIELD(trine_layernorm_args, rstd, OUT | OPTIONAL),
};
static const trine_op_field rmsnorm_fields[] = {
    FIELD(trine_rmsnorm_args, x, IN), FIELD(trine_rmsnorm_args, weight, IN | OPTIONAL),
    FIELD(trine_rmsnorm_args, y, OUT | INPLACE), FIELD(trine_rmsnorm_args, rstd, OUT | OPTIONAL)};

static const trine_op_field l2_fields[] = {FIELD(trine_l2_normalize_args, x, IN),
                                           FIELD(trine_l2_normalize_args, y, OUT | INPLACE)};
static const trine_op_field l2_backward_fields[] = {FIELD(trine_l2_normalize_backward_args, x, IN),
                                                    FIELD(trine_l2_normalize_backward_args, dy, IN),
                                                    FIELD(trine_l2_normalize_backward_args, dx, OUT | INPLACE)};

static trine_status check_rows(const trine_check *check, const trine_tensor *x, const trine_tensor *y, float eps)
{
    TRY(trine_check_dtype(check, "x", x, DT_FLOATS));
    TRY(trine_check_ndim_at_least(check, "x", x, 1));
    TRY(trine_check_same_dtype(check, "y", y, "x", x));
    TRY(trine_check_same_shape(check, "y", y, "x", x));
    return eps > 0 ? TRINE_OK : trine_bad(check, "eps", "%g is not above 0", (double)eps);
}

static trine_status check_parameter(const trine_check *check, const char *name, const trine_tensor *t, const trine_tensor *x)
{
    if (!trine_is_given(t)) return TRINE_OK;
    TRY(trine_check_dtype(check, name, t, DT(F32) | 1u << x->dtype));
    return trine_check_is_vector(check, name, t, x->shape[x->ndim - 1]);
}

static trine_status check_statistic(const trine_check *check, const char *name, const trine_tensor *t, const trine_tensor *x)
{
    if (!trine_is_given(t)) return TRINE_OK;
    trine_tensor outer = *x;
    outer.ndim--;
    TRY(trine_check_dtype(check, name, t, DT(F32)));
    TRY(trine_check_same_shape(check, name, t, "x without its last axis", &outer));
    return trine_tensor_is_contiguous(t) ? TRINE_OK : trine_bad(check, name, "is not contiguous");
}

static trine_status check_layernorm(const trine_check *check, const void *args)
{
    const trine_layernorm_args *a = args;
    TRY(check_rows(check, &a->x, &a->y, a->eps));
    TRY(check_parameter(check, "weight", &a->weight, &a->x));
    TRY(check_parameter(check, "bias", &a->bias, &a->x));
    TRY(check_statistic(check, "mean", &a->mean, &a->x));
    return check_statistic(check, "rstd", &a->rstd, &a->x);
}

static trine_status check_rmsnorm(const trine_check *check, const void *args)
{
    const trine_rmsnorm_args *a = args;
    TRY(check_rows(check, &a->x, &a->y, a->eps));
    TRY(check_parameter(check, "weight", &a->weight, &a->x));
    return check_statistic(check, "rstd", &a->rstd, &a->x);
}

static trine_status check_l2(const trine_check *check, const void *args)
{
    const trine_l2_normalize_args *a = args;
    return check_rows(check, &a->x, &a->y, a->eps);
}

static trine_status check_l2_backward(const trine_check *check, const void *args)
{
    const trine_l2_normalize_backward_args *a = args;
    TRY(trine_check_same_dtype(check, "dx", &a->dx, "x", &a->x));
    TRY(trine_check_same_shape(check, "dx", &a->dx, "x", &a->x));
    TRY(trine_check_same_dtype(check, "dy", &a->dy, "x", &a->x));
    TRY(trine_check_same_shape(check, "dy", &a->dy, "x", &a->x));
    return check_rows(check, &a->x, &a->dx, a->eps);
}

OP_DESC(norm, layernorm, layernorm_fields, check_layernorm);
OP_DESC(norm, rmsnorm, rmsnorm_fields, check_rmsnorm);
OP_DESC(norm, l2_normalize, l2_fields, check_l2);
OP_DESC(norm, l2_normalize_backward, l2_backward_fields, check_l2_backward);
