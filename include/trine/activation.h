/* Activations. The same enum serves matmul's epilogue. What holds for every op is in trine.h. */
#ifndef TRINE_ACTIVATION_H
#define TRINE_ACTIVATION_H

#include "trine/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum trine_activation_kind {
    TRINE_ACT_IDENTITY = 0,
    TRINE_ACT_RELU,       /* max(x, 0); relu'(0) = 0; NaN stays NaN */
    TRINE_ACT_LEAKY_RELU, /* x > 0 ? x : alpha x; slope alpha at 0. Maas et al. 2013 */
    TRINE_ACT_SIGMOID,    /* 1 / (1 + exp(-x)) */
    TRINE_ACT_TANH,
    TRINE_ACT_SILU,        /* x sigmoid(x), also called swish. Elfwing et al. 2017 */
    TRINE_ACT_GELU,        /* x Phi(x), by erf. Hendrycks & Gimpel 2016 */
    TRINE_ACT_GELU_TANH,   /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), same paper */
    TRINE_ACT_HARDSIGMOID, /* clamp(x/6 + 1/2, 0, 1); slope 1/6 inside (-3, 3), else 0. Howard et al. 2019 */
    TRINE_ACT_HARDSWISH,   /* x hardsigmoid(x); slope 0 at -3, 1 at 3. Howard et al. 2019 */
    TRINE_ACT_ELU,         /* x > 0 ? x : alpha (exp(x) - 1); slope alpha at 0. Clevert et al. 2015 */
    TRINE_ACT_SELU,        /* 1.0507009873554805 (x > 0 ? x : 1.6732632423543772 (exp(x) - 1)). Klambauer et al. 2017 */
    TRINE_ACT_SOFTPLUS,    /* log(1 + exp(x)), without overflow. Dugas et al. 2000 */
    TRINE_ACT_MISH,        /* x tanh(softplus(x)). Misra 2019 */
    TRINE_ACT_ABS,         /* |x|; slope 0 at 0 */
    TRINE_ACT_EXP,
    TRINE_ACT_LOG,   /* natural; log(0) = -inf, NaN for x < 0; slope 1/x, for x < 0 too */
    TRINE_ACT_SQRT,  /* NaN for x < 0, its slope too; slope inf at 0 */
    TRINE_ACT_RSQRT, /* 1 / sqrt(x); inf at +0; NaN for x < 0, its slope too */
    TRINE_ACT_SQUARE,
    TRINE_ACT_COUNT
} trine_activation_kind;

/* "relu", "gelu_tanh", ...; "?" for a number that is none. */
TRINE_API const char *trine_activation_name(trine_activation_kind kind);

/* y = f(x). x, y [one shape], one dtype: f32, f16, bf16; any strides. In place allowed. alpha: leaky_relu's slope and elu's
 * scale, taken as it is (0 included); the others ignore it. NaN gives NaN; at +-inf a function has its limit. INVALID_ARGUMENT
 * for an unknown kind. */
typedef struct trine_activation_args {
    trine_tensor x, y;
    trine_activation_kind kind;
    float alpha;
} trine_activation_args;
TRINE_API trine_status trine_activation(trine_stream *stream, const trine_activation_args *args);

/* dx = dy f'(x), from the forward's INPUT x, with the kind and alpha of the forward. x, dy, dx [one shape], one dtype: f32, f16,
 * bf16; any strides. In place allowed, dx as dy or x. Slopes at kinks and outside of a function's domain are with the enum; at
 * +-inf a slope has its limit, and NaN gives NaN. INVALID_ARGUMENT for an unknown kind. */
typedef struct trine_activation_backward_args {
    trine_tensor x, dy, dx;
    trine_activation_kind kind;
    float alpha;
} trine_activation_backward_args;
TRINE_API trine_status trine_activation_backward(trine_stream *stream, const trine_activation_backward_args *args);

#ifdef __cplusplus
}
#endif
#endif
