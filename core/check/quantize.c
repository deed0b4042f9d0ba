#include "core/check.h"
#include "core/int8_scale.h"

static const trine_op_field nf4_quantize_fields[] = {FIELD(trine_nf4_quantize_args, x, IN),
                                                     FIELD(trine_nf4_quantize_args, codes, OUT),
                                                     FIELD(trine_nf4_quantize_args, absmax, OUT)};
static const trine_op_field nf4_dequantize_fields[] = {FIELD(trine_nf4_dequantize_args, codes, IN),
                                                       FIELD(trine_nf4_dequantize_args, absmax, IN),
                                                       FIELD(trine_nf4_dequantize_args, y, OUT)};
static const trine_op_field absmax_quantize_fields[] = {
    FIELD(trine_absmax_quantize_args, absmax, IN), FIELD(trine_absmax_quantize_args, codes, OUT),
    FIELD(trine_absmax_quantize_args, scale, OUT), FIELD(trine_absmax_quantize_args, mean, OUT | OPTIONAL)};
static const trine_op_field absmax_dequantize_fields[] = {
    FIELD(trine_absmax_dequantize_args, codes, IN), FIELD(trine_absmax_dequantize_args, scale, IN),
    FIELD(trine_absmax_dequantize_args, mean, IN | OPTIONAL), FIELD(trine_absmax_dequantize_args, absmax, OUT)};
static const trine_op_field nf4_matmul_fields[] = {FIELD(trine_nf4_matmul_args, x, IN),
                                                   FIELD(trine_nf4_matmul_args, codes, IN),
                                                   FIELD(trine_nf4_matmul_args, absmax, IN),
                                                   FIELD(trine_nf4_matmul_args, scale, IN | OPTIONAL),
                                                   FIELD(trine_nf4_matmul_args, mean, IN | OPTIONAL),
                                                   FIELD(trine_nf4_matmul_args, bias, IN | OPTIONAL),
                                                   FIELD(trine_nf4_matmul_args, d, OUT)};
static const trine_op_field int8_quantize_fields[] = {
    FIELD(trine_int8_quantize_args, x, IN), FIELD(trine_int8_quantize_args, q, OUT),
    FIELD(trine_int8_quantize_args, scale, OUT | OPTIONAL), FIELD(trine_int8_quantize_args, given_scale, IN | OPTIONAL)};
static const trine_op_field int8_dequantize_fields[] = {FIELD(trine_int8_dequantize_args, q, IN),
                                                        FIELD(trine_int8_dequantize_args, scale, IN),
                                                        FIELD(trine_int8_dequantize_args, y, OUT)};
static const trine_op_field fake_fields[] = {FIELD(trine_fake_quantize_args, x, IN), FIELD(trine_fake_quantize_args, scale, IN),
                                             FIELD(trine_fake_quantize_args, y, OUT | INPLACE)};
static const trine_op_field fake_backward_fields[] = {
    FIELD(trine_fake_quantize_backward_args, x, IN), FIELD(trine_fake_quantize_backward_args, scale, IN),
    FIELD(trine_fake_quantize_backward_args, dy, IN), FIELD(trine_fake_quantize_backward_args, dx, OUT | INPLACE)};

static trine_status check_dense(const trine_check *check, const char *name, const trine_tensor *t)
{
    return trine_tensor_is_contiguous(t) ? TRINE_OK : trine_bad(check, name, "is not contiguous");
}

/* Codes of `codes` bytes and their scales, of one of the dtypes. */
static trine_status check_nf4_of(const trine_check *check, const trine_tensor *codes, const trine_tensor *absmax, int64_t bytes,
                                 unsigned dtypes)
{
    const int64_t block = TRINE_NF4_BLOCK / 2;
    TRY(trine_check_dtype(check, "codes", codes, DT(U8)));
    TRY(trine_check_is_vector(check, "codes", codes, bytes));
    TRY(trine_check_dtype(check, "absmax", absmax, dtypes));
    return trine_check_is_vector(check, "absmax", absmax, bytes / block + (bytes % block != 0));
}

static trine_status check_nf4(const trine_check *check, const trine_tensor *codes, const trine_tensor *absmax, int64_t bytes)
{
    return check_nf4_of(check, codes, absmax, bytes, DT(F32));
}

static trine_status check_nf4_quantize(const trine_check *check, const void *args)
{
    const trine_nf4_quantize_args *a = args;
    const int64_t n = trine_tensor_numel(&a->x);
    TRY(trine_check_dtype(check, "x", &a->x, DT_FLOATS));
    TRY(check_dense(check, "x", &a->x));
    return check_nf4(check, &a->codes, &a->absmax, n / 2 + n % 2);
}

