/* Adding rows up by ids on the CPU: scatter_add, embedding_backward, segment_sum. Bound by bytes.
 *
 * The ids are sorted stably by counting. The sorted list is cut into tiles of one length, which threads take, each column span by
 * column span in L1; a run of equal ids that lies in its tile is an output, what is left of one that crosses the end of a tile is
 * a partial. Then the outputs that have partials, or that no id names, are written. Who adds what to whom does not depend on the
 * number of threads. */
#ifndef TRINE_CPU_SCATTER_H
#define TRINE_CPU_SCATTER_H

#include "backends/cpu/ids.h"
#include "backends/cpu/lanes.h"
#include "backends/cpu/walk.h"
#include "core/taken.h"

/* Rows stand anywhere: they are asked for while those SCATTER_AHEAD bytes before them are added, enough to hide the latency. */
enum { SCATTER_AHEAD = 8192, SCATTER_ROWS_AHEAD = 32, SCATTER_FEW = 64 };
enum { SCATTER_TILE = 256, SCATTER_Y = 0, SCATTER_ROWS, SCATTER_X };

typedef struct scatter {
    const trine_tensor *x, *ids, *rows, *y; /* rows are added to y's slices along the axis; x may be not given */
    int64_t n, slices, tiles, columns;
    trine_iter outer, places; /* outer: of y, rows, x without the axis and ids' axes */
    int64_t inner_size, inner[TRINE_ITER_OPERANDS], spans;
    int64_t y_step, x_step, y_size, row_size;
    int64_t *first, *place; /* first[v]: where v's run begins in the sorted list; place: offset of each one's row */
    int32_t *key, *counts;  /* counts: of each block of the unsorted list, one for each slice */
    int64_t blocks;
    float *partials;
    bool stream;
} scatter;

/* A span of columns. */
typedef struct scatter_span {
    int64_t offset[TRINE_ITER_OPERANDS], n, column;
} scatter_span;

static inline scatter_span scatter_span_of(const scatter *s, int64_t index)
{
    const int64_t a_run = (s->inner_size + SPAN_MAX - 1) / SPAN_MAX, run = index / a_run, begin = index % a_run * SPAN_MAX;
    scatter_span span = {.n = s->inner_size - begin < SPAN_MAX ? s->inner_size - begin : SPAN_MAX};
    trine_iter_offsets(&s->outer, run, span.offset);
    for (int k = 0; k < 3; k++) span.offset[k] += begin * s->inner[k];
    span.column = run * s->inner_size + begin;
    return span;
}

static inline float *scatter_partial(const scatter *s, int64_t tile, int slot, const scatter_span *span)
{
    return s->partials + (tile * 2 + slot) * s->columns + span->column;
}

static inline void scatter_write(const scatter *s, int64_t row, const scatter_span *span, float *sum)
{
    SPAN_BUFFER(buffer);
    char *y = (char *)s->y->data + (span->offset[SCATTER_Y] + row * s->y_step) * s->y_size;
    if (trine_is_given(s->x)) {
        const char *from = (const char *)s->x->data + (span->offset[SCATTER_X] + row * s->x_step) * s->y_size;
        const float *x = cpu_load(buffer, from, s->y->dtype, span->n, s->inner[SCATTER_X]);
        for (int64_t j = 0; j < span->n; j++) sum[j] += x[j];
    }
    cpu_store(y, s->y->dtype, sum, span->n, s->inner[SCATTER_Y], s->stream);
}

/* Entry i of the sorted list, which must have a place. */
static inline const char *scatter_row(const scatter *s, int64_t i, const scatter_span *span)
{
    return (const char *)s->rows->data + (span->offset[SCATTER_ROWS] + s->place[i]) * s->row_size;
}

/* Meanwhile the row at `next` is asked for, a line as one is added: in bursts they would wait for each other. */
LANES_INLINE void scatter_take_as(float *sum, const char *from, trine_dtype dtype, int64_t n, const char *next)
{
    f32x16 v;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        if (i * lanes_size(dtype) % 64 == 0) __builtin_prefetch(next + i * lanes_size(dtype));
        memcpy(&v, sum + i, sizeof v);
        v += lanes_load(from, dtype, i);
        memcpy(sum + i, &v, sizeof v);
    }
    if (i == n) return;
    v = lanes_load_part(from, dtype, i, n - i, 0) + lanes_load_part(sum, TRINE_F32, i, n - i, 0);
    lanes_store_part(sum + i, v, n - i);
}

