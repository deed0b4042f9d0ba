#include "core/check.h"

static const trine_op_field scan_fields[] = {FIELD(trine_scan_args, x, IN), FIELD(trine_scan_args, y, OUT | INPLACE)};

static trine_status check_scan(const trine_check *check, const void *args)
{
    const trine_scan_args *a = args;
    TRY(trine_check_dtype(check, "x", &a->x, DT_FLOATS | DT(I32) | DT(I64)));
    TRY(trine_check_same_dtype(check, "y", &a->y, "x", &a->x));
    TRY(trine_check_same_shape(check, "y", &a->y, "x", &a->x));
    if (a->axis < -a->x.ndim || a->axis >= a->x.ndim)
        return trine_bad(check, "axis", "%d is outside x's %d axes", (int)a->axis, (int)a->x.ndim);
    if ((unsigned)a->kind >= TRINE_SCAN_COUNT) return trine_bad(check, "kind", "there is no kind %d", (int)a->kind);
    if (a->kind != TRINE_SCAN_SUM && (a->x.dtype == TRINE_I32 || a->x.dtype == TRINE_I64))
        return trine_bad(check, "kind", "of integers only sums");
    if (a->exclusive != 0 && a->exclusive != 1) return trine_bad(check, "exclusive", "%d is neither 0 nor 1", (int)a->exclusive);
    return a->reverse == 0 || a->reverse == 1 ? TRINE_OK : trine_bad(check, "reverse", "%d is neither 0 nor 1", (int)a->reverse);
}

OP_DESC(scan, scan, scan_fields, check_scan);
