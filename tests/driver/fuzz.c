#include "tests/driver/fuzz.h"

#include <stdio.h>
#include <string.h>

/* Numbers of one case, one after the other. */
typedef struct dice {
    uint64_t seed, used;
} dice;

/* In [0, n). */
static int64_t roll(dice *d, int64_t n) { return (int64_t)(case_hash(d->seed, d->used++) >> 11) % n; }

/* ---- Sizes ---- */

/* Smaller ones are in the cases as they are; gradients of rows of two have bounds of their own. */
enum { LEAST = 5 };

/* A size that some axis has; 0 without one. */
static int64_t some_size(const test_case *c, dice *d)
{
    int64_t sizes[64], count = 0;
    for (int32_t k = 0; k < c->tensor_count; k++)
        for (int32_t a = 0; a < c->tensor[k].ndim && count < 64; a++)
            if (c->tensor[k].shape[a] > LEAST) sizes[count++] = c->tensor[k].shape[a];
    return count ? sizes[roll(d, count)] : 0;
}

/* The number of leading axes of the first output that the units are; -1 if they are something else. */
static int32_t axes_of_units(const test_case *c, const case_tensor *out)
{
    int64_t n = 1;
    for (int32_t a = 0; a <= out->ndim; a++) {
        if (n == c->units) return a;
        if (a < out->ndim) n *= out->shape[a];
    }
    return -1;
}

/* What indices point into keeps its size: with fewer places more is added up in each, and some would lie outside. */
static bool has_indices_into(const test_case *c, int64_t size)
{
    bool found = false;
    for (int32_t k = 0; k < c->tensor_count; k++) {
        const case_tensor *t = &c->tensor[k];
        found |= (t->fill == FILL_INTEGERS || t->fill == FILL_SORTED) && (t->b == (double)size || t->b == (double)(size - 1));
    }
    return found;
}

static void resize_tensor(case_tensor *t, int64_t from, int64_t to)
{
    t->numel = 1;
    for (int32_t a = 0; a < t->ndim; a++) {
        if (t->shape[a] == from) t->shape[a] = to;
        t->numel *= t->shape[a];
    }
}

static const case_tensor *first_output(const test_case *c)
{
    for (int32_t k = 0; k < c->tensor_count; k++)
        if (c->tensor[k].output) return &c->tensor[k];
    return NULL;
}

/* After sizes have changed: units are `axes` leading axes of the first output. None if not all outputs can be cut that way. */
static void count_units(test_case *c, int32_t axes)
{
    const case_tensor *out = first_output(c);
    c->units = 1;
    for (int32_t a = 0; a < axes; a++) c->units *= out->shape[a];
    for (int32_t k = 0; k < c->tensor_count; k++)
        if (c->tensor[k].output && (!c->units || c->tensor[k].numel % c->units != 0)) c->units = 0;
}

/* Every axis of one size gets another: never more than it was, for bounds grow with the length of sums. */
static void resize(test_case *c, dice *d)
{
    const int64_t from = some_size(c, d);
    const case_tensor *out = first_output(c);
    if (!from || !out || has_indices_into(c, from)) return;
    const int64_t most = roll(d, 2) && from > 16 ? 16 : from, less = from - roll(d, most), to = less > LEAST ? less : LEAST;
    const int32_t axes = axes_of_units(c, out);
    const int64_t was = c->units;
    if (axes < 0) return;
    for (int32_t k = 0; k < c->tensor_count; k++) {
        if (c->tensor[k].output && c->tensor[k].numel % was != 0) return;
        if (c->tensor[k].fill == FILL_SPECIAL) return; /* rows with two of the largest are no test */
    }
    for (int32_t k = 0; k < c->tensor_count; k++) resize_tensor(&c->tensor[k], from, to);
    count_units(c, axes);
}

/* ---- Layouts ---- */

/* Rows of equal elements are not made: those of norms without a spread are no test but of eps. */
static void lay_out(case_tensor *t, dice *d)
{
    const bool repeats = roll(d, 8) == 0;
    if (t->inplace_of >= 0 || roll(d, 4) == 0) return;
    t->layout = LAYOUT_RANDOM;
    t->layout_seed = (uint64_t)roll(d, (int64_t)1 << 40) * 2 + 1;
    t->repeated = !t->output && t->ndim > 1 && repeats ? (int32_t)roll(d, t->ndim - 1) : -1;
}

