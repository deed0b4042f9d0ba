/* What the kernels of pool.h share: windows on the device, and the largest of a window. */
#ifndef TRINE_SIMT_POOL_SHAPE_H
#define TRINE_SIMT_POOL_SHAPE_H

#include "backends/simt/divider.h"
#include "backends/simt/map.h"
#include "backends/simt/reduce_ops.h"
#include "core/pool_plan.h"

namespace simt {

enum { pool_batch = 3 /* taps of which a thread has loads in flight */ };
enum { pool_nowhere = 1 << 30 /* an element that no axis has, however many taps are added */ };

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
    TRINE_DEVICE_METHOD bool has(int32_t o, int32_t element) const { return reaches(element - first_of(o)); }
    /* A window has the element that is t behind its first. */
    TRINE_DEVICE_METHOD bool reaches(int32_t t) const
    {
        return t >= 0 && t <= reach() && (dilation == 1 || by_dilation.divide(t) * dilation == t);
    }
    /* How many of them there are at most. */
    TRINE_METHOD int32_t most_over() const { return int32_t(by_stride.divide(reach())) + 1; }
};

struct pool_shape {
    pool_axis height, width;
    divider_any rows; /* lines of a plane of what is written */
    int64_t lines;    /* of all planes */
    int64_t row[3], column[3], step[3];
    int32_t near_row[3], near_column[3]; /* the same, where a plane's offsets have 31 bits */
    bool include_pad, wide;

    pool_shape(const trine_pool_plan &p, const trine_pool_window &w, const trine_tensor &indices, int64_t rows_)
        : height(p.height), width(p.width), rows(rows_), lines(p.planes.numel * rows_), include_pad(w.count_include_pad != 0),
          wide(indices.dtype == TRINE_I64)
    {
        for (int k = 0; k < 3; k++) {
            row[k] = p.row[k];
            column[k] = p.column[k];
            step[k] = p.step[k];
            near_row[k] = int32_t(p.row[k]);
            near_column[k] = int32_t(p.column[k]);
        }
    }
    /* Where a column of a row of operand k is. Kernels of packs are only for planes that are near. */
    template <int V> TRINE_DEVICE_METHOD int64_t place(int k, int32_t row_, int32_t column_) const
    {
        if constexpr (V > 1)
            return row_ * near_row[k] + column_ * near_column[k];
        else
            return row_ * row[k] + column_ * column[k];
    }
    template <int V> TRINE_DEVICE_METHOD int64_t along(int k, int32_t column_) const { return place<V>(k, 0, column_); }
};

/* Where channel `inner` of a column is: packs go along channels that lie side by side. */
template <int V> TRINE_DEVICE int64_t pool_step(int32_t inner, int64_t step) { return V > 1 ? inner : inner * step; }

/* Places in a plane, i32 or i64, of V channels that lie side by side. */
TRINE_DEVICE void put_index(const pool_shape &s, void *to, int64_t at, int32_t value)
{
    if (s.wide)
        static_cast<int64_t *>(to)[at] = value;
    else
        static_cast<int32_t *>(to)[at] = value;
}
template <int V> TRINE_DEVICE void put_places(const pool_shape &s, void *to, int64_t at, const int32_t (&value)[V])
{
    pack<int32_t, V> narrow;
    pack<int64_t, V> wide;
#pragma unroll
    for (int v = 0; v < V; v++) wide.at[v] = narrow.at[v] = value[v];
    if (s.wide)
        store_pack<int64_t, V>(static_cast<int64_t *>(to) + at, wide);
    else
        store_pack<int32_t, V>(static_cast<int32_t *>(to) + at, narrow);
}
/* -1 for what is no place of a plane. */
template <int V> TRINE_DEVICE pack<int32_t, V> get_places(const pool_shape &s, const void *from, int64_t at)
{
    if (!s.wide) return load_pack<int32_t, V>(static_cast<const int32_t *>(from) + at);
    const pack<int64_t, V> wide = load_pack<int64_t, V>(static_cast<const int64_t *>(from) + at);
    pack<int32_t, V> narrow;
#pragma unroll
    for (int v = 0; v < V; v++) narrow.at[v] = wide.at[v] == int32_t(wide.at[v]) ? int32_t(wide.at[v]) : -1;
    return narrow;
}

/* 1 / (the product of two counts of taps), within an ulp or two; of 0, NaN. A division's slow path would cost every thread
 * registers. */
TRINE_DEVICE float pool_weight(int32_t deep, int32_t wide)
{
    const float taps = float(deep) * float(wide), r = target::rcp_fast(taps);
    return target::fma_rn(target::fma_rn(-taps, r, 1.0f), r, r);
}

/* The weights of a row's windows, of which each has `deep` rows that count. */
struct pool_weights {
    float whole; /* of a window that lies inside of the row */
    int32_t deep;
    bool include_pad;
    TRINE_DEVICE_METHOD pool_weights(const pool_axis &width, int32_t deep_, bool include_pad_)
        : whole(pool_weight(deep_, width.kernel)), deep(deep_), include_pad(include_pad_)
    {
    }
    TRINE_DEVICE_METHOD float of(const pool_axis &width, int32_t o) const
    {
        const int32_t first = width.first_of(o);
        return first >= 0 && first + width.reach() < width.in ? whole : pool_weight(deep, width.taps(o, include_pad));
    }
};

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
};

