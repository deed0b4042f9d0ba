/* Views: making them, cutting them, and how much memory they cover. No arithmetic here may overflow. */
#include "trine/tensor.h"

#include <stdbool.h>

static trine_tensor invalid_tensor(void) { return (trine_tensor){.ndim = -1}; }

static bool has_valid_ndim(const trine_tensor *t) { return t && t->ndim >= 0 && t->ndim <= TRINE_MAX_DIMS; }

static bool is_negative(const trine_tensor *t)
{
    bool negative = false;
    for (int32_t i = 0; i < t->ndim; i++) negative |= t->shape[i] < 0;
    return negative;
}

static bool is_empty(const trine_tensor *t)
{
    bool empty = false;
    for (int32_t i = 0; i < t->ndim; i++) empty |= t->shape[i] == 0;
    return empty;
}

/* Strides step over empty axes as if these had one element, because 0 would mean "repeats"; they stop at INT64_MAX, where
 * numel is -1 (or 0) anyway. */
trine_tensor trine_tensor_make(void *data, trine_dtype dtype, int32_t ndim, const int64_t *shape)
{
    if (ndim < 0 || ndim > TRINE_MAX_DIMS || (ndim > 0 && !shape)) return invalid_tensor();
    trine_tensor t = {.data = data, .dtype = dtype, .ndim = ndim};
    int64_t stride = 1;
    for (int32_t i = ndim - 1; i >= 0; i--) {
        t.shape[i] = shape[i];
        t.stride[i] = stride;
        if (shape[i] > 1 && __builtin_mul_overflow(stride, shape[i], &stride)) stride = INT64_MAX;
    }
    return t;
}

trine_tensor trine_tensor_1d(void *data, trine_dtype dtype, int64_t n) { return trine_tensor_make(data, dtype, 1, &n); }

trine_tensor trine_tensor_2d(void *data, trine_dtype dtype, int64_t rows, int64_t cols)
{
    return trine_tensor_make(data, dtype, 2, (const int64_t[]){rows, cols});
}

trine_tensor trine_tensor_3d(void *data, trine_dtype dtype, int64_t d0, int64_t d1, int64_t d2)
{
    return trine_tensor_make(data, dtype, 3, (const int64_t[]){d0, d1, d2});
}

trine_tensor trine_tensor_4d(void *data, trine_dtype dtype, int64_t d0, int64_t d1, int64_t d2, int64_t d3)
{
    return trine_tensor_make(data, dtype, 4, (const int64_t[]){d0, d1, d2, d3});
}

/* The axis counted from 0, -1 if the tensor has no such one. */
static int32_t resolve_axis(const trine_tensor *t, int32_t axis)
{
    if (!has_valid_ndim(t) || axis >= t->ndim || axis < -t->ndim) return -1;
    return axis < 0 ? axis + t->ndim : axis;
}

static void swap(int64_t *a, int64_t *b)
{
    int64_t old = *a;
    *a = *b;
    *b = old;
}

/* Also ndim -1 for axes out of range. */
trine_tensor trine_tensor_swap_axes(trine_tensor t, int32_t axis_a, int32_t axis_b)
{
    int32_t a = resolve_axis(&t, axis_a), b = resolve_axis(&t, axis_b);
    if (a < 0 || b < 0) return invalid_tensor();
    swap(&t.shape[a], &t.shape[b]);
    swap(&t.stride[a], &t.stride[b]);
    return t;
}

/* Bytes that n elements take, 4-bit codes rounded up to whole bytes; false on overflow. */
static bool bytes_of(int64_t n, trine_dtype dtype, int64_t *bytes)
{
    int32_t bits = trine_dtype_bits(dtype);
    if (bits == 4) return !__builtin_add_overflow(n / 2, n % 2, bytes);
    return !__builtin_mul_overflow(n, bits / 8, bytes);
}

/* Moves data by n elements; false if that isn't a whole number of bytes, or overflows. NULL stays NULL: a view for a query. */
static bool advance(trine_tensor *t, int64_t n)
{
    int64_t bytes;
    if (t->dtype == TRINE_NF4 && n % 2 != 0) return false;
    if (!bytes_of(n, t->dtype, &bytes)) return false;
    if (t->data) t->data = (char *)t->data + bytes;
    return true;
}

/* The axis may count from the end, as above. An empty result keeps data where it was. */
trine_tensor trine_tensor_slice(trine_tensor t, int32_t axis, int64_t begin, int64_t end, int64_t step)
{
    int32_t a = resolve_axis(&t, axis);
    if (a < 0 || begin < 0 || begin > end || end > t.shape[a] || step < 1) return invalid_tensor();
    int64_t length = end - begin, offset;
    t.shape[a] = length / step + (length % step != 0);
    if (__builtin_mul_overflow(begin, t.stride[a], &offset)) return invalid_tensor();
    if (t.shape[a] > 1 && __builtin_mul_overflow(t.stride[a], step, &t.stride[a])) return invalid_tensor();
    if (!is_empty(&t) && !advance(&t, offset)) return invalid_tensor();
    return t;
}

int64_t trine_tensor_numel(const trine_tensor *t)
{
    if (!has_valid_ndim(t) || is_negative(t)) return -1;
    if (is_empty(t)) return 0;
    int64_t n = 1;
    for (int32_t i = 0; i < t->ndim; i++)
        if (__builtin_mul_overflow(n, t->shape[i], &n)) return -1;
    return n;
}

/* Also -1 for what no op takes: a bad ndim, a negative shape, a negative stride that is used. */
int64_t trine_tensor_extent_bytes(const trine_tensor *t)
{
    if (!has_valid_ndim(t) || is_negative(t)) return -1;
    if (is_empty(t)) return 0;
    int64_t n = 1, bytes;
    for (int32_t i = 0; i < t->ndim; i++) {
        int64_t reach;
        if (t->shape[i] > 1 && t->stride[i] < 0) return -1;
        if (__builtin_mul_overflow(t->shape[i] - 1, t->stride[i], &reach) || __builtin_add_overflow(n, reach, &n)) return -1;
    }
    return bytes_of(n, t->dtype, &bytes) ? bytes : -1;
}

int trine_tensor_is_contiguous(const trine_tensor *t)
{
    int64_t n = trine_tensor_numel(t), expected = 1;
    if (n <= 0) return n == 0; /* no elements, no gaps */
    for (int32_t i = t->ndim - 1; i >= 0; i--) {
        if (t->shape[i] == 1) continue;
        if (t->stride[i] != expected) return 0;
        expected *= t->shape[i];
    }
    return 1;
}
