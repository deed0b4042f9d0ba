/* Units whose dense pieces ("planes") lie beside each other, [N, C, H, W] say, on the CPU, part of norm.c.
 *
 * A block is some neighbouring units, so many that the caches keep them until they are read again; its planes are walked in
 * memory's order, sums from registers, the map in whole lines whatever the length of a plane. One thread takes a block, so that
 * the order of sums does not depend on the number of threads: f32 over a part of a plane, f64 above. */
#ifndef TRINE_CPU_CHANNEL_PLANES_H
#define TRINE_CPU_CHANNEL_PLANES_H

#include "backends/cpu/channel_columns.h"

/* Bytes of a block, for both threads' to fit the last-level cache with room, and at most; elements that are summed up in f32. */
enum { PLANE_BLOCK = 256 << 10, PLANE_LARGEST = 16 * PLANE_BLOCK, PLANE_PART = 4096 };

typedef struct channel_planes {
    const unit_call *c;
    bool fit;
    int64_t samples, block; /* planes of a unit, units of a block */
} channel_planes;

/* Do units that follow each other lie so, piece by piece? */
static bool planes_lie_together(const unit_call *c)
{
    const trine_iter *outer = &c->units.outer;
    const int32_t last = outer->ndim - 1;
    bool together = c->units.units > 0 && c->units.n > 0;
    for (int k = 0; k < 1 + c->inputs; k++)
        together = together && c->step[k] == 1 && (outer->size[last] == 1 || outer->stride[k][last] == c->length);
    return together;
}

/* Sets of a block are whole. */
static channel_planes planes_plan(const unit_call *c)
{
    const trine_iter *outer = &c->units.outer;
    const int32_t last = outer->ndim - 1;
    const int64_t members = c->units.members, bytes = members * c->units.n * c->size * c->inputs;
    channel_planes p = {.c = c, .fit = planes_lie_together(c), .samples = c->rows.numel};
    if (!p.fit) return p;
    const int64_t block = c->length * c->size < PLANE_SHORT && c->size == 2 ? 2 * PLANE_BLOCK : PLANE_BLOCK,
                  most = block / bytes < 1 ? 1 : block / bytes;
    p.block = outer->size[last] < most * members ? outer->size[last] : most * members;
    while (outer->size[last] % p.block != 0 || p.block % members != 0) p.block--;
    /* enough of them for some threads, and no larger than the caches hold; however many threads there are */
    p.fit = p.block > 0 && bytes <= PLANE_LARGEST && c->units.units / p.block >= 8;
    return p;
}

/* Part of a plane at operand k's address, about a number near its mean. */
static float plane_mean(const unit_call *c, const char *x)
{
    double sums[2] = {0, 0};
    const int64_t n = c->length < PLANE_PART ? c->length : PLANE_PART;
    plane_sums(x, NULL, n, 0, c->dtype, sums);
    return (float)(sums[0] / (double)n);
}

/* ---- A block: units [first, first + block) ---- */

static char *plane_at(const channel_planes *p, const unit_place *first, const int64_t *sample, int64_t unit, int k)
{
    const unit_call *c = p->c;
    return c->data[k] + (first->offset[k] + sample[k] + unit * c->length) * c->size;
}

static void planes_begin(const channel_planes *p, int64_t first, int64_t u, const char *x)
{
    const unit_call *c = p->c;
    double *sums = c->sums[first + u];
    unit_clear(sums);
    const bool same = u % c->units.members != 0; /* one number for the set */
    sums[2] = same ? sums[-1] : (double)(c->op->about ? c->op->about(c->context, first + u) : plane_mean(c, x));
}

static void planes_gather_sample(const channel_planes *p, int64_t first, const unit_place *place, const int64_t *sample,
                                 bool begin)
{
    const unit_call *c = p->c;
    for (int64_t u = 0; u < p->block; u++) {
        const char *x = plane_at(p, place, sample, u, 1), *dy = c->inputs > 1 ? plane_at(p, place, sample, u, 2) : NULL;
        double *sums = c->sums[first + u];
        if (begin) planes_begin(p, first, u, x);
        for (int64_t i = 0, n; i < c->length; i += n) {
            n = c->length - i < PLANE_PART ? c->length - i : PLANE_PART;
            plane_sums(x + i * c->size, dy ? dy + i * c->size : NULL, n, (float)sums[2], c->dtype, sums);
        }
    }
}

