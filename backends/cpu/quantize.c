/* Quantisation on the CPU: the same bits as backends/simt/quantize.h. nf4 is bound by its 15 comparisons an element, which
 * vectorise; the rest by bytes. */
#include "backends/cpu/nf4_matmul.h"
#include "backends/cpu/scaled.h"
#include "core/dynamic_map.h"
#include "core/int8_scale.h"
#include "core/nf4.h"

enum { BLOCK = TRINE_NF4_BLOCK, BLOCK_GRAIN = CPU_GRAIN / BLOCK };

/* ---- nf4 ---- */

/* The codes of a block, of which n elements exist. */
static void nf4_codes(int32_t *restrict code, const float *x, int64_t n, float absmax)
{
    static const float threshold[] = TRINE_NF4_THRESHOLDS;
    const float inverse = 1.0f / absmax;
    for (int64_t i = 0; i < BLOCK; i++) code[i] = TRINE_NF4_ZERO;
    if (absmax < TRINE_NF4_LEAST || absmax == INFINITY) return;
    for (int64_t i = 0; i < n; i++) {
        const float v = x[i] * inverse;
        int32_t above = 0;
        for (int k = 0; k < 15; k++) above += v > threshold[k];
        code[i] = v == v ? above : TRINE_NF4_ZERO;
    }
}

trine_status TRINE_CPU(nf4_quantize)(trine_call *call, const trine_nf4_quantize_args *a)
{
    const int64_t n = trine_tensor_numel(&a->x), size = trine_dtype_bits(a->x.dtype) / 8, blocks = (n + BLOCK - 1) / BLOCK;
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, 0);
    CPU_PARALLEL_FOR(range, blocks, BLOCK_GRAIN)
    {
        _Alignas(64) float buffer[BLOCK];
        _Alignas(64) int32_t code[BLOCK];
        for (int64_t block = range.begin; block < range.end; block++) {
            const int64_t first = block * BLOCK, m = n - first < BLOCK ? n - first : BLOCK;
            const float *x = span_load(buffer, (const char *)a->x.data + first * size, a->x.dtype, m);
            const float absmax = scaled_most(x, m);
            uint8_t *to = (uint8_t *)a->codes.data + first / 2;
            nf4_codes(code, x, m, absmax);
            for (int64_t i = 0; i < (m + 1) / 2; i++) to[i] = (uint8_t)(code[2 * i] << 4 | code[2 * i + 1]);
            ((float *)a->absmax.data)[block] = absmax < TRINE_NF4_LEAST ? 0 : absmax;
        }
    }
    return TRINE_OK;
}

trine_status TRINE_CPU(nf4_dequantize)(trine_call *call, const trine_nf4_dequantize_args *a)
{
    const int64_t n = trine_tensor_numel(&a->y), size = trine_dtype_bits(a->y.dtype) / 8;
    const bool stream = span_should_stream(n * size);
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, 0);
    CPU_PARALLEL_FOR(range, n, CPU_GRAIN)
    {
        SPAN_BUFFER(y);
        for (int64_t i = range.begin, m; i < range.end; i += m) {
            char *to = (char *)a->y.data + i * size;
            m = span_length(to, a->y.dtype, range.end - i);
            for (int64_t j = 0, part; j < m; j += part) {
                const int64_t first = a->offset + i + j, left = BLOCK - first % BLOCK;
                part = left < m - j ? left : m - j;
                nf4_values(y + j, a->codes.data, first, part, ((const float *)a->absmax.data)[first / BLOCK]);
            }
            span_store(to, a->y.dtype, y, m, stream);
        }
        span_fence();
    }
    return TRINE_OK;
}

/* ---- Rounding ---- */

/* round(x / scale), clamped to +-2^22, where the sum with the magic number rounds to nearest even; NaN stays. */
static inline float rounded_quotient(float x, float scale)
{
    const float magic = 0x1.8p23f, q = x / scale;
    const float below = q > 0x1p22f ? 0x1p22f : q, inside = below < -0x1p22f ? -0x1p22f : below;
    return (inside + magic) - magic;
}

/* ---- Scales of nf4 ---- */

enum { SCALES = TRINE_ABSMAX_BLOCK };

/* f64, each block from its first to its last, then the blocks: the order is part of the result. */
static float absmax_mean(const float *absmax, int64_t n)
{
    double sum = 0;
    for (int64_t first = 0; first < n; first += SCALES) {
        double part = 0;
        for (int64_t i = first; i < n && i < first + SCALES; i++) part += (double)absmax[i];
        sum += part;
    }
    return n ? (float)(sum / (double)n) : 0;
}

