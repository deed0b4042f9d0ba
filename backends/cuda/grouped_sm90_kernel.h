/* sm90: grouped products on Hopper's tensor cores. The ring, the multiplying warpgroups and the epilogues are
 * matmul's (docs/matmul-hopper.md); what differs is which tile a block works on, and what the two blocks of a cluster share.
 *
 * A unit of work is two tiles, one for each block of a cluster: two rows of tiles of one group, which share the tile of b (each
 * block loads half of it for both); or, of a group's last row of tiles where their number is odd, two neighbours in that row, which
 * share the tile of a. So no block makes a tile of rows that there are not, and b's tiles come from memory once for two rows of
 * tiles. Every warp walks the groups by itself (simt/groups.h), in registers.
 *
 * Tiles that reach into the next group read its rows, which is harmless, and store row by row; whole ones are written by TMA.
 *
 * With 256 rows a group, b's bytes take as long as the products: both bounds meet. With more rows the tensor cores are the bound,
 * with fewer the memory. */
#ifndef TRINE_CUDA_GROUPED_SM90_KERNEL_H
#define TRINE_CUDA_GROUPED_SM90_KERNEL_H

#include "backends/cuda/matmul_sm90_kernel.h"
#include "backends/simt/fp8_product.h"
#include "backends/simt/groups.h"

