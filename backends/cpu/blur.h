/* Box and gaussian blur on the CPU: separable, in strips. A thread takes a strip of a row's elements and goes down the image: it
 * makes the weighted sums along the row of every row that comes in, keeps the last 2 radius + 1 of them in a ring that fits the
 * L1 cache, and sums the ring down the columns for the row that goes out. A row is read where it lies, or at the
 * image's edges and of other dtypes from a line with zeros on both sides; what is outside the image is missing from the total by
 * which a sum is divided.
 *
 * u8: exact, by integers or by f64 that holds them: sums are below 255 (2^12 * 129)^2 < 2^47, and (sum + total/2 + 1/2) / total
 * is at least 1 / (2 total), or 2^-48 of itself, away from a whole number, so that two roundings of f64 don't lead across. A
 * box's column sum is a running one: what comes in less what goes out.
 *
 * Bound by arithmetic: 2 (2 radius + 1) additions or multiplications an element. Static functions, included by image.c alone. */
#ifndef TRINE_CPU_BLUR_H
#define TRINE_CPU_BLUR_H

#include <math.h>
#include <string.h>

#include "backends/cpu/span.h"
#include "core/backend.h"
#include "core/blur_weights.h"

/* A ring in the L1 cache, with what else a row needs; rows that are asked for before they come in. */
enum { BLUR_RING_BYTES = 32 * 1024, BLUR_STRIP_MIN = 512, BLUR_STRIP_MAX = 8192, BLUR_ROWS_MIN = 64, BLUR_AHEAD = 1 };

typedef struct blur_job {
    trine_blur_weights w;
    trine_blur_shape shape;
    float weight[TRINE_BLUR_RADIUS_MAX + 1]; /* of floats */
    float scale;                             /* weight = scale * w.at */
    bool gaussian, stream;
    trine_dtype dtype;
    int64_t size, line_size; /* bytes of an element of the image, and of a line */
    const char *x;
    char *y;
    int64_t strip, strips, line; /* elements of a strip; strips of a row; elements of a line */
    int64_t rows, chunks;        /* rows of a chunk; chunks of a plane */
    int64_t threads, bytes_a_thread;
} blur_job;

/* What a thread works with. All of the same strip. */
typedef struct blur_strip {
    const blur_job *job;
    char *line;              /* input row, zeros on both sides: u8 for a box of u8, u32 for a gaussian, or f32 */
    char *ring;              /* rows of sums along the row, `strip` elements each: u32, or f32; u16 for a box of u8 */
    int32_t *column;         /* running sums of a box of u8 */
    char *out;               /* output row: u8, or f32 */
    double *across;          /* of u8: sum of the weights inside along the row, of each element; 1 past the last one */
    float *inverse;          /* of floats: 1 / that; as long as across */
    int64_t plane, begin, n; /* elements [begin, begin + n) of the rows of a plane */
} blur_strip;

/* ---- Vectors of the level's width. Sums stay in registers while a loop goes over the taps. ---- */

#if defined __AVX512BW__
enum { BLUR_BYTES = 64 };
#elif defined __AVX2__
enum { BLUR_BYTES = 32 };
#else
enum { BLUR_BYTES = 16 };
#endif
/* BLOCK: elements of a step, in VECTORS registers. Buffers are whole steps: strips are multiples of 64. */
enum { BLUR_VECTORS = 4, BLUR_LANES = BLUR_BYTES / 4, BLUR_BLOCK = BLUR_VECTORS * BLUR_LANES };
typedef float blur_f32 __attribute__((vector_size(BLUR_BYTES)));
typedef uint32_t blur_u32 __attribute__((vector_size(BLUR_BYTES)));
typedef double blur_f64 __attribute__((vector_size(BLUR_BYTES)));
typedef int32_t blur_half __attribute__((vector_size(BLUR_BYTES / 2))); /* as many as blur_f64 has */

#define BLUR_LOAD(type) \
    static inline type load_##type(const void *from) \
    { \
        type v; \
        memcpy(&v, from, sizeof v); \
        return v; \
    }
BLUR_LOAD(blur_f32)
BLUR_LOAD(blur_u32)
BLUR_LOAD(blur_half)

