/* depthwise, the host side of what needs no kernel: what fits, and how it lies. */
#ifndef TRINE_SIMT_CONV_ROWS_PLAN_H
#define TRINE_SIMT_CONV_ROWS_PLAN_H

#include "backends/simt/conv_rows.h"

namespace simt {

enum { rows_most_taps = 7, rows_most_taps_stride = 5 };

inline rows_shape rows_shape_of(const trine_conv_shape &s)
{
    rows_shape r = {};
    r.n = int32_t(s.n);
    r.channels = int32_t(s.groups);
    r.x_n = s.x_n;
    r.x_c = s.x_c;
    r.y_n = s.y_n;
    r.y_c = s.y_k;
    r.f_c = s.f_k;
    for (int i = 0; i < 2; i++) {
        r.in[i] = int32_t(s.in[i]);
        r.out[i] = int32_t(s.out[i]);
        r.taps[i] = int32_t(s.taps[i]);
        r.padding[i] = int32_t(s.padding[i]);
        r.x_at[i] = s.x_at[i];
        r.y_at[i] = s.y_at[i];
        r.f_at[i] = s.f_at[i];
    }
    return r;
}

/* Input and output change places. */
inline rows_shape rows_swapped(rows_shape r)
{
    const rows_shape s = r;
    r.x_n = s.y_n;
    r.x_c = s.y_c;
    r.y_n = s.x_n;
    r.y_c = s.x_c;
    for (int i = 0; i < 2; i++) {
        r.in[i] = s.out[i];
        r.out[i] = s.in[i];
        r.x_at[i] = s.y_at[i];
        r.y_at[i] = s.x_at[i];
    }
    return r;
}

/* With a stride of 1 the data gradient is a convolution of dy with the taps backwards: r has input and output swapped. The filters'
 * last tap. */
inline const void *rows_backwards(rows_shape *r, const trine_conv_shape &s, const void *filters, int64_t element_bytes)
{
    for (int i = 0; i < 2; i++) {
        if (filters) filters = static_cast<const char *>(filters) + (s.taps[i] - 1) * s.f_at[i] * element_bytes;
        r->f_at[i] = -s.f_at[i];
        r->padding[i] = int32_t(s.taps[i] - 1 - s.padding[i]);
    }
    return filters;
}

/* The one of both axes; an axis of one output has any. */
inline int64_t rows_stride(const trine_conv_shape &s) { return s.out[0] == 1 && s.in[0] == 1 ? s.stride[1] : s.stride[0]; }

inline trine_status rows_check(trine_call *call, const trine_conv_shape &s)
{
    const int64_t stride = rows_stride(s), most = stride == 1 ? rows_most_taps : rows_most_taps_stride;
    TRINE_REQUIRE_THAT(call, s.groups > 1 && s.c == 1 && s.k == 1, "needs one channel a group");
    TRINE_REQUIRE_THAT(call, stride <= 2 && stride == s.stride[1], "needs a stride of 1 or 2, of both axes");
    for (int i = 0; i < 2; i++) {
        TRINE_REQUIRE_THAT(call, s.taps[i] >= 3 && s.taps[i] <= most && s.taps[i] % 2 && s.taps[i] == s.taps[0],
                           "needs 3 x 3, 5 x 5 or, with a stride of 1, 7 x 7 taps");
        TRINE_REQUIRE_THAT(call, s.dilation[i] == 1, "needs no dilation");
        TRINE_REQUIRE_THAT(call, s.padding[i] < 1 << 15, "needs less padding");
        TRINE_REQUIRE_THAT(call, s.in[i] > 0 && s.out[i] > 0, "needs outputs");
    }
    TRINE_REQUIRE_THAT(call,
                       s.n > 0 && s.n * s.groups * s.in[0] * s.in[1] < int64_t(1) << 31 &&
                           s.n * s.groups * s.out[0] * s.out[1] < int64_t(1) << 31,
                       "needs images, and less than 2^31 elements");
    return TRINE_OK;
}

/* Steps of all axes but `dense` are multiples of V elements. */
inline bool rows_pack(int V, int64_t n, int64_t image, const int32_t *size, const int64_t *at, bool columns)
{
    return (n == 1 || image % V == 0) && (size[0] == 1 || at[0] % V == 0) && (!columns || size[1] == 1 || at[1] % V == 0);
}

/* Bytes of a thread's pack of channels: what its sums leave room for. */
constexpr int rows_pack_bytes(int taps) { return taps == 3 ? 8 : 4; }

/* Elements of such a pack; 0: they do not lie so. */
inline int rows_channels_pack(const rows_shape &s, int64_t element_bytes, int pack_bytes)
{
    const int V = int(pack_bytes / element_bytes);
    return s.x_c == 1 && s.y_c == 1 && s.channels % V == 0 && rows_pack(V, s.n, s.x_n, s.in, s.x_at, true) &&
                   rows_pack(V, s.n, s.y_n, s.out, s.y_at, true)
               ? V
               : 0;
}

/* What all ops have; epilogue: of a forward convolution. */
template <class T> inline rows_problem<T> rows_problem_of(const rows_shape &s, const trine_tensor &x, const void *filters,
                                                          const trine_tensor &y, const trine_conv_args *epilogue)
{
    rows_problem<T> p = {};
    p.s = s;
    p.x = static_cast<const T *>(x.data);
    p.filters = static_cast<const T *>(filters);
    p.y = y.data;
    p.wide = y.dtype == TRINE_F32;
    if (epilogue) {
        p.bias = trine_is_given(&epilogue->bias) ? epilogue->bias.data : nullptr;
        p.bias_wide = epilogue->bias.dtype == TRINE_F32;
        p.activation = epilogue->activation;
        p.activation_alpha = epilogue->activation_alpha;
    }
    return p;
}

template <class T> inline bool rows_aligned(const rows_problem<T> &p, int V)
{
    const uintptr_t x = sizeof(T) * V, y = (p.wide ? 4 : sizeof(T)) * V;
    return reinterpret_cast<uintptr_t>(p.x) % x == 0 && reinterpret_cast<uintptr_t>(p.y) % y == 0;
}

} // namespace simt

#endif
