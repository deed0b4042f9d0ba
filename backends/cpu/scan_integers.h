/* Running sums of integers on the CPU, which wrap: the same bits in whatever order. Bound by bytes, or, where a row is alone, by one
 * core's. Included by scan.c. */
#ifndef TRINE_CPU_SCAN_INTEGERS_H
#define TRINE_CPU_SCAN_INTEGERS_H

/* Bytes of columns side by side that are worth a buffer. */
enum { STREAMED_COLUMNS = 256 };

/* Where a walk along the axis begins, and its steps: y's and x's, in elements. stream: columns that lie side by side, some lines wide,
 * go past the caches, by way of a buffer (a row's loop is bound by its sum). */
typedef struct integer_walk {
    int64_t n, y_step, x_step;
    bool exclusive, stream;
} integer_walk;

/* A row; or `columns` of them, y_inner and x_inner apart, in turn with running sums in `running`. y may be x. */
typedef void (*integer_row_fn)(const integer_walk *w, char *y, const char *x);
typedef void (*integer_columns_fn)(const integer_walk *w, char *y, const char *x, int64_t columns, int64_t y_inner,
                                   int64_t x_inner);

#define SCAN_INTEGERS(type) \
    static void type##_row(const integer_walk *w, char *to, const char *from) \
    { \
        type##_t *y = (type##_t *)(void *)to, sum = 0; \
        const type##_t *x = (const type##_t *)(const void *)from; \
        for (int64_t i = 0; i < w->n; i++, y += w->y_step, x += w->x_step) { \
            const type##_t next = sum + *x; \
            *y = w->exclusive ? sum : next; \
            sum = next; \
        } \
    } \
    static void type##_columns(const integer_walk *w, char *to, const char *from, int64_t columns, int64_t y_inner, \
                               int64_t x_inner) \
    { \
        type##_t running[SPAN_MAX] = {0}, *y = (type##_t *)(void *)to; \
        const type##_t *x = (const type##_t *)(const void *)from; \
        const bool stream = w->stream && y_inner == 1 && columns * (int64_t)sizeof *y >= STREAMED_COLUMNS; \
        for (int64_t i = 0; i < w->n; i++, y += w->y_step, x += w->x_step) { \
            _Alignas(64) type##_t buffer[SPAN_MAX]; \
            type##_t *const out = stream ? buffer : y; \
            const int64_t step = stream ? 1 : y_inner; \
            for (int64_t j = 0; j < columns; j++) { \
                const type##_t next = running[j] + x[j * x_inner]; \
                out[j * step] = w->exclusive ? running[j] : next; \
                running[j] = next; \
            } \
            if (stream) span_copy_bytes(y, buffer, columns *(int64_t)sizeof *y, true); \
        } \
    }
SCAN_INTEGERS(uint32)
SCAN_INTEGERS(uint64)
#undef SCAN_INTEGERS

static void scan_integers(const scan *s)
{
    const bool wide = s->dtype == TRINE_I64;
    const integer_row_fn row = wide ? uint64_row : uint32_row;
    const integer_columns_fn columns = wide ? uint64_columns : uint32_columns;
    const int64_t sign = s->reverse ? -1 : 1, first = s->reverse ? s->shape.n - 1 : 0;
    const integer_walk w = {s->shape.n, sign * s->shape.step[SCAN_Y], sign * s->shape.step[SCAN_X], s->exclusive, s->stream};
    trine_iter outer = s->shape.rows;
    int64_t inner[TRINE_ITER_OPERANDS] = {0}, size = 1;
    if (s->shape.columns) size = trine_iter_pop_inner(&outer, inner);
    const int64_t span = size < SPAN_MAX ? size : SPAN_MAX, spans = (size + SPAN_MAX - 1) / SPAN_MAX;
    CPU_PARALLEL_FOR(range, outer.numel * spans, 1 + CPU_GRAIN / (s->shape.n * span))
    {
        for (int64_t i = range.begin; i < range.end; i++) {
            int64_t offset[TRINE_ITER_OPERANDS];
            const int64_t begin = i % spans * SPAN_MAX;
            trine_iter_offsets(&outer, i / spans, offset);
            for (int k = 0; k < 2; k++) offset[k] += begin * inner[k] + first * s->shape.step[k];
            char *y = s->y + offset[SCAN_Y] * s->size;
            const char *x = s->x + offset[SCAN_X] * s->size;
            if (s->shape.columns)
                columns(&w, y, x, size - begin < SPAN_MAX ? size - begin : SPAN_MAX, inner[SCAN_Y], inner[SCAN_X]);
            else
                row(&w, y, x);
        }
        span_fence();
    }
}

#endif
