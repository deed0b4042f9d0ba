/* Products of rows that are multiplied where they lie: each row's terms are dense, in one piece or in one a tap of a filter. Packing a
 * row costs as much as multiplying it with some 30 columns; here only the columns are packed, all of them at once, and the
 * micro-kernel broadcasts from MR rows at any places. Bound by multiply-adds.
 *
 * A task is some tiles of rows and at most PLACE_COLUMNS columns. It goes through K in steps of at most PLACE_STEP numbers, over
 * which sums stay in registers; a panel of columns streams from L2 for each tile, the rows lie in L2, too, and the kernel asks
 * memory for those of the next tile or task. Terms outside of a plane are read from zeros. The bits don't depend on the number of
 * threads: a sum is made by one thread, in the order of the taps and of the terms in them. */
#ifndef TRINE_CPU_MATMUL_IN_PLACE_H
#define TRINE_CPU_MATMUL_IN_PLACE_H

#include "backends/cpu/conv_gather.h"
#include "backends/cpu/matmul_place_kernel.h"
#include "backends/cpu/matmul_register.h"

enum {
    PLACE_COLUMNS = 8 * NR,
    PLACE_STEP = 2304,
    PLACE_TERMS_LEAST = 16, /* of a tap */
    PLACE_TAPS = 25,        /* of a step */
    PLACED_MOST = 1 << 24,  /* terms that are packed at once */
    PLACE_RUN = 8,          /* tasks that a thread takes at once, which share pixels */
    PLACE_SEGMENT = 32      /* pixels of a line that are looked at together */
};

/* Numbers are terms, or pairs of terms. */
typedef struct place_plan {
    const trine_conv_operand *o; /* the rows */
    bool pairs, turned;          /* turned: rows are d's columns */
    bool stream;                 /* d is written past the caches */
    int64_t rows, columns, pitch;
    int64_t taps, terms; /* taps, numbers of one */
    int64_t parts, part; /* of a tap where it is longer than a step */
    int64_t step_taps, steps;
    int64_t pieces;              /* that a step's columns are packed in, at most */
    int64_t segments;            /* of lines, that may have to be looked at */
    size_t packed, flags, place; /* floats of the panels, of what is told of them, of all that is shared */
    size_t own;                  /* a thread's */
    const register_hooks *hooks; /* or NULL */
} place_plan;

/* Whether rows can be multiplied in place. Pixels of bf16 that several taps share are looked at in their plane, which rows go along. */
static inline bool lies_in_place(const trine_conv_operand *o, trine_dtype dtype)
{
    const trine_conv_side *t = &o->terms;
    const bool pairs = dtype == TRINE_BF16 && multiplies_pairs();
    if (pairs && t->size[0] * t->size[1] > 1 && (!o->rows.h[1] || !o->rows.w[2])) return false;
    return (dtype == TRINE_F32 || pairs) && t->stride[2] == 1 && !t->h[2] && !t->w[2] && (!pairs || t->size[2] % 2 == 0) &&
           t->size[2] >= (pairs ? 2 : 1) * PLACE_TERMS_LEAST && trine_conv_count(t) > 0;
}

static inline place_plan place_plan_make(const trine_product *p, const trine_conv_operand *o, bool turned)
{
    place_plan w = {.o = o, .pairs = p->dtype == TRINE_BF16, .turned = turned};
    w.stream = !turned && span_should_stream(p->m * p->n * size_of(p->d_dtype) * p->batch.numel);
    w.rows = turned ? p->n : p->m;
    w.columns = turned ? p->m : p->n;
    w.pitch = blocks_of(w.columns, NR) * NR;
    w.taps = o->terms.size[0] * o->terms.size[1];
    w.terms = o->terms.size[2] / (w.pairs ? 2 : 1);
    w.part = even_block(w.terms, PLACE_STEP, 1);
    w.parts = blocks_of(w.terms, w.part);
    w.step_taps = even_block(w.taps, smaller(PLACE_STEP / w.part, PLACE_TAPS), 1);
    w.pieces = blocks_of(w.parts > 1 ? w.part : w.step_taps * w.terms, PACK_TERMS);
    w.steps = w.parts > 1 ? w.taps * w.parts : blocks_of(w.taps, w.step_taps);
    w.packed = (size_t)(w.pitch * w.taps * w.terms);
    w.flags = (size_t)(w.pitch / NR * w.steps * w.pieces);
    w.segments = w.pairs && w.taps > 1 ? o->rows.size[0] * o->height * blocks_of(o->width, PLACE_SEGMENT) : 0;
    w.place = (w.packed + w.flags + (size_t)w.segments / sizeof(float) + 1 + 15) / 16 * 16;
    w.own = (size_t)(PLACE_ROWS * smaller(w.pitch, PLACE_COLUMNS)) * (turned ? 2 : 1);
    return w;
}

