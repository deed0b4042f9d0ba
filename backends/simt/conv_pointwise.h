/* pointwise: filters of one tap without stride or padding are matrix products of the tensors as they lie, by the backend's
 * matmul. Planes are a batch, pixels of channels that follow each other one matrix. 16-bit floats with dense channels are left
 * to the vendor's own kernels, which are as fast. */
#ifndef TRINE_SIMT_CONV_POINTWISE_H
#define TRINE_SIMT_CONV_POINTWISE_H

#include "backends/simt/launch.h"
#include "core/conv_plan.h"
#include "core/inner_call.h"

extern "C" trine_status TRINE_BACKEND_FN(matmul)(trine_call *call, const trine_matmul_args *args);

namespace simt {

/* Pixels as a matrix of each image, [n][pixel][channel]. */
struct pointwise_pixels {
    int64_t image, pixel, channel;
    bool lies; /* pixels are one distance apart */
};

inline pointwise_pixels pointwise_pixels_of(const int64_t *size, int64_t image, int64_t channel, const int64_t *at)
{
    const bool lies = size[0] == 1 || size[1] == 1 || at[0] == size[1] * at[1];
    return pointwise_pixels{image, size[1] == 1 ? at[0] : at[1], channel, lies};
}

/* All images are one matrix. */
inline bool pointwise_follows(const pointwise_pixels &x, int64_t n, int64_t pixels)
{
    return n == 1 || x.image == pixels * x.pixel;
}

inline trine_tensor pointwise_view(const trine_tensor &t, int64_t n, int64_t rows, int64_t columns, int64_t image, int64_t row,
                                   int64_t column)
{
    trine_tensor v = t;
    v.ndim = 3;
    v.shape[0] = n;
    v.shape[1] = rows;
    v.shape[2] = columns;
    v.stride[0] = image;
    v.stride[1] = row;
    v.stride[2] = column;
    return v;
}

/* A convolution whose input, or its gradient, is x, and whose output y. */
struct pointwise_form {
    trine_conv_shape s;
    pointwise_pixels x, y;
};

inline trine_status pointwise_form_of(trine_call *call, const trine_tensor &x, const trine_tensor &weight, const trine_tensor &y,
                                      const trine_conv_window &window, int32_t channels_last, pointwise_form *f)
{
    const trine_conv_shape s = trine_conv_shape_make(&x, &weight, &y, &window, channels_last);
    f->s = s;
    f->x = pointwise_pixels_of(s.in, s.x_n, s.x_c, s.x_at);
    f->y = pointwise_pixels_of(s.out, s.y_n, s.y_k, s.y_at);
    for (int i = 0; i < 2; i++)
        TRINE_REQUIRE_THAT(call, s.taps[i] == 1 && s.padding[i] == 0 && (s.stride[i] == 1 || s.in[i] == 1),
                           "needs filters of one tap without stride and padding");
    TRINE_REQUIRE_THAT(call, s.groups == 1, "needs one group");
    TRINE_REQUIRE_THAT(call, f->x.lies && f->y.lies, "needs pixels that are one distance apart");
    TRINE_REQUIRE_THAT(call, weight.dtype == TRINE_F32 || (s.x_c != 1 && s.y_k != 1), "needs f32, or planes");
    return TRINE_OK;
}

/* matmul copies a filter that does not lie along its terms for each image of planes, where tf32 is wanted. */
inline trine_status pointwise_check_filter(trine_call *call, trine_matmul_precision precision, const pointwise_pixels &x,
                                           int64_t terms)
{
    TRINE_REQUIRE_THAT(call, precision != TRINE_MATMUL_TF32 || x.channel == 1 || terms == 1,
                       "needs filters that lie densely along what is summed up, with tf32 of planes");
    return TRINE_OK;
}

inline trine_status pointwise_run(trine_call *call, const trine_matmul_args &m)
{
    trine_call inner = trine_inner_call(call, 0, call->query);
    const trine_status status = TRINE_BACKEND_FN(matmul)(&inner, &m);
    if (inner.workspace_needed > call->workspace_needed) call->workspace_needed = inner.workspace_needed;
    return status == TRINE_ERROR_UNSUPPORTED ? trine_refuse(call, inner.why) : status;
}

/* d[n] = a[n] b over pixels, a and d of `from` and `to` channels; f: the filter's strides of them. */
inline trine_matmul_args pointwise_product(const trine_conv_shape &s, const trine_tensor &a, const pointwise_pixels &at,
                                           int64_t from, const trine_tensor &filter, int64_t f_from, int64_t f_to,
                                           const trine_tensor &d, const pointwise_pixels &to, int64_t channels)
{
    int64_t n = s.n, pixels = s.in[0] * s.in[1];
    if (pointwise_follows(at, n, pixels) && pointwise_follows(to, n, pixels)) {
        pixels *= n;
        n = 1;
    }
    trine_matmul_args m;
    memset(&m, 0, sizeof m);
    m.a = pointwise_view(a, n, pixels, from, at.image, at.pixel, at.channel);
    m.b = pointwise_view(filter, 1, from, channels, 0, f_from, f_to);
    m.d = pointwise_view(d, n, pixels, channels, to.image, to.pixel, to.channel);
    m.alpha = 1;
    return m;
}

inline trine_status pointwise_forward(trine_call *call, const void *args)
{
    const trine_conv_args *a = static_cast<const trine_conv_args *>(args);
    pointwise_form f;
    trine_status status = pointwise_form_of(call, a->x, a->weight, a->y, a->window, a->channels_last, &f);
    if (status == TRINE_OK) status = pointwise_check_filter(call, a->precision, f.x, f.s.f_c);
    if (status != TRINE_OK) return status;
    trine_matmul_args m = pointwise_product(f.s, a->x, f.x, f.s.c, a->weight, f.s.f_c, f.s.f_k, a->y, f.y, f.s.k);
    m.bias = a->bias;
    m.activation = a->activation;
    m.activation_alpha = a->activation_alpha;
    m.precision = a->precision;
    return pointwise_run(call, m);
}

inline trine_status pointwise_data(trine_call *call, const void *args)
{
    const trine_conv_backward_data_args *a = static_cast<const trine_conv_backward_data_args *>(args);
    pointwise_form f;
    trine_status status = pointwise_form_of(call, a->dx, a->weight, a->dy, a->window, a->channels_last, &f);
    if (status == TRINE_OK) status = pointwise_check_filter(call, a->precision, f.y, f.s.f_k);
    if (status != TRINE_OK) return status;
    trine_matmul_args m = pointwise_product(f.s, a->dy, f.y, f.s.k, a->weight, f.s.f_k, f.s.f_c, a->dx, f.x, f.s.c);
    m.precision = a->precision;
    return pointwise_run(call, m);
}

/* dweight = dy^T x over all pixels. */
inline trine_status pointwise_weight(trine_call *call, const void *args)
{
    const trine_conv_backward_weight_args *a = static_cast<const trine_conv_backward_weight_args *>(args);
    pointwise_form f;
    const trine_status status = pointwise_form_of(call, a->x, a->dweight, a->dy, a->window, a->channels_last, &f);
    if (status != TRINE_OK) return status;
    const int64_t pixels = f.s.in[0] * f.s.in[1];
    TRINE_REQUIRE_THAT(call, a->x.dtype == TRINE_F32, "needs f32");
    TRINE_REQUIRE_THAT(call, pointwise_follows(f.x, f.s.n, pixels) && pointwise_follows(f.y, f.s.n, pixels),
                       "needs images that follow each other");
    trine_matmul_args m;
    memset(&m, 0, sizeof m);
    m.a = pointwise_view(a->dy, 1, f.s.k, f.s.n * pixels, 0, f.y.channel, f.y.pixel);
    m.b = pointwise_view(a->x, 1, f.s.n * pixels, f.s.c, 0, f.x.pixel, f.x.channel);
    m.d = pointwise_view(a->dweight, 1, f.s.k, f.s.c, 0, f.s.f_k, f.s.f_c);
    m.alpha = 1;
    m.precision = a->precision;
    return pointwise_run(call, m);
}

} // namespace simt

#endif
