/* The host side of the filters' gradient on Hopper. */
#ifndef TRINE_CUDA_CONV_SM90_WEIGHT_RUN_H
#define TRINE_CUDA_CONV_SM90_WEIGHT_RUN_H

#include "backends/cuda/conv_sm90.h"
#include "backends/cuda/conv_sm90_weight.h"
#include "backends/cuda/conv_sm90_weight_turn.h"

namespace sm90 {

using weight_128x128 = tile<128, 128, 6, 1>;
using weight_64x128 = tile<64, 128, 4, 2>;
using weight_128x256 = tile<128, 256, 4, 1>;

struct weight_tile {
    int m, n, together;
    double rate, exact,
        turned; /* part of the tensor cores' rate, of the multiply-adds', of the tensor cores' for tf32 (0: none) */
};
static constexpr weight_tile weight_tiles[] = {
    {64, 128, 2, 0.70, 0.85, 0.40}, {128, 128, 1, 0.75, 0.87, 0}, {128, 256, 1, 0.85, 0.90, 0.75}};

inline bool takes_tf32(const conv_task &t) { return t.dtype == TRINE_F32 && !t.exact; }

/* dy as a matrix [pixels][channels] in memory. */
inline bool lies_as_matrix(const conv_images &y, int64_t bytes)
{
    const int64_t column = y.size[1] > 1 ? y.stride[1] : y.stride[0];
    return lies_well(y, bytes) && (y.size[0] == 1 || y.size[1] == 1 || y.stride[0] == y.size[1] * column) &&
           (y.n == 1 || y.image == y.size[0] * y.size[1] * column) && y.size[0] * y.size[1] > 1;
}

struct weight_layout {
    bool planes;                 /* as weight_way */
    bool copy_x, copy_y, turned; /* turned: dy's copy is [channel][pixel] */
    int tile;
    conv_layout images; /* of x */
    weight_parts parts;
    size_t x_bytes, y_bytes, sums_bytes;
};

/* Rounds of blocks, and the parts' way through memory at about 1700 bytes a cycle; at most 128 MiB of them. */
inline void choose_weight_tile(weight_layout *l, const conv_task &task, int64_t units)
{
    const bool wide = task.dtype == TRINE_F32;
    const int unit = terms_of(task);
    double least = 1e300;
    weight_parts &p = l->parts;
    for (int i = 0; i < 3; i++) {
        const weight_tile &t = weight_tiles[i];
        if (l->planes && i > 0) break; /* bound by bytes */
        const double rate = takes_tf32(task) ? 1024 * t.turned : wide ? 128 * t.exact : 2048 * t.rate;
        if (rate == 0) continue;
        const int64_t m = simt::ceil_div(p.rows, t.m), n = simt::ceil_div(p.blocks, t.n / unit), bytes = m * t.m * n * t.n * 4;
        const double step = double(t.m) * t.n * unit / rate * t.together;
        for (int64_t splits = 1; splits <= 64; splits++) {
            if (splits > 1 && (8 * splits > p.steps || splits * bytes > int64_t(128) << 20)) break;
            const double rounds = double(simt::ceil_div(m * n * splits, units * t.together));
            const double cost =
                rounds * (double(simt::ceil_div(p.steps, splits)) * step + 3000) + double(splits * bytes) * 2 / 1700;
            if (cost >= least) continue;
            least = cost;
            l->tile = i;
            p.tiles_m = unsigned(m);
            p.tiles_n = unsigned(n);
            p.pitch = int(n * t.n);
            p.splits = unsigned(splits);
            p.share = t.m == 128 && m % 2 == 0 && !l->images.windows ? 2 : 1;
        }
    }
}

/* Planes of dense pixels that TMA can read, met by one tap without stride. */
inline bool lies_in_planes(const conv_images &x, int64_t bytes)
{
    const bool dense = x.size[1] > 1 ? x.stride[1] == 1 && (x.size[0] == 1 || x.stride[0] == x.size[1]) : x.stride[0] == 1;
    return dense && x.size[0] * x.size[1] > 1 && (x.c == 1 || tensor_map::stride_fits(x.channel, int(bytes))) &&
           (x.n == 1 || tensor_map::stride_fits(x.image, int(bytes)));
}
inline bool takes_planes(const conv_task &t, const conv_images &dy)
{
    bool fit = (t.dtype != TRINE_F32 || takes_tf32(t)) && t.x.n > 0;
    for (int i = 0; i < 2; i++)
        fit = fit && t.taps[i] == 1 && t.first[i] == 0 && t.outputs[i] == t.x.size[i] && (t.step[i] == 1 || t.outputs[i] == 1);
    return fit && lies_in_planes(t.x, bytes_of(t)) && lies_in_planes(dy, bytes_of(t));
}

inline bool make_weight_planes(CUtensorMap *map, const conv_task &t, const conv_images &x, int rows)
{
    tensor_map::matrices m = {};
    m.data = x.data;
    m.type = loaded_type_of(t);
    m.element_bytes = int(bytes_of(t));
    m.inner = x.size[0] * x.size[1];
    m.outer = x.c;
    m.outer_stride = x.channel;
    m.batch_axes = 1;
    m.batch[0] = x.n;
    m.batch_stride[0] = x.image;
    m.batch[1] = m.batch[2] = 1;
    return tensor_map::make(map, m, terms_of(t), rows);
}

inline weight_layout weight_layout_of(const trine_call *call, const conv_task &t, const conv_images &dy)
{
    weight_layout l = {};
    const int64_t units = call->device->props.compute_units > 0 ? call->device->props.compute_units : 1;
    const int64_t bytes = bytes_of(t);
    const int unit = terms_of(t);
    l.images = layout_of(t, unit, false);
    l.copy_x = l.images.copy_x;
    l.planes = takes_planes(t, dy);
    l.turned = !l.planes && takes_tf32(t);
    l.copy_x = l.copy_x && !l.planes;
    l.copy_y = l.turned || !l.planes && !(l.images.windows ? lies_well(dy, bytes) : lies_as_matrix(dy, bytes));
    l.parts.rows = int(dy.c);
    l.parts.blocks = l.images.steps;
    l.parts.steps = int(tile_rows(t, l.images, unit));
    if (l.planes) {
        l.parts.plane = int(simt::ceil_div(t.outputs[0] * t.outputs[1], unit));
        l.parts.steps = int(t.x.n) * l.parts.plane;
    }
    choose_weight_tile(&l, t, units);
    l.x_bytes = l.copy_x ? l.images.x_bytes : 0;
    const int64_t elements = l.turned   ? dy.c * l.parts.steps * unit
                             : l.copy_y ? t.x.n * t.outputs[0] * t.outputs[1] * padded_to(dy.c, 16 / bytes)
                                        : 0;
    l.y_bytes = size_t(align256(elements * bytes));
    l.sums_bytes = size_t(align256(int64_t(l.parts.splits) * dy.c * l.parts.pitch * 4));
    return l;
}

template <class T, class Tile, weight_way WAY> inline trine_status
launch_weight(trine_call *call, const maps &m, const conv_geometry &g, const weight_parts &p, const weight_output &o)
{
    const unsigned blocks = p.tiles_m * p.tiles_n * p.splits,
                   resident = unsigned(call->device->props.compute_units) * Tile::together;
    const unsigned most = resident / unsigned(p.share) * unsigned(p.share);
    const trine_status status =
        launch_clusters<Tile>(call, conv_weight_kernel<T, Tile, WAY>, blocks < most ? blocks : most, p.share, m, g, p);
    if (status != TRINE_OK) return status;
    const int64_t elements = int64_t(p.rows) * o.taps * o.channels;
    return simt::launch(call, add_weight_kernel<T>, simt::grid(simt::ceil_div(elements, 256)), 256, 0, p, o);
}

template <class T, weight_way WAY> inline trine_status launch_weight_tile(trine_call *call, const maps &m, const conv_geometry &g,
                                                                          const weight_layout &l, const weight_output &o)
{
    if (l.tile == 0) return launch_weight<T, weight_64x128, WAY>(call, m, g, l.parts, o);
    if constexpr (WAY == weight_way::plain || WAY == weight_way::exact)
        if (l.tile == 1) return launch_weight<T, weight_128x128, WAY>(call, m, g, l.parts, o);
    return launch_weight<T, weight_128x256, WAY>(call, m, g, l.parts, o);
}

template <class T, weight_way WAY> inline trine_status
launch_weight_lying(trine_call *call, const maps &m, const conv_geometry &g, const weight_layout &l, const weight_output &o)
{
    if (l.planes) return launch_weight<T, weight_64x128, weight_way::planes>(call, m, g, l.parts, o);
    return launch_weight_tile<T, WAY>(call, m, g, l, o);
}

inline weight_turn weight_turn_of(const conv_images &dy, const weight_layout &l, void *to)
{
    weight_turn t = {};
    t.from = static_cast<const float *>(dy.data);
    t.to = static_cast<float *>(to);
    t.image = dy.image;
    t.row = dy.stride[0];
    t.column = dy.stride[1];
    t.channel = dy.channel;
    t.channels = int(dy.c);
    t.width = l.parts.steps * weight_turn_step;
    t.dense = lies_well(dy, sizeof(float)) && simt::aligned16(dy.data);
    return t;
}

inline bool make_dy(CUtensorMap *map, const conv_task &t, const conv_images &dy, const void *data, const weight_layout &l)
{
    const CUtensorMapDataType type = loaded_type_of(t);
    if (l.turned) {
        tensor_map::matrices m = {};
        m.data = data;
        m.type = type;
        m.element_bytes = sizeof(float);
        m.inner = m.outer_stride = l.parts.steps * weight_turn_step;
        m.outer = dy.c;
        return tensor_map::make(map, m, weight_turn_step, weight_tiles[l.tile].m);
    }
    const int64_t bytes = bytes_of(t), channels = l.copy_y ? padded_to(dy.c, 16 / bytes) : dy.c;
    const int64_t stride[2] = {l.copy_y ? dy.size[1] * channels : dy.stride[0], l.copy_y ? channels : dy.stride[1]};
    if (l.images.windows)
        return make_outputs(map, data, type, bytes, channels, t, stride, l.copy_y ? dy.size[0] * stride[0] : dy.image,
                            l.images.box);
    tensor_map::matrices m = {};
    m.data = data;
    m.type = type;
    m.element_bytes = int(bytes);
    m.inner = channels;
    m.outer = t.x.n * t.outputs[0] * t.outputs[1];
    m.outer_stride = dy.size[1] > 1 || l.copy_y ? stride[1] : stride[0];
    return tensor_map::make(map, m, terms_of(t), terms_of(t));
}

inline trine_status run_weight(trine_call *call, const conv_task &t, const conv_images &dy, weight_layout l,
                               const weight_output &o)
{
    char *const memory = reinterpret_cast<char *>((reinterpret_cast<uintptr_t>(call->workspace) + 255) / 256 * 256);
    const void *x = l.copy_x ? memory : t.x.data, *y = l.copy_y ? memory + l.x_bytes : dy.data;
    trine_status status = TRINE_OK;
    l.parts.sums = reinterpret_cast<float *>(memory + l.x_bytes + l.y_bytes);
    if (l.copy_x) status = copy_images(call, t, l.images, memory);
    const conv_geometry g = geometry_of(&t, 1, l.images);
    if (l.turned && status == TRINE_OK)
        status = turn_weight_rows(call, weight_turn_of(dy, l, memory + l.x_bytes), g);
    else if (l.copy_y && status == TRINE_OK)
        status = copy_pixels(call, dy, bytes_of(t), memory + l.x_bytes);
    if (status != TRINE_OK) return status;
    maps m = {};
    const weight_tile &tile = weight_tiles[l.tile];
    const bool made = l.planes
                          ? make_weight_planes(&m.a, t, dy, tile.m) && make_weight_planes(&m.b, t, t.x, tile.n / l.parts.share)
                          : make_dy(&m.a, t, dy, y, l) && make_a(&m.b, t, l.images, x, terms_of(t));
    TRINE_REQUIRE_THAT(call, made, "the driver makes no tensor map of it");
    if (l.turned) return launch_weight_tile<float, weight_way::turned>(call, m, g, l, o);
    switch (t.dtype) {
    case TRINE_F16: return launch_weight_lying<simt::f16, weight_way::plain>(call, m, g, l, o);
    case TRINE_BF16: return launch_weight_lying<simt::bf16, weight_way::plain>(call, m, g, l, o);
    default: return launch_weight_lying<float, weight_way::exact>(call, m, g, l, o);
    }
}

trine_status conv_weight(trine_call *call, const void *args)
{
    const trine_conv_backward_weight_args *a = static_cast<const trine_conv_backward_weight_args *>(args);
    const trine_conv_shape s = trine_conv_shape_make(&a->x, &a->dweight, &a->dy, &a->window, a->channels_last);
    trine_conv_args forward = {};
    forward.x = a->x;
    forward.weight = a->dweight;
    forward.y = a->dy;
    forward.precision = a->precision;
    conv_task t = forward_task(s, &forward);
    const conv_images dy = images_of_y(s, a->dy.data);
    trine_status status = check_task(call, t, s.groups);
    if (status != TRINE_OK) return status;
    TRINE_REQUIRE_THAT(call, !task_is_empty(t), "needs outputs");
    take_steps(&t);
    const weight_layout l = weight_layout_of(call, t, dy);
    status = check_layout(call, t, l.images);
    if (status != TRINE_OK) return status;
    if ((!l.copy_x && !simt::aligned16(t.x.data)) || (!l.copy_y && !simt::aligned16(dy.data)))
        return trine_cuda_conv_weight_portable(call, args);
    TRINE_END_OF_QUERY(call, l.x_bytes + l.y_bytes + l.sums_bytes + 256);
    const weight_output o = {a->dweight.data,
                             s.f_k,
                             s.f_c,
                             {s.f_at[0], s.f_at[1]},
                             int(s.c),
                             int(s.taps[0] * s.taps[1]),
                             int(s.taps[1]),
                             l.images.windows ? l.images.cell : l.images.chunks * terms_of(t),
                             l.images.chunks * terms_of(t) * (l.images.windows ? 1 : int(s.taps[1])),
                             a->dweight.dtype == TRINE_F32};
    return run_weight(call, t, dy, l, o);
}

} // namespace sm90

#endif
