/* Tensor views: layouts, cuts, sizes that overflow, DLPack in and out. Prints failures, and a count as its last line. */
#include <stdbool.h>
#include <string.h>

#include "core/shape.h"
#include "tests/unit/expect.h"
#include "trine/tensor.h"
#if __has_include(<dlpack/dlpack.h>)
#define HAVE_DLPACK 1
#include "trine/dlpack.h"
#endif

/* layout: the shape, then the strides. */
static bool has_layout(trine_tensor t, int32_t ndim, const int64_t *layout)
{
    size_t bytes = (size_t)ndim * sizeof *layout;
    return t.ndim == ndim && memcmp(t.shape, layout, bytes) == 0 && memcmp(t.stride, layout + ndim, bytes) == 0;
}
#define LAYOUT(t, ndim, ...) EXPECT(has_layout(t, ndim, (const int64_t[]){__VA_ARGS__}))

static void test_make(void)
{
    static float data[24];
    const int64_t big = (int64_t)1 << 40, many[TRINE_MAX_DIMS] = {1, 2, 1, 2, 1, 2, 1, 3};
    trine_tensor t = trine_tensor_3d(data, TRINE_F32, 2, 3, 4), none = {0};
    LAYOUT(t, 3, 2, 3, 4, 12, 4, 1);
    EXPECT(t.data == data && t.dtype == TRINE_F32 && trine_tensor_numel(&t) == 24);
    EXPECT(trine_tensor_extent_bytes(&t) == 96 && trine_tensor_is_contiguous(&t) == 1);
    t = trine_tensor_make(data, TRINE_F32, TRINE_MAX_DIMS, many);
    EXPECT(trine_tensor_numel(&t) == 24 && trine_tensor_is_contiguous(&t));
    t = trine_tensor_make(data, TRINE_F32, 0, NULL);
    EXPECT(t.ndim == 0 && trine_tensor_numel(&t) == 1 && trine_tensor_extent_bytes(&t) == 4 && trine_tensor_is_contiguous(&t));
    static const int32_t bad_ndim[] = {-1, INT32_MIN, TRINE_MAX_DIMS + 1, INT32_MAX};
    for (int i = 0; i < 4; i++) {
        t = trine_tensor_make(data, TRINE_F32, bad_ndim[i], many);
        EXPECT(t.ndim == -1 && trine_tensor_numel(&t) == -1 && trine_tensor_extent_bytes(&t) == -1);
        EXPECT(!trine_tensor_is_contiguous(&t) && trine_tensor_slice(t, 0, 0, 0, 1).ndim == -1);
        t.ndim = bad_ndim[i];
        EXPECT(trine_tensor_numel(&t) == -1 && trine_tensor_swap_axes(t, 0, 0).ndim == -1);
    }
    EXPECT(trine_tensor_make(data, TRINE_F32, 1, NULL).ndim == -1);
    EXPECT(trine_tensor_numel(NULL) == -1 && trine_tensor_extent_bytes(NULL) == -1 && !trine_tensor_is_contiguous(NULL));
    EXPECT(trine_tensor_extent_bytes(&none) == 0);

    t = trine_tensor_4d(NULL, TRINE_F32, 5, 0, big, big); /* empty, though the rest overflows */
    EXPECT(trine_tensor_numel(&t) == 0 && trine_tensor_extent_bytes(&t) == 0 && trine_tensor_is_contiguous(&t));
    t = trine_tensor_3d(NULL, TRINE_F32, big, big, 0);
    EXPECT(trine_tensor_numel(&t) == 0 && trine_tensor_extent_bytes(&t) == 0 && trine_tensor_is_contiguous(&t));
    LAYOUT(trine_tensor_3d(NULL, TRINE_F32, 3, 0, 4), 3, 3, 0, 4, 4, 4, 1);
    LAYOUT(trine_tensor_3d(NULL, TRINE_F32, big, big, big), 3, big, big, big, INT64_MAX, big, 1);
    t = trine_tensor_3d(NULL, TRINE_F32, big, big, 2);
    EXPECT(trine_tensor_numel(&t) == -1 && trine_tensor_extent_bytes(&t) == -1 && !trine_tensor_is_contiguous(&t));
    t = trine_tensor_2d(NULL, TRINE_F32, -2, -3);
    EXPECT(trine_tensor_numel(&t) == -1 && trine_tensor_extent_bytes(&t) == -1 && !trine_tensor_is_contiguous(&t));
    t = trine_tensor_2d(NULL, TRINE_F32, 0, -1);
    EXPECT(trine_tensor_numel(&t) == -1);
    t = trine_tensor_1d(NULL, TRINE_F64, INT64_MAX);
    EXPECT(trine_tensor_numel(&t) == INT64_MAX && trine_tensor_extent_bytes(&t) == -1 && trine_tensor_is_contiguous(&t));
    t.dtype = TRINE_NF4;
    EXPECT(trine_tensor_extent_bytes(&t) == (int64_t)1 << 62);
    t = trine_tensor_2d(NULL, TRINE_F64, 2, (int64_t)1 << 58); /* its bits would overflow, its bytes don't */
    EXPECT(trine_tensor_extent_bytes(&t) == (int64_t)1 << 62);
}

