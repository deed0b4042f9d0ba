/* Rotary embedding. Bound by bytes: one read and one write an element, 16 bytes at a time where pairs are whole packs.
 *
 * A thread takes V pairs of one token: it makes their sines and cosines once and goes through the heads (of its group, where
 * tokens are few). The angle is the product of the position and a 64-bit fraction of a turn, which wraps as angles do. What is
 * not rotated is copied by further threads of the token. */
#ifndef TRINE_SIMT_ROPE_H
#define TRINE_SIMT_ROPE_H

#include "backends/simt/divider.h"
#include "backends/simt/map.h"
#include "backends/simt/turns.h"
#include "core/rope_plan.h"

namespace simt {

enum { rope_unroll = 4 };

struct rope_shape {
    int64_t tokens, heads, group; /* heads of a block's group */
    int64_t packs, rotary;        /* threads a token; elements that are rotated */
    divider_any turns;            /* without positions: of token t, offset + t % turns */
    int64_t offset;
    int64_t step[2]; /* from element to element: y, x */
    int64_t table_rows, cos_row, sin_row;
    bool inverse, wide_table, wide_positions;
};

/* Where the angles come from. */
template <class T> struct rope_source {
    const void *positions, *cosine, *sine; /* NULL: counted; computed */

    TRINE_DEVICE_METHOD int64_t position(const rope_shape &s, int64_t token, int64_t at) const
    {
        if (!positions) return s.offset + token - s.turns.divide(token) * s.turns.d;
        return s.wide_positions ? static_cast<const int64_t *>(positions)[at] : static_cast<const int32_t *>(positions)[at];
    }
    TRINE_DEVICE_METHOD float value(const rope_shape &s, const void *table, int64_t row, int64_t position, int64_t pair) const
    {
        if (position < 0 || position >= s.table_rows) return __builtin_nanf("");
        const int64_t i = position * row + pair;
        return s.wide_table ? static_cast<const float *>(table)[i] : to_f32(static_cast<const T *>(table)[i]);
    }
};

template <class T, int V> struct rope_angles {
    float cosine[V], sine[V];
    TRINE_DEVICE_METHOD rope_angles(const rope_shape &s, const rope_source<T> &from, const trine_rope_steps &steps, int64_t token,
                                    int64_t at, int64_t pair)
    {
        const int64_t position = from.position(s, token, at);
#pragma unroll
        for (int i = 0; i < V; i++) {
            if (from.cosine) {
                cosine[i] = from.value(s, from.cosine, s.cos_row, position, pair + i);
                sine[i] = from.value(s, from.sine, s.sin_row, position, pair + i);
            } else {
                const uint64_t turn = uint64_t(position) * steps.at[pair + i];
                sincos_turns(float(int32_t(uint32_t(turn >> 32))) * 0x1p-32f, sine[i], cosine[i]);
            }
            if (s.inverse) sine[i] = -sine[i];
        }
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
rope_kernel(rope_shape s, walk<3, divider_any> tokens, walk<2, divider_any> heads, divider_any packs_a_token,
            trine_rope_steps steps, rope_source<T> source, T *y, const T *x)
{
    const int64_t index = int64_t(target::block_x()) * map_threads + target::thread_x(), token = packs_a_token.divide(index);
    if (token >= s.tokens) return;
    const int64_t p = index - token * s.packs, turned = s.rotary / 2 / V;
    int64_t base[3], head[2];
    tokens.offsets(token, base);
    const int64_t begin = int64_t(target::block_y()) * s.group, end = begin + s.group < s.heads ? begin + s.group : s.heads;
    if (p >= turned) { /* a pack that is copied */
        const int64_t column = s.rotary + (p - turned) * V;
        for (int64_t h = begin; h < end; h++) {
            heads.offsets(h, head);
            store_pack<T, V>(y + base[0] + head[0] + column * s.step[0],
                             load_pack<T, V>(x + base[1] + head[1] + column * s.step[1]));
        }
        return;
    }
    const int64_t first = interleaved ? 2 * p * V : p * V, second = interleaved ? V : s.rotary / 2;
    y += base[0] + first * s.step[0];
    x += base[1] + first * s.step[1];
    rope_pairs<T, V, interleaved> pairs[rope_unroll];
    int64_t to[rope_unroll];
    const auto load = [&](int64_t h) {
#pragma unroll
        for (int u = 0; u < rope_unroll; u++) {
            heads.offsets(h + u < end ? h + u : h, head);
            to[u] = head[0];
            pairs[u].load(x + head[1], second * s.step[1]);
        }
    };
    load(begin); /* beside the angles */
    const rope_angles<T, V> angles(s, source, steps, token, base[2], p * V);
    for (int64_t h = begin; h < end; h += rope_unroll) {
        if (h > begin) load(h);
#pragma unroll
        for (int u = 0; u < rope_unroll; u++) {
            pairs[u].turn(angles);
            if (h + u < end) pairs[u].store(y + to[u], second * s.step[0]);
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

template <class T, int V, bool interleaved>
inline trine_status launch_rope(trine_call *call, const trine_rope_args *a, const trine_rope_plan &p)
{
    trine_rope_steps steps = {};
    if (!trine_is_given(&a->cos)) trine_rope_steps_make(&steps, a->base, a->scaling, p.rotary);
    rope_shape s = {};
    s.tokens = p.tokens.numel;
    s.heads = p.heads.numel;
    s.packs = p.rotary / 2 / V + (p.dims - p.rotary) / V;
    s.rotary = p.rotary;
    s.turns = divider_any(p.turns);
    s.offset = a->offset;
    s.step[0] = p.step[0];
    s.step[1] = p.step[1];
    s.table_rows = a->cos.shape[0];
    s.cos_row = a->cos.stride[0];
    s.sin_row = a->sin.stride[0];
    s.inverse = a->inverse != 0;
    s.wide_table = a->cos.dtype == TRINE_F32;
    s.wide_positions = a->positions.dtype == TRINE_I64;
    /* heads are divided among blocks where tokens alone would leave compute units idle */
    const int64_t blocks = ceil_div(s.tokens * s.packs, map_threads), wanted = int64_t(call->device->props.compute_units) * 8;
    int64_t groups = ceil_div(wanted, blocks), most = ceil_div(s.heads, rope_unroll);
    groups = groups < most ? groups : most;
    groups = groups < 65535 ? groups : 65535;
    s.group = ceil_div(s.heads, groups);
    /* packs: of as few heads as a thread has on their way at once, 3 to 8 % faster than of 11 or 16 (H100, 16 bits) */
    if (V > 1 && s.group > rope_unroll && s.heads <= 65535) s.group = rope_unroll;
    trine_iter tokens = p.tokens;
    if (tokens.operands < 3)
        for (int d = 0; d < tokens.ndim; d++) tokens.stride[2][d] = 0;
    return launch(call, rope_kernel<T, V, interleaved>, grid(blocks, ceil_div(s.heads, s.group)), map_threads, 0, s,
                  walk<3, divider_any>(tokens), walk<2, divider_any>(p.heads), divider_any(s.packs), steps,
                  rope_source<T>{a->positions.data, trine_is_given(&a->cos) ? a->cos.data : nullptr, a->sin.data},
                  data_of<T>(a->y), static_cast<const T *>(data_of<T>(a->x)));
}

inline trine_status rope(trine_call *call, const trine_rope_args *a)
{
    const trine_rope_plan p = trine_rope_plan_make(a);
    if (p.tokens.numel == 0 || p.heads.numel == 0 || p.dims == 0) return TRINE_OK;
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        constexpr int V = pack_of<T>;
        const bool packed = p.rotary / 2 % V == 0 && (p.dims - p.rotary) % V == 0 && p.step[0] == 1 && p.step[1] == 1 &&
                            rope_rows_fit(p.tokens, V) && rope_rows_fit(p.heads, V) && aligned16(a->x.data) &&
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