static uint8_t nearest(const trine_dynamic_map *map, float v)
{
    int32_t low = 0;
    for (int32_t half = 128; half > 0; half /= 2) low += v > map->middle[low + half - 1] ? half : 0;
    return (uint8_t)low;
}

/* A block of n scales. */
static float absmax_block(const trine_dynamic_map *map, uint8_t *codes, const float *absmax, int64_t n, float mean)
{
    float most = 0;
    for (int64_t i = 0; i < n; i++) most = fabsf(absmax[i] - mean) > most ? fabsf(absmax[i] - mean) : most;
    const float scale = map ? most : most / 255.0f;
    if (scale < TRINE_NF4_LEAST) {
        memset(codes, map ? TRINE_DYNAMIC_MAP_ZERO : 0, (size_t)n);
        return 0;
    }
    const float inverse = 1.0f / scale;
    for (int64_t i = 0; i < n; i++)
        codes[i] = map ? nearest(map, (absmax[i] - mean) * inverse) : (uint8_t)rounded_quotient(absmax[i], scale);
    return scale;
}

trine_status TRINE_CPU(absmax_quantize)(trine_call *call, const trine_absmax_quantize_args *a)
{
    const int64_t n = trine_tensor_numel(&a->absmax), blocks = (n + SCALES - 1) / SCALES;
    const bool dynamic = a->kind == TRINE_ABSMAX_DYNAMIC;
    const float *absmax = a->absmax.data;
    trine_dynamic_map map;
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, 0);
    if (dynamic) trine_dynamic_map_make(&map);
    const float mean = dynamic ? absmax_mean(absmax, n) : 0;
    if (dynamic) *(float *)a->mean.data = mean;
    CPU_PARALLEL_FOR(range, blocks, 64)
    {
        for (int64_t block = range.begin; block < range.end; block++) {
            const int64_t first = block * SCALES;
            ((float *)a->scale.data)[block] = absmax_block(dynamic ? &map : NULL, (uint8_t *)a->codes.data + first,
                                                           absmax + first, n - first < SCALES ? n - first : SCALES, mean);
        }
    }
    return TRINE_OK;
}

trine_status TRINE_CPU(absmax_dequantize)(trine_call *call, const trine_absmax_dequantize_args *a)
{
    const int64_t n = trine_tensor_numel(&a->absmax);
    const uint8_t *codes = a->codes.data;
    const float *scale = a->scale.data;
    float *absmax = a->absmax.data;
    trine_dynamic_map map;
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, 0);
    trine_dynamic_map_make(&map);
    const bool dynamic = a->kind == TRINE_ABSMAX_DYNAMIC;
    const float mean = dynamic ? *(const float *)a->mean.data : 0;
    CPU_PARALLEL_FOR(range, n, CPU_GRAIN)
    {
        for (int64_t i = range.begin; i < range.end; i++)
            absmax[i] = dynamic ? map.value[codes[i]] * scale[i / SCALES] + mean : (float)codes[i] * scale[i / SCALES];
    }
    return TRINE_OK;
}

/* ---- int8 ---- */

static float int8_scale_of(const void *context, float most)
{
    (void)context;
    return most / 127.0f;
}

static void int8_emit(float *restrict q, const float *restrict x, int64_t n, float scale)
{
    for (int64_t i = 0; i < n; i++) {
        const float r = rounded_quotient(x[i], scale), above = r < -127.0f ? -127.0f : r,
                    inside = above > 127.0f ? 127.0f : above;
        q[i] = inside == inside ? inside : 0.0f;
    }
    if (scale == 0) memset(q, 0, (size_t)n * sizeof *q);
}

trine_status TRINE_CPU(int8_quantize)(trine_call *call, const trine_int8_quantize_args *a)
{
    const bool given = trine_is_given(&a->given_scale);
    const trine_tensor *scales = given ? &a->given_scale : &a->scale;
    const bool by_row = !trine_int8_is_one_scale(scales);
    const scaled_job j = {.shape =
                              trine_scaled_shape_make(&a->q, &a->x, scales, by_row ? TRINE_FP8_PER_ROW : TRINE_FP8_PER_TENSOR),
                          .codes = a->q.data,
                          .reals = a->x.data,
                          .scales = scales->data,
                          .code = TRINE_I8,
                          .real = a->x.dtype,
                          .scale_of = given ? NULL : int8_scale_of,
                          .emit = int8_emit,
                          .put = scaled_int8_put(a->x.dtype)};
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, given ? 0 : scaled_row_bytes(&j, by_row));
    if (given)
        scaled_all(&j);
    else
        scaled_by_row(&j, by_row, call->workspace);
    return TRINE_OK;
}

