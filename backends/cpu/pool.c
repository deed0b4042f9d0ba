/* Pooling on the CPU. Spans are of channels where they lie densely, else of a row of the output (or of the input, backward); tap
 * by tap they go into a span of results, in loops that vectorise. */
#include <math.h>

#include "backends/cpu/walk.h"
#include "core/pool_plan.h"

typedef struct job {
    trine_pool_plan plan;
    trine_dtype dtype, index_dtype;
    int64_t size, index_size;
    const char *from;
    char *to, *indices; /* NULL: none */
    bool average, include_pad, stream;
} job;

enum { SMALL, LARGE, INDEX }; /* operands of the plan */

/* Results of a span. */
typedef struct results {
    _Alignas(64) float value[SPAN_MAX];
    int32_t where[SPAN_MAX];
} results;

static const char *at(const job *j, const char *data, int k, const int64_t *plane, int64_t row, int64_t column, int64_t inner)
{
    const trine_pool_plan *p = &j->plan;
    const int64_t size = k == INDEX ? j->index_size : j->size;
    return data + (plane[k] + row * p->row[k] + column * p->column[k] + inner * p->step[k]) * size;
}

/* ---- Forward ---- */

static void clear(const job *j, results *r, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        r->value[i] = j->average ? 0.0f : -INFINITY;
        r->where[i] = -1;
    }
}

/* Element i is tap number first + i step of the plane. */
static void take(const job *j, results *r, const float *x, int64_t begin, int64_t end, int32_t first, int32_t step)
{
    float *restrict value = r->value + begin;
    int32_t *restrict where = r->where + begin;
    const int32_t n = (int32_t)(end - begin);
    if (j->average) {
        for (int32_t i = 0; i < n; i++) value[i] += x[i];
        return;
    }
    for (int32_t i = 0; i < n; i++) {
        const int32_t larger = (x[i] > value[i]) | ((x[i] != x[i]) & (value[i] == value[i])) | (where[i] < 0);
        value[i] = larger ? x[i] : value[i];
        where[i] = larger ? first + i * step : where[i];
    }
}

static void put_indices(const job *j, char *to, const int32_t *where, int64_t n, int64_t step)
{
    if (j->index_dtype == TRINE_I32)
        for (int64_t i = 0; i < n; i++) ((int32_t *)(void *)to)[i * step] = where[i];
    else
        for (int64_t i = 0; i < n; i++) ((int64_t *)(void *)to)[i * step] = where[i];
}

/* The outputs o of [begin, end) whose tap j lies inside of the input. */
static cpu_range inside(const trine_pool_axis *a, int64_t tap, int64_t begin, int64_t end)
{
    const int64_t shift = tap * a->dilation - a->padding; /* the tap is at o stride + shift */
    const int64_t first = shift < 0 ? (-shift + a->stride - 1) / a->stride : 0;
    const int64_t last = a->in > shift ? (a->in - shift + a->stride - 1) / a->stride : 0;
    cpu_range range = {first > begin ? first : begin, last < end ? last : end};
    if (range.end < range.begin) range.end = range.begin;
    return range;
}

/* Columns [begin, begin + n) of an output row, of one channel; or, with channels in spans, n channels from `begin` of the output
 * `column`. */
