/* Activations and their slopes at once, for gradients of gated activations: what the two share is computed once. Part of
 * activation.c. */
#ifndef TRINE_CPU_ACTIVATION_GATED_H
#define TRINE_CPU_ACTIVATION_GATED_H

typedef struct pair {
    float value, slope;
} pair;

static inline pair silu_pair(float x)
{
    float z = vm_exp_minus_abs(x);
    float r = 1.0f / (1.0f + z);
    float rise = vm_min(fabsf(x), EXP_END);
    return (pair){TRINE_FMA(-rise, z * r, positive(x)), mirrored(x, z * r * TRINE_FMA(-rise, r, 1.0f))};
}

static inline pair gelu_pair(float x)
{
    float a = vm_min(fabsf(x), GELU_END);
    float bell_of_x = vm_exp_minus_abs(0.5f * x * x), tail = normal_tail(a);
    return (pair){TRINE_FMA(-a, bell_of_x * tail, positive(x)),
                  mirrored(x, bell_of_x * TRINE_FMA(-0.3989422804014327f, a, tail))};
}

static inline pair gelu_tanh_pair(float x)
{
    float z = vm_exp_minus_abs(gelu_tanh_argument(x));
    float r = 1.0f / (1.0f + z);
    float a = vm_min(fabsf(x), GELU_TANH_END);
    return (pair){TRINE_FMA(-a, z * r, positive(x)), mirrored(x, z * r * TRINE_FMA(-gelu_tanh_rise(a), r, 1.0f))};
}

/* dup = dy f(gate), dgate = dy up f'(gate). */
typedef void (*gated_fn)(float alpha, float *dgate, float *dup, const float *gate, const float *up, const float *dy, int64_t n);

#define GATED(name, result) \
    static void gated_##name(float alpha, float *dgate, float *dup, const float *gate, const float *up, const float *dy, \
                             int64_t n) \
    { \
        (void)alpha; \
        _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) \
        { \
            float x = gate[i]; \
            const pair p = result; \
            dgate[i] = dy[i] * up[i] * p.slope; \
            dup[i] = dy[i] * p.value; \
        } \
    } \
    static __attribute__((unused)) void gated_put_##name(char *dgate, char *dup, const char *gate, const char *up, \
                                                         const char *dy, trine_dtype dtype, int64_t n, bool stream) \
    { \
        if (dtype == TRINE_F32) \
            GATED_PUT_AS(TRINE_F32, result) \
        else if (dtype == TRINE_BF16) \
            GATED_PUT_AS(TRINE_BF16, result) \
        else \
            GATED_PUT_AS(TRINE_F16, result) \
    }
/* As PUT_AS. */
#define GATED_PUT_AS(type, result) \
    for (int64_t i = 0; i < n; i += LANES_PUT) { \
        float in[LANES_PUT], in_up[LANES_PUT], in_dy[LANES_PUT], outs[2][LANES_PUT]; \
        for (int half = 0; half < LANES_PUT; half += LANES) { \
            const f32x16 v[] = {lanes_load(gate, type, i + half), lanes_load(up, type, i + half), \
                                lanes_load(dy, type, i + half)}; \
            memcpy(in + half, &v[0], sizeof v[0]); \
            memcpy(in_up + half, &v[1], sizeof v[1]); \
            memcpy(in_dy + half, &v[2], sizeof v[2]); \
        } \
        for (int k = 0; k < LANES_PUT; k++) { \
            float x = in[k]; \
            const pair p = result; \
            outs[0][k] = in_dy[k] * in_up[k] * p.slope; \
            outs[1][k] = in_dy[k] * p.value; \
        } \
        for (int o = 0; o < 2; o++) \
            lanes_put((o ? dup : dgate) + i * lanes_size(type), type, lanes_load(outs[o], TRINE_F32, 0), \
                      lanes_load(outs[o], TRINE_F32, LANES), stream); \
    }
GATED(SILU, silu_pair(x))
GATED(GELU, gelu_pair(x))
GATED(GELU_TANH, gelu_tanh_pair(x))

static gated_fn gated_of(trine_activation_kind kind)
{
    return kind == TRINE_ACT_SILU        ? gated_SILU
           : kind == TRINE_ACT_GELU      ? gated_GELU
           : kind == TRINE_ACT_GELU_TANH ? gated_GELU_TANH
                                         : NULL;
}

void activate_gated(trine_activation_kind kind, float alpha, trine_dtype dtype, float *dgate, float *dup, const float *gate,
                    const float *up, const float *dy, int64_t n)
{
    const struct kind *const k = kind_of(kind, dtype);
    const gated_fn at_once = BY_PIECES && k != &kinds[kind] ? NULL : gated_of(kind);
    if (at_once) {
        at_once(alpha, dgate, dup, gate, up, dy, n);
        return;
    }
    k->value(alpha, dup, gate, n);
    for (int64_t i = 0; i < n; i++) dup[i] *= dy[i];
    for (int64_t i = 0; i < n; i++) dgate[i] = dy[i] * up[i];
    k->slope(alpha, dgate, gate, dgate, n);
}

bool activate_gated_put(trine_activation_kind kind, void *dgate, void *dup, const void *gate, const void *up, const void *dy,
                        trine_dtype dtype, int64_t n, bool stream)
{
    if (!LANES_PUTS || !gated_of(kind)) return false;
#if BY_PIECES
    if (dtype != TRINE_F32) {
        pieced_gated(kind, dgate, dup, gate, up, dy, dtype, n, stream);
        return true;
    }
#endif
    if (kind == TRINE_ACT_SILU)
        gated_put_SILU(dgate, dup, gate, up, dy, dtype, n, stream);
    else if (kind == TRINE_ACT_GELU)
        gated_put_GELU(dgate, dup, gate, up, dy, dtype, n, stream);
    else
        gated_put_GELU_TANH(dgate, dup, gate, up, dy, dtype, n, stream);
    return true;
}

#endif
