/* Gradients of layernorm and rmsnorm on the CPU.
 *
 * Rows are taken some together, in chunks: while a chunk of them gives dx and is added to the sums of columns, that of as many rows
 * after them is summed, so that memory reads and writes at once (rows.h says why) and sees x, dy and dx once as long as the caches
 * hold the rows. Sums of columns are f32 over GRADIENT_ROWS rows, f64 over a slice of rows; slices are added in their order. What is
 * summed in which order depends on shapes alone, whichever threads do it: they take slices, or the chunks of four rows where rows
 * are few. Bound by bytes. */
#ifndef TRINE_CPU_NORM_BACKWARD_H
#define TRINE_CPU_NORM_BACKWARD_H

#include "backends/cpu/level.h"
#include "backends/cpu/norm_backward_both.h"
#include "core/backend.h"
#include "core/shape.h"

/* A chunk's columns, twice as many of 16 bits and four times as many with gradient_both; rows whose sums are added up in f32; a
 * slice's rows at least, slices at most, and their columns together; columns that are written between the sums of one row and the
 * next. */
enum {
    GRADIENT_CHUNK = 1024,
    GRADIENT_ROWS = 64,
    GRADIENT_SLICE = 64,
    GRADIENT_SLICES = 64,
    GRADIENT_COLUMNS = 1 << 22,
    GRADIENT_QUARTER = 256,
    GRADIENT_AHEAD = 8192,
    GRADIENT_SHORT = 1024,   /* columns whose sums stay in the L1 cache beside the rows */
    GRADIENT_LONG = 1 << 17, /* columns of f32 of which four rows, in x and dy, are more than the L2 cache holds */
    GRADIENT_SOON = 96       /* rows until the statistics that are asked for are wanted */
};

typedef struct gradient_job {
    bool centred, round_first, stream, both; /* both: gradient_both takes all columns */
    trine_dtype dtype;
    int together, side; /* rows of a batch, and those of them that gradient_both takes side by side */
    int64_t size, n, chunk, chunks, slices, slice, row; /* row: bytes from one to the next where `both` */
    trine_iter rows;
    char *data[GRADIENT_OPERANDS];
    const float *mean, *rstd; /* of the forward, or NULL */
    const float *factor;      /* weight_offset + weight, or 1 */
    double eps;
    double *columns;         /* slices x 2 x n: dweight, dbias */
    float *recent;           /* a thread's 2 x n: the same of the rows since the last time they were added there */
    gradient_sums *partials; /* GRADIENT_TOGETHER x chunks, where threads share a row */
} gradient_job;

/* Rows that are taken together, from number `first` on. */
typedef struct gradient_batch {
    int64_t first, count;
    gradient_row row[GRADIENT_TOGETHER];
    gradient_sums sums[GRADIENT_TOGETHER];
    char *after[GRADIENT_OPERANDS]; /* operands of the row after these, or of the first one */
} gradient_batch;

/* Floats of a thread's recent sums, a page between them and the next one's: processors fetch ahead of a row of lines, and would
 * take those that the other thread writes (Zen 5, threads on two L3 caches, bf16 rows of 256: 27 rather than 47 GB/s). */
static int64_t gradient_recent(const gradient_job *j) { return 2 * ((j->n + 15) / 16 * 16) + 1024; }

static void gradient_addresses(const gradient_job *j, int64_t row, char **at)
{
    int64_t offset[TRINE_ITER_OPERANDS];
    if (j->rows.ndim == 1)
        for (int k = 0; k < j->rows.operands; k++) offset[k] = row * j->rows.stride[k][0];
    else
        trine_iter_offsets(&j->rows, row, offset);
    for (int k = 0; k < GRADIENT_OPERANDS; k++) at[k] = k < j->rows.operands ? j->data[k] + offset[k] * j->size : NULL;
}

/* As many as there are up to row `end`; rows are read up to `last`. */
static void gradient_place(const gradient_job *j, gradient_batch *b, int64_t first, int64_t end, int64_t last)
{
    b->first = first;
    b->count = end - first < j->together ? end - first : j->together;
    for (int64_t r = 0; r < b->count; r++) gradient_addresses(j, first + r, b->row[r].at);
    gradient_addresses(j, first + b->count < last ? first + b->count : first, b->after);
    if (j->mean) __builtin_prefetch(j->mean + first + GRADIENT_SOON); /* a miss would stop everything */
    if (j->rstd) __builtin_prefetch(j->rstd + first + GRADIENT_SOON);
}

