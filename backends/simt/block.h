/* Reductions over a group of threads. Every thread gets the result; the order of operations is fixed, so the bits are the same
 * every time. */
#ifndef TRINE_SIMT_BLOCK_H
#define TRINE_SIMT_BLOCK_H

namespace simt {

struct op_sum {
    template <class T> TRINE_METHOD T operator()(T a, T b) const { return a + b; }
};
struct op_least {
    template <class T> TRINE_METHOD T operator()(T a, T b) const { return a < b ? a : b; }
};
/* NaN wins. */
struct op_max {
    TRINE_METHOD float operator()(float a, float b) const { return a > b || a != a ? a : b; }
};

/* Over `width` consecutive threads, a power of two that is at most the wave size; all threads of the wave take part. T is 4 or 8
 * bytes. */
template <class T, class Op> TRINE_DEVICE T wave_reduce(T value, Op op, int width = target::wave_size())
{
#pragma unroll
    for (int mask = target::wave_size() / 2; mask > 0; mask /= 2) {
        const T with_other = op(value, target::shuffle_xor(value, mask)); /* always: no branch stands between the steps */
        value = mask < width ? with_other : value;
    }
    return value;
}

/* Over the whole block (a multiple of the wave size). `scratch`: target::max_waves elements of shared memory, which may be used
 * again after the next barrier; two reductions in a row need two scratches or a barrier between them. */
template <class T, class Op> TRINE_DEVICE T block_reduce(T value, Op op, T *scratch)
{
    const int waves = target::block_threads() / target::wave_size();
    const int lane = target::thread_x() % target::wave_size(), wave = target::thread_x() / target::wave_size();
    value = wave_reduce(value, op);
    if (waves == 1) return value;
    if (lane == 0) scratch[wave] = value;
    target::barrier();
    value = scratch[0];
    for (int i = 1; i < waves; i++) value = op(value, scratch[i]);
    return value;
}

} // namespace simt

#endif
