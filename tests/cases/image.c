/* Cases of the image family. u8 is exact everywhere; blurs are summed over the whole square, in integers for u8 and in f64 for
 * floats, not separably as kernels do. */
#include <math.h>
#include <stdio.h>

#include "tests/cases/cases.h"

static const trine_dtype pixels[4] = {TRINE_U8, TRINE_F32, TRINE_F16, TRINE_BF16};

/* Images are whole numbers of all bytes, or in [0, 1): then nothing cancels, and relative tolerances hold. */
static void fill_pixels(case_tensor *t)
{
    if (t->dtype == TRINE_U8)
        case_set_fill(t, FILL_BITS, 0, 0);
    else
        case_set_fill(t, FILL_UNIFORM, 0, 1);
}

typedef struct image {
    trine_dtype dtype;
    int64_t batch, height, width, channels; /* batch 0: no such axis */
    trine_image_layout layout;
} image;

/* "u8 2x17x33x3 hwc" and the shape; gray: without the channels. */
static const char *describe(const image *m, char text[64])
{
    int used = snprintf(text, 64, "%s ", trine_dtype_name(m->dtype));
    if (m->batch) used += snprintf(text + used, 64 - (size_t)used, "%lldx", (long long)m->batch);
    snprintf(text + used, 64 - (size_t)used, "%lldx%lldx%lld %s", (long long)m->height, (long long)m->width,
             (long long)m->channels, m->layout == TRINE_IMAGE_CHW ? "chw" : "hwc");
    return text;
}

static int32_t shape_of(const image *m, bool gray, int64_t shape[TRINE_MAX_DIMS])
{
    int32_t n = 0;
    if (m->batch) shape[n++] = m->batch;
    if (!gray && m->layout == TRINE_IMAGE_CHW) shape[n++] = m->channels;
    shape[n++] = m->height;
    shape[n++] = m->width;
    if (!gray && m->layout == TRINE_IMAGE_HWC) shape[n++] = m->channels;
    return n;
}

static int64_t pixel_count(const image *m) { return (m->batch ? m->batch : 1) * m->height * m->width; }

static void add_images(test_case *c, const image *m, bool gray)
{
    int64_t x[TRINE_MAX_DIMS], y[TRINE_MAX_DIMS];
    fill_pixels(case_in(c, "x", m->dtype, shape_of(m, false, x), x));
    int32_t ndim = shape_of(m, gray, y);
    case_out(c, "y", m->dtype, ndim, y);
    c->units = pixel_count(m) * (gray ? 1 : m->channels);
    c->vendor_exact = m->dtype == TRINE_U8;
    case_count_bytes(c);
}

/* Views that are not contiguous: a backend may refuse them, but not get them wrong. */
static void view(test_case *c, case_layout layout)
{
    case_set_layout(c, layout);
    c->may_refuse = layout != LAYOUT_DENSE && layout != LAYOUT_OFFSET;
}

/* ---- rgb_to_gray ---- */

static void gray_channels(const test_case *c, int64_t unit, double rgb[3])
{
    const trine_rgb_to_gray_args *a = (const trine_rgb_to_gray_args *)(const void *)c->args;
    const case_tensor *x = case_find(c, "x");
    const bool planar = a->layout == TRINE_IMAGE_CHW;
    const int64_t plane = planar ? x->shape[x->ndim - 1] * x->shape[x->ndim - 2] : 1,
                  channels = x->shape[planar ? x->ndim - 3 : x->ndim - 1];
    const int64_t first = planar ? unit / plane * channels * plane + unit % plane : unit * channels;
    for (int k = 0; k < 3; k++) rgb[k] = case_value(x, first + k * plane);
}

static const struct {
    int64_t whole[3];
    double part[3];
} standards[] = {{{19595, 38470, 7471}, {0.299, 0.587, 0.114}}, {{13763, 47186, 4587}, {0.21, 0.72, 0.07}}};

