/* The norm of all tensors of a list. Bound by bytes, each read once.
 *
 * A block adds the squares of a chunk, each thread those of its packs and then the threads in a fixed order, and leaves a partial
 * sum in the workspace; one block adds those. Sums are f64, but for the squares of one pack: each element made f64 by itself would
 * take longer than its reading (H100: 2.3 TB/s of bf16). Where those leave the range in which f32 adds them well, they are f64,
 * too: no square overflows or vanishes. */
#ifndef TRINE_SIMT_GLOBAL_NORM_H
#define TRINE_SIMT_GLOBAL_NORM_H

#include "backends/simt/block.h"
#include "backends/simt/tensor_list.h"
#include "core/optimizer_step.h"

namespace simt {

/* Rounds: packs that a thread adds, all in flight together. */
enum { norm_threads = 1024, norm_rounds = 8 };
template <class T> constexpr int norm_pack = 16 / int(sizeof(T));
template <class T> constexpr int64_t norm_chunk = int64_t(list_threads) * norm_pack<T> *norm_rounds;

template <class T> TRINE_DEVICE double square(T x) { return double(to_f32(x)) * double(to_f32(x)); }

/* What a pack's squares add up to: in f32, or where that would lose them in f64. */
template <class T, int V> TRINE_DEVICE float narrow_squares(const pack<T, V> &x)
{
    float sum = 0;
#pragma unroll
    for (int j = 0; j < V; j++) sum = target::fma_rn(to_f32(x.at[j]), to_f32(x.at[j]), sum);
    return sum;
}
TRINE_DEVICE bool is_lossless(float squares) { return squares > 0x1p-90f && squares < 0x1p126f; }
template <class T, int V> TRINE_DEVICE double wide_squares(const pack<T, V> &x)
{
    double sum = 0;
#pragma unroll
    for (int j = 0; j < V; j++) sum += square(x.at[j]);
    return sum;
}

template <class T> TRINE_KERNEL(list_threads) norm_kernel(const list_table<1> table, double *partial)
{
    constexpr int V = norm_pack<T>;
    TRINE_SHARED double scratch[target::max_waves];
    target::let_next_start();
    const list_part part = list_find(table);
    const list_place<1> &place = table.places[part.place];
    const T *const from = static_cast<const T *>(place.at[0]);
    const int thread = target::thread_x(), before = int(place.before); /* a single operand has packs in any case */
    const int64_t n = int64_t(place.n), packs = n / V, begin = part.chunk * (list_threads * norm_rounds) + thread;
    pack<T, V> x[norm_rounds];
#pragma unroll
    for (int k = 0; k < norm_rounds; k++)
        if (begin + k * list_threads < packs) x[k] = load_pack_once<T, V>(from + (begin + k * list_threads) * V);
    double sum = 0;
    uint32_t again = 0; /* a bit a pack that takes f64 */
#pragma unroll
    for (int k = 0; k < norm_rounds; k++) {
        if (begin + k * list_threads >= packs) continue;
        const float narrow = narrow_squares(x[k]);
        if (is_lossless(narrow))
            sum += double(narrow);
        else
            again |= 1u << k;
    }
    if (again)
#pragma unroll 1
        for (int k = 0; k < norm_rounds; k++)
            if (again >> k & 1) sum += wide_squares(load_pack<T, V>(from + (begin + k * list_threads) * V));
    if (part.chunk == 0 && thread < before + int(n - packs * V)) /* what is in no pack */
        sum += square(from[thread < before ? thread - before : packs * V + thread - before]);
    sum = block_reduce(sum, op_sum(), scratch);
    if (thread == 0) partial[target::block_x()] = sum;
}

TRINE_KERNEL(norm_threads) norm_finish_kernel(const double *partial, int64_t count, double max_norm, float *norm, float *clip)
{
    TRINE_SHARED double scratch[target::max_waves];
    double sum = 0;
    target::wait_for_previous();
#pragma unroll 8
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
    list_launcher<1, norm_pack<T>, norm_rounds, decltype(run)> launcher(run);
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
    return launch_next(call, norm_finish_kernel, 1, norm_threads, partials, next - partials, a->max_norm, data_of<float>(a->norm),
                       trine_is_given(&a->clip) ? data_of<float>(a->clip) : nullptr);
}

} // namespace simt

#endif
