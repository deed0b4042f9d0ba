/* Convolutions of bf16 on the matrix unit (matmul_amx_kernel.h), channels last, without copying a pixel for each tap.
 *
 * A task is a band of rows of an image of d: the lines of the plane that it meets are copied once, with the padding about them, into
 * memory that stays in L2. There the pixels that one tap meets for 16 outputs of a row lie one pitch apart, which is what a tile of a
 * wants; another tap is another offset. With a stride of 1 tiles run on across the ends of rows, where sums are made that nobody
 * wants. The terms of a tap, or of a filter's line if its taps follow each other in memory, are filled up to blocks of 32 by zeros
 * of b: where the band holds NaN or infinity there, or subnormal numbers anywhere, tiles are packed.
 *
 * Every sum is made by one thread in the order of the terms: the bits don't depend on the number of threads. */
#ifndef TRINE_CPU_CONV_BANDS_H
#define TRINE_CPU_CONV_BANDS_H

#include "backends/cpu/conv_job.h"
#include "backends/cpu/matmul_amx.h"

#if defined __AVX512F__

/* BAND_OUTPUTS, BAND_BYTES: of a task, about; BAND_MOST: elements that one row of its outputs may meet. BAND_BLOCKS: of a panel of b that stay in L1. BAND_FILL: how much more terms than
 * there are may be multiplied, in eighths. */
enum { BAND_OUTPUTS = 448, BAND_BYTES = 640 << 10, BAND_BLOCKS = 16, BAND_FILL = 13, BAND_TERMS = 32, BAND_MOST = 2 << 20 };

typedef struct band_plan {
    const trine_conv_operand *o;
    int64_t images, rows, columns, step[2];  /* of d; of its pixels in the plane */
    int64_t channels, pixel, line;           /* elements: of a pixel, strides in memory */
    int64_t low[2], reach[2];                /* the least offset of a tap; lines and columns that taps of one output reach over */
    int64_t pieces, run, run_blocks, blocks; /* of terms: pieces, elements of one, blocks of one and of all */
    int64_t high, wide, bands, parts;        /* rows and columns of a task; of an image, of a row so many */
    int64_t lines, pitch;                    /* of the buffer, in pixels */
    bool across;                             /* tiles run across the ends of rows */
    bool in_place;                           /* one tap, no padding, and lines follow each other: pixels need not be copied */
    int64_t tiles, panels;                   /* of a task's outputs; of filters */
    size_t packed, flags, table, buffer, own; /* floats */
} band_plan;

/* The index of part i of the terms, in the plane. */
static inline int64_t tap_offset(const trine_conv_side *t, int64_t first, int64_t second, int axis)
{
    const int64_t *step = axis ? t->w : t->h;
    return first * step[0] + second * step[1];
}

static inline bool taps_of_line_joined(const trine_conv_side *t)
{
    return t->size[1] > 1 && t->stride[1] == t->size[2] && t->w[1] == 1 && !t->h[1] && !t->w[0];
}

/* Lines and columns that the taps of one output reach over, from `low` on. */
static inline void find_reach_of_taps(const trine_conv_side *t, int64_t *low, int64_t *reach)
{
    for (int axis = 0; axis < 2; axis++) {
        int64_t high = low[axis] = 0;
        for (int corner = 0; corner < 4; corner++) {
            const int64_t at = tap_offset(t, corner & 1 ? t->size[0] - 1 : 0, corner & 2 ? t->size[1] - 1 : 0, axis);
            low[axis] = smaller(low[axis], at);
            high = at > high ? at : high;
        }
        reach[axis] = high - low[axis] + 1;
    }
}

static inline bool suits_bands(const trine_conv_product *c)
{
    const trine_conv_side *t = &c->a.terms, *r = &c->a.rows;
    if (c->m <= 0 || c->n <= 0 || c->k <= 0 || t->stride[2] != 1 || t->h[2] || t->w[2]) return false;
    if (r->h[1] <= 0 || r->w[2] <= 0 || r->h[0] || r->w[0] || r->w[1] || r->h[2]) return false;
    const int64_t run = taps_of_line_joined(t) ? t->size[1] * t->size[2] : t->size[2];
    int64_t low[2], reach[2];
    find_reach_of_taps(t, low, reach);
    const int64_t pixels = (smaller(r->size[2], BAND_OUTPUTS) * r->w[2] + reach[1]) * reach[0];
    return pixels <= BAND_MOST && pixels * t->size[2] <= BAND_MOST &&
           8 * blocks_of(run, BAND_TERMS) * BAND_TERMS <= BAND_FILL * run;
}

