/* Normalisation by channel on the CPU, part of norm.c: statistics of sets of units (core/channels.h), then an affine map of each
 * unit.
 *
 * A unit is taken in chunks that fit the L1 cache as f32, put together from several of its dense pieces where those are short.
 * Chunks give f32 sums, everything above them is f64: chunks are merged into pieces of a fixed length, pieces into units, in their
 * order, whoever made them, so that results do not depend on the number of threads. Threads take sets, whose second read then comes
 * from the caches where a set fits them, or pieces, where there are few sets or one fills the last-level cache. Bound by bytes. */
#ifndef TRINE_CPU_CHANNELS_H
#define TRINE_CPU_CHANNELS_H

#include "backends/cpu/channel_lanes.h"
#include "core/channels.h"

enum {
    UNIT_CHUNK = 2048,
    UNIT_PIECE = 32 * UNIT_CHUNK,
    UNIT_SUMS = 3,
    UNIT_OPERANDS = 3,
    UNIT_SHARED = 1 << 20,
    UNIT_AHEAD = 4096
};

/* Forward: count, mean, sum of squares about it. Backward: sum(dy), sum(dy (x - mean)). */
typedef double unit_sums[UNIT_SUMS];

typedef struct unit_op {
    void (*partial)(const void *context, int64_t unit, const float *const *x, int64_t n, double *sums);
    void (*merge)(double *into, const double *from);
    void (*finish)(const void *context, int64_t set);  /* from the sums of a set's units to their maps */
    float (*about)(const void *context, int64_t unit); /* backward: the saved mean; NULL forward */
} unit_op;

typedef struct unit_call {
    const unit_op *op;
    const void *context;
    trine_units units;
    trine_iter rows; /* units.inside without its innermost axis: the pieces of a unit */
    int64_t length, pieces;
    int64_t step[UNIT_OPERANDS];
    trine_dtype dtype;
    int64_t size;
    char *data[UNIT_OPERANDS]; /* the output, then the inputs */
    int32_t inputs;
    bool stream;
    int32_t from, mapped; /* inputs of the map: the first one's operand, and how many */
    unit_sums *sums;      /* of all units */
    unit_affine *map;
    unit_sums *partials; /* of all pieces */
} unit_call;

/* ---- Elements [first, first + n) of a unit ---- */

typedef struct unit_place {
    int64_t offset[TRINE_ITER_OPERANDS]; /* of the unit */
    int64_t first, n;
} unit_place;

/* A dense part of it, `done` elements in: its length; *at: offset of operand k. */
static int64_t unit_run_of(const unit_call *c, const unit_place *p, int64_t done, int k, int64_t *at)
{
    int64_t offset[TRINE_ITER_OPERANDS] = {0};
    const int64_t row = (p->first + done) / c->length, column = (p->first + done) % c->length,
                  n = c->length - column < p->n - done ? c->length - column : p->n - done;
    trine_iter_offsets(&c->rows, row, offset);
    *at = p->offset[k] + offset[k] + column * c->step[k];
    return n;
}

static const float *unit_load(const unit_call *c, const unit_place *p, int k, float *buffer)
{
    for (int64_t done = 0, n, at; done < p->n; done += n) {
        n = unit_run_of(c, p, done, k, &at);
        const char *from = c->data[k] + at * c->size;
        const float *x = cpu_load(buffer + done, from, c->dtype, n, c->step[k]);
        if (n == p->n) return x;
        if (x != buffer + done) memcpy(buffer + done, x, (size_t)n * sizeof *x);
    }
    return buffer;
}

static void unit_store(const unit_call *c, const unit_place *p, const float *y)
{
    for (int64_t done = 0, n, at; done < p->n; done += n) {
        n = unit_run_of(c, p, done, 0, &at);
        cpu_store(c->data[0] + at * c->size, c->dtype, y + done, n, c->step[0], c->stream);
    }
}

/* ---- A piece ---- */

static unit_place unit_place_of(const unit_call *c, int64_t unit, int64_t first)
{
    unit_place p = {.first = first};
    trine_iter_offsets(&c->units.outer, unit, p.offset);
    return p;
}

static int64_t unit_piece_end(const unit_call *c, int64_t first)
{
    return c->units.n - first < UNIT_PIECE ? c->units.n : first + UNIT_PIECE;
}

