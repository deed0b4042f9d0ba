/* The taps of a convolution whose channels are their own groups (conv_depthwise.h), their factors, and the micro-kernel that adds
 * them: a load and a multiply-add a tap and vector of sums, of which it keeps DEPTH_SUMS.
 *
 * Of bf16, neighbours along a line go by twos where VDPBF16PS multiplies pairs (matmul_kernel.h): a number of the buffer is then a
 * pixel and the one that the next tap meets; a line's odd tap takes the first of the two alone, in f32. */
#ifndef TRINE_CPU_CONV_DEPTHWISE_TAPS_H
#define TRINE_CPU_CONV_DEPTHWISE_TAPS_H

#include "backends/cpu/conv_gather.h"
#include "backends/cpu/matmul_pack.h"

enum { DEPTH_SUMS = VEC_LANES == 16 ? 14 : 10 };

static inline bool conv_is_depthwise(const trine_conv_product *c)
{
    const trine_conv_side *t = &c->a.terms;
    const int64_t taps = t->h[0] || t->w[1] ? t->size[0] * t->size[1] : t->size[1] * t->size[2];
    return c->groups > 1 && c->n == 1 && taps == c->k;
}

static inline int64_t less_of(int64_t a, int64_t b) { return a < b ? a : b; }

static inline int64_t parts_of(int64_t n, int64_t size) { return (n + size - 1) / size; }

/* What is added: `pairs` of taps, then single ones. */
typedef struct depth_taps {
    int64_t entries, pairs;
    int64_t wide, step; /* taps of a line, columns of the plane from one to the next */
} depth_taps;

static depth_taps depth_taps_make(const trine_conv_product *c, bool by_pairs)
{
    const trine_conv_side *t = &c->a.terms;
    const bool first = t->h[0] || t->w[1];
    depth_taps taps = {.entries = c->k, .wide = first ? t->size[1] : t->size[2], .step = first ? t->w[1] : t->w[2]};
    const bool pairs = by_pairs && c->dtype == TRINE_BF16 && multiplies_pairs() && taps.wide > 1 && taps.step;
    if (!pairs) return taps;
    taps.pairs = c->k / taps.wide * (taps.wide / 2);
    taps.entries = c->k - taps.pairs;
    return taps;
}

/* Columns between the two of a pair; 0: there are none. */
static inline int64_t pairs_apart(const depth_taps *t) { return !t->pairs ? 0 : t->step < 0 ? -t->step : t->step; }

/* The tap of an entry that lies first in the plane, and the other of a pair. */
static inline int64_t tap_of_entry(const depth_taps *t, int64_t entry, bool other)
{
    if (!t->pairs) return entry;
    if (entry >= t->pairs) return (entry - t->pairs + 1) * t->wide - 1;
    const int64_t half = t->wide / 2;
    return entry / half * t->wide + entry % half * 2 + (other == (t->step > 0));
}

/* ---- Factors, [entry][group]: f32, or pairs; then the bias ---- */

static void load_channels(float *to, const void *data, trine_dtype dtype, int64_t first, int64_t count, int64_t stride)
{
    for (int64_t g = 0, n; g < count; g += n, to += n) {
        n = less_of(count - g, SPAN_MAX);
        const float *line = load_line(to, data, dtype, first + g * stride, n, stride);
        if (line != to) memcpy(to, line, (size_t)n * sizeof *to);
    }
}

static void load_tap(const trine_conv_product *c, int64_t tap, int64_t group, int64_t count, float *to)
{
    load_channels(to, c->b.data, c->dtype, c->b.first + conv_place_of(&c->b.terms, tap).at + group * c->b.group, count,
                  c->b.group);
}

/* Whether pairs hold subnormal factors. */
static bool load_filters(const trine_conv_product *c, const depth_taps *t, float *filters)
{
    SPAN_BUFFER(second);
    for (int64_t e = 0; e < t->entries; e++) {
        float *to = filters + e * c->groups;
        load_tap(c, tap_of_entry(t, e, false), 0, c->groups, to);
        for (int64_t g = 0, n; e < t->pairs && g < c->groups; g += n) {
            n = less_of(c->groups - g, SPAN_MAX);
            load_tap(c, tap_of_entry(t, e, true), g, n, second);
            for (int64_t i = 0; i < n; i++) to[g + i] = pair_of(to[g + i], second[i]);
        }
    }
    if (c->has_bias) load_channels(filters + t->entries * c->groups, c->bias, c->bias_dtype, 0, c->groups, 1);
    return any_subnormal(filters, t->pairs * c->groups);
}

