#include "core/check.h"

#define LIST TRINE_FIELD_LIST
#define UPDATED (IN | OUT)

static const trine_op_field adamw_fields[] = {FIELD(trine_adamw_args, param, LIST | UPDATED),
                                              FIELD(trine_adamw_args, grad, LIST | IN),
                                              FIELD(trine_adamw_args, m, LIST | UPDATED),
                                              FIELD(trine_adamw_args, v, LIST | UPDATED),
                                              FIELD(trine_adamw_args, master, LIST | UPDATED | OPTIONAL),
                                              FIELD(trine_adamw_args, v_max, LIST | UPDATED | OPTIONAL),
                                              FIELD(trine_adamw_args, grad_scale, IN | OPTIONAL),
                                              FIELD(trine_adamw_args, found_inf, IN | OPTIONAL)};
static const trine_op_field sgd_fields[] = {FIELD(trine_sgd_args, param, LIST | UPDATED),
                                            FIELD(trine_sgd_args, grad, LIST | IN),
                                            FIELD(trine_sgd_args, buffer, LIST | UPDATED | OPTIONAL),
                                            FIELD(trine_sgd_args, master, LIST | UPDATED | OPTIONAL),
                                            FIELD(trine_sgd_args, grad_scale, IN | OPTIONAL),
                                            FIELD(trine_sgd_args, found_inf, IN | OPTIONAL)};
static const trine_op_field global_norm_fields[] = {FIELD(trine_global_norm_args, x, LIST | IN),
                                                    FIELD(trine_global_norm_args, norm, OUT),
                                                    FIELD(trine_global_norm_args, clip, OUT | OPTIONAL)};
static const trine_op_field scale_list_fields[] = {FIELD(trine_scale_list_args, x, LIST | UPDATED),
                                                   FIELD(trine_scale_list_args, factor, IN)};

/* ---- Lists ---- */

static bool same_shape(const trine_tensor *t, const trine_tensor *other)
{
    bool same = t->ndim == other->ndim;
    for (int32_t d = 0; same && d < t->ndim; d++) same = t->shape[d] == other->shape[d];
    return same;
}

/* As long as the parameters', each tensor of a dtype that is allowed and of the parameter's shape. Names are made only for what is
 * wrong: a step has hundreds of tensors. */
static trine_status check_beside(const trine_check *check, const char *name, const trine_tensor_list *list, unsigned dtypes,
                                 const trine_tensor_list *param)
{
    trine_item_text text, than;
    if (list->count != param->count)
        return trine_bad(check, name, "%d tensors are not as many as the %d of param", (int)list->count, (int)param->count);
    for (int32_t i = 0; i < list->count; i++) {
        const trine_tensor *t = &list->at[i];
        if (!trine_is_given(t) || ((dtypes >> t->dtype & 1u) && same_shape(t, &param->at[i]))) continue;
        TRY(trine_check_dtype(check, trine_item_name(name, i, text), t, dtypes));
        return trine_check_same_shape(check, text, t, trine_item_name("param", i, than), &param->at[i]);
    }
    return TRINE_OK;
}

static trine_status check_floats(const trine_check *check, const char *name, const trine_tensor_list *list)
{
    trine_item_text text;
    for (int32_t i = 0; i < list->count; i++)
        if (!(DT_FLOATS >> list->at[i].dtype & 1u))
            return trine_check_dtype(check, trine_item_name(name, i, text), &list->at[i], DT_FLOATS);
    return TRINE_OK;
}

static trine_status check_master(const trine_check *check, const trine_tensor_list *master, const trine_tensor_list *param)
{
    trine_item_text text;
    if (master->count == 0) return TRINE_OK;
    TRY(check_beside(check, "master", master, DT(F32), param));
    for (int32_t i = 0; i < master->count; i++)
        if (trine_is_given(&master->at[i]) && param->at[i].dtype == TRINE_F32)
            return trine_bad(check, trine_item_name("master", i, text), "is given for a parameter that is f32 itself");
    return TRINE_OK;
}

/* A state that is given for every parameter. */
static trine_status check_state(const trine_check *check, const char *name, const trine_tensor_list *state,
                                const trine_tensor_list *param)
{
    trine_item_text text;
    TRY(check_beside(check, name, state, DT(F32), param));
    for (int32_t i = 0; i < state->count; i++)
        if (!trine_is_given(&state->at[i])) return trine_bad(check, trine_item_name(name, i, text), "is not given");
    return TRINE_OK;
}

