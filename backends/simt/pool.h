/* Pooling, forward and backward. Bound by bytes: windows overlap in the caches or in shared memory.
 *
 * Where neighbours in memory are channels: pool_rows.h. Where they are columns of a plane: pool_lines.h forward, pool_slabs.h
 * backward; windows too large for these go the first way, an element a thread. What is most common has ways of its own: planes whose
 * columns are halved, pool_halves.h, and gradients where windows overlap little, pool_walk.h. */
#ifndef TRINE_SIMT_POOL_H
#define TRINE_SIMT_POOL_H

#include "backends/simt/pool_halves.h"
#include "backends/simt/pool_lines.h"
#include "backends/simt/pool_rows.h"
#include "backends/simt/pool_slabs.h"
#include "backends/simt/pool_walk.h"

namespace simt {

/* Operand k moves in packs of V that lie along the innermost axis, whose size is n: rows, columns (of channels) and planes are
 * whole packs apart. */
inline bool pool_packed(const trine_pool_plan &p, int V, int k, const void *data, int64_t n, int64_t column)
{
    bool fit = n % V == 0 && n >= V && aligned16(data) && p.row[k] % V == 0 && column % V == 0;
    for (int d = 0; d < p.planes.ndim; d++) fit = fit && (p.planes.size[d] == 1 || p.planes.stride[k][d] % V == 0);
    return fit;
}

/* No offset in a plane of any operand leaves 31 bits. */
inline bool pool_near(const trine_pool_plan &p)
{
    const auto size = [](int64_t step) { return step < 0 ? -step : step; };
    bool near = true;
    for (int k = 0; k < TRINE_POOL_OPERANDS; k++) {
        const int64_t rows = k == 1 ? p.height.in : p.height.out, columns = k == 1 ? p.width.in : p.width.out;
        near = near && size(p.row[k]) <= INT32_MAX && size(p.column[k]) <= INT32_MAX &&
               size(p.row[k]) * rows + size(p.column[k]) * columns <= INT32_MAX;
    }
    return near;
}

/* Along channels, of y, x and indices alike; and along the columns of x. */
inline bool pool_packed_channels(const trine_pool_plan &p, int V, const void *y, const void *x, const trine_tensor &indices)
{
    return pool_near(p) && pool_packed(p, V, 0, y, p.inner, p.column[0]) && pool_packed(p, V, 1, x, p.inner, p.column[1]) &&
           (!trine_is_given(&indices) || (p.step[2] == 1 && pool_packed(p, V, 2, indices.data, p.inner, p.column[2])));
}
inline bool pool_packed_columns(const trine_pool_plan &p, int V, const void *x)
{
    return pool_near(p) && p.column[1] == 1 && pool_packed(p, V, 1, x, p.width.in, 0);
}

/* Of a kernel's three ways that of the call. */
template <class K> inline K pool_choice(const trine_pool_args *a, K sum, K largest, K place)
{
    return a->kind == TRINE_POOL_AVERAGE ? sum : trine_is_given(&a->indices) ? place : largest;
}

template <class T, int V>
inline trine_status launch_pool_rows(trine_call *call, const trine_pool_args *a, const trine_pool_plan &p)
{
    const pool_shape s(p, a->window, a->indices, p.height.out);
    const pool_rows_plan plan(call, s.lines, p.width.out, p.inner / V);
    const auto kernel = pool_choice(a, pool_rows_kernel<T, V, POOL_SUM>, pool_rows_kernel<T, V, POOL_LARGEST>,
                                    pool_rows_kernel<T, V, POOL_PLACE>);
    return launch(call, kernel, grid(plan.blocks(s.lines)), map_threads, 0, s, plan, walk<3, divider_any>(p.planes),
                  data_of<T>(a->y), static_cast<const T *>(data_of<T>(a->x)), a->indices.data);
}

template <class T, int V> inline trine_status launch_pool_lines(trine_call *call, const trine_pool_args *a,
                                                                const trine_pool_plan &p, const pool_lines_plan &plan)
{
    const pool_shape s(p, a->window, a->indices, p.height.out);
    const auto kernel = pool_choice(a, pool_lines_kernel<T, V, POOL_SUM>, pool_lines_kernel<T, V, POOL_LARGEST>,
                                    pool_lines_kernel<T, V, POOL_PLACE>);
    return launch(call, kernel, grid(plan.tiles * ceil_div(s.lines, plan.lines)), map_threads, 0, s, plan,
                  walk<3, divider_any>(p.planes), data_of<T>(a->y), static_cast<const T *>(data_of<T>(a->x)), a->indices.data);
}

/* Along the columns of y, x and indices alike. */
inline bool pool_packed_halves(const trine_pool_plan &p, int V, const void *y, const void *x, const trine_tensor &indices)
{
    return p.inner == 1 && pool_halves(p.width) && pool_packed_columns(p, V, x) && p.column[0] == 1 &&
           pool_packed(p, V, 0, y, p.width.out, 0) &&
           (!trine_is_given(&indices) || (p.column[2] == 1 && pool_packed(p, V, 2, indices.data, p.width.out, 0)));
}

template <class T, int V>
inline trine_status launch_pool_halves(trine_call *call, const trine_pool_args *a, const trine_pool_plan &p)
{
    const pool_shape s(p, a->window, a->indices, p.height.out);
    const int64_t packs = p.width.out / V;
    const auto kernel = pool_choice(a, pool_halves_kernel<T, V, POOL_SUM>, pool_halves_kernel<T, V, POOL_LARGEST>,
                                    pool_halves_kernel<T, V, POOL_PLACE>);
    return launch(call, kernel, grid(ceil_div(s.lines * packs, map_threads)), map_threads, 0, s, divider_any(packs),
                  walk<3, divider_any>(p.planes), data_of<T>(a->y), static_cast<const T *>(data_of<T>(a->x)), a->indices.data);
}

inline trine_status pool(trine_call *call, const trine_pool_args *a)
{
    if (trine_tensor_numel(&a->y) == 0) return TRINE_OK;
    const trine_pool_plan p = trine_pool_plan_make(&a->y, &a->x, &a->indices, &a->window, a->channels_last);
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        constexpr int V = pack_of<T>;
        if (pool_packed_channels(p, V, a->y.data, a->x.data, a->indices)) return launch_pool_rows<T, V>(call, a, p);
        if (pool_packed_halves(p, V, a->y.data, a->x.data, a->indices)) return launch_pool_halves<T, V>(call, a, p);
        const pool_lines_plan packed(p.width, V), single(p.width, 1);
        if (p.inner == 1 && packed.fits() && pool_packed_columns(p, V, a->x.data))
            return launch_pool_lines<T, V>(call, a, p, packed);
        if (p.inner == 1 && single.fits()) return launch_pool_lines<T, 1>(call, a, p, single);
        return launch_pool_rows<T, 1>(call, a, p);
    });
}

