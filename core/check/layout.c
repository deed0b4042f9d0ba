#include "core/check.h"

static const trine_op_field transpose_fields[] = {FIELD(trine_transpose_args, x, IN), FIELD(trine_transpose_args, y, OUT)};
static const trine_op_field permute_fields[] = {FIELD(trine_permute_args, x, IN), FIELD(trine_permute_args, y, OUT)};

static trine_status check_transpose(const trine_check *check, const void *args)
{
    const trine_transpose_args *a = args;
    TRY(trine_check_dtype(check, "x", &a->x, DT_ANY));
    TRY(trine_check_same_dtype(check, "y", &a->y, "x", &a->x));
    TRY(trine_check_ndim_at_least(check, "x", &a->x, 2));
    trine_tensor wanted = trine_tensor_swap_axes(a->x, -1, -2);
    return trine_check_same_shape(check, "y", &a->y, "transposed x", &wanted);
}

static trine_status check_permute(const trine_check *check, const void *args)
{
    const trine_permute_args *a = args;
    TRY(trine_check_dtype(check, "x", &a->x, DT_ANY));
    TRY(trine_check_same_dtype(check, "y", &a->y, "x", &a->x));
    trine_tensor wanted = a->x;
    unsigned seen = 0;
    for (int32_t d = 0; d < a->x.ndim; d++) {
        if (a->axes[d] < 0 || a->axes[d] >= a->x.ndim || (seen >> a->axes[d] & 1u))
            return trine_bad(check, "axes", "is no permutation of 0 to %d", (int)a->x.ndim - 1);
        seen |= 1u << a->axes[d];
        wanted.shape[d] = a->x.shape[a->axes[d]];
    }
    return trine_check_same_shape(check, "y", &a->y, "permuted x", &wanted);
}

OP_DESC(layout, transpose, transpose_fields, check_transpose);
OP_DESC(layout, permute, permute_fields, check_permute);
