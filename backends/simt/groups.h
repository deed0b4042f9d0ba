/* Which rows a group has: offsets or counts (trine/grouped.h) that lie on the device, walked by a wave. */
#ifndef TRINE_SIMT_GROUPS_H
#define TRINE_SIMT_GROUPS_H

#include "backends/simt/ids.h"
#include "backends/simt/matmul_product.h"
#include "core/grouped_shape.h"

namespace simt {

/* The sizes as the call gave them. `most`: rows, or terms, that there are. */
struct group_list {
    const void *data;
    int64_t groups, most;
    bool wide, from_zero, masked;

    explicit group_list(const trine_grouped &g)
        : data(g.sizes), groups(g.p.batch.numel), most(g.layout == TRINE_GROUPED_SUMS ? g.p.k : g.p.m), wide(g.sizes_wide),
          from_zero(g.from_zero), masked(g.layout == TRINE_GROUPED_MASKED)
    {
    }
    TRINE_DEVICE_METHOD int64_t at(int64_t i) const
    {
        const int64_t size = wide ? static_cast<const int64_t *>(data)[i] : static_cast<const int32_t *>(data)[i];
        return size < 0 ? 0 : size < most ? size : most;
    }
    /* Of group g, not yet raised to the ends before it; for masked its count. */
    TRINE_DEVICE_METHOD int64_t end(int64_t g) const { return at(from_zero ? g : g + 1); }
    TRINE_DEVICE_METHOD int64_t start() const { return from_zero || masked ? 0 : at(0); }
};

/* A group's rows, and where its units begin among those of all groups. group < 0: there is none. */
template <class I> struct group_place {
    I group, begin, end, first_unit;
};

/* All threads of a wave go through the groups together, each with one of as many groups as the wave has threads. A group of r rows
 * has count(r) units of work. Searches must ask for units, or groups, in rising order: what lies before the groups at hand is not
 * found again. I: a type that holds rows and units. */
template <class I, class Count> struct group_walk {
    const group_list &list;
    Count count;
    I first;                 /* group of the wave's first thread */
    I before;                /* units of the groups before it */
    I last;                  /* the largest end before it */
    I begin, end, units_end; /* of this thread's group: its rows; units up to its end, without those before the first */

    TRINE_DEVICE_METHOD group_walk(const group_list &list_, const Count &count_)
        : list(list_), count(count_), first(0), before(0), last(I(list_.start()))
    {
        load();
    }
    static TRINE_DEVICE_METHOD int lane() { return target::thread_x() % target::wave_size(); }
    /* The value of the thread `apart` before, or this one's. */
    static TRINE_DEVICE_METHOD I from_before(I x, int apart)
    {
        return target::shuffle(x, lane() < apart ? lane() : lane() - apart);
    }
    static TRINE_DEVICE_METHOD I from_last(I x) { return target::shuffle(x, target::wave_size() - 1); }
    TRINE_DEVICE_METHOD void load()
    {
        const int64_t group = first + lane();
        end = group < list.groups ? I(list.end(group)) : I(0);
        begin = 0;
        if (!list.masked) {
            end = end > last ? end : last;
#pragma unroll 1
            for (int apart = 1; apart < target::wave_size(); apart *= 2) {
                const I other = from_before(end, apart);
                end = other > end ? other : end;
            }
            const I previous = from_before(end, 1); /* by all threads */
            begin = lane() ? previous : last;
        }
        units_end = group < list.groups ? count(I(end - begin)) : I(0);
#pragma unroll 1
        for (int apart = 1; apart < target::wave_size(); apart *= 2) {
            const I other = from_before(units_end, apart);
            units_end += lane() < apart ? I(0) : other;
        }
    }
    TRINE_DEVICE_METHOD void advance()
    {
        before += from_last(units_end);
        last = from_last(end);
        first += I(target::wave_size());
        load();
    }
    TRINE_DEVICE_METHOD group_place<I> of_lane(int i) const
    {
        const I units_before = target::shuffle(units_end, i ? i - 1 : 0);
        return group_place<I>{I(first + i), target::shuffle(begin, i), target::shuffle(end, i),
                              I(before + (i ? units_before : I(0)))};
    }
    /* Units of all groups. */
    TRINE_DEVICE_METHOD I all_units() const
    {
        group_walk walk = *this;
        while (walk.first + target::wave_size() < list.groups) walk.advance();
        return walk.before + from_last(walk.units_end);
    }
    /* The group that unit number `unit` of all groups together belongs to. */
    TRINE_DEVICE_METHOD group_place<I> of_unit(I unit)
    {
        while (unit >= before + from_last(units_end)) {
            if (first + target::wave_size() >= list.groups) return group_place<I>{-1, 0, 0, 0};
            advance();
        }
        /* the first thread whose units reach further */
        const bool further = unit < before + units_end;
        return of_lane(int(target::wave_minimum(further ? uint32_t(lane()) : 0xffffffffu)));
    }
    TRINE_DEVICE_METHOD group_place<I> of_group(I group)
    {
        while (group >= first + target::wave_size()) advance();
        return of_lane(int(group - first));
    }
};

/* What the epilogue must know of a product, for one group. */
template <class T> struct group_view {
    int64_t m, n;
    const epilogue<T> &out;
    product_offsets at;
    TRINE_DEVICE_METHOD product_offsets offsets(int64_t) const { return at; }
};

} // namespace simt

#endif
