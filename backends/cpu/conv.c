/* Convolutions on the CPU: matrix products (core/conv_plan.h) in matmul's blocks and micro-kernel (matmul_register.h), whose
 * panels are packed straight from the tensors ("im2col" happens in the caches). Bound by multiply-adds; packing reads an element of
 * the input once for each tap and for every BLOCK_N channels.
 *
 * Where channels are their own groups (depthwise) there is nothing to multiply matrices of: conv_depthwise.h. */
#include "backends/cpu/conv_depthwise.h"
#include "backends/cpu/matmul_in_place.h"
#include "backends/cpu/matmul_register.h"
#include "core/conv_bias.h"

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

/* Makes the product, or says in *needed what it needs of the workspace. */
static void run_product(trine_call *call, trine_conv_product c, bool only_ask, size_t *needed)
{
    if (conv_is_depthwise(&c)) {
        if (conv_depthwise_size(&c) > *needed) *needed = conv_depthwise_size(&c);
        if (!only_ask) conv_depthwise(&c, call->workspace);
        return;
    }
    trine_conv_orient(&c);
    const conv_job job = job_of(&c);
    team_plan team = team_plan_make(&job.p);
    const bool in_place = rows_in_place(&c);
    if (in_place) {
        const place_plan plan = place_plan_of(&job);
        team.memory = place_floats(&plan, &team) * sizeof(float);
    } else {
        const register_plan plan = plan_of(&job);
        team.memory = (2 * (plan.a_size + plan.b_size) + plan.sums_size) * sizeof(float);
    }
    if (team_workspace(&team) > *needed) *needed = team_workspace(&team);
    if (!only_ask) run_products(call, &job.p, &team, in_place ? place_group : group_product);
}

/* An op that is one product. */
static trine_status run_one(trine_call *call, trine_conv_product c)
{
    size_t needed = 0;
    call->variant = TRINE_CPU_VARIANT;
    run_product(call, c, true, &needed);
    TRINE_END_OF_QUERY(call, needed);
    run_product(call, c, false, &needed);
    return TRINE_OK;
}

/* ---- Planes: images are turned, some MiB at a time, to have their channels last, and the results back ---- */

trine_status TRINE_CPU(permute)(trine_call *call, const trine_permute_args *a);

enum { TURNED_BYTES = 32 << 20 };

typedef struct turned_conv {
    trine_conv_args all, part; /* with channels last; of some images */
    int64_t images;
    size_t weight, x, y, own; /* bytes in the workspace, of the images; of all three */
} turned_conv;

/* The same tensor with channels last, dense. */
static trine_tensor turned_tensor(const trine_tensor *t)
{
    int64_t shape[TRINE_MAX_DIMS];
    for (int32_t i = 0; i < t->ndim; i++) shape[i] = t->shape[i == 0 ? 0 : i == t->ndim - 1 ? 1 : i + 1];
    return trine_tensor_make(NULL, t->dtype, t->ndim, shape);
}

static size_t turned_bytes(const trine_tensor *t)
{
    return ((size_t)(trine_tensor_numel(t) * size_of(t->dtype)) + 255) / 256 * 256;
}

/* Some images of a tensor. */
static trine_tensor images_of(const trine_tensor *t, int64_t first, int64_t n)
{
    trine_tensor part = *t;
    part.shape[0] = n;
    if (part.data) part.data = (char *)part.data + first * t->stride[0] * size_of(t->dtype);
    return part;
}

/* False if the rows of what is turned could not be multiplied in place either. */
static bool turned_conv_make(turned_conv *w, const trine_conv_args *a)
{
    w->all = *a;
    w->all.x = turned_tensor(&a->x);
    w->all.y = turned_tensor(&a->y);
    w->all.weight = turned_tensor(&a->weight);
    w->all.channels_last = true;
    const trine_conv_shape s = trine_conv_shape_make(&w->all.x, &w->all.weight, &w->all.y, &a->window, true);
    const trine_conv_product c = trine_conv_forward(&s, &w->all);
    if (a->channels_last || c.m == 0 || conv_is_depthwise(&c) || !rows_in_place(&c)) return false;
    const int64_t image = (int64_t)(turned_bytes(&w->all.x) + turned_bytes(&w->all.y)) / a->x.shape[0];
    w->images = smaller(a->x.shape[0], image < TURNED_BYTES ? TURNED_BYTES / image : 1);
    w->part = w->all;
    w->part.x = images_of(&w->all.x, 0, w->images);
    w->part.y = images_of(&w->all.y, 0, w->images);
    w->weight = turned_bytes(&w->part.weight);
    w->x = turned_bytes(&w->part.x);
    w->y = turned_bytes(&w->part.y);
    w->own = w->weight + w->x + w->y;
    return true;
}

