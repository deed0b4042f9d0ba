/* Channels that lie side by side, on the CPU, part of norm.c: rows of channels, walked as they lie. Rows of short planes are mapped
 * here as well, every element of a plane a column of its own; their sums are channel_flat.h's.
 *
 * Short rows that follow each other are taken as one wide row, whose columns are folded at the end. A slice of the rows sums up its
 * columns in f32 over a few rows, about a number of the column's own size (the first row, or the mean that is given), and in f64
 * above; slices are merged in their order, whoever made them. */
#ifndef TRINE_CPU_CHANNEL_COLUMNS_H
#define TRINE_CPU_CHANNEL_COLUMNS_H

#include "backends/cpu/channels.h"

/* Slices at most, and their rows; rows whose sums are f32; tiles, and rows, that are worked on together: of 16 bits only such rows
 * as are longer than CHANNEL_LONG bytes (see reduce_columns.h). Bytes ahead: of what is mapped and of rows singly, and of several. */
enum { CHANNEL_SLICES = 64, CHANNEL_SLICE_ROWS = 64, CHANNEL_F32_ROWS = 32, CHANNEL_TILES = 4, CHANNEL_ROWS = 4 };
enum { CHANNEL_LONG = 8192, CHANNEL_AHEAD = 4096, CHANNEL_AHEAD_EACH = 1024 };
/* Short planes: samples that make them rows, bytes of a plane less than that. Columns that are mapped in one row after the other, so
 * many that the L1 cache keeps their numbers, and rows of a task. CHANNEL_FLAT: tiles of planes that are summed up together.
 *
 * On AMD's processors longer planes are read once, by blocks (Zen 5, 14 x 14 f32, copies at 60 GB/s: 17.8 ms, as rows 23.2, its
 * gradient 28.3 and 39.0; copies at 110: 15.8 and 18.3, 29 and 29). */
enum { CHANNEL_FLAT = 8, PLANE_MANY = 16, PLANE_SHORT = 2048, PLANE_SHORT_AMD = 512, CHANNEL_COLUMNS = 2048, CHANNEL_TASK = 16 };

typedef struct channel_columns {
    const unit_call *c;
    bool fit, planes;
    int64_t plane;       /* columns of a channel that follow each other */
    int64_t fold, width; /* rows in a wide one, columns of that */
    int64_t rows, tiles; /* wide ones */
    int64_t tile;        /* planes of a tile */
    int64_t slices, slice;
    double *sum[2]; /* slices x width; of planes only the first, slices x channels x 2 */
    float *about;   /* slices x width */
    float *map[4];  /* width: m, a, b, d */
} channel_columns;

static bool columns_are_dense(const unit_call *c)
{
    bool dense = c->units.inside.ndim == 1;
    for (int k = 0; k < 1 + c->inputs; k++) dense = dense && c->units.inside.stride[k][0] == c->units.channels;
    return dense;
}

/* Many samples of short planes that follow each other, whole channels each. */
static bool planes_are_columns(const unit_call *c)
{
    const trine_iter *outer = &c->units.outer;
    bool fit =
        outer->ndim == 1 && c->rows.numel >= PLANE_MANY && c->length * c->size < (prefers_l2() ? PLANE_SHORT : PLANE_SHORT_AMD);
    for (int k = 0; k < 1 + c->inputs; k++) fit = fit && c->step[k] == 1 && outer->stride[k][0] == c->length;
    return fit;
}

/* Rows into so many slices at most. */
static void columns_cut(channel_columns *p, int64_t most)
{
    p->slices = p->rows / CHANNEL_SLICE_ROWS < most ? p->rows / CHANNEL_SLICE_ROWS : most;
    if (p->slices < 1) p->slices = 1;
    p->slice = (p->rows + p->slices - 1) / p->slices;
    p->slices = (p->rows + p->slice - 1) / p->slice;
}

