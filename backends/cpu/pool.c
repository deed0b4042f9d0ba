/* Pooling on the CPU. Bound by bytes where windows are small.
 *
 * A piece is up to PIECE elements of a row of what is written: some columns, each with the channels that lie densely beside each
 * other (or with one). What is read for it is held as f32 in phases, columns apart by their remainder modulo the stride, so that
 * what a tap of all outputs meets stands side by side, and each tap is one loop over dense arrays. Taps are taken in row-major
 * order. */
#include <math.h>

#include "backends/cpu/pool_channels.h"
#include "backends/cpu/pool_planes_back.h"
#include "backends/cpu/pool_planes_deal.h"
#include "backends/cpu/pool_rows.h"

/* ---- Forward ---- */

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

static void take_average(float *restrict value, const float *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) value[i] += x[i];
}

static void take_largest(float *restrict value, const float *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const float v = x[i], b = value[i];
        value[i] = (v > b) | ((v != v) & (b == b)) ? v : b;
    }
}

/* first + column[i]: the element's index. */
static void take_where(float *restrict value, int32_t *restrict where, const float *restrict x, const int32_t *restrict column,
                       int32_t first, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const float v = x[i], b = value[i];
        const int32_t larger = (v > b) | ((v != v) & (b == b)) | (where[i] < 0);
        value[i] = larger ? v : b;
        where[i] = larger ? first + column[i] : where[i];
    }
}

static void take(const job *j, const piece *e, buffers *b, cpu_range range, const float *x, int64_t first)
{
    const int64_t begin = (range.begin - e->first) * e->inner, n = (range.end - range.begin) * e->inner;
    if (j->average)
        take_average(b->value + begin, x, n);
    else if (j->indices)
        take_where(b->value + begin, b->where + begin, x, b->column + begin, (int32_t)first, n);
    else
        take_largest(b->value + begin, x, n);
}

static void forward_piece(const job *j, const piece *e, buffers *b)
{
    const trine_pool_plan *p = &j->plan;
    const trine_pool_axis *a = &p->width;
    const int64_t n = e->count * e->inner, places = places_of(a, e->count);
    const bool phases = places * a->stride * e->inner <= HELD; /* else taps are loaded one by one */
    for (int64_t i = 0; i < n; i++) {
        b->value[i] = j->average ? 0.0f : -INFINITY;
        b->where[i] = -1;
    }
    if (j->indices) number_columns(b, e, e->count, a->stride);
    for (int64_t i = 0, h = e->row * p->height.stride - p->height.padding; i < p->height.kernel; i++, h += p->height.dilation) {
        if (h < 0 || h >= p->height.in) continue;
        if (phases) load_phases(j, e, b, h);
        for (int64_t k = 0; k < a->kernel; k++) {
            const cpu_range range = inside(a, k, e->first, e->first + e->count);
            const int64_t t = k * a->dilation, skipped = range.begin - e->first;
            if (range.begin == range.end) continue;
            const float *x = b->held + (t % a->stride * places + t / a->stride + skipped) * e->inner;
            if (!phases) {
                load_columns(j, b->held, LARGE, e, h, range.begin * a->stride + t - a->padding, a->stride,
                             range.end - range.begin);
                x = b->held;
            }
            take(j, e, b, range, x, h * a->in + e->first * a->stride + t - a->padding);
        }
    }
    if (j->average)
        divide(j, e, b, e->row, e->first, e->count);
    else
        for (int64_t i = 0; i < n; i++) b->value[i] += 0.0f; /* no -0 */
    store_columns(j, b->value, SMALL, e, e->first, 1, e->count);
    if (j->indices) move_indices(j, e, e->row, e->first, e->count, b->where, true);
}

/* ---- Backward: a piece of dx, whose columns' sums are in phases; what comes from each row of dy is added tap by tap ---- */

static void give_average(float *restrict sum, const float *restrict dy, int64_t n)
{
    for (int64_t i = 0; i < n; i++) sum[i] += dy[i];
}

static void give_where(float *restrict sum, const float *restrict dy, const int32_t *restrict where,
                       const int32_t *restrict column, int32_t first, int64_t n)
{
    for (int64_t i = 0; i < n; i++) sum[i] += where[i] == first + column[i] ? dy[i] : 0.0f;
}

/* The outputs of a row whose tap k falls into the piece, and what the phase's places are ahead of them. */
typedef struct reach {
    int64_t phase, ahead;
    cpu_range outputs;
} reach;

static reach reach_of(const trine_pool_axis *a, const piece *e, int64_t k)
{
    const int64_t m = k * a->dilation - a->padding - e->first, ahead = floor_div(m, a->stride), phase = m - ahead * a->stride;
    const int64_t last = e->count > phase ? (e->count - phase + a->stride - 1) / a->stride - ahead : 0;
    reach r = {phase, ahead, {ahead < 0 ? -ahead : 0, last < a->out ? last : a->out}};
    if (r.outputs.end < r.outputs.begin) r.outputs.end = r.outputs.begin;
    return r;
}

static void load_dy(const job *j, const piece *e, buffers *b, int64_t o, cpu_range outputs)
{
    const int64_t count = outputs.end - outputs.begin;
    load_columns(j, b->value, SMALL, e, o, outputs.begin, 1, count);
    if (j->average)
        divide(j, e, b, o, outputs.begin, count);
    else
        move_indices(j, e, o, outputs.begin, count, b->where, false);
}

