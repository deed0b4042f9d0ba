/* Gradients of pooling whose windows overlap by at most one row and column, where packs of dx lie along channels or along the
 * columns of a plane. Bound by bytes: dy is read about once, dx written once.
 *
 * A thread has one pack of columns or channels and goes down a piece of the plane from one line of windows to the next. It loads
 * the windows of the line that reach over its pack, and makes the rows of dx that no later line reaches; what the line gives to
 * the row that it shares with the next one is carried on. An element adds up its windows from the first line to the last, in a
 * line from the last column to the first. */
#ifndef TRINE_SIMT_POOL_WALK_H
#define TRINE_SIMT_POOL_WALK_H

#include "backends/simt/pool_shape.h"

namespace simt {

/* Lines of windows that a thread goes through, if threads are enough: few, so that what is written at a time lies close together
 * (with eight, 79 to 88 % of a copy on an H100, with two, 84 to 95), though a line between two threads is read twice. */
enum { pool_walk_lines = 2 };

struct pool_walk_plan {
    divider_any packs, pieces; /* of a line of dx; of a plane */
    divider32 by_channels;     /* packs of channels in a column */
    int64_t threads;
    int32_t lines; /* of windows in a piece */
    bool packed;   /* along columns, half a pack of dy and of places at a time */

    pool_walk_plan(const trine_call *call, const trine_pool_plan &p, int64_t packs_, int64_t channels, bool packed_)
        : packs(packs_), by_channels(channels), lines(pool_walk_lines), packed(packed_)
    {
        const int64_t enough = int64_t(call->device->props.compute_units) * 4096, all = p.planes.numel * packs_ * p.height.out;
        while (lines > 1 && all / lines < enough) lines /= 2;
        pieces = divider_any(p.height.out ? ceil_div(p.height.out, lines) : 1);
        threads = p.planes.numel * pieces.d * packs_;
    }
    /* Windows that reach from one to the next one but one would need more to be carried; gaps, another way. */
    static bool fits(const trine_pool_axis &a)
    {
        return a.dilation == 1 && a.kernel >= a.stride && a.kernel <= a.stride + 1 && a.kernel <= 2 * a.stride;
    }
};

/* The windows of a line that reach over a thread's pack, and what they give.
 *   load(...)              of a line, as it lies in memory
 *   give(in, sum, scale, own)  adds it up; scale: what a row's share of an average's weight is; own: the place of the pack's first
 *                          element, of maxima alone */

/* Over V channels of one column: the last window and, at [1], the one before it. */
template <class T, int V, bool channels, bool average> struct pool_windows {
    struct loaded {
        pack<T, V> dy[2];
        pack<int32_t, average ? 1 : V> place[2];
    };
    int32_t last;
    bool some, two;
    float weight[2];

    TRINE_DEVICE_METHOD pool_windows(const pool_shape &s, const pool_walk_plan &, int32_t column)
        : last(s.width.last_over(column)), some(last >= s.width.first_over(column)), two(last > s.width.first_over(column))
    {
        for (int k = 0; k < 2 && average; k++) weight[k] = pool_weight(1, s.width.taps(last - k, s.include_pad));
    }
    TRINE_DEVICE_METHOD void load(loaded &in, const pool_shape &s, const T *line, const void *indices, int64_t index_line) const
    {
#pragma unroll
        for (int k = 0; k < 2; k++) {
            if (k ? !two : !some) continue;
            in.dy[k] = load_pack<T, V>(line + (last - k) * s.near_column[0]);
            if constexpr (!average) in.place[k] = get_places<V>(s, indices, index_line + (last - k) * s.near_column[2]);
        }
    }
    TRINE_DEVICE_METHOD void give(const loaded &in, float (&sum)[V], float scale, int32_t own) const
    {
#pragma unroll
        for (int k = 0; k < 2; k++) {
            if (k ? !two : !some) continue;
            const float by = average ? weight[k] * scale : 1.0f;
#pragma unroll
            for (int v = 0; v < V; v++) {
                if constexpr (average)
                    sum[v] = target::fma_rn(to_f32(in.dy[k].at[v]), by, sum[v]);
                else if (in.place[k].at[v] == own)
                    sum[v] += to_f32(in.dy[k].at[v]);
            }
        }
    }
};

/* Over V columns, V even, with a stride of 2, so that it is known which of V / 2 + 2 windows reach over which column: number 0 is
 * the one before the last over column 0, and reaches over it if phase is 0; else the one behind the others reaches over the last
 * column. Those between are a pack, where dy and the places lie so. */
template <class T, int V, bool average> struct pool_windows<T, V, false, average> {
    enum { half = V / 2 };
    struct loaded {
        pack<T, half> middle;
        T edge;
        pack<int32_t, average ? 1 : half> place;
        int32_t edge_place;
    };
    int32_t first, edge;
    bool phase, overlap, packed;
    float weight[average ? half : 1], edge_weight;

    TRINE_DEVICE_METHOD pool_windows(const pool_shape &s, const pool_walk_plan &plan, int32_t column)
        : first((column + s.width.padding) / 2), phase((column + s.width.padding) % 2 != 0), overlap(s.width.kernel > 2),
          packed(plan.packed && first + half <= s.width.out)
    {
        edge = phase ? first + half : first - 1;
#pragma unroll
        for (int i = 0; i < half && average; i++) weight[i] = pool_weight(1, s.width.taps(first + i, s.include_pad));
        if (average) edge_weight = pool_weight(1, s.width.taps(edge, s.include_pad));
    }
    TRINE_DEVICE_METHOD void load(loaded &in, const pool_shape &s, const T *line, const void *indices, int64_t index_line) const
    {
        const bool at_edge = uint32_t(edge) < uint32_t(s.width.out) && (phase || overlap);
        in.edge = from_f32<T>(0.0f);
        in.edge_place = -1;
        if (at_edge) in.edge = line[edge * s.near_column[0]];
        if (at_edge && !average) in.edge_place = get_places<1>(s, indices, index_line + edge * s.near_column[2]).at[0];
        if (packed) {
            in.middle = load_pack<T, half>(line + first);
            if constexpr (!average) in.place = get_places<half>(s, indices, index_line + first);
            return;
        }
#pragma unroll
        for (int i = 0; i < half; i++) {
            const bool there = first + i < s.width.out;
            in.middle.at[i] = from_f32<T>(0.0f);
            if (there) in.middle.at[i] = line[(first + i) * s.near_column[0]];
            if constexpr (!average) {
                in.place.at[i] = -1;
                if (there) in.place.at[i] = get_places<1>(s, indices, index_line + (first + i) * s.near_column[2]).at[0];
            }
        }
    }
    template <int ahead> TRINE_DEVICE_METHOD void give_in(const loaded &in, float (&sum)[V], float scale, int32_t own) const
    {
        float value[half + 2];
        int32_t place[half + 2];
#pragma unroll
        for (int i = 0; i < half + 2; i++) {
            const bool inside = i > 0 && i <= half;
            const int k = inside ? i - 1 : 0;
            value[i] = to_f32(inside ? in.middle.at[k] : in.edge);
            if constexpr (average)
                value[i] *= inside ? weight[k] : edge_weight;
            else
                place[i] = inside ? in.place.at[k] : in.edge_place;
        }
#pragma unroll
        for (int v = 0; v < V; v++) {
            const int last = (v + ahead) / 2 + 1;
            const bool two = (v + ahead) % 2 == 0 && overlap;
            if constexpr (average) {
                sum[v] = target::fma_rn(value[last], scale, sum[v]);
                if (two) sum[v] = target::fma_rn(value[last - 1], scale, sum[v]);
            } else {
                if (place[last] == own + v) sum[v] += value[last];
                if (two && place[last - 1] == own + v) sum[v] += value[last - 1];
            }
        }
    }
    TRINE_DEVICE_METHOD void give(const loaded &in, float (&sum)[V], float scale, int32_t own) const
    {
        if (phase)
            give_in<1>(in, sum, scale, own);
        else
            give_in<0>(in, sum, scale, own);
    }
};

/* So many blocks that no register spills. */
template <int V, bool channels, bool average> constexpr int pool_walk_blocks = channels ? 2 : V == 8 && average ? 5 : 4;

template <class T, int V, bool channels, bool average> TRINE_CROWDED_KERNEL(map_threads, (pool_walk_blocks<V, channels, average>))
pool_walk_backward_kernel(pool_shape s, pool_walk_plan plan, walk<3, divider_any> planes, T *dx, const T *dy, const void *indices)
{
    const int64_t thread = int64_t(target::block_x()) * map_threads + target::thread_x();
    if (thread >= plan.threads) return;
    const int64_t part = plan.packs.divide(thread), plane = plan.pieces.divide(part);
    const int32_t pack_at = int32_t(thread - part * plan.packs.d), piece = int32_t(part - plane * plan.pieces.d),
                  across = int32_t(plan.by_channels.divide(pack_at)), column = channels ? across : pack_at * V,
                  inner = channels ? (pack_at - across * int32_t(plan.by_channels.d)) * V : 0;
    int64_t offset[3];
    planes.offsets(plane, offset);
    dx += offset[1] + inner + s.template along<V>(1, column);
    dy += offset[0] + inner;
    const pool_windows<T, V, channels, average> windows(s, plan, column);
    const int32_t begin = piece * plan.lines, stride = s.height.stride;
    const bool shared = s.height.kernel > stride;
    float carried[V] = {};
    /* from the line before, for what it shares, to the one after the last, for what is below all windows */
    const int32_t from = begin - (shared && begin > 0 ? 1 : 0),
                  end = begin + plan.lines < s.height.out ? begin + plan.lines : s.height.out + 1;
    using loaded = typename pool_windows<T, V, channels, average>::loaded;
    const auto load = [&](loaded &in, int32_t line) {
        if (line < end && line < s.height.out)
            windows.load(in, s, dy + s.template place<V>(0, line, 0), indices,
                         offset[2] + inner + s.template place<V>(2, line, 0));
    };
    const auto work = [&](const loaded &in, int32_t line) {
        const bool there = line < s.height.out;
        const float scale = average && there ? pool_weight(1, s.height.taps(line, s.include_pad)) : 0.0f;
        const int32_t top = s.height.first_of(line), below = there ? top + stride : s.height.in;
        float gift[V] = {}; /* of an average, the same to all rows */
        if (average && there) windows.give(in, gift, scale, 0);
        for (int32_t row = top; row < below && line >= begin; row++) {
            if (uint32_t(row) >= uint32_t(s.height.in)) continue;
            float sum[V];
#pragma unroll
            for (int v = 0; v < V; v++) sum[v] = row == top ? carried[v] + gift[v] : gift[v];
            if (!average && there) windows.give(in, sum, scale, row * s.width.in + column);
            pack<T, V> out;
#pragma unroll
            for (int v = 0; v < V; v++) out.at[v] = from_f32<T>(sum[v]);
            store_pack<T, V>(dx + s.template place<V>(1, row, 0), out);
        }
#pragma unroll
        for (int v = 0; v < V; v++) carried[v] = shared ? gift[v] : 0.0f;
        if (!average && there && shared) windows.give(in, carried, scale, below * s.width.in + column);
    };
    /* packs of four: all lines on their way together; of eight, which take more registers: the next one along columns */
    constexpr bool ahead = !channels;
    constexpr int held = V < 8 && (!channels || average) ? pool_walk_lines + 1 : 1;
    if constexpr (held > 1) {
        for (int32_t line = from; line < end; line += held) {
            loaded in[held];
#pragma unroll
            for (int k = 0; k < held; k++) load(in[k], line + k);
#pragma unroll
            for (int k = 0; k < held; k++)
                if (line + k < end) work(in[k], line + k);
        }
    } else {
        loaded next, in;
        if (ahead) load(next, from);
        for (int32_t line = from; line < end; line++) {
            if (!ahead) load(next, line);
            in = next;
            if (ahead) load(next, line + 1);
            work(in, line);
        }
    }
}

} // namespace simt

#endif