/* sum += a row. */
static inline void scatter_take(const scatter *s, float *sum, const char *from, int64_t n, const char *next)
{
    SPAN_BUFFER(buffer);
    const int64_t step = s->inner[SCATTER_ROWS];
    if (step != 1)
        scatter_take_as(sum, (const char *)cpu_load(buffer, from, s->rows->dtype, n, step), TRINE_F32, n, next);
    else if (s->rows->dtype == TRINE_F32)
        scatter_take_as(sum, from, TRINE_F32, n, next);
    else if (s->rows->dtype == TRINE_BF16)
        scatter_take_as(sum, from, TRINE_BF16, n, next);
    else
        scatter_take_as(sum, from, TRINE_F16, n, next);
}

static inline void scatter_tile(const scatter *s, int64_t tile, const scatter_span *span)
{
    SPAN_BUFFER(sum);
    const int64_t begin = tile * SCATTER_TILE, end = begin + SCATTER_TILE < s->n ? begin + SCATTER_TILE : s->n,
                  bytes = span->n * s->row_size,
                  most = SCATTER_AHEAD / bytes < SCATTER_ROWS_AHEAD ? SCATTER_AHEAD / bytes : SCATTER_ROWS_AHEAD,
                  ahead = most < 1 ? 1 : most;
    for (int64_t i = begin, next; i < end; i = next) {
        const int32_t key = s->key[i];
        if (key < 0 || key >= s->slices) {
            next = i + 1;
            continue;
        }
        memset(sum, 0, (size_t)span->n * sizeof *sum);
        for (next = i; next < end && s->key[next] == key; next++) {
            const char *row = scatter_row(s, next, span);
            const bool more = next + ahead < s->n && s->key[next + ahead] >= 0 && s->key[next + ahead] < s->slices;
            scatter_take(s, sum, row, span->n, more ? scatter_row(s, next + ahead, span) : row);
        }
        const bool began_before = i == begin && i > 0 && s->key[i - 1] == key,
                   goes_on = next == end && end < s->n && s->key[end] == key;
        if (!began_before && !goes_on)
            scatter_write(s, key, span, sum);
        else
            memcpy(scatter_partial(s, tile, began_before ? 0 : 1, span), sum, (size_t)span->n * sizeof *sum);
    }
}

/* An output that is made of partials, or of nothing. */
static inline void scatter_rest(const scatter *s, int64_t row, const scatter_span *span)
{
    SPAN_BUFFER(sum);
    const int64_t begin = s->first[row], end = s->first[row + 1];
    if (begin < end) {
        const int64_t tile = begin / SCATTER_TILE, last = (end - 1) / SCATTER_TILE;
        if (tile == last) return;
        memcpy(sum, scatter_partial(s, tile, 1, span), (size_t)span->n * sizeof *sum);
        for (int64_t t = tile + 1; t <= last; t++) {
            const float *part = scatter_partial(s, t, 0, span);
            for (int64_t j = 0; j < span->n; j++) sum[j] += part[j];
        }
    } else {
        if (trine_is_given(s->x) && s->x->data == s->y->data) return;
        memset(sum, 0, (size_t)span->n * sizeof *sum);
    }
    scatter_write(s, row, span, sum);
}

/* All columns of an output. One that no id names and that is dense has x's bytes, or zeros, which are the same bits in every
 * dtype. */
static inline void scatter_rest_of(const scatter *s, int64_t row)
{
    static const char zeros[4 * SPAN_MAX];
    const bool given = trine_is_given(s->x);
    const int64_t bytes = s->inner_size * s->y_size;
    char *y = (char *)s->y->data + row * s->y_step * s->y_size;
    if (s->first[row] < s->first[row + 1] || s->outer.numel > 1 || s->inner[SCATTER_Y] != 1 ||
        (given && s->inner[SCATTER_X] != 1)) {
        for (int64_t i = 0; i < s->spans; i++) {
            const scatter_span span = scatter_span_of(s, i);
            scatter_rest(s, row, &span);
        }
    } else if (given) {
        span_copy_bytes(y, (const char *)s->x->data + row * s->x_step * s->y_size, bytes, s->stream);
    } else {
        for (int64_t i = 0; i < bytes; i += (int64_t)sizeof zeros)
            span_copy_bytes(y + i, zeros, bytes - i < (int64_t)sizeof zeros ? bytes - i : (int64_t)sizeof zeros, s->stream);
    }
}

