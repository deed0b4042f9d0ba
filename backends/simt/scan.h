/* Scans along an axis: rows or, where other rows lie closer than the elements of one, columns. */
#ifndef TRINE_SIMT_SCAN_H
#define TRINE_SIMT_SCAN_H

#include "backends/simt/scan_columns.h"
#include "backends/simt/scan_rows.h"

namespace simt {

template <class Op, class T> inline trine_status scan_of(trine_call *call, const trine_scan_args *a, const trine_scan_shape &s)
{
    if (s.n == 0 || s.rows.numel == 0) return TRINE_OK;
    return s.columns ? scan_columns<Op, T>(call, a, s) : scan_rows<Op, T>(call, a, s);
}

template <class Op> inline trine_status scan_floats(trine_call *call, const trine_scan_args *a, const trine_scan_shape &s)
{
    return visit_floats(call, a->x.dtype, [&](auto t) { return scan_of<Op, typename decltype(t)::type>(call, a, s); });
}

inline trine_status scan(trine_call *call, const trine_scan_args *a)
{
    const trine_scan_shape s = trine_scan_shape_of(a);
    if (a->x.dtype == TRINE_I32) return scan_of<scan_sum<int32_t>, int32_t>(call, a, s);
    if (a->x.dtype == TRINE_I64) return scan_of<scan_sum<int64_t>, int64_t>(call, a, s);
    switch (a->kind) {
    case TRINE_SCAN_MAX: return scan_floats<scan_max>(call, a, s);
    case TRINE_SCAN_MUL: return scan_floats<scan_mul>(call, a, s);
    default: return scan_floats<scan_sum<float>>(call, a, s);
    }
}

} // namespace simt

#endif
