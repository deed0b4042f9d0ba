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

/* What a tensor covers, from one walk over its axes. */
typedef struct extent {
    int64_t numel, reach; /* elements, and from the first to the last in memory; 0 of an empty tensor */
    bool steps;           /* each axis steps over all that those behind it cover: no address twice */
} extent;

/* False where a size or a stride is negative or a product leaves 64 bits. */
static inline bool measure(const trine_tensor *t, extent *e)
{
    int64_t numel = 1, reach = 1, part;
    bool out = false, empty = false, steps = true;
    for (int32_t d = t->ndim - 1; d >= 0; d--) {
        const int64_t size = t->shape[d], stride = t->stride[d];
        if ((size | stride) < 0) return false;
        empty |= size == 0;
        out |= __builtin_mul_overflow(numel, size, &numel);
        if (size <= 1) continue;
        steps &= stride >= reach;
        out |= __builtin_mul_overflow(size - 1, stride, &part);
        out |= __builtin_add_overflow(reach, part, &reach);
    }
    *e = empty ? (extent){0, 0, true} : (extent){numel, reach, steps};
    return empty || !out;
}

/* The bytes that a tensor spans; none: 0 to 0. */
typedef struct span {
    uintptr_t begin, end;
} span;

/* Of all tensors, in the order of the fields. */
typedef struct spans {
    span *at;
    int32_t n;
    bool steps;        /* of all outputs */
    trine_dtype dtype; /* of the tensor before, */
    int32_t bits;      /* and its bits: asking for each would be a good part of a long list's time */
} spans;

static trine_status bad_extent(const trine_check *check, const trine_op_field *field, int32_t i, const trine_tensor *t)
{
    for (int32_t d = 0; d < t->ndim; d++) {
        if (t->shape[d] < 0) return trine_bad(check, NAME(field, i), "axis %d has the size %lld", (int)d, (long long)t->shape[d]);
        if (t->stride[d] < 0)
            return trine_bad(check, NAME(field, i), "axis %d has the stride %lld", (int)d, (long long)t->stride[d]);
    }
    return trine_bad(check, NAME(field, i), "its size overflows 64 bits");
}

static trine_status check_tensor(const trine_check *check, const trine_op_field *field, int32_t i, const trine_tensor *t,
                                 spans *all)
{
    extent e;
    int64_t bytes;
    span *const to = &all->at[all->n++];
    *to = (span){0, 0};
    if (t->dtype == TRINE_DTYPE_NONE)
        return field->flags & TRINE_FIELD_OPTIONAL ? TRINE_OK : trine_bad(check, NAME(field, i), "is not given");
    if ((unsigned)t->dtype >= TRINE_DTYPE_COUNT) return trine_bad(check, NAME(field, i), "%d is no dtype", (int)t->dtype);
    if (t->ndim < 0 || t->ndim > TRINE_MAX_DIMS)
        return trine_bad(check, NAME(field, i), "%d axes are not 0 to %d", (int)t->ndim, (int)TRINE_MAX_DIMS);
    if (t->dtype != all->dtype) {
        all->dtype = t->dtype;
        all->bits = trine_dtype_bits(t->dtype);
    }
    const int32_t bits = all->bits, size = (bits + 7) / 8; /* a power of two */
    if (!measure(t, &e)) return bad_extent(check, field, i, t);
    if (__builtin_mul_overflow(bits == 4 ? e.reach / 2 + e.reach % 2 : e.reach, size, &bytes))
        return bad_extent(check, field, i, t);
    if (e.numel > 0 && !t->data && !check->query) return trine_bad(check, NAME(field, i), "data is NULL");
    if ((uintptr_t)t->data & (uintptr_t)(size - 1)) return trine_bad(check, NAME(field, i), "data is not aligned to its dtype");
    if (e.numel > 0 && t->data) *to = (span){(uintptr_t)t->data, (uintptr_t)t->data + (uintptr_t)bytes};
    if (field->flags & TRINE_FIELD_OUT) all->steps &= e.steps;
    return TRINE_OK;
}

