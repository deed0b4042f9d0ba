/* The filters' gradient where every channel is its own group, with one filter each: a tap's is the sum over dy's pixels of dy times the
 * pixel of x that the tap meets there. Lines of x are copied as for the convolution itself (conv_depthwise.h), dy's beside them, and
 * the sums of some taps stay in registers for a line: bound by bytes where the filter is small, else by loads.
 *
 * dy's lines (in planes: bands of them) are dealt out in at most DEPTH_SLICES slices, whose sums lie in the workspace and are added
 * at the end, in order: the bits depend on the shapes alone. */
#ifndef TRINE_CPU_CONV_DEPTHWISE_WEIGHT_H
#define TRINE_CPU_CONV_DEPTHWISE_WEIGHT_H

#include "backends/cpu/conv_depthwise.h"

/* Taps whose sums are made together: channels last so many lines and columns of the filter, in planes so many. */
#if defined __AVX512F__
enum { DEPTH_TAP_LINES = 3 };
#else
enum { DEPTH_TAP_LINES = 1 };
#endif
enum { DEPTH_SLICES = 64, DEPTH_TAP_COLUMNS = 7, DEPTH_TAPS = 4 };

typedef struct depth_gradient {
    depth_plan d;            /* of the convolution, of single taps */
    int64_t lines, columns;  /* of the filter */
    int64_t slices, pitch;   /* of sums: [slice][tap][channel], channels filled up to whole vectors */
    int64_t pieces, units;   /* lines or bands of all images; slices of chunks of channels, or of channels */
    size_t partial, dy, own; /* floats: of sums; a thread's, of dy's lines and of everything */
} depth_gradient;

/* c: of the convolution; its d is dy. */
static depth_gradient depth_gradient_make(const trine_conv_product *c)
{
    depth_gradient g = {.d = depth_plan_of(c, false)};
    const depth_plan *d = &g.d;
    g.columns = d->taps.wide;
    g.lines = c->k / d->taps.wide;
    g.pieces = c->a.rows.size[0] * (d->along_groups ? d->rows : parts_of(d->rows, d->chunk));
    g.slices = less_of(g.pieces, DEPTH_SLICES);
    g.pitch = parts_of(c->groups, VEC_LANES) * VEC_LANES;
    g.units = g.slices * (d->along_groups ? parts_of(c->groups, d->chunk) : c->groups);
    g.partial = (size_t)(g.slices * c->k * g.pitch);
    g.dy = d->along_groups ? (size_t)(parts_of(d->chunk, VEC_LANES) * VEC_LANES * d->columns)
                           : whole_lines(d->chunk * d->columns + VEC_LANES) + (size_t)(c->k * VEC_LANES);
    g.own = d->tables + d->buffer + whole_lines((int64_t)g.dy);
    return g;
}

static inline int64_t depth_gradient_grain(const depth_gradient *g)
{
    const int64_t work = g->d.columns * g->d.chunk * (g->d.c->k + 1) * (g->pieces / (g->slices + !g->slices) + 1);
    return work < CPU_GRAIN ? CPU_GRAIN / (work > 0 ? work : 1) : 1;
}

/* Of convolutions whose channels are their own groups, one filter each. */
static inline bool shape_is_depthwise(const trine_conv_shape *s) { return s->groups > 1 && s->c == 1 && s->k == 1; }

static inline size_t conv_depthwise_weight_size(const trine_conv_product *c)
{
    const depth_gradient g = depth_gradient_make(c);
    return (g.partial + (size_t)cpu_threads(g.units, depth_gradient_grain(&g)) * g.own) * sizeof(float) + 64;
}

/* ---- Channels last: a vector is of channels ---- */

/* Adds to the sums of some taps, `line_pitch` and `pitch` apart, those of n pixels: dy follows each other, x is `step` apart for them
 * and `apart` for a line's taps. The numbers of lines and columns are constants. */
