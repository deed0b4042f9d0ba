/* depthwise, the host side: what fits, the block's shape, the launch. What does not fit runs as implicit_gemm, which has a kernel for
 * any depthwise convolution. */
#ifndef TRINE_SIMT_CONV_ROWS_RUN_H
#define TRINE_SIMT_CONV_ROWS_RUN_H

#include "backends/simt/conv.h"
#include "backends/simt/conv_planes.h"
#include "backends/simt/conv_planes_more.h"
#include "backends/simt/conv_rows_plan.h"

namespace simt {

inline int rows_columns_pack(const rows_shape &s, int64_t element_bytes)
{
    const auto dense = [](int32_t size, int64_t at) { return size == 1 || at == 1; };
    if (!dense(s.in[1], s.x_at[1]) || !dense(s.out[1], s.y_at[1])) return 0;
    const bool pairs = element_bytes == 2 && s.in[1] % 2 == 0 && s.out[1] % 2 == 0 &&
                       rows_pack(2, s.n, s.x_n, s.in, s.x_at, false) && rows_pack(2, s.n, s.y_n, s.out, s.y_at, false) &&
                       s.x_c % 2 == 0 && s.y_c % 2 == 0;
    return pairs ? 2 : 1;
}

/* Threads that a device should have to choose from: four times what it holds. */
inline int64_t rows_enough(const trine_call *call)
{
    return 2048 * int64_t(call->device->props.compute_units > 0 ? call->device->props.compute_units : 1);
}

/* Parts of the columns of d, of at least two filters' rows, an even number of them where a stride wants pairs. */
template <class T> inline void rows_divide(const trine_call *call, rows_problem<T> *p, int32_t columns, int64_t others, int even)
{
    const int32_t height = p->s.out[0], least = 2 * p->s.taps[0] < 4 ? 4 : 2 * p->s.taps[0];
    p->strips = int32_t(ceil_div(p->s.out[1] + (even > 1 ? p->s.padding[1] % 2 : 0), columns));
    p->chunks = 1;
    while (p->strips * p->chunks * others < rows_enough(call) && ceil_div(height, p->chunks + 1) >= least) p->chunks++;
    p->rows = int32_t(ceil_div(ceil_div(height, p->chunks), even) * even);
    p->chunks = int32_t(ceil_div(height + (even > 1 ? p->s.padding[0] % 2 : 0), p->rows));
}

/* Lanes along the channels: multiples of 4, with few threads over. */
inline int32_t rows_choose_lanes(int64_t packs)
{
    int32_t best = 8;
    double least = 1e300;
    for (int32_t lanes = 8; lanes <= rows_lanes; lanes += 4) {
        const double waste = double(ceil_div(packs, lanes) * lanes) / double(packs) * rows_threads /
                             double(rows_threads / lanes * lanes) * (1 + 0.8 / lanes);
        if (waste >= least) continue;
        least = waste;
        best = lanes;
    }
    return best;
}

enum rows_kind { rows_march_kind, rows_stride_kind, rows_spread_kind };

template <class T, int S> inline trine_status rows_launch_channels(trine_call *call, rows_problem<T> p, rows_kind kind)
{
    constexpr int V = rows_pack_bytes(S) / sizeof(T);
    const int64_t packs = p.s.channels / V;
    p.lanes = rows_choose_lanes(packs);
    rows_divide(call, &p, kind == rows_spread_kind ? 8 : int(rows_columns), p.s.n * packs, kind == rows_spread_kind ? 2 : 1);
    p.items = p.strips * p.chunks * p.s.n;
    const int64_t groups = ceil_div(packs, p.lanes), blocks = ceil_div(p.items, rows_threads / p.lanes) * groups;
    if constexpr (S <= rows_most_taps_stride) {
        if (kind == rows_stride_kind)
            return launch(call, conv_rows_stride_kernel<T, V, S>, grid(blocks), rows_threads, 0, p, groups);
        if (kind == rows_spread_kind)
            return launch(call, conv_rows_spread_kernel<T, V, S>, grid(blocks), rows_threads, 0, p, groups);
    }
    return launch(call, conv_rows_kernel<T, V, S>, grid(blocks), rows_threads, 0, p, groups);
}

template <class T, int V, int S> inline trine_status rows_launch_planes(trine_call *call, rows_problem<T> p)
{
    rows_divide(call, &p, V, int64_t(p.s.n) * p.s.channels, 1);
    p.items = p.strips * p.chunks * p.s.n * p.s.channels;
    return launch(call, conv_planes_kernel<T, V, S>, grid(ceil_div(p.items, rows_threads)), rows_threads, 0, p);
}

template <class T, int S> inline trine_status rows_launch_planes_stride(trine_call *call, rows_problem<T> p, rows_kind kind)
{
    const bool spread = kind == rows_spread_kind;
    rows_divide(call, &p, spread ? 2 : 1, int64_t(p.s.n) * p.s.channels, spread ? 2 : 1);
    p.items = p.strips * p.chunks * p.s.n * p.s.channels;
    return launch(call, spread ? conv_planes_spread_kernel<T, S> : conv_planes_stride_kernel<T, S>,
                  grid(ceil_div(p.items, rows_threads)), rows_threads, 0, p);
}

template <class F> inline trine_status rows_visit_taps(const rows_shape &s, F f)
{
    if (s.taps[0] == 3) return f(std::integral_constant<int, 3>());
    return s.taps[0] == 5 ? f(std::integral_constant<int, 5>()) : f(std::integral_constant<int, 7>());
}

template <class T> inline trine_status rows_run(trine_call *call, const rows_problem<T> &p, rows_kind kind)
{
    return rows_visit_taps(p.s, [&](auto taps) {
        constexpr int S = decltype(taps)::value;
        if (rows_channels_pack(p.s, sizeof(T), rows_pack_bytes(S))) return rows_launch_channels<T, S>(call, p, kind);
        if constexpr (S <= rows_most_taps_stride)
            if (kind != rows_march_kind) return rows_launch_planes_stride<T, S>(call, p, kind);
        if constexpr (sizeof(T) == 2)
            if (rows_columns_pack(p.s, sizeof(T)) == 2 && rows_aligned(p, 2)) return rows_launch_planes<T, 2, S>(call, p);
        return rows_launch_planes<T, 1, S>(call, p);
    });
}

/* How the tensors must lie. */
inline trine_status rows_check_layout(trine_call *call, const rows_shape &s, int64_t element_bytes)
{
    TRINE_REQUIRE_THAT(call, rows_channels_pack(s, element_bytes, rows_pack_bytes(s.taps[0])) || planes_lie(s),
                       "needs channels that lie densely, in packs of 8 bytes (3 x 3) or 4, or columns that do");
    return TRINE_OK;
}

/* f(problem) with what all ops have; what is not aligned as `V` wants is implicit_gemm's, `portable`. */
template <class F> inline trine_status rows_call(trine_call *call, const rows_shape &s, const trine_tensor &x,
                                                 const void *filters, const trine_tensor &y, rows_kind kind, F portable,
                                                 const trine_conv_args *epilogue)
{
    const trine_status status = rows_check_layout(call, s, trine_dtype_bits(x.dtype) / 8);
    if (status != TRINE_OK) return status;
    TRINE_END_OF_QUERY(call, 0);
    return visit_floats(call, x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        const rows_problem<T> p = rows_problem_of<T>(s, x, filters, y, epilogue);
        if (const int V = rows_channels_pack(s, sizeof(T), rows_pack_bytes(s.taps[0])))
            if (!rows_aligned(p, V)) return portable();
        return rows_run(call, p, kind);
    });
}

