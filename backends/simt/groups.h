/* Which rows a group has: offsets or counts (trine/grouped.h) that lie on the device, walked by a wave. */
#ifndef TRINE_SIMT_GROUPS_H
#define TRINE_SIMT_GROUPS_H

#include "backends/simt/ids.h"
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
    TRINE_DEVICE_METHOD int64_t start() const { return from_zero ? 0 : at(0); }
};

/* A group's rows, and where its tiles begin among those of all groups. group < 0: there is none. */
struct group_place {
    int64_t group, begin, end, first_tile;
};

/* All threads of a wave go through the groups together, each with one of as many groups as the wave has threads. Searches must ask
 * for tiles (of `tile_rows` rows) or groups in rising order; a group before those at hand is not found again. */
struct group_walk {
    const group_list &list;
    int tile_rows;
    int64_t first;                 /* group of the wave's first thread */
    int64_t before;                /* tiles of the groups before it */
    int64_t last;                  /* the largest end before it */
    int64_t begin, end, tiles_end; /* of this thread's group: its rows; tiles up to its end, without those before the first */

    TRINE_DEVICE_METHOD group_walk(const group_list &list_, int tile_rows_)
        : list(list_), tile_rows(tile_rows_), first(0), before(0), last(list_.masked ? 0 : list_.start())
    {
        load();
    }
    static TRINE_DEVICE_METHOD int lane() { return target::thread_x() % target::wave_size(); }
    TRINE_DEVICE_METHOD void load()
    {
        const int64_t group = first + lane();
        end = group < list.groups ? list.end(group) : 0;
        begin = 0;
        if (!list.masked) {
            end = end > last ? end : last;
#pragma unroll
            for (int apart = 1; apart < target::wave_size(); apart *= 2) {
                const int64_t other = target::shuffle(end, lane() < apart ? lane() : lane() - apart);
                end = other > end ? other : end;
            }
            const int64_t previous = target::shuffle(end, lane() ? lane() - 1 : 0);
            begin = lane() ? previous : last;
        }
        tiles_end = group < list.groups ? (end - begin + tile_rows - 1) / tile_rows : 0;
#pragma unroll
        for (int apart = 1; apart < target::wave_size(); apart *= 2) {
            const int64_t other = target::shuffle(tiles_end, lane() < apart ? lane() : lane() - apart);
            tiles_end += lane() < apart ? 0 : other;
        }
    }
    TRINE_DEVICE_METHOD void advance()
    {
        before += target::shuffle(tiles_end, target::wave_size() - 1);
        last = target::shuffle(end, target::wave_size() - 1);
        first += target::wave_size();
        load();
    }
    TRINE_DEVICE_METHOD group_place of_lane(int i) const
    {
        const int64_t tiles_before = i ? target::shuffle(tiles_end, i - 1) : 0;
        return group_place{first + i, target::shuffle(begin, i), target::shuffle(end, i), before + tiles_before};
    }
    /* The group that tile number `tile` of all groups together belongs to. */
    TRINE_DEVICE_METHOD group_place of_tile(int64_t tile)
    {
        while (tile >= before + target::shuffle(tiles_end, target::wave_size() - 1)) {
            if (first + target::wave_size() >= list.groups) return group_place{-1, 0, 0, 0};
            advance();
        }
        /* the first thread whose tiles reach further */
        const bool further = tile < before + tiles_end;
        return of_lane(int(target::wave_minimum(further ? uint32_t(lane()) : 0xffffffffu)));
    }
    TRINE_DEVICE_METHOD group_place of_group(int64_t group)
    {
        while (group >= first + target::wave_size()) advance();
        return of_lane(int(group - first));
    }
};

} // namespace simt

#endif
