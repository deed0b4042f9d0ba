/* Hopper's normalisation of channels, groups and very long rows: a file of its own, because its instructions need code for sm_90. */
#include "backends/cuda/target.h"

#include "backends/cuda/norm_variants.h"
#include "backends/cuda/row.h"

#include "backends/cuda/channel_ring_sm90.h"
#include "backends/simt/groupnorm_gradient.h"
#include "backends/simt/launch.h"
#include "core/inner_call.h"

namespace channel_ring {

enum {
    least_bytes = 48 << 20, /* of x: below, the shared kernels that read once take no longer, */
    least_twice = 4 << 20,  /* and those that read twice */
    least_row = 2 << 20,    /* of all inputs: a cluster holds what is shorter */
    least_plane = 4 << 10,  /* bytes of a plane, of all inputs: a bulk copy takes as long to start as half a KiB to come */
    least_dense = 256       /* of planes that come together */
};

/* How channels are cut into tiles, by shapes and strides alone; false if they can't be. */
template <class T, int I> static bool make_plan(plan *p, const trine_call *call, const trine_units &u)
{
    constexpr int V = 16 / int(sizeof(T)), room = tile_bytes / 16 / I; /* packs of a tile's input */
    const int last = u.inside.ndim - 1;
    if (u.n == 0 || u.units == 0 || last > 1 || u.outer.ndim != 1) return false;
    const int64_t planes = last ? u.inside.size[0] : 1, plane = u.inside.size[last];
    if (planes > 1 << 30 || plane > 1 << 30 || plane % V) return false;
    p->dense = true;
    for (int k = 0; k < simt::channel_operands; k++) {
        p->plane_step[k] = last ? u.inside.stride[k][0] : 0;
        p->set_step[k] = u.units == 1 ? 0 : u.outer.stride[k][0];
        p->dense = p->dense && (planes == 1 || p->plane_step[k] == plane);
        if (u.inside.stride[k][last] != 1 || p->set_step[k] % V || p->plane_step[k] % V) return false;
    }
    if (plane * int64_t(sizeof(T)) * I < (p->dense ? int64_t(least_dense) : int64_t(least_plane))) return false;
    p->sets = u.units;
    p->n = u.n;
    p->planes = int32_t(planes);
    p->all_packs = int32_t(plane / V);
    p->pieces = int32_t(simt::ceil_div(plane / V, int64_t(room)));
    p->packs = int32_t(simt::ceil_div(plane / V, int64_t(p->pieces)));
    p->shift = p->packs >= 128 ? 5 : p->packs >= 64 ? 4 : 3; /* packs of as many lanes lie in other banks */
    p->of_tile = p->pieces > 1 ? 1 : int32_t(room / p->packs < planes ? room / p->packs : planes);
    const int64_t tiles = p->pieces > 1 ? planes * p->pieces : simt::ceil_div(planes, int64_t(p->of_tile));
    /* the rings hold three sets, for one comes while one waits and one goes; and tiles are at least half full */
    if (tiles > int64_t(stages / 3) * call->device->props.compute_units || p->of_tile * p->packs * 2 < room) return false;
    if (p->sets * tiles >= int64_t(1) << 31) return false;
    p->tiles = int32_t(tiles);
    p->by_packs = simt::divider32(p->packs);
    p->by_tiles = simt::divider32(tiles);
    p->by_pieces = simt::divider32(p->pieces);
    return true;
}

/* What an op adds to the ring: memory of its own, and something to be done afterwards. */
struct nothing_more {
    static size_t bytes(const plan &) { return 0; }
    template <class Op> static void give(Op *, void *) {}
    static trine_status after(trine_call *, const plan &, void *) { return TRINE_OK; }
};

/* portable: what runs if this can't, as only the launch knows; so its workspace is asked for, too. make(n): the Op, of sets of n.
 * least: bytes of x. */
template <class Op, class Args, class Make, class More = nothing_more>
static trine_status run(trine_call *call, const Args *a, const trine_tensor *const *tensors, const trine_units &u, int64_t least,
                        trine_op_fn portable, Make make, More more = {})
{
    using T = typename Op::element;
    plan p = {};
    TRINE_REQUIRE_THAT(call, u.units * u.n * int64_t(sizeof(T)) >= least, "needs larger tensors");
    TRINE_REQUIRE_THAT(
        call, (make_plan<T, Op::inputs>(&p, call, u)),
        "needs dense planes or rows of 2 to 4 KiB and more, multiples of 16 bytes, of which three fit on the chip");
    const size_t own = size_t(p.sets) * size_t(p.tiles + 2) * sizeof(note);
    size_t bytes = own + more.bytes(p);
    trine_call inner = trine_inner_call(call, 0, true);
    const trine_status status = trine_inner_done(call, &bytes, &inner, portable(&inner, a));
    if (status != TRINE_OK) return status;
    TRINE_END_OF_QUERY(call, bytes);
    for (int k = 0; k < simt::channel_operands; k++)
        if (!simt::aligned16(tensors[k]->data)) return portable(call, a);
    const auto stream = static_cast<cudaStream_t>(call->native);
    if (cudaMemsetAsync(call->workspace, 0, own, stream) != cudaSuccess) return target::launched(call);
    const int64_t tiles = p.sets * p.tiles, most = call->device->props.compute_units;
    target::allow_shared(kernel<Op>, tile_ring::bytes_of<memory>);
    cudaLaunchAttribute together = {};
    together.id = cudaLaunchAttributeCooperative;
    together.val.cooperative = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(unsigned(tiles < most ? tiles : most));
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = tile_ring::bytes_of<memory>;
    config.stream = stream;
    config.attrs = &together;
    config.numAttrs = 1;
    void *const own_more = static_cast<unsigned char *>(call->workspace) + own;
    Op op = make(u.n);
    more.give(&op, own_more);
    if (cudaLaunchKernelEx(&config, kernel<Op>, op, p, static_cast<note *>(call->workspace)) ==
        cudaErrorCooperativeLaunchTooLarge) {
        (void)cudaGetLastError(); /* the stream has a part of the device */
        return portable(call, a);
    }
    const trine_status launched = target::launched(call);
    return launched == TRINE_OK ? more.after(call, p, own_more) : launched;
}

static trine_status require(trine_call *call)
{
#ifndef TRINE_CODE_SM90A
    return trine_refuse(call, "needs a build with machine code for sm_90a");
#endif
    TRINE_REQUIRE_THAT(call, strcmp(call->device->props.arch, "sm_90") == 0, "needs a GPU of compute capability 9.0");
    return TRINE_OK;
}

/* Op: forward or backward. */
template <template <class> class Op, class Args> static trine_status
by_channel(trine_call *call, const Args *a, const trine_tensor *const *tensors, bool any_size, trine_op_fn portable)
{
    const trine_status status = require(call);
    if (status != TRINE_OK) return status;
    TRINE_REQUIRE_THAT(call, !a->inference, "needs training: inference has no sums");
    const trine_units u = trine_units_make(tensors, simt::channel_operands, a->channels_last, 0);
    return simt::visit_floats(call, a->x.dtype, [&](auto t) {
        using op = Op<typename decltype(t)::type>;
        return run<op>(call, a, tensors, u, any_size ? 0 : int64_t(least_bytes), portable, [&](int64_t n) { return op(a, n); });
    });
}

/* Groups of samples as sets, of which a channel is a plane. False if they don't lie one after the other, as packed tensors do, or if
 * the channels are not axis 1, where the ops look for them. */
template <class Args> static bool units_of_groups(trine_units *u, const Args *a, const trine_tensor *const *tensors)
{
    *u = trine_units_make(tensors, simt::channel_operands, a->channels_last, a->groups);
    if (a->channels_last || u->n == 0 || u->units == 0 || u->inside.ndim != 1) return false;
    const int64_t members = u->members, samples = a->x.shape[0];
    u->inside.ndim = 2;
    u->inside.size[1] = u->n;
    u->inside.size[0] = members;
    u->outer.ndim = 1;
    u->outer.size[0] = u->sets;
    for (int k = 0; k < simt::channel_operands; k++) {
        const int64_t channel = tensors[k]->stride[1];
        if (samples > 1 && tensors[k]->stride[0] != channel * u->channels) return false;
        u->inside.stride[k][1] = u->inside.stride[k][0];
        u->inside.stride[k][0] = channel;
        u->outer.stride[k][0] = channel * members;
    }
    u->n *= members;
    u->units = u->sets;
    return true;
}

/* held(u): groups that the shared kernels read once. Of the forward rows that a cluster holds; of the gradient groups in one piece that
 * a block does. */
struct group_outputs : nothing_more {
    template <class T> static bool held(const trine_units &u) { return u.n * int64_t(sizeof(T)) < least_row; }
};
struct group_parameters {
    const trine_groupnorm_backward_args *a;
    template <class T> static bool held(const trine_units &u)
    {
        bool dense = true;
        for (int k = 0; k < simt::channel_operands; k++)
            dense = dense && (u.members == 1 || u.inside.stride[k][0] == u.inside.size[1]);
        return dense && simt::block_holds_group<T>(u.n, u.members);
    }
    size_t bytes(const plan &p) const
    {
        return size_t(p.sets) * size_t(p.planes) * size_t(p.pieces) * sizeof(simt::channel_slopes);
    }
    template <class Op> static void give(Op *op, void *memory) { op->slopes = static_cast<simt::channel_slopes *>(memory); }
    trine_status after(trine_call *call, const plan &p, void *memory) const
    {
        return trine_cuda_groupnorm_parameters(call, a, memory, p.pieces);
    }
};

/* Op: group_forward or group_backward. */
template <template <class> class Op, class Args, class More> static trine_status
by_group(trine_call *call, const Args *a, const trine_tensor *const *tensors, bool any_size, trine_op_fn portable, More more)
{
    const trine_status status = require(call);
    if (status != TRINE_OK) return status;
    trine_units u;
    TRINE_REQUIRE_THAT(call, units_of_groups(&u, a, tensors), "needs channels first, in planes, and groups one after the other");
    return simt::visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        TRINE_REQUIRE_THAT(call, any_size || !More::template held<T>(u),
                           "needs groups that a cluster (forward) or block (gradient) can't hold");
        return run<Op<T>>(
            call, a, tensors, u, any_size ? 0 : int64_t(least_twice), portable, [&](int64_t n) { return Op<T>(a, n); }, more);
    });
}

