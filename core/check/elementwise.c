#include "core/check.h"

static const trine_op_field unary_fields[] = {FIELD(trine_copy_args, x, IN), FIELD(trine_copy_args, y, OUT | INPLACE)};
static const trine_op_field fill_fields[] = {FIELD(trine_fill_args, y, OUT)};
static const trine_op_field binary_fields[] = {FIELD(trine_binary_args, a, IN), FIELD(trine_binary_args, b, IN),
                                               FIELD(trine_binary_args, y, OUT | INPLACE)};
static const trine_op_field scalar_fields[] = {FIELD(trine_scalar_args, x, IN), FIELD(trine_scalar_args, y, OUT | INPLACE)};
static const trine_op_field swap_fields[] = {FIELD(trine_swap_args, x, IN), FIELD(trine_swap_args, y, OUT | INPLACE)};

enum { DT_ARITHMETIC = DT(F64) | DT_FLOATS | DT_INTS };

static trine_status check_copy(const trine_check *check, const void *args)
{
    const trine_copy_args *a = args;
    TRY(trine_check_dtype(check, "x", &a->x, DT_ANY));
    TRY(trine_check_dtype(check, "y", &a->y, DT_ANY));
    return trine_check_broadcasts(check, "x", &a->x, "y", &a->y);
}

static trine_status check_fill(const trine_check *check, const void *args)
{
    const trine_fill_args *a = args;
    return trine_check_dtype(check, "y", &a->y, DT_ANY);
}

static trine_status check_binary(const trine_check *check, const void *args)
{
    const trine_binary_args *a = args;
    TRY(trine_check_dtype(check, "y", &a->y, DT_ARITHMETIC));
    TRY(trine_check_same_dtype(check, "a", &a->a, "y", &a->y));
    TRY(trine_check_same_dtype(check, "b", &a->b, "y", &a->y));
    TRY(trine_check_broadcasts(check, "a", &a->a, "y", &a->y));
    return trine_check_broadcasts(check, "b", &a->b, "y", &a->y);
}

static trine_status check_scalar(const trine_check *check, const void *args)
{
    const trine_scalar_args *a = args;
    TRY(trine_check_dtype(check, "y", &a->y, DT_ARITHMETIC));
    TRY(trine_check_same_dtype(check, "x", &a->x, "y", &a->y));
    return trine_check_broadcasts(check, "x", &a->x, "y", &a->y);
}

static trine_status check_swap(const trine_check *check, const void *args)
{
    const trine_swap_args *a = args;
    TRY(trine_check_dtype(check, "x", &a->x, DT_ANY));
    TRY(trine_check_ndim_at_least(check, "x", &a->x, 1));
    TRY(trine_check_same_dtype(check, "y", &a->y, "x", &a->x));
    return trine_check_same_shape(check, "y", &a->y, "x", &a->x);
}

OP_DESC(elementwise, copy, unary_fields, check_copy);
OP_DESC(elementwise, fill, fill_fields, check_fill);
OP_DESC(elementwise, add, binary_fields, check_binary);
OP_DESC(elementwise, sub, binary_fields, check_binary);
OP_DESC(elementwise, mul, binary_fields, check_binary);
OP_DESC(elementwise, div, binary_fields, check_binary);
OP_DESC(elementwise, minimum, binary_fields, check_binary);
OP_DESC(elementwise, maximum, binary_fields, check_binary);
OP_DESC(elementwise, add_scalar, scalar_fields, check_scalar);
OP_DESC(elementwise, scale, scalar_fields, check_scalar);
OP_DESC(elementwise, swap, swap_fields, check_swap);
