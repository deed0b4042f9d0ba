/* Building cases and filling their inputs. */
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cases/cases.h"
#include "tests/cases/sizes.h"

const trine_dtype case_floats[3] = {TRINE_F32, TRINE_F16, TRINE_BF16};

void cases_of(trine_op op, case_list *list, case_kind kind)
{
    static void (*const makers[TRINE_OP_COUNT])(case_list *, case_kind) = {
#define OP(family, name) [TRINE_OP_##name] = cases_##name,
#include "trine/ops.def"
#undef OP
    };
    if (kind == CASES_SIZES)
        cases_of_sizes(op, list);
    else
        makers[op](list, kind);
}

void cases_free(case_list *list)
{
    for (int64_t i = 0; i < list->count; i++) {
        case_release(list->items[i]);
        free(list->items[i]->tensor);
        free(list->items[i]);
    }
    free(list->items);
    *list = (case_list){0};
}

static void *must(void *ptr)
{
    if (ptr) return ptr;
    fprintf(stderr, "trine: no memory for test cases\n");
    exit(3);
}

void case_reserve(test_case *c, int32_t tensors)
{
    if (tensors <= c->tensor_room) return;
    c->tensor = must(realloc(c->tensor, (size_t)tensors * sizeof *c->tensor));
    c->tensor_room = tensors;
}

test_case *case_new(case_list *list, trine_op op, const char *format, ...)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 64;
        list->items = must(realloc(list->items, (size_t)list->capacity * sizeof *list->items));
    }
    enum { ROOM = 12 };
    test_case *c = must(calloc(1, sizeof *c));
    case_reserve(c, ROOM);
    list->items[list->count++] = c;
    c->op = op;
    int used = snprintf(c->name, sizeof c->name, "%s ", trine_op_get_info(op)->name);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(c->name + used, sizeof c->name - (size_t)used, format, arguments);
    va_end(arguments);
    /* the seed is of the name, so that a case keeps its data when others are added */
    c->seed = 1469598103934665603u;
    for (const char *p = c->name; *p; p++) c->seed = (c->seed ^ (unsigned char)*p) * 1099511628211u;
    return c;
}

/* Names are short, and oracles ask for one at every element. */
static inline bool same_name(const char *a, const char *b)
{
    while (*a && *a == *b) a++, b++;
    return *a == *b;
}

static int32_t field_index(const test_case *c, const char *field)
{
    const trine_op_info *info = trine_op_get_info(c->op);
    for (int32_t i = 0; i < info->field_count; i++)
        if (same_name(info->fields[i].name, field)) return i;
    fprintf(stderr, "trine: case '%s' names a tensor '%s' that the op lacks\n", c->name, field);
    exit(3);
}

static case_tensor *add_tensor(test_case *c, const char *field, trine_dtype dtype, int32_t ndim, const int64_t *shape)
{
    if (c->tensor_count == c->tensor_room || c->tensor_count == CASE_TENSORS) {
        fprintf(stderr, "trine: case '%s' has more tensors than it reserved\n", c->name);
        exit(3);
    }
    case_tensor *t = &c->tensor[c->tensor_count];
    *t = (case_tensor){.field = field_index(c, field)};
    for (int32_t k = 0; k < c->tensor_count; k++)
        if (c->tensor[k].field == t->field && c->tensor[k].item >= t->item) t->item = c->tensor[k].item + 1;
    c->tensor_count++;
    t->dtype = dtype;
    t->ndim = ndim;
    t->numel = 1;
    t->inplace_of = -1;
    for (int32_t d = 0; d < ndim; d++) t->numel *= t->shape[d] = shape[d];
    if (c->work < (double)t->numel) c->work = (double)t->numel;
    return t;
}

case_tensor *case_in(test_case *c, const char *field, trine_dtype dtype, int32_t ndim, const int64_t *shape)
{
    case_tensor *t = add_tensor(c, field, dtype, ndim, shape);
    case_set_fill(t, FILL_NORMAL, 0, 1);
    return t;
}

