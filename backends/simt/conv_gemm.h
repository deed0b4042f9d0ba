/* implicit_gemm: matmul's register tiles (matmul_register.h) over operands that are gathered from the tensors. Bound by the rate of
 * multiply-adds; finding an element's place takes two multiplications for each part of an index and is done once for a pack.
 *
 * Where the tiles are few and the sums long, as in the gradient of a filter, sums are divided among blocks; a second kernel adds the
 * parts in order. */
#ifndef TRINE_SIMT_CONV_GEMM_H
#define TRINE_SIMT_CONV_GEMM_H

#include "backends/simt/conv_gather.h"
#include "backends/simt/matmul_register.h"

namespace simt {

template <class T> struct conv_problem {
    conv_operand<T> a, b;
    conv_output<T> out;
    int32_t m, n, k;
    int32_t splits, terms; /* parts of a sum, terms of a part */
    int64_t apart;         /* elements from one split's parts to the next one's */
    float *parts;          /* [splits][groups][m][n]; NULL: sums are whole */
    divider32 by_n, by_m;

    /* step: what terms of a part are a multiple of */
    conv_problem(const trine_conv_product &p, int64_t splits_, void *workspace, int64_t step = 8)
        : a(p.a), b(p.b), out(p), m(int32_t(p.m)), n(int32_t(p.n)), k(int32_t(p.k)), splits(int32_t(splits_)),
          terms(int32_t(ceil_div(ceil_div(p.k, splits_), step) * step)), apart(p.groups * p.m * p.n), parts(nullptr), by_n(p.n),
          by_m(p.m)
    {
        if (splits > 1) parts = reinterpret_cast<float *>((reinterpret_cast<uintptr_t>(workspace) + 15) / 16 * 16);
    }
};

/* The block's sums in rounds through shared memory, V columns a thread at a time. */
template <class Tile, class T>
TRINE_DEVICE void conv_write(float *staged, const float (&sum)[Tile::TM][Tile::TN], const register_thread<Tile> &me,
                             int32_t first_row, int32_t first_column, const conv_problem<T> &p, int64_t group, int64_t split)
{
    const bool plain = p.parts || p.out.plain();
    float *parts = p.parts ? p.parts + split * p.apart + group * p.m * p.n : nullptr;
#pragma unroll 1
    for (int round = 0; round < Tile::TM / 2; round++) {
        stage_rows<Tile>(staged, sum, round, me);
        target::barrier();
        if (!plain) {
            each_staged<Tile, 1>(round, first_row, first_column, p.m, p.n, [&](int i, int64_t row, int64_t column) {
                staged[i] = p.out.finish(staged[i], group, int32_t(row), int32_t(column));
            });
            target::barrier();
        }
        if (parts)
            each_staged<Tile, 1>(round, first_row, first_column, p.m, p.n,
                                 [&](int i, int64_t row, int64_t column) { parts[row * p.n + column] = staged[i]; });
        else if (p.out.packs)
            each_staged<Tile, 4>(round, first_row, first_column, p.m, p.n, [&](int i, int64_t row, int64_t column) {
                p.out.put(*reinterpret_cast<const pack<float, 4> *>(staged + i), group, int32_t(row), int32_t(column));
            });
        else
            each_staged<Tile, 1>(round, first_row, first_column, p.m, p.n, [&](int i, int64_t row, int64_t column) {
                p.out.put(pack<float, 1>{{staged[i]}}, group, int32_t(row), int32_t(column));
            });
        target::barrier();
    }
}

template <class T, int V> TRINE_KERNEL_BLOCKS(small_tile::threads, V == 1 ? 1 : small_tile::together)
conv_gemm_kernel(conv_problem<T> p, unsigned tiles_m, unsigned tiles_n)
{
    using Tile = small_tile;
    alignas(16) TRINE_SHARED float shared[Tile::shared];
    const unsigned tiles = tiles_m * tiles_n, part = target::block_x() / tiles, group = part / unsigned(p.splits),
                   split = part - group * unsigned(p.splits);
    unsigned tile_m, tile_n;
    tile_of_block(target::block_x() - part * tiles, tiles_m, tiles_n, 8, &tile_m, &tile_n);
    const int32_t first_row = int32_t(tile_m) * Tile::BM, first_column = int32_t(tile_n) * Tile::BN;
    const int32_t begin = int32_t(split) * p.terms, end = p.k - begin < p.terms ? p.k : begin + p.terms;

    const register_thread<Tile> me;
    float sum[Tile::TM][Tile::TN] = {};
    if (begin < end) {
        conv_loader<T, Tile::BM, Tile::BK, Tile::threads, V> a(p.a, first_row, p.m, group);
        conv_loader<T, Tile::BN, Tile::BK, Tile::threads, V> b(target::first_argument(p).b, first_column, p.n, group);
        int now = 0;
        a.load(target::first_argument(p).a, begin, end);
        b.load(target::first_argument(p).b, begin, end);
        a.store(shared);
        b.store(shared + Tile::tile_a);
        target::barrier();
#pragma unroll 1
        for (int32_t k = begin + Tile::BK; k < end; k += Tile::BK) {
            const int next = Tile::tiles - now;
            a.load(target::first_argument(p).a, k, end);
            b.load(target::first_argument(p).b, k, end);
            multiply_tile<Tile>(sum, shared + now, shared + now + Tile::tile_a, me);
            a.store(shared + next);
            b.store(shared + next + Tile::tile_a);
            target::barrier();
            now = next;
        }
        multiply_tile<Tile>(sum, shared + now, shared + now + Tile::tile_a, me);
        target::barrier();
    }
    conv_write<Tile>(shared, sum, me, first_row, first_column, target::first_argument(p), group, split);
}

/* A whole sum, number i of all. */
template <class T> TRINE_DEVICE void conv_put_sum(const conv_problem<T> &p, int64_t i, float sum)
{
    const int64_t line = p.by_n.divide(i), group = p.by_m.divide(line);
    const int32_t column = int32_t(i - line * p.n), row = int32_t(line - group * p.m);
    p.out.put(pack<float, 1>{{p.out.finish(sum, group, row, column)}}, group, row, column);
}

/* The parts of splits `first`, first + step... */
template <class T> TRINE_DEVICE float conv_add_parts(const conv_problem<T> &p, int64_t i, int first, int step)
{
    float sum = 0;
#pragma unroll 4
    for (int s = first; s < p.splits; s += step) sum += p.parts[s * p.apart + i];
    return sum;
}

template <class T> TRINE_KERNEL(split_threads) conv_sum_kernel(conv_problem<T> p)
{
    const int64_t i = int64_t(target::block_x()) * split_threads + target::thread_x();
    if (i < p.apart) conv_put_sum(p, i, conv_add_parts(p, i, 0, 1));
}

/* Of many parts and few outputs a thread adds up every eighth part, for they come one after the other. */
enum { sum_slices = 8, sum_across = split_threads / sum_slices };
template <class T> TRINE_KERNEL(split_threads) conv_sum_many_kernel(conv_problem<T> p)
{
    TRINE_SHARED float slices[sum_slices][sum_across];
    const int own = target::thread_x() % sum_across, slice = target::thread_x() / sum_across;
    const int64_t i = int64_t(target::block_x()) * sum_across + own;
    slices[slice][own] = i < p.apart ? conv_add_parts(p, i, slice, sum_slices) : 0;
    target::barrier();
    if (slice > 0 || i >= p.apart) return;
    float sum = slices[0][own];
#pragma unroll
    for (int k = 1; k < sum_slices; k++) sum += slices[k][own];
    conv_put_sum(p, i, sum);
}

/* ---- Host ---- */

/* Whether an operand may be read in packs of V along its dense axis, which all of its other steps are multiples of. */
template <class T, int V = 4> inline bool conv_packs(const trine_conv_operand &o)
{
    const bool along_k = o.terms.stride[2] == 1 && o.terms.size[2] > 1;
    const trine_conv_side &dense = along_k ? o.terms : o.rows, &other = along_k ? o.rows : o.terms;
    bool fit = dense.stride[2] == 1 && dense.size[2] % V == 0 && dense.h[2] == 0 && dense.w[2] == 0 && o.group % V == 0 &&
               o.first % V == 0 && reinterpret_cast<uintptr_t>(o.data) % (V * sizeof(T)) == 0;
    for (int i = 0; i < 3; i++)
        fit =
            fit && (other.size[i] == 1 || other.stride[i] % V == 0) && (i == 2 || dense.size[i] == 1 || dense.stride[i] % V == 0);
    return fit;
}

struct conv_gemm_plan {
    int64_t tiles_m, tiles_n, splits;
};

/* Parts of at least 256 terms until there are four blocks a unit. */
inline conv_gemm_plan conv_plan_gemm(const trine_call *call, const trine_conv_product &p)
{
    const int64_t units = call->device->props.compute_units > 0 ? call->device->props.compute_units : 1;
    conv_gemm_plan plan = {ceil_div(p.m, small_tile::BM), ceil_div(p.n, small_tile::BN), 1};
    const int64_t outputs = p.m * p.n * p.groups, tiles = plan.tiles_m * plan.tiles_n * p.groups;
    while (2 * plan.splits <= split_most && tiles * plan.splits < 4 * units && p.k >= 2 * plan.splits * 256 &&
           outputs * 2 * plan.splits <= int64_t(1) << 26)
        plan.splits *= 2;
    return plan;
}

inline size_t conv_gemm_workspace(const trine_conv_product &p, const conv_gemm_plan &plan)
{
    return plan.splits > 1 ? size_t(plan.splits * p.groups * p.m * p.n) * sizeof(float) + 16 : 0;
}

template <class T> inline trine_status conv_sum_parts(trine_call *call, const conv_problem<T> &problem)
{
    if (!problem.parts) return TRINE_OK;
    const int64_t blocks = ceil_div(problem.apart, split_threads);
    if (problem.splits >= 2 * sum_slices && blocks < call->device->props.compute_units)
        return launch(call, conv_sum_many_kernel<T>, grid(ceil_div(problem.apart, sum_across)), split_threads, 0, problem);
    return launch(call, conv_sum_kernel<T>, grid(blocks), split_threads, 0, problem);
}

template <class T> inline trine_status conv_gemm_launch(trine_call *call, const trine_conv_product &p, const conv_gemm_plan &plan)
{
    const conv_problem<T> problem(p, plan.splits, call->workspace);
    const int64_t blocks = plan.tiles_m * plan.tiles_n * plan.splits * p.groups;
    const auto kernel = conv_packs<T>(p.a) && conv_packs<T>(p.b) ? conv_gemm_kernel<T, 4> : conv_gemm_kernel<T, 1>;
    const trine_status status = launch(call, kernel, grid(blocks), small_tile::threads, 0, problem, plan.tiles_m, plan.tiles_n);
    return status == TRINE_OK ? conv_sum_parts(call, problem) : status;
}

} // namespace simt

#endif