/* Bounds of sums count on roundings of random signs; those of equal elements have the same. */
static void widen(test_case *c)
{
    enum { WIDER = 64 };
    int64_t longest = 0;
    for (int32_t k = 0; k < c->tensor_count; k++)
        for (int32_t a = 0; a < c->tensor[k].ndim; a++)
            if (c->tensor[k].shape[a] > longest) longest = c->tensor[k].shape[a];
    c->rtol = c->rtol * WIDER + (double)longest * 0x1p-23;
    c->atol *= WIDER;
    for (int32_t k = 0; k < c->tensor_count; k++) {
        c->tensor[k].rtol *= WIDER;
        c->tensor[k].atol *= WIDER;
    }
}

void fuzz_case(test_case *c, uint64_t seed)
{
    dice d = {case_hash(seed, c->seed), 0};
    if (c->units <= 0) return;
    for (int64_t times = roll(&d, 3); times > 0; times--) resize(c, &d);
    for (int32_t k = 0; k < c->tensor_count; k++) lay_out(&c->tensor[k], &d);
    for (int32_t k = 0; k < c->tensor_count; k++)
        if (c->tensor[k].inplace_of >= 0) c->tensor[c->tensor[k].inplace_of].repeated = -1;
    for (int32_t k = 0; k < c->tensor_count; k++)
        if (c->tensor[k].layout == LAYOUT_RANDOM && c->tensor[k].repeated >= 0) {
            widen(c);
            break;
        }
    c->random = c->may_refuse = true;
}

void fuzz_repeat(test_case *c)
{
    for (int32_t k = 0; k < c->tensor_count; k++) {
        case_tensor *t = &c->tensor[k];
        const size_t size = (size_t)trine_dtype_bits(t->dtype) / 8;
        if (t->layout != LAYOUT_RANDOM || t->repeated < 0) continue;
        for (int64_t i = 0; i < t->numel; i++) {
            int64_t index[TRINE_MAX_DIMS];
            case_unravel(t, i, index);
            index[t->repeated] = 0;
            const int64_t from = case_ravel(t, index);
            memcpy(t->data + (size_t)i * size, t->data + (size_t)from * size, size);
            t->values[i] = t->values[from];
        }
    }
}

/* ---- More than 2^31 elements ---- */

static double bytes_of(const test_case *c)
{
    double bytes = 0;
    for (int32_t k = 0; k < c->tensor_count; k++) bytes += (double)c->tensor[k].numel * trine_dtype_bits(c->tensor[k].dtype) / 8;
    return bytes;
}

static bool begins_with(const case_tensor *t, int64_t size) { return t->ndim > 0 && t->shape[0] == size; }

bool fuzz_grow(test_case *c, double room)
{
    const case_tensor *out = first_output(c);
    if (!out || out->ndim == 0 || c->units <= 0) return false;
    const int64_t from = out->shape[0];
    const int32_t axes = axes_of_units(c, out);
    int64_t most = 0;
    for (int32_t k = 0; k < c->tensor_count; k++)
        if (begins_with(&c->tensor[k], from) && c->tensor[k].numel > most) most = c->tensor[k].numel;
    if (axes < 1 || most == 0) return false; /* units of no axis: the sum of everything, whose bound grows */
    const int64_t to = from * (((int64_t)1 << 31) / most + 1) + 8;
    c->work *= (double)to / (double)from;
    for (int32_t k = 0; k < c->tensor_count; k++) {
        case_tensor *t = &c->tensor[k];
        if (!begins_with(t, from)) continue;
        t->numel = t->numel / from * to;
        t->shape[0] = to;
    }
    count_units(c, axes);
    case_count_bytes(c);
    const size_t named = strlen(c->name);
    snprintf(c->name + named, sizeof c->name - named, " grown to %lld", (long long)to);
    return c->units > 0 && bytes_of(c) <= room;
}
