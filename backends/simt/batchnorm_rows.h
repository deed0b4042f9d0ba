/* Batch normalisation of channels that a team can hold: rows in pieces, in the frame of row.h; and the statistics that groupnorm's rows
 * share. */
#ifndef TRINE_SIMT_BATCHNORM_ROWS_H
#define TRINE_SIMT_BATCHNORM_ROWS_H

#include "backends/simt/channels.h"
#include "backends/simt/norm.h"

namespace simt {

/* What is known of a channel, and what is to be told of it. */
struct batchnorm_outputs {
    channel_vector weight, bias, running_mean, running_var, mean, rstd, new_running_mean, new_running_var;
    float eps, momentum;
    explicit batchnorm_outputs(const trine_batchnorm_args *a)
        : weight(a->weight), bias(a->bias), running_mean(a->running_mean), running_var(a->running_var), mean(a->mean),
          rstd(a->rstd), new_running_mean(a->new_running_mean), new_running_var(a->new_running_var), eps(a->eps),
          momentum(a->momentum)
    {
    }
    TRINE_DEVICE_METHOD float mean_of(const channel_moments &m) const { return m.count > 0.0f ? m.mean : __builtin_nanf(""); }
    TRINE_DEVICE_METHOD float rstd_of(const channel_moments &m) const
    {
        return target::rsqrt_ieee(m.count > 0.0f ? target::div_ieee(m.squares, m.count) + eps : __builtin_nanf(""));
    }
    TRINE_DEVICE_METHOD void prefetch(int64_t channel) const
    {
        if (target::thread_x() % target::wave_size()) return;
        weight.prefetch(channel);
        bias.prefetch(channel);
        running_mean.prefetch(channel);
        running_var.prefetch(channel);
    }
    /* By one thread. */
    TRINE_DEVICE_METHOD void note(const channel_moments &m, int64_t channel) const
    {
        mean.put(channel, mean_of(m));
        rstd.put(channel, rstd_of(m));
        const float old_mean = running_mean.at(channel, 0.0f), old_var = running_var.at(channel, 0.0f);
        const float var = target::div_ieee(m.squares, m.count > 1.0f ? m.count - 1.0f : 1.0f);
        new_running_mean.put(channel, m.count > 0.0f ? mixed(old_mean, m.mean) : old_mean);
        new_running_var.put(channel, m.count > 0.0f ? mixed(old_var, var) : old_var);
    }
    TRINE_DEVICE_METHOD channel_affine map(float mean_, float rstd_, int64_t channel) const
    {
        return channel_affine{mean_, 0.0f, rstd_ * weight.at(channel, 1.0f), bias.at(channel, 0.0f)};
    }

  private:
    TRINE_DEVICE_METHOD float mixed(float old, float now) const
    {
        return momentum == 0.0f ? old : target::fma_rn(momentum, now, (1.0f - momentum) * old);
    }
};

/* Layernorm's partials, where packs are whole from one pass over the tile: about the thread's own first element, so that the error
 * stays within that of as many additions. */
template <class T> struct moment_rows : layernorm_rows<T> {
    using base = layernorm_rows<T>;
    using partial = typename base::partial;
    moment_rows(const trine_tensor &x, const trine_tensor &y, float *mean, float *rstd, float eps)
        : base{{data_of<T>(x)},
               data_of<T>(y),
               row_parameter<T>(trine_tensor{}, 1.0f),
               row_parameter<T>(trine_tensor{}, 0.0f),
               mean,
               rstd,
               eps}
    {
    }
    template <int P> static TRINE_DEVICE_METHOD partial gather(row_tile<T, 1, P> &tile, const row_place &at, int width)
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
        const float shift = sum * target::rcp_fast(count > 0.0f ? count : 1.0f);
        partial p = {count, target::fma_rn(count, about, sum), target::fma_rn(-sum, shift, squares)};
        const float mean = about + shift;
        p.count = wave_reduce(p.count, op_sum{}, width);
        p.sum = wave_reduce(p.sum, op_sum{}, width);
        const float d = mean - p.mean();
        p.squares = wave_reduce(target::fma_rn(count * d, d, p.squares), op_sum{}, width);
        return p;
    }
};

/* part: bytes that move together. */
template <class T, int part> struct batchnorm_rows : moment_rows<T> {
    channel_walk inside;
    batchnorm_outputs of;
    using partial = typename moment_rows<T>::partial;
    struct stats {
        channel_affine map;
        channel_moments moments;
    };

    batchnorm_rows(const trine_batchnorm_args *a, const trine_iter &pieces)
        : moment_rows<T>(a->x, a->y, nullptr, nullptr, a->eps), inside(pieces), of(a)
    {
    }
    template <int P> TRINE_DEVICE_METHOD partial gather(row_tile<T, 1, P> &tile, const row_place &at, int width) const
    {
        of.prefetch(at.row); /* on its way while the row comes */
        return moment_rows<T>::gather(tile, at, width);
    }
    TRINE_DEVICE_METHOD stats finish(const partial &p, int64_t n, int64_t row) const
    {
        const channel_moments m = {float(n), target::div_ieee(p.sum, float(n)), p.squares};
        return stats{of.map(m.mean, of.rstd_of(m), row), m};
    }
    TRINE_DEVICE_METHOD void note(const stats &s, int64_t row) const { of.note(s.moments, row); }
    using nothing = row_shares_nothing::nothing;
    template <bool simple, class F> static TRINE_DEVICE_METHOD void choose(F f) { f(tag<float>{}); }
    template <class W> static TRINE_DEVICE_METHOD nothing fetch(const row_place &, int, int64_t) { return nothing{}; }
    template <int P>
    static TRINE_DEVICE_METHOD void emit(float (&y)[4], const stats &s, const row_tile<T, 1, P> &tile, int i, int q, nothing)
    {
#pragma unroll
        for (int j = 0; j < 4; j++) y[j] = target::fma_rn(tile.at[0][i].value(4 * q + j) - s.map.m, s.map.b, s.map.d);
    }
};
template <class T, int part> constexpr int row_in_pieces<batchnorm_rows<T, part>> = part;

/* in[0] = x, in[1] = dy. */
template <class T, int part> struct batchnorm_slope_rows : row_shares_nothing {
    using element = T;
    enum { inputs = 2 };
    const T *in[2];
    T *out;
    channel_walk inside;
    channel_vector weight, dweight, dbias;
    const float *mean, *rstd;
    float per_element; /* 1 / n */

    using partial = channel_slopes;
    struct stats {
        channel_affine map;
        float dweight, dbias;
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
    TRINE_DEVICE_METHOD stats finish(const partial &p, int64_t, int64_t row) const
    {
        const float r = rstd[row], scale = r * weight.at(row, 1.0f);
        return stats{
            {mean[row], scale, -scale * (p.along * r * r * per_element), -scale * (p.sum * per_element)}, p.along * r, p.sum};
    }
    TRINE_DEVICE_METHOD void note(const stats &s, int64_t row) const
    {
        dbias.put(row, s.dbias);
        dweight.put(row, s.dweight);
    }
    template <int P>
    static TRINE_DEVICE_METHOD void emit(float (&dx)[4], const stats &s, const row_tile<T, 2, P> &tile, int i, int q, nothing)
    {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const float x = target::fma_rn(tile.at[0][i].value(4 * q + j) - s.map.m, s.map.b, s.map.d);
            dx[j] = target::fma_rn(s.map.a, tile.at[1][i].value(4 * q + j), x);
        }
    }
};
template <class T, int part> constexpr int row_in_pieces<batchnorm_slope_rows<T, part>> = part;

} // namespace simt

#endif