inline trine_status depthwise_forward(trine_call *call, const void *args)
{
    const trine_conv_args *a = static_cast<const trine_conv_args *>(args);
    const trine_conv_shape s = trine_conv_shape_make(&a->x, &a->weight, &a->y, &a->window, a->channels_last);
    const trine_status status = rows_check(call, s);
    if (status != TRINE_OK) return status;
    return rows_call(
        call, rows_shape_of(s), a->x, a->weight.data, a->y, rows_stride(s) == 1 ? rows_march_kind : rows_stride_kind,
        [&] { return conv_forward(call, args); }, a);
}

inline trine_status depthwise_data(trine_call *call, const void *args)
{
    const trine_conv_backward_data_args *a = static_cast<const trine_conv_backward_data_args *>(args);
    const trine_conv_shape s = trine_conv_shape_make(&a->dx, &a->weight, &a->dy, &a->window, a->channels_last);
    const trine_status status = rows_check(call, s);
    if (status != TRINE_OK) return status;
    const bool spread = rows_stride(s) == 2;
    rows_shape r = rows_swapped(rows_shape_of(s));
    const void *filters = a->weight.data;
    if (!spread) filters = rows_backwards(&r, s, filters, trine_dtype_bits(a->dy.dtype) / 8);
    return rows_call(
        call, r, a->dy, filters, a->dx, spread ? rows_spread_kind : rows_march_kind, [&] { return conv_data(call, args); },
        nullptr);
}

/* ---- The filters' gradient ---- */

struct rows_weight_plan {
    int32_t lanes, strips, chunks, rows, items;
    int64_t groups, lines;
};

/* About four blocks a unit, all with as many parts of four rows. */
inline rows_weight_plan rows_plan_weight(const trine_call *call, const rows_shape &s, int V)
{
    const int64_t units = call->device->props.compute_units > 0 ? call->device->props.compute_units : 1;
    rows_weight_plan p = {};
    p.lanes = rows_choose_lanes(s.channels / V);
    p.groups = ceil_div(s.channels / V, p.lanes);
    p.rows = 4;
    p.strips = int32_t(ceil_div(s.out[1], int(rows_columns)));
    p.chunks = int32_t(ceil_div(s.out[0], p.rows));
    p.items = p.strips * p.chunks * s.n;
    const int64_t per = rows_threads / p.lanes, most = ceil_div(4 * units, p.groups), rounds = ceil_div(p.items, most * per);
    p.lines = ceil_div(p.items, rounds * per);
    return p;
}

