/* Images. rgb_to_gray, invert and color_pattern are bound by bytes: pieces of an image are made in L1 and stored from there, past
 * the caches if the image is large. The blurs are in blur.h. */
#include "backends/cpu/blur.h"
#include "backends/cpu/level.h"
#include "backends/cpu/span.h"
#include "core/backend.h"

enum { PIECE_BYTES = 4096 };

static int64_t size_of(const trine_tensor *t) { return trine_dtype_bits(t->dtype) / 8; }

/* ---- rgb_to_gray ---- */

typedef struct gray_job {
    uint32_t whole[3];
    float part[3];
    const char *x;
    char *y;
    trine_dtype dtype;
    int64_t size, channels, plane; /* plane: pixels of an image, for CHW */
    bool planar, stream;
} gray_job;

static void gray_u8(uint8_t *restrict y, const uint8_t *r, const uint8_t *g, const uint8_t *b, int64_t step, int64_t n,
                    const uint32_t *w)
{
    const uint32_t wr = w[0], wg = w[1], wb = w[2];
    if (step == 3) {
        for (int64_t i = 0; i < n; i++) y[i] = (uint8_t)((wr * r[3 * i] + wg * r[3 * i + 1] + wb * r[3 * i + 2] + 0x8000u) >> 16);
    } else if (step == 4) {
        for (int64_t i = 0; i < n; i++) y[i] = (uint8_t)((wr * r[4 * i] + wg * r[4 * i + 1] + wb * r[4 * i + 2] + 0x8000u) >> 16);
    } else {
        for (int64_t i = 0; i < n; i++) y[i] = (uint8_t)((wr * r[i] + wg * g[i] + wb * b[i] + 0x8000u) >> 16);
    }
}

static void gray_f32(float *restrict y, const float *r, const float *g, const float *b, int64_t step, int64_t n, const float *w)
{
    const float wr = w[0], wg = w[1], wb = w[2];
    if (step == 3) {
        for (int64_t i = 0; i < n; i++) y[i] = wr * r[3 * i] + wg * r[3 * i + 1] + wb * r[3 * i + 2];
    } else if (step == 4) {
        for (int64_t i = 0; i < n; i++) y[i] = wr * r[4 * i] + wg * r[4 * i + 1] + wb * r[4 * i + 2];
    } else {
        for (int64_t i = 0; i < n; i++) y[i] = wr * r[i] + wg * g[i] + wb * b[i];
    }
}

/* n pixels from pixel i on, of one image where planar; n is at most PIECE_BYTES, for floats a quarter of a span. */
static void gray_piece(const gray_job *j, int64_t i, int64_t n)
{
    const int64_t image = j->planar ? i / j->plane : 0, plane = j->planar ? j->plane : 1, step = j->planar ? 1 : j->channels;
    const char *red = j->x + (j->planar ? image * j->channels * plane + i - image * plane : i * j->channels) * j->size;
    const char *channel[3] = {red, red + plane * j->size, red + 2 * plane * j->size};
    if (j->dtype == TRINE_U8) {
        _Alignas(64) uint8_t out[PIECE_BYTES];
        gray_u8(out, (const uint8_t *)channel[0], (const uint8_t *)channel[1], (const uint8_t *)channel[2], step, n, j->whole);
        span_copy_bytes(j->y + i, out, n, j->stream);
        return;
    }
    _Alignas(64) float in[3][SPAN_MAX];
    SPAN_BUFFER(out);
    const float *from[3] = {NULL, NULL, NULL};
    for (int c = 0; c < (j->planar ? 3 : 1); c++) from[c] = span_load(in[c], channel[c], j->dtype, n * step);
    gray_f32(out, from[0], from[1], from[2], step, n, j->part);
    span_store(j->y + i * j->size, j->dtype, out, n, j->stream);
}