/* From a block's sums to its maps. */
static void planes_finish(const channel_planes *p, int64_t first)
{
    const unit_call *c = p->c;
    const int64_t members = c->units.members;
    for (int64_t u = 0; u < p->block && c->inputs == 1; u++) { /* to the count, the mean, the squares about it */
        double *sums = c->sums[first + u];
        const double n = (double)c->units.n, own[UNIT_SUMS] = {n, sums[2] + sums[0] / n, sums[1] - sums[0] * sums[0] / n};
        memcpy(sums, own, sizeof own);
    }
    for (int64_t set = first / members; set < (first + p->block) / members; set++) c->op->finish(c->context, set);
}

/* A short plane to f32, f16 or bf16 at any address, where up to 128 bytes behind it may be written as well. */
LANES_INLINE void plane_stage_as(char *to, const char *x, const char *dy, trine_dtype dtype, unit_affine f, int64_t n)
{
    for (int64_t i = 0; i < n; i += LANES_PUT) {
        f32x16 v[2] = {{0}, {0}};
        for (int64_t k = 0, at = i; k < 2 && at < n; k++, at += LANES) {
            const bool all = at + LANES <= n;
            const f32x16 of_x = all ? lanes_load(x, dtype, at) : lanes_load_part(x, dtype, at, n - at, 0);
            v[k] = plane_mapped(of_x,
                                !dy   ? lanes_of(0)
                                : all ? lanes_load(dy, dtype, at)
                                      : lanes_load_part(dy, dtype, at, n - at, 0),
                                f, dy);
        }
        lanes_put(to + i * lanes_size(dtype), dtype, v[0], v[1], false);
    }
}

static void plane_stage(char *to, const char *x, const char *dy, trine_dtype dtype, unit_affine f, int64_t n)
{
#define STAGE_OF(dtype) (dy ? plane_stage_as(to, x, dy, dtype, f, n) : plane_stage_as(to, x, NULL, dtype, f, n))
    LANES_BY_DTYPE(dtype, STAGE_OF);
#undef STAGE_OF
}

/* Short planes of one sample, which share lines: put together in the L1 cache, lines written from there. */
static void planes_emit_short(const channel_planes *p, int64_t first, const unit_place *place, const int64_t *sample)
{
    const unit_call *c = p->c;
    const int64_t bytes = c->length * c->size;
    _Alignas(64) char stage[2 * PLANE_SHORT + 128];
    char *to = plane_at(p, place, sample, 0, 0);
    int64_t begin = (int64_t)((uintptr_t)to % 64), end = begin;
    to -= begin;
    for (int64_t u = 0; u < p->block; u++) {
        plane_stage(stage + end, plane_at(p, place, sample, u, c->from),
                    c->mapped > 1 ? plane_at(p, place, sample, u, c->from + 1) : NULL, c->dtype, c->map[first + u], c->length);
        end += bytes;
        const bool last = u + 1 == p->block;
        if (end + bytes <= 2 * PLANE_SHORT && !last) continue;
        const int64_t whole = last ? end : end / 64 * 64;
        span_copy_bytes(to + begin, stage + begin, whole - begin, c->stream);
        memmove(stage, stage + whole, (size_t)(end - whole));
        to += whole;
        end -= whole;
        begin = 0;
    }
}

/* Planes of one sample as one array: lines inside of a plane straight from registers, others by a span. */
static void planes_emit_sample(const channel_planes *p, int64_t first, const unit_place *place, const int64_t *sample)
{
    const unit_call *c = p->c;
    const int64_t all = p->block * c->length;
    if (LANES_PUTS && c->length * c->size < PLANE_SHORT) {
        planes_emit_short(p, first, place, sample);
        return;
    }
    SPAN_BUFFER(out);
    char *to = plane_at(p, place, sample, 0, 0);
    for (int64_t i = 0, m, unit = 0, column = 0; i < all; i += m) {
        int64_t lines = lanes_to_put(LANES_PUTS, to + i * c->size, c->dtype, c->length - column, &m);
        if (lines == 0 && LANES_PUTS) { /* as far as the next line, or one that two planes share */
            const int64_t off = (int64_t)((uintptr_t)(to + i * c->size) % 64);
            m = off ? (64 - off + c->size - 1) / c->size : LANES_PUT;
        } else if (lines == 0) {
            m = span_length(to + i * c->size, c->dtype, all - i);
        }
        if (m > all - i) m = all - i;
        if (lines) m = lines;
        for (int64_t k = 0, n; k < m; k += n) {
            n = c->length - column < m - k ? c->length - column : m - k;
            const char *x = plane_at(p, place, sample, unit, c->from) + column * c->size,
                       *dy = c->mapped > 1 ? plane_at(p, place, sample, unit, c->from + 1) + column * c->size : NULL;
            if (lines)
                plane_put(to + i * c->size, x, dy, c->dtype, c->map[first + unit], n, c->stream);
            else
                plane_map(out + k, x, dy, c->dtype, c->map[first + unit], n);
            column += n;
            if (column == c->length) column = 0, unit++;
        }
        if (!lines) span_store(to + i * c->size, c->dtype, out, m, c->stream);
    }
}

