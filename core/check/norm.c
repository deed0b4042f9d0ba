#include "core/channels.h"
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

static const trine_op_field l2_fields[] = {FIELD(trine_l2_normalize_args, x, IN),
                                           FIELD(trine_l2_normalize_args, y, OUT | INPLACE)};
static const trine_op_field l2_backward_fields[] = {FIELD(trine_l2_normalize_backward_args, x, IN),
                                                    FIELD(trine_l2_normalize_backward_args, dy, IN),
                                                    FIELD(trine_l2_normalize_backward_args, dx, OUT | INPLACE)};

static const trine_op_field batchnorm_fields[] = {
    FIELD(trine_batchnorm_args, x, IN),
    FIELD(trine_batchnorm_args, weight, IN | OPTIONAL),
    FIELD(trine_batchnorm_args, bias, IN | OPTIONAL),
    FIELD(trine_batchnorm_args, running_mean, IN | OPTIONAL),
    FIELD(trine_batchnorm_args, running_var, IN | OPTIONAL),
    FIELD(trine_batchnorm_args, y, OUT | INPLACE),
    FIELD(trine_batchnorm_args, mean, OUT | OPTIONAL),
    FIELD(trine_batchnorm_args, rstd, OUT | OPTIONAL),
    FIELD(trine_batchnorm_args, new_running_mean, OUT | OPTIONAL | INPLACE),
    FIELD(trine_batchnorm_args, new_running_var, OUT | OPTIONAL | INPLACE),
};
static const trine_op_field batchnorm_backward_fields[] = {
    FIELD(trine_batchnorm_backward_args, x, IN),
    FIELD(trine_batchnorm_backward_args, dy, IN),
    FIELD(trine_batchnorm_backward_args, weight, IN | OPTIONAL),
    FIELD(trine_batchnorm_backward_args, mean, IN | OPTIONAL),
    FIELD(trine_batchnorm_backward_args, rstd, IN | OPTIONAL),
    FIELD(trine_batchnorm_backward_args, running_mean, IN | OPTIONAL),
    FIELD(trine_batchnorm_backward_args, running_var, IN | OPTIONAL),
    FIELD(trine_batchnorm_backward_args, dx, OUT | INPLACE),
    FIELD(trine_batchnorm_backward_args, dweight, OUT | OPTIONAL),
    FIELD(trine_batchnorm_backward_args, dbias, OUT | OPTIONAL),
};
static const trine_op_field groupnorm_fields[] = {
    FIELD(trine_groupnorm_args, x, IN),
    FIELD(trine_groupnorm_args, weight, IN | OPTIONAL),
    FIELD(trine_groupnorm_args, bias, IN | OPTIONAL),
    FIELD(trine_groupnorm_args, y, OUT | INPLACE),
    FIELD(trine_groupnorm_args, mean, OUT | OPTIONAL),
    FIELD(trine_groupnorm_args, rstd, OUT | OPTIONAL),
};
static const trine_op_field groupnorm_backward_fields[] = {
    FIELD(trine_groupnorm_backward_args, x, IN),
    FIELD(trine_groupnorm_backward_args, dy, IN),
    FIELD(trine_groupnorm_backward_args, weight, IN | OPTIONAL),
    FIELD(trine_groupnorm_backward_args, mean, IN),
    FIELD(trine_groupnorm_backward_args, rstd, IN),
    FIELD(trine_groupnorm_backward_args, dx, OUT | INPLACE),
    FIELD(trine_groupnorm_backward_args, dweight, OUT | OPTIONAL),
    FIELD(trine_groupnorm_backward_args, dbias, OUT | OPTIONAL),
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

static trine_status check_l2(const trine_check *check, const void *args)
{
    const trine_l2_normalize_args *a = args;
    return check_rows(check, &a->x, "y", &a->y, a->eps);
}

static trine_status check_l2_backward(const trine_check *check, const void *args)
{
    const trine_l2_normalize_backward_args *a = args;
    TRY(check_rows(check, &a->x, "dx", &a->dx, a->eps));
    return check_like_x(check, "dy", &a->dy, &a->x);
}

/* ---- By channel ---- */

static trine_status check_planes(const trine_check *check, const char *name, const trine_tensor *t, const trine_tensor *x)
{
    TRY(trine_check_dtype(check, "x", x, DT_FLOATS));
    TRY(trine_check_ndim_at_least(check, "x", x, 2));
    TRY(trine_check_same_dtype(check, name, t, "x", x));
    return trine_check_same_shape(check, name, t, "x", x);
}

/* A weight, bias or a gradient of one; with `allowed` F32 alone, a statistic of every channel. */
static trine_status check_channel(const trine_check *check, const char *name, const trine_tensor *t, unsigned allowed,
                                  const trine_tensor *x, int32_t channels_last)
{
    if (!trine_is_given(t)) return TRINE_OK;
    TRY(trine_check_dtype(check, name, t, allowed));
    return trine_check_is_vector(check, name, t, x->shape[trine_channel_axis(x, channels_last)]);
}

/* `needed` is about a condition that `why` names. */
static trine_status check_given(const trine_check *check, const char *name, const trine_tensor *t, bool needed, const char *why)
{
    if (trine_is_given(t) == needed) return TRINE_OK;
    return trine_bad(check, name, needed ? "is not given, but %s" : "is given, but %s", why);
}

/* new_running_* goes with running_*, and is no other input's memory. */
static trine_status check_running(const trine_check *check, const trine_batchnorm_args *a)
{
    static const char *const names[] = {"new_running_mean", "new_running_var"};
    const trine_tensor *old[] = {&a->running_mean, &a->running_var}, *new[] = {&a->new_running_mean, &a->new_running_var};
    const trine_tensor *others[] = {&a->x, &a->weight, &a->bias, &a->running_mean, &a->running_var};
    static const char *const other_names[] = {"x", "weight", "bias", "running_mean", "running_var"};
    for (int k = 0; k < 2; k++) {
        TRY(check_given(check, names[k], new[k], !a->inference && trine_is_given(old[k]),
                        a->inference ? "inference leaves it as it is" : "a running statistic is both old and new or neither"));
        for (int i = 0; i < 5 && trine_is_given(new[k]); i++)
            if (others[i] != old[k] && trine_is_given(others[i]) && trine_check_starts_at(new[k], others[i]))
                return trine_bad(check, names[k], "overlaps %s, whose new value it is not", other_names[i]);
    }
    return TRINE_OK;
}

static trine_status check_batchnorm(const trine_check *check, const void *args)
{
    const trine_batchnorm_args *a = args;
    const int32_t last = a->channels_last;
    TRY(check_planes(check, "y", &a->y, &a->x));
    const unsigned parameter = DT(F32) | 1u << a->x.dtype;
    if (!(a->eps > 0)) return trine_bad(check, "eps", "%g is not above 0", (double)a->eps);
    if (!(a->momentum >= 0 && a->momentum <= 1)) return trine_bad(check, "momentum", "%g is not in 0 to 1", (double)a->momentum);
    TRY(check_channel(check, "weight", &a->weight, parameter, &a->x, last));
    TRY(check_channel(check, "bias", &a->bias, parameter, &a->x, last));
    TRY(check_channel(check, "running_mean", &a->running_mean, DT(F32), &a->x, last));
    TRY(check_channel(check, "running_var", &a->running_var, DT(F32), &a->x, last));
    TRY(check_channel(check, "mean", &a->mean, DT(F32), &a->x, last));
    TRY(check_channel(check, "rstd", &a->rstd, DT(F32), &a->x, last));
    TRY(check_channel(check, "new_running_mean", &a->new_running_mean, DT(F32), &a->x, last));
    TRY(check_channel(check, "new_running_var", &a->new_running_var, DT(F32), &a->x, last));
    if (a->inference) {
        TRY(check_given(check, "running_mean", &a->running_mean, true, "inference uses it"));
        TRY(check_given(check, "running_var", &a->running_var, true, "inference uses it"));
        TRY(check_given(check, "mean", &a->mean, false, "inference has none"));
        TRY(check_given(check, "rstd", &a->rstd, false, "inference has none"));
    }
    return check_running(check, a);
}

static trine_status check_batchnorm_backward(const trine_check *check, const void *args)
{
    const trine_batchnorm_backward_args *a = args;
    const int32_t last = a->channels_last;
    const bool inference = a->inference != 0;
    TRY(check_planes(check, "dy", &a->dy, &a->x));
    TRY(check_planes(check, "dx", &a->dx, &a->x));
    const unsigned parameter = DT(F32) | 1u << a->x.dtype;
    if (inference && !(a->eps > 0)) return trine_bad(check, "eps", "%g is not above 0", (double)a->eps);
    if (inference) {
        TRY(check_given(check, "running_mean", &a->running_mean, true, "inference uses it"));
        TRY(check_given(check, "running_var", &a->running_var, true, "inference uses it"));
    } else {
        TRY(check_given(check, "mean", &a->mean, true, "training uses it"));
        TRY(check_given(check, "rstd", &a->rstd, true, "training uses it"));
    }
    TRY(check_channel(check, "weight", &a->weight, parameter, &a->x, last));
    TRY(check_channel(check, "mean", &a->mean, DT(F32), &a->x, last));
    TRY(check_channel(check, "rstd", &a->rstd, DT(F32), &a->x, last));
    TRY(check_channel(check, "running_mean", &a->running_mean, DT(F32), &a->x, last));
    TRY(check_channel(check, "running_var", &a->running_var, DT(F32), &a->x, last));
    TRY(check_channel(check, "dweight", &a->dweight, parameter, &a->x, last));
    return check_channel(check, "dbias", &a->dbias, parameter, &a->x, last);
}

/* mean or rstd, [N, groups]. */
static trine_status check_of_groups(const trine_check *check, const char *name, const trine_tensor *t, const trine_tensor *x,
                                    int32_t groups)
{
    if (!trine_is_given(t)) return TRINE_OK;
    trine_tensor wanted = *x;
    wanted.ndim = 2;
    wanted.shape[1] = groups;
    TRY(trine_check_dtype(check, name, t, DT(F32)));
    TRY(trine_check_same_shape(check, name, t, "the samples and groups", &wanted));
    return trine_tensor_is_contiguous(t) ? TRINE_OK : trine_bad(check, name, "is not contiguous");
}

static trine_status check_groups(const trine_check *check, const trine_tensor *x, int32_t groups, int32_t channels_last)
{
    const int64_t channels = x->shape[trine_channel_axis(x, channels_last)];
    if (groups >= 1 && channels % groups == 0) return TRINE_OK;
    return trine_bad(check, "groups", "%d does not divide %lld channels", (int)groups, (long long)channels);
}

static trine_status check_groupnorm(const trine_check *check, const void *args)
{
    const trine_groupnorm_args *a = args;
    TRY(check_planes(check, "y", &a->y, &a->x));
    const unsigned parameter = DT(F32) | 1u << a->x.dtype;
    if (!(a->eps > 0)) return trine_bad(check, "eps", "%g is not above 0", (double)a->eps);
    TRY(check_groups(check, &a->x, a->groups, a->channels_last));
    TRY(check_channel(check, "weight", &a->weight, parameter, &a->x, a->channels_last));
    TRY(check_channel(check, "bias", &a->bias, parameter, &a->x, a->channels_last));
    TRY(check_of_groups(check, "mean", &a->mean, &a->x, a->groups));
    return check_of_groups(check, "rstd", &a->rstd, &a->x, a->groups);
}

static trine_status check_groupnorm_backward(const trine_check *check, const void *args)
{
    const trine_groupnorm_backward_args *a = args;
    TRY(check_planes(check, "dy", &a->dy, &a->x));
    TRY(check_planes(check, "dx", &a->dx, &a->x));
    const unsigned parameter = DT(F32) | 1u << a->x.dtype;
    TRY(check_groups(check, &a->x, a->groups, a->channels_last));
    TRY(check_channel(check, "weight", &a->weight, parameter, &a->x, a->channels_last));
    TRY(check_of_groups(check, "mean", &a->mean, &a->x, a->groups));
    TRY(check_of_groups(check, "rstd", &a->rstd, &a->x, a->groups));
    TRY(check_channel(check, "dweight", &a->dweight, parameter, &a->x, a->channels_last));
    return check_channel(check, "dbias", &a->dbias, parameter, &a->x, a->channels_last);
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
OP_DESC(norm, l2_normalize, l2_fields, check_l2);
OP_DESC(norm, l2_normalize_backward, l2_backward_fields, check_l2_backward);
OP_DESC(norm, batchnorm, batchnorm_fields, check_batchnorm);
OP_DESC(norm, batchnorm_backward, batchnorm_backward_fields, check_batchnorm_backward);
OP_DESC(norm, groupnorm, groupnorm_fields, check_groupnorm);
OP_DESC(norm, groupnorm_backward, groupnorm_backward_fields, check_groupnorm_backward);
OP_DESC(norm, layernorm_backward, layernorm_backward_fields, check_layernorm_backward);
OP_DESC(norm, rmsnorm_backward, rmsnorm_backward_fields, check_rmsnorm_backward);
