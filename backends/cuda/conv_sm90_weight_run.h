/* The host side of the filters' gradient on Hopper. */
#ifndef TRINE_CUDA_CONV_SM90_WEIGHT_RUN_H
#define TRINE_CUDA_CONV_SM90_WEIGHT_RUN_H

#include "backends/cuda/conv_sm90.h"
#include "backends/cuda/conv_sm90_weight.h"

namespace sm90 {

using weight_128x128 = tile<128, 128, 6, 1>;
using weight_64x128 = tile<64, 128, 4, 2>;

/* dy as a matrix [pixels][channels] in memory. */
inline bool lies_as_matrix(const conv_images &y)
{
    const int64_t column = y.size[1] > 1 ? y.stride[1] : y.stride[0];
    return lies_well(y) && (y.size[0] == 1 || y.size[1] == 1 || y.stride[0] == y.size[1] * column) &&
           (y.n == 1 || y.image == y.size[0] * y.size[1] * column) && y.size[0] * y.size[1] > 1;
}

struct weight_layout {
    bool copy_x, copy_y, large;
    conv_layout images; /* of x */
    weight_parts parts;
    size_t x_bytes, y_bytes, sums_bytes;
};

inline weight_layout weight_layout_of(const trine_call *call, const conv_task &t, const conv_images &dy)
{
    weight_layout l = {};
    const int64_t units = call->device->props.compute_units > 0 ? call->device->props.compute_units : 1;
    l.copy_x = l.images.copy_x = !lies_well(t.x);
    l.copy_y = !lies_as_matrix(dy);
    l.images.chunks = int(simt::ceil_div(t.x.c, 64));
    l.large = dy.c > 64;
    const int64_t m = l.large ? 128 : 64, n = 128, pixels = t.x.n * t.outputs[0] * t.outputs[1];
    l.parts.blocks = int(t.taps[0] * t.taps[1]) * l.images.chunks;
    l.parts.tiles_m = unsigned(simt::ceil_div(dy.c, m));
    l.parts.tiles_n = unsigned(simt::ceil_div(int64_t(l.parts.blocks) * 64, n));
    l.parts.rows = int(dy.c);
    l.parts.pitch = int(l.parts.tiles_n) * int(n);
    l.parts.steps = int(simt::ceil_div(pixels, 64));
    /* one round of blocks, parts of at least 16 steps, sums of at most 64 MiB */
    const int64_t tiles = int64_t(l.parts.tiles_m) * l.parts.tiles_n, together = l.large ? 1 : 2, sums = dy.c * l.parts.pitch * 4;
    int64_t splits = units * together / tiles;
    if (splits > l.parts.steps / 16) splits = l.parts.steps / 16;
    if (splits > (int64_t(64) << 20) / sums) splits = (int64_t(64) << 20) / sums;
    l.parts.splits = unsigned(splits > 1 ? splits : 1);
    l.x_bytes = l.copy_x ? size_t(align256(t.x.n * t.x.size[0] * t.x.size[1] * padded_to(t.x.c, 8) * 2)) : 0;
    l.y_bytes = l.copy_y ? size_t(align256(pixels * padded_to(dy.c, 8) * 2)) : 0;
    l.sums_bytes = size_t(align256(int64_t(l.parts.splits) * sums));
    return l;
}

template <class T, class Tile> inline trine_status launch_weight(trine_call *call, const maps &m, const conv_geometry &g,
                                                                 const weight_parts &p, const weight_output &o)
{
    const auto kernel = conv_weight_kernel<T, Tile>;
    const unsigned units = p.tiles_m * p.tiles_n * p.splits,
                   resident = unsigned(call->device->props.compute_units) * Tile::together;
    target::allow_shared(kernel, Tile::shared);
    const trine_status status =
        simt::launch(call, kernel, simt::grid(units < resident ? units : resident), Tile::threads, Tile::shared, m, g, p);
    if (status != TRINE_OK) return status;
    const int64_t elements = int64_t(p.rows) * o.taps * o.channels;
    return simt::launch(call, add_weight_kernel<T>, simt::grid(simt::ceil_div(elements, 256)), 256, 0, p, o);
}

inline bool make_dy(CUtensorMap *map, const conv_task &t, const conv_images &dy, const void *data, bool copied)
{
    tensor_map::matrices m = {};
    m.data = data;
    m.type = t.dtype == TRINE_F16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    m.element_bytes = 2;
    m.inner = copied ? padded_to(dy.c, 8) : dy.c;
    m.outer = t.x.n * t.outputs[0] * t.outputs[1];
    m.outer_stride = copied ? m.inner : dy.size[1] > 1 ? dy.stride[1] : dy.stride[0];
    return tensor_map::make(map, m, 64, 64);
}

inline trine_status run_weight(trine_call *call, const conv_task &t, const conv_images &dy, weight_layout l,
                               const weight_output &o)
{
    char *const memory = reinterpret_cast<char *>((reinterpret_cast<uintptr_t>(call->workspace) + 255) / 256 * 256);
    const void *x = l.copy_x ? memory : t.x.data, *y = l.copy_y ? memory + l.x_bytes : dy.data;
    trine_status status = TRINE_OK;
    l.parts.sums = reinterpret_cast<float *>(memory + l.x_bytes + l.y_bytes);
    if (l.copy_x) status = pack_channels(call, image_pack_of(t.x), padded_to(t.x.c, 8), memory);
    if (l.copy_y && status == TRINE_OK) status = pack_channels(call, image_pack_of(dy), padded_to(dy.c, 8), memory + l.x_bytes);
    if (status != TRINE_OK) return status;
    maps m = {};
    TRINE_REQUIRE_THAT(call, make_dy(&m.a, t, dy, y, l.copy_y) && tensor_map::make(&m.b, images_of(t, l.images, x), 64),
                       "the driver makes no tensor map of it");
    const conv_geometry g = geometry_of(t, l.images);
    if (t.dtype == TRINE_F16)
        return l.large ? launch_weight<simt::f16, weight_128x128>(call, m, g, l.parts, o)
                       : launch_weight<simt::f16, weight_64x128>(call, m, g, l.parts, o);
    return l.large ? launch_weight<simt::bf16, weight_128x128>(call, m, g, l.parts, o)
                   : launch_weight<simt::bf16, weight_64x128>(call, m, g, l.parts, o);
}

inline trine_status conv_weight(trine_call *call, const void *args)
{
    const trine_conv_backward_weight_args *a = static_cast<const trine_conv_backward_weight_args *>(args);
    const trine_conv_shape s = trine_conv_shape_make(&a->x, &a->dweight, &a->dy, &a->window, a->channels_last);
    trine_conv_args forward = {};
    forward.x = a->x;
    forward.weight = a->dweight;
    forward.y = a->dy;
    const conv_task t = forward_task(s, &forward);
    const conv_images dy = images_of_y(s, a->dy.data);
    trine_status status = check_task(call, t, s.groups);
    if (status != TRINE_OK) return status;
    TRINE_REQUIRE_THAT(call, !task_is_empty(t), "needs outputs");
    const weight_layout l = weight_layout_of(call, t, dy);
    const int64_t reach[2] = {(t.taps[1] - 1) * t.apart[1], (t.taps[0] - 1) * t.apart[0]};
    TRINE_REQUIRE_THAT(call, tensor_map::fits(images_of(t, l.images, nullptr), reach),
                       "needs strides of at most 8, and padding and filters of at most 128");
    if ((!l.copy_x && !simt::aligned16(t.x.data)) || (!l.copy_y && !simt::aligned16(dy.data)))
        return simt::conv_weight(call, args);
    TRINE_END_OF_QUERY(call, l.x_bytes + l.y_bytes + l.sums_bytes + 256);
    const weight_output o = {a->dweight.data,
                             s.f_k,
                             s.f_c,
                             {s.f_at[0], s.f_at[1]},
                             int(s.c),
                             int(s.taps[0] * s.taps[1]),
                             int(s.taps[1]),
                             l.images.chunks * 64,
                             a->dweight.dtype == TRINE_F32};
    return run_weight(call, t, dy, l, o);
}

} // namespace sm90

#endif
