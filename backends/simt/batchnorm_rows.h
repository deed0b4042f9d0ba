/* Batch normalisation of channels that a team can hold: rows in pieces, in the frame of row.h; and the statistics that groupnorm's rows
 * share. Clusters that go through channel after channel (row_stream.h) lost to a cluster a channel, 62 to 80 % of a copy against 70 to
 * 83 on an H100. */
#ifndef TRINE_SIMT_BATCHNORM_ROWS_H
#define TRINE_SIMT_BATCHNORM_ROWS_H

#include "backends/simt/channels.h"
#include "backends/simt/norm.h"

namespace simt {

/* A channel's elements as `count` pieces of `size`, `step` apart in the output and the inputs; part: bytes that may move together, 0
 * if they are no such pieces. */
struct channel_pieces {
    int part;
    int64_t count, size, step[channel_operands];
};
template <class T> inline channel_pieces channel_pieces_of(const trine_units &u, const trine_tensor *const *tensors)
{
    constexpr int V = 16 / int(sizeof(T));
    const int last = u.inside.ndim - 1;
    channel_pieces p = {};
    if (u.n == 0 || u.n % V || last > 1) return p;
    p.count = last ? u.inside.size[0] : 1;
    p.size = u.inside.size[last];
    uint64_t all = uint64_t(p.size) * sizeof(T); /* what divides all of these divides every part's address */
    for (int k = 0; k < channel_operands; k++) {
        if (u.inside.stride[k][last] != 1) return p;
        p.step[k] = last ? u.inside.stride[k][0] : p.size;
        all |= reinterpret_cast<uintptr_t>(tensors[k]->data) | uint64_t(p.step[k]) * sizeof(T) |
               uint64_t(u.outer.size[0] == 1 ? 0 : u.outer.stride[k][0]) * sizeof(T);
    }
    if (row_pieces<channel_operands>::fit(p.count, p.size, p.step))
        p.part = all % 16 == 0 ? 16 : all % 8 == 0 ? 8 : int(sizeof(T));
    return p;
}

/* Layernorm's partials, where packs are whole from one pass over the tile: about the thread's own first element, so that the error
 * stays within that of as many additions. */
template <class T> struct moment_rows : norm_rows<T, false> {
    using base = norm_rows<T, false>;
    using partial = typename base::partial;
    moment_rows(const trine_tensor &x, const trine_tensor &y, float *mean, float *rstd, float eps)
        : base{{data_of<T>(x)},
               data_of<T>(y),
               nullptr,
               row_parameter<T>(trine_tensor{}, 1.0f),
               row_parameter<T>(trine_tensor{}, 0.0f),
               mean,
               rstd,
               eps,
               0.0f,
               norm_mode::centred,
               false,
               false,
               norm_way::any}
    {
    }
    template <int P> TRINE_DEVICE_METHOD partial gather(row_tile<T, 1, P> &tile, const row_place &at, int width) const
    {
        if (!at.simple) return base::gather(tile, at, width);
        const float about = tile.at[0][0].value(0);
        float count = 0.0f, sum = 0.0f, squares = 0.0f;
#pragma unroll
        for (int i = 0; i < P; i++) {
            if (at.column(i) >= at.n) break;
            count += float(row_pack<T>);
#pragma unroll
            for (int j = 0; j < row_pack<T>; j++) {
                const float d = tile.at[0][i].value(j) - about;
                sum += d;
                squares = target::fma_rn(d, d, squares);
            }
        }
        return base::gathered(count, about, sum, squares, width);
    }
};

template <class T, bool whole_> struct batchnorm_rows : moment_rows<T> {
    static constexpr bool whole = whole_; /* packs lie in one piece */
    row_pieces<2> pieces;
    int part; /* bytes that move together */
    batchnorm_outputs of;
    struct stats { /* rstd once a row: compilers don't take a division out of emit() */
        channel_moments moments;
        float rstd;
    };
    using partial = typename moment_rows<T>::partial;

    batchnorm_rows(const trine_batchnorm_args *a, const channel_pieces &p)
        : moment_rows<T>(a->x, a->y, nullptr, nullptr, a->eps), pieces(p.size, {p.step[0], p.step[1]}), part(p.part), of(a)
    {
    }
    template <int P> TRINE_DEVICE_METHOD partial gather(row_tile<T, 1, P> &tile, const row_place &at, int width) const
    {
        of.prefetch(at.row); /* on its way while the row comes */
        return moment_rows<T>::gather(tile, at, width);
    }
    TRINE_DEVICE_METHOD stats finish(const partial &p, int64_t n) const
    {
        const channel_moments m = {float(n), target::div_ieee(p.sum, float(n)), p.squares};
        return stats{m, of.rstd_of(m)};
    }
    TRINE_DEVICE_METHOD void note(const stats &s, int64_t row) const { of.note(s.moments, s.rstd, row); }
    template <bool simple, class F> TRINE_DEVICE_METHOD void choose(F f) const { f(tag<float>{}); }
    template <class W> TRINE_DEVICE_METHOD channel_affine fetch(const row_place &at, int, int64_t) const
    {
        return of.map(0.0f, 1.0f, at.row);
    }
    template <int P> TRINE_DEVICE_METHOD void emit(float (&y)[4], const stats &s, const row_tile<T, 1, P> &tile, int i, int q,
                                                   const channel_affine &f) const
    {
        const float scale = s.rstd * f.b;
#pragma unroll
        for (int j = 0; j < 4; j++) y[j] = target::fma_rn(tile.at[0][i].value(4 * q + j) - s.moments.mean, scale, f.d);
    }
};
template <class T, bool whole> constexpr bool row_in_pieces<batchnorm_rows<T, whole>> = true;
template <class T, bool whole> constexpr bool row_fetches_once<batchnorm_rows<T, whole>> = true;

/* in[0] = x, in[1] = dy. */
template <class T, bool whole_> struct batchnorm_slope_rows : row_shares_nothing {
    static constexpr bool whole = whole_;
    using element = T;
    enum { inputs = 2 };
    const T *in[2];
    T *out;
    row_pieces<3> pieces;
    int part; /* bytes that move together */
    channel_vector weight, dweight, dbias;
    const float *mean, *rstd;
    float per_element; /* 1 / n */

    using partial = channel_slopes;
    using stats = channel_slopes;
    struct known {
        float mean, rstd, scale;
    };

    static TRINE_DEVICE_METHOD float neutral() { return 0.0f; }
    static TRINE_DEVICE_METHOD partial identity() { return partial::none(); }
    static TRINE_DEVICE_METHOD partial merge(const partial &a, const partial &b) { return partial::merge(a, b); }
    static TRINE_DEVICE_METHOD partial combine(const partial &p)
    {
        return partial{wave_reduce(p.sum, op_sum{}), wave_reduce(p.along, op_sum{})};
    }
    /* A sum after the other: together they would keep more converted numbers than there are registers. */
    template <int P> TRINE_DEVICE_METHOD partial gather(row_tile<T, 2, P> &tile, const row_place &at, int width) const
    {
        if (target::thread_x() % target::wave_size() == 0) {
            target::prefetch(rstd + at.row); /* on their way while the row comes */
            weight.prefetch(at.row);
        }
        const float about = mean[at.row];
        float sum = 0.0f, along = 0.0f;
#pragma unroll
        for (int i = 0; i < P; i++)
#pragma unroll
            for (int j = 0; j < row_pack<T>; j++) sum += tile.at[1][i].value(j);
        tile.pass(at.zero());
#pragma unroll
        for (int i = 0; i < P; i++)
#pragma unroll
            for (int j = 0; j < row_pack<T>; j++)
                along = target::fma_rn(tile.at[1][i].value(j), tile.at[0][i].value(j) - about, along);
        return partial{wave_reduce(sum, op_sum{}, width), wave_reduce(along, op_sum{}, width)};
    }
    static TRINE_DEVICE_METHOD stats finish(const partial &p, int64_t) { return p; }
    TRINE_DEVICE_METHOD void note(const stats &s, int64_t row) const
    {
        dbias.put(row, s.sum);
        dweight.put(row, s.along * rstd[row]);
    }
    template <class W> TRINE_DEVICE_METHOD known fetch(const row_place &at, int, int64_t) const
    {
        return known{mean[at.row], rstd[at.row], rstd[at.row] * weight.at(at.row, 1.0f)};
    }
    template <int P> TRINE_DEVICE_METHOD void emit(float (&dx)[4], const stats &s, const row_tile<T, 2, P> &tile, int i, int q,
                                                   const known &k) const
    {
        const float shift = k.scale * (s.sum * per_element), slope = s.along * k.rstd * k.rstd * per_element;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const float x = tile.at[0][i].value(4 * q + j) - k.mean, dy = tile.at[1][i].value(4 * q + j);
            dx[j] = target::fma_rn(k.scale, target::fma_rn(-x, slope, dy), -shift);
        }
    }
};
template <class T, bool whole> constexpr bool row_in_pieces<batchnorm_slope_rows<T, whole>> = true;
template <class T, bool whole> constexpr bool row_fetches_once<batchnorm_slope_rows<T, whole>> =
    whole; /* in pieces it would spill */

} // namespace simt

#endif
