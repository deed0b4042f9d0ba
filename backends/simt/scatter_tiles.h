/* The first kernel of scatter.h, and what it has in common with the second. */
#ifndef TRINE_SIMT_SCATTER_TILES_H
#define TRINE_SIMT_SCATTER_TILES_H

#include "backends/simt/map.h"
#include "backends/simt/sort_ids.h"

namespace simt {

enum {
    scatter_threads = 256,
    scatter_batch = 8, /* at most, see below; what lengths of tiles are multiples of */
    scatter_least = 32,
    scatter_most = 512,
    scatter_reach = 32,        /* rows behind a tile's end by which a run ends that the tile still adds up; a power of two */
    scatter_each = 4,          /* packs of an output that a thread finishes */
    scatter_long = 8,          /* partials */
    scatter_blocks_a_unit = 4, /* that finish, if there are so many outputs */
    scatter_rounds = 16        /* of groups, at most, of such a block */
};
/* Rows of which a thread has loads in flight: 64 bytes of packs. */
template <class T, int V> constexpr int scatter_unroll = V == 1 ? 4 : 64 / (V * int(sizeof(T)));

/* Operands of the columns' walk and of steps: y, the rows that are added, x. */
enum { SCATTER_Y, SCATTER_ROWS, SCATTER_X };

struct scatter_plan {
    int64_t n, rows;       /* ids, slices of y */
    int64_t length, tiles; /* of the sorted list */
    divider32 by_length;
    divider_any columns;                /* packs of V columns in a slice */
    divider_any packs;                  /* in a run along the innermost axis */
    divider_any pieces;                 /* of a slice, for a group of threads each */
    int32_t shift;                      /* 2^shift threads in a group */
    int64_t inner[TRINE_ITER_OPERANDS]; /* from one column to the next */
    int64_t step[3];                    /* from one slice to the next; rows that go element by element have a walk instead */
    int32_t tile_blocks;                /* the first of the tiles' kernel, behind which others find where runs begin */
    int32_t groups, rounds;             /* that a block finishes at once, and how often */
    int32_t chunk;                      /* 2^chunk of them follow each other, those of neighbouring blocks come next */
    bool has_x, in_place;
};

/* A pack as words, which stay whole in registers where some of them are not loaded. */
template <class T, int V> struct scatter_words {
    static constexpr int bytes = V * int(sizeof(T)), count = bytes < 4 ? 1 : bytes / 4;
    pack<uint32_t, count> word;
    static TRINE_DEVICE_METHOD scatter_words load(const T *p, bool there)
    {
        scatter_words r = {};
        if (!there) return r;
        if constexpr (bytes < 4)
            r.word.at[0] = p->bits;
        else
            r.word = load_pack<uint32_t, count>(reinterpret_cast<const uint32_t *>(p));
        return r;
    }
    TRINE_DEVICE_METHOD void store(T *p) const
    {
        if constexpr (bytes < 4)
            p->bits = uint16_t(word.at[0]);
        else
            store_pack<uint32_t, count>(reinterpret_cast<uint32_t *>(p), word);
    }
    TRINE_DEVICE_METHOD float value(int j) const
    {
        if constexpr (sizeof(T) == 4)
            return trine_f32_of_bits(word.at[j]);
        else
            return to_f32(T{uint16_t(j % 2 ? word.at[j / 2] >> 16 : word.at[j / 2])});
    }
};

/* What a thread knows of its pack of columns. */
template <int V, class Y> struct scatter_columns {
    int64_t offset[3];
    float sum[V];

    TRINE_DEVICE_METHOD scatter_columns(const scatter_plan &plan, const walk<3, divider_any> &outer, int64_t pack)
    {
        const bool one_run = plan.columns.d == plan.packs.d;
        const int64_t run = one_run ? 0 : plan.packs.divide(pack), column = (pack - run * plan.packs.d) * V;
        offset[0] = offset[1] = offset[2] = 0;
        if (!one_run) outer.offsets(run, offset);
        for (int k = 0; k < 3; k++) offset[k] += column * plan.inner[k];
        clear();
    }
    TRINE_DEVICE_METHOD void clear()
    {
#pragma unroll
        for (int j = 0; j < V; j++) sum[j] = 0.0f;
    }
    TRINE_DEVICE_METHOD void write(const scatter_plan &plan, int64_t row, Y *y, const Y *x)
    {
        pack<Y, V> out;
        if (plan.has_x) {
            const pack<Y, V> base = load_pack<Y, V>(x + offset[SCATTER_X] + row * plan.step[SCATTER_X]);
#pragma unroll
            for (int j = 0; j < V; j++) sum[j] = target::add_rn(sum[j], to_f32(base.at[j]));
        }
#pragma unroll
        for (int j = 0; j < V; j++) out.at[j] = from_f32<Y>(sum[j]);
        store_pack<Y, V>(y + offset[SCATTER_Y] + row * plan.step[SCATTER_Y], out);
    }
};

/* How many rows from `at` on, where a tile ends, belong to the run before them, if it ends within the reach of that tile; else 0. */
TRINE_DEVICE int32_t scatter_over(const int32_t *keys, int32_t at, int32_t n)
{
    if (at <= 0 || at >= n) return 0;
    const int32_t key = keys[at - 1];
    if (at + scatter_reach <= n && keys[at + scatter_reach - 1] == key) return 0;
    int32_t over = 0;
#pragma unroll
    for (int32_t half = scatter_reach / 2; half > 0; half /= 2) {
        const int32_t last = at + over + half - 1;
        over += last < n && keys[last] == key ? half : 0;
    }
    return over;
}

/* Slot 0 of a tile: the end of a run that began before it. Slot 1: the beginning of one that goes on behind it. */
template <int V>
TRINE_DEVICE float *scatter_partial(float *partials, const scatter_plan &plan, int64_t tile, int slot, int64_t pack)
{
    return partials + ((tile * 2 + slot) * plan.columns.d + pack) * V;
}

template <class T, class Y, int V> TRINE_CROWDED_KERNEL(scatter_threads, 3)
scatter_tiles_kernel(scatter_plan plan, walk<3, divider_any> outer, walk<1, divider_any> places, sorted_ids sorted, const T *rows,
                     const Y *x, Y *y, float *partials, int32_t *begins)
{
    target::let_next_start();
    target::wait_for_previous();
    if (target::block_x() >= unsigned(plan.tile_blocks)) {
        sort_bounds(plan.n, plan.rows, sorted.keys, begins,
                    int64_t(target::block_x() - unsigned(plan.tile_blocks)) * scatter_threads + target::thread_x());
        return;
    }
    const int64_t asked = int64_t(target::block_x()) * scatter_threads + target::thread_x(), tile = plan.columns.divide(asked),
                  column = asked - tile * plan.columns.d;
    if (tile >= plan.tiles) return;
    scatter_columns<V, Y> mine(plan, outer, column);
    const int32_t n = int32_t(plan.n), cut = int32_t(tile * plan.length),
                  cut_next = n - cut < plan.length ? n : cut + int32_t(plan.length),
                  begin = cut + scatter_over(sorted.keys, cut, n), end = cut_next + scatter_over(sorted.keys, cut_next, n);
    if (begin >= end) return; /* the last one, all of whose rows are another's */
    int32_t key = sorted.keys[begin];
    bool began_before = begin > 0 && sorted.keys[begin - 1] == key;
    const auto finish = [&](bool ends_here) {
        if (uint32_t(key) >= uint32_t(plan.rows)) return;
        if (ends_here && !began_before) {
            mine.write(plan, key, y, x);
            return;
        }
        pack<float, V> part;
#pragma unroll
        for (int j = 0; j < V; j++) part.at[j] = mine.sum[j];
        store_pack<float, V>(scatter_partial<V>(partials, plan, tile, began_before ? 0 : 1, column), part);
    };
    constexpr int U = scatter_unroll<T, V>;
    rows += mine.offset[SCATTER_ROWS];
    /* batches lie on their boundaries, the lists go on for one behind the end: what is outside counts for nothing */
    const int32_t first = begin / U * U;
    pack<int32_t, U> keys = load_pack<int32_t, U>(sorted.keys + first), from = load_pack<int32_t, U>(sorted.places + first);
    for (int32_t i = first; i < end; i += U) {
        const pack<int32_t, U> now = keys;
        scatter_words<T, V> in[U];
#pragma unroll
        for (int u = 0; u < U; u++) {
            const bool there = i + u >= begin && i + u < end && uint32_t(now.at[u]) < uint32_t(plan.rows);
            int64_t offset[1] = {0};
            if constexpr (V == 1)
                places.offsets(there ? from.at[u] : 0, offset);
            else
                offset[0] = from.at[u] * plan.step[SCATTER_ROWS];
            in[u] = scatter_words<T, V>::load(rows + offset[0], there);
        }
        if (i + U < end) { /* the ids of the next rows, while these are on their way */
            keys = load_pack<int32_t, U>(sorted.keys + i + U);
            from = load_pack<int32_t, U>(sorted.places + i + U);
        }
#pragma unroll
        for (int u = 0; u < U; u++) {
            const int32_t id = i + u >= begin && i + u < end ? now.at[u] : key;
            if (id != key) {
                finish(true);
                mine.clear();
                key = id;
                began_before = false;
            }
#pragma unroll
            for (int j = 0; j < V; j++) mine.sum[j] = target::add_rn(mine.sum[j], in[u].value(j));
        }
    }
    finish(end == n || sorted.keys[end] != key);
}

} // namespace simt

#endif
