/* For the files of check/: what they check with, and how they describe an op. */
#ifndef TRINE_CORE_CHECK_H
#define TRINE_CORE_CHECK_H

#include "core/internal.h"
#include "core/shape.h"

struct trine_check {
    const char *backend; /* for the text of errors */
    const char *op;
    bool query;
};

/* INVALID_ARGUMENT with "backend: op: argument: reason". */
trine_status trine_bad(const trine_check *check, const char *argument, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* How errors name a tensor of a list: "x[3]". Returns text. */
typedef char trine_item_text[40];
const char *trine_item_name(const char *list, int32_t i, trine_item_text text);

/* Sets of dtypes. */
#define DT(name) (1u << TRINE_##name)
enum {
    DT_FLOATS = DT(F32) | DT(F16) | DT(BF16),
    DT_FP8 = DT(F8_E4M3FN) | DT(F8_E5M2) | DT(F8_E4M3FNUZ) | DT(F8_E5M2FNUZ),
    DT_INTS = DT(I64) | DT(I32) | DT(I8) | DT(U8),
    DT_ANY = (1u << TRINE_NF4) - 2u, /* all but NONE and nf4 */
};

trine_status trine_check_dtype(const trine_check *check, const char *name, const trine_tensor *t, unsigned allowed);
trine_status trine_check_same_dtype(const trine_check *check, const char *name, const trine_tensor *t, const char *than,
                                    const trine_tensor *other);
trine_status trine_check_same_shape(const trine_check *check, const char *name, const trine_tensor *t, const char *than,
                                    const trine_tensor *other);
/* t's shape broadcasts to `to`'s without enlarging it. */
trine_status trine_check_broadcasts(const trine_check *check, const char *name, const trine_tensor *t, const char *to_name,
                                    const trine_tensor *to);
trine_status trine_check_ndim_at_least(const trine_check *check, const char *name, const trine_tensor *t, int32_t ndim);
trine_status trine_check_is_vector(const trine_check *check, const char *name, const trine_tensor *t, int64_t length);
/* Matrices a, b, d of one product, with batch axes that broadcast to d's (check/matmul.c). */
trine_status trine_check_product(const trine_check *check, const trine_tensor *a, const trine_tensor *b, const trine_tensor *d);
/* An fp8 operand's scale: one element, or for each matrix of `of`, whose batch it broadcasts to, as many as `rows` and K ask for.
 * k_axis: K's place from the end (check/fp8.c). */
trine_status trine_check_product_scale(const trine_check *check, const char *name, const trine_tensor *t, const trine_tensor *of,
                                       int64_t rows, int64_t k, int32_t k_axis);

/* One of the two is given: *given says whether the second is. */
static inline trine_status trine_check_one_scale(const trine_check *check, const trine_tensor *scale,
                                                 const trine_tensor *given_scale, bool *given)
{
    *given = trine_is_given(given_scale);
    if (*given != trine_is_given(scale)) return TRINE_OK;
    return *given ? trine_bad(check, "given_scale", "is given and scale, too") : trine_bad(check, "scale", "is not given");
}

/* Two tensors with elements that begin at one address: the generic checks would take them for "in place". */
static inline bool trine_check_starts_at(const trine_tensor *a, const trine_tensor *b)
{
    return a->data && a->data == b->data && trine_tensor_numel(a) > 0 && trine_tensor_numel(b) > 0;
}

#define TRY(call) \
    do { \
        trine_status try_status = (call); \
        if (try_status != TRINE_OK) return try_status; \
    } while (0)

/* Description of an op: FIELDS lists its tensors in the struct's order, OP_DESC ties them and the check to the name. */
#define FIELD(type, name, flags) \
    { \
#name, offsetof(type, name), (flags) \
    }
#define IN TRINE_FIELD_IN
#define OUT TRINE_FIELD_OUT
#define OPTIONAL TRINE_FIELD_OPTIONAL
#define INPLACE TRINE_FIELD_INPLACE
#define OP_DESC(family_, name_, fields_, check_) \
    const trine_op_desc trine_op_desc_##name_ = { \
        {#family_, #name_, sizeof(trine_##name_##_args), (fields_), (int32_t)(sizeof(fields_) / sizeof(fields_)[0])}, (check_)}

#endif
