/* Convolutions in which every channel is its own group, with one filter each; the data gradient of such a one is another.
 *
 * Lines of the input are copied to a buffer with the padding about them, as f32 or pairs of bf16, so that a tap is an offset in it
 * for the micro-kernel (conv_depthwise_taps.h). Channels last, a vector is of channels of a pixel, and the buffer is a ring of as
 * many lines as the filter is high. In planes a vector is of pixels that follow each other in the buffer, across the ends of lines,
 * where sums are made that nobody wants; with strides every phase of the input's lines and columns lies apart. Bound by bytes where
 * the filter is small, else by loads. */
#ifndef TRINE_CPU_CONV_DEPTHWISE_H
#define TRINE_CPU_CONV_DEPTHWISE_H

#include "backends/cpu/conv_depthwise_plan.h"

/* ---- Channels last ---- */

typedef struct depth_ring {
    float *at, *sums;
    const float **tap;
    const depth_offset *offset; /* of taps, in the buffer */
    bool *subnormal;            /* each of its lines */
    const float *filters;
    int64_t channel, channels; /* of the chunk */
    int64_t image, next;       /* line of the buffer that is copied next */
    int64_t wide;              /* pixels of a line in the ring */
} depth_ring;

/* f32 that most taps share leave the sums time to ask for the lines that come next; others are asked for as they are copied. */
static inline bool asks_between_sums(const depth_plan *d) { return d->c->dtype == TRINE_F32 && d->step[0] == 1; }

/* What lies some pixels further on: the processor does not look ahead across the ends of what is copied at once. */
static void ask_for_pixel(const void *from, int64_t bytes)
{
    enum { FAR = 8192 };
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch((const void *)((uintptr_t)from + FAR + (uintptr_t)i));
}

/* Pixels from one on, [pixel][channels] as f32, into the line's blocks of channels. */
static void spread_pixels(const depth_ring *r, float *line, const float *x, int64_t pixel, int64_t n)
{
    const int64_t apart = r->wide * VEC_LANES, whole = r->channels / VEC_LANES, rest = r->channels % VEC_LANES;
    for (int64_t i = 0; i < n; i++, x += r->channels) {
        float *to = line + (pixel + i) * VEC_LANES;
        for (int64_t b = 0; b < whole; b++) vec_store(to + b * apart, vec_load(x + b * VEC_LANES));
        for (int64_t j = 0; j < rest; j++) to[whole * apart + j] = x[whole * VEC_LANES + j];
    }
}

/* Of each bf16 of two pixels a number: that of `first` below that of `second`. The least of them, as least_bf16 has it. */
static inline __attribute__((always_inline)) vec_halves pair_pixels(const depth_ring *r, float *to, const uint16_t *first,
                                                                    const uint16_t *second, vec_halves least)
{
    const int64_t apart = r->wide * VEC_LANES, whole = r->channels / VEC_LANES, rest = r->channels % VEC_LANES;
    for (int64_t b = 0; b < whole; b++) {
        const vec pairs = join_halves(first + b * VEC_LANES, second + b * VEC_LANES);
        least = less_halves(least, (vec_halves)pairs);
        vec_store(to + b * apart, pairs);
    }
    for (int64_t j = 0; j < rest; j++) {
        const int64_t at = whole * VEC_LANES + j;
        to[whole * apart + j] = trine_f32_of_bits(first[at] | (uint32_t)second[at] << 16);
        least[j] = least_bf16(first + at, 1) < least[j] ? least_bf16(first + at, 1) : least[j];
        least[j] = least_bf16(second + at, 1) < least[j] ? least_bf16(second + at, 1) : least[j];
    }
    return least;
}

/* A line of bf16 as pairs with the pixel that the next tap meets, or as f32: a pair whose first is 0. True if subnormal ones are in
 * pairs. */
static bool pair_line(const depth_plan *d, const depth_ring *r, float *line, int64_t first_element, cpu_range inside)
{
    static const uint16_t zeros[DEPTH_CHANNELS];
    const uint16_t *data = d->c->a.data;
    const int64_t apart = pairs_apart(&d->taps), end = inside.end - apart;
    vec_halves least = (vec_halves){0} - 1;
    for (int64_t p = inside.begin > apart ? inside.begin - apart : 0; p < inside.end; p++) {
        const uint16_t *second = p >= inside.begin - apart && p < end ? data + (first_element + (p + apart) * d->pixel) : zeros;
        const uint16_t *first = apart && p >= inside.begin ? data + (first_element + p * d->pixel) : zeros;
        ask_for_pixel(second == zeros ? first : second, r->channels * (int64_t)sizeof *data);
        least = pair_pixels(r, line + p * VEC_LANES, first, second, least);
    }
    return apart && is_least_subnormal(least);
}