static void give_row(const job *j, const piece *e, buffers *b, int64_t o, int64_t places)
{
    const trine_pool_axis *a = &j->plan.width;
    cpu_range all = {a->out, 0};
    for (int64_t k = 0; k < a->kernel; k++) {
        const reach r = reach_of(a, e, k);
        if (r.outputs.begin == r.outputs.end) continue;
        if (r.outputs.begin < all.begin) all.begin = r.outputs.begin;
        if (r.outputs.end > all.end) all.end = r.outputs.end;
    }
    if (all.begin >= all.end) return;
    const bool once = (all.end - all.begin) * e->inner <= PIECE;
    if (once) load_dy(j, e, b, o, all);
    for (int64_t k = 0; k < a->kernel; k++) {
        const reach r = reach_of(a, e, k);
        if (r.outputs.begin == r.outputs.end) continue;
        if (!once) load_dy(j, e, b, o, r.outputs);
        const int64_t n = (r.outputs.end - r.outputs.begin) * e->inner,
                      from = once ? (r.outputs.begin - all.begin) * e->inner : 0,
                      first = r.outputs.begin * a->stride + k * a->dilation - a->padding;
        float *sum = b->held + (r.phase * places + r.ahead + r.outputs.begin) * e->inner;
        if (j->average)
            give_average(sum, b->value + from, n);
        else
            give_where(sum, b->value + from, b->where + from, b->column, (int32_t)(e->row * a->in + first), n);
    }
}

static void backward_piece(const job *j, const piece *e, buffers *b)
{
    const trine_pool_plan *p = &j->plan;
    const trine_pool_axis *a = &p->width;
    const int64_t places = (e->count + a->stride - 1) / a->stride, phases = a->stride < e->count ? a->stride : e->count;
    for (int64_t i = 0; i < phases * places * e->inner; i++) b->held[i] = 0;
    if (j->indices) number_columns(b, e, places, a->stride);
    for (int64_t i = 0; i < p->height.kernel; i++) {
        const int64_t t = e->row + p->height.padding - i * p->height.dilation, o = t / p->height.stride;
        if (t < 0 || t % p->height.stride || o >= p->height.out) continue;
        give_row(j, e, b, o, places);
    }
    const float *sums = b->held;
    if (a->stride > 1) {
        join_columns(b->value, b->held, e->count, e->inner, a->stride, places);
        sums = b->value;
    }
    store_columns(j, sums, LARGE, e, e->first, 1, e->count);
}

/* ---- All of it: pieces of the rows of what is written ---- */

typedef void (*piece_fn)(const job *j, const piece *e, buffers *b);

/* Channels and columns are cut evenly into pieces of at most PIECE elements. */
static void run(const job *j, piece_fn fn, int64_t rows, int64_t columns)
{
    const trine_pool_plan *p = &j->plan;
    const int64_t parts = (p->inner + PIECE - 1) / PIECE, inner = (p->inner + parts - 1) / parts, most = PIECE / inner,
                  cuts = (columns + most - 1) / most, count = (columns + cuts - 1) / cuts,
                  taps = p->height.kernel * p->width.kernel;
    const int64_t grain = CPU_GRAIN / (count * inner * (taps < 16 ? taps : 16)) + 1,
                  total = p->planes.numel * rows * cuts * parts;
    CPU_PARALLEL_FOR(range, total, grain)
    {
        buffers b;
        b.numbered = b.counted = 0;
        for (int64_t i = range.begin; i < range.end; i++) {
            int64_t plane[TRINE_ITER_OPERANDS];
            const int64_t row = i / (parts * cuts);
            piece e = {plane, row % rows, i / parts % cuts * count, count, i % parts * inner, inner};
            if (e.first >= columns || e.channel >= p->inner) continue;
            if (columns - e.first < count) e.count = columns - e.first;
            if (p->inner - e.channel < inner) e.inner = p->inner - e.channel;
            trine_iter_offsets(&p->planes, row / rows, plane);
            fn(j, &e, &b);
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
    if (!j.indices && plane_fits(&j, SMALL, LARGE))
        run_planes(&j, plane_forward, false);
    else if (!j.indices && channels_fit(&j))
        run_channels(&j, channels_forward, j.plan.height.out, j.plan.width.out);
    else
        run(&j, forward_piece, j.plan.height.out, j.plan.width.out);
    return TRINE_OK;
}

trine_status TRINE_CPU(pool_backward)(trine_call *call, const trine_pool_backward_args *a)
{
    job j = job_make(&a->dy, &a->dx, &a->indices, &a->window, a->kind, a->channels_last);
    const bool look = planes_look_fit(&j), deal = !look && planes_deal_fit(&j);
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, deal ? planes_deal_bytes() : 0);
    if (trine_tensor_numel(&a->dx) == 0) return TRINE_OK;
    j.from = a->dy.data;
    j.to = a->dx.data;
    j.stream = span_should_stream(trine_tensor_numel(&a->dx) * j.size);
    if (look || (j.average && plane_fits(&j, SMALL, LARGE)))
        run_planes(&j, plane_backward, true);
    else if (deal)
        run_planes_deal(&j, call->workspace);
    else if (channels_fit_back(&j))
        run_channels(&j, channels_backward, j.plan.height.in, j.plan.width.in);
    else
        run(&j, backward_piece, j.plan.height.in, j.plan.width.in);
    return TRINE_OK;
}