namespace sm90 {

enum { group_rows_of_units = 8 };

/* Units of a group. `columns`: of tiles. */
template <class Tile> struct units_of_rows {
    int columns;
    TRINE_DEVICE_METHOD int operator()(int rows) const
    {
        const int tiles = (rows + Tile::M - 1) / Tile::M;
        return tiles / 2 * columns + tiles % 2 * ((columns + 1) / 2);
    }
};
template <class Tile> using unit_walk = simt::group_walk<int, units_of_rows<Tile>>;

/* A block's tile. Its rows lie from `row` to `end`, counted as in a and d. */
struct group_tile {
    int group, row, end, column;
    bool shares_a; /* with the other block, else b */
};

template <class Tile> TRINE_DEVICE bool tile_of_unit(unit_walk<Tile> &walk, int unit, int rank, group_tile *t)
{
    const simt::group_place<int> g = walk.of_unit(unit);
    if (g.group < 0) return false;
    const int columns = walk.count.columns, tiles = (g.end - g.begin + Tile::M - 1) / Tile::M;
    const int inside = unit - g.first_unit, paired = tiles / 2 * columns;
    unsigned m, n;
    t->shares_a = inside >= paired;
    if (t->shares_a) {
        m = tiles - 1;
        n = 2 * (inside - paired) + rank;
    } else {
        simt::tile_of_block(inside, tiles / 2, columns, group_rows_of_units, &m, &n);
        m = 2 * m + rank;
    }
    t->group = g.group;
    t->row = g.begin + int(m) * Tile::M;
    t->end = g.end;
    t->column = int(n) * Tile::N;
    return true;
}

/* The same, as numbers that the compiler knows to be the warp's. */
TRINE_DEVICE group_tile uniform(const group_tile &t)
{
    const auto first = [](int x) { return __shfl_sync(0xffffffffu, x, 0); };
    return {first(t.group), first(t.row), first(t.end), first(t.column), first(t.shares_a) != 0};
}

/* What all blocks are told beside the product. */
struct group_schedule {
    schedule tiles; /* for matmul's functions: share 2; single and by_tma as for d */
    int columns, steps;
    bool masked;
    int64_t bias_group;
};

/* The loading warp: keeps the ring full. All lanes go through it, one starts the copies (ptx::warp_index). TERMS: of a stage. */
template <class Tile, wgmma::axis B, int TERMS> struct group_producer {
    enum { half_a = Tile::M / 2, half_b = Tile::N / 2, box = 64 };

    /* Half i of a stage's rows of a. */
    static TRINE_DEVICE_METHOD void load_a(const maps &m, const ring_place<Tile> &at, ptx::coordinates from, int i, bool masked,
                                           bool for_both)
    {
        const uint32_t to = at.a() + i * half_a * wgmma::line_bytes;
        from.outer += i * half_a;
        if (for_both)
            ptx::load_box_shared(to, &m.a, from, !masked, at.full(), 3);
        else
            ptx::load_box(to, &m.a, from, !masked, at.full());
    }
    /* Half i of a stage's columns of b, from `column` and term k on. */
    static TRINE_DEVICE_METHOD void load_b(const maps &m, const ring_place<Tile> &at, int group, int column, int k, int i,
                                           bool for_both)
    {
        constexpr int step = B == wgmma::along_k ? int(half_b) : int(box);
#pragma unroll
        for (int c = 0; c < half_b; c += step) {
            const int first = i * half_b + c;
            const uint32_t to = at.b() + first * wgmma::line_bytes;
            ptx::coordinates from = {k, column + first, {group, 0, 0}};
            if (B == wgmma::along_rows) from = {column + first, k, {group, 0, 0}};
            if (for_both)
                ptx::load_box_shared(to, &m.b, from, false, at.full(), 3);
            else
                ptx::load_box(to, &m.b, from, false, at.full());
        }
    }
    static TRINE_DEVICE_METHOD void load_tile(const maps &m, const group_schedule &s, ring_place<Tile> &at, const group_tile &t,
                                              int rank, bool leads)
    {
#pragma unroll 1
        for (int i = 0; i < s.steps; i++, at.advance()) {
            const int k = i * TERMS;
            const ptx::coordinates from_a = {k, t.row, {t.group, 0, 0}};
            ptx::barrier_wait(at.empty(), at.parity ^ 1);
            if (!leads) continue;
            ptx::barrier_expect(at.full(), Tile::bytes_stage);
            if (t.shares_a) {
                load_a(m, at, from_a, rank, s.masked, true);
                load_b(m, at, t.group, t.column, k, 0, false);
                load_b(m, at, t.group, t.column, k, 1, false);
            } else {
                load_b(m, at, t.group, t.column, k, rank, true);
                load_a(m, at, from_a, 0, s.masked, false);
                load_a(m, at, from_a, 1, s.masked, false);
            }
        }
    }
    /* The first tile is found before the wait for the ring. */
    static TRINE_DEVICE_METHOD void run(const maps &m, const group_schedule &s, const simt::group_list &list, uint32_t base,
                                        int rank, int unit, int units_apart)
    {
        const bool leads = ptx::elected();
        ring_place<Tile> at(base);
        unit_walk<Tile> walk(list, units_of_rows<Tile>{s.columns});
        group_tile t;
        bool there = tile_of_unit<Tile>(walk, unit, rank, &t);
        ptx::cluster_wait();
        for (; there; unit += units_apart, there = tile_of_unit<Tile>(walk, unit, rank, &t))
            load_tile(m, s, at, uniform(t), rank, leads);
    }
};

/* Rows up to `end` of a warpgroup's sums, where TMA would write the next group's, too: boxes are filled as for TMA, and copied in
 * pieces of 16 bytes. */
template <class Tile, class T, class D> TRINE_DEVICE void store_rows(const float (&sum)[Tile::N / 2], const product<T> &p,
                                                                     const group_tile &t, int64_t group_d, int row,
                                                                     uint32_t staging, const lane_place &me, D type)
{
    constexpr int columns = wgmma::line_bytes / int(sizeof(D)), pieces = 8, each = columns / pieces;
#pragma unroll
    for (int i = 0; i < Tile::N / columns; i++) {
        const uint32_t box = staging + i % Tile::boxes * wgmma::block_bytes;
        if (Tile::boxes == 1) me.meet();
        fill_box(sum + i * columns / 2, box, me, type);
        me.meet();
#pragma unroll 1
        for (int at = me.thread; at < 64 * pieces; at += warpgroup) {
            const int line = at / pieces, piece = at % pieces, column = t.column + i * columns + piece * each;
            if (row + line >= t.end || column >= p.n) continue;
            const float4 four = ptx::load_shared(box + line * wgmma::line_bytes + (piece ^ line % 8) * 16);
            D *const to = static_cast<D *>(p.out.d) + group_d + (row + line) * p.out.d_m + column;
            *reinterpret_cast<float4 *>(to) = four;
        }
    }
}

/* f(type) with the type of d, a value that means nothing. */
template <class T, class F> TRINE_DEVICE void with_type_of_d(const simt::epilogue<T> &out, F f)
{
    if (out.d_wide)
        f(float{});
    else
        f(T{});
}
template <class F> TRINE_DEVICE void with_type_of_d(const simt::epilogue<simt::f8_any> &out, F f)
{
    if (out.d_dtype == TRINE_F32)
        f(float{});
    else if (out.d_dtype == TRINE_F16)
        f(simt::f16{});
    else
        f(simt::bf16{});
}

/* A tile's sums to d: by TMA if the warpgroup's rows are all the group's, else as far as they are. */
template <class Tile, class T> TRINE_DEVICE void store_group_tile(const float (&sum)[Tile::N / 2], const maps &m,
                                                                  const product<T> &p, const group_schedule &s,
                                                                  const group_tile &t, uint32_t staging, const lane_place &me)
{
    const int row = t.row + me.group * 64;
    if (s.tiles.by_tma && row + 64 <= t.end) {
        const ptx::coordinates to = {t.column, row, {t.group, 0, 0}};
        with_type_of_d(p.out, [&](auto type) { store_by_tma<Tile>(sum, &m.d, s.tiles, to, staging, me, type); });
        return;
    }
    if (me.thread == 0) ptx::wait_stores_read<0>(); /* of the tile before, which lay in the same memory */
    me.meet();
    simt::product_offsets at = p.offsets(t.group);
    if (s.tiles.by_tma) { /* whole pieces */
        with_type_of_d(p.out, [&](auto type) { store_rows<Tile>(sum, p, t, at.d, row, staging, me, type); });
        me.meet();
        return;
    }
    at.bias = t.group * s.bias_group;
    const simt::group_view<T> view = {t.end, p.n, p.out, at};
    store_finished<Tile>(sum, view, work{0, t.row, t.column, 0, 0}, staging, me);
}

/* A tile of which this warpgroup has no rows: its stages are given back as they come. */
template <class Tile>
TRINE_DEVICE void skip_tile(ring_place<Tile> &at, const group_schedule &s, uint32_t rank, const lane_place &me)
{
#pragma unroll 1
    for (int i = 0; i < s.steps; i++, at.advance()) {
        ptx::barrier_wait(at.full(), at.parity);
        me.meet(); /* a thread that is late must still see this phase */
        give_back<Tile>(s.tiles, at.empty(), rank, me);
    }
}

template <class T, class Tile, wgmma::axis B>
TRINE_DEVICE void consume_groups(const maps &m, const product<T> &p, const group_schedule &s, const simt::group_list &list,
                                 uint32_t base, int rank, int unit, int units_apart)
{
    const lane_place me = {int(threadIdx.x) / warpgroup, int(threadIdx.x) % warpgroup};
    const uint32_t staging = base + Tile::at_staging + me.group * Tile::staging;
    ring_place<Tile> at(base);
    unit_walk<Tile> walk(list, units_of_rows<Tile>{s.columns});
    group_tile t;
    float sum[Tile::N / 2];
    for (; tile_of_unit<Tile>(walk, unit, rank, &t); unit += units_apart) {
        if (t.row + me.group * 64 >= t.end || t.column >= p.n) {
            skip_tile<Tile>(at, s, uint32_t(rank), me);
            continue;
        }
        multiply_tile<T, Tile, wgmma::along_k, B>(sum, at, s.tiles, s.steps, uint32_t(rank), me);
        store_group_tile<Tile>(sum, m, p, s, t, staging, me);
    }
    if (me.thread == 0) ptx::wait_stores_read<0>();
}

template <class T, class Tile, wgmma::axis B> __global__ void __launch_bounds__(Tile::threads, Tile::together)
    grouped_kernel(const __grid_constant__ maps m, const __grid_constant__ product<T> p, const __grid_constant__ group_schedule s,
                   const __grid_constant__ simt::group_list list)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    const uint32_t base =
        (ptx::shared_address(target::dynamic_shared()) + wgmma::pattern_bytes - 1) & ~uint32_t(wgmma::pattern_bytes - 1);
    const int rank = int(ptx::cluster_rank()), unit = int(ptx::cluster_index()), units_apart = int(ptx::cluster_count());
    if (threadIdx.x == Tile::multipliers) { /* on their way while the barriers are made */
        ptx::prefetch_map(&m.a);
        ptx::prefetch_map(&m.b);
        if (s.tiles.by_tma) ptx::prefetch_map(&m.d);
    }
    if (threadIdx.x == 0) init_ring<Tile>(base, 1, Tile::consumers * 2);
    ptx::cluster_arrive_relaxed();
    const int warp = ptx::warp_index();
    if (warp < Tile::multipliers / 32) {
        if constexpr (Tile::trades_registers) ptx::take_registers<224>();
        ptx::cluster_wait();
        consume_groups<T, Tile, B>(m, p, s, list, base, rank, unit, units_apart);
    } else { /* what stands last comes first in the code, as in matmul_kernel */
        if constexpr (Tile::trades_registers) ptx::leave_registers<56>();
        if (warp > Tile::multipliers / 32)
            ptx::cluster_wait();
        else
            group_producer<Tile, B, step_terms<T>>::run(m, s, list, base, rank, unit, units_apart);
        __syncwarp();
    }
    /* nobody leaves while another block still writes or signals its shared memory */
    ptx::cluster_barrier_relaxed();
#endif
}

} // namespace sm90

#endif
