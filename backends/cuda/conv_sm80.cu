/* Convolutions by the instruction of a warp, for compute capability 8.0 and later: a file of its own, compiled beside conv.cu. Tensors
 * whose channels do not lie densely are turned first, or, the result, afterwards (conv_turn.h). */
#include "backends/cuda/target.h"

#include "backends/cuda/conv_groups_weight_sm80.h"
#include "backends/cuda/conv_sm80.h"
#include "backends/cuda/conv_turn.h"
#include "core/inner_call.h"

namespace sm80 {

using conv_turn::conv_images;

/* ---- What the three ops have in common: x, the filters and y, of which the last one here is made ---- */

enum { conv_x, conv_filter, conv_y, conv_tensors };

struct conv_request {
    trine_tensor of[conv_tensors];
    int made;
    trine_conv_window window;
    int32_t channels_last;
    trine_matmul_precision precision;
};

static conv_request request_of(const trine_conv_args &a)
{
    return conv_request{{a.x, a.weight, a.y}, conv_y, a.window, a.channels_last, a.precision};
}
static conv_request request_of(const trine_conv_backward_data_args &a)
{
    return conv_request{{a.dx, a.weight, a.dy}, conv_x, a.window, a.channels_last, a.precision};
}
static conv_request request_of(const trine_conv_backward_weight_args &a)
{
    return conv_request{{a.x, a.dweight, a.dy}, conv_filter, a.window, a.channels_last, a.precision};
}
static void replace(trine_conv_args *a, const trine_tensor (&of)[conv_tensors])
{
    a->x = of[conv_x];
    a->weight = of[conv_filter];
    a->y = of[conv_y];
}
static void replace(trine_conv_backward_data_args *a, const trine_tensor (&of)[conv_tensors])
{
    a->dx = of[conv_x];
    a->weight = of[conv_filter];
    a->dy = of[conv_y];
}
static void replace(trine_conv_backward_weight_args *a, const trine_tensor (&of)[conv_tensors])
{
    a->x = of[conv_x];
    a->dweight = of[conv_filter];
    a->dy = of[conv_y];
}

/* ---- Channels last ---- */

static int64_t bytes_of(const trine_tensor &t) { return trine_dtype_bits(t.dtype) / 8; }

/* The tensor with its channels as the last axis. */
static trine_tensor view_channels_last(const trine_tensor &t, const conv_request &r)
{
    trine_tensor view = t;
    const int32_t channel = trine_conv_channel(&r.window, r.channels_last);
    for (int32_t d = channel; d + 1 < t.ndim; d++) {
        view.shape[d] = t.shape[d + 1];
        view.stride[d] = t.stride[d + 1];
    }
    view.shape[t.ndim - 1] = t.shape[channel];
    view.stride[t.ndim - 1] = t.stride[channel];
    return view;
}
/* made: written element by element, if need be. */
static bool lies_channels_last(const trine_tensor &view, bool made)
{
    bool lies = view.stride[view.ndim - 1] == 1;
    for (int32_t d = 0; d + 1 < view.ndim && !made; d++)
        lies = lies && (view.shape[d] == 1 || view.stride[d] * bytes_of(view) % 16 == 0);
    return lies;
}
static conv_images images_of(const conv_request &r, int which)
{
    trine_conv_shape s = trine_conv_shape_make(&r.of[conv_x], &r.of[conv_filter], &r.of[conv_y], &r.window, r.channels_last);
    const void *const data = r.of[which].data;
    if (which != conv_filter) s.c *= s.groups;
    s.k *= s.groups;
    return which == conv_x   ? conv_turn::images_of_x(s, data)
           : which == conv_y ? conv_turn::images_of_y(s, data)
                             : conv_turn::images_of_filters(s, data);
}

/* The request with channels last: views of the tensors, or copies of them in the workspace. */
struct turned_request {
    trine_tensor of[conv_tensors];
    bool copied[conv_tensors];
    size_t bytes; /* of the copies, from a multiple of 256 on */
};
static turned_request turn_of(const conv_request &r, char *workspace, bool any_filters)
{
    turned_request t = {};
    for (int i = 0; i < conv_tensors; i++) {
        t.of[i] = view_channels_last(r.of[i], r);
        t.copied[i] = !(any_filters && i == conv_filter) && !lies_channels_last(t.of[i], i == r.made);
        if (!t.copied[i]) continue;
        t.of[i] = trine_tensor_make(workspace ? workspace + t.bytes : nullptr, t.of[i].dtype, t.of[i].ndim, t.of[i].shape);
        t.bytes += (size_t(trine_tensor_numel(&t.of[i])) * size_t(bytes_of(t.of[i])) + 255) / 256 * 256;
    }
    return t;
}
static trine_status turn_in(trine_call *call, const conv_request &r, const turned_request &t)
{
    for (int i = 0; i < conv_tensors; i++) {
        if (!t.copied[i] || i == r.made) continue;
        const conv_images from = images_of(r, i);
        const trine_status status = conv_turn::turn_to_channels(call, from, bytes_of(r.of[i]), int(from.c), t.of[i].data);
        if (status != TRINE_OK) return status;
    }
    return TRINE_OK;
}
static trine_status turn_out(trine_call *call, const conv_request &r, const turned_request &t)
{
    if (!t.copied[r.made]) return TRINE_OK;
    const conv_images to = images_of(r, r.made);
    return conv_turn::turn_to_planes(call, t.of[r.made].data, int(to.c), to, bytes_of(r.of[r.made]));
}

/* ---- The ops ---- */

using by_products_fn = trine_status (*)(trine_call *, const void *, simt::conv_product_fn);

static bool in_eights(const conv_request &r, bool any_filters)
{
    const int64_t groups = trine_conv_groups(&r.window);
    const int32_t channel = trine_conv_channel(&r.window, r.channels_last);
    const int64_t together = any_filters ? groups : 1; /* channels that have to be in eights: all, or a group's */
    bool fits = r.of[conv_filter].shape[channel] * together % 8 == 0 && r.of[conv_filter].shape[0] / groups * together % 8 == 0;
    for (int i = 0; i < conv_tensors; i++) fits = fits && trine_tensor_numel(&r.of[i]) > 0;
    return fits;
}

/* run(call, args) with channels that lie last, with the workspace behind the copies. */
template <class Args, class F>
static trine_status run_turned(trine_call *call, Args args, const turned_request &t, F run, bool only_ask, size_t *needed)
{
    trine_call inner = trine_inner_call(call, t.bytes + 256, only_ask);
    inner.forced_by_op = false;
    replace(&args, t.of);
    args.channels_last = 1;
    return trine_inner_done(call, needed, &inner, run(&inner, &args));
}

/* Turns what asked says, runs, turns the result. */
template <class Args, class F> static trine_status turn_and_run(trine_call *call, const Args &args, const conv_request &r,
                                                                const turned_request &asked, bool any_filters, F run)
{
    size_t needed = 0;
    trine_status status = run_turned(call, args, asked, run, true, &needed);
    if (status != TRINE_OK) return status;
    TRINE_END_OF_QUERY(call, asked.bytes + 256 + needed);
    const turned_request t =
        turn_of(r, reinterpret_cast<char *>((reinterpret_cast<uintptr_t>(call->workspace) + 255) / 256 * 256), any_filters);
    status = turn_in(call, r, t);
    if (status == TRINE_OK) status = run_turned(call, args, t, run, false, &needed);
    return status == TRINE_OK ? turn_out(call, r, t) : status;
}

/* any_filters: the product takes filters as they lie. */
template <class Args> static trine_status run_conv(trine_call *call, const void *given, by_products_fn by_products,
                                                   trine_op_fn portable, simt::conv_product_fn product, bool any_filters = false)
{
    const Args &args = *static_cast<const Args *>(given);
    const conv_request r = request_of(args);
    TRINE_REQUIRE_THAT(call, r.of[r.made == conv_x].dtype != TRINE_F32 || r.precision == TRINE_MATMUL_TF32,
                       "needs f16, bf16, or f32 with precision TF32");
    const turned_request asked = turn_of(r, nullptr, any_filters);
    TRINE_REQUIRE_THAT(call, asked.bytes == 0 || in_eights(r, any_filters), "needs channels in eights");
    for (int i = 0; i < conv_tensors; i++)
        if (i != r.made && !(any_filters && i == conv_filter) && !asked.copied[i] && !simt::aligned16(r.of[i].data))
            return portable(call, given);
    if (asked.bytes == 0) return by_products(call, given, product);
    return turn_and_run(call, args, r, asked, any_filters,
                        [=](trine_call *inner, const Args *turned) { return by_products(inner, turned, product); });
}

/* True f32 in groups: the portable kernels read channels that lie densely by packs, planes element by element. Of little work the
 * turns' launches take longer than what they save (any: not asked). */
template <class Args> static trine_status run_groups(trine_call *call, const void *given, trine_op_fn portable, bool any)
{
    enum { least_elements = 1 << 20, pack = 4 };
    const Args &args = *static_cast<const Args *>(given);
    const conv_request r = request_of(args);
    const int64_t groups = trine_conv_groups(&r.window);
    const trine_tensor &filter = r.of[conv_filter];
    int64_t numel = 0;
    bool fits = groups > 1 && r.precision != TRINE_MATMUL_TF32;
    for (int i = 0; i < conv_tensors; i++) {
        const int64_t own = trine_tensor_numel(&r.of[i]);
        fits = fits && own > 0 && r.of[i].dtype == TRINE_F32;
        if (i != conv_filter) numel += own;
    }
    TRINE_REQUIRE_THAT(call, fits, "needs true f32 in groups");
    TRINE_REQUIRE_THAT(
        call, filter.shape[trine_conv_channel(&r.window, r.channels_last)] % pack == 0 && filter.shape[0] / groups % pack == 0,
        "needs groups of channels in fours");
    TRINE_REQUIRE_THAT(call, any || numel >= least_elements, "needs a million elements or more");
    const turned_request asked = turn_of(r, nullptr, false);
    TRINE_REQUIRE_THAT(call, asked.copied[conv_x] || asked.copied[conv_y], "needs channels that are not the last axis");
    return turn_and_run(call, args, r, asked, false,
                        [=](trine_call *inner, const Args *turned) { return portable(inner, turned); });
}

template <bool any> trine_status turned_forward(trine_call *call, const void *args)
{
    return run_groups<trine_conv_args>(call, args, trine_cuda_conv_forward_groups, any);
}
template <bool any> trine_status turned_data(trine_call *call, const void *args)
{
    return run_groups<trine_conv_backward_data_args>(call, args, trine_cuda_conv_data_groups, any);
}
template <bool any> trine_status turned_weight(trine_call *call, const void *args)
{
    return run_groups<trine_conv_backward_weight_args>(call, args, trine_cuda_conv_weight_portable, any);
}

template <int tile> trine_status conv_forward(trine_call *call, const void *args)
{
    return run_conv<trine_conv_args>(call, args, simt::conv_forward_by, trine_cuda_conv_forward_portable, conv_product<tile>);
}
template <int tile> trine_status conv_data(trine_call *call, const void *args)
{
    return run_conv<trine_conv_backward_data_args>(call, args, simt::conv_data_by, trine_cuda_conv_data_portable,
                                                   conv_product<tile>);
}
template <int tile> trine_status conv_weight(trine_call *call, const void *args)
{
    return run_conv<trine_conv_backward_weight_args>(call, args, simt::conv_weight_by, trine_cuda_conv_weight_portable,
                                                     conv_product<tile>);
}
trine_status group_tiles_forward(trine_call *call, const void *args)
{
    return run_conv<trine_conv_args>(call, args, simt::conv_forward_by, trine_cuda_conv_forward_portable, group_tiles_product,
                                     true);
}
trine_status group_tiles_data(trine_call *call, const void *args)
{
    return run_conv<trine_conv_backward_data_args>(call, args, simt::conv_data_by, trine_cuda_conv_data_portable,
                                                   group_tiles_product, true);
}
trine_status group_tiles_weight(trine_call *call, const void *args)
{
    return run_conv<trine_conv_backward_weight_args>(call, args, simt::conv_weight_by, trine_cuda_conv_weight_portable,
                                                     group_tiles_weight_product, true);
}

template trine_status turned_forward<false>(trine_call *, const void *);
template trine_status turned_forward<true>(trine_call *, const void *);
template trine_status turned_data<false>(trine_call *, const void *);
template trine_status turned_data<true>(trine_call *, const void *);
template trine_status turned_weight<false>(trine_call *, const void *);
template trine_status turned_weight<true>(trine_call *, const void *);
template trine_status conv_forward<any_tile>(trine_call *, const void *);
template trine_status conv_forward<0>(trine_call *, const void *);
template trine_status conv_forward<1>(trine_call *, const void *);
template trine_status conv_forward<2>(trine_call *, const void *);
template trine_status conv_data<any_tile>(trine_call *, const void *);
template trine_status conv_weight<any_tile>(trine_call *, const void *);

} // namespace sm80