/* ---- The sorted list ---- */

static inline int64_t scatter_place(const scatter *s, int64_t i)
{
    int64_t offset[TRINE_ITER_OPERANDS];
    if (s->places.ndim == 1) return i * s->places.stride[0][0];
    trine_iter_offsets(&s->places, i, offset);
    return offset[0];
}

/* The id of entry i in row-major order, -1 or slices where it is out of range. */
static inline int32_t scatter_key(const scatter *s, const trine_iter *it, int64_t i)
{
    const int64_t id = cpu_id_at(s->ids, it, i);
    return (int32_t)(id < 0 ? -1 : id < s->slices ? id : s->slices);
}

/* Ids that do not decrease: they are the list. Between two that differ, runs begin. (Of ids that do decrease no entry stays unset
 * either.) */
static inline void scatter_take_sorted(const scatter *s)
{
    const trine_tensor *operand[] = {s->ids};
    const trine_iter it = trine_iter_make(operand, 1, 1);
    CPU_PARALLEL_FOR(range, s->n, CPU_GRAIN)
    {
        int32_t before = range.begin > 0 ? scatter_key(s, &it, range.begin - 1) : -1;
        for (int64_t i = range.begin; i < range.end; i++) {
            const int32_t key = scatter_key(s, &it, i);
            for (int64_t v = (int64_t)before + 1; v <= key; v++) s->first[v] = i;
            s->key[i] = before = key;
            s->place[i] = scatter_place(s, i);
        }
    }
    for (int64_t v = s->n > 0 ? (int64_t)s->key[s->n - 1] + 1 : 0; v <= s->slices; v++) s->first[v] = s->n;
}

/* Blocks of the list that are counted and placed apart; what comes of it does not depend on how many there are. */
static inline cpu_range scatter_block(const scatter *s, int64_t block)
{
    const int64_t length = (s->n + s->blocks - 1) / s->blocks, begin = block * length;
    return (cpu_range){begin < s->n ? begin : s->n, begin + length < s->n ? begin + length : s->n};
}

static inline void scatter_sort(const scatter *s)
{
    const trine_tensor *operand[] = {s->ids};
    const trine_iter it = trine_iter_make(operand, 1, 1);
    CPU_PARALLEL_FOR(range, s->blocks, 1)
    {
        for (int64_t b = range.begin; b < range.end; b++) {
            int32_t *counts = s->counts + b * s->slices;
            const cpu_range block = scatter_block(s, b);
            memset(counts, 0, (size_t)s->slices * sizeof *counts);
            for (int64_t i = block.begin; i < block.end; i++) {
                const int32_t key = scatter_key(s, &it, i);
                if (key >= 0 && key < s->slices) counts[key]++;
            }
        }
    }
    int32_t all = 0;
    for (int64_t v = 0; v < s->slices; v++) { /* counts become where each block's entries of v go */
        s->first[v] = all;
        for (int64_t b = 0; b < s->blocks; b++) {
            const int32_t count = s->counts[b * s->slices + v];
            s->counts[b * s->slices + v] = all;
            all += count;
        }
    }
    s->first[s->slices] = all;
    CPU_PARALLEL_FOR(range, s->blocks, 1)
    {
        for (int64_t b = range.begin; b < range.end; b++) {
            int32_t *counts = s->counts + b * s->slices;
            const cpu_range block = scatter_block(s, b);
            for (int64_t i = block.begin; i < block.end; i++) {
                const int32_t key = scatter_key(s, &it, i);
                if (key < 0 || key >= s->slices) continue;
                const int32_t to = counts[key]++;
                s->key[to] = key;
                s->place[to] = scatter_place(s, i);
            }
        }
    }
    for (int64_t i = all; i < s->n; i++) s->key[i] = (int32_t)s->slices;
}

/* ---- Host ---- */

/* The list's keys and the blocks' counts. */
static inline size_t scatter_keys_bytes(const scatter *s)
{
    return ((size_t)(s->n + s->blocks * s->slices) * sizeof(int32_t) + 63) / 64 * 64;
}

