/* Layernorm and rmsnorm, in the frame of row.h.
 *
 * A partial of layernorm is a count, a sum and the sum of squares about their quotient, the mean; merging two adds what lies
 * between their means (Chan, Golub, LeVeque 1979). A wave has its row in registers, so that it takes the squares about its own
 * mean in a second pass. Weight and bias are the same for all rows and come from the caches. Bound by bytes: one read and one
 * write an element. */
#ifndef TRINE_SIMT_NORM_H
#define TRINE_SIMT_NORM_H

#include "backends/simt/row_run.h"

namespace simt {

/* A weight or bias [n] of T or f32, or none. */
template <class T> struct row_parameter {
    const void *data;
    bool wide, given, aligned; /* f32; four elements may be loaded at once at every fourth column */

    explicit row_parameter(const trine_tensor &t)
        : data(t.data), wide(t.dtype == TRINE_F32), given(t.dtype != TRINE_DTYPE_NONE), aligned(aligned16(t.data))
    {
    }
    /* For elements 4q to 4q + 3 of pack i of the row, or of the slice that begins at column `first`, a multiple of 4. */
    TRINE_DEVICE_METHOD void load(float (&to)[4], const row_place &at, int i, int q, int64_t first) const
    {
        const int column = at.column(i) + 4 * q;
        if (wide)
            load(to, static_cast<const float *>(data) + first, at, i, q, column);
        else
            load(to, static_cast<const T *>(data) + first, at, i, q, column);
    }

  private:
    template <class P>
    TRINE_DEVICE_METHOD void load(float (&to)[4], const P *p, const row_place &at, int i, int q, int column) const
    {
        if (aligned && at.whole<row_pack<T>>(i) && column % 4 == 0) {
            const pack<P, 4> four = load_pack<P, 4>(p + column);
#pragma unroll
            for (int j = 0; j < 4; j++) to[j] = to_f32(four.at[j]);
        } else {
#pragma unroll
            for (int j = 0; j < 4; j++)
                if (at.has(i, 4 * q + j)) to[j] = to_f32(p[column + j]);
        }
    }
};

template <class T> struct layernorm_rows {
    using element = T;
    enum { inputs = 1 };
    const T *in[1];
    T *out;
    row_parameter<T> weight, bias;
    float *mean, *rstd; /* may be NULL */
    float eps;

    struct partial {
        float count, sum, squares;
        TRINE_DEVICE_METHOD float mean() const { return sum * target::rcp_fast(count > 0.0f ? count : 1.0f); }
    };
    struct stats {
        float mean, rstd;
    };

    static TRINE_DEVICE_METHOD float neutral() { return 0.0f; }
    static TRINE_DEVICE_METHOD partial identity() { return partial{0.0f, 0.0f, 0.0f}; }

    template <int P> static TRINE_DEVICE_METHOD partial gather(row_tile<T, 1, P> &tile, const row_place &at, int width)
    {
        float count = 0.0f, sum = 0.0f;
#pragma unroll
        for (int i = 0; i < P; i++) {
            count += float(at.count<row_pack<T>>(i));
#pragma unroll
            for (int j = 0; j < row_pack<T>; j++) sum += tile.at[0][i].value(j);
        }
        partial p = {wave_reduce(count, op_sum{}, width), wave_reduce(sum, op_sum{}, width), 0.0f};
        const float mean = p.mean();
        tile.pass(at.zero());
        p.squares =
            wave_reduce(at.simple ? squares<true>(tile, at.again(), mean) : odd_squares(tile, at.again(), mean), op_sum{}, width);
        return p;
    }

    /* Of other bits, as far as the compiler can know: or it would take the differences for both cases at once, before it asks
     * which it is, and spill. */
    template <int P> static TRINE_DEVICE_METHOD float odd_squares(row_tile<T, 1, P> &tile, const row_place &at, float mean)
    {
        uint32_t bits = element_bits(mean);
        target::opaque(bits, at.zero());
        tile.pass(at.zero());
        return squares<false>(tile, at, element_value(tag<float>{}, bits, 0));
    }

    /* About `mean`, of what the row has: asked once a pack where packs are whole. */
    template <bool simple, int P>
    static TRINE_DEVICE_METHOD float squares(const row_tile<T, 1, P> &tile, const row_place &at, float mean)
    {
        float sum = 0.0f;
#pragma unroll
        for (int i = 0; i < P; i++) {
            float own = 0.0f;
#pragma unroll
            for (int j = 0; j < row_pack<T>; j++) {
                const float d = tile.at[0][i].value(j) - mean;
                if (simple || at.has(i, j)) own = target::fma_rn(d, d, own);
            }
            sum += !simple || at.column(i) < at.n ? own : 0.0f;
        }
        return sum;
    }

    static TRINE_DEVICE_METHOD partial merge(const partial &a, const partial &b)
    {
        partial p = {a.count + b.count, a.sum + b.sum, a.squares + b.squares};
        const float d = b.mean() - a.mean();
        if (a.count > 0.0f && b.count > 0.0f)
            p.squares = target::fma_rn(d * d, a.count * b.count * target::rcp_fast(p.count), p.squares);
        return p;
    }
    static TRINE_DEVICE_METHOD partial combine(const partial &mine)
    {
        partial p = {wave_reduce(mine.count, op_sum{}), wave_reduce(mine.sum, op_sum{}), 0.0f};
        const float d = mine.mean() - p.mean();
        p.squares = wave_reduce(target::fma_rn(mine.count * d, d, mine.squares), op_sum{});
        return p;
    }

    /* Over no elements: NaN. */
    TRINE_DEVICE_METHOD stats finish(const partial &p, int64_t n) const
    {
        const float nan = __builtin_nanf("");
        if (n == 0) return stats{nan, nan};
        return stats{target::div_ieee(p.sum, float(n)), target::rsqrt_ieee(target::div_ieee(p.squares, float(n)) + eps)};
    }
    TRINE_DEVICE_METHOD void note(const stats &s, int64_t row) const
    {
        if (mean) mean[row] = s.mean;
        if (rstd) rstd[row] = s.rstd;
    }

    template <int P> TRINE_DEVICE_METHOD void emit(float (&y)[4], const stats &s, const row_tile<T, 1, P> &tile, int i, int q,
                                                   const row_place &at, int64_t first) const
    {
        float w[4] = {}, b[4] = {};
        if (weight.given) weight.load(w, at, i, q, first);
        if (bias.given) bias.load(b, at, i, q, first);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            y[j] = (tile.at[0][i].value(4 * q + j) - s.mean) * s.rstd;
            if (weight.given) y[j] *= w[j];
            if (bias.given) y[j] += b[j];
        }
    }
};

