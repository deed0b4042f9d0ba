/* Gradients of pooling where neighbours in memory are columns of a plane. Bound by bytes.
 *
 * A block makes a slab of dx, rows and columns of one plane or several whole planes, in shared memory. Every thread loads the dy
 * (and indices) of up to four of the windows that reach over it.
 *
 * Maximum: a window adds to one element. Windows whose numbers differ by `colours` along an axis don't overlap: the block goes
 * through the colours, so that no two threads add to one element at once, and the order is that of the colours.
 * Average: dy / count is spread over the columns of the slab, then over its rows; two sums by gathering. */
#ifndef TRINE_SIMT_POOL_SLABS_H
#define TRINE_SIMT_POOL_SLABS_H

#include "backends/simt/pool_shape.h"

namespace simt {

enum {
    slab_windows_each = 4, /* of a thread */
    slab_windows = slab_windows_each * map_threads,
    slab_elements = 4096,
    slab_lines = map_threads, /* of windows, and of dx in a plane */
    slab_planes = 64,
    slab_colours = 64
};

struct pool_slab_plan {
    int64_t all_planes;
    int32_t rows, columns; /* of dx in a slab */
    int32_t down, across;  /* slabs of a plane */
    int32_t planes;        /* of a block */
    int32_t deep, wide;    /* most windows over a slab */
    int32_t colours_deep, colours_wide;
    divider32 by_deep, by_wide, by_rows, by_packs, by_in, by_colours_deep, by_colours_wide, by_lanes;

