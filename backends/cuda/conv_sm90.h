/* The sm90 convolution's host side: what it takes, which copies it needs, the tile, the launch. Forward and the phases of the data
 * gradient are one kernel; conv_sm90_weight_run.h has the filters' gradient. */
#ifndef TRINE_CUDA_CONV_SM90_H
#define TRINE_CUDA_CONV_SM90_H

#include "backends/cuda/conv_sm90_kernel.h"
#include "backends/cuda/conv_sm90_pack.h"
#include "backends/simt/conv.h"

namespace sm90 {

enum { window_channels = 16 /* images of at most so many are copied to windows */ };

/* ---- One convolution, as the kernel sees it: images of dense channels, filters, d ---- */

struct conv_images {
    const void *data;
    int64_t n, c, image, channel, size[2], stride[2]; /* strides; [rows, columns] */
};

struct conv_filters {
    const void *data;
    int64_t rows, row, channel, tap[2]; /* strides, of tap 0 on; of the taps they may be negative */
};

struct conv_task {
    trine_dtype dtype;
    conv_images x;
    conv_filters f;
    int64_t taps[2], outputs[2], first[2], step[2], apart[2];
    conv_finish finish;
};

inline int64_t align256(int64_t bytes) { return (bytes + 255) / 256 * 256; }

inline int padded_to(int64_t n, int64_t unit) { return int(simt::ceil_div(n, unit) * unit); }

/* Channels dense, everything else in steps of 16 bytes: TMA can read it. */
inline bool lies_well(const conv_images &x)
{
    const auto fits = [](int64_t size, int64_t stride) { return size == 1 || tensor_map::stride_fits(stride, 2); };
    return x.channel == 1 && x.c % 8 == 0 && fits(x.n, x.image) && fits(x.size[0], x.stride[0]) && fits(x.size[1], x.stride[1]);
}
inline bool lies_well(const conv_filters &f, const int64_t *taps, int64_t channels)
{
    return f.channel == 1 && channels % 8 == 0 && (f.rows == 1 || tensor_map::stride_fits(f.row, 2)) &&
           (taps[1] == 1 || tensor_map::stride_fits(f.tap[1], 2)) && (taps[0] == 1 || tensor_map::stride_fits(f.tap[0], 2)) &&
           (taps[0] == 1 || f.tap[0] == taps[1] * f.tap[1]);
}

/* How a task is run: which copies, where in the workspace, steps of the ring. */
struct conv_layout {
    bool windows, copy_x, copy_f;
    int cell, lines;                  /* windows: channels of a pixel, filter rows in a step */
    int chunks, steps, rows, columns; /* rows, columns: of the copied image */
    int box[2];
    size_t x_bytes, f_bytes;
};

/* Boxes of 128 pixels with the fewest outside of the plane; wide ones first. */
inline void choose_box(const int64_t *outputs, int *box)
{
    int64_t least = INT64_MAX;
    for (int columns = 64; columns >= 8; columns /= 2) {
        const int rows = 128 / columns;
        const int64_t made = simt::ceil_div(outputs[0], rows) * simt::ceil_div(outputs[1], columns);
        if (made < least) {
            least = made;
            box[0] = rows;
            box[1] = columns;
        }
    }
}

inline conv_layout layout_of(const conv_task &t)
{
    conv_layout l = {};
    l.windows = t.x.c <= window_channels && t.apart[1] == 1 && t.taps[0] * t.taps[1] > 1;
    l.copy_f = true;
    if (l.windows) {
        l.cell = t.x.c <= 8 ? 8 : 16;
        l.lines = 1;
        l.chunks = int(simt::ceil_div(t.taps[1] * l.cell, 64));
        l.steps = int(simt::ceil_div(t.taps[0], l.lines)) * l.chunks;
        l.rows = int((t.outputs[0] - 1) * t.step[0] + (t.taps[0] - 1) * t.apart[0] + 1);
        l.columns = padded_to((t.outputs[1] - 1) * t.step[1] + t.taps[1], 16 / l.cell);
        l.copy_x = true;
        l.x_bytes = size_t(align256(t.x.n * l.rows * l.columns * l.cell * 2));
        choose_box(t.outputs, l.box);
    } else {
        l.chunks = int(simt::ceil_div(t.x.c, 64));
        l.steps = int(t.taps[0] * t.taps[1]) * l.chunks;
        l.copy_x = !lies_well(t.x);
        l.copy_f = !lies_well(t.f, t.taps, t.x.c);
        l.x_bytes = l.copy_x ? size_t(align256(t.x.n * t.x.size[0] * t.x.size[1] * padded_to(t.x.c, 8) * 2)) : 0;
    }
    l.f_bytes = l.copy_f ? size_t(align256(t.f.rows * l.steps * 128)) : 0;
    return l;
}

inline tensor_map::images images_of(const conv_task &t, const conv_layout &l, const void *data)
{
    tensor_map::images m = {};
    const int64_t channels = l.copy_x ? padded_to(t.x.c, 8) : t.x.c;
    m.data = data;
    m.type = t.dtype == TRINE_F16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    m.channels = channels;
    m.images = t.x.n;
    m.image_stride = l.copy_x ? t.x.size[0] * t.x.size[1] * channels : t.x.image;
    for (int i = 0; i < 2; i++) { /* columns come first */
        m.size[i] = t.x.size[1 - i];
        m.stride[i] = l.copy_x ? (i ? t.x.size[1] : 1) * channels : t.x.stride[1 - i];
        m.first[i] = t.first[1 - i];
        m.count[i] = t.outputs[1 - i];
        m.step[i] = t.step[1 - i];
    }
    return m;
}

/* ---- Guards ---- */

inline trine_status check_task(trine_call *call, const conv_task &t, int64_t groups)
{
    enum { largest = 1 << 30 };
#ifndef TRINE_CODE_SM90A
    return trine_refuse(call, "needs a build with machine code for sm_90a");
#endif
    TRINE_REQUIRE_THAT(call, strcmp(call->device->props.arch, "sm_90") == 0, "needs a GPU of compute capability 9.0");
    TRINE_REQUIRE_THAT(call, t.dtype == TRINE_F16 || t.dtype == TRINE_BF16, "needs f16 or bf16");
    TRINE_REQUIRE_THAT(call, groups == 1, "needs one group");
    TRINE_REQUIRE_THAT(call, t.x.c > 0, "needs a channel");
    TRINE_REQUIRE_THAT(call, t.x.n * t.outputs[0] * t.outputs[1] <= largest && t.f.rows <= largest, "needs at most 2^30 pixels");
    return TRINE_OK;
}

inline trine_status check_layout(trine_call *call, const conv_task &t, const conv_layout &l)
{
    const int64_t reach[2] = {(t.taps[1] - 1) * t.apart[1], (t.taps[0] - 1) * t.apart[0]};
    if (l.windows) {
        TRINE_REQUIRE_THAT(call, t.step[1] * l.cell * 2 < 1 << 20 && int64_t(l.rows) * l.columns < 1 << 30,
                           "needs a padded plane of less than 2^30 pixels");
    } else {
        TRINE_REQUIRE_THAT(call, tensor_map::fits(images_of(t, l, nullptr), reach),
                           "needs strides of at most 8, and padding and filters of at most 128");
    }
    return TRINE_OK;
}

/* ---- Maps ---- */

inline bool make_a(CUtensorMap *map, const conv_task &t, const conv_layout &l, const void *data)
{
    if (!l.windows) return tensor_map::make(map, images_of(t, l, data), 128);
    const cuuint64_t pixel = cuuint64_t(l.cell) * 2, line = cuuint64_t(l.columns) * pixel;
    const tensor_map::boxes m = {
        data,
        t.dtype == TRINE_F16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        {cuuint64_t(t.taps[1]) * cuuint64_t(l.cell), cuuint64_t(t.taps[0]), cuuint64_t(t.outputs[1]), cuuint64_t(t.outputs[0]),
         cuuint64_t(t.x.n)},
        {line * cuuint64_t(t.apart[0]), pixel * cuuint64_t(t.step[1]), line * cuuint64_t(t.step[0]), line * cuuint64_t(l.rows)},
        {cuuint32_t(64 / l.lines), cuuint32_t(l.lines), cuuint32_t(l.box[1]), cuuint32_t(l.box[0]), 1}};
    return tensor_map::make(map, m);
}

inline bool make_b(CUtensorMap *map, const conv_task &t, const conv_layout &l, const void *data, int rows)
{
    tensor_map::matrices m = {};
    m.data = data;
    m.type = t.dtype == TRINE_F16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    m.element_bytes = 2;
    m.inner = l.copy_f ? l.chunks * 64 : t.x.c;
    m.outer = t.f.rows;
    m.outer_stride = l.copy_f ? int64_t(l.steps) * 64 : t.f.row;
    m.batch_axes = 1;
    m.batch[0] = l.steps / l.chunks;
    m.batch_stride[0] = l.copy_f ? int64_t(l.chunks) * 64 : t.taps[1] > 1 ? t.f.tap[1] : t.f.tap[0];
    m.batch[1] = m.batch[2] = 1;
    return tensor_map::make(map, m, 64, rows);
}

/* d in boxes that are half a tile's pixels, if TMA can write it. */
inline bool make_d(CUtensorMap *map, const conv_task &t, const conv_layout &l)
{
    const conv_finish &f = t.finish;
    const int64_t size = f.wide ? 4 : 2, columns = t.outputs[1], pixels = t.x.n * t.outputs[0] * columns;
    const bool simple = f.activation == TRINE_ACT_IDENTITY || f.activation == TRINE_ACT_RELU;
    const bool fits = f.channel == 1 && t.f.rows * size % 16 == 0 && reinterpret_cast<uintptr_t>(f.d) % 16 == 0 &&
                      f.column * size % 16 == 0 && f.row * size % 16 == 0 && f.image * size % 16 == 0 && f.column > 0;
    const bool plane =
        (t.outputs[0] == 1 || f.row == columns * f.column) && (t.x.n == 1 || f.image == t.outputs[0] * columns * f.column);
    if (!simple || !fits) return false;
    const CUtensorMapDataType type = f.wide                 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT32
                                     : t.dtype == TRINE_F16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                                            : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    if (!l.windows) {
        tensor_map::matrices m = {};
        m.data = f.d;
        m.type = type;
        m.element_bytes = int(size);
        m.inner = t.f.rows;
        m.outer = pixels;
        m.outer_stride = f.column;
        return plane && columns > 1 && tensor_map::make(map, m, wgmma::line_bytes / size, 64);
    }
    const auto bytes = [size](int64_t stride) { return cuuint64_t(stride > 0 ? stride * size : 16); };
    const tensor_map::boxes m = {f.d,
                                 type,
                                 {cuuint64_t(t.f.rows), cuuint64_t(columns), cuuint64_t(t.outputs[0]), cuuint64_t(t.x.n), 1},
                                 {bytes(f.column), bytes(f.row), bytes(f.image), 16},
                                 {cuuint32_t(wgmma::line_bytes / size), cuuint32_t(l.box[1]), cuuint32_t(64 / l.box[1]), 1, 1}};
    return l.box[1] <= 64 && tensor_map::make(map, m);
}

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

/* Rows of tiles. */
inline int64_t tile_rows(const conv_task &t, const conv_layout &l)
{
    if (!l.windows) return simt::ceil_div(t.x.n * t.outputs[0] * t.outputs[1], 128);
    return t.x.n * simt::ceil_div(t.outputs[0], l.box[0]) * simt::ceil_div(t.outputs[1], l.box[1]);
}

template <class T, class Tile>
inline trine_status launch_conv(trine_call *call, const conv_task &t, const conv_layout &l, const void *x, const void *f)
{
    static_assert(Tile::M == 128, "boxes of 128 pixels");
    const auto kernel = conv_kernel<T, Tile>;
    const int64_t rows = tile_rows(t, l);
    schedule s = {};
    s.share = Tile::N > 64 && rows % 2 == 0 ? 2 : 1;
    s.rows = unsigned(rows / s.share);
    s.columns = unsigned(simt::ceil_div(t.f.rows, Tile::N));
    s.units = s.rows * s.columns;
    s.splits = 1;
    s.steps = l.steps;
    s.group = 16;
    s.single = !l.windows;
    maps m = {};
    TRINE_REQUIRE_THAT(call, make_a(&m.a, t, l, x) && make_b(&m.b, t, l, f, Tile::N / s.share),
                       "the driver makes no tensor map of it");
    s.by_tma = make_d(&m.d, t, l);
    const unsigned resident = unsigned(call->device->props.compute_units) * Tile::together / unsigned(s.share);
    const unsigned clusters = s.units < resident ? s.units : resident;
    target::allow_shared(kernel, Tile::shared);
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {unsigned(s.share), 1, 1};
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(clusters * unsigned(s.share));
    config.blockDim = dim3(Tile::threads);
    config.dynamicSmemBytes = Tile::shared;
    config.stream = static_cast<cudaStream_t>(call->native);
    config.attrs = &attribute;
    config.numAttrs = 1;
    (void)cudaLaunchKernelEx(&config, kernel, m, geometry_of(t, l), t.finish, s); /* its error is the run time's last one */
    return target::launched(call);
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
        const int64_t blocks = tile_rows(t, l) * simt::ceil_div(t.f.rows, tiles[i].n);
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
    switch (tile < 0 ? choose_tile(call, t, l) : tile) {
    case 0: return launch_conv<T, conv_128x256>(call, t, l, x, f);
    case 1: return launch_conv<T, conv_128x128>(call, t, l, x, f);
    default: return launch_conv<T, conv_128x64>(call, t, l, x, f);
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
                           a->bias.dtype == TRINE_F32};
    return t;
}

inline bool task_is_empty(const conv_task &t) { return t.x.n == 0 || t.f.rows == 0 || t.outputs[0] == 0 || t.outputs[1] == 0; }

template <int tile> inline trine_status conv_forward(trine_call *call, const void *args)
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
    if (!aligned_for(t, l)) return simt::conv_forward(call, args);
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
                               false};
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

template <int tile> inline trine_status conv_data(trine_call *call, const void *args)
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
    if (!aligned) return simt::conv_data(call, args);
    TRINE_END_OF_QUERY(call, needed);
    return each_phase(s, a, [&](const conv_task *t, int64_t h, int64_t w) {
        if (t) return run_task(call, *t, layout_of(*t), true, tile);
        size_t nothing = 0;
        return simt::conv_portable(call, trine_conv_data(&s, a, h, w), &nothing, false);
    });
}

} // namespace sm90

#endif