static inline size_t place_floats(const place_plan *w, const team_plan *team)
{
    return 2 * w->place + (size_t)team->members * w->own;
}

/* Some taps, or a part of one. */
typedef struct place_step {
    int64_t tap, taps, term, terms;
} place_step;

static inline place_step place_step_of(const place_plan *w, int64_t step)
{
    if (w->parts == 1)
        return (place_step){step * w->step_taps, smaller(w->step_taps, w->taps - step * w->step_taps), 0, w->terms};
    const int64_t term = step % w->parts * w->part;
    return (place_step){step / w->parts, 1, term, smaller(w->part, w->terms - term)};
}

/* ---- The columns ---- */

static void pack_columns(const trine_product *p, const product_place *at, cpu_team *team, const place_plan *w, float *packed)
{
    float *flags = packed + w->packed;
    for (int64_t i = 0; i < w->steps; i++) {
        const place_step step = place_step_of(w, i);
        const int64_t first = step.tap * w->terms + step.term, terms = step.taps * step.terms;
        for (int64_t piece = 0; piece < w->pieces; piece++, flags += w->pitch / NR) {
            const int64_t begin = piece * PACK_TERMS, k = (first + begin) * (w->pairs ? 2 : 1);
            pack_source s = w->turned ? source_of(p->a, p->dtype, at->a + k * p->a_k, p->a_m, p->a_k, 0, k)
                                      : source_of(p->b, p->dtype, at->b + k * p->b_k, p->b_n, p->b_k, 0, k);
            s.rows = w->columns;
            s.terms = smaller(PACK_TERMS, terms - begin);
            s.panel = terms * NR;
            s.pairs = w->pairs;
            if (s.terms <= 0) continue;
            if (w->hooks) w->hooks->source(p, true, &s);
            pack_b(team, packed + first * w->pitch + begin * NR, flags, &s);
        }
    }
}

/* Whether a step's panel has subnormal terms. */
static bool is_flagged(const place_plan *w, const float *packed, int64_t step, const place_step *s, int64_t panel)
{
    const int64_t pieces = blocks_of(s->taps * s->terms, PACK_TERMS);
    const float *flags = packed + w->packed + step * w->pieces * (w->pitch / NR) + panel;
    bool any = false;
    for (int64_t i = 0; w->pairs && i < pieces; i++) any |= flags[i * (w->pitch / NR)] > 0;
    return any;
}

/* ---- The rows ---- */

/* Where rows of a task begin, in memory and in their plane. What lacks of a last tile lies outside of every plane. */
typedef struct place_rows {
    int64_t at[PLACE_ROWS], image[PLACE_ROWS], h[PLACE_ROWS], w[PLACE_ROWS];
} place_rows;