static void forward_span(const job *j, const int64_t *plane, int64_t row, int64_t column, int64_t begin, int64_t n)
{
    const trine_pool_plan *p = &j->plan;
    const bool channels = p->inner > 1;
    results r;
    SPAN_BUFFER(buffer);
    clear(j, &r, n);
    for (int64_t i = 0, h = row * p->height.stride - p->height.padding; i < p->height.kernel; i++, h += p->height.dilation) {
        if (h < 0 || h >= p->height.in) continue;
        for (int64_t k = 0; k < p->width.kernel; k++) {
            const int64_t shift = k * p->width.dilation - p->width.padding, w = column * p->width.stride + shift;
            cpu_range range = {begin, begin + n};
            if (!channels) range = inside(&p->width, k, begin, begin + n);
            if (channels ? w < 0 || w >= p->width.in : range.begin == range.end) continue;
            const int64_t first = channels ? w : range.begin * p->width.stride + shift;
            const float *x = cpu_load(buffer, at(j, j->from, LARGE, plane, h, first, channels ? begin : 0), j->dtype,
                                      range.end - range.begin, channels ? 1 : p->width.stride * p->column[LARGE]);
            take(j, &r, x, range.begin - begin, range.end - begin, (int32_t)(h * p->width.in + first),
                 channels ? 0 : p->width.stride);
        }
    }
    const int32_t deep = j->average ? trine_pool_taps(&p->height, (int32_t)row, j->include_pad) : 1;
    for (int64_t i = 0; i < n && j->average; i++)
        r.value[i] /= (float)deep * (float)trine_pool_taps(&p->width, (int32_t)(channels ? column : begin + i), j->include_pad);
    const int64_t first = channels ? column : begin, inner = channels ? begin : 0;
    cpu_store((char *)at(j, j->to, SMALL, plane, row, first, inner), j->dtype, r.value, n, channels ? 1 : p->column[SMALL],
              j->stream);
    if (j->indices)
        put_indices(j, (char *)at(j, j->indices, INDEX, plane, row, first, inner), r.where, n,
                    channels ? p->step[INDEX] : p->column[INDEX]);
}

/* ---- Backward ---- */

/* sum[i step] += dy[i], where its index says so. */
static void give(const job *j, float *sum, int64_t step, const float *dy, const char *index, int64_t index_step, int32_t own,
                 int32_t own_step, int64_t n)
{
    if (j->average)
        for (int64_t i = 0; i < n; i++) sum[i * step] += dy[i];
    else if (j->index_dtype == TRINE_I32)
        for (int64_t i = 0; i < n; i++)
            sum[i * step] += ((const int32_t *)(const void *)index)[i * index_step] == own + (int32_t)i * own_step ? dy[i] : 0.0f;
    else
        for (int64_t i = 0; i < n; i++)
            sum[i * step] += ((const int64_t *)(const void *)index)[i * index_step] == own + i * own_step ? dy[i] : 0.0f;
}

/* As forward_span, of dx. */
static void backward_span(const job *j, const int64_t *plane, int64_t row, int64_t column, int64_t begin, int64_t n)
{
    const trine_pool_plan *p = &j->plan;
    const trine_pool_axis *wide = &p->width;
    const bool channels = p->inner > 1;
    SPAN_BUFFER(sum);
    SPAN_BUFFER(buffer);
    SPAN_BUFFER(part);
    for (int64_t i = 0; i < n; i++) sum[i] = 0;
    for (int64_t i = 0; i < p->height.kernel; i++) {
        const int64_t t = row + p->height.padding - i * p->height.dilation, o = t / p->height.stride;
        if (t < 0 || t % p->height.stride || o >= p->height.out) continue;
        const int32_t deep = j->average ? trine_pool_taps(&p->height, (int32_t)o, j->include_pad) : 1;
        for (int64_t k = 0; k < wide->kernel; k++) {
            /* column w = first stride + shift + i stride, i < count, gets from the outputs first + i */
            const int64_t shift = k * wide->dilation - wide->padding, u = column - shift;
            int64_t first = u / wide->stride, count = n;
            if (channels && (u < 0 || u % wide->stride || first >= wide->out)) continue;
            if (!channels) {
                first = begin > shift ? (begin - shift + wide->stride - 1) / wide->stride : 0;
                int64_t end = begin + n > shift ? (begin + n - shift + wide->stride - 1) / wide->stride : 0;
                if (end > wide->out) end = wide->out;
                if (end <= first) continue;
                count = end - first;
            }
            const int64_t inner = channels ? begin : 0, w = first * wide->stride + shift;
            const float *dy =
                cpu_load(buffer, at(j, j->from, SMALL, plane, o, first, inner), j->dtype, count, channels ? 1 : p->column[SMALL]);
            for (int64_t l = 0; l < count && j->average; l++)
                part[l] =
                    dy[l] / ((float)deep * (float)trine_pool_taps(wide, (int32_t)(channels ? first : first + l), j->include_pad));
            give(j, channels ? sum : sum + (w - begin), channels ? 1 : wide->stride, j->average ? part : dy,
                 j->indices ? at(j, j->indices, INDEX, plane, o, first, inner) : NULL,
                 channels ? p->step[INDEX] : p->column[INDEX], (int32_t)(row * wide->in + w), channels ? 0 : wide->stride, count);
        }
    }
    cpu_store((char *)at(j, j->to, LARGE, plane, row, channels ? column : begin, channels ? begin : 0), j->dtype, sum, n,
              channels ? 1 : p->column[LARGE], j->stream);
}