static void unit_next(unit_place *p, int64_t end) { p->n = end - p->first < UNIT_CHUNK ? end - p->first : UNIT_CHUNK; }

static bool unit_is_dense(const unit_call *c)
{
    bool dense = true;
    for (int k = 0; k < 1 + c->inputs; k++) dense = dense && c->step[k] == 1;
    return dense;
}

/* Backward, where elements lie densely: without f32 between. */
static void unit_gather_dense(const unit_call *c, int64_t unit, unit_place p, double *sums)
{
    const float about = c->op->about(c->context, unit);
    for (int64_t end = unit_piece_end(c, p.first); p.first < end; p.first += p.n) {
        unit_sums own = {0, 0, 0};
        unit_next(&p, end);
        for (int64_t done = 0, n, x, dy; done < p.n; done += n) {
            (void)unit_run_of(c, &p, done, 1, &x);
            n = unit_run_of(c, &p, done, 2, &dy);
            plane_sums(c->data[1] + x * c->size, c->data[2] + dy * c->size, n, about, c->dtype, own);
        }
        c->op->merge(sums, own);
    }
}

/* The moments of elements as they lie, x->n of them (below). */
static void unit_moments_of(const lanes_input *x, double *sums);

/* Forward, a chunk that lies densely: straight from memory, a line of which is asked for at a time. */
static bool unit_gather_chunk(const unit_call *c, const unit_place *p, double *sums)
{
    int64_t at;
    if (c->inputs != 1 || c->step[1] != 1 || unit_run_of(c, p, 0, 1, &at) != p->n) return false;
    const char *from = c->data[1] + at * c->size;
    unit_moments_of(
        &(lanes_input){
            .x = {from}, .dtype = c->dtype, .n = p->n, .ahead = {from + ask_distance(UNIT_AHEAD)}, .lines = (int)c->size},
        sums);
    return true;
}

static void unit_gather(const unit_call *c, int64_t unit, int64_t piece, double *sums)
{
    _Alignas(64) float buffer[2][UNIT_CHUNK];
    unit_place p = unit_place_of(c, unit, piece * UNIT_PIECE);
    if (c->op->about && c->inputs == 2 && unit_is_dense(c)) {
        unit_gather_dense(c, unit, p, sums);
        return;
    }
    for (int64_t end = unit_piece_end(c, p.first); p.first < end; p.first += p.n) {
        const float *x[2] = {NULL, NULL};
        unit_sums own = {0, 0, 0};
        unit_next(&p, end);
        if (!unit_gather_chunk(c, &p, own)) {
            for (int k = 0; k < c->inputs; k++) x[k] = unit_load(c, &p, 1 + k, buffer[k]);
            c->op->partial(c->context, unit, x, p.n, own);
        }
        c->op->merge(sums, own);
    }
}

/* a dy + b (x - m) + d; one input: dy is NULL. */
static void unit_map_span(float *restrict out, const float *x, const float *dy, unit_affine f, int64_t n)
{
    if (dy)
        for (int64_t i = 0; i < n; i++) out[i] = f.a * dy[i] + ((x[i] - f.m) * f.b + f.d);
    else
        for (int64_t i = 0; i < n; i++) out[i] = (x[i] - f.m) * f.b + f.d;
}

/* The map from memory to lines, where elements lie densely. */
static void unit_emit_dense(const unit_call *c, int64_t unit, unit_place p)
{
    const unit_affine f = c->map[unit];
    SPAN_BUFFER(out);
    p.n = unit_piece_end(c, p.first) - p.first;
    for (int64_t done = 0, n; done < p.n; done += n) {
        int64_t at[UNIT_OPERANDS] = {0};
        n = unit_run_of(c, &p, done, 0, &at[0]);
        for (int k = 0; k < c->mapped; k++) (void)unit_run_of(c, &p, done, c->from + k, &at[1 + k]);
        char *to = c->data[0] + at[0] * c->size;
        const char *x = c->data[c->from] + at[1] * c->size, *dy = c->mapped > 1 ? c->data[c->from + 1] + at[2] * c->size : NULL;
        for (int64_t i = 0, m; i < n; i += m) {
            const int64_t lines = lanes_to_put(LANES_PUTS, to + i * c->size, c->dtype, n - i, &m), from = i * c->size;
            if (lines > 0) {
                plane_put(to + from, x + from, dy ? dy + from : NULL, c->dtype, f, m = lines, c->stream);
            } else {
                plane_map(out, x + from, dy ? dy + from : NULL, c->dtype, f, m);
                span_store(to + from, c->dtype, out, m, c->stream);
            }
        }
    }
}

