/* amx: products of bf16 on the matrix unit (matmul_amx_kernel.h), fed from caches.
 *
 * As register_tiled (matmul_register.h), at 8 to 16 times the rate of its multiply-adds, which makes traffic what to save. d is made
 * in blocks of AMX_BLOCK_M x AMX_BLOCK_N; for a block all threads pack what it needs of a and b, as far along K as AMX_PACKED
 * bytes hold, wait for each other, and take tasks. A task is 448 x 384 sums, which stay in a core's L2 (so that they need no
 * memory of their own) while it goes through what is packed in parts of AMX_PART pairs: of a part a panel of b lies in L1, and
 * a's stream from L2.
 *
 * Every sum is made by one thread at a time, in the order of k: the bits don't depend on the number of threads. */
#ifndef TRINE_CPU_MATMUL_AMX_H
#define TRINE_CPU_MATMUL_AMX_H

#include "backends/cpu/amx.h"
#include "backends/cpu/matmul_amx_pack.h"

#if defined __AVX512F__

enum {
    AMX_BLOCK_MOST = 2048,
    AMX_PACKED = 32 << 20,
    AMX_TASK_M = 14, /* panels */
    AMX_TASK_N = 12,
    AMX_WIDE = 32, /* panels of b that a task streams along rows, and pairs of a part of them */
    AMX_WIDE_PART = 64,
    AMX_SUMS = AMX_ROWS * AMX_ROWS, /* floats of a tile */
    AMX_FEW_ROWS = 128              /* of one operand: tasks pack the other's panels themselves */
};

typedef struct amx_plan {
    int64_t block_m, block_n;
    int64_t task_m, task_n;           /* panels */
    int64_t part, parts;              /* pairs of a part, a multiple of 16; parts of a step */
    bool a_streams, b_streams;        /* a task packs its own panels, part by part */
    bool own;                         /* else: in a task's own memory, for there is one step */
    size_t a_size, b_size, sums_size; /* floats; behind panels, one for each: whether it is subnormal */
    size_t shared, own_size;          /* floats of the workspace: for all, for each member */
    const register_hooks *hooks;      /* or NULL */
} amx_plan;

static size_t amx_packed_size(int64_t panels, int64_t part, int64_t parts)
{
    return (size_t)(blocks_of(panels * parts * (part * AMX_ROWS + 1), 16) * 16);
}

static void settle_amx_memory(amx_plan *plan)
{
    plan->a_size = plan->a_streams ? amx_packed_size(plan->task_m, plan->part, 1)
                                   : amx_packed_size(plan->block_m / AMX_ROWS, plan->part, plan->parts);
    plan->b_size = plan->b_streams ? amx_packed_size(plan->task_n, plan->part, 1)
                                   : amx_packed_size(plan->block_n / AMX_ROWS, plan->part, plan->parts);
    plan->sums_size =
        (size_t)((plan->own ? plan->task_m * plan->task_n : blocks_of(plan->block_m * plan->block_n, AMX_SUMS)) * AMX_SUMS);
    plan->own_size =
        (plan->a_streams ? plan->a_size : 0) + (plan->b_streams ? plan->b_size : 0) + (plan->own ? plan->sums_size : 0);
    plan->shared = plan->a_size + plan->b_size + plan->sums_size - plan->own_size;
}

/* A sum over nothing is one step of no parts. */
static int64_t amx_steps(const amx_plan *plan, int64_t k)
{
    return k > 0 && plan->part ? blocks_of(k, 2 * plan->part * plan->parts) : 1;
}

