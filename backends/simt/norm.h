/* Layernorm, rmsnorm and the division by a row's length, in the frame of row.h.
 *
 * A partial is a count, a sum and the sum of squares about their quotient, the mean; merging two adds what lies
 * between their means (Chan, Golub, LeVeque 1979). A wave has its row in registers, so that it takes the squares about its own
 * mean in a second pass. A residual is added as soon as it is there; the rounded sum is what the row is from then on. Weight and
 * bias are the same for all rows and come from the caches; norm_wide.h keeps them for the longest rows. Bound by bytes: one read and
 * one write an element, with a residual two reads and up to two writes. */
#ifndef TRINE_SIMT_NORM_H
#define TRINE_SIMT_NORM_H

#include "backends/simt/row_run.h"

namespace simt {

/* V numbers as they lie in memory. */
template <class W, int V> struct row_numbers {
    row_words<W> at[V / row_pack<W>];
    TRINE_DEVICE_METHOD float value(int j) const { return at[j / row_pack<W>].value(j % row_pack<W>); }
};

/* Parameters that are not all of one type. */
struct row_mixed {};
template <class W> struct row_number_type {
    using type = W;
};
template <> struct row_number_type<row_mixed> {
    using type = float;
};

/* A weight or bias [n] of T or f32, or none, which stands for `neutral` everywhere. */
template <class T> struct row_parameter {
    const void *data;
    float neutral;
    bool wide, narrow; /* may be taken as f32; as T */

    explicit row_parameter(const trine_tensor &t, float neutral_)
        : data(t.dtype == TRINE_DTYPE_NONE ? nullptr : t.data), neutral(neutral_), wide(!data || t.dtype == TRINE_F32),
          narrow(!data || !wide)
    {
    }
    /* Those of pack i of the row, or of the slice that begins at column `first`, a multiple of a pack. */
    template <class W> TRINE_DEVICE_METHOD auto fetch(const row_place &at, int i, int64_t first) const
    {
        using N = typename row_number_type<W>::type;
        constexpr int each = row_pack<N>, V = row_pack<T>;
        const int column = at.column(i);
        row_numbers<N, V> r;
#pragma unroll
        for (int k = 0; k < V / each; k++) {
            const int64_t from = first + column + k * each;
            r.at[k] = row_words<N>::all(neutral);
            if (!data) continue;
            if (at.simple || (aligned() && at.whole<V>(i) && column % V == 0 && !is_mixed<W>)) {
                r.at[k] = row_words<N>::load_shared(static_cast<const N *>(data) + from);
            } else {
#pragma unroll 1
                for (int j = 0; j < each; j++) r.at[k].push(at.has(i, k * each + j) ? one(tag<W>{}, from + j) : 0u);
            }
        }
        return r;
    }
    /* The same of a whole pack of one that is given, of type T. */
    TRINE_DEVICE_METHOD row_numbers<T, row_pack<T>> pack(int column) const
    {
        return {{row_words<T>::load_shared(static_cast<const T *>(data) + uint32_t(column))}};
    }
    bool is_given_as_row() const { return data && (sizeof(T) == sizeof(float) ? wide : narrow); }
    TRINE_METHOD bool aligned() const { return reinterpret_cast<uintptr_t>(data) % 16 == 0; }

  private:
    template <class W> static constexpr bool is_mixed = sizeof(W) == sizeof(row_mixed);
    template <class W> TRINE_DEVICE_METHOD uint32_t one(tag<W>, int64_t i) const
    {
        return element_bits(static_cast<const W *>(data)[i]);
    }
    TRINE_DEVICE_METHOD uint32_t one(tag<row_mixed>, int64_t i) const
    {
        return element_bits(wide ? static_cast<const float *>(data)[i] : to_f32(static_cast<const T *>(data)[i]));
    }
};

enum class norm_mode {
    centred, /* about the mean: layernorm */
    plain,   /* rmsnorm */
    length   /* divided by the square root of the sum of squares, or eps: l2_normalize */
};

/* What emit() is compiled for: anything; or, without rounding first or an offset, a centred mode with weight and bias, another with a
 * weight, or any with neither. Those are what is usual, of parameters of the row's type. */
enum class norm_way { any, centred, plain, bare };
template <class N, norm_way way_> struct norm_parameters {
    using number = N;
    static constexpr norm_way way = way_;
};

/* adds: of x and a residual. The mode and what else the norms differ in is asked at run time, so that a kernel is compiled once. */
template <class T, bool adds> struct norm_rows {
    using element = T;
    enum { inputs = adds ? 2 : 1 };
    const T *in[inputs];
    T *out, *sum;
    row_parameter<T> weight, bias;
    float *mean, *rstd; /* may be NULL */
    float eps, offset;  /* offset: of the weight */
    norm_mode mode;
    bool round_first, far; /* far: weight and bias are not worth to be brought near */
    norm_way way;

    /* Of modes that are not centred only the squares are not 0. */
    struct partial {
        float count, sum, squares;
        TRINE_DEVICE_METHOD float mean() const { return sum * target::rcp_fast(count > 0.0f ? count : 1.0f); }
    };
    struct stats {
        float mean, rstd;
    };

    static TRINE_DEVICE_METHOD float neutral() { return 0.0f; }
    static TRINE_DEVICE_METHOD partial identity() { return partial{0.0f, 0.0f, 0.0f}; }

    template <int P> TRINE_DEVICE_METHOD partial gather(row_tile<T, 1, P> &tile, const row_place &at, int width) const
    {
        partial p = identity();
        if (mode == norm_mode::centred) {
            int count = 0; /* known without asking the others: a reduction less */
#pragma unroll
            for (int i = 0; i < P; i++) {
                count += at.count_of_all<row_pack<T>>(i, width);
                float own = 0.0f; /* packs side by side: an addition need not wait for all before it */
#pragma unroll
                for (int j = 0; j < row_pack<T>; j++) own += tile.at[0][i].value(j);
                p.sum += own;
            }
            p.count = float(count);
            p.sum = wave_reduce(p.sum, op_sum{}, width);
            tile.template pass<!adds && row_keeps_values<P>>(at.zero());
            p.squares = squares<true>(tile, at.again(), p.mean());
        } else {
            p.squares = squares<false>(tile, at, 0.0f);
        }
        p.squares = wave_reduce(p.squares, op_sum{}, width);
        return p;
    }
    /* About `mean`, of what the row has: asked once a pack where packs are whole. What is beside the row is 0. */
    template <bool about, int P>
    static TRINE_DEVICE_METHOD float squares(const row_tile<T, 1, P> &tile, const row_place &at, float mean)
    {
        float sum = 0.0f;
#pragma unroll
        for (int i = 0; i < P; i++) {
            float own = 0.0f;
#pragma unroll
            for (int j = 0; j < row_pack<T>; j++) {
                const float x = tile.at[0][i].value(j), d = about ? x - mean : x;
                if (!about || at.simple || at.has(i, j)) own = target::fma_rn(d, d, own);
            }
            sum += !about || !at.simple || at.column(i) < at.n ? own : 0.0f;
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
    TRINE_DEVICE_METHOD partial combine(const partial &mine) const
    {
        if (mode != norm_mode::centred) return partial{0.0f, 0.0f, wave_reduce(mine.squares, op_sum{})};
        partial p = {wave_reduce(mine.count, op_sum{}), wave_reduce(mine.sum, op_sum{}), 0.0f};
        const float d = mine.mean() - p.mean();
        p.squares = wave_reduce(target::fma_rn(mine.count * d, d, mine.squares), op_sum{});
        return p;
    }

    /* Of `width` threads of a wave: this one has `count` numbers, whose sums it took about a number of its own, in one pass; the error
     * stays within that of as many additions. */
    static TRINE_DEVICE_METHOD partial gathered(float count, float about, float sum, float squares, int width)
    {
        const float shift = sum * target::rcp_fast(count > 0.0f ? count : 1.0f);
        partial p = {wave_reduce(count, op_sum{}, width), wave_reduce(target::fma_rn(count, about, sum), op_sum{}, width), 0.0f};
        const float d = about + shift - p.mean();
        p.squares = wave_reduce(target::fma_rn(count * d, d, target::fma_rn(-sum, shift, squares)), op_sum{}, width);
        return p;
    }

    /* Over no elements: NaN. */
    TRINE_DEVICE_METHOD stats finish(const partial &p, int64_t n) const
    {
        const float nan = __builtin_nanf("");
        if (n == 0) return stats{nan, nan};
        if (mode == norm_mode::length) {
            const float length = target::sqrt_ieee(p.squares);
            return stats{0.0f, target::div_ieee(1.0f, length < eps ? eps : length)};
        }
        const float each = target::rcp_fast(float(n)); /* to an ulp, as the root: a row waits for all of this */
        return stats{mode == norm_mode::centred ? p.sum * each : 0.0f, target::rsqrt_fast(target::fma_rn(p.squares, each, eps))};
    }
    TRINE_DEVICE_METHOD void note(const stats &s, int64_t row) const
    {
        if (mean) mean[row] = s.mean;
        if (rstd) rstd[row] = s.rstd;
    }

    bool aligned() const
    {
        return weight.aligned() && bias.aligned() && ((weight.wide && bias.wide) || (weight.narrow && bias.narrow));
    }
    /* Rows that are not whole packs take parameters element by element, whatever their type. */
    template <bool simple, class F> TRINE_DEVICE_METHOD void choose(F f) const
    {
        if constexpr (!simple) return f(tag<norm_parameters<row_mixed, norm_way::any>>{});
        if constexpr (target::row_hurries) {
            if (way == norm_way::centred) return f(tag<norm_parameters<T, norm_way::centred>>{});
            if (way == norm_way::plain) return f(tag<norm_parameters<T, norm_way::plain>>{});
            if (way == norm_way::bare) return f(tag<norm_parameters<T, norm_way::bare>>{});
        }
        if constexpr (sizeof(T) < sizeof(float)) {
            if (narrow()) return f(tag<norm_parameters<T, norm_way::any>>{});
        }
        f(tag<norm_parameters<float, norm_way::any>>{});
    }
    template <class N, norm_way way = norm_way::any> struct numbers {
        row_numbers<typename row_number_type<N>::type, row_pack<T>> weight, bias;
    };
    using ahead = norm_parameters<T, norm_way::any>;
    TRINE_DEVICE_METHOD bool fetches_ahead() const { return sizeof(T) == sizeof(float) || narrow(); }
    TRINE_DEVICE_METHOD int touched() const { return far ? 0 : way == norm_way::centred ? 2 : way == norm_way::plain ? 1 : 0; }
    TRINE_DEVICE_METHOD const T *touch(int which) const { return static_cast<const T *>((which ? bias : weight).data); }
    template <class W>
    TRINE_DEVICE_METHOD numbers<typename W::number, W::way> fetch(const row_place &at, int i, int64_t first) const
    {
        using N = typename W::number;
        numbers<N, W::way> r = {};
        if constexpr (W::way == norm_way::any) {
            r.weight = weight.template fetch<N>(at, i, first);
            r.bias = bias.template fetch<N>(at, i, first);
        } else {
            if constexpr (W::way != norm_way::bare) r.weight = weight.pack(int(first) + at.column(i));
            if constexpr (W::way == norm_way::centred) r.bias = bias.pack(int(first) + at.column(i));
        }
        return r;
    }
    template <class W> static TRINE_DEVICE_METHOD numbers<T, W::way> fetched_ahead(const numbers<T> &pack)
    {
        return {pack.weight, pack.bias};
    }

    template <int P, class N, norm_way way> TRINE_DEVICE_METHOD void
    emit(float (&y)[4], const stats &s, const row_tile<T, 1, P> &tile, int i, int q, const numbers<N, way> &given) const
    {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const float x = tile.at[0][i].value(4 * q + j);
            y[j] = (way == norm_way::plain ? x : x - s.mean) * s.rstd;
        }
        if constexpr (way == norm_way::bare) return;
        if (sizeof(T) < 4 && way == norm_way::any && round_first)
#pragma unroll
            for (int j = 0; j < 4; j++) y[j] = to_f32(from_f32<T>(y[j]));
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const float w = given.weight.value(4 * q + j), factor = way == norm_way::any ? offset + w : w;
            y[j] = way == norm_way::plain ? y[j] * factor : target::fma_rn(y[j], factor, given.bias.value(4 * q + j));
        }
    }

  private:
    TRINE_METHOD bool narrow() const { return weight.narrow && bias.narrow; }
};

template <class T> constexpr bool row_adds<norm_rows<T, true>> = true;
template <> inline constexpr int row_wide_packs<norm_rows<float, true>> =
    8; /* of the sums; with 16 bits it needs more registers */
template <class T, bool adds> constexpr bool row_seldom_odd<norm_rows<T, adds>> = true;
template <class T> constexpr bool row_goes_long<norm_rows<T, false>> = true;
/* Of one pack. With four, f32 rows of 4096 took 10 % longer on an H100: registers. */
template <class T, bool adds, int P> constexpr int row_ahead<norm_rows<T, adds>, P> = P == 1;
template <class T, bool adds> constexpr int row_touches<norm_rows<T, adds>> = 2;

} // namespace simt