static channel_columns columns_plan(const unit_call *c)
{
    channel_columns p = {.c = c, .fit = c->units.channels > 1 && c->units.n > 0 && c->units.members == 1, .fold = 1, .plane = 1};
    if (p.fit && planes_are_columns(c)) {
        p.planes = true;
        p.plane = c->length;
        p.width = c->units.channels * c->length;
        p.rows = c->rows.numel;
        p.tile = SPAN_MAX / p.plane;
        p.tiles = (c->units.channels + p.tile - 1) / p.tile;
        columns_cut(&p, CHANNEL_SLICES * CHANNEL_FLAT / p.tiles);
        return p;
    }
    for (int k = 0; k < 1 + c->inputs; k++)
        p.fit = p.fit && c->units.outer.stride[k][0] == 1 && (c->units.n == 1 || c->step[k] != 1);
    if (!p.fit) return p;
    if (2 * c->units.channels <= SPAN_MAX && columns_are_dense(c)) p.fold = SPAN_MAX / c->units.channels;
    if (p.fold > c->units.n) p.fold = c->units.n;
    p.width = p.fold * c->units.channels;
    p.rows = (c->units.n + p.fold - 1) / p.fold;
    p.tiles = (p.width + SPAN_MAX - 1) / SPAN_MAX;
    columns_cut(&p, CHANNEL_SLICES);
    return p;
}

/* The channel of a column. */
static int64_t channel_of(const channel_columns *p, int64_t column) { return column / p->plane % p->c->units.channels; }

/* Pairs of sums: of planes one a channel and slice. */
static int64_t columns_sums(const channel_columns *p) { return p->slices * (p->planes ? p->c->units.channels : p->width); }

static size_t channel_columns_bytes(const channel_columns *p)
{
    return (size_t)columns_sums(p) * (2 * sizeof(double) + sizeof(float)) + (size_t)p->width * 4 * sizeof(float);
}

static void channel_columns_place(channel_columns *p, void *workspace)
{
    if (!p->fit) return;
    const int64_t sums = columns_sums(p);
    p->sum[0] = workspace;
    p->sum[1] = p->sum[0] + sums;
    p->about = (float *)(void *)(p->sum[1] + sums);
    for (int k = 0; k < 4; k++) p->map[k] = p->about + sums + k * p->width;
}

/* ---- A row ---- */

/* Columns of wide row `row` from `first` on that exist, at most a span. */
static int64_t columns_in(const channel_columns *p, int64_t row, int64_t first)
{
    const int64_t all = p->fold > 1 && row == p->rows - 1 ? p->c->units.n * p->c->units.channels - row * p->width : p->width;
    return all <= first ? 0 : all - first < SPAN_MAX ? all - first : SPAN_MAX;
}

static char *columns_at(const channel_columns *p, int64_t row, int64_t first, int k)
{
    int64_t offset[TRINE_ITER_OPERANDS];
    if (p->fold > 1)
        offset[k] = row * p->width;
    else
        trine_iter_offsets(p->planes ? &p->c->rows : &p->c->units.inside, row, offset);
    return p->c->data[k] + (offset[k] + first) * p->c->size;
}

static const float *columns_load(const channel_columns *p, int64_t row, int64_t first, int k, int64_t n, float *buffer)
{
    return span_load(buffer, columns_at(p, row, first, k), p->c->dtype, n);
}

/* ---- Sums ---- */

typedef struct column_sums {
    _Alignas(64) float sum[2][SPAN_MAX];
} column_sums;

