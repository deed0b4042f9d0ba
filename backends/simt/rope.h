/* Rotary embedding. Bound by bytes: one read and one write an element, 16 bytes at a time where pairs are whole packs.
 *
 * A thread takes V pairs of one token: it makes their sines and cosines once and goes through the heads (of its group, where
 * tokens are few). The angle is the product of the position and a 64-bit fraction of a turn, which wraps as angles do; a block
 * makes the fractions of all pairs once, while its first packs are on their way. What is not rotated is copied by further threads
 * of the token. */
#ifndef TRINE_SIMT_ROPE_H
#define TRINE_SIMT_ROPE_H

#include "backends/simt/divider.h"
#include "backends/simt/map.h"
#include "backends/simt/turns.h"
#include "core/rope_plan.h"

namespace simt {

enum { rope_unroll = 4 };

/* What a position adds to the angle of pair i, first / root^i, in 2^-64 of a turn: 24 bytes of arguments where trine_rope_steps
 * takes 2048. Products are cut off by 2^-64 at most, and so are squares of 1 / root: with positions up to 2^31 an angle is off by
 * 2^-26 turns at most. */
struct rope_steps {
    uint64_t whole, first, root; /* first: 2^64 whole + first; root: 2^64 / root */

    static TRINE_DEVICE_METHOD uint64_t times(uint64_t a, uint64_t b)
    {
        return uint64_t(static_cast<unsigned __int128>(a) * b >> 64);
    }
    TRINE_DEVICE_METHOD uint64_t of(unsigned pair) const
    {
        static_assert(TRINE_ROPE_MAX_DIMS / 2 <= 1 << 8, "bits of a pair's number");
        uint64_t step = first, power = root;
        if (whole != 0) return of_whole_turns(pair);
#pragma unroll
        for (int k = 0; k < 8; k++) {
            if (pair >> k & 1) step = times(step, power);
            power = times(power, power);
        }
        return step;
    }
    /* Where positions turn more than once (a scaling below 1 / 2 pi). */
    TRINE_DEVICE_METHOD uint64_t of_whole_turns(unsigned pair) const
    {
        unsigned __int128 step = static_cast<unsigned __int128>(whole) << 64 | first;
        uint64_t power = root;
#pragma unroll 1
        for (; pair; pair >>= 1) {
            if (pair & 1) step = (step >> 64) * power + times(uint64_t(step), power);
            power = times(power, power);
        }
        return uint64_t(step);
    }
};

/* Where the cosines come from. */
struct rope_table {
    const void *cosine, *sine;
    int64_t rows, cosine_row, sine_row;