static void oracle_gray_u8(const test_case *c, int64_t unit, void *const *out)
{
    const int64_t *w = standards[((const trine_rgb_to_gray_args *)(const void *)c->args)->weights].whole;
    double rgb[3];
    gray_channels(c, unit, rgb);
    *(uint8_t *)out[0] = (uint8_t)((w[0] * (int64_t)rgb[0] + w[1] * (int64_t)rgb[1] + w[2] * (int64_t)rgb[2] + 32768) >> 16);
}

static void oracle_gray(const test_case *c, int64_t unit, double *const *out)
{
    const double *w = standards[((const trine_rgb_to_gray_args *)(const void *)c->args)->weights].part;
    double rgb[3];
    gray_channels(c, unit, rgb);
    out[0][0] = w[0] * rgb[0] + w[1] * rgb[1] + w[2] * rgb[2];
}

static test_case *new_gray(case_list *list, image m, trine_gray_weights weights)
{
    char text[64];
    test_case *c =
        case_new(list, TRINE_OP_rgb_to_gray, "%s %s", describe(&m, text), weights == TRINE_GRAY_BT709 ? "bt709" : "bt601");
    add_images(c, &m, true);
    CASE_ARGS(c, rgb_to_gray)->layout = m.layout;
    CASE_ARGS(c, rgb_to_gray)->weights = weights;
    if (m.dtype == TRINE_U8)
        c->oracle_bits = oracle_gray_u8;
    else
        c->oracle = oracle_gray;
    case_tolerance(c, m.dtype, 4 * 0x1p-24, 0); /* weights are rounded once, products and sums twice; all are positive */
    c->flops = 5.0 * (double)c->units;
    return c;
}

static const int64_t sizes[][2] = {{1, 1}, {1, 7}, {5, 3}, {17, 33}, {64, 65}, {16, 32}};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

void cases_rgb_to_gray(case_list *list, case_kind kind)
{
    if (kind == CASES_BENCH) {
        new_gray(list, (image){TRINE_U8, 0, 8192, 8192, 3, TRINE_IMAGE_HWC}, TRINE_GRAY_BT601);
        new_gray(list, (image){TRINE_F32, 0, 8192, 8192, 3, TRINE_IMAGE_HWC}, TRINE_GRAY_BT601);
        return;
    }
    for (int d = 0; d < 4; d++)
        for (int layout = 0; layout < 2; layout++)
            for (int channels = 3; channels <= 4; channels++) {
                for (int s = 0; s < SIZES; s++)
                    new_gray(list, (image){pixels[d], s % 3, sizes[s][0], sizes[s][1], channels, (trine_image_layout)layout},
                             (trine_gray_weights)((s + d) % 2));
                new_gray(list, (image){pixels[d], 0, 0, 5, channels, (trine_image_layout)layout}, TRINE_GRAY_BT601);
                for (int v = 1; v < LAYOUT_COUNT; v++)
                    view(new_gray(list, (image){pixels[d], 2, 16, 48, channels, (trine_image_layout)layout}, TRINE_GRAY_BT709),
                         (case_layout)v);
            }
}

/* ---- Blurs ---- */

static int64_t weight_of(bool gaussian, double sigma, int64_t distance)
{
    return gaussian ? (int64_t)floor(4096 * exp(-(double)(distance * distance) / (2 * sigma * sigma)) + 0.5) : 1;
}

/* What of a blur's square about an element lies inside: distances from it, which are weighted, and the steps of x along the axes. */
typedef struct blur_site {
    const case_tensor *x;
    int64_t top, bottom, left, right, row_step, column_step, weight[65];
} blur_site;

static blur_site site_of(const test_case *c, int64_t unit)
{
    const trine_blur_args *a = (const trine_blur_args *)(const void *)c->args;
    blur_site s = {.x = case_find(c, "x")};
    const int64_t radius = a->radius, *shape = s.x->shape;
    const int32_t row = s.x->ndim - (a->layout == TRINE_IMAGE_CHW ? 2 : 3), column = row + 1;
    s.column_step = a->layout == TRINE_IMAGE_CHW ? 1 : shape[column + 1];
    s.row_step = s.column_step * shape[column];
    const int64_t y = unit / s.row_step % shape[row], x = unit / s.column_step % shape[column];
    s.top = y < radius ? -y : -radius;
    s.bottom = shape[row] - 1 - y < radius ? shape[row] - 1 - y : radius;
    s.left = x < radius ? -x : -radius;
    s.right = shape[column] - 1 - x < radius ? shape[column] - 1 - x : radius;
    for (int64_t d = 0; d <= radius; d++) s.weight[d] = weight_of(c->op == TRINE_OP_gaussian_blur, (double)a->sigma, d);
    return s;
}