case_tensor *case_out(test_case *c, const char *field, trine_dtype dtype, int32_t ndim, const int64_t *shape)
{
    case_tensor *t = add_tensor(c, field, dtype, ndim, shape);
    t->output = true;
    return t;
}

case_tensor *case_update(test_case *c, const char *field, trine_dtype dtype, int32_t ndim, const int64_t *shape)
{
    case_tensor *t = case_in(c, field, dtype, ndim, shape);
    t->output = t->updated = true;
    return t;
}

void case_set_fill(case_tensor *t, case_fill fill, double a, double b)
{
    t->fill = fill;
    t->a = a;
    t->b = b;
}

const char *case_layout_name(case_layout layout)
{
    static const char *const names[] = {"dense", "offset", "padded", "strided", "transposed", "gapped", "apart", "random"};
    return names[layout];
}

void case_set_layout(test_case *c, case_layout layout)
{
    for (int32_t i = 0; i < c->tensor_count; i++) c->tensor[i].layout = layout;
    size_t used = strlen(c->name);
    if (layout != LAYOUT_DENSE) snprintf(c->name + used, sizeof c->name - used, " %s", case_layout_name(layout));
}

static int32_t tensor_index(const test_case *c, const char *field)
{
    const trine_op_info *info = trine_op_get_info(c->op);
    for (int32_t i = 0; i < c->tensor_count; i++)
        if (same_name(info->fields[c->tensor[i].field].name, field)) return i;
    field_index(c, field); /* which ends the program where the op has no such field */
    return -1;
}

const case_tensor *case_find_item(const test_case *c, const char *field, int32_t item)
{
    int32_t wanted = field_index(c, field);
    for (int32_t i = 0; i < c->tensor_count; i++)
        if (c->tensor[i].field == wanted && c->tensor[i].item == item) return &c->tensor[i];
    return NULL;
}

const char *case_tensor_name(const test_case *c, const case_tensor *t, char text[CASE_TEXT])
{
    const trine_op_field *field = &trine_op_get_info(c->op)->fields[t->field];
    if (field->flags & TRINE_FIELD_LIST)
        snprintf(text, CASE_TEXT, "%s[%d]", field->name, (int)t->item);
    else
        snprintf(text, CASE_TEXT, "%s", field->name);
    return text;
}

const case_tensor *case_find(const test_case *c, const char *field)
{
    int32_t i = tensor_index(c, field);
    return i < 0 ? NULL : &c->tensor[i];
}

void case_set_inplace(test_case *c, const char *out, const char *in)
{
    c->tensor[tensor_index(c, out)].inplace_of = tensor_index(c, in);
    size_t used = strlen(c->name);
    snprintf(c->name + used, sizeof c->name - used, " inplace");
}

/* half a unit in the last place, and half of the smallest subnormal */
static void add_rounding(trine_dtype dtype, double *rtol, double *atol)
{
    double rounding = 0, smallest = 0;
    if (dtype == TRINE_F16) rounding = 0x1p-11, smallest = 0x1p-25;
    if (dtype == TRINE_BF16) rounding = 0x1p-8, smallest = 0x1p-134;
    if (dtype == TRINE_F32) smallest = 0x1p-149;
    *rtol += rounding * (1 + *rtol);
    *atol = *atol * (1 + rounding) + smallest;
}

void case_tolerance(test_case *c, trine_dtype out_dtype, double f32_rtol, double f32_atol)
{
    c->rtol = f32_rtol;
    c->atol = f32_atol;
    add_rounding(out_dtype, &c->rtol, &c->atol);
}

void case_tensor_tolerance(case_tensor *t, double f32_rtol, double f32_atol)
{
    t->rtol = f32_rtol;
    t->atol = f32_atol;
    add_rounding(t->dtype, &t->rtol, &t->atol);
}