/* Line i of the buffer. What lies beside the plane is 0 already; but lines above and below it take the place of others. */
static void copy_line(const depth_plan *d, const depth_ring *r, int64_t i)
{
    const trine_conv_operand *o = &d->c->a;
    const int64_t h = d->origin[0] + i, slot = i % d->slots, size = parts_of(r->channels, VEC_LANES) * r->wide * VEC_LANES;
    float *line = r->at + slot * size;
    cpu_range inside = {0, d->wide};
    SPAN_BUFFER(buffer);
    r->subnormal[slot] = false;
    if (h < 0 || h >= o->height) {
        memset(line, 0, (size_t)size * sizeof *line);
        return;
    }
    conv_clip(&inside, d->origin[1], 1, o->width);
    const int64_t together = d->pixel == r->channels && r->channels < SPAN_MAX ? SPAN_MAX / r->channels : 1;
    const int64_t first = r->image * o->rows.stride[0] + h * d->line + d->origin[1] * d->pixel + r->channel;
    if (d->c->dtype == TRINE_BF16) {
        r->subnormal[slot] = pair_line(d, r, line, first, inside);
        return;
    }
    for (int64_t p = inside.begin, n; p < inside.end; p += n) {
        n = less_of(together, inside.end - p);
        if (!asks_between_sums(d))
            ask_for_pixel(element(o->data, d->c->dtype, first + p * d->pixel), n * r->channels * size_of(d->c->dtype));
        spread_pixels(r, line, load_line(buffer, o->data, d->c->dtype, first + p * d->pixel, n * r->channels, 1), p, n);
    }
}

static bool is_row_subnormal(const depth_plan *d, const depth_ring *r, int64_t row)
{
    bool any = d->subnormal;
    for (int64_t i = 0; d->taps.pairs && i < d->high; i++) any |= r->subnormal[(row * d->step[0] + i) % d->slots];
    return any;
}

/* One block of channels of a row; asks for a share of the lines that come next. */
static void make_block_of_row(const depth_plan *d, const depth_ring *r, int64_t row, int64_t block, float *sums, bool subnormal,
                              const char *ahead, int64_t share)
{
    const trine_conv_product *c = d->c;
    const add_taps_fn add = add_taps_for(&d->taps, false, d->step[1], subnormal);
    const int64_t first = row * d->step[0] % d->slots, line = parts_of(r->channels, VEC_LANES) * r->wide * VEC_LANES;
    for (int64_t k = 0; k < d->taps.entries; k++) {
        const int64_t slot = first + r->offset[k].h;
        r->tap[k] = r->at + (slot < d->slots ? slot : slot - d->slots) * line + r->offset[k].w * VEC_LANES;
    }
    for (int64_t q = 0; q < d->columns; q += DEPTH_SUMS, ahead += share) {
        span_prefetch(ahead, share);
        add(r->tap, (block * r->wide + q * d->step[1]) * VEC_LANES, d->step[1] * VEC_LANES,
            r->filters + r->channel + block * VEC_LANES, c->groups, &d->taps, c->has_bias,
            sums + q * r->channels + block * VEC_LANES, r->channels);
    }
}

static void finish_row_of_channels(const depth_plan *d, const depth_ring *r, int64_t row, float *sums)
{
    const trine_conv_side *to = &d->c->d_rows;
    const int64_t first = d->c->d_first + r->image * to->stride[0] + row * to->stride[1] + r->channel;
    const bool one = to->stride[2] == r->channels; /* pixels follow each other */
    for (int64_t q = 0; q < (one ? 1 : d->columns); q++)
        store_sums(d, sums + q * r->channels, one ? d->columns * r->channels : r->channels, first + q * to->stride[2], 1);
}

/* Rows [row, row + rows). The last block of channels goes first: what it writes too much of is a pixel's first channels, or behind
 * the line. */
