/* The tiles of sm80, and the model that chooses one and the parts of K; sm89 has tiles of its own (fp8_sm89.h). */
#ifndef TRINE_CUDA_MATMUL_SM80_PLAN_H
#define TRINE_CUDA_MATMUL_SM80_PLAN_H

#include "backends/simt/matmul_split.h"

namespace sm80 {

enum { step_bytes = 64, most_stages = 4, barrier_bytes = 2 * 8 * most_stages };

/* How a block works: its tile, the rows and columns of it that a warp has, and how many blocks a multiprocessor's registers have room
 * for. */
template <int ROWS, int COLUMNS, int WARP_ROWS, int WARP_COLUMNS, int BLOCKS> struct shape {
    enum {
        rows = ROWS,
        columns = COLUMNS,
        warp_rows = WARP_ROWS,
        warp_columns = WARP_COLUMNS,
        across_m = WARP_ROWS / 16, /* fragments of a warp */
        across_n = WARP_COLUMNS / 16,
        warps_n = COLUMNS / WARP_COLUMNS,
        warps = ROWS / WARP_ROWS * warps_n,
        threads = 32 * warps,
        stage_bytes = (ROWS + COLUMNS) * step_bytes,
        blocks = BLOCKS,
        staged_rows = 32, /* of a warp's sums at a time */
        pitch = WARP_COLUMNS + 8,
        staged_bytes = warps * staged_rows * pitch * 4
    };
};

using wide = shape<128, 256, 64, 64, 1>;
using square = shape<128, 128, 64, 64, 2>;
using small = shape<64, 64, 32, 32, 4>;

/* What the choice knows of a tile. */
struct tile_facts {
    int64_t rows, columns, blocks; /* that run at once on a multiprocessor */
    double step;                   /* cycles of a step where they all do; */
    double least;                  /* where fewer do, never below these: the copies' way from memory */
    double around;                 /* cycles of what a tile has beside its steps */
};

struct plan {
    int tile;
    int64_t splits;
};

const tile_facts tiles[] = {
    {wide::rows, wide::columns, wide::blocks, 930, 930, 7000},
    {square::rows, square::columns, square::blocks, 930, 500, 7000},
    {small::rows, small::columns, small::blocks, 800, 430, 5000},
};
enum { tile_count = 3, any_tile = -1, any_splits = 0 };

/* As many stages, up to four, as all blocks of a multiprocessor have room for beside 1 KiB each of the system's. */
template <class Shape> inline int stages_of(const trine_call *call)
{
    const int64_t room = (call->device->props.shared_bytes + 1024) / Shape::blocks - 1024 - barrier_bytes;
    return room >= int(most_stages) * Shape::stage_bytes ? int(most_stages) : 3;
}

/* The least cycles: rounds of tiles on all multiprocessors, and the parts' way through memory. `tile`: one, or any_tile. */
template <int count>
inline plan choose(const tile_facts (&all_tiles)[count], const trine_call *call, const trine_product &p, int tile)
{
    const int64_t units = call->device->props.compute_units > 0 ? call->device->props.compute_units : 1;
    const int64_t steps = simt::ceil_div(p.k * (trine_dtype_bits(p.dtype) / 8), int64_t(step_bytes));
    double least = 1e300;
    plan best = {0, 1};
    for (int i = 0; i < count; i++) {
        if (tile != any_tile && tile != i) continue;
        const tile_facts &t = all_tiles[i];
        const int64_t all = simt::ceil_div(p.m, t.rows) * simt::ceil_div(p.n, t.columns) * p.batch.numel;
        for (int64_t splits = 1; splits <= 32; splits *= 2) {
            if (splits > 1 && !simt::split_fits(p, splits)) break;
            const double rounds = double(simt::ceil_div(all * splits, t.blocks * units));
            const int64_t each = simt::ceil_div(all * splits, units), together = each < t.blocks ? each : t.blocks;
            const double shared = t.step * double(together) / double(t.blocks), step = shared > t.least ? shared : t.least;
            const double cost =
                rounds * (double(simt::ceil_div(steps, splits)) * step + t.around) + simt::split_cost(p, splits, units);
            if (cost >= least) continue;
            least = cost;
            best = plan{i, splits};
        }
    }
    return best;
}

} // namespace sm80

#endif