static void unit_emit(const unit_call *c, int64_t unit, int64_t piece)
{
    _Alignas(64) float buffer[2][UNIT_CHUNK], out[UNIT_CHUNK];
    unit_place p = unit_place_of(c, unit, piece * UNIT_PIECE);
    if (unit_is_dense(c)) {
        unit_emit_dense(c, unit, p);
        return;
    }
    for (int64_t end = unit_piece_end(c, p.first); p.first < end; p.first += p.n) {
        unit_next(&p, end);
        const float *x = unit_load(c, &p, c->from, buffer[0]),
                    *dy = c->mapped > 1 ? unit_load(c, &p, c->from + 1, buffer[1]) : NULL;
        unit_map_span(out, x, dy, c->map[unit], p.n);
        unit_store(c, &p, out);
    }
}

/* ---- All of it ---- */

static void unit_clear(double *sums)
{
    for (int k = 0; k < UNIT_SUMS; k++) sums[k] = 0;
}

static void unit_sets_serial(const unit_call *c, int64_t set)
{
    const int64_t members = c->units.members;
    for (int64_t unit = set * members; unit < (set + 1) * members; unit++) {
        unit_clear(c->sums[unit]);
        for (int64_t piece = 0; piece < c->pieces; piece++) {
            unit_sums own = {0, 0, 0};
            unit_gather(c, unit, piece, own);
            c->op->merge(c->sums[unit], own);
        }
    }
    c->op->finish(c->context, set);
    for (int64_t unit = set * members; unit < (set + 1) * members; unit++)
        for (int64_t piece = 0; piece < c->pieces; piece++) unit_emit(c, unit, piece);
}

static int64_t unit_grain(const unit_call *c)
{
    const int64_t each = c->units.n < UNIT_PIECE ? c->units.n + 1 : UNIT_PIECE;
    return (CPU_GRAIN + each - 1) / each;
}

/* Of `units` units from `first` on. */
static void unit_gather_all(const unit_call *c, int64_t first, int64_t units)
{
    CPU_PARALLEL_FOR(range, units * c->pieces, unit_grain(c))
    {
        for (int64_t i = first * c->pieces + range.begin; i < first * c->pieces + range.end; i++) {
            unit_clear(c->partials[i]);
            unit_gather(c, i / c->pieces, i % c->pieces, c->partials[i]);
        }
    }
    for (int64_t unit = first; unit < first + units; unit++) {
        unit_clear(c->sums[unit]);
        for (int64_t piece = 0; piece < c->pieces; piece++) c->op->merge(c->sums[unit], c->partials[unit * c->pieces + piece]);
    }
}

/* Backwards: what was gathered last is in the caches still. */
static void unit_emit_all(const unit_call *c, int64_t first, int64_t units)
{
    CPU_PARALLEL_FOR(range, units * c->pieces, unit_grain(c))
    {
        for (int64_t k = range.end - 1; k >= range.begin; k--) {
            const int64_t i = first * c->pieces + k;
            unit_emit(c, i / c->pieces, i % c->pieces);
        }
        span_fence();
    }
}

/* Statistics, finish, map. */
static void units_run(const unit_call *c)
{
    const int64_t members = c->units.members, each = members * c->units.n + 1;
    if (each >= UNIT_SHARED) {
        for (int64_t set = 0; set < c->units.sets; set++) {
            unit_gather_all(c, set * members, members);
            c->op->finish(c->context, set);
            unit_emit_all(c, set * members, members);
        }
        return;
    }
    if (c->units.sets >= 4 * cpu_threads(c->units.sets * each, CPU_GRAIN)) {
        CPU_PARALLEL_FOR(range, c->units.sets, (CPU_GRAIN + each - 1) / each)
        {
            for (int64_t set = range.begin; set < range.end; set++) unit_sets_serial(c, set);
            span_fence();
        }
        return;
    }
    unit_gather_all(c, 0, c->units.units);
    for (int64_t set = 0; set < c->units.sets; set++) c->op->finish(c->context, set);
    unit_emit_all(c, 0, c->units.units);
}

