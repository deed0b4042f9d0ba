#include "core/check.h"

static const trine_op_field forward_fields[] = {FIELD(trine_gated_args, gate, IN), FIELD(trine_gated_args, up, IN | OPTIONAL),
                                                FIELD(trine_gated_args, y, OUT | INPLACE)};
static const trine_op_field backward_fields[] = {
    FIELD(trine_gated_backward_args, gate, IN), FIELD(trine_gated_backward_args, up, IN | OPTIONAL),
    FIELD(trine_gated_backward_args, dy, IN), FIELD(trine_gated_backward_args, dgate, OUT | INPLACE),
    FIELD(trine_gated_backward_args, dup, OUT | OPTIONAL | INPLACE)};

static trine_status check_kind(const trine_check *check, trine_activation_kind kind)
{
    return (unsigned)kind < TRINE_ACT_COUNT ? TRINE_OK : trine_bad(check, "kind", "there is no activation %d", (int)kind);
}

/* `t` is like y, or has its last axis twice. */
static trine_status check_half(const trine_check *check, const char *name, const trine_tensor *t, const char *y_name,
                               const trine_tensor *y, bool packed)
{
    trine_tensor wanted = *y;
    TRY(trine_check_same_dtype(check, name, t, y_name, y));
    if (!packed) return trine_check_same_shape(check, name, t, y_name, y);
    TRY(trine_check_ndim_at_least(check, y_name, y, 1));
    if (__builtin_mul_overflow(wanted.shape[wanted.ndim - 1], 2, &wanted.shape[wanted.ndim - 1]))
        return trine_bad(check, y_name, "its size overflows 64 bits");
    return trine_check_same_shape(check, name, t, "both halves", &wanted);
}

static trine_status check_gated(const trine_check *check, const void *args)
{
    const trine_gated_args *a = args;
    const bool packed = !trine_is_given(&a->up);
    TRY(check_kind(check, a->kind));
    TRY(trine_check_dtype(check, "y", &a->y, DT_FLOATS));
    TRY(check_half(check, "gate", &a->gate, "y", &a->y, packed));
    return packed ? TRINE_OK : check_half(check, "up", &a->up, "y", &a->y, false);
}

static trine_status check_gated_backward(const trine_check *check, const void *args)
{
    const trine_gated_backward_args *a = args;
    const bool packed = !trine_is_given(&a->up);
    TRY(check_kind(check, a->kind));
    if (trine_is_given(&a->dup) == packed)
        return trine_bad(check, "dup", packed ? "is given, but up is not" : "is not given, but up is");
    TRY(trine_check_dtype(check, "dy", &a->dy, DT_FLOATS));
    TRY(check_half(check, "gate", &a->gate, "dy", &a->dy, packed));
    TRY(check_half(check, "dgate", &a->dgate, "dy", &a->dy, packed));
    if (packed) return TRINE_OK;
    TRY(check_half(check, "up", &a->up, "dy", &a->dy, false));
    return check_half(check, "dup", &a->dup, "dy", &a->dy, false);
}

OP_DESC(gated, gated, forward_fields, check_gated);
OP_DESC(gated, gated_backward, backward_fields, check_gated_backward);
