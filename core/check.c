/* What every op's arguments must satisfy, from the description of its tensors alone: given or optional, well-formed, in range,
 * aligned, outputs that overlap nothing. The rest is in check/<family>.c. */
#include "core/check.h"
#include "core/fields.h"

trine_status trine_bad(const trine_check *check, const char *argument, const char *format, ...)
{
    char reason[512];
    va_list list;
    va_start(list, format);
    vsnprintf(reason, sizeof reason, format, list);
    va_end(list);
    return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "%s: %s: %s: %s", check->backend, check->op, argument, reason);
}

static const char *shape_text(const trine_tensor *t, char text[160])
{
    int used = snprintf(text, 160, "[");
    for (int32_t d = 0; d < t->ndim; d++)
        used += snprintf(text + used, 160 - (size_t)used, d ? ",%lld" : "%lld", (long long)t->shape[d]);
    snprintf(text + used, 160 - (size_t)used, "]");
    return text;
}

trine_status trine_check_dtype(const trine_check *check, const char *name, const trine_tensor *t, unsigned allowed)
{
    if (allowed >> t->dtype & 1u) return TRINE_OK;
    char list[160] = "";
    for (int i = 1, used = 0; i < TRINE_DTYPE_COUNT; i++)
        if (allowed >> i & 1u)
            used += snprintf(list + used, sizeof list - (size_t)used, used ? ", %s" : "%s", trine_dtype_name((trine_dtype)i));
    return trine_bad(check, name, "dtype %s is none of %s", trine_dtype_name(t->dtype), list);
}

trine_status trine_check_same_dtype(const trine_check *check, const char *name, const trine_tensor *t, const char *than,
                                    const trine_tensor *other)
{
    if (t->dtype == other->dtype) return TRINE_OK;
    return trine_bad(check, name, "dtype %s differs from %s's %s", trine_dtype_name(t->dtype), than,
                     trine_dtype_name(other->dtype));
}

trine_status trine_check_same_shape(const trine_check *check, const char *name, const trine_tensor *t, const char *than,
                                    const trine_tensor *other)
{
    char a[160], b[160];
    bool same = t->ndim == other->ndim;
    for (int32_t d = 0; same && d < t->ndim; d++) same = t->shape[d] == other->shape[d];
    return same ? TRINE_OK
                : trine_bad(check, name, "shape %s differs from %s's %s", shape_text(t, a), than, shape_text(other, b));
}

trine_status trine_check_broadcasts(const trine_check *check, const char *name, const trine_tensor *t, const char *to_name,
                                    const trine_tensor *to)
{
    char a[160], b[160];
    bool fits = t->ndim <= to->ndim;
    for (int32_t d = 0; fits && d < t->ndim; d++) {
        int64_t wanted = to->shape[d + to->ndim - t->ndim];
        fits = t->shape[d] == wanted || t->shape[d] == 1;
    }
    return fits ? TRINE_OK
                : trine_bad(check, name, "shape %s does not broadcast to %s's %s", shape_text(t, a), to_name, shape_text(to, b));
}

trine_status trine_check_ndim_at_least(const trine_check *check, const char *name, const trine_tensor *t, int32_t ndim)
{
    return t->ndim >= ndim ? TRINE_OK : trine_bad(check, name, "has %d axes and needs at least %d", (int)t->ndim, (int)ndim);
}

trine_status trine_check_is_vector(const trine_check *check, const char *name, const trine_tensor *t, int64_t length)
{
    char a[160];
    if (t->ndim != 1 || t->shape[0] != length)
        return trine_bad(check, name, "shape %s is not [%lld]", shape_text(t, a), (long long)length);
    return length <= 1 || t->stride[0] == 1 ? TRINE_OK : trine_bad(check, name, "stride %lld is not 1", (long long)t->stride[0]);
}

/* ---- Generic checks ---- */

const char *trine_item_name(const char *list, int32_t i, trine_item_text text)
{
    snprintf(text, sizeof(trine_item_text), "%s[%d]", list, (int)i);
    return text;
}

/* "x", or "x[3]" of a list; only where there is something to tell. */
#define NAME(field, i) \
    ((field)->flags & TRINE_FIELD_LIST ? trine_item_name((field)->name, (i), (trine_item_text){0}) : (field)->name)

