/* The sm90 convolution's host side: copies, the tile, the launch. Forward and the phases of the data gradient are one kernel;
 * conv_sm90_weight_run.h has the filters' gradient. */
#ifndef TRINE_CUDA_CONV_SM90_H
#define TRINE_CUDA_CONV_SM90_H

#include "backends/cuda/conv_sm90_plan.h"
#include "backends/cuda/conv_variants.h"
#include "backends/cuda/mma/launch.h"

namespace sm90 {

/* ---- The launch ---- */

using conv_128x256 = tile<128, 256, 4, 1>;
using conv_128x128 = tile<128, 128, 6, 1>;
using conv_128x64 = tile<128, 64, 3, 2>;

inline conv_geometry geometry_of(const conv_task &t, const conv_layout &l)
{
    conv_geometry g = {};
    g.windows = l.windows;
    g.width = simt::divider32(l.windows ? simt::ceil_div(t.outputs[1], l.box[1]) : t.outputs[1]);
    g.height = simt::divider32(l.windows ? simt::ceil_div(t.outputs[0], l.box[0]) : t.outputs[0]);
    for (int i = 0; i < 2; i++) {
        g.first[i] = int(t.first[i]);
        g.step[i] = int(t.step[i]);
        g.apart[i] = int(t.apart[i]);
        g.taps[i] = int(t.taps[i]);
        g.box[i] = l.box[i];
    }
    if (l.windows) {
        g.taps[0] = l.steps / l.chunks;
        g.taps[1] = 1;
    }
    g.chunks = l.chunks;
    g.lines = l.lines;
    g.m = int(t.x.n * t.outputs[0] * t.outputs[1]);
    g.n = int(t.f.rows);
    g.rows = int(t.outputs[0]);
    g.columns = int(t.outputs[1]);
    return g;
}

/* Rows of tiles of so many pixels. */
inline int64_t tile_rows(const conv_task &t, const conv_layout &l, int pixels)
{
    if (!l.windows) return simt::ceil_div(t.x.n * t.outputs[0] * t.outputs[1], pixels);
    return t.x.n * simt::ceil_div(t.outputs[0], l.box[0]) * simt::ceil_div(t.outputs[1], l.box[1]);
}

template <class T, class Tile, bool PAIRS = false> inline trine_status
launch_conv(trine_call *call, const conv_task &t, const conv_layout &l, const void *x, const void *f, bool forced)
{
    static_assert(Tile::M == 128, "boxes of 128 pixels");
    const int64_t rows = tile_rows(t, l, Tile::M);
    schedule s = {};
    s.share = (forced || Tile::N > 64) && rows % 2 == 0 ? 2 : 1;
    s.rows = unsigned(rows / s.share);
    s.columns = unsigned(simt::ceil_div(t.f.rows, Tile::N));
    s.units = s.rows * s.columns;
    s.splits = 1;
    s.steps = l.steps;
    s.group = 16;
    s.single = !l.windows;
    s.find_units();
    maps m = {};
    TRINE_REQUIRE_THAT(call, make_a(&m.a, t, l, x, Tile::M) && make_b(&m.b, t, l, f, Tile::N / s.share),
                       "the driver makes no tensor map of it");
    s.by_tma = make_d(&m.d, t, l);
    const unsigned resident = unsigned(call->device->props.compute_units) * Tile::together / unsigned(s.share);
    const unsigned clusters = s.units < resident ? s.units : resident;
    return launch_clusters<Tile>(call, conv_kernel<T, Tile, PAIRS>, clusters * unsigned(s.share), s.share, m, geometry_of(t, l),
                                 t.finish, s);
}

/* Rounds of tiles times their cost; -1 chooses. */
inline int choose_tile(const trine_call *call, const conv_task &t, const conv_layout &l)
{
    static constexpr struct {
        int n, together;
        double rate; /* part of the tensor cores' rate, as for matmul (matmul_sm90_plan.h) */
    } tiles[] = {{256, 1, 0.88}, {128, 1, 0.80}, {64, 2, 0.55}};
    const int64_t units = call->device->props.compute_units > 0 ? call->device->props.compute_units : 1;
    double least = 1e300;
    int best = 0;
    for (int i = 0; i < 3; i++) {
        const int64_t blocks = tile_rows(t, l, 128) * simt::ceil_div(t.f.rows, tiles[i].n);
        const double rounds = double(simt::ceil_div(blocks, units * tiles[i].together));
        const double cost = rounds * tiles[i].n * tiles[i].together / tiles[i].rate;
        if (cost >= least) continue;
        least = cost;
        best = i;
    }
    return best;
}

template <class T> inline trine_status launch_task(trine_call *call, const conv_task &t, const conv_layout &l, const void *x,
                                                   const void *f, int tile)
{
    if (l.lines == 2) return launch_conv<T, conv_128x64, true>(call, t, l, x, f, false);
    switch (tile < 0 ? choose_tile(call, t, l) : tile) {
    case 0: return launch_conv<T, conv_128x256>(call, t, l, x, f, tile >= 0);
    case 1: return launch_conv<T, conv_128x128>(call, t, l, x, f, tile >= 0);
    default: return launch_conv<T, conv_128x64>(call, t, l, x, f, tile >= 0);
    }
}

inline filter_pack filter_pack_of(const conv_task &t, const conv_layout &l)
{
    filter_pack p = {};
    p.from = static_cast<const uint16_t *>(t.f.data);
    p.row = t.f.row;
    p.channel = t.f.channel;
    p.rows = int(t.f.rows);
    p.channels = int(t.x.c);
    for (int i = 0; i < 2; i++) {
        p.tap[i] = t.f.tap[i];
        p.taps[i] = int(t.taps[i]);
    }
    p.cell = l.windows ? l.cell : 64;
    p.parts = l.windows ? l.lines : 1;
    p.chunks = l.chunks;
    p.steps = l.steps;
    return p;
}

inline image_pack image_pack_of(const conv_images &x)
{
    image_pack p = {};
    p.from = static_cast<const uint16_t *>(x.data);
    p.n = x.image;
    p.c = x.channel;
    p.h = x.stride[0];
    p.w = x.stride[1];
    p.images = int(x.n);
    p.channels = int(x.c);
    p.height = p.rows = int(x.size[0]);
    p.width = p.columns = int(x.size[1]);
    return p;
}

inline trine_status copy_images(trine_call *call, const conv_task &t, const conv_layout &l, void *to)
{
    image_pack p = image_pack_of(t.x);
    if (!l.windows) return pack_channels(call, p, padded_to(t.x.c, 8), to);
    p.first_h = int(t.first[0]);
    p.first_w = int(t.first[1]);
    p.rows = l.rows;
    p.columns = l.columns;
    return pack_cells(call, p, l.cell, to);
}

/* Copies and multiplies. The workspace has the images and then the filters. */
inline trine_status run_task(trine_call *call, const conv_task &t, const conv_layout &l, bool copy_x, int tile)
{
    char *const memory = reinterpret_cast<char *>((reinterpret_cast<uintptr_t>(call->workspace) + 255) / 256 * 256);
    const void *x = t.x.data, *f = t.f.data;
    trine_status status = TRINE_OK;
    if (l.copy_x) {
        x = memory;
        if (copy_x) status = copy_images(call, t, l, memory);
    }
    if (l.copy_f && status == TRINE_OK) {
        f = memory + l.x_bytes;
        status = pack_filters(call, filter_pack_of(t, l), memory + l.x_bytes);
    }
    if (status != TRINE_OK) return status;
    return t.dtype == TRINE_F16 ? launch_task<simt::f16>(call, t, l, x, f, tile)
                                : launch_task<simt::bf16>(call, t, l, x, f, tile);
}

inline bool aligned_for(const conv_task &t, const conv_layout &l)
{
    return (l.copy_x || simt::aligned16(t.x.data)) && (l.copy_f || simt::aligned16(t.f.data));
}

/* ---- Forward ---- */

inline conv_images images_of_x(const trine_conv_shape &s, const void *data)
{
    return conv_images{data, s.n, s.c, s.x_n, s.x_c, {s.in[0], s.in[1]}, {s.x_at[0], s.x_at[1]}};
}
inline conv_images images_of_y(const trine_conv_shape &s, const void *data)
{
    return conv_images{data, s.n, s.k, s.y_n, s.y_k, {s.out[0], s.out[1]}, {s.y_at[0], s.y_at[1]}};
}

inline conv_task forward_task(const trine_conv_shape &s, const trine_conv_args *a)
{
    conv_task t = {};
    t.dtype = a->x.dtype;
    t.x = images_of_x(s, a->x.data);
    t.f = conv_filters{a->weight.data, s.k, s.f_k, s.f_c, {s.f_at[0], s.f_at[1]}};
    for (int i = 0; i < 2; i++) {
        t.taps[i] = s.taps[i];
        t.outputs[i] = s.out[i];
        t.first[i] = -s.padding[i];
        t.step[i] = s.stride[i];
        t.apart[i] = s.dilation[i];
    }
    t.finish = conv_finish{a->y.data,
                           trine_is_given(&a->bias) ? a->bias.data : nullptr,
                           s.y_n,
                           s.y_at[0],
                           s.y_at[1],
                           s.y_k,
                           a->activation,
                           a->activation_alpha,
                           a->y.dtype == TRINE_F32,
                           a->bias.dtype == TRINE_F32,
                           false};
    t.finish.packs = stores_packs(t);
    return t;
}

inline bool task_is_empty(const conv_task &t) { return t.x.n == 0 || t.f.rows == 0 || t.outputs[0] == 0 || t.outputs[1] == 0; }

template <int tile> trine_status conv_forward(trine_call *call, const void *args)
{
    const trine_conv_args *a = static_cast<const trine_conv_args *>(args);
    const trine_conv_shape s = trine_conv_shape_make(&a->x, &a->weight, &a->y, &a->window, a->channels_last);
    const conv_task t = forward_task(s, a);
    trine_status status = check_task(call, t, s.groups);
    if (status != TRINE_OK) return status;
    if (task_is_empty(t)) {
        TRINE_END_OF_QUERY(call, 0);
        return TRINE_OK;
    }
    const conv_layout l = layout_of(t);
    status = check_layout(call, t, l);
    if (status != TRINE_OK) return status;
    /* a query accepted the strides without the addresses */
    if (!aligned_for(t, l)) return trine_cuda_conv_forward_portable(call, args);
    TRINE_END_OF_QUERY(call, l.copy_x || l.copy_f ? l.x_bytes + l.f_bytes + 256 : 0);
    return run_task(call, t, l, true, tile);
}

/* ---- The data gradient: a task for each phase, whose taps go backwards ---- */

/* False if the phase has no taps: its elements are zeros. */
inline bool data_task(const trine_conv_shape &s, const trine_conv_backward_data_args *a, int64_t phase_h, int64_t phase_w,
                      conv_task *task)
{
    const trine_conv_phase p[2] = {trine_conv_phase_of(&s, 0, phase_h), trine_conv_phase_of(&s, 1, phase_w)};
    conv_task t = {};
    int64_t filter = 0, d = 0;
    t.dtype = a->dy.dtype;
    t.x = images_of_y(s, a->dy.data);
    t.f = conv_filters{nullptr, s.c, s.f_c, s.f_k, {0, 0}};
    for (int i = 0; i < 2; i++) {
        t.taps[i] = p[i].taps;
        t.outputs[i] = p[i].count;
        t.first[i] = p[i].begin - (p[i].taps - 1) * p[i].apart;
        t.step[i] = 1;
        t.apart[i] = p[i].apart;
        t.f.tap[i] = -p[i].step * s.f_at[i];
        filter += (p[i].tap + (p[i].taps - 1) * p[i].step) * s.f_at[i];
        d += p[i].first * s.x_at[i];
    }
    *task = t;
    if (p[0].taps == 0 || p[1].taps == 0) return false;
    const bool wide = a->dx.dtype == TRINE_F32;
    if (a->weight.data) task->f.data = static_cast<const uint16_t *>(a->weight.data) + filter;
    task->finish = conv_finish{a->dx.data ? static_cast<char *>(a->dx.data) + d * (wide ? 4 : 2) : nullptr,
                               nullptr,
                               s.x_n,
                               s.stride[0] * s.x_at[0],
                               s.stride[1] * s.x_at[1],
                               s.x_c,
                               TRINE_ACT_IDENTITY,
                               0,
                               wide,
                               false,
                               false};
    task->finish.packs = stores_packs(*task);
    return true;
}

/* f(task, phase, phase) for every phase that has elements; the task is NULL for one without taps. */
template <class F> inline trine_status each_phase(const trine_conv_shape &s, const trine_conv_backward_data_args *a, F f)
{
    trine_status status = TRINE_OK;
    for (int64_t h = 0; h < trine_conv_phases(&s, 0); h++)
        for (int64_t w = 0; w < trine_conv_phases(&s, 1) && status == TRINE_OK; w++) {
            conv_task t;
            const bool has = data_task(s, a, h, w, &t);
            status = f(has ? &t : nullptr, h, w);
        }
    return status;
}

template <int tile> trine_status conv_data(trine_call *call, const void *args)
{
    const trine_conv_backward_data_args *a = static_cast<const trine_conv_backward_data_args *>(args);
    const trine_conv_shape s = trine_conv_shape_make(&a->dx, &a->weight, &a->dy, &a->window, a->channels_last);
    conv_task any;
    size_t needed = 0;
    bool aligned = true;
    (void)data_task(s, a, 0, 0, &any);
    trine_status status = check_task(call, any, s.groups);
    if (status != TRINE_OK) return status;
    TRINE_REQUIRE_THAT(call, trine_conv_phases(&s, 0) * trine_conv_phases(&s, 1) <= 64, "needs strides of at most 8");
    TRINE_REQUIRE_THAT(call, s.out[0] > 0 && s.out[1] > 0, "needs an output");
    if (s.n == 0 || s.c == 0) {
        TRINE_END_OF_QUERY(call, 0);
        return TRINE_OK;
    }
    status = each_phase(s, a, [&](const conv_task *t, int64_t, int64_t) {
        if (!t) return TRINE_OK;
        const conv_layout l = layout_of(*t);
        if (l.x_bytes + l.f_bytes + 256 > needed) needed = l.x_bytes + l.f_bytes + 256;
        aligned = aligned && aligned_for(*t, l);
        return check_layout(call, *t, l);
    });
    if (status != TRINE_OK) return status;
    if (!aligned) return trine_cuda_conv_data_portable(call, args);
    TRINE_END_OF_QUERY(call, needed);
    return each_phase(s, a, [&](const conv_task *t, int64_t h, int64_t w) {
        if (t) return run_task(call, *t, layout_of(*t), true, tile);
        const trine_conv_product product = trine_conv_data(&s, a, h, w);
        return trine_cuda_conv_product_portable(call, &product);
    });
}

} // namespace sm90

#endif
