/* Losses: cross_entropy.h has that one; here are those that go element by element, as maps (map.h) and, for one loss of all, as
 * reductions (reduce_run.h). Bound by bytes: each operand is moved once. */
#ifndef TRINE_SIMT_LOSS_H
#define TRINE_SIMT_LOSS_H

#include "backends/simt/linear_cross_entropy.h"
#include "backends/simt/map.h"
#include "backends/simt/reduce_run.h"

namespace simt {

/* loss(x, target) and its slope along x, of one pair of elements. */
struct pair_mse {
    TRINE_DEVICE_METHOD float loss(float x, float t) const { return target::mul_rn(x - t, x - t); }
    TRINE_DEVICE_METHOD float slope(float x, float t) const { return 2.0f * (x - t); }
};
struct pair_huber {
    float delta;
    TRINE_DEVICE_METHOD float loss(float x, float t) const
    {
        const float d = __builtin_fabsf(x - t);
        return d <= delta ? 0.5f * d * d : delta * (d - 0.5f * delta);
    }
    TRINE_DEVICE_METHOD float slope(float x, float t) const
    {
        const float d = x - t;
        return d > delta ? delta : d < -delta ? -delta : d; /* NaN stays */
    }
};
struct pair_kl {
    TRINE_DEVICE_METHOD float loss(float x, float t) const
    {
        const float y = t * (target::log2_fast(t) * ln2 - x); /* the logarithm is good to 2^-22, and is a summand */
        return t >= 0.0f && t < 0x1p-126f ? 0.0f : y;         /* of subnormal numbers it may be -inf */
    }
    TRINE_DEVICE_METHOD float slope(float, float t) const { return -t; }
};
struct pair_kl_log {
    TRINE_DEVICE_METHOD float loss(float x, float t) const
    {
        const float y = target::exp2_fast(t * log2e) * (t - x);
        return t == -__builtin_inff() ? 0.0f : y;
    }
    TRINE_DEVICE_METHOD float slope(float, float t) const { return -target::exp2_fast(t * log2e); }
};

/* All of them in one, chosen at run time for a pack of them: f(one of them). One kernel a loss would be four of each kind. */
enum pair_kind { PAIR_MSE, PAIR_HUBER, PAIR_KL, PAIR_KL_LOG };
struct pair_any {
    pair_kind kind;
    float delta; /* of huber */
    template <class F> TRINE_DEVICE_METHOD void visit(F f) const
    {
        switch (kind) {
        case PAIR_MSE: return f(pair_mse{});
        case PAIR_HUBER: return f(pair_huber{delta});
        case PAIR_KL: return f(pair_kl{});
        default: return f(pair_kl_log{});
        }
    }
};

template <class F, class G> TRINE_DEVICE void as_pair(const F &f, G g) { g(f); }
template <class G> TRINE_DEVICE void as_pair(const pair_any &f, G g) { f.visit(g); }

struct f_pair_loss {
    pair_any pair;
    template <class T, int V>
    TRINE_DEVICE_METHOD void operator()(pack<float, V> &y, const pack<T, V> &x, const pack<T, V> &t) const
    {
        pair.visit([&](const auto &f) {
#pragma unroll
            for (int j = 0; j < V; j++) y.at[j] = f.loss(to_f32(x.at[j]), to_f32(t.at[j]));
        });
    }
};

/* One dloss for all elements, or one each. F: any of them, or a single one: slopes of kl don't depend on x, which its kernels then
 * don't read. */
template <class F> struct f_pair_slope {
    F pair;
    float weight;
    const float *dloss;
    template <class T, int V> TRINE_DEVICE_METHOD void operator()(pack<T, V> &dx, const pack<T, V> &x, const pack<T, V> &t) const
    {
        const float scale = weight * *dloss;
        as_pair(pair, [&](const auto &f) {
#pragma unroll
            for (int j = 0; j < V; j++) dx.at[j] = from_f32<T>(scale * f.slope(to_f32(x.at[j]), to_f32(t.at[j])));
        });
    }
    template <class T, int V>
    TRINE_DEVICE_METHOD void operator()(pack<T, V> &dx, const pack<T, V> &x, const pack<T, V> &t, const pack<float, V> &g) const
    {
        as_pair(pair, [&](const auto &f) {
#pragma unroll
            for (int j = 0; j < V; j++) dx.at[j] = from_f32<T>(g.at[j] * f.slope(to_f32(x.at[j]), to_f32(t.at[j])));
        });
    }
};

template <class F> struct add_pairs {
    enum { inputs = 2 };
    const F &f;
    using state = float;
    template <class T> TRINE_DEVICE_METHOD void add(state &s, T x, T t, int64_t) const
    {
        s = target::add_rn(s, f.loss(to_f32(x), to_f32(t)));
    }
};
template <class F> TRINE_DEVICE add_pairs<F> pairs_of(const F &f) { return add_pairs<F>{f}; }

/* A kind of reduce_ops.h. */
template <class T> struct reduce_pair : sum_kind<T, 2> {
    pair_any pair;
    template <class F> TRINE_DEVICE_METHOD void choose(F f) const
    {
        pair.visit([&](const auto &loss) { f(pairs_of(loss)); });
    }
    TRINE_DEVICE_METHOD void add(float &s, T x, T t, int64_t index) const
    {
        choose([&](const auto &chosen) { chosen.add(s, x, t, index); });
    }
};
template <class T> constexpr bool reduce_chooses<reduce_pair<T>> = true;

/* What a sum is divided by. */
inline float loss_divisor(const trine_tensor &x, trine_loss_reduction reduction)
{
    return reduction == TRINE_LOSS_MEAN         ? float(trine_tensor_numel(&x))
           : reduction == TRINE_LOSS_BATCH_MEAN ? float(x.shape[0])
                                                : 1.0f;
}

template <class Args> inline trine_status pair_forward(trine_call *call, const Args *a, const pair_any &pair)
{
    call->variant = target::variant;
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        if (a->reduction == TRINE_LOSS_NONE) {
            TRINE_END_OF_QUERY(call, 0);
            return map<float, T, T>(call, f_pair_loss{pair}, a->loss, a->x, a->target);
        }
        const trine_reduction r = trine_reduction_make(&a->x, &a->target, &a->loss, TRINE_AXIS_ALL, 0);
        const sum_output out = {a->loss.data, TRINE_F32, loss_divisor(a->x, a->reduction), false};
        return run_rows(call, reduce_pair<T>{{{data_of<T>(a->x), data_of<T>(a->target)}, out}, pair}, r);
    });
}

