/* The tensors of an op's arguments, by its fields: one tensor each, or a list. */
#ifndef TRINE_CORE_FIELDS_H
#define TRINE_CORE_FIELDS_H

#include <string.h>

#include "trine/op.h"
#include "trine/tensor.h"

static inline trine_tensor_list *trine_field_list(const void *args, const trine_op_field *field)
{
    return (trine_tensor_list *)(void *)((char *)args + field->offset);
}

/* Tensors that the field holds; those of a list may be "not given", as a single one may. */
static inline int32_t trine_field_count(const void *args, const trine_op_field *field)
{
    return field->flags & TRINE_FIELD_LIST ? trine_field_list(args, field)->count : 1;
}

/* Of a list the caller's own array, which may be constant. */
static inline trine_tensor *trine_field_tensor(const void *args, const trine_op_field *field, int32_t i)
{
    if (field->flags & TRINE_FIELD_LIST) return (trine_tensor *)trine_field_list(args, field)->at + i;
    return (trine_tensor *)(void *)((char *)args + field->offset);
}

static inline int32_t trine_args_tensors(const trine_op_info *info, const void *args)
{
    int32_t sum = 0;
    for (int32_t f = 0; f < info->field_count; f++) sum += trine_field_count(args, &info->fields[f]);
    return sum;
}

/* Bytes of a copy of the arguments: the struct, and the tensors of its lists behind it. */
static inline size_t trine_args_copy_bytes(const trine_op_info *info, const void *args)
{
    size_t bytes = (info->args_size + 15) / 16 * 16;
    for (int32_t f = 0; f < info->field_count; f++)
        if (info->fields[f].flags & TRINE_FIELD_LIST)
            bytes += (size_t)trine_field_list(args, &info->fields[f])->count * sizeof(trine_tensor);
    return bytes;
}

/* Copies to `to`, 16-byte aligned; the lists of the copy are its own. */
static inline void trine_args_copy(const trine_op_info *info, const void *args, void *to)
{
    char *end = (char *)to + (info->args_size + 15) / 16 * 16;
    memcpy(to, args, info->args_size);
    for (int32_t f = 0; f < info->field_count; f++) {
        if (!(info->fields[f].flags & TRINE_FIELD_LIST)) continue;
        trine_tensor_list *list = trine_field_list(to, &info->fields[f]);
        const size_t bytes = (size_t)list->count * sizeof(trine_tensor);
        if (bytes) memcpy(end, list->at, bytes);
        list->at = (const trine_tensor *)(void *)end;
        end += bytes;
    }
}

#endif