/* Rows as channels of one image. */
template <int I, class Args> static trine_status by_row(trine_call *call, const Args *a, const trine_tensor *const *tensors,
                                                        bool any_size, trine_op_fn portable)
{
    const trine_status status = require(call);
    if (status != TRINE_OK) return status;
    trine_tensor row[simt::channel_operands], rows[simt::channel_operands];
    const trine_tensor *row_of[simt::channel_operands], *rows_of[simt::channel_operands];
    for (int k = 0; k < simt::channel_operands; k++) {
        const int32_t last = tensors[k]->ndim - 1;
        row[k] = trine_keep_axes(tensors[k], last, 1);
        rows[k] = trine_drop_axes(tensors[k], last, 1);
        row_of[k] = &row[k];
        rows_of[k] = &rows[k];
    }
    trine_units u;
    u.outer = trine_iter_make(rows_of, simt::channel_operands, 1);
    u.inside = trine_iter_make(row_of, simt::channel_operands, 0);
    u.units = u.channels = u.sets = u.outer.numel;
    u.members = 1;
    u.n = u.inside.numel;
    return simt::visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        TRINE_REQUIRE_THAT(call, any_size || u.n * I * int64_t(sizeof(T)) >= least_row, "needs rows of 2 MiB, of all inputs");
        const lengths<T, I> op = {
            {}, {simt::data_of<T>(*tensors[1]), simt::data_of<T>(*tensors[2])}, simt::data_of<T>(*tensors[0]), a->eps};
        return run<lengths<T, I>>(call, a, tensors, u, any_size ? 0 : int64_t(least_bytes), portable,
                                  [&](int64_t) { return op; });
    });
}

