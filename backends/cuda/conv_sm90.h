/* The sm90 convolution's host side: copies, the tile, the launch. Forward and the data gradient are one kernel; conv_sm90_data.h has
 * the latter's phases, conv_sm90_weight_run.h the filters' gradient. */
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

inline conv_phase phase_of(const conv_task &t, const conv_layout &l)
{
    conv_phase p = {};
    p.width = simt::divider32(l.windows ? simt::ceil_div(t.outputs[1], l.box[1]) : t.outputs[1]);
    p.height = simt::divider32(l.windows ? simt::ceil_div(t.outputs[0], l.box[0]) : t.outputs[0]);
    for (int i = 0; i < 2; i++) {
        p.first[i] = int(t.first[i]);
        p.tap_at[i] = int(t.tap_at[i]);
        p.taps[i] = int(t.taps[i]);
    }
    if (l.windows) {
        p.taps[0] = l.steps / l.chunks;
        p.taps[1] = 1;
    }
    if (t.taps[0] == 0) { /* a step of zeros */
        p.taps[0] = p.taps[1] = 1;
        p.first_chunk = l.chunks;
    }
    p.filter = int(t.filter);
    p.m = int(t.x.n * t.outputs[0] * t.outputs[1]);
    p.rows = int(t.outputs[0]);
    p.columns = int(t.outputs[1]);
    p.steps = p.first_chunk ? 1 : p.taps[0] * p.taps[1] * l.chunks;
    p.plane = p.first_chunk ? 0 : t.plane;
    p.d = t.d;
    return p;
}

/* Without units. */
inline conv_geometry geometry_of(const conv_task *tasks, int phases, const conv_layout &l)
{
    const conv_task &t = tasks[0];
    conv_geometry g = {};
    g.windows = l.windows;
    for (int i = 0; i < 2; i++) {
        g.step[i] = int(t.step[i]);
        g.apart[i] = int(t.apart[i]);
        g.filter_step[i] = l.windows ? 1 : int(t.filter_step[i]);
        g.box[i] = l.box[i];
    }
    g.chunks = l.chunks;
    g.lines = l.lines;
    g.n = int(t.f.rows);
    g.phases = phases;
    for (int i = 0; i < phases; i++) g.phase[i] = phase_of(tasks[i], l);
    return g;
}

/* Rows of tiles of so many pixels. */
inline int64_t tile_rows(const conv_task &t, const conv_layout &l, int pixels)
{
    if (!l.windows) return simt::ceil_div(t.x.n * t.outputs[0] * t.outputs[1], pixels);
    return t.x.n * simt::ceil_div(t.outputs[0], l.box[0]) * simt::ceil_div(t.outputs[1], l.box[1]);
}

/* The phases of one launch: of one layout, but for their steps. */
struct conv_launch {
    const conv_task *most, *tasks; /* most: of all launches' phases that of most taps, of plane 0 */
    int phases;
    const void *x, *f;
};

template <class T, class Tile, wgmma::axis B, conv_way WAY = conv_way::plain>
inline trine_status launch_conv(trine_call *call, const conv_launch &c, const conv_layout &l, bool forced)
{
    static_assert(Tile::M == 128, "boxes of 128 pixels");
    const conv_task &t = c.tasks[0];
    conv_geometry g = geometry_of(c.tasks, c.phases, l);
    schedule s = {};
    s.share = B == wgmma::along_k ? (forced || Tile::N > 64 ? 2 : 1) : (Tile::N > 64 ? 2 : 1);
    for (int i = 0; i < c.phases; i++)
        if (tile_rows(c.tasks[i], l, Tile::M) % 2) s.share = 1;
    s.columns = unsigned(simt::ceil_div(t.f.rows, Tile::N));
    for (int i = 0; i < c.phases; i++) {
        g.phase[i].tile_rows = unsigned(tile_rows(c.tasks[i], l, Tile::M) / s.share);
        g.phase[i].before = s.units;
        s.units += g.phase[i].tile_rows * s.columns;
    }
    s.splits = 1;
    s.group = 16;
    s.single = !l.windows;
    conv_maps m = {};
    bool made = make_b(&m.b, t, l, c.f, Tile::N / s.share);
    unsigned planes = 0;
    for (int i = 0; i < c.phases && made; i++) {
        const conv_task &own = c.tasks[i].taps[0] ? c.tasks[i] : *c.most; /* steps of zeros need any map */
        if (planes >> own.plane & 1) continue;
        planes |= 1u << own.plane;
        made = make_a(&m.a[own.plane], own, l, c.x, Tile::M);
    }
    TRINE_REQUIRE_THAT(call, made, "the driver makes no tensor map of it");
    s.by_tma = make_d(m.d, c.tasks, c.phases, l, &g.store);
    const unsigned resident = unsigned(call->device->props.compute_units) * Tile::together / unsigned(s.share);
    const unsigned clusters = s.units < resident ? s.units : resident;
    return launch_clusters<Tile>(call, conv_kernel<T, Tile, B, WAY>, clusters * unsigned(s.share), s.share, m, g, t.finish, s);
}

