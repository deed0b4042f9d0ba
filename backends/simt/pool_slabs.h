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
    divider32 by_windows, by_wide, by_rows, by_packs, by_in, by_colours_deep, by_colours_wide, by_lanes;

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
            return p * d * over(width, w) <= slab_windows && p * h * w <= slab_elements &&
                   (!spread || p * d * w <= slab_elements);
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
        by_windows = divider32(int64_t(deep) * wide);
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

/* One of a block's windows: its plane of the block, and its place among those over the slab and in y. */
struct pool_slab_window {
    int32_t plane, deep, wide, row, column;
    bool there;
    TRINE_DEVICE_METHOD pool_slab_window(const pool_slab_plan &p, const pool_slab &slab, int32_t number)
    {
        plane = int32_t(p.by_windows.divide(number));
        const int32_t rest = number - plane * p.deep * p.wide;
        deep = int32_t(p.by_wide.divide(rest));
        wide = rest - deep * p.wide;
        row = slab.low_deep + deep;
        column = slab.low_wide + wide;
        there = plane < slab.planes && row <= slab.high_deep && column <= slab.high_wide;
    }
};

/* Where the block's planes begin. */
TRINE_DEVICE void slab_offsets(int64_t (&offset)[slab_planes][3], const pool_slab &slab, const walk<3, divider_any> &planes)
{
    const int t = target::thread_x();
    if (t < slab.planes) planes.offsets(slab.plane + t, offset[t]);
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
    TRINE_SHARED int64_t offset[slab_planes][3];
    float *const sum = reinterpret_cast<float *>(sums);
    const int32_t t = target::thread_x();
    const pool_slab slab(s, plan);
    slab_offsets(offset, slab, planes);
    const int32_t elements = slab.planes * plan.rows * plan.columns;
    for (int32_t i = t; i * 4 < elements; i += map_threads) sums[i] = pack<float, 4>{};
    float value[slab_windows_each];
    int32_t to[slab_windows_each], colour[slab_windows_each];
#pragma unroll
    for (int k = 0; k < slab_windows_each; k++) {
        const pool_slab_window o(plan, slab, t + k * map_threads);
        colour[k] = -1;
        if (!o.there) continue;
        const int64_t index = get_index(s, indices, offset[o.plane][2] + o.row * s.row[2] + o.column * s.column[2]);
        value[k] = to_f32(dy[offset[o.plane][0] + o.row * s.row[0] + o.column * s.column[0]]);
        if (index < 0 || index >= int64_t(s.height.in) * s.width.in) continue;
        const int32_t h = int32_t(plan.by_in.divide(index)), w = int32_t(index) - h * s.width.in;
        const bool mine = s.height.has(o.row, h) && s.width.has(o.column, w) && uint32_t(h - slab.row) < uint32_t(slab.rows) &&
                          uint32_t(w - slab.column) < uint32_t(slab.columns);
        if (!mine) continue;
        to[k] = (o.plane * plan.rows + h - slab.row) * plan.columns + w - slab.column;
        colour[k] = (o.deep - int32_t(plan.by_colours_deep.divide(o.deep)) * plan.colours_deep) * plan.colours_wide + o.wide -
                    int32_t(plan.by_colours_wide.divide(o.wide)) * plan.colours_wide;
    }
    for (int32_t c = 0; c < plan.colours_deep * plan.colours_wide; c++) {
        target::barrier();
#pragma unroll
        for (int k = 0; k < slab_windows_each; k++)
            if (colour[k] == c) sum[to[k]] += value[k];
    }
    target::barrier();
    int32_t at[3];
    for (int32_t p = t; p * V < elements; p += map_threads) {
        if (!slab_pack<V>(plan, slab, p, at)) continue;
        const pack<float, V> in = *reinterpret_cast<const pack<float, V> *>(sum + p * V);
        pack<T, V> out;
#pragma unroll
        for (int v = 0; v < V; v++) out.at[v] = from_f32<T>(in.at[v]);
        store_pack<T, V>(dx + offset[at[0]][1] + (slab.row + at[1]) * s.row[1] + (slab.column + at[2]) * s.column[1], out);
    }
}

/* Without dilation: all windows over an element have it. */
template <class T, int V> TRINE_KERNEL(map_threads)
pool_slabs_average_kernel(pool_shape s, pool_slab_plan plan, walk<3, divider_any> planes, T *dx, const T *dy)
{
    TRINE_SHARED pack<float, 4> spread4[slab_elements / 4]; /* [plane][row of windows][column of the slab] */
    TRINE_SHARED float given[slab_windows];
    TRINE_SHARED int32_t taps_deep[slab_windows], taps_wide[slab_windows];
    TRINE_SHARED int64_t offset[slab_planes][3];
    float *const spread = reinterpret_cast<float *>(spread4);
    const int32_t t = target::thread_x();
    const pool_slab slab(s, plan);
    for (int32_t i = t; i < plan.deep; i += map_threads) taps_deep[i] = s.height.taps(slab.low_deep + i, s.include_pad);
    for (int32_t i = t; i < plan.wide; i += map_threads) taps_wide[i] = s.width.taps(slab.low_wide + i, s.include_pad);
    slab_offsets(offset, slab, planes);
#pragma unroll
    for (int k = 0; k < slab_windows_each; k++) {
        const pool_slab_window o(plan, slab, t + k * map_threads);
        if (!o.there) continue;
        const float value = to_f32(dy[offset[o.plane][0] + o.row * s.row[0] + o.column * s.column[0]]);
        given[t + k * map_threads] = value * pool_weight(taps_deep[o.deep], taps_wide[o.wide]);
    }
    target::barrier();
    /* a thread stays with its column; there are as many lines of threads as fit */
    const int32_t lanes = plan.lanes(), line = int32_t(plan.by_lanes.divide(t)), lines = map_threads / lanes;
    for (int32_t w = t - line * lanes; w < slab.columns && line < lines; w += lanes) {
        const int32_t low = s.width.first_over(slab.column + w) - slab.low_wide,
                      high = s.width.last_over(slab.column + w) - slab.low_wide;
        for (int32_t r = line; r < slab.planes * plan.deep; r += lines) {
            float sum = 0.0f;
            for (int32_t o = high; o >= low; o--) sum += given[r * plan.wide + o];
            spread[r * plan.columns + w] = sum;
        }
    }
    target::barrier();
    const int32_t elements = slab.planes * plan.rows * plan.columns;
    int32_t at[3];
    for (int32_t p = t; p * V < elements; p += map_threads) {
        if (!slab_pack<V>(plan, slab, p, at)) continue;
        const int32_t low = s.height.first_over(slab.row + at[1]) - slab.low_deep,
                      high = s.height.last_over(slab.row + at[1]) - slab.low_deep;
        float sum[V] = {};
        for (int32_t o = high; o >= low; o--) {
            const auto *from = spread + (at[0] * plan.deep + o) * plan.columns + at[2];
            const pack<float, V> in = *reinterpret_cast<const pack<float, V> *>(from);
#pragma unroll
            for (int v = 0; v < V; v++) sum[v] += in.at[v];
        }
        pack<T, V> out;
#pragma unroll
        for (int v = 0; v < V; v++) out.at[v] = from_f32<T>(sum[v]);
        store_pack<T, V>(dx + offset[at[0]][1] + (slab.row + at[1]) * s.row[1] + (slab.column + at[2]) * s.column[1], out);
    }
}

} // namespace simt

#endif
