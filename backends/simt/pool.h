/* Pooling, forward and backward. Bound by bytes: windows overlap in the caches.
 *
 * A thread makes a pack of channels where they lie densely, 16 bytes at a time, else one output; neighbours in memory are made by
 * neighbouring threads. The backward gathers: an element adds up the windows that it is in, so that nothing is added in an order
 * that changes. */
#ifndef TRINE_SIMT_POOL_H
#define TRINE_SIMT_POOL_H

#include "backends/simt/divider.h"
#include "backends/simt/map.h"
#include "core/pool_plan.h"

namespace simt {

struct pool_shape {
    trine_pool_axis height, width;
    divider_any packs, columns, rows; /* of an output index: packs side by side, then columns and rows of the output */
    int64_t row[3], column[3], step[3];
    int64_t count; /* threads with work */
    bool include_pad, wide;
};

/* Which output a thread makes, and where its planes begin. */
template <int V> struct pool_place {
    int32_t row, column;
    int64_t offset[3];
    bool inside;
    TRINE_DEVICE_METHOD pool_place(const pool_shape &s, const walk<3, divider_any> &planes)
    {
        int64_t index = int64_t(target::block_x()) * map_threads + target::thread_x();
        inside = index < s.count;
        if (!inside) return;
        int64_t rest = s.packs.divide(index);
        const int64_t inner = (index - rest * s.packs.d) * V;
        index = rest;
        rest = s.columns.divide(index);
        column = int32_t(index - rest * s.columns.d);
        index = rest;
        rest = s.rows.divide(index);
        row = int32_t(index - rest * s.rows.d);
        planes.offsets(rest, offset);
#pragma unroll
        for (int k = 0; k < 3; k++) offset[k] += inner * s.step[k];
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
 * registers.
 */
TRINE_DEVICE float pool_weight(int32_t deep, int32_t wide)
{
    const float taps = float(deep) * float(wide), r = target::rcp_fast(taps);
    return target::fma_rn(target::fma_rn(-taps, r, 1.0f), r, r);
}

template <class T, int V, bool average> TRINE_KERNEL(map_threads)
pool_kernel(pool_shape s, walk<3, divider_any> planes, T *y, const T *x, void *indices)
{
    const pool_place<V> at(s, planes);
    if (!at.inside) return;
    float best[V];
    int32_t where[V];
#pragma unroll
    for (int i = 0; i < V; i++) {
        best[i] = average ? 0.0f : -__builtin_inff();
        where[i] = -1;
    }
    x += at.offset[1];
    for (int32_t i = 0, h = at.row * s.height.stride - s.height.padding; i < s.height.kernel; i++, h += s.height.dilation) {
        if (unsigned(h) >= unsigned(s.height.in)) continue;
        const T *line = x + h * s.row[1];
        for (int32_t j = 0, w = at.column * s.width.stride - s.width.padding; j < s.width.kernel; j++, w += s.width.dilation) {
            if (unsigned(w) >= unsigned(s.width.in)) continue;
            const pack<T, V> in = load_pack<T, V>(line + w * s.column[1]);
#pragma unroll
            for (int v = 0; v < V; v++) {
                const float value = to_f32(in.at[v]);
                if (average) {
                    best[v] += value;
                } else {
                    const bool larger = value > best[v] || (value != value && best[v] == best[v]) || where[v] < 0;
                    best[v] = larger ? value : best[v];
                    where[v] = larger ? h * s.width.in + w : where[v];
                }
            }
        }
    }
    const float weight = average ? pool_weight(trine_pool_taps(&s.height, at.row, s.include_pad),
                                               trine_pool_taps(&s.width, at.column, s.include_pad))
                                 : 1.0f;
    pack<T, V> out;
#pragma unroll
    for (int v = 0; v < V; v++) out.at[v] = from_f32<T>(average ? best[v] * weight : best[v]);
    store_pack<T, V>(y + at.offset[0] + at.row * s.row[0] + at.column * s.column[0], out);
    if (average || !indices) return;
    const int64_t to = at.offset[2] + at.row * s.row[2] + at.column * s.column[2];
#pragma unroll
    for (int v = 0; v < V; v++) put_index(s, indices, to + v * s.step[2], where[v]);
}

/* Tap j of an element: the output whose window has the element there; -1: none. */
TRINE_DEVICE int32_t pool_window_of(const trine_pool_axis &a, int32_t element, int32_t j)
{
    const int32_t t = element + a.padding - j * a.dilation, o = t / a.stride;
    return t >= 0 && o * a.stride == t && o < a.out ? o : -1;
}

template <class T, int V, bool average> TRINE_KERNEL(map_threads)
pool_backward_kernel(pool_shape s, walk<3, divider_any> planes, T *dx, const T *dy, const void *indices)
{
    const pool_place<V> at(s, planes);
    if (!at.inside) return;
    const int32_t own = at.row * s.width.in + at.column;
    float sum[V] = {};
    for (int32_t i = 0; i < s.height.kernel; i++) {
        const int32_t row = pool_window_of(s.height, at.row, i);
        if (row < 0) continue;
        const int32_t deep = average ? trine_pool_taps(&s.height, row, s.include_pad) : 1;
        for (int32_t j = 0; j < s.width.kernel; j++) {
            const int32_t column = pool_window_of(s.width, at.column, j);
            if (column < 0) continue;
            const pack<T, V> in = load_pack<T, V>(dy + at.offset[0] + row * s.row[0] + column * s.column[0]);
            const float weight = average ? pool_weight(deep, trine_pool_taps(&s.width, column, s.include_pad)) : 1.0f;
            const int64_t from = at.offset[2] + row * s.row[2] + column * s.column[2];
#pragma unroll
            for (int v = 0; v < V; v++) {
                if (average)
                    sum[v] = target::fma_rn(to_f32(in.at[v]), weight, sum[v]);
                else if (get_index(s, indices, from + v * s.step[2]) == own)
                    sum[v] += to_f32(in.at[v]);
            }
        }
    }
    pack<T, V> out;
#pragma unroll
    for (int v = 0; v < V; v++) out.at[v] = from_f32<T>(sum[v]);
    store_pack<T, V>(dx + at.offset[1] + at.row * s.row[1] + at.column * s.column[1], out);
}

/* ---- Host ---- */

/* `rows` x `columns`: of what is written. */
inline pool_shape pool_shape_of(const trine_pool_plan &p, const trine_pool_window &w, const trine_tensor &indices, int V,
                                int64_t rows, int64_t columns)
{
    pool_shape s = {};
    s.height = p.height;
    s.width = p.width;
    s.packs = divider_any(p.inner / V);
    s.columns = divider_any(columns);
    s.rows = divider_any(rows);
    for (int k = 0; k < 3; k++) {
        s.row[k] = p.row[k];
        s.column[k] = p.column[k];
        s.step[k] = p.step[k];
    }
    s.count = p.planes.numel * rows * columns * (p.inner / V);
    s.include_pad = w.count_include_pad != 0;
    s.wide = indices.dtype == TRINE_I64;
    return s;
}

/* Channels move in packs of V. */
inline bool pool_packed(const trine_pool_plan &p, int V, const void *out, const void *in)
{
    bool fit = p.inner % V == 0 && p.inner >= V && aligned16(out) && aligned16(in);
    for (int k = 0; k < 2; k++) {
        fit = fit && p.row[k] % V == 0 && p.column[k] % V == 0;
        for (int d = 0; d < p.planes.ndim; d++) fit = fit && (p.planes.size[d] == 1 || p.planes.stride[k][d] % V == 0);
    }
    return fit;
}

template <class T, int V> inline trine_status launch_pool(trine_call *call, const trine_pool_args *a, const trine_pool_plan &p)
{
    const pool_shape s = pool_shape_of(p, a->window, a->indices, V, p.height.out, p.width.out);
    const walk<3, divider_any> planes(p.planes);
    const grid g(ceil_div(s.count, map_threads));
    const auto kernel = a->kind == TRINE_POOL_MAX ? pool_kernel<T, V, false> : pool_kernel<T, V, true>;
    return launch(call, kernel, g, map_threads, 0, s, planes, data_of<T>(a->y), static_cast<const T *>(data_of<T>(a->x)),
                  a->indices.data);
}

inline trine_status pool(trine_call *call, const trine_pool_args *a)
{
    if (trine_tensor_numel(&a->y) == 0) return TRINE_OK;
    const trine_pool_plan p = trine_pool_plan_make(&a->y, &a->x, &a->indices, &a->window, a->channels_last);
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        constexpr int V = pack_of<T>;
        return pool_packed(p, V, a->y.data, a->x.data) ? launch_pool<T, V>(call, a, p) : launch_pool<T, 1>(call, a, p);
    });
}

template <class T, int V>
inline trine_status launch_pool_backward(trine_call *call, const trine_pool_backward_args *a, const trine_pool_plan &p)
{
    const pool_shape s = pool_shape_of(p, a->window, a->indices, V, p.height.in, p.width.in);
    const walk<3, divider_any> planes(p.planes);
    const grid g(ceil_div(s.count, map_threads));
    const auto kernel = a->kind == TRINE_POOL_MAX ? pool_backward_kernel<T, V, false> : pool_backward_kernel<T, V, true>;
    return launch(call, kernel, g, map_threads, 0, s, planes, data_of<T>(a->dx), static_cast<const T *>(data_of<T>(a->dy)),
                  static_cast<const void *>(a->indices.data));
}

inline trine_status pool_backward(trine_call *call, const trine_pool_backward_args *a)
{
    if (trine_tensor_numel(&a->dx) == 0) return TRINE_OK;
    const trine_pool_plan p = trine_pool_plan_make(&a->dy, &a->dx, &a->indices, &a->window, a->channels_last);
    return visit_floats(call, a->dy.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        constexpr int V = pack_of<T>;
        return pool_packed(p, V, a->dy.data, a->dx.data) ? launch_pool_backward<T, V>(call, a, p)
                                                         : launch_pool_backward<T, 1>(call, a, p);
    });
}

} // namespace simt

/* ---- The backend's functions: they take any arguments that pass the core's checks, and no workspace ---- */

extern "C" trine_status TRINE_BACKEND_FN(pool)(trine_call *call, const trine_pool_args *a)
{
    call->variant = target::variant;
    TRINE_END_OF_QUERY(call, 0);
    return simt::pool(call, a);
}

extern "C" trine_status TRINE_BACKEND_FN(pool_backward)(trine_call *call, const trine_pool_backward_args *a)
{
    call->variant = target::variant;
    TRINE_END_OF_QUERY(call, 0);
    return simt::pool_backward(call, a);
}

#endif
