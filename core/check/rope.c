#include <math.h>

#include "core/check.h"

static const trine_op_field rope_fields[] = {
    FIELD(trine_rope_args, x, IN), FIELD(trine_rope_args, positions, IN | OPTIONAL), FIELD(trine_rope_args, cos, IN | OPTIONAL),
    FIELD(trine_rope_args, sin, IN | OPTIONAL), FIELD(trine_rope_args, y, OUT | INPLACE)};

static trine_status check_positions(const trine_check *check, const trine_rope_args *a, int32_t axis)
{
    const trine_tensor *p = &a->positions;
    if (!trine_is_given(p)) return TRINE_OK;
    TRY(trine_check_dtype(check, "positions", p, DT(I32) | DT(I64)));
    if (p->ndim == 1 && p->shape[0] == a->x.shape[axis]) return TRINE_OK;
    if (p->ndim == 2 && axis > 0 && p->shape[0] == a->x.shape[0] && p->shape[1] == a->x.shape[axis]) return TRINE_OK;
    return trine_bad(check, "positions", "its shape is neither that of x's tokens nor that of x's first axis and tokens");
}

static trine_status check_table(const trine_check *check, const char *name, const trine_tensor *t, const trine_rope_args *a,
                                int64_t pairs)
{
    TRY(trine_check_dtype(check, name, t, DT(F32) | 1u << a->x.dtype));
    if (t->ndim != 2 || t->shape[1] != pairs) return trine_bad(check, name, "is not [positions, %lld]", (long long)pairs);
    return trine_last_axis_dense(t) ? TRINE_OK : trine_bad(check, name, "stride %lld is not 1", (long long)t->stride[1]);
}

static trine_status check_tables(const trine_check *check, const trine_rope_args *a, int32_t axis, int64_t pairs)
{
    TRY(check_table(check, "cos", &a->cos, a, pairs));
    TRY(check_table(check, "sin", &a->sin, a, pairs));
    TRY(trine_check_same_dtype(check, "sin", &a->sin, "cos", &a->cos));
    TRY(trine_check_same_shape(check, "sin", &a->sin, "cos", &a->cos));
    if (trine_is_given(&a->positions)) return TRINE_OK;
    if (a->offset < 0 || a->offset > a->cos.shape[0] - a->x.shape[axis])
        return trine_bad(check, "offset", "%lld to %lld are not all among the %lld positions of cos", (long long)a->offset,
                         (long long)(a->offset + a->x.shape[axis] - 1), (long long)a->cos.shape[0]);
    return TRINE_OK;
}

static trine_status check_rope(const trine_check *check, const void *args)
{
    const trine_rope_args *a = args;
    TRY(trine_check_dtype(check, "x", &a->x, DT_FLOATS));
    TRY(trine_check_ndim_at_least(check, "x", &a->x, 2));
    TRY(trine_check_same_dtype(check, "y", &a->y, "x", &a->x));
    TRY(trine_check_same_shape(check, "y", &a->y, "x", &a->x));
    const int32_t last = a->x.ndim - 1, axis = a->axis < 0 ? a->axis + a->x.ndim : a->axis;
    if (axis < 0 || axis >= last) return trine_bad(check, "axis", "%d is none of x's axes but the last", (int)a->axis);
    const int64_t dims = a->x.shape[last], rotary = a->rotary_dims ? a->rotary_dims : dims;
    if (rotary < 0 || rotary > dims || rotary % 2)
        return trine_bad(check, "rotary_dims", "%lld is not even and between 0 and x's %lld", (long long)rotary, (long long)dims);
    if (rotary > TRINE_ROPE_MAX_DIMS)
        return trine_bad(check, "rotary_dims", "%lld is above %d", (long long)rotary, (int)TRINE_ROPE_MAX_DIMS);
    TRY(check_positions(check, a, axis));
    if (trine_is_given(&a->cos) != trine_is_given(&a->sin))
        return trine_bad(check, trine_is_given(&a->cos) ? "sin" : "cos", "is not given, but the other table is");
    if (trine_is_given(&a->cos)) return check_tables(check, a, axis, rotary / 2);
    if (!isfinite(a->base) || a->base < 1) return trine_bad(check, "base", "%g is not finite and at least 1", a->base);
    if (!isfinite(a->scaling) || (a->scaling != 0 && a->scaling < 0x1p-20))
        return trine_bad(check, "scaling", "%g is neither 0 nor at least 2^-20", a->scaling);
    return TRINE_OK;
}

OP_DESC(rope, rope, rope_fields, check_rope);