static void find_band_terms(band_plan *b)
{
    const trine_conv_side *t = &b->o->terms;
    const bool joined = taps_of_line_joined(t);
    b->channels = t->size[2];
    b->run = joined ? t->size[1] * t->size[2] : t->size[2];
    b->pieces = joined ? t->size[0] : t->size[0] * t->size[1];
    b->run_blocks = blocks_of(b->run, BAND_TERMS);
    b->blocks = b->pieces * b->run_blocks;
    find_reach_of_taps(t, b->low, b->reach);
}

static band_plan band_plan_make(const trine_conv_product *c)
{
    const trine_conv_side *r = &c->a.rows;
    band_plan b = {.o = &c->a, .images = r->size[0], .rows = r->size[1], .columns = r->size[2], .step = {r->h[1], r->w[2]}};
    b.line = r->stride[1] / b.step[0];
    b.pixel = r->stride[2] / b.step[1];
    find_band_terms(&b);
    b.wide = even_block(b.columns, BAND_OUTPUTS, 1);
    b.parts = blocks_of(b.columns, b.wide);
    b.pitch = (b.wide - 1) * b.step[1] + b.reach[1];
    const int64_t line_bytes = b.pitch * b.channels * size_of(TRINE_BF16), fit = BAND_BYTES / line_bytes - b.reach[0],
                  most = smaller(BAND_OUTPUTS / b.wide, fit / b.step[0] + 1);
    b.high = even_block(b.rows, most > 1 ? most : 1, 1);
    b.bands = blocks_of(b.rows, b.high);
    b.lines = (b.high - 1) * b.step[0] + b.reach[0];
    const int64_t across = blocks_of((b.high - 1) * b.pitch + b.wide, AMX_TILE), apart = b.high * blocks_of(b.wide, AMX_TILE);
    b.across = b.step[0] == 1 && b.step[1] == 1 && across <= apart;
    b.tiles = b.across ? across : apart;
    b.in_place = b.across && b.reach[0] * b.reach[1] == 1 && b.parts == 1 && b.pixel == b.channels && b.run % BAND_TERMS == 0 &&
                 b.line == b.columns * b.pixel && c->a.height == b.rows && c->a.width == b.columns && c->a.h == 0 && c->a.w == 0;
    b.panels = blocks_of(c->n, AMX_ROWS);
    b.packed = (size_t)(b.panels * b.blocks * AMX_BLOCK);
    b.flags = (size_t)(blocks_of(b.pieces * blocks_of(blocks_of(b.run, 2), AMX_PART) * b.panels, 16) * 16);
    b.table = (size_t)(blocks_of(b.blocks, 16) * 16);
    /* beyond the lines: what a last tile and a last block of terms read, nobody's outputs and terms */
    const int64_t beyond = (AMX_TILE + 1) * b.step[1] * b.channels + b.reach[1] * b.channels + 2 * BAND_TERMS,
                  bytes = b.lines * line_bytes + beyond * size_of(TRINE_BF16);
    b.buffer = (size_t)(blocks_of(bytes, 64) * 16);
    b.own = b.table + b.buffer + (size_t)(blocks_of(b.tiles, 2) * smaller(b.panels, AMX_TASK_N) * AMX_SUMS);
    return b;
}

static inline size_t band_bytes(const band_plan *b, int members)
{
    return (b->packed + b->flags + b->own * (size_t)members) * sizeof(float);
}

/* ---- The filters: [panel][block][pair][32][2] ---- */

static void pack_filters(const conv_job *job, cpu_team *team, const band_plan *b, float *packed, float *subnormal)
{
    for (int64_t piece = 0; piece < b->pieces; piece++)
        for (int64_t k = 0; k < b->run; k += 2 * AMX_PART, subnormal += b->panels) {
            pack_source s = {.dtype = TRINE_BF16, .rows = job->c->n, .begin_k = piece * b->run + k, .pairs = true};
            const int64_t terms = smaller(2 * AMX_PART, b->run - k);
            s.terms = blocks_of(terms, 2);
            s.odd = terms % 2;
            source(&job->p, true, &s);
            pack_tile_columns(team, packed + (piece * b->run_blocks + k / BAND_TERMS) * AMX_BLOCK, b->blocks * AMX_BLOCK,
                              subnormal, &s);
        }
}

/* ---- The band ---- */

