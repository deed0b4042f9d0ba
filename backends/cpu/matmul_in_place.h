/* Products of rows that are multiplied where they lie: each row's terms are dense, in one piece or in one a tap of a filter. Packing a
 * row costs as much as multiplying it with some 30 columns; here only the columns are packed, all of them at once, and the
 * micro-kernel broadcasts from the rows of a tile at any places. Bound by multiply-adds.
 *
 * A task is some tiles of rows and some panels of columns. It goes through K in steps of at most PLACE_STEP numbers, over
 * which sums stay in registers; a panel of columns streams from L2 for each tile, the rows lie in L2, too, and the kernel asks
 * memory for those of the next tile or task. Terms outside of a plane are read from zeros. The bits don't depend on the number of
 * threads: a sum is made by one thread, in the order of the taps and of the terms in them. */
#ifndef TRINE_CPU_MATMUL_IN_PLACE_H
#define TRINE_CPU_MATMUL_IN_PLACE_H

#include "backends/cpu/matmul_place_rows.h"

/* ---- The columns ---- */

/* Columns [begin, end) as panels of `width`; s has the terms. */
static void pack_some_columns(const trine_product *p, cpu_team *team, const place_plan *w, pack_source s, int64_t begin,
                              int64_t end, int64_t width, float *packed, float *flags)
{
    s.first += begin * s.row;
    s.begin_row = begin;
    s.rows = end - begin;
    if (s.rows == 0) return;
    if (w->hooks) w->hooks->source(p, true, &s);
    (width == VEC_LANES ? pack_narrow_b : width == NR ? pack_b : pack_wide_b)(team, packed, flags, &s);
}

static void pack_columns(const trine_product *p, const product_place *at, cpu_team *team, const place_plan *w, float *packed)
{
    float *flags = packed + w->packed;
    const int64_t last = (w->panels - 1) * w->panel, narrow = panel_width(w, last),
                  whole = narrow == w->panel ? w->columns : last;
    for (int64_t i = 0; i < w->steps; i++) {
        const place_step step = place_step_of(w, i);
        const int64_t first = step.tap * w->terms + step.term, terms = step.taps * step.terms;
        for (int64_t piece = 0; piece < w->pieces; piece++, flags += w->panels) {
            const int64_t begin = piece * w->piece, lacking = w->odd ? step.tap + piece : 0,
                          k = (first + begin) * (w->pairs ? 2 : 1) - lacking;
            pack_source s = w->turned ? source_of(p->a, p->dtype, at->a + k * p->a_k, p->a_m, p->a_k, 0, k)
                                      : source_of(p->b, p->dtype, at->b + k * p->b_k, p->b_n, p->b_k, 0, k);
            float *to = packed + first * w->pitch;
            s.terms = smaller(w->piece, terms - begin);
            s.pairs = w->pairs;
            s.odd = w->odd;
            if (s.terms <= 0) continue;
            s.panel = terms * w->panel;
            pack_some_columns(p, team, w, s, 0, whole, w->panel, to + begin * w->panel, flags);
            s.panel = terms * narrow;
            pack_some_columns(p, team, w, s, whole, w->columns, narrow, to + whole * terms + begin * narrow,
                              flags + w->panels - 1);
        }
    }
}

/* Whether a step's panel has subnormal terms. */
static bool is_flagged(const place_plan *w, const float *packed, int64_t step, const place_step *s, int64_t panel)
{
    const int64_t pieces = blocks_of(s->taps * s->terms, w->piece);
    const float *flags = packed + w->packed + step * w->pieces * w->panels + panel;
    bool any = false;
    for (int64_t i = 0; w->pairs && i < pieces; i++) any |= flags[i * w->panels] > 0;
    return any;
}

/* ---- Tasks ---- */

typedef struct place_task {
    int64_t row, rows, column, columns; /* column: a multiple of a panel's */
    int64_t first_element;              /* added to the rows' places */
    const float *packed;
    uint8_t *state;       /* of segments */
    float *sums, *copies; /* of rows that are cut */
    int64_t pitch;
    bool direct;        /* sums of whole tiles are made in d itself */
    const float *after; /* the panel that is multiplied with next, after the task's step */
} place_task;

/* Where panel j's sums of a tile are made. */
static float *sums_of_tile(const trine_product *p, const product_place *at, const place_plan *w, const place_task *t,
                           int64_t tile, int64_t j, int64_t *pitch)
{
    const int64_t row = tile * w->tile, column = j * w->panel;
    const bool whole = row + w->tile <= t->rows && column + panel_width(w, t->column + column) <= t->columns;
    *pitch = t->direct && whole ? p->d_m : t->pitch;
    if (t->direct && whole) return (float *)p->d + at->d + (t->row + row) * p->d_m + t->column + column;
    return t->sums + row * t->pitch + column;
}

