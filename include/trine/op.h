/* The list of ops, from core/ops.def: an enumerator TRINE_OP_<name> each, and what is known of its arguments. */
#ifndef TRINE_OP_H
#define TRINE_OP_H

#include <stddef.h>
#include <stdint.h>

#include "trine/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum trine_op {
#define OP(family, name) TRINE_OP_##name,
#include "trine/ops.def"
#undef OP
    TRINE_OP_COUNT
} trine_op;

enum {
    TRINE_FIELD_IN = 1,
    TRINE_FIELD_OUT = 2,      /* with IN: read, and then written where it lies */
    TRINE_FIELD_OPTIONAL = 4, /* may be a zeroed trine_tensor */
    TRINE_FIELD_INPLACE = 8,  /* (outputs) may be the very same view as an input of the same shape and dtype */
    TRINE_FIELD_LIST = 16     /* a trine_tensor_list, of which all this holds for every tensor */
};

/* One trine_tensor, or list of them, inside an op's argument struct. */
typedef struct trine_op_field {
    const char *name;
    size_t offset;
    uint32_t flags;
} trine_op_field;

typedef struct trine_op_info {
    const char *family;
    const char *name;
    size_t args_size;             /* sizeof(trine_<name>_args) */
    const trine_op_field *fields; /* its tensors, in the struct's order */
    int32_t field_count;
} trine_op_info;

/* NULL if op is none. */
TRINE_API const trine_op_info *trine_op_get_info(trine_op op);

#ifdef __cplusplus
}
#endif
#endif