static const struct {
    uint32_t whole[3];
    float part[3];
} gray_standards[] = {
    [TRINE_GRAY_BT601] = {{19595, 38470, 7471}, {0.299f, 0.587f, 0.114f}},
    [TRINE_GRAY_BT709] = {{13763, 47186, 4587}, {0.21f, 0.72f, 0.07f}},
};

trine_status TRINE_CPU(rgb_to_gray)(trine_call *call, const trine_rgb_to_gray_args *a)
{
    call->variant = TRINE_CPU_VARIANT;
    TRINE_REQUIRE_THAT(call, trine_tensor_is_contiguous(&a->x) && trine_tensor_is_contiguous(&a->y), "needs contiguous images");
    TRINE_END_OF_QUERY(call, 0);
    const int32_t last = a->x.ndim - 1;
    const int64_t pixels = trine_tensor_numel(&a->y);
    gray_job j = {
        .x = a->x.data, .y = a->y.data, .dtype = a->x.dtype, .size = size_of(&a->x), .planar = a->layout == TRINE_IMAGE_CHW};
    if (pixels == 0) return TRINE_OK;
    memcpy(j.whole, gray_standards[a->weights].whole, sizeof j.whole);
    memcpy(j.part, gray_standards[a->weights].part, sizeof j.part);
    j.channels = a->x.shape[j.planar ? last - 2 : last];
    j.plane = j.planar ? a->x.shape[last - 1] * a->x.shape[last] : pixels;
    j.stream = span_should_stream(pixels * j.size);
    const int64_t most = j.dtype == TRINE_U8 ? PIECE_BYTES : SPAN_MAX / 4;
    CPU_PARALLEL_FOR(range, pixels, CPU_GRAIN)
    {
        for (int64_t i = range.begin, n; i < range.end; i += n) {
            n = range.end - i < most ? range.end - i : most;
            if (j.plane - i % j.plane < n) n = j.plane - i % j.plane;
            gray_piece(&j, i, n);
        }
        span_fence();
    }
    return TRINE_OK;
}

/* ---- invert ---- */

/* Fourth channels are the elements 3, 7, ...: pieces begin at multiples of 4. */
static void invert_u8(uint8_t *y, const uint8_t *x, int64_t n, bool keep_alpha)
{
    uint8_t mask[4] = {255, 255, 255, keep_alpha ? 0 : 255};
    uint32_t masks;
    int64_t i = 0;
    memcpy(&masks, mask, sizeof masks);
#pragma GCC ivdep
    for (int64_t k = 0; k < n / 4; k++) {
        uint32_t word;
        memcpy(&word, x + 4 * k, sizeof word);
        word ^= masks;
        memcpy(y + 4 * k, &word, sizeof word);
    }
    for (i = n / 4 * 4; i < n; i++) y[i] = x[i] ^ mask[i % 4];
}

static void invert_f32(float *y, const float *x, int64_t n, bool keep_alpha)
{
    for (int64_t i = 0; i < n; i++) y[i] = 1.0f - x[i];
    for (int64_t i = 3; keep_alpha && i < n; i += 4) y[i] = x[i];
}

trine_status TRINE_CPU(invert)(trine_call *call, const trine_invert_args *a)
{
    call->variant = TRINE_CPU_VARIANT;
    TRINE_REQUIRE_THAT(call, trine_tensor_is_contiguous(&a->x) && trine_tensor_is_contiguous(&a->y), "needs contiguous images");
    TRINE_END_OF_QUERY(call, 0);
    const int64_t numel = trine_tensor_numel(&a->y), size = size_of(&a->y),
                  most = a->x.dtype == TRINE_U8 ? PIECE_BYTES : SPAN_MAX;
    const bool stream = span_should_stream(numel * size);
    CPU_PARALLEL_FOR(range, numel, CPU_GRAIN)
    {
        SPAN_BUFFER(in);
        SPAN_BUFFER(out);
        for (int64_t i = range.begin, n; i < range.end; i += n) {
            n = range.end - i < most ? range.end - i : most;
            char *y = (char *)a->y.data + i * size;
            const char *x = (const char *)a->x.data + i * size;
            if (a->x.dtype == TRINE_U8) {
                invert_u8((uint8_t *)out, (const uint8_t *)x, n, a->keep_alpha != 0);
                span_copy_bytes(y, out, n, stream);
            } else {
                invert_f32(out, span_load(in, x, a->x.dtype, n), n, a->keep_alpha != 0);
                span_store(y, a->x.dtype, out, n, stream);
            }
        }
        span_fence();
    }
    return TRINE_OK;
}

