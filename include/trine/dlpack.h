/* DLPack in and out, without a copy. Needs DLPack's own header (github.com/dmlc/dlpack, Debian: libdlpack-dev), any version:
 * include this file after or instead of <dlpack/dlpack.h>. The library itself does not depend on it. */
#ifndef TRINE_DLPACK_H
#define TRINE_DLPACK_H

#include <dlpack/dlpack.h>

#include "trine/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/* DLPack's (code, bits) of a dtype and back; codes by number, because old headers lack the fp8 ones. INVALID_ARGUMENT where there
 * is none (nf4; lanes other than 1). */
TRINE_API trine_status trine_dtype_to_dlpack(trine_dtype dtype, uint8_t *code, uint8_t *bits);
TRINE_API trine_status trine_dtype_from_dlpack(uint8_t code, uint8_t bits, uint16_t lanes, trine_dtype *dtype);

/* A view of the DLPack tensor's memory (byte_offset included; strides NULL means row-major). The caller sees to it that the
 * memory belongs to the device of the stream that will use it. INVALID_ARGUMENT: NULL, ndim over TRINE_MAX_DIMS, a dtype that
 * Trine lacks. */
static inline trine_status trine_tensor_from_dlpack(const DLTensor *in, trine_tensor *out)
{
    if (!in || !out || in->ndim < 0 || in->ndim > TRINE_MAX_DIMS || (in->ndim > 0 && !in->shape))
        return TRINE_ERROR_INVALID_ARGUMENT;
    trine_dtype dtype;
    trine_status status = trine_dtype_from_dlpack(in->dtype.code, in->dtype.bits, in->dtype.lanes, &dtype);
    if (status != TRINE_OK) return status;
    *out = trine_tensor_make(in->data ? (char *)in->data + in->byte_offset : NULL, dtype, in->ndim, in->shape);
    for (int32_t i = 0; in->strides && i < in->ndim; i++) out->stride[i] = in->strides[i];
    return TRINE_OK;
}

/* Fills a DLPack tensor that points into `in` (shape and strides are in's own arrays, so in must outlive out). */
static inline trine_status trine_tensor_to_dlpack(trine_tensor *in, DLDevice device, DLTensor *out)
{
    uint8_t code, bits;
    if (!in || !out) return TRINE_ERROR_INVALID_ARGUMENT;
    trine_status status = trine_dtype_to_dlpack(in->dtype, &code, &bits);
    if (status != TRINE_OK) return status;
    out->data = in->data;
    out->byte_offset = 0;
    out->device = device;
    out->ndim = in->ndim;
    out->dtype.code = code;
    out->dtype.bits = bits;
    out->dtype.lanes = 1;
    out->shape = in->shape;
    out->strides = in->stride;
    return TRINE_OK;
}

#ifdef __cplusplus
}
#endif
#endif