typedef struct band_task {
    int64_t image, row, column, rows, columns; /* of d */
    const char *from;                          /* the lines: copied, or where they lie */
    char *buffer;
    const int32_t *offset; /* bytes, of blocks of terms */
    const float *packed;
    float *sums;        /* [panel of filters][panel of outputs][32][32] */
    bool in_f32, packs; /* tiles must be packed, and multiplied in f32 */
} band_task;

/* The least of some bf16 without their signs, less 1, and the largest. */
typedef struct band_look {
    vec_halves least, most;
} band_look;

static inline vec_halves more_halves(vec_halves a, vec_halves b) { return (vec_halves)_mm512_max_epu16((__m512i)a, (__m512i)b); }

static inline void copy_bf16(char *to, const char *from, int64_t bytes, band_look *look)
{
    vec_halves x, least = look->least, most = look->most; /* in registers */
    int64_t i = 0;
    for (; i + 64 <= bytes; i += 64) {
        memcpy(&x, from + i, sizeof x);
        memcpy(to + i, &x, sizeof x);
        least = less_halves(least, x);
        most = more_halves(most, x << 1);
    }
    if (i < bytes) {
        x = (vec_halves){0};
        memcpy(&x, from + i, (size_t)(bytes - i));
        memcpy(to + i, &x, (size_t)(bytes - i));
        least = less_halves(least, x);
        most = more_halves(most, x << 1);
    }
    look->least = least;
    look->most = most;
}

static inline bool has_special(vec_halves most)
{
    bool any = false;
    for (int i = 0; i < 2 * VEC_LANES; i++) any |= most[i] >= 0xff00;
    return any;
}

/* Looks at the lines where they lie; false if a tile would read beyond the tensor. */
static bool look_at_lines(const band_plan *b, band_task *t, int64_t first)
{
    const int64_t outputs = t->rows * t->columns, bytes = outputs * b->channels * size_of(TRINE_BF16);
    const bool last = t->image + 1 == b->images && t->row + t->rows == b->rows;
    if (!b->in_place || (last && outputs % AMX_TILE)) return false;
    t->from = element(b->o->data, TRINE_BF16, first + t->image * b->o->rows.stride[0] + t->row * b->line);
    vec_halves x, least[2] = {(vec_halves){0} - 1, (vec_halves){0} - 1};
    for (int64_t i = 0; i < bytes; i += 64) { /* blocks of 32 terms are whole */
        memcpy(&x, t->from + i, sizeof x);
        least[i / 64 & 1] = less_halves(least[i / 64 & 1], x);
    }
    t->in_f32 = t->packs = is_least_subnormal(least[0]) || is_least_subnormal(least[1]);
    return true;
}

/* first: element of the operand's place of group, row 0 and term 0. */
static void copy_band_lines(const band_plan *b, band_task *t, int64_t first)
{
    const trine_conv_operand *o = b->o;
    const int64_t size = size_of(TRINE_BF16), pixel = b->channels * size, w = o->w + t->column * b->step[1] + b->low[1],
                  lines = (t->rows - 1) * b->step[0] + b->reach[0];
    band_look look = {(vec_halves){0} - 1, {0}};
    cpu_range inside = {0, (t->columns - 1) * b->step[1] + b->reach[1]};
    conv_clip(&inside, w, 1, o->width);
    char *line = t->buffer;
    for (int64_t i = 0; i < lines; i++, line += b->pitch * pixel) {
        const int64_t above = t->row * b->step[0] + b->low[0] + i, h = o->h + above;
        const bool within = h >= 0 && h < o->height;
        const cpu_range here = within ? inside : (cpu_range){0, 0};
        const char *from = element(o->data, TRINE_BF16,
                                   first + t->image * o->rows.stride[0] + above * b->line +
                                       (t->column * b->step[1] + b->low[1] + here.begin) * b->pixel);
        memset(line, 0, (size_t)(here.begin * pixel));
        memset(line + here.end * pixel, 0, (size_t)((b->pitch - here.end) * pixel));
        if (b->pixel == b->channels)
            copy_bf16(line + here.begin * pixel, from, (here.end - here.begin) * pixel, &look);
        else
            for (int64_t p = here.begin; p < here.end; p++, from += b->pixel * size)
                copy_bf16(line + p * pixel, from, pixel, &look);
    }
    memset(line, 0, (size_t)(t->buffer + b->buffer * sizeof(float) - line));
    t->from = t->buffer;
    t->in_f32 = is_least_subnormal(look.least);
    t->packs = t->in_f32 || (b->run % BAND_TERMS && has_special(look.most));
}