/* Rounds of tiles times their cost; tiles of several phases fill the rounds better. */
inline int choose_tile(const trine_call *call, const conv_launch &c, const conv_layout &l)
{
    static constexpr struct {
        int n, together;
        double rate;  /* part of the tensor cores' rate, as for matmul (matmul_sm90_plan.h) */
        double exact; /* part of the multiply-adds', by what else is issued */
    } tiles[] = {{256, 1, 0.88, 0.95}, {128, 1, 0.80, 0.92}, {64, 2, 0.55, 0.87}};
    const int64_t units = call->device->props.compute_units > 0 ? call->device->props.compute_units : 1;
    const bool exact = c.tasks[0].exact && c.tasks[0].dtype == TRINE_F32;
    double least = 1e300;
    int best = 0;
    for (int i = 0; i < 3; i++) {
        const int64_t columns = simt::ceil_div(c.tasks[0].f.rows, tiles[i].n);
        int64_t blocks = 0;
        for (int p = 0; p < c.phases; p++) blocks += tile_rows(c.tasks[p], l, 128) * columns;
        double rounds = double(simt::ceil_div(blocks, units * tiles[i].together));
        if (c.phases > 1) rounds = double(blocks) / double(units * tiles[i].together) + 0.5;
        const double cost = rounds * tiles[i].n * tiles[i].together / (exact ? tiles[i].exact : tiles[i].rate);
        if (cost >= least) continue;
        least = cost;
        best = i;
    }
    return best;
}

template <class T, wgmma::axis B, conv_way WAY = conv_way::plain>
inline trine_status launch_tile(trine_call *call, const conv_launch &c, const conv_layout &l, int tile)
{
    switch (tile < 0 ? choose_tile(call, c, l) : tile) {
    case 0: return launch_conv<T, conv_128x256, B, WAY>(call, c, l, tile >= 0);
    case 1: return launch_conv<T, conv_128x128, B, WAY>(call, c, l, tile >= 0);
    default: return launch_conv<T, conv_128x64, B, WAY>(call, c, l, tile >= 0);
    }
}

template <class T> inline trine_status launch_lines(trine_call *call, const conv_launch &c, const conv_layout &l)
{
    const conv_task &t = c.tasks[0];
    conv_geometry g = geometry_of(c.tasks, 1, l);
    schedule s = {};
    s.share = s.splits = 1;
    s.group = 16;
    s.columns = 1;
    s.units = g.phase[0].tile_rows = unsigned(tile_rows(t, l, lines_tile::M));
    const conv_lines own = {int(t.step[0]) + 2 * l.steps, int(t.taps[0]), int(t.taps[1])};
    const cuuint64_t line = cuuint64_t(l.columns) * 8;
    tensor_map::boxes m = {c.x,
                           CU_TENSOR_MAP_DATA_TYPE_INT64,
                           {cuuint64_t(l.columns), cuuint64_t(l.rows), cuuint64_t(t.x.n), 1, 1},
                           {line, line * cuuint64_t(l.rows), 16, 16},
                           {lines_pitch / 8, cuuint32_t(own.lines), 1, 1, 1}};
    m.plain = true;
    conv_maps maps = {};
    TRINE_REQUIRE_THAT(call, make_b(&maps.b, t, l, c.f, lines_tile::N) && tensor_map::make(&maps.a[0], m),
                       "the driver makes no tensor map of it");
    s.by_tma = make_d(maps.d, c.tasks, 1, l, &g.store);
    const unsigned resident = unsigned(call->device->props.compute_units) * lines_tile::together;
    return launch_clusters<lines_tile>(call, conv_lines_kernel<T>, s.units < resident ? s.units : resident, 1, maps, g, t.finish,
                                       s, own);
}

