/* DLPack in and out: every dtype both ways, strides, offsets, and what has no counterpart. */
#include <dlpack/dlpack.h>
#include <string.h>

#include "tests/unit/expect.h"
#include "trine/dlpack.h"

static const struct {
    trine_dtype dtype;
    uint8_t code, bits;
} pairs[] = {
    {TRINE_F64, 2, 64},         {TRINE_F32, 2, 32},     {TRINE_F16, 2, 16},         {TRINE_BF16, 4, 16}, {TRINE_F8_E4M3FN, 10, 8},
    {TRINE_F8_E4M3FNUZ, 11, 8}, {TRINE_F8_E5M2, 12, 8}, {TRINE_F8_E5M2FNUZ, 13, 8}, {TRINE_I64, 0, 64},  {TRINE_I32, 0, 32},
    {TRINE_I8, 0, 8},           {TRINE_U8, 1, 8},       {TRINE_BOOL, 6, 8},
};
enum { PAIRS = sizeof pairs / sizeof pairs[0] };

static const DLDevice device = {kDLCPU, 3};

static void test_dtypes(void)
{
    uint8_t code, bits;
    trine_dtype back;
    EXPECT(PAIRS == TRINE_DTYPE_COUNT - 2); /* all but NONE and nf4 */
    for (int i = 0; i < PAIRS; i++) {
        EXPECT(trine_dtype_to_dlpack(pairs[i].dtype, &code, &bits) == TRINE_OK && code == pairs[i].code && bits == pairs[i].bits);
        EXPECT(trine_dtype_from_dlpack(code, bits, 1, &back) == TRINE_OK && back == pairs[i].dtype);
        EXPECT(trine_dtype_from_dlpack(code, bits, 2, &back) == TRINE_ERROR_INVALID_ARGUMENT &&
               trine_dtype_from_dlpack(code, bits, 0, &back) != TRINE_OK);
    }
    static const trine_dtype without[] = {TRINE_DTYPE_NONE, TRINE_NF4, TRINE_DTYPE_COUNT, (trine_dtype)-1};
    for (int i = 0; i < 4; i++)
        EXPECT(trine_dtype_to_dlpack(without[i], &code, &bits) == TRINE_ERROR_INVALID_ARGUMENT && trine_error_text()[0]);
    EXPECT(trine_dtype_to_dlpack(TRINE_F32, NULL, &bits) != TRINE_OK &&
           trine_dtype_to_dlpack(TRINE_F32, &code, NULL) != TRINE_OK);
    EXPECT(trine_dtype_from_dlpack(2, 32, 1, NULL) == TRINE_ERROR_INVALID_ARGUMENT);
    int known = 0;
    for (int c = 0; c < 256; c++)
        for (int b = 0; b < 256; b++) known += trine_dtype_from_dlpack((uint8_t)c, (uint8_t)b, 1, &back) == TRINE_OK;
    EXPECT(known == PAIRS); /* and no other code, size or lane */
}

static void test_round_trip(void)
{
    static double data[64];
    for (int i = 0; i < PAIRS; i++) {
        trine_tensor t = trine_tensor_3d(data, pairs[i].dtype, 2, 3, 4), back;
        t = trine_tensor_swap_axes(t, 0, 2);
        DLTensor out;
        memset(&out, 0xff, sizeof out);
        EXPECT(trine_tensor_to_dlpack(&t, device, &out) == TRINE_OK);
        EXPECT(out.data == data && out.ndim == 3 && out.shape == t.shape && out.strides == t.stride && out.byte_offset == 0);
        EXPECT(out.device.device_type == kDLCPU && out.device.device_id == 3);
        EXPECT(out.dtype.code == pairs[i].code && out.dtype.bits == pairs[i].bits && out.dtype.lanes == 1);
        EXPECT(trine_tensor_from_dlpack(&out, &back) == TRINE_OK && memcmp(&back, &t, sizeof t) == 0);
    }
    trine_tensor packed = trine_tensor_1d(data, TRINE_NF4, 8);
    DLTensor out;
    EXPECT(trine_tensor_to_dlpack(&packed, device, &out) == TRINE_ERROR_INVALID_ARGUMENT);
    EXPECT(trine_tensor_to_dlpack(NULL, device, &out) == TRINE_ERROR_INVALID_ARGUMENT &&
           trine_tensor_to_dlpack(&packed, device, NULL) != TRINE_OK);
}

static DLTensor dense(float *data, int32_t ndim, int64_t *shape)
{
    DLTensor t;
    memset(&t, 0, sizeof t);
    t.data = data;
    t.device = device;
    t.ndim = ndim;
    t.shape = shape;
    t.dtype.code = kDLFloat;
    t.dtype.bits = 32;
    t.dtype.lanes = 1;
    return t;
}

static void test_from(void)
{
    float data[64];
    int64_t shape[TRINE_MAX_DIMS + 1] = {2, 3, 4, 1, 1, 1, 1, 1, 1}, strides[3] = {1, 2, 8};
    trine_tensor t;
    DLTensor in = dense(data, 3, shape);
    EXPECT(trine_tensor_from_dlpack(&in, &t) == TRINE_OK && t.data == data && t.ndim == 3 && trine_tensor_is_contiguous(&t) &&
           t.stride[0] == 12);
    in.byte_offset = 16;
    in.strides = strides;
    EXPECT(trine_tensor_from_dlpack(&in, &t) == TRINE_OK && t.data == data + 4 && t.stride[0] == 1 && t.stride[2] == 8 &&
           t.shape[1] == 3);
    in = dense(data, 0, NULL); /* a scalar */
    EXPECT(trine_tensor_from_dlpack(&in, &t) == TRINE_OK && t.ndim == 0 && trine_tensor_numel(&t) == 1);
    shape[1] = 0; /* empty, without memory: an offset must not make a pointer of it */
    in = dense(NULL, 3, shape);
    in.byte_offset = 8;
    EXPECT(trine_tensor_from_dlpack(&in, &t) == TRINE_OK && t.data == NULL && trine_tensor_numel(&t) == 0);
    in = dense(data, TRINE_MAX_DIMS, shape);
    EXPECT(trine_tensor_from_dlpack(&in, &t) == TRINE_OK && t.ndim == TRINE_MAX_DIMS);
    in.ndim = TRINE_MAX_DIMS + 1;
    EXPECT(trine_tensor_from_dlpack(&in, &t) == TRINE_ERROR_INVALID_ARGUMENT);
    in.ndim = -1;
    EXPECT(trine_tensor_from_dlpack(&in, &t) == TRINE_ERROR_INVALID_ARGUMENT);
    in = dense(data, 2, NULL);
    EXPECT(trine_tensor_from_dlpack(&in, &t) == TRINE_ERROR_INVALID_ARGUMENT);
    in = dense(data, 1, shape);
    in.dtype.lanes = 4;
    EXPECT(trine_tensor_from_dlpack(&in, &t) == TRINE_ERROR_INVALID_ARGUMENT);
    in.dtype.lanes = 1;
    in.dtype.code = kDLOpaqueHandle;
    EXPECT(trine_tensor_from_dlpack(&in, &t) == TRINE_ERROR_INVALID_ARGUMENT);
    EXPECT(trine_tensor_from_dlpack(NULL, &t) == TRINE_ERROR_INVALID_ARGUMENT &&
           trine_tensor_from_dlpack(&in, NULL) == TRINE_ERROR_INVALID_ARGUMENT);
}

int main(void)
{
    test_dtypes();
    test_round_trip();
    test_from();
    return finish();
}