/* Operands: y, q, scale. */
static void int8_values_run(const void *context, char *const *p, const int64_t *step, int64_t n, bool stream)
{
    const trine_dtype dtype = *(const trine_dtype *)context;
    const int64_t size = trine_dtype_bits(dtype) / 8;
    SPAN_BUFFER(q_buffer);
    SPAN_BUFFER(scale_buffer);
    SPAN_BUFFER(y);
    for (int64_t i = 0, m; i < n; i += m) {
        char *to = p[0] + i * step[0] * size;
        m = span_length(to, dtype, n - i);
        const float *q = cpu_load(q_buffer, p[1] + i * step[1], TRINE_I8, m, step[1]);
        const float *scale = cpu_load(scale_buffer, p[2] + i * step[2] * 4, TRINE_F32, m, step[2]);
        for (int64_t k = 0; k < m; k++) y[k] = q[k] * scale[k];
        cpu_store(to, dtype, y, m, step[0], stream);
    }
}

trine_status TRINE_CPU(int8_dequantize)(trine_call *call, const trine_int8_dequantize_args *a)
{
    const trine_tensor scale = trine_int8_scale_view(&a->scale, &a->y);
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, 0);
    const cpu_walk w = cpu_walk_make((const trine_tensor *[]){&a->y, &a->q, &scale}, 3);
    cpu_walk_run(&w, int8_values_run, &a->y.dtype);
    return TRINE_OK;
}

/* ---- Fake quantisation ---- */

typedef struct fake_context {
    trine_dtype dtype;
    float low, high, zero;
} fake_context;

static void fake_span(const fake_context *c, float *y, const float *x, const float *scale, int64_t n)
{
    const float low = c->low - c->zero, high = c->high - c->zero; /* of q - zero_point */
    for (int64_t i = 0; i < n; i++) {
        const float r = rounded_quotient(x[i], scale[i]);
        const float above = r < low ? low : r, q = above > high ? high : above;
        y[i] = (q == q ? q : 0.0f) * scale[i];
    }
}

static void fake_backward_span(const fake_context *c, float *dx, const float *x, const float *scale, const float *dy, int64_t n)
{
    const float low = c->low - c->zero, high = c->high - c->zero;
    for (int64_t i = 0; i < n; i++) {
        const float r = rounded_quotient(x[i], scale[i]);
        dx[i] = r < low || r > high ? 0.0f : dy[i];
    }
}

/* Operands: the output, x, scale, and backward dy. */
static void fake_run(const fake_context *c, bool backward, char *const *p, const int64_t *step, int64_t n, bool stream)
{
    const int64_t size = trine_dtype_bits(c->dtype) / 8;
    SPAN_BUFFER(x_buffer);
    SPAN_BUFFER(scale_buffer);
    SPAN_BUFFER(dy_buffer);
    SPAN_BUFFER(out);
    for (int64_t i = 0, m; i < n; i += m) {
        char *to = p[0] + i * step[0] * size;
        m = span_length(to, c->dtype, n - i);
        const float *x = cpu_load(x_buffer, p[1] + i * step[1] * size, c->dtype, m, step[1]);
        const float *scale = cpu_load(scale_buffer, p[2] + i * step[2] * 4, TRINE_F32, m, step[2]);
        if (backward)
            fake_backward_span(c, out, x, scale, cpu_load(dy_buffer, p[3] + i * step[3] * size, c->dtype, m, step[3]), m);
        else
            fake_span(c, out, x, scale, m);
        cpu_store(to, c->dtype, out, m, step[0], stream);
    }
}

static void forward_run(const void *context, char *const *p, const int64_t *step, int64_t n, bool stream)
{
    fake_run(context, false, p, step, n, stream);
}

static void backward_run(const void *context, char *const *p, const int64_t *step, int64_t n, bool stream)
{
    fake_run(context, true, p, step, n, stream);
}

trine_status TRINE_CPU(fake_quantize)(trine_call *call, const trine_fake_quantize_args *a)
{
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, 0);
    const cpu_walk w = cpu_walk_make((const trine_tensor *[]){&a->y, &a->x, &a->scale}, 3);
    cpu_walk_run(&w, forward_run, &(fake_context){a->x.dtype, (float)a->low, (float)a->high, (float)a->zero_point});
    return TRINE_OK;
}

trine_status TRINE_CPU(fake_quantize_backward)(trine_call *call, const trine_fake_quantize_backward_args *a)
{
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, 0);
    const cpu_walk w = cpu_walk_make((const trine_tensor *[]){&a->dx, &a->x, &a->scale, &a->dy}, 4);
    cpu_walk_run(&w, backward_run, &(fake_context){a->x.dtype, (float)a->low, (float)a->high, (float)a->zero_point});
    return TRINE_OK;
}