static int64_t gradient_width(const gradient_job *j, int64_t chunk)
{
    const int64_t left = j->n - chunk * j->chunk;
    return left < j->chunk ? left : j->chunk;
}

/* What follows row r's chunk: the row after it, or the first row's next chunk, or the rows after these; of short rows one that
 * lies GRADIENT_AHEAD bytes behind it. */
static const char *gradient_after(const gradient_job *j, const gradient_batch *b, int64_t r, int64_t chunk, int operand)
{
    const int64_t from = chunk * j->chunk * j->size;
    if (j->chunks == 1 && j->rows.ndim == 1)
        return b->row[r].at[operand] + (1 + GRADIENT_AHEAD / (j->n * j->size + 1)) * j->rows.stride[operand][0] * j->size;
    if (r + 1 < b->count) return b->row[r + 1].at[operand] + from;
    return chunk + 1 < j->chunks ? b->row[0].at[operand] + from + j->chunk * j->size : b->after[operand];
}

static gradient_sums gradient_chunk(const gradient_job *j, const gradient_batch *b, int64_t r, int64_t chunk)
{
    const int64_t column = chunk * j->chunk;
    const gradient_part part = {b->row[r].at[OF_X] + column * j->size, b->row[r].at[OF_DY] + column * j->size,
                                gradient_after(j, b, r, chunk, OF_X), j->factor + column, gradient_width(j, chunk)};
    static const float zero = 0;
    if (j->both) return gradient_alone(&part, j->centred ? j->mean[b->first + r] : 0, j->dtype, j->centred);
    const float *mean = !j->centred && j->rstd ? &zero : j->mean ? &j->mean[b->first + r] : NULL;
    return gradient_sums_of(&part, j->dtype, j->centred, mean, !j->rstd);
}

static void gradient_finish(const gradient_job *j, gradient_batch *b)
{
    const double n = (double)j->n;
    for (int64_t r = 0; r < b->count; r++) {
        const gradient_sums *s = &b->sums[r];
        gradient_row *row = &b->row[r];
        const double var = (s->squares < 0 ? 0 : s->squares) / n;
        const double rstd = j->rstd ? (double)j->rstd[b->first + r] : 1 / sqrt(var + j->eps);
        row->mean = j->centred ? (float)s->mean : 0;
        row->rstd = (float)rstd;
        row->g_mean = j->centred ? (float)(s->g / n) : 0;
        row->slope = (float)(rstd * s->gx / n);
    }
}

/* dx of all rows at n columns, and their sums. ahead: see gradient_columns. */
static void gradient_write(const gradient_job *j, const gradient_batch *b, int64_t column, int64_t n, float *recent,
                           const char *ahead)
{
    gradient_columns c = {column, n / LANES_PUT * LANES_PUT, j->factor + column, recent + column, recent + j->n + column, ahead};
    bool lines = LANES_PUTS && b->count == GRADIENT_TOGETHER && !(j->round_first && j->dtype != TRINE_F32);
    for (int64_t r = 0; r < b->count && j->stream; r++)
        lines = lines && (uintptr_t)(b->row[r].at[TO_DX] + column * j->size) % 64 == 0;
    if (!lines) c.n = 0;
    if (c.n > 0) gradient_put_lines(b->row, &c, j->dtype, j->centred, j->stream);
    for (int64_t i = c.n; i < n; i += c.n) {
        c.column = column + i;
        c.n = n - i < SPAN_MAX ? n - i : SPAN_MAX;
        c.factor = j->factor + c.column;
        c.dweight = recent + c.column;
        c.dbias = c.dweight + j->n;
        for (int64_t r = 0; r < b->count; r++) gradient_put_span(&b->row[r], &c, j->dtype, j->round_first, j->stream);
    }
}

/* Adds what is recent to a slice's sums, or begins them with it. */
static void gradient_settle(const gradient_job *j, double *columns, float *recent, bool begins)
{
    for (int64_t i = 0; i < 2 * j->n; i++) {
        columns[i] = begins ? (double)recent[i] : columns[i] + (double)recent[i];
        recent[i] = 0;
    }
}

