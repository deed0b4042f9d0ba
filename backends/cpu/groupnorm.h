/* Group normalisation on the CPU, part of norm.c: a unit is a channel of a sample, a set the channels of a group (channels.h). */
#ifndef TRINE_CPU_GROUPNORM_H
#define TRINE_CPU_GROUPNORM_H

#include "backends/cpu/channel_planes.h"

typedef struct groupnorm_context {
    const trine_groupnorm_args *a;
    const unit_call *call;
    const float *weight, *bias;
} groupnorm_context;

static void groupnorm_finish(const void *context, int64_t set)
{
    const groupnorm_context *c = context;
    const trine_groupnorm_args *a = c->a;
    const trine_units *u = &c->call->units;
    double stats[ROW_STATS] = {0};
    for (int64_t i = 0; i < u->members; i++) unit_merge_moments(stats, c->call->sums[set * u->members + i]);
    layernorm_finish(&(norm_context){.mean = a->mean, .rstd = a->rstd, .eps = a->eps}, set, (int64_t)stats[0], stats);
    for (int64_t i = 0; i < u->members; i++) {
        const int64_t unit = set * u->members + i, channel = unit % u->channels;
        c->call->map[unit] =
            (unit_affine){.m = (float)stats[1], .b = (float)stats[2] * c->weight[channel], .d = c->bias[channel]};
    }
}

trine_status TRINE_CPU(groupnorm)(trine_call *call, const trine_groupnorm_args *a)
{
    static const unit_op op = {unit_moments, unit_merge_moments, groupnorm_finish, NULL};
    groupnorm_context context = {a, NULL, NULL, NULL};
    unit_call c = units_plan(call, &op, &context, (const trine_tensor *[]){&a->y, &a->x}, 1, a->channels_last, a->groups);
    TRINE_END_OF_QUERY(call, units_bytes(&c) + 2 * (size_t)c.units.channels * sizeof(float));
    units_place(&c, call->workspace);
    float *parameters = (float *)(void *)((char *)call->workspace + units_bytes(&c));
    context.call = &c;
    context.weight = channel_values(&a->weight, c.units.channels, 1, parameters);
    context.bias = channel_values(&a->bias, c.units.channels, 0, parameters + c.units.channels);
    units_or_planes_run(&c);
    return TRINE_OK;
}

/* ---- Backward ---- */

typedef struct groupnorm_slopes {
    const trine_groupnorm_backward_args *a;
    const unit_call *call;
    const float *weight;
} groupnorm_slopes;

static void groupnorm_backward_partial(const void *context, int64_t unit, const float *const *x, int64_t n, double *sums)
{
    const groupnorm_slopes *c = context;
    unit_slopes(x, n, ((const float *)c->a->mean.data)[unit / c->call->units.members], sums);
}

static float groupnorm_about(const void *context, int64_t unit)
{
    const groupnorm_slopes *c = context;
    return ((const float *)c->a->mean.data)[unit / c->call->units.members];
}

static void groupnorm_backward_finish(const void *context, int64_t set)
{
    const groupnorm_slopes *c = context;
    const trine_groupnorm_backward_args *a = c->a;
    const trine_units *u = &c->call->units;
    const float mean = ((const float *)a->mean.data)[set], rstd = ((const float *)a->rstd.data)[set];
    const double m = (double)(u->n * u->members), r = (double)rstd;
    double sum = 0, along = 0; /* of g, and of g (x - mean) */
    for (int64_t i = 0; i < u->members; i++) {
        const int64_t unit = set * u->members + i;
        const double weight = (double)c->weight[unit % u->channels];
        sum += weight * c->call->sums[unit][0];
        along += weight * c->call->sums[unit][1];
    }
    for (int64_t i = 0; i < u->members; i++) {
        const int64_t unit = set * u->members + i;
        unit_affine f = {.m = mean, .a = rstd * c->weight[unit % u->channels]};
        if (m > 0) f.b = (float)(-along / m * r * r * r);
        if (m > 0) f.d = (float)(-sum / m * r);
        c->call->map[unit] = f;
    }
}

/* Over the samples, in their order. */
static void groupnorm_parameters(const groupnorm_slopes *c)
{
    enum { AT_ONCE = 64 };
    const trine_groupnorm_backward_args *a = c->a;
    const trine_units *u = &c->call->units;
    if (!trine_is_given(&a->dweight) && !trine_is_given(&a->dbias)) return;
    CPU_PARALLEL_FOR(range, u->channels, AT_ONCE)
    {
        for (int64_t first = range.begin; first < range.end; first += AT_ONCE) {
            const int64_t n = range.end - first < AT_ONCE ? range.end - first : AT_ONCE;
            double dweight[AT_ONCE] = {0}, dbias[AT_ONCE] = {0};
            for (int64_t sample = 0; sample < u->units; sample += u->channels)
                for (int64_t i = 0; i < n; i++) {
                    const int64_t unit = sample + first + i;
                    dbias[i] += c->call->sums[unit][0];
                    dweight[i] += c->call->sums[unit][1] * (double)((const float *)a->rstd.data)[unit / u->members];
                }
            for (int64_t i = 0; i < n; i++) {
                channel_put(&a->dweight, first + i, dweight[i]);
                channel_put(&a->dbias, first + i, dbias[i]);
            }
        }
    }
}

trine_status TRINE_CPU(groupnorm_backward)(trine_call *call, const trine_groupnorm_backward_args *a)
{
    static const unit_op op = {groupnorm_backward_partial, unit_merge_slopes, groupnorm_backward_finish, groupnorm_about};
    groupnorm_slopes context = {a, NULL, NULL};
    unit_call c =
        units_plan(call, &op, &context, (const trine_tensor *[]){&a->dx, &a->x, &a->dy}, 2, a->channels_last, a->groups);
    TRINE_END_OF_QUERY(call, units_bytes(&c) + (size_t)c.units.channels * sizeof(float));
    units_place(&c, call->workspace);
    context.call = &c;
    context.weight =
        channel_values(&a->weight, c.units.channels, 1, (float *)(void *)((char *)call->workspace + units_bytes(&c)));
    units_or_planes_run(&c);
    groupnorm_parameters(&context);
    return TRINE_OK;
}

#endif