/* Channels first: items of four rows and a column, `lines` blocks a channel. */
inline rows_weight_plan planes_plan_weight(const trine_call *call, const rows_shape &s)
{
    rows_weight_plan p = {};
    p.lanes = 1;
    p.rows = planes_weight_rows;
    p.strips = s.out[1];
    p.chunks = int32_t(ceil_div(s.out[0], p.rows));
    p.items = p.strips * p.chunks * s.n;
    p.groups = s.channels;
    p.lines = planes_lines(call, s, p.items);
    return p;
}

template <class T> inline trine_status rows_run_weight(trine_call *call, rows_problem<T> p, const rows_weight_plan &plan,
                                                       bool strided, void *dweight, bool wide)
{
    constexpr int V = 4 / sizeof(T);
    float *const parts = reinterpret_cast<float *>((reinterpret_cast<uintptr_t>(call->workspace) + 15) / 16 * 16);
    const trine_status status = rows_visit_taps(p.s, [&](auto taps) {
        constexpr int S = decltype(taps)::value;
        const int64_t blocks = plan.lines * plan.groups;
        if constexpr (S <= rows_most_taps_stride)
            if (strided)
                return launch(call, conv_rows_weight_kernel<T, V, S, 2>, grid(blocks * rows_parts_of_taps<V, S, 2>), rows_threads,
                              0, p, parts, plan.groups, plan.lines);
        return launch(call, conv_rows_weight_kernel<T, V, S, 1>, grid(blocks * rows_parts_of_taps<V, S, 1>), rows_threads, 0, p,
                      parts, plan.groups, plan.lines);
    });
    if (status != TRINE_OK) return status;
    return planes_sum_parts<T>(call, p, parts, plan.lines, dweight, wide);
}

/* Channels first. */
template <class T>
inline trine_status planes_run_weight(trine_call *call, rows_problem<T> p, int64_t lines, bool strided, void *dweight, bool wide)
{
    float *const parts = reinterpret_cast<float *>((reinterpret_cast<uintptr_t>(call->workspace) + 15) / 16 * 16);
    const trine_status status = rows_visit_taps(p.s, [&](auto taps) {
        constexpr int S = decltype(taps)::value;
        const grid blocks(lines * p.s.channels);
        if constexpr (S <= rows_most_taps_stride)
            if (strided) return launch(call, conv_planes_weight_kernel<T, S, 2>, blocks, rows_threads, 0, p, parts, lines);
        return launch(call, conv_planes_weight_kernel<T, S, 1>, blocks, rows_threads, 0, p, parts, lines);
    });
    return status == TRINE_OK ? planes_sum_parts<T>(call, p, parts, lines, dweight, wide) : status;
}

inline trine_status depthwise_weight(trine_call *call, const void *args)
{
    const trine_conv_backward_weight_args *a = static_cast<const trine_conv_backward_weight_args *>(args);
    const trine_conv_shape s = trine_conv_shape_make(&a->x, &a->dweight, &a->dy, &a->window, a->channels_last);
    const trine_status status = rows_check(call, s);
    if (status != TRINE_OK) return status;
    const rows_shape r = rows_shape_of(s);
    const int V = rows_channels_pack(r, trine_dtype_bits(a->x.dtype) / 8, 4);
    TRINE_REQUIRE_THAT(call, V > 0 || planes_lie(r),
                       "needs channels that lie densely, in pairs if of 16 bits, or columns that do");
    const rows_weight_plan plan = V > 0 ? rows_plan_weight(call, r, V) : planes_plan_weight(call, r);
    const size_t needed = size_t(plan.lines) * size_t(s.taps[0] * s.taps[1] * s.groups) * sizeof(float) + 16;
    if (V > 0 && (reinterpret_cast<uintptr_t>(a->x.data) % 4 || reinterpret_cast<uintptr_t>(a->dy.data) % 4))
        return conv_weight(call, args);
    TRINE_END_OF_QUERY(call, needed);
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        rows_problem<T> p = {};
        p.s = r;
        p.x = static_cast<const T *>(a->x.data);
        p.y = const_cast<void *>(static_cast<const void *>(a->dy.data));
        const bool strided = rows_stride(s) == 2, wide = a->dweight.dtype == TRINE_F32;
        p.lanes = plan.lanes;
        p.strips = plan.strips;
        p.chunks = plan.chunks;
        p.rows = plan.rows;
        p.items = plan.items;
        return V > 0 ? rows_run_weight<T>(call, p, plan, strided, a->dweight.data, wide)
                     : planes_run_weight<T>(call, p, plan.lines, strided, a->dweight.data, wide);
    });
}

} // namespace simt

#endif