template <class T> inline trine_status launch_task(trine_call *call, const conv_launch &c, const conv_layout &l, int tile)
{
    if constexpr (sizeof(T) == 2) {
        if (l.lines == 2 && fits_lines(c.tasks[0])) return launch_lines<T>(call, c, l);
        if (l.lines == 2) return launch_conv<T, conv_128x64, wgmma::along_k, conv_way::pairs>(call, c, l, false);
        if (c.tasks[0].turned) return launch_tile<T, wgmma::along_rows>(call, c, l, tile);
    } else {
        if (c.tasks[0].exact) return launch_tile<T, wgmma::along_k, conv_way::exact>(call, c, l, tile);
    }
    return launch_tile<T, wgmma::along_k>(call, c, l, tile);
}

inline filter_pack filter_pack_of(const conv_task &t, const conv_layout &l)
{
    filter_pack p = {};
    const int terms = terms_of(t);
    p.from = t.f.data;
    p.row = t.turned ? t.f.channel : t.f.row;
    p.channel = t.turned ? t.f.row : t.f.channel;
    p.rows = int(t.turned ? t.x.c : t.f.rows);
    p.channels = int(t.turned ? t.f.rows : t.x.c);
    for (int i = 0; i < 2; i++) {
        p.tap[i] = t.f.tap[i];
        p.taps[i] = int(t.f.taps[i]);
    }
    p.cell = l.windows ? l.cell : terms;
    p.parts = l.windows ? l.lines : 1;
    p.chunks = l.windows ? l.chunks : l.line / terms;
    p.steps = l.windows ? l.steps : p.chunks * p.taps[0] * p.taps[1];
    return p;
}

inline image_pack cells_of(const conv_task &t, const conv_layout &l)
{
    image_pack p = {};
    p.from = t.x.data;
    p.n = t.x.image;
    p.c = t.x.channel;
    p.h = t.x.stride[0];
    p.w = t.x.stride[1];
    p.images = int(t.x.n);
    p.channels = int(t.x.c);
    p.height = int(t.x.size[0]);
    p.width = int(t.x.size[1]);
    p.first_h = int(t.first[0]);
    p.first_w = int(t.first[1]);
    p.rows = l.rows;
    p.columns = l.columns;
    return p;
}

/* Pixels of dense channels, whole pieces of 16 bytes, from images that lie in any way. */
inline trine_status copy_pixels(trine_call *call, const conv_images &x, int64_t bytes, void *to)
{
    return turn_to_channels(call, x, bytes, padded_to(x.c, 16 / bytes), to);
}

inline trine_status copy_images(trine_call *call, const conv_task &t, const conv_layout &l, void *to)
{
    if (!l.windows) return copy_pixels(call, t.x, bytes_of(t), to);
    if (t.dtype == TRINE_F32) return pack_cells<uint32_t>(call, cells_of(t, l), l.cell, to);
    return pack_cells<uint16_t>(call, cells_of(t, l), l.cell, to);
}

inline trine_status copy_filters(trine_call *call, const conv_task &t, const conv_layout &l, const spread_pack *spread, void *to)
{
    const bool wide = t.dtype == TRINE_F32;
    if (spread) return wide ? pack_spread<uint32_t>(call, *spread, to) : pack_spread<uint16_t>(call, *spread, to);
    const filter_pack f = filter_pack_of(t, l);
    return wide ? pack_filters<uint32_t>(call, f, to) : pack_filters<uint16_t>(call, f, to);
}

/* Copies what the first task says, multiplies them all and turns d. The workspace has the images, the filters and d. */
inline trine_status run_tasks(trine_call *call, conv_task *tasks, int phases, const conv_layout &l, int tile,
                              const conv_images &d, const spread_pack *spread = nullptr)
{
    const conv_task &t = tasks[0];
    char *const memory = reinterpret_cast<char *>((reinterpret_cast<uintptr_t>(call->workspace) + 255) / 256 * 256);
    conv_launch c = {tasks, tasks, phases, t.x.data, t.f.data};
    trine_status status = TRINE_OK;
    if (l.copy_x) {
        c.x = memory;
        status = copy_images(call, t, l, memory);
    }
    if (l.copy_f && status == TRINE_OK) {
        c.f = memory + l.x_bytes;
        status = copy_filters(call, t, l, spread, memory + l.x_bytes);
    }
    if (l.d_bytes)
        for (int i = 0; i < phases; i++) tasks[i].finish.d = memory + l.x_bytes + l.f_bytes;
    for (int i = 0; i < phases && status == TRINE_OK; i += conv_phases) {
        c.tasks = tasks + i;
        c.phases = phases - i < conv_phases ? phases - i : conv_phases;
        status = t.dtype == TRINE_F32   ? launch_task<float>(call, c, l, tile)
                 : t.dtype == TRINE_F16 ? launch_task<simt::f16>(call, c, l, tile)
                                        : launch_task<simt::bf16>(call, c, l, tile);
    }
    if (!l.d_bytes || status != TRINE_OK) return status;
    const int64_t bytes = t.finish.wide ? 4 : 2;
    return turn_to_planes(call, t.finish.d, padded_to(d.c, 16 / bytes), d, bytes);
}

