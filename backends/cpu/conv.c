/* Convolutions on the CPU: matrix products (conv_product.h), of planes by way of channels that lie densely (conv_turned.h). Bound by
 * multiply-adds; packing reads an element of the input once for each tap and for every block of channels. */
#include "backends/cpu/conv_depthwise_weight.h"
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

static trine_status forward(trine_call *call, const trine_conv_args *a, bool amx)
{
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

trine_status TRINE_CPU(conv)(trine_call *call, const trine_conv_args *a);
trine_status TRINE_CPU(conv)(trine_call *call, const trine_conv_args *a)
{
    static const trine_variant variants[] = {{"amx", forward_amx}, {TRINE_CPU_VARIANT, forward_vectors}};
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

static trine_status backward_data(trine_call *call, const trine_conv_backward_data_args *a, bool amx)
{
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

trine_status TRINE_CPU(conv_backward_data)(trine_call *call, const trine_conv_backward_data_args *a);
trine_status TRINE_CPU(conv_backward_data)(trine_call *call, const trine_conv_backward_data_args *a)
{
    static const trine_variant variants[] = {{"amx", backward_data_amx}, {TRINE_CPU_VARIANT, backward_data_vectors}};
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

static trine_status backward_weight(trine_call *call, const trine_conv_backward_weight_args *a)
{
    static const trine_variant variants[] = {
        {"depthwise", backward_weight_depthwise}, {"amx", backward_weight_amx}, {TRINE_CPU_VARIANT, backward_weight_vectors}};
    return trine_run_variants(call, variants, sizeof variants / sizeof *variants, a);
}

trine_status TRINE_CPU(sum)(trine_call *call, const trine_sum_args *args);
trine_status TRINE_CPU(conv_backward_weight)(trine_call *call, const trine_conv_backward_weight_args *a);
trine_status TRINE_CPU(conv_backward_weight)(trine_call *call, const trine_conv_backward_weight_args *a)
{
    return trine_conv_weight_and_bias(call, TRINE_CPU(sum), backward_weight, a);
}
