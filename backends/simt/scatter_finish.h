/* The second kernel of scatter.h: outputs that are made of partials, or of nothing. */
#ifndef TRINE_SIMT_SCATTER_FINISH_H
#define TRINE_SIMT_SCATTER_FINISH_H

#include "backends/simt/scatter_tiles.h"

namespace simt {

/* The partials of an output: those of tiles `first` to `last`. */
struct scatter_run {
    int32_t first, last;
    bool empty, whole; /* no id names the output; one tile has written it */
    TRINE_DEVICE_METHOD scatter_run(const scatter_plan &plan, const int32_t *begins, int64_t row)
    {
        const int32_t begin = begins[row], end = begins[row + 1];
        empty = begin >= end;
        first = int32_t(plan.by_length.divide(begin));
        last = empty ? first : int32_t(plan.by_length.divide(end - 1));
        if (last > first && end - last * plan.length < scatter_reach) last--;
        whole = !empty && first == last;
    }
    /* So many for a few packs of columns that a block shares them out. */
    TRINE_DEVICE_METHOD bool is_long(int64_t packs) const
    {
        return !empty && last - first >= scatter_long && packs * 2 <= scatter_threads;
    }
};

/* Adds partials [begin, end) of a run. */
template <int V> TRINE_DEVICE void scatter_add_up(float (&sum)[V], const scatter_plan &plan, const scatter_run &run,
                                                  int32_t begin, int32_t end, int64_t pack_at, const float *partials)
{
#pragma unroll 2
    for (int32_t i = begin; i < end; i++) {
        const pack<float, V> part =
            load_pack<float, V>(scatter_partial<V>(const_cast<float *>(partials), plan, run.first + i, i == 0 ? 1 : 0, pack_at));
#pragma unroll
        for (int j = 0; j < V; j++) sum[j] = target::add_rn(sum[j], part.at[j]);
    }
}

/* An output that is made of partials or of nothing, whose packs of columns a group of threads takes from `pack_at` on: x's are on
 * their way together. */
template <class Y, int V> TRINE_DEVICE void scatter_short_run(const scatter_plan &plan, const walk<3, divider_any> &outer,
                                                              const scatter_run &run, int64_t row, int64_t pack_at, const Y *x,
                                                              Y *y, const float *partials)
{
    const int64_t rest = (plan.columns.d - pack_at + (int64_t(1) << plan.shift) - 1) >> plan.shift;
    const int32_t left = rest < scatter_each ? int32_t(rest) : int32_t(scatter_each);
    x += row * plan.step[SCATTER_X];
    y += row * plan.step[SCATTER_Y];
    scatter_words<Y, V> base[scatter_each] = {};
    Y *to[scatter_each];
#pragma unroll
    for (int u = 0; u < scatter_each; u++) {
        if (u >= left) break;
        const scatter_columns<V, Y> at(plan, outer, pack_at + (int64_t(u) << plan.shift));
        to[u] = y + at.offset[SCATTER_Y];
        base[u] = scatter_words<Y, V>::load(x + at.offset[SCATTER_X], plan.has_x);
    }
#pragma unroll
    for (int u = 0; u < scatter_each; u++) {
        if (u >= left) break;
        if (run.empty) {
            base[u].store(to[u]);
            continue;
        }
        float sum[V] = {};
        scatter_add_up<V>(sum, plan, run, 0, run.last - run.first + 1, pack_at + (int64_t(u) << plan.shift), partials);
        pack<Y, V> out;
#pragma unroll
        for (int j = 0; j < V; j++) out.at[j] = from_f32<Y>(plan.has_x ? target::add_rn(sum[j], base[u].value(j)) : sum[j]);
        store_pack<Y, V>(to[u], out);
    }
}

/* One long run, whose packs from `pack_at` on the whole block takes: lines of threads have a share of its partials each, and the
 * first line adds up the shares. */
template <class Y, int V> TRINE_DEVICE void scatter_long_run(const scatter_plan &plan, const walk<3, divider_any> &outer,
                                                             const scatter_run &run, int64_t row, int64_t pack_at, int packs,
                                                             const Y *x, Y *y, const float *partials)
{
    TRINE_SHARED pack<float, V> list[scatter_threads];
    const int t = target::thread_x(), line = t / packs, lines = scatter_threads / packs;
    const int64_t at = pack_at + t - line * packs;
    const int32_t count = run.last - run.first + 1, share = (count + lines - 1) / lines,
                  begin = line * share < count ? line * share : count, end = begin + share < count ? begin + share : count;
    scatter_columns<V, Y> mine(plan, outer, at);
    if (line < lines) scatter_add_up<V>(mine.sum, plan, run, begin, end, at, partials);
#pragma unroll
    for (int j = 0; j < V; j++) list[t].at[j] = mine.sum[j];
    target::barrier();
    if (line == 0) {
        for (int l = 1; l < lines; l++)
#pragma unroll
            for (int j = 0; j < V; j++) mine.sum[j] = target::add_rn(mine.sum[j], list[l * packs + t].at[j]);
        mine.write(plan, row, y, x);
    }
    target::barrier();
}

/* A block's k-th group. Outputs of many partials are often neighbours: no block has all of them. */
TRINE_DEVICE int64_t scatter_group(const scatter_plan &plan, int32_t k)
{
    const int64_t chunk = int64_t(k >> plan.chunk) * target::grid_x() + target::block_x();
    return (chunk << plan.chunk) + (k & ((1 << plan.chunk) - 1));
}

/* What a block finishes at once: its groups from `first` on. */
template <class Y, int V> TRINE_DEVICE void scatter_finish_groups(const scatter_plan &plan, const walk<3, divider_any> &outer,
                                                                  int32_t first, const int32_t *begins, const Y *x, Y *y,
                                                                  const float *partials)
{
    TRINE_SHARED target::lane_set longs[target::max_waves]; /* which lanes' runs are long; a group has one lane that says so */
    constexpr int wave_size = target::wave_size();
    const int width = 1 << plan.shift, groups = plan.groups, t = target::thread_x();
    const int64_t group = scatter_group(plan, first + (t >> plan.shift)), row = plan.pieces.divide(group),
                  pack_at = (group - row * plan.pieces.d) * (scatter_each * width) + (t & (width - 1));
    const int64_t packs = plan.columns.d < scatter_each * width ? plan.columns.d : scatter_each * width;
    bool is_long = false;
    if (row < plan.rows && t >> plan.shift < groups) {
        const scatter_run run(plan, begins, row);
        is_long = run.is_long(packs);
        if (!is_long && !run.whole && !(run.empty && plan.in_place))
            scatter_short_run<Y, V>(plan, outer, run, row, pack_at, x, y, partials);
    }
    if (packs * 2 > scatter_threads) return; /* none is long, and no wave waits for another */
    const target::lane_set mine = target::ballot(is_long && (t & (width - 1)) == 0);
    target::barrier(); /* longs were read */
    if (t % wave_size == 0) longs[t / wave_size] = mine;
    target::barrier();
    target::lane_set any = 0;
    for (int w = 0; w < scatter_threads / wave_size; w++) any |= longs[w];
    for (int g = 0; any && g < groups; g++) {
        const int asks = g << plan.shift;
        if (!(longs[asks / wave_size] >> asks % wave_size & 1)) continue;
        const int64_t at = scatter_group(plan, first + g), other = plan.pieces.divide(at),
                      from = (at - other * plan.pieces.d) * (scatter_each * width);
        const int64_t left = plan.columns.d - from;
        scatter_long_run<Y, V>(plan, outer, scatter_run(plan, begins, other), other, from, int(left < packs ? left : packs), x, y,
                               partials);
    }
}

/* begins[v]: where v's run begins in the sorted list. A block goes through several rounds of groups, and leaves out those rounds in
 * which all outputs are written: where rows are long a group is a block, and most blocks would live for nothing but that answer. */
template <class Y, int V> TRINE_CROWDED_KERNEL(scatter_threads, 3)
scatter_finish_kernel(scatter_plan plan, walk<3, divider_any> outer, const int32_t *begins, const Y *x, Y *y, float *partials)
{
    TRINE_SHARED int32_t busy[scatter_rounds];
    target::wait_for_previous();
    const int wave_size = target::wave_size(), lane = target::thread_x() % wave_size;
    for (int r = target::thread_x() / wave_size; plan.rounds > 1 && r < plan.rounds; r += scatter_threads / wave_size) {
        bool any = false;
        for (int g = lane; g < plan.groups; g += wave_size) {
            const int64_t row = plan.pieces.divide(scatter_group(plan, r * plan.groups + g));
            if (row >= plan.rows) break;
            const scatter_run run(plan, begins, row);
            any = any || !(run.whole || (run.empty && plan.in_place));
        }
        const target::lane_set yes = target::ballot(any);
        if (lane == 0) busy[r] = yes != 0;
    }
    if (plan.rounds > 1) target::barrier();
    for (int r = 0; r < plan.rounds; r++)
        if (plan.rounds == 1 || busy[r]) scatter_finish_groups<Y, V>(plan, outer, r * plan.groups, begins, x, y, partials);
}

} // namespace simt

#endif
