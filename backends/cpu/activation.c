/* Activations, forward and backward. Bound by bytes for the cheap kinds and, with AVX-512, for the commonest of the others
 * (activation_pieces.h), else by arithmetic (15 to 35 vector instructions an element and lane) where elements have 16 bits. Each kind is
 * a loop over a span (span.h) that the compiler vectorises; a table finds it.
 *
 * The formulas are those of backends/simt/activation_math.h: with a = |x|, silu, gelu and gelu_tanh are max(x, 0) - a tail(a),
 * and their slopes are h at -a and 1 - h at a, so that nothing overflows and the tails are accurate. */
#include "backends/cpu/activation_math.h"

#include "backends/cpu/activation_pieces.h"
#include "backends/cpu/lanes_store.h"
#include "backends/cpu/vmath.h"
#include "backends/cpu/walk.h"

/* Beyond these, e^-x, Phi(-x) and e^-(gelu_tanh's argument at x) are 0 in f32, and tanh(softplus(x)) is 1. */
#define EXP_END 150.0f
#define GELU_END 14.5f
#define GELU_TANH_END 11.0f
#define MISH_END 25.0f
#define SELU_SCALE 1.0507009873554805f
#define SELU_NEGATIVE 1.7580993408473766f /* times 1.6732632423543772 */
/* 2 sqrt(2/pi) (x + 0.044715 x^3): gelu_tanh(x) is x sigmoid of it */
#define GELU_TANH_1 1.5957691216057308f
#define GELU_TANH_3 0.0713548162726009f

/* ---- Functions ---- */

/* NaN passes, and limits may have any sign. Where NaN arrives by another way, vm_min and positive() are cheaper. */
static inline float at_most(float x, float high) { return x > high ? high : x; }

static inline float at_least(float x, float low) { return x < low ? low : x; }

/* max(x, 0), as integers: see vm_min. */
static inline float positive(float x)
{
    int32_t bits = (int32_t)vm_bits(x);
    return vm_float((uint32_t)(bits > 0 ? bits : 0));
}

/* Phi(-a) e^(a^2/2) for 0 <= a <= 14.5: minimax, relative error 2^-27.3, all coefficients positive. */
static inline float normal_tail(float a)
{
    float p = TRINE_FMA(0.004117830547f, a, 0.04064291459f);
    float q = TRINE_FMA(0.01032175091f, a, 0.1018831179f);
    p = TRINE_FMA(p, a, 0.1832630099f);
    q = TRINE_FMA(q, a, 0.4695444613f);
    p = TRINE_FMA(p, a, 0.4383312128f);
    q = TRINE_FMA(q, a, 1.202616728f);
    p = TRINE_FMA(p, a, 0.5f);
    q = TRINE_FMA(q, a, 1.67454741f);
    q = TRINE_FMA(q, a, 1.0f);
    return p / q;
}

/* |v(x)|, v the argument of gelu_tanh's sigmoid; and |x| v'(x) for x within the limit. */
static inline float gelu_tanh_argument(float x) { return fabsf(x) * TRINE_FMA(GELU_TANH_3, x * x, GELU_TANH_1); }

static inline float gelu_tanh_rise(float a) { return a * TRINE_FMA(3.0f * GELU_TANH_3, a * a, GELU_TANH_1); }

/* max(x, 0) - |x| tail, without inf * 0 where the tail has ended. */
static inline float ramp_less(float x, float end, float tail) { return TRINE_FMA(-vm_min(fabsf(x), end), tail, positive(x)); }

static inline float silu(float x)
{
    float z = vm_exp_minus_abs(x);
    return ramp_less(x, EXP_END, z / (1.0f + z));
}

static inline float gelu(float x) { return at_least(x, -8.0f) * vm_normal_cdf(x); }

static inline float gelu_tanh(float x)
{
    float z = vm_exp_minus_abs(gelu_tanh_argument(x));
    return ramp_less(x, GELU_TANH_END, z / (1.0f + z));
}

static inline float hardswish(float x)
{
    float c = at_least(x, -3.0f);
    return c * (at_most(c + 3.0f, 6.0f) * (1.0f / 6.0f));
}

