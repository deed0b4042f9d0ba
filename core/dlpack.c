/* DLPack's codes of element types (github.com/dmlc/dlpack, DLDataTypeCode, as of version 1.1). */
#include "core/error.h"
#include "trine/dtype.h"

/* Declared in trine/dlpack.h, which needs DLPack's header; the library must build without it. */
TRINE_API trine_status trine_dtype_to_dlpack(trine_dtype dtype, uint8_t *code, uint8_t *bits);
TRINE_API trine_status trine_dtype_from_dlpack(uint8_t code, uint8_t bits, uint16_t lanes, trine_dtype *dtype);

enum {
    DL_INT = 0,
    DL_UINT = 1,
    DL_FLOAT = 2,
    DL_BFLOAT = 4,
    DL_BOOL = 6,
    DL_E4M3FN = 10,
    DL_E4M3FNUZ = 11,
    DL_E5M2 = 12,
    DL_E5M2FNUZ = 13,
    DL_NOTHING = 255
};

static uint8_t code_of(trine_dtype dtype)
{
    static const uint8_t codes[TRINE_DTYPE_COUNT] = {
        [TRINE_DTYPE_NONE] = DL_NOTHING,
        [TRINE_F64] = DL_FLOAT,
        [TRINE_F32] = DL_FLOAT,
        [TRINE_F16] = DL_FLOAT,
        [TRINE_BF16] = DL_BFLOAT,
        [TRINE_F8_E4M3FN] = DL_E4M3FN,
        [TRINE_F8_E5M2] = DL_E5M2,
        [TRINE_F8_E4M3FNUZ] = DL_E4M3FNUZ,
        [TRINE_F8_E5M2FNUZ] = DL_E5M2FNUZ,
        [TRINE_I64] = DL_INT,
        [TRINE_I32] = DL_INT,
        [TRINE_I8] = DL_INT,
        [TRINE_U8] = DL_UINT,
        [TRINE_BOOL] = DL_BOOL,
        [TRINE_NF4] = DL_NOTHING,
    };
    return (unsigned)dtype < TRINE_DTYPE_COUNT ? codes[dtype] : DL_NOTHING;
}

trine_status trine_dtype_to_dlpack(trine_dtype dtype, uint8_t *code, uint8_t *bits)
{
    if (!code || !bits) return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "dtype_to_dlpack: code or bits is NULL");
    if (code_of(dtype) == DL_NOTHING)
        return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "dtype_to_dlpack: DLPack has no type for dtype %d (%s)", (int)dtype,
                          trine_dtype_name(dtype));
    *code = code_of(dtype);
    *bits = (uint8_t)trine_dtype_bits(dtype);
    return TRINE_OK;
}

trine_status trine_dtype_from_dlpack(uint8_t code, uint8_t bits, uint16_t lanes, trine_dtype *dtype)
{
    if (!dtype) return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "dtype_from_dlpack: dtype is NULL");
    for (int i = 1; lanes == 1 && code != DL_NOTHING && i < TRINE_DTYPE_COUNT; i++) {
        if (code_of((trine_dtype)i) != code || trine_dtype_bits((trine_dtype)i) != bits) continue;
        *dtype = (trine_dtype)i;
        return TRINE_OK;
    }
    return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "dtype_from_dlpack: no dtype for code %d, bits %d, lanes %d", code, bits,
                      lanes);
}