template <class T> struct rmsnorm_rows {
    using element = T;
    enum { inputs = 1 };
    const T *in[1];
    T *out;
    row_parameter<T> weight;
    float *rstd; /* may be NULL */
    float eps, offset;
    bool round_first;

    struct partial {
        float squares;
    };
    struct stats {
        float rstd;
    };

    static TRINE_DEVICE_METHOD float neutral() { return 0.0f; }
    static TRINE_DEVICE_METHOD partial identity() { return partial{0.0f}; }

    template <int P> static TRINE_DEVICE_METHOD partial gather(const row_tile<T, 1, P> &tile, const row_place &, int width)
    {
        float squares = 0.0f;
#pragma unroll
        for (int i = 0; i < P; i++)
#pragma unroll
            for (int j = 0; j < row_pack<T>; j++) {
                const float x = tile.at[0][i].value(j);
                squares = target::fma_rn(x, x, squares);
            }
        return partial{wave_reduce(squares, op_sum{}, width)};
    }
    static TRINE_DEVICE_METHOD partial merge(const partial &a, const partial &b) { return partial{a.squares + b.squares}; }
    static TRINE_DEVICE_METHOD partial combine(const partial &p) { return partial{wave_reduce(p.squares, op_sum{})}; }
    TRINE_DEVICE_METHOD stats finish(const partial &p, int64_t n) const
    {
        return stats{n == 0 ? __builtin_nanf("") : target::rsqrt_ieee(target::div_ieee(p.squares, float(n)) + eps)};
    }
    TRINE_DEVICE_METHOD void note(const stats &s, int64_t row) const
    {
        if (rstd) rstd[row] = s.rstd;
    }

    template <int P> TRINE_DEVICE_METHOD void emit(float (&y)[4], const stats &s, const row_tile<T, 1, P> &tile, int i, int q,
                                                   const row_place &at, int64_t first) const
    {
        float w[4] = {};
        if (weight.given) weight.load(w, at, i, q, first);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            y[j] = tile.at[0][i].value(4 * q + j) * s.rstd;
            if (sizeof(T) < 4 && round_first) y[j] = to_f32(from_f32<T>(y[j]));
            y[j] *= weight.given ? offset + w[j] : offset + 1.0f;
        }
    }
};

/* ---- Host ---- */

inline trine_status layernorm(trine_call *call, const trine_layernorm_args *a)
{
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        const trine_tensor *tensors[] = {&a->y, &a->x};
        return run_rows(call,
                        layernorm_rows<T>{{data_of<T>(a->x)},
                                          data_of<T>(a->y),
                                          row_parameter<T>(a->weight),
                                          row_parameter<T>(a->bias),
                                          data_of<float>(a->mean),
                                          data_of<float>(a->rstd),
                                          a->eps},
                        tensors);
    });
}

inline trine_status rmsnorm(trine_call *call, const trine_rmsnorm_args *a)
{
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        const trine_tensor *tensors[] = {&a->y, &a->x};
        return run_rows(call,
                        rmsnorm_rows<T>{{data_of<T>(a->x)},
                                        data_of<T>(a->y),
                                        row_parameter<T>(a->weight),
                                        data_of<float>(a->rstd),
                                        a->eps,
                                        a->weight_offset,
                                        a->round_first != 0},
                        tensors);
    });
}

} // namespace simt

/* ---- The backend's functions ---- */

extern "C" trine_status TRINE_BACKEND_FN(layernorm)(trine_call *call, const trine_layernorm_args *a)
{
    return simt::layernorm(call, a);
}
extern "C" trine_status TRINE_BACKEND_FN(rmsnorm)(trine_call *call, const trine_rmsnorm_args *a)
{
    return simt::rmsnorm(call, a);
}

#endif
