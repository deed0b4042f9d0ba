/* Convolutions on the CPU: matrix products (conv_product.h), of planes by way of channels that lie densely (conv_turned.h). Bound by
 * multiply-adds; packing reads an element of the input once for each tap and for every block of channels. */
#include "backends/cpu/conv_depthwise_weight.h"
#include "backends/cpu/conv_merged.h"
#include "backends/cpu/conv_turned.h"
#include "core/conv_bias.h"

/* The frame of an op's variants: amx, and what needs vectors only. `c`: one of its products. */
static trine_status require_amx(trine_call *call, trine_conv_product c)
{
    TRINE_REQUIRE_THAT(call, conv_suits_amx(&c), "needs bf16, AMX-BF16, and channels that are not their own groups");
    return TRINE_OK;
}

/* An op that is one product. */
static trine_status run_one(trine_call *call, trine_conv_product c, bool amx)
{
    size_t needed = 0;
    run_product(call, c, amx, true, &needed);
    TRINE_END_OF_QUERY(call, needed);
    run_product(call, c, amx, false, &needed);
    return TRINE_OK;
}

/* ---- Forward ---- */

static trine_conv_product forward_product(const trine_conv_args *a)
{
    const trine_conv_shape s = trine_conv_shape_make(&a->x, &a->weight, &a->y, &a->window, a->channels_last);
    return trine_conv_forward(&s, a);
}

static trine_status forward(trine_call *call, const void *args, bool amx)
{
    const trine_conv_args *a = args;
    turned_conv turned;
    if (turned_conv_make(&turned, a, amx)) return run_turned(call, &turned, a);
    return run_one(call, forward_product(a), amx);
}

static trine_status forward_amx(trine_call *call, const void *args)
{
    const trine_status status = require_amx(call, forward_product(args));
    return status == TRINE_OK ? forward(call, args, true) : status;
}

static trine_status forward_vectors(trine_call *call, const void *args) { return forward(call, args, false); }

/* The call of a part, with the workspace behind `used` bytes. */
static trine_call part_of_call(const trine_call *call, size_t used)
{
    trine_call part = *call;
    const bool enough = !call->query && call->workspace && call->workspace_size >= used;
    part.workspace = enough ? (char *)call->workspace + used : NULL;
    part.workspace_size = enough ? call->workspace_size - used : 0;
    part.workspace_needed = 0;
    return part;
}

/* A call that may have its groups merged: `own` as it was given, `all` with merged filters, which the workspace holds. */
typedef struct merged_call {
    trine_status (*run)(trine_call *call, const void *args, bool amx);
    const void *own, *all;
    const trine_tensor *read, *weight, *merged_weight; /* read: x or dy */
    trine_conv_shape own_shape, all_shape;
    int64_t merged;
    bool amx;
} merged_call;

static trine_status run_merged(trine_call *call, const merged_call *m)
{
    const size_t used = bytes_of(m->merged_weight);
    trine_call part = part_of_call(call, used), plain = *call;
    part.query = plain.query = true;
    trine_status status = m->run(&part, m->all, m->amx);
    if (status == TRINE_OK) status = m->run(&plain, m->own, false);
    if (status != TRINE_OK) return status;
    const size_t needed = used + part.workspace_needed;
    TRINE_END_OF_QUERY(call, needed > plain.workspace_needed ? needed : plain.workspace_needed);
    if (any_special(m->read->data, m->read->dtype, span_of_tensor(m->read))) return m->run(call, m->own, false);
    merge_filters(m->weight, m->merged_weight, &m->own_shape, &m->all_shape, m->merged);
    part = part_of_call(call, used);
    return m->run(&part, m->all, m->amx);
}

