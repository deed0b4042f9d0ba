/* depthwise_ring, the host side: how blocks are cut, the map, the launch. */
#ifndef TRINE_CUDA_CONV_SM90_ROWS_RUN_H
#define TRINE_CUDA_CONV_SM90_ROWS_RUN_H

#include "backends/cuda/conv_sm90_rows.h"
#include "backends/cuda/conv_variants.h"
#include "backends/simt/conv_rows_plan.h"

namespace sm90 {

/* A block's lanes and strips: few threads without work, few columns loaded twice, long lines. */
inline void choose_ring_block(rows_ring *g, const simt::rows_shape &s, int V, int element_bytes, int step, int most)
{
    const int64_t packs = s.channels / V, strips = simt::ceil_div(s.out[1], int(simt::rows_columns));
    double least = 1e300;
    for (int lanes = 16 / (V * element_bytes); lanes <= 64; lanes += 16 / (V * element_bytes))
        for (int own = 1; own <= strips && own * lanes <= most; own++) {
            const int columns = (own * int(simt::rows_columns) - 1) * step + s.taps[1];
            if (columns > 256) break;
            const int64_t groups = simt::ceil_div(packs, lanes), tiles = simt::ceil_div(strips, own),
                          threads = simt::ceil_div(own * lanes, 32) * 32;
            const double work = double(groups * tiles * threads) / double(packs * strips),
                         halo = double(columns) / double(own * int(simt::rows_columns) * step),
                         lines = 1 + 32.0 / (lanes * V * element_bytes), start = 1 + 4.0 / double(threads);
            const double cost = work * (2 + halo) * lines * start;
            if (cost >= least) continue;
            least = cost;
            g->lanes = lanes;
            g->strips = own;
            g->columns = columns;
            g->groups = unsigned(groups);
            g->tiles = unsigned(tiles);
        }
    g->row_bytes = unsigned(simt::ceil_div(g->columns * g->lanes * V * element_bytes, 128) * 128);
    g->shared = ring_rows * g->row_bytes + unsigned(s.taps[0] * s.taps[1] * g->lanes * V * 4);
}

inline int ring_block_threads(const rows_ring &g) { return int(simt::ceil_div(g.lanes * g.strips, 32) * 32); }

/* Ranges of the rows: rounds of blocks times rows of the input, and what a block's start takes. As many as blocks run at once, or
 * whole parts of the images, which meet fewer rows twice. */
inline void choose_ring_rows(rows_ring *g, const simt::rows_shape &s, int step, int64_t slots)
{
    const int64_t others = int64_t(g->groups) * g->tiles, rows = int64_t(s.n) * s.out[0];
    double least = 1e300;
    const auto consider = [&](int64_t ranges, bool parts) {
        if (ranges > rows) ranges = rows;
        if (ranges < 1) ranges = 1;
        const double own = double(simt::ceil_div(rows, ranges)), images = parts ? 1 : own / s.out[0] + 1;
        const double cost = double(simt::ceil_div(ranges * others, slots)) * (own * step + images * (s.taps[0] - step) + 4);
        if (cost >= least) return;
        least = cost;
        g->ranges = unsigned(ranges);
    };
    for (int rounds = 1; rounds <= 8; rounds++) consider(slots * rounds / others, false);
    for (int parts = 1; parts <= s.out[0] && s.n * parts * others <= 8 * slots; parts++) consider(int64_t(s.n) * parts, true);
}

inline bool make_ring_map(CUtensorMap *map, const void *x, trine_dtype dtype, const simt::rows_shape &s, const rows_ring &g,
                          int V)
{
    const int64_t bytes = trine_dtype_bits(dtype) / 8;
    const auto step = [bytes](int64_t size, int64_t stride) { return cuuint64_t(size > 1 ? stride * bytes : 16); };
    tensor_map::boxes m = {x,
                           dtype == TRINE_F32   ? CU_TENSOR_MAP_DATA_TYPE_FLOAT32
                           : dtype == TRINE_F16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                                : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                           {cuuint64_t(s.channels), cuuint64_t(s.in[1]), cuuint64_t(s.in[0]), cuuint64_t(s.n), 1},
                           {step(s.in[1], s.x_at[1]), step(s.in[0], s.x_at[0]), step(s.n, s.x_n), 16},
                           {cuuint32_t(g.lanes * V), cuuint32_t(g.columns), 1, 1, 1}};
    m.plain = true;
    return tensor_map::make(map, m);
}

template <class T, int S, int STEP>
inline trine_status launch_ring(trine_call *call, const simt::rows_problem<T> &p, trine_dtype dtype)
{
    constexpr int V = simt::rows_pack_bytes(S) / sizeof(T);
    rows_ring g = {};
    choose_ring_block(&g, p.s, V, sizeof(T), STEP, ring_threads<T, S>);
    const int64_t units = call->device->props.compute_units > 0 ? call->device->props.compute_units : 1,
                  by_threads = ring_together<T, S> / ring_block_threads(g), by_shared = (220 << 10) / g.shared;
    choose_ring_rows(&g, p.s, STEP, units * (by_threads < by_shared ? by_threads : by_shared));
    CUtensorMap map;
    TRINE_REQUIRE_THAT(call, make_ring_map(&map, p.x, dtype, p.s, g, V), "the driver makes no tensor map of it");
    const auto kernel = depthwise_ring_kernel<T, V, S, STEP>;
    target::allow_shared(kernel, g.shared);
    return simt::launch(call, kernel, simt::grid(int64_t(g.groups) * g.tiles * g.ranges), ring_block_threads(g), g.shared, map, p,
                        g);
}

template <class T> inline trine_status run_ring(trine_call *call, const simt::rows_problem<T> &p, trine_dtype dtype, int64_t step)
{
    if (p.s.taps[0] == 3) return step == 1 ? launch_ring<T, 3, 1>(call, p, dtype) : launch_ring<T, 3, 2>(call, p, dtype);
    if (p.s.taps[0] == 5) return step == 1 ? launch_ring<T, 5, 1>(call, p, dtype) : launch_ring<T, 5, 2>(call, p, dtype);
    return launch_ring<T, 7, 1>(call, p, dtype);
}

inline trine_status check_ring(trine_call *call, const simt::rows_shape &s, int64_t element_bytes)
{
#ifndef TRINE_CODE_SM90A
    return trine_refuse(call, "needs a build with machine code for sm_90a");
#endif
    const auto fits = [element_bytes](int64_t size, int64_t stride) {
        return size == 1 || tensor_map::stride_fits(stride, int(element_bytes));
    };
    TRINE_REQUIRE_THAT(call, strcmp(call->device->props.arch, "sm_90") == 0, "needs a GPU of compute capability 9.0");
    TRINE_REQUIRE_THAT(call,
                       simt::rows_channels_pack(s, element_bytes, simt::rows_pack_bytes(s.taps[0])) > 0 &&
                           s.channels * element_bytes % 16 == 0 && fits(s.n, s.x_n) && fits(s.in[0], s.x_at[0]) &&
                           fits(s.in[1], s.x_at[1]),
                       "needs channels that lie densely, in packs of 16 bytes");
    return TRINE_OK;
}

/* As simt::rows_call. */
inline trine_status ring_call(trine_call *call, const simt::rows_shape &s, const trine_tensor &x, const void *filters,
                              const trine_tensor &y, int64_t step, const trine_conv_args *epilogue,
                              trine_status (*portable)(trine_call *, const void *), const void *args)
{
    const trine_status status = check_ring(call, s, trine_dtype_bits(x.dtype) / 8);
    if (status != TRINE_OK) return status;
    TRINE_END_OF_QUERY(call, 0);
    return simt::visit_floats(call, x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        const simt::rows_problem<T> p = simt::rows_problem_of<T>(s, x, filters, y, epilogue);
        /* a query accepted the strides without the addresses */
        if (reinterpret_cast<uintptr_t>(p.x) % 16 || !simt::rows_aligned(p, simt::rows_pack_bytes(s.taps[0]) / int(sizeof(T))))
            return portable(call, args);
        return run_ring<T>(call, p, x.dtype, step);
    });
}

