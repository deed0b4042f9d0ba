/* A scan as host code of every backend sees it; C11 and C++17. */
#ifndef TRINE_CORE_SCAN_SHAPE_H
#define TRINE_CORE_SCAN_SHAPE_H

#include "core/taken.h"
#include "trine/scan.h"

enum { SCAN_Y, SCAN_X };

typedef struct trine_scan_shape {
    trine_iter rows; /* over all axes but the scanned one, y's closest innermost */
    int64_t n;
    int64_t step[2]; /* from one element to the next */
    int columns;     /* rows lie side by side, closer than the elements of one: they are taken together */
} trine_scan_shape;

static inline trine_scan_shape trine_scan_shape_of(const trine_scan_args *a)
{
    trine_scan_shape s;
    const int32_t axis = a->axis < 0 ? a->axis + a->x.ndim : a->axis;
    const trine_tensor y = trine_drop_axes(&a->y, axis, 1), x = trine_drop_axes(&a->x, axis, 1), *operands[] = {&y, &x};
    s.rows = trine_iter_make(operands, 2, 0);
    s.n = a->x.shape[axis];
    s.step[SCAN_Y] = a->y.stride[axis];
    s.step[SCAN_X] = a->x.stride[axis];
    s.columns = s.n > 1 && s.rows.size[s.rows.ndim - 1] > 1 && s.rows.stride[SCAN_Y][s.rows.ndim - 1] < s.step[SCAN_Y];
    return s;
}

#endif
