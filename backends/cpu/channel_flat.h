/* Short planes (7 x 7, 14 x 14) of channel_planes.h: those of a block in one sample are an array without gaps, so that the numbers of
 * each element's unit, held once an element, take no plane's end into account. Then all of it: short planes, and long ones. */
#ifndef TRINE_CPU_CHANNEL_FLAT_H
#define TRINE_CPU_CHANNEL_FLAT_H

#include "backends/cpu/channel_planes.h"

enum { FLAT_SAMPLES = 4 }; /* ahead that are asked for: the processor can't foresee them */

/* Of each element of a block in a sample: what its unit's sums are about, the sums of some samples, the unit's map. */
typedef struct plane_flat {
    _Alignas(64) float about[PLANE_FLAT + LANES], sums[2][PLANE_FLAT + LANES];
    float m[PLANE_FLAT + LANES], a[PLANE_FLAT + LANES], b[PLANE_FLAT + LANES], d[PLANE_FLAT + LANES];
} plane_flat;

LANES_INLINE f32x16 flat_load(const char *x, trine_dtype dtype, int64_t i, int64_t n)
{
    return i + LANES <= n ? lanes_load(x, dtype, i) : lanes_load_part(x, dtype, i, n - i, 0);
}

/* ---- Sums. Behind the end all is 0 ---- */

LANES_INLINE void flat_add_as(plane_flat *f, const char *const *x, const char *const *ahead, int64_t n, trine_dtype dtype,
                              bool back)
{
    const int64_t size = lanes_size(dtype);
    for (int64_t i = 0; i < n; i += LANES) {
        if (i % (2 * LANES) == 0) lanes_ask(ahead[0] + i * size, (int)size / 2);
        if (back && i % (2 * LANES) == 0) lanes_ask(ahead[1] + i * size, (int)size / 2);
        const f32x16 distance = flat_load(x[0], dtype, i, n) - lanes_load(f->about, TRINE_F32, i),
                     g = back ? flat_load(x[1], dtype, i, n) : distance, sum = lanes_load(f->sums[0], TRINE_F32, i) + g,
                     products = lanes_fma(g, distance, lanes_load(f->sums[1], TRINE_F32, i));
        memcpy(f->sums[0] + i, &sum, sizeof sum);
        memcpy(f->sums[1] + i, &products, sizeof products);
    }
}

static void flat_add(plane_flat *f, const char *const *x, const char *const *ahead, int64_t n, trine_dtype dtype)
{
#define ADD(dtype) (x[1] ? flat_add_as(f, x, ahead, n, dtype, true) : flat_add_as(f, x, ahead, n, dtype, false))
    LANES_BY_DTYPE(dtype, ADD);
#undef ADD
}

/* To the units' sums in f64. */
static void flat_add_up(const channel_planes *p, int64_t first, plane_flat *f)
{
    const int64_t length = p->c->length;
    for (int64_t u = 0; u < p->block; u++)
        for (int k = 0; k < 2; k++) {
            const lanes_input in = {.x = {f->sums[k] + u * length}, .dtype = TRINE_F32, .n = length};
            p->c->sums[first + u][k] += (double)lanes_plain(&in, 0);
        }
    memset(f->sums, 0, sizeof f->sums);
}

/* Sample number s. */
static void flat_gather(const channel_planes *p, int64_t first, const unit_place *place, int64_t s, plane_flat *f)
{
    const unit_call *c = p->c;
    const int64_t together = PLANE_PART / LANES, after = s + FLAT_SAMPLES < p->samples ? s + FLAT_SAMPLES : s;
    int64_t sample[TRINE_ITER_OPERANDS], later[TRINE_ITER_OPERANDS];
    const char *x[2] = {NULL, NULL}, *ahead[2] = {NULL, NULL};
    trine_iter_offsets(&c->rows, s, sample);
    trine_iter_offsets(&c->rows, after, later);
    for (int k = 0; k < c->inputs; k++) {
        x[k] = plane_at(p, place, sample, 0, 1 + k);
        ahead[k] = plane_at(p, place, later, 0, 1 + k);
    }
    for (int64_t u = 0; u < p->block && s == 0; u++) {
        planes_begin(p, first, u, x[0] + u * c->length * c->size);
        for (int64_t i = 0; i < c->length; i++) f->about[u * c->length + i] = (float)c->sums[first + u][2];
    }
    flat_add(f, x, ahead, p->block * c->length, c->dtype);
    if (s % together == together - 1 || s + 1 == p->samples) flat_add_up(p, first, f);
}