static int64_t blur_up_to(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

/* ---- Along the row: n sums from a line, whose element 0 is radius * step before the first ---- */

/* A slot's new sums; its column loses what the slot held before. */
static void blur_along_box(uint16_t *restrict slot, int32_t *restrict column, const uint8_t *line, int64_t n, int64_t step,
                           int32_t radius)
{
    enum { BLOCK = 64 };
    for (int64_t i = 0; i < n; i += BLOCK) {
        uint16_t sum[BLOCK] = {0};
        for (int32_t d = 0; d <= 2 * radius; d++)
            for (int k = 0; k < BLOCK; k++) sum[k] = (uint16_t)(sum[k] + line[i + d * step + k]);
        for (int k = 0; k < BLOCK; k++) {
            column[i + k] += (int32_t)sum[k] - slot[i + k];
            slot[i + k] = sum[k];
        }
    }
}

/* `ahead`: as much memory as the line is of is asked for, or NULL. */
#define BLUR_ALONG(name, element, vector) \
    static void name(element *restrict slot, const element *line, int64_t n, int64_t step, const element *weight, \
                     int32_t radius, const char *ahead) \
    { \
        for (int64_t i = 0; i < n; i += BLUR_BLOCK) { \
            if (ahead) span_prefetch(ahead + i * (int64_t)sizeof(element), BLUR_BLOCK * sizeof(element)); \
            const element *middle = line + i + radius * step; \
            vector sum[BLUR_VECTORS]; \
            _Pragma("GCC unroll 4") for (int k = 0; k < BLUR_VECTORS; k++) sum[k] = \
                weight[0] * load_##vector(middle + k * BLUR_LANES); \
            for (int32_t d = 1; d <= radius; d++) { \
                const element *before = middle - d * step, *after = middle + d * step; \
                _Pragma("GCC unroll 4") for (int k = 0; k < BLUR_VECTORS; k++) sum[k] += \
                    weight[d] * (load_##vector(before + k * BLUR_LANES) + load_##vector(after + k * BLUR_LANES)); \
            } \
            _Pragma("GCC unroll 4") for (int k = 0; k < BLUR_VECTORS; k++) \
                memcpy(slot + i + k * BLUR_LANES, &sum[k], sizeof sum[k]); \
        } \
    }
BLUR_ALONG(blur_along_u32, uint32_t, blur_u32)
BLUR_ALONG(blur_along_f32, float, blur_f32)

/* ---- Down the column and out ---- */

static int64_t blur_reach(int64_t left, int32_t radius) { return left < radius ? left : radius; }

/* Sum of the weights inside along one axis, at position i of n. */
static uint64_t blur_total(const trine_blur_weights *w, int64_t i, int64_t n)
{
    return (uint64_t)w->sum[blur_reach(i, w->radius)] + w->sum[blur_reach(n - 1 - i, w->radius)] - w->at[0];
}

/* Row `row` of the ring. */
static char *blur_slot(const blur_strip *s, int64_t row, int64_t size)
{
    const int64_t count = 2 * s->job->w.radius + 1;
    return s->ring + ((row % count + count) % count) * s->job->strip * size;
}

/* The slots of the rows around `out`, the first one radius before it. */
static void blur_slots(const blur_strip *s, int64_t out, char **slot)
{
    for (int32_t d = 0; d <= 2 * s->job->w.radius; d++) slot[d] = blur_slot(s, out + d - s->job->w.radius, 4);
}

enum { BLUR_PIECE = 64 }; /* elements; whole steps */

/* The sums of the piece at i. */
static void blur_down_gaussian(const trine_blur_weights *w, char *const *slot, int64_t i, double *sums)
{
    enum { LANES = BLUR_LANES / 2, BLOCK = BLUR_VECTORS * LANES };
    for (int64_t end = i + BLUR_PIECE; i < end; i += BLOCK, sums += BLOCK) {
        const int32_t *middle = (const int32_t *)slot[w->radius] + i;
        blur_f64 sum[BLUR_VECTORS];
#pragma GCC unroll 4
        for (int k = 0; k < BLUR_VECTORS; k++)
            sum[k] = (double)w->at[0] * __builtin_convertvector(load_blur_half(middle + k * LANES), blur_f64);
        for (int32_t d = 1; d <= w->radius; d++) {
            const int32_t *above = (const int32_t *)slot[w->radius - d] + i, *below = (const int32_t *)slot[w->radius + d] + i;
            const double weight = (double)w->at[d];
#pragma GCC unroll 4
            for (int k = 0; k < BLUR_VECTORS; k++)
                sum[k] += weight * __builtin_convertvector(load_blur_half(above + k * LANES) + load_blur_half(below + k * LANES),
                                                           blur_f64);
        }
        memcpy(sums, sum, sizeof sum);
    }
}

static void blur_down_f32(const blur_strip *s, char *const *slot, float inverse)
{
    const blur_job *j = s->job;
    float *out = (float *)(void *)s->out;
    for (int64_t i = 0; i < s->n; i += BLUR_BLOCK) {
        const float *middle = (const float *)slot[j->w.radius] + i;
        blur_f32 sum[BLUR_VECTORS];
#pragma GCC unroll 4
        for (int k = 0; k < BLUR_VECTORS; k++) sum[k] = j->weight[0] * load_blur_f32(middle + k * BLUR_LANES);
        for (int32_t d = 1; d <= j->w.radius; d++) {
            const float *above = (const float *)slot[j->w.radius - d] + i, *below = (const float *)slot[j->w.radius + d] + i;
#pragma GCC unroll 4
            for (int k = 0; k < BLUR_VECTORS; k++)
                sum[k] += j->weight[d] * (load_blur_f32(above + k * BLUR_LANES) + load_blur_f32(below + k * BLUR_LANES));
        }
#pragma GCC unroll 4
        for (int k = 0; k < BLUR_VECTORS; k++) {
            sum[k] *= load_blur_f32(s->inverse + i + k * BLUR_LANES) * inverse;
            memcpy(out + i + k * BLUR_LANES, &sum[k], sizeof sum[k]);
        }
    }
}

/* floor((sum + total / 2) / total) of a piece; total = across * down, the same for all where no column is missing. */
#define BLUR_QUOTIENTS(name, sum_type, real, round_down) \
    static void name(uint8_t *restrict out, const sum_type *sums, const double *across, double down, bool all_columns) \
    { \
        if (all_columns) { \
            const real total = (real)(across[0] * down), half = round_down(total / 2) + (real)0.5, reciprocal = 1 / total; \
            for (int k = 0; k < BLUR_PIECE; k++) out[k] = (uint8_t)(int32_t)(((real)sums[k] + half) * reciprocal); \
            return; \
        } \
        for (int k = 0; k < BLUR_PIECE; k++) { \
            const real total = (real)(across[k] * down); \
            out[k] = (uint8_t)(int32_t)(((real)sums[k] + (round_down(total / 2) + (real)0.5)) * (1 / total)); \
        } \
    }
BLUR_QUOTIENTS(blur_quotients, double, double, floor)
BLUR_QUOTIENTS(blur_box_quotients, int32_t, double, floor)
/* In f32 for totals up to 2^12: sums are below 2^20, and 1 / (2 total) is four times the error of two roundings of 255. */
BLUR_QUOTIENTS(blur_small_box_quotients, int32_t, float, floorf)
enum { BLUR_SMALL_BOX = 31 };

static void blur_out_u8(const blur_strip *s, int64_t out)
{
    const blur_job *j = s->job;
    const double down = (double)blur_total(&j->w, out, j->shape.height);
    const int64_t edge = j->w.radius * j->shape.step;
    char *slot[2 * TRINE_BLUR_RADIUS_MAX + 1];
    if (j->gaussian) blur_slots(s, out, slot);
    for (int64_t i = 0; i < s->n; i += BLUR_PIECE) {
        const bool all_columns = s->begin + i >= edge && s->begin + i + BLUR_PIECE <= j->shape.row - edge;
        uint8_t *to = (uint8_t *)s->out + i;
        if (j->gaussian) {
            double sums[BLUR_PIECE];
            blur_down_gaussian(&j->w, slot, i, sums);
            blur_quotients(to, sums, s->across + i, down, all_columns);
        } else if (j->w.radius <= BLUR_SMALL_BOX) {
            blur_small_box_quotients(to, s->column + i, s->across + i, down, all_columns);
        } else {
            blur_box_quotients(to, s->column + i, s->across + i, down, all_columns);
        }
    }
    span_copy_bytes(j->y + (s->plane * j->shape.height + out) * j->shape.row + s->begin, s->out, s->n, j->stream);
}

static void blur_out_f32(const blur_strip *s, int64_t out)
{
    const blur_job *j = s->job;
    char *slot[2 * TRINE_BLUR_RADIUS_MAX + 1];
    const float down = (float)blur_total(&j->w, out, j->shape.height) * j->scale * j->scale;
    blur_slots(s, out, slot);
    blur_down_f32(s, slot, 1.0f / down);
    span_store(j->y + ((s->plane * j->shape.height + out) * j->shape.row + s->begin) * j->size, j->dtype,
               (const float *)(void *)s->out, s->n, j->stream);
}

/* ---- A strip ---- */

/* The row's part that the strip sees, with zeros where the row ends: a line, or where it lies. */
static const char *blur_read(const blur_strip *s, int64_t row)
{
    const blur_job *j = s->job;
    const int64_t size = j->line_size, edge = j->w.radius * j->shape.step;
    const int64_t first = s->begin - edge > 0 ? s->begin - edge : 0,
                  end = s->begin + s->n + edge < j->shape.row ? s->begin + s->n + edge : j->shape.row;
    const int64_t n = end - first, before = first - (s->begin - edge);
    const char *from = j->x + ((s->plane * j->shape.height + row) * j->shape.row + first) * j->size;
    char *to = s->line + before * size;
    if (j->size < 4 && row + BLUR_AHEAD < j->shape.height) span_prefetch(from + BLUR_AHEAD * j->shape.row * j->size, n * j->size);
    if (n == s->n + 2 * edge && s->n % BLUR_PIECE == 0 && (size == 1 || j->dtype == TRINE_F32)) return from;
    memset(s->line, 0, (size_t)(before * size));
    memset(to + n * size, 0, (size_t)((j->line - before - n) * size));
    if (size == 1) {
        memcpy(to, from, (size_t)n);
    } else if (j->dtype == TRINE_U8) {
        for (int64_t i = 0; i < n; i++) ((uint32_t *)(void *)to)[i] = (uint8_t)from[i];
    } else {
        const float *found = span_load((float *)(void *)to, from, j->dtype, n);
        if (found != (const float *)(void *)to) memcpy(to, found, (size_t)n * sizeof(float));
    }
    return s->line;
}

/* Outside of the image all is 0. */
static void blur_in(const blur_strip *s, int64_t row)
{
    const blur_job *j = s->job;
    const int64_t step = j->shape.step, n = blur_up_to(s->n, BLUR_PIECE);
    const bool outside = row < 0 || row >= j->shape.height, box = j->dtype == TRINE_U8 && !j->gaussian;
    char *slot = blur_slot(s, row, box ? 2 : 4);
    if (outside && !box) {
        memset(slot, 0, (size_t)n * 4);
        return;
    }
    if (outside) memset(s->line, 0, (size_t)j->line);
    const char *line = outside ? s->line : blur_read(s, row),
               *ahead = row + BLUR_AHEAD < j->shape.height && j->size == 4
                            ? j->x + ((s->plane * j->shape.height + row + BLUR_AHEAD) * j->shape.row + s->begin) * j->size
                            : NULL;
    if (box)
        blur_along_box((uint16_t *)(void *)slot, s->column, (const uint8_t *)line, s->n, step, j->w.radius);
    else if (j->gaussian && j->dtype == TRINE_U8)
        blur_along_u32((uint32_t *)(void *)slot, (const uint32_t *)(const void *)line, n, step, j->w.at, j->w.radius, NULL);
    else
        blur_along_f32((float *)(void *)slot, (const float *)(const void *)line, n, step, j->weight, j->w.radius, ahead);
}

/* Rows [first, last) of the strip. */
static void blur_descend(const blur_strip *s, int64_t first, int64_t last)
{
    const blur_job *j = s->job;
    const int32_t radius = j->w.radius;
    for (int64_t i = 0; i < j->strip; i++) {
        const double across = i < s->n ? (double)blur_total(&j->w, (s->begin + i) / j->shape.step, j->shape.width) : 1;
        if (j->dtype == TRINE_U8)
            s->across[i] = across;
        else
            s->inverse[i] = (float)(1 / across);
    }
    if (s->column) memset(s->column, 0, (size_t)j->strip * sizeof *s->column);
    if (s->column) memset(s->ring, 0, (size_t)((2 * radius + 1) * j->strip) * sizeof(uint16_t));
    for (int64_t row = first - radius; row < last + radius; row++) {
        blur_in(s, row);
        if (row - radius < first) continue;
        if (j->dtype == TRINE_U8)
            blur_out_u8(s, row - radius);
        else
            blur_out_f32(s, row - radius);
    }
}

/* ---- All of it ---- */

/* sigma 0: a box. */
static blur_job blur_job_make(const trine_blur_args *a, float sigma)
{
    blur_job j = {.w = trine_blur_weights_make(a->radius, sigma),
                  .shape = trine_blur_shape_of(a),
                  .gaussian = sigma > 0,
                  .dtype = a->x.dtype,
                  .x = a->x.data,
                  .y = a->y.data};
    const int64_t count = 2 * j.w.radius + 1;
    if (j.shape.planes * j.shape.height * j.shape.row == 0) return j;
    j.size = trine_dtype_bits(j.dtype) / 8;
    j.line_size = j.dtype == TRINE_U8 && !j.gaussian ? 1 : 4;
    j.stream = span_should_stream(j.shape.planes * j.shape.height * j.shape.row * j.size);
    j.scale = j.gaussian ? 1.0f / TRINE_BLUR_ONE : 1.0f;
    for (int d = 0; d <= TRINE_BLUR_RADIUS_MAX; d++) j.weight[d] = (float)j.w.at[d] * j.scale;
    j.strip = BLUR_RING_BYTES / (4 * count) / 64 * 64;
    j.strip = j.strip < BLUR_STRIP_MIN ? BLUR_STRIP_MIN : j.strip > BLUR_STRIP_MAX ? BLUR_STRIP_MAX : j.strip;
    if (j.strip > j.shape.row) j.strip = blur_up_to(j.shape.row, 64);
    j.strips = (j.shape.row + j.strip - 1) / j.strip;
    /* whole columns, unless there are too few of them for the threads */
    j.rows = j.shape.height;
    const int64_t wanted = 4 * (int64_t)cpu_threads(INT64_MAX / 2, 1),
                  least = 4 * count > BLUR_ROWS_MIN ? 4 * count : BLUR_ROWS_MIN;
    if (j.shape.planes * j.strips < wanted) j.rows = (j.shape.height * j.shape.planes * j.strips + wanted - 1) / wanted;
    if (j.rows < least) j.rows = least < j.shape.height ? least : j.shape.height;
    j.chunks = (j.shape.height + j.rows - 1) / j.rows;
    j.threads = cpu_threads(j.shape.planes * j.strips * j.chunks, 1);
    j.line = j.strip + 2 * j.w.radius * j.shape.step;
    j.bytes_a_thread =
        blur_up_to(j.line * 4, 64) + (count + 4) * j.strip * 4; /* the ring and a row each of column and out, two of across */
    return j;
}

static void blur_run(const blur_job *j, void *workspace)
{
    const int64_t tasks = j->shape.planes * j->strips * j->chunks;
    CPU_PARALLEL_FOR(range, tasks, 1)
    {
        int64_t thread = 0;
#ifdef _OPENMP
        thread = omp_get_thread_num();
#endif
        char *memory = (char *)workspace + thread * j->bytes_a_thread;
        blur_strip s = {.job = j, .line = memory};
        s.out = s.line + blur_up_to(j->line * 4, 64);
        s.across = (double *)(void *)(s.out + j->strip * 4);
        s.inverse = (float *)(void *)s.across;
        s.ring = s.out + 3 * j->strip * 4;
        s.column =
            j->dtype == TRINE_U8 && !j->gaussian ? (int32_t *)(void *)(s.ring + (2 * j->w.radius + 1) * j->strip * 4) : NULL;
        for (int64_t task = range.begin; task < range.end; task++) {
            const int64_t column = task / j->chunks, first = (task - column * j->chunks) * j->rows, last = first + j->rows;
            s.plane = column / j->strips;
            s.begin = (column - s.plane * j->strips) * j->strip;
            s.n = j->shape.row - s.begin < j->strip ? j->shape.row - s.begin : j->strip;
            blur_descend(&s, first, last < j->shape.height ? last : j->shape.height);
        }
        span_fence();
    }
}

#endif
