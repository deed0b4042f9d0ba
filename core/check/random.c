#include <math.h>

#include "core/check.h"

static const trine_op_field dropout_fields[] = {FIELD(trine_dropout_args, x, IN), FIELD(trine_dropout_args, y, OUT | INPLACE),
                                                FIELD(trine_dropout_args, mask, OUT | OPTIONAL)};
static const trine_op_field uniform_fields[] = {FIELD(trine_uniform_args, y, OUT)};
static const trine_op_field normal_fields[] = {FIELD(trine_normal_args, y, OUT)};

static trine_status check_dropout(const trine_check *check, const void *args)
{
    const trine_dropout_args *a = args;
    TRY(trine_check_dtype(check, "x", &a->x, DT_FLOATS));
    TRY(trine_check_same_dtype(check, "y", &a->y, "x", &a->x));
    TRY(trine_check_same_shape(check, "y", &a->y, "x", &a->x));
    if (!(a->p >= 0 && a->p < 1)) return trine_bad(check, "p", "%g is not in [0, 1)", (double)a->p);
    if (!trine_is_given(&a->mask)) return TRINE_OK;
    TRY(trine_check_dtype(check, "mask", &a->mask, DT(BOOL) | DT(U8)));
    TRY(trine_check_same_shape(check, "mask", &a->mask, "x", &a->x));
    return trine_tensor_is_contiguous(&a->mask) ? TRINE_OK : trine_bad(check, "mask", "is not contiguous");
}

static trine_status check_uniform(const trine_check *check, const void *args)
{
    const trine_uniform_args *a = args;
    TRY(trine_check_dtype(check, "y", &a->y, DT_FLOATS));
    if (!isfinite(a->low) || !isfinite(a->high) || a->low > a->high)
        return trine_bad(check, "low", "low %g and high %g are no finite range", (double)a->low, (double)a->high);
    if (!isfinite(a->high - a->low))
        return trine_bad(check, "high", "high - low overflows f32 (low %g, high %g)", (double)a->low, (double)a->high);
    return TRINE_OK;
}

static trine_status check_normal(const trine_check *check, const void *args)
{
    const trine_normal_args *a = args;
    TRY(trine_check_dtype(check, "y", &a->y, DT_FLOATS));
    if (!isfinite(a->mean) || !isfinite(a->std) || a->std < 0)
        return trine_bad(check, "std", "mean %g and std %g must be finite and std not negative", (double)a->mean, (double)a->std);
    return TRINE_OK;
}

OP_DESC(random, dropout, dropout_fields, check_dropout);
OP_DESC(random, uniform, uniform_fields, check_uniform);
OP_DESC(random, normal, normal_fields, check_normal);
