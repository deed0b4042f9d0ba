/* Convolutions whose groups have few channels, as ones of fewer groups: some groups are merged, and a filter has zeros for the channels
 * of the others. That multiplies more, but whole vectors; by itself a group of 4 channels would fill an eighth of them.
 *
 * A NaN or infinity of x would reach other groups' outputs by way of those zeros: where there is one, groups are not merged. The
 * filters' gradient has no zeros: what two groups make of each other is left out. */
#ifndef TRINE_CPU_CONV_MERGED_H
#define TRINE_CPU_CONV_MERGED_H

#include "backends/cpu/conv_product.h"

enum { MERGED_CHANNELS = 32 };

/* How many groups to merge: 1 where it is of no use. */
static int64_t groups_to_merge(const trine_conv_shape *s)
{
    int64_t best = 1;
    if (s->groups < 2 || (s->c == 1 && s->k == 1) || s->c > MERGED_CHANNELS / 2) return 1;
    for (int64_t n = 2; n <= s->groups && n * s->c <= MERGED_CHANNELS && n * s->k <= 2 * MERGED_CHANNELS; n++)
        if (s->groups % n == 0) best = n;
    return best;
}

/* The same filters with as many channels as the merged groups have; data: NULL in a query. */
static trine_tensor merged_filters(const trine_tensor *weight, trine_dtype dtype, const trine_conv_window *w, bool channels_last,
                                   int64_t merged, void *data)
{
    int64_t shape[TRINE_MAX_DIMS];
    for (int32_t i = 0; i < weight->ndim; i++) shape[i] = weight->shape[i];
    shape[trine_conv_channel(w, channels_last)] *= merged;
    return trine_tensor_make(data, dtype, weight->ndim, shape);
}

static size_t bytes_of(const trine_tensor *t) { return ((size_t)(trine_tensor_numel(t) * size_of(t->dtype)) + 255) / 256 * 256; }

static trine_conv_window merged_window(const trine_conv_window *w, int64_t merged)
{
    trine_conv_window window = *w;
    window.groups = (int32_t)(trine_conv_groups(w) / merged);
    return window;
}

/* Where filter k's channels and taps begin in the merged filters; its own lie at k f_k. */
static int64_t merged_place(const trine_conv_shape *own, const trine_conv_shape *all, int64_t merged, int64_t k)
{
    return k * all->f_k + k / own->k % merged * own->c * all->f_c;
}

static void merge_filters(const trine_tensor *weight, const trine_tensor *to, const trine_conv_shape *own,
                          const trine_conv_shape *all, int64_t merged)
{
    const size_t size = (size_t)size_of(weight->dtype);
    memset(to->data, 0, (size_t)trine_tensor_numel(to) * size);
    for (int64_t k = 0; k < own->k * own->groups; k++)
        for (int64_t tap = 0; tap < own->taps[0] * own->taps[1]; tap++)
            for (int64_t c = 0; c < own->c; c++) {
                const int64_t i = tap / own->taps[1], j = tap % own->taps[1],
                              from = k * own->f_k + i * own->f_at[0] + j * own->f_at[1] + c * own->f_c,
                              at = merged_place(own, all, merged, k) + i * all->f_at[0] + j * all->f_at[1] + c * all->f_c;
                memcpy((char *)to->data + (size_t)at * size, (const char *)weight->data + (size_t)from * size, size);
            }
}

/* Of f32, in a merged gradient, to dweight. */
static void take_filters(const trine_tensor *from, const trine_tensor *dweight, const trine_conv_shape *own,
                         const trine_conv_shape *all, int64_t merged)
{
    for (int64_t k = 0; k < own->k * own->groups; k++)
        for (int64_t tap = 0; tap < own->taps[0] * own->taps[1]; tap++) {
            SPAN_BUFFER(buffer);
            const int64_t i = tap / own->taps[1], j = tap % own->taps[1],
                          at = merged_place(own, all, merged, k) + i * all->f_at[0] + j * all->f_at[1],
                          to = k * own->f_k + i * own->f_at[0] + j * own->f_at[1];
            const float *line = load_line(buffer, from->data, TRINE_F32, at, own->c, all->f_c);
            span_store_strided((void *)(uintptr_t)element(dweight->data, dweight->dtype, to), dweight->dtype, line, own->c,
                               own->f_c);
        }
}

/* Elements from the first on among which all of the tensor's are; -1 if they are many more. */
static int64_t span_of_tensor(const trine_tensor *t)
{
    int64_t last = 0;
    for (int32_t i = 0; i < t->ndim; i++) {
        if (t->shape[i] == 0) return 0;
        if (t->stride[i] < 0) return -1;
        last += (t->shape[i] - 1) * t->stride[i];
    }
    return last + 1 <= 2 * trine_tensor_numel(t) ? last + 1 : -1;
}

typedef uint32_t bits32_any __attribute__((may_alias, aligned(1)));
typedef uint16_t bits16_any __attribute__((may_alias, aligned(1)));

/* Whether there is a NaN or infinity among n elements. */
static bool any_special(const void *data, trine_dtype dtype, int64_t n)
{
    int found = 0;
    CPU_PARALLEL_FOR(range, n, CPU_GRAIN)
    {
        uint32_t most = 0;
        uint16_t most16 = 0;
        const bits32_any *wide = data;
        const bits16_any *narrow = data;
        for (int64_t i = range.begin; dtype == TRINE_F32 && i < range.end; i++) {
            const uint32_t x = wide[i] << 1;
            most = x > most ? x : most;
        }
        for (int64_t i = range.begin; dtype != TRINE_F32 && i < range.end; i++) {
            const uint16_t x = (uint16_t)(narrow[i] << 1);
            most16 = x > most16 ? x : most16;
        }
        const bool special = dtype == TRINE_F32 ? most >= 0xff000000u : dtype == TRINE_BF16 ? most16 >= 0xff00 : most16 >= 0xf800;
        if (special) __atomic_store_n(&found, 1, __ATOMIC_RELAXED);
    }
    return found != 0;
}

#endif