static void oracle_blur_u8(const test_case *c, int64_t unit, void *const *out)
{
    const blur_site s = site_of(c, unit);
    int64_t sum = 0, weights = 0;
    for (int64_t dy = s.top; dy <= s.bottom; dy++)
        for (int64_t dx = s.left; dx <= s.right; dx++) {
            const int64_t weight = s.weight[dy < 0 ? -dy : dy] * s.weight[dx < 0 ? -dx : dx];
            sum += weight * (int64_t)case_value(s.x, unit + dy * s.row_step + dx * s.column_step);
            weights += weight;
        }
    *(uint8_t *)out[0] = (uint8_t)((sum + weights / 2) / weights);
}

static void oracle_blur(const test_case *c, int64_t unit, double *const *out)
{
    const blur_site s = site_of(c, unit);
    double sum = 0, weights = 0;
    for (int64_t dy = s.top; dy <= s.bottom; dy++)
        for (int64_t dx = s.left; dx <= s.right; dx++) {
            const double weight = (double)(s.weight[dy < 0 ? -dy : dy] * s.weight[dx < 0 ? -dx : dx]);
            sum += weight * case_value(s.x, unit + dy * s.row_step + dx * s.column_step);
            weights += weight;
        }
    out[0][0] = sum / weights;
}

static test_case *new_blur(case_list *list, trine_op op, image m, int32_t radius, float sigma)
{
    char text[64], law[32] = "";
    if (op == TRINE_OP_gaussian_blur) snprintf(law, sizeof law, " sigma %g", (double)sigma);
    test_case *c = case_new(list, op, "%s radius %d%s", describe(&m, text), (int)radius, law);
    add_images(c, &m, false);
    *CASE_ARGS(c, box_blur) = (trine_blur_args){.layout = m.layout, .radius = radius, .sigma = sigma};
    if (m.dtype == TRINE_U8)
        c->oracle_bits = oracle_blur_u8;
    else
        c->oracle = oracle_blur;
    /* positive terms: r + 3 roundings along each axis, and those of the total and the quotient */
    case_tolerance(c, m.dtype, (2 * radius + 10) * 0x1p-24, 0);
    c->work *= 4 * radius + 2;
    c->flops = (op == TRINE_OP_gaussian_blur ? 2.0 : 1.0) * (4 * radius + 2) * (double)c->units;
    return c;
}

/* Radii beyond the image and inside it; sigmas that leave one weight, a few, and nearly a box. */
static const struct {
    int32_t radius;
    float sigma;
} reaches[] = {{0, 1}, {1, 0.5f}, {2, 1}, {2, 1e-3f}, {3, 50}, {5, 2.5f}, {64, 0.3f}, {64, 20}};
enum { REACHES = sizeof reaches / sizeof reaches[0] };

static void blur_shapes(case_list *list, trine_op op)
{
    static const int64_t channels[] = {1, 3, 4, 2};
    for (int layout = 0; layout < 2; layout++)
        for (int k = 0; k < 4; k++)
            for (int s = 0; s < SIZES; s++)
                for (int r = 0; r < REACHES; r++) {
                    /* u8 always, floats by turns; the largest radius on the largest image once */
                    if (reaches[r].radius == 64 && s == 4 && (k != 1 || r != REACHES - 1)) continue;
                    image m = {TRINE_U8, (s + r) % 3, sizes[s][0], sizes[s][1], channels[k], (trine_image_layout)layout};
                    new_blur(list, op, m, reaches[r].radius, reaches[r].sigma);
                    m.dtype = pixels[1 + (s + r + k) % 3];
                    if ((s + r + k + layout) % 2) new_blur(list, op, m, reaches[r].radius, reaches[r].sigma);
                }
}

