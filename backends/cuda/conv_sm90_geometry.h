/* What the sm90 convolution's kernels are told: phases, planes, d; and which pixels a block's tile is. */
#ifndef TRINE_CUDA_CONV_SM90_GEOMETRY_H
#define TRINE_CUDA_CONV_SM90_GEOMETRY_H

#include "backends/cuda/matmul_sm90_tile.h"
#include "backends/cuda/mma/im2col.h"
#include "backends/simt/activation_math.h"
#include "backends/simt/divider.h"

namespace sm90 {

enum { conv_phases = 16 /* of a launch */, conv_planes = 4 /* of different sizes among them */ };

/* A phase of a strided data gradient (core/conv_plan.h); everything else has one. Planes of phases differ by one row or column, so
 * that there are at most four kinds of them; phases of a kind read a through one map, each from its own tap on. */
struct conv_phase {
    simt::divider32 width, height; /* im2col: outputs along a row and a column; windows: boxes */
    int first[2];                  /* of output 0, as the map has it: [row, column] */
    int tap_at[2], taps[2];        /* from there to the first tap */
    int filter;                    /* index of the first tap among the filter's */
    int m, rows, columns;          /* pixels; outputs along a column and a row */
    int steps, plane;
    int first_chunk; /* 0; without taps the one past the last, which is zeros in a and b: a branch would hold the sums twice */
    unsigned before, tile_rows; /* units of the phases before; rows of units */
    int64_t d;                  /* elements from the beginning of d */
};

/* How TMA writes d (conv_sm90_store.h). */
enum conv_store_kind { store_kind_rows, store_kind_pixels, store_kind_planes };

/* How the tile's rows are pixels (p, q) of images, and its steps are taps and channels. */
struct conv_geometry {
    bool windows;
    conv_store_kind store;
    int step[2];  /* between outputs */
    int apart[2]; /* between taps */
    int filter_step[2], chunks;
    int box[2]; /* windows: a tile's pixels, [rows, columns] */
    int lines;  /* windows: filter rows in a step */
    int n;      /* channels of d */
    int phases;
    conv_phase phase[conv_phases];
};

struct conv_maps {
    CUtensorMap a[conv_planes], b, d[conv_planes];
};

/* Columns that are phases of a stride side by side (conv_sm90_data.h): (phase, phase, channel). */
struct conv_spread {
    simt::divider32 channels, across;
    int phases[2], size[2]; /* phases[0] 0: they are not */
    int64_t stride[2];      /* of the plane */
};

/* d and what is done to a sum before. */
struct conv_finish {
    void *d;
    const void *bias;
    int64_t image, row, column, channel; /* d's strides */
    trine_activation_kind activation;
    float activation_alpha;
    bool wide, bias_wide;
    bool packs; /* eight neighbouring channels may be stored together */
    conv_spread spread;
};

struct pixel {
    int image, row, column; /* outputs */
};

TRINE_DEVICE pixel pixel_of(const conv_phase &p, int index)
{
    const int line = int(p.width.divide(index)), image = int(p.height.divide(line));
    return pixel{image, line - image * int(p.height.d), index - line * int(p.width.d)};
}

/* The output of a row of a tile; false if there is none. */
template <class Tile> TRINE_DEVICE bool output_of(const conv_geometry &g, const conv_phase &p, int tile_row, int row, pixel *at)
{
    if (!g.windows) {
        *at = pixel_of(p, tile_row + row);
        return tile_row + row < p.m;
    }
    *at = pixel_of(p, tile_row / Tile::M);
    at->row = at->row * g.box[0] + row / g.box[1];
    at->column = at->column * g.box[1] + row % g.box[1];
    return at->row < p.rows && at->column < p.columns;
}

/* A block's tile, as matmul's `work`. */
struct conv_work {
    int phase, row, column;
};

template <class Tile> TRINE_DEVICE conv_work conv_work_of(const conv_geometry &g, const schedule &s, unsigned unit, uint32_t rank)
{
    conv_work w = {0, 0, 0};
    while (w.phase + 1 < g.phases && unit >= g.phase[w.phase + 1].before) w.phase++;
    const conv_phase &p = g.phase[w.phase];
    unsigned m, n;
    simt::tile_of_block(unit - p.before, p.tile_rows, s.columns, unsigned(s.group / s.share), &m, &n);
    w.row = int(m * unsigned(s.share) + (s.share > 1 ? rank : 0)) * Tile::M;
    w.column = int(n) * Tile::N;
    return w;
}

} // namespace sm90

#endif