static trine_status check_tensor(const trine_check *check, const trine_op_field *field, int32_t i, const trine_tensor *t)
{
    if (t->dtype == TRINE_DTYPE_NONE)
        return field->flags & TRINE_FIELD_OPTIONAL ? TRINE_OK : trine_bad(check, NAME(field, i), "is not given");
    if ((unsigned)t->dtype >= TRINE_DTYPE_COUNT) return trine_bad(check, NAME(field, i), "%d is no dtype", (int)t->dtype);
    if (t->ndim < 0 || t->ndim > TRINE_MAX_DIMS)
        return trine_bad(check, NAME(field, i), "%d axes are not 0 to %d", (int)t->ndim, (int)TRINE_MAX_DIMS);
    for (int32_t d = 0; d < t->ndim; d++) {
        if (t->shape[d] < 0) return trine_bad(check, NAME(field, i), "axis %d has the size %lld", (int)d, (long long)t->shape[d]);
        if (t->stride[d] < 0)
            return trine_bad(check, NAME(field, i), "axis %d has the stride %lld", (int)d, (long long)t->stride[d]);
    }
    int64_t numel = trine_tensor_numel(t);
    if (numel < 0 || trine_tensor_extent_bytes(t) < 0) return trine_bad(check, NAME(field, i), "its size overflows 64 bits");
    if (numel > 0 && !t->data && !check->query) return trine_bad(check, NAME(field, i), "data is NULL");
    if ((uintptr_t)t->data % (size_t)((trine_dtype_bits(t->dtype) + 7) / 8))
        return trine_bad(check, NAME(field, i), "data is not aligned to its dtype");
    return TRINE_OK;
}

static trine_status check_field(const trine_check *check, const trine_op_field *field, const void *args)
{
    const int32_t count = trine_field_count(args, field);
    if (count < 0 || count > TRINE_LIST_MAX)
        return trine_bad(check, field->name, "%d tensors are not 0 to %d", (int)count, (int)TRINE_LIST_MAX);
    if (count > 0 && !trine_field_tensor(args, field, 0)) return trine_bad(check, field->name, "is NULL");
    for (int32_t i = 0; i < count; i++) TRY(check_tensor(check, field, i, trine_field_tensor(args, field, i)));
    return TRINE_OK;
}

/* True if two indices of the view may give one address: an axis must step over all that the axes inside it cover. */
static bool overlaps_itself(const trine_tensor *t)
{
    int32_t order[TRINE_MAX_DIMS], n = 0;
    for (int32_t d = 0; d < t->ndim; d++) {
        if (t->shape[d] <= 1) continue;
        int32_t j = n++;
        for (; j > 0 && t->stride[order[j - 1]] > t->stride[d]; j--) order[j] = order[j - 1];
        order[j] = d;
    }
    int64_t covered = 1;
    for (int32_t i = 0; i < n; i++) {
        if (t->stride[order[i]] < covered) return true;
        covered += t->stride[order[i]] * (t->shape[order[i]] - 1);
    }
    return false;
}

static bool same_view(const trine_tensor *a, const trine_tensor *b)
{
    bool same = a->data == b->data && a->dtype == b->dtype && a->ndim == b->ndim;
    for (int32_t d = 0; same && d < a->ndim; d++)
        same = a->shape[d] == b->shape[d] && (a->shape[d] == 1 || a->stride[d] == b->stride[d]);
    return same;
}

/* Bytes that a view covers from where it begins, modulo `period` bytes: axes that step by whole periods add nothing. */
static int64_t width_within(const trine_tensor *t, int64_t period)
{
    int64_t size = trine_dtype_bits(t->dtype) / 8, width = size;
    for (int32_t d = 0; d < t->ndim; d++)
        if (t->shape[d] > 1 && t->stride[d] * size % period != 0) width += t->stride[d] * size * (t->shape[d] - 1);
    return width;
}

/* Two views that interleave, as the column blocks of one matrix do, or a vector in the gaps between its rows: modulo a stride of
 * `a` they cover different bytes. */
static bool interleave(const trine_tensor *a, const trine_tensor *b)
{
    int64_t size = trine_dtype_bits(a->dtype) / 8;
    for (int32_t d = 0; d < a->ndim; d++) {
        int64_t period = a->stride[d] * size;
        if (period == 0 || a->shape[d] <= 1) continue;
        int64_t a_width = width_within(a, period), b_width = width_within(b, period);
        int64_t distance = ((intptr_t)b->data - (intptr_t)a->data) % period;
        if (distance < 0) distance += period;
        if (a_width <= distance && distance + b_width <= period) return true;
    }
    return false;
}