static void blur_cases(case_list *list, case_kind kind, trine_op op)
{
    if (kind == CASES_BENCH) {
        new_blur(list, op, (image){TRINE_U8, 0, 8192, 8192, 3, TRINE_IMAGE_HWC}, 2, 1);
        new_blur(list, op, (image){TRINE_F32, 0, 4096, 8192, 3, TRINE_IMAGE_HWC}, 2, 1);
        return;
    }
    blur_shapes(list, op);
    for (int d = 0; d < 4; d++) {
        const trine_dtype dtype = pixels[d];
        for (int32_t r = 1; r <= 3; r++) { /* rows of whole words, longer than a block; more rows than a block has */
            new_blur(list, op, (image){dtype, 0, 37, 260, 3, TRINE_IMAGE_HWC}, r, (float)r);
            new_blur(list, op, (image){dtype, 2, 70, 204, 4, TRINE_IMAGE_HWC}, r, (float)r / 2);
            new_blur(list, op, (image){dtype, 0, 3, 65, 612, TRINE_IMAGE_CHW}, r, 2);
            case_set_fill(&new_blur(list, op, (image){dtype, 0, 9, 21, 4, TRINE_IMAGE_CHW}, r, 1.5f)->tensor[0], FILL_CONSTANT,
                          dtype == TRINE_U8 ? 255 : 1, 0);
        }
        new_blur(list, op, (image){dtype, 0, 6, 5, 70, TRINE_IMAGE_HWC}, 5, 3); /* many channels */
        new_blur(list, op, (image){dtype, 2, 0, 5, 3, TRINE_IMAGE_HWC}, 2, 1);
        new_blur(list, op, (image){dtype, 0, 5, 4, 0, TRINE_IMAGE_HWC}, 2, 1);
        new_blur(list, op, (image){dtype, 0, 300, 2000, 1, TRINE_IMAGE_CHW}, 2, 1); /* several strips and chunks everywhere */
        for (int v = 1; v < LAYOUT_COUNT; v++)
            view(new_blur(list, op, (image){dtype, 2, 16, 32, 3, (trine_image_layout)(v % 2)}, 2, 1), (case_layout)v);
    }
    /* full squares of the largest radius, all weights 2^12 */
    new_blur(list, op, (image){TRINE_U8, 0, 140, 170, 1, TRINE_IMAGE_CHW}, 64, 1e6f);
}

void cases_box_blur(case_list *list, case_kind kind) { blur_cases(list, kind, TRINE_OP_box_blur); }
void cases_gaussian_blur(case_list *list, case_kind kind) { blur_cases(list, kind, TRINE_OP_gaussian_blur); }

/* ---- invert ---- */

static bool is_alpha(const test_case *c, int64_t unit)
{
    return ((const trine_invert_args *)(const void *)c->args)->keep_alpha && unit % 4 == 3;
}

static void oracle_invert_u8(const test_case *c, int64_t unit, void *const *out)
{
    uint8_t x = *(const uint8_t *)case_element(case_find(c, "x"), unit);
    *(uint8_t *)out[0] = is_alpha(c, unit) ? x : (uint8_t)(255 - x);
}

/* A difference in f64 that is rounded to f32 is the difference in f32 (53 >= 2 * 24 + 2); then to the dtype. */
static void oracle_invert(const test_case *c, int64_t unit, double *const *out)
{
    const case_tensor *x = case_find(c, "x");
    double value = case_value(x, unit), y = is_alpha(c, unit) ? value : (float)(1 - value);
    unsigned char bits[8];
    trine_convert(&y, TRINE_F64, bits, x->dtype, 1);
    trine_convert(bits, x->dtype, &out[0][0], TRINE_F64, 1);
}