static trine_status check_count(const trine_check *check, const trine_op_field *field, const void *args)
{
    const int32_t count = trine_field_count(args, field);
    if (count < 0 || count > TRINE_LIST_MAX)
        return trine_bad(check, field->name, "%d tensors are not 0 to %d", (int)count, (int)TRINE_LIST_MAX);
    return count > 0 && !trine_field_tensor(args, field, 0) ? trine_bad(check, field->name, "is NULL") : TRINE_OK;
}

static trine_status check_tensors(const trine_check *check, const trine_op_info *info, const void *args, spans *all)
{
    all->n = 0;
    all->steps = true;
    all->dtype = TRINE_DTYPE_NONE;
    for (int32_t f = 0; f < info->field_count; f++) {
        const trine_op_field *field = &info->fields[f];
        const int32_t count = trine_field_count(args, field);
        for (int32_t i = 0; i < count; i++) TRY(check_tensor(check, field, i, trine_field_tensor(args, field, i), all));
    }
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

/* `a` is the number `of_a` among all tensors. */
static bool disjoint(const spans *all, int32_t of_a, const trine_tensor *a, int32_t of_b, const trine_tensor *b)
{
    const span x = all->at[of_a], y = all->at[of_b];
    return x.end <= y.begin || y.end <= x.begin || interleave(a, b) || interleave(b, a);
}

/* Tensor i of a field, which is the number `at` among all. */
static trine_status check_output(const trine_check *check, const trine_op_info *info, const void *args,
                                 const trine_op_field *field, int32_t i, const spans *all, int32_t at)
{
    const trine_tensor *t = trine_field_tensor(args, field, i);
    int32_t number = 0;
    if (all->at[at].end == all->at[at].begin) return TRINE_OK;
    for (int32_t f = 0; f < info->field_count; f++) {
        const trine_op_field *other = &info->fields[f];
        for (int32_t j = 0; j < trine_field_count(args, other); j++, number++) {
            const trine_tensor *o = trine_field_tensor(args, other, j);
            if (number == at || disjoint(all, at, t, number, o)) continue;
            if ((field->flags & TRINE_FIELD_INPLACE) && !(other->flags & TRINE_FIELD_OUT) && same_view(t, o)) continue;
            return trine_bad(check, NAME(field, i), "overlaps %s%s", NAME(other, j),
                             field->flags & TRINE_FIELD_INPLACE ? " without being the same view"
                                                                : ", and this op does not work in place");
        }
    }
    return TRINE_OK;
}

/* By address; Shell's sort, since nothing is allocated here. */
static void sort_by_address(span *s, int32_t n)
{
    for (int32_t gap = n / 2; gap > 0; gap = gap == 2 ? 1 : gap * 5 / 11)
        for (int32_t i = gap; i < n; i++) {
            const span moved = s[i];
            int32_t j = i;
            for (; j >= gap && s[j - gap].begin > moved.begin; j -= gap) s[j] = s[j - gap];
            s[j] = moved;
        }
}

/* Spans that rise by address: where each run's next one is and begins, and where the run ends. */
enum { RUNS = 8 };
typedef struct runs {
    int32_t n, next[RUNS], end[RUNS];
    uintptr_t begin[RUNS];
} runs;

/* Leaves out what is empty. Callers often have each list in order: then it is a run. False if there are more runs than have room. */
static bool find_runs(spans *all, runs *r)
{
    int32_t n = 0;
    uintptr_t before = UINTPTR_MAX;
    r->n = 0;
    for (int32_t i = 0; i < all->n; i++) {
        const span s = all->at[i];
        if (s.begin == s.end) continue;
        if (s.begin < before) {
            if (r->n < RUNS) r->next[r->n] = n;
            r->n++;
        }
        before = s.begin;
        all->at[n++] = s;
    }
    all->n = n;
    if (r->n > RUNS) return false;
    for (int32_t k = 0; k < r->n; k++) {
        r->begin[k] = all->at[r->next[k]].begin;
        r->end[k] = k + 1 < r->n ? r->next[k + 1] : n;
    }
    return true;
}

/* True if no two of all tensors share a byte of what they span: then the pairs, of which lists have very many, need no look. The
 * spans lose their order. */
static bool all_apart(spans *all)
{
    runs r;
    uintptr_t end = 0;
    if (!find_runs(all, &r)) {
        sort_by_address(all->at, all->n);
        find_runs(all, &r);
    }
    while (r.n > 0) { /* the lowest of all runs */
        int32_t low = 0;
        for (int32_t k = 1; k < r.n; k++) low = r.begin[k] < r.begin[low] ? k : low;
        const span s = all->at[r.next[low]++];
        if (s.begin < end) return false;
        end = s.end;
        if (r.next[low] < r.end[low]) {
            r.begin[low] = all->at[r.next[low]].begin;
        } else { /* the last run takes its place */
            r.n--;
            r.begin[low] = r.begin[r.n];
            r.next[low] = r.next[r.n];
            r.end[low] = r.end[r.n];
        }
    }
    return true;
}

/* apart: no two of all tensors share a byte. */
static trine_status check_outputs(const trine_check *check, const trine_op_info *info, const void *args, const spans *all,
                                  bool apart)
{
    int32_t number = 0;
    if (apart && all->steps) return TRINE_OK;
    for (int32_t f = 0; f < info->field_count; f++) {
        const trine_op_field *field = &info->fields[f];
        const int32_t count = trine_field_count(args, field), first = number;
        number += count;
        for (int32_t i = 0; field->flags & TRINE_FIELD_OUT && i < count; i++) {
            const trine_tensor *t = trine_field_tensor(args, field, i);
            if (!all->steps && trine_is_given(t) && trine_tensor_numel(t) > 0 && overlaps_itself(t))
                return trine_bad(check, NAME(field, i), "its strides make it overlap itself");
            if (!apart) TRY(check_output(check, info, args, field, i, all, first + i));
        }
    }
    return TRINE_OK;
}

enum { FEW = 12 }; /* tensors whose pairs are looked at sooner than they are sorted */

static trine_status check_few(const trine_check *check, const trine_op_desc *desc, const void *args)
{
    span at[FEW];
    spans all = {.at = at};
    TRY(check_tensors(check, &desc->info, args, &all));
    TRY(desc->check(check, args));
    return check_outputs(check, &desc->info, args, &all, false);
}

static trine_status check_many(const trine_check *check, const trine_op_desc *desc, const void *args)
{
    enum { MOST = 7 * TRINE_LIST_MAX }; /* no op has more lists */
    span at[MOST];
    spans all = {.at = at};
    if (trine_args_tensors(&desc->info, args) > MOST) return trine_bad(check, "args", "has more than %d tensors", (int)MOST);
    TRY(check_tensors(check, &desc->info, args, &all));
    TRY(desc->check(check, args));
    const bool apart = all_apart(&all);
    if (!apart) TRY(check_tensors(check, &desc->info, args, &all)); /* the spans in their order again */
    return check_outputs(check, &desc->info, args, &all, apart);
}

trine_status trine_check_args(trine_op op, const char *backend, const void *args, bool query)
{
    const trine_op_desc *desc = trine_op_descs[op];
    const trine_check check = {backend, desc->info.name, query};
    if (!args) return trine_bad(&check, "args", "is NULL");
    for (int32_t f = 0; f < desc->info.field_count; f++) TRY(check_count(&check, &desc->info.fields[f], args));
    return trine_args_tensors(&desc->info, args) > FEW ? check_many(&check, desc, args) : check_few(&check, desc, args);
}