static trine_status check_nf4_dequantize(const trine_check *check, const void *args)
{
    const trine_nf4_dequantize_args *a = args;
    const int64_t m = trine_tensor_numel(&a->y);
    int64_t end;
    TRY(trine_check_dtype(check, "y", &a->y, DT_FLOATS));
    TRY(check_dense(check, "y", &a->y));
    TRY(check_nf4(check, &a->codes, &a->absmax, a->codes.ndim > 0 ? a->codes.shape[0] : 0));
    if (a->offset < 0 || __builtin_add_overflow(a->offset, m, &end) || end / 2 + end % 2 > a->codes.shape[0])
        return trine_bad(check, "y", "its %lld elements from %lld on are not all among the %lld bytes of codes", (long long)m,
                         (long long)a->offset, (long long)a->codes.shape[0]);
    return TRINE_OK;
}

static trine_status check_absmax(const trine_check *check, const trine_tensor *absmax, const trine_tensor *codes,
                                 const trine_tensor *scale, const trine_tensor *mean, trine_absmax_kind kind)
{
    const int64_t n = absmax->ndim > 0 ? absmax->shape[0] : 0, block = TRINE_ABSMAX_BLOCK;
    if ((unsigned)kind > TRINE_ABSMAX_LINEAR) return trine_bad(check, "kind", "%d is no kind", (int)kind);
    TRY(trine_check_dtype(check, "absmax", absmax, DT(F32)));
    TRY(trine_check_is_vector(check, "absmax", absmax, n));
    TRY(trine_check_dtype(check, "codes", codes, DT(U8)));
    TRY(trine_check_is_vector(check, "codes", codes, n));
    TRY(trine_check_dtype(check, "scale", scale, DT(F32)));
    TRY(trine_check_is_vector(check, "scale", scale, n / block + (n % block != 0)));
    if (!trine_is_given(mean) != (kind == TRINE_ABSMAX_LINEAR))
        return trine_bad(check, "mean", trine_is_given(mean) ? "is given, but the kind has none" : "is not given");
    if (!trine_is_given(mean)) return TRINE_OK;
    TRY(trine_check_dtype(check, "mean", mean, DT(F32)));
    return trine_tensor_numel(mean) == 1 ? TRINE_OK : trine_bad(check, "mean", "is not one element");
}

static trine_status check_absmax_quantize(const trine_check *check, const void *args)
{
    const trine_absmax_quantize_args *a = args;
    return check_absmax(check, &a->absmax, &a->codes, &a->scale, &a->mean, a->kind);
}

static trine_status check_absmax_dequantize(const trine_check *check, const void *args)
{
    const trine_absmax_dequantize_args *a = args;
    return check_absmax(check, &a->absmax, &a->codes, &a->scale, &a->mean, a->kind);
}

static trine_status check_matrix(const trine_check *check, const char *name, const trine_tensor *t)
{
    return t->ndim == 2 ? TRINE_OK : trine_bad(check, name, "has %d axes, not 2", (int)t->ndim);
}

static trine_status check_nf4_matmul(const trine_check *check, const void *args)
{
    const trine_nf4_matmul_args *a = args;
    int64_t n;
    TRY(trine_check_dtype(check, "x", &a->x, DT_FLOATS));
    TRY(check_matrix(check, "x", &a->x));
    TRY(trine_check_dtype(check, "d", &a->d, DT(F32) | 1u << a->x.dtype));
    TRY(check_matrix(check, "d", &a->d));
    if (a->x.shape[0] != a->d.shape[0])
        return trine_bad(check, "d", "has %lld rows where x has %lld", (long long)a->d.shape[0], (long long)a->x.shape[0]);
    if (__builtin_mul_overflow(a->x.shape[1], a->d.shape[1], &n)) return trine_bad(check, "codes", "the weight is too large");
    TRY(check_nf4_of(check, &a->codes, &a->absmax, n / 2 + n % 2, DT(F32) | DT(U8)));
    if (a->absmax.dtype == TRINE_U8) {
        trine_tensor wide = a->absmax;
        wide.dtype = TRINE_F32;
        if (!trine_is_given(&a->scale)) return trine_bad(check, "scale", "is not given, but absmax is u8");
        TRY(check_absmax(check, &wide, &a->absmax, &a->scale, &a->mean, a->kind));
    } else if (trine_is_given(&a->scale) || trine_is_given(&a->mean)) {
        return trine_bad(check, trine_is_given(&a->scale) ? "scale" : "mean", "is given, but absmax is f32");
    }
    if (trine_is_given(&a->bias)) {
        TRY(trine_check_dtype(check, "bias", &a->bias, DT(F32) | 1u << a->x.dtype));
        TRY(trine_check_is_vector(check, "bias", &a->bias, a->d.shape[1]));
    }
    return a->transposed == 0 || a->transposed == 1 ? TRINE_OK
                                                    : trine_bad(check, "transposed", "%d is neither 0 nor 1", (int)a->transposed);
}

