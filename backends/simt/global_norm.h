/* The norm of all tensors of a list. Bound by bytes, each read once.
 *
 * A block adds the squares of a chunk in f64, each thread those of its packs and then the threads in a fixed order, and leaves a
 * partial sum in the workspace; one block adds those. f64 costs nothing beside the reading, and no square leaves its range. */
#ifndef TRINE_SIMT_GLOBAL_NORM_H
#define TRINE_SIMT_GLOBAL_NORM_H

#include "backends/simt/block.h"
#include "backends/simt/tensor_list.h"
#include "core/optimizer_step.h"

namespace simt {

/* unroll: packs a thread loads while it adds those before; rounds: how often */
enum { norm_threads = 1024, norm_unroll = 2, norm_rounds = 8 };
template <class T> constexpr int norm_pack = 16 / int(sizeof(T));
template <class T> constexpr int64_t norm_chunk = int64_t(list_threads) * norm_pack<T> *norm_unroll *norm_rounds;

template <class T> TRINE_DEVICE double square(T x) { return double(to_f32(x)) * double(to_f32(x)); }

/* Packs first, first + list_threads, ...; zeros past the end. */
template <class T, int V, int U>
TRINE_DEVICE void norm_load(pack<T, V> (&r)[U], const T *x, int64_t first, int64_t packs, bool whole)
{
#pragma unroll
    for (int k = 0; k < U; k++) {
        const int64_t at = first + k * list_threads;
        r[k] = at < packs ? list_load<V>(x + at * V, whole) : pack<T, V>{};
    }
}

template <class T> TRINE_KERNEL(list_threads) norm_kernel(const list_table<1> table, double *partial)
{
    constexpr int V = norm_pack<T>, U = norm_unroll, sums = 4;
    TRINE_SHARED double scratch[target::max_waves];
    const list_part part = list_find(table);
    const T *const x = static_cast<const T *>(table.at[0][part.place]);
    const int64_t n = table.n[part.place], packs = n / V,
                  begin = part.chunk * (list_threads * U * norm_rounds) + target::thread_x();
    const int before = table.before[part.place], thread = target::thread_x();
    const bool whole = before != list_table<1>::scattered;
    double sum[sums] = {}; /* so that additions need not wait for each other */
    pack<T, V> now[U], next[U];
    norm_load<T, V, U>(next, x, begin, packs, whole);
    for (int round = 0; round < norm_rounds; round++) {
#pragma unroll
        for (int k = 0; k < U; k++) now[k] = next[k];
        if (round + 1 < norm_rounds) norm_load<T, V, U>(next, x, begin + (round + 1) * (list_threads * U), packs, whole);
#pragma unroll
        for (int k = 0; k < U; k++)
#pragma unroll
            for (int j = 0; j < V; j++) sum[j % sums] += square(now[k].at[j]);
    }
    const int ahead = whole ? before : 0; /* what is in no pack */
    if (part.chunk == 0 && thread < ahead + int(n - packs * V))
        sum[0] += square(x[thread < ahead ? thread - ahead : packs * V + thread - ahead]);
    const double all = block_reduce((sum[0] + sum[1]) + (sum[2] + sum[3]), op_sum(), scratch);
    if (thread == 0) partial[target::block_x()] = all;
}

TRINE_KERNEL(norm_threads) norm_finish_kernel(const double *partial, int64_t count, double max_norm, float *norm, float *clip)
{
    TRINE_SHARED double scratch[target::max_waves];
    double sum = 0;
    for (int64_t i = target::thread_x(); i < count; i += norm_threads) sum += partial[i];
    sum = block_reduce(sum, op_sum(), scratch);
    if (target::thread_x() != 0) return;
    const double root = target::sqrt_ieee(sum), factor = max_norm / (root + TRINE_CLIP_EPS);
    *norm = float(root);
    if (clip) *clip = float(factor > 1 ? 1 : factor);
}

/* ---- Host ---- */

inline int64_t norm_partials(const trine_global_norm_args *a)
{
    int64_t sum = 0;
    for (int32_t i = 0; i < a->x.count; i++) {
        const int64_t n = trine_tensor_numel(&a->x.at[i]);
        sum += ceil_div(n, a->x.at[i].dtype == TRINE_F32 ? norm_chunk<float> : norm_chunk<bf16>);
    }
    return sum;
}

/* Tensors of one type. */
template <class T>
inline trine_status norm_of_type(trine_call *call, const trine_tensor_list &x, trine_dtype dtype, double *&partial)
{
    const auto run = [&](const list_table<1> &table, int64_t blocks) {
        double *const to = partial;
        partial += blocks;
        return launch(call, norm_kernel<T>, grid(blocks), list_threads, 0, table, to);
    };
    list_launcher<1, norm_pack<T>, norm_unroll * norm_rounds, decltype(run)> launcher(run);
    trine_status status = TRINE_OK;
    for (int32_t i = 0; i < x.count && status == TRINE_OK; i++)
        if (x.at[i].dtype == dtype) status = launcher.add({&x.at[i]});
    return status == TRINE_OK ? launcher.flush() : status;
}

inline trine_status global_norm(trine_call *call, const trine_global_norm_args *a)
{
    static const trine_dtype dtypes[] = {TRINE_F32, TRINE_F16, TRINE_BF16};
    double *const partials = static_cast<double *>(call->workspace), *next = partials;
    trine_status status = TRINE_OK;
    for (int k = 0; k < 3 && status == TRINE_OK; k++)
        status = visit_floats(call, dtypes[k],
                              [&](auto t) { return norm_of_type<typename decltype(t)::type>(call, a->x, dtypes[k], next); });
    if (status != TRINE_OK) return status;
    return launch(call, norm_finish_kernel, grid(1), norm_threads, 0, partials, next - partials, a->max_norm,
                  data_of<float>(a->norm), trine_is_given(&a->clip) ? data_of<float>(a->clip) : nullptr);
}

} // namespace simt

#endif