template <class F, class Args> inline trine_status pair_backward(trine_call *call, const Args *a, const F &pair)
{
    call->variant = target::variant;
    TRINE_END_OF_QUERY(call, 0);
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        const f_pair_slope<F> slope = {pair, 1.0f / loss_divisor(a->x, a->reduction), data_of<float>(a->dloss)};
        if (a->reduction != TRINE_LOSS_NONE) return map<T, T, T>(call, slope, a->dx, a->x, a->target);
        return map<T, T, T, float>(call, slope, a->dx, a->x, a->target, a->dloss);
    });
}

} // namespace simt

/* ---- The backend's functions ---- */

#define TRINE_PAIR(name, pair) \
    extern "C" trine_status TRINE_BACKEND_FN(name)(trine_call * call, const trine_##name##_args *a) \
    { \
        return simt::pair_forward(call, a, pair); \
    } \
    extern "C" trine_status TRINE_BACKEND_FN(name##_backward)(trine_call * call, const trine_##name##_backward_args *a) \
    { \
        return simt::pair_backward(call, a, pair); \
    }
TRINE_PAIR(mse, (simt::pair_any{simt::PAIR_MSE, 0}))
TRINE_PAIR(huber, (simt::pair_any{simt::PAIR_HUBER, a->delta}))
#undef TRINE_PAIR

extern "C" trine_status TRINE_BACKEND_FN(kl_div)(trine_call *call, const trine_kl_div_args *a)
{
    return simt::pair_forward(call, a, simt::pair_any{a->log_target ? simt::PAIR_KL_LOG : simt::PAIR_KL, 0});
}
extern "C" trine_status TRINE_BACKEND_FN(kl_div_backward)(trine_call *call, const trine_kl_div_backward_args *a)
{
    return a->log_target ? simt::pair_backward(call, a, simt::pair_kl_log{}) : simt::pair_backward(call, a, simt::pair_kl{});
}

extern "C" trine_status TRINE_BACKEND_FN(cross_entropy)(trine_call *call, const trine_cross_entropy_args *a)
{
    return simt::visit_floats(call, a->logits.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        return a->options.softcap > 0 ? simt::run_entropy<T, true>(call, a) : simt::run_entropy<T, false>(call, a);
    });
}

extern "C" trine_status TRINE_BACKEND_FN(cross_entropy_backward)(trine_call *call, const trine_cross_entropy_backward_args *a)
{
    return simt::visit_floats(call, a->logits.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        return a->options.softcap > 0 ? simt::run_entropy_backward<T, true>(call, a)
                                      : simt::run_entropy_backward<T, false>(call, a);
    });
}

#endif