/* ---- What an op does: units_plan, TRINE_END_OF_QUERY with units_bytes, units_place, units_run ---- */

/* tensors: the output, then the inputs, of one dtype. groups: as in trine_units_make. */
static unit_call units_plan(trine_call *call, const unit_op *op, const void *context, const trine_tensor *const *tensors,
                            int32_t inputs, int32_t channels_last, int64_t groups)
{
    unit_call c = {.op = op, .context = context, .inputs = inputs, .from = 1, .mapped = inputs, .dtype = tensors[0]->dtype};
    int64_t step[TRINE_ITER_OPERANDS];
    c.units = trine_units_make(tensors, 1 + inputs, channels_last, groups);
    c.rows = c.units.inside;
    c.length = trine_iter_pop_inner(&c.rows, step);
    c.pieces = (c.units.n + UNIT_PIECE - 1) / UNIT_PIECE;
    c.size = trine_dtype_bits(c.dtype) / 8;
    c.stream = span_should_stream(c.units.units * c.units.n * c.size);
    for (int32_t k = 0; k < 1 + inputs; k++) {
        c.step[k] = step[k];
        c.data[k] = tensors[k]->data;
    }
    call->variant = TRINE_CPU_VARIANT;
    return c;
}

static size_t units_bytes(const unit_call *c)
{
    return (size_t)c->units.units * (sizeof(unit_sums) + sizeof(unit_affine) + (size_t)c->pieces * sizeof(unit_sums));
}

static void units_place(unit_call *c, void *workspace)
{
    c->sums = workspace;
    c->partials = c->sums + c->units.units;
    c->map = (unit_affine *)(void *)(c->partials + c->units.units * c->pieces);
}

/* ---- What the ops share ---- */

static void unit_moments_of(const lanes_input *x, double *sums)
{
    const row_part part = {.source = *x, .n = x->n};
    static const norm_context nothing_added;
    double stats[ROW_STATS];
    layernorm_partial(&nothing_added, &part, stats);
    memcpy(sums, stats, sizeof(unit_sums));
}

static void unit_moments(const void *context, int64_t unit, const float *const *x, int64_t n, double *sums)
{
    (void)context, (void)unit;
    unit_moments_of(&(lanes_input){.x = {x[0]}, .dtype = TRINE_F32, .n = n}, sums);
}

static void unit_merge_moments(double *into, const double *from)
{
    if (from[0] > 0) layernorm_merge(into, from);
}

LANES_SUM(lanes_along, 2, lanes_fma(a - about, b, s))

/* x, dy about the saved mean. */
static void unit_slopes(const float *const *x, int64_t n, float mean, double *sums)
{
    const lanes_input both = {.x = {x[0], x[1]}, .dtype = TRINE_F32, .n = n}, dy = {.x = {x[1]}, .dtype = TRINE_F32, .n = n};
    sums[1] = (double)lanes_along(&both, mean);
    sums[0] = (double)lanes_plain(&dy, 0);
}

static void unit_merge_slopes(double *into, const double *from)
{
    into[0] += from[0];
    into[1] += from[1];
}

/* A weight or bias of a channel. */
static float channel_value(const trine_tensor *t, int64_t channel, float otherwise)
{
    float value;
    if (!trine_is_given(t)) return otherwise;
    return *span_load(&value, (const char *)t->data + channel * (trine_dtype_bits(t->dtype) / 8), t->dtype, 1);
}

/* All of them as f32, at `to`. */
static const float *channel_values(const trine_tensor *t, int64_t channels, float otherwise, float *to)
{
    for (int64_t i = 0; i < channels; i++) to[i] = channel_value(t, i, otherwise);
    return to;
}

static void channel_put(const trine_tensor *t, int64_t channel, double value)
{
    const float rounded = (float)value;
    if (trine_is_given(t)) span_store((char *)t->data + channel * (trine_dtype_bits(t->dtype) / 8), t->dtype, &rounded, 1, false);
}

#endif