static inline __attribute__((always_inline)) void add_gradient(const int lines, const int columns, const float *const *x,
                                                               int64_t step, int64_t apart, const float *dy, int64_t n,
                                                               float *out, int64_t line_pitch, int64_t pitch)
{
    vec sum[DEPTH_TAP_LINES][DEPTH_TAP_COLUMNS];
    const float *at[DEPTH_TAP_LINES];
    for (int i = 0; i < lines; i++) {
        at[i] = x[i];
        for (int j = 0; j < columns; j++) sum[i][j] = vec_load(out + i * line_pitch + j * pitch);
    }
    for (int64_t q = 0; q < n; q++, dy += VEC_LANES) {
        const vec by = vec_load(dy);
#pragma GCC unroll 3
        for (int i = 0; i < lines; i++) {
#pragma GCC unroll 7
            for (int j = 0; j < columns; j++) sum[i][j] = vec_fma(by, vec_load(at[i] + j * apart), sum[i][j]);
            at[i] += step;
        }
    }
    for (int i = 0; i < lines; i++)
        for (int j = 0; j < columns; j++) vec_store(out + i * line_pitch + j * pitch, sum[i][j]);
}

typedef void (*add_gradient_fn)(const float *const *x, int64_t step, int64_t apart, const float *dy, int64_t n, float *out,
                                int64_t line_pitch, int64_t pitch);

#define ADD_GRADIENT(name, lines, columns) \
    static __attribute__((noinline)) void name(const float *const *x, int64_t step, int64_t apart, const float *dy, int64_t n, \
                                               float *out, int64_t line_pitch, int64_t pitch) \
    { \
        add_gradient(lines, columns, x, step, apart, dy, n, out, line_pitch, pitch); \
    }
ADD_GRADIENT(add_gradient_of_one, 1, 1)
ADD_GRADIENT(add_gradient_of_three, 1, 3)
ADD_GRADIENT(add_gradient_of_five, 1, 5)
ADD_GRADIENT(add_gradient_of_seven, 1, 7)
#if defined __AVX512F__
ADD_GRADIENT(add_gradients_of_one, 3, 1)
ADD_GRADIENT(add_gradients_of_three, 3, 3)
ADD_GRADIENT(add_gradients_of_five, 3, 5)
ADD_GRADIENT(add_gradients_of_seven, 3, 7)
#endif
#undef ADD_GRADIENT

/* Of so many columns, an odd number, and of one line or DEPTH_TAP_LINES. */
static inline add_gradient_fn add_gradient_for(int64_t lines, int64_t columns)
{
    static const add_gradient_fn one[] = {add_gradient_of_one, add_gradient_of_three, add_gradient_of_five,
                                          add_gradient_of_seven};
#if defined __AVX512F__
    static const add_gradient_fn some[] = {add_gradients_of_one, add_gradients_of_three, add_gradients_of_five,
                                           add_gradients_of_seven};
    if (lines > 1) return some[columns / 2];
#endif
    (void)lines;
    return one[columns / 2];
}

/* Columns to take together of so many. */
static inline int64_t tap_columns(int64_t left) { return left >= DEPTH_TAP_COLUMNS ? DEPTH_TAP_COLUMNS : left - !(left & 1); }

/* One line of dy for all taps. ring: x's; dy: [block][pixel][lane]. */
static void add_line_of_channels(const depth_gradient *g, const depth_ring *r, int64_t row, const float *dy, float *out)
{
    const depth_plan *d = &g->d;
    const int64_t blocks = parts_of(r->channels, VEC_LANES), first = row * d->step[0] % d->slots,
                  line = blocks * r->wide * VEC_LANES;
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t i = 0, lines; i < g->lines; i += lines) {
            lines = g->lines - i >= DEPTH_TAP_LINES ? DEPTH_TAP_LINES : 1;
            for (int64_t j = 0, columns; j < g->columns; j += columns) {
                const float *x[DEPTH_TAP_LINES];
                columns = tap_columns(g->columns - j);
                for (int64_t l = 0; l < lines; l++) {
                    const depth_offset o = r->offset[(i + l) * g->columns + j];
                    const int64_t slot = first + o.h < d->slots ? first + o.h : first + o.h - d->slots;
                    x[l] = r->at + slot * line + (b * r->wide + o.w) * VEC_LANES;
                }
                add_gradient_for(lines, columns)(
                    x, d->step[1] * VEC_LANES, d->taps.step * VEC_LANES, dy + b * d->columns * VEC_LANES, d->columns,
                    out + (i * g->columns + j) * g->pitch + b * VEC_LANES, g->columns * g->pitch, g->pitch);
            }
        }
}