static void make_rows_of_channels(const depth_plan *d, depth_ring *r, int64_t row, int64_t rows)
{
    const int64_t top = row * d->step[0], blocks = parts_of(r->channels, VEC_LANES);
    const int64_t pitch = (int64_t)d->lines / d->together, calls = parts_of(d->columns, DEPTH_SUMS);
    const int64_t bytes = asks_between_sums(d) ? rows * d->step[0] * d->line * size_of(d->c->dtype) : 0;
    const int64_t share = bytes ? bytes / (blocks * rows * calls) + 1 : 0;
    if (r->next < top) r->next = top;
    for (; r->next < top + (rows - 1) * d->step[0] + d->high; r->next++) copy_line(d, r, r->next);
    const trine_conv_operand *o = &d->c->a;
    const char *ahead = element(o->data, d->c->dtype, r->image * o->rows.stride[0] + (d->origin[0] + r->next) * d->line);
    bool subnormal[DEPTH_ROWS];
    for (int64_t i = 0; i < rows; i++) subnormal[i] = is_row_subnormal(d, r, row + i);
    for (int64_t b = blocks - 1; b >= 0; b--)
        for (int64_t i = 0; i < rows; i++, ahead += calls * share)
            make_block_of_row(d, r, row + i, b, r->sums + i * pitch, subnormal[i], ahead, share);
    for (int64_t i = 0; i < rows; i++) finish_row_of_channels(d, r, row + i, r->sums + i * pitch);
}

static void make_units_of_channels(const depth_plan *d, depth_ring *r, cpu_range range)
{
    const int64_t images = d->c->a.rows.size[0], bands = parts_of(d->rows, d->together);
    for (int64_t i = range.begin; i < range.end; i++) {
        const int64_t row = i % bands * d->together;
        if (i == range.begin || row == 0) r->next = 0;
        r->image = i / bands % images;
        r->channel = i / bands / images * d->chunk;
        const int64_t channels = less_of(d->chunk, d->c->groups - r->channel);
        if (channels != r->channels) memset(r->at, 0, d->buffer * sizeof *r->at);
        r->channels = channels;
        make_rows_of_channels(d, r, row, less_of(d->together, d->rows - row));
    }
}

/* ---- Planes ---- */

/* Lines of pixels of a stride of 1, as copy_band. What lies beside the plane is 0 already. */
static bool copy_band_of_pairs(const depth_plan *d, float *to, int64_t first, int64_t row, int64_t rows)
{
    const trine_conv_operand *o = &d->c->a;
    const int64_t apart = pairs_apart(&d->taps), lines = (rows - 1) * d->step[0] + d->high;
    bool subnormal = false;
    for (int64_t i = 0; i < lines; i++) {
        const int64_t h = d->origin[0] + row * d->step[0] + i, w = d->origin[1];
        if (i % d->step[0] >= d->phases[0]) continue;
        float *line = to + (i % d->step[0] * d->band + i / d->step[0]) * d->pitch;
        cpu_range inside = {0, d->pitch};
        conv_clip(&inside, h, 0, o->height);
        conv_clip(&inside, w, 1, o->width);
        const int64_t begin = inside.begin, end = inside.end, both = end - apart > begin ? end - apart : begin;
        if (end <= begin) {
            memset(line, 0, (size_t)d->pitch * sizeof *line);
            continue;
        }
        const uint16_t *from = (const uint16_t *)o->data + (first + h * d->line + w + begin); /* of column begin */
        subnormal |= least_bf16(from, end - begin) < SUBNORMAL_BF16;
        for (int64_t j = begin > apart ? begin - apart : 0; j < less_of(begin, end - apart); j++)
            line[j] = trine_f32_of_bits((uint32_t)from[j + apart - begin] << 16);
        join_lines(line + begin, from, from + less_of(apart, end - begin), both - begin);
        for (int64_t j = both; j < end; j++) line[j] = trine_f32_of_bits(from[j - begin]);
    }
    return subnormal;
}

/* What a band of rows of d reads. True if subnormal terms are in pairs. */
static bool copy_band(const depth_plan *d, float *to, int64_t first, int64_t row, int64_t rows)
{
    const trine_conv_operand *o = &d->c->a;
    SPAN_BUFFER(buffer);
    if (d->taps.pairs) return copy_band_of_pairs(d, to, first, row, rows);
    for (int64_t i = 0; i < (rows - 1) * d->step[0] + d->high; i++)
        for (int64_t phase = 0; i % d->step[0] < d->phases[0] && phase < d->phases[1]; phase++) {
            const int64_t h = d->origin[0] + row * d->step[0] + i, w = d->origin[1] + phase;
            float *line = to + ((i % d->step[0] * d->phases[1] + phase) * d->band + i / d->step[0]) * d->pitch;
            cpu_range inside = {0, d->pitch};
            conv_clip(&inside, h, 0, o->height);
            conv_clip(&inside, w, d->step[1], o->width);
            for (int64_t j = 0; j < inside.begin; j++) line[j] = 0;
            for (int64_t j = inside.end; j < d->pitch; j++) line[j] = 0;
            for (int64_t j = inside.begin, n; j < inside.end; j += n) {
                n = less_of(inside.end - j, SPAN_MAX);
                const float *from = load_line(buffer, o->data, d->c->dtype, first + h * d->line + (w + j * d->step[1]) * d->pixel,
                                              n, d->step[1] * d->pixel);
                memcpy(line + j, from, (size_t)n * sizeof *line);
            }
        }
    return false;
}

