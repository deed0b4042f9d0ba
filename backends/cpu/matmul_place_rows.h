/* Rows that are multiplied where they lie (matmul_in_place.h): which can be, how they are cut, and where their terms are. */
#ifndef TRINE_CPU_MATMUL_PLACE_ROWS_H
#define TRINE_CPU_MATMUL_PLACE_ROWS_H

#include "backends/cpu/conv_gather.h"
#include "backends/cpu/matmul_place_kernel.h"
#include "backends/cpu/matmul_register.h"

enum {
    PLACE_COLUMNS = 8 * NR, /* of a task; in wide panels */
    PLACE_WIDE_COLUMNS = 12 * WIDE_NR,
    PLACE_STEP = 2304,
    PLACE_TERMS_LEAST = 16, /* of a tap */
    PLACE_JOINED_LEAST = 3, /* elements of a line of taps that is taken as one */
    PLACE_JOIN = 16,        /* below so many numbers, taps of a line are joined */
    PLACE_TAPS = 25,        /* of a step */
    PLACED_MOST = 1 << 24,  /* terms that are packed at once */
    PLACE_L2 = 1 << 19,     /* bytes of rows, of columns that are used for some time */
    PLACE_L3 = 12 << 20,
    PLACE_RUN = 8,       /* tasks that a thread takes at once, which share pixels */
    PLACE_SEGMENT = 1024 /* elements of a line that are looked at together, about */
};

/* Numbers are terms, or pairs of terms. */
typedef struct place_plan {
    trine_conv_operand o; /* the rows */
    bool pairs, turned;   /* turned: rows are d's columns */
    bool stream;          /* d is written past the caches */
    bool wide_panels;
    bool odd;    /* the last pair of a tap lacks its second */
    bool shared; /* several taps meet a pixel */
    int64_t rows, columns, pitch;
    int64_t tile, panel, group; /* rows of a tile, columns of a panel (the last may have fewer vectors), of a task */
    int64_t panels;
    int64_t taps, terms;    /* taps, numbers of one */
    int64_t wide, channels; /* pixels of a tap, elements of a pixel */
    int64_t parts, part;    /* of a tap where it is longer than a step */
    int64_t step_taps, steps;
    int64_t piece, pieces;       /* numbers that are packed at once; how often in a step, at most */
    int64_t segment, segments;   /* pixels of a line that are looked at together; how many such */
    size_t packed, flags, place; /* floats of the panels, of what is told of them, of all that is shared */
    size_t sums, own;            /* a thread's sums, all that it has */
    const register_hooks *hooks; /* or NULL */
} place_plan;

/* Whether taps that follow each other along a line of the plane do so in memory, too, and have few channels: then they are taken
 * as one tap of several pixels. */
static inline bool joins_taps(const trine_conv_operand *o, trine_dtype dtype)
{
    const trine_conv_side *t = &o->terms;
    return t->size[1] > 1 && t->stride[2] == 1 && t->stride[1] == t->size[2] && t->w[1] == 1 && !t->w[0] && !t->h[1] &&
           !t->h[2] && !t->w[2] && o->rows.w[2] > 0 && o->rows.h[1] > 0 &&
           t->size[2] * size_of(dtype) < PLACE_JOIN * (int64_t)sizeof(float);
}

static inline trine_conv_operand with_taps_joined(const trine_conv_operand *o)
{
    trine_conv_operand joined = *o;
    const trine_conv_side *t = &o->terms;
    joined.terms = (trine_conv_side){
        {t->size[0], 1, t->size[1] * t->size[2]}, {t->stride[0], 0, t->stride[2]}, {t->h[0], 0, 0}, {t->w[0], 0, 0}};
    return joined;
}

/* Whether rows can be multiplied in place. Pixels of bf16 that several taps share are looked at in their plane, which rows go
 * along. */