/* A line of dy, [pixel][channels] in memory, to [block][pixel][lane] of f32. */
static void copy_dy_line(const depth_plan *d, const depth_ring *r, int64_t row, depth_ring *to)
{
    SPAN_BUFFER(buffer);
    const trine_conv_side *at = &d->c->d_rows;
    const int64_t first = d->c->d_first + r->image * at->stride[0] + row * at->stride[1] + r->channel,
                  together = at->stride[2] == r->channels && r->channels < SPAN_MAX ? SPAN_MAX / r->channels : 1;
    to->channels = r->channels;
    for (int64_t q = 0, n; q < d->columns; q += n) {
        n = less_of(together, d->columns - q);
        spread_pixels(to, to->at, load_line(buffer, d->c->d, d->c->d_dtype, first + q * at->stride[2], n * r->channels, 1), q, n);
    }
}

static void make_slice_of_channels(const depth_gradient *g, depth_ring *r, depth_ring *dy, int64_t unit, float *partial)
{
    const depth_plan *d = &g->d;
    const int64_t slice = unit % g->slices, begin = g->pieces * slice / g->slices, end = g->pieces * (slice + 1) / g->slices;
    r->channel = unit / g->slices * d->chunk;
    const int64_t channels = less_of(d->chunk, d->c->groups - r->channel);
    if (channels != r->channels) { /* what lies beside the plane, and lanes that are no channels, stay 0 */
        memset(r->at, 0, d->buffer * sizeof *r->at);
        memset(dy->at, 0, g->dy * sizeof *dy->at);
    }
    r->channels = channels;
    float *out = partial + slice * d->c->k * g->pitch + r->channel;
    for (int64_t k = 0; k < d->c->k; k++)
        memset(out + k * g->pitch, 0, (size_t)(parts_of(channels, VEC_LANES) * VEC_LANES) * sizeof *out);
    for (int64_t i = begin; i < end; i++) {
        const int64_t row = i % d->rows, top = row * d->step[0];
        if (i == begin || row == 0) r->next = 0;
        r->image = i / d->rows;
        if (r->next < top) r->next = top;
        for (; r->next < top + d->high; r->next++) copy_line(d, r, r->next);
        copy_dy_line(d, r, row, dy);
        add_line_of_channels(g, r, row, dy->at, out);
    }
}

/* ---- Planes: a vector is of pixels ---- */

/* The first n lanes; the others are 0, whatever they are. */
static inline vec first_lanes(vec x, int64_t n)
{
    vec_bits lane;
    for (int i = 0; i < VEC_LANES; i++) lane[i] = i;
    return (vec)((vec_bits)x & (lane < (int32_t)n));
}

/* Adds to the sums of some taps, a vector each, those of rows of dy, `columns` wide, whose pixels x are at[tap], `pitch` apart. `taps`
 * is a constant. */
static inline __attribute__((always_inline)) void add_plane_gradient(const int taps, const float *const *at, int64_t pitch,
                                                                     const float *dy, int64_t rows, int64_t columns, float *out)
{
    vec sum[DEPTH_TAPS];
    const int64_t whole = columns / VEC_LANES * VEC_LANES, rest = columns - whole;
    for (int k = 0; k < taps; k++) sum[k] = vec_load(out + k * VEC_LANES);
    for (int64_t i = 0; i < rows; i++, dy += columns) {
        for (int64_t q = 0; q < whole; q += VEC_LANES) {
            const vec by = vec_load(dy + q);
#pragma GCC unroll 4
            for (int k = 0; k < taps; k++) sum[k] = vec_fma(by, vec_load(at[k] + i * pitch + q), sum[k]);
        }
        if (rest == 0) continue;
        const vec by = first_lanes(vec_load(dy + whole), rest);
#pragma GCC unroll 4
        for (int k = 0; k < taps; k++) sum[k] = vec_fma(by, first_lanes(vec_load(at[k] + i * pitch + whole), rest), sum[k]);
    }
    for (int k = 0; k < taps; k++) vec_store(out + k * VEC_LANES, sum[k]);
}