static trine_status forward_merged(trine_call *call, const void *args)
{
    const trine_conv_args *a = args;
    const trine_conv_shape own = trine_conv_shape_make(&a->x, &a->weight, &a->y, &a->window, a->channels_last);
    const int64_t merged = groups_to_merge(&own);
    TRINE_REQUIRE_THAT(call, merged > 1 && span_of_tensor(&a->x) >= 0, "needs groups of few channels, and x in one piece");
    trine_conv_args all = *a;
    all.window = merged_window(&a->window, merged);
    all.weight = merged_filters(&a->weight, a->weight.dtype, &a->window, a->channels_last, merged, call->workspace);
    const trine_conv_product c = forward_product(&all);
    const merged_call m = {forward,    a,
                           &all,       &a->x,
                           &a->weight, &all.weight,
                           own,        trine_conv_shape_make(&all.x, &all.weight, &all.y, &all.window, all.channels_last),
                           merged,     conv_suits_amx(&c)};
    return run_merged(call, &m);
}

trine_status TRINE_CPU(conv)(trine_call *call, const trine_conv_args *a);
trine_status TRINE_CPU(conv)(trine_call *call, const trine_conv_args *a)
{
    static const trine_variant variants[] = {
        {"merged_groups", forward_merged}, {"amx", forward_amx}, {TRINE_CPU_VARIANT, forward_vectors}};
    return trine_run_variants(call, variants, sizeof variants / sizeof *variants, a);
}

/* ---- The data's gradient: every phase of the stride is a product ---- */

static void run_phases(trine_call *call, const trine_conv_backward_data_args *a, bool amx, bool only_ask, size_t *needed)
{
    const trine_conv_shape s = trine_conv_shape_make(&a->dx, &a->weight, &a->dy, &a->window, a->channels_last);
    for (int64_t h = 0; h < trine_conv_phases(&s, 0); h++)
        for (int64_t w = 0; w < trine_conv_phases(&s, 1); w++)
            run_product(call, trine_conv_data(&s, a, h, w), amx, only_ask, needed);
}

static trine_status backward_data(trine_call *call, const void *args, bool amx)
{
    const trine_conv_backward_data_args *a = args;
    size_t needed = 0;
    run_phases(call, a, amx, true, &needed);
    TRINE_END_OF_QUERY(call, needed);
    run_phases(call, a, amx, false, &needed);
    return TRINE_OK;
}

static trine_status backward_data_amx(trine_call *call, const void *args)
{
    const trine_conv_backward_data_args *a = args;
    const trine_conv_shape s = trine_conv_shape_make(&a->dx, &a->weight, &a->dy, &a->window, a->channels_last);
    const trine_status status = require_amx(call, trine_conv_data(&s, a, 0, 0));
    return status == TRINE_OK ? backward_data(call, a, true) : status;
}

static trine_status backward_data_vectors(trine_call *call, const void *args) { return backward_data(call, args, false); }

static trine_status backward_data_merged(trine_call *call, const void *args)
{
    const trine_conv_backward_data_args *a = args;
    const trine_conv_shape own = trine_conv_shape_make(&a->dx, &a->weight, &a->dy, &a->window, a->channels_last);
    const int64_t merged = groups_to_merge(&own);
    TRINE_REQUIRE_THAT(call, merged > 1 && span_of_tensor(&a->dy) >= 0, "needs groups of few channels, and dy in one piece");
    trine_conv_backward_data_args all = *a;
    all.window = merged_window(&a->window, merged);
    all.weight = merged_filters(&a->weight, a->weight.dtype, &a->window, a->channels_last, merged, call->workspace);
    const trine_conv_shape s = trine_conv_shape_make(&all.dx, &all.weight, &all.dy, &all.window, all.channels_last);
    const trine_conv_product c = trine_conv_data(&s, &all, 0, 0);
    const merged_call m = {backward_data, a, &all, &a->dy, &a->weight, &all.weight, own, s, merged, conv_suits_amx(&c)};
    return run_merged(call, &m);
}

trine_status TRINE_CPU(conv_backward_data)(trine_call *call, const trine_conv_backward_data_args *a);
trine_status TRINE_CPU(conv_backward_data)(trine_call *call, const trine_conv_backward_data_args *a)
{
    static const trine_variant variants[] = {
        {"merged_groups", backward_data_merged}, {"amx", backward_data_amx}, {TRINE_CPU_VARIANT, backward_data_vectors}};
    return trine_run_variants(call, variants, sizeof variants / sizeof *variants, a);
}

