#include "core/check.h"

static const trine_op_field forward_fields[] = {FIELD(trine_activation_args, x, IN),
                                                FIELD(trine_activation_args, y, OUT | INPLACE)};
static const trine_op_field backward_fields[] = {FIELD(trine_activation_backward_args, x, IN),
                                                 FIELD(trine_activation_backward_args, dy, IN),
                                                 FIELD(trine_activation_backward_args, dx, OUT | INPLACE)};

static const char *const activation_names[TRINE_ACT_COUNT] = {
    "identity", "relu", "leaky_relu", "sigmoid", "tanh", "silu", "gelu", "gelu_tanh", "hardsigmoid", "hardswish",
    "elu",      "selu", "softplus",   "mish",    "abs",  "exp",  "log",  "sqrt",      "rsqrt",       "square",
};

const char *trine_activation_name(trine_activation_kind kind)
{
    return (unsigned)kind < TRINE_ACT_COUNT ? activation_names[kind] : "?";
}

static trine_status check_kind(const trine_check *check, trine_activation_kind kind)
{
    return (unsigned)kind < TRINE_ACT_COUNT ? TRINE_OK : trine_bad(check, "kind", "there is no activation %d", (int)kind);
}

static trine_status check_activation(const trine_check *check, const void *args)
{
    const trine_activation_args *a = args;
    TRY(check_kind(check, a->kind));
    TRY(trine_check_dtype(check, "x", &a->x, DT_FLOATS));
    TRY(trine_check_same_dtype(check, "y", &a->y, "x", &a->x));
    return trine_check_same_shape(check, "y", &a->y, "x", &a->x);
}

static trine_status check_activation_backward(const trine_check *check, const void *args)
{
    const trine_activation_backward_args *a = args;
    TRY(check_kind(check, a->kind));
    TRY(trine_check_dtype(check, "x", &a->x, DT_FLOATS));
    TRY(trine_check_same_dtype(check, "dy", &a->dy, "x", &a->x));
    TRY(trine_check_same_dtype(check, "dx", &a->dx, "x", &a->x));
    TRY(trine_check_same_shape(check, "dy", &a->dy, "x", &a->x));
    return trine_check_same_shape(check, "dx", &a->dx, "x", &a->x);
}

OP_DESC(activation, activation, forward_fields, check_activation);
OP_DESC(activation, activation_backward, backward_fields, check_activation_backward);
