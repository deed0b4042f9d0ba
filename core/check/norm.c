#include "core/check.h"

static const trine_op_field layernorm_fields[] = {
    FIELD(trine_layernorm_args, x, IN),
    FIELD(trine_layernorm_args, weight, IN | OPTIONAL),
    FIELD(trine_layernorm_args, bias, IN | OPTIONAL),
    FIELD(trine_layernorm_args, y, OUT | INPLACE),
    FIELD(trine_layernorm_args, mean, OUT | OPTIONAL),
    FIELD(trine_layernorm_args, rstd, OUT | OPTIONAL),
    FIELD(trine_layernorm_args, residual, IN | OPTIONAL),
    FIELD(trine_layernorm_args, sum, OUT | OPTIONAL | INPLACE),
};
static const trine_op_field rmsnorm_fields[] = {
    FIELD(trine_rmsnorm_args, x, IN),
    FIELD(trine_rmsnorm_args, weight, IN | OPTIONAL),
    FIELD(trine_rmsnorm_args, y, OUT | INPLACE),
    FIELD(trine_rmsnorm_args, rstd, OUT | OPTIONAL),
    FIELD(trine_rmsnorm_args, residual, IN | OPTIONAL),
    FIELD(trine_rmsnorm_args, sum, OUT | OPTIONAL | INPLACE),
};
static const trine_op_field layernorm_backward_fields[] = {
    FIELD(trine_layernorm_backward_args, dy, IN),
    FIELD(trine_layernorm_backward_args, x, IN),
    FIELD(trine_layernorm_backward_args, weight, IN | OPTIONAL),
    FIELD(trine_layernorm_backward_args, mean, IN | OPTIONAL),
    FIELD(trine_layernorm_backward_args, rstd, IN | OPTIONAL),
    FIELD(trine_layernorm_backward_args, dsum, IN | OPTIONAL),
    FIELD(trine_layernorm_backward_args, dx, OUT | INPLACE),
    FIELD(trine_layernorm_backward_args, dweight, OUT | OPTIONAL),
    FIELD(trine_layernorm_backward_args, dbias, OUT | OPTIONAL),
};
static const trine_op_field rmsnorm_backward_fields[] = {
    FIELD(trine_rmsnorm_backward_args, dy, IN),
    FIELD(trine_rmsnorm_backward_args, x, IN),
    FIELD(trine_rmsnorm_backward_args, weight, IN | OPTIONAL),
    FIELD(trine_rmsnorm_backward_args, rstd, IN | OPTIONAL),
    FIELD(trine_rmsnorm_backward_args, dsum, IN | OPTIONAL),
    FIELD(trine_rmsnorm_backward_args, dx, OUT | INPLACE),
    FIELD(trine_rmsnorm_backward_args, dweight, OUT | OPTIONAL),
};

static trine_status check_like_x(const trine_check *check, const char *name, const trine_tensor *t, const trine_tensor *x)
{
    if (!trine_is_given(t)) return TRINE_OK;
    TRY(trine_check_same_dtype(check, name, t, "x", x));
    return trine_check_same_shape(check, name, t, "x", x);
}

static trine_status check_rows(const trine_check *check, const trine_tensor *x, const char *name, const trine_tensor *y,
                               float eps)
{
    TRY(trine_check_dtype(check, "x", x, DT_FLOATS));
    TRY(trine_check_ndim_at_least(check, "x", x, 1));
    TRY(check_like_x(check, name, y, x));
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

static trine_status check_residual(const trine_check *check, const trine_tensor *residual, const trine_tensor *sum,
                                   const trine_tensor *x)
{
    TRY(check_like_x(check, "residual", residual, x));
    TRY(check_like_x(check, "sum", sum, x));
    return trine_is_given(residual) || !trine_is_given(sum) ? TRINE_OK : trine_bad(check, "sum", "needs a residual");
}

static trine_status check_layernorm(const trine_check *check, const void *args)
{
    const trine_layernorm_args *a = args;
    TRY(check_rows(check, &a->x, "y", &a->y, a->eps));
    TRY(check_parameter(check, "weight", &a->weight, &a->x));
    TRY(check_parameter(check, "bias", &a->bias, &a->x));
    TRY(check_statistic(check, "mean", &a->mean, &a->x));
    TRY(check_statistic(check, "rstd", &a->rstd, &a->x));
    return check_residual(check, &a->residual, &a->sum, &a->x);
}

static trine_status check_rmsnorm(const trine_check *check, const void *args)
{
    const trine_rmsnorm_args *a = args;
    TRY(check_rows(check, &a->x, "y", &a->y, a->eps));
    TRY(check_parameter(check, "weight", &a->weight, &a->x));
    TRY(check_statistic(check, "rstd", &a->rstd, &a->x));
    return check_residual(check, &a->residual, &a->sum, &a->x);
}

/* What both backward ops have. */
static trine_status check_backward(const trine_check *check, const trine_rmsnorm_backward_args *a)
{
    TRY(check_rows(check, &a->x, "dx", &a->dx, a->eps));
    TRY(check_like_x(check, "dy", &a->dy, &a->x));
    TRY(check_like_x(check, "dsum", &a->dsum, &a->x));
    TRY(check_parameter(check, "weight", &a->weight, &a->x));
    TRY(check_parameter(check, "dweight", &a->dweight, &a->x));
    return check_statistic(check, "rstd", &a->rstd, &a->x);
}

static trine_status check_layernorm_backward(const trine_check *check, const void *args)
{
    const trine_layernorm_backward_args *a = args;
    TRY(check_backward(check, &(trine_rmsnorm_backward_args){.dy = a->dy,
                                                             .x = a->x,
                                                             .weight = a->weight,
                                                             .rstd = a->rstd,
                                                             .dsum = a->dsum,
                                                             .dx = a->dx,
                                                             .dweight = a->dweight,
                                                             .eps = a->eps}));
    TRY(check_parameter(check, "dbias", &a->dbias, &a->x));
    TRY(check_statistic(check, "mean", &a->mean, &a->x));
    return trine_is_given(&a->mean) == trine_is_given(&a->rstd) ? TRINE_OK : trine_bad(check, "mean", "goes together with rstd");
}

static trine_status check_rmsnorm_backward(const trine_check *check, const void *args) { return check_backward(check, args); }

OP_DESC(norm, layernorm, layernorm_fields, check_layernorm);
OP_DESC(norm, rmsnorm, rmsnorm_fields, check_rmsnorm);
OP_DESC(norm, layernorm_backward, layernorm_backward_fields, check_layernorm_backward);
OP_DESC(norm, rmsnorm_backward, rmsnorm_backward_fields, check_rmsnorm_backward);