/* A plan serves any product that has as much or less of M, N and K. */
static inline amx_plan amx_plan_make(const trine_product *p, const register_hooks *hooks)
{
    const int64_t pairs = blocks_of(p->k, 2);
    amx_plan plan = {.block_m = even_block(p->m, AMX_BLOCK_MOST, AMX_ROWS),
                     .block_n = even_block(p->n, AMX_BLOCK_MOST, AMX_ROWS),
                     .hooks = hooks};
    plan.task_m = smaller(AMX_TASK_M, plan.block_m / AMX_ROWS);
    plan.task_n = smaller(AMX_TASK_N, plan.block_n / AMX_ROWS);
    plan.b_streams = p->m <= AMX_FEW_ROWS;
    plan.a_streams = !plan.b_streams && p->n <= AMX_FEW_ROWS;
    const bool wide = plan.b_streams && p->b_k != 1; /* columns lie densely: long pieces of few lines are read faster */
    if (wide) plan.task_n = smaller(AMX_WIDE, plan.block_n / AMX_ROWS);
    plan.part = even_block(pairs, wide ? AMX_WIDE_PART : AMX_PART, AMX_PAIRS);
    const int64_t packed = (plan.a_streams ? 0 : plan.block_m) + (plan.b_streams ? 0 : plan.block_n),
                  all = plan.part ? blocks_of(pairs, plan.part) : 0,
                  fit = AMX_PACKED / ((packed + 1) * (plan.part + 1) * (int64_t)sizeof(float));
    plan.parts = even_block(all, fit > 0 ? fit : 1, 1);
    plan.own = amx_steps(&plan, p->k) == 1;
    settle_amx_memory(&plan);
    return plan;
}

static inline size_t amx_bytes(const amx_plan *plan, int members)
{
    return (plan->shared + plan->own_size * (size_t)members) * sizeof(float);
}

/* ---- Tasks ---- */

/* Rows or columns of a block, in panels: [part][panel], or one part of a task's panels, which it packs itself. */
typedef struct amx_side {
    int64_t begin, count, panels;
    float *packed, *subnormal;
    bool streams;
} amx_side;

/* A step of a block of d. */
typedef struct amx_step {
    amx_side a, b;
    int64_t k, pairs, parts; /* first element along K; pairs and parts of them */
    bool first, last;
    float *sums; /* of the block or the task */
} amx_step;

/* So many pairs of some panels, from element k on. */
static pack_source amx_source(const trine_product *p, const product_place *at, const amx_plan *plan, const amx_side *side,
                              bool of_b, cpu_range panels, int64_t k, int64_t pairs)
{
    const int64_t first = side->begin + panels.begin * AMX_ROWS;
    pack_source from = of_b ? source_of(p->b, TRINE_BF16, at->b + first * p->b_n + k * p->b_k, p->b_n, p->b_k, first, k)
                            : source_of(p->a, TRINE_BF16, at->a + first * p->a_m + k * p->a_k, p->a_m, p->a_k, first, k);
    from.rows = smaller(panels.end * AMX_ROWS, side->count) - panels.begin * AMX_ROWS;
    from.terms = pairs;
    from.pairs = true;
    from.odd = k + 2 * pairs > p->k;
    if (plan->hooks) plan->hooks->source(p, of_b, &from);
    return from;
}

/* Some panels of a part; `to` is the place of the first. */
static void pack_part(const trine_product *p, const product_place *at, const cpu_team *team, const amx_plan *plan,
                      const amx_step *s, bool of_b, cpu_range panels, int64_t part, int64_t to)
{
    const amx_side *side = of_b ? &s->b : &s->a;
    const int64_t apart = plan->part * AMX_ROWS, k = s->k + 2 * part * plan->part,
                  pairs = smaller(plan->part, s->pairs - part * plan->part);
    pack_source from = amx_source(p, at, plan, side, of_b, panels, k, pairs);
    if (of_b)
        pack_tile_columns(team, side->packed + to * apart, apart, side->subnormal + to, &from);
    else
        pack_tile_rows(team, side->packed + to * apart, apart, side->subnormal + to, &from);
}

typedef struct amx_task {
    cpu_range a, b; /* panels */
    float *sums;    /* [panel of b][panel of a][32][32] */
    int64_t apart;  /* floats from one panel of b to the next */
} amx_task;

/* One part's contribution to all sums of a task. */
static void make_amx_part(const amx_plan *plan, const amx_step *s, const amx_task *t, int64_t part)
{
    const int64_t panel = plan->part * AMX_ROWS, blocks = blocks_of(smaller(plan->part, s->pairs - part * plan->part), AMX_PAIRS),
                  a = s->a.streams ? -t->a.begin : part * s->a.panels, b = s->b.streams ? -t->b.begin : part * s->b.panels,
                  high = t->a.end - t->a.begin, calls = high * (t->b.end - t->b.begin);
    for (int64_t call = 0; call < calls; call++) {
        const int64_t i = t->a.begin + call % high, j = t->b.begin + call / high;
        float *sums = t->sums + call / high * t->apart + call % high * AMX_SUMS;
        const float *left = s->a.packed + (a + i) * panel, *right = s->b.packed + (b + j) * panel;
        const bool add = part > 0 || !s->first;
        if (s->a.subnormal[a + i] + s->b.subnormal[b + j] > 0)
            multiply_blocks_in_f32(left, right, blocks, sums, add);
        else
            multiply_tiles(rows_of_panel(left), right, blocks, sums, add, s->a.count - i * AMX_ROWS, s->b.count - j * AMX_ROWS,
                           sums + AMX_SUMS);
    }
}