/* Adds `count` rows of n columns, 1 or CHANNEL_ROWS; dy: of NULL forward. f32 is not asked for: see reduce_columns.h. */
LANES_INLINE void column_add_as(column_sums *s, const char *const *x, const char *const *dy, const float *about,
                                trine_dtype dtype, int64_t n, int count)
{
    const bool back = dy[0] != NULL;
    for (int64_t i = 0; i < n; i += LANES) {
        const bool whole = i + LANES <= n;
        const f32x16 middle = whole ? lanes_load(about, TRINE_F32, i) : lanes_load_part(about, TRINE_F32, i, n - i, 0);
        f32x16 own[2][CHANNEL_ROWS], sums[2];
        for (int k = 0; k < count; k++) {
            if (dtype != TRINE_F32 && i % (2 * LANES) == 0) {
                __builtin_prefetch(x[k] + i * lanes_size(dtype) + (count == 1 ? CHANNEL_AHEAD : CHANNEL_AHEAD_EACH));
                if (back) __builtin_prefetch(dy[k] + i * lanes_size(dtype) + (count == 1 ? CHANNEL_AHEAD : CHANNEL_AHEAD_EACH));
            }
            const f32x16 d = (whole ? lanes_load(x[k], dtype, i) : lanes_load_part(x[k], dtype, i, n - i, 0)) - middle;
            const f32x16 g = !back ? d : whole ? lanes_load(dy[k], dtype, i) : lanes_load_part(dy[k], dtype, i, n - i, 0);
            own[0][k] = g;
            own[1][k] = g * d;
        }
        for (int q = 0; q < 2; q++) {
            memcpy(&sums[q], s->sum[q] + i, sizeof sums[q]);
            sums[q] += count == 1 ? own[q][0] : (own[q][0] + own[q][1]) + (own[q][2] + own[q][3]);
            memcpy(s->sum[q] + i, &sums[q], sizeof sums[q]);
        }
    }
}

LANES_INLINE void column_add_count(column_sums *s, const char *const *x, const char *const *dy, const float *about,
                                   trine_dtype dtype, int64_t n, int count)
{
    const char *own_x[CHANNEL_ROWS] = {NULL}, *own_dy[CHANNEL_ROWS] = {NULL}; /* in registers */
    for (int k = 0; k < count; k++) own_x[k] = x[k], own_dy[k] = dy[k];
#define ADD_OF(dtype) column_add_as(s, own_x, own_dy, about, dtype, n, count)
    LANES_BY_DTYPE(dtype, ADD_OF);
#undef ADD_OF
}

static void column_add(column_sums *s, const char *const *x, const char *const *dy, const float *about, trine_dtype dtype,
                       int64_t n, int64_t count)
{
    if (count == 1)
        column_add_count(s, x, dy, about, dtype, n, 1);
    else
        column_add_count(s, x, dy, about, dtype, n, CHANNEL_ROWS);
}

static void column_flush(column_sums *s, double *const *to, int64_t n)
{
    for (int k = 0; k < 2; k++)
        for (int64_t i = 0; i < n; i++) {
            to[k][i] += (double)s->sum[k][i];
            s->sum[k][i] = 0;
        }
}

/* A tile of a slice: what its columns' numbers are taken about, and where their sums go. */
typedef struct column_tile {
    int64_t first, width;
    float *about;
    double *sums[2];
    column_sums s;
} column_tile;

/* about: of the channels, or NULL for the slice's first row. */
static void column_tile_start(const channel_columns *p, column_tile *t, int64_t slice, int64_t tile, const float *about)
{
    SPAN_BUFFER(buffer);
    const int64_t first = tile * SPAN_MAX, to = slice * p->width + first;
    t->first = first;
    t->width = p->width - first < SPAN_MAX ? p->width - first : SPAN_MAX;
    t->about = p->about + to;
    for (int k = 0; k < 2; k++) t->sums[k] = p->sum[k] + to;
    for (int64_t i = 0; i < t->width && about; i++) t->about[i] = about[channel_of(p, first + i)];
    if (!about) {
        const int64_t n = columns_in(p, slice * p->slice, first);
        const float *x = columns_load(p, slice * p->slice, first, 1, n, buffer);
        for (int64_t i = 0; i < t->width; i++) t->about[i] = i < n ? x[i] : 0; /* a column with no row is not looked at */
    }
    for (int k = 0; k < 2; k++)
        for (int64_t i = 0; i < t->width; i++) t->sums[k][i] = t->s.sum[k][i] = 0;
}