static void find_block_offsets(const band_plan *b, int32_t *offset)
{
    const trine_conv_side *t = &b->o->terms;
    const bool joined = taps_of_line_joined(t);
    for (int64_t i = 0; i < b->blocks; i++) {
        const int64_t piece = i / b->run_blocks, first = joined ? piece : piece / t->size[1],
                      second = joined ? 0 : piece % t->size[1], h = tap_offset(t, first, second, 0) - b->low[0],
                      w = tap_offset(t, first, second, 1) - b->low[1];
        offset[i] = (int32_t)(((h * b->pitch + w) * b->channels + i % b->run_blocks * BAND_TERMS) * size_of(TRINE_BF16));
    }
}

/* ---- Tasks ---- */

/* The first output of a tile; beyond the last that of the first tile, whose sums nobody wants. */
static inline const char *tile_at(const band_plan *b, const band_task *t, int64_t tile)
{
    const int64_t of_row = blocks_of(b->wide, AMX_TILE), i = tile < b->tiles ? tile : 0,
                  pixel = b->across ? i * AMX_TILE : i / of_row * b->step[0] * b->pitch + i % of_row * AMX_TILE * b->step[1];
    return t->from + pixel * b->channels * size_of(TRINE_BF16);
}

/* Tiles of a task of fewer rows. */
static inline int64_t tiles_of(const band_plan *b, const band_task *t)
{
    return b->across ? blocks_of((t->rows - 1) * b->pitch + t->columns, AMX_TILE) : t->rows * blocks_of(b->wide, AMX_TILE);
}

/* Some blocks of two tiles as a panel, with zeros beyond the terms. */
static __attribute__((noinline)) void pack_tiles(const band_plan *b, const amx_rows *rows, int64_t first, int64_t blocks,
                                                 float *panel)
{
    memset(panel, 0, (size_t)(blocks * AMX_BLOCK) * sizeof *panel);
    for (int64_t i = 0; i < blocks; i++) {
        const int64_t terms = smaller(BAND_TERMS, b->run - (first + i) % b->run_blocks * BAND_TERMS);
        for (int64_t r = 0; r < AMX_ROWS; r++)
            memcpy(panel + i * AMX_BLOCK + r * AMX_PAIRS,
                   (r < AMX_TILE ? rows->at : rows->below) + r % AMX_TILE * rows->pitch + rows->offset[i],
                   (size_t)(terms * size_of(TRINE_BF16)));
    }
}

/* Filters of panels [begin, end) for the whole band. */
static void make_band_sums(const band_plan *b, const band_task *t, int64_t filters, cpu_range panels)
{
    const int64_t tiles = tiles_of(b, t), pairs = blocks_of(tiles, 2), pitch = b->step[1] * b->channels * size_of(TRINE_BF16);
    for (int64_t first = 0; first < b->blocks; first += BAND_BLOCKS) {
        const int64_t blocks = smaller(BAND_BLOCKS, b->blocks - first);
        for (int64_t j = panels.begin; j < panels.end; j++)
            for (int64_t i = 0; i < pairs; i++) {
                _Alignas(64) float panel[BAND_BLOCKS * AMX_BLOCK];
                float *sums = t->sums + ((j - panels.begin) * pairs + i) * AMX_SUMS;
                const float *right = t->packed + (j * b->blocks + first) * AMX_BLOCK;
                amx_rows rows = {tile_at(b, t, 2 * i), tile_at(b, t, 2 * i + 1), pitch, 0, t->offset + first};
                if (t->packs) {
                    pack_tiles(b, &rows, first, blocks, panel);
                    rows = rows_of_panel(panel);
                }
                if (t->in_f32)
                    multiply_blocks_in_f32(panel, right, blocks, sums, first > 0);
                else
                    multiply_tiles(rows, right, blocks, sums, first > 0, 2 * i + 1 < tiles ? AMX_ROWS : AMX_TILE,
                                   filters - j * AMX_ROWS, sums + AMX_SUMS);
            }
    }
}