static void find_rows(const place_plan *w, int64_t first_element, int64_t row, int64_t rows, place_rows *to)
{
    const trine_conv_operand *o = w->o;
    const trine_conv_side *s = &o->rows;
    int64_t i2 = row % s->size[2], image = row / (s->size[1] * s->size[2]);
    conv_place at = conv_place_of(s, row);
    for (int64_t i = 0; i < rows; i++) {
        to->at[i] = first_element + o->first + at.at;
        to->image[i] = image;
        to->h[i] = o->h + at.h;
        to->w[i] = o->w + at.w;
        if (++i2 < s->size[2]) {
            at = (conv_place){at.at + s->stride[2], at.h + s->h[2], at.w + s->w[2]};
            continue;
        }
        i2 = 0;
        image = (row + i + 1) / (s->size[1] * s->size[2]);
        at = conv_place_of(s, row + i + 1);
    }
    for (int64_t i = rows; i < blocks_of(rows, MR) * MR; i++) {
        to->at[i] = to->image[i] = 0;
        to->h[i] = to->w[i] = -(INT64_C(1) << 40);
    }
}

static const float place_zeros[PLACE_STEP];

/* Addresses of the step's terms, [tap][PLACE_ROWS]. */
static void find_terms(const place_plan *w, trine_dtype dtype, const place_rows *restrict rows, int64_t count,
                       const place_step *step, uintptr_t *restrict to)
{
    const trine_conv_operand *o = w->o;
    const uint64_t height = (uint64_t)o->height, width = (uint64_t)o->width, size = (uint64_t)size_of(dtype);
    for (int64_t t = 0; t < step->taps; t++, to += PLACE_ROWS) {
        const conv_place tap = conv_place_of(&o->terms, (step->tap + t) * o->terms.size[2]);
        const uintptr_t data = (uintptr_t)o->data + (uint64_t)(tap.at + step->term * (w->pairs ? 2 : 1)) * size;
        for (int64_t i = 0; i < count; i++) {
            const bool inside = ((uint64_t)(rows->h[i] + tap.h) < height) & ((uint64_t)(rows->w[i] + tap.w) < width);
            to[i] = inside ? data + (uint64_t)rows->at[i] * size : (uintptr_t)place_zeros;
        }
    }
}

/* ---- Subnormal bf16 in the rows (matmul_kernel.h) ---- */

/* Pixels that taps share are looked at once, in segments of the plane's lines. state: of each, 0 as long as nobody has looked. */
static bool look_at_segment(const place_plan *w, int64_t first_element, int64_t image, int64_t h, int64_t segment, uint8_t *state)
{
    enum { CLEAN = 1, SUBNORMAL };
    const trine_conv_operand *o = w->o;
    uint8_t *own = state + (image * o->height + h) * blocks_of(o->width, PLACE_SEGMENT) + segment;
    const uint8_t known = __atomic_load_n(own, __ATOMIC_RELAXED);
    if (known) return known == SUBNORMAL;
    const int64_t pixel = o->rows.stride[2] / o->rows.w[2], line = o->rows.stride[1] / o->rows.h[1], pairs = o->terms.size[2] / 2;
    const int64_t begin = segment * PLACE_SEGMENT, n = smaller(PLACE_SEGMENT, o->width - begin);
    const bool dense = pixel == 2 * pairs;
    const char *from = element(o->data, TRINE_BF16, first_element + image * o->rows.stride[0] + h * line + begin * pixel);
    uint16_t least = 0xffff;
    for (int64_t i = 0; i < (dense ? 1 : n); i++) {
        const uint16_t x = least_bf16(from + i * pixel * 2, dense ? n * pairs : pairs);
        least = x < least ? x : least;
    }
    const bool found = least < SUBNORMAL_BF16;
    __atomic_store_n(own, found ? SUBNORMAL : CLEAN, __ATOMIC_RELAXED);
    return found;
}

/* Of rows with several taps: in the segments that the tile's taps reach, so that tasks and threads don't matter. */
static bool look_at_segments(const place_plan *w, int64_t first_element, const place_rows *rows, int64_t first, uint8_t *state)
{
    const trine_conv_operand *o = w->o;
    const trine_conv_side *t = &o->terms;
    const int64_t reach = (t->size[1] - 1) * t->w[1];
    bool found = false;
    for (int64_t i = first, n; i < first + MR; i += n) {
        const int64_t image = rows->image[i];
        n = 1;
        while (i + n < first + MR && rows->h[i + n] == rows->h[i] && rows->image[i + n] == image) n++;
        int64_t begin = rows->w[i] + (reach < 0 ? reach : 0), end = rows->w[i + n - 1] + (reach > 0 ? reach : 0) + 1;
        begin = begin > 0 ? begin : 0;
        end = smaller(end, o->width);
        for (int64_t tap = 0; tap < t->size[0]; tap++) {
            const int64_t h = rows->h[i] + tap * t->h[0];
            if (h < 0 || h >= o->height) continue;
            for (int64_t s = begin / PLACE_SEGMENT; s * PLACE_SEGMENT < end; s++)
                found |= look_at_segment(w, first_element, image, h, s, state);
        }
    }
    return found;
}