template <class T, int V>
inline trine_status launch_pool_rows_backward(trine_call *call, const trine_pool_backward_args *a, const trine_pool_plan &p)
{
    const pool_shape s(p, a->window, a->indices, p.height.in);
    const pool_rows_plan plan(call, s.lines, p.width.in, p.inner / V);
    const auto kernel =
        a->kind == TRINE_POOL_MAX ? pool_rows_backward_kernel<T, V, false> : pool_rows_backward_kernel<T, V, true>;
    return launch(call, kernel, grid(plan.blocks(s.lines)), map_threads, 0, s, plan, walk<3, divider_any>(p.planes),
                  data_of<T>(a->dx), static_cast<const T *>(data_of<T>(a->dy)), static_cast<const void *>(a->indices.data));
}

template <class T, int V> inline trine_status launch_pool_slabs(trine_call *call, const trine_pool_backward_args *a,
                                                                const trine_pool_plan &p, const pool_slab_plan &plan)
{
    const pool_shape s(p, a->window, a->indices, p.height.in);
    const walk<3, divider_any> planes(p.planes);
    T *dx = data_of<T>(a->dx);
    const T *dy = data_of<T>(a->dy);
    if (a->kind == TRINE_POOL_MAX)
        return launch(call, pool_slabs_max_kernel<T, V>, grid(plan.blocks()), map_threads, 0, s, plan, planes, dx, dy,
                      static_cast<const void *>(a->indices.data));
    return launch(call, pool_slabs_average_kernel<T, V>, grid(plan.blocks()), map_threads, 0, s, plan, planes, dx, dy);
}