/* ---- The weight's gradient ---- */

static trine_conv_product weight_product(const trine_conv_backward_weight_args *a)
{
    const trine_conv_shape s = trine_conv_shape_make(&a->x, &a->dweight, &a->dy, &a->window, a->channels_last);
    return trine_conv_weight(&s, a);
}

/* Where every channel is its own group, by way of the convolution's product. */
static trine_status backward_weight_depthwise(trine_call *call, const void *args)
{
    const trine_conv_backward_weight_args *a = args;
    const trine_conv_shape s = trine_conv_shape_make(&a->x, &a->dweight, &a->dy, &a->window, a->channels_last);
    TRINE_REQUIRE_THAT(call, shape_is_depthwise(&s), "needs channels that are their own groups, with one filter each");
    const trine_conv_args convolution = {.x = a->x, .weight = a->dweight, .y = a->dy, .window = a->window};
    const trine_conv_product c = trine_conv_forward(&s, &convolution);
    TRINE_END_OF_QUERY(call, conv_depthwise_weight_size(&c));
    conv_depthwise_weight(&c, &s, &a->dweight, call->workspace);
    return TRINE_OK;
}

static trine_status backward_weight_amx(trine_call *call, const void *args)
{
    const trine_conv_product c = weight_product(args);
    const trine_status status = require_amx(call, c);
    return status == TRINE_OK ? run_one(call, c, true) : status;
}

static trine_status backward_weight_vectors(trine_call *call, const void *args)
{
    return run_one(call, weight_product(args), false);
}

static trine_status backward_weight_merged(trine_call *call, const void *args)
{
    const trine_conv_backward_weight_args *a = args;
    const trine_conv_shape own = trine_conv_shape_make(&a->x, &a->dweight, &a->dy, &a->window, a->channels_last);
    const int64_t merged = groups_to_merge(&own);
    TRINE_REQUIRE_THAT(call, merged > 1, "needs groups of few channels");
    trine_conv_backward_weight_args all = *a;
    all.window = merged_window(&a->window, merged);
    all.dweight = merged_filters(&a->dweight, TRINE_F32, &a->window, a->channels_last, merged, call->workspace);
    const trine_conv_shape s = trine_conv_shape_make(&all.x, &all.dweight, &all.dy, &all.window, all.channels_last);
    const trine_conv_product c = trine_conv_weight(&s, &all);
    const bool amx = conv_suits_amx(&c);
    const size_t used = bytes_of(&all.dweight);
    trine_call part = part_of_call(call, used);
    part.query = true;
    trine_status status = run_one(&part, c, amx);
    if (status != TRINE_OK) return status;
    TRINE_END_OF_QUERY(call, used + part.workspace_needed);
    part = part_of_call(call, used);
    status = run_one(&part, c, amx);
    if (status == TRINE_OK) take_filters(&all.dweight, &a->dweight, &own, &s, merged);
    return status;
}

static trine_status backward_weight(trine_call *call, const trine_conv_backward_weight_args *a)
{
    static const trine_variant variants[] = {{"depthwise", backward_weight_depthwise},
                                             {"merged_groups", backward_weight_merged},
                                             {"amx", backward_weight_amx},
                                             {TRINE_CPU_VARIANT, backward_weight_vectors}};
    return trine_run_variants(call, variants, sizeof variants / sizeof *variants, a);
}

trine_status TRINE_CPU(sum)(trine_call *call, const trine_sum_args *args);
trine_status TRINE_CPU(conv_backward_weight)(trine_call *call, const trine_conv_backward_weight_args *a);
trine_status TRINE_CPU(conv_backward_weight)(trine_call *call, const trine_conv_backward_weight_args *a)
{
    return trine_conv_weight_and_bias(call, TRINE_CPU(sum), backward_weight, a);
}
