/* Losses and their gradients. All ops are asynchronous in the stream's order; sums are made in a fixed order, so two runs give
 * the same bits. */
#ifndef TRINE_LOSS_H
#define TRINE_LOSS_H

#include "trine/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum trine_loss_reduction {
    TRINE_LOSS_MEAN,
    TRINE_LOSS_SUM,
    TRINE_LOSS_NONE,       /* one loss for each row (cross entropy) or element */
    TRINE_LOSS_BATCH_MEAN, /* kl_div only: the sum divided by the size of the first axis */
    TRINE_LOSS_REDUCTION_COUNT
} trine_loss_reduction;

/* What a cross entropy is made of, forward and backward:
 *   z = softcap > 0 ? softcap tanh(logits / softcap) : logits      lse = log sum exp z      p = exp(z - lse)
 *   loss = lse - (1 - s) z[label] - s mean(z) + z_loss lse^2       s = label_smoothing, 0 <= s <= 1; z_loss >= 0
 *   dz = p (1 + 2 z_loss lse) - s / C - (1 - s) [c = label]
 * Rows: logits [..., C], the last axis of stride 1 (UNSUPPORTED otherwise), f32, f16, bf16; C >= 1 unless there are no rows.
 * labels [...] i32 or i64. Statistics in f32.
 * Left out are, if `ignore` is 1, rows whose label is ignore_index (which need not be a class): loss 0, gradient 0, and MEAN
 * divides by the others' number; if there are none the mean is NaN.
 * A label that is neither a class nor ignored is a mistake in the data, which only the device sees: it is never used as an index,
 * the row's loss (so MEAN and SUM as well) and gradient are NaN. A row with a NaN or +inf, or of -inf alone, has the loss NaN.
 * lse and losses have any strides. Errors: INVALID_ARGUMENT for s, z_loss or softcap out of range (softcap >= 0), for an unknown
 * reduction or BATCH_MEAN, for ignore other than 0 and 1.
 * Sources: Szegedy et al., "Rethinking the Inception Architecture", 2015 (smoothing); Chowdhery et al., "PaLM", 2022 (z-loss);
 * Gemma Team, "Gemma 2", 2024 (softcap). As torch.nn.functional.cross_entropy where that has the attribute. */
typedef struct trine_cross_entropy_options {
    int64_t ignore_index;
    int32_t ignore;
    float label_smoothing, z_loss, softcap;
    trine_loss_reduction reduction;
} trine_cross_entropy_options;

/* loss f32: one element (ndim 0 or sizes of 1) for MEAN and SUM, [...] for NONE. lse [...] f32, optional: the backward wants it.
 * One read of the logits. Workspace: the rows' losses, and for rows that no block can hold their parts' sums. */
typedef struct trine_cross_entropy_args {
    trine_tensor logits, labels, loss, lse;
    trine_cross_entropy_options options;
} trine_cross_entropy_args;
TRINE_API trine_status trine_cross_entropy(trine_stream *stream, const trine_cross_entropy_args *args);

/* dlogits = dloss times the gradient, from the forward's logits, labels and lse, with the same options. dloss f32 as loss there;
 * dlogits of logits' shape and dtype, which it may be in place. One read, one write. */
typedef struct trine_cross_entropy_backward_args {
    trine_tensor logits, labels, lse, dloss, dlogits;
    trine_cross_entropy_options options;
} trine_cross_entropy_backward_args;
TRINE_API trine_status trine_cross_entropy_backward(trine_stream *stream, const trine_cross_entropy_backward_args *args);

/* A linear layer and its cross entropy, without ever holding all logits:
 *   x         [N, D], any strides; f32, f16, bf16
 *   weight    [C, D], x's dtype, any strides; C >= 1 unless N is 0
 *   loss      f32, and lse, f32, optional: as cross_entropy's, of logits = x weight^T rounded to x's dtype, with its labels [N] and
 *             options
 *   dx        optional [N, D] of x's dtype: the gradient of loss (for NONE: of the losses' sum) with respect to x
 *   dweight   optional [C, D] of x's dtype or f32: with respect to weight, summed up in f32
 * No backward is needed: scale dx and dweight by dloss where that is not 1. dx and dweight as d of matmul. Not in place.
 *
 * The rows are taken in chunks of `chunk` rows, or, where it is 0, of as many as give as many logits as x has elements, but
 * at least 64 MiB of them, and up to 256 MiB where that is less than a sixteenth of all. Workspace, as trine_query states it, is
 * the peak memory: chunk * C elements, 4 or 8 bytes a row, 4 bytes for each element of dweight unless that is f32, and what the
 * largest matrix product needs. Errors: INVALID_ARGUMENT as for cross_entropy, and for a negative chunk.
 * Source: Hsu et al., "Liger Kernel: Efficient Triton Kernels for LLM Training", 2024. */
typedef struct trine_linear_cross_entropy_args {
    trine_tensor x, weight, labels, loss, lse, dx, dweight;
    trine_cross_entropy_options options;
    int64_t chunk;
} trine_linear_cross_entropy_args;
TRINE_API trine_status trine_linear_cross_entropy(trine_stream *stream, const trine_linear_cross_entropy_args *args);

/* ---- Element by element: x and target of one shape and dtype, f32, f16, bf16; any strides ----
 *
 * loss f32: one element for MEAN (over all elements; of none NaN), SUM and BATCH_MEAN, x's shape for NONE. The backward gives
 * dx = dloss times the gradient with respect to x, of x's shape and dtype; dloss f32 as loss; dx may be x, target or dloss in
 * place. mse     (x - target)^2 huber   d = x - target: d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2). delta > 0
 * (INVALID_ARGUMENT otherwise). Source: Huber, "Robust Estimation of a Location Parameter", 1964. kl_div  x a logarithm of
 * probabilities. target (log target - x), 0 where target is 0; with log_target exp(target) (target - x), 0 where target is -inf.
 * As torch.nn.functional.kl_div. */
typedef struct trine_mse_args {
    trine_tensor x, target, loss;
    trine_loss_reduction reduction;
} trine_mse_args;
TRINE_API trine_status trine_mse(trine_stream *stream, const trine_mse_args *args);

typedef struct trine_mse_backward_args {
    trine_tensor x, target, dloss, dx;
    trine_loss_reduction reduction;
} trine_mse_backward_args;
TRINE_API trine_status trine_mse_backward(trine_stream *stream, const trine_mse_backward_args *args);

typedef struct trine_huber_args {
    trine_tensor x, target, loss;
    trine_loss_reduction reduction;
    float delta;
} trine_huber_args;
TRINE_API trine_status trine_huber(trine_stream *stream, const trine_huber_args *args);

typedef struct trine_huber_backward_args {
    trine_tensor x, target, dloss, dx;
    trine_loss_reduction reduction;
    float delta;
} trine_huber_backward_args;
TRINE_API trine_status trine_huber_backward(trine_stream *stream, const trine_huber_backward_args *args);

typedef struct trine_kl_div_args {
    trine_tensor x, target, loss;
    trine_loss_reduction reduction;
    int32_t log_target;
} trine_kl_div_args;
TRINE_API trine_status trine_kl_div(trine_stream *stream, const trine_kl_div_args *args);

typedef struct trine_kl_div_backward_args {
    trine_tensor x, target, dloss, dx;
    trine_loss_reduction reduction;
    int32_t log_target;
} trine_kl_div_backward_args;
TRINE_API trine_status trine_kl_div_backward(trine_stream *stream, const trine_kl_div_backward_args *args);

#ifdef __cplusplus
}
#endif
#endif