static trine_status check_int8(const trine_check *check, const char *x_name, const trine_tensor *x, const trine_tensor *q,
                               const char *scale_name, const trine_tensor *scale)
{
    trine_tensor rows = *x;
    TRY(trine_check_dtype(check, x_name, x, DT_FLOATS));
    TRY(trine_check_ndim_at_least(check, x_name, x, 1));
    TRY(trine_check_dtype(check, "q", q, DT(I8)));
    TRY(trine_check_same_shape(check, "q", q, x_name, x));
    TRY(trine_check_dtype(check, scale_name, scale, DT(F32)));
    if (trine_int8_is_one_scale(scale)) return TRINE_OK;
    rows.ndim--;
    TRY(trine_check_same_shape(check, scale_name, scale, "the rows", &rows));
    return check_dense(check, scale_name, scale);
}

static trine_status check_int8_quantize(const trine_check *check, const void *args)
{
    const trine_int8_quantize_args *a = args;
    bool given;
    TRY(trine_check_one_scale(check, &a->scale, &a->given_scale, &given));
    return check_int8(check, "x", &a->x, &a->q, given ? "given_scale" : "scale", given ? &a->given_scale : &a->scale);
}

static trine_status check_int8_dequantize(const trine_check *check, const void *args)
{
    const trine_int8_dequantize_args *a = args;
    return check_int8(check, "y", &a->y, &a->q, "scale", &a->scale);
}

static trine_status check_levels(const trine_check *check, int32_t low, int32_t high, int32_t zero_point)
{
    const int32_t most = 1 << 20;
    if (low < -most || high > most) return trine_bad(check, "low", "%d and high %d are not within 2^20", (int)low, (int)high);
    if (zero_point < low || zero_point > high)
        return trine_bad(check, "zero_point", "%d is not in low %d to high %d", (int)zero_point, (int)low, (int)high);
    return TRINE_OK;
}

static trine_status check_scale(const trine_check *check, const trine_tensor *scale, const trine_tensor *x)
{
    TRY(trine_check_dtype(check, "scale", scale, DT(F32)));
    return trine_check_broadcasts(check, "scale", scale, "x", x);
}

static trine_status check_fake(const trine_check *check, const void *args)
{
    const trine_fake_quantize_args *a = args;
    TRY(trine_check_dtype(check, "x", &a->x, DT_FLOATS));
    TRY(trine_check_same_dtype(check, "y", &a->y, "x", &a->x));
    TRY(trine_check_same_shape(check, "y", &a->y, "x", &a->x));
    TRY(check_scale(check, &a->scale, &a->x));
    return check_levels(check, a->low, a->high, a->zero_point);
}

static trine_status check_fake_backward(const trine_check *check, const void *args)
{
    const trine_fake_quantize_backward_args *a = args;
    TRY(trine_check_dtype(check, "x", &a->x, DT_FLOATS));
    TRY(trine_check_same_dtype(check, "dy", &a->dy, "x", &a->x));
    TRY(trine_check_same_shape(check, "dy", &a->dy, "x", &a->x));
    TRY(trine_check_same_dtype(check, "dx", &a->dx, "x", &a->x));
    TRY(trine_check_same_shape(check, "dx", &a->dx, "x", &a->x));
    TRY(check_scale(check, &a->scale, &a->x));
    return check_levels(check, a->low, a->high, a->zero_point);
}

OP_DESC(quantize, nf4_quantize, nf4_quantize_fields, check_nf4_quantize);
OP_DESC(quantize, nf4_dequantize, nf4_dequantize_fields, check_nf4_dequantize);
OP_DESC(quantize, absmax_quantize, absmax_quantize_fields, check_absmax_quantize);
OP_DESC(quantize, absmax_dequantize, absmax_dequantize_fields, check_absmax_dequantize);
OP_DESC(quantize, nf4_matmul, nf4_matmul_fields, check_nf4_matmul);
OP_DESC(quantize, int8_quantize, int8_quantize_fields, check_int8_quantize);
OP_DESC(quantize, int8_dequantize, int8_dequantize_fields, check_int8_dequantize);
OP_DESC(quantize, fake_quantize, fake_fields, check_fake);
OP_DESC(quantize, fake_quantize_backward, fake_backward_fields, check_fake_backward);