/* A permutation between the axes' two orders, in the workspace behind our own; *needed grows in a query. */
static trine_status turn(trine_call *inner, const trine_tensor *x, const trine_tensor *y, bool back, size_t *needed)
{
    trine_permute_args args = {.x = *x, .y = *y};
    const int32_t last = x->ndim - 1;
    for (int32_t i = 1; i <= last; i++) args.axes[i] = back ? (i == 1 ? last : i - 1) : i == last ? 1 : i + 1;
    inner->workspace_needed = 0;
    const trine_status status = TRINE_CPU(permute)(inner, &args);
    if (inner->workspace_needed > *needed) *needed = inner->workspace_needed;
    return status;
}

static trine_status turned_images(trine_call *inner, const turned_conv *w, const trine_conv_args *a, int64_t first,
                                  size_t *needed)
{
    const int64_t n = smaller(w->images, a->x.shape[0] - first);
    trine_conv_args part = w->part;
    const trine_tensor x = images_of(&a->x, first, n), y = images_of(&a->y, first, n);
    part.x.shape[0] = part.y.shape[0] = n;
    const trine_conv_shape s = trine_conv_shape_make(&part.x, &part.weight, &part.y, &part.window, true);
    trine_status status = turn(inner, &x, &part.x, false, needed);
    if (status == TRINE_OK) run_product(inner, trine_conv_forward(&s, &part), inner->query, needed);
    return status == TRINE_OK ? turn(inner, &part.y, &y, true, needed) : status;
}

static trine_status run_turned(trine_call *call, turned_conv *w, const trine_conv_args *a)
{
    trine_call inner = *call;
    size_t needed = 0;
    inner.query = true;
    trine_status status = turn(&inner, &a->weight, &w->part.weight, false, &needed);
    if (status == TRINE_OK) status = turned_images(&inner, w, a, 0, &needed);
    if (status != TRINE_OK) return status;
    TRINE_END_OF_QUERY(call, w->own + needed);
    char *const memory = call->workspace;
    w->part.weight.data = memory;
    w->part.x.data = memory + w->weight;
    w->part.y.data = memory + w->weight + w->x;
    inner = *call;
    inner.workspace = memory + w->own;
    inner.workspace_size = call->workspace_size - w->own;
    status = turn(&inner, &a->weight, &w->part.weight, false, &needed);
    for (int64_t i = 0; status == TRINE_OK && i < a->x.shape[0]; i += w->images) status = turned_images(&inner, w, a, i, &needed);
    return status;
}

trine_status TRINE_CPU(conv)(trine_call *call, const trine_conv_args *a);
trine_status TRINE_CPU(conv)(trine_call *call, const trine_conv_args *a)
{
    turned_conv turned;
    call->variant = TRINE_CPU_VARIANT;
    if (turned_conv_make(&turned, a)) return run_turned(call, &turned, a);
    const trine_conv_shape s = trine_conv_shape_make(&a->x, &a->weight, &a->y, &a->window, a->channels_last);
    return run_one(call, trine_conv_forward(&s, a));
}

/* Every phase of the stride is a product. */
static void run_phases(trine_call *call, const trine_conv_backward_data_args *a, bool only_ask, size_t *needed)
{
    const trine_conv_shape s = trine_conv_shape_make(&a->dx, &a->weight, &a->dy, &a->window, a->channels_last);
    for (int64_t h = 0; h < trine_conv_phases(&s, 0); h++)
        for (int64_t w = 0; w < trine_conv_phases(&s, 1); w++) run_product(call, trine_conv_data(&s, a, h, w), only_ask, needed);
}

trine_status TRINE_CPU(conv_backward_data)(trine_call *call, const trine_conv_backward_data_args *a);
trine_status TRINE_CPU(conv_backward_data)(trine_call *call, const trine_conv_backward_data_args *a)
{
    size_t needed = 0;
    call->variant = TRINE_CPU_VARIANT;
    run_phases(call, a, true, &needed);
    TRINE_END_OF_QUERY(call, needed);
    run_phases(call, a, false, &needed);
    return TRINE_OK;
}

static trine_status backward_weight(trine_call *call, const trine_conv_backward_weight_args *a)
{
    const trine_conv_shape s = trine_conv_shape_make(&a->x, &a->dweight, &a->dy, &a->window, a->channels_last);
    return run_one(call, trine_conv_weight(&s, a));
}

trine_status TRINE_CPU(sum)(trine_call *call, const trine_sum_args *a);
trine_status TRINE_CPU(conv_backward_weight)(trine_call *call, const trine_conv_backward_weight_args *a);
trine_status TRINE_CPU(conv_backward_weight)(trine_call *call, const trine_conv_backward_weight_args *a)
{
    return trine_conv_weight_and_bias(call, TRINE_CPU(sum), backward_weight, a);
}