/* What a window makes of its taps: their sum, the largest, or the largest and where it stands. */
enum { POOL_SUM, POOL_LARGEST, POOL_PLACE };

/* Whether the largest of T are found two in a word. Which of two zeros wins does not matter: value() makes both +0. */
template <class T, int V, int mode> constexpr bool pool_pairs = mode == POOL_LARGEST &&
                                                                sizeof(T) == 2 && V % 2 == 0 && target::has_pairs;

/* Between elements of a plane: near (pool_shape) or not. */
template <bool near> struct pool_distance {
    using type = int64_t;
};
template <> struct pool_distance<true> {
    using type = int32_t;
};

/* pool_batch taps of a window along one axis, from `tap` on, which stands at element `at`; asked for together. place: the elements,
 * -1 for those that don't exist. */
template <class T, int V> struct pool_taps {
    using distance = typename pool_distance<(V > 1)>::type;
    pack<T, V> in[pool_batch];
    int32_t place[pool_batch];
    TRINE_DEVICE_METHOD void load(const pool_axis &axis, int32_t tap, int32_t at, const T *x, distance step)
    {
#pragma unroll
        for (int u = 0; u < pool_batch; u++) {
            place[u] = at + u * axis.dilation;
            if (tap + u >= axis.kernel || uint32_t(place[u]) >= uint32_t(axis.in)) place[u] = -1;
            if (place[u] >= 0) in[u] = load_pack<T, V>(x + place[u] * step);
        }
    }
};

template <class T, int V, int mode, bool pairs = pool_pairs<T, V, mode>> struct pool_fold {
    float value[V];
    int32_t at[mode == POOL_PLACE ? V : 1];
    TRINE_DEVICE_METHOD pool_fold()
    {
#pragma unroll
        for (int v = 0; v < V; v++) {
            value[v] = mode == POOL_SUM ? 0.0f : -__builtin_inff();
            if constexpr (mode == POOL_PLACE) at[v] = -1;
        }
    }
    /* Places come in rising order; the first of equals wins. */
    TRINE_DEVICE_METHOD void take(const pack<T, V> &in, int32_t place)
    {
#pragma unroll
        for (int v = 0; v < V; v++) {
            const float other = to_f32(in.at[v]);
            if constexpr (mode == POOL_SUM) {
                value[v] += other;
            } else if constexpr (mode == POOL_LARGEST) {
                value[v] = target::maximum(value[v], other);
            } else {
                const bool taken = (!(other <= value[v]) && value[v] == value[v]) || at[v] < 0;
                value[v] = taken ? other : value[v];
                at[v] = taken ? place : at[v];
            }
        }
    }
    /* first: what is added to the places. */
    TRINE_DEVICE_METHOD void take(const pool_taps<T, V> &taps, int32_t first)
    {
#pragma unroll
        for (int u = 0; u < pool_batch; u++)
            if (taps.place[u] >= 0) take(taps.in[u], first + taps.place[u]);
    }
    TRINE_DEVICE_METHOD pack<T, V> result(float weight) const
    {
        pack<T, V> out;
#pragma unroll
        for (int v = 0; v < V; v++) out.at[v] = from_f32<T>(mode == POOL_SUM ? value[v] * weight : value[v] + 0.0f);
        return out;
    }
};
template <class T, int V, int mode> struct pool_fold<T, V, mode, true> {
    pack<uint32_t, V / 2> word;
    TRINE_DEVICE_METHOD pool_fold()
    {
#pragma unroll
        for (int i = 0; i < V / 2; i++) word.at[i] = is_bf16<T> ? 0xff80ff80u : 0xfc00fc00u; /* -inf */
    }
    TRINE_DEVICE_METHOD void take(const pack<T, V> &in, int32_t)
    {
        const auto &other = reinterpret_cast<const pack<uint32_t, V / 2> &>(in);
#pragma unroll
        for (int i = 0; i < V / 2; i++) word.at[i] = target::maximum_of_pairs<is_bf16<T>>(word.at[i], other.at[i]);
    }
    TRINE_DEVICE_METHOD void take(const pool_taps<T, V> &taps, int32_t)
    {
#pragma unroll
        for (int u = 0; u < pool_batch; u++)
            if (taps.place[u] >= 0) take(taps.in[u], 0);
    }
    TRINE_DEVICE_METHOD pack<T, V> result(float) const
    {
        pack<uint32_t, V / 2> out;
#pragma unroll
        for (int i = 0; i < V / 2; i++) out.at[i] = target::equal_zeros_of_pairs<is_bf16<T>>(word.at[i]);
        return reinterpret_cast<const pack<T, V> &>(out);
    }
};

} // namespace simt

#endif
