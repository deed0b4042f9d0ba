/* Steps of optimizers. Bound by bytes: 28 an element for adamw in f32 (reads p, g, m, v and writes p, m, v). One rounding an
 * operation, none contracted, in the order of backends/cpu/optimizer.c: the same bits. */
#ifndef TRINE_SIMT_OPTIMIZER_H
#define TRINE_SIMT_OPTIMIZER_H

#include "backends/simt/global_norm.h"
#include "backends/simt/tensor_list.h"
#include "core/optimizer_step.h"

namespace simt {

TRINE_DEVICE float sub_rn(float a, float b) { return target::add_rn(a, -b); }

/* What the steps share: tensors on the device that say whether and how much. */
struct step_control {
    const float *scale, *found_inf; /* NULL: not given */
    TRINE_DEVICE_METHOD bool idle() const { return found_inf && *found_inf != 0; }
    TRINE_DEVICE_METHOD float factor(float sign) const { return scale ? sign * *scale : sign; }
};

/* Weights: the parameter, or its master copy, which then is all that is read. */
template <class P, bool master, int V> struct held_weights {
    pack<P, V> param;
    pack<float, master ? V : 1> own;
    TRINE_DEVICE_METHOD void load(const P *p, const float *w, int64_t i)
    {
        if constexpr (master)
            own = load_pack<float, V>(w + i);
        else
            param = load_pack<P, V>(p + i);
    }
    TRINE_DEVICE_METHOD void store(P *p, float *w, int64_t i) const
    {
        store_pack<P, V>(p + i, param);
        if constexpr (master) store_pack<float, V>(w + i, own);
    }
    TRINE_DEVICE_METHOD float get(int j) const
    {
        if constexpr (master)
            return own.at[j];
        else
            return to_f32(param.at[j]);
    }
    TRINE_DEVICE_METHOD void set(int j, float value)
    {
        if constexpr (master) own.at[j] = value;
        param.at[j] = from_f32<P>(value);
    }
};

/* ---- AdamW ---- */

template <class P, class G, bool master> struct adamw_rule {
    enum { tensors = master ? 6 : 5, V = 4, U = 1 };
    trine_adamw_step s;
    step_control control;
    bool largest; /* there is a v_max */

    struct operands {
        P *param;
        const G *grad;
        float *m, *v, *w, *own; /* w: the largest v */
        TRINE_DEVICE_METHOD operands(const list_place<tensors> &place)
            : param(static_cast<P *>(place.at[0])), grad(static_cast<const G *>(place.at[1])),
              m(static_cast<float *>(place.at[2])), v(static_cast<float *>(place.at[3])), w(static_cast<float *>(place.at[4])),
              own(master ? static_cast<float *>(place.at[tensors - 1]) : nullptr)
        {
        }
    };
    template <int V> struct held {
        held_weights<P, master, V> weights;
        pack<G, V> grad;
        pack<float, V> m, v, w;
        TRINE_DEVICE_METHOD void load(const adamw_rule &rule, const operands &at, int64_t i)
        {
            weights.load(at.param, at.own, i);
            grad = load_pack<G, V>(at.grad + i);
            m = load_pack<float, V>(at.m + i);
            v = load_pack<float, V>(at.v + i);
            if (rule.largest) w = load_pack<float, V>(at.w + i);
        }
        TRINE_DEVICE_METHOD void store(const adamw_rule &rule, const operands &at, int64_t i) const
        {
            weights.store(at.param, at.own, i);
            store_pack<float, V>(at.m + i, m);
            store_pack<float, V>(at.v + i, v);
            if (rule.largest) store_pack<float, V>(at.w + i, w);
        }
    };
    TRINE_DEVICE_METHOD bool idle() const { return control.idle(); }
    TRINE_DEVICE_METHOD float factor() const { return control.factor(s.sign); }
    template <int V> TRINE_DEVICE_METHOD void apply(held<V> &x, float by) const
    {
#pragma unroll
        for (int j = 0; j < V; j++) {
            float p = x.weights.get(j), g = target::mul_rn(to_f32(x.grad.at[j]), by);
            if (s.l2 != 0) g = target::add_rn(g, target::mul_rn(s.l2, p));
            if (s.decay != 0) p = sub_rn(p, target::mul_rn(s.decay, p));
            const float m = target::add_rn(target::mul_rn(s.beta1, x.m.at[j]), target::mul_rn(s.rest1, g));
            const float v = target::add_rn(target::mul_rn(s.beta2, x.v.at[j]), target::mul_rn(target::mul_rn(s.rest2, g), g));
            const float w = largest ? TRINE_LARGEST_SQUARE(x.w.at[j], v) : v;
            const float below = target::add_rn(target::mul_rn(target::sqrt_ieee(w), s.rescale), s.eps);
            x.weights.set(j, sub_rn(p, target::div_ieee(target::mul_rn(s.rate, m), below)));
            x.m.at[j] = m;
            x.v.at[j] = v;
            x.w.at[j] = w;
        }
    }
};

/* ---- SGD ---- */

template <class P, class G, bool master> struct sgd_rule {
    /* 16 bytes of what is narrowest, if all that is wider is a buffer */
    enum { tensors = master ? 4 : 3, V = sizeof(P) == 2 && sizeof(G) == 2 && !master ? 8 : 4, U = V == 8 ? 1 : 2 };
    trine_sgd_step s;
    step_control control;
    bool momentum; /* there is a buffer */

    struct operands {
        P *param;
        const G *grad;
        float *buffer, *own;
        TRINE_DEVICE_METHOD operands(const list_place<tensors> &place)
            : param(static_cast<P *>(place.at[0])), grad(static_cast<const G *>(place.at[1])),
              buffer(static_cast<float *>(place.at[2])), own(master ? static_cast<float *>(place.at[tensors - 1]) : nullptr)
        {
        }
    };
    template <int V> struct held {
        held_weights<P, master, V> weights;
        pack<G, V> grad;
        pack<float, V> buffer;
        TRINE_DEVICE_METHOD void load(const sgd_rule &rule, const operands &at, int64_t i)
        {
            weights.load(at.param, at.own, i);
            grad = load_pack<G, V>(at.grad + i);
            if (rule.momentum && !rule.s.first) buffer = load_pack<float, V>(at.buffer + i);
        }
        TRINE_DEVICE_METHOD void store(const sgd_rule &rule, const operands &at, int64_t i) const
        {
            weights.store(at.param, at.own, i);
            if (rule.momentum) store_pack<float, V>(at.buffer + i, buffer);
        }
    };
    TRINE_DEVICE_METHOD bool idle() const { return control.idle(); }
    TRINE_DEVICE_METHOD float factor() const { return control.factor(s.sign); }
    template <int V> TRINE_DEVICE_METHOD void apply(held<V> &x, float by) const
    {
#pragma unroll
        for (int j = 0; j < V; j++) {
            const float p = x.weights.get(j);
            float g = target::mul_rn(to_f32(x.grad.at[j]), by);
            if (s.l2 != 0) g = target::add_rn(g, target::mul_rn(s.l2, p));
            if (momentum) {
                const float b =
                    s.first ? g : target::add_rn(target::mul_rn(s.momentum, x.buffer.at[j]), target::mul_rn(s.share, g));
                x.buffer.at[j] = b;
                g = s.nesterov ? target::add_rn(g, target::mul_rn(s.momentum, b)) : b;
            }
            x.weights.set(j, sub_rn(p, target::mul_rn(s.rate, g)));
        }
    }
};

/* ---- scale_list ---- */

template <class T> struct scale_rule {
    enum { tensors = 1, V = 16 / int(sizeof(T)), U = 1 };
    const float *by;

    struct operands {
        T *x;
        TRINE_DEVICE_METHOD operands(const list_place<1> &place) : x(static_cast<T *>(place.at[0])) {}
    };
    template <int V> struct held {
        pack<T, V> x;
        TRINE_DEVICE_METHOD void load(const scale_rule &, const operands &at, int64_t i) { x = load_pack<T, V>(at.x + i); }
        TRINE_DEVICE_METHOD void store(const scale_rule &, const operands &at, int64_t i) const { store_pack<T, V>(at.x + i, x); }
    };
    TRINE_DEVICE_METHOD bool idle() const { return *by == 1; }
    TRINE_DEVICE_METHOD float factor() const { return *by; }
    template <int V> TRINE_DEVICE_METHOD void apply(held<V> &h, float factor) const
    {
#pragma unroll
        for (int j = 0; j < V; j++) h.x.at[j] = from_f32<T>(target::mul_rn(to_f32(h.x.at[j]), factor));
    }
};

/* ---- Host ---- */

template <bool value_> struct truth {
    static constexpr bool value = value_;
};

inline bool has_master(const trine_tensor_list &master, int32_t i) { return i < master.count && trine_is_given(&master.at[i]); }

/* f(tag of the parameters, tag of the gradients, truth of a master copy, which) for each combination that is in the lists;
 * which(i): parameter i is of it. */
template <class F> inline trine_status each_format(trine_call *call, const trine_tensor_list &param,
                                                   const trine_tensor_list &grad, const trine_tensor_list &master, F f)
{
    static const trine_dtype dtypes[] = {TRINE_F32, TRINE_F16, TRINE_BF16};
    bool present[TRINE_DTYPE_COUNT][TRINE_DTYPE_COUNT][2] = {};
    trine_status status = TRINE_OK;
    for (int32_t i = 0; i < param.count; i++) present[param.at[i].dtype][grad.at[i].dtype][has_master(master, i)] = true;
    for (int k = 0; k < 18 && status == TRINE_OK; k++) {
        const trine_dtype p = dtypes[k % 3], g = dtypes[k / 3 % 3];
        const bool own = k >= 9;
        if (!present[p][g][own]) continue;
        const auto which = [&](int32_t i) {
            return param.at[i].dtype == p && grad.at[i].dtype == g && has_master(master, i) == own;
        };
        status = visit_floats(call, p, [&](auto tag_p) {
            return visit_floats(call, g, [&](auto tag_g) {
                if constexpr (sizeof(typename decltype(tag_p)::type) == 2)
                    if (own) return f(tag_p, tag_g, truth<true>{}, which);
                return f(tag_p, tag_g, truth<false>{}, which);
            });
        });
    }
    return status;
}

inline step_control control_of(const trine_tensor &scale, const trine_tensor &found_inf)
{
    return {trine_is_given(&scale) ? data_of<const float>(scale) : nullptr,
            trine_is_given(&found_inf) ? data_of<const float>(found_inf) : nullptr};
}

inline trine_status adamw(trine_call *call, const trine_adamw_args *a)
{
    const trine_adamw_step s = trine_adamw_step_make(a);
    const step_control control = control_of(a->grad_scale, a->found_inf);
    const bool largest = a->v_max.count > 0;
    return each_format(call, a->param, a->grad, a->master, [&](auto p, auto g, auto own, auto which) {
        using rule = adamw_rule<typename decltype(p)::type, typename decltype(g)::type, decltype(own)::value>;
        return list_run(call, rule{s, control, largest}, a->param.count, [&](auto &launcher, int32_t i) {
            const trine_tensor *const w = largest ? &a->v_max.at[i] : nullptr;
            if (!which(i)) return TRINE_OK;
            if constexpr (decltype(own)::value)
                return launcher.add({&a->param.at[i], &a->grad.at[i], &a->m.at[i], &a->v.at[i], w, &a->master.at[i]});
            else
                return launcher.add({&a->param.at[i], &a->grad.at[i], &a->m.at[i], &a->v.at[i], w});
        });
    });
}

inline trine_status sgd(trine_call *call, const trine_sgd_args *a)
{
    const trine_sgd_step s = trine_sgd_step_make(a);
    const step_control control = control_of(a->grad_scale, a->found_inf);
    const bool momentum = a->buffer.count > 0;
    return each_format(call, a->param, a->grad, a->master, [&](auto p, auto g, auto own, auto which) {
        using rule = sgd_rule<typename decltype(p)::type, typename decltype(g)::type, decltype(own)::value>;
        return list_run(call, rule{s, control, momentum}, a->param.count, [&](auto &launcher, int32_t i) {
            const trine_tensor *buffer = momentum ? &a->buffer.at[i] : nullptr;
            if (!which(i)) return TRINE_OK;
            if constexpr (decltype(own)::value)
                return launcher.add({&a->param.at[i], &a->grad.at[i], buffer, &a->master.at[i]});
            else
                return launcher.add({&a->param.at[i], &a->grad.at[i], buffer});
        });
    });
}

inline trine_status scale_list(trine_call *call, const trine_scale_list_args *a)
{
    static const trine_dtype dtypes[] = {TRINE_F32, TRINE_F16, TRINE_BF16};
    trine_status status = TRINE_OK;
    for (int k = 0; k < 3 && status == TRINE_OK; k++)
        status = visit_floats(call, dtypes[k], [&](auto t) {
            return list_run(call, scale_rule<typename decltype(t)::type>{data_of<const float>(a->factor)}, a->x.count,
                            [&](auto &launcher, int32_t i) {
                                return a->x.at[i].dtype == dtypes[k] ? launcher.add({&a->x.at[i]}) : TRINE_OK;
                            });
        });
    return status;
}

} // namespace simt