/* From sums of a tile to d, past the caches where d is large. */
static void finish_tile(const trine_product *p, const product_place *at, const place_plan *w, const place_task *t, int64_t tile)
{
    const int64_t row = t->row + tile * w->tile, rows = smaller(w->tile, t->rows - tile * w->tile),
                  cut = t->columns % VEC_LANES ? t->columns % w->panel : 0, /* columns of a panel that has more */
        done = t->direct && rows == w->tile ? t->columns - cut : 0, columns = t->columns - done;
    float *sums = t->sums + tile * w->tile * t->pitch + done;
    if (w->hooks && w->hooks->finish) {
        for (int64_t r = 0; r < rows; r++) w->hooks->finish(p, at, row + r, t->column, sums + r * t->pitch, columns);
        return;
    }
    if (!is_plain(p)) {
        for (int64_t r = 0; r < rows; r++) finish_row(p, at, row + r, t->column, sums + r * t->pitch, columns);
        return;
    }
    const bool one = p->d_m == columns && t->pitch == columns; /* rows follow each other */
    const int64_t n = one ? rows * columns : columns;
    for (int64_t r = 0; columns && r < (one ? 1 : rows); r++) {
        const void *to = element(p->d, p->d_dtype, at->d + (row + r) * p->d_m + t->column + done);
        span_store((void *)(uintptr_t)to, p->d_dtype, sums + r * t->pitch, n, w->stream && !done);
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
 * the next tile's. Not 0, which says that the rows are not new and need not be looked through. */
static int64_t distance_ahead(const place_plan *w, const place_step *step, const uintptr_t *row, int64_t tiles)
{
    enum { FAR = 1024 };
    const int64_t bytes = step->terms * (int64_t)sizeof(float);
    const int64_t apart = (int64_t)(row[1] - row[0]); /* a place of zeros may be among them: then it is anything */
    const int64_t ahead = step->taps > 1 ? tiles * w->tile * apart : bytes >= 2 * FAR ? FAR : w->tile * apart;
    return ahead ? ahead : FAR;
}

/* The next panel comes to the L2 cache while the tiles are multiplied with this one, each asking for its part; else the first tile
 * waits for it (Granite Rapids, K = 2048: 1.8 times a tile's time, so 1.25). */
static void ask_for_next(place_tile *of, const float *next, int64_t numbers, int64_t tile, int64_t tiles)
{
    const int64_t lines = blocks_of(numbers * (int64_t)sizeof(float), 64 * tiles), blocks = of->taps * (of->terms / VEC_LANES);
    of->next = (const char *)next + tile * lines * 64;
    of->lines = blocks ? blocks_of(lines, blocks) : 0;
}

/* All tiles of the task in one step; subnormal: of each, whether such terms are known to be in its rows. */
static void make_place_step(const trine_product *p, const product_place *at_d, const place_plan *w, const place_task *t,
                            int64_t number, const place_step *step, const uintptr_t *at, bool *subnormal)
{
    const int64_t terms = step->taps * step->terms, tiles = blocks_of(t->rows, w->tile);
    const float *b = t->packed + (step->tap * w->terms + step->term) * w->pitch + t->column * terms;
    for (int64_t j = 0; j * w->panel < t->columns; j++, b += w->panel * terms) {
        const int64_t width = panel_width(w, t->column + j * w->panel);
        const bool flagged = is_flagged(w, t->packed, number, step, t->column / w->panel + j), first = j == 0,
                   looks = first && !w->shared, last = (j + 1) * w->panel >= t->columns;
        for (int64_t tile = 0; tile < tiles; tile++) {
            int64_t pitch;
            float *const out = sums_of_tile(p, at_d, w, t, tile, j, &pitch);
            place_tile of = {.row = at + tile * w->tile,
                             .taps = step->taps,
                             .terms = step->terms,
                             .b = b,
                             .out = out,
                             .pitch = pitch,
                             .add = number > 0,
                             .odd = w->odd,
                             .looks = looks};
            bool in_f32 = flagged || (!looks && subnormal[tile]);
            if (first) of.ahead = distance_ahead(w, step, of.row + (step->taps - 1) * PLACE_ROWS, tiles);
            if (!w->pairs && prefers_l2())
                ask_for_next(&of, last ? t->after : b + w->panel * terms, w->panel * terms, tile, tiles);
            multiply_tile(w->pairs, w->wide_panels, width / VEC_LANES, &of, &in_f32);
            if (looks) subnormal[tile] = in_f32;
            if (number + 1 == w->steps && last && !w->turned) finish_tile(p, at_d, w, t, tile);
        }
    }
}

/* next_column: of the task after it. */
static void make_places(const trine_product *p, const product_place *at_d, const place_plan *w, place_task *t,
                        int64_t next_column)
{
    place_rows rows;
    uintptr_t at[PLACE_TAPS * PLACE_ROWS];
    bool subnormal[PLACE_TILES];
    const int64_t tiles = blocks_of(t->rows, w->tile);
    find_rows(w, t->first_element, t->row, t->rows, &rows);
    const bool any = w->pairs && w->shared && look_at_segments(w, t->first_element, &rows, 0, t->rows, t->state);
    for (int64_t i = 0; i < tiles; i++)
        subnormal[i] = any && look_at_segments(w, t->first_element, &rows, i * w->tile, (i + 1) * w->tile, t->state);
    for (int64_t i = 0; i < w->steps; i++) {
        const place_step step = place_step_of(w, i);
        find_terms(w, p->dtype, &rows, &step, t->copies, at);
        const bool last = i + 1 == w->steps;
        const place_step next = place_step_of(w, last ? 0 : i + 1);
        t->after =
            t->packed + (next.tap * w->terms + next.term) * w->pitch + (last ? next_column : t->column) * next.taps * next.terms;
        make_place_step(p, at_d, w, t, i, &step, at, subnormal);
    }
}

/* As many as may be, unless with fewer the last thread is done 2 % sooner. Long rows of one tap should stay in L2 beside a panel. */
static int64_t tiles_of_task(const place_plan *w, int64_t groups, int threads)
{
    const int64_t all = blocks_of(w->rows, w->tile), bytes = w->tile * w->part * (int64_t)sizeof(float),
                  fit = PLACE_L2 / (bytes + 1), whole = PLACE_ROWS / w->tile;
    const int64_t most = w->taps > 1 || fit >= whole ? whole : fit > whole / 2 ? fit : whole / 2;
    int64_t best = most, least = INT64_MAX;
    for (int64_t tiles = smaller(most, all); tiles > 0; tiles--) {
        const int64_t time = blocks_of(blocks_of(all, tiles) * groups, threads) * tiles;
        if (time >= least - least / 50) continue;
        best = tiles;
        least = time;
    }
    return best;
}

/* Task number i: of as many groups of columns as stay in the last-level cache, for all rows, those that share rows follow each
 * other. */
static void place_task_at(const place_plan *w, int64_t i, int64_t tiles, int64_t groups, place_task *t)
{
    const int64_t fit = PLACE_L3 / (w->group * w->taps * w->terms * (int64_t)sizeof(float)), together = fit > 1 ? fit : 1;
    const int64_t lines = blocks_of(w->rows, tiles * w->tile), batch = i / (together * lines), first = batch * together;
    const int64_t here = smaller(together, groups - first), rest = i - first * lines;
    t->row = rest / here * tiles * w->tile;
    t->column = (first + rest % here) * w->group;
    t->rows = smaller(tiles * w->tile, w->rows - t->row);
    t->columns = smaller(w->group, w->columns - t->column);
}

/* This member's part of one product. first_element: of the rows, added to their places. */
static void place_product(const trine_product *p, const product_place *at, cpu_team *team, const place_plan *w,
                          int64_t first_element)
{
    float *memory = (float *)(void *)team->memory, *packed = memory + (team->steps++ % 2 ? w->place : 0);
    const int64_t groups = blocks_of(w->columns, w->group);
    place_task t = {.first_element = first_element, .packed = packed, .pitch = smaller(w->pitch, w->group)};
    t.state = (uint8_t *)(void *)(packed + w->packed + w->flags);
    t.sums = memory + 2 * w->place + (size_t)team->thread * w->own;
    t.copies = t.sums + w->sums;
    t.direct = prefers_l2() && !w->turned && !w->hooks && is_plain(p) && p->d_dtype == TRINE_F32; /* not measured on AMD's */
    const int64_t tiles = tiles_of_task(w, groups, team->threads);
    const int64_t tasks = blocks_of(w->rows, tiles * w->tile) * groups;
    const cpu_range mine = team_range(team, w->segments, 64);
    if (mine.end > mine.begin) memset(t.state + mine.begin, 0, (size_t)(mine.end - mine.begin));
    pack_columns(p, at, team, w, packed);
    team_barrier(team);
    const int64_t most = tasks / (32 * team->threads), run = most < 1 ? 1 : smaller(most, PLACE_RUN),
                  runs = blocks_of(tasks, run);
    for (int64_t first; (first = team_next(team, runs)) < runs;) {
        for (int64_t i = first * run; i < smaller(first * run + run, tasks); i++) {
            place_task next = t;
            place_task_at(w, i + 1 < tasks ? i + 1 : i, tiles, groups, &next);
            place_task_at(w, i, tiles, groups, &t);
            make_places(p, at, w, &t, next.column);
            if (w->turned) finish_turned(p, at, &t);
        }
    }
    if (w->stream) span_fence();
}

#endif