    static int64_t over(const trine_pool_axis &a, int64_t elements)
    {
        const int64_t most = (elements - 1 + int64_t(a.kernel - 1) * a.dilation) / a.stride + 1;
        return most < a.out ? most : a.out;
    }
    /* V: of a pack of dx. With `spread` the windows' rows over all columns must fit as well. */
    pool_slab_plan(const trine_pool_axis &height, const trine_pool_axis &width, int64_t planes_, int V, bool spread)
        : all_planes(planes_), rows(0), columns(width.in), planes(1)
    {
        const auto fit = [&](int64_t h, int64_t w, int64_t p) {
            const int64_t d = over(height, h);
            return p * d * over(width, w) <= slab_windows && p * h * w <= slab_elements && p * d <= slab_lines &&
                   h <= slab_lines && (!spread || p * d * w <= slab_elements);
        };
        while (columns > V && !fit(1, columns, 1)) columns = (columns / 2 + V - 1) / V * V;
        if (!fit(1, columns, 1)) return;
        rows = 1;
        while (rows < height.in && fit(rows + 1, columns, 1)) rows++;
        down = int32_t(ceil_div(height.in, rows));
        rows = int32_t(ceil_div(height.in, down));
        across = int32_t(ceil_div(width.in, columns));
        while (down * across == 1 && planes < slab_planes && planes < all_planes && fit(rows, columns, planes + 1)) planes++;
        deep = int32_t(over(height, rows));
        wide = int32_t(over(width, columns));
        if (deep < 1) deep = 1;
        if (wide < 1) wide = 1;
        colours_deep = int32_t(ceil_div(int64_t(height.kernel - 1) * height.dilation + 1, height.stride));
        colours_wide = int32_t(ceil_div(int64_t(width.kernel - 1) * width.dilation + 1, width.stride));
        by_deep = divider32(deep);
        by_wide = divider32(wide);
        by_rows = divider32(rows);
        by_packs = divider32(columns / V);
        by_in = divider32(width.in);
        by_colours_deep = divider32(colours_deep);
        by_colours_wide = divider32(colours_wide);
        by_lanes = divider32(lanes());
    }
    bool fits() const { return rows > 0; }
    bool few_colours() const { return int64_t(colours_deep) * colours_wide <= slab_colours; }
    TRINE_METHOD int32_t lanes() const { return columns < map_threads ? columns : int32_t(map_threads); }
    int64_t blocks() const { return int64_t(down) * across * ceil_div(all_planes, planes); }
};

/* The block's slab. */
struct pool_slab {
    int32_t row, column, rows, columns, planes; /* where it begins; what there is of it */
    int32_t low_deep, high_deep, low_wide, high_wide;
    int64_t plane;
    TRINE_DEVICE_METHOD pool_slab(const pool_shape &s, const pool_slab_plan &p)
    {
        const uint32_t slabs = uint32_t(p.down) * uint32_t(p.across), group = target::block_x() / slabs,
                       at = target::block_x() - group * slabs, below = at / uint32_t(p.across);
        row = int32_t(below) * p.rows;
        column = int32_t(at - below * uint32_t(p.across)) * p.columns;
        rows = s.height.in - row < p.rows ? s.height.in - row : p.rows;
        columns = s.width.in - column < p.columns ? s.width.in - column : p.columns;
        plane = int64_t(group) * p.planes;
        planes = p.all_planes - plane < p.planes ? int32_t(p.all_planes - plane) : p.planes;
        low_deep = s.height.first_over(row);
        high_deep = s.height.last_over(row + rows - 1);
        low_wide = s.width.first_over(column);
        high_wide = s.width.last_over(column + columns - 1);
    }
};

/* A line of a block's windows: where its dy and indices begin, its first row of dx, and where the shared sums of its plane would
 * begin if row 0 and column 0 were there. colour: of its rows, -1 where there is no such line. */
struct slab_line {
    int64_t dy, indices;
    int32_t top, sums, colour, deep;
};

/* Fills the lines and where the block's planes of dx begin. */
TRINE_DEVICE void slab_begin(slab_line (&line)[slab_lines], int64_t (&offset)[slab_planes], const pool_shape &s,
                             const pool_slab_plan &p, const pool_slab &slab, const walk<3, divider_any> &planes)
{
    const int32_t t = target::thread_x(), plane = int32_t(p.by_deep.divide(t)), deep = t - plane * p.deep,
                  row = slab.low_deep + deep;
    int64_t where[3];
    if (t < slab.planes) {
        planes.offsets(slab.plane + t, where);
        offset[t] = where[1];
    }
    if (t < p.planes * p.deep) {
        const bool there = plane < slab.planes && row <= slab.high_deep;
        planes.offsets(slab.plane + (there ? plane : 0), where);
        line[t] = slab_line{where[0] + row * s.row[0],
                            where[2] + row * s.row[2],
                            s.height.first_of(row),
                            (plane * p.rows - slab.row) * p.columns - slab.column,
                            there ? (deep - int32_t(p.by_colours_deep.divide(deep)) * p.colours_deep) * p.colours_wide : -1,
                            s.height.taps(row, s.include_pad)};
    }
    target::barrier();
}

/* Pack number `p` of the slab: its plane, row and column; false outside. */
template <int V> TRINE_DEVICE bool slab_pack(const pool_slab_plan &plan, const pool_slab &slab, int32_t p, int32_t (&at)[3])
{
    const int32_t line = int32_t(plan.by_packs.divide(p));
    at[0] = int32_t(plan.by_rows.divide(line));
    at[1] = line - at[0] * plan.rows;
    at[2] = p * V - line * plan.columns;
    return at[0] < slab.planes && at[1] < slab.rows && at[2] < slab.columns;
}

template <class T, int V> TRINE_KERNEL(map_threads)
pool_slabs_max_kernel(pool_shape s, pool_slab_plan plan, walk<3, divider_any> planes, T *dx, const T *dy, const void *indices)
{
    TRINE_SHARED pack<float, 4> sums[slab_elements / 4];
    TRINE_SHARED slab_line line[slab_lines];
    TRINE_SHARED int64_t offset[slab_planes];
    float *const sum = reinterpret_cast<float *>(sums);
    const int32_t t = target::thread_x();
    const pool_slab slab(s, plan);
    slab_begin(line, offset, s, plan, slab, planes);
    const int32_t elements = slab.planes * plan.rows * plan.columns, lines = plan.planes * plan.deep;
    T value[slab_windows_each];
    int32_t index[slab_windows_each], mine[slab_windows_each], to[slab_windows_each], colour[slab_windows_each];
#pragma unroll
    for (int k = 0; k < slab_windows_each; k++) {
        const int32_t number = t + k * map_threads, wide = number - int32_t(plan.by_wide.divide(number)) * plan.wide,
                      column = slab.low_wide + wide;
        mine[k] = int32_t(plan.by_wide.divide(number));
        index[k] = -1;
        if (mine[k] >= lines || column > slab.high_wide || line[mine[k]].colour < 0) continue;
        index[k] = get_places<1>(s, indices, line[mine[k]].indices + s.template along<V>(2, column)).at[0];
        value[k] = dy[line[mine[k]].dy + s.template along<V>(0, column)];
    }
    for (int32_t i = t; i * 4 < elements; i += map_threads) sums[i] = pack<float, 4>{};
#pragma unroll
    for (int k = 0; k < slab_windows_each; k++) {
        colour[k] = -1;
        if (index[k] < 0) continue;
        const int32_t wide = t + k * map_threads - mine[k] * plan.wide, h = int32_t(plan.by_in.divide(index[k])),
                      w = index[k] - h * s.width.in;
        if (!s.height.reaches(h - line[mine[k]].top) || !s.width.reaches(w - s.width.first_of(slab.low_wide + wide)) ||
            uint32_t(h - slab.row) >= uint32_t(slab.rows) || uint32_t(w - slab.column) >= uint32_t(slab.columns))
            continue;
        to[k] = line[mine[k]].sums + h * plan.columns + w;
        colour[k] = line[mine[k]].colour + wide - int32_t(plan.by_colours_wide.divide(wide)) * plan.colours_wide;
    }
    for (int32_t c = 0; c < plan.colours_deep * plan.colours_wide; c++) {
        target::barrier();
#pragma unroll
        for (int k = 0; k < slab_windows_each; k++)
            if (colour[k] == c) sum[to[k]] += to_f32(value[k]);
    }
    target::barrier();
    int32_t at[3];
    for (int32_t p = t; p * V < elements; p += map_threads) {
        if (!slab_pack<V>(plan, slab, p, at)) continue;
        const pack<float, V> in = *reinterpret_cast<const pack<float, V> *>(sum + p * V);
        pack<T, V> out;
#pragma unroll
        for (int v = 0; v < V; v++) out.at[v] = from_f32<T>(in.at[v]);
        store_pack<T, V>(dx + offset[at[0]] + s.template place<V>(1, slab.row + at[1], slab.column + at[2]), out);
    }
}

/* Without dilation: all windows over an element have it. */
template <class T, int V> TRINE_KERNEL(map_threads)
pool_slabs_average_kernel(pool_shape s, pool_slab_plan plan, walk<3, divider_any> planes, T *dx, const T *dy)
{
    TRINE_SHARED pack<float, 4> spread4[slab_elements / 4]; /* [plane][row of windows][column of the slab] */
    TRINE_SHARED float given[slab_windows];
    TRINE_SHARED slab_line line[slab_lines];
    TRINE_SHARED int64_t offset[slab_planes];
    TRINE_SHARED int32_t first_over[slab_lines], last_over[slab_lines]; /* of a row of the slab, from slab.low_deep on */
    float *const spread = reinterpret_cast<float *>(spread4);
    const int32_t t = target::thread_x();
    const pool_slab slab(s, plan);
    if (t < slab.rows) {
        first_over[t] = s.height.first_over(slab.row + t) - slab.low_deep;
        last_over[t] = s.height.last_over(slab.row + t) - slab.low_deep;
    }
    slab_begin(line, offset, s, plan, slab, planes);
#pragma unroll
    for (int k = 0; k < slab_windows_each; k++) {
        const int32_t number = t + k * map_threads, mine = int32_t(plan.by_wide.divide(number)),
                      column = slab.low_wide + number - mine * plan.wide;
        if (mine >= plan.planes * plan.deep || column > slab.high_wide || line[mine].colour < 0) continue;
        const float value = to_f32(dy[line[mine].dy + s.template along<V>(0, column)]);
        given[number] = value * pool_weights(s.width, line[mine].deep, s.include_pad).of(s.width, column);
    }
    target::barrier();
    /* a thread stays with its column; there are as many lines of threads as fit */
    const int32_t lanes = plan.lanes(), below = int32_t(plan.by_lanes.divide(t)), lines = map_threads / lanes;
    for (int32_t w = t - below * lanes; w < slab.columns && below < lines; w += lanes) {
        const int32_t low = s.width.first_over(slab.column + w) - slab.low_wide,
                      high = s.width.last_over(slab.column + w) - slab.low_wide;
#pragma unroll 2
        for (int32_t r = below; r < slab.planes * plan.deep; r += lines) {
            float sum = 0.0f;
#pragma unroll 1 /* they are one or two */
            for (int32_t o = high; o >= low; o--) sum += given[r * plan.wide + o];
            spread[r * plan.columns + w] = sum;
        }
    }
    target::barrier();
    const int32_t elements = slab.planes * plan.rows * plan.columns;
    int32_t at[3];
    for (int32_t p = t; p * V < elements; p += map_threads) {
        if (!slab_pack<V>(plan, slab, p, at)) continue;
        float sum[V] = {};
#pragma unroll 1
        for (int32_t o = last_over[at[1]]; o >= first_over[at[1]]; o--) {
            const auto *from = spread + (at[0] * plan.deep + o) * plan.columns + at[2];
            const pack<float, V> in = *reinterpret_cast<const pack<float, V> *>(from);
#pragma unroll
            for (int v = 0; v < V; v++) sum[v] += in.at[v];
        }
        pack<T, V> out;
#pragma unroll
        for (int v = 0; v < V; v++) out.at[v] = from_f32<T>(sum[v]);
        store_pack<T, V>(dx + offset[at[0]] + s.template place<V>(1, slab.row + at[1], slab.column + at[2]), out);
    }
}

} // namespace simt

#endif