template <bool any_size> trine_status batchnorm(trine_call *call, const void *args)
{
    const auto *a = static_cast<const trine_batchnorm_args *>(args);
    const trine_tensor *const tensors[] = {&a->y, &a->x, &a->x};
    return by_channel<forward>(call, a, tensors, any_size, trine_cuda_batchnorm_portable);
}
template <bool any_size> trine_status batchnorm_backward(trine_call *call, const void *args)
{
    const auto *a = static_cast<const trine_batchnorm_backward_args *>(args);
    const trine_tensor *const tensors[] = {&a->dx, &a->x, &a->dy};
    return by_channel<backward>(call, a, tensors, any_size, trine_cuda_batchnorm_backward_portable);
}
template <bool any_size> trine_status groupnorm(trine_call *call, const void *args)
{
    const auto *a = static_cast<const trine_groupnorm_args *>(args);
    const trine_tensor *const tensors[] = {&a->y, &a->x, &a->x};
    return by_group<group_forward>(call, a, tensors, any_size, trine_cuda_groupnorm_portable, group_outputs{});
}
template <bool any_size> trine_status groupnorm_backward(trine_call *call, const void *args)
{
    const auto *a = static_cast<const trine_groupnorm_backward_args *>(args);
    const trine_tensor *const tensors[] = {&a->dx, &a->x, &a->dy};
    return by_group<group_backward>(call, a, tensors, any_size, trine_cuda_groupnorm_backward_portable, group_parameters{a});
}
template <bool any_size> trine_status l2_normalize(trine_call *call, const void *args)
{
    const auto *a = static_cast<const trine_l2_normalize_args *>(args);
    const trine_tensor *const tensors[] = {&a->y, &a->x, &a->x};
    return by_row<1>(call, a, tensors, any_size, trine_cuda_l2_normalize_portable);
}
template <bool any_size> trine_status l2_normalize_backward(trine_call *call, const void *args)
{
    const auto *a = static_cast<const trine_l2_normalize_backward_args *>(args);
    const trine_tensor *const tensors[] = {&a->dx, &a->x, &a->dy};
    return by_row<2>(call, a, tensors, any_size, trine_cuda_l2_normalize_backward_portable);
}

#define TRINE_OF_ALL_SIZES(op) \
    template trine_status op<false>(trine_call *, const void *); \
    template trine_status op<true>(trine_call *, const void *);
TRINE_RING_OPS(TRINE_OF_ALL_SIZES)

} // namespace channel_ring
