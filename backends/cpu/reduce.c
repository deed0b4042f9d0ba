/* Reductions on the CPU. Bound by bytes: each element is read once.
 *
 * An output's elements lie along a run (its axis, or the innermost one of all axes), which is taken in spans, in chunks of a
 * fixed length; or they lie below each other, and columns are taken side by side (reduce_columns.h). Partials are merged in the
 * order of the elements, so that results do not depend on the number of threads. */
#include "backends/cpu/reduce_columns.h"
#include "backends/cpu/scatter.h"

/* far: inputs of more than so many times what is streamed as an output */
enum { REDUCE_CHUNK = REDUCE_PIECES * REDUCE_SPAN, CACHES = 4 };

/* ---- Runs ---- */

/* `count` dense rows of n elements from element i of in[] on. */
static reduce_rows dense_rows(const reduction *r, const char *const *in, int64_t i, int64_t n, int64_t count)
{
    reduce_rows rows = {.dtype = r->dtype, .far = r->far, .n = n, .count = count};
    for (int k = 0; k < REDUCTION_INPUTS; k++) rows.x[k] = in[k] + i * r->size;
    return rows;
}

/* Dense elements are read where they lie, others by way of f32 spans. Elements [begin, end) of the run whose element 0 is at in[];
 * `at`: index of that. */
static void floats_run(const reduction *r, const char *const *in, int64_t begin, int64_t end, int64_t at, partial *p)
{
    SPAN_BUFFER(buffer_x);
    SPAN_BUFFER(buffer_y);
    const int64_t *step = r->shape.step;
    const bool dense = step[0] == 1 && step[1] == 1;
    for (int64_t i = begin, m; i < end; i += m) {
        const int64_t left = end - i, whole = left / REDUCE_SPAN;
        m = left < SPAN_MAX ? left : SPAN_MAX;
        if (dense) {
            const int64_t count = whole < 1 ? 1 : whole < REDUCE_PIECES ? whole : REDUCE_PIECES;
            const reduce_rows rows = dense_rows(r, in, i, whole < 1 ? left : REDUCE_SPAN, count);
            floats_take(r, p, &rows, at + i);
            m = rows.n * count;
            continue;
        }
        reduce_rows rows = {.dtype = TRINE_F32, .n = m, .count = 1};
        rows.x[0] = (const char *)cpu_load(buffer_x, in[0] + i * step[0] * r->size, r->dtype, m, step[0]);
        if (r->kind == DOT) rows.x[1] = (const char *)cpu_load(buffer_y, in[1] + i * step[1] * r->size, r->dtype, m, step[1]);
        floats_take(r, p, &rows, at + i);
    }
}

static void run_take(const reduction *r, const char *const *in, int64_t begin, int64_t end, int64_t at, partial *p)
{
    const int64_t step = r->shape.step[0];
    const void *x = in[0] + begin * step * r->size;
    if (r->dtype == TRINE_I32)
        take_i32(r, p, x, end - begin, step, at + begin);
    else if (r->dtype == TRINE_I64)
        take_i64(r, p, x, end - begin, step, at + begin);
    else
        floats_run(r, in, begin, end, at, p);
}

/* One chunk of run `row` of output `output`. */
static void chunk_take(const reduction *r, int64_t output, int64_t row, int64_t chunk, partial *p)
{
    int64_t base[TRINE_ITER_OPERANDS], offset[TRINE_ITER_OPERANDS];
    const char *in[REDUCTION_INPUTS];
    trine_iter_offsets(&r->shape.kept, output, base);
    trine_iter_offsets(&r->shape.rows, row, offset);
    for (int k = 0; k < REDUCTION_INPUTS; k++) in[k] = r->in[k] + (base[k] + offset[k]) * r->size;
    const int64_t n = r->shape.n, begin = chunk * REDUCE_CHUNK, end = begin + REDUCE_CHUNK < n ? begin + REDUCE_CHUNK : n;
    *p = partial_start(r, row * n + begin);
    run_take(r, in, begin, end, row * n, p);
}

static void output_put(const reduction *r, int64_t output, const partial *p)
{
    int64_t offset[TRINE_ITER_OPERANDS];
    trine_iter_offsets(&r->shape.kept, output, offset);
    partial_put(r, offset[REDUCTION_Y], p);
}

/* ---- Outputs one after the other, each by one thread ---- */

static void output_run(const reduction *r, int64_t output)
{
    partial p = partial_start(r, 0), next;
    for (int64_t k = 0; k < r->chunks; k++) {
        chunk_take(r, output, 0, k, &next);
        partial_merge(r, &p, &next);
    }
    output_put(r, output, &p);
}