/* ---- One thread ---- */

/* A chunk of rows that are summed and of as many that are written, in one loop. */
static void gradient_step_both(const gradient_job *j, gradient_batch *sums, const gradient_batch *writes, int64_t chunk,
                               float *recent)
{
    const int64_t column = chunk * j->chunk, width = gradient_width(j, chunk), from = column * j->size;
    char *const *in = sums->row[0].at, *const *out = writes->row[0].at;
    const gradient_pass pass = {
        .x = in[OF_X] + from,
        .dy = in[OF_DY] + from,
        .old_x = out[OF_X] + from,
        .old_dy = out[OF_DY] + from,
        .dsum = out[OF_DSUM] ? out[OF_DSUM] + from : NULL,
        .dx = out[TO_DX] + from,
        .stride = j->row,
        .length = j->n * j->size,
        .left = (j->n - column) * j->size,
        .mean = j->centred ? j->mean + sums->first : NULL,
        .rows = writes->row,
        .columns = {column, width, j->factor + column, recent + column, recent + j->n + column, NULL},
    };
    for (int r = 0; r < j->together; r += j->side) {
        gradient_sums own[GRADIENT_TOGETHER], *to = chunk == 0 ? sums->sums + r : own;
        gradient_both(&pass, r, j->side, j->dtype, j->centred, j->stream, to);
        for (int k = 0; k < j->side && chunk > 0; k++) gradient_merge(&sums->sums[r + k], &own[k]);
    }
}

/* A chunk of the rows that are summed (none: NULL) and of those that are written (none: NULL), by turns. */
static void gradient_step(const gradient_job *j, gradient_batch *sums, const gradient_batch *writes, int64_t chunk, float *recent)
{
    const int64_t column = chunk * j->chunk, width = gradient_width(j, chunk);
    int64_t quarter = (width + GRADIENT_TOGETHER * LANES_BLOCK - 1) / (GRADIENT_TOGETHER * LANES_BLOCK) * LANES_BLOCK, done = 0;
    if (quarter < GRADIENT_QUARTER) quarter = GRADIENT_QUARTER;
    if (j->both && sums && writes && sums->count == j->together && writes->count == j->together) {
        gradient_step_both(j, sums, writes, chunk, recent);
        return;
    }
    for (int64_t r = 0; r < GRADIENT_TOGETHER; r++) {
        const bool summed = sums && r < sums->count;
        const char *ahead = (const char *)j->factor;
        if (summed) {
            const gradient_sums own = gradient_chunk(j, sums, r, chunk);
            ahead = gradient_after(j, sums, r, chunk, OF_DY);
            if (chunk == 0)
                sums->sums[r] = own;
            else
                gradient_merge(&sums->sums[r], &own);
        }
        const int64_t n = width - done < quarter ? width - done : quarter;
        if (writes && n > 0) gradient_write(j, writes, column + done, n, recent, ahead);
        done += n;
    }
}

/* The rows of all slices in one stream: the first ones of a slice are read while the last ones before it are written. */
static void gradient_slices(const gradient_job *j, cpu_range slices)
{
    const int64_t rows = j->rows.numel, last = slices.end * j->slice < rows ? slices.end * j->slice : rows;
    double *columns = j->columns + slices.begin * 2 * j->n;
    float *recent = j->recent + cpu_thread() * gradient_recent(j);
    gradient_batch batch[2], *before = NULL, *own = NULL;
    int turn = 0;
    bool begins = true;
    for (int64_t i = 0; i < 2 * j->n; i++) recent[i] = 0;
    for (int64_t first = slices.begin * j->slice; first <= last; first += own ? own->count : 1, before = own, turn ^= 1) {
        const int64_t within = first % j->slice, end = first - within + j->slice;
        own = first < last ? &batch[turn] : NULL;
        if (own) gradient_place(j, own, first, end < last ? end : last, last);
        for (int64_t k = 0; k < j->chunks; k++) gradient_step(j, own, before, k, recent);
        if (own) gradient_finish(j, own);
        if (own && (!before || within % GRADIENT_ROWS != 0)) continue;
        gradient_settle(j, columns, recent, begins);
        begins = within == 0;
        if (begins) columns += 2 * j->n;
    }
}

