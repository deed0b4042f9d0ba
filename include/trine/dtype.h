/* Element types and exact conversions between them on the host. */
#ifndef TRINE_DTYPE_H
#define TRINE_DTYPE_H

#include <stddef.h>
#include <stdint.h>

#include "trine/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum trine_dtype {
    TRINE_DTYPE_NONE = 0, /* an optional tensor that is not given */
    TRINE_F64,
    TRINE_F32,
    TRINE_F16,
    TRINE_BF16,
    TRINE_F8_E4M3FN,   /* OCP FP8: bias 7, no inf, NaN = S.1111.111, largest 448 */
    TRINE_F8_E5M2,     /* OCP FP8: bias 15, inf and NaN as IEEE, largest 57344 */
    TRINE_F8_E4M3FNUZ, /* AMD MI300: bias 8, no inf, no -0, NaN = 0x80, largest 240 */
    TRINE_F8_E5M2FNUZ, /* AMD MI300: bias 16, no inf, no -0, NaN = 0x80, largest 57344 */
    TRINE_I64,
    TRINE_I32,
    TRINE_I8,
    TRINE_U8,
    TRINE_BOOL, /* one byte; 0 is false, every other byte is true, 1 is written */
    TRINE_NF4,  /* two 4-bit codes a byte, the high nibble first */
    TRINE_DTYPE_COUNT
} trine_dtype;

/* "f32", "bf16", "f8_e4m3fn", ...; "?" for a number that is no dtype. */
TRINE_API const char *trine_dtype_name(trine_dtype dtype);
/* The dtype of that name, TRINE_DTYPE_NONE if none has it. */
TRINE_API trine_dtype trine_dtype_from_name(const char *name);
/* Bits of one element: 64 ... 8, 4 for nf4, 0 for a number that is no dtype. */
TRINE_API int32_t trine_dtype_bits(trine_dtype dtype);

/* Scalar conversions, by bits.
 *   to f32/f64   exact.
 *   from f32     round to nearest, ties to even, subnormals kept.
 *   f16, bf16    overflow gives inf, NaN gives a quiet NaN of the same sign (0x7e00 / 0x7fc0 | sign).
 *   fp8          saturating: inf and everything above the largest finite value give that value.
 *                NaN gives 0x7f (e4m3fn), 0x7e (e5m2), 0x80 (both fnuz), whatever its sign.
 *                -0 gives 0x80 in fn and e5m2 and 0x00 in fnuz.
 * Sources: IEEE 754-2008; OCP 8-bit Floating Point Specification 1.0; "8-bit Numerical Formats for Deep
 * Neural Networks" (Noune et al., 2022) for fnuz. */
TRINE_API float trine_f16_to_f32(uint16_t bits);
TRINE_API uint16_t trine_f32_to_f16(float value);
TRINE_API float trine_bf16_to_f32(uint16_t bits);
TRINE_API uint16_t trine_f32_to_bf16(float value);
TRINE_API float trine_f8_to_f32(uint8_t bits, trine_dtype fp8);
TRINE_API uint8_t trine_f32_to_f8(float value, trine_dtype fp8);

/* Converts n elements of host memory. Any pair of dtypes but nf4. One rounding, whatever the pair (f64 and
 * i64 go to the narrow floats without a second one). Float to integer truncates towards zero and saturates,
 * NaN gives 0; integer to integer keeps the low bits (two's complement); to bool is (x != 0), NaN is true.
 * src and dst may not overlap unless they are the same pointer and the sizes are equal.
 * Errors: INVALID_ARGUMENT for an unknown dtype, nf4, a negative n, or NULL with n > 0. */
TRINE_API trine_status trine_convert(const void *src, trine_dtype src_dtype, void *dst, trine_dtype dst_dtype, int64_t n);

#ifdef __cplusplus
}
#endif
#endif
