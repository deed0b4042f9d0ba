/* What the kernels of scan.h share: the operations, and a tile of a row that a group of threads scans. */
#ifndef TRINE_SIMT_SCAN_TILE_H
#define TRINE_SIMT_SCAN_TILE_H

#include "backends/simt/block.h"
#include "backends/simt/divider.h"
#include "backends/simt/launch.h"
#include "backends/simt/types.h"
#include "trine/scan.h"

namespace simt {

enum { scan_threads = 256, scan_packs = 4 /* of a thread in a tile */ };

struct scan_sum {
    static TRINE_DEVICE_METHOD float neutral() { return 0.0f; }
    static TRINE_DEVICE_METHOD float both(float a, float b) { return target::add_rn(a, b); }
};
struct scan_max {
    static TRINE_DEVICE_METHOD float neutral() { return -__builtin_inff(); }
    static TRINE_DEVICE_METHOD float both(float a, float b) { return target::maximum(a, b); }
};
struct scan_mul {
    static TRINE_DEVICE_METHOD float neutral() { return 1.0f; }
    static TRINE_DEVICE_METHOD float both(float a, float b) { return target::mul_rn(a, b); }
};

/* How a row is walked. Packs of V elements count from the row's first element in memory; `reverse` walks them, and the elements
 * in them, from the last one on, and those past the end, of the last pack, count as neutral. */
struct scan_order {
    int64_t n, packs;
    int64_t y_step, x_step; /* V = 1: from one element to the next */
    bool exclusive, reverse;
};

template <class Op, class T, int V> struct scan_tile {
    float value[scan_packs][V], before[scan_packs]; /* before: of all that precedes a pack in the tile */
    float total;                                    /* of the tile */

    /* Packs first + u * width of the walk: those of thread `t` of a group of `width` threads. */
    TRINE_DEVICE_METHOD void load(const T *x, const scan_order &order, int64_t first, int width)
    {
        pack<T, V> in[scan_packs];
        int64_t at[scan_packs];
#pragma unroll
        for (int u = 0; u < scan_packs; u++) {
            at[u] = place(order, first + int64_t(u) * width);
            if (at[u] < 0)
                in[u] = pack<T, V>{};
            else if (at[u] + V <= order.n)
                in[u] = load_pack<T, V>(x + at[u] * order.x_step);
            else
                in[u] = partly(x, at[u], order.n);
        }
#pragma unroll
        for (int u = 0; u < scan_packs; u++)
#pragma unroll
            for (int j = 0; j < V; j++) {
                const int k = V - 1 - j;
                const float x_j = in_row(at[u], j, order.n) ? to_f32(in[u].at[j]) : Op::neutral(),
                            x_k = in_row(at[u], k, order.n) ? to_f32(in[u].at[k]) : Op::neutral();
                value[u][j] = order.reverse ? x_k : x_j;
            }
    }

    /* Fills before and total. The group is 2^k threads of a wave, or the block; `list`: of scan_packs * max_waves, free again
     * after the next barrier. */
    TRINE_DEVICE_METHOD void gather(int width, float *list)
    {
        constexpr int wave_size = target::wave_size();
        const int within = width < wave_size ? width : wave_size, lane = target::thread_x() % wave_size,
                  rank = lane & (within - 1);
        float sums[scan_packs];
#pragma unroll
        for (int u = 0; u < scan_packs; u++) {
            float sum = value[u][0];
#pragma unroll
            for (int j = 1; j < V; j++) sum = Op::both(sum, value[u][j]);
#pragma unroll
            for (int apart = 1; apart < wave_size; apart *= 2) {
                if (apart >= within) continue;
                const float other = target::shuffle(sum, lane - apart < 0 ? lane : lane - apart);
                sum = rank >= apart ? Op::both(other, sum) : sum;
            }
            const float previous = target::shuffle(sum, lane == 0 ? 0 : lane - 1);
            before[u] = rank == 0 ? Op::neutral() : previous;
            sums[u] = target::shuffle(sum, lane | (within - 1));
        }
        total = Op::neutral();
        if (width <= wave_size) {
#pragma unroll
            for (int u = 0; u < scan_packs; u++) {
                before[u] = Op::both(total, before[u]);
                total = Op::both(total, sums[u]);
            }
            return;
        }
        const int waves = target::block_threads() / wave_size, wave = target::thread_x() / wave_size;
#pragma unroll
        for (int u = 0; u < scan_packs; u++)
            if (lane == 0) list[u * waves + wave] = sums[u];
        target::barrier();
#pragma unroll
        for (int u = 0; u < scan_packs; u++)
            for (int w = 0; w < waves; w++) {
                if (w == wave) before[u] = Op::both(total, before[u]);
                total = Op::both(total, list[u * waves + w]);
            }
    }

    /* The outputs, after `carry`. */
    TRINE_DEVICE_METHOD void store(T *y, const scan_order &order, int64_t first, int width, float carry) const
    {
#pragma unroll
        for (int u = 0; u < scan_packs; u++) {
            const int64_t at = place(order, first + int64_t(u) * width);
            float running = Op::both(carry, before[u]), out[V];
#pragma unroll
            for (int j = 0; j < V; j++) {
                const float next = Op::both(running, value[u][j]);
                out[j] = order.exclusive ? running : next;
                running = next;
            }
            if (at < 0) continue;
            pack<T, V> p;
#pragma unroll
            for (int j = 0; j < V; j++) {
                const float forward = out[j], backward = out[V - 1 - j]; /* two values, not an index that is chosen at run time */
                p.at[j] = from_f32<T>(order.reverse ? backward : forward);
            }
            if (at + V <= order.n)
                store_pack<T, V>(y + at * order.y_step, p);
            else
#pragma unroll
                for (int j = 0; j < V; j++)
                    if (in_row(at, j, order.n)) y[at + j] = p.at[j];
        }
    }

  private:
    /* Element in memory where a pack of the walk begins; -1 past the end. */
    static TRINE_DEVICE_METHOD int64_t place(const scan_order &order, int64_t walked)
    {
        return walked >= order.packs ? -1 : (order.reverse ? order.packs - 1 - walked : walked) * V;
    }
    static TRINE_DEVICE_METHOD bool in_row(int64_t at, int j, int64_t n) { return at >= 0 && at + j < n; }
    /* A pack that the row ends in. */
    static TRINE_DEVICE_METHOD pack<T, V> partly(const T *x, int64_t at, int64_t n)
    {
        pack<T, V> p = {};
#pragma unroll
        for (int j = 0; j < V; j++)
            if (at + j < n) p.at[j] = x[at + j];
        return p;
    }
};

} // namespace simt

#endif