/* With w = e^x and n = w (w + 2), tanh(softplus(x)) = n / (n + 2). */
static inline float mish(float x)
{
    float w = vm_exp(vm_min(x, MISH_END));
    float n = TRINE_FMA(w, w, w + w);
    return at_least(x, -EXP_END) * (n / (n + 2.0f));
}

/* ---- Slopes ---- */

static inline float step(float x, float above, float below)
{
    float y = x > 0.0f ? above : below;
    return x != x ? x : y;
}

static inline float mirrored(float x, float h) { return x < 0.0f ? h : 1.0f - h; }

/* scale e^-|x| / (1 + e^-|x|)^2 */
static inline float bell(float scale, float x)
{
    float z = vm_exp_minus_abs(x);
    float d = 1.0f + z;
    return scale * z / (d * d);
}

/* sigmoid(-|v|) (1 - rise sigmoid(|v|)), the slope of x sigmoid(v(x)) at -|x|; rise = |x| v'(x). */
static inline float gate_slope(float v, float rise)
{
    float z = vm_exp_minus_abs(v);
    float r = 1.0f / (1.0f + z);
    return z * r * TRINE_FMA(-rise, r, 1.0f);
}

static inline float silu_slope(float x) { return mirrored(x, gate_slope(x, vm_min(fabsf(x), EXP_END))); }

static inline float gelu_slope(float x)
{
    float a = vm_min(fabsf(x), GELU_END);
    return mirrored(x, vm_exp_minus_abs(0.5f * x * x) * TRINE_FMA(-0.3989422804014327f, a, normal_tail(a)));
}

/* The same for x of 16 bits, whose relative tolerance is nine times f32's: without an exponential and a quotient, as vm_normal_cdf.
 * |x| < 2.34: 1/2 + x q(x^2), q of degree 8. Else 1 + h or -h, h = a phi(a) - Phi(-a) = ((6.9 - a) p(a))^8, p of degree 5; 0 from
 * 6.9 on. Over all f16 and bf16 off by at most 48 % of 36 2^-23 |slope| + 1e-7, for which both are fitted (58 % without FMA). */
static inline float gelu_slope_of_16(float x)
{
    float a = vm_min(fabsf(x), 6.9f), u = x * x;
    float t = TRINE_FMA(4.03673002e-05f, a, -0.000615126221f);
    t = TRINE_FMA(t, a, 0.00548391882f);
    t = TRINE_FMA(t, a, -0.032712765f);
    t = TRINE_FMA(t, a, 0.0882388502f);
    t = TRINE_FMA(t, a, 0.069078669f);
    t *= 6.9f - a;
    t *= t;
    t *= t;
    float h = t * t;
    float large = x > 0.0f ? 1.0f + h : 0.0f - h;
    float q = TRINE_FMA(1.00116075e-08f, u, -3.97594533e-07f);
    q = TRINE_FMA(q, u, 7.93667368e-06f);
    q = TRINE_FMA(q, u, -0.000108700588f);
    q = TRINE_FMA(q, u, 0.00114464201f);
    q = TRINE_FMA(q, u, -0.00948632788f);
    q = TRINE_FMA(q, u, 0.059832558f);
    q = TRINE_FMA(q, u, -0.265958428f);
    q = TRINE_FMA(q, u, 0.797884166f);
    float small = TRINE_FMA(q, x, 0.5f);
    return fabsf(x) >= 2.34f ? large : small; /* NaN comes by way of small */
}

static inline float gelu_tanh_slope(float x)
{
    return mirrored(x, gate_slope(gelu_tanh_argument(x), gelu_tanh_rise(vm_min(fabsf(x), GELU_TANH_END))));
}

static inline float hardswish_slope(float x)
{
    float inside = (x + x + 3.0f) * (1.0f / 6.0f); /* the sum is exact near -3/2 */
    float outside = step(x, 1.0f, 0.0f);
    return fabsf(x) < 3.0f ? inside : outside;
}

/* n / (n + 2) + x 4 w (w + 1) / (n + 2)^2 */
static inline float mish_slope(float x)
{
    float c = at_least(x, -EXP_END);
    float w = vm_exp(vm_min(x, MISH_END));
    float n = TRINE_FMA(w, w, w + w);
    float r = 1.0f / (n + 2.0f);
    return r * TRINE_FMA(4.0f * at_most(c, MISH_END) * r, TRINE_FMA(w, w, w), n);
}