/* Whether d is turned, and the strides that it is then made with. */
inline bool turn_d(conv_layout *l, const conv_task &t, int phases, const conv_images &d, conv_images *made)
{
    const int64_t bytes = t.finish.wide ? 4 : 2, channels = padded_to(d.c, 16 / bytes);
    if (t.finish.channel == 1 || t.finish.spread.phases[0] || writes_planes(t, phases, *l)) return false;
    made->channel = 1;
    made->stride[1] = channels;
    made->stride[0] = d.size[1] * channels;
    made->image = d.size[0] * made->stride[0];
    l->d_bytes = size_t(align256(d.n * made->image * bytes));
    return true;
}

inline size_t workspace_of(const conv_layout &l)
{
    const size_t bytes = l.x_bytes + l.f_bytes + l.d_bytes;
    return bytes ? bytes + 256 : 0;
}

inline bool aligned_for(const conv_task &t, const conv_layout &l)
{
    return (l.copy_x || simt::aligned16(t.x.data)) && (l.copy_f || simt::aligned16(t.f.data));
}

/* ---- Forward ---- */

inline conv_task forward_task(const trine_conv_shape &s, const trine_conv_args *a)
{
    conv_task t = {};
    t.dtype = a->x.dtype;
    t.exact = a->precision != TRINE_MATMUL_TF32;
    t.x = images_of_x(s, a->x.data);
    t.f = conv_filters{a->weight.data, s.k, s.f_k, s.f_c, {s.f_at[0], s.f_at[1]}, {s.taps[0], s.taps[1]}};
    t.filter_step[0] = s.taps[1];
    t.filter_step[1] = 1;
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
                           false,
                           {}};
    t.finish.packs = stores_packs(t);
    return t;
}

inline bool task_is_empty(const conv_task &t) { return t.x.n == 0 || t.f.rows == 0 || t.outputs[0] == 0 || t.outputs[1] == 0; }

/* Of images that must be copied, a filter of one tap wants but every step[i]-th row and column. */
inline void take_steps(conv_task *t)
{
    conv_images &x = t->x;
    if (t->taps[0] * t->taps[1] != 1 || lies_well(x, bytes_of(*t))) return;
    for (int i = 0; i < 2; i++) {
        if (t->first[i] != 0) continue; /* padding */
        x.size[i] = t->outputs[i];
        x.stride[i] *= t->step[i];
        t->step[i] = 1;
    }
}

template <int tile> trine_status conv_forward(trine_call *call, const void *args)
{
    const trine_conv_args *a = static_cast<const trine_conv_args *>(args);
    trine_conv_shape s = trine_conv_shape_make(&a->x, &a->weight, &a->y, &a->window, a->channels_last);
    conv_task t = forward_task(s, a);
    trine_status status = check_task(call, t, s.groups);
    if (status != TRINE_OK) return status;
    if (task_is_empty(t)) {
        TRINE_END_OF_QUERY(call, 0);
        return TRINE_OK;
    }
    const conv_images y = images_of_y(s, a->y.data);
    conv_images made = y;
    conv_layout l = layout_of(t);
    if (turn_d(&l, t, 1, y, &made)) {
        s.y_n = made.image;
        s.y_k = made.channel;
        for (int i = 0; i < 2; i++) s.y_at[i] = made.stride[i];
        t = forward_task(s, a);
    }
    take_steps(&t);
    const size_t d_bytes = l.d_bytes;
    l = layout_of(t);
    l.d_bytes = d_bytes;
    status = check_layout(call, t, l);
    if (status != TRINE_OK) return status;
    /* a query accepted the strides without the addresses */
    if (!aligned_for(t, l)) return trine_cuda_conv_forward_portable(call, args);
    TRINE_END_OF_QUERY(call, workspace_of(l));
    return run_tasks(call, &t, 1, l, tile, y);
}

} // namespace sm90

#endif