/* ---- Tasks ---- */

typedef struct place_task {
    int64_t row, rows, column, columns; /* column: a multiple of NR */
    int64_t first_element;              /* added to the rows' places */
    const float *packed;
    uint8_t *state; /* of segments */
    float *sums;
    int64_t pitch;
} place_task;

/* From sums of a tile to d, past the caches where d is large. */
static void finish_tile(const trine_product *p, const product_place *at, const place_plan *w, const place_task *t, int64_t tile)
{
    const int64_t row = t->row + tile * MR, rows = smaller(MR, t->rows - tile * MR);
    float *sums = t->sums + tile * MR * t->pitch;
    if (w->hooks && w->hooks->finish) {
        for (int64_t r = 0; r < rows; r++) w->hooks->finish(p, at, row + r, t->column, sums + r * t->pitch, t->columns);
        return;
    }
    if (!is_plain(p)) {
        for (int64_t r = 0; r < rows; r++) finish_row(p, at, row + r, t->column, sums + r * t->pitch, t->columns);
        return;
    }
    const bool one = p->d_m == t->columns && t->pitch == t->columns; /* rows follow each other */
    const int64_t n = one ? rows * t->columns : t->columns;
    for (int64_t r = 0; r < (one ? 1 : rows); r++) {
        const void *to = element(p->d, p->d_dtype, at->d + (row + r) * p->d_m + t->column);
        span_store((void *)(uintptr_t)to, p->d_dtype, sums + r * t->pitch, n, w->stream);
    }
}

/* The same of a whole task whose rows are d's columns. */
static void finish_turned(const trine_product *p, const product_place *at, const place_task *t)
{
    const void *line[PLACE_ROWS];
    float *lines = t->sums + PLACE_ROWS * t->pitch;
    for (int64_t r = 0; r < PLACE_ROWS; r++) line[r] = t->sums + r * t->pitch;
    turn_lines(lines, PLACE_ROWS, line, t->columns, 0);
    for (int64_t c = 0; c < t->columns; c++) finish_row(p, at, t->column + c, t->row, lines + c * PLACE_ROWS, t->rows);
}

/* How far behind the last tap's terms to ask for others: with several taps for the next task's, in long rows for some lines, else for
 * the next tile's. */
static int64_t distance_ahead(const place_step *step, const uintptr_t *row, int64_t tiles)
{
    enum { FAR = 1024 };
    const int64_t bytes = step->terms * (int64_t)sizeof(float);
    const int64_t apart = (int64_t)(row[1] - row[0]); /* a place of zeros may be among them: then it is anything */
    return step->taps > 1 ? tiles * MR * apart : bytes >= 2 * FAR ? FAR : MR * apart;
}