/* ---- All threads ---- */

static void gradient_batch_together(const gradient_job *j, gradient_batch *b)
{
    CPU_PARALLEL_FOR(range, b->count * j->chunks, 8)
    {
        for (int64_t i = range.begin; i < range.end; i++) j->partials[i] = gradient_chunk(j, b, i / j->chunks, i % j->chunks);
    }
    for (int64_t r = 0; r < b->count; r++) {
        b->sums[r] = j->partials[r * j->chunks];
        for (int64_t k = 1; k < j->chunks; k++) gradient_merge(&b->sums[r], &j->partials[r * j->chunks + k]);
    }
    gradient_finish(j, b);
    CPU_PARALLEL_FOR(range, j->chunks, 4)
    {
        for (int64_t k = range.begin; k < range.end; k++)
            gradient_write(j, b, k * j->chunk, gradient_width(j, k), j->recent, (const char *)j->factor);
        span_fence();
    }
}

static void gradient_slice_together(const gradient_job *j, int64_t slice)
{
    const int64_t begin = slice * j->slice, end = begin + j->slice < j->rows.numel ? begin + j->slice : j->rows.numel;
    double *columns = j->columns + slice * 2 * j->n;
    for (int64_t i = 0; i < 2 * j->n; i++) columns[i] = 0;
    for (int64_t i = 0; i < 2 * j->n; i++) j->recent[i] = 0;
    for (int64_t first = begin, after; first < end; first = after) {
        gradient_batch b;
        gradient_place(j, &b, first, end, end);
        gradient_batch_together(j, &b);
        after = first + b.count;
        if (after == end || (after - begin) % GRADIENT_ROWS == 0) gradient_settle(j, columns, j->recent, false);
    }
}

/* ---- Calls ---- */

/* The slices' sums, added in their order. which: 0 dweight, 1 dbias. */
static void gradient_put(const gradient_job *j, const trine_tensor *to, int which)
{
    if (!trine_is_given(to)) return;
    CPU_PARALLEL_FOR(range, j->n, CPU_GRAIN)
    {
        SPAN_BUFFER(out);
        for (int64_t i = range.begin, m; i < range.end; i += m) {
            m = range.end - i < SPAN_MAX ? range.end - i : SPAN_MAX;
            for (int64_t k = 0; k < m; k++) {
                double sum = 0;
                for (int64_t s = 0; s < j->slices; s++) sum += j->columns[(2 * s + which) * j->n + i + k];
                out[k] = (float)sum;
            }
            span_store((char *)to->data + i * (trine_dtype_bits(to->dtype) / 8), to->dtype, out, m, false);
        }
    }
}

static void gradient_plan(gradient_job *j)
{
    const int64_t rows = j->rows.numel, most = GRADIENT_COLUMNS / (j->n + 1) + 1;
    j->slices = rows / GRADIENT_SLICE < GRADIENT_SLICES ? rows / GRADIENT_SLICE : GRADIENT_SLICES;
    if (j->slices > most) j->slices = most;
    if (j->slices < 1) j->slices = 1;
    j->slice = ((rows + j->slices - 1) / j->slices + GRADIENT_TOGETHER - 1) / GRADIENT_TOGETHER * GRADIENT_TOGETHER;
    if (j->slice < 1) j->slice = GRADIENT_TOGETHER;
    j->slices = rows / j->slice + (rows % j->slice != 0 || rows == 0);
    j->stream = span_should_stream(rows * j->n * j->size);
    j->both = LANES_PUTS && j->n % LANES_PUT == 0 && j->rstd && (j->mean || !j->centred) && !(j->round_first && j->size < 4);
    j->both = j->both && j->rows.ndim == 1;
    if (j->both) j->row = j->rows.stride[TO_DX][0] * j->size;
    for (int k = 0; k < j->rows.operands && j->both; k++) j->both = j->rows.stride[k][0] * j->size == j->row;
    j->both = j->both && ((uintptr_t)j->data[TO_DX] | (uintptr_t)j->row) % 64 == 0;
    j->chunk = (j->both ? 4 : 1) * (j->size == 4 ? GRADIENT_CHUNK : 2 * GRADIENT_CHUNK);
    j->chunks = j->n > j->chunk ? (j->n + j->chunk - 1) / j->chunk : 1;
    const bool alone = j->both && j->slices >= cpu_threads(rows * j->n, CPU_GRAIN);
    j->side = j->n <= GRADIENT_SHORT || (j->size == 4 && j->n >= GRADIENT_LONG) ? 1 : GRADIENT_SIDE;
    j->together = alone && j->n > GRADIENT_SHORT ? j->side : GRADIENT_TOGETHER;
}

