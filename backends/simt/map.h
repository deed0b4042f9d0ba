/* y[i] = f(x0[i], x1[i], ...): one output and up to three inputs of one broadcast shape. Bound by bytes: each operand is moved
 * once, 16 bytes at a time where it lies densely.
 *
 * `f` is called on packs: f(pack<Y, V> &y, const pack<X0, V> &x0, ...) for V as below and for V = 1. */
#ifndef TRINE_SIMT_MAP_H
#define TRINE_SIMT_MAP_H

#include "backends/simt/launch.h"
#include "backends/simt/types.h"
#include "backends/simt/walk.h"

namespace simt {

enum { map_threads = 256 };

/* Elements in a pack: 16 bytes of the output, so that stores fill whole lines at once (loads of more or fewer bytes are put
 * together by the L1 cache). */
template <class Y> constexpr int pack_of = 16 / int(sizeof(Y));
/* Packs a thread has in flight: about 128 bytes of all operands. */
template <class Y, class... X> constexpr int packs_of = pack_of<Y> *int((sizeof(Y) + ... + sizeof(X))) <= 20   ? 8
                                                        : pack_of<Y> *int((sizeof(Y) + ... + sizeof(X))) <= 32 ? 4
                                                                                                               : 2;

/* All loads before the first use, so that they are in flight together. */
template <int V, int U, class F, class Y> TRINE_DEVICE void map_unrolled(const F &f, pack<Y, V> (&out)[U], int64_t)
{
#pragma unroll
    for (int u = 0; u < U; u++) f(out[u]);
}
template <int V, int U, class F, class Y, class X>
TRINE_DEVICE void map_unrolled(const F &f, pack<Y, V> (&out)[U], int64_t first, const X *x)
{
    pack<X, V> in[U];
#pragma unroll
    for (int u = 0; u < U; u++) in[u] = load_pack<X, V>(x + (first + u * map_threads) * V);
#pragma unroll
    for (int u = 0; u < U; u++) f(out[u], in[u]);
}
template <int V, int U, class F, class Y, class A, class B>
TRINE_DEVICE void map_unrolled(const F &f, pack<Y, V> (&out)[U], int64_t first, const A *a, const B *b)
{
    pack<A, V> in_a[U];
    pack<B, V> in_b[U];
#pragma unroll
    for (int u = 0; u < U; u++) {
        in_a[u] = load_pack<A, V>(a + (first + u * map_threads) * V);
        in_b[u] = load_pack<B, V>(b + (first + u * map_threads) * V);
    }
#pragma unroll
    for (int u = 0; u < U; u++) f(out[u], in_a[u], in_b[u]);
}

template <int V, int U, class F, class Y, class A, class B, class C>
TRINE_DEVICE void map_unrolled(const F &f, pack<Y, V> (&out)[U], int64_t first, const A *a, const B *b, const C *c)
{
    pack<A, V> in_a[U];
    pack<B, V> in_b[U];
    pack<C, V> in_c[U];
#pragma unroll
    for (int u = 0; u < U; u++) {
        in_a[u] = load_pack<A, V>(a + (first + u * map_threads) * V);
        in_b[u] = load_pack<B, V>(b + (first + u * map_threads) * V);
        in_c[u] = load_pack<C, V>(c + (first + u * map_threads) * V);
    }
#pragma unroll
    for (int u = 0; u < U; u++) f(out[u], in_a[u], in_b[u], in_c[u]);
}

/* span: packs of a block, U for each of map_threads threads; of small tensors fewer, which the threads take in turns. */
template <int V, int U, class F, class Y, class... X> TRINE_KERNEL(map_threads)
map_dense_kernel(F f, int64_t n, int span, Y *y, const X *...x)
{
    const int64_t packs = n / V, begin = int64_t(target::block_x()) * span, first = begin + target::thread_x();
    if (span == map_threads * U && first + (U - 1) * map_threads < packs) {
        pack<Y, V> out[U];
        map_unrolled<V, U>(f, out, first, x...);
#pragma unroll
        for (int u = 0; u < U; u++) store_pack<Y, V>(y + (first + u * map_threads) * V, out[u]);
    } else {
        const int64_t end = begin + span < packs ? begin + span : packs;
#pragma unroll 1
        for (int64_t p = first; p < end; p += target::block_threads()) {
            pack<Y, V> out;
            f(out, load_pack<X, V>(x + p * V)...);
            store_pack<Y, V>(y + p * V, out);
        }
    }
    /* what does not fill a pack, by the first threads of the first block */
    const int64_t rest = packs * V + first;
    if (target::block_x() == 0 && target::thread_x() < V && rest < n) {
        pack<Y, 1> out;
        f(out, load_pack<X, 1>(x + rest)...);
        store_pack<Y, 1>(y + rest, out);
    }
}

/* How an operand lies along the innermost axis of a strided walk; the same for a kernel of N operands. */
struct inner_strides {
    int64_t of[TRINE_ITER_OPERANDS];
};
template <int N> struct inner_steps {
    int64_t of[N];
    explicit inner_steps(const inner_strides &inner)
    {
        for (int k = 0; k < N; k++) of[k] = inner.of[k];
    }
};

/* A walk over the other axes: packs walk at most three, for short arguments. */
template <int V, int N, class Divider> struct strided_walk_type {
    using type = short_walk<N, 3>;
};
template <int N, class Divider> struct strided_walk_type<1, N, Divider> {
    using type = walk<N, Divider>;
};
template <int V, int N, class Divider> using strided_walk = typename strided_walk_type<V, N, Divider>::type;

/* A pack of an operand whose inner stride is 1 (dense) or 0 (one element for all). In two steps, so that the loads of all operands
 * are in flight together: the one element waits in the lowest bytes, where both kinds of load leave their registers as they are. */
template <int V, class X> struct inner_pack {
    pack<X, V> at;
    static constexpr bool narrow = sizeof(X) < 4 && sizeof(X) * V % 4 == 0;
    TRINE_DEVICE_METHOD uint32_t *words() { return reinterpret_cast<uint32_t *>(&at); }
    TRINE_DEVICE_METHOD void load(const X *x, int64_t offset, int64_t inner)
    {
        if (V == 1 || inner != 0)
            at = load_pack<X, V>(x + offset);
        else if constexpr (narrow && sizeof(X) == 2)
            *words() = *reinterpret_cast<const uint16_t *>(x + offset);
        else if constexpr (narrow)
            *words() = *reinterpret_cast<const uint8_t *>(x + offset);
        else
            at.at[0] = x[offset];
    }
    /* What load() gave, with the one element everywhere. */
    TRINE_DEVICE_METHOD const pack<X, V> &get(int64_t inner)
    {
        if (V == 1 || inner != 0) return at;
        if constexpr (narrow) {
            const uint32_t all = target::byte_permute < sizeof(X) == 2 ? 0x1010 : 0 > (*words(), 0);
#pragma unroll
            for (int w = 0; w < int(sizeof(X)) * V / 4; w++) words()[w] = all;
        } else {
#pragma unroll
            for (int i = 1; i < V; i++) at.at[i] = at.at[0];
        }
        return at;
    }
};

/* A thread's packs are a wave apart and those of a wave follow each other, so that blocks may have any number of waves. */
template <int U> TRINE_DEVICE int64_t first_pack()
{
    const int t = target::thread_x(), lane = t % target::wave_size();
    return int64_t(target::block_x()) * (target::block_threads() * U) + ((t - lane) * U + lane);
}

/* Offsets of U packs of a thread, and their columns. Packs past the end repeat the thread's first one and are not stored; a thread
 * whose first one is past the end reads nothing: the last pack is another thread's, which may store it in place. */
template <int V, int U, int N, class Divider> struct strided_packs {
    int64_t offset[U][N];
    bool valid[U];

    TRINE_DEVICE_METHOD strided_packs(const strided_walk<V, N, Divider> &outer, const Divider &packs_a_row,
                                      const inner_steps<N> &inner, int64_t packs)
    {
        const int64_t first = first_pack<U>();
        int64_t row = packs_a_row.divide(first), start[N];
        outer.offsets(row, start);
#pragma unroll
        for (int u = 0; u < U; u++) {
            const int64_t wanted = first + u * target::wave_size(), p = wanted < packs ? wanted : first;
            int64_t column = p - row * int64_t(packs_a_row.d);
            valid[u] = wanted < packs;
            if (u && (column < 0 || column >= packs_a_row.d)) { /* seldom: most rows are longer than a block's packs */
                row = packs_a_row.divide(p);
                column = p - row * int64_t(packs_a_row.d);
                outer.offsets(row, start);
            }
            for (int k = 0; k < N; k++) offset[u][k] = start[k] + column * V * inner.of[k];
        }
    }
};

template <int V, int U, class F, class O, class S>
TRINE_DEVICE void map_loaded(const F &f, O &out, const S &, const inner_steps<1> &)
{
#pragma unroll
    for (int u = 0; u < U; u++) f(out[u]);
}
template <int V, int U, class F, class O, class S, class X>
TRINE_DEVICE void map_loaded(const F &f, O &out, const S &at, const inner_steps<2> &inner, const X *x)
{
    inner_pack<V, X> in[U];
#pragma unroll
    for (int u = 0; u < U; u++) {
        in[u].load(x, at.offset[u][1], inner.of[1]);
    }
#pragma unroll
    for (int u = 0; u < U; u++) f(out[u], in[u].get(inner.of[1]));
}
template <int V, int U, class F, class O, class S, class A, class B>
TRINE_DEVICE void map_loaded(const F &f, O &out, const S &at, const inner_steps<3> &inner, const A *a, const B *b)
{
    inner_pack<V, A> in_a[U];
    inner_pack<V, B> in_b[U];
#pragma unroll
    for (int u = 0; u < U; u++) {
        in_a[u].load(a, at.offset[u][1], inner.of[1]);
        in_b[u].load(b, at.offset[u][2], inner.of[2]);
    }
#pragma unroll
    for (int u = 0; u < U; u++) f(out[u], in_a[u].get(inner.of[1]), in_b[u].get(inner.of[2]));
}

template <int V, int U, class F, class O, class S, class A, class B, class C>
TRINE_DEVICE void map_loaded(const F &f, O &out, const S &at, const inner_steps<4> &inner, const A *a, const B *b, const C *c)
{
    inner_pack<V, A> in_a[U];
    inner_pack<V, B> in_b[U];
    inner_pack<V, C> in_c[U];
#pragma unroll
    for (int u = 0; u < U; u++) {
        in_a[u].load(a, at.offset[u][1], inner.of[1]);
        in_b[u].load(b, at.offset[u][2], inner.of[2]);
        in_c[u].load(c, at.offset[u][3], inner.of[3]);
    }
#pragma unroll
    for (int u = 0; u < U; u++) f(out[u], in_a[u].get(inner.of[1]), in_b[u].get(inner.of[2]), in_c[u].get(inner.of[3]));
}

/* U packs of the innermost axis a thread; the outer axes are walked by division. */
template <int V, int U, class F, class Y, class... X> TRINE_KERNEL(map_threads)
map_strided_kernel(F f, strided_walk<V, 1 + sizeof...(X), divider32> outer, divider32 packs_a_row,
                   inner_steps<1 + sizeof...(X)> inner, int64_t packs, Y *y, const X *...x)
{
    const strided_packs<V, U, 1 + sizeof...(X), divider32> at(outer, packs_a_row, inner, packs);
    if (!at.valid[0]) return;
    pack<Y, V> out[U];
    map_loaded<V, U>(f, out, at, inner, x...);
#pragma unroll
    for (int u = 0; u < U; u++)
        if (at.valid[u]) store_pack<Y, V>(y + at.offset[u][0], out[u]);
}

/* The identity: a copy of bits. */
struct f_same {
    template <class T, int V> TRINE_DEVICE_METHOD void operator()(pack<T, V> &y, const pack<T, V> &x) const { y = x; }
};

template <class F> constexpr bool map_copies = false;
template <> inline constexpr bool map_copies<f_same> = true;

/* ---- Host ---- */

/* Blocks of map_threads threads with U packs each, and of fewer, at least `least`, as long as there are not two for each compute
 * unit. */
struct map_blocks {
    int threads;
    grid blocks;
    map_blocks(const trine_call *call, int64_t packs, int U, int least = 64) : threads(map_threads), blocks(0)
    {
        while (threads > least && packs < int64_t(threads) * U * 2 * call->device->props.compute_units) threads /= 2;
        blocks = grid(ceil_div(packs, int64_t(threads) * U));
    }
};

/* Every operand may be read in packs of V: aligned, rows and columns in steps of whole packs; and the walk is short. */
template <int V, class... T> inline bool packs_fit(const trine_iter &outer, int64_t n, const int64_t *inner, const T *...p)
{
    bool fit = n % V == 0 && inner[0] == 1 && short_walk<1, 3>::fits(outer);
    int k = 0;
    const auto one = [&](const void *q, size_t size) {
        fit = fit && (inner[k] == 1 || (k > 0 && inner[k] == 0));
        if (inner[k] == 1) {
            fit = fit && reinterpret_cast<uintptr_t>(q) % (size * V > 16 ? 16 : size * V) == 0;
            for (int d = 0; d < outer.ndim; d++) fit = fit && outer.stride[k][d] % V == 0;
        }
        k++;
    };
    (one(p, sizeof(T)), ...);
    return fit;
}

/* Kernels that walk any strides take indices of 31 bits. */
enum : int64_t { map_most_strided = 0x7ffffffe };

template <int V, class F, class Y, class... X> inline trine_status
launch_strided(trine_call *call, F f, const trine_iter &outer, int64_t n, const inner_strides &inner, Y *y, const X *...x)
{
    constexpr int U = V == 1 ? 1 : 2;
    const int64_t packs = outer.numel * (n / V);
    const map_blocks b(call, packs, U);
    return launch(call, map_strided_kernel<V, U, F, Y, X...>, b.blocks, b.threads, 0, f,
                  strided_walk<V, 1 + sizeof...(X), divider32>(outer), divider32(n / V), inner_steps<1 + sizeof...(X)>(inner),
                  packs, y, x...);
}

/* Everything dense. Of small tensors a thread has one pack, so that all compute units have some of the arithmetic; a mere copy, which
 * has none, is faster with U (H100, 2 MB: 4.7 us and 5.0; gelu 5.4 and 4.9). */
template <int V, int U, class F, class Y, class... X>
inline trine_status launch_dense(trine_call *call, F f, int64_t n, Y *y, const X *...x)
{
    const int64_t packs = ceil_div(n, V);
    const bool spread = !map_copies<F> && packs < int64_t(map_threads) * U * call->device->props.compute_units;
    const map_blocks b(call, packs, spread ? 1 : U, spread ? 64 : int(map_threads));
    return launch(call, map_dense_kernel<V, U, F, Y, X...>, b.blocks, b.threads, 0, f, n, b.threads * (spread ? 1 : U), y, x...);
}

/* The fast ways: everything dense, U packs a thread, or packs along the innermost axis. False if neither fits. */
template <int U, class F, class Y, class... X>
inline bool map_packed(trine_call *call, F f, const trine_iter &it, trine_status *status, Y *y, const X *...x)
{
    constexpr int V = pack_of<Y>;
    bool dense = it.ndim == 1 && (aligned16(y) && ... && aligned16(x));
    for (int k = 0; k < it.operands; k++) dense = dense && it.stride[k][0] == 1;
    if (dense) {
        *status = launch_dense<V, U>(call, f, it.numel, y, x...);
        return true;
    }
    trine_iter outer = it;
    inner_strides inner;
    const int64_t n = trine_iter_pop_inner(&outer, inner.of);
    if (it.numel > map_most_strided || !packs_fit<V>(outer, n, inner.of, static_cast<const Y *>(y), x...)) return false;
    *status = launch_strided<V>(call, f, outer, n, inner, y, x...);
    return true;
}

/* Any strides; U packs a thread where all is dense. */
template <int U, class F, class Y, class... X>
inline trine_status map_run(trine_call *call, F f, trine_iter it, Y *y, const X *...x)
{
    trine_status status = TRINE_OK;
    if (it.numel == 0 || map_packed<U>(call, f, it, &status, y, x...)) return status;
    inner_strides inner;
    if (it.numel > map_most_strided) {
        int64_t offset[TRINE_ITER_OPERANDS], k = 0;
        const trine_iter rest = trine_iter_halve(&it, offset);
        status = map_run<U>(call, f, it, y, x...);
        y += offset[0];
        ((x += offset[++k]), ...);
        return status != TRINE_OK ? status : map_run<U>(call, f, rest, y, x...);
    }
    const int64_t n = trine_iter_pop_inner(&it, inner.of);
    return launch_strided<1>(call, f, it, n, inner, y, x...);
}

/* The ops' way in: refuses nothing, needs no workspace. */
template <class Y, class F> inline trine_status map(trine_call *call, F f, const trine_tensor &y)
{
    const trine_tensor *t[] = {&y};
    return map_run<packs_of<Y>>(call, f, trine_iter_make(t, 1, 0), data_of<Y>(y));
}
template <class Y, class X, class F> inline trine_status map(trine_call *call, F f, const trine_tensor &y, const trine_tensor &x)
{
    const trine_tensor *t[] = {&y, &x};
    return map_run<packs_of<Y, X>>(call, f, trine_iter_make(t, 2, 0), data_of<Y>(y), static_cast<const X *>(data_of<X>(x)));
}
template <class Y, class A, class B, class F>
inline trine_status map(trine_call *call, F f, const trine_tensor &y, const trine_tensor &a, const trine_tensor &b)
{
    const trine_tensor *t[] = {&y, &a, &b};
    return map_run<packs_of<Y, A, B>>(call, f, trine_iter_make(t, 3, 0), data_of<Y>(y), static_cast<const A *>(data_of<A>(a)),
                                      static_cast<const B *>(data_of<B>(b)));
}

template <class Y, class A, class B, class C, class F> inline trine_status
map(trine_call *call, F f, const trine_tensor &y, const trine_tensor &a, const trine_tensor &b, const trine_tensor &c)
{
    const trine_tensor *t[] = {&y, &a, &b, &c};
    return map_run<packs_of<Y, A, B, C>>(call, f, trine_iter_make(t, 4, 0), data_of<Y>(y), static_cast<const A *>(data_of<A>(a)),
                                         static_cast<const B *>(data_of<B>(b)), static_cast<const C *>(data_of<C>(c)));
}

} // namespace simt

#endif
