#include "core/check.h"
#include "core/taken.h"

static const trine_op_field transpose_fields[] = {FIELD(trine_transpose_args, x, IN), FIELD(trine_transpose_args, y, OUT)};
static const trine_op_field permute_fields[] = {FIELD(trine_permute_args, x, IN), FIELD(trine_permute_args, y, OUT)};

static trine_status check_transpose(const trine_check *check, const void *args)
{
    const trine_transpose_args *a = args;
    TRY(trine_check_dtype(check, "x", &a->x, DT_ANY));
    TRY(trine_check_same_dtype(check, "y", &a->y, "x", &a->x));
    TRY(trine_check_ndim_at_least(check, "x", &a->x, 2));
    trine_tensor wanted = trine_tensor_swap_axes(a->x, -1, -2);
    return trine_check_same_shape(check, "y", &a->y, "transposed x", &wanted);
}

static trine_status check_permute(const trine_check *check, const void *args)
{
    const trine_permute_args *a = args;
    TRY(trine_check_dtype(check, "x", &a->x, DT_ANY));
    TRY(trine_check_same_dtype(check, "y", &a->y, "x", &a->x));
    trine_tensor wanted = a->x;
    unsigned seen = 0;
    for (int32_t d = 0; d < a->x.ndim; d++) {
        if (a->axes[d] < 0 || a->axes[d] >= a->x.ndim || (seen >> a->axes[d] & 1u))
            return trine_bad(check, "axes", "is no permutation of 0 to %d", (int)a->x.ndim - 1);
        seen |= 1u << a->axes[d];
        wanted.shape[d] = a->x.shape[a->axes[d]];
    }
    return trine_check_same_shape(check, "y", &a->y, "permuted x", &wanted);
}

/* Fields of an array of optional tensors. */
#define ELEMENT(type, name, i, flags) \
    { \
#name #i, offsetof(type, name) + (i) * sizeof(trine_tensor), (flags) \
    }
#define ELEMENTS(type, name, flags) \
    ELEMENT(type, name, 0, flags), ELEMENT(type, name, 1, (flags) | OPTIONAL), ELEMENT(type, name, 2, (flags) | OPTIONAL), \
        ELEMENT(type, name, 3, (flags) | OPTIONAL), ELEMENT(type, name, 4, (flags) | OPTIONAL), \
        ELEMENT(type, name, 5, (flags) | OPTIONAL), ELEMENT(type, name, 6, (flags) | OPTIONAL), \
        ELEMENT(type, name, 7, (flags) | OPTIONAL)

static const trine_op_field concat_fields[] = {ELEMENTS(trine_concat_args, x, IN), FIELD(trine_concat_args, y, OUT)};
static const trine_op_field split_fields[] = {FIELD(trine_split_args, x, IN), ELEMENTS(trine_split_args, y, OUT)};

/* Counts the axis from 0. */
static trine_status check_axis(const trine_check *check, const char *of, const trine_tensor *t, int32_t *axis)
{
    if (*axis < -t->ndim || *axis >= t->ndim)
        return trine_bad(check, "axis", "%d is outside %s's %d axes", (int)*axis, of, (int)t->ndim);
    if (*axis < 0) *axis += t->ndim;
    return TRINE_OK;
}

/* parts lie one after the other in `whole`. */
static trine_status check_parts(const trine_check *check, const char *whole_name, const trine_tensor *whole,
                                const char *part_name, const trine_tensor parts[TRINE_CONCAT_MAX], int32_t axis)
{
    trine_tensor wanted = *whole;
    TRY(trine_check_dtype(check, whole_name, whole, DT_ANY));
    TRY(check_axis(check, whole_name, whole, &axis));
    int64_t sum = 0;
    for (int i = 0; i < TRINE_CONCAT_MAX; i++) {
        const char name[] = {part_name[0], (char)('0' + i), '\0'};
        if (!trine_is_given(&parts[i])) continue;
        TRY(trine_check_same_dtype(check, name, &parts[i], whole_name, whole));
        wanted.shape[axis] = parts[i].ndim == whole->ndim ? parts[i].shape[axis] : -1;
        TRY(trine_check_same_shape(check, name, &parts[i], whole_name, &wanted));
        sum += wanted.shape[axis];
    }
    return sum == whole->shape[axis] ? TRINE_OK
                                     : trine_bad(check, whole_name, "has %lld along the axis where the parts have %lld",
                                                 (long long)whole->shape[axis], (long long)sum);
}

static trine_status check_concat(const trine_check *check, const void *args)
{
    const trine_concat_args *a = args;
    return check_parts(check, "y", &a->y, "x", a->x, a->axis);
}

static trine_status check_split(const trine_check *check, const void *args)
{
    const trine_split_args *a = args;
    return check_parts(check, "x", &a->x, "y", a->y, a->axis);
}

/* ---- By ids ---- */

