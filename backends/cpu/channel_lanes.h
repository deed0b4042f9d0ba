/* Sums and maps of dense elements of a unit (channels.h), from memory to registers to lines, for f32, f16 and bf16. */
#ifndef TRINE_CPU_CHANNEL_LANES_H
#define TRINE_CPU_CHANNEL_LANES_H

#include "backends/cpu/lanes.h"
#include "backends/cpu/lanes_store.h"

enum { PLANE_AHEAD = 2048 }; /* bytes from what is read to what is asked for meanwhile */

/* out = a dy + b (x - m) + d; with one input, its b (x - m) + d. */
typedef struct unit_affine {
    float m, a, b, d;
} unit_affine;

/* ---- Sums ---- */

/* Of n elements, in registers all of it: a struct that is made for each short plane would have to reach the cache before it is
 * read, behind all loads before it. Forward the sums of x - about and of its squares, backward those of dy and of dy (x - about). */
LANES_INLINE void plane_sums_as(const char *from, const char *from_dy, int64_t n, float about, trine_dtype dtype, bool back,
                                double *sums)
{
    f32x16 s[2][2] = {{{0}, {0}}, {{0}, {0}}};
#define ADD(k, of_x, of_dy) \
    do { \
        const f32x16 d_ = (of_x)-about, g_ = back ? (of_dy) : d_; \
        s[0][k] += g_; \
        s[1][k] = lanes_fma(g_, d_, s[1][k]); \
    } while (0)
    int64_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        lanes_ask(from + i * lanes_size(dtype) + PLANE_AHEAD, (int)lanes_size(dtype) / 2);
        if (back) lanes_ask(from_dy + i * lanes_size(dtype) + PLANE_AHEAD, (int)lanes_size(dtype) / 2);
#pragma GCC unroll 2
        for (int k = 0; k < 2; k++) {
            const f32x16 x = lanes_load(from, dtype, i + LANES * k);
            ADD(k, x, lanes_load(from_dy, dtype, i + LANES * k));
        }
    }
    for (int64_t m; i < n; i += m) {
        m = n - i < LANES ? n - i : LANES;
        const f32x16 x = m == LANES ? lanes_load(from, dtype, i) : lanes_load_part(from, dtype, i, m, about);
        ADD(0, x, m == LANES ? lanes_load(from_dy, dtype, i) : lanes_load_part(from_dy, dtype, i, m, 0));
    }
#undef ADD
    sums[0] += (double)lanes_sum(s[0][0] + s[0][1]);
    sums[1] += (double)lanes_sum(s[1][0] + s[1][1]);
}

/* dy: NULL forward. */
static void plane_sums(const char *x, const char *dy, int64_t n, float about, trine_dtype dtype, double *sums)
{
#define SUMS(dtype) \
    (dy ? plane_sums_as(x, dy, n, about, dtype, true, sums) : plane_sums_as(x, NULL, n, about, dtype, false, sums))
    LANES_BY_DTYPE(dtype, SUMS);
#undef SUMS
}

/* ---- Maps ---- */

LANES_INLINE f32x16 plane_mapped(f32x16 x, f32x16 dy, unit_affine f, bool back)
{
    const f32x16 of_x = (x - f.m) * f.b + f.d;
    return back ? f.a * dy + of_x : of_x;
}

/* Elements [i, i + n) of a plane to f32. */
LANES_INLINE void plane_map_as(float *out, const char *x, const char *dy, trine_dtype dtype, unit_affine f, int64_t n)
{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        if (i % (2 * LANES) == 0) lanes_ask(x + i * lanes_size(dtype) + PLANE_AHEAD, (int)lanes_size(dtype) / 2);
        if (dy && i % (2 * LANES) == 0) lanes_ask(dy + i * lanes_size(dtype) + PLANE_AHEAD, (int)lanes_size(dtype) / 2);
        const f32x16 v = plane_mapped(lanes_load(x, dtype, i), dy ? lanes_load(dy, dtype, i) : lanes_of(0), f, dy);
        memcpy(out + i, &v, sizeof v);
    }
    if (i < n)
        lanes_store_part(out + i,
                         plane_mapped(lanes_load_part(x, dtype, i, n - i, 0),
                                      dy ? lanes_load_part(dy, dtype, i, n - i, 0) : lanes_of(0), f, dy),
                         n - i);
}