/* ---- All of it: rows (channels: pixels) of what is written ---- */

typedef void (*span_fn)(const job *j, const int64_t *plane, int64_t row, int64_t column, int64_t begin, int64_t n);

static void run(const job *j, span_fn span, int64_t rows, int64_t columns)
{
    const trine_pool_plan *p = &j->plan;
    const bool channels = p->inner > 1;
    const int64_t n = channels ? p->inner : columns, pixels = channels ? columns : 1,
                  taps = (int64_t)p->height.kernel * p->width.kernel;
    const int64_t grain = CPU_GRAIN / (n * (taps < 16 ? taps : 16)) + 1, total = p->planes.numel * rows * pixels;
    CPU_PARALLEL_FOR(range, total, grain)
    {
        for (int64_t i = range.begin; i < range.end; i++) {
            const int64_t row = i / pixels % rows, column = channels ? i % pixels : 0;
            int64_t plane[TRINE_ITER_OPERANDS];
            trine_iter_offsets(&p->planes, i / pixels / rows, plane);
            for (int64_t begin = 0; begin < n; begin += SPAN_MAX)
                span(j, plane, row, column, begin, n - begin < SPAN_MAX ? n - begin : SPAN_MAX);
        }
        span_fence();
    }
}

static job job_make(const trine_tensor *small, const trine_tensor *large, const trine_tensor *indices, const trine_pool_window *w,
                    trine_pool_kind kind, int32_t channels_last)
{
    return (job){.plan = trine_pool_plan_make(small, large, indices, w, channels_last),
                 .dtype = small->dtype,
                 .index_dtype = indices->dtype,
                 .size = trine_dtype_bits(small->dtype) / 8,
                 .index_size = trine_dtype_bits(indices->dtype) / 8,
                 .indices = trine_is_given(indices) ? indices->data : NULL,
                 .average = kind == TRINE_POOL_AVERAGE,
                 .include_pad = w->count_include_pad != 0};
}

trine_status TRINE_CPU(pool)(trine_call *call, const trine_pool_args *a)
{
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, 0);
    if (trine_tensor_numel(&a->y) == 0) return TRINE_OK;
    job j = job_make(&a->y, &a->x, &a->indices, &a->window, a->kind, a->channels_last);
    j.from = a->x.data;
    j.to = a->y.data;
    j.stream = span_should_stream(trine_tensor_numel(&a->y) * j.size);
    run(&j, forward_span, j.plan.height.out, j.plan.width.out);
    return TRINE_OK;
}

trine_status TRINE_CPU(pool_backward)(trine_call *call, const trine_pool_backward_args *a)
{
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, 0);
    if (trine_tensor_numel(&a->dx) == 0) return TRINE_OK;
    job j = job_make(&a->dy, &a->dx, &a->indices, &a->window, a->kind, a->channels_last);
    j.from = a->dy.data;
    j.to = a->dx.data;
    j.stream = span_should_stream(trine_tensor_numel(&a->dx) * j.size);
    run(&j, backward_span, j.plan.height.in, j.plan.width.in);
    return TRINE_OK;
}
