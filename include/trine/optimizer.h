/* One step of an optimizer over all parameters of a model in one call, and what clips its gradients. What holds for every op is
 * in trine.h.
 *
 * The tensors at one place of the lists have one shape and one order of axes in memory, without gaps (UNSUPPORTED otherwise). Those
 * of different places may have any shapes and dtypes. All arithmetic is in f32, one rounding an operation, so that adamw, sgd and
 * scale_list give the same bits on every backend. A call takes at most TRINE_LIST_MAX tensors a list. */
#ifndef TRINE_OPTIMIZER_H
#define TRINE_OPTIMIZER_H

#include "trine/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/* AdamW. With g = gradient * grad_scale (negated if maximize is not 0):
 *   g += weight_decay * p            if l2 is not 0 (Kingma & Ba 2015, the penalty in the gradient)
 *   p -= lr * weight_decay * p       otherwise (Loshchilov & Hutter 2019, decoupled)
 *   m = beta1 m + (1 - beta1) g
 *   v = beta2 v + (1 - beta2) g^2
 *   w = the largest of w and v, if v_max is given (AMSGrad: Reddi, Kale & Kumar 2018); w = v otherwise
 *   p -= lr / (1 - beta1^step) * m / (sqrt(w) / sqrt(1 - beta2^step) + eps)
 *   param       f32, f16, bf16; updated
 *   grad        f32, f16, bf16, of any param
 *   m, v        f32; updated; zeros before the first step
 *   master      optional, for each param that is f16 or bf16: f32, updated; p is then the master weight, and param is not read
 *               but written, the rounded copy of it
 *   v_max       optional, for all params or for none: w, f32; updated; zeros before the first step. A NaN of v stays.
 *   grad_scale  optional, [1] f32: 1 if not given
 *   found_inf   optional, [1] f32: if it is not 0 nothing is read or written beside it
 *   step        of the bias correction, from 1: the number of this step among those taken. The host makes the corrections, in
 *               f64, so a recorded graph keeps its step.
 * INVALID_ARGUMENT unless lr, weight_decay and eps are finite and >= 0, beta1 and beta2 in [0, 1), step >= 1. */
typedef struct trine_adamw_args {
    trine_tensor_list param, grad, m, v, master, v_max;
    trine_tensor grad_scale, found_inf;
    double lr, beta1, beta2, eps, weight_decay;
    int64_t step;
    int32_t l2;
    int32_t maximize;
} trine_adamw_args;
TRINE_API trine_status trine_adamw(trine_stream *stream, const trine_adamw_args *args);

/* Stochastic gradient descent. With g = gradient * grad_scale (negated if maximize is not 0) + weight_decay * p:
 *   d = g                                        without momentum
 *   b = momentum b + (1 - dampening) g, d = b    with it; at step 1 b = g, and the buffer is not read
 *   d = g + momentum b                           if nesterov is not 0 (Sutskever et al. 2013, as PyTorch writes it)
 *   p -= lr d
 *   param, grad, master, grad_scale, found_inf   as for adamw
 *   buffer                                       f32, updated: b. Given if and only if momentum is not 0.
 *   step                                         from 1: only whether it is 1 matters
 * INVALID_ARGUMENT unless lr, momentum and weight_decay are finite and >= 0, dampening is finite, step >= 1, and for nesterov
 * momentum > 0 and dampening = 0. */
typedef struct trine_sgd_args {
    trine_tensor_list param, grad, buffer, master;
    trine_tensor grad_scale, found_inf;
    double lr, momentum, dampening, weight_decay;
    int64_t step;
    int32_t nesterov;
    int32_t maximize;
} trine_sgd_args;
TRINE_API trine_status trine_sgd(trine_stream *stream, const trine_sgd_args *args);

/* norm = sqrt of the sum of the squares of all elements of all x, 0 over none; no square overflows or vanishes on the way, however
 * large or small the elements are. clip = min(1, max_norm / (norm + 1e-6)), what gradients are multiplied by so that their norm
 * is at most max_norm (Pascanu, Mikolov & Bengio 2013; the constant is PyTorch's): grad_scale of the step, or scale_list's factor.
 * A NaN gives NaN in both; inf gives inf, and clip 0. Nothing waits for the host.
 *   x     f32, f16, bf16
 *   norm  [1] f32
 *   clip  optional, [1] f32. INVALID_ARGUMENT unless max_norm >= 0 then.
 * Deterministic: the sums of chunks of a fixed size are added in a fixed order. Workspace: those sums. */
typedef struct trine_global_norm_args {
    trine_tensor_list x;
    trine_tensor norm, clip;
    double max_norm;
} trine_global_norm_args;
TRINE_API trine_status trine_global_norm(trine_stream *stream, const trine_global_norm_args *args);

/* x *= factor, in f32 and rounded once, for all tensors of the list. If the factor is 1 they are left as they are.
 *   x       f32, f16, bf16; updated
 *   factor  [1] f32, on the device */
typedef struct trine_scale_list_args {
    trine_tensor_list x;
    trine_tensor factor;
} trine_scale_list_args;
TRINE_API trine_status trine_scale_list(trine_stream *stream, const trine_scale_list_args *args);

#ifdef __cplusplus
}
#endif
#endif