static void test_views(void)
{
    static uint8_t data[64];
    trine_tensor t = trine_tensor_3d(data, TRINE_F16, 2, 3, 4), s = trine_tensor_swap_axes(t, 0, -1);
    LAYOUT(s, 3, 4, 3, 2, 1, 4, 12);
    EXPECT(!trine_tensor_is_contiguous(&s) && trine_tensor_numel(&s) == 24 && trine_tensor_extent_bytes(&s) == 48);
    EXPECT(trine_tensor_swap_axes(t, 3, 0).ndim == -1 && trine_tensor_swap_axes(t, 0, -4).ndim == -1);
    LAYOUT(trine_tensor_swap_axes(t, -3, 0), 3, 2, 3, 4, 12, 4, 1);

    s = trine_tensor_slice(t, 2, 1, 4, 2);
    LAYOUT(s, 3, 2, 3, 2, 12, 4, 2);
    EXPECT(s.data == data + 2 && trine_tensor_extent_bytes(&s) == 46 && !trine_tensor_is_contiguous(&s));
    s = trine_tensor_slice(t, 0, 1, 2, 1); /* one row: its stride doesn't count */
    EXPECT(s.data == data + 24 && s.shape[0] == 1 && trine_tensor_is_contiguous(&s));
    s = trine_tensor_3d(data, TRINE_F16, 2, 1, 4);
    s.stride[1] = 99;
    EXPECT(trine_tensor_is_contiguous(&s) && trine_tensor_extent_bytes(&s) == 16);
    s.stride[2] = 2;
    EXPECT(!trine_tensor_is_contiguous(&s) && trine_tensor_extent_bytes(&s) == 22);
    s = trine_tensor_slice(t, -2, 0, 3, INT64_MAX);
    EXPECT(s.shape[1] == 1 && s.data == data && trine_tensor_numel(&s) == 8);
    s.stride[1] = -7;
    EXPECT(trine_tensor_extent_bytes(&s) == 32);
    s.shape[1] = 2;
    EXPECT(trine_tensor_extent_bytes(&s) == -1 && !trine_tensor_is_contiguous(&s));
    s = trine_tensor_slice(t, 1, 3, 3, 1);
    EXPECT(s.ndim == 3 && s.shape[1] == 0 && s.data == data && trine_tensor_numel(&s) == 0 && trine_tensor_is_contiguous(&s));
    static const int64_t refused[][4] = {{3, 0, 1, 1}, {-4, 0, 1, 1}, {1, -1, 1, 1}, {1, 2, 1, 1},
                                         {1, 0, 4, 1}, {1, 0, 1, 0},  {1, 0, 1, -1}};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        EXPECT(trine_tensor_slice(t, (int32_t)refused[i][0], refused[i][1], refused[i][2], refused[i][3]).ndim == -1);
    t.data = NULL; /* as a query may have it */
    EXPECT(trine_tensor_slice(t, 0, 1, 2, 1).data == NULL);
    t.stride[0] = INT64_MAX / 2;
    EXPECT(trine_tensor_slice(t, 0, 1, 2, 1).ndim == 3 && trine_tensor_extent_bytes(&t) == -1);
    t.stride[0] = INT64_MAX;
    EXPECT(trine_tensor_slice(t, 0, 1, 2, 1).ndim == -1); /* the offset overflows */

    t = trine_tensor_2d(data, TRINE_NF4, 4, 3);
    EXPECT(trine_tensor_extent_bytes(&t) == 6 && trine_tensor_slice(t, 0, 2, 4, 1).data == data + 3);
    EXPECT(trine_tensor_slice(t, 0, 1, 4, 1).ndim == -1); /* row 1 begins within a byte */
    t = trine_tensor_2d(data, TRINE_U8, 4, 5);
    t.stride[0] = 0; /* broadcast */
    EXPECT(trine_tensor_extent_bytes(&t) == 5 && !trine_tensor_is_contiguous(&t) && trine_tensor_numel(&t) == 20);
}

