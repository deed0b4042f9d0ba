#include "core/check.h"
#include "core/conv_plan.h"

static const trine_op_field conv_fields[] = {FIELD(trine_conv_args, x, IN), FIELD(trine_conv_args, weight, IN),
                                             FIELD(trine_conv_args, bias, IN | OPTIONAL), FIELD(trine_conv_args, y, OUT)};
static const trine_op_field data_fields[] = {FIELD(trine_conv_backward_data_args, dy, IN),
                                             FIELD(trine_conv_backward_data_args, weight, IN),
                                             FIELD(trine_conv_backward_data_args, dx, OUT)};
static const trine_op_field weight_fields[] = {
    FIELD(trine_conv_backward_weight_args, x, IN), FIELD(trine_conv_backward_weight_args, dy, IN),
    FIELD(trine_conv_backward_weight_args, dweight, OUT), FIELD(trine_conv_backward_weight_args, dbias, OUT | OPTIONAL)};

enum { MOST = 1 << 20, LARGEST = 1 << 30 }; /* of attributes; of an axis: products stay within 64 bits */

/* The three tensors of every op of the family, by their names in it. */
typedef struct conv_tensors {
    const trine_tensor *x, *weight, *y;
    const char *x_name, *weight_name, *y_name;
    const trine_conv_window *window;
    int32_t channels_last;
} conv_tensors;

static trine_status check_window(const trine_check *check, const trine_conv_window *w)
{
    if (w->rank < 1 || w->rank > 2) return trine_bad(check, "window", "rank %d is neither 1 nor 2", (int)w->rank);
    for (int32_t i = 0; i < w->rank; i++) {
        const int32_t stride = trine_conv_stride(w, i), dilation = trine_conv_dilation(w, i);
        if (stride < 1 || stride > MOST) return trine_bad(check, "window", "stride %d is not in 1 to 2^20", (int)stride);
        if (dilation < 1 || dilation > MOST) return trine_bad(check, "window", "dilation %d is not in 1 to 2^20", (int)dilation);
        if (w->padding[i] < 0 || w->padding[i] > MOST)
            return trine_bad(check, "window", "padding %d is not in 0 to 2^20", (int)w->padding[i]);
    }
    if (w->groups < 0) return trine_bad(check, "window", "%d groups", (int)w->groups);
    return TRINE_OK;
}

static trine_status check_axes(const trine_check *check, const char *name, const trine_tensor *t, int32_t rank)
{
    if (t->ndim != rank + 2) return trine_bad(check, name, "has %d axes and needs %d", (int)t->ndim, (int)rank + 2);
    for (int32_t d = 0; d < t->ndim; d++)
        if (t->shape[d] > LARGEST) return trine_bad(check, name, "has an axis of more than 2^30");
    return TRINE_OK;
}

static trine_status check_divides(const trine_check *check, const char *name, int64_t channels, int64_t groups)
{
    if (channels % groups == 0) return TRINE_OK;
    return trine_bad(check, name, "has %lld channels, which the %lld groups of the window do not divide", (long long)channels,
                     (long long)groups);
}

static trine_status check_channels(const trine_check *check, const conv_tensors *t)
{
    const int32_t channel = trine_conv_channel(t->window, t->channels_last);
    const int64_t groups = trine_conv_groups(t->window), c = t->x->shape[channel], k = t->weight->shape[0];
    TRY(check_divides(check, t->x_name, c, groups));
    TRY(check_divides(check, t->weight_name, k, groups));
    if (t->weight->shape[channel] != c / groups)
        return trine_bad(check, t->weight_name, "has filters of %lld channels where %lld are wanted",
                         (long long)t->weight->shape[channel], (long long)(c / groups));
    return TRINE_OK;
}

