/* Activations on spans, for the activation family and for epilogues of others. Compiled once a level. */
#ifndef TRINE_CPU_ACTIVATION_MATH_H
#define TRINE_CPU_ACTIVATION_MATH_H

#include <stdbool.h>
#include <stdint.h>

#include "backends/cpu/level.h"
#include "trine/activation.h"

/* values[i] = f(values[i]), n of any size. Errors as in backends/simt/activation_math.h, whose formulas these are. kind must be
 * one of the enum's. */
#define activate_span TRINE_CPU(activate_span)
void activate_span(trine_activation_kind kind, float alpha, float *values, int64_t n);
/* y[i] = f(x[i]), as accurate as elements of dtype, which is f32, f16 or bf16, have to be; y may be x. */
#define activate_values TRINE_CPU(activate_values)
void activate_values(trine_activation_kind kind, float alpha, trine_dtype dtype, float *y, const float *x, int64_t n);
/* y[i] = f(x[i]) factor[i] straight from memory to whole lines of it, of f32, f16 or bf16, n a multiple of 32, y on a line; false:
 * not done, for there is no such loop. y may be x or factor. */
#define activate_product_put TRINE_CPU(activate_product_put)
bool activate_product_put(trine_activation_kind kind, float alpha, void *y, const void *x, const void *factor, trine_dtype dtype,
                          int64_t n, bool stream);
/* dup[i] = dy[i] f(gate[i]), dgate[i] = dy[i] up[i] f'(gate[i]); dtype as above. */
#define activate_gated TRINE_CPU(activate_gated)
void activate_gated(trine_activation_kind kind, float alpha, trine_dtype dtype, float *dgate, float *dup, const float *gate,
                    const float *up, const float *dy, int64_t n);
/* The same straight from memory to whole lines of it, of f32, f16 or bf16, n a multiple of 32; false: not done, for there is no
 * such loop. dgate and dup may be one of the others each. */
#define activate_gated_put TRINE_CPU(activate_gated_put)
bool activate_gated_put(trine_activation_kind kind, void *dgate, void *dup, const void *gate, const void *up, const void *dy,
                        trine_dtype dtype, int64_t n, bool stream);

#endif
