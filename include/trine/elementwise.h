/* Elementwise ops. Sources: NumPy's broadcasting rules (axes count from the last; a missing one or one of size 1 repeats), IEEE
 * 754 arithmetic. Any strides. What holds for every op is in trine.h. */
#ifndef TRINE_ELEMENTWISE_H
#define TRINE_ELEMENTWISE_H

#include "trine/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/* y = x, converted to y's dtype by the rules of trine_convert: one rounding, saturating fp8, the same bits on every backend.
 *   x [shape broadcastable to y's], y [shape]; any dtypes but nf4. In place only if the dtypes are equal. */
typedef struct trine_copy_args {
    trine_tensor x, y;
} trine_copy_args;
TRINE_API trine_status trine_copy(trine_stream *stream, const trine_copy_args *args);

/* y = value, converted to y's dtype as trine_convert does from f64. y [any shape]: any dtype but nf4. */
typedef struct trine_fill_args {
    trine_tensor y;
    double value;
} trine_fill_args;
TRINE_API trine_status trine_fill(trine_stream *stream, const trine_fill_args *args);

/* y = a op b. a, b [broadcastable to y's shape], y [shape]. One dtype for all three: f64, f32, f16, bf16, i64, i32, i8, u8. In
 * place allowed, y as a or b of its own shape.
 *   integers           wrap; division truncates, x / 0 = 0 and smallest / -1 = smallest.
 *   minimum, maximum   NaN if either is NaN; -0 < +0. */
typedef struct trine_binary_args {
    trine_tensor a, b, y;
} trine_binary_args;
typedef trine_binary_args trine_add_args, trine_sub_args, trine_mul_args, trine_div_args, trine_minimum_args, trine_maximum_args;
TRINE_API trine_status trine_add(trine_stream *stream, const trine_add_args *args);
TRINE_API trine_status trine_sub(trine_stream *stream, const trine_sub_args *args);
TRINE_API trine_status trine_mul(trine_stream *stream, const trine_mul_args *args);
TRINE_API trine_status trine_div(trine_stream *stream, const trine_div_args *args);
TRINE_API trine_status trine_minimum(trine_stream *stream, const trine_minimum_args *args);
TRINE_API trine_status trine_maximum(trine_stream *stream, const trine_maximum_args *args);

/* add_scalar: y = x + value; scale: y = x * value. x [broadcastable to y's shape], y [shape], one dtype: f64, f32, f16, bf16,
 * i64, i32, i8, u8. `value` is first converted (to f32 for f16 and bf16, else to the dtype by trine_convert's rules); integers
 * wrap. In place allowed. */
typedef struct trine_scalar_args {
    trine_tensor x, y;
    double value;
} trine_scalar_args;
typedef trine_scalar_args trine_add_scalar_args, trine_scale_args;
TRINE_API trine_status trine_add_scalar(trine_stream *stream, const trine_add_scalar_args *args);
TRINE_API trine_status trine_scale(trine_stream *stream, const trine_scale_args *args);

/* Exchanges neighbours along the last axis: y[..., 2i] = x[..., 2i+1] and back; an odd tail is copied as it is.
 *   x, y [one shape, ndim >= 1], one dtype, any but nf4. In place allowed. */
typedef struct trine_swap_args {
    trine_tensor x, y;
} trine_swap_args;
TRINE_API trine_status trine_swap(trine_stream *stream, const trine_swap_args *args);

#ifdef __cplusplus
}
#endif
#endif