static void make_band(const depth_plan *d, float *buffer, float *sums, const float **tap, const depth_offset *offset,
                      const float *filters, int64_t unit)
{
    const trine_conv_product *c = d->c;
    const int64_t bands = parts_of(d->rows, d->chunk), row = unit % bands * d->chunk, g = unit / bands % c->groups,
                  image = unit / bands / c->groups, rows = less_of(d->chunk, d->rows - row);
    const bool subnormal = copy_band(d, buffer, image * c->a.rows.stride[0] + g * c->a.group, row, rows);
    for (int64_t k = 0; k < d->taps.entries; k++) {
        const int64_t h = offset[k].h, w = offset[k].w;
        tap[k] =
            buffer + ((h % d->step[0] * d->phases[1] + w % d->step[1]) * d->band + h / d->step[0]) * d->pitch + w / d->step[1];
    }
    const int64_t count = (rows - 1) * d->pitch + d->columns, lines = rows * d->step[0] * d->line * size_of(c->dtype),
                  share = lines / parts_of(count, DEPTH_SUMS * VEC_LANES) + 1;
    const char *ahead = element(c->a.data, c->dtype,
                                image * c->a.rows.stride[0] + g * c->a.group +
                                    (d->origin[0] + (row + rows) * d->step[0]) * d->line); /* often what the next band reads */
    const add_taps_fn add = add_taps_for(&d->taps, true, 1, subnormal || d->subnormal);
    for (int64_t i = 0; i < count; i += DEPTH_SUMS * VEC_LANES) {
        span_prefetch(ahead, share);
        ahead += share;
        add(tap, i, VEC_LANES, filters + g, c->groups, &d->taps, c->has_bias, sums + i, VEC_LANES);
    }
    const trine_conv_side *to = &c->d_rows;
    const int64_t first = c->d_first + g * c->d_group + image * to->stride[0] + row * to->stride[1];
    const bool one = to->stride[2] == 1 && to->stride[1] == d->columns; /* lines follow each other */
    for (int64_t i = 1; one && i < rows; i++)
        memmove(sums + i * d->columns, sums + i * d->pitch, (size_t)d->columns * sizeof *sums);
    for (int64_t i = 0; i < (one ? 1 : rows); i++)
        store_sums(d, sums + i * d->pitch, one ? rows * d->columns : d->columns, first + i * to->stride[1], to->stride[2]);
}

/* memory: conv_depthwise_size bytes. */
static void conv_depthwise(const trine_conv_product *c, void *memory)
{
    float *filters = (float *)(((uintptr_t)memory + 63) / 64 * 64);
    if (c->m == 0) return;
    depth_plan d = depth_plan_make(c);
    d.subnormal = load_filters(c, &d.taps, filters);
    CPU_PARALLEL_FOR(range, d.units, depth_grain(&d))
    {
        float *own = filters + d.filters + (size_t)cpu_thread() * depth_own(&d);
        const float **tap = (const float **)(void *)own;
        depth_offset *offset = (depth_offset *)(void *)(tap + c->k);
        find_offsets(&d, offset);
        float *buffer = own + d.tables, *sums = buffer + d.buffer;
        depth_ring r = {.at = buffer,
                        .sums = sums,
                        .tap = tap,
                        .offset = offset,
                        .subnormal = (bool *)(offset + c->k),
                        .filters = filters,
                        .wide = ring_wide(&d)};
        if (d.taps.pairs && !d.along_groups) memset(buffer, 0, d.buffer * sizeof *buffer);
        if (d.along_groups) make_units_of_channels(&d, &r, range);
        for (int64_t i = range.begin; !d.along_groups && i < range.end; i++) make_band(&d, buffer, sums, tap, offset, filters, i);
        span_fence();
    }
}

#endif
