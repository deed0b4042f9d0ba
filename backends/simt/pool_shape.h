/* What the kernels of pool.h share: windows on the device, and the largest of a window. */
#ifndef TRINE_SIMT_POOL_SHAPE_H
#define TRINE_SIMT_POOL_SHAPE_H

#include "backends/simt/divider.h"
#include "backends/simt/map.h"
#include "core/pool_plan.h"

namespace simt {

enum { pool_batch = 3 /* taps of which a thread has loads in flight */ };

/* One spatial axis. Whatever is divided here is below 2^31. */
struct pool_axis : trine_pool_axis {
    divider32 by_stride, by_dilation;
    pool_axis() = default;
    explicit pool_axis(const trine_pool_axis &a) : trine_pool_axis(a), by_stride(a.stride), by_dilation(a.dilation) {}

    TRINE_METHOD int32_t first_of(int32_t o) const { return o * stride - padding; }
    TRINE_METHOD int32_t reach() const { return (kernel - 1) * dilation; } /* from a window's first tap to its last */
    /* trine_pool_taps without divisions */
    TRINE_DEVICE_METHOD int32_t taps(int32_t o, bool include_pad) const
    {
        const int32_t start = first_of(o), limit = include_pad ? in + padding : in;
        const int32_t skipped = !include_pad && start < 0 ? int32_t(by_dilation.divide(-start + dilation - 1)) : 0;
        int32_t end = start < limit ? int32_t(by_dilation.divide(limit - start + dilation - 1)) : 0;
        if (end > kernel) end = kernel;
        return end > skipped ? end - skipped : 0;
    }
    /* The outputs whose windows reach over an element: from last_over down to first_over; with dilation not all have it. */
    TRINE_METHOD int32_t last_over(int32_t element) const
    {
        const int32_t o = int32_t(by_stride.divide(element + padding));
        return o < out ? o : out - 1;
    }
    TRINE_METHOD int32_t first_over(int32_t element) const
    {
        const int32_t t = element + padding - reach();
        return t <= 0 ? 0 : int32_t(by_stride.divide(t + stride - 1));
    }
    TRINE_DEVICE_METHOD bool has(int32_t o, int32_t element) const
    {
        const int32_t t = element - first_of(o);
        return t >= 0 && t <= reach() && by_dilation.divide(t) * dilation == t;
    }
};

struct pool_shape {
    pool_axis height, width;
    divider_any rows; /* lines of a plane of what is written */
    int64_t lines;    /* of all planes */
    int64_t row[3], column[3], step[3];
    bool include_pad, wide;

    pool_shape(const trine_pool_plan &p, const trine_pool_window &w, const trine_tensor &indices, int64_t rows_)
        : height(p.height), width(p.width), rows(rows_), lines(p.planes.numel * rows_), include_pad(w.count_include_pad != 0),
          wide(indices.dtype == TRINE_I64)
    {
        for (int k = 0; k < 3; k++) {
            row[k] = p.row[k];
            column[k] = p.column[k];
            step[k] = p.step[k];
        }
    }
};

TRINE_DEVICE void put_index(const pool_shape &s, void *to, int64_t at, int32_t value)
{
    if (s.wide)
        static_cast<int64_t *>(to)[at] = value;
    else
        static_cast<int32_t *>(to)[at] = value;
}
TRINE_DEVICE int64_t get_index(const pool_shape &s, const void *from, int64_t at)
{
    return s.wide ? static_cast<const int64_t *>(from)[at] : static_cast<const int32_t *>(from)[at];
}

/* 1 / (the product of two counts of taps), within an ulp or two; of 0, NaN. A division's slow path would cost every thread
 * registers. */
TRINE_DEVICE float pool_weight(int32_t deep, int32_t wide)
{
    const float taps = float(deep) * float(wide), r = target::rcp_fast(taps);
    return target::fma_rn(target::fma_rn(-taps, r, 1.0f), r, r);
}

/* The largest so far and where it stands. Places are compared without sign, so that "none yet", -1, is behind all: the first of
 * equals wins in whatever order they come. NaN counts as largest. */
struct pool_largest {
    float value = -__builtin_inff();
    int32_t at = -1;
    TRINE_DEVICE_METHOD bool take(float other, int32_t place)
    {
        const bool larger = other > value || (other != other && value == value);
        const bool equal = other == value || (other != other && value != value);
        const bool taken = larger || (equal && uint32_t(place) < uint32_t(at));
        value = taken ? other : value;
        at = taken ? place : at;
        return taken;
    }
    /* The same where places come in rising order. */
    TRINE_DEVICE_METHOD void take_next(float other, int32_t place)
    {
        const bool taken = (!(other <= value) && value == value) || at < 0;
        value = taken ? other : value;
        at = taken ? place : at;
    }
};

/* pool_batch taps of a window along one axis, from `tap` on, which stands at element `at`; asked for together. place: the elements,
 * -1 for those that don't exist. */
template <class T, int V> struct pool_taps {
    pack<T, V> in[pool_batch];
    int32_t place[pool_batch];
    TRINE_DEVICE_METHOD pool_taps(const pool_axis &axis, int32_t tap, int32_t at, const T *x, int64_t step)
    {
#pragma unroll
        for (int u = 0; u < pool_batch; u++) {
            place[u] = at + u * axis.dilation;
            if (tap + u >= axis.kernel || uint32_t(place[u]) >= uint32_t(axis.in)) place[u] = -1;
            if (place[u] >= 0) in[u] = load_pack<T, V>(x + place[u] * step);
        }
    }
};

} // namespace simt

#endif
