/* Names and sizes of element types. Pure, so that plugins have a copy of their own. */
#include "trine/dtype.h"

#include <string.h>

static const struct {
    const char *name;
    uint8_t bits;
} dtypes[TRINE_DTYPE_COUNT] = {
    [TRINE_DTYPE_NONE] = {"?", 0},
    [TRINE_F64] = {"f64", 64},
    [TRINE_F32] = {"f32", 32},
    [TRINE_F16] = {"f16", 16},
    [TRINE_BF16] = {"bf16", 16},
    [TRINE_F8_E4M3FN] = {"f8_e4m3fn", 8},
    [TRINE_F8_E5M2] = {"f8_e5m2", 8},
    [TRINE_F8_E4M3FNUZ] = {"f8_e4m3fnuz", 8},
    [TRINE_F8_E5M2FNUZ] = {"f8_e5m2fnuz", 8},
    [TRINE_I64] = {"i64", 64},
    [TRINE_I32] = {"i32", 32},
    [TRINE_I8] = {"i8", 8},
    [TRINE_U8] = {"u8", 8},
    [TRINE_BOOL] = {"bool", 8},
    [TRINE_NF4] = {"nf4", 4},
};

/* The row of a dtype; that of NONE for a number that is no dtype. */
static unsigned row(trine_dtype dtype) { return (unsigned)dtype < TRINE_DTYPE_COUNT ? (unsigned)dtype : TRINE_DTYPE_NONE; }

const char *trine_dtype_name(trine_dtype dtype) { return dtypes[row(dtype)].name; }

trine_dtype trine_dtype_from_name(const char *name)
{
    for (int i = 1; name && i < TRINE_DTYPE_COUNT; i++)
        if (strcmp(name, dtypes[i].name) == 0) return (trine_dtype)i;
    return TRINE_DTYPE_NONE;
}

int32_t trine_dtype_bits(trine_dtype dtype) { return dtypes[row(dtype)].bits; }
