/* How the blocks of a grouped product find what they make, where a launch has as many blocks as tiles at most. */
#ifndef TRINE_SIMT_GROUP_BLOCKS_H
#define TRINE_SIMT_GROUP_BLOCKS_H

#include "backends/simt/groups.h"
#include "backends/simt/matmul_split.h"

namespace simt {

/* Sums over all terms: nothing is divided. */
struct whole_sink {
    static constexpr float *parts = nullptr;
    static constexpr bool packs = false;
    template <class P, int V>
    TRINE_DEVICE_METHOD void store(const pack<float, V> &, const P &, const split_place &, int64_t, int64_t) const
    {
    }
};

/* Tiles of a group's rows. */
struct tiles_of_rows {
    int tile_rows;
    TRINE_DEVICE_METHOD int64_t operator()(int64_t rows) const { return (rows + tile_rows - 1) / tile_rows; }
};

/* What a block makes: a tile from (row, column) on, of which it has rows up to `rows`, from `terms` terms from first_k on. group <
 * 0: nothing. */
struct group_block {
    int64_t group, row, rows, column, first_k, terms;
};

/* By all threads of a wave. sums: groups are of terms. */
template <class T> TRINE_DEVICE group_block find_group_block(const product<T> &p, const group_list &list, bool sums,
                                                             int tile_rows, int tile_columns, unsigned block, unsigned tiles_m,
                                                             unsigned tiles_n)
{
    const unsigned row_of_tiles = block / tiles_n, tile_n = block - row_of_tiles * tiles_n;
    group_walk<int64_t, tiles_of_rows> walk(list, tiles_of_rows{tile_rows});
    const group_place<int64_t> place = sums ? walk.of_group(row_of_tiles / tiles_m) : walk.of_unit(row_of_tiles);
    group_block b;
    b.group = place.group;
    b.row = sums ? int64_t(row_of_tiles % tiles_m) * tile_rows : place.begin + (row_of_tiles - place.first_unit) * tile_rows;
    b.rows = sums ? p.m : place.end;
    b.column = int64_t(tile_n) * tile_columns;
    b.first_k = sums ? place.begin : 0;
    b.terms = sums ? place.end - place.begin : p.k;
    return b;
}

/* ---- Host ---- */

/* Rows of tiles, of all groups, at most. */
inline int64_t grouped_tiles_m(const trine_grouped &g, int64_t tile_rows)
{
    const int64_t groups = g.p.batch.numel, tiles = g.p.m / tile_rows + groups;
    if (g.layout != TRINE_GROUPED_ROWS) return groups * ceil_div(g.p.m, tile_rows);
    return tiles < g.p.m ? tiles : g.p.m;
}

} // namespace simt

#endif