/* Tiles side by side, some rows at a time: memory is read in its order, and a sum is touched once for them. */
static void columns_gather_tiles(const channel_columns *p, int64_t slice, int64_t from, const float *about)
{
    column_tile tiles[CHANNEL_TILES];
    const int64_t count = p->tiles - from < CHANNEL_TILES ? p->tiles - from : CHANNEL_TILES, begin = slice * p->slice,
                  end = begin + p->slice < p->rows ? begin + p->slice : p->rows;
    for (int64_t k = 0; k < count; k++) column_tile_start(p, &tiles[k], slice, from + k, about);
    const bool together = p->c->dtype == TRINE_F32 || p->width * p->c->size > CHANNEL_LONG;
    for (int64_t row = begin, rows; row < end; row += rows) {
        rows = together && end - row >= CHANNEL_ROWS && (p->fold == 1 || row + CHANNEL_ROWS < p->rows) ? CHANNEL_ROWS : 1;
        for (column_tile *t = tiles; t < tiles + count; t++) {
            const char *x[CHANNEL_ROWS] = {NULL}, *dy[CHANNEL_ROWS] = {NULL};
            for (int64_t k = 0; k < rows; k++) {
                x[k] = columns_at(p, row + k, t->first, 1);
                if (p->c->inputs > 1) dy[k] = columns_at(p, row + k, t->first, 2);
            }
            column_add(&t->s, x, dy, t->about, p->c->dtype, columns_in(p, row, t->first), rows);
            if ((row + rows - begin) % CHANNEL_F32_ROWS == 0) column_flush(&t->s, t->sums, t->width);
        }
    }
    for (int64_t k = 0; k < count; k++) column_flush(&tiles[k].s, tiles[k].sums, tiles[k].width);
}

/* What column j of slice s has, as the unit's sums. */
static void columns_merge(const channel_columns *p, int64_t s, int64_t j, double *into)
{
    const int64_t at = s * p->width + j, end = (s + 1) * p->slice < p->rows ? (s + 1) * p->slice : p->rows;
    const double sum[] = {p->sum[0][at], p->sum[1][at]};
    if (p->c->inputs > 1) {
        unit_merge_slopes(into, sum);
        return;
    }
    const bool short_row = end == p->rows && p->fold > 1 && j >= p->c->units.n * p->c->units.channels - (end - 1) * p->width;
    const double n = (double)(end - s * p->slice - short_row);
    const double own[] = {n, (double)p->about[at] + (n > 0 ? sum[0] / n : 0), n > 0 ? sum[1] - sum[0] * sum[0] / n : 0};
    unit_merge_moments(into, own);
}

static void channel_columns_gather(const channel_columns *p, const float *about)
{
    const int64_t groups = (p->tiles + CHANNEL_TILES - 1) / CHANNEL_TILES;
    CPU_PARALLEL_FOR(range, p->slices * groups, 1)
    {
        for (int64_t task = range.begin; task < range.end; task++)
            columns_gather_tiles(p, task / groups, task % groups * CHANNEL_TILES, about);
    }
    for (int64_t channel = 0; channel < p->c->units.channels; channel++) {
        double *into = p->c->sums[channel];
        unit_clear(into);
        for (int64_t s = 0; s < p->slices; s++)
            for (int64_t j = channel; j < p->width; j += p->c->units.channels) columns_merge(p, s, j, into);
    }
}

/* ---- The map ---- */

static void columns_map_span(float *restrict out, const float *x, const float *dy, float *const *map, int64_t first, int64_t n)
{
    const float *m = map[0] + first, *a = map[1] + first, *b = map[2] + first, *d = map[3] + first;
    if (dy)
        for (int64_t i = 0; i < n; i++) out[i] = a[i] * dy[i] + ((x[i] - m[i]) * b[i] + d[i]);
    else
        for (int64_t i = 0; i < n; i++) out[i] = (x[i] - m[i]) * b[i] + d[i];
}

