/* dweight and dbias of a norm where the forward stored the rows' statistics: from x and dy, which the L2 cache has from the kernel
 * that makes dx, beside which this one runs. The sums that teams of few rows would hand on (norm_gradient.h) are more bytes than the
 * rows themselves: 64 rows of 8192 bf16 2 MB, their sums 4 MB, to be written and read.
 *
 * x and dy are read while dx is written, so dx may be neither of them; which tensors go this way gradient_takes_strips
 * says. dweight and dbias: [n] of T or f32, either may be missing.
 *
 * A block has a strip of columns, a pack a thread across, and goes down all rows; its lines of threads add up by shuffles, its waves
 * through shared memory, always in the same order. */
#ifndef TRINE_SIMT_NORM_GRADIENT_COLUMNS_H
#define TRINE_SIMT_NORM_GRADIENT_COLUMNS_H

#include "backends/simt/norm_gradient.h"

namespace simt {

enum {
    gradient_strip_threads = 512, /* of a block */
    gradient_strip_packs = 8,     /* across it, at most */
    gradient_strip_flight = 2     /* rows of a thread under way */
};

/* 2^shift packs across. */
template <class Op> TRINE_KERNEL(gradient_strip_threads)
gradient_strip_kernel(Op op, gradient_outer<true> outer, int rows, int n, int shift, gradient_vector<row_element<Op>> dweight,
                      gradient_vector<row_element<Op>> dbias)
{
    using T = row_element<Op>;
    constexpr int V = Op::V, waves = gradient_strip_threads / target::wave_size();
    TRINE_SHARED float list[waves * gradient_strip_packs * Op::sums * V];
    const int t = target::thread_x(), across = 1 << shift, lane = t & (across - 1), lines = gradient_strip_threads >> shift;
    const int column = (int(target::block_x()) * across + lane) * V;
    float sum[Op::sums][V];
#pragma unroll
    for (int k = 0; k < Op::sums; k++)
#pragma unroll
        for (int j = 0; j < V; j++) sum[k][j] = 0.0f;
    if (column < n) {
        for (int first = t >> shift; first < rows; first += gradient_strip_flight * lines) {
            gradient_pair<T> pair[gradient_strip_flight];
            gradient_stats saved[gradient_strip_flight];
#pragma unroll
            for (int i = 0; i < gradient_strip_flight; i++) {
                const int row = first + i * lines;
                if (row >= rows) break;
                int64_t offset[gradient_operands];
                outer.offsets(row, offset);
                pair[i] = {row_words<T>::load_shared(op.x + offset[1] + column),
                           row_words<T>::load_shared(op.dy + offset[2] + column)};
                saved[i] = op.saved(row);
            }
#pragma unroll
            for (int i = 0; i < gradient_strip_flight; i++) {
                if (first + i * lines >= rows) break;
                op.add_terms(sum, pair[i], saved[i]);
            }
        }
    }
    for (int mask = across; mask < target::wave_size(); mask *= 2) /* outermost: all sums are on their way together */
#pragma unroll
        for (int k = 0; k < Op::sums; k++)
#pragma unroll
            for (int j = 0; j < V; j++) sum[k][j] += target::shuffle_xor(sum[k][j], mask);
    float *const own = list + (t / target::wave_size() * Op::sums * across + lane) * V;
    if (t % target::wave_size() < across) {
#pragma unroll
        for (int k = 0; k < Op::sums; k++)
#pragma unroll
            for (int j = 0; j < V; j++) own[k * across * V + j] = sum[k][j];
    }
    target::barrier();
    const int sums = Op::sums * across * V, each = across * V, k = t / each, at = int(target::block_x()) * each + t % each;
    if (t < sums && at < n) {
        float all = 0.0f;
#pragma unroll
        for (int wave = 0; wave < waves; wave++) all += list[wave * sums + t];
        gradient_vector<T> to = dweight;
        if (k) to = dbias;
        if (to.data) to.put(at, all);
    }
    target::wait_for_previous(); /* so that what follows this launch follows dx, too */
}

/* ---- Host ---- */

/* Strips of 128 bytes, narrower where those were too few for the device: 2^shift packs. */
template <class Op> inline int gradient_strip_shift(const trine_call *call, int64_t n)
{
    int shift = log2_up(gradient_strip_packs);
    while (shift > 1 && ceil_div(n, int64_t(Op::V) << shift) < call->device->props.compute_units) shift--;
    return shift;
}

/* Whether this is the way: x and dy stay in the cache, and no block has much to do one row after the other. Not where dx takes the place
 * of one of them, which is gone then. Measured on an H100, of the time otherwise: strips of 16 to 32 KB (3 MB of x, dy and dx; 13 MB in
 * rows of 8192) 0.65 to 0.88, of 64 KB (13 MB in rows of 1024 f32) 1.10, of 128 KB and more 1.14 to 2.8. */
enum { gradient_strip_bytes = 48 << 10 };
template <class Op> inline bool gradient_takes_strips(const trine_call *call, const Op &op, int64_t rows, int64_t n)
{
    const int64_t row = int64_t(2 * 16) << gradient_strip_shift<Op>(call, n), size = int64_t(sizeof(*op.x));
    return op.knows() && op.dx != op.x && op.dx != op.dy && rows > 0 && rows <= gradient_strip_bytes / row &&
           2 * rows * n * size <= call->device->props.l2_bytes / 4;
}

template <class Op> inline trine_status launch_gradient_strips(trine_call *call, const Op &op, const trine_iter &rows, int64_t n,
                                                               const trine_tensor &dweight, const trine_tensor &dbias)
{
    using T = row_element<Op>;
    const int shift = gradient_strip_shift<Op>(call, n);
    return launch_next(call, gradient_strip_kernel<Op>, ceil_div(n, int64_t(Op::V) << shift), gradient_strip_threads, op,
                       gradient_outer<true>(rows), int(rows.numel), int(n), shift, gradient_vector<T>(dweight),
                       gradient_vector<T>(dbias));
}

} // namespace simt

#endif