/* All tiles of the task in one step; subnormal: of each, whether such terms are known to be in its rows. */
static void make_place_step(const trine_product *p, const product_place *at_d, const place_plan *w, const place_task *t,
                            int64_t number, const place_step *step, const uintptr_t *at, bool *subnormal)
{
    const int64_t terms = step->taps * step->terms, tiles = blocks_of(t->rows, MR), panel = terms * NR;
    const float *b = t->packed + (step->tap * w->terms + step->term) * w->pitch + t->column * terms;
    for (int64_t j = 0; j < blocks_of(t->columns, NR); j++, b += panel) {
        const bool flagged = is_flagged(w, t->packed, number, step, t->column / NR + j), first = j == 0,
                   looks = first && w->taps == 1;
        for (int64_t tile = 0; tile < tiles; tile++) {
            place_tile of = {at + tile * MR, step->taps, step->terms, b, t->sums + tile * MR * t->pitch + j * NR, t->pitch,
                             number > 0,     0};
            bool in_f32 = flagged || (!looks && subnormal[tile]);
            if (first) of.ahead = distance_ahead(step, of.row + (step->taps - 1) * PLACE_ROWS, tiles);
            multiply_tile(w->pairs, &of, &in_f32);
            if (looks) subnormal[tile] = in_f32;
            if (number + 1 == w->steps && (j + 1) * NR >= t->columns && !w->turned) finish_tile(p, at_d, w, t, tile);
        }
    }
}

static void make_places(const trine_product *p, const product_place *at_d, const place_plan *w, const place_task *t)
{
    place_rows rows;
    uintptr_t at[PLACE_TAPS * PLACE_ROWS];
    bool subnormal[PLACE_TILES];
    const int64_t tiles = blocks_of(t->rows, MR);
    find_rows(w, t->first_element, t->row, t->rows, &rows);
    for (int64_t i = 0; i < tiles; i++)
        subnormal[i] = w->pairs && w->taps > 1 && look_at_segments(w, t->first_element, &rows, i * MR, t->state);
    for (int64_t i = 0; i < w->steps; i++) {
        const place_step step = place_step_of(w, i);
        find_terms(w, p->dtype, &rows, tiles * MR, &step, at);
        make_place_step(p, at_d, w, t, i, &step, at, subnormal);
    }
}

/* As many as may be, unless with fewer the last thread is done 2 % sooner. */
static int64_t tiles_of_task(const place_plan *w, int64_t groups, int threads)
{
    const int64_t all = blocks_of(w->rows, MR);
    int64_t best = PLACE_TILES, least = INT64_MAX;
    for (int64_t tiles = smaller(PLACE_TILES, all); tiles > 0; tiles--) {
        const int64_t time = blocks_of(blocks_of(all, tiles) * groups, threads) * tiles;
        if (time >= least - least / 50) continue;
        best = tiles;
        least = time;
    }
    return best;
}

/* This member's part of one product. first_element: of the rows, added to their places. */
static void place_product(const trine_product *p, const product_place *at, cpu_team *team, const place_plan *w,
                          int64_t first_element)
{
    float *memory = (float *)(void *)team->memory, *packed = memory + (team->steps++ % 2 ? w->place : 0);
    const int64_t groups = blocks_of(w->columns, PLACE_COLUMNS);
    place_task t = {.first_element = first_element, .packed = packed, .pitch = smaller(w->pitch, PLACE_COLUMNS)};
    t.state = (uint8_t *)(void *)(packed + w->packed + w->flags);
    t.sums = memory + 2 * w->place + (size_t)team->thread * w->own;
    const int64_t tiles = tiles_of_task(w, groups, team->threads);
    const int64_t tasks = blocks_of(w->rows, tiles * MR) * groups;
    const cpu_range mine = team_range(team, w->segments, 64);
    if (mine.end > mine.begin) memset(t.state + mine.begin, 0, (size_t)(mine.end - mine.begin));
    pack_columns(p, at, team, w, packed);
    team_barrier(team);
    const int64_t most = tasks / (32 * team->threads), run = most < 1 ? 1 : smaller(most, PLACE_RUN),
                  runs = blocks_of(tasks, run);
    for (int64_t first; (first = team_next(team, runs)) < runs;) {
        for (int64_t i = first * run; i < smaller(first * run + run, tasks); i++) {
            t.row = i / groups * tiles * MR;
            t.column = i % groups * PLACE_COLUMNS;
            t.rows = smaller(tiles * MR, w->rows - t.row);
            t.columns = smaller(PLACE_COLUMNS, w->columns - t.column);
            make_places(p, at, w, &t);
            if (w->turned) finish_turned(p, at, &t);
        }
    }
    if (w->stream) span_fence();
}

#endif