/* The same for n columns, a multiple of LANES_PUT, straight to lines. */
LANES_INLINE void columns_put_as(char *to, const char *x, const char *dy, trine_dtype dtype, float *const *map, int64_t first,
                                 int64_t n, int64_t ahead, bool stream)
{
    const float *m = map[0] + first, *a = map[1] + first, *b = map[2] + first, *d = map[3] + first;
    for (int64_t i = 0; i < n; i += LANES_PUT) {
        f32x16 v[2];
        span_prefetch(x + i * lanes_size(dtype) + ahead, LANES_PUT * lanes_size(dtype));
        if (dy) span_prefetch(dy + i * lanes_size(dtype) + ahead, LANES_PUT * lanes_size(dtype));
        for (int k = 0; k < 2; k++) {
            const int64_t at = i + LANES * k;
            v[k] = (lanes_load(x, dtype, at) - lanes_load(m, TRINE_F32, at)) * lanes_load(b, TRINE_F32, at) +
                   lanes_load(d, TRINE_F32, at);
            if (dy) v[k] = lanes_load(a, TRINE_F32, at) * lanes_load(dy, dtype, at) + v[k];
        }
        lanes_put(to + i * lanes_size(dtype), dtype, v[0], v[1], stream);
    }
}

static void columns_put(char *to, const char *x, const char *dy, trine_dtype dtype, float *const *map, int64_t first, int64_t n,
                        int64_t ahead, bool stream)
{
#define PUT_OF(dtype) \
    (dy ? columns_put_as(to, x, dy, dtype, map, first, n, ahead, stream) \
        : columns_put_as(to, x, NULL, dtype, map, first, n, ahead, stream))
    LANES_BY_DTYPE(dtype, PUT_OF);
#undef PUT_OF
}

/* Columns [first, end) of a row. */
static void columns_emit(const channel_columns *p, int64_t row, int64_t first, int64_t end)
{
    SPAN_BUFFER(x_buffer);
    SPAN_BUFFER(dy_buffer);
    SPAN_BUFFER(out);
    const unit_call *c = p->c;
    const int64_t ahead =
        p->planes && row + 1 < p->rows ? columns_at(p, row + 1, 0, c->from) - columns_at(p, row, 0, c->from) : CHANNEL_AHEAD;
    for (int64_t left, n; first < end && (left = columns_in(p, row, first)) > 0; first += n) {
        if (left > end - first) left = end - first;
        char *to = columns_at(p, row, first, 0);
        const int64_t lines = lanes_to_put(LANES_PUTS, to, c->dtype, left, &n);
        if (lines > 0) {
            n = lines;
            columns_put(to, columns_at(p, row, first, c->from), c->mapped > 1 ? columns_at(p, row, first, c->from + 1) : NULL,
                        c->dtype, p->map, first, n, ahead, c->stream);
            continue;
        }
        const float *x = columns_load(p, row, first, c->from, n, x_buffer);
        const float *dy = c->mapped > 1 ? columns_load(p, row, first, c->from + 1, n, dy_buffer) : NULL;
        columns_map_span(out, x, dy, p->map, first, n);
        span_store(to, c->dtype, out, n, c->stream);
    }
}

/* Each column's numbers. */
static void columns_make_map(const channel_columns *p)
{
    CPU_PARALLEL_FOR(range, p->width, CPU_GRAIN)
    {
        for (int64_t j = range.begin; j < range.end; j++) {
            const unit_affine *f = &p->c->map[channel_of(p, j)];
            p->map[0][j] = f->m;
            p->map[1][j] = f->a;
            p->map[2][j] = f->b;
            p->map[3][j] = f->d;
        }
    }
}

/* finish: from the sums to the channels' maps first; otherwise those are there. */
static void channel_columns_finish(const channel_columns *p, bool finish)
{
    const int64_t across = p->planes ? CHANNEL_COLUMNS : p->width, parts = (p->width + across - 1) / across,
                  rows = p->planes ? CHANNEL_TASK : 1, tasks = (p->rows + rows - 1) / rows * parts,
                  each = rows * (p->width / parts);
    for (int64_t i = 0; i < p->c->units.channels && finish; i++) p->c->op->finish(p->c->context, i);
    columns_make_map(p);
    CPU_PARALLEL_FOR(range, tasks, (CPU_GRAIN + each - 1) / each)
    {
        for (int64_t task = range.begin; task < range.end; task++) {
            const int64_t begin = task / parts * rows, end = begin + rows < p->rows ? begin + rows : p->rows,
                          first = task % parts * across;
            for (int64_t row = begin; row < end; row++) columns_emit(p, row, first, first + across);
        }
        span_fence();
    }
}

#endif