/* From a task's sums to its part of d, row by row. */
static void finish_amx_task(const trine_product *p, const product_place *at, const amx_plan *plan, const amx_step *s,
                            const amx_task *t)
{
    float row[AMX_WIDE * AMX_ROWS];
    const int64_t first = t->a.begin * AMX_ROWS, rows = smaller(t->a.end * AMX_ROWS, s->a.count) - first,
                  column = t->b.begin * AMX_ROWS, columns = smaller(t->b.end * AMX_ROWS, s->b.count) - column;
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t j = 0; j < t->b.end - t->b.begin; j++)
            memcpy(row + j * AMX_ROWS, t->sums + j * t->apart + r * AMX_ROWS, AMX_ROWS * sizeof *row);
        (plan->hooks && plan->hooks->finish ? plan->hooks->finish : finish_row)(p, at, s->a.begin + first + r,
                                                                                s->b.begin + column, row, columns);
    }
}

/* A task; after the last step, its part of d is finished. */
static void make_amx_task(const trine_product *p, const product_place *at, const amx_plan *plan, const amx_step *s, amx_task *t)
{
    const cpu_team alone = {.threads = 1};
    const int64_t high = t->a.end - t->a.begin;
    t->sums = s->sums + (plan->own ? 0 : (t->b.begin * s->a.panels + t->a.begin) * AMX_SUMS);
    t->apart = (plan->own ? high : s->a.panels) * AMX_SUMS;
    for (int64_t part = 0; part < s->parts; part++) {
        if (s->a.streams) pack_part(p, at, &alone, plan, s, false, t->a, part, 0);
        if (s->b.streams) pack_part(p, at, &alone, plan, s, true, t->b, part, 0);
        make_amx_part(plan, s, t, part);
    }
    for (int64_t j = 0; s->parts == 0 && j < t->b.end - t->b.begin; j++)
        memset(t->sums + j * t->apart, 0, (size_t)(high * AMX_SUMS) * sizeof *t->sums);
    if (s->last) finish_amx_task(p, at, plan, s, t);
}

static void make_amx_tasks(const trine_product *p, const product_place *at, cpu_team *team, const amx_plan *plan,
                           const amx_step *s)
{
    int64_t task_m = plan->task_m, task_n = plan->task_n;
    /* enough tasks for all, if need be small ones */
    while (blocks_of(s->a.panels, task_m) * blocks_of(s->b.panels, task_n) < 2 * team->threads && task_m * task_n > 1)
        if (task_m > task_n)
            task_m = (task_m + 1) / 2;
        else
            task_n = (task_n + 1) / 2;
    const int64_t tasks_n = blocks_of(s->b.panels, task_n), tasks = blocks_of(s->a.panels, task_m) * tasks_n;
    for (int64_t i; (i = team_next(team, tasks)) < tasks;) {
        const int64_t a = i / tasks_n * task_m, b = i % tasks_n * task_n;
        amx_task task = {.a = {a, smaller(a + task_m, s->a.panels)}, .b = {b, smaller(b + task_n, s->b.panels)}};
        make_amx_task(p, at, plan, s, &task);
    }
}

/* ---- Blocks ---- */

/* The workspace: a, b, then sums; what belongs to a task, once a member. */
static void place_amx_step(const cpu_team *team, const amx_plan *plan, amx_step *s)
{
    float *memory = (float *)(void *)team->memory, *own = memory + plan->shared + (size_t)team->thread * plan->own_size;
    const int64_t apart = plan->part * AMX_ROWS;
    s->a.packed = plan->a_streams ? own : memory;
    s->a.subnormal = s->a.packed + (plan->a_streams ? plan->task_m : plan->block_m / AMX_ROWS * plan->parts) * apart;
    s->b.packed = plan->b_streams ? own : memory + (plan->a_streams ? 0 : plan->a_size);
    s->b.subnormal = s->b.packed + (plan->b_streams ? plan->task_n : plan->block_n / AMX_ROWS * plan->parts) * apart;
    s->sums = plan->own ? own + (plan->a_streams   ? plan->a_size
                                 : plan->b_streams ? plan->b_size
                                                   : 0)
                        : memory + plan->shared - plan->sums_size;
}