static trine_status check_number(const trine_check *check, const char *name, const trine_tensor *t)
{
    if (!trine_is_given(t)) return TRINE_OK;
    TRY(trine_check_dtype(check, name, t, DT(F32)));
    return trine_check_is_vector(check, name, t, 1);
}

/* ---- Attributes ---- */

static trine_status check_from_zero(const trine_check *check, const char *name, double value)
{
    return value >= 0 && value <= 1e300 ? TRINE_OK : trine_bad(check, name, "%g is not finite and at least 0", value);
}

static trine_status check_beta(const trine_check *check, const char *name, double value)
{
    return value >= 0 && value < 1 ? TRINE_OK : trine_bad(check, name, "%g is not in [0, 1)", value);
}

static trine_status check_step(const trine_check *check, int64_t step)
{
    return step >= 1 ? TRINE_OK : trine_bad(check, "step", "%lld is not at least 1", (long long)step);
}

/* ---- Ops ---- */

static trine_status check_adamw(const trine_check *check, const void *args)
{
    const trine_adamw_args *a = args;
    TRY(check_floats(check, "param", &a->param));
    TRY(check_beside(check, "grad", &a->grad, DT_FLOATS, &a->param));
    TRY(check_beside(check, "m", &a->m, DT(F32), &a->param));
    TRY(check_beside(check, "v", &a->v, DT(F32), &a->param));
    TRY(check_master(check, &a->master, &a->param));
    if (a->v_max.count != 0) TRY(check_state(check, "v_max", &a->v_max, &a->param));
    TRY(check_number(check, "grad_scale", &a->grad_scale));
    TRY(check_number(check, "found_inf", &a->found_inf));
    TRY(check_from_zero(check, "lr", a->lr));
    TRY(check_beta(check, "beta1", a->beta1));
    TRY(check_beta(check, "beta2", a->beta2));
    TRY(check_from_zero(check, "eps", a->eps));
    TRY(check_from_zero(check, "weight_decay", a->weight_decay));
    return check_step(check, a->step);
}

static trine_status check_momentum(const trine_check *check, const trine_sgd_args *a)
{
    TRY(check_from_zero(check, "momentum", a->momentum));
    if (!(a->dampening >= -1e300 && a->dampening <= 1e300))
        return trine_bad(check, "dampening", "%g is not finite", a->dampening);
    if (a->nesterov && !(a->momentum > 0)) return trine_bad(check, "momentum", "is 0, which nesterov can't be");
    if (a->nesterov && a->dampening != 0) return trine_bad(check, "dampening", "%g is not 0, as for nesterov", a->dampening);
    if (a->momentum == 0) return a->buffer.count == 0 ? TRINE_OK : trine_bad(check, "buffer", "is given, but momentum is 0");
    return check_state(check, "buffer", &a->buffer, &a->param);
}

static trine_status check_sgd(const trine_check *check, const void *args)
{
    const trine_sgd_args *a = args;
    TRY(check_floats(check, "param", &a->param));
    TRY(check_beside(check, "grad", &a->grad, DT_FLOATS, &a->param));
    TRY(check_momentum(check, a));
    TRY(check_master(check, &a->master, &a->param));
    TRY(check_number(check, "grad_scale", &a->grad_scale));
    TRY(check_number(check, "found_inf", &a->found_inf));
    TRY(check_from_zero(check, "lr", a->lr));
    TRY(check_from_zero(check, "weight_decay", a->weight_decay));
    return check_step(check, a->step);
}

static trine_status check_global_norm(const trine_check *check, const void *args)
{
    const trine_global_norm_args *a = args;
    TRY(check_floats(check, "x", &a->x));
    TRY(check_number(check, "norm", &a->norm));
    TRY(check_number(check, "clip", &a->clip));
    return trine_is_given(&a->clip) ? check_from_zero(check, "max_norm", a->max_norm) : TRINE_OK;
}

static trine_status check_scale_list(const trine_check *check, const void *args)
{
    const trine_scale_list_args *a = args;
    TRY(check_floats(check, "x", &a->x));
    return check_number(check, "factor", &a->factor);
}

OP_DESC(optimizer, adamw, adamw_fields, check_adamw);
OP_DESC(optimizer, sgd, sgd_fields, check_sgd);
OP_DESC(optimizer, global_norm, global_norm_fields, check_global_norm);
OP_DESC(optimizer, scale_list, scale_list_fields, check_scale_list);
