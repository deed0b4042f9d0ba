/* Several outputs and inputs of one shape and type: f(out packs, in packs). As map.h otherwise, in one kernel for dense and
 * strided operands. Bound by bytes. */
#ifndef TRINE_SIMT_MAP_MANY_H
#define TRINE_SIMT_MAP_MANY_H

#include "backends/simt/map.h"

namespace simt {

template <int O, int I, class T> struct many_operands {
    T *out[O];
    const T *in[I];
};

/* U packs a thread, all of whose loads come first; outputs are operands 0 to O - 1 of the walk. */
template <int V, int U, int O, int I, class F, class T> TRINE_KERNEL(map_threads)
map_many_kernel(F f, strided_walk<V, O + I, divider32> outer, divider32 packs_a_row, inner_steps<O + I> inner, int64_t packs,
                many_operands<O, I, T> operands)
{
    const strided_packs<V, U, O + I, divider32> at(outer, packs_a_row, inner, packs);
    if (!at.valid[0]) return;
    inner_pack<V, T> in[U][I];
#pragma unroll
    for (int u = 0; u < U; u++)
#pragma unroll
        for (int k = 0; k < I; k++) in[u][k].load(operands.in[k], at.offset[u][O + k], inner.of[O + k]);
#pragma unroll
    for (int u = 0; u < U; u++) {
        pack<T, V> out[O], given[I];
#pragma unroll
        for (int k = 0; k < I; k++) given[k] = in[u][k].get(inner.of[O + k]);
        f(out, given);
        if (!at.valid[u]) continue;
#pragma unroll
        for (int k = 0; k < O; k++) store_pack<T, V>(operands.out[k] + at.offset[u][k], out[k]);
    }
}

/* ---- Host ---- */

/* Packs of V fit where every operand's first element, rows and columns do. */
template <int V, int O, int I, class T>
inline bool many_fit(const trine_iter &outer, int64_t n, const int64_t *inner, const many_operands<O, I, T> &operands)
{
    bool fit = n % V == 0 && short_walk<1, 3>::fits(outer);
    for (int k = 0; k < O + I; k++) {
        const T *p = k < O ? operands.out[k < O ? k : 0] : operands.in[k < O ? 0 : k - O];
        fit = fit && (inner[k] == 1 || (k >= O && inner[k] == 0));
        if (inner[k] != 1) continue;
        fit = fit && aligned16(p);
        for (int d = 0; d < outer.ndim; d++) fit = fit && outer.stride[k][d] % V == 0;
    }
    return fit;
}

template <int V, int U, int O, int I, class T, class F>
inline trine_status launch_many(trine_call *call, F f, const trine_iter &outer, int64_t n, const inner_strides &inner,
                                const many_operands<O, I, T> &operands)
{
    const int64_t packs = outer.numel * (n / V);
    const map_blocks b(call, packs, U);
    return launch(call, map_many_kernel<V, U, O, I, F, T>, b.blocks, b.threads, 0, f, strided_walk<V, O + I, divider32>(outer),
                  divider32(n / V), inner_steps<O + I>(inner), packs, operands);
}

template <int O, int I, class T>
inline many_operands<O, I, T> moved(many_operands<O, I, T> operands, const int64_t *elements, int64_t times = 1)
{
    for (int k = 0; k < O; k++) operands.out[k] += times * elements[k];
    for (int k = 0; k < I; k++) operands.in[k] += times * elements[O + k];
    return operands;
}

template <int E, int O, int I, class T, class F>
inline trine_status run_many(trine_call *call, F f, trine_iter it, const many_operands<O, I, T> &operands)
{
    constexpr int V = pack_of<T>, U = E / V > 1 ? E / V : 1;
    if (it.numel > map_most_strided) {
        int64_t offset[TRINE_ITER_OPERANDS];
        const trine_iter rest = trine_iter_halve(&it, offset);
        const trine_status status = run_many<E>(call, f, it, operands);
        return status != TRINE_OK ? status : run_many<E>(call, f, rest, moved(operands, offset));
    }
    inner_strides inner;
    const int64_t n = trine_iter_pop_inner(&it, inner.of);
    /* one long row goes in packs as far as they reach; the rest, and whatever does not fit, element by element */
    const int64_t whole = it.numel == 1 ? n - n % V : n;
    if (whole == 0 || !many_fit<V, O, I, T>(it, whole, inner.of, operands))
        return launch_many<1, 1>(call, f, it, n, inner, operands);
    const trine_status status = launch_many<V, U>(call, f, it, whole, inner, operands);
    if (status != TRINE_OK || whole == n) return status;
    return launch_many<1, 1>(call, f, it, n - whole, inner, moved(operands, inner.of, whole));
}

/* tensors: O outputs, then I inputs, the first of which gives the shape. E: elements a thread has in flight of each operand. */
template <class T, int E, int O, int I, class F>
inline trine_status map_many(trine_call *call, F f, const trine_tensor *const (&tensors)[O + I])
{
    const trine_iter it = trine_iter_make(tensors, O + I, 0);
    if (it.numel == 0) return TRINE_OK;
    many_operands<O, I, T> operands;
    for (int k = 0; k < O; k++) operands.out[k] = data_of<T>(*tensors[k]);
    for (int k = 0; k < I; k++) operands.in[k] = data_of<T>(*tensors[O + k]);
    return run_many<E>(call, f, it, operands);
}

} // namespace simt

#endif
