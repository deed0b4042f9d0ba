#include <math.h>

#include "core/check.h"

/* loss or dloss: `each` shape for NONE, else one element. */
static trine_status check_loss(const trine_check *check, const char *name, const trine_tensor *loss, const char *than,
                               const trine_tensor *each, trine_loss_reduction reduction, bool batch)
{
    TRY(trine_check_dtype(check, name, loss, DT(F32)));
    if ((unsigned)reduction >= TRINE_LOSS_REDUCTION_COUNT || (reduction == TRINE_LOSS_BATCH_MEAN && !batch))
        return trine_bad(check, "reduction", "there is no reduction %d here", (int)reduction);
    if (reduction == TRINE_LOSS_NONE) return trine_check_same_shape(check, name, loss, than, each);
    return trine_tensor_numel(loss) == 1
               ? TRINE_OK
               : trine_bad(check, name, "has %lld elements where one is wanted", (long long)trine_tensor_numel(loss));
}

/* ---- Cross entropy ---- */

static const trine_op_field entropy_fields[] = {
    FIELD(trine_cross_entropy_args, logits, IN), FIELD(trine_cross_entropy_args, labels, IN),
    FIELD(trine_cross_entropy_args, loss, OUT), FIELD(trine_cross_entropy_args, lse, OUT | OPTIONAL)};
static const trine_op_field entropy_backward_fields[] = {
    FIELD(trine_cross_entropy_backward_args, logits, IN), FIELD(trine_cross_entropy_backward_args, labels, IN),
    FIELD(trine_cross_entropy_backward_args, lse, IN), FIELD(trine_cross_entropy_backward_args, dloss, IN),
    FIELD(trine_cross_entropy_backward_args, dlogits, OUT | INPLACE)};

static trine_status check_options(const trine_check *check, const trine_cross_entropy_options *o)
{
    if (o->ignore != 0 && o->ignore != 1) return trine_bad(check, "ignore", "%d is neither 0 nor 1", (int)o->ignore);
    if (!(o->label_smoothing >= 0 && o->label_smoothing <= 1))
        return trine_bad(check, "label_smoothing", "%g is not in [0, 1]", (double)o->label_smoothing);
    if (!(o->z_loss >= 0 && o->z_loss < INFINITY)) return trine_bad(check, "z_loss", "%g is not in [0, inf)", (double)o->z_loss);
    return o->softcap >= 0 && o->softcap < INFINITY ? TRINE_OK
                                                    : trine_bad(check, "softcap", "%g is not in [0, inf)", (double)o->softcap);
}

static trine_status check_rows(const trine_check *check, const trine_tensor *logits, const trine_tensor *labels,
                               const trine_tensor *lse, trine_tensor *each)
{
    TRY(trine_check_dtype(check, "logits", logits, DT_FLOATS));
    TRY(trine_check_ndim_at_least(check, "logits", logits, 1));
    *each = *logits;
    each->ndim--;
    TRY(trine_check_dtype(check, "labels", labels, DT(I32) | DT(I64)));
    TRY(trine_check_same_shape(check, "labels", labels, "logits' rows", each));
    if (trine_tensor_numel(each) > 0 && logits->shape[each->ndim] == 0)
        return trine_bad(check, "logits", "have no class to choose from");
    if (!trine_is_given(lse)) return TRINE_OK;
    TRY(trine_check_dtype(check, "lse", lse, DT(F32)));
    return trine_check_same_shape(check, "lse", lse, "labels", labels);
}

static trine_status check_entropy(const trine_check *check, const void *args)
{
    const trine_cross_entropy_args *a = args;
    trine_tensor each;
    TRY(check_rows(check, &a->logits, &a->labels, &a->lse, &each));
    TRY(check_options(check, &a->options));
    return check_loss(check, "loss", &a->loss, "labels", &each, a->options.reduction, false);
}

static trine_status check_entropy_backward(const trine_check *check, const void *args)
{
    const trine_cross_entropy_backward_args *a = args;
    trine_tensor each;
    TRY(check_rows(check, &a->logits, &a->labels, &a->lse, &each));
    TRY(check_options(check, &a->options));
    TRY(trine_check_same_dtype(check, "dlogits", &a->dlogits, "logits", &a->logits));
    TRY(trine_check_same_shape(check, "dlogits", &a->dlogits, "logits", &a->logits));
    return check_loss(check, "dloss", &a->dloss, "labels", &each, a->options.reduction, false);
}

/* ---- A linear layer's ---- */

static const trine_op_field linear_entropy_fields[] = {FIELD(trine_linear_cross_entropy_args, x, IN),
                                                       FIELD(trine_linear_cross_entropy_args, weight, IN),
                                                       FIELD(trine_linear_cross_entropy_args, labels, IN),
                                                       FIELD(trine_linear_cross_entropy_args, loss, OUT),
                                                       FIELD(trine_linear_cross_entropy_args, lse, OUT | OPTIONAL),
                                                       FIELD(trine_linear_cross_entropy_args, dx, OUT | OPTIONAL),
                                                       FIELD(trine_linear_cross_entropy_args, dweight, OUT | OPTIONAL)};