static inline bool lies_in_place(const trine_conv_operand *o, trine_dtype dtype)
{
    const bool pairs = dtype == TRINE_BF16 && multiplies_pairs(), joined = joins_taps(o, dtype);
    const trine_conv_side *t = &o->terms;
    const bool shared = t->size[0] * t->size[1] > 1;
    const int64_t terms = joined ? t->size[1] * t->size[2] : t->size[2];
    if (pairs && shared && (!o->rows.h[1] || !o->rows.w[2])) return false;
    if (pairs && terms % 2 && (!shared || terms > 2 * PACK_TERMS)) return false;
    return (dtype == TRINE_F32 || pairs) && t->stride[2] == 1 && !t->h[2] && !t->w[2] &&
           terms >= (joined ? PLACE_JOINED_LEAST : (pairs ? 2 : 1) * PLACE_TERMS_LEAST) && trine_conv_count(t) > 0;
}

/* Products of f32 on Intel's processors, unless a last panel of one vector, which takes a third more time, is too much of the
 * work; AMD's were not measured. */
static inline bool prefers_wide_panels(trine_dtype dtype, int64_t columns)
{
    const int64_t vectors = blocks_of(columns, VEC_LANES);
    return WIDE_NR > NR && dtype == TRINE_F32 && prefers_l2() && vectors > NV &&
           (vectors % WIDE_NV != 1 || vectors > 4 * WIDE_NV);
}

static inline place_plan place_plan_make(const trine_product *p, const trine_conv_operand *o, bool turned)
{
    const bool joined = joins_taps(o, p->dtype);
    place_plan w = {.o = joined ? with_taps_joined(o) : *o, .pairs = p->dtype == TRINE_BF16, .turned = turned};
    const trine_conv_side *t = &w.o.terms;
    w.stream = !turned && span_should_stream(p->m * p->n * size_of(p->d_dtype) * p->batch.numel);
    w.rows = turned ? p->n : p->m;
    w.columns = turned ? p->m : p->n;
    w.wide_panels = prefers_wide_panels(p->dtype, w.columns);
    w.tile = w.wide_panels ? WIDE_MR : MR;
    w.panel = w.wide_panels ? WIDE_NR : NR;
    w.pitch = blocks_of(w.columns, VEC_LANES) * VEC_LANES;
    w.panels = blocks_of(w.pitch, w.panel);
    w.group = even_block(w.pitch, w.wide_panels ? PLACE_WIDE_COLUMNS : PLACE_COLUMNS, w.panel);
    w.taps = t->size[0] * t->size[1];
    w.terms = blocks_of(t->size[2], w.pairs ? 2 : 1);
    w.wide = joined ? o->terms.size[1] : 1;
    w.channels = o->terms.size[2];
    w.odd = w.pairs && t->size[2] % 2;
    w.shared = w.taps > 1 || joined;
    w.part = even_block(w.terms, PLACE_STEP, 1);
    w.parts = blocks_of(w.terms, w.part);
    w.step_taps = even_block(w.taps, smaller(PLACE_STEP / w.part, PLACE_TAPS), 1);
    w.piece = w.odd ? w.terms : PACK_TERMS;
    w.pieces = blocks_of(w.parts > 1 ? w.part : w.step_taps * w.terms, w.piece);
    w.steps = w.parts > 1 ? w.taps * w.parts : blocks_of(w.taps, w.step_taps);
    w.packed = (size_t)(w.pitch * w.taps * w.terms);
    w.flags = (size_t)(w.panels * w.steps * w.pieces);
    w.segment = w.channels < PLACE_SEGMENT / 32 ? PLACE_SEGMENT / w.channels : 32;
    w.segments = w.pairs && w.shared ? o->rows.size[0] * o->height * blocks_of(o->width, w.segment) : 0;
    w.place = (w.packed + w.flags + (size_t)w.segments / sizeof(float) + 1 + 15) / 16 * 16;
    w.sums = (size_t)(PLACE_ROWS * smaller(w.pitch, w.group)) * (turned ? 2 : 1);
    w.own = w.sums + (joined ? (size_t)(PLACE_ROWS * w.step_taps * w.terms + 15) / 16 * 16 : 0);
    return w;
}