static inline size_t scatter_bytes(const scatter *s)
{
    return (size_t)(s->slices + 2 + s->n) * sizeof(int64_t) + scatter_keys_bytes(s) +
           (size_t)(s->tiles * 2 * s->columns) * sizeof(float);
}

static inline void scatter_run(scatter *s, bool sorted, char *workspace)
{
    s->first = (int64_t *)(void *)workspace;
    s->place = s->first + s->slices + 2;
    s->key = (int32_t *)(void *)(s->place + s->n);
    s->counts = s->key + s->n;
    s->partials = (float *)(void *)((char *)s->key + scatter_keys_bytes(s));
    if (sorted)
        scatter_take_sorted(s);
    else
        scatter_sort(s);
    const int64_t width = s->inner_size < SPAN_MAX ? s->inner_size : SPAN_MAX;
    CPU_PARALLEL_FOR(range, s->tiles * s->spans, 1 + CPU_GRAIN / (SCATTER_TILE * width))
    {
        for (int64_t i = range.begin; i < range.end; i++) {
            const scatter_span span = scatter_span_of(s, i % s->spans);
            scatter_tile(s, i / s->spans, &span);
        }
        span_fence();
    }
    const int64_t whole = s->slices < SCATTER_FEW ? 0 : s->slices; /* a few are shared by spans */
    CPU_PARALLEL_FOR(range, (s->slices - whole) * s->spans, 1 + CPU_GRAIN / width)
    {
        for (int64_t i = range.begin; i < range.end; i++) {
            const scatter_span span = scatter_span_of(s, i % s->spans);
            scatter_rest(s, i / s->spans, &span);
        }
        span_fence();
    }
    CPU_PARALLEL_FOR(range, whole, 1 + CPU_GRAIN / (s->spans * width))
    {
        for (int64_t row = range.begin; row < range.end; row++) scatter_rest_of(s, row);
        span_fence();
    }
}

/* axis counts from 0. sorted: the ids do not decrease. */
static inline trine_status scatter_call(trine_call *call, const trine_tensor *x, const trine_tensor *ids,
                                        const trine_tensor *rows, const trine_tensor *y, int32_t axis, bool sorted)
{
    scatter s = {.x = x, .ids = ids, .rows = rows, .y = y, .n = trine_tensor_numel(ids), .slices = y->shape[axis]};
    const trine_tensor y_slice = trine_drop_axes(y, axis, 1), row = trine_drop_axes(rows, axis, ids->ndim),
                       x_slice = trine_is_given(x) ? trine_drop_axes(x, axis, 1) : y_slice,
                       places = trine_keep_axes(rows, axis, ids->ndim);
    const trine_tensor *operands[] = {&y_slice, &row, &x_slice}, *place[] = {&places};
    TRINE_REQUIRE_THAT(call, s.n < INT32_MAX && s.slices < INT32_MAX - 1, "needs fewer than 2^31 ids and slices");
    s.outer = trine_iter_make(operands, 3, 0);
    s.places = trine_iter_make(place, 1, 1);
    s.columns = s.outer.numel;
    s.tiles = (s.n + SCATTER_TILE - 1) / SCATTER_TILE;
    const int64_t threads = cpu_threads(s.n, CPU_GRAIN), worth = s.slices > 0 ? s.n / s.slices : 0;
    s.blocks = sorted ? 0 : worth < 1 ? 1 : worth < threads ? worth : threads; /* no more counts than ids */
    s.y_size = trine_dtype_bits(y->dtype) / 8;
    s.row_size = trine_dtype_bits(rows->dtype) / 8;
    s.y_step = y->stride[axis];
    if (trine_is_given(x)) s.x_step = x->stride[axis];
    s.stream = span_should_stream(s.slices * s.columns * s.y_size);
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, scatter_bytes(&s));
    if (s.slices == 0 || s.columns == 0) return TRINE_OK;
    s.inner_size = trine_iter_pop_inner(&s.outer, s.inner);
    s.spans = s.outer.numel * ((s.inner_size + SPAN_MAX - 1) / SPAN_MAX);
    scatter_run(&s, sorted, call->workspace);
    return TRINE_OK;
}

#endif