void case_count_bytes(test_case *c)
{
    c->bytes = 0;
    for (int32_t i = 0; i < c->tensor_count; i++)
        c->bytes += (c->tensor[i].updated ? 2.0 : 1.0) * (double)c->tensor[i].numel * trine_dtype_bits(c->tensor[i].dtype) / 8;
}

/* ---- Filling ---- */

/* Inlined where numbers are made by the million. */
static inline uint64_t hash(uint64_t seed, uint64_t index)
{
    uint64_t z = seed + 0x9e3779b97f4a7c15u * (index + 1);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t case_hash(uint64_t seed, uint64_t index) { return hash(seed, index); }

static double uniform01(uint64_t bits) { return (double)(bits >> 11) * 0x1p-53; }

/* What splits the standard normal law into equally likely parts: the middle of each, to a variance of 1/2. */
enum { QUANTILES = 4096 };
static double quantile[QUANTILES];

static void make_quantiles(void)
{
    double squares = 0;
    for (int k = 0; k < QUANTILES / 2; k++) {
        double low = -6, high = 0;
        for (int step = 0; step < 40; step++) {
            const double x = (low + high) / 2;
            *(0.5 * erfc(-x * 0.7071067811865476) < (k + 0.5) / QUANTILES ? &low : &high) = x;
        }
        quantile[k] = low;
        squares += 2 * low * low;
    }
    const double scale = sqrt(0.5 * QUANTILES / squares);
    for (int k = 0; k < QUANTILES / 2; k++) quantile[QUANTILES - 1 - k] = -(quantile[k] *= scale);
}

/* The sum of two: a tenth of the time of a logarithm and a cosine. */
static double standard_normal(uint64_t seed, uint64_t i)
{
    const uint64_t bits = hash(seed, i);
    return quantile[bits >> 52] + quantile[bits >> 40 & (QUANTILES - 1)];
}

/* One in so many is special. */
static double special_value(uint64_t seed, uint64_t i, uint64_t many)
{
    static const double values[] = {NAN, INFINITY, -INFINITY, 0, -0.0, 1e-40, -6e-8, 6e4, -3e38, 1, -1};
    uint64_t bits = case_hash(seed ^ 0x5bd1e995u, i);
    return bits % many ? standard_normal(seed, i) : values[bits / many % (sizeof values / sizeof values[0])];
}

static double fill_value(const case_tensor *t, uint64_t seed, uint64_t i)
{
    switch (t->fill) {
    case FILL_UNIFORM: return t->a + (t->b - t->a) * uniform01(case_hash(seed, i));
    case FILL_INTEGERS: return t->a + floor((t->b - t->a + 1) * uniform01(case_hash(seed, i)));
    case FILL_SORTED: return t->a + floor((t->b - t->a + 1) * (double)i / (double)t->numel * (double)i / (double)t->numel);
    case FILL_STEPS: return t->a + t->b * (double)i;
    case FILL_SPECIAL: return special_value(seed, i, t->a > 0 ? (uint64_t)t->a : 4);
    default: return t->a;
    }
}

static void fill_bits(const case_tensor *t, uint64_t seed)
{
    const size_t size = (size_t)trine_dtype_bits(t->dtype) / 8;
    for (int64_t i = 0; i < t->period; i++) {
        uint64_t bits = case_hash(seed, (uint64_t)i);
        if (t->dtype == TRINE_BOOL) bits &= 1;
        memcpy(t->data + (size_t)i * size, &bits, size); /* little-endian machines, as the GPUs are */
    }
}

static void fill_values(const case_tensor *t, uint64_t seed)
{
    enum { BLOCK = 512 };
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    double value[BLOCK];
    pthread_once(&once, make_quantiles);
    for (int64_t first = 0, n; first < t->period; first += n) {
        n = t->period - first < BLOCK ? t->period - first : BLOCK;
        if (t->fill == FILL_NORMAL)
            for (int64_t i = 0; i < n; i++) value[i] = t->a + t->b * standard_normal(seed, (uint64_t)(first + i));
        else
            for (int64_t i = 0; i < n; i++) value[i] = fill_value(t, seed, (uint64_t)(first + i));
        trine_convert(value, TRINE_F64, t->data + first * (trine_dtype_bits(t->dtype) / 8), t->dtype, n);
    }
}

bool case_prepare(test_case *c, int64_t repeat)
{
    for (int32_t k = 0; k < c->tensor_count; k++) {
        case_tensor *t = &c->tensor[k];
        if ((t->output && !t->updated) || t->data) continue;
        t->period = repeat && t->numel > repeat && t->fill != FILL_SORTED && t->fill != FILL_STEPS ? repeat : t->numel;
        t->data = malloc((size_t)(t->period ? t->period : 1) * (size_t)trine_dtype_bits(t->dtype) / 8);
        if (!t->data) return false;
        uint64_t seed = case_hash(c->seed, (uint64_t)k);
        if (t->fill == FILL_BITS)
            fill_bits(t, seed);
        else
            fill_values(t, seed);
        if (repeat) continue;
        t->values = malloc((size_t)t->numel * sizeof *t->values + 1);
        if (!t->values) return false;
        trine_convert(t->data, t->dtype, t->values, TRINE_F64, t->numel);
    }
    return true;
}

void case_release(test_case *c)
{
    for (int32_t k = 0; k < c->tensor_count; k++) {
        free(c->tensor[k].data);
        free(c->tensor[k].values);
        c->tensor[k].data = NULL;
        c->tensor[k].values = NULL;
    }
}

/* ---- Reading ---- */

const void *case_element(const case_tensor *t, int64_t i)
{
    return t->data + (i < t->period ? i : i % t->period) * (trine_dtype_bits(t->dtype) / 8);
}

void case_values(const case_tensor *t, int64_t first, int64_t n, double *to)
{
    if (t->values) {
        if (n > 0) memcpy(to, t->values + first, (size_t)n * sizeof *to);
        return;
    }
    for (int64_t done = 0, m; done < n; done += m) {
        const int64_t at = (first + done) % t->period;
        m = n - done < t->period - at ? n - done : t->period - at;
        trine_convert(case_element(t, at), t->dtype, to + done, TRINE_F64, m);
    }
}

double case_converted(const case_tensor *t, int64_t i)
{
    double value;
    trine_convert(case_element(t, i), t->dtype, &value, TRINE_F64, 1);
    return value;
}

int64_t case_value_i64(const case_tensor *t, int64_t i)
{
    const void *element = case_element(t, i);
    int64_t value;
    int32_t narrow;
    switch (t->dtype) { /* what indices and codes are; a call less for each */
    case TRINE_I64: memcpy(&value, element, sizeof value); break;
    case TRINE_I32: memcpy(&narrow, element, sizeof narrow), value = narrow; break;
    case TRINE_U8: value = *(const uint8_t *)element; break;
    default: trine_convert(element, t->dtype, &value, TRINE_I64, 1); break;
    }
    return value;
}

void case_unravel(const case_tensor *t, int64_t i, int64_t index[TRINE_MAX_DIMS])
{
    for (int32_t d = t->ndim - 1; d >= 0; d--) {
        index[d] = i % t->shape[d];
        i /= t->shape[d];
    }
}

int64_t case_ravel(const case_tensor *t, const int64_t index[TRINE_MAX_DIMS])
{
    int64_t i = 0;
    for (int32_t d = 0; d < t->ndim; d++) i = i * t->shape[d] + index[d];
    return i;
}

int64_t case_broadcast_index(const case_tensor *from, const case_tensor *to, int64_t i)
{
    int64_t index[TRINE_MAX_DIMS], own[TRINE_MAX_DIMS];
    case_unravel(to, i, index);
    for (int32_t d = 0; d < from->ndim; d++) own[d] = from->shape[d] == 1 ? 0 : index[d + to->ndim - from->ndim];
    return case_ravel(from, own);
}