static test_case *new_invert(case_list *list, trine_dtype dtype, int32_t ndim, const int64_t *shape, bool keep_alpha)
{
    test_case *c = case_new(list, TRINE_OP_invert, "%s %lldx%lldx%lld%s", trine_dtype_name(dtype), (long long)shape[0],
                            (long long)shape[1], (long long)shape[2], keep_alpha ? " alpha" : "");
    case_set_fill(case_in(c, "x", dtype, ndim, shape), dtype == TRINE_U8 ? FILL_BITS : FILL_SPECIAL, 0, 0);
    case_out(c, "y", dtype, ndim, shape);
    CASE_ARGS(c, invert)->keep_alpha = keep_alpha;
    c->units = case_find(c, "y")->numel;
    if (dtype == TRINE_U8)
        c->oracle_bits = oracle_invert_u8;
    else
        c->oracle = oracle_invert; /* tolerances of 0: exact but for the bits of a NaN */
    c->vendor_exact = true;
    c->flops = (double)c->units;
    case_count_bytes(c);
    return c;
}

void cases_invert(case_list *list, case_kind kind)
{
    static const int64_t shapes[][3] = {{0, 3, 4}, {1, 1, 1}, {5, 7, 3}, {17, 33, 4}, {1, 3, 4}, {64, 65, 4}, {3, 64, 65}};
    if (kind == CASES_BENCH) {
        new_invert(list, TRINE_U8, 3, (int64_t[]){8192, 8192, 4}, false);
        new_invert(list, TRINE_U8, 3, (int64_t[]){8192, 8192, 4}, true);
        return;
    }
    for (int d = 0; d < 4; d++) {
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
            for (int alpha = 0; alpha <= (shapes[s][2] == 4); alpha++) {
                new_invert(list, pixels[d], 3, shapes[s], alpha);
                view(new_invert(list, pixels[d], 3, shapes[s], alpha), LAYOUT_OFFSET);
            }
        for (int v = 1; v < LAYOUT_COUNT; v++) view(new_invert(list, pixels[d], 3, shapes[5], true), (case_layout)v);
        case_set_inplace(new_invert(list, pixels[d], 3, shapes[5], true), "y", "x");
        case_set_inplace(new_invert(list, pixels[d], 3, shapes[2], false), "y", "x");
    }
}

/* ---- color_pattern ---- */

static void oracle_pattern(const test_case *c, int64_t unit, void *const *out)
{
    const case_tensor *y = case_find(c, "y");
    int64_t index[TRINE_MAX_DIMS];
    case_unravel(y, unit, index);
    int64_t t = ((const trine_color_pattern_args *)(const void *)c->args)->time, j = index[0], i = index[1];
    const int64_t phase[4] = {i + t, j + 2 * t, i + j + 3 * t, 255};
    int64_t v = ((phase[index[2]] % 512) + 512) % 512; /* the pattern repeats after 512, which divides 2^32 */
    *(uint8_t *)out[0] = (uint8_t)(v < 256 ? v : 511 - v);
}

static test_case *new_pattern(case_list *list, int64_t height, int64_t width, int64_t channels, int32_t t)
{
    test_case *c = case_new(list, TRINE_OP_color_pattern, "%lldx%lldx%lld at %d", (long long)height, (long long)width,
                            (long long)channels, (int)t);
    case_out(c, "y", TRINE_U8, SHAPE(height, width, channels));
    CASE_ARGS(c, color_pattern)->time = t;
    c->units = height * width * channels;
    c->oracle_bits = oracle_pattern;
    c->vendor_exact = true;
    case_count_bytes(c);
    return c;
}

void cases_color_pattern(case_list *list, case_kind kind)
{
    static const int64_t shapes[][2] = {{0, 4}, {1, 1}, {7, 5}, {3, 600}, {530, 3}, {33, 64}, {40, 1201}};
    static const int32_t times[] = {0, 1, -1, 255, 256, 1000003, INT32_MAX, INT32_MIN};
    for (int64_t channels = 3; channels <= 4; channels++) {
        if (kind == CASES_BENCH) {
            new_pattern(list, 8192, 8192, channels, 7);
            continue;
        }
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            new_pattern(list, shapes[s][0], shapes[s][1], channels, times[s]);
            view(new_pattern(list, shapes[s][0], shapes[s][1], channels, 77), LAYOUT_OFFSET);
        }
        for (size_t t = 0; t < sizeof times / sizeof times[0]; t++) new_pattern(list, 17, 70, channels, times[t]);
        for (int v = 2; v < LAYOUT_COUNT; v++) view(new_pattern(list, 17, 70, channels, 5), (case_layout)v);
    }
}
