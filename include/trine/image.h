/* Images: u8 (0 to 255) or floats (f32, f16, bf16; nominal range 0 to 1, which nothing enforces). Results in u8 are the same
 * bytes on every backend. What holds for every op is in trine.h. */
#ifndef TRINE_IMAGE_H
#define TRINE_IMAGE_H

#include "trine/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum trine_image_layout {
    TRINE_IMAGE_HWC = 0, /* [..., H, W, C], interleaved */
    TRINE_IMAGE_CHW      /* [..., C, H, W], planar */
} trine_image_layout;

typedef enum trine_gray_weights {
    TRINE_GRAY_BT601 = 0, /* 0.299 / 0.587 / 0.114, ITU-R BT.601 */
    TRINE_GRAY_BT709      /* 0.21 / 0.72 / 0.07, BT.709 to two digits */
} trine_gray_weights;

/* y = wr R + wg G + wb B. Source: ITU-R BT.601 and BT.709.
 *   x  [..., H, W, C] or [..., C, H, W] by `layout`, C = 3 or 4 (a fourth channel is ignored); contiguous (UNSUPPORTED otherwise)
 *   y  [..., H, W], x's dtype; contiguous. Not in place
 * u8: exact integers, (kr R + kg G + kb B + 2^15) >> 16 with k = (19595, 38470, 7471) for BT.601 and (13763, 47186, 4587) for
 * BT.709, whose sums are 2^16. INVALID_ARGUMENT for another C, layout or weights. */
typedef struct trine_rgb_to_gray_args {
    trine_tensor x, y;
    trine_image_layout layout;
    trine_gray_weights weights;
} trine_rgb_to_gray_args;
TRINE_API trine_status trine_rgb_to_gray(trine_stream *stream, const trine_rgb_to_gray_args *args);

/* box_blur: every pixel becomes the average of the pixels of the (2 radius + 1)^2 square around it that lie inside the image.
 * gaussian_blur: the same square, weighted by exp(-(dx^2 + dy^2) / (2 sigma^2)) and divided by the sum of the weights inside.
 *   x, y    [..., H, W, C] or [..., C, H, W] by `layout`, any C; ndim >= 3; one dtype; contiguous (UNSUPPORTED otherwise). Not in
 *           place
 *   radius  in pixels, 0 to 64
 *   sigma   in pixels, > 0 and finite (gaussian_blur only)
 * Anything else is INVALID_ARGUMENT. The sums that define the result (the common textbook definitions, made exact here):
 *   u8 box       (sum + count/2) / count in integers.
 *   u8 gaussian  weights of one axis are integers, w(d) = round(2^12 exp(-d^2 / (2 sigma^2))) with exp in f64 on the host,
 *                separable, sums in 64-bit integers: (sum + total/2) / total with total = (sum of wx inside) (sum of wy inside).
 *   floats       f32 accumulation, the same weights / 2^12. */
typedef struct trine_blur_args {
    trine_tensor x, y;
    trine_image_layout layout;
    int32_t radius;
    float sigma;
} trine_blur_args;
typedef trine_blur_args trine_box_blur_args, trine_gaussian_blur_args;
TRINE_API trine_status trine_box_blur(trine_stream *stream, const trine_box_blur_args *args);
TRINE_API trine_status trine_gaussian_blur(trine_stream *stream, const trine_gaussian_blur_args *args);

/* y = 255 - x (u8) or 1 - x (floats).
 *   x, y        [one shape], one dtype; contiguous (UNSUPPORTED otherwise). In place allowed, y as x
 *   keep_alpha  not 0: for interleaved images [..., 4], leaves the fourth channel as it is; INVALID_ARGUMENT if the last axis is
 *               another */
typedef struct trine_invert_args {
    trine_tensor x, y;
    int32_t keep_alpha;
} trine_invert_args;
TRINE_API trine_status trine_invert(trine_stream *stream, const trine_invert_args *args);

/* A colour pattern that moves with time (an animation's frame), defined here, in integers only, so that every backend gives the
 * same bytes.
 *   y     [H, W, C], u8, C = 3 or 4 (INVALID_ARGUMENT otherwise), contiguous (UNSUPPORTED otherwise)
 *   time  in frames, any int32
 * With column i, row j, t = time and all arithmetic modulo 2^32:
 *   R = tri(i + t),  G = tri(j + 2 t),  B = tri(i + j + 3 t),  A = 255,  tri(v) = (v & 256) ? 255 - (v & 255) : (v & 255). */
typedef struct trine_color_pattern_args {
    trine_tensor y;
    int32_t time;
} trine_color_pattern_args;
TRINE_API trine_status trine_color_pattern(trine_stream *stream, const trine_color_pattern_args *args);

#ifdef __cplusplus
}
#endif
#endif