/* The chain keeps the sign of an infinite root: rsqrt(-0) is -inf, and its slope +inf. */
static inline float rsqrt_slope(float x)
{
    float r = vm_rsqrt(x);
    return -0.5f * r * r * r;
}

/* ---- One loop a kind ---- */

typedef void (*value_fn)(float alpha, float *y, const float *x, int64_t n);
typedef void (*put_fn)(float alpha, char *y, const char *x, const char *dy, trine_dtype dtype, int64_t n, bool stream);
typedef void (*slope_fn)(float alpha, float *dx, const float *x, const float *dy, int64_t n);

/* The same from memory to y, n a multiple of LANES_PUT, a line of 16 bits at a time: memory is read, computed on and written at
 * once rather than by turns. x is that of the formula; dy: NULL, or what a slope is multiplied by. */
#define PUT_AS(type, formula, slopes) \
    for (int64_t i = 0; i < n; i += LANES_PUT) { \
        float in[LANES_PUT], in_dy[LANES_PUT], out[LANES_PUT]; \
        for (int half = 0; half < LANES_PUT; half += LANES) { \
            if (asks) lanes_ask_at(from, type, i + half, ASK_NEAR); \
            if (asks && (slopes)) lanes_ask_at(dy, type, i + half, ASK_NEAR); \
            const f32x16 v = lanes_load(from, type, i + half), w = (slopes) ? lanes_load(dy, type, i + half) : v; \
            memcpy(in + half, &v, sizeof v); \
            memcpy(in_dy + half, &w, sizeof w); \
        } \
        for (int k = 0; k < LANES_PUT; k++) { \
            float x = in[k]; \
            out[k] = (slopes) ? in_dy[k] * (formula) : (formula); \
        } \
        lanes_put(y + i * lanes_size(type), type, lanes_load(out, TRINE_F32, 0), lanes_load(out, TRINE_F32, LANES), stream); \
    }
#define PUT(name, light, formula, slopes) \
    static __attribute__((unused)) void name(float alpha, char *y, const char *from, const char *dy, trine_dtype dtype, \
                                             int64_t n, bool stream) \
    { \
        const bool asks = asks_in_run(n * lanes_size(dtype)); \
        (void)alpha, (void)dy; \
        if (dtype == TRINE_F32) \
            PUT_AS(TRINE_F32, formula, slopes) \
        else if (dtype == TRINE_BF16 && (light)) \
            PUT_AS(TRINE_BF16, formula, slopes) \
        else if (light) \
            PUT_AS(TRINE_F16, formula, slopes) \
    }

/* light: little arithmetic, so that 16-bit types are put too; what has more of it runs 5 to 12 % faster over spans there.
 * ivdep: outputs are inputs, or apart from them. */