/* operands: dx, x, dy, and dsum if there is one. dbias may be not given. */
static trine_status gradient_call(trine_call *call, gradient_job *j, const trine_tensor *const *operands, int count,
                                  const trine_tensor *weight, float offset, const trine_tensor *dweight,
                                  const trine_tensor *dbias)
{
    for (int k = 0; k < count; k++) {
        TRINE_REQUIRE_THAT(call, trine_last_axis_dense(operands[k]), "needs a last axis of stride 1");
        j->data[k] = operands[k]->data;
    }
    j->dtype = operands[0]->dtype;
    j->size = trine_dtype_bits(j->dtype) / 8;
    j->rows = trine_iter_rows(operands, count, &j->n);
    gradient_plan(j);
    call->variant = TRINE_CPU_VARIANT;
    const int threads = cpu_threads(INT32_MAX, 1);
    /* in whole lines: a sum that lies in two is not forwarded from its store to its load */
    const size_t columns = ((size_t)(j->slices * 2 * j->n) * sizeof(double) + 63) / 64 * 64,
                 partials = ((size_t)(GRADIENT_TOGETHER * j->chunks) * sizeof(gradient_sums) + 63) / 64 * 64,
                 recent = (size_t)(threads * gradient_recent(j)) * sizeof(float);
    TRINE_END_OF_QUERY(call, columns + partials + recent + (size_t)j->n * sizeof(float));
    j->columns = call->workspace;
    j->partials = (gradient_sums *)(void *)((char *)call->workspace + columns);
    j->recent = (float *)(void *)((char *)call->workspace + columns + partials);
    float *factor = j->recent + threads * gradient_recent(j);
    const float *as_is = trine_is_given(weight) ? span_load(factor, weight->data, weight->dtype, j->n) : NULL;
    for (int64_t i = 0; i < j->n; i++) factor[i] = as_is ? as_is[i] + offset : 1;
    j->factor = factor;
    if (j->slices < cpu_threads(j->rows.numel * j->n, CPU_GRAIN)) {
        for (int64_t slice = 0; slice < j->slices; slice++) gradient_slice_together(j, slice);
    } else {
        CPU_PARALLEL_FOR(range, j->slices, cpu_threads(j->rows.numel * j->n, CPU_GRAIN) > 1 ? 1 : j->slices)
        {
            if (range.begin < range.end) gradient_slices(j, range);
            span_fence();
        }
    }
    gradient_put(j, dweight, 0);
    gradient_put(j, dbias, 1);
    return TRINE_OK;
}

static const float *gradient_statistic(const trine_tensor *t) { return trine_is_given(t) ? t->data : NULL; }

trine_status TRINE_CPU(layernorm_backward)(trine_call *call, const trine_layernorm_backward_args *a)
{
    gradient_job j = {
        .centred = true, .mean = gradient_statistic(&a->mean), .rstd = gradient_statistic(&a->rstd), .eps = (double)a->eps};
    const trine_tensor *const operands[] = {&a->dx, &a->x, &a->dy, &a->dsum};
    return gradient_call(call, &j, operands, trine_is_given(&a->dsum) ? 4 : 3, &a->weight, 0, &a->dweight, &a->dbias);
}

trine_status TRINE_CPU(rmsnorm_backward)(trine_call *call, const trine_rmsnorm_backward_args *a)
{
    gradient_job j = {.round_first = a->round_first != 0, .rstd = gradient_statistic(&a->rstd), .eps = (double)a->eps};
    const trine_tensor *const operands[] = {&a->dx, &a->x, &a->dy, &a->dsum};
    const trine_tensor none = {.dtype = TRINE_DTYPE_NONE};
    return gradient_call(call, &j, operands, trine_is_given(&a->dsum) ? 4 : 3, &a->weight, a->weight_offset, &a->dweight, &none);
}

#endif