/* Columns that the panel from `column` on has room for. */
static inline int64_t panel_width(const place_plan *w, int64_t column) { return smaller(w->panel, w->pitch - column); }

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

/* ---- The rows ---- */

/* Rows of a task that follow each other along a line of the plane: number, place of the first. What lacks of a last tile lies outside
 * of every plane. */
typedef struct place_run {
    int64_t first, count, at, image, h, w;
} place_run;

typedef struct place_rows {
    int64_t runs, cuts;
    place_run run[PLACE_ROWS];
    struct {
        int64_t run, row;
    } cut[PLACE_ROWS]; /* of which an edge of the plane leaves a part of each tap */
} place_rows;

static void find_rows(const place_plan *w, int64_t first_element, int64_t row, int64_t rows, place_rows *to)
{
    const trine_conv_operand *o = &w->o;
    const trine_conv_side *s = &o->rows;
    const int64_t made = blocks_of(rows, w->tile) * w->tile;
    to->runs = to->cuts = 0;
    for (int64_t i = 0, n; i < rows; i += n) {
        const conv_place at = conv_place_of(s, row + i);
        n = smaller(rows - i, s->size[2] - (row + i) % s->size[2]);
        place_run r = {i, n, first_element + o->first + at.at, (row + i) / (s->size[1] * s->size[2]), o->h + at.h, o->w + at.w};
        for (int64_t j = 0; w->wide > 1 && j < n; j++) {
            const int64_t begin = r.w + j * s->w[2], end = begin + w->wide;
            if (begin >= 0 && end <= o->width) { /* the next ones up to the other edge are whole, too */
                j += (o->width - end) / s->w[2];
                continue;
            }
            if (end <= 0 || begin >= o->width) continue;
            to->cut[to->cuts].run = to->runs;
            to->cut[to->cuts++].row = i + j;
        }
        to->run[to->runs++] = r;
    }
    if (made > rows) to->run[to->runs++] = (place_run){rows, made - rows, 0, 0, -(INT64_C(1) << 40), 0};
}

/* The cut rows' taps of a line of the plane are copied, with zeros outside of it. */
static void copy_cut_rows(const place_plan *w, trine_dtype dtype, const place_rows *rows, conv_place tap, float *copies,
                          uintptr_t *to)
{
    const trine_conv_operand *o = &w->o;
    const int64_t pixel = w->channels * size_of(dtype);
    for (int64_t c = 0; c < rows->cuts; c++, copies += w->terms) {
        const place_run *r = &rows->run[rows->cut[c].run];
        const int64_t row = rows->cut[c].row, j = row - r->first, h = r->h + tap.h, at = r->w + j * o->rows.w[2];
        if (h < 0 || h >= o->height) continue;
        const int64_t begin = at < 0 ? -at : 0, end = smaller(w->wide, o->width - at);
        memset(copies, 0, (size_t)w->terms * sizeof *copies);
        memcpy((char *)copies + begin * pixel,
               element(o->data, dtype, r->at + j * o->rows.stride[2] + tap.at + begin * w->channels),
               (size_t)((end - begin) * pixel));
        to[row] = (uintptr_t)copies;
    }
}

static const float place_zeros[PLACE_STEP];