/* Rows of dy from `row` on. dy: room for them; sums: a vector a tap. */
static void add_band(const depth_gradient *g, const depth_ring *r, int64_t channel, int64_t row, float *dy, float *sums)
{
    const depth_plan *d = &g->d;
    const trine_conv_product *c = d->c;
    const trine_conv_side *from = &c->d_rows;
    const int64_t rows = less_of(d->chunk, d->rows - row),
                  first = c->d_first + channel * c->d_group + r->image * from->stride[0] + row * from->stride[1];
    copy_band(d, r->at, r->image * c->a.rows.stride[0] + channel * c->a.group, row, rows);
    for (int64_t i = 0; i < rows; i++)
        load_channels(dy + i * d->columns, c->d, c->d_dtype, first + i * from->stride[1], d->columns, from->stride[2]);
    for (int64_t k = 0; k < c->k; k++) {
        const int64_t h = r->offset[k].h, w = r->offset[k].w;
        r->tap[k] =
            r->at + ((h % d->step[0] * d->phases[1] + w % d->step[1]) * d->band + h / d->step[0]) * d->pitch + w / d->step[1];
    }
    int64_t k = 0;
    for (; k + DEPTH_TAPS <= c->k; k += DEPTH_TAPS)
        add_plane_gradient(DEPTH_TAPS, r->tap + k, d->pitch, dy, rows, d->columns, sums + k * VEC_LANES);
    for (; k < c->k; k++) add_plane_gradient(1, r->tap + k, d->pitch, dy, rows, d->columns, sums + k * VEC_LANES);
}

static void make_slice_of_plane(const depth_gradient *g, depth_ring *r, float *dy, int64_t unit, float *partial)
{
    const depth_plan *d = &g->d;
    const int64_t slice = unit % g->slices, channel = unit / g->slices, bands = parts_of(d->rows, d->chunk);
    float *sums = dy + whole_lines(d->chunk * d->columns + VEC_LANES);
    memset(sums, 0, (size_t)(d->c->k * VEC_LANES) * sizeof *sums);
    for (int64_t i = g->pieces * slice / g->slices; i < g->pieces * (slice + 1) / g->slices; i++) {
        r->image = i / bands;
        add_band(g, r, channel, i % bands * d->chunk, dy, sums);
    }
    for (int64_t k = 0; k < d->c->k; k++)
        partial[(slice * d->c->k + k) * g->pitch + channel] = total_of_lanes(vec_load(sums + k * VEC_LANES));
}

/* ---- All ---- */

/* The slices' sums, added in order, to dweight. */
static void store_filters(const depth_gradient *g, const trine_conv_shape *s, const trine_tensor *dweight, const float *partial)
{
    const int64_t taps = g->lines * g->columns;
    for (int64_t k = 0; k < taps; k++)
        for (int64_t first = 0, n; first < s->groups; first += n) {
            SPAN_BUFFER(sums);
            n = less_of(s->groups - first, SPAN_MAX);
            memset(sums, 0, (size_t)n * sizeof *sums);
            for (int64_t slice = 0; slice < g->slices; slice++)
                for (int64_t i = 0; i < n; i++) sums[i] += partial[(slice * taps + k) * g->pitch + first + i];
            const int64_t at = first * s->f_k + k / g->columns * s->f_at[0] + k % g->columns * s->f_at[1];
            span_store_strided((void *)(uintptr_t)element(dweight->data, dweight->dtype, at), dweight->dtype, sums, n, s->f_k);
        }
}

/* c: of the convolution; its d is dy. memory: conv_depthwise_weight_size bytes. */
static void conv_depthwise_weight(const trine_conv_product *c, const trine_conv_shape *s, const trine_tensor *dweight,
                                  void *memory)
{
    const depth_gradient g = depth_gradient_make(c);
    float *partial = (float *)(((uintptr_t)memory + 63) / 64 * 64);
    CPU_PARALLEL_FOR(range, g.units, depth_gradient_grain(&g))
    {
        float *own = partial + g.partial + (size_t)cpu_thread() * g.own, *buffer = own + g.d.tables, *dy = buffer + g.d.buffer;
        const float **tap = (const float **)(void *)own;
        depth_offset *offset = (depth_offset *)(void *)(tap + c->k);
        find_offsets(&g.d, offset);
        depth_ring r = {.at = buffer,
                        .tap = tap,
                        .offset = offset,
                        .subnormal = (bool *)(offset + c->k),
                        .wide = ring_wide(&g.d)},
                   of_dy = {.at = dy, .wide = g.d.columns};
        for (int64_t i = range.begin; i < range.end; i++) {
            if (g.d.along_groups)
                make_slice_of_channels(&g, &r, &of_dy, i, partial);
            else
                make_slice_of_plane(&g, &r, dy, i, partial);
        }
    }
    store_filters(&g, s, dweight, partial);
}

#endif