static void make_amx_step(const trine_product *p, const product_place *at, cpu_team *team, const amx_plan *plan, amx_step *s,
                          int64_t step, int64_t steps)
{
    const int64_t first = step * plan->parts * plan->part;
    s->k = 2 * first;
    s->pairs = smaller(plan->parts * plan->part, blocks_of(p->k, 2) - first);
    s->parts = s->pairs ? blocks_of(s->pairs, plan->part) : 0;
    s->first = step == 0;
    s->last = step + 1 == steps;
    if (team->steps++ > 0) team_barrier(team); /* others may still need what the last step packed */
    for (int64_t i = 0; i < s->parts; i++) {
        if (!s->a.streams) pack_part(p, at, team, plan, s, false, (cpu_range){0, s->a.panels}, i, i * s->a.panels);
        if (!s->b.streams) pack_part(p, at, team, plan, s, true, (cpu_range){0, s->b.panels}, i, i * s->b.panels);
    }
    team_barrier(team);
    make_amx_tasks(p, at, team, plan, s);
}

static amx_side amx_side_make(int64_t begin, int64_t all, int64_t block, bool streams)
{
    const int64_t count = smaller(block, all - begin);
    return (amx_side){.begin = begin, .count = count, .panels = blocks_of(count, AMX_ROWS), .streams = streams};
}

static inline void make_amx_blocks(const trine_product *p, const product_place *at, cpu_team *team, const amx_plan *plan)
{
    const int64_t steps = amx_steps(plan, p->k);
    amx_begin();
    for (int64_t column = 0; column < p->n; column += plan->block_n)
        for (int64_t row = 0; row < p->m; row += plan->block_m) {
            amx_step s = {.a = amx_side_make(row, p->m, plan->block_m, plan->a_streams),
                          .b = amx_side_make(column, p->n, plan->block_n, plan->b_streams)};
            place_amx_step(team, plan, &s);
            for (int64_t step = 0; step < steps; step++) make_amx_step(p, at, team, plan, &s, step, steps);
        }
    amx_end();
}

static inline bool suits_amx(const trine_product *p)
{
    return p->dtype == TRINE_BF16 && p->b_dtype == TRINE_BF16 && !p->has_scales && trine_cpu_has_amx_bf16();
}

#else

/* At other levels nothing suits it, and the rest is never called. */
enum { AMX_FEW_ROWS = 0 };

typedef struct amx_plan {
    const register_hooks *hooks;
} amx_plan;

static inline bool suits_amx(const trine_product *p) { return (void)p, false; }

static inline amx_plan amx_plan_make(const trine_product *p, const register_hooks *hooks) { return (void)p, (amx_plan){hooks}; }

static inline size_t amx_bytes(const amx_plan *plan, int members) { return (void)plan, (void)members, 0; }

static inline void make_amx_blocks(const trine_product *p, const product_place *at, cpu_team *team, const amx_plan *plan)
{
    (void)p, (void)at, (void)team, (void)plan;
}

#endif

/* ---- The product ---- */

enum { AMX_LEAST = 3 }; /* one or two vectors are bound by bytes, and dots and gemv read faster */

static inline void amx_product(const trine_product *p, const product_place *at, cpu_team *team)
{
    const amx_plan plan = amx_plan_make(p, NULL);
    make_amx_blocks(p, at, team, &plan);
}

static inline trine_status matmul_amx(trine_call *call, const void *args)
{
    trine_product p;
    TRINE_REQUIRE_THAT(call, trine_product_make(&p, args), "needs d with stride 1 along N or M");
    TRINE_REQUIRE_THAT(call, suits_amx(&p), "needs bf16 and AMX-BF16");
    TRINE_REQUIRE_THAT(call, p.m >= AMX_LEAST && p.n >= AMX_LEAST, "needs M and N of 3 at least");
    const amx_plan plan = amx_plan_make(&p, NULL);
    team_plan team = team_plan_make(&p);
    team.memory = amx_bytes(&plan, team.members);
    TRINE_END_OF_QUERY(call, team_workspace(&team));
    run_products(call, &p, &team, amx_product);
    return TRINE_OK;
}

#endif
