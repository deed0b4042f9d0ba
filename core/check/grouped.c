#include "core/check.h"

static const trine_op_field grouped_matmul_fields[] = {
    FIELD(trine_grouped_matmul_args, a, IN),
    FIELD(trine_grouped_matmul_args, b, IN),
    FIELD(trine_grouped_matmul_args, a_scale, IN | OPTIONAL),
    FIELD(trine_grouped_matmul_args, b_scale, IN | OPTIONAL),
    FIELD(trine_grouped_matmul_args, offsets, IN | OPTIONAL),
    FIELD(trine_grouped_matmul_args, counts, IN | OPTIONAL),
    FIELD(trine_grouped_matmul_args, bias, IN | OPTIONAL),
    FIELD(trine_grouped_matmul_args, d, OUT),
};

/* What t must be: its axes, as many as ndim says. */
static trine_status check_shape(const trine_check *check, const char *name, const trine_tensor *t, int32_t ndim, int64_t first,
                                int64_t second, int64_t third)
{
    trine_tensor wanted = *t;
    wanted.ndim = ndim;
    wanted.shape[0] = first;
    wanted.shape[1] = second;
    wanted.shape[2] = third;
    return trine_check_same_shape(check, name, t, "what the other tensors want", &wanted);
}

static trine_status check_layout(const trine_check *check, const trine_grouped_matmul_args *a, int64_t *groups)
{
    const bool masked = trine_is_given(&a->counts), sums = !masked && a->b.ndim == 2;
    const int32_t ndim = masked ? 3 : 2;
    if (a->a.ndim != ndim) return trine_bad(check, "a", "has %d axes, not %d", (int)a->a.ndim, (int)ndim);
    if (a->b.ndim != 3 && !sums) return trine_bad(check, "b", "has %d axes, not 3", (int)a->b.ndim);
    const int64_t rows = a->a.shape[ndim - 2], terms = a->a.shape[ndim - 1], columns = a->b.shape[a->b.ndim - 1];
    if (sums && a->d.ndim != 3) return trine_bad(check, "d", "has %d axes, not 3", (int)a->d.ndim);
    *groups = sums ? a->d.shape[0] : a->b.shape[0];
    if (sums) {
        TRY(check_shape(check, "b", &a->b, 2, terms, columns, 0));
        return check_shape(check, "d", &a->d, 3, *groups, rows, columns);
    }
    TRY(check_shape(check, "b", &a->b, 3, *groups, terms, columns));
    if (masked) TRY(check_shape(check, "a", &a->a, 3, *groups, rows, terms));
    return masked ? check_shape(check, "d", &a->d, 3, *groups, rows, columns)
                  : check_shape(check, "d", &a->d, 2, rows, columns, 0);
}

/* Those of a: of the rows of all groups together, which no block of 128 divides, or of each masked group; those of b: a set a group. */
static trine_status check_scales(const trine_check *check, const trine_grouped_matmul_args *a, bool masked)
{
    const int64_t rows = a->a.shape[a->a.ndim - 2], terms = a->a.shape[a->a.ndim - 1], columns = a->b.shape[2];
    if (!trine_is_given(&a->a_scale)) return trine_bad(check, "a_scale", "is not given, and a is fp8");
    if (!trine_is_given(&a->b_scale)) return trine_bad(check, "b_scale", "is not given, and b is fp8");
    TRY(trine_check_product_scale(check, "a_scale", &a->a_scale, &a->a, rows, terms, 1));
    const int64_t of_rows = a->a_scale.ndim < 2 ? 1 : a->a_scale.shape[a->a_scale.ndim - 2];
    if (!masked && of_rows != 1 && of_rows != rows)
        return trine_bad(check, "a_scale", "has %lld elements for %lld rows", (long long)of_rows, (long long)rows);
    return trine_check_product_scale(check, "b_scale", &a->b_scale, &a->b, columns, terms, 2);
}

static trine_status check_dtypes(const trine_check *check, const trine_grouped_matmul_args *a)
{
    TRY(trine_check_dtype(check, "a", &a->a, DT_FLOATS | DT_FP8));
    if (1u << a->a.dtype & DT_FP8) {
        TRY(trine_check_dtype(check, "b", &a->b, DT_FP8));
        return trine_check_dtype(check, "d", &a->d, DT_FLOATS);
    }
    if (trine_is_given(&a->a_scale)) return trine_bad(check, "a_scale", "is given, and a is not fp8");
    if (trine_is_given(&a->b_scale)) return trine_bad(check, "b_scale", "is given, and b is not fp8");
    TRY(trine_check_same_dtype(check, "b", &a->b, "a", &a->a));
    return trine_check_dtype(check, "d", &a->d, DT(F32) | 1u << a->a.dtype);
}

static trine_status check_grouped_matmul(const trine_check *check, const void *args)
{
    const trine_grouped_matmul_args *a = args;
    const bool masked = trine_is_given(&a->counts);
    const trine_tensor *sizes = masked ? &a->counts : &a->offsets;
    const char *name = masked ? "counts" : "offsets";
    int64_t groups = 0;
    TRY(check_dtypes(check, a));
    if (masked && trine_is_given(&a->offsets)) return trine_bad(check, "counts", "is given and offsets, too");
    if (!trine_is_given(sizes)) return trine_bad(check, "offsets", "is not given, nor is counts");
    TRY(check_layout(check, a, &groups));
    if (1u << a->a.dtype & DT_FP8) {
        if (a->b.ndim != 3) return trine_bad(check, "a", "is fp8, whose scales sums by group have not");
        TRY(check_scales(check, a, masked));
    }
    TRY(trine_check_dtype(check, name, sizes, DT(I32) | DT(I64)));
    TRY(trine_check_ndim_at_least(check, name, sizes, 1));
    TRY(trine_check_is_vector(check, name, sizes, !masked && sizes->shape[0] == groups + 1 ? groups + 1 : groups));
    if (trine_is_given(&a->bias)) {
        TRY(trine_check_dtype(check, "bias", &a->bias, DT(F32) | 1u << (1u << a->a.dtype & DT_FP8 ? a->d.dtype : a->a.dtype)));
        TRY(check_shape(check, "bias", &a->bias, 2, groups, a->b.shape[a->b.ndim - 1], 0));
        if (!trine_tensor_is_contiguous(&a->bias)) return trine_bad(check, "bias", "is not contiguous");
    }
    if ((unsigned)a->activation >= TRINE_ACT_COUNT)
        return trine_bad(check, "activation", "there is no activation %d", (int)a->activation);
    return TRINE_OK;
}

OP_DESC(grouped, grouped_matmul, grouped_matmul_fields, check_grouped_matmul);