/* Halves have every element once: the two begin and end where the whole did, and lie as far apart as is said. */
static void test_halves(void)
{
    static const int64_t sizes[][2] = {{1, 2}, {3, 2}, {5, 31}, {7, 32}, {1000, 9}, {65537, 65536}};
    float data[1];
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const int64_t rows = sizes[i][0], columns = sizes[i][1], longest = rows > columns ? 0 : 1;
        trine_tensor y = trine_tensor_2d(data, TRINE_F32, rows, columns), x = y;
        y.stride[0] = columns + 3;
        x.stride[0] = 1;
        x.stride[1] = rows;
        const trine_tensor *tensors[] = {&y, &x};
        const trine_iter whole = trine_iter_make(tensors, 2, 1);
        int64_t offset[TRINE_ITER_OPERANDS];
        trine_iter half = whole;
        const trine_iter rest = trine_iter_halve(&half, offset);
        EXPECT(half.numel > 0 && rest.numel > 0 && half.numel + rest.numel == whole.numel);
        const int32_t axis = whole.ndim == 2 ? (int32_t)longest : 0;
        EXPECT(half.size[axis] + rest.size[axis] == whole.size[axis]);
        EXPECT(whole.size[axis] < 32 || half.size[axis] % 16 == 0);
        for (int32_t k = 0; k < 2; k++) EXPECT(offset[k] == half.size[axis] * whole.stride[k][axis]);
        for (int32_t d = 0; d < whole.ndim; d++)
            EXPECT(d == axis || (half.size[d] == whole.size[d] && rest.size[d] == whole.size[d]));
    }
}

static void test_dlpack_views(void)
{
#ifdef HAVE_DLPACK
    float data[8];
    trine_tensor t = trine_tensor_swap_axes(trine_tensor_2d(data, TRINE_F32, 2, 4), 0, 1), back;
    DLTensor out = {0};
    EXPECT(trine_tensor_to_dlpack(&t, (DLDevice){kDLCPU, 0}, &out) == TRINE_OK);
    EXPECT(out.data == data && out.ndim == 2 && out.shape[0] == 4 && out.strides[0] == 1 && out.dtype.bits == 32);
    EXPECT(trine_tensor_from_dlpack(&out, &back) == TRINE_OK && memcmp(&back, &t, sizeof t) == 0);
    out.strides = NULL;
    out.byte_offset = 4;
    EXPECT(trine_tensor_from_dlpack(&out, &back) == TRINE_OK && back.data == data + 1 && trine_tensor_is_contiguous(&back));
    out.ndim = TRINE_MAX_DIMS + 1;
    EXPECT(trine_tensor_from_dlpack(&out, &back) == TRINE_ERROR_INVALID_ARGUMENT);
#endif
}

int main(void)
{
    test_make();
    test_views();
    test_halves();
    test_dlpack_views();
    return finish();
}
