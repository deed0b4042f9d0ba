#include "core/check.h"

static const trine_op_field matmul_fields[] = {
    FIELD(trine_matmul_args, a, IN),
    FIELD(trine_matmul_args, b, IN),
    FIELD(trine_matmul_args, c, IN | OPTIONAL),
    FIELD(trine_matmul_args, bias, IN | OPTIONAL),
    FIELD(trine_matmul_args, d, OUT | INPLACE),
};

/* The batch axes of an operand must broadcast to d's; its matrix must be rows x cols. */
static trine_status check_operand(const trine_check *check, const char *name, const trine_tensor *t, const trine_tensor *d,
                                  int64_t rows, int64_t cols)
{
    int32_t n = t->ndim;
    TRY(trine_check_ndim_at_least(check, name, t, 2));
    if (t->shape[n - 2] != rows || t->shape[n - 1] != cols)
        return trine_bad(check, name, "is a matrix of %lld x %lld where %lld x %lld is wanted", (long long)t->shape[n - 2],
                         (long long)t->shape[n - 1], (long long)rows, (long long)cols);
    trine_tensor batch = *t, wanted = *d;
    batch.ndim -= 2;
    wanted.ndim -= 2;
    return trine_check_broadcasts(check, name, &batch, "d's batch", &wanted);
}

trine_status trine_check_product(const trine_check *check, const trine_tensor *a, const trine_tensor *b, const trine_tensor *d)
{
    TRY(trine_check_ndim_at_least(check, "d", d, 2));
    TRY(trine_check_ndim_at_least(check, "a", a, 2));
    const int64_t m = d->shape[d->ndim - 2], n = d->shape[d->ndim - 1], k = a->shape[a->ndim - 1];
    TRY(check_operand(check, "a", a, d, m, k));
    return check_operand(check, "b", b, d, k, n);
}

static trine_status check_matmul(const trine_check *check, const void *args)
{
    const trine_matmul_args *a = args;
    TRY(trine_check_dtype(check, "a", &a->a, DT_FLOATS));
    TRY(trine_check_same_dtype(check, "b", &a->b, "a", &a->a));
    TRY(trine_check_dtype(check, "d", &a->d, DT(F32) | 1u << a->a.dtype));
    TRY(trine_check_product(check, &a->a, &a->b, &a->d));
    if (trine_is_given(&a->c)) {
        TRY(trine_check_dtype(check, "c", &a->c, DT(F32) | 1u << a->a.dtype));
        TRY(trine_check_broadcasts(check, "c", &a->c, "d", &a->d));
        /* in place, c and d are one view; d over a or b would be read after it is written */
    }
    if (trine_is_given(&a->bias)) {
        TRY(trine_check_dtype(check, "bias", &a->bias, DT(F32) | 1u << a->a.dtype));
        TRY(trine_check_is_vector(check, "bias", &a->bias, a->d.shape[a->d.ndim - 1]));
    }
    if (trine_check_starts_at(&a->d, &a->a) || trine_check_starts_at(&a->d, &a->b))
        return trine_bad(check, "d", "overlaps a or b: only c may be d in place");
    if ((unsigned)a->activation >= TRINE_ACT_COUNT)
        return trine_bad(check, "activation", "there is no activation %d", (int)a->activation);
    if (a->precision != TRINE_MATMUL_DEFAULT && a->precision != TRINE_MATMUL_TF32)
        return trine_bad(check, "precision", "there is no precision %d", (int)a->precision);
    return TRINE_OK;
}

OP_DESC(matmul, matmul, matmul_fields, check_matmul);