static const trine_op_field gather_fields[] = {FIELD(trine_gather_args, x, IN), FIELD(trine_gather_args, ids, IN),
                                               FIELD(trine_gather_args, y, OUT)};
static const trine_op_field scatter_add_fields[] = {
    FIELD(trine_scatter_add_args, x, IN | OPTIONAL), FIELD(trine_scatter_add_args, ids, IN),
    FIELD(trine_scatter_add_args, src, IN), FIELD(trine_scatter_add_args, y, OUT | INPLACE)};
static const trine_op_field embedding_fields[] = {FIELD(trine_embedding_args, weight, IN), FIELD(trine_embedding_args, ids, IN),
                                                  FIELD(trine_embedding_args, y, OUT)};
static const trine_op_field embedding_backward_fields[] = {FIELD(trine_embedding_backward_args, ids, IN),
                                                           FIELD(trine_embedding_backward_args, dy, IN),
                                                           FIELD(trine_embedding_backward_args, dweight, OUT)};

/* rows [A..., I..., B...] of table [A..., V, B...] and ids [I...] */
static trine_status check_taken(const trine_check *check, const char *table_name, const trine_tensor *table,
                                const trine_tensor *ids, const char *rows_name, const trine_tensor *rows, int32_t axis)
{
    TRY(trine_check_dtype(check, "ids", ids, DT(I32) | DT(I64)));
    TRY(check_axis(check, table_name, table, &axis));
    if (rows->ndim != table->ndim - 1 + ids->ndim)
        return trine_bad(check, rows_name, "has %d axes where %s and ids give %d", (int)rows->ndim, table_name,
                         (int)(table->ndim - 1 + ids->ndim));
    trine_tensor wanted = *rows;
    for (int32_t d = 0; d < rows->ndim; d++)
        wanted.shape[d] = d < axis               ? table->shape[d]
                          : d < axis + ids->ndim ? ids->shape[d - axis]
                                                 : table->shape[d - ids->ndim + 1];
    return trine_check_same_shape(check, rows_name, rows, "the ids' rows", &wanted);
}

static trine_status check_gather(const trine_check *check, const void *args)
{
    const trine_gather_args *a = args;
    TRY(trine_check_dtype(check, "x", &a->x, DT_ANY));
    TRY(trine_check_same_dtype(check, "y", &a->y, "x", &a->x));
    return check_taken(check, "x", &a->x, &a->ids, "y", &a->y, a->axis);
}

static trine_status check_scatter_add(const trine_check *check, const void *args)
{
    const trine_scatter_add_args *a = args;
    TRY(trine_check_dtype(check, "src", &a->src, DT_FLOATS));
    TRY(trine_check_dtype(check, "y", &a->y, DT(F32) | 1u << a->src.dtype));
    if (trine_is_given(&a->x)) {
        TRY(trine_check_same_dtype(check, "x", &a->x, "y", &a->y));
        TRY(trine_check_same_shape(check, "x", &a->x, "y", &a->y));
    }
    if (trine_check_starts_at(&a->y, &a->src)) return trine_bad(check, "y", "overlaps src: only x may be y in place");
    return check_taken(check, "y", &a->y, &a->ids, "src", &a->src, a->axis);
}

static trine_status check_embedding(const trine_check *check, const void *args)
{
    const trine_embedding_args *a = args;
    TRY(trine_check_dtype(check, "weight", &a->weight, DT_FLOATS));
    TRY(trine_check_same_dtype(check, "y", &a->y, "weight", &a->weight));
    if (a->weight.ndim != 2) return trine_bad(check, "weight", "has %d axes where 2 are wanted", (int)a->weight.ndim);
    return check_taken(check, "weight", &a->weight, &a->ids, "y", &a->y, 0);
}

static trine_status check_embedding_backward(const trine_check *check, const void *args)
{
    const trine_embedding_backward_args *a = args;
    TRY(trine_check_dtype(check, "dy", &a->dy, DT_FLOATS));
    TRY(trine_check_dtype(check, "dweight", &a->dweight, DT(F32) | 1u << a->dy.dtype));
    if (a->dweight.ndim != 2) return trine_bad(check, "dweight", "has %d axes where 2 are wanted", (int)a->dweight.ndim);
    return check_taken(check, "dweight", &a->dweight, &a->ids, "dy", &a->dy, 0);
}

OP_DESC(layout, concat, concat_fields, check_concat);
OP_DESC(layout, split, split_fields, check_split);
OP_DESC(layout, gather, gather_fields, check_gather);
OP_DESC(layout, scatter_add, scatter_add_fields, check_scatter_add);
OP_DESC(layout, embedding, embedding_fields, check_embedding);
OP_DESC(layout, embedding_backward, embedding_backward_fields, check_embedding_backward);
OP_DESC(layout, transpose, transpose_fields, check_transpose);
OP_DESC(layout, permute, permute_fields, check_permute);
