/* The sm90 convolution as its kernel sees it: a task is images of dense channels, filters and d; a layout says which of them
 * are copied first, and how the terms are divided into steps. Guards and tensor maps. */
#ifndef TRINE_CUDA_CONV_SM90_PLAN_H
#define TRINE_CUDA_CONV_SM90_PLAN_H

#include "backends/cuda/conv_sm90_lines.h"
#include "backends/cuda/conv_sm90_pack.h"
#include "backends/cuda/conv_turn.h"
#include "core/conv_plan.h"

namespace sm90 {

using conv_turn::conv_images;
using conv_turn::images_of_x;
using conv_turn::images_of_y;
using conv_turn::turn_to_channels;
using conv_turn::turn_to_planes;

enum { window_channels = 16 /* images of at most so many are copied to windows */ };

/* ---- One convolution, as the kernel sees it: images of dense channels, filters, d ---- */

struct conv_filters {
    const void *data;
    int64_t rows, row, channel, tap[2]; /* strides, of tap 0 on; of the taps they may be negative */
    int64_t taps[2];                    /* that there are */
};

/* A phase of a data gradient, or the whole of everything else. */
struct conv_task {
    trine_dtype dtype;
    bool exact; /* f32 is not rounded */
    conv_images x;
    conv_filters f;
    bool turned;    /* the filters lie, or are copied, along their rows, taps in their own order */
    bool backwards; /* their taps are met from the last on */
    int64_t taps[2], outputs[2], first[2], step[2], apart[2];
    int64_t filter, filter_step[2]; /* index of the first tap among the filter's, from one tap to the next */
    int64_t tap_at[2];              /* from `first` to the first tap */
    int plane;                      /* of the phases' */
    int64_t d;                      /* elements from the beginning of d */
    conv_finish finish;
};

inline int64_t bytes_of(const conv_task &t) { return t.dtype == TRINE_F32 ? 4 : 2; }
/* Of a step, or of a line of 128 bytes. */
inline int terms_of(const conv_task &t) { return int(wgmma::line_bytes / bytes_of(t)); }
inline CUtensorMapDataType type_of(trine_dtype dtype)
{
    return dtype == TRINE_F32   ? CU_TENSOR_MAP_DATA_TYPE_FLOAT32
           : dtype == TRINE_F16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
}

/* Of what is loaded: TMA rounds f32 to tf32, to the nearest, if the map says so. */
inline CUtensorMapDataType loaded_type_of(const conv_task &t)
{
    return t.dtype == TRINE_F32 && !t.exact ? CU_TENSOR_MAP_DATA_TYPE_TFLOAT32 : type_of(t.dtype);
}

inline int64_t align256(int64_t bytes) { return (bytes + 255) / 256 * 256; }

inline int padded_to(int64_t n, int64_t unit) { return int(simt::ceil_div(n, unit) * unit); }

/* Channels dense, everything else in steps of 16 bytes: TMA can read it. */
inline bool lies_well(const conv_images &x, int64_t bytes)
{
    const auto fits = [bytes](int64_t size, int64_t stride) { return size == 1 || tensor_map::stride_fits(stride, int(bytes)); };
    return x.channel == 1 && x.c * bytes % 16 == 0 && fits(x.n, x.image) && fits(x.size[0], x.stride[0]) &&
           fits(x.size[1], x.stride[1]);
}
inline bool lies_well(const conv_filters &f, int64_t channels, bool turned, int bytes)
{
    const int64_t dense = turned ? f.row : f.channel, line = turned ? f.rows : channels, other = turned ? f.channel : f.row,
                  lines = turned ? channels : f.rows;
    return dense == 1 && line * bytes % 16 == 0 && (lines == 1 || tensor_map::stride_fits(other, bytes)) &&
           (f.taps[1] == 1 || tensor_map::stride_fits(f.tap[1], bytes)) &&
           (f.taps[0] == 1 || tensor_map::stride_fits(f.tap[0], bytes)) &&
           (f.taps[0] == 1 || f.taps[1] == 1 || f.tap[0] == f.taps[1] * f.tap[1]);
}

/* How a task is run: which copies, where in the workspace, steps of the ring. */
struct conv_layout {
    bool windows, copy_x, copy_f;
    int cell, lines;                  /* windows: channels of a pixel, filter rows in a step */
    int chunks, steps, rows, columns; /* rows, columns: of the copied image */
    int line;                         /* elements of a copied filter's tap (windows: of all taps) */
    int box[2];
    size_t x_bytes, f_bytes, d_bytes; /* d_bytes: d is made as pixels of dense channels and turned, for TMA can't write it */
};

/* Boxes of so many pixels with the fewest outside of the plane; wide ones first. */
inline void choose_box(const int64_t *outputs, int pixels, int *box)
{
    int64_t least = INT64_MAX;
    for (int columns = pixels < 64 ? pixels : 64; columns >= 8; columns /= 2) {
        const int rows = pixels / columns;
        const int64_t made = simt::ceil_div(outputs[0], rows) * simt::ceil_div(outputs[1], columns);
        if (made < least) {
            least = made;
            box[0] = rows;
            box[1] = columns;
        }
    }
}

/* Few channels, whose taps are brought together. */
inline bool takes_windows(const conv_task &t)
{
    return !t.backwards && !t.finish.spread.phases[0] && t.x.c <= window_channels && t.apart[1] == 1 && t.taps[0] * t.taps[1] > 1;
}

/* What conv_lines_kernel takes of the windows of two filter rows: outputs 16 bytes apart, in tiles of two rows of 64. */
inline bool fits_lines(const conv_task &t)
{
    return t.step[1] == 2 && t.step[0] <= 2 && t.apart[0] == 1 && t.taps[0] <= lines_taps && 2 * t.outputs[1] > lines_outputs;
}

/* pixels: of a step or tile; pairs: two filter rows may be one step. */
inline conv_layout layout_of(const conv_task &t, int pixels = 128, bool may_pair = true)
{
    conv_layout l = {};
    const int64_t bytes = bytes_of(t);
    const int terms = terms_of(t), whole = int(16 / bytes);
    l.windows = takes_windows(t);
    l.copy_f = true;
    if (l.windows) {
        /* two filter rows in a step where they fit; outputs must be 16 bytes apart; there is one tile for it */
        const bool pairs = may_pair && bytes == 2 && t.x.c <= 4 && t.step[1] % 2 == 0 && t.taps[1] <= 8 && t.f.rows <= 64;
        l.cell = pairs || (bytes == 4 && t.x.c <= 4) ? 4 : t.x.c <= 8 ? 8 : 16;
        l.lines = pairs ? 2 : 1;
        l.chunks = int(simt::ceil_div(t.taps[1] * l.cell, terms));
        l.steps = int(simt::ceil_div(t.taps[0], l.lines)) * l.chunks;
        l.rows = int((t.outputs[0] - 1) * t.step[0] + (t.taps[0] - 1) * t.apart[0] + 1);
        l.columns = padded_to((t.outputs[1] - 1) * t.step[1] + t.taps[1], 16 / l.cell);
        l.copy_x = true;
        l.x_bytes = size_t(align256(t.x.n * l.rows * l.columns * l.cell * bytes));
        choose_box(t.outputs, pixels, l.box);
        if (pairs && fits_lines(t)) {
            l.box[0] = 2;
            l.box[1] = lines_outputs;
        }
    } else {
        l.chunks = int(simt::ceil_div(t.x.c, terms));
        l.steps = int(t.taps[0] * t.taps[1]) * l.chunks;
        l.copy_x = !lies_well(t.x, bytes);
        l.copy_f = !lies_well(t.f, t.x.c, t.turned, int(bytes));
        l.x_bytes = l.copy_x ? size_t(align256(t.x.n * t.x.size[0] * t.x.size[1] * padded_to(t.x.c, whole) * bytes)) : 0;
    }
    l.line = l.windows ? l.steps * terms : padded_to(t.turned ? t.f.rows : t.x.c, terms);
    const int64_t lines = (t.turned ? t.x.c : t.f.rows) * (l.windows ? 1 : t.f.taps[0] * t.f.taps[1]);
    l.f_bytes = l.copy_f ? size_t(align256(lines * l.line * bytes)) : 0;
    return l;
}

inline tensor_map::images images_of(const conv_task &t, const conv_layout &l, const void *data)
{
    tensor_map::images m = {};
    const int64_t bytes = bytes_of(t), channels = l.copy_x ? padded_to(t.x.c, 16 / bytes) : t.x.c;
    m.data = data;
    m.type = loaded_type_of(t);
    m.element_bytes = int(bytes);
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
    TRINE_REQUIRE_THAT(call, groups == 1, "needs one group");
    TRINE_REQUIRE_THAT(call, t.x.c > 0, "needs a channel");
    TRINE_REQUIRE_THAT(call, t.x.n * t.outputs[0] * t.outputs[1] <= largest && t.f.rows <= largest, "needs at most 2^30 pixels");
    return TRINE_OK;
}

inline trine_status check_layout(trine_call *call, const conv_task &t, const conv_layout &l)
{
    const int64_t reach[2] = {t.tap_at[1] + (t.taps[1] - 1) * t.apart[1], t.tap_at[0] + (t.taps[0] - 1) * t.apart[0]};
    if (l.windows) {
        TRINE_REQUIRE_THAT(call, t.step[1] * l.cell * bytes_of(t) < 1 << 20 && int64_t(l.rows) * l.columns < 1 << 30,
                           "needs a padded plane of less than 2^30 pixels");
    } else {
        TRINE_REQUIRE_THAT(call, tensor_map::fits(images_of(t, l, nullptr), reach),
                           "needs strides of at most 8, and padding and filters of at most 128");
    }
    return TRINE_OK;
}

/* ---- Maps ---- */

inline bool make_a(CUtensorMap *map, const conv_task &t, const conv_layout &l, const void *data, int pixels)
{
    if (!l.windows) return tensor_map::make(map, images_of(t, l, data), pixels);
    const cuuint64_t pixel = cuuint64_t(l.cell) * cuuint64_t(bytes_of(t)), line = cuuint64_t(l.columns) * pixel;
    const tensor_map::boxes m = {
        data,
        loaded_type_of(t),
        {cuuint64_t(t.taps[1]) * cuuint64_t(l.cell), cuuint64_t(t.outputs[1]), cuuint64_t(t.outputs[0]), cuuint64_t(t.taps[0]),
         cuuint64_t(t.x.n)},
        {pixel * cuuint64_t(t.step[1]), line * cuuint64_t(t.step[0]), line * cuuint64_t(t.apart[0]), line * cuuint64_t(l.rows)},
        {cuuint32_t(terms_of(t) / l.lines), cuuint32_t(l.box[1]), cuuint32_t(l.box[0]), cuuint32_t(l.lines), 1}};
    return tensor_map::make(map, m);
}

/* Boxes of a step's terms and so many rows; filters along their rows in boxes of 64 rows. */
inline bool make_b(CUtensorMap *map, const conv_task &t, const conv_layout &l, const void *data, int rows)
{
    tensor_map::matrices m = {};
    m.data = data;
    m.type = loaded_type_of(t);
    m.element_bytes = int(bytes_of(t));
    m.inner = t.turned ? t.f.rows : t.x.c;
    m.outer = t.turned ? t.x.c : t.f.rows;
    m.outer_stride = t.turned ? t.f.channel : t.f.row;
    m.batch_axes = 1;
    m.batch[0] = t.f.taps[0] * t.f.taps[1];
    m.batch_stride[0] = t.f.taps[1] > 1 ? t.f.tap[1] : t.f.tap[0];
    m.batch[1] = m.batch[2] = 1;
    if (l.copy_f) {
        if (l.windows) m.batch[0] = l.steps / l.chunks;
        m.inner = m.batch_stride[0] = l.windows ? l.chunks * terms_of(t) : l.line;
        m.outer_stride = m.batch[0] * m.batch_stride[0];
    }
    return tensor_map::make(map, m, terms_of(t), t.turned ? 64 : rows);
}

/* Outputs with dense channels, in boxes of a line of channels and box[0] x box[1] pixels. */
inline bool make_outputs(CUtensorMap *map, const void *data, CUtensorMapDataType type, int64_t size, int64_t channels,
                         const conv_task &t, const int64_t *stride, int64_t image, const int *box)
{
    const auto bytes = [size](int64_t count, int64_t step) { return cuuint64_t(count > 1 ? step * size : 16); };
    const tensor_map::boxes m = {data,
                                 type,
                                 {cuuint64_t(channels), cuuint64_t(t.outputs[1]), cuuint64_t(t.outputs[0]), cuuint64_t(t.x.n), 1},
                                 {bytes(t.outputs[1], stride[1]), bytes(t.outputs[0], stride[0]), bytes(t.x.n, image), 16},
                                 {cuuint32_t(wgmma::line_bytes / size), cuuint32_t(box[1]), cuuint32_t(box[0]), 1, 1}};
    return tensor_map::make(map, m);
}

inline CUtensorMapDataType type_of_d(const conv_task &t) { return type_of(t.finish.wide ? TRINE_F32 : t.dtype); }

/* d's pixels, wherever they lie, by im2col's mode. */
inline bool make_d_pixels(CUtensorMap *map, const conv_task &t)
{
    const conv_finish &f = t.finish;
    tensor_map::images m = {};
    m.element_bytes = f.wide ? 4 : 2;
    m.data = static_cast<const char *>(f.d) + t.d * m.element_bytes;
    m.type = type_of_d(t);
    m.channels = t.f.rows;
    m.images = t.x.n;
    m.image_stride = f.image;
    const int64_t stride[2] = {f.column, f.row}, reach[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        m.size[i] = m.count[i] = t.outputs[1 - i];
        m.stride[i] = stride[i];
        m.step[i] = 1;
    }
    return simt::aligned16(m.data) && tensor_map::fits(m, reach) && tensor_map::make(map, m, 64);
}

/* Sums that are d after no more than bias and relu, in columns that are channels. */
inline bool finishes_simply(const conv_task &t)
{
    const conv_finish &f = t.finish;
    return !f.spread.phases[0] && (f.activation == TRINE_ACT_IDENTITY || f.activation == TRINE_ACT_RELU);
}

/* Planes of dense pixels, that TMA can write but for their address; a line of a box is of one image. Lines end at multiples of 16
 * bytes: TMA writes those as a whole, also what lies behind a line. */
inline bool writes_planes(const conv_task &t, int phases, const conv_layout &l)
{
    const conv_finish &f = t.finish;
    const int64_t size = f.wide ? 4 : 2;
    const auto fits = [size](int64_t count, int64_t stride) { return count == 1 || tensor_map::stride_fits(stride, int(size)); };
    const int64_t line = wgmma::line_bytes / size;
    const int64_t ends = l.windows ? t.outputs[1] : t.outputs[0] * t.outputs[1];
    const bool dense = t.outputs[1] > 1 && f.column == 1 && ends * size % 16 == 0;
    bool lines = (t.outputs[0] == 1 || f.row == t.outputs[1]) && (t.x.n == 1 || t.outputs[0] * t.outputs[1] % line == 0);
    if (l.windows) lines = fits(t.outputs[0], f.row) && l.box[1] * size % 16 == 0;
    return finishes_simply(t) && phases == 1 && dense && lines && fits(t.f.rows, f.channel) && fits(t.x.n, f.image);
}

inline bool make_planes(CUtensorMap *map, const conv_task &t, const conv_layout &l)
{
    const conv_finish &f = t.finish;
    const int64_t size = f.wide ? 4 : 2;
    const auto bytes = [size](int64_t count, int64_t step) { return cuuint64_t(count > 1 ? step * size : 16); };
    if (l.windows) {
        tensor_map::boxes m = {f.d,
                               type_of_d(t),
                               {cuuint64_t(t.outputs[1]), cuuint64_t(t.outputs[0]), cuuint64_t(t.f.rows), cuuint64_t(t.x.n), 1},
                               {bytes(t.outputs[0], f.row), bytes(t.f.rows, f.channel), bytes(t.x.n, f.image), 16},
                               {cuuint32_t(l.box[1]), cuuint32_t(64 / l.box[1]), cuuint32_t(wgmma::line_bytes / size), 1, 1}};
        m.plain = true;
        return tensor_map::make(map, m);
    }
    tensor_map::matrices m = {};
    m.data = f.d;
    m.type = type_of_d(t);
    m.element_bytes = int(size);
    m.inner = t.outputs[0] * t.outputs[1];
    m.outer = t.f.rows;
    m.outer_stride = f.channel;
    m.batch_axes = 1;
    m.batch[0] = t.x.n;
    m.batch_stride[0] = f.image;
    m.batch[1] = m.batch[2] = 1;
    return tensor_map::make(map, m, wgmma::line_bytes / size, wgmma::line_bytes / size);
}

/* Maps of d in boxes that are half a tile's pixels, if TMA can write it, and how. */
inline bool make_d(CUtensorMap *map, const conv_task *tasks, int phases, const conv_layout &l, conv_store_kind *kind)
{
    const conv_task &t = tasks[0];
    const conv_finish &f = t.finish;
    const int64_t size = f.wide ? 4 : 2, columns = t.outputs[1], all = t.x.n * t.outputs[0] * columns;
    const bool fits = f.channel == 1 && t.f.rows * size % 16 == 0 && simt::aligned16(f.d) && f.column * size % 16 == 0 &&
                      f.row * size % 16 == 0 && f.image * size % 16 == 0 && f.column > 0;
    const bool plane =
        (t.outputs[0] == 1 || f.row == columns * f.column) && (t.x.n == 1 || f.image == t.outputs[0] * columns * f.column);
    *kind = store_kind_rows;
    if (f.channel != 1 && simt::aligned16(f.d) && writes_planes(t, phases, l)) {
        *kind = store_kind_planes;
        return make_planes(map, t, l);
    }
    if (!finishes_simply(t) || !fits) return false;
    if (!l.windows && phases == 1 && plane && columns > 1) {
        tensor_map::matrices m = {};
        m.data = f.d;
        m.type = type_of_d(t);
        m.element_bytes = int(size);
        m.inner = t.f.rows;
        m.outer = all;
        m.outer_stride = f.column;
        return tensor_map::make(map, m, wgmma::line_bytes / size, 64);
    }
    if (!l.windows) {
        bool made = phases <= conv_planes;
        *kind = store_kind_pixels;
        for (int i = 0; i < phases && made; i++) made = make_d_pixels(map + i, tasks[i]);
        return made;
    }
    const int half[2] = {64 / l.box[1], l.box[1]};
    const int64_t stride[2] = {f.row, f.column};
    return l.box[1] <= 64 && make_outputs(map, f.d, type_of_d(t), size, t.f.rows, t, stride, f.image, half);
}

inline bool stores_packs(const conv_task &t)
{
    const conv_finish &f = t.finish;
    return f.channel == 1 && t.f.rows % 8 == 0 && f.column % 8 == 0 && f.row % 8 == 0 && f.image % 8 == 0 && simt::aligned16(f.d);
}

} // namespace sm90

#endif
