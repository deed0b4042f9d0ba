/* Running sums, maxima and products along one axis. Sources: Blelloch, "Prefix Sums and Their Applications", 1990; Merrill &
 * Garland, "Single-pass Parallel Prefix Scan with Decoupled Look-back", 2016. */
#ifndef TRINE_SCAN_H
#define TRINE_SCAN_H

#include "trine/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum trine_scan_kind { TRINE_SCAN_SUM, TRINE_SCAN_MAX, TRINE_SCAN_MUL, TRINE_SCAN_COUNT } trine_scan_kind;

/* y[i] = x[0] op ... op x[i] along the axis; exclusive: x[0] op ... op x[i-1], and where nothing stands before i the neutral
 * element, 0, -inf or 1; reverse: from the other end, x[i] op ... op x[N-1] (exclusive: from i + 1).
 *   x, y one shape, ndim >= 1, one dtype: f32, f16, bf16, and for sums i32 and i64, which wrap. axis counts from the end when negative. Any strides. In place allowed.
 *   exclusive, reverse are 0 or 1.
 * In MAX a NaN wins from where it stands. Computed in f32 and rounded once an element, so a 16-bit result may be inf where the
 * f32 is finite. Asynchronous; workspace for rows that several blocks or threads share.
 * Deterministic: partial results are combined from left to right, or in a tree that depends on the shape and the device alone. A
 * block that looks back takes over the latest known prefix and adds the totals behind it in their order, which is how that
 * prefix came about itself: the bits do not depend on where it found it.
 * Errors: INVALID_ARGUMENT for an axis outside x's axes, an unknown kind, another one than a sum of integers, exclusive or reverse other than 0 and 1. */
typedef struct trine_scan_args {
    trine_tensor x, y;
    int32_t axis;
    trine_scan_kind kind;
    int32_t exclusive, reverse;
} trine_scan_args;
TRINE_API trine_status trine_scan(trine_stream *stream, const trine_scan_args *args);

#ifdef __cplusplus
}
#endif
#endif