static bool disjoint(const trine_tensor *a, const trine_tensor *b)
{
    if (!a->data || !b->data || trine_tensor_numel(a) == 0 || trine_tensor_numel(b) == 0) return true;
    uintptr_t a0 = (uintptr_t)a->data, b0 = (uintptr_t)b->data;
    uintptr_t a1 = a0 + (uintptr_t)trine_tensor_extent_bytes(a), b1 = b0 + (uintptr_t)trine_tensor_extent_bytes(b);
    return a1 <= b0 || b1 <= a0 || interleave(a, b) || interleave(b, a);
}

static trine_status check_output(const trine_check *check, const trine_op_info *info, const void *args,
                                 const trine_op_field *field, int32_t i)
{
    const trine_tensor *t = trine_field_tensor(args, field, i);
    if (!trine_is_given(t) || trine_tensor_numel(t) == 0) return TRINE_OK;
    for (int32_t f = 0; f < info->field_count; f++) {
        const trine_op_field *other = &info->fields[f];
        for (int32_t j = 0; j < trine_field_count(args, other); j++) {
            const trine_tensor *o = trine_field_tensor(args, other, j);
            if ((other == field && j == i) || !trine_is_given(o) || disjoint(t, o)) continue;
            if ((field->flags & TRINE_FIELD_INPLACE) && !(other->flags & TRINE_FIELD_OUT) && same_view(t, o)) continue;
            return trine_bad(check, NAME(field, i), "overlaps %s%s", NAME(other, j),
                             field->flags & TRINE_FIELD_INPLACE ? " without being the same view"
                                                                : ", and this op does not work in place");
        }
    }
    return TRINE_OK;
}

/* By address; Shell's sort, since nothing is allocated here and callers often have them in order. */
static void sort_by_address(const trine_tensor **t, int32_t n)
{
    for (int32_t gap = n / 2; gap > 0; gap = gap == 2 ? 1 : gap * 5 / 11)
        for (int32_t i = gap; i < n; i++) {
            const trine_tensor *moved = t[i];
            int32_t j = i;
            for (; j >= gap && (uintptr_t)t[j - gap]->data > (uintptr_t)moved->data; j -= gap) t[j] = t[j - gap];
            t[j] = moved;
        }
}

/* True if no two of all tensors share a byte of what they span: then the pairs, of which lists have very many, need no look. */
static bool all_apart(const trine_op_info *info, const void *args)
{
    enum { MOST = 6 * TRINE_LIST_MAX };
    const trine_tensor *t[MOST];
    int32_t n = 0;
    if (trine_args_tensors(info, args) > MOST) return false;
    for (int32_t f = 0; f < info->field_count; f++)
        for (int32_t i = 0; i < trine_field_count(args, &info->fields[f]); i++) {
            const trine_tensor *one = trine_field_tensor(args, &info->fields[f], i);
            if (trine_is_given(one) && one->data && trine_tensor_numel(one) > 0) t[n++] = one;
        }
    sort_by_address(t, n);
    uintptr_t end = 0;
    for (int32_t i = 0; i < n; i++) {
        if ((uintptr_t)t[i]->data < end) return false;
        end = (uintptr_t)t[i]->data + (uintptr_t)trine_tensor_extent_bytes(t[i]);
    }
    return true;
}

static trine_status check_outputs(const trine_check *check, const trine_op_info *info, const void *args)
{
    enum { FEW = 12 }; /* whose pairs are looked at sooner than they are sorted */
    const bool apart = trine_args_tensors(info, args) > FEW && all_apart(info, args);
    for (int32_t f = 0; f < info->field_count; f++) {
        const trine_op_field *field = &info->fields[f];
        for (int32_t i = 0; field->flags & TRINE_FIELD_OUT && i < trine_field_count(args, field); i++) {
            const trine_tensor *t = trine_field_tensor(args, field, i);
            if (trine_is_given(t) && trine_tensor_numel(t) > 0 && overlaps_itself(t))
                return trine_bad(check, NAME(field, i), "its strides make it overlap itself");
            if (!apart) TRY(check_output(check, info, args, field, i));
        }
    }
    return TRINE_OK;
}

trine_status trine_check_args(trine_op op, const char *backend, const void *args, bool query)
{
    const trine_op_desc *desc = trine_op_descs[op];
    const trine_check check = {backend, desc->info.name, query};
    if (!args) return trine_bad(&check, "args", "is NULL");
    for (int32_t f = 0; f < desc->info.field_count; f++) TRY(check_field(&check, &desc->info.fields[f], args));
    TRY(desc->check(&check, args));
    return check_outputs(&check, &desc->info, args);
}
