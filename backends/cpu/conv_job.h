/* A convolution's product (core/conv_plan.h) in the form that matmul's code takes: where operands come from and where sums go. */
#ifndef TRINE_CPU_CONV_JOB_H
#define TRINE_CPU_CONV_JOB_H

#include "backends/cpu/conv_gather.h"
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

#endif