/* ---- The map ---- */

LANES_INLINE void flat_map_as(char *to, const plane_flat *f, const char *x, const char *dy, trine_dtype dtype, int64_t n)
{
    for (int64_t i = 0; i < n; i += LANES_PUT) {
        f32x16 v[2];
        for (int k = 0; k < 2; k++) {
            const int64_t at = i + LANES * k;
            v[k] = (f32x16){0};
            if (at >= n) continue;
            v[k] = (flat_load(x, dtype, at, n) - lanes_load(f->m, TRINE_F32, at)) * lanes_load(f->b, TRINE_F32, at) +
                   lanes_load(f->d, TRINE_F32, at);
            if (dy) v[k] = lanes_load(f->a, TRINE_F32, at) * flat_load(dy, dtype, at, n) + v[k];
        }
        lanes_put(to + i * lanes_size(dtype), dtype, v[0], v[1], false);
    }
}

static void flat_map(char *to, const plane_flat *f, const char *x, const char *dy, trine_dtype dtype, int64_t n)
{
#define MAP_OF(dtype) (dy ? flat_map_as(to, f, x, dy, dtype, n) : flat_map_as(to, f, x, NULL, dtype, n))
    LANES_BY_DTYPE(dtype, MAP_OF);
#undef MAP_OF
}

/* Sample number s, put together in the L1 cache as it stands to lines, which are written from there. */
static void flat_emit(const channel_planes *p, int64_t first, const unit_place *place, int64_t s, plane_flat *f)
{
    const unit_call *c = p->c;
    const int64_t n = p->block * c->length;
    _Alignas(64) char stage[64 + (PLANE_FLAT + LANES_PUT) * sizeof(float)];
    int64_t sample[TRINE_ITER_OPERANDS];
    trine_iter_offsets(&c->rows, s, sample);
    for (int64_t i = 0; i < n && s == 0; i++) {
        const unit_affine of = c->map[first + i / c->length];
        f->m[i] = of.m;
        f->a[i] = of.a;
        f->b[i] = of.b;
        f->d[i] = of.d;
    }
    char *to = plane_at(p, place, sample, 0, 0), *staged = stage + (uintptr_t)to % 64;
    flat_map(staged, f, plane_at(p, place, sample, 0, c->from), c->mapped > 1 ? plane_at(p, place, sample, 0, c->from + 1) : NULL,
             c->dtype, n);
    span_copy_bytes(to, staged, n * c->size, c->stream);
}

/* ---- All of it ---- */

/* Blocks one behind the other: while one arrives from memory, the one before is written. */
static void planes_run(const channel_planes *p)
{
    const int64_t each = p->block * p->c->units.n;
    CPU_PARALLEL_FOR(range, p->c->units.units / p->block, (CPU_GRAIN + each - 1) / each)
    {
        unit_place before, this;
        plane_flat flat;
        memset(&flat, 0, sizeof flat);
        for (int64_t b = range.begin; b <= range.end; b++) {
            const int64_t first = b * p->block;
            if (b < range.end) this = unit_place_of(p->c, first, 0);
            for (int64_t s = 0; s < p->samples; s++) {
                int64_t sample[TRINE_ITER_OPERANDS];
                trine_iter_offsets(&p->c->rows, s, sample);
                if (b < range.end && p->is_short)
                    flat_gather(p, first, &this, s, &flat);
                else if (b < range.end)
                    planes_gather_sample(p, first, &this, sample, s == 0);
                if (b > range.begin && p->is_short && LANES_PUTS)
                    flat_emit(p, first - p->block, &before, s, &flat);
                else if (b > range.begin)
                    planes_emit_sample(p, first - p->block, &before, sample);
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

#endif