/* ---- color_pattern ---- */

enum { PERIOD = 512, PATTERN_PIXELS = 1024 };

static uint8_t triangle(uint32_t v) { return (uint8_t)((v & 256) ? 255 - (v & 255) : v & 255); }

/* n pixels of a row: red and blue run through the table, green stays. */
static void pattern_piece(uint8_t *restrict y, const uint8_t *red, const uint8_t *blue, uint8_t green, int64_t n,
                          int64_t channels)
{
    if (channels == 3) {
        for (int64_t i = 0; i < n; i++) {
            y[3 * i] = red[i];
            y[3 * i + 1] = green;
            y[3 * i + 2] = blue[i];
        }
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        uint32_t pixel = red[i] | (uint32_t)green << 8 | (uint32_t)blue[i] << 16 | 0xff000000u; /* little-endian */
        memcpy(y + 4 * i, &pixel, sizeof pixel);
    }
}

trine_status TRINE_CPU(color_pattern)(trine_call *call, const trine_color_pattern_args *a)
{
    call->variant = TRINE_CPU_VARIANT;
    TRINE_REQUIRE_THAT(call, trine_tensor_is_contiguous(&a->y), "needs a contiguous image");
    TRINE_END_OF_QUERY(call, 0);
    const int64_t width = a->y.shape[1], channels = a->y.shape[2], pixels = a->y.shape[0] * width;
    const uint32_t t = (uint32_t)a->time;
    const bool stream = span_should_stream(pixels * channels);
    uint8_t table[PERIOD + PATTERN_PIXELS];
    for (uint32_t v = 0; v < sizeof table; v++) table[v] = triangle(v);
    CPU_PARALLEL_FOR(range, pixels, CPU_GRAIN)
    {
        for (int64_t p = range.begin, n; p < range.end; p += n) {
            const int64_t row = p / width, column = p - row * width,
                          left = width - column < range.end - p ? width - column : range.end - p;
            const uint32_t i = (uint32_t)column, k = (uint32_t)row;
            _Alignas(64) uint8_t out[4 * PATTERN_PIXELS];
            n = left < PATTERN_PIXELS ? left : PATTERN_PIXELS;
            pattern_piece(out, table + (i + t) % PERIOD, table + (i + k + 3 * t) % PERIOD, triangle(k + 2 * t), n, channels);
            span_copy_bytes((char *)a->y.data + p * channels, out, n * channels, stream);
        }
        span_fence();
    }
    return TRINE_OK;
}

/* ---- Blurs ---- */

static trine_status blur(trine_call *call, const trine_blur_args *a, float sigma)
{
    call->variant = TRINE_CPU_VARIANT;
    TRINE_REQUIRE_THAT(call, trine_tensor_is_contiguous(&a->x) && trine_tensor_is_contiguous(&a->y), "needs contiguous images");
    blur_job j = blur_job_make(a, sigma);
    TRINE_END_OF_QUERY(call, (size_t)(j.threads * j.bytes_a_thread));
    blur_run(&j, call->workspace);
    return TRINE_OK;
}

trine_status TRINE_CPU(box_blur)(trine_call *call, const trine_box_blur_args *a) { return blur(call, a, 0); }

trine_status TRINE_CPU(gaussian_blur)(trine_call *call, const trine_gaussian_blur_args *a) { return blur(call, a, a->sigma); }