/* A sample's planes of a block, gathered, and of the block before it, written: line by line, where lines end with planes. */
static bool planes_both(const channel_planes *p, int64_t first, const unit_place *this, const unit_place *before,
                        const int64_t *sample, bool begin)
{
    const unit_call *c = p->c;
    if (!LANES_PUTS || c->mapped != c->inputs || c->length % LANES_PUT || (uintptr_t)plane_at(p, before, sample, 0, 0) % 64)
        return false;
    for (int64_t u = 0; u < p->block; u++) {
        const char *from[3] = {NULL}, *x[3] = {NULL};
        for (int k = 1; k <= c->inputs; k++) {
            from[k] = plane_at(p, this, sample, u, k);
            x[k] = plane_at(p, before, sample, u, k);
        }
        double *const sums = c->sums[first + u];
        char *const to = plane_at(p, before, sample, u, 0);
        if (begin) planes_begin(p, first, u, from[1]);
        for (int64_t i = 0, n; i < c->length; i += n) {
            const int64_t at = i * c->size;
            n = c->length - i < PLANE_PART ? c->length - i : PLANE_PART;
            plane_both(from[1] + at, from[2] ? from[2] + at : NULL, (float)sums[2], sums, to + at, x[1] + at,
                       x[2] ? x[2] + at : NULL, c->map[first - p->block + u], c->dtype, n, c->stream);
        }
    }
    return true;
}

/* Blocks one behind the other: while one arrives from memory, the one before is written. */
static void planes_run(const channel_planes *p)
{
    const int64_t each = p->block * p->c->units.n;
    CPU_PARALLEL_FOR(range, p->c->units.units / p->block, (CPU_GRAIN + each - 1) / each)
    {
        unit_place before, this;
        for (int64_t b = range.begin; b <= range.end; b++) {
            const int64_t first = b * p->block;
            if (b < range.end) this = unit_place_of(p->c, first, 0);
            for (int64_t s = 0; s < p->samples; s++) {
                int64_t sample[TRINE_ITER_OPERANDS];
                trine_iter_offsets(&p->c->rows, s, sample);
                if (b < range.end && b > range.begin && planes_both(p, first, &this, &before, sample, s == 0)) continue;
                if (b < range.end) planes_gather_sample(p, first, &this, sample, s == 0);
                if (b > range.begin) planes_emit_sample(p, first - p->block, &before, sample);
            }
            if (b < range.end) planes_finish(p, first);
            before = this;
        }
        span_fence();
    }
}

static void units_or_planes_run(const unit_call *c)
{
    const channel_planes p = planes_plan(c);
    if (p.fit)
        planes_run(&p);
    else
        units_run(c);
}

/* The map alone, of units of one piece each, in memory's order. */
static void units_or_planes_emit(const unit_call *c)
{
    const trine_iter *outer = &c->units.outer;
    const int32_t last = outer->ndim - 1;
    if (!planes_lie_together(c) || c->rows.numel != 1) {
        unit_emit_all(c, 0, c->units.units);
        return;
    }
    channel_planes p = {.c = c, .samples = 1, .block = PLANE_BLOCK / (c->length * c->size) + 1};
    if (p.block > outer->size[last]) p.block = outer->size[last];
    while (outer->size[last] % p.block != 0) p.block--;
    const int64_t each = p.block * c->length;
    CPU_PARALLEL_FOR(range, c->units.units / p.block, (CPU_GRAIN + each - 1) / each)
    {
        static const int64_t sample[TRINE_ITER_OPERANDS];
        for (int64_t b = range.begin; b < range.end; b++) {
            const unit_place place = unit_place_of(c, b * p.block, 0);
            planes_emit_sample(&p, b * p.block, &place, sample);
        }
        span_fence();
    }
}

#endif
