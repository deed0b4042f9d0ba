/* One matrix product of a convolution (core/conv_plan.h), in matmul's blocks: on the matrix unit for bf16 (matmul_amx.h), of rows
 * where they lie (matmul_in_place.h) or packed (matmul_register.h), straight from the tensors: "im2col" happens in the caches.
 * Where channels are their own groups (depthwise) there is nothing to multiply matrices of: conv_depthwise.h. */
#ifndef TRINE_CPU_CONV_PRODUCT_H
#define TRINE_CPU_CONV_PRODUCT_H

#include "backends/cpu/conv_depthwise.h"
#include "backends/cpu/matmul_amx.h"
#include "backends/cpu/matmul_in_place.h"
#include "backends/cpu/matmul_register.h"

/* A product of one group. `p` stands first, for matmul's code knows nothing of the rest. */
typedef struct conv_job {
    trine_product p;
    const trine_conv_product *c;
    int64_t group;
    bool linear; /* d is a matrix in memory */
} conv_job;

/* One operand of a group. */
static void gather(void *line, const conv_job *job, const trine_conv_operand *o, int64_t row, int64_t k, int64_t n, bool along_k)
{
    const conv_lines lines = conv_lines_make(o, job->c->dtype, along_k ? &o->terms : &o->rows);
    conv_place other = conv_place_of(along_k ? &o->rows : &o->terms, along_k ? row : k);
    other.at += job->group * o->group;
    conv_gather_line(line, &lines, along_k ? k : row, n, other);
}

static void gather_a(void *line, const void *context, int64_t row, int64_t k, int64_t n, bool along_k)
{
    const conv_job *job = context;
    gather(line, job, &job->c->a, row, k, n, along_k);
}

static void gather_b(void *line, const void *context, int64_t row, int64_t k, int64_t n, bool along_k)
{
    const conv_job *job = context;
    gather(line, job, &job->c->b, row, k, n, along_k);
}

/* Whether an index is a multiple of one stride, the last part's. */
static bool is_line(const trine_conv_side *s)
{
    int64_t wanted = s->stride[2] * s->size[2];
    for (int i = 1; i >= 0; wanted *= s->size[i--])
        if (s->size[i] > 1 && s->stride[i] != wanted) return false;
    return s->size[2] > 1 || trine_conv_count(s) <= 1;
}

/* Whether steps of both indices from `at` on stay in [0, size). */
static bool stays_inside(int64_t at, const trine_conv_side *a, const int64_t *a_step, const trine_conv_side *b,
                         const int64_t *b_step, int64_t size)
{
    int64_t least = at, most = at;
    for (int i = 0; i < 3; i++) {
        const int64_t x = (a->size[i] - 1) * a_step[i], y = (b->size[i] - 1) * b_step[i];
        least += (x < 0 ? x : 0) + (y < 0 ? y : 0);
        most += (x > 0 ? x : 0) + (y > 0 ? y : 0);
    }
    return least >= 0 && most < size;
}

/* A matrix in memory: 1x1 filters without padding, channels last. */
static bool is_matrix(const trine_conv_operand *o)
{
    return is_line(&o->rows) && is_line(&o->terms) && stays_inside(o->h, &o->rows, o->rows.h, &o->terms, o->terms.h, o->height) &&
           stays_inside(o->w, &o->rows, o->rows.w, &o->terms, o->terms.w, o->width);
}

/* Lines along k where terms lie densely, else along the rows. */
static void source(const trine_product *p, bool of_b, pack_source *s)
{
    const conv_job *job = (const conv_job *)(const void *)p;
    const trine_conv_operand *o = of_b ? &job->c->b : &job->c->a;
    const bool rows_dense = o->rows.size[2] > 1 && o->rows.stride[2] == 1,
               terms_dense = o->terms.size[2] > 1 && o->terms.stride[2] == 1;
    if (is_matrix(o)) {
        s->row = o->rows.stride[2];
        s->k = o->terms.stride[2];
        s->data = o->data;
        s->dtype = job->c->dtype;
        s->first = o->first + job->group * o->group + s->begin_row * s->row + s->begin_k * s->k;
        return;
    }
    s->gather = of_b ? gather_b : gather_a;
    s->context = job;
    s->row = 0;
    s->k = terms_dense && !rows_dense;
}

/* A row of sums to a d that is no matrix, run by run. */
static void finish(const trine_product *p, const product_place *at, int64_t row, int64_t column, float *sums, int64_t n)
{
    const conv_job *job = (const conv_job *)(const void *)p;
    const trine_conv_product *c = job->c;
    const int64_t first = c->d_first + job->group * c->d_group + conv_place_of(&c->d_rows, row).at, width = c->d_columns.size[2],
                  stride = c->d_columns.stride[2];
    for (int64_t m; n > 0; n -= m, sums += m, column += m) {
        const int64_t left = width - column % width, most = left < SPAN_MAX ? left : SPAN_MAX;
        m = n < most ? n : most;
        finish_span(p, at, row, column, sums, m);
        void *to = (void *)(uintptr_t)element(c->d, c->d_dtype, first + conv_place_of(&c->d_columns, column).at);
        if (stride == 1 || m == 1)
            span_store(to, c->d_dtype, sums, m, false);
        else
            span_store_strided(to, c->d_dtype, sums, m, stride);
    }
}

static const register_hooks linear_hooks = {source, NULL}, hooks = {source, finish};

static conv_job job_of(const trine_conv_product *c)
{
    conv_job job = {.c = c};
    trine_product *p = &job.p;
    job.linear = is_line(&c->d_rows) && is_line(&c->d_columns) && (c->d_columns.stride[2] == 1 || c->n == 1);
    p->m = c->m;
    p->n = c->n;
    p->k = c->k;
    p->d_m = c->d_rows.stride[2];
    p->dtype = p->b_dtype = c->dtype;
    p->d_dtype = c->d_dtype;
    p->bias_dtype = c->bias_dtype;
    p->c_dtype = c->d_dtype;
    p->alpha = 1;
    p->activation = c->activation;
    p->activation_alpha = c->activation_alpha;
    p->has_bias = c->has_bias;
    p->bias_m = c->bias_of_rows;
    p->bias_n = !c->bias_of_rows;
    p->batch = (trine_iter){.ndim = 1, .operands = TRINE_PRODUCT_OPERANDS, .numel = c->groups, .size = {c->groups}};
    p->batch.stride[TRINE_PRODUCT_D][0] = 1; /* offsets are the group's number */
    return job;
}

static register_plan plan_of(const conv_job *job)
{
    register_plan plan = register_plan_make(&job->p);
    plan.hooks = job->linear ? &linear_hooks : &hooks;
    plan.direct = plan.direct && job->linear;
    plan.sums_size = plan.direct ? 0 : (size_t)(plan.block_m * plan.block_n);
    return plan;
}

static void settle_group(conv_job *job, int64_t group)
{
    const trine_conv_product *c = job->c;
    job->group = group;
    if (c->has_bias) job->p.bias = element(c->bias, c->bias_dtype, group * (c->bias_of_rows ? c->m : c->n));
    job->p.d = (void *)(uintptr_t)element(c->d, c->d_dtype, c->d_first + group * c->d_group);
}

static void group_product(const trine_product *p, const product_place *at, cpu_team *team)
{
    conv_job job = *(const conv_job *)(const void *)p;
    const product_place here = {0};
    settle_group(&job, at->d);
    const register_plan plan = plan_of(&job);
    make_blocks(&job.p, &here, team, &plan);
}

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
    if (amx) {
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
