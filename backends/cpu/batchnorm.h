/* Batch normalisation on the CPU, part of norm.c: a unit is a channel (channels.h); channels that lie side by side and short planes go
 * by columns (channel_columns.h, channel_flat.h), other planes by blocks (channel_planes.h). */
#ifndef TRINE_CPU_BATCHNORM_H
#define TRINE_CPU_BATCHNORM_H

#include "backends/cpu/channel_flat.h"

/* ---- Forward ---- */

typedef struct batchnorm_context {
    const trine_batchnorm_args *a;
    const unit_call *call;
} batchnorm_context;

static unit_affine batchnorm_map(const trine_batchnorm_args *a, int64_t channel, double mean, double rstd)
{
    return (unit_affine){
        .m = (float)mean, .b = (float)rstd * channel_value(&a->weight, channel, 1), .d = channel_value(&a->bias, channel, 0)};
}

static void batchnorm_running(const trine_tensor *new, const trine_tensor *old, int64_t channel, double value, double momentum)
{
    const double before = trine_is_given(old) ? (double)((const float *)old->data)[channel] : 0;
    channel_put(new, channel, momentum == 0 ? before : (1 - momentum) * before + momentum * value);
}

static void batchnorm_finish(const void *context, int64_t set)
{
    const batchnorm_context *c = context;
    const trine_batchnorm_args *a = c->a;
    const double *sums = c->call->sums[set], n = sums[0], squares = sums[2] < 0 ? 0 : sums[2];
    const double mean = n > 0 ? sums[1] : NAN, rstd = 1 / sqrt((n > 0 ? squares / n : NAN) + (double)a->eps);
    const double momentum = n > 0 ? (double)a->momentum : 0;
    channel_put(&a->mean, set, mean);
    channel_put(&a->rstd, set, rstd);
    batchnorm_running(&a->new_running_mean, &a->running_mean, set, mean, momentum);
    batchnorm_running(&a->new_running_var, &a->running_var, set, squares / (n > 1 ? n - 1 : 1), momentum);
    c->call->map[set] = batchnorm_map(a, set, mean, rstd);
}

/* Of units of whole channels, or of each sample's. */
static void batchnorm_use_running(const trine_batchnorm_args *a, const unit_call *call)
{
    const float *mean = a->running_mean.data, *var = a->running_var.data;
    for (int64_t unit = 0; unit < call->units.units; unit++) {
        const int64_t i = unit % call->units.channels;
        call->map[unit] = batchnorm_map(a, i, (double)mean[i], 1 / sqrt((double)var[i] + (double)a->eps));
    }
}

trine_status TRINE_CPU(batchnorm)(trine_call *call, const trine_batchnorm_args *a)
{
    static const unit_op op = {unit_moments, unit_merge_moments, batchnorm_finish, NULL};
    batchnorm_context context = {a, NULL};
    const trine_tensor *tensors[] = {&a->y, &a->x};
    unit_call c = units_plan(call, &op, &context, tensors, 1, a->channels_last, 0);
    channel_columns columns = columns_plan(&c);
    if (a->inference && columns.planes) columns = (channel_columns){.c = &c};
    if (a->inference && !columns.fit)
        c = units_plan(call, &op, &context, tensors, 1, a->channels_last, 1); /* in memory's order */
    TRINE_END_OF_QUERY(call, units_bytes(&c) + channel_columns_bytes(&columns));
    units_place(&c, call->workspace);
    context.call = &c;
    channel_columns_place(&columns, (char *)call->workspace + units_bytes(&c));
    if (a->inference)
        batchnorm_use_running(a, &c);
    else if (columns.fit)
        (columns.planes ? channel_flat_gather : channel_columns_gather)(&columns, NULL);
    if (columns.fit)
        channel_columns_finish(&columns, !a->inference);
    else if (a->inference)
        units_or_planes_emit(&c);
    else
        units_or_planes_run(&c);
    return TRINE_OK;
}

/* ---- Backward ---- */

typedef struct batchnorm_slopes {
    const trine_batchnorm_backward_args *a;
    const unit_call *call;
} batchnorm_slopes;

static float batchnorm_mean(const trine_batchnorm_backward_args *a, int64_t channel)
{
    return ((const float *)(a->inference ? &a->running_mean : &a->mean)->data)[channel];
}

static double batchnorm_rstd(const trine_batchnorm_backward_args *a, int64_t channel)
{
    if (!a->inference) return (double)((const float *)a->rstd.data)[channel];
    return 1 / sqrt((double)((const float *)a->running_var.data)[channel] + (double)a->eps);
}

static void batchnorm_backward_partial(const void *context, int64_t unit, const float *const *x, int64_t n, double *sums)
{
    const batchnorm_slopes *c = context;
    unit_slopes(x, n, batchnorm_mean(c->a, unit), sums);
}

static float batchnorm_about(const void *context, int64_t unit)
{
    const batchnorm_slopes *c = context;
    return batchnorm_mean(c->a, unit);
}

static void batchnorm_backward_finish(const void *context, int64_t set)
{
    const batchnorm_slopes *c = context;
    const trine_batchnorm_backward_args *a = c->a;
    const double *sums = c->call->sums[set], rstd = batchnorm_rstd(a, set), n = (double)c->call->units.n;
    const double scale = rstd * (double)channel_value(&a->weight, set, 1);
    unit_affine f = {.m = batchnorm_mean(a, set), .a = (float)scale};
    channel_put(&a->dbias, set, sums[0]);
    channel_put(&a->dweight, set, sums[1] * rstd);
    if (a->inference) { /* of dy alone */
        f = (unit_affine){.b = (float)scale};
    } else if (n > 0) {
        f.b = (float)(-scale * sums[1] / n * rstd * rstd);
        f.d = (float)(-scale * sums[0] / n);
    }
    c->call->map[set] = f;
}

trine_status TRINE_CPU(batchnorm_backward)(trine_call *call, const trine_batchnorm_backward_args *a)
{
    static const unit_op op = {batchnorm_backward_partial, unit_merge_slopes, batchnorm_backward_finish, batchnorm_about};
    batchnorm_slopes context = {a, NULL};
    unit_call c = units_plan(call, &op, &context, (const trine_tensor *[]){&a->dx, &a->x, &a->dy}, 2, a->channels_last, 0);
    channel_columns columns = columns_plan(&c);
    TRINE_END_OF_QUERY(call, units_bytes(&c) + channel_columns_bytes(&columns));
    units_place(&c, call->workspace);
    context.call = &c;
    channel_columns_place(&columns, (char *)call->workspace + units_bytes(&c));
    if (a->inference) {
        c.from = 2;
        c.mapped = 1;
    }
    if (!columns.fit) {
        units_or_planes_run(&c);
        return TRINE_OK;
    }
    (columns.planes ? channel_flat_gather : channel_columns_gather)(&columns, (a->inference ? &a->running_mean : &a->mean)->data);
    channel_columns_finish(&columns, true);
    return TRINE_OK;
}

#endif