extern "C" trine_status TRINE_BACKEND_FN(adamw)(trine_call *call, const trine_adamw_args *a)
{
    call->variant = target::variant;
    TRINE_REQUIRE_PACKED(call, &a->param, &a->grad, &a->m, &a->v, &a->master, &a->v_max);
    TRINE_END_OF_QUERY(call, 0);
    return simt::adamw(call, a);
}

extern "C" trine_status TRINE_BACKEND_FN(sgd)(trine_call *call, const trine_sgd_args *a)
{
    call->variant = target::variant;
    TRINE_REQUIRE_PACKED(call, &a->param, &a->grad, &a->buffer, &a->master);
    TRINE_END_OF_QUERY(call, 0);
    return simt::sgd(call, a);
}

extern "C" trine_status TRINE_BACKEND_FN(global_norm)(trine_call *call, const trine_global_norm_args *a)
{
    call->variant = target::variant;
    TRINE_REQUIRE_PACKED(call, &a->x);
    TRINE_END_OF_QUERY(call, size_t(simt::norm_partials(a)) * sizeof(double));
    return simt::global_norm(call, a);
}

extern "C" trine_status TRINE_BACKEND_FN(scale_list)(trine_call *call, const trine_scale_list_args *a)
{
    call->variant = target::variant;
    TRINE_REQUIRE_PACKED(call, &a->x);
    TRINE_END_OF_QUERY(call, 0);
    return simt::scale_list(call, a);
}

#endif