/* ---- The micro-kernel ---- */

/* Sums of DEPTH_SUMS vectors at tap[k] + first, `step` apart, go to `out`, out_step apart. The factors lie w_step apart, one vector
 * each or, with `one`, one number; the bias behind them where there is one. `kind` (of the pairs) and `one` are constants. */
static inline __attribute__((always_inline)) void add_taps(const panel_kind kind, const bool one, const float *const *tap,
                                                           int64_t first, int64_t step, const float *w, int64_t w_step,
                                                           const depth_taps *t, bool bias, float *out, int64_t out_step)
{
    vec sum[DEPTH_SUMS] = {0};
    const int64_t pairs = kind == PANEL_TERMS ? 0 : t->pairs, entries = t->entries;
    int64_t k = 0;
    for (; k < pairs; k++, w += w_step) {
        const float *x = tap[k] + first;
        const vec by = one ? vec_all(*w) : vec_load(w);
#pragma GCC unroll 16
        for (int i = 0; i < DEPTH_SUMS; i++) sum[i] = add_product(kind, vec_load(x + i * step), by, sum[i]);
    }
    for (; k < entries; k++, w += w_step) {
        const float *x = tap[k] + first;
        const vec by = one ? vec_all(*w) : vec_load(w);
#pragma GCC unroll 16
        for (int i = 0; i < DEPTH_SUMS; i++) {
            const vec number = vec_load(x + i * step);
            sum[i] = vec_fma(kind == PANEL_TERMS ? number : first_of_pairs(number), by, sum[i]);
        }
    }
    const vec more = !bias ? (vec){0} : one ? vec_all(*w) : vec_load(w);
#pragma GCC unroll 16
    for (int i = 0; i < DEPTH_SUMS; i++) vec_store(out + i * out_step, bias ? sum[i] + more : sum[i]);
}

/* With constant steps, the sums' loads need no registers. */
#define ADD_TAPS(name, kind, one, apart) \
    static __attribute__((noinline)) void name(const float *const *tap, int64_t first, int64_t step, const float *w, \
                                               int64_t w_step, const depth_taps *t, bool bias, float *out, int64_t out_step) \
    { \
        (void)step; \
        add_taps(kind, one, tap, first, apart, w, w_step, t, bias, out, out_step); \
    }
ADD_TAPS(add_taps_of_plane, PANEL_TERMS, true, VEC_LANES)
ADD_TAPS(add_taps_of_neighbours, PANEL_TERMS, false, VEC_LANES)
ADD_TAPS(add_taps_of_seconds, PANEL_TERMS, false, 2 * VEC_LANES)
ADD_TAPS(add_taps_of_strided, PANEL_TERMS, false, step)
#if defined __AVX512F__
ADD_TAPS(add_pairs_of_plane, PANEL_PAIRS, true, VEC_LANES)
ADD_TAPS(add_pairs_of_neighbours, PANEL_PAIRS, false, VEC_LANES)
ADD_TAPS(add_pairs_of_seconds, PANEL_PAIRS, false, 2 * VEC_LANES)
ADD_TAPS(add_pairs_of_strided, PANEL_PAIRS, false, step)
ADD_TAPS(add_pairs_of_plane_in_f32, PANEL_PAIRS_IN_F32, true, VEC_LANES)
ADD_TAPS(add_pairs_in_f32, PANEL_PAIRS_IN_F32, false, step)
#endif
#undef ADD_TAPS

typedef void (*add_taps_fn)(const float *const *tap, int64_t first, int64_t step, const float *w, int64_t w_step,
                            const depth_taps *t, bool bias, float *out, int64_t out_step);

/* step: of d's pixels along a line. subnormal: pairs hold such factors or pixels. */
static inline add_taps_fn add_taps_for(const depth_taps *t, bool plane, int64_t step, bool subnormal)
{
#if defined __AVX512F__
    if (t->pairs && subnormal) return plane ? add_pairs_of_plane_in_f32 : add_pairs_in_f32;
    if (t->pairs && plane) return add_pairs_of_plane;
    if (t->pairs) return step == 1 ? add_pairs_of_neighbours : step == 2 ? add_pairs_of_seconds : add_pairs_of_strided;
#endif
    (void)t, (void)subnormal;
    if (plane) return add_taps_of_plane;
    return step == 1 ? add_taps_of_neighbours : step == 2 ? add_taps_of_seconds : add_taps_of_strided;
}

#endif