/* Addresses of the step's terms, [tap][PLACE_ROWS]. */
static void find_terms(const place_plan *w, trine_dtype dtype, const place_rows *restrict rows, const place_step *step,
                       float *copies, uintptr_t *restrict to)
{
    const trine_conv_operand *o = &w->o;
    const uintptr_t zeros = (uintptr_t)place_zeros;
    const uint64_t size = (uint64_t)size_of(dtype), apart = (uint64_t)o->rows.stride[2] * size;
    for (int64_t t = 0; t < step->taps; t++, to += PLACE_ROWS) {
        const conv_place tap = conv_place_of(&o->terms, (step->tap + t) * o->terms.size[2]);
        const uintptr_t data = (uintptr_t)o->data + (uint64_t)(tap.at + step->term * (w->pairs ? 2 : 1)) * size;
        for (const place_run *r = rows->run; r < rows->run + rows->runs; r++) {
            cpu_range inside = {0, r->count};
            conv_clip(&inside, r->h + tap.h, 0, o->height);
            conv_clip(&inside, r->w + tap.w, o->rows.w[2], o->width - w->wide + 1);
            uintptr_t *own = to + r->first;
            const uintptr_t first = data + (uint64_t)r->at * size;
            for (int64_t i = 0; i < inside.begin; i++) own[i] = zeros;
            for (int64_t i = inside.begin; i < inside.end; i++) own[i] = first + (uint64_t)i * apart;
            for (int64_t i = inside.end; i < r->count; i++) own[i] = zeros;
        }
        if (rows->cuts) copy_cut_rows(w, dtype, rows, tap, copies + t * rows->cuts * w->terms, to);
    }
}

/* ---- Subnormal bf16 in the rows (matmul_kernel.h) ---- */

/* Pixels that taps share are looked at once, in segments of the plane's lines. state: of each, 0 as long as nobody has looked. */
static bool look_at_segment(const place_plan *w, int64_t first_element, int64_t image, int64_t h, int64_t segment, uint8_t *state)
{
    enum { CLEAN = 1, SUBNORMAL };
    const trine_conv_operand *o = &w->o;
    uint8_t *own = state + (image * o->height + h) * blocks_of(o->width, w->segment) + segment;
    const uint8_t known = __atomic_load_n(own, __ATOMIC_RELAXED);
    if (known) return known == SUBNORMAL;
    const int64_t pixel = o->rows.stride[2] / o->rows.w[2], line = o->rows.stride[1] / o->rows.h[1];
    const int64_t begin = segment * w->segment, n = smaller(w->segment, o->width - begin);
    const bool dense = pixel == w->channels;
    const char *from = element(o->data, TRINE_BF16, first_element + image * o->rows.stride[0] + h * line + begin * pixel);
    uint16_t least = 0xffff;
    for (int64_t i = 0; i < (dense ? 1 : n); i++) {
        const uint16_t x = least_bf16(from + i * pixel * 2, dense ? n * pixel : w->channels);
        least = x < least ? x : least;
    }
    const bool found = least < SUBNORMAL_BF16;
    __atomic_store_n(own, found ? SUBNORMAL : CLEAN, __ATOMIC_RELAXED);
    return found;
}

/* Of rows [first, end): in the segments that their taps reach, so that tasks and threads don't matter. */
static bool look_at_segments(const place_plan *w, int64_t first_element, const place_rows *rows, int64_t first, int64_t end,
                             uint8_t *state)
{
    const trine_conv_operand *o = &w->o;
    const trine_conv_side *t = &o->terms;
    const int64_t reach = (t->size[1] - 1) * t->w[1], more = w->wide - 1, step = o->rows.w[2];
    bool found = false;
    for (const place_run *r = rows->run; r < rows->run + rows->runs; r++) {
        const int64_t i = (first > r->first ? first : r->first) - r->first, n = smaller(end - r->first, r->count);
        if (i >= n) continue;
        const int64_t from = r->w + i * step + (reach < 0 ? reach : 0),
                      to = r->w + (n - 1) * step + (reach > 0 ? reach : 0) + more;
        const int64_t begin = from > 0 ? from : 0, behind = smaller(to + 1, o->width);
        for (int64_t tap = 0; tap < t->size[0]; tap++) {
            const int64_t h = r->h + tap * t->h[0];
            if (h < 0 || h >= o->height) continue;
            for (int64_t s = begin / w->segment; s * w->segment < behind; s++)
                found |= look_at_segment(w, first_element, r->image, h, s, state);
        }
    }
    return found;
}

#endif