/* Short dense runs of floats that follow each other: their results are stored together. */
static void outputs_block(const reduction *r, int64_t output, int64_t outputs)
{
    SPAN_BUFFER(out);
    const int64_t n = r->shape.n, y_step = r->shape.kept.stride[REDUCTION_Y][0];
    const reduce_rows rows = dense_rows(r, r->in, output * n, n, outputs);
    if (r->kind == ARGMAX) {
        int64_t at[SPAN_MAX];
        reduce_where(&rows, at);
        for (int64_t o = 0; o < outputs; o++) partial_put(r, (output + o) * y_step, &(partial){.at = at[o]});
        return;
    }
    reduce_floats[r->kind](&rows, out);
    for (int64_t o = 0; o < outputs; o++) out[o] = partial_float(r, &(partial){.value = (double)out[o]});
    cpu_store((char *)r->y.data + output * y_step * (trine_dtype_bits(r->y.dtype) / 8), r->y.dtype, out, outputs, y_step, false);
}

static int64_t block_of(const reduction *r)
{
    const trine_reduction *s = &r->shape;
    bool dense = !is_integer(r) && s->kept.ndim == 1 && s->n > 0 && s->n <= REDUCE_SPAN;
    for (int k = 0; k < REDUCTION_INPUTS; k++) dense = dense && s->step[k] == 1 && s->kept.stride[k][0] == s->n;
    return dense ? SPAN_MAX : 1;
}

static void outputs_apart(const reduction *r)
{
    const int64_t block = block_of(r), n = r->shape.n;
    CPU_PARALLEL_FOR(range, r->shape.kept.numel, (CPU_GRAIN + n) / (n + 1))
    {
        for (int64_t o = range.begin, m; o < range.end; o += m) {
            m = range.end - o < block ? range.end - o : block;
            if (m > 1)
                outputs_block(r, o, m);
            else
                output_run(r, o);
        }
    }
}

/* ---- Few outputs, or one of all elements: threads share the chunks ---- */

static void outputs_together(const reduction *r, partial *partials)
{
    const int64_t rows = r->shape.rows.numel, tasks = r->shape.kept.numel * rows * r->chunks, n = r->shape.n;
    CPU_PARALLEL_FOR(range, tasks, n >= REDUCE_CHUNK ? 1 : (CPU_GRAIN + n) / (n + 1))
    {
        for (int64_t i = range.begin; i < range.end; i++)
            chunk_take(r, i / r->chunks / rows, i / r->chunks % rows, i % r->chunks, &partials[i]);
    }
    for (int64_t o = 0; o < r->shape.kept.numel; o++) {
        partial p = partials[o * rows * r->chunks];
        for (int64_t i = 1; i < rows * r->chunks; i++) partial_merge(r, &p, &partials[o * rows * r->chunks + i]);
        output_put(r, o, &p);
    }
}

/* ---- Host ---- */

static trine_status reduce(trine_call *call, reduce_kind kind, const trine_tensor *a, const trine_tensor *b,
                           const trine_tensor *y, int32_t axis)
{
    reduction r = {.kind = kind, .dtype = a->dtype, .size = trine_dtype_bits(a->dtype) / 8, .in = {a->data, b->data}, .y = *y};
    r.shape = trine_reduction_make(a, b, y, axis, kind == ARGMAX);
    r.chunks = r.shape.n > REDUCE_CHUNK ? (r.shape.n + REDUCE_CHUNK - 1) / REDUCE_CHUNK : 1;
    r.far = !prefers_l2() && span_should_stream(r.shape.kept.numel * r.shape.rows.numel * r.shape.n * r.size / CACHES);
    call->variant = TRINE_CPU_VARIANT;
    if (r.shape.kept.numel == 0) return TRINE_OK;
    if (columns_fit(&r)) return columns_call(call, &r);
    const bool together = r.shape.rows.numel > 1 || (r.chunks > 1 && r.shape.kept.numel < 64);
    TRINE_END_OF_QUERY(call, together ? (size_t)(r.shape.kept.numel * r.shape.rows.numel * r.chunks) * sizeof(partial) : 0);
    if (together)
        outputs_together(&r, call->workspace);
    else
        outputs_apart(&r);
    return TRINE_OK;
}

/* ---- The backend's functions ---- */

#define REDUCE(name, kind) \
    trine_status TRINE_CPU(name)(trine_call * call, const trine_##name##_args *a) \
    { \
        return reduce(call, kind, &a->x, &a->x, &a->y, a->axis); \
    }
REDUCE(sum, SUM)
REDUCE(mean, MEAN)
REDUCE(amax, AMAX)
REDUCE(amin, AMIN)
REDUCE(argmax, ARGMAX)
REDUCE(norm_l1, NORM_L1)
REDUCE(norm_l2, NORM_L2)

trine_status TRINE_CPU(dot)(trine_call *call, const trine_dot_args *a) { return reduce(call, DOT, &a->a, &a->b, &a->y, a->axis); }

trine_status TRINE_CPU(segment_sum)(trine_call *call, const trine_segment_sum_args *a)
{
    const trine_tensor none = {0};
    return scatter_call(call, &none, &a->ids, &a->x, &a->y, 0, a->sorted);
}