#define VALUES(name, light, value) \
    PUT(put_value_##name, light, value, false) \
    PUT(put_product_##name, light, value, true) \
    enum { name##_is_light = (light) }; \
    static void value_##name(float alpha, float *y, const float *from, int64_t n) \
    { \
        (void)alpha; \
        _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) \
        { \
            float x = from[i]; \
            y[i] = value; \
        } \
    }
#define SLOPES(name, light, slope) \
    PUT(put_slope_##name, light, slope, true) \
    static void slope_##name(float alpha, float *dx, const float *from, const float *dy, int64_t n) \
    { \
        (void)alpha; \
        _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) \
        { \
            float x = from[i]; \
            dx[i] = dy[i] * (slope); \
        } \
    }
#define KIND(name, light, value, slope) \
    VALUES(name, light, value) \
    SLOPES(name, light, slope)
KIND(IDENTITY, true, x, step(x, 1.0f, 1.0f))
KIND(RELU, true, at_least(x, 0.0f), step(x, 1.0f, 0.0f))
KIND(LEAKY_RELU, true, x > 0.0f ? x : alpha * x, step(x, 1.0f, alpha))
KIND(SIGMOID, false, vm_sigmoid(x), bell(1.0f, x))
KIND(TANH, false, vm_tanh(x), bell(4.0f, 2.0f * x))
KIND(SILU, false, silu(x), silu_slope(x))
VALUES(GELU, false, gelu(x))
#if !BY_PIECES
SLOPES(GELU, false, gelu_slope(x))
SLOPES(GELU_OF_16, true, gelu_slope_of_16(x))
#endif
KIND(GELU_TANH, false, gelu_tanh(x), gelu_tanh_slope(x))
KIND(HARDSIGMOID, true, at_most(at_least(x + 3.0f, 0.0f), 6.0f) * (1.0f / 6.0f),
     fabsf(x) < 3.0f ? 1.0f / 6.0f : step(x, 0.0f, 0.0f))
KIND(HARDSWISH, true, hardswish(x), hardswish_slope(x))
KIND(ELU, false, x > 0.0f ? x : alpha * vm_expm1(at_most(x, 0.0f)), x > 0.0f ? 1.0f : alpha * vm_exp(at_most(x, 0.0f)))
KIND(SELU, false, x > 0.0f ? SELU_SCALE * x : SELU_NEGATIVE * vm_expm1(at_most(x, 0.0f)),
     x > 0.0f ? SELU_SCALE : SELU_NEGATIVE * vm_exp(at_most(x, 0.0f)))
KIND(SOFTPLUS, false, vm_softplus(x), vm_sigmoid(x))
KIND(MISH, false, mish(x), mish_slope(x))
KIND(ABS, true, fabsf(x), step(x, 1.0f, x < 0.0f ? -1.0f : 0.0f))
KIND(EXP, false, vm_exp(x), vm_exp(x))
KIND(LOG, false, vm_log(x), 1.0f / x)
KIND(SQRT, false, sqrtf(x), 0.5f * vm_rsqrt(x))
KIND(RSQRT, false, vm_rsqrt(x), rsqrt_slope(x))
KIND(SQUARE, true, (x * x), x + x)

static const struct kind {
    value_fn value;
    slope_fn slope;
    put_fn put_value, put_product, put_slope; /* put_product: the value times dy */
    bool light;
} kinds[TRINE_ACT_COUNT] = {
/* GCC 12 makes less of these in a put: 80 and 88 % of a copy rather than 91. */
#define ROW_BY_SPANS(name) [TRINE_ACT_##name] = {value_##name, slope_##name, NULL, NULL, put_slope_##name, name##_is_light}
#define ROW(name) \
    [TRINE_ACT_##name] = {value_##name, slope_##name, put_value_##name, put_product_##name, put_slope_##name, name##_is_light}
    ROW(IDENTITY),    ROW(RELU),      ROW(LEAKY_RELU), ROW(SIGMOID),
    ROW(TANH),        ROW(SILU),      ROW(GELU),       ROW_BY_SPANS(GELU_TANH),
    ROW(HARDSIGMOID), ROW(HARDSWISH), ROW(ELU),        ROW_BY_SPANS(SELU),
    ROW(SOFTPLUS),    ROW(MISH),      ROW(ABS),        ROW(EXP),
    ROW(LOG),         ROW(SQRT),      ROW(RSQRT),      ROW(SQUARE),
};

/* The same for a dtype: in 16 bits some have loops of their own. */
static const struct kind *kind_of(trine_activation_kind kind, trine_dtype dtype)
{
#if BY_PIECES
#define ROW_OF_16(name) \
    [TRINE_ACT_##name] = { \
        value_##name##_OF_16, \
        slope_##name##_OF_16, \
        put_value_##name##_OF_16, \
        put_product_##name##_OF_16, \
        put_slope_##name##_OF_16, \
        true \
    }
    static const struct kind of_16[TRINE_ACT_COUNT] = {
        ROW_OF_16(SILU),
        ROW_OF_16(GELU),
        ROW_OF_16(GELU_TANH),
        [TRINE_ACT_TANH] = {value_TANH_OF_16, slope_TANH, put_value_TANH_OF_16, put_product_TANH_OF_16, NULL, true},
    };
#else
    static const struct kind of_16[TRINE_ACT_COUNT] = {
        [TRINE_ACT_GELU] = {value_GELU, slope_GELU_OF_16, NULL, NULL, put_slope_GELU_OF_16, true},
    };
#endif
    return dtype != TRINE_F32 && of_16[kind].value ? &of_16[kind] : &kinds[kind];
}

void activate_span(trine_activation_kind kind, float alpha, float *values, int64_t n)
{
    kinds[kind].value(alpha, values, values, n);
}

void activate_values(trine_activation_kind kind, float alpha, trine_dtype dtype, float *y, const float *x, int64_t n)
{
    kind_of(kind, dtype)->value(alpha, y, x, n);
}

bool activate_product_put(trine_activation_kind kind, float alpha, void *y, const void *x, const void *factor, trine_dtype dtype,
                          int64_t n, bool stream)
{
    const struct kind *const k = kind_of(kind, dtype);
    if (!k->put_product || !(dtype == TRINE_F32 || k->light)) return false;
    k->put_product(alpha, y, x, factor, dtype, n, stream);
    return true;
}

#include "backends/cpu/activation_gated.h"

/* ---- The ops ---- */

typedef struct context {
    trine_dtype dtype;
    trine_activation_kind kind;
    float alpha;
} context;

static bool may_put(const context *c, const struct kind *k) { return LANES_PUTS && (c->dtype == TRINE_F32 || k->light); }

static void value_run(const void *user, char *const *p, const int64_t *step, int64_t n, bool stream)
{
    const context *c = user;
    const int64_t size = trine_dtype_bits(c->dtype) / 8;
    const struct kind *const k = kind_of(c->kind, c->dtype);
    SPAN_BUFFER(x);
    SPAN_BUFFER(y);
    const bool put = may_put(c, k) && k->put_value && step[0] == 1 && step[1] == 1;
    for (int64_t i = 0, m; i < n; i += m) {
        char *to = p[0] + i * step[0] * size;
        const int64_t lines = lanes_to_put(put, to, c->dtype, n - i, &m);
        if (lines > 0) {
            m = lines;
            k->put_value(c->alpha, to, p[1] + i * size, NULL, c->dtype, m, stream);
            continue;
        }
        const float *from = cpu_load(x, p[1] + i * step[1] * size, c->dtype, m, step[1]);
        k->value(c->alpha, y, from, m);
        cpu_store(to, c->dtype, y, m, step[0], stream);
    }
}

static void slope_run(const void *user, char *const *p, const int64_t *step, int64_t n, bool stream)
{
    const context *c = user;
    const int64_t size = trine_dtype_bits(c->dtype) / 8;
    const struct kind *const k = kind_of(c->kind, c->dtype);
    SPAN_BUFFER(x);
    SPAN_BUFFER(dy);
    SPAN_BUFFER(dx);
    const bool put = may_put(c, k) && k->put_slope && step[0] == 1 && step[1] == 1 && step[2] == 1;
    for (int64_t i = 0, m; i < n; i += m) {
        char *to = p[0] + i * step[0] * size;
        const int64_t lines = lanes_to_put(put, to, c->dtype, n - i, &m);
        if (lines > 0) {
            m = lines;
            k->put_slope(c->alpha, to, p[1] + i * size, p[2] + i * size, c->dtype, m, stream);
            continue;
        }
        const float *from = cpu_load(x, p[1] + i * step[1] * size, c->dtype, m, step[1]);
        const float *from_dy = cpu_load(dy, p[2] + i * step[2] * size, c->dtype, m, step[2]);
        k->slope(c->alpha, dx, from, from_dy, m);
        cpu_store(to, c->dtype, dx, m, step[0], stream);
    }
}

trine_status TRINE_CPU(activation)(trine_call *call, const trine_activation_args *a)
{
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, 0);
    const cpu_walk w = cpu_walk_make((const trine_tensor *[]){&a->y, &a->x}, 2);
    cpu_walk_run(&w, value_run, &(context){a->x.dtype, a->kind, a->alpha});
    return TRINE_OK;
}

trine_status TRINE_CPU(activation_backward)(trine_call *call, const trine_activation_backward_args *a)
{
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, 0);
    const cpu_walk w = cpu_walk_make((const trine_tensor *[]){&a->dx, &a->x, &a->dy}, 3);
    cpu_walk_run(&w, slope_run, &(context){a->x.dtype, a->kind, a->alpha});
    return TRINE_OK;
}
