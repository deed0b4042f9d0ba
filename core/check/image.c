#include <math.h>

#include "core/check.h"

static const trine_op_field gray_fields[] = {FIELD(trine_rgb_to_gray_args, x, IN), FIELD(trine_rgb_to_gray_args, y, OUT)};
static const trine_op_field blur_fields[] = {FIELD(trine_blur_args, x, IN), FIELD(trine_blur_args, y, OUT)};
static const trine_op_field invert_fields[] = {FIELD(trine_invert_args, x, IN), FIELD(trine_invert_args, y, OUT | INPLACE)};
static const trine_op_field pattern_fields[] = {FIELD(trine_color_pattern_args, y, OUT)};

enum { DT_PIXELS = DT(U8) | DT_FLOATS, BLUR_RADIUS_MAX = 64 };

static trine_status check_image(const trine_check *check, const trine_tensor *x, const trine_tensor *y, trine_image_layout layout)
{
    TRY(trine_check_dtype(check, "x", x, DT_PIXELS));
    TRY(trine_check_same_dtype(check, "y", y, "x", x));
    TRY(trine_check_ndim_at_least(check, "x", x, 3));
    if (layout != TRINE_IMAGE_HWC && layout != TRINE_IMAGE_CHW)
        return trine_bad(check, "layout", "there is no image layout %d", (int)layout);
    return TRINE_OK;
}

static trine_status check_rgb_to_gray(const trine_check *check, const void *args)
{
    const trine_rgb_to_gray_args *a = args;
    TRY(check_image(check, &a->x, &a->y, a->layout));
    if (a->weights != TRINE_GRAY_BT601 && a->weights != TRINE_GRAY_BT709)
        return trine_bad(check, "weights", "there are no gray weights %d", (int)a->weights);
    trine_tensor gray = a->x;
    int32_t channel = a->layout == TRINE_IMAGE_HWC ? gray.ndim - 1 : gray.ndim - 3;
    if (gray.shape[channel] != 3 && gray.shape[channel] != 4)
        return trine_bad(check, "x", "has %lld channels, not 3 or 4", (long long)gray.shape[channel]);
    gray.ndim--;
    for (int32_t d = channel; d < gray.ndim; d++) gray.shape[d] = a->x.shape[d + 1];
    return trine_check_same_shape(check, "y", &a->y, "x without its channels", &gray);
}

static trine_status check_blur(const trine_check *check, const void *args, bool gaussian)
{
    const trine_blur_args *a = args;
    TRY(check_image(check, &a->x, &a->y, a->layout));
    TRY(trine_check_same_shape(check, "y", &a->y, "x", &a->x));
    if (a->radius < 0 || a->radius > BLUR_RADIUS_MAX)
        return trine_bad(check, "radius", "%d is not 0 to %d", (int)a->radius, (int)BLUR_RADIUS_MAX);
    if (gaussian && !(a->sigma > 0 && isfinite(a->sigma)))
        return trine_bad(check, "sigma", "%g is not above 0 and finite", (double)a->sigma);
    return TRINE_OK;
}

static trine_status check_box_blur(const trine_check *check, const void *args) { return check_blur(check, args, false); }

static trine_status check_gaussian_blur(const trine_check *check, const void *args) { return check_blur(check, args, true); }

static trine_status check_invert(const trine_check *check, const void *args)
{
    const trine_invert_args *a = args;
    TRY(trine_check_dtype(check, "x", &a->x, DT_PIXELS));
    TRY(trine_check_same_dtype(check, "y", &a->y, "x", &a->x));
    TRY(trine_check_same_shape(check, "y", &a->y, "x", &a->x));
    if (a->keep_alpha && (a->x.ndim < 1 || a->x.shape[a->x.ndim - 1] != 4))
        return trine_bad(check, "keep_alpha", "x's last axis is not 4 channels");
    return TRINE_OK;
}

static trine_status check_color_pattern(const trine_check *check, const void *args)
{
    const trine_color_pattern_args *a = args;
    TRY(trine_check_dtype(check, "y", &a->y, DT(U8)));
    if (a->y.ndim != 3 || (a->y.shape[2] != 3 && a->y.shape[2] != 4))
        return trine_bad(check, "y", "is not [H, W, 3] or [H, W, 4]");
    return TRINE_OK;
}

OP_DESC(image, rgb_to_gray, gray_fields, check_rgb_to_gray);
OP_DESC(image, box_blur, blur_fields, check_box_blur);
OP_DESC(image, gaussian_blur, blur_fields, check_gaussian_blur);
OP_DESC(image, invert, invert_fields, check_invert);
OP_DESC(image, color_pattern, pattern_fields, check_color_pattern);