    template <class T>
    TRINE_DEVICE_METHOD float value(const void *table, bool wide, int64_t row, int64_t position, int64_t pair) const
    {
        if (position < 0 || position >= rows) return __builtin_nanf("");
        const int64_t i = position * row + pair;
        return wide ? static_cast<const float *>(table)[i] : to_f32(static_cast<const T *>(table)[i]);
    }
};
union rope_source {
    rope_table table;
    rope_steps steps;
};

/* Packs are for tensors whose threads can be counted in 31 bits, with elements side by side. */
template <bool packed> struct rope_counts {
    using count = int32_t;
    using divider = divider32;
    static constexpr int64_t y_step = 1, x_step = 1;
};
template <> struct rope_counts<false> {
    using count = int64_t;
    using divider = divider_any;
    int64_t y_step, x_step; /* from element to element */
};

template <bool packed> struct rope_shape : rope_counts<packed> {
    typename rope_counts<packed>::count tokens, heads, group, packs, rotary; /* of a block's group; threads a token; elements */
    typename rope_counts<packed>::divider packs_a_token, turns;              /* turns: without positions, see position() */
    bool inverse, tabulated, wide_table, wide_positions;
    bool counted; /* positions: from offset on */
    union {
        int64_t offset;
        const void *positions;
    };

    TRINE_DEVICE_METHOD int64_t position(int64_t token, int64_t at) const
    {
        if (counted) return offset + token - turns.divide(token) * int64_t(turns.d);
        return wide_positions ? static_cast<const int64_t *>(positions)[at] : static_cast<const int32_t *>(positions)[at];
    }
};

template <class T, int V> struct rope_angles {
    float cosine[V], sine[V];
    template <class Shape> TRINE_DEVICE_METHOD rope_angles(const Shape &s, const rope_source &from, const uint64_t *steps,
                                                           int64_t token, int64_t at, int64_t pair)
    {
        const int64_t position = s.position(token, at);
        if (s.tabulated) {
#pragma unroll
            for (int i = 0; i < V; i++) {
                const rope_table &t = from.table;
                cosine[i] = t.template value<T>(t.cosine, s.wide_table, t.cosine_row, position, pair + i);
                sine[i] = t.template value<T>(t.sine, s.wide_table, t.sine_row, position, pair + i);
            }
        } else {
#pragma unroll
            for (int i = 0; i < V; i++) {
                const uint64_t turn = uint64_t(position) * steps[pair + i];
                sincos_turns(float(int32_t(uint32_t(turn >> 32))) * 0x1p-32f, sine[i], cosine[i]);
            }
        }
#pragma unroll
        for (int i = 0; i < V; i++)
            if (s.inverse) sine[i] = -sine[i];
    }
    /* Pair i. */
    TRINE_DEVICE_METHOD void turn(int i, T &first, T &second) const
    {
        const float u = to_f32(first), v = to_f32(second);
        first = from_f32<T>(target::fma_rn(u, cosine[i], -target::mul_rn(v, sine[i])));
        second = from_f32<T>(target::fma_rn(u, sine[i], target::mul_rn(v, cosine[i])));
    }
};

/* V pairs: of two packs; or, where the two of a pair are neighbours, of one that is as long as both. */
template <class T, int V, bool interleaved, bool joined = interleaved && (V > 1)> struct rope_pairs {
    pack<T, V> at[2];
    TRINE_DEVICE_METHOD void load(const T *p, int64_t second)
    {
        at[0] = load_pack<T, V>(p);
        at[1] = load_pack<T, V>(p + second);
    }
    TRINE_DEVICE_METHOD void store(T *p, int64_t second) const
    {
        store_pack<T, V>(p, at[0]);
        store_pack<T, V>(p + second, at[1]);
    }
    TRINE_DEVICE_METHOD void turn(const rope_angles<T, V> &w)
    {
#pragma unroll
        for (int i = 0; i < V; i++) w.turn(i, at[0].at[i], at[1].at[i]);
    }
};
template <class T, int V, bool interleaved> struct rope_pairs<T, V, interleaved, true> {
    pack<T, 2 * V> both;
    TRINE_DEVICE_METHOD void load(const T *p, int64_t) { both = load_pack<T, 2 * V>(p); }
    TRINE_DEVICE_METHOD void store(T *p, int64_t) const { store_pack<T, 2 * V>(p, both); }
    TRINE_DEVICE_METHOD void turn(const rope_angles<T, V> &w)
    {
#pragma unroll
        for (int i = 0; i < V; i++) w.turn(i, both.at[2 * i], both.at[2 * i + 1]);
    }
};

/* block y: the group of heads. */
template <class T, int V, bool interleaved> TRINE_KERNEL(map_threads)
rope_kernel(rope_shape<(V > 1)> s, rows_walk<3, (V > 1), false> tokens, rows_walk<2, (V > 1)> heads, T *y, const T *x,
            rope_source source)
{
    TRINE_SHARED uint64_t steps[TRINE_ROPE_MAX_DIMS / 2];
    const int64_t index = int64_t(target::block_x()) * target::block_threads() + target::thread_x(),
                  token = s.packs_a_token.divide(index);
    const int64_t p = index - token * s.packs, turned = s.rotary / 2 / V;
    const int64_t begin = int64_t(target::block_y()) * s.group, end = begin + s.group < s.heads ? begin + s.group : s.heads;
    const bool turns = token < s.tokens && p < turned;
    const int64_t first = interleaved ? 2 * p * V : p * V, second = interleaved ? V : s.rotary / 2;
    int64_t base[3] = {}, head[2], to[rope_unroll];
    rope_pairs<T, V, interleaved> pairs[rope_unroll];
    if (token < s.tokens) tokens.offsets(token, base);
    const auto load = [&](int64_t h) {
#pragma unroll
        for (int u = 0; u < rope_unroll; u++) {
            heads.offsets(h + u < end ? h + u : h, head);
            to[u] = base[0] + head[0] + first * s.y_step;
            pairs[u].load(x + base[1] + head[1] + first * s.x_step, second * s.x_step);
        }
    };
    if (turns) load(begin); /* beside the angles */
    if (!s.tabulated) {
        for (int i = target::thread_x(); i < int(s.rotary / 2); i += target::block_threads()) steps[i] = source.steps.of(i);
        target::barrier();
    }
    if (!turns) {
        const int64_t column = s.rotary + (p - turned) * V; /* a pack that is copied */
        for (int64_t h = begin; h < end && token < s.tokens; h++) {
            heads.offsets(h, head);
            store_pack<T, V>(y + base[0] + head[0] + column * s.y_step,
                             load_pack<T, V>(x + base[1] + head[1] + column * s.x_step));
        }
        return;
    }
    const rope_angles<T, V> angles(s, source, steps, token, base[2], p * V);
    for (int64_t h = begin; h < end; h += rope_unroll) {
        if (h > begin) load(h);
#pragma unroll
        for (int u = 0; u < rope_unroll; u++) {
            pairs[u].turn(angles);
            if (h + u < end) pairs[u].store(y + to[u], second * s.y_step);
        }
    }
}

/* ---- Host ---- */

inline bool rope_rows_fit(const trine_iter &it, int V)
{
    bool fit = true;
    for (int k = 0; k < 2; k++)
        for (int d = 0; d < it.ndim; d++) fit = fit && (it.size[d] == 1 || it.stride[k][d] % V == 0);
    return fit;
}

/* Threads that can be counted in 31 bits, walks that are short. */
inline bool rope_is_short(const trine_rope_plan &p)
{
    return p.dims < 0x7fffffff && p.tokens.numel * p.dims < 0x7fff0000 && short_walk<3>::fits(p.tokens) &&
           short_walk<2>::fits(p.heads);
}

inline rope_steps rope_steps_of(const trine_rope_args *a, int64_t rotary)
{
    const long double tau = 6.283185307179586476925286766559L;
    const long double turns = 1 / (tau * (long double)(a->scaling > 0 ? a->scaling : 1)); /* below 2^18 */
    rope_steps s;
    s.whole = uint64_t(turns);
    s.first = uint64_t((turns - (long double)s.whole) * 0x1p64L);
    const long double root = rotary > 2 ? 1 / trine_rope_root(a->base, rotary / 2) : 1;
    s.root = root < 1 ? uint64_t(root * 0x1p64L) : ~uint64_t(0);
    return s;
}

template <class T, int V, bool interleaved>
inline trine_status launch_rope(trine_call *call, const trine_rope_args *a, const trine_rope_plan &p)
{
    constexpr bool packed = V > 1;
    using divider = typename rope_counts<packed>::divider;
    using count = typename rope_counts<packed>::count;
    rope_source source = {};
    rope_shape<packed> s = {};
    s.tabulated = trine_is_given(&a->cos);
    if (s.tabulated)
        source.table = {a->cos.data, a->sin.data, a->cos.shape[0], a->cos.stride[0], a->sin.stride[0]};
    else
        source.steps = rope_steps_of(a, p.rotary);
    const int64_t packs = p.rotary / 2 / V + (p.dims - p.rotary) / V;
    s.tokens = count(p.tokens.numel);
    s.heads = count(p.heads.numel);
    s.packs = count(packs);
    s.rotary = count(p.rotary);
    s.packs_a_token = divider(packs);
    s.turns = divider(p.turns);
    s.counted = !trine_is_given(&a->positions);
    if (s.counted)
        s.offset = a->offset;
    else
        s.positions = a->positions.data;
    if constexpr (!packed) s.y_step = p.step[0], s.x_step = p.step[1];
    s.inverse = a->inverse != 0;
    s.wide_table = a->cos.dtype == TRINE_F32;
    s.wide_positions = a->positions.dtype == TRINE_I64;
    /* heads are divided among blocks where tokens alone would leave compute units idle; then blocks have fewer threads */
    const int64_t threads = p.tokens.numel * packs, units = call->device->props.compute_units, heads = p.heads.numel;
    int64_t groups = ceil_div(units * 8, ceil_div(threads, map_threads)), most = ceil_div(heads, rope_unroll);
    groups = groups < most ? groups : most;
    groups = groups < 65535 ? groups : 65535;
    int64_t group = ceil_div(heads, groups);
    /* packs: of as few heads as a thread has on their way at once, 3 to 8 % faster than of 11 or 16 (H100, 16 bits) */
    if (packed && group > rope_unroll && heads <= 65535) group = rope_unroll;
    groups = ceil_div(heads, group);
    s.group = count(group);
    int block = map_threads;
    while (block > 64 && threads * groups < 2 * units * block) block /= 2;
    trine_iter tokens = p.tokens;
    if (tokens.operands < 3)
        for (int d = 0; d < tokens.ndim; d++) tokens.stride[2][d] = 0;
    return launch(call, rope_kernel<T, V, interleaved>, grid(ceil_div(threads, block), groups), block, 0, s,
                  rows_walk<3, packed, false>(tokens), rows_walk<2, packed>(p.heads), data_of<T>(a->y),
                  static_cast<const T *>(data_of<T>(a->x)), source);
}

inline trine_status rope(trine_call *call, const trine_rope_args *a)
{
    const trine_rope_plan p = trine_rope_plan_make(a);
    if (p.tokens.numel == 0 || p.heads.numel == 0 || p.dims == 0) return TRINE_OK;
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        constexpr int V = pack_of<T>;
        const bool packed = rope_is_short(p) && p.rotary / 2 % V == 0 && (p.dims - p.rotary) % V == 0 && p.step[0] == 1 &&
                            p.step[1] == 1 && rope_rows_fit(p.tokens, V) && rope_rows_fit(p.heads, V) && aligned16(a->x.data) &&
                            aligned16(a->y.data);
        /* 16 bytes a thread and access either way: neighbouring threads' accesses fill whole lines */
        if (a->interleaved) return packed ? launch_rope<T, V / 2, true>(call, a, p) : launch_rope<T, 1, true>(call, a, p);
        return packed ? launch_rope<T, V, false>(call, a, p) : launch_rope<T, 1, false>(call, a, p);
    });
}

} // namespace simt

/* ---- The backend's function ---- */

extern "C" trine_status TRINE_BACKEND_FN(rope)(trine_call *call, const trine_rope_args *a)
{
    call->variant = target::variant;
    TRINE_END_OF_QUERY(call, 0);
    return simt::rope(call, a);
}

#endif