/* Of a gradient along columns, n windows that begin at a multiple of n lie in packs of dy and of indices. */
inline bool pool_half_packs(const trine_pool_backward_args *a, const trine_pool_plan &p, int n)
{
    return p.width.padding < 2 && p.column[0] == 1 && pool_packed(p, n, 0, a->dy.data, p.width.out, 0) &&
           (!trine_is_given(&a->indices) || (p.column[2] == 1 && pool_packed(p, n, 2, a->indices.data, p.width.out, 0)));
}

template <class T, int V, bool channels>
inline trine_status launch_pool_walk(trine_call *call, const trine_pool_backward_args *a, const trine_pool_plan &p)
{
    const pool_shape s(p, a->window, a->indices, p.height.in);
    const int64_t deep = channels ? p.inner / V : 1;
    const pool_walk_plan plan(call, p, channels ? p.width.in * deep : p.width.in / V, deep,
                              !channels && pool_half_packs(a, p, V / 2));
    const auto kernel = a->kind == TRINE_POOL_MAX ? pool_walk_backward_kernel<T, V, channels, false>
                                                  : pool_walk_backward_kernel<T, V, channels, true>;
    return launch(call, kernel, grid(ceil_div(plan.threads, map_threads)), map_threads, 0, s, plan,
                  walk<3, divider_any>(p.planes), data_of<T>(a->dx), static_cast<const T *>(data_of<T>(a->dy)),
                  static_cast<const void *>(a->indices.data));
}

inline trine_status pool_backward(trine_call *call, const trine_pool_backward_args *a)
{
    if (trine_tensor_numel(&a->dx) == 0) return TRINE_OK;
    const trine_pool_plan p = trine_pool_plan_make(&a->dy, &a->dx, &a->indices, &a->window, a->channels_last);
    return visit_floats(call, a->dy.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        constexpr int V = pack_of<T>;
        const bool apart = pool_walk_plan::fits(p.height) && pool_walk_plan::fits(p.width) && p.height.out > 0 && p.width.out > 0;
        if (pool_packed_channels(p, V, a->dy.data, a->dx.data, a->indices))
            return apart ? launch_pool_walk<T, V, true>(call, a, p) : launch_pool_rows_backward<T, V>(call, a, p);
        if (apart && p.width.stride == 2 && p.inner == 1 && pool_packed_columns(p, V, a->dx.data))
            return launch_pool_walk<T, V, false>(call, a, p);
        const bool average = a->kind == TRINE_POOL_AVERAGE, packed = pool_packed_columns(p, V, a->dx.data);
        const pool_slab_plan slabs(p.height, p.width, p.planes.numel, packed ? V : 1, average);
        const bool apt = average ? p.height.dilation == 1 && p.width.dilation == 1 : slabs.fits() && slabs.few_colours();
        if (p.inner == 1 && slabs.fits() && apt)
            return packed ? launch_pool_slabs<T, V>(call, a, p, slabs) : launch_pool_slabs<T, 1>(call, a, p, slabs);
        return launch_pool_rows_backward<T, 1>(call, a, p);
    });
}

} // namespace simt

/* ---- The backend's functions: they need no workspace ---- */

extern "C" trine_status TRINE_BACKEND_FN(pool)(trine_call *call, const trine_pool_args *a)
{
    call->variant = target::variant;
    TRINE_REQUIRE_THAT(call, a->x.shape[a->channels_last ? a->x.ndim - 1 : 1] < INT32_MAX, "needs fewer than 2^31 channels");
    TRINE_END_OF_QUERY(call, 0);
    return simt::pool(call, a);
}

extern "C" trine_status TRINE_BACKEND_FN(pool_backward)(trine_call *call, const trine_pool_backward_args *a)
{
    call->variant = target::variant;
    TRINE_REQUIRE_THAT(call, a->dx.shape[a->channels_last ? a->dx.ndim - 1 : 1] < INT32_MAX, "needs fewer than 2^31 channels");
    TRINE_END_OF_QUERY(call, 0);
    return simt::pool_backward(call, a);
}

#endif