static void plane_map(float *out, const char *x, const char *dy, trine_dtype dtype, unit_affine f, int64_t n)
{
#define MAP_OF(dtype) (dy ? plane_map_as(out, x, dy, dtype, f, n) : plane_map_as(out, x, NULL, dtype, f, n))
    LANES_BY_DTYPE(dtype, MAP_OF);
#undef MAP_OF
}

/* n elements, a multiple of LANES_PUT, straight to lines. */
LANES_INLINE void plane_put_as(char *to, const char *x, const char *dy, trine_dtype dtype, unit_affine f, int64_t n, bool stream)
{
    for (int64_t i = 0; i < n; i += LANES_PUT) {
        f32x16 v[2];
        lanes_ask(x + i * lanes_size(dtype) + PLANE_AHEAD, (int)lanes_size(dtype) / 2);
        if (dy) lanes_ask(dy + i * lanes_size(dtype) + PLANE_AHEAD, (int)lanes_size(dtype) / 2);
        for (int k = 0; k < 2; k++)
            v[k] =
                plane_mapped(lanes_load(x, dtype, i + LANES * k), dy ? lanes_load(dy, dtype, i + LANES * k) : lanes_of(0), f, dy);
        lanes_put(to + i * lanes_size(dtype), dtype, v[0], v[1], stream);
    }
}

static void plane_put(char *to, const char *x, const char *dy, trine_dtype dtype, unit_affine f, int64_t n, bool stream)
{
#define PUT_OF(dtype) (dy ? plane_put_as(to, x, dy, dtype, f, n, stream) : plane_put_as(to, x, NULL, dtype, f, n, stream))
    LANES_BY_DTYPE(dtype, PUT_OF);
#undef PUT_OF
}

/* ---- Both at once ---- */

/* Of n elements, a multiple of LANES_PUT: sums of those at from (and from_dy), as plane_sums has them, while those at x (and dy) are
 * mapped to lines. What is read from memory and what is written there then keep it busy together. */
LANES_INLINE void plane_both_as(const char *from, const char *from_dy, float about, double *sums, char *to, const char *x,
                                const char *dy, unit_affine f, trine_dtype dtype, int64_t n, bool back, bool stream)
{
    const int64_t size = lanes_size(dtype);
    f32x16 s[2][2] = {{{0}, {0}}, {{0}, {0}}};
    for (int64_t i = 0; i < n; i += 2 * LANES) {
        f32x16 v[2];
        lanes_ask(from + i * size + PLANE_AHEAD, (int)size / 2);
        if (back) lanes_ask(from_dy + i * size + PLANE_AHEAD, (int)size / 2);
#pragma GCC unroll 2
        for (int k = 0; k < 2; k++) {
            const f32x16 d = lanes_load(from, dtype, i + LANES * k) - about,
                         g = back ? lanes_load(from_dy, dtype, i + LANES * k) : d;
            s[0][k] += g;
            s[1][k] = lanes_fma(g, d, s[1][k]);
            v[k] = plane_mapped(lanes_load(x, dtype, i + LANES * k), back ? lanes_load(dy, dtype, i + LANES * k) : lanes_of(0), f,
                                back);
        }
        lanes_put(to + i * size, dtype, v[0], v[1], stream);
    }
    sums[0] += (double)lanes_sum(s[0][0] + s[0][1]);
    sums[1] += (double)lanes_sum(s[1][0] + s[1][1]);
}

static void plane_both(const char *from, const char *from_dy, float about, double *sums, char *to, const char *x, const char *dy,
                       unit_affine f, trine_dtype dtype, int64_t n, bool stream)
{
#define BOTH_OF(dtype) \
    (from_dy ? plane_both_as(from, from_dy, about, sums, to, x, dy, f, dtype, n, true, stream) \
             : plane_both_as(from, NULL, about, sums, to, x, NULL, f, dtype, n, false, stream))
    LANES_BY_DTYPE(dtype, BOTH_OF);
#undef BOTH_OF
}

#endif