static trine_status check_sizes(const trine_check *check, const conv_tensors *t)
{
    const trine_conv_window *w = t->window;
    trine_tensor wanted = *t->x;
    TRY(check_window(check, w));
    TRY(check_axes(check, t->x_name, t->x, w->rank));
    TRY(check_axes(check, t->weight_name, t->weight, w->rank));
    TRY(check_axes(check, t->y_name, t->y, w->rank));
    TRY(check_channels(check, t));
    wanted.shape[trine_conv_channel(w, t->channels_last)] = t->weight->shape[0];
    for (int32_t i = 0; i < w->rank; i++) {
        const int32_t d = trine_conv_axis(i, t->channels_last);
        if (t->weight->shape[d] < 1) return trine_bad(check, t->weight_name, "has filters without taps");
        wanted.shape[d] = trine_conv_out(w, i, t->x->shape[d], t->weight->shape[d]);
    }
    return trine_check_same_shape(check, t->y_name, t->y, "the convolved input", &wanted);
}

static trine_status check_precision(const trine_check *check, trine_matmul_precision precision)
{
    if (precision == TRINE_MATMUL_DEFAULT || precision == TRINE_MATMUL_TF32) return TRINE_OK;
    return trine_bad(check, "precision", "there is no precision %d", (int)precision);
}

static trine_status check_forward(const trine_check *check, const void *args)
{
    const trine_conv_args *a = args;
    const conv_tensors t = {&a->x, &a->weight, &a->y, "x", "weight", "y", &a->window, a->channels_last};
    TRY(trine_check_dtype(check, "x", &a->x, DT_FLOATS));
    TRY(trine_check_same_dtype(check, "weight", &a->weight, "x", &a->x));
    TRY(trine_check_dtype(check, "y", &a->y, DT(F32) | 1u << a->x.dtype));
    TRY(check_sizes(check, &t));
    if ((unsigned)a->activation >= TRINE_ACT_COUNT)
        return trine_bad(check, "activation", "there is no activation %d", (int)a->activation);
    TRY(check_precision(check, a->precision));
    if (!trine_is_given(&a->bias)) return TRINE_OK;
    TRY(trine_check_dtype(check, "bias", &a->bias, DT(F32) | 1u << a->x.dtype));
    return trine_check_is_vector(check, "bias", &a->bias, a->weight.shape[0]);
}

static trine_status check_data(const trine_check *check, const void *args)
{
    const trine_conv_backward_data_args *a = args;
    const conv_tensors t = {&a->dx, &a->weight, &a->dy, "dx", "weight", "dy", &a->window, a->channels_last};
    TRY(trine_check_dtype(check, "dy", &a->dy, DT_FLOATS));
    TRY(trine_check_same_dtype(check, "weight", &a->weight, "dy", &a->dy));
    TRY(check_precision(check, a->precision));
    TRY(trine_check_dtype(check, "dx", &a->dx, DT(F32) | 1u << a->dy.dtype));
    return check_sizes(check, &t);
}

static trine_status check_weight(const trine_check *check, const void *args)
{
    const trine_conv_backward_weight_args *a = args;
    const conv_tensors t = {&a->x, &a->dweight, &a->dy, "x", "dweight", "dy", &a->window, a->channels_last};
    TRY(trine_check_dtype(check, "x", &a->x, DT_FLOATS));
    TRY(trine_check_same_dtype(check, "dy", &a->dy, "x", &a->x));
    TRY(check_precision(check, a->precision));
    TRY(trine_check_dtype(check, "dweight", &a->dweight, DT(F32) | 1u << a->x.dtype));
    TRY(check_sizes(check, &t));
    if (!trine_is_given(&a->dbias)) return TRINE_OK;
    TRY(trine_check_dtype(check, "dbias", &a->dbias, DT(F32) | 1u << a->x.dtype));
    return trine_check_is_vector(check, "dbias", &a->dbias, a->dweight.shape[0]);
}

OP_DESC(conv, conv, conv_fields, check_forward);
OP_DESC(conv, conv_backward_data, data_fields, check_data);
OP_DESC(conv, conv_backward_weight, weight_fields, check_weight);