static trine_status check_linear_entropy(const trine_check *check, const void *args)
{
    const trine_linear_cross_entropy_args *a = args;
    trine_tensor logits = a->x, each;
    if (a->x.ndim != 2) return trine_bad(check, "x", "has %d axes where 2 are wanted", (int)a->x.ndim);
    if (a->weight.ndim != 2) return trine_bad(check, "weight", "has %d axes where 2 are wanted", (int)a->weight.ndim);
    TRY(trine_check_dtype(check, "x", &a->x, DT_FLOATS));
    TRY(trine_check_same_dtype(check, "weight", &a->weight, "x", &a->x));
    if (a->weight.shape[1] != a->x.shape[1])
        return trine_bad(check, "weight", "has %lld columns where x has %lld", (long long)a->weight.shape[1],
                         (long long)a->x.shape[1]);
    logits.shape[1] = a->weight.shape[0];
    TRY(check_rows(check, &logits, &a->labels, &a->lse, &each));
    TRY(check_options(check, &a->options));
    TRY(check_loss(check, "loss", &a->loss, "labels", &each, a->options.reduction, false));
    if (trine_is_given(&a->dx)) {
        TRY(trine_check_same_dtype(check, "dx", &a->dx, "x", &a->x));
        TRY(trine_check_same_shape(check, "dx", &a->dx, "x", &a->x));
    }
    if (trine_is_given(&a->dweight)) {
        TRY(trine_check_dtype(check, "dweight", &a->dweight, DT(F32) | 1u << a->x.dtype));
        TRY(trine_check_same_shape(check, "dweight", &a->dweight, "weight", &a->weight));
    }
    return a->chunk >= 0 ? TRINE_OK : trine_bad(check, "chunk", "%lld is negative", (long long)a->chunk);
}
OP_DESC(loss, linear_cross_entropy, linear_entropy_fields, check_linear_entropy);

/* ---- Element by element ---- */

#define PAIR_FIELDS(name) \
    static const trine_op_field name##_fields[] = {FIELD(trine_##name##_args, x, IN), FIELD(trine_##name##_args, target, IN), \
                                                   FIELD(trine_##name##_args, loss, OUT)}; \
    static const trine_op_field name##_backward_fields[] = { \
        FIELD(trine_##name##_backward_args, x, IN), FIELD(trine_##name##_backward_args, target, IN), \
        FIELD(trine_##name##_backward_args, dloss, IN), FIELD(trine_##name##_backward_args, dx, OUT | INPLACE)};
PAIR_FIELDS(mse)
PAIR_FIELDS(huber)
PAIR_FIELDS(kl_div)

static trine_status check_pair(const trine_check *check, const trine_tensor *x, const trine_tensor *target)
{
    TRY(trine_check_dtype(check, "x", x, DT_FLOATS));
    TRY(trine_check_same_dtype(check, "target", target, "x", x));
    return trine_check_same_shape(check, "target", target, "x", x);
}

static trine_status check_gradient(const trine_check *check, const trine_tensor *x, const trine_tensor *dx)
{
    TRY(trine_check_same_dtype(check, "dx", dx, "x", x));
    return trine_check_same_shape(check, "dx", dx, "x", x);
}

static trine_status check_delta(const trine_check *check, float delta)
{
    return delta > 0 && delta < INFINITY ? TRINE_OK : trine_bad(check, "delta", "%g is not in (0, inf)", (double)delta);
}

static trine_status check_log_target(const trine_check *check, int32_t log_target, const trine_tensor *x,
                                     trine_loss_reduction reduction)
{
    if (reduction == TRINE_LOSS_BATCH_MEAN) TRY(trine_check_ndim_at_least(check, "x", x, 1));
    return log_target == 0 || log_target == 1 ? TRINE_OK
                                              : trine_bad(check, "log_target", "%d is neither 0 nor 1", (int)log_target);
}

/* own: the op's own attribute. */
#define CHECK_PAIR(name, batch, own) \
    static trine_status check_##name(const trine_check *check, const void *args) \
    { \
        const trine_##name##_args *a = args; \
        TRY(check_pair(check, &a->x, &a->target)); \
        TRY(own); \
        return check_loss(check, "loss", &a->loss, "x", &a->x, a->reduction, batch); \
    } \
    static trine_status check_##name##_backward(const trine_check *check, const void *args) \
    { \
        const trine_##name##_backward_args *a = args; \
        TRY(check_pair(check, &a->x, &a->target)); \
        TRY(own); \
        TRY(check_gradient(check, &a->x, &a->dx)); \
        return check_loss(check, "dloss", &a->dloss, "x", &a->x, a->reduction, batch); \
    } \
    OP_DESC(loss, name, name##_fields, check_##name); \
    OP_DESC(loss, name##_backward, name##_backward_fields, check_##name##_backward);
CHECK_PAIR(mse, false, TRINE_OK)
CHECK_PAIR(huber, false, check_delta(check, a->delta))
CHECK_PAIR(kl_div, true, check_log_target(check, a->log_target, &a->x, a->reduction))

OP_DESC(loss, cross_entropy, entropy_fields, check_entropy);
OP_DESC(loss, cross_entropy_backward, entropy_backward_fields, check_entropy_backward);