#include "backends/simt/norm_wide.h"

namespace simt {

/* ---- Host ---- */

template <bool choice> struct row_choice {
    static constexpr bool value = choice;
};

/* What is asked of a norm, but for its tensors. */
struct norm_options {
    trine_tensor weight, bias, mean, rstd;
    float eps, offset;
    norm_mode mode;
    bool round_first;
};

template <class T, bool adds> inline norm_rows<T, adds> norm_rows_of(const norm_options &o)
{
    const row_parameter<T> weight(o.weight, 1.0f), bias(o.bias, 0.0f);
    norm_way way = norm_way::any;
    if (!o.round_first && o.offset == 0.0f) {
        const bool centred = o.mode == norm_mode::centred;
        if (!weight.data && !bias.data) way = norm_way::bare;
        if (weight.is_given_as_row() && bias.is_given_as_row() && centred) way = norm_way::centred;
        if (weight.is_given_as_row() && !bias.data && !centred) way = norm_way::plain;
    }
    return norm_rows<T, adds>{
        {},       nullptr, nullptr,       weight, bias, data_of<float>(o.mean), data_of<float>(o.rstd), o.eps,
        o.offset, o.mode,  o.round_first, false,  way};
}

template <class T>
inline trine_status run_norm(trine_call *call, const norm_options &o, const trine_tensor *y, const trine_tensor *x)
{
    auto op = norm_rows_of<T, false>(o);
    op.in[0] = data_of<T>(*x);
    op.out = data_of<T>(*y);
    const trine_tensor *tensors[] = {y, x};
    return run_rows(call, op, tensors);
}

template <class Args> inline trine_status run_norm(trine_call *call, const norm_options &o, const Args *a)
{
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        if (!trine_is_given(&a->residual)) return run_norm<T>(call, o, &a->y, &a->x);
        auto op = norm_rows_of<T, true>(o);
        op.in[0] = data_of<T>(a->x);
        op.in[1] = data_of<T>(a->residual);
        op.out = data_of<T>(a->y);
        op.sum = trine_is_given(&a->sum) ? data_of<T>(a->sum) : nullptr;
        /* f32 with a residual, more than what all threads have at a time: up to 5 % longer (2 to 128 rows of 8192 0.84 to 0.95) */
        op.far = sizeof(T) == sizeof(float) &&
                 trine_tensor_numel(&a->x) > int64_t(call->device->props.compute_units) * 2048 * row_pack<T>;
        const trine_tensor *tensors[] = {&a->y, &a->x, &a->residual, trine_is_given(&a->sum) ? &a->sum : &a->y};
        return run_rows(call, op, tensors);
    });
}

inline trine_status layernorm(trine_call *call, const trine_layernorm_args *a)
{
    return run_norm(call, {a->weight, a->bias, a->mean, a->rstd, a->eps, 0.0f, norm_mode::centred, false}, a);
}

inline trine_status rmsnorm(trine_call *call, const trine_rmsnorm_args *a)
{
    const float offset = trine_is_given(&a->weight) ? a->weight_offset : 0.0f;
    return run_norm(call, {a->weight, {}, {}, a->rstd, a->eps, offset, norm_mode::plain, a->round_first != 0}, a);
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