trine_status depthwise_ring_forward(trine_call *call, const void *args)
{
    const trine_conv_args *a = static_cast<const trine_conv_args *>(args);
    const trine_conv_shape s = trine_conv_shape_make(&a->x, &a->weight, &a->y, &a->window, a->channels_last);
    const trine_status status = simt::rows_check(call, s);
    if (status != TRINE_OK) return status;
    TRINE_REQUIRE_THAT(call, a->activation == TRINE_ACT_IDENTITY || a->activation == TRINE_ACT_RELU,
                       "needs no activation, or relu");
    return ring_call(call, simt::rows_shape_of(s), a->x, a->weight.data, a->y, simt::rows_stride(s), a,
                     trine_cuda_conv_forward_portable, args);
}

trine_status depthwise_ring_data(trine_call *call, const void *args)
{
    const trine_conv_backward_data_args *a = static_cast<const trine_conv_backward_data_args *>(args);
    const trine_conv_shape s = trine_conv_shape_make(&a->dx, &a->weight, &a->dy, &a->window, a->channels_last);
    const trine_status status = simt::rows_check(call, s);
    if (status != TRINE_OK) return status;
    TRINE_REQUIRE_THAT(call, simt::rows_stride(s) == 1, "needs a stride of 1");
    simt::rows_shape r = simt::rows_swapped(simt::rows_shape_of(s));
    const void *filters = simt::rows_backwards(&r, s, a->weight.data, trine_dtype_bits(a->dy.dtype) / 8);
    return ring_call(call, r, a->dy, filters, a->dx, 1, nullptr, trine_cuda_conv_data_portable, args);
}

} // namespace sm90

#endif
