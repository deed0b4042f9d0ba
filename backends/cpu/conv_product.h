/* One matrix product of a convolution (core/conv_plan.h), in matmul's blocks: on the matrix unit for bf16 (matmul_amx.h), of rows
 * where they lie (matmul_in_place.h) or packed (matmul_register.h), straight from the tensors: "im2col" happens in the caches.
 * Where channels are their own groups (depthwise) there is nothing to multiply matrices of: conv_depthwise.h. */
#ifndef TRINE_CPU_CONV_PRODUCT_H
#define TRINE_CPU_CONV_PRODUCT_H

#include "backends/cpu/conv_bands.h"
#include "backends/cpu/conv_depthwise.h"
#include "backends/cpu/matmul_in_place.h"

/* ---- Rows in place: channels last ---- */

static bool rows_in_place(const trine_conv_product *c)
{
    const int64_t numbers = c->n * c->k;
    return lies_in_place(&c->a, c->dtype) && c->m > 0 && c->n > 0 && numbers <= PLACED_MOST;
}

static place_plan place_plan_of(const conv_job *job)
{
    place_plan plan = place_plan_make(&job->p, &job->c->a, false);
    plan.hooks = job->linear ? &linear_hooks : &hooks;
    return plan;
}

static void place_group(const trine_product *p, const product_place *at, cpu_team *team)
{
    conv_job job = *(const conv_job *)(const void *)p;
    const product_place here = {0};
    settle_group(&job, at->d);
    const place_plan plan = place_plan_of(&job);
    place_product(&job.p, &here, team, &plan, job.group * job.c->a.group);
}

/* ---- bf16 on the matrix unit ---- */

static amx_plan amx_plan_of(const conv_job *job) { return amx_plan_make(&job->p, job->linear ? &linear_hooks : &hooks); }

static void amx_group(const trine_product *p, const product_place *at, cpu_team *team)
{
    conv_job job = *(const conv_job *)(const void *)p;
    const product_place here = {0};
    settle_group(&job, at->d);
    if (suits_bands(job.c)) {
        make_bands(&job, team);
        return;
    }
    const amx_plan plan = amx_plan_of(&job);
    make_amx_blocks(&job.p, &here, team, &plan);
}

/* ---- Any ---- */

static bool conv_suits_amx(const trine_conv_product *c)
{
    const conv_job job = job_of(c);
    return !conv_is_depthwise(c) && suits_amx(&job.p);
}

/* Makes the product, or says in *needed what it needs of the workspace. */
static void run_product(trine_call *call, trine_conv_product c, bool amx, bool only_ask, size_t *needed)
{
    if (conv_is_depthwise(&c)) {
        if (conv_depthwise_size(&c) > *needed) *needed = conv_depthwise_size(&c);
        if (!only_ask) conv_depthwise(&c, call->workspace);
        return;
    }
    trine_conv_orient(&c);
    const conv_job job = job_of(&c);
    team_plan team = team_plan_make(&job.p);
    const bool in_place = !amx && rows_in_place(&c);
    if (amx && suits_bands(&c)) {
        const band_plan plan = band_plan_make(&c);
        team.memory = band_bytes(&plan, team.members);
    } else if (amx) {
        const amx_plan plan = amx_plan_of(&job);
        team.memory = amx_bytes(&plan, team.members);
    } else if (in_place) {
        const place_plan plan = place_plan_of(&job);
        team.memory = place_floats(&plan, &team) * sizeof(float);
    } else {
        const register_plan plan = plan_of(&job);
        team.memory = (2 * (plan.a_size + plan.b_size) + plan.sums_size) * sizeof(float);
    }
    if (team_workspace(&team) > *needed) *needed = team_workspace(&team);
    if (!only_ask) run_products(call, &job.p, &team, amx ? amx_group : in_place ? place_group : group_product);
}

#endif
