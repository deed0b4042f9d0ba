/* Gated activations: one half of a layer's output, activated, multiplies the other. Dauphin et al. 2017 (GLU); Shazeer 2020,
 * "GLU Variants Improve Transformer". Of the activation's kind: SIGMOID is GLU, RELU ReGLU, GELU and GELU_TANH GEGLU, SILU
 * SwiGLU, IDENTITY the bilinear layer; any other is allowed too. */
#ifndef TRINE_GATED_H
#define TRINE_GATED_H

#include "trine/activation.h"

#ifdef __cplusplus
extern "C" {
#endif

/* y = act(gate) up. One dtype: f32, f16, bf16; any strides on the inputs, y without self-overlap. Computed in f32, rounded once.
 *   two tensors   gate, up, y [..., N], one shape of any number of axes
 *   packed        up is not given; gate [..., 2 N] (ndim >= 1) holds both halves along its last axis, the gate first, with
 *                 up_first the other way round; y [..., N]
 * y may be gate or up in place (two tensors). kind, alpha: as in trine_activation. Asynchronous in the stream's order; no
 * workspace. Errors: INVALID_ARGUMENT for an unknown kind, shapes or dtypes that don't go together. */
typedef struct trine_gated_args {
    trine_tensor gate, up, y;
    trine_activation_kind kind;
    float alpha;
    int32_t up_first;
} trine_gated_args;
TRINE_API trine_status trine_gated(trine_stream *stream, const trine_gated_args *args);

/* dgate = dy up act'(gate), dup = dy act(gate), from the forward's inputs; dy [..., N]. With two tensors dgate and dup are [...,
 * N] and both given. Packed, up and dup are not given, and dgate [..., 2 N] holds both gradients where gate holds the halves.
 * dgate and dup may each be one of gate, up and dy in place. The rest as above. */
typedef struct trine_gated_backward_args {
    trine_tensor gate, up, dy, dgate, dup;
    trine_activation_kind kind;
    float alpha;
    int32_t up_first;
} trine_gated_backward_args;
TRINE_API trine_status trine_gated_backward(trine_stream *stream, const trine_gated_backward_args *args);

#ifdef __cplusplus
}
#endif
#endif