/* The sums of one output, `n` filters of the panels. */
static inline void take_sums(const band_plan *b, const band_task *t, int64_t row, int64_t column, int64_t n, float *to)
{
    const int64_t i = b->across ? row * b->pitch + column
                                : (row * blocks_of(b->wide, AMX_TILE) + column / AMX_TILE) * AMX_TILE + column % AMX_TILE,
                  pairs = blocks_of(tiles_of(b, t), 2);
    const float *from = t->sums + i / AMX_ROWS * AMX_SUMS + i % AMX_ROWS * AMX_ROWS;
    for (int64_t j = 0; j < n; j += AMX_ROWS, from += pairs * AMX_SUMS) memcpy(to + j, from, AMX_ROWS * sizeof *to);
}

/* From sums to d: pixels that follow each other there in spans, others one by one. */
static void finish_band(const conv_job *job, const band_plan *b, const band_task *t, int64_t column, int64_t n)
{
    const trine_product *p = &job->p;
    const product_place at = {0};
    const bool dense = job->linear && n == p->n && p->d_m == n && n <= SPAN_MAX / 2;
    const int64_t together = dense ? SPAN_MAX / n : 1;
    _Alignas(64) float sums[SPAN_MAX + AMX_ROWS];
    for (int64_t r = 0; r < t->rows; r++) {
        const int64_t first = (t->image * b->rows + t->row + r) * b->columns + t->column;
        for (int64_t q = 0, count; q < t->columns; q += count) {
            count = smaller(together, t->columns - q);
            for (int64_t i = 0; i < count; i++) {
                take_sums(b, t, r, q + i, n, sums + i * n);
                if (dense && !is_plain(p)) finish_span(p, &at, first + q + i, 0, sums + i * n, n);
            }
            if (!dense)
                (job->linear ? finish_row : finish)(p, &at, first + q, column, sums, n);
            else
                span_store((void *)(uintptr_t)element(p->d, p->d_dtype, (first + q) * p->d_m), p->d_dtype, sums, count * n,
                           false);
        }
    }
}

static void make_band_task(const conv_job *job, const band_plan *b, band_task *t, int64_t number)
{
    const trine_conv_product *c = job->c;
    const int64_t part = number % b->parts, band = number / b->parts % b->bands;
    t->image = number / b->parts / b->bands;
    t->row = band * b->high;
    t->rows = smaller(b->high, b->rows - t->row);
    t->column = part * b->wide;
    t->columns = smaller(b->wide, b->columns - t->column);
    const bool subnormal = t->in_f32; /* among the filters */
    const int64_t first = c->a.first + job->group * c->a.group;
    if (!look_at_lines(b, t, first)) copy_band_lines(b, t, first);
    t->in_f32 |= subnormal;
    t->packs |= subnormal;
    for (int64_t j = 0; j < b->panels; j += AMX_TASK_N) {
        const cpu_range panels = {j, smaller(j + AMX_TASK_N, b->panels)};
        make_band_sums(b, t, c->n, panels);
        finish_band(job, b, t, j * AMX_ROWS, smaller(panels.end * AMX_ROWS, c->n) - j * AMX_ROWS);
    }
    t->in_f32 = subnormal;
}

/* This member's part of one group. */
static void make_bands(const conv_job *job, cpu_team *team)
{
    const band_plan b = band_plan_make(job->c);
    float *packed = (float *)(void *)team->memory, *subnormal = packed + b.packed,
          *own = subnormal + b.flags + (size_t)team->thread * b.own;
    int32_t *offset = (int32_t *)(void *)own;
    band_task t = {.buffer = (char *)(own + b.table), .offset = offset, .packed = packed, .sums = own + b.table + b.buffer};
    find_block_offsets(&b, offset);
    if (team->steps++ > 0) team_barrier(team); /* others may still need the last filters */
    pack_filters(job, team, &b, packed, subnormal);
    team_barrier(team);
    for (int64_t i = 0; i < b.pieces * blocks_of(blocks_of(b.run, 2), AMX_PART) * b.panels; i++) t.in_f32 |= subnormal[i] > 0;
    amx_begin();
    const int64_t tasks = b.images * b.bands * b.parts;
    for (int64_t i; (i = team_next(team, tasks)) < tasks;) make_band_task(job, &b, &t, i);
    amx_end();
}

#else

typedef struct band_plan {
    const trine_conv_product *c;
} band_plan;

static inline bool suits_bands(const trine_conv_product *c) { return (void)c, false; }

static inline band_plan band_plan_make(const trine_conv_product *c) { return (band_plan){c}; }

static inline size_t band_bytes(const band_plan *b, int members) { return (void)b, (void)members, 0; }

static inline void make_bands(const conv_job *job, cpu_team *team) { (void)job, (void)team; }

#endif

#endif
